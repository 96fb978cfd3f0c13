/* SPDX-License-Identifier: MIT */
#include "selftest.h"
#include <hv/host.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/thread.h>
#include <kernel/trap.h>

#define STORM_CALLS 2000 /* of all CPUs together: waiting for each other is slow where one core plays many CPUs */

#define MSR_APIC_BASE 0x1b
#define MSR_FS_BASE   0xc0000100

static bool case_msr(void)
{
    uint64_t value;

    CHECK(rdmsr_safe(MSR_APIC_BASE, &value) && value);
    if (wrmsr_safe(MSR_FS_BASE, 1ull << 63)) /* not canonical: #GP, but QEMU's TCG takes it */
        wrmsr(MSR_FS_BASE, 0);
    CHECK(rdmsr_safe(MSR_FS_BASE, &value) && value == 0);
    return true;
}

static void note_cpu(void *arg)
{
    *(uint32_t *)arg = irq_enabled() ? ~0u : cpu_id();
}

static bool case_call(void)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        uint32_t seen = ~0u;

        cpu_call(cpu, note_cpu, &seen);
        CHECK(seen == cpu);
        seen = ~0u;
        preempt_disable();
        cpu_call(cpu, note_cpu, &seen);
        preempt_enable();
        CHECK(seen == cpu);
    }
    return true;
}

static uint32_t storm_count;

static void storm_hit(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&storm_count, 1, __ATOMIC_RELAXED);
}

static void storm_all(void *arg)
{
    uint32_t target = (uint32_t)(uintptr_t)arg;

    for (unsigned i = 0; i < STORM_CALLS / cpu_count(); i++) {
        if (i % 2)
            preempt_disable();
        cpu_call(target, storm_hit, NULL);
        if (i % 2)
            preempt_enable();
    }
}

/* Every CPU calls its neighbour, and the first two each other. */
static bool case_storm(void)
{
    struct thread *threads[CPU_MAX];
    uint32_t n = cpu_count();

    storm_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        threads[i] = thread_create("storm", storm_all, (void *)(uintptr_t)(i < 2 ? i ^ 1 : (i + 1) % n), i);
        CHECK(threads[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        thread_join(threads[i]);
    CHECK(storm_count == STORM_CALLS / n * n);
    return true;
}

static bool case_preempt_disable(void)
{
    uint32_t cpu, ran = 0;
    struct thread *t;
    bool asked = false;
    uint64_t end;

    preempt_disable();
    cpu = cpu_id();
    t = thread_create("waiting", note_cpu, &ran, cpu);
    ran = 1000;
    for (end = clock_ns() + 20 * NS_PER_MS; clock_ns() < end;)
        asked |= hv_host_should_yield();
    CHECK(ran == 1000 && asked && cpu_id() == cpu);
    preempt_enable();
    thread_join(t);
    CHECK(ran != 1000);
    return true;
}

static uint64_t clock_seen;

static void clock_check(void *arg)
{
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t before = __atomic_load_n(&clock_seen, __ATOMIC_ACQUIRE);
        uint64_t now = clock_ns();

        if (now < before)
            *(uint32_t *)arg = 1;
        __atomic_compare_exchange_n(&clock_seen, &before, now, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    }
}

static bool case_clock(void)
{
    struct thread *threads[CPU_MAX];
    uint32_t bad = 0;

    clock_seen = 0;
    for (uint32_t i = 0; i < cpu_count(); i++)
        threads[i] = thread_create("clock", clock_check, &bad, i);
    for (uint32_t i = 0; i < cpu_count(); i++)
        thread_join(threads[i]);
    CHECK(!bad);
    return true;
}

static bool case_kick(void)
{
    for (unsigned i = 0; i < 100; i++) {
        for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
            hv_host_kick(cpu);
    }
    return true;
}

static bool case_vectors(void)
{
    unsigned before = irq_vectors_used(), count = 0;
    uint8_t vectors[256];

    while (count < sizeof(vectors) && (vectors[count] = irq_vector_alloc(storm_hit, NULL)) != 0) {
        CHECK(vectors[count] >= 32 && (!count || vectors[count] != vectors[count - 1]));
        count++;
    }
    CHECK(count > 100 && count + before < 256 && irq_vectors_used() == before + count);
    irq_vector_free(vectors[1]);
    CHECK(irq_vector_alloc(storm_hit, NULL) == vectors[1]);
    while (count)
        irq_vector_free(vectors[--count]);
    CHECK(irq_vectors_used() == before);
    return true;
}

const struct selftest_case selftest_cpu[] = {
    {"a refused MSR is an answer, not an exception", case_msr, 1},
    {"calls reach every CPU, the own one too", case_call, 1},
    {"CPUs that call each other all get their answers", case_storm, 2},
    {"vectors of devices run out and are taken back", case_vectors, 1},
    {"kicks harm nobody", case_kick, 1},
    {"a pinned section keeps others waiting and is told so", case_preempt_disable, 1},
    {"the clock never runs backwards between CPUs", case_clock, 1},
    {0},
};
