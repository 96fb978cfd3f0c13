/* SPDX-License-Identifier: MIT */
/*
 * What the client sees of an exit, straight from the VP into the client's memory, which is written and never read: each
 * word once, on the way of every exit to the client.
 */
#include "exit.h"
#include <hv/base/assert.h>
#include <hv/base/bits.h>

_Static_assert(sizeof(struct hv_exit_vp) == 40 && sizeof(struct hv_exit_context) == 224, "the API's structures");

/* The rest of the union, behind what a reason has to say. */
static inline __attribute__((always_inline)) void clear(struct hv_exit_context *to, size_t from)
{
#pragma clang loop unroll(full)
    for (size_t i = from / sizeof(to->words[0]); i < ARRAY_COUNT(to->words); i++)
        to->words[i] = 0;
}

#define CLEAR_BEHIND(to, member) clear(to, sizeof((to)->member))
#define FILLS_WORDS(member)      (sizeof(((struct hv_exit_context *)0)->member) % 8 == 0)

static struct hv_exit_code code_of(const struct hv_exit *exit)
{
    struct hv_exit_code to = {.count = HV_MIN(exit->instruction.count, HV_INSTRUCTION_BYTES_MAX)};

    if (to.count == HV_INSTRUCTION_BYTES_MAX) { /* mostly so: two words */
        __builtin_memcpy(to.bytes, exit->instruction.bytes, HV_INSTRUCTION_BYTES_MAX);
        return to;
    }
    for (unsigned i = 0; i < to.count; i++)
        to.bytes[i] = exit->instruction.bytes[i];
    return to;
}

/* -------------------------------------------------------- one function for each member of the union */

static void fill_none(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp, (void)exit;
    clear(to, 0);
}

_Static_assert(FILLS_WORDS(memory) && FILLS_WORDS(io) && FILLS_WORDS(unsupported) && FILLS_WORDS(msr) &&
                   FILLS_WORDS(cpuid) && FILLS_WORDS(exception) && FILLS_WORDS(rdtsc) && FILLS_WORDS(hypercall) &&
                   FILLS_WORDS(apic_write),
               "cleared by words behind them");

static void fill_memory(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->memory = (__typeof__(to->memory)){
        .instruction = code_of(exit),
        .access = exit->memory.access,
        .unmapped = exit->memory.unmapped,
        .gva_valid = exit->memory.gva_valid,
        .gpa = exit->memory.gpa,
        .gva = exit->memory.gva,
    };
    CLEAR_BEHIND(to, memory);
}

static void fill_unsupported(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->unsupported = (__typeof__(to->unsupported)){
        .code = exit->unsupported.code,
        .parameter = exit->unsupported.parameter,
    };
    CLEAR_BEHIND(to, unsupported);
}

static void fill_window(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    clear(to, 0);
    to->window.type = exit->window.nmi ? HV_INT_TYPE_NMI : HV_INT_TYPE_EXTERNAL;
}

static void fill_msr(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->msr = (__typeof__(to->msr)){
        .is_write = exit->msr.is_write,
        .index = exit->msr.index,
        .rax = exit->msr.rax,
        .rdx = exit->msr.rdx,
    };
    CLEAR_BEHIND(to, msr);
}

static void fill_cpuid(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->cpuid = exit->cpuid;
    CLEAR_BEHIND(to, cpuid);
}

static void fill_exception(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->exception = (__typeof__(to->exception)){
        .instruction = code_of(exit),
        .has_error_code = exit->exception.has_error_code,
        .is_software = exit->exception.is_software,
        .vector = exit->exception.vector,
        .error_code = exit->exception.error_code,
        .parameter = exit->exception.parameter,
    };
    CLEAR_BEHIND(to, exception);
}

static void fill_rdtsc(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->rdtsc = (__typeof__(to->rdtsc)){
        .tsc_aux = exit->rdtsc.tsc_aux,
        .virtual_offset = exit->rdtsc.virtual_offset,
        .tsc = exit->rdtsc.tsc,
        .reference_time = exit->rdtsc.reference_time,
        .is_rdtscp = exit->rdtsc.is_rdtscp,
    };
    CLEAR_BEHIND(to, rdtsc);
}

static void fill_hypercall(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    const uint64_t *gpr = vp->vcpu->gpr;

    (void)exit;
    _Static_assert(sizeof(to->hypercall.xmm) == VCPU_XMM_WORDS * sizeof(uint64_t), "XMM0 to XMM5");
    to->hypercall.rax = gpr[GPR_RAX];
    to->hypercall.rbx = gpr[GPR_RBX];
    to->hypercall.rcx = gpr[GPR_RCX];
    to->hypercall.rdx = gpr[GPR_RDX];
    to->hypercall.r8 = gpr[GPR_R8];
    to->hypercall.rsi = gpr[GPR_RSI];
    to->hypercall.rdi = gpr[GPR_RDI];
    to->hypercall.reserved = 0;
    vcpu_read_xmm(vp->vcpu, to->hypercall.xmm[0]);
    CLEAR_BEHIND(to, hypercall);
}

static void fill_sints(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    clear(to, 0);
    to->sints = exit->sints;
}

static void fill_icr(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->icr = exit->icr;
    CLEAR_BEHIND(to, icr);
}

static void fill_apic_write(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    to->apic_write = (__typeof__(to->apic_write)){
        .offset = exit->apic_write.offset,
        .value = exit->apic_write.value,
    };
    CLEAR_BEHIND(to, apic_write);
}

static void fill_eoi(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    (void)vp;
    clear(to, 0);
    to->apic.vector = exit->apic.vector;
}

/* All but the instruction and the segments, which hv_backend.context fills in. */
static inline void fill_port(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    const uint64_t *gpr = vp->vcpu->gpr;

    to->io.access = exit->io.access;
    to->io.port = exit->io.port;
    to->io.reserved[0] = to->io.reserved[1] = to->io.reserved[2] = 0;
    to->io.rax = gpr[GPR_RAX];
    to->io.rcx = gpr[GPR_RCX];
    to->io.rsi = gpr[GPR_RSI];
    to->io.rdi = gpr[GPR_RDI];
    CLEAR_BEHIND(to, io);
}

static void fill_io(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    to->io.instruction = code_of(exit);
    fill_port(vp, exit, to);
}

/* The most frequent one of all. */
static inline void fill_plain_io(const struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    to->io.instruction = (struct hv_exit_code){.count = 0};
    fill_port(vp, exit, to);
}

/* ------------------------------------------------------------------------------------------ dispatch */

static void (*const fills[HV_EXIT_INTERNAL])(const struct hv_vp *vp, const struct hv_exit *exit,
                                             struct hv_exit_context *to) = {
    [HV_EXIT_NONE] = fill_none,
    [HV_EXIT_MEMORY] = fill_memory,
    [HV_EXIT_IO] = fill_io,
    [HV_EXIT_UNRECOVERABLE_EXCEPTION] = fill_none,
    [HV_EXIT_INVALID_REGISTER_VALUE] = fill_none,
    [HV_EXIT_UNSUPPORTED_FEATURE] = fill_unsupported,
    [HV_EXIT_WINDOW] = fill_window,
    [HV_EXIT_HALT] = fill_none,
    [HV_EXIT_MSR] = fill_msr,
    [HV_EXIT_CPUID] = fill_cpuid,
    [HV_EXIT_EXCEPTION] = fill_exception,
    [HV_EXIT_RDTSC] = fill_rdtsc,
    [HV_EXIT_HYPERCALL] = fill_hypercall,
    [HV_EXIT_CANCELED] = fill_none,
    [HV_EXIT_APIC_EOI] = fill_eoi,
    [HV_EXIT_SINT_DELIVERABLE] = fill_sints,
    [HV_EXIT_APIC_SMI_TRAP] = fill_icr,
    [HV_EXIT_APIC_INIT_SIPI_TRAP] = fill_icr,
    [HV_EXIT_APIC_WRITE_TRAP] = fill_apic_write,
};

/* Reasons that are the core's own business never get here: no handler gives them to the client. */
static __attribute__((noinline)) void fill_other(struct hv_vp *vp, const struct hv_exit *exit,
                                                 struct hv_exit_context *to)
{
    HV_ASSERT(exit->reason < HV_EXIT_INTERNAL);
    fills[exit->reason](vp, exit, to);
    backend()->context(vp->vcpu, exit, to);
}

#define NOTHING_MORE                                                                                        \
    (BIT64(HV_EXIT_UNRECOVERABLE_EXCEPTION) | BIT64(HV_EXIT_INVALID_REGISTER_VALUE) | BIT64(HV_EXIT_HALT) | \
     BIT64(HV_EXIT_CANCELED))
_Static_assert(HV_EXIT_REASON_COUNT <= 64, "a bit for each reason");

void exit_fill_context(struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to)
{
    to->reason = exit->reason;
    to->reserved = 0;
    if (exit->reason == HV_EXIT_IO && !exit->io.access.is_string) {
        fill_plain_io(vp, exit, to);
    } else if (NOTHING_MORE >> exit->reason & 1) {
        clear(to, 0);
    } else {
        fill_other(vp, exit, to);
        return;
    }
    backend()->context(vp->vcpu, exit, to);
}
