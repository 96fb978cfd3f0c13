/* SPDX-License-Identifier: MIT */
/* Resets: which kind is chosen, what is awaited, what is put back. */
#include "fake_pci.h"
#include "unit.h"
#include <pci/device.h>

#define MS 1000000ull

static struct fake_pci *f;

static void start(void)
{
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
}

static const struct pci_device *found(void)
{
    return pci_find(&f->address);
}

static int setup(void **state)
{
    unit_setup(state);
    f = fake_pci_add(0, HV_PCI_BDF(0, 3, 0), 0x1234, 0x5678, 0x010802);
    fake_pci_bar(f, 0, 0xfe000000, 0x4000, FAKE_PCI_BAR_64);
    fake_pci_bar(f, 2, 0xc000, 0x20, FAKE_PCI_BAR_IO);
    fake_pci_set(f, 0x04, 2, 0);
    f->config[4] = 0x07; /* as firmware leaves it */
    f->config[0x3c] = 11;
    return 0;
}

static int teardown(void **state)
{
    pci_forget();
    return unit_teardown(state);
}

#define RESET_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void assert_restored(void)
{
    assert_int_equal(fake_pci_get(f, 0x10, 4), 0xfe000004);
    assert_int_equal(fake_pci_get(f, 0x18, 4), 0xc001);
    assert_int_equal(fake_pci_get(f, 0x3c, 1), 11);
    assert_int_equal(fake_pci_get(f, 0x04, 2) & 7, 3);
}

static void by_function_first(void **state)
{
    uint16_t express = fake_pci_express(f, 0, true), msix = fake_pci_msix(f, 4, 0, 0x2000, 0, 0x3000);
    uint64_t begin;

    (void)state;
    fake_pci_af(f);
    fake_pci_pm(f, false);
    start();
    f->config[express + 8] = 0x3f; /* payload size, and more */
    f->config[msix + 3] = 0x80;
    begin = hv_host_time_ns();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_true(hv_host_time_ns() - begin >= 100 * MS);
    assert_int_equal(f->flrs, 1);
    assert_int_equal(f->af_resets + f->power_resets + f->bus_resets, 0);
    assert_restored();
    assert_int_equal(fake_pci_get(f, express + 8u, 1), 0x3f);
    assert_int_equal(fake_pci_get(f, msix + 2u, 2), 3);
}

static void then_by_advanced_features(void **state)
{
    uint64_t begin;

    (void)state;
    fake_pci_af(f);
    fake_pci_pm(f, false);
    start();
    begin = hv_host_time_ns();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_true(hv_host_time_ns() - begin >= 100 * MS);
    assert_int_equal(f->af_resets, 1);
    assert_int_equal(f->power_resets, 0);
    assert_restored();
}

static void then_by_power(void **state)
{
    uint64_t begin;

    (void)state;
    fake_pci_pm(f, false);
    fake_pci_express(f, 0, false);
    start();
    begin = hv_host_time_ns();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_true(hv_host_time_ns() - begin >= 20 * MS);
    assert_int_equal(f->power_resets, 1);
    assert_restored();
}

/* One that keeps its state in D3hot, whatever it says. */
static void keep_state(struct fake_pci *function, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)offset, (void)size, (void)value;
    function->has_no_power = false;
}

static void a_power_reset_that_resets_nothing_is_none(void **state)
{
    (void)state;
    fake_pci_pm(f, false);
    f->on_write = keep_state;
    start();
    assert_int_equal(pci_reset(found()), HV_E_UNSUPPORTED);
    assert_int_equal(f->power_resets, 0);
    assert_restored();
}

static void none_is_said(void **state)
{
    (void)state;
    fake_pci_pm(f, true);
    start();
    assert_int_equal(pci_reset(found()), HV_E_UNSUPPORTED);
    assert_true(fake_log_contains("no way to reset"));
    assert_int_equal(f->config[f->pm + 4] & 3, 0);
}

static struct fake_pci *below_bridge(void)
{
    struct fake_pci *bridge = fake_pci_add(0, HV_PCI_BDF(0, 4, 0), 0x1b36, 0x000c, 0x060400);

    fake_pci_bridge(bridge, 1, 1);
    f = fake_pci_add(0, HV_PCI_BDF(1, 0, 0), 0x1234, 0x5678, 0x020000);
    fake_pci_bar(f, 0, 0xfe000000, 0x4000, FAKE_PCI_BAR_64);
    fake_pci_bar(f, 2, 0xc000, 0x20, FAKE_PCI_BAR_IO);
    f->config[4] = 0x07;
    f->config[0x3c] = 11;
    return bridge;
}

static void last_by_its_bus(void **state)
{
    struct fake_pci *bridge = below_bridge();
    uint64_t begin;

    (void)state;
    start();
    begin = hv_host_time_ns();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_true(hv_host_time_ns() - begin >= 1000 * MS);
    assert_int_equal(f->bus_resets, 1);
    assert_int_equal(fake_pci_get(bridge, 0x3e, 2), 0);
    assert_restored();
}

static void not_by_a_bus_that_others_are_on(void **state)
{
    struct fake_pci *other;

    (void)state;
    below_bridge();
    other = fake_pci_add(0, HV_PCI_BDF(1, 1, 0), 0x1234, 0x5678, 0x020000);
    start();
    assert_int_equal(pci_reset(found()), HV_E_UNSUPPORTED);
    assert_int_equal(f->bus_resets + other->bus_resets, 0);
}

static void slow_ones_are_waited_for(void **state)
{
    (void)state;
    fake_pci_express(f, 0, true);
    f->reset_ns = 5000 * MS;
    start();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_restored();
}

/* Configuration request retry status, where the root port makes it visible. */
static void retry(struct fake_pci *function, uint32_t offset, uint32_t size)
{
    uint64_t *until = function->arg;

    (void)size;
    if (offset == 0)
        fake_pci_set(function, 0, 4, *until > hv_host_time_ns() ? 0xffff0001 : 0x56781234);
}

static void retry_later(struct fake_pci *function)
{
    *(uint64_t *)function->arg = hv_host_time_ns() + 700 * MS;
}

static void retries_are_waited_for(void **state)
{
    static uint64_t until;

    (void)state;
    until = 0;
    fake_pci_express(f, 0, true);
    f->arg = &until;
    f->on_read = retry;
    f->on_reset = retry_later;
    start();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_true(until && hv_host_time_ns() >= until);
    assert_restored();
}

static void gone(struct fake_pci *function)
{
    function->is_gone = true;
}

static void not_for_ever(void **state)
{
    uint64_t begin;

    (void)state;
    fake_pci_express(f, 0, true);
    f->on_reset = gone;
    start();
    begin = hv_host_time_ns();
    assert_int_equal(pci_reset(found()), HV_E_IN_USE);
    assert_true(hv_host_time_ns() - begin < 70000 * MS);
    assert_int_equal(pci_reset(found()), HV_E_IN_USE); /* nor now that it is gone */
}

static void when_reset(struct fake_pci *function)
{
    assert_int_equal(function->arg != NULL, function->is_pending);
    function->is_pending = false;
}

/* The master is off before; the time for what is under way is bounded. */
static void transactions_come_to_an_end_first(void **state)
{
    uint64_t begin;

    (void)state;
    fake_pci_express(f, 0, true);
    f->is_pending = true;
    f->on_reset = when_reset;
    f->arg = f;
    start();
    begin = hv_host_time_ns();
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_true(hv_host_time_ns() - begin >= 1000 * MS);
    assert_int_equal(f->flrs, 1);
    assert_true(fake_log_contains("under way"));
}

static void transactions_without_end(void **state)
{
    (void)state;
    fake_pci_express(f, 0, true);
    f->is_pending = true;
    start();
    assert_int_equal(pci_reset(found()), HV_E_IN_USE);
    assert_restored();
}

static void writes(struct fake_pci *function, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)function, (void)size, (void)value;
    assert_int_equal(offset, 4);
}

static void quiesce_touches_only_the_command(void **state)
{
    (void)state;
    fake_pci_express(f, 0, true);
    fake_pci_msix(f, 4, 0, 0x2000, 0, 0x3000);
    f->on_write = writes;
    start();
    pci_quiesce(found());
    assert_int_equal(fake_pci_get(f, 4, 2), 0x403);
}

/* Resizable BARs and access control forget themselves as well. */
static void extended_controls_are_restored(void **state)
{
    uint16_t acs, resizable;

    (void)state;
    fake_pci_express(f, 0, true);
    acs = fake_pci_acs(f, 0x5f, 0);
    resizable = fake_pci_extended(f, 0x15, 12);
    fake_pci_set(f, resizable + 8u, 4, 0x20);
    fake_pci_let(f, resizable + 8u, 4, 0x3f00);
    start();
    f->config[acs + 6] = 0x1d;
    f->config[resizable + 9] = 0x0a;
    assert_int_equal(pci_reset(found()), HV_OK);
    assert_int_equal(fake_pci_get(f, acs + 6u, 2), 0x1d);
    assert_int_equal(fake_pci_get(f, resizable + 8u, 4), 0x0a20);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RESET_TEST(by_function_first),
        RESET_TEST(then_by_advanced_features),
        RESET_TEST(then_by_power),
        RESET_TEST(a_power_reset_that_resets_nothing_is_none),
        RESET_TEST(none_is_said),
        RESET_TEST(last_by_its_bus),
        RESET_TEST(not_by_a_bus_that_others_are_on),
        RESET_TEST(slow_ones_are_waited_for),
        RESET_TEST(retries_are_waited_for),
        RESET_TEST(not_for_ever),
        RESET_TEST(transactions_come_to_an_end_first),
        RESET_TEST(transactions_without_end),
        RESET_TEST(quiesce_touches_only_the_command),
        RESET_TEST(extended_controls_are_restored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
