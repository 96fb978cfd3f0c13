/* SPDX-License-Identifier: MIT */
#ifndef VIRT_WHP_DOORBELL_H
#define VIRT_WHP_DOORBELL_H

#include <hv/hv.h>
#include <whp/WinHvPlatform.h>

/* From a copy of the caller's; false: reserved bits. What it may match is the native API's to say. */
static inline bool whp_doorbell(const WHV_DOORBELL_MATCH_DATA *match, bool is_port, struct hv_doorbell *out)
{
    *out = (struct hv_doorbell){
        .address = match->GuestAddress,
        .value = match->Value,
        .length = match->Length,
        .match_value = match->MatchOnValue,
        .match_length = match->MatchOnLength,
        .is_port = is_port,
    };
    return !match->Reserved;
}

#endif
