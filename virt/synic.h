/* SPDX-License-Identifier: MIT */
/*
 * The synthetic interrupt controller (TLFS 11): sixteen sources (SINT) for each VP that messages and event flags come
 * by, in pages that the guest says the place of.
 *
 * The pages are the core's own, put in front of the guest's memory (overlay.h): so that anybody may post at any time,
 * in any context, also to a VP that runs.
 *
 * Where the TLFS leaves a choice: messages and events for a masked SINT are refused (a polling one is open, and takes
 * them in silence); reserved bits, which guests are to preserve and which are 0 after a reset, have to be 0; EOM reads
 * as 0. A page is emptied by a reset and by the guest's enabling it, and keeps its contents while it is moved.
 */
#ifndef VIRT_SYNIC_H
#define VIRT_SYNIC_H

#include "synthetic.h"
#include "tlfs.h"

/* struct synic is in partition.h */

synthetic_read_fn synic_read;
synthetic_write_fn synic_write;

/*
 * Its pages, if the partition has SynICs; they stay through the VP's deletion and next life, up to synic_destroy.
 * HV_E_NO_MEMORY.
 */
enum hv_status synic_create(struct hv_vp *vp);
void synic_destroy(struct hv_vp *vp); /* with the partition: the overlays are gone */
void synic_reset(struct hv_vp *vp);   /* claimed */

/* For any context: see hv_vp_post_message and hv_vp_signal_event. */
enum hv_status synic_post(struct hv_vp *vp, uint32_t sint, const void *message, uint32_t size);
enum hv_status synic_signal(struct hv_vp *vp, uint32_t sint, uint32_t flag, bool *newly);

/* Owner: an interrupt of this vector has ended (EOI, or EOM was written): slots may have become free. */
void synic_eoi(struct hv_vp *vp, uint8_t vector);

/*
 * Owner: can messages be posted to SINTs that the client wants to hear of (HV_NOTIFY_SINT)? Then that is what the exit
 * says, and the client has heard of it.
 */
bool synic_notify(struct hv_vp *vp, struct hv_exit *exit);

#endif
