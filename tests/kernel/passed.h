/* SPDX-License-Identifier: MIT */
/* A function of the machine as the device of a partition, by the virtual PCI API. Calls that fail make the test fail.
 */
#ifndef PASSED_H
#define PASSED_H

#include <hv/pci.h>
#include <whp/WinHvPlatform.h>

struct passed {
    WHV_PARTITION_HANDLE partition;
    UINT64 id;    /* in the partition */
    UINT32 flags; /* WHVX_PCI_RESOURCE_* */
};

/* The device alone, or why there is none. */
HRESULT passed_create(const struct passed *d, const struct hv_pci_address *address);

/* To d->partition, as d->id, switched on; and back. */
bool passed_give(const struct passed *d, const struct hv_pci_address *address);
bool passed_switch_on(const struct passed *d); /* memory and bus mastering, as its guest sees it */
void passed_take(const struct passed *d);

uint64_t passed_read(const struct passed *d, WHV_VPCI_DEVICE_REGISTER_SPACE space, uint64_t offset, uint32_t size);
bool passed_write(const struct passed *d, WHV_VPCI_DEVICE_REGISTER_SPACE space, uint64_t offset, uint64_t value,
                  uint32_t size);

/* The offset of a capability in the configuration space that the guest sees; 0: it shows none. */
uint32_t passed_find(const struct passed *d, uint8_t capability);

/* Where the host reaches the first `size` bytes of a BAR, which are such that a guest may have them; NULL: they are
 * not. */
void *passed_map(const struct passed *d, uint32_t bar, uint64_t size);

#endif
