/* SPDX-License-Identifier: MIT */
/* The framework's own tests: a guest runs at all, in every mode. */
#include "test.h"
#include "vm.h"

TEST_MODES(smoke_halt, "smoke: HLT", VM_CPL0)
{
    VM_GUEST(vm, mode, "smoke_halt", NULL);
    EXPECT_END(&vm);
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 0);
}

TEST_MODES(smoke_out, "smoke: OUT, then HLT", VM_CPL0)
{
    VM_GUEST(vm, mode, "smoke_out", NULL);
    EXPECT_EXIT(&vm, X64IoPortAccess);
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    EXPECT_EQ(vm.exit.IoPortAccess.PortNumber, 0x3f8);
    EXPECT_EQ(vm.exit.IoPortAccess.Rax & 0xff, 'A');
    vm_step(&vm);
    EXPECT_END(&vm);
}

/* An interrupt from the client, through the mode's IDT, and back. */
TEST_MODES(smoke_interrupt, "smoke: pending interruption, IRET", VM_ALL)
{
    VM_GUEST(vm, mode, "smoke_halt", NULL);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    vm_set(&vm, WHvRegisterPendingInterruption, 1 | 0x41 << 16);
    EXPECT_VECTOR(&vm, 0x41);
    EXPECT_EQ(vm_stack(&vm, 0), VM_CODE);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingInterruption) & 1, 0);
    if (vm_mode_in(mode, VM_CPL0))
        EXPECT_END(&vm);
}
