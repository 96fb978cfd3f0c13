/* SPDX-License-Identifier: MIT */
/* Time since boot, never running backwards, the same on all CPUs. Any context. */
#ifndef KERNEL_CLOCK_H
#define KERNEL_CLOCK_H

#include <stdint.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

uint64_t clock_ns(void);
uint64_t clock_tsc_hz(void);
uint64_t clock_wall_seconds(void); /* since 1970, UTC */
void clock_delay_ns(uint64_t ns);  /* busy waiting; thread_sleep_ns is the polite way */

#endif
