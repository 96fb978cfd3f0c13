/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of a VP whose local APIC the CPU does (AVIC), from the native API to the fake CPU: what is in the page at
 * each entry, when the core delivers after all, EOIs that the client hears of, and changes of the APIC's mode. In xAPIC
 * mode the guest's accesses go the way that the fake CPU finds for them, and the core emulates what it leaves.
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

static int setup_with(void **state, uint32_t features)
{
    struct hv_platform platform;

    if (machine_setup(state))
        return -1;
    fake_svm_make(features);
    /* the library asks the CPU once, but for the second of these */
    if (!hv_platform()->present || !svm_probe(&platform) || !run_vp_create(HV_LOCAL_APIC_X2APIC, 2))
        return -1;
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    return 0;
}

static int setup_xapic(void **state)
{
    return setup_with(state, FAKE_SVM_FEATURES | CPUID_SVM_EDX_X2AVIC);
}

static int setup_avic_only(void **state)
{
    return setup_with(state, FAKE_SVM_FEATURES);
}

static int setup_no_avic(void **state)
{
    return setup_with(state, FAKE_SVM_FEATURES & ~CPUID_SVM_EDX_AVIC);
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
#define AVIC_ONLY(fn)  cmocka_unit_test_setup_teardown(fn, setup_avic_only, run_vp_teardown)
#define NO_AVIC(fn)    cmocka_unit_test_setup_teardown(fn, setup_no_avic, run_vp_teardown)

static struct hv_exit_context run_to(enum hv_exit_reason reason)
{
    struct hv_exit_context exit = run();

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
    struct hv_exit_context exit;

    (void)state;
    send(0x9a, true);
    FAKE_SVM_GUEST(HOST(take_9a), LEVEL_EOI(0x9a));
    exit = run_to(HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x9a);
    assert_int_equal(exit.vp.instruction_length, 0);
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

static void by_xavic(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_svm_entered()->v_intr & (V_AVIC | V_X2AVIC | V_IRQ), V_AVIC);
    assert_int_equal(fake_svm_entered()->event_inj, 0);
}

static void use_x2apic(uint64_t gpr[16])
{
    by_xavic(gpr);
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

static void by_core_with_41(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(fake_svm_entered()->event_inj, EVENT_VALID | 0x41);
}

/* A CPU with AVIC, but without x2AVIC. */
static void x2apic_mode_without_x2avic(void **state)
{
    (void)state;
    assert_non_null(partition->apic_access);
    set_if(false);
    FAKE_SVM_GUEST(WRMSR(use_x2apic), STOP(by_core));
    run_to(HV_EXIT_IO);
    set_if(true);
    send(0x41, false);
    FAKE_SVM_GUEST(STOP(by_core_with_41));
    run_to(HV_EXIT_IO);
}

/* The core delivers, and no page is mapped for it. */
static void no_avic(void **state)
{
    (void)state;
    assert_null(partition->apic_access);
    send(0x41, false);
    FAKE_SVM_GUEST(STOP(by_core_with_41));
    run_to(HV_EXIT_IO);
    assert_true(has(APIC_ISR, 0x41));
}

/* --------------------------------------------------------------------------------- xAPIC mode */

#define MOV_SIZE 5

/* The guest's next instruction: MOV [register], EAX or MOV EAX, [register]. */
static void put_mov(uint64_t rip, bool write, uint32_t offset)
{
    uint32_t address = (uint32_t)APIC_DEFAULT_BASE + offset;

    ram[rip] = write ? 0xa3 : 0xa1;
    memcpy(ram + rip + 1, &address, sizeof(address));
}

static void write_apic(uint64_t gpr[16], uint32_t offset, uint32_t value)
{
    put_mov(fake_vmcb()->rip, true, offset);
    gpr[GPR_RAX] = value;
    fake_svm_apic_write(offset, value);
}

static void read_apic(uint64_t gpr[16], uint32_t offset)
{
    put_mov(fake_vmcb()->rip, false, offset);
    gpr[GPR_RAX] = 0xdeadbeef;
    gpr[GPR_RAX] = fake_svm_apic_read(offset);
}

/* A step whose exit is that of an access to the APIC. */
#define ACCESS(what)                    \
    {                                   \
        .run = what, .length = MOV_SIZE \
    }

static bool page_shows(void)
{
    struct npt_leaf leaf;
    bool there;

    hv_host_preempt_disable();
    there = npt_lookup(&partition->npt, APIC_DEFAULT_BASE, &leaf);
    hv_host_preempt_enable();
    return there && leaf.rights;
}

static void take_41_by_xavic(uint64_t gpr[16])
{
    by_xavic(gpr);
    assert_true(page_shows());
    take(0x41);
}

static void end_41_by_xavic(uint64_t gpr[16])
{
    by_xavic(gpr);
    fake_svm_apic_write(APIC_EOI, 0);
    assert_false(has(APIC_ISR, 0x41));
}

static void the_cpu_delivers_in_xapic_mode(void **state)
{
    (void)state;
    assert_non_null(partition->apic_access);
    send(0x41, false);
    FAKE_SVM_GUEST(HOST(take_41_by_xavic), STOP(end_41_by_xavic));
    run_to(HV_EXIT_IO);
    assert_int_equal(vp->counters.apic.mmio, 0);
}

static void write_id(uint64_t gpr[16])
{
    write_apic(gpr, APIC_ID, 0x7f000000);
}

static void write_version(uint64_t gpr[16])
{
    by_xavic(gpr);
    write_apic(gpr, APIC_VERSION, 0);
}

static void write_rrd(uint64_t gpr[16])
{
    write_apic(gpr, APIC_RRD, 5);
}

static void write_dfr(uint64_t gpr[16])
{
    write_apic(gpr, APIC_DFR, 0);
}

static void write_irr(uint64_t gpr[16])
{
    write_apic(gpr, APIC_IRR + 0x20, ~0u);
}

static void write_lvt(uint64_t gpr[16])
{
    write_apic(gpr, APIC_LVT_TIMER, 0x10061);
}

static void write_initial_count(uint64_t gpr[16])
{
    write_apic(gpr, APIC_TIMER_INIT, 100000000);
}

static void read_count(uint64_t gpr[16])
{
    read_apic(gpr, APIC_TIMER_CUR);
}

static void look_at_count(uint64_t gpr[16])
{
    assert_in_range(gpr[GPR_RAX], 1, 100000000);
}

/* Those that exit when they are over, and those that the core makes. */
static void registers_of_xapic_mode(void **state)
{
    uint32_t version = (uint32_t)get_apic(APIC_VERSION);
    struct hv_exit_context exit;

    (void)state;
    FAKE_SVM_GUEST(ACCESS(write_id), ACCESS(write_version), ACCESS(write_rrd), ACCESS(write_dfr), ACCESS(write_irr),
                   ACCESS(write_lvt), ACCESS(write_initial_count), ACCESS(read_count), STOP(look_at_count));
    exit = run_to(HV_EXIT_IO);
    assert_int_equal(exit.vp.rip, CODE + 8 * MOV_SIZE);
    assert_int_equal(get_apic(APIC_ID), 0);
    assert_int_equal(get_apic(APIC_VERSION), version);
    assert_int_equal(vp->vcpu->apic_page[APIC_RRD / 4], 0);
    assert_int_equal(vp->vcpu->apic_page[APIC_DFR / 4], BITS32(27, 0));
    assert_int_equal(get_apic(APIC_IRR + 0x20), 0);
    assert_int_equal(get_apic(APIC_LVT_TIMER), 0x10061);
    assert_true(vp->lapic.timer_due_ns);
    assert_int_equal(vp->counters.apic.mmio, 8);
}

/* The CPU lets reserved bits into the page: what is saved can be loaded all the same. */
static void write_reserved_bits(uint64_t gpr[16])
{
    (void)gpr;
    fake_svm_apic_write(APIC_ICR_HIGH, ~0u);
    fake_svm_apic_write(APIC_TPR, ~0u);
}

static void a_saved_page(void **state)
{
    uint8_t page[HV_PAGE_SIZE];
    uint32_t word_of_page, written;

    (void)state;
    FAKE_SVM_GUEST(STOP(write_reserved_bits));
    run_to(HV_EXIT_IO);
    assert_int_equal(hv_vp_get_apic(vp, page, sizeof(page), &written), HV_OK);
    memcpy(&word_of_page, page + APIC_ICR_HIGH, sizeof(word_of_page));
    assert_int_equal(word_of_page, 0xff000000);
    assert_int_equal(hv_vp_set_apic(vp, page, sizeof(page)), HV_OK);
    assert_int_equal(get(HV_REG_CR8), 15);
}

static void end_9a(uint64_t gpr[16])
{
    by_xavic(gpr);
    take(0x9a);
    write_apic(gpr, APIC_EOI, 0);
}

static void the_end_of_a_level_triggered_interrupt_in_xapic_mode(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    send(0x9a, true);
    FAKE_SVM_GUEST(ACCESS(end_9a));
    exit = run_to(HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x9a);
    assert_int_equal(exit.vp.rip, CODE + MOV_SIZE);
    assert_false(has(APIC_ISR, 0x9a));
}

/* ------------------------------------------------------------------------ IPIs of xAPIC mode */

static uint32_t ipi_destination;
static uint64_t ipi;

static void send_ipi(uint64_t gpr[16])
{
    by_xavic(gpr);
    fake_svm_apic_write(APIC_ICR_HIGH, ipi_destination << 24);
    write_apic(gpr, APIC_ICR_LOW, (uint32_t)ipi);
}

#define SHORT(which) FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_##which)

/* Whoever it is for, VP 1 among them, hears of it once. */
static void ipis(void **state)
{
    static const struct {
        uint32_t destination;
        uint64_t icr;
        bool to_self, to_other;
    } rows[] = {
        {1, APIC_ICR_ASSERT | 0x51, false, true},
        {0, APIC_ICR_ASSERT | 0x52, true, false},
        {0xff, APIC_ICR_ASSERT | 0x53, true, true},
        {2, APIC_ICR_ASSERT | APIC_ICR_LOGICAL | 0x54, false, true},
        {3, APIC_ICR_ASSERT | APIC_ICR_LOGICAL | 0x55, true, true},
        {0, APIC_ICR_ASSERT | SHORT(ALL) | 0x56, true, true},
        {0, APIC_ICR_ASSERT | SHORT(OTHERS) | 0x57, false, true},
        {77, APIC_ICR_ASSERT | 0x58, false, false},
        {254, APIC_ICR_ASSERT | 0x59, false, false},
        {1, APIC_ICR_ASSERT | FIELD_PUT(APIC_ICR_MODE, APIC_MODE_LOWEST) | 0x5a, false, true},
        {1, APIC_ICR_ASSERT | APIC_ICR_LEVEL | 0x5b, false, true},
    };
    struct hv_vp *other = hv_vp_ref(partition, 1);

    (void)state;
    set_if(false);
    set_apic(APIC_LDR, 1 << 24);
    other->inbox.ldr = 2 << 24;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint8_t vector = (uint8_t)rows[i].icr;

        ipi_destination = rows[i].destination;
        ipi = rows[i].icr;
        FAKE_SVM_GUEST(ACCESS(send_ipi), STOP(by_xavic));
        run_to(HV_EXIT_IO);
        if (has(APIC_IRR, vector) != rows[i].to_self ||
            (other->inbox.vectors[vector / 64] >> vector % 64 & 1) != rows[i].to_other)
            fail_msg("row %zu: %s by the sender, %s by the other", i, has(APIC_IRR, vector) ? "heard" : "not heard",
                     other->inbox.vectors[vector / 64] >> vector % 64 & 1 ? "heard" : "not heard");
    }
    assert_int_equal(get_apic(APIC_ICR_LOW), rows[ARRAY_COUNT(rows) - 1].icr);
    hv_vp_unref(other);
}

/* One by shorthand to itself is the CPU's. */
static void an_ipi_to_itself_in_xapic_mode(void **state)
{
    (void)state;
    ipi = APIC_ICR_ASSERT | SHORT(SELF) | 0x61;
    FAKE_SVM_GUEST(STOP(send_ipi));
    run_to(HV_EXIT_IO);
    assert_true(has(APIC_IRR, 0x61));
    assert_int_equal(vp->counters.apic.self_ipis, 0);
}

/* A wrong vector is an error, not an interrupt. */
static void an_ipi_with_a_wrong_vector(void **state)
{
    (void)state;
    ipi = APIC_ICR_ASSERT | SHORT(SELF) | 0xf;
    FAKE_SVM_GUEST(ACCESS(send_ipi), STOP(by_xavic));
    run_to(HV_EXIT_IO);
    assert_int_equal(vp->lapic.esr_pending, APIC_ESR_SEND_ILLEGAL);
    assert_false(has(APIC_IRR, 0xf));
}

/* --------------------------------------------------------- where AVIC is off in xAPIC mode */

static void end_41_by_core(uint64_t gpr[16])
{
    by_core(gpr);
    assert_false(page_shows());
    write_apic(gpr, APIC_EOI, 0);
    assert_true(has(APIC_ISR, 0x41));
}

static void open_window_by_core(uint64_t gpr[16])
{
    open_window(gpr);
    assert_false(page_shows());
}

static void take_51_by_xavic(uint64_t gpr[16])
{
    by_xavic(gpr);
    assert_true(page_shows());
    take(0x51);
}

static void a_window_in_xapic_mode(void **state)
{
    (void)state;
    send(0x41, false);
    FAKE_SVM_GUEST(STOP(take_41_by_xavic));
    run_to(HV_EXIT_IO);
    set_if(false);
    send(0x51, false);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    FAKE_SVM_GUEST(ACCESS(end_41_by_core), WINDOW(open_window_by_core));
    run_to(HV_EXIT_WINDOW);
    assert_false(has(APIC_ISR, 0x41));
    FAKE_SVM_GUEST(STOP(take_51_by_xavic));
    run_to(HV_EXIT_IO);
}

/* One that is open already. */
static void a_window_that_is_open(void **state)
{
    (void)state;
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    run_to(HV_EXIT_WINDOW); /* without an entry */
    FAKE_SVM_GUEST(STOP(by_xavic));
    run_to(HV_EXIT_IO);
}

static void in_a_shadow(uint64_t gpr[16])
{
    by_xavic(gpr);
    fake_vmcb()->rip++;
}

static void alone(uint64_t gpr[16])
{
    by_core(gpr);
    assert_true(fake_svm_entered()->rflags & RFLAGS_TF);
    assert_false(page_shows());
    fake_vmcb()->rip++;
    fake_x86_here()->dr6 |= DR6_BS;
}

static void after_the_shadow(uint64_t gpr[16])
{
    by_core(gpr);
    assert_false(fake_svm_entered()->rflags & RFLAGS_TF);
    assert_true(fake_svm_entered()->v_intr & V_IRQ);
}

/* The instruction behind STI runs alone, and then the window is open. */
static void a_window_behind_a_shadow(void **state)
{
    (void)state;
    FAKE_SVM_GUEST({.run = in_a_shadow,
                    .code = EXIT_INTERCEPT_OF(INTERCEPT_IOIO),
                    .info1 = FIELD_PUT(IO_INFO_PORT, 0x80ull) | BIT64(4),
                    .length = 2,
                    .shadow = true});
    run_to(HV_EXIT_IO);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    send(0x41, false);
    FAKE_SVM_GUEST({.run = alone, .code = EXIT_EXCEPTION + VEC_DB}, WINDOW(after_the_shadow));
    run_to(HV_EXIT_WINDOW);
    FAKE_SVM_GUEST(STOP(take_41_by_xavic));
    run_to(HV_EXIT_IO);
}

static void disable_by_svr(uint64_t gpr[16])
{
    by_xavic(gpr);
    write_apic(gpr, APIC_SVR, 0xff);
}

static void read_svr(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(fake_svm_entered()->event_inj, 0);
    read_apic(gpr, APIC_SVR);
}

static void enable_by_svr(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(gpr[GPR_RAX], 0xff);
    write_apic(gpr, APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

static void disabled_by_software_in_xapic_mode(void **state)
{
    (void)state;
    send(0x41, false);
    FAKE_SVM_GUEST(ACCESS(disable_by_svr), ACCESS(read_svr), ACCESS(enable_by_svr), STOP(take_41_by_xavic));
    run_to(HV_EXIT_IO);
}

static void lower_tpr(uint64_t gpr[16])
{
    by_core(gpr);
    assert_false(page_shows());
    write_apic(gpr, APIC_TPR, 0x20);
}

/* The client waits for a priority, which AVIC would not tell of. */
static void a_threshold_in_xapic_mode(void **state)
{
    (void)state;
    set(HV_REG_CR8, 5);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 3ull));
    FAKE_SVM_GUEST(ACCESS(lower_tpr));
    run_to(HV_EXIT_WINDOW);
    FAKE_SVM_GUEST(STOP(by_xavic));
    run_to(HV_EXIT_IO);
    assert_true(page_shows());
}

static void write_memory(uint64_t gpr[16])
{
    by_core(gpr);
    assert_false(page_shows());
    write_apic(gpr, APIC_TPR, 0x20);
}

/* While VP 0 holds the page, VP 1, whose APIC is off, hears that it has no rights: it does not try again forever. */
static void memory_of_others_is_held(void **state)
{
    struct hv_vp *first = vp, *other = hv_vp_ref(partition, 1);
    struct hv_exit_context exit;

    (void)state;
    set_apic(APIC_SVR, 0xff);
    FAKE_SVM_GUEST(STOP(by_core));
    run_to(HV_EXIT_IO);
    vp = other;
    set(HV_REG_INTERNAL_ACTIVITY_STATE, 0);
    start_protected();
    set(HV_REG_APIC_BASE, APIC_DEFAULT_BASE);
    FAKE_SVM_GUEST(ACCESS(write_memory));
    exit = run_to(HV_EXIT_MEMORY);
    assert_int_equal(exit.memory.gpa, APIC_DEFAULT_BASE + APIC_TPR);
    assert_false(exit.memory.unmapped);
    vp = first;
    hv_vp_unref(other);
}

/* ----------------------------------------------------------------------- the host's timer */

#define START_TSC 1000000ull
#define SOON      1000000u
#define WAIT_NS   10000u
#define TIMER_41  (FIELD_PUT(APIC_LVT_TIMER_MODE, APIC_TIMER_DEADLINE) | 0x41)

static void set_deadline(uint64_t gpr[16])
{
    put_msr(gpr, MSR_IA32_TSC_DEADLINE, START_TSC + SOON);
}

/* An exit that is handled with interrupts on: that of the timer is the host's alone. */
static void miss_the_timer(uint64_t gpr[16])
{
    (void)gpr;
    assert_true(fake_timer(0) > hv_host_time_ns());
    fake_set_tsc(START_TSC + 2 * SOON);
    fake_set_time(fake_timer(0));
}

static void expect_another(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_svm_entered()->event_inj, 0);
    assert_in_range(fake_timer(0), hv_host_time_ns() + WAIT_NS, hv_host_time_ns() + 2 * WAIT_NS);
}

static void the_host_timer_comes_between_entries(void **state)
{
    (void)state;
    fake_set_tsc(START_TSC);
    set(HV_REG_TSC, START_TSC);
    set_apic(APIC_LVT_TIMER, TIMER_41);
    FAKE_SVM_GUEST(WRMSR(set_deadline), {.run = miss_the_timer, .code = EXIT_DR_READ, .length = 3},
                   HOST(expect_another), STOP(by_core_with_41));
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_timer(0), 0);
}

#define DEADLINE (START_TSC + 100000)

static uint64_t set_for; /* the host's timer */

static void arm_deadline(uint64_t gpr[16])
{
    by_core(gpr);
    put_msr(gpr, MSR_IA32_TSC_DEADLINE, DEADLINE);
}

static void too_early(uint64_t gpr[16])
{
    by_core(gpr);
    set_for = fake_timer(fake_cpu());
    fake_set_tsc(DEADLINE - 5000);
}

static void in_time(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(fake_svm_entered()->event_inj, 0);
    assert_in_range(fake_timer(fake_cpu()), 1, set_for);
    fake_set_tsc(DEADLINE);
}

/* SVM has no timer for guests. Nothing that is asked for meanwhile: the loop of entries does it all. */
static void a_deadline_that_the_host_keeps(void **state)
{
    (void)state;
    fake_set_tsc(START_TSC);
    set(HV_REG_TSC, START_TSC);
    set_apic(APIC_LVT_TIMER, TIMER_41);
    FAKE_SVM_GUEST(WRMSR(arm_deadline), HOST(too_early), HOST(in_time), STOP(by_core_with_41));
    run_to(HV_EXIT_IO);
    assert_in_range(set_for, hv_host_time_ns() + 1, hv_host_time_ns() + 110000);
    assert_int_equal(vp->lapic.timer_tsc, 0);
    assert_int_equal(fake_timer(fake_cpu()), 0);
}

static void disarm(uint64_t gpr[16])
{
    by_core(gpr);
    assert_true(fake_timer(fake_cpu()));
    put_msr(gpr, MSR_IA32_TSC_DEADLINE, 0);
}

static void nothing_is_set(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(fake_timer(fake_cpu()), 0);
    fake_set_tsc(DEADLINE);
}

static void without_event(uint64_t gpr[16])
{
    by_core(gpr);
    assert_int_equal(fake_svm_entered()->event_inj, 0);
}

static void a_deadline_that_is_taken_back(void **state)
{
    (void)state;
    fake_set_tsc(START_TSC);
    set(HV_REG_TSC, START_TSC);
    set_apic(APIC_LVT_TIMER, TIMER_41);
    FAKE_SVM_GUEST(WRMSR(arm_deadline), WRMSR(disarm), HOST(nothing_is_set), STOP(without_event));
    run_to(HV_EXIT_IO);
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
        AVIC_ONLY(x2apic_mode_without_x2avic),
        NO_AVIC(no_avic),
        NO_AVIC(a_deadline_that_the_host_keeps),
        NO_AVIC(a_deadline_that_is_taken_back),
        XAPIC_TEST(the_cpu_delivers_in_xapic_mode),
        AVIC_ONLY(the_cpu_delivers_in_xapic_mode),
        XAPIC_TEST(registers_of_xapic_mode),
        XAPIC_TEST(a_saved_page),
        XAPIC_TEST(the_end_of_a_level_triggered_interrupt_in_xapic_mode),
        XAPIC_TEST(ipis),
        XAPIC_TEST(an_ipi_to_itself_in_xapic_mode),
        XAPIC_TEST(an_ipi_with_a_wrong_vector),
        XAPIC_TEST(a_window_in_xapic_mode),
        XAPIC_TEST(a_window_that_is_open),
        XAPIC_TEST(a_window_behind_a_shadow),
        XAPIC_TEST(disabled_by_software_in_xapic_mode),
        XAPIC_TEST(a_threshold_in_xapic_mode),
        XAPIC_TEST(memory_of_others_is_held),
        NO_AVIC(the_host_timer_comes_between_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
