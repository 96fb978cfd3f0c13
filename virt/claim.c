/* SPDX-License-Identifier: MIT */
/*
 * Who may touch a VP: one thread at a time claims it, for the length of a call. Nobody waits: who comes second is
 * told that the VP is busy.
 */
#include "partition.h"

bool vp_claim(struct hv_vp *vp)
{
    uint32_t free = 0;

    return __atomic_compare_exchange_n(&vp->shared.owner, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void vp_release(struct hv_vp *vp)
{
    __atomic_store_n(&vp->shared.owner, 0, __ATOMIC_RELEASE);
}

bool partition_claim_all(struct hv_partition *p)
{
    for (uint32_t i = 0; i < p->properties.processor_count; i++) {
        if (!p->vps[i] || vp_claim(p->vps[i]))
            continue;
        while (i--)
            if (p->vps[i])
                vp_release(p->vps[i]);
        return false;
    }
    return true;
}

void partition_release_all(struct hv_partition *p)
{
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (p->vps[i])
            vp_release(p->vps[i]);
}
