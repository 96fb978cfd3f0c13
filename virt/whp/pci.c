/* SPDX-License-Identifier: MIT */
/* What can be passed on: an addition of ours, for clients that are told "the disk" and have to find it. */
#include "call.h"
#include <hv/pci.h>
#include <whp/WinHvExtensions.h>

static WHV_VPCI_HARDWARE_IDS ids_of(const struct hv_vpci_ids *from)
{
    return (WHV_VPCI_HARDWARE_IDS){
        .VendorID = from->vendor,
        .DeviceID = from->device,
        .RevisionID = from->revision,
        .ProgIf = from->prog_if,
        .SubClass = from->sub_class,
        .BaseClass = from->base_class,
        .SubVendorID = from->sub_vendor,
        .SubSystemID = from->sub_system,
    };
}

HRESULT WHVAPI WHvxGetPciDevice(UINT32 Index, WHVX_PCI_DEVICE *Device)
{
    struct hv_pci_function function;
    enum hv_status st;

    if (!Device)
        return E_INVALIDARG;
    st = hv_pci_function(Index, &function);
    if (st == HV_OK) {
        const WHVX_PCI_DEVICE device = {
            .Segment = function.address.segment,
            .Bus = (UINT8)(function.address.bdf >> 8),
            .Device = function.address.bdf >> 3 & 31,
            .Function = function.address.bdf & 7,
            .Ids = ids_of(&function.ids),
        };

        PUT(Device, device);
    }
    return whp_result(st);
}

HRESULT WHVAPI WHvxGetIommu(WHVX_IOMMU *Iommu)
{
    const struct hv_iommu_platform *platform;
    WHVX_IOMMU iommu;

    if (!Iommu)
        return E_INVALIDARG;
    platform = hv_iommu_platform();
    iommu = (WHVX_IOMMU){
        .Present = platform->present,
        .RemapsInterrupts = platform->remaps_interrupts,
        .Name = platform->name,
        .Reason = platform->reason,
    };
    PUT(Iommu, iommu);
    return S_OK;
}
