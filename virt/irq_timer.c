/* SPDX-License-Identifier: MIT */
/*
 * Timers of VPs with local APICs, those of the APICs and synthetic ones: when they are due, who interrupts the guest
 * then, and the interrupts that come of the former.
 */
#include "assist.h"
#include "irq_parts.h"
#include "stimer.h"
#include "time.h"
#include <hv/base/bits.h>

#define NS_PER_S 1000000000ull

/* Whole seconds apart from the rest: neither product overflows, for rates up to 16 GHz and times up to decades. */
static uint64_t ns_to_tsc(uint64_t ns)
{
    uint64_t hz = cpu_facts()->tsc_hz;

    return ns / NS_PER_S * hz + ns % NS_PER_S * hz / NS_PER_S + 1;
}

#define FAR_NS (UINT64_MAX / 4) /* later than anybody waits */

static uint64_t tsc_to_ns(uint64_t ticks)
{
    uint64_t hz = cpu_facts()->tsc_hz, seconds;

    if (ticks <= hz) /* most of the time */
        return ticks * NS_PER_S / hz + 1;
    seconds = ticks / hz;
    if (seconds >= FAR_NS / NS_PER_S)
        return FAR_NS;
    return seconds * NS_PER_S + ticks % hz * NS_PER_S / hz + 1;
}

static uint64_t ticks_to_lapic(const struct hv_vp *vp)
{
    const struct lapic *l = &vp->lapic;
    uint64_t due, now;

    if (l->timer_tsc) {
        now = vcpu_guest_tsc(vp->vcpu);
        return l->timer_tsc > now ? l->timer_tsc - now : 0;
    }
    due = lapic_timer_due_ns(l);
    if (due == UINT64_MAX)
        return UINT64_MAX;
    now = time_ns(vp->partition);
    return due > now ? ns_to_tsc(due - now) : 0;
}

#define NEVER_NS BIT64(58) /* nine years */

static uint64_t ticks_to_stimer(const struct hv_vp *vp)
{
    uint64_t ns = stimer_wait_ns(vp);

    if (!ns)
        return 0;
    return ns < NEVER_NS ? ns_to_tsc(ns) : UINT64_MAX;
}

/* Ticks of the TSC until a timer is due; UINT64_MAX: none is running. */
static uint64_t ticks_to_timer(const struct hv_vp *vp)
{
    uint64_t ticks;

    if (!vp->has_apic)
        return UINT64_MAX;
    ticks = ticks_to_lapic(vp);
    return vp->stimers.active ? HV_MIN(ticks, ticks_to_stimer(vp)) : ticks;
}

static void poll_lapic(struct hv_vp *vp)
{
    struct lapic_effect effect = {0};
    struct lapic *l = &vp->lapic;
    uint8_t vector;
    bool is_new;

    if (!(l->timer_tsc || l->timer_due_ns))
        return;
    vector = (uint8_t)FIELD_GET(APIC_LVT_VECTOR, l->timer_lvt);
    is_new = !irq_is_requested(vp, vector);
    if (lapic_timer_poll(l, l->timer_due_ns ? time_ns(vp->partition) : 0, l->timer_tsc ? vcpu_guest_tsc(vp->vcpu) : 0,
                         &effect)) {
        if (irq_hardware_delivers(vp)) {
            irq_set_eoi_exit(vp, vector);
            vp->counters.events.interrupts += is_new;
        }
        vp->todo |= VP_TODO_INTERRUPTS | VP_TODO_TIMER;
    }
    irq_apply(vp, &effect);
}

void irq_poll_timer(struct hv_vp *vp)
{
    if (!vp->has_apic)
        return;
    if (vp->stimers.active)
        stimer_poll(vp);
    poll_lapic(vp);
}

static void set_deadline(struct hv_vp *vp, uint64_t deadline)
{
    if (__builtin_expect(vp->run_deadline != 0, 0) && (!deadline || vp->run_deadline < deadline))
        deadline = vp->run_deadline;
    vp->vcpu->deadline_tsc = deadline;
}

/* Where the CPU has no timer for guests, the host interrupts it. */
static void set_host_timer(struct hv_vp *vp, uint64_t deadline, uint64_t ticks)
{
    vp->host_timer = deadline;
    hv_host_timer(ticks == UINT64_MAX ? 0 : hv_host_time_ns() + tsc_to_ns(ticks));
}

/* So many ticks of the TSC from now on; UINT64_MAX: not at all. */
static void interrupt_after(struct hv_vp *vp, uint64_t now, uint64_t ticks)
{
    uint64_t deadline = ticks < UINT64_MAX - now ? now + ticks : 0;

    if (vp->vcpu->has_deadline)
        set_deadline(vp, deadline);
    else
        set_host_timer(vp, deadline, ticks);
}

/* A guest that has its timer fire more often than this would do nothing but exit. */
#define MIN_PERIOD_NS 10000u

void irq_set_timer(struct hv_vp *vp)
{
    uint64_t ticks = ticks_to_timer(vp);

    if (!ticks) {
        assist_settle(vp); /* an interrupt comes: whoever has ended by the page must not be in its way */
        irq_poll_timer(vp);
        ticks = ticks_to_timer(vp);
        ticks = HV_MAX(ticks, ns_to_tsc(MIN_PERIOD_NS));
    }
    interrupt_after(vp, cpu_tsc(), ticks);
}

/* Not at once: a guest whose timer is always due gets to run all the same. */
__attribute__((noinline)) void irq_renew_timer(struct hv_vp *vp)
{
    uint64_t ticks = ns_to_tsc(MIN_PERIOD_NS);

    set_host_timer(vp, cpu_tsc() + ticks, ticks);
    vp->todo |= VP_TODO_TIMER;
}

/* ---------------------------------------------------------------------------- the usual case */

/* No timer but the local APIC's, and nothing else that would have to be looked at with it. */
static inline bool is_plain(const struct hv_vp *vp)
{
    return vp->lapic.is_private &&
           !(vp->stimers.active | vp->run_deadline | vp->assist_offered | (vp->todo & VP_TODO_TIMER));
}

static bool fire_plain(struct hv_vp *vp)
{
    if (!lapic_fire_plain(&vp->lapic))
        return false;
    vp->vcpu->deadline_tsc = vp->host_timer = 0;
    vp->todo |= VP_TODO_INTERRUPTS;
    return true;
}

/* Where the host interrupts the guest, it may still do so for a deadline that has passed; nothing comes of that. */
__attribute__((noinline)) bool irq_arm_plain(struct hv_vp *vp, uint64_t deadline)
{
    struct lapic *l = &vp->lapic;
    uint64_t host_now, now;

    if (!is_plain(vp) || !lapic_is_deadline(l))
        return false;
    host_now = cpu_tsc();
    now = host_now + vcpu_tsc_offset(vp->vcpu);
    if (l->timer_tsc && l->timer_tsc <= now) /* has passed, and comes first */
        return false;
    if (deadline && deadline <= now)
        return fire_plain(vp);
    l->timer_tsc = deadline;
    interrupt_after(vp, host_now, deadline ? deadline - now : UINT64_MAX);
    return true;
}

bool irq_fire_plain(struct hv_vp *vp)
{
    uint64_t deadline = vp->lapic.timer_tsc;

    return deadline && is_plain(vp) && deadline <= vcpu_guest_tsc(vp->vcpu) && fire_plain(vp);
}

void irq_look_at_timer(struct hv_vp *vp)
{
    if (!vp->has_apic || vp->vcpu->has_deadline || irq_fire_plain(vp))
        return;
    if (vp->host_timer)
        vp->todo |= VP_TODO_TIMER;
}

void irq_stop(struct hv_vp *vp)
{
    if (!vp->has_apic)
        return;
    irq_posted_stop(vp);
    if (vp->vcpu->has_deadline)
        return;
    hv_host_timer(0);
    vp->host_timer = 0;
    vp->todo |= VP_TODO_TIMER;
}

/* ------------------------------------------------------------------------- of a VP that waits */

static uint64_t ticks_to_run_deadline(const struct hv_vp *vp)
{
    uint64_t now = cpu_tsc();

    if (!vp->run_deadline)
        return UINT64_MAX;
    return vp->run_deadline > now ? vp->run_deadline - now : 0;
}

bool irq_take_run_deadline(struct hv_vp *vp)
{
    if (!vp->run_deadline || cpu_tsc() < vp->run_deadline)
        return false;
    vp->run_deadline = 0;
    vp->todo |= VP_TODO_TIMER; /* which may have been set for it */
    return true;
}

uint64_t irq_wake_time(struct hv_vp *vp)
{
    uint64_t ticks;

    vp_pin(vp); /* the guest's TSC is this CPU's, and what is added here */
    ticks = HV_MIN(ticks_to_timer(vp), ticks_to_run_deadline(vp));
    vp_unpin(vp);
    return ticks == UINT64_MAX ? 0 : hv_host_time_ns() + tsc_to_ns(ticks);
}
