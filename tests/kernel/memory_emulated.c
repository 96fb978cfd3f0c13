/* SPDX-License-Identifier: MIT */
/* Accesses that the client's emulator completes, by what exits tell of them: all of an operand is reached, where it is.
 */
#include "test.h"
#include "vm.h"
#include <whp/WinHvEmulation.h>

#define HOLE 0xb000u

/* What is behind the hole is the client's: its device has these bytes. */
static HRESULT on_memory(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *access)
{
    struct vm *vm = context;

    if (!EXPECT(access->GpaAddress + access->AccessSize <= VM_MEMORY_SIZE))
        return E_INVALIDARG;
    if (access->Direction)
        memcpy(vm->memory + access->GpaAddress, access->Data, access->AccessSize);
    else
        memcpy(access->Data, vm->memory + access->GpaAddress, access->AccessSize);
    return S_OK;
}

static HRESULT on_port(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *access)
{
    (void)context, (void)access;
    return E_INVALIDARG;
}

static HRESULT on_get(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, WHV_REGISTER_VALUE *values)
{
    return WHvGetVirtualProcessorRegisters(((struct vm *)context)->partition, 0, names, count, values);
}

static HRESULT on_set(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, const WHV_REGISTER_VALUE *values)
{
    return WHvSetVirtualProcessorRegisters(((struct vm *)context)->partition, 0, names, count, values);
}

static HRESULT on_translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                            WHV_TRANSLATE_GVA_RESULT_CODE *code, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    WHV_TRANSLATE_GVA_RESULT result;
    HRESULT hr = WHvTranslateGva(((struct vm *)context)->partition, 0, gva, flags, &result, gpa);

    *code = result.ResultCode;
    return hr;
}

static bool emulate(struct vm *vm)
{
    static const WHV_EMULATOR_CALLBACKS callbacks = {sizeof(callbacks), 0, on_port, on_memory, on_get, on_set,
                                                     on_translate};
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0};
    WHV_EMULATOR_HANDLE emulator;

    if (!EXPECT_OK(WHvEmulatorCreateEmulator(&callbacks, &emulator)))
        return false;
    EXPECT_OK(WHvEmulatorTryMmioEmulation(emulator, vm, &vm->exit.VpContext, &vm->exit.MemoryAccess, &status));
    EXPECT_OK(WHvEmulatorDestroyEmulator(emulator));
    return EXPECT_EQ(status.AsUINT32, 1);
}

static const struct row {
    const char *name;
    uint32_t modes;
    const char *guest;
    uint32_t gpa, size; /* of the operand */
    uint32_t written;   /* 0: it is read */
} rows[] = {
    {"read 1", 0, "memory_read8", HOLE + 0x123, 1, 0},
    {"read 4", 0, "memory_read32", HOLE + 0x124, 4, 0},
    {"read at the begin of a page", 0, "memory_read_begin", HOLE, 4, 0},
    {"read across", 0, "memory_read_cross", HOLE - 2, 4, 0},
    {"write 1", 0, "memory_write8", HOLE + 0x123, 1, 0x5a},
    {"write 4", 0, "memory_write32", HOLE + 0x124, 4, 0x12345678},
    {"write across", 0, "memory_write_cross", HOLE - 2, 4, 0x44332211},
};

TEST_ROWS_MODES(memory_by_emulator, "memory: the emulator does", rows, VM_ALL)
{
    uint32_t mask = row->size == 4 ? UINT32_MAX : 0xff, value = 0x87654321, got;

    VM_GUEST(vm, mode, row->guest, NULL);
    if (!row->written)
        memcpy(vm.memory + row->gpa, &value, row->size);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    REQUIRE(emulate(&vm));
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), vm_mark(&vm, 1));
    EXPECT_END(&vm);
    memcpy(&got, vm.memory + row->gpa, sizeof(got));
    if (row->written)
        EXPECT_EQ(got & mask, row->written);
    else
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax) & mask, value & mask);
}
