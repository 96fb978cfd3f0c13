/* SPDX-License-Identifier: MIT */
/*
 * What a partition's devices reach by DMA: what the client has mapped, where it has mapped it, readable and writable as
 * it said. Pages that the hypervisor has put in front of that, and doorbells, are for VPs alone: devices reach what is
 * behind them. Where local APICs have their registers there is nothing for devices. The BARs of devices that the client
 * maps are memory like any other here.
 *
 * The domain exists while the partition has devices of the machine's; without them the memory map is nobody's business.
 * Addresses beyond what the IOMMU's tables can translate are out of devices' reach.
 */
#ifndef VIRT_VPCI_DMA_H
#define VIRT_VPCI_DMA_H

#include "partition.h"
#include <arch/iommu.h>

/*
 * One device more: the domain is there, and follows the memory map from now on. HV_E_NO_MEMORY; HV_E_NOT_PRESENT: there
 * is no IOMMU. Thread context, without partition.mutex.
 */
enum hv_status vpci_dma_hold(struct hv_partition *p, struct iommu_domain **out);
/* One less; it is not attached any more. */
void vpci_dma_release(struct hv_partition *p);

#endif
