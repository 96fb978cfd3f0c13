/* SPDX-License-Identifier: MIT */
/* The console's inside: what main.c and exit.c need beyond <kernel/print.h>. */
#ifndef BOOT_KERNEL_CONSOLE_H
#define BOOT_KERNEL_CONSOLE_H

void console_init(void);
void console_select(
    const char *name);         /* "debug", "serial" or "both": the option console=; anything else changes nothing */
void console_break_lock(void); /* the CPU that holds the lock has been stopped */
void console_flush(void);

#endif
