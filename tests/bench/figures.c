/* SPDX-License-Identifier: MIT */
/* All figures, in the order they are printed in. Units, ceilings and what others need for the same: ceilings.csv. */
#include "bench.h"

#define ROUNDS 10000u
#define CHEAP  100000u /* without exits */

/* clang-format off */
#define GUEST(name, loop)        {name, bench_guest, ROUNDS, &loop_##loop, ON_ONE_CPU}
#define HOST(name, rounds, call) {name, bench_host, rounds, &call_##call, ON_ONE_CPU}
#define TWO(name, measure, what) {name, measure, 100, what, ON_TWO_CPUS}

const struct figure figures[] = {
    {"empty-loop",                  bench_clock, 1000000, NULL, ON_ONE_CPU},
    /* the core answers */
    GUEST("cpuid",                  cpuid),
    GUEST("rdmsr",                  rdmsr),
    GUEST("wrmsr",                  wrmsr),
    GUEST("vmcall-unknown",         vmcall),
    GUEST("cr0-wp-twice",           cr0_wp),
    GUEST("cr4-pge-twice",          cr4_pge),
    GUEST("self-ipi-xapic",         self_xapic),
    GUEST("self-ipi-hlt-xapic",     self_halt_xapic),
    GUEST("eoi-xapic",              eoi_xapic),
    GUEST("self-ipi-x2apic",        self_x2apic),
    GUEST("self-ipi-hlt-x2apic",    self_halt_x2apic),
    GUEST("eoi-x2apic",             eoi_x2apic),
    GUEST("tsc-deadline",           deadline_ahead),
    GUEST("tsc-deadline-passed",    deadline_passed),
    GUEST("flush-hypercall",        flush),
    GUEST("reference-counter-msr",  clock_msr),
    {"reference-counter-page",      bench_guest, CHEAP, &loop_clock_page, ON_ONE_CPU},
    /* an event is signalled */
    GUEST("doorbell-port",          bell_port),
    GUEST("doorbell-mmio",          bell_mmio),
    /* to the client and back */
    GUEST("out",                    out),
    GUEST("in",                     in),
    GUEST("rep-outs-16",            outs),
    GUEST("mmio-read",              mmio_read),
    GUEST("mmio-write",             mmio_write),
    GUEST("hypercall-exit",         hypercall_exit),
    GUEST("cpuid-exit",             cpuid_exit),
    GUEST("msr-exit",               msr_exit),
    GUEST("breakpoint-exit",        breakpoint_exit),
    /* from the client */
    GUEST("request-interrupt",      request),
    GUEST("post-message",           message),
    {"request-interrupt-halted",    bench_remote, ROUNDS, &remote_request_halted, ON_ONE_CPU},
    {"post-message-halted",         bench_remote, ROUNDS, &remote_post_halted, ON_ONE_CPU},
    /* calls */
    HOST("run-cancelled",           ROUNDS, run_cancelled),
    HOST("cancel",                  ROUNDS, cancel),
    HOST("get-1-register",          ROUNDS, get_1),
    HOST("get-16-registers",        ROUNDS, get_16),
    HOST("get-18-registers",        ROUNDS, get_18),
    HOST("get-64-registers",        ROUNDS, get_64),
    HOST("set-1-register",          ROUNDS, set_1),
    HOST("set-16-registers",        ROUNDS, set_16),
    HOST("set-18-registers",        ROUNDS, set_18),
    HOST("set-64-registers",        ROUNDS, set_64),
    HOST("map-unmap-8m",            500, map_8m),
    HOST("map-4k-page",             20, map_4k),
    HOST("unmap-4k-page",           20, unmap_4k),
    HOST("map-2m-page",             200, map_2m),
    HOST("unmap-2m-page",           200, unmap_2m),
    HOST("dirty-query-1g",          2, dirty),
    HOST("create-delete",           100, create),
    /* of the host's memory */
    {"memory-partition",            bench_memory_partition, 1, NULL, ON_ONE_CPU},
    {"memory-vp",                   bench_memory_vp, 1, NULL, ON_ONE_CPU},
    {"memory-map-1g-2m",            bench_memory_map_2m, 1, NULL, ON_ONE_CPU},
    {"memory-map-1g-4k",            bench_memory_map_4k, 1, NULL, ON_ONE_CPU},
    /* between CPUs: as measured, no number of instructions */
    TWO("ipi-to-running",               bench_ipi_running, NULL),
    TWO("ipi-to-halted",                bench_ipi_halted, NULL),
    TWO("request-interrupt-to-running", bench_remote, &remote_request_running),
    TWO("request-interrupt-to-halted",  bench_remote, &remote_request_halted),
    TWO("post-message-to-running",      bench_remote, &remote_post_running),
    TWO("post-message-to-halted",       bench_remote, &remote_post_halted),
    TWO("cancel-to-return",             bench_cancel, NULL),
    /* QEMU's edu behind its IOMMU */
    {"device-interrupt",            bench_guest, ROUNDS, &loop_device, WITH_DEVICE},
    /* where the CPU delivers interrupts itself (boot/run.sh says why this is not so with Bochs in general) */
    {"self-ipi-xapic-delivered",    bench_guest, CHEAP, &loop_self_xapic, WITH_DELIVERY},
    {"eoi-xapic-delivered",         bench_guest, CHEAP, &loop_eoi_xapic, WITH_DELIVERY},
    {"self-ipi-x2apic-delivered",   bench_guest, CHEAP, &loop_self_x2apic, WITH_DELIVERY},
    {"eoi-x2apic-delivered",        bench_guest, CHEAP, &loop_eoi_x2apic, WITH_DELIVERY},
};
/* clang-format on */

const size_t figure_count = COUNT(figures);
