/* SPDX-License-Identifier: MIT */
/* The run loop's parts that others need. */
#ifndef VIRT_RUN_H
#define VIRT_RUN_H

#include "partition.h"

void run_prepare(struct hv_vp *vp); /* makes up for what a client changed since the last run; pinned */
/* Is one of the windows open that the client waits for? Then that is the exit. Pinned */
bool run_tell_window(struct hv_vp *vp, struct hv_exit *exit);
bool run_window_is_blocked(const struct hv_vp *vp); /* ... by the task priority, that the client waits for */
void run_apply_windows(struct hv_vp *vp); /* which windows exit: by vp->notifications and vp->wanted; pinned */
/* one entry, loaded; false: cancelled before it (and the request is still there) */
bool run_enter_once(struct hv_vp *vp, struct hv_exit *exit);

#endif
