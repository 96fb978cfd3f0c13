/* SPDX-License-Identifier: MIT */
#include "sched.h"
#include "stack.h"
#include <kernel/clock.h>
#include <kernel/string.h>

extern char thread_entry[];

/* callee-saved registers that switch_stack pops */
#define SAVED_REGISTERS 6

/* The stack as switch_stack leaves it: registers of zero, then the address to return to. */
static uint64_t first_rsp(void *stack)
{
    uint64_t *top = (uint64_t *)((char *)stack + STACK_SIZE);

    *--top = (uintptr_t)thread_entry;
    for (unsigned i = 0; i < SAVED_REGISTERS; i++)
        *--top = 0;
    return (uintptr_t)top;
}

struct thread *thread_alloc(const char *name, void (*entry)(void *arg), void *arg, uint32_t cpu)
{
    struct thread *t = page_alloc();

    if (!t)
        return NULL;
    t->entry = entry;
    t->arg = arg;
    t->pin = cpu;
    t->last_cpu = CPU_ANY;
    hv_list_init(&t->link);
    hv_list_init(&t->sleep_link);
    string_copy(t->name, sizeof(t->name), name, strlen(name));
    fpu_reset((char *)t + THREAD_FPU_OFFSET);
    if (!entry)
        return t;
    t->stack = stack_alloc();
    if (!t->stack) {
        page_free(t);
        return NULL;
    }
    t->rsp = first_rsp(t->stack);
    return t;
}

void thread_free(struct thread *t)
{
    if (t->stack)
        stack_free(t->stack);
    page_free(t);
}

struct thread *thread_create(const char *name, void (*entry)(void *arg), void *arg, uint32_t cpu)
{
    struct thread *t;
    uint64_t flags;

    if (cpu != CPU_ANY && cpu >= cpu_count())
        return NULL;
    t = thread_alloc(name, entry, arg, cpu);
    if (!t)
        return NULL;
    flags = sched_lock();
    sched_ready(t);
    sched_unlock(flags);
    return t;
}

_Noreturn void thread_exit(void)
{
    struct thread *t;

    (void)sched_lock();
    t = this_cpu()->current;
    t->done = 1;
    wait_wake_locked(&t->done);
    t->state = THREAD_DEAD;
    sched_switch();
    __builtin_unreachable();
}

void thread_join(struct thread *t)
{
    while (!t->done)
        thread_wait(&t->done, 0, 0);
    sched_unlock(sched_lock()); /* it may still be leaving: with the lock free it has left its stack */
    thread_free(t);
}

void thread_yield(void)
{
    sched_preempt();
}

void thread_sleep_until(uint64_t time_ns)
{
    while (clock_ns() < time_ns) {
        uint64_t flags = sched_lock();

        sched_block(time_ns);
        sched_unlock(flags);
    }
}

void thread_sleep_ns(uint64_t ns)
{
    thread_sleep_until(clock_ns() + ns);
}

struct thread *thread_current(void)
{
    struct thread *t;

    __asm__ volatile("movq %%gs:%c1, %0" : "=r"(t) : "i"(offsetof(struct cpu, current)));
    return t;
}

const char *thread_name(const struct thread *t)
{
    return t ? t->name : "(none)";
}

uint64_t thread_migrations(const struct thread *t)
{
    return __atomic_load_n(&t->migrations, __ATOMIC_RELAXED);
}

bool thread_set_cpu(uint32_t cpu)
{
    uint64_t flags;
    struct thread *t;

    if (cpu != CPU_ANY && cpu >= cpu_count())
        return false;
    flags = sched_lock();
    t = this_cpu()->current;
    t->pin = cpu;
    if (cpu != CPU_ANY && cpu != this_cpu()->id) {
        sched_ready(t);
        sched_switch();
    }
    sched_unlock(flags);
    return true;
}
