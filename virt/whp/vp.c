/* SPDX-License-Identifier: MIT */
/* Virtual processors: their life and their runs. */
#include "call.h"
#include "exit.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* ----------------------------------------------------------------------------- life */

static HRESULT create_vp(WHV_PARTITION_HANDLE handle, UINT32 index)
{
    struct whp_slot *in = partition_enter(handle);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vp_create(in->object, index));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvCreateVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 Flags)
{
    if (Flags)
        return E_INVALIDARG;
    return create_vp(Partition, VpIndex);
}

#define VP_PROPERTIES_MAX 256

/* The porting layer knows no NUMA nodes: there is one, number 0. What is above the number in the value's 8 bytes does
 * not count. */
static bool is_property_valid(const WHV_VIRTUAL_PROCESSOR_PROPERTY *at)
{
    WHV_VIRTUAL_PROCESSOR_PROPERTY property;

    __builtin_memcpy(&property, at, sizeof(property));
    return property.PropertyCode == WHvVirtualProcessorPropertyCodeNumaNode && !property.Reserved && !property.NumaNode;
}

static bool are_properties_valid(const WHV_VIRTUAL_PROCESSOR_PROPERTY *properties, UINT32 count)
{
    if (!count)
        return true;
    if (!properties || count > VP_PROPERTIES_MAX)
        return false;
    for (UINT32 i = 0; i < count; i++)
        if (!is_property_valid((const void *)((const char *)properties + i * sizeof(*properties))))
            return false;
    return true;
}

HRESULT WHVAPI WHvCreateVirtualProcessor2(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                          const WHV_VIRTUAL_PROCESSOR_PROPERTY *Properties, UINT32 PropertyCount)
{
    if (!are_properties_valid(Properties, PropertyCount))
        return E_INVALIDARG;
    return create_vp(Partition, VpIndex);
}

HRESULT WHVAPI WHvDeleteVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vp_delete(in->object, VpIndex));
    partition_leave(in);
    return hr;
}

/* ----------------------------------------------------------------------------- runs */

/* By way of a copy. */
static __attribute__((noinline)) HRESULT run_and_copy(WHV_PARTITION_HANDLE partition, UINT32 index, void *to,
                                                      UINT32 size)
{
    struct hv_exit_context context;
    HRESULT hr = WHvRunVirtualProcessor(partition, index, &context, sizeof(context));

    if (SUCCEEDED(hr))
        memcpy(to, &context, HV_MIN(size, sizeof(context)));
    return hr;
}

static bool is_context(const void *to, UINT32 size)
{
    return size >= sizeof(struct hv_exit_context) && IS_ALIGNED((uintptr_t)to, _Alignof(struct hv_exit_context));
}

HRESULT WHVAPI WHvRunVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, VOID *ExitContext,
                                      UINT32 ExitContextSizeInBytes)
{
    struct vp_use in;
    HRESULT hr;

    if (!ExitContext)
        return E_INVALIDARG;
    if (ExitContextSizeInBytes < WHP_EXIT_CONTEXT_MIN)
        return WHV_E_INSUFFICIENT_BUFFER;
    if (!is_context(ExitContext, ExitContextSizeInBytes))
        return run_and_copy(Partition, VpIndex, ExitContext, ExitContextSizeInBytes);
    hr = vp_enter_claiming(&in, Partition, VpIndex, WHP_USE_RUN);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_run(in.vp, ExitContext));
    if (SUCCEEDED(hr))
        whp_exit_number(ExitContext);
    return slot_left(in.slot, WHP_USE_RUN, hr);
}

HRESULT WHVAPI WHvCancelRunVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 Flags)
{
    struct vp_use in;
    HRESULT hr;

    if (Flags)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hv_vp_cancel(in.vp);
    vp_leave(&in, WHP_USE_CALL);
    return S_OK;
}
