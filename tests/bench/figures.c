/* SPDX-License-Identifier: MIT */
/* All figures, in the order they are printed in. Units, ceilings and what others need for the same: ceilings.csv. */
#include "bench.h"

#define ROUNDS 10000u

const struct figure figures[] = {
    /* the core answers */
    {"cpuid", bench_guest, ROUNDS, &loop_cpuid},
    {"rdmsr", bench_guest, ROUNDS, &loop_rdmsr},
    {"wrmsr", bench_guest, ROUNDS, &loop_wrmsr},
    {"vmcall-unknown", bench_guest, ROUNDS, &loop_vmcall},
    {"cr0-wp-twice", bench_guest, ROUNDS, &loop_cr0_wp},
    {"cr4-pge-twice", bench_guest, ROUNDS, &loop_cr4_pge},
    /* to the client and back */
    {"out", bench_guest, ROUNDS, &loop_out},
    {"in", bench_guest, ROUNDS, &loop_in},
    /* calls */
    {"run-cancelled", bench_host, ROUNDS, &call_run_cancelled},
    {"cancel", bench_host, ROUNDS, &call_cancel},
    {"get-18-registers", bench_host, ROUNDS, &call_get_18},
    {"set-18-registers", bench_host, ROUNDS, &call_set_18},
    {"map-unmap-8m", bench_host, 500, &call_map_8m},
    {"create-delete", bench_host, 100, &call_create},
};

const size_t figure_count = COUNT(figures);
