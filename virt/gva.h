/* SPDX-License-Identifier: MIT */
/*
 * Walks of the guest's own page tables. The functions fetch the registers that they need: call them inside vp_pin or
 * in a run.
 */
#ifndef VIRT_GVA_H
#define VIRT_GVA_H

#include "partition.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

#define GVA_LEVELS_MAX 5

/* The entries of the guest's tables that a translation went by, as they were read; PDPTE registers are none of them. */
struct gva_path {
    unsigned count;
    unsigned entry_size; /* 4 or 8 bytes */
    struct {
        hv_gpa_t gpa;
        uint64_t value;
    } entry[GVA_LEVELS_MAX];
};

enum hv_translate_result gva_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, hv_gpa_t *gpa);
/* Without HV_TRANSLATE_SET_BITS. *path is complete when the result is a success. */
enum hv_translate_result gva_trace(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, hv_gpa_t *gpa,
                                   struct gva_path *path);

/* A client may leave LMA out: it follows from LME and paging. */
static inline bool gva_is_long_mode(const struct vcpu *v)
{
    return (v->efer & EFER_LMA) || ((v->efer & EFER_LME) && (v->cr0 & CR0_PG));
}

#define GVA_CODE_GROUPS (VCPU_RIP | VCPU_CS | VCPU_CR0 | VCPU_EFER) /* what the next two look at */

/* The size of the code at CS:RIP: 2, 4 or 8 for 16, 32 and 64-bit code. */
static inline unsigned gva_code_size(const struct vcpu *v)
{
    if ((v->seg[SEG_CS].attributes & SEG_L) && gva_is_long_mode(v))
        return 8;
    return v->seg[SEG_CS].attributes & SEG_DB ? 4 : 2;
}

/* Its linear address. Outside of 64-bit code these are 32 bits wide. */
static inline hv_gva_t gva_of_code(const struct vcpu *v)
{
    return gva_code_size(v) == 8 ? v->rip : (uint32_t)(v->seg[SEG_CS].base + v->rip);
}
/* Reads bytes at CS:RIP for exit contexts; fewer, or none, where pages are missing. */
void gva_fetch_instruction(struct hv_vp *vp, struct hv_instruction *out);
/* The same, unless the CPU has given them already. */
static inline void gva_need_instruction(struct hv_vp *vp, struct hv_instruction *out)
{
    if (!out->count)
        gva_fetch_instruction(vp, out);
}
/* Loads PDPTE0-3 from memory if the VP uses PAE paging; false: not readable. */
bool gva_load_pdptes(struct hv_vp *vp);

/* The PDPTEs that PAE paging with this CR3 would use. */
#define GVA_PDPTES 4

/* false: not all of them can be read. */
bool gva_read_pdptes(struct hv_vp *vp, uint64_t cr3, uint64_t pdptes[GVA_PDPTES]);

/* No present one has reserved bits set (SDM 3A 4.4.1): else loading them is a #GP. */
bool gva_pdptes_are_valid(const uint64_t pdptes[GVA_PDPTES]);

#endif
