/* SPDX-License-Identifier: MIT */
/* Synthetic timers (TLFS 12.2): four for each VP, by the partition's reference time. Owner only. */
#ifndef VIRT_STIMER_H
#define VIRT_STIMER_H

#include "synthetic.h"
#include "tlfs.h"

/* struct stimers is in partition.h */

synthetic_read_fn stimer_read;
synthetic_write_fn stimer_write;

void stimer_reset(struct hv_vp *vp);

/* When the next one is due, in time_ns of the partition; UINT64_MAX: none. Lazy ones only count while the VP runs. */
uint64_t stimer_due_ns(const struct hv_vp *vp);

/* Fires what is due; messages whose slot is taken wait for stimer_retry. Pinned. */
void stimer_poll(struct hv_vp *vp);

/* The slot of this SINT may be free again. */
void stimer_retry(struct hv_vp *vp, uint32_t sint);

#endif
