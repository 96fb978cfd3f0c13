/* SPDX-License-Identifier: MIT */
/* Bytes and strings of files and of the guest: numbers at any alignment, and the few string functions needed. */
#ifndef VMM_BYTES_H
#define VMM_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------------- little-endian numbers */

static inline uint16_t bytes_get16(const void *p)
{
    uint16_t v;

    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t bytes_get32(const void *p)
{
    uint32_t v;

    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t bytes_get64(const void *p)
{
    uint64_t v;

    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline void bytes_put16(void *p, uint16_t v)
{
    __builtin_memcpy(p, &v, sizeof(v));
}

static inline void bytes_put32(void *p, uint32_t v)
{
    __builtin_memcpy(p, &v, sizeof(v));
}

static inline void bytes_put64(void *p, uint64_t v)
{
    __builtin_memcpy(p, &v, sizeof(v));
}

static inline uint64_t bytes_align_up(uint64_t value, uint64_t alignment) /* a power of two */
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* Do [a, a + a_size) and [b, b + b_size) have a byte in common? Neither wraps around. */
static inline bool bytes_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a_size && b_size && a < b + b_size && b < a + a_size;
}

/* --------------------------------------------------------------------------------------- strings */

static inline size_t text_length(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

static inline bool text_begins(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return false;
    return true;
}

static inline bool text_equal(const char *a, const char *b)
{
    return text_begins(a, b) && text_length(a) == text_length(b);
}

/* The place of the first `part` in s, NULL: it is not there. */
static inline const char *text_find(const char *s, const char *part)
{
    for (; *s; s++)
        if (text_begins(s, part))
            return s;
    return NULL;
}

/* Copies as much as fits with its end mark; true: all of it did. */
static inline bool text_copy(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; from[n] && n + 1 < size; n++)
        to[n] = from[n];
    to[n] = '\0';
    return !from[n];
}

#endif
