/* SPDX-License-Identifier: MIT */
/* What the parts of the hypercalls have in common: a call as its handlers see it. */
#ifndef VIRT_HYPERCALL_PARTS_H
#define VIRT_HYPERCALL_PARTS_H

#include "hypercall.h"
#include "tlfs.h"

#define HYPERCALL_WORDS 32u /* of input that handlers look at: the longest input of a fixed size */

struct hypercall {
    uint64_t control;       /* the hypercall input value */
    uint64_t input, output; /* addresses; of fast calls the first two words of the input */
    bool is_64bit;
    uint32_t header;               /* words of the variable header */
    uint32_t rep_count, rep_start; /* 0 of simple calls */
    /*
     * The input, read once, from its begin on. List elements behind HYPERCALL_WORDS are left out, but the guest can
     * read them.
     */
    uint64_t words[HYPERCALL_WORDS];
};

/*
 * Owner, pinned, loaded; interrupts on. Returns an HV_STATUS, with success of all reps; or one of those below, and then
 * nothing has happened that the guest could tell.
 */
typedef uint32_t hypercall_fn(struct hv_vp *vp, const struct hypercall *call);
#define HYPERCALL_AGAIN  0x10000u /* took too long: the guest executes the instruction again */
#define HYPERCALL_NOBODY 0x20000u /* an unknown connection. With a status, for when no client wants to hear of it */

hypercall_fn hypercall_flush_space, hypercall_flush_space_ex, hypercall_flush_list, hypercall_flush_list_ex;
hypercall_fn hypercall_send_ipi, hypercall_send_ipi_ex;
hypercall_fn hypercall_post_message, hypercall_signal_event;

/* The HV_VP_SET whose first word is words[at]: bit n of *vps is VP n. HV_STATUS. */
uint32_t hypercall_vp_set(const struct hypercall *call, unsigned at, uint64_t *vps);

/* The VP's object, which stays until the partition goes; NULL: there has never been one. */
static inline struct hv_vp *hypercall_vp(const struct hv_partition *p, uint32_t index)
{
    return __atomic_load_n(&p->vps[index], __ATOMIC_ACQUIRE);
}

#endif
