/* SPDX-License-Identifier: MIT */
/*
 * VT-d's DMA remapping in legacy mode: root and context tables (VT-d 9.1, 9.3), which say by whose second-level tables
 * a requester's addresses are translated, and the caches of all of them (VT-d 6).
 */
#include "vtd.h"

#define CONTEXT_WORDS 2ull
#define ROOT_WORDS    2ull
#define BUSES         256u

/* A page of contexts for each bus that something is attached on. */
static uint64_t *contexts_of(const struct vtd_unit *u, unsigned bus)
{
    uint64_t root = u->root.words ? u->root.words[bus * ROOT_WORDS] : 0;

    return root & VTD_ROOT_P ? hv_host_phys_to_virt(root & VTD_ROOT_CONTEXT) : NULL;
}

static void write_word(uint64_t *p, uint64_t word)
{
    __atomic_store_n(p, word, __ATOMIC_RELEASE);
    vtd_written(p, sizeof(*p));
}

static enum hv_status contexts_make(struct vtd_unit *u, unsigned bus)
{
    struct vtd_table contexts = {0};

    if (contexts_of(u, bus))
        return HV_OK;
    if (vtd_table_make(&u->root, 1) != HV_OK || vtd_table_make(&contexts, 1) != HV_OK)
        return HV_E_NO_MEMORY;
    write_word(&u->root.words[bus * ROOT_WORDS], contexts.pa | VTD_ROOT_P);
    return HV_OK;
}

/* ---------------------------------------------------------------------------------- caches */

static uint64_t iotlb(const struct vtd_unit *u, unsigned granularity, uint64_t id)
{
    uint64_t drain = (u->cap & VTD_CAP_DRD ? VTD_INV_DR : 0) | (u->cap & VTD_CAP_DWD ? VTD_INV_DW : 0);

    return VTD_INV_IOTLB | FIELD_PUT(VTD_INV_G, granularity) | FIELD_PUT(VTD_INV_DID, id) | drain;
}

/* The requester's context, cached with a domain's tag, and what that domain has in the IOTLB (VT-d 6.5.2.1, 6.5.2.3) */
static void forget_context(struct vtd_unit *u, uint16_t bdf, uint64_t cached_id, uint64_t id)
{
    const struct vtd_request requests[] = {
        {VTD_INV_CONTEXT | FIELD_PUT(VTD_INV_G, VTD_INV_G_CLOSEST) | FIELD_PUT(VTD_INV_DID, cached_id) |
             FIELD_PUT(VTD_INV_SID, bdf),
         0},
        {iotlb(u, VTD_INV_G_DOMAIN, id), 0},
    };

    if (u->is_on)
        vtd_invalidate(u, requests, ARRAY_COUNT(requests));
}

/*
 * A context that was not present can only be cached in caching mode, with tag 0 (VT-d 6.1). Where nothing has to be
 * invalidated, the chipset's write buffer may still keep the context from the unit (VT-d 6.8).
 */
static void announce_context(struct vtd_unit *u, uint16_t bdf, uint64_t id)
{
    if (u->cap & VTD_CAP_CM)
        forget_context(u, bdf, 0, id);
    else if (u->is_on && u->cap & VTD_CAP_RWBF && !vtd_command(u, VTD_GCMD_WBF, true))
        vtd_invalidate_all(u); /* which flushes it as well */
}

/* The pages [gpa, gpa + size) by the smallest aligned power of 2 that has them all; the whole domain if that is too
 * big. */
static struct vtd_request flush_request(const struct vtd_unit *u, uint16_t id, hv_gpa_t gpa, uint64_t size)
{
    uint64_t differ = (gpa ^ (gpa + size - 1)) / HV_PAGE_SIZE;
    unsigned order = differ ? 64 - (unsigned)__builtin_clzll(differ) : 0;

    if (!(u->cap & VTD_CAP_PSI) || order > FIELD_GET(VTD_CAP_MAMV, u->cap))
        return (struct vtd_request){iotlb(u, VTD_INV_G_DOMAIN, id), 0};
    return (struct vtd_request){iotlb(u, VTD_INV_G_CLOSEST, id), ALIGN_DOWN(gpa, HV_PAGE_SIZE << order) | order};
}

void vtd_flush(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    if (!size)
        return;
    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.count; u++) {
        struct vtd_request request = flush_request(u, d->id, gpa, size);

        if (!u->is_on)
            continue;
        vtd_invalidate(u, &request, 1);
        vtd_faults_resume(u);
    }
}

/* ----------------------------------------------------------------------------------- attach */

/* Both words change, so the context is gone in between: what comes from the requester then is blocked. */
static void detach(struct vtd_unit *u, uint64_t *context, uint16_t bdf)
{
    uint64_t id = FIELD_GET(VTD_CONTEXT_DID, context[1]);

    if (!(context[0] & VTD_CONTEXT_P))
        return;
    write_word(&context[0], 0);
    forget_context(u, bdf, id, id);
}

static void attach(struct vtd_unit *u, uint64_t *context, uint16_t bdf, const struct iommu_domain *d)
{
    uint64_t low = d->npt.root_pa | VTD_CONTEXT_P;
    uint64_t high = FIELD_PUT(VTD_CONTEXT_AW, d->npt.format->levels - 2) | FIELD_PUT(VTD_CONTEXT_DID, d->id);

    if (context[0] == low && context[1] == high)
        return;
    detach(u, context, bdf);
    write_word(&context[1], high);
    write_word(&context[0], low);
    announce_context(u, bdf, d->id);
}

enum hv_status vtd_attach(const struct hv_pci_address *requester, const struct iommu_domain *d)
{
    struct vtd_unit *u = vtd_unit_of(requester);
    uint8_t bus = requester->bdf >> 8, function = requester->bdf & 0xff;
    uint64_t *context;

    if (!u)
        return HV_E_NOT_PRESENT;
    if (d && contexts_make(u, bus) != HV_OK)
        return HV_E_NO_MEMORY;
    context = contexts_of(u, bus);
    if (!context)
        return HV_OK; /* nothing on the bus was ever attached */
    context += function * CONTEXT_WORDS;
    if (d)
        attach(u, context, requester->bdf, d);
    else
        detach(u, context, requester->bdf);
    vtd_faults_resume(u);
    return HV_OK;
}

/* --------------------------------------------------------------------------------- on and off */

enum hv_status vtd_dma_on(struct vtd_unit *u)
{
    if (vtd_table_make(&u->root, 1) != HV_OK)
        return HV_E_NO_MEMORY;
    vtd_write64(u, VTD_RTADDR, u->root.pa);
    return vtd_command(u, VTD_GCMD_SRTP, true) && vtd_invalidate_all(u) ? HV_OK : HV_E_NOT_PRESENT;
}

void vtd_dma_off(struct vtd_unit *u)
{
    for (unsigned bus = 0; bus < BUSES; bus++) {
        struct vtd_table contexts = {.words = contexts_of(u, bus)};

        vtd_table_free(&contexts, 1);
    }
    vtd_table_free(&u->root, 1);
}

/* ------------------------------------------------------------------- format of second-level tables */

/*
 * Rights to execute mean nothing to devices: they are taken, and not found again. Bits that later units have in
 * entries (accessed, dirty, snoop, memory types) stay 0: in legacy mode nothing is asked of them.
 */
void vtd_format_init(unsigned levels, unsigned max_leaf_level)
{
    struct npt_format *f = &vtd.format;

    *f = (struct npt_format){.name = "VT-d", .levels = levels, .max_leaf_level = max_leaf_level};
    f->present = f->table = f->rights_mask = VTD_SL_R | VTD_SL_W;
    f->address = BITS64(vtd.dmar.width - 1, 12);
    f->large = VTD_SL_LARGE;
    f->rights[NPT_READ] = f->rights[NPT_READ | NPT_EXECUTE] = VTD_SL_R;
    f->rights[NPT_WRITE] = f->rights[NPT_WRITE | NPT_EXECUTE] = VTD_SL_W;
    f->rights[NPT_READ | NPT_WRITE] = f->rights[NPT_RIGHTS] = VTD_SL_R | VTD_SL_W;
    f->written = vtd.is_snooping ? NULL : vtd_written;
}
