/* SPDX-License-Identifier: MIT */
/*
 * The instruction emulator of the Windows Hypervisor Platform: completes the instruction of an IoPortAccess or
 * MemoryAccess exit through five callbacks of the client. The words of the comments are those of WinHvPlatform.h.
 */
#ifndef WHP_WINHVEMULATION_H
#define WHP_WINHVEMULATION_H

#include "WinHvPlatformDefs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Anonymous structs (C++) are part of the API; everything else is standard. */
#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif

typedef VOID *WHV_EMULATOR_HANDLE;

/* What became of an emulation: exactly EmulationSuccessful, or reasons of the failure. */
typedef union WHV_EMULATOR_STATUS {
    struct {
        UINT32 EmulationSuccessful                        : 1;
        UINT32 InternalEmulationFailure                   : 1;
        UINT32 IoPortCallbackFailed                       : 1;
        UINT32 MemoryCallbackFailed                       : 1;
        UINT32 TranslateGvaPageCallbackFailed             : 1;
        UINT32 TranslateGvaPageCallbackGpaIsNotAligned    : 1;
        UINT32 GetVirtualProcessorRegistersCallbackFailed : 1;
        UINT32 SetVirtualProcessorRegistersCallbackFailed : 1;
        UINT32 InterruptCausedIntercept                   : 1;
        UINT32 GuestCannotBeFaulted                       : 1;
        UINT32 Reserved                                   : 22;
    };
    UINT32 AsUINT32;
} WHV_EMULATOR_STATUS;

/* One memory access. Direction is 0 for a read, 1 for a write; AccessSize is 1..8 bytes and never crosses a page. */
typedef struct WHV_EMULATOR_MEMORY_ACCESS_INFO {
    WHV_GUEST_PHYSICAL_ADDRESS GpaAddress;
    UINT8 Direction;
    UINT8 AccessSize;
    UINT8 Data[8];
} WHV_EMULATOR_MEMORY_ACCESS_INFO;

/* One port access. Direction is 0 for IN, 1 for OUT; AccessSize is 1, 2 or 4 bytes. */
typedef struct WHV_EMULATOR_IO_ACCESS_INFO {
    UINT8 Direction;
    UINT16 Port;
    UINT16 AccessSize;
    UINT32 Data;
} WHV_EMULATOR_IO_ACCESS_INFO;

/* Performs one port access: takes or fills IoAccess->Data. */
typedef HRESULT(CALLBACK *WHV_EMULATOR_IO_PORT_CALLBACK)(VOID *Context, WHV_EMULATOR_IO_ACCESS_INFO *IoAccess);

/* Performs one access to guest-physical memory, be it RAM or a device: takes or fills MemoryAccess->Data. */
typedef HRESULT(CALLBACK *WHV_EMULATOR_MEMORY_CALLBACK)(VOID *Context, WHV_EMULATOR_MEMORY_ACCESS_INFO *MemoryAccess);

/* Reads registers of the virtual processor, as WHvGetVirtualProcessorRegisters does. */
typedef HRESULT(CALLBACK *WHV_EMULATOR_GET_VIRTUAL_PROCESSOR_REGISTERS_CALLBACK)(VOID *Context,
                                                                                 const WHV_REGISTER_NAME *RegisterNames,
                                                                                 UINT32 RegisterCount,
                                                                                 WHV_REGISTER_VALUE *RegisterValues);

/* Writes registers. Called once, at the end, Rip included, and only when the emulation succeeded. */
typedef HRESULT(CALLBACK *WHV_EMULATOR_SET_VIRTUAL_PROCESSOR_REGISTERS_CALLBACK)(
    VOID *Context, const WHV_REGISTER_NAME *RegisterNames, UINT32 RegisterCount,
    const WHV_REGISTER_VALUE *RegisterValues);

/* Translates the guest-virtual address of a page; *Gpa must be 4 KiB aligned. As WHvTranslateGva. */
typedef HRESULT(CALLBACK *WHV_EMULATOR_TRANSLATE_GVA_PAGE_CALLBACK)(VOID *Context, WHV_GUEST_VIRTUAL_ADDRESS Gva,
                                                                    WHV_TRANSLATE_GVA_FLAGS TranslateFlags,
                                                                    WHV_TRANSLATE_GVA_RESULT_CODE *TranslationResult,
                                                                    WHV_GUEST_PHYSICAL_ADDRESS *Gpa);

/* Size is sizeof(WHV_EMULATOR_CALLBACKS), 48; every pointer must be set. */
typedef struct WHV_EMULATOR_CALLBACKS {
    UINT32 Size;
    UINT32 Reserved;
    WHV_EMULATOR_IO_PORT_CALLBACK WHvEmulatorIoPortCallback;
    WHV_EMULATOR_MEMORY_CALLBACK WHvEmulatorMemoryCallback;
    WHV_EMULATOR_GET_VIRTUAL_PROCESSOR_REGISTERS_CALLBACK WHvEmulatorGetVirtualProcessorRegisters;
    WHV_EMULATOR_SET_VIRTUAL_PROCESSOR_REGISTERS_CALLBACK WHvEmulatorSetVirtualProcessorRegisters;
    WHV_EMULATOR_TRANSLATE_GVA_PAGE_CALLBACK WHvEmulatorTranslateGvaPage;
} WHV_EMULATOR_CALLBACKS;

/*
 * Makes an emulator. It keeps a copy of Callbacks; the caller destroys it. One thread at a time may use it.
 * Errors: E_INVALIDARG for Callbacks->Size or a pointer that is NULL.
 * Context: thread. WHP: WHvEmulatorCreateEmulator.
 */
HRESULT WHVAPI WHvEmulatorCreateEmulator(const WHV_EMULATOR_CALLBACKS *Callbacks, WHV_EMULATOR_HANDLE *Emulator);

/*
 * Destroys the emulator.
 * Context: thread. WHP: WHvEmulatorDestroyEmulator.
 */
HRESULT WHVAPI WHvEmulatorDestroyEmulator(WHV_EMULATOR_HANDLE Emulator);

/*
 * Completes the IN, OUT, INS or OUTS of an IoPortAccess exit, REP included, through the callbacks, and steps over
 * it by the set-registers callback. Context is passed to the callbacks. S_OK only means that *EmulatorReturnStatus
 * is valid: it tells whether the guest can go on.
 * Errors: E_INVALIDARG for a malformed exit context.
 * Context: thread; the callbacks run in it. WHP: WHvEmulatorTryIoEmulation.
 */
HRESULT WHVAPI WHvEmulatorTryIoEmulation(WHV_EMULATOR_HANDLE Emulator, VOID *Context,
                                         const WHV_VP_EXIT_CONTEXT *VpContext,
                                         const WHV_X64_IO_PORT_ACCESS_CONTEXT *IoInstructionContext,
                                         WHV_EMULATOR_STATUS *EmulatorReturnStatus);

/*
 * Completes the instruction of a MemoryAccess exit likewise. Without InstructionBytes in the exit context it is
 * fetched by the memory callback.
 * Errors: E_INVALIDARG for a malformed exit context.
 * Context: thread; the callbacks run in it. WHP: WHvEmulatorTryMmioEmulation.
 */
HRESULT WHVAPI WHvEmulatorTryMmioEmulation(WHV_EMULATOR_HANDLE Emulator, VOID *Context,
                                           const WHV_VP_EXIT_CONTEXT *VpContext,
                                           const WHV_MEMORY_ACCESS_CONTEXT *MmioInstructionContext,
                                           WHV_EMULATOR_STATUS *EmulatorReturnStatus);

#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif

#ifdef WHV_PRESENT /* WinHvPlatform.h is included: see there */
WHV_PRESENT(WHvEmulatorCreateEmulator)
WHV_PRESENT(WHvEmulatorDestroyEmulator)
WHV_PRESENT(WHvEmulatorTryIoEmulation)
WHV_PRESENT(WHvEmulatorTryMmioEmulation)
#endif

#ifdef __cplusplus
}
#endif

#endif
