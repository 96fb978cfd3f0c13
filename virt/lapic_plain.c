/* SPDX-License-Identifier: MIT */
/*
 * What happens to a local APIC most of the time: an edge-triggered interrupt to itself, its delivery and its end. Other
 * functions do the same for all cases (lapic.c); these answer for the usual one alone, or not at all.
 */
#include "lapic_parts.h"

#define ICR_FREE ((uint64_t)(APIC_ICR_VECTOR | APIC_ICR_ASSERT))

bool lapic_end_plain(struct lapic *l, const uint64_t wanted[4])
{
    int highest = lapic_highest(l, APIC_ISR, l->isr_words);
    uint8_t vector = (uint8_t)highest;

    if (!l->is_private || l->remote_irr)
        return false;
    if (highest < 0)
        return true;
    if (wanted[vector / 64] >> vector % 64 & 1 || lapic_test_vector(l, APIC_TMR, vector))
        return false;
    lapic_clear_vector(l, APIC_ISR, vector);
    lapic_put(l, APIC_PPR, lapic_ppr(l));
    return true;
}

bool lapic_send_plain(struct lapic *l, uint64_t icr)
{
    uint8_t vector = (uint8_t)FIELD_GET(APIC_ICR_VECTOR, icr);

    if (!l->is_private || (icr & ~ICR_FREE) != FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF) ||
        vector < LAPIC_FIRST_VECTOR || !lapic_is_software_enabled(l))
        return false;
    lapic_clear_vector(l, APIC_TMR, vector);
    lapic_set_vector(l, APIC_IRR, vector);
    return true;
}

int lapic_deliver_plain(struct lapic *l)
{
    int highest = lapic_highest(l, APIC_IRR, l->irr_words);
    uint8_t vector = (uint8_t)highest;
    uint32_t class = vector & LAPIC_PRIORITY_CLASS;

    if (highest < 0 || !lapic_is_software_enabled(l) || class <= (lapic_ppr(l) & LAPIC_PRIORITY_CLASS))
        return -1;
    lapic_clear_vector(l, APIC_IRR, vector);
    lapic_set_vector(l, APIC_ISR, vector);
    lapic_put(l, APIC_PPR, class);
    return vector;
}
