/* SPDX-License-Identifier: MIT */
/*
 * Costs, counted: the program `bench` of the image goes through the table of figures (figures.c) and prints a line for
 * each. Where a tick of the TSC is an instruction (see README.md), a figure is a count that repeats.
 */
#ifndef BENCH_H
#define BENCH_H

#include "../kernel/test.h"
#include "../kernel/vm.h"

struct figure {
    const char *name;
    void (*measure)(const struct figure *f);
    uint32_t rounds;
    const void *what; /* for measure */
};

extern const struct figure figures[];
extern const size_t figure_count;

/* The rounds to measure: the figure's, or as many as a profiler wants to see (rounds=N). */
uint32_t bench_rounds(const struct figure *f);
bool bench_is_profile(void);

/* Just before the measured rounds. loop: an address, of the guest's or of ours, that each of them comes by once. */
void bench_begin(const struct figure *f, uint64_t loop);

/* The result: so many ticks for all rounds, or another value as it is; unit is the one in ceilings.csv. */
void bench_ticks(const struct figure *f, uint64_t ticks, uint64_t rounds);
void bench_value(const struct figure *f, uint64_t value);
void bench_absent(const struct figure *f, const char *reason); /* this machine has no such thing */

static inline uint64_t bench_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

/* ------------------------------------------------------------- loops in the guest (guest.c) */

#define BENCH_END_PORT  0xf4u
#define BENCH_TEST_PORT 0x1234u

struct guest_loop {
    const char *guest, *guest_svm;    /* of tests/bench/; guest_svm: instead of it on such CPUs */
    void (*configure)(struct vm *vm); /* properties */
    bool (*prepare)(struct vm *vm);   /* memory, registers */
    void (*serve)(struct vm *vm);     /* runs VP 0 until BENCH_END_PORT, NULL: there are no other exits */
};

void bench_guest(const struct figure *f);

/* Runs VP 0 until it exits; false with the run failed when that is not by that reason. */
bool guest_exits(struct vm *vm, WHV_RUN_VP_EXIT_REASON reason);
static inline bool guest_ends(const struct vm *vm)
{
    return vm->exit.ExitReason != WHvRunVpExitReasonX64IoPortAccess ||
           vm->exit.IoPortAccess.PortNumber == BENCH_END_PORT;
}

/* the loops of figures.c */
extern const struct guest_loop loop_cpuid, loop_rdmsr, loop_wrmsr, loop_vmcall, loop_cr0_wp, loop_cr4_pge; /* exits.c */
extern const struct guest_loop loop_out, loop_in; /* client.c */

/* ------------------------------------------------------------------ calls of the host's (host.c) */

/* What is called once each round, and what is done besides without being measured: before each, first and last. */
struct host_call {
    bool (*create)(struct vm *vm);
    void (*before)(struct vm *vm);
    void (*call)(struct vm *vm);
    void (*delete)(struct vm *vm);
};

void bench_host(const struct figure *f);

extern const struct host_call call_run_cancelled, call_cancel, call_get_18, call_set_18, call_map_8m, call_create;

#endif
