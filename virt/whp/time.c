/* SPDX-License-Identifier: MIT */
/* The partition's time: stopped, and on again. */
#include "call.h"

HRESULT WHVAPI WHvSuspendPartitionTime(WHV_PARTITION_HANDLE Partition)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_partition_suspend_time(in->object));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvResumePartitionTime(WHV_PARTITION_HANDLE Partition)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_partition_resume_time(in->object));
    partition_leave(in);
    return hr;
}
