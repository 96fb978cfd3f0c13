/* SPDX-License-Identifier: MIT */
/*
 * A partition's time. It begins with 0 at set-up, runs at the rate of the guests' TSC, and stands still while it is
 * suspended; the reference time that guests and clients read, synthetic timers and the local APICs' timers go by it.
 * The reference TSC page has the same formula, so that nobody finds the two apart.
 */
#ifndef VIRT_TIME_H
#define VIRT_TIME_H

#include "partition.h"

/* ns of the partition's time. Pinned or in thread context; any interrupt state. */
uint64_t time_ns(const struct hv_partition *p);

/* Its 100 ns units, with what the client has set as ReferenceTime added. */
uint64_t time_reference(const struct hv_partition *p);
void time_set_reference(struct hv_partition *p, uint64_t reference); /* all VPs claimed */

/* When hv_host_time_ns will be what time_ns is to be; 0 stays 0, and UINT64_MAX. While it is not suspended. */
uint64_t time_to_host(const struct hv_partition *p, uint64_t ns);

void time_start(struct hv_partition *p); /* set-up, pinned */
void time_reset(struct hv_partition *p); /* all VPs claimed, pinned */

/* Owner, thread context, before a run: time that is suspended goes on; the VP's TSC takes in what was left out. */
void time_enter(struct hv_vp *vp);

/* The guest's TSC as it reads now, also while suspended. Owner, pinned. */
uint64_t time_guest_tsc(struct hv_vp *vp);

/* The reference TSC page's formula: reference = (TSC * scale >> 64) + offset. False: TSCs of VPs are not in step. */
bool time_tsc_formula(const struct hv_partition *p, uint64_t *scale, int64_t *offset);

/* Owner: the guest or the client has moved this VP's TSC away from the others': the TSC page holds no more. */
void time_tsc_moved(struct hv_vp *vp);

#endif
