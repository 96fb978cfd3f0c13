/* SPDX-License-Identifier: MIT */
/* The way to the code: walked, and told to the backend, which knows it again. */
#include "code.h"
#include "gpa.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define WAY_GROUPS (GVA_CODE_GROUPS | VCPU_CR3 | VCPU_CR4)

/* ----------------------------------------------------------------------------------- the way there */

/*
 * Entries of 4 bytes are remembered with their neighbour: when that one changes we walk once more, that is all. False:
 * the host can not reach the entry any more, or it has changed.
 */
static bool remember_entry(struct hv_vp *vp, struct vcpu_code_entry *entry, hv_gpa_t gpa, uint64_t value, unsigned size)
{
    unsigned shift = 8 * (unsigned)(gpa & 7);
    struct npt_leaf leaf;

    entry->at = gpa_reach(vp, gpa & ~7ull, NPT_READ, &leaf);
    if (!entry->at)
        return false;
    entry->value = *entry->at;
    return size == 8 ? entry->value == value : (uint32_t)(entry->value >> shift) == (uint32_t)value;
}

static bool is_pae(const struct vcpu *v)
{
    return (v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE) && !gva_is_long_mode(v);
}

/* A register, or in memory. False: it has changed and leads to another table now. */
static bool remember_pdpte(struct hv_vp *vp, struct vcpu_code *code, struct vcpu_code_entry *entry, hv_gva_t linear,
                           hv_gpa_t table)
{
    struct vcpu *v = vp->vcpu;
    uint64_t index = linear >> 30;
    struct npt_leaf leaf;

    if (backend()->has_pdptes) {
        code->groups = VCPU_PDPTE;
        entry->at = &v->pdpte[index];
    } else {
        entry->at = gpa_reach(vp, (v->cr3 & CR3_PAE_BASE) + index * sizeof(uint64_t), NPT_READ, &leaf);
    }
    if (!entry->at)
        return false;
    entry->value = *entry->at;
    return (entry->value & PTE_P) && (entry->value & PTE_ADDR) == table;
}

static bool remember_path(struct hv_vp *vp, struct vcpu_code *code, hv_gva_t linear, const struct gva_path *path)
{
    if (is_pae(vp->vcpu) &&
        !remember_pdpte(vp, code, &code->entry[code->count++], linear, path->entry[0].gpa & ~HV_PAGE_MASK))
        return false;
    for (unsigned i = 0; i < path->count; i++)
        if (!remember_entry(vp, &code->entry[code->count++], path->entry[i].gpa, path->entry[i].value,
                            path->entry_size))
            return false;
    return true;
}

/* Of the page that has this address. False: can not be reached, or its way changes just now. */
static bool find_page(struct hv_vp *vp, hv_gva_t linear, struct vcpu_code *out)
{
    struct gva_path path;
    struct npt_leaf leaf;
    hv_gpa_t gpa;

    if ((vp->pdptes_stale && backend()->has_pdptes) ||
        gva_trace(vp, linear & ~HV_PAGE_MASK, HV_TRANSLATE_EXECUTE, &gpa, &path) != HV_TRANSLATE_SUCCESS)
        return false;
    if (!remember_path(vp, out, linear, &path))
        return false;
    out->page = gpa_reach(vp, gpa, NPT_READ, &leaf);
    return out->page;
}

const uint8_t *code_learn(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    struct vcpu_code code = {0};
    hv_gva_t linear;

    vcpu_need(v, WAY_GROUPS);
    linear = gva_of_code(v);
    code.size = (uint8_t)gva_code_size(v);
    code.generation = __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE);
    if (!find_page(vp, linear, &code))
        return NULL;
    backend()->learn_code(v, &code, linear & HV_PAGE_MASK);
    return code.page + (linear & HV_PAGE_MASK);
}

void code_forget(struct hv_vp *vp)
{
    const struct vcpu_code none = {.page = NULL};

    backend()->learn_code(vp->vcpu, &none, 0);
}

/* ---------------------------------------------------------------------------------- the bytes */

/* As many as are in the page. */
static void copy_in_page(struct hv_instruction *out, const uint8_t *code)
{
    if (code_copy_whole(out, code))
        return;
    out->count = (uint8_t)(HV_PAGE_SIZE - ((uintptr_t)code & HV_PAGE_MASK));
    memcpy(out->bytes, code, out->count);
}

void code_fetch_in_page(struct hv_vp *vp, struct hv_instruction *out)
{
    const uint8_t *code = code_reach(vp);

    out->count = 0;
    if (code)
        copy_in_page(out, code);
}

void code_fetch(struct hv_vp *vp, struct hv_instruction *out)
{
    code_fetch_in_page(vp, out);
    if (out->count < HV_INSTRUCTION_BYTES_MAX)
        gva_fetch_instruction(vp, out); /* the rest is in the next page */
}
