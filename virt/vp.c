/* SPDX-License-Identifier: MIT */
/* Virtual processors: life, ownership, and what other CPUs may ask of them. */
#include "irq.h"
#include "overlay.h"
#include "partition.h"
#include "run.h"
#include "stimer.h"
#include "synic.h"
#include "synthetic.h"
#include "time.h"
#include "vpci.h"
#include "walk.h"
#include <arch/bits/msr.h>
#include <hv/base/lines.h>
#include <hv/base/memory.h>

/* ------------------------------------------------------------------------------- ownership */

struct vcpu *vp_pin(struct hv_vp *vp)
{
    hv_host_preempt_disable();
    vcpu_acquire(vp->vcpu);
    return vp->vcpu;
}

void vp_unpin(struct hv_vp *vp)
{
    (void)vp;
    hv_host_preempt_enable();
}

/* ------------------------------------------------------------------------------ references */

/* An object is never freed before its partition, so that looking at its words is safe without a lock. */
struct hv_vp *hv_vp_find(struct hv_partition *p, uint32_t index)
{
    return index < HV_MAX_VPS ? __atomic_load_n(&p->vps[index], __ATOMIC_ACQUIRE) : NULL;
}

struct hv_vp *hv_vp_ref(struct hv_partition *p, uint32_t index)
{
    struct hv_vp *vp = hv_vp_find(p, index);
    uint32_t seen;

    if (!vp)
        return NULL;
    seen = __atomic_load_n(&vp->shared.references, __ATOMIC_RELAXED);
    do {
        if (seen == 0 || seen & VP_DYING)
            return NULL;
    } while (!__atomic_compare_exchange_n(&vp->shared.references, &seen, seen + 1, true, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return vp;
}

void hv_vp_unref(struct hv_vp *vp)
{
    uint32_t left = __atomic_sub_fetch(&vp->shared.references, 1, __ATOMIC_RELEASE);

    if (left == (VP_DYING | 1)) /* hv_vp_delete waits for this */
        hv_host_wake(&vp->shared.references);
}

/* ------------------------------------------------------------------------------------ life */

void vp_reset(struct hv_vp *vp)
{
    vcpu_reset(vp->vcpu);
    time_vp_reset(vp);
    vp->notifications = vp->run_deadline = 0;
    vp_set_pending_event(vp, 0, 0);
    vp->tsc_adjust = 0;
    vp->mtrr = (struct hv_mtrrs){0};
    vp->misc_enable = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAIL;
    vp->length = (struct exit_length){0};
    vp->bell.generation = UINT64_MAX; /* none is known */
    vp->pdptes_stale = false;
    vp->properties_stale = true;
    vp->triple_fault_valid = vp->finding_valid = false;
    __atomic_store_n(&vp->shared.requests, 0, __ATOMIC_RELEASE);
    irq_reset(vp);
    synic_reset(vp);
    synthetic_reset(vp);
    stimer_reset(vp);
    overlay_apply_locked(vp);
}

/* The slot's object: made on first use, found again after a deletion. */
static struct hv_vp *slot_object(struct hv_partition *p, uint32_t index)
{
    struct hv_vp *vp = p->vps[index];

    if (vp)
        return vp;
    vp = hv_lines_alloc(sizeof(*vp));
    if (!vp)
        return NULL;
    vp->partition = p;
    vp->index = index;
    vp->shared.owner = VP_OWNER_NO_VP;
    __atomic_store_n(&p->vps[index], vp, __ATOMIC_RELEASE);
    return vp;
}

static enum hv_status create_locked(struct hv_partition *p, uint32_t index)
{
    struct vcpu *vcpu;
    struct hv_vp *vp;

    if (!p->is_set_up)
        return HV_E_STATE;
    if (index >= p->properties.processor_count)
        return HV_E_INVALID;
    if (p->vps[index] && p->vps[index]->vcpu)
        return HV_E_VP_EXISTS;
    vcpu = vcpu_create(&p->npt, &p->npt_generation);
    if (!vcpu)
        return HV_E_NO_MEMORY;
    vp = slot_object(p, index);
    if (!vp) {
        vcpu_destroy(vcpu);
        return HV_E_NO_MEMORY;
    }
    if (synic_create(vp) != HV_OK || synthetic_create_vp(vp) != HV_OK) {
        vcpu_destroy(vcpu);
        return HV_E_NO_MEMORY;
    }
    vcpu->requests = &vp->shared.requests;
    vcpu->due = &vp->due;
    vp->vcpu = vcpu;
    vp->has_apic = p->properties.local_apic_mode != HV_LOCAL_APIC_NONE;
    memset(&vp->counters, 0, sizeof(vp->counters));
    vp->run_ticks = 0;
    irq_posted_create(vp);
    vp_reset(vp);
    __atomic_store_n(&vp->shared.references, 1, __ATOMIC_RELEASE);
    vp_release(vp);
    time_vps_changed(p);
    return HV_OK;
}

enum hv_status hv_vp_create(struct hv_partition *p, uint32_t index)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = create_locked(p, index);
    hv_mutex_unlock(&p->mutex);
    return st;
}

/* New references fail from here on, and the VP is claimed: those that are left belong to calls that end soon. */
static void drain_references(struct hv_vp *vp)
{
    uint32_t seen = __atomic_or_fetch(&vp->shared.references, VP_DYING, __ATOMIC_ACQ_REL);

    while (seen != (VP_DYING | 1)) {
        hv_host_wait(&vp->shared.references, seen, 0);
        seen = __atomic_load_n(&vp->shared.references, __ATOMIC_ACQUIRE);
    }
    __atomic_store_n(&vp->shared.references, 0, __ATOMIC_RELEASE);
}

/* No device posts interrupts to it any more. */
static void free_vcpu(struct hv_vp *vp)
{
    irq_posted_destroy(vp);
    vcpu_destroy(vp->vcpu);
    vp->vcpu = NULL;
}

static enum hv_status delete_locked(struct hv_partition *p, uint32_t index)
{
    struct hv_vp *vp = index < HV_MAX_VPS ? p->vps[index] : NULL;

    if (!vp || !vp->vcpu)
        return HV_E_VP_NOT_FOUND;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    drain_references(vp);
    synic_reset(vp); /* nothing can be posted any more */
    overlay_drop_vp(vp);
    vpci_follow_all(p);
    free_vcpu(vp);
    __atomic_store_n(&vp->shared.owner, VP_OWNER_NO_VP, __ATOMIC_RELEASE);
    time_vps_changed(p);
    return HV_OK;
}

enum hv_status hv_vp_delete(struct hv_partition *p, uint32_t index)
{
    enum hv_status st;

    hv_mutex_lock(&p->vpci.mutex);
    hv_mutex_lock(&p->mutex);
    st = delete_locked(p, index);
    hv_mutex_unlock(&p->mutex);
    hv_mutex_unlock(&p->vpci.mutex);
    return st;
}

void vp_free(struct hv_vp *vp)
{
    if (vp->vcpu)
        free_vcpu(vp);
    synic_destroy(vp);
    synthetic_destroy_vp(vp);
    hv_lines_free(vp, sizeof(*vp));
}

/* --------------------------------------------------------------------- asked by other CPUs */

/*
 * The request is set before `walking` is read, and a run sets `walking` before it reads the requests: one of the two
 * sees the other. So it is with `waiting` and the wake counter of a VP that is suspended.
 */
void vp_request(struct hv_vp *vp, uint32_t request)
{
    __atomic_or_fetch(&vp->shared.requests, request, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vp->shared.walking, __ATOMIC_SEQ_CST))
        hv_host_kick(__atomic_load_n(&vp->shared.cpu, __ATOMIC_RELAXED));
    __atomic_add_fetch(&vp->shared.wake, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vp->shared.waiting, __ATOMIC_SEQ_CST))
        hv_host_wake(&vp->shared.wake);
}

/* Latched: without a run under way the next one ends at once. */
void hv_vp_cancel(struct hv_vp *vp)
{
    vp_request(vp, VP_REQUEST_CANCEL);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* A CPU that answers a call has left its guest; before it enters again the backend compares generations. */
void partition_flush(struct hv_partition *p)
{
    for (uint32_t i = 0; i < p->properties.processor_count; i++) {
        struct hv_vp *vp = p->vps[i];

        if (vp && __atomic_load_n(&vp->shared.walking, __ATOMIC_SEQ_CST))
            hv_host_cpu_call(__atomic_load_n(&vp->shared.cpu, __ATOMIC_RELAXED), nothing, NULL);
    }
}

/* -------------------------------------------------------------------- small calls of owners */

enum hv_status hv_vp_set_run_deadline(struct hv_vp *vp, uint64_t tsc)
{
    enum hv_status st = HV_OK;

    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    if (tsc && !vp->vcpu->has_deadline) {
        st = HV_E_UNSUPPORTED;
    } else {
        vp->run_deadline = tsc;
        vp->todo |= VP_TODO_TIMER;
    }
    vp_release(vp);
    return st;
}

enum hv_status hv_vp_audit_finding(struct hv_vp *vp, struct hv_audit_finding *out)
{
    enum hv_status st = HV_E_STATE;

    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    if (vp->finding_valid) {
        *out = vp->vcpu->finding;
        st = HV_OK;
    }
    vp_release(vp);
    return st;
}

enum hv_status hv_vp_audit(struct hv_vp *vp, bool *broken, struct hv_audit_finding *out)
{
    if (!backend()->audit)
        return HV_E_UNSUPPORTED;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vp_pin(vp);
    run_prepare(vp);
    *broken = backend()->audit(vp->vcpu, out);
    irq_stop(vp);
    vp_unpin(vp);
    vp_release(vp);
    return HV_OK;
}

enum hv_status hv_vp_triple_fault(struct hv_vp *vp, struct hv_triple_fault *out)
{
    enum hv_status st = HV_E_STATE;

    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    if (vp->triple_fault_valid) {
        *out = vp->triple_fault;
        st = HV_OK;
    }
    vp_release(vp);
    return st;
}

enum hv_status hv_vp_raw_get(struct hv_vp *vp, uint32_t field, uint64_t *value)
{
    enum hv_status st;

    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    st = backend()->raw_get(vp_pin(vp), field, value);
    vp_unpin(vp);
    vp_release(vp);
    return st;
}

enum hv_status hv_vp_raw_set(struct hv_vp *vp, uint32_t field, uint64_t value)
{
    enum hv_status st;

    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    st = backend()->raw_set(vp_pin(vp), field, value);
    vp_unpin(vp);
    vp_release(vp);
    return st;
}

#define TICKS_PER_S_OF_100NS 10000000u

/* Whole seconds apart from the rest: the product does not overflow. */
uint64_t vp_ticks_to_100ns(uint64_t ticks)
{
    uint64_t hz = cpu_facts()->tsc_hz;

    return ticks / hz * TICKS_PER_S_OF_100NS + ticks % hz * TICKS_PER_S_OF_100NS / hz;
}

/* Counters may be read while the VP runs: each is a single word, read at once, and they need not be of the same moment.
 */
void hv_vp_counters(struct hv_vp *vp, struct hv_vp_counters *out)
{
    const uint64_t *from = (const uint64_t *)&vp->counters;
    uint64_t *to = (uint64_t *)out;

    for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    for (unsigned i = 0; i < HV_EXIT_REASON_COUNT; i++)
        out->exits[i] = __atomic_load_n(&vp->vcpu->exits[i], __ATOMIC_RELAXED);
    out->migrations = vp->vcpu->migrations;
    out->run_100ns = vp_ticks_to_100ns(__atomic_load_n(&vp->run_ticks, __ATOMIC_RELAXED));
}
