/* SPDX-License-Identifier: MIT */
/* A field is a mask: #define QUAL_IO_PORT BITS64(31, 16), read by FIELD_GET(QUAL_IO_PORT, qual). */
#ifndef HV_BASE_BITS_H
#define HV_BASE_BITS_H

#include <stddef.h>
#include <stdint.h>

#define BIT32(n) (1u << (n))
#define BIT64(n) (1ull << (n))

/* bits hi..lo, both included */
#define BITS64(hi, lo) ((~0ull >> (63 - (hi))) & (~0ull << (lo)))
#define BITS32(hi, lo) ((uint32_t)BITS64(hi, lo))

/* the mask must not be 0; with constant masks both compile to a shift and an AND */
#define FIELD_GET(mask, value) (((uint64_t)(value) & (mask)) >> __builtin_ctzll(mask))
#define FIELD_PUT(mask, value) (((uint64_t)(value) << __builtin_ctzll(mask)) & (mask))

#define ARRAY_COUNT(a)        (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a)      ((x) & ~((a)-1))
#define ALIGN_UP(x, a)        (((x) + ((a)-1)) & ~((a)-1))
#define IS_ALIGNED(x, a)      (((x) & ((a)-1)) == 0)
#define CONTAINER_OF(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

#define HV_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HV_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
