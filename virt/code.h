/* SPDX-License-Identifier: MIT */
/*
 * The code at CS:RIP, of an instruction that the CPU has executed just now and that exited: found again through the
 * guest's tables.
 *
 * The way to it is remembered, since most instructions that exit are in the page of the last one: the entries of the
 * guest's tables are looked at again where they were found, which says as much as another walk, in a few loads.
 */
#ifndef VIRT_CODE_H
#define VIRT_CODE_H

#include "gva.h"
#include "partition.h"

/* All by the owner, inside a walk bracket. */
/* The host's address of the byte at CS:RIP. NULL: can not be reached. */
const uint8_t *code_reach(struct hv_vp *vp);
/* What of the instruction at CS:RIP is in the page of its first byte; nothing when it can not be read. */
void code_fetch_in_page(struct hv_vp *vp, struct hv_instruction *out);
/* Bytes at CS:RIP as gva_fetch_instruction reads them. */
void code_fetch(struct hv_vp *vp, struct hv_instruction *out);
/* The same, unless the CPU has given them already. */
static inline void code_need(struct hv_vp *vp, struct hv_instruction *out)
{
    if (!out->count)
        code_fetch(vp, out);
}

/* Inside a walk bracket: as code_reach, as long as the way there is the known one; else NULL. */
const uint8_t *code_known(struct hv_vp *vp);
void code_forget(struct hv_vp *vp);

#endif
