/* SPDX-License-Identifier: MIT */
/* Cancelling, moving between CPUs, and several virtual processors and partitions at once. */
#include "runner.h"
#include <kernel/clock.h>

#define DATA_WRONG  (VM_DATA + 8)
#define DATA_WANTED (VM_DATA + 16)
#define DATA_SEED   (VM_DATA + 24)

/* ---------------------------------------------------------------------------------- cancelling */

static const struct {
    const char *name;
    uint32_t modes;
    uint64_t rflags;
} interrupts[] = {{"interrupts on", 0, FLAG_FIXED | FLAG_IF}, {"interrupts off", 0, FLAG_FIXED}};

TEST_ROWS_MODES(smp_cancel_running, "smp: a running VP is cancelled by another thread", interrupts, VM_ALL)
{
    struct runner r;
    VM_GUEST(vm, mode, "smp_spin", NULL);

    vm_set(&vm, WHvX64RegisterRflags, row->rflags);

    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
    EXPECT_EQ(r.exit.CancelReason.CancelReason, WHvRunVpCancelReasonUser);
    EXPECT_EQ(r.exit.VpContext.InstructionLength, 0);
    EXPECT_GE(r.exit.VpContext.Rip, vm_mark(&vm, 0));
    EXPECT_LE(r.exit.VpContext.Rip, vm_mark(&vm, 1));
    EXPECT_EQ(r.exit.VpContext.Rip, vm_get(&vm, WHvX64RegisterRip));
}

/* Latched; several are one; no instruction of the guest's runs. */
TEST_MODES(smp_cancel_before, "smp: three cancels before a run end that run only", VM_ALL)
{
    VM_GUEST(vm, mode, "smp_spin", NULL);

    for (int i = 0; i < 3; i++)
        EXPECT_OK(WHvCancelRunVirtualProcessor(vm.partition, 0, 0));
    EXPECT_EXIT(&vm, Canceled);
    EXPECT_EQ(vm.exit.VpContext.Rip, VM_CODE);
    EXPECT_EQ(counter(&vm), 0);
    REQUIRE(vm_load(&vm, "smoke_halt"));
    if (vm_mode_in(mode, VM_CPL0))
        EXPECT_END(&vm);
}

/* Each cancel ends exactly one run. */
TEST(smp_cancel_many, "smp: 200 runs, each cancelled once")
{
    struct runner r;
    VM_GUEST(vm, VM_LONG, "smp_spin", NULL);

    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    thread_set_cpu(thread_cpu(0));
    for (int i = 0; i < 200 && !test_failed(); i++) {
        REQUIRE(runner_start(&r, &vm, 0, other_cpu()));
        if (i & 1)
            REQUIRE(counter_moves(&vm, 1));
        EXPECT_CANCEL(&r);
    }
    thread_set_cpu(CPU_ANY);
}

TEST(smp_cancel_suspended, "smp: a suspended VP waits, and a cancel ends the wait")
{
    struct runner r;
    uint32_t before;
    VM_GUEST(vm, VM_LONG, "smp_spin", NULL);

    vm_set(&vm, WHvRegisterInternalActivityState, 2); /* HaltSuspend */
    REQUIRE(runner_start(&r, &vm, 0, other_cpu()));
    thread_sleep_ns(3 * NS_PER_MS);
    before = counter(&vm);
    EXPECT_EQ(r.ended, 0);
    EXPECT_CANCEL(&r);
    EXPECT_EQ(before, 0);
    EXPECT_EQ(counter(&vm), 0);
}

/* -------------------------------------------------------------------- moving between host CPUs */

static bool state_create(struct vm *vm, uint64_t seed, uint32_t wanted)
{
    if (!vm_create_native(vm) || !vm_enter(vm, VM_LONG) || !vm_load(vm, "smp_state"))
        return false;
    vm_set(vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    *vm_u64(vm, DATA_SEED) = seed;
    *vm_u32(vm, DATA_WANTED) = wanted;
    return true;
}

static uint64_t migrations(struct vm *vm)
{
    struct hv_vp_counters counters;

    hv_vp_counters(vm->native_vp, &counters);
    return counters.migrations;
}

TEST(smp_move_between_runs, "smp: a VP runs on another CPU each time, and keeps its state")
{
    uint64_t moved;
    VM(vm);

    REQUIRE(state_create(&vm, 0x1234567, 1));
    for (uint32_t i = 0; i < 40; i++) {
        thread_set_cpu(thread_cpu(i));
        if (!EXPECT_EXIT(&vm, X64IoPortAccess))
            break;
        vm_step(&vm);
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterR9), 0x1234567 + 9);
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterXmm12), 0x1234567 + 12);
    }
    moved = migrations(&vm);
    thread_set_cpu(CPU_ANY);
    EXPECT_EQ(*vm_u32(&vm, DATA_WRONG), 0);
    EXPECT_EQ(counter(&vm), 40);
    if (thread_cpus() == 1)
        SKIP("one CPU: nowhere to move to");
    EXPECT_GE(moved, 39);
}

static void burn(void *arg)
{
    while (!*(volatile uint32_t *)arg)
        cpu_relax();
}

/* One thread more than CPUs, so that the scheduler moves them; the guest never exits to the client meanwhile. */
TEST(smp_move_during_run, "smp: VPs move between CPUs while they run, and keep their state")
{
    static struct runner r[2];
    const uint64_t limit = clock_ns() + 1500 * NS_PER_MS, wanted = thread_cpus() > 1 ? 4 : 0;
    uint32_t stop = 0;
    struct thread *other;
    VM(a);
    VM(b);

    REQUIRE(state_create(&a, 0x11111111, 0) && state_create(&b, 0x22222222, 0));
    other = thread_create("burn", burn, &stop, CPU_ANY);
    REQUIRE(other && runner_start(&r[0], &a, 0, CPU_ANY) && runner_start(&r[1], &b, 0, CPU_ANY));
    while ((migrations(&a) < wanted || migrations(&b) < wanted || counter(&a) < 200 || counter(&b) < 200) &&
           clock_ns() < limit)
        thread_sleep_ns(2 * NS_PER_MS);
    *vm_u32(&a, DATA_WANTED) = *vm_u32(&b, DATA_WANTED) = 2;
    EXPECT_RUNNER_EXIT(&r[0], X64Halt);
    EXPECT_RUNNER_EXIT(&r[1], X64Halt);
    stop = 1;
    thread_join(other);
    EXPECT_EQ(*vm_u32(&a, DATA_WRONG), 0);
    EXPECT_EQ(*vm_u32(&b, DATA_WRONG), 0);
    EXPECT_GE(migrations(&a), wanted);
    EXPECT_GE(migrations(&b), wanted);
    test_note("%lu and %lu moves, %u and %u rounds", migrations(&a), migrations(&b), counter(&a), counter(&b));
    if (thread_cpus() == 1)
        SKIP("one CPU: nowhere to move to");
}

/* --------------------------------------------------------------------- several VPs, partitions */

static bool add_start(struct vm *vm, struct runner *r, uint32_t index, enum vm_mode mode)
{
    if (index && !vm_enter_vp(vm, index, mode))
        return false;
    vm_set_vp(vm, index, WHvX64RegisterRip, VM_CODE);
    return runner_start(r, vm, index, CPU_ANY);
}

static const struct {
    const char *name;
    uint32_t modes, vps;
} vp_counts[] = {{"two", 0, 2}, {"four", 0, 4}};

TEST_ROWS_MODES(smp_several_vps, "smp: VPs of one partition at once", vp_counts, VM_BIT(VM_PAE) | VM_BIT(VM_LONG))
{
    static struct runner r[4];
    uint32_t started = 0;
    VM(vm);

    REQUIRE(vm_create(&vm, row->vps, NULL) && vm_enter(&vm, mode) && vm_load(&vm, "smp_add"));
    while (started < row->vps && add_start(&vm, &r[started], started, mode))
        started++;
    EXPECT_EQ(started, row->vps);
    for (uint32_t i = 0; i < started; i++)
        EXPECT_RUNNER_EXIT(&r[i], X64Halt);
    EXPECT_EQ(counter(&vm), 2000 * row->vps);
}

TEST(smp_two_partitions, "smp: two partitions at once have each its own memory")
{
    static struct runner r[2];
    VM(a);
    VM(b);

    REQUIRE(vm_create(&a, 1, NULL) && vm_enter(&a, VM_LONG) && vm_load(&a, "smp_add"));
    REQUIRE(vm_create(&b, 1, NULL) && vm_enter(&b, VM_PAGED32) && vm_load(&b, "smp_add"));
    *vm_u32(&b, VM_DATA) = 1000000;
    REQUIRE(add_start(&a, &r[0], 0, VM_LONG) && add_start(&b, &r[1], 0, VM_PAGED32));
    EXPECT_RUNNER_EXIT(&r[0], X64Halt);
    EXPECT_RUNNER_EXIT(&r[1], X64Halt);
    EXPECT_EQ(counter(&a), 2000);
    EXPECT_EQ(counter(&b), 1002000);
}

/* The host's own threads go on while a guest that never exits has their CPU. */
TEST(smp_host_lives, "smp: a guest in a loop does not keep the host's threads from their CPU")
{
    struct runner r;
    uint64_t start;
    VM_GUEST(vm, VM_LONG, "smp_spin", NULL);

    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&r, &vm, 0, thread_cpu(0)));
    start = clock_ns();
    for (int i = 0; i < 5; i++)
        thread_sleep_ns(NS_PER_MS);
    EXPECT_LE(clock_ns() - start, 200 * NS_PER_MS);
    EXPECT_GE(counter(&vm), 1);
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
}
