/* SPDX-License-Identifier: MIT */
/* One vcpu of the SVM backend: arch_vcpu.h on a CPU with SVM, one that has as little as QEMU's or one that has it all.
 */
#ifndef SVM_VCPU_H
#define SVM_VCPU_H

#include "arch/x86_64/svm/svm.h"
#include "arch_vcpu.h"
#include <arch/svm_insn.h>
#include <fake_svm.h>
#include <stdio.h>

/* The library looks at a machine once; these tests have it look at several. */
static inline void look_again(void)
{
    struct hv_platform platform;

    if (backend_probe()->present)
        assert_true(svm_probe(&platform));
}

static inline int setup_cpus(void **state, uint32_t features, bool unusual)
{
    if (machine_setup(state))
        return -1;
    fake_svm_make(features);
    fake_set_cpus(2);
    for (uint32_t cpu = 0; unusual && cpu < 2; cpu++)
        fake_x86_make_unusual(cpu);
    look_again();
    return start();
}

static inline int setup(void **state)
{
    return setup_cpus(state, 0, false);
}

static inline int setup_full(void **state)
{
    return setup_cpus(state, FAKE_SVM_FEATURES, false);
}

/* On a host whose selectors, limits, debug registers and so on are not those that exits leave. */
static inline int setup_unusual(void **state)
{
    return setup_cpus(state, FAKE_SVM_FEATURES, true);
}

#define BARE_TEST(fn)    cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define FULL_TEST(fn)    cmocka_unit_test_setup_teardown(fn, setup_full, teardown)
#define UNUSUAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_unusual, teardown)
/* twice: on the CPU without features and on the other one */
#define SVM_TEST(fn)     {#fn " (bare CPU)", fn, setup, teardown, NULL}, FULL_TEST(fn)

static inline struct svm_vcpu *svm(void)
{
    return (struct svm_vcpu *)v;
}

static inline struct vmcb *vmcb(void)
{
    return svm()->vmcb;
}

/* The VMCB as the last VMRUN found it. */
static inline const struct vmcb *seen(void)
{
    return fake_svm_entered();
}

static inline bool saw_intercept(unsigned which)
{
    return vmcb_intercepts(seen(), which);
}

#define CODE(intercept) EXIT_INTERCEPT_OF(INTERCEPT_##intercept)

/* One run that the guest ends by CPUID, which says nothing about the state. */
static inline void run_cpuid(void)
{
    FAKE_SVM_GUEST({.code = CODE(CPUID), .length = 2});
    assert_int_equal(run_once().reason, HV_EXIT_CPUID);
}

static inline struct hv_exit exit_of(struct fake_svm_step step)
{
    fake_svm_guest(&step, 1);
    return run_once();
}

/* EVENTINJ and EXITINTINFO */
#define INFO(type, vector) (EVENT_VALID | FIELD_PUT(EVENT_TYPE, type) | (uint64_t)(vector))
#define WITH_ERROR(code)   (EVENT_ERROR_VALID | FIELD_PUT(EVENT_ERROR_CODE, (uint64_t)(code)))

#endif
