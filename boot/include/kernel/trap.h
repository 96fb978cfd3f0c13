/* SPDX-License-Identifier: MIT */
/* Exceptions and interrupts. */
#ifndef KERNEL_TRAP_H
#define KERNEL_TRAP_H

#include <stdbool.h>
#include <stdint.h>

struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * fn is asked first when this exception (0..31) or NMI happens; it returns true when it has dealt with it (the
 * interrupted code goes on, at frame->rip), false for the usual dump and end of the run. NULL removes it. Interrupts
 * are off in it.
 */
void trap_hook(uint8_t vector, bool (*fn)(struct trap_frame *frame));

/* A vector (32..239) for a device's interrupts, or 0 when none is left. fn runs with interrupts off; the EOI is sent
 * for it. */
uint8_t irq_vector_alloc(void (*fn)(void *arg), void *arg);
/* fn is not running any more when it returns, and nothing that was sent before is on its way: thread context,
 * interrupts on */
void irq_vector_free(uint8_t vector);
unsigned irq_vectors_used(void); /* allocated and not freed */
unsigned irq_strays(void);       /* interrupts that came with a vector that was nobody's; each is told, too */

#endif
