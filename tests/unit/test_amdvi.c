/* SPDX-License-Identifier: MIT */
/* AMD-Vi through the contract's twin, against units that cache all that they may and look at every bit. */
#include "iommu_twin.h"
#include "ivrs_table.h"
#include <arch/bits/msr.h>
#include <arch/iommu.h>
#include <fake_amdvi.h>
#include <fake_device.h>
#include <fake_x86.h>
#include <hv/base/bits.h>
#include <string.h>

#define BASE(n)  (0xfd200000ull + (n)*0x80000)
#define UNIT     HV_PCI_BDF(0, 0, 2) /* the units' own functions */
#define UNIT_2   HV_PCI_BDF(0x40, 0, 2)
#define NIC      HV_PCI_BDF(0, 3, 0)
#define DISK     HV_PCI_BDF(0x5e, 4, 1)
#define OLD_A    HV_PCI_BDF(2, 1, 0) /* two that may come as their bridge */
#define OLD_B    HV_PCI_BDF(2, 2, 0)
#define BRIDGE   HV_PCI_BDF(0, 20, 4)
#define IOAPIC   HV_PCI_BDF(0, 20, 0)
#define NOBODY   HV_PCI_BDF(0xff, 31, 7)
#define AMDVI    (&amdvi_backend)
#define LEFT_ON  2u /* in the table: by firmware */
#define TYPICAL  FAKE_AMDVI_EFR_TYPICAL
#define FOREIGN  0x2300000000ull /* where somebody else's tables are */
#define CODE_ALL 8

enum { BAD_DTE = 1, PAGE_FAULT = 2 };

static const struct iommu_backend *const twin = AMDVI;
static struct ivrs_table table;
static struct fake_amdvi *unit, *unit_2;
static const struct hv_pci_address nic = {0, NIC}, disk = {0, DISK}, old_a = {0, OLD_A}, old_b = {0, OLD_B},
                                   nobody = {0, NOBODY}, ioapic = {0, IOAPIC};

/* --------------------------------------------------------------------------------- machines */

/* The second unit has the buses from 40h on. */
static void add_table(uint32_t info, bool with_ioapic)
{
    ivrs_begin(&table, info);
    ivrs_unit(&table, 0x11, 0, UNIT, BASE(0));
    ivrs_entry(&table, 3, 0);
    ivrs_entry(&table, 4, 0x3fff);
    ivrs_alias(&table, 67, OLD_A, BRIDGE);
    ivrs_entry(&table, 4, OLD_B);
    if (with_ioapic)
        ivrs_special(&table, 0x20, IOAPIC, 1);
    ivrs_unit(&table, 0x11, 0, UNIT_2, BASE(1));
    ivrs_entry(&table, 3, 0x4000);
    ivrs_entry(&table, 4, 0xfeff);
    ivrs_memory(&table, 0x21, NIC, 0, 0x7b800000, 0x100000);
    fake_acpi_add(table.bytes, table.size);
}

static void add_units(uint64_t efr, uint64_t efr_2)
{
    unit = fake_amdvi_add(BASE(0), UNIT, efr);
    unit_2 = fake_amdvi_add(BASE(1), UNIT_2, efr_2);
    report_count = 0;
}

static void start_with(uint64_t efr)
{
    add_table(0, true);
    add_units(efr, efr);
    assert_true(probe());
    assert_true(platform.present);
}

static void start(void)
{
    start_with(TYPICAL);
    assert_int_equal(AMDVI->on(), HV_OK);
}

/* ------------------------------------------------------------------------------ what is reached */

static void assert_reads(struct fake_amdvi *v, uint16_t bdf, hv_gpa_t gpa, hv_hpa_t wanted)
{
    hv_hpa_t pa = 0;

    assert_true(fake_amdvi_dma(v, bdf, gpa, false, &pa));
    assert_int_equal(pa, wanted);
}

static void assert_writes(struct fake_amdvi *v, uint16_t bdf, hv_gpa_t gpa, hv_hpa_t wanted)
{
    hv_hpa_t pa = 0;

    assert_true(fake_amdvi_dma(v, bdf, gpa, true, &pa));
    assert_int_equal(pa, wanted);
}

static void assert_blocked(struct fake_amdvi *v, uint16_t bdf, hv_gpa_t gpa, bool is_write)
{
    unsigned before = report_count;
    hv_hpa_t pa;

    assert_false(fake_amdvi_dma(v, bdf, gpa, is_write, &pa));
    assert_int_equal(report_count, before + 1);
    assert_reported(bdf, is_write ? IOMMU_FAULT_WRITE : IOMMU_FAULT_READ, gpa, PAGE_FAULT);
}

/* ------------------------------------------------------------------------------------ probe */

static void probe_keeps_nothing(void **state)
{
    (void)state;
    start_with(TYPICAL);
    assert_true(platform.remaps_interrupts);
    assert_string_equal(platform.name, "AMD-Vi");
    assert_string_equal(platform.reason, "");
    assert_int_equal(AMDVI->format()->levels, 4);
    assert_int_equal(AMDVI->format()->max_leaf_level, 3);
    assert_int_equal(AMDVI->domain_ids(), 65536);
    assert_int_equal(fake_counts().mmio_mappings, 0);
    assert_int_equal(fake_counts().pages, 0);
}

/* Without a table there is no reason either: there may be units of another kind. */
static void probe_without_table(void **state)
{
    (void)state;
    assert_false(probe());
    assert_string_equal(platform.reason, "");
    ivrs_begin(&table, 0);
    fake_acpi_add(table.bytes, table.size);
    refused("no unit");
}

static void probe_refuses_units(void **state)
{
    (void)state;
    add_table(0, true);
    refused("can not be mapped");
    add_units(TYPICAL, ~0ull);
    refused("no registers");
    unit_2->efr = TYPICAL;
    unit_2->control = FAKE_AMDVI_ON;
    refused("in use already");
    unit_2->control = 0;
    assert_true(probe());
}

/* What one unit lacks, nobody has. */
static void least_common_denominator(void **state)
{
    struct fake_amdvi_interrupt irq;
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x51, .apic_id = 7};

    (void)state;
    add_table(0, true);
    add_units(TYPICAL, 0);
    assert_true(probe());
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_false(unit->control & (FAKE_AMDVI_GA | FAKE_AMDVI_XT));
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_OK);
    AMDVI->irq_set(&nic, 3, &target); /* 32 bits */
    assert_true(fake_amdvi_message(unit, NIC, 0xfee00000, 3, &irq));
    assert_int_equal(irq.vector, 0x51);
    assert_int_equal(irq.destination, 7);
    finish(NULL, NULL);
}

static void interrupts_need_ioapics_and_x2apic_ids(void **state)
{
    struct fake_amdvi_interrupt irq;

    (void)state;
    add_table(0, false);
    add_units(TYPICAL, TYPICAL);
    assert_true(probe());
    assert_false(platform.remaps_interrupts);
    assert_non_null(strstr(platform.reason, "IOAPIC"));
    assert_int_equal(AMDVI->irq_entries(&nic), 0);
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_E_NOT_PRESENT);
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_true(fake_amdvi_message(unit, NIC, 0xfee00000, 0x41, &irq)); /* as ever */
    assert_false(irq.is_remapped);
    assert_blocked(unit, NIC, 0x1000, true);
    finish(NULL, NULL);
    fake_reset();
    fake_set_msr(MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_EN | APIC_BASE_EXTD);
    start_with(TYPICAL & ~FAKE_AMDVI_EFR_XT);
    assert_false(platform.remaps_interrupts);
    assert_non_null(strstr(platform.reason, "x2APIC"));
}

/* -------------------------------------------------------------------------------------- DMA */

static void nobody_reaches_anything(void **state)
{
    (void)state;
    start();
    for (unsigned id = 0; id < 0x10000; id += 0x333)
        assert_blocked(id < 0x4000 ? unit : unit_2, (uint16_t)id, 0x1000, id % 2);
    assert_int_equal(AMDVI->attach(&nic, NULL), HV_OK);
    assert_blocked(unit, NIC, 0x1000, false);
    assert_int_equal(AMDVI->attach(&nobody, NULL), HV_E_NOT_PRESENT);
    finish(NULL, NULL);
}

/* Units that think they know better, from before they were switched on. */
static void stale_caches(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        fake_reset();
        start_with(n ? TYPICAL & ~FAKE_AMDVI_EFR_IA : TYPICAL);
        unit->devices[0] = (struct fake_amdvi_device){.is_valid = true, .device = NIC};
        unit->pages[0] = (struct fake_amdvi_page){
            .is_valid = true, .domain = 7, .size = BIT64(40), .is_present = true, .reads = true};
        unit->irtes[0] = (struct fake_amdvi_irte){.is_valid = true, .device = NIC, .low = 1};
        assert_int_equal(AMDVI->on(), HV_OK);
        assert_blocked(unit, NIC, 0x1000, false);
        assert_false(unit->pages[0].is_valid);
        assert_false(unit->irtes[0].is_valid);
        assert_int_equal(unit->commands[CODE_ALL], !n);
        finish(NULL, NULL);
    }
}

static void attached_before_it_is_on(void **state)
{
    struct iommu_domain d;

    (void)state;
    start_with(TYPICAL);
    d = domain(7);
    map(&d, K(16), K(4), RAM, RW);
    assert_int_equal(AMDVI->attach(&nic, &d), HV_OK);
    assert_reads(unit, NIC, K(17), K(17)); /* not on yet */
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_reads(unit, NIC, K(17) + 8, RAM + K(1) + 8);
    assert_blocked(unit, HV_PCI_BDF(0, 4, 0), K(17), false);
    assert_blocked(unit_2, DISK, K(17), false);
    assert_blocked(unit, NIC, K(20), true);
    assert_blocked(unit, NIC, K(15), false);
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
    assert_int_equal(AMDVI->attach(&nic, &d), HV_OK);
    assert_writes(unit, NIC, HV_SIZE_1G + 0x123450, RAM + HV_SIZE_1G + 0x123450);
    assert_reads(unit, NIC, 3 * HV_SIZE_1G + M2(3) + 8, RAM_2 + M2(3) + 8);
    assert_blocked(unit, NIC, 3 * HV_SIZE_1G + M2(3) + 8, true);
    assert_writes(unit, NIC, 3 * HV_SIZE_1G + M2(4), RAM_2);
    assert_blocked(unit, NIC, 3 * HV_SIZE_1G + M2(4), false);
    assert_blocked(unit, NIC, 1ull << 48, false);
    finish(&d, NULL);
}

static void changes_of_the_map(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(9);
    assert_int_equal(AMDVI->attach(&disk, &d), HV_OK);
    assert_blocked(unit_2, DISK, M2(1), true); /* which it remembers */
    map(&d, 0, M2(4), RAM, RW);
    assert_writes(unit_2, DISK, M2(1), RAM + M2(1));
    unmap(&d, M2(1), K(1));
    assert_blocked(unit_2, DISK, M2(1), true);
    assert_writes(unit_2, DISK, M2(1) + K(1), RAM + M2(1) + K(1));
    map(&d, M2(1), K(3), RAM_2, RW);
    assert_writes(unit_2, DISK, M2(1), RAM_2);
    assert_writes(unit_2, DISK, M2(1) + K(2), RAM_2 + K(2));
    assert_int_equal(npt_protect(&d.npt, M2(1), K(2), NPT_READ), HV_OK);
    AMDVI->flush(&d, M2(1), K(2));
    assert_blocked(unit_2, DISK, M2(1) + K(1), true);
    assert_writes(unit_2, DISK, M2(1) + K(2), RAM_2 + K(2));
    finish(&d, NULL);
}

/* What is kept of pages around the range survives, where the sizes allow; all in it goes. */
static void granularity_of_flushes(void **state)
{
    static const struct {
        hv_gpa_t gpa;
        uint64_t size;
        hv_gpa_t kept; /* 0: none need be */
    } cases[] = {
        {K(5), K(1), K(4)},           {K(4), K(2), K(3)}, {K(3), K(2), K(8)}, {M2(1), M2(1), M2(2)},
        {M2(1) - K(1), K(2), 0},      {K(7), M2(3), 0},   {0, BIT64(47), 0},  {0, BIT64(63), 0},
        {K(3), ~0ull - K(2), 0},      {K(3), ~0ull, 0},   {0, ~0ull, 0},      {0, HV_SIZE_1G, 2 * HV_SIZE_1G},
        {BIT64(47), BIT64(47), K(1)},
    };
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(3);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        hv_gpa_t last = cases[i].gpa + HV_MIN(cases[i].size, BIT64(48) - cases[i].gpa) - K(1);
        const hv_gpa_t at[] = {cases[i].gpa, ALIGN_DOWN(last, K(1)), cases[i].kept};

        for (unsigned n = 0; n < 3; n++)
            unit->pages[n] = (struct fake_amdvi_page){.is_valid = true, .domain = 3, .address = at[n], .size = K(1)};
        unit->pages[3] = (struct fake_amdvi_page){.is_valid = true, .domain = 4, .address = at[0], .size = K(1)};
        AMDVI->flush(&d, cases[i].gpa, cases[i].size);
        assert_false(unit->pages[0].is_valid);
        assert_false(unit->pages[1].is_valid);
        assert_true(unit->pages[2].is_valid || !cases[i].kept);
        assert_true(unit->pages[3].is_valid);
    }
    AMDVI->flush(&d, K(1), 0);
    finish(&d, NULL);
}

static void moves(void **state)
{
    struct iommu_domain a, b;

    (void)state;
    start();
    a = domain(1);
    b = domain(2);
    map(&a, 0, K(8), RAM, RW);
    map(&b, 0, K(4), RAM_2, RW);
    assert_int_equal(AMDVI->attach(&nic, &a), HV_OK);
    assert_writes(unit, NIC, K(5), RAM + K(5));
    assert_int_equal(AMDVI->attach(&nic, &b), HV_OK);
    assert_writes(unit, NIC, K(3), RAM_2 + K(3));
    assert_blocked(unit, NIC, K(5), true);
    assert_int_equal(AMDVI->attach(&nic, NULL), HV_OK);
    assert_blocked(unit, NIC, K(3), false);
    assert_int_equal(AMDVI->attach(&nic, &a), HV_OK);
    assert_int_equal(AMDVI->attach(&nic, &a), HV_OK);
    assert_writes(unit, NIC, K(5), RAM + K(5));
    finish(&a, &b);
}

/* An ID that may be anybody's reaches only what all of them reach. */
static void aliases(void **state)
{
    struct iommu_domain a, b;

    (void)state;
    start();
    a = domain(1);
    b = domain(2);
    map(&a, 0, K(8), RAM, RW);
    map(&b, 0, K(8), RAM_2, RW);
    assert_int_equal(AMDVI->attach(&old_a, &a), HV_OK);
    assert_writes(unit, OLD_A, K(1), RAM + K(1));
    assert_writes(unit, BRIDGE, K(1), RAM + K(1));
    assert_blocked(unit, OLD_B, K(1), false);
    assert_int_equal(AMDVI->attach(&old_b, &b), HV_OK);
    assert_writes(unit, OLD_A, K(1), RAM + K(1));
    assert_writes(unit, OLD_B, K(1), RAM_2 + K(1));
    assert_blocked(unit, BRIDGE, K(1), true);
    assert_int_equal(AMDVI->attach(&old_a, NULL), HV_OK);
    assert_writes(unit, BRIDGE, K(1), RAM_2 + K(1));
    assert_int_equal(AMDVI->attach(&old_a, &b), HV_OK);
    assert_writes(unit, BRIDGE, K(1), RAM_2 + K(1));
    assert_int_equal(AMDVI->attach(&old_a, NULL), HV_OK);
    assert_int_equal(AMDVI->attach(&old_b, NULL), HV_OK);
    assert_blocked(unit, BRIDGE, K(1), true);
    finish(&a, &b);
}

static void reserved_memory(void **state)
{
    hv_hpa_t start_pa = 0;
    uint64_t size = 0;

    (void)state;
    start_with(TYPICAL);
    assert_true(AMDVI->reserved(&nic, 0, &start_pa, &size));
    assert_int_equal(start_pa, 0x7b800000);
    assert_int_equal(size, 0x100000);
    assert_false(AMDVI->reserved(&nic, 1, &start_pa, &size));
    assert_false(AMDVI->reserved(&disk, 0, &start_pa, &size));
}

/* -------------------------------------------------------------------------------- interrupts */

static void assert_irq(struct fake_amdvi *v, uint16_t bdf, const struct hv_msi_message *m, uint8_t vector,
                       uint32_t destination)
{
    struct fake_amdvi_interrupt irq;

    assert_true(fake_amdvi_message(v, bdf, m->address, m->data, &irq));
    assert_true(irq.is_remapped);
    assert_false(irq.is_level);
    assert_int_equal(irq.vector, vector);
    assert_int_equal(irq.destination, destination);
}

static void assert_irq_blocked(struct fake_amdvi *v, uint16_t bdf, uint64_t address, uint32_t data)
{
    struct fake_amdvi_interrupt irq;
    unsigned before = report_count;

    assert_false(fake_amdvi_message(v, bdf, address, data, &irq));
    assert_int_equal(report_count, before + 1);
    assert_reported(bdf, IOMMU_FAULT_INTERRUPT, 0xfee00000, PAGE_FAULT);
}

static void check_interrupts(uint64_t efr)
{
    const struct iommu_irq_target block = {0};
    struct iommu_irq_target target = {.is_valid = true, .vector = 0x61, .apic_id = 3};
    struct hv_msi_message m, second;

    start_with(efr);
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_int_equal(!!(unit->control & FAKE_AMDVI_GA), !!(efr & FAKE_AMDVI_EFR_GA));
    assert_int_equal(AMDVI->irq_entries(&nic), 512);
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_OK);
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_OK);
    AMDVI->irq_message(&nic, 508, 0, &m);
    AMDVI->irq_message(&nic, 508, 3, &second);
    assert_irq_blocked(unit, NIC, m.address, m.data); /* which it remembers */
    AMDVI->irq_set(&nic, 508, &target);
    assert_irq(unit, NIC, &m, 0x61, 3);
    assert_irq_blocked(unit, NIC, m.address, m.data + 1);
    target.vector = 0xfe;
    target.apic_id = 254;
    AMDVI->irq_set(&nic, 511, &target);
    assert_irq(unit, NIC, &second, 0xfe, 254);
    assert_irq(unit, NIC, &m, 0x61, 3);
    AMDVI->irq_set(&nic, 508, &target); /* retargeted */
    assert_irq(unit, NIC, &m, 0xfe, 254);
    AMDVI->irq_set(&nic, 508, &block);
    assert_irq_blocked(unit, NIC, m.address, m.data);
    target.apic_id = 256; /* a message can not say that */
    AMDVI->irq_set(&nic, 511, &target);
    assert_irq_blocked(unit, NIC, second.address, second.data);
    assert_true(fake_log_contains("x2APIC"));
    finish(NULL, NULL);
}

static void interrupts_of_128_bits(void **state)
{
    (void)state;
    check_interrupts(TYPICAL);
}

static void interrupts_of_32_bits(void **state)
{
    (void)state;
    check_interrupts(TYPICAL & ~FAKE_AMDVI_EFR_GA);
}

static void x2apic_ids(void **state)
{
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x61, .apic_id = 0x12345678};
    struct hv_msi_message m;

    (void)state;
    fake_set_msr(MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_EN | APIC_BASE_EXTD);
    start();
    assert_true(unit->control & FAKE_AMDVI_XT);
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_OK);
    AMDVI->irq_set(&nic, 0, &target);
    AMDVI->irq_message(&nic, 0, 0, &m);
    assert_irq(unit, NIC, &m, 0x61, 0x12345678);
    assert_blocked(unit, NIC, 0, true); /* told by the register for such IDs */
    assert_int_equal(unit->config[FAKE_AMDVI_MSI / 4 + 3], 0x56);
    finish(NULL, NULL);
    assert_int_equal(unit->xt_evt, 0);
}

static void forged_interrupts(void **state)
{
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x61, .apic_id = 3};
    struct hv_msi_message m;

    (void)state;
    start();
    assert_irq_blocked(unit, NIC, 0xfee03000, 0x61); /* nothing prepared */
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_OK);
    assert_int_equal(AMDVI->irq_prepare(&disk), HV_OK);
    AMDVI->irq_set(&disk, 0x61, &target);
    AMDVI->irq_message(&disk, 0x61, 0, &m);
    assert_irq(unit_2, DISK, &m, 0x61, 3);
    assert_irq_blocked(unit, NIC, m.address, m.data);
    assert_irq_blocked(unit, NIC, 0xfee03000, 0x61); /* as if there was no remapping */
    for (uint32_t mode = 2; mode < 8; mode++)        /* SMI, NMI, INIT, ExtINT */
        assert_irq_blocked(unit_2, DISK, m.address, 0x61 | mode << 8);
    finish(NULL, NULL);
}

/* They can not be told apart, so they share; each has entries of its own in the table. */
static void interrupts_under_an_alias(void **state)
{
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x61, .apic_id = 3};
    const struct iommu_irq_target other = {.is_valid = true, .vector = 0x71, .apic_id = 4};
    struct hv_msi_message m;

    (void)state;
    start();
    assert_int_equal(AMDVI->irq_table(&old_a), AMDVI->irq_table(&old_b));
    assert_int_not_equal(AMDVI->irq_table(&old_a), AMDVI->irq_table(&nic));
    assert_int_not_equal(AMDVI->irq_table(&disk), AMDVI->irq_table(&nic));
    assert_int_equal(AMDVI->irq_prepare(&old_a), HV_OK);
    assert_int_equal(AMDVI->irq_prepare(&old_b), HV_OK);
    AMDVI->irq_message(&old_a, 1, 0, &m);
    assert_irq_blocked(unit, BRIDGE, m.address, m.data);
    AMDVI->irq_set(&old_a, 1, &target);
    assert_irq(unit, OLD_A, &m, 0x61, 3);
    assert_irq(unit, BRIDGE, &m, 0x61, 3);
    AMDVI->irq_set(&old_b, 2, &other);
    AMDVI->irq_message(&old_b, 2, 0, &m);
    assert_irq(unit, OLD_B, &m, 0x71, 4);
    assert_irq(unit, BRIDGE, &m, 0x71, 4);
    finish(NULL, NULL);
}

static void ioapic_pins(void **state)
{
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x61, .apic_id = 3, .is_level = true};
    struct hv_pci_address requester = {7, 7};
    struct fake_amdvi_interrupt irq;
    uint64_t entry;

    (void)state;
    start();
    assert_int_equal(AMDVI->ioapic_requester(0x21, &requester), HV_E_NOT_FOUND);
    assert_int_equal(AMDVI->ioapic_requester(0x20, &requester), HV_OK);
    assert_int_equal(requester.segment, 0);
    assert_int_equal(requester.bdf, IOAPIC);
    assert_int_equal(AMDVI->irq_prepare(&ioapic), HV_OK);
    AMDVI->irq_set(&ioapic, 0x161, &target);
    entry = AMDVI->ioapic_entry(0x161, 5, &target);
    assert_true(entry >> 15 & 1);
    assert_false(entry >> 13 & 1);
    assert_int_equal(entry & 0xff, target.vector); /* so that its EOI is the pin's */
    assert_true(fake_amdvi_ioapic(unit, IOAPIC, entry, &irq));
    assert_true(irq.is_remapped && irq.is_level);
    assert_int_equal(irq.vector, 0x61);
    assert_int_equal(irq.destination, 3);
    finish(NULL, NULL);
}

/* ------------------------------------------------------------------------------------ faults */

/* While interrupts are off the log fills up; what did not fit is said once. */
static void lost_faults_are_said(void **state)
{
    uint64_t flags;
    hv_hpa_t pa;

    (void)state;
    start();
    for (unsigned round = 0; round < 3; round++) {
        flags = hv_host_irq_save();
        for (unsigned i = 0; i < 300; i++)
            assert_false(fake_amdvi_dma(unit, NIC, K(i), true, &pa));
        hv_host_irq_restore(flags);
        fake_amdvi_settle(unit);
        assert_int_equal(report_count, (round + 1) * 255);
        assert_reported(NIC, IOMMU_FAULT_WRITE, K(254), PAGE_FAULT);
    }
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 1);
    assert_true(fake_log_contains("more faults than it could record"));
    assert_blocked(unit, NIC, 0x1000, true); /* it goes on */
    finish(NULL, NULL);
}

static void no_vector_for_faults(void **state)
{
    hv_hpa_t pa;

    (void)state;
    start_with(TYPICAL);
    fake_irq_limit(0);
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_true(fake_log_contains("told late"));
    assert_false(fake_amdvi_dma(unit, NIC, 0x5000, false, &pa));
    assert_int_equal(report_count, 0);
    AMDVI->poll();
    assert_int_equal(report_count, 1);
    assert_reported(NIC, IOMMU_FAULT_READ, 0x5000, PAGE_FAULT);
    finish(NULL, NULL);
}

/* The function may have no such capability, or chains of them that never end. */
static void no_capability_for_interrupts(void **state)
{
    (void)state;
    start_with(TYPICAL);
    unit->config[FAKE_AMDVI_MSI / 4] = 0x00800000 | 0x40 << 8 | 0x11;
    unit_2->config[0] = ~0u;
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 2);
    finish(NULL, NULL);
    assert_int_equal(unit->config[FAKE_AMDVI_MSI / 4 + 3], 0x56);
}

/* A device that does nothing but fault keeps no CPU busy. */
static void flood_of_faults(void **state)
{
    hv_hpa_t pa;

    (void)state;
    start();
    for (unsigned i = 0; i < 100000; i++) {
        assert_false(fake_amdvi_dma(unit, NIC, 0x1000, true, &pa));
        if (!(unit->control >> 3 & 1))
            break;
    }
    assert_false(unit->control >> 3 & 1);
    assert_true(unit->interrupts < 3000);
    fake_advance_time(2000000000);
    AMDVI->poll();
    assert_true(unit->control >> 3 & 1);
    assert_blocked(unit, NIC, 0x2000, true);
    finish(NULL, NULL);
}

/* -------------------------------------------------------------------------------------- life */

/* What is seen of the machine. */
struct seen {
    uint64_t devtab, cmd_base, evt_base, control, excl_base, excl_limit, cmd_head, cmd_tail, evt_head, evt_tail, xt;
    uint32_t config[64];
};

static struct seen seen(const struct fake_amdvi *v)
{
    struct seen s = {v->devtab,   v->cmd_base, v->evt_base, v->control,  v->excl_base, v->excl_limit,
                     v->cmd_head, v->cmd_tail, v->evt_head, v->evt_tail, v->xt_evt,    {0}};

    memcpy(s.config, v->config, sizeof(s.config));
    return s;
}

static void assert_as_before(const struct fake_amdvi *v, const struct seen *before)
{
    const struct seen now = seen(v);

    assert_memory_equal(&now, before, sizeof(now));
}

static void leave_things(struct fake_amdvi *v)
{
    v->devtab = FOREIGN | 7;
    v->cmd_base = (FOREIGN + K(8)) | 8ull << 56;
    v->evt_base = (FOREIGN + K(9)) | 8ull << 56;
    v->cmd_head = v->cmd_tail = 0x30;
    v->evt_head = v->evt_tail = 0x40;
    v->excl_base = 0x80000;
    v->excl_limit = 0x90000;
}

static void leaves_all_as_it_was(void **state)
{
    struct seen before;

    (void)state;
    add_table(0, true);
    add_units(TYPICAL, TYPICAL);
    leave_things(unit);
    unit->excl_base |= 1;
    before = seen(unit);
    assert_true(probe());
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(AMDVI->on(), HV_OK);
        assert_blocked(unit, NIC, 0x81000, true); /* not by the exclusion range either */
        finish(NULL, NULL);
        assert_as_before(unit, &before);
    }
}

/* Firmware has kept devices off memory, and does so again. Its table is in memory of its own. */
static void left_on_by_firmware(void **state)
{
    uint64_t *firmware;
    struct seen before;
    hv_hpa_t pa;

    (void)state;
    firmware = fake_ram_alloc(K(16), RAM);
    add_table(LEFT_ON, true);
    add_units(TYPICAL, TYPICAL);
    leave_things(unit);
    unit->devtab = RAM | 7;
    unit->control = FAKE_AMDVI_ON | 1 << 10;
    firmware[NIC * 4] = 3; /* valid, no rights */
    before = seen(unit);
    assert_true(probe());
    assert_int_equal(AMDVI->on(), HV_OK);
    assert_blocked(unit, NIC, 0x81000, true);
    firmware[NIC * 4] = 3 | 3ull << 61;
    assert_int_equal(AMDVI->attach(&nic, NULL), HV_OK);
    AMDVI->off();
    assert_as_before(unit, &before);
    assert_true(fake_amdvi_dma(unit, NIC, 0x81000, true, &pa)); /* by its table, not by what was kept of ours */
    fake_ram_free(firmware);
}

static void taken_after_probe(void **state)
{
    (void)state;
    start_with(TYPICAL);
    unit_2->control = FAKE_AMDVI_ON;
    assert_int_equal(AMDVI->on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("in use already"));
    assert_int_equal(unit->control, 0);
    assert_int_equal(fake_counts().pages, 0);
    unit_2->control = 0;
    assert_int_equal(AMDVI->on(), HV_OK);
    finish(NULL, NULL);
}

static void out_of_memory(void **state)
{
    enum hv_status st;
    unsigned n = 0;

    (void)state;
    start_with(TYPICAL);
    do {
        fake_fail_after(++n);
        st = AMDVI->on();
        assert_true(st == HV_OK || st == HV_E_NO_MEMORY);
        if (st == HV_OK && fake_has_failed()) /* a vector */
            AMDVI->off();
        assert_true(n < 100);
        if (st != HV_OK)
            assert_int_equal(unit->control, 0);
    } while (fake_has_failed());
    assert_true(n > 8);
    finish(NULL, NULL);
}

static void attach_without_memory_changes_nothing(void **state)
{
    struct iommu_domain d;

    (void)state;
    start_with(TYPICAL);
    d = domain(1);
    for (unsigned n = 1; n <= 2; n++) {
        fake_fail_after(n);
        assert_int_equal(AMDVI->attach(&nic, &d), HV_E_NO_MEMORY);
    }
    assert_int_equal(AMDVI->attach(&nic, &d), HV_OK);
    fake_fail_after(1);
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_E_NO_MEMORY);
    assert_int_equal(AMDVI->irq_prepare(&nic), HV_OK);
    finish(&d, NULL);
}

static void registers_are_known(void **state)
{
    hv_hpa_t start;
    uint64_t size;

    (void)state;
    start_with(TYPICAL | BIT64(9));
    assert_true(AMDVI->registers(0, &start, &size));
    assert_int_equal(start, unit->base);
    assert_int_equal(size, 0x80000);
    assert_true(AMDVI->registers(1, &start, &size));
    assert_int_equal(start, unit_2->base);
    assert_false(AMDVI->registers(2, &start, &size));
}

/* --------------------------------------------------------------------------- units that fail */

static void deaf_unit(void **state)
{
    (void)state;
    start_with(TYPICAL);
    unit->ignores_command_stop = true;
    unit->status = 1 << 4;
    assert_int_equal(AMDVI->on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("does not become"));
    assert_int_equal(fake_counts().pages, 0);
    assert_int_equal(fake_counts().mmio_mappings, 0);
    assert_int_equal(fake_counts().vectors, 0);
}

/* It would go on with rings that are pages of somebody else's by then. */
static void a_unit_that_does_not_stop(void **state)
{
    (void)state;
    start();
    unit->ignores_command_stop = true;
    expect_assert_failure(AMDVI->off());
    assert_true(fake_log_contains("does not become"));
    unit->ignores_command_stop = false;
    AMDVI->off();
}

static void hanging_commands(void **state)
{
    (void)state;
    start_with(TYPICAL);
    unit_2->hangs = true;
    assert_int_equal(AMDVI->on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("does not complete invalidations"));
    assert_int_equal(fake_counts().pages, 0);
    assert_int_equal(unit->control, 0);
}

static void hanging_while_on(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    assert_int_equal(AMDVI->attach(&nic, &d), HV_OK);
    unit->hangs = true;
    expect_assert_failure(AMDVI->flush(&d, 0, K(1)));
    unit->hangs = false;
    finish(&d, NULL);
}

/* It stops at a command, is told of it, and forgets more in its place. */
static void refused_command(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    map(&d, 0, K(4), RAM, RW);
    assert_int_equal(AMDVI->attach(&nic, &d), HV_OK);
    assert_writes(unit, NIC, K(1), RAM + K(1));
    unit->dislikes = BIT64(3);
    unmap(&d, K(1), K(1));
    assert_blocked(unit, NIC, K(1), true);
    AMDVI->poll();
    assert_true(fake_log_contains("stopped at a command"));
    assert_true(fake_log_contains("illegal one"));
    unit->dislikes = 0;
    assert_int_equal(AMDVI->attach(&nic, NULL), HV_OK);
    assert_blocked(unit, NIC, 0, true);
    finish(&d, NULL);
}

static void round_the_ring(void **state)
{
    struct iommu_domain d;

    (void)state;
    start();
    d = domain(1);
    assert_int_equal(AMDVI->attach(&nic, &d), HV_OK);
    for (unsigned i = 0; i < 600; i++) {
        map(&d, K(i), K(1), RAM + K(i), RW);
        assert_writes(unit, NIC, K(i), RAM + K(i));
        unmap(&d, K(i), K(1));
        assert_blocked(unit, NIC, K(i), true);
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
        UNIT_TEST(interrupts_need_ioapics_and_x2apic_ids),
        UNIT_TEST(nobody_reaches_anything),
        UNIT_TEST(stale_caches),
        UNIT_TEST(attached_before_it_is_on),
        UNIT_TEST(rights_and_large_pages),
        UNIT_TEST(changes_of_the_map),
        UNIT_TEST(granularity_of_flushes),
        UNIT_TEST(moves),
        UNIT_TEST(aliases),
        UNIT_TEST(reserved_memory),
        UNIT_TEST(interrupts_of_128_bits),
        UNIT_TEST(interrupts_of_32_bits),
        UNIT_TEST(x2apic_ids),
        UNIT_TEST(forged_interrupts),
        UNIT_TEST(interrupts_under_an_alias),
        UNIT_TEST(ioapic_pins),
        UNIT_TEST(lost_faults_are_said),
        UNIT_TEST(no_vector_for_faults),
        UNIT_TEST(no_capability_for_interrupts),
        UNIT_TEST(flood_of_faults),
        UNIT_TEST(leaves_all_as_it_was),
        UNIT_TEST(left_on_by_firmware),
        UNIT_TEST(taken_after_probe),
        UNIT_TEST(out_of_memory),
        UNIT_TEST(attach_without_memory_changes_nothing),
        UNIT_TEST(registers_are_known),
        UNIT_TEST(deaf_unit),
        UNIT_TEST(a_unit_that_does_not_stop),
        UNIT_TEST(hanging_commands),
        UNIT_TEST(hanging_while_on),
        UNIT_TEST(refused_command),
        UNIT_TEST(round_the_ring),
    };

    return cmocka_run_group_tests_name("amdvi", tests, NULL, NULL);
}
