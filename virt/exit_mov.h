/* SPDX-License-Identifier: MIT */
/* The plain move that made a memory exit's access, for handlers that do it themselves. */
#ifndef VIRT_EXIT_MOV_H
#define VIRT_EXIT_MOV_H

#include "exit.h"
#include <hv/mov.h>

/*
 * Inside a walk bracket, by the owner: the move that made the access, and nothing else of memory, in one page;
 * exit->memory.gva is then its linear address. Good until the next call. Checked is what could be otherwise: other VPs
 * may have changed the instruction since. NULL: another instruction, the CPU's own access, or a part of one that goes
 * over a page's end; nothing is known. exit->instruction holds the instruction's bytes in either case, as the client
 * gets them, but for accesses of the CPU's own. General registers are good to be read; with hv_mov_stored, too.
 */
const struct hv_mov *exit_mov_find(struct hv_vp *vp, struct hv_exit *exit);

/* Where nothing was found: it is a move all the same, whose operand begins elsewhere. */
bool exit_mov_is_elsewhere(struct hv_vp *vp, struct hv_exit *exit);

/*
 * The end of a load, or of a store (`value` does not count): the register, and how long the instruction is that is then
 * to be stepped over.
 */
void exit_mov_done(struct hv_vp *vp, struct hv_exit *exit, const struct hv_mov *mov, uint64_t value);

#endif
