/* SPDX-License-Identifier: MIT */
/* What the fuzzers share: the fuzzer's bytes, taken from the front; zeros when there are no more. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_input {
    const uint8_t *at, *end;
};

static inline void fuzz_take(struct fuzz_input *in, void *to, size_t size)
{
    size_t there = (size_t)(in->end - in->at);

    if (there > size)
        there = size;
    memset(to, 0, size);
    if (there)
        memcpy(to, in->at, there);
    in->at += there;
}

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    uint8_t byte;

    fuzz_take(in, &byte, 1);
    return byte;
}

/* Registers: a byte, sign-extended, or all eight bytes. */
static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
    uint8_t kind = fuzz_byte(in);
    uint64_t value;

    if (kind < 192)
        return (uint64_t)(int64_t)(int8_t)kind << (kind % 3 * 8);
    fuzz_take(in, &value, sizeof value);
    return value;
}

/* What memory and ports hold: the same at the same address. */
static inline uint64_t fuzz_value(uint64_t address)
{
    return (address ^ address >> 29) * 0x9E3779B97F4A7C15ull;
}

#define FUZZ_ASSERT(condition)                                                      \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
