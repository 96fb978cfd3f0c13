/* SPDX-License-Identifier: MIT */
/*
 * The bracket around every use of a partition's second-level tables: by the CPU while it runs the guest, and by the
 * core while it walks them. partition_flush() waits for the CPUs of VPs inside such a bracket, so a table page seen
 * inside it stays a table page until the end of it.
 */
#ifndef VIRT_WALK_H
#define VIRT_WALK_H

#include "partition.h"

/* Interrupts are off already; on this CPU. */
static inline void vp_walk_begin_on(struct hv_vp *vp, uint32_t cpu)
{
    __atomic_store_n(&vp->shared.cpu, cpu, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->shared.walking, vp->shared.walking + 1, __ATOMIC_SEQ_CST);
}

static inline void vp_walk_end_on(struct hv_vp *vp)
{
    __atomic_store_n(&vp->shared.walking, vp->shared.walking - 1, __ATOMIC_RELEASE);
}

/*
 * Turns interrupts off, and says on which CPU the VP's owner walks. The sequentially consistent store comes before
 * every read of the tables: whoever changes them first writes the entry and then looks at `walking`. Brackets nest.
 * Returns what vp_walk_end needs.
 */
static inline uint64_t vp_walk_begin(struct hv_vp *vp)
{
    uint64_t flags = hv_host_irq_save();

    vp_walk_begin_on(vp, hv_host_cpu_id());
    return flags;
}

static inline void vp_walk_end(struct hv_vp *vp, uint64_t flags)
{
    vp_walk_end_on(vp);
    hv_host_irq_restore(flags);
}

#endif
