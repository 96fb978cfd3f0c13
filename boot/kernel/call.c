/* SPDX-License-Identifier: MIT */
/* Calls between CPUs: requests pushed to a list of the target's, which takes the whole list at once in an interrupt. */
#include "call.h"
#include "apic.h"
#include "percpu.h"
#include "sched.h"
#include "trap_internal.h"
#include <kernel/exit.h>

struct cpu_request {
    void (*fn)(void *arg);
    void *arg;
    struct cpu_request *next;
    uint32_t done; /* atomic; the request is the caller's stack again once it is set */
};

/* Oldest first: the list comes with the newest at its head. */
static struct cpu_request *reverse(struct cpu_request *list)
{
    struct cpu_request *out = NULL;

    while (list) {
        struct cpu_request *next = list->next;

        list->next = out;
        out = list;
        list = next;
    }
    return out;
}

/* Interrupts are off. */
static void serve(void)
{
    struct cpu_request *r = reverse(__atomic_exchange_n(&this_cpu()->requests, NULL, __ATOMIC_ACQUIRE));

    while (r) {
        struct cpu_request *next = r->next;

        r->fn(r->arg);
        __atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
        r = next;
    }
}

void call_init(void)
{
    trap_kernel_vector(VECTOR_CALL, serve);
}

static void push(struct cpu *cpu, struct cpu_request *r)
{
    r->next = __atomic_load_n(&cpu->requests, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&cpu->requests, &r->next, r, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    apic_send(cpu->apic_id, VECTOR_CALL);
}

/* While it waits the caller answers calls to itself: by interrupt or, were interrupts off against the rules, here. */
static void remote(struct cpu *cpu, void (*fn)(void *arg), void *arg)
{
    struct cpu_request r = {.fn = fn, .arg = arg};

    push(cpu, &r);
    while (!__atomic_load_n(&r.done, __ATOMIC_ACQUIRE)) {
        if (!irq_enabled())
            serve();
        cpu_relax();
    }
}

void cpu_call(uint32_t id, void (*fn)(void *arg), void *arg)
{
    struct cpu *cpu = cpu_get(id);

    if (!cpu)
        panic("cpu_call: no CPU %u", id);
    preempt_disable();
    if (cpu == this_cpu()) {
        uint64_t flags = irq_save();

        fn(arg);
        irq_restore(flags);
    } else {
        remote(cpu, fn, arg);
    }
    preempt_enable();
}

void cpu_call_all(void (*fn)(void *arg), void *arg)
{
    for (uint32_t i = 0; i < cpu_count(); i++)
        cpu_call(i, fn, arg);
}

void cpu_kick(uint32_t id)
{
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_get(id);

    if (cpu && cpu != this_cpu())
        apic_send(cpu->apic_id, VECTOR_RESCHEDULE);
    irq_restore(flags);
}

void preempt_disable(void)
{
    preempt_count_add(1);
}

void preempt_enable(void)
{
    preempt_count_add(-1);
    if (!preempt_count() && this_cpu()->need_resched)
        sched_preempt();
}
