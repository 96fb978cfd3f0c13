/* SPDX-License-Identifier: MIT */
/* What the files of VPs' interrupts share. All of it for the VP's owner, pinned. */
#ifndef VIRT_IRQ_PARTS_H
#define VIRT_IRQ_PARTS_H

#include "irq.h"

static inline bool irq_hardware_delivers(const struct hv_vp *vp)
{
    return vp->lapic.delivers;
}

static inline bool irq_is_requested(const struct hv_vp *vp, uint8_t vector)
{
    return lapic_get(&vp->lapic, APIC_IRR + vector / 32 * 16u) >> vector % 32 & 1;
}

/* The client hears of the EOIs that TMR says. */
void irq_set_eoi_exit(struct hv_vp *vp, uint8_t vector);

/* A fixed interrupt has arrived at the APIC. */
void irq_accept(struct hv_vp *vp, uint8_t vector, bool is_level);

/* So many NMIs have arrived. */
void irq_take_nmis(struct hv_vp *vp, uint32_t count);

/* With VP_TODO_TIMER: fires what is due, and has the guest interrupted when the next is. */
void irq_set_timer(struct hv_vp *vp);

/* The guest's message, as struct lapic_effect has it. */
void irq_send_icr(struct hv_vp *vp, uint64_t icr);

#endif
