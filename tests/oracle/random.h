/* SPDX-License-Identifier: MIT */
/* xorshift64*: the same numbers on every machine from the same seed. */
#ifndef ORACLE_RANDOM_H
#define ORACLE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

extern uint64_t oracle_random_state;

static inline uint64_t oracle_random(void)
{
    uint64_t x = oracle_random_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    oracle_random_state = x;
    return x * 0x2545F4914F6CDD1Dull;
}

/* below n, n not 0 */
static inline uint64_t oracle_below(uint64_t n)
{
    return (oracle_random() >> 8) % n;
}

static inline bool oracle_percent(unsigned n)
{
    return oracle_below(100) < n;
}

#endif
