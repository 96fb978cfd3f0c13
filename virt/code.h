/* SPDX-License-Identifier: MIT */
/*
 * The code at CS:RIP, of an instruction that the CPU has executed just now and that exited: found again through the
 * guest's tables. The backend knows the pages of the last ones again, as long as nothing has changed of what leads
 * there (arch/code.h): most instructions that exit are in one of them.
 */
#ifndef VIRT_CODE_H
#define VIRT_CODE_H

#include "gva.h"
#include "partition.h"

/* All by the owner, inside a walk bracket. */
/* The host's address of the byte at CS:RIP, as long as the way there is a known one; else NULL. */
static inline const uint8_t *code_known(struct hv_vp *vp)
{
    return backend()->code(vp->vcpu);
}

/* The same, by a walk; it is known from then on. NULL: can not be reached. */
const uint8_t *code_learn(struct hv_vp *vp);

static inline const uint8_t *code_reach(struct hv_vp *vp)
{
    const uint8_t *code = code_known(vp);

    return code ? code : code_learn(vp);
}

void code_forget(struct hv_vp *vp);

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

#endif
