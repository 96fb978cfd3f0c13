/* SPDX-License-Identifier: MIT */
/* Interrupts of VPs with local APICs: see irq.h. */
#include "assist.h"
#include "irq_parts.h"
#include "run.h"
#include "synic.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* ------------------------------------------------------------------------- taking interrupts in */

/* The client hears of the EOIs that TMR says, the SynIC of those that it wants to. */
void irq_set_eoi_exit(struct hv_vp *vp, uint8_t vector)
{
    struct vcpu *v = vp->vcpu;
    uint64_t bit = BIT64(vector % 64), *word = &v->eoi_exit[vector / 64];
    bool wanted = lapic_is_level(&vp->lapic, vector) || vp->eoi_wanted[vector / 64] & bit;

    if (!(*word & bit) == !wanted)
        return;
    *word ^= bit;
    vcpu_changed(v, VCPU_EOI_EXIT);
}

/* What hardware that delivers by itself does not say. */
static void tell_of_new(struct hv_vp *vp, uint8_t vector, bool is_new)
{
    if (!irq_hardware_delivers(vp))
        return;
    irq_set_eoi_exit(vp, vector);
    vp->counters.events.interrupts += is_new;
}

void irq_accept(struct hv_vp *vp, uint8_t vector, bool is_level)
{
    bool is_new = !irq_is_requested(vp, vector);
    struct lapic_effect effect = {0};

    lapic_accept(&vp->lapic, vector, is_level, &effect);
    tell_of_new(vp, vector, is_new && effect.bits & LAPIC_EFFECT_PRIORITY);
    irq_apply(vp, &effect);
}

void irq_accept_input(struct hv_vp *vp, unsigned input)
{
    uint32_t lvt = lapic_get(&vp->lapic, input ? APIC_LVT_LINT1 : APIC_LVT_LINT0);
    uint8_t vector = (uint8_t)FIELD_GET(APIC_LVT_VECTOR, lvt);
    bool is_new = !irq_is_requested(vp, vector);
    struct lapic_effect effect = {0};

    if (lapic_accept_input(&vp->lapic, input, &effect))
        tell_of_new(vp, vector, is_new);
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

            irq_accept(vp, (uint8_t)(64 * i + bit), level >> bit & 1);
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

void irq_take_nmis(struct hv_vp *vp, uint32_t count)
{
    uint32_t limit = limit_of_nmis(vp->vcpu);

    vp->nmi_pending = (uint8_t)(count < limit ? HV_MIN(vp->nmi_pending + count, limit) : limit);
    vp->todo |= VP_TODO_INTERRUPTS;
}

void irq_take_requests(struct hv_vp *vp)
{
    const uint32_t mine = VP_REQUEST_INTERRUPT | VP_REQUEST_NMI | VP_REQUEST_SIGNAL | VP_REQUEST_POSTED;
    uint32_t requests = __atomic_fetch_and(&vp->shared.requests, ~mine, __ATOMIC_ACQUIRE);

    if (requests & VP_REQUEST_INTERRUPT)
        take_vectors(vp);
    if (requests & VP_REQUEST_POSTED)
        irq_posted_take(vp);
    if (requests & VP_REQUEST_SIGNAL)
        irq_take_signals(vp);
    if (requests & VP_REQUEST_NMI)
        irq_take_nmis(vp, __atomic_exchange_n(&vp->inbox.nmis, 0, __ATOMIC_RELAXED));
}

/* ----------------------------------------------------------------------------- INIT and startup */

static void clear_inbox(struct hv_vp *vp)
{
    for (unsigned i = 0; i < ARRAY_COUNT(vp->inbox.vectors); i++)
        __atomic_store_n(&vp->inbox.vectors[i], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->inbox.nmis, 0, __ATOMIC_RELAXED);
    irq_posted_forget(vp);
    irq_clear_signals(vp);
}

static void forget_events(struct hv_vp *vp)
{
    vp->nmi_pending = 0;
    irq_drop_ext_ints(vp, -1);
    vp_set_pending_event(vp, 0, 0);
    memset(&vp->wanted, 0, sizeof(vp->wanted));
    memset(vp->vcpu->eoi_exit, 0, sizeof(vp->vcpu->eoi_exit));
    vcpu_changed(vp->vcpu, VCPU_EOI_EXIT);
}

/* Who sends INIT takes SIPIs back that were sent before: what is pending now came after it. */
static void take_init(struct hv_vp *vp)
{
    clear_inbox(vp);
    assist_settle(vp);
    vcpu_init(vp->vcpu);
    lapic_reset(&vp->lapic, true);
    forget_events(vp);
    vp->pdptes_stale = false;
    vp->properties_stale = true;
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
bool irq_can_take_nmi(struct vcpu *v)
{
    if (v->event & HV_PENDING_INT_VALID)
        return false;
    vcpu_need(v, VCPU_INTR);
    return !v->nmi_masked && !v->interrupt_shadow && !(v->pending_debug & VCPU_DEBUG_TRAPS);
}

bool irq_can_take_interrupt(struct vcpu *v)
{
    return !(v->event & HV_PENDING_INT_VALID) && backend()->takes_interrupts(v);
}

static void choose_nmi(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    vp->wanted.nmi_window = false;
    if (!vp->nmi_pending)
        return;
    if (!irq_can_take_nmi(v)) {
        vp->wanted.nmi_window = true;
        return;
    }
    v->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_NMI) |
               FIELD_PUT(HV_PENDING_INT_VECTOR, VEC_NMI);
    vp_count_event(vp);
    vp->wanted.nmi_window = --vp->nmi_pending; /* the next one after this one's IRET */
}

static void inject_external(struct hv_vp *vp, int vector)
{
    vp->vcpu->event = HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, HV_INT_TYPE_EXTERNAL) |
                      FIELD_PUT(HV_PENDING_INT_VECTOR, (uint64_t)vector);
    vp_count_event(vp);
}

/* External interrupts pass the APIC by: neither the task priority nor what is in service holds them back. */
static void choose_ext_int(struct hv_vp *vp)
{
    int vector = irq_next_ext_int(vp);

    if (vector < 0)
        return;
    if (irq_can_take_interrupt(vp->vcpu)) {
        irq_drop_ext_ints(vp, vector);
        inject_external(vp, vector);
    }
    vp->wanted.interrupt_window = irq_next_ext_int(vp) >= 0;
}

/* What the hardware needs to know: the highest vectors requested and in service. It does the rest. */
static void tell_hardware(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    bool is_on = lapic_get(&vp->lapic, APIC_SVR) & APIC_SVR_ENABLE; /* else what is requested waits */
    int irr = is_on ? lapic_highest_irr(&vp->lapic) : -1, isr = lapic_highest_isr(&vp->lapic);
    uint8_t rvi = irr < 0 ? 0 : (uint8_t)irr, svi = isr < 0 ? 0 : (uint8_t)isr;

    if (v->controls.takes_posted != is_on) {
        v->controls.takes_posted = is_on;
        vcpu_changed(v, VCPU_CONTROLS);
    }
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

/* What is next can not go in now; -1: nothing is, as things are. */
static void await(struct hv_vp *vp, int next)
{
    if (next >= 0)
        vp->wanted.interrupt_window = true;
    else if (lapic_get(&vp->lapic, APIC_SVR) & APIC_SVR_ENABLE)
        vp->wanted.tpr_threshold = threshold_of(&vp->lapic);
}

/* One whose delivery is its end keeps no other back, and there will be no EOI at which to look for the next one. */
static void choose_interrupt(struct hv_vp *vp)
{
    int next = lapic_next(&vp->lapic);
    bool is_end;

    if (next < 0 || !irq_can_take_interrupt(vp->vcpu)) {
        await(vp, next);
    } else {
        is_end = vp->auto_eoi[next / 64] >> next % 64 & 1;
        lapic_deliver(&vp->lapic, (uint8_t)next, is_end);
        inject_external(vp, next);
        if (is_end)
            await(vp, lapic_next(&vp->lapic));
    }
    assist_offer(vp);
}

static bool has_auto_eoi(const struct hv_vp *vp)
{
    return vp->auto_eoi[0] | vp->auto_eoi[1] | vp->auto_eoi[2] | vp->auto_eoi[3];
}

/*
 * The core delivers, whatever the hardware could, where there are vectors whose delivery is their end, of which no
 * hardware knows, and while the client waits for a task priority to fall: hardware that delivers does not tell of that.
 */
static void set_deliverer(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    bool could = backend()->apic_features(v->controls.apic_mode) & VCPU_APIC_DELIVERY;

    assist_settle(vp);
    v->controls.core_delivers = has_auto_eoi(vp) || run_window_is_blocked(vp);
    vp->lapic.delivers = could && !v->controls.core_delivers;
    lapic_set_private(&vp->lapic, !could);
    vcpu_changed(v, VCPU_CONTROLS);
}

/* By the trigger modes of what is pending and in service, and for the SynIC. */
static void set_eoi_exits(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    for (unsigned i = 0; i < 8; i++) {
        uint32_t tmr = lapic_get(&vp->lapic, APIC_TMR + 16 * i);

        v->eoi_exit[i / 2] = i % 2 ? v->eoi_exit[i / 2] | (uint64_t)tmr << 32 : tmr | vp->eoi_wanted[i / 2];
    }
    vcpu_changed(v, VCPU_EOI_EXIT);
}

/* Both keep what is requested and in service in the page. */
static void choose_deliverer(struct hv_vp *vp)
{
    if (vp->vcpu->controls.core_delivers == (has_auto_eoi(vp) || run_window_is_blocked(vp)))
        return;
    set_deliverer(vp);
    set_eoi_exits(vp);
}

/* Neither a disabled APIC nor hardware that delivers has a window to wait for, or a threshold, which entries check. */
static void choose(struct hv_vp *vp)
{
    vp->wanted.interrupt_window = false;
    vp->wanted.tpr_threshold = 0;
    choose_nmi(vp);
    if (vp->has_apic) {
        choose_deliverer(vp);
        choose_ext_int(vp);
        if (irq_hardware_delivers(vp))
            tell_hardware(vp);
        else if (lapic_is_enabled(&vp->lapic))
            choose_interrupt(vp);
    }
    run_apply_windows(vp);
}

/* ----------------------------------------------------------------------------- before an entry */

void irq_trap(struct hv_vp *vp, enum hv_exit_reason reason, uint16_t offset, uint64_t value)
{
    vp->trap.reason = reason;
    vp->trap.offset = offset;
    vp->trap.value = value;
    vp->todo |= VP_TODO_TRAP;
}

/* An SMI has come to this VP: as if it had sent it to itself. */
static void describe_smi(struct hv_vp *vp, struct hv_exit *exit)
{
    vp->smi_pending = false;
    exit->reason = HV_EXIT_APIC_SMI_TRAP;
    exit->icr = FIELD_PUT(APIC_ICR_MODE, APIC_MODE_SMI) | FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF);
}

static void describe_trap(struct hv_vp *vp, struct hv_exit *exit)
{
    exit->reason = vp->trap.reason;
    if (exit->reason == HV_EXIT_APIC_WRITE_TRAP) {
        exit->apic_write.offset = vp->trap.offset;
        exit->apic_write.value = vp->trap.value;
    } else {
        exit->icr = vp->trap.value;
    }
    vp->trap.reason = HV_EXIT_NONE;
}

bool irq_tell(struct hv_vp *vp, struct hv_exit *exit)
{
    if (vp->todo & VP_TODO_EOI) {
        vp->todo &= ~VP_TODO_EOI;
        exit->reason = HV_EXIT_APIC_EOI;
        exit->apic.vector = vp->apic_eoi;
    } else if (vp->todo & VP_TODO_TRAP) {
        if (vp->trap.reason != HV_EXIT_NONE)
            describe_trap(vp, exit);
        else
            describe_smi(vp, exit);
        if (!vp->smi_pending)
            vp->todo &= ~VP_TODO_TRAP;
    } else {
        return false;
    }
    exit->instruction_length = 0;
    return true;
}

/*
 * Is there nothing but interrupts of the local APIC's, that the core delivers, and no window is being waited for? (Only
 * of an APIC that there is are the registers private, and vectors whose delivery is their end are among the reasons for
 * core_delivers.)
 */
static inline bool is_plain(const struct hv_vp *vp)
{
    const struct vcpu_controls *c = &vp->vcpu->controls;

    return vp->due == VP_DUE(VP_TODO_INTERRUPTS) && vp->lapic.is_private &&
           !(vp->unusual | vp->notifications | c->windows | c->core_delivers);
}

bool irq_prepare_plain(struct hv_vp *vp)
{
    int next;

    if (!is_plain(vp))
        return false;
    if (vp->lapic.irr_words) {
        if (!irq_can_take_interrupt(vp->vcpu))
            return false;
        next = lapic_deliver_plain(&vp->lapic);
        if (next < 0)
            return false;
        inject_external(vp, next);
    }
    vp->wanted.tpr_threshold = 0; /* which was above CR8, else it would be among the controls */
    vp->todo = 0;
    return true;
}

bool irq_prepare(struct hv_vp *vp, struct hv_exit *exit)
{
    if (irq_prepare_plain(vp))
        return true;
    if (vp->todo & VP_TODO_INTERRUPTS)
        assist_settle(vp); /* adds to what is to be looked at */
    if (irq_tell(vp, exit))
        return false;
    if (vp->todo & VP_TODO_TIMER) {
        irq_set_timer(vp); /* may find it due, and make an interrupt of it */
        vp->todo &= ~VP_TODO_TIMER;
    }
    if (vp->todo & VP_TODO_INTERRUPTS) {
        if (vp->has_apic && vp->notifications && run_tell_window(vp, exit))
            return false;
        vp->todo &= ~VP_TODO_INTERRUPTS;
        choose(vp);
    }
    if (vp->todo & VP_TODO_SINTS) {
        vp->todo &= ~VP_TODO_SINTS;
        return !synic_notify(vp, exit);
    }
    return true;
}

/* An event of the client's. One that the guest masks waits. */
static bool client_wakes(const struct hv_vp *vp, bool is_idle)
{
    struct vcpu *v = vp->vcpu;

    if (v->event & HV_PENDING_INT_VALID)
        return true;
    if (!(vp->pending_event[0] & HV_PENDING_EVENT_VALID))
        return false;
    vcpu_need(v, VCPU_RFLAGS);
    return FIELD_GET(HV_PENDING_EVENT_TYPE, vp->pending_event[0]) != HV_EVENT_TYPE_EXT_INT || is_idle ||
           v->rflags & RFLAGS_IF;
}

/* One that idles goes on with whatever has come, also when the guest holds it back. */
static bool is_interrupted(struct hv_vp *vp, bool is_idle)
{
    struct lapic *l = &vp->lapic;

    if (irq_next_ext_int(vp) >= 0)
        return true;
    return is_idle ? lapic_highest_irr(l) >= 0 : lapic_is_enabled(l) && lapic_next(l) >= 0;
}

bool irq_wakes(struct hv_vp *vp)
{
    bool is_idle = vp->activity == HV_ACTIVITY_IDLE_SUSPEND;
    struct vcpu *v = vp->vcpu;

    if (client_wakes(vp, is_idle))
        return true;
    if (vp->nmi_pending) {
        vcpu_need(v, VCPU_INTR);
        if (!v->nmi_masked)
            return true;
    }
    assist_settle(vp);
    if (!vp->has_apic || !is_interrupted(vp, is_idle))
        return false;
    vcpu_need(v, VCPU_RFLAGS);
    return is_idle || v->rflags & RFLAGS_IF;
}

/* ------------------------------------------------------------------------------ consequences */

/* Before the guest goes on, the interrupts of its devices go by the new address too. */
static void publish_address(struct hv_vp *vp)
{
    struct lapic_address a = lapic_address(&vp->lapic);
    uint32_t mode = (a.enabled ? VP_APIC_ENABLED : 0) | (a.x2apic ? VP_APIC_X2APIC : 0);

    if (vp->inbox.ldr == a.ldr && vp->inbox.dfr == a.dfr && vp->inbox.mode == mode)
        return;
    __atomic_store_n(&vp->inbox.ldr, a.ldr, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->inbox.dfr, a.dfr, __ATOMIC_RELAXED);
    __atomic_store_n(&vp->inbox.mode, mode, __ATOMIC_SEQ_CST);
    if (!vpci_table_is_empty(&vp->partition->vpci.devices))
        __atomic_or_fetch(&vp->shared.requests, VP_REQUEST_ROUTES, __ATOMIC_RELAXED);
}

void irq_apply(struct hv_vp *vp, const struct lapic_effect *effect)
{
    if (effect->bits & LAPIC_EFFECT_IPI)
        irq_send_icr(vp, effect->icr);
    if (effect->bits & LAPIC_EFFECT_EOI) {
        vp->apic_eoi = effect->vector;
        vp->todo |= VP_TODO_EOI;
    }
    if (effect->bits & LAPIC_EFFECT_ENDED)
        synic_eoi(vp, effect->vector);
    if (effect->bits & LAPIC_EFFECT_TIMER)
        vp->todo |= VP_TODO_TIMER;
    if (effect->bits & LAPIC_EFFECT_PRIORITY)
        vp->todo |= VP_TODO_INTERRUPTS;
    if (effect->bits & LAPIC_EFFECT_ERROR)
        irq_accept(vp, effect->vector, false);
    if (effect->bits & LAPIC_EFFECT_ADDRESS)
        publish_address(vp);
    if (effect->bits & LAPIC_EFFECT_NMI)
        irq_take_nmis(vp, 1);
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
    set_deliverer(vp);
    irq_registers_changed(vp);
}

void irq_auto_eoi_changed(struct hv_vp *vp)
{
    if (!vp->has_apic)
        return;
    set_deliverer(vp);
    irq_registers_changed(vp);
}

void irq_registers_changed(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;

    set_eoi_exits(vp);
    v->cr8 = lapic_get(&vp->lapic, APIC_TPR) >> 4 & 0xf;
    vcpu_changed(v, VCPU_CR8);
    publish_address(vp);
    vp->todo |= VP_TODO_INTERRUPTS | VP_TODO_TIMER;
}

void irq_reset(struct hv_vp *vp)
{
    struct lapic *l = &vp->lapic;

    memset(&vp->inbox, 0, sizeof(vp->inbox));
    irq_posted_forget(vp);
    memset(vp->auto_eoi, 0, sizeof(vp->auto_eoi));
    memset(vp->eoi_wanted, 0, sizeof(vp->eoi_wanted));
    vp->trap.reason = HV_EXIT_NONE;
    vp->smi_pending = false;
    vp->todo = VP_TODO_INTERRUPTS;
    *l = (struct lapic){
        .regs = vp->vcpu->apic_page,
        .id = vp->index,
        .x2apic_allowed = vp->partition->properties.local_apic_mode == HV_LOCAL_APIC_X2APIC,
        .remote_read = vp->partition->properties.apic_remote_read,
    };
    lapic_reset(l, false);
    forget_events(vp);
    vp->activity = vp->has_apic && vp->index != 0 ? HV_ACTIVITY_STARTUP_SUSPEND : 0;
    vp->vcpu->apic_access_pa = HV_HPA_NONE;
    irq_mode_changed(vp);
}
