/* SPDX-License-Identifier: MIT */
/* Exits in vendor-neutral words: one svm_exit_<code> each, found through a table. */
#include "../vcpu_parts.h"
#include "svm_audit.h"
#include "svm_code.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>
#include <hv/base/log.h>

typedef void svm_exit_fn(struct svm_vcpu *svm, struct hv_exit *exit);

static inline uint8_t length_by_next_rip(const struct vmcb *vmcb)
{
    return (uint8_t)(vmcb->next_rip - vmcb->rip);
}

/* Without next-RIP save the CPU does not say: virt/ finds out what the pages of known code do not tell. */
static inline __attribute__((always_inline)) void tell_length(struct svm_vcpu *svm, struct hv_exit *exit,
                                                              struct svm_instruction instruction)
{
    if (svm_has(CPUID_SVM_EDX_NRIPS))
        exit->instruction_length = length_by_next_rip(svm->vmcb);
    else
        svm_code_tell_length(svm, exit, instruction);
}

static __attribute__((noinline)) void tell_rare_length(struct svm_vcpu *svm, struct hv_exit *exit,
                                                       struct svm_instruction instruction)
{
    tell_length(svm, exit, instruction);
}

/* The same where there are operands, or it could be one of several. */
static uint8_t length_of_any(const struct svm_vcpu *svm)
{
    return svm_has(CPUID_SVM_EDX_NRIPS) ? length_by_next_rip(svm->vmcb) : HV_LENGTH_UNKNOWN;
}

static const struct svm_instruction insn_cpuid = {2, 0xa20f}, insn_rdmsr = {2, 0x320f}, insn_wrmsr = {2, 0x300f},
                                    insn_rdtsc = {2, 0x310f}, insn_hlt = {1, 0xf4}, insn_vmmcall = {3, 0xd9010f},
                                    insn_xsetbv = {3, 0xd1010f}, insn_int3 = {1, 0xcc};

/* With decode assists the CPU has fetched the instruction. */
static void take_fetched_bytes(const struct svm_vcpu *svm, struct hv_instruction *out)
{
    const struct vmcb *vmcb = svm->vmcb;

    out->count = 0;
    if (!svm_has(CPUID_SVM_EDX_DECODE))
        return;
    out->count = vmcb->fetched <= sizeof(vmcb->bytes) ? vmcb->fetched : 0;
    memcpy(out->bytes, vmcb->bytes, sizeof(vmcb->bytes));
}

/* ------------------------------------------------------------------- events in the host's name */

/*
 * What ended the guest's run is the host's. It is still pending: NMIs, SMIs and INITs were taken by the host with STGI,
 * interrupts when the run loop turns them on.
 */
static void svm_exit_host_event(struct svm_vcpu *svm, struct hv_exit *exit)
{
    (void)svm;
    exit->reason = HV_EXIT_HOST_EVENT;
    exit->instruction_length = 0;
}

static void svm_exit_machine_check(struct svm_vcpu *svm, struct hv_exit *exit)
{
    cpu_call_machine_check_handler();
    svm_exit_host_event(svm, exit);
}

/* An IRET at which NMIs are masked: it is to run alone, next. */
static void svm_exit_iret(struct svm_vcpu *svm, struct hv_exit *exit)
{
    svm_step_after_exit(svm, exit);
}

/* ----------------------------------------------------------------------------------- exceptions */

/*
 * The CPU has written DR6 already, and the guest is not to see that if the client takes the exception away: where its
 * accesses exit, what was there before is known.
 */
static uint64_t take_debug_bits(struct svm_vcpu *svm)
{
    uint64_t bits = svm->vmcb->dr6 & (DR6_BP | DR6_BD | DR6_BS | DR6_BT);

    if (!svm->v.dr_loaded) {
        svm->vmcb->dr6 = svm->entry_dr6;
        vmcb_touch(svm->vmcb, CLEAN_DR);
    }
    return bits;
}

static void describe_exception(struct svm_vcpu *svm, struct hv_exit *exit, unsigned vector, bool is_software)
{
    const struct vmcb *vmcb = svm->vmcb;

    exit->reason = HV_EXIT_EXCEPTION;
    exit->exception.vector = (uint8_t)vector;
    exit->exception.is_software = is_software;
    exit->exception.has_error_code = VEC_ERROR_CODE_MASK >> vector & 1 && vmcb->cr0 & CR0_PE;
    exit->exception.error_code = exit->exception.has_error_code ? (uint32_t)vmcb->exit_info1 : 0;
    exit->exception.parameter = vector == VEC_PF ? vmcb->exit_info2 : vector == VEC_DB ? take_debug_bits(svm) : 0;
    exit->instruction_length = is_software ? length_of_any(svm) : 0;
    if (is_software && vector == VEC_BP)
        tell_rare_length(svm, exit, insn_int3);
    exit->instruction.count = 0;
    if (vector == VEC_PF)
        take_fetched_bytes(svm, &exit->instruction);
}

static void svm_exit_exception(struct svm_vcpu *svm, struct hv_exit *exit)
{
    unsigned vector = (unsigned)(svm->vmcb->exit_code - EXIT_EXCEPTION);

    if (vector == VEC_MC)
        svm_exit_machine_check(svm, exit);
    else /* of vectors 3 and 4 only INT3 and INTO come here */
        describe_exception(svm, exit, vector, vector == VEC_BP || vector == VEC_OF);
}

static void svm_exit_icebp(struct svm_vcpu *svm, struct hv_exit *exit)
{
    describe_exception(svm, exit, VEC_DB, true);
    exit->exception.parameter = 0;
}

/*
 * Not the end of a delivery: there is nothing to be delivered again. Some CPUs tell of the first exception all the
 * same; injected, it would not exit when the core looks for what led here.
 */
static void svm_exit_software_int(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_SOFTWARE_INT;
    tell_rare_length(svm, exit, insn_int3);
    exit->software.is_int_n = false;
    exit->software.vector = VEC_BP;
}

static void svm_exit_shutdown(struct svm_vcpu *svm, struct hv_exit *exit)
{
    svm->v.event = 0;
    exit->reason = HV_EXIT_UNRECOVERABLE_EXCEPTION;
    exit->instruction_length = 0;
}

/* The parameter is as VMX's exit qualification has it: the TSS' selector, and in bits 31:30 what caused the switch. */
#define TASK_SWITCH_CALL 0u
#define TASK_SWITCH_IRET 1u
#define TASK_SWITCH_JUMP 2u
#define TASK_SWITCH_GATE 3u

static void svm_exit_task_switch(struct svm_vcpu *svm, struct hv_exit *exit)
{
    const struct vmcb *vmcb = svm->vmcb;
    uint64_t cause = vmcb->exit_info2 & TASK_INFO_IRET   ? TASK_SWITCH_IRET
                     : vmcb->exit_info2 & TASK_INFO_JUMP ? TASK_SWITCH_JUMP
                     : vmcb->exit_int_info & EVENT_VALID ? TASK_SWITCH_GATE
                                                         : TASK_SWITCH_CALL;

    exit->reason = HV_EXIT_UNSUPPORTED_FEATURE;
    exit->instruction_length = 0;
    exit->unsupported.code = 2;
    exit->unsupported.parameter = (uint16_t)vmcb->exit_info1 | cause << 30;
}

/* -------------------------------------------------------------------------------------- windows */

static void svm_exit_vintr(struct svm_vcpu *svm, struct hv_exit *exit)
{
    (void)svm;
    exit->reason = HV_EXIT_WINDOW;
    exit->instruction_length = 0;
    exit->window.nmi = false;
}

/* --------------------------------------------------------------------------------- instructions */

static void svm_exit_cpuid(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_CPUID;
    tell_length(svm, exit, insn_cpuid);
}

static void svm_exit_msr(struct svm_vcpu *svm, struct hv_exit *exit)
{
    bool is_write = svm->vmcb->exit_info1 & MSR_INFO_WRITE;

    exit->reason = HV_EXIT_MSR;
    exit->msr.is_write = is_write;
    exit->msr.index = (uint32_t)svm->v.gpr[GPR_RCX];
    exit->msr.rax = svm->v.gpr[GPR_RAX];
    exit->msr.rdx = svm->v.gpr[GPR_RDX];
    tell_length(svm, exit, is_write ? insn_wrmsr : insn_rdmsr);
}

static void svm_exit_rdtsc(struct svm_vcpu *svm, struct hv_exit *exit)
{
    bool is_rdtscp = svm->vmcb->exit_code == EXIT_INTERCEPT_OF(INTERCEPT_RDTSCP);

    exit->reason = HV_EXIT_RDTSC;
    exit->instruction_length = length_of_any(svm);
    exit->rdtsc.is_rdtscp = is_rdtscp;
    if (!is_rdtscp)
        tell_rare_length(svm, exit, insn_rdtsc);
}

static void svm_exit_hlt(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_HALT;
    tell_rare_length(svm, exit, insn_hlt);
}

static void svm_exit_vmmcall(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_HYPERCALL;
    tell_length(svm, exit, insn_vmmcall);
}

static void svm_exit_xsetbv(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_XSETBV;
    tell_rare_length(svm, exit, insn_xsetbv);
}

static void svm_exit_no_op(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_NO_OP;
    exit->instruction_length = length_of_any(svm);
}

static void svm_exit_pause(struct svm_vcpu *svm, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_PAUSE;
    exit->instruction_length = length_of_any(svm);
}

static void svm_exit_undefined(struct svm_vcpu *svm, struct hv_exit *exit)
{
    (void)svm;
    exit->reason = HV_EXIT_UNDEFINED;
    exit->instruction_length = 0;
}

static void svm_exit_rdpmc(struct svm_vcpu *svm, struct hv_exit *exit)
{
    (void)svm;
    exit->reason = HV_EXIT_RDPMC;
    exit->instruction_length = 0;
}

/* ------------------------------------------------------------------------- control and debug registers */

/* With decode assists the CPU tells the operand of MOV. */
static __attribute__((noinline)) void take_mov_cr(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t info = svm->vmcb->exit_info1;

    if (!(info & CR_INFO_MOV))
        return;
    exit->instruction_length = length_of_any(svm);
    exit->cr.is_known = true;
    exit->cr.gpr = (uint8_t)FIELD_GET(CR_INFO_GPR, info);
    if (!exit->cr.is_read)
        exit->cr.value = vcpu_mov_cr_operand(&svm->v, exit->cr.gpr);
}

/* Whatever becomes of it, CR0 will be looked at. */
static inline void describe_cr(struct svm_vcpu *svm, struct hv_exit *exit, unsigned number, bool is_read)
{
    svm_fetch_cr0(svm);
    exit->reason = HV_EXIT_CR;
    exit->instruction_length = HV_LENGTH_UNKNOWN;
    exit->cr.number = (uint8_t)number;
    exit->cr.is_read = is_read;
    exit->cr.is_known = false;
    if (svm_has(CPUID_SVM_EDX_DECODE))
        take_mov_cr(svm, exit);
    else
        svm_code_find_mov_cr(svm, exit);
}

static void svm_exit_cr_read(struct svm_vcpu *svm, struct hv_exit *exit)
{
    describe_cr(svm, exit, (unsigned)(svm->vmcb->exit_code - EXIT_CR_READ), true);
}

static void svm_exit_cr_write(struct svm_vcpu *svm, struct hv_exit *exit)
{
    describe_cr(svm, exit, (unsigned)(svm->vmcb->exit_code - EXIT_CR_WRITE), false);
}

static void svm_exit_cr0_sel_write(struct svm_vcpu *svm, struct hv_exit *exit)
{
    describe_cr(svm, exit, 0, false);
}

static void svm_exit_mov_dr(struct svm_vcpu *svm, struct hv_exit *exit)
{
    (void)svm;
    exit->reason = HV_EXIT_DR;
    exit->instruction_length = 0;
}

/* ------------------------------------------------------------------------------------------- I/O */

/* The address of the next instruction is in the exit information on all CPUs (APM 2 15.10.2). */
static void svm_exit_io(struct svm_vcpu *svm, struct hv_exit *exit)
{
    const struct vmcb *vmcb = svm->vmcb;
    uint64_t info = vmcb->exit_info1;

    exit->reason = HV_EXIT_IO;
    exit->instruction_length = (uint8_t)(vmcb->exit_info2 - vmcb->rip);
    exit->io.access = (struct hv_exit_io_access){
        .is_write = !FIELD_GET(IO_INFO_IN, info),
        .size = FIELD_GET(IO_INFO_SIZE, info) & 7,
        .is_string = FIELD_GET(IO_INFO_STR, info) & 1,
        .has_rep = FIELD_GET(IO_INFO_REP, info) & 1,
    };
    exit->io.port = (uint16_t)FIELD_GET(IO_INFO_PORT, info);
    exit->io.rax = svm->v.gpr[GPR_RAX];
}

/* ---------------------------------------------------------------------------------------- memory */

/* The linear address is not told. Walks of the guest's page tables always count as writes (APM 2 15.25.5). */
static void svm_exit_npf(struct svm_vcpu *svm, struct hv_exit *exit)
{
    const struct vmcb *vmcb = svm->vmcb;
    uint64_t info = vmcb->exit_info1;

    exit->reason = HV_EXIT_MEMORY;
    exit->instruction_length = 0;
    exit->memory.access = info & NPF_FETCH ? HV_ACCESS_EXECUTE : info & NPF_WRITE ? HV_ACCESS_WRITE : HV_ACCESS_READ;
    exit->memory.gpa = vmcb->exit_info2;
    exit->memory.page_walk = info & NPF_WALK;
    exit->memory.gva_valid = false;
    exit->memory.gva = 0;
    take_fetched_bytes(svm, &exit->instruction);
}

/* -------------------------------------------------------------------------------- refused entries */

/*
 * Name the broken rule. The injected event is dropped, when the rules have seen it: what is injected next is what the
 * client then wants.
 */
void svm_exit_entry_failed(struct svm_vcpu *svm, struct hv_exit *exit)
{
    const struct svm_audit_source source = {.vmcb = svm->vmcb, .caps = &svm_caps};
    struct hv_audit_finding *finding = &svm->v.finding;

    exit->reason = HV_EXIT_INVALID_REGISTER_VALUE;
    exit->instruction_length = 0;
    if (svm_audit(&source, finding)) {
        vcpu_log_refusal(finding);
        return;
    }
    *finding = (struct hv_audit_finding){.rule = "unknown",
                                         .field = "EXITCODE",
                                         .text = "the CPU refused the entry, but every rule known here holds",
                                         .section = "APM 2 15.5.1",
                                         .field_encoding = offsetof(struct vmcb, exit_code),
                                         .value = svm->vmcb->exit_code};
    hv_log(HV_LOG_ERROR, "VMRUN refused for an unknown reason");
}

/* ------------------------------------------------------------------------------------- dispatch */

static __attribute__((noinline)) void svm_exit_unknown(struct svm_vcpu *svm, struct hv_exit *exit)
{
    hv_log(HV_LOG_ERROR, "SVM: exit code 0x%llx, which no intercept of ours asks for",
           (unsigned long long)svm->vmcb->exit_code);
    exit->reason = HV_EXIT_INTERNAL_ERROR;
    exit->instruction_length = 0;
}

#define ON(number) [EXIT_INTERCEPT + (number)]

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Winitializer-overrides"
static svm_exit_fn *const svm_exits[EXIT_CODES] = {
    [0 ... EXIT_CODES - 1] = svm_exit_unknown, /* but for these */
    [EXIT_CR_READ... EXIT_CR_READ + 15] = svm_exit_cr_read,
    [EXIT_CR_WRITE... EXIT_CR_WRITE + 15] = svm_exit_cr_write,
    [EXIT_DR_READ... EXIT_DR_WRITE + 15] = svm_exit_mov_dr,
    [EXIT_EXCEPTION... EXIT_EXCEPTION + 31] = svm_exit_exception,
    ON(INTERCEPT_INTR) = svm_exit_host_event,
    ON(INTERCEPT_NMI) = svm_exit_host_event,
    ON(INTERCEPT_SMI) = svm_exit_host_event,
    ON(INTERCEPT_INIT) = svm_exit_host_event,
    ON(INTERCEPT_VINTR) = svm_exit_vintr,
    ON(INTERCEPT_CR0_SEL_WRITE) = svm_exit_cr0_sel_write,
    ON(INTERCEPT_RDTSC) = svm_exit_rdtsc,
    ON(INTERCEPT_RDPMC) = svm_exit_rdpmc,
    ON(INTERCEPT_CPUID) = svm_exit_cpuid,
    ON(INTERCEPT_IRET) = svm_exit_iret,
    ON(INTERCEPT_RSM) = svm_exit_undefined,
    ON(INTERCEPT_SWINT) = svm_exit_software_int,
    ON(INTERCEPT_INVD) = svm_exit_no_op,
    ON(INTERCEPT_PAUSE) = svm_exit_pause,
    ON(INTERCEPT_HLT) = svm_exit_hlt,
    ON(INTERCEPT_INVLPGA) = svm_exit_undefined,
    ON(INTERCEPT_IOIO) = svm_exit_io,
    ON(INTERCEPT_MSR) = svm_exit_msr,
    ON(INTERCEPT_TASK_SWITCH) = svm_exit_task_switch,
    ON(INTERCEPT_SHUTDOWN) = svm_exit_shutdown,
    ON(INTERCEPT_VMRUN) = svm_exit_undefined,
    ON(INTERCEPT_VMMCALL) = svm_exit_vmmcall,
    ON(INTERCEPT_VMLOAD) = svm_exit_undefined,
    ON(INTERCEPT_VMSAVE) = svm_exit_undefined,
    ON(INTERCEPT_STGI) = svm_exit_undefined,
    ON(INTERCEPT_CLGI) = svm_exit_undefined,
    ON(INTERCEPT_SKINIT) = svm_exit_undefined,
    ON(INTERCEPT_RDTSCP) = svm_exit_rdtsc,
    ON(INTERCEPT_ICEBP) = svm_exit_icebp,
    ON(INTERCEPT_WBINVD) = svm_exit_no_op,
    ON(INTERCEPT_MONITOR) = svm_exit_undefined,
    ON(INTERCEPT_MWAIT) = svm_exit_undefined,
    ON(INTERCEPT_XSETBV) = svm_exit_xsetbv,
    ON(INTERCEPT_RDPRU) = svm_exit_undefined,
    [EXIT_INVLPGB] = svm_exit_undefined,
    [EXIT_INVLPGB_ILLEGAL] = svm_exit_undefined,
    [EXIT_MCOMMIT] = svm_exit_undefined,
    [EXIT_TLBSYNC] = svm_exit_undefined,
};
#pragma clang diagnostic pop

/* from EXIT_NPF on */
static svm_exit_fn *const late_exits[] = {
    [EXIT_NPF - EXIT_NPF] = svm_exit_npf,
    [EXIT_AVIC_INCOMPLETE_IPI - EXIT_NPF] = svm_apic_exit_incomplete_ipi,
    [EXIT_AVIC_NOACCEL - EXIT_NPF] = svm_apic_exit_no_acceleration,
};

static __attribute__((noinline)) void describe_late(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t number = svm->vmcb->exit_code - EXIT_NPF;

    (number < ARRAY_COUNT(late_exits) ? late_exits[number] : svm_exit_unknown)(svm, exit);
}

void svm_exit_describe(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t code = svm->vmcb->exit_code;

    if (code < EXIT_CODES)
        svm_exits[code](svm, exit);
    else
        describe_late(svm, exit);
}
