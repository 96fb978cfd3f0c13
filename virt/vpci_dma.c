/* SPDX-License-Identifier: MIT */
#include "vpci_dma.h"
#include "gpa.h"
#include <hv/base/assert.h>
#include <hv/base/bits.h>

#define DMA_RIGHTS (NPT_READ | NPT_WRITE)

/* ------------------------------------------------------------------------------------- changes */

/*
 * Where local APICs are the domain has a hole that covers what is mapped there. It is the only cover, so that it can be
 * the same for all: nobody looks at what is behind.
 */
static struct npt_cover *next_cover(void *arg, hv_gpa_t gpa)
{
    struct npt_cover *hole = arg;

    return hole->gpa >= gpa ? hole : NULL;
}

/* The part of a change that the domain's tables can express; its size is 0 when they can not any of it. */
static struct gpa_change part_of(const struct iommu_domain *d, const struct gpa_change *change)
{
    struct gpa_change part = *change;
    hv_gpa_t limit = npt_limit(&d->npt);

    part.size = part.gpa < limit ? HV_MIN(part.size, limit - part.gpa) : 0;
    part.rights &= DMA_RIGHTS;
    return part;
}

static enum hv_status prepare(struct hv_partition *p, const struct gpa_change *change)
{
    struct iommu_domain *d = p->dma.domain;
    const struct gpa_change part = part_of(d, change);
    enum hv_status st = HV_OK;

    if (part.size && part.rights)
        st = npt_reserve_map(&d->npt, part.gpa, part.size, part.source, part.arg, part.rights);
    else if (part.size)
        st = npt_reserve_unmap(&d->npt, part.gpa, part.size);
    return st == HV_E_GPA_NOT_FOUND ? HV_OK : st; /* nothing is there for devices */
}

/* When it returns, no DMA goes by the old tables. */
static void make(struct hv_partition *p, const struct gpa_change *change)
{
    struct iommu_domain *d = p->dma.domain;
    const struct gpa_change part = part_of(d, change);
    enum hv_status st;

    if (!part.size)
        return;
    if (part.rights)
        st = npt_map(&d->npt, part.gpa, part.size, part.source, part.arg, part.rights);
    else
        st = npt_unmap(&d->npt, part.gpa, part.size);
    HV_ASSERT(st == HV_OK || (!part.rights && st == HV_E_GPA_NOT_FOUND)); /* it was prepared */
    if (st != HV_OK)
        return;
    iommu_flush(d, part.gpa, part.size);
    npt_reap(&d->npt);
}

static void abandon(struct hv_partition *p)
{
    npt_unreserve(&p->dma.domain->npt);
}

static const struct gpa_follower follower = {prepare, make, abandon};

/* ------------------------------------------------------------------- what is mapped already */

/* Leaves that follow one another, here and in the host's memory. */
struct run {
    struct iommu_domain *domain;
    hv_gpa_t gpa;
    uint64_t size; /* 0: none yet */
    hv_hpa_t pa;
    unsigned rights;
    enum hv_status status;
};

static hv_hpa_t run_page(void *arg, uint64_t offset, uint64_t *size)
{
    const struct run *run = arg;

    (void)size; /* all that is left */
    return run->pa + offset;
}

static void run_end(struct run *run)
{
    const struct gpa_change whole = {.gpa = run->gpa, .size = run->size}, part = part_of(run->domain, &whole);

    if (part.size && run->status == HV_OK)
        run->status = npt_map(&run->domain->npt, part.gpa, part.size, run_page, run, run->rights);
    run->size = 0;
}

static void add_leaf(void *arg, hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights)
{
    struct run *run = arg;

    rights &= DMA_RIGHTS;
    if (!rights)
        return;
    if (run->gpa + run->size != gpa || run->pa + run->size != pa || run->rights != rights)
        run_end(run);
    if (!run->size) {
        run->gpa = gpa;
        run->pa = pa;
        run->rights = rights;
    }
    run->size += size;
}

static enum hv_status add_all(struct hv_partition *p, struct iommu_domain *d)
{
    struct run run = {.domain = d};

    npt_each(&p->npt, add_leaf, &run);
    run_end(&run);
    return run.status;
}

/* Cut the page out before anything is mapped: nothing shows there from then on. */
static enum hv_status cut_out_apic(struct hv_partition *p, struct iommu_domain *d)
{
    enum hv_status st;

    if (p->properties.local_apic_mode == HV_LOCAL_APIC_NONE || APIC_DEFAULT_BASE >= npt_limit(&d->npt))
        return HV_OK;
    p->dma.apic = (struct npt_cover){.gpa = APIC_DEFAULT_BASE};
    st = npt_cover(&d->npt, APIC_DEFAULT_BASE, HV_HPA_NONE, 0, &p->dma.apic.hidden);
    if (st != HV_OK)
        return st;
    d->npt.cover_arg = &p->dma.apic;
    d->npt.next_cover = next_cover;
    return HV_OK;
}

/* ---------------------------------------------------------------------------------------- life */

static enum hv_status create_domain(struct hv_partition *p)
{
    struct iommu_domain *d;
    enum hv_status st = iommu_domain_create(&d);

    if (st != HV_OK)
        return st;
    st = cut_out_apic(p, d);
    if (st == HV_OK)
        st = add_all(p, d);
    if (st != HV_OK) {
        iommu_domain_destroy(d);
        return st;
    }
    p->dma.domain = d;
    p->dma.has_been = true;
    p->follower = &follower;
    return HV_OK;
}

enum hv_status vpci_dma_hold(struct hv_partition *p, struct iommu_domain **out)
{
    enum hv_status st = HV_OK;

    hv_mutex_lock(&p->mutex);
    if (!p->dma.domain)
        st = create_domain(p);
    if (st == HV_OK) {
        p->dma.users++;
        *out = p->dma.domain;
    }
    hv_mutex_unlock(&p->mutex);
    return st;
}

void vpci_dma_release(struct hv_partition *p)
{
    struct iommu_domain *unused = NULL;

    hv_mutex_lock(&p->mutex);
    if (--p->dma.users == 0) {
        unused = p->dma.domain;
        p->dma.domain = NULL;
        p->follower = NULL;
    }
    hv_mutex_unlock(&p->mutex);
    if (unused)
        iommu_domain_destroy(unused);
}
