/* SPDX-License-Identifier: MIT */
/* Exits that go to the client and back: each `serve` here is the least that a client does about them. */
#include "bench.h"

static void set_rip(struct vm *vm)
{
    static const WHV_REGISTER_NAME name = WHvX64RegisterRip;
    WHV_REGISTER_VALUE value = {.Reg64 = vm->exit.VpContext.Rip + vm->exit.VpContext.InstructionLength};

    WHvSetVirtualProcessorRegisters(vm->partition, 0, &name, 1, &value);
}

static void set_rip_and_rax(struct vm *vm, uint64_t rax)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax};
    WHV_REGISTER_VALUE values[] = {
        {.Reg64 = vm->exit.VpContext.Rip + vm->exit.VpContext.InstructionLength},
        {.Reg64 = rax},
    };

    WHvSetVirtualProcessorRegisters(vm->partition, 0, names, COUNT(names), values);
}

static bool run(struct vm *vm)
{
    return WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit)) == S_OK && !guest_ends(vm);
}

static void serve_out(struct vm *vm)
{
    while (run(vm))
        set_rip(vm);
}

static void serve_in(struct vm *vm)
{
    while (run(vm))
        set_rip_and_rax(vm, 0x12345678);
}

const struct guest_loop loop_out = {.guest = "bench_out", .serve = serve_out};
const struct guest_loop loop_in = {.guest = "bench_in", .serve = serve_in};
