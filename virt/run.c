/* SPDX-License-Identifier: MIT */
/* Running a virtual processor: the loop, and what has to be prepared for it. */
#include "run.h"
#include "exit.h"
#include "gva.h"
#include "partition.h"
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

/* Not a single instruction of the guest's runs, and none of its state is loaded. */
static void cancel_before_entry(struct hv_vp *vp, struct hv_exit *exit)
{
    describe_cancel(exit);
    vp_pin(vp);
    exit_fill_context(vp, exit);
    vp_unpin(vp);
}

/* A suspended VP waits for a cancel: nothing else can end it from outside while it is being run. */
static bool wait_while_suspended(struct hv_vp *vp)
{
    while (vp->activity) {
        uint32_t seen = __atomic_load_n(&vp->shared.wake, __ATOMIC_ACQUIRE);

        if (__atomic_load_n(&vp->shared.requests, __ATOMIC_SEQ_CST))
            return false;
        hv_host_wait(&vp->shared.wake, seen, 0);
    }
    return true;
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
    vp->properties_seen = true;
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
    if (vector == VEC_DB)
        v->dr6 = (v->dr6 & ~(uint64_t)DR6_BP) | (parameter & (DR6_BP | DR6_BD | DR6_BS | DR6_BT));
    vp->pending_event[0] = 0;
}

static bool interrupt_is_deliverable(struct vcpu *v)
{
    vcpu_need(v, VCPU_RFLAGS | VCPU_INTR);
    return v->rflags & RFLAGS_IF && !v->interrupt_shadow;
}

/* An interrupt of the PIC's, acknowledged by the client: it goes in as soon as RFLAGS.IF and the shadow allow. */
static void take_pending_ext_int(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    if (!interrupt_is_deliverable(v)) {
        if (!v->controls.interrupt_window)
            vcpu_changed(v, VCPU_CONTROLS);
        v->controls.interrupt_window = true;
        return;
    }
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXTERNAL) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, FIELD_GET(HV_PENDING_EVENT_EXT_VECTOR, vp->pending_event[0]));
    vp->pending_event[0] = 0;
}

/* One event goes in with an entry: what is being delivered already comes first. */
static void take_pending_event(struct hv_vp *vp)
{
    if (vp->vcpu->event & HV_PENDING_INT_VALID)
        return;
    if (FIELD_GET(HV_PENDING_EVENT_TYPE, vp->pending_event[0]) == HV_EVENT_TYPE_EXT_INT)
        take_pending_ext_int(vp);
    else
        take_pending_exception(vp);
}

/* The windows that the client wants to hear of, in terms of exits. */
void run_apply_notifications(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    uint64_t priority = FIELD_GET(HV_NOTIFY_PRIORITY, vp->notifications);
    bool wanted = vp->notifications & HV_NOTIFY_INTERRUPT, blocked;
    struct vcpu_controls new = v->controls;

    vcpu_need(v, VCPU_CR8);
    blocked = wanted && priority != 0 && v->cr8 >= priority;
    new.interrupt_window = wanted && !blocked;
    new.tpr_threshold = blocked ? (uint8_t)priority : 0;
    new.nmi_window = vp->notifications &HV_NOTIFY_NMI;
    if (new.interrupt_window != v->controls.interrupt_window || new.tpr_threshold != v->controls.tpr_threshold ||
        new.nmi_window != v->controls.nmi_window) {
        v->controls = new;
        vcpu_changed(v, VCPU_CONTROLS);
    }
}

/* Once per run, pinned. */
void run_prepare(struct hv_vp *vp)
{
    const struct vcpu_controls *c = &vp->vcpu->controls;

    if (!vp->properties_seen)
        apply_properties(vp);
    if (vp->pdptes_stale) {
        /* unreadable ones are left as they were: the guest's next access says where memory is missing */
        gva_load_pdptes(vp);
        vp->pdptes_stale = false;
    }
    if (vp->notifications || c->interrupt_window || c->nmi_window || c->tpr_threshold)
        run_apply_notifications(vp);
}

/* ------------------------------------------------------------------------------------ THE loop */

enum run_outcome { RUN_TO_CLIENT, RUN_YIELD };

bool run_enter_once(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);
    bool cancelled = __atomic_load_n(&vp->shared.requests, __ATOMIC_SEQ_CST);

    if (!cancelled)
        backend()->enter(vp->vcpu, exit);
    vp_walk_end(vp, flags);
    return !cancelled;
}

static enum run_outcome run_loaded(struct hv_vp *vp, struct hv_exit *exit)
{
    for (;;) {
        if (vp->pending_event[0] & HV_PENDING_EVENT_VALID)
            take_pending_event(vp);
        if (!run_enter_once(vp, exit)) {
            take_cancel(vp);
            describe_cancel(exit);
            return RUN_TO_CLIENT;
        }
        vp->counters.exits[exit->reason]++;
        if (exit_handler_of(exit->reason)(vp, exit) == EXIT_TO_CLIENT)
            return RUN_TO_CLIENT;
        if ((exit->reason == HV_EXIT_HOST_EVENT || exit->reason == HV_EXIT_TIMER) && hv_host_should_yield())
            return RUN_YIELD;
    }
}

static enum run_outcome run_pinned(struct hv_vp *vp, struct hv_exit *exit)
{
    enum run_outcome outcome;

    vp_pin(vp);
    run_prepare(vp);
    vcpu_load(vp->vcpu);
    outcome = run_loaded(vp, exit);
    if (outcome == RUN_TO_CLIENT)
        exit_fill_context(vp, exit);
    vcpu_put(vp->vcpu);
    vp_unpin(vp);
    return outcome;
}

static void run(struct hv_vp *vp, struct hv_exit *exit)
{
    do {
        if (!wait_while_suspended(vp) || __atomic_load_n(&vp->shared.requests, __ATOMIC_RELAXED)) {
            take_cancel(vp);
            cancel_before_entry(vp, exit);
            return;
        }
    } while (run_pinned(vp, exit) == RUN_YIELD);
    exit_complete(vp, exit);
}

enum hv_status hv_vp_run(struct hv_vp *vp, struct hv_exit *exit)
{
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vp->triple_fault_valid = vp->finding_valid = false;
    run(vp, exit);
    vp_release(vp);
    return HV_OK;
}
