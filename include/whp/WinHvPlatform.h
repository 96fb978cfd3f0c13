/* SPDX-License-Identifier: MIT */
/*
 * The Windows Hypervisor Platform API, called directly in kernel mode: partitions, memory, virtual processors,
 * devices.
 *
 * The usual order: WHvCreatePartition, WHvSetPartitionProperty (ProcessorCount at least), WHvSetupPartition,
 * WHvMapGpaRange and WHvCreateVirtualProcessor in either order, WHvSetVirtualProcessorRegisters, then
 * WHvRunVirtualProcessor in a loop that handles the exits; WHvDeleteVirtualProcessor, WHvDeletePartition. The
 * implementation comes group by group: a function that a build lacks is an undefined symbol at link time.
 *
 * Words of the comments below:
 *   Context: thread   interrupts on, preemption allowed; the call may sleep and allocate memory
 *   Context: any      also with preemption disabled; the call neither sleeps nor waits for a running virtual processor
 *   idle              the virtual processor is not inside WHvRunVirtualProcessor nor another call
 *   WHP:              the page of Microsoft's documentation that describes the function
 *
 * Every function answers, beside what its comment lists: S_OK for success; E_INVALIDARG for a handle that is not a
 * live one, an undefined code or flag, a reserved field that is not zero, NULL where a pointer is needed (E_POINTER
 * where the function's comment says so); E_OUTOFMEMORY. A function that takes VpIndex: WHV_E_VP_DOES_NOT_EXIST; one
 * that needs it idle:
 * WHV_E_INVALID_VP_STATE. After a failure nothing has changed, and the memory that out parameters point to is as
 * before.
 *
 * Buffers: a "written" pointer may be NULL and gets a count of bytes. A buffer that is too small gets nothing, its
 * call WHV_E_INSUFFICIENT_BUFFER, and the count is what would have been needed.
 */
#ifndef WHP_WINHVPLATFORM_H
#define WHP_WINHVPLATFORM_H

#include "WinHvPlatformDefs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------------------------------- capabilities */

/*
 * Copies the value of one capability into CapabilityBuffer. WrittenSizeInBytes gets the size of the value, never
 * that of WHV_CAPABILITY; the buffer may be larger. Needs no partition; HypervisorPresent is FALSE where virtual
 * processors cannot run.
 * Errors: WHV_E_UNKNOWN_CAPABILITY, WHV_E_INSUFFICIENT_BUFFER.
 * Context: thread. WHP: WHvGetCapability.
 */
HRESULT WHVAPI WHvGetCapability(WHV_CAPABILITY_CODE CapabilityCode, VOID *CapabilityBuffer,
                                UINT32 CapabilityBufferSizeInBytes, UINT32 *WrittenSizeInBytes);

/* ---------------------------------------------------------------------------------------------------- partitions */

/*
 * Makes a partition without memory or virtual processors. The caller sets its properties next and owns the handle
 * until WHvDeletePartition.
 * Errors: WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG when this machine cannot run virtual processors.
 * Context: thread. WHP: WHvCreatePartition.
 */
HRESULT WHVAPI WHvCreatePartition(WHV_PARTITION_HANDLE *Partition);

/*
 * Fixes the properties set so far and makes the partition usable. Once a partition. ProcessorCount must have been
 * set; all else has defaults.
 * Errors: WHV_E_INVALID_PARTITION_CONFIG for properties that are missing or contradict each other,
 *         WHV_E_UNSUPPORTED_PROCESSOR_CONFIG, HRESULT_FROM_WIN32(ERROR_INVALID_STATE) when set up already or
 *         before the source completed its migration.
 * Context: thread. WHP: WHvSetupPartition.
 */
HRESULT WHVAPI WHvSetupPartition(WHV_PARTITION_HANDLE Partition);

/*
 * Puts each virtual processor back into the state it was created in and forgets cancellations and pending
 * notifications. Properties, mappings and the contents of memory stay; time stands still until the next run.
 * Errors: HRESULT_FROM_WIN32(ERROR_INVALID_STATE) before WHvSetupPartition, WHV_E_INVALID_VP_STATE while a virtual
 *         processor runs (cancel it first).
 * Context: thread. WHP: WHvResetPartition.
 */
HRESULT WHVAPI WHvResetPartition(WHV_PARTITION_HANDLE Partition);

/*
 * Deletes the partition with its virtual processors, mappings, doorbells, triggers, ports and devices, whatever
 * state it is in. No virtual processor may be running. The handle is dead afterwards.
 * Context: thread. WHP: WHvDeletePartition.
 */
HRESULT WHVAPI WHvDeletePartition(WHV_PARTITION_HANDLE Partition);

/*
 * Copies the value of one property into PropertyBuffer; it may be larger than the value. For the two feature bank
 * properties the caller presets BanksCount.
 * Errors: WHV_E_UNKNOWN_PROPERTY, WHV_E_INSUFFICIENT_BUFFER, HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED) for
 *         CpuidExitList and CpuidResultList.
 * Context: thread. WHP: WHvGetPartitionProperty.
 */
HRESULT WHVAPI WHvGetPartitionProperty(WHV_PARTITION_HANDLE Partition, WHV_PARTITION_PROPERTY_CODE PropertyCode,
                                       VOID *PropertyBuffer, UINT32 PropertyBufferSizeInBytes,
                                       UINT32 *WrittenSizeInBytes);

/*
 * Sets one property. A scalar is taken from a buffer of its own size or of sizeof(WHV_PARTITION_PROPERTY); a list
 * is a plain array whose byte count says how many elements it has, 0 for none. Before WHvSetupPartition all can be
 * set, afterwards ExtendedVmExits, ExceptionExitBitmap, X64MsrExitBitmap and CpuidExitList, while no virtual
 * processor runs.
 * Errors: WHV_E_UNKNOWN_PROPERTY, WHV_E_INSUFFICIENT_BUFFER, E_INVALIDARG for a bad value or one that cannot be
 *         changed now.
 * Context: thread. WHP: WHvSetPartitionProperty.
 */
HRESULT WHVAPI WHvSetPartitionProperty(WHV_PARTITION_HANDLE Partition, WHV_PARTITION_PROPERTY_CODE PropertyCode,
                                       const VOID *PropertyBuffer, UINT32 PropertyBufferSizeInBytes);

/*
 * Stops the partition's reference time and TSC until WHvResumePartitionTime or the next run. No virtual processor
 * may be running. The reference time, synthetic timers and the local APICs' timers stop with them. TSCs can be read and
 * set meanwhile.
 * While it is stopped already nothing changes.
 * Errors: ERROR_HV_INVALID_PARTITION_STATE before WHvSetupPartition, WHV_E_INVALID_VP_STATE while a virtual processor
 *         runs.
 * Context: thread. WHP: WHvSuspendPartitionTime.
 */
HRESULT WHVAPI WHvSuspendPartitionTime(WHV_PARTITION_HANDLE Partition);

/*
 * Lets the partition's time go on from where it was stopped, also by WHvResetPartition.
 * Errors: ERROR_HV_INVALID_PARTITION_STATE when it is not suspended.
 * Context: thread. WHP: WHvResumePartitionTime.
 */
HRESULT WHVAPI WHvResumePartitionTime(WHV_PARTITION_HANDLE Partition);

/* -------------------------------------------------------------------------------------------------------- memory */

/*
 * Backs the guest-physical range [GuestAddress, GuestAddress + SizeInBytes) with the caller's memory at
 * SourceAddress, replacing what was mapped there. Both addresses and the size, which is not 0, are multiples of
 * 4096. The memory stays the caller's: it must remain in place until it is unmapped. May be called while virtual
 * processors run; new rights hold at the next access.
 * Errors: ERROR_HV_INVALID_PARTITION_STATE before WHvSetupPartition, E_INVALIDARG for bad alignment, size,
 *         overflow or flags.
 * Context: thread. WHP: WHvMapGpaRange.
 */
HRESULT WHVAPI WHvMapGpaRange(WHV_PARTITION_HANDLE Partition, VOID *SourceAddress,
                              WHV_GUEST_PHYSICAL_ADDRESS GuestAddress, UINT64 SizeInBytes,
                              WHV_MAP_GPA_RANGE_FLAGS Flags);

/*
 * As WHvMapGpaRange, for memory of the address space that Process stands for; NULL is the caller's own.
 * Errors: as WHvMapGpaRange.
 * Context: thread. WHP: WHvMapGpaRange2.
 */
HRESULT WHVAPI WHvMapGpaRange2(WHV_PARTITION_HANDLE Partition, HANDLE Process, VOID *SourceAddress,
                               WHV_GUEST_PHYSICAL_ADDRESS GuestAddress, UINT64 SizeInBytes,
                               WHV_MAP_GPA_RANGE_FLAGS Flags);

/*
 * Removes the mapping of a guest-physical range (multiples of 4096), which may be part of one mapping or span
 * several. Later accesses exit as MemoryAccess with GpaUnmapped set. On return no virtual processor reaches the
 * memory any more.
 * Errors: WHV_E_GPA_RANGE_NOT_FOUND, E_INVALIDARG.
 * Context: thread. WHP: WHvUnmapGpaRange.
 */
HRESULT WHVAPI WHvUnmapGpaRange(WHV_PARTITION_HANDLE Partition, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                                UINT64 SizeInBytes);

/*
 * Walks the page tables of an idle virtual processor for one guest-virtual address, with the checks that
 * TranslateFlags ask for. S_OK only means that TranslationResult is valid: its ResultCode tells whether the
 * address translates, and then *Gpa holds the guest-physical address.
 * Context: thread. WHP: WHvTranslateGva.
 */
HRESULT WHVAPI WHvTranslateGva(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHV_GUEST_VIRTUAL_ADDRESS Gva,
                               WHV_TRANSLATE_GVA_FLAGS TranslateFlags, WHV_TRANSLATE_GVA_RESULT *TranslationResult,
                               WHV_GUEST_PHYSICAL_ADDRESS *Gpa);

/*
 * Reads and clears the dirty bits of a range mapped with TrackDirtyPages: bit n of Bitmap stands for page n of
 * 4096 bytes. Bitmap is 8-byte aligned, its size a multiple of 8 bytes that covers the range; NULL with size 0
 * only clears.
 * Errors: WHV_E_GPA_RANGE_NOT_FOUND, E_INVALIDARG.
 * Context: thread. WHP: WHvQueryGpaRangeDirtyBitmap.
 */
HRESULT WHVAPI WHvQueryGpaRangeDirtyBitmap(WHV_PARTITION_HANDLE Partition, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                                           UINT64 RangeSizeInBytes, UINT64 *Bitmap, UINT32 BitmapSizeInBytes);

/*
 * Advice on guest-physical ranges: populate them (AdviceBuffer is a WHV_ADVISE_GPA_RANGE_POPULATE), pin or unpin
 * them (no buffer; multiples of 4096). Memory of a partition is always resident here, so success costs nothing.
 * Errors: WHV_E_GPA_RANGE_NOT_FOUND, E_INVALIDARG.
 * Context: thread. WHP: WHvAdviseGpaRange.
 */
HRESULT WHVAPI WHvAdviseGpaRange(WHV_PARTITION_HANDLE Partition, const WHV_MEMORY_RANGE_ENTRY *GpaRanges,
                                 UINT32 GpaRangesCount, WHV_ADVISE_GPA_RANGE_CODE Advice, const VOID *AdviceBuffer,
                                 UINT32 AdviceBufferSizeInBytes);

/*
 * Reads 1 to WHV_READ_WRITE_GPA_RANGE_MAX_SIZE bytes of guest-physical memory as the virtual processor would,
 * without ever emulating a device.
 * Errors: E_ACCESSDENIED where nothing readable is mapped, E_INVALIDARG for the size, cache type or VTL.
 * Context: thread. WHP: WHvReadGpaRange.
 */
HRESULT WHVAPI WHvReadGpaRange(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                               WHV_ACCESS_GPA_CONTROLS Controls, PVOID Data, UINT32 DataSizeInBytes);

/*
 * Writes 1 to WHV_READ_WRITE_GPA_RANGE_MAX_SIZE bytes of guest-physical memory as the virtual processor would.
 * Errors: E_ACCESSDENIED where nothing writable is mapped, E_INVALIDARG for the size, cache type or VTL.
 * Context: thread. WHP: WHvWriteGpaRange.
 */
HRESULT WHVAPI WHvWriteGpaRange(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHV_GUEST_PHYSICAL_ADDRESS GuestAddress,
                                WHV_ACCESS_GPA_CONTROLS Controls, const VOID *Data, UINT32 DataSizeInBytes);

/* -------------------------------------------------------------------------------------------- virtual processors */

/*
 * Makes virtual processor VpIndex, which is also its APIC id: 0 .. ProcessorCount - 1. Flags is 0. After
 * WHvSetupPartition. It starts in real mode at CS F000 (base 000F0000), RIP FFF0; with local APIC emulation all
 * but number 0 wait for a startup IPI.
 * Errors: WHV_E_VP_ALREADY_EXISTS, E_INVALIDARG for the index or flags.
 * Context: thread. WHP: WHvCreateVirtualProcessor.
 */
HRESULT WHVAPI WHvCreateVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 Flags);

/*
 * As WHvCreateVirtualProcessor, with properties; of two of the same code the last one counts. PropertyCount 0 with
 * NULL is allowed.
 * Errors: as WHvCreateVirtualProcessor.
 * Context: thread. WHP: WHvCreateVirtualProcessor2.
 */
HRESULT WHVAPI WHvCreateVirtualProcessor2(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                          const WHV_VIRTUAL_PROCESSOR_PROPERTY *Properties, UINT32 PropertyCount);

/*
 * Deletes an idle virtual processor; its index may be created again.
 * Context: thread. WHP: WHvDeleteVirtualProcessor.
 */
HRESULT WHVAPI WHvDeleteVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex);

/*
 * Runs the virtual processor on the calling thread until it exits to the client, and fills ExitContext, a
 * WHV_RUN_VP_EXIT_CONTEXT aligned to 16 bytes. One thread at a time, not always the same one. Interrupts and
 * scheduling of the host do not end the run.
 * Errors: WHV_E_INVALID_VP_STATE when it runs already, ERROR_HV_INVALID_PARTITION_STATE.
 * Context: thread; sleeps while the guest halts with local APIC emulation. WHP: WHvRunVirtualProcessor.
 */
HRESULT WHVAPI WHvRunVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, VOID *ExitContext,
                                      UINT32 ExitContextSizeInBytes);

/*
 * Makes the present or else the next WHvRunVirtualProcessor return with Canceled. Several cancellations before
 * that return count as one. If the run ends for another reason at the same time, that one is returned and the next
 * run is cancelled. Flags is 0.
 * Context: any. WHP: WHvCancelRunVirtualProcessor.
 */
HRESULT WHVAPI WHvCancelRunVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 Flags);

/* --------------------------------------------------------------------- registers and state of virtual processors */

/*
 * Reads RegisterCount registers of an idle virtual processor; RegisterValues is aligned to 16 bytes. Bytes above a
 * register's size become 0.
 * Errors: WHV_E_INVALID_VP_REGISTER_NAME; RegisterValues then holds nothing of use.
 * Context: thread. WHP: WHvGetVirtualProcessorRegisters.
 */
HRESULT WHVAPI WHvGetVirtualProcessorRegisters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                               const WHV_REGISTER_NAME *RegisterNames, UINT32 RegisterCount,
                                               WHV_REGISTER_VALUE *RegisterValues);

/*
 * Writes RegisterCount registers of an idle virtual processor, in the order given; RegisterValues is aligned to 16
 * bytes and may hold anything above a register's size. A combination that the CPU refuses shows at the next run,
 * as exit InvalidVpRegisterValue.
 * Errors: WHV_E_INVALID_VP_REGISTER_NAME, ERROR_HV_INVALID_PARAMETER for a value that the register cannot hold;
 *         registers before the one at fault have been written.
 * Context: thread. WHP: WHvSetVirtualProcessorRegisters.
 */
HRESULT WHVAPI WHvSetVirtualProcessorRegisters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                               const WHV_REGISTER_NAME *RegisterNames, UINT32 RegisterCount,
                                               const WHV_REGISTER_VALUE *RegisterValues);

/*
 * Copies the XSAVE area of an idle virtual processor, in compacted form. Buffer NULL with size 0 asks for the
 * size.
 * Errors: WHV_E_INSUFFICIENT_BUFFER.
 * Context: thread. WHP: WHvGetVirtualProcessorXsaveState.
 */
HRESULT WHVAPI WHvGetVirtualProcessorXsaveState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, VOID *Buffer,
                                                UINT32 BufferSizeInBytes, UINT32 *BytesWritten);

/*
 * Loads an XSAVE area as WHvGetVirtualProcessorXsaveState gives it. XCR0, XSS and CR4 must have been set before.
 * Context: thread. WHP: WHvSetVirtualProcessorXsaveState.
 */
HRESULT WHVAPI WHvSetVirtualProcessorXsaveState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, const VOID *Buffer,
                                                UINT32 BufferSizeInBytes);

/*
 * Copies one state blob of an idle virtual processor. Buffer NULL with size 0 asks for the size.
 * Errors: WHV_E_INSUFFICIENT_BUFFER.
 * Context: thread. WHP: WHvGetVirtualProcessorState.
 */
HRESULT WHVAPI WHvGetVirtualProcessorState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                           WHV_VIRTUAL_PROCESSOR_STATE_TYPE StateType, VOID *Buffer,
                                           UINT32 BufferSizeInBytes, UINT32 *BytesWritten);

/*
 * Loads one state blob, of exactly its size, into an idle virtual processor.
 * Errors: E_INVALIDARG for another size.
 * Context: thread. WHP: WHvSetVirtualProcessorState.
 */
HRESULT WHVAPI WHvSetVirtualProcessorState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                           WHV_VIRTUAL_PROCESSOR_STATE_TYPE StateType, const VOID *Buffer,
                                           UINT32 BufferSizeInBytes);

/*
 * What CPUID gives this virtual processor for leaf Eax, subleaf Ecx, with the partition's result lists applied.
 * Context: thread. WHP: WHvGetVirtualProcessorCpuidOutput.
 */
HRESULT WHVAPI WHvGetVirtualProcessorCpuidOutput(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 Eax, UINT32 Ecx,
                                                 WHV_CPUID_OUTPUT *CpuidOutput);

/* ---------------------------------------------------------------------------------------------------- interrupts */

/*
 * Sends an interrupt message through the emulated local APICs; wakes a virtual processor that halts.
 * InterruptControlSize is sizeof(WHV_INTERRUPT_CONTROL). Needs LocalApicEmulationMode XApic or X2Apic. Virtual
 * processors may run. A Destination above 255 is one of x2APIC's 32 bits, 0xFF and 0xFFFFFFFF are everybody. TriggerMode
 * counts for Fixed and LowestPriority; the end of a level-triggered interrupt is an X64ApicEoi exit.
 *   Fixed, LowestPriority  the vector, 16 to 255; LowestPriority goes to one of those addressed, in turn.
 *   Nmi, Init, Sipi        as the architecture has them; Sipi with the startup vector, up to 255. They are delivered
 *                          also where the guest's own exit (X64ApicInitSipiExitTrap).
 *   LocalInt1              asserts the input LINT1 once: what comes of it the entry LINT1 of the guest's LVT says. Fixed:
 *                          the entry's vector and trigger mode (level: it counts as asserted until the EOI, which exits;
 *                          who still asserts it then sends it again); NMI, INIT; SMI: as the type Smi; ExtINT: as the
 *                          type ExtInt; masked: nothing. While the APIC is off by IA32_APIC_BASE: an NMI.
 * BareWHP's own, by the architecture's numbers of delivery modes (WHvxInterruptType...):
 *   LocalInt0  8  the same for LINT0. While the APIC is off: an ExtInt.
 *   ExtInt     7  an interrupt of a PIC, which is connected to LINT0: taken by those whose entry LINT0 has the mode
 *                 ExtINT and is not masked, or whose APIC is off. Vector, 0 to 255, goes in as soon as RFLAGS.IF and the
 *                 shadow allow, whatever the task priority is, and without an EOI. Until then it waits (equal vectors
 *                 once, the lowest first) and shows in the register PendingEvent, unless an event of the client's is
 *                 there, which goes first; setting that register to no event drops those that wait.
 *   Smi        2  only with X64ApicSmiExitTrap: those addressed exit with X64ApicSmiTrap, whose ApicIcr is that of an SMI
 *                 to oneself (delivery mode SMI, shorthand self).
 * The destinations of inputs (LocalInt0, LocalInt1, ExtInt) may have their APIC off, if addressed physically. Remote
 * reads, the delivery mode 3, are the guest's only (property ApicRemoteReadSupport; xAPIC mode).
 * Errors: ERROR_HV_OPERATION_DENIED without local APIC emulation, E_INVALIDARG for another type, for Smi without the
 *         trap, and for a vector that the type does not have. That nobody is addressed is no error.
 * Context: any. WHP: WHvRequestInterrupt.
 */
HRESULT WHVAPI WHvRequestInterrupt(WHV_PARTITION_HANDLE Partition, const WHV_INTERRUPT_CONTROL *Interrupt,
                                   UINT32 InterruptControlSize);

/*
 * Lists the virtual processors that an APIC destination addresses now, the lowest index first. TargetVps has room for
 * VpCount indexes, at least ProcessorCount. A Destination above 255 is one of x2APIC's 32 bits.
 * Errors: ERROR_HV_OPERATION_DENIED without local APIC emulation, E_INVALIDARG for less room, for a destination above 32
 *         bits, and for a mode that is none.
 * Context: any. WHP: WHvGetInterruptTargetVpSet.
 */
HRESULT WHVAPI WHvGetInterruptTargetVpSet(WHV_PARTITION_HANDLE Partition, UINT64 Destination,
                                          WHV_INTERRUPT_DESTINATION_MODE DestinationMode, UINT32 *TargetVps,
                                          UINT32 VpCount, UINT32 *TargetVpCount);

/*
 * Copies the local APIC state of an idle virtual processor in a form that only the function below understands.
 * Superseded by ...State2.
 * Errors: WHV_E_INSUFFICIENT_BUFFER, ERROR_HV_OPERATION_DENIED without local APIC emulation.
 * Context: thread. WHP: WHvGetVirtualProcessorInterruptControllerState.
 */
HRESULT WHVAPI WHvGetVirtualProcessorInterruptControllerState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                              VOID *State, UINT32 StateSize, UINT32 *WrittenSize);

/*
 * Loads what WHvGetVirtualProcessorInterruptControllerState gave.
 * Errors: E_POINTER for a buffer that is too small, E_INVALIDARG for reserved bits, ERROR_HV_OPERATION_DENIED without local APIC emulation.
 * Context: thread. WHP: WHvSetVirtualProcessorInterruptControllerState.
 */
HRESULT WHVAPI WHvSetVirtualProcessorInterruptControllerState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                              const VOID *State, UINT32 StateSize);

/*
 * Copies the local APIC register page of an idle virtual processor: 4096 bytes, register n at n * 16, the APIC id
 * in bits 24 to 31.
 * Errors: WHV_E_INSUFFICIENT_BUFFER, ERROR_HV_OPERATION_DENIED without local APIC emulation.
 * Context: thread. WHP: WHvGetVirtualProcessorInterruptControllerState2.
 */
HRESULT WHVAPI WHvGetVirtualProcessorInterruptControllerState2(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                               VOID *State, UINT32 StateSize, UINT32 *WrittenSize);

/*
 * Loads a local APIC register page (4096 bytes); the task priority also goes to CR8. Write the ApicBase register
 * first.
 * Errors: E_POINTER for a buffer that is too small, E_INVALIDARG for reserved bits, ERROR_HV_OPERATION_DENIED without
 *         local APIC emulation.
 * Context: thread. WHP: WHvSetVirtualProcessorInterruptControllerState2.
 */
HRESULT WHVAPI WHvSetVirtualProcessorInterruptControllerState2(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                                               const VOID *State, UINT32 StateSize);

/* --------------------------------------------------------------------------------------------------------- SynIC */

/*
 * Puts a message of 1 to WHV_SYNIC_MESSAGE_SIZE bytes into the slot of SINT SintIndex (0..15) and asserts that
 * SINT. While the slot is taken, try again after the SynicSintDeliverable exit.
 * Errors: ERROR_HV_OBJECT_IN_USE when the slot is taken, ERROR_HV_INVALID_SYNIC_STATE when the guest has not
 *         enabled it.
 * Context: any. WHP: WHvPostVirtualProcessorSynicMessage.
 */
HRESULT WHVAPI WHvPostVirtualProcessorSynicMessage(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 SintIndex,
                                                   const VOID *Message, UINT32 MessageSizeInBytes);

/*
 * Sets an event flag of a SINT and asserts it. *NewlySignaled, which may be NULL, tells whether the flag was
 * clear.
 * Errors: ERROR_HV_INVALID_SYNIC_STATE when the guest has not enabled it.
 * Context: any. WHP: WHvSignalVirtualProcessorSynicEvent.
 */
HRESULT WHVAPI WHvSignalVirtualProcessorSynicEvent(WHV_PARTITION_HANDLE Partition,
                                                   WHV_SYNIC_EVENT_PARAMETERS SynicEvent, BOOL *NewlySignaled);

/* -------------------------------------------------------------------------------------------------------- events */

/*
 * From now on guest stores that match MatchData signal the event instead of exiting, and their value is dropped. A
 * match does not cross a page; the page leaves its mapping, for the guest as for WHvReadGpaRange and WHvWriteGpaRange,
 * while a doorbell is registered on it. Other accesses to it, and stores of instructions that read as well, are
 * WHvRunVpExitReasonMemoryAccess.
 * Errors: ERROR_HV_INVALID_PARAMETER when there is a doorbell at GuestAddress already, unless both match values,
 * different ones of the same Length. E_INVALIDARG for a Length other than 1, 2, 4, 8 or, without MatchOnLength, 0; for
 * MatchOnValue without MatchOnLength, a Value without MatchOnValue; where the virtual local APICs are.
 * Context: thread. WHP: WHvRegisterPartitionDoorbellEvent.
 */
HRESULT WHVAPI WHvRegisterPartitionDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                 const WHV_DOORBELL_MATCH_DATA *MatchData, HANDLE EventHandle);

/*
 * Removes the doorbell that was registered with exactly this match data.
 * Errors: HRESULT_FROM_WIN32(ERROR_NOT_FOUND).
 * Context: thread. WHP: WHvUnregisterPartitionDoorbellEvent.
 */
HRESULT WHVAPI WHvUnregisterPartitionDoorbellEvent(WHV_PARTITION_HANDLE Partition,
                                                   const WHV_DOORBELL_MATCH_DATA *MatchData);

/*
 * Makes an object that turns each signal of *EventHandle into the interrupt or SynIC event of Parameters. Signals
 * during delivery merge. The caller closes the event.
 * Errors: ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvCreateTrigger.
 */
HRESULT WHVAPI WHvCreateTrigger(WHV_PARTITION_HANDLE Partition, const WHV_TRIGGER_PARAMETERS *Parameters,
                                WHV_TRIGGER_HANDLE *TriggerHandle, HANDLE *EventHandle);

/*
 * Replaces the parameters in one step; TriggerType must stay as it was.
 * Context: thread. WHP: WHvUpdateTriggerParameters.
 */
HRESULT WHVAPI WHvUpdateTriggerParameters(WHV_PARTITION_HANDLE Partition, const WHV_TRIGGER_PARAMETERS *Parameters,
                                          WHV_TRIGGER_HANDLE TriggerHandle);

/*
 * Deletes the trigger.
 * Context: thread. WHP: WHvDeleteTrigger.
 */
HRESULT WHVAPI WHvDeleteTrigger(WHV_PARTITION_HANDLE Partition, WHV_TRIGGER_HANDLE TriggerHandle);

/*
 * Makes an object that signals the caller's event when the guest signals a connection id by hypercall, or stores
 * to a doorbell.
 * Context: thread. WHP: WHvCreateNotificationPort.
 */
HRESULT WHVAPI WHvCreateNotificationPort(WHV_PARTITION_HANDLE Partition,
                                         const WHV_NOTIFICATION_PORT_PARAMETERS *Parameters, HANDLE EventHandle,
                                         WHV_NOTIFICATION_PORT_HANDLE *PortHandle);

/*
 * Sets a property of the port; both are advice only.
 * Errors: WHV_E_UNKNOWN_PROPERTY.
 * Context: thread. WHP: WHvSetNotificationPortProperty.
 */
HRESULT WHVAPI WHvSetNotificationPortProperty(WHV_PARTITION_HANDLE Partition, WHV_NOTIFICATION_PORT_HANDLE PortHandle,
                                              WHV_NOTIFICATION_PORT_PROPERTY_CODE PropertyCode,
                                              WHV_NOTIFICATION_PORT_PROPERTY PropertyValue);

/*
 * Deletes the port.
 * Context: thread. WHP: WHvDeleteNotificationPort.
 */
HRESULT WHVAPI WHvDeleteNotificationPort(WHV_PARTITION_HANDLE Partition, WHV_NOTIFICATION_PORT_HANDLE PortHandle);

/* --------------------------------------------------------------------------------------------------- virtual PCI */

/*
 * Gives a handle for the resource behind a virtual PCI device: with ProviderId NULL and no descriptor an empty one
 * for a software device; with a WHVX_PCI_RESOURCE_DESCRIPTOR (WinHvExtensions.h) that device of the machine. One by
 * a WHV_SRIOV_RESOURCE_DESCRIPTOR is never found: what it names devices by is not known here. Devices may reach each
 * other's BARs where the client has mapped these into their partition, with the flag AllowDirectP2P or without. The
 * caller closes the handle by WHvxCloseVpciResource.
 * Errors: HRESULT_FROM_WIN32(ERROR_NOT_FOUND) for a device that does not exist; E_INVALIDARG for a ProviderId that is
 * not NULL.
 * Context: thread. WHP: WHvAllocateVpciResource.
 */
HRESULT WHVAPI WHvAllocateVpciResource(const GUID *ProviderId, WHV_ALLOCATE_VPCI_RESOURCE_FLAGS Flags,
                                       const VOID *ResourceDescriptor, UINT32 ResourceDescriptorSizeInBytes,
                                       HANDLE *VpciResource);

/*
 * Adds a device with the caller's LogicalDeviceId to the partition. A physically backed one can from then on reach
 * the partition's memory, through the IOMMU, and needs the property AllowDeviceAssignment. The event, which may be
 * NULL, announces notifications.
 * A software device, made of an empty resource, has nothing but interrupts: its registers are the client's, and
 * functions for them answer E_INVALIDARG.
 * Errors: ERROR_HV_OPERATION_DENIED where devices cannot be confined to the partition (the log says why), where the
 * property does not allow it, or where the device can not be told from one that stays outside;
 * ERROR_HV_INVALID_PARAMETER when the id is taken, or the device is in a partition already;
 * HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED) for a device that can not be passed on (the log says why).
 * Context: thread. WHP: WHvCreateVpciDevice.
 */
HRESULT WHVAPI WHvCreateVpciDevice(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, HANDLE VpciResource,
                                   WHV_CREATE_VPCI_DEVICE_FLAGS Flags, HANDLE NotificationEventHandle);

/*
 * Removes the device with its interrupts and mappings and resets it.
 * Errors: ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvDeleteVpciDevice.
 */
HRESULT WHVAPI WHvDeleteVpciDevice(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId);

/*
 * Copies one property of the device.
 * Errors: WHV_E_UNKNOWN_PROPERTY, WHV_E_INSUFFICIENT_BUFFER, ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvGetVpciDeviceProperty.
 */
HRESULT WHVAPI WHvGetVpciDeviceProperty(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                        WHV_VPCI_DEVICE_PROPERTY_CODE PropertyCode, VOID *PropertyBuffer,
                                        UINT32 PropertyBufferSizeInBytes, UINT32 *WrittenSizeInBytes);

/*
 * Takes the next notification from the device's queue; type Undefined when there is none.
 * Errors: ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvGetVpciDeviceNotification.
 */
HRESULT WHVAPI WHvGetVpciDeviceNotification(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                            WHV_VPCI_DEVICE_NOTIFICATION *Notification, UINT32 NotificationSizeInBytes);

/*
 * Maps the device's BARs for the caller. *Mappings is an array of *MappingCount pieces, sorted by BAR and offset,
 * without gaps; it belongs to the library and is valid until the ranges are unmapped, the device leaves D0 or is
 * deleted. The device must be in D0.
 * Errors: ERROR_HV_INVALID_DEVICE_ID, ERROR_HV_OPERATION_DENIED out of D0.
 * Context: thread. WHP: WHvMapVpciDeviceMmioRanges.
 */
HRESULT WHVAPI WHvMapVpciDeviceMmioRanges(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 *MappingCount,
                                          WHV_VPCI_MMIO_MAPPING **Mappings);

/*
 * Undoes WHvMapVpciDeviceMmioRanges. The caller has unmapped the ranges from the guest before.
 * Errors: ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvUnmapVpciDeviceMmioRanges.
 */
HRESULT WHVAPI WHvUnmapVpciDeviceMmioRanges(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId);

/*
 * Moves the device to PowerDeviceD0 .. PowerDeviceD3. Leaving D0 ends the mapping of its BARs.
 * Errors: ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvSetVpciDevicePowerState.
 */
HRESULT WHVAPI WHvSetVpciDevicePowerState(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                          DEVICE_POWER_STATE PowerState);

/*
 * Reads Register->SizeInBytes bytes of configuration space or of a BAR. Some configuration registers are filtered;
 * BARs need D0.
 * Errors: ERROR_HV_INVALID_DEVICE_ID, E_INVALIDARG for the register, ERROR_HV_OPERATION_DENIED out of D0.
 * Context: thread. WHP: WHvReadVpciDeviceRegister.
 */
HRESULT WHVAPI WHvReadVpciDeviceRegister(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                         const WHV_VPCI_DEVICE_REGISTER *Register, VOID *Data);

/*
 * Writes Register->SizeInBytes bytes of configuration space or of a BAR. Some configuration registers are
 * filtered; BARs need D0.
 * Errors: ERROR_HV_INVALID_DEVICE_ID, E_INVALIDARG for the register, ERROR_HV_OPERATION_DENIED out of D0.
 * Context: thread. WHP: WHvWriteVpciDeviceRegister.
 */
HRESULT WHVAPI WHvWriteVpciDeviceRegister(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId,
                                          const WHV_VPCI_DEVICE_REGISTER *Register, const VOID *Data);

/*
 * Makes MSI or MSI-X interrupt Index, with MessageCount messages (1, 2, 4, 8, 16 or 32), and gives the address and
 * data to write into the device.
 * Errors: ERROR_HV_INVALID_DEVICE_ID, E_INVALIDARG for the target.
 * Context: thread. WHP: WHvMapVpciDeviceInterrupt.
 */
HRESULT WHVAPI WHvMapVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 Index,
                                         UINT32 MessageCount, const WHV_VPCI_INTERRUPT_TARGET *Target,
                                         UINT64 *MsiAddress, UINT32 *MsiData);

/*
 * Frees interrupt Index.
 * Errors: ERROR_HV_INVALID_DEVICE_ID.
 * Context: thread. WHP: WHvUnmapVpciDeviceInterrupt.
 */
HRESULT WHVAPI WHvUnmapVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 Index);

/*
 * Sends the message that has this address and data to another vector and set of virtual processors from now on.
 * Errors: ERROR_HV_INVALID_DEVICE_ID, E_INVALIDARG for the target.
 * Context: thread. WHP: WHvRetargetVpciDeviceInterrupt.
 */
HRESULT WHVAPI WHvRetargetVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT64 MsiAddress,
                                              UINT32 MsiData, const WHV_VPCI_INTERRUPT_TARGET *Target);

/*
 * Raises the interrupt with this address and data, as the device would: one of WHvMapVpciDeviceInterrupt, or a plain
 * message to local APICs (0xFEExxxxx; fixed, lowest priority or NMI, always an edge). For devices made with
 * UseLogicalInterrupts; the address is below 4 GiB.
 * Errors: ERROR_HV_INVALID_DEVICE_ID; ERROR_HV_INVALID_PARAMETER when it is neither; ERROR_HV_OPERATION_DENIED without
 * UseLogicalInterrupts.
 * Context: any. WHP: WHvRequestVpciDeviceInterrupt.
 */
HRESULT WHVAPI WHvRequestVpciDeviceInterrupt(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT64 MsiAddress,
                                             UINT32 MsiData);

/*
 * Copies the present target of message MultiMessageNumber (0..31) of interrupt Index (0..65535).
 * Errors: ERROR_HV_INVALID_DEVICE_ID, WHV_E_INSUFFICIENT_BUFFER.
 * Context: thread. WHP: WHvGetVpciDeviceInterruptTarget.
 */
HRESULT WHVAPI WHvGetVpciDeviceInterruptTarget(WHV_PARTITION_HANDLE Partition, UINT64 LogicalDeviceId, UINT32 Index,
                                               UINT32 MultiMessageNumber, WHV_VPCI_INTERRUPT_TARGET *Target,
                                               UINT32 TargetSizeInBytes, UINT32 *BytesWritten);

/* ------------------------------------------------------------------------------------------------------ counters */

/*
 * Copies one set of counters of the partition.
 * Errors: WHV_E_UNKNOWN_PROPERTY, WHV_E_INSUFFICIENT_BUFFER.
 * Context: thread. WHP: WHvGetPartitionCounters.
 */
HRESULT WHVAPI WHvGetPartitionCounters(WHV_PARTITION_HANDLE Partition, WHV_PARTITION_COUNTER_SET CounterSet,
                                       VOID *Buffer, UINT32 BufferSizeInBytes, UINT32 *BytesWritten);

/*
 * Copies one set of counters of a virtual processor, which may run. They count from its creation.
 *
 * What is not measured is 0: times of intercepts, HypervisorRuntime100ns, all of the synthetic features. What the CPU
 * does without an exit is not seen: accesses to a virtualized local APIC and interrupts that a guest sends to itself
 * there, page faults and exceptions of the guest's own. So
 * - TotalRuntime100ns is the time that runs have taken of a CPU, the hypervisor's share included and waiting not; it
 *   grows when a run ends, waits, or gives the CPU away.
 * - Intercepts count each exit once, but for EmulatedInstructions, which are among the others. OtherIntercepts are those
 *   without a member of their own. PageInvalidations never exit.
 * - Events are those injected by the hypervisor or the client; ExceptionCount includes PageFaultCount.
 * - SentIpiCount does not include SelfIpiCount: IPIs to the sender alone.
 * Errors: WHV_E_UNKNOWN_PROPERTY, WHV_E_INSUFFICIENT_BUFFER.
 * Context: any. WHP: WHvGetVirtualProcessorCounters.
 */
HRESULT WHVAPI WHvGetVirtualProcessorCounters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                              WHV_PROCESSOR_COUNTER_SET CounterSet, VOID *Buffer,
                                              UINT32 BufferSizeInBytes, UINT32 *BytesWritten);

/* ---------------------------------------------------------------------------------- migration to another process */

/*
 * Begins to hand the partition over; the handle is for WHvAcceptPartitionMigration. Until the end nothing that
 * would have to be handed over can be changed.
 * Errors: HRESULT_FROM_WIN32(ERROR_INVALID_STATE) when one is under way.
 * Context: thread. WHP: WHvStartPartitionMigration.
 */
HRESULT WHVAPI WHvStartPartitionMigration(WHV_PARTITION_HANDLE Partition, HANDLE *MigrationHandle);

/*
 * Takes the partition back. Only between start and completion.
 * Errors: HRESULT_FROM_WIN32(ERROR_INVALID_STATE).
 * Context: thread. WHP: WHvCancelPartitionMigration.
 */
HRESULT WHVAPI WHvCancelPartitionMigration(WHV_PARTITION_HANDLE Partition);

/*
 * Stops time and hands the partition over, after it was accepted; only WHvDeletePartition is allowed on the source
 * from then on.
 * Errors: HRESULT_FROM_WIN32(ERROR_INVALID_STATE).
 * Context: thread. WHP: WHvCompletePartitionMigration.
 */
HRESULT WHVAPI WHvCompletePartitionMigration(WHV_PARTITION_HANDLE Partition);

/*
 * Opens a partition that is being handed over; WHvSetupPartition follows when the source has completed. Closes the
 * migration handle.
 * Errors: HRESULT_FROM_WIN32(ERROR_INVALID_STATE), HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED).
 * Context: thread. WHP: WHvAcceptPartitionMigration.
 */
HRESULT WHVAPI WHvAcceptPartitionMigration(HANDLE MigrationHandle, WHV_PARTITION_HANDLE *Partition);

/* ------------------------------------------------------------------------------------------------------ presence */

/*
 * IsWHv<name>Present() for each function above: TRUE, as what this header declares is what the client links.
 * On Windows the answer depends on the version of the DLL.
 */
#define WHV_PRESENT(function)                                  \
    static __inline BOOLEAN WHVAPI Is##function##Present(VOID) \
    {                                                          \
        return TRUE;                                           \
    }

/* clang-format off */
WHV_PRESENT(WHvGetCapability)
WHV_PRESENT(WHvCreatePartition)
WHV_PRESENT(WHvSetupPartition)
WHV_PRESENT(WHvResetPartition)
WHV_PRESENT(WHvDeletePartition)
WHV_PRESENT(WHvGetPartitionProperty)
WHV_PRESENT(WHvSetPartitionProperty)
WHV_PRESENT(WHvSuspendPartitionTime)
WHV_PRESENT(WHvResumePartitionTime)
WHV_PRESENT(WHvMapGpaRange)
WHV_PRESENT(WHvMapGpaRange2)
WHV_PRESENT(WHvUnmapGpaRange)
WHV_PRESENT(WHvTranslateGva)
WHV_PRESENT(WHvQueryGpaRangeDirtyBitmap)
WHV_PRESENT(WHvAdviseGpaRange)
WHV_PRESENT(WHvReadGpaRange)
WHV_PRESENT(WHvWriteGpaRange)
WHV_PRESENT(WHvCreateVirtualProcessor)
WHV_PRESENT(WHvCreateVirtualProcessor2)
WHV_PRESENT(WHvDeleteVirtualProcessor)
WHV_PRESENT(WHvRunVirtualProcessor)
WHV_PRESENT(WHvCancelRunVirtualProcessor)
WHV_PRESENT(WHvGetVirtualProcessorRegisters)
WHV_PRESENT(WHvSetVirtualProcessorRegisters)
WHV_PRESENT(WHvGetVirtualProcessorXsaveState)
WHV_PRESENT(WHvSetVirtualProcessorXsaveState)
WHV_PRESENT(WHvGetVirtualProcessorState)
WHV_PRESENT(WHvSetVirtualProcessorState)
WHV_PRESENT(WHvGetVirtualProcessorCpuidOutput)
WHV_PRESENT(WHvRequestInterrupt)
WHV_PRESENT(WHvGetInterruptTargetVpSet)
WHV_PRESENT(WHvGetVirtualProcessorInterruptControllerState)
WHV_PRESENT(WHvSetVirtualProcessorInterruptControllerState)
WHV_PRESENT(WHvGetVirtualProcessorInterruptControllerState2)
WHV_PRESENT(WHvSetVirtualProcessorInterruptControllerState2)
WHV_PRESENT(WHvPostVirtualProcessorSynicMessage)
WHV_PRESENT(WHvSignalVirtualProcessorSynicEvent)
WHV_PRESENT(WHvRegisterPartitionDoorbellEvent)
WHV_PRESENT(WHvUnregisterPartitionDoorbellEvent)
WHV_PRESENT(WHvCreateTrigger)
WHV_PRESENT(WHvUpdateTriggerParameters)
WHV_PRESENT(WHvDeleteTrigger)
WHV_PRESENT(WHvCreateNotificationPort)
WHV_PRESENT(WHvSetNotificationPortProperty)
WHV_PRESENT(WHvDeleteNotificationPort)
WHV_PRESENT(WHvAllocateVpciResource)
WHV_PRESENT(WHvCreateVpciDevice)
WHV_PRESENT(WHvDeleteVpciDevice)
WHV_PRESENT(WHvGetVpciDeviceProperty)
WHV_PRESENT(WHvGetVpciDeviceNotification)
WHV_PRESENT(WHvMapVpciDeviceMmioRanges)
WHV_PRESENT(WHvUnmapVpciDeviceMmioRanges)
WHV_PRESENT(WHvSetVpciDevicePowerState)
WHV_PRESENT(WHvReadVpciDeviceRegister)
WHV_PRESENT(WHvWriteVpciDeviceRegister)
WHV_PRESENT(WHvMapVpciDeviceInterrupt)
WHV_PRESENT(WHvUnmapVpciDeviceInterrupt)
WHV_PRESENT(WHvRetargetVpciDeviceInterrupt)
WHV_PRESENT(WHvRequestVpciDeviceInterrupt)
WHV_PRESENT(WHvGetVpciDeviceInterruptTarget)
WHV_PRESENT(WHvGetPartitionCounters)
WHV_PRESENT(WHvGetVirtualProcessorCounters)
WHV_PRESENT(WHvStartPartitionMigration)
WHV_PRESENT(WHvCancelPartitionMigration)
WHV_PRESENT(WHvCompletePartitionMigration)
WHV_PRESENT(WHvAcceptPartitionMigration)
/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
