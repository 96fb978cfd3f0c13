/* SPDX-License-Identifier: MIT */
/*
 * What reaches local APICs by other ways than as a vector, what the client hears of guests' messages and writes, and
 * who delivers when: from the native API to the fake CPU.
 */
#include "irq_vp.h"
#include "virt/irq.h"

static int setup_xapic(void **state)
{
    int result = setup(state);

    if (result == 0 && !machine_is_refused())
        set(HV_REG_APIC_BASE, (get(HV_REG_APIC_BASE) & ~APIC_BASE_EXTD) | APIC_BASE_EN);
    return result;
}

static void trap(uint64_t exits)
{
    set_property(0x1, exits); /* ExtendedVmExits */
}

/* -------------------------------------------------------------------------------- the inputs */

static void run_and_look(uint32_t injected)
{
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, injected, false, false, 0);
}

static void an_input_does_what_its_entry_says(void **state)
{
    (void)state;
    set_apic(APIC_LVT_LINT1, FIELD_PUT(APIC_LVT_MODE, APIC_MODE_EXTINT));
    send(HV_INTERRUPT_LOCAL_INT1, 0, 0x31, false);
    send(HV_INTERRUPT_LOCAL_INT0, 0, 0x32, false); /* masked since the reset */
    run_and_look(EXTERNAL(0x31));
    set_apic(APIC_LVT_LINT1, 0x51);
    send(HV_INTERRUPT_LOCAL_INT1, 0, 0x31, false);
    run_and_look(EXTERNAL(0x51));
    assert_true(get_apic(APIC_ISR + 0x20) & BIT32(0x11));
    set_apic(APIC_LVT_LINT1, FIELD_PUT(APIC_LVT_MODE, APIC_MODE_NMI));
    send(HV_INTERRUPT_LOCAL_INT1, 0, 0, false);
    run_and_look(NMI);
    assert_int_equal(get(HV_REG_PENDING_EVENT), 0);
}

/* What came while LINT0 was no input for them is gone, also what came together with something else. */
static void ext_ints_that_nobody_takes(void **state)
{
    (void)state;
    set_apic(APIC_LVT_LINT0, 0x51);
    send(APIC_MODE_EXTINT, 0, 0x31, false);
    send(HV_INTERRUPT_LOCAL_INT0, 0, 0x32, false);
    run_and_look(EXTERNAL(0x51));
    set_apic(APIC_LVT_LINT0, FIELD_PUT(APIC_LVT_MODE, APIC_MODE_EXTINT));
    run_and_look(0);
    send(APIC_MODE_EXTINT, 1, 0x31, false); /* another one's */
    run_and_look(0);
}

#define EXT_INT(vector)                                                                           \
    (HV_PENDING_EVENT_VALID | FIELD_PUT(HV_PENDING_EVENT_TYPE, (uint64_t)HV_EVENT_TYPE_EXT_INT) | \
     FIELD_PUT(HV_PENDING_EVENT_EXT_VECTOR, (uint64_t)(vector)))

static void ext_ints_wait_in_order(void **state)
{
    (void)state;
    set_apic(APIC_LVT_LINT0, FIELD_PUT(APIC_LVT_MODE, APIC_MODE_EXTINT));
    set(HV_REG_CR8, 15);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    send(APIC_MODE_EXTINT, 0, 0x91, false);
    send(APIC_MODE_EXTINT, 0, 0x21, false);
    send(APIC_MODE_EXTINT, 0, 0x91, false);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, true, false, 0);
    assert_int_equal(get(HV_REG_PENDING_EVENT), EXT_INT(0x21));
    set(HV_REG_PENDING_EVENT, EXT_INT(0x21)); /* given back: it is the same one */
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    GUEST({.run = look, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x21), true, false, 0);
    assert_seen(1, EXTERNAL(0x91), false, false, 0);
    assert_int_equal(get(HV_REG_PENDING_EVENT), 0);
    send(APIC_MODE_EXTINT, 0, 0x22, false);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    set(HV_REG_PENDING_EVENT, 0); /* taken back */
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    run_and_look(0);
}

static void an_ext_int_wakes_a_halted_vp(void **state)
{
    (void)state;
    set_apic(APIC_LVT_LINT0, FIELD_PUT(APIC_LVT_MODE, APIC_MODE_EXTINT));
    set(HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_HALT_SUSPEND);
    send(APIC_MODE_EXTINT, 0, 0x31, false);
    run_and_look(EXTERNAL(0x31));
}

static void inputs_of_an_apic_that_is_off(void **state)
{
    (void)state;
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) & ~(APIC_BASE_EN | APIC_BASE_EXTD));
    send(HV_INTERRUPT_LOCAL_INT1, 0, 0, false);
    run_and_look(NMI);
    send(HV_INTERRUPT_LOCAL_INT0, 0, 0x31, false);
    run_and_look(EXTERNAL(0x31));
    send(APIC_MODE_NMI, 0, 0, false); /* a message, that no APIC takes */
    send_fixed(0x41);
    assert_int_equal(vp->shared.requests, 0);
}

/* 0x31, through LINT0, for a guest that takes none now. */
static void let_ext_int_wait(void)
{
    set_apic(APIC_LVT_LINT0, FIELD_PUT(APIC_LVT_MODE, APIC_MODE_EXTINT));
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    send(APIC_MODE_EXTINT, 0, 0x31, false);
    GUEST(STOP);
    run_to(HV_EXIT_IO);
}

static void init_forgets_what_waits(void **state)
{
    (void)state;
    let_ext_int_wait();
    send(APIC_MODE_EXTINT, 0, 0x32, false);
    send(APIC_MODE_INIT, 0, 0, false);
    GUEST(STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(get(HV_REG_PENDING_EVENT), 0);
    assert_int_equal(vp->inbox.ext_ints[0][0] | vp->inbox.signals, 0);
}

static void a_reset_forgets_what_waits(void **state)
{
    (void)state;
    let_ext_int_wait();
    assert_int_equal(get(HV_REG_PENDING_EVENT), EXT_INT(0x31));
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    assert_int_equal(get(HV_REG_PENDING_EVENT), 0);
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    run_and_look(0);
}

/* ------------------------------------------------------------------------------------- traps */

static void messages_that_exit(void **state)
{
    const uint64_t smi = FIELD_PUT(APIC_ICR_MODE, APIC_MODE_SMI) | BIT64(32);
    const uint64_t init = FIELD_PUT(APIC_ICR_MODE, APIC_MODE_INIT) | APIC_ICR_ASSERT | APIC_ICR_LEVEL | BIT64(32);
    struct hv_exit_context exit;

    (void)state;
    trap(HV_EXTENDED_SMI);
    will_write(0, X2APIC(APIC_ICR_LOW), smi);
    will_write(1, X2APIC(APIC_ICR_LOW), init); /* not this one */
    GUEST(WRMSR);
    exit = run();
    assert_reason(&exit, HV_EXIT_APIC_SMI_TRAP);
    assert_int_equal(exit.icr, smi);
    assert_int_equal(exit.vp.instruction_length, 0);
    assert_int_equal(exit.vp.rip, CODE + 2);
    assert_int_equal(other->shared.requests, 0);
    GUEST(WRMSR, STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(other->shared.requests, VP_REQUEST_INIT);
    other->shared.requests = 0;
    trap(HV_EXTENDED_INIT_SIPI);
    will_write(0, X2APIC(APIC_ICR_LOW), init);
    will_write(1, X2APIC(APIC_ICR_LOW), FIELD_PUT(APIC_ICR_MODE, APIC_MODE_STARTUP) | BIT64(32) | 0x12);
    will_write(2, X2APIC(APIC_ICR_LOW), smi); /* nobody gets it */
    for (unsigned i = 0; i < 2; i++) {
        GUEST(WRMSR);
        exit = run();
        assert_reason(&exit, HV_EXIT_APIC_INIT_SIPI_TRAP);
        assert_int_equal(exit.icr, writes[i].value);
    }
    GUEST(WRMSR, STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(other->shared.requests, 0);
    set_apic(APIC_ICR_LOW, init); /* the client's own write is nobody's message */
    GUEST(STOP);
    run_to(HV_EXIT_IO);
}

static void smis_by_the_client(void **state)
{
    const struct hv_interrupt smi = {.type = APIC_MODE_SMI, .destination = 0xff};
    const uint64_t own = FIELD_PUT(APIC_ICR_MODE, APIC_MODE_SMI) | FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF);
    struct hv_exit_context exit;

    (void)state;
    assert_int_equal(hv_partition_interrupt(partition, &smi), HV_E_INVALID);
    trap(HV_EXTENDED_SMI);
    assert_int_equal(hv_partition_interrupt(partition, &smi), HV_OK);
    assert_int_equal(hv_partition_interrupt(partition, &smi), HV_OK);
    set(HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_HALT_SUSPEND);
    exit = run();
    assert_reason(&exit, HV_EXIT_APIC_SMI_TRAP);
    assert_int_equal(exit.icr, own);
    assert_int_equal(get(HV_REG_INTERNAL_ACTIVITY_STATE), HV_ACTIVITY_HALT_SUSPEND);
    set(HV_REG_INTERNAL_ACTIVITY_STATE, 0);
    GUEST(STOP);
    run_to(HV_EXIT_IO); /* once */
    assert_int_equal(hv_partition_interrupt(partition, &smi), HV_OK);
    trap(0); /* before it was taken in */
    GUEST(STOP);
    run_to(HV_EXIT_IO);
}

static void assert_write_trap(const struct hv_exit_context *exit, uint32_t offset, uint64_t value)
{
    assert_reason(exit, HV_EXIT_APIC_WRITE_TRAP);
    assert_int_equal(exit->apic_write.offset, offset);
    assert_int_equal(exit->apic_write.value, value);
    assert_int_equal(exit->vp.instruction_length, 0);
}

static void writes_that_exit(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    trap(HV_EXTENDED_APIC_SVR);
    will_write(0, X2APIC(APIC_LVT_LINT0), 0x10700);
    will_write(1, X2APIC(APIC_SVR), 0x1f3);
    GUEST(WRMSR, WRMSR);
    exit = run();
    assert_write_trap(&exit, APIC_SVR, 0x1f3);
    assert_int_equal(exit.vp.rip, CODE + 4);
    assert_int_equal(get_apic(APIC_SVR), 0x1f3);
    trap(HV_EXTENDED_APIC_LINT0 | HV_EXTENDED_APIC_LINT1);
    will_write(0, X2APIC(APIC_LVT_LINT1), 0x10400);
    GUEST(WRMSR);
    exit = run();
    assert_write_trap(&exit, APIC_LVT_LINT1, 0x10400);
    will_write(0, X2APIC(APIC_LVT_LINT1), BIT64(40)); /* #GP: not written */
    GUEST(WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(1, GP, false, false, 0);
    set_apic(APIC_LVT_LINT1, 0x10400); /* by the client */
    GUEST(STOP);
    run_to(HV_EXIT_IO);
}

/* The CPU has put the value into the page. */
static void write_page(uint64_t gpr[16])
{
    (void)gpr;
    vp->vcpu->apic_page[APIC_LDR / 4] = 0x0212345;
    vp->vcpu->apic_page[APIC_DFR / 4] = 0;
}

static void writes_by_the_cpu_that_exit(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    trap(HV_EXTENDED_APIC_LDR | HV_EXTENDED_APIC_DFR);
    FAKE_GUEST({.run = write_page, .reason = EXIT_REASON_APIC_WRITE, .qualification = APIC_LDR});
    exit = run();
    assert_write_trap(&exit, APIC_LDR, 0x0212345);
    assert_int_equal(get_apic(APIC_LDR), 0);
    FAKE_GUEST({.reason = EXIT_REASON_APIC_WRITE, .qualification = APIC_DFR});
    exit = run();
    assert_write_trap(&exit, APIC_DFR, 0);
    assert_int_equal(vp->vcpu->apic_page[APIC_DFR / 4], 0x0fffffff);
}

/* ----------------------------------------------------------------------------- who delivers */

static bool cpu_delivers;

static void look_who_delivers(uint64_t gpr[16])
{
    look(gpr);
    cpu_delivers = fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_VIRT_INTR_DELIVERY;
}

#define LOOK_WHO_DELIVERS                                                \
    {                                                                    \
        .run = look_who_delivers, .reason = EXIT_REASON_IO, .length = 1, \
    }

static void set_auto_eoi(uint8_t vector, bool value)
{
    vp->auto_eoi[vector / 64] = value ? BIT64(vector % 64) : 0;
    hv_host_preempt_disable();
    irq_auto_eoi_changed(vp);
    hv_host_preempt_enable();
}

/* A vector whose delivery is its end: no bit in ISR, and the core delivers all of them. */
static void auto_eoi(void **state)
{
    (void)state;
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_true(cpu_delivers);
    set_auto_eoi(0x61, true);
    send_fixed(0x61);
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_false(cpu_delivers);
    assert_seen(0, EXTERNAL(0x61), false, false, 0);
    assert_int_equal(get_apic(APIC_ISR + 0x30) | get_apic(APIC_IRR + 0x30), 0);
    send_fixed(0x62);
    send_fixed(0x63);
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x63), false, false, 0);
    assert_int_equal(get_apic(APIC_ISR + 0x30), BIT32(3));
    set_auto_eoi(0x61, false);
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_true(cpu_delivers);
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_INTR_STATUS), 0x6362); /* what there is goes on by the CPU */
}

/* There will be no EOI at which to look for the next one. */
static void auto_eoi_keeps_no_other_back(void **state)
{
    (void)state;
    set_auto_eoi(0x73, true);
    send_fixed(0x62);
    send_fixed(0x73);
    GUEST({.run = look, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x73), true, false, 0);
    assert_seen(1, EXTERNAL(0x62), false, false, 0);
    set_apic(APIC_EOI, 0);
    set(HV_REG_CR8, 6);
    send_fixed(0x64);
    send_fixed(0x73);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x73), false, false, 6);
}

static void lower_cr8(uint64_t gpr[16])
{
    look_who_delivers(gpr);
    vp->vcpu->apic_page[APIC_TPR / 4] = 0x20;
}

/* A CPU that delivers does not tell when the task priority falls: while the client waits for that, it does not. */
static void a_window_by_priority(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_CR8, 9);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 5));
    GUEST({.run = lower_cr8, .reason = EXIT_REASON_TPR_BELOW});
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_false(cpu_delivers);
    assert_seen(0, 0, false, false, 5);
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_true(cpu_delivers);
    assert_seen(0, 0, false, false, 0);
    set(HV_REG_CR8, 9);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 5));
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_false(cpu_delivers);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, 0); /* not any more */
    GUEST(LOOK_WHO_DELIVERS);
    run_to(HV_EXIT_IO);
    assert_true(cpu_delivers);
}

/* Both windows are open: each is told, NMI first, and nothing of the APIC's goes in before. */
static void windows_that_are_open(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    send_fixed(0x51);
    send(APIC_MODE_NMI, 0, 0, false);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_NMI | HV_NOTIFY_INTERRUPT);
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_NMI);
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_EXTERNAL);
    assert_int_equal(exit.vp.rip, CODE);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(seen[0].injected, NMI);
}

/* --------------------------------------------------------------------------- remote reads */

static uint32_t asked = 1;

static void write_icr_in_page(uint64_t gpr[16])
{
    (void)gpr;
    vp->vcpu->apic_page[APIC_ICR_HIGH / 4] = asked << 24;
    vp->vcpu->apic_page[APIC_ICR_LOW / 4] = (uint32_t)FIELD_PUT(APIC_ICR_MODE, APIC_MODE_REMOTE) | APIC_SVR >> 4;
}

static uint64_t remote_status(void)
{
    return FIELD_GET(APIC_ICR_REMOTE, vp->vcpu->apic_page[APIC_ICR_LOW / 4]);
}

static void ask(void)
{
    FAKE_GUEST({.run = write_icr_in_page, .reason = EXIT_REASON_APIC_WRITE, .qualification = APIC_ICR_LOW}, STOP);
    run_to(HV_EXIT_IO);
}

static void look_for_requests(struct hv_vp *whose)
{
    hv_host_preempt_disable();
    backend()->acquire(whose->vcpu);
    irq_take_requests(whose);
    hv_host_preempt_enable();
}

static void remote_reads(void **state)
{
    (void)state;
    vp->lapic.remote_read = true; /* the property's */
    ask();
    assert_int_equal(remote_status(), APIC_REMOTE_PENDING);
    look_for_requests(other);
    GUEST(STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(remote_status(), APIC_REMOTE_VALID);
    assert_int_equal(vp->vcpu->apic_page[APIC_RRD / 4], 0xff);
    /* the answer to an earlier question comes too late */
    ask();
    look_for_requests(other);
    other->vcpu->apic_page[APIC_SVR / 4] = 0x1fe;
    FAKE_GUEST({.run = write_icr_in_page, .reason = EXIT_REASON_APIC_WRITE, .qualification = APIC_ICR_LOW}, STOP);
    vp->shared.requests = 0;
    run_to(HV_EXIT_IO);
    vp->shared.requests = VP_REQUEST_SIGNAL;
    look_for_requests(vp);
    assert_int_equal(remote_status(), APIC_REMOTE_PENDING);
    look_for_requests(other);
    look_for_requests(vp);
    assert_int_equal(remote_status(), APIC_REMOTE_VALID);
    assert_int_equal(vp->vcpu->apic_page[APIC_RRD / 4], 0x1fe);
    asked = 7; /* nobody */
    ask();
    assert_int_equal(remote_status(), APIC_REMOTE_INVALID);
    asked = 0xff; /* more than one */
    ask();
    assert_int_equal(remote_status(), APIC_REMOTE_INVALID);
    vp->lapic.remote_read = false;
    asked = 1;
    other->shared.requests = 0;
    ask();
    assert_int_equal(remote_status(), APIC_REMOTE_INVALID);
    assert_int_equal(other->shared.requests, 0);
}

/* ------------------------------------------------------------------------------- targets */

static void targets(void **state)
{
    uint32_t vps[2] = {9, 9}, count = 9;

    (void)state;
    assert_int_equal(hv_partition_interrupt_targets(partition, 0xff, false, vps, 1, &count), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(hv_partition_interrupt_targets(partition, 1ull << 32, false, vps, 2, &count), HV_E_INVALID);
    assert_int_equal(count, 9);
    assert_int_equal(hv_partition_interrupt_targets(partition, 0xff, false, vps, 2, &count), HV_OK);
    assert_int_equal(count, 2);
    assert_int_equal(vps[0], 0);
    assert_int_equal(vps[1], 1);
    assert_int_equal(hv_partition_interrupt_targets(partition, 1, true, vps, 2, &count), HV_OK);
    assert_int_equal(count, 1); /* VP 1 is in xAPIC mode and has no logical ID */
    assert_int_equal(vps[0], 0);
    assert_int_equal(hv_partition_interrupt_targets(partition, 0x100, false, vps, 2, &count), HV_OK);
    assert_int_equal(count, 0);
}

#define XAPIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_xapic, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IRQ_TEST(an_input_does_what_its_entry_says),
        IRQ_TEST(ext_ints_that_nobody_takes),
        IRQ_TEST(ext_ints_wait_in_order),
        IRQ_TEST(an_ext_int_wakes_a_halted_vp),
        IRQ_TEST(inputs_of_an_apic_that_is_off),
        IRQ_TEST(init_forgets_what_waits),
        IRQ_TEST(a_reset_forgets_what_waits),
        IRQ_TEST(messages_that_exit),
        IRQ_TEST(smis_by_the_client),
        IRQ_TEST(writes_that_exit),
        XAPIC_TEST(writes_by_the_cpu_that_exit),
        DELIVERY_TEST(auto_eoi),
        DELIVERY_TEST(auto_eoi_keeps_no_other_back),
        DELIVERY_TEST(a_window_by_priority),
        IRQ_TEST(windows_that_are_open),
        DELIVERY_TEST(windows_that_are_open),
        XAPIC_TEST(remote_reads),
        IRQ_TEST(targets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
