/* SPDX-License-Identifier: MIT */
/* Triggers: events of the host that become interrupts of the guest. */
#include "interrupt.h"
#include "owned.h"

#define TRIGGERS_MAX 8192

static struct whp_slot slots[TRIGGERS_MAX] __attribute__((aligned(64)));

static struct whp_free trigger_rest;
static const struct whp_table triggers = {
    .tag = WHP_TAG_TRIGGER, .size = TRIGGERS_MAX, .slots = slots, .rest = &trigger_rest};

_Static_assert(sizeof(WHV_TRIGGER_PARAMETERS) == 32, "WHV_TRIGGER_PARAMETERS");

/* False: reserved bits, or a trust level. */
static bool to_parameters(const WHV_TRIGGER_PARAMETERS *from, struct hv_trigger_parameters *to)
{
    *to = (struct hv_trigger_parameters){0};
    if (from->Reserved)
        return false;
    switch (from->TriggerType) {
    case WHvTriggerTypeInterrupt:
        to->type = HV_TRIGGER_INTERRUPT;
        return whp_interrupt(&from->Interrupt, &to->interrupt);
    case WHvTriggerTypeSynicEvent:
        to->type = HV_TRIGGER_SYNIC_EVENT;
        to->event.vp = from->SynicEvent.VpIndex;
        to->event.sint = from->SynicEvent.TargetSint;
        to->event.flag = from->SynicEvent.FlagNumber;
        return !from->SynicEvent.TargetVtl;
    case WHvTriggerTypeDeviceInterrupt:
        to->type = HV_TRIGGER_DEVICE_INTERRUPT;
        to->device_interrupt.device = from->DeviceInterrupt.LogicalDeviceId;
        to->device_interrupt.msi_address = from->DeviceInterrupt.MsiAddress;
        to->device_interrupt.msi_data = from->DeviceInterrupt.MsiData;
        return !from->DeviceInterrupt.Reserved;
    }
    return false;
}

/* The caller's parameters, read once. */
static bool get_parameters(const WHV_TRIGGER_PARAMETERS *from, struct hv_trigger_parameters *to)
{
    WHV_TRIGGER_PARAMETERS copy;

    if (!from)
        return false;
    __builtin_memcpy(&copy, from, sizeof(copy));
    return to_parameters(&copy, to);
}

static HRESULT create(const struct whp_slot *in, WHV_PARTITION_HANDLE partition,
                      const struct hv_trigger_parameters *parameters, WHV_TRIGGER_HANDLE *handle, HANDLE *event)
{
    struct whp_owned *owned = whp_owned_begin(&triggers);
    struct hv_trigger *trigger = NULL;
    enum hv_status st;

    if (!owned)
        return E_OUTOFMEMORY;
    *handle = (WHV_TRIGGER_HANDLE)(uintptr_t)owned->handle;
    st = hv_trigger_create(in->object, parameters, &trigger, event);
    whp_owned_end(owned, in, partition, trigger);
    return whp_result(st);
}

HRESULT WHVAPI WHvCreateTrigger(WHV_PARTITION_HANDLE Partition, const WHV_TRIGGER_PARAMETERS *Parameters,
                                WHV_TRIGGER_HANDLE *TriggerHandle, HANDLE *EventHandle)
{
    struct hv_trigger_parameters parameters;
    WHV_TRIGGER_HANDLE handle;
    struct whp_slot *in;
    HANDLE event;
    HRESULT hr;

    if (!TriggerHandle || !EventHandle || !get_parameters(Parameters, &parameters))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = create(in, Partition, &parameters, &handle, &event);
    partition_leave(in);
    if (FAILED(hr))
        return hr;
    PUT(TriggerHandle, handle);
    PUT(EventHandle, event);
    return S_OK;
}

HRESULT WHVAPI WHvUpdateTriggerParameters(WHV_PARTITION_HANDLE Partition, const WHV_TRIGGER_PARAMETERS *Parameters,
                                          WHV_TRIGGER_HANDLE TriggerHandle)
{
    struct hv_trigger_parameters parameters;
    struct owned_use in;
    HRESULT hr;

    if (!get_parameters(Parameters, &parameters) || !owned_enter(&in, Partition, &triggers, TriggerHandle))
        return E_INVALIDARG;
    hr = whp_result(hv_trigger_update(in.owned->object, &parameters));
    owned_leave(&in);
    return hr;
}

static void destroy(void *trigger)
{
    hv_trigger_delete(trigger);
}

HRESULT WHVAPI WHvDeleteTrigger(WHV_PARTITION_HANDLE Partition, WHV_TRIGGER_HANDLE TriggerHandle)
{
    return whp_owned_delete(Partition, &triggers, TriggerHandle, destroy);
}
