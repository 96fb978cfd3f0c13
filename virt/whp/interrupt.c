/* SPDX-License-Identifier: MIT */
/* Interrupts: messages to the local APICs, and the local APICs' state. */
#include "interrupt.h"
#include "call.h"
#include <hv/base/bits.h>

/* ------------------------------------------------------------------------- messages */

HRESULT WHVAPI WHvRequestInterrupt(WHV_PARTITION_HANDLE Partition, const WHV_INTERRUPT_CONTROL *Interrupt,
                                   UINT32 InterruptControlSize)
{
    struct hv_interrupt interrupt;
    WHV_INTERRUPT_CONTROL control;
    struct whp_slot *in;
    HRESULT hr;

    if (!Interrupt || InterruptControlSize != sizeof(control))
        return E_INVALIDARG;
    __builtin_memcpy(&control, Interrupt, sizeof(control));
    if (!whp_interrupt(&control, &interrupt))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result_of(WHP_INTERRUPT_CONTROLLER, hv_partition_interrupt(in->object, &interrupt));
    partition_leave(in);
    return hr;
}

#define VPS_MAX 64u /* processors of one partition, at most */

HRESULT WHVAPI WHvGetInterruptTargetVpSet(WHV_PARTITION_HANDLE Partition, UINT64 Destination,
                                          WHV_INTERRUPT_DESTINATION_MODE DestinationMode, UINT32 *TargetVps,
                                          UINT32 VpCount, UINT32 *TargetVpCount)
{
    UINT32 vps[VPS_MAX], count = 0;
    struct whp_slot *in;
    enum hv_status st;

    if (!TargetVps || !TargetVpCount || (unsigned)DestinationMode > WHvX64InterruptDestinationModeLogical)
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    st = hv_partition_interrupt_targets(in->object, Destination,
                                        DestinationMode == WHvX64InterruptDestinationModeLogical, vps,
                                        HV_MIN(VpCount, VPS_MAX), &count);
    partition_leave(in);
    if (st == HV_OK) {
        __builtin_memcpy(TargetVps, vps, count * sizeof(vps[0]));
        PUT(TargetVpCount, count);
    }
    return st == HV_E_BUFFER_TOO_SMALL ? E_INVALIDARG : whp_result_of(WHP_INTERRUPT_CONTROLLER, st);
}

/* ---------------------------------------------------------------------------- state */

HRESULT WHVAPI WHvGetVirtualProcessorInterruptControllerState2(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                               VOID *State, UINT32 StateSize, UINT32 *WrittenSize)
{
    return WHvGetVirtualProcessorState(Partition, VpIndex, WHvVirtualProcessorStateTypeInterruptControllerState2, State,
                                       StateSize, WrittenSize);
}

HRESULT WHVAPI WHvSetVirtualProcessorInterruptControllerState2(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                               const VOID *State, UINT32 StateSize)
{
    if (!State || StateSize < HV_APIC_STATE_SIZE)
        return E_POINTER;
    return WHvSetVirtualProcessorState(Partition, VpIndex, WHvVirtualProcessorStateTypeInterruptControllerState2, State,
                                       StateSize);
}

/*
 * The API keeps the first form's layout to itself: clients give back what they got, and nothing else would be right. So
 * it may be the same page.
 */
HRESULT WHVAPI WHvGetVirtualProcessorInterruptControllerState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                              VOID *State, UINT32 StateSize, UINT32 *WrittenSize)
{
    return WHvGetVirtualProcessorInterruptControllerState2(Partition, VpIndex, State, StateSize, WrittenSize);
}

HRESULT WHVAPI WHvSetVirtualProcessorInterruptControllerState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                              const VOID *State, UINT32 StateSize)
{
    return WHvSetVirtualProcessorInterruptControllerState2(Partition, VpIndex, State, StateSize);
}
