/* SPDX-License-Identifier: MIT */
/* Interrupt messages: whom they are for, and what they put into the inboxes of those. */
#include "irq_parts.h"
#include <hv/base/bits.h>

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

void irq_post_vector(struct hv_vp *vp, uint8_t vector)
{
    post_vector(vp, vector, false);
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
        irq_accept(vp, m->vector, m->is_level);
    else
        deliver(vp, m);
}

void irq_send_icr(struct hv_vp *vp, uint64_t icr)
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

enum hv_status irq_check(const struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    if (!__atomic_load_n(&p->is_set_up, __ATOMIC_ACQUIRE) || p->properties.local_apic_mode == HV_LOCAL_APIC_NONE)
        return HV_E_STATE;
    return is_type_sent(interrupt) ? HV_OK : HV_E_INVALID;
}

enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    enum hv_status st = irq_check(p, interrupt);
    const struct message m = {
        .mode = interrupt->type,
        .vector = (uint8_t)interrupt->vector,
        .is_logical = interrupt->is_logical,
        .is_level = interrupt->is_level,
        .is_x2apic = interrupt->destination > UINT8_MAX,
        .destination = interrupt->destination,
    };

    if (st == HV_OK)
        send(p, &m, NULL);
    return st;
}
