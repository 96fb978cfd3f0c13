/* SPDX-License-Identifier: MIT */
/* Configuration space: which way leads to it, and what is believed of the MCFG. */
#include "unit.h"
#include <fake_device.h>
#include <fake_pci.h>
#include <pci/config.h>
#include <pci/pci_regs.h>
#include <string.h>

#define BASE 0x3400000000ull
#define MIB  (1ull << 20)

static struct {
    uint8_t header[44];
    struct {
        uint64_t base;
        uint16_t segment;
        uint8_t first, last;
        uint32_t reserved;
    } __attribute__((packed)) entries[200];
} __attribute__((packed)) mcfg;

static uint32_t entries;

static void entry(uint64_t base, uint16_t segment, uint8_t first, uint8_t last)
{
    mcfg.entries[entries].base = base;
    mcfg.entries[entries].segment = segment;
    mcfg.entries[entries].first = first;
    mcfg.entries[entries++].last = last;
}

static void begin_mcfg(void)
{
    memset(&mcfg, 0, sizeof(mcfg));
    memcpy(mcfg.header, "MCFG", 4);
    entries = 0;
}

static void init(size_t extra)
{
    fake_acpi_add(&mcfg, sizeof(mcfg.header) + entries * sizeof(mcfg.entries[0]) + extra);
    assert_int_equal(pci_config_init(), HV_OK);
}

static struct hv_pci_address at(uint16_t segment, uint32_t bus, uint32_t device)
{
    return (struct hv_pci_address){segment, HV_PCI_BDF(bus, device, 0)};
}

static uint32_t vendor(uint16_t segment, uint32_t bus, uint32_t device)
{
    struct hv_pci_address a = at(segment, bus, device);

    return pci_config_read(&a, PCI_VENDOR, 2);
}

static uint32_t segments(void)
{
    uint32_t n = 0;
    uint16_t number;

    while (pci_config_segment(n, &number))
        n++;
    return n;
}

/* ------------------------------------------------------------------------------------- ways */

static void ports_only(void **state)
{
    struct fake_pci *f = fake_pci_add(0, HV_PCI_BDF(3, 4, 5), 0x1234, 0x5678, 0);
    uint8_t first, last;
    uint16_t segment;

    (void)state;
    fake_pci_let(f, 0x40, 4, ~0u);
    fake_pci_start(FAKE_PCI_PORTS);
    assert_int_equal(pci_config_init(), HV_OK);
    assert_int_equal(pci_config_size(&f->address), 256);
    assert_int_equal(pci_config_read(&f->address, 0, 4), 0x56781234);
    assert_int_equal(pci_config_read(&f->address, 2, 2), 0x5678);
    assert_int_equal(pci_config_read(&f->address, 3, 1), 0x56);
    pci_config_write(&f->address, 0x40, 4, 0x11223344);
    pci_config_write(&f->address, 0x42, 2, 0xaabb);
    pci_config_write(&f->address, 0x41, 1, 0xcc);
    assert_int_equal(fake_pci_get(f, 0x40, 4), 0xaabbcc44);
    assert_int_equal(pci_config_read(&f->address, 256, 4), ~0u);
    f->size = 4096;
    pci_config_write(&f->address, 256 + 0x40, 4, 0); /* must not wrap around to 40h */
    assert_int_equal(fake_pci_get(f, 0x40, 4), 0xaabbcc44);
    assert_int_equal(vendor(0, 3, 6), 0xffff);
    assert_int_equal(vendor(1, 3, 4), 0xffff);
    assert_true(pci_config_buses(0, &first, &last));
    assert_int_equal(last - first, 255);
    assert_false(pci_config_buses(1, &first, &last));
    assert_true(pci_config_segment(0, &segment));
    assert_int_equal(segment, 0);
    assert_int_equal(segments(), 1);
    pci_config_exit();
}

static void ecam(void **state)
{
    struct fake_pci *f = fake_pci_add(0, HV_PCI_BDF(3, 4, 5), 0x1234, 0x5678, 0);
    struct fake_pci *g = fake_pci_add(2, HV_PCI_BDF(255, 31, 7), 0x4321, 0x8765, 0);
    struct fake_pci_counts before;

    (void)state;
    fake_pci_set(f, 0xffc, 4, 0x01020304);
    fake_pci_let(g, 0xffc, 4, ~0u);
    fake_pci_start(FAKE_PCI_ECAM | FAKE_PCI_PORTS);
    assert_int_equal(pci_config_init(), HV_OK);
    before = fake_pci_counts();
    assert_int_equal(pci_config_size(&f->address), 4096);
    assert_int_equal(pci_config_read(&f->address, 0xffc, 4), 0x01020304);
    assert_int_equal(pci_config_read(&f->address, 0xffe, 2), 0x0102);
    assert_int_equal(pci_config_read(&f->address, 0xfff, 1), 0x01);
    pci_config_write(&g->address, 0xffc, 4, 0x11223344);
    pci_config_write(&g->address, 0xffe, 2, 0xaabb);
    pci_config_write(&g->address, 0xffd, 1, 0xcc);
    assert_int_equal(fake_pci_get(g, 0xffc, 4), 0xaabbcc44);
    assert_int_equal(vendor(2, 255, 31), 0xffff);
    assert_int_equal(segments(), 2);
    assert_int_equal(fake_pci_counts().port_reads, before.port_reads);
    assert_int_equal(fake_pci_counts().port_writes, before.port_writes);
    pci_config_exit();
}

/* Nothing that is not aligned, too long or outside reaches the machine. */
static void bad_accesses(void **state)
{
    static const struct {
        uint32_t offset, size;
    } bad[] = {{1, 2}, {2, 4}, {3, 4}, {0, 3}, {0, 0}, {0, 8}, {4096, 1}, {0xfffffffc, 4}, {0x1000, 4}};
    struct fake_pci *f = fake_pci_add(0, 0, 0x1234, 0x5678, 0);

    (void)state;
    fake_pci_start(FAKE_PCI_ECAM | FAKE_PCI_PORTS);
    assert_int_equal(pci_config_init(), HV_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fake_pci_counts before = fake_pci_counts(), after;

        assert_int_equal(pci_config_read(&f->address, bad[i].offset, bad[i].size), ~0u);
        pci_config_write(&f->address, bad[i].offset, bad[i].size, 0);
        after = fake_pci_counts();
        assert_memory_equal(&before, &after, sizeof(before));
    }
    pci_config_exit();
}

static void nothing_at_all(void **state)
{
    uint16_t segment;

    (void)state;
    fake_pci_add(0, 0, 0x1234, 0x5678, 0);
    assert_int_equal(vendor(0, 0, 0), 0xffff); /* before it is set up */
    fake_pci_start(0);
    assert_int_equal(pci_config_init(), HV_OK);
    assert_false(pci_config_segment(0, &segment));
    assert_int_equal(vendor(0, 0, 0), 0xffff);
    pci_config_exit();
}

/* ------------------------------------------------------------------------------------- MCFG */

/* Buses that the table does not tell of are reached by the ports, in segment 0. */
static void part_of_the_buses(void **state)
{
    struct fake_pci *inside = fake_pci_add(0, HV_PCI_BDF(0x20, 0, 0), 1, 1, 0);
    struct fake_pci *outside = fake_pci_add(0, HV_PCI_BDF(0x40, 0, 0), 2, 2, 0);
    uint8_t first, last;

    (void)state;
    fake_pci_add(1, HV_PCI_BDF(0x20, 0, 0), 3, 3, 0);
    fake_pci_add(1, HV_PCI_BDF(0x21, 0, 0), 4, 4, 0);
    fake_pci_start(FAKE_PCI_PORTS);
    fake_pci_ecam(0, BASE);
    fake_pci_ecam(1, BASE + 256 * MIB);
    begin_mcfg();
    entry(BASE, 0, 0x10, 0x2f);
    entry(BASE + 256 * MIB, 1, 0x20, 0x20);
    init(0);
    assert_int_equal(vendor(0, 0x20, 0), 1);
    assert_int_equal(pci_config_size(&inside->address), 4096);
    assert_int_equal(vendor(0, 0x40, 0), 2);
    assert_int_equal(pci_config_size(&outside->address), 256);
    assert_true(pci_config_buses(0, &first, &last));
    assert_int_equal(last - first, 255);
    assert_int_equal(vendor(1, 0x20, 0), 3);
    assert_int_equal(vendor(1, 0x21, 0), 0xffff);
    assert_true(pci_config_buses(1, &first, &last));
    assert_int_equal(first, 0x20);
    assert_int_equal(last, 0x20);
    assert_true(pci_config_is_at(BASE + 0x10 * MIB, 1));
    assert_true(pci_config_is_at(BASE, 0x10 * MIB + 1));
    assert_false(pci_config_is_at(BASE, 0x10 * MIB));
    assert_false(pci_config_is_at(BASE + 0x30 * MIB, MIB));
    pci_config_exit();
}

struct bad_entry {
    const char *name;
    uint64_t base;
    uint8_t first, last;
    const char *why;
};

static void refused_entries(void **state)
{
    static const struct bad_entry rows[] = {
        {"last before first", BASE, 5, 4, "last bus"},
        {"at 0", 0, 0, 255, "no configuration space"},
        {"not aligned", BASE + 0x8000, 0, 255, "no configuration space"},
        {"beyond the CPU's addresses", 1ull << 39, 0, 255, "no configuration space"},
        {"partly beyond", (1ull << 39) - 128 * MIB, 0, 255, "no configuration space"},
        {"wraps around", ~0ull << 20, 0, 255, "no configuration space"},
        {"nothing there", 0x1000000000, 0, 255, "can not be mapped"},
        {"another segment's", BASE + 256 * MIB, 0, 255, "not what ports"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        fake_pci_add(0, HV_PCI_BDF(0, 2, 0), 0x1234, 1, 0);
        fake_pci_start(FAKE_PCI_PORTS);
        fake_pci_ecam(0, BASE);
        fake_pci_ecam(1, BASE + 256 * MIB);
        begin_mcfg();
        entry(rows[i].base, 0, rows[i].first, rows[i].last);
        init(0);
        if (!fake_log_contains(rows[i].why))
            fail_msg("%s: not refused", rows[i].name);
        assert_int_equal(vendor(0, 0, 2), 0x1234); /* by the ports */
        assert_int_equal(fake_counts().mmio_mappings, 0);
        pci_config_exit();
    }
}

/* The first of two that contradict each other stays. */
static void overlapping_entries(void **state)
{
    (void)state;
    fake_pci_add(1, HV_PCI_BDF(0x10, 0, 0), 1, 1, 0);
    fake_pci_add(2, HV_PCI_BDF(0x10, 0, 0), 2, 2, 0);
    fake_pci_start(FAKE_PCI_PORTS);
    fake_pci_ecam(1, BASE);
    fake_pci_ecam(2, BASE + 256 * MIB);
    begin_mcfg();
    entry(BASE, 1, 0, 0x10);
    entry(BASE + 256 * MIB, 1, 0x10, 0x20);  /* a bus of the same segment */
    entry(BASE - 0x30 * MIB, 3, 0x38, 0x60); /* addresses of the first one */
    entry(BASE, 1, 0x11, 0x12);
    init(0);
    assert_int_equal(vendor(1, 0x10, 0), 1);
    assert_int_equal(vendor(3, 0x40, 0), 0xffff);
    assert_true(fake_log_contains("it has buses of an entry before it"));
    assert_true(fake_log_contains("it has addresses of an entry before it"));
    assert_int_equal(fake_counts().mmio_mappings, 2);
    pci_config_exit();
}

static void odd_lengths(void **state)
{
    (void)state;
    for (size_t size = 0; size < 76; size++) {
        fake_reset();
        fake_pci_add(1, 0, 1, 1, 0);
        fake_pci_start(0);
        fake_pci_ecam(1, BASE);
        begin_mcfg();
        entry(BASE, 1, 0, 0);
        entry(BASE + MIB, 1, 1, 1);
        entries = 0;
        if (size)
            fake_acpi_add(&mcfg, size);
        assert_int_equal(pci_config_init(), HV_OK);
        assert_int_equal(fake_counts().mmio_mappings, size >= 60 ? 1 : 0);
        pci_config_exit();
        fake_assert_clean();
    }
}

static void many_entries(void **state)
{
    (void)state;
    fake_pci_start(0);
    fake_pci_ecam(1, BASE);
    begin_mcfg();
    for (uint32_t i = 0; i < 200; i++)
        entry(BASE, 1, 0, i < 199 ? 0 : 255);
    init(7);
    assert_int_equal(fake_counts().mmio_mappings, 1);
    pci_config_exit();
}

static void no_memory(void **state)
{
    (void)state;
    fake_pci_add(0, 0, 1, 1, 0);
    fake_pci_start(FAKE_PCI_ECAM);
    fake_fail_after(1);
    assert_int_equal(pci_config_init(), HV_E_NO_MEMORY);
    fake_assert_clean();
    assert_int_equal(vendor(0, 0, 0), 0xffff);
    assert_int_equal(pci_config_init(), HV_OK);
    assert_int_equal(vendor(0, 0, 0), 1);
    pci_config_exit();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(ports_only),          UNIT_TEST(ecam),
        UNIT_TEST(bad_accesses),        UNIT_TEST(nothing_at_all),
        UNIT_TEST(part_of_the_buses),   UNIT_TEST(refused_entries),
        UNIT_TEST(overlapping_entries), UNIT_TEST(odd_lengths),
        UNIT_TEST(many_entries),        UNIT_TEST(no_memory),
    };

    return cmocka_run_group_tests_name("configuration space", tests, NULL, NULL);
}
