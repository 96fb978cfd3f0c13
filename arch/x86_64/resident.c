/* SPDX-License-Identifier: MIT */
/*
 * Whose registers a CPU has: of all that VM entries and exits do not switch. Where the host takes its CPUs back by
 * itself (hv_host_takes_back) a vcpu's stay there when a run ends, and the next run switches nothing.
 *
 * backend_cpu.resident and vcpu.loaded change only on that CPU, with interrupts off. What is done then touches nothing
 * of the vcpu but the registers that are switched: its owner may be at work with the others, on another CPU.
 */
#include "resident.h"

/* All CPUs, while virtualization is on and the host takes them back; else NULL. */
static struct backend_cpu *taken_back;

/* ----------------------------------------------------------------------------- on this CPU */

static void take_off(struct backend_cpu *cpu)
{
    struct vcpu *v = cpu->resident;

    vcpu_switch_out(v);
    cpu->resident = NULL;
    __atomic_store_n(&v->loaded, false, __ATOMIC_RELEASE);
}

__attribute__((noinline)) void vcpu_make_resident(struct vcpu *v)
{
    struct backend_cpu *cpu = v->cpu;

    if (cpu->resident)
        take_off(cpu);
    vcpu_switch_in(v);
    cpu->resident = v;
    v->loaded = true;
}

void vcpu_end_residence(struct vcpu *v)
{
    take_off(v->cpu);
}

/* -------------------------------------------------------------------------- from anywhere */

static void take_off_here(void *arg)
{
    struct vcpu *v = arg;
    struct backend_cpu *cpu = backend_cpu();

    if (cpu->resident == v) /* else it was taken off in the meantime */
        take_off(cpu);
}

void vcpu_take_off(struct vcpu *v)
{
    if (__atomic_load_n(&v->loaded, __ATOMIC_ACQUIRE))
        hv_host_cpu_call(v->cpu->id, take_off_here, v);
}

/* A vcpu belongs to one CPU at a time, its registers included. */
void vcpu_acquire_anew(struct vcpu *v)
{
    if (v->cpu != backend_cpu())
        vcpu_take_off(v);
    backend()->acquire(v);
}

/* ------------------------------------------------------------------------------ by the host */

void resident_begin(struct backend_cpu *cpus, uint32_t count)
{
    bool lasts = hv_host_takes_back();

    for (uint32_t i = 0; i < count; i++)
        cpus[i].keeps_resident = lasts;
    __atomic_store_n(&taken_back, lasts ? cpus : NULL, __ATOMIC_RELEASE);
}

void resident_end(void)
{
    __atomic_store_n(&taken_back, NULL, __ATOMIC_RELEASE);
}

/* The CPUs' structures are there for as long as interrupts are off: backend_off calls all CPUs before it frees them. */
void hv_cpu_give_back(void)
{
    struct backend_cpu *cpus = __atomic_load_n(&taken_back, __ATOMIC_ACQUIRE), *cpu;

    if (!cpus)
        return;
    cpu = &cpus[hv_host_cpu_id()];
    if (cpu->resident)
        take_off(cpu);
}
