/* SPDX-License-Identifier: MIT */
/*
 * Running one instruction of the guest's alone.
 *
 * SVM has no window for the end of a shadow, nor for the end of NMI masking: it tells of the IRET that ends it, but
 * before it runs. Where the next event depends on it, the guest is entered with TF set, and with all exceptions
 * exiting, so that it notices nothing: the #DB behind the instruction comes here.
 *
 * What would store or load TF (PUSHF, POPF, IRET, INT n) exits too. An event in front of one of these instead of behind
 * it does no harm: shadows are there for HLT and for loads of the stack pointer.
 */
#include "svm.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

static const uint8_t flag_instructions[] = {INTERCEPT_PUSHF, INTERCEPT_POPF, INTERCEPT_IRET, INTERCEPT_SWINT};

static void intercept_flag_instructions(struct svm_vcpu *svm, bool on)
{
    for (size_t i = 0; i < ARRAY_COUNT(flag_instructions); i++)
        vmcb_intercept(svm->vmcb, flag_instructions[i], on);
}

/* -------------------------------------------------------------------------------- before */

/* Somebody waits for the end of the shadow. */
static bool is_shadow_in_the_way(const struct svm_vcpu *svm)
{
    const struct vcpu *v = &svm->v;

    if (!(svm->vmcb->interrupt_state & INTERRUPT_SHADOW))
        return false;
    return v->controls.interrupt_window || (v->controls.nmi_window && !v->nmi_masked) ||
           v->pending_debug & VCPU_DEBUG_TRAPS;
}

static void begin(struct svm_vcpu *svm)
{
    struct svm_step *step = &svm->step;
    struct vmcb *vmcb = svm->vmcb;

    svm->is_stepping = true;
    step->guest_has_tf = vmcb->rflags & RFLAGS_TF;
    step->dr6 = vmcb->dr6;
    vmcb->dr6 &= ~(DR6_BS | DR6_BP); /* what is there afterwards is new */
    vmcb->rflags |= RFLAGS_TF;
    vmcb->exceptions = ~0u;
    vmcb_touch(vmcb, CLEAN_INTERCEPTS | CLEAN_DR);
    intercept_flag_instructions(svm, true);
    svm_apic_sync(&svm->v);
    if (svm->is_iret_next)
        vmcb_intercept(vmcb, INTERCEPT_IRET, false);
}

/*
 * The guest's state is in the VMCB. An event goes first; what it interrupts is looked at again when it is back. The
 * core may have moved RIP away from the IRET.
 */
void svm_step_before_entry(struct svm_vcpu *svm)
{
    if (svm->v.event & HV_PENDING_INT_VALID || svm->vmcb->rip != svm->step.rip)
        svm->is_iret_next = false;
    if (svm->v.event & HV_PENDING_INT_VALID)
        return;
    if (svm->is_iret_next || is_shadow_in_the_way(svm))
        begin(svm);
}

/* --------------------------------------------------------------------------------- after */

static void restore_controls(struct svm_vcpu *svm)
{
    intercept_flag_instructions(svm, false);
    vmcb_intercept(svm->vmcb, INTERCEPT_SWINT, svm_wants_software_ints(svm));
    svm->vmcb->exceptions = svm->v.controls.exception_bitmap | BIT32(VEC_MC);
    vmcb_touch(svm->vmcb, CLEAN_INTERCEPTS);
    vmcb_intercept(svm->vmcb, INTERCEPT_IRET, svm->v.nmi_masked);
}

/* Bits of before the step stay, as none is ever cleared by the CPU; that of the step itself goes. */
static void restore_dr6(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    vmcb->dr6 = (vmcb->dr6 & ~(svm->step.guest_has_tf ? 0 : DR6_BS)) | (svm->step.dr6 & (DR6_BS | DR6_BP));
    vmcb_touch(vmcb, CLEAN_DR);
}

/* The instruction is over. TF is ours still, unless it was the IRET, which has loaded the guest's. */
static void instruction_done(struct svm_vcpu *svm, bool was_iret)
{
    struct vmcb *vmcb = svm->vmcb;

    if (!was_iret && !svm->step.guest_has_tf)
        vmcb->rflags &= ~RFLAGS_TF;
    if (was_iret)
        svm->v.nmi_masked = false;
}

/* The trap that the guest had coming without us: its own single step, or a breakpoint. */
static bool take_guest_trap(struct svm_vcpu *svm, uint64_t hits, struct hv_exit *exit)
{
    if (!svm->step.guest_has_tf && !hits)
        return false;
    if (svm->v.controls.exception_bitmap & BIT32(VEC_DB)) {
        svm_exit_describe(svm, exit);
        return true;
    }
    svm->v.event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXCEPTION) |
                   FIELD_PUT(HV_PENDING_INT_VECTOR, VEC_DB);
    return false;
}

/* An exception of the instruction's own. INT3 and INTO run again, without us, and what waited comes before them. */
static bool take_guest_fault(struct svm_vcpu *svm, unsigned vector, struct hv_exit *exit)
{
    struct vcpu *v = &svm->v;

    if (v->controls.exception_bitmap & BIT32(vector) || vector == VEC_MC) {
        svm_exit_describe(svm, exit);
        return true;
    }
    if (vector == VEC_BP || vector == VEC_OF) {
        svm->vmcb->interrupt_state = 0;
        return false;
    }
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXCEPTION) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, vector);
    if (VEC_ERROR_CODE_MASK >> vector & 1 && svm->vmcb->cr0 & CR0_PE)
        v->event |= HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, svm->vmcb->exit_info1);
    if (vector == VEC_PF)
        v->cr2 = svm->vmcb->exit_info2;
    return false;
}

static bool is_flag_instruction(uint64_t code)
{
    for (size_t i = 0; i < ARRAY_COUNT(flag_instructions); i++)
        if (code == EXIT_INTERCEPT_OF(flag_instructions[i]))
            return true;
    return false;
}

/* Bochs 2.7 does not write DR6 before the exit: no other cause is cause enough. */
static bool is_single_step(uint64_t dr6)
{
    return dr6 & DR6_BS || !(dr6 & (DR6_BP | DR6_BD));
}

/* True: the exit is the guest's own, and *exit tells of it. Else only the step is over, or could not be made. */
static bool end(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t code = svm->vmcb->exit_code;
    unsigned vector = (unsigned)(code - EXIT_EXCEPTION);
    uint64_t dr6 = svm->vmcb->dr6;
    bool was_iret = svm->is_iret_next;

    svm->is_stepping = svm->is_iret_next = false;
    svm_apic_sync(&svm->v);
    restore_dr6(svm);
    if (code == EXIT_EXCEPTION + VEC_DB && is_single_step(dr6)) {
        instruction_done(svm, was_iret);
        restore_controls(svm);
        return take_guest_trap(svm, dr6 & DR6_BP, exit);
    }
    if (!svm->step.guest_has_tf)
        svm->vmcb->rflags &= ~RFLAGS_TF;
    restore_controls(svm);
    if (vector < 32)
        return take_guest_fault(svm, vector, exit);
    if (is_flag_instruction(code)) {
        svm->vmcb->interrupt_state = 0;
        return false;
    }
    svm_exit_describe(svm, exit);
    return true;
}

void svm_step_after_exit(struct svm_vcpu *svm, struct hv_exit *exit)
{
    if (svm->is_stepping) {
        if (end(svm, exit))
            return;
    } else { /* runs alone, next */
        svm->is_iret_next = true;
        svm->step.rip = svm->vmcb->rip;
    }
    exit->reason = HV_EXIT_HOST_EVENT;
    exit->instruction_length = 0;
}

void svm_step_cancel(struct svm_vcpu *svm)
{
    if (!svm->is_stepping)
        return;
    svm->is_stepping = false; /* an IRET that was to run alone still is */
    restore_dr6(svm);
    if (!svm->step.guest_has_tf)
        svm->vmcb->rflags &= ~RFLAGS_TF;
    restore_controls(svm);
}
