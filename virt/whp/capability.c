/* SPDX-License-Identifier: MIT */
#include "call.h"

HRESULT WHVAPI WHvGetCapability(WHV_CAPABILITY_CODE CapabilityCode, VOID *CapabilityBuffer,
                                UINT32 CapabilityBufferSizeInBytes, UINT32 *WrittenSizeInBytes)
{
    uint32_t written = 0;
    enum hv_status st;

    if (!is_buffer(CapabilityBuffer, CapabilityBufferSizeInBytes))
        return E_INVALIDARG;
    st = hv_capability((uint32_t)CapabilityCode, CapabilityBuffer, CapabilityBufferSizeInBytes, &written);
    put_count(WrittenSizeInBytes, st, written);
    return whp_result_of(WHP_GET_CAPABILITY, st);
}
