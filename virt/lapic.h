/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's register model (SDM 3A chapter 10): what its registers hold, which interrupt is next, and what a
 * write leads to. No processors, no locks, no clock of its own: virt/irq.c connects it to all of these.
 *
 * The registers live in a page laid out as the manual's (offset n * 16), which the hardware reads and writes by itself
 * where it virtualizes the APIC. Only the VP's owner calls these functions; interrupts of others wait in hv_vp_inbox
 * until the owner takes them in.
 */
#ifndef VIRT_LAPIC_H
#define VIRT_LAPIC_H

#include <arch/bits/apic.h>
#include <arch/bits/msr.h>
#include <hv/types.h>

/* APIC timer and its clock: HV_INTERRUPT_HZ is 1 GHz, so that a tick is a nanosecond of time_ns. */
struct lapic {
    volatile uint32_t *regs; /* the page */
    uint64_t base;           /* IA32_APIC_BASE */
    uint32_t id;             /* of the VP; what the ID register shows depends on the mode */
    bool x2apic_allowed;     /* by the partition's LocalApicEmulationMode */
    bool remote_read;        /* guests may read other APICs' registers, in xAPIC mode */
    bool delivers;        /* the hardware moves IRR to ISR and does EOIs by itself: the owner leaves these two to it */
    bool is_private;      /* only the owner changes IRR and ISR */
    uint8_t irr_words;    /* bit n is clear: IRR's word n is 0. Not private: all are set */
    uint8_t isr_words;    /* the same of ISR */
    uint8_t remote_irr;   /* bit n: a level-triggered interrupt of LINTn's has been accepted and has not ended */
    uint32_t esr_pending; /* errors since the last write of ESR; while there are some, further ones do not interrupt */
    /* The timer by its registers as last taken in: the hardware may have put newer values into the page already. */
    uint32_t timer_lvt;
    uint32_t timer_shift;  /* divides by 1 << this */
    uint64_t timer_due_ns; /* one-shot and periodic: when the count gets to 0; 0: not running */
    uint64_t timer_tsc;    /* TSC-deadline: guest TSC; 0: not armed */
};

static inline uint32_t lapic_get(const struct lapic *l, uint32_t offset)
{
    return l->regs[offset / 4];
}

static inline void lapic_put(struct lapic *l, uint32_t offset, uint32_t value)
{
    l->regs[offset / 4] = value;
}

static inline bool lapic_is_enabled(const struct lapic *l) /* by IA32_APIC_BASE */
{
    return l->base & APIC_BASE_EN;
}

static inline bool lapic_is_x2apic(const struct lapic *l)
{
    return (l->base & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);
}

/* ------------------------------------------------------------------------------------ life */

/*
 * After power-up, reset or INIT (SDM 3A 10.4.7.1, 10.4.7.3, 10.12.5): INIT keeps base, mode and ID; reset makes
 * base APIC_DEFAULT_BASE | EN (| BSP for id 0).
 */
void lapic_reset(struct lapic *l, bool is_init);

/*
 * WRMSR of IA32_APIC_BASE: false is #GP (reserved bits, transitions that SDM 3A 10.12.5 forbids, x2APIC when not
 * allowed). physical_mask has the valid address bits. Takes the registers through the transition (LDR, ID, ICR).
 */
bool lapic_write_base(struct lapic *l, uint64_t value, uint64_t physical_mask);

/* The same by the client, who may go from any mode to any other: x2APIC to xAPIC and disabled to x2APIC pass a reset.
 */
bool lapic_set_base(struct lapic *l, uint64_t value, uint64_t physical_mask);

/* ------------------------------------------------------------------------------- registers */

/*
 * What a call leads to, beyond the registers: for the caller to do. Functions add to it, the caller clears it. vector
 * and icr belong to some of the bits; no single call sets two bits that want different vectors.
 */
#define LAPIC_EFFECT_IPI      (1u << 0) /* send icr */
#define LAPIC_EFFECT_EOI      (1u << 1) /* vector was level-triggered: tell the IOAPIC (unless EOIs are suppressed) */
#define LAPIC_EFFECT_TIMER    (1u << 2) /* the timer was armed, stopped or changed */
#define LAPIC_EFFECT_PRIORITY (1u << 3) /* another interrupt may be next: IRR, ISR, TPR or the enable bit changed */
#define LAPIC_EFFECT_ERROR    (1u << 4) /* an error was recorded and LVT error asks for an interrupt: accept vector */
#define LAPIC_EFFECT_ADDRESS  (1u << 5) /* what lapic_address() gives has changed */
#define LAPIC_EFFECT_NMI      (1u << 6) /* a saved page says that an NMI is pending */
#define LAPIC_EFFECT_ENDED    (1u << 7) /* the interrupt `vector` has ended, whatever its trigger mode */

struct lapic_effect {
    uint32_t bits;
    uint8_t vector;
    uint64_t icr; /* in x2APIC's layout, destination in 63:32 (xAPIC's 8 bits put there), whatever the mode */
};

/*
 * By offset in the page, 16-byte aligned, whatever the access is: memory in xAPIC mode, MSR 0x800 + offset / 16 in
 * x2APIC mode. False: in x2APIC mode #GP; in xAPIC mode an illegal register, recorded in ESR (then reads give 0 and
 * writes are dropped, and the effect may be an error). `now_ns` is for the timer's current count.
 */
bool lapic_read(struct lapic *l, uint32_t offset, uint64_t now_ns, uint64_t *value, struct lapic_effect *effect);
bool lapic_write(struct lapic *l, uint32_t offset, uint64_t value, uint64_t now_ns, struct lapic_effect *effect);

/* The same for a write that the hardware has put into the page already ("APIC-write VM exit", SDM 3C 30.4.3.3). */
void lapic_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);

/*
 * MSR IA32_TSC_DEADLINE: 0 when LVT timer is in another mode; writes in another mode are ignored. The caller polls the
 * timer before a write, since the deadline that it replaces may have passed. One in the past fires at the next poll.
 */
uint64_t lapic_read_tsc_deadline(const struct lapic *l);
void lapic_write_tsc_deadline(struct lapic *l, uint64_t value, struct lapic_effect *effect);

/* ------------------------------------------------------------------------------ interrupts */

/*
 * Takes a fixed interrupt in: IRR, and TMR by trigger mode. Vectors 0 to 15 are an error (ESR), not an interrupt. An
 * APIC that is disabled, by base or by SVR, takes none.
 */
void lapic_accept(struct lapic *l, uint8_t vector, bool is_level, struct lapic_effect *effect);

/* The vector that would be delivered now: highest in IRR, above PPR, software-enabled; -1 for none. Updates PPR. */
int lapic_next(struct lapic *l);

/* Highest in IRR whatever the priorities; -1. Highest in service; -1. */
int lapic_highest_irr(const struct lapic *l);
int lapic_highest_isr(const struct lapic *l);

/* The trigger mode that it was last requested with, by TMR. */
bool lapic_is_level(const struct lapic *l, uint8_t vector);

/* From now on the hardware may put vectors into IRR and ISR by itself, or it never does. Or their words have changed.
 */
void lapic_set_private(struct lapic *l, bool is_private);

/*
 * The usual cases, with nothing to do beyond the registers (lapic_plain.c). False, -1: it is none, and nothing was
 * done. wanted: vectors whose EOIs are not plain, bit n of word n / 64.
 */
bool lapic_end_plain(struct lapic *l, const uint64_t wanted[4]); /* EOI */
bool lapic_send_plain(struct lapic *l, uint64_t icr);            /* to itself */
bool lapic_fire_plain(struct lapic *l);                          /* the timer, by its deadline, which is no more */
int lapic_deliver_plain(struct lapic *l); /* what lapic_next says; its vector. Of private registers, not disabled */

/* Its delivery: IRR to ISR, or, for one that ends with that, out of IRR. */
void lapic_deliver(struct lapic *l, uint8_t vector, bool is_end);

/*
 * An interrupt by the input LINTn, 0 or 1, whose LVT entry has the mode Fixed and is not masked: by the entry's vector
 * and trigger mode. True: it was accepted. Level-triggered ones set the entry's remote IRR until they end.
 */
bool lapic_accept_input(struct lapic *l, unsigned n, struct lapic_effect *effect);

/* What the end of an interrupt leads to, when its ISR bit is clear already. */
void lapic_ended(struct lapic *l, uint8_t vector, struct lapic_effect *effect);

/* A register's value as another APIC reads it: without any effect. False: there is nothing to read. */
bool lapic_peek(const struct lapic *l, uint32_t offset, uint64_t now_ns, uint32_t *value);

/* EOI: the highest in service ends. Returns its vector or -1; the effect as of a write to EOI. */
int lapic_eoi(struct lapic *l, struct lapic_effect *effect);

/* ----------------------------------------------------------------------------------- timer */

/*
 * When the timer is due, in ns of time_ns; UINT64_MAX: not running, masked (nothing would come of it), or in
 * TSC-deadline mode, where timer_tsc counts, masked or not: a deadline that passes while masked must be polled too.
 */
uint64_t lapic_timer_due_ns(const struct lapic *l);

/*
 * Has it fired by now? Then moves on (periodic: to the period that now is in, however many were missed; the others:
 * stopped), and puts its vector into IRR unless masked. True: something was put there.
 */
bool lapic_timer_poll(struct lapic *l, uint64_t now_ns, uint64_t guest_tsc, struct lapic_effect *effect);

/* Is it in TSC-deadline mode? Then timer_due_ns does not count. */
bool lapic_is_deadline(const struct lapic *l);

/* ---------------------------------------------------------------------------- destinations */

/* What of an APIC decides whether a message is for it; kept where other CPUs may read it. */
struct lapic_address {
    uint32_t id;
    uint32_t ldr, dfr;
    bool enabled, x2apic;
};
struct lapic_address lapic_address(const struct lapic *l);

/*
 * Does a message for `destination` (x2APIC's 32 bits, or xAPIC's 8) reach this APIC? Physical: its ID, or broadcast
 * (0xFF, 0xFFFFFFFF). Logical: LDR by DFR's model (flat, cluster), or x2APIC's cluster and bit (SDM
 * 3A 10.6.2, 10.12.10). is_x2apic: the message is one of 32 bits.
 */
bool lapic_is_addressed(const struct lapic_address *a, uint32_t destination, bool is_logical, bool is_x2apic);

/* The ID of the only APIC that such a message can be for. LAPIC_ANY_ID: there may be several, or it goes by LDR. */
#define LAPIC_ANY_ID UINT32_MAX
uint32_t lapic_only_id(uint32_t destination, bool is_logical, bool is_x2apic);

/* -------------------------------------------------------------------------- saved state */

/*
 * WHvGet/SetVirtualProcessorInterruptControllerState2: the page as Hyper-V gives it (register n at n * 16, the first
 * 1024 bytes used, the rest 0; ID as the mode shows it; ICR in two halves, in x2APIC mode too). Set takes what a guest
 * could have written and ignores read-only registers; false: reserved bits set, and nothing was changed. The timer goes
 * on from CURRENT COUNT; a periodic one without a count starts a period. A disabled APIC keeps its state of power-up.
 * Hyper-V's pages have LAPIC_PAGE_NMI in the first word of IRR: the caller adds it, Set tells of it in the effect.
 * IA32_APIC_BASE must be set before the page, IA32_TSC_DEADLINE after it: the mode is in LVT timer.
 */
#define LAPIC_PAGE_NMI BIT32(2)
void lapic_get_page(struct lapic *l, uint64_t now_ns, uint8_t page[4096]);
bool lapic_set_page(struct lapic *l, uint64_t now_ns, const uint8_t page[4096], struct lapic_effect *effect);

#endif
