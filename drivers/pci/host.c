/* SPDX-License-Identifier: MIT */
/* The machine's IOMMU on and off: every function that is there stays the host's, until somebody takes it. */
#include "device.h"
#include <arch/iommu.h>

static enum hv_status each_requester(iommu_found_fn *found)
{
    enum hv_status st = HV_OK;

    for (const struct pci_device *d = pci_first(); d && st == HV_OK; d = d->next)
        st = found(&d->address);
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
