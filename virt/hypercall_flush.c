/* SPDX-License-Identifier: MIT */
/*
 * Flush calls: VPs drop what they have of the guest's translations. Each drops all of them, of all address spaces,
 * global ones too: that is allowed (TLFS 7.8), and costs a few walks more than one address at a time would.
 */
#include "hypercall_parts.h"
#include <hv/base/bits.h>

/* ------------------------------------------------------------------------------ the target */

void hypercall_take_flush(struct hv_vp *vp)
{
    if (__atomic_load_n(&vp->shared.requests, __ATOMIC_RELAXED) & VP_REQUEST_FLUSH) {
        vp->vcpu->flush_guest = true;
        /* what it did by the old translations comes before: see is_behind */
        __atomic_and_fetch(&vp->shared.requests, ~VP_REQUEST_FLUSH, __ATOMIC_ACQ_REL);
    }
}

/* ------------------------------------------------------------------------------ the caller */

/*
 * The request is set before `working` is read, and a run sets `working` before it reads the requests: a VP that is not
 * seen working drops its translations before its guest goes on. Such a one is not woken up.
 */
static void ask(struct hv_vp *to)
{
    __atomic_or_fetch(&to->shared.requests, VP_REQUEST_FLUSH, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&to->shared.walking, __ATOMIC_SEQ_CST))
        hv_host_kick(__atomic_load_n(&to->shared.cpu, __ATOMIC_RELAXED));
}

/* May it still use an old translation, in the guest or for an instruction that the core does for it? */
static bool is_behind(const struct hv_vp *to)
{
    return __atomic_load_n(&to->shared.working, __ATOMIC_SEQ_CST) &&
           __atomic_load_n(&to->shared.requests, __ATOMIC_ACQUIRE) & VP_REQUEST_FLUSH;
}

#define PATIENCE_PER_S 1000u /* a millisecond */

/*
 * The target leaves its guest at once, and takes requests when it has done an instruction; it does not sleep in
 * between. It may wait for us just so: hence the caller, who has read its input and uses no translation any more, takes
 * its own flush here.
 */
static bool wait_for(struct hv_vp *vp, const struct hv_vp *to)
{
    const uint64_t begin = cpu_tsc(), patience = cpu_facts()->tsc_hz / PATIENCE_PER_S;

    while (is_behind(to)) {
        hypercall_take_flush(vp);
        if (cpu_tsc() - begin > patience)
            return false;
        __builtin_ia32_pause();
    }
    return true;
}

static uint32_t flush(struct hv_vp *vp, uint64_t vps)
{
    const struct hv_partition *p = vp->partition;

    if (vps & BIT64(vp->index))
        vp->vcpu->flush_guest = true;
    vps &= ~BIT64(vp->index);
    for (uint64_t left = vps; left; left &= left - 1) {
        struct hv_vp *to = hypercall_vp(p, (uint32_t)__builtin_ctzll(left));

        if (to)
            ask(to);
    }
    for (uint64_t left = vps; left; left &= left - 1) {
        struct hv_vp *to = hypercall_vp(p, (uint32_t)__builtin_ctzll(left));

        if (to && !wait_for(vp, to))
            return HYPERCALL_AGAIN;
    }
    return HV_STATUS_SUCCESS;
}

/* ------------------------------------------------------------------------------- the calls */

/* Words of the input. */
#define AT_FLAGS     1u
#define AT_PROCESSOR 2u /* mask, or set */

#define SPACE_FLAGS (HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES | HV_FLUSH_NON_GLOBAL)
#define LIST_FLAGS  (HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES)

static uint64_t list_flags(const struct hv_vp *vp)
{
    bool extended = vp->partition->properties.synthetic_features & HV_SYNTH_EXTENDED_FLUSH_LIST;

    return LIST_FLAGS | (extended ? HV_FLUSH_EXTENDED_RANGES : 0);
}

/* There are guests that mean all processors by a mask of none. */
static uint32_t flush_mask(struct hv_vp *vp, const struct hypercall *call, uint64_t flags_known)
{
    const uint64_t flags = call->words[AT_FLAGS], mask = call->words[AT_PROCESSOR];

    if (flags & ~flags_known)
        return HV_STATUS_INVALID_PARAMETER;
    return flush(vp, flags & HV_FLUSH_ALL_PROCESSORS || !mask ? ~0ull : mask);
}

static uint32_t flush_set(struct hv_vp *vp, const struct hypercall *call, uint64_t flags_known)
{
    const uint64_t flags = call->words[AT_FLAGS];
    uint32_t status;
    uint64_t vps;

    if (flags & ~flags_known)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_vp_set(call, AT_PROCESSOR, &vps);
    if (status != HV_STATUS_SUCCESS)
        return status;
    return flush(vp, flags & HV_FLUSH_ALL_PROCESSORS ? ~0ull : vps);
}

uint32_t hypercall_flush_space(struct hv_vp *vp, const struct hypercall *call)
{
    return flush_mask(vp, call, SPACE_FLAGS);
}

uint32_t hypercall_flush_space_ex(struct hv_vp *vp, const struct hypercall *call)
{
    return flush_set(vp, call, SPACE_FLAGS);
}

uint32_t hypercall_flush_list(struct hv_vp *vp, const struct hypercall *call)
{
    return flush_mask(vp, call, list_flags(vp));
}

uint32_t hypercall_flush_list_ex(struct hv_vp *vp, const struct hypercall *call)
{
    return flush_set(vp, call, list_flags(vp));
}
