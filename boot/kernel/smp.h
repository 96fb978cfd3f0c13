/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_SMP_H
#define BOOT_KERNEL_SMP_H

#include <boot/info.h>
#include <stdbool.h>

void smp_init_first(void);                    /* the CPU we run on becomes CPU 0: from now on exceptions are reported */
bool smp_needs_x2apic(void);                  /* some CPU's ID does not fit into 8 bits */
void smp_start(const struct boot_info *info); /* starts all others; thread context */

#endif
