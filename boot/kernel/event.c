/* SPDX-License-Identifier: MIT */
/*
 * Events, for programs (<kernel/event.h>) and for the library (<hv/host.h>).
 *
 * A handle names a slot and the generation of the event in it; one atomic operation on the slot checks it and keeps the
 * event alive.
 */
#include <hv/base/bits.h>
#include <hv/host.h>
#include <kernel/event.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>

#define EVENTS_MAX 16384u

/* A slot's word. An open handle is a reference too. */
#define SLOT_REFERENCES BITS64(31, 0)
#define SLOT_GENERATION BITS64(62, 32)
#define SLOT_OPEN       BIT64(63)

/* A handle: the slot's number, and the high half of its word while the event is open. */
#define HANDLE_SLOT BITS64(15, 0)
#define HANDLE_HIGH BITS64(47, 16)
#define HANDLE_TAG  BITS64(63, 48)
#define TAG_EVENT   0x4556 /* no address has this top */

/* An event's gate: how many calls of notify are under way, and whether no more may begin. */
#define GATE_SHUT (1u << 31)

struct hv_host_event {
    struct slot *slot;
    enum event_kind kind;
    volatile uint32_t is_signalled; /* who waits sleeps on it */
    uint64_t signals;
    void (*notify)(void *arg); /* NULL: nobody wants to hear of signals */
    void *arg;
    volatile uint32_t gate;
};

static struct slot {
    uint64_t word;
    union {
        struct hv_host_event *event; /* while there are references */
        uint32_t next;               /* free: the next free slot */
    };
} slots[EVENTS_MAX];

_Static_assert(EVENTS_MAX - 1 <= HANDLE_SLOT, "slots in a handle");

static struct spinlock lock;
static uint32_t used;                    /* lock; slots that were ever used */
static uint32_t first_free = EVENTS_MAX; /* lock; EVENTS_MAX: none */
static size_t events;

/* ---------------------------------------------------------------------------- slots and references */

static struct slot *slot_take(void)
{
    uint64_t flags = spin_lock(&lock);
    struct slot *slot = NULL;

    if (first_free < EVENTS_MAX) {
        slot = &slots[first_free];
        first_free = slot->next;
    } else if (used < EVENTS_MAX) {
        slot = &slots[used++];
    }
    events += slot != NULL;
    spin_unlock(&lock, flags);
    return slot;
}

static void slot_give(struct slot *slot)
{
    uint64_t flags = spin_lock(&lock);

    slot->next = first_free;
    first_free = (uint32_t)(slot - slots);
    events--;
    spin_unlock(&lock, flags);
}

size_t events_used(void)
{
    uint64_t flags = spin_lock(&lock);
    size_t n = events;

    spin_unlock(&lock, flags);
    return n;
}

static struct slot *slot_of(const void *handle)
{
    uint64_t h = (uintptr_t)handle;

    if (FIELD_GET(HANDLE_TAG, h) != TAG_EVENT || FIELD_GET(HANDLE_SLOT, h) >= EVENTS_MAX)
        return NULL;
    return &slots[FIELD_GET(HANDLE_SLOT, h)];
}

static void *handle_of(const struct slot *slot)
{
    return (void *)(uintptr_t)(FIELD_PUT(HANDLE_TAG, TAG_EVENT) | FIELD_PUT(HANDLE_HIGH, slot->word >> 32) |
                               FIELD_PUT(HANDLE_SLOT, (uint64_t)(slot - slots)));
}

/* An open slot's high half is never 0: SLOT_OPEN is in it. */
static bool is_open(uint64_t word, const void *handle)
{
    return word >> 32 == FIELD_GET(HANDLE_HIGH, (uintptr_t)handle) && (word & SLOT_OPEN);
}

struct hv_host_event *hv_host_event_get(void *handle)
{
    struct slot *slot = slot_of(handle);
    uint64_t word;

    if (!slot)
        return NULL;
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED);
    do {
        if (!is_open(word, handle))
            return NULL;
    } while (!__atomic_compare_exchange_n(&slot->word, &word, word + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return slot->event;
}

/* The last one to leave: the handle was closed before, so nobody can come any more. */
void hv_host_event_put(struct hv_host_event *event)
{
    struct slot *slot = event->slot;
    uint64_t word = __atomic_sub_fetch(&slot->word, 1, __ATOMIC_ACQ_REL);

    if (word & SLOT_REFERENCES)
        return;
    heap_free(event, sizeof(*event));
    __atomic_store_n(&slot->word, (word + BIT64(32)) & SLOT_GENERATION, __ATOMIC_RELAXED);
    slot_give(slot);
}

/* With one reference, the handle's. */
static struct hv_host_event *create(enum event_kind kind)
{
    struct hv_host_event *event = heap_alloc(sizeof(*event));
    struct slot *slot = event ? slot_take() : NULL;

    if (!slot) {
        if (event)
            heap_free(event, sizeof(*event));
        return NULL;
    }
    event->slot = slot;
    event->kind = kind;
    slot->event = event;
    __atomic_store_n(&slot->word, slot->word | SLOT_OPEN | 1, __ATOMIC_RELEASE);
    return event;
}

/* ------------------------------------------------------------------------------ signals and waiting */

/* Lets a call of notify begin; false: no more of them. */
static bool gate_enter(struct hv_host_event *event)
{
    uint32_t gate = __atomic_load_n(&event->gate, __ATOMIC_RELAXED);

    do {
        if (gate & GATE_SHUT)
            return false;
    } while (!__atomic_compare_exchange_n(&event->gate, &gate, gate + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

static void gate_leave(struct hv_host_event *event)
{
    if (__atomic_sub_fetch(&event->gate, 1, __ATOMIC_RELEASE) == GATE_SHUT)
        thread_wake(&event->gate);
}

void hv_host_event_silence(struct hv_host_event *event)
{
    uint32_t gate = __atomic_or_fetch(&event->gate, GATE_SHUT, __ATOMIC_ACQUIRE);

    while (gate != GATE_SHUT) {
        thread_wait(&event->gate, gate, 0);
        gate = __atomic_load_n(&event->gate, __ATOMIC_ACQUIRE);
    }
}

static __attribute__((noinline)) void notify(struct hv_host_event *event)
{
    if (!gate_enter(event))
        return;
    event->notify(event->arg);
    gate_leave(event);
}

void hv_host_event_signal(struct hv_host_event *event)
{
    __atomic_fetch_add(&event->signals, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&event->is_signalled, 1, __ATOMIC_RELEASE);
    thread_wake(&event->is_signalled);
    if (event->notify)
        notify(event);
}

/* Ends a wait, if there was a signal. */
static bool take_signal(struct hv_host_event *event)
{
    if (event->kind == EVENT_MANUAL)
        return __atomic_load_n(&event->is_signalled, __ATOMIC_ACQUIRE);
    return __atomic_exchange_n(&event->is_signalled, 0, __ATOMIC_ACQUIRE);
}

static bool wait(struct hv_host_event *event, uint64_t deadline_ns)
{
    while (!take_signal(event)) {
        if (deadline_ns && hv_host_time_ns() >= deadline_ns)
            return false;
        thread_wait(&event->is_signalled, 0, deadline_ns);
    }
    return true;
}

/* ------------------------------------------------------------------------------------- by the handle */

void *event_create(enum event_kind kind)
{
    struct hv_host_event *event = create(kind);

    return event ? handle_of(event->slot) : NULL;
}

struct hv_host_event *hv_host_event_create(void (*notify)(void *arg), void *arg, void **handle)
{
    struct hv_host_event *event = create(EVENT_AUTO);

    if (!event)
        return NULL;
    event->notify = notify;
    event->arg = arg;
    *handle = handle_of(event->slot);
    return hv_host_event_get(*handle);
}

bool event_close(void *handle)
{
    struct slot *slot = slot_of(handle);
    uint64_t word;

    if (!slot)
        return false;
    word = __atomic_load_n(&slot->word, __ATOMIC_RELAXED);
    do {
        if (!is_open(word, handle))
            return false;
    } while (
        !__atomic_compare_exchange_n(&slot->word, &word, word & ~SLOT_OPEN, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    hv_host_event_put(slot->event); /* the handle's own reference, which has kept slot->event what it is */
    return true;
}

bool event_signal(void *handle)
{
    struct hv_host_event *event = hv_host_event_get(handle);

    if (!event)
        return false;
    hv_host_event_signal(event);
    hv_host_event_put(event);
    return true;
}

bool event_reset(void *handle)
{
    struct hv_host_event *event = hv_host_event_get(handle);

    if (!event)
        return false;
    __atomic_store_n(&event->is_signalled, 0, __ATOMIC_RELAXED);
    hv_host_event_put(event);
    return true;
}

bool event_wait(void *handle, uint64_t deadline_ns)
{
    struct hv_host_event *event = hv_host_event_get(handle);
    bool was_signalled;

    if (!event)
        return false;
    was_signalled = wait(event, deadline_ns);
    hv_host_event_put(event);
    return was_signalled;
}

uint64_t event_signals(void *handle)
{
    struct hv_host_event *event = hv_host_event_get(handle);
    uint64_t signals;

    if (!event)
        return 0;
    signals = __atomic_load_n(&event->signals, __ATOMIC_RELAXED);
    hv_host_event_put(event);
    return signals;
}
