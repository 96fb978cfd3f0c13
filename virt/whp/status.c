/* SPDX-License-Identifier: MIT */
#include "status.h"
#include <hv/base/bits.h>

static const HRESULT results[HV_E_STATUS_COUNT] = {
    [HV_OK] = S_OK,
    [HV_E_INVALID] = E_INVALIDARG,
    [HV_E_NO_MEMORY] = E_OUTOFMEMORY,
    [HV_E_NOT_PRESENT] = WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG,
    [HV_E_UNSUPPORTED] = HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED),
    [HV_E_STATE] = ERROR_HV_INVALID_PARTITION_STATE,
    [HV_E_CONFIG] = WHV_E_INVALID_PARTITION_CONFIG,
    [HV_E_VP_NOT_FOUND] = WHV_E_VP_DOES_NOT_EXIST,
    [HV_E_VP_EXISTS] = WHV_E_VP_ALREADY_EXISTS,
    [HV_E_VP_BUSY] = WHV_E_INVALID_VP_STATE,
    [HV_E_REGISTER_NAME] = WHV_E_INVALID_VP_REGISTER_NAME,
    [HV_E_REGISTER_VALUE] = ERROR_HV_INVALID_PARAMETER,
    [HV_E_GPA_NOT_FOUND] = WHV_E_GPA_RANGE_NOT_FOUND,
    [HV_E_ACCESS_DENIED] = E_ACCESSDENIED,
    [HV_E_BUFFER_TOO_SMALL] = WHV_E_INSUFFICIENT_BUFFER,
    [HV_E_UNKNOWN_PROPERTY] = WHV_E_UNKNOWN_PROPERTY,
};

static const struct exception {
    enum whp_function function;
    enum hv_status status;
    HRESULT result;
} exceptions[] = {
    {WHP_GET_CAPABILITY, HV_E_UNKNOWN_PROPERTY, WHV_E_UNKNOWN_CAPABILITY},
    {WHP_SETUP_PARTITION, HV_E_STATE, HRESULT_FROM_WIN32(ERROR_INVALID_STATE)},
    {WHP_SETUP_PARTITION, HV_E_UNSUPPORTED, WHV_E_UNSUPPORTED_PROCESSOR_CONFIG},
    {WHP_RESET_PARTITION, HV_E_STATE, HRESULT_FROM_WIN32(ERROR_INVALID_STATE)},
    /* no local APICs, or no other thing that the state would be of */
    {WHP_INTERRUPT_CONTROLLER, HV_E_STATE, ERROR_HV_OPERATION_DENIED},
    {WHP_PROCESSOR_STATE, HV_E_STATE, ERROR_HV_OPERATION_DENIED},
};

HRESULT whp_result_of(enum whp_function function, enum hv_status st)
{
    for (size_t i = 0; i < ARRAY_COUNT(exceptions); i++)
        if (exceptions[i].function == function && exceptions[i].status == st)
            return exceptions[i].result;
    return (unsigned)st < HV_E_STATUS_COUNT ? results[st] : E_UNEXPECTED;
}
