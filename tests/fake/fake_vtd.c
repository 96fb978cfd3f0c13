/* SPDX-License-Identifier: MIT */
/* A VT-d unit's registers, its queue and its faults (VT-d 6.5.2, 7, 10.4). */
#include "fake_vtd.h"
#include "fake_device.h"
#include "fake_x86.h"
#include <string.h>

#define UNITS               4
#define REGS_SIZE           0x2000u
#define LINES               (1u << 18)
#define LINE                64u
#define GARBAGE             0xa5a5a5a5a5a5a5a5ull
#define BITS(value, hi, lo) ((uint64_t)(value) >> (lo) & (~0ull >> (63 - (hi) + (lo))))

#define GCMD_CFI   (1u << 23)
#define GCMD_SIRTP (1u << 24)
#define GCMD_IRE   (1u << 25)
#define GCMD_QIE   (1u << 26)
#define GCMD_WBF   (1u << 27)
#define GCMD_SRTP  (1u << 30)
#define GCMD_TE    (1u << 31)
#define ONE_SHOTS  (GCMD_SIRTP | GCMD_WBF | GCMD_SRTP | 1u << 29)

#define FSTS_PFO (1u << 0)
#define FSTS_PPF (1u << 1)
#define FSTS_IQE (1u << 4)
#define F        (1ull << 63)
#define IM       (1u << 31)
#define IP       (1u << 30)

static struct fake_vtd units[UNITS];

/* --------------------------------------------------------------------------------- memory */

/* What is in memory of the lines that were ever written back. */
static struct line {
    uintptr_t at; /* 0: none */
    bool is_old;  /* the page has been freed since */
    uint64_t words[LINE / 8];
} lines[LINES];

static struct line *line_of(uintptr_t at, bool make)
{
    for (unsigned i = (unsigned)(at / LINE * 2654435761u) % LINES, n = 0; n < LINES; i = (i + 1) % LINES, n++) {
        if (lines[i].at == at)
            return &lines[i];
        if (lines[i].at)
            continue;
        if (make)
            lines[i].at = at;
        return make ? &lines[i] : NULL;
    }
    fake_fail("too many lines were written back");
}

static void on_flush_line(const volatile void *p)
{
    uintptr_t at = (uintptr_t)p / LINE * LINE;
    struct line *line = line_of(at, true);

    memcpy(line->words, (const void *)at, LINE);
    line->is_old = false;
}

void fake_vtd_page_freed(const void *page)
{
    struct line *line;

    for (uintptr_t at = (uintptr_t)page; units[0].base && at < (uintptr_t)page + HV_PAGE_SIZE; at += LINE) {
        line = line_of(at, false);
        if (line)
            line->is_old = true;
    }
}

uint64_t fake_vtd_read(const struct fake_vtd *v, hv_hpa_t pa)
{
    const uint64_t *word = hv_host_phys_to_virt(pa);
    const struct line *line;

    fake_require(word != NULL, "VT-d: the unit reads what is no memory");
    if (v->ecap & FAKE_VTD_ECAP_C)
        return *word;
    line = line_of((uintptr_t)word / LINE * LINE, false);
    fake_require(line && !line->is_old, "VT-d: the unit, which does not snoop, reads a line that was not written back");
    return line->words[(uintptr_t)word % LINE / 8];
}

/* ---------------------------------------------------------------------------------- faults */

static void interrupt(struct fake_vtd *v)
{
    v->irq_pending = false;
    if (v->fectl & IM) {
        v->fectl |= IP;
        return;
    }
    v->fectl &= ~IP;
    if (!fake_irqs_on()) {
        v->irq_pending = true;
        return;
    }
    fake_require((v->feaddr & 0xfff00000u) == 0xfee00000u, "VT-d: the fault event's address is no interrupt's");
    fake_require((v->feaddr >> 12 & 0xff) == (FAKE_APIC_ID(0) & 0xff), "VT-d: the fault event goes to no CPU");
    fake_require(fake_irq_raise(v->fedata), "VT-d: the fault event's vector is nobody's");
}

void fake_vtd_settle(struct fake_vtd *v)
{
    if (v->irq_pending)
        interrupt(v);
}

static void update_ppf(struct fake_vtd *v)
{
    bool any = false;

    for (unsigned i = 0; i < FAKE_VTD_RECORDS; i++)
        any |= v->records[i][1] & F;
    v->fsts = any ? v->fsts | FSTS_PPF : v->fsts & ~FSTS_PPF;
}

void fake_vtd_fault(struct fake_vtd *v, uint16_t sid, uint64_t info, uint8_t reason, bool is_read)
{
    uint64_t *record = v->records[v->next_record];
    bool first = !(v->fsts & FSTS_PPF);

    if (v->fsts & FSTS_PFO)
        return;
    if (record[1] & F) {
        v->fsts |= FSTS_PFO;
        return;
    }
    record[0] = info;
    record[1] = F | (is_read ? 1ull << 62 : 0) | (uint64_t)reason << 32 | sid;
    if (first)
        v->fsts = (v->fsts & ~0xff00u) | v->next_record << 8;
    v->next_record = (v->next_record + 1) % FAKE_VTD_RECORDS;
    update_ppf(v);
    if (first || v->irq_pending)
        interrupt(v);
}

/* ------------------------------------------------------------------------------------- queue */

static void forget_contexts(struct fake_vtd *v, unsigned granularity, uint16_t id, uint16_t sid)
{
    for (unsigned i = 0; i < FAKE_VTD_CACHED; i++) {
        struct fake_vtd_context *c = &v->contexts[i];

        if (granularity == 1 || (c->id == id && (granularity == 2 || c->sid == sid)))
            c->is_valid = false;
    }
}

static void forget_pages(struct fake_vtd *v, unsigned granularity, uint16_t id, uint64_t address, unsigned mask)
{
    uint64_t size = 4096ull << mask, first = address & ~(size - 1);

    for (unsigned i = 0; i < FAKE_VTD_CACHED; i++) {
        struct fake_vtd_page *p = &v->pages[i];
        bool hit = p->address < first + size && first < p->address + p->size;

        if (granularity == 1 || (p->id == id && (granularity == 2 || hit)))
            p->is_valid = false;
    }
}

/* False: not a descriptor that the unit takes. */
static bool do_context(struct fake_vtd *v, uint64_t low, uint64_t high)
{
    unsigned granularity = BITS(low, 5, 4);

    if (!granularity || low & ~0x3ffffffff003full || high)
        return false;
    if (granularity == 1)
        v->stale &= ~1u;
    forget_contexts(v, granularity, (uint16_t)BITS(low, 31, 16), (uint16_t)BITS(low, 47, 32));
    return true;
}

static bool do_iotlb(struct fake_vtd *v, uint64_t low, uint64_t high)
{
    unsigned granularity = BITS(low, 5, 4), mask = BITS(high, 5, 0);

    if (!granularity || low & ~0xffff00ffull || (high & 0xf80) || (granularity < 3 && high))
        return false;
    if (granularity == 3 && (!(v->cap & FAKE_VTD_CAP_PSI) || mask > BITS(v->cap, 53, 48) || v->refuses_pages))
        return false;
    if (granularity == 3 && (high & ~0xfffull) & ((4096ull << mask) - 1))
        return false;
    if (granularity == 1)
        v->stale &= ~2u;
    v->by_domain += granularity == 2;
    v->by_page += granularity == 3;
    forget_pages(v, granularity, (uint16_t)BITS(low, 31, 16), high & ~0xfffull, mask);
    if (low & 1 << 7)
        v->reads_in_flight = 0;
    if (low & 1 << 6)
        v->writes_in_flight = 0;
    return true;
}

static bool do_irtes(struct fake_vtd *v, uint64_t low, uint64_t high)
{
    uint64_t first = BITS(low, 47, 32), count = 1ull << BITS(low, 31, 27);

    if (!(v->ecap & FAKE_VTD_ECAP_IR) || low & ~0xfffff800001full || high)
        return false;
    for (unsigned i = 0; i < FAKE_VTD_CACHED; i++)
        if (!(low & 1 << 4) || (v->irtes[i].index >= first && v->irtes[i].index < first + count))
            v->irtes[i].is_valid = false;
    if (!(low & 1 << 4))
        v->stale &= ~4u;
    return true;
}

static bool do_wait(uint64_t low, uint64_t high)
{
    uint32_t *status = hv_host_phys_to_virt(high);

    if (low & 0xffffff80 || high & 3 || !(low & 1 << 5))
        return false;
    fake_require(status != NULL, "VT-d: a wait descriptor's address is no memory");
    *status = (uint32_t)(low >> 32);
    return true;
}

static bool do_descriptor(struct fake_vtd *v, uint64_t low, uint64_t high)
{
    switch (low & 0xf) {
    case 1:
        return do_context(v, low, high);
    case 2:
        return do_iotlb(v, low, high);
    case 4:
        return do_irtes(v, low, high);
    case 5:
        return do_wait(low, high);
    default:
        return false;
    }
}

/* The queue is read by snooping, whatever ECAP.C says of tables. */
static void run_queue(struct fake_vtd *v)
{
    while (v->gsts & GCMD_QIE && !(v->fsts & FSTS_IQE) && !v->hangs && v->iqh != v->iqt) {
        const uint64_t *d = hv_host_phys_to_virt((v->iqa & ~0xfffull) + v->iqh);

        if (!do_descriptor(v, d[0], d[1])) {
            v->fsts |= FSTS_IQE;
            return;
        }
        v->iqh = (v->iqh + 16) % (4096u << (v->iqa & 7));
    }
}

/* -------------------------------------------------------------------------------- registers */

static void set_state(struct fake_vtd *v, uint32_t bit, bool set)
{
    if (set && bit == GCMD_TE)
        fake_require(v->gsts & GCMD_SRTP && !(v->stale & 3),
                     "VT-d: translation on without a root table, or with caches");
    if (set && bit == GCMD_IRE)
        fake_require(v->gsts & GCMD_SIRTP && v->gsts & GCMD_QIE && !(v->stale & 4),
                     "VT-d: remapping on without a table or a queue, or with caches");
    if (bit == GCMD_QIE) {
        fake_require(set || v->iqh == v->iqt || v->hangs, "VT-d: queue off, and not empty");
        v->iqh = 0;
    }
    v->gsts = set ? v->gsts | bit : v->gsts & ~bit;
}

static void do_once(struct fake_vtd *v, uint32_t bit)
{
    if (bit == GCMD_SRTP) {
        fake_require(!(v->rtaddr & 0xfff), "VT-d: the root table is not in legacy mode");
        v->root = v->rtaddr;
        v->stale |= 3;
        v->gsts |= bit;
    } else if (bit == GCMD_SIRTP) {
        fake_require(!(v->irta & 0x7f0), "VT-d: reserved bits of IRTA");
        fake_require(!(v->irta & 0x800) || v->ecap & FAKE_VTD_ECAP_EIM, "VT-d: x2APIC mode without ECAP.EIM");
        v->irqs = v->irta;
        v->stale |= 4;
        v->gsts |= bit;
    } else {
        fake_require(bit == GCMD_WBF && v->cap & FAKE_VTD_CAP_RWBF, "VT-d: a command that the unit does not have");
        v->buffer_flushes++;
    }
}

static void write_gcmd(struct fake_vtd *v, uint32_t value)
{
    uint32_t changes = (value ^ v->gsts) & ~ONE_SHOTS, once = value & ONE_SHOTS;

    fake_require(!((changes | once) & ((changes | once) - 1)) && !(once && changes), "VT-d: two commands at once");
    if (v->is_deaf)
        return;
    if (changes)
        set_state(v, changes, value & changes);
    if (once)
        do_once(v, once);
}

static void write_fsts(struct fake_vtd *v, uint32_t value)
{
    v->fsts &= ~(value & (FSTS_PFO | 0x74));
    run_queue(v);
}

static void write_fectl(struct fake_vtd *v, uint32_t value)
{
    v->fectl = (value & IM) | (v->fectl & IP);
    if (!(value & IM) && v->fectl & IP)
        interrupt(v);
}

static void write_iqa(struct fake_vtd *v, uint64_t value)
{
    fake_require(!(v->gsts & GCMD_QIE), "VT-d: the queue is moved while it is on");
    v->iqa = value;
}

static void write_iqt(struct fake_vtd *v, uint64_t value)
{
    fake_require(!(value & ~0x7fff0ull), "VT-d: reserved bits of IQT");
    v->iqt = value;
    run_queue(v);
}

static uint64_t records_at(const struct fake_vtd *v)
{
    return BITS(v->cap, 33, 24) * 16;
}

static void write_record(struct fake_vtd *v, uint64_t offset, uint32_t size, uint64_t value)
{
    fake_require(offset % 16 == 12 && size == 4, "VT-d: only F of a fault record can be written");
    if (value & F >> 32)
        v->records[offset / 16][1] &= ~F;
    update_ppf(v);
}

static uint64_t read_record(const struct fake_vtd *v, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, (const char *)v->records + offset, size);
    return value;
}

static bool is_record(const struct fake_vtd *v, uint64_t offset)
{
    return offset >= records_at(v) && offset - records_at(v) < sizeof(v->records);
}

/* A register's place, and what a write does beyond storing: `store` alone for plain ones. */
#define REGISTER_LIST(X)                                                   \
    X(0x34, fsts, write_fsts(v, (uint32_t)value))                          \
    X(0x38, fectl, write_fectl(v, (uint32_t)value))                        \
    X(0x3c, fedata, v->fedata = (uint32_t)value)                           \
    X(0x40, feaddr, v->feaddr = (uint32_t)value)                           \
    X(0x44, feuaddr, v->feuaddr = (uint32_t)value)                         \
    X(0x64, pmen, v->pmen = (uint32_t)(value & IM) | (value & IM ? 1 : 0)) \
    X(0x20, rtaddr, v->rtaddr = value)                                     \
    X(0x88, iqt, write_iqt(v, value))                                      \
    X(0x90, iqa, write_iqa(v, value))                                      \
    X(0xb8, irta, v->irta = value)

static void on_write(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    struct fake_vtd *v = arg;

    if (is_record(v, offset)) {
        write_record(v, offset - records_at(v), size, value);
        return;
    }
    if (offset == 0x18) {
        write_gcmd(v, (uint32_t)value);
        return;
    }
#define WRITE(at, field, action)                                                               \
    if (offset == (at)) {                                                                      \
        fake_require(size == sizeof(v->field), "VT-d: a register is written in another size"); \
        action;                                                                                \
        return;                                                                                \
    }
    REGISTER_LIST(WRITE)
    fake_fail("VT-d: write to register 0x%llx", (unsigned long long)offset);
}

/* Who waits for a unit that does not react has to give up some day. */
static void pass_time(const struct fake_vtd *v, uint64_t offset)
{
    if ((v->hangs && offset == 0x34) || (v->is_deaf && offset == 0x1c))
        fake_advance_time(100000000);
}

static uint64_t on_read(void *arg, uint64_t offset, uint32_t size)
{
    struct fake_vtd *v = arg;

    pass_time(v, offset);
    if (is_record(v, offset))
        return read_record(v, offset - records_at(v), size);
    if (offset == 0x08)
        return v->cap;
    if (offset == 0x10)
        return v->ecap;
    if (offset == 0x1c)
        return v->gsts;
    if (offset == 0x80)
        return v->iqh;
#define READ(at, field, action) \
    if (offset == (at))         \
        return v->field;
    REGISTER_LIST(READ)
    fake_fail("VT-d: read of register 0x%llx", (unsigned long long)offset);
}

static const struct fake_device_ops ops = {on_read, on_write};

/* ----------------------------------------------------------------------------- all of it */

struct fake_vtd *fake_vtd_add(hv_hpa_t base, uint64_t cap, uint64_t ecap)
{
    struct fake_vtd *v = units;

    while (v < units + UNITS && v->base)
        v++;
    fake_require(v < units + UNITS, "too many VT-d units");
    *v = (struct fake_vtd){.base = base, .cap = cap, .ecap = ecap, .width = 39, .fectl = IM};
    fake_mmio_add(base, REGS_SIZE, &ops, v);
    fake_on_flush_line = on_flush_line;
    return v;
}

void fake_vtd_reset(void)
{
    if (!units[0].base)
        return;
    memset(units, 0, sizeof(units));
    memset(lines, 0, sizeof(lines));
}

void fake_vtd_assert_clean(void)
{
    for (struct fake_vtd *v = units; v < units + UNITS; v++)
        if (v->gsts & (GCMD_TE | GCMD_IRE | GCMD_QIE) && !v->is_deaf)
            fake_fail("VT-d: the unit at 0x%llx is still on", (unsigned long long)v->base);
}
