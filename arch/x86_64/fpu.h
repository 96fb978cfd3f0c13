/* SPDX-License-Identifier: MIT */
/* Extended state of a vcpu: see fpu.c. */
#ifndef ARCH_X86_64_FPU_H
#define ARCH_X86_64_FPU_H

#include <arch/backend.h>

bool fpu_alloc(struct vcpu *v);
void fpu_free(struct vcpu *v);
void fpu_reset(struct vcpu *v);

/* Pinned; between the two the CPU's extended state is the guest's. */
void fpu_enter(struct vcpu *v);
void fpu_leave(struct vcpu *v);

#endif
