/* SPDX-License-Identifier: MIT */
/* Which buses are behind a bridge, as drivers/pci tells. */
#include <arch/iommu.h>

static iommu_bridge_fn *bridge_fn;

void iommu_set_bridges(iommu_bridge_fn *fn)
{
    __atomic_store_n(&bridge_fn, fn, __ATOMIC_RELEASE);
}

bool iommu_bridge_buses(const struct hv_pci_address *bridge, uint8_t *first, uint8_t *last)
{
    iommu_bridge_fn *fn = __atomic_load_n(&bridge_fn, __ATOMIC_ACQUIRE);

    return fn && fn(bridge, first, last);
}
