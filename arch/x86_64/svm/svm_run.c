/* SPDX-License-Identifier: MIT */
/* One entry into the guest, and the brackets around entries: what exits do not restore of the host. */
#include "../tsc.h"
#include "../vcpu_parts.h"
#include "svm.h"
#include "svm_audit.h"
#include <arch/bits/apic.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>
#include <arch/svm_insn.h>

/* ------------------------------------------------------------------------------ host state */

/*
 * What VMLOAD takes back after each exit is saved once: it does not change between here and svm_put. VMRUN and exits
 * leave IA32_DEBUGCTL alone, and it would make the guest's branches trap or be recorded.
 */
void svm_load(struct vcpu *v)
{
    struct svm_vcpu *svm = to_svm(v);

    svm_vmsave(svm->host_pa);
    svm->host_dr6 = cpu_read_dr6();
    svm->host_debugctl = cpu_read_msr(MSR_IA32_DEBUGCTL);
    if (svm->host_debugctl)
        cpu_write_msr(MSR_IA32_DEBUGCTL, 0);
}

void svm_put(struct vcpu *v)
{
    struct svm_vcpu *svm = to_svm(v);

    if (svm->host_debugctl)
        cpu_write_msr(MSR_IA32_DEBUGCTL, svm->host_debugctl);
    if (cpu_read_dr6() != svm->host_dr6)
        cpu_write_dr6(svm->host_dr6);
}

/* -------------------------------------------------------------------------------- injection */

/*
 * INT n, INT3, INTO and INT1 push the address behind them. With next-RIP save the CPU takes it from there for what it
 * knows as a software interrupt or exception (APM 2 15.20); else RIP itself has to be moved, and comes back when the
 * delivery is interrupted: see take_interrupted_event.
 */
static void move_past_instruction(struct svm_vcpu *svm, uint64_t type, uint64_t length)
{
    struct vmcb *vmcb = svm->vmcb;

    svm->soft_rip = vmcb->rip;
    svm->soft_next = vmcb->rip + length;
    if (!vcpu_is_64bit_code(&svm->v))
        svm->soft_next = (uint32_t)svm->soft_next;
    vmcb->next_rip = svm->soft_next;
    if (!svm_has(CPUID_SVM_EDX_NRIPS) || type == HV_INT_TYPE_PRIV_SW_EXCEPTION) {
        vmcb->rip = svm->soft_next;
        svm->v.valid &= ~VCPU_RIP;
    }
}

/* by HV_INT_TYPE_* */
static const uint8_t event_types[] = {
    [HV_INT_TYPE_EXTERNAL] = EVENT_TYPE_INTR,
    [HV_INT_TYPE_NMI] = EVENT_TYPE_NMI,
    [HV_INT_TYPE_EXCEPTION] = EVENT_TYPE_EXCEPTION,
    [HV_INT_TYPE_SOFTWARE] = EVENT_TYPE_SOFTWARE,
    [HV_INT_TYPE_PRIV_SW_EXCEPTION] = EVENT_TYPE_EXCEPTION,
    [HV_INT_TYPE_SW_EXCEPTION] = EVENT_TYPE_EXCEPTION,
};

/* The event word of struct vcpu is HV_REG_PENDING_INTERRUPTION's; SVM has the same parts in other places. */
static uint64_t event_identity(uint64_t event)
{
    uint64_t type = FIELD_GET(HV_PENDING_INT_TYPE, event), vector = FIELD_GET(HV_PENDING_INT_VECTOR, event) & 0xff;

    /* 1 and 7 are no types: SVM's number 7 is none either, and the entry is refused */
    return FIELD_PUT(EVENT_VECTOR, vector) |
           FIELD_PUT(EVENT_TYPE, type == 1 || type > HV_INT_TYPE_SW_EXCEPTION ? 7 : event_types[type]);
}

static uint64_t event_word(struct vcpu *v, uint64_t event)
{
    uint64_t type = FIELD_GET(HV_PENDING_INT_TYPE, event), vector = FIELD_GET(HV_PENDING_INT_VECTOR, event) & 0xff;
    uint64_t word = EVENT_VALID | event_identity(event);

    if (vcpu_pushes_error_code(v, type, vector))
        word |= EVENT_ERROR_VALID | FIELD_PUT(EVENT_ERROR_CODE, FIELD_GET(HV_PENDING_INT_ERROR_CODE, event));
    return word;
}

#define FIRST_OF_INTERRUPTS 32u /* lower vectors may be exceptions' as well */

/*
 * A virtual interrupt is delivered at once only to a guest that could take an interrupt now; and there is only one,
 * that windows are made of as well.
 */
static inline bool can_be_virtual(const struct svm_vcpu *svm, uint32_t vector)
{
    const struct vmcb *vmcb = svm->vmcb;

    return svm_caps.injects_twice && vector >= FIRST_OF_INTERRUPTS && vmcb->rflags & RFLAGS_IF && !svm->window &&
           !(vmcb->v_intr & V_AVIC);
}

/* An external interrupt, for a guest that neither has a shadow nor is stepping. */
static inline void inject_interrupt(struct svm_vcpu *svm, uint64_t event)
{
    uint32_t vector = (uint32_t)FIELD_GET(HV_PENDING_INT_VECTOR, event) & 0xff;

    svm->injected = event;
    if (can_be_virtual(svm, vector)) {
        svm->is_virtual = true;
        svm->vmcb->v_intr_vector = vector;
    } else {
        svm->vmcb->event_inj = EVENT_VALID | FIELD_PUT(EVENT_TYPE, EVENT_TYPE_INTR) | vector;
    }
}

static void inject(struct svm_vcpu *svm, uint64_t event)
{
    uint64_t type = FIELD_GET(HV_PENDING_INT_TYPE, event);

    if (type == HV_INT_TYPE_EXTERNAL && !svm->is_stepping && !(svm->vmcb->interrupt_state & INTERRUPT_SHADOW)) {
        inject_interrupt(svm, event);
        return;
    }
    svm->injected = event;
    svm->vmcb->event_inj = event_word(&svm->v, event);
    svm->is_unproven |= type != HV_INT_TYPE_EXTERNAL && type != HV_INT_TYPE_NMI;
    if (type >= HV_INT_TYPE_SOFTWARE)
        move_past_instruction(svm, type, FIELD_GET(HV_PENDING_INT_LENGTH, event));
    if (type == HV_INT_TYPE_NMI) { /* the CPU does not keep a guest's NMIs apart from the host's */
        svm->v.nmi_masked = true;
        vmcb_intercept(svm->vmcb, INTERCEPT_IRET, true);
    }
}

/* Debug traps that the core has found pending (vcpu.pending_debug) become an exception now. */
static bool is_debug_trap_due(const struct svm_vcpu *svm)
{
    return svm->v.pending_debug & VCPU_DEBUG_TRAPS && !svm->is_stepping && !(svm->v.event & HV_PENDING_INT_VALID);
}

/* What is injected does not exit: an exception that has to is one without an entry. */
static bool is_debug_trap_wanted(const struct svm_vcpu *svm)
{
    return svm->v.controls.exception_bitmap & BIT32(VEC_DB) && is_debug_trap_due(svm);
}

static void describe_debug_trap(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_EXCEPTION;
    exit->instruction_length = 0;
    exit->instruction.count = 0;
    exit->exception.vector = VEC_DB;
    exit->exception.has_error_code = exit->exception.is_software = false;
    exit->exception.error_code = 0;
    exit->exception.parameter = svm->v.pending_debug & (DR6_BP | DR6_BS);
    svm->v.pending_debug = 0;
}

static void take_pending_debug(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;
    uint64_t pending = v->pending_debug;

    if (!is_debug_trap_due(svm) || is_debug_trap_wanted(svm))
        return;
    svm->vmcb->dr6 = (svm->vmcb->dr6 & ~DR6_BP) | (pending & (DR6_BP | DR6_BS));
    vmcb_touch(svm->vmcb, CLEAN_DR);
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXCEPTION) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, VEC_DB);
}

/* ------------------------------------------------------------------------ interrupted delivery */

/* EVENTINJ itself is gone: exits clear it. Of virtual interrupts the one CPU that has them says exception. */
static bool is_same_event(const struct svm_vcpu *svm, uint64_t info)
{
    uint64_t identity = event_identity(svm->injected);

    if (svm->is_virtual)
        identity = (identity & ~EVENT_TYPE) | FIELD_PUT(EVENT_TYPE, EVENT_TYPE_EXCEPTION);
    return svm->injected & HV_PENDING_INT_VALID && identity == (info & (EVENT_VECTOR | EVENT_TYPE));
}

/* The exit came before the virtual interrupt was delivered. */
static void take_virtual_back(struct svm_vcpu *svm)
{
    if (svm->vmcb->v_intr & V_IRQ)
        svm->v.event = svm->injected;
}

/*
 * The event whose delivery the exit interrupted, to be delivered again by the next entry. Software interrupts that the
 * guest itself was executing are not among them: RIP is at the instruction, and it will be executed again.
 */
static __attribute__((noinline)) void take_interrupted_event(struct svm_vcpu *svm)
{
    uint64_t info = svm->vmcb->exit_int_info;
    uint64_t type = FIELD_GET(EVENT_TYPE, info), vector = FIELD_GET(EVENT_VECTOR, info);
    struct vcpu *v = &svm->v;

    if (type == EVENT_TYPE_NMI)
        v->nmi_masked = false; /* by its delivery; it could not be injected while they are */
    if (is_same_event(svm, info)) {
        v->event = svm->injected;
        if (FIELD_GET(HV_PENDING_INT_TYPE, v->event) >= HV_INT_TYPE_SOFTWARE && svm->vmcb->rip == svm->soft_next)
            svm->vmcb->rip = svm->soft_rip;
        return;
    }
    if (type == EVENT_TYPE_SOFTWARE || (type == EVENT_TYPE_EXCEPTION && (vector == VEC_BP || vector == VEC_OF)))
        return;
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, type) | FIELD_PUT(HV_PENDING_INT_VECTOR, vector);
    if (info & EVENT_ERROR_VALID)
        v->event |=
            HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, FIELD_GET(EVENT_ERROR_CODE, info));
}

static inline void forget_injection(struct svm_vcpu *svm)
{
    svm->vmcb->event_inj = svm->injected = 0;
    svm->is_virtual = false;
}

/* The entry is over: what has become of its event? */
static inline void end_injection(struct svm_vcpu *svm)
{
    svm->v.event = 0;
    if (svm->vmcb->exit_int_info & EVENT_VALID)
        take_interrupted_event(svm);
    else if (svm->is_virtual)
        take_virtual_back(svm);
    forget_injection(svm);
}

/* The CPU has refused the entry: the event is still to come, and what was done for it is undone. */
static void undo_injection(struct svm_vcpu *svm)
{
    uint64_t type = FIELD_GET(HV_PENDING_INT_TYPE, svm->injected);

    if (!svm->injected)
        return;
    if (type == HV_INT_TYPE_NMI) {
        svm->v.nmi_masked = false;
        vmcb_intercept(svm->vmcb, INTERCEPT_IRET, false);
    }
    if (type >= HV_INT_TYPE_SOFTWARE)
        svm->vmcb->rip = svm->soft_rip;
}

/* -------------------------------------------------------------------------------- one entry */

/* CR8 is V_TPR, to which the APIC page's TPR goes and from which it comes back. */
static void write_v_intr(struct svm_vcpu *svm, uint32_t window)
{
    struct vmcb *vmcb = svm->vmcb;
    uint32_t v_intr = (vmcb->v_intr & (V_AVIC | V_X2AVIC)) | V_INTR_MASKING | window | vcpu_cr8_of_tpr(&svm->v);

    svm->v_intr = v_intr;
    if (vmcb->v_intr != v_intr) {
        vmcb->v_intr = v_intr;
        vmcb_touch(vmcb, CLEAN_V_INTR);
    }
}

static __attribute__((noinline)) void follow_tpr(struct svm_vcpu *svm)
{
    svm->tpr = *vcpu_tpr(&svm->v);
    write_v_intr(svm, svm->window);
}

static inline void write_volatile_state(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    vmcb->rax = svm->v.gpr[GPR_RAX];
    svm->entry_dr6 = vmcb->dr6;
    if (vmcb->cr2 != svm->v.cr2) {
        vmcb->cr2 = svm->v.cr2;
        vmcb_touch(vmcb, CLEAN_CR2);
    }
}

static inline void read_volatile_state(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    vmcb->clean = svm_caps.clean;
    svm->v.gpr[GPR_RAX] = vmcb->rax;
    svm->v.cr2 = vmcb->cr2;
    if (vmcb->v_intr != svm->v_intr)
        vcpu_cr8_to_tpr(&svm->v, vmcb->v_intr & 0xf);
}

static inline void write_virtual_interrupt(struct svm_vcpu *svm)
{
    write_v_intr(svm, V_IRQ | V_IGN_TPR | V_INTR_PRIO);
    vmcb_touch(svm->vmcb, CLEAN_V_INTR); /* for the vector */
}

/* What VMRUN is to find in the VMCB, but for what needs this CPU. */
static void prepare(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;

    if (v->dirty)
        svm_sync(svm);
    if (svm->is_iret_next || svm->vmcb->interrupt_state & INTERRUPT_SHADOW)
        svm_step_before_entry(svm);
    if (v->pending_debug)
        take_pending_debug(svm);
    if (v->event & HV_PENDING_INT_VALID)
        inject(svm, v->event);
    write_volatile_state(svm);
    svm->tpr = SVM_TPR_UNKNOWN;
    if (svm->is_virtual) {
        write_virtual_interrupt(svm);
    } else if (svm->is_stepping) {
        write_v_intr(svm, 0);
    } else {
        follow_tpr(svm);
    }
    if (svm->is_stepping)
        svm->entry_dr6 = svm->step.dr6;
}

/* There is no exit for the moment when NMIs are no longer masked: it is known here, before the entry. */
static bool is_nmi_window_open(const struct svm_vcpu *svm)
{
    const struct vcpu *v = &svm->v;

    return svm->wants_nmi_window && !v->nmi_masked && !svm->is_stepping && !svm->injected;
}

static void describe_nmi_window(struct hv_exit *exit)
{
    exit->reason = HV_EXIT_WINDOW;
    exit->instruction_length = 0;
    exit->window.nmi = true;
}

/*
 * The manual does not say what is in the VMCB after a refusal, and there is an emulator that has saved the host's state
 * as the guest's then. So what may be refused is kept aside.
 */
static void back_up(struct svm_vcpu *svm)
{
    const struct vmcb *vmcb = svm->vmcb;

    svm->backup.v_intr = vmcb->v_intr;
    svm->backup.interrupt_state = vmcb->interrupt_state;
    memcpy(svm->backup.save, (const char *)vmcb + SVM_SAVE_START, SVM_SAVE_SIZE);
}

static void take_back(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    vmcb->clean = 0; /* who knows how far the CPU came */
    if (!svm->is_unproven)
        return;
    vmcb->v_intr = svm->backup.v_intr;
    vmcb->interrupt_state = svm->backup.interrupt_state;
    memcpy((char *)vmcb + SVM_SAVE_START, svm->backup.save, SVM_SAVE_SIZE);
}

static __attribute__((noinline)) void refused(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t event_inj = svm->injected ? event_word(&svm->v, svm->injected) : 0;

    if (svm->vmcb->tlb_control != TLB_KEEP) /* who knows whether that came before */
        svm->v.flush_guest = true;
    take_back(svm);
    svm->vmcb->event_inj = event_inj; /* for the auditor */
    svm_exit_entry_failed(svm, exit);
    undo_injection(svm);
    forget_injection(svm);
    svm_step_cancel(svm);
}

/*
 * The exit came before an instruction was executed: the shadow is not over. CPUs say so; an emulator whose VMRUN does
 * not load it does not. (An instruction that jumps to itself has a shadow once more, which nobody can tell.)
 */
static void keep_shadow(struct svm_vcpu *svm, uint64_t rip)
{
    struct vmcb *vmcb = svm->vmcb;

    if (vmcb->rip == rip && vmcb->exit_code != EXIT_EXCEPTION + VEC_DB)
        vmcb->interrupt_state |= INTERRUPT_SHADOW;
}

/* What a guest does not change without an exit. */
#define KNOWN_GROUPS (VCPU_STICKY | VCPU_CR4 | VCPU_EFER | VCPU_PAT)

static inline void flush_if_stale(struct svm_vcpu *svm)
{
    if (svm->apic_ids)
        svm_apic_before_entry(svm);
    if (svm->v.flush_guest || npt_svm_has_changed(&svm->v))
        npt_svm_flush(svm);
}

/* What every exit has in common. False: there was none. */
static inline bool take_exit(struct svm_vcpu *svm, struct hv_exit *exit)
{
    if ((uint32_t)svm->vmcb->exit_code == (uint32_t)EXIT_INVALID) {
        refused(svm, exit);
        return false;
    }
    read_volatile_state(svm);
    svm->v.valid &= KNOWN_GROUPS;
    return true;
}

/* Nothing is entered when what the core waits for is there without. */
static bool is_exit_without_entry(struct svm_vcpu *svm, struct hv_exit *exit)
{
    if (is_nmi_window_open(svm)) {
        describe_nmi_window(exit);
        return true;
    }
    if (svm->v.pending_debug && is_debug_trap_wanted(svm)) {
        describe_debug_trap(svm, exit);
        return true;
    }
    return false;
}

/* An entry with an event, a shadow, one instruction alone, ... */
static __attribute__((noinline)) void enter_special(struct svm_vcpu *svm, struct hv_exit *exit)
{
    struct vcpu *v = &svm->v;
    struct vmcb *vmcb = svm->vmcb;
    uint64_t rip;
    bool shadow;

    prepare(svm);
    if (is_exit_without_entry(svm, exit))
        return;
    flush_if_stale(svm);
    if (svm->is_unproven)
        back_up(svm);
    rip = vmcb->rip;
    shadow = vmcb->interrupt_state & INTERRUPT_SHADOW;
    svm_run_guest(svm);
    vmcb->tlb_control = TLB_KEEP;
    if (!take_exit(svm, exit))
        return;
    svm->is_unproven = false;
    if (shadow)
        keep_shadow(svm, rip);
    v->pending_debug = svm->is_stepping ? v->pending_debug : 0;
    end_injection(svm);
    if (svm->is_stepping)
        svm_step_after_exit(svm, exit);
    else
        svm_exit_describe(svm, exit);
}

/* CPUs may tell the guest's RFLAGS.IF beside it. */
static inline bool has_shadow(const struct svm_vcpu *svm)
{
    return svm->vmcb->interrupt_state & INTERRUPT_SHADOW;
}

/* Registers that have changed and translations to be dropped: there is less to them than to all else. */
static inline bool is_special(const struct svm_vcpu *svm)
{
    return svm->v.event | svm->v.pending_debug | svm->special || has_shadow(svm);
}

static inline bool is_plain(const struct svm_vcpu *svm)
{
    const struct vcpu *v = &svm->v;

    return !(v->unsettled | v->event | v->pending_debug | svm->unusual) && !has_shadow(svm) && !npt_svm_has_changed(v);
}

static inline __attribute__((always_inline)) void enter_plain(struct svm_vcpu *svm, struct hv_exit *exit)
{
    write_volatile_state(svm);
    if (*vcpu_tpr(&svm->v) != svm->tpr)
        follow_tpr(svm);
    svm_run_guest(svm);
    if (!take_exit(svm, exit))
        return;
    if (svm->vmcb->exit_int_info & EVENT_VALID)
        take_interrupted_event(svm);
    svm_exit_describe(svm, exit);
}

/*
 * Most events are external interrupts, and nothing else is unusual about their entries. The state is one that was
 * entered before, so that the CPU refuses nothing.
 */
static inline bool is_interrupt_alone(const struct svm_vcpu *svm)
{
    const struct vcpu *v = &svm->v;

    return (v->event & (HV_PENDING_INT_VALID | HV_PENDING_INT_TYPE)) == HV_PENDING_INT_VALID &&
           !(v->unsettled | v->pending_debug | svm->unusual) && !has_shadow(svm) && !npt_svm_has_changed(v);
}

static __attribute__((noinline)) void enter_interrupted(struct svm_vcpu *svm, struct hv_exit *exit)
{
    inject_interrupt(svm, svm->v.event);
    write_volatile_state(svm);
    svm->tpr = SVM_TPR_UNKNOWN;
    if (svm->is_virtual)
        write_virtual_interrupt(svm);
    else
        follow_tpr(svm);
    svm_run_guest(svm);
    if (!take_exit(svm, exit))
        return;
    end_injection(svm);
    svm_exit_describe(svm, exit);
}

/* Systems change some bits of control registers again and again, and flush what they have translated: that is less. */
static __attribute__((noinline)) void enter_settled(struct svm_vcpu *svm, struct hv_exit *exit)
{
    if (is_special(svm) || !svm_sync_free(svm)) {
        enter_special(svm, exit);
        return;
    }
    flush_if_stale(svm);
    enter_plain(svm, exit);
    svm->vmcb->tlb_control = TLB_KEEP;
}

static __attribute__((noinline)) unsigned tell_unknown(struct hv_exit *exit, const struct vcpu_exits *exits,
                                                       struct hv_vp *owner)
{
    return exits->of_unknown_length(owner, exit);
}

static inline unsigned tell(struct hv_exit *exit, const struct vcpu_exits *exits, struct hv_vp *owner)
{
    if (exit->instruction_length == HV_LENGTH_UNKNOWN)
        return tell_unknown(exit, exits, owner);
    return exits->by_reason[exit->reason](owner, exit);
}

/* Interrupts that wait end the next entry: there is no need to count how long they have been off. */
unsigned svm_enter(struct vcpu *v, struct hv_exit *exit, const struct vcpu_exits *exits, struct hv_vp *owner)
{
    struct svm_vcpu *svm = to_svm(v);
    unsigned next;

    if (v->dirty == VCPU_RIP) /* a client's way over an instruction, no reason for a special entry */
        svm_sync(svm);
    for (;;) {
        if (is_plain(svm))
            enter_plain(svm, exit);
        else if (is_interrupt_alone(svm))
            enter_interrupted(svm, exit);
        else
            enter_settled(svm, exit);
        vcpu_count_exit(v, exit);
        next = tell(exit, exits, owner);
        if (next > VCPU_SKIP)
            return next;
        if (next == VCPU_SKIP)
            svm_advance(v, exit->instruction_length);
        if (vcpu_is_stopped(v)) {
            next = exits->stopped(owner, exit);
            if (next != VCPU_ENTER)
                return next;
        }
    }
}

bool svm_audit_next(struct vcpu *v, struct hv_audit_finding *out)
{
    struct svm_vcpu *svm = to_svm(v);
    struct vmcb *vmcb = svm->vmcb;
    const struct svm_audit_source source = {.vmcb = vmcb, .caps = &svm_caps};
    uint32_t asid = vmcb->asid;
    bool broken;

    svm_sync(svm);
    vmcb->event_inj = v->event & HV_PENDING_INT_VALID ? event_word(v, v->event) : 0;
    vmcb->asid = asid ? asid : 1; /* there is always one to be had */
    broken = svm_audit(&source, out);
    vmcb->event_inj = 0;
    vmcb->asid = asid;
    return broken;
}
