/* SPDX-License-Identifier: MIT */
#include "handle.h"
#include <hv/base/bits.h>

/* slot word */
#define SLOT_GENERATION BITS64(62, 32)
#define USES_MAX        0x7fffu /* of one kind, in its 15 bits */
#define SLOT_CALLS      ((uint64_t)WHP_USE_CALL * USES_MAX)
#define SLOT_RUNS       ((uint64_t)WHP_USE_RUN * USES_MAX)

/* handle; HANDLE_HIGH holds the high half of the slot's word while the object is alive */
#define HANDLE_SLOT BITS64(15, 0)
#define HANDLE_HIGH BITS64(47, 16)
#define HANDLE_TAG  BITS64(63, 48)

/* An address with this top is canonical neither with 48 nor with 57 bits: using a handle as a pointer faults. */
#define TAG_PARTITION 0x5750

#define SLOTS_PER_LINE 4

static struct whp_slot partition_slots[WHP_PARTITIONS_MAX] __attribute__((aligned(64)));

static struct whp_free partition_rest;

const struct whp_table whp_partitions = {
    .tag = TAG_PARTITION,
    .size = WHP_PARTITIONS_MAX,
    .slots = partition_slots,
    .rest = &partition_rest,
};

_Static_assert(sizeof(void *) == sizeof(uint64_t), "a handle is 64 bits");
_Static_assert(sizeof(struct whp_slot) * SLOTS_PER_LINE == 64, "slots of a cache line");
_Static_assert(WHP_PARTITIONS_MAX % SLOTS_PER_LINE == 0 && WHP_PARTITIONS_MAX <= HANDLE_SLOT, "slots in a handle");

/* The slot that a handle names, live or not; NULL when it is no handle of this table. */
static struct whp_slot *slot_of(const struct whp_table *table, const void *handle)
{
    uint64_t h = (uintptr_t)handle;

    if (FIELD_GET(HANDLE_TAG, h) != table->tag || FIELD_GET(HANDLE_SLOT, h) >= table->size)
        return NULL;
    return &table->slots[FIELD_GET(HANDLE_SLOT, h)];
}

static bool is_live(uint64_t word, const void *handle)
{
    return word >> 32 == FIELD_GET(HANDLE_HIGH, (uintptr_t)handle);
}

/* ------------------------------------------------------------------------------- free slots */

/* The n-th slot to be used: neighbours in time are not neighbours in a cache line. */
static uint32_t scatter(const struct whp_table *table, uint32_t n)
{
    uint32_t lines = table->size / SLOTS_PER_LINE;

    return n % lines * SLOTS_PER_LINE + n / lines;
}

static uint32_t take_slot(const struct whp_table *table)
{
    uint64_t flags = hv_spin_lock(&table->rest->lock);
    uint32_t index = WHP_NO_SLOT;

    if (table->rest->used < table->size) {
        index = scatter(table, table->rest->used++);
    } else if (table->rest->free) {
        index = table->rest->first;
        table->rest->first = table->slots[index].next;
        table->rest->free--;
    }
    hv_spin_unlock(&table->rest->lock, flags);
    return index;
}

static void give_slot(const struct whp_table *table, uint32_t index)
{
    uint64_t flags = hv_spin_lock(&table->rest->lock);

    if (table->rest->free++)
        table->slots[table->rest->last].next = index;
    else
        table->rest->first = index;
    table->rest->last = index;
    hv_spin_unlock(&table->rest->lock, flags);
}

/* ---------------------------------------------------------------------------------- handles */

void *whp_handle_open(const struct whp_table *table, void *object)
{
    uint32_t index = take_slot(table);
    struct whp_slot *slot;
    uint64_t word;

    if (index == WHP_NO_SLOT)
        return NULL;
    slot = &table->slots[index];
    slot->object = object;
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED) | WHP_SLOT_ALIVE;
    __atomic_store_n(&slot->word, word, __ATOMIC_RELEASE);
    return (void *)(uintptr_t)(FIELD_PUT(HANDLE_TAG, table->tag) | FIELD_PUT(HANDLE_HIGH, word >> 32) |
                               FIELD_PUT(HANDLE_SLOT, index));
}

struct whp_slot *whp_handle_acquire(const struct whp_table *table, const void *handle, enum whp_use use)
{
    const uint64_t uses = (uint64_t)use * USES_MAX;
    struct whp_slot *slot = slot_of(table, handle);
    uint64_t word;

    if (!slot)
        return NULL;
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED);
    do {
        if (!is_live(word, handle) || (word & uses) == uses)
            return NULL;
    } while (!__atomic_compare_exchange_n(&slot->word, &word, word + use, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return slot;
}

/*
 * A run and a close decide by the same word which of them came first: either the close sees the run and gives up, or
 * the run finds the slot dead.
 */
enum whp_closing whp_handle_close(const struct whp_table *table, const void *handle, struct whp_slot **out)
{
    struct whp_slot *slot = slot_of(table, handle);
    uint64_t word;

    if (!slot)
        return WHP_CLOSE_STALE;
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED);
    do {
        if (!is_live(word, handle))
            return WHP_CLOSE_STALE;
        if (word & SLOT_RUNS)
            return WHP_CLOSE_IN_RUN;
    } while (!__atomic_compare_exchange_n(&slot->word, &word, word & ~WHP_SLOT_ALIVE, true, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    while ((word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE)) & SLOT_CALLS)
        hv_host_wait(&slot->low, (uint32_t)word, 0);
    *out = slot;
    return WHP_CLOSING;
}

/* The generation wraps after 2^31 objects in one slot; a handle that was kept for that long would be taken for the new
 * one. */
void whp_slot_closed(const struct whp_table *table, struct whp_slot *slot)
{
    uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED);

    __atomic_store_n(&slot->word, (word + BIT64(32)) & SLOT_GENERATION, __ATOMIC_RELEASE);
    give_slot(table, (uint32_t)(slot - table->slots));
}

void whp_slot_reopen(struct whp_slot *slot)
{
    __atomic_fetch_or(&slot->word, WHP_SLOT_ALIVE, __ATOMIC_RELEASE);
}
