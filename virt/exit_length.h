/* SPDX-License-Identifier: MIT */
/*
 * How long the instruction is that exited, for CPUs that do not say it: it is fetched again, and has to be one that
 * exits for this reason. Other VPs may have changed it or the tables on the way to it since; then the guest, which has
 * not moved, simply tries again.
 *
 * The way to the code is remembered, since most instructions that exit are in the page of the last one: the entries of
 * the guest's tables are looked at again where they were found, which says as much as another walk, in a few loads.
 */
#ifndef VIRT_EXIT_LENGTH_H
#define VIRT_EXIT_LENGTH_H

#include <hv/exit.h>

#define EXIT_LENGTH_ENTRIES 5 /* of the guest's tables, at most; a PDPTE register is one */

struct exit_length {
    const uint8_t *page; /* the host's address of the page of code; NULL: no way is known */
    uint64_t generation; /* partition.npt_generation: with another one the pointers here are not good */
    uint64_t linear;     /* the page */
    uint64_t cr3;
    uint64_t mode;   /* as in struct vcpu_code */
    uint32_t groups; /* of registers that `entry` points to */
    struct exit_length_entry {
        const volatile uint64_t *at; /* the aligned word that holds the entry; of those not used: `value` */
        uint64_t value;
    } entry[EXIT_LENGTH_ENTRIES];

    uint64_t failed_rip;
    uint32_t failures; /* in a row, with RIP there */
};

struct hv_vp;

/*
 * For an exit whose instruction_length is HV_LENGTH_UNKNOWN, right after it and still inside its walk bracket: finds it
 * in the usual case, and leaves it unknown in all others. Costs about 110 instructions.
 */
void exit_length_try(struct hv_vp *vp, struct hv_exit *exit);

/*
 * Owner, pinned: what exit_length_try could not find. False: the guest has to run on, since the instruction is another
 * one now. When that has happened too often in a row, the exit becomes one that tells the client.
 * Of HV_EXIT_CR the bytes are left in exit->instruction.
 */
bool exit_length_find(struct hv_vp *vp, struct hv_exit *exit);

/* Owner, pinned: what of the instruction at CS:RIP is in the page of its first byte; nothing when it can not be read.
 */
void exit_length_fetch(struct hv_vp *vp, struct hv_instruction *out);

#endif
