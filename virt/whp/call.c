/* SPDX-License-Identifier: MIT */
#include "call.h"

/* Not looked into by the optimiser: what it knew of the result it would use to make the call something else than the
 * end of its caller. */
__attribute__((noinline, optnone)) HRESULT whp_wake_closer(struct whp_slot *slot, HRESULT hr)
{
    hv_host_wake(&slot->low);
    return hr;
}
