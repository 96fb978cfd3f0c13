/* SPDX-License-Identifier: MIT */
/* What guests see of the registers that the client set, and the reverse; extended state; and that the host finds its
 * own again. */
#include "test.h"
#include "vm.h"
#include <hv/hv.h>
#include <kernel/cpu.h>
#include <kernel/thread.h>

/* ------------------------------------------------------------------------------------ general */

TEST(registers_guest_reads, "registers: the guest reads general registers")
{
    VM_GUEST(vm, VM_LONG, "registers_store", NULL);
    for (unsigned i = 0; i < 16; i++)
        if (i != 4)
            vm_set(&vm, WHvX64RegisterRax + i, 0x1000000000000001ull * (i + 1));
    EXPECT_END(&vm);
    for (unsigned i = 0; i < 16; i++)
        EXPECT_EQ(vm_u64(&vm, VM_FREE)[i], i == 4 ? VM_STACK : 0x1000000000000001ull * (i + 1));
}

TEST(registers_guest_writes, "registers: the guest writes general registers")
{
    VM_GUEST(vm, VM_LONG, "registers_load", NULL);
    for (unsigned i = 0; i < 16; i++)
        vm_u64(&vm, VM_FREE)[i] = 0x2000000000000003ull * (i + 1);
    EXPECT_END(&vm);
    for (unsigned i = 0; i < 16; i++)
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax + i), 0x2000000000000003ull * (i + 1));
}

/* ------------------------------------------------------------------------------------- system */

static void set_system(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterCr2, 0xffff900000001234ull);
    vm_set(vm, WHvX64RegisterCr8, 6);
    for (unsigned i = 0; i < 4; i++)
        vm_set(vm, WHvX64RegisterDr0 + i, 0x1110 * (i + 1));
    vm_set(vm, WHvX64RegisterDr6, 0xffff0ff1);
    vm_set_table(vm, WHvX64RegisterGdtr, VM_GDT, 0x0ff);
    vm_set_table(vm, WHvX64RegisterIdtr, VM_IDT, 0xffe);
    vm_set_segment(vm, WHvX64RegisterLdtr, VM_SEL_LDT, VM_LDT, 0xff, 0x82);
    vm_set_segment(vm, WHvX64RegisterFs, 0x10, VM_FREE + 0x200, 0xffffffff, 0xc093);
    vm_set_segment(vm, WHvX64RegisterGs, 0x38, VM_FREE + 0x300, 0xffffffff, 0xc093);
    *vm_u64(vm, VM_FREE + 0x208) = 0xf5f5f5f5;
    *vm_u64(vm, VM_FREE + 0x308) = 0x65656565;
}

TEST(registers_guest_system, "registers: the guest reads CR2, CR3, CR8, DRs, tables, selectors, FS and GS bases")
{
    VM_GUEST(vm, VM_LONG, "registers_store_system", NULL);
    set_system(&vm);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE), 0xffff900000001234ull);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 8), VM_PML4);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 16), 6);
    for (unsigned i = 0; i < 4; i++)
        EXPECT_EQ(vm_u64(&vm, VM_FREE + 24)[i], 0x1110 * (i + 1));
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 56), 0xffff0ff1);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 64), 0x400);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 74), VM_GDT);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 72) & 0xffff, 0x0ff);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 90), VM_IDT);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 88) & 0xffff, 0xffe);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 104), VM_SEL_TSS | (uint64_t)VM_SEL_LDT << 16 | 0x10ull << 32 | 0x38ull << 48);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 112), 0xf5f5f5f5);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 120), 0x65656565);
}

static void put_table(struct vm *vm, uint64_t at, uint16_t limit, uint64_t base)
{
    *vm_u64(vm, at) = limit;
    memcpy(vm_at(vm, at + 2), &base, sizeof(base));
}

TEST(registers_guest_system_writes, "registers: the guest writes CR2, CR8, tables, LDTR, FS and GS")
{
    WHV_X64_SEGMENT_REGISTER gs;

    VM_GUEST(vm, VM_LONG, "registers_load_system", NULL);
    *vm_u64(&vm, VM_FREE) = 0x1234567890ull;
    *vm_u64(&vm, VM_FREE + 16) = 9;
    put_table(&vm, VM_FREE + 72, 0x1ff, VM_GDT);
    put_table(&vm, VM_FREE + 88, 0x7ff, VM_IDT);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr2), 0x1234567890ull);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr8), 9);
    EXPECT_EQ(vm.exit.VpContext.Cr8, 9);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterGdtr).Table.Limit, 0x1ff);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterIdtr).Table.Limit, 0x7ff);
    EXPECT_EQ(vm_get_segment(&vm, WHvX64RegisterLdtr).Base, VM_LDT);
    EXPECT_EQ(vm_get_segment(&vm, WHvX64RegisterLdtr).Limit, 0xff);
    EXPECT_EQ(vm_get_segment(&vm, WHvX64RegisterFs).Present, 0);
    gs = vm_get_segment(&vm, WHvX64RegisterGs);
    EXPECT_EQ(gs.Selector, 0x3b);
    EXPECT_EQ(gs.Attributes, 0xc0f3);
    EXPECT_EQ(gs.Limit, 0xffffffff);
}

/* -------------------------------------------------------------------------------- x87 and SSE */

TEST(registers_guest_xmm, "registers: XMM and MXCSR, both ways")
{
    WHV_REGISTER_VALUE control = {.XmmControlStatus = {{.XmmStatusControl = 0x1f9f}}};

    VM_GUEST(vm, VM_LONG, "registers_xmm", NULL);
    for (unsigned i = 0; i < 16; i++)
        vm_set128(&vm, WHvX64RegisterXmm0 + i, 0x1111111111111111ull * i, 0x0f0f0f0f0f0f0f0full + i);
    vm_set_value(&vm, WHvX64RegisterXmmControlStatus, control);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, VM_FREE + 256), 0x1f9f);
    for (unsigned i = 0; i < 16; i++) {
        EXPECT_EQ(vm_u64(&vm, VM_FREE)[2 * i], 0x1111111111111111ull * i);
        EXPECT_EQ(vm_u64(&vm, VM_FREE)[2 * i + 1], 0x0f0f0f0f0f0f0f0full + i);
        EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmm0 + i).Reg128.High64, ~0ull);
    }
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmmControlStatus).XmmControlStatus.XmmStatusControl, 0x1fc0);
}

TEST(registers_guest_x87, "registers: x87, both ways")
{
    WHV_REGISTER_VALUE control = {.FpControlStatus = {{.FpControl = 0x067f, .FpStatus = 0x3800, .FpTag = 0x80}}};
    WHV_X64_FP_REGISTER st;

    VM_GUEST(vm, VM_LONG, "registers_x87", NULL);
    vm_set_value(&vm, WHvX64RegisterFpControlStatus, control);
    vm_set128(&vm, WHvX64RegisterFpMmx0, 0xc000000000000000ull, 0x4000); /* 3.0 in ST0: TOP is 7 */
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, VM_FREE), 0x3800067f);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 16), 0xc000000000000000ull);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 24) & 0xffff, 0x4000);
    st = vm_get_value(&vm, WHvX64RegisterFpMmx0).Fp;
    EXPECT_EQ(st.BiasedExponent, 0x4000);
    EXPECT_EQ(st.Mantissa >> 32, 0xc90fdaa2);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterFpMmx1).Fp.Mantissa, 0xc000000000000000ull);
    control = vm_get_value(&vm, WHvX64RegisterFpControlStatus);
    EXPECT_EQ(control.FpControlStatus.FpControl, 0x0f7f);
    EXPECT_EQ(control.FpControlStatus.FpStatus >> 11 & 7, 6);
    EXPECT_EQ(control.FpControlStatus.FpTag, 0xc0);
}

/* --------------------------------------------------------------------------------- XSAVE state */

#define XSAVE_BV   512 /* XSTATE_BV; XCOMP_BV behind it */
#define XSAVE_XMM1 176
#define XSAVE_YMM  576 /* compacted, AVX the first extended component */

static uint8_t area[8192] __attribute__((aligned(64)));

static uint32_t get_area(struct vm *vm)
{
    UINT32 size = 0, written = 0;

    EXPECT_NE(WHvGetVirtualProcessorXsaveState(vm->partition, 0, NULL, 0, &size), S_OK);
    EXPECT_GE(size, 576);
    EXPECT_LE(size, sizeof(area));
    memset(area, 0xee, sizeof(area));
    EXPECT_OK(WHvGetVirtualProcessorXsaveState(vm->partition, 0, area, sizeof(area), &written));
    EXPECT_EQ(written, size);
    return written;
}

static uint64_t area_u64(unsigned at)
{
    uint64_t value;

    memcpy(&value, area + at, sizeof(value));
    return value;
}

static void put_area_u64(unsigned at, uint64_t value)
{
    memcpy(area + at, &value, sizeof(value));
}

TEST(registers_xsave, "registers: XSAVE state: compacted, get, change, set")
{
    uint32_t size;

    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    vm_set128(&vm, WHvX64RegisterXmm1, 0x1122334455667788ull, 0x99aabbccddeeff00ull);
    EXPECT_END(&vm);
    size = get_area(&vm);
    EXPECT_EQ(area_u64(XSAVE_BV + 8) >> 63, 1);
    EXPECT_EQ(area_u64(XSAVE_BV) & 2, 2);
    EXPECT_EQ(area_u64(XSAVE_XMM1), 0x1122334455667788ull);
    put_area_u64(XSAVE_XMM1, 0x5555);
    EXPECT_OK(WHvSetVirtualProcessorXsaveState(vm.partition, 0, area, size));
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmm1).Reg128.Low64, 0x5555);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmm1).Reg128.High64, 0x99aabbccddeeff00ull);
    put_area_u64(XSAVE_BV, area_u64(XSAVE_BV) | 1ull << 62);
    EXPECT_NE(WHvSetVirtualProcessorXsaveState(vm.partition, 0, area, size), S_OK);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmm1).Reg128.Low64, 0x5555);
}

static bool has_avx(void)
{
    WHV_PROCESSOR_XSAVE_FEATURES features = {{0}};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorXsaveFeatures, &features, sizeof(features), NULL));
    return features.AvxSupport && features.Avx2Support;
}

TEST(registers_avx, "registers: AVX by XSAVE state, seen and changed by the guest")
{
    uint32_t size;

    if (!has_avx())
        SKIP("this CPU has no AVX2");
    VM_GUEST(vm, VM_LONG, "registers_ymm", NULL);
    vm_set(&vm, WHvX64RegisterCr4, vm_get(&vm, WHvX64RegisterCr4) | CR4_OSXSAVE);
    vm_set(&vm, WHvX64RegisterXCr0, 7);
    vm_set128(&vm, WHvX64RegisterXmm0, 1, 2);
    size = get_area(&vm);
    put_area_u64(XSAVE_BV, 7);
    put_area_u64(XSAVE_YMM, 3);
    put_area_u64(XSAVE_YMM + 8, 4);
    EXPECT_OK(WHvSetVirtualProcessorXsaveState(vm.partition, 0, area, size));
    EXPECT_END(&vm);
    for (unsigned i = 0; i < 4; i++)
        EXPECT_EQ(vm_u64(&vm, VM_FREE)[i], i + 1);
    get_area(&vm);
    EXPECT_EQ(area_u64(XSAVE_BV) & 4, 4);
    EXPECT_EQ(area_u64(XSAVE_XMM1), 2);
    EXPECT_EQ(area_u64(XSAVE_YMM + 16), 6);
    EXPECT_EQ(area_u64(XSAVE_YMM + 24), 8);
}

/* ---------------------------------------------------------------------------------------- MSRs */

static const struct msr_row {
    const char *name;
    WHV_REGISTER_NAME reg;
    uint32_t msr;
    uint64_t set, written; /* by the client; by the guest */
} msr_rows[] = {
    {"EFER", WHvX64RegisterEfer, 0xc0000080, 0xd01, 0x500},
    {"STAR", WHvX64RegisterStar, 0xc0000081, 0x0011223344556677, 0x8899aabbccddeeff},
    {"LSTAR", WHvX64RegisterLstar, 0xc0000082, 0xffff800000000010, 0x1000},
    {"CSTAR", WHvX64RegisterCstar, 0xc0000083, 0xffff800000000020, 0x2000},
    {"SFMASK", WHvX64RegisterSfmask, 0xc0000084, 0x700, 0x47700},
    {"KERNEL_GS_BASE", WHvX64RegisterKernelGsBase, 0xc0000102, 0xffff800000000030, 0x3000},
    {"TSC_AUX", WHvX64RegisterTscAux, 0xc0000103, 0x1234, 0x5678},
    {"PAT", WHvX64RegisterPat, 0x277, 0x0007040600070406, 0x0606060606060606},
    {"SYSENTER_CS", WHvX64RegisterSysenterCs, 0x174, 0x10, 0x20},
    {"SYSENTER_ESP", WHvX64RegisterSysenterEsp, 0x175, 0xffff800000000040, 0x4000},
    {"SYSENTER_EIP", WHvX64RegisterSysenterEip, 0x176, 0xffff800000000050, 0x5000},
    {"MTRR def type", WHvX64RegisterMsrMtrrDefType, 0x2ff, 0xc06, 0x806},
    {"MTRR base 0", WHvX64RegisterMsrMtrrPhysBase0, 0x200, 0x80000000, 0xc0000006},
    {"MTRR mask 0", WHvX64RegisterMsrMtrrPhysMask0, 0x201, 0x7f80000800, 0x800},
    {"MTRR fixed", WHvX64RegisterMsrMtrrFix64k00000, 0x250, 0x0606060606060606, 0},
    {"APIC base", WHvX64RegisterApicBase, 0x1b, 0xfee00900, 0xfee00900},
};

static void one_msr(struct vm *vm, uint32_t msr)
{
    *vm_u64(vm, VM_FREE) = msr;
    vm_set(vm, WHvX64RegisterRdi, 1);
}

TEST_ROWS(registers_msr, "registers: MSR as the guest sees it, both ways", msr_rows)
{
    VM_GUEST(vm, VM_LONG, "registers_rdmsr", NULL);
    vm_set(&vm, row->reg, row->set);
    one_msr(&vm, row->msr);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 0x100), row->set);
    EXPECT_EQ(vm_get(&vm, row->reg), row->set);
    REQUIRE(vm_load(&vm, "registers_wrmsr"));
    one_msr(&vm, row->msr);
    *vm_u64(&vm, VM_FREE + 0x100) = row->written;
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, row->reg), row->written);
    REQUIRE(vm_load(&vm, "registers_rdmsr"));
    one_msr(&vm, row->msr);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 0x100), row->written);
}

/* FS and GS bases by their MSRs are the segments' bases. */
static const struct {
    const char *name;
    WHV_REGISTER_NAME reg;
    uint32_t msr;
} base_rows[] = {{"FS", WHvX64RegisterFs, 0xc0000100}, {"GS", WHvX64RegisterGs, 0xc0000101}};

TEST_ROWS(registers_bases, "registers: segment base by MSR", base_rows)
{
    WHV_X64_SEGMENT_REGISTER segment;

    VM_GUEST(vm, VM_LONG, "registers_rdmsr", NULL);
    vm_set_segment(&vm, row->reg, 0x10, 0xffff800012345678ull, 0xffffffff, 0xc093);
    one_msr(&vm, row->msr);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u64(&vm, VM_FREE + 0x100), 0xffff800012345678ull);
    REQUIRE(vm_load(&vm, "registers_wrmsr"));
    one_msr(&vm, row->msr);
    *vm_u64(&vm, VM_FREE + 0x100) = 0x77778888;
    EXPECT_END(&vm);
    segment = vm_get_segment(&vm, row->reg);
    EXPECT_EQ(segment.Base, 0x77778888);
    EXPECT_EQ(segment.Selector, 0x10);
}

TEST(registers_efer, "registers: EFER read, changed and written back by the guest in long mode")
{
    VM_GUEST(vm, VM_LONG, "registers_efer", NULL);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterEfer), EFER_LME | EFER_LMA | EFER_NX | EFER_SCE);
}

TEST(registers_tsc_guest, "registers: TSC by RDMSR and WRMSR, TSC_ADJUST")
{
    uint64_t tsc;

    VM_GUEST(vm, VM_LONG, "registers_wrmsr", NULL);
    one_msr(&vm, 0x10);
    *vm_u64(&vm, VM_FREE + 0x100) = 0x7000000000ull;
    EXPECT_END(&vm);
    tsc = vm_get(&vm, WHvX64RegisterTsc);
    EXPECT_GE(tsc, 0x7000000000ull);
    EXPECT_LE(tsc, 0x7010000000ull);
    REQUIRE(vm_load(&vm, "registers_rdmsr"));
    one_msr(&vm, 0x10);
    EXPECT_END(&vm);
    EXPECT_GE(*vm_u64(&vm, VM_FREE + 0x100), tsc);
    EXPECT_LE(*vm_u64(&vm, VM_FREE + 0x100), vm_get(&vm, WHvX64RegisterTsc));
}

/* ------------------------------------------------------------------------------------ the host */

/* What a guest can touch of the CPU, as the host has it. */
struct host_state {
    uint64_t cr0, cr3, cr4, dr[4], dr6, dr7, msr[10];
    uint8_t gdtr[10], idtr[10];
    uint16_t tr, ldtr, cs, ss, ds, es, fs, gs, fcw;
    uint32_t mxcsr;
    uint8_t xmm[16][16];
};

static const uint32_t host_msrs[10] = {0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
                                       0xc0000100, 0xc0000101, 0xc0000102, 0x174,      0x277};

#define READ_DR(n)                                         \
    ({                                                     \
        uint64_t v_;                                       \
        __asm__ volatile("mov %%db" #n ", %0" : "=r"(v_)); \
        v_;                                                \
    })
#define EACH_XMM(op) \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define STORE_XMM(n) __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(s->xmm[n]));
#define LOAD_XMM(n)  __asm__ volatile("movups %0, %%xmm" #n ::"m"(pattern[n]));

static void read_xmm(struct host_state *s)
{
    EACH_XMM(STORE_XMM)
}

static void read_host(struct host_state *s)
{
    memset(s, 0, sizeof(*s));
    s->cr0 = READ_CR(0), s->cr3 = READ_CR(3), s->cr4 = READ_CR(4);
    s->dr[0] = READ_DR(0), s->dr[1] = READ_DR(1), s->dr[2] = READ_DR(2), s->dr[3] = READ_DR(3);
    s->dr6 = READ_DR(6), s->dr7 = READ_DR(7);
    for (unsigned i = 0; i < COUNT(host_msrs); i++)
        s->msr[i] = rdmsr(host_msrs[i]);
    __asm__ volatile("sgdt %0; sidt %1" : "=m"(s->gdtr), "=m"(s->idtr));
    __asm__ volatile("str %0; sldt %1" : "=m"(s->tr), "=m"(s->ldtr));
    __asm__ volatile("mov %%cs, %0; mov %%ss, %1; mov %%ds, %2" : "=m"(s->cs), "=m"(s->ss), "=m"(s->ds));
    __asm__ volatile("mov %%es, %0; mov %%fs, %1; mov %%gs, %2" : "=m"(s->es), "=m"(s->fs), "=m"(s->gs));
    __asm__ volatile("fnstcw %0; stmxcsr %1" : "=m"(s->fcw), "=m"(s->mxcsr));
    read_xmm(s);
}

/* The kernel has promised to do so before anybody looks. */
static void take_back(void)
{
    uint64_t flags = irq_save();

    hv_cpu_give_back();
    irq_restore(flags);
}

/* Values of the host's own that a guest would show up against. */
static void colour_host(void)
{
    static uint8_t pattern[16][16];

    for (unsigned i = 0; i < sizeof(pattern); i++)
        pattern[i / 16][i % 16] = (uint8_t)(i * 7 + 1);
    EACH_XMM(LOAD_XMM)
    wrmsr(0xc0000081, 0x0020001000000000ull);
    wrmsr(0xc0000082, 0xffffffff80001000ull);
    wrmsr(0xc0000084, 0x40700);
    __asm__ volatile("mov %0, %%db0; mov %0, %%db3" ::"r"(0xffffffff80abcdefull));
}

static void compare_hosts(const struct host_state *a, const struct host_state *b)
{
    EXPECT_EQ(a->cr0, b->cr0);
    EXPECT_EQ(a->cr3, b->cr3);
    EXPECT_EQ(a->cr4, b->cr4);
    for (unsigned i = 0; i < 4; i++)
        EXPECT_EQ(a->dr[i], b->dr[i]);
    EXPECT_EQ(a->dr6, b->dr6);
    EXPECT_EQ(a->dr7, b->dr7);
    for (unsigned i = 0; i < COUNT(host_msrs); i++)
        if (!EXPECT_EQ(a->msr[i], b->msr[i]))
            test_note("MSR 0x%x", host_msrs[i]);
    EXPECT_BYTES(a->gdtr, b->gdtr, 10);
    EXPECT_BYTES(a->idtr, b->idtr, 10);
    EXPECT_BYTES(&a->tr, &b->tr, 18);
    EXPECT_EQ(a->mxcsr, b->mxcsr);
    for (unsigned i = 0; i < 16; i++)
        EXPECT_BYTES(a->xmm[i], b->xmm[i], 16);
}

static const struct {
    const char *name;
    const char *guest;
    enum vm_mode mode;
} host_rows[] = {
    {"after a guest that changes all it can", "registers_dirty_all", VM_LONG},
    {"after XMM", "registers_xmm", VM_LONG},
    {"after DRs", "events_dr", VM_LONG},
    {"after a real mode guest", "smoke_halt", VM_REAL},
    {"after a refused entry", NULL, VM_LONG},
};

/* Pinned to one CPU: MSRs and debug registers are a CPU's, not the thread's. */
TEST_ROWS(registers_host, "registers: the host's own are unchanged", host_rows)
{
    struct host_state before, after;
    WHV_RUN_VP_EXIT_CONTEXT exit;

    VM_GUEST(vm, row->mode, row->guest ? row->guest : "smoke_halt", NULL);
    if (!row->guest)
        vm_set(&vm, WHvX64RegisterCr0, vm_get(&vm, WHvX64RegisterCr0) | 1ull << 32);
    thread_set_cpu(thread_cpu(0));
    take_back();
    colour_host();
    read_host(&before);
    WHvRunVirtualProcessor(vm.partition, 0, &exit, sizeof(exit));
    take_back();
    read_host(&after);
    __asm__ volatile("mov %0, %%db0; mov %0, %%db3" ::"r"(0ull));
    EXPECT_EQ(exit.ExitReason, row->guest ? WHvRunVpExitReasonX64Halt : WHvRunVpExitReasonInvalidVpRegisterValue);
    compare_hosts(&after, &before);
    thread_set_cpu(CPU_ANY);
}

/* The pattern is another thread's, in the same registers of the same CPU. */
static void colour_here(void *arg)
{
    (void)arg;
    take_back();
    colour_host();
}

static void let_others_use(uint32_t cpu)
{
    struct thread *other = thread_create("other", colour_here, NULL, cpu);

    if (EXPECT_NE((uintptr_t)other, 0))
        thread_join(other);
}

/*
 * A guest's XMM registers are all ones when it halts, and are stored when it begins: on CPU after CPU. Nothing is asked
 * about the VP in between.
 */
TEST(registers_resident, "registers: a guest's stay its own while other threads use its CPU, and it theirs")
{
    struct host_state before, after;
    WHV_RUN_VP_EXIT_CONTEXT exit;

    VM_GUEST(vm, VM_LONG, "registers_xmm", NULL);
    take_back();
    colour_host();
    read_xmm(&before);
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t cpu = thread_cpu(round / 2);

        thread_set_cpu(cpu);
        vm_set(&vm, WHvX64RegisterRip, VM_CODE);
        EXPECT_OK(WHvRunVirtualProcessor(vm.partition, 0, &exit, sizeof(exit)));
        EXPECT_EQ(exit.ExitReason, WHvRunVpExitReasonX64Halt);
        for (unsigned i = 0; round && i < 32; i++)
            EXPECT_EQ(vm_u64(&vm, VM_FREE)[i], ~0ull);
        let_others_use(cpu);
        read_xmm(&after);
        EXPECT_BYTES(after.xmm, before.xmm, sizeof(before.xmm));
    }
    thread_set_cpu(CPU_ANY);
}
