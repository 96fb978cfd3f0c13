/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of a VP whose local APIC the CPU does (AVIC), from the native API to the fake CPU: what is in the page at
 * each entry, when the core delivers after all, EOIs that the client hears of, and changes of the APIC's mode.
 */
#include "run_vp.h"
#include <fake_svm.h>

#include "arch/x86_64/svm/svm.h"

/* --------------------------------------------------------------------------------- the machine */

static void set_apic(uint32_t offset, uint64_t value)
{
    set(HV_REG_APIC_BASE_NUMBER + offset / 16, value);
}

static uint64_t get_apic(uint32_t offset)
{
    return get(HV_REG_APIC_BASE_NUMBER + offset / 16);
}

static int setup_xapic(void **state)
{
    struct hv_platform platform;

    if (machine_setup(state))
        return -1;
    fake_svm_make(FAKE_SVM_FEATURES | CPUID_SVM_EDX_X2AVIC);
    /* the library asks the CPU once, but for the second of these */
    if (!hv_platform()->present || !svm_probe(&platform) || !run_vp_create(HV_LOCAL_APIC_X2APIC, 1))
        return -1;
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    return 0;
}

static int setup(void **state)
{
    if (setup_xapic(state))
        return -1;
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) | APIC_BASE_EXTD);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    return 0;
}

#define IRQ_TEST(fn)   cmocka_unit_test_setup_teardown(fn, setup, run_vp_teardown)
#define XAPIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_xapic, run_vp_teardown)

static struct hv_exit run_to(enum hv_exit_reason reason)
{
    struct hv_exit exit = run();

    assert_int_equal(fake_svm_guest_left(), 0);
    assert_reason(&exit, reason);
    return exit;
}

static void send(uint32_t vector, bool is_level)
{
    const struct hv_interrupt i = {.type = APIC_MODE_FIXED, .is_level = is_level, .vector = vector};

    assert_int_equal(hv_partition_interrupt(partition, &i), HV_OK);
}

/* ---------------------------------------------------------------------------------- the guest */

static volatile uint32_t *word(uint32_t set_of, uint8_t vector)
{
    return &vp->vcpu->apic_page[(set_of + vector / 32u * 16) / 4];
}

static bool has(uint32_t set_of, uint8_t vector)
{
    return *word(set_of, vector) >> vector % 32 & 1;
}

/* As the CPU delivers it. */
static void take(uint8_t vector)
{
    assert_true(has(APIC_IRR, vector));
    *word(APIC_IRR, vector) &= ~BIT32(vector % 32);
    *word(APIC_ISR, vector) |= BIT32(vector % 32);
}

static void by_cpu(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_svm_entered()->v_intr & (V_AVIC | V_X2AVIC | V_IRQ), V_AVIC | V_X2AVIC);
    assert_int_equal(fake_svm_entered()->event_inj, 0);
}

static void by_core(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_svm_entered()->v_intr & (V_AVIC | V_X2AVIC), 0);
}

#define HOST(what)                                             \
    {                                                          \
        .run = what, .code = EXIT_INTERCEPT_OF(INTERCEPT_INTR) \
    }
#define WINDOW(what)                                            \
    {                                                           \
        .run = what, .code = EXIT_INTERCEPT_OF(INTERCEPT_VINTR) \
    }
/* ends a run: OUT 80H, AL */
#define STOP(what)                                                                                                    \
    {                                                                                                                 \
        .run = what, .code = EXIT_INTERCEPT_OF(INTERCEPT_IOIO), .info1 = FIELD_PUT(IO_INFO_PORT, 0x80ull) | BIT64(4), \
        .length = 2                                                                                                   \
    }
#define WRMSR(what)                                                                                 \
    {                                                                                               \
        .run = what, .code = EXIT_INTERCEPT_OF(INTERCEPT_MSR), .info1 = MSR_INFO_WRITE, .length = 2 \
    }

static void put_msr(uint64_t gpr[16], uint32_t index, uint64_t value)
{
    gpr[GPR_RCX] = index;
    gpr[GPR_RAX] = (uint32_t)value;
    gpr[GPR_RDX] = value >> 32;
}

#define X2APIC(offset) (MSR_IA32_X2APIC_BASE + (offset) / 16)

static void set_if(bool on)
{
    set(HV_REG_RFLAGS, RFLAGS_FIXED | (on ? RFLAGS_IF : 0));
}

/* ----------------------------------------------------------------------------------- delivery */

static void take_41_and_send_51(uint64_t gpr[16])
{
    by_cpu(gpr);
    take(0x41);
    send(0x51, false);
}

static void take_51(uint64_t gpr[16])
{
    by_cpu(gpr);
    take(0x51);
}

static void the_cpu_delivers(void **state)
{
    (void)state;
    send(0x41, false);
    FAKE_SVM_GUEST(HOST(take_41_and_send_51), STOP(take_51));
    run_to(HV_EXIT_IO);
    assert_int_equal(get_apic(APIC_IRR + 0x20), 0);
    assert_int_equal(get_apic(APIC_ISR + 0x20), BIT64(1) | BIT64(17));
}

/* Whether the guest can take it or not is the CPU's matter. */
static void a_guest_that_masks_interrupts(void **state)
{
    (void)state;
    set_if(false);
    send(0x41, false);
    FAKE_SVM_GUEST(STOP(by_cpu));
    run_to(HV_EXIT_IO);
    assert_true(has(APIC_IRR, 0x41));
}

static void send_61_to_self(uint64_t gpr[16])
{
    by_cpu(gpr);
    put_msr(gpr, X2APIC(APIC_SELF_IPI), 0x61);
}

static void take_61(uint64_t gpr[16])
{
    by_cpu(gpr);
    take(0x61);
}

static void an_ipi_to_itself(void **state)
{
    (void)state;
    send(0x31, false);
    FAKE_SVM_GUEST(WRMSR(send_61_to_self), STOP(take_61));
    run_to(HV_EXIT_IO);
}

static void raise_tpr(uint64_t gpr[16])
{
    by_cpu(gpr);
    vp->vcpu->apic_page[APIC_TPR / 4] = 0x5a; /* as the CPU does both */
    fake_vmcb()->v_intr = (fake_vmcb()->v_intr & ~V_TPR) | 5;
}

static void task_priority_is_5(uint64_t gpr[16])
{
    by_cpu(gpr);
    assert_int_equal(FIELD_GET(V_TPR, fake_svm_entered()->v_intr), 5);
}

static void task_priority_is_3(uint64_t gpr[16])
{
    by_cpu(gpr);
    assert_int_equal(FIELD_GET(V_TPR, fake_svm_entered()->v_intr), 3);
    assert_int_equal(vp->vcpu->apic_page[APIC_TPR / 4], 0x30);
}

/* AVIC goes by V_TPR, which the guest's writes change with the page, and the client's have to. */
static void the_task_priority(void **state)
{
    (void)state;
    send(0x41, false);
    FAKE_SVM_GUEST(HOST(raise_tpr), STOP(task_priority_is_5));
    run_to(HV_EXIT_IO);
    assert_int_equal(get_apic(APIC_TPR), 0x5a);
    assert_int_equal(get(HV_REG_CR8), 5);
    set(HV_REG_CR8, 3);
    FAKE_SVM_GUEST(STOP(task_priority_is_3));
    run_to(HV_EXIT_IO);
}

/* --------------------------------------------------------------------------------------- EOIs */

static void take_9a(uint64_t gpr[16])
{
    by_cpu(gpr);
    take(0x9a);
}

#define LEVEL_EOI(vector)                                                                                \
    {                                                                                                    \
        .run = by_cpu, .code = EXIT_AVIC_NOACCEL, .info1 = AVIC_INFO_WRITE | APIC_EOI, .info2 = (vector) \
    }

static void the_end_of_a_level_triggered_interrupt(void **state)
{
    struct hv_exit exit;

    (void)state;
    send(0x9a, true);
    FAKE_SVM_GUEST(HOST(take_9a), LEVEL_EOI(0x9a));
    exit = run_to(HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x9a);
    assert_int_equal(exit.instruction_length, 0);
    assert_int_equal(exit.vp.rip, CODE);
    assert_false(has(APIC_ISR, 0x9a)); /* the CPU has left that to us */
    assert_true(has(APIC_TMR, 0x9a));
    send(0x9a, false); /* now an edge */
    FAKE_SVM_GUEST(STOP(take_9a));
    run_to(HV_EXIT_IO);
    assert_false(has(APIC_TMR, 0x9a)); /* the CPU goes by this */
}

/* ------------------------------------------------------------------------------------ windows */

static void end_41(uint64_t gpr[16])
{
    by_core(gpr);
    put_msr(gpr, X2APIC(APIC_EOI), 0);
}

static void open_window(uint64_t gpr[16])
{
    by_core(gpr);
    assert_true(fake_svm_entered()->v_intr & V_IRQ);
    fake_vmcb()->rflags |= RFLAGS_IF;
}

/* An interrupt of another controller's waits for the window; those of the APIC wait for the entry after it. */
static void a_window_for_the_client(void **state)
{
    (void)state;
    set_if(false);
    send(0x41, false);
    FAKE_SVM_GUEST(STOP(by_cpu));
    run_to(HV_EXIT_IO);
    take(0x41);
    send(0x51, false);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    FAKE_SVM_GUEST(WRMSR(end_41), WINDOW(open_window));
    run_to(HV_EXIT_WINDOW);
    assert_false(has(APIC_ISR, 0x41));
    FAKE_SVM_GUEST(STOP(take_51));
    run_to(HV_EXIT_IO);
}

/* -------------------------------------------------------------------------------------- modes */

static void disable(uint64_t gpr[16])
{
    by_cpu(gpr);
    put_msr(gpr, X2APIC(APIC_SVR), 0xff);
}

static void enable(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(fake_svm_entered()->event_inj, 0);
    put_msr(gpr, X2APIC(APIC_SVR), APIC_SVR_ENABLE | 0xff);
}

static void take_41(uint64_t gpr[16])
{
    by_cpu(gpr);
    take(0x41);
}

/* SDM 3A 10.4.7.2: what is in IRR stays there. */
static void disabled_by_software(void **state)
{
    (void)state;
    send(0x41, false);
    FAKE_SVM_GUEST(WRMSR(disable), HOST(by_core), WRMSR(enable), STOP(take_41));
    run_to(HV_EXIT_IO);
}

static void use_x2apic(uint64_t gpr[16])
{
    by_core(gpr);
    assert_true(fake_svm_entered()->v_intr & V_IRQ); /* the core waits to deliver it */
    put_msr(gpr, MSR_IA32_APIC_BASE, vp->lapic.base | APIC_BASE_EXTD);
}

static void disable_all(uint64_t gpr[16])
{
    by_cpu(gpr);
    put_msr(gpr, MSR_IA32_APIC_BASE, vp->lapic.base & ~(APIC_BASE_EN | APIC_BASE_EXTD));
}

static void from_mode_to_mode(void **state)
{
    (void)state;
    set_if(false);
    send(0x41, false);
    FAKE_SVM_GUEST(WRMSR(use_x2apic), WRMSR(disable_all), STOP(by_core));
    run_to(HV_EXIT_IO);
    assert_false(has(APIC_IRR, 0x41)); /* the state of power-up */
    set_if(true);
    FAKE_SVM_GUEST(STOP(by_core));
    run_to(HV_EXIT_IO);
}

/* In xAPIC mode the core delivers, and no page is mapped for it. */
static void xapic_mode(void **state)
{
    (void)state;
    assert_null(partition->apic_access);
    send(0x41, false);
    FAKE_SVM_GUEST(STOP(by_core));
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_svm_entered()->event_inj, EVENT_VALID | 0x41);
    assert_true(has(APIC_ISR, 0x41));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IRQ_TEST(the_cpu_delivers),
        IRQ_TEST(a_guest_that_masks_interrupts),
        IRQ_TEST(an_ipi_to_itself),
        IRQ_TEST(the_task_priority),
        IRQ_TEST(the_end_of_a_level_triggered_interrupt),
        IRQ_TEST(a_window_for_the_client),
        IRQ_TEST(disabled_by_software),
        XAPIC_TEST(from_mode_to_mode),
        XAPIC_TEST(xapic_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
