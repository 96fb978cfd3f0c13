/* SPDX-License-Identifier: MIT */
/* Formatted log lines for the library, and its small formatter. */
#ifndef HV_BASE_LOG_H
#define HV_BASE_LOG_H

#include <hv/host.h>
#include <stdarg.h>

/*
 * Formats into buf (always NUL-terminated when size > 0) and returns the length the whole text would have had.
 * Understands %s %c %d %u %x %p %%, the length modifiers l, ll and z, a width and the flag 0: what the library itself
 * uses.
 */
size_t hv_vformat(char *buf, size_t size, const char *fmt, va_list ap);
size_t hv_format(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* One line of at most 255 characters to hv_host_log. Context: any; not on the path of a plain exit. */
void hv_log(enum hv_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
