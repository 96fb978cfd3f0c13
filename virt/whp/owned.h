/* SPDX-License-Identifier: MIT */
/*
 * Objects that a partition owns and that have handles of their own: triggers, notification ports. Such a handle is good
 * for nothing but with its partition's, and dies with the partition.
 */
#ifndef VIRT_WHP_OWNED_H
#define VIRT_WHP_OWNED_H

#include "call.h"

struct whp_owned {
    void *object;                   /* the native one */
    const void *handle;             /* its own */
    const void *partition;          /* that handle; NULL: not made yet, nobody can use it */
    const struct whp_table *table;  /* where its handle is */
    struct whp_owned *next, **link; /* of the partition's */
};

/*
 * A new object is made between begin, which gets its handle, and end, so that nothing fails once there is one: with its
 * native object, or with NULL and forgotten again. `in` is the partition's slot, by partition_enter. NULL: no memory.
 */
struct whp_owned *whp_owned_begin(const struct whp_table *table);
void whp_owned_end(struct whp_owned *owned, const struct whp_slot *in, const void *partition, void *object);

/* Both handles, to the object's slot, whose object is a struct whp_owned. NULL: E_INVALIDARG. */
struct owned_use {
    struct whp_slot *partition, *slot;
    struct whp_owned *owned;
};
bool owned_enter(struct owned_use *in, const void *partition, const struct whp_table *table, const void *handle);
void owned_leave(const struct owned_use *in);

/* Takes an object away from all users; destroy takes the native one. S_OK or E_INVALIDARG. */
HRESULT whp_owned_delete(const void *partition, const struct whp_table *table, const void *handle,
                         void (*destroy)(void *object));

/* The partition is being closed, and its native objects are gone. */
void whp_owned_forget_all(const struct whp_slot *partition);

#endif
