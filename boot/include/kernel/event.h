/* SPDX-License-Identifier: MIT */
/*
 * Events: what threads wait for and anybody signals. A HANDLE of the library's API is one.
 *
 * Handles are numbers, never followed as pointers: a wrong one, or one that was closed, is answered with false or 0.
 * An event lives until its handle is closed and nobody uses it any more.
 */
#ifndef KERNEL_EVENT_H
#define KERNEL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_kind {
    EVENT_AUTO,   /* a signal lets one wait end */
    EVENT_MANUAL, /* all waits end, until event_reset */
};

/* Not signalled. NULL: no memory, or too many events. Any context but NMI. */
void *event_create(enum event_kind kind);

/*
 * No new use by this handle. Who waits still goes on waiting: for a signal from those who had the event before. Any
 * context but NMI.
 */
bool event_close(void *handle);

bool event_signal(void *handle); /* any context but NMI */
bool event_reset(void *handle);  /* the same */

/* True: it was signalled. False: not until the deadline (clock_ns time, 0: none), or no such event. Thread context. */
bool event_wait(void *handle, uint64_t deadline_ns);

uint64_t event_signals(void *handle); /* how often it was signalled so far. Any context but NMI */

/* Events that are there, open ones and those that are still in use. */
size_t events_used(void);

#endif
