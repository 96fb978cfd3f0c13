/* SPDX-License-Identifier: MIT */
#include "handle.h"
#include <hv/base/bits.h>

/* slot word */
#define SLOT_GENERATION BITS64(58, 32)
#define SLOT_TAG        BITS64(61, 59)
#define USES_MAX        0x7fffu /* of one kind, in its 15 bits */
#define SLOT_CALLS      ((uint64_t)WHP_USE_CALL * USES_MAX)
#define SLOT_RUNS       ((uint64_t)WHP_USE_RUN * USES_MAX)
#define SLOT_FULL       ((USES_MAX + 1ull) * (WHP_USE_CALL | WHP_USE_RUN)) /* where one use too many would be seen */

/*
 * A handle is the upper half of the slot's word while the object is alive, and the slot's number. With bit 63 set and
 * bit 62 clear it is an address that is canonical neither with 48 nor with 57 bits: using it as a pointer faults.
 */
#define HANDLE_SLOT BITS64(31, 0)
#define HANDLE_WORD BITS64(63, 32)

#define SLOTS_PER_LINE 4

static struct whp_slot partition_slots[WHP_PARTITIONS_MAX] __attribute__((aligned(64)));

static struct whp_free partition_rest;

const struct whp_table whp_partitions = {
    .tag = WHP_TAG_PARTITION,
    .size = WHP_PARTITIONS_MAX,
    .slots = partition_slots,
    .rest = &partition_rest,
};

_Static_assert(sizeof(void *) == sizeof(uint64_t), "a handle is 64 bits");
_Static_assert(sizeof(struct whp_slot) * SLOTS_PER_LINE == 64, "slots of a cache line");
_Static_assert(WHP_PARTITIONS_MAX % SLOTS_PER_LINE == 0, "whole lines");
_Static_assert(WHP_TAG_COUNT - 1 <= FIELD_GET(SLOT_TAG, SLOT_TAG), "tags in a slot's word");

/* The slot that a handle names, be it the handle's or not; NULL when there is none. */
static struct whp_slot *slot_of(const struct whp_table *table, const void *handle)
{
    uint64_t index = FIELD_GET(HANDLE_SLOT, (uintptr_t)handle);

    return index < table->size ? &table->slots[index] : NULL;
}

/* Is the object alive that the handle was made for? A forged one may have the words of slots that are not. */
static bool is_live(uint64_t word, const void *handle)
{
    return word & WHP_SLOT_ALIVE && !((word ^ (uintptr_t)handle) & HANDLE_WORD);
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
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED) | FIELD_PUT(SLOT_TAG, table->tag) | WHP_SLOT_ALIVE;
    __atomic_store_n(&slot->word, word, __ATOMIC_RELEASE);
    return (void *)(uintptr_t)((word & HANDLE_WORD) | FIELD_PUT(HANDLE_SLOT, index));
}

struct whp_slot *whp_handle_acquire(const struct whp_table *table, const void *handle, enum whp_use use)
{
    struct whp_slot *slot = slot_of(table, handle);
    uint64_t word;

    if (!slot)
        return NULL;
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED);
    do {
        if (!is_live(word, handle) || (word + use) & SLOT_FULL)
            return NULL;
    } while (__builtin_expect(
        !__atomic_compare_exchange_n(&slot->word, &word, word + use, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED), 0));
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

/* The generation wraps after 2^27 objects in one slot; a handle that was kept for that long would be taken for the new
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
