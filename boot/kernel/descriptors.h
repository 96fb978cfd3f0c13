/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_DESCRIPTORS_H
#define BOOT_KERNEL_DESCRIPTORS_H

#include "percpu.h"

/* Loads the CPU's own GDT and TSS, the IDT that all share, and GS. ist: IST_COUNT - 1 stacks of IST_STACK_SIZE bytes,
 * one after the other. */
void descriptors_load(struct cpu *cpu, void *ist);

#endif
