/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: one queue of ready threads for all CPUs, first come first served. One lock guards the queue, the
 * sleepers, the wait buckets and every thread's state; it is held across a switch and released by the thread that is
 * switched to, so that nobody can take up a thread whose registers are not saved yet.
 */
#ifndef BOOT_KERNEL_SCHED_H
#define BOOT_KERNEL_SCHED_H

#include "fpu.h"
#include "percpu.h"
#include <hv/base/list.h>
#include <kernel/memory.h>
#include <kernel/thread.h>

enum thread_state {
    THREAD_READY,
    THREAD_RUNNING,
    THREAD_BLOCKED,
    THREAD_DEAD,
};

struct thread {
    /* fixed at creation */
    void (*entry)(void *arg);
    void *arg;
    void *stack; /* NULL: not from stack_alloc */
    char name[24];

    /* the scheduler's lock */
    struct hv_list link;       /* ready queue, or wait bucket */
    struct hv_list sleep_link; /* sleepers */
    enum thread_state state;
    uint64_t rsp; /* while not running */
    uint32_t pin; /* the only CPU it may run on, or CPU_ANY */
    uint32_t last_cpu;
    uint64_t deadline; /* while in sleepers */
    const volatile uint32_t *waiting_on;

    uint64_t migrations;    /* written by the scheduler, read by anyone */
    volatile uint32_t done; /* thread_join waits on it */
};

/* One page a thread: the structure, then its FPU state. */
#define THREAD_FPU_OFFSET 512
#define THREAD_FPU_ROOM   (PAGE_SIZE - THREAD_FPU_OFFSET)

_Static_assert(sizeof(struct thread) <= THREAD_FPU_OFFSET && THREAD_FPU_OFFSET % FPU_ALIGN == 0, "one page a thread");

/* The first CPU's boot stack becomes thread "boot"; interrupts may be turned on afterwards. */
void sched_init(void);

/* Keeps threads off that CPU, but those that are pinned to it; the caller leaves it too. Another CPU has to be there.
 */
void sched_spare(uint32_t cpu);

/* The endless loop of an idle thread: another CPU's first thread is its idle thread. */
_Noreturn void sched_idle(void *arg);

uint64_t sched_lock(void);
void sched_unlock(uint64_t flags);

/* The following with the lock held. */
void sched_ready(struct thread *t);     /* queues it and sees to it that a CPU takes notice */
void sched_wake(struct thread *t);      /* a blocked thread: out of all lists, then ready */
void sched_block(uint64_t deadline_ns); /* the calling thread sleeps until sched_wake or the deadline (0: none) */
void sched_switch(void); /* leaves the calling thread, whose state says why; returns when it runs again */

/* Lets another thread run if one waits for this CPU. Any context; does nothing with interrupts or preemption off. */
void sched_preempt(void);
void sched_give_way(void); /* the same without the question: at the end of an interrupt, whose own flags say off */

/*
 * From now on fn is called, with interrupts off, on a CPU that is about to leave its thread for another one: before the
 * thread's FPU registers are saved.
 */
void sched_on_leave(void (*fn)(void));

/* This CPU takes an interrupt soon after that time (clock_ns), once; 0 calls it off. One alarm a CPU: the last. Pinned.
 */
void sched_set_alarm(uint64_t at_ns);

/* A thread that is nowhere queued. NULL without memory. */
struct thread *thread_alloc(const char *name, void (*entry)(void *arg), void *arg, uint32_t cpu);
void thread_free(struct thread *t);

/* wait.c: wakes who sleeps on the word, with the lock held. */
void wait_wake_locked(const volatile uint32_t *word);

#endif
