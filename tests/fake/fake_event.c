/* SPDX-License-Identifier: MIT */
/*
 * Events of the fake host. A HANDLE is a number; an event is freed when its handle is closed and the library has given
 * back what it got, so that a use after that is the sanitizer's to find.
 */
#include "fake.h"
#include <pthread.h>
#include <stdlib.h>

#define EVENTS      65536u
#define HANDLE_BASE 0x4556000000000000ull
#define GATE_SHUT   (1u << 31)

struct hv_host_event {
    uint32_t references; /* under the mutex; an open handle is one */
    uint32_t is_signalled;
    uint64_t signals;
    void (*notify)(void *arg); /* NULL: the test's own */
    void *arg;
    uint32_t gate; /* calls of notify under way, and GATE_SHUT */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hv_host_event *events[EVENTS]; /* by handle, while it is open */
static uint32_t next;

static struct hv_host_event *create(void (*notify)(void *arg), void *arg, void **handle)
{
    struct hv_host_event *event = calloc(1, sizeof(*event));
    uint32_t index;

    fake_require(event != NULL, "out of memory in earnest");
    event->references = 1;
    event->notify = notify;
    event->arg = arg;
    FAKE_ADD(events, 1);
    pthread_mutex_lock(&mutex);
    index = next++;
    fake_require(index < EVENTS, "too many events since fake_reset");
    events[index] = event;
    pthread_mutex_unlock(&mutex);
    *handle = (void *)(uintptr_t)(HANDLE_BASE + index);
    return event;
}

static struct hv_host_event *find(void *handle)
{
    uint64_t index = (uintptr_t)handle - HANDLE_BASE;

    return index < EVENTS ? events[index] : NULL;
}

static struct hv_host_event *get(void *handle)
{
    struct hv_host_event *event;

    pthread_mutex_lock(&mutex);
    event = find(handle);
    if (event)
        event->references++;
    pthread_mutex_unlock(&mutex);
    return event;
}

static void put(struct hv_host_event *event)
{
    uint32_t references;

    pthread_mutex_lock(&mutex);
    references = --event->references;
    pthread_mutex_unlock(&mutex);
    if (references)
        return;
    free(event);
    FAKE_ADD(events, -1);
}

/* ------------------------------------------------------------------------------ the library's side */

struct hv_host_event *hv_host_event_get(void *handle)
{
    struct hv_host_event *event;

    fake_require_thread_context("hv_host_event_get");
    event = get(handle);
    FAKE_ADD(event_uses, event != NULL);
    return event;
}

void hv_host_event_put(struct hv_host_event *event)
{
    fake_require_thread_context("hv_host_event_put");
    fake_require(event != NULL, "hv_host_event_put: NULL");
    fake_require(!event->notify || __atomic_load_n(&event->gate, __ATOMIC_RELAXED) & GATE_SHUT,
                 "hv_host_event_put: the library's own event was not silenced");
    FAKE_ADD(event_uses, -1);
    put(event);
}

struct hv_host_event *hv_host_event_create(void (*notify)(void *arg), void *arg, void **handle)
{
    fake_require_thread_context("hv_host_event_create");
    fake_require(notify && handle, "hv_host_event_create: NULL");
    if (fake_deny())
        return NULL;
    create(notify, arg, handle);
    return hv_host_event_get(*handle);
}

void hv_host_event_silence(struct hv_host_event *event)
{
    uint32_t gate;

    fake_require_thread_context("hv_host_event_silence");
    fake_require(event->notify != NULL, "hv_host_event_silence: not an event of the library's");
    gate = __atomic_or_fetch(&event->gate, GATE_SHUT, __ATOMIC_ACQUIRE);
    while (gate != GATE_SHUT) {
        hv_host_wait(&event->gate, gate, 0);
        gate = __atomic_load_n(&event->gate, __ATOMIC_ACQUIRE);
    }
}

/* notify is called as if by an interrupt handler: the strictest context. */
static void notify(struct hv_host_event *event)
{
    uint32_t gate = __atomic_fetch_add(&event->gate, 1, __ATOMIC_ACQUIRE);
    uint64_t flags;

    if (!(gate & GATE_SHUT)) {
        flags = hv_host_irq_save();
        event->notify(event->arg);
        hv_host_irq_restore(flags);
    }
    if (__atomic_sub_fetch(&event->gate, 1, __ATOMIC_RELEASE) == GATE_SHUT)
        hv_host_wake(&event->gate);
}

void hv_host_event_signal(struct hv_host_event *event)
{
    __atomic_fetch_add(&event->signals, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&event->is_signalled, 1, __ATOMIC_SEQ_CST);
    if (event->notify)
        notify(event);
}

/* ----------------------------------------------------------------------------------- the test's side */

void *fake_event_create(void)
{
    void *handle;

    create(NULL, NULL, &handle);
    return handle;
}

void fake_event_close(void *handle)
{
    struct hv_host_event *event;

    pthread_mutex_lock(&mutex);
    event = find(handle);
    if (event)
        events[(uintptr_t)handle - HANDLE_BASE] = NULL;
    pthread_mutex_unlock(&mutex);
    fake_require(event != NULL, "fake_event_close: no such event");
    put(event);
}

void fake_event_signal(void *handle)
{
    struct hv_host_event *event = get(handle);

    fake_require(event != NULL, "fake_event_signal: no such event");
    hv_host_event_signal(event);
    put(event);
}

bool fake_event_take(void *handle)
{
    struct hv_host_event *event = get(handle);
    bool was_signalled;

    fake_require(event != NULL, "fake_event_take: no such event");
    was_signalled = __atomic_exchange_n(&event->is_signalled, 0, __ATOMIC_SEQ_CST);
    put(event);
    return was_signalled;
}

uint64_t fake_event_signals(void *handle)
{
    struct hv_host_event *event = get(handle);
    uint64_t signals;

    fake_require(event != NULL, "fake_event_signals: no such event");
    signals = __atomic_load_n(&event->signals, __ATOMIC_RELAXED);
    put(event);
    return signals;
}

/* ----------------------------------------------------------------------------------------- all of it */

void fake_event_reset(void)
{
    for (uint32_t i = 0; i < next; i++)
        events[i] = NULL;
    next = 0;
}

void fake_event_assert_clean(void)
{
    if (fake_state.event_uses)
        fake_fail("not given back: %llu references to events", (unsigned long long)fake_state.event_uses);
    if (fake_state.events)
        fake_fail("%llu events were not closed", (unsigned long long)fake_state.events);
}
