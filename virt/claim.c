/* SPDX-License-Identifier: MIT */
/*
 * Who may touch a VP: one thread at a time claims it, for the length of a call. Nobody waits: who comes second is
 * told that the VP is busy.
 */
#include "partition.h"

bool vp_claim(struct hv_vp *vp)
{
    uint32_t free = VP_OWNER_NONE;

    return __atomic_compare_exchange_n(&vp->shared.owner, &free, VP_OWNER_ONE, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

void vp_release(struct hv_vp *vp)
{
    __atomic_store_n(&vp->shared.owner, VP_OWNER_NONE, __ATOMIC_RELEASE);
}

enum hv_status vp_unclaimed(const struct hv_vp *vp)
{
    return __atomic_load_n(&vp->shared.owner, __ATOMIC_RELAXED) == VP_OWNER_NO_VP ? HV_E_VP_NOT_FOUND : HV_E_VP_BUSY;
}

static bool is_there(const struct hv_vp *vp)
{
    return vp && __atomic_load_n(&vp->shared.owner, __ATOMIC_RELAXED) != VP_OWNER_NO_VP;
}

bool partition_claim_all(struct hv_partition *p)
{
    for (uint32_t i = 0; i < p->properties.processor_count; i++) {
        if (!is_there(p->vps[i]) || vp_claim(p->vps[i]))
            continue;
        while (i--)
            if (is_there(p->vps[i]))
                vp_release(p->vps[i]);
        return false;
    }
    return true;
}

void partition_release_all(struct hv_partition *p)
{
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (is_there(p->vps[i]))
            vp_release(p->vps[i]);
}
