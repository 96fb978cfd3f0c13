/* SPDX-License-Identifier: MIT */
/* What happens after a VM exit: the table of handlers, the small handlers, and the tools that all of them use. */
#include "exit.h"
#include "exit_msr.h"
#include "hypercall.h"
#include "irq.h"
#include "partition.h"
#include "time.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>

/* --------------------------------------------------------------------------------------- tools */

void exit_retire_instruction(struct hv_vp *vp)
{
    vcpu_retire_instruction(vp->vcpu);
}

void exit_skip_instruction(struct hv_vp *vp, const struct hv_exit *exit)
{
    backend()->advance(vp->vcpu, exit->instruction_length);
}

/* A fault: the saved image of RFLAGS has RF set (SDM 3B 18.3.1.1). */
static void inject(struct hv_vp *vp, uint8_t vector, uint64_t error)
{
    struct vcpu *v = vp->vcpu;

    vcpu_need(v, VCPU_RFLAGS);
    v->rflags |= RFLAGS_RF;
    vcpu_changed(v, VCPU_RFLAGS);
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXCEPTION) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, vector) | error;
    vp_count_event(vp);
}

void exit_inject(struct hv_vp *vp, uint8_t vector)
{
    inject(vp, vector, 0);
}

void exit_inject_error(struct hv_vp *vp, uint8_t vector, uint32_t error_code)
{
    inject(vp, vector, HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, error_code));
}

/* --------------------------------------------------------------------- exits without a word more */

static enum exit_outcome exit_to_client(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)vp;
    (void)exit;
    return EXIT_TO_CLIENT;
}

enum exit_outcome exit_no_op(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)vp, (void)exit;
    return EXIT_SKIP;
}

static enum exit_outcome exit_pause(struct hv_vp *vp, struct hv_exit *exit)
{
    exit_skip_instruction(vp, exit);
    return EXIT_YIELD;
}

static enum exit_outcome exit_undefined(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    exit_inject(vp, VEC_UD);
    return EXIT_HANDLED;
}

static enum exit_outcome exit_rdpmc(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    exit_inject_error(vp, VEC_GP, 0);
    return EXIT_HANDLED;
}

static enum exit_outcome exit_dr(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    vcpu_use_debug_registers(vp->vcpu); /* the instruction runs again, without an exit */
    return EXIT_HANDLED;
}

/* -------------------------------------------------------------------------- exits with some */

/* The single step over the HLT, or a breakpoint that a shadow held back: a #DB ends the halt at once. */
static bool trap_wakes(struct vcpu *v)
{
    vcpu_need(v, VCPU_INTR);
    return v->pending_debug & VCPU_DEBUG_TRAPS;
}

/*
 * WHP's clients find RIP behind the HLT and do not step. With a local APIC it is not their business: the loop ends when
 * nothing wakes the VP at once.
 */
static enum exit_outcome exit_halt(struct hv_vp *vp, struct hv_exit *exit)
{
    exit_skip_instruction(vp, exit);
    exit->instruction_length = 0;
    if (!vp->has_apic)
        return EXIT_TO_CLIENT;
    if (!irq_wakes(vp) && !trap_wakes(vp->vcpu))
        vp->activity = HV_ACTIVITY_HALT_SUSPEND;
    return EXIT_HANDLED;
}

static enum exit_outcome exit_rdtsc(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct vcpu *v = vp->vcpu;

    exit->rdtsc.tsc_aux = v->msr[VCPU_MSR_TSC_AUX];
    exit->rdtsc.virtual_offset = v->tsc_offset;
    exit->rdtsc.tsc = vcpu_guest_tsc(v);
    exit->rdtsc.reference_time = time_vp_reference(vp);
    return EXIT_TO_CLIENT;
}

/*
 * The local APIC's timer, or the run's deadline, given by hv_vp_set_run_deadline. A timer tick may be coarse: look at
 * the clock.
 */
static enum exit_outcome exit_timer(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct vcpu *v = vp->vcpu;

    if (v->deadline_tsc == 0 || cpu_tsc() < v->deadline_tsc)
        return EXIT_HANDLED;
    vp->todo |= VP_TODO_TIMER; /* sets the next deadline, and fires what is due */
    if (!irq_take_run_deadline(vp))
        return EXIT_HANDLED;
    exit->reason = HV_EXIT_CANCELED;
    exit->instruction_length = 0;
    return EXIT_TO_CLIENT;
}

/* An interrupt of the host may be that of the timer which it keeps for us. */
static enum exit_outcome exit_host_event(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    irq_look_at_timer(vp);
    return EXIT_HANDLED;
}

/*
 * Nothing that a guest may do leads here; the guest is stopped, the host goes on. The backend has logged what it saw.
 */
static enum exit_outcome exit_internal_error(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)vp;
    exit->reason = HV_EXIT_UNSUPPORTED_FEATURE;
    exit->instruction_length = 0;
    exit->unsupported.code = 1;
    exit->unsupported.parameter = 0;
    return EXIT_TO_CLIENT;
}

static enum exit_outcome exit_invalid_register_value(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)exit;
    vp->finding_valid = true;
    return EXIT_TO_CLIENT;
}

/* ------------------------------------------------------------------------------------ dispatch */

static exit_handler *const handlers[HV_EXIT_REASON_COUNT] = {
    [HV_EXIT_NONE] = exit_internal_error,
    [HV_EXIT_MEMORY] = exit_memory,
    [HV_EXIT_IO] = exit_io,
    [HV_EXIT_UNRECOVERABLE_EXCEPTION] = exit_triple_fault,
    [HV_EXIT_INVALID_REGISTER_VALUE] = exit_invalid_register_value,
    [HV_EXIT_UNSUPPORTED_FEATURE] = exit_to_client,
    [HV_EXIT_WINDOW] = exit_window,
    [HV_EXIT_HALT] = exit_halt,
    [HV_EXIT_MSR] = exit_msr,
    [HV_EXIT_CPUID] = exit_cpuid,
    [HV_EXIT_EXCEPTION] = exit_exception,
    [HV_EXIT_RDTSC] = exit_rdtsc,
    [HV_EXIT_HYPERCALL] = exit_hypercall,
    [HV_EXIT_CANCELED] = exit_internal_error,
    [HV_EXIT_APIC_EOI] = exit_internal_error,
    [HV_EXIT_SINT_DELIVERABLE] = exit_internal_error,
    [HV_EXIT_APIC_SMI_TRAP] = exit_internal_error,
    [HV_EXIT_APIC_INIT_SIPI_TRAP] = exit_internal_error,
    [HV_EXIT_APIC_WRITE_TRAP] = exit_internal_error,
    [HV_EXIT_HOST_EVENT] = exit_host_event,
    [HV_EXIT_CR] = exit_cr,
    [HV_EXIT_DR] = exit_dr,
    [HV_EXIT_XSETBV] = exit_xsetbv,
    [HV_EXIT_NO_OP] = exit_no_op,
    [HV_EXIT_UNDEFINED] = exit_undefined,
    [HV_EXIT_RDPMC] = exit_rdpmc,
    [HV_EXIT_TIMER] = exit_timer,
    [HV_EXIT_TPR] = exit_tpr,
    [HV_EXIT_APIC_WRITE] = exit_apic_write,
    [HV_EXIT_APIC_EOI_DONE] = exit_apic_eoi_done,
    [HV_EXIT_PAUSE] = exit_pause,
    [HV_EXIT_SOFTWARE_INT] = exit_software_int,
    [HV_EXIT_INTERNAL_ERROR] = exit_internal_error,
};

exit_handler *exit_handler_of(enum hv_exit_reason reason)
{
    return handlers[reason];
}

static const char *const reason_names[HV_EXIT_REASON_COUNT] = {
    [HV_EXIT_NONE] = "None",
    [HV_EXIT_MEMORY] = "MemoryAccess",
    [HV_EXIT_IO] = "X64IoPortAccess",
    [HV_EXIT_UNRECOVERABLE_EXCEPTION] = "UnrecoverableException",
    [HV_EXIT_INVALID_REGISTER_VALUE] = "InvalidVpRegisterValue",
    [HV_EXIT_UNSUPPORTED_FEATURE] = "UnsupportedFeature",
    [HV_EXIT_WINDOW] = "X64InterruptWindow",
    [HV_EXIT_HALT] = "X64Halt",
    [HV_EXIT_MSR] = "X64MsrAccess",
    [HV_EXIT_CPUID] = "X64Cpuid",
    [HV_EXIT_EXCEPTION] = "Exception",
    [HV_EXIT_RDTSC] = "X64Rdtsc",
    [HV_EXIT_HYPERCALL] = "Hypercall",
    [HV_EXIT_CANCELED] = "Canceled",
    [HV_EXIT_APIC_EOI] = "X64ApicEoi",
    [HV_EXIT_SINT_DELIVERABLE] = "SynicSintDeliverable",
    [HV_EXIT_APIC_SMI_TRAP] = "X64ApicSmiTrap",
    [HV_EXIT_APIC_INIT_SIPI_TRAP] = "X64ApicInitSipiTrap",
    [HV_EXIT_APIC_WRITE_TRAP] = "X64ApicWriteTrap",
    [HV_EXIT_HOST_EVENT] = "(host event)",
    [HV_EXIT_CR] = "(control register)",
    [HV_EXIT_DR] = "(debug register)",
    [HV_EXIT_XSETBV] = "(XSETBV)",
    [HV_EXIT_NO_OP] = "(cache instruction)",
    [HV_EXIT_UNDEFINED] = "(undefined instruction)",
    [HV_EXIT_RDPMC] = "(RDPMC)",
    [HV_EXIT_TIMER] = "(timer)",
    [HV_EXIT_TPR] = "(task priority)",
    [HV_EXIT_APIC_WRITE] = "(APIC write)",
    [HV_EXIT_APIC_EOI_DONE] = "(APIC EOI)",
    [HV_EXIT_PAUSE] = "(PAUSE loop)",
    [HV_EXIT_SOFTWARE_INT] = "(software interrupt)",
    [HV_EXIT_INTERNAL_ERROR] = "(internal error)",
};

const char *hv_exit_reason_name(enum hv_exit_reason reason)
{
    return (unsigned)reason < HV_EXIT_REASON_COUNT ? reason_names[reason] : "?";
}
