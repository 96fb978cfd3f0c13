/* SPDX-License-Identifier: MIT */
/* The partition's time and what guests see of it: clocks, suspension, synthetic timers. */
#include "apic.h"
#include <kernel/clock.h>

#define ONES       0xffffffffull
#define MS         1000000ull
#define UNITS      10000ull /* of the reference time in a millisecond */
#define SUSPEND_MS 300ull

/* as a guest has them */
#define MSR_COUNT      0x40000020ull
#define MSR_TSC_PAGE   0x40000021ull
#define MSR_SCONTROL   0x40000080ull
#define MSR_SIMP       0x40000083ull
#define MSR_EOM        0x40000084ull
#define MSR_SINT(n)    (0x40000090ull + (n))
#define MSR_CONFIG(n)  (0x400000b0ull + 2 * (n))
#define MSR_TIMER(n)   (0x400000b1ull + 2 * (n))
#define ENABLE         0x1ull
#define PERIODIC       0x2ull
#define LAZY           0x4ull
#define AUTO           0x8ull
#define DIRECT(vector) (0x1000ull | (vector) << 4)
#define SINT(n)        ((n) << 16)
#define SIM_PAGE       0x50000ull
#define TSC_PAGE       0x51000ull
#define SLOT(n)        (SIM_PAGE + 256ull * (n))
#define TIMER_EXPIRED  0x80000010ull
#define PENDING        0x100ull /* in a slot's second word */

static void give_features(struct vm *vm)
{
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {.BanksCount = 1};
    WHV_CAPABILITY all;

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeSyntheticProcessorFeaturesBanks, &all, sizeof(all), NULL));
    banks.AsUINT64[0] = all.SyntheticProcessorFeaturesBanks.AsUINT64[0];
    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static void configure_xapic(struct vm *vm)
{
    apic_modes[0].configure(vm);
    give_features(vm);
}

static void configure_x2apic(struct vm *vm)
{
    apic_modes[1].configure(vm);
    give_features(vm);
}

static const struct apic_mode modes[] = {{"xAPIC", configure_xapic, false}, {"x2APIC", configure_x2apic, true}};

static uint64_t reference_time(struct vm *vm)
{
    UINT64 time = 0;

    EXPECT_OK(WHvGetPartitionProperty(vm->partition, WHvPartitionPropertyCodeReferenceTime, &time, sizeof(time), NULL));
    return time;
}

static HRESULT set_reference_time(struct vm *vm, UINT64 time)
{
    return WHvSetPartitionProperty(vm->partition, WHvPartitionPropertyCodeReferenceTime, &time, sizeof(time));
}

/* ------------------------------------------------------------------------------------ clocks */

TEST(time_clocks, "time: reference counter and reference TSC page agree")
{
    VM_GUEST(vm, VM_LONG, "time_clocks", give_features);
    uint64_t units, ticks;

    REQUIRE(EXPECT_END(&vm));
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0);
    units = vm_get(&vm, WHvX64RegisterRbp) - vm_get(&vm, WHvX64RegisterRbx);
    ticks = vm_get(&vm, WHvX64RegisterRdi) - vm_get(&vm, WHvX64RegisterRsi);
    EXPECT_GE(units, 1);
    EXPECT_GE(apic_ticks(100 * (units + 1)), ticks / 2); /* the TSC was not read at the same moments */
    EXPECT_GE(reference_time(&vm), vm_get(&vm, WHvX64RegisterRbp));
}

/* What the guest read, between two looks at the host's clock. */
struct moment {
    uint64_t before, after, reference, tsc;
};

static bool look(struct vm *vm, struct moment *m)
{
    m->before = clock_ns();
    if (!EXPECT_EXIT(vm, X64IoPortAccess))
        return false;
    m->after = clock_ns();
    m->reference = vm_get(vm, WHvX64RegisterR8);
    m->tsc = vm_get(vm, WHvX64RegisterR9);
    vm_step(vm);
    return true;
}

TEST(time_rate, "time: reference counter and TSC run as the host's clock does")
{
    VM_GUEST(vm, VM_LONG, "time_now", give_features);
    struct moment first, second;
    uint64_t most, least;

    REQUIRE(look(&vm, &first));
    thread_sleep_ns(50 * MS);
    REQUIRE(look(&vm, &second));
    most = second.after - first.before;
    least = second.before - first.after;
    EXPECT_LE(100 * (second.reference - first.reference), most + most / 256 + 200);
    EXPECT_GE(100 * (second.reference - first.reference) + least / 256 + 200, least);
    EXPECT_LE(second.tsc - first.tsc, apic_ticks(most + most / 256));
    EXPECT_GE(second.tsc - first.tsc, apic_ticks(least - least / 256));
}

static const struct {
    const char *name;
    bool by_call;
} ways[] = {{"resumed by the call", true}, {"by the next run", false}};

TEST_ROWS(time_suspended, "time: suspended, and on without a jump", ways)
{
    VM_GUEST(vm, VM_LONG, "time_now", give_features);
    uint64_t begin, end, tsc, reference, most;
    struct moment first, second;

    REQUIRE(look(&vm, &first));
    EXPECT_OK(WHvSuspendPartitionTime(vm.partition));
    begin = clock_ns();
    EXPECT_OK(WHvSuspendPartitionTime(vm.partition)); /* as clients do for each VP */
    tsc = vm_get(&vm, WHvX64RegisterTsc);
    reference = reference_time(&vm);
    thread_sleep_ns(SUSPEND_MS * MS);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterTsc), tsc);
    EXPECT_EQ(reference_time(&vm), reference);
    end = clock_ns();
    if (row->by_call)
        EXPECT_OK(WHvResumePartitionTime(vm.partition));
    REQUIRE(look(&vm, &second));
    EXPECT_HR(WHvResumePartitionTime(vm.partition), ERROR_HV_INVALID_PARTITION_STATE);
    most = begin - first.before + second.after - end;
    EXPECT_GE(tsc, first.tsc);
    EXPECT_GE(second.tsc, tsc);
    EXPECT_LE(second.tsc - first.tsc, apic_ticks(most + most / 256));
    EXPECT_GE(reference, first.reference);
    EXPECT_GE(second.reference, reference);
    EXPECT_LE(100 * (second.reference - first.reference), most + most / 256 + 200);
}

/* As a client restores a machine: the time stands still, each TSC is set, and the first run lets it go on. */
TEST(time_restored, "time: TSCs set while suspended are in step, TSCs apart have no page")
{
    const uint64_t place = 1ull << 40;
    VM(vm);

    REQUIRE(apic_create(&vm, &modes[1], 2));
    SCRIPT(&vm, 0, WRMSR(MSR_TSC_PAGE, TSC_PAGE | 1), LOAD(TSC_PAGE), AT_LEAST(ONES, 1), EXIT, LOAD(TSC_PAGE),
           EXPECT_LAST(ONES, 0), RDMSR(MSR_COUNT), EXIT, LOAD(TSC_PAGE), AT_LEAST(ONES, 1));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_set_vp(&vm, 1, WHvX64RegisterTsc, 5);
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(WHvSuspendPartitionTime(vm.partition));
    for (uint32_t i = 0; i < 2; i++)
        vm_set_vp(&vm, i, WHvX64RegisterTsc, place);
    thread_sleep_ns(MS);
    for (uint32_t i = 0; i < 2; i++)
        EXPECT_EQ(vm_get_vp(&vm, i, WHvX64RegisterTsc), place);
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_GE(vm_get_vp(&vm, 0, WHvX64RegisterTsc), place);
    EXPECT_LE(vm_get_vp(&vm, 0, WHvX64RegisterTsc), place + apic_ticks(4000 * MS));
}

TEST(time_reference_property, "time: ReferenceTime is read and set, while nothing runs")
{
    static struct runner r;
    VM_GUEST(vm, VM_LONG, "time_now", give_features);
    struct moment m;

    REQUIRE(look(&vm, &m));
    EXPECT_OK(set_reference_time(&vm, 1ull << 50));
    REQUIRE(look(&vm, &m));
    EXPECT_GE(m.reference, 1ull << 50);
    EXPECT_LE(m.reference, (1ull << 50) + 4000 * UNITS);
    EXPECT_GE(reference_time(&vm), m.reference);
    EXPECT_OK(set_reference_time(&vm, 0));
    REQUIRE(look(&vm, &m));
    EXPECT_LE(m.reference, 4000 * UNITS);
    REQUIRE(vm_load(&vm, "misc_loop64"));
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    EXPECT_HR(set_reference_time(&vm, 5), WHV_E_INVALID_VP_STATE);
    EXPECT_HR(WHvSuspendPartitionTime(vm.partition), WHV_E_INVALID_VP_STATE);
    EXPECT_GE(reference_time(&vm), m.reference);
    EXPECT_CANCEL(&r);
}

TEST(time_reset, "time: a reset begins again, and waits for the next run")
{
    VM_GUEST(vm, VM_LONG, "time_now", give_features);
    struct moment m;

    REQUIRE(look(&vm, &m));
    EXPECT_OK(set_reference_time(&vm, 1ull << 50));
    EXPECT_OK(WHvResetPartition(vm.partition));
    thread_sleep_ns(10 * MS);
    EXPECT_EQ(reference_time(&vm), 0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterTsc), 0);
    EXPECT_OK(WHvResumePartitionTime(vm.partition));
    thread_sleep_ns(10 * MS);
    EXPECT_GE(reference_time(&vm), 1);
    EXPECT_GE(vm_get(&vm, WHvX64RegisterTsc), 1);
}

/* ------------------------------------------------------------------------- timers, suspended */

#define WAIT_MS (SUSPEND_MS - SUSPEND_MS / 4) /* would be over before the time goes on */

/* Runs to the script's EXIT, stops the time for longer than the timer takes, and runs on. */
static void suspend_at_exit(struct vm *vm)
{
    REQUIRE(EXPECT_SCRIPT_END(vm));
    EXPECT_OK(WHvSuspendPartitionTime(vm->partition));
    thread_sleep_ns(SUSPEND_MS * MS);
    vm_step(vm);
    EXPECT_SCRIPT_END(vm);
}

TEST_ROWS(time_suspended_apic, "time: the local APIC's timer stops with it", modes)
{
    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_TIMER, 0x31), WRITE(APIC_TIMER_DIV, 0xb), TSC,
               WRITE(APIC_TIMER_INIT, WAIT_MS * MS), EXIT, READ(APIC_TIMER_CUR), AT_LEAST(ONES, 1), COUNT_IS(0x31, 0),
               HALT(0x31, 1), ELAPSED(apic_ticks(WAIT_MS * MS - WAIT_MS * MS / 200), apic_ticks(4000 * MS)));
    suspend_at_exit(&vm);
}

TEST_ROWS(time_suspended_deadline, "time: TSC deadlines stop with it", modes)
{
    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_TIMER, 0x40031), TSC, DEADLINE(apic_ticks(WAIT_MS * MS)), EXIT, STI,
               DELAY(100), COUNT_IS(0x31, 0), HALT(0x31, 1), ELAPSED(apic_ticks(WAIT_MS * MS), apic_ticks(4000 * MS)));
    suspend_at_exit(&vm);
}

TEST_ROWS(time_suspended_stimer, "time: synthetic timers stop with it", modes)
{
    APIC_GUEST(vm, row, 1, WRMSR(MSR_CONFIG(0), AUTO | DIRECT(0x31)), TSC, RDMSR(MSR_COUNT),
               WRMSR_LAST(MSR_TIMER(0), WAIT_MS * UNITS), EXIT, STI, DELAY(100), COUNT_IS(0x31, 0), HALT(0x31, 1),
               ELAPSED(apic_ticks(WAIT_MS * MS - MS / 100), apic_ticks(4000 * MS)));
    suspend_at_exit(&vm);
}

/* ---------------------------------------------------------------------------- synthetic timers */

#define LATE apic_ticks(2000 * MS) /* a slow engine on a busy machine */
#define FAR  (2000 * UNITS)        /* what is stopped before, on such a one too */

/* Not before its time, once, waiting in HLT and in a loop; enabled by CONFIG or by COUNT; at once when it is late. */
TEST_ROWS(stimer_one_shot, "stimer: one-shot", modes)
{
    const uint64_t early = apic_ticks(5 * MS - MS / 1000), config = DIRECT(0x31ull), late = LATE;

    APIC_GUEST(vm, row, 1, WRMSR(MSR_CONFIG(0), config | AUTO), RDMSR(MSR_COUNT), WRMSR_LAST(MSR_TIMER(0), FAR),
               RDMSR(MSR_CONFIG(0)), EXPECT_LAST(ONES, config | AUTO | ENABLE), TSC, RDMSR(MSR_COUNT),
               WRMSR_LAST(MSR_TIMER(0), 5 * UNITS), HALT(0x31, 1), ELAPSED(early, late), RDMSR(MSR_CONFIG(0)),
               EXPECT_LAST(ONES, config | AUTO), DELAY(20000), COUNT_IS(0x31, 1), WRMSR(MSR_CONFIG(0), config), TSC,
               RDMSR(MSR_COUNT), WRMSR_LAST(MSR_TIMER(0), 5 * UNITS), WRMSR(MSR_CONFIG(0), config | ENABLE),
               SPIN(0x31, 2), ELAPSED(early, late), WRMSR(MSR_TIMER(0), 1), WRMSR(MSR_CONFIG(0), config | ENABLE),
               SPIN(0x31, 3), RDMSR(MSR_COUNT), WRMSR_LAST(MSR_TIMER(0), FAR), WRMSR(MSR_CONFIG(0), config | ENABLE),
               WRMSR(MSR_TIMER(0), 0), RDMSR(MSR_CONFIG(0)), EXPECT_LAST(ONES, config), DELAY(20000),
               COUNT_IS(0x31, 3));
    EXPECT_SCRIPT_END(&vm);
}

static const struct {
    const char *name;
    uint64_t config;
} periods[] = {{"", 0}, {"lazy", LAZY}};

TEST_ROWS(stimer_periodic, "stimer: periodic", periods)
{
    const uint64_t early = apic_ticks(10 * MS - MS / 100), config = DIRECT(0x31ull) | PERIODIC | row->config;

    APIC_GUEST(vm, &modes[1], 1, WRMSR(MSR_TIMER(0), 2 * UNITS), TSC, WRMSR(MSR_CONFIG(0), config | ENABLE),
               HALT(0x31, 5), ELAPSED(row->config ? early : early / 2, LATE), SPIN(0x31, 8), RDMSR(MSR_CONFIG(0)),
               EXPECT_LAST(ONES, config | ENABLE), CLI, WRMSR(MSR_CONFIG(0), 0), STI, EXIT, DELAY(30000));
    uint32_t count;

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    count = apic_area(&vm, 0)->counts[0x31];
    EXPECT_GE(count, 8);
    EXPECT_LE(count, 9); /* one may have been requested as it was stopped */
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x31], count);
}

TEST(stimer_four, "stimer: four at once, and the local APIC's")
{
    APIC_GUEST(vm, &modes[0], 1, WRITE(APIC_LVT_TIMER, 0x35), WRITE(APIC_TIMER_DIV, 0xb),
               WRITE(APIC_TIMER_INIT, 3 * MS), WRMSR(MSR_CONFIG(0), AUTO | DIRECT(0x31ull)),
               WRMSR(MSR_CONFIG(1), AUTO | DIRECT(0x32ull)), WRMSR(MSR_CONFIG(2), AUTO | DIRECT(0x33ull)),
               WRMSR(MSR_CONFIG(3), AUTO | PERIODIC | DIRECT(0x34ull)), RDMSR(MSR_COUNT),
               WRMSR_LAST(MSR_TIMER(2), 6 * UNITS), WRMSR_LAST(MSR_TIMER(1), 4 * UNITS),
               WRMSR_LAST(MSR_TIMER(0), 2 * UNITS), WRMSR(MSR_TIMER(3), UNITS), HALT(0x33, 1), COUNT_IS(0x31, 1),
               COUNT_IS(0x32, 1), COUNT_IS(0x33, 1), COUNT_IS(0x35, 1), HALT(0x34, 6), WRMSR(MSR_TIMER(3), 0));
    EXPECT_SCRIPT_END(&vm);
}

TEST(stimer_short, "stimer: the shortest of periods leaves the guest time to run")
{
    APIC_GUEST(vm, &modes[1], 1, WRMSR(MSR_CONFIG(0), AUTO | PERIODIC | DIRECT(0x31ull)), WRMSR(MSR_TIMER(0), 1),
               SPIN(0x31, 20), HALT(0x31, 40), DELAY(5000), WRMSR(MSR_TIMER(0), 0));
    EXPECT_SCRIPT_END(&vm);
}

/* The second message finds the slot taken, and comes when the guest says that it is free. */
TEST_ROWS(stimer_message, "stimer: messages, and their slot", modes)
{
    APIC_GUEST(vm, row, 1, WRMSR(MSR_SIMP, SIM_PAGE | 1), WRMSR(MSR_SCONTROL, 1), WRMSR(MSR_SINT(2), 0x31),
               WRMSR(MSR_CONFIG(1), SINT(2) | AUTO), RDMSR(MSR_COUNT), WRMSR_LAST(MSR_TIMER(1), 2 * UNITS),
               HALT(0x31, 1), LOAD(SLOT(2)), EXPECT_LAST(ONES, TIMER_EXPIRED), LOAD(SLOT(2) + 4), EXPECT_LAST(ONES, 24),
               LOAD(SLOT(2) + 16), EXPECT_LAST(ONES, 1), RDMSR(MSR_COUNT), WRMSR_LAST(MSR_TIMER(1), UNITS / 10), TSC,
               DELAY(20000), RDMSR(MSR_CONFIG(1)), EXPECT_LAST(1, 0), COUNT_IS(0x31, 1), LOAD(SLOT(2) + 4),
               EXPECT_LAST(ONES, PENDING | 24), SET(SLOT(2), 0), WRMSR(MSR_EOM, 0), SPIN(0x31, 2), LOAD(SLOT(2)),
               EXPECT_LAST(ONES, TIMER_EXPIRED), RDMSR(MSR_TIMER(1)), EXIT, DELAY(10000), COUNT_IS(0x31, 2));
    static uint64_t page[4096 / 8];
    UINT32 written = 0;
    uint64_t count;

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(WHvGetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicMessagePage, page,
                                          sizeof(page), &written));
    count = apic_area(&vm, 0)->last;
    EXPECT_EQ(page[(512 + 24) / 8], count);
    EXPECT_GE(page[(512 + 32) / 8], count);
    EXPECT_LE(page[(512 + 32) / 8], reference_time(&vm));
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
}

TEST(stimer_refused, "stimer: values that the registers refuse")
{
    APIC_GUEST(vm, &modes[1], 1, WRMSR_GP(MSR_COUNT, 0), WRMSR_GP(MSR_TSC_PAGE, 1ull << 52 | 1),
               WRMSR_GP(MSR_CONFIG(0), 1ull << 63), WRMSR_GP(MSR_CONFIG(1), 1ull << 13),
               WRMSR_GP(MSR_CONFIG(2), 1ull << 20), RDMSR_GP(0x400000b8ull), WRMSR(MSR_TIMER(3), 1),
               WRMSR(MSR_CONFIG(3), ENABLE), RDMSR(MSR_CONFIG(3)), EXPECT_LAST(~0ull, 0),
               WRMSR(MSR_CONFIG(3), ENABLE | DIRECT(15ull)), RDMSR(MSR_CONFIG(3)), EXPECT_LAST(ENABLE, 0));
    EXPECT_SCRIPT_END(&vm);
}

TEST(stimer_absent, "stimer: without the features there is nothing of it")
{
    APIC_GUEST(vm, &apic_modes[1], 1, RDMSR_GP(MSR_COUNT), RDMSR_GP(MSR_TSC_PAGE), RDMSR_GP(MSR_CONFIG(0)),
               WRMSR_GP(MSR_TIMER(3), 1));
    uint64_t state[25];

    EXPECT_SCRIPT_END(&vm);
    EXPECT_HR(WHvGetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicTimerState, state,
                                          sizeof(state), NULL),
              ERROR_HV_OPERATION_DENIED);
}

/* As a client saves and restores a machine: the timer that it takes away does not fire, the one it gives back does. */
TEST(stimer_state, "stimer: saved and restored state")
{
    APIC_GUEST(vm, &modes[1], 1, WRMSR(MSR_CONFIG(0), AUTO | DIRECT(0x31ull)), RDMSR(MSR_COUNT),
               WRMSR_LAST(MSR_TIMER(0), 20 * UNITS), EXIT, RDMSR(MSR_CONFIG(0)), EXPECT_LAST(~0ull, 0), EXIT,
               HALT(0x31, 1));
    const uint64_t config = AUTO | ENABLE | DIRECT(0x31ull);
    uint64_t state[25], none[25] = {0}, bad[25] = {0, 1ull << 40};
    const WHV_VIRTUAL_PROCESSOR_STATE_TYPE type = WHvVirtualProcessorStateTypeSynicTimerState;
    UINT32 written = 0;

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_HR(WHvGetVirtualProcessorState(vm.partition, 0, type, NULL, 0, &written), WHV_E_INSUFFICIENT_BUFFER);
    EXPECT_EQ(written, sizeof(state));
    REQUIRE(EXPECT_OK(WHvGetVirtualProcessorState(vm.partition, 0, type, state, sizeof(state), &written)));
    EXPECT_EQ(state[1], config);
    EXPECT_HR(WHvSetVirtualProcessorState(vm.partition, 0, type, bad, sizeof(bad)), E_INVALIDARG);
    EXPECT_HR(WHvSetVirtualProcessorState(vm.partition, 0, type, none, sizeof(none) - 1), E_INVALIDARG);
    EXPECT_OK(WHvSetVirtualProcessorState(vm.partition, 0, type, none, sizeof(none)));
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x31], 0);
    EXPECT_OK(WHvSetVirtualProcessorState(vm.partition, 0, type, state, sizeof(state)));
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
}
