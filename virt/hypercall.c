/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls: who may call, where the input is, and who answers. What the core does not know is the client's, if that
 * asks for hypercalls.
 */
#include "gpa.h"
#include "hypercall_parts.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* ------------------------------------------------------------------------------ the calls */

#define REP      (1u << 0) /* a list follows the headers */
#define VARIABLE (1u << 1) /* takes a variable header */

struct hypercall_kind {
    hypercall_fn *fn;  /* NULL: no such call */
    uint64_t features; /* HV_SYNTH_*: all of them */
    uint16_t counter;  /* in struct hv_vp_counters */
    uint8_t fixed;     /* words of the fixed header */
    uint8_t flags;
};

/* A hint, and there is nothing that it could do wrong. The VP yields when it has been answered. */
static uint32_t notify_spin_wait(struct hv_vp *vp, const struct hypercall *call)
{
    (void)vp;
    (void)call;
    return HV_STATUS_SUCCESS;
}

#define COUNTER(name) offsetof(struct hv_vp_counters, synthetic.name)
#define FLUSH         HV_SYNTH_FLUSH_CALLS
#define IPI           HV_SYNTH_CLUSTER_IPI
#define MASKS         HV_SYNTH_PROCESSOR_MASKS
#define CONNECTIONS   HV_SYNTH_SIGNAL_EVENTS /* there is no bit for messages */

/* By their codes. */
/* clang-format off */
static const struct hypercall_kind kinds[] = {
    [HV_CALL_FLUSH_SPACE]      = {hypercall_flush_space,    FLUSH,              COUNTER(flushes),    3,  0},
    [HV_CALL_FLUSH_LIST]       = {hypercall_flush_list,     FLUSH,              COUNTER(flushes),    3,  REP},
    [HV_CALL_NOTIFY_SPIN_WAIT] = {notify_spin_wait,         HV_SYNTH_SPIN_WAIT, COUNTER(spin_waits), 1,  0},
    [HV_CALL_SEND_IPI]         = {hypercall_send_ipi,       IPI,                COUNTER(ipis),       2,  0},
    [HV_CALL_FLUSH_SPACE_EX]   = {hypercall_flush_space_ex, FLUSH | MASKS,      COUNTER(flushes),    4,  VARIABLE},
    [HV_CALL_FLUSH_LIST_EX]    = {hypercall_flush_list_ex,  FLUSH | MASKS,      COUNTER(flushes),    4,  REP | VARIABLE},
    [HV_CALL_SEND_IPI_EX]      = {hypercall_send_ipi_ex,    IPI | MASKS,        COUNTER(ipis),       3,  VARIABLE},
    [HV_CALL_POST_MESSAGE]     = {hypercall_post_message,   CONNECTIONS,        COUNTER(synic),      32, 0},
    [HV_CALL_SIGNAL_EVENT]     = {hypercall_signal_event,   CONNECTIONS,        COUNTER(synic),      1,  0},
};
/* clang-format on */

static inline const struct hypercall_kind *find_kind(uint64_t control)
{
    uint64_t code = FIELD_GET(HV_CALL_CODE, control);

    return code < ARRAY_COUNT(kinds) && kinds[code].fn ? &kinds[code] : NULL;
}

static bool is_granted(const struct hv_vp *vp, const struct hypercall_kind *kind)
{
    return (vp->partition->properties.synthetic_features & kind->features) == kind->features &&
           (vp->has_apic || !(kind->features & IPI));
}

/* ------------------------------------------------------------------------------- who calls */

static bool wants_calls(const struct hv_vp *vp)
{
    return vp->partition->properties.extended_exits & HV_EXTENDED_HYPERCALL;
}

/* A guest that has said who it is. */
static bool has_interface(const struct hv_vp *vp)
{
    const uint64_t interface = HV_SYNTH_HV1 | HV_SYNTH_HYPERCALL_REGS;

    return (vp->partition->properties.synthetic_features & interface) == interface &&
           __atomic_load_n(&vp->partition->guest.guest_os_id, __ATOMIC_RELAXED);
}

/*
 * TLFS 3.4, 3.12: protected mode at CPL 0. Whether it calls by the page is not looked at: all the page does is name the
 * instruction.
 */
static bool may_call(uint32_t mode)
{
    return mode & VCPU_MODE_PROTECTED && !(mode & VCPU_MODE_CPL);
}

/* ----------------------------------------------------------------------------------- input */

static uint64_t pair(const struct vcpu *v, enum vcpu_gpr high, enum vcpu_gpr low)
{
    return v->gpr[high] << 32 | (uint32_t)v->gpr[low];
}

static void read_registers(const struct vcpu *v, uint32_t mode, struct hypercall *call)
{
    call->is_64bit = mode & VCPU_MODE_64BIT;
    if (call->is_64bit) {
        call->control = v->gpr[GPR_RCX];
        call->input = v->gpr[GPR_RDX];
        call->output = v->gpr[GPR_R8];
    } else {
        call->control = pair(v, GPR_RDX, GPR_RAX);
        call->input = pair(v, GPR_RBX, GPR_RCX);
        call->output = pair(v, GPR_RDI, GPR_RSI);
    }
    call->header = (uint32_t)FIELD_GET(HV_CALL_HEADER, call->control);
    call->rep_count = (uint32_t)FIELD_GET(HV_CALL_REP_COUNT, call->control);
    call->rep_start = (uint32_t)FIELD_GET(HV_CALL_REP_START, call->control);
}

static bool is_control_valid(const struct hypercall_kind *kind, const struct hypercall *call)
{
    if (call->control & (HV_CALL_RESERVED | HV_CALL_NESTED))
        return false;
    if (call->header && !(kind->flags & VARIABLE))
        return false;
    return kind->flags & REP ? call->rep_start < call->rep_count : !(call->rep_count | call->rep_start);
}

/* What is longer than two words goes on in the XMM registers. */
static uint32_t read_fast(const struct hv_vp *vp, struct hypercall *call, uint32_t words)
{
    _Static_assert(HV_CALL_FAST_WORDS == 2 + VCPU_XMM_WORDS, "two general registers, six XMM registers");

    if (words > HV_CALL_FAST_WORDS)
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    call->words[0] = call->input;
    call->words[1] = call->output;
    if (words > 2)
        vcpu_read_xmm(vp->vcpu, &call->words[2]);
    return HV_STATUS_SUCCESS;
}

/* TLFS 3.5: aligned, in one page, which the guest can address and read. Then all of it can be read. */
static uint32_t read_memory(struct hv_vp *vp, struct hypercall *call, uint32_t words)
{
    const uint64_t size = words * 8ull;

    if (!IS_ALIGNED(call->input, 8) || (call->input & HV_PAGE_MASK) + size > HV_PAGE_SIZE ||
        call->input >> vp->partition->properties.physical_address_width)
        return HV_STATUS_INVALID_ALIGNMENT;
    if (gpa_read(vp, call->input, call->words, HV_MIN(size, sizeof(call->words))) != HV_OK)
        return HV_STATUS_INVALID_PARAMETER;
    return HV_STATUS_SUCCESS;
}

static uint32_t answer(struct hv_vp *vp, const struct hypercall_kind *kind, struct hypercall *call)
{
    uint32_t words = kind->fixed + call->header + call->rep_count, status;

    if (!is_control_valid(kind, call))
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    status = call->control & HV_CALL_FAST ? read_fast(vp, call, words) : read_memory(vp, call, words);
    return status == HV_STATUS_SUCCESS ? kind->fn(vp, call) : status;
}

uint32_t hypercall_vp_set(const struct hypercall *call, unsigned at, uint64_t *vps)
{
    const uint64_t format = call->words[at], banks = call->words[at + 1];

    _Static_assert(HV_MAX_VPS == 64, "all VPs are in the first bank");

    *vps = 0;
    if (format > HV_VP_SET_ALL)
        return HV_STATUS_INVALID_PARAMETER;
    if (format == HV_VP_SET_ALL)
        *vps = ~0ull;
    else if ((unsigned)__builtin_popcountll(banks) != call->header)
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    else if (banks & 1)
        *vps = call->words[at + 2];
    return HV_STATUS_SUCCESS;
}

/* ---------------------------------------------------------------------------------- result */

static void count(struct hv_vp *vp, const struct hypercall_kind *kind)
{
    size_t offset = kind ? kind->counter : COUNTER(others);

    ++*(uint64_t *)((char *)&vp->counters + offset);
}

static inline void put_result(struct hv_vp *vp, const struct hypercall *call, uint32_t status)
{
    uint64_t reps = status == HV_STATUS_SUCCESS ? call->rep_count : call->rep_start;
    uint64_t result = FIELD_PUT(HV_RESULT_STATUS, status) | FIELD_PUT(HV_RESULT_REPS_DONE, reps);
    uint64_t *gpr = vp->vcpu->gpr;

    if (call->is_64bit) {
        gpr[GPR_RAX] = result;
        if (call->rep_count) /* TLFS 3.10: of rep calls it has the new start index */
            gpr[GPR_RCX] = (call->control & ~HV_CALL_REP_START) | FIELD_PUT(HV_CALL_REP_START, reps);
    } else {
        gpr[GPR_RAX] = (uint32_t)result;
        gpr[GPR_RDX] = result >> 32;
    }
}

static enum exit_outcome finish(struct hv_vp *vp, const struct hv_exit *exit, const struct hypercall *call,
                                uint32_t status)
{
    put_result(vp, call, status);
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}

/* With a bit for it a client hears of unknown connections, and of no other calls. */
static bool wants_connections(const struct hv_vp *vp)
{
    return vp->partition->properties.extended_exits & (HV_EXTENDED_HYPERCALL | HV_EXTENDED_UNKNOWN_CONNECTION);
}

static enum exit_outcome call_kind(struct hv_vp *vp, struct hv_exit *exit, const struct hypercall_kind *kind,
                                   struct hypercall *call)
{
    uint32_t status = answer(vp, kind, call);
    enum exit_outcome outcome;

    if (status == HYPERCALL_AGAIN)
        return EXIT_YIELD;
    count(vp, kind);
    if (status & HYPERCALL_NOBODY && wants_connections(vp))
        return EXIT_TO_CLIENT;
    outcome = finish(vp, exit, call, status & ~HYPERCALL_NOBODY);
    return kind->fn == notify_spin_wait ? EXIT_YIELD : outcome;
}

/* VCPU_MODE_*; 0: may not call. */
static inline uint32_t mode_of_caller(const struct hv_vp *vp)
{
    return has_interface(vp) ? backend()->mode(vp->vcpu) : 0;
}

bool hypercall_answer_unknown(struct hv_vp *vp)
{
    uint32_t mode = mode_of_caller(vp);
    struct hypercall call;

    if (!may_call(mode) || wants_calls(vp))
        return false;
    read_registers(vp->vcpu, mode, &call);
    if (find_kind(call.control))
        return false;
    count(vp, NULL);
    put_result(vp, &call, HV_STATUS_INVALID_HYPERCALL_CODE);
    return true;
}

enum exit_outcome exit_hypercall(struct hv_vp *vp, struct hv_exit *exit)
{
    uint32_t mode = mode_of_caller(vp);
    const struct hypercall_kind *kind;
    struct hypercall call;

    if (!may_call(mode)) {
        if (wants_calls(vp))
            return EXIT_TO_CLIENT;
        exit_inject(vp, VEC_UD);
        return EXIT_HANDLED;
    }
    read_registers(vp->vcpu, mode, &call);
    kind = find_kind(call.control);
    if (kind && is_granted(vp, kind))
        return call_kind(vp, exit, kind, &call);
    count(vp, NULL);
    if (wants_calls(vp))
        return EXIT_TO_CLIENT;
    return finish(vp, exit, &call, kind ? HV_STATUS_ACCESS_DENIED : HV_STATUS_INVALID_HYPERCALL_CODE);
}

/* ------------------------------------------------------------------------- hypercall page */

void hypercall_fill_page(void *page)
{
    const uint8_t ret = 0xc3, int3 = 0xcc;
    uint8_t *code = page;

    memset(page, int3, HV_PAGE_SIZE);
    memcpy(code, backend()->hypercall, sizeof(backend()->hypercall));
    code[sizeof(backend()->hypercall)] = ret;
}
