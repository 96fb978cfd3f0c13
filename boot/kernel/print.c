/* SPDX-License-Identifier: MIT */
#include "console.h"
#include <kernel/print.h>
#include <kernel/string.h>
#include <stdbool.h>
#include <stdint.h>

struct out {
    char *buf;
    size_t size, length;
};

struct spec {
    bool left, zero;
    unsigned width, longs, shorts;
    size_t precision;
};

static void put(struct out *o, char c)
{
    if (o->length + 1 < o->size)
        o->buf[o->length] = c;
    o->length++;
}

static void pad(struct out *o, char c, size_t have, unsigned width)
{
    for (; have < width; have++)
        put(o, c);
}

static void put_text(struct out *o, const struct spec *spec, const char *s)
{
    size_t n = strnlen(s ? s : "(null)", spec->precision);

    if (!s)
        s = "(null)";
    if (!spec->left)
        pad(o, ' ', n, spec->width);
    for (size_t i = 0; i < n; i++)
        put(o, s[i]);
    if (spec->left)
        pad(o, ' ', n, spec->width);
}

static void put_number(struct out *o, const struct spec *spec, uint64_t value, unsigned base, const char *prefix,
                       bool upper)
{
    const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char digits[20];
    size_t n = 0, length;

    do {
        digits[n++] = set[value % base];
        value /= base;
    } while (value);
    length = n + strlen(prefix);
    if (!spec->left && !spec->zero)
        pad(o, ' ', length, spec->width);
    for (; *prefix; prefix++)
        put(o, *prefix);
    if (!spec->left && spec->zero)
        pad(o, '0', length, spec->width);
    while (n)
        put(o, digits[--n]);
    if (spec->left)
        pad(o, ' ', length, spec->width);
}

static uint64_t next_unsigned(va_list *ap, const struct spec *spec)
{
    uint64_t v = spec->longs ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);

    if (spec->shorts)
        v &= spec->shorts > 1 ? 0xff : 0xffff;
    return v;
}

static void put_signed(struct out *o, const struct spec *spec, va_list *ap)
{
    int64_t v = spec->longs ? va_arg(*ap, int64_t) : va_arg(*ap, int);

    if (spec->shorts)
        v = spec->shorts > 1 ? (int8_t)v : (int16_t)v;
    put_number(o, spec, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, v < 0 ? "-" : "", false);
}

static unsigned parse_digits(const char **fmt)
{
    unsigned n = 0;

    for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
        n = n * 10 + (unsigned)(**fmt - '0');
    return n;
}

static const char *parse_spec(const char *fmt, struct spec *spec, va_list *ap)
{
    *spec = (struct spec){.precision = SIZE_MAX};
    for (; *fmt == '-' || *fmt == '0'; fmt++) {
        spec->left |= *fmt == '-';
        spec->zero |= *fmt == '0';
    }
    spec->width = parse_digits(&fmt);
    if (fmt[0] == '.' && fmt[1] == '*') {
        int precision = va_arg(*ap, int);

        spec->precision = precision < 0 ? SIZE_MAX : (size_t)precision;
        fmt += 2;
    } else if (*fmt == '.') {
        fmt++;
        spec->precision = parse_digits(&fmt);
    }
    for (; *fmt == 'l' || *fmt == 'z' || *fmt == 'j' || *fmt == 't'; fmt++)
        spec->longs++;
    for (; *fmt == 'h'; fmt++)
        spec->shorts++;
    return fmt;
}

static void put_conversion(struct out *o, char c, const struct spec *spec, va_list *ap)
{
    switch (c) {
    case 's':
        put_text(o, spec, va_arg(*ap, const char *));
        break;
    case 'c':
        put_text(o, spec, (const char[]){(char)va_arg(*ap, int), '\0'});
        break;
    case 'd':
    case 'i':
        put_signed(o, spec, ap);
        break;
    case 'u':
        put_number(o, spec, next_unsigned(ap, spec), 10, "", false);
        break;
    case 'x':
    case 'X':
        put_number(o, spec, next_unsigned(ap, spec), 16, "", c == 'X');
        break;
    case 'p':
        put_number(o, spec, (uintptr_t)va_arg(*ap, void *), 16, "0x", false);
        break;
    default:
        put(o, c);
    }
}

size_t kvsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
    struct out o = {.buf = buf, .size = size};
    struct spec spec;
    va_list ap;

    va_copy(ap, args);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(&o, *fmt);
            continue;
        }
        fmt = parse_spec(fmt + 1, &spec, &ap);
        if (!*fmt)
            break;
        put_conversion(&o, *fmt, &spec, &ap);
    }
    va_end(ap);
    if (size)
        buf[o.length < size ? o.length : size - 1] = '\0';
    return o.length;
}

size_t ksnprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    size_t length;

    va_start(ap, fmt);
    length = kvsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return length;
}

void kvprintf(const char *fmt, va_list ap)
{
    char text[512];
    size_t length = kvsnprintf(text, sizeof(text), fmt, ap);

    console_print(text, length < sizeof(text) ? length : sizeof(text) - 1);
}

void kprintf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    kvprintf(fmt, ap);
    va_end(ap);
}
