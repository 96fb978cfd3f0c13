/* SPDX-License-Identifier: MIT */
/*
 * How long the instruction is that exited, for CPUs that do not say it: it is fetched again, and has to be one that
 * exits for this reason. Other VPs may have changed it or the tables on the way to it since; then the guest, which has
 * not moved, simply tries again.
 */
#ifndef VIRT_EXIT_LENGTH_H
#define VIRT_EXIT_LENGTH_H

#include <hv/exit.h>

struct exit_length {
    uint64_t failed_rip;
    uint32_t failures; /* in a row, with RIP there */
};

struct hv_vp;

/*
 * For an exit whose instruction_length is HV_LENGTH_UNKNOWN, right after it and still inside its walk bracket: finds it
 * in the usual case, and leaves it unknown in all others. Most are found by the backend already, in the page that it
 * was shown last.
 */
void exit_length_try(struct hv_vp *vp, struct hv_exit *exit);

/*
 * Owner, pinned: what exit_length_try could not find. False: the guest has to run on, since the instruction is another
 * one now. When that has happened too often in a row, the exit becomes one that tells the client.
 * Of HV_EXIT_CR the bytes are left in exit->instruction.
 */
bool exit_length_find(struct hv_vp *vp, struct hv_exit *exit);

#endif
