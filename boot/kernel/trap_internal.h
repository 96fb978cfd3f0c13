/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_TRAP_INTERNAL_H
#define BOOT_KERNEL_TRAP_INTERNAL_H

#include <kernel/trap.h>

/* The kernel's own vectors, above those of irq_vector_alloc. */
enum kernel_vector {
    VECTOR_DEVICE_FIRST = 32,
    VECTOR_DEVICE_LAST = 239,
    VECTOR_CALL = 0xf0,
    VECTOR_RESCHEDULE = 0xf1,
    VECTOR_TIMER = 0xf2,
    VECTOR_SPURIOUS = 0xff,
};

/* Fixes the handler of one of them. */
void trap_kernel_vector(enum kernel_vector vector, void (*fn)(void));

void backtrace_print(uint64_t rip, uint64_t rbp, uint64_t rsp);

#endif
