/* SPDX-License-Identifier: MIT */
/* TSCs of different CPUs; what virt/ needs of them is in <arch/backend.h>. */
#ifndef ARCH_X86_64_TSC_H
#define ARCH_X86_64_TSC_H

#include <arch/backend.h>

/* Once virtualization is on, on all CPUs. Thread context. */
void tsc_measure(uint32_t cpu_count);

/*
 * Brackets around a vcpu's stay on a CPU: on the CPU that gives it up, with interrupts off, and then, pinned, on the
 * one that takes it. Not before its first CPU.
 */
void tsc_leave(struct vcpu *v);
void tsc_arrive(struct vcpu *v);

#endif
