/* SPDX-License-Identifier: MIT */
/* Guests that go from mode to mode by themselves, and guest writes of control registers. */
#include "test.h"
#include "vm.h"

#define CR4_UNDEFINED (1ull << 30)
#define CR4_LA57      0x1000ull
#define CR4_PCIDE     0x20000ull

/* --------------------------------------------------------------------------------------- tours */

/* What the CPU has to be in when the guest of modes_tour says its stage. */
static const struct stage {
    uint8_t pe, pg, pae, lme, lma;
    uint16_t cs, attributes; /* of CS: L and D */
} stages[] = {
    {0, 0, 0, 0, 0, 0, 0},
    {1, 0, 0, 0, 0, 0, 0},
    {1, 0, 0, 0, 0, VM_SEL_CODE32, 0x4000},
    {1, 1, 1, 0, 0, VM_SEL_CODE32, 0x4000},
    {1, 0, 1, 0, 0, VM_SEL_CODE32, 0x4000},
    {1, 1, 0, 0, 0, VM_SEL_CODE32, 0x4000},
    {1, 0, 1, 1, 0, VM_SEL_CODE32, 0x4000},
    {1, 1, 1, 1, 1, VM_SEL_CODE32, 0x4000},
    {1, 1, 1, 1, 1, VM_SEL_CODE64, 0x2000},
    {1, 1, 1, 1, 1, VM_SEL_CODE32, 0x4000},
    {1, 0, 1, 1, 0, VM_SEL_CODE32, 0x4000},
    {1, 0, 0, 0, 0, VM_SEL_CODE16, 0},
    {0, 0, 0, 0, 0, 0, 0},
};

static void check_stage(struct vm *vm, const struct stage *s)
{
    uint64_t cr0 = vm_get(vm, WHvX64RegisterCr0), cr4 = vm_get(vm, WHvX64RegisterCr4),
             efer = vm_get(vm, WHvX64RegisterEfer);
    const WHV_VP_EXIT_CONTEXT *c = &vm->exit.VpContext;

    EXPECT_EQ((cr0 & CR0_PE) != 0, s->pe);
    EXPECT_EQ((cr0 & CR0_PG) != 0, s->pg);
    EXPECT_EQ((cr4 & CR4_PAE) != 0, s->pae);
    EXPECT_EQ((efer & EFER_LME) != 0, s->lme);
    EXPECT_EQ((efer & EFER_LMA) != 0, s->lma);
    EXPECT_EQ(c->Cs.Selector, s->cs);
    EXPECT_EQ(c->Cs.Attributes & 0x6000, s->attributes);
    EXPECT_EQ(c->ExecutionState.Cr0Pe, s->pe);
    EXPECT_EQ(c->ExecutionState.EferLma, s->lma);
    EXPECT_EQ(cr4 & CR4_VMXE, 0);
}

static void check_translation(struct vm *vm)
{
    WHV_TRANSLATE_GVA_RESULT result;
    WHV_GUEST_PHYSICAL_ADDRESS gpa = 0;

    EXPECT_OK(WHvTranslateGva(vm->partition, 0, VM_CODE + 5, WHvTranslateGvaFlagValidateExecute, &result, &gpa));
    EXPECT_EQ(result.ResultCode, WHvTranslateGvaResultSuccess);
    EXPECT_EQ(gpa, VM_CODE + 5);
}

TEST(modes_tour, "modes: real, protected, PAE, 32-bit paging, long, compatibility and back")
{
    VM_GUEST(vm, VM_REAL, "modes_tour", NULL);
    for (unsigned stage = 0; stage < COUNT(stages); stage++) {
        REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
        REQUIRE(EXPECT_EQ(vm.exit.IoPortAccess.Rax & 0xff, stage));
        check_stage(&vm, &stages[stage]);
        check_translation(&vm);
        vm_step(&vm);
        if (test_failed())
            test_note("in stage %u", stage);
    }
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterR15), 0x123456789abcdef0ull);
}

TEST(modes_unreal, "modes: real mode with a 4 GiB segment")
{
    VM_GUEST(vm, VM_REAL, "modes_unreal", NULL);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, 0x2fff0), 0x600df00d);
    EXPECT_EQ(vm_get_segment(&vm, WHvX64RegisterFs).Limit, 0xffffffff);
}

/* Real mode by the client with 32-bit code, as a smoke test of another project sets it up. */
TEST(modes_unreal_set, "modes: 32-bit code with CR0.PE = 0")
{
    VM_GUEST(vm, VM_REAL, "smoke_halt", NULL);
    vm_set_segment(&vm, WHvX64RegisterCs, 0, 0, 0xffffffff, 0xc09b);
    vm_load_at(&vm, "memory_mov", 32, VM_CODE);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x12345678);
}

TEST_MODES(modes_user, "modes: to CPL 3 and back by INT",
           VM_BIT(VM_PROT32) | VM_BIT(VM_PAGED32) | VM_BIT(VM_PAE) | VM_BIT(VM_LONG))
{
    VM_GUEST(vm, mode, "modes_user", NULL);
    EXPECT_VECTOR(&vm, 0x80);
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 1));
    EXPECT_EQ(vm_stack(&vm, 1), mode == VM_LONG ? VM_SEL_CODE64_3 : VM_SEL_CODE32_3);
    EXPECT_EQ(vm_stack(&vm, 3), 0x7000);
}

/* The syscall MSRs are the guest's while it runs. */
TEST(modes_syscall, "modes: SYSCALL and SYSRET")
{
    VM_GUEST(vm, VM_LONG_3, "modes_syscall", NULL);
    vm_set(&vm, WHvX64RegisterStar, (uint64_t)(VM_SEL_CODE64_3 - 16 - 3) << 48 | (uint64_t)VM_SEL_CODE32 << 32);
    vm_set(&vm, WHvX64RegisterLstar, VM_FREE);
    vm_set(&vm, WHvX64RegisterSfmask, FLAG_AC);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_AC);
    memcpy(vm_at(&vm, VM_FREE), "\xf4\x48\x0f\x07", 4);             /* hlt; sysretq */
    vm_u64(&vm, VM_GDT)[VM_SEL_CODE32 / 8] = 0x00af9b000000ffffull; /* SYSCALL's CS is 64-bit whatever this says */
    REQUIRE(EXPECT_EXIT(&vm, X64Halt));
    EXPECT_EQ(vm.exit.VpContext.Rip, VM_FREE + 1);
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.Cpl, 0);
    EXPECT_EQ(vm.exit.VpContext.Rflags & FLAG_AC, 0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRcx), vm_mark(&vm, 1));
    REQUIRE(EXPECT_EXIT(&vm, X64Halt)); /* the HLT at CPL 3 behind it: #GP */
    EXPECT_EQ(vm.exit.VpContext.Rip, VM_STUB(13) + 1);
    EXPECT_EQ(vm_stack(&vm, 1), vm_mark(&vm, 1));
}

TEST(modes_v86, "modes: virtual-8086 mode")
{
    VM_GUEST(vm, VM_PROT32, "modes_v86", NULL);
    vm_set_segment(&vm, WHvX64RegisterTr, VM_SEL_TSS, VM_TSS, 0x200, 0x8b); /* with a bitmap that allows all ports */
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    EXPECT_EQ(vm.exit.VpContext.Rflags & 0x20000, 0x20000);
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.Cpl, 3);
    EXPECT_EQ(vm.exit.IoPortAccess.Es.Base, 0x5000);
    vm_step(&vm);
    EXPECT_VECTOR(&vm, 13);
    EXPECT_EQ(vm_stack(&vm, 1), vm_mark(&vm, 1));
}

/* 5-level paging, where the CPU and the partition have it. */
TEST(modes_la57, "modes: 5-level paging")
{
    WHV_PROCESSOR_FEATURES_BANKS banks = {.BanksCount = 2};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorFeaturesBanks, &banks, sizeof(banks), NULL));
    if (!banks.Bank1.La57Support)
        SKIP("this CPU has no LA57");
    VM_GUEST(vm, VM_LONG, "memory_at_rsi", NULL);
    vm_u64(&vm, VM_FREE)[0] = VM_PML4 | 7;
    vm_u64(&vm, VM_FREE)[0x101] = VM_PML4 | 7;
    vm_set(&vm, WHvX64RegisterCr3, VM_FREE);
    vm_set(&vm, WHvX64RegisterCr4, vm_get(&vm, WHvX64RegisterCr4) | CR4_LA57);
    vm_set(&vm, WHvX64RegisterRsi, 0xff01000000005000ull);
    *vm_u32(&vm, 0x5000) = 0x57575757;
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x57575757);
}

/* -------------------------------------------------------------------- guest writes of registers */

enum wanted { TAKEN, GP };

static const struct write_row {
    const char *name;
    uint32_t modes;
    const char *guest;
    WHV_REGISTER_NAME reg;
    uint64_t set, clear; /* of the register's value */
    enum wanted wanted;
} write_rows[] = {
    {"CR0.TS", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, CR0_TS, 0, TAKEN},
    {"CR0.EM", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, CR0_EM, CR0_MP, TAKEN},
    {"CR0.NE cleared", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, 0, CR0_NE, TAKEN},
    {"CR0.AM", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, CR0_AM, 0, TAKEN},
    {"CR0.WP", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, 0, CR0_WP, TAKEN},
    {"CR0.CD", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, CR0_CD, 0, TAKEN},
    {"CR0.CD and NW", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, CR0_CD | CR0_NW, 0, TAKEN},
    {"CR0.NW without CD", VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, CR0_NW, CR0_CD, GP},
    {"CR0.PG without PE", VM_BIT(VM_REAL), "modes_write_cr0", WHvX64RegisterCr0, CR0_PG, CR0_PE, GP},
    {"CR0.PE cleared with PG", VM_PAGED &VM_CPL0, "modes_write_cr0", WHvX64RegisterCr0, 0, CR0_PE, GP},
    {"CR0.PG cleared in 64-bit code", VM_BIT(VM_LONG), "modes_write_cr0", WHvX64RegisterCr0, 0, CR0_PG, GP},
    {"CR0 bit 32", VM_BIT(VM_LONG), "modes_write_cr0", WHvX64RegisterCr0, 1ull << 32, 0, GP},
    {"CR4.TSD", VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, 4, 0, TAKEN},
    {"CR4.PGE", VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, 0x80, 0, TAKEN},
    {"CR4.OSFXSR cleared", VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, 0, CR4_OSFXSR, TAKEN},
    {"CR4.OSXSAVE", VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, CR4_OSXSAVE, 0, TAKEN},
    {"CR4.VMXE", VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, CR4_VMXE, 0, GP},
    {"CR4 bit 30", VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, CR4_UNDEFINED, 0, GP},
    {"CR4 bit 63", VM_BIT(VM_LONG), "modes_write_cr4", WHvX64RegisterCr4, 1ull << 63, 0, GP},
    {"CR4.PAE cleared in long mode", VM_LONG_MODES &VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, 0, CR4_PAE, GP},
    {"CR4.PCIDE outside long mode", VM_LEGACY &VM_CPL0, "modes_write_cr4", WHvX64RegisterCr4, CR4_PCIDE, 0, GP},
    {"CR8 = 9", VM_BIT(VM_LONG), "modes_write_cr8", WHvX64RegisterCr8, 9, 0, TAKEN},
    {"CR8 = 16", VM_BIT(VM_LONG), "modes_write_cr8", WHvX64RegisterCr8, 16, 0, GP},
};

TEST_ROWS_MODES(modes_write, "modes: guest writes", write_rows, VM_ALL)
{
    uint64_t before, value;

    VM_GUEST(vm, mode, row->guest, NULL);
    before = vm_get(&vm, row->reg);
    value = (before | row->set) & ~row->clear;
    vm_set(&vm, WHvX64RegisterRax, value);
    if (row->wanted == TAKEN) {
        EXPECT_END(&vm);
        EXPECT_EQ(vm_get(&vm, row->reg), value);
    } else {
        EXPECT_VECTOR(&vm, 13);
        EXPECT_EQ(vm_stack(&vm, mode != VM_REAL), vm_mark(&vm, 0));
        EXPECT_EQ(vm_get(&vm, row->reg), before);
    }
}

/* What the CPU needs for itself (CR0.NE, CR4.VMXE) is not seen by the guest. */
TEST_MODES(modes_hidden, "modes: the guest reads the CR0 and CR4 that the client set", VM_CPL0)
{
    uint64_t cr0, cr4;

    VM_GUEST(vm, mode, vm_mode_bits(mode) == 64 ? "modes_read_crs" : "modes_read_crs_32", NULL);
    cr0 = vm_get(&vm, WHvX64RegisterCr0) & ~CR0_NE;
    cr4 = vm_get(&vm, WHvX64RegisterCr4);
    vm_set(&vm, WHvX64RegisterCr0, cr0);
    vm_set(&vm, WHvX64RegisterRbx, 0);
    vm_set(&vm, WHvX64RegisterRdx, 0);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRbx), cr0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRdx), cr4);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr0), cr0);
}

TEST_MODES(modes_clts, "modes: CLTS, LMSW, SMSW", VM_CPL0)
{
    VM_GUEST(vm, mode, "modes_clts", NULL);
    vm_set(&vm, WHvX64RegisterCr0, vm_get(&vm, WHvX64RegisterCr0) | CR0_TS);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr0) & CR0_TS, 0);
    vm_load(&vm, "modes_lmsw");
    vm_set(&vm, WHvX64RegisterRax, mode == VM_REAL ? 0x8 : 0x9);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr0) & 0xf, mode == VM_REAL ? CR0_TS : CR0_TS | CR0_PE);
    vm_load(&vm, "modes_smsw");
    EXPECT_END(&vm);
    EXPECT_EQ((uint32_t)vm_get(&vm, WHvX64RegisterRax), (uint32_t)vm_get(&vm, WHvX64RegisterCr0));
}

/* LMSW sets PE but never clears it. */
TEST(modes_lmsw_pe, "modes: LMSW can not clear PE")
{
    VM_GUEST(vm, VM_PROT32, "modes_lmsw", NULL);
    vm_set(&vm, WHvX64RegisterRax, 0);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr0) & CR0_PE, CR0_PE);
}

TEST(modes_wp, "modes: CR0.WP changed by the guest takes effect at once")
{
    VM_GUEST(vm, VM_LONG, "modes_wp", NULL);
    vm_set(&vm, WHvX64RegisterCr0, vm_get(&vm, WHvX64RegisterCr0) & ~CR0_WP);
    vm_pte_and(&vm, 0xb000, ~PTE_W);
    EXPECT_VECTOR(&vm, 14);
    EXPECT_EQ(vm_stack(&vm, 0), 3);
    EXPECT_EQ(vm_stack(&vm, 1), vm_mark(&vm, 0));
    EXPECT_EQ(vm.memory[0xb000], 1);
}

/* PAE paging loads its four entries with CR3: reserved bits in one of them are #GP, and the old CR3 stays. */
TEST(modes_pdpte, "modes: MOV to CR3 with a bad PDPTE")
{
    if (vm_is_svm())
        SKIP("SVM: with nested paging PDPTEs are not loaded, but read when they are used (APM 2 15.25.10)");
    VM_GUEST(vm, VM_PAE, "modes_write_cr3", NULL);
    vm_u64(&vm, VM_FREE)[0] = VM_PAE_PD | 1;
    vm_u64(&vm, VM_FREE)[1] = VM_PAE_PD | 3; /* bit 1 is reserved */
    vm_set(&vm, WHvX64RegisterRax, VM_FREE);
    EXPECT_VECTOR(&vm, 13);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr3), VM_PAE_PDPT);
    vm_u64(&vm, VM_FREE)[1] = 0;
    REQUIRE(vm_enter_vp(&vm, 0, VM_PAE));
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr3), VM_FREE);
}

/* --------------------------------------------------------------------------------------- XSETBV */

static const struct {
    const char *name;
    uint32_t ecx;
    uint64_t value;
    enum wanted wanted;
} xcr0_rows[] = {
    {"x87", 0, 1, TAKEN},
    {"x87, SSE", 0, 3, TAKEN},
    {"x87, SSE, AVX", 0, 7, TAKEN},
    {"0", 0, 0, GP},
    {"no x87", 0, 2, GP},
    {"AVX without SSE", 0, 5, GP},
    {"bit 63", 0, 1ull << 63 | 3, GP},
    {"XCR1", 1, 1, GP},
    {"AVX-512 in part", 0, 0x27, GP},
    {"bit 31", 0, 1u << 31 | 3, GP},
};

TEST_ROWS(modes_xsetbv, "modes: XSETBV", xcr0_rows)
{
    WHV_PROCESSOR_XSAVE_FEATURES features = {{0}};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorXsaveFeatures, &features, sizeof(features), NULL));
    if (!features.XsaveSupport)
        SKIP("this CPU has no XSAVE");
    if (row->value == 7 && !features.AvxSupport)
        SKIP("this CPU has no AVX");
    VM_GUEST(vm, VM_LONG, "modes_xsetbv", NULL);
    vm_set(&vm, WHvX64RegisterCr4, vm_get(&vm, WHvX64RegisterCr4) | CR4_OSXSAVE);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterXCr0), 1);
    vm_set(&vm, WHvX64RegisterRcx, row->ecx);
    vm_set(&vm, WHvX64RegisterRax, (uint32_t)row->value);
    vm_set(&vm, WHvX64RegisterRdx, row->value >> 32);
    if (row->wanted == GP) {
        EXPECT_VECTOR(&vm, 13);
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterXCr0), 1);
        return;
    }
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterXCr0), row->value);
    vm_load(&vm, "modes_xgetbv");
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), row->value);
}

TEST(modes_xsetbv_user, "modes: XSETBV at CPL 3: #GP; without OSXSAVE: #UD")
{
    VM_GUEST(vm, VM_LONG_3, "modes_xsetbv", NULL);
    vm_set(&vm, WHvX64RegisterRax, 1);
    EXPECT_VECTOR(&vm, 6);
    REQUIRE(vm_enter_vp(&vm, 0, VM_LONG_3));
    vm_set(&vm, WHvX64RegisterCr4, vm_get(&vm, WHvX64RegisterCr4) | CR4_OSXSAVE);
    EXPECT_VECTOR(&vm, 13);
}
