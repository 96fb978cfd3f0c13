/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_STACK_H
#define BOOT_KERNEL_STACK_H

#include <stdbool.h>
#include <stdint.h>

#define STACK_SIZE 32768

void stacks_init(void);
bool stack_is_guard(uint64_t address); /* between two stacks: only an overflow gets there */
void *stack_alloc(
    void); /* the lowest address of STACK_SIZE bytes with an unmapped page below; NULL when there is no memory */
void stack_free(void *stack); /* thread context, interrupts on: asks every CPU to forget the addresses */

#endif
