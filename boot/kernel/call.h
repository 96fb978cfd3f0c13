/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_CALL_H
#define BOOT_KERNEL_CALL_H

void call_init(void); /* once: takes the vector */

#endif
