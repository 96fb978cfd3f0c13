/* SPDX-License-Identifier: MIT */
#include "selftest.h"
#include <hv/host.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>

#define MANY      40
#define PING_PONG 300

static void note_place(void *arg)
{
    preempt_disable();
    *(uint32_t *)arg = cpu_id();
    preempt_enable();
}

static bool case_pinned(void)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        uint32_t seen = ~0u;
        struct thread *t = thread_create("pinned", note_place, &seen, cpu);

        CHECK(t);
        thread_join(t);
        CHECK(seen == cpu);
    }
    CHECK(!thread_create("nowhere", note_place, NULL, cpu_count()));
    return true;
}

struct spinner {
    uint64_t turns;
    const volatile uint32_t *stop;
};

static void spin(void *arg)
{
    struct spinner *s = arg;

    while (!*s->stop)
        __atomic_fetch_add(&s->turns, 1, __ATOMIC_RELAXED);
}

/* Two that never give way on one CPU, and a third (this one) that wants to run on it too. */
static bool case_preemption(void)
{
    volatile uint32_t stop = 0;
    struct spinner a = {0, &stop}, b = {0, &stop};
    struct thread *ta = thread_create("spin a", spin, &a, 0), *tb = thread_create("spin b", spin, &b, 0);

    CHECK(ta && tb && thread_set_cpu(0));
    thread_sleep_ns(50 * NS_PER_MS);
    stop = 1;
    thread_join(ta);
    thread_join(tb);
    CHECK(thread_set_cpu(CPU_ANY));
    CHECK(a.turns && b.turns);
    return true;
}

static bool case_many(void)
{
    static uint32_t seen[MANY];
    struct thread *threads[MANY];

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            seen[i] = ~0u;
            threads[i] = thread_create("many", note_place, &seen[i], CPU_ANY);
            CHECK(threads[i]);
        }
        for (unsigned i = 0; i < MANY; i++) {
            thread_join(threads[i]);
            CHECK(seen[i] < cpu_count());
        }
    }
    return true;
}

struct fpu_job {
    uint64_t pattern;
    bool bad;
};

/* The compiler knows nothing of these registers (-mgeneral-regs-only), so they are ours between two statements. */
static void fpu_use(void *arg)
{
    struct fpu_job *job = arg;
    uint64_t low, high, end = clock_ns() + 30 * NS_PER_MS;
    uint32_t mxcsr = 0x1f80 | (uint32_t)(job->pattern & 0x6000), now;

    __asm__ volatile("movq %0, %%xmm0; movq %0, %%xmm15; ldmxcsr %1" ::"r"(job->pattern), "m"(mxcsr));
    while (clock_ns() < end) {
        thread_yield();
        __asm__ volatile("movq %%xmm0, %0; movq %%xmm15, %1; stmxcsr %2" : "=r"(low), "=r"(high), "=m"(now));
        job->bad |= low != job->pattern || high != job->pattern || now != mxcsr;
    }
}

static bool case_fpu(void)
{
    struct fpu_job a = {0x1111111111112111, false}, b = {0x2222222222224222, false};
    struct thread *ta = thread_create("fpu a", fpu_use, &a, 0), *tb = thread_create("fpu b", fpu_use, &b, 0);

    CHECK(ta && tb);
    thread_join(ta);
    thread_join(tb);
    CHECK(!a.bad && !b.bad);
    return true;
}

static bool case_sleep(void)
{
    for (uint64_t ns = 100 * NS_PER_US; ns <= 20 * NS_PER_MS; ns *= 4) {
        uint64_t start = clock_ns();

        thread_sleep_ns(ns);
        CHECK(clock_ns() - start >= ns);
        CHECK(clock_ns() - start < ns + NS_PER_S);
    }
    return true;
}

static bool case_timeout(void)
{
    uint32_t word = 5;
    uint64_t start = clock_ns();

    hv_host_wait(&word, 4, 0);     /* not what it holds: at once */
    hv_host_wait(&word, 5, start); /* over already */
    hv_host_wait(&word, 5, start + 5 * NS_PER_MS);
    CHECK(clock_ns() >= start + 5 * NS_PER_MS);
    hv_host_wake(&word); /* nobody there */
    return true;
}

static uint32_t ball;

static void player(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;

    for (unsigned i = 0; i < PING_PONG; i++) {
        uint32_t seen;

        while ((seen = __atomic_load_n(&ball, __ATOMIC_ACQUIRE)) % 2 != mine)
            hv_host_wait(&ball, seen, 0);
        __atomic_fetch_add(&ball, 1, __ATOMIC_RELEASE);
        hv_host_wake(&ball);
    }
}

static bool play(uint32_t cpu_a, uint32_t cpu_b)
{
    struct thread *a, *b;

    ball = 0;
    a = thread_create("ping", player, (void *)0, cpu_a);
    b = thread_create("pong", player, (void *)1, cpu_b);
    CHECK(a && b);
    thread_join(a);
    thread_join(b);
    CHECK(ball == 2 * PING_PONG);
    return true;
}

static bool case_ping_pong(void)
{
    return play(0, 0) && play(CPU_ANY, CPU_ANY) && play(0, cpu_count() - 1);
}

static uint32_t gate;

static void open_gate(void *arg)
{
    (void)arg;
    gate = 1;
    hv_host_wake(&gate);
}

static void gate_waiter(void *arg)
{
    while (!__atomic_load_n(&gate, __ATOMIC_ACQUIRE))
        hv_host_wait(&gate, 0, clock_ns() + 10 * NS_PER_S);
    __atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_RELAXED);
}

/* All sleepers on one word, woken at once from an interrupt handler. */
static bool case_wake_all(void)
{
    struct thread *threads[8];
    uint32_t through = 0;
    uint64_t start = clock_ns();

    gate = 0;
    for (unsigned i = 0; i < 8; i++)
        threads[i] = thread_create("gate", gate_waiter, &through, CPU_ANY);
    thread_sleep_ns(5 * NS_PER_MS);
    CHECK(through == 0);
    cpu_call(cpu_count() - 1, open_gate, NULL);
    for (unsigned i = 0; i < 8; i++)
        thread_join(threads[i]);
    CHECK(through == 8 && clock_ns() - start < 5 * NS_PER_S);
    return true;
}

static bool case_set_cpu(void)
{
    uint64_t before = thread_migrations(thread_current());
    uint32_t seen;

    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
            CHECK(thread_set_cpu(cpu));
            note_place(&seen);
            CHECK(seen == cpu);
        }
    }
    CHECK(!thread_set_cpu(cpu_count()));
    CHECK(thread_set_cpu(CPU_ANY));
    CHECK(cpu_count() == 1 || thread_migrations(thread_current()) >= before + 20);
    return true;
}

/* One thread more than CPUs: whoever waits is taken up by the CPU that is free next. */
static bool case_migration(void)
{
    volatile uint32_t stop = 0;
    struct spinner spinners[CPU_MAX + 1] = {{0}};
    struct thread *threads[CPU_MAX + 1];
    uint32_t n = cpu_count() + 1;
    uint64_t moved = 0, end = clock_ns() + NS_PER_S;

    for (uint32_t i = 0; i < n; i++) {
        spinners[i].stop = &stop;
        threads[i] = thread_create("roam", spin, &spinners[i], CPU_ANY);
        CHECK(threads[i]);
    }
    while (moved < 4 && clock_ns() < end) {
        thread_sleep_ns(10 * NS_PER_MS);
        moved = 0;
        for (uint32_t i = 0; i < n; i++)
            moved += thread_migrations(threads[i]);
    }
    stop = 1;
    for (uint32_t i = 0; i < n; i++)
        thread_join(threads[i]);
    CHECK(moved >= 4);
    return true;
}

static struct spinlock counter_lock;
static uint32_t counter;

static void count_up(void *arg)
{
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t flags = spin_lock(&counter_lock);

        *(volatile uint32_t *)arg = *(volatile uint32_t *)arg + 1;
        spin_unlock(&counter_lock, flags);
        if (i % 100 == 0)
            heap_free(heap_alloc(i + 16), i + 16);
    }
}

static bool case_lock(void)
{
    struct thread *threads[4];

    counter = 0;
    for (unsigned i = 0; i < 4; i++)
        threads[i] = thread_create("lock", count_up, &counter, CPU_ANY);
    for (unsigned i = 0; i < 4; i++)
        thread_join(threads[i]);
    CHECK(counter == 4000);
    return true;
}

struct burner {
    uint32_t cpu;
    const volatile uint32_t *stop;
};

static void nothing(void *arg)
{
    (void)arg;
}

static void burn(void *arg)
{
    struct burner *b = arg;

    while (!*b->stop) {
        preempt_disable();
        __atomic_store_n(&b->cpu, cpu_id(), __ATOMIC_RELAXED);
        preempt_enable();
    }
}

/* CPUs that were told of a thread, and found that another one had taken it, are idle still. */
static bool case_side_by_side(void)
{
    volatile uint32_t stop = 0;
    struct burner a = {0, &stop}, b = {0, &stop};
    struct thread *ta, *tb;
    uint64_t limit;
    bool is_apart = false;

    for (unsigned i = 0; i < MANY; i++) {
        struct thread *t = thread_create("taken", nothing, NULL, CPU_ANY);

        CHECK(t);
        thread_yield();
        thread_join(t);
    }
    ta = thread_create("burn a", burn, &a, CPU_ANY);
    tb = thread_create("burn b", burn, &b, CPU_ANY);
    CHECK(ta && tb);
    limit = clock_ns() + 60 * NS_PER_MS; /* less than an idle CPU takes to look by itself */
    while (!is_apart && clock_ns() < limit) {
        thread_sleep_ns(5 * NS_PER_MS);
        is_apart = __atomic_load_n(&a.cpu, __ATOMIC_RELAXED) != __atomic_load_n(&b.cpu, __ATOMIC_RELAXED);
    }
    stop = 1;
    thread_join(ta);
    thread_join(tb);
    CHECK(is_apart);
    return true;
}

const struct selftest_case selftest_threads[] = {
    {"a thread runs where it is pinned", case_pinned, 1},
    {"threads that never give way share a CPU", case_preemption, 1},
    {"many threads come and go", case_many, 1},
    {"FPU registers are each thread's own", case_fpu, 1},
    {"sleep lasts as long as asked", case_sleep, 1},
    {"waiting ends at its deadline", case_timeout, 1},
    {"wait and wake lose nothing", case_ping_pong, 1},
    {"one wake reaches all sleepers, from an interrupt too", case_wake_all, 1},
    {"a thread moves to the CPU it names", case_set_cpu, 1},
    {"free threads move between CPUs", case_migration, 2},
    {"a lock keeps CPUs apart", case_lock, 1},
    {"threads that never give way use all CPUs", case_side_by_side, 2},
    {0},
};
