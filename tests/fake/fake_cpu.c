/* SPDX-License-Identifier: MIT */
/* CPUs, interrupt state, preemption, sleeping and time of the fake host. */
#include "fake.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

#define IRQ_FLAGS  0x5a5a000000000000ull /* + the nesting depth: what hv_host_irq_save returns */
#define NAP_NS     10000000
#define START_TIME 1000000000ull

static _Thread_local struct {
    unsigned irq_depth, preempt_depth;
    uint32_t cpu;
} here;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static uint32_t cpus;
static uint64_t kicks[FAKE_MAX_CPUS];
static uint64_t timers[FAKE_MAX_CPUS];
static struct fake_call last_call;
static bool yield, takes_back;
static uint32_t migrate_to = HV_CPU_NONE;
static uint64_t now;
static void (*on_irqs_on)(void);
static bool in_irqs_on;
static void (*on_wait)(const volatile uint32_t *word, uint32_t expected);

bool fake_irqs_on(void)
{
    return here.irq_depth == 0;
}

unsigned fake_preempt_depth(void)
{
    return here.preempt_depth;
}

void fake_require_thread_context(const char *function)
{
    if (here.irq_depth)
        fake_fail("%s: interrupts are off", function);
    if (here.preempt_depth)
        fake_fail("%s: preemption is disabled", function);
}

/* ------------------------------------------------------------------------------- CPUs */

void fake_set_cpus(uint32_t count)
{
    fake_require(count > 0 && count <= FAKE_MAX_CPUS, "fake_set_cpus: count");
    cpus = count;
}

void fake_set_cpu(uint32_t cpu)
{
    fake_require(cpu < cpus, "fake_set_cpu: no such CPU");
    fake_require_thread_context("fake_set_cpu");
    here.cpu = cpu;
}

void fake_migrate_to(uint32_t cpu)
{
    fake_require(cpu < cpus, "fake_migrate_to: no such CPU");
    migrate_to = cpu;
}

uint32_t fake_cpu(void)
{
    return here.cpu;
}

uint32_t hv_host_cpu_count(void)
{
    return cpus;
}

uint32_t hv_host_cpu_id(void)
{
    fake_require(here.irq_depth || here.preempt_depth, "hv_host_cpu_id: neither pinned nor with interrupts off");
    return here.cpu;
}

/* The other CPU is played by the calling thread. */
void hv_host_cpu_call(uint32_t cpu, void (*fn)(void *arg), void *arg)
{
    unsigned irq_depth = here.irq_depth, preempt_depth = here.preempt_depth;
    uint32_t caller = here.cpu;

    fake_require(cpu < cpus, "hv_host_cpu_call: no such CPU");
    fake_require(irq_depth == 0, "hv_host_cpu_call: interrupts are off");
    last_call = (struct fake_call){cpu, fn, arg};
    FAKE_ADD(calls, 1);
    here.cpu = cpu;
    here.irq_depth++;
    fn(arg);
    fake_require(here.irq_depth == irq_depth + 1, "hv_host_cpu_call: the function left the interrupt state changed");
    fake_require(here.preempt_depth == preempt_depth, "hv_host_cpu_call: the function left preemption changed");
    here.irq_depth = irq_depth;
    here.cpu = caller;
}

/* Like hv_host_cpu_call, for an interrupt that the other CPU takes by itself. */
void fake_on_cpu(uint32_t cpu, void (*fn)(uint32_t argument), uint32_t argument)
{
    unsigned irq_depth = here.irq_depth;
    uint32_t caller = here.cpu;

    here.cpu = cpu;
    here.irq_depth = 1;
    fn(argument);
    fake_require(here.irq_depth == 1, "an interrupt handler left the interrupt state changed");
    here.irq_depth = irq_depth;
    here.cpu = caller;
}

struct fake_call fake_last_call(void)
{
    return last_call;
}

void hv_host_kick(uint32_t cpu)
{
    fake_require(cpu < cpus, "hv_host_kick: no such CPU");
    __atomic_fetch_add(&kicks[cpu], 1, __ATOMIC_RELAXED);
    FAKE_ADD(kicks, 1);
}

uint64_t fake_kicks(uint32_t cpu)
{
    return kicks[cpu];
}

/* ------------------------------------------------------------ preemption and interrupts */

void hv_host_preempt_disable(void)
{
    here.preempt_depth++;
}

void hv_host_preempt_enable(void)
{
    fake_require(here.preempt_depth > 0, "hv_host_preempt_enable: was not disabled");
    here.preempt_depth--;
    if (here.preempt_depth)
        return;
    fake_require(!here.irq_depth, "hv_host_preempt_enable: interrupts are off, and it may schedule");
    yield = false;
    if (migrate_to == HV_CPU_NONE)
        return;
    here.cpu = migrate_to;
    migrate_to = HV_CPU_NONE;
}

/* Whatever can come while interrupts are on. */
static void let_come(void)
{
    if (here.irq_depth || !on_irqs_on || in_irqs_on)
        return;
    in_irqs_on = true;
    on_irqs_on();
    in_irqs_on = false;
}

uint64_t hv_host_irq_save(void)
{
    let_come();
    return IRQ_FLAGS + here.irq_depth++;
}

void hv_host_irq_restore(uint64_t flags)
{
    fake_require(here.irq_depth > 0, "hv_host_irq_restore: interrupts are on");
    fake_require(flags == IRQ_FLAGS + here.irq_depth - 1, "hv_host_irq_restore: not the flags of the last irq_save");
    here.irq_depth--;
    if (here.irq_depth)
        return;
    fake_irqs_were_off();
    let_come();
}

void fake_on_irqs_on(void (*fn)(void))
{
    on_irqs_on = fn;
}

bool hv_host_takes_back(void)
{
    fake_require_thread_context("hv_host_takes_back");
    return takes_back;
}

void fake_set_takes_back(bool does)
{
    takes_back = does;
}

bool hv_host_should_yield(void)
{
    fake_require(here.irq_depth > 0, "hv_host_should_yield: interrupts are on");
    return yield;
}

void fake_set_yield(bool should)
{
    yield = should;
}

void hv_host_yield(void)
{
    fake_require_thread_context("hv_host_yield");
    FAKE_ADD(yields, 1);
}

/* ------------------------------------------------------------------- sleeping and time */

void hv_host_timer(uint64_t deadline_ns)
{
    fake_require(here.irq_depth || here.preempt_depth, "hv_host_timer: neither pinned nor with interrupts off");
    timers[here.cpu] = deadline_ns;
}

uint64_t fake_timer(uint32_t cpu)
{
    return timers[cpu];
}

uint64_t hv_host_time_ns(void)
{
    return __atomic_load_n(&now, __ATOMIC_RELAXED);
}

void fake_set_time(uint64_t ns)
{
    fake_require(ns >= now, "fake_set_time: backwards");
    __atomic_store_n(&now, ns, __ATOMIC_RELAXED);
}

void fake_advance_time(uint64_t ns)
{
    fake_set_time(now + ns);
}

void fake_on_wait(void (*fn)(const volatile uint32_t *word, uint32_t expected))
{
    on_wait = fn;
}

static void nap(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += NAP_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&woken, &mutex, &until);
}

void hv_host_wait(const volatile uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    fake_require_thread_context("hv_host_wait");
    FAKE_ADD(waits, 1);
    if (on_wait) {
        on_wait(word, expected);
        return;
    }
    pthread_mutex_lock(&mutex);
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == expected) {
        if (!deadline_ns)
            nap();
        else if (deadline_ns > now)
            fake_set_time(deadline_ns);
    }
    pthread_mutex_unlock(&mutex);
}

void hv_host_wake(const volatile uint32_t *word)
{
    fake_require(word != NULL, "hv_host_wake: NULL");
    FAKE_ADD(wakes, 1);
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&woken);
    pthread_mutex_unlock(&mutex);
}

/* ----------------------------------------------------------------------------- all of it */

void fake_cpu_reset(void)
{
    memset(&here, 0, sizeof(here));
    memset(kicks, 0, sizeof(kicks));
    memset(timers, 0, sizeof(timers));
    last_call = (struct fake_call){0};
    cpus = 1;
    yield = takes_back = false;
    migrate_to = HV_CPU_NONE;
    now = START_TIME;
    on_wait = NULL;
    on_irqs_on = NULL;
    in_irqs_on = false;
}

void fake_cpu_assert_clean(void)
{
    if (here.irq_depth || here.preempt_depth)
        fake_fail("irq_save without restore: %u, preempt_disable without enable: %u", here.irq_depth,
                  here.preempt_depth);
}
