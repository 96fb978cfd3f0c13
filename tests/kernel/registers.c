/* SPDX-License-Identifier: MIT */
/* Registers by name: round trips with and without a run in between, and names that do not exist. What guests see of
 * them is in registers_guest.c. */
#include "test.h"
#include "vm.h"

#define GARBAGE 0xa5a5a5a5a5a5a5a5ull

/* ------------------------------------------------------------------------- 64 bits and fewer */

/* width: bits that the register has; set again to keep after the run. Values are such that a guest can be entered with
 * them. */
static const struct word_row {
    const char *name;
    WHV_REGISTER_NAME reg;
    uint64_t value;
    unsigned width;
} word_rows[] = {
    {"RAX", WHvX64RegisterRax, 0x1122334455667788, 64},
    {"RCX", WHvX64RegisterRcx, 0x2122334455667788, 64},
    {"RDX", WHvX64RegisterRdx, 0x3122334455667788, 64},
    {"RBX", WHvX64RegisterRbx, 0x4122334455667788, 64},
    {"RSP", WHvX64RegisterRsp, 0x5122334455667788, 64},
    {"RBP", WHvX64RegisterRbp, 0x6122334455667788, 64},
    {"RSI", WHvX64RegisterRsi, 0x7122334455667788, 64},
    {"RDI", WHvX64RegisterRdi, 0x8122334455667788, 64},
    {"R8", WHvX64RegisterR8, 0x9122334455667788, 64},
    {"R9", WHvX64RegisterR9, 0xa122334455667788, 64},
    {"R10", WHvX64RegisterR10, 0xb122334455667788, 64},
    {"R11", WHvX64RegisterR11, 0xc122334455667788, 64},
    {"R12", WHvX64RegisterR12, 0xd122334455667788, 64},
    {"R13", WHvX64RegisterR13, 0xe122334455667788, 64},
    {"R14", WHvX64RegisterR14, 0xf122334455667788, 64},
    {"R15", WHvX64RegisterR15, 0x0122334455667788, 64},
    {"RFLAGS", WHvX64RegisterRflags, 0x246ed7, 64},
    {"CR0", WHvX64RegisterCr0, 0xc005003b, 64},
    {"CR2", WHvX64RegisterCr2, 0xffff900012345678, 64},
    {"CR3", WHvX64RegisterCr3, 0x10018, 64},
    {"CR4", WHvX64RegisterCr4, 0x6b8, 64},
    {"CR8", WHvX64RegisterCr8, 0xb, 64},
    {"DR0", WHvX64RegisterDr0, 0xffff800000001111, 64},
    {"DR1", WHvX64RegisterDr1, 0x2222, 64},
    {"DR2", WHvX64RegisterDr2, 0x3333, 64},
    {"DR3", WHvX64RegisterDr3, 0x4444, 64},
    {"DR6", WHvX64RegisterDr6, 0xffff4ff3, 64},
    {"DR7", WHvX64RegisterDr7, 0x400, 64},
    {"XCR0", WHvX64RegisterXCr0, 3, 64},
    {"EFER", WHvX64RegisterEfer, 0xd01, 64},
    {"KERNEL_GS_BASE", WHvX64RegisterKernelGsBase, 0xffffb00012345678, 64},
    {"PAT", WHvX64RegisterPat, 0x0106050401060504, 64},
    {"SYSENTER_CS", WHvX64RegisterSysenterCs, 0x12345678, 64},
    {"SYSENTER_EIP", WHvX64RegisterSysenterEip, 0xffffb00012345678, 64},
    {"SYSENTER_ESP", WHvX64RegisterSysenterEsp, 0x00001000, 64},
    {"STAR", WHvX64RegisterStar, 0x1122334455667788, 64},
    {"LSTAR", WHvX64RegisterLstar, 0xffffffff12345678, 64},
    {"CSTAR", WHvX64RegisterCstar, 0xffffffff22345678, 64},
    {"SFMASK", WHvX64RegisterSfmask, 0x47700, 64},
    {"MTRR def type", WHvX64RegisterMsrMtrrDefType, 0xc06, 64},
    {"MTRR base 0", WHvX64RegisterMsrMtrrPhysBase0, 0x12345006, 64},
    {"MTRR base F", WHvX64RegisterMsrMtrrPhysBaseF, 0x22345000, 64},
    {"MTRR mask 0", WHvX64RegisterMsrMtrrPhysMask0, 0x1ffff800, 64},
    {"MTRR mask F", WHvX64RegisterMsrMtrrPhysMaskF, 0x1fffe800, 64},
    {"MTRR fixed 64K", WHvX64RegisterMsrMtrrFix64k00000, 0x0606060606060606, 64},
    {"MTRR fixed 4K", WHvX64RegisterMsrMtrrFix4kF8000, 0x0005040100060504, 64},
    {"TSC_AUX", WHvX64RegisterTscAux, 0x9abcdef0, 64},
    {"XSS", WHvX64RegisterXss, 0, 64},
};

/* Set, get; run; get again. Garbage above the register's 64 bits is ignored on the way in and zero on the way out. */
TEST_ROWS(registers_words, "registers: round trip", word_rows)
{
    WHV_REGISTER_VALUE value;

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set128(&vm, row->reg, row->value, GARBAGE);
    value = vm_get_value(&vm, row->reg);
    EXPECT_EQ(value.Reg128.Low64, row->value);
    EXPECT_EQ(value.Reg128.High64, 0);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, row->reg), row->value);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, row->reg), row->value);
}

/* RIP is what the guest goes on from. */
TEST(registers_rip, "registers: RIP")
{
    VM_GUEST(vm, VM_LONG, "misc_halts", NULL);
    vm_set128(&vm, WHvX64RegisterRip, VM_CODE + 2, GARBAGE);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), VM_CODE + 2);
    EXPECT_END(&vm);
}

/* --------------------------------------------------------------------- narrower, read-only ones */

static const struct {
    const char *name;
    WHV_REGISTER_NAME reg;
    uint64_t value;
    bool taken;
} value_rows[] = {
    {"CR8 = 16", WHvX64RegisterCr8, 16, false},
    {"EFER reserved", WHvX64RegisterEfer, 2, false},
    {"PAT type 2", WHvX64RegisterPat, 2, false},
    {"LSTAR not canonical", WHvX64RegisterLstar, 1ull << 63, false},
    {"KERNEL_GS_BASE not canonical", WHvX64RegisterKernelGsBase, 1ull << 62, false},
    {"DR6 bit 32", WHvX64RegisterDr6, 1ull << 32, false},
    {"DR7 bit 32", WHvX64RegisterDr7, 1ull << 32, false},
    {"XCR0 without x87", WHvX64RegisterXCr0, 2, false},
    {"XSS", WHvX64RegisterXss, 1ull << 63, false},
    {"MTRR cap", WHvX64RegisterMsrMtrrCap, 0, false},
    {"MTRR def type 2", WHvX64RegisterMsrMtrrDefType, 2, false},
    {"MTRR mask beyond the width", WHvX64RegisterMsrMtrrPhysMask0, 1ull << 62, false},
    {"initial APIC id", WHvX64RegisterInitialApicId, 5, false},
    {"initial APIC id, as it is", WHvX64RegisterInitialApicId, 0, true},
    {"APIC base", WHvX64RegisterApicBase, 0xfee00900, true},
};

TEST_ROWS(registers_values, "registers: values that do not fit are refused, and nothing changes", value_rows)
{
    WHV_REGISTER_VALUE value = {.Reg64 = row->value};
    uint64_t before;

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    before = vm_get(&vm, row->reg);
    EXPECT_EQ(vm_try_set(&vm, row->reg, value) == S_OK, row->taken);
    EXPECT_EQ(vm_get(&vm, row->reg), row->taken ? row->value : before);
    EXPECT_END(&vm);
}

/* --------------------------------------------------------------------------------- segments */

static const struct segment_row {
    const char *name;
    WHV_REGISTER_NAME reg;
    WHV_X64_SEGMENT_REGISTER value;
} segment_rows[] = {
    {"ES", WHvX64RegisterEs, {0x12340, 0xffff, 0x1234, {.Attributes = 0x93}}},
    {"CS", WHvX64RegisterCs, {0, 0xffffffff, 0x1238, {.Attributes = 0xa09b}}},
    {"SS", WHvX64RegisterSs, {0x0, 0xffffffff, 0x1240, {.Attributes = 0xc093}}},
    {"DS", WHvX64RegisterDs, {0x56780, 0xfffff, 0x5678, {.Attributes = 0x4093}}},
    {"DS read-only, not present", WHvX64RegisterDs, {0, 0, 0, {.Attributes = 0}}},
    {"FS", WHvX64RegisterFs, {0xffff900012345678, 0xffffffff, 0x9abc, {.Attributes = 0xc0f3}}},
    {"GS", WHvX64RegisterGs, {0xffffa00012345678, 0x12345fff, 0xdef0, {.Attributes = 0xd093}}},
    {"LDTR", WHvX64RegisterLdtr, {0xffffb00012345000, 0x77, 0x60, {.Attributes = 0x82}}},
    {"TR", WHvX64RegisterTr, {0xffffc00012345000, 0x67, 0x48, {.Attributes = 0x8b}}},
};

TEST_ROWS(registers_segments, "registers: segment round trip", segment_rows)
{
    WHV_X64_SEGMENT_REGISTER value;

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set_value(&vm, row->reg, (WHV_REGISTER_VALUE){.Segment = row->value});
    value = vm_get_segment(&vm, row->reg);
    EXPECT_BYTES(&value, &row->value, sizeof(value));
    EXPECT_END(&vm);
    value = vm_get_segment(&vm, row->reg);
    EXPECT_BYTES(&value, &row->value, sizeof(value));
}

static const struct {
    const char *name;
    WHV_REGISTER_NAME reg;
    uint64_t base;
    uint16_t limit;
} table_rows[] = {
    {"IDTR", WHvX64RegisterIdtr, 0xffff800011112222, 0x3ff},
    {"GDTR", WHvX64RegisterGdtr, 0xffff800033334444, 0xffff},
    {"IDTR 0", WHvX64RegisterIdtr, 0, 0},
};

TEST_ROWS(registers_tables, "registers: table round trip", table_rows)
{
    WHV_REGISTER_VALUE value = {.Table = {.Pad = {0xaaaa, 0xbbbb, 0xcccc}, .Limit = row->limit, .Base = row->base}};

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set_value(&vm, row->reg, value);
    EXPECT_END(&vm);
    value = vm_get_value(&vm, row->reg);
    EXPECT_EQ(value.Table.Base, row->base);
    EXPECT_EQ(value.Table.Limit, row->limit);
    EXPECT_EQ(value.Table.Pad[0] | value.Table.Pad[1] | value.Table.Pad[2], 0);
}

/* -------------------------------------------------------------------------------- 128 bits */

TEST(registers_xmm, "registers: XMM0-15 round trip")
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    for (unsigned i = 0; i < 16; i++)
        vm_set128(&vm, WHvX64RegisterXmm0 + i, 0x0101010101010101ull * i, ~0x0101010101010101ull * i);
    EXPECT_END(&vm);
    for (unsigned i = 0; i < 16; i++) {
        WHV_REGISTER_VALUE value = vm_get_value(&vm, WHvX64RegisterXmm0 + i);

        EXPECT_EQ(value.Reg128.Low64, 0x0101010101010101ull * i);
        EXPECT_EQ(value.Reg128.High64, ~0x0101010101010101ull * i);
    }
}

TEST(registers_fp, "registers: FpMmx0-7 round trip")
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    for (unsigned i = 0; i < 8; i++)
        vm_set128(&vm, WHvX64RegisterFpMmx0 + i, 0x8000000000000001ull + i, 0x3ff0 + i);
    EXPECT_END(&vm);
    for (unsigned i = 0; i < 8; i++) {
        WHV_X64_FP_REGISTER value = vm_get_value(&vm, WHvX64RegisterFpMmx0 + i).Fp;

        EXPECT_EQ(value.Mantissa, 0x8000000000000001ull + i);
        EXPECT_EQ(value.BiasedExponent, 0x3ff0 + i);
        EXPECT_EQ(value.Sign, 0);
    }
}

TEST(registers_fp_control, "registers: FpControlStatus, XmmControlStatus round trip")
{
    WHV_REGISTER_VALUE fp = {
        .FpControlStatus = {{.FpControl = 0x077f, .FpStatus = 0x3800, .FpTag = 0x81, .LastFpOp = 0x123}}};
    WHV_REGISTER_VALUE xmm = {.XmmControlStatus = {{.XmmStatusControl = 0x1fbf, .XmmStatusControlMask = 0xffff}}};

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    fp.FpControlStatus.LastFpRip = 0x12345678;
    xmm.XmmControlStatus.LastFpRdp = 0x87654321;
    vm_set_value(&vm, WHvX64RegisterFpControlStatus, fp);
    vm_set_value(&vm, WHvX64RegisterXmmControlStatus, xmm);
    EXPECT_END(&vm);
    fp = vm_get_value(&vm, WHvX64RegisterFpControlStatus);
    xmm = vm_get_value(&vm, WHvX64RegisterXmmControlStatus);
    EXPECT_EQ(fp.FpControlStatus.FpControl, 0x077f);
    EXPECT_EQ(fp.FpControlStatus.FpStatus, 0x3800);
    EXPECT_EQ(fp.FpControlStatus.FpTag, 0x81);
    EXPECT_EQ(xmm.XmmControlStatus.XmmStatusControl, 0x1fbf);
    EXPECT_NE(xmm.XmmControlStatus.XmmStatusControlMask, 0);
}

TEST(registers_mxcsr, "registers: reserved bits of MXCSR are refused")
{
    WHV_REGISTER_VALUE value = {.XmmControlStatus = {{.XmmStatusControl = 0x80001f80}}};

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    EXPECT_NE(vm_try_set(&vm, WHvX64RegisterXmmControlStatus, value), S_OK);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmmControlStatus).XmmControlStatus.XmmStatusControl, 0x1f80);
}

/* ------------------------------------------------------------------------------------- names */

static const struct {
    const char *name;
    uint32_t reg;
} unknown_rows[] = {
    {"0x28 (virtual CR0)", 0x28}, {"0x50", 0x50},     {"0x101a", 0x101a},         {"0x2fff", 0x2fff},
    {"0x3fff", 0x3fff},           {"0x6000", 0x6000}, {"0x80000009", 0x80000009}, {"0xffffffff", 0xffffffff},
};

/* Setting a list with one unknown name does nothing at all. */
TEST_ROWS(registers_unknown, "registers: unknown name", unknown_rows)
{
    WHV_REGISTER_NAME names[2] = {WHvX64RegisterRax, (WHV_REGISTER_NAME)row->reg};
    WHV_REGISTER_VALUE values[2] = {{.Reg64 = 1}, {.Reg64 = 2}};

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set(&vm, WHvX64RegisterRax, 0x55);
    EXPECT_HR(WHvSetVirtualProcessorRegisters(vm.partition, 0, names, 2, values), WHV_E_INVALID_VP_REGISTER_NAME);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x55);
    EXPECT_HR(WHvGetVirtualProcessorRegisters(vm.partition, 0, names, 2, values), WHV_E_INVALID_VP_REGISTER_NAME);
}

/* All that there are in one call, as QEMU does. */
TEST(registers_many, "registers: 130 in one call")
{
    static WHV_REGISTER_NAME names[130];
    static WHV_REGISTER_VALUE values[130], again[130];

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    for (unsigned i = 0; i < COUNT(names); i++)
        names[i] = i % 2 ? word_rows[i % 16].reg : segment_rows[i % COUNT(segment_rows)].reg;
    EXPECT_OK(WHvGetVirtualProcessorRegisters(vm.partition, 0, names, COUNT(names), values));
    EXPECT_OK(WHvSetVirtualProcessorRegisters(vm.partition, 0, names, COUNT(names), values));
    EXPECT_OK(WHvGetVirtualProcessorRegisters(vm.partition, 0, names, COUNT(names), again));
    EXPECT_EQ(memcmp(values, again, sizeof(values)), 0);
    EXPECT_END(&vm);
}

/* Long mode at CPL 3 with the bare minimum, as one client enters it: no NE, ET or WP, a 64 KiB code segment. */
TEST(registers_minimal, "registers: long mode by a minimal client")
{
    VM(vm);
    REQUIRE(vm_create(&vm, 1, NULL));
    vm_build(&vm, VM_LONG);
    vm.mode = VM_LONG_3;
    vm_set(&vm, WHvX64RegisterCr0, CR0_PE | CR0_PG);
    vm_set(&vm, WHvX64RegisterCr3, VM_PML4);
    vm_set(&vm, WHvX64RegisterCr4, CR4_PAE);
    vm_set(&vm, WHvX64RegisterEfer, EFER_LME | EFER_LMA);
    vm_set_segment(&vm, WHvX64RegisterCs, VM_SEL_CODE64_3, 0, 0xffff, 0xa0fb);
    vm_set_segment(&vm, WHvX64RegisterSs, VM_SEL_DATA_3, 0, 0xffff, 0xc0f3);
    vm_set_segment(&vm, WHvX64RegisterDs, VM_SEL_DATA_3, 0, 0xffff, 0xc0f3);
    vm_set_segment(&vm, WHvX64RegisterEs, VM_SEL_DATA_3, 0, 0xffff, 0xc0f3);
    vm_load(&vm, "io_out8_imm");
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IOPL3);
    EXPECT_EXIT(&vm, X64IoPortAccess);
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.Cpl, 3);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr0) & CR0_NE, 0);
}

/* ---------------------------------------------------------------------------------------- TSC */

TEST(registers_tsc, "registers: TSC, its offset, and TSC_ADJUST")
{
    uint64_t offset, now;

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set(&vm, WHvX64RegisterTsc, 0x123456789abcull);
    now = vm_get(&vm, WHvX64RegisterTsc);
    EXPECT_GE(now, 0x123456789abcull);
    EXPECT_LE(now, 0x123466789abcull);
    offset = vm_get(&vm, WHvX64RegisterTscVirtualOffset);
    vm_set(&vm, WHvX64RegisterTscVirtualOffset, offset + 0x1000000000ull);
    EXPECT_GE(vm_get(&vm, WHvX64RegisterTsc), now + 0x1000000000ull);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterTscVirtualOffset), offset + 0x1000000000ull);
}

/* A VP that is told to wait does, until it is told otherwise (or the run is cancelled). */
TEST(registers_activity, "registers: InternalActivityState")
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set(&vm, WHvRegisterInternalActivityState, 2);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 2);
    EXPECT_OK(WHvCancelRunVirtualProcessor(vm.partition, 0, 0));
    EXPECT_EXIT(&vm, Canceled);
    vm_set(&vm, WHvRegisterInternalActivityState, 0);
    EXPECT_END(&vm);
}
