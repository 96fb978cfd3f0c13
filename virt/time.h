/* SPDX-License-Identifier: MIT */
/*
 * A partition's time. It begins with 0 at set-up, and stands still while it is suspended. Two clocks show it, by the
 * host's two: nanoseconds, which the local APICs' timers go by, and ticks, which guests' TSCs and the reference time
 * go by; so that the latter is just what guests find by the formula of the reference TSC page (TLFS 12.6), as long as
 * their TSCs are in step.
 */
#ifndef VIRT_TIME_H
#define VIRT_TIME_H

#include "synthetic.h"

/* ns of the partition's time. Any context. */
uint64_t time_ns(const struct hv_partition *p);

/*
 * The reference time, in 100 ns, with what the client has added by setting it; time_elapsed: without. Those of a VP are
 * by its own TSC, which may be ahead of the partition's by as much as CPUs' TSCs are hard to compare. Pinned or in
 * thread context.
 */
uint64_t time_reference(const struct hv_partition *p);
uint64_t time_elapsed(const struct hv_partition *p);
uint64_t time_vp_reference(struct hv_vp *vp); /* owner */

void time_set_reference(struct hv_partition *p,
                        uint64_t reference); /* all VPs claimed, or not set up. Thread context */

/* The partition's life. init: with it. start: at set-up; HV_E_NO_MEMORY, HV_E_UNSUPPORTED: a TSC that is too slow.
 * Thread context, under partition.mutex. */
void time_init(struct hv_partition *p);
enum hv_status time_start(struct hv_partition *p);
void time_reset(struct hv_partition *p); /* all VPs claimed: from 0 again, suspended */
void time_end(struct hv_partition *p);   /* overlays are gone */

/* A VP's TSC begins in step. Claimed; time_vps_changed when the VP is there, or is not there any more. */
void time_vp_reset(struct hv_vp *vp);
void time_vps_changed(struct hv_partition *p);

/*
 * Owner, thread context, before a run of a VP whose time is stale: time that is suspended goes on; the VP's TSC takes
 * in what was left out.
 */
void time_enter(struct hv_vp *vp);

/*
 * The guest's TSC as it reads now, also while suspended; setting it; and moving it. Owner; pinned, as the guest may
 * have seen more of it on another CPU. Its offset from the machine's needs no pin.
 */
uint64_t time_guest_tsc(const struct hv_vp *vp);
void time_set_guest_tsc(struct hv_vp *vp, uint64_t tsc);
void time_move_guest_tsc(struct hv_vp *vp, uint64_t by);
uint64_t time_tsc_offset(const struct hv_vp *vp);

/* MSR_HV_TIME_REF_COUNT, MSR_HV_REFERENCE_TSC, SYNTHETIC_REFERENCE_TSC_SEQUENCE */
synthetic_read_fn time_read_count, time_read_tsc_page, time_read_tsc_sequence;
synthetic_write_fn time_write_tsc_page, time_write_tsc_sequence;

#endif
