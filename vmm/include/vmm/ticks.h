/* SPDX-License-Identifier: MIT */
/*
 * Machine time in the ticks of a device's clock, and back. Without 128-bit arithmetic, which would need a library:
 * for all 64-bit times, and frequencies up to 4 GHz.
 */
#ifndef VMM_TICKS_H
#define VMM_TICKS_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ull

/* Whole ticks that have passed after so many nanoseconds. */
static inline uint64_t ticks_of_ns(uint64_t ns, uint32_t hz)
{
    return ns / NS_PER_SECOND * hz + ns % NS_PER_SECOND * hz / NS_PER_SECOND;
}

/* The first nanosecond at which so many ticks have passed; UINT64_MAX when that is beyond all times. */
static inline uint64_t ns_of_ticks(uint64_t ticks, uint32_t hz)
{
    uint64_t seconds = ticks / hz, rest = (ticks % hz * NS_PER_SECOND + hz - 1) / hz;

    return seconds >= UINT64_MAX / NS_PER_SECOND ? UINT64_MAX : seconds * NS_PER_SECOND + rest;
}

#endif
