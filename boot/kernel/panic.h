/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_PANIC_H
#define BOOT_KERNEL_PANIC_H

#include <stdbool.h>

void panic_begin(void); /* makes this CPU the only one that goes on; of two that panic at once, one wins */
bool panic_is_stopping(void);
_Noreturn void panic_stop_self(void);

#endif
