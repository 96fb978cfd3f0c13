/* SPDX-License-Identifier: MIT */
/* Capabilities: walks that end, and what is believed of what they find. */
#include "unit.h"
#include <fake_pci.h>
#include <hv/base/bits.h>
#include <pci/config.h>
#include <pci/device.h>
#include <pci/pci_regs.h>
#include <string.h>

static struct fake_pci *f;

static void begin(void)
{
    f = fake_pci_add(0, HV_PCI_BDF(0, 1, 0), 0x1234, 0x5678, 0x020000);
    fake_pci_bar(f, 0, 0xf0000000, 0x10000, 0);
    fake_pci_bar(f, 1, 0xc001, 0x20, FAKE_PCI_BAR_IO);
    fake_pci_bar(f, 2, 0x4000000000, 0x1000, FAKE_PCI_BAR_64 | FAKE_PCI_BAR_PREFETCH);
}

static const struct pci_device *scan(void)
{
    if (!pci_first())
        fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
    return pci_find(&f->address);
}

static void expect_refused(const char *why)
{
    const struct pci_device *d = scan();
    const char *said = pci_refusal(d);

    if (!said || !strstr(said, why))
        fail_msg("refused: %s; should say: %s", said ? said : "no", why);
    assert_ptr_equal(pci_refusal(d), said);
    pci_forget();
}

static void all_of_them(void **state)
{
    const struct pci_device *d;
    uint16_t pm, msi, msix, express, af, acs, sriov;

    (void)state;
    begin();
    pm = fake_pci_pm(f, false);
    fake_pci_capability(f, PCI_CAP_VENDOR, 16);
    msi = fake_pci_msi(f, 8, true, true);
    express = fake_pci_express(f, 0, true);
    msix = fake_pci_msix(f, 33, 0, 0x2000, 2, 0x800);
    af = fake_pci_af(f);
    fake_pci_extended(f, 1, 0x40);
    acs = fake_pci_acs(f, 0x5f, 0);
    sriov = fake_pci_extended(f, PCI_EXT_CAP_SRIOV, 0x40);
    d = scan();
    assert_null(pci_refusal(d));
    assert_int_equal(d->pm, pm);
    assert_int_equal(d->express, express);
    assert_int_equal(d->af, af);
    assert_int_equal(d->acs, acs);
    assert_int_equal(d->sriov, sriov);
    assert_int_equal(d->msi.cap, msi);
    assert_int_equal(d->msi.count, 8);
    assert_true(d->msi.is_64bit && d->msi.has_mask);
    assert_int_equal(d->msix.cap, msix);
    assert_int_equal(d->msix.count, 33);
    assert_int_equal(d->msix.table_bar, 0);
    assert_int_equal(d->msix.table_offset, 0x2000);
    assert_int_equal(d->msix.pba_bar, 2);
    assert_int_equal(d->msix.pba_offset, 0x800);
    assert_int_equal(pci_find_capability(&f->address, PCI_CAP_AF), af);
    assert_int_equal(pci_find_capability(&f->address, 0x55), 0);
    assert_int_equal(pci_find_extended(&f->address, PCI_EXT_CAP_SRIOV), sriov);
    assert_int_equal(pci_find_extended(&f->address, 0x77), 0);
    pci_forget();
}

static void none(void **state)
{
    const struct pci_device *d;

    (void)state;
    begin();
    fake_pci_set(f, PCI_CAPABILITIES, 1, 0x40); /* but the status says that there is no list */
    fake_pci_set(f, 0x40, 2, PCI_CAP_PM);
    fake_pci_extended(f, PCI_EXT_CAP_ACS, 8); /* but it is not PCI Express */
    d = scan();
    assert_null(pci_refusal(d));
    assert_int_equal(d->pm | d->express | d->acs | d->msi.cap | d->msix.cap, 0);
    assert_int_equal(d->port, PCI_PORT_CONVENTIONAL);
    assert_int_equal(pci_find_capability(&f->address, PCI_CAP_PM), 0);
    assert_int_equal(pci_find_extended(&f->address, PCI_EXT_CAP_ACS), 0);
    pci_forget();
}

/* The first of a kind counts. */
static void twice(void **state)
{
    uint16_t first;

    (void)state;
    begin();
    first = fake_pci_msi(f, 1, false, false);
    fake_pci_msi(f, 32, true, true);
    assert_int_equal(scan()->msi.cap, first);
    assert_int_equal(scan()->msi.count, 1);
    assert_null(pci_refusal(scan()));
    pci_forget();
}

static void ports_reach_no_extended_ones(void **state)
{
    (void)state;
    begin();
    fake_pci_express(f, 0, false);
    fake_pci_acs(f, 0x1f, 0);
    fake_pci_start(FAKE_PCI_PORTS);
    assert_int_equal(pci_scan(), HV_OK);
    assert_int_not_equal(pci_find(&f->address)->express, 0);
    assert_int_equal(pci_find(&f->address)->acs, 0);
    pci_forget();
}

/* ----------------------------------------------------------------------------- broken chains */

static void broken_chains(void **state)
{
    static const struct {
        uint8_t at, next;
        const char *why;
    } rows[] = {
        {0x40, 0x40, "loop"},      {0x48, 0x40, "loop"},      {0x54, 0x48, "loop"},      {0x54, 0x43, "loop"},
        {0x48, 0x3c, "leads out"}, {0x54, 0x04, "leads out"}, {0x54, 0xfc, "leads out"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        begin();
        fake_pci_pm(f, true);                       /* 40 */
        fake_pci_capability(f, PCI_CAP_VENDOR, 12); /* 48 */
        fake_pci_capability(f, PCI_CAP_VENDOR, 12); /* 54 */
        fake_pci_set(f, 0xfc, 2, 0xffff);
        fake_pci_set(f, rows[i].at + 1u, 1, rows[i].next);
        expect_refused(rows[i].why);
    }
    fake_reset();
    begin();
    fake_pci_pm(f, true);
    fake_pci_set(f, PCI_CAPABILITIES, 1, 0x10);
    expect_refused("leads out");
}

/* All places there are, each once, then back to the first. */
static void longest_chain(void **state)
{
    (void)state;
    begin();
    fake_pci_set(f, PCI_STATUS, 2, PCI_STATUS_CAPABILITIES);
    fake_pci_set(f, PCI_CAPABILITIES, 1, 0x40);
    for (uint32_t at = 0x40; at < 0x100; at += 4)
        fake_pci_set(f, at, 2, PCI_CAP_VENDOR | (at + 4) << 8);
    assert_null(pci_refusal(scan()));
    pci_forget();
    fake_pci_set(f, 0xfc, 2, PCI_CAP_VENDOR | 0x40 << 8);
    assert_int_equal(pci_scan(), HV_OK);
    assert_non_null(pci_refusal(pci_find(&f->address)));
    assert_int_equal(pci_find_capability(&f->address, PCI_CAP_AF), 0);
    pci_forget();
}

static void broken_extended_chains(void **state)
{
    static const struct {
        uint32_t at, head;
        const char *why;
    } rows[] = {
        {0x100, 0x10010001, "loop"},      {0x140, 0x10010002, "loop"},
        {0x140, 0x0fc10002, "leads out"}, {0x140, 0xffc10002, "leads out"}, /* where ones are */
        {0x140, 0xffffffff, "leads out"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        begin();
        fake_pci_express(f, 0, false);
        fake_pci_extended(f, 1, 0x40);
        fake_pci_extended(f, 2, 0x40);
        fake_pci_set(f, 0xffc, 4, ~0u);
        fake_pci_set(f, rows[i].at, 4, rows[i].head);
        expect_refused(rows[i].why);
    }
}

static void no_room(void **state)
{
    static const struct {
        uint8_t id, at;
    } rows[] = {
        {PCI_CAP_PM, 0xfc}, {PCI_CAP_MSI, 0xf8}, {PCI_CAP_MSIX, 0xf8}, {PCI_CAP_EXPRESS, 0xf0}, {PCI_CAP_AF, 0xfc}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        begin();
        fake_pci_set(f, PCI_STATUS, 2, PCI_STATUS_CAPABILITIES);
        fake_pci_set(f, PCI_CAPABILITIES, 1, rows[i].at);
        fake_pci_set(f, rows[i].at, 2, rows[i].id);
        expect_refused("does not fit");
    }
    fake_reset();
    begin();
    fake_pci_set(f, PCI_STATUS, 2, PCI_STATUS_CAPABILITIES);
    fake_pci_set(f, PCI_CAPABILITIES, 1, 0xec);
    fake_pci_set(f, 0xec, 4, PCI_CAP_MSI | 0x180 << 16); /* 24 bytes */
    expect_refused("does not fit");
    fake_reset();
    begin();
    fake_pci_express(f, 0, false);
    fake_pci_set(f, 0x100, 4, 0xfc810001);
    fake_pci_set(f, 0xfc8, 4, 0x00010000 | PCI_EXT_CAP_SRIOV);
    expect_refused("does not fit");
}

/* ------------------------------------------------------------------------ what they contain */

static void msix_outside(void **state)
{
    static const struct {
        uint32_t count, table_bar, table, pba_bar, pba;
        const char *why;
    } rows[] = {
        {65, 0, 0x0, 0, 0x8000, NULL},
        {2048, 0, 0x0, 0, 0x8000, NULL}, /* to the last byte */
        {2048, 0, 0x8000, 0, 0x0, NULL},
        {64, 2, 0xc00, 2, 0x0, NULL},
        {2048, 0, 0x8008, 0, 0x0, "table is outside"},
        {65, 2, 0xc00, 0, 0x0, "table is outside"},
        {1, 0, 0x10000, 0, 0x0, "table is outside"},
        {1, 0, 0xfffffff8, 0, 0x0, "table is outside"},
        {1, 1, 0x0, 0, 0x0, "table is outside"}, /* I/O */
        {1, 3, 0x0, 0, 0x0, "table is outside"}, /* the upper half of another */
        {1, 4, 0x0, 0, 0x0, "table is outside"}, /* none */
        {1, 6, 0x0, 0, 0x0, "table is outside"},
        {1, 7, 0x0, 0, 0x0, "table is outside"},
        {64, 0, 0x0, 2, 0xff8, NULL},
        {65, 0, 0x0, 2, 0xff8, "bits are outside"},
        {1, 0, 0x0, 7, 0x0, "bits are outside"},
        {1, 0, 0x0, 0, 0xfffffff8, "bits are outside"},
        {1, 0, 0x0, 0, 0x0, "overlap"},
        {64, 0, 0x0, 0, 0x3f8, "overlap"},
        {64, 0, 0x0, 0, 0x400, NULL},
        {2048, 0, 0x100, 0, 0x8, "overlap"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        begin();
        fake_pci_msix(f, rows[i].count, rows[i].table_bar, rows[i].table, rows[i].pba_bar, rows[i].pba);
        print_message("# row %u\n", (unsigned)i);
        if (rows[i].why) {
            expect_refused(rows[i].why);
            continue;
        }
        assert_null(pci_refusal(scan()));
        pci_forget();
    }
}

static void msi_counts(void **state)
{
    (void)state;
    for (uint32_t order = 0; order < 8; order++) {
        fake_reset();
        begin();
        fake_pci_set(f, fake_pci_msi(f, 1, false, false) + 2u, 2, order << 1);
        if (order > 5) {
            expect_refused("number of MSI messages");
            continue;
        }
        assert_int_equal(scan()->msi.count, 1u << order);
        assert_null(pci_refusal(scan()));
        pci_forget();
    }
}

static void ports(void **state)
{
    static const struct {
        uint32_t type;
        bool is_bridge;
        enum pci_port port;
        const char *why;
    } rows[] = {
        {0, false, PCI_PORT_ENDPOINT, NULL},
        {1, false, PCI_PORT_ENDPOINT, NULL},
        {9, false, PCI_PORT_ROOT_INTEGRATED, NULL},
        {10, false, PCI_PORT_ROOT_INTEGRATED, "collects"},
        {4, false, PCI_PORT_CONVENTIONAL, "contradict"},
        {6, false, PCI_PORT_CONVENTIONAL, "contradict"},
        {2, false, PCI_PORT_CONVENTIONAL, "contradict"},
        {11, false, PCI_PORT_CONVENTIONAL, "contradict"},
        {15, false, PCI_PORT_CONVENTIONAL, "contradict"},
        {4, true, PCI_PORT_ROOT, "bridge"},
        {5, true, PCI_PORT_UP, "bridge"},
        {6, true, PCI_PORT_DOWN, "bridge"},
        {7, true, PCI_PORT_TO_PCI, "bridge"},
        {8, true, PCI_PORT_FROM_PCI, "bridge"},
        {0, true, PCI_PORT_CONVENTIONAL, "bridge"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        begin();
        if (rows[i].is_bridge)
            fake_pci_bridge(f, 0, 0);
        fake_pci_express(f, rows[i].type, false);
        assert_int_equal(scan()->port, rows[i].port);
        if (rows[i].why)
            expect_refused(rows[i].why);
        else
            assert_null(pci_refusal(scan()));
        pci_forget();
    }
}

static void virtual_functions(void **state)
{
    (void)state;
    begin();
    fake_pci_express(f, 0, true);
    fake_pci_set(f, fake_pci_extended(f, PCI_EXT_CAP_SRIOV, 0x40) + 8u, 2, 1);
    expect_refused("virtual functions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(all_of_them),
        UNIT_TEST(none),
        UNIT_TEST(twice),
        UNIT_TEST(ports_reach_no_extended_ones),
        UNIT_TEST(broken_chains),
        UNIT_TEST(longest_chain),
        UNIT_TEST(broken_extended_chains),
        UNIT_TEST(no_room),
        UNIT_TEST(msix_outside),
        UNIT_TEST(msi_counts),
        UNIT_TEST(ports),
        UNIT_TEST(virtual_functions),
    };

    return cmocka_run_group_tests_name("capabilities", tests, NULL, NULL);
}
