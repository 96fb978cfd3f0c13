/* SPDX-License-Identifier: MIT */
/* Rules of MSRs that hold for clients too. */
#ifndef VIRT_EXIT_MSR_H
#define VIRT_EXIT_MSR_H

#include "partition.h"

bool pat_is_valid(uint64_t pat);
bool mtrr_type_is_valid(uint64_t type);

#endif
