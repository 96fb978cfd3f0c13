/* SPDX-License-Identifier: MIT */
/* Writes ACPI DMAR tables (VT-d 8), right and wrong ones. */
#ifndef DMAR_TABLE_H
#define DMAR_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct dmar_table {
    uint8_t bytes[2048];
    size_t size;
    size_t structure; /* the last one */
};

static inline void dmar_put(struct dmar_table *t, uint64_t value, unsigned bytes)
{
    memcpy(t->bytes + t->size, &value, bytes);
    t->size += bytes;
}

static inline void dmar_begin(struct dmar_table *t, unsigned width, uint8_t flags)
{
    memset(t, 0, sizeof(*t));
    memcpy(t->bytes, "DMAR", 4);
    t->size = 36;
    dmar_put(t, width - 1, 1);
    dmar_put(t, flags, 1);
    t->size = 48;
}

/* The structure's length grows with its scopes. */
static inline void dmar_grow(struct dmar_table *t)
{
    uint16_t length = (uint16_t)(t->size - t->structure);

    memcpy(t->bytes + t->structure + 2, &length, 2);
}

static inline void dmar_structure(struct dmar_table *t, uint16_t type)
{
    t->structure = t->size;
    dmar_put(t, type, 2);
    dmar_put(t, 0, 2);
}

static inline void dmar_unit(struct dmar_table *t, uint16_t segment, uint64_t base, bool includes_all)
{
    dmar_structure(t, 0);
    dmar_put(t, includes_all, 2);
    dmar_put(t, segment, 2);
    dmar_put(t, base, 8);
    dmar_grow(t);
}

static inline void dmar_reserve(struct dmar_table *t, uint16_t segment, uint64_t base, uint64_t limit)
{
    dmar_structure(t, 1);
    dmar_put(t, 0, 2);
    dmar_put(t, segment, 2);
    dmar_put(t, base, 8);
    dmar_put(t, limit, 8);
    dmar_grow(t);
}

/* steps: device and function of each, 0xff ends them */
static inline void dmar_scope(struct dmar_table *t, uint8_t type, uint8_t id, uint8_t bus, const uint8_t *steps)
{
    size_t at = t->size;

    dmar_put(t, type, 1);
    dmar_put(t, 0, 3);
    dmar_put(t, id, 1);
    dmar_put(t, bus, 1);
    for (; *steps != 0xff; steps += 2) {
        dmar_put(t, steps[0], 1);
        dmar_put(t, steps[1], 1);
    }
    t->bytes[at + 1] = (uint8_t)(t->size - at);
    dmar_grow(t);
}
#define DMAR_PATH(...) ((const uint8_t[]){__VA_ARGS__, 0xff})

enum { DMAR_ENDPOINT = 1, DMAR_BRIDGE, DMAR_IOAPIC, DMAR_HPET };

#endif
