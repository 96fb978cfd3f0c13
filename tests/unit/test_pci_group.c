/* SPDX-License-Identifier: MIT */
/* Which functions are one group, on machines as they are built; and in whose name their requests arrive. */
#include "fake_pci.h"
#include "unit.h"
#include <pci/device.h>

#define ACS 0x1d /* all of isolation */

enum { ENDPOINT = 0, ROOT = 4, UP = 5, DOWN = 6, TO_PCI = 7, INTEGRATED = 9 };

static struct fake_pci *endpoint(uint8_t bus, uint8_t device, uint8_t function)
{
    return fake_pci_add(0, HV_PCI_BDF(bus, device, function), 0x1234, 0x5678, 0x020000);
}

static struct fake_pci *express(uint8_t bus, uint8_t device, uint8_t function, uint32_t type)
{
    struct fake_pci *f = endpoint(bus, device, function);

    fake_pci_express(f, type, true);
    return f;
}

static struct fake_pci *bridge(uint8_t bus, uint8_t device, uint8_t function, uint8_t secondary, uint8_t last)
{
    struct fake_pci *f = endpoint(bus, device, function);

    fake_pci_bridge(f, secondary, last);
    return f;
}

static struct fake_pci *port(uint8_t bus, uint8_t device, uint32_t type, uint8_t secondary, uint8_t last)
{
    struct fake_pci *f = bridge(bus, device, 0, secondary, last);

    fake_pci_express(f, type, false);
    return f;
}

static void multi(struct fake_pci *f)
{
    fake_pci_set(f, 0x0e, 1, fake_pci_get(f, 0x0e, 1) | 0x80);
}

static void start(void)
{
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
}

static const struct pci_device *at(uint8_t bus, uint8_t device, uint8_t function)
{
    const struct pci_device *d = pci_find(&(struct hv_pci_address){0, HV_PCI_BDF(bus, device, function)});

    assert_non_null(d);
    return d;
}

/* In both directions. */
static bool same(const struct pci_device *a, const struct pci_device *b)
{
    assert_int_equal(pci_same_group(a, b), pci_same_group(b, a));
    assert_true(pci_same_group(a, a) && pci_same_group(b, b));
    return pci_same_group(a, b);
}

static int teardown(void **state)
{
    pci_forget();
    return unit_teardown(state);
}

#define GROUP_TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, teardown)

static void devices_of_the_root_bus_are_apart(void **state)
{
    (void)state;
    express(0, 1, 0, INTEGRATED);
    endpoint(0, 2, 0);
    endpoint(0, 3, 0);
    start();
    assert_false(same(at(0, 1, 0), at(0, 2, 0)));
    assert_false(same(at(0, 2, 0), at(0, 3, 0)));
}

static void functions_without_acs_are_one(void **state)
{
    (void)state;
    multi(express(0, 1, 0, INTEGRATED));
    express(0, 1, 3, INTEGRATED); /* only the first one's header says it */
    multi(endpoint(0, 2, 0));
    endpoint(0, 2, 1);
    start();
    assert_true(same(at(0, 1, 0), at(0, 1, 3)));
    assert_true(same(at(0, 2, 0), at(0, 2, 1)));
    assert_false(same(at(0, 1, 0), at(0, 2, 0)));
}

static void functions_with_acs_are_apart(void **state)
{
    struct fake_pci *a, *b;

    (void)state;
    multi(a = express(0, 1, 0, INTEGRATED));
    b = express(0, 1, 1, INTEGRATED);
    fake_pci_acs(a, 0x1c, 0x1c);
    fake_pci_acs(b, 0x1c, 0x18); /* not all of it is on: it reaches the other */
    start();
    assert_true(same(at(0, 1, 0), at(0, 1, 1)));
    pci_isolate(at(0, 1, 0));
    assert_int_equal(fake_pci_get(b, 0x106, 2), 0x1c);
    assert_false(same(at(0, 1, 0), at(0, 1, 1)));
}

static void one_function_without_acs_is_enough(void **state)
{
    struct fake_pci *a;

    (void)state;
    multi(a = express(0, 1, 0, INTEGRATED));
    fake_pci_acs(a, 0x1c, 0x1c);
    express(0, 1, 1, INTEGRATED);
    start();
    pci_isolate(at(0, 1, 0));
    assert_true(same(at(0, 1, 0), at(0, 1, 1)));
}

/* Two root ports, the second without ACS; a switch below the first. */
static void switches(uint32_t up_acs, uint32_t down_acs)
{
    struct fake_pci *f = port(0, 1, ROOT, 1, 5);

    fake_pci_acs(f, ACS, ACS);
    f = port(1, 0, UP, 2, 5);
    if (up_acs)
        fake_pci_acs(f, up_acs, up_acs);
    for (uint8_t i = 0; i < 3; i++) {
        f = port(2, i, DOWN, 3 + i, 3 + i);
        if (down_acs)
            fake_pci_acs(f, down_acs, down_acs);
        express(3 + i, 0, 0, ENDPOINT);
    }
    port(0, 2, ROOT, 6, 6);
    express(6, 0, 0, ENDPOINT);
    start();
}

static void ports_with_acs_keep_apart(void **state)
{
    (void)state;
    switches(0, ACS);
    assert_false(same(at(3, 0, 0), at(4, 0, 0)));
    assert_false(same(at(3, 0, 0), at(2, 0, 0)));
    assert_false(same(at(4, 0, 0), at(5, 0, 0)));
}

static void ports_without_acs_do_not(void **state)
{
    (void)state;
    switches(0, 0);
    assert_true(same(at(3, 0, 0), at(4, 0, 0)));
    assert_true(same(at(3, 0, 0), at(2, 1, 0)));
    assert_true(same(at(4, 0, 0), at(5, 0, 0)));
    assert_false(same(at(3, 0, 0), at(0, 1, 0)));
    assert_false(same(at(3, 0, 0), at(6, 0, 0)));
    assert_true(same(at(6, 0, 0), at(0, 2, 0)));
}

static void functions_of_a_card_below_a_port(void **state)
{
    struct fake_pci *f = port(0, 1, ROOT, 1, 1);

    (void)state;
    fake_pci_acs(f, ACS, ACS);
    multi(express(1, 0, 0, ENDPOINT));
    express(1, 0, 1, ENDPOINT);
    start();
    assert_true(same(at(1, 0, 0), at(1, 0, 1)));
    assert_false(same(at(1, 0, 0), at(0, 1, 0)));
}

/* Root ports of one device, only the fourth function with ACS: what is behind the others reaches it. */
static void ports_of_one_device(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 4; i++) {
        struct fake_pci *f = bridge(0, 0x1c, i, 1 + i, 1 + i);

        multi(f);
        fake_pci_express(f, ROOT, false);
        if (i == 3)
            fake_pci_acs(f, ACS, ACS);
        express(1 + i, 0, 0, ENDPOINT);
    }
    start();
    assert_true(same(at(1, 0, 0), at(2, 0, 0)));
    assert_true(same(at(1, 0, 0), at(3, 0, 0)));
    assert_true(same(at(1, 0, 0), at(4, 0, 0)));
}

static void behind_a_bridge_to_pci_all_are_one(void **state)
{
    struct hv_pci_address names[PCI_REQUESTERS];
    struct fake_pci *f = port(0, 1, ROOT, 1, 3);

    (void)state;
    fake_pci_acs(f, ACS, ACS);
    port(1, 0, TO_PCI, 2, 3);
    endpoint(2, 1, 0);
    endpoint(2, 2, 0);
    bridge(2, 3, 0, 3, 3);
    endpoint(3, 4, 0);
    start();
    assert_true(same(at(2, 1, 0), at(2, 2, 0)));
    assert_true(same(at(2, 1, 0), at(3, 4, 0)));
    assert_true(same(at(2, 1, 0), at(1, 0, 0)));
    assert_false(same(at(2, 1, 0), at(0, 1, 0)));

    assert_int_equal(pci_requesters(at(2, 1, 0), names), 2);
    assert_int_equal(names[0].bdf, HV_PCI_BDF(2, 1, 0));
    assert_int_equal(names[1].bdf, HV_PCI_BDF(2, 0, 0));
    assert_int_equal(pci_requesters(at(3, 4, 0), names), 3);
    assert_int_equal(names[1].bdf, HV_PCI_BDF(2, 3, 0));
    assert_int_equal(names[2].bdf, HV_PCI_BDF(2, 0, 0));
}

static void conventional_bridges_speak_for_themselves(void **state)
{
    struct hv_pci_address names[PCI_REQUESTERS];

    (void)state;
    for (uint8_t i = 0; i < 6; i++)
        bridge(i, 3, 0, i + 1, 6);
    endpoint(1, 1, 0);
    endpoint(6, 1, 0);
    start();
    assert_true(same(at(1, 1, 0), at(6, 1, 0)));
    assert_int_equal(pci_requesters(at(1, 1, 0), names), 2);
    assert_int_equal(names[1].bdf, HV_PCI_BDF(0, 3, 0));
    assert_int_equal(pci_requesters(at(6, 1, 0), names), PCI_REQUESTERS);
    assert_int_equal(names[0].bdf, HV_PCI_BDF(6, 1, 0));
    assert_int_equal(names[PCI_REQUESTERS - 1].bdf, HV_PCI_BDF(0, 3, 0));
}

static void ports_leave_names_alone(void **state)
{
    struct hv_pci_address names[PCI_REQUESTERS];

    (void)state;
    switches(0, ACS);
    assert_int_equal(pci_requesters(at(3, 0, 0), names), 1);
    assert_int_equal(names[0].bdf, HV_PCI_BDF(3, 0, 0));
}

static void isolation_is_switched_on_upwards(void **state)
{
    struct fake_pci *root = port(0, 1, ROOT, 1, 1), *other = port(0, 2, ROOT, 2, 2);

    (void)state;
    fake_pci_acs(root, 0x7f, 0);
    fake_pci_acs(other, 0x7f, 0);
    express(1, 0, 0, ENDPOINT);
    express(2, 0, 0, ENDPOINT);
    start();
    assert_true(same(at(1, 0, 0), at(0, 1, 0)));
    pci_isolate(at(1, 0, 0));
    assert_int_equal(fake_pci_get(root, 0x106, 2), ACS);
    assert_int_equal(fake_pci_get(other, 0x106, 2), 0);
    assert_false(same(at(1, 0, 0), at(0, 1, 0)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        GROUP_TEST(devices_of_the_root_bus_are_apart),
        GROUP_TEST(functions_without_acs_are_one),
        GROUP_TEST(functions_with_acs_are_apart),
        GROUP_TEST(one_function_without_acs_is_enough),
        GROUP_TEST(ports_with_acs_keep_apart),
        GROUP_TEST(ports_without_acs_do_not),
        GROUP_TEST(functions_of_a_card_below_a_port),
        GROUP_TEST(ports_of_one_device),
        GROUP_TEST(behind_a_bridge_to_pci_all_are_one),
        GROUP_TEST(conventional_bridges_speak_for_themselves),
        GROUP_TEST(ports_leave_names_alone),
        GROUP_TEST(isolation_is_switched_on_upwards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
