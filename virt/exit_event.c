/* SPDX-License-Identifier: MIT */
/*
 * Exits about events: exceptions that the client wants to see, windows, and the end of a guest that can not deliver
 * any more.
 */
#include "code.h"
#include "exit.h"
#include "exit_length.h"
#include "gva.h"
#include "partition.h"
#include "run.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

/* ---------------------------------------------------------------------------------- exceptions */

/*
 * The bitmap is the client's own: what exits is for the client. DR6 and CR2 are not written; the parameter says what
 * they would be.
 */
enum exit_outcome exit_exception(struct hv_vp *vp, struct hv_exit *exit)
{
    vp->counters.page_fault_exits += exit->exception.vector == VEC_PF;
    if (exit->exception.is_software) /* the CPU has executed it */
        code_need(vp, &exit->instruction);
    else
        gva_need_instruction(vp, &exit->instruction);
    return EXIT_TO_CLIENT;
}

/* The interrupt or exception that the instruction at RIP is for, to be delivered by the next entry. */
static void deliver_software_int(struct vcpu *v, const struct hv_exit *exit)
{
    v->event =
        HV_PENDING_INT_VALID |
        FIELD_PUT(HV_PENDING_INT_TYPE, exit->software.is_int_n ? HV_INT_TYPE_SOFTWARE : HV_INT_TYPE_SW_EXCEPTION) |
        FIELD_PUT(HV_PENDING_INT_VECTOR, exit->software.vector) |
        FIELD_PUT(HV_PENDING_INT_LENGTH, exit->instruction_length);
}

/* INT3 and INTO are exceptions, which the client may want to see; INT n is the guest's own. */
enum exit_outcome exit_software_int(struct hv_vp *vp, struct hv_exit *exit)
{
    struct vcpu *v = vp->vcpu;
    uint8_t vector = exit->software.vector;

    if (exit->software.is_int_n || !(v->controls.exception_bitmap >> vector & 1)) {
        deliver_software_int(v, exit);
        return EXIT_HANDLED;
    }
    exit->reason = HV_EXIT_EXCEPTION;
    exit->exception.vector = vector;
    exit->exception.is_software = true;
    exit->exception.has_error_code = false;
    exit->exception.error_code = 0;
    exit->exception.parameter = 0;
    exit->instruction.count = 0;
    return exit_exception(vp, exit);
}

/* ------------------------------------------------------------------------------------- windows */

/* Notifications are one-shot: the client arms them again. */
static enum exit_outcome notify(struct hv_vp *vp, uint64_t bits)
{
    vp->notifications &= ~bits;
    run_apply_windows(vp);
    return EXIT_TO_CLIENT;
}

/*
 * A window may be open for several: an event of the client's that waits, which the loop takes now; the client, who
 * wants to hear of it; and the local APIC, which chooses anew at the next entry.
 */
static enum exit_outcome interrupt_window(struct hv_vp *vp)
{
    vp->wanted.interrupt_window = false;
    vp->todo |= VP_TODO_INTERRUPTS;
    if (vp->notifications & HV_NOTIFY_INTERRUPT && !run_window_is_blocked(vp) &&
        !(vp->pending_event[0] & HV_PENDING_EVENT_VALID))
        return notify(vp, HV_NOTIFY_INTERRUPT | HV_NOTIFY_PRIORITY);
    run_apply_windows(vp);
    return EXIT_HANDLED;
}

static enum exit_outcome nmi_window(struct hv_vp *vp)
{
    vp->wanted.nmi_window = false;
    vp->todo |= VP_TODO_INTERRUPTS;
    if (vp->notifications & HV_NOTIFY_NMI)
        return notify(vp, HV_NOTIFY_NMI);
    run_apply_windows(vp);
    return EXIT_HANDLED;
}

enum exit_outcome exit_window(struct hv_vp *vp, struct hv_exit *exit)
{
    return exit->window.nmi ? nmi_window(vp) : interrupt_window(vp);
}

/* CR8 fell below a priority that somebody waits for: now only RFLAGS.IF and the shadow are in the way. */
enum exit_outcome exit_tpr(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    vp->wanted.tpr_threshold = 0;
    vp->todo |= VP_TODO_INTERRUPTS;
    run_apply_windows(vp);
    return EXIT_HANDLED;
}

/* --------------------------------------------------------------------------------- triple fault */

static void describe_triple_fault(struct hv_vp *vp, struct hv_triple_fault *t)
{
    struct vcpu *v = vp->vcpu;
    hv_gpa_t gpa;

    vcpu_need(v, VCPU_RIP | VCPU_CR3 | VCPU_TABLES);
    memset(t, 0, sizeof(*t));
    t->rip = v->rip;
    t->cr3 = v->cr3;
    t->cr2 = v->cr2;
    t->idtr = v->idtr;
    t->idt_readable = gva_translate(vp, v->idtr.base, HV_TRANSLATE_READ | HV_TRANSLATE_PRIVILEGE_EXEMPT, &gpa) ==
                      HV_TRANSLATE_SUCCESS;
}

static void record_vector(struct hv_triple_fault *t, const struct hv_exit *exit)
{
    t->vectors[t->vector_count] = exit->exception.vector;
    t->error_codes[t->vector_count++] = exit->exception.error_code;
}

static void inject_again(struct vcpu *v, const struct hv_triple_fault *t)
{
    unsigned last = t->vector_count - 1u;
    /* a fault during the delivery of the first one has become a double fault */
    uint8_t vector = last == 0 ? t->vectors[0] : VEC_DF;

    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXCEPTION) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, vector) |
               (VEC_ERROR_CODE_MASK >> vector & 1 ? HV_PENDING_INT_ERROR_VALID : 0) |
               FIELD_PUT(HV_PENDING_INT_ERROR_CODE, last == 0 ? t->error_codes[0] : 0);
}

/*
 * The CPU does not say which exceptions led to a triple fault. But the guest's state is still that of before the
 * first one: with all exceptions made to exit, the same instruction meets the first again; injecting it meets the
 * second, and the double fault the third.
 * Should an instruction not fault this time (another VP has changed memory), a deadline soon ends the search, as does
 * any other exit.
 */
#define REPLAY_TICKS 1000u
#define REPLAY_NS    1000000u /* where the host's timer has to end it */
/* The host's interrupts may end an entry before the guest has done anything, more than once on a busy emulator. */
#define REPLAY_TRIES 20u

/* The next instruction of the guest's may not go on for long without an exception. */
static void begin_replay(struct vcpu *v)
{
    if (v->has_deadline)
        v->deadline_tsc = cpu_tsc() + REPLAY_TICKS;
}

/* The host's timer is set for each entry: when it has ended the last one, it does not end another. */
static bool replay(struct hv_vp *vp, struct hv_exit *step)
{
    if (!vp->vcpu->has_deadline)
        hv_host_timer(hv_host_time_ns() + REPLAY_NS);
    return run_enter_once(vp, step);
}

static void end_replay(struct hv_vp *vp, uint64_t deadline)
{
    vp->vcpu->deadline_tsc = deadline;
    if (vp->vcpu->has_deadline)
        return;
    hv_host_timer(0);
    if (vp->has_apic) /* it was its timer's */
        vp->todo |= VP_TODO_TIMER;
}

static void find_vectors(struct hv_vp *vp, struct hv_triple_fault *t)
{
    struct vcpu *v = vp->vcpu;
    struct vcpu_controls controls = v->controls;
    uint64_t deadline = v->deadline_tsc;
    bool is_delivered = false;
    struct hv_exit step;

    step.instruction_length = 0;
    v->controls = (struct vcpu_controls){.exception_bitmap = ~0u, .hlt_exit = true};
    vcpu_changed(v, VCPU_CONTROLS);
    while (t->vector_count < HV_TRIPLE_FAULT_VECTORS) {
        uint32_t tries = REPLAY_TRIES;

        begin_replay(v);
        do
            if (!replay(vp, &step))
                goto out;
        while (step.reason == HV_EXIT_HOST_EVENT && !(v->event & HV_PENDING_INT_VALID) && t->vector_count == 0 &&
               --tries);
        if (step.reason == HV_EXIT_SOFTWARE_INT && !is_delivered) {
            is_delivered = true; /* what follows counts, if it comes at once */
            if (!exit_length_find(vp, &step))
                break;
            deliver_software_int(v, &step);
            continue;
        }
        if (step.reason != HV_EXIT_EXCEPTION)
            break;
        record_vector(t, &step);
        inject_again(v, t);
    }
out:
    v->event = 0;
    end_replay(vp, deadline);
    v->controls = controls;
    vcpu_changed(v, VCPU_CONTROLS);
}

static void log_triple_fault(const struct hv_vp *vp, const struct hv_triple_fault *t)
{
    char vectors[64] = "";
    size_t at = 0;

    for (unsigned i = 0; i < t->vector_count && at < sizeof(vectors); i++)
        at += hv_format(vectors + at, sizeof(vectors) - at, "%s%u(0x%x)", i ? ", then " : "; vectors ", t->vectors[i],
                        t->error_codes[i]);
    hv_log(HV_LOG_WARNING, "VP %u: triple fault at RIP 0x%llx, CR3 0x%llx, IDT 0x%llx limit 0x%x (%sreadable)%s",
           vp->index, (unsigned long long)t->rip, (unsigned long long)t->cr3, (unsigned long long)t->idtr.base,
           t->idtr.limit, t->idt_readable ? "" : "not ", vectors);
}

enum exit_outcome exit_triple_fault(struct hv_vp *vp, struct hv_exit *exit)
{
    struct hv_triple_fault *t = &vp->triple_fault;

    describe_triple_fault(vp, t);
    find_vectors(vp, t);
    log_triple_fault(vp, t);
    vp->triple_fault_valid = true;
    exit->instruction_length = 0;
    return EXIT_TO_CLIENT;
}
