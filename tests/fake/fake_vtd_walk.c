/* SPDX-License-Identifier: MIT */
/* What a VT-d unit does with requests: translation by root, context and second-level tables, remapping of interrupts.
 */
#include "fake_vtd.h"

#define BITS(value, hi, lo) ((uint64_t)(value) >> (lo) & (~0ull >> (63 - (hi) + (lo))))
#define RIGHT_READ          1ull
#define RIGHT_WRITE         2ull

/* One request on its way; `reason`: the fault that it ended with, 0 none. */
struct request {
    struct fake_vtd *v;
    uint16_t sid;
    uint64_t address;
    bool is_write;
    uint8_t reason;
    bool is_quiet; /* fault processing is disabled */
};

static bool fail(struct request *r, uint8_t reason)
{
    r->reason = reason;
    return false;
}

static bool is_address(const struct fake_vtd *v, uint64_t entry)
{
    return !(BITS(entry, 51, 12) << 12 >> v->width);
}

static bool keeps_absent(const struct fake_vtd *v)
{
    return v->cap & FAKE_VTD_CAP_CM;
}

/* --------------------------------------------------------------------------------- contexts */

static struct fake_vtd_context *context_slot(struct fake_vtd *v, uint16_t sid)
{
    struct fake_vtd_context *empty = NULL;

    for (unsigned i = 0; i < FAKE_VTD_CACHED; i++) {
        if (v->contexts[i].is_valid && v->contexts[i].sid == sid)
            return &v->contexts[i];
        if (!v->contexts[i].is_valid)
            empty = &v->contexts[i];
    }
    fake_require(empty != NULL, "VT-d: the fake's context cache is too small");
    *empty = (struct fake_vtd_context){.sid = sid};
    return empty;
}

/* Reads and checks a context (VT-d 9.1, 9.3). Absent ones end as 0. */
static bool context_read(struct request *r, struct fake_vtd_context *c)
{
    struct fake_vtd *v = r->v;
    uint64_t at = v->root + (r->sid >> 8) * 16, root = fake_vtd_read(v, at);

    if (!(root & 1))
        return fail(r, 0x1);
    if (root & 0xffe || !is_address(v, root) || fake_vtd_read(v, at + 8))
        return fail(r, 0xa);
    at = (root & ~0xfffull) + (r->sid & 0xff) * 16;
    c->low = fake_vtd_read(v, at);
    c->high = fake_vtd_read(v, at + 8);
    if (!(c->low & 1))
        return fail(r, 0x2);
    if (c->low & 0xff0 || !is_address(v, c->low) || c->high & ~0xffff7full)
        return fail(r, 0xb);
    if (BITS(c->low, 3, 2) || !(BITS(v->cap, 12, 8) >> BITS(c->high, 2, 0) & 1) || !BITS(c->high, 23, 8))
        return fail(r, 0x3);
    c->id = (uint16_t)BITS(c->high, 23, 8);
    return true;
}

static bool find_context(struct request *r, struct fake_vtd_context **out)
{
    struct fake_vtd_context *c = context_slot(r->v, r->sid);

    *out = c;
    if (c->is_valid)
        return c->id || fail(r, 0x2);
    c->is_valid = context_read(r, c) || keeps_absent(r->v);
    if (r->reason)
        c->id = 0;
    r->is_quiet = c->low & 2;
    return !r->reason;
}

/* ------------------------------------------------------------------------------------- pages */

static uint64_t size_of_level(unsigned level)
{
    return 1ull << (12 + 9 * (level - 1));
}

/* VT-d 9.8: bits 62 to 52 are ignored */
static bool is_entry(const struct fake_vtd *v, uint64_t entry, unsigned level)
{
    bool large = level > 1 && entry & 0x80;

    if (entry >> 63 || !is_address(v, entry) || entry & 0x800)
        return false;
    if (large && (level > 3 || !(BITS(v->cap, 37, 34) >> (level - 2) & 1)))
        return false;
    return !large || !(entry & (size_of_level(level) - 1) & ~0xfffull);
}

static struct fake_vtd_page *page_slot(struct fake_vtd *v, uint16_t id, uint64_t address)
{
    struct fake_vtd_page *empty = NULL;

    for (unsigned i = 0; i < FAKE_VTD_CACHED; i++) {
        struct fake_vtd_page *p = &v->pages[i];

        if (p->is_valid && p->id == id && address - p->address < p->size)
            return p;
        if (!p->is_valid)
            empty = p;
    }
    fake_require(empty != NULL, "VT-d: the fake's IOTLB is too small");
    *empty = (struct fake_vtd_page){.id = id};
    return empty;
}

/* Walks the second-level tables (VT-d 3.7): p gets the leaf, with the rights of the whole way. */
static bool walk(struct request *r, const struct fake_vtd_context *c, struct fake_vtd_page *p)
{
    unsigned level = (unsigned)BITS(c->high, 2, 0) + 2;
    uint64_t table = c->low & ~0xfffull, rights = RIGHT_READ | RIGHT_WRITE, entry;

    for (;; level--) {
        entry = fake_vtd_read(r->v, table + r->address / size_of_level(level) % 512 * 8);
        rights &= entry;
        p->size = size_of_level(level);
        p->address = r->address & ~(p->size - 1);
        if (!rights)
            return true; /* entry 0 */
        if (!is_entry(r->v, entry, level))
            return fail(r, 0xc);
        if (level == 1 || entry & 0x80)
            break;
        table = BITS(entry, 51, 12) << 12;
    }
    p->entry = (BITS(entry, 51, 12) << 12) | rights;
    return true;
}

static bool find_page(struct request *r, const struct fake_vtd_context *c, struct fake_vtd_page **out)
{
    struct fake_vtd_page *p = page_slot(r->v, c->id, r->address);

    *out = p;
    if (!p->is_valid) {
        if (!walk(r, c, p))
            return false;
        p->is_valid = p->entry || keeps_absent(r->v);
    }
    if (!(p->entry & (r->is_write ? RIGHT_WRITE : RIGHT_READ)))
        return fail(r, r->is_write ? 0x5 : 0x6);
    return true;
}

/* -------------------------------------------------------------------------------------- DMA */

static bool translate(struct request *r, hv_hpa_t *pa)
{
    struct fake_vtd_context *c;
    struct fake_vtd_page *p;

    if (!find_context(r, &c))
        return false;
    if (r->address >> BITS(r->v->cap, 21, 16) >> 1 || r->address >> (30 + 9 * BITS(c->high, 2, 0)))
        return fail(r, 0x4);
    if (!find_page(r, c, &p))
        return false;
    *pa = (p->entry & ~0xfffull) + (r->address - p->address);
    return true;
}

bool fake_vtd_dma(struct fake_vtd *v, uint16_t sid, uint64_t address, bool is_write, hv_hpa_t *pa)
{
    struct request r = {.v = v, .sid = sid, .address = address, .is_write = is_write};

    *pa = address;
    if (v->pmen & 1)
        return false;
    if (!(v->gsts & FAKE_VTD_TES) || translate(&r, pa))
        return true;
    if (!r.is_quiet)
        fake_vtd_fault(v, sid, address & ~0xfffull, r.reason, !is_write);
    return false;
}

bool fake_vtd_dma_slow(struct fake_vtd *v, uint16_t sid, uint64_t address, bool is_write)
{
    hv_hpa_t pa;

    if (!fake_vtd_dma(v, sid, address, is_write, &pa))
        return false;
    v->writes_in_flight += is_write;
    v->reads_in_flight += !is_write;
    return true;
}

/* -------------------------------------------------------------------------------- interrupts */

static struct fake_vtd_irte *irte_of(struct fake_vtd *v, uint32_t index)
{
    struct fake_vtd_irte *empty = NULL;

    for (unsigned i = 0; i < FAKE_VTD_CACHED; i++) {
        if (v->irtes[i].is_valid && v->irtes[i].index == index)
            return &v->irtes[i];
        if (!v->irtes[i].is_valid)
            empty = &v->irtes[i];
    }
    fake_require(empty != NULL, "VT-d: the fake's interrupt entry cache is too small");
    *empty = (struct fake_vtd_irte){.index = index};
    empty->low = fake_vtd_read(v, (v->irqs & ~0xfffull) + index * 16ull);
    empty->high = fake_vtd_read(v, (v->irqs & ~0xfffull) + index * 16ull + 8);
    empty->is_valid = empty->low & 1 || keeps_absent(v);
    return empty;
}

static bool is_posted(const struct fake_vtd *v, const struct fake_vtd_irte *e)
{
    return v->cap & FAKE_VTD_CAP_PI && BITS(e->low, 15, 15);
}

static uint8_t check_source(const struct fake_vtd_irte *e, uint16_t sid)
{
    return BITS(e->high, 19, 18) != 1 || BITS(e->high, 17, 16) || BITS(e->high, 15, 0) != sid ? 0x26 : 0;
}

/* 0, or the reason of a fault (VT-d 5.1.4, 9.10). Only exact source IDs are known here. */
static uint8_t check_irte(const struct fake_vtd *v, const struct fake_vtd_irte *e, uint16_t sid)
{
    bool is_x2apic = v->irqs & 0x800;

    if (!(e->low & 1))
        return 0x22;
    if (is_posted(v, e))
        return e->low & 0x3fff0030fcull || BITS(e->high, 31, 20) ? 0x24 : check_source(e, sid);
    if (e->low & 0xff00f000 || e->high >> 20 || (!is_x2apic && e->low & 0xffff00ffull << 32))
        return 0x24;
    return check_source(e, sid);
}

/*
 * VT-d 5.2.3: one atomic step, of the whole line. The notification goes by what the descriptor says in that step. Bits
 * that are reserved there are nobody's to set.
 */
static bool post(const struct fake_vtd *v, const struct fake_vtd_irte *e, struct fake_vtd_interrupt *out)
{
    bool is_x2apic = v->irqs & 0x800, urgent = BITS(e->low, 14, 14);
    uint64_t address = BITS(e->low, 63, 38) << 6 | BITS(e->high, 63, 32) << 32, control;
    uint64_t *d = hv_host_phys_to_virt(address);
    unsigned vector = BITS(e->low, 23, 16);

    fake_require(d != NULL, "VT-d: a posted-interrupt descriptor's address is no memory");
    control = d[4];
    fake_require(!(control & 0xff00fffcull) && !(d[5] | d[6] | d[7]),
                 "VT-d: reserved bits of a posted-interrupt descriptor");
    fake_require(is_x2apic || !(control >> 32 & 0xffff00ff), "VT-d: NDST of a posted-interrupt descriptor");
    d[vector / 64] |= 1ull << vector % 64;
    out->is_posted = true;
    out->is_silent = control & 1 || (control & 2 && !urgent);
    out->is_level = false;
    out->vector = (uint8_t)BITS(control, 23, 16);
    out->destination = (uint32_t)(is_x2apic ? BITS(control, 63, 32) : BITS(control, 47, 40));
    if (!out->is_silent)
        d[4] |= 1;
    return true;
}

static bool remap(struct fake_vtd *v, uint16_t sid, uint32_t index, struct fake_vtd_interrupt *out)
{
    const struct fake_vtd_irte *e;
    uint8_t reason = 0x21;

    if (index < 2u << (v->irqs & 0xf)) {
        e = irte_of(v, index);
        reason = check_irte(v, e, sid);
    }
    if (reason) {
        fake_vtd_fault(v, sid, (uint64_t)index << 48, reason, true);
        return false;
    }
    if (is_posted(v, e))
        return post(v, e, out);
    out->is_posted = out->is_silent = false;
    out->vector = (uint8_t)BITS(e->low, 23, 16);
    out->destination = (uint32_t)(v->irqs & 0x800 ? BITS(e->low, 63, 32) : BITS(e->low, 47, 40));
    out->is_level = BITS(e->low, 4, 4);
    return true;
}

static bool compatible(struct fake_vtd *v, uint16_t sid, uint64_t address, uint32_t data,
                       struct fake_vtd_interrupt *out)
{
    if (v->gsts & FAKE_VTD_IRES && !(v->gsts & FAKE_VTD_CFIS)) {
        fake_vtd_fault(v, sid, 0, 0x25, false);
        return false;
    }
    *out = (struct fake_vtd_interrupt){
        .vector = (uint8_t)data, .destination = BITS(address, 19, 12), .is_level = BITS(data, 15, 15)};
    return true;
}

bool fake_vtd_message(struct fake_vtd *v, uint16_t sid, uint64_t address, uint32_t data, struct fake_vtd_interrupt *out)
{
    uint32_t index = (uint32_t)(BITS(address, 19, 5) | BITS(address, 2, 2) << 15);

    fake_require(address >> 20 == 0xfee && !(address & 3), "VT-d: a message that is none");
    if (!(v->gsts & FAKE_VTD_IRES) || !BITS(address, 4, 4))
        return compatible(v, sid, address, data, out);
    if (BITS(address, 3, 3) ? data >> 16 : data) {
        fake_vtd_fault(v, sid, (uint64_t)index << 48, 0x20, false);
        return false;
    }
    return remap(v, sid, index + (BITS(address, 3, 3) ? data & 0xffff : 0), out);
}

bool fake_vtd_ioapic(struct fake_vtd *v, uint16_t sid, uint64_t entry, struct fake_vtd_interrupt *out)
{
    uint32_t index = (uint32_t)(BITS(entry, 63, 49) | BITS(entry, 11, 11) << 15);

    if (BITS(entry, 16, 16))
        return false;
    if (!(v->gsts & FAKE_VTD_IRES) || !BITS(entry, 48, 48))
        return compatible(v, sid, 0xfee00000 | BITS(entry, 63, 56) << 12, (uint32_t)(entry & 0xffff), out);
    return !BITS(entry, 10, 8) && !BITS(entry, 47, 17) && remap(v, sid, index, out) && out->vector == BITS(entry, 7, 0);
}
