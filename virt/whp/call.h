/* SPDX-License-Identifier: MIT */
/*
 * What the functions of the API have around their inner parts. Each one has the same shape, so that a call gate for
 * ring 3 can take the place of the first and third step:
 *
 *   1. check the arguments that need no partition, and copy what the inner part must not read twice
 *   2. partition_enter or vp_enter: from handle and index to objects that live until the matching leave
 *   3. one inner function on live objects; copy its results out
 *
 * Pointers: NULL where data is needed is E_INVALIDARG (the API's documentation names E_POINTER for few functions). A
 * buffer of no bytes may be NULL. Buffers need no alignment unless the function says so.
 */
#ifndef VIRT_WHP_CALL_H
#define VIRT_WHP_CALL_H

#include "handle.h"
#include "status.h"
#include <hv/hv.h>

/* The slot's object is the partition. NULL: not a live handle, which is E_INVALIDARG. */
static inline struct whp_slot *partition_enter(WHV_PARTITION_HANDLE handle)
{
    return whp_handle_acquire(&whp_partitions, handle, WHP_USE_CALL);
}

static inline void partition_leave(struct whp_slot *slot)
{
    whp_slot_release(slot, WHP_USE_CALL);
}

struct vp_use {
    struct whp_slot *slot; /* of the partition */
    struct hv_vp *vp;
};

static inline HRESULT vp_enter(struct vp_use *in, WHV_PARTITION_HANDLE handle, UINT32 index, enum whp_use use)
{
    in->slot = whp_handle_acquire(&whp_partitions, handle, use);
    if (!in->slot)
        return E_INVALIDARG;
    in->vp = hv_vp_ref(in->slot->object, index);
    if (in->vp)
        return S_OK;
    whp_slot_release(in->slot, use);
    return WHV_E_VP_DOES_NOT_EXIST;
}

static inline void vp_leave(const struct vp_use *in, enum whp_use use)
{
    hv_vp_unref(in->vp);
    whp_slot_release(in->slot, use);
}

/* The same for a function that claims the VP, and says itself whether it is there. */
static inline HRESULT vp_enter_claiming(struct vp_use *in, WHV_PARTITION_HANDLE handle, UINT32 index, enum whp_use use)
{
    in->slot = whp_handle_acquire(&whp_partitions, handle, use);
    if (!in->slot)
        return E_INVALIDARG;
    in->vp = hv_vp_find(in->slot->object, index);
    if (in->vp)
        return S_OK;
    whp_slot_release(in->slot, use);
    return WHV_E_VP_DOES_NOT_EXIST;
}

static inline void vp_leave_claimed(const struct vp_use *in, enum whp_use use)
{
    whp_slot_release(in->slot, use);
}

/* The last step with a result, for the functions that are called most: what is not usual is a call at their end. */
HRESULT whp_wake_closer(struct whp_slot *slot, HRESULT hr);

static inline HRESULT slot_left(struct whp_slot *slot, enum whp_use use, HRESULT hr)
{
    return whp_slot_leave(slot, use) ? hr : whp_wake_closer(slot, hr);
}

static inline bool is_buffer(const void *buffer, UINT32 size)
{
    return buffer || !size;
}

/* Copies one value to the caller; the compiler turns it into plain stores that need no alignment. */
#define PUT(to, value) __builtin_memcpy((to), &(value), sizeof(value))

/* A count of bytes to the caller, who may not want it: on success, and when the buffer was too small. */
static inline void put_count(UINT32 *to, enum hv_status st, uint32_t count)
{
    if (to && (st == HV_OK || st == HV_E_BUFFER_TOO_SMALL))
        PUT(to, count);
}

#endif
