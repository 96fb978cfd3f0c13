/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_INPUT_H
#define BOOT_KERNEL_INPUT_H

#include <stdbool.h>

/* Once threads and interrupts work. */
void input_init(bool has_uart);

#endif
