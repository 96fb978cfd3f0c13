/* SPDX-License-Identifier: MIT */
/* One vcpu of the VMX backend: arch_vcpu.h on a CPU with VMX. */
#ifndef VMX_VCPU_H
#define VMX_VCPU_H

#include "arch_vcpu.h"
#include "vmx_trace.h"
#include <arch/vmx_insn.h>

static inline int setup(void **state)
{
    if (machine_setup(state))
        return -1;
    fake_set_cpus(2);
    return start();
}

/* On a host whose selectors, limits, debug registers and so on are not those that VM exits leave. */
static inline int setup_unusual(void **state)
{
    if (machine_setup(state))
        return -1;
    fake_set_cpus(2);
    fake_x86_make_unusual(0);
    fake_x86_make_unusual(1);
    return start();
}

#define VMX_TEST(fn)     cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define UNUSUAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_unusual, teardown)

static inline struct vmx_vcpu *vmx(void)
{
    return (struct vmx_vcpu *)v;
}

/* One run that the guest ends by CPUID, which says nothing about the state. */
static inline void run_cpuid(void)
{
    FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2});
    assert_int_equal(run_once().reason, HV_EXIT_CPUID);
}

/* ------------------------------------------------------------------------- exits and events */

#define INFO(type, vector) (uint32_t)(INTR_INFO_VALID | FIELD_PUT(INTR_INFO_TYPE, type) | (vector))
#define WITH_ERROR         (uint32_t) INTR_INFO_ERROR_VALID

static inline struct hv_exit exit_of(struct fake_step step)
{
    fake_guest(&step, 1);
    return run_once();
}

#endif
