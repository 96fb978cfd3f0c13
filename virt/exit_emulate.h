/* SPDX-License-Identifier: MIT */
/* The emulator at work on a VP, in the middle of a run. */
#ifndef VIRT_EXIT_EMULATE_H
#define VIRT_EXIT_EMULATE_H

#include "partition.h"
#include <hv/emulate.h>

void exit_emulate_begin(struct hv_vp *vp, struct hv_emulate_state *state); /* from the VP's registers */
/* Back into them: general registers, RIP, RFLAGS. Retiring the instruction is left to the caller. */
void exit_emulate_end(struct hv_vp *vp, const struct hv_emulate_state *state);
void exit_emulate_fault(struct hv_vp *vp, const struct hv_emulate_fault *fault); /* injects it */

#endif
