/* SPDX-License-Identifier: MIT */
/*
 * The WinHvEmulation API under hostile exit contexts and callbacks that fail. Held against
 * include/whp/WinHvEmulation.h: S_OK comes with a status that says success or why not, registers are set once at most
 * and RIP with them, a failed callback is in the status, and accesses are small and within a page.
 */
#include "input.h"
#include <WinHvPlatform.h>
#include <stdbool.h>

#include <WinHvEmulation.h>

#define CALLBACKS_MAX (4096 * 32 + 64)

static struct {
    struct fuzz_input in;
    UINT32 failed; /* bits of WHV_EMULATOR_STATUS */
    unsigned sets, callbacks;
} client;

enum { FAILED_IO = 2, FAILED_MEMORY, FAILED_TRANSLATE, FAILED_ALIGN, FAILED_GET, FAILED_SET };

static HRESULT answer(unsigned bit)
{
    FUZZ_ASSERT(!client.failed);
    FUZZ_ASSERT(++client.callbacks < CALLBACKS_MAX);
    if (fuzz_byte(&client.in) < 250)
        return S_OK;
    client.failed |= 1u << bit;
    return E_FAIL;
}

static HRESULT CALLBACK on_io(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *access)
{
    FUZZ_ASSERT(context == &client);
    FUZZ_ASSERT(access->AccessSize == 1 || access->AccessSize == 2 || access->AccessSize == 4);
    FUZZ_ASSERT(access->Direction <= 1);
    if (!access->Direction)
        access->Data = (UINT32)fuzz_value(access->Port);
    return answer(FAILED_IO);
}

static HRESULT CALLBACK on_memory(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *access)
{
    uint64_t value = fuzz_value(access->GpaAddress);

    FUZZ_ASSERT(context == &client);
    FUZZ_ASSERT(access->Direction <= 1 && access->AccessSize >= 1 && access->AccessSize <= 8);
    FUZZ_ASSERT((access->GpaAddress & 0xFFF) + access->AccessSize <= 0x1000);
    if (!access->Direction)
        memcpy(access->Data, &value, sizeof access->Data);
    return answer(FAILED_MEMORY);
}

static HRESULT CALLBACK on_get(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, WHV_REGISTER_VALUE *values)
{
    FUZZ_ASSERT(context == &client && count);
    for (UINT32 i = 0; i < count; i++) {
        memset(&values[i], 0, sizeof values[i]);
        values[i].Reg128.Low64 = fuzz_u64(&client.in);
        values[i].Reg128.High64 = fuzz_value(names[i]);
        if (names[i] >= WHvX64RegisterEs && names[i] <= WHvX64RegisterGs && values[i].Reg128.Low64 % 4)
            values[i].Reg128.High64 = 0xC0930008FFFFFFFF; /* a flat one */
    }
    return answer(FAILED_GET);
}

static HRESULT CALLBACK on_set(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                               const WHV_REGISTER_VALUE *values)
{
    bool rip = false;
    UINT64 sum = 0;

    FUZZ_ASSERT(context == &client && count);
    FUZZ_ASSERT(client.sets++ == 0);
    for (UINT32 i = 0; i < count; i++) {
        rip |= names[i] == WHvX64RegisterRip;
        sum += values[i].Reg128.Low64 + values[i].Reg128.High64; /* the sanitizers look at them */
        for (UINT32 other = 0; other < i; other++)
            FUZZ_ASSERT(names[other] != names[i]);
    }
    FUZZ_ASSERT(rip && count < 32 + sum % 2);
    return answer(FAILED_SET);
}

static HRESULT CALLBACK on_translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                                     WHV_TRANSLATE_GVA_RESULT_CODE *result, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    uint8_t kind = fuzz_byte(&client.in);
    HRESULT hr = answer(FAILED_TRANSLATE);

    (void)flags;
    FUZZ_ASSERT(context == &client && !(gva & 0xFFF));
    if (FAILED(hr))
        return hr;
    *result = kind < 200 ? WHvTranslateGvaResultSuccess : (WHV_TRANSLATE_GVA_RESULT_CODE)(kind % 12);
    *gpa = gva;
    if (kind == 199) {
        *gpa |= 8;
        client.failed |= 1u << FAILED_ALIGN;
    }
    return S_OK;
}

static WHV_EMULATOR_HANDLE open_emulator(void)
{
    static const WHV_EMULATOR_CALLBACKS callbacks = {
        .Size = sizeof callbacks,
        .WHvEmulatorIoPortCallback = on_io,
        .WHvEmulatorMemoryCallback = on_memory,
        .WHvEmulatorGetVirtualProcessorRegisters = on_get,
        .WHvEmulatorSetVirtualProcessorRegisters = on_set,
        .WHvEmulatorTranslateGvaPage = on_translate,
    };
    WHV_EMULATOR_HANDLE emulator = NULL;

    FUZZ_ASSERT(WHvEmulatorCreateEmulator(&callbacks, &emulator) == S_OK);
    return emulator;
}

static void check(HRESULT hr, WHV_EMULATOR_STATUS status)
{
    if (FAILED(hr)) {
        FUZZ_ASSERT(hr == E_INVALIDARG && !client.callbacks);
        return;
    }
    FUZZ_ASSERT(status.AsUINT32);
    FUZZ_ASSERT((status.AsUINT32 & client.failed) == client.failed);
    FUZZ_ASSERT(!status.EmulationSuccessful || (!client.failed && status.AsUINT32 == 1 && client.sets == 1));
    FUZZ_ASSERT(status.EmulationSuccessful || !client.sets || status.SetVirtualProcessorRegistersCallbackFailed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static WHV_EMULATOR_HANDLE emulator;
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0};
    WHV_X64_IO_PORT_ACCESS_CONTEXT io;
    WHV_MEMORY_ACCESS_CONTEXT memory;
    WHV_VP_EXIT_CONTEXT vp;
    uint8_t choices;
    HRESULT hr;

    if (!emulator)
        emulator = open_emulator();
    memset(&client, 0, sizeof client);
    client.in = (struct fuzz_input){data, data + size};
    choices = fuzz_byte(&client.in);
    fuzz_take(&client.in, &vp, sizeof vp);
    if (choices & 2) /* flat 64-bit or 32-bit code */
        vp.Cs =
            (WHV_X64_SEGMENT_REGISTER){.Limit = 0xFFFFFFFF, .Selector = 8, .Attributes = choices & 4 ? 0xA09B : 0xC09B};
    if (choices & 8)
        vp.ExecutionState.EferLma = 1, vp.ExecutionState.Cr0Pe = 1;
    if (choices & 1) {
        fuzz_take(&client.in, &io, sizeof io);
        hr = WHvEmulatorTryIoEmulation(emulator, &client, &vp, &io, &status);
    } else {
        fuzz_take(&client.in, &memory, sizeof memory);
        if (choices & 16 && memory.InstructionByteCount > sizeof memory.InstructionBytes)
            memory.InstructionByteCount = sizeof memory.InstructionBytes;
        hr = WHvEmulatorTryMmioEmulation(emulator, &client, &vp, &memory, &status);
    }
    check(hr, status);
    return 0;
}
