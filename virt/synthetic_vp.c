/* SPDX-License-Identifier: MIT */
/* What guests have of identity, hypercall page, runtime, frequencies, local APIC and VP assist page as MSRs. */
#include "synthetic_vp.h"
#include "assist.h"
#include "exit_apic.h"
#include "hypercall.h"
#include <arch/bits/cr.h>

/* ------------------------------------------------------------------ OS ID, hypercall page (TLFS 3.13) */

bool synthetic_read_os_id(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = __atomic_load_n(&vp->partition->guest.guest_os_id, __ATOMIC_RELAXED);
    return true;
}

/* A guest that takes its name back has no hypercall page any more. */
bool synthetic_write_os_id(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    struct hv_partition *p = vp->partition;

    (void)index;
    __atomic_store_n(&p->guest.guest_os_id, value, __ATOMIC_RELAXED);
    if (!value && by == SYNTHETIC_GUEST) {
        __atomic_and_fetch(&p->guest.hypercall, ~HV_PAGE_ENABLE, __ATOMIC_RELAXED);
        vp->overlays_stale = true;
    }
    return true;
}

bool synthetic_read_hypercall(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = __atomic_load_n(&vp->partition->guest.hypercall, __ATOMIC_RELAXED);
    return true;
}

/*
 * Without an OS ID the page stays disabled, whatever is written; a locked one can not be changed before the next reset.
 * Another VP may write at the same time.
 */
bool synthetic_write_hypercall(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    struct hv_partition *p = vp->partition;
    uint64_t before = __atomic_load_n(&p->guest.hypercall, __ATOMIC_RELAXED);

    (void)index;
    if (!synthetic_page_is_valid(p, value))
        return false;
    if (by == SYNTHETIC_GUEST && !__atomic_load_n(&p->guest.guest_os_id, __ATOMIC_RELAXED))
        value &= ~HV_PAGE_ENABLE;
    do {
        if (by == SYNTHETIC_GUEST && before & HV_HYPERCALL_LOCKED)
            return false;
    } while (
        !__atomic_compare_exchange_n(&p->guest.hypercall, &before, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    vp->overlays_stale = true;
    return true;
}

/* ---------------------------------------------------------------- index, runtime, frequencies */

bool synthetic_read_index(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = vp->index;
    return true;
}

/* In 100 ns. Of a VP that runs the current bracket counts too: the CPU stays the same in it. */
static uint64_t runtime(const struct hv_vp *vp)
{
    return vp_ticks_to_100ns(vp->run_ticks + (vp->run_begin ? cpu_tsc() - vp->run_begin : 0));
}

bool synthetic_read_runtime(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = runtime(vp) + vp->runtime_base;
    return true;
}

bool synthetic_write_runtime(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    (void)index;
    if (by == SYNTHETIC_CLIENT)
        vp->runtime_base = value - runtime(vp);
    return by == SYNTHETIC_CLIENT;
}

bool synthetic_read_frequency(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)vp, (void)by;
    *value = index == MSR_HV_TSC_FREQUENCY ? cpu_facts()->tsc_hz : HV_INTERRUPT_HZ;
    return true;
}

/* ---------------------------------------------------------------------------- idling (7.8.3) */

/*
 * Reading it is like HLT, but that an interrupt ends it whether the guest takes interrupts or not. One that is there
 * already does so at once (irq_wakes). A step over the instruction would have to end it too: so there is none then.
 */
bool synthetic_read_idle(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    struct vcpu *v = vp->vcpu;

    (void)index;
    *value = 0;
    if (by == SYNTHETIC_CLIENT)
        return true;
    vcpu_need(v, VCPU_RFLAGS);
    if (!(v->rflags & RFLAGS_TF))
        vp->activity = HV_ACTIVITY_IDLE_SUSPEND;
    return true;
}

/* ------------------------------------------------------------------- local APIC (TLFS 10.2.2) */

/* In both of its modes. Disabled, it has no registers. */
static bool has_registers(const struct hv_vp *vp)
{
    return vp->has_apic && lapic_is_enabled(&vp->lapic);
}

bool synthetic_read_apic(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    uint64_t high = 0;

    (void)by;
    if (!has_registers(vp))
        return false;
    if (index == MSR_HV_TPR)
        return exit_apic_read_register(vp, APIC_TPR, value);
    if (!lapic_is_x2apic(&vp->lapic) && !exit_apic_read_register(vp, APIC_ICR_HIGH, &high))
        return false;
    if (!exit_apic_read_register(vp, APIC_ICR_LOW, value))
        return false;
    *value |= high << 32;
    return true;
}

static bool write_icr(struct hv_vp *vp, uint64_t value)
{
    if (lapic_is_x2apic(&vp->lapic))
        return exit_apic_write_register(vp, APIC_ICR_LOW, value);
    return exit_apic_write_register(vp, APIC_ICR_HIGH, value >> 32) &&
           exit_apic_write_register(vp, APIC_ICR_LOW, (uint32_t)value);
}

bool synthetic_write_apic(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    if (by == SYNTHETIC_CLIENT || !has_registers(vp))
        return false;
    if (index == MSR_HV_ICR)
        return write_icr(vp, value);
    if (index == MSR_HV_TPR)
        return value <= UINT8_MAX && exit_apic_write_register(vp, APIC_TPR, value);
    return exit_apic_write_register(vp, APIC_EOI, 0);
}

/* -------------------------------------------------------------------- VP assist page (7.8.7) */

bool synthetic_read_assist(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = vp->assist_msr;
    return true;
}

bool synthetic_write_assist(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    (void)index, (void)by;
    if (!synthetic_page_is_valid(vp->partition, value))
        return false;
    assist_settle(vp);
    vp->assist_msr = value;
    vp->assist_enabled = value & HV_PAGE_ENABLE;
    vp->overlays_stale = true;
    return true;
}

/* --------------------------------------------------------------------------------------- life */

enum hv_status synthetic_create(struct hv_partition *p)
{
    if (!(p->properties.synthetic_features & HV_SYNTH_HYPERCALL_REGS))
        return HV_OK;
    p->guest.hypercall_page = hv_host_page_alloc();
    if (!p->guest.hypercall_page)
        return HV_E_NO_MEMORY;
    hypercall_fill_page(p->guest.hypercall_page);
    return HV_OK;
}

void synthetic_destroy(struct hv_partition *p)
{
    if (p->guest.hypercall_page)
        hv_host_page_free(p->guest.hypercall_page);
    p->guest.hypercall_page = NULL;
}

enum hv_status synthetic_create_vp(struct hv_vp *vp)
{
    if (vp->assist_page || !(vp->partition->properties.synthetic_features & HV_SYNTH_APIC_REGS))
        return HV_OK;
    vp->assist_page = hv_host_page_alloc();
    return vp->assist_page ? HV_OK : HV_E_NO_MEMORY;
}

void synthetic_destroy_vp(struct hv_vp *vp)
{
    if (vp->assist_page)
        hv_host_page_free(vp->assist_page);
}

void synthetic_reset(struct hv_vp *vp)
{
    struct hv_partition *p = vp->partition;

    vp->assist_msr = 0;
    vp->assist_enabled = false;
    vp->runtime_base = 0 - runtime(vp);
    vp->overlays_stale = true;
    assist_reset(vp);
    if (vp->index)
        return;
    __atomic_store_n(&p->guest.guest_os_id, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&p->guest.hypercall, 0, __ATOMIC_RELAXED);
}
