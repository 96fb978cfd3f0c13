/* SPDX-License-Identifier: MIT */
/*
 * What the VMM asks of the system it runs in, beside the WHP API: memory, threads and a console. In the image,
 * boot/programs/vmm.c gives it; on another system a file of the same length would.
 */
#ifndef VMM_SYSTEM_H
#define VMM_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYSTEM_PAGE_SIZE 4096u

/* The machine in words, one line: "Bochs, started by BIOS multiboot2, 2 CPUs". */
const char *system_machine(void);

/* What the hypervisor uses of this CPU, or why there is none, one line. */
const char *system_hypervisor(void);

/* printf's %s %c %d %u %x %p, with width and the lengths l, ll and z. */
void system_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Page-aligned zeroed memory, fit for WHvMapGpaRange; NULL when there is none. */
void *system_memory_alloc(size_t size);
void system_memory_free(void *memory, size_t size);

/* A thread that runs fn(arg); NULL when there is no memory. Each is joined once. */
struct system_thread;
struct system_thread *system_thread_start(const char *name, void (*fn)(void *arg), void *arg);
void system_thread_join(struct system_thread *thread);

/* Sleeps while *word == expected, for at most so many milliseconds; may return early. */
void system_wait(const volatile uint32_t *word, uint32_t expected, uint32_t milliseconds);
void system_wake(const volatile uint32_t *word);

uint64_t system_time_us(void);

#endif
