/* SPDX-License-Identifier: MIT */
/* ACPI's DMAR table: which unit sees whom, what is reserved; and tables that make no sense. */
#include "../../arch/x86_64/iommu/dmar.h"
#include "dmar_table.h"
#include "unit.h"
#include <stdlib.h>

static struct dmar_table t;
static struct dmar d;
static char reason[160];

/* The bytes end where the table ends: whoever reads on is found out. */
static bool parse(void)
{
    static uint8_t *copy;
    bool ok;

    free(copy);
    copy = malloc(t.size);
    assert_non_null(copy);
    memcpy(copy, t.bytes, t.size);
    reason[0] = 0;
    ok = dmar_parse(copy, t.size, &d, reason, sizeof(reason));
    assert_int_equal(ok, !reason[0]);
    return ok;
}

static void assert_refused(const char *why)
{
    assert_false(parse());
    if (!strstr(reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reason, why);
}

/* Bridge 0:1c.0 leads to buses 2 to 4, and 2:0.0 on to 3. */
static bool bridges(const struct hv_pci_address *bridge, uint8_t *first, uint8_t *last)
{
    if (bridge->segment || (bridge->bdf != HV_PCI_BDF(0, 0x1c, 0) && bridge->bdf != HV_PCI_BDF(2, 0, 0)))
        return false;
    *first = bridge->bdf == HV_PCI_BDF(2, 0, 0) ? 3 : 2;
    *last = bridge->bdf == HV_PCI_BDF(2, 0, 0) ? 3 : 4;
    return true;
}

static int64_t unit_of(uint16_t segment, uint16_t bdf)
{
    const struct dmar_unit *u = dmar_unit_of(&d, &(struct hv_pci_address){segment, bdf});

    return u ? (int64_t)u->base : -1;
}

static void write_typical(void)
{
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfed90000, false);
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    dmar_unit(&t, 0, 0xfed91000, false);
    dmar_scope(&t, DMAR_BRIDGE, 0, 0, DMAR_PATH(0x1c, 0));
    dmar_unit(&t, 0, 0xfed92000, true);
    dmar_scope(&t, DMAR_IOAPIC, 2, 0xf0, DMAR_PATH(0x1f, 0));
    dmar_scope(&t, DMAR_HPET, 0, 0, DMAR_PATH(0x1f, 0));
    dmar_unit(&t, 1, 0xfed93000, false);
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    dmar_reserve(&t, 0, 0x7b800000, 0x7fffffff);
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    dmar_reserve(&t, 0, 0x1000, 0x1fff);
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(0x14, 0));
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    dmar_structure(&t, 2); /* ATSR */
    dmar_put(&t, 0, 4);
    dmar_grow(&t);
}

static void units_by_scope(void **state)
{
    (void)state;
    write_typical();
    assert_true(parse());
    assert_int_equal(d.width, 39);
    assert_true(d.remaps_interrupts);
    assert_int_equal(unit_of(0, HV_PCI_BDF(0, 2, 0)), 0xfed90000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(0, 2, 1)), 0xfed92000);
    assert_int_equal(unit_of(1, HV_PCI_BDF(0, 2, 0)), 0xfed93000);
    assert_int_equal(unit_of(1, HV_PCI_BDF(0, 3, 0)), -1);
    assert_int_equal(unit_of(0, HV_PCI_BDF(0xf0, 0x1f, 0)), 0xfed92000);
}

static void units_by_bridge(void **state)
{
    (void)state;
    write_typical();
    assert_true(parse());
    assert_int_equal(unit_of(0, HV_PCI_BDF(0, 0x1c, 0)), 0xfed91000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(4, 0, 0)), 0xfed92000); /* nobody knows the bridge yet */
    iommu_set_bridges(bridges);
    assert_int_equal(unit_of(0, HV_PCI_BDF(2, 0, 0)), 0xfed91000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(4, 0x1f, 7)), 0xfed91000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(5, 0, 0)), 0xfed92000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(1, 0, 0)), 0xfed92000);
    iommu_set_bridges(NULL);
}

/* A path leads through bridges: 0:1c.0, 2:0.0, and there 3:5.1. */
static void path_of_many_steps(void **state)
{
    (void)state;
    dmar_begin(&t, 46, 0);
    dmar_unit(&t, 0, 0xfed90000, false);
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(0x1c, 0, 0, 0, 5, 1));
    dmar_unit(&t, 0, 0xfed91000, true);
    assert_true(parse());
    assert_false(d.remaps_interrupts);
    assert_int_equal(unit_of(0, HV_PCI_BDF(3, 5, 1)), 0xfed91000);
    iommu_set_bridges(bridges);
    assert_int_equal(unit_of(0, HV_PCI_BDF(3, 5, 1)), 0xfed90000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(2, 0, 0)), 0xfed91000);
    iommu_set_bridges(NULL);
}

static void reserved_ranges(void **state)
{
    const struct hv_pci_address graphics = {0, HV_PCI_BDF(0, 2, 0)}, usb = {0, HV_PCI_BDF(0, 0x14, 0)},
                                other = {1, HV_PCI_BDF(0, 2, 0)};
    uint64_t size;
    hv_hpa_t start;

    (void)state;
    write_typical();
    assert_true(parse());
    assert_true(dmar_reserved(&d, &graphics, 0, &start, &size));
    assert_int_equal(start, 0x7b800000);
    assert_int_equal(size, 0x4800000);
    assert_true(dmar_reserved(&d, &graphics, 1, &start, &size));
    assert_int_equal(start, 0x1000);
    assert_int_equal(size, 0x1000);
    assert_false(dmar_reserved(&d, &graphics, 2, &start, &size));
    assert_true(dmar_reserved(&d, &usb, 0, &start, &size));
    assert_int_equal(start, 0x1000);
    assert_false(dmar_reserved(&d, &usb, 1, &start, &size));
    assert_false(dmar_reserved(&d, &other, 0, &start, &size));
}

static void ioapics(void **state)
{
    struct hv_pci_address a;

    (void)state;
    write_typical();
    assert_true(parse());
    assert_true(dmar_ioapic(&d, 2, &a));
    assert_int_equal(a.segment, 0);
    assert_int_equal(a.bdf, HV_PCI_BDF(0xf0, 0x1f, 0));
    assert_false(dmar_ioapic(&d, 0, &a)); /* the HPET's number */
}

/* ------------------------------------------------------------------------------- hostile tables */

static void wrong_headers(void **state)
{
    (void)state;
    write_typical();
    t.size = 47;
    assert_refused("too short");
    t.size = 48;
    assert_refused("no unit");
    dmar_begin(&t, 256, 1);
    assert_refused("width");
    dmar_begin(&t, 12, 1);
    assert_refused("width");
}

static void wrong_units(void **state)
{
    (void)state;
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0, true);
    assert_refused("no possible address");
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfed90800, true);
    assert_refused("no possible address");
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfff0000000000000, true);
    assert_refused("no possible address");
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfed90000, false);
    dmar_unit(&t, 1, 0xfed90000, false);
    assert_refused("same registers");
    dmar_begin(&t, 39, 1);
    for (uint32_t i = 0; i <= DMAR_UNITS; i++)
        dmar_unit(&t, 0, 0xfed00000 + i * 0x1000, false);
    assert_refused("more units");
}

static void wrong_lengths(void **state)
{
    static const struct {
        uint16_t type, length;
        const char *why;
    } cases[] = {{0, 0, "impossible length"},     {9, 3, "impossible length"}, {0, 15, "too short"},
                 {0, 17, "scope is cut off"},     {1, 23, "too short"},        {1, 64, "impossible length"},
                 {7, 0xffff, "impossible length"}};

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dmar_begin(&t, 39, 1);
        dmar_reserve(&t, 0, 0xfed90000, 0xfed90fff);
        t.size += 8;
        memcpy(t.bytes + t.structure, &cases[i].type, 2);
        memcpy(t.bytes + t.structure + 2, &cases[i].length, 2);
        assert_refused(cases[i].why);
    }
    write_typical();
    dmar_put(&t, 0, 2);
    assert_refused("structure is cut off");
}

static void wrong_scopes(void **state)
{
    static const uint8_t lengths[] = {0, 1, 5, 6, 7, 9, 10, 255};

    (void)state;
    for (unsigned i = 0; i < sizeof(lengths); i++) {
        dmar_begin(&t, 39, 1);
        dmar_unit(&t, 0, 0xfed90000, false);
        dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
        t.bytes[t.structure + 16 + 1] = lengths[i];
        assert_refused("scope has an impossible length");
    }
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfed90000, false);
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(32, 0));
    assert_refused("no possible device");
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfed90000, false);
    dmar_scope(&t, DMAR_BRIDGE, 0, 0, DMAR_PATH(1, 0, 1, 8));
    assert_refused("no possible device");
}

static void wrong_ranges(void **state)
{
    static const uint64_t ranges[][2] = {{0x2000, 0xfff}, {0x1800, 0x1fff}, {0x1000, 0x1ffe},
                                         {0, ~0ull},      {0x2000, 0x1fff}, {1ull << 60, (1ull << 60) + 0xfff}};

    (void)state;
    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        dmar_begin(&t, 39, 1);
        dmar_unit(&t, 0, 0xfed90000, true);
        dmar_reserve(&t, 0, ranges[i][0], ranges[i][1]);
        assert_refused("no range of pages");
    }
}

/* Structures and scopes of later specifications are passed over. */
static void unknown_ones(void **state)
{
    (void)state;
    dmar_begin(&t, 39, 1);
    dmar_unit(&t, 0, 0xfed90000, false);
    dmar_scope(&t, 77, 0, 0, DMAR_PATH(99, 99, 1, 1));
    dmar_scope(&t, DMAR_ENDPOINT, 0, 0, DMAR_PATH(2, 0));
    dmar_structure(&t, 0x4711);
    dmar_put(&t, ~0ull, 8);
    dmar_grow(&t);
    assert_true(parse());
    assert_int_equal(unit_of(0, HV_PCI_BDF(0, 2, 0)), 0xfed90000);
    assert_int_equal(unit_of(0, HV_PCI_BDF(0, 99 & 31, 1)), -1);
}

/* Whatever a byte is exchanged for: an answer, and no byte beyond the table is read. */
static void any_byte(void **state)
{
    const struct hv_pci_address graphics = {0, HV_PCI_BDF(0, 2, 0)};
    struct hv_pci_address a;
    struct dmar_table whole;
    uint64_t size;
    hv_hpa_t start;

    (void)state;
    iommu_set_bridges(bridges);
    write_typical();
    whole = t;
    for (size_t at = 36; at < whole.size; at++) {
        for (unsigned value = 0; value < 256; value += value < 40 ? 1 : 43) {
            t = whole;
            t.bytes[at] = (uint8_t)value;
            if (!parse())
                continue;
            unit_of(0, HV_PCI_BDF(3, 5, 1));
            dmar_reserved(&d, &graphics, 5, &start, &size);
            dmar_ioapic(&d, 2, &a);
        }
    }
    for (size_t n = 0; n < whole.size; n++) {
        t.size = n;
        parse();
    }
    iommu_set_bridges(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(units_by_scope),  UNIT_TEST(units_by_bridge), UNIT_TEST(path_of_many_steps),
        UNIT_TEST(reserved_ranges), UNIT_TEST(ioapics),         UNIT_TEST(wrong_headers),
        UNIT_TEST(wrong_units),     UNIT_TEST(wrong_lengths),   UNIT_TEST(wrong_scopes),
        UNIT_TEST(wrong_ranges),    UNIT_TEST(unknown_ones),    UNIT_TEST(any_byte),
    };

    return cmocka_run_group_tests_name("dmar", tests, NULL, NULL);
}
