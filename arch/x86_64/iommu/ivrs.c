/* SPDX-License-Identifier: MIT */
/*
 * ACPI's IVRS table (AMD I/O Virtualization Technology 5.2). ivrs_parse checks every block and every entry once; the
 * questions after that walk the same bytes again and need no checks of their own.
 *
 * A unit may be described by several blocks, each for software that knows its type: of those known here the highest one
 * counts, alone. Where entries contradict each other the later one is right.
 */
#include "ivrs.h"
#include <hv/base/bits.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

/* AMD-IOV 5.2.1 */
#define IVRS_INFO          36
#define IVRS_BLOCKS        48
#define IVRS_INFO_REMAPPED BIT32(1) /* "DMA remap support": on already */

/* AMD-IOV 5.2.2: what each block begins with */
#define BLOCK_TYPE   0
#define BLOCK_FLAGS  1
#define BLOCK_LENGTH 2
#define BLOCK_HEADER 4

/* AMD-IOV 5.2.2.1 */
#define IVHD_DEVICE     4
#define IVHD_CAPABILITY 6
#define IVHD_BASE       8
#define IVHD_SEGMENT    16
#define IVHD_ENTRIES_10 24 /* of type 10h */
#define IVHD_ENTRIES    40 /* of types 11h and 40h */
#define IVHD_BASE_BITS  BITS64(51, 14)
enum { TYPE_IVHD_10 = 0x10, TYPE_IVHD_11 = 0x11, TYPE_IVHD_40 = 0x40 };

/* AMD-IOV 5.2.2.2 */
#define ENTRY_DEVICE  1
#define ENTRY_SIZE(t) (4u << ((t) >> 6)) /* except for names */
#define ENTRY_ALIAS   5                  /* the ID that requests have; of special entries the device */
#define ENTRY_HANDLE  4
#define ENTRY_VARIETY 7
enum {
    ENTRY_PAD = 0,
    ENTRY_ALL = 1,
    ENTRY_SELECT = 2,
    ENTRY_RANGE = 3,
    ENTRY_RANGE_END = 4,
    ENTRY_PAD_8 = 64,
    ENTRY_ALIAS_SELECT = 66,
    ENTRY_ALIAS_RANGE = 67,
    ENTRY_EXT_SELECT = 70,
    ENTRY_EXT_RANGE = 71,
    ENTRY_SPECIAL = 72,
    ENTRY_NAMED = 240, /* a device that is no PCI function */
};
#define NAMED_ID_LENGTH 21 /* of the name that begins at 22 */
#define NAMED_ID        22
#define VARIETY_IOAPIC  1

/* AMD-IOV 5.2.2.3 */
#define IVMD_DEVICE  4
#define IVMD_LAST    6 /* of a range of devices */
#define IVMD_SEGMENT 8
#define IVMD_START   16
#define IVMD_SIZE    24
#define IVMD_END     32
enum { TYPE_IVMD_ALL = 0x20, TYPE_IVMD_ONE = 0x21, TYPE_IVMD_RANGE = 0x22 };

#define ADDRESS_LIMIT BIT64(52)
#define IDS           0x10000u

static uint64_t field(const struct ivrs *t, size_t at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, t->table + at, bytes);
    return value;
}

static size_t block_end(const struct ivrs *t, size_t at)
{
    return at + field(t, at + BLOCK_LENGTH, 2);
}

/* Of an entry that is at least ENTRY_SIZE long. */
static size_t entry_end(const struct ivrs *t, size_t at)
{
    uint8_t type = t->table[at];

    return at + (type == ENTRY_NAMED ? NAMED_ID + t->table[at + NAMED_ID_LENGTH] : ENTRY_SIZE(type));
}

static uint16_t entry_device(const struct ivrs *t, size_t at)
{
    return (uint16_t)field(t, at + ENTRY_DEVICE, 2);
}

static bool is_range(unsigned type)
{
    return type == ENTRY_RANGE || type == ENTRY_ALIAS_RANGE || type == ENTRY_EXT_RANGE;
}

static bool is_unit(unsigned type)
{
    return type == TYPE_IVHD_10 || type == TYPE_IVHD_11 || type == TYPE_IVHD_40;
}

static bool is_memory(unsigned type)
{
    return type >= TYPE_IVMD_ALL && type <= TYPE_IVMD_RANGE;
}

/* ------------------------------------------------------------------------------------ checks */

/* NULL, or what is wrong. */
static const char *check_entry_length(const struct ivrs *t, size_t at, size_t end)
{
    size_t fixed = t->table[at] == ENTRY_NAMED ? NAMED_ID : ENTRY_SIZE(t->table[at]);

    if (fixed > end - at || entry_end(t, at) > end)
        return "a device entry is cut off";
    return NULL;
}

/* A range is begun by one entry and ended by the next; *open is where it begins, 0: none is open. */
static const char *check_range(const struct ivrs *t, size_t at, size_t *open)
{
    unsigned type = t->table[at];

    if (type == ENTRY_RANGE_END) {
        if (!*open)
            return "a range of devices ends that has not begun";
        if (entry_device(t, at) < entry_device(t, *open))
            return "a range of devices ends before it begins";
        *open = 0;
    } else if (*open && type != ENTRY_PAD && type != ENTRY_PAD_8) {
        return "a range of devices has no end";
    } else if (is_range(type)) {
        *open = at;
    }
    return NULL;
}

static const char *check_entries(const struct ivrs *t, size_t at, size_t end)
{
    const char *wrong = NULL;
    size_t open = 0;

    while (at < end && !wrong) {
        wrong = check_entry_length(t, at, end);
        if (wrong)
            return wrong;
        wrong = check_range(t, at, &open);
        at = entry_end(t, at);
    }
    return !wrong && open ? "a range of devices has no end" : wrong;
}

static struct ivrs_unit *unit_at(struct ivrs *t, const struct hv_pci_address *function)
{
    for (struct ivrs_unit *u = t->units; u < t->units + t->count; u++)
        if (u->function.segment == function->segment && u->function.bdf == function->bdf)
            return u;
    return NULL;
}

static bool is_base_taken(const struct ivrs *t, hv_hpa_t base)
{
    for (const struct ivrs_unit *u = t->units; u < t->units + t->count; u++)
        if (u->base == base)
            return true;
    return false;
}

/* A further description of a unit takes the place of a lower one. */
static const char *add_unit(struct ivrs *t, const struct ivrs_unit *unit)
{
    struct ivrs_unit *known = unit_at(t, &unit->function);

    if (known) {
        if (known->type == unit->type)
            return "a unit is described twice";
        if (known->base != unit->base)
            return "a unit has its registers at two addresses";
        if (known->type < unit->type)
            *known = *unit;
        return NULL;
    }
    if (is_base_taken(t, unit->base))
        return "two units have the same registers";
    if (t->count == IVRS_UNITS)
        return "there are more units than are supported";
    t->units[t->count++] = *unit;
    return NULL;
}

static const char *check_unit(struct ivrs *t, size_t at, size_t end)
{
    size_t header = t->table[at] == TYPE_IVHD_10 ? IVHD_ENTRIES_10 : IVHD_ENTRIES;
    struct ivrs_unit unit;
    const char *wrong;

    if (end - at < header)
        return "a unit's block is too short";
    unit = (struct ivrs_unit){
        .base = field(t, at + IVHD_BASE, 8),
        .function = {(uint16_t)field(t, at + IVHD_SEGMENT, 2), (uint16_t)field(t, at + IVHD_DEVICE, 2)},
        .capability = (uint16_t)field(t, at + IVHD_CAPABILITY, 2),
        .type = t->table[at + BLOCK_TYPE],
        .flags = t->table[at + BLOCK_FLAGS],
        .entries = at + header,
        .end = end,
    };
    if (!unit.base || unit.base & ~IVHD_BASE_BITS)
        return "a unit's registers are at no possible address";
    wrong = check_entries(t, unit.entries, end);
    return wrong ? wrong : add_unit(t, &unit);
}

static const char *check_memory(const struct ivrs *t, size_t at, size_t end)
{
    uint64_t start, size;

    if (end - at < IVMD_END)
        return "a block of reserved memory is too short";
    start = field(t, at + IVMD_START, 8);
    size = field(t, at + IVMD_SIZE, 8);
    if (!size || start >= ADDRESS_LIMIT || size > ADDRESS_LIMIT - start)
        return "reserved memory is at no possible addresses";
    if (t->table[at] == TYPE_IVMD_RANGE && field(t, at + IVMD_LAST, 2) < field(t, at + IVMD_DEVICE, 2))
        return "reserved memory is for devices whose range ends before it begins";
    return NULL;
}

static const char *check_block(struct ivrs *t, size_t at)
{
    size_t end;

    if (t->size - at < BLOCK_HEADER)
        return "a block is cut off";
    end = block_end(t, at);
    if (end < at + BLOCK_HEADER || end > t->size)
        return "a block has an impossible length";
    if (is_unit(t->table[at]))
        return check_unit(t, at, end);
    return is_memory(t->table[at]) ? check_memory(t, at, end) : NULL; /* others are of later specifications */
}

static bool has_ioapics(const struct ivrs *t)
{
    for (const struct ivrs_unit *u = t->units; u < t->units + t->count; u++)
        for (size_t at = u->entries; at < u->end; at = entry_end(t, at))
            if (t->table[at] == ENTRY_SPECIAL && t->table[at + ENTRY_VARIETY] == VARIETY_IOAPIC)
                return true;
    return false;
}

static const char *check_table(struct ivrs *t)
{
    if (t->size < IVRS_BLOCKS)
        return "the table is too short";
    t->is_left_on = field(t, IVRS_INFO, 4) & IVRS_INFO_REMAPPED;
    for (size_t at = IVRS_BLOCKS; at < t->size; at = block_end(t, at)) {
        const char *wrong = check_block(t, at);

        if (wrong)
            return wrong;
    }
    t->remaps_ioapics = has_ioapics(t);
    return t->count ? NULL : "there is no unit";
}

bool ivrs_parse(const void *table, size_t size, struct ivrs *out, char *reason, size_t reason_size)
{
    const char *wrong;

    *out = (struct ivrs){.table = table, .size = size};
    wrong = check_table(out);
    if (wrong)
        hv_format(reason, reason_size, "ACPI's IVRS table: %s", wrong);
    return !wrong;
}

/* ---------------------------------------------------------------------------------- questions */

/* Where the range that begins at an entry ends. */
static uint16_t range_last(const struct ivrs *t, size_t at)
{
    do
        at = entry_end(t, at);
    while (t->table[at] != ENTRY_RANGE_END);
    return entry_device(t, at);
}

/* Is the entry about this device? */
static bool entry_has(const struct ivrs *t, size_t at, uint16_t device)
{
    switch (t->table[at]) {
    case ENTRY_ALL:
        return true;
    case ENTRY_SELECT:
    case ENTRY_ALIAS_SELECT:
    case ENTRY_EXT_SELECT:
        return entry_device(t, at) == device;
    case ENTRY_RANGE:
    case ENTRY_ALIAS_RANGE:
    case ENTRY_EXT_RANGE:
        return device >= entry_device(t, at) && device <= range_last(t, at);
    case ENTRY_SPECIAL:
        return field(t, at + ENTRY_ALIAS, 2) == device;
    default:
        return false;
    }
}

static bool has_alias(unsigned type)
{
    return type == ENTRY_ALIAS_SELECT || type == ENTRY_ALIAS_RANGE;
}

/* What a special entry says of a function's alias is nothing: an IOAPIC may share its ID with a PCI function. */
static bool unit_has(const struct ivrs *t, const struct ivrs_unit *u, uint16_t device, uint16_t *alias)
{
    bool found = false;

    for (size_t at = u->entries; at < u->end; at = entry_end(t, at)) {
        if (!entry_has(t, at, device) || (found && t->table[at] == ENTRY_SPECIAL))
            continue;
        *alias = has_alias(t->table[at]) ? (uint16_t)field(t, at + ENTRY_ALIAS, 2) : device;
        found = true;
    }
    return found;
}

const struct ivrs_unit *ivrs_unit_of(const struct ivrs *t, const struct hv_pci_address *requester, uint16_t *alias)
{
    const struct ivrs_unit *found = NULL;

    for (const struct ivrs_unit *u = t->units; u < t->units + t->count; u++)
        if (u->function.segment == requester->segment && unit_has(t, u, requester->bdf, alias))
            found = u;
    return found;
}

/* Is there anything at all with this alias? Most IDs are nobody's. */
static bool is_alias(const struct ivrs *t, uint16_t segment, uint16_t alias)
{
    for (const struct ivrs_unit *u = t->units; u < t->units + t->count; u++)
        for (size_t at = u->entries; u->function.segment == segment && at < u->end; at = entry_end(t, at))
            if (has_alias(t->table[at]) && field(t, at + ENTRY_ALIAS, 2) == alias)
                return true;
    return false;
}

uint32_t ivrs_next_aliased(const struct ivrs *t, uint16_t segment, uint16_t alias, uint32_t from)
{
    if (!is_alias(t, segment, alias))
        return IDS;
    for (; from < IDS; from++) {
        const struct hv_pci_address requester = {segment, (uint16_t)from};
        uint16_t its;

        if (from != alias && ivrs_unit_of(t, &requester, &its) && its == alias)
            return from;
    }
    return IDS;
}

static bool memory_is_for(const struct ivrs *t, size_t at, const struct hv_pci_address *requester)
{
    uint16_t first = (uint16_t)field(t, at + IVMD_DEVICE, 2);

    if (t->table[at] == TYPE_IVMD_ALL)
        return true;
    if (field(t, at + IVMD_SEGMENT, 2) != requester->segment)
        return false;
    if (t->table[at] == TYPE_IVMD_ONE)
        return requester->bdf == first;
    return requester->bdf >= first && requester->bdf <= field(t, at + IVMD_LAST, 2);
}

/* Whether a range is to be mapped at its own addresses or left out of translation is the same to the device. */
bool ivrs_reserved(const struct ivrs *t, const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start,
                   uint64_t *size)
{
    for (size_t at = IVRS_BLOCKS; at < t->size; at = block_end(t, at)) {
        uint64_t first, end;

        if (!is_memory(t->table[at]) || !memory_is_for(t, at, requester) || n--)
            continue;
        first = field(t, at + IVMD_START, 8);
        end = ALIGN_UP(first + field(t, at + IVMD_SIZE, 8), HV_PAGE_SIZE);
        *start = ALIGN_DOWN(first, HV_PAGE_SIZE);
        *size = end - *start;
        return true;
    }
    return false;
}

bool ivrs_ioapic(const struct ivrs *t, uint8_t ioapic_id, struct hv_pci_address *out)
{
    for (const struct ivrs_unit *u = t->units; u < t->units + t->count; u++)
        for (size_t at = u->entries; at < u->end; at = entry_end(t, at)) {
            if (t->table[at] != ENTRY_SPECIAL || t->table[at + ENTRY_VARIETY] != VARIETY_IOAPIC ||
                t->table[at + ENTRY_HANDLE] != ioapic_id)
                continue;
            *out = (struct hv_pci_address){u->function.segment, (uint16_t)field(t, at + ENTRY_ALIAS, 2)};
            return true;
        }
    return false;
}
