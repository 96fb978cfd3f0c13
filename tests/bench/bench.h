/* SPDX-License-Identifier: MIT */
/*
 * Costs, counted: the program `bench` of the image goes through the table of figures (figures.c) and prints a line for
 * each. Where a tick of the TSC is an instruction (see README.md), a figure is a count that repeats.
 */
#ifndef BENCH_H
#define BENCH_H

#include "../kernel/apic.h"
#include "../kernel/test.h"
#include "../kernel/vm.h"

/* What it takes: each run of the program is on one such machine. */
enum bench_machine { ON_ONE_CPU, ON_TWO_CPUS, WITH_DEVICE, WITH_DELIVERY };

struct figure {
    const char *name;
    void (*measure)(const struct figure *f);
    uint32_t rounds;
    const void *what; /* for measure */
    enum bench_machine machine;
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
    const char *guest, *guest_svm;                 /* of tests/bench/; guest_svm: instead of it on such CPUs */
    void (*configure)(struct vm *vm);              /* properties */
    const struct apic_mode *apic;                  /* instead: a machine of tests/kernel/apic.h */
    const char *handler;                           /* of its interrupts */
    bool (*prepare)(struct vm *vm);                /* memory, registers */
    void (*serve)(struct vm *vm);                  /* runs VP 0 until BENCH_END_PORT; NULL: nothing else exits */
    bool (*check)(struct vm *vm, uint64_t rounds); /* afterwards: what is measured has happened so often */
};

void bench_guest(const struct figure *f); /* what: its loop */
void bench_clock(const struct figure *f);

static inline bool guest_ends(const struct vm *vm)
{
    return vm->exit.ExitReason != WHvRunVpExitReasonX64IoPortAccess ||
           vm->exit.IoPortAccess.PortNumber == BENCH_END_PORT;
}

/* What a client does at least: runs the VP until it is at a port other than the end's; goes on behind the instruction.
 */
bool client_run(struct vm *vm);
void client_set_rip(struct vm *vm);

extern const struct apic_mode synthetic_mode; /* x2APIC with all of the hypervisor's interface */
HRESULT synthetic_post(struct vm *vm);        /* a message to VP 0 of such a machine */

/* exits.c */
extern const struct guest_loop loop_cpuid, loop_rdmsr, loop_wrmsr, loop_vmcall, loop_cr0_wp, loop_cr4_pge;
/* client.c */
extern const struct guest_loop loop_out, loop_in, loop_outs, loop_mmio_read, loop_mmio_write, loop_hypercall_exit,
    loop_cpuid_exit, loop_msr_exit, loop_breakpoint_exit;
/* doorbell.c */
extern const struct guest_loop loop_bell_port, loop_bell_mmio;
/* apic.c */
extern const struct guest_loop loop_self_xapic, loop_self_halt_xapic, loop_self_x2apic, loop_self_halt_x2apic,
    loop_deadline_passed, loop_deadline_ahead, loop_eoi_xapic, loop_eoi_x2apic, loop_request;
/* synthetic.c */
extern const struct guest_loop loop_clock_msr, loop_clock_page, loop_flush, loop_message;

/* device.c */
extern const struct guest_loop loop_device;

/* ---------------------------------------------- processors on threads of their own (remote.c) */

/* What the host does to one that runs or halts. */
struct remote_call {
    const char *guest;
    const struct apic_mode *mode;
    const char *handler;
    void (*call)(struct vm *vm);
    bool is_halted;
};

void bench_remote(const struct figure *f); /* what: the call */
void bench_cancel(const struct figure *f);
void bench_ipi_running(const struct figure *f);
void bench_ipi_halted(const struct figure *f);

extern const struct remote_call remote_request_halted, remote_request_running, remote_post_halted, remote_post_running;

/* ------------------------------------------------------------------ calls of the host's (host.c) */

/* What is called once each round, and what is done besides without being measured: before each, first and last. */
struct host_call {
    bool (*create)(struct vm *vm);
    void (*before)(struct vm *vm);
    void (*call)(struct vm *vm);
    void (*delete)(struct vm *vm);
    uint32_t count; /* how many of what the figure is of: 0 is 1 */
};

void bench_host(const struct figure *f);

extern const struct host_call call_run_cancelled, call_cancel, call_create;
extern const struct host_call call_get_1, call_get_16, call_get_18, call_get_64;
extern const struct host_call call_set_1, call_set_16, call_set_18, call_set_64;
/* memory.c */
extern const struct host_call call_map_8m, call_map_4k, call_unmap_4k, call_map_2m, call_unmap_2m, call_dirty;

/* memory.c: bytes of the host's that these take */
void bench_memory_partition(const struct figure *f);
void bench_memory_vp(const struct figure *f);
void bench_memory_map_2m(const struct figure *f);
void bench_memory_map_4k(const struct figure *f);

#endif
