/* SPDX-License-Identifier: MIT */
/* What an AMD-Vi unit does with DMA and messages (AMD I/O Virtualization Technology 2.2). */
#include "fake_amdvi.h"
#include <string.h>

#define BITS(value, hi, lo) ((uint64_t)(value) >> (lo) & (~0ull >> (63 - (hi) + (lo))))
#define ADDRESS(entry)      ((entry)&0xffffffffff000ull)

#define V  (1ull << 0)
#define TV (1ull << 1)
#define IR (1ull << 61)
#define IW (1ull << 62)
#define IV (1ull << 0)

/* flags of events */
#define FLAG_I  (1ull << 51)
#define FLAG_PR (1ull << 52)
#define FLAG_RW (1ull << 53)
#define FLAG_PE (1ull << 54)
#define FLAG_RZ (1ull << 55)
#define FLAG_TR (1ull << 56)

enum { BAD_DTE = 1, PAGE_FAULT = 2 };

/* ---------------------------------------------------------------------------- device table */

static struct fake_amdvi_device *fetch_device(struct fake_amdvi *v, uint16_t device)
{
    struct fake_amdvi_device *d = v->devices, *end = d + FAKE_AMDVI_CACHED;
    hv_hpa_t at = ADDRESS(v->devtab) + device * 32ull;

    for (; d < end; d++)
        if (d->is_valid && d->device == device)
            return d;
    for (d = v->devices; d < end && d->is_valid; d++)
        ;
    fake_require(d < end, "AMD-Vi: too many devices in the cache");
    fake_require(v->control >> 10 & 1, "AMD-Vi: the table of devices is read past the CPUs' caches");
    fake_require(device < (BITS(v->devtab, 8, 0) + 1) * 128,
                 "AMD-Vi: an ID that the table of devices has no entry for");
    *d = (struct fake_amdvi_device){.is_valid = true, .device = device};
    for (unsigned i = 0; i < 4; i++)
        d->words[i] = fake_amdvi_read(at + 8 * i);
    return d;
}

static bool is_device_good(const uint64_t words[4])
{
    return !(BITS(words[0], 6, 2) || words[0] >> 63 || BITS(words[0], 8, 7) || BITS(words[0], 60, 52) ||
             BITS(words[0], 11, 9) == 7 || words[1] >> 16 || BITS(words[2], 59, 52) || BITS(words[2], 63, 62) ||
             BITS(words[2], 61, 60) == 3 || BITS(words[2], 5, 5) || words[3]);
}

/* ------------------------------------------------------------------------------------- DMA */

static struct fake_amdvi_page *cached_page(struct fake_amdvi *v, uint16_t domain, uint64_t address)
{
    for (struct fake_amdvi_page *p = v->pages; p < v->pages + FAKE_AMDVI_CACHED; p++)
        if (p->is_valid && p->domain == domain && address - p->address < p->size)
            return p;
    return NULL;
}

/* NULL: there are reserved bits in an entry. */
static struct fake_amdvi_page *walk(struct fake_amdvi *v, const uint64_t words[4], uint64_t address)
{
    unsigned level = (unsigned)BITS(words[0], 11, 9), next;
    uint64_t table = ADDRESS(words[0]), rights = IR | IW, entry, size;
    struct fake_amdvi_page *p = v->pages;

    while (p < v->pages + FAKE_AMDVI_CACHED && p->is_valid)
        p++;
    fake_require(p < v->pages + FAKE_AMDVI_CACHED, "AMD-Vi: too many pages in the cache");
    for (;; level--) {
        size = 1ull << (3 + 9 * level);
        entry = fake_amdvi_read(table + BITS(address, 11 + 9 * level, 3 + 9 * level) * 8);
        next = (unsigned)BITS(entry, 11, 9);
        if (!(entry & 1) || !next)
            break;
        fake_require(next != 7, "AMD-Vi: pages of odd sizes are not used");
        if (next != level - 1 || BITS(entry, 60, 52))
            return NULL;
        rights &= entry;
        table = ADDRESS(entry);
    }
    if (entry & 1 && (BITS(entry, 58, 52) || ADDRESS(entry) >> v->width || ADDRESS(entry) & (size - 1)))
        return NULL;
    fake_require(!(entry & 1) || entry >> 60 & 1, "AMD-Vi: a device may go past the CPUs' caches");
    *p = (struct fake_amdvi_page){
        .is_valid = true,
        .domain = (uint16_t)words[1],
        .address = address & ~(size - 1),
        .size = size,
        .pa = ADDRESS(entry),
        .is_present = entry & 1,
        .reads = entry & rights & IR,
        .writes = entry & rights & IW,
    };
    return p;
}

static bool page_fault(struct fake_amdvi *v, uint16_t device, uint64_t address, bool is_write, uint64_t flags)
{
    fake_amdvi_event(v, PAGE_FAULT, device, flags | (is_write ? FLAG_RW : 0), address);
    return false;
}

/* By the page tables. */
static bool translate(struct fake_amdvi *v, const struct fake_amdvi_device *d, uint64_t address, bool is_write,
                      hv_hpa_t *pa)
{
    unsigned levels = (unsigned)BITS(d->words[0], 11, 9);
    struct fake_amdvi_page *p;

    fake_require(levels <= 4 + BITS(v->efr, 11, 10), "AMD-Vi: more levels than the unit has");
    if (address >> (12 + 9 * levels))
        return page_fault(v, d->device, address, is_write, 0);
    p = cached_page(v, (uint16_t)d->words[1], address);
    if (!p)
        p = walk(v, d->words, address);
    if (!p)
        return page_fault(v, d->device, address, is_write, FLAG_PR | FLAG_RZ);
    if (!p->is_present)
        return page_fault(v, d->device, address, is_write, 0);
    if (!(is_write ? p->writes : p->reads))
        return page_fault(v, d->device, address, is_write, FLAG_PR | FLAG_PE);
    *pa = p->pa + (address - p->address);
    return true;
}

bool fake_amdvi_dma(struct fake_amdvi *v, uint16_t device, uint64_t address, bool is_write, hv_hpa_t *pa)
{
    struct fake_amdvi_device *d;

    *pa = address;
    if (!(v->control & FAKE_AMDVI_ON))
        return true;
    d = fetch_device(v, device);
    if (!(d->words[0] & V))
        return true;
    if (!is_device_good(d->words)) {
        fake_amdvi_event(v, BAD_DTE, device, is_write ? FLAG_RW : 0, address);
        return false;
    }
    if (!(d->words[0] & TV) || !(d->words[0] & (is_write ? IW : IR)))
        return page_fault(v, device, address, is_write, FLAG_PR | FLAG_PE);
    return !BITS(d->words[0], 11, 9) || translate(v, d, address, is_write, pa);
}

/* -------------------------------------------------------------------------------- messages */

static bool irq_fault(struct fake_amdvi *v, uint16_t device, uint32_t data)
{
    (void)data;
    fake_amdvi_event(v, PAGE_FAULT, device, FLAG_I | FLAG_RW, 0xfee00000);
    return false;
}

static struct fake_amdvi_irte *fetch_irte(struct fake_amdvi *v, const struct fake_amdvi_device *d, uint32_t index)
{
    struct fake_amdvi_irte *e = v->irtes, *end = e + FAKE_AMDVI_CACHED;
    hv_hpa_t table = d->words[2] & 0xfffffffffffc0ull;

    for (; e < end; e++)
        if (e->is_valid && e->device == d->device && e->index == index)
            return e;
    for (e = v->irtes; e < end && e->is_valid; e++)
        ;
    fake_require(e < end, "AMD-Vi: too many remapping entries in the cache");
    *e = (struct fake_amdvi_irte){.is_valid = true, .device = d->device, .index = index};
    if (v->control & FAKE_AMDVI_GA) {
        e->low = fake_amdvi_read(table + index * 16ull);
        e->high = fake_amdvi_read(table + index * 16ull + 8);
    } else {
        e->low = fake_amdvi_read(table + index * 4ull / 8 * 8) >> index % 2 * 32 & 0xffffffff;
    }
    return e;
}

static void decode(const struct fake_amdvi *v, const struct fake_amdvi_irte *e, struct fake_amdvi_interrupt *out)
{
    bool ga = v->control & FAKE_AMDVI_GA, xt = v->control & FAKE_AMDVI_XT;

    fake_require(!BITS(e->low, 4, 2) && !BITS(e->low, 7, 6), "AMD-Vi: not a fixed interrupt for one physical ID");
    fake_require(ga ? !BITS(e->low, 63, 32) && !BITS(e->high, 55, 8) && (xt || !BITS(e->high, 63, 56))
                    : !BITS(e->low, 31, 24),
                 "AMD-Vi: reserved bits in a remapping entry");
    fake_require(!ga || xt || !BITS(e->low, 31, 16), "AMD-Vi: an ID that is too wide");
    *out = (struct fake_amdvi_interrupt){
        .vector = (uint8_t)(ga ? e->high : BITS(e->low, 23, 16)),
        .destination = (uint32_t)(xt   ? BITS(e->low, 31, 8) | BITS(e->high, 63, 56) << 24
                                  : ga ? BITS(e->low, 31, 8)
                                       : BITS(e->low, 15, 8)),
        .is_level = e->low >> 5 & 1,
        .is_remapped = true,
    };
}

bool fake_amdvi_message(struct fake_amdvi *v, uint16_t device, uint64_t address, uint32_t data,
                        struct fake_amdvi_interrupt *out)
{
    struct fake_amdvi_device *d;
    struct fake_amdvi_irte *e;

    *out = (struct fake_amdvi_interrupt){.vector = (uint8_t)data, .destination = (uint32_t)BITS(address, 19, 12)};
    if (!(v->control & FAKE_AMDVI_ON))
        return true;
    d = fetch_device(v, device);
    if (!(d->words[2] & IV))
        return true;
    if (!is_device_good(d->words) || BITS(data, 10, 8) > 1) /* neither fixed nor lowest priority */
        return irq_fault(v, device, data);
    if (BITS(d->words[2], 61, 60) != 2)
        return BITS(d->words[2], 61, 60) == 1 || irq_fault(v, device, data);
    if (BITS(data, 10, 0) >= 1ull << BITS(d->words[2], 4, 1))
        return irq_fault(v, device, data);
    e = fetch_irte(v, d, (uint32_t)BITS(data, 10, 0));
    if (!(e->low & 1))
        return irq_fault(v, device, data);
    decode(v, e, out);
    return true;
}

bool fake_amdvi_ioapic(struct fake_amdvi *v, uint16_t device, uint64_t entry, struct fake_amdvi_interrupt *out)
{
    fake_require(!(entry >> 16 & 1) && !BITS(entry, 12, 11) && !BITS(entry, 55, 17),
                 "AMD-Vi: a redirection entry that is masked, or has more in it than it may");
    return fake_amdvi_message(v, device, 0xfee00000 | BITS(entry, 63, 56) << 12, (uint32_t)(entry & 0x7ff), out);
}
