/* SPDX-License-Identifier: MIT */
/*
 * EOI assist (TLFS 10.3.5): a bit in the VP assist page tells the guest's handler that this interrupt needs no EOI. The
 * handler takes the bit away, and that is its EOI; the core learns of it when it looks next.
 *
 * The bit is offered with an edge-triggered interrupt that is the only one in service, while no other is requested:
 * then nobody waits for its end. Whenever the registers are looked at, or another interrupt is to be chosen, the bit is
 * taken back first: what the guest has ended by then has ended, and what it has not needs an ordinary EOI. So no
 * interrupt waits for one that the guest has ended, and nobody sees it in service: but a guest that the hardware lets
 * read the registers in the page by itself, until the core looks next.
 *
 * For the VP's owner. Where the hardware delivers interrupts it does EOIs without exits, and nothing is offered.
 */
#ifndef VIRT_ASSIST_H
#define VIRT_ASSIST_H

#include "partition.h"

void assist_take_back(struct hv_vp *vp); /* for assist_settle: the bit is out */

/* Before the local APIC's registers are used: does the EOI that the guest has done, and takes the bit back. */
static inline void assist_settle(struct hv_vp *vp)
{
    if (__builtin_expect(vp->assist_offered, 0))
        assist_take_back(vp);
}

/* After assist_settle, when it is known what is delivered: may the guest do without an EOI? */
void assist_offer(struct hv_vp *vp);

/* With the VP: the bit is forgotten, and the page as new. */
void assist_reset(struct hv_vp *vp);

#endif
