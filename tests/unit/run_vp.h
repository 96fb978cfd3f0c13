/* SPDX-License-Identifier: MIT */
/*
 * VPs of a partition with RAM, run from the native API to the fake CPU: for tests of the run loop. Defines functions:
 * to be included by one file of a test program.
 */
#ifndef RUN_VP_H
#define RUN_VP_H

#include "machine.h"
#include "virt/partition.h"
#include "vmx_trace.h"
#include <arch/bits/apic.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

#define RAM_PA          0x140000000ull
#define RAM_SIZE        HV_SIZE_2M
#define CODE            0x1000ull
#define COUNT           0x1fff /* property codes */
#define LOCAL_APIC_MODE 0x1005
#define SYNTHETIC       0x100c

static struct hv_partition *partition;
static struct hv_vp *vp; /* VP 0 */
static uint8_t *ram;
static uint64_t synthetic_features; /* of partitions to be created */

static void set_property(uint32_t code, uint64_t value)
{
    assert_int_equal(hv_partition_set_property(partition, code, &value, sizeof(value)), HV_OK);
}

static inline void set_synthetic_features(void)
{
    const uint64_t banks[] = {1, synthetic_features}; /* one bank */

    assert_int_equal(hv_partition_set_property(partition, SYNTHETIC, banks, sizeof(banks)), HV_OK);
}

static void set(uint32_t name, uint64_t low)
{
    union hv_reg_value value = {.u64 = low};

    assert_int_equal(hv_vp_set_registers(vp, &name, 1, &value), HV_OK);
}

static inline void set_segment(uint32_t name, uint16_t attributes)
{
    union hv_reg_value value = {.segment = {0, 0xffffffff, 8, attributes}};

    assert_int_equal(hv_vp_set_registers(vp, &name, 1, &value), HV_OK);
}

static inline union hv_reg_value get_value(uint32_t name)
{
    union hv_reg_value value = {.u64 = 0};

    assert_int_equal(hv_vp_get_registers(vp, &name, 1, &value), HV_OK);
    return value;
}

static uint64_t get(uint32_t name)
{
    return get_value(name).u64;
}

/* Protected mode, flat, with interrupts on. */
static void start_protected(void)
{
    set(HV_REG_CR0, CR0_PE | CR0_ET);
    set_segment(HV_REG_CS, SEG_ATTR_CODE32);
    set_segment(HV_REG_SS, SEG_ATTR_DATA32);
    set_segment(HV_REG_DS, SEG_ATTR_DATA32);
    set_segment(HV_REG_ES, SEG_ATTR_DATA32);
    set(HV_REG_RIP, CODE);
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

/* After machine_setup, and what the test changes of the machine: two CPUs, and VPs 0 to count - 1. False: it failed. */
static inline bool run_vp_create(uint64_t apic_mode, uint32_t count)
{
    fake_set_cpus(2);
    if (hv_partition_create(&partition) != HV_OK)
        return false;
    set_property(COUNT, 2);
    set_property(LOCAL_APIC_MODE, apic_mode);
    set_synthetic_features();
    ram = fake_ram_alloc(RAM_SIZE, RAM_PA);
    if (hv_partition_setup(partition) != HV_OK || hv_partition_map(partition, ram, 0, RAM_SIZE, NPT_RIGHTS) != HV_OK)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (hv_vp_create(partition, i) != HV_OK)
            return false;
    vp = hv_vp_ref(partition, 0);
    start_protected();
    return true;
}

static inline int run_vp_teardown(void **state)
{
    if (machine_is_refused())
        return 0;
    hv_vp_unref(vp);
    if (hv_partition_delete(partition) != HV_OK)
        return -1;
    fake_ram_free(ram);
    return machine_teardown(state);
}

static inline struct hv_exit_context run(void)
{
    struct hv_exit_context exit;

    memset(&exit, 0, sizeof(exit));
    assert_int_equal(hv_vp_run(vp, &exit), HV_OK);
    assert_int_equal(fake_guest_left(), 0);
    assert_int_equal(vp->shared.walking, 0);
    return exit;
}

static inline void assert_reason(const struct hv_exit_context *exit, enum hv_exit_reason reason)
{
    assert_string_equal(hv_exit_reason_name(exit->reason), hv_exit_reason_name(reason));
}

#define INFO(type, vector) (uint32_t)(INTR_INFO_VALID | FIELD_PUT(INTR_INFO_TYPE, type) | (vector))

#endif
