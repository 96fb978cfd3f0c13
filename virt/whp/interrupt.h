/* SPDX-License-Identifier: MIT */
/* An interrupt to send, as several functions take it. */
#ifndef VIRT_WHP_INTERRUPT_H
#define VIRT_WHP_INTERRUPT_H

#include <hv/hv.h>
#include <whp/WinHvPlatform.h>

_Static_assert(sizeof(WHV_INTERRUPT_CONTROL) == 16, "WHV_INTERRUPT_CONTROL");

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

#endif
