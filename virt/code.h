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

/* Inside a walk bracket: the host's address of the byte at CS:RIP. NULL: can not be reached. */
const uint8_t *code_reach(struct hv_vp *vp);

/* The rest: owner, pinned. */
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

/* --------------------------------------------------------------------------------- the known way */

#define CODE_WAY_GROUPS (GVA_CODE_GROUPS | VCPU_CR3 | VCPU_CR4)

/* Nothing of the rights: the CPU has executed what is there. */
static inline struct vcpu_code code_place(struct vcpu *v, uint32_t more_groups)
{
    vcpu_need(v, CODE_WAY_GROUPS | more_groups);
    return (struct vcpu_code){
        .linear = gva_of_code(v),
        .cr3 = v->cr3,
        .mode = (v->cr0 & VCPU_CODE_CR0) | (v->cr4 & VCPU_CODE_CR4) | (v->efer & VCPU_CODE_EFER),
    };
}

static inline bool code_is_same_way(const struct hv_vp *vp, const struct code_way *way, const struct vcpu_code *code)
{
    if (way->linear != (code->linear & ~HV_PAGE_MASK) || way->cr3 != code->cr3 || way->mode != code->mode ||
        way->generation != __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE))
        return false;
    for (unsigned i = 0; i < CODE_WAY_ENTRIES; i++) /* unrolled by the compiler: faster than a count */
        if (*way->entry[i].at != way->entry[i].value)
            return false;
    return true;
}

/*
 * Inside a walk bracket: the host's address of the byte at CS:RIP, as long as the way there is the known one. Inlined
 * for exit_length_try, which runs at every plain exit; all others call code_reach.
 */
static inline __attribute__((always_inline)) const uint8_t *code_known(struct hv_vp *vp)
{
    const struct code_way *way = &vp->code;
    struct vcpu_code code;

    if (!way->page)
        return NULL;
    if (backend()->code)
        backend()->code(vp->vcpu, &code);
    else
        code = code_place(vp->vcpu, way->groups);
    return code_is_same_way(vp, way, &code) ? way->page + (code.linear & HV_PAGE_MASK) : NULL;
}

#endif
