/* SPDX-License-Identifier: MIT */
#include <hv/base/log.h>

struct out {
    char *buf;
    size_t size, length;
};

static void put(struct out *o, char c)
{
    if (o->length + 1 < o->size)
        o->buf[o->length] = c;
    o->length++;
}

static void put_text(struct out *o, const char *s)
{
    for (s = s ? s : "(null)"; *s; s++)
        put(o, *s);
}

static void put_number(struct out *o, uint64_t value, unsigned base, unsigned width, char pad, bool negative)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    if (negative && pad == '0')
        put(o, '-');
    for (unsigned have = n + negative; have < width; have++)
        put(o, pad);
    if (negative && pad != '0')
        put(o, '-');
    while (n)
        put(o, digits[--n]);
}

static uint64_t next_integer(va_list *ap, unsigned longs, bool is_signed)
{
    if (longs)
        return va_arg(*ap, uint64_t);
    return is_signed ? (uint64_t)(int64_t)va_arg(*ap, int) : va_arg(*ap, unsigned);
}

struct spec {
    char pad;
    unsigned width, longs;
};

static const char *parse_spec(const char *fmt, struct spec *spec)
{
    *spec = (struct spec){.pad = ' '};
    if (*fmt == '0') {
        spec->pad = '0';
        fmt++;
    }
    for (; *fmt >= '0' && *fmt <= '9'; fmt++)
        spec->width = spec->width * 10 + (unsigned)(*fmt - '0');
    for (; *fmt == 'l' || *fmt == 'z'; fmt++)
        spec->longs++;
    return fmt;
}

size_t hv_vformat(char *buf, size_t size, const char *fmt, va_list args)
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
        fmt = parse_spec(fmt + 1, &spec);
        switch (*fmt) {
        case 's':
            put_text(&o, va_arg(ap, const char *));
            break;
        case 'c':
            put(&o, (char)va_arg(ap, int));
            break;
        case 'd': {
            int64_t v = (int64_t)next_integer(&ap, spec.longs, true);

            put_number(&o, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, spec.width, spec.pad, v < 0);
            break;
        }
        case 'u':
            put_number(&o, next_integer(&ap, spec.longs, false), 10, spec.width, spec.pad, false);
            break;
        case 'x':
            put_number(&o, next_integer(&ap, spec.longs, false), 16, spec.width, spec.pad, false);
            break;
        case 'p':
            put_text(&o, "0x");
            put_number(&o, (uintptr_t)va_arg(ap, void *), 16, spec.width, spec.pad, false);
            break;
        case '\0':
            fmt--;
            break;
        default:
            put(&o, *fmt);
        }
    }
    va_end(ap);
    if (size)
        buf[o.length < size ? o.length : size - 1] = '\0';
    return o.length;
}

size_t hv_format(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    size_t length;

    va_start(ap, fmt);
    length = hv_vformat(buf, size, fmt, ap);
    va_end(ap);
    return length;
}

void hv_log(enum hv_log_level level, const char *fmt, ...)
{
    char line[256];
    va_list ap;

    va_start(ap, fmt);
    hv_vformat(line, sizeof(line), fmt, ap);
    va_end(ap);
    hv_host_log(level, line);
}
