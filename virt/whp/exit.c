/* SPDX-License-Identifier: MIT */
/* From struct hv_exit to WHV_RUN_VP_EXIT_CONTEXT. On the path of every exit to the client: no calls but the one through
 * the table. */
#include "exit.h"
#include <hv/base/bits.h>

_Static_assert(WHP_EXIT_CONTEXT_MIN == 48, "reason and VpContext");
_Static_assert(sizeof(WHV_RUN_VP_EXIT_CONTEXT) == 224, "WHV_RUN_VP_EXIT_CONTEXT");
_Static_assert(sizeof(WHV_X64_SEGMENT_REGISTER) == sizeof(struct hv_segment), "segments are copied as a whole");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Limit) == offsetof(struct hv_segment, limit), "segment limit");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Selector) == offsetof(struct hv_segment, selector),
               "segment selector");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Attributes) == offsetof(struct hv_segment, attributes), "attributes");
_Static_assert((int)HV_ACCESS_EXECUTE == WHvMemoryAccessExecute, "access types have WHP's numbers");
_Static_assert(sizeof(((WHV_MEMORY_ACCESS_CONTEXT *)0)->InstructionBytes) == HV_INSTRUCTION_BYTES_MAX,
               "instruction bytes");

static WHV_X64_SEGMENT_REGISTER segment(const struct hv_segment *from)
{
    WHV_X64_SEGMENT_REGISTER to;

    __builtin_memcpy(&to, from, sizeof(to));
    return to;
}

/* The bytes that were read; those behind them stay 0. Returns their number. */
static UINT8 instruction(UINT8 *to, const struct hv_instruction *from)
{
    UINT8 count = HV_MIN(from->count, HV_INSTRUCTION_BYTES_MAX);

    if (count == HV_INSTRUCTION_BYTES_MAX) { /* mostly so: two words */
        __builtin_memcpy(to, from->bytes, HV_INSTRUCTION_BYTES_MAX);
        return count;
    }
    for (unsigned i = 0; i < count; i++)
        to[i] = from->bytes[i];
    return count;
}

/* ------------------------------------------------- one function for each member of the union, which holds zeros */

static void fill_none(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    (void)context;
    (void)exit;
}

static void fill_memory(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_MEMORY_ACCESS_CONTEXT *to = &context->MemoryAccess;

    to->InstructionByteCount = instruction(to->InstructionBytes, &exit->instruction);
    to->AccessInfo = (WHV_MEMORY_ACCESS_INFO){{
        .AccessType = (UINT32)exit->memory.access,
        .GpaUnmapped = exit->memory.unmapped,
        .GvaValid = exit->memory.gva_valid,
    }};
    to->Gpa = exit->memory.gpa;
    to->Gva = exit->memory.gva;
}

static void fill_io(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT *to = &context->IoPortAccess;

    to->InstructionByteCount = instruction(to->InstructionBytes, &exit->instruction);
    to->AccessInfo = (WHV_X64_IO_PORT_ACCESS_INFO){{
        .IsWrite = exit->io.is_write,
        .AccessSize = exit->io.size,
        .StringOp = exit->io.is_string,
        .RepPrefix = exit->io.has_rep,
    }};
    to->PortNumber = exit->io.port;
    to->Rax = exit->io.rax;
    to->Rcx = exit->io.rcx;
    to->Rsi = exit->io.rsi;
    to->Rdi = exit->io.rdi;
    to->Ds = segment(&exit->io.ds);
    to->Es = segment(&exit->io.es);
}

static void fill_unsupported(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->UnsupportedFeature.FeatureCode = (WHV_X64_UNSUPPORTED_FEATURE_CODE)exit->unsupported.code;
    context->UnsupportedFeature.FeatureParameter = exit->unsupported.parameter;
}

static void fill_window(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->InterruptWindow.DeliverableType = exit->window.nmi ? WHvX64PendingNmi : WHvX64PendingInterrupt;
}

static void fill_msr(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_X64_MSR_ACCESS_CONTEXT *to = &context->MsrAccess;

    to->AccessInfo.IsWrite = exit->msr.is_write;
    to->MsrNumber = exit->msr.index;
    to->Rax = exit->msr.rax;
    to->Rdx = exit->msr.rdx;
}

static void fill_cpuid(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_X64_CPUID_ACCESS_CONTEXT *to = &context->CpuidAccess;

    to->Rax = exit->cpuid.rax;
    to->Rcx = exit->cpuid.rcx;
    to->Rdx = exit->cpuid.rdx;
    to->Rbx = exit->cpuid.rbx;
    to->DefaultResultRax = exit->cpuid.default_rax;
    to->DefaultResultRcx = exit->cpuid.default_rcx;
    to->DefaultResultRdx = exit->cpuid.default_rdx;
    to->DefaultResultRbx = exit->cpuid.default_rbx;
}

static void fill_exception(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_VP_EXCEPTION_CONTEXT *to = &context->VpException;

    to->InstructionByteCount = instruction(to->InstructionBytes, &exit->instruction);
    to->ExceptionInfo = (WHV_VP_EXCEPTION_INFO){{
        .ErrorCodeValid = exit->exception.has_error_code,
        .SoftwareException = exit->exception.is_software,
    }};
    to->ExceptionType = exit->exception.vector;
    to->ErrorCode = exit->exception.error_code;
    to->ExceptionParameter = exit->exception.parameter;
}

static void fill_rdtsc(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_X64_RDTSC_CONTEXT *to = &context->ReadTsc;

    to->TscAux = exit->rdtsc.tsc_aux;
    to->VirtualOffset = exit->rdtsc.virtual_offset;
    to->Tsc = exit->rdtsc.tsc;
    to->ReferenceTime = exit->rdtsc.reference_time;
    to->RdtscInfo.IsRdtscp = exit->rdtsc.is_rdtscp;
}

_Static_assert(sizeof(((WHV_HYPERCALL_CONTEXT *)0)->XmmRegisters) == sizeof(((struct hv_exit *)0)->hypercall.xmm),
               "XMM");

static void fill_hypercall(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    WHV_HYPERCALL_CONTEXT *to = &context->Hypercall;

    to->Rax = exit->hypercall.rax;
    to->Rbx = exit->hypercall.rbx;
    to->Rcx = exit->hypercall.rcx;
    to->Rdx = exit->hypercall.rdx;
    to->R8 = exit->hypercall.r8;
    to->Rsi = exit->hypercall.rsi;
    to->Rdi = exit->hypercall.rdi;
    for (unsigned i = 0; i < WHV_HYPERCALL_CONTEXT_MAX_XMM_REGISTERS; i++)
        __builtin_memcpy(&to->XmmRegisters[i], exit->hypercall.xmm[i], sizeof(to->XmmRegisters[i]));
}

static void fill_canceled(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    (void)exit;
    context->CancelReason.CancelReason = WHvRunVpCancelReasonUser;
}

static void fill_sints(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->SynicSintDeliverable.DeliverableSints = exit->sints;
}

static void fill_smi(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->ApicSmi.ApicIcr = exit->icr;
}

static void fill_init_sipi(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->ApicInitSipi.ApicIcr = exit->icr;
}

static void fill_apic_write(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->ApicWrite.Type = (WHV_X64_APIC_WRITE_TYPE)exit->apic_write.offset;
    context->ApicWrite.WriteValue = exit->apic_write.value;
}

static void fill_eoi(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->ApicEoi.InterruptVector = exit->apic.vector;
}

/* ----------------------------------------------------------------------------------------- the table */

static const struct conversion {
    WHV_RUN_VP_EXIT_REASON reason;
    void (*fill)(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit);
} conversions[HV_EXIT_INTERNAL] = {
    [HV_EXIT_NONE] = {WHvRunVpExitReasonNone, fill_none},
    [HV_EXIT_MEMORY] = {WHvRunVpExitReasonMemoryAccess, fill_memory},
    [HV_EXIT_IO] = {WHvRunVpExitReasonX64IoPortAccess, fill_io},
    [HV_EXIT_UNRECOVERABLE_EXCEPTION] = {WHvRunVpExitReasonUnrecoverableException, fill_none},
    [HV_EXIT_INVALID_REGISTER_VALUE] = {WHvRunVpExitReasonInvalidVpRegisterValue, fill_none},
    [HV_EXIT_UNSUPPORTED_FEATURE] = {WHvRunVpExitReasonUnsupportedFeature, fill_unsupported},
    [HV_EXIT_WINDOW] = {WHvRunVpExitReasonX64InterruptWindow, fill_window},
    [HV_EXIT_HALT] = {WHvRunVpExitReasonX64Halt, fill_none},
    [HV_EXIT_MSR] = {WHvRunVpExitReasonX64MsrAccess, fill_msr},
    [HV_EXIT_CPUID] = {WHvRunVpExitReasonX64Cpuid, fill_cpuid},
    [HV_EXIT_EXCEPTION] = {WHvRunVpExitReasonException, fill_exception},
    [HV_EXIT_RDTSC] = {WHvRunVpExitReasonX64Rdtsc, fill_rdtsc},
    [HV_EXIT_HYPERCALL] = {WHvRunVpExitReasonHypercall, fill_hypercall},
    [HV_EXIT_CANCELED] = {WHvRunVpExitReasonCanceled, fill_canceled},
    [HV_EXIT_APIC_EOI] = {WHvRunVpExitReasonX64ApicEoi, fill_eoi},
    [HV_EXIT_SINT_DELIVERABLE] = {WHvRunVpExitReasonSynicSintDeliverable, fill_sints},
    [HV_EXIT_APIC_SMI_TRAP] = {WHvRunVpExitReasonX64ApicSmiTrap, fill_smi},
    [HV_EXIT_APIC_INIT_SIPI_TRAP] = {WHvRunVpExitReasonX64ApicInitSipiTrap, fill_init_sipi},
    [HV_EXIT_APIC_WRITE_TRAP] = {WHvRunVpExitReasonX64ApicWriteTrap, fill_apic_write},
};

static inline void fill_vp(WHV_VP_EXIT_CONTEXT *to, const struct hv_exit *exit)
{
    *to = (WHV_VP_EXIT_CONTEXT){
        .ExecutionState.AsUINT16 = exit->vp.execution_state,
        .InstructionLength = exit->instruction_length & 0xf,
        .Cr8 = exit->vp.cr8 & 0xf,
        .Cs = segment(&exit->vp.cs),
        .Rip = exit->vp.rip,
        .Rflags = exit->vp.rflags,
    };
}

/* Of most exits the rest of the union is longer than what they have to say. */
static inline void clear(WHV_RUN_VP_EXIT_CONTEXT *context, size_t from)
{
#pragma clang loop unroll(full)
    for (size_t i = from / sizeof(UINT64); i < ARRAY_COUNT(context->AsUINT64); i++)
        context->AsUINT64[i] = 0;
}

/* The most frequent one of all, without a call: its parts are not written twice. */
static inline void fill_plain_io(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    context->IoPortAccess = (WHV_X64_IO_PORT_ACCESS_CONTEXT){
        .AccessInfo = {{
            .IsWrite = exit->io.is_write,
            .AccessSize = exit->io.size,
        }},
        .PortNumber = exit->io.port,
        .Rax = exit->io.rax,
        .Rcx = exit->io.rcx,
        .Rsi = exit->io.rsi,
        .Rdi = exit->io.rdi,
        .Ds = segment(&exit->io.ds),
        .Es = segment(&exit->io.es),
    };
    clear(context, sizeof(context->IoPortAccess));
}

/* Reasons that are the core's own business never get here; one that does is told as None, which clients take for an
 * error. */
void whp_exit_context(WHV_RUN_VP_EXIT_CONTEXT *context, const struct hv_exit *exit)
{
    const struct conversion *c = &conversions[exit->reason < HV_EXIT_INTERNAL ? exit->reason : HV_EXIT_NONE];

    context->ExitReason = c->reason;
    context->Reserved = 0;
    fill_vp(&context->VpContext, exit);
    if (exit->reason == HV_EXIT_IO && !exit->io.is_string) {
        fill_plain_io(context, exit);
        return;
    }
    clear(context, 0);
    c->fill(context, exit);
}
