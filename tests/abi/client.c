/* SPDX-License-Identifier: MIT */
/*
 * A client in the style of those that exist: it touches the API the way they do, with their spellings. It is compiled
 * as C and as C++, never run.
 */
#include <winhvemulation.h>
#include <winhvplatform.h>

#define VCPU     0
#define RAM_SIZE (2ULL * 1024 * 1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CHECK(hr)           \
    do {                    \
        HRESULT hr_ = (hr); \
        if (FAILED(hr_))    \
            return hr_;     \
    } while (0)

struct machine {
    WHV_PARTITION_HANDLE partition;
    WHV_EMULATOR_HANDLE emulator;
    VOID *ram;
    UINT64 tsc_hz;
    BOOL apic;
    BOOLEAN stop;
};

HRESULT machine_create(struct machine *m);
HRESULT machine_run(struct machine *m);
HRESULT machine_extras(struct machine *m, HANDLE event);
void machine_destroy(struct machine *m);

/* ------------------------------------------------------------------------------------------- emulator callbacks */

static HRESULT CALLBACK on_port(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *io)
{
    struct machine *m = (struct machine *)context;

    if (io->Direction == 0)
        io->Data = 0xFFFFFFFFu >> (32 - 8 * io->AccessSize);
    else if (io->Port == 0x501)
        m->stop = TRUE;
    return S_OK;
}

static HRESULT CALLBACK on_memory(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *access)
{
    struct machine *m = (struct machine *)context;
    BYTE *ram = (BYTE *)m->ram;

    if (access->GpaAddress >= RAM_SIZE || RAM_SIZE - access->GpaAddress < access->AccessSize)
        return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    for (UINT8 i = 0; i < access->AccessSize; i++) {
        if (access->Direction)
            ram[access->GpaAddress + i] = access->Data[i];
        else
            access->Data[i] = ram[access->GpaAddress + i];
    }
    return S_OK;
}

static HRESULT CALLBACK on_get(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, WHV_REGISTER_VALUE *values)
{
    return WHvGetVirtualProcessorRegisters(((struct machine *)context)->partition, VCPU, names, count, values);
}

static HRESULT CALLBACK on_set(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                               const WHV_REGISTER_VALUE *values)
{
    return WHvSetVirtualProcessorRegisters(((struct machine *)context)->partition, VCPU, names, count, values);
}

static HRESULT CALLBACK on_translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                                     WHV_TRANSLATE_GVA_RESULT_CODE *code, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    WHV_TRANSLATE_GVA_RESULT result;
    HRESULT hr = WHvTranslateGva(((struct machine *)context)->partition, VCPU, gva, flags, &result, gpa);

    *code = result.ResultCode;
    return hr;
}

static const WHV_EMULATOR_CALLBACKS callbacks = {
    sizeof(WHV_EMULATOR_CALLBACKS), 0, on_port, on_memory, on_get, on_set, on_translate,
};

/* -------------------------------------------------------------------------------------------------------- set-up */

static HRESULT set_u32(struct machine *m, WHV_PARTITION_PROPERTY_CODE code, UINT32 value)
{
    return WHvSetPartitionProperty(m->partition, code, &value, sizeof(value));
}

static HRESULT enter_long_mode(struct machine *m)
{
    static const WHV_REGISTER_NAME names[] = {
        WHvX64RegisterCs,  WHvX64RegisterSs,   WHvX64RegisterGdtr,   WHvX64RegisterCr0, WHvX64RegisterCr3,
        WHvX64RegisterCr4, WHvX64RegisterEfer, WHvX64RegisterRflags, WHvX64RegisterRip,
    };
    WHV_REGISTER_VALUE values[COUNT(names)] = {};
    WHV_X64_SEGMENT_REGISTER *cs = &values[0].Segment;

    cs->Selector = 0x33;
    cs->SegmentType = 0xB;
    cs->NonSystemSegment = 1;
    cs->DescriptorPrivilegeLevel = 3;
    cs->Present = 1;
    cs->Long = 1;
    values[1].Segment.Attributes = 0xC0F3;
    values[2].Table.Limit = 0xFFFF;
    values[3].Reg64 = 0x80000001;
    values[4].Reg64 = 0x1000;
    values[5].Reg64 = 0x20;
    values[6].Reg64 = 0x500;
    values[7].Reg64 = 2;
    values[8].Reg64 = 0x200000;
    return WHvSetVirtualProcessorRegisters(m->partition, VCPU, names, COUNT(names), values);
}

HRESULT machine_create(struct machine *m)
{
    WHV_CAPABILITY capability;
    UINT32 size;

    CHECK(WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &capability, sizeof(capability), &size));
    if (size != sizeof(BOOL) || !capability.HypervisorPresent)
        return WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG;
    CHECK(WHvGetCapability(WHvCapabilityCodeFeatures, &capability, sizeof(capability), NULL));
    m->apic = capability.Features.LocalApicEmulation && capability.Features.Xsave;
    CHECK(WHvGetCapability(WHvCapabilityCodeProcessorClockFrequency, &m->tsc_hz, sizeof(m->tsc_hz), NULL));

    CHECK(WHvCreatePartition(&m->partition));
    WHV_PARTITION_PROPERTY property = {};
    property.ProcessorCount = 1;
    CHECK(WHvSetPartitionProperty(m->partition, WHvPartitionPropertyCodeProcessorCount, &property, sizeof(property)));
    CHECK(set_u32(m, WHvPartitionPropertyCodeLocalApicEmulationMode,
                  m->apic ? WHvX64LocalApicEmulationModeX2Apic : WHvX64LocalApicEmulationModeNone));

    WHV_EXTENDED_VM_EXITS exits = {};
    exits.X64CpuidExit = exits.X64MsrExit = exits.ExceptionExit = 1;
    CHECK(WHvSetPartitionProperty(m->partition, WHvPartitionPropertyCodeExtendedVmExits, &exits, sizeof(exits)));
    UINT64 exceptions = 1ULL << WHvX64ExceptionTypePageFault | 1ULL << WHvX64ExceptionTypeDebugTrapOrFault;
    CHECK(WHvSetPartitionProperty(m->partition, WHvPartitionPropertyCodeExceptionExitBitmap, &exceptions,
                                  sizeof(exceptions)));
    const UINT32 leaves[] = {1, 0x80000001};
    CHECK(WHvSetPartitionProperty(m->partition, WHvPartitionPropertyCodeCpuidExitList, leaves, sizeof(leaves)));
    CHECK(WHvSetupPartition(m->partition));

    CHECK(WHvMapGpaRange(m->partition, m->ram, 0, RAM_SIZE,
                         (WHV_MAP_GPA_RANGE_FLAGS)(WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite |
                                                   WHvMapGpaRangeFlagExecute | WHvMapGpaRangeFlagTrackDirtyPages)));
    CHECK(WHvCreateVirtualProcessor(m->partition, VCPU, 0));
    CHECK(WHvEmulatorCreateEmulator(&callbacks, &m->emulator));
    return enter_long_mode(m);
}

/* -------------------------------------------------------------------------------------------------------- the run loop
 */

static HRESULT step_over(struct machine *m, const WHV_RUN_VP_EXIT_CONTEXT *exit)
{
    const WHV_REGISTER_NAME name = WHvX64RegisterRip;
    WHV_REGISTER_VALUE rip;

    rip.Reg64 = exit->VpContext.Rip + exit->VpContext.InstructionLength;
    return WHvSetVirtualProcessorRegisters(m->partition, VCPU, &name, 1, &rip);
}

static HRESULT answer_cpuid(struct machine *m, const WHV_RUN_VP_EXIT_CONTEXT *exit)
{
    const WHV_REGISTER_NAME names[] = {WHvX64RegisterRax, WHvX64RegisterRcx, WHvX64RegisterRdx, WHvX64RegisterRbx};
    WHV_REGISTER_VALUE values[4] = {};

    values[0].Reg64 = exit->CpuidAccess.DefaultResultRax;
    values[1].Reg64 = exit->CpuidAccess.DefaultResultRcx | (exit->CpuidAccess.Rax == 1 ? 1u << 31 : 0);
    values[2].Reg64 = exit->CpuidAccess.DefaultResultRdx;
    values[3].Reg64 = exit->CpuidAccess.DefaultResultRbx;
    CHECK(WHvSetVirtualProcessorRegisters(m->partition, VCPU, names, COUNT(names), values));
    return step_over(m, exit);
}

static HRESULT inject(struct machine *m, UINT8 vector, UINT32 error_code)
{
    const WHV_REGISTER_NAME names[] = {WHvRegisterPendingInterruption, WHvX64RegisterDeliverabilityNotifications,
                                       WHvRegisterPendingEvent};
    WHV_REGISTER_VALUE values[3] = {};

    values[0].PendingInterruption.InterruptionPending = 1;
    values[0].PendingInterruption.InterruptionType = WHvX64PendingException;
    values[0].PendingInterruption.InterruptionVector = vector;
    values[0].PendingInterruption.DeliverErrorCode = 1;
    values[0].PendingInterruption.ErrorCode = error_code;
    values[1].DeliverabilityNotifications.InterruptNotification = 1;
    values[2].ExtIntEvent.EventType = WHvX64PendingEventExtInt;
    return WHvSetVirtualProcessorRegisters(m->partition, VCPU, names, COUNT(names), values);
}

static HRESULT request(struct machine *m, UINT32 vector)
{
    WHV_INTERRUPT_CONTROL control = {};

    control.Type = WHvX64InterruptTypeFixed;
    control.DestinationMode = WHvX64InterruptDestinationModePhysical;
    control.TriggerMode = WHvX64InterruptTriggerModeEdge;
    control.Destination = VCPU;
    control.Vector = vector;
    return WHvRequestInterrupt(m->partition, &control, sizeof(control));
}

HRESULT machine_run(struct machine *m)
{
    WHV_RUN_VP_EXIT_CONTEXT exit;
    WHV_EMULATOR_STATUS status;

    while (!m->stop) {
        CHECK(WHvRunVirtualProcessor(m->partition, VCPU, &exit, sizeof(exit)));
        switch (exit.ExitReason) {
        case WHvRunVpExitReasonMemoryAccess:
            CHECK(WHvEmulatorTryMmioEmulation(m->emulator, m, &exit.VpContext, &exit.MemoryAccess, &status));
            if (!status.EmulationSuccessful)
                return E_UNEXPECTED;
            break;
        case WHvRunVpExitReasonX64IoPortAccess:
            CHECK(WHvEmulatorTryIoEmulation(m->emulator, m, &exit.VpContext, &exit.IoPortAccess, &status));
            if (status.AsUINT32 != 1)
                return E_FAIL;
            break;
        case WHvRunVpExitReasonX64Cpuid:
            CHECK(answer_cpuid(m, &exit));
            break;
        case WHvRunVpExitReasonX64MsrAccess:
            CHECK(exit.MsrAccess.AccessInfo.IsWrite ? step_over(m, &exit) : inject(m, 13, 0));
            break;
        case WHvRunVpExitReasonException:
            CHECK(inject(m, exit.VpException.ExceptionType, exit.VpException.ErrorCode));
            break;
        case WHvRunVpExitReasonX64ApicEoi:
            CHECK(request(m, exit.ApicEoi.InterruptVector));
            break;
        case WHvRunVpExitReasonX64InterruptWindow:
        case WHvRunVpExitReasonX64Halt:
            break;
        case WHvRunVpExitReasonCanceled:
            return exit.CancelReason.CancelReason == WhvRunVpCancelReasonUser ? S_OK : S_FALSE;
        case WHvRunVpExitReasonUnrecoverableException:
        default:
            return E_ABORT;
        }
    }
    return S_OK;
}

/* -------------------------------------------------------------------------------------------- less common corners */

HRESULT machine_extras(struct machine *m, HANDLE event)
{
    WHV_DOORBELL_MATCH_DATA doorbell = {};
    WHV_PROCESSOR_RUNTIME_COUNTERS counters;
    UINT64 dirty[RAM_SIZE / 4096 / 64];
    UINT32 size = 0;
    HRESULT hr;

    CHECK(WHvQueryGpaRangeDirtyBitmap(m->partition, 0, RAM_SIZE, dirty, sizeof(dirty)));
    CHECK(WHvGetVirtualProcessorCounters(m->partition, VCPU, WHvProcessorCounterSetRuntime, &counters, sizeof(counters),
                                         &size));
    doorbell.GuestAddress = 0xFE000000;
    doorbell.Length = 4;
    doorbell.MatchOnLength = 1;
    CHECK(WHvRegisterPartitionDoorbellEvent(m->partition, &doorbell, event));

    hr = WHvGetVirtualProcessorXsaveState(m->partition, VCPU, NULL, 0, &size);
    switch (hr) {
    case WHV_E_INSUFFICIENT_BUFFER:
        return S_OK;
    case ERROR_HV_INVALID_PARTITION_STATE:
        return WHV_HRESULT_FROM_HV_STATUS(7);
    default:
        return IsWHvGetVirtualProcessorStatePresent() ? hr : WHV_E_UNKNOWN_CAPABILITY;
    }
}

void machine_destroy(struct machine *m)
{
    WHvCancelRunVirtualProcessor(m->partition, VCPU, 0);
    WHvEmulatorDestroyEmulator(m->emulator);
    WHvDeleteVirtualProcessor(m->partition, VCPU);
    WHvUnmapGpaRange(m->partition, 0, RAM_SIZE);
    WHvDeletePartition(m->partition);
}
