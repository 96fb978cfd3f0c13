/* SPDX-License-Identifier: MIT */
/*
 * BareWHP's own additions to what guests can be given, for which the Windows Hypervisor Platform has no counterpart.
 *
 * Words of the comments as in WinHvPlatform.h. All: E_INVALIDARG for NULL or a handle that is not a live one.
 */
#ifndef WHP_WINHVEXTENSIONS_H
#define WHP_WINHVEXTENSIONS_H

#include "WinHvPlatform.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * WHvRegisterPartitionDoorbellEvent for ports: OUT instructions, not OUTS, that match MatchData signal the event
 * instead of exiting. GuestAddress is the port; Length is 1, 2 or 4 with MatchOnLength.
 * Errors: as there; E_INVALIDARG when the write would go beyond port 0xFFFF.
 * Context: thread.
 */
HRESULT WHVAPI WHvxRegisterPartitionPortDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                      const WHV_DOORBELL_MATCH_DATA *MatchData, HANDLE EventHandle);

/*
 * Removes the doorbell that was registered with exactly this match data.
 * Errors: HRESULT_FROM_WIN32(ERROR_NOT_FOUND).
 * Context: thread.
 */
HRESULT WHVAPI WHvxUnregisterPartitionPortDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                        const WHV_DOORBELL_MATCH_DATA *MatchData);

#ifdef __cplusplus
}
#endif

#endif
