/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_CLOCK_INTERNAL_H
#define BOOT_KERNEL_CLOCK_INTERNAL_H

#include <kernel/clock.h>

void clock_init(void);     /* measures the TSC */
void clock_distrust(void); /* the TSCs of two CPUs disagree: from now on clock_ns keeps itself from running backwards */

#endif
