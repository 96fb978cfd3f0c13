/* SPDX-License-Identifier: MIT */
#include "owned.h"

static struct hv_spin lock;
static struct whp_owned *lists[WHP_PARTITIONS_MAX]; /* lock; by the partition's slot */

static void link_owned(struct whp_owned *owned, struct whp_owned **list)
{
    uint64_t flags = hv_spin_lock(&lock);

    owned->next = *list;
    owned->link = list;
    if (owned->next)
        owned->next->link = &owned->next;
    *list = owned;
    hv_spin_unlock(&lock, flags);
}

static void unlink_owned(struct whp_owned *owned)
{
    uint64_t flags = hv_spin_lock(&lock);

    *owned->link = owned->next;
    if (owned->next)
        owned->next->link = owned->link;
    hv_spin_unlock(&lock, flags);
}

struct whp_owned *whp_owned_begin(const struct whp_table *table)
{
    struct whp_owned *owned = hv_host_alloc(sizeof(*owned));

    if (!owned)
        return NULL;
    owned->table = table;
    owned->handle = whp_handle_open(table, owned);
    if (owned->handle)
        return owned;
    hv_host_free(owned, sizeof(*owned));
    return NULL;
}

/* Its handle is closed and nobody uses it. */
static void end_of(struct whp_owned *owned, struct whp_slot *slot)
{
    whp_slot_closed(owned->table, slot);
    hv_host_free(owned, sizeof(*owned));
}

static void close_owned(struct whp_owned *owned)
{
    struct whp_slot *slot;

    if (whp_handle_close(owned->table, owned->handle, &slot) == WHP_CLOSING)
        end_of(owned, slot);
}

void whp_owned_end(struct whp_owned *owned, const struct whp_slot *in, const void *partition, void *object)
{
    if (!object) {
        close_owned(owned);
        return;
    }
    owned->object = object;
    link_owned(owned, &lists[in - whp_partitions.slots]);
    __atomic_store_n(&owned->partition, partition, __ATOMIC_RELEASE);
}

bool owned_enter(struct owned_use *in, const void *partition, const struct whp_table *table, const void *handle)
{
    in->partition = whp_handle_acquire(&whp_partitions, partition, WHP_USE_CALL);
    if (!in->partition)
        return false;
    in->slot = whp_handle_acquire(table, handle, WHP_USE_CALL);
    if (in->slot) {
        in->owned = in->slot->object;
        if (__atomic_load_n(&in->owned->partition, __ATOMIC_ACQUIRE) == partition)
            return true;
        whp_slot_release(in->slot, WHP_USE_CALL);
    }
    whp_slot_release(in->partition, WHP_USE_CALL);
    return false;
}

void owned_leave(const struct owned_use *in)
{
    whp_slot_release(in->slot, WHP_USE_CALL);
    whp_slot_release(in->partition, WHP_USE_CALL);
}

/* Of several that delete it, one finds the handle alive. The partition stays until the end. */
static HRESULT delete_in(const struct whp_table *table, const void *handle, void (*destroy)(void *object))
{
    struct whp_owned *owned;
    struct whp_slot *slot;

    if (whp_handle_close(table, handle, &slot) != WHP_CLOSING)
        return E_INVALIDARG;
    owned = slot->object;
    destroy(owned->object);
    unlink_owned(owned);
    end_of(owned, slot);
    return S_OK;
}

HRESULT whp_owned_delete(const void *partition, const struct whp_table *table, const void *handle,
                         void (*destroy)(void *object))
{
    struct owned_use in;
    HRESULT hr;

    if (!owned_enter(&in, partition, table, handle))
        return E_INVALIDARG;
    whp_slot_release(in.slot, WHP_USE_CALL);
    hr = delete_in(table, handle, destroy);
    whp_slot_release(in.partition, WHP_USE_CALL);
    return hr;
}

/* Nobody is inside the partition: what changes the list is over. */
void whp_owned_forget_all(const struct whp_slot *partition)
{
    struct whp_owned **list = &lists[partition - whp_partitions.slots], *owned;

    while ((owned = *list)) {
        unlink_owned(owned);
        close_owned(owned);
    }
}
