/* SPDX-License-Identifier: MIT */
/* The four functions of the C library that a freestanding compiler may call; the host supplies them. */
#ifndef HV_BASE_MEMORY_H
#define HV_BASE_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
