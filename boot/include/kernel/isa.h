/* SPDX-License-Identifier: MIT */
/* Interrupts of ISA devices, by an IOAPIC. Thread context; one thread at a time. */
#ifndef KERNEL_ISA_H
#define KERNEL_ISA_H

#include <stdbool.h>
#include <stdint.h>

/*
 * From now on this interrupt comes as that vector to that CPU. One may get lost when interrupt remapping is switched:
 * then look() is called, in thread context. False: no IOAPIC has its pin, or too many are in use.
 */
bool isa_irq_route(uint8_t irq, uint8_t vector, uint32_t cpu, void (*look)(void));
void isa_irq_mask(uint8_t irq); /* no more of them; the route is free */

#endif
