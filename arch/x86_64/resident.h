/* SPDX-License-Identifier: MIT */
/* Whose registers a CPU has: between resident.c and its neighbours. What virt/ needs of it is in <arch/backend.h>. */
#ifndef ARCH_X86_64_RESIDENT_H
#define ARCH_X86_64_RESIDENT_H

#include <arch/backend.h>

/* Virtualization is on, on all CPUs: from here on the host may call hv_cpu_give_back. Thread context. */
void resident_begin(struct backend_cpu *cpus, uint32_t count);
/* It is about to go off: then all CPUs are called, so that none of them is inside such a call any more. */
void resident_end(void);

/* vcpu.c: all that entries do not switch, into the CPU and out of it. Acquired there; interrupts off. */
void vcpu_switch_in(struct vcpu *v);
void vcpu_switch_out(struct vcpu *v);

#endif
