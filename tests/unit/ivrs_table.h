/* SPDX-License-Identifier: MIT */
/* Writes ACPI IVRS tables (AMD I/O Virtualization Technology 5.2), right and wrong ones. */
#ifndef IVRS_TABLE_H
#define IVRS_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct ivrs_table {
    uint8_t bytes[2048];
    size_t size;
    size_t block; /* the last one */
};

static inline void ivrs_put(struct ivrs_table *t, uint64_t value, unsigned bytes)
{
    memcpy(t->bytes + t->size, &value, bytes);
    t->size += bytes;
}

static inline void ivrs_begin(struct ivrs_table *t, uint32_t info)
{
    memset(t, 0, sizeof(*t));
    memcpy(t->bytes, "IVRS", 4);
    t->size = 36;
    ivrs_put(t, info, 4);
    t->size = 48;
}

/* The block's length grows with its entries. */
static inline void ivrs_grow(struct ivrs_table *t)
{
    uint16_t length = (uint16_t)(t->size - t->block);

    memcpy(t->bytes + t->block + 2, &length, 2);
}

static inline void ivrs_block(struct ivrs_table *t, uint8_t type, uint8_t flags, uint16_t device)
{
    t->block = t->size;
    ivrs_put(t, type, 1);
    ivrs_put(t, flags, 1);
    ivrs_put(t, 0, 2);
    ivrs_put(t, device, 2);
}

static inline void ivrs_unit(struct ivrs_table *t, uint8_t type, uint16_t segment, uint16_t device, uint64_t base)
{
    ivrs_block(t, type, 0x10, device);
    ivrs_put(t, 0x40, 2);
    ivrs_put(t, base, 8);
    ivrs_put(t, segment, 2);
    ivrs_put(t, 0, 2);
    ivrs_put(t, 0, 4);
    if (type != 0x10) {
        ivrs_put(t, 0, 8);
        ivrs_put(t, 0, 8);
    }
    ivrs_grow(t);
}

/* 4 bytes: all 1, select 2, range 3, its end 4. */
static inline void ivrs_entry(struct ivrs_table *t, uint8_t type, uint16_t device)
{
    ivrs_put(t, type, 1);
    ivrs_put(t, device, 2);
    ivrs_put(t, 0, 1);
    ivrs_grow(t);
}

/* 8 bytes: alias 66, range with alias 67, extended 70 and 71. */
static inline void ivrs_alias(struct ivrs_table *t, uint8_t type, uint16_t device, uint16_t alias)
{
    ivrs_entry(t, type, device);
    ivrs_put(t, 0, 1);
    ivrs_put(t, alias, 2);
    ivrs_put(t, 0, 1);
    ivrs_grow(t);
}

/* variety: IOAPIC 1, HPET 2 */
static inline void ivrs_special(struct ivrs_table *t, uint8_t handle, uint16_t device, uint8_t variety)
{
    ivrs_entry(t, 72, 0);
    ivrs_put(t, handle, 1);
    ivrs_put(t, device, 2);
    ivrs_put(t, variety, 1);
    ivrs_grow(t);
}

static inline void ivrs_named(struct ivrs_table *t, uint16_t device, uint8_t length)
{
    ivrs_entry(t, 240, device);
    ivrs_put(t, 0, 8);
    ivrs_put(t, 0, 8);
    ivrs_put(t, 2, 1);
    ivrs_put(t, length, 1);
    t->size += length;
    ivrs_grow(t);
}

/* type: for all 20h, one 21h, a range 22h */
static inline void ivrs_memory(struct ivrs_table *t, uint8_t type, uint16_t first, uint16_t last, uint64_t start,
                               uint64_t size)
{
    ivrs_block(t, type, 7, first);
    ivrs_put(t, last, 2);
    ivrs_put(t, 0, 8);
    ivrs_put(t, start, 8);
    ivrs_put(t, size, 8);
    ivrs_grow(t);
}

#endif
