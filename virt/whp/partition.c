/* SPDX-License-Identifier: MIT */
/* Partitions: their life, properties and counters. */
#include "owned.h"

/* --------------------------------------------------------------------------- life */

static HRESULT create_partition(WHV_PARTITION_HANDLE *handle)
{
    struct hv_partition *p;
    enum hv_status st = hv_partition_create(&p);

    if (st != HV_OK)
        return whp_result(st);
    *handle = whp_handle_open(&whp_partitions, p);
    if (*handle)
        return S_OK;
    hv_partition_delete(p);
    return E_OUTOFMEMORY;
}

HRESULT WHVAPI WHvCreatePartition(WHV_PARTITION_HANDLE *Partition)
{
    WHV_PARTITION_HANDLE handle;
    HRESULT hr;

    if (!Partition)
        return E_INVALIDARG;
    hr = create_partition(&handle);
    if (SUCCEEDED(hr))
        PUT(Partition, handle);
    return hr;
}

HRESULT WHVAPI WHvSetupPartition(WHV_PARTITION_HANDLE Partition)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result_of(WHP_SETUP_PARTITION, hv_partition_setup(in->object));
    partition_leave(in);
    return hr;
}

HRESULT WHVAPI WHvResetPartition(WHV_PARTITION_HANDLE Partition)
{
    struct whp_slot *in = partition_enter(Partition);
    HRESULT hr;

    if (!in)
        return E_INVALIDARG;
    hr = whp_result_of(WHP_RESET_PARTITION, hv_partition_reset(in->object));
    partition_leave(in);
    return hr;
}

/* The object is the caller's alone: if it can not be deleted, its handle lives on. */
static HRESULT delete_partition(struct whp_slot *slot)
{
    enum hv_status st = hv_partition_delete(slot->object);

    if (st == HV_OK) {
        whp_owned_forget_all(slot);
        whp_slot_closed(&whp_partitions, slot);
    } else {
        whp_slot_reopen(slot);
    }
    return whp_result(st);
}

HRESULT WHVAPI WHvDeletePartition(WHV_PARTITION_HANDLE Partition)
{
    struct whp_slot *slot;

    switch (whp_handle_close(&whp_partitions, Partition, &slot)) {
    case WHP_CLOSING:
        return delete_partition(slot);
    case WHP_CLOSE_IN_RUN:
        return WHV_E_INVALID_VP_STATE;
    default:
        return E_INVALIDARG;
    }
}

/* --------------------------------------------------------------------- properties */

HRESULT WHVAPI WHvGetPartitionProperty(WHV_PARTITION_HANDLE Partition, WHV_PARTITION_PROPERTY_CODE PropertyCode,
                                       VOID *PropertyBuffer, UINT32 PropertyBufferSizeInBytes,
                                       UINT32 *WrittenSizeInBytes)
{
    struct whp_slot *in;
    uint32_t written = 0;
    enum hv_status st;

    if (!is_buffer(PropertyBuffer, PropertyBufferSizeInBytes))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    st = hv_partition_get_property(in->object, (uint32_t)PropertyCode, PropertyBuffer, PropertyBufferSizeInBytes,
                                   &written);
    partition_leave(in);
    put_count(WrittenSizeInBytes, st, written);
    return whp_result(st);
}

HRESULT WHVAPI WHvSetPartitionProperty(WHV_PARTITION_HANDLE Partition, WHV_PARTITION_PROPERTY_CODE PropertyCode,
                                       const VOID *PropertyBuffer, UINT32 PropertyBufferSizeInBytes)
{
    struct whp_slot *in;
    HRESULT hr;

    if (!is_buffer(PropertyBuffer, PropertyBufferSizeInBytes))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = whp_result(
        hv_partition_set_property(in->object, (uint32_t)PropertyCode, PropertyBuffer, PropertyBufferSizeInBytes));
    partition_leave(in);
    return hr;
}

/* ----------------------------------------------------------------------- counters */

_Static_assert(sizeof(WHV_PARTITION_MEMORY_COUNTERS) == 24, "WHV_PARTITION_MEMORY_COUNTERS");

static void memory_counters(struct hv_partition *p, WHV_PARTITION_MEMORY_COUNTERS *out)
{
    struct hv_memory_counters counters;

    hv_partition_memory_counters(p, &counters);
    out->Mapped4KPageCount = counters.mapped_4k;
    out->Mapped2MPageCount = counters.mapped_2m;
    out->Mapped1GPageCount = counters.mapped_1g;
}

HRESULT WHVAPI WHvGetPartitionCounters(WHV_PARTITION_HANDLE Partition, WHV_PARTITION_COUNTER_SET CounterSet,
                                       VOID *Buffer, UINT32 BufferSizeInBytes, UINT32 *BytesWritten)
{
    WHV_PARTITION_MEMORY_COUNTERS counters;
    enum hv_status st = HV_E_BUFFER_TOO_SMALL;
    struct whp_slot *in;

    if (!is_buffer(Buffer, BufferSizeInBytes))
        return E_INVALIDARG;
    if (CounterSet != WHvPartitionCounterSetMemory)
        return WHV_E_UNKNOWN_PROPERTY;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    if (BufferSizeInBytes >= sizeof(counters)) {
        memory_counters(in->object, &counters);
        PUT(Buffer, counters);
        st = HV_OK;
    }
    partition_leave(in);
    put_count(BytesWritten, st, sizeof(counters));
    return whp_result(st);
}
