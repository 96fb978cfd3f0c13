/* SPDX-License-Identifier: MIT */
/*
 * Pages that stand in front of the client's memory (TLFS 5.2.1): the hypervisor's own, or holes where doorbells are.
 * What the client maps or unmaps there goes behind them, and shows again when they go. With several at one place the
 * last one shows.
 *
 * The second-level tables are the only record of the memory map; an overlay remembers what it has taken the place of
 * there (npt_cover), and changes of the map reach that. Access to guest memory (gpa.h) finds what the guest would: an
 * overlay's page, by its rights; nothing in a hole.
 */
#ifndef VIRT_OVERLAY_H
#define VIRT_OVERLAY_H

#include "partition.h"

/*
 * Puts it in place, or moves it there. HV_E_INVALID: beyond what guests can address, or where local APICs' registers
 * are. HV_E_NO_MEMORY: nothing has changed. Takes effect on running VPs before it returns. Under partition.mutex.
 */
enum hv_status overlay_place(struct hv_partition *p, struct overlay *o, hv_gpa_t gpa, void *page, unsigned rights);
/* What is behind it shows again; nothing happens when it is not placed. Under partition.mutex. */
void overlay_remove(struct hv_partition *p, struct overlay *o);
/* All of them, in the partition's end, when nobody looks any more. */
void overlay_forget(struct hv_partition *p);

/*
 * A VP's registers say where pages are to be; they are written while the VP is pinned, when no overlay can be placed.
 * So the writer sets vp->overlays_stale, and the run leaves its pinned section and does this before the guest goes on;
 * likewise a client's call that wrote a register, before it returns. A page that could not be placed, for lack of
 * memory, is logged and left out; one that has no place, beyond what guests can address, is left out.
 */
void overlay_apply(struct hv_vp *vp);        /* owner, thread context */
void overlay_apply_locked(struct hv_vp *vp); /* the same under partition.mutex: in a reset, after the registers' own */
void overlay_drop_vp(struct hv_vp *vp);      /* the VP's end: its own pages, under partition.mutex */

#endif
