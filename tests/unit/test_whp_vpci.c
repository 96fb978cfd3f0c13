/* SPDX-License-Identifier: MIT */
/* Virtual PCI of virt/whp against a small fake of the native API: arguments, results, the handles of resources. */
#include "unit.h"
#include "virt/whp/handle.h"
#include <hv/base/bits.h>
#include <hv/pci.h>
#include <string.h>
#include <whp/WinHvExtensions.h>

#define ID        0xfeedfacecafe0001ull
#define RESOURCES 4096u

/* ------------------------------------------------------------------------ the fake native API */

struct hv_partition {
    int unused;
};

struct hv_vpci_resource {
    bool is_open;
};

static struct hv_vpci_resource resources[RESOURCES + 1];

static struct {
    enum hv_status answer;
    unsigned calls, open;
    struct hv_pci_address address;
    bool has_address;
    uint32_t flags, space, size, index, count;
    uint64_t offset;
    const struct hv_vpci_resource *resource;
    void *event;
    struct hv_msi_message message;
    struct hv_vpci_target target;
    enum hv_vpci_notification notification;
} core;

static struct hv_partition partition;
static WHV_PARTITION_HANDLE part;

static enum hv_status called(const struct hv_partition *p, uint64_t id)
{
    assert_ptr_equal(p, &partition);
    assert_true(id == ID);
    core.calls++;
    return core.answer;
}

enum hv_status hv_vpci_resource_open(const struct hv_pci_address *address, uint32_t flags,
                                     struct hv_vpci_resource **out)
{
    unsigned i = 0;

    core.has_address = address;
    if (address)
        core.address = *address;
    core.flags = flags;
    if (core.answer != HV_OK)
        return core.answer;
    while (resources[i].is_open)
        i++;
    resources[i].is_open = true;
    core.open++;
    *out = &resources[i];
    return HV_OK;
}

void hv_vpci_resource_close(struct hv_vpci_resource *resource)
{
    assert_true(resource->is_open);
    resource->is_open = false;
    core.open--;
}

enum hv_status hv_vpci_create(struct hv_partition *p, uint64_t id, struct hv_vpci_resource *resource, uint32_t flags,
                              void *event)
{
    assert_true(resource->is_open);
    core.resource = resource;
    core.flags = flags;
    core.event = event;
    return called(p, id);
}

enum hv_status hv_vpci_delete(struct hv_partition *p, uint64_t id)
{
    return called(p, id);
}

enum hv_status hv_vpci_ids(struct hv_partition *p, uint64_t id, struct hv_vpci_ids *out)
{
    *out = (struct hv_vpci_ids){1, 2, 3, 4, 5, 6, 7, 8};
    return called(p, id);
}

enum hv_status hv_vpci_probed_bars(struct hv_partition *p, uint64_t id, uint32_t bars[6])
{
    for (unsigned i = 0; i < 6; i++)
        bars[i] = 0xfff0 + i;
    return called(p, id);
}

enum hv_status hv_vpci_notification(struct hv_partition *p, uint64_t id, enum hv_vpci_notification *out)
{
    *out = core.notification;
    return called(p, id);
}

static struct hv_vpci_range ranges[3];

enum hv_status hv_vpci_map(struct hv_partition *p, uint64_t id, struct hv_vpci_range **out, uint32_t *count)
{
    *out = ranges;
    *count = 3;
    return called(p, id);
}

enum hv_status hv_vpci_unmap(struct hv_partition *p, uint64_t id)
{
    return called(p, id);
}

enum hv_status hv_vpci_set_power(struct hv_partition *p, uint64_t id, uint32_t state)
{
    core.flags = state;
    return called(p, id);
}

enum hv_status hv_vpci_read(struct hv_partition *p, uint64_t id, uint32_t space, uint64_t offset, uint32_t size,
                            void *data)
{
    core.space = space;
    core.offset = offset;
    core.size = size;
    memset(data, 0xab, size);
    return called(p, id);
}

enum hv_status hv_vpci_write(struct hv_partition *p, uint64_t id, uint32_t space, uint64_t offset, uint32_t size,
                             const void *data)
{
    core.space = space;
    core.offset = offset;
    core.size = size;
    memcpy(&core.message.address, data, size);
    return called(p, id);
}

enum hv_status hv_vpci_map_interrupt(struct hv_partition *p, uint64_t id, uint32_t index, uint32_t count,
                                     const struct hv_vpci_target *target, struct hv_msi_message *out)
{
    core.index = index;
    core.count = count;
    core.target = *target;
    *out = (struct hv_msi_message){0xfee12345, 0x6789};
    return called(p, id);
}

enum hv_status hv_vpci_unmap_interrupt(struct hv_partition *p, uint64_t id, uint32_t index)
{
    core.index = index;
    return called(p, id);
}

enum hv_status hv_vpci_retarget(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message,
                                const struct hv_vpci_target *target)
{
    core.message = *message;
    core.target = *target;
    return called(p, id);
}

enum hv_status hv_vpci_interrupt_target(struct hv_partition *p, uint64_t id, uint32_t index, uint32_t message,
                                        struct hv_vpci_target *out)
{
    core.index = index;
    core.count = message;
    *out = core.target;
    return called(p, id);
}

enum hv_status hv_vpci_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message)
{
    core.message = *message;
    return called(p, id);
}

/* -------------------------------------------------------------------------------------- fixture */

static int setup(void **state)
{
    int failed = unit_setup(state);

    memset(&core, 0, sizeof(core));
    part = whp_handle_open(&whp_partitions, &partition);
    assert_non_null(part);
    return failed;
}

static int teardown(void **state)
{
    struct whp_slot *slot;

    assert_int_equal(whp_handle_close(&whp_partitions, part, &slot), WHP_CLOSING); /* no call is left inside */
    whp_slot_closed(&whp_partitions, slot);
    assert_int_equal(core.open, 0);
    return unit_teardown(state);
}

#define SHIM_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static HRESULT allocate(const void *descriptor, UINT32 size, HANDLE *out)
{
    return WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, descriptor, size, out);
}

static HANDLE empty_resource(void)
{
    HANDLE handle = NULL;

    assert_int_equal(allocate(NULL, 0, &handle), S_OK);
    return handle;
}

/* ------------------------------------------------------------------------------------ resources */

static void what_a_descriptor_says(void **state)
{
    WHVX_PCI_RESOURCE_DESCRIPTOR d = {.Segment = 7, .Bus = 0x80, .Device = 31, .Function = 7};
    HANDLE handle = NULL, none = (HANDLE)0x55;

    (void)state;
    assert_int_equal(allocate(&d, sizeof(d), &handle), S_OK);
    assert_int_equal(core.address.segment, 7);
    assert_int_equal(core.address.bdf, 0x80ff);
    assert_int_equal(core.flags, 0);
    assert_int_equal(WHvxCloseVpciResource(handle), S_OK);
    assert_int_equal(WHvxCloseVpciResource(handle), E_INVALIDARG);
    d.Flags = WHVX_PCI_RESOURCE_UNSAFE;
    assert_int_equal(allocate(&d, sizeof(d), &handle), S_OK);
    assert_int_equal(core.flags, HV_VPCI_UNSAFE);
    assert_int_equal(WHvxCloseVpciResource(handle), S_OK);
    handle = empty_resource();
    assert_false(core.has_address);
    assert_int_equal(WHvxCloseVpciResource(handle), S_OK);
    core.answer = HV_E_NOT_FOUND;
    assert_int_equal(allocate(&d, sizeof(d), &none), (HRESULT)0x80070490);
    core.answer = HV_E_NO_MEMORY;
    assert_int_equal(allocate(&d, sizeof(d), &none), E_OUTOFMEMORY);
    assert_ptr_equal(none, (void *)0x55);
}

static void handles_of_resources(void **state)
{
    static HANDLE handles[RESOURCES];
    HANDLE one_more = NULL;

    (void)state;
    for (unsigned i = 0; i < RESOURCES; i++)
        handles[i] = empty_resource();
    assert_int_equal(allocate(NULL, 0, &one_more), E_OUTOFMEMORY);
    assert_null(one_more);
    assert_int_equal(core.open, RESOURCES);
    assert_int_equal(WHvCreateVpciDevice(part, ID, handles[77], WHvCreateVpciDeviceFlagUseLogicalInterrupts, &core),
                     S_OK);
    assert_ptr_equal(core.resource, &resources[77]);
    assert_int_equal(core.flags, HV_VPCI_LOGICAL_INTERRUPTS);
    assert_ptr_equal(core.event, &core);
    for (unsigned i = 0; i < RESOURCES; i++)
        assert_int_equal(WHvxCloseVpciResource(handles[i]), S_OK);
    assert_int_equal(WHvCreateVpciDevice(part, ID, handles[77], WHvCreateVpciDeviceFlagNone, NULL), E_INVALIDARG);
    assert_int_equal(WHvCreateVpciDevice(handles[77], ID, handles[77], WHvCreateVpciDeviceFlagNone, NULL),
                     E_INVALIDARG);
    assert_int_equal(core.calls, 1);
}

/* -------------------------------------------------------------------------------------- results */

static void results_of_creation(void **state)
{
    static const struct {
        enum hv_status st;
        uint32_t wanted;
    } rows[] = {
        {HV_E_NOT_PRESENT, 0xc0350008}, {HV_E_ACCESS_DENIED, 0xc0350008}, {HV_E_CONFLICT, 0xc0350005},
        {HV_E_INVALID, 0x80070057},     {HV_E_NO_MEMORY, 0x8007000e},     {HV_E_UNSUPPORTED, 0x80070032},
        {HV_E_STATE, 0xc0350007},
    };
    HANDLE handle = empty_resource();

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        core.answer = rows[i].st;
        assert_int_equal((uint32_t)WHvCreateVpciDevice(part, ID, handle, WHvCreateVpciDeviceFlagNone, NULL),
                         rows[i].wanted);
    }
    assert_int_equal(WHvxCloseVpciResource(handle), S_OK);
}

static void devices_that_are_not_there(void **state)
{
    const WHV_VPCI_DEVICE_REGISTER reg = {WHvVpciBar0, 4, 0};
    const WHV_VPCI_INTERRUPT_TARGET target = {.Vector = 0x40, .ProcessorCount = 1};
    WHV_VPCI_MMIO_MAPPING *mappings = NULL;
    const HRESULT no_device = (HRESULT)0xc0350057;
    uint8_t b[64];
    UINT64 address;
    UINT32 n = 99;

    (void)state;
    core.answer = HV_E_DEVICE;
    assert_int_equal(WHvDeleteVpciDevice(part, ID), no_device);
    assert_int_equal(WHvGetVpciDeviceProperty(part, ID, WHvVpciDevicePropertyCodeHardwareIDs, b, 12, &n), no_device);
    assert_int_equal(WHvGetVpciDeviceNotification(part, ID, (WHV_VPCI_DEVICE_NOTIFICATION *)b, 16), no_device);
    assert_int_equal(WHvMapVpciDeviceMmioRanges(part, ID, &n, &mappings), no_device);
    assert_int_equal(WHvUnmapVpciDeviceMmioRanges(part, ID), no_device);
    assert_int_equal(WHvSetVpciDevicePowerState(part, ID, PowerDeviceD0), no_device);
    assert_int_equal(WHvReadVpciDeviceRegister(part, ID, &reg, b), no_device);
    assert_int_equal(WHvWriteVpciDeviceRegister(part, ID, &reg, b), no_device);
    assert_int_equal(WHvMapVpciDeviceInterrupt(part, ID, 0, 1, &target, &address, &n), no_device);
    assert_int_equal(WHvUnmapVpciDeviceInterrupt(part, ID, 0), no_device);
    assert_int_equal(WHvRetargetVpciDeviceInterrupt(part, ID, 0, 0, &target), no_device);
    assert_int_equal(WHvRequestVpciDeviceInterrupt(part, ID, 0, 0), no_device);
    assert_int_equal(WHvGetVpciDeviceInterruptTarget(part, ID, 0, 0, NULL, 0, &n), no_device);
    assert_int_equal(n, 99); /* nothing is written */
    assert_null(mappings);
    core.answer = HV_E_STATE; /* out of D0 */
    assert_int_equal(WHvMapVpciDeviceMmioRanges(part, ID, &n, &mappings), (HRESULT)0xc0350008);
    assert_int_equal(WHvReadVpciDeviceRegister(part, ID, &reg, b), (HRESULT)0xc0350008);
    assert_int_equal(WHvWriteVpciDeviceRegister(part, ID, &reg, b), (HRESULT)0xc0350008);
    assert_int_equal(WHvRequestVpciDeviceInterrupt(part, ID, 0, 0), (HRESULT)0xc0350008);
    core.answer = HV_E_INVALID;
    assert_int_equal(WHvRequestVpciDeviceInterrupt(part, ID, 0, 0), (HRESULT)0xc0350005);
}

/* ------------------------------------------------------------------------------------- contents */

static void properties(void **state)
{
    WHV_VPCI_HARDWARE_IDS ids;
    WHV_VPCI_PROBED_BARS bars;
    uint8_t small[24];
    UINT32 n = 0;

    (void)state;
    assert_int_equal(WHvGetVpciDeviceProperty(part, ID, WHvVpciDevicePropertyCodeHardwareIDs, &ids, sizeof(ids), &n),
                     S_OK);
    assert_int_equal(n, 12);
    assert_int_equal(ids.VendorID, 1);
    assert_int_equal(ids.RevisionID, 3);
    assert_int_equal(ids.ProgIf, 4);
    assert_int_equal(ids.SubClass, 5);
    assert_int_equal(ids.BaseClass, 6);
    assert_int_equal(ids.SubVendorID, 7);
    assert_int_equal(ids.SubSystemID, 8);
    assert_int_equal(WHvGetVpciDeviceProperty(part, ID, WHvVpciDevicePropertyCodeProbedBARs, &bars, 100, &n), S_OK);
    assert_int_equal(n, 24);
    assert_int_equal(bars.Value[5], 0xfff5);
    memset(small, 0x77, sizeof(small));
    assert_int_equal(WHvGetVpciDeviceProperty(part, ID, WHvVpciDevicePropertyCodeProbedBARs, small, 23, &n),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(n, 24);
    assert_int_equal(small[0], 0x77);
    assert_int_equal(WHvGetVpciDeviceProperty(part, ID, WHvVpciDevicePropertyCodeHardwareIDs, NULL, 0, &n),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(n, 12);
}

static void notifications_ranges_power(void **state)
{
    WHV_VPCI_DEVICE_NOTIFICATION notice;
    WHV_VPCI_MMIO_MAPPING *mappings;
    UINT32 n;

    (void)state;
    memset(&notice, 0xff, sizeof(notice));
    core.notification = HV_VPCI_NOTIFY_REMOVAL;
    assert_int_equal(WHvGetVpciDeviceNotification(part, ID, &notice, sizeof(notice)), S_OK);
    assert_int_equal(notice.NotificationType, WHvVpciDeviceNotificationSurpriseRemoval);
    assert_int_equal(notice.Reserved1, 0);
    assert_int_equal(notice.Reserved2, 0);
    ranges[2] = (struct hv_vpci_range){5, 3, 0x1000, 0x2000, &notice};
    assert_int_equal(WHvMapVpciDeviceMmioRanges(part, ID, &n, &mappings), S_OK);
    assert_int_equal(n, 3);
    assert_int_equal(mappings[2].Location, WHvVpciBar5);
    assert_int_equal(mappings[2].Flags, WHvVpciMmioRangeFlagReadAccess | WHvVpciMmioRangeFlagWriteAccess);
    assert_int_equal(mappings[2].SizeInBytes, 0x1000);
    assert_int_equal(mappings[2].OffsetInBytes, 0x2000);
    assert_ptr_equal(mappings[2].VirtualAddress, &notice);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(WHvSetVpciDevicePowerState(part, ID, (DEVICE_POWER_STATE)(PowerDeviceD0 + i)), S_OK);
        assert_int_equal(core.flags, i);
    }
}

static void registers(void **state)
{
    const WHV_VPCI_DEVICE_REGISTER config = {WHvVpciConfigSpace, 2, 0x104}, bar = {WHvVpciBar3, 8, 0x123456789a0};
    uint64_t value = 0;

    (void)state;
    assert_int_equal(WHvReadVpciDeviceRegister(part, ID, &config, &value), S_OK);
    assert_int_equal(value, 0xabab);
    assert_int_equal(core.space, HV_VPCI_CONFIG);
    assert_int_equal(core.offset, 0x104);
    value = 0x1122334455667788;
    assert_int_equal(WHvWriteVpciDeviceRegister(part, ID, &bar, &value), S_OK);
    assert_int_equal(core.space, 3);
    assert_int_equal(core.size, 8);
    assert_true(core.offset == 0x123456789a0 && core.message.address == value);
}

static void interrupts(void **state)
{
    static struct {
        WHV_VPCI_INTERRUPT_TARGET head;
        UINT32 more[64];
    } target, got;
    UINT64 address = 0;
    UINT32 data = 0, n = 0;

    (void)state;
    target.head = (WHV_VPCI_INTERRUPT_TARGET){0xfe, WHvVpciInterruptTargetFlagMulticast, 64, {63}};
    for (UINT32 i = 0; i < 63; i++)
        target.more[i] = i;
    target.more[63] = 1000; /* not looked at */
    assert_int_equal(WHvMapVpciDeviceInterrupt(part, ID, 65535, 32, &target.head, &address, &data), S_OK);
    assert_int_equal(address, 0xfee12345);
    assert_int_equal(data, 0x6789);
    assert_int_equal(core.index, 65535);
    assert_int_equal(core.count, 32);
    assert_true(core.target.vps == ~0ull && core.target.is_multicast && core.target.vector == 0xfe);
    assert_int_equal(WHvGetVpciDeviceInterruptTarget(part, ID, 3, 31, &got.head, sizeof(got), &n), S_OK);
    assert_int_equal(n, 12 + 4 * 64);
    assert_int_equal(got.head.ProcessorCount, 64);
    assert_int_equal(got.head.Processors[0], 0);
    assert_int_equal(got.more[62], 63);
    assert_int_equal(got.more[63], 0); /* not a byte more */
    assert_int_equal(WHvGetVpciDeviceInterruptTarget(part, ID, 3, 31, &got.head, 12 + 4 * 64 - 1, &n),
                     WHV_E_INSUFFICIENT_BUFFER);
    target.head.ProcessorCount = 2;
    target.head.Flags = WHvVpciInterruptTargetFlagNone;
    target.more[0] = 63; /* twice the same */
    assert_int_equal(WHvRetargetVpciDeviceInterrupt(part, ID, 0xfee00018, 5, &target.head), S_OK);
    assert_true(core.target.vps == 1ull << 63 && !core.target.is_multicast);
    assert_int_equal(core.message.address, 0xfee00018);
    assert_int_equal(core.message.data, 5);
    assert_int_equal(WHvUnmapVpciDeviceInterrupt(part, ID, 12), S_OK);
    assert_int_equal(core.index, 12);
    assert_int_equal(WHvRequestVpciDeviceInterrupt(part, ID, ~0ull, ~0u), S_OK);
    assert_true(core.message.address == ~0ull && core.message.data == ~0u);
}

/* The core hears of none of these. */
static void bad_targets(void **state)
{
    static const WHV_VPCI_INTERRUPT_TARGET bad[] = {
        {.Vector = 256, .ProcessorCount = 1},
        {.Vector = 0x140, .ProcessorCount = 1},
        {.Vector = 0x40},
        {.Vector = 0x40, .ProcessorCount = 65},
        {.Vector = 0x40, .ProcessorCount = ~0u},
        {.Vector = 0x40, .ProcessorCount = 1, .Processors = {64}},
        {.Vector = 0x40, .ProcessorCount = 1, .Processors = {~0u}},
        {.Vector = 0x40, .Flags = (WHV_VPCI_INTERRUPT_TARGET_FLAGS)3, .ProcessorCount = 1},
    };
    static struct {
        WHV_VPCI_INTERRUPT_TARGET head;
        UINT32 more[100];
    } too_many = {.head.Vector = 0x40}; /* all for VP 0 */
    UINT64 address;
    UINT32 data;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(WHvMapVpciDeviceInterrupt(part, ID, 0, 1, &bad[i], &address, &data), E_INVALIDARG);
        assert_int_equal(WHvRetargetVpciDeviceInterrupt(part, ID, 0, 0, &bad[i]), E_INVALIDARG);
    }
    for (too_many.head.ProcessorCount = 65; too_many.head.ProcessorCount < 100; too_many.head.ProcessorCount++)
        assert_int_equal(WHvRetargetVpciDeviceInterrupt(part, ID, 0, 0, &too_many.head), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHIM_TEST(what_a_descriptor_says),
        SHIM_TEST(handles_of_resources),
        SHIM_TEST(results_of_creation),
        SHIM_TEST(devices_that_are_not_there),
        SHIM_TEST(properties),
        SHIM_TEST(notifications_ranges_power),
        SHIM_TEST(registers),
        SHIM_TEST(interrupts),
        SHIM_TEST(bad_targets),
    };

    return cmocka_run_group_tests_name("whp_vpci", tests, NULL, NULL);
}
