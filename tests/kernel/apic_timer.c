/* SPDX-License-Identifier: MIT */
/* The local APIC's timer, with HLT inside the run; and the TSC that it and the guest go by. */
#include "apic.h"

#define ONES     0xffffffffull
#define MS       1000000ull
#define ONE_SHOT 0x00000ull
#define PERIODIC 0x20000ull
#define BY_TSC   0x40000ull
#define MASKED   0x10000ull
#define LATE     (2000 * MS) /* a slow engine on a busy machine */
#define WAIT_NS  (16 * MS)   /* which must not be over when the guest looks at the count */

static const struct {
    const char *name;
    uint64_t div, count;
} counts[] = {
    {"by 1", 0xb, WAIT_NS}, {"by 2", 0x0, WAIT_NS / 2}, {"by 16", 0x3, WAIT_NS / 16}, {"by 128", 0xa, WAIT_NS / 128}};

/* Fires once, not before its time, and then stands at 0. */
static void one_shot(const struct apic_mode *mode, uint64_t div, uint64_t count)
{
    const uint64_t early = apic_ticks(WAIT_NS - WAIT_NS / 200), late = apic_ticks(LATE);

    APIC_GUEST(vm, mode, 1, WRITE(APIC_LVT_TIMER, ONE_SHOT | 0x31), WRITE(APIC_TIMER_DIV, div), TSC,
               WRITE(APIC_TIMER_INIT, count), READ(APIC_TIMER_CUR), AT_LEAST(ONES, 1), HALT(0x31, 1),
               ELAPSED(early, late), READ(APIC_TIMER_CUR), EXPECT_LAST(ONES, 0), DELAY(20000), COUNT_IS(0x31, 1),
               WRITE(APIC_TIMER_INIT, count), SPIN(0x31, 2), WRITE(APIC_TIMER_INIT, count), WRITE(APIC_TIMER_INIT, 0),
               TSC, DELAY(20000), COUNT_IS(0x31, 2));
    EXPECT_SCRIPT_END(&vm);
}

TEST_ROWS(apic_timer_one_shot, "apic: xAPIC: timer, one-shot", counts)
{
    one_shot(&apic_modes[0], row->div, row->count);
}

TEST_ROWS(apic_timer_one_shot_x2apic, "apic: x2APIC: timer, one-shot", counts)
{
    one_shot(&apic_modes[1], row->div, row->count);
}

TEST_ROWS(apic_timer_periodic, "apic: timer, periodic", apic_modes)
{
    const uint64_t early = apic_ticks(10 * MS - MS / 100), late = apic_ticks(LATE);

    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_TIMER, PERIODIC | 0x31), WRITE(APIC_TIMER_DIV, 0xb), TSC,
               WRITE(APIC_TIMER_INIT, 2 * MS), HALT(0x31, 5), ELAPSED(early, late), SPIN(0x31, 8),
               READ(APIC_TIMER_INIT), EXPECT_LAST(ONES, 2 * MS), CLI, WRITE(APIC_TIMER_INIT, 0), READ(APIC_TIMER_CUR),
               EXPECT_LAST(ONES, 0), STI, EXIT, DELAY(30000));
    uint32_t count;

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    count = apic_area(&vm, 0)->counts[0x31];
    EXPECT_GE(count, 8);
    EXPECT_LE(count, 9); /* one may have been requested as it was stopped */
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x31], count);
}

/* Another mode's registers are 0 and take nothing; a deadline of the past fires at once. */
TEST_ROWS(apic_timer_deadline, "apic: timer, TSC deadline", apic_modes)
{
    const uint64_t early = apic_ticks(WAIT_NS), late = apic_ticks(LATE);

    APIC_GUEST(vm, row, 1, DEADLINE(early), RDMSR(MSR_TSC_DEADLINE), EXPECT_LAST(~0ull, 0),
               WRITE(APIC_LVT_TIMER, BY_TSC | 0x31), TSC, DEADLINE(early), RDMSR(MSR_TSC_DEADLINE), AT_LEAST(~0ull, 1),
               WRITE(APIC_TIMER_INIT, 1000), READ(APIC_TIMER_CUR), EXPECT_LAST(ONES, 0), HALT(0x31, 1),
               ELAPSED(early, late), RDMSR(MSR_TSC_DEADLINE), EXPECT_LAST(~0ull, 0), TSC, DEADLINE(early),
               SPIN(0x31, 2), ELAPSED(early, late), WRMSR(MSR_TSC_DEADLINE, 1), SPIN(0x31, 3), DEADLINE(early),
               WRMSR(MSR_TSC_DEADLINE, 0), DELAY(20000), COUNT_IS(0x31, 3), DEADLINE(early),
               WRITE(APIC_LVT_TIMER, ONE_SHOT | 0x31), RDMSR(MSR_TSC_DEADLINE), EXPECT_LAST(~0ull, 0), DELAY(20000),
               COUNT_IS(0x31, 3));
    EXPECT_SCRIPT_END(&vm);
}

TEST_ROWS(apic_timer_masked, "apic: timer, masked", apic_modes)
{
    APIC_GUEST(vm, row, 1, STI, WRITE(APIC_LVT_TIMER, MASKED | 0x31), WRITE(APIC_TIMER_DIV, 0xb),
               WRITE(APIC_TIMER_INIT, MS / 10), DELAY(20000), READ(APIC_TIMER_CUR), EXPECT_LAST(ONES, 0),
               COUNT_IS(0x31, 0), READ(BANK(APIC_IRR, 0x31)), EXPECT_LAST(ONES, 0));
    EXPECT_SCRIPT_END(&vm);
}

/* The timer's interrupt comes however the guest waits for it, and from inside a loop with interrupts on. */
TEST_ROWS(apic_timer_many, "apic: timer, 100 in a row", apic_modes)
{
    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_TIMER, PERIODIC | 0x31), WRITE(APIC_TIMER_DIV, 0xb),
               WRITE(APIC_TIMER_INIT, MS / 2), HALT(0x31, 50), SPIN(0x31, 100), WRITE(APIC_TIMER_INIT, 0));
    EXPECT_SCRIPT_END(&vm);
}

/* -------------------------------------------------------------------------------- the clocks */

/* Leaf 15H says what the timer's clock is, and by it the TSC's rate, to a reader with 32 bits. */
TEST(apic_clocks, "apic: CPUID tells of the timer's clock and the TSC's")
{
    WHV_CPUID_OUTPUT out, one;
    WHV_CAPABILITY hz;
    uint64_t told;
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 1));
    EXPECT_OK(WHvGetVirtualProcessorCpuidOutput(vm.partition, 0, 1, 0, &one));
    EXPECT_EQ(one.Ecx >> 24 & 1, 1); /* TSC deadline */
    EXPECT_EQ(one.Ecx >> 21 & 1, 1); /* x2APIC */
    EXPECT_OK(WHvGetVirtualProcessorCpuidOutput(vm.partition, 0, 6, 0, &out));
    EXPECT_EQ(out.Eax >> 2 & 1, 1); /* ARAT */
    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeInterruptClockFrequency, &hz, sizeof(hz), NULL));
    if (vm_has_other_msrs())
        SKIP("guests of this CPU's make do not look at CPUID 15H");
    EXPECT_OK(WHvGetVirtualProcessorCpuidOutput(vm.partition, 0, 0x15, 0, &out));
    REQUIRE(EXPECT_EQ(out.Ecx, hz.InterruptClockFrequency));
    REQUIRE(EXPECT_GE(out.Eax, 1));
    told = (uint64_t)out.Ecx / 1000 * out.Ebx;
    EXPECT_LE(told, 0xffffffff);
    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorClockFrequency, &hz, sizeof(hz), NULL));
    EXPECT_LE(told / out.Eax, hz.ProcessorClockFrequency / 1000 + hz.ProcessorClockFrequency / 8000000 + 1);
    EXPECT_GE(told / out.Eax + 1, hz.ProcessorClockFrequency / 1000 - hz.ProcessorClockFrequency / 8000000);
}

static const struct {
    const char *name;
    bool on_one;
} places[] = {{"on one CPU", true}, {"each on its own, where there are two", false}};

/*
 * Each waits for the other in a loop with PAUSE: on one CPU it has to give way. The TSC that comes with the turn is
 * never ahead of who takes it.
 */
TEST_ROWS(apic_pass, "apic: two VPs pass a turn on 200 times, TSCs in step", places)
{
    static struct runner r[2];
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 2));
    SCRIPT(&vm, 0, PASS(WORD(0), 100));
    SCRIPT(&vm, 1, PASS(WORD(0), 100));
    for (uint32_t i = 0; i < 2; i++)
        REQUIRE(runner_start(&r[i], &vm, i, row->on_one ? other_cpu() : thread_cpu(i)));
    EXPECT_RUNNER_END(&r[0]);
    EXPECT_RUNNER_END(&r[1]);
    EXPECT_EQ(*vm_u32(&vm, WORD(0)), 200);
}
