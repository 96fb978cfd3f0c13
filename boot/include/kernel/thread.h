/* SPDX-License-Identifier: MIT */
/* Preemptive kernel threads, and sleeping on a word. */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct thread;

/*
 * Starts entry(arg) on that CPU only, or on any (CPU_ANY), where it may move from CPU to CPU at each preemption. NULL
 * when there is no memory. The thread ends when entry returns or by thread_exit; its memory is held until thread_join.
 * Stack: 32 KiB with a guard page below. The FPU and vector registers are the thread's own; one that has run a virtual
 * processor calls hv_cpu_give_back, with interrupts off, before it uses them again.
 */
struct thread *thread_create(const char *name, void (*entry)(void *arg), void *arg, uint32_t cpu);

_Noreturn void thread_exit(void);
void thread_join(struct thread *t); /* waits for its end and frees it; once per thread */

void thread_yield(void);
void thread_sleep_ns(uint64_t ns);
void thread_sleep_until(uint64_t time_ns); /* clock_ns time */

struct thread *thread_current(void);
const char *thread_name(const struct thread *t);

/* The CPUs that threads without one of their own run on: how many, and the n-th of them, n modulo that number. */
uint32_t thread_cpus(void);
uint32_t thread_cpu(uint32_t n);

/* Moves the calling thread to that CPU, where it stays; CPU_ANY sets it free again. False when there is no such CPU. */
bool thread_set_cpu(uint32_t cpu);

/* How many times this thread began to run on another CPU than the last time. */
uint64_t thread_migrations(const struct thread *t);

/*
 * Sleeps while *word == expected, until thread_wake on the same word or the deadline (clock_ns time, 0: none). May
 * return early for no reason. Thread context.
 */
void thread_wait(const volatile uint32_t *word, uint32_t expected, uint64_t deadline_ns);
void thread_wake(const volatile uint32_t *word); /* all who sleep on it. Any context but NMI */

#endif
