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

/* ------------------------------------------------------------------------------------------------ passed devices */

/* A function on the machine's PCI buses, and what it says of itself. */
typedef struct WHVX_PCI_DEVICE {
    UINT16 Segment;
    UINT8 Bus, Device, Function;
    UINT8 Reserved[3];
    WHV_VPCI_HARDWARE_IDS Ids;
} WHVX_PCI_DEVICE;

/*
 * The Index-th function of the machine, from 0, in the order of segment, bus, device and function. Whether it can be
 * passed on, WHvAllocateVpciResource and WHvCreateVpciDevice say.
 * Errors: HRESULT_FROM_WIN32(ERROR_NOT_FOUND): there are not so many; E_OUTOFMEMORY.
 * Context: thread.
 */
HRESULT WHVAPI WHvxGetPciDevice(UINT32 Index, WHVX_PCI_DEVICE *Device);

/* Whether this machine confines devices to partitions. The strings are constants. */
typedef struct WHVX_IOMMU {
    BOOL Present;          /* their DMA */
    BOOL RemapsInterrupts; /* and their interrupts */
    const CHAR *Name;      /* as the manuals call it, or "none" */
    const CHAR *Reason;    /* when something is missing: one line that says what; else "" */
} WHVX_IOMMU;

/* Context: thread. */
HRESULT WHVAPI WHvxGetIommu(WHVX_IOMMU *Iommu);

/*
 * The resource descriptor of WHvAllocateVpciResource for a function of the machine, with ProviderId NULL. Flags: 0, or
 * that it may be passed on also where WHvxGetIommu says that something is missing. Then nothing stops a guest that means
 * harm; and without an IOMMU the addresses of its DMA are the host's, so that a guest does harm which does not know where
 * in the host its memory is. The log warns.
 */
#define WHVX_PCI_RESOURCE_UNSAFE 1u

typedef struct WHVX_PCI_RESOURCE_DESCRIPTOR {
    UINT16 Segment;
    UINT8 Bus, Device, Function;
    UINT8 Reserved[3]; /* 0 */
    UINT32 Flags;
} WHVX_PCI_RESOURCE_DESCRIPTOR;

/*
 * Closes a handle of WHvAllocateVpciResource: what a program does by CloseHandle elsewhere. Devices that were made of
 * it live on.
 * Context: thread.
 */
HRESULT WHVAPI WHvxCloseVpciResource(HANDLE VpciResource);

#ifdef __cplusplus
}
#endif

#endif
