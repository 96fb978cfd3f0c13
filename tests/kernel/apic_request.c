/* SPDX-License-Identifier: MIT */
/* Interrupts by the client, what it hears of them, and the local APIC's state as it sees it. */
#include "apic.h"
#include <kernel/clock.h>
#include <kernel/memory.h>

#define ONES  0xffffffffull
#define READY WORD(0)

/* -------------------------------------------------------------------------------- messages */

static const struct request_row {
    const char *name;
    WHV_INTERRUPT_TYPE type;
    bool is_logical;
    uint32_t destination; /* 0xffffffff: the mode's broadcast */
    uint8_t vector;
    uint8_t counted; /* the vector that comes */
} requests[] = {
    {"fixed", WHvX64InterruptTypeFixed, false, 0, 0x51, 0x51},
    {"fixed, highest vector", WHvX64InterruptTypeFixed, false, 0, 0xff, 0xff},
    {"fixed, logical", WHvX64InterruptTypeFixed, true, 1, 0x51, 0x51},
    {"fixed, broadcast", WHvX64InterruptTypeFixed, false, 0xffffffff, 0x51, 0x51},
    {"lowest priority", WHvX64InterruptTypeLowestPriority, true, 1, 0x51, 0x51},
    {"NMI", WHvX64InterruptTypeNmi, false, 0, 0, 2},
};

static HRESULT request(struct vm *vm, const struct apic_mode *mode, const struct request_row *r)
{
    uint32_t destination = r->destination == ~0u && !mode->is_x2apic ? 0xff : r->destination;

    return apic_request(vm, r->type, r->is_logical, false, destination, r->vector);
}

static void set_waiter(struct vm *vm, const struct apic_mode *mode, const struct request_row *r, bool halts)
{
    const uint64_t ldr = mode->is_x2apic ? APIC_TPR : APIC_LDR;
    const struct apic_op wait = halts ? (struct apic_op)HALT(r->counted, 1) : (struct apic_op)SPIN(r->counted, 1);

    SCRIPT(vm, 0, WRITE(ldr, mode->is_x2apic ? 0 : 0x01000000), STI, SET(READY, 1), wait, DELAY(100),
           COUNT_IS(r->counted, 1));
}

/* To a VP that runs, one that halts, and one that is not being run: it has it when it is. */
static void request_to(const struct apic_mode *mode, const struct request_row *r, bool halts)
{
    static struct runner runner;
    VM(vm);

    REQUIRE(apic_create(&vm, mode, 1));
    set_waiter(&vm, mode, r, halts);
    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&runner, &vm, 0, other_cpu()));
    if (apic_wait_word(&vm, READY, 1)) {
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(runner.ended, 0);
        EXPECT_OK(request(&vm, mode, r));
    }
    EXPECT_RUNNER_END(&runner);
    thread_set_cpu(CPU_ANY);
}

TEST_ROWS(apic_request_spin_xapic, "apic: xAPIC: WHvRequestInterrupt to a VP that spins", requests)
{
    request_to(&apic_modes[0], row, false);
}

TEST_ROWS(apic_request_spin_x2apic, "apic: x2APIC: WHvRequestInterrupt to a VP that spins", requests)
{
    request_to(&apic_modes[1], row, false);
}

TEST_ROWS(apic_request_halt_xapic, "apic: xAPIC: WHvRequestInterrupt to a VP that halts", requests)
{
    request_to(&apic_modes[0], row, true);
}

TEST_ROWS(apic_request_halt_x2apic, "apic: x2APIC: WHvRequestInterrupt to a VP that halts", requests)
{
    request_to(&apic_modes[1], row, true);
}

TEST_ROWS(apic_request_before, "apic: WHvRequestInterrupt to a VP that is not being run", apic_modes)
{
    APIC_GUEST(vm, row, 1, EXIT, STI, DELAY(100), COUNT_IS(0x51, 1), COUNT_IS(0xe1, 1), COUNT_IS(2, 1));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    for (unsigned i = 0; i < 2; i++)
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x51));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0xe1));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeNmi, false, false, 0, 0));
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 2, 0x102, 0xe1, 0x1e1, 0x51, 0x151);
}

TEST_ROWS(apic_request_wrong, "apic: WHvRequestInterrupt: types and vectors that are none", apic_modes)
{
    static const uint8_t bad_types[] = {2, 3, 10, 0x80, 0xff};
    APIC_GUEST(vm, row, 1, STI, DELAY(200), COUNT_IS(0x51, 0), COUNT_IS(2, 0));

    for (size_t i = 0; i < COUNT(bad_types); i++)
        EXPECT_HR(apic_request(&vm, (WHV_INTERRUPT_TYPE)bad_types[i], false, false, 0, 0x51), E_INVALIDARG);
    EXPECT_HR(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 15), E_INVALIDARG);
    EXPECT_HR(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 256), E_INVALIDARG);
    EXPECT_HR(apic_request(&vm, WHvX64InterruptTypeLowestPriority, false, false, 0, 0), E_INVALIDARG);
    EXPECT_HR(apic_request(&vm, WHvX64InterruptTypeSipi, false, false, 0, 0x1000), E_INVALIDARG);
    for (uint8_t type = WHvxInterruptTypeExtInt; type <= WHvX64InterruptTypeLocalInt1; type++)
        EXPECT_HR(apic_request(&vm, (WHV_INTERRUPT_TYPE)type, false, false, 0, 256), E_INVALIDARG);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 5, 0x51)); /* to nobody */
    EXPECT_SCRIPT_END(&vm);
}

/* ----------------------------------------------------------------------- level-triggered ones */

static void check_eoi(struct vm *vm, uint32_t vector)
{
    if (!EXPECT_EXIT(vm, X64ApicEoi))
        return;
    EXPECT_EQ(vm->exit.ApicEoi.InterruptVector, vector);
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, 0);
}

/* The client hears of the EOI of each level-triggered interrupt, and of no other's. TMR keeps which it was. */
TEST_ROWS(apic_level, "apic: the EOI of a level-triggered interrupt exits", apic_modes)
{
    APIC_GUEST(vm, row, 1, EXIT, STI, HALT(0x61, 1), READ(BANK(APIC_TMR, 0x61)), EXPECT_LAST(ONES, BIT_OF(0x61)),
               READ(BANK(APIC_ISR, 0x61)), EXPECT_LAST(ONES, 0), SPIN(0x61, 2), EXIT, SPIN(0x61, 3),
               READ(BANK(APIC_TMR, 0x61)), EXPECT_LAST(ONES, 0));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, true, 0, 0x61));
    check_eoi(&vm, 0x61);
    EXPECT_EQ(apic_area(&vm, 0)->logged, 1); /* the handler goes on behind its EOI */
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, true, 0, 0x61));
    check_eoi(&vm, 0x61);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x61));
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x61, 0x161, 0x61, 0x161, 0x61, 0x161);
}

TEST_ROWS(apic_level_nested, "apic: EOIs of nested interrupts are those of their vectors", apic_modes)
{
    APIC_GUEST(vm, row, 1, EXIT, STI, SPIN(0x51, 1), SPIN(0x41, 1), DELAY(100));

    apic_area(&vm, 0)->expected = 0x51;
    apic_area(&vm, 0)->send = SELF | 0x41;
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, true, 0, 0x51));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, true, 0, 0x81));
    check_eoi(&vm, 0x81);
    check_eoi(&vm, 0x51);
    EXPECT_SCRIPT_END(&vm); /* none for 0x41 */
    EXPECT_LOG(&vm, 0, 0x81, 0x181, 0x51, 0x151, 0x41, 0x141);
}

/* ---------------------------------------------------------------------------- HLT and cancels */

/* Its HLT has exited; a busy machine takes its time. */
static bool has_halted(const struct vm *vm)
{
    WHV_PROCESSOR_ACTIVITY_COUNTERS counters;
    UINT32 written;

    for (unsigned ms = 0; ms < 10000; ms++) {
        if (WHvGetVirtualProcessorCounters(vm->partition, 0, WHvProcessorCounterSetIntercepts, &counters,
                                           sizeof(counters), &written) != S_OK)
            return false;
        if (counters.HaltInstructions.Count)
            return true;
        thread_sleep_ns(NS_PER_MS);
    }
    return false;
}

TEST_ROWS(apic_halt_cancel, "apic: a cancel ends HLT's run, and the next one halts on", apic_modes)
{
    static struct runner r;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 1));
    SCRIPT(&vm, 0, SET(READY, 1), HALT(0x51, 1));
    thread_set_cpu(thread_cpu(0));
    for (unsigned i = 0; i < 3; i++) {
        REQUIRE(runner_start(&r, &vm, 0, other_cpu()));
        if (!EXPECT(has_halted(&vm)))
            break;
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(r.ended, 0);
        EXPECT_CANCEL(&r);
        EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 2); /* HaltSuspend */
    }
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x51));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x51], 1);
    thread_set_cpu(CPU_ANY);
}

/* With interrupts off only an NMI ends HLT; what was requested meanwhile comes when they are on. */
TEST_ROWS(apic_halt_off, "apic: HLT with interrupts off", apic_modes)
{
    static struct runner r;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 1));
    SCRIPT(&vm, 0, CLI, SET(READY, 1), REST, COUNT_IS(2, 1), COUNT_IS(0x51, 0), STI, SPIN(0x51, 1));
    REQUIRE(runner_start(&r, &vm, 0, CPU_ANY));
    if (apic_wait_word(&vm, READY, 1)) {
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x51));
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(r.ended, 0);
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeNmi, false, false, 0, 0));
    }
    EXPECT_RUNNER_END(&r);
    EXPECT_LOG(&vm, 0, 2, 0x102, 0x51, 0x151);
}

/* INIT stops a VP that runs, and SIPI starts it elsewhere. */
TEST_ROWS(apic_request_restart, "apic: WHvRequestInterrupt: INIT and SIPI to a running VP", apic_modes)
{
    static struct runner r;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2));
    SCRIPT(&vm, 1, SET(READY, 1), WAIT(WORD(1), 1));
    REQUIRE(runner_start(&r, &vm, 1, CPU_ANY));
    if (apic_wait_word(&vm, READY, 1)) {
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeInit, false, false, 1, 0));
        thread_sleep_ns(5 * NS_PER_MS);
        *vm_u32(&vm, WORD(1)) = 1;
        *vm_u32(&vm, READY) = 0;
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(r.ended, 0);
        EXPECT_EQ(*vm_u32(&vm, READY), 0);
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeSipi, false, false, 1, SIPI_VECTOR));
    }
    EXPECT_RUNNER_END(&r);
    EXPECT_EQ(*vm_u32(&vm, READY), 1);
}

/* ------------------------------------------------------------------------------------ state */

static uint8_t page[PAGE_SIZE], again[PAGE_SIZE];

static uint32_t in_page(uint32_t offset)
{
    uint32_t value;

    memcpy(&value, page + offset, sizeof(value));
    return value;
}

static void get_page(struct vm *vm, uint8_t *to)
{
    UINT32 written = 0;

    memset(to, 0xee, PAGE_SIZE);
    EXPECT_OK(WHvGetVirtualProcessorInterruptControllerState2(vm->partition, 0, to, PAGE_SIZE, &written));
    EXPECT_EQ(written, PAGE_SIZE);
}

/* Everything goes along: what is requested, in service and masked, the priority and the timer. */
TEST_ROWS(apic_state, "apic: state goes from one VP to another", apic_modes)
{
    uint8_t zeros[64] = {0};
    uint64_t base;
    UINT32 written = 0;
    VM(other);
    APIC_GUEST(vm, row, 1, WRITE(APIC_TPR, 0x60), WRITE(APIC_LVT_ERROR, 0xf3), WRITE(APIC_LVT_TIMER, 0x31), CLI,
               ICR(SELF | 0x51), ICR(SELF | 0xa1), WRITE(APIC_TIMER_DIV, 0xb), WRITE(APIC_TIMER_INIT, 3000000));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_HR(WHvGetVirtualProcessorInterruptControllerState2(vm.partition, 0, page, 100, &written),
              WHV_E_INSUFFICIENT_BUFFER);
    EXPECT_EQ(written, PAGE_SIZE);
    get_page(&vm, page);
    base = vm_get(&vm, WHvX64RegisterApicBase);
    EXPECT_EQ(in_page(APIC_TPR), 0x60);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr8), 6);
    EXPECT_EQ(in_page(APIC_SVR), 0x1ff);
    EXPECT_EQ(in_page(APIC_LVT_ERROR), 0xf3);
    EXPECT_EQ(in_page(BANK(APIC_IRR, 0x51)), BIT_OF(0x51));
    EXPECT_EQ(in_page(BANK(APIC_IRR, 0xa1)), BIT_OF(0xa1));
    EXPECT_LE(in_page(APIC_TIMER_CUR), 3000000);
    for (uint32_t at = 1024; at < PAGE_SIZE; at += sizeof(zeros))
        EXPECT_BYTES(page + at, zeros, sizeof(zeros));

    REQUIRE(apic_create(&other, row, 1));
    BARE_SCRIPT(&other, 0, READ(APIC_TPR), EXPECT_LAST(ONES, 0x60), RDCR8, EXPECT_LAST(ONES, 6), STI, SPIN(0xa1, 1),
                DELAY(100), COUNT_IS(0x51, 0), CR8(0), SPIN(0x51, 1), HALT(0x31, 1));
    vm_set(&other, WHvX64RegisterApicBase, base);
    EXPECT_OK(WHvSetVirtualProcessorInterruptControllerState2(other.partition, 0, page, PAGE_SIZE));
    get_page(&other, again);
    memcpy(again + APIC_TIMER_CUR, page + APIC_TIMER_CUR, 4); /* goes on meanwhile */
    EXPECT_EQ(memcmp(page, again, PAGE_SIZE), 0);
    EXPECT_SCRIPT_END(&other);
    EXPECT_LOG(&other, 0, 0xa1, 0x1a1, 0x51, 0x151, 0x31, 0x131);
}

/* The first form of the state is for giving back only; so is the state type of WHvGetVirtualProcessorState. */
TEST_ROWS(apic_state_forms, "apic: the other functions of the state", apic_modes)
{
    const WHV_VIRTUAL_PROCESSOR_STATE_TYPE type = WHvVirtualProcessorStateTypeInterruptControllerState2;
    UINT32 written = 0;
    APIC_GUEST(vm, row, 1, CLI, ICR(SELF | 0x51), EXIT, STI, SPIN(0x51, 1), EXIT, STI, SPIN(0x51, 2), EXIT, STI,
               DELAY(100), COUNT_IS(0x51, 2));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(WHvGetVirtualProcessorState(vm.partition, 0, type, again, PAGE_SIZE, &written));
    EXPECT_EQ(written, PAGE_SIZE);
    EXPECT_OK(WHvGetVirtualProcessorInterruptControllerState(vm.partition, 0, page, sizeof(page), &written));
    EXPECT_LE(written, sizeof(page));
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(WHvSetVirtualProcessorInterruptControllerState(vm.partition, 0, page, written));
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(WHvSetVirtualProcessorState(vm.partition, 0, type, again, PAGE_SIZE));
    get_page(&vm, page);
    EXPECT_EQ(in_page(BANK(APIC_IRR, 0x51)), BIT_OF(0x51));
    memset(page + BANK(APIC_IRR, 0x51), 0, 4); /* taken back */
    EXPECT_OK(WHvSetVirtualProcessorInterruptControllerState2(vm.partition, 0, page, PAGE_SIZE));
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
}
