/* SPDX-License-Identifier: MIT */
/* Messages and events for guests' synthetic interrupt controllers. VPs may be running meanwhile. */
#include "call.h"

_Static_assert(WHV_SYNIC_MESSAGE_SIZE == HV_SYNIC_MESSAGE_SIZE, "WHV_SYNIC_MESSAGE_SIZE");
_Static_assert(sizeof(WHV_SYNIC_EVENT_PARAMETERS) == 8, "WHV_SYNIC_EVENT_PARAMETERS");

HRESULT WHVAPI WHvPostVirtualProcessorSynicMessage(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 SintIndex,
                                                   const VOID *Message, UINT32 MessageSizeInBytes)
{
    struct vp_use in;
    HRESULT hr;

    if (!Message)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_post_message(in.vp, SintIndex, Message, MessageSizeInBytes));
    vp_leave(&in, WHP_USE_CALL);
    return hr;
}

/* There are no virtual trust levels but 0. */
HRESULT WHVAPI WHvSignalVirtualProcessorSynicEvent(WHV_PARTITION_HANDLE Partition,
                                                   WHV_SYNIC_EVENT_PARAMETERS SynicEvent, BOOL *NewlySignaled)
{
    bool newly = false;
    struct vp_use in;
    BOOL result;
    HRESULT hr;

    if (SynicEvent.TargetVtl)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, SynicEvent.VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_signal_event(in.vp, SynicEvent.TargetSint, SynicEvent.FlagNumber, &newly));
    vp_leave(&in, WHP_USE_CALL);
    if (FAILED(hr) || !NewlySignaled)
        return hr;
    result = newly;
    PUT(NewlySignaled, result);
    return hr;
}
