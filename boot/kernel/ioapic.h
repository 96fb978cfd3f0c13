/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_IOAPIC_H
#define BOOT_KERNEL_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * From now on this ISA interrupt comes as that vector to that CPU. An interrupt may get lost when interrupt remapping
 * is switched: then look() is called, in thread context. False: no IOAPIC has its pin. Thread context.
 */
bool ioapic_route_isa(uint8_t irq, uint8_t vector, uint32_t cpu, void (*look)(void));

#endif
