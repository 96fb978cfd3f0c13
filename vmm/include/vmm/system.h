/* SPDX-License-Identifier: MIT */
/*
 * What the VMM asks of the system it runs in, beside the WHP API: memory, threads, a clock, a console and its input,
 * the files it was started with. In the image,
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

/*
 * Sleeps while *word == expected, until system_wake on it, for at most so many microseconds (SYSTEM_FOREVER: no limit);
 * may return early.
 */
#define SYSTEM_FOREVER UINT64_MAX
void system_wait(const volatile uint32_t *word, uint32_t expected, uint64_t microseconds);
void system_wake(const volatile uint32_t *word); /* all who sleep on it */

/*
 * Events: the HANDLEs that the WHP API takes, and those that it gives, which are closed like one's own. NULL: no
 * memory. A signal lets one wait end; those that come before the next wait count as one. False: none came within so
 * many microseconds.
 */
void *system_event_create(void);
void system_event_set(void *event);
bool system_event_wait(void *event, uint64_t microseconds);
void system_event_close(void *event);

uint64_t system_time_ns(void);      /* since some moment before the start; never runs backwards */
uint64_t system_wall_seconds(void); /* since 1970, UTC */

/* CPUs and free memory of the machine. */
uint32_t system_cpu_count(void);
uint64_t system_memory_free_bytes(void);

/* ------------------------------------------------------------------------ console */

/* Bytes as they are, no line buffer: a guest's output. */
void system_console_write(const char *data, size_t length);

/*
 * One byte that was typed, waiting for it at most so many microseconds; -1: none came. A machine without input waits
 * the time out.
 */
int system_console_read(uint64_t microseconds);

/* ------------------------------------------------------------------------ what it was started with */

/* A file that was loaded with the program: read-only, page-aligned, there for the whole run. */
struct system_file {
    const uint8_t *data;
    size_t size;
    const char *arguments; /* what stands behind its name, "" for nothing */
};
/* The n-th file of this name, from 0. False: there is none. */
bool system_file_find(const char *name, uint32_t n, struct system_file *file);

/*
 * The value of the option name=value the program was started with. False: not given. A value that is longer than size
 * - 1 is cut. system_option_at: the n-th option, "name" or "name=value", whole; for finding unknown ones.
 */
bool system_option(const char *name, char *value, size_t size);
bool system_option_at(uint32_t n, char *option, size_t size);

#endif
