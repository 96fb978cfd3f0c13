/* SPDX-License-Identifier: MIT */
/*
 * Numbers by chance (splitmix64) for tests: the same from run to run, unless SEED=n in the environment says otherwise.
 */
#ifndef RANDOM_TEST_H
#define RANDOM_TEST_H

#include <stdint.h>
#include <stdlib.h>

static uint64_t random_state;

/* Begins a series; returns the seed, for messages. */
static inline uint64_t random_start(void)
{
    const char *text = getenv("SEED");

    return random_state = text && *text ? strtoull(text, NULL, 0) : 20261121;
}

static inline uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline uint64_t rnd(uint64_t below)
{
    return random_u64() % below;
}

#endif
