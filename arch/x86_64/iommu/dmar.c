/* SPDX-License-Identifier: MIT */
/*
 * ACPI's DMAR table (VT-d 8). dmar_parse checks every structure and every scope once; the questions after that walk the
 * same bytes again and need no checks of their own.
 */
#include "dmar.h"
#include <hv/base/bits.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

/* VT-d 8.1 */
#define DMAR_WIDTH           36 /* less one */
#define DMAR_FLAGS           37
#define DMAR_STRUCTURES      48
#define DMAR_FLAG_INTR_REMAP BIT32(0)
#define WIDTH_MIN            32
#define WIDTH_MAX            52

/* VT-d 8.2: what each structure begins with */
#define STRUCTURE_TYPE   0
#define STRUCTURE_LENGTH 2
#define STRUCTURE_HEADER 4
enum { TYPE_DRHD, TYPE_RMRR };

/* VT-d 8.3 */
#define DRHD_FLAGS       4
#define DRHD_SEGMENT     6
#define DRHD_BASE        8
#define DRHD_SCOPES      16
#define DRHD_INCLUDE_ALL BIT32(0)

/* VT-d 8.4 */
#define RMRR_SEGMENT 6
#define RMRR_BASE    8
#define RMRR_LIMIT   16 /* the last byte */
#define RMRR_SCOPES  24

/* VT-d 8.3.1 */
#define SCOPE_TYPE   0
#define SCOPE_LENGTH 1
#define SCOPE_ID     4
#define SCOPE_BUS    5
#define SCOPE_PATH   6
#define PATH_STEP    2 /* device, function */
enum { SCOPE_ENDPOINT = 1, SCOPE_BRIDGE, SCOPE_IOAPIC, SCOPE_HPET, SCOPE_NAMESPACE };

static uint64_t field(const struct dmar *d, size_t at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, d->table + at, bytes);
    return value;
}

static unsigned structure_type(const struct dmar *d, size_t at)
{
    return (unsigned)field(d, at + STRUCTURE_TYPE, 2);
}

static size_t structure_end(const struct dmar *d, size_t at)
{
    return at + field(d, at + STRUCTURE_LENGTH, 2);
}

static size_t scope_end(const struct dmar *d, size_t at)
{
    return at + d->table[at + SCOPE_LENGTH];
}

/* ------------------------------------------------------------------------------------ checks */

/* NULL, or what is wrong. */
static const char *check_scope(const struct dmar *d, size_t at, size_t end)
{
    size_t length;

    if (end - at < SCOPE_PATH)
        return "a device scope is cut off";
    length = d->table[at + SCOPE_LENGTH];
    if (length < SCOPE_PATH || length > end - at)
        return "a device scope has an impossible length";
    if (d->table[at + SCOPE_TYPE] < SCOPE_ENDPOINT || d->table[at + SCOPE_TYPE] > SCOPE_NAMESPACE)
        return NULL; /* of a later specification: passed over */
    if (length == SCOPE_PATH || (length - SCOPE_PATH) % PATH_STEP)
        return "a device scope has an impossible length";
    for (size_t step = at + SCOPE_PATH; step < at + length; step += PATH_STEP)
        if (d->table[step] > 31 || d->table[step + 1] > 7)
            return "a device scope names no possible device";
    return NULL;
}

static const char *check_scopes(const struct dmar *d, size_t at, size_t end)
{
    for (; at < end; at = scope_end(d, at)) {
        const char *wrong = check_scope(d, at, end);

        if (wrong)
            return wrong;
    }
    return NULL;
}

static bool is_base_taken(const struct dmar *d, hv_hpa_t base)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->units[i].base == base)
            return true;
    return false;
}

static const char *add_unit(struct dmar *d, size_t at, size_t end)
{
    struct dmar_unit *unit = &d->units[d->count];
    hv_hpa_t base;

    if (end - at < DRHD_SCOPES)
        return "a unit's structure is too short";
    base = field(d, at + DRHD_BASE, 8);
    if (!base || base & ~BITS64(WIDTH_MAX - 1, 12))
        return "a unit's registers are at no possible address";
    if (is_base_taken(d, base))
        return "two units have the same registers";
    if (d->count == DMAR_UNITS)
        return "there are more units than are supported";
    unit->base = base;
    unit->segment = (uint16_t)field(d, at + DRHD_SEGMENT, 2);
    unit->includes_all = d->table[at + DRHD_FLAGS] & DRHD_INCLUDE_ALL;
    unit->scopes = at + DRHD_SCOPES;
    unit->end = end;
    d->count++;
    return check_scopes(d, unit->scopes, end);
}

static const char *check_reserved(const struct dmar *d, size_t at, size_t end)
{
    uint64_t base, limit;

    if (end - at < RMRR_SCOPES)
        return "a reserved range's structure is too short";
    base = field(d, at + RMRR_BASE, 8);
    limit = field(d, at + RMRR_LIMIT, 8);
    if (limit < base || !IS_ALIGNED(base | (limit + 1), HV_PAGE_SIZE) || (limit & ~BITS64(WIDTH_MAX - 1, 0)))
        return "a reserved range is no range of pages";
    return check_scopes(d, at + RMRR_SCOPES, end);
}

static const char *check_structure(struct dmar *d, size_t at)
{
    size_t end;

    if (d->size - at < STRUCTURE_HEADER)
        return "a structure is cut off";
    end = structure_end(d, at);
    if (end < at + STRUCTURE_HEADER || end > d->size)
        return "a structure has an impossible length";
    switch (structure_type(d, at)) {
    case TYPE_DRHD:
        return add_unit(d, at, end);
    case TYPE_RMRR:
        return check_reserved(d, at, end);
    default: /* of no concern here: device TLBs, affinity, names in the namespace */
        return NULL;
    }
}

static const char *check_table(struct dmar *d)
{
    if (d->size < DMAR_STRUCTURES)
        return "the table is too short";
    d->width = d->table[DMAR_WIDTH] + 1u;
    if (d->width < WIDTH_MIN || d->width > WIDTH_MAX)
        return "the width of addresses is impossible";
    d->remaps_interrupts = d->table[DMAR_FLAGS] & DMAR_FLAG_INTR_REMAP;
    for (size_t at = DMAR_STRUCTURES; at < d->size; at = structure_end(d, at)) {
        const char *wrong = check_structure(d, at);

        if (wrong)
            return wrong;
    }
    return d->count ? NULL : "there is no unit";
}

bool dmar_parse(const void *table, size_t size, struct dmar *out, char *reason, size_t reason_size)
{
    const char *wrong;

    *out = (struct dmar){.table = table, .size = size};
    wrong = check_table(out);
    if (wrong)
        hv_format(reason, reason_size, "ACPI's DMAR table: %s", wrong);
    return !wrong;
}

/* ---------------------------------------------------------------------------------- questions */

/* The function at the end of a scope's path. False: a bridge on the way is not known. */
static bool scope_address(const struct dmar *d, uint16_t segment, size_t at, struct hv_pci_address *out)
{
    uint8_t bus = d->table[at + SCOPE_BUS], last;

    for (size_t step = at + SCOPE_PATH;; step += PATH_STEP) {
        *out = (struct hv_pci_address){segment, HV_PCI_BDF(bus, d->table[step], d->table[step + 1])};
        if (step + PATH_STEP >= scope_end(d, at))
            return true;
        if (!iommu_bridge_buses(out, &bus, &last))
            return false;
    }
}

static bool is_known_scope(const struct dmar *d, size_t at)
{
    return d->table[at + SCOPE_TYPE] >= SCOPE_ENDPOINT && d->table[at + SCOPE_TYPE] <= SCOPE_NAMESPACE;
}

/* Is the requester the scope's function, or behind it? */
static bool scope_has(const struct dmar *d, uint16_t segment, size_t at, const struct hv_pci_address *requester)
{
    unsigned bus = requester->bdf >> 8;
    struct hv_pci_address scope;
    uint8_t first, last;

    if (!is_known_scope(d, at) || !scope_address(d, segment, at, &scope))
        return false;
    if (scope.bdf == requester->bdf)
        return true;
    return d->table[at + SCOPE_TYPE] == SCOPE_BRIDGE && iommu_bridge_buses(&scope, &first, &last) && bus >= first &&
           bus <= last;
}

static bool scopes_have(const struct dmar *d, uint16_t segment, size_t at, size_t end,
                        const struct hv_pci_address *requester)
{
    for (; at < end; at = scope_end(d, at))
        if (scope_has(d, segment, at, requester))
            return true;
    return false;
}

const struct dmar_unit *dmar_unit_of(const struct dmar *d, const struct hv_pci_address *requester)
{
    const struct dmar_unit *all = NULL;

    for (const struct dmar_unit *u = d->units; u < d->units + d->count; u++) {
        if (u->segment != requester->segment)
            continue;
        if (scopes_have(d, u->segment, u->scopes, u->end, requester))
            return u;
        if (u->includes_all)
            all = u;
    }
    return all;
}

bool dmar_reserved(const struct dmar *d, const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start,
                   uint64_t *size)
{
    for (size_t at = DMAR_STRUCTURES; at < d->size; at = structure_end(d, at)) {
        if (structure_type(d, at) != TYPE_RMRR || field(d, at + RMRR_SEGMENT, 2) != requester->segment ||
            !scopes_have(d, requester->segment, at + RMRR_SCOPES, structure_end(d, at), requester) || n--)
            continue;
        *start = field(d, at + RMRR_BASE, 8);
        *size = field(d, at + RMRR_LIMIT, 8) + 1 - *start;
        return true;
    }
    return false;
}

bool dmar_ioapic(const struct dmar *d, uint8_t ioapic_id, struct hv_pci_address *out)
{
    for (const struct dmar_unit *u = d->units; u < d->units + d->count; u++)
        for (size_t at = u->scopes; at < u->end; at = scope_end(d, at))
            if (d->table[at + SCOPE_TYPE] == SCOPE_IOAPIC && d->table[at + SCOPE_ID] == ioapic_id)
                return scope_address(d, u->segment, at, out);
    return false;
}
