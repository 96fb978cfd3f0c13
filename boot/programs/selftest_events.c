/* SPDX-License-Identifier: MIT */
#include "selftest.h"
#include <hv/host.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/event.h>
#include <kernel/thread.h>

#define ROUNDS  200
#define MANY    1000
#define SIGNALS 20000

/* Long enough to mean never, short enough for a test that fails. */
static uint64_t soon(void)
{
    return clock_ns() + 10 * NS_PER_S;
}

static bool case_kinds(void)
{
    void *automatic = event_create(EVENT_AUTO), *manual = event_create(EVENT_MANUAL);
    uint64_t start = clock_ns();

    CHECK(automatic && manual && automatic != manual);
    CHECK(!event_wait(automatic, start) && !event_wait(manual, start));
    CHECK(!event_wait(automatic, start + 5 * NS_PER_MS) && clock_ns() >= start + 5 * NS_PER_MS);
    CHECK(event_signal(automatic) && event_signal(automatic) && event_signal(manual));
    CHECK(event_wait(automatic, start) && !event_wait(automatic, start)); /* two signals, one wait */
    CHECK(event_wait(manual, start) && event_wait(manual, start));
    CHECK(event_reset(manual) && !event_wait(manual, start));
    CHECK(event_signal(automatic) && event_reset(automatic) && !event_wait(automatic, start));
    CHECK(event_signals(automatic) == 3 && event_signals(manual) == 1);
    CHECK(event_close(automatic) && event_close(manual));
    return true;
}

static bool case_handles(void)
{
    void *first = event_create(EVENT_AUTO), *second;
    int local = 0;

    CHECK(first && event_close(first));
    second = event_create(EVENT_AUTO);
    CHECK(second && second != first); /* of the same slot */
    CHECK(!event_signal(first) && !event_reset(first) && !event_close(first) && !event_wait(first, 0));
    CHECK(!hv_host_event_get(first) && !event_signals(first));
    CHECK(!event_signal(NULL) && !event_close(NULL) && !hv_host_event_get(NULL));
    CHECK(!event_signal(&local) && !hv_host_event_get(&local) && !hv_host_event_get((void *)~0ull));
    CHECK(!event_signal((char *)second + 1) && !event_close((char *)second + 0x10000));
    CHECK(event_close(second));
    return true;
}

static bool case_many(void)
{
    static void *handles[MANY];
    size_t before = events_used();

    for (unsigned i = 0; i < MANY; i++)
        CHECK((handles[i] = event_create(EVENT_AUTO)) != NULL);
    CHECK(events_used() == before + MANY);
    for (unsigned i = 0; i < MANY; i += 3)
        CHECK(event_signal(handles[i]));
    for (unsigned i = 0; i < MANY; i++)
        CHECK(event_wait(handles[i], 1) == (i % 3 == 0) && event_close(handles[i]));
    return true;
}

/* ---------------------------------------------------------------------- between threads and CPUs */

static struct {
    void *ping, *pong;
} court;

static void pong(void *arg)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!event_wait(court.ping, soon()))
            *(bool *)arg = true;
        event_signal(court.pong);
    }
}

static bool case_ping_pong(void)
{
    bool failed = false;
    struct thread *t;

    court.ping = event_create(EVENT_AUTO);
    court.pong = event_create(EVENT_AUTO);
    CHECK(court.ping && court.pong);
    t = thread_create("pong", pong, &failed, cpu_count() - 1);
    CHECK(t);
    for (unsigned i = 0; i < ROUNDS; i++)
        CHECK(event_signal(court.ping) && event_wait(court.pong, soon()));
    thread_join(t);
    CHECK(!failed && event_signals(court.ping) == ROUNDS);
    CHECK(event_close(court.ping) && event_close(court.pong));
    return true;
}

static void signal_from_interrupt(void *handle)
{
    event_signal(handle);
}

static void wait_once(void *handle)
{
    if (event_wait(handle, soon()))
        event_signal(court.pong);
}

/* The signal comes from an interrupt handler; of two threads that wait, one goes on at each. */
static bool case_interrupt(void)
{
    void *handle = court.ping = event_create(EVENT_AUTO);
    struct thread *a, *b;

    court.pong = event_create(EVENT_AUTO);
    CHECK(handle && court.pong);
    a = thread_create("wait a", wait_once, handle, CPU_ANY);
    b = thread_create("wait b", wait_once, handle, CPU_ANY);
    CHECK(a && b);
    thread_sleep_ns(5 * NS_PER_MS);
    CHECK(event_signals(court.pong) == 0);
    cpu_call(cpu_count() - 1, signal_from_interrupt, handle);
    CHECK(event_wait(court.pong, soon()));
    thread_sleep_ns(5 * NS_PER_MS);
    CHECK(event_signals(court.pong) == 1);
    cpu_call(0, signal_from_interrupt, handle);
    thread_join(a);
    thread_join(b);
    CHECK(event_signals(court.pong) == 2);
    CHECK(event_close(handle) && event_close(court.pong));
    return true;
}

/* ------------------------------------------------------------------------------ the library's events */

static struct {
    uint32_t calls, with_interrupts_off;
    volatile bool is_silent, was_called_late;
} heard;

static void hear(void *arg)
{
    __atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&heard.with_interrupts_off, !irq_enabled(), __ATOMIC_RELAXED);
    if (heard.is_silent)
        heard.was_called_late = true;
}

static bool case_notify(void)
{
    struct hv_host_event *event, *again;
    void *handle;

    heard.calls = heard.with_interrupts_off = 0;
    event = hv_host_event_create(hear, &heard.calls, &handle);
    CHECK(event);
    again = hv_host_event_get(handle);
    CHECK(again == event);
    hv_host_event_put(again);
    CHECK(event_signal(handle));
    hv_host_event_signal(event);
    CHECK(heard.calls == 2 && heard.with_interrupts_off == 0);
    cpu_call(cpu_count() - 1, signal_from_interrupt, handle);
    CHECK(heard.calls == 3 && heard.with_interrupts_off == 1);
    hv_host_event_silence(event);
    CHECK(event_signal(handle) && heard.calls == 3);
    hv_host_event_put(event);
    CHECK(event_signal(handle) && event_close(handle)); /* it outlives the library's use */
    event = hv_host_event_create(hear, &heard.calls, &handle);
    CHECK(event && event_close(handle) && !event_signal(handle)); /* and the other way round */
    hv_host_event_signal(event);
    CHECK(heard.calls == 4);
    hv_host_event_silence(event);
    hv_host_event_put(event);
    return true;
}

static void signal_many(void *handle)
{
    for (unsigned i = 0; i < SIGNALS; i++)
        event_signal(handle);
}

/* No call of notify is under way, nor begins, once the event is silent. */
static bool case_silence(void)
{
    struct hv_host_event *event;
    struct thread *t;
    void *handle;

    for (unsigned round = 0; round < 20; round++) {
        heard.calls = 0;
        heard.is_silent = heard.was_called_late = false;
        event = hv_host_event_create(hear, &heard.calls, &handle);
        CHECK(event);
        t = thread_create("signals", signal_many, handle, cpu_count() - 1);
        CHECK(t);
        while (!__atomic_load_n(&heard.calls, __ATOMIC_RELAXED))
            thread_yield();
        hv_host_event_silence(event);
        heard.is_silent = true;
        hv_host_event_put(event);
        thread_join(t);
        CHECK(!heard.was_called_late && heard.calls <= SIGNALS);
        CHECK(event_signals(handle) == SIGNALS && event_close(handle));
    }
    return true;
}

const struct selftest_case selftest_events[] = {
    {"events let one wait end, or all", case_kinds, 1},
    {"handles that are none, and closed ones, do nothing", case_handles, 1},
    {"many events come and go", case_many, 1},
    {"signals between threads get lost nowhere", case_ping_pong, 1},
    {"an interrupt handler's signal lets one thread go on", case_interrupt, 1},
    {"the library hears of each signal, from an interrupt handler too", case_notify, 1},
    {"a silent event calls nobody", case_silence, 1},
    {0},
};
