/* SPDX-License-Identifier: MIT */
/* What the tests of the IOMMUs' twins share: probing, what is reported, domains. */
#ifndef IOMMU_TWIN_H
#define IOMMU_TWIN_H

#include "unit.h"
#include <arch/iommu.h>
#include <fake.h>
#include <string.h>

/* The twin under test: the including file's to define. */
static const struct iommu_backend *const twin;

#define K(n)  ((n)*HV_PAGE_SIZE)
#define M2(n) ((n)*HV_SIZE_2M)
#define RW    (NPT_READ | NPT_WRITE)
#define RAM   0x1000000000ull
#define RAM_2 0x1100000000ull

static struct hv_iommu_platform platform;

static inline bool probe(void)
{
    platform = (struct hv_iommu_platform){0};
    return twin->probe(&platform);
}

static inline void refused(const char *why)
{
    assert_false(probe());
    assert_false(platform.present);
    if (!strstr(platform.reason, why))
        fail_msg("\"%s\" does not say \"%s\"", platform.reason, why);
}

/* --------------------------------------------------------------------------------- reports */

static struct iommu_fault reports[64];
static unsigned report_count;

void iommu_report(const struct iommu_fault *fault)
{
    reports[report_count++ % 64] = *fault;
}

/* The last one. */
static inline void assert_reported(uint16_t bdf, enum iommu_fault_kind kind, uint64_t address, uint8_t code)
{
    const struct iommu_fault *f = &reports[(report_count - 1) % 64];

    assert_int_not_equal(report_count, 0);
    assert_int_equal(f->requester.bdf, bdf);
    assert_int_equal(f->requester.segment, 0);
    assert_int_equal(f->kind, kind);
    assert_int_equal(f->address, address);
    assert_int_equal(f->code, code);
    assert_non_null(f->text);
}

/* ---------------------------------------------------------------------------------- domains */

static inline struct iommu_domain domain(uint16_t id)
{
    struct iommu_domain d = {.id = id};

    assert_int_equal(npt_init(&d.npt, twin->format()), HV_OK);
    return d;
}

static inline hv_hpa_t from_base(void *arg, uint64_t offset, uint64_t *size)
{
    (void)size;
    return *(hv_hpa_t *)arg + offset;
}

static inline void map(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights)
{
    assert_int_equal(npt_map(&d->npt, gpa, size, from_base, &pa, rights), HV_OK);
    twin->flush(d, gpa, size);
    npt_reap(&d->npt);
}

static inline void unmap(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    assert_int_equal(npt_unmap(&d->npt, gpa, size), HV_OK);
    twin->flush(d, gpa, size);
    npt_reap(&d->npt);
}

/* Off, and everything is back; the caller's domains too. */
static inline void finish(struct iommu_domain *a, struct iommu_domain *b)
{
    twin->off();
    if (a)
        npt_destroy(&a->npt);
    if (b)
        npt_destroy(&b->npt);
    assert_int_equal(fake_counts().pages, 0);
    assert_int_equal(fake_counts().vectors, 0);
    assert_int_equal(fake_counts().mmio_mappings, 0);
}

#endif
