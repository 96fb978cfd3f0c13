/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: writes that signal an event. They are found by a hash of address and kind without a lock: tables are
 * replaced as a whole or by single words, and what nobody looks at any more is freed after a partition_flush.
 */
#ifndef VIRT_DOORBELL_H
#define VIRT_DOORBELL_H

#include "partition.h"

/*
 * As hv_partition_register_doorbell and hv_partition_unregister_doorbell do it, for a doorbell that only its owner
 * takes away. NULL: that nobody owns.
 */
enum hv_status doorbell_add(struct hv_partition *p, const struct hv_doorbell *doorbell, void *event, const void *owner);
enum hv_status doorbell_take_away(struct hv_partition *p, const struct hv_doorbell *doorbell, const void *owner);

struct bell;

/*
 * Inside a walk bracket, and good until its end: what there is at just this address, whatever it matches. NULL:
 * nothing, which costs little when there are none on any port.
 */
const struct bell *doorbell_at(const struct hv_vp *vp, bool is_port, uint64_t address);
/*
 * The same of memory, by the VP's owner, and only where the page is missing: else something stands in front of the
 * doorbells' hole, or they are being unregistered. Guests mostly ring the one that they rang last: it is remembered.
 */
const struct bell *doorbell_find_in_hole(struct hv_vp *vp, hv_gpa_t gpa);
static inline const struct bell *doorbell_in_hole(struct hv_vp *vp, hv_gpa_t gpa)
{
    const struct hv_partition *p = vp->partition;

    return vp->bell.gpa == gpa && vp->bell.generation == __atomic_load_n(&p->npt_generation, __ATOMIC_ACQUIRE) &&
                   vp->bell.gone == __atomic_load_n(&p->bells_gone, __ATOMIC_ACQUIRE)
               ? vp->bell.bell
               : doorbell_find_in_hole(vp, gpa);
}
/*
 * In the same bracket. True: the write there matched, and the event was signalled. size: 1 to 8 bytes; others of the
 * value do not count.
 */
bool doorbell_ring_at(const struct hv_vp *vp, const struct bell *bell, uint32_t size, uint64_t value);

/* Owner, pinned: both of it. */
bool doorbell_ring(struct hv_vp *vp, bool is_port, uint64_t address, uint32_t size, uint64_t value);

void doorbell_free_all(struct hv_partition *p); /* the partition's end, after overlay_forget */

#endif
