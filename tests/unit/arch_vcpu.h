/* SPDX-License-Identifier: MIT */
/*
 * One vcpu on a fake host with two CPUs, for the tests of arch/ below any VP: what is the same whichever CPU it is. See
 * vmx_vcpu.h and svm_vcpu.h. Defines variables: for one file of a test program.
 */
#ifndef ARCH_VCPU_TEST_H
#define ARCH_VCPU_TEST_H

#include "machine.h"
#include <arch/backend.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <string.h>

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

static inline int teardown(void **state)
{
    if (machine_is_refused())
        return 0;
    vcpu_destroy(v);
    npt_destroy(&npt);
    backend_off();
    return machine_teardown(state);
}

static inline void pin(void)
{
    hv_host_preempt_disable();
    vcpu_acquire(v);
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

static inline unsigned exited(struct hv_vp *owner, struct hv_exit *exit)
{
    (void)owner;
    (void)exit;
    return VCPU_END;
}

static const struct vcpu_exits one_exit = {
    .by_reason = {[0 ... HV_EXIT_REASON_COUNT - 1] = exited},
    .of_unknown_length = exited,
};

static inline struct hv_exit enter(void)
{
    struct hv_exit exit;
    uint64_t flags = hv_host_irq_save();

    memset(&exit, 0x5a, sizeof(exit));
    backend()->enter(v, &exit, &one_exit, NULL);
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

/* ----------------------------------------------------------------------------------- events */

#define EVENT(type, vector) \
    (HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, type) | FIELD_PUT(HV_PENDING_INT_VECTOR, vector))
#define EVENT_ERROR(code) (HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, code))

#endif
