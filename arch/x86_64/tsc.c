/* SPDX-License-Identifier: MIT */
/*
 * One time for guests, whichever CPU they are on. TSCs of different CPUs may differ, as firmware or a late start left
 * them; each is compared once with that of the CPU which turns virtualization on, the machine's. A guest's offset is
 * from the machine's TSC, and what the hardware adds is less by the difference of the CPU at hand.
 *
 * TSCs that run at different rates, or stop, are beyond repair: there a guest's TSC still never runs backwards.
 */
#include "tsc.h"
#include <arch/cpu.h>
#include <hv/base/bits.h>
#include <hv/base/log.h>

/* Neither before what the program did earlier nor after what comes later: RDTSC alone may be (SDM 2B, RDTSC). */
static uint64_t ordered_tsc(void)
{
    uint64_t tsc;

    cpu_load_fence();
    tsc = cpu_tsc();
    cpu_load_fence();
    return tsc;
}

/* ------------------------------------------------------------------------------- measuring */

#define ROUNDS 16

static void look(void *arg)
{
    *(uint64_t *)arg = ordered_tsc();
}

/*
 * The other CPU looks at its TSC between two looks at ours, which gives bounds for the difference: the closest ones of
 * several rounds hold. As long as they leave room for it, there is none.
 */
static int64_t difference_of(uint32_t cpu)
{
    int64_t low = INT64_MIN, high = INT64_MAX;

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t before = ordered_tsc(), there = 0, after;

        hv_host_cpu_call(cpu, look, &there);
        after = ordered_tsc();
        low = HV_MAX(low, (int64_t)(there - after));
        high = HV_MIN(high, (int64_t)(there - before));
    }
    return low <= 0 && high >= 0 ? 0 : low + (high - low) / 2;
}

void tsc_measure(uint32_t cpu_count)
{
    hv_host_preempt_disable();
    for (uint32_t i = 0; i < cpu_count; i++) {
        struct backend_cpu *cpu = backend_cpu_of(i);

        if (cpu == backend_cpu())
            continue;
        cpu->tsc_difference = (uint64_t)difference_of(i);
        if (cpu->tsc_difference)
            hv_log(HV_LOG_INFO, "CPU %u: its TSC differs by %ld ticks; guests do not see it", i,
                   (long)cpu->tsc_difference);
    }
    hv_host_preempt_enable();
}

/* ---------------------------------------------------------------------------------- guests */

uint64_t tsc_now(void)
{
    return cpu_tsc() - backend_cpu()->tsc_difference;
}

uint64_t vcpu_tsc_offset(const struct vcpu *v)
{
    return v->tsc_offset - v->cpu->tsc_difference;
}

uint64_t vcpu_guest_tsc(const struct vcpu *v)
{
    return cpu_tsc() + vcpu_tsc_offset(v);
}

/* ----------------------------------------------------------------------------- moving a VP */

void tsc_leave(struct vcpu *v)
{
    uint64_t difference = backend_cpu()->tsc_difference;

    v->tsc_left = ordered_tsc() - difference;
    if (v->deadline_tsc)
        v->deadline_tsc -= difference;
}

/* Differences are known but for the time that a call takes: what the guest has seen already counts for more. */
void tsc_arrive(struct vcpu *v)
{
    uint64_t difference = backend_cpu()->tsc_difference, behind = v->tsc_left - (ordered_tsc() - difference);

    if ((int64_t)behind > 0)
        v->tsc_offset += behind;
    if (v->deadline_tsc)
        v->deadline_tsc += difference;
    vcpu_changed(v, VCPU_TSC);
}
