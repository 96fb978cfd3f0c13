/* SPDX-License-Identifier: MIT */
/* Interrupt messages: whom they are for, and what they put into the inboxes of those. */
#include "irq_parts.h"
#include <hv/base/bits.h>

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

void irq_post_init(struct hv_vp *vp)
{
    __atomic_and_fetch(&vp->shared.requests, ~VP_REQUEST_SIPI, __ATOMIC_RELAXED);
    vp_request(vp, VP_REQUEST_INIT);
}

static void post_sipi(struct hv_vp *vp, uint8_t vector)
{
    __atomic_store_n(&vp->inbox.sipi, vector, __ATOMIC_RELAXED);
    vp_request(vp, VP_REQUEST_SIPI);
}

static void deliver(struct hv_vp *to, const struct irq_message *m)
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
        irq_post_init(to);
        break;
    case APIC_MODE_STARTUP:
        post_sipi(to, m->vector);
        break;
    case APIC_MODE_SMI:
        if (to->partition->properties.extended_exits & HV_EXTENDED_SMI) /* else nobody wants it */
            irq_post_signal(to, VP_SIGNAL_SMI);
        break;
    case APIC_MODE_EXTINT:
        irq_post_input(to, 0, VP_SIGNAL_EXT_INT, m->vector);
        break;
    case HV_INTERRUPT_LOCAL_INT0:
    case HV_INTERRUPT_LOCAL_INT1:
        irq_post_input(to, m->mode - HV_INTERRUPT_LOCAL_INT0, VP_SIGNAL_LINT(m->mode - HV_INTERRUPT_LOCAL_INT0),
                       m->vector);
        break;
    default: /* no such message */
        break;
    }
}

/* A VP's object stays until its partition goes. */
static struct hv_vp *vp_at(const struct hv_partition *p, uint32_t index)
{
    struct hv_vp *vp = index < HV_MAX_VPS ? __atomic_load_n(&p->vps[index], __ATOMIC_ACQUIRE) : NULL;

    return vp && __atomic_load_n(&vp->shared.references, __ATOMIC_RELAXED) & ~VP_DYING ? vp : NULL;
}

void irq_post_to(const struct hv_partition *p, uint64_t vps, uint8_t vector)
{
    for (; vps; vps &= vps - 1) {
        struct hv_vp *vp = vp_at(p, (uint32_t)__builtin_ctzll(vps));

        if (vp && __atomic_load_n(&vp->inbox.mode, __ATOMIC_RELAXED) & VP_APIC_ENABLED)
            post_vector(vp, vector, false);
    }
}

/* Inputs are wires: whose APIC is off has them, too. */
static bool is_wire(const struct irq_message *m)
{
    return m->mode == APIC_MODE_EXTINT || m->mode >= HV_INTERRUPT_LOCAL_INT0;
}

static bool is_addressed(const struct hv_vp *vp, const struct irq_message *m)
{
    uint32_t mode = __atomic_load_n(&vp->inbox.mode, __ATOMIC_RELAXED);
    const struct lapic_address address = {
        .id = vp->index,
        .ldr = __atomic_load_n(&vp->inbox.ldr, __ATOMIC_RELAXED),
        .dfr = __atomic_load_n(&vp->inbox.dfr, __ATOMIC_RELAXED),
        .enabled = mode & VP_APIC_ENABLED || is_wire(m),
        .x2apic = mode & VP_APIC_X2APIC,
    };

    return lapic_is_addressed(&address, m->destination, m->is_logical, m->is_x2apic);
}

static struct hv_vp *target(struct hv_partition *p, uint32_t index, const struct irq_message *m,
                            const struct hv_vp *but)
{
    struct hv_vp *vp = vp_at(p, index);

    return vp && vp != but && is_addressed(vp, m) ? vp : NULL;
}

/* Among those addressed the turn goes round: no task priority is looked at, as in today's CPUs (SDM 3A 10.6.2.4). */
static void deliver_lowest(struct hv_partition *p, const struct irq_message *m, const struct hv_vp *but)
{
    uint32_t turn = __atomic_fetch_add(&p->lowest_turn, 1, __ATOMIC_RELAXED), count = p->properties.processor_count;

    for (uint32_t i = 0; i < count; i++) {
        struct hv_vp *to = target(p, (turn + i) % count, m, but);

        if (to) {
            __atomic_store_n(&p->lowest_turn, to->index + 1, __ATOMIC_RELAXED);
            deliver(to, m);
            return;
        }
    }
}

/* A message that names one APIC looks at no other VP: their inboxes are in cache lines of other CPUs. */
static void send(struct hv_partition *p, const struct irq_message *m, const struct hv_vp *but)
{
    uint32_t only = lapic_only_id(m->destination, m->is_logical, m->is_x2apic);
    uint32_t first = 0, end = p->properties.processor_count;

    if (only != LAPIC_ANY_ID) {
        first = only;
        end = HV_MIN(end, only + 1);
    } else if (m->mode == APIC_MODE_LOWEST) {
        deliver_lowest(p, m, but);
        return;
    }
    for (uint32_t i = first; i < end; i++) {
        struct hv_vp *to = target(p, i, m, but);

        if (to)
            deliver(to, m);
    }
}

#define BROADCAST 0xffffffffu

/* The sender's own interrupt needs no detour: it has the APIC at hand. */
static void send_to_self(struct hv_vp *vp, const struct irq_message *m)
{
    vp->counters.apic.self_ipis++;
    if (m->mode == APIC_MODE_FIXED)
        irq_accept(vp, m->vector, m->is_level);
    else
        deliver(vp, m);
}

/*
 * A remote read asks one APIC for a register, and gets an answer when the VP that it belongs to has taken the question
 * in; until then ICR says that it is under way. More than one APIC, or none, can not be asked.
 */
static void read_remote(struct hv_vp *vp, const struct irq_message *m, uint64_t shorthand)
{
    struct hv_vp *found = NULL;

    for (uint32_t i = 0; shorthand == APIC_SHORTHAND_NONE && i < vp->partition->properties.processor_count; i++) {
        struct hv_vp *to = target(vp->partition, i, m, NULL);

        if (to && found)
            shorthand = APIC_SHORTHAND_ALL;
        found = to ? to : found;
    }
    vp->counters.apic.ipis++;
    irq_read_remote(vp, shorthand == APIC_SHORTHAND_NONE ? found : NULL, (uint32_t)m->vector << 4);
}

static struct irq_message message_of(const struct hv_vp *vp, uint64_t icr)
{
    return (struct irq_message){
        .mode = (uint8_t)FIELD_GET(APIC_ICR_MODE, icr),
        .vector = (uint8_t)FIELD_GET(APIC_ICR_VECTOR, icr),
        .is_logical = icr & APIC_ICR_LOGICAL,
        .is_x2apic = lapic_is_x2apic(&vp->lapic),
        .destination = (uint32_t)FIELD_GET(APIC_ICR_DEST_X2APIC, icr),
    };
}

/* The client wants to hear of these, and nobody gets them. */
static bool trap_icr(struct hv_vp *vp, uint64_t icr)
{
    uint64_t mode = FIELD_GET(APIC_ICR_MODE, icr), exits = vp->partition->properties.extended_exits;
    bool is_start = mode == APIC_MODE_INIT || mode == APIC_MODE_STARTUP;

    if (!(mode == APIC_MODE_SMI && exits & HV_EXTENDED_SMI) && !(is_start && exits & HV_EXTENDED_INIT_SIPI))
        return false;
    if (!lapic_is_x2apic(&vp->lapic))
        icr = (uint32_t)icr | FIELD_PUT(APIC_ICR_DEST_XAPIC, FIELD_GET(APIC_ICR_DEST_X2APIC, icr));
    irq_trap(vp, is_start ? HV_EXIT_APIC_INIT_SIPI_TRAP : HV_EXIT_APIC_SMI_TRAP, 0, icr);
    return true;
}

static void send_with_shorthand(struct hv_vp *vp, struct irq_message *m, bool but_self)
{
    m->is_logical = false;
    m->is_x2apic = true;
    m->destination = BROADCAST;
    send(vp->partition, m, but_self ? vp : NULL);
}

void irq_send_icr(struct hv_vp *vp, uint64_t icr)
{
    struct irq_message m = message_of(vp, icr);
    uint64_t shorthand = FIELD_GET(APIC_ICR_SHORTHAND, icr);

    if (trap_icr(vp, icr))
        return;
    if (m.mode == APIC_MODE_REMOTE) {
        read_remote(vp, &m, shorthand);
        return;
    }
    if (shorthand == APIC_SHORTHAND_SELF ||
        (shorthand == APIC_SHORTHAND_NONE && !m.is_logical && m.destination == vp->index)) {
        send_to_self(vp, &m);
        return;
    }
    vp->counters.apic.ipis++;
    if (shorthand == APIC_SHORTHAND_NONE)
        send(vp->partition, &m, NULL);
    else
        send_with_shorthand(vp, &m, shorthand == APIC_SHORTHAND_OTHERS);
}

/* --------------------------------------------------------------------------- the client's */

static bool is_type_sent(const struct hv_partition *p, const struct hv_interrupt *i)
{
    switch (i->type) {
    case APIC_MODE_FIXED:
    case APIC_MODE_LOWEST:
        return i->vector >= 16 && i->vector <= UINT8_MAX;
    case APIC_MODE_SMI:
        return __atomic_load_n(&p->properties.extended_exits, __ATOMIC_RELAXED) & HV_EXTENDED_SMI;
    case APIC_MODE_STARTUP:
    case APIC_MODE_EXTINT:
    case HV_INTERRUPT_LOCAL_INT0:
    case HV_INTERRUPT_LOCAL_INT1:
        return i->vector <= UINT8_MAX;
    default:
        return i->type == APIC_MODE_NMI || i->type == APIC_MODE_INIT;
    }
}

enum hv_status irq_check(const struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    if (!__atomic_load_n(&p->is_set_up, __ATOMIC_ACQUIRE) || p->properties.local_apic_mode == HV_LOCAL_APIC_NONE)
        return HV_E_STATE;
    return is_type_sent(p, interrupt) ? HV_OK : HV_E_INVALID;
}

enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    enum hv_status st = irq_check(p, interrupt);
    const struct irq_message m = {
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

enum hv_status hv_partition_interrupt_targets(struct hv_partition *p, uint64_t destination, bool is_logical,
                                              uint32_t *vps, uint32_t room, uint32_t *count)
{
    const struct irq_message m = {
        .is_logical = is_logical,
        .is_x2apic = destination > UINT8_MAX,
        .destination = (uint32_t)destination,
    };
    uint32_t n = 0;

    if (!__atomic_load_n(&p->is_set_up, __ATOMIC_ACQUIRE) || p->properties.local_apic_mode == HV_LOCAL_APIC_NONE)
        return HV_E_STATE;
    if (destination > UINT32_MAX)
        return HV_E_INVALID;
    if (room < p->properties.processor_count)
        return HV_E_BUFFER_TOO_SMALL;
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (target(p, i, &m, NULL))
            vps[n++] = i;
    *count = n;
    return HV_OK;
}
