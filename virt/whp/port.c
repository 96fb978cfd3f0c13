/* SPDX-License-Identifier: MIT */
/* Notification ports: what a guest does that signals an event of the caller's. */
#include "doorbell.h"
#include "owned.h"

#define PORTS_MAX 8192

static struct whp_slot slots[PORTS_MAX] __attribute__((aligned(64)));

static struct whp_free port_rest;
static const struct whp_table ports = {.tag = WHP_TAG_PORT, .size = PORTS_MAX, .slots = slots, .rest = &port_rest};

_Static_assert(sizeof(WHV_NOTIFICATION_PORT_PARAMETERS) == 32, "WHV_NOTIFICATION_PORT_PARAMETERS");

/* False: reserved bits, a trust level, or no type. */
static bool to_parameters(const WHV_NOTIFICATION_PORT_PARAMETERS *from, struct hv_port_parameters *to)
{
    *to = (struct hv_port_parameters){0};
    if (from->Reserved || from->Reserved1 || from->ConnectionVtl)
        return false;
    switch (from->NotificationPortType) {
    case WHvNotificationPortTypeEvent:
        to->type = HV_PORT_EVENT;
        to->connection_id = from->Event.ConnectionId;
        return true;
    case WHvNotificationPortTypeDoorbell:
        to->type = HV_PORT_DOORBELL;
        return whp_doorbell(&from->Doorbell, false, &to->doorbell);
    }
    return false;
}

static HRESULT create(const struct whp_slot *in, WHV_PARTITION_HANDLE partition,
                      const struct hv_port_parameters *parameters, HANDLE event, WHV_NOTIFICATION_PORT_HANDLE *handle)
{
    struct whp_owned *owned = whp_owned_begin(&ports);
    struct hv_port *port = NULL;
    enum hv_status st;

    if (!owned)
        return E_OUTOFMEMORY;
    *handle = (WHV_NOTIFICATION_PORT_HANDLE)(uintptr_t)owned->handle;
    st = hv_port_create(in->object, parameters, event, &port);
    whp_owned_end(owned, in, partition, port);
    return whp_result(st);
}

HRESULT WHVAPI WHvCreateNotificationPort(WHV_PARTITION_HANDLE Partition,
                                         const WHV_NOTIFICATION_PORT_PARAMETERS *Parameters, HANDLE EventHandle,
                                         WHV_NOTIFICATION_PORT_HANDLE *PortHandle)
{
    WHV_NOTIFICATION_PORT_PARAMETERS copy;
    struct hv_port_parameters parameters;
    WHV_NOTIFICATION_PORT_HANDLE handle;
    struct whp_slot *in;
    HRESULT hr;

    if (!Parameters || !PortHandle)
        return E_INVALIDARG;
    __builtin_memcpy(&copy, Parameters, sizeof(copy));
    if (!to_parameters(&copy, &parameters))
        return E_INVALIDARG;
    in = partition_enter(Partition);
    if (!in)
        return E_INVALIDARG;
    hr = create(in, Partition, &parameters, EventHandle, &handle);
    partition_leave(in);
    if (SUCCEEDED(hr))
        PUT(PortHandle, handle);
    return hr;
}

/*
 * Advice on which VP a notification should interrupt, and for how long another would do. It is about ports that end in
 * a guest: an event of the host's is signalled at once, on the CPU where the guest did what it stands for. So there is
 * nothing to keep.
 */
static HRESULT check_property(struct hv_partition *p, WHV_NOTIFICATION_PORT_PROPERTY_CODE code,
                              WHV_NOTIFICATION_PORT_PROPERTY value)
{
    uint32_t processors = 0;

    switch (code) {
    case WHvNotificationPortPropertyPreferredTargetVp:
        (void)hv_partition_get_property(p, WHvPartitionPropertyCodeProcessorCount, &processors, sizeof(processors),
                                        NULL);
        return value == WHV_ANY_VP || value < processors ? S_OK : E_INVALIDARG;
    case WHvNotificationPortPropertyPreferredTargetDuration:
        return S_OK; /* any number of 100 ns, up to WHV_NOTIFICATION_PORT_PREFERRED_DURATION_MAX */
    }
    return WHV_E_UNKNOWN_PROPERTY;
}

HRESULT WHVAPI WHvSetNotificationPortProperty(WHV_PARTITION_HANDLE Partition, WHV_NOTIFICATION_PORT_HANDLE PortHandle,
                                              WHV_NOTIFICATION_PORT_PROPERTY_CODE PropertyCode,
                                              WHV_NOTIFICATION_PORT_PROPERTY PropertyValue)
{
    struct owned_use in;
    HRESULT hr;

    if (!owned_enter(&in, Partition, &ports, PortHandle))
        return E_INVALIDARG;
    hr = check_property(in.partition->object, PropertyCode, PropertyValue);
    owned_leave(&in);
    return hr;
}

static void destroy(void *port)
{
    hv_port_delete(port);
}

HRESULT WHVAPI WHvDeleteNotificationPort(WHV_PARTITION_HANDLE Partition, WHV_NOTIFICATION_PORT_HANDLE PortHandle)
{
    return whp_owned_delete(Partition, &ports, PortHandle, destroy);
}
