/* SPDX-License-Identifier: MIT */
/*
 * What happens to a local APIC most of the time: an edge-triggered interrupt to itself, its delivery and its end. Other
 * functions do the same for all cases (lapic.c); these answer for the usual one alone, or not at all.
 */
#include "lapic_parts.h"

#define ICR_FREE ((uint64_t)(APIC_ICR_VECTOR | APIC_ICR_ASSERT))

/* The highest of a set with words that are not 0. */
struct place {
    uint32_t index, bit, word;
};

static inline struct place highest_of(const struct lapic *l, uint32_t set, uint32_t words)
{
    uint32_t index = 31 - (uint32_t)__builtin_clz(words), word = lapic_get(l, set + index * 16);

    return (struct place){index, 31 - (uint32_t)__builtin_clz(word), word};
}

/* Clears its bit. Returns which words are not 0 then. */
static inline uint8_t take_out(struct lapic *l, uint32_t set, uint8_t words, const struct place *p)
{
    uint32_t word = p->word & ~BIT32(p->bit);

    lapic_put(l, set + p->index * 16, word);
    return word ? words : (uint8_t)(words & ~BIT32(p->index));
}

bool lapic_end_plain(struct lapic *l, const uint64_t wanted[4])
{
    struct place p;

    if (!l->is_private || l->remote_irr)
        return false;
    if (!l->isr_words)
        return true;
    p = highest_of(l, APIC_ISR, l->isr_words);
    if ((lapic_get(l, APIC_TMR + p.index * 16) | (uint32_t)(wanted[p.index / 2] >> p.index % 2 * 32)) >> p.bit & 1)
        return false;
    l->isr_words = take_out(l, APIC_ISR, l->isr_words, &p);
    lapic_put(l, APIC_PPR, l->isr_words ? lapic_ppr(l) : lapic_get(l, APIC_TPR));
    return true;
}

static inline bool request(struct lapic *l, uint8_t vector)
{
    if (!l->is_private || vector < LAPIC_FIRST_VECTOR || !lapic_is_software_enabled(l))
        return false;
    lapic_clear_vector(l, APIC_TMR, vector);
    lapic_set_vector(l, APIC_IRR, vector);
    return true;
}

bool lapic_send_plain(struct lapic *l, uint64_t icr)
{
    return (icr & ~ICR_FREE) == FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF) &&
           request(l, (uint8_t)FIELD_GET(APIC_ICR_VECTOR, icr));
}

bool lapic_fire_plain(struct lapic *l)
{
    if (!lapic_is_deadline(l) || l->timer_lvt & APIC_LVT_MASKED ||
        !request(l, (uint8_t)FIELD_GET(APIC_LVT_VECTOR, l->timer_lvt)))
        return false;
    l->timer_tsc = 0;
    return true;
}

int lapic_deliver_plain(struct lapic *l)
{
    uint32_t class, ppr;
    struct place p;

    if (!l->irr_words || !lapic_is_software_enabled(l))
        return -1;
    p = highest_of(l, APIC_IRR, l->irr_words);
    class = (p.index * 32 + p.bit) & LAPIC_PRIORITY_CLASS;
    ppr = l->isr_words ? lapic_ppr(l) : lapic_get(l, APIC_TPR);
    if (class <= (ppr & LAPIC_PRIORITY_CLASS))
        return -1;
    l->irr_words = take_out(l, APIC_IRR, l->irr_words, &p);
    lapic_put(l, APIC_ISR + p.index * 16, lapic_get(l, APIC_ISR + p.index * 16) | BIT32(p.bit));
    l->isr_words |= (uint8_t)BIT32(p.index);
    lapic_put(l, APIC_PPR, class);
    return (int)(p.index * 32 + p.bit);
}
