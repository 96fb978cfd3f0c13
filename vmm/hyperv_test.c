/* SPDX-License-Identifier: MIT */
/*
 * QEMU's device for test kernels of the Hyper-V interface (hyperv-testdev): one port, by which the kernel raises SINTs,
 * and has connections made. What it then posts to one of those comes back as a message, and what it signals as an event
 * flag, at the processor and SINT that it has named.
 */
#include <vmm/hyperv.h>

#define PORT_SIZE   4u
#define CONNECTIONS 256u
#define FLAGS       2048u    /* of a SINT */
#define RETRY_NS    1000000u /* a message for a slot that is taken */

/* What is written to the port. */
#define WORD_SINT(word)       ((word)&0xff)
#define WORD_VP(word)         ((word) >> 8 & 0xff)
#define WORD_COMMAND(word)    ((word) >> 16 & 0xff)
#define WORD_CONNECTION(word) ((word) >> 24 & 0xff)

enum command {
    ROUTE_CREATE = 1,
    ROUTE_DESTROY,
    ROUTE_SET,
    MESSAGES_CREATE,
    MESSAGES_DESTROY,
    EVENTS_CREATE,
    EVENTS_DESTROY
};

enum kind { NONE, MESSAGES, EVENTS };

struct connection {
    enum kind kind;
    uint8_t vp, sint;
    bool is_waiting; /* the message, for its slot */
    struct hyperv_message message;
};

struct hyperv_test {
    WHV_PARTITION_HANDLE partition;
    struct timers *timers;
    struct lock lock;
    uint16_t flag; /* of the last SINT that was raised */
    struct connection connections[CONNECTIONS];
};

/* -------------------------------------------------------------------------------------- the port */

static HRESULT signal(const struct hyperv_test *t, uint8_t vp, uint8_t sint, uint16_t flag)
{
    const WHV_SYNIC_EVENT_PARAMETERS event = {.VpIndex = vp, .TargetSint = sint, .FlagNumber = flag};

    return WHvSignalVirtualProcessorSynicEvent(t->partition, event, NULL);
}

/* A SINT is raised by an event flag that is not set: each time another one, as nobody clears them. */
static void raise(struct hyperv_test *t, uint8_t vp, uint8_t sint)
{
    t->flag = (t->flag + 1) % FLAGS;
    (void)signal(t, vp, sint, t->flag);
}

static void port_write(void *context, uint64_t offset, uint32_t size, uint64_t value)
{
    uint32_t word = (uint32_t)value;
    struct hyperv_test *t = context;
    struct connection *c = &t->connections[WORD_CONNECTION(word)];

    if (offset || size != PORT_SIZE)
        return;
    lock_take(&t->lock);
    switch (WORD_COMMAND(word)) {
    case ROUTE_SET:
        raise(t, WORD_VP(word), WORD_SINT(word));
        break;
    case MESSAGES_CREATE:
    case EVENTS_CREATE:
        c->kind = WORD_COMMAND(word) == EVENTS_CREATE ? EVENTS : MESSAGES;
        c->vp = WORD_VP(word);
        c->sint = WORD_SINT(word);
        c->is_waiting = false;
        break;
    case MESSAGES_DESTROY:
    case EVENTS_DESTROY:
        c->kind = NONE;
        c->is_waiting = false;
        break;
    default: /* the routes are there without being asked for */
        break;
    }
    lock_release(&t->lock);
}

static uint64_t port_read(void *context, uint64_t offset, uint32_t size)
{
    (void)context;
    (void)offset;
    (void)size;
    return UINT64_MAX;
}

static const struct bus_handler port_handler = {.read = port_read, .write = port_write};

/* ------------------------------------------------------------------------------------ hypercalls */

static HRESULT post(const struct hyperv_test *t, const struct connection *c)
{
    return WHvPostVirtualProcessorSynicMessage(t->partition, c->vp, c->sint, &c->message, sizeof(c->message));
}

/* One at a time may wait for its slot. */
static UINT64 post_locked(const struct hyperv_test *t, struct connection *c, const struct hyperv_message *message)
{
    HRESULT hr;

    if (c->kind != MESSAGES)
        return HV_STATUS_INVALID_CONNECTION_ID;
    if (c->is_waiting)
        return HV_STATUS_INSUFFICIENT_BUFFERS;
    c->message = *message;
    hr = post(t, c);
    c->is_waiting = hr == ERROR_HV_OBJECT_IN_USE;
    return SUCCEEDED(hr) || c->is_waiting ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;
}

UINT64 hyperv_test_post(struct hyperv_test *t, uint32_t connection, const struct hyperv_message *message)
{
    UINT64 status;

    if (!t || connection >= CONNECTIONS)
        return HV_STATUS_INVALID_CONNECTION_ID;
    lock_take(&t->lock);
    status = post_locked(t, &t->connections[connection], message);
    lock_release(&t->lock);
    if (status == HV_STATUS_SUCCESS)
        timers_kick(t->timers);
    return status;
}

UINT64 hyperv_test_signal(struct hyperv_test *t, uint32_t connection)
{
    const struct connection *c;
    UINT64 status = HV_STATUS_INVALID_CONNECTION_ID;

    if (!t || connection >= CONNECTIONS)
        return HV_STATUS_INVALID_CONNECTION_ID;
    c = &t->connections[connection];
    lock_take(&t->lock);
    if (c->kind == EVENTS)
        status = SUCCEEDED(signal(t, c->vp, c->sint, (uint16_t)connection)) ? HV_STATUS_SUCCESS
                                                                            : HV_STATUS_INVALID_PARAMETER;
    lock_release(&t->lock);
    return status;
}

uint64_t hyperv_test_poll(void *device, uint64_t now_ns)
{
    struct hyperv_test *t = device;
    bool is_waiting = false;

    lock_take(&t->lock);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &t->connections[i];

        if (c->is_waiting)
            c->is_waiting = post(t, c) == ERROR_HV_OBJECT_IN_USE;
        is_waiting |= c->is_waiting;
    }
    lock_release(&t->lock);
    return is_waiting ? now_ns + RETRY_NS : UINT64_MAX;
}

/* ------------------------------------------------------------------------------------------ life */

struct hyperv_test *hyperv_test_create(const struct device_buses *buses, WHV_PARTITION_HANDLE partition,
                                       struct timers *timers)
{
    struct hyperv_test *t = device_alloc(sizeof(*t), "the test device of Hyper-V");

    if (!t)
        return NULL;
    t->partition = partition;
    t->timers = timers;
    if (bus_add(buses->ports, TEST_SYNIC_PORT, PORT_SIZE, &port_handler, t, "hyper-v test"))
        return t;
    hyperv_test_destroy(t);
    return NULL;
}

void hyperv_test_destroy(struct hyperv_test *t)
{
    device_free(t, sizeof(*t));
}
