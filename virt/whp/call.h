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

static inline HRESULT partition_enter(WHV_PARTITION_HANDLE handle, struct hv_partition **p)
{
    *p = whp_handle_acquire(&whp_partitions, handle, WHP_USE_CALL);
    return *p ? S_OK : E_INVALIDARG;
}

static inline void partition_leave(WHV_PARTITION_HANDLE handle)
{
    whp_handle_release(&whp_partitions, handle, WHP_USE_CALL);
}

static inline HRESULT vp_enter(WHV_PARTITION_HANDLE handle, UINT32 index, enum whp_use use, struct hv_vp **vp)
{
    struct hv_partition *p = whp_handle_acquire(&whp_partitions, handle, use);

    if (!p)
        return E_INVALIDARG;
    *vp = hv_vp_ref(p, index);
    if (*vp)
        return S_OK;
    whp_handle_release(&whp_partitions, handle, use);
    return WHV_E_VP_DOES_NOT_EXIST;
}

static inline void vp_leave(WHV_PARTITION_HANDLE handle, enum whp_use use, struct hv_vp *vp)
{
    hv_vp_unref(vp);
    whp_handle_release(&whp_partitions, handle, use);
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
