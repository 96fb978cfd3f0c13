/* SPDX-License-Identifier: MIT */
/*
 * What devices reach by DMA while the memory map changes: random changes, overlays, doorbells' holes and devices that
 * come and go, with memory that fails, against a model that keeps one record for each page; and a device that uses what
 * it has once been told for as long as nobody tells it to forget. SEED=n in the environment repeats or varies a run.
 */
#include "random.h"
#include "stub_vp.h"
#include "virt/gpa.h"
#include "virt/overlay.h"
#include "virt/vpci_dma.h"
#include <hv/base/memory.h>

#define APIC_PAGE  512u
#define START      (APIC_DEFAULT_BASE - APIC_PAGE * HV_PAGE_SIZE) /* of the window that is played in */
#define PAGES      1536u
#define STEPS      3000u
#define OVERLAYS   8u
#define READ_WRITE (NPT_READ | NPT_WRITE)

struct page {
    hv_hpa_t pa; /* 0: not mapped */
    unsigned rights;
};

static struct {
    struct page page[PAGES];  /* as the client has mapped it */
    struct page cache[PAGES]; /* the device's */
    struct overlay overlay[OVERLAYS];
    void *host_page[OVERLAYS];
    struct iommu_domain *domain;
    unsigned holders, domains, flushes;
    enum hv_status creation;
} w;

static hv_gpa_t gpa_of(unsigned page)
{
    return START + page * HV_PAGE_SIZE;
}

/* ------------------------------------------------------------------------------------ the IOMMU */

/* Three levels, half a TiB: VT-d 3.6 with an address width of 39 bits. */
static const struct npt_format format_iommu = {
    .name = "second level",
    .levels = 3,
    .max_leaf_level = 3,
    .present = 3,
    .address = FORMAT_PA,
    .table = 3,
    .large = FORMAT_LARGE,
    .rights = {[1] = 1, [2] = 2, [3] = 3},
    .rights_mask = 3,
};

enum hv_status iommu_domain_create(struct iommu_domain **out)
{
    struct iommu_domain *d;
    enum hv_status st;

    if (w.creation != HV_OK)
        return w.creation;
    d = hv_host_alloc(sizeof(*d));
    if (!d)
        return HV_E_NO_MEMORY;
    st = npt_init(&d->npt, &format_iommu);
    if (st != HV_OK) {
        hv_host_free(d, sizeof(*d));
        return st;
    }
    w.domains++;
    *out = d;
    return HV_OK;
}

void iommu_domain_destroy(struct iommu_domain *d)
{
    assert_null(w.domain); /* nobody holds it */
    npt_destroy(&d->npt);
    hv_host_free(d, sizeof(*d));
    w.domains--;
}

/* The device looks pages up before each change, and keeps that; a retired table page is not freed under its eyes. */
static void fill_cache(void)
{
    for (unsigned i = 0; i < PAGES && w.domain; i++) {
        struct npt_leaf leaf;

        w.cache[i] =
            npt_lookup(&w.domain->npt, gpa_of(i), &leaf) ? (struct page){leaf.pa, leaf.rights} : (struct page){0};
    }
}

void iommu_flush(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    assert_ptr_equal(d, stub_partition.dma.domain);
    assert_true(stub_partition.mutex.state);
    for (unsigned i = 0; i < PAGES; i++)
        if (gpa_of(i) - gpa < size)
            w.cache[i] = (struct page){0};
    w.flushes++;
}

/* ------------------------------------------------------------------------------------ the model */

static struct page expected(unsigned page)
{
    struct page m = w.page[page];

    m.rights &= READ_WRITE;
    return page == APIC_PAGE || !m.rights ? (struct page){0} : m;
}

static void check_all(void)
{
    assert_int_equal(w.domains, w.domain != NULL);
    assert_ptr_equal(stub_partition.dma.domain, w.domain);
    assert_int_equal(stub_partition.follower != NULL, w.domain != NULL);
    for (unsigned i = 0; i < PAGES && w.domain; i++) {
        struct page m = expected(i), c = w.cache[i];
        struct npt_leaf leaf;
        bool is_there = npt_lookup(&w.domain->npt, gpa_of(i), &leaf);

        assert_int_equal(is_there, m.pa != 0);
        if (is_there) {
            assert_int_equal(leaf.pa, m.pa);
            assert_int_equal(leaf.rights, m.rights);
        }
        if (c.pa) {
            assert_int_equal(c.pa, m.pa); /* what it still believes is true */
            assert_int_equal(c.rights & ~m.rights, 0);
        }
    }
    if (!w.domain)
        return;
    assert_null(w.domain->npt.spare);
    assert_null(w.domain->npt.retired);
    assert_int_equal(w.domain->npt.reserved, 0);
}

struct range {
    unsigned first, end;
};

static struct range random_range(void)
{
    unsigned first = (unsigned)rnd(PAGES), count = (unsigned)(rnd(4) ? rnd(8) + 1 : rnd(PAGES) + 1);

    if (!rnd(4)) { /* for large leaves */
        first &= ~511u;
        count = 512 * (1 + (unsigned)rnd(3));
    }
    if (!rnd(4))
        first = APIC_PAGE - (unsigned)rnd(4);
    return (struct range){first, HV_MIN(first + count, PAGES)};
}

static uint64_t bytes_of(struct range r)
{
    return (r.end - r.first) * HV_PAGE_SIZE;
}

static void expect_memory_or_ok(enum hv_status st)
{
    assert_int_equal(st, fake_has_failed() ? HV_E_NO_MEMORY : HV_OK);
}

static void step_map(void)
{
    static const unsigned kinds[] = {
        NPT_RIGHTS, READ_WRITE, NPT_READ, READ_WRITE | NPT_TRACK, NPT_EXECUTE, NPT_READ | NPT_EXECUTE};
    unsigned kind = kinds[rnd(ARRAY_COUNT(kinds))];
    struct range r = random_range();
    uint64_t offset = r.first * HV_PAGE_SIZE + (rnd(3) ? 0 : HV_PAGE_SIZE); /* or not as large leaves want it */
    enum hv_status st = hv_partition_map(&stub_partition, stub_ram + offset, gpa_of(r.first), bytes_of(r), kind);

    expect_memory_or_ok(st);
    for (unsigned i = r.first; st == HV_OK && i < r.end; i++, offset += HV_PAGE_SIZE)
        w.page[i] = (struct page){STUB_RAM_PA + offset, kind & NPT_RIGHTS};
}

static void step_unmap(void)
{
    struct range r = random_range();
    enum hv_status st = hv_partition_unmap(&stub_partition, gpa_of(r.first), bytes_of(r));

    if (st != HV_E_GPA_NOT_FOUND && !(r.first <= APIC_PAGE && r.end > APIC_PAGE)) /* whose page can do without memory */
        expect_memory_or_ok(st);
    for (unsigned i = r.first; st != HV_E_NO_MEMORY && i < r.end; i++)
        w.page[i] = (struct page){0};
}

static void step_place(void)
{
    unsigned n = (unsigned)rnd(OVERLAYS), page = (unsigned)(rnd(3) ? rnd(4) : rnd(PAGES));
    enum hv_status st;

    hv_mutex_lock(&stub_partition.mutex);
    st = overlay_place(&stub_partition, &w.overlay[n], gpa_of(page), n % 3 ? w.host_page[n] : NULL, READ_WRITE);
    hv_mutex_unlock(&stub_partition.mutex);
    if (page == APIC_PAGE)
        assert_int_equal(st, HV_E_INVALID);
    else
        expect_memory_or_ok(st);
}

static void remove_overlay(unsigned n)
{
    hv_mutex_lock(&stub_partition.mutex);
    overlay_remove(&stub_partition, &w.overlay[n]);
    hv_mutex_unlock(&stub_partition.mutex);
}

static void step_remove(void)
{
    remove_overlay((unsigned)rnd(OVERLAYS));
}

static void step_hold(void)
{
    struct iommu_domain *d = NULL;
    enum hv_status st = vpci_dma_hold(&stub_partition, &d);

    expect_memory_or_ok(st);
    if (st != HV_OK)
        return;
    assert_int_equal(w.holders++ > 0, w.domain != NULL);
    assert_true(!w.domain || w.domain == d);
    w.domain = d;
    fill_cache();
}

static void step_release(void)
{
    if (!w.holders)
        return;
    if (--w.holders == 0)
        w.domain = NULL;
    vpci_dma_release(&stub_partition);
    assert_false(fake_has_failed());
}

static void (*const steps[])(void) = {step_map,   step_map,   step_map,    step_unmap, step_unmap,
                                      step_place, step_place, step_remove, step_hold,  step_release};

/* The model starts with nothing mapped; `access`: CPUs want a page where local APICs are. */
static void model_start(uint32_t apic_features)
{
    memset(&w, 0, sizeof(w));
    random_start();
    for (unsigned i = 0; i < OVERLAYS; i++)
        w.host_page[i] = hv_host_page_alloc();
    assert_int_equal(hv_partition_unmap(&stub_partition, 0, STUB_RAM_SIZE), HV_OK);
    stub_partition.properties.local_apic_mode = HV_LOCAL_APIC_XAPIC;
    stub_partition.apic_access_pa = HV_HPA_NONE;
    if (!apic_features)
        return;
    stub_partition.apic_access = hv_host_page_alloc();
    stub_partition.apic_access_pa = hv_host_virt_to_phys(stub_partition.apic_access, NULL);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, APIC_DEFAULT_BASE, HV_PAGE_SIZE, NPT_RIGHTS), HV_OK);
    assert_int_equal(hv_partition_unmap(&stub_partition, APIC_DEFAULT_BASE, HV_PAGE_SIZE), HV_OK);
}

static void model_end(void)
{
    while (w.holders)
        step_release();
    check_all();
    for (unsigned i = 0; i < OVERLAYS; i++) {
        remove_overlay(i);
        hv_host_page_free(w.host_page[i]);
    }
    if (stub_partition.apic_access)
        hv_host_page_free(stub_partition.apic_access);
}

static void random_changes(void **state)
{
    (void)state;
    model_start(1);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned step = (unsigned)rnd(ARRAY_COUNT(steps));

        fake_fail_after(rnd(4) ? 0 : 1 + rnd(6));
        fill_cache();
        steps[step]();
        fake_fail_after(0);
        check_all();
    }
    assert_true(w.flushes > STEPS / 10);
    model_end();
}

/* --------------------------------------------------------------------------------------- by hand */

static bool dma_reaches(hv_gpa_t gpa, struct npt_leaf *leaf)
{
    return npt_lookup(&w.domain->npt, gpa, leaf);
}

/* Large leaves stay large where nothing is in the way. */
static void what_is_mapped_before(void **state)
{
    struct npt_leaf leaf;

    (void)state;
    model_start(0);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 0, STUB_RAM_SIZE, NPT_RIGHTS), HV_OK);
    step_hold();
    assert_true(dma_reaches(5 * HV_SIZE_2M + 0x123, &leaf));
    assert_int_equal(leaf.level, 2);
    assert_int_equal(leaf.pa, STUB_RAM_PA + 5 * HV_SIZE_2M + 0x123);
    assert_int_equal(leaf.rights, READ_WRITE);
    model_end();
}

/* Three levels translate 512 GiB: what is mapped above is the VPs' alone. */
static void beyond_what_tables_translate(void **state)
{
    const hv_gpa_t limit = 1ull << 39;
    struct npt_leaf leaf;

    (void)state;
    model_start(0);
    step_hold();
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, limit - HV_PAGE_SIZE, 2 * HV_PAGE_SIZE, NPT_RIGHTS),
                     HV_OK);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 2 * limit, HV_SIZE_2M, NPT_RIGHTS), HV_OK);
    assert_true(dma_reaches(limit - HV_PAGE_SIZE, &leaf));
    assert_true(npt_lookup(&stub_partition.npt, limit, &leaf));
    step_release();
    step_hold(); /* and again from the tables */
    assert_true(dma_reaches(limit - HV_PAGE_SIZE, &leaf));
    assert_int_equal(npt_count(&w.domain->npt).pages[1], 1);
    assert_int_equal(hv_partition_unmap(&stub_partition, limit - HV_PAGE_SIZE, 2 * HV_PAGE_SIZE), HV_OK);
    assert_false(dma_reaches(limit - HV_PAGE_SIZE, &leaf));
    assert_int_equal(hv_partition_unmap(&stub_partition, 2 * limit, HV_SIZE_2M), HV_OK);
    model_end();
}

static void without_an_iommu(void **state)
{
    struct iommu_domain *d;

    (void)state;
    model_start(0);
    w.creation = HV_E_NOT_PRESENT;
    assert_int_equal(vpci_dma_hold(&stub_partition, &d), HV_E_NOT_PRESENT);
    check_all();
    assert_false(stub_partition.dma.has_been);
    assert_int_equal(stub_partition.dma.users, 0);
    model_end();
}

/* Nobody sees what devices write: from the first one on, each page may have been. */
static void dirty_pages(void **state)
{
    uint64_t bitmap[2] = {0};

    (void)state;
    model_start(0);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 0, 70 * HV_PAGE_SIZE, READ_WRITE | NPT_TRACK), HV_OK);
    assert_int_equal(hv_partition_query_dirty(&stub_partition, 0, 70 * HV_PAGE_SIZE, bitmap, 16), HV_OK);
    assert_int_equal(bitmap[0] | bitmap[1], 0);
    step_hold();
    step_release();
    assert_int_equal(hv_partition_query_dirty(&stub_partition, 0, 70 * HV_PAGE_SIZE, bitmap, 16), HV_OK);
    assert_int_equal(bitmap[0], ~0ull);
    assert_int_equal(bitmap[1], 0x3f);
    assert_int_equal(hv_partition_query_dirty(&stub_partition, 0, HV_PAGE_SIZE, NULL, 0), HV_OK);
    assert_int_equal(hv_partition_query_dirty(&stub_partition, HV_SIZE_2M, HV_PAGE_SIZE, bitmap, 16),
                     HV_E_GPA_NOT_FOUND);
    model_end();
}

/* A device's registers, which the client has mapped at several places, one of them hidden by an overlay. */
static void registers_that_are_withdrawn(void **state)
{
    struct gpa_withdrawal bar = {.pa = STUB_RAM_PA + 10 * HV_PAGE_SIZE + 16, .size = 4 * HV_PAGE_SIZE - 32};
    struct gpa_withdrawal again = {.pa = STUB_RAM_PA + 10 * HV_PAGE_SIZE, .size = HV_PAGE_SIZE};
    struct npt_leaf leaf;
    unsigned left = 0;

    (void)state;
    model_start(0);
    step_hold();
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 0, HV_SIZE_2M, NPT_RIGHTS), HV_OK);
    assert_int_equal(
        hv_partition_map(&stub_partition, stub_ram + 12 * HV_PAGE_SIZE, gpa_of(0), 20 * HV_PAGE_SIZE, READ_WRITE),
        HV_OK);
    hv_mutex_lock(&stub_partition.mutex);
    assert_int_equal(overlay_place(&stub_partition, &w.overlay[1], gpa_of(1), w.host_page[1], READ_WRITE), HV_OK);
    hv_mutex_unlock(&stub_partition.mutex);
    assert_int_equal(gpa_withdraw(&stub_partition, &bar), HV_OK);
    remove_overlay(1);
    for (hv_gpa_t gpa = 0; gpa < HV_SIZE_2M; gpa += HV_PAGE_SIZE)
        left += npt_lookup(&stub_partition.npt, gpa, &leaf);
    assert_int_equal(left, 512 - 4);
    assert_false(npt_lookup(&stub_partition.npt, 10 * HV_PAGE_SIZE, &leaf));
    assert_false(dma_reaches(13 * HV_PAGE_SIZE, &leaf));
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(npt_lookup(&stub_partition.npt, gpa_of(i), &leaf), i >= 2);
        assert_int_equal(dma_reaches(gpa_of(i), &leaf), i >= 2);
    }
    assert_int_equal(gpa_withdraw(&stub_partition, &again), HV_OK);
    for (unsigned page = 9; page < 15; page++)
        assert_int_equal(hv_partition_map(&stub_partition, stub_ram + page * HV_PAGE_SIZE, 10 * HV_PAGE_SIZE,
                                          HV_PAGE_SIZE, READ_WRITE),
                         page < 10 || page > 13 ? HV_OK : HV_E_INVALID);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 0, HV_SIZE_2M, READ_WRITE), HV_E_INVALID);
    gpa_give_back(&stub_partition, &bar);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + 10 * HV_PAGE_SIZE, 0, 2 * HV_PAGE_SIZE, READ_WRITE),
                     HV_E_INVALID);
    gpa_give_back(&stub_partition, &again);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + 10 * HV_PAGE_SIZE, 0, 2 * HV_PAGE_SIZE, READ_WRITE),
                     HV_OK);
    assert_int_equal(hv_partition_unmap(&stub_partition, gpa_of(0), 20 * HV_PAGE_SIZE), HV_OK);
    model_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(random_changes),   STUB_TEST(what_is_mapped_before), STUB_TEST(beyond_what_tables_translate),
        STUB_TEST(without_an_iommu), STUB_TEST(dirty_pages),           STUB_TEST(registers_that_are_withdrawn),
    };

    return cmocka_run_group_tests_name("vpci_dma", tests, NULL, NULL);
}
