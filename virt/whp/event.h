/* SPDX-License-Identifier: MIT */
/* Parameters that several functions take: interrupts to send, and writes to match. */
#ifndef VIRT_WHP_EVENT_H
#define VIRT_WHP_EVENT_H

#include <hv/hv.h>
#include <whp/WinHvPlatform.h>

_Static_assert(sizeof(WHV_INTERRUPT_CONTROL) == 16, "WHV_INTERRUPT_CONTROL");
_Static_assert(sizeof(WHV_DOORBELL_MATCH_DATA) == 24, "WHV_DOORBELL_MATCH_DATA");

/*
 * False: what no interrupt can be. There are no virtual trust levels but 0. Which types and vectors can be sent is the
 * local APIC's to say.
 */
static inline bool whp_interrupt(const WHV_INTERRUPT_CONTROL *c, struct hv_interrupt *interrupt)
{
    *interrupt = (struct hv_interrupt){
        .type = (uint8_t)c->Type,
        .is_logical = c->DestinationMode == WHvX64InterruptDestinationModeLogical,
        .is_level = c->TriggerMode == WHvX64InterruptTriggerModeLevel,
        .destination = c->Destination,
        .vector = c->Vector,
    };
    return c->DestinationMode <= WHvX64InterruptDestinationModeLogical &&
           c->TriggerMode <= WHvX64InterruptTriggerModeLevel && !c->TargetVtl && !c->Reserved;
}

/* False: reserved bits. What goes with what is looked at when it is registered. */
static inline bool whp_doorbell(const WHV_DOORBELL_MATCH_DATA *match, struct hv_doorbell *doorbell)
{
    *doorbell = (struct hv_doorbell){
        .address = match->GuestAddress,
        .value = match->Value,
        .length = match->Length,
        .match_value = match->MatchOnValue,
        .match_length = match->MatchOnLength,
    };
    return !match->Reserved;
}

#endif
