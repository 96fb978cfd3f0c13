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

struct __attribute__((packed)) code_words {
    uint64_t word[HV_INSTRUCTION_BYTES_MAX / sizeof(uint64_t)];
};

/*
 * Of code that is in the page for as far as an instruction may go; read once: the guest may be changing it. False: it
 * is too near the end.
 */
static inline bool code_copy_whole(struct hv_instruction *out, const uint8_t *code)
{
    const volatile struct code_words *from = (const volatile struct code_words *)code;
    struct code_words words;

    if (((uintptr_t)code & HV_PAGE_MASK) > HV_PAGE_SIZE - sizeof(words))
        return false;
    words.word[0] = from->word[0];
    words.word[1] = from->word[1];
    __builtin_memcpy(out->bytes, &words, sizeof(words));
    out->count = sizeof(words);
    return true;
}

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
