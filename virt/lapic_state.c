/* SPDX-License-Identifier: MIT */
/*
 * What others see of a local APIC: which messages are addressed to it (SDM 3A 10.6.2, 10.12.10), and its saved page.
 */
#include "lapic_parts.h"
#include <hv/base/memory.h>

/* -------------------------------------------------------------------------- destinations */

#define BROADCAST   0xffu /* of 8 bits */
#define DFR_FLAT    0xfu
#define DFR_CLUSTER 0x0u

struct lapic_address lapic_address(const struct lapic *l)
{
    return (struct lapic_address){
        .id = l->id,
        .ldr = lapic_get(l, APIC_LDR),
        .dfr = lapic_get(l, APIC_DFR),
        .enabled = lapic_is_enabled(l),
        .x2apic = lapic_is_x2apic(l),
    };
}

/* Logical IDs of 8 bits, by the model that DFR chooses; a model that is neither matches nothing. */
static bool matches_logical(const struct lapic_address *a, uint32_t destination)
{
    uint32_t logical = a->ldr >> 24;

    if (destination > UINT8_MAX)
        return false;
    switch (a->dfr >> 28) {
    case DFR_FLAT:
        return destination & logical;
    case DFR_CLUSTER:
        return destination >> 4 == logical >> 4 && destination & logical & 0xf;
    default:
        return false;
    }
}

/* Cluster in 31:16, one bit for each of its members in 15:0 */
static bool matches_x2apic_logical(const struct lapic_address *a, uint32_t destination)
{
    return destination >> 16 == a->ldr >> 16 && destination & a->ldr & UINT16_MAX;
}

bool lapic_is_addressed(const struct lapic_address *a, uint32_t destination, bool is_logical, bool is_x2apic)
{
    if (!a->enabled)
        return false;
    if (!is_x2apic)
        destination &= UINT8_MAX;
    if (destination == (is_x2apic ? UINT32_MAX : BROADCAST))
        return true;
    if (!is_logical)
        return destination == a->id;
    return a->x2apic ? matches_x2apic_logical(a, destination) : matches_logical(a, destination);
}

uint32_t lapic_only_id(uint32_t destination, bool is_logical, bool is_x2apic)
{
    if (!is_x2apic)
        destination &= UINT8_MAX;
    return is_logical || (!is_x2apic && destination == BROADCAST) ? LAPIC_ANY_ID : destination;
}

/* ----------------------------------------------------------------------------- saved page */

#define ESR_BITS 0xffu

/* A copy of a saved page's registers: the caller's memory is read once. */
struct saved {
    uint32_t regs[LAPIC_REGS];
};

static uint32_t saved_get(const struct saved *saved, uint32_t offset)
{
    return saved->regs[offset / 16];
}

static struct saved copy_page(const uint8_t *page)
{
    struct saved saved;

    for (size_t i = 0; i < LAPIC_REGS; i++)
        memcpy(&saved.regs[i], page + i * 16, sizeof(saved.regs[i]));
    return saved;
}

static void page_put(uint8_t *page, uint32_t offset, uint32_t value)
{
    memcpy(page + offset, &value, sizeof(value));
}

static bool is_vectors(uint32_t offset)
{
    return offset >= APIC_ISR && offset < APIC_ESR;
}

static bool is_readable(const struct lapic *l, uint32_t offset)
{
    /* the upper half of ICR has no address of its own in x2APIC mode, but a place in the page */
    return lapic_reg(offset)->access & (lapic_is_x2apic(l) ? REG_X2_READ : REG_READ) || offset == APIC_ICR_HIGH;
}

/* The bits that a saved register may have; all of them for one that is not taken over. */
static uint32_t savable(const struct lapic *l, uint32_t offset)
{
    const struct lapic_reg *reg = lapic_reg(offset);

    if (offset == APIC_ISR || offset == APIC_TMR)
        return BITS32(31, 16);
    if (offset == APIC_IRR)
        return BITS32(31, 16) | LAPIC_PAGE_NMI;
    if (offset == APIC_ESR)
        return ESR_BITS;
    if (offset == APIC_EOI || (offset == APIC_ICR_HIGH && lapic_is_x2apic(l)))
        return UINT32_MAX;
    if (offset == APIC_ICR_LOW && !lapic_is_x2apic(l))
        return reg->bits | reg->ignored | (uint32_t)APIC_ICR_REMOTE;
    return reg->access & (lapic_is_x2apic(l) ? REG_X2_WRITE : REG_WRITE) ? reg->bits | reg->ignored : UINT32_MAX;
}

/* Hardware may let reserved bits into the page, which are none of the state. */
void lapic_get_page(struct lapic *l, uint64_t now_ns, uint8_t page[4096])
{
    memset(page, 0, HV_PAGE_SIZE);
    for (uint32_t offset = 0; offset < LAPIC_REGS * 16; offset += 16) {
        const struct lapic_reg *reg = lapic_reg(offset);

        if (is_readable(l, offset))
            page_put(page, offset, reg->read ? reg->read(l, now_ns) : lapic_get(l, offset) & savable(l, offset));
    }
    /* A timer that is due, but not polled yet, is still to fire where the page goes. */
    if (l->timer_due_ns && !lapic_timer_count(l, now_ns))
        page_put(page, APIC_TIMER_CUR, HV_MIN(lapic_get(l, APIC_TIMER_INIT), 1u));
}

static bool is_valid(const struct lapic *l, const struct saved *saved)
{
    for (uint32_t offset = 0; offset < LAPIC_REGS * 16; offset += 16)
        if (saved_get(saved, offset) & ~savable(l, offset))
            return false;
    return saved_get(saved, APIC_TIMER_CUR) <= saved_get(saved, APIC_TIMER_INIT);
}

static void load_register(struct lapic *l, uint32_t offset, uint32_t value)
{
    const struct lapic_reg *reg = lapic_reg(offset);

    if (is_vectors(offset))
        lapic_put(l, offset, offset == APIC_IRR ? value & ~LAPIC_PAGE_NMI : value);
    else if (offset == APIC_ESR || (offset == APIC_RRD && !lapic_is_x2apic(l)))
        lapic_put(l, offset, value);
    else if (reg->access & (lapic_is_x2apic(l) ? REG_X2_WRITE : REG_WRITE))
        lapic_put(l, offset, value & reg->bits);
}

/* A remote read that was under way has failed: nobody answers it any more. */
static void load_remote_read(struct lapic *l, uint32_t icr)
{
    if (FIELD_GET(APIC_ICR_REMOTE, icr) == APIC_REMOTE_VALID)
        lapic_put(l, APIC_ICR_LOW,
                  lapic_get(l, APIC_ICR_LOW) | (uint32_t)FIELD_PUT(APIC_ICR_REMOTE, APIC_REMOTE_VALID));
}

/* What the loaded registers imply. Nothing of it comes from a write: no EOI, no IPI, no masks by SVR. */
static void complete_load(struct lapic *l, const struct saved *saved, uint64_t now_ns)
{
    if (lapic_is_x2apic(l)) {
        lapic_put(l, APIC_ICR_HIGH, saved_get(saved, APIC_ICR_HIGH));
        lapic_put(l, APIC_ICR_LOW + 4, saved_get(saved, APIC_ICR_HIGH));
    } else {
        lapic_put(l, APIC_DFR, lapic_get(l, APIC_DFR) | BITS32(27, 0));
        load_remote_read(l, saved_get(saved, APIC_ICR_LOW));
    }
    lapic_set_private(l, l->is_private);
    lapic_load_inputs(l, saved_get(saved, APIC_LVT_LINT0), saved_get(saved, APIC_LVT_LINT1));
    l->esr_pending = 0;
    lapic_update_ppr(l);
    lapic_timer_resume(l, saved_get(saved, APIC_TIMER_CUR), now_ns);
}

bool lapic_set_page(struct lapic *l, uint64_t now_ns, const uint8_t page[4096], struct lapic_effect *effect)
{
    const struct saved saved = copy_page(page);

    if (!is_valid(l, &saved))
        return false;
    if (saved_get(&saved, APIC_IRR) & LAPIC_PAGE_NMI)
        effect->bits |= LAPIC_EFFECT_NMI;
    if (!lapic_is_enabled(l))
        return true;
    for (uint32_t offset = 0; offset < LAPIC_REGS * 16; offset += 16)
        load_register(l, offset, saved_get(&saved, offset));
    complete_load(l, &saved, now_ns);
    effect->bits |= LAPIC_EFFECT_PRIORITY | LAPIC_EFFECT_TIMER | LAPIC_EFFECT_ADDRESS;
    return true;
}
