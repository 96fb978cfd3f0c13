/* SPDX-License-Identifier: MIT */
/* ACPI's IVRS tables: what real ones say, and what wrong ones are refused for. */
#include "../../arch/x86_64/iommu/ivrs.h"
#include "ivrs_table.h"
#include "unit.h"
#include <hv/base/bits.h>
#include <stdlib.h>

#define BASE(n) (0xfd200000ull + (n)*0x80000)

static struct ivrs_table table;
static struct ivrs ivrs;
static char reason[160];

/* In memory of just its size, so that the sanitizer sees whoever reads beyond. */
static bool parse_bytes(const uint8_t *bytes, size_t size)
{
    static void *copy;

    free(copy);
    copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    reason[0] = '\0';
    return ivrs_parse(copy, size, &ivrs, reason, sizeof(reason));
}

static bool parse(void)
{
    return parse_bytes(table.bytes, table.size);
}

static void accepted(void)
{
    if (!parse())
        fail_msg("%s", reason);
}

static void refused(const char *why)
{
    assert_false(parse());
    assert_non_null(strstr(reason, "IVRS"));
    if (!strstr(reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reason, why);
}

static void assert_unit(uint16_t segment, uint16_t bdf, int unit, uint16_t wanted)
{
    const struct hv_pci_address requester = {segment, bdf};
    uint16_t alias = 0xdead;
    const struct ivrs_unit *u = ivrs_unit_of(&ivrs, &requester, &alias);

    assert_int_equal(u ? u - ivrs.units : -1, unit);
    assert_int_equal(alias, u ? wanted : 0xdead);
}

/* ----------------------------------------------------------------------------------- devices */

/* A unit as desktop machines have it, described thrice; one of a second segment. */
static void begin_typical(void)
{
    ivrs_begin(&table, 0x00203043);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_entry(&table, 1, 0);
    ivrs_unit(&table, 0x11, 0, 2, BASE(0));
    ivrs_entry(&table, 3, 3);
    ivrs_entry(&table, 4, 0xfffe);
    ivrs_alias(&table, 67, 0x0200, 0x00a4);
    ivrs_entry(&table, 4, 0x02ff);
    ivrs_special(&table, 0x20, 0x00a0, 1);
    ivrs_special(&table, 0, 0x00a0, 2);
    ivrs_special(&table, 0x21, 0x0001, 1);
    ivrs_unit(&table, 0x11, 1, 2, BASE(1));
    ivrs_entry(&table, 1, 0);
    ivrs_alias(&table, 66, 0x0010, 0x0100);
    ivrs_entry(&table, 64, 0); /* padding of 8 bytes */
    ivrs_put(&table, 0, 4);
    ivrs_grow(&table);
    ivrs_alias(&table, 70, 0x0020, 0);
}

static void units_and_their_devices(void **state)
{
    (void)state;
    begin_typical();
    accepted();
    assert_int_equal(ivrs.count, 2);
    assert_int_equal(ivrs.units[0].base, BASE(0));
    assert_int_equal(ivrs.units[0].type, 0x11);
    assert_int_equal(ivrs.units[0].flags, 0x10);
    assert_int_equal(ivrs.units[0].function.bdf, 2);
    assert_int_equal(ivrs.units[0].capability, 0x40);
    assert_int_equal(ivrs.units[1].function.segment, 1);
    assert_true(ivrs.is_left_on);
    assert_true(ivrs.remaps_ioapics);
    assert_unit(0, 2, -1, 0); /* type 10h said all */
    assert_unit(0, 3, 0, 3);
    assert_unit(0, 0xfffe, 0, 0xfffe);
    assert_unit(0, 0xffff, -1, 0);
    assert_unit(0, 0x0200, 0, 0xa4);
    assert_unit(0, 0x02ff, 0, 0xa4);
    assert_unit(0, 0x0300, 0, 0x0300);
    assert_unit(0, 0x00a0, 0, 0xa0);
    assert_unit(0, 0x0001, 0, 1); /* an IOAPIC that is in no other entry */
    assert_unit(1, 0x0010, 1, 0x0100);
    assert_unit(1, 0x0020, 1, 0x20);
    assert_unit(1, 0xffff, 1, 0xffff);
    assert_unit(2, 0x0010, -1, 0);
}

static void aliases(void **state)
{
    (void)state;
    begin_typical();
    accepted();
    assert_int_equal(ivrs_next_aliased(&ivrs, 0, 0xa4, 0), 0x200);
    assert_int_equal(ivrs_next_aliased(&ivrs, 0, 0xa4, 0x2ff), 0x2ff);
    assert_int_equal(ivrs_next_aliased(&ivrs, 0, 0xa4, 0x300), 0x10000);
    assert_int_equal(ivrs_next_aliased(&ivrs, 1, 0xa4, 0), 0x10000);
    assert_int_equal(ivrs_next_aliased(&ivrs, 1, 0x100, 0), 0x10);
    assert_int_equal(ivrs_next_aliased(&ivrs, 1, 0x100, 0x11), 0x10000);
    assert_int_equal(ivrs_next_aliased(&ivrs, 0, 0xa5, 0), 0x10000);
}

/* What comes later is right. */
static void entries_that_contradict(void **state)
{
    (void)state;
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_alias(&table, 67, 0x100, 0x88);
    ivrs_entry(&table, 4, 0x1ff);
    ivrs_entry(&table, 2, 0x108);
    ivrs_special(&table, 9, 0x106, 1); /* says nothing of the function with this ID */
    ivrs_unit(&table, 0x10, 0, 3, BASE(1));
    ivrs_entry(&table, 2, 0x110);
    accepted();
    assert_unit(0, 0x106, 0, 0x88);
    assert_unit(0, 0x107, 0, 0x88);
    assert_unit(0, 0x108, 0, 0x108);
    assert_unit(0, 0x110, 1, 0x110);
    assert_false(ivrs.is_left_on);
}

static void names_are_passed_over(void **state)
{
    (void)state;
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x40, 0, 2, BASE(0));
    ivrs_named(&table, 0x99, 9);
    ivrs_entry(&table, 2, 0x98);
    ivrs_named(&table, 0x9a, 0);
    accepted();
    assert_false(ivrs.remaps_ioapics);
    assert_unit(0, 0x99, -1, 0);
    assert_unit(0, 0x98, 0, 0x98);
}

/* In whatever order they come. */
static void the_highest_type_counts(void **state)
{
    static const uint8_t orders[][3] = {{0x10, 0x11, 0x40}, {0x40, 0x11, 0x10}, {0x11, 0x40, 0x10}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(orders); i++) {
        ivrs_begin(&table, 0);
        for (unsigned n = 0; n < 3; n++) {
            ivrs_unit(&table, orders[i][n], 0, 2, BASE(0));
            ivrs_entry(&table, 2, orders[i][n]);
        }
        ivrs_block(&table, 0x41, 0, 2); /* of a later specification */
        ivrs_grow(&table);
        accepted();
        assert_int_equal(ivrs.count, 1);
        assert_unit(0, 0x40, 0, 0x40);
        assert_unit(0, 0x11, -1, 0);
        assert_unit(0, 0x10, -1, 0);
    }
}

static void ioapics(void **state)
{
    struct hv_pci_address a = {9, 9};

    (void)state;
    begin_typical();
    accepted();
    assert_true(ivrs_ioapic(&ivrs, 0x20, &a));
    assert_int_equal(a.segment, 0);
    assert_int_equal(a.bdf, 0xa0);
    assert_true(ivrs_ioapic(&ivrs, 0x21, &a));
    assert_int_equal(a.bdf, 1);
    assert_false(ivrs_ioapic(&ivrs, 0, &a)); /* that is a HPET */
}

/* ------------------------------------------------------------------------------------ memory */

static void assert_reserved(uint16_t segment, uint16_t bdf, uint32_t n, hv_hpa_t start, uint64_t size)
{
    const struct hv_pci_address requester = {segment, bdf};
    hv_hpa_t its_start = 0;
    uint64_t its_size = 0;

    assert_int_equal(ivrs_reserved(&ivrs, &requester, n, &its_start, &its_size), size != 0);
    assert_int_equal(its_start, start);
    assert_int_equal(its_size, size);
}

static void reserved_memory(void **state)
{
    (void)state;
    begin_typical();
    ivrs_memory(&table, 0x22, 0x10, 0x17, 0x80000, 0x10000);
    ivrs_memory(&table, 0x21, 0x12, 0, 0x9ff80, 0x100);
    ivrs_memory(&table, 0x20, 0, 0, BIT64(52) - 0x1000, 0x1000);
    accepted();
    assert_reserved(0, 0x12, 0, 0x80000, 0x10000);
    assert_reserved(0, 0x12, 1, 0x9f000, 0x2000); /* whole pages */
    assert_reserved(0, 0x12, 2, BIT64(52) - 0x1000, 0x1000);
    assert_reserved(0, 0x12, 3, 0, 0);
    assert_reserved(0, 0x18, 0, BIT64(52) - 0x1000, 0x1000);
    assert_reserved(1, 0x12, 0, BIT64(52) - 0x1000, 0x1000);
    assert_reserved(0, 0x18, 1, 0, 0);
}

/* ------------------------------------------------------------------------------ wrong tables */

static void short_tables(void **state)
{
    (void)state;
    begin_typical();
    ivrs_memory(&table, 0x21, 0x12, 0, 0x9f000, 0x1000);
    ivrs_unit(&table, 0x40, 0, 7, BASE(5));
    ivrs_named(&table, 1, 3);
    accepted();
    for (size_t size = 0; size < table.size; size++)
        if (parse_bytes(table.bytes, size)) /* it may end with a block */
            assert_true(size >= 48 + 28 && reason[0] == '\0');
}

static void patch(size_t at, uint64_t value, unsigned bytes)
{
    memcpy(table.bytes + at, &value, bytes);
}

static void impossible_lengths(void **state)
{
    static const uint16_t lengths[] = {0, 3, 29, 0xffff};
    static const uint8_t types[] = {0x10, 0x11, 0x40, 0x21};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
        ivrs_begin(&table, 0);
        ivrs_unit(&table, 0x10, 0, 2, BASE(0));
        ivrs_entry(&table, 1, 0);
        patch(table.block + 2, lengths[i], 2);
        refused("impossible length");
    }
    for (unsigned i = 0; i < ARRAY_COUNT(types); i++) {
        ivrs_begin(&table, 0);
        ivrs_block(&table, types[i], 0, 2);
        table.size = table.block + (types[i] == 0x10 ? 23 : types[i] == 0x21 ? 31 : 39);
        ivrs_grow(&table);
        refused("too short");
    }
}

static void entries_that_are_cut_off(void **state)
{
    static const struct {
        uint8_t type;
        unsigned size;
    } entries[] = {{2, 4}, {66, 8}, {128, 16}, {192, 32}, {240, 22}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(entries); i++)
        for (unsigned size = 1; size <= entries[i].size; size++) {
            ivrs_begin(&table, 0);
            ivrs_unit(&table, 0x40, 0, 2, BASE(0));
            ivrs_put(&table, entries[i].type, 1);
            table.size += size - 1;
            ivrs_grow(&table);
            if (size < entries[i].size)
                refused("cut off");
            else
                accepted();
        }
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x40, 0, 2, BASE(0));
    ivrs_named(&table, 1, 200);
    table.size--;
    ivrs_grow(&table);
    refused("cut off");
}

static void wrong_ranges(void **state)
{
    (void)state;
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_entry(&table, 3, 0x10);
    refused("no end");
    ivrs_entry(&table, 2, 0x11);
    ivrs_entry(&table, 4, 0x12);
    refused("no end");
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_entry(&table, 4, 0x10);
    refused("not begun");
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_alias(&table, 67, 0x10, 5);
    ivrs_entry(&table, 4, 0x0f);
    refused("before it begins");
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_entry(&table, 3, 0x10);
    ivrs_entry(&table, 0, 0);
    ivrs_entry(&table, 4, 0x10);
    accepted();
    assert_unit(0, 0x10, 0, 0x10);
}

static void wrong_units(void **state)
{
    static const uint64_t bases[] = {0, 0xfd200000ull + 0x1000, BIT64(52), ~0ull};

    (void)state;
    ivrs_begin(&table, 0);
    refused("no unit");
    for (unsigned i = 0; i < ARRAY_COUNT(bases); i++) {
        ivrs_begin(&table, 0);
        ivrs_unit(&table, 0x10, 0, 2, bases[i]);
        refused("no possible address");
    }
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    refused("twice");
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_unit(&table, 0x11, 0, 2, BASE(1));
    refused("two addresses");
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_unit(&table, 0x10, 1, 2, BASE(0));
    refused("same registers");
    ivrs_begin(&table, 0);
    for (unsigned i = 0; i <= IVRS_UNITS; i++)
        ivrs_unit(&table, 0x10, 0, (uint16_t)i, BASE(i));
    refused("more units");
}

static void wrong_memory(void **state)
{
    static const struct {
        uint64_t start, size;
    } ranges[] = {{0x1000, 0}, {BIT64(52), 0x1000}, {BIT64(52) - 0x1000, 0x1001}, {0x1000, ~0ull}, {~0ull, 2}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ranges); i++) {
        ivrs_begin(&table, 0);
        ivrs_unit(&table, 0x10, 0, 2, BASE(0));
        ivrs_memory(&table, 0x20, 0, 0, ranges[i].start, ranges[i].size);
        refused("no possible addresses");
    }
    ivrs_begin(&table, 0);
    ivrs_unit(&table, 0x10, 0, 2, BASE(0));
    ivrs_memory(&table, 0x22, 8, 7, 0x1000, 0x1000);
    refused("before it begins");
}

/* Any bytes: a reason, or answers that end. */
static void random_tables(void **state)
{
    unsigned parsed = 0;

    (void)state;
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        const struct hv_pci_address requester = {0, (uint16_t)rand()};
        uint16_t alias = 0;
        hv_hpa_t start;
        uint64_t size;

        begin_typical();
        ivrs_memory(&table, 0x22, 0x10, 0x17, 0x80000, 0x10000);
        for (int n = rand() % 4; n >= 0; n--)
            table.bytes[48 + (unsigned)rand() % (table.size - 48)] = (uint8_t)rand();
        if (!parse()) {
            assert_true(strlen(reason) > 0);
            continue;
        }
        parsed++;
        ivrs_unit_of(&ivrs, &requester, &alias);
        for (uint32_t n = 0; ivrs_reserved(&ivrs, &requester, n, &start, &size); n++)
            assert_true(n < table.size && size && start + size <= BIT64(52));
    }
    assert_true(parsed > 1000 && parsed < 19000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(units_and_their_devices),
        UNIT_TEST(aliases),
        UNIT_TEST(entries_that_contradict),
        UNIT_TEST(names_are_passed_over),
        UNIT_TEST(the_highest_type_counts),
        UNIT_TEST(ioapics),
        UNIT_TEST(reserved_memory),
        UNIT_TEST(short_tables),
        UNIT_TEST(impossible_lengths),
        UNIT_TEST(entries_that_are_cut_off),
        UNIT_TEST(wrong_ranges),
        UNIT_TEST(wrong_units),
        UNIT_TEST(wrong_memory),
        UNIT_TEST(random_tables),
    };

    return cmocka_run_group_tests_name("ivrs", tests, NULL, NULL);
}
