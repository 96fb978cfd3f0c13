/* SPDX-License-Identifier: MIT */
/* Exits that go to the client and back: each `serve` here is the least that a client does about them. */
#include "bench.h"
#include <whp/WinHvEmulation.h>

bool client_run(struct vm *vm)
{
    return WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit)) == S_OK && !guest_ends(vm);
}

static uint64_t next_rip(const struct vm *vm)
{
    return vm->exit.VpContext.Rip + vm->exit.VpContext.InstructionLength;
}

#define SET_REGISTERS(vm, names, values) \
    WHvSetVirtualProcessorRegisters((vm)->partition, 0, names, COUNT(names), values)

/* ------------------------------------------------------------------------------------- ports */

void client_set_rip(struct vm *vm)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip};
    WHV_REGISTER_VALUE values[] = {{.Reg64 = next_rip(vm)}};

    SET_REGISTERS(vm, names, values);
}

static void serve_out(struct vm *vm)
{
    while (client_run(vm))
        client_set_rip(vm);
}

/* IN's value, a hypercall's status */
static void serve_rax(struct vm *vm)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax};

    while (client_run(vm)) {
        WHV_REGISTER_VALUE values[] = {{.Reg64 = next_rip(vm)}, {.Reg64 = 0x12345678}};

        SET_REGISTERS(vm, names, values);
    }
}

const struct guest_loop loop_out = {.guest = "bench_out", .serve = serve_out};
const struct guest_loop loop_in = {.guest = "bench_in", .serve = serve_rax};

/* ------------------------------------------------------------------------ with the emulator */

static HRESULT CALLBACK port(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *access)
{
    (void)context;
    access->Data = 0;
    return S_OK;
}

/* Of the guest's memory or of the device there. */
static HRESULT CALLBACK memory(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *access)
{
    struct vm *vm = context;

    if (access->GpaAddress + access->AccessSize > VM_MEMORY_SIZE) {
        if (!access->Direction)
            memset(access->Data, 0, sizeof(access->Data));
    } else if (access->Direction)
        memcpy(vm_at(vm, access->GpaAddress), access->Data, access->AccessSize);
    else
        memcpy(access->Data, vm_at(vm, access->GpaAddress), access->AccessSize);
    return S_OK;
}

static HRESULT CALLBACK get_registers(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                                      WHV_REGISTER_VALUE *values)
{
    return WHvGetVirtualProcessorRegisters(((struct vm *)context)->partition, 0, names, count, values);
}

static HRESULT CALLBACK set_registers(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                                      const WHV_REGISTER_VALUE *values)
{
    return WHvSetVirtualProcessorRegisters(((struct vm *)context)->partition, 0, names, count, values);
}

static HRESULT CALLBACK translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                                  WHV_TRANSLATE_GVA_RESULT_CODE *code, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    WHV_TRANSLATE_GVA_RESULT result;
    HRESULT status = WHvTranslateGva(((struct vm *)context)->partition, 0, gva, flags, &result, gpa);

    *code = result.ResultCode;
    return status;
}

static bool emulate(struct vm *vm, WHV_EMULATOR_HANDLE emulator)
{
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0};

    if (vm->exit.ExitReason == WHvRunVpExitReasonMemoryAccess)
        WHvEmulatorTryMmioEmulation(emulator, vm, &vm->exit.VpContext, &vm->exit.MemoryAccess, &status);
    else
        WHvEmulatorTryIoEmulation(emulator, vm, &vm->exit.VpContext, &vm->exit.IoPortAccess, &status);
    return status.AsUINT32 == 1 || (FAIL("emulation: 0x%x", status.AsUINT32), false);
}

static void serve_emulated(struct vm *vm)
{
    static const WHV_EMULATOR_CALLBACKS callbacks = {sizeof(callbacks), 0,        port, memory, get_registers,
                                                     set_registers,     translate};
    WHV_EMULATOR_HANDLE emulator = NULL;

    if (!EXPECT_OK(WHvEmulatorCreateEmulator(&callbacks, &emulator)))
        return;
    while (WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit)) == S_OK)
        if ((vm->exit.ExitReason != WHvRunVpExitReasonMemoryAccess && guest_ends(vm)) || !emulate(vm, emulator))
            break;
    WHvEmulatorDestroyEmulator(emulator);
}

const struct guest_loop loop_outs = {.guest = "bench_outs", .serve = serve_emulated};
const struct guest_loop loop_mmio_read = {.guest = "bench_mmio_read", .serve = serve_emulated};
const struct guest_loop loop_mmio_write = {.guest = "bench_mmio_write", .serve = serve_emulated};

/* ------------------------------------------------------------------- exits that are asked for */

#define MSR_UNKNOWN 0x12345u

static bool run_until(struct vm *vm, WHV_RUN_VP_EXIT_REASON reason)
{
    return WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit)) == S_OK &&
           vm->exit.ExitReason == reason;
}

static void serve_hypercall(struct vm *vm)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax};

    while (run_until(vm, WHvRunVpExitReasonHypercall)) {
        WHV_REGISTER_VALUE values[] = {{.Reg64 = next_rip(vm)}, {.Reg64 = 0}};

        SET_REGISTERS(vm, names, values);
    }
}

static void serve_cpuid(struct vm *vm)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax, WHvX64RegisterRbx,
                                              WHvX64RegisterRcx, WHvX64RegisterRdx};

    while (run_until(vm, WHvRunVpExitReasonX64Cpuid)) {
        const WHV_X64_CPUID_ACCESS_CONTEXT *c = &vm->exit.CpuidAccess;
        WHV_REGISTER_VALUE values[] = {{.Reg64 = next_rip(vm)},
                                       {.Reg64 = c->DefaultResultRax},
                                       {.Reg64 = c->DefaultResultRbx},
                                       {.Reg64 = c->DefaultResultRcx},
                                       {.Reg64 = c->DefaultResultRdx}};

        SET_REGISTERS(vm, names, values);
    }
}

static void serve_msr(struct vm *vm)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax, WHvX64RegisterRdx};

    while (run_until(vm, WHvRunVpExitReasonX64MsrAccess)) {
        WHV_REGISTER_VALUE values[] = {{.Reg64 = next_rip(vm)}, {.Reg64 = 0}, {.Reg64 = 0}};

        SET_REGISTERS(vm, names, values);
    }
}

static void serve_breakpoint(struct vm *vm)
{
    while (run_until(vm, WHvRunVpExitReasonException))
        client_set_rip(vm);
}

static void configure_hypercall(struct vm *vm)
{
    vm_set_exits(vm, VM_EXIT_HYPERCALL);
}

static void configure_cpuid(struct vm *vm)
{
    const UINT32 leaf = 0;

    vm_set_exits(vm, VM_EXIT_CPUID);
    vm_set_property(vm, WHvPartitionPropertyCodeCpuidExitList, &leaf, sizeof(leaf));
}

static void configure_msr(struct vm *vm)
{
    const WHV_X64_MSR_EXIT_BITMAP bitmap = {.UnhandledMsrs = 1};

    vm_set_exits(vm, VM_EXIT_MSR);
    vm_set_property(vm, WHvPartitionPropertyCodeX64MsrExitBitmap, &bitmap, sizeof(bitmap));
}

static bool prepare_msr(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterRsi, MSR_UNKNOWN);
    return true;
}

static void configure_breakpoint(struct vm *vm)
{
    vm_set_exceptions(vm, 1u << WHvX64ExceptionTypeBreakpointTrap);
}

const struct guest_loop loop_hypercall_exit = {.guest = "bench_vmcall_exit",
                                               .guest_svm = "bench_vmmcall_exit",
                                               .configure = configure_hypercall,
                                               .serve = serve_hypercall};
const struct guest_loop loop_cpuid_exit = {.guest = "bench_cpuid", .configure = configure_cpuid, .serve = serve_cpuid};
const struct guest_loop loop_msr_exit = {
    .guest = "bench_rdmsr_exit", .configure = configure_msr, .prepare = prepare_msr, .serve = serve_msr};
const struct guest_loop loop_breakpoint_exit = {
    .guest = "bench_breakpoint", .configure = configure_breakpoint, .serve = serve_breakpoint};
