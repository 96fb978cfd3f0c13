/* SPDX-License-Identifier: MIT */
/* The scan: which functions are found, and what is behind what, whatever bridges say. */
#include "unit.h"
#include <arch/iommu.h>
#include <fake_device.h>
#include <fake_pci.h>
#include <pci/device.h>
#include <pci/pci_regs.h>
#include <string.h>

#define ROOT_PORT 4
#define UP        5
#define DOWN      6

static struct fake_pci *add(uint32_t bus, uint32_t device, uint32_t function)
{
    return fake_pci_add(0, HV_PCI_BDF(bus, device, function), 0x1234, 0x5678, 0x020000);
}

static struct fake_pci *add_bridge(uint32_t bus, uint32_t device, uint8_t first, uint8_t last)
{
    struct fake_pci *f = add(bus, device, 0);

    fake_pci_bridge(f, first, last);
    return f;
}

static void scan(void)
{
    fake_pci_start(FAKE_PCI_ECAM | FAKE_PCI_PORTS);
    assert_int_equal(pci_scan(), HV_OK);
}

static const struct pci_device *at(uint32_t bus, uint32_t device, uint32_t function)
{
    return pci_find(&(struct hv_pci_address){0, HV_PCI_BDF(bus, device, function)});
}

static unsigned found(void)
{
    unsigned n = 0;

    for (const struct pci_device *d = pci_first(); d; d = d->next) {
        assert_ptr_equal(pci_find(&d->address), d);
        n++;
    }
    return n;
}

/* ------------------------------------------------------------------------------- functions */

static void nobody(void **state)
{
    (void)state;
    assert_null(pci_first());
    scan();
    assert_null(pci_first());
    assert_null(at(0, 0, 0));
    pci_forget();
}

static void ids(void **state)
{
    struct fake_pci *f = fake_pci_add(2, HV_PCI_BDF(9, 3, 0), 0x8086, 0x10d3, 0x020001);
    const struct pci_device *d;

    (void)state;
    fake_pci_set(f, PCI_REVISION, 1, 7);
    fake_pci_set(f, PCI_SUB_VENDOR, 4, 0x33334444);
    scan();
    d = pci_find(&f->address);
    assert_non_null(d);
    assert_int_equal(d->ids.vendor, 0x8086);
    assert_int_equal(d->ids.device, 0x10d3);
    assert_int_equal(d->ids.revision, 7);
    assert_int_equal(d->ids.base_class, 2);
    assert_int_equal(d->ids.sub_class, 0);
    assert_int_equal(d->ids.prog_if, 1);
    assert_int_equal(d->ids.sub_vendor, 0x4444);
    assert_int_equal(d->ids.sub_system, 0x3333);
    assert_null(d->bridge);
    assert_null(pci_refusal(d));
    assert_null(at(9, 3, 0)); /* another segment */
    pci_forget();
    assert_null(pci_find(&f->address));
}

/* Function 0 says whether there are others, and must be there. */
static void multifunction(void **state)
{
    struct fake_pci *f = add(0, 1, 0);

    (void)state;
    add(0, 1, 3);
    fake_pci_set(add(0, 2, 0), PCI_HEADER_TYPE, 1, PCI_HEADER_MULTI);
    add(0, 2, 3);
    add(0, 2, 7);
    add(0, 3, 1);
    scan();
    assert_int_equal(found(), 4);
    assert_non_null(at(0, 1, 0));
    assert_null(at(0, 1, 3));
    assert_non_null(at(0, 2, 7));
    assert_true(at(0, 2, 0)->is_multifunction);
    assert_null(at(0, 3, 1));
    pci_forget();
    assert_int_equal(pci_scan(), HV_OK); /* and again */
    assert_int_equal(found(), 4);
    pci_forget();
    f->is_gone = true;
    assert_int_equal(pci_scan(), HV_OK);
    assert_int_equal(found(), 3);
    pci_forget();
}

/* Nothing is written to by the scan: devices are in use. */
static void no_writes(void **state)
{
    struct fake_pci *f = add(0, 1, 0), *g = add_bridge(0, 2, 1, 1);

    (void)state;
    fake_pci_express(f, 0, true);
    fake_pci_bar(f, 0, 0xf0000000, 0x1000, 0);
    scan();
    assert_int_equal(f->writes + g->writes, 0);
    assert_int_equal(fake_pci_counts().ecam_writes, 0);
    pci_forget();
}

/* Also on buses that no bridge leads to. */
static void root_buses(void **state)
{
    (void)state;
    add(0x80, 0, 0);
    add(0xff, 31, 0);
    add(0, 0, 0);
    scan();
    assert_int_equal(found(), 3);
    assert_null(at(0xff, 31, 0)->bridge);
    assert_ptr_equal(pci_first(), at(0, 0, 0));
    pci_forget();
}

static void functions_for_hosts(void **state)
{
    struct hv_pci_function f;

    (void)state;
    add(0, 1, 0);
    fake_pci_add(1, 5, 0x4321, 1, 0x010802);
    fake_pci_set(fake_pci_add(1, 0, 0x4321, 2, 0), PCI_HEADER_TYPE, 1, PCI_HEADER_MULTI);
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(hv_pci_function(2, &f), HV_OK);
    assert_int_equal(f.address.segment, 1);
    assert_int_equal(f.address.bdf, 5);
    assert_int_equal(f.ids.base_class, 1);
    assert_int_equal(hv_pci_function(3, &f), HV_E_NOT_FOUND);
    pci_forget();
}

/* --------------------------------------------------------------------------------- bridges */

static void tree(void **state)
{
    uint8_t first, last;
    struct fake_pci *port = add_bridge(0, 1, 1, 5), *up = add_bridge(1, 0, 2, 4), *down = add_bridge(2, 3, 3, 3);

    (void)state;
    fake_pci_express(port, ROOT_PORT, false);
    fake_pci_express(up, UP, false);
    fake_pci_express(down, DOWN, false);
    fake_pci_express(add(3, 0, 0), 0, false);
    add(4, 6, 0); /* a bus of the switch's that no port of it has */
    scan();
    assert_int_equal(found(), 5);
    assert_ptr_equal(at(1, 0, 0)->bridge, at(0, 1, 0));
    assert_ptr_equal(at(2, 3, 0)->bridge, at(1, 0, 0));
    assert_ptr_equal(at(3, 0, 0)->bridge, at(2, 3, 0));
    assert_ptr_equal(at(4, 6, 0)->bridge, at(1, 0, 0));
    assert_int_equal(at(0, 1, 0)->port, PCI_PORT_ROOT);
    assert_int_equal(at(1, 0, 0)->port, PCI_PORT_UP);
    assert_int_equal(at(2, 3, 0)->port, PCI_PORT_DOWN);
    assert_int_equal(at(3, 0, 0)->port, PCI_PORT_ENDPOINT);
    assert_int_equal(at(4, 6, 0)->port, PCI_PORT_CONVENTIONAL);
    assert_non_null(strstr(pci_refusal(at(0, 1, 0)), "bridge"));
    assert_null(pci_refusal(at(3, 0, 0)));
    assert_true(iommu_bridge_buses(&up->address, &first, &last));
    assert_int_equal(first, 2);
    assert_int_equal(last, 4);
    assert_false(iommu_bridge_buses(&(struct hv_pci_address){0, HV_PCI_BDF(3, 0, 0)}, &first, &last));
    pci_forget();
    assert_false(iommu_bridge_buses(&up->address, &first, &last));
}

/* A link has one device; what shows up beside it is an echo of it. */
static void one_device_on_a_link(void **state)
{
    fake_pci_express(add_bridge(0, 1, 1, 1), ROOT_PORT, false);
    add_bridge(0, 2, 2, 2); /* conventional */

    (void)state;
    for (uint32_t bus = 1; bus <= 2; bus++)
        for (uint32_t device = 0; device < 3; device++)
            add(bus, device, 0);
    scan();
    assert_int_equal(found(), 2 + 1 + 3);
    pci_forget();
}

static void set_ari(struct fake_pci *f, uint8_t next)
{
    uint16_t ari;

    fake_pci_express(f, 0, false);
    ari = fake_pci_extended(f, PCI_EXT_CAP_ARI, 8);
    fake_pci_set(f, ari + 4u, 2, (uint32_t)next << 8);
}

/* The chain goes upwards, or ends. */
static void alternative_routing(void **state)
{
    struct fake_pci *port = add_bridge(0, 1, 1, 1);

    (void)state;
    fake_pci_express(port, ROOT_PORT, false);
    fake_pci_set(port, port->express + 0x28u, 2, BIT32(5));
    set_ari(fake_pci_add(0, 0x100, 1, 1, 0), 9);
    set_ari(fake_pci_add(0, 0x109, 1, 1, 0), 255);
    set_ari(fake_pci_add(0, 0x1ff, 1, 1, 0), 9);
    fake_pci_add(0, 0x104, 1, 1, 0);
    scan();
    assert_int_equal(found(), 4);
    assert_non_null(pci_find(&(struct hv_pci_address){0, 0x1ff}));
    assert_null(pci_find(&(struct hv_pci_address){0, 0x104}));
    pci_forget();
}

static void no_bridge_at_all(uint32_t bus, uint32_t device)
{
    const struct pci_device *d = at(bus, device, 0);
    uint8_t first, last;

    assert_non_null(d);
    assert_int_equal(d->secondary, 0);
    assert_false(iommu_bridge_buses(&d->address, &first, &last));
}

static void is_doubted(uint32_t bus, bool doubted)
{
    const char *why = pci_refusal(at(bus, 8, 0));

    if (doubted != (why && strstr(why, "do not agree")))
        fail_msg("bus %u: %s", bus, why ? why : "not refused");
}

/* What is on the buses that the bridge claims wrongly, or behind one that leads there, is refused; the rest is not. */
static void hostile_numbers(void **state)
{
    static const struct {
        const char *name;
        uint8_t bus, first, last;
        uint8_t doubted[2]; /* first and last bus; 0, 0: none */
    } rows[] = {
        {"itself", 2, 2, 2, {2, 2}},
        {"upwards", 2, 1, 1, {1, 1}},
        {"all", 2, 0, 255, {0, 0}}, /* as one that was never set up */
        {"all but the first", 2, 1, 255, {1, 8}},
        {"last before first", 2, 6, 5, {0, 0}},
        {"longer than the bridge above it", 2, 3, 6, {3, 6}},
        {"beside the bridge above it", 2, 6, 7, {6, 7}},
        {"over its sister", 0, 4, 7, {2, 7}}, /* the sister's own bridge to 2 to 4 leads to one of them */
        {"within its sister", 0, 3, 3, {2, 4}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        add_bridge(0, 1, 1, 5);
        add_bridge(1, 1, 2, 4);
        add_bridge(rows[i].bus, 9, rows[i].first, rows[i].last);
        for (uint32_t bus = 1; bus <= 8; bus++)
            add(bus, 8, 0);
        scan();
        print_message("# %s\n", rows[i].name);
        assert_int_equal(found(), 11);
        no_bridge_at_all(rows[i].bus, 9);
        for (uint32_t bus = 1; bus <= 8; bus++)
            is_doubted(bus, rows[i].doubted[0] && bus >= rows[i].doubted[0] && bus <= rows[i].doubted[1]);
        pci_forget();
    }
}

/* Two that lead to each other: nobody is above himself. */
static void loop(void **state)
{
    (void)state;
    add_bridge(1, 0, 2, 2);
    add_bridge(2, 0, 1, 1);
    add(1, 8, 0);
    add(2, 8, 0);
    scan();
    for (const struct pci_device *d = pci_first(); d; d = d->next) {
        unsigned depth = 0;

        for (const struct pci_device *b = d; b; b = b->bridge)
            assert_true(depth++ < 3);
    }
    is_doubted(1, true);
    is_doubted(2, false);
    pci_forget();
}

/* --------------------------------------------------------------------------------- refusals */

static void kinds(void **state)
{
    static const struct {
        uint32_t class;
        uint8_t header;
        const char *why;
    } rows[] = {
        {0x020000, 0, NULL},
        {0x010802, 0, NULL},
        {0x080500, 0, NULL},
        {0x088000, 0, NULL},
        {0x060000, 0, "of the machine"},
        {0x060100, 0, "of the machine"},
        {0x080600, 0, "IOMMU"},
        {0x080020, 0, "controller"},
        {0x060400, 1, "it is a bridge"},
        {0x060700, 2, "CardBus"},
        {0x020000, 3, "header"},
        {0x020000, 0x7f, "header"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_pci *f = fake_pci_add(0, HV_PCI_BDF(0, i, 0), 0x1234, 0x5678, rows[i].class);

        fake_pci_set(f, PCI_HEADER_TYPE, 1, rows[i].header);
    }
    scan();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *why = pci_refusal(at(0, i, 0));

        if (!rows[i].why != !why || (why && !strstr(why, rows[i].why)))
            fail_msg("class %06x, header %u: %s", rows[i].class, rows[i].header, why ? why : "not refused");
    }
    pci_forget();
}

static void no_memory(void **state)
{
    uint64_t n = 1;

    (void)state;
    add_bridge(0, 1, 1, 1);
    add(1, 0, 0);
    fake_pci_start(FAKE_PCI_PORTS);
    for (enum hv_status st = HV_E_NO_MEMORY; st != HV_OK; n++) {
        assert_true(n < 20);
        fake_fail_after(n);
        st = pci_scan();
        if (st == HV_OK)
            break;
        assert_int_equal(st, HV_E_NO_MEMORY);
        assert_null(pci_first());
        fake_assert_clean();
    }
    assert_int_equal(n, 1 + 2 + 2 + 1); /* the segment, two buses, two functions */
    pci_forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(nobody),
        UNIT_TEST(ids),
        UNIT_TEST(multifunction),
        UNIT_TEST(no_writes),
        UNIT_TEST(root_buses),
        UNIT_TEST(functions_for_hosts),
        UNIT_TEST(tree),
        UNIT_TEST(one_device_on_a_link),
        UNIT_TEST(alternative_routing),
        UNIT_TEST(hostile_numbers),
        UNIT_TEST(loop),
        UNIT_TEST(kinds),
        UNIT_TEST(no_memory),
    };

    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
