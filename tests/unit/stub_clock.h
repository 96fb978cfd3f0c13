/* SPDX-License-Identifier: MIT */
/*
 * A partition with time and VPs without hardware: the machine's TSC and the host's clock are the test's to move.
 * Defines functions: to be included by one file of a test program.
 */
#ifndef STUB_CLOCK_H
#define STUB_CLOCK_H

#include "unit.h"
#include "virt/time.h"
#include <hv/base/memory.h>

#define STUB_VPS     3u
#define STUB_HZ      2000000000ull /* two ticks are a nanosecond, 200 a unit of the reference time */
#define STUB_UNIT    200u
#define STUB_ALL     (HV_SYNTH_HV1 | HV_SYNTH_REFERENCE_COUNTER | HV_SYNTH_REFERENCE_TSC | HV_SYNTH_SYNIC | HV_SYNTH_TIMERS)
#define STUB_BIGGEST 40u /* address bits */

static struct hv_partition partition;
static struct hv_vp vps[STUB_VPS];
static struct vcpu vcpus[STUB_VPS];
static struct cpu_facts facts;
static uint64_t machine_tsc;

const struct cpu_facts *cpu_facts(void)
{
    return &facts;
}

uint64_t tsc_now(void)
{
    fake_require(fake_preempt_depth() > 0 || !fake_irqs_on(), "tsc_now: not pinned");
    return machine_tsc;
}

struct vcpu *vp_pin(struct hv_vp *vp)
{
    fake_require(vp->shared.owner == 1, "vp_pin: not claimed");
    hv_host_preempt_disable();
    return vp->vcpu;
}

void vp_unpin(struct hv_vp *vp)
{
    (void)vp;
    hv_host_preempt_enable();
}

/* Both clocks, by whole ns. */
static void pass_ns(uint64_t ns)
{
    fake_advance_time(ns);
    machine_tsc += ns * (STUB_HZ / 1000000000);
}

static void pass_units(uint64_t units)
{
    pass_ns(100 * units);
}

static void stub_create_vp(uint32_t i)
{
    vps[i].vcpu = &vcpus[i];
    time_vp_reset(&vps[i]);
    vps[i].shared.references = 1;
    time_vps_changed(&partition);
}

static inline void stub_delete_vp(uint32_t i)
{
    vps[i].shared.references = 0;
    time_vps_changed(&partition);
}

static void stub_start(uint64_t hz)
{
    facts.tsc_hz = hz;
    hv_mutex_lock(&partition.mutex);
    assert_int_equal(time_start(&partition), HV_OK);
    partition.is_set_up = true;
    hv_mutex_unlock(&partition.mutex);
}

static int stub_setup(void **state)
{
    if (unit_setup(state))
        return -1;
    memset(&partition, 0, sizeof(partition));
    memset(vps, 0, sizeof(vps));
    memset(vcpus, 0, sizeof(vcpus));
    machine_tsc = 123456789;
    partition.properties.synthetic_features = STUB_ALL;
    partition.properties.processor_count = STUB_VPS;
    partition.properties.physical_address_width = STUB_BIGGEST;
    time_init(&partition);
    for (uint32_t i = 0; i < STUB_VPS; i++) {
        vps[i].partition = &partition;
        vps[i].index = i;
        partition.vps[i] = &vps[i];
    }
    return 0;
}

static int stub_teardown(void **state)
{
    time_end(&partition);
    for (uint32_t i = 0; i < STUB_VPS; i++)
        if (vps[i].shared.owner)
            return -1;
    return unit_teardown(state);
}

#define CLOCK_TEST(fn) cmocka_unit_test_setup_teardown(fn, stub_setup, stub_teardown)

#endif
