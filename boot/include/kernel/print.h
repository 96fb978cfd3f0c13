/* SPDX-License-Identifier: MIT */
/* Console output and input. Any context. */
#ifndef KERNEL_PRINT_H
#define KERNEL_PRINT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/*
 * printf's %s %c %d %i %u %x %X %p %%, with - 0 width .precision (of %s) and the lengths hh h l ll z j t.
 * One call of at most 511 characters is never torn by another CPU's.
 */
void kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void kvprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* As snprintf: always NUL-terminated when size > 0; returns the length the whole text would have had. */
size_t ksnprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
size_t kvsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* Raw bytes; a guest's console, for example. The next kprintf begins on a line of its own. */
void console_write(const char *text, size_t length);

/*
 * One byte from the serial line, or -1 when none is waiting; console_read sleeps until one comes or the deadline
 * (clock_ns time, 0: none), and is for one thread at a time.
 */
int console_getc(void);
int console_read(uint64_t deadline_ns);

#endif
