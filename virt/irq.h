/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of a VP with a local APIC: sending them, taking them in, and what of them goes in with the next entry.
 *
 * Senders, on any CPU, put an interrupt into the target's inbox and set a request. The target's owner takes both in
 * before its next entry (irq_take_requests) and decides there, only when something has changed (vp->todo), which event
 * is next (irq_prepare).
 */
#ifndef VIRT_IRQ_H
#define VIRT_IRQ_H

#include "partition.h"

void irq_reset(struct hv_vp *vp); /* with the VP: as after power-up. Claimed */

/* Owner, pinned, not loaded. INIT and SIPI: the VP starts over, or starts. */
void irq_take_restart(struct hv_vp *vp);

/* Owner, pinned: everything of the requests but cancel, INIT and SIPI. */
void irq_take_requests(struct hv_vp *vp);

/*
 * Owner, pinned, with vp->todo: chooses the next event, sets the timer. False: the client has to hear of an EOI or of
 * free SINTs first.
 */
bool irq_prepare(struct hv_vp *vp, struct hv_exit *exit);

/*
 * Owner, pinned, interrupts on or off: irq_prepare where there is no more to do than to deliver an interrupt of the
 * local APIC's, and nothing else keeps the VP from its next entry. False: it may be more, and nothing was done.
 */
bool irq_prepare_plain(struct hv_vp *vp);

/* Owner, pinned: this CPU need not be interrupted for the VP any more, by a timer or for what devices post. */
void irq_stop(struct hv_vp *vp);

/*
 * Interrupts that devices post without the core, where the hardware can (irq_posted.c). The VP's life, claimed: from
 * before its first reset on; when nobody posts any more. Owner: it runs here from now on (pinned), or waits, until
 * irq_posted_stop; there may be a request afterwards.
 */
void irq_posted_create(struct hv_vp *vp);
void irq_posted_destroy(struct hv_vp *vp);
void irq_posted_run(struct hv_vp *vp);
void irq_posted_wait(struct hv_vp *vp);
void irq_posted_stop(struct hv_vp *vp);
/* Where devices post to, 0: nowhere, as the VP goes or its APIC is off. The VP stays meanwhile. Any context. */
hv_hpa_t irq_posted_to(const struct hv_vp *vp);

/*
 * Owner, pinned, interrupts off, before entries: where the host's timer has interrupted this CPU while no guest ran,
 * and so has ended no entry, it does so once more; and the next exit looks at the timer.
 */
void irq_renew_timer(struct hv_vp *vp);
static inline void irq_check_timer(struct hv_vp *vp)
{
    if (vp->host_timer && cpu_tsc() >= vp->host_timer)
        irq_renew_timer(vp);
}

/* Owner, pinned: the timer may have fired. */
void irq_poll_timer(struct hv_vp *vp);

/*
 * Owner, pinned, interrupts on or off: IA32_TSC_DEADLINE has been written; the timer's deadline has passed. False: it
 * is not that simple, and nothing was done.
 */
bool irq_arm_plain(struct hv_vp *vp, uint64_t deadline);
bool irq_fire_plain(struct hv_vp *vp);
/* Owner, pinned: the host was interrupted, and where it is whom the timers make do so, one of them may be due. */
void irq_look_at_timer(struct hv_vp *vp);

/* Owner, pinned: would a VP that is halted, or idles, go on, with what has arrived so far? */
bool irq_wakes(struct hv_vp *vp);

/* Owner: when a halted VP has to look at its timer, or the run's deadline, again, in hv_host_time_ns time; 0: never. */
uint64_t irq_wake_time(struct hv_vp *vp);

/* Owner: the run's deadline (hv_vp_set_run_deadline) has passed; there is none any more. */
bool irq_take_run_deadline(struct hv_vp *vp);

/* Owner: does what a write to a register has led to. */
void irq_apply(struct hv_vp *vp, const struct lapic_effect *effect);

/* Owner: IA32_APIC_BASE has a new value. */
void irq_mode_changed(struct hv_vp *vp);

/* What hv_partition_interrupt would say, without sending it. Any context. */
enum hv_status irq_check(const struct hv_partition *p, const struct hv_interrupt *interrupt);

/* An edge-triggered interrupt for this VP's local APIC, whoever its registers address. Any context but NMI. */
void irq_post_vector(struct hv_vp *vp, uint8_t vector);
/* The same for several VPs, bit n for VP n: those that are there and whose APICs are on. */
void irq_post_to(const struct hv_partition *p, uint64_t vps, uint8_t vector);

/*
 * Owner: vp->auto_eoi has changed: vectors whose delivery is their end, without an EOI. While there are any, the
 * hardware does not deliver by itself. Or vp->eoi_wanted.
 */
void irq_auto_eoi_changed(struct hv_vp *vp);

/* Owner: the client has to hear of this before the guest goes on. There is at most one at a time. */
void irq_trap(struct hv_vp *vp, enum hv_exit_reason reason, uint16_t offset, uint64_t value);

/* Owner, pinned: something that the client has to hear of, whether the VP runs or not. True: it is in the exit. */
bool irq_tell(struct hv_vp *vp, struct hv_exit *exit);

/*
 * Owner, pinned: ExtInts (WHvRequestInterrupt) that wait, as the register PendingEvent shows them: the vector of the
 * next one, -1 for none. And dropping one, or all (-1).
 */
int irq_next_ext_int(const struct hv_vp *vp);
void irq_drop_ext_ints(struct hv_vp *vp, int vector);

/* Owner, pinned: could the next entry inject one? */
bool irq_can_take_nmi(struct vcpu *v);
bool irq_can_take_interrupt(struct vcpu *v);

/* Owner: registers were changed as a whole. */
void irq_registers_changed(struct hv_vp *vp);

#endif
