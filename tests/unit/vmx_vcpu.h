/* SPDX-License-Identifier: MIT */
/* One vcpu of the VMX backend on a fake host with two CPUs, for the tests of arch/ below any VP. Defines variables: for
 * one file of a test program. */
#ifndef VMX_VCPU_H
#define VMX_VCPU_H

#include "machine.h"
#include "vmx_trace.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/vmx_insn.h>

static struct npt npt;
static volatile uint64_t generation;
static struct vcpu *v;

static inline int start(void)
{
    if (backend_on() != HV_OK || npt_init(&npt, backend()->npt_format()) != HV_OK)
        return -1;
    generation = 0;
    v = vcpu_create(&npt, &generation);
    return v ? 0 : -1;
}

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

static inline int teardown(void **state)
{
    if (machine_is_refused())
        return 0;
    vcpu_destroy(v);
    npt_destroy(&npt);
    backend_off();
    return machine_teardown(state);
}

#define VMX_TEST(fn)     cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define UNUSUAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_unusual, teardown)

static inline struct vmx_vcpu *vmx(void)
{
    return (struct vmx_vcpu *)v;
}

static inline void pin(void)
{
    hv_host_preempt_disable();
    backend()->acquire(v);
}

static inline void unpin(void)
{
    hv_host_preempt_enable();
}

static inline void load(void)
{
    pin();
    vcpu_load(v);
}

static inline void put(void)
{
    vcpu_put(v);
    unpin();
}

static inline struct hv_exit enter(void)
{
    struct hv_exit exit;
    uint64_t flags = hv_host_irq_save();

    memset(&exit, 0x5a, sizeof(exit));
    backend()->enter(v, &exit);
    hv_host_irq_restore(flags);
    return exit;
}

static inline struct hv_exit run_once(void)
{
    struct hv_exit exit;

    load();
    exit = enter();
    put();
    return exit;
}

/* One run that the guest ends by CPUID, which says nothing about the state. */
static inline void run_cpuid(void)
{
    FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2});
    assert_int_equal(run_once().reason, HV_EXIT_CPUID);
}

/* ------------------------------------------------------------------------------ guest modes */

enum mode { REAL, UNREAL, PROTECTED, PAE, LONG, COMPAT, V86, MODES };

static inline void set_segments(uint16_t code, uint16_t data, uint32_t limit)
{
    for (unsigned s = 0; s <= SEG_GS; s++)
        v->seg[s] = (struct hv_segment){0, limit, 8, s == SEG_CS ? code : data};
}

static inline void set_mode(enum mode mode)
{
    vcpu_reset(v);
    switch (mode) {
    case REAL:
    case MODES:
        return;
    case UNREAL:
        for (unsigned s = 0; s <= SEG_GS; s++) {
            v->seg[s].limit = 0xffffffff;
            v->seg[s].attributes |= SEG_G;
        }
        return;
    case V86:
        v->rflags |= RFLAGS_VM;
        v->cr0 = CR0_PE | CR0_ET;
        for (unsigned s = 0; s <= SEG_GS; s++)
            v->seg[s] = (struct hv_segment){0x1230, 0xffff, 0x123, SEG_ATTR_V8086};
        return;
    case PROTECTED:
    case PAE:
        v->cr0 = CR0_PE | CR0_ET | (mode == PAE ? CR0_PG : 0);
        v->cr4 = mode == PAE ? CR4_PAE : 0;
        set_segments(SEG_ATTR_CODE32, SEG_ATTR_DATA32, 0xffffffff);
        return;
    case LONG:
    case COMPAT:
        v->cr0 = CR0_PE | CR0_PG; /* a client that knows neither NE nor ET */
        v->cr4 = CR4_PAE;
        v->efer = EFER_LME | EFER_LMA;
        set_segments(mode == LONG ? SEG_ATTR_CODE64 : SEG_ATTR_CODE32, SEG_ATTR_DATA32, 0xffffffff);
    }
}

/* ------------------------------------------------------------------------- exits and events */

#define INFO(type, vector) (uint32_t)(INTR_INFO_VALID | FIELD_PUT(INTR_INFO_TYPE, type) | (vector))
#define WITH_ERROR         (uint32_t) INTR_INFO_ERROR_VALID

static inline struct hv_exit exit_of(struct fake_step step)
{
    fake_guest(&step, 1);
    return run_once();
}

#define EVENT(type, vector) \
    (HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, type) | FIELD_PUT(HV_PENDING_INT_VECTOR, vector))
#define EVENT_ERROR(code) (HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, code))

#endif
