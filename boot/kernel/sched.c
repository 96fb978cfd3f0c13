/* SPDX-License-Identifier: MIT */
#include "sched.h"
#include "apic.h"
#include "trap_internal.h"
#include <hv/base/bits.h>
#include <kernel/clock.h>
#include <kernel/exit.h>
#include <kernel/lock.h>

#define SLICE_NS    (2 * NS_PER_MS)   /* a running thread's share while others wait */
#define IDLE_MAX_NS (100 * NS_PER_MS) /* an idle CPU's timer: only there to make sleeping forever impossible */

void thread_begin(void);
extern void switch_stack(uint64_t *save_rsp, uint64_t load_rsp);

static struct spinlock lock;
static struct hv_list ready = {&ready, &ready};          /* lock */
static struct hv_list sleepers = {&sleepers, &sleepers}; /* lock; the earliest deadline first */
static uint64_t idle_cpus;                               /* lock; one bit a CPU */
static uint64_t spared_cpus;                             /* lock; those that only threads pinned to them use */
static void (*on_leave)(void);                           /* set once */

uint64_t sched_lock(void)
{
    return spin_lock(&lock);
}

void sched_unlock(uint64_t flags)
{
    spin_unlock(&lock, flags);
}

static void *fpu_area(struct thread *t)
{
    return (char *)t + THREAD_FPU_OFFSET;
}

static bool may_run_on(const struct thread *t, const struct cpu *cpu)
{
    return t->pin == CPU_ANY ? !(spared_cpus & BIT64(cpu->id)) : t->pin == cpu->id;
}

/* The first ready thread for this CPU, or NULL. */
static struct thread *first_ready(const struct cpu *cpu)
{
    for (struct hv_list *n = ready.next; n != &ready; n = n->next) {
        struct thread *t = CONTAINER_OF(n, struct thread, link);

        if (may_run_on(t, cpu))
            return t;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------- timer */

static void timer_program(struct cpu *cpu, uint64_t at, uint64_t now)
{
    __atomic_store_n(&cpu->timer_at, at, __ATOMIC_RELAXED);
    apic_timer_start(at > now ? at - now : 0);
}

/* When this CPU must look again. Whoever adds a sleeper comes by here, so each deadline is in at least one CPU's timer.
 */
static uint64_t timer_wanted(const struct cpu *cpu, uint64_t now)
{
    uint64_t at = cpu->current == cpu->idle ? now + IDLE_MAX_NS : cpu->slice_end;

    if (!hv_list_empty(&sleepers))
        at = HV_MIN(at, CONTAINER_OF(sleepers.next, struct thread, sleep_link)->deadline);
    if (cpu->alarm)
        at = HV_MIN(at, cpu->alarm);
    return at;
}

#define LATE_NS (100 * NS_PER_MS)

/*
 * QEMU's TCG loses the news of an interrupt now and then that reaches a CPU in the midst of VMRUN or #VMEXIT, which
 * change its flags of what is pending without a lock: the local APIC has the interrupt in IRR, and the CPU hears of it
 * with the next one. When it was the timer's there may be no next one: a guest that does not exit has the CPU for good.
 * So one that is this late gets an interrupt from here. Not with each alarm, of which there may be many; nor by slices,
 * which begin anew with each switch, and may never end.
 */
static void remind_late(struct cpu *self, uint64_t now)
{
    if (now < self->reminds_at)
        return;
    self->reminds_at = now + SLICE_NS;
    for (uint32_t i = 0; i < cpu_count(); i++) {
        struct cpu *cpu = cpu_get(i);
        uint64_t at = __atomic_load_n(&cpu->timer_at, __ATOMIC_RELAXED);

        if (cpu == self || !cpu->online || now < LATE_NS || HV_MAX(at, cpu->reminded) > now - LATE_NS)
            continue;
        cpu->reminded = now;
        apic_send(cpu->apic_id, VECTOR_TIMER);
    }
}

static void wake_expired(uint64_t now)
{
    while (!hv_list_empty(&sleepers)) {
        struct thread *t = CONTAINER_OF(sleepers.next, struct thread, sleep_link);

        if (t->deadline > now)
            return;
        sched_wake(t);
    }
}

static void timer_interrupt(void)
{
    uint64_t flags = sched_lock();
    struct cpu *cpu = this_cpu();
    uint64_t now = clock_ns();

    wake_expired(now);
    remind_late(cpu, now);
    if (now >= cpu->alarm)
        cpu->alarm = 0; /* this interrupt is what it was for */
    if (now >= cpu->slice_end) {
        if (first_ready(cpu))
            cpu->need_resched = 1;
        cpu->slice_end = now + SLICE_NS;
    }
    timer_program(cpu, timer_wanted(cpu, now), now);
    sched_unlock(flags);
}

/* The CPU's own data, like timer_at: interrupts off are enough. */
void sched_set_alarm(uint64_t at_ns)
{
    uint64_t flags = irq_save();
    struct cpu *cpu = this_cpu();

    cpu->alarm = at_ns;
    if (at_ns && at_ns < cpu->timer_at)
        timer_program(cpu, at_ns, clock_ns());
    irq_restore(flags);
}

/* ------------------------------------------------------------------------- ready and sleeping */

static bool is_in(uint64_t cpus, uint32_t id)
{
    return id < CPU_MAX && (cpus & BIT64(id));
}

static uint32_t first_of(uint64_t cpus)
{
    return (uint32_t)__builtin_ctzll(cpus);
}

static uint64_t common_cpus(void)
{
    return BITS64(cpu_count() - 1, 0) & ~spared_cpus;
}

/* The CPU to tell about a thread that became ready: where it must run, else an idle one, the last one if possible. */
static uint32_t choose_cpu(const struct thread *t)
{
    uint64_t common = common_cpus(), idle = idle_cpus & common;
    uint32_t last = t->last_cpu != CPU_ANY ? t->last_cpu : this_cpu()->id;

    if (t->pin != CPU_ANY)
        return t->pin;
    if (idle && !is_in(idle, t->last_cpu))
        return first_of(idle);
    return is_in(common, last) ? last : first_of(common);
}

static void tell(struct cpu *cpu)
{
    idle_cpus &= ~BIT64(cpu->id); /* the next thread that becomes ready goes to another one */
    cpu->need_resched = 1;
    if (cpu != this_cpu())
        apic_send(cpu->apic_id, VECTOR_RESCHEDULE);
}

void sched_ready(struct thread *t)
{
    t->state = THREAD_READY;
    hv_list_add_tail(&ready, &t->link);
    tell(cpu_get(choose_cpu(t)));
}

void sched_wake(struct thread *t)
{
    hv_list_remove(&t->link);
    hv_list_remove(&t->sleep_link);
    t->waiting_on = NULL;
    sched_ready(t);
}

static void sleepers_add(struct thread *t)
{
    struct hv_list *after = sleepers.prev;

    while (after != &sleepers && CONTAINER_OF(after, struct thread, sleep_link)->deadline > t->deadline)
        after = after->prev;
    hv_list_add_tail(after->next, &t->sleep_link);
}

void sched_block(uint64_t deadline_ns)
{
    struct thread *t = this_cpu()->current;

    if (preempt_count())
        panic("thread %s sleeps with preemption disabled", t->name);
    t->state = THREAD_BLOCKED;
    t->deadline = deadline_ns;
    if (deadline_ns)
        sleepers_add(t);
    sched_switch();
}

/* ---------------------------------------------------------------------------------- switching */

static struct thread *pick(struct cpu *cpu)
{
    struct thread *t = first_ready(cpu);

    if (!t) {
        idle_cpus |= BIT64(cpu->id);
        return cpu->idle;
    }
    idle_cpus &= ~BIT64(cpu->id);
    hv_list_remove(&t->link);
    return t;
}

static void count_migration(struct thread *t, uint32_t cpu)
{
    if (t->last_cpu != CPU_ANY && t->last_cpu != cpu)
        t->migrations++;
    t->last_cpu = cpu;
}

/* What a thread does first when it runs again, perhaps on another CPU. */
static void arrive(void)
{
    struct cpu *cpu = this_cpu();

    if (cpu->current != cpu->idle)
        fpu_restore(fpu_area(cpu->current));
}

void sched_switch(void)
{
    struct cpu *cpu = this_cpu();
    struct thread *prev = cpu->current, *next = pick(cpu);
    uint64_t now = clock_ns(), wanted;

    cpu->need_resched = 0;
    cpu->current = next;
    cpu->slice_end = now + SLICE_NS;
    wanted = timer_wanted(cpu, now);
    if (wanted < cpu->timer_at)
        timer_program(cpu, wanted, now);
    next->state = THREAD_RUNNING;
    count_migration(next, cpu->id);
    if (next == prev)
        return;
    if (on_leave)
        on_leave();
    if (prev != cpu->idle && prev->state != THREAD_DEAD)
        fpu_save(fpu_area(prev));
    switch_stack(&prev->rsp, next->rsp);
    arrive();
}

/* A new thread's first C function, called with the lock held. */
void thread_begin(void)
{
    struct thread *t;

    arrive();
    t = this_cpu()->current;
    sched_unlock(RFLAGS_IF);
    t->entry(t->arg);
    thread_exit();
}

void sched_preempt(void)
{
    if (!preempt_count() && irq_enabled())
        sched_give_way();
}

void sched_give_way(void)
{
    uint64_t flags = sched_lock();
    struct cpu *cpu = this_cpu();

    cpu->need_resched = 0;
    if (cpu->current == cpu->idle) {
        sched_switch(); /* with nothing ready too: the CPU is marked as idle again, and its timer set */
    } else if (first_ready(cpu)) {
        sched_ready(cpu->current);
        sched_switch();
    }
    sched_unlock(flags);
}

/* The interrupt is all there is to it: on its way out trap_dispatch looks at need_resched. */
static void reschedule_interrupt(void)
{
}

_Noreturn void sched_idle(void *arg)
{
    (void)arg;
    for (;;) {
        __asm__ volatile("cli" ::: "memory");
        if (this_cpu()->need_resched) {
            __asm__ volatile("sti" ::: "memory");
            sched_preempt();
        } else {
            __asm__ volatile("sti; hlt" ::: "memory"); /* STI holds interrupts back until HLT has begun */
        }
    }
}

uint32_t thread_cpus(void)
{
    return (uint32_t)__builtin_popcountll(common_cpus());
}

uint32_t thread_cpu(uint32_t n)
{
    uint64_t cpus = common_cpus();

    for (n %= thread_cpus(); n--;)
        cpus &= cpus - 1;
    return first_of(cpus);
}

void sched_spare(uint32_t id)
{
    uint64_t flags = sched_lock();
    struct cpu *cpu = this_cpu();

    spared_cpus |= BIT64(id);
    if (!may_run_on(cpu->current, cpu)) {
        sched_ready(cpu->current);
        sched_switch();
    }
    sched_unlock(flags);
}

void sched_on_leave(void (*fn)(void))
{
    __atomic_store_n(&on_leave, fn, __ATOMIC_RELEASE);
}

void sched_init(void)
{
    struct cpu *cpu = cpu_get(0);
    struct thread *boot = thread_alloc("boot", NULL, NULL, CPU_ANY);

    cpu->idle = thread_alloc("idle/0", sched_idle, NULL, 0);
    if (!boot || !cpu->idle)
        panic("no memory for the first threads");
    boot->state = THREAD_RUNNING;
    boot->last_cpu = 0;
    cpu->current = boot;
    cpu->timer_at = ~0ull;
    trap_kernel_vector(VECTOR_TIMER, timer_interrupt);
    trap_kernel_vector(VECTOR_RESCHEDULE, reschedule_interrupt);
}
