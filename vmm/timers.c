/* SPDX-License-Identifier: MIT */
/* One thread for all devices that have something to do at a time: asks each when that is, and sleeps until then. */
#include <vmm/devices.h>

#define TIMERS_MAX 8

/* A guest may program a timer faster than any thread could follow: it then gets what this rest leaves. */
#define REST_US 20u

struct timers {
    const struct machine_services *services;
    struct {
        timer_poll *poll;
        void *device;
    } entries[TIMERS_MAX];
    uint32_t count;
    struct system_thread *thread;
    volatile uint32_t kicks; /* what the thread sleeps on */
    bool is_ended;
};

static uint64_t poll_all(struct timers *t)
{
    uint64_t next = UINT64_MAX, now = t->services->time_ns(t->services->context);

    for (uint32_t i = 0; i < t->count; i++) {
        uint64_t due = t->entries[i].poll(t->entries[i].device, now);

        if (due < next)
            next = due;
    }
    return next;
}

static uint64_t sleep_us(const struct timers *t, uint64_t next)
{
    uint64_t now = t->services->time_ns(t->services->context), us;

    if (next == UINT64_MAX)
        return SYSTEM_FOREVER;
    us = next > now ? (next - now) / 1000 + 1 : 0;
    return us < REST_US ? REST_US : us;
}

/* A kick that comes while the devices are asked ends the sleep before it begins. */
static void timers_run(void *arg)
{
    struct timers *t = arg;

    for (;;) {
        uint32_t seen = __atomic_load_n(&t->kicks, __ATOMIC_ACQUIRE);

        if (__atomic_load_n(&t->is_ended, __ATOMIC_ACQUIRE))
            return;
        system_wait(&t->kicks, seen, sleep_us(t, poll_all(t)));
    }
}

struct timers *timers_create(const struct machine_services *services)
{
    struct timers *t = device_alloc(sizeof(*t), "timers");

    if (t)
        t->services = services;
    return t;
}

void timers_destroy(struct timers *timers)
{
    if (!timers)
        return;
    __atomic_store_n(&timers->is_ended, true, __ATOMIC_RELEASE);
    timers_kick(timers);
    if (timers->thread)
        system_thread_join(timers->thread);
    device_free(timers, sizeof(*timers));
}

bool timers_add(struct timers *timers, timer_poll *poll, void *device)
{
    if (timers->thread || timers->count == TIMERS_MAX)
        return false;
    timers->entries[timers->count].poll = poll;
    timers->entries[timers->count++].device = device;
    return true;
}

bool timers_start(struct timers *timers)
{
    if (!timers->thread)
        timers->thread = system_thread_start("timers", timers_run, timers);
    return timers->thread;
}

void timers_kick(struct timers *timers)
{
    __atomic_fetch_add(&timers->kicks, 1, __ATOMIC_RELEASE);
    system_wake(&timers->kicks);
}
