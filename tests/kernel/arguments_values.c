/* SPDX-License-Identifier: MIT */
/* Each function with each class of bad value, on a partition that is otherwise well: the documented HRESULT, and
 * nothing has changed. */
#include "arguments.h"
#include <kernel/event.h>
#include <kernel/memory.h>
#include <whp/WinHvDiagnostics.h>
#include <whp/WinHvEmulation.h>
#include <whp/WinHvExtensions.h>

#define RWX                 ((WHV_MAP_GPA_RANGE_FLAGS)VM_RWX)
#define FLAGS(n)            ((WHV_MAP_GPA_RANGE_FLAGS)(n))
#define CODE(n)             ((WHV_PARTITION_PROPERTY_CODE)(n))
#define TYPE(n)             ((WHV_VIRTUAL_PROCESSOR_STATE_TYPE)(n))
#define NAME(n)             ((WHV_REGISTER_NAME)(n))
#define DESTINATION_MODE(n) ((WHV_INTERRUPT_DESTINATION_MODE)(n))
#define PHYSICAL            WHvX64InterruptDestinationModePhysical
#define NOWHERE             0x7fffff0000ull /* a guest-physical address without memory */
#define BEYOND              (1ull << 52)

static uint8_t b[PAGE_SIZE] __attribute__((aligned(64))); /* whatever a call may fill */
static WHV_RUN_VP_EXIT_CONTEXT exit_context;
static WHV_REGISTER_VALUE values[4];
static UINT32 count;
static UINT64 gpa;
static UINT64 *const words = (UINT64 *)b;
static UINT32 targets[8];
static WHV_TRANSLATE_GVA_RESULT translation;

static const WHV_REGISTER_NAME good_name = WHvX64RegisterRax;
static const WHV_REGISTER_NAME bad_names[] = {WHvX64RegisterRax, NAME(0x7777), WHvX64RegisterRcx};
static const WHV_REGISTER_VALUE odd_value = {.Reg64 = 0x12345678};
static const UINT64 all_ones = ~0ull;
static const UINT32 one = 1;
static const WHV_INTERRUPT_CONTROL good_interrupt = {.Vector = 0x40};
static const WHV_INTERRUPT_CONTROL bad_destination = {.DestinationMode = 2, .Vector = 0x40};
static const WHV_INTERRUPT_CONTROL bad_trigger = {.TriggerMode = 2, .Vector = 0x40};
static const WHV_INTERRUPT_CONTROL bad_vtl = {.TargetVtl = 1, .Vector = 0x40};
static const WHV_INTERRUPT_CONTROL bad_reserved = {.Reserved = 1, .Vector = 0x40};
static const UINT32 zero;
static const WHV_SYNIC_EVENT_PARAMETERS good_event = {.TargetSint = 15, .FlagNumber = 2047};
static const WHV_SYNIC_EVENT_PARAMETERS sint_16 = {.TargetSint = 16};
static const WHV_SYNIC_EVENT_PARAMETERS flag_2048 = {.FlagNumber = 2048};
static const WHV_SYNIC_EVENT_PARAMETERS event_vtl = {.TargetVtl = 1};
static const WHV_ACCESS_GPA_CONTROLS write_back = {.CacheType = WHvCacheTypeWriteBack};
static const WHV_ACCESS_GPA_CONTROLS bad_cache = {.CacheType = (WHV_CACHE_TYPE)3};
static const WHV_ACCESS_GPA_CONTROLS other_vtl = {.CacheType = WHvCacheTypeWriteBack,
                                                  .InputVtl = {.TargetVtl = 1, .UseTargetVtl = 1}};
static const WHV_VIRTUAL_PROCESSOR_PROPERTY bad_vp_property = {.PropertyCode = (WHV_VIRTUAL_PROCESSOR_PROPERTY_CODE)7};
static const WHV_MSR_ACTION_ENTRY bad_action = {.Index = 1, .ReadAction = 9};
static const WHV_EMULATOR_CALLBACKS no_callbacks = {.Size = sizeof(no_callbacks)};
static const WHV_X64_IO_PORT_ACCESS_CONTEXT good_io = {.AccessInfo = {.AccessSize = 1}};
static WHV_EMULATOR_HANDLE emulator;
static WHV_EMULATOR_STATUS emulator_status;
static WHVX_PCI_DEVICE pci_device;

/* Of devices: a software device, with the number DEVICE, for the length of one call. */
#define DEVICE               77ull
#define NO_DEVICE            ERROR_HV_INVALID_DEVICE_ID
#define ON(p, call_)         (device_begin(p, 0), device_end(p, call_))
#define ON_LOGICAL(p, call_) (device_begin(p, WHvCreateVpciDeviceFlagUseLogicalInterrupts), device_end(p, call_))
#define FUNCTION(...)        (&(const WHVX_PCI_RESOURCE_DESCRIPTOR){__VA_ARGS__})
#define REGISTER(...)        (&(const WHV_VPCI_DEVICE_REGISTER){__VA_ARGS__})
#define TARGET(...)          (&(const WHV_VPCI_INTERRUPT_TARGET){__VA_ARGS__})
#define TO_VP0               TARGET(.Vector = 0x40, .ProcessorCount = 1)
#define CREATE_FLAGS(n)      ((WHV_CREATE_VPCI_DEVICE_FLAGS)(n))
#define PLAIN_MSI            0xfee00000u

static HANDLE resource;
static UINT64 msi_address;
static UINT32 msi_data;
static WHV_VPCI_MMIO_MAPPING *mappings;

static void device_begin(WHV_PARTITION_HANDLE p, unsigned flags)
{
    EXPECT_OK(WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, NULL, 0, &resource));
    EXPECT_OK(WHvCreateVpciDevice(p, DEVICE, resource, CREATE_FLAGS(flags), NULL));
}

static HRESULT device_end(WHV_PARTITION_HANDLE p, HRESULT hr)
{
    EXPECT_OK(WHvDeleteVpciDevice(p, DEVICE));
    EXPECT_OK(WHvxCloseVpciResource(resource));
    return hr;
}

static HRESULT allocate(const void *descriptor, UINT32 size)
{
    return WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, descriptor, size, &resource);
}

static HRESULT create_device(WHV_PARTITION_HANDLE p, unsigned flags, HANDLE event)
{
    HRESULT hr;

    EXPECT_OK(allocate(NULL, 0));
    hr = WHvCreateVpciDevice(p, DEVICE, resource, CREATE_FLAGS(flags), event);
    EXPECT_OK(WHvxCloseVpciResource(resource));
    return hr;
}

static HRESULT map_interrupt(WHV_PARTITION_HANDLE p, UINT32 index, UINT32 messages,
                             const WHV_VPCI_INTERRUPT_TARGET *target)
{
    return ON(p, WHvMapVpciDeviceInterrupt(p, DEVICE, index, messages, target, &msi_address, &msi_data));
}

/* Of triggers and ports: here, so that a row is one call. */
#define TRIGGER(...)  (&(const WHV_TRIGGER_PARAMETERS){__VA_ARGS__})
#define OF_EVENT(...) .TriggerType = WHvTriggerTypeSynicEvent, .SynicEvent = {__VA_ARGS__}
#define PORT(...)     (&(const WHV_NOTIFICATION_PORT_PARAMETERS){__VA_ARGS__})
#define ON_CALL(id)   .NotificationPortType = WHvNotificationPortTypeEvent, .Event = {id}
#define ON_WRITE(...) .NotificationPortType = WHvNotificationPortTypeDoorbell, .Doorbell = {__VA_ARGS__}

static HANDLE event_handle;
static WHV_TRIGGER_HANDLE trigger_handle;
static WHV_NOTIFICATION_PORT_HANDLE port_handle;

/* What an update of a good trigger to these says. */
static HRESULT update_trigger(WHV_PARTITION_HANDLE p, const WHV_TRIGGER_PARAMETERS *parameters)
{
    HRESULT hr;

    EXPECT_OK(WHvCreateTrigger(p, TRIGGER(OF_EVENT(.VpIndex = 0)), &trigger_handle, &event_handle));
    hr = WHvUpdateTriggerParameters(p, parameters, trigger_handle);
    EXPECT_OK(WHvDeleteTrigger(p, trigger_handle));
    EXPECT(event_close(event_handle));
    return hr;
}

static HRESULT create_port(WHV_PARTITION_HANDLE p, const WHV_NOTIFICATION_PORT_PARAMETERS *parameters)
{
    HRESULT hr;

    event_handle = event_create(EVENT_AUTO);
    hr = WHvCreateNotificationPort(p, parameters, event_handle, &port_handle);
    EXPECT(event_close(event_handle));
    return hr;
}

/* The same for two ports, one after the other. */
static HRESULT create_ports(WHV_PARTITION_HANDLE p, const WHV_NOTIFICATION_PORT_PARAMETERS *parameters)
{
    WHV_NOTIFICATION_PORT_HANDLE first;
    HRESULT hr;

    EXPECT_OK(create_port(p, parameters));
    first = port_handle;
    hr = create_port(p, parameters);
    EXPECT_OK(WHvDeleteNotificationPort(p, first));
    return hr;
}

static HRESULT set_port_property(WHV_PARTITION_HANDLE p, int code, UINT64 value)
{
    HRESULT hr;

    EXPECT_OK(create_port(p, PORT(ON_CALL(1))));
    hr = WHvSetNotificationPortProperty(p, port_handle, (WHV_NOTIFICATION_PORT_PROPERTY_CODE)code, value);
    EXPECT_OK(WHvDeleteNotificationPort(p, port_handle));
    return hr;
}

/* With an event that is one. */
static HRESULT with_event(HRESULT (*call)(WHV_PARTITION_HANDLE p, const WHV_DOORBELL_MATCH_DATA *match, HANDLE event),
                          WHV_PARTITION_HANDLE p, const WHV_DOORBELL_MATCH_DATA *match)
{
    void *event = event_create(EVENT_AUTO);
    HRESULT hr = call(p, match, event);

    event_close(event);
    return hr;
}

#define DOORBELL(p, ...) with_event(WHvRegisterPartitionDoorbellEvent, p, &(WHV_DOORBELL_MATCH_DATA){__VA_ARGS__})
#define PORT_DOORBELL(p, ...) \
    with_event(WHvxRegisterPartitionPortDoorbellEvent, p, &(WHV_DOORBELL_MATCH_DATA){__VA_ARGS__})
static const WHV_DOORBELL_MATCH_DATA good_match = {.GuestAddress = VM_DATA};

/* clang-format off */

/* id, function and argument, result, call with `p` for the partition */
#define BAD_CALLS(X) \
    X(cap1, "WHvGetCapability: no such code", WHV_E_UNKNOWN_CAPABILITY, WHvGetCapability((WHV_CAPABILITY_CODE)0x777, b, sizeof(b), &count)) \
    X(cap2, "WHvGetCapability: no buffer", E_INVALIDARG, WHvGetCapability(WHvCapabilityCodeFeatures, NULL, 8, &count)) \
    X(cap3, "WHvGetCapability: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvGetCapability(WHvCapabilityCodeFeatures, b, 7, &count)) \
    X(part1, "WHvCreatePartition: no place for the handle", E_INVALIDARG, WHvCreatePartition(NULL)) \
    X(get1, "WHvGetPartitionProperty: no such code", WHV_E_UNKNOWN_PROPERTY, WHvGetPartitionProperty(p, CODE(0x777), b, sizeof(b), &count)) \
    X(get2, "WHvGetPartitionProperty: no buffer", E_INVALIDARG, WHvGetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, NULL, 4, &count)) \
    X(get3, "WHvGetPartitionProperty: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvGetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, b, 3, &count)) \
    X(get4, "WHvGetPartitionProperty: a list", HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED), WHvGetPartitionProperty(p, WHvPartitionPropertyCodeCpuidExitList, b, sizeof(b), &count)) \
    X(get5, "WHvGetPartitionProperty: the other list", HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED), WHvGetPartitionProperty(p, WHvPartitionPropertyCodeCpuidResultList, b, sizeof(b), &count)) \
    X(set1, "WHvSetPartitionProperty: no such code", WHV_E_UNKNOWN_PROPERTY, WHvSetPartitionProperty(p, CODE(0x777), &one, 4)) \
    X(set2, "WHvSetPartitionProperty: no buffer", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeExtendedVmExits, NULL, 8)) \
    X(set3, "WHvSetPartitionProperty: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeExtendedVmExits, &one, 4)) \
    X(set4, "WHvSetPartitionProperty: bits that are not offered", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeExtendedVmExits, &all_ones, 8)) \
    X(set5, "WHvSetPartitionProperty: exceptions that are not offered", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeExceptionExitBitmap, &all_ones, 8)) \
    X(set6, "WHvSetPartitionProperty: MSR exits that are not offered", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeX64MsrExitBitmap, &all_ones, 8)) \
    X(set7, "WHvSetPartitionProperty: part of a list's element", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeCpuidExitList, b, 6)) \
    X(set8, "WHvSetPartitionProperty: a list without memory", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeCpuidExitList, NULL, 8)) \
    X(set9, "WHvSetPartitionProperty: fixed by set-up", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, &one, 4)) \
    X(set10, "WHvSetPartitionProperty: a list fixed by set-up", E_INVALIDARG, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeMsrActionList, &bad_action, sizeof(bad_action))) \
    X(count1, "WHvGetPartitionCounters: no such set", WHV_E_UNKNOWN_PROPERTY, WHvGetPartitionCounters(p, (WHV_PARTITION_COUNTER_SET)9, b, sizeof(b), &count)) \
    X(count2, "WHvGetPartitionCounters: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvGetPartitionCounters(p, WHvPartitionCounterSetMemory, b, 23, &count)) \
    X(count3, "WHvGetPartitionCounters: no buffer", E_INVALIDARG, WHvGetPartitionCounters(p, WHvPartitionCounterSetMemory, NULL, 24, &count)) \
    X(count4, "WHvGetVirtualProcessorCounters: no such set", WHV_E_UNKNOWN_PROPERTY, WHvGetVirtualProcessorCounters(p, 0, (WHV_PROCESSOR_COUNTER_SET)5, b, sizeof(b), &count)) \
    X(count5, "WHvGetVirtualProcessorCounters: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvGetVirtualProcessorCounters(p, 0, WHvProcessorCounterSetIntercepts, b, 223, &count)) \
    X(count6, "WHvGetVirtualProcessorCounters: no buffer", E_INVALIDARG, WHvGetVirtualProcessorCounters(p, 0, WHvProcessorCounterSetRuntime, NULL, 16, &count)) \
    X(map1, "WHvMapGpaRange: no memory", E_INVALIDARG, WHvMapGpaRange(p, NULL, VM_FREE, PAGE_SIZE, RWX)) \
    X(map2, "WHvMapGpaRange: source not aligned", E_INVALIDARG, WHvMapGpaRange(p, arguments_page + 8, VM_FREE, PAGE_SIZE, RWX)) \
    X(map3, "WHvMapGpaRange: guest address not aligned", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, VM_FREE + 8, PAGE_SIZE, RWX)) \
    X(map4, "WHvMapGpaRange: size not aligned", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, VM_FREE, PAGE_SIZE + 8, RWX)) \
    X(map5, "WHvMapGpaRange: size 0", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, VM_FREE, 0, RWX)) \
    X(map6, "WHvMapGpaRange: wraps at the end of guest addresses", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, ~0ull << 12, 2 * PAGE_SIZE, RWX)) \
    X(map7, "WHvMapGpaRange: wraps at the end of host addresses", E_INVALIDARG, WHvMapGpaRange(p, (void *)(~0ull << 12), VM_FREE, 2 * PAGE_SIZE, RWX)) \
    X(map8, "WHvMapGpaRange: size of all", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, 0, ~0ull << 12, RWX)) \
    X(map9, "WHvMapGpaRange: beyond physical addresses", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, BEYOND, PAGE_SIZE, RWX)) \
    X(map10, "WHvMapGpaRange: unknown flag", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, VM_FREE, PAGE_SIZE, FLAGS(0x10))) \
    X(map11, "WHvMapGpaRange: known and unknown flags", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, VM_FREE, PAGE_SIZE, FLAGS(0x80000007))) \
    X(map12, "WHvMapGpaRange: source is not memory", E_INVALIDARG, WHvMapGpaRange(p, (void *)0x1000, VM_FREE, PAGE_SIZE, RWX)) \
    X(map13, "WHvMapGpaRange: source address not canonical", E_INVALIDARG, WHvMapGpaRange(p, (void *)0x123456789abcd000, VM_FREE, PAGE_SIZE, RWX)) \
    X(map14, "WHvMapGpaRange2: another process", E_INVALIDARG, WHvMapGpaRange2(p, b, arguments_page, VM_FREE, PAGE_SIZE, RWX)) \
    X(map15, "WHvMapGpaRange2: no memory", E_INVALIDARG, WHvMapGpaRange2(p, NULL, NULL, VM_FREE, PAGE_SIZE, RWX)) \
    X(map16, "WHvMapGpaRange2: not aligned", E_INVALIDARG, WHvMapGpaRange2(p, NULL, arguments_page, VM_FREE + 1, PAGE_SIZE, RWX)) \
    X(unmap1, "WHvUnmapGpaRange: nothing there", WHV_E_GPA_RANGE_NOT_FOUND, WHvUnmapGpaRange(p, NOWHERE, PAGE_SIZE)) \
    X(unmap2, "WHvUnmapGpaRange: not aligned", E_INVALIDARG, WHvUnmapGpaRange(p, VM_FREE + 8, PAGE_SIZE)) \
    X(unmap3, "WHvUnmapGpaRange: size not aligned", E_INVALIDARG, WHvUnmapGpaRange(p, VM_FREE, 8)) \
    X(unmap4, "WHvUnmapGpaRange: size 0", E_INVALIDARG, WHvUnmapGpaRange(p, VM_FREE, 0)) \
    X(unmap5, "WHvUnmapGpaRange: wraps", E_INVALIDARG, WHvUnmapGpaRange(p, ~0ull << 12, 2 * PAGE_SIZE)) \
    X(unmap6, "WHvUnmapGpaRange: beyond physical addresses", E_INVALIDARG, WHvUnmapGpaRange(p, BEYOND, PAGE_SIZE)) \
    X(map17, "WHvMapGpaRange: tracked without any right", E_INVALIDARG, WHvMapGpaRange(p, arguments_page, VM_FREE, PAGE_SIZE, WHvMapGpaRangeFlagTrackDirtyPages)) \
    X(dirty1, "WHvQueryGpaRangeDirtyBitmap: not tracked", WHV_E_GPA_RANGE_NOT_FOUND, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE, words, 8)) \
    X(dirty2, "WHvQueryGpaRangeDirtyBitmap: nothing there", WHV_E_GPA_RANGE_NOT_FOUND, WHvQueryGpaRangeDirtyBitmap(p, NOWHERE, PAGE_SIZE, words, 8)) \
    X(dirty3, "WHvQueryGpaRangeDirtyBitmap: nothing there to clean", WHV_E_GPA_RANGE_NOT_FOUND, WHvQueryGpaRangeDirtyBitmap(p, NOWHERE, PAGE_SIZE, NULL, 0)) \
    X(dirty4, "WHvQueryGpaRangeDirtyBitmap: guest address not aligned", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE + 8, PAGE_SIZE, words, 8)) \
    X(dirty5, "WHvQueryGpaRangeDirtyBitmap: size not aligned", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE + 8, words, 8)) \
    X(dirty6, "WHvQueryGpaRangeDirtyBitmap: size 0", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, 0, words, 8)) \
    X(dirty7, "WHvQueryGpaRangeDirtyBitmap: wraps", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, ~0ull << 12, 2 * PAGE_SIZE, words, 8)) \
    X(dirty8, "WHvQueryGpaRangeDirtyBitmap: size of all", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, 0, ~0ull << 12, words, 8)) \
    X(dirty9, "WHvQueryGpaRangeDirtyBitmap: beyond physical addresses", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, BEYOND, PAGE_SIZE, words, 8)) \
    X(dirty10, "WHvQueryGpaRangeDirtyBitmap: bitmap not aligned", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE, (UINT64 *)(b + 4), 8)) \
    X(dirty11, "WHvQueryGpaRangeDirtyBitmap: part of a word", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE, words, 12)) \
    X(dirty12, "WHvQueryGpaRangeDirtyBitmap: small bitmap", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, 65 * PAGE_SIZE, words, 8)) \
    X(dirty13, "WHvQueryGpaRangeDirtyBitmap: bitmap of size 0", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE, words, 0)) \
    X(dirty14, "WHvQueryGpaRangeDirtyBitmap: no bitmap, with a size", E_INVALIDARG, WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE, NULL, 8)) \
    X(vp1, "WHvCreateVirtualProcessor: not below the count", E_INVALIDARG, WHvCreateVirtualProcessor(p, 1, 0)) \
    X(vp2, "WHvCreateVirtualProcessor: no such index at all", E_INVALIDARG, WHvCreateVirtualProcessor(p, ~0u, 0)) \
    X(vp3, "WHvCreateVirtualProcessor: flags", E_INVALIDARG, WHvCreateVirtualProcessor(p, 0, 1)) \
    X(vp4, "WHvCreateVirtualProcessor: there already", WHV_E_VP_ALREADY_EXISTS, WHvCreateVirtualProcessor(p, 0, 0)) \
    X(vp5, "WHvCreateVirtualProcessor2: there already", WHV_E_VP_ALREADY_EXISTS, WHvCreateVirtualProcessor2(p, 0, NULL, 0)) \
    X(vp6, "WHvCreateVirtualProcessor2: no properties", E_INVALIDARG, WHvCreateVirtualProcessor2(p, 0, NULL, 1)) \
    X(vp7, "WHvCreateVirtualProcessor2: unknown property", E_INVALIDARG, WHvCreateVirtualProcessor2(p, 0, &bad_vp_property, 1)) \
    X(run1, "WHvRunVirtualProcessor: no exit context", E_INVALIDARG, WHvRunVirtualProcessor(p, 0, NULL, sizeof(exit_context))) \
    X(run2, "WHvRunVirtualProcessor: small exit context", WHV_E_INSUFFICIENT_BUFFER, WHvRunVirtualProcessor(p, 0, &exit_context, 47)) \
    X(run3, "WHvRunVirtualProcessor: exit context of size 0", WHV_E_INSUFFICIENT_BUFFER, WHvRunVirtualProcessor(p, 0, &exit_context, 0)) \
    X(cancel1, "WHvCancelRunVirtualProcessor: flags", E_INVALIDARG, WHvCancelRunVirtualProcessor(p, 0, 1)) \
    X(regs1, "WHvGetVirtualProcessorRegisters: no names", E_INVALIDARG, WHvGetVirtualProcessorRegisters(p, 0, NULL, 1, values)) \
    X(regs2, "WHvGetVirtualProcessorRegisters: no values", E_INVALIDARG, WHvGetVirtualProcessorRegisters(p, 0, &good_name, 1, NULL)) \
    X(regs3, "WHvGetVirtualProcessorRegisters: unknown name", WHV_E_INVALID_VP_REGISTER_NAME, WHvGetVirtualProcessorRegisters(p, 0, bad_names, 3, values)) \
    X(regs4, "WHvGetVirtualProcessorRegisters: absurd count", E_INVALIDARG, WHvGetVirtualProcessorRegisters(p, 0, &good_name, ~0u, values)) \
    X(regs5, "WHvSetVirtualProcessorRegisters: no names", E_INVALIDARG, WHvSetVirtualProcessorRegisters(p, 0, NULL, 1, values)) \
    X(regs6, "WHvSetVirtualProcessorRegisters: no values", E_INVALIDARG, WHvSetVirtualProcessorRegisters(p, 0, &good_name, 1, NULL)) \
    X(regs7, "WHvSetVirtualProcessorRegisters: unknown name", WHV_E_INVALID_VP_REGISTER_NAME, WHvSetVirtualProcessorRegisters(p, 0, &bad_names[1], 1, &odd_value)) \
    X(regs8, "WHvSetVirtualProcessorRegisters: an unknown name after a good one", WHV_E_INVALID_VP_REGISTER_NAME, WHvSetVirtualProcessorRegisters(p, 0, bad_names, 2, values)) \
    X(regs9, "WHvSetVirtualProcessorRegisters: absurd count", E_INVALIDARG, WHvSetVirtualProcessorRegisters(p, 0, &good_name, ~0u, values)) \
    X(xs1, "WHvGetVirtualProcessorXsaveState: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvGetVirtualProcessorXsaveState(p, 0, b, 100, &count)) \
    X(xs2, "WHvGetVirtualProcessorXsaveState: question for the size", WHV_E_INSUFFICIENT_BUFFER, WHvGetVirtualProcessorXsaveState(p, 0, NULL, 0, &count)) \
    X(xs3, "WHvGetVirtualProcessorXsaveState: no buffer", E_INVALIDARG, WHvGetVirtualProcessorXsaveState(p, 0, NULL, sizeof(b), &count)) \
    X(xs4, "WHvSetVirtualProcessorXsaveState: no buffer", E_INVALIDARG, WHvSetVirtualProcessorXsaveState(p, 0, NULL, sizeof(b))) \
    X(xs5, "WHvSetVirtualProcessorXsaveState: small buffer", E_INVALIDARG, WHvSetVirtualProcessorXsaveState(p, 0, b, 575)) \
    X(xs6, "WHvSetVirtualProcessorXsaveState: reserved bits", E_INVALIDARG, WHvSetVirtualProcessorXsaveState(p, 0, memset(b, 0xff, sizeof(b)), sizeof(b))) \
    X(st1, "WHvGetVirtualProcessorState: unknown type", E_INVALIDARG, WHvGetVirtualProcessorState(p, 0, TYPE(0x777), b, sizeof(b), &count)) \
    X(st2, "WHvGetVirtualProcessorState: no local APIC", ERROR_HV_OPERATION_DENIED, WHvGetVirtualProcessorState(p, 0, WHvVirtualProcessorStateTypeInterruptControllerState2, b, sizeof(b), &count)) \
    X(st3, "WHvGetVirtualProcessorState: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvGetVirtualProcessorState(p, 0, WHvVirtualProcessorStateTypeXsaveState, b, 8, &count)) \
    X(st4, "WHvSetVirtualProcessorState: unknown type", E_INVALIDARG, WHvSetVirtualProcessorState(p, 0, TYPE(0x777), b, sizeof(b))) \
    X(st5, "WHvSetVirtualProcessorState: no buffer", E_INVALIDARG, WHvSetVirtualProcessorState(p, 0, WHvVirtualProcessorStateTypeXsaveState, NULL, sizeof(b))) \
    X(st6, "WHvSetVirtualProcessorState: small buffer", E_INVALIDARG, WHvSetVirtualProcessorState(p, 0, WHvVirtualProcessorStateTypeXsaveState, b, 8)) \
    X(apic1, "WHvGetVirtualProcessorInterruptControllerState2: no local APIC", ERROR_HV_OPERATION_DENIED, WHvGetVirtualProcessorInterruptControllerState2(p, 0, b, sizeof(b), &count)) \
    X(apic2, "WHvGetVirtualProcessorInterruptControllerState2: no buffer", E_INVALIDARG, WHvGetVirtualProcessorInterruptControllerState2(p, 0, NULL, sizeof(b), &count)) \
    X(apic3, "WHvSetVirtualProcessorInterruptControllerState2: no buffer", E_POINTER, WHvSetVirtualProcessorInterruptControllerState2(p, 0, NULL, sizeof(b))) \
    X(apic4, "WHvSetVirtualProcessorInterruptControllerState2: small buffer", E_POINTER, WHvSetVirtualProcessorInterruptControllerState2(p, 0, b, sizeof(b) - 1)) \
    X(apic5, "WHvGetVirtualProcessorInterruptControllerState: no buffer", E_INVALIDARG, WHvGetVirtualProcessorInterruptControllerState(p, 0, NULL, sizeof(b), &count)) \
    X(apic6, "WHvSetVirtualProcessorInterruptControllerState: small buffer", E_POINTER, WHvSetVirtualProcessorInterruptControllerState(p, 0, b, 0)) \
    X(int1, "WHvRequestInterrupt: no message", E_INVALIDARG, WHvRequestInterrupt(p, NULL, sizeof(good_interrupt))) \
    X(int2, "WHvRequestInterrupt: small message", E_INVALIDARG, WHvRequestInterrupt(p, &good_interrupt, sizeof(good_interrupt) - 1)) \
    X(int3, "WHvRequestInterrupt: destination mode", E_INVALIDARG, WHvRequestInterrupt(p, &bad_destination, sizeof(bad_destination))) \
    X(int4, "WHvRequestInterrupt: trigger mode", E_INVALIDARG, WHvRequestInterrupt(p, &bad_trigger, sizeof(bad_trigger))) \
    X(int5, "WHvRequestInterrupt: VTL", E_INVALIDARG, WHvRequestInterrupt(p, &bad_vtl, sizeof(bad_vtl))) \
    X(int6, "WHvRequestInterrupt: reserved bits", E_INVALIDARG, WHvRequestInterrupt(p, &bad_reserved, sizeof(bad_reserved))) \
    X(post1, "WHvPostVirtualProcessorSynicMessage: no message", E_INVALIDARG, WHvPostVirtualProcessorSynicMessage(p, 0, 2, NULL, 8)) \
    X(post2, "WHvPostVirtualProcessorSynicMessage: size 0", E_INVALIDARG, WHvPostVirtualProcessorSynicMessage(p, 0, 2, &one, 0)) \
    X(post3, "WHvPostVirtualProcessorSynicMessage: size 257", E_INVALIDARG, WHvPostVirtualProcessorSynicMessage(p, 0, 2, b, 257)) \
    X(post4, "WHvPostVirtualProcessorSynicMessage: SINT 16", E_INVALIDARG, WHvPostVirtualProcessorSynicMessage(p, 0, 16, &one, 4)) \
    X(post5, "WHvPostVirtualProcessorSynicMessage: type 0", E_INVALIDARG, WHvPostVirtualProcessorSynicMessage(p, 0, 2, &zero, 4)) \
    X(post6, "WHvPostVirtualProcessorSynicMessage: no SynIC", ERROR_HV_INVALID_SYNIC_STATE, WHvPostVirtualProcessorSynicMessage(p, 0, 2, &one, 4)) \
    X(event1, "WHvSignalVirtualProcessorSynicEvent: SINT 16", E_INVALIDARG, WHvSignalVirtualProcessorSynicEvent(p, sint_16, NULL)) \
    X(event2, "WHvSignalVirtualProcessorSynicEvent: flag 2048", E_INVALIDARG, WHvSignalVirtualProcessorSynicEvent(p, flag_2048, NULL)) \
    X(event3, "WHvSignalVirtualProcessorSynicEvent: VTL", E_INVALIDARG, WHvSignalVirtualProcessorSynicEvent(p, event_vtl, NULL)) \
    X(event4, "WHvSignalVirtualProcessorSynicEvent: no SynIC", ERROR_HV_INVALID_SYNIC_STATE, WHvSignalVirtualProcessorSynicEvent(p, good_event, NULL)) \
    X(int7, "WHvRequestInterrupt: no local APICs", ERROR_HV_OPERATION_DENIED, WHvRequestInterrupt(p, &good_interrupt, sizeof(good_interrupt))) \
    X(int8, "WHvGetInterruptTargetVpSet: no list", E_INVALIDARG, WHvGetInterruptTargetVpSet(p, 0, PHYSICAL, NULL, 8, &count)) \
    X(int9, "WHvGetInterruptTargetVpSet: no count", E_INVALIDARG, WHvGetInterruptTargetVpSet(p, 0, PHYSICAL, targets, 8, NULL)) \
    X(int10, "WHvGetInterruptTargetVpSet: destination mode", E_INVALIDARG, WHvGetInterruptTargetVpSet(p, 0, DESTINATION_MODE(2), targets, 8, &count)) \
    X(int11, "WHvGetInterruptTargetVpSet: no local APICs", ERROR_HV_OPERATION_DENIED, WHvGetInterruptTargetVpSet(p, 0, PHYSICAL, targets, 8, &count)) \
    X(cpuid1, "WHvGetVirtualProcessorCpuidOutput: no output", E_POINTER, WHvGetVirtualProcessorCpuidOutput(p, 0, 0, 0, NULL)) \
    X(read1, "WHvReadGpaRange: no buffer", E_INVALIDARG, WHvReadGpaRange(p, 0, VM_DATA, write_back, NULL, 8)) \
    X(read2, "WHvReadGpaRange: size 0", E_INVALIDARG, WHvReadGpaRange(p, 0, VM_DATA, write_back, b, 0)) \
    X(read3, "WHvReadGpaRange: size 17", E_INVALIDARG, WHvReadGpaRange(p, 0, VM_DATA, write_back, b, 17)) \
    X(read4, "WHvReadGpaRange: cache type", E_INVALIDARG, WHvReadGpaRange(p, 0, VM_DATA, bad_cache, b, 8)) \
    X(read5, "WHvReadGpaRange: VTL", E_INVALIDARG, WHvReadGpaRange(p, 0, VM_DATA, other_vtl, b, 8)) \
    X(read6, "WHvReadGpaRange: nothing there", E_ACCESSDENIED, WHvReadGpaRange(p, 0, NOWHERE, write_back, b, 8)) \
    X(read7, "WHvReadGpaRange: runs out of memory", E_ACCESSDENIED, WHvReadGpaRange(p, 0, VM_MEMORY_SIZE - 8, write_back, b, 16)) \
    X(read8, "WHvReadGpaRange: wraps", E_ACCESSDENIED, WHvReadGpaRange(p, 0, ~7ull, write_back, b, 16)) \
    X(write1, "WHvWriteGpaRange: no data", E_INVALIDARG, WHvWriteGpaRange(p, 0, VM_DATA, write_back, NULL, 8)) \
    X(write2, "WHvWriteGpaRange: size 0", E_INVALIDARG, WHvWriteGpaRange(p, 0, VM_DATA, write_back, b, 0)) \
    X(write3, "WHvWriteGpaRange: size 17", E_INVALIDARG, WHvWriteGpaRange(p, 0, VM_DATA, write_back, b, 17)) \
    X(write4, "WHvWriteGpaRange: cache type", E_INVALIDARG, WHvWriteGpaRange(p, 0, VM_DATA, bad_cache, b, 8)) \
    X(write5, "WHvWriteGpaRange: VTL", E_INVALIDARG, WHvWriteGpaRange(p, 0, VM_DATA, other_vtl, b, 8)) \
    X(write6, "WHvWriteGpaRange: nothing there", E_ACCESSDENIED, WHvWriteGpaRange(p, 0, NOWHERE, write_back, b, 8)) \
    X(write7, "WHvWriteGpaRange: runs out of memory", E_ACCESSDENIED, WHvWriteGpaRange(p, 0, VM_MEMORY_SIZE - 8, write_back, b, 16)) \
    X(tr1, "WHvTranslateGva: no result", E_INVALIDARG, WHvTranslateGva(p, 0, VM_DATA, WHvTranslateGvaFlagNone, NULL, &gpa)) \
    X(tr2, "WHvTranslateGva: no address", E_INVALIDARG, WHvTranslateGva(p, 0, VM_DATA, WHvTranslateGvaFlagNone, &translation, NULL)) \
    X(tr3, "WHvTranslateGva: unknown flag", E_INVALIDARG, WHvTranslateGva(p, 0, VM_DATA, (WHV_TRANSLATE_GVA_FLAGS)0x20, &translation, &gpa)) \
    X(trg1, "WHvCreateTrigger: no parameters", E_INVALIDARG, WHvCreateTrigger(p, NULL, &trigger_handle, &event_handle)) \
    X(trg2, "WHvCreateTrigger: no place for the trigger", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(OF_EVENT(.VpIndex = 0)), NULL, &event_handle)) \
    X(trg3, "WHvCreateTrigger: no place for the event", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(OF_EVENT(.VpIndex = 0)), &trigger_handle, NULL)) \
    X(trg4, "WHvCreateTrigger: no such type", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(.TriggerType = (WHV_TRIGGER_TYPE)3), &trigger_handle, &event_handle)) \
    X(trg5, "WHvCreateTrigger: reserved word", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(.Reserved = 1, OF_EVENT(.VpIndex = 0)), &trigger_handle, &event_handle)) \
    X(trg6, "WHvCreateTrigger: no such virtual processor", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(OF_EVENT(.VpIndex = 1)), &trigger_handle, &event_handle)) \
    X(trg7, "WHvCreateTrigger: no such SINT", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(OF_EVENT(.TargetSint = 16)), &trigger_handle, &event_handle)) \
    X(trg8, "WHvCreateTrigger: no such flag", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(OF_EVENT(.FlagNumber = 2048)), &trigger_handle, &event_handle)) \
    X(trg9, "WHvCreateTrigger: VTL", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(OF_EVENT(.TargetVtl = 1)), &trigger_handle, &event_handle)) \
    X(trg10, "WHvCreateTrigger: interrupt without local APICs", ERROR_HV_INVALID_PARTITION_STATE, WHvCreateTrigger(p, TRIGGER(.Interrupt = {.Vector = 0x40}), &trigger_handle, &event_handle)) \
    X(trg11, "WHvCreateTrigger: interrupt with a reserved bit", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(.Interrupt = {.Reserved = 1, .Vector = 0x40}), &trigger_handle, &event_handle)) \
    X(trg12, "WHvCreateTrigger: interrupt of another VTL", E_INVALIDARG, WHvCreateTrigger(p, TRIGGER(.Interrupt = {.TargetVtl = 1, .Vector = 0x40}), &trigger_handle, &event_handle)) \
    X(trg13, "WHvCreateTrigger: no such device", ERROR_HV_INVALID_DEVICE_ID, WHvCreateTrigger(p, TRIGGER(.TriggerType = WHvTriggerTypeDeviceInterrupt), &trigger_handle, &event_handle)) \
    X(trg14, "WHvUpdateTriggerParameters: no parameters", E_INVALIDARG, update_trigger(p, NULL)) \
    X(trg15, "WHvUpdateTriggerParameters: reserved word", E_INVALIDARG, update_trigger(p, TRIGGER(.Reserved = 1, OF_EVENT(.VpIndex = 0)))) \
    X(trg16, "WHvUpdateTriggerParameters: no such flag", E_INVALIDARG, update_trigger(p, TRIGGER(OF_EVENT(.FlagNumber = 2048)))) \
    X(trg17, "WHvUpdateTriggerParameters: another type", ERROR_HV_INVALID_DEVICE_ID, update_trigger(p, TRIGGER(.TriggerType = WHvTriggerTypeDeviceInterrupt))) \
    X(trg18, "WHvUpdateTriggerParameters: no trigger", E_INVALIDARG, WHvUpdateTriggerParameters(p, TRIGGER(OF_EVENT(.VpIndex = 0)), NULL)) \
    X(trg19, "WHvUpdateTriggerParameters: the handle of a partition", E_INVALIDARG, WHvUpdateTriggerParameters(p, TRIGGER(OF_EVENT(.VpIndex = 0)), p)) \
    X(trg20, "WHvDeleteTrigger: no trigger", E_INVALIDARG, WHvDeleteTrigger(p, NULL)) \
    X(trg21, "WHvDeleteTrigger: the handle of a partition", E_INVALIDARG, WHvDeleteTrigger(p, p)) \
    X(prt1, "WHvCreateNotificationPort: no parameters", E_INVALIDARG, create_port(p, NULL)) \
    X(prt2, "WHvCreateNotificationPort: no such type", E_INVALIDARG, create_port(p, PORT(.NotificationPortType = (WHV_NOTIFICATION_PORT_TYPE)1))) \
    X(prt3, "WHvCreateNotificationPort: reserved bits", E_INVALIDARG, create_port(p, PORT(.Reserved = 1, ON_CALL(1)))) \
    X(prt4, "WHvCreateNotificationPort: VTL", E_INVALIDARG, create_port(p, PORT(.ConnectionVtl = 1, ON_CALL(1)))) \
    X(prt5, "WHvCreateNotificationPort: no such connection", E_INVALIDARG, create_port(p, PORT(ON_CALL(0x1000000)))) \
    X(prt6, "WHvCreateNotificationPort: a connection twice", ERROR_HV_INVALID_PARAMETER, create_ports(p, PORT(ON_CALL(0xffffff)))) \
    X(prt7, "WHvCreateNotificationPort: no event", E_INVALIDARG, WHvCreateNotificationPort(p, PORT(ON_CALL(1)), NULL, &port_handle)) \
    X(prt8, "WHvCreateNotificationPort: an event that is none", E_INVALIDARG, WHvCreateNotificationPort(p, PORT(ON_CALL(1)), p, &port_handle)) \
    X(prt9, "WHvCreateNotificationPort: no place for the handle", E_INVALIDARG, WHvCreateNotificationPort(p, PORT(ON_CALL(1)), NULL, NULL)) \
    X(prt10, "WHvCreateNotificationPort: doorbell with reserved bits", E_INVALIDARG, create_port(p, PORT(ON_WRITE(.Reserved = 1)))) \
    X(prt11, "WHvCreateNotificationPort: doorbell's value without length", E_INVALIDARG, create_port(p, PORT(ON_WRITE(.MatchOnValue = 1)))) \
    X(prt12, "WHvSetNotificationPortProperty: no such property", WHV_E_UNKNOWN_PROPERTY, set_port_property(p, 2, 0)) \
    X(prt13, "WHvSetNotificationPortProperty: no such virtual processor", E_INVALIDARG, set_port_property(p, WHvNotificationPortPropertyPreferredTargetVp, 1)) \
    X(prt14, "WHvSetNotificationPortProperty: no port", E_INVALIDARG, WHvSetNotificationPortProperty(p, NULL, WHvNotificationPortPropertyPreferredTargetVp, 0)) \
    X(prt15, "WHvDeleteNotificationPort: no port", E_INVALIDARG, WHvDeleteNotificationPort(p, NULL)) \
    X(prt16, "WHvDeleteNotificationPort: the handle of a partition", E_INVALIDARG, WHvDeleteNotificationPort(p, p)) \
    X(pci1, "WHvxGetPciDevice: no place for the device", E_INVALIDARG, WHvxGetPciDevice(0, NULL)) \
    X(pci2, "WHvxGetPciDevice: beyond the last", HRESULT_FROM_WIN32(ERROR_NOT_FOUND), WHvxGetPciDevice(~0u, &pci_device)) \
    X(pci3, "WHvxGetIommu: no place for the answer", E_INVALIDARG, WHvxGetIommu(NULL)) \
    X(vpci1, "WHvAllocateVpciResource: a provider", E_INVALIDARG, WHvAllocateVpciResource((const GUID *)b, WHvAllocateVpciResourceFlagNone, NULL, 0, &resource)) \
    X(vpci2, "WHvAllocateVpciResource: unknown flag", E_INVALIDARG, WHvAllocateVpciResource(NULL, (WHV_ALLOCATE_VPCI_RESOURCE_FLAGS)2, NULL, 0, &resource)) \
    X(vpci3, "WHvAllocateVpciResource: no place for the handle", E_INVALIDARG, WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, NULL, 0, NULL)) \
    X(vpci4, "WHvAllocateVpciResource: no descriptor with a size", E_INVALIDARG, allocate(NULL, sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR))) \
    X(vpci5, "WHvAllocateVpciResource: a descriptor without a size", E_INVALIDARG, allocate(b, 0)) \
    X(vpci6, "WHvAllocateVpciResource: no descriptor of this size", E_INVALIDARG, allocate(b, 16)) \
    X(vpci7, "WHvAllocateVpciResource: a virtual function", HRESULT_FROM_WIN32(ERROR_NOT_FOUND), allocate(memset(b, 0, sizeof(b)), sizeof(WHV_SRIOV_RESOURCE_DESCRIPTOR))) \
    X(vpci8, "WHvAllocateVpciResource: device 32", E_INVALIDARG, allocate(FUNCTION(.Device = 32), sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR))) \
    X(vpci9, "WHvAllocateVpciResource: function 8", E_INVALIDARG, allocate(FUNCTION(.Function = 8), sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR))) \
    X(vpci10, "WHvAllocateVpciResource: unknown flags of the descriptor", E_INVALIDARG, allocate(FUNCTION(.Flags = 2), sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR))) \
    X(vpci11, "WHvAllocateVpciResource: reserved bytes", E_INVALIDARG, allocate(FUNCTION(.Reserved = {0, 0, 1}), sizeof(WHVX_PCI_RESOURCE_DESCRIPTOR))) \
    X(vpci12, "WHvxCloseVpciResource: no resource", E_INVALIDARG, WHvxCloseVpciResource(NULL)) \
    X(vpci13, "WHvxCloseVpciResource: the handle of a partition", E_INVALIDARG, WHvxCloseVpciResource(p)) \
    X(vpci14, "WHvCreateVpciDevice: no resource", E_INVALIDARG, WHvCreateVpciDevice(p, DEVICE, NULL, CREATE_FLAGS(0), NULL)) \
    X(vpci15, "WHvCreateVpciDevice: the handle of a partition", E_INVALIDARG, WHvCreateVpciDevice(p, DEVICE, p, CREATE_FLAGS(0), NULL)) \
    X(vpci16, "WHvCreateVpciDevice: unknown flag", E_INVALIDARG, create_device(p, 4, NULL)) \
    X(vpci17, "WHvCreateVpciDevice: physical, of an empty resource", E_INVALIDARG, create_device(p, WHvCreateVpciDeviceFlagPhysicallyBacked, NULL)) \
    X(vpci18, "WHvCreateVpciDevice: an event that is none", E_INVALIDARG, create_device(p, 0, p)) \
    X(vpci19, "WHvCreateVpciDevice: a number twice", ERROR_HV_INVALID_PARAMETER, ON(p, WHvCreateVpciDevice(p, DEVICE, resource, CREATE_FLAGS(0), NULL))) \
    X(vpci20, "WHvDeleteVpciDevice: no such device", NO_DEVICE, WHvDeleteVpciDevice(p, DEVICE)) \
    X(vpci21, "WHvGetVpciDeviceProperty: no buffer", E_INVALIDARG, WHvGetVpciDeviceProperty(p, DEVICE, WHvVpciDevicePropertyCodeHardwareIDs, NULL, 12, &count)) \
    X(vpci22, "WHvGetVpciDeviceProperty: no such property", WHV_E_UNKNOWN_PROPERTY, ON(p, WHvGetVpciDeviceProperty(p, DEVICE, (WHV_VPCI_DEVICE_PROPERTY_CODE)3, b, sizeof(b), &count))) \
    X(vpci23, "WHvGetVpciDeviceProperty: property 0", WHV_E_UNKNOWN_PROPERTY, ON(p, WHvGetVpciDeviceProperty(p, DEVICE, WHvVpciDevicePropertyCodeUndefined, b, sizeof(b), &count))) \
    X(vpci24, "WHvGetVpciDeviceProperty: no such device", NO_DEVICE, WHvGetVpciDeviceProperty(p, DEVICE, WHvVpciDevicePropertyCodeProbedBARs, b, 24, &count)) \
    X(vpci25, "WHvGetVpciDeviceProperty: a software device", E_INVALIDARG, ON(p, WHvGetVpciDeviceProperty(p, DEVICE, WHvVpciDevicePropertyCodeHardwareIDs, b, 12, &count))) \
    X(vpci26, "WHvGetVpciDeviceNotification: no place", E_INVALIDARG, WHvGetVpciDeviceNotification(p, DEVICE, NULL, 16)) \
    X(vpci27, "WHvGetVpciDeviceNotification: small", WHV_E_INSUFFICIENT_BUFFER, WHvGetVpciDeviceNotification(p, DEVICE, (WHV_VPCI_DEVICE_NOTIFICATION *)b, 15)) \
    X(vpci28, "WHvGetVpciDeviceNotification: no such device", NO_DEVICE, WHvGetVpciDeviceNotification(p, DEVICE, (WHV_VPCI_DEVICE_NOTIFICATION *)b, 16)) \
    X(vpci29, "WHvMapVpciDeviceMmioRanges: no count", E_INVALIDARG, WHvMapVpciDeviceMmioRanges(p, DEVICE, NULL, &mappings)) \
    X(vpci30, "WHvMapVpciDeviceMmioRanges: no place", E_INVALIDARG, WHvMapVpciDeviceMmioRanges(p, DEVICE, &count, NULL)) \
    X(vpci31, "WHvMapVpciDeviceMmioRanges: no such device", NO_DEVICE, WHvMapVpciDeviceMmioRanges(p, DEVICE, &count, &mappings)) \
    X(vpci32, "WHvMapVpciDeviceMmioRanges: a software device", E_INVALIDARG, ON(p, WHvMapVpciDeviceMmioRanges(p, DEVICE, &count, &mappings))) \
    X(vpci33, "WHvUnmapVpciDeviceMmioRanges: no such device", NO_DEVICE, WHvUnmapVpciDeviceMmioRanges(p, DEVICE)) \
    X(vpci34, "WHvUnmapVpciDeviceMmioRanges: a software device", E_INVALIDARG, ON(p, WHvUnmapVpciDeviceMmioRanges(p, DEVICE))) \
    X(vpci35, "WHvSetVpciDevicePowerState: unspecified", E_INVALIDARG, WHvSetVpciDevicePowerState(p, DEVICE, PowerDeviceUnspecified)) \
    X(vpci36, "WHvSetVpciDevicePowerState: beyond D3", E_INVALIDARG, WHvSetVpciDevicePowerState(p, DEVICE, PowerDeviceMaximum)) \
    X(vpci37, "WHvSetVpciDevicePowerState: no such device", NO_DEVICE, WHvSetVpciDevicePowerState(p, DEVICE, PowerDeviceD0)) \
    X(vpci38, "WHvSetVpciDevicePowerState: a software device", E_INVALIDARG, ON(p, WHvSetVpciDevicePowerState(p, DEVICE, PowerDeviceD0))) \
    X(vpci39, "WHvReadVpciDeviceRegister: no register", E_INVALIDARG, WHvReadVpciDeviceRegister(p, DEVICE, NULL, b)) \
    X(vpci40, "WHvReadVpciDeviceRegister: no data", E_INVALIDARG, WHvReadVpciDeviceRegister(p, DEVICE, REGISTER(WHvVpciConfigSpace, 4, 0), NULL)) \
    X(vpci41, "WHvReadVpciDeviceRegister: no such device", NO_DEVICE, WHvReadVpciDeviceRegister(p, DEVICE, REGISTER(WHvVpciConfigSpace, 4, 0), b)) \
    X(vpci42, "WHvReadVpciDeviceRegister: a software device", E_INVALIDARG, ON(p, WHvReadVpciDeviceRegister(p, DEVICE, REGISTER(WHvVpciConfigSpace, 4, 0), b))) \
    X(vpci43, "WHvWriteVpciDeviceRegister: no register", E_INVALIDARG, WHvWriteVpciDeviceRegister(p, DEVICE, NULL, b)) \
    X(vpci44, "WHvWriteVpciDeviceRegister: no data", E_INVALIDARG, WHvWriteVpciDeviceRegister(p, DEVICE, REGISTER(WHvVpciConfigSpace, 4, 0), NULL)) \
    X(vpci45, "WHvWriteVpciDeviceRegister: no such device", NO_DEVICE, WHvWriteVpciDeviceRegister(p, DEVICE, REGISTER(WHvVpciConfigSpace, 4, 0), b)) \
    X(vpci46, "WHvWriteVpciDeviceRegister: a software device", E_INVALIDARG, ON(p, WHvWriteVpciDeviceRegister(p, DEVICE, REGISTER(WHvVpciConfigSpace, 4, 0), b))) \
    X(vpci47, "WHvMapVpciDeviceInterrupt: no target", E_INVALIDARG, map_interrupt(p, 0, 1, NULL)) \
    X(vpci48, "WHvMapVpciDeviceInterrupt: no place for the address", E_INVALIDARG, ON(p, WHvMapVpciDeviceInterrupt(p, DEVICE, 0, 1, TO_VP0, NULL, &msi_data))) \
    X(vpci49, "WHvMapVpciDeviceInterrupt: no place for the data", E_INVALIDARG, ON(p, WHvMapVpciDeviceInterrupt(p, DEVICE, 0, 1, TO_VP0, &msi_address, NULL))) \
    X(vpci50, "WHvMapVpciDeviceInterrupt: index 65536", E_INVALIDARG, map_interrupt(p, 65536, 1, TO_VP0)) \
    X(vpci51, "WHvMapVpciDeviceInterrupt: 0 messages", E_INVALIDARG, map_interrupt(p, 0, 0, TO_VP0)) \
    X(vpci52, "WHvMapVpciDeviceInterrupt: 3 messages", E_INVALIDARG, map_interrupt(p, 0, 3, TO_VP0)) \
    X(vpci53, "WHvMapVpciDeviceInterrupt: 33 messages", E_INVALIDARG, map_interrupt(p, 0, 33, TO_VP0)) \
    X(vpci54, "WHvMapVpciDeviceInterrupt: 64 messages", E_INVALIDARG, map_interrupt(p, 0, 64, TO_VP0)) \
    X(vpci55, "WHvMapVpciDeviceInterrupt: vector 15", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 15, .ProcessorCount = 1))) \
    X(vpci56, "WHvMapVpciDeviceInterrupt: vector 256", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 256, .ProcessorCount = 1))) \
    X(vpci57, "WHvMapVpciDeviceInterrupt: unknown flag", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 64, .Flags = (WHV_VPCI_INTERRUPT_TARGET_FLAGS)2, .ProcessorCount = 1))) \
    X(vpci58, "WHvMapVpciDeviceInterrupt: no virtual processor", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 64))) \
    X(vpci59, "WHvMapVpciDeviceInterrupt: 65 virtual processors", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 64, .ProcessorCount = 65))) \
    X(vpci60, "WHvMapVpciDeviceInterrupt: virtual processor 1", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 64, .ProcessorCount = 1, .Processors = {1}))) \
    X(vpci61, "WHvMapVpciDeviceInterrupt: virtual processor 64", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 64, .ProcessorCount = 1, .Processors = {64}))) \
    X(vpci62, "WHvMapVpciDeviceInterrupt: several, and just one", E_INVALIDARG, map_interrupt(p, 0, 1, TARGET(.Vector = 64, .Flags = WHvVpciInterruptTargetFlagMulticast, .ProcessorCount = 1))) \
    X(vpci63, "WHvMapVpciDeviceInterrupt: no local APICs", ERROR_HV_INVALID_PARTITION_STATE, map_interrupt(p, 0, 1, TO_VP0)) \
    X(vpci64, "WHvMapVpciDeviceInterrupt: no such device", NO_DEVICE, WHvMapVpciDeviceInterrupt(p, DEVICE, 0, 1, TO_VP0, &msi_address, &msi_data)) \
    X(vpci65, "WHvUnmapVpciDeviceInterrupt: no such device", NO_DEVICE, WHvUnmapVpciDeviceInterrupt(p, DEVICE, 0)) \
    X(vpci66, "WHvUnmapVpciDeviceInterrupt: not mapped", E_INVALIDARG, ON(p, WHvUnmapVpciDeviceInterrupt(p, DEVICE, 0))) \
    X(vpci67, "WHvRetargetVpciDeviceInterrupt: no target", E_INVALIDARG, ON(p, WHvRetargetVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0, NULL))) \
    X(vpci68, "WHvRetargetVpciDeviceInterrupt: not mapped", E_INVALIDARG, ON(p, WHvRetargetVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0, TO_VP0))) \
    X(vpci69, "WHvRetargetVpciDeviceInterrupt: virtual processor 1", E_INVALIDARG, ON(p, WHvRetargetVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0, TARGET(.Vector = 64, .ProcessorCount = 1, .Processors = {1})))) \
    X(vpci70, "WHvRetargetVpciDeviceInterrupt: no such device", NO_DEVICE, WHvRetargetVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0, TO_VP0)) \
    X(vpci71, "WHvRequestVpciDeviceInterrupt: above 4 GiB", ERROR_HV_INVALID_PARAMETER, ON_LOGICAL(p, WHvRequestVpciDeviceInterrupt(p, DEVICE, 1ull << 32 | PLAIN_MSI, 0x40))) \
    X(vpci72, "WHvRequestVpciDeviceInterrupt: memory", ERROR_HV_INVALID_PARAMETER, ON_LOGICAL(p, WHvRequestVpciDeviceInterrupt(p, DEVICE, VM_DATA, 0x40))) \
    X(vpci73, "WHvRequestVpciDeviceInterrupt: an SMI", ERROR_HV_INVALID_PARAMETER, ON_LOGICAL(p, WHvRequestVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0x240))) \
    X(vpci74, "WHvRequestVpciDeviceInterrupt: not mapped", ERROR_HV_INVALID_PARAMETER, ON_LOGICAL(p, WHvRequestVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI | 0x18, 0))) \
    X(vpci75, "WHvRequestVpciDeviceInterrupt: no local APICs", ERROR_HV_OPERATION_DENIED, ON_LOGICAL(p, WHvRequestVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0x40))) \
    X(vpci76, "WHvRequestVpciDeviceInterrupt: without logical interrupts", ERROR_HV_OPERATION_DENIED, ON(p, WHvRequestVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0x40))) \
    X(vpci77, "WHvRequestVpciDeviceInterrupt: no such device", NO_DEVICE, WHvRequestVpciDeviceInterrupt(p, DEVICE, PLAIN_MSI, 0x40)) \
    X(vpci78, "WHvGetVpciDeviceInterruptTarget: no buffer", E_INVALIDARG, WHvGetVpciDeviceInterruptTarget(p, DEVICE, 0, 0, NULL, 16, &count)) \
    X(vpci79, "WHvGetVpciDeviceInterruptTarget: not mapped", E_INVALIDARG, ON(p, WHvGetVpciDeviceInterruptTarget(p, DEVICE, 0, 0, (WHV_VPCI_INTERRUPT_TARGET *)b, 16, &count))) \
    X(vpci80, "WHvGetVpciDeviceInterruptTarget: no such device", NO_DEVICE, WHvGetVpciDeviceInterruptTarget(p, DEVICE, 0, 0, (WHV_VPCI_INTERRUPT_TARGET *)b, 16, &count)) \
    X(db1, "WHvRegisterPartitionDoorbellEvent: no match data", E_INVALIDARG, with_event(WHvRegisterPartitionDoorbellEvent, p, NULL)) \
    X(db2, "WHvRegisterPartitionDoorbellEvent: no event", E_INVALIDARG, WHvRegisterPartitionDoorbellEvent(p, &good_match, NULL)) \
    X(db3, "WHvRegisterPartitionDoorbellEvent: not an event", E_INVALIDARG, WHvRegisterPartitionDoorbellEvent(p, &good_match, p)) \
    X(db4, "WHvRegisterPartitionDoorbellEvent: reserved bits", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA, .Reserved = 1)) \
    X(db5, "WHvRegisterPartitionDoorbellEvent: length 3", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA, .Length = 3, .MatchOnLength = 1)) \
    X(db6, "WHvRegisterPartitionDoorbellEvent: length 0 to be matched", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA, .MatchOnLength = 1)) \
    X(db7, "WHvRegisterPartitionDoorbellEvent: a length that is not matched", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA, .Length = 4)) \
    X(db8, "WHvRegisterPartitionDoorbellEvent: a value without a length", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA, .MatchOnValue = 1)) \
    X(db9, "WHvRegisterPartitionDoorbellEvent: a value that is not matched", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA, .Value = 1, .Length = 4, .MatchOnLength = 1)) \
    X(db10, "WHvRegisterPartitionDoorbellEvent: across pages", E_INVALIDARG, DOORBELL(p, .GuestAddress = VM_DATA + 0xffd, .Length = 4, .MatchOnLength = 1)) \
    X(db11, "WHvRegisterPartitionDoorbellEvent: beyond what guests can address", E_INVALIDARG, DOORBELL(p, .GuestAddress = BEYOND)) \
    X(db12, "WHvUnregisterPartitionDoorbellEvent: no match data", E_INVALIDARG, WHvUnregisterPartitionDoorbellEvent(p, NULL)) \
    X(db13, "WHvUnregisterPartitionDoorbellEvent: not registered", HRESULT_FROM_WIN32(ERROR_NOT_FOUND), WHvUnregisterPartitionDoorbellEvent(p, &good_match)) \
    X(db14, "WHvxRegisterPartitionPortDoorbellEvent: no match data", E_INVALIDARG, with_event(WHvxRegisterPartitionPortDoorbellEvent, p, NULL)) \
    X(db15, "WHvxRegisterPartitionPortDoorbellEvent: no event", E_INVALIDARG, WHvxRegisterPartitionPortDoorbellEvent(p, &good_match, NULL)) \
    X(db16, "WHvxRegisterPartitionPortDoorbellEvent: no such port", E_INVALIDARG, PORT_DOORBELL(p, .GuestAddress = 0x10000)) \
    X(db17, "WHvxRegisterPartitionPortDoorbellEvent: beyond the last port", E_INVALIDARG, PORT_DOORBELL(p, .GuestAddress = 0xffff, .Length = 2, .MatchOnLength = 1)) \
    X(db18, "WHvxRegisterPartitionPortDoorbellEvent: length 8", E_INVALIDARG, PORT_DOORBELL(p, .GuestAddress = 0xf0, .Length = 8, .MatchOnLength = 1)) \
    X(db19, "WHvxUnregisterPartitionPortDoorbellEvent: no match data", E_INVALIDARG, WHvxUnregisterPartitionPortDoorbellEvent(p, NULL)) \
    X(db20, "WHvxUnregisterPartitionPortDoorbellEvent: not registered", HRESULT_FROM_WIN32(ERROR_NOT_FOUND), WHvxUnregisterPartitionPortDoorbellEvent(p, &good_match)) \
    X(emu1, "WHvEmulatorCreateEmulator: no callbacks", E_INVALIDARG, WHvEmulatorCreateEmulator(NULL, &emulator)) \
    X(emu2, "WHvEmulatorCreateEmulator: no place for the handle", E_INVALIDARG, WHvEmulatorCreateEmulator(&no_callbacks, NULL)) \
    X(emu3, "WHvEmulatorCreateEmulator: callbacks that are NULL", E_INVALIDARG, WHvEmulatorCreateEmulator(&no_callbacks, &emulator)) \
    X(emu4, "WHvEmulatorDestroyEmulator: the handle of a partition", E_INVALIDARG, WHvEmulatorDestroyEmulator(p)) \
    X(emu5, "WHvEmulatorTryIoEmulation: the handle of a partition", E_INVALIDARG, WHvEmulatorTryIoEmulation(p, NULL, &exit_context.VpContext, &good_io, &emulator_status)) \
    X(emu6, "WHvEmulatorTryMmioEmulation: the handle of a partition", E_INVALIDARG, WHvEmulatorTryMmioEmulation(p, NULL, &exit_context.VpContext, &exit_context.MemoryAccess, &emulator_status)) \
    X(x1, "WHvxGetAuditFinding: no finding", E_INVALIDARG, WHvxGetAuditFinding(p, 0, NULL)) \
    X(x2, "WHvxGetAuditFinding: no refused run before", WHV_E_INVALID_VP_STATE, WHvxGetAuditFinding(p, 0, (WHVX_AUDIT_FINDING *)b)) \
    X(x3, "WHvxAuditVirtualProcessor: no verdict", E_INVALIDARG, WHvxAuditVirtualProcessor(p, 0, NULL, (WHVX_AUDIT_FINDING *)b)) \
    X(x4, "WHvxAuditVirtualProcessor: no finding", E_INVALIDARG, WHvxAuditVirtualProcessor(p, 0, (BOOL *)b, NULL)) \
    X(x5, "WHvxGetTripleFault: no buffer", E_INVALIDARG, WHvxGetTripleFault(p, 0, NULL)) \
    X(x6, "WHvxGetTripleFault: no triple fault before", WHV_E_INVALID_VP_STATE, WHvxGetTripleFault(p, 0, (WHVX_TRIPLE_FAULT *)b)) \
    X(x7, "WHvxGetExitCounters: no buffer", E_INVALIDARG, WHvxGetExitCounters(p, 0, NULL, 1, &count)) \
    X(x8, "WHvxGetExitCounters: small buffer", WHV_E_INSUFFICIENT_BUFFER, WHvxGetExitCounters(p, 0, (WHVX_EXIT_COUNTER *)b, 1, &count))

#define BAD_FUNCTION(id, text, wanted_, call_) \
    static HRESULT bad_##id(WHV_PARTITION_HANDLE p) \
    { \
        (void)p; \
        return call_; \
    }
#define BAD_ROW(id, text, wanted_, call_) {text, 0, bad_##id, wanted_},

/* clang-format on */

BAD_CALLS(BAD_FUNCTION)

static const struct {
    const char *name;
    uint32_t modes;
    HRESULT (*call)(WHV_PARTITION_HANDLE p);
    HRESULT wanted;
} bad_calls[] = {BAD_CALLS(BAD_ROW)};

TEST_ROWS(arguments_values, "arguments", bad_calls)
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    *(uint64_t *)vm_at(&vm, VM_DATA) = 0x1122334455667788;
    arguments_begin(&vm, true);
    EXPECT_HR(row->call(vm.partition), row->wanted);
    arguments_unchanged(&vm, true);
    EXPECT_END(&vm);
}

/* ------------------------------------------------------- what looks like a bad argument and is none */

TEST(arguments_replace, "arguments: mapping over a range replaces it, unmapping a part leaves the rest")
{
    uint64_t value = 0;
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    *(uint64_t *)arguments_page = 0xabcdef;
    EXPECT_OK(WHvMapGpaRange(vm.partition, arguments_page, VM_FREE, PAGE_SIZE, WHvMapGpaRangeFlagRead));
    EXPECT_OK(WHvReadGpaRange(vm.partition, 0, VM_FREE, write_back, &value, 8));
    EXPECT_EQ(value, 0xabcdef);
    EXPECT_HR(WHvWriteGpaRange(vm.partition, 0, VM_FREE, write_back, &value, 8), E_ACCESSDENIED);
    EXPECT_OK(WHvUnmapGpaRange(vm.partition, VM_FREE + PAGE_SIZE, 2 * PAGE_SIZE));
    EXPECT_OK(WHvReadGpaRange(vm.partition, 0, VM_FREE, write_back, &value, 8));
    EXPECT_HR(WHvReadGpaRange(vm.partition, 0, VM_FREE + PAGE_SIZE, write_back, &value, 8), E_ACCESSDENIED);
    EXPECT_HR(WHvReadGpaRange(vm.partition, 0, VM_FREE + 2 * PAGE_SIZE, write_back, &value, 8), E_ACCESSDENIED);
    EXPECT_OK(WHvReadGpaRange(vm.partition, 0, VM_FREE + 3 * PAGE_SIZE, write_back, &value, 8));
    EXPECT_OK(WHvUnmapGpaRange(vm.partition, VM_FREE, 8 * PAGE_SIZE)); /* with a hole in it */
    EXPECT_HR(WHvUnmapGpaRange(vm.partition, VM_FREE, 8 * PAGE_SIZE), WHV_E_GPA_RANGE_NOT_FOUND);
    EXPECT_END(&vm);
}

TEST(arguments_nothing_to_do, "arguments: empty lists and larger buffers are fine")
{
    WHV_CAPABILITY capability;
    UINT32 size = 0;
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    EXPECT_OK(WHvGetVirtualProcessorRegisters(vm.partition, 0, NULL, 0, NULL));
    EXPECT_OK(WHvSetVirtualProcessorRegisters(vm.partition, 0, NULL, 0, NULL));
    EXPECT_OK(WHvSetPartitionProperty(vm.partition, WHvPartitionPropertyCodeCpuidExitList, NULL, 0));
    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &capability, sizeof(capability), &size));
    EXPECT_EQ(size, sizeof(BOOL));
    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &capability, sizeof(capability), NULL));
    EXPECT_END(&vm);
}
