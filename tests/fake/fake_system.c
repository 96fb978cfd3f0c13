/* SPDX-License-Identifier: MIT */
/* The VMM's system on the desk: pthreads, the C library's memory (which finds leaks), and the console as a buffer. */
#include "fake_system.h"
#include "fake.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vmm/system.h>

struct fake_system fake_system;

void fake_system_reset(void)
{
    memset(&fake_system, 0, sizeof(fake_system));
}

void system_print(const char *fmt, ...)
{
    size_t length = strlen(fake_system.printed);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(fake_system.printed + length, sizeof(fake_system.printed) - length, fmt, ap);
    va_end(ap);
}

const char *system_machine(void)
{
    return "a desk";
}

const char *system_hypervisor(void)
{
    return "none";
}

/* -------------------------------------------------------------------------------------- memory */

void *system_memory_alloc(size_t size)
{
    size_t whole = (size + SYSTEM_PAGE_SIZE - 1) / SYSTEM_PAGE_SIZE * SYSTEM_PAGE_SIZE;
    void *memory;

    if (fake_system.allocations_left && --fake_system.allocations_left == 0)
        return NULL;
    memory = aligned_alloc(SYSTEM_PAGE_SIZE, whole);
    if (!memory)
        return NULL;
    memset(memory, 0, whole);
    __atomic_fetch_add(&fake_system.memory_used, size, __ATOMIC_RELAXED);
    return memory;
}

void system_memory_free(void *memory, size_t size)
{
    if (memory)
        __atomic_fetch_sub(&fake_system.memory_used, size, __ATOMIC_RELAXED);
    free(memory);
}

uint64_t system_memory_free_bytes(void)
{
    return 1ull << 30;
}

uint32_t system_cpu_count(void)
{
    return 2;
}

/* ------------------------------------------------------------------------------ threads, waiting */

struct system_thread {
    pthread_t thread;
    void (*fn)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct system_thread *thread = arg;

    thread->fn(thread->arg);
    return NULL;
}

struct system_thread *system_thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
    struct system_thread *thread = calloc(1, sizeof(*thread));

    (void)name;
    if (!thread)
        return NULL;
    thread->fn = fn;
    thread->arg = arg;
    if (pthread_create(&thread->thread, NULL, thread_main, thread) == 0)
        return thread;
    free(thread);
    return NULL;
}

void system_thread_join(struct system_thread *thread)
{
    pthread_join(thread->thread, NULL);
    free(thread);
}

/* One queue for all words: who is woken looks at his word again. */
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue = PTHREAD_COND_INITIALIZER;

/* At most a minute, which ends a test: early returns are allowed, and no sum overflows. */
void system_wait(const volatile uint32_t *word, uint32_t expected, uint64_t microseconds)
{
    uint64_t ns = (microseconds < 60000000 ? microseconds : 60000000) * 1000;
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&queue_lock);
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == expected)
        pthread_cond_timedwait(&queue, &queue_lock, &until);
    pthread_mutex_unlock(&queue_lock);
}

void system_wake(const volatile uint32_t *word)
{
    (void)word;
    pthread_mutex_lock(&queue_lock);
    pthread_cond_broadcast(&queue);
    pthread_mutex_unlock(&queue_lock);
}

uint64_t system_time_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t system_wall_seconds(void)
{
    return (uint64_t)time(NULL);
}

/* Events are the fake host's, so that the library knows them too. */
void *system_event_create(void)
{
    return fake_event_create();
}

void system_event_set(void *event)
{
    fake_event_signal(event);
}

bool system_event_wait(void *event, uint64_t microseconds)
{
    uint64_t start = system_time_ns();

    while (!fake_event_take(event)) {
        if ((system_time_ns() - start) / 1000 >= microseconds)
            return false;
        usleep(100);
    }
    return true;
}

void system_event_close(void *event)
{
    fake_event_close(event);
}

/* -------------------------------------------------------------------- console, files and options */

void system_console_write(const char *data, size_t length)
{
    size_t room = sizeof(fake_system.console) - fake_system.console_length;

    if (length > room)
        length = room;
    memcpy(fake_system.console + fake_system.console_length, data, length);
    fake_system.console_length += length;
}

int system_console_read(uint64_t microseconds)
{
    (void)microseconds;
    return fake_system.typed && *fake_system.typed ? (uint8_t)*fake_system.typed++ : -1;
}

bool system_file_find(const char *name, uint32_t n, struct system_file *file)
{
    for (size_t i = 0; i < fake_system.file_count; i++)
        if (strcmp(fake_system.files[i].name, name) == 0 && n-- == 0) {
            *file = fake_system.files[i].file;
            return true;
        }
    return false;
}

bool system_option_at(uint32_t n, char *option, size_t size)
{
    if (n >= fake_system.option_count || !size)
        return false;
    snprintf(option, size, "%s", fake_system.options[n]);
    return true;
}

bool system_option(const char *name, char *value, size_t size)
{
    size_t length = strlen(name);

    for (size_t i = 0; size && i < fake_system.option_count; i++)
        if (strncmp(fake_system.options[i], name, length) == 0 && fake_system.options[i][length] == '=') {
            snprintf(value, size, "%s", fake_system.options[i] + length + 1);
            return true;
        }
    return false;
}
