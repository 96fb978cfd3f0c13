/* SPDX-License-Identifier: MIT */
/* The console's inside: what main.c and exit.c need beyond <kernel/print.h>. */
#ifndef BOOT_KERNEL_CONSOLE_H
#define BOOT_KERNEL_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

void console_init(void);
bool console_has_uart(void);
void console_print(const char *text, size_t length); /* on a line of its own, when console_write left one unfinished */
void console_select(
    const char *name);         /* "debug", "serial" or "both": the option console=; anything else changes nothing */
void console_break_lock(void); /* the CPU that holds the lock has been stopped */
void console_flush(void);

#endif
