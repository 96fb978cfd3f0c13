/* SPDX-License-Identifier: MIT */
/* Registers and other state of virtual processors. Names and values are the native API's, bit for bit, and pass
 * through. */
#include "call.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

_Static_assert(sizeof(WHV_REGISTER_NAME) == sizeof(uint32_t), "WHV_REGISTER_NAME");
_Static_assert(sizeof(WHV_REGISTER_VALUE) == sizeof(union hv_reg_value), "WHV_REGISTER_VALUE");
_Static_assert(_Alignof(WHV_REGISTER_VALUE) == _Alignof(union hv_reg_value), "alignment of WHV_REGISTER_VALUE");
_Static_assert(offsetof(WHV_X64_TABLE_REGISTER, Limit) == offsetof(struct hv_table, limit), "table limit");
_Static_assert(offsetof(WHV_X64_TABLE_REGISTER, Base) == offsetof(struct hv_table, base), "table base");
_Static_assert(offsetof(WHV_X64_SEGMENT_REGISTER, Attributes) == offsetof(struct hv_segment, attributes), "attributes");
_Static_assert((uint32_t)WHvX64RegisterRip == HV_REG_RIP, "register numbers");
_Static_assert((uint32_t)WHvX64RegisterXCr0 == HV_REG_XCR0, "register numbers");
_Static_assert((uint32_t)WHvX64RegisterXmmControlStatus == HV_REG_XMM_CONTROL_STATUS, "register numbers");
_Static_assert((uint32_t)WHvX64RegisterTscAdjust == HV_REG_TSC_ADJUST, "register numbers");
_Static_assert((uint32_t)WHvX64RegisterPendingDebugException == HV_REG_PENDING_DEBUG_EXCEPTION, "register numbers");

/* ------------------------------------------------------------------------- registers */

/* Far more than a processor has: keeps the time that one call may take, and the memory of a bounce, within bounds. */
#define REGISTERS_MAX 512

/* Both at once: what the names' addresses lack in alignment is made up for by the factor. */
static inline bool are_aligned(const void *names, const void *values)
{
    return !(((uintptr_t)names * (_Alignof(union hv_reg_value) / _Alignof(uint32_t)) | (uintptr_t)values) %
             _Alignof(union hv_reg_value));
}

/* What nearly all lists are: not empty, and where the native API can take them from. */
static inline bool are_usual(const void *names, UINT32 count, const void *values)
{
    return count - 1 < REGISTERS_MAX && names && values && are_aligned(names, values);
}

/* Aligned copies of a caller's arrays. */
struct bounce {
    size_t size;
    union hv_reg_value *values; /* one block of memory: the values, then the names */
    uint32_t *names;
};

static bool bounce_begin(struct bounce *b, const void *names, UINT32 count)
{
    b->size = count * (sizeof(*b->values) + sizeof(*b->names));
    b->values = hv_host_alloc(b->size);
    if (!b->values)
        return false;
    b->names = (uint32_t *)(b->values + count);
    memcpy(b->names, names, count * sizeof(*b->names));
    return true;
}

static void bounce_end(struct bounce *b)
{
    hv_host_free(b->values, b->size);
}

/* An empty list says whether there is such a VP, and whether it is free. */
static HRESULT check_unusual(UINT32 count, const void *names, const void *values)
{
    return !count || (names && values && count <= REGISTERS_MAX) ? S_OK : E_INVALIDARG;
}

static __attribute__((noinline)) HRESULT get_list(struct whp_slot *slot, struct hv_vp *vp,
                                                  const WHV_REGISTER_NAME *names, UINT32 count,
                                                  WHV_REGISTER_VALUE *values)
{
    HRESULT hr = whp_result(hv_vp_get_registers(vp, (const void *)names, count, (void *)values));

    return slot_left(slot, WHP_USE_CALL, hr);
}

static __attribute__((noinline)) HRESULT set_list(struct whp_slot *slot, struct hv_vp *vp,
                                                  const WHV_REGISTER_NAME *names, UINT32 count,
                                                  const WHV_REGISTER_VALUE *values)
{
    HRESULT hr = whp_result(hv_vp_set_registers(vp, (const void *)names, count, (const void *)values));

    return slot_left(slot, WHP_USE_CALL, hr);
}

static HRESULT get_none(WHV_PARTITION_HANDLE partition, UINT32 index)
{
    struct vp_use in;
    HRESULT hr = vp_enter_claiming(&in, partition, index, WHP_USE_CALL);

    return FAILED(hr) ? hr : get_list(in.slot, in.vp, NULL, 0, NULL);
}

static __attribute__((noinline)) HRESULT get_unusual(WHV_PARTITION_HANDLE partition, UINT32 index, const void *names,
                                                     UINT32 count, void *values)
{
    HRESULT hr = check_unusual(count, names, values);
    struct bounce b;

    if (FAILED(hr) || !count)
        return FAILED(hr) ? hr : get_none(partition, index);
    if (!bounce_begin(&b, names, count))
        return E_OUTOFMEMORY;
    hr = WHvGetVirtualProcessorRegisters(partition, index, (const void *)b.names, count, (void *)b.values);
    if (SUCCEEDED(hr))
        memcpy(values, b.values, count * sizeof(*b.values));
    bounce_end(&b);
    return hr;
}

static HRESULT set_none(WHV_PARTITION_HANDLE partition, UINT32 index)
{
    struct vp_use in;
    HRESULT hr = vp_enter_claiming(&in, partition, index, WHP_USE_CALL);

    return FAILED(hr) ? hr : set_list(in.slot, in.vp, NULL, 0, NULL);
}

static __attribute__((noinline)) HRESULT set_unusual(WHV_PARTITION_HANDLE partition, UINT32 index, const void *names,
                                                     UINT32 count, const void *values)
{
    HRESULT hr = check_unusual(count, names, values);
    struct bounce b;

    if (FAILED(hr) || !count)
        return FAILED(hr) ? hr : set_none(partition, index);
    if (!bounce_begin(&b, names, count))
        return E_OUTOFMEMORY;
    memcpy(b.values, values, count * sizeof(*b.values));
    hr = WHvSetVirtualProcessorRegisters(partition, index, (const void *)b.names, count, (const void *)b.values);
    bounce_end(&b);
    return hr;
}

/* Most lists are of a few plain registers: for them alone there is no frame, and all else is a call at the end. */
HRESULT WHVAPI WHvGetVirtualProcessorRegisters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                               const WHV_REGISTER_NAME *RegisterNames, UINT32 RegisterCount,
                                               WHV_REGISTER_VALUE *RegisterValues)
{
    struct whp_slot *slot;
    struct hv_vp *vp;

    if (!are_usual(RegisterNames, RegisterCount, RegisterValues))
        return get_unusual(Partition, VpIndex, RegisterNames, RegisterCount, RegisterValues);
    slot = partition_enter(Partition);
    if (!slot)
        return E_INVALIDARG;
    vp = hv_vp_find(slot->object, VpIndex);
    if (!vp)
        return slot_left(slot, WHP_USE_CALL, WHV_E_VP_DOES_NOT_EXIST);
    if (!hv_vp_get_few(vp, (const void *)RegisterNames, RegisterCount, (void *)RegisterValues))
        return get_list(slot, vp, RegisterNames, RegisterCount, RegisterValues);
    return slot_left(slot, WHP_USE_CALL, S_OK);
}

HRESULT WHVAPI WHvSetVirtualProcessorRegisters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                               const WHV_REGISTER_NAME *RegisterNames, UINT32 RegisterCount,
                                               const WHV_REGISTER_VALUE *RegisterValues)
{
    struct whp_slot *slot;
    struct hv_vp *vp;

    if (!are_usual(RegisterNames, RegisterCount, RegisterValues))
        return set_unusual(Partition, VpIndex, RegisterNames, RegisterCount, RegisterValues);
    slot = partition_enter(Partition);
    if (!slot)
        return E_INVALIDARG;
    vp = hv_vp_find(slot->object, VpIndex);
    if (!vp)
        return slot_left(slot, WHP_USE_CALL, WHV_E_VP_DOES_NOT_EXIST);
    if (!hv_vp_set_few(vp, (const void *)RegisterNames, RegisterCount, (const void *)RegisterValues))
        return set_list(slot, vp, RegisterNames, RegisterCount, RegisterValues);
    return slot_left(slot, WHP_USE_CALL, S_OK);
}

/* ----------------------------------------------------------------------------- CPUID */

HRESULT WHVAPI WHvGetVirtualProcessorCpuidOutput(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, UINT32 Eax, UINT32 Ecx,
                                                 WHV_CPUID_OUTPUT *CpuidOutput)
{
    struct hv_cpuid_output result;
    WHV_CPUID_OUTPUT out;
    struct vp_use in;
    HRESULT hr;

    if (!CpuidOutput)
        return E_POINTER;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = whp_result(hv_vp_cpuid(in.vp, Eax, Ecx, &result));
    vp_leave(&in, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    out = (WHV_CPUID_OUTPUT){.Eax = result.eax, .Ebx = result.ebx, .Ecx = result.ecx, .Edx = result.edx};
    PUT(CpuidOutput, out);
    return S_OK;
}

/* ----------------------------------------------------------------------- state blobs */

typedef enum hv_status get_state(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written);
typedef enum hv_status set_state(struct hv_vp *vp, const void *buffer, uint32_t size);

/* There is no nested virtualization: as the API says of it, the operation is denied. */
static enum hv_status get_nothing(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    (void)vp, (void)buffer, (void)size, (void)written;
    return HV_E_STATE;
}

static enum hv_status set_nothing(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    (void)vp, (void)buffer, (void)size;
    return HV_E_STATE;
}

static const struct state_kind {
    WHV_VIRTUAL_PROCESSOR_STATE_TYPE type;
    get_state *get;
    set_state *set;
} state_kinds[] = {
    {WHvVirtualProcessorStateTypeXsaveState, hv_vp_get_xsave, hv_vp_set_xsave},
    {WHvVirtualProcessorStateTypeInterruptControllerState2, hv_vp_get_apic, hv_vp_set_apic},
    {WHvVirtualProcessorStateTypeSynicMessagePage, hv_vp_get_synic_messages, hv_vp_set_synic_messages},
    {WHvVirtualProcessorStateTypeSynicEventFlagPage, hv_vp_get_synic_flags, hv_vp_set_synic_flags},
    {WHvVirtualProcessorStateTypeSynicTimerState, hv_vp_get_synic_timers, hv_vp_set_synic_timers},
    {WHvVirtualProcessorStateTypeNestedState, get_nothing, set_nothing},
};

static const struct state_kind *find_state(WHV_VIRTUAL_PROCESSOR_STATE_TYPE type)
{
    for (size_t i = 0; i < ARRAY_COUNT(state_kinds); i++)
        if (state_kinds[i].type == type)
            return &state_kinds[i];
    return NULL;
}

HRESULT WHVAPI WHvGetVirtualProcessorState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                           WHV_VIRTUAL_PROCESSOR_STATE_TYPE StateType, VOID *Buffer,
                                           UINT32 BufferSizeInBytes, UINT32 *BytesWritten)
{
    const struct state_kind *kind = find_state(StateType);
    uint32_t written = 0;
    enum hv_status st;
    struct vp_use in;
    HRESULT hr;

    if (!is_buffer(Buffer, BufferSizeInBytes))
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    st = kind ? kind->get(in.vp, Buffer, BufferSizeInBytes, &written) : HV_E_INVALID;
    vp_leave(&in, WHP_USE_CALL);
    put_count(BytesWritten, st, written);
    return whp_result_of(WHP_PROCESSOR_STATE, st);
}

HRESULT WHVAPI WHvSetVirtualProcessorState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                           WHV_VIRTUAL_PROCESSOR_STATE_TYPE StateType, const VOID *Buffer,
                                           UINT32 BufferSizeInBytes)
{
    const struct state_kind *kind = find_state(StateType);
    enum hv_status st;
    struct vp_use in;
    HRESULT hr;

    if (!Buffer)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    st = kind ? kind->set(in.vp, Buffer, BufferSizeInBytes) : HV_E_INVALID;
    vp_leave(&in, WHP_USE_CALL);
    return whp_result_of(WHP_PROCESSOR_STATE, st);
}

HRESULT WHVAPI WHvGetVirtualProcessorXsaveState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, VOID *Buffer,
                                                UINT32 BufferSizeInBytes, UINT32 *BytesWritten)
{
    return WHvGetVirtualProcessorState(Partition, VpIndex, WHvVirtualProcessorStateTypeXsaveState, Buffer,
                                       BufferSizeInBytes, BytesWritten);
}

HRESULT WHVAPI WHvSetVirtualProcessorXsaveState(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, const VOID *Buffer,
                                                UINT32 BufferSizeInBytes)
{
    return WHvSetVirtualProcessorState(Partition, VpIndex, WHvVirtualProcessorStateTypeXsaveState, Buffer,
                                       BufferSizeInBytes);
}
