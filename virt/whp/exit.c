/* SPDX-License-Identifier: MIT */
/* struct hv_exit_context is WHV_RUN_VP_EXIT_CONTEXT but for the numbers of the reasons. */
#include "exit.h"
#include <hv/base/bits.h>

_Static_assert(WHP_EXIT_CONTEXT_MIN == 48, "reason and VpContext");
_Static_assert(sizeof(WHV_RUN_VP_EXIT_CONTEXT) == 224, "WHV_RUN_VP_EXIT_CONTEXT");

/* -------------------------------------------------------------- the same structures, member by member */

#define SIZE_OF(type, member) sizeof(((type *)0)->member)
/* The two begin at the same byte and are as long. Bit fields lie in what is compared: WHP's word, and the next member.
 */
#define SAME(member, whp)                                                                                \
    _Static_assert(offsetof(struct hv_exit_context, member) == offsetof(WHV_RUN_VP_EXIT_CONTEXT, whp) && \
                       SIZE_OF(struct hv_exit_context, member) == SIZE_OF(WHV_RUN_VP_EXIT_CONTEXT, whp), \
                   #member)

_Static_assert(sizeof(struct hv_exit_context) == sizeof(WHV_RUN_VP_EXIT_CONTEXT), "WHV_RUN_VP_EXIT_CONTEXT");
_Static_assert(sizeof(WHV_X64_SEGMENT_REGISTER) == sizeof(struct hv_segment), "segments are one structure");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Limit) == offsetof(struct hv_segment, limit), "segment limit");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Selector) == offsetof(struct hv_segment, selector),
               "segment selector");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Attributes) == offsetof(struct hv_segment, attributes), "attributes");
_Static_assert((int)HV_ACCESS_EXECUTE == WHvMemoryAccessExecute, "access types have WHP's numbers");
_Static_assert(HV_INT_TYPE_EXTERNAL == (int)WHvX64PendingInterrupt && HV_INT_TYPE_NMI == (int)WHvX64PendingNmi,
               "so have types of interrupts");
_Static_assert(WHvRunVpCancelReasonUser == 0, "the reason of a cancelled run");

SAME(reason, ExitReason);
SAME(vp, VpContext);
SAME(vp.execution_state, VpContext.ExecutionState);
SAME(vp.cs, VpContext.Cs);
SAME(vp.rip, VpContext.Rip);
SAME(vp.rflags, VpContext.Rflags);
SAME(memory, MemoryAccess);
SAME(memory.instruction.count, MemoryAccess.InstructionByteCount);
SAME(memory.instruction.bytes, MemoryAccess.InstructionBytes);
SAME(memory.gpa, MemoryAccess.Gpa);
SAME(memory.gva, MemoryAccess.Gva);
SAME(io, IoPortAccess);
SAME(io.instruction.count, IoPortAccess.InstructionByteCount);
SAME(io.instruction.bytes, IoPortAccess.InstructionBytes);
SAME(io.access, IoPortAccess.AccessInfo);
SAME(io.port, IoPortAccess.PortNumber);
SAME(io.rax, IoPortAccess.Rax);
SAME(io.rcx, IoPortAccess.Rcx);
SAME(io.rsi, IoPortAccess.Rsi);
SAME(io.rdi, IoPortAccess.Rdi);
SAME(io.ds, IoPortAccess.Ds);
SAME(io.es, IoPortAccess.Es);
SAME(msr, MsrAccess);
SAME(msr.index, MsrAccess.MsrNumber);
SAME(msr.rax, MsrAccess.Rax);
SAME(msr.rdx, MsrAccess.Rdx);
SAME(cpuid, CpuidAccess);
SAME(cpuid.rcx, CpuidAccess.Rcx);
SAME(cpuid.rdx, CpuidAccess.Rdx);
SAME(cpuid.rbx, CpuidAccess.Rbx);
SAME(cpuid.default_rax, CpuidAccess.DefaultResultRax);
SAME(cpuid.default_rcx, CpuidAccess.DefaultResultRcx);
SAME(cpuid.default_rdx, CpuidAccess.DefaultResultRdx);
SAME(cpuid.default_rbx, CpuidAccess.DefaultResultRbx);
SAME(exception, VpException);
SAME(exception.instruction.bytes, VpException.InstructionBytes);
SAME(exception.vector, VpException.ExceptionType);
SAME(exception.error_code, VpException.ErrorCode);
SAME(exception.parameter, VpException.ExceptionParameter);
SAME(window.type, InterruptWindow.DeliverableType);
SAME(unsupported, UnsupportedFeature);
SAME(unsupported.code, UnsupportedFeature.FeatureCode);
SAME(unsupported.parameter, UnsupportedFeature.FeatureParameter);
SAME(apic, ApicEoi);
SAME(rdtsc, ReadTsc);
SAME(rdtsc.virtual_offset, ReadTsc.VirtualOffset);
SAME(rdtsc.tsc, ReadTsc.Tsc);
SAME(rdtsc.reference_time, ReadTsc.ReferenceTime);
SAME(icr, ApicSmi);
SAME(icr, ApicInitSipi);
SAME(hypercall.rbx, Hypercall.Rbx);
SAME(hypercall.rcx, Hypercall.Rcx);
SAME(hypercall.rdx, Hypercall.Rdx);
SAME(hypercall.r8, Hypercall.R8);
SAME(hypercall.rsi, Hypercall.Rsi);
SAME(hypercall.rdi, Hypercall.Rdi);
SAME(hypercall.xmm, Hypercall.XmmRegisters);
SAME(apic_write, ApicWrite);
SAME(apic_write.value, ApicWrite.WriteValue);
SAME(sints, SynicSintDeliverable.DeliverableSints);
SAME(words, AsUINT64);

/* ----------------------------------------------------------------------------------------- the numbers */

static const UINT32 reasons[HV_EXIT_INTERNAL] = {
    [HV_EXIT_NONE] = WHvRunVpExitReasonNone,
    [HV_EXIT_MEMORY] = WHvRunVpExitReasonMemoryAccess,
    [HV_EXIT_IO] = WHvRunVpExitReasonX64IoPortAccess,
    [HV_EXIT_UNRECOVERABLE_EXCEPTION] = WHvRunVpExitReasonUnrecoverableException,
    [HV_EXIT_INVALID_REGISTER_VALUE] = WHvRunVpExitReasonInvalidVpRegisterValue,
    [HV_EXIT_UNSUPPORTED_FEATURE] = WHvRunVpExitReasonUnsupportedFeature,
    [HV_EXIT_WINDOW] = WHvRunVpExitReasonX64InterruptWindow,
    [HV_EXIT_HALT] = WHvRunVpExitReasonX64Halt,
    [HV_EXIT_MSR] = WHvRunVpExitReasonX64MsrAccess,
    [HV_EXIT_CPUID] = WHvRunVpExitReasonX64Cpuid,
    [HV_EXIT_EXCEPTION] = WHvRunVpExitReasonException,
    [HV_EXIT_RDTSC] = WHvRunVpExitReasonX64Rdtsc,
    [HV_EXIT_HYPERCALL] = WHvRunVpExitReasonHypercall,
    [HV_EXIT_CANCELED] = WHvRunVpExitReasonCanceled,
    [HV_EXIT_APIC_EOI] = WHvRunVpExitReasonX64ApicEoi,
    [HV_EXIT_SINT_DELIVERABLE] = WHvRunVpExitReasonSynicSintDeliverable,
    [HV_EXIT_APIC_SMI_TRAP] = WHvRunVpExitReasonX64ApicSmiTrap,
    [HV_EXIT_APIC_INIT_SIPI_TRAP] = WHvRunVpExitReasonX64ApicInitSipiTrap,
    [HV_EXIT_APIC_WRITE_TRAP] = WHvRunVpExitReasonX64ApicWriteTrap,
};

/* The caller's memory may be changing: it is read once, and whoever changes it gets nonsense, never more than that. */
void whp_exit_number(struct hv_exit_context *context)
{
    UINT32 reason = *(volatile UINT32 *)&context->reason;

    context->reason = reason < ARRAY_COUNT(reasons) ? reasons[reason] : (UINT32)WHvRunVpExitReasonNone;
}
