/* SPDX-License-Identifier: MIT */
/*
 * The bracket around every use of a partition's second-level tables: by the CPU while it runs the guest, and by the
 * core while it walks them. partition_flush() waits for the CPUs of VPs inside such a bracket, so a table page seen
 * inside it stays a table page until the end of it.
 */
#ifndef VIRT_WALK_H
#define VIRT_WALK_H

#include "partition.h"

/*
 * Turns interrupts off, and says on which CPU the VP's owner walks. The sequentially consistent store comes before
 * every read of the tables: whoever changes them first writes the entry and then looks at `walking`. Brackets nest.
 * Returns what vp_walk_end needs.
 */
static inline uint64_t vp_walk_begin(struct hv_vp *vp)
{
    uint64_t flags = hv_host_irq_save();

    __atomic_store_n(&vp->shared.cpu, hv_host_cpu_id(), __ATOMIC_RELAXED);
    __atomic_store_n(&vp->shared.walking, vp->shared.walking + 1, __ATOMIC_SEQ_CST);
    return flags;
}

static inline void vp_walk_end(struct hv_vp *vp, uint64_t flags)
{
    __atomic_store_n(&vp->shared.walking, vp->shared.walking - 1, __ATOMIC_RELEASE);
    hv_host_irq_restore(flags);
}

#endif
