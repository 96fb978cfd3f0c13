/* SPDX-License-Identifier: MIT */
/* MSRs: the exit's memory, and rules that hold for clients too. */
#ifndef VIRT_EXIT_MSR_H
#define VIRT_EXIT_MSR_H

#include "partition.h"

void exit_msr_forget(struct hv_vp *vp); /* what it knows of MSRs: the client's properties are others now */

bool pat_is_valid(uint64_t pat);
bool mtrr_type_is_valid(uint64_t type);

#endif
