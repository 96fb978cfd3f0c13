/* SPDX-License-Identifier: MIT */
/* FPU and vector state of threads. The kernel itself uses none of it (-mgeneral-regs-only). */
#ifndef BOOT_KERNEL_FPU_H
#define BOOT_KERNEL_FPU_H

#include <stddef.h>

#define FPU_ALIGN 64

void fpu_init(size_t room); /* once: room is what a thread has for its state */
void fpu_init_cpu(void);    /* on every CPU */
void fpu_reset(void *area); /* the state of a new thread */
void fpu_save(void *area);
void fpu_restore(const void *area);

#endif
