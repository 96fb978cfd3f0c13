/* SPDX-License-Identifier: MIT */
/* The way to the code: walked, remembered, and gone again. */
#include "code.h"
#include "gpa.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define WAY_GROUPS (GVA_CODE_GROUPS | VCPU_CR3 | VCPU_CR4)

static uint64_t mode_of(const struct vcpu *v)
{
    return (v->cr0 & VCPU_CODE_CR0) | (v->cr4 & VCPU_CODE_CR4) | (v->efer & VCPU_CODE_EFER);
}

/* ----------------------------------------------------------------------------------- remembering */

/* The backend is told where the code is, or that it is not known any more. Returns where it is. */
static const uint8_t *tell_backend(const struct hv_vp *vp, const struct vcpu_code *place, uint64_t offset)
{
    if (backend()->learn_code)
        backend()->learn_code(vp->vcpu, place, offset);
    return place->page ? place->page + offset : NULL;
}

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
static bool remember_pdpte(struct hv_vp *vp, struct code_way *way, struct vcpu_code_entry *entry, hv_gpa_t table)
{
    struct vcpu *v = vp->vcpu;
    uint64_t index = way->place.linear >> 30;
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
    struct vcpu_code *place = &way->place;

    place->count = 0;
    way->groups = 0;
    if (is_pae(vp->vcpu) && !remember_pdpte(vp, way, &place->entry[place->count++], path->entry[0].gpa & ~HV_PAGE_MASK))
        return false;
    for (unsigned i = 0; i < path->count; i++)
        if (!remember_entry(vp, &place->entry[place->count++], path->entry[i].gpa, path->entry[i].value,
                            path->entry_size))
            return false;
    return true;
}

static inline struct code_way *way_of(struct hv_vp *vp, hv_gva_t linear)
{
    return &vp->code[linear / HV_PAGE_SIZE % CODE_WAYS];
}

/* Walks to CS:RIP, remembers how, and returns the host's address of what is there. */
static const uint8_t *learn_way(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    struct code_way *way;
    struct gva_path path;
    struct npt_leaf leaf;
    hv_gva_t linear;
    hv_gpa_t gpa;

    vcpu_need(v, WAY_GROUPS);
    linear = gva_of_code(v);
    way = way_of(vp, linear);
    way->place.page = NULL;
    way->place.generation = __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE);
    way->place.linear = linear & ~HV_PAGE_MASK;
    way->cr3 = v->cr3;
    way->mode = mode_of(v);
    if ((vp->pdptes_stale && backend()->has_pdptes) ||
        gva_trace(vp, way->place.linear, HV_TRANSLATE_EXECUTE, &gpa, &path) != HV_TRANSLATE_SUCCESS)
        return NULL;
    if (!remember_path(vp, way, &path))
        return NULL;
    way->place.page = gpa_reach(vp, gpa, NPT_READ, &leaf);
    return tell_backend(vp, &way->place, linear & HV_PAGE_MASK);
}

void code_forget(struct hv_vp *vp)
{
    for (unsigned i = 0; i < CODE_WAYS; i++)
        vp->code[i].place.page = NULL;
    tell_backend(vp, &vp->code[0].place, 0);
}

/* ---------------------------------------------------------------------------------- the known way */

/* Nothing of the rights is looked at: the CPU has executed what is there. */
static inline bool is_same_way(const struct hv_vp *vp, const struct code_way *way, hv_gva_t linear)
{
    const struct vcpu *v = vp->vcpu;

    if (way->place.linear != (linear & ~HV_PAGE_MASK) || way->cr3 != v->cr3 || way->mode != mode_of(v) ||
        way->place.generation != __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE))
        return false;
    for (unsigned i = 0; i < way->place.count; i++)
        if (*way->place.entry[i].at != way->place.entry[i].value)
            return false;
    return true;
}

/* By the backend's own memory of it. */
static inline const uint8_t *known_to_backend(struct hv_vp *vp)
{
    return backend()->code ? backend()->code(vp->vcpu) : NULL;
}

static const uint8_t *follow_way(struct hv_vp *vp)
{
    const struct code_way *way;
    hv_gva_t linear;

    vcpu_need(vp->vcpu, WAY_GROUPS);
    linear = gva_of_code(vp->vcpu);
    way = way_of(vp, linear);
    if (!way->place.page)
        return NULL;
    vcpu_need(vp->vcpu, way->groups);
    return is_same_way(vp, way, linear) ? tell_backend(vp, &way->place, linear & HV_PAGE_MASK) : NULL;
}

static __attribute__((noinline)) const uint8_t *follow_or_learn_way(struct hv_vp *vp)
{
    const uint8_t *code = follow_way(vp);

    return code ? code : learn_way(vp);
}

const uint8_t *code_known(struct hv_vp *vp)
{
    const uint8_t *code = known_to_backend(vp);

    return code ? code : follow_way(vp);
}

const uint8_t *code_reach(struct hv_vp *vp)
{
    const uint8_t *code = known_to_backend(vp);

    return code ? code : follow_or_learn_way(vp);
}

/* ---------------------------------------------------------------------------------- the bytes */

/* As many as are in the page. */
static void copy_in_page(struct hv_instruction *out, const uint8_t *code)
{
    out->count = (uint8_t)HV_MIN(HV_INSTRUCTION_BYTES_MAX, HV_PAGE_SIZE - ((uintptr_t)code & HV_PAGE_MASK));
    if (out->count == HV_INSTRUCTION_BYTES_MAX)
        __builtin_memcpy(out->bytes, code, HV_INSTRUCTION_BYTES_MAX);
    else
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
