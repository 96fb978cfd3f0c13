/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of VPs with local APICs, from the native API to the fake CPU: what is injected when, by windows and task
 * priority, halted VPs, INIT and SIPI, EOIs that the client hears of, the timer, and the APIC's page in the memory map.
 */
#include "irq_vp.h"
#include <pthread.h>

static int setup_nothing(void **state)
{
    return start_machine(state, 0);
}

#define NOTHING_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_nothing, teardown)

/* ------------------------------------------------------------------------------- injection */

static void an_interrupt_is_injected(void **state)
{
    (void)state;
    send_fixed(0x41);
    GUEST({.run = look, .reason = EXIT_REASON_EXTERNAL_INTR}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x41), false, false, 0);
    assert_seen(1, 0, false, false, 0); /* once */
    assert_int_equal(get_apic(APIC_IRR + 0x20), 0);
    assert_int_equal(get_apic(APIC_ISR + 0x20), BIT64(1));
    assert_int_equal(get_apic(APIC_PPR), 0x40);
}

static void send_41(uint64_t gpr[16])
{
    look(gpr);
    send_fixed(0x41);
}

static void one_that_comes_in_the_run(void **state)
{
    (void)state;
    GUEST({.run = send_41, .reason = EXIT_REASON_EXTERNAL_INTR}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_kicks(0), 1);
    assert_seen(0, 0, false, false, 0);
    assert_seen(1, EXTERNAL(0x41), false, false, 0);
}

static void allow_interrupts(uint64_t gpr[16])
{
    look(gpr);
    fake_vmcs_set(VMCS_GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

static void a_guest_that_masks_interrupts(void **state)
{
    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    send_fixed(0x41);
    GUEST({.run = allow_interrupts, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, true, false, 0);
    assert_seen(1, EXTERNAL(0x41), false, false, 0);
}

static void set_shadow(uint64_t gpr[16])
{
    send_41(gpr);
    fake_vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI);
}

static void end_shadow(uint64_t gpr[16])
{
    look(gpr);
    fake_vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, 0);
}

static void a_guest_in_an_interrupt_shadow(void **state)
{
    (void)state;
    GUEST({.run = set_shadow, .reason = EXIT_REASON_EXTERNAL_INTR},
          {.run = end_shadow, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(1, 0, true, false, 0);
    assert_seen(2, EXTERNAL(0x41), false, false, 0);
}

static void lower_tpr(uint64_t gpr[16])
{
    look(gpr);
    vp->vcpu->apic_page[APIC_TPR / 4] = 0x3f;
}

static void an_interrupt_below_the_task_priority(void **state)
{
    (void)state;
    set(HV_REG_CR8, 5);
    send_fixed(0x41);
    GUEST({.run = lower_tpr, .reason = EXIT_REASON_TPR_BELOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, false, 4);
    assert_seen(1, EXTERNAL(0x41), false, false, 0);
    assert_int_equal(get_apic(APIC_TPR), 0x3f); /* all of it */
}

/* The CPU would refuse a threshold above the task priority. */
static void the_client_lowers_the_task_priority(void **state)
{
    struct hv_audit_finding finding;
    bool broken;

    (void)state;
    set(HV_REG_CR8, 5);
    send_fixed(0x51);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, false, 5);
    set(HV_REG_CR8, 4);
    assert_int_equal(hv_vp_audit(vp, &broken, &finding), HV_OK);
    assert_false(broken);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x51), false, false, 0);
}

/* As above; an APIC that is disabled has lost its task priority and what was pending. */
static void the_guest_disables_the_apic(void **state)
{
    (void)state;
    set(HV_REG_CR8, 5);
    send_fixed(0x51);
    will_write(0, MSR_IA32_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_BSP);
    GUEST(WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, false, 5);
    assert_seen(1, 0, false, false, 0);
}

static void several_by_priority(void **state)
{
    (void)state;
    send_fixed(0x41);
    send_fixed(0x85);
    send_fixed(0x81);
    for (unsigned i = 0; i < 3; i++)
        will_write(i, X2APIC(APIC_EOI), 0);
    GUEST(WRMSR, WRMSR, WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x85), false, false, 0);
    assert_seen(1, EXTERNAL(0x81), false, false, 0);
    assert_seen(2, EXTERNAL(0x41), false, false, 0);
    assert_seen(3, 0, false, false, 0);
    assert_int_equal(get_apic(APIC_PPR), 0);
    assert_int_equal(get(HV_REG_RIP), CODE + 6);
}

static void send_61_and_47(uint64_t gpr[16])
{
    look(gpr);
    send_fixed(0x61);
    send_fixed(0x47);
}

/* Only a higher class interrupts; one of the same class waits for the EOI, and no threshold would tell of it. */
static void one_interrupts_the_other(void **state)
{
    (void)state;
    send_fixed(0x41);
    will_write(0, X2APIC(APIC_EOI), 0);
    will_write(1, X2APIC(APIC_EOI), 0);
    GUEST({.run = send_61_and_47, .reason = EXIT_REASON_EXTERNAL_INTR}, WRMSR, WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x41), false, false, 0);
    assert_seen(1, EXTERNAL(0x61), false, false, 0);
    assert_seen(2, 0, false, false, 0);
    assert_seen(3, EXTERNAL(0x47), false, false, 0);
}

static void send_nmi(uint64_t gpr[16])
{
    look(gpr);
    send(APIC_MODE_NMI, 0, 0, false);
}

static void send_51(uint64_t gpr[16])
{
    look(gpr);
    send_fixed(0x51);
}

static void return_from_nmi(uint64_t gpr[16])
{
    look(gpr);
    fake_vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, 0);
}

/* NMIs go before interrupts, and block NMIs. */
static void nmis(void **state)
{
    (void)state;
    send(APIC_MODE_NMI, 0, 0, false);
    send_fixed(0x41);
    GUEST({.run = send_nmi, .reason = EXIT_REASON_INTR_WINDOW}, {.run = send_51, .reason = EXIT_REASON_EXTERNAL_INTR},
          {.run = return_from_nmi, .reason = EXIT_REASON_NMI_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, NMI, true, false, 0);
    assert_seen(1, EXTERNAL(0x41), false, true, 0);
    assert_seen(2, EXTERNAL(0x51), false, true, 0);
    assert_seen(3, NMI, false, false, 0);
}

/* Of those that come while none is handled the second one waits for the first one's IRET, and a third is lost. */
static void nmis_in_a_row(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        send(APIC_MODE_NMI, 0, 0, false);
    GUEST({.run = return_from_nmi, .reason = EXIT_REASON_NMI_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, NMI, false, true, 0);
    assert_seen(1, NMI, false, false, 0);
    for (unsigned i = 0; i < 2; i++) /* while one is handled: they are one */
        send(APIC_MODE_NMI, 0, 0, false);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, true, 0);
    GUEST({.run = return_from_nmi, .reason = EXIT_REASON_NMI_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(1, NMI, false, false, 0);
}

static void interrupts_that_are_none(void **state)
{
    static const struct hv_interrupt bad[] = {
        {.type = APIC_MODE_FIXED, .vector = 15},          {.type = APIC_MODE_FIXED, .vector = 256},
        {.type = APIC_MODE_LOWEST, .vector = 3},          {.type = APIC_MODE_STARTUP, .vector = 256},
        {.type = APIC_MODE_SMI, .vector = 0x41},          {.type = 3, .vector = 0x41},
        {.type = APIC_MODE_EXTINT, .vector = 256},        {.type = HV_INTERRUPT_LOCAL_INT0, .vector = 256},
        {.type = HV_INTERRUPT_LOCAL_INT1, .vector = 256}, {.type = 10, .vector = 0x41},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(hv_partition_interrupt(partition, &bad[i]), HV_E_INVALID);
    assert_int_equal(vp->shared.requests, 0);
    send(APIC_MODE_FIXED, 5, 0x41, false); /* nobody's */
    send(APIC_MODE_FIXED, 0x101, 0x41, false);
    send(APIC_MODE_FIXED, 0x1ff, 0x41, false);
    assert_int_equal(vp->shared.requests | other->shared.requests, 0);
}

/* -------------------------------------------------------------------- together with the client's */

static void set_ext_int(uint8_t vector)
{
    set(HV_REG_PENDING_EVENT, HV_PENDING_EVENT_VALID | FIELD_PUT(HV_PENDING_EVENT_TYPE, HV_EVENT_TYPE_EXT_INT) |
                                  FIELD_PUT(HV_PENDING_EVENT_EXT_VECTOR, vector));
}

static void an_ext_int_goes_first(void **state)
{
    (void)state;
    set_ext_int(0x31);
    send_fixed(0x41);
    GUEST({.run = look, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x31), true, false, 0);
    assert_seen(1, EXTERNAL(0x41), false, false, 0);
    set(HV_REG_RFLAGS, RFLAGS_FIXED); /* and so it is when both have to wait */
    set_ext_int(0x32);
    send_fixed(0x51);
    GUEST({.run = allow_interrupts, .reason = EXIT_REASON_INTR_WINDOW},
          {.run = look, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, true, false, 0);
    assert_seen(1, EXTERNAL(0x32), true, false, 0);
    assert_seen(2, EXTERNAL(0x51), false, false, 0);
}

static void the_client_waits_for_a_window_too(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    send_fixed(0x41);
    GUEST({.run = allow_interrupts, .reason = EXIT_REASON_INTR_WINDOW});
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_EXTERNAL);
    assert_seen(0, 0, true, false, 0);
    assert_int_equal(get(HV_REG_DELIVERABILITY_NOTIFICATIONS), 0);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x41), false, false, 0);
    send_fixed(0x51); /* open at once: nothing is injected, no instruction runs */
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    run_to(HV_EXIT_WINDOW);
}

/* The higher of two thresholds is heard of first, and the other one then. */
static void two_thresholds(void **state)
{
    (void)state;
    set(HV_REG_CR8, 6);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 3));
    send_fixed(0x51);
    will_write(0, X2APIC(APIC_EOI), 0);
    GUEST({.run = look, .reason = EXIT_REASON_EXTERNAL_INTR}, {.run = look, .reason = EXIT_REASON_EXTERNAL_INTR}, STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, false, 5);
    set(HV_REG_CR8, 4);
    GUEST(WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x51), false, false, 3);
    assert_seen(1, 0, false, false, 3);
}

/* -------------------------------------------------------------------------- hardware delivers */

static uint64_t status_then;

static void look_at_status(uint64_t gpr[16])
{
    look(gpr);
    status_then = fake_vmcs_get(VMCS_GUEST_INTR_STATUS);
}

static volatile uint32_t *apic_word(uint32_t set, uint8_t vector)
{
    return &vp->vcpu->apic_page[(set + vector / 32u * 16) / 4];
}

/* The CPU delivers 0x61; then another one comes. */
static void take_61_and_send_51(uint64_t gpr[16])
{
    look_at_status(gpr);
    *apic_word(APIC_IRR, 0x61) &= ~(uint32_t)BIT64(0x61 % 32);
    *apic_word(APIC_ISR, 0x61) |= (uint32_t)BIT64(0x61 % 32);
    fake_vmcs_set(VMCS_GUEST_INTR_STATUS, 0x6141);
    send_fixed(0x51);
}

static void the_cpu_delivers(void **state)
{
    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    send_fixed(0x41);
    send_fixed(0x61);
    GUEST({.run = take_61_and_send_51, .reason = EXIT_REASON_EXTERNAL_INTR},
          {.run = look_at_status, .reason = EXIT_REASON_IO, .length = 1});
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, false, 0);
    assert_seen(1, 0, false, false, 0);
    assert_int_equal(status_then, 0x6151);
    assert_int_equal(get_apic(APIC_IRR + 0x20), BIT64(1) | BIT64(17)); /* 0x41, 0x51 */
    GUEST({.run = look_at_status, .reason = EXIT_REASON_IO, .length = 1});
    fake_vmx_forget();
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_vmx_reads(VMCS_GUEST_INTR_STATUS), 0);
    send_fixed(0x31); /* not the highest */
    GUEST({.run = look_at_status, .reason = EXIT_REASON_IO, .length = 1});
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_vmx_reads(VMCS_GUEST_INTR_STATUS), 1);
    assert_int_equal(fake_vmx_writes(VMCS_GUEST_INTR_STATUS), 0);
    send_fixed(0x71);
    GUEST({.run = look_at_status, .reason = EXIT_REASON_IO, .length = 1});
    run_to(HV_EXIT_IO);
    assert_int_equal(status_then, 0x6171);
}

static bool eoi_exits(uint8_t vector)
{
    return fake_vmcs_get(VMCS_EOI_EXIT_BITMAP0 + 2u * (vector / 64u)) >> vector % 64 & 1;
}

static struct hv_exit_context virtual_eoi(uint8_t vector)
{
    FAKE_GUEST({.reason = EXIT_REASON_EXTERNAL_INTR}, {.reason = EXIT_REASON_VIRTUAL_EOI, .qualification = vector});
    return run();
}

static void eois_that_the_cpu_does(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    send(APIC_MODE_FIXED, 0, 0x9a, true);
    send_fixed(0x9b);
    exit = virtual_eoi(0x9a);
    assert_reason(&exit, HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x9a);
    assert_int_equal(exit.vp.instruction_length, 0);
    assert_int_equal(exit.vp.rip, CODE);
    assert_true(eoi_exits(0x9a));
    assert_false(eoi_exits(0x9b));
    send_fixed(0x9a); /* now an edge */
    GUEST(STOP);
    run_to(HV_EXIT_IO);
    assert_false(eoi_exits(0x9a));
    send(APIC_MODE_FIXED, 0, 0x9a, true);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | APIC_SVR_EOI_SUPPRESSED | 0xff);
    FAKE_GUEST({.reason = EXIT_REASON_VIRTUAL_EOI, .qualification = 0x9a}, STOP); /* the client does not hear of it */
    run_to(HV_EXIT_IO);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    FAKE_GUEST({.reason = EXIT_REASON_VIRTUAL_EOI, .qualification = 0x9b}, STOP); /* nor of an edge's */
    run_to(HV_EXIT_IO);
}

/* An interrupt that is not taken leaves alone what is known of an earlier one of its vector. */
static void a_refused_interrupt(void **state)
{
    (void)state;
    send(APIC_MODE_FIXED, 0, 0x9a, true);
    GUEST(STOP);
    run_to(HV_EXIT_IO);
    set_apic(APIC_SVR, 0xff);
    send_fixed(0x9a);
    GUEST(STOP);
    run_to(HV_EXIT_IO);
    assert_true(eoi_exits(0x9a));
}

/* ------------------------------------------------------------------------------------ halted */

static unsigned waits;

static void wake_by_interrupt(const volatile uint32_t *word, uint32_t expected)
{
    assert_ptr_equal(word, &vp->shared.wake);
    assert_int_equal(*word, expected);
    if (++waits == 2)
        send_fixed(0x41);
}

static void cancel_in_the_third_wait(const volatile uint32_t *word, uint32_t expected)
{
    wake_by_interrupt(word, expected);
    if (waits == 3)
        hv_vp_cancel(vp);
}

static void wake_by_nmi(const volatile uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    send(APIC_MODE_NMI, 0, 0, false);
}

#define HALT                                    \
    {                                           \
        .reason = EXIT_REASON_HLT, .length = 1, \
    }

/* The #DB that the entry brings. */
static uint64_t trap;

static void take_trap(uint64_t gpr[16])
{
    look(gpr);
    trap = fake_vmcs_get(VMCS_GUEST_PENDING_DEBUG);
    fake_vmcs_set(VMCS_GUEST_PENDING_DEBUG, 0);
}

static void an_interrupt_wakes_a_halted_vp(void **state)
{
    (void)state;
    waits = 0;
    fake_on_wait(wake_by_interrupt);
    GUEST(HALT, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(waits, 2);
    assert_seen(0, EXTERNAL(0x41), false, false, 0);
    assert_int_equal(get(HV_REG_RIP), CODE + 1);
    assert_int_equal(get(HV_REG_INTERNAL_ACTIVITY_STATE), 0);
}

static void a_halted_vp_that_masks_interrupts(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    waits = 0;
    fake_on_wait(cancel_in_the_third_wait);
    GUEST(HALT);
    exit = run();
    assert_reason(&exit, HV_EXIT_CANCELED);
    assert_int_equal(exit.vp.rip, CODE + 1);
    assert_int_equal(get(HV_REG_INTERNAL_ACTIVITY_STATE), HV_ACTIVITY_HALT_SUSPEND);
    fake_on_wait(wake_by_nmi);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, NMI, true, false, 0);
}

static void *send_when_it_sleeps(void *arg)
{
    struct hv_vp *sleeper = arg;

    while (!__atomic_load_n(&sleeper->shared.waiting, __ATOMIC_SEQ_CST))
        ;
    send_fixed(0x41);
    return NULL;
}

static void another_thread_wakes_a_halted_vp(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, send_when_it_sleeps, vp), 0);
    GUEST(HALT, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_seen(0, EXTERNAL(0x41), false, false, 0);
    assert_int_equal(fake_counts().wakes, 1);
}

/* STI, HLT: what waited for the window arrives with the HLT. */
static void halted_with_an_interrupt_pending(void **state)
{
    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    send_fixed(0x41);
    GUEST({.run = allow_interrupts, .reason = EXIT_REASON_HLT, .length = 1},
          {.run = look, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_counts().waits, 0);
    assert_seen(2, EXTERNAL(0x41), false, false, 0);
}

/* So it is with an event of the client's. */
static void halted_with_an_ext_int_pending(void **state)
{
    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set_ext_int(0x31);
    fake_on_wait(cancel_in_the_third_wait);
    waits = 0;
    GUEST({.run = allow_interrupts, .reason = EXIT_REASON_HLT, .length = 1}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(waits, 0);
    assert_seen(1, EXTERNAL(0x31), false, false, 0);
}

static void step(void)
{
    set(HV_REG_RIP, CODE);
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF);
    trap = 0;
}

/* The single step over the HLT is a trap, which ends the halt. */
static void a_single_step_ends_the_halt(void **state)
{
    (void)state;
    step();
    waits = 0;
    fake_on_wait(cancel_in_the_third_wait);
    GUEST(HALT, {.run = take_trap, .reason = EXIT_REASON_EXTERNAL_INTR}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(waits, 0);
    assert_int_equal(trap, BIT64(14));
    assert_int_equal(get(HV_REG_INTERNAL_ACTIVITY_STATE), 0);
}

/* An entry that injected something would forget the trap. */
static void a_single_step_comes_before_interrupts(void **state)
{
    (void)state;
    step();
    GUEST({.run = send_41, .reason = EXIT_REASON_HLT, .length = 1},
          {.run = take_trap, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(trap, BIT64(14));
    assert_seen(1, 0, true, false, 0);
    assert_seen(2, EXTERNAL(0x41), false, false, 0);
}

static void a_single_step_comes_before_an_nmi(void **state)
{
    (void)state;
    step();
    GUEST({.run = send_nmi, .reason = EXIT_REASON_HLT, .length = 1},
          {.run = take_trap, .reason = EXIT_REASON_NMI_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(trap, BIT64(14));
    assert_seen(1, 0, false, true, 0);
    assert_seen(2, NMI, false, false, 0);
}

static void cancel_at_once(const volatile uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    hv_vp_cancel(vp);
}

/* The client that has an interrupt for a halted VP. */
static void the_client_wakes_a_halted_vp(void **state)
{
    (void)state;
    fake_on_wait(cancel_at_once);
    GUEST(HALT);
    run_to(HV_EXIT_CANCELED);
    set_ext_int(0x31);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x31), false, false, 0);
    GUEST(HALT);
    run_to(HV_EXIT_CANCELED);
    set(HV_REG_PENDING_INTERRUPTION, HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_VECTOR, 0x32));
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x32), false, false, 0);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set_ext_int(0x33);
    GUEST(HALT);
    run_to(HV_EXIT_CANCELED); /* masked */
}

/* No entry, no window: but a halted VP takes interrupts, and the client wants to know when. */
static void a_halted_vp_has_a_window(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    fake_on_wait(cancel_at_once);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    GUEST({.run = allow_interrupts, .reason = EXIT_REASON_HLT, .length = 1});
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_EXTERNAL);
    assert_int_equal(exit.vp.instruction_length, 0);
    assert_int_equal(exit.vp.rip, CODE + 1);
    assert_int_equal(get(HV_REG_DELIVERABILITY_NOTIFICATIONS), 0);
    assert_int_equal(get(HV_REG_INTERNAL_ACTIVITY_STATE), HV_ACTIVITY_HALT_SUSPEND);
    run_to(HV_EXIT_CANCELED); /* still halted */
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_NMI);
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_NMI);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    run_to(HV_EXIT_CANCELED);
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    set(HV_REG_CR8, 4);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 4));
    run_to(HV_EXIT_CANCELED);
    set(HV_REG_CR8, 3);
    run_to(HV_EXIT_WINDOW);
    assert_int_equal(get(HV_REG_DELIVERABILITY_NOTIFICATIONS), 0);
}

/* ----------------------------------------------------------------------------- INIT and startup */

static struct hv_exit_context run_other(void)
{
    struct hv_exit_context exit;

    memset(&exit, 0, sizeof(exit));
    assert_int_equal(hv_vp_run(other, &exit), HV_OK);
    assert_int_equal(fake_guest_left(), 0);
    return exit;
}

static void start_other(const volatile uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    assert_int_equal(fake_vmx_counts.entries, 0);
    if (++waits == 1)
        send(APIC_MODE_FIXED, 1, 0x41, false); /* does not start it */
    if (waits == 2) {
        send(APIC_MODE_STARTUP, 1, 0x99, false); /* taken back by the INIT */
        send(APIC_MODE_INIT, 1, 0, false);
    }
    if (waits == 3)
        send(APIC_MODE_STARTUP, 1, 0x12, false);
}

static void other_processors_wait_to_be_started(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    waits = 0;
    fake_on_wait(start_other);
    GUEST(LOOK_AND_STOP);
    exit = run_other();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(waits, 3);
    assert_int_equal(exit.vp.rip, 0);
    assert_int_equal(exit.vp.cs.selector, 0x1200);
    assert_int_equal(exit.vp.cs.base, 0x12000);
    assert_seen(0, 0, false, false, 0);
    send(APIC_MODE_STARTUP, 1, 0x13, false); /* it runs already */
    GUEST(STOP);
    exit = run_other();
    assert_int_equal(exit.vp.cs.base, 0x12000);
}

/* As an operating system starts the others. */
static void started_by_the_guest(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    will_write(0, X2APIC(APIC_ICR_LOW), BIT64(32) | FIELD_PUT(APIC_ICR_MODE, APIC_MODE_INIT) | APIC_ICR_ASSERT);
    will_write(1, X2APIC(APIC_ICR_LOW),
               FIELD_PUT(APIC_ICR_MODE, APIC_MODE_STARTUP) | APIC_ICR_ASSERT | 0x9f |
                   FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_OTHERS));
    GUEST(WRMSR, WRMSR, STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(vp->shared.requests, 0);
    GUEST(STOP);
    exit = run_other();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(exit.vp.cs.base, 0x9f000);
}

static void send_init(uint64_t gpr[16])
{
    (void)gpr;
    send_fixed(0x43);
    send(APIC_MODE_INIT, 0, 0, false);
}

/* The bootstrap processor starts over at once, and what was pending is gone. */
static void init_of_the_bootstrap_processor(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set(HV_REG_INTERRUPT_STATE, HV_INT_STATE_NMI_MASKED);
    send_fixed(0x41);
    send(APIC_MODE_FIXED, 0, 0x42, true);
    send(APIC_MODE_NMI, 0, 0, false);
    GUEST({.run = send_init, .reason = EXIT_REASON_EXTERNAL_INTR}, LOOK_AND_STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(exit.vp.rip, 0xfff0);
    assert_int_equal(exit.vp.cs.selector, 0xf000);
    assert_seen(0, 0, false, false, 0);
    assert_int_equal(get_apic(APIC_SVR), 0xff);
    assert_int_equal(get_apic(APIC_IRR + 0x20), 0);
    assert_true(get(HV_REG_APIC_BASE) & APIC_BASE_EXTD);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff); /* what was in the inbox must not come now */
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, 0, false, false, 0);
}

/* ----------------------------------------------------------------- registers: MSRs, and memory */

static void interrupts_sent_by_msr(void **state)
{
    (void)state;
    will_write(0, X2APIC(APIC_SELF_IPI), 0x41);
    will_write(1, X2APIC(APIC_ICR_LOW), BIT64(32) | 0x51);
    will_write(2, X2APIC(APIC_ICR_LOW), 0x61); /* physical, to oneself */
    GUEST(WRMSR, WRMSR, WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(1, EXTERNAL(0x41), false, false, 0);
    assert_seen(2, 0, false, false, 0);
    assert_seen(3, EXTERNAL(0x61), false, false, 0);
    assert_int_equal(other->inbox.vectors[1], BIT64(0x11));
    assert_int_equal(other->shared.requests, VP_REQUEST_INTERRUPT);
    assert_int_equal(get(HV_REG_RIP), CODE + 6);
}

/* Lowest priority, to all others: not to the sender, whoever has the turn. */
static void others_are_not_the_sender(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        other->inbox.vectors[1] = 0;
        will_write(0, X2APIC(APIC_ICR_LOW),
                   FIELD_PUT(APIC_ICR_MODE, APIC_MODE_LOWEST) | FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_OTHERS) |
                       0x51);
        GUEST(WRMSR, LOOK_AND_STOP);
        run_to(HV_EXIT_IO);
        assert_seen(1, 0, false, false, 0);
        assert_int_equal(other->inbox.vectors[1], BIT64(0x11));
    }
}

/* The turn goes round among the partition's VPs. */
static void the_lowest_takes_turns(void **state)
{
    const struct hv_interrupt lowest = {.type = APIC_MODE_LOWEST, .destination = 0xff, .vector = 0x51};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        vp->inbox.vectors[1] = other->inbox.vectors[1] = 0;
        partition->lowest_turn = i;
        assert_int_equal(hv_partition_interrupt(partition, &lowest), HV_OK);
        assert_int_equal(vp->inbox.vectors[1], i % 2 ? 0 : BIT64(0x11));
        assert_int_equal(other->inbox.vectors[1], i % 2 ? BIT64(0x11) : 0);
        assert_int_equal(partition->lowest_turn, i % 2 + 1);
    }
}

/* One of lowest priority for a single VP is nobody else's, and takes no turn. */
static void the_lowest_of_one(void **state)
{
    (void)state;
    send(APIC_MODE_LOWEST, 1, 0x51, false);
    assert_int_equal(other->inbox.vectors[1], BIT64(0x11));
    assert_int_equal(vp->inbox.vectors[1], 0);
    assert_int_equal(partition->lowest_turn, 0);
    send(APIC_MODE_FIXED, 2, 0x52, false); /* there is no such one */
    assert_int_equal(other->inbox.vectors[1], BIT64(0x11));
}

static void msrs_that_fault(void **state)
{
    (void)state;
    will_write(0, X2APIC(APIC_ID), 5);       /* read-only */
    will_write(1, X2APIC(APIC_EOI), 1);      /* must be 0 */
    will_write(2, X2APIC(APIC_TPR), 0x100);  /* reserved bits */
    will_write(3, X2APIC(APIC_ICR_HIGH), 0); /* not in x2APIC mode */
    GUEST(WRMSR, WRMSR, WRMSR, WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    for (unsigned i = 1; i < 5; i++)
        assert_seen(i, GP, false, false, 0);
    assert_int_equal(get(HV_REG_RIP), CODE);
    set(HV_REG_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP);
    will_write(0, X2APIC(APIC_TPR), 0);
    GUEST(WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(1, GP, false, false, 0);
}

static void task_priority_by_msr(void **state)
{
    (void)state;
    will_write(0, X2APIC(APIC_TPR), 0x75);
    will_write(1, X2APIC(APIC_TPR), 0);
    GUEST({.run = wrmsr, .reason = EXIT_REASON_WRMSR, .length = 2},
          {.run = send_41, .reason = EXIT_REASON_EXTERNAL_INTR}, WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(2, 0, false, false, 4);
    assert_seen(3, EXTERNAL(0x41), false, false, 0);
    assert_int_equal(get(HV_REG_CR8), 0);
}

static void eoi_of_a_level_triggered_interrupt(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    send(APIC_MODE_FIXED, 0, 0x51, true);
    will_write(0, X2APIC(APIC_EOI), 0);
    GUEST(WRMSR);
    exit = run();
    assert_reason(&exit, HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x51);
    assert_int_equal(exit.vp.instruction_length, 0);
    assert_int_equal(exit.vp.rip, CODE + 2);
    GUEST(STOP); /* told once */
    run_to(HV_EXIT_IO);
    send_fixed(0x51);
    will_write(0, X2APIC(APIC_EOI), 0);
    GUEST(WRMSR, STOP);
    run_to(HV_EXIT_IO);
}

/* xAPIC mode: the registers are memory. */
static void use_xapic(void)
{
    set(HV_REG_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

#define ACCESS(type, offset)                                                                            \
    {                                                                                                   \
        .reason = EXIT_REASON_APIC_ACCESS, .qualification = FIELD_PUT(QUAL_APIC_TYPE, type) | (offset), \
    }

static void eoi_by_memory(void **state)
{
    static const uint8_t eoi[] = {0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0}; /* MOV DWORD [FEE000B0], 0 */
    struct hv_exit_context exit;

    (void)state;
    use_xapic();
    memcpy(ram + CODE, eoi, sizeof(eoi));
    send(APIC_MODE_FIXED, 0, 0x51, true);
    GUEST(ACCESS(APIC_ACCESS_WRITE, APIC_EOI));
    exit = run();
    assert_reason(&exit, HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x51);
    assert_int_equal(exit.vp.rip, CODE + sizeof(eoi));
    send(APIC_MODE_FIXED, 0, 0x52, true); /* now the CPU has written the register already */
    GUEST({.reason = EXIT_REASON_APIC_WRITE, .qualification = APIC_EOI});
    exit = run();
    assert_reason(&exit, HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x52);
    assert_int_equal(exit.vp.rip, CODE + sizeof(eoi));
    assert_int_equal(get_apic(APIC_ISR + 0x20), 0);
}

static void registers_by_memory(void **state)
{
    (void)state;
    use_xapic();
    memcpy(ram + CODE, (uint8_t[]){0xa1, 0x30, 0x00, 0xe0, 0xfe}, 5); /* MOV EAX, [FEE00030] */
    GUEST(ACCESS(APIC_ACCESS_READ, APIC_VERSION), STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(get(HV_REG_RAX), get_apic(APIC_VERSION));
    assert_int_not_equal(get(HV_REG_RAX), 0);
    assert_int_equal(get(HV_REG_RIP), CODE + 5);
    set(HV_REG_RIP, CODE); /* where the CPU does nothing of it, the tables have nothing there */
    set(HV_REG_RAX, 0);
    GUEST(
        {.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_READ, .gpa = APIC_DEFAULT_BASE + APIC_VERSION},
        STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(get(HV_REG_RAX), get_apic(APIC_VERSION));
}

/* ---------------------------------------------------------------------------------- the timer */

#define TSC_DEADLINE (FIELD_PUT(APIC_LVT_TIMER_MODE, APIC_TIMER_DEADLINE) | 0x40)
#define START_TSC    1000000ull
#define DEADLINE     (START_TSC + 100000) /* 50 us */

static uint64_t timer_then;

static void look_at_timer(uint64_t gpr[16])
{
    look(gpr);
    assert_true(fake_vmcs_get(VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
    timer_then = fake_vmcs_get(VMCS_GUEST_PREEMPTION_TIMER) << FIELD_GET(VMX_MISC_TIMER_SHIFT, vmx_caps.misc);
}

static void reach_deadline(uint64_t gpr[16])
{
    look_at_timer(gpr);
    fake_set_tsc(DEADLINE + 10000);
}

static void prepare_deadline(void)
{
    fake_set_tsc(START_TSC);
    set(HV_REG_TSC, START_TSC);
    set_apic(APIC_LVT_TIMER, TSC_DEADLINE);
    will_write(0, MSR_IA32_TSC_DEADLINE, DEADLINE);
}

static void a_deadline_of_the_tsc(void **state)
{
    (void)state;
    prepare_deadline();
    GUEST(WRMSR, {.run = reach_deadline, .reason = EXIT_REASON_PREEMPTION_TIMER}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_in_range(timer_then, 50000, 110000);
    assert_seen(1, 0, false, false, 0);
    assert_seen(2, EXTERNAL(0x40), false, false, 0);
    assert_int_equal(vp->lapic.timer_tsc, 0);
    assert_int_equal(vp->vcpu->deadline_tsc, 0);
}

/* An earlier look at the clock comes to nothing. */
static void a_deadline_that_is_not_there_yet(void **state)
{
    (void)state;
    prepare_deadline();
    GUEST(WRMSR, {.reason = EXIT_REASON_PREEMPTION_TIMER},
          {.run = reach_deadline, .reason = EXIT_REASON_PREEMPTION_TIMER}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(1, 0, false, false, 0);
    assert_seen(2, EXTERNAL(0x40), false, false, 0);
}

/* The deadline is one of the guest's TSC, which the guest moves, and so does the client. */
static void the_tsc_moves(void **state)
{
    (void)state;
    prepare_deadline();
    will_write(1, MSR_IA32_TSC, DEADLINE + 5);
    GUEST(WRMSR, WRMSR, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(2, EXTERNAL(0x40), false, false, 0);
    set_apic(APIC_EOI, 0);
    set(HV_REG_TSC, START_TSC);
    will_write(0, MSR_IA32_TSC_DEADLINE, DEADLINE);
    GUEST(WRMSR, STOP);
    run_to(HV_EXIT_IO);
    set(HV_REG_TSC, DEADLINE);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x40), false, false, 0);
}

static void pass_a_microsecond(uint64_t gpr[16])
{
    look_at_timer(gpr);
    fake_advance_time(1000);
    fake_set_tsc(START_TSC + 50000);
}

/* A count wakes a halted VP, too: the fake host's clock moves on to when it has to be woken. */
static void a_count(void **state)
{
    uint64_t before = hv_host_time_ns();

    (void)state;
    fake_set_tsc(START_TSC);
    set_apic(APIC_LVT_TIMER, 0x40);
    set_apic(APIC_TIMER_DIV, 0xb); /* by 1 */
    will_write(0, X2APIC(APIC_TIMER_INIT), 1000);
    will_write(1, X2APIC(APIC_EOI), 0);
    will_write(2, X2APIC(APIC_TIMER_INIT), 700);
    GUEST(WRMSR, {.run = pass_a_microsecond, .reason = EXIT_REASON_PREEMPTION_TIMER}, WRMSR, WRMSR, HALT,
          LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_in_range(timer_then, 1000, 2100);
    assert_seen(2, EXTERNAL(0x40), false, false, 0);
    assert_seen(3, 0, false, false, 0);
    assert_seen(4, EXTERNAL(0x40), false, false, 0);
    assert_in_range(hv_host_time_ns() - before, 1700, 1710);
}

static void pass_two_periods(uint64_t gpr[16])
{
    look_at_timer(gpr);
    fake_advance_time(2);
    fake_set_tsc(START_TSC + 50000);
}

/* A period of a nanosecond does not keep the guest from running. */
static void a_period_that_is_too_short(void **state)
{
    (void)state;
    fake_set_tsc(START_TSC);
    set_apic(APIC_LVT_TIMER, FIELD_PUT(APIC_LVT_TIMER_MODE, APIC_TIMER_PERIODIC) | 0x40);
    set_apic(APIC_TIMER_DIV, 0xb);
    will_write(0, X2APIC(APIC_TIMER_INIT), 1);
    GUEST(WRMSR, {.run = pass_two_periods, .reason = EXIT_REASON_PREEMPTION_TIMER},
          {.run = look_at_timer, .reason = EXIT_REASON_IO, .length = 1});
    run_to(HV_EXIT_IO);
    assert_seen(2, EXTERNAL(0x40), false, false, 0);
    assert_in_range(timer_then, FAKE_TSC_HZ / 200000, FAKE_TSC_HZ / 1000); /* from 5 us to 1 ms */
}

/* -------------------------------------------------------------------------------- saved state */

static void state_is_saved_and_restored(void **state)
{
    static uint8_t page[HV_APIC_STATE_SIZE], after[HV_APIC_STATE_SIZE];
    uint32_t written, irr;

    (void)state;
    set(HV_REG_CR8, 3);
    send_fixed(0x51);
    send(APIC_MODE_NMI, 0, 0, false);
    assert_int_equal(hv_vp_get_apic(vp, page, sizeof(page) - 1, &written), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(written, sizeof(page));
    assert_int_equal(hv_vp_get_apic(vp, page, sizeof(page), NULL), HV_OK); /* with what has not been taken in yet */
    memcpy(&irr, page + APIC_IRR, sizeof(irr));
    assert_int_equal(irr, LAPIC_PAGE_NMI);
    memcpy(&irr, page + APIC_IRR + 0x20, sizeof(irr));
    assert_int_equal(irr, BIT64(0x11));
    assert_int_equal(page[APIC_TPR], 0x30);
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    start_protected();
    start_apic();
    send_fixed(0x61); /* belongs to what is replaced */
    assert_int_equal(hv_vp_set_apic(vp, page, sizeof(page) - 1), HV_E_INVALID);
    assert_int_equal(hv_vp_set_apic(vp, page, sizeof(page)), HV_OK);
    assert_int_equal(hv_vp_get_apic(vp, after, sizeof(after), &written), HV_OK);
    assert_memory_equal(page, after, sizeof(page));
    assert_int_equal(get(HV_REG_CR8), 3);
    GUEST({.run = look, .reason = EXIT_REASON_INTR_WINDOW}, LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, NMI, true, false, 0);
    assert_seen(1, EXTERNAL(0x51), false, false, 0);
    page[APIC_SVR + 3] = 0xff; /* reserved bits */
    assert_int_equal(hv_vp_set_apic(vp, page, sizeof(page)), HV_E_INVALID);
}

static void call_in_the_run(uint64_t gpr[16])
{
    static uint8_t page[HV_APIC_STATE_SIZE];

    (void)gpr;
    assert_int_equal(hv_vp_get_apic(vp, page, sizeof(page), NULL), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_set_apic(vp, page, sizeof(page)), HV_E_VP_BUSY);
}

static void state_of_a_running_vp(void **state)
{
    (void)state;
    GUEST({.run = call_in_the_run, .reason = EXIT_REASON_IO, .length = 1});
    run_to(HV_EXIT_IO);
}

/* --------------------------------------------------------------------------------- the page */

static hv_hpa_t mapped_at(hv_gpa_t gpa, unsigned *rights)
{
    struct npt_leaf leaf;
    bool there;

    hv_host_preempt_disable();
    there = npt_lookup(&partition->npt, gpa, &leaf);
    hv_host_preempt_enable();
    if (rights)
        *rights = there ? leaf.rights : 0;
    return there ? leaf.pa : HV_HPA_NONE;
}

/* Client's memory around the APIC's page, and on top of it, where it does not show. */
static void memory_where_the_apic_is(void **state)
{
    unsigned rights;

    (void)state;
    assert_non_null(partition->apic_access);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE, &rights), partition->apic_access_pa);
    assert_int_equal(rights, NPT_READ | NPT_WRITE);
    assert_int_equal(hv_partition_map(partition, ram, APIC_DEFAULT_BASE, RAM_SIZE, NPT_RIGHTS), HV_OK);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE, NULL), partition->apic_access_pa);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE + HV_PAGE_SIZE, NULL), RAM_PA + HV_PAGE_SIZE);
    assert_int_equal(hv_partition_map(partition, ram, APIC_DEFAULT_BASE - HV_PAGE_SIZE, RAM_SIZE, NPT_RIGHTS), HV_OK);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE - HV_PAGE_SIZE, NULL), RAM_PA);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE, NULL), partition->apic_access_pa);
    assert_int_equal(hv_partition_unmap(partition, APIC_DEFAULT_BASE - HV_PAGE_SIZE, RAM_SIZE), HV_OK);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE - HV_PAGE_SIZE, NULL), HV_HPA_NONE);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE, &rights), partition->apic_access_pa);
    assert_int_equal(rights, NPT_READ | NPT_WRITE);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE + HV_PAGE_SIZE, NULL), HV_HPA_NONE);
    use_xapic();
    GUEST(STOP);
    run_to(HV_EXIT_IO);
    assert_int_equal(fake_vmcs_get(VMCS_APIC_ACCESS_ADDR), partition->apic_access_pa);
    assert_true(fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_VIRT_APIC_ACCESSES);
}

/* Nobody reaches the page itself. */
static void the_page_is_not_memory(void **state)
{
    uint32_t word = 0;

    (void)state;
    assert_int_equal(hv_vp_read_gpa(vp, APIC_DEFAULT_BASE + APIC_ID, &word, sizeof(word)), HV_E_ACCESS_DENIED);
    assert_int_equal(hv_vp_write_gpa(vp, APIC_DEFAULT_BASE + APIC_ID, &word, sizeof(word)), HV_E_ACCESS_DENIED);
}

/* The CPU has no use for a page: then there is a hole, that the client can not fill. */
static void a_cpu_without_the_page(void **state)
{
    (void)state;
    assert_null(partition->apic_access);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE, NULL), HV_HPA_NONE);
    assert_int_equal(hv_partition_map(partition, ram, APIC_DEFAULT_BASE, RAM_SIZE, NPT_RIGHTS), HV_E_INVALID);
    assert_int_equal(hv_partition_unmap(partition, APIC_DEFAULT_BASE, RAM_SIZE), HV_E_GPA_NOT_FOUND);
    assert_int_equal(mapped_at(APIC_DEFAULT_BASE, NULL), HV_HPA_NONE);
    use_xapic();
    send_fixed(0x41);
    GUEST(LOOK_AND_STOP);
    run_to(HV_EXIT_IO);
    assert_seen(0, EXTERNAL(0x41), false, false, 0);
}

/* --------------------------------------------------------------------------------------- cost */

static struct fake_vmx_counts counted;

static void start_counting(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmx_forget();
}

static void stop_counting(uint64_t gpr[16])
{
    (void)gpr;
    counted = fake_vmx_counts;
}

/* As much as without a local APIC: see cpuid_is_answered of test_run.c. */
static void cpuid_costs_nothing_more(void **state)
{
    (void)state;
    GUEST({.reason = EXIT_REASON_EXTERNAL_INTR}, {.run = start_counting, .reason = EXIT_REASON_CPUID, .length = 2},
          {.run = stop_counting, .reason = EXIT_REASON_IO, .length = 1});
    run_to(HV_EXIT_IO);
    assert_true(counted.reads <= 5);
    assert_int_equal(counted.writes, 1);
}

/* A guest that waits for another VP: that one may need this CPU. */
static void a_guest_that_spins(void **state)
{
    (void)state;
    GUEST({.reason = EXIT_REASON_PAUSE, .length = 2}, STOP);
    run_to(HV_EXIT_IO);
    assert_true(fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_PAUSE_LOOP);
    assert_int_equal(fake_counts().yields, 1);
    assert_int_equal(get(HV_REG_RIP), CODE + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IRQ_TEST(an_interrupt_is_injected),
        IRQ_TEST(one_that_comes_in_the_run),
        IRQ_TEST(a_guest_that_masks_interrupts),
        IRQ_TEST(a_guest_in_an_interrupt_shadow),
        IRQ_TEST(an_interrupt_below_the_task_priority),
        IRQ_TEST(the_client_lowers_the_task_priority),
        IRQ_TEST(the_guest_disables_the_apic),
        IRQ_TEST(several_by_priority),
        IRQ_TEST(one_interrupts_the_other),
        IRQ_TEST(nmis),
        IRQ_TEST(nmis_in_a_row),
        IRQ_TEST(interrupts_that_are_none),
        IRQ_TEST(an_ext_int_goes_first),
        IRQ_TEST(the_client_waits_for_a_window_too),
        IRQ_TEST(two_thresholds),
        DELIVERY_TEST(the_cpu_delivers),
        DELIVERY_TEST(eois_that_the_cpu_does),
        DELIVERY_TEST(a_refused_interrupt),
        IRQ_TEST(an_interrupt_wakes_a_halted_vp),
        IRQ_TEST(a_halted_vp_that_masks_interrupts),
        IRQ_TEST(another_thread_wakes_a_halted_vp),
        IRQ_TEST(halted_with_an_interrupt_pending),
        IRQ_TEST(halted_with_an_ext_int_pending),
        IRQ_TEST(a_single_step_ends_the_halt),
        IRQ_TEST(a_single_step_comes_before_interrupts),
        IRQ_TEST(a_single_step_comes_before_an_nmi),
        IRQ_TEST(the_client_wakes_a_halted_vp),
        IRQ_TEST(a_halted_vp_has_a_window),
        IRQ_TEST(other_processors_wait_to_be_started),
        IRQ_TEST(started_by_the_guest),
        IRQ_TEST(init_of_the_bootstrap_processor),
        DELIVERY_TEST(init_of_the_bootstrap_processor),
        IRQ_TEST(interrupts_sent_by_msr),
        IRQ_TEST(others_are_not_the_sender),
        IRQ_TEST(the_lowest_takes_turns),
        IRQ_TEST(the_lowest_of_one),
        IRQ_TEST(msrs_that_fault),
        IRQ_TEST(task_priority_by_msr),
        IRQ_TEST(eoi_of_a_level_triggered_interrupt),
        IRQ_TEST(eoi_by_memory),
        IRQ_TEST(registers_by_memory),
        NOTHING_TEST(registers_by_memory),
        IRQ_TEST(a_deadline_of_the_tsc),
        IRQ_TEST(a_deadline_that_is_not_there_yet),
        IRQ_TEST(the_tsc_moves),
        IRQ_TEST(a_count),
        IRQ_TEST(a_period_that_is_too_short),
        IRQ_TEST(state_is_saved_and_restored),
        IRQ_TEST(state_of_a_running_vp),
        IRQ_TEST(memory_where_the_apic_is),
        IRQ_TEST(the_page_is_not_memory),
        NOTHING_TEST(a_cpu_without_the_page),
        IRQ_TEST(cpuid_costs_nothing_more),
        DELIVERY_TEST(cpuid_costs_nothing_more),
        IRQ_TEST(a_guest_that_spins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
