/* SPDX-License-Identifier: MIT */
/* Walks of the guest's own page tables (SDM 3A chapter 4). Each entry is read exactly once per walk. */
#include "gva.h"
#include "gpa.h"
#include "walk.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define WALK_TRIES 8 /* a guest may change its entries as we set bits in them; it can not keep us here */

#define TRANSLATE_ACCESS (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE | HV_TRANSLATE_EXECUTE)
#define TRANSLATE_FLAGS                                                                                     \
    (TRANSLATE_ACCESS | HV_TRANSLATE_PRIVILEGE_EXEMPT | HV_TRANSLATE_SET_BITS | HV_TRANSLATE_ENFORCE_SMAP | \
     HV_TRANSLATE_OVERRIDE_SMAP)

#define WALK_GROUPS (VCPU_CR0 | VCPU_CR3 | VCPU_CR4 | VCPU_EFER | VCPU_RFLAGS | VCPU_SS)

/* What differs between the ways of paging. Level 1 is the table whose entries map 4K pages. */
struct paging {
    unsigned levels;
    unsigned entry_size; /* bytes */
    unsigned index_bits;
};

static const struct paging paging_32bit = {.levels = 2, .entry_size = 4, .index_bits = 10};
static const struct paging paging_pae = {.levels = 2, .entry_size = 8, .index_bits = 9}; /* below the PDPTE registers */
static const struct paging paging_4level = {.levels = 4, .entry_size = 8, .index_bits = 9};
static const struct paging paging_5level = {.levels = 5, .entry_size = 8, .index_bits = 9};

/* One translation under way. */
struct walk {
    struct hv_vp *vp;
    const struct vcpu *v;
    const struct paging *paging; /* NULL: paging is off */
    hv_gva_t gva;
    uint32_t flags;

    hv_gpa_t table; /* the next one */
    uint64_t all;   /* PTE_RW and PTE_US where every entry has them */
    uint64_t any;   /* PTE_XD where an entry has it */
    struct gva_path path;
    hv_gpa_t gpa; /* the result; HV_HPA_NONE as long as there is none */
};

/* ------------------------------------------------------------------------ modes of paging */

static bool is_pae_paging(const struct vcpu *v)
{
    return (v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE) && !gva_is_long_mode(v);
}

static const struct paging *paging_of(const struct vcpu *v)
{
    if (!(v->cr0 & CR0_PG))
        return NULL;
    if (gva_is_long_mode(v))
        return v->cr4 & CR4_LA57 ? &paging_5level : &paging_4level;
    return v->cr4 & CR4_PAE ? &paging_pae : &paging_32bit;
}

static bool is_canonical(const struct vcpu *v, hv_gva_t gva)
{
    unsigned unused = v->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;

    return (uint64_t)((int64_t)(gva << unused) >> unused) == gva;
}

/* ---------------------------------------------------------------- reserved bits of an entry */

static bool has_1g_pages(void)
{
    struct hv_cpuid_output out;

    cpu_cpuid(CPUID_LEAF_EXT1, 0, &out);
    return (out.edx & CPUID_EXT1_EDX_PAGE1GB) != 0;
}

static uint64_t page_size(const struct paging *paging, unsigned level)
{
    return HV_PAGE_SIZE << (paging->index_bits * (level - 1));
}

static bool is_leaf(const struct walk *w, unsigned level, uint64_t entry)
{
    if (level == 1)
        return true;
    if (!(entry & PTE_PS))
        return false;
    if (w->paging->entry_size == 4)
        return (w->v->cr4 & CR4_PSE) != 0;
    return level == 2 || (level == 3 && has_1g_pages());
}

/* Physical-address bits that this CPU does not have, from bit 51 down. */
static uint64_t reserved_address(void)
{
    return PTE_ADDR & ~(BIT64(cpu_facts()->physical_bits) - 1);
}

/* 4M page (SDM 3A table 4-4): bits 20:13 hold address bits 39:32 */
#define PDE_4M_HIGH     BITS64(20, 13)
#define PDE_4M_RESERVED BIT64(21)

static hv_gpa_t pde_4m_address(uint64_t entry)
{
    return (entry & BITS64(31, 22)) | FIELD_GET(PDE_4M_HIGH, entry) << 32;
}

static uint64_t reserved_32bit(uint64_t entry, bool large)
{
    return large ? (entry & PDE_4M_RESERVED) | (pde_4m_address(entry) & reserved_address()) : 0;
}

/*
 * SDM 3A tables 4-9 to 4-20: bit 12 of a large leaf is PAT, the address bits above it up to the page's size are
 * reserved.
 */
static uint64_t reserved_64bit(const struct walk *w, unsigned level, bool large)
{
    uint64_t reserved = reserved_address();

    if (w->paging == &paging_pae)
        reserved |= BITS64(62, 52);
    if (!(w->v->efer & EFER_NXE))
        reserved |= PTE_XD;
    if (large)
        reserved |= (page_size(w->paging, level) - 1) & ~BITS64(12, 0);
    else if (level > 2)
        reserved |= PTE_PS; /* no page of this size */
    return reserved;
}

static bool has_reserved_bits(const struct walk *w, unsigned level, uint64_t entry, bool leaf)
{
    bool large = leaf && level > 1;

    if (w->paging->entry_size == 4)
        return reserved_32bit(entry, large) != 0;
    return (entry & reserved_64bit(w, level, large)) != 0;
}

/* ------------------------------------------------------------------------------ the walk */

/* Why guest memory could not be reached for a read or write. */
static enum hv_translate_result gpa_failure(struct hv_vp *vp, hv_gpa_t gpa, enum hv_translate_result no_right)
{
    return gpa_rights(vp, gpa) < 0 ? HV_TRANSLATE_GPA_UNMAPPED : no_right;
}

static enum hv_translate_result read_entry(struct walk *w, unsigned level, uint64_t *entry)
{
    unsigned size = w->paging->entry_size;
    uint64_t index = w->gva / page_size(w->paging, level) % BIT64(w->paging->index_bits);
    hv_gpa_t gpa = w->table + index * size;

    *entry = 0;
    if (gpa_read(w->vp, gpa, entry, size) != HV_OK)
        return gpa_failure(w->vp, gpa, HV_TRANSLATE_GPA_NO_READ);
    w->path.entry[w->path.count].gpa = gpa;
    w->path.entry[w->path.count++].value = *entry;
    w->all &= *entry;
    w->any |= *entry;
    return HV_TRANSLATE_SUCCESS;
}

static void finish(struct walk *w, unsigned level, uint64_t entry)
{
    uint64_t offset = page_size(w->paging, level) - 1;
    hv_gpa_t page = entry & PTE_ADDR;

    if (w->paging->entry_size == 4 && level == 2)
        page = pde_4m_address(entry);
    w->gpa = (page & ~offset) | (w->gva & offset);
}

static enum hv_translate_result walk_tables(struct walk *w)
{
    for (unsigned level = w->paging->levels;; level--) {
        uint64_t entry;
        enum hv_translate_result result = read_entry(w, level, &entry);
        bool leaf = is_leaf(w, level, entry);

        if (result != HV_TRANSLATE_SUCCESS)
            return result;
        if (!(entry & PTE_P))
            return HV_TRANSLATE_NOT_PRESENT;
        if (has_reserved_bits(w, level, entry, leaf))
            return HV_TRANSLATE_INVALID_FLAGS;
        if (leaf) {
            finish(w, level, entry);
            return HV_TRANSLATE_SUCCESS;
        }
        w->table = entry & PTE_ADDR;
    }
}

/*
 * Registers were checked when all of them were loaded. Entries in memory count when they are used (APM 2 15.25.10);
 * some emulators of CPUs mark them as accessed.
 */
static bool pdpte_is_valid(const uint64_t pdptes[GVA_PDPTES], unsigned n)
{
    const uint64_t used[GVA_PDPTES] = {pdptes[n] & ~PTE_A};

    return gva_pdptes_are_valid(backend()->has_pdptes ? pdptes : used);
}

/*
 * PAE: the PDPTE registers stand where a third level's table would. When they are out of date, memory has what the
 * next entry will load.
 */
static enum hv_translate_result walk_pdpte(struct walk *w)
{
    const unsigned n = w->gva >> 30 & (GVA_PDPTES - 1);
    uint64_t pdptes[GVA_PDPTES];

    if (backend()->has_pdptes && !w->vp->pdptes_stale)
        memcpy(pdptes, w->v->pdpte, sizeof(pdptes));
    else if (!gva_read_pdptes(w->vp, w->v->cr3, pdptes))
        return gpa_failure(w->vp, w->v->cr3 & CR3_PAE_BASE, HV_TRANSLATE_GPA_NO_READ);
    if (!(pdptes[n] & PTE_P))
        return HV_TRANSLATE_NOT_PRESENT;
    if (!pdpte_is_valid(pdptes, n))
        return HV_TRANSLATE_INVALID_FLAGS;
    w->table = pdptes[n] & PTE_ADDR;
    return HV_TRANSLATE_SUCCESS;
}

static enum hv_translate_result walk_start(struct walk *w)
{
    if (!gva_is_long_mode(w->v))
        w->gva = (uint32_t)w->gva;
    w->paging = paging_of(w->v);
    w->gpa = w->paging ? HV_HPA_NONE : w->gva;
    w->all = PTE_RW | PTE_US;
    w->any = 0;
    w->path.count = 0;
    w->path.entry_size = w->paging ? w->paging->entry_size : 0;
    if (gva_is_long_mode(w->v) && !is_canonical(w->v, w->gva))
        return HV_TRANSLATE_NOT_PRESENT; /* WHP has no result of its own for it */
    if (w->paging == &paging_pae)
        return walk_pdpte(w);
    w->table = w->v->cr3 & (w->paging == &paging_32bit ? CR3_PAGE_BASE & UINT32_MAX : CR3_PAGE_BASE);
    return HV_TRANSLATE_SUCCESS;
}

/* ---------------------------------------------------------------------------------- rights */

static unsigned cpl_of(const struct vcpu *v)
{
    return v->rflags & RFLAGS_VM ? 3 : (unsigned)FIELD_GET(SEG_DPL, v->seg[SEG_SS].attributes);
}

/* SDM 3A 4.6.1. Exempt from privilege: a supervisor that neither SMEP nor SMAP binds. */
static bool is_smap_violation(const struct walk *w)
{
    if (!(w->flags & (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE)) || !(w->v->cr4 & CR4_SMAP))
        return false;
    if (w->flags & HV_TRANSLATE_OVERRIDE_SMAP)
        return false;
    return (w->flags & HV_TRANSLATE_ENFORCE_SMAP) || !(w->v->rflags & RFLAGS_AC);
}

static bool is_privilege_violation(const struct walk *w)
{
    bool exempt = (w->flags & HV_TRANSLATE_PRIVILEGE_EXEMPT) != 0;
    bool user = !exempt && cpl_of(w->v) == 3;
    bool user_page = (w->all & PTE_US) != 0;

    if (!w->paging || !(w->flags & TRANSLATE_ACCESS))
        return false;
    if ((w->flags & HV_TRANSLATE_WRITE) && !(w->all & PTE_RW) && (user || (w->v->cr0 & CR0_WP)))
        return true;
    if ((w->flags & HV_TRANSLATE_EXECUTE) && (w->any & PTE_XD))
        return true;
    if (user || exempt || !user_page)
        return user && !user_page;
    return is_smap_violation(w) || ((w->flags & HV_TRANSLATE_EXECUTE) && (w->v->cr4 & CR4_SMEP));
}

/* The page reached, in the partition's memory map. There is no result code for "no execute access". */
static enum hv_translate_result check_page(const struct walk *w)
{
    int rights;

    if (!(w->flags & TRANSLATE_ACCESS))
        return HV_TRANSLATE_SUCCESS;
    rights = gpa_rights(w->vp, w->gpa);
    if (rights < 0)
        return HV_TRANSLATE_GPA_UNMAPPED;
    if ((w->flags & HV_TRANSLATE_READ) && !(rights & NPT_READ))
        return HV_TRANSLATE_GPA_NO_READ;
    if ((w->flags & HV_TRANSLATE_EXECUTE) && !(rights & NPT_EXECUTE))
        return HV_TRANSLATE_GPA_NO_READ;
    if ((w->flags & HV_TRANSLATE_WRITE) && !(rights & NPT_WRITE))
        return HV_TRANSLATE_GPA_NO_WRITE;
    return HV_TRANSLATE_SUCCESS;
}

/* ---------------------------------------------------------------- accessed and dirty bits */

/* false: an entry has changed since it was read, walk again. *result says whether a table page cannot be written. */
static bool set_entry_bits(struct walk *w, enum hv_translate_result *result)
{
    const struct gva_path *path = &w->path;

    for (unsigned i = 0; i < path->count; i++) {
        bool leaf = i + 1 == path->count;
        uint64_t value = path->entry[i].value;
        uint64_t bits = PTE_A | (leaf && (w->flags & HV_TRANSLATE_WRITE) ? PTE_D : 0);

        if ((value & bits) == bits || gpa_set_bits(w->vp, path->entry[i].gpa, path->entry_size, value, bits))
            continue;
        if (gpa_rights(w->vp, path->entry[i].gpa) & NPT_WRITE)
            return false;
        *result = gpa_failure(w->vp, path->entry[i].gpa, HV_TRANSLATE_GPA_NO_WRITE);
        return true;
    }
    return true;
}

static enum hv_translate_result walk_once(struct walk *w)
{
    enum hv_translate_result result = walk_start(w);

    if (result == HV_TRANSLATE_SUCCESS && w->paging)
        result = walk_tables(w);
    if (result != HV_TRANSLATE_SUCCESS)
        return result;
    return is_privilege_violation(w) ? HV_TRANSLATE_PRIVILEGE_VIOLATION : check_page(w);
}

static void need_registers(struct vcpu *v)
{
    vcpu_need(v, WALK_GROUPS);
    if (is_pae_paging(v))
        vcpu_need(v, VCPU_PDPTE);
}

enum hv_translate_result gva_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, hv_gpa_t *gpa)
{
    struct walk w = {.vp = vp, .v = vp->vcpu, .gva = gva, .flags = flags};
    enum hv_translate_result result;

    need_registers(vp->vcpu);
    for (unsigned tries = WALK_TRIES; tries; tries--) {
        result = walk_once(&w);
        *gpa = w.gpa;
        if (result != HV_TRANSLATE_SUCCESS || !(flags & HV_TRANSLATE_SET_BITS) || set_entry_bits(&w, &result))
            return result;
    }
    return HV_TRANSLATE_NOT_PRESENT; /* as if the page had gone: the guest fights its own walks */
}

enum hv_translate_result gva_trace(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, hv_gpa_t *gpa, struct gva_path *path)
{
    struct walk w = {.vp = vp, .v = vp->vcpu, .gva = gva, .flags = flags};
    enum hv_translate_result result;

    need_registers(vp->vcpu);
    result = walk_once(&w);
    *gpa = w.gpa;
    *path = w.path;
    return result;
}

enum hv_status hv_vp_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, enum hv_translate_result *result,
                               hv_gpa_t *gpa)
{
    if (flags & ~TRANSLATE_FLAGS)
        return HV_E_INVALID;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vp_pin(vp);
    *result = gva_translate(vp, gva, flags, gpa);
    vp_unpin(vp);
    vp_release(vp);
    return HV_OK;
}

/* --------------------------------------------------------------------- instruction fetch */

void gva_fetch_instruction(struct hv_vp *vp, struct hv_instruction *out)
{
    struct vcpu *v = vp->vcpu;
    bool is_64bit;
    hv_gva_t gva;
    hv_gpa_t gpa;

    *out = (struct hv_instruction){0};
    vcpu_need(v, GVA_CODE_GROUPS);
    is_64bit = gva_code_size(v) == 8;
    gva = gva_of_code(v);
    while (out->count < HV_INSTRUCTION_BYTES_MAX) {
        uint64_t n = HV_MIN(HV_INSTRUCTION_BYTES_MAX - (uint64_t)out->count, HV_PAGE_SIZE - (gva & HV_PAGE_MASK));

        if (gva_translate(vp, gva, HV_TRANSLATE_EXECUTE, &gpa) != HV_TRANSLATE_SUCCESS ||
            gpa_read(vp, gpa, out->bytes + out->count, n) != HV_OK)
            return;
        out->count += n;
        gva = is_64bit ? gva + n : (uint32_t)(gva + n);
    }
}

/* -------------------------------------------------------------------------------- PDPTEs */

bool gva_read_pdptes(struct hv_vp *vp, uint64_t cr3, uint64_t pdptes[GVA_PDPTES])
{
    hv_gpa_t gpa = cr3 & CR3_PAE_BASE;

    for (unsigned i = 0; i < GVA_PDPTES; i++)
        if (gpa_read(vp, gpa + i * sizeof(pdptes[i]), &pdptes[i], sizeof(pdptes[i])) != HV_OK)
            return false;
    return true;
}

bool gva_pdptes_are_valid(const uint64_t pdptes[GVA_PDPTES])
{
    uint64_t reserved = PDPTE_RESERVED | BITS64(63, 52) | reserved_address();

    for (unsigned i = 0; i < GVA_PDPTES; i++)
        if ((pdptes[i] & PTE_P) && (pdptes[i] & reserved))
            return false;
    return true;
}

bool gva_load_pdptes(struct hv_vp *vp)
{
    struct vcpu *v = vp->vcpu;
    uint64_t pdptes[GVA_PDPTES];

    vcpu_need(v, WALK_GROUPS);
    if (is_pae_paging(v)) {
        if (!gva_read_pdptes(vp, v->cr3, pdptes))
            return false;
        memcpy(v->pdpte, pdptes, sizeof(pdptes));
        vcpu_changed(v, VCPU_PDPTE);
    }
    vp->pdptes_stale = false;
    return true;
}
