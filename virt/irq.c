/* SPDX-License-Identifier: MIT */
/* Interrupts of VPs with local APICs: see irq.h. */
#include "irq.h"
#include "run.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define NS_PER_S 1000000000ull

static bool hardware_delivers(const struct hv_vp *vp)
{
    return vp->lapic.delivers;
}

/* ------------------------------------------------------------------------- taking interrupts in */

/* The client hears of the EOIs that TMR says. */
static void set_eoi_exit(struct hv_vp *vp, uint8_t vector)
{
    struct vcpu *v = vp->vcpu;
    uint64_t bit = BIT64(vector % 64), *word = &v->eoi_exit[vector / 64];

    if (!(*word & bit) == !lapic_is_level(&vp->lapic, vector))
        return;
    *word ^= bit;
    vcpu_changed(v, VCPU_EOI_EXIT);
}

static bool is_requested(const struct hv_vp *vp, uint8_t vector)
{
    return lapic_get(&vp->lapic, APIC_IRR + vector / 32 * 16u) >> vector % 32 & 1;
}

static void accept(struct hv_vp *vp, uint8_t vector, bool is_level)
{
    bool is_new = !is_requested(vp, vector);
    struct lapic_effect effect = {0};

    lapic_accept(&vp->lapic, vector, is_level, &effect);
    if (hardware_delivers(vp)) {
        set_eoi_exit(vp, vector);
        vp->counters.events.interrupts += is_new && effect.bits & LAPIC_EFFECT_PRIORITY;
    }
    irq_apply(vp, &effect);
}

static void take_vectors(struct hv_vp *vp)
{
    struct hv_vp_inbox *in = &vp->inbox;

    for (unsigned i = 0; i < ARRAY_COUNT(in->vectors); i++) {
        uint64_t vectors = __atomic_load_n(&in->vectors[i], __ATOMIC_RELAXED), level;

        if (!vectors)
            continue;
        vectors = __atomic_exchange_n(&in->vectors[i], 0, __ATOMIC_ACQUIRE);
        level = __atomic_load_n(&in->level[i], __ATOMIC_RELAXED);
        for (; vectors; vectors &= vectors - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(vectors);

            accept(vp, (uint8_t)(64 * i + bit), level >> bit & 1);
        }
    }
}

/* One is handled, and one waits for its IRET: further ones are the same as that (SDM 3A 6.7.1). */
static uint32_t limit_of_nmis(struct vcpu *v)
{
    vcpu_need(v, VCPU_INTR);
    return v->nmi_masked ||
                   (v->event & HV_PENDING_INT_VALID && FIELD_GET(HV_PENDING_INT_TYPE, v->event) == HV_INT_TYPE_NMI)
               ? 1
               : 2;
}

static void take_nmis(struct hv_vp *vp, uint32_t count)
{
    uint32_t limit = limit_of_nmis(vp->vcpu);

    vp->nmi_pending = (uint8_t)(count < limit ? HV_MIN(vp->nmi_pending + count, limit) : limit);
    vp->todo |= VP_TODO_INTERRUPTS;
}

void irq_take_requests(struct hv_vp *vp)
{
    const uint32_t mine = VP_REQUEST_INTERRUPT | VP_REQUEST_NMI;
    uint32_t requests = __atomic_fetch_and(&vp->shared.requests, ~mine, __ATOMIC_ACQUIRE);

    if (requests & VP_REQUEST_INTERRUPT)
        take_vectors(vp);
    if (requests & VP_REQUEST_NMI)
        take_nmis(vp, __atomic_exchange_n(&vp->inbox.nmis, 0, __ATOMIC_RELAXED));
}

/* ----------------------------------------------------------------------------- INIT and startup */

static void clear_inbox(struct hv_vp *vp)
{
    for (unsigned i = 0; i < ARRAY_COUNT(vp->inbox.vectors); i++)
        __atomic_store_n(&vp->inbox.vectors[i], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->inbox.nmis, 0, __ATOMIC_RELAXED);
}

static void forget_events(struct hv_vp *vp)
{
    vp->nmi_pending = 0;
    vp->pending_event[0] = 0;
    memset(&vp->wanted, 0, sizeof(vp->wanted));
    memset(vp->vcpu->eoi_exit, 0, sizeof(vp->vcpu->eoi_exit));
    vcpu_changed(vp->vcpu, VCPU_EOI_EXIT);
}

/* Who sends INIT takes SIPIs back that were sent before: what is pending now came after it. */
static void take_init(struct hv_vp *vp)
{
    clear_inbox(vp);
    vcpu_init(vp->vcpu);
    lapic_reset(&vp->lapic, true);
    forget_events(vp);
    vp->pdptes_stale = vp->properties_seen = false;
    irq_mode_changed(vp);
    vp->activity = vp->lapic.base & APIC_BASE_BSP ? 0 : HV_ACTIVITY_STARTUP_SUSPEND;
}

/* SDM 3A 8.4.4.2: real mode, at the page that the vector names. */
static void take_sipi(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    uint32_t vector = __atomic_load_n(&vp->inbox.sipi, __ATOMIC_RELAXED) & 0xff;

    if (!(vp->activity & HV_ACTIVITY_STARTUP_SUSPEND))
        return;
    vcpu_need(v, VCPU_CS | VCPU_RIP);
    v->seg[SEG_CS] = (struct hv_segment){vector << 12, 0xffff, (uint16_t)(vector << 8), SEG_ATTR_REAL_CODE};
    v->rip = 0;
    vcpu_changed(v, VCPU_CS | VCPU_RIP);
    vp->activity = 0;
}

void irq_take_restart(struct hv_vp *vp)
{
    uint32_t requests = __atomic_fetch_and(&vp->shared.requests, ~VP_REQUEST_RESTART, __ATOMIC_ACQUIRE);

    if (requests & VP_REQUEST_INIT)
        take_init(vp);
    if (requests & VP_REQUEST_SIPI)
        take_sipi(vp);
}

/* -------------------------------------------------------------------------------- the next event */

/* Debug traps come before NMIs and interrupts (SDM 3A 6.9), and an entry that injects one of those forgets them. */
static bool can_take_nmi(struct vcpu *v)
{
    if (v->event & HV_PENDING_INT_VALID)
        return false;
    vcpu_need(v, VCPU_INTR);
    return !v->nmi_masked && !v->interrupt_shadow && !(v->pending_debug & VCPU_DEBUG_TRAPS);
}

static bool can_take_interrupt(struct vcpu *v)
{
    if (v->event & HV_PENDING_INT_VALID)
        return false;
    vcpu_need(v, VCPU_RFLAGS | VCPU_INTR);
    return v->rflags & RFLAGS_IF && !v->interrupt_shadow && !(v->pending_debug & VCPU_DEBUG_TRAPS);
}

static void choose_nmi(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    vp->wanted.nmi_window = false;
    if (!vp->nmi_pending)
        return;
    if (!can_take_nmi(v)) {
        vp->wanted.nmi_window = true;
        return;
    }
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_NMI) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, VEC_NMI);
    vp_count_event(vp);
    vp->wanted.nmi_window = --vp->nmi_pending; /* the next one after this one's IRET */
}

/* What the hardware needs to know: the highest vectors requested and in service. It does the rest. */
static void tell_hardware(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    bool is_on = lapic_get(&vp->lapic, APIC_SVR) & APIC_SVR_ENABLE; /* else what is requested waits */
    int irr = is_on ? lapic_highest_irr(&vp->lapic) : -1, isr = lapic_highest_isr(&vp->lapic);
    uint8_t rvi = irr < 0 ? 0 : (uint8_t)irr, svi = isr < 0 ? 0 : (uint8_t)isr;

    vcpu_need(v, VCPU_APIC);
    if (v->rvi == rvi && v->svi == svi)
        return;
    v->rvi = rvi;
    v->svi = svi;
    vcpu_changed(v, VCPU_APIC);
}

/*
 * An interrupt that only the task priority holds back may go when that falls below its class. (What is in service holds
 * others back until its EOI, which exits.)
 */
static uint8_t threshold_of(const struct lapic *l)
{
    int irr = lapic_highest_irr(l), isr = lapic_highest_isr(l);

    return irr < 0 || irr >> 4 <= (isr < 0 ? 0 : isr >> 4) ? 0 : (uint8_t)(irr >> 4);
}

static void choose_interrupt(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    int next = lapic_next(&vp->lapic);

    vp->wanted.interrupt_window = false;
    vp->wanted.tpr_threshold = 0;
    if (next < 0) {
        if (lapic_get(&vp->lapic, APIC_SVR) & APIC_SVR_ENABLE)
            vp->wanted.tpr_threshold = threshold_of(&vp->lapic);
        return;
    }
    if (!can_take_interrupt(v)) {
        vp->wanted.interrupt_window = true;
        return;
    }
    lapic_deliver(&vp->lapic, (uint8_t)next);
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXTERNAL) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, (uint64_t)next);
    vp_count_event(vp);
}

/* Neither a disabled APIC nor hardware that delivers has a window to wait for, or a threshold, which entries check. */
static void choose(struct hv_vp *vp)
{
    choose_nmi(vp);
    if (vp->has_apic && lapic_is_enabled(&vp->lapic) && !hardware_delivers(vp)) {
        choose_interrupt(vp);
    } else {
        vp->wanted.interrupt_window = false;
        vp->wanted.tpr_threshold = 0;
        if (hardware_delivers(vp))
            tell_hardware(vp);
    }
    run_apply_windows(vp);
}

/* ----------------------------------------------------------------------------------- the timer */

/* Whole seconds apart from the rest: neither product overflows, for rates up to 16 GHz and times up to centuries. */
static uint64_t ns_to_tsc(uint64_t ns)
{
    uint64_t hz = cpu_facts()->tsc_hz;

    return ns / NS_PER_S * hz + ns % NS_PER_S * hz / NS_PER_S + 1;
}

#define FAR_NS (UINT64_MAX / 4) /* later than anybody waits */

static uint64_t tsc_to_ns(uint64_t ticks)
{
    uint64_t hz = cpu_facts()->tsc_hz, seconds = ticks / hz;

    if (seconds >= FAR_NS / NS_PER_S)
        return FAR_NS;
    return seconds * NS_PER_S + ticks % hz * NS_PER_S / hz + 1;
}

/* Ticks of the TSC until the timer is due; UINT64_MAX: it is not running. */
static uint64_t ticks_to_timer(const struct hv_vp *vp)
{
    const struct lapic *l = &vp->lapic;
    uint64_t due, now;

    if (!vp->has_apic)
        return UINT64_MAX;
    if (l->timer_tsc) {
        now = vcpu_guest_tsc(vp->vcpu);
        return l->timer_tsc > now ? l->timer_tsc - now : 0;
    }
    due = lapic_timer_due_ns(l);
    if (due == UINT64_MAX)
        return UINT64_MAX;
    now = hv_host_time_ns();
    return due > now ? ns_to_tsc(due - now) : 0;
}

void irq_poll_timer(struct hv_vp *vp)
{
    struct lapic_effect effect = {0};
    struct lapic *l = &vp->lapic;
    uint8_t vector;
    bool is_new;

    if (!vp->has_apic || !(l->timer_tsc || l->timer_due_ns))
        return;
    vector = (uint8_t)FIELD_GET(APIC_LVT_VECTOR, l->timer_lvt);
    is_new = !is_requested(vp, vector);
    if (lapic_timer_poll(l, l->timer_due_ns ? hv_host_time_ns() : 0, l->timer_tsc ? vcpu_guest_tsc(vp->vcpu) : 0,
                         &effect)) {
        if (hardware_delivers(vp)) {
            set_eoi_exit(vp, vector);
            vp->counters.events.interrupts += is_new;
        }
        vp->todo |= VP_TODO_INTERRUPTS | VP_TODO_TIMER;
    }
    irq_apply(vp, &effect);
}

static void set_deadline(struct hv_vp *vp, uint64_t ticks)
{
    struct vcpu *v = vp->vcpu;
    uint64_t now = cpu_tsc(), deadline = ticks < UINT64_MAX - now ? now + ticks : 0;

    if (vp->run_deadline && (!deadline || vp->run_deadline < deadline))
        deadline = vp->run_deadline;
    v->deadline_tsc = deadline;
}

/* Where the CPU has no timer for guests, the host interrupts it. */
static void set_host_timer(uint64_t ticks)
{
    hv_host_timer(ticks == UINT64_MAX ? 0 : hv_host_time_ns() + tsc_to_ns(ticks));
}

/* A guest that has its timer fire more often than this would do nothing but exit. */
#define MIN_PERIOD_NS 10000u

static void set_timer(struct hv_vp *vp)
{
    uint64_t ticks = ticks_to_timer(vp);

    if (!ticks) {
        irq_poll_timer(vp);
        ticks = ticks_to_timer(vp);
        ticks = HV_MAX(ticks, ns_to_tsc(MIN_PERIOD_NS));
    }
    if (backend()->run_deadline() == HV_OK)
        set_deadline(vp, ticks);
    else
        set_host_timer(ticks);
}

void irq_stop_timer(struct hv_vp *vp)
{
    if (!vp->has_apic || backend()->run_deadline() == HV_OK)
        return;
    hv_host_timer(0);
    vp->todo |= VP_TODO_TIMER;
}

uint64_t irq_wake_time(struct hv_vp *vp)
{
    uint64_t ticks;

    vp_pin(vp); /* the guest's TSC is this CPU's, and what is added here */
    ticks = ticks_to_timer(vp);
    vp_unpin(vp);
    return ticks == UINT64_MAX ? 0 : hv_host_time_ns() + tsc_to_ns(ticks);
}

/* ----------------------------------------------------------------------------- before an entry */

static void describe_eoi(struct hv_vp *vp, struct hv_exit *exit)
{
    exit->reason = HV_EXIT_APIC_EOI;
    exit->instruction_length = 0;
    exit->apic.vector = vp->apic_eoi;
}

bool irq_prepare(struct hv_vp *vp, struct hv_exit *exit)
{
    if (vp->todo & VP_TODO_EOI) {
        vp->todo &= ~VP_TODO_EOI;
        describe_eoi(vp, exit);
        return false;
    }
    if (vp->todo & VP_TODO_TIMER) {
        set_timer(vp); /* may find it due, and make an interrupt of it */
        vp->todo &= ~VP_TODO_TIMER;
    }
    if (vp->todo & VP_TODO_INTERRUPTS) {
        vp->todo &= ~VP_TODO_INTERRUPTS;
        choose(vp);
    }
    return true;
}

/* An event of the client's. One that the guest masks waits. */
static bool client_wakes(const struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    if (v->event & HV_PENDING_INT_VALID)
        return true;
    if (!(vp->pending_event[0] & HV_PENDING_EVENT_VALID))
        return false;
    vcpu_need(v, VCPU_RFLAGS);
    return FIELD_GET(HV_PENDING_EVENT_TYPE, vp->pending_event[0]) != HV_EVENT_TYPE_EXT_INT || v->rflags & RFLAGS_IF;
}

bool irq_wakes(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    if (client_wakes(vp))
        return true;
    if (vp->nmi_pending) {
        vcpu_need(v, VCPU_INTR);
        if (!v->nmi_masked)
            return true;
    }
    if (!vp->has_apic || !lapic_is_enabled(&vp->lapic) || lapic_next(&vp->lapic) < 0)
        return false;
    vcpu_need(v, VCPU_RFLAGS);
    return v->rflags & RFLAGS_IF;
}

/* ----------------------------------------------------------------------------------- messages */

struct message {
    uint8_t mode, vector;
    bool is_logical, is_level, is_x2apic;
    uint32_t destination;
};

static void post_vector(struct hv_vp *vp, uint8_t vector, bool is_level)
{
    uint64_t bit = BIT64(vector % 64);
    unsigned i = vector / 64;

    if (is_level)
        __atomic_or_fetch(&vp->inbox.level[i], bit, __ATOMIC_RELAXED);
    else
        __atomic_and_fetch(&vp->inbox.level[i], ~bit, __ATOMIC_RELAXED);
    if (__atomic_fetch_or(&vp->inbox.vectors[i], bit, __ATOMIC_RELEASE) & bit)
        return; /* still there, with its request */
    vp_request(vp, VP_REQUEST_INTERRUPT);
}

static void post_init(struct hv_vp *vp)
{
    __atomic_and_fetch(&vp->shared.requests, ~VP_REQUEST_SIPI, __ATOMIC_RELAXED);
    vp_request(vp, VP_REQUEST_INIT);
}

static void post_sipi(struct hv_vp *vp, uint8_t vector)
{
    __atomic_store_n(&vp->inbox.sipi, vector, __ATOMIC_RELAXED);
    vp_request(vp, VP_REQUEST_SIPI);
}

static void deliver(struct hv_vp *to, const struct message *m)
{
    switch (m->mode) {
    case APIC_MODE_FIXED:
    case APIC_MODE_LOWEST:
        post_vector(to, m->vector, m->is_level);
        break;
    case APIC_MODE_NMI:
        __atomic_add_fetch(&to->inbox.nmis, 1, __ATOMIC_RELAXED);
        vp_request(to, VP_REQUEST_NMI);
        break;
    case APIC_MODE_INIT:
        post_init(to);
        break;
    case APIC_MODE_STARTUP:
        post_sipi(to, m->vector);
        break;
    default: /* SMI: nothing takes it; external interrupts come from the client */
        break;
    }
}

/* A VP's object stays until its partition goes; one that is deleted keeps its inbox until it is created again. */
static struct hv_vp *vp_at(const struct hv_partition *p, uint32_t index)
{
    return index < HV_MAX_VPS ? __atomic_load_n(&p->vps[index], __ATOMIC_ACQUIRE) : NULL;
}

static bool is_addressed(const struct hv_vp *vp, const struct message *m)
{
    uint32_t mode = __atomic_load_n(&vp->inbox.mode, __ATOMIC_RELAXED);
    const struct lapic_address address = {
        .id = vp->index,
        .ldr = __atomic_load_n(&vp->inbox.ldr, __ATOMIC_RELAXED),
        .dfr = __atomic_load_n(&vp->inbox.dfr, __ATOMIC_RELAXED),
        .enabled = mode & VP_APIC_ENABLED,
        .x2apic = mode & VP_APIC_X2APIC,
    };

    return lapic_is_addressed(&address, m->destination, m->is_logical, m->is_x2apic);
}

/* Among those addressed the turn goes round: no task priority is looked at, as in today's CPUs (SDM 3A 10.6.2.4). */
static void deliver_lowest(struct hv_partition *p, const struct message *m, const struct hv_vp *but)
{
    uint32_t turn = __atomic_fetch_add(&p->lowest_turn, 1, __ATOMIC_RELAXED);

    for (uint32_t i = 0; i < HV_MAX_VPS; i++) {
        struct hv_vp *to = vp_at(p, (turn + i) % HV_MAX_VPS);

        if (to && to != but && is_addressed(to, m)) {
            __atomic_store_n(&p->lowest_turn, to->index + 1, __ATOMIC_RELAXED);
            deliver(to, m);
            return;
        }
    }
}

static void send(struct hv_partition *p, const struct message *m, const struct hv_vp *but)
{
    if (m->mode == APIC_MODE_LOWEST) {
        deliver_lowest(p, m, but);
        return;
    }
    for (uint32_t i = 0; i < p->properties.processor_count; i++) {
        struct hv_vp *to = vp_at(p, i);

        if (to && to != but && is_addressed(to, m))
            deliver(to, m);
    }
}

#define BROADCAST 0xffffffffu

/* The sender's own interrupt needs no detour: it has the APIC at hand. */
static void send_to_self(struct hv_vp *vp, const struct message *m)
{
    vp->counters.apic.self_ipis++;
    if (m->mode == APIC_MODE_FIXED)
        accept(vp, m->vector, m->is_level);
    else
        deliver(vp, m);
}

static void send_icr(struct hv_vp *vp, uint64_t icr)
{
    struct message m = {
        .mode = (uint8_t)FIELD_GET(APIC_ICR_MODE, icr),
        .vector = (uint8_t)FIELD_GET(APIC_ICR_VECTOR, icr),
        .is_logical = icr & APIC_ICR_LOGICAL,
        .is_x2apic = lapic_is_x2apic(&vp->lapic),
        .destination = (uint32_t)FIELD_GET(APIC_ICR_DEST_X2APIC, icr),
    };

    switch (FIELD_GET(APIC_ICR_SHORTHAND, icr)) {
    case APIC_SHORTHAND_SELF:
        send_to_self(vp, &m);
        return;
    case APIC_SHORTHAND_ALL:
    case APIC_SHORTHAND_OTHERS:
        vp->counters.apic.ipis++;
        m.is_logical = false;
        m.is_x2apic = true;
        m.destination = BROADCAST;
        send(vp->partition, &m, FIELD_GET(APIC_ICR_SHORTHAND, icr) == APIC_SHORTHAND_OTHERS ? vp : NULL);
        return;
    default:
        if (!m.is_logical && m.destination == vp->index) {
            send_to_self(vp, &m);
            return;
        }
        vp->counters.apic.ipis++;
        send(vp->partition, &m, NULL);
    }
}

static bool is_type_sent(const struct hv_interrupt *i)
{
    switch (i->type) {
    case APIC_MODE_FIXED:
    case APIC_MODE_LOWEST:
        return i->vector >= 16 && i->vector <= UINT8_MAX;
    case APIC_MODE_STARTUP:
        return i->vector <= UINT8_MAX;
    default:
        return i->type == APIC_MODE_NMI || i->type == APIC_MODE_INIT;
    }
}

enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    const struct message m = {
        .mode = interrupt->type,
        .vector = (uint8_t)interrupt->vector,
        .is_logical = interrupt->is_logical,
        .is_level = interrupt->is_level,
        .is_x2apic = interrupt->destination > UINT8_MAX,
        .destination = interrupt->destination,
    };

    if (!__atomic_load_n(&p->is_set_up, __ATOMIC_ACQUIRE) || p->properties.local_apic_mode == HV_LOCAL_APIC_NONE)
        return HV_E_STATE;
    if (!is_type_sent(interrupt))
        return HV_E_INVALID;
    send(p, &m, NULL);
    return HV_OK;
}

/* ------------------------------------------------------------------------------ consequences */

static void publish_address(struct hv_vp *vp)
{
    struct lapic_address a = lapic_address(&vp->lapic);

    __atomic_store_n(&vp->inbox.ldr, a.ldr, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->inbox.dfr, a.dfr, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->inbox.mode, (a.enabled ? VP_APIC_ENABLED : 0) | (a.x2apic ? VP_APIC_X2APIC : 0),
                     __ATOMIC_RELAXED);
}

void irq_apply(struct hv_vp *vp, const struct lapic_effect *effect)
{
    if (effect->bits & LAPIC_EFFECT_IPI)
        send_icr(vp, effect->icr);
    if (effect->bits & LAPIC_EFFECT_EOI) {
        vp->apic_eoi = effect->vector;
        vp->todo |= VP_TODO_EOI;
    }
    if (effect->bits & LAPIC_EFFECT_TIMER)
        vp->todo |= VP_TODO_TIMER;
    if (effect->bits & LAPIC_EFFECT_PRIORITY)
        vp->todo |= VP_TODO_INTERRUPTS;
    if (effect->bits & LAPIC_EFFECT_ERROR)
        accept(vp, effect->vector, false);
    if (effect->bits & LAPIC_EFFECT_ADDRESS)
        publish_address(vp);
    if (effect->bits & LAPIC_EFFECT_NMI)
        take_nmis(vp, 1);
}

static uint8_t mode_of(const struct hv_vp *vp)
{
    if (!vp->has_apic || !lapic_is_enabled(&vp->lapic))
        return VCPU_APIC_NONE;
    return lapic_is_x2apic(&vp->lapic) ? VCPU_APIC_X2APIC : VCPU_APIC_XAPIC;
}

/* The page that the hardware wants mapped is at one place only: registers moved elsewhere are emulated. */
static hv_hpa_t access_page(const struct hv_vp *vp)
{
    bool is_moved = (vp->lapic.base & APIC_BASE_ADDR) != APIC_DEFAULT_BASE;

    return is_moved ? HV_HPA_NONE : vp->partition->apic_access_pa;
}

void irq_mode_changed(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    if (!vp->has_apic)
        return;
    v->controls.apic_mode = mode_of(vp);
    v->controls.pause_exit = vp->partition->properties.processor_count > 1;
    v->apic_access_pa = access_page(vp);
    v->apic_gpa = vp->lapic.base & APIC_BASE_ADDR;
    vcpu_changed(v, VCPU_CONTROLS);
    vp->lapic.delivers = backend()->apic_features(v->controls.apic_mode) & VCPU_APIC_DELIVERY;
    irq_registers_changed(vp);
}

void irq_registers_changed(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    for (unsigned i = 0; i < 8; i++) { /* the trigger modes of what is pending and in service */
        uint32_t tmr = lapic_get(&vp->lapic, APIC_TMR + 16 * i);

        v->eoi_exit[i / 2] = i % 2 ? v->eoi_exit[i / 2] | (uint64_t)tmr << 32 : tmr;
    }
    vcpu_changed(v, VCPU_EOI_EXIT);
    v->cr8 = lapic_get(&vp->lapic, APIC_TPR) >> 4 & 0xf;
    vcpu_changed(v, VCPU_CR8);
    publish_address(vp);
    vp->todo |= VP_TODO_INTERRUPTS | VP_TODO_TIMER;
}

void irq_reset(struct hv_vp *vp)
{
    struct lapic *l = &vp->lapic;

    memset(&vp->inbox, 0, sizeof(vp->inbox));
    vp->todo = VP_TODO_INTERRUPTS;
    *l = (struct lapic){
        .regs = vp->vcpu->apic_page,
        .id = vp->index,
        .x2apic_allowed = vp->partition->properties.local_apic_mode == HV_LOCAL_APIC_X2APIC,
    };
    lapic_reset(l, false);
    forget_events(vp);
    vp->activity = vp->has_apic && vp->index != 0 ? HV_ACTIVITY_STARTUP_SUSPEND : 0;
    vp->vcpu->apic_access_pa = HV_HPA_NONE;
    irq_mode_changed(vp);
}

/* ---------------------------------------------------------------------- registers for clients */

static bool claim_apic(struct hv_vp *vp, enum hv_status *st)
{
    if (!vp->has_apic)
        *st = HV_E_STATE;
    else
        *st = vp_claim(vp) ? HV_OK : HV_E_VP_BUSY;
    return *st == HV_OK;
}

/* As Hyper-V does it: in the place of a vector that no interrupt can have. */
static void put_nmi(void *page)
{
    uint32_t irr;

    memcpy(&irr, (char *)page + APIC_IRR, sizeof(irr));
    irr |= LAPIC_PAGE_NMI;
    memcpy((char *)page + APIC_IRR, &irr, sizeof(irr));
}

enum hv_status hv_vp_get_apic(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    enum hv_status st;

    if (written)
        *written = HV_APIC_STATE_SIZE;
    if (size < HV_APIC_STATE_SIZE)
        return HV_E_BUFFER_TOO_SMALL;
    if (!claim_apic(vp, &st))
        return st;
    vp_pin(vp);
    irq_take_requests(vp);
    lapic_get_page(&vp->lapic, hv_host_time_ns(), buffer);
    if (vp->nmi_pending)
        put_nmi(buffer);
    vp_unpin(vp);
    vp_release(vp);
    return HV_OK;
}

enum hv_status hv_vp_set_apic(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    struct lapic_effect effect = {0};
    enum hv_status st;

    if (size < HV_APIC_STATE_SIZE)
        return HV_E_INVALID;
    if (!claim_apic(vp, &st))
        return st;
    vp_pin(vp);
    irq_take_requests(vp); /* what came before belongs to the state that is replaced */
    if (lapic_set_page(&vp->lapic, hv_host_time_ns(), buffer, &effect)) {
        vp->nmi_pending = 0;
        irq_registers_changed(vp);
    } else {
        st = HV_E_INVALID;
    }
    irq_apply(vp, &effect);
    vp_unpin(vp);
    vp_release(vp);
    return st;
}
