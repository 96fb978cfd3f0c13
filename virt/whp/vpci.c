/* SPDX-License-Identifier: MIT */
/* Virtual PCI: devices of a partition, and resources, which belong to none. */
#include "call.h"
#include <hv/pci.h>
#include <whp/WinHvExtensions.h>

#define RESOURCES_MAX 4096

static struct whp_slot slots[RESOURCES_MAX] __attribute__((aligned(64)));

static struct whp_free resource_rest;
static const struct whp_table resources = {
    .tag = WHP_TAG_RESOURCE, .size = RESOURCES_MAX, .slots = slots, .rest = &resource_rest};

/* ------------------------------------------------------------------------------------ resources */

_Static_assert(sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR) == 12, "WHVX_PCI_RESOURCE_DESCRIPTOR");
_Static_assert(sizeof(WHV_SRIOV_RESOURCE_DESCRIPTOR) == 412, "WHV_SRIOV_RESOURCE_DESCRIPTOR");

/* False: no such thing in any machine, or unknown flags. */
static bool to_address(const WHVX_PCI_RESOURCE_DESCRIPTOR *from, struct hv_pci_address *address)
{
    for (unsigned i = 0; i < sizeof(from->Reserved); i++)
        if (from->Reserved[i])
            return false;
    *address = (struct hv_pci_address){
        .segment = from->Segment,
        .bdf = HV_PCI_BDF(from->Bus, from->Device, from->Function),
    };
    return !(from->Flags & ~WHVX_PCI_RESOURCE_UNSAFE) && from->Device < 32 && from->Function < 8;
}

static HRESULT open_function(const void *descriptor, struct hv_vpci_resource **resource)
{
    WHVX_PCI_RESOURCE_DESCRIPTOR copy;
    struct hv_pci_address address;

    __builtin_memcpy(&copy, descriptor, sizeof(copy));
    if (!to_address(&copy, &address))
        return E_INVALIDARG;
    return whp_result(
        hv_vpci_resource_open(&address, copy.Flags == WHVX_PCI_RESOURCE_UNSAFE ? HV_VPCI_UNSAFE : 0, resource));
}

static HRESULT open_resource(const void *descriptor, UINT32 size, struct hv_vpci_resource **resource)
{
    if (!descriptor)
        return size ? E_INVALIDARG : whp_result(hv_vpci_resource_open(NULL, 0, resource));
    if (size == sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR))
        return open_function(descriptor, resource);
    return size == sizeof(WHV_SRIOV_RESOURCE_DESCRIPTOR) ? HRESULT_FROM_WIN32(ERROR_NOT_FOUND) : E_INVALIDARG;
}

HRESULT WHVAPI WHvAllocateVpciResource(const GUID *ProviderId, WHV_ALLOCATE_VPCI_RESOURCE_FLAGS Flags,
                                       const VOID *ResourceDescriptor, UINT32 ResourceDescriptorSizeInBytes,
                                       HANDLE *VpciResource)
{
    struct hv_vpci_resource *resource;
    HANDLE handle;
    HRESULT hr;

    if (ProviderId || (unsigned)Flags & ~WHvAllocateVpciResourceFlagAllowDirectP2P || !VpciResource)
        return E_INVALIDARG;
    hr = open_resource(ResourceDescriptor, ResourceDescriptorSizeInBytes, &resource);
    if (FAILED(hr))
        return hr;
    handle = whp_handle_open(&resources, resource);
    if (!handle) {
        hv_vpci_resource_close(resource);
        return E_OUTOFMEMORY;
    }
    PUT(VpciResource, handle);
    return S_OK;
}

HRESULT WHVAPI WHvxCloseVpciResource(HANDLE VpciResource)
{
    struct whp_slot *slot;

    if (whp_handle_close(&resources, VpciResource, &slot) != WHP_CLOSING)
        return E_INVALIDARG;
    hv_vpci_resource_close(slot->object);
    whp_slot_closed(&resources, slot);
    return S_OK;
}

/* -------------------------------------------------------------------------------------- devices */

#define CREATE_FLAGS (WHvCreateVpciDeviceFlagPhysicallyBacked | WHvCreateVpciDeviceFlagUseLogicalInterrupts)

_Static_assert(HV_VPCI_PHYSICAL == WHvCreateVpciDeviceFlagPhysicallyBacked &&
                   HV_VPCI_LOGICAL_INTERRUPTS == WHvCreateVpciDeviceFlagUseLogicalInterrupts,
               "WHV_CREATE_VPCI_DEVICE_FLAGS");

HRESULT WHVAPI WHvCreateVpciDevice(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, HANDLE VpciResource,
                                   WHV_CREATE_VPCI_DEVICE_FLAGS Flags, HANDLE NotificationEventHandle)
{
    struct whp_slot *in, *resource;
    HRESULT hr = E_INVALIDARG;

    if ((unsigned)Flags & ~CREATE_FLAGS)
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    resource = whp_handle_acquire(&resources, VpciResource, WHP_USE_CALL);
    if (resource) {
        hr = whp_result_of(WHP_VPCI_CREATE, hv_vpci_create(in->object, LogicalDeviceId, resource->object,
                                                           (uint32_t)Flags, NotificationEventHandle));
        whp_slot_release(resource, WHP_USE_CALL);
    }
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvDeleteVpciDevice(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vpci_delete(in->object, LogicalDeviceId));
    partition_leave(in);
    return hr;
}

/* The native structures are the API's. */
_Static_assert(sizeof(struct hv_vpci_ids) == sizeof(WHV_VPCI_HARDWARE_IDS) &&
                   offsetof(struct hv_vpci_ids, base_class) == offsetof(WHV_VPCI_HARDWARE_IDS, BaseClass) &&
                   offsetof(struct hv_vpci_ids, sub_system) == offsetof(WHV_VPCI_HARDWARE_IDS, SubSystemID),
               "WHV_VPCI_HARDWARE_IDS");
_Static_assert(sizeof(struct hv_vpci_range) == sizeof(WHV_VPCI_MMIO_MAPPING) &&
                   offsetof(struct hv_vpci_range, flags) == offsetof(WHV_VPCI_MMIO_MAPPING, Flags) &&
                   offsetof(struct hv_vpci_range, size) == offsetof(WHV_VPCI_MMIO_MAPPING, SizeInBytes) &&
                   offsetof(struct hv_vpci_range, offset) == offsetof(WHV_VPCI_MMIO_MAPPING, OffsetInBytes) &&
                   offsetof(struct hv_vpci_range, memory) == offsetof(WHV_VPCI_MMIO_MAPPING, VirtualAddress),
               "WHV_VPCI_MMIO_MAPPING");

union property {
    struct hv_vpci_ids ids;
    uint32_t bars[6];
};

static enum hv_status get_ids(struct hv_partition *p, uint64_t id, union property *out)
{
    return hv_vpci_ids(p, id, &out->ids);
}

static enum hv_status get_bars(struct hv_partition *p, uint64_t id, union property *out)
{
    return hv_vpci_probed_bars(p, id, out->bars);
}

static const struct {
    enum hv_status (*get)(struct hv_partition *p, uint64_t id, union property *out);
    uint32_t size;
} properties[] = {
    [WHvVpciDevicePropertyCodeHardwareIDs] = {get_ids, sizeof(WHV_VPCI_HARDWARE_IDS)},
    [WHvVpciDevicePropertyCodeProbedBARs] = {get_bars, sizeof(WHV_VPCI_PROBED_BARS)},
};

HRESULT WHVAPI WHvGetVpciDeviceProperty(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                        WHV_VPCI_DEVICE_PROPERTY_CODE PropertyCode, VOID *PropertyBuffer,
                                        UINT32 PropertyBufferSizeInBytes, UINT32 *WrittenSizeInBytes)
{
    unsigned code = (unsigned)PropertyCode;
    union property value;
    struct whp_slot *in;
    enum hv_status st;

    if (!is_buffer(PropertyBuffer, PropertyBufferSizeInBytes))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    if (code >= sizeof(properties) / sizeof(properties[0]) || !properties[code].get) {
        partition_leave(in);
        return WHV_E_UNKNOWN_PROPERTY;
    }
    st = properties[code].get(in->object, LogicalDeviceId, &value);
    partition_leave(in);
    if (st == HV_OK && PropertyBufferSizeInBytes < properties[code].size)
        st = HV_E_BUFFER_TOO_SMALL;
    if (st == HV_OK)
        __builtin_memcpy(PropertyBuffer, &value, properties[code].size);
    put_count(WrittenSizeInBytes, st, properties[code].size);
    return whp_result(st);
}

_Static_assert(HV_VPCI_NOTIFY_NONE == (int)WHvVpciDeviceNotificationUndefined &&
                   HV_VPCI_NOTIFY_MMIO == (int)WHvVpciDeviceNotificationMmioRemapping &&
                   HV_VPCI_NOTIFY_REMOVAL == (int)WHvVpciDeviceNotificationSurpriseRemoval,
               "WHV_VPCI_DEVICE_NOTIFICATION_TYPE");

HRESULT WHVAPI WHvGetVpciDeviceNotification(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                            WHV_VPCI_DEVICE_NOTIFICATION *Notification, UINT32 NotificationSizeInBytes)
{
    WHV_VPCI_DEVICE_NOTIFICATION out = {.Reserved1 = 0};
    enum hv_vpci_notification type = HV_VPCI_NOTIFY_NONE;
    struct whp_slot *in;
    enum hv_status st;

    if (!Notification)
        return E_INVALIDARG;
    if (NotificationSizeInBytes < sizeof(out))
        return WHV_E_INSUFFICIENT_BUFFER;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    st = hv_vpci_notification(in->object, LogicalDeviceId, &type);
    partition_leave(in);
    out.NotificationType = (WHV_VPCI_DEVICE_NOTIFICATION_TYPE)type;
    if (st == HV_OK)
        PUT(Notification, out);
    return whp_result(st);
}

HRESULT WHVAPI WHvMapVpciDeviceMmioRanges(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 *MappingCount,
                                          WHV_VPCI_MMIO_MAPPING **Mappings)
{
    struct hv_vpci_range *ranges = NULL;
    WHV_VPCI_MMIO_MAPPING *mappings;
    struct whp_slot *in;
    uint32_t count = 0;
    enum hv_status st;

    if (!MappingCount || !Mappings)
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    st = hv_vpci_map(in->object, LogicalDeviceId, &ranges, &count);
    partition_leave(in);
    if (st == HV_OK) {
        PUT(MappingCount, count);
        mappings = (WHV_VPCI_MMIO_MAPPING *)ranges;
        __builtin_memcpy(Mappings, &mappings, sizeof(void *));
    }
    return whp_result_of(WHP_VPCI_POWERED, st);
}

HRESULT WHVAPI WHvUnmapVpciDeviceMmioRanges(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vpci_unmap(in->object, LogicalDeviceId));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvSetVpciDevicePowerState(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                          DEVICE_POWER_STATE PowerState)
{
    struct whp_slot *in;
    HRESULT hr;

    if (PowerState < PowerDeviceD0 || PowerState > PowerDeviceD3)
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vpci_set_power(in->object, LogicalDeviceId, (uint32_t)PowerState - PowerDeviceD0));
    partition_leave(in);
    return hr;
}

_Static_assert(HV_VPCI_CONFIG == (uint32_t)WHvVpciConfigSpace, "WHV_VPCI_DEVICE_REGISTER_SPACE");

HRESULT WHVAPI WHvReadVpciDeviceRegister(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                         const WHV_VPCI_DEVICE_REGISTER *Register, VOID *Data)
{
    WHV_VPCI_DEVICE_REGISTER copy;
    struct whp_slot *in;
    HRESULT hr;

    if (!Register || !Data)
        return E_INVALIDARG;
    __builtin_memcpy(&copy, Register, sizeof(copy));
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result_of(WHP_VPCI_POWERED, hv_vpci_read(in->object, LogicalDeviceId, (uint32_t)copy.Location,
                                                      copy.OffsetInBytes, copy.SizeInBytes, Data));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvWriteVpciDeviceRegister(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                          const WHV_VPCI_DEVICE_REGISTER *Register, const VOID *Data)
{
    WHV_VPCI_DEVICE_REGISTER copy;
    struct whp_slot *in;
    HRESULT hr;

    if (!Register || !Data)
        return E_INVALIDARG;
    __builtin_memcpy(&copy, Register, sizeof(copy));
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result_of(WHP_VPCI_POWERED, hv_vpci_write(in->object, LogicalDeviceId, (uint32_t)copy.Location,
                                                       copy.OffsetInBytes, copy.SizeInBytes, Data));
    partition_leave(in);
    return hr;
}

/* ----------------------------------------------------------------------------------- interrupts */

#define VPS_MAX (8 * sizeof(uint64_t))

#define TARGET_SIZE(count) \
    ((uint32_t)offsetof(WHV_VPCI_INTERRUPT_TARGET, Processors) + (count) * (uint32_t)sizeof(UINT32))

/* A count is read once, and then so many indexes. False: vectors, flags or VPs that no partition has. */
static bool to_target(const WHV_VPCI_INTERRUPT_TARGET *from, struct hv_vpci_target *to)
{
    WHV_VPCI_INTERRUPT_TARGET head;

    __builtin_memcpy(&head, from, TARGET_SIZE(0));
    *to = (struct hv_vpci_target){
        .vector = (uint8_t)head.Vector,
        .is_multicast = head.Flags == WHvVpciInterruptTargetFlagMulticast,
    };
    if (head.Vector > UINT8_MAX || (unsigned)head.Flags & ~WHvVpciInterruptTargetFlagMulticast ||
        head.ProcessorCount > VPS_MAX)
        return false;
    for (uint32_t i = 0; i < head.ProcessorCount; i++) {
        UINT32 index;

        __builtin_memcpy(&index, (const char *)from + TARGET_SIZE(i), sizeof(index));
        if (index >= VPS_MAX)
            return false;
        to->vps |= 1ull << index;
    }
    return to->vps;
}

HRESULT WHVAPI WHvMapVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 Index,
                                         UINT32 MessageCount, const WHV_VPCI_INTERRUPT_TARGET *Target,
                                         UINT64 *MsiAddress, UINT32 *MsiData)
{
    struct hv_msi_message message;
    struct hv_vpci_target target;
    struct whp_slot *in;
    enum hv_status st;

    if (!Target || !MsiAddress || !MsiData || !to_target(Target, &target))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    st = hv_vpci_map_interrupt(in->object, LogicalDeviceId, Index, MessageCount, &target, &message);
    partition_leave(in);
    if (st == HV_OK) {
        PUT(MsiAddress, message.address);
        PUT(MsiData, message.data);
    }
    return whp_result(st);
}

HRESULT WHVAPI WHvUnmapVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 Index)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vpci_unmap_interrupt(in->object, LogicalDeviceId, Index));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvRetargetVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT64 MsiAddress,
                                              UINT32 MsiData, const WHV_VPCI_INTERRUPT_TARGET *Target)
{
    const struct hv_msi_message message = {MsiAddress, MsiData};
    struct hv_vpci_target target;
    struct whp_slot *in;
    HRESULT hr;

    if (!Target || !to_target(Target, &target))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result(hv_vpci_retarget(in->object, LogicalDeviceId, &message, &target));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvRequestVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT64 MsiAddress,
                                             UINT32 MsiData)
{
    const struct hv_msi_message message = {MsiAddress, MsiData};
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result_of(WHP_VPCI_REQUEST, hv_vpci_request(in->object, LogicalDeviceId, &message));
    partition_leave(in);
    return hr;
}

/* The VPs in ascending order. */
static void put_target(WHV_VPCI_INTERRUPT_TARGET *to, const struct hv_vpci_target *target)
{
    WHV_VPCI_INTERRUPT_TARGET head = {
        .Vector = target->vector,
        .Flags = target->is_multicast ? WHvVpciInterruptTargetFlagMulticast : WHvVpciInterruptTargetFlagNone,
        .ProcessorCount = (UINT32)__builtin_popcountll(target->vps),
    };
    uint64_t left = target->vps;

    __builtin_memcpy(to, &head, TARGET_SIZE(0));
    for (uint32_t i = 0; left; i++, left &= left - 1) {
        UINT32 index = (UINT32)__builtin_ctzll(left);

        __builtin_memcpy((char *)to + TARGET_SIZE(i), &index, sizeof(index));
    }
}

HRESULT WHVAPI WHvGetVpciDeviceInterruptTarget(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 Index,
                                               UINT32 MultiMessageNumber, WHV_VPCI_INTERRUPT_TARGET *Target,
                                               UINT32 TargetSizeInBytes, UINT32 *BytesWritten)
{
    struct hv_vpci_target target;
    uint32_t size = 0;
    struct whp_slot *in;
    enum hv_status st;

    if (!is_buffer(Target, TargetSizeInBytes))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    st = hv_vpci_interrupt_target(in->object, LogicalDeviceId, Index, MultiMessageNumber, &target);
    partition_leave(in);
    if (st == HV_OK) {
        size = TARGET_SIZE((uint32_t)__builtin_popcountll(target.vps));
        if (TargetSizeInBytes < size)
            st = HV_E_BUFFER_TOO_SMALL;
        else
            put_target(Target, &target);
    }
    put_count(BytesWritten, st, size);
    return whp_result(st);
}
