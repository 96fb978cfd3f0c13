/* SPDX-License-Identifier: MIT */
/* Running a virtual processor: the loop, and what has to be prepared for it. */
#include "run.h"
#include "exit.h"
#include "exit_apic.h"
#include "exit_doorbell.h"
#include "exit_length.h"
#include "exit_msr.h"
#include "gva.h"
#include "hypercall.h"
#include "irq.h"
#include "overlay.h"
#include "partition.h"
#include "synic.h"
#include "time.h"
#include "vpci.h"
#include "walk.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>

/* --------------------------------------------------------------------------------- cancelling */

static bool take_cancel(struct hv_vp *vp)
{
    if (!(__atomic_load_n(&vp->shared.requests, __ATOMIC_RELAXED) & VP_REQUEST_CANCEL))
        return false;
    __atomic_and_fetch(&vp->shared.requests, ~VP_REQUEST_CANCEL, __ATOMIC_SEQ_CST);
    return true;
}

static void describe_cancel(struct hv_exit *exit)
{
    exit->reason = HV_EXIT_CANCELED;
    exit->instruction_length = 0;
}

/* ---------------------------------------------------------------------------- staying on a CPU */

/*
 * A part of a run that stays on one CPU, whose the vcpu is. As long as interrupts are off that is all the pin it needs.
 */
struct stay {
    uint64_t flags; /* of hv_host_irq_save */
    bool is_pinned;
};

static void stay_pinned(struct stay *stay)
{
    if (!stay->is_pinned)
        hv_host_preempt_disable();
    stay->is_pinned = true;
}

/* Interrupts are off from here on. */
static inline struct stay stay_begin(struct hv_vp *vp)
{
    struct stay stay = {.flags = hv_host_irq_save()};

    if (!vcpu_is_here(vp->vcpu)) { /* another CPU may have to answer first */
        hv_host_irq_restore(stay.flags);
        vp_pin(vp);
        stay.is_pinned = true;
        stay.flags = hv_host_irq_save();
    }
    return stay;
}

/* A host that wants the CPU takes it where a pin ends. */
static inline void stay_end(struct stay *stay)
{
    if (hv_host_should_yield())
        stay_pinned(stay);
    hv_host_irq_restore(stay->flags);
    if (stay->is_pinned)
        hv_host_preempt_enable();
}

/* Not a single instruction of the guest's runs, and none of its state is loaded. */
static void cancel_before_entry(struct hv_vp *vp, struct hv_exit *exit, struct hv_exit_context *to)
{
    struct stay stay = stay_begin(vp);

    describe_cancel(exit);
    exit_fill_context(vp, exit, to);
    stay_end(&stay);
}

/* ---------------------------------------------------------------------------------- suspended */

static bool waits_for_interrupt(const struct hv_vp *vp)
{
    return vp->activity == HV_ACTIVITY_HALT_SUSPEND || vp->activity == HV_ACTIVITY_IDLE_SUSPEND;
}

/* What has come in the meantime: may end the suspension. Not loaded: INIT changes what vcpu_load would have loaded. */
static void look_at_requests(struct hv_vp *vp)
{
    vp_pin(vp);
    irq_take_restart(vp);
    hypercall_take_flush(vp);
    irq_take_requests(vp);
    irq_poll_timer(vp);
    if (waits_for_interrupt(vp) && irq_wakes(vp))
        vp->activity = 0;
    vp_unpin(vp);
}

/*
 * The flag says to senders that somebody has to be woken; it is set before the counter is read, and they count before
 * they read it.
 */
static void sleep_until_request(struct hv_vp *vp)
{
    uint32_t seen;

    __atomic_store_n(&vp->shared.waiting, 1, __ATOMIC_SEQ_CST);
    seen = __atomic_load_n(&vp->shared.wake, __ATOMIC_SEQ_CST);
    irq_posted_wait(vp);
    if (!__atomic_load_n(&vp->shared.requests, __ATOMIC_SEQ_CST))
        hv_host_wait(&vp->shared.wake, seen, irq_wake_time(vp));
    irq_posted_stop(vp);
    __atomic_store_n(&vp->shared.waiting, 0, __ATOMIC_RELAXED);
}

/* Which of the notifications that the client has asked for could be given now? */
static uint64_t open_windows(const struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    if (vp->notifications & HV_NOTIFY_NMI && irq_can_take_nmi(v))
        return HV_NOTIFY_NMI;
    if (vp->notifications & HV_NOTIFY_INTERRUPT && irq_can_take_interrupt(v) && !run_window_is_blocked(vp))
        return HV_NOTIFY_INTERRUPT | HV_NOTIFY_PRIORITY;
    return 0;
}

bool run_tell_window(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t open = open_windows(vp);

    if (!open)
        return false;
    vp->notifications &= ~open;
    run_apply_windows(vp);
    exit->reason = HV_EXIT_WINDOW;
    exit->instruction_length = 0;
    exit->window.nmi = open & HV_NOTIFY_NMI;
    return true;
}

/*
 * A halted VP is not entered, and no window's exit would come: a client that waits for one, to wake the VP by an event,
 * hears of it here. So it does of what came to the VP in the meantime. It stays suspended.
 */
static bool tell_suspended(struct hv_vp *vp, struct hv_exit *exit, struct hv_exit_context *to)
{
    bool tells;

    vp_pin(vp);
    tells = irq_tell(vp, exit) || (waits_for_interrupt(vp) && (run_tell_window(vp, exit) || synic_notify(vp, exit)));
    if (tells)
        exit_fill_context(vp, exit, to);
    vp_unpin(vp);
    return tells;
}

/* Until the VP may run. False: the client has to hear of something first. */
static bool settle(struct hv_vp *vp, struct hv_exit *exit, struct hv_exit_context *to)
{
    if (vp->time_stale)
        time_enter(vp);
    if (vp->overlays_stale)
        overlay_apply(vp);
    for (;;) {
        uint32_t requests = __atomic_load_n(&vp->shared.requests, __ATOMIC_SEQ_CST);

        if (take_cancel(vp) || irq_take_run_deadline(vp)) {
            cancel_before_entry(vp, exit, to);
            return false;
        }
        vpci_follow_address(vp);
        if (requests & VP_REQUEST_RESTART || vp->activity)
            look_at_requests(vp);
        if (!vp->activity)
            return true;
        if ((vp->todo || vp->notifications) && tell_suspended(vp, exit, to))
            return false;
        sleep_until_request(vp);
    }
}

/* -------------------------------------------------------------- what a client may have changed */

/* MSRs that a guest would use without an exit, but that the client has given an action or wants to see read. */
static void apply_msr_properties(struct vcpu *v, const struct hv_properties *props)
{
    bool tsc_reads = props->extended_exits & HV_EXTENDED_MSR && props->msr_exits & HV_MSR_EXIT_TSC_READ;
    const struct hv_msr_action *a = props->msr_actions.items;

    backend()->exit_on_msr(v, MSR_IA32_TSC, tsc_reads, false);
    for (uint32_t i = 0; i < props->msr_actions.count; i++)
        backend()->exit_on_msr(
            v, a[i].index, a[i].read_action != HV_MSR_ACTION_ARCHITECTURAL || (a[i].index == MSR_IA32_TSC && tsc_reads),
            a[i].write_action != HV_MSR_ACTION_ARCHITECTURAL);
}

static void apply_properties(struct hv_vp *vp)
{
    const struct hv_properties *props = &vp->partition->properties;
    struct vcpu_controls *c = &vp->vcpu->controls;

    c->exception_bitmap = props->extended_exits & HV_EXTENDED_EXCEPTION ? (uint32_t)props->exception_exits : 0;
    c->rdtsc_exit = props->extended_exits & HV_EXTENDED_RDTSC;
    apply_msr_properties(vp->vcpu, props);
    exit_msr_forget(vp);
    vp->properties_stale = false;
    vcpu_changed(vp->vcpu, VCPU_CONTROLS);
}

/* WHP's pending event becomes the event of the next entry, with the side effects of a real exception on CR2 or DR6. */
static void take_pending_exception(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    uint64_t low = vp->pending_event[0], parameter = vp->pending_event[1];
    uint64_t vector = FIELD_GET(HV_PENDING_EVENT_VECTOR, low) & 0xff;

    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXCEPTION) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, vector);
    if (low & HV_PENDING_EVENT_ERROR_VALID)
        v->event |= HV_PENDING_INT_ERROR_VALID |
                    FIELD_PUT(HV_PENDING_INT_ERROR_CODE, FIELD_GET(HV_PENDING_EVENT_ERROR_CODE, low));
    if (vector == VEC_PF)
        v->cr2 = parameter;
    if (vector == VEC_DB) {
        vcpu_need(v, VCPU_DR6);
        v->dr6 = (v->dr6 & ~(uint64_t)DR6_BP) | (parameter & (DR6_BP | DR6_BD | DR6_BS | DR6_BT));
        vcpu_changed(v, VCPU_DR6);
    }
    vp_set_pending_event(vp, 0, 0);
    vp_count_event(vp);
}

static bool is_ext_int_pending(const struct hv_vp *vp)
{
    return vp->pending_event[0] & HV_PENDING_EVENT_VALID &&
           FIELD_GET(HV_PENDING_EVENT_TYPE, vp->pending_event[0]) == HV_EVENT_TYPE_EXT_INT;
}

/* With a local APIC the task priority is in its page, always valid. */
static uint64_t task_priority(const struct hv_vp *vp)
{
    if (vp->has_apic)
        return lapic_get(&vp->lapic, APIC_TPR) >> 4;
    vcpu_need(vp->vcpu, VCPU_CR8);
    return vp->vcpu->cr8;
}

bool run_window_is_blocked(const struct hv_vp *vp)
{
    uint64_t priority = FIELD_GET(HV_NOTIFY_PRIORITY, vp->notifications);

    return vp->notifications & HV_NOTIFY_INTERRUPT && priority && task_priority(vp) >= priority;
}

/* The windows that the client and the local APIC want to hear of, in terms of exits. */
void run_apply_windows(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    uint64_t priority = FIELD_GET(HV_NOTIFY_PRIORITY, vp->notifications);
    bool wanted = vp->notifications & HV_NOTIFY_INTERRUPT, blocked;
    struct vcpu_controls new = v->controls;

    vcpu_need(v, VCPU_CR8);
    blocked = run_window_is_blocked(vp);
    new.interrupt_window = (wanted && !blocked) || vp->wanted.interrupt_window || is_ext_int_pending(vp);
    /* entries refuse one above CR8; for whom CR8 has fallen below already, the next interrupt is chosen anew */
    new.tpr_threshold = (uint8_t)HV_MAX(blocked ? priority : 0, HV_MIN(vp->wanted.tpr_threshold, v->cr8));
    new.nmi_window = vp->notifications &HV_NOTIFY_NMI || vp->wanted.nmi_window;
    if (new.windows != v->controls.windows) {
        v->controls = new;
        vcpu_changed(v, VCPU_CONTROLS);
    }
}

static bool interrupt_is_deliverable(struct vcpu *v)
{
    vcpu_need(v, VCPU_RFLAGS | VCPU_INTR);
    return v->rflags & RFLAGS_IF && !v->interrupt_shadow;
}

/*
 * An interrupt of the PIC's, acknowledged by the client: it goes in as soon as RFLAGS.IF, the shadow and what is being
 * delivered already allow.
 */
static void take_pending_ext_int(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    if (!(v->event & HV_PENDING_INT_VALID) && interrupt_is_deliverable(v)) {
        v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXTERNAL) |
                   FIELD_PUT(HV_PENDING_INT_VECTOR, FIELD_GET(HV_PENDING_EVENT_EXT_VECTOR, vp->pending_event[0]));
        vp_set_pending_event(vp, 0, 0);
        vp_count_event(vp);
    }
    run_apply_windows(vp);
}

static void take_pending_event(struct hv_vp *vp)
{
    if (is_ext_int_pending(vp))
        take_pending_ext_int(vp);
    else if (!(vp->vcpu->event & HV_PENDING_INT_VALID))
        take_pending_exception(vp);
}

/* Pinned. */
static void prepare(struct hv_vp *vp)
{
    if (vp->properties_stale)
        apply_properties(vp);
    if (vp->pdptes_stale) {
        /* unreadable ones are left as they were: the guest's next access says where memory is missing */
        gva_load_pdptes(vp);
        vp->pdptes_stale = false;
    }
    run_apply_windows(vp);
    if (vp->notifications & HV_NOTIFY_SINT)
        vp->todo |= VP_TODO_SINTS;
}

/* Once per run, on the CPU that it is on. */
static __attribute__((noinline)) void prepare_apic(struct hv_vp *vp)
{
    irq_posted_run(vp);
    if (vp->notifications || vp->vcpu->controls.core_delivers) /* the client has changed its mind */
        vp->todo |= VP_TODO_INTERRUPTS;
    /* each CPU counts for itself; and a client may have moved the guest's TSC, or the reference time */
    if (vp->vcpu->last_cpu != hv_host_cpu_id() || vp->lapic.timer_tsc || vp->stimers.active)
        vp->todo |= VP_TODO_TIMER;
}

void run_prepare(struct hv_vp *vp)
{
    prepare(vp);
    if (vp->has_apic)
        prepare_apic(vp);
}

/* ------------------------------------------------------------------------------------ THE loop */

enum run_step {
    STEP_ENTER,
    STEP_TO_CLIENT,
    STEP_SUSPENDED, /* by the guest, or to be started over; or overlays: not in a pinned section */
    STEP_PREEMPTED, /* the host's scheduler wants the CPU */
    STEP_YIELD,     /* the guest waits for something: whoever wants the CPU may have it */
};

static inline bool is_requested(const struct hv_vp *vp)
{
    return __atomic_load_n(&vp->shared.requests, __ATOMIC_SEQ_CST);
}

/* Why the backend is not to enter again. */
enum entry_end {
    ENTRY_HANDLED = VCPU_LEAVE, /* there is more to do before the next entry */
    ENTRY_TO_CLIENT = EXIT_TO_CLIENT,
    ENTRY_REQUESTED, /* something is asked for; the exit, if there was one, is handled */
    ENTRY_EXITED,    /* by an exit that is still to be handled */
};

/*
 * Handlers of exits, as the backend calls them: in a walk bracket, with interrupts off. Those that arrive meanwhile end
 * the next entry at once, by an exit that leads out of here.
 */
_Static_assert(EXIT_HANDLED == VCPU_ENTER && EXIT_SKIP == VCPU_SKIP && EXIT_TO_CLIENT >= VCPU_END, "said alike");

static unsigned exited_otherwise(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)vp, (void)exit;
    return ENTRY_EXITED;
}

static unsigned exited_by_memory(struct hv_vp *vp, struct hv_exit *exit)
{
    bool is_done = exit_apic_is_here(vp, exit->memory.gpa) ? exit_apic_memory_plain(vp, exit)
                                                           : exit_doorbell_memory_plain(vp, exit);

    return is_done ? VCPU_SKIP : ENTRY_EXITED;
}

static unsigned exited_by_call(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    return hypercall_answer_unknown(vp) ? VCPU_SKIP : ENTRY_EXITED;
}

static unsigned exited_by_timer(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    return irq_fire_plain(vp) ? VCPU_ENTER : ENTRY_EXITED;
}

static unsigned exited_unmeasured(struct hv_vp *vp, struct hv_exit *exit);
static unsigned stopped(struct hv_vp *vp, struct hv_exit *exit);

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Winitializer-overrides"
/*
 * Plain exits are those whose handlers are short and never wait: interrupts stay off, and the walk bracket open, until
 * the next entry. Of others some are as short: at the local APIC's registers, at doorbells, by calls of no use, by the
 * APIC's timer.
 */
static const struct vcpu_exits plain_exits = {
    .by_reason =
        {
            [0 ... HV_EXIT_REASON_COUNT - 1] = exited_otherwise, /* but for these */
            [HV_EXIT_MEMORY] = exited_by_memory,
            [HV_EXIT_IO] = exit_io,
            [HV_EXIT_MSR] = exit_msr,
            [HV_EXIT_CPUID] = exit_cpuid,
            [HV_EXIT_HYPERCALL] = exited_by_call,
            [HV_EXIT_CR] = exit_cr,
            [HV_EXIT_NO_OP] = exit_no_op,
            [HV_EXIT_TIMER] = exited_by_timer,
            [HV_EXIT_TPR] = exit_tpr,
            [HV_EXIT_APIC_WRITE] = exit_apic_write,
            [HV_EXIT_APIC_EOI_DONE] = exit_apic_eoi_done,
        },
    .of_unknown_length = exited_unmeasured,
    .stopped = stopped,
};

static unsigned exited_once(struct hv_vp *vp, struct hv_exit *exit)
{
    exit_length_try(vp, exit);
    return ENTRY_EXITED;
}

static const struct vcpu_exits single_exit = {
    .by_reason = {[0 ... HV_EXIT_REASON_COUNT - 1] = exited_otherwise},
    .of_unknown_length = exited_once,
};
#pragma clang diagnostic pop

bool run_enter_once(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);
    bool enters = !is_requested(vp);

    if (enters)
        backend()->enter(vp->vcpu, exit, &single_exit, vp);
    vp_walk_end(vp, flags);
    return enters;
}

static inline bool is_plain(const struct hv_exit *exit)
{
    return plain_exits.by_reason[exit->reason] == exit_handler_of(exit->reason);
}

static unsigned exited_unmeasured(struct hv_vp *vp, struct hv_exit *exit)
{
    exit_length_try(vp, exit);
    return exit->instruction_length == HV_LENGTH_UNKNOWN ? ENTRY_EXITED : plain_exits.by_reason[exit->reason](vp, exit);
}

static unsigned stopped(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    if (vp->due && !irq_prepare_plain(vp))
        return ENTRY_HANDLED;
    return is_requested(vp) ? ENTRY_REQUESTED : VCPU_ENTER;
}

static unsigned run_entries(struct hv_vp *vp, struct hv_exit *exit)
{
    return is_requested(vp) ? ENTRY_REQUESTED : backend()->enter(vp->vcpu, exit, &plain_exits, vp);
}

/* What keeps the VP from its next entry. */
static enum run_step before_entry(struct hv_vp *vp, struct hv_exit *exit)
{
    if (vp->todo & VP_TODO_EVENT)
        take_pending_event(vp);
    if (vp->todo & ~VP_TODO_EVENT && !irq_prepare(vp, exit))
        return STEP_TO_CLIENT;
    return (vp->activity | vp->overlays_stale) ? STEP_SUSPENDED : STEP_ENTER;
}

/* Something was asked for before the entry. */
static enum run_step take_requests(struct hv_vp *vp, struct hv_exit *exit)
{
    if (take_cancel(vp)) {
        describe_cancel(exit);
        return STEP_TO_CLIENT;
    }
    if (__atomic_load_n(&vp->shared.requests, __ATOMIC_RELAXED) & (VP_REQUEST_RESTART | VP_REQUEST_ROUTES))
        return STEP_SUSPENDED;
    hypercall_take_flush(vp);
    irq_take_requests(vp);
    return STEP_ENTER;
}

static enum exit_outcome handle_bracketed(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);
    enum exit_outcome outcome = exit_handler_of(exit->reason)(vp, exit);

    vp_walk_end(vp, flags);
    if (outcome != EXIT_SKIP)
        return outcome;
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}

/* An instruction whose length nobody can tell now is tried again. */
static enum exit_outcome handle(struct hv_vp *vp, struct hv_exit *exit)
{
    if (exit->instruction_length == HV_LENGTH_UNKNOWN && !exit_length_find(vp, exit))
        return EXIT_HANDLED;
    return is_plain(exit) ? handle_bracketed(vp, exit) : exit_handler_of(exit->reason)(vp, exit);
}

/* Between two entries: all that is not done with interrupts off. */
static enum run_step between_entries(struct hv_vp *vp, struct hv_exit *exit, unsigned end)
{
    enum run_step step;

    if (end == ENTRY_REQUESTED) {
        step = take_requests(vp, exit);
        return step == STEP_ENTER ? before_entry(vp, exit) : step;
    }
    if (end == ENTRY_EXITED) {
        enum exit_outcome outcome = handle(vp, exit);

        if (outcome != EXIT_HANDLED)
            return outcome == EXIT_TO_CLIENT ? STEP_TO_CLIENT : STEP_YIELD;
    }
    return before_entry(vp, exit);
}

/* In a walk bracket, which is left, and entered again, for what may take longer. */
static void let_interrupts_in(struct hv_vp *vp, struct stay *stay)
{
    stay_pinned(stay);
    vp_walk_end(vp, stay->flags);
}

static enum run_step run_loaded(struct hv_vp *vp, struct hv_exit *exit, struct stay *stay)
{
    enum run_step step = STEP_ENTER;

    if (vp->due) {
        let_interrupts_in(vp, stay);
        step = before_entry(vp, exit);
        vp_walk_begin(vp);
    }
    while (step == STEP_ENTER) {
        unsigned end;

        if (hv_host_should_yield()) /* by what came while interrupts were on, or ended the entry */
            return STEP_PREEMPTED;
        irq_check_timer(vp);
        end = run_entries(vp, exit);
        if (end == ENTRY_TO_CLIENT)
            return STEP_TO_CLIENT;
        let_interrupts_in(vp, stay);
        step = between_entries(vp, exit, end);
        vp_walk_begin(vp);
    }
    return step;
}

static inline void run_ends(struct hv_vp *vp)
{
    __atomic_store_n(&vp->shared.working, 0, __ATOMIC_RELEASE);
    vcpu_put(vp->vcpu);
    vp->run_ticks += cpu_tsc() - vp->run_begin;
    vp->run_begin = 0;
    vp_walk_end_on(vp);
    if (vp->has_apic)
        irq_stop(vp);
}

static enum run_step run_here(struct hv_vp *vp, struct hv_exit *exit, struct hv_exit_context *to)
{
    struct stay stay = stay_begin(vp);
    enum run_step step;

    vp->run_begin = cpu_tsc();
    if (vp->has_apic)
        prepare_apic(vp);
    /* before requests are looked at: see hypercall_flush.c. vp_walk_begin_on orders it */
    __atomic_store_n(&vp->shared.working, 1, __ATOMIC_RELAXED);
    vp_walk_begin_on(vp, vp->vcpu->cpu->id);
    vcpu_load(vp->vcpu);
    step = run_loaded(vp, exit, &stay);
    if (step == STEP_TO_CLIENT)
        exit_fill_context(vp, exit, to);
    run_ends(vp);
    stay_end(&stay);
    return step;
}

/* What a client or another CPU may have changed since the last run; `windows` are as the last run left them. */
static inline bool is_ready(const struct hv_vp *vp)
{
    return !(__atomic_load_n(&vp->shared.requests, __ATOMIC_RELAXED) | vp->stale | vp->activity | vp->notifications |
             vp->vcpu->controls.windows);
}

/* False: the client has to hear of something first. */
static __attribute__((noinline)) bool make_ready(struct hv_vp *vp, struct hv_exit *exit, struct hv_exit_context *to)
{
    if (!settle(vp, exit, to))
        return false;
    vp_pin(vp);
    prepare(vp);
    vp_unpin(vp);
    return true;
}

static void run(struct hv_vp *vp, struct hv_exit *exit, struct hv_exit_context *to)
{
    enum run_step step;

    do {
        if (!is_ready(vp) && !make_ready(vp, exit, to))
            return;
        step = run_here(vp, exit, to);
        if (step == STEP_YIELD)
            hv_host_yield();
    } while (step != STEP_TO_CLIENT);
}

INLINE_IN_API enum hv_status hv_vp_run(struct hv_vp *vp, struct hv_exit_context *to)
{
    struct hv_exit exit;

    if (!vp_claim(vp))
        return vp_unclaimed(vp);
    vp->triple_fault_valid = vp->finding_valid = false;
    exit.instruction_length = 0; /* not every exit has one */
    run(vp, &exit, to);
    vp->counters.to_client[exit.reason]++;
    vp_release(vp);
    return HV_OK;
}
