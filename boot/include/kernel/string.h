/* SPDX-License-Identifier: MIT */
/* The few string functions that a freestanding program needs. */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);

/* Copies with a final NUL, cutting what does not fit; returns true when all of it fitted. */
bool string_copy(char *to, size_t size, const char *from, size_t length);

/*
 * In text made of words ("program=selftest quiet"), the word `name` or `name=value`: true when it is there, its value
 * (up to the next space, "" for a bare word) copied to value unless that is NULL.
 */
bool word_find(const char *text, const char *name, char *value, size_t size);

/* The n-th word of the text, from 0, cut to size - 1 characters; false: it has no more than n. */
bool word_at(const char *text, uint32_t n, char *word, size_t size);

#endif
