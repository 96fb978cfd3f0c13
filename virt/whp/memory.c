/* SPDX-License-Identifier: MIT */
/* Guest-physical memory, and its view through a virtual processor. */
#include "call.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* ------------------------------------------------------------------------- mapping */

HRESULT WHVAPI WHvMapGpaRange(WHV_PARTITION_HANDLE Partition, VOID *SourceAddress,
                              WHV_GUEST_PHYSICAL_ADDRESS GuestAddress, UINT64 SizeInBytes,
                              WHV_MAP_GPA_RANGE_FLAGS Flags)
{
    struct whp_slot *in;
    HRESULT hr;

    if (!SourceAddress)
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_partition_map(in->object, SourceAddress, GuestAddress, SizeInBytes, (uint32_t)Flags));
    partition_leave(in);
    return hr;
}

/* The kernel has one address space: it goes by NULL and by the pseudo handle of the current process, -1. */
static bool is_own_process(HANDLE process)
{
    return !process || process == INVALID_HANDLE_VALUE;
}

HRESULT WHVAPI WHvMapGpaRange2(WHV_PARTITION_HANDLE Partition, HANDLE Process, VOID *SourceAddress,
                               WHV_GUEST_PHYSICAL_ADDRESS GuestAddress, UINT64 SizeInBytes,
                               WHV_MAP_GPA_RANGE_FLAGS Flags)
{
    if (!is_own_process(Process))
        return E_INVALIDARG;
    return WHvMapGpaRange(Partition, SourceAddress, GuestAddress, SizeInBytes, Flags);
}

HRESULT WHVAPI WHvUnmapGpaRange(WHV_PARTITION_HANDLE Partition, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                                UINT64 SizeInBytes)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_partition_unmap(in->object, GuestAddress, SizeInBytes));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvQueryGpaRangeDirtyBitmap(WHV_PARTITION_HANDLE Partition, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                                           UINT64 RangeSizeInBytes, UINT64 *Bitmap, UINT32 BitmapSizeInBytes)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_partition_query_dirty(in->object, GuestAddress, RangeSizeInBytes, Bitmap, BitmapSizeInBytes));
    partition_leave(in);
    return hr;
}

/* ----------------------------------------------------------------------- translation */

_Static_assert((int)HV_TRANSLATE_SUCCESS == WHvTranslateGvaResultSuccess, "translation results");
_Static_assert((int)HV_TRANSLATE_INTERCEPT == WHvTranslateGvaResultIntercept, "translation results");
_Static_assert(HV_TRANSLATE_READ == WHvTranslateGvaFlagValidateRead, "translation flags");
_Static_assert(HV_TRANSLATE_SET_BITS == WHvTranslateGvaFlagSetPageTableBits, "translation flags");
_Static_assert(HV_TRANSLATE_OVERRIDE_SMAP == WHvTranslateGvaFlagOverrideSmap, "translation flags");

HRESULT WHVAPI WHvTranslateGva(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHV_GUEST_VIRTUAL_ADDRESS Gva,
                               WHV_TRANSLATE_GVA_FLAGS TranslateFlags, WHV_TRANSLATE_GVA_RESULT *TranslationResult,
                               WHV_GUEST_PHYSICAL_ADDRESS *Gpa)
{
    WHV_TRANSLATE_GVA_RESULT out = {0};
    enum hv_translate_result result;
    struct vp_use in;
    hv_gpa_t gpa;
    HRESULT hr;

    if (!TranslationResult || !Gpa)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_translate(in.vp, Gva, (uint32_t)TranslateFlags, &result, &gpa));
    vp_leave(&in, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    out.ResultCode = (WHV_TRANSLATE_GVA_RESULT_CODE)result;
    PUT(TranslationResult, out);
    if (result == HV_TRANSLATE_SUCCESS)
        PUT(Gpa, gpa);
    return S_OK;
}

/* ---------------------------------------------------------------------------- access */

#define ACCESS_MAX WHV_READ_WRITE_GPA_RANGE_MAX_SIZE

/* one bit for each WHV_CACHE_TYPE */
#define CACHE_TYPES                                                                                      \
    (BIT32(WHvCacheTypeUncached) | BIT32(WHvCacheTypeWriteCombining) | BIT32(WHvCacheTypeWriteThrough) | \
     BIT32(WHvCacheTypeWriteProtected) | BIT32(WHvCacheTypeWriteBack))

/* A cache type, VTL 0 (asked for or not), nothing else. The memory is the host's own RAM: the type makes no difference
 * to it. */
static bool are_controls_valid(WHV_ACCESS_GPA_CONTROLS controls)
{
    uint32_t type = (uint32_t)controls.CacheType;

    return type < 32 && (CACHE_TYPES & BIT32(type)) && !controls.InputVtl.TargetVtl && !controls.InputVtl.Reserved &&
           !controls.Reserved && !controls.Reserved1;
}

static HRESULT check_access(WHV_ACCESS_GPA_CONTROLS controls, const void *data, UINT32 size)
{
    return data && size && size <= ACCESS_MAX && are_controls_valid(controls) ? S_OK : E_INVALIDARG;
}

HRESULT WHVAPI WHvReadGpaRange(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                               WHV_ACCESS_GPA_CONTROLS Controls, PVOID Data, UINT32 DataSizeInBytes)
{
    uint8_t data[ACCESS_MAX];
    struct vp_use in;
    HRESULT hr = check_access(Controls, Data, DataSizeInBytes);

    if (FAILED(hr))
        return hr;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_read_gpa(in.vp, GuestAddress, data, DataSizeInBytes));
    vp_leave(&in, WHP_USE_CALL);
    if (SUCCEEDED(hr))
        memcpy(Data, data, DataSizeInBytes);
    return hr;
}

HRESULT WHVAPI WHvWriteGpaRange(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                                WHV_ACCESS_GPA_CONTROLS Controls, const VOID *Data, UINT32 DataSizeInBytes)
{
    uint8_t data[ACCESS_MAX];
    struct vp_use in;
    HRESULT hr = check_access(Controls, Data, DataSizeInBytes);

    if (FAILED(hr))
        return hr;
    memcpy(data, Data, DataSizeInBytes);
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_write_gpa(in.vp, GuestAddress, data, DataSizeInBytes));
    vp_leave(&in, WHP_USE_CALL);
    return hr;
}
