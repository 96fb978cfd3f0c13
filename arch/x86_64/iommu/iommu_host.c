/* SPDX-License-Identifier: MIT */
/*
 * Units that the host manages itself (hv_iommu_use), as one more kind. A domain has tables of ours, in a format of no
 * hardware's, so that virt/ does with it what it does with all; at each flush the host is told what they say now.
 */
#include "iommu_parts.h"
#include <hv/base/assert.h>
#include <hv/base/bits.h>
#include <hv/base/log.h>

#define ENTRY_PRESENT BIT64(0)
#define ENTRY_WRITE   BIT64(1)
#define ENTRY_LARGE   BIT64(7)
#define ENTRY_ADDRESS BITS64(51, 12)
#define ENTRIES       512u
#define LEVEL_BITS    9

static const struct npt_format format = {
    .name = "the host's IOMMU",
    .levels = 4,
    .max_leaf_level = 3,
    .present = ENTRY_PRESENT,
    .address = ENTRY_ADDRESS,
    .table = ENTRY_PRESENT | ENTRY_WRITE,
    .large = ENTRY_LARGE,
    .rights =
        {
            [NPT_READ] = ENTRY_PRESENT,
            [NPT_READ | NPT_EXECUTE] = ENTRY_PRESENT,
            [NPT_READ | NPT_WRITE] = ENTRY_PRESENT | ENTRY_WRITE,
            [NPT_RIGHTS] = ENTRY_PRESENT | ENTRY_WRITE,
        },
    .rights_mask = ENTRY_PRESENT | ENTRY_WRITE,
};

/* The host's object behind a domain of ours. */
struct twin {
    struct twin *next;
    const struct iommu_domain *domain;
    void *hosts;
    bool is_told; /* it has been told all; from the first attachment on */
};

static const struct hv_iommu_ops *ops;
static struct twin *twins;

static bool has_interrupts(const struct hv_iommu_ops *o)
{
    return o->irq_alloc && o->irq_free && o->irq_set && o->irq_message;
}

bool iommu_host_use(const struct hv_iommu_ops *new)
{
    if (!new || !new->name || !new->domain_create || !new->domain_destroy || !new->map || !new->unmap || !new->attach ||
        !new->give_back || (new->remaps_interrupts && !has_interrupts(new)))
        return false;
    ops = new;
    return true;
}

static bool host_probe(struct hv_iommu_platform *platform)
{
    platform->name = ops->name;
    platform->remaps_interrupts = ops->remaps_interrupts;
    if (!ops->remaps_interrupts)
        hv_format(platform->reason, sizeof(platform->reason), "the host's IOMMU does not remap interrupts");
    return true;
}

static enum hv_status host_on(void)
{
    return HV_OK;
}

static void host_off(void)
{
}

static const struct npt_format *host_format(void)
{
    return &format;
}

static uint32_t host_domain_ids(void)
{
    return 65536;
}

/* ------------------------------------------------------------------------------------- domains */

static struct twin **twin_of(const struct iommu_domain *d)
{
    struct twin **at = &twins;

    while (*at && (*at)->domain != d)
        at = &(*at)->next;
    HV_ASSERT(*at);
    return at;
}

static enum hv_status host_domain_create(const struct iommu_domain *d)
{
    struct twin *t = hv_host_alloc(sizeof(*t));

    if (!t)
        return HV_E_NO_MEMORY;
    t->hosts = ops->domain_create();
    if (!t->hosts) {
        hv_host_free(t, sizeof(*t));
        return HV_E_NO_MEMORY;
    }
    t->domain = d;
    t->next = twins;
    twins = t;
    return HV_OK;
}

static void host_domain_destroy(const struct iommu_domain *d)
{
    struct twin **at = twin_of(d), *t = *at;

    *at = t->next;
    ops->domain_destroy(t->hosts);
    hv_host_free(t, sizeof(*t));
}

/* ------------------------------------------------------------------------- telling of mappings */

struct telling {
    void *domain;
    hv_gpa_t start, end;
};

static void tell_leaf(const struct telling *t, hv_gpa_t gpa, uint64_t size, uint64_t entry)
{
    hv_gpa_t from = HV_MAX(gpa, t->start), to = HV_MIN(gpa + size, t->end);
    hv_hpa_t pa = (entry & ENTRY_ADDRESS) + (from - gpa);

    if (!ops->map(t->domain, from, pa, to - from, entry & ENTRY_WRITE))
        hv_log(HV_LOG_ERROR, "%s: 0x%llx to 0x%llx of a guest can not be mapped for its devices", ops->name,
               (unsigned long long)from, (unsigned long long)to);
}

static void tell_table(const struct telling *t, const uint64_t *table, unsigned level, hv_gpa_t base)
{
    uint64_t size = HV_PAGE_SIZE << (LEVEL_BITS * (level - 1));

    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t entry = __atomic_load_n(&table[i], __ATOMIC_ACQUIRE);
        hv_gpa_t gpa = base + i * size;

        if (!(entry & ENTRY_PRESENT) || gpa >= t->end || gpa + size <= t->start)
            continue;
        if (level == 1 || entry & ENTRY_LARGE)
            tell_leaf(t, gpa, size, entry);
        else
            tell_table(t, hv_host_phys_to_virt(entry & ENTRY_ADDRESS), level - 1, gpa);
    }
}

static void tell(const struct twin *twin, hv_gpa_t start, hv_gpa_t end)
{
    const struct telling t = {twin->hosts, start, end};

    tell_table(&t, twin->domain->npt.root, format.levels, 0);
}

static void host_flush(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    hv_gpa_t limit = npt_limit(&d->npt), end = size < limit ? HV_MIN(gpa + size, limit) : limit;
    const struct twin *t = *twin_of(d);

    if (!t->is_told || gpa >= end)
        return;
    ops->unmap(t->hosts, gpa, end - gpa);
    tell(t, gpa, end);
}

/* ----------------------------------------------------------------------------------- attaching */

/* The first time the host is told all that has been mapped until now. */
static enum hv_status host_attach(const struct hv_pci_address *requester, const struct iommu_domain *d)
{
    struct twin *t;

    if (!d)
        return ops->attach(requester, NULL);
    t = *twin_of(d);
    if (!t->is_told)
        tell(t, 0, npt_limit(&d->npt));
    t->is_told = true;
    return ops->attach(requester, t->hosts);
}

static void host_give_back(const struct hv_pci_address *requester)
{
    ops->give_back(requester);
}

/* ---------------------------------------------------------------------------------- interrupts */

static enum hv_status host_irq_alloc(const struct hv_pci_address *requester, uint32_t count, uint32_t *first)
{
    return ops->irq_alloc(requester, count, first);
}

static void host_irq_free(const struct hv_pci_address *requester, uint32_t first, uint32_t count)
{
    ops->irq_free(requester, first, count);
}

static void host_irq_set(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target)
{
    ops->irq_set(requester, entry, target->is_valid ? target->vector : 0, target->apic_id);
}

static void host_irq_message(const struct hv_pci_address *requester, uint32_t entry, uint32_t n,
                             struct hv_msi_message *out)
{
    ops->irq_message(requester, entry, n, out);
}

const struct iommu_backend iommu_host_backend = {
    .name = "the host's",
    .probe = host_probe,
    .on = host_on,
    .off = host_off,
    .format = host_format,
    .domain_ids = host_domain_ids,
    .attach = host_attach,
    .flush = host_flush,
    .irq_set = host_irq_set,
    .irq_message = host_irq_message,
    .domain_create = host_domain_create,
    .domain_destroy = host_domain_destroy,
    .give_back = host_give_back,
    .irq_alloc = host_irq_alloc,
    .irq_free = host_irq_free,
};
