/* SPDX-License-Identifier: MIT */
/*
 * Every function of the API with a handle that is none, with a virtual processor that is not there, before set-up, and
 * while the virtual processor runs: the documented HRESULT, and nothing has changed. Arguments of other kinds:
 * arguments_values.c.
 */
#include "arguments.h"
#include "runner.h"
#include <kernel/event.h>
#include <kernel/memory.h>
#include <whp/WinHvDiagnostics.h>
#include <whp/WinHvExtensions.h>

/* -------------------------------------------------------------------------- what must not change */

static const WHV_REGISTER_NAME watched[] = {
    WHvX64RegisterRax,
    WHvX64RegisterRcx,
    WHvX64RegisterRsp,
    WHvX64RegisterR15,
    WHvX64RegisterRip,
    WHvX64RegisterRflags,
    WHvX64RegisterCs,
    WHvX64RegisterSs,
    WHvX64RegisterTr,
    WHvX64RegisterLdtr,
    WHvX64RegisterGdtr,
    WHvX64RegisterIdtr,
    WHvX64RegisterCr0,
    WHvX64RegisterCr2,
    WHvX64RegisterCr3,
    WHvX64RegisterCr4,
    WHvX64RegisterCr8,
    WHvX64RegisterEfer,
    WHvX64RegisterDr7,
    WHvX64RegisterXCr0,
    WHvX64RegisterXmm0,
    WHvX64RegisterFpMmx0,
    WHvX64RegisterFpControlStatus,
    WHvX64RegisterXmmControlStatus,
    WHvX64RegisterPat,
    WHvX64RegisterLstar,
    WHvX64RegisterKernelGsBase,
    WHvX64RegisterApicBase,
    WHvRegisterPendingInterruption,
    WHvRegisterInterruptState,
    WHvRegisterInternalActivityState,
    WHvRegisterPendingEvent,
};

static const WHV_PARTITION_PROPERTY_CODE properties[] = {
    WHvPartitionPropertyCodeExtendedVmExits,      WHvPartitionPropertyCodeExceptionExitBitmap,
    WHvPartitionPropertyCodeX64MsrExitBitmap,     WHvPartitionPropertyCodeProcessorFeatures,
    WHvPartitionPropertyCodeProcessorClFlushSize, WHvPartitionPropertyCodeProcessorXsaveFeatures,
    WHvPartitionPropertyCodeProcessorCount,       WHvPartitionPropertyCodeUnimplementedMsrAction,
};

struct arguments_state {
    WHV_REGISTER_VALUE registers[COUNT(watched)];
    WHV_PARTITION_PROPERTY properties[COUNT(properties)];
    WHV_PARTITION_MEMORY_COUNTERS counters;
    uint64_t memory; /* a sum over the guest's data */
    size_t pages, heap;
};

static struct arguments_state before, after; /* too large for a stack */

static uint64_t sum(const struct vm *vm)
{
    const uint64_t *words = (const uint64_t *)vm->memory;
    uint64_t total = 0;

    for (size_t i = 0; i < VM_FREE / 8; i++)
        total = (total << 1 | total >> 63) ^ words[i];
    return total;
}

static void look(struct vm *vm, struct arguments_state *s, bool with_vp)
{
    memset(s, 0, sizeof(*s));
    if (with_vp)
        EXPECT_OK(WHvGetVirtualProcessorRegisters(vm->partition, 0, watched, COUNT(watched), s->registers));
    for (size_t i = 0; i < COUNT(properties); i++)
        EXPECT_OK(
            WHvGetPartitionProperty(vm->partition, properties[i], &s->properties[i], sizeof(s->properties[i]), NULL));
    EXPECT_OK(
        WHvGetPartitionCounters(vm->partition, WHvPartitionCounterSetMemory, &s->counters, sizeof(s->counters), NULL));
    s->memory = sum(vm);
    s->pages = pages_free_count();
    s->heap = heap_used();
}

void arguments_begin(struct vm *vm, bool with_vp)
{
    look(vm, &before, with_vp);
}

bool arguments_unchanged(struct vm *vm, bool with_vp)
{
    look(vm, &after, with_vp);
    return EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}

/* ------------------------------------------------------------------ each function, called properly */

uint8_t arguments_page[PAGE_SIZE] __attribute__((aligned(4096)));

static const UINT64 no_exits;
static const WHV_REGISTER_NAME rip = WHvX64RegisterRip;
static const WHV_INTERRUPT_CONTROL interrupt = {.Vector = 0x40};
static const WHV_TRIGGER_PARAMETERS good_trigger = {.TriggerType = WHvTriggerTypeSynicEvent};
static const WHV_NOTIFICATION_PORT_PARAMETERS good_port = {.NotificationPortType = WHvNotificationPortTypeEvent};
static WHV_TRIGGER_HANDLE trigger; /* NULL: nobody here makes one */
static WHV_NOTIFICATION_PORT_HANDLE port;
static HANDLE event;
static WHV_REGISTER_VALUE value;
static WHV_RUN_VP_EXIT_CONTEXT exit_context;
static uint8_t buffer[PAGE_SIZE] __attribute__((aligned(64)));
static UINT32 written;

#define CALL(name) static HRESULT call_##name(WHV_PARTITION_HANDLE p, UINT32 vp)

/* clang-format off */
CALL(setup)        { (void)vp; return WHvSetupPartition(p); }
CALL(reset)        { (void)vp; return WHvResetPartition(p); }
CALL(suspend)      { (void)vp; return WHvSuspendPartitionTime(p); }
CALL(resume)       { (void)vp; return WHvResumePartitionTime(p); }
CALL(delete)       { (void)vp; return WHvDeletePartition(p); }
CALL(get_property) { (void)vp; return WHvGetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, buffer, 4, &written); }
CALL(set_property) { (void)vp; return WHvSetPartitionProperty(p, WHvPartitionPropertyCodeExtendedVmExits, &no_exits, 8); }
CALL(counters)     { (void)vp; return WHvGetPartitionCounters(p, WHvPartitionCounterSetMemory, buffer, 24, &written); }
CALL(vp_counters)  { return WHvGetVirtualProcessorCounters(p, vp, WHvProcessorCounterSetRuntime, buffer, 16, &written); }
CALL(map)          { (void)vp; return WHvMapGpaRange(p, arguments_page, 0x40000000, PAGE_SIZE, WHvMapGpaRangeFlagRead); }
CALL(map2)         { (void)vp; return WHvMapGpaRange2(p, NULL, arguments_page, 0x40000000, PAGE_SIZE, WHvMapGpaRangeFlagRead); }
CALL(unmap)        { (void)vp; return WHvUnmapGpaRange(p, VM_FREE, PAGE_SIZE); }
CALL(query_dirty)  { (void)vp; return WHvQueryGpaRangeDirtyBitmap(p, VM_FREE, PAGE_SIZE, (UINT64 *)buffer, 8); }
CALL(create)       { return WHvCreateVirtualProcessor(p, vp, 0); }
CALL(create2)      { return WHvCreateVirtualProcessor2(p, vp, NULL, 0); }
CALL(delete_vp)    { return WHvDeleteVirtualProcessor(p, vp); }
CALL(run)          { return WHvRunVirtualProcessor(p, vp, &exit_context, sizeof(exit_context)); }
CALL(cancel)       { return WHvCancelRunVirtualProcessor(p, vp, 0); }
CALL(get)          { return WHvGetVirtualProcessorRegisters(p, vp, &rip, 1, &value); }
CALL(set)          { return WHvSetVirtualProcessorRegisters(p, vp, &rip, 1, &value); }
CALL(get_xsave)    { return WHvGetVirtualProcessorXsaveState(p, vp, buffer, sizeof(buffer), &written); }
CALL(set_xsave)    { return WHvSetVirtualProcessorXsaveState(p, vp, memset(buffer, 0, sizeof(buffer)), sizeof(buffer)); }
CALL(get_state)    { return WHvGetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeXsaveState, buffer, sizeof(buffer), &written); }
CALL(set_state)    { return WHvSetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeXsaveState, memset(buffer, 0, sizeof(buffer)), sizeof(buffer)); }
CALL(get_apic)     { return WHvGetVirtualProcessorInterruptControllerState(p, vp, buffer, sizeof(buffer), &written); }
CALL(set_apic)     { return WHvSetVirtualProcessorInterruptControllerState(p, vp, memset(buffer, 0, sizeof(buffer)), sizeof(buffer)); }
CALL(get_apic2)    { return WHvGetVirtualProcessorInterruptControllerState2(p, vp, buffer, sizeof(buffer), &written); }
CALL(set_apic2)    { return WHvSetVirtualProcessorInterruptControllerState2(p, vp, memset(buffer, 0, sizeof(buffer)), sizeof(buffer)); }
CALL(interrupt)    { (void)vp; return WHvRequestInterrupt(p, &interrupt, sizeof(interrupt)); }
CALL(targets)      { UINT32 vps[4], n; (void)vp; return WHvGetInterruptTargetVpSet(p, 0, WHvX64InterruptDestinationModePhysical, vps, 4, &n); }
CALL(post)         { return WHvPostVirtualProcessorSynicMessage(p, vp, 2, "message", 7); }
CALL(signal)       { return WHvSignalVirtualProcessorSynicEvent(p, (WHV_SYNIC_EVENT_PARAMETERS){.VpIndex = vp}, NULL); }
CALL(new_trigger)  { (void)vp; return WHvCreateTrigger(p, &good_trigger, &trigger, &event); }
CALL(trigger)      { (void)vp; return WHvUpdateTriggerParameters(p, &good_trigger, trigger); }
CALL(no_trigger)   { (void)vp; return WHvDeleteTrigger(p, trigger); }
CALL(new_port)     { (void)vp; return WHvCreateNotificationPort(p, &good_port, event, &port); }
CALL(port)         { (void)vp; return WHvSetNotificationPortProperty(p, port, WHvNotificationPortPropertyPreferredTargetVp, 0); }
CALL(no_port)      { (void)vp; return WHvDeleteNotificationPort(p, port); }
CALL(cpuid)        { return WHvGetVirtualProcessorCpuidOutput(p, vp, 0, 0, (WHV_CPUID_OUTPUT *)buffer); }
CALL(read_gpa)     { return WHvReadGpaRange(p, vp, VM_DATA, (WHV_ACCESS_GPA_CONTROLS){.CacheType = WHvCacheTypeWriteBack}, buffer, 8); }
CALL(write_gpa)    { return WHvWriteGpaRange(p, vp, VM_DATA, (WHV_ACCESS_GPA_CONTROLS){.CacheType = WHvCacheTypeWriteBack}, buffer, 8); }
CALL(finding)      { return WHvxGetAuditFinding(p, vp, (WHVX_AUDIT_FINDING *)buffer); }
CALL(audit)        { return WHvxAuditVirtualProcessor(p, vp, (BOOL *)(buffer + 512), (WHVX_AUDIT_FINDING *)buffer); }
CALL(triple_fault) { return WHvxGetTripleFault(p, vp, (WHVX_TRIPLE_FAULT *)buffer); }
CALL(exits)        { return WHvxGetExitCounters(p, vp, (WHVX_EXIT_COUNTER *)buffer, WHVX_EXIT_COUNTERS_MAX, &written); }

static const WHV_DOORBELL_MATCH_DATA doorbell = {.GuestAddress = 0xF0};

CALL(no_doorbell)      { (void)vp; return WHvUnregisterPartitionDoorbellEvent(p, &doorbell); }
CALL(no_port_doorbell) { (void)vp; return WHvxUnregisterPartitionPortDoorbellEvent(p, &doorbell); }

static HRESULT with_event(HRESULT (*call)(WHV_PARTITION_HANDLE p, const WHV_DOORBELL_MATCH_DATA *match, HANDLE event), WHV_PARTITION_HANDLE p)
{
    void *event = event_create(EVENT_AUTO);
    HRESULT hr = call(p, &doorbell, event);

    event_close(event);
    return hr;
}

CALL(doorbell)      { (void)vp; return with_event(WHvRegisterPartitionDoorbellEvent, p); }
CALL(port_doorbell) { (void)vp; return with_event(WHvxRegisterPartitionPortDoorbellEvent, p); }

#define NUMBER 0x123456789ull /* of a device that nobody has made */

static const WHV_VPCI_DEVICE_REGISTER good_register = {WHvVpciConfigSpace, 4, 0};
static const WHV_VPCI_INTERRUPT_TARGET good_target = {.Vector = 0x40, .ProcessorCount = 1};
static UINT64 msi;

CALL(no_device)     { (void)vp; return WHvDeleteVpciDevice(p, NUMBER); }
CALL(device_ids)    { (void)vp; return WHvGetVpciDeviceProperty(p, NUMBER, WHvVpciDevicePropertyCodeHardwareIDs, buffer, 12, &written); }
CALL(device_notice) { (void)vp; return WHvGetVpciDeviceNotification(p, NUMBER, (WHV_VPCI_DEVICE_NOTIFICATION *)buffer, 16); }
CALL(device_map)    { (void)vp; return WHvMapVpciDeviceMmioRanges(p, NUMBER, &written, (WHV_VPCI_MMIO_MAPPING **)buffer); }
CALL(device_unmap)  { (void)vp; return WHvUnmapVpciDeviceMmioRanges(p, NUMBER); }
CALL(device_power)  { (void)vp; return WHvSetVpciDevicePowerState(p, NUMBER, PowerDeviceD0); }
CALL(device_read)   { (void)vp; return WHvReadVpciDeviceRegister(p, NUMBER, &good_register, buffer); }
CALL(device_write)  { (void)vp; return WHvWriteVpciDeviceRegister(p, NUMBER, &good_register, buffer); }
CALL(device_irq)    { (void)vp; return WHvMapVpciDeviceInterrupt(p, NUMBER, 0, 1, &good_target, &msi, &written); }
CALL(device_no_irq) { (void)vp; return WHvUnmapVpciDeviceInterrupt(p, NUMBER, 0); }
CALL(device_move)   { (void)vp; return WHvRetargetVpciDeviceInterrupt(p, NUMBER, 0xfee00018, 0, &good_target); }
CALL(device_raise)  { (void)vp; return WHvRequestVpciDeviceInterrupt(p, NUMBER, 0xfee00000, 0x40); }
CALL(device_target) { (void)vp; return WHvGetVpciDeviceInterruptTarget(p, NUMBER, 0, 0, (WHV_VPCI_INTERRUPT_TARGET *)buffer, 16, &written); }

CALL(device)
{
    HANDLE resource = NULL;
    HRESULT hr;

    (void)vp;
    EXPECT_OK(WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, NULL, 0, &resource));
    hr = WHvCreateVpciDevice(p, NUMBER, resource, WHvCreateVpciDeviceFlagNone, NULL);
    EXPECT_OK(WHvxCloseVpciResource(resource));
    return hr;
}

CALL(translate)
{
    return WHvTranslateGva(p, vp, VM_DATA, WHvTranslateGvaFlagValidateRead, (WHV_TRANSLATE_GVA_RESULT *)buffer,
                           (WHV_GUEST_PHYSICAL_ADDRESS *)(buffer + 8));
}

#define BUSY        WHV_E_INVALID_VP_STATE
#define NOT_SET_UP  ERROR_HV_INVALID_PARTITION_STATE
#define NO_DEVICE   ERROR_HV_INVALID_DEVICE_ID
#define WIN32_NOT_FOUND HRESULT_FROM_WIN32(ERROR_NOT_FOUND)
#define WIN32_STATE HRESULT_FROM_WIN32(ERROR_INVALID_STATE)
#define MISSING     WHV_E_VP_DOES_NOT_EXIST
#define DENIED      ERROR_HV_OPERATION_DENIED /* this partition has no local APICs */
#define NO_SYNIC    ERROR_HV_INVALID_SYNIC_STATE
#define ALLOWED     S_FALSE /* not a case of this table: the call is right */

static const struct {
    const char *name;
    uint32_t modes;
    HRESULT (*call)(WHV_PARTITION_HANDLE p, UINT32 vp);
    HRESULT without_setup, without_vp, running;
} functions[] = {
    {"WHvSetupPartition",                 0, call_setup,        ALLOWED,     ALLOWED,  WIN32_STATE},
    {"WHvResetPartition",                 0, call_reset,        WIN32_STATE, ALLOWED,  BUSY},
    {"WHvDeletePartition",                0, call_delete,       ALLOWED,     ALLOWED,  BUSY},
    {"WHvSuspendPartitionTime",           0, call_suspend,      NOT_SET_UP,  ALLOWED,  BUSY},
    {"WHvResumePartitionTime",            0, call_resume,       NOT_SET_UP,  NOT_SET_UP, NOT_SET_UP}, /* nor suspended */
    {"WHvGetPartitionProperty",           0, call_get_property, ALLOWED,     ALLOWED,  ALLOWED},
    {"WHvSetPartitionProperty",           0, call_set_property, ALLOWED,     ALLOWED,  BUSY},
    {"WHvGetPartitionCounters",           0, call_counters,     ALLOWED,     ALLOWED,  ALLOWED},
    {"WHvGetVirtualProcessorCounters",    0, call_vp_counters,  MISSING,     MISSING,  ALLOWED},
    {"WHvMapGpaRange",                    0, call_map,          NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvMapGpaRange2",                   0, call_map2,         NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvUnmapGpaRange",                  0, call_unmap,        NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvQueryGpaRangeDirtyBitmap",       0, call_query_dirty,  NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvCreateVirtualProcessor",         0, call_create,       NOT_SET_UP,  ALLOWED,  WHV_E_VP_ALREADY_EXISTS},
    {"WHvCreateVirtualProcessor2",        0, call_create2,      NOT_SET_UP,  ALLOWED,  WHV_E_VP_ALREADY_EXISTS},
    {"WHvDeleteVirtualProcessor",         0, call_delete_vp,    MISSING,     MISSING,  BUSY},
    {"WHvRunVirtualProcessor",            0, call_run,          MISSING,     MISSING,  BUSY},
    {"WHvCancelRunVirtualProcessor",      0, call_cancel,       MISSING,     MISSING,  ALLOWED},
    {"WHvGetVirtualProcessorRegisters",   0, call_get,          MISSING,     MISSING,  BUSY},
    {"WHvSetVirtualProcessorRegisters",   0, call_set,          MISSING,     MISSING,  BUSY},
    {"WHvGetVirtualProcessorXsaveState",  0, call_get_xsave,    MISSING,     MISSING,  BUSY},
    {"WHvSetVirtualProcessorXsaveState",  0, call_set_xsave,    MISSING,     MISSING,  BUSY},
    {"WHvGetVirtualProcessorState",       0, call_get_state,    MISSING,     MISSING,  BUSY},
    {"WHvSetVirtualProcessorState",       0, call_set_state,    MISSING,     MISSING,  BUSY},
    {"WHvGetVirtualProcessorInterruptControllerState",  0, call_get_apic,  MISSING, MISSING, DENIED},
    {"WHvSetVirtualProcessorInterruptControllerState",  0, call_set_apic,  MISSING, MISSING, DENIED},
    {"WHvGetVirtualProcessorInterruptControllerState2", 0, call_get_apic2, MISSING, MISSING, DENIED},
    {"WHvSetVirtualProcessorInterruptControllerState2", 0, call_set_apic2, MISSING, MISSING, DENIED},
    {"WHvRequestInterrupt",               0, call_interrupt,    DENIED,      ALLOWED,  DENIED},
    {"WHvGetInterruptTargetVpSet",        0, call_targets,      DENIED,      ALLOWED,  DENIED},
    {"WHvPostVirtualProcessorSynicMessage", 0, call_post,       MISSING,     MISSING,  NO_SYNIC},
    {"WHvSignalVirtualProcessorSynicEvent", 0, call_signal,     MISSING,     MISSING,  NO_SYNIC},
    {"WHvCreateTrigger",                  0, call_new_trigger,  NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvUpdateTriggerParameters",        0, call_trigger,      E_INVALIDARG, ALLOWED, E_INVALIDARG},
    {"WHvDeleteTrigger",                  0, call_no_trigger,   E_INVALIDARG, ALLOWED, E_INVALIDARG},
    {"WHvCreateNotificationPort",         0, call_new_port,     NOT_SET_UP,  ALLOWED,  E_INVALIDARG},
    {"WHvSetNotificationPortProperty",    0, call_port,         E_INVALIDARG, ALLOWED, E_INVALIDARG},
    {"WHvDeleteNotificationPort",         0, call_no_port,      E_INVALIDARG, ALLOWED, E_INVALIDARG},
    {"WHvGetVirtualProcessorCpuidOutput", 0, call_cpuid,        MISSING,     MISSING,  BUSY},
    {"WHvReadGpaRange",                   0, call_read_gpa,     MISSING,     MISSING,  BUSY},
    {"WHvWriteGpaRange",                  0, call_write_gpa,    MISSING,     MISSING,  BUSY},
    {"WHvTranslateGva",                   0, call_translate,    MISSING,     MISSING,  BUSY},
    {"WHvRegisterPartitionDoorbellEvent", 0, call_doorbell,     NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvUnregisterPartitionDoorbellEvent", 0, call_no_doorbell, NOT_SET_UP, WIN32_NOT_FOUND, WIN32_NOT_FOUND},
    {"WHvxRegisterPartitionPortDoorbellEvent", 0, call_port_doorbell, NOT_SET_UP, ALLOWED, ALLOWED},
    {"WHvxUnregisterPartitionPortDoorbellEvent", 0, call_no_port_doorbell, NOT_SET_UP, WIN32_NOT_FOUND, WIN32_NOT_FOUND},
    {"WHvCreateVpciDevice",               0, call_device,       NOT_SET_UP,  ALLOWED,  ALLOWED},
    {"WHvDeleteVpciDevice",               0, call_no_device,    NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvGetVpciDeviceProperty",          0, call_device_ids,   NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvGetVpciDeviceNotification",      0, call_device_notice, NO_DEVICE,  NO_DEVICE, NO_DEVICE},
    {"WHvMapVpciDeviceMmioRanges",        0, call_device_map,   NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvUnmapVpciDeviceMmioRanges",      0, call_device_unmap, NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvSetVpciDevicePowerState",        0, call_device_power, NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvReadVpciDeviceRegister",         0, call_device_read,  NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvWriteVpciDeviceRegister",        0, call_device_write, NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvMapVpciDeviceInterrupt",         0, call_device_irq,   NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvUnmapVpciDeviceInterrupt",       0, call_device_no_irq, NO_DEVICE,  NO_DEVICE, NO_DEVICE},
    {"WHvRetargetVpciDeviceInterrupt",    0, call_device_move,  NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvRequestVpciDeviceInterrupt",     0, call_device_raise, NO_DEVICE,   NO_DEVICE, NO_DEVICE},
    {"WHvGetVpciDeviceInterruptTarget",   0, call_device_target, NO_DEVICE,  NO_DEVICE, NO_DEVICE},
    {"WHvxGetAuditFinding",               0, call_finding,      MISSING,     MISSING,  BUSY},
    {"WHvxAuditVirtualProcessor",         0, call_audit,        MISSING,     MISSING,  BUSY},
    {"WHvxGetTripleFault",                0, call_triple_fault, MISSING,     MISSING,  BUSY},
    {"WHvxGetExitCounters",               0, call_exits,        MISSING,     MISSING,  ALLOWED},
};
/* clang-format on */

/* --------------------------------------------------------------------------------------- handles */

static WHV_PARTITION_HANDLE dead_handle(unsigned times)
{
    WHV_PARTITION_HANDLE p = NULL;

    EXPECT_OK(WHvCreatePartition(&p));
    EXPECT_OK(WHvDeletePartition(p));
    while (--times)
        EXPECT_HR(WHvDeletePartition(p), E_INVALIDARG);
    return p;
}

/* The same slot in another generation, the same number with a bit changed, addresses: none of them is a handle. */
TEST_ROWS(arguments_handles, "arguments: handles that are none", functions)
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    uint64_t good = (uintptr_t)vm.partition;
    const WHV_PARTITION_HANDLE bad[] = {
        NULL,
        INVALID_HANDLE_VALUE,
        &vm,
        vm.memory,
        (void *)row->call,
        dead_handle(1),
        dead_handle(3),
        (void *)(good ^ 1),
        (void *)(good ^ 1ull << 16),
        (void *)(good ^ 1ull << 47),
        (void *)(good ^ 1ull << 63),
        (void *)(uintptr_t)1,
        (void *)(uintptr_t)0x7fffffffffff,
        (void *)(uintptr_t)0x5750000000000fff,
    };

    arguments_begin(&vm, true);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (!EXPECT_HR(row->call(bad[i], 0), E_INVALIDARG))
            test_note("handle %p", bad[i]);
    arguments_unchanged(&vm, true);
    EXPECT_END(&vm);
}

/* -------------------------------------------------------------------- the other columns of the table */

static bool expect_result(size_t function, WHV_PARTITION_HANDLE p, UINT32 vp, HRESULT wanted)
{
    bool right = EXPECT_HR(functions[function].call(p, vp), wanted);

    if (!right)
        test_note("%s, virtual processor 0x%x", functions[function].name, vp);
    return right;
}

TEST(arguments_indexes, "arguments: each function with virtual processors that do not exist")
{
    static const UINT32 bad[] = {1, 2, 63, 64, 65, 0x7fffffff, 0x80000000, 0xffffffff};
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    arguments_begin(&vm, true);
    for (size_t f = 0; f < COUNT(functions); f++)
        for (size_t i = 0; i < COUNT(bad) && functions[f].without_vp != ALLOWED; i++)
            expect_result(f, vm.partition, bad[i], functions[f].without_vp);
    arguments_unchanged(&vm, true);
    EXPECT_END(&vm);
}

TEST(arguments_deleted_vp, "arguments: each function with a deleted virtual processor")
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    EXPECT_OK(WHvDeleteVirtualProcessor(vm.partition, 0));
    arguments_begin(&vm, false);
    for (size_t f = 0; f < COUNT(functions); f++)
        if (functions[f].without_vp != ALLOWED)
            expect_result(f, vm.partition, 0, functions[f].without_vp);
    arguments_unchanged(&vm, false);
}

TEST(arguments_before_setup, "arguments: each function before WHvSetupPartition")
{
    WHV_PARTITION_HANDLE p = NULL;
    const UINT32 count = 1;

    REQUIRE(EXPECT_OK(WHvCreatePartition(&p)));
    EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count)));
    for (size_t f = 0; f < COUNT(functions); f++)
        if (functions[f].without_setup != ALLOWED)
            expect_result(f, p, 0, functions[f].without_setup);
    EXPECT_OK(WHvSetupPartition(p)); /* still possible, and so is all that follows */
    EXPECT_OK(WHvMapGpaRange(p, arguments_page, 0, PAGE_SIZE, WHvMapGpaRangeFlagRead));
    EXPECT_OK(WHvCreateVirtualProcessor(p, 0, 0));
    EXPECT_OK(WHvDeletePartition(p));
}

TEST(arguments_setup_order, "arguments: set-up without a processor count, and twice; two deletions")
{
    WHV_PARTITION_HANDLE p = NULL;
    const UINT32 count = 1;

    REQUIRE(EXPECT_OK(WHvCreatePartition(&p)));
    EXPECT_HR(WHvSetupPartition(p), WHV_E_INVALID_PARTITION_CONFIG);
    EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count)));
    EXPECT_OK(WHvSetupPartition(p));
    EXPECT_HR(WHvSetupPartition(p), WIN32_STATE);
    EXPECT_OK(WHvDeletePartition(p));
    EXPECT_HR(WHvDeletePartition(p), E_INVALIDARG);
}

/* The guest runs on meanwhile, and its registers are its own. */
TEST(arguments_running, "arguments: each function while the virtual processor runs")
{
    struct runner r;
    VM_GUEST(vm, VM_LONG, "smp_spin", NULL);

    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    for (size_t f = 0; f < COUNT(functions); f++)
        if (functions[f].running != ALLOWED)
            expect_result(f, vm.partition, 0, functions[f].running);
    EXPECT(counter_moves(&vm, 2));
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), r.exit.VpContext.Rip);
}
