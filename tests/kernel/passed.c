/* SPDX-License-Identifier: MIT */
#include "passed.h"
#include "test.h"
#include <whp/WinHvExtensions.h>

#define CONFIG_COMMAND 0x04
#define CONFIG_CHAIN   0x34
#define COMMAND_ON     0x06 /* memory, bus master */
#define CAPABILITIES   48

HRESULT passed_create(const struct passed *d, const struct hv_pci_address *address)
{
    const WHVX_PCI_RESOURCE_DESCRIPTOR descriptor = {
        .Segment = address->segment,
        .Bus = (UINT8)(address->bdf >> 8),
        .Device = address->bdf >> 3 & 0x1f,
        .Function = address->bdf & 7,
        .Flags = d->flags,
    };
    HANDLE resource;
    HRESULT hr =
        WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, &descriptor, sizeof(descriptor), &resource);

    if (hr != S_OK)
        return hr;
    hr = WHvCreateVpciDevice(d->partition, d->id, resource, WHvCreateVpciDeviceFlagPhysicallyBacked, NULL);
    EXPECT_OK(WHvxCloseVpciResource(resource));
    return hr;
}

bool passed_switch_on(const struct passed *d)
{
    return passed_write(d, WHvVpciConfigSpace, CONFIG_COMMAND, COMMAND_ON, 2);
}

bool passed_give(const struct passed *d, const struct hv_pci_address *address)
{
    return EXPECT_OK(passed_create(d, address)) && passed_switch_on(d);
}

void passed_take(const struct passed *d)
{
    EXPECT_OK(WHvDeleteVpciDevice(d->partition, d->id));
}

uint64_t passed_read(const struct passed *d, WHV_VPCI_DEVICE_REGISTER_SPACE space, uint64_t offset, uint32_t size)
{
    const WHV_VPCI_DEVICE_REGISTER r = {space, size, offset};
    uint64_t value = 0;

    EXPECT_OK(WHvReadVpciDeviceRegister(d->partition, d->id, &r, &value));
    return value;
}

bool passed_write(const struct passed *d, WHV_VPCI_DEVICE_REGISTER_SPACE space, uint64_t offset, uint64_t value,
                  uint32_t size)
{
    const WHV_VPCI_DEVICE_REGISTER r = {space, size, offset};

    return EXPECT_OK(WHvWriteVpciDeviceRegister(d->partition, d->id, &r, &value));
}

uint32_t passed_find(const struct passed *d, uint8_t capability)
{
    uint32_t at = (uint32_t)passed_read(d, WHvVpciConfigSpace, CONFIG_CHAIN, 1) & 0xfc, head;

    for (unsigned i = 0; at && i < CAPABILITIES; i++) {
        head = (uint32_t)passed_read(d, WHvVpciConfigSpace, at, 4);
        if ((head & 0xff) == capability)
            return at;
        at = head >> 8 & 0xfc;
    }
    return 0;
}

void *passed_map(const struct passed *d, uint32_t bar, uint64_t size)
{
    WHV_VPCI_MMIO_MAPPING *ranges = NULL;
    UINT32 count = 0;

    if (!EXPECT_OK(WHvMapVpciDeviceMmioRanges(d->partition, d->id, &count, &ranges)))
        return NULL;
    for (UINT32 i = 0; i < count; i++)
        if ((uint32_t)ranges[i].Location == bar && ranges[i].OffsetInBytes == 0 && ranges[i].SizeInBytes >= size)
            return ranges[i].VirtualAddress;
    return NULL;
}
