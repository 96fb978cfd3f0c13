/* SPDX-License-Identifier: MIT */
/* Guest-physical memory as seen by the owner of a VP, also in the middle of a run. */
#ifndef VIRT_GPA_H
#define VIRT_GPA_H

#include "partition.h"

/* Page-aligned, not empty, and inside what this partition's guest can address? */
bool gpa_is_guest_range(const struct hv_partition *p, hv_gpa_t gpa, uint64_t size);
/* Is the page in it where local APICs, if there are any, have their registers? */
bool gpa_covers_apic(const struct hv_partition *p, hv_gpa_t gpa, uint64_t size);
/*
 * What follows the client's memory map: what it maps and unmaps, whether or not something covers it. A change is
 * prepared, then made or abandoned; only preparing it can fail. All under partition.mutex, thread context.
 */
struct gpa_change {
    hv_gpa_t gpa;
    uint64_t size;
    npt_source_fn *source; /* yields the client's pages, also where local APICs have their registers */
    void *arg;
    uint32_t rights; /* NPT_*; 0: it is unmapped */
};
struct gpa_follower {
    enum hv_status (*prepare)(struct hv_partition *p, const struct gpa_change *change);
    void (*make)(struct hv_partition *p, const struct gpa_change *change);
    void (*abandon)(struct hv_partition *p);
};

/*
 * After a change to the tables: waits until nobody uses what they said before, then frees the pages that are left over.
 * Under partition.mutex, thread context.
 */
void gpa_publish(struct hv_partition *p);

/*
 * Pages of the host's that this partition's client loses: what it has mapped of them is unmapped, wherever, and until
 * they are given back it can map none. HV_E_NO_MEMORY: they are not withdrawn, and some may be left as they were
 * mapped. Without partition.mutex, thread context.
 */
struct gpa_withdrawal {
    struct gpa_withdrawal *next;
    hv_hpa_t pa;
    uint64_t size; /* in bytes: of all pages that have some of them */
};
enum hv_status gpa_withdraw(struct hv_partition *p, struct gpa_withdrawal *w);
void gpa_give_back(struct hv_partition *p, struct gpa_withdrawal *w);

/*
 * Copies up to a page's end and further; returns HV_E_ACCESS_DENIED (nothing or a part copied) when a page is not
 * mapped with the right, or is not RAM.
 * Works with interrupts on or off; keeps them off for at most one page at a time.
 */
enum hv_status gpa_read(struct hv_vp *vp, hv_gpa_t gpa, void *data, size_t size);
enum hv_status gpa_write(struct hv_vp *vp, hv_gpa_t gpa, const void *data, size_t size);
/*
 * The host's address of a guest byte. NULL: unmapped, without the rights (NPT_*), or not RAM. Inside a walk bracket,
 * and good until its end; and inside every later one for as long as partition.npt_generation is what it was before the
 * call. Who then writes there says so with npt_mark_dirty, before the bracket ends.
 */
void *gpa_reach(struct hv_vp *vp, hv_gpa_t gpa, unsigned rights, struct npt_leaf *leaf);
/* Rights (NPT_*) of the page, 0 when mapped without any, -1 when unmapped. */
int gpa_rights(struct hv_vp *vp, hv_gpa_t gpa);
#define GPA_HOLE(gpa) ((gpa) | HV_PAGE_MASK)        /* the page's last byte: so that 0 is none */
bool gpa_find_hole(struct hv_vp *vp, hv_gpa_t gpa); /* remembers it */
/* Is the page unmapped? Of the last one that was, which is mostly a device's, this is known without a walk. */
static inline bool gpa_is_hole(struct hv_vp *vp, hv_gpa_t gpa)
{
    return (vp->hole.page == GPA_HOLE(gpa) &&
            vp->hole.generation == __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE)) ||
           gpa_find_hole(vp, gpa);
}
/*
 * Atomically sets bits in a 64- or 32-bit entry if it still is `expected`; false: it changed, or is not writable RAM.
 * size 4 or 8.
 */
bool gpa_set_bits(struct hv_vp *vp, hv_gpa_t gpa, unsigned size, uint64_t expected, uint64_t bits);

/*
 * In set-up, under the partition's mutex: puts the page in place that the CPU wants to see where local APICs have their
 * registers. HV_E_NO_MEMORY, and nothing has changed.
 */
enum hv_status gpa_map_apic(struct hv_partition *p);

#endif
