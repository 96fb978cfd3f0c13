/* SPDX-License-Identifier: MIT */
/* X64Halt, Hypercall, X64Rdtsc, UnsupportedFeature, UnrecoverableException, Canceled, and what must not exit. */
#include "test.h"
#include "vm.h"
#include <kernel/cpu.h>

/* ---------------------------------------------------------------------------------------- HLT */

/* RIP is past the HLT, whatever IF is, and the client just runs on. */
TEST_MODES(exits_halt, "exits: halt: RIP is past HLT, with IF 0 and 1", VM_CPL0)
{
    VM_GUEST(vm, mode, "misc_halts", NULL);
    REQUIRE(EXPECT_EXIT(&vm, X64Halt));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 0);
    EXPECT_EQ(vm.exit.VpContext.Rflags & FLAG_IF, 0);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 0);
    EXPECT_END(&vm);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE + 1);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    REQUIRE(EXPECT_EXIT(&vm, X64Halt));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    EXPECT_EQ(vm.exit.VpContext.Rflags & FLAG_IF, FLAG_IF);
}

/* The shadow of STI ends with the HLT. */
TEST_MODES(exits_halt_shadow, "exits: halt: no interrupt shadow behind STI, HLT", VM_CPL0)
{
    VM_GUEST(vm, mode, "misc_sti_hlt", NULL);
    EXPECT_END(&vm);
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptShadow, 0);
    EXPECT_EQ(vm.exit.VpContext.Rflags & FLAG_IF, FLAG_IF);
}

TEST_MODES(exits_halt_user, "exits: halt: #GP at CPL 3", VM_CPL3)
{
    VM_GUEST(vm, mode, "smoke_halt", NULL);
    EXPECT_VECTOR(&vm, 13);
    EXPECT_EQ(vm_stack(&vm, 1), VM_CODE);
}

/* ---------------------------------------------------------------------------------- hypercall */

static void hypercalls_exit(struct vm *vm)
{
    vm_set_exits(vm, VM_EXIT_HYPERCALL);
}

static const WHV_REGISTER_NAME hypercall_registers[] = {
    WHvX64RegisterRax, WHvX64RegisterRbx, WHvX64RegisterRcx, WHvX64RegisterRdx,
    WHvX64RegisterR8,  WHvX64RegisterRsi, WHvX64RegisterRdi,
};

static void fill_registers(struct vm *vm)
{
    for (unsigned i = 0; i < COUNT(hypercall_registers); i++)
        vm_set(vm, hypercall_registers[i], 0x10203040 + i);
    for (unsigned i = 0; i < 6; i++)
        vm_set128(vm, WHvX64RegisterXmm0 + i, 0x1111111111111111ull * (i + 1), 0xfedcba9876543210ull + i);
}

static void check_hypercall(struct vm *vm)
{
    const WHV_HYPERCALL_CONTEXT *c = &vm->exit.Hypercall;

    for (unsigned i = 0; i < COUNT(hypercall_registers); i++)
        EXPECT_EQ((&c->Rax)[i], 0x10203040 + i);
    for (unsigned i = 0; i < 6; i++) {
        EXPECT_EQ(c->XmmRegisters[i].Low64, 0x1111111111111111ull * (i + 1));
        EXPECT_EQ(c->XmmRegisters[i].High64, 0xfedcba9876543210ull + i);
    }
    EXPECT_EQ(c->Reserved0 | c->Reserved1[0] | c->Reserved1[1], 0);
}

/* At any privilege level; the client steps. */
TEST_MODES(exits_hypercall, "exits: hypercall", VM_ALL)
{
    VM_GUEST(vm, mode, vm_hypercall(), hypercalls_exit);
    fill_registers(&vm);
    REQUIRE(EXPECT_EXIT(&vm, Hypercall));
    vm_check_instruction(&vm, 0);
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 3);
    check_hypercall(&vm);
    vm_set(&vm, WHvX64RegisterRax, 0x77);
    vm_step(&vm);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x77);
}

TEST_MODES(exits_hypercall_off, "exits: hypercall: #UD without HypercallExit", VM_ALL)
{
    VM_GUEST(vm, mode, vm_hypercall(), NULL);
    EXPECT_VECTOR(&vm, 6);
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 0));
}

/* VMCALL here, VMMCALL there: the one that this CPU does not have. */
TEST_MODES(exits_hypercall_other, "exits: hypercall: the other kind of CPU's instruction: #UD", VM_ALL)
{
    VM_GUEST(vm, mode, vm_is_svm() ? "misc_vmcall" : "misc_vmmcall", hypercalls_exit);
    EXPECT_VECTOR(&vm, 6);
}

/* -------------------------------------------------------------------------------------- RDTSC */

static void rdtsc_exits(struct vm *vm)
{
    vm_set_exits(vm, VM_EXIT_RDTSC);
}

static void check_rdtsc(struct vm *vm, bool is_rdtscp, uint64_t before)
{
    const WHV_X64_RDTSC_CONTEXT *c = &vm->exit.ReadTsc;

    EXPECT_EQ(c->RdtscInfo.AsUINT64, is_rdtscp);
    EXPECT_EQ(c->TscAux, 0x1234);
    EXPECT_GE(c->Tsc, before);
    EXPECT_LE(c->Tsc, vm_get(vm, WHvX64RegisterTsc));
    EXPECT_EQ(c->VirtualOffset, vm_get(vm, WHvX64RegisterTscVirtualOffset));
    EXPECT_NE(c->ReferenceTime, 0);
}

static void rdtsc_test(enum vm_mode mode, const char *guest, bool is_rdtscp)
{
    uint64_t before;

    VM_GUEST(vm, mode, guest, rdtsc_exits);
    vm_set(&vm, WHvX64RegisterTscAux, 0x1234);
    before = vm_get(&vm, WHvX64RegisterTsc);
    REQUIRE(EXPECT_EXIT(&vm, X64Rdtsc));
    vm_check_instruction(&vm, 0);
    check_rdtsc(&vm, is_rdtscp, before);
    vm_set(&vm, WHvX64RegisterRax, 0x5678);
    vm_step(&vm);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x5678);
}

TEST_MODES(exits_rdtsc, "exits: rdtsc", VM_ALL)
{
    rdtsc_test(mode, "misc_rdtsc", false);
}

TEST_MODES(exits_rdtscp, "exits: rdtscp", VM_ALL)
{
    rdtsc_test(mode, "misc_rdtscp", true);
}

/* Without the exit the guest reads its own clock: it moves on, and starts where the client put it. */
TEST_MODES(exits_rdtsc_off, "exits: rdtsc: none without X64RdtscExit; the client sets the TSC", VM_CPL0)
{
    uint64_t first, second;

    VM_GUEST(vm, mode, "misc_tsc_twice", NULL);
    vm_set(&vm, WHvX64RegisterTsc, 0x5000000000ull);
    EXPECT_END(&vm);
    first = *vm_u64(&vm, VM_DATA);
    second = *vm_u64(&vm, VM_DATA + 8);
    EXPECT_GE(first, 0x5000000000ull);
    EXPECT_LE(first, 0x5010000000ull);
    EXPECT_GE(second, first); /* equal where several CPUs share an engine's time */
    EXPECT_GE(vm_get(&vm, WHvX64RegisterTsc), second);
}

/* -------------------------------------------------------------------------------- task switch */

#define VM_TASKS (VM_BIT(VM_PROT16) | VM_BIT(VM_PROT32) | VM_BIT(VM_PAGED32) | VM_BIT(VM_PAE))

static void check_task_switch(struct vm *vm, unsigned source)
{
    EXPECT_EQ(vm->exit.UnsupportedFeature.FeatureCode, WHvUnsupportedFeatureTaskSwitchTss);
    EXPECT_EQ(vm->exit.UnsupportedFeature.Reserved, 0);
    EXPECT_EQ(vm->exit.UnsupportedFeature.FeatureParameter & 0xffff, VM_SEL_TSS2);
    EXPECT_EQ(vm->exit.UnsupportedFeature.FeatureParameter >> 30 & 3, source);
}

TEST_MODES(exits_task_jump, "exits: unsupported feature: far jump to a TSS", VM_TASKS)
{
    VM_GUEST(vm, mode, "misc_task_jump", NULL);
    REQUIRE(EXPECT_EXIT(&vm, UnsupportedFeature));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    check_task_switch(&vm, 2);
}

TEST_MODES(exits_task_call, "exits: unsupported feature: far call to a TSS", VM_TASKS)
{
    VM_GUEST(vm, mode, "misc_task_call", NULL);
    REQUIRE(EXPECT_EXIT(&vm, UnsupportedFeature));
    check_task_switch(&vm, 0);
}

/* Through a task gate the switch interrupts a delivery. */
TEST_MODES(exits_task_gate, "exits: unsupported feature: INT n through a task gate", VM_TASKS)
{
    VM_GUEST(vm, mode, "exception_int_80", NULL);
    vm_u64(&vm, VM_IDT)[0x80] = (uint64_t)0xe500 << 32 | VM_SEL_TSS2 << 16;
    REQUIRE(EXPECT_EXIT(&vm, UnsupportedFeature));
    check_task_switch(&vm, 3);
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptionPending, 1);
}

TEST(exits_task_long, "exits: unsupported feature: none in long mode, #GP")
{
    VM_GUEST(vm, VM_LONG, "misc_task_jump_long", NULL);
    *vm_u64(&vm, VM_DATA) = (uint64_t)VM_SEL_TSS2 << 32;
    EXPECT_VECTOR(&vm, 13);
}

/* ------------------------------------------------------------------------------- triple fault */

static void idt_limit_0(struct vm *vm)
{
    vm_set_table(vm, WHvX64RegisterIdtr, vm->mode == VM_REAL ? 0 : VM_IDT, 0);
}

static void idt_not_present(struct vm *vm)
{
    for (unsigned i = 0; i < 512; i++)
        vm_u64(vm, VM_IDT)[i] &= ~(1ull << 47);
}

static void idt_page_absent(struct vm *vm)
{
    vm_pte_and(vm, VM_IDT, ~PTE_P);
}

static const struct triple_row {
    const char *name;
    uint32_t modes;
    const char *guest;
    void (*prepare)(struct vm *vm);
    uint8_t vectors[3];
    bool idt_readable;
} triple_rows[] = {
    {"#UD, empty IDT", VM_ALL & ~VM_CPL3, "exception_ud", idt_limit_0, {6, 13, 13}, true},
    {"#DE, empty IDT", VM_ALL & ~VM_CPL3, "exception_de", idt_limit_0, {0, 13, 13}, true},
    {"#GP, absent gates", VM_PROTECTED &VM_CPL0, "exception_gp", idt_not_present, {13, 11, 11}, true},
    {"#UD, IDT in an absent page", VM_PAGED &VM_CPL0, "exception_ud", idt_page_absent, {6, 14, 14}, false},
    {"#UD at CPL 3, empty IDT", VM_CPL3, "exception_ud", idt_limit_0, {6, 13, 13}, true},
};

TEST_ROWS_MODES(exits_triple_fault, "exits: triple fault", triple_rows, VM_ALL)
{
    VM_GUEST(vm, mode, row->guest, NULL);
    row->prepare(&vm);
    REQUIRE(EXPECT_EXIT(&vm, UnrecoverableException));
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 0);
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptionPending, 0);
}

/* What the native call tells of it; the VP stays usable. */
TEST_ROWS_MODES(exits_triple_fault_told, "exits: triple fault told by hv_vp_triple_fault", triple_rows, VM_ALL)
{
    struct hv_triple_fault t;

    VM(vm);
    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, mode) && vm_load(&vm, row->guest));
    EXPECT_EQ(hv_vp_triple_fault(vm.native_vp, &t), HV_E_STATE);
    row->prepare(&vm);
    REQUIRE(EXPECT_EXIT(&vm, UnrecoverableException));
    REQUIRE(EXPECT_EQ(hv_vp_triple_fault(vm.native_vp, &t), HV_OK));
    EXPECT_EQ(t.rip, vm_mark(&vm, 0));
    EXPECT_EQ(t.cr3, vm_get(&vm, WHvX64RegisterCr3));
    EXPECT_EQ(t.idtr.base, mode == VM_REAL ? 0 : VM_IDT);
    EXPECT_EQ(t.idt_readable, row->idt_readable);
    EXPECT_EQ(t.vector_count, 3);
    EXPECT_BYTES(t.vectors, row->vectors, 3);
    vm_build(&vm, mode);
    REQUIRE(vm_enter_vp(&vm, 0, mode) && vm_load(&vm, "smoke_halt"));
    EXPECT_END(&vm);
    EXPECT_EQ(hv_vp_triple_fault(vm.native_vp, &t), HV_E_STATE);
}

/* ------------------------------------------------------------------------------------- cancel */

/* Latched: the next run returns at once, without an instruction of the guest's. Several count as one. */
TEST_MODES(exits_canceled, "exits: canceled before the run", VM_ALL)
{
    VM_GUEST(vm, mode, "smoke_halt", NULL);
    EXPECT_OK(WHvCancelRunVirtualProcessor(vm.partition, 0, 0));
    EXPECT_OK(WHvCancelRunVirtualProcessor(vm.partition, 0, 0));
    REQUIRE(EXPECT_EXIT(&vm, Canceled));
    EXPECT_EQ(vm.exit.CancelReason.CancelReason, WHvRunVpCancelReasonUser);
    EXPECT_EQ(vm.exit.VpContext.Rip, VM_CODE);
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 0);
    EXPECT_END(&vm);
}

/* A deadline of the host's ends a guest that never exits by itself. */
TEST_MODES(exits_deadline, "exits: canceled by the run's deadline", VM_CPL0)
{
    VM(vm);
    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, mode));
    REQUIRE(vm_load(&vm, vm_mode_bits(mode) == 64 ? "misc_loop64" : "misc_loop"));
    if (hv_vp_set_run_deadline(vm.native_vp, rdtsc() + 100000) == HV_E_UNSUPPORTED && vm_is_svm())
        SKIP("SVM has no timer that ends a guest's run");
    EXPECT_EQ(hv_vp_set_run_deadline(vm.native_vp, rdtsc() + 100000), HV_OK);
    REQUIRE(EXPECT_EXIT(&vm, Canceled));
    EXPECT_NE(*vm_u32(&vm, VM_DATA), 0);
    EXPECT_GE(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    EXPECT_LE(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
}

/* And one that does not run at all. */
TEST(exits_deadline_halted, "exits: a halt is canceled by the run's deadline")
{
    VM(vm);

    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, VM_LONG));
    vm_set(&vm, WHvRegisterInternalActivityState, 2); /* HaltSuspend */
    if (hv_vp_set_run_deadline(vm.native_vp, rdtsc() + 100000) == HV_E_UNSUPPORTED && vm_is_svm())
        SKIP("SVM has no timer that ends a guest's run");
    REQUIRE(EXPECT_EXIT(&vm, Canceled));
    EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 2);
}

/* -------------------------------------------------------------------------- what must not exit */

static const struct {
    const char *name;
    uint32_t modes;
    const char *guest;
    int vector; /* -1: it just runs on */
} quiet_rows[] = {
    {"invd", VM_CPL0, "misc_invd", -1},     {"wbinvd", VM_CPL0, "misc_wbinvd", -1},
    {"invlpg", VM_CPL0, "misc_invlpg", -1}, {"swapgs", VM_BIT(VM_LONG), "misc_swapgs", -1},
    {"rdpmc", VM_CPL0, "misc_rdpmc", 13},   {"vmxoff", VM_CPL0, "misc_vmxoff", 6},
    {"getsec", VM_CPL0, "misc_getsec", 6},  {"monitor", VM_CPL0, "misc_monitor", 6},
    {"mwait", VM_CPL0, "misc_mwait", 6},    {"vmxoff", VM_CPL3, "misc_vmxoff", 6},
    {"rdmsr", VM_CPL3, "misc_rdmsr", 13},   {"wbinvd", VM_CPL3, "misc_wbinvd", 13},
    {"vmrun", VM_CPL0, "misc_vmrun", 6},    {"vmload", VM_CPL0, "misc_vmload", 6},
    {"vmsave", VM_CPL0, "misc_vmsave", 6},  {"stgi", VM_CPL0, "misc_stgi", 6},
    {"clgi", VM_CPL0, "misc_clgi", 6},      {"invlpga", VM_CPL0, "misc_invlpga", 6},
};

TEST_ROWS_MODES(exits_quiet, "exits: none for", quiet_rows, VM_ALL)
{
    VM_GUEST(vm, mode, row->guest, NULL);
    if (row->vector < 0) {
        EXPECT_END(&vm);
    } else {
        EXPECT_VECTOR(&vm, (unsigned)row->vector);
        EXPECT_EQ(vm_stack(&vm, row->vector == 13 && mode != VM_REAL), vm_mark(&vm, 0));
    }
}
