/* SPDX-License-Identifier: MIT */
/* Triggers and notification ports of virt/whp against a small fake of the native API: arguments, handles, their end. */
#include "unit.h"
#include <hv/base/bits.h>
#include <hv/hv.h>
#include <string.h>
#include <whp/WinHvPlatform.h>

#define PROCESSORS 3u

/* ------------------------------------------------------------------------ the fake native API */

struct hv_partition {
    unsigned objects; /* triggers and ports */
};

/* Of either kind; freed with its partition, like the core's. */
static struct object {
    struct hv_partition *partition;
} objects[20000];

static struct {
    enum hv_status answer;
    unsigned calls; /* about triggers and ports */
    struct hv_trigger_parameters trigger;
    struct hv_port_parameters port;
    void *object; /* the last call's */
    void *event;
} core;

enum hv_status hv_partition_create(struct hv_partition **out)
{
    *out = hv_host_alloc(sizeof(**out) + 12);
    return HV_OK;
}

enum hv_status hv_partition_delete(struct hv_partition *p)
{
    if (core.answer != HV_OK)
        return core.answer;
    for (unsigned i = 0; i < ARRAY_COUNT(objects); i++)
        if (objects[i].partition == p)
            objects[i].partition = NULL;
    hv_host_free(p, sizeof(*p) + 12);
    return HV_OK;
}

enum hv_status hv_partition_setup(struct hv_partition *p)
{
    (void)p;
    return HV_OK;
}

enum hv_status hv_partition_reset(struct hv_partition *p)
{
    (void)p;
    return HV_OK;
}

enum hv_status hv_partition_set_property(struct hv_partition *p, uint32_t code, const void *buffer, uint32_t size)
{
    (void)p, (void)code, (void)buffer, (void)size;
    return HV_OK;
}

enum hv_status hv_partition_get_property(struct hv_partition *p, uint32_t code, void *buffer, uint32_t size,
                                         uint32_t *written)
{
    (void)p, (void)written;
    assert_int_equal(code, WHvPartitionPropertyCodeProcessorCount);
    assert_int_equal(size, sizeof(uint32_t));
    *(uint32_t *)buffer = PROCESSORS;
    return HV_OK;
}

void hv_partition_memory_counters(struct hv_partition *p, struct hv_memory_counters *out)
{
    (void)p;
    memset(out, 0, sizeof(*out));
}

static void *object_new(struct hv_partition *p)
{
    unsigned i = 0;

    while (objects[i].partition)
        assert_true(++i < ARRAY_COUNT(objects));
    objects[i].partition = p;
    p->objects++;
    return &objects[i];
}

static void object_free(void *object)
{
    struct object *o = object;

    assert_non_null(o->partition); /* not twice, and not after its partition */
    o->partition->objects--;
    o->partition = NULL;
}

static enum hv_status called(void *object)
{
    core.calls++;
    core.object = object;
    return core.answer;
}

enum hv_status hv_trigger_create(struct hv_partition *p, const struct hv_trigger_parameters *parameters,
                                 struct hv_trigger **out, void **handle)
{
    core.trigger = *parameters;
    if (called(NULL) != HV_OK)
        return core.answer;
    *out = object_new(p);
    *handle = (void *)0x4556; /* an event's HANDLE */
    return HV_OK;
}

enum hv_status hv_trigger_update(struct hv_trigger *trigger, const struct hv_trigger_parameters *parameters)
{
    assert_non_null(((struct object *)trigger)->partition);
    core.trigger = *parameters;
    return called(trigger);
}

void hv_trigger_delete(struct hv_trigger *trigger)
{
    (void)called(trigger);
    object_free(trigger);
}

enum hv_status hv_port_create(struct hv_partition *p, const struct hv_port_parameters *parameters, void *event,
                              struct hv_port **out)
{
    core.port = *parameters;
    core.event = event;
    if (called(NULL) != HV_OK)
        return core.answer;
    *out = object_new(p);
    return HV_OK;
}

void hv_port_delete(struct hv_port *port)
{
    (void)called(port);
    object_free(port);
}

/* ------------------------------------------------------------------------ two partitions for each test */

static WHV_PARTITION_HANDLE part, other;

static int setup(void **state)
{
    int failed = unit_setup(state);

    memset(&core, 0, sizeof(core));
    memset(objects, 0, sizeof(objects));
    assert_int_equal(WHvCreatePartition(&part), S_OK);
    assert_int_equal(WHvCreatePartition(&other), S_OK);
    return failed;
}

static int teardown(void **state)
{
    core.answer = HV_OK;
    assert_int_equal(WHvDeletePartition(part), S_OK);
    assert_int_equal(WHvDeletePartition(other), S_OK);
    return unit_teardown(state);
}

#define EVENT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#define EVENT           ((HANDLE)0x1234)
#define PORT_PARAM(...) (&(WHV_NOTIFICATION_PORT_PARAMETERS){__VA_ARGS__})
#define ON_EVENT        .NotificationPortType = WHvNotificationPortTypeEvent
#define ON_DOORBELL     .NotificationPortType = WHvNotificationPortTypeDoorbell
#define TRIGGER(...)    (&(WHV_TRIGGER_PARAMETERS){__VA_ARGS__})
#define INTERRUPT       .TriggerType = WHvTriggerTypeInterrupt
#define SYNIC_EVENT     .TriggerType = WHvTriggerTypeSynicEvent
#define DEVICE          .TriggerType = WHvTriggerTypeDeviceInterrupt

static WHV_TRIGGER_HANDLE new_trigger(WHV_PARTITION_HANDLE p)
{
    WHV_TRIGGER_HANDLE trigger = NULL;
    HANDLE event = NULL;

    assert_int_equal(WHvCreateTrigger(p, TRIGGER(INTERRUPT), &trigger, &event), S_OK);
    assert_ptr_equal(event, (void *)0x4556);
    return trigger;
}

static WHV_NOTIFICATION_PORT_HANDLE new_port(WHV_PARTITION_HANDLE p)
{
    WHV_NOTIFICATION_PORT_HANDLE port = NULL;

    assert_int_equal(WHvCreateNotificationPort(p, PORT_PARAM(ON_EVENT), EVENT, &port), S_OK);
    return port;
}

/* ------------------------------------------------------------------------------------- triggers */

static HRESULT create_trigger(const WHV_TRIGGER_PARAMETERS *parameters)
{
    WHV_TRIGGER_HANDLE trigger = (WHV_TRIGGER_HANDLE)0x55;
    HANDLE event = (HANDLE)0x66;
    HRESULT hr = WHvCreateTrigger(part, parameters, &trigger, &event);

    if (FAILED(hr)) {
        assert_ptr_equal(trigger, (void *)0x55);
        assert_ptr_equal(event, (void *)0x66);
    } else {
        assert_int_equal(WHvDeleteTrigger(part, trigger), S_OK);
    }
    return hr;
}

static void trigger_parameters(void **state)
{
    (void)state;
    assert_int_equal(create_trigger(TRIGGER(INTERRUPT, .Interrupt = {.Type = WHvX64InterruptTypeLowestPriority,
                                                                     .DestinationMode = 1,
                                                                     .TriggerMode = 1,
                                                                     .Destination = 0x12345,
                                                                     .Vector = 0x99})),
                     S_OK);
    assert_int_equal(core.trigger.type, HV_TRIGGER_INTERRUPT);
    assert_int_equal(core.trigger.interrupt.type, 1);
    assert_true(core.trigger.interrupt.is_logical && core.trigger.interrupt.is_level);
    assert_int_equal(core.trigger.interrupt.destination, 0x12345);
    assert_int_equal(core.trigger.interrupt.vector, 0x99);
    assert_int_equal(create_trigger(TRIGGER(
                         SYNIC_EVENT, .SynicEvent = {.VpIndex = 0x80000002, .TargetSint = 250, .FlagNumber = 65535})),
                     S_OK);
    assert_int_equal(core.trigger.type, HV_TRIGGER_SYNIC_EVENT);
    assert_int_equal(core.trigger.event.vp, 0x80000002);
    assert_int_equal(core.trigger.event.sint, 250);
    assert_int_equal(core.trigger.event.flag, 65535);
    core.answer = HV_E_DEVICE;
    assert_int_equal(create_trigger(TRIGGER(DEVICE, .DeviceInterrupt = {1, 2, 3, 0})), (HRESULT)0xC0350057);
    assert_int_equal(core.trigger.type, HV_TRIGGER_DEVICE_INTERRUPT);
    assert_int_equal(core.trigger.device_interrupt.device, 1);
    assert_int_equal(core.trigger.device_interrupt.msi_address, 2);
    assert_int_equal(core.trigger.device_interrupt.msi_data, 3);
}

/* Each is refused by creation and by update, and the core hears of none. */
static void bad_trigger_parameters(void **state)
{
    static const WHV_TRIGGER_PARAMETERS bad[] = {
        {.TriggerType = (WHV_TRIGGER_TYPE)3},
        {.TriggerType = (WHV_TRIGGER_TYPE)-1},
        {INTERRUPT, .Reserved = 1},
        {INTERRUPT, .Interrupt = {.DestinationMode = 2}},
        {INTERRUPT, .Interrupt = {.TriggerMode = 2}},
        {INTERRUPT, .Interrupt = {.TargetVtl = 1}},
        {INTERRUPT, .Interrupt = {.Reserved = 1}},
        {SYNIC_EVENT, .Reserved = 0x80000000},
        {SYNIC_EVENT, .SynicEvent = {.TargetVtl = 1}},
        {DEVICE, .DeviceInterrupt = {.Reserved = 1}},
    };
    WHV_TRIGGER_HANDLE trigger = new_trigger(part);
    HANDLE event;

    (void)state;
    core.calls = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(create_trigger(&bad[i]), E_INVALIDARG);
        assert_int_equal(WHvUpdateTriggerParameters(part, &bad[i], trigger), E_INVALIDARG);
    }
    assert_int_equal(create_trigger(NULL), E_INVALIDARG);
    assert_int_equal(WHvUpdateTriggerParameters(part, NULL, trigger), E_INVALIDARG);
    assert_int_equal(WHvCreateTrigger(part, TRIGGER(INTERRUPT), NULL, &event), E_INVALIDARG);
    assert_int_equal(WHvCreateTrigger(part, TRIGGER(INTERRUPT), &trigger, NULL), E_INVALIDARG);
    assert_int_equal(WHvCreateTrigger(NULL, TRIGGER(INTERRUPT), &trigger, &event), E_INVALIDARG);
    assert_int_equal(WHvCreateTrigger(trigger, TRIGGER(INTERRUPT), &trigger, &event), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void unaligned_trigger(void **state)
{
    static uint8_t bytes[96];
    WHV_TRIGGER_PARAMETERS parameters = {INTERRUPT, .Interrupt = {.Vector = 0x77}};
    WHV_TRIGGER_HANDLE trigger;

    (void)state;
    memcpy(bytes + 3, &parameters, sizeof(parameters));
    assert_int_equal(WHvCreateTrigger(part, (void *)(bytes + 3), (void *)(bytes + 51), (void *)(bytes + 61)), S_OK);
    assert_int_equal(core.trigger.interrupt.vector, 0x77);
    memcpy(&trigger, bytes + 51, sizeof(trigger));
    assert_int_equal(WHvUpdateTriggerParameters(part, (void *)(bytes + 3), trigger), S_OK);
}

static void update(void **state)
{
    WHV_TRIGGER_HANDLE first = new_trigger(part), second = new_trigger(part);

    (void)state;
    assert_int_equal(WHvUpdateTriggerParameters(part, TRIGGER(INTERRUPT, .Interrupt = {.Vector = 0x31}), second), S_OK);
    assert_int_equal(core.trigger.interrupt.vector, 0x31);
    assert_ptr_equal(core.object, &objects[1]);
    core.answer = HV_E_INVALID;
    assert_int_equal(WHvUpdateTriggerParameters(part, TRIGGER(SYNIC_EVENT), first), E_INVALIDARG);
    assert_ptr_equal(core.object, &objects[0]);
    core.answer = HV_E_STATE;
    assert_int_equal(WHvUpdateTriggerParameters(part, TRIGGER(SYNIC_EVENT), first), (HRESULT)0xC0350007);
    core.answer = HV_OK;
}

/* ---------------------------------------------------------------------------------------- ports */

static HRESULT create_port(const WHV_NOTIFICATION_PORT_PARAMETERS *parameters)
{
    WHV_NOTIFICATION_PORT_HANDLE port = (WHV_NOTIFICATION_PORT_HANDLE)0x55;
    HRESULT hr = WHvCreateNotificationPort(part, parameters, EVENT, &port);

    if (FAILED(hr))
        assert_ptr_equal(port, (void *)0x55);
    else
        assert_int_equal(WHvDeleteNotificationPort(part, port), S_OK);
    return hr;
}

static void port_parameters(void **state)
{
    (void)state;
    assert_int_equal(create_port(PORT_PARAM(ON_EVENT, .Event = {0x87654321})), S_OK);
    assert_int_equal(core.port.type, HV_PORT_EVENT);
    assert_int_equal(core.port.connection_id, 0x87654321); /* the core's to judge */
    assert_ptr_equal(core.event, EVENT);
    assert_int_equal(
        create_port(PORT_PARAM(
            ON_DOORBELL,
            .Doorbell = {.GuestAddress = 0x123456789, .Value = 5, .Length = 8, .MatchOnValue = 1, .MatchOnLength = 1})),
        S_OK);
    assert_int_equal(core.port.type, HV_PORT_DOORBELL);
    assert_int_equal(core.port.doorbell.address, 0x123456789);
    assert_int_equal(core.port.doorbell.value, 5);
    assert_int_equal(core.port.doorbell.length, 8);
    assert_true(core.port.doorbell.match_value && core.port.doorbell.match_length);
    assert_false(core.port.doorbell.is_port);
    core.answer = HV_E_CONFLICT;
    assert_int_equal(create_port(PORT_PARAM(ON_EVENT)), (HRESULT)0xC0350005);
    core.answer = HV_E_STATE;
    assert_int_equal(create_port(PORT_PARAM(ON_EVENT)), (HRESULT)0xC0350007);
}

static void bad_port_parameters(void **state)
{
    static const WHV_NOTIFICATION_PORT_PARAMETERS bad[] = {
        {.NotificationPortType = (WHV_NOTIFICATION_PORT_TYPE)0},
        {.NotificationPortType = (WHV_NOTIFICATION_PORT_TYPE)1},
        {.NotificationPortType = (WHV_NOTIFICATION_PORT_TYPE)3},
        {.NotificationPortType = (WHV_NOTIFICATION_PORT_TYPE)5},
        {ON_EVENT, .Reserved = 1},
        {ON_EVENT, .Reserved1 = 0x80},
        {ON_EVENT, .ConnectionVtl = 1},
        {ON_DOORBELL, .ConnectionVtl = 1},
        {ON_DOORBELL, .Doorbell = {.Reserved = 1}},
    };
    WHV_NOTIFICATION_PORT_HANDLE port;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(create_port(&bad[i]), E_INVALIDARG);
    assert_int_equal(create_port(NULL), E_INVALIDARG);
    assert_int_equal(WHvCreateNotificationPort(part, PORT_PARAM(ON_EVENT), EVENT, NULL), E_INVALIDARG);
    assert_int_equal(WHvCreateNotificationPort(NULL, PORT_PARAM(ON_EVENT), EVENT, &port), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void port_properties(void **state)
{
    static const struct {
        int code;
        uint64_t value;
        HRESULT result;
    } cases[] = {
        {WHvNotificationPortPropertyPreferredTargetVp, 0, S_OK},
        {WHvNotificationPortPropertyPreferredTargetVp, PROCESSORS - 1, S_OK},
        {WHvNotificationPortPropertyPreferredTargetVp, WHV_ANY_VP, S_OK},
        {WHvNotificationPortPropertyPreferredTargetVp, PROCESSORS, E_INVALIDARG},
        {WHvNotificationPortPropertyPreferredTargetVp, 1ull << 32, E_INVALIDARG},
        {WHvNotificationPortPropertyPreferredTargetVp, UINT64_MAX, E_INVALIDARG},
        {WHvNotificationPortPropertyPreferredTargetDuration, 0, S_OK},
        {WHvNotificationPortPropertyPreferredTargetDuration, UINT64_MAX, S_OK},
        {0, 0, WHV_E_UNKNOWN_PROPERTY},
        {2, 0, WHV_E_UNKNOWN_PROPERTY},
        {6, 0, WHV_E_UNKNOWN_PROPERTY},
    };
    WHV_NOTIFICATION_PORT_HANDLE port = new_port(part);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(WHvSetNotificationPortProperty(part, port, (WHV_NOTIFICATION_PORT_PROPERTY_CODE)cases[i].code,
                                                        cases[i].value),
                         cases[i].result);
}

/* -------------------------------------------------------------------------------------- handles */

static void assert_dead_trigger(WHV_PARTITION_HANDLE p, WHV_TRIGGER_HANDLE trigger)
{
    core.calls = 0;
    assert_int_equal(WHvUpdateTriggerParameters(p, TRIGGER(INTERRUPT), trigger), E_INVALIDARG);
    assert_int_equal(WHvDeleteTrigger(p, trigger), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void assert_dead_port(WHV_PARTITION_HANDLE p, WHV_NOTIFICATION_PORT_HANDLE port)
{
    core.calls = 0;
    assert_int_equal(WHvSetNotificationPortProperty(p, port, WHvNotificationPortPropertyPreferredTargetVp, 0),
                     E_INVALIDARG);
    assert_int_equal(WHvDeleteNotificationPort(p, port), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void handles_that_are_none(void **state)
{
    WHV_TRIGGER_HANDLE trigger = new_trigger(part);
    WHV_NOTIFICATION_PORT_HANDLE port = new_port(part);
    const uintptr_t bad[] = {
        0,
        1,
        UINTPTR_MAX,
        (uintptr_t)part,
        (uintptr_t)other,
        (uintptr_t)trigger ^ 1 << 16,
        0x4556,
        (uintptr_t)port ^ 1 << 16,
        (uintptr_t)&objects[0],
        (uintptr_t)trigger ^ 1ull << 63,
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_dead_trigger(part, (void *)bad[i]);
        assert_dead_port(part, (void *)bad[i]);
    }
    assert_dead_trigger(part, port);
    assert_dead_port(part, trigger);
    assert_dead_trigger(other, trigger); /* another partition's */
    assert_dead_port(other, port);
    assert_dead_trigger(NULL, trigger);
    assert_dead_port(trigger, port);
    assert_int_equal(WHvDeleteTrigger(part, trigger), S_OK);
    assert_dead_trigger(part, trigger);
    assert_ptr_not_equal(new_trigger(part), trigger);
    assert_dead_trigger(part, trigger);
    assert_int_equal(WHvDeleteNotificationPort(part, port), S_OK);
    assert_dead_port(part, port);
}

/* What is left goes with the partition, and its handles are dead with every partition that comes after it. */
static void the_partitions_end(void **state)
{
    WHV_TRIGGER_HANDLE triggers[3], theirs = new_trigger(other);
    WHV_NOTIFICATION_PORT_HANDLE port = new_port(part);
    WHV_PARTITION_HANDLE old = part;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        triggers[i] = new_trigger(part);
    assert_int_equal(WHvDeleteTrigger(part, triggers[1]), S_OK);
    core.answer = HV_E_VP_BUSY;
    assert_int_equal(WHvDeletePartition(part), WHV_E_INVALID_VP_STATE); /* and all is as before */
    core.answer = HV_OK;
    assert_int_equal(WHvUpdateTriggerParameters(part, TRIGGER(INTERRUPT), triggers[0]), S_OK);
    assert_int_equal(WHvDeletePartition(part), S_OK);
    assert_int_equal(WHvCreatePartition(&part), S_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_dead_trigger(old, triggers[i]);
        assert_dead_trigger(part, triggers[i]);
        assert_dead_trigger(other, triggers[i]);
    }
    assert_dead_port(part, port);
    assert_int_equal(WHvDeleteTrigger(other, theirs), S_OK);
}

static void failures_leave_nothing(void **state)
{
    struct fake_counts before;
    unsigned n = 0;
    HRESULT hr;

    (void)state;
    core.answer = HV_E_NO_MEMORY;
    before = fake_counts();
    for (unsigned i = 0; i < 20000; i++) /* more than there are handles */
        assert_int_equal(create_trigger(TRIGGER(INTERRUPT)), E_OUTOFMEMORY);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(create_port(PORT_PARAM(ON_EVENT)), E_OUTOFMEMORY);
    assert_int_equal(fake_counts().bytes, before.bytes);
    core.answer = HV_OK;
    do {
        fake_fail_after(++n);
        hr = create_trigger(TRIGGER(INTERRUPT));
        assert_int_equal(hr, fake_has_failed() ? E_OUTOFMEMORY : S_OK);
    } while (FAILED(hr));
    assert_int_equal(n, 2);
    assert_int_equal(fake_counts().bytes, before.bytes);
}

static void as_many_as_possible(void **state)
{
    static WHV_TRIGGER_HANDLE all[20000];
    unsigned count = 0;
    HANDLE event;

    (void)state;
    while (count < ARRAY_COUNT(all) && WHvCreateTrigger(part, TRIGGER(INTERRUPT), &all[count], &event) == S_OK)
        count++;
    assert_int_equal(count, 8192);
    assert_int_equal(create_trigger(TRIGGER(INTERRUPT)), E_OUTOFMEMORY);
    new_port(part); /* has handles of its own */
    assert_int_equal(WHvDeleteTrigger(part, all[77]), S_OK);
    all[77] = new_trigger(other);
    assert_int_equal(WHvDeletePartition(part), S_OK);
    assert_int_equal(WHvCreatePartition(&part), S_OK);
    for (unsigned i = 0; i < 8191; i++)
        new_trigger(part);
    assert_int_equal(WHvDeleteTrigger(other, all[77]), S_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENT_TEST(trigger_parameters),  EVENT_TEST(bad_trigger_parameters),
        EVENT_TEST(unaligned_trigger),   EVENT_TEST(update),
        EVENT_TEST(port_parameters),     EVENT_TEST(bad_port_parameters),
        EVENT_TEST(port_properties),     EVENT_TEST(handles_that_are_none),
        EVENT_TEST(the_partitions_end),  EVENT_TEST(failures_leave_nothing),
        EVENT_TEST(as_many_as_possible),
    };

    return cmocka_run_group_tests_name("whp events", tests, NULL, NULL);
}
