/* SPDX-License-Identifier: MIT */
/*
 * The table behind doorbell.c: bells by kind, address and value, found in time that does not grow with their number.
 *
 * Readers take no lock: they stand in a walk bracket. Writers hold partition.mutex; what they take out stays good until
 * a partition_flush.
 */
#ifndef VIRT_DOORBELL_TABLE_H
#define VIRT_DOORBELL_TABLE_H

#include "partition.h"

enum bell_kind {
    BELL_PAGE,   /* of memory, that is out of its mapping */
    BELL_MEMORY, /* at an address: the only doorbell there, or what those by value have in common */
    BELL_MEMORY_VALUE,
    BELL_PORT,
    BELL_PORT_VALUE,
};

struct bell {
    struct bell *volatile next[2]; /* in its bucket; a new table uses the other one of the two */
    uint64_t address, value;       /* value: of a kind by value, else 0 */
    struct hv_host_event *event;   /* NULL: of a page, or doorbells by value */
    const void *owner;             /* of a doorbell: who takes it away; NULL: anybody */
    uint32_t count;                /* how many doorbells are on the page, or how many by value at the address */
    uint8_t kind;
    uint8_t length; /* 0: any */
};

struct doorbells {
    struct bell_table *volatile table;
    uint64_t count;
    volatile uint32_t ports; /* doorbells on ports */
};

/* Context: in a walk bracket, or under partition.mutex. NULL: none. */
struct bell *bell_find(const struct doorbells *d, enum bell_kind kind, uint64_t address, uint64_t value);

/* The rest under partition.mutex, in thread context. HV_E_NO_MEMORY. */
enum hv_status bell_table_create(struct doorbells *d);
void bell_table_destroy(struct doorbells *d, void (*dispose)(struct bell *bell)); /* with all that is in it */
/* Makes the table larger when it is time; without memory for it, it stays as it is. */
void bell_insert(struct hv_partition *p, struct doorbells *d, struct bell *bell);
void bell_remove(struct doorbells *d, struct bell *bell);

#endif
