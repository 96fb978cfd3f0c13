/* SPDX-License-Identifier: MIT */
/* Rules of control registers that hold for clients too. */
#ifndef VIRT_EXIT_CR_H
#define VIRT_EXIT_CR_H

#include "partition.h"

bool cr4_is_valid(uint64_t cr4);
bool xcr0_is_valid(uint64_t xcr0);

#endif
