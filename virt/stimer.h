/* SPDX-License-Identifier: MIT */
/* Synthetic timers (TLFS 12.2): four for each VP, by the partition's reference time. Owner only, pinned. */
#ifndef VIRT_STIMER_H
#define VIRT_STIMER_H

#include "synthetic.h"

/* struct stimers is in partition.h */

synthetic_read_fn stimer_read;
synthetic_write_fn stimer_write;

void stimer_reset(struct hv_vp *vp); /* need not be pinned */

/* ns until there is something to do for one of them; UINT64_MAX: nothing. */
uint64_t stimer_wait_ns(const struct hv_vp *vp);

/* Fires what is due; messages whose slot is taken wait for stimer_retry. */
void stimer_poll(struct hv_vp *vp);

/* The slot of this SINT may be free again, or the guest has made the SynIC take messages. */
void stimer_retry(struct hv_vp *vp, uint32_t sint);

#endif
