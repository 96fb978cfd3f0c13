/* SPDX-License-Identifier: MIT */
#include <kernel/string.h>
#include <stdint.h>

/* "rep" instructions: short, and the CPU's own fast path. -ffreestanding does not keep the compiler from seeing a
 * memcpy in a loop. */
void *memcpy(void *to, const void *from, size_t size)
{
    void *d = to;
    size_t words = size / 8, rest = size % 8;

    __asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words)::"memory");
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest)::"memory");
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *d = (uint8_t *)to + size - 1;
    const uint8_t *s = (const uint8_t *)from + size - 1;

    if ((uintptr_t)to - (uintptr_t)from >= size)
        return memcpy(to, from, size);
    __asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(size)::"memory");
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    void *d = to;
    size_t words = size / 8, rest = size % 8;
    uint64_t fill = 0x0101010101010101ull * (uint8_t)byte;

    __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(fill) : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(fill) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;

    for (size_t i = 0; i < size; i++) {
        if (x[i] != y[i])
            return x[i] - y[i];
    }
    return 0;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n])
        n++;
    return n;
}

size_t strlen(const char *s)
{
    return strnlen(s, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max)
{
    for (size_t i = 0; i < max; i++) {
        if (a[i] != b[i])
            return (uint8_t)a[i] - (uint8_t)b[i];
        if (!a[i])
            break;
    }
    return 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

bool string_copy(char *to, size_t size, const char *from, size_t length)
{
    size_t fits = length < size ? length : size - 1;

    memcpy(to, from, fits);
    to[fits] = '\0';
    return fits == length;
}

static size_t word_length(const char *s)
{
    size_t n = 0;

    while (s[n] && s[n] != ' ')
        n++;
    return n;
}

bool word_find(const char *text, const char *name, char *value, size_t size)
{
    size_t name_length = strlen(name);

    while (*text) {
        size_t length = word_length(text);

        if (length >= name_length && !strncmp(text, name, name_length) &&
            (length == name_length || text[name_length] == '=')) {
            size_t skip = length == name_length ? length : name_length + 1;

            if (value)
                string_copy(value, size, text + skip, length - skip);
            return true;
        }
        text += length;
        while (*text == ' ')
            text++;
    }
    return false;
}

bool word_at(const char *text, uint32_t n, char *word, size_t size)
{
    for (;; n--) {
        while (*text == ' ')
            text++;
        if (!*text)
            return false;
        if (!n)
            break;
        text += word_length(text);
    }
    string_copy(word, size, text, word_length(text));
    return true;
}
