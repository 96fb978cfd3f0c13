/* SPDX-License-Identifier: MIT */
/* VT-d through the contract's twin, against units that cache all that they may and look at every bit. */
#include "dmar_table.h"
#include "iommu_twin.h"
#include <arch/bits/msr.h>
#include <arch/iommu.h>
#include <fake_device.h>
#include <fake_vtd.h>
#include <fake_x86.h>
#include <stdlib.h>
#include <string.h>

#define BASE(n)  (0xfed90000ull + (n)*0x10000)
#define NIC      HV_PCI_BDF(0, 3, 0)
#define DISK     HV_PCI_BDF(0x5e, 4, 1)
#define GRAPHICS HV_PCI_BDF(0, 2, 0)
#define IOAPIC   HV_PCI_BDF(0xf0, 0x1f, 0)
#define VTD      (&vtd_backend)

static const struct iommu_backend *const twin = VTD;
static struct dmar_table table;
static struct fake_vtd *unit, *graphics_unit;
static const struct hv_pci_address nic = {0, NIC}, disk = {0, DISK}, graphics = {0, GRAPHICS}, ioapic = {0, IOAPIC};

/* --------------------------------------------------------------------------------- machines */

static void add_table(unsigned width, uint8_t flags)
{
    dmar_begin(&table, width, flags);
    dmar_unit(&table, 0, BASE(1), false);
    dmar_scope(&table, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    dmar_unit(&table, 0, BASE(0), true);
    dmar_scope(&table, DMAR_IOAPIC, 8, 0xf0, DMAR_PATH(0x1f, 0));
    dmar_reserve(&table, 0, 0x7b800000, 0x7fffffff);
    dmar_scope(&table, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    fake_acpi_add(table.bytes, table.size);
}

static void add_units(uint64_t cap, uint64_t ecap, uint64_t graphics_cap, uint64_t graphics_ecap)
{
    add_table(39, 1);
    unit = fake_vtd_add(BASE(0), cap, ecap);
    graphics_unit = fake_vtd_add(BASE(1), graphics_cap, graphics_ecap);
    report_count = 0;
}

static void start_with(uint64_t cap, uint64_t ecap)
{
    add_units(cap, ecap, cap, ecap);
    assert_true(probe());
    assert_true(platform.present);
}

static void start(void)
{
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    assert_int_equal(VTD->on(), HV_OK);
}

/* ------------------------------------------------------------------------------ what is reached */

static void assert_reads(struct fake_vtd *v, uint16_t bdf, hv_gpa_t gpa, hv_hpa_t wanted)
{
    hv_hpa_t pa = 0;

    assert_true(fake_vtd_dma(v, bdf, gpa, false, &pa));
    assert_int_equal(pa, wanted);
}

static void assert_writes(struct fake_vtd *v, uint16_t bdf, hv_gpa_t gpa, hv_hpa_t wanted)
{
    hv_hpa_t pa = 0;

    assert_true(fake_vtd_dma(v, bdf, gpa, true, &pa));
    assert_int_equal(pa, wanted);
}

static void assert_blocked(struct fake_vtd *v, uint16_t bdf, hv_gpa_t gpa, bool is_write, uint8_t reason)
{
    unsigned before = report_count;
    hv_hpa_t pa;

    assert_false(fake_vtd_dma(v, bdf, gpa, is_write, &pa));
    assert_int_equal(report_count, before + 1);
    assert_reported(bdf, is_write ? IOMMU_FAULT_WRITE : IOMMU_FAULT_READ, gpa & ~0xfffull, reason);
}

/* ------------------------------------------------------------------------------------ probe */

static void probe_keeps_nothing(void **state)
{
    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    assert_true(platform.remaps_interrupts);
    assert_string_equal(platform.name, "VT-d");
    assert_string_equal(platform.reason, "");
    assert_int_equal(VTD->format()->levels, 4);
    assert_int_equal(VTD->format()->max_leaf_level, 3);
    assert_int_equal(VTD->domain_ids(), 65536);
    assert_int_equal(fake_counts().mmio_mappings, 0);
    assert_int_equal(fake_counts().pages, 0);
}

static void probe_without_table(void **state)
{
    (void)state;
    refused("");
    assert_string_equal(platform.reason, ""); /* not its business */
    add_table(8, 1);
    refused("width");
}

static void probe_refuses_units(void **state)
{
    static const struct {
        uint64_t cap, ecap;
        uint32_t gsts;
        const char *why;
    } cases[] = {
        {~0ull, ~0ull, 0, "no registers"},
        {0, 0, 0, "no registers"},
        {FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_QI, 0, "no invalidation queue"},
        {FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL, FAKE_VTD_TES, "in use already"},
        {FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL, FAKE_VTD_IRES, "in use already"},
        {FAKE_VTD_CAP_TYPICAL & ~0x1f00ull, FAKE_VTD_ECAP_TYPICAL, 0, "no depth of tables"},
        {(FAKE_VTD_CAP_TYPICAL & ~0x1f00ull) | 1 << 8, FAKE_VTD_ECAP_TYPICAL, 0, "no depth of tables"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_reset();
        add_units(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL, cases[i].cap, cases[i].ecap);
        graphics_unit->gsts = cases[i].gsts;
        refused(cases[i].why);
        graphics_unit->gsts = 0;
    }
    fake_reset();
    add_table(39, 1); /* and nothing is there */
    refused("can not be mapped");
}

/* What one unit lacks, nobody has. */
static void least_common_denominator(void **state)
{
    const uint64_t small = (FAKE_VTD_CAP_TYPICAL & ~(0x1f00ull | 7 | 3ull << 34)) | 2 << 8 | 2 | 1ull << 34;

    (void)state;
    add_units(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL, small, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_IR);
    assert_true(probe());
    assert_true(platform.present);
    assert_false(platform.remaps_interrupts);
    assert_non_null(strstr(platform.reason, "not all units remap"));
    assert_int_equal(VTD->format()->levels, 3);
    assert_int_equal(VTD->format()->max_leaf_level, 2);
    assert_int_equal(VTD->domain_ids(), 256);
    assert_int_equal(VTD->irq_entries(&nic), 0);
    assert_int_equal(VTD->irq_prepare(&nic), HV_E_NOT_PRESENT);
    assert_int_equal(VTD->on(), HV_OK);
    assert_int_equal(unit->gsts & (FAKE_VTD_TES | FAKE_VTD_IRES), FAKE_VTD_TES);
    finish(NULL, NULL);
}

static void interrupts_need_firmware_and_x2apic(void **state)
{
    (void)state;
    add_table(39, 0);
    fake_vtd_add(BASE(0), FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    fake_vtd_add(BASE(1), FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    assert_true(probe());
    assert_false(platform.remaps_interrupts);
    assert_non_null(strstr(platform.reason, "DMAR table says"));
    fake_reset();
    fake_set_msr(MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_EN | APIC_BASE_EXTD);
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_EIM);
    assert_false(platform.remaps_interrupts);
    assert_non_null(strstr(platform.reason, "x2APIC"));
}

/* -------------------------------------------------------------------------------------- DMA */

static void nobody_reaches_anything(void **state)
{
    (void)state;
    start();
    assert_blocked(unit, NIC, 0x1000, true, 1);
    assert_int_equal(VTD->attach(&nic, NULL), HV_OK);
    assert_blocked(unit, NIC, 0x1000, false, 1);
    finish(NULL, NULL);
}

static void attached_before_it_is_on(void **state)
{
    struct iommu_domain d;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    d = domain(7);
    map(&d, K(16), K(4), RAM, RW);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    assert_reads(unit, NIC, K(17), K(17)); /* not on yet */
    assert_int_equal(VTD->on(), HV_OK);
    assert_reads(unit, NIC, K(17) + 8, RAM + K(1) + 8);
    assert_blocked(unit, HV_PCI_BDF(0, 4, 0), K(17), false, 2);
    assert_blocked(unit, DISK, K(17), false, 1);
    assert_blocked(unit, NIC, K(20), true, 5);
    assert_blocked(unit, NIC, K(15), false, 6);
    finish(&d, NULL);
    assert_reads(unit, NIC, K(17), K(17));
}

static void rights_and_large_pages(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    map(&d, 0, 2 * HV_SIZE_1G, RAM, RW);
    map(&d, 3 * HV_SIZE_1G, M2(4), RAM_2, NPT_READ | NPT_EXECUTE);
    map(&d, 3 * HV_SIZE_1G + M2(4), K(1), RAM_2, NPT_WRITE);
    assert_int_equal(npt_count(&d.npt).pages[3], 2);
    assert_int_equal(npt_count(&d.npt).pages[2], 4);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    assert_writes(unit, NIC, HV_SIZE_1G + 0x123450, RAM + HV_SIZE_1G + 0x123450);
    assert_reads(unit, NIC, 3 * HV_SIZE_1G + M2(3) + 8, RAM_2 + M2(3) + 8);
    assert_blocked(unit, NIC, 3 * HV_SIZE_1G + M2(3) + 8, true, 5);
    assert_writes(unit, NIC, 3 * HV_SIZE_1G + M2(4), RAM_2);
    assert_blocked(unit, NIC, 3 * HV_SIZE_1G + M2(4), false, 6);
    assert_blocked(unit, NIC, 1ull << 48, false, 4);
    finish(&d, NULL);
}

static void changes_of_the_map(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(9);
    assert_int_equal(VTD->attach(&disk, &d), HV_OK);
    map(&d, 0, M2(4), RAM, RW);
    assert_writes(unit, DISK, M2(1), RAM + M2(1));
    unmap(&d, M2(1), K(1));
    assert_blocked(unit, DISK, M2(1), true, 5);
    assert_writes(unit, DISK, M2(1) + K(1), RAM + M2(1) + K(1));
    map(&d, M2(1), K(3), RAM_2, RW);
    assert_writes(unit, DISK, M2(1), RAM_2);
    assert_writes(unit, DISK, M2(1) + K(2), RAM_2 + K(2));
    assert_int_equal(npt_protect(&d.npt, M2(1), K(2), NPT_READ), HV_OK);
    VTD->flush(&d, M2(1), K(2));
    assert_blocked(unit, DISK, M2(1) + K(1), true, 5);
    unmap(&d, 0, M2(4));
    assert_blocked(unit, DISK, M2(3), false, 6);
    finish(&d, NULL);
}

/* One page by page; odd ranges by the power of 2 around them; what is too big by domain. */
static void granularity_of_flushes(void **state)
{
    static const struct {
        uint64_t gpa, size;
        bool by_page;
    } cases[] = {{K(5), K(1), true},    {K(7), K(2), true},       {K(511), K(2), false},
                 {0, M2(1), true},      {0, M2(1) + K(1), false}, {K(256), K(100), true},
                 {M2(1), M2(2), false}, {0, 1ull << 48, false},   {K(510), K(1), true}};
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(3);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t pages = unit->by_page, domains = unit->by_domain;

        VTD->flush(&d, cases[i].gpa, cases[i].size);
        assert_int_equal(unit->by_page - pages, cases[i].by_page);
        assert_int_equal(unit->by_domain - domains, !cases[i].by_page);
        assert_int_equal(graphics_unit->by_page, unit->by_page);
    }
    finish(&d, NULL);
}

static void no_flushes_by_page(void **state)
{
    struct iommu_domain d;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL & ~FAKE_VTD_CAP_PSI, FAKE_VTD_ECAP_TYPICAL);
    assert_int_equal(VTD->on(), HV_OK);
    d = domain(3);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    map(&d, 0, K(1), RAM, RW);
    assert_reads(unit, NIC, 0, RAM);
    unmap(&d, 0, K(1));
    assert_blocked(unit, NIC, 0, false, 6);
    assert_int_equal(unit->by_page, 0);
    assert_false(fake_log_contains("refuses"));
    finish(&d, NULL);
}

/* Accesses that were translated before are at their memory when flush and attach return. */
static void what_is_on_its_way(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(3);
    map(&d, 0, K(1), RAM, RW);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    assert_true(fake_vtd_dma_slow(unit, NIC, 0, true));
    assert_true(fake_vtd_dma_slow(unit, NIC, 0, false));
    unmap(&d, 0, K(1));
    assert_int_equal(unit->reads_in_flight + unit->writes_in_flight, 0);
    map(&d, 0, K(1), RAM, RW);
    assert_true(fake_vtd_dma_slow(unit, NIC, 0, true));
    assert_int_equal(VTD->attach(&nic, NULL), HV_OK);
    assert_int_equal(unit->reads_in_flight + unit->writes_in_flight, 0);
    finish(&d, NULL);
}

/* From domain to domain, to nowhere and back: cached contexts and pages of the one before are of no use any more. */
static void moves(uint64_t cap, uint64_t ecap)
{
    struct iommu_domain a, b;

    start_with(cap, ecap);
    assert_int_equal(VTD->on(), HV_OK);
    a = domain(1);
    b = domain(2);
    map(&a, 0, K(8), RAM, RW);
    map(&b, 0, K(4), RAM_2, RW);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(VTD->attach(&nic, &a), HV_OK);
        assert_int_equal(VTD->attach(&disk, &a), HV_OK);
        assert_writes(unit, NIC, K(3), RAM + K(3));
        assert_writes(unit, DISK, K(3), RAM + K(3));
        assert_int_equal(VTD->attach(&nic, &b), HV_OK);
        assert_writes(unit, NIC, K(3), RAM_2 + K(3));
        assert_blocked(unit, NIC, K(5), false, 6);
        assert_writes(unit, DISK, K(5), RAM + K(5));
        assert_int_equal(VTD->attach(&nic, NULL), HV_OK);
        assert_blocked(unit, NIC, K(3), true, 2);
        assert_int_equal(VTD->attach(&disk, &b), HV_OK);
        map(&b, K(5), K(1), RAM, RW);
        assert_writes(unit, DISK, K(5), RAM);
        unmap(&b, K(5), K(1));
    }
    finish(&a, &b);
}

static void moves_typical(void **state)
{
    (void)state;
    moves(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
}

static void moves_in_caching_mode(void **state)
{
    (void)state;
    moves(FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_CM, FAKE_VTD_ECAP_TYPICAL);
}

static void moves_without_snooping(void **state)
{
    (void)state;
    moves(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_C);
}

static void moves_without_either(void **state)
{
    (void)state;
    moves(FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_CM, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_C);
}

/* A domain is destroyed, and another one gets its tag. */
static void tags_are_used_again(void **state)
{
    struct iommu_domain a, b;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_C);
    assert_int_equal(VTD->on(), HV_OK);
    a = domain(1);
    map(&a, 0, K(8), RAM, RW);
    assert_int_equal(VTD->attach(&nic, &a), HV_OK);
    assert_writes(unit, NIC, K(3), RAM + K(3));
    assert_int_equal(VTD->attach(&nic, NULL), HV_OK);
    npt_destroy(&a.npt);
    b = domain(1);
    assert_int_equal(VTD->attach(&nic, &b), HV_OK);
    assert_blocked(unit, NIC, K(3), true, 5); /* nothing is mapped yet */
    map(&b, 0, K(8), RAM_2, RW);
    assert_writes(unit, NIC, K(3), RAM_2 + K(3));
    finish(&b, NULL);
}

/* Only one of the units does not snoop; the domain's tables are for both. */
static void one_does_not_snoop(void **state)
{
    struct iommu_domain d;

    (void)state;
    add_units(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL, FAKE_VTD_CAP_TYPICAL,
              FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_C);
    assert_true(probe());
    assert_int_equal(VTD->on(), HV_OK);
    d = domain(5);
    map(&d, 0, M2(4), RAM, RW);
    assert_int_equal(VTD->attach(&graphics, &d), HV_OK);
    assert_writes(graphics_unit, GRAPHICS, M2(3), RAM + M2(3));
    map(&d, M2(3), K(1), RAM_2, NPT_READ); /* splits */
    assert_reads(graphics_unit, GRAPHICS, M2(3), RAM_2);
    assert_reads(graphics_unit, GRAPHICS, M2(3) + K(1), RAM + M2(3) + K(1));
    assert_int_equal(npt_protect(&d.npt, K(0), M2(1), NPT_READ), HV_OK);
    VTD->flush(&d, K(0), M2(1));
    assert_blocked(graphics_unit, GRAPHICS, K(1), true, 5);
    unmap(&d, 0, M2(4));
    assert_blocked(graphics_unit, GRAPHICS, M2(3), false, 6);
    finish(&d, NULL);
}

/*
 * A model of pages, and requesters that go from domain to domain, with DMA in between: whatever the unit has cached, it
 * goes by the last change.
 */
#define PAGES 2048u              /* four large ones */
static uint64_t model[3][PAGES]; /* where each page of a domain is, with its rights; 0: not there */
static uint32_t seed;

static unsigned roll(unsigned n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void random_change(struct iommu_domain *d, uint64_t *pages)
{
    unsigned size = roll(4) ? 1 + roll(20) : 512 * (1 + roll(2)),
             first = size >= 512 ? 512 * roll(3) : roll(PAGES - size);
    unsigned rights = 1 + roll(3);
    hv_hpa_t pa = RAM + M2(roll(8));

    if (roll(3)) {
        map(d, K(first), K(size), pa, rights);
        for (unsigned i = 0; i < size; i++)
            pages[first + i] = (pa + K(i)) | rights;
    } else if (npt_unmap(&d->npt, K(first), K(size)) == HV_OK) {
        VTD->flush(d, K(first), K(size));
        npt_reap(&d->npt);
        memset(&pages[first], 0, size * sizeof(pages[0]));
    }
}

static void random_dma(uint16_t bdf, const uint64_t *pages)
{
    unsigned page = roll(PAGES), right = roll(2) ? NPT_WRITE : NPT_READ;
    hv_hpa_t pa = 0;
    bool ok = fake_vtd_dma(unit, bdf, K(page) + 16, right == NPT_WRITE, &pa);

    assert_int_equal(ok, pages && pages[page] & right);
    if (ok)
        assert_int_equal(pa, (pages[page] & ~0xfffull) + 16);
}

static void random_steps(uint64_t cap, uint64_t ecap)
{
    const struct hv_pci_address who[] = {nic, disk, {0, HV_PCI_BDF(0, 3, 1)}, {0, HV_PCI_BDF(0x5e, 0, 0)}};
    unsigned place[4] = {3, 3, 3, 3}; /* 3: blocked */
    struct iommu_domain d[3];

    seed = getenv("SEED") ? (uint32_t)strtoul(getenv("SEED"), NULL, 0) : 1;
    memset(model, 0, sizeof(model));
    start_with(cap, ecap);
    assert_int_equal(VTD->on(), HV_OK);
    for (uint16_t i = 0; i < 3; i++)
        d[i] = domain(i + 1);
    for (unsigned step = 0; step < 3000; step++) {
        unsigned i = roll(3), w = roll(4), to = roll(4);

        if (!roll(4))
            random_change(&d[i], model[i]);
        if (!roll(12)) {
            assert_int_equal(VTD->attach(&who[w], to == 3 ? NULL : &d[to]), HV_OK);
            place[w] = to;
        }
        w = roll(4);
        random_dma(who[w].bdf, place[w] == 3 ? NULL : model[place[w]]);
    }
    VTD->off();
    npt_destroy(&d[2].npt);
    finish(&d[0], &d[1]);
}

static void random_typical(void **state)
{
    (void)state;
    random_steps(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
}

static void random_at_its_worst(void **state)
{
    (void)state;
    random_steps(FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_CM, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_C);
}

static void write_buffer(void **state)
{
    struct iommu_domain d;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_RWBF, FAKE_VTD_ECAP_TYPICAL);
    assert_int_equal(VTD->on(), HV_OK);
    d = domain(5);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    assert_int_equal(unit->buffer_flushes, 1);
    finish(&d, NULL);
}

static void units_are_apart(void **state)
{
    const struct hv_pci_address nowhere = {3, NIC};
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(5);
    map(&d, 0, K(1), RAM, RW);
    assert_int_equal(VTD->attach(&graphics, &d), HV_OK);
    assert_reads(graphics_unit, GRAPHICS, 0, RAM);
    assert_blocked(unit, GRAPHICS, 0, false, 1);
    assert_int_equal(VTD->attach(&nowhere, &d), HV_E_NOT_PRESENT);
    assert_int_equal(VTD->attach(&nowhere, NULL), HV_E_NOT_PRESENT);
    finish(&d, NULL);
}

static void reserved_memory(void **state)
{
    uint64_t size;
    hv_hpa_t at;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    assert_true(VTD->reserved(&graphics, 0, &at, &size));
    assert_int_equal(at, 0x7b800000);
    assert_false(VTD->reserved(&graphics, 1, &at, &size));
    assert_false(VTD->reserved(&nic, 0, &at, &size));
}

/* -------------------------------------------------------------------------------- interrupts */

static const struct iommu_irq_target target_a = {true, 0x45, 3, false, false, 0},
                                     target_b = {true, 0x99, 0xfe, true, true, 0}, blocks;

static void assert_irq(struct fake_vtd *v, uint16_t sid, const struct hv_msi_message *m, uint32_t low_bits,
                       const struct iommu_irq_target *wanted)
{
    struct fake_vtd_interrupt got;

    assert_true(fake_vtd_message(v, sid, m->address, m->data + low_bits, &got));
    assert_int_equal(got.vector, wanted->vector);
    assert_int_equal(got.destination, wanted->apic_id);
    assert_int_equal(got.is_level, wanted->is_level);
}

static void assert_no_irq(struct fake_vtd *v, uint16_t sid, const struct hv_msi_message *m, uint8_t reason,
                          uint32_t index)
{
    struct fake_vtd_interrupt got;
    unsigned before = report_count;

    assert_false(fake_vtd_message(v, sid, m->address, m->data, &got));
    assert_int_equal(report_count, before + 1);
    assert_reported(sid, IOMMU_FAULT_INTERRUPT, index, reason);
}

static void interrupts(uint64_t cap, uint64_t ecap)
{
    struct hv_msi_message m, next;

    start_with(cap, ecap);
    assert_true(VTD->irq_entries(&nic) >= 256);
    assert_int_equal(VTD->irq_prepare(&nic), HV_OK);
    VTD->irq_set(&nic, 33, &target_a);
    assert_int_equal(VTD->on(), HV_OK);
    VTD->irq_message(&nic, 33, 0, &m);
    VTD->irq_message(&nic, 33, 2, &next);
    assert_irq(unit, NIC, &m, 0, &target_a);
    assert_no_irq(unit, DISK, &m, 0x26, 33); /* somebody else's entry */
    assert_no_irq(unit, NIC, &next, 0x22, 35);
    VTD->irq_set(&nic, 35, &target_b);
    assert_irq(unit, NIC, &next, 0, &target_b);
    assert_irq(unit, NIC, &m, 2, &target_b); /* as MSI has it */
    VTD->irq_set(&nic, 33, &target_b);       /* to another CPU */
    assert_irq(unit, NIC, &m, 0, &target_b);
    VTD->irq_set(&nic, 33, &blocks);
    assert_no_irq(unit, NIC, &m, 0x22, 33);
    VTD->irq_set(&disk, 33, &target_a); /* to another device */
    assert_irq(unit, DISK, &m, 0, &target_a);
    assert_no_irq(unit, NIC, &m, 0x26, 33);
    finish(NULL, NULL);
}

static void interrupts_typical(void **state)
{
    (void)state;
    interrupts(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
}

static void interrupts_in_caching_mode(void **state)
{
    (void)state;
    interrupts(FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_CM, FAKE_VTD_ECAP_TYPICAL & ~FAKE_VTD_ECAP_C);
}

static void x2apic_ids(void **state)
{
    const struct iommu_irq_target far = {true, 0x31, 0x12345678, false, false, 0};
    struct hv_msi_message m;

    (void)state;
    fake_set_msr(MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_EN | APIC_BASE_EXTD);
    start();
    VTD->irq_set(&nic, 511, &far);
    VTD->irq_message(&nic, 511, 0, &m);
    assert_irq(unit, NIC, &m, 0, &far);
    finish(NULL, NULL);
    fake_set_msr(MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_EN);
    assert_true(probe());
    assert_int_equal(VTD->on(), HV_OK);
    VTD->irq_set(&nic, 511, &far); /* nobody has such an ID: blocks */
    assert_no_irq(unit, NIC, &m, 0x22, 511);
    finish(NULL, NULL);
}

static void forged_interrupts(void **state)
{
    const struct hv_msi_message compatible = {0xfee01000, 0x4031}, beyond = {0xfee00018 | 0x7fffull << 5, 0x1000};

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    unit->gsts = FAKE_VTD_CFIS; /* somebody has let such ones pass */
    assert_int_equal(VTD->on(), HV_OK);
    assert_int_equal(unit->gsts & FAKE_VTD_CFIS, 0);
    assert_no_irq(unit, NIC, &compatible, 0x25, 0);
    assert_no_irq(unit, NIC, &beyond, 0x21, 0x8fff);
    finish(NULL, NULL);
}

static void ioapic_pins(void **state)
{
    struct hv_pci_address requester;
    struct fake_vtd_interrupt got;
    uint64_t entry;

    (void)state;
    start();
    assert_int_equal(VTD->ioapic_requester(8, &requester), HV_OK);
    assert_int_equal(requester.bdf, IOAPIC);
    assert_int_equal(VTD->ioapic_requester(0, &requester), HV_E_NOT_FOUND);
    VTD->irq_set(&ioapic, 300, &target_b);
    entry = VTD->ioapic_entry(300, 5, &target_b);
    assert_true(fake_vtd_ioapic(unit, IOAPIC, entry, &got));
    assert_int_equal(got.vector, 0x99);
    assert_int_equal(got.destination, 0xfe);
    assert_true(got.is_level);
    assert_int_equal(entry >> 13 & 1, 1);
    assert_false(fake_vtd_ioapic(unit, NIC, entry, &got));
    finish(NULL, NULL);
}

/* ------------------------------------------------------------------------------------ faults */

static void lost_faults_are_said(void **state)
{
    hv_hpa_t pa;

    (void)state;
    start();
    unit->fectl |= 1u << 31; /* nothing is told until it is polled */
    for (unsigned i = 0; i < FAKE_VTD_RECORDS + 3; i++)
        assert_false(fake_vtd_dma(unit, NIC, K(i), true, &pa));
    assert_int_equal(report_count, 0);
    VTD->poll();
    assert_int_equal(report_count, FAKE_VTD_RECORDS);
    assert_reported(NIC, IOMMU_FAULT_WRITE, K(FAKE_VTD_RECORDS - 1), 1);
    assert_true(fake_log_contains("more faults than"));
    unit->fectl = 0;
    assert_blocked(unit, NIC, K(9), true, 1);
    finish(NULL, NULL);
}

static void no_vector_for_faults(void **state)
{
    hv_hpa_t pa;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    fake_irq_limit(0);
    assert_int_equal(VTD->on(), HV_OK);
    assert_true(fake_log_contains("no vector is left"));
    assert_false(fake_vtd_dma(unit, NIC, 0, true, &pa));
    VTD->poll();
    assert_reported(NIC, IOMMU_FAULT_WRITE, 0, 1);
    finish(NULL, NULL);
}

/* A device that only faults does not keep a CPU busy; later it is heard again. */
static void flood_of_faults(void **state)
{
    struct iommu_domain d;
    hv_hpa_t pa;
    unsigned told;

    (void)state;
    start();
    d = domain(4);
    for (unsigned i = 0; i < 5000; i++)
        assert_false(fake_vtd_dma(unit, NIC, 0, true, &pa));
    told = report_count;
    assert_in_range(told, 1000, 1100);
    VTD->flush(&d, 0, K(1));
    assert_int_equal(report_count, told);
    fake_advance_time(2000000000ull);
    VTD->flush(&d, 0, K(1));
    fake_vtd_settle(unit);
    assert_true(report_count > told);
    assert_blocked(unit, NIC, 0, true, 1);
    finish(&d, NULL);
}

static void stale_faults(void **state)
{
    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    unit->records[1][1] = 1ull << 63 | 5ull << 32;
    unit->fsts = 3;
    assert_int_equal(VTD->on(), HV_OK);
    assert_int_equal(report_count, 0);
    assert_int_equal(unit->fsts, 0);
    finish(NULL, NULL);
}

/* -------------------------------------------------------------------------------- life */

static void leaves_all_as_it_was(void **state)
{
    struct fake_vtd before;
    struct iommu_domain d;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_PLMR, FAKE_VTD_ECAP_TYPICAL);
    unit->fedata = 0x77;
    unit->feaddr = 0xfee0a000;
    unit->pmen = 0x80000001;
    before = *unit;
    d = domain(1);
    for (unsigned i = 0; i < 3; i++) {
        map(&d, K(i), K(1), RAM + K(i), RW);
        assert_int_equal(VTD->attach(&nic, &d), HV_OK);
        assert_int_equal(VTD->on(), HV_OK);
        assert_int_equal(unit->pmen, 0);
        assert_writes(unit, NIC, K(i), RAM + K(i));
        assert_blocked(unit, NIC, K(i) + K(1), true, 5);
        VTD->off();
        assert_int_equal(unit->fedata, before.fedata);
        assert_int_equal(unit->feaddr, before.feaddr);
        assert_int_equal(unit->fectl & 1u << 31, before.fectl & 1u << 31);
        assert_int_equal(unit->pmen, before.pmen);
        assert_int_equal(unit->gsts & (FAKE_VTD_TES | FAKE_VTD_IRES | FAKE_VTD_QIES), 0);
    }
    assert_int_equal(VTD->on(), HV_OK); /* nothing is attached any more */
    assert_blocked(unit, NIC, 0, true, 1);
    finish(&d, NULL);
}

static void queue_left_on(void **state)
{
    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    unit->gsts = FAKE_VTD_QIES;
    unit->fsts = 1 << 4;
    unit->iqh = unit->iqt = 0x50;
    assert_int_equal(VTD->on(), HV_OK);
    assert_blocked(unit, NIC, 0, true, 1);
    finish(NULL, NULL);
}

/* Somebody was faster. */
static void taken_after_probe(void **state)
{
    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    unit->gsts = FAKE_VTD_TES | 1u << 30;
    unit->root = 0xabc000;
    assert_int_equal(VTD->on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("in use already"));
    assert_int_equal(unit->gsts, FAKE_VTD_TES | 1u << 30); /* and still has it */
    assert_int_equal(unit->root, 0xabc000);
    assert_int_equal(graphics_unit->gsts & FAKE_VTD_TES, 0);
    assert_int_equal(fake_counts().pages, 0);
    unit->gsts = 0;
}

static void out_of_memory(void **state)
{
    struct iommu_domain d;
    uint64_t n = 0;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    d = domain(1);
    map(&d, 0, K(1), RAM, RW);
    do {
        enum hv_status st;

        fake_fail_after(++n);
        st = VTD->attach(&nic, &d);
        if (st == HV_OK)
            st = VTD->irq_prepare(&nic);
        if (st == HV_OK)
            st = VTD->on();
        if (fake_has_failed() && st != HV_OK)
            assert_int_equal(st, HV_E_NO_MEMORY);
        fake_fail_after(fake_has_failed() ? 0 : ~0ull);
        VTD->off();
        assert_int_equal(fake_counts().pages, d.npt.tables);
        assert_int_equal(fake_counts().vectors, 0);
        assert_int_equal(fake_counts().mmio_mappings, 0);
    } while (n < 40);
    fake_fail_after(0);
    finish(&d, NULL);
}

static void attach_without_memory_changes_nothing(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    map(&d, 0, K(1), RAM, RW);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    fake_fail_after(1);
    assert_int_equal(VTD->attach(&disk, &d), HV_E_NO_MEMORY);
    assert_blocked(unit, DISK, 0, true, 1);
    assert_writes(unit, NIC, 0, RAM);
    assert_int_equal(VTD->attach(&disk, &d), HV_OK);
    assert_writes(unit, DISK, 0, RAM);
    finish(&d, NULL);
}

static void registers_are_known(void **state)
{
    hv_hpa_t start;
    uint64_t size;

    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    assert_true(VTD->registers(0, &start, &size));
    assert_int_equal(start, BASE(1));
    assert_int_equal(size, 0x2000); /* records are behind the first page */
    assert_true(VTD->registers(1, &start, &size));
    assert_int_equal(start, BASE(0));
    assert_false(VTD->registers(2, &start, &size));
}

/* ------------------------------------------------------------------------- units that fail */

static void deaf_unit(void **state)
{
    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    unit->is_deaf = true;
    assert_int_equal(VTD->on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("does not obey"));
    assert_int_equal(graphics_unit->gsts & (FAKE_VTD_TES | FAKE_VTD_QIES), 0);
}

static void hanging_queue(void **state)
{
    (void)state;
    start_with(FAKE_VTD_CAP_TYPICAL, FAKE_VTD_ECAP_TYPICAL);
    graphics_unit->hangs = true;
    assert_int_equal(VTD->on(), HV_E_NOT_PRESENT);
    assert_int_equal(unit->gsts & FAKE_VTD_TES, 0);
    assert_int_equal(fake_counts().pages, 0);
}

/* It would go on by tables that are given back. */
static void deaf_while_on(void **state)
{
    (void)state;
    start();
    unit->is_deaf = true;
    expect_assert_failure(VTD->off());
    unit->is_deaf = false;
    finish(NULL, NULL);
}

/* It could not be told that a page is gone: nothing may go on. */
static void hanging_while_on(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    unit->hangs = true;
    expect_assert_failure(VTD->flush(&d, 0, K(1)));
    fake_reset();
}

/* A unit that refuses invalidations by page gets one for everything. */
static void refused_invalidation(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    map(&d, 0, K(1), RAM, RW);
    assert_writes(unit, NIC, 0, RAM);
    unit->refuses_pages = true;
    unmap(&d, 0, K(1));
    assert_true(fake_log_contains("refuses the invalidation"));
    assert_blocked(unit, NIC, 0, true, 5);
    for (unsigned i = 0; i < 300; i++) /* round the ring, and over its end */
        map(&d, K(i), K(1), RAM, RW);
    assert_writes(unit, NIC, K(299), RAM);
    finish(&d, NULL);
}

static void round_the_ring(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    assert_int_equal(VTD->attach(&nic, &d), HV_OK);
    for (unsigned i = 0; i < 1000; i++) {
        map(&d, 0, K(1), RAM + K(i), RW);
        assert_writes(unit, NIC, 8, RAM + K(i) + 8);
    }
    finish(&d, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(probe_keeps_nothing),
        UNIT_TEST(probe_without_table),
        UNIT_TEST(probe_refuses_units),
        UNIT_TEST(least_common_denominator),
        UNIT_TEST(interrupts_need_firmware_and_x2apic),
        UNIT_TEST(nobody_reaches_anything),
        UNIT_TEST(attached_before_it_is_on),
        UNIT_TEST(rights_and_large_pages),
        UNIT_TEST(changes_of_the_map),
        UNIT_TEST(granularity_of_flushes),
        UNIT_TEST(no_flushes_by_page),
        UNIT_TEST(what_is_on_its_way),
        UNIT_TEST(moves_typical),
        UNIT_TEST(moves_in_caching_mode),
        UNIT_TEST(moves_without_snooping),
        UNIT_TEST(moves_without_either),
        UNIT_TEST(tags_are_used_again),
        UNIT_TEST(one_does_not_snoop),
        UNIT_TEST(random_typical),
        UNIT_TEST(random_at_its_worst),
        UNIT_TEST(write_buffer),
        UNIT_TEST(units_are_apart),
        UNIT_TEST(reserved_memory),
        UNIT_TEST(interrupts_typical),
        UNIT_TEST(interrupts_in_caching_mode),
        UNIT_TEST(x2apic_ids),
        UNIT_TEST(forged_interrupts),
        UNIT_TEST(ioapic_pins),
        UNIT_TEST(lost_faults_are_said),
        UNIT_TEST(no_vector_for_faults),
        UNIT_TEST(flood_of_faults),
        UNIT_TEST(stale_faults),
        UNIT_TEST(leaves_all_as_it_was),
        UNIT_TEST(queue_left_on),
        UNIT_TEST(taken_after_probe),
        UNIT_TEST(out_of_memory),
        UNIT_TEST(attach_without_memory_changes_nothing),
        UNIT_TEST(registers_are_known),
        UNIT_TEST(deaf_unit),
        UNIT_TEST(deaf_while_on),
        UNIT_TEST(hanging_queue),
        UNIT_TEST(hanging_while_on),
        UNIT_TEST(refused_invalidation),
        UNIT_TEST(round_the_ring),
    };

    return cmocka_run_group_tests_name("vtd", tests, NULL, NULL);
}
