/* SPDX-License-Identifier: MIT */
/* VM exits in vendor-neutral words: one vmx_exit_<reason> each, found through a table. */
#include "../vcpu_parts.h"
#include "vmx.h"
#include "vmx_audit.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>
#include <arch/vmx_insn.h>
#include <hv/base/log.h>

typedef void vmx_exit_fn(struct vmx_vcpu *vmx, struct hv_exit *exit);

static uint8_t instruction_length(void)
{
    return (uint8_t)vmx_read(VMCS_EXIT_INSTR_LENGTH);
}

/* ------------------------------------------------------------------- events in the host's name */

/*
 * What ended the guest's run is the host's. NMIs and machine checks go to the host's own handlers (NMIs stay blocked
 * until their IRET). Interrupts are not acknowledged: they are still pending, and taken when the run loop turns
 * interrupts on. INIT, SIPI and SMI: nothing to do.
 */
static void vmx_exit_host_event(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_HOST_EVENT;
}

/* Those that the exit has acknowledged are not pending any more: they are taken here, as if interrupts were on. */
static void vmx_exit_external(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t info = vmx->acknowledges ? vmx_read(VMCS_EXIT_INTR_INFO) : 0;

    if (info & INTR_INFO_VALID)
        cpu_call_interrupt_handler((uint8_t)FIELD_GET(INTR_INFO_VECTOR, info));
    vmx_exit_host_event(vmx, exit);
}

static void vmx_exit_machine_check(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    cpu_call_machine_check_handler();
    vmx_exit_host_event(vmx, exit);
}

/* ------------------------------------------------------------------------ interrupted delivery */

/*
 * An IRET whose execution faulted has already ended NMI blocking: begin it again, since the IRET will run again (SDM
 * 3C 28.2.3).
 */
static void block_nmis_again(struct vcpu *v)
{
    vcpu_need(v, VCPU_INTR);
    v->nmi_masked = true;
    vcpu_changed(v, VCPU_INTR);
}

/* The event whose delivery this exit interrupted, to be delivered again by the next entry. True if there was one. */
static bool take_vectoring_event(struct vcpu *v)
{
    uint64_t info = vmx_read(VMCS_IDT_VECTORING_INFO);
    uint64_t type = FIELD_GET(INTR_INFO_TYPE, info);

    if (!(info & INTR_INFO_VALID))
        return false;
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, type) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, FIELD_GET(INTR_INFO_VECTOR, info));
    if (info & INTR_INFO_ERROR_VALID)
        v->event |=
            HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, vmx_read(VMCS_IDT_VECTORING_ERROR_CODE));
    if (type >= HV_INT_TYPE_SOFTWARE)
        v->event |= FIELD_PUT(HV_PENDING_INT_LENGTH, instruction_length());
    if (type == HV_INT_TYPE_NMI) { /* its delivery blocks NMIs; it could not be injected while they are */
        vcpu_need(v, VCPU_INTR);
        v->nmi_masked = false;
        vcpu_changed(v, VCPU_INTR);
    }
    return true;
}

/* ----------------------------------------------------------------------------------- exceptions */

/* In real mode nothing is pushed, and the CPU has to say so (SDM 3C 28.2.2); Bochs 2.7 does not. */
static bool has_error_code(struct vcpu *v, uint64_t info)
{
    return info & INTR_INFO_ERROR_VALID && (v->valid & VCPU_CR0 ? v->cr0 : vmx_read(VMCS_GUEST_CR0)) & CR0_PE;
}

static void vmx_exit_exception(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t info = vmx_read(VMCS_EXIT_INTR_INFO);
    uint64_t type = FIELD_GET(INTR_INFO_TYPE, info);
    uint8_t vector = (uint8_t)FIELD_GET(INTR_INFO_VECTOR, info);
    bool vectoring = take_vectoring_event(&vmx->v);

    if (type == INTR_TYPE_NMI) {
        cpu_call_nmi_handler();
        vmx_exit_host_event(vmx, exit);
        return;
    }
    if (vector == VEC_MC) {
        vmx_exit_machine_check(vmx, exit);
        return;
    }
    if (!vectoring && info & INTR_INFO_NMI_UNBLOCK && vector != VEC_DF)
        block_nmis_again(&vmx->v);
    exit->reason = HV_EXIT_EXCEPTION;
    exit->instruction.count = 0;
    exit->exception.vector = vector;
    exit->exception.is_software = type == INTR_TYPE_SW_EXCEPTION || type == INTR_TYPE_PRIV_SW_EXC;
    exit->exception.has_error_code = has_error_code(&vmx->v, info);
    exit->exception.error_code = exit->exception.has_error_code ? (uint32_t)vmx_read(VMCS_EXIT_INTR_ERROR_CODE) : 0;
    exit->exception.parameter = vector == VEC_PF || vector == VEC_DB ? vmx_read(VMCS_EXIT_QUALIFICATION) : 0;
    exit->instruction_length = exit->exception.is_software ? instruction_length() : 0;
}

static void vmx_exit_triple_fault(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_UNRECOVERABLE_EXCEPTION;
}

static void vmx_exit_task_switch(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    take_vectoring_event(&vmx->v);
    exit->reason = HV_EXIT_UNSUPPORTED_FEATURE;
    exit->instruction_length = 0;
    exit->unsupported.code = 2;
    exit->unsupported.parameter = vmx_read(VMCS_EXIT_QUALIFICATION);
}

/* -------------------------------------------------------------------------------------- windows */

static void vmx_exit_intr_window(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_WINDOW;
    exit->instruction_length = 0;
    exit->window.nmi = false;
}

static void vmx_exit_nmi_window(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    vmx_exit_intr_window(vmx, exit);
    exit->window.nmi = true;
}

static void vmx_exit_tpr_below(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_TPR;
}

static void vmx_exit_timer(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_TIMER;
}

/* --------------------------------------------------------------------------------- instructions */

static void vmx_exit_cpuid(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_CPUID;
    exit->instruction_length = instruction_length();
}

static void describe_msr(struct vmx_vcpu *vmx, struct hv_exit *exit, bool is_write)
{
    exit->reason = HV_EXIT_MSR;
    exit->instruction_length = instruction_length();
    exit->msr.is_write = is_write;
    exit->msr.index = (uint32_t)vmx->v.gpr[GPR_RCX];
    exit->msr.rax = vmx->v.gpr[GPR_RAX];
    exit->msr.rdx = vmx->v.gpr[GPR_RDX];
}

static void vmx_exit_rdmsr(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    describe_msr(vmx, exit, false);
}

static void vmx_exit_wrmsr(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    describe_msr(vmx, exit, true);
}

static void vmx_exit_rdtsc(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_RDTSC;
    exit->instruction_length = instruction_length();
    exit->rdtsc.is_rdtscp = false;
}

static void vmx_exit_rdtscp(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    vmx_exit_rdtsc(vmx, exit);
    exit->rdtsc.is_rdtscp = true;
}

static void vmx_exit_hlt(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_HALT;
    exit->instruction_length = instruction_length();
}

static void vmx_exit_vmcall(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_HYPERCALL;
    exit->instruction_length = instruction_length();
}

static void vmx_exit_xsetbv(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_XSETBV;
    exit->instruction_length = instruction_length();
}

static void vmx_exit_no_op(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_NO_OP;
    exit->instruction_length = instruction_length();
}

static void vmx_exit_undefined(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_UNDEFINED;
    exit->instruction_length = 0;
}

static void vmx_exit_rdpmc(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_RDPMC;
    exit->instruction_length = 0;
}

/* ------------------------------------------------------------------------- control and debug registers */

/* LMSW loads PE, MP, EM and TS, and can not clear PE. */
static uint64_t lmsw_value(struct vcpu *v, uint64_t source)
{
    const uint64_t bits = CR0_PE | CR0_MP | CR0_EM | CR0_TS;

    vcpu_need(v, VCPU_CR0);
    return (v->cr0 & ~bits) | (source & bits) | (v->cr0 & CR0_PE);
}

static void vmx_exit_cr_access(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t qual = vmx_read(VMCS_EXIT_QUALIFICATION);
    struct vcpu *v = &vmx->v;

    exit->reason = HV_EXIT_CR;
    exit->instruction_length = instruction_length();
    exit->cr.is_read = false;
    exit->cr.is_known = true;
    exit->cr.number = (uint8_t)FIELD_GET(QUAL_CR_NUMBER, qual);
    switch (FIELD_GET(QUAL_CR_TYPE, qual)) {
    case CR_TYPE_MOV_TO:
        exit->cr.value = vcpu_mov_cr_operand(v, FIELD_GET(QUAL_CR_GPR, qual));
        break;
    case CR_TYPE_CLTS:
        vcpu_need(v, VCPU_CR0);
        exit->cr.number = 0;
        exit->cr.value = v->cr0 & ~CR0_TS;
        break;
    case CR_TYPE_LMSW:
        exit->cr.number = 0;
        exit->cr.value = lmsw_value(v, FIELD_GET(QUAL_CR_LMSW_VALUE, qual));
        break;
    default: /* no control of ours makes MOV from CR exit */
        hv_log(HV_LOG_ERROR, "VMX: unexpected exit on MOV from CR, qualification 0x%llx", (unsigned long long)qual);
        exit->reason = HV_EXIT_INTERNAL_ERROR;
    }
}

static void vmx_exit_mov_dr(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_DR;
}

/* ------------------------------------------------------------------------------------------- I/O */

static void vmx_exit_io(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t qual = vmx_read(VMCS_EXIT_QUALIFICATION);

    exit->reason = HV_EXIT_IO;
    exit->instruction_length = instruction_length();
    exit->io.access = (struct hv_exit_io_access){
        .is_write = !FIELD_GET(QUAL_IO_IN, qual),
        .size = (FIELD_GET(QUAL_IO_SIZE, qual) + 1) & 7,
        .is_string = FIELD_GET(QUAL_IO_STRING, qual) & 1,
        .has_rep = FIELD_GET(QUAL_IO_REP, qual) & 1,
    };
    exit->io.port = (uint16_t)FIELD_GET(QUAL_IO_PORT, qual);
    exit->io.rax = vmx->v.gpr[GPR_RAX];
}

/* ---------------------------------------------------------------------------------------- memory */

/* By an access in the middle of an event's delivery, or of an IRET's that has unblocked NMIs. */
static __attribute__((noinline)) void interrupted(struct vcpu *v, uint64_t qual)
{
    if (!take_vectoring_event(v) && qual & QUAL_EPT_NMI_UNBLOCK)
        block_nmis_again(v);
}

static inline void describe_access(struct hv_exit *exit, uint64_t qual)
{
    bool is_linear = qual & QUAL_EPT_LINEAR_VALID, is_translated = qual & QUAL_EPT_TRANSLATED;

    exit->memory.access = qual & QUAL_EPT_WRITE   ? HV_ACCESS_WRITE
                          : qual & QUAL_EPT_FETCH ? HV_ACCESS_EXECUTE
                                                  : HV_ACCESS_READ;
    exit->memory.gpa = vmx_read(VMCS_GUEST_PHYSICAL_ADDR);
    exit->memory.page_walk = is_linear && !is_translated;
    exit->memory.gva_valid = is_linear && is_translated;
    exit->memory.gva = exit->memory.gva_valid ? vmx_read(VMCS_GUEST_LINEAR_ADDR) : 0;
}

static void vmx_exit_ept_violation(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t qual = vmx_read(VMCS_EXIT_QUALIFICATION);

    exit->reason = HV_EXIT_MEMORY;
    exit->instruction_length = 0;
    exit->instruction.count = 0;
    describe_access(exit, qual);
    if (vmx_read(VMCS_IDT_VECTORING_INFO) & INTR_INFO_VALID || qual & QUAL_EPT_NMI_UNBLOCK)
        interrupted(&vmx->v, qual);
}

static void vmx_exit_ept_misconfig(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    take_vectoring_event(&vmx->v);
    hv_log(HV_LOG_ERROR, "VMX: EPT misconfiguration at guest-physical 0x%llx",
           (unsigned long long)vmx_read(VMCS_GUEST_PHYSICAL_ADDR));
    exit->reason = HV_EXIT_INTERNAL_ERROR;
}

/* ------------------------------------------------------------------------------------- local APIC */

/* The CPU translated the address and found the APIC's page there. Accesses of other kinds are no instruction's. */
static void vmx_exit_apic_access(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t qual = vmx_read(VMCS_EXIT_QUALIFICATION), type = FIELD_GET(QUAL_APIC_TYPE, qual);

    take_vectoring_event(&vmx->v);
    exit->reason = HV_EXIT_MEMORY;
    exit->instruction_length = 0;
    exit->instruction.count = 0;
    exit->memory.access = type == APIC_ACCESS_WRITE   ? HV_ACCESS_WRITE
                          : type == APIC_ACCESS_FETCH ? HV_ACCESS_EXECUTE
                                                      : HV_ACCESS_READ;
    exit->memory.gpa = vmx->v.apic_gpa;
    if (type <= APIC_ACCESS_EVENT) /* else the offset is not defined */
        exit->memory.gpa += FIELD_GET(QUAL_APIC_OFFSET, qual);
    exit->memory.page_walk = type > APIC_ACCESS_FETCH;
    exit->memory.gva_valid = false;
    exit->memory.gva = 0;
}

static void vmx_exit_apic_write(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_APIC_WRITE;
    exit->instruction_length = 0;
    exit->apic.offset = (uint16_t)(vmx_read(VMCS_EXIT_QUALIFICATION) & 0xff0);
}

static void vmx_exit_virtual_eoi(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_APIC_EOI_DONE;
    exit->instruction_length = 0;
    exit->apic.vector = (uint8_t)FIELD_GET(QUAL_EOI_VECTOR, vmx_read(VMCS_EXIT_QUALIFICATION));
}

static void vmx_exit_pause(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    exit->reason = HV_EXIT_PAUSE;
    exit->instruction_length = instruction_length();
}

/* -------------------------------------------------------------------------------- refused entries */

/* Which checks the CPU was at: it says so, and a rule that it does not enforce must not hide the real cause. */
static unsigned refused_part(bool vm_fail, uint32_t reason, uint32_t error)
{
    if (vm_fail) /* after a refused VMRESUME the error is that of the VMLAUNCH behind it */
        return error == VMX_ERROR_ENTRY_CONTROLS     ? VMX_AUDIT_CONTROLS
               : error == VMX_ERROR_ENTRY_HOST_STATE ? VMX_AUDIT_HOST
                                                     : VMX_AUDIT_CONTROLS | VMX_AUDIT_HOST;
    return FIELD_GET(EXIT_REASON_BASIC, reason) == EXIT_REASON_ENTRY_MSR_LOAD ? VMX_AUDIT_MSRS : VMX_AUDIT_GUEST;
}

static uint64_t read_field(void *arg, uint32_t field)
{
    uint64_t value = 0;

    (void)arg;
    vmx_try_read(field, &value);
    return value;
}

static bool read_memory(void *arg, uint64_t address, uint64_t *value)
{
    const uint64_t *word = hv_host_phys_to_virt(address);

    (void)arg;
    if (word)
        *value = *word;
    return word;
}

bool vmx_exit_audit(struct vmx_vcpu *vmx, unsigned parts, struct hv_audit_finding *out)
{
    const struct vmx_audit_source source = {
        .read = read_field,
        .read_memory = read_memory,
        .arg = vmx,
        .caps = &vmx_caps,
        .current_vmcs = vmx->vmcs_pa,
        .parts = parts,
    };

    return vmx_audit(&source, out);
}

/*
 * Name the broken rule. The entry-event word is cleared, when the rules have seen it: what is injected next is what
 * the client then wants.
 */
void vmx_exit_entry_failed(struct vmx_vcpu *vmx, bool vm_fail, struct hv_exit *exit)
{
    uint32_t reason = (uint32_t)vmx_read(VMCS_EXIT_REASON), error = (uint32_t)vmx_read(VMCS_INSTR_ERROR);
    struct hv_audit_finding *finding = &vmx->v.finding;

    if (!vm_fail && FIELD_GET(EXIT_REASON_BASIC, reason) == EXIT_REASON_ENTRY_MCE) {
        vmx_write(VMCS_ENTRY_INTR_INFO, 0);
        vmx_exit_machine_check(vmx, exit);
        return;
    }
    exit->reason = HV_EXIT_INVALID_REGISTER_VALUE;
    exit->instruction_length = 0;
    if (vmx_exit_audit(vmx, refused_part(vm_fail, reason, error), finding)) {
        vcpu_log_refusal(finding);
    } else {
        *finding = (struct hv_audit_finding){.rule = "unknown",
                                             .field = "EXIT_REASON",
                                             .text = "the CPU refused the entry, but every rule known here holds",
                                             .section = "SDM 3C 27",
                                             .field_encoding = VMCS_EXIT_REASON,
                                             .value = reason};
        hv_log(HV_LOG_ERROR, "VM entry refused for an unknown reason: exit reason 0x%x, instruction error %u", reason,
               error);
    }
    vmx_write(VMCS_ENTRY_INTR_INFO, 0);
}

/* ------------------------------------------------------------------------------------- dispatch */

static void vmx_exit_unknown(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    (void)vmx;
    hv_log(HV_LOG_ERROR, "VMX: exit reason %u, which no control of ours asks for",
           (unsigned)FIELD_GET(EXIT_REASON_BASIC, vmx_read(VMCS_EXIT_REASON)));
    exit->reason = HV_EXIT_INTERNAL_ERROR;
    exit->instruction_length = 0;
}

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Winitializer-overrides"
static vmx_exit_fn *const vmx_exits[EXIT_REASON_COUNT] = {
    [0 ... EXIT_REASON_COUNT - 1] = vmx_exit_unknown, /* but for these */
    [EXIT_REASON_EXCEPTION_NMI] = vmx_exit_exception,
    [EXIT_REASON_EXTERNAL_INTR] = vmx_exit_external,
    [EXIT_REASON_TRIPLE_FAULT] = vmx_exit_triple_fault,
    [EXIT_REASON_INIT] = vmx_exit_host_event,
    [EXIT_REASON_SIPI] = vmx_exit_host_event,
    [EXIT_REASON_IO_SMI] = vmx_exit_host_event,
    [EXIT_REASON_OTHER_SMI] = vmx_exit_host_event,
    [EXIT_REASON_INTR_WINDOW] = vmx_exit_intr_window,
    [EXIT_REASON_NMI_WINDOW] = vmx_exit_nmi_window,
    [EXIT_REASON_TASK_SWITCH] = vmx_exit_task_switch,
    [EXIT_REASON_CPUID] = vmx_exit_cpuid,
    [EXIT_REASON_GETSEC] = vmx_exit_undefined,
    [EXIT_REASON_HLT] = vmx_exit_hlt,
    [EXIT_REASON_INVD] = vmx_exit_no_op,
    [EXIT_REASON_RDPMC] = vmx_exit_rdpmc,
    [EXIT_REASON_RDTSC] = vmx_exit_rdtsc,
    [EXIT_REASON_RSM] = vmx_exit_undefined,
    [EXIT_REASON_VMCALL] = vmx_exit_vmcall,
    [EXIT_REASON_VMCLEAR] = vmx_exit_undefined,
    [EXIT_REASON_VMLAUNCH] = vmx_exit_undefined,
    [EXIT_REASON_VMPTRLD] = vmx_exit_undefined,
    [EXIT_REASON_VMPTRST] = vmx_exit_undefined,
    [EXIT_REASON_VMREAD] = vmx_exit_undefined,
    [EXIT_REASON_VMRESUME] = vmx_exit_undefined,
    [EXIT_REASON_VMWRITE] = vmx_exit_undefined,
    [EXIT_REASON_VMXOFF] = vmx_exit_undefined,
    [EXIT_REASON_VMXON] = vmx_exit_undefined,
    [EXIT_REASON_CR_ACCESS] = vmx_exit_cr_access,
    [EXIT_REASON_MOV_DR] = vmx_exit_mov_dr,
    [EXIT_REASON_IO] = vmx_exit_io,
    [EXIT_REASON_RDMSR] = vmx_exit_rdmsr,
    [EXIT_REASON_WRMSR] = vmx_exit_wrmsr,
    [EXIT_REASON_MWAIT] = vmx_exit_undefined,
    [EXIT_REASON_MONITOR] = vmx_exit_undefined,
    [EXIT_REASON_PAUSE] = vmx_exit_pause,
    [EXIT_REASON_TPR_BELOW] = vmx_exit_tpr_below,
    [EXIT_REASON_APIC_ACCESS] = vmx_exit_apic_access,
    [EXIT_REASON_VIRTUAL_EOI] = vmx_exit_virtual_eoi,
    [EXIT_REASON_EPT_VIOLATION] = vmx_exit_ept_violation,
    [EXIT_REASON_EPT_MISCONFIG] = vmx_exit_ept_misconfig,
    [EXIT_REASON_INVEPT] = vmx_exit_undefined,
    [EXIT_REASON_RDTSCP] = vmx_exit_rdtscp,
    [EXIT_REASON_PREEMPTION_TIMER] = vmx_exit_timer,
    [EXIT_REASON_INVVPID] = vmx_exit_undefined,
    [EXIT_REASON_WBINVD] = vmx_exit_no_op,
    [EXIT_REASON_XSETBV] = vmx_exit_xsetbv,
    [EXIT_REASON_APIC_WRITE] = vmx_exit_apic_write,
    [EXIT_REASON_VMFUNC] = vmx_exit_undefined,
    [EXIT_REASON_ENCLS] = vmx_exit_undefined,
};
#pragma clang diagnostic pop

void vmx_exit_describe(struct vmx_vcpu *vmx, uint64_t reason, struct hv_exit *exit)
{
    uint64_t basic = FIELD_GET(EXIT_REASON_BASIC, reason);

    (basic < EXIT_REASON_COUNT ? vmx_exits[basic] : vmx_exit_unknown)(vmx, exit);
}
