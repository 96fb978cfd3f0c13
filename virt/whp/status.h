/* SPDX-License-Identifier: MIT */
/* From the native API's result codes to the HRESULTs that WHP documents. */
#ifndef VIRT_WHP_STATUS_H
#define VIRT_WHP_STATUS_H

#include <hv/status.h>
#include <whp/WinHvPlatform.h>

/* Functions whose documentation gives a code of its own for a condition; all others share one table. */
enum whp_function {
    WHP_ANY_FUNCTION,
    WHP_GET_CAPABILITY,
    WHP_SETUP_PARTITION,
    WHP_RESET_PARTITION,
    WHP_INTERRUPT_CONTROLLER,
    WHP_PROCESSOR_STATE,
    WHP_VPCI_CREATE,
    WHP_VPCI_REQUEST,
    WHP_VPCI_POWERED,
};

HRESULT whp_result_of(enum whp_function function, enum hv_status st);

static inline HRESULT whp_result(enum hv_status st)
{
    return __builtin_expect(st == HV_OK, 1) ? S_OK : whp_result_of(WHP_ANY_FUNCTION, st);
}

#endif
