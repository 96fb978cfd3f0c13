/* SPDX-License-Identifier: MIT */
/*
 * A hash table of chains. Its buckets are in pages, 512 to a page, which a directory page points to. When it grows all
 * bells are hung into a new table by their other link, while readers go by the first one.
 */
#include "doorbell_table.h"

#define PAGE_BITS 9u
#define PAGE_SIZE (1u << PAGE_BITS) /* pointers in a page */
#define BITS_MIN  PAGE_BITS
#define BITS_MAX  (2 * PAGE_BITS)
#define BITS_STEP 3u /* it grows to so many times its size */

typedef struct bell *volatile bucket_t;

struct bell_table {
    bucket_t **pages; /* a page */
    unsigned bits, link;
    unsigned shift; /* leaves so many of a hash */
};

/* ------------------------------------------------------------------------------------ buckets */

/* Multiplicative: the upper bits are the best ones. */
static inline uint64_t hash(unsigned kind, uint64_t address, uint64_t value)
{
    return ((address ^ value * 0xd6e8feb86659fd93ull) + kind) * 0x9e3779b97f4a7c15ull;
}

static inline bucket_t *bucket_at(const struct bell_table *t, uint64_t index)
{
    return &t->pages[index >> PAGE_BITS][index % PAGE_SIZE];
}

static inline bucket_t *bucket_of(const struct bell_table *t, uint64_t hash)
{
    return bucket_at(t, hash >> t->shift);
}

static void table_insert(struct bell_table *t, struct bell *bell)
{
    bucket_t *bucket = bucket_of(t, hash(bell->kind, bell->address, bell->value));

    bell->next[t->link] = *bucket;
    __atomic_store_n(bucket, bell, __ATOMIC_RELEASE);
}

struct bell *bell_find(const struct doorbells *d, enum bell_kind kind, uint64_t address, uint64_t value)
{
    const struct bell_table *t = __atomic_load_n(&d->table, __ATOMIC_ACQUIRE);
    struct bell *bell = __atomic_load_n(bucket_of(t, hash(kind, address, value)), __ATOMIC_ACQUIRE);

    while (bell && (bell->address != address || bell->value != value || bell->kind != kind))
        bell = __atomic_load_n(&bell->next[t->link], __ATOMIC_ACQUIRE);
    return bell;
}

/* ------------------------------------------------------------------------------------- tables */

static void table_free(struct bell_table *t)
{
    for (unsigned i = 0; t->pages && i < PAGE_SIZE && t->pages[i]; i++)
        hv_host_page_free((void *)t->pages[i]);
    if (t->pages)
        hv_host_page_free(t->pages);
    hv_host_free(t, sizeof(*t));
}

static bool table_fill(struct bell_table *t)
{
    t->pages = hv_host_page_alloc();
    for (unsigned i = 0; t->pages && i < 1u << (t->bits - PAGE_BITS); i++) {
        t->pages[i] = hv_host_page_alloc();
        if (!t->pages[i])
            return false;
    }
    return t->pages;
}

static struct bell_table *table_new(unsigned bits, unsigned link)
{
    struct bell_table *t = hv_host_alloc(sizeof(*t));

    if (!t)
        return NULL;
    t->bits = bits;
    t->shift = 64 - bits;
    t->link = link;
    if (table_fill(t))
        return t;
    table_free(t);
    return NULL;
}

static void move_all(const struct bell_table *from, struct bell_table *to)
{
    for (uint64_t i = 0; i < 1ull << from->bits; i++)
        for (struct bell *b = *bucket_at(from, i); b; b = b->next[from->link])
            table_insert(to, b);
}

static void grow(struct hv_partition *p, struct doorbells *d)
{
    struct bell_table *old = d->table, *new;

    if (d->count <= 1ull << old->bits || old->bits >= BITS_MAX)
        return;
    new = table_new(old->bits + BITS_STEP, !old->link);
    if (!new)
        return;
    move_all(old, new);
    __atomic_store_n(&d->table, new, __ATOMIC_RELEASE);
    partition_flush(p);
    table_free(old);
}

enum hv_status bell_table_create(struct doorbells *d)
{
    d->table = table_new(BITS_MIN, 0);
    return d->table ? HV_OK : HV_E_NO_MEMORY;
}

void bell_table_destroy(struct doorbells *d, void (*dispose)(struct bell *bell))
{
    struct bell_table *t = d->table;

    for (uint64_t i = 0; i < 1ull << t->bits; i++)
        for (struct bell *b = *bucket_at(t, i), *next; b; b = next) {
            next = b->next[t->link];
            dispose(b);
        }
    table_free(t);
}

void bell_insert(struct hv_partition *p, struct doorbells *d, struct bell *bell)
{
    d->count++;
    grow(p, d);
    table_insert(d->table, bell);
}

void bell_remove(struct doorbells *d, struct bell *bell)
{
    const struct bell_table *t = d->table;
    bucket_t *at = bucket_of(t, hash(bell->kind, bell->address, bell->value));

    while (*at != bell)
        at = &(*at)->next[t->link];
    __atomic_store_n(at, bell->next[t->link], __ATOMIC_RELEASE);
    d->count--;
}
