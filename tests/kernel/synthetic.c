/* SPDX-License-Identifier: MIT */
/* The hypervisor's interface to guests: leaves of CPUID, synthetic MSRs by features, hypercall page, EOI assist. */
#include "apic.h"
#include <kernel/clock.h>

#define FEATURE(name) ((WHV_SYNTHETIC_PROCESSOR_FEATURES){.name = 1}.AsUINT64)
#define PRESENT       FEATURE(HypervisorPresent)
#define INTERFACE     (PRESENT | FEATURE(Hv1))

#define MSR_OS_ID      0x40000000u
#define MSR_HYPERCALL  0x40000001u
#define MSR_VP_INDEX   0x40000002u
#define MSR_RUNTIME    0x40000010u
#define MSR_TSC_HZ     0x40000022u
#define MSR_APIC_HZ    0x40000023u
#define MSR_EOI        0x40000070u
#define MSR_ICR        0x40000071u
#define MSR_TPR        0x40000072u
#define MSR_VP_ASSIST  0x40000073u
#define MSR_GUEST_IDLE 0x400000f0u
#define OS_ID          0x8100000000000000u
#define ALL_ONES       (~0ull)
#define PAGE_ENABLED   1u
#define PAGE_LOCKED    2u

/* guest memory: see synthetic.asm */
#define ASSIST_PAGE    0x50000u
#define COUNTERS       0x51000u
#define HYPERCALL_PAGE 0x52000u
#define HANDLER        0x29000u /* of apic_vm.c */

/* ------------------------------------------------------------------------------- machines */

static uint64_t wanted_features; /* of the machines to be made */

static uint64_t all_features(void)
{
    WHV_CAPABILITY c = {0};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeSyntheticProcessorFeaturesBanks, &c, sizeof(c), NULL));
    EXPECT_EQ(c.SyntheticProcessorFeaturesBanks.BanksCount, 1);
    return c.SyntheticProcessorFeaturesBanks.AsUINT64[0];
}

static void set_features(struct vm *vm)
{
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {.BanksCount = 1, .AsUINT64 = {wanted_features}};

    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static void configure_xapic(struct vm *vm)
{
    set_features(vm);
    apic_modes[0].configure(vm);
}

static void configure_x2apic(struct vm *vm)
{
    set_features(vm);
    apic_modes[1].configure(vm);
}

static const struct apic_mode modes[] = {{"xAPIC", configure_xapic, false}, {"x2APIC", configure_x2apic, true}};

/* ---------------------------------------------------------------------------------- CPUID */

static WHV_CPUID_OUTPUT guest_cpuid(struct vm *vm, uint32_t leaf)
{
    WHV_CPUID_OUTPUT out;

    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterRax, leaf);
    vm_set(vm, WHvX64RegisterRcx, 0);
    EXPECT_EXIT(vm, X64IoPortAccess);
    out.Eax = (uint32_t)vm_get(vm, WHvX64RegisterRax);
    out.Ebx = (uint32_t)vm_get(vm, WHvX64RegisterRbx);
    out.Ecx = (uint32_t)vm_get(vm, WHvX64RegisterRcx);
    out.Edx = (uint32_t)vm_get(vm, WHvX64RegisterRdx);
    return out;
}

static void check_no_interface(struct vm *vm)
{
    WHV_CPUID_OUTPUT out, none = {0};

    for (uint32_t leaf = 0x40000000; leaf <= 0x4000000b; leaf++) {
        out = guest_cpuid(vm, leaf);
        EXPECT_BYTES(&out, &none, sizeof(out));
    }
}

TEST(synthetic_nothing, "synthetic: without features a guest finds no hypervisor")
{
    VM_GUEST(vm, VM_LONG, "synthetic_cpuid", NULL);
    EXPECT_EQ(guest_cpuid(&vm, 1).Ecx >> 31, 0);
    check_no_interface(&vm);
}

TEST(synthetic_present, "synthetic: HypervisorPresent alone is a bit of leaf 1")
{
    wanted_features = PRESENT;
    VM_GUEST(vm, VM_LONG, "synthetic_cpuid", configure_xapic);
    EXPECT_EQ(guest_cpuid(&vm, 1).Ecx >> 31, 1);
    check_no_interface(&vm);
}

TEST(synthetic_leaves, "synthetic: the interface's leaves, with all features")
{
    WHV_CPUID_OUTPUT out;

    wanted_features = all_features();
    VM_GUEST(vm, VM_LONG, "synthetic_cpuid", configure_xapic);
    EXPECT_EQ(guest_cpuid(&vm, 1).Ecx >> 31, 1);
    out = guest_cpuid(&vm, 0x40000000);
    EXPECT_EQ(out.Eax, 0x4000000b);
    EXPECT_BYTES(&out.Ebx, "Microsoft Hv", 12);
    out = guest_cpuid(&vm, 0x40000001);
    EXPECT_BYTES(&out.Eax, "Hv#1", 4);
    EXPECT_EQ(guest_cpuid(&vm, 0x40000002).Ebx >> 16, 10);
    out = guest_cpuid(&vm, 0x40000003);
    EXPECT_EQ(out.Eax, 0xe7f);
    EXPECT_EQ(out.Ebx, 0x30);
    EXPECT_EQ(out.Edx, 0xcc130); /* XMM in and out, idling, frequencies, ranges of flushes, lock, direct timers */
    out = guest_cpuid(&vm, 0x40000004);
    EXPECT_EQ(out.Eax & 0xe24, 0xe24); /* flush calls, relaxed timing, no AutoEOI, IPIs, masks */
    EXPECT_NE(out.Ebx, 0xffffffff);
    EXPECT_EQ(guest_cpuid(&vm, 0x40000005).Eax, 64);
    EXPECT_EQ(guest_cpuid(&vm, 0x40000006).Eax & 0xa, 0xa);
    for (uint32_t leaf = 0x40000007; leaf <= 0x4000000c; leaf++)
        EXPECT_EQ(guest_cpuid(&vm, leaf).Eax, 0);
}

/* ----------------------------------------------------------------------------------- MSRs */

static const struct msr_row {
    const char *name;
    uint32_t msr;
    unsigned bit; /* of SyntheticProcessorFeatures */
    unsigned eax; /* of leaf 3 */
} msr_rows[] = {
    {"guest OS ID", 0x40000000, 7, 5},
    {"hypercall", 0x40000001, 7, 5},
    {"VP index", 0x40000002, 8, 6},
    {"VP runtime", 0x40000010, 2, 0},
    {"reference count", 0x40000020, 3, 1},
    {"reference TSC", 0x40000021, 9, 9},
    {"TSC frequency", 0x40000022, 11, 11},
    {"APIC frequency", 0x40000023, 11, 11},
    {"ICR", 0x40000071, 6, 4},
    {"TPR", 0x40000072, 6, 4},
    {"VP assist page", 0x40000073, 6, 4},
    {"guest idle", 0x400000f0, 10, 10},
    {"SCONTROL", 0x40000080, 4, 2},
    {"SIMP", 0x40000083, 4, 2},
    {"SINT0", 0x40000090, 4, 2},
    {"SINT15", 0x4000009f, 4, 2},
    {"STIMER0_CONFIG", 0x400000b0, 5, 3},
    {"STIMER3_COUNT", 0x400000b7, 5, 3},
};

/* With its feature alone it is there, and those of other features are not. */
TEST_ROWS(synthetic_msr, "synthetic: by its feature there is", msr_rows)
{
    const struct apic_op pending = ICR(SELF | 0x41); /* ends idling */
    struct apic_op ops[COUNT(msr_rows) + 1];

    wanted_features = INTERFACE | 1ull << row->bit;
    VM(vm);
    REQUIRE(apic_create(&vm, &modes[0], 1));
    ops[0] = pending;
    for (size_t i = 0; i < COUNT(msr_rows); i++) {
        const struct apic_op there = RDMSR(msr_rows[i].msr), not_there = RDMSR_GP(msr_rows[i].msr);

        ops[i + 1] = msr_rows[i].bit == row->bit ? there : not_there;
    }
    apic_set_script(&vm, 0, ops, COUNT(ops));
    EXPECT_SCRIPT_END(&vm);
}

/* Without it there is none, whatever else there is, and leaf 3 says so. */
TEST_ROWS(synthetic_no_msr, "synthetic: without its feature there is no", msr_rows)
{
    WHV_CPUID_OUTPUT out;

    wanted_features = all_features() & ~(1ull << row->bit);
    APIC_GUEST(vm, &modes[0], 1, RDMSR_GP(row->msr), WRMSR_GP(row->msr, 0));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_OK(WHvGetVirtualProcessorCpuidOutput(vm.partition, 0, 0x40000003, 0, &out));
    EXPECT_EQ(out.Eax, 0xe7f & ~(1u << row->eax));
}

/* MSRs that no feature gives. The reset's is one: there is none that offers it. */
static const struct {
    const char *name;
    uint32_t msr;
} absent_rows[] = {{"reset", 0x40000003},      {"0x40000011", 0x40000011}, {"0x40000074", 0x40000074},
                   {"0x400000ef", 0x400000ef}, {"crash", 0x40000100},      {"the last one", 0x400001ff}};

static void all_and_unhandled(struct vm *vm)
{
    UINT64 unhandled = 1;

    configure_xapic(vm);
    vm_set_exits(vm, VM_EXIT_MSR);
    vm_set_property(vm, WHvPartitionPropertyCodeX64MsrExitBitmap, &unhandled, sizeof(unhandled));
}

/* They are #GP also for clients that ask for what is unhandled: the numbers are the interface's. */
TEST_ROWS(synthetic_absent, "synthetic: there is no MSR", absent_rows)
{
    static const struct apic_mode mode = {"unhandled", all_and_unhandled, false};

    wanted_features = all_features();
    APIC_GUEST(vm, &mode, 1, RDMSR_GP(row->msr), WRMSR_GP(row->msr, 0));
    EXPECT_SCRIPT_END(&vm);
}

static void set_rcx(struct vm *vm, uint32_t msr)
{
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterRcx, msr);
}

TEST(synthetic_client_msrs, "synthetic: without the interface its MSRs are the client's")
{
    wanted_features = PRESENT;
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", all_and_unhandled);
    set_rcx(&vm, MSR_OS_ID);
    EXPECT_EXIT(&vm, X64MsrAccess);
    set_rcx(&vm, MSR_VP_ASSIST);
    EXPECT_EXIT(&vm, X64MsrAccess);
}

static void listed(struct vm *vm)
{
    const WHV_MSR_ACTION_ENTRY actions[] = {{.Index = MSR_RUNTIME, .ReadAction = WHvMsrActionExit}};

    configure_xapic(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions));
}

TEST(synthetic_listed_msr, "synthetic: the client's list of MSRs comes first")
{
    wanted_features = all_features();
    VM_GUEST(vm, VM_LONG, "misc_rdmsr", listed);
    set_rcx(&vm, MSR_RUNTIME);
    EXPECT_EXIT(&vm, X64MsrAccess);
}

TEST(synthetic_read_only, "synthetic: MSRs that can not be written")
{
    wanted_features = all_features();
    APIC_GUEST(vm, &modes[0], 1, WRMSR_GP(MSR_VP_INDEX, 0), WRMSR_GP(MSR_RUNTIME, 0), WRMSR_GP(0x40000020, 0),
               WRMSR_GP(MSR_TSC_HZ, 0), WRMSR_GP(MSR_APIC_HZ, 0), WRMSR_GP(0x40000081, 1), RDMSR_GP(MSR_EOI));
    EXPECT_SCRIPT_END(&vm);
}

TEST(synthetic_vp_index, "synthetic: each VP has its index")
{
    WHV_RUN_VP_EXIT_CONTEXT exit;

    wanted_features = all_features();
    APIC_GUEST(vm, &modes[0], 3, RDMSR(MSR_VP_INDEX), EXPECT_LAST(ALL_ONES, 0));
    BARE_SCRIPT(&vm, 2, RDMSR(MSR_VP_INDEX), EXPECT_LAST(ALL_ONES, 2));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_OK(vm_run_vp(&vm, 2, &exit));
    apic_check_end(&vm, 2, &exit, __FILE__, __LINE__);
}

/* Like HLT, but that an interrupt ends it also with IF clear: the guest takes it later. */
TEST_ROWS(synthetic_idle, "synthetic: an interrupt ends idling with interrupts off", modes)
{
    struct runner r;

    wanted_features = all_features();
    APIC_GUEST(vm, row, 1, CLI, WRITE(APIC_TPR, 0x60), SET(WORD(0), 1), RDMSR(MSR_GUEST_IDLE), EXPECT_LAST(ALL_ONES, 0),
               COUNT_IS(0x61, 0), READ(BANK(APIC_IRR, 0x61)), EXPECT_LAST(0xffffffff, BIT_OF(0x61)),
               RDMSR(MSR_GUEST_IDLE), WRITE(APIC_TPR, 0), STI, SPIN(0x61, 1), COUNT_IS(0x61, 1),
               WRMSR_GP(MSR_GUEST_IDLE, 0));
    REQUIRE(runner_start(&r, &vm, 0, other_cpu()) && apic_wait_word(&vm, WORD(0), 1));
    thread_sleep_ns(20 * NS_PER_MS);
    EXPECT(!r.ended);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x61));
    EXPECT_RUNNER_END(&r);
}

/* In 100 ns: it grows while the VP runs, and by no more than time does. */
TEST(synthetic_runtime, "synthetic: VP runtime")
{
    uint64_t begin = clock_ns(), first, second;

    wanted_features = all_features();
    APIC_GUEST(vm, &modes[0], 1, RDMSR(MSR_RUNTIME), EXIT, DELAY(20000), RDMSR(MSR_RUNTIME));
    EXPECT_SCRIPT_END(&vm);
    first = apic_area(&vm, 0)->last;
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
    second = apic_area(&vm, 0)->last;
    EXPECT(second > first);
    EXPECT_LE(second, (clock_ns() - begin) / 100);
    EXPECT_GE(vm_get(&vm, WHvRegisterVpRuntime), second);
}

TEST(synthetic_frequencies, "synthetic: rates of TSC and APIC timer")
{
    WHV_CAPABILITY tsc = {0}, apic = {0};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorClockFrequency, &tsc, sizeof(tsc), NULL));
    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeInterruptClockFrequency, &apic, sizeof(apic), NULL));
    wanted_features = all_features();
    APIC_GUEST(vm, &modes[0], 1, RDMSR(MSR_TSC_HZ), EXPECT_LAST(ALL_ONES, tsc.ProcessorClockFrequency),
               RDMSR(MSR_APIC_HZ), EXPECT_LAST(ALL_ONES, apic.InterruptClockFrequency));
    EXPECT_SCRIPT_END(&vm);
}

/* ICR's destination is where the APIC's mode has it. */
TEST_ROWS(synthetic_apic, "synthetic: registers of the local APIC as MSRs", modes)
{
    const uint64_t to_1 = row->is_x2apic ? TO(1) : 1ull << 56;

    wanted_features = all_features();
    APIC_GUEST(vm, row, 2, WRMSR(MSR_TPR, 0x25), READ(APIC_TPR), EXPECT_LAST(0xff, 0x25), RDMSR(MSR_TPR),
               EXPECT_LAST(ALL_ONES, 0x25), RDCR8, EXPECT_LAST(ALL_ONES, 2), WRMSR_GP(MSR_TPR, 0x100),
               WRMSR(MSR_TPR, 0), WRMSR(MSR_ICR, SELF | 0x71), STI, SPIN(0x71, 1), READ(BANK(APIC_ISR, 0x71)),
               EXPECT_LAST(0xffffffff, BIT_OF(0x71)), WRMSR(MSR_EOI, 0), READ(BANK(APIC_ISR, 0x71)),
               EXPECT_LAST(0xffffffff, 0), WRMSR(MSR_ICR, to_1 | 0x61), RDMSR(MSR_ICR),
               EXPECT_LAST(ALL_ONES & ~0x1000ull, to_1 | 0x61), WRMSR(MSR_APIC_BASE, BASE_DEFAULT | BASE_BSP),
               RDMSR_GP(MSR_TPR), WRMSR_GP(MSR_EOI, 0));
    apic_area(&vm, 0)->keep = 0x71;
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x71], 1);
}

/* -------------------------------------------------------------------- registers by name */

TEST(synthetic_names, "synthetic: registers by name, with and without the features")
{
    static const WHV_REGISTER_NAME names[] = {WHvRegisterGuestOsId,    WHvX64RegisterHypercall, WHvRegisterVpAssistPage,
                                              WHvRegisterReferenceTsc, WHvRegisterVpRuntime,    WHvRegisterSint0,
                                              WHvRegisterSimp};
    WHV_REGISTER_VALUE value;

    wanted_features = PRESENT;
    VM_GUEST(off, VM_LONG, "misc_halts", configure_xapic);
    wanted_features = all_features();
    VM_GUEST(on, VM_LONG, "misc_halts", configure_xapic);
    for (size_t i = 0; i < COUNT(names); i++) {
        EXPECT(FAILED(vm_try_get(&off, names[i], &value)));
        EXPECT_OK(vm_try_get(&on, names[i], &value));
    }
    vm_set(&on, WHvRegisterGuestOsId, OS_ID);
    vm_set(&on, WHvX64RegisterHypercall, HYPERCALL_PAGE | PAGE_ENABLED);
    EXPECT_EQ(vm_get(&on, WHvRegisterGuestOsId), OS_ID);
    EXPECT_EQ(vm_get(&on, WHvX64RegisterHypercall), HYPERCALL_PAGE | PAGE_ENABLED);
}

/* -------------------------------------------------------------------------- hypercall page */

TEST(synthetic_hypercall_msr, "synthetic: the hypercall page needs an OS ID, and goes with it")
{
    wanted_features = all_features();
    APIC_GUEST(vm, &modes[0], 1, WRMSR(MSR_HYPERCALL, HYPERCALL_PAGE | PAGE_ENABLED), RDMSR(MSR_HYPERCALL),
               EXPECT_LAST(ALL_ONES, HYPERCALL_PAGE), LOAD(HYPERCALL_PAGE), EXPECT_LAST(0xffffffff, 0x11223344),
               WRMSR(MSR_OS_ID, OS_ID), RDMSR(MSR_OS_ID), EXPECT_LAST(ALL_ONES, OS_ID),
               WRMSR(MSR_HYPERCALL, HYPERCALL_PAGE | PAGE_ENABLED), RDMSR(MSR_HYPERCALL),
               EXPECT_LAST(ALL_ONES, HYPERCALL_PAGE | PAGE_ENABLED), LOAD(HYPERCALL_PAGE), EXIT, WRMSR(MSR_OS_ID, 0),
               RDMSR(MSR_HYPERCALL), EXPECT_LAST(ALL_ONES, HYPERCALL_PAGE), LOAD(HYPERCALL_PAGE),
               EXPECT_LAST(0xffffffff, 0x11223344), WRMSR_GP(MSR_HYPERCALL, 1ull << 60 | PAGE_ENABLED),
               WRMSR(MSR_OS_ID, OS_ID), WRMSR(MSR_HYPERCALL, HYPERCALL_PAGE | PAGE_ENABLED | PAGE_LOCKED),
               WRMSR_GP(MSR_HYPERCALL, 0), RDMSR(MSR_HYPERCALL),
               EXPECT_LAST(ALL_ONES, HYPERCALL_PAGE | PAGE_ENABLED | PAGE_LOCKED));
    *vm_u64(&vm, HYPERCALL_PAGE) = 0x11223344;
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_EQ(apic_area(&vm, 0)->last & 0xffffff, vm_is_svm() ? 0xd9010f : 0xc1010f);
    EXPECT_EQ(*vm_u64(&vm, HYPERCALL_PAGE), 0x11223344); /* the client's memory is behind it */
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
}

/* What VM_GUEST's machine is like: RIP at the call, RBX where the page is. */
static void set_call(struct vm *vm, uint64_t control)
{
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterRbx, HYPERCALL_PAGE);
    vm_set(vm, WHvX64RegisterRcx, control);
    vm_set(vm, WHvX64RegisterRdx, 0);
    vm_set(vm, WHvX64RegisterR8, 0);
}

TEST(synthetic_call, "synthetic: calls by the hypercall page")
{
    wanted_features = all_features();
    VM_GUEST(vm, VM_LONG, "synthetic_call", configure_xapic);
    vm_set(&vm, WHvRegisterGuestOsId, OS_ID);
    vm_set(&vm, WHvX64RegisterHypercall, HYPERCALL_PAGE | PAGE_ENABLED);
    set_call(&vm, 0xfffe); /* no such call */
    EXPECT_EXIT(&vm, X64IoPortAccess);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 2);
    set_call(&vm, 0x10008); /* notify long spin wait, fast */
    EXPECT_EXIT(&vm, X64IoPortAccess);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0);
}

/* ----------------------------------------------------------------------------- EOI assist */

/* Does the guest do without EOIs? Where the CPU delivers interrupts, they cost nothing, and nothing is offered. */
static bool saves_eois(struct vm *vm)
{
    WHV_CPUID_OUTPUT out = {0};

    EXPECT_OK(WHvGetVirtualProcessorCpuidOutput(vm->partition, 0, 0x40000004, 0, &out));
    return out.Eax & 8;
}

static bool create_assisted(struct vm *vm, const struct apic_mode *mode)
{
    wanted_features = all_features();
    return apic_create(vm, mode, 2) && vm_load_at(vm, "synthetic_handler", 64, HANDLER);
}

static uint64_t saved(struct vm *vm)
{
    return *(volatile uint64_t *)vm_at(vm, COUNTERS);
}

static uint64_t done(struct vm *vm)
{
    return *(volatile uint64_t *)vm_at(vm, COUNTERS + 8);
}

/* An exit that has to do with the registers: else the CPU may show what it has in the page. */
#define LOOKED_AT RDMSR(MSR_TPR)

TEST_ROWS(synthetic_assist, "synthetic: EOI assist: interrupts one by one", modes)
{
    VM(vm);
    REQUIRE(create_assisted(&vm, row));
    SCRIPT(&vm, 0, ICR(SELF | 0x41), STI, SPIN(0x41, 1), WRMSR(MSR_VP_ASSIST, ASSIST_PAGE | PAGE_ENABLED),
           RDMSR(MSR_VP_ASSIST), EXPECT_LAST(ALL_ONES, ASSIST_PAGE | PAGE_ENABLED), ICR(SELF | 0x41), SPIN(0x41, 2),
           ICR(SELF | 0x31), SPIN(0x31, 1), ICR(SELF | 0x41), SPIN(0x41, 3), ICR(SELF | 0x41), HALT(0x41, 4), LOOKED_AT,
           READ(BANK(APIC_ISR, 0x41)), EXPECT_LAST(0xffffffff, 0), READ(APIC_PPR), EXPECT_LAST(0xff, 0),
           WRMSR(MSR_VP_ASSIST, ASSIST_PAGE), ICR(SELF | 0x41), SPIN(0x41, 5), COUNT_IS(0x41, 5));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(saved(&vm), saves_eois(&vm) ? 4 : 0);
    EXPECT_EQ(saved(&vm) + done(&vm), 6);
}

/* All at once: only the last one has nobody behind it. */
TEST_ROWS(synthetic_assist_several, "synthetic: EOI assist: several interrupts pending", modes)
{
    VM(vm);
    REQUIRE(create_assisted(&vm, row));
    SCRIPT(&vm, 0, WRMSR(MSR_VP_ASSIST, ASSIST_PAGE | PAGE_ENABLED), ICR(SELF | 0x31), ICR(SELF | 0x71),
           ICR(SELF | 0x72), ICR(SELF | 0x51), STI, SPIN(0x31, 1), COUNT_IS(0x71, 1), COUNT_IS(0x72, 1),
           COUNT_IS(0x51, 1), CLI, LOOKED_AT, READ(BANK(APIC_ISR, 0x31)), EXPECT_LAST(0xffffffff, 0));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(saved(&vm), saves_eois(&vm) ? 1 : 0);
    EXPECT_EQ(saved(&vm) + done(&vm), 4);
}

#define STORM 500u

static bool count_reaches(struct vm *vm, unsigned vector, uint32_t wanted)
{
    const volatile uint32_t *count = &apic_area(vm, 0)->counts[vector];
    uint64_t deadline = clock_ns() + RUNNER_LIMIT_MS * NS_PER_MS;

    while (*count < wanted)
        if (clock_ns() > deadline)
            return FAIL("vector 0x%x came %u times, wanted %u", vector, *count, wanted), false;
        else
            thread_yield();
    return *count == wanted;
}

/* Another thread's interrupts, of two priorities, each waited for: none may hang behind one that has ended. */
static void storm(struct vm *vm)
{
    struct runner r;

    REQUIRE(runner_start(&r, vm, 0, other_cpu()) && apic_wait_word(vm, WORD(0), 1));
    for (uint32_t i = 1; i <= STORM; i++) {
        EXPECT_OK(apic_request(vm, WHvX64InterruptTypeFixed, false, false, 0, 0x61));
        EXPECT_OK(apic_request(vm, WHvX64InterruptTypeFixed, false, false, 0, 0x41));
        if (!EXPECT(count_reaches(vm, 0x61, i)) || !EXPECT(count_reaches(vm, 0x41, i)))
            break;
    }
    EXPECT_OK(apic_request(vm, WHvX64InterruptTypeFixed, false, false, 0, 0x91));
    EXPECT_RUNNER_END(&r);
    EXPECT_EQ(saved(vm) + done(vm), 2 * STORM + 1);
    if (saves_eois(vm))
        EXPECT_GE(saved(vm), STORM);
}

TEST_ROWS(synthetic_assist_spin, "synthetic: EOI assist: a storm on a VP that spins", modes)
{
    VM(vm);
    REQUIRE(create_assisted(&vm, row));
    SCRIPT(&vm, 0, WRMSR(MSR_VP_ASSIST, ASSIST_PAGE | PAGE_ENABLED), SET(WORD(0), 1), STI, SPIN(0x91, 1));
    storm(&vm);
}

TEST_ROWS(synthetic_assist_halt, "synthetic: EOI assist: a storm on a VP that halts", modes)
{
    VM(vm);
    REQUIRE(create_assisted(&vm, row));
    SCRIPT(&vm, 0, WRMSR(MSR_VP_ASSIST, ASSIST_PAGE | PAGE_ENABLED), SET(WORD(0), 1), HALT(0x91, 1));
    storm(&vm);
}

/* One that the client wants to hear of ends by an EOI. */
TEST(synthetic_assist_level, "synthetic: EOI assist: not for level-triggered interrupts")
{
    VM(vm);
    REQUIRE(create_assisted(&vm, &modes[0]));
    SCRIPT(&vm, 0, WRMSR(MSR_VP_ASSIST, ASSIST_PAGE | PAGE_ENABLED), EXIT, STI, SPIN(0x55, 1));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, true, 0, 0x55));
    vm_step(&vm);
    REQUIRE(EXPECT_EXIT(&vm, X64ApicEoi));
    EXPECT_EQ(vm.exit.ApicEoi.InterruptVector, 0x55);
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(saved(&vm), 0);
}
