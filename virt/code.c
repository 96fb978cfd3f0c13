/* SPDX-License-Identifier: MIT */
/* The way to the code: walked, remembered, and gone again. */
#include "code.h"
#include "gpa.h"
#include "walk.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/*
 * Entries of 4 bytes are remembered with their neighbour: when that one changes we walk once more, that is all. False:
 * the host can not reach the entry any more, or it has changed.
 */
static bool remember_entry(struct hv_vp *vp, struct code_way_entry *entry, hv_gpa_t gpa, uint64_t value, unsigned size)
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
static bool remember_pdpte(struct hv_vp *vp, struct code_way *way, struct code_way_entry *entry, hv_gpa_t table)
{
    struct vcpu *v = vp->vcpu;
    uint64_t index = way->linear >> 30;
    struct npt_leaf leaf;

    if (backend()->has_pdptes) {
        way->groups = VCPU_PDPTE;
        entry->at = &v->pdpte[index];
    } else {
        entry->at = gpa_reach(vp, (v->cr3 & CR3_PAE_BASE) + index * sizeof(uint64_t), NPT_READ, &leaf);
    }
    if (!entry->at)
        return false;
    entry->value = *entry->at;
    return (entry->value & PTE_P) && (entry->value & PTE_ADDR) == table;
}

static bool remember_path(struct hv_vp *vp, struct code_way *way, const struct gva_path *path)
{
    struct code_way_entry *entry = way->entry;

    for (unsigned i = 0; i < CODE_WAY_ENTRIES; i++)
        way->entry[i].at = &way->entry[i].value;
    way->groups = 0;
    if (is_pae(vp->vcpu) && !remember_pdpte(vp, way, entry++, path->entry[0].gpa & ~HV_PAGE_MASK))
        return false;
    for (unsigned i = 0; i < path->count; i++, entry++)
        if (!remember_entry(vp, entry, path->entry[i].gpa, path->entry[i].value, path->entry_size))
            return false;
    return true;
}

/* Inside a walk bracket: walks to CS:RIP, remembers how, and returns the host's address of what is there. */
static const uint8_t *learn_way(struct hv_vp *vp, struct code_way *way)
{
    struct vcpu_code code = code_place(vp->vcpu, 0);
    struct gva_path path;
    struct npt_leaf leaf;
    hv_gpa_t gpa;

    way->page = NULL;
    way->generation = __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE);
    way->linear = code.linear & ~HV_PAGE_MASK;
    way->cr3 = code.cr3;
    way->mode = code.mode;
    if ((vp->pdptes_stale && backend()->has_pdptes) ||
        gva_trace(vp, way->linear, HV_TRANSLATE_EXECUTE, &gpa, &path) != HV_TRANSLATE_SUCCESS)
        return NULL;
    if (!remember_path(vp, way, &path))
        return NULL;
    way->page = gpa_reach(vp, gpa, NPT_READ, &leaf);
    return way->page ? way->page + (code.linear & HV_PAGE_MASK) : NULL;
}

const uint8_t *code_reach(struct hv_vp *vp)
{
    const uint8_t *code = code_known(vp);

    return code ? code : learn_way(vp, &vp->code);
}

/* ---------------------------------------------------------------------------------- the bytes */

/* As many as are in the page. */
static void copy_in_page(struct hv_instruction *out, const uint8_t *code)
{
    out->count = (uint8_t)HV_MIN(HV_INSTRUCTION_BYTES_MAX, HV_PAGE_SIZE - ((uintptr_t)code & HV_PAGE_MASK));
    if (out->count == HV_INSTRUCTION_BYTES_MAX)
        memcpy(out->bytes, code, HV_INSTRUCTION_BYTES_MAX); /* of a size that the compiler knows */
    else
        memcpy(out->bytes, code, out->count);
}

void code_fetch_in_page(struct hv_vp *vp, struct hv_instruction *out)
{
    uint64_t flags = vp_walk_begin(vp);
    const uint8_t *code = code_reach(vp);

    out->count = 0;
    if (code)
        copy_in_page(out, code);
    vp_walk_end(vp, flags);
}

void code_fetch(struct hv_vp *vp, struct hv_instruction *out)
{
    code_fetch_in_page(vp, out);
    if (out->count < HV_INSTRUCTION_BYTES_MAX)
        gva_fetch_instruction(vp, out); /* the rest is in the next page */
}
