/* SPDX-License-Identifier: MIT */
/*
 * Handles: numbers that stand for objects, so that no value that a caller passes is ever followed as a pointer.
 *
 * A handle names a slot of a table and the generation of the object in it. It is checked and the object kept alive by
 * one atomic operation on the slot, without a lock; closing waits until nobody uses the object any more. A handle is
 * never NULL and, read as an address, never canonical.
 */
#ifndef VIRT_WHP_HANDLE_H
#define VIRT_WHP_HANDLE_H

#include <hv/base/lock.h>
#include <hv/types.h>

/*
 * How an object is used between acquire and release: by a call that ends soon, or by one that lasts as long as the
 * guest pleases. Closing waits for the former and is refused by the latter. The values are what one use adds to a
 * slot's word.
 */
enum whp_use {
    WHP_USE_CALL = 1u << 0,
    WHP_USE_RUN = 1u << 16,
};

/*
 * word: bits 0-14 calls inside, 16-30 runs inside; 32-58 generation, 59-61 the table's tag, 63 alive. The upper half is
 * the handle's, so one comparison says whether the handle is the slot's. Once a slot is not alive no new use begins,
 * and the last use that ends wakes the closer, who sleeps on the low half.
 */
struct whp_slot {
    union {
        uint64_t word; /* atomic */
        uint32_t low;
    };
    union {
        void *object;  /* alive or being closed */
        uint32_t next; /* free: the next free slot, under table.lock */
    };
};

#define WHP_SLOT_ALIVE (1ull << 63)

#define WHP_NO_SLOT (~0u)

/* What makes the handles of a table differ from those of others: 3 bits. */
enum whp_tag { WHP_TAG_PARTITION, WHP_TAG_EMULATOR, WHP_TAG_PORT, WHP_TAG_TRIGGER, WHP_TAG_RESOURCE, WHP_TAG_COUNT };

/*
 * Slots that were never used are taken first, then those freed, the longest ago first. With *rest zero it is an empty
 * table.
 */
struct whp_table {
    enum whp_tag tag;
    uint16_t size; /* slots, a multiple of 4 */
    struct whp_slot *slots;
    struct whp_free {
        struct hv_spin lock; /* for the rest */
        uint16_t used;       /* slots that were ever used */
        uint16_t free;       /* slots in the list from first to last */
        uint32_t first, last;
    } * rest;
};

/* A new handle for the object, NULL when all slots are taken. Context: any. */
void *whp_handle_open(const struct whp_table *table, void *object);

/*
 * The slot behind a handle, whose object lives until the slot is released with the same use; NULL when the handle is
 * not, or no longer, one of this table, or when 32767 threads use the object already. Context: any.
 */
struct whp_slot *whp_handle_acquire(const struct whp_table *table, const void *handle, enum whp_use use);

/* Ends a use; false: a closer waits for it, and has to be woken. Read as a number with a sign, a slot that is alive has
 * a negative word. */
static inline bool whp_slot_leave(struct whp_slot *slot, enum whp_use use)
{
    return (int64_t)__atomic_fetch_sub(&slot->word, use, __ATOMIC_RELEASE) < (int64_t)use;
}

static inline void whp_slot_release(struct whp_slot *slot, enum whp_use use)
{
    if (!whp_slot_leave(slot, use))
        hv_host_wake(&slot->low);
}

enum whp_closing {
    WHP_CLOSING,     /* the object is the caller's alone; the handle is dead */
    WHP_CLOSE_STALE, /* not a live handle, or another thread closes it */
    WHP_CLOSE_IN_RUN /* a run uses it: nothing has changed */
};

/*
 * Takes the object from all users. Waits for the calls inside to end. After WHP_CLOSING the closer ends with
 * whp_slot_closed, or with whp_slot_reopen when the object has to live on after all. Context: thread.
 */
enum whp_closing whp_handle_close(const struct whp_table *table, const void *handle, struct whp_slot **slot);
void whp_slot_closed(const struct whp_table *table, struct whp_slot *slot);
void whp_slot_reopen(struct whp_slot *slot);

#define WHP_PARTITIONS_MAX 1024

extern const struct whp_table whp_partitions;

#endif
