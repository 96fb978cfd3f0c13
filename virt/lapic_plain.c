/* SPDX-License-Identifier: MIT */
/*
 * What happens to a local APIC most of the time: an edge-triggered interrupt to itself, its delivery and its end. Other
 * functions do the same for all cases (lapic.c); these answer for the usual one alone, or not at all.
 */
#include "lapic_parts.h"

#define ICR_FREE ((uint64_t)(APIC_ICR_VECTOR | APIC_ICR_ASSERT))

static inline uint32_t highest_bit(uint32_t word)
{
    return 31 - (uint32_t)__builtin_clz(word);
}

/* With others in service: their priority counts, too. */
static __attribute__((noinline)) uint32_t ppr_in_service(const struct lapic *l)
{
    return lapic_ppr(l);
}

static inline uint32_t ppr_of(const struct lapic *l)
{
    return l->isr_words ? ppr_in_service(l) : lapic_get(l, APIC_TPR);
}

/* Clears its highest bit, `mask`, in a set's word that is not 0. Returns which words are not 0 then. */
static inline uint8_t take_out(struct lapic *l, uint32_t place, uint8_t words, uint32_t index, uint32_t mask)
{
    uint32_t word = lapic_get(l, place) ^ mask;

    lapic_put(l, place, word);
    return word ? words : (uint8_t)(words ^ BIT32(index));
}

bool lapic_end_plain(struct lapic *l, const uint64_t wanted[4])
{
    uint32_t index, offset, mask, of_wanted;

    if (!l->is_private || l->remote_irr)
        return false;
    if (!l->isr_words)
        return true;
    index = highest_bit(l->isr_words);
    offset = index * 16;
    mask = BIT32(highest_bit(lapic_get(l, APIC_ISR + offset)));
    __builtin_memcpy(&of_wanted, (const char *)wanted + index * sizeof(of_wanted), sizeof(of_wanted));
    if ((lapic_get(l, APIC_TMR + offset) | of_wanted) & mask)
        return false;
    l->isr_words = take_out(l, APIC_ISR + offset, l->isr_words, index, mask);
    lapic_put(l, APIC_PPR, ppr_of(l));
    return true;
}

static inline bool request(struct lapic *l, uint8_t vector)
{
    uint32_t index = vector / 32, mask = BIT32(vector % 32), offset = index * 16;

    if (!l->is_private || vector < LAPIC_FIRST_VECTOR || !lapic_is_software_enabled(l))
        return false;
    lapic_put(l, APIC_TMR + offset, lapic_get(l, APIC_TMR + offset) & ~mask);
    lapic_put(l, APIC_IRR + offset, lapic_get(l, APIC_IRR + offset) | mask);
    l->irr_words |= (uint8_t)BIT32(index);
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
    uint32_t ppr = ppr_of(l), index, offset, bit, class;

    if (!l->irr_words || !lapic_is_software_enabled(l))
        return -1;
    index = highest_bit(l->irr_words);
    offset = index * 16;
    bit = highest_bit(lapic_get(l, APIC_IRR + offset));
    class = (index * 32 + bit) & LAPIC_PRIORITY_CLASS;
    if (class <= (ppr & LAPIC_PRIORITY_CLASS))
        return -1;
    l->irr_words = take_out(l, APIC_IRR + offset, l->irr_words, index, BIT32(bit));
    l->isr_words |= (uint8_t)BIT32(index);
    lapic_put(l, APIC_ISR + offset, lapic_get(l, APIC_ISR + offset) | BIT32(bit));
    lapic_put(l, APIC_PPR, class);
    return (int)(index * 32 + bit);
}
