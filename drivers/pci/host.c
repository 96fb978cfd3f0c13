/* SPDX-License-Identifier: MIT */
/*
 * The machine's IOMMU for the host: every function that is there stays the host's, until somebody takes it; and
 * messages of those that are behind bridges.
 */
#include "device.h"
#include <arch/iommu.h>

static enum hv_status each_requester(iommu_found_fn *found)
{
    enum hv_status st = HV_OK;

    for (const struct pci_device *d = pci_first(); d && st == HV_OK; d = d->next) {
        struct hv_pci_address names[PCI_REQUESTERS];
        uint32_t count = pci_requesters(d, names);

        for (uint32_t i = 0; i < count && st == HV_OK; i++)
            st = found(&names[i], d->is_distrusted);
    }
    return st;
}

enum hv_status hv_iommu_on(void)
{
    enum hv_status st = pci_scan();

    return st == HV_OK ? iommu_on(each_requester) : st;
}

void hv_iommu_off(void)
{
    iommu_off();
}

/* Interrupts of conventional devices arrive as those of the bridge that speaks for them. */
enum hv_status hv_remap_msi(const struct hv_pci_address *device, uint32_t index, uint32_t cpu, uint8_t vector,
                            struct hv_msi_message *out)
{
    struct hv_pci_address names[PCI_REQUESTERS] = {*device};
    const struct pci_device *d;
    uint32_t count = 1;
    enum hv_status st = pci_scan();

    if (st != HV_OK)
        return st;
    d = pci_find(device);
    if (d)
        count = pci_requesters(d, names);
    return iommu_remap_msi(device, &names[count - 1], index, cpu, vector, out);
}
