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

/* An interrupt by LINT0 or LINT1 has, whose LVT entry has the mode Fixed. */
void irq_accept_input(struct hv_vp *vp, unsigned input);

/* So many NMIs have arrived. */
void irq_take_nmis(struct hv_vp *vp, uint32_t count);

/* With VP_TODO_TIMER: fires what is due, and has the guest interrupted when the next is. */
void irq_set_timer(struct hv_vp *vp);

/* mode: the ICR's delivery modes, and HV_INTERRUPT_* */
struct irq_message {
    uint8_t mode, vector;
    bool is_logical, is_level, is_x2apic;
    uint32_t destination;
};

/* The guest's message, as struct lapic_effect has it. */
void irq_send_icr(struct hv_vp *vp, uint64_t icr);

/* The guest asks another VP for a register of its APIC; NULL: there is none that could be asked. */
void irq_read_remote(struct hv_vp *vp, struct hv_vp *from, uint32_t offset);

/* Any context but NMI. */
void irq_post_init(struct hv_vp *vp);
void irq_post_signal(struct hv_vp *vp, uint32_t signal);
/* With the vector that counts if it is an external interrupt. */
void irq_post_input(struct hv_vp *vp, unsigned input, uint32_t signal, uint8_t vector);

/* Takes in what devices have posted; or forgets it, as with a reset. */
void irq_posted_take(struct hv_vp *vp);
void irq_posted_forget(struct hv_vp *vp);

void irq_take_signals(struct hv_vp *vp);
void irq_clear_signals(struct hv_vp *vp); /* those that an INIT forgets */

#endif
