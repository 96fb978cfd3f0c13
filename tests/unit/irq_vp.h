/* SPDX-License-Identifier: MIT */
/*
 * Two VPs with local APICs on the fake CPU, messages to them, and what a guest finds at its entries: for tests of
 * virt/irq*.c. Defines functions: to be included by one file of a test program.
 */
#ifndef IRQ_VP_H
#define IRQ_VP_H

#include "run_vp.h"

#define CPU2_APIC (CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY)

static struct hv_vp *other; /* VP 1 */

/* ------------------------------------------------------------------- two VPs with local APICs */

static void set_apic(uint32_t offset, uint64_t value)
{
    set(HV_REG_APIC_BASE_NUMBER + offset / 16, value);
}

static uint64_t get_apic(uint32_t offset)
{
    return get(HV_REG_APIC_BASE_NUMBER + offset / 16);
}

static void start_apic(void)
{
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) | APIC_BASE_EXTD);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

static int start_machine(void **state, uint64_t offered)
{
    struct hv_platform platform;
    uint64_t cpu2;

    if (machine_setup(state))
        return -1;
    cpu2 = *fake_msr(0, MSR_IA32_VMX_PROCBASED_CTLS2) & ~(CPU2_APIC << 32);
    fake_set_msr(MSR_IA32_VMX_PROCBASED_CTLS2, cpu2 | offered << 32);
    /* the library asks the CPU once, but for the second of these */
    if (!hv_platform()->present || !vmx_probe(&platform) || !run_vp_create(HV_LOCAL_APIC_X2APIC, 2))
        return -1;
    other = hv_vp_ref(partition, 1);
    start_apic();
    return 0;
}

static int setup(void **state)
{
    return start_machine(state, CPU2_APIC & ~CPU2_VIRT_INTR_DELIVERY);
}

static int setup_delivery(void **state)
{
    return start_machine(state, CPU2_APIC);
}

static int teardown(void **state)
{
    if (!machine_is_refused())
        hv_vp_unref(other);
    return run_vp_teardown(state);
}

#define IRQ_TEST(fn)      cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define DELIVERY_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_delivery, teardown)

static void run_to(enum hv_exit_reason reason)
{
    struct hv_exit_context exit = run();

    assert_reason(&exit, reason);
}

static void send(uint8_t type, uint32_t destination, uint32_t vector, bool is_level)
{
    const struct hv_interrupt i = {.type = type, .is_level = is_level, .destination = destination, .vector = vector};

    assert_int_equal(hv_partition_interrupt(partition, &i), HV_OK);
}

static void send_fixed(uint32_t vector)
{
    send(APIC_MODE_FIXED, 0, vector, false);
}

#define EXTERNAL(vector) INFO(INTR_TYPE_EXTERNAL, vector)
#define NMI              INFO(INTR_TYPE_NMI, VEC_NMI)
#define GP               (INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | (uint32_t)INTR_INFO_ERROR_VALID)

/* What the guest finds at each entry of a run, as looked at by `look`. */
static struct seen {
    uint32_t injected;
    bool interrupt_window, nmi_window;
    uint64_t threshold;
} seen[8];
static unsigned seen_count;

static void look(uint64_t gpr[16])
{
    uint64_t controls = fake_vmcs_get(VMCS_CPU_CONTROLS);

    (void)gpr;
    assert_true(seen_count < ARRAY_COUNT(seen));
    seen[seen_count++] = (struct seen){fake_vmx_injected().info, controls & CPU_INTR_WINDOW, controls & CPU_NMI_WINDOW,
                                       fake_vmcs_get(VMCS_TPR_THRESHOLD)};
}

static void assert_seen(unsigned entry, uint32_t injected, bool interrupt_window, bool nmi_window, uint64_t threshold)
{
    assert_true(entry < seen_count);
    assert_int_equal(seen[entry].injected, injected);
    assert_int_equal(seen[entry].interrupt_window, interrupt_window);
    assert_int_equal(seen[entry].nmi_window, nmi_window);
    assert_int_equal(seen[entry].threshold, threshold);
}

#define GUEST(...)               \
    do {                         \
        seen_count = 0;          \
        FAKE_GUEST(__VA_ARGS__); \
    } while (0)

/* Ends a run: an exit for the client. The other looks first. */
#define STOP                                   \
    {                                          \
        .reason = EXIT_REASON_IO, .length = 1, \
    }
#define LOOK_AND_STOP                                       \
    {                                                       \
        .run = look, .reason = EXIT_REASON_IO, .length = 1, \
    }

/* WRMSR of these, one after the other. */
static struct msr_write {
    uint32_t index;
    uint64_t value;
} writes[4];
static unsigned writes_done;

static void wrmsr(uint64_t gpr[16])
{
    look(gpr);
    gpr[GPR_RCX] = writes[writes_done].index;
    gpr[GPR_RAX] = (uint32_t)writes[writes_done].value;
    gpr[GPR_RDX] = writes[writes_done].value >> 32;
    writes_done++;
}

#define WRMSR                                                   \
    {                                                           \
        .run = wrmsr, .reason = EXIT_REASON_WRMSR, .length = 2, \
    }
#define X2APIC(offset) (MSR_IA32_X2APIC_BASE + (offset) / 16)

static void will_write(unsigned i, uint32_t index, uint64_t value)
{
    writes[i] = (struct msr_write){index, value};
    writes_done = 0;
}

#endif
