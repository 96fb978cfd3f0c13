/* SPDX-License-Identifier: MIT */
/*
 * What is done to a virtual processor that runs or halts on a thread of its own. With one CPU it halts, and the host
 * sees it halt again; with several it is on another one, and what is measured is no number of instructions.
 */
#include "bench.h"
#include <kernel/clock.h>

#define COUNTER 0x5000u  /* COUNT of loop.inc */
#define BEATS   0x5040u  /* of remote.asm */
#define OTHER   0x20000u /* the other VP's code */
#define VECTOR  0x41u
#define LIMIT_S 10u

static uint32_t word(struct vm *vm, uint32_t at)
{
    return *(volatile uint32_t *)vm_at(vm, at);
}

/* Not in this thread's turn when there is but one CPU. */
static bool wait_other(struct vm *vm, uint32_t at, uint32_t from)
{
    for (uint64_t end = bench_tsc() + LIMIT_S * clock_tsc_hz(); word(vm, at) == from;) {
        if (bench_tsc() > end)
            return FAIL("nothing happens"), false;
        if (thread_cpus() < 2)
            thread_yield();
        else
            __asm__ volatile("pause");
    }
    return true;
}

static bool start(struct runner *r, struct vm *vm, uint32_t index)
{
    return runner_start(r, vm, index, other_cpu()) && wait_other(vm, BEATS, 0);
}

static void stop(struct runner *r)
{
    EXPECT_CANCEL(r);
}

static void request(struct vm *vm)
{
    const WHV_INTERRUPT_CONTROL control = {.Type = WHvX64InterruptTypeFixed, .Destination = 0, .Vector = VECTOR};

    WHvRequestInterrupt(vm->partition, &control, sizeof(control));
}

static void post(struct vm *vm)
{
    if (synthetic_post(vm) != S_OK)
        FAIL("posting fails");
}

/* -------------------------------------------------------------------------- from the host */

const struct remote_call remote_request_halted = {"bench_halt", &apic_modes[1], "bench_handler_x2apic", request, true};
const struct remote_call remote_request_running = {"bench_run", &apic_modes[1], "bench_handler_x2apic", request, false};
const struct remote_call remote_post_halted = {"bench_halt_synic", &synthetic_mode, "bench_handler_message", post,
                                               true};
const struct remote_call remote_post_running = {"bench_run_synic", &synthetic_mode, "bench_handler_message", post,
                                                false};

/* Until the handler has counted; who halts, until he is about to do so again. */
static uint64_t one(struct vm *vm, const struct remote_call *c)
{
    uint32_t at = c->is_halted && thread_cpus() < 2 ? BEATS : COUNTER, from = word(vm, at);
    uint64_t begin = bench_tsc();

    c->call(vm);
    return wait_other(vm, at, from) ? bench_tsc() - begin : 0;
}

/* Time to halt again, unmeasured. */
static void settle(struct vm *vm, const struct remote_call *c, uint32_t beats)
{
    if (!c->is_halted)
        return;
    wait_other(vm, BEATS, beats);
    thread_sleep_ns(20000);
}

static uint64_t rounds_of(struct vm *vm, const struct remote_call *c, uint32_t rounds)
{
    uint64_t ticks = 0;

    while (rounds-- && !test_failed()) {
        uint32_t beats = word(vm, BEATS);

        ticks += one(vm, c);
        settle(vm, c, beats);
    }
    return ticks;
}

void bench_remote(const struct figure *f)
{
    const struct remote_call *c = f->what;
    struct runner r;
    uint64_t ticks;
    VM(vm);

    REQUIRE(apic_create(&vm, c->mode, 1) && apic_set_handler(&vm, c->handler) && vm_load(&vm, c->guest));
    REQUIRE(start(&r, &vm, 0));
    rounds_of(&vm, c, 16);
    bench_begin(f, (uintptr_t)c->call);
    ticks = rounds_of(&vm, c, bench_rounds(f));
    stop(&r);
    if (!test_failed())
        bench_ticks(f, ticks, bench_rounds(f));
}

/* A run that goes on is ended: until its call has returned. */
void bench_cancel(const struct figure *f)
{
    struct runner r;
    uint64_t ticks = 0;
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 1) && vm_load(&vm, "bench_run"));
    for (uint32_t i = 0; i < f->rounds && !test_failed(); i++) {
        uint32_t beats = word(&vm, BEATS);
        uint64_t begin;

        REQUIRE(runner_start(&r, &vm, 0, other_cpu()) && wait_other(&vm, BEATS, beats));
        begin = bench_tsc();
        WHvCancelRunVirtualProcessor(vm.partition, 0, 0);
        while (!__atomic_load_n(&r.ended, __ATOMIC_ACQUIRE))
            __asm__ volatile("pause");
        ticks += bench_tsc() - begin;
        EXPECT_RUNNER_EXIT(&r, Canceled);
    }
    bench_ticks(f, ticks, f->rounds);
}

/* --------------------------------------------------------------- from one VP to the other */

static void measure_ipi(const struct figure *f, const char *other)
{
    struct runner r;
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 2) && apic_set_handler(&vm, "bench_handler_x2apic"));
    REQUIRE(vm_load_at(&vm, other, 64, OTHER));
    vm_set_vp(&vm, 1, WHvX64RegisterRip, OTHER);
    REQUIRE(start(&r, &vm, 1) && vm_load(&vm, "bench_ipi"));
    for (unsigned i = 0; i < 2; i++) { /* the first to warm up */
        vm_set(&vm, WHvX64RegisterRip, VM_CODE);
        vm_set(&vm, WHvX64RegisterR10, f->rounds);
        vm_set(&vm, WHvX64RegisterR12, f->rounds);
        EXPECT_EXIT(&vm, X64IoPortAccess);
    }
    stop(&r);
    if (!test_failed())
        bench_ticks(f, vm_get(&vm, WHvX64RegisterR15) - vm_get(&vm, WHvX64RegisterR14), f->rounds);
}

void bench_ipi_running(const struct figure *f)
{
    measure_ipi(f, "bench_run");
}

void bench_ipi_halted(const struct figure *f)
{
    measure_ipi(f, "bench_halt");
}
