/* SPDX-License-Identifier: MIT */
/* X64Cpuid and X64MsrAccess: which leaves and MSRs exit, what the client is told, and what the guest gets without an
 * exit. */
#include "test.h"
#include "vm.h"

/* -------------------------------------------------------------------------------------- CPUID */

#define SIGNATURE 0xabcd0000u

static void cpuid_exits(struct vm *vm)
{
    vm_set_exits(vm, VM_EXIT_CPUID);
}

static void leaf_1_exits(struct vm *vm)
{
    UINT32 leaves[] = {1, 0x40000000};

    cpuid_exits(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeCpuidExitList, leaves, sizeof(leaves));
}

static void no_leaf_exits(struct vm *vm)
{
    UINT32 none = 0;

    cpuid_exits(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeCpuidExitList, &none, 0);
}

static void set_leaf(struct vm *vm, uint32_t leaf, uint32_t subleaf)
{
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterRax, leaf);
    vm_set(vm, WHvX64RegisterRcx, subleaf);
    vm_set(vm, WHvX64RegisterRdx, SIGNATURE + 1);
    vm_set(vm, WHvX64RegisterRbx, SIGNATURE + 2);
}

static WHV_CPUID_OUTPUT output_of(struct vm *vm, uint32_t leaf, uint32_t subleaf)
{
    WHV_CPUID_OUTPUT out = {0};

    EXPECT_OK(WHvGetVirtualProcessorCpuidOutput(vm->partition, 0, leaf, subleaf, &out));
    return out;
}

static void check_guest_got(struct vm *vm, const WHV_CPUID_OUTPUT *out)
{
    EXPECT_EQ(vm_get(vm, WHvX64RegisterRax), out->Eax);
    EXPECT_EQ(vm_get(vm, WHvX64RegisterRbx), out->Ebx);
    EXPECT_EQ(vm_get(vm, WHvX64RegisterRcx), out->Ecx);
    EXPECT_EQ(vm_get(vm, WHvX64RegisterRdx), out->Edx);
}

static void check_cpuid(struct vm *vm, uint32_t leaf, uint32_t subleaf)
{
    const WHV_X64_CPUID_ACCESS_CONTEXT *c = &vm->exit.CpuidAccess;
    WHV_CPUID_OUTPUT out = output_of(vm, leaf, subleaf);

    EXPECT_EQ(c->Rax, leaf);
    EXPECT_EQ(c->Rcx, subleaf);
    EXPECT_EQ(c->Rdx, SIGNATURE + 1);
    EXPECT_EQ(c->Rbx, SIGNATURE + 2);
    EXPECT_EQ(c->DefaultResultRax, out.Eax);
    EXPECT_EQ(c->DefaultResultRbx, out.Ebx);
    EXPECT_EQ(c->DefaultResultRcx, out.Ecx);
    EXPECT_EQ(c->DefaultResultRdx, out.Edx);
}

static const struct leaf_row {
    const char *name;
    uint32_t modes, leaf, subleaf;
} leaf_rows[] = {
    {"0", 0, 0, 0},
    {"1", 0, 1, 0},
    {"4.1", VM_BIT(VM_LONG), 4, 1},
    {"7", VM_BIT(VM_LONG), 7, 0},
    {"0xb.1", VM_BIT(VM_LONG), 0xb, 1},
    {"0xd", VM_BIT(VM_LONG), 0xd, 0},
    {"0xd.1", VM_BIT(VM_LONG), 0xd, 1},
    {"0xd.2", VM_BIT(VM_LONG), 0xd, 2},
    {"0x80000000", VM_BIT(VM_LONG), 0x80000000, 0},
    {"0x80000001", VM_BIT(VM_LONG), 0x80000001, 0},
    {"0x80000008", VM_BIT(VM_LONG), 0x80000008, 0},
    {"0x40000000", VM_BIT(VM_LONG), 0x40000000, 0},
    {"0x12345678", VM_BIT(VM_LONG), 0x12345678, 0},
};

/* Without a list every leaf exits; the client answers and steps. */
TEST_ROWS_MODES(cpuid_exit, "cpuid: exit of leaf", leaf_rows, VM_ALL)
{
    WHV_CPUID_OUTPUT answer = {0x11111111, 0x22222222, 0x33333333, 0x44444444};

    VM_GUEST(vm, mode, "misc_cpuid", cpuid_exits);
    set_leaf(&vm, row->leaf, row->subleaf);
    REQUIRE(EXPECT_EXIT(&vm, X64Cpuid));
    vm_check_instruction(&vm, 0);
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 2);
    check_cpuid(&vm, row->leaf, row->subleaf);
    vm_set(&vm, WHvX64RegisterRax, answer.Eax);
    vm_set(&vm, WHvX64RegisterRbx, answer.Ebx);
    vm_set(&vm, WHvX64RegisterRcx, answer.Ecx);
    vm_set(&vm, WHvX64RegisterRdx, answer.Edx);
    vm_step(&vm);
    EXPECT_END(&vm);
    if (vm_mode_in(mode, VM_CPL0))
        check_guest_got(&vm, &answer);
}

/* Without the exit the guest gets what WHvGetVirtualProcessorCpuidOutput says, in 32 bits. */
TEST_ROWS_MODES(cpuid_default, "cpuid: default of leaf", leaf_rows, VM_ALL)
{
    WHV_CPUID_OUTPUT out;

    VM_GUEST(vm, mode, "misc_cpuid", NULL);
    set_leaf(&vm, row->leaf, row->subleaf);
    EXPECT_END(&vm);
    out = output_of(&vm, row->leaf, row->subleaf);
    check_guest_got(&vm, &out);
}

TEST(cpuid_exit_list, "cpuid: only the leaves of the exit list exit")
{
    WHV_CPUID_OUTPUT out;

    VM_GUEST(vm, VM_LONG, "misc_cpuid", leaf_1_exits);
    set_leaf(&vm, 1, 0);
    EXPECT_EXIT(&vm, X64Cpuid);
    set_leaf(&vm, 0x40000000, 0);
    EXPECT_EXIT(&vm, X64Cpuid);
    set_leaf(&vm, 0, 0);
    EXPECT_END(&vm);
    out = output_of(&vm, 0, 0);
    check_guest_got(&vm, &out);
    set_leaf(&vm, 0x80000001, 0);
    EXPECT_END(&vm);
}

TEST(cpuid_exit_list_empty, "cpuid: an empty exit list: none exits")
{
    VM_GUEST(vm, VM_LONG, "misc_cpuid", no_leaf_exits);
    set_leaf(&vm, 1, 0);
    EXPECT_END(&vm);
}

/* The list may change while the VP exists. */
TEST(cpuid_exit_list_later, "cpuid: exit list changed after set-up")
{
    UINT32 leaf = 0;

    VM_GUEST(vm, VM_LONG, "misc_cpuid", leaf_1_exits);
    set_leaf(&vm, 0, 0);
    EXPECT_END(&vm);
    vm_set_property(&vm, WHvPartitionPropertyCodeCpuidExitList, &leaf, sizeof(leaf));
    set_leaf(&vm, 0, 0);
    EXPECT_EXIT(&vm, X64Cpuid);
    set_leaf(&vm, 1, 0);
    EXPECT_END(&vm);
}

/* ------------------------------------------------------------------------------- result lists */

static void result_list(struct vm *vm)
{
    WHV_X64_CPUID_RESULT results[] = {
        {.Function = 0x40000000, .Eax = 1, .Ebx = 2, .Ecx = 3, .Edx = 4},
        {.Function = 4, .Eax = 0x4a, .Ebx = 0x4b, .Ecx = 0x4c, .Edx = 0x4d},
    };

    cpuid_exits(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeCpuidResultList, results, sizeof(results));
}

TEST(cpuid_result_list, "cpuid: result list, all subleaves, also as default results")
{
    WHV_CPUID_OUTPUT wanted = {0x4a, 0x4b, 0x4c, 0x4d}, got;

    VM_GUEST(vm, VM_LONG, "misc_cpuid", result_list);
    for (unsigned subleaf = 0; subleaf < 3; subleaf++) {
        set_leaf(&vm, 4, subleaf);
        REQUIRE(EXPECT_EXIT(&vm, X64Cpuid));
        EXPECT_EQ(vm.exit.CpuidAccess.DefaultResultRax, 0x4a);
        EXPECT_EQ(vm.exit.CpuidAccess.DefaultResultRdx, 0x4d);
        got = output_of(&vm, 4, subleaf);
        EXPECT_BYTES(&got, &wanted, sizeof(got));
    }
    vm_set_exits(&vm, 0);
    set_leaf(&vm, 4, 2);
    EXPECT_END(&vm);
    check_guest_got(&vm, &wanted);
}

static void result_list2(struct vm *vm)
{
    WHV_X64_CPUID_RESULT2 results[] = {
        {.Function = 0x40000001, .Output = {0x31764858, 5, 6, 7}, .Mask = {~0u, ~0u, ~0u, ~0u}},
        {.Function = 4,
         .Index = 1,
         .Flags = WHvX64CpuidResult2FlagSubleafSpecific,
         .Output = {0xff, 0, 0, 0},
         .Mask = {0xff, 0, 0, 0}},
        {.Function = 1,
         .VpIndex = 1,
         .Flags = WHvX64CpuidResult2FlagVpSpecific,
         .Output = {0, 0, 0, 0},
         .Mask = {~0u, 0, 0, 0}},
    };

    vm_set_property(vm, WHvPartitionPropertyCodeCpuidResultList2, results, sizeof(results));
}

TEST(cpuid_result_list2, "cpuid: second result list: mask, subleaf, VP")
{
    WHV_CPUID_OUTPUT plain, changed, other;

    VM_GUEST(vm, VM_LONG, "misc_cpuid", result_list2);
    changed = output_of(&vm, 0x40000001, 0);
    EXPECT_EQ(changed.Eax, 0x31764858);
    EXPECT_EQ(changed.Edx, 7);
    changed = output_of(&vm, 4, 1);
    other = output_of(&vm, 4, 0);
    EXPECT_EQ(changed.Eax & 0xff, 0xff);
    EXPECT_NE(other.Eax & 0xff, 0xff);
    plain = output_of(&vm, 1, 0);
    EXPECT_NE(plain.Eax, 0);
    set_leaf(&vm, 4, 1);
    EXPECT_END(&vm);
    check_guest_got(&vm, &changed);
}

TEST(cpuid_osxsave, "cpuid: OSXSAVE follows CR4")
{
    VM_GUEST(vm, VM_LONG, "misc_cpuid", NULL);
    if (!(output_of(&vm, 1, 0).Ecx >> 26 & 1))
        SKIP("this CPU has no XSAVE");
    EXPECT_EQ(output_of(&vm, 1, 0).Ecx >> 27 & 1, 0);
    vm_set(&vm, WHvX64RegisterCr4, vm_get(&vm, WHvX64RegisterCr4) | CR4_OSXSAVE);
    EXPECT_EQ(output_of(&vm, 1, 0).Ecx >> 27 & 1, 1);
    set_leaf(&vm, 1, 0);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRcx) >> 27 & 1, 1);
}

/* Virtualization is not offered to guests, and what the CPU needs for it not shown. */
TEST(cpuid_hidden, "cpuid: VMX and SVM are hidden")
{
    WHV_CPUID_OUTPUT svm, none = {0};

    VM_GUEST(vm, VM_LONG, "misc_cpuid", NULL);
    EXPECT_EQ(output_of(&vm, 1, 0).Ecx >> 5 & 1, 0);
    EXPECT_EQ(output_of(&vm, 0x80000001, 0).Ecx >> 2 & 1, 0);
    EXPECT_EQ(output_of(&vm, 0x80000001, 0).Ecx >> 12 & 1, 0); /* SKINIT */
    svm = output_of(&vm, 0x8000000a, 0);
    EXPECT_BYTES(&svm, &none, sizeof(svm));
}

/* --------------------------------------------------------------------------------------- MSRs */

#define MSR_UNKNOWN     0x12345u
#define MSR_VMX         0x480u
#define MSR_HSAVE_PA    0xc0010117u
#define MSR_MISC_ENABLE 0x1a0u

static void set_msr(struct vm *vm, uint32_t msr, uint64_t value)
{
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterRcx, msr);
    vm_set(vm, WHvX64RegisterRax, (uint32_t)value);
    vm_set(vm, WHvX64RegisterRdx, value >> 32);
}

static void set_msr_exits(struct vm *vm, uint64_t bitmap)
{
    vm_set_exits(vm, VM_EXIT_MSR);
    vm_set_property(vm, WHvPartitionPropertyCodeX64MsrExitBitmap, &bitmap, sizeof(bitmap));
}

static void unhandled_exits(struct vm *vm)
{
    set_msr_exits(vm, 1);
}

static void check_msr(struct vm *vm, bool is_write, uint32_t msr, uint64_t value)
{
    const WHV_X64_MSR_ACCESS_CONTEXT *m = &vm->exit.MsrAccess;

    vm_check_instruction(vm, 0);
    EXPECT_EQ(m->AccessInfo.AsUINT32, is_write);
    EXPECT_EQ(m->MsrNumber, msr);
    EXPECT_EQ(m->Rax, (uint32_t)value);
    EXPECT_EQ(m->Rdx, value >> 32);
}

static const struct {
    const char *name;
    uint32_t modes;
    const char *guest;
    bool is_write;
} access_rows[] = {
    {"read", VM_CPL0, "misc_rdmsr", false},
    {"write", VM_CPL0, "misc_wrmsr", true},
};

TEST_ROWS_MODES(msr_unhandled, "msr: unhandled, with the exit", access_rows, VM_ALL)
{
    VM_GUEST(vm, mode, row->guest, unhandled_exits);
    set_msr(&vm, MSR_UNKNOWN, 0x1122334455667788);
    REQUIRE(EXPECT_EXIT(&vm, X64MsrAccess));
    check_msr(&vm, row->is_write, MSR_UNKNOWN, 0x1122334455667788);
    vm_set(&vm, WHvX64RegisterRax, 0x77);
    vm_step(&vm);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x77);
}

TEST_ROWS_MODES(msr_gp, "msr: unhandled, without the exit: #GP(0)", access_rows, VM_ALL)
{
    unsigned error = mode != VM_REAL;

    VM_GUEST(vm, mode, row->guest, NULL);
    set_msr(&vm, MSR_UNKNOWN, 0);
    EXPECT_VECTOR(&vm, 13);
    if (error)
        EXPECT_EQ(vm_stack(&vm, 0), 0);
    EXPECT_EQ(vm_stack(&vm, error), vm_mark(&vm, 0));
}

/* Values that a known MSR does not take are #GP, exit or not. */
static const struct {
    const char *name;
    uint32_t msr;
    uint64_t value;
} bad_rows[] = {
    {"EFER", 0xc0000080, 0x2},           {"PAT", 0x277, 2},
    {"LSTAR", 0xc0000082, 1ull << 63},   {"FS base", 0xc0000100, 1ull << 62},
    {"TSC_AUX", 0xc0000103, 1ull << 32}, {"MTRR def type", 0x2ff, 2},
    {"SYSENTER_EIP", 0x176, 1ull << 63}, {"KERNEL_GS_BASE", 0xc0000102, 1ull << 63},
};

TEST_ROWS(msr_bad_value, "msr: a value that it can not hold: #GP", bad_rows)
{
    VM_GUEST(vm, VM_LONG, "misc_wrmsr", unhandled_exits);
    set_msr(&vm, row->msr, row->value);
    EXPECT_VECTOR(&vm, 13);
}

/* Known MSRs never exit. Those that only CPUs of one make have are unknown elsewhere. */
enum make { BOTH, LOW, HIGH };

static const struct {
    const char *name;
    uint32_t msr;
    enum make make;
} known_rows[] = {
    {"TSC", 0x10, BOTH},
    {"APIC base", 0x1b, BOTH},
    {"MTRR cap", 0xfe, BOTH},
    {"SYSENTER_CS", 0x174, BOTH},
    {"misc enable", 0x1a0, LOW},
    {"PAT", 0x277, BOTH},
    {"MTRR def type", 0x2ff, BOTH},
    {"EFER", 0xc0000080, BOTH},
    {"STAR", 0xc0000081, BOTH},
    {"FS base", 0xc0000100, BOTH},
    {"GS base", 0xc0000101, BOTH},
    {"KERNEL_GS_BASE", 0xc0000102, BOTH},
    {"feature control", 0x3a, LOW},
    {"microcode level", 0x8b, BOTH},
    {"PerfEvtSel0", 0xc0010000, HIGH},
    {"SYSCFG", 0xc0010010, HIGH},
    {"HWCR", 0xc0010015, HIGH},
    {"VM_CR", 0xc0010114, HIGH},
    {"DE_CFG", 0xc0011029, HIGH},
};

TEST_ROWS(msr_known, "msr: no exit for", known_rows)
{
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", unhandled_exits);
    set_msr(&vm, row->msr, 0);
    if (row->make == BOTH || row->make == (vm_has_other_msrs() ? HIGH : LOW))
        EXPECT_END(&vm);
    else
        EXPECT_EXIT(&vm, X64MsrAccess);
}

/* The MSRs of virtualization are the hypervisor's #GP, not an exit. */
TEST(msr_virtualization, "msr: VMX's capabilities, SVM's host save area: #GP, no exit")
{
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", unhandled_exits);
    set_msr(&vm, MSR_VMX, 0);
    EXPECT_VECTOR(&vm, 13);
    vm_load(&vm, "misc_rdmsr");
    set_msr(&vm, MSR_HSAVE_PA, 0);
    if (vm_has_other_msrs())
        EXPECT_VECTOR(&vm, 13);
    else
        EXPECT_EXIT(&vm, X64MsrAccess);
}

/* The bits of X64MsrExitBitmap, one each. */
static const struct bitmap_row {
    const char *name;
    unsigned bit;
    uint32_t msr;
    bool is_write;
    uint64_t value;
} bitmap_rows[] = {
    {"TSC write", 1, 0x10, true, 0x1234567890},     {"TSC read", 2, 0x10, false, 0},
    {"APIC base write", 3, 0x1b, true, 0xfee00900}, {"misc enable read", 4, 0x1a0, false, 0},
    {"microcode level read", 5, 0x8b, false, 0},
};

TEST_ROWS(msr_bitmap, "msr: exit bitmap", bitmap_rows)
{
    uint64_t offered = 0;

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeX64MsrExitBitmap, &offered, sizeof(offered), NULL));
    if (!(offered >> row->bit & 1))
        SKIP("not offered");
    if (row->msr == MSR_MISC_ENABLE && vm_has_other_msrs())
        SKIP("CPUs of this make have no MISC_ENABLE");
    VM_GUEST(vm, VM_LONG, row->is_write ? "misc_wrmsr" : "misc_rdmsr", NULL);
    set_msr(&vm, row->msr, row->value);
    EXPECT_END(&vm);
    set_msr_exits(&vm, 1ull << row->bit);
    set_msr(&vm, row->msr, row->value);
    REQUIRE(EXPECT_EXIT(&vm, X64MsrAccess));
    check_msr(&vm, row->is_write, row->msr, row->value);
    set_msr_exits(&vm, 0);
    set_msr(&vm, row->msr, row->value);
    EXPECT_END(&vm);
}

/* ------------------------------------------------------------------------------------- actions */

static void action_list(struct vm *vm)
{
    WHV_MSR_ACTION_ENTRY actions[] = {
        {.Index = MSR_UNKNOWN, .ReadAction = WHvMsrActionIgnoreWriteReadZero, .WriteAction = WHvMsrActionExit},
        {.Index = MSR_UNKNOWN + 1, .ReadAction = WHvMsrActionExit, .WriteAction = WHvMsrActionIgnoreWriteReadZero},
        {.Index = MSR_UNKNOWN + 2},
    };

    vm_set_exits(vm, VM_EXIT_MSR);
    vm_set_property(vm, WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions));
}

static void ignored(struct vm *vm, const char *guest, uint32_t msr)
{
    vm_load(vm, guest);
    set_msr(vm, msr, 0x1111111122222222);
    EXPECT_END(vm);
    if (strcmp(guest, "misc_rdmsr") == 0)
        EXPECT_EQ(vm_get(vm, WHvX64RegisterRax) | vm_get(vm, WHvX64RegisterRdx), 0);
}

TEST(msr_actions, "msr: action list: exit, ignore and read zero, default")
{
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", action_list);
    ignored(&vm, "misc_rdmsr", MSR_UNKNOWN);
    ignored(&vm, "misc_wrmsr", MSR_UNKNOWN + 1);
    vm_load(&vm, "misc_wrmsr");
    set_msr(&vm, MSR_UNKNOWN, 5);
    EXPECT_EXIT(&vm, X64MsrAccess);
    check_msr(&vm, true, MSR_UNKNOWN, 5);
    vm_load(&vm, "misc_rdmsr");
    set_msr(&vm, MSR_UNKNOWN + 1, 5);
    EXPECT_EXIT(&vm, X64MsrAccess);
    check_msr(&vm, false, MSR_UNKNOWN + 1, 5);
}

/* MSRs that a guest otherwise uses without an exit. The TSC's reads are asked for by the bitmap beside its entry here.
 */
static void direct_action_list(struct vm *vm)
{
    WHV_MSR_ACTION_ENTRY actions[] = {
        {.Index = 0x10, .WriteAction = WHvMsrActionExit},
        {.Index = 0xc0000100, .ReadAction = WHvMsrActionExit},
        {.Index = 0xc0000102, .ReadAction = WHvMsrActionIgnoreWriteReadZero, .WriteAction = WHvMsrActionExit},
    };

    vm_set_exits(vm, VM_EXIT_MSR);
    vm_set_property(vm, WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions));
    set_msr_exits(vm, 1 << 2);
}

static void msr_exits(struct vm *vm, const char *guest, uint32_t msr)
{
    vm_load(vm, guest);
    set_msr(vm, msr, 0x1000);
    if (EXPECT_EXIT(vm, X64MsrAccess))
        check_msr(vm, strcmp(guest, "misc_wrmsr") == 0, msr, 0x1000);
}

TEST(msr_direct_actions, "msr: action list: MSRs that do not exit by themselves")
{
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", direct_action_list);
    msr_exits(&vm, "misc_rdmsr", 0x10);
    msr_exits(&vm, "misc_wrmsr", 0x10);
    msr_exits(&vm, "misc_rdmsr", 0xc0000100);
    msr_exits(&vm, "misc_wrmsr", 0xc0000102);
    vm_set(&vm, WHvX64RegisterKernelGsBase, 0x5000);
    ignored(&vm, "misc_rdmsr", 0xc0000102);
    vm_load(&vm, "misc_wrmsr"); /* the default */
    set_msr(&vm, 0xc0000100, 0x7000);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get_segment(&vm, WHvX64RegisterFs).Base, 0x7000);
}

static void unimplemented_ignored(struct vm *vm)
{
    WHV_MSR_ACTION action = WHvMsrActionIgnoreWriteReadZero;

    vm_set_property(vm, WHvPartitionPropertyCodeUnimplementedMsrAction, &action, sizeof(action));
}

TEST(msr_unimplemented, "msr: UnimplementedMsrAction: ignore")
{
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", unimplemented_ignored);
    ignored(&vm, "misc_rdmsr", MSR_UNKNOWN);
    ignored(&vm, "misc_wrmsr", MSR_UNKNOWN);
}
