/* SPDX-License-Identifier: MIT */
/* Doorbells: in memory, and on ports, which is an addition of ours. */
#include "doorbell.h"
#include "call.h"
#include <whp/WinHvExtensions.h>

_Static_assert(sizeof(WHV_DOORBELL_MATCH_DATA) == 24, "WHV_DOORBELL_MATCH_DATA");

/* E_INVALIDARG, and nothing is entered. */
static HRESULT enter(WHV_PARTITION_HANDLE partition, const WHV_DOORBELL_MATCH_DATA *match, bool is_port,
                     struct hv_doorbell *doorbell, struct whp_slot **in)
{
    WHV_DOORBELL_MATCH_DATA copy;

    if (!match)
        return E_INVALIDARG;
    __builtin_memcpy(&copy, match, sizeof(copy));
    if (!whp_doorbell(&copy, is_port, doorbell))
        return E_INVALIDARG;
    *in = partition_enter(partition);
    return *in ? S_OK : E_INVALIDARG;
}

static HRESULT add(WHV_PARTITION_HANDLE partition, const WHV_DOORBELL_MATCH_DATA *match, bool is_port, HANDLE event)
{
    struct hv_doorbell doorbell;
    struct whp_slot *in;
    HRESULT hr = enter(partition, match, is_port, &doorbell, &in);

    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_partition_register_doorbell(in->object, &doorbell, event));
    partition_leave(in);
    return hr;
}

static HRESULT take_away(WHV_PARTITION_HANDLE partition, const WHV_DOORBELL_MATCH_DATA *match, bool is_port)
{
    struct hv_doorbell doorbell;
    struct whp_slot *in;
    HRESULT hr = enter(partition, match, is_port, &doorbell, &in);

    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_partition_unregister_doorbell(in->object, &doorbell));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvRegisterPartitionDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                 const WHV_DOORBELL_MATCH_DATA *MatchData, HANDLE EventHandle)
{
    return add(Partition, MatchData, false, EventHandle);
}

HRESULT WHVAPI WHvUnregisterPartitionDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                   const WHV_DOORBELL_MATCH_DATA *MatchData)
{
    return take_away(Partition, MatchData, false);
}

HRESULT WHVAPI WHvxRegisterPartitionPortDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                      const WHV_DOORBELL_MATCH_DATA *MatchData, HANDLE EventHandle)
{
    return add(Partition, MatchData, true, EventHandle);
}

HRESULT WHVAPI WHvxUnregisterPartitionPortDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                        const WHV_DOORBELL_MATCH_DATA *MatchData)
{
    return take_away(Partition, MatchData, true);
}
