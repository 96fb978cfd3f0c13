/* SPDX-License-Identifier: MIT */
/*
 * Walks of the guest's own page tables. The functions fetch the registers that they need: call them inside vp_pin or
 * in a run.
 */
#ifndef VIRT_GVA_H
#define VIRT_GVA_H

#include "partition.h"

enum hv_translate_result gva_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, hv_gpa_t *gpa);
/* Reads bytes at CS:RIP for exit contexts; fewer, or none, where pages are missing. */
void gva_fetch_instruction(struct hv_vp *vp, struct hv_instruction *out);
/* Loads PDPTE0-3 from memory if the VP uses PAE paging; false: not readable. */
bool gva_load_pdptes(struct hv_vp *vp);

/* The PDPTEs that PAE paging with this CR3 would use. */
#define GVA_PDPTES 4

/* false: not all of them can be read. */
bool gva_read_pdptes(struct hv_vp *vp, uint64_t cr3, uint64_t pdptes[GVA_PDPTES]);

/* No present one has reserved bits set (SDM 3A 4.4.1): else loading them is a #GP. */
bool gva_pdptes_are_valid(const uint64_t pdptes[GVA_PDPTES]);

#endif
