/* SPDX-License-Identifier: MIT */
/* Bitmaps of 64-bit words. */
#ifndef HV_BASE_BITMAP_H
#define HV_BASE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define HV_BITMAP_WORDS(bits) (((bits) + 63) / 64)

static inline bool hv_bitmap_test(const uint64_t *map, uint32_t bit)
{
    return map[bit / 64] >> (bit % 64) & 1;
}

static inline void hv_bitmap_set(uint64_t *map, uint32_t bit)
{
    map[bit / 64] |= 1ull << (bit % 64);
}

static inline void hv_bitmap_clear(uint64_t *map, uint32_t bit)
{
    map[bit / 64] &= ~(1ull << (bit % 64));
}

/* The lowest clear bit at or above `from`, or `bits` when all of them are set. */
static inline uint32_t hv_bitmap_find_clear(const uint64_t *map, uint32_t bits, uint32_t from)
{
    while (from < bits) {
        uint64_t free = ~map[from / 64] & (~0ull << (from % 64));

        if (free) {
            from = from / 64 * 64 + (uint32_t)__builtin_ctzll(free);
            return from < bits ? from : bits;
        }
        from = (from / 64 + 1) * 64;
    }
    return bits;
}

#endif
