/* SPDX-License-Identifier: MIT */
#include "forward.h"
#include "test.h"
#include <kernel/memory.h>

#define ID 7

bool forward_find_class(uint32_t class, struct hv_pci_address *a)
{
    struct hv_pci_function f;

    for (uint32_t n = 0; hv_pci_function(n, &f) == HV_OK; n++) {
        *a = f.address;
        if (((uint32_t)f.ids.base_class << 16 | (uint32_t)f.ids.sub_class << 8 | f.ids.prog_if) == class)
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------- the VMM */

/* In pieces, where it is not aligned; what is refused was the guest's mistake, and reads as ones. */
static void forward(struct forward *d, int space, uint64_t offset, uint8_t *data, uint32_t size, bool is_write)
{
    uint32_t step = offset % size || (size == 8 && space == WHvVpciConfigSpace) ? 1 : size;

    for (uint32_t i = 0; i < size; i += step) {
        const WHV_VPCI_DEVICE_REGISTER r = {(WHV_VPCI_DEVICE_REGISTER_SPACE)space, step, offset + i};
        HRESULT hr = is_write ? WHvWriteVpciDeviceRegister(d->vm->partition, d->device.id, &r, data + i)
                              : WHvReadVpciDeviceRegister(d->vm->partition, d->device.id, &r, data + i);

        if (hr != S_OK && !is_write)
            memset(data + i, 0xff, step);
    }
}

static bool is_in(uint64_t at, uint64_t start, uint64_t size)
{
    return at >= start && at - start < size;
}

static HRESULT on_memory(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *a)
{
    struct forward *d = context;
    void *ram = vm_at(d->vm, a->GpaAddress);

    if (is_in(a->GpaAddress, FORWARD_BAR, FORWARD_BAR_SIZE)) {
        d->forwarded++;
        forward(d, WHvVpciBar0, a->GpaAddress - FORWARD_BAR, a->Data, a->AccessSize, a->Direction);
    } else if (is_in(a->GpaAddress, FORWARD_ECAM, PAGE_SIZE)) {
        forward(d, WHvVpciConfigSpace, a->GpaAddress - FORWARD_ECAM, a->Data, a->AccessSize, a->Direction);
    } else if (a->GpaAddress + a->AccessSize > VM_MEMORY_SIZE) {
        memset(a->Data, 0xff, a->AccessSize);
    } else if (a->Direction) {
        memcpy(ram, a->Data, a->AccessSize);
    } else {
        memcpy(a->Data, ram, a->AccessSize);
    }
    return S_OK;
}

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define PORT_ENABLE  (1u << 31)

/* It is 0:1.0; its functions and its bus's other devices are not there. */
static HRESULT on_port(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *a)
{
    struct forward *d = context;

    if (a->Port == PORT_ADDRESS && a->AccessSize == 4 && a->Direction)
        d->port = a->Data;
    else if (is_in(a->Port, PORT_DATA, 4) && d->port >> 8 == (PORT_ENABLE | 1u << 11) >> 8)
        forward(d, WHvVpciConfigSpace, (d->port & 0xfc) + (a->Port - PORT_DATA), (uint8_t *)&a->Data, a->AccessSize,
                a->Direction);
    return S_OK;
}

static HRESULT on_get(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, WHV_REGISTER_VALUE *values)
{
    return WHvGetVirtualProcessorRegisters(((struct forward *)context)->vm->partition, 0, names, count, values);
}

static HRESULT on_set(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, const WHV_REGISTER_VALUE *values)
{
    return WHvSetVirtualProcessorRegisters(((struct forward *)context)->vm->partition, 0, names, count, values);
}

static HRESULT on_translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                            WHV_TRANSLATE_GVA_RESULT_CODE *code, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    WHV_TRANSLATE_GVA_RESULT result;
    HRESULT hr = WHvTranslateGva(((struct forward *)context)->vm->partition, 0, gva, flags, &result, gpa);

    *code = result.ResultCode;
    return hr;
}

static const WHV_EMULATOR_CALLBACKS callbacks = {
    .Size = sizeof(callbacks),
    .WHvEmulatorIoPortCallback = on_port,
    .WHvEmulatorMemoryCallback = on_memory,
    .WHvEmulatorGetVirtualProcessorRegisters = on_get,
    .WHvEmulatorSetVirtualProcessorRegisters = on_set,
    .WHvEmulatorTranslateGvaPage = on_translate,
};

static bool emulate(struct forward *d)
{
    const WHV_RUN_VP_EXIT_CONTEXT *exit = &d->vm->exit;
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0};
    HRESULT hr;

    if (exit->ExitReason == WHvRunVpExitReasonMemoryAccess)
        hr = WHvEmulatorTryMmioEmulation(d->emulator, d, &exit->VpContext, &exit->MemoryAccess, &status);
    else
        hr = WHvEmulatorTryIoEmulation(d->emulator, d, &exit->VpContext, &exit->IoPortAccess, &status);
    return EXPECT_OK(hr) && EXPECT_EQ(status.AsUINT32, 1);
}

/* ---------------------------------------------------------------------------------------- life */

bool forward_open(struct forward *d, const struct hv_pci_address *a, struct vm *vm)
{
    *d = (struct forward){.address = *a, .vm = vm, .device = {.partition = vm->partition, .id = ID}};
    if (!passed_give(&d->device, a))
        return false;
    if (EXPECT_OK(WHvEmulatorCreateEmulator(&callbacks, &d->emulator)))
        return true;
    passed_take(&d->device);
    return false;
}

bool forward_map(struct forward *d)
{
    const WHV_MAP_GPA_RANGE_FLAGS rights = WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite;
    WHV_VPCI_MMIO_MAPPING *ranges = NULL;
    UINT32 count = 0;
    uint32_t mapped = 0;

    if (!EXPECT_OK(WHvMapVpciDeviceMmioRanges(d->vm->partition, d->device.id, &count, &ranges)))
        return false;
    for (UINT32 i = 0; i < count; i++) {
        const WHV_VPCI_MMIO_MAPPING *r = &ranges[i];

        if (r->Location != WHvVpciBar0 || !r->VirtualAddress || r->OffsetInBytes >= FORWARD_BAR_SIZE)
            continue;
        mapped += EXPECT_OK(WHvMapGpaRange(
            d->vm->partition, r->VirtualAddress, FORWARD_BAR + r->OffsetInBytes,
            r->SizeInBytes < FORWARD_BAR_SIZE - r->OffsetInBytes ? r->SizeInBytes : FORWARD_BAR_SIZE - r->OffsetInBytes,
            rights));
    }
    return EXPECT(mapped);
}

void forward_forget(struct forward *d)
{
    EXPECT_OK(WHvEmulatorDestroyEmulator(d->emulator));
    d->emulator = NULL;
}

void forward_close(struct forward *d)
{
    passed_take(&d->device);
    forward_forget(d);
}

/* --------------------------------------------------------------------------------------- scripts */

#define SCRIPT_MAX ((0xf0000u - FORWARD_SCRIPT) / sizeof(struct script_op))

void forward_begin(struct forward *d)
{
    memset(vm_at(d->vm, FORWARD_SCRIPT), 0, sizeof(struct script_op));
    d->script = 0;
}

void forward_add(struct forward *d, struct script_op op)
{
    const struct script_op end = {0};
    struct script_op *ops = vm_at(d->vm, FORWARD_SCRIPT);

    if (!EXPECT(d->script + 1 < SCRIPT_MAX))
        return;
    ops[d->script++] = op;
    ops[d->script] = end;
}

#define PORT_END 0x80

static bool is_end(const struct vm *vm)
{
    return vm->exit.ExitReason == WHvRunVpExitReasonX64IoPortAccess && vm->exit.IoPortAccess.PortNumber == PORT_END;
}

bool forward_run(struct forward *d)
{
    if (!vm_load(d->vm, "script"))
        return false;
    vm_set(d->vm, WHvX64RegisterRsi, FORWARD_SCRIPT);
    while (vm_run(d->vm) == WHvRunVpExitReasonMemoryAccess ||
           d->vm->exit.ExitReason == WHvRunVpExitReasonX64IoPortAccess) {
        if (is_end(d->vm))
            return true;
        if (!emulate(d))
            return false;
    }
    return vm_check_reason(d->vm, WHvRunVpExitReasonX64IoPortAccess, __FILE__, __LINE__);
}

bool forward_do(struct forward *d, const struct script_op *ops, uint32_t count)
{
    forward_begin(d);
    for (uint32_t i = 0; i < count; i++)
        forward_add(d, ops[i]);
    return forward_run(d);
}
