/* SPDX-License-Identifier: MIT */
/* What the files of the local APIC's register model share: the table of registers, the timer's part of writes. */
#ifndef VIRT_LAPIC_PARTS_H
#define VIRT_LAPIC_PARTS_H

#include "lapic.h"
#include <hv/base/bits.h>

/* Access by mode: REG_* as memory (xAPIC), REG_X2_* as MSR (x2APIC). A register without a bit of a mode is reserved. */
#define REG_READ     BIT32(0)
#define REG_WRITE    BIT32(1)
#define REG_X2_READ  BIT32(2)
#define REG_X2_WRITE BIT32(3)

struct lapic_reg {
    uint32_t access;
    uint32_t bits;                                            /* that software sets */
    uint32_t ignored;                                         /* when written: read-only. All others are reserved */
    uint32_t (*read)(const struct lapic *l, uint64_t now_ns); /* when the page does not have it */
    /* The value is in the page, without other bits than `bits`. */
    void (*written)(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);
};

#define LAPIC_REGS 64u /* of 16 bytes; what is above them is reserved */

/* One without access for an offset that is not a register's. */
const struct lapic_reg *lapic_reg(uint32_t offset);

/* ------------------------------------------------------------ IRR, ISR, TMR: 256 bits by vector */

#define LAPIC_FIRST_VECTOR   16u   /* lower ones are the CPU's exceptions */
#define LAPIC_PRIORITY_CLASS 0xf0u /* of a vector, TPR or PPR */

static inline uint32_t lapic_word_of(uint32_t set, uint8_t vector)
{
    return set + vector / 32u * 16;
}

static inline bool lapic_test_vector(const struct lapic *l, uint32_t set, uint8_t vector)
{
    return lapic_get(l, lapic_word_of(set, vector)) >> vector % 32 & 1;
}

static inline void lapic_set_vector(struct lapic *l, uint32_t set, uint8_t vector)
{
    lapic_put(l, lapic_word_of(set, vector), lapic_get(l, lapic_word_of(set, vector)) | BIT32(vector % 32));
    if (set == APIC_IRR)
        l->irr_words |= (uint8_t)BIT32(vector / 32);
    if (set == APIC_ISR)
        l->isr_words |= (uint8_t)BIT32(vector / 32);
}

static inline void lapic_clear_vector(struct lapic *l, uint32_t set, uint8_t vector)
{
    uint32_t word = lapic_get(l, lapic_word_of(set, vector)) & ~BIT32(vector % 32);

    lapic_put(l, lapic_word_of(set, vector), word);
    if (word || !l->is_private)
        return;
    if (set == APIC_IRR)
        l->irr_words &= (uint8_t)~BIT32(vector / 32);
    if (set == APIC_ISR)
        l->isr_words &= (uint8_t)~BIT32(vector / 32);
}

/* words: the set's irr_words or isr_words. -1: there is none. */
static inline int lapic_highest(const struct lapic *l, uint32_t set, uint32_t words)
{
    while (words) {
        uint32_t i = 31 - (uint32_t)__builtin_clz(words), word = lapic_get(l, set + i * 16);

        if (word)
            return (int)(i * 32 + 31) - __builtin_clz(word);
        words &= ~BIT32(i);
    }
    return -1;
}

static inline bool lapic_is_software_enabled(const struct lapic *l)
{
    return lapic_get(l, APIC_SVR) & APIC_SVR_ENABLE;
}

/* SDM 3A 10.8.3.1; with equal classes, as the hardware's virtualization does (SDM 3C 30.1.3) */
static inline uint32_t lapic_ppr(const struct lapic *l)
{
    uint32_t tpr = lapic_get(l, APIC_TPR);
    int vector = lapic_highest(l, APIC_ISR, l->isr_words);
    uint32_t in_service = vector < 0 ? 0 : (uint32_t)vector & LAPIC_PRIORITY_CLASS;

    return (tpr & LAPIC_PRIORITY_CLASS) >= in_service ? tpr : in_service;
}

/* False: it was not put into IRR. */
bool lapic_request(struct lapic *l, uint8_t vector, bool is_level, struct lapic_effect *effect);

void lapic_update_ppr(struct lapic *l);

/* The remote IRRs of a saved state's LVT entries. */
void lapic_load_inputs(struct lapic *l, uint32_t lint0, uint32_t lint1);

/* Stopped, as after power-up, by the registers in the page. */
void lapic_timer_reset(struct lapic *l);

/* The registers were written: INITIAL COUNT, DIVIDE CONFIGURATION, LVT timer. */
void lapic_timer_init_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);
void lapic_timer_div_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);
void lapic_timer_lvt_written(struct lapic *l, uint64_t now_ns, struct lapic_effect *effect);

uint32_t lapic_timer_count(const struct lapic *l, uint64_t now_ns);

/* The registers in the page are a saved state's: the timer goes on. */
void lapic_timer_resume(struct lapic *l, uint32_t count, uint64_t now_ns);

#endif
