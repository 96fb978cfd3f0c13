/* SPDX-License-Identifier: MIT */
/*
 * Passed devices on scripted functions: who may have which, what their owners can and can not write, interrupts, power,
 * and that nothing is left behind.
 */
#include "fake_device.h"
#include "fake_pci.h"
#include "stub_iommu.h"
#include "unit.h"
#include <pci/passthrough.h>
#include <pthread.h>
#include <time.h>

#define BDF      HV_PCI_BDF(0, 3, 0)
#define BAR_PA   0xfe000000ull
#define BAR_SIZE 0x10000u
#define TABLE    0x2000u
#define PBA      0x3800u
#define ENTRIES  9u

static struct fake_pci *f;
static uint8_t registers[BAR_SIZE]; /* behind BAR 0 */
static uint8_t ports[0x20];
static uint16_t pm, express, msi, msix, vendor;
static int client, other_client; /* their addresses */

/* ------------------------------------------------------------------------------- the owner */

static struct {
    unsigned count;
    struct hv_msi_message last;
    uint32_t cpu;
    void (*meanwhile)(void); /* NULL: nothing */
} owner;

static void on_interrupt(void *arg, const struct hv_msi_message *message)
{
    assert_ptr_equal(arg, &owner);
    owner.count++;
    owner.last = *message;
    if (owner.meanwhile)
        owner.meanwhile();
}

static uint32_t cpu_of(void *arg, const struct hv_msi_message *message)
{
    assert_ptr_equal(arg, &owner);
    (void)message;
    return owner.cpu;
}

static const struct passthrough_ops ops = {on_interrupt, cpu_of, NULL};

/* ------------------------------------------------------------------------------ the machine */

static void table_reset(struct fake_pci *function)
{
    (void)function;
    memset(registers, 0, sizeof(registers));
    for (uint32_t n = 0; n < ENTRIES; n++)
        registers[TABLE + 16 * n + 12] = 1;
}

static struct fake_pci *endpoint(uint16_t bdf)
{
    struct fake_pci *function = fake_pci_add(0, bdf, 0x1234, 0x5678, 0x010802);

    fake_pci_express(function, 0, true);
    return function;
}

static void make_device(void)
{
    f = fake_pci_add(0, BDF, 0x1234, 0x5678, 0x010802);
    fake_pci_bar(f, 0, BAR_PA, BAR_SIZE, FAKE_PCI_BAR_64 | FAKE_PCI_BAR_PREFETCH);
    fake_pci_bar(f, 2, 0xc000, 0x20, FAKE_PCI_BAR_IO);
    f->config[4] = 0x07;
    pm = fake_pci_pm(f, false);
    msi = fake_pci_msi(f, 4, true, true);
    fake_pci_capability(f, 0x03, 8); /* VPD */
    express = fake_pci_express(f, 0, true);
    msix = fake_pci_msix(f, ENTRIES, 0, TABLE, 0, PBA);
    vendor = fake_pci_capability(f, 0x09, 20);
    fake_pci_let(f, vendor + 4u, 4, ~0u);
    fake_pci_acs(f, 0, 0);
    fake_pci_extended(f, 0x0003, 12);
    fake_pci_set(f, 0x10c, 4, 0xcafe1234);
    fake_pci_extended(f, 0x0010, 0x40);
    fake_pci_extended(f, 0x000b, 16);
    f->on_reset = table_reset;
    table_reset(f);
}

static void start(void)
{
    fake_mmio_add(BAR_PA, BAR_SIZE, &fake_device_bytes, registers);
    fake_ports_add(0xc000, 0x20, &fake_device_bytes, ports);
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
}

static int setup(void **state)
{
    unit_setup(state);
    fake_set_cpus(4);
    stub_iommu_reset();
    memset(&owner, 0, sizeof(owner));
    make_device();
    return 0;
}

static int teardown(void **state)
{
    struct passthrough_counts counts = passthrough_counts();

    assert_int_equal(counts.devices + counts.vectors + counts.entries, 0);
    assert_int_equal(stub_iommu.used + stub_iommu.users, 0);
    pci_forget();
    return unit_teardown(state);
}

#define PASS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct pci_device *at(uint16_t bdf)
{
    const struct pci_device *d = pci_find(&(struct hv_pci_address){0, bdf});

    assert_non_null(d);
    return d;
}

static struct passthrough_device *assign(uint16_t bdf, uint32_t flags, const void *whose)
{
    struct passthrough_device *d = NULL;

    assert_int_equal(passthrough_assign(at(bdf), flags, &ops, whose, &owner, &d), HV_OK);
    return d;
}

static void assert_refused(uint16_t bdf, uint32_t flags, const void *whose, enum hv_status why)
{
    struct passthrough_device *d = NULL;

    assert_int_equal(passthrough_assign(at(bdf), flags, &ops, whose, &owner, &d), why);
    assert_null(d);
}

static struct passthrough_device *begin(void)
{
    start();
    return assign(BDF, 0, &client);
}

static uint32_t config(struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    return passthrough_config_read(d, offset, size);
}

static void write(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    passthrough_config_write(d, offset, size, value);
}

static uint64_t bar(struct passthrough_device *d, uint64_t offset, uint32_t size)
{
    uint64_t value;

    assert_int_equal(passthrough_bar_read(d, 0, offset, size, &value), HV_OK);
    return value;
}

static void bar_write(struct passthrough_device *d, uint64_t offset, uint32_t size, uint64_t value)
{
    assert_int_equal(passthrough_bar_write(d, 0, offset, size, value), HV_OK);
}

static uint32_t physical(uint32_t n, uint32_t field)
{
    uint32_t value;

    memcpy(&value, registers + TABLE + 16 * n + field, 4);
    return value;
}

/* The device sends MSI-X message n, as its own table says. */
static bool raise(uint32_t n)
{
    uint64_t address = physical(n, 0) | (uint64_t)physical(n, 4) << 32;
    uint32_t vector;

    if (!(fake_pci_get(f, msix + 2u, 2) & 0x8000) || (physical(n, 12) & 1)) {
        registers[PBA + n / 8] |= (uint8_t)(1 << n % 8);
        return false;
    }
    vector = stub_iommu_vector(BDF, address, physical(n, 8));
    return vector && fake_irq_raise(vector);
}

static void write_entry(struct passthrough_device *d, uint32_t n, uint64_t address, uint32_t data, uint32_t control)
{
    bar_write(d, TABLE + 16 * n, 8, address);
    bar_write(d, TABLE + 16 * n + 8, 4, data);
    bar_write(d, TABLE + 16 * n + 12, 4, control);
}

/* ----------------------------------------------------------------------------------- life */

static void assigned_device_is_reset_and_blocked(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    assert_int_equal(f->flrs, 1);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    assert_int_equal(stub_iommu.users, 1);
    assert_int_equal(passthrough_counts().devices, 1);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403);
    assert_ptr_equal(passthrough_pci(d), at(BDF));
    assert_int_equal(passthrough_kind(d), PASSTHROUGH_GENERIC);
    assert_refused(BDF, 0, &client, HV_E_CONFLICT);
    assert_refused(BDF, 0, &other_client, HV_E_CONFLICT);
    passthrough_unassign(d);
    assert_int_equal(f->flrs, 2);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    assert_int_equal(fake_pci_get(f, 0x10, 4), BAR_PA | 0xc);
    assert_int_equal(fake_pci_get(f, 4, 2) & 4, 0);
}

static void dma_goes_to_the_domain(void **state)
{
    struct passthrough_device *d = begin();
    struct iommu_domain domain = {.id = 1};

    (void)state;
    assert_int_equal(passthrough_attach(d, &domain), HV_OK);
    assert_ptr_equal(stub_iommu.domain[BDF], &domain);
    assert_int_equal(passthrough_attach(d, NULL), HV_OK);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    assert_int_equal(passthrough_attach(d, &domain), HV_OK);
    passthrough_unassign(d);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
}

static uint8_t place_at_reset;
static uint16_t command_at_reset;

static void look(struct fake_pci *function)
{
    place_at_reset = stub_iommu.place[BDF];
    command_at_reset = (uint16_t)fake_pci_get(function, 4, 2);
    table_reset(function);
}

/* When the mappings go, the master has been off and the function reset. */
static void look_first(struct fake_pci *function, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)function, (void)size, (void)value;
    if (offset == 4 && !(value & 4))
        assert_int_equal(stub_iommu.place[BDF], STUB_DOMAIN);
}

static void dma_ends_before_its_mappings(void **state)
{
    struct iommu_domain domain = {.id = 1};
    struct passthrough_device *d = begin();

    (void)state;
    assert_int_equal(passthrough_attach(d, &domain), HV_OK);
    write(d, 4, 2, 6);
    assert_int_equal(fake_pci_get(f, 4, 2) & 4, 4);
    f->on_reset = look;
    f->on_write = look_first;
    passthrough_unassign(d);
    assert_int_equal(place_at_reset, STUB_DOMAIN);
    f->on_write = NULL;
}

static void a_thousand_times(void **state)
{
    struct iommu_domain domain = {.id = 1};
    struct fake_counts before;

    (void)state;
    start();
    before = fake_counts();
    for (unsigned i = 0; i < 1000; i++) {
        struct passthrough_device *d = assign(BDF, 0, &client);
        struct hv_vpci_range *ranges;
        uint32_t count;

        assert_int_equal(passthrough_attach(d, &domain), HV_OK);
        assert_int_equal(passthrough_map(d, &ranges, &count), HV_OK);
        write(d, 4, 2, 6);
        write(d, msix + 2, 2, 0x8000);
        for (uint32_t n = 0; n < ENTRIES; n++)
            write_entry(d, n, 0xfee00000, n, i & 1);
        if (i % 3 == 0)
            write(d, msix + 2, 2, 0);
        if (i % 3 == 1)
            write(d, msi + 2, 2, 0x21);
        passthrough_unassign(d);
        assert_int_equal(fake_counts().pages, before.pages);
        assert_int_equal(fake_counts().bytes, before.bytes);
        assert_int_equal(fake_counts().vectors + fake_counts().mmio_mappings, before.mmio_mappings);
        assert_int_equal(stub_iommu.used, 0);
    }
}

static void failures_leave_nothing(void **state)
{
    struct passthrough_device *d = NULL;
    struct fake_counts before;

    (void)state;
    start();
    passthrough_unassign(assign(BDF, 0, &client));
    before = fake_counts();
    for (uint64_t n = 1;; n++) {
        enum hv_status st;

        fake_fail_after(n);
        st = passthrough_assign(at(BDF), 0, &ops, &client, &owner, &d);
        if (!fake_has_failed()) {
            assert_true(n > 3 && st == HV_OK);
            break;
        }
        assert_int_equal(st, HV_E_NO_MEMORY);
        assert_int_equal(fake_counts().bytes, before.bytes);
        assert_int_equal(fake_counts().pages, before.pages);
        assert_int_equal(stub_iommu.users, 0);
        assert_int_equal(fake_pci_get(f, 4, 2) & 4, 0);
    }
    fake_fail_after(0);
    passthrough_unassign(d);
}

static void a_failure_gives_it_back_to_the_host(void **state)
{
    (void)state;
    start();
    stub_iommu.fails_at = stub_iommu.attaches + 1;
    assert_refused(BDF, 0, &client, HV_E_NO_MEMORY);
    assert_int_equal(stub_iommu.place[BDF], STUB_HOST);
}

/* A guest may have left it in a state that no reset ends. */
static void but_not_what_a_guest_has_had(void **state)
{
    (void)state;
    start();
    passthrough_unassign(assign(BDF, 0, &client));
    f->is_pending = true;
    assert_refused(BDF, 0, &other_client, HV_E_IN_USE);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    f->is_pending = false;
    stub_iommu.fails_at = stub_iommu.attaches + 1;
    assert_refused(BDF, 0, &client, HV_E_NO_MEMORY);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    passthrough_unassign(assign(BDF, 0, &client)); /* it rests: see below */
}

/* Without the IOMMU it would reach all memory. */
static void what_does_not_rest_keeps_the_iommu_on(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    f->is_pending = true;
    passthrough_unassign(d);
    assert_int_equal(stub_iommu.users, 1);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    assert_true(fake_log_contains("the IOMMU stays on"));
    assert_refused(BDF, 0, &client, HV_E_IN_USE);
    assert_int_equal(stub_iommu.users, 1);
    f->is_pending = false;
    stub_iommu.fails_at = stub_iommu.attaches + 1; /* before there is a reset */
    assert_refused(BDF, 0, &client, HV_E_NO_MEMORY);
    assert_int_equal(stub_iommu.users, 1);
    d = assign(BDF, 0, &client);
    assert_int_equal(stub_iommu.users, 2);
    passthrough_unassign(d);
    assert_int_equal(stub_iommu.users, 0);
}

static void without_iommu_it_is_refused(void **state)
{
    (void)state;
    start();
    stub_iommu.platform = (struct hv_iommu_platform){false, false, "none", "no DMAR table", false};
    assert_refused(BDF, 0, &client, HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("no DMAR table"));
    stub_iommu.platform = (struct hv_iommu_platform){true, false, "stub", "no interrupt remapping", false};
    assert_refused(BDF, 0, &client, HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("no interrupt remapping"));
    stub_iommu.platform = (struct hv_iommu_platform){true, true, "stub", "", false};
    stub_iommu.fails_on = true;
    assert_refused(BDF, 0, &client, HV_E_NOT_PRESENT);
    assert_int_equal(f->flrs, 0);
    assert_int_equal(fake_pci_get(f, 4, 2) & 4, 4); /* the host's as it was */
}

static void unsafe_works_and_warns(void **state)
{
    struct iommu_domain domain = {.id = 1};
    struct passthrough_device *d;

    (void)state;
    start();
    stub_iommu.platform = (struct hv_iommu_platform){false, false, "none", "no DMAR table", false};
    d = assign(BDF, HV_VPCI_UNSAFE, &client);
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 2);
    assert_int_equal(passthrough_attach(d, &domain), HV_OK);
    assert_int_equal(stub_iommu.attaches, 0);

    owner.cpu = 2;
    write(d, msix + 2, 2, 0x8000);
    write_entry(d, 1, 0xfee00000, 0x41, 0);
    assert_int_equal(physical(1, 0), 0xfee00000 | FAKE_APIC_ID(2) << 12);
    assert_int_equal(physical(1, 12), 0);
    assert_true(fake_irq_raise(physical(1, 8)));
    assert_int_equal(owner.last.data, 0x41);
    owner.cpu = 1;
    passthrough_retarget(d);
    assert_int_equal(physical(1, 0), 0xfee00000 | FAKE_APIC_ID(1) << 12);

    assert_int_equal(config(d, msi + 2, 2) & 0xe, 0); /* one message only */
    assert_false(pci_find(&f->address)->is_distrusted);
    passthrough_unassign(d);
    assert_true(pci_find(&f->address)->is_distrusted); /* by an IOMMU that is there later */
}

/* Where interrupts alone are not remapped DMA is. */
static void unsafe_confines_what_it_can(void **state)
{
    struct iommu_domain domain = {.id = 1};
    struct passthrough_device *d;

    (void)state;
    start();
    stub_iommu.platform = (struct hv_iommu_platform){true, false, "stub", "no interrupt remapping", false};
    d = assign(BDF, HV_VPCI_UNSAFE, &client);
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 1);
    assert_true(fake_log_contains("interrupts are not remapped"));
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    assert_int_equal(passthrough_attach(d, &domain), HV_OK);
    assert_ptr_equal(stub_iommu.domain[BDF], &domain);

    write(d, msix + 2, 2, 0x8000);
    write_entry(d, 1, 0xfee00000, 0x41, 0);
    assert_int_equal(physical(1, 0) >> 20, 0xfee);
    assert_int_equal(physical(1, 0) & 0x10, 0); /* nobody's entry */
    assert_int_equal(stub_iommu.used, 0);
    passthrough_unassign(d);
    assert_int_equal(stub_iommu.place[BDF], STUB_BLOCKED);
    assert_int_equal(stub_iommu.users, 0);
}

/* All is there: nothing to warn of. */
static void unsafe_is_not_needed(void **state)
{
    struct passthrough_device *d;

    (void)state;
    start();
    d = assign(BDF, HV_VPCI_UNSAFE, &client);
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 0);
    write(d, msix + 2, 2, 0x8000);
    write_entry(d, 1, 0xfee00000, 0x41, 0);
    assert_int_equal(stub_iommu.used, 1);
    passthrough_unassign(d);
}

/* --------------------------------------------------------------------------------- groups */

static void groups_have_one_client(void **state)
{
    struct passthrough_device *a, *b;

    (void)state;
    fake_pci_set(endpoint(HV_PCI_BDF(0, 5, 0)), 0x0e, 1, 0x80);
    endpoint(HV_PCI_BDF(0, 5, 1));
    endpoint(HV_PCI_BDF(0, 5, 2));
    start();
    a = assign(HV_PCI_BDF(0, 5, 0), 0, &client);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 5, 1)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 5, 2)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[BDF], STUB_HOST);
    assert_refused(HV_PCI_BDF(0, 5, 1), 0, &other_client, HV_E_CONFLICT);
    b = assign(HV_PCI_BDF(0, 5, 1), 0, &client);
    passthrough_unassign(a);
    assert_refused(HV_PCI_BDF(0, 5, 0), 0, &other_client, HV_E_CONFLICT);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 5, 2)], STUB_BLOCKED);
    passthrough_unassign(b);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 5, 0)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 5, 1)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 5, 2)], STUB_HOST);
    passthrough_unassign(assign(HV_PCI_BDF(0, 5, 2), 0, &other_client));
}

static void not_with_what_the_host_uses(void **state)
{
    struct fake_pci *sibling;

    (void)state;
    fake_pci_set(endpoint(HV_PCI_BDF(0, 5, 0)), 0x0e, 1, 0x80);
    sibling = endpoint(HV_PCI_BDF(0, 5, 1));
    start();
    sibling->config[4] = 4;
    assert_refused(HV_PCI_BDF(0, 5, 0), 0, &client, HV_E_ACCESS_DENIED);
    assert_true(fake_log_contains("the host uses it"));
    assert_int_equal(stub_iommu.attaches, 0);
    sibling->config[4] = 0;
    passthrough_unassign(assign(HV_PCI_BDF(0, 5, 0), 0, &client));
}

/* Two functions behind a bridge that speaks for them. */
static void shared_names_have_one_domain(void **state)
{
    struct fake_pci *bridge = fake_pci_add(0, HV_PCI_BDF(0, 6, 0), 0x1b36, 0x0001, 0x060400);
    struct iommu_domain one = {.id = 1}, two = {.id = 2};
    struct passthrough_device *a, *b;

    (void)state;
    fake_pci_bridge(bridge, 1, 1);
    fake_pci_af(fake_pci_add(0, HV_PCI_BDF(1, 1, 0), 0x1234, 1, 0x020000));
    fake_pci_af(fake_pci_add(0, HV_PCI_BDF(1, 2, 0), 0x1234, 1, 0x020000));
    start();
    a = assign(HV_PCI_BDF(1, 1, 0), 0, &client);
    assert_int_equal(passthrough_attach(a, &one), HV_OK);
    assert_ptr_equal(stub_iommu.domain[HV_PCI_BDF(0, 6, 0)], &one);
    b = assign(HV_PCI_BDF(1, 2, 0), 0, &client);
    assert_ptr_equal(stub_iommu.domain[HV_PCI_BDF(0, 6, 0)], &one);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(1, 2, 0)], STUB_BLOCKED);
    assert_int_equal(passthrough_attach(b, &two), HV_E_CONFLICT);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(1, 2, 0)], STUB_BLOCKED);
    assert_int_equal(passthrough_attach(b, &one), HV_OK);
    passthrough_unassign(a);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(1, 1, 0)], STUB_BLOCKED);
    assert_ptr_equal(stub_iommu.domain[HV_PCI_BDF(0, 6, 0)], &one);
    passthrough_unassign(b);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 6, 0)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(1, 1, 0)], STUB_BLOCKED);
}

/* The bridge's name is also that of the one that a guest has had; the other's own name is not. */
static void shared_names_stay_blocked(void **state)
{
    struct fake_pci *bridge = fake_pci_add(0, HV_PCI_BDF(0, 6, 0), 0x1b36, 0x0001, 0x060400);

    (void)state;
    fake_pci_bridge(bridge, 1, 1);
    fake_pci_af(fake_pci_add(0, HV_PCI_BDF(1, 1, 0), 0x1234, 1, 0x020000));
    fake_pci_add(0, HV_PCI_BDF(1, 2, 0), 0x1234, 1, 0x020000); /* no reset */
    start();
    passthrough_unassign(assign(HV_PCI_BDF(1, 1, 0), 0, &client));
    assert_refused(HV_PCI_BDF(1, 2, 0), 0, &client, HV_E_UNSUPPORTED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 6, 0)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(1, 1, 0)], STUB_BLOCKED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(1, 2, 0)], STUB_HOST);
}

static void devices_that_can_not_be_reset_are_refused(void **state)
{
    (void)state;
    fake_pci_add(0, HV_PCI_BDF(0, 7, 0), 0x1234, 1, 0x020000);
    start();
    assert_refused(HV_PCI_BDF(0, 7, 0), 0, &client, HV_E_UNSUPPORTED);
    assert_int_equal(stub_iommu.place[HV_PCI_BDF(0, 7, 0)], STUB_HOST);
}

/* -------------------------------------------------------------------------- malformed ones */

static void loop_of_capabilities(void)
{
    fake_pci_set(f, vendor + 1u, 1, pm);
}

static void loop_of_extended(void)
{
    fake_pci_set(f, 0x108, 4, 0x10810003);
}

static void bar_of_a_tebibyte(void)
{
    fake_pci_bar(f, 4, 0x10000000000, 1ull << 40, FAKE_PCI_BAR_64);
}

static void table_beyond(void)
{
    fake_pci_set(f, msix + 4u, 4, BAR_SIZE - 16);
}

static void table_in_ports(void)
{
    fake_pci_set(f, msix + 4u, 4, 2);
}

static void table_over_pba(void)
{
    fake_pci_set(f, msix + 8u, 4, TABLE + 0x10);
}

static void malformed_devices_are_refused(void **state)
{
    static void (*const harm[])(void) = {
        loop_of_capabilities, loop_of_extended, bar_of_a_tebibyte, table_beyond, table_in_ports, table_over_pba,
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(harm) / sizeof(harm[0]); i++) {
        if (i) {
            pci_forget();
            fake_reset();
            fake_set_cpus(4);
            make_device();
        }
        harm[i]();
        start();
        assert_refused(BDF, 0, &client, HV_E_UNSUPPORTED);
        assert_true(fake_log_contains("not assigned"));
        assert_int_equal(f->flrs, 0);
    }
}

/* Whoever had these would have all memory. */
static void nobody_has_the_iommus_registers(void **state)
{
    (void)state;
    start();
    stub_iommu.registers = BAR_PA + BAR_SIZE - HV_PAGE_SIZE;
    assert_refused(BDF, 0, &client, HV_E_UNSUPPORTED);
    assert_true(fake_log_contains("registers of the machine's own"));
}

/* A device that changes its mind after the scan. */
static void change(struct fake_pci *function)
{
    fake_pci_set(function, vendor + 1u, 1, pm);
}

static void devices_that_change_are_refused(void **state)
{
    (void)state;
    start();
    f->on_reset = change;
    assert_refused(BDF, 0, &client, HV_E_UNSUPPORTED);
    assert_int_equal(stub_iommu.place[BDF], STUB_HOST);
}

/* -------------------------------------------------------------------- configuration space */

static void header_is_virtual(void **state)
{
    struct passthrough_device *d = begin();
    uint32_t bars[PCI_BARS];

    (void)state;
    assert_int_equal(config(d, 0, 4), 0x56781234);
    assert_int_equal(config(d, 8, 4), 0x01080200);
    assert_int_equal(config(d, 4, 2), 0);
    for (uint32_t i = 0; i < 6; i++)
        write(d, 0x10 + 4 * i, 4, ~0u);
    passthrough_probed_bars(d, bars);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(config(d, 0x10 + 4 * i, 4), bars[i]);
    assert_int_equal(bars[0], 0xffff000c);
    assert_int_equal(bars[1], 0xffffffff);
    assert_int_equal(bars[2], 0xffffffe1);
    assert_int_equal(bars[3], 0);
    write(d, 0x10, 4, 0x80001234);
    write(d, 0x14, 1, 0);
    assert_int_equal(config(d, 0x10, 4), 0x8000000c);
    assert_int_equal(config(d, 0x14, 4), 0xffffff00);
    write(d, 0x3c, 4, 0xffffff0b);
    assert_int_equal(config(d, 0x3c, 2), 0x000b);
    assert_int_equal(fake_pci_get(f, 0x10, 4), BAR_PA | 0xc);
    passthrough_unassign(d);
}

/* Else the machine's own ports would be the guest's. */
static void ports_that_are_nowhere_are_not_there(void **state)
{
    struct passthrough_device *d;
    uint32_t bars[PCI_BARS];
    uint64_t value;

    (void)state;
    fake_pci_bar(f, 2, 0, 0x20, FAKE_PCI_BAR_IO);
    d = begin();
    passthrough_probed_bars(d, bars);
    assert_int_equal(bars[2], 0);
    assert_int_equal(passthrough_bar_read(d, 2, 0, 1, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_write(d, 2, 0, 1, 0), HV_E_INVALID);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0402); /* nor decoded */
    passthrough_unassign(d);
}

static void master_is_passed_on_and_decoding_is_not(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    write(d, 4, 2, 0xffff);
    assert_int_equal(config(d, 4, 2), 0x0547);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0407);
    write(d, 4, 2, 0);
    assert_int_equal(config(d, 4, 2), 0);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403);
    passthrough_unassign(d);
}

static void errors_are_cleared_by_ones(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    f->config[7] = 0xa0;
    f->config[6] |= 8; /* an interrupt that it does not have for its owner */
    assert_int_equal(config(d, 6, 2), 0xa010);
    write(d, 4, 4, 0x80000004); /* together with the command */
    assert_int_equal(config(d, 6, 2), 0x2010);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0407);
    passthrough_unassign(d);
}

static void writes_that_change_nothing_change_nothing(void **state)
{
    struct passthrough_device *d = begin();
    uint64_t writes;

    (void)state;
    write(d, 4, 2, 6);
    write(d, msix + 2, 2, 0x8000);
    writes = f->writes;
    for (uint32_t at = 0; at < 4096; at += 4)
        if (at != 0x04 && at != (uint32_t)express + 8)
            write(d, at, 4, config(d, at, 4));
    write(d, 4, 2, 6);
    assert_int_equal(f->writes, writes);
    passthrough_unassign(d);
}

static uint32_t find(struct passthrough_device *d, uint8_t id)
{
    for (uint32_t at = config(d, 0x34, 1), i = 0; at && i < 48; at = config(d, at + 1, 1), i++)
        if (config(d, at, 1) == id)
            return at;
    return 0;
}

static uint32_t find_extended(struct passthrough_device *d, uint16_t id)
{
    for (uint32_t at = 0x100, i = 0; at && i < 480; at = config(d, at, 4) >> 20, i++)
        if (config(d, at, 2) == id)
            return at;
    return 0;
}

static void capabilities_are_chosen(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    assert_int_equal(find(d, 0x01), pm);
    assert_int_equal(find(d, 0x05), msi);
    assert_int_equal(find(d, 0x11), msix);
    assert_int_equal(find(d, 0x10), express);
    assert_int_equal(find(d, 0x09), vendor);
    assert_int_equal(find(d, 0x03), 0);
    assert_int_equal(config(d, msi + 24u, 4), 0); /* where it is */
    assert_int_equal(find_extended(d, 0x0003), 0x108);
    assert_int_equal(find_extended(d, 0x000b), 0x154);
    assert_int_equal(find_extended(d, 0x000d), 0);
    assert_int_equal(find_extended(d, 0x0010), 0);
    assert_int_equal(config(d, 0x10c, 4), 0xcafe1234);
    assert_int_equal(config(d, 0x10e, 2), 0xcafe);
    assert_int_equal(config(d, 0x104, 4), 0);
    assert_int_equal(config(d, 0x101, 2), ~0u); /* not an access */
    assert_int_equal(config(d, 4096, 1), ~0u);
    write(d, vendor + 4, 4, ~0u);
    assert_int_equal(fake_pci_get(f, vendor + 4u, 4), 0);
    passthrough_unassign(d);
}

/* Whatever an owner writes, the device keeps its place, its BARs, and its own message registers. */
static void hostile_writes(void **state)
{
    struct passthrough_device *d = begin();
    struct hv_vpci_range *ranges;
    uint32_t count;

    (void)state;
    f->reset_ns = 0;
    for (unsigned i = 0; i < 30000; i++) {
        uint32_t size = 1u << rand() % 3, offset = (uint32_t)rand() % (i & 1 ? 256 : 4096) / size * size;
        uint32_t value = rand() % 3 ? (uint32_t)rand() << 8 ^ (uint32_t)rand() : ~0u;

        if (rand() % 8 == 0)
            bar_write(d, TABLE + (uint32_t)rand() % (16 * ENTRIES / size) * size, size, value);
        write(d, offset, size, value);
        (void)config(d, offset, size);
        assert_int_equal(fake_pci_get(f, 0x10, 4), BAR_PA | 0xc);
        assert_int_equal(fake_pci_get(f, 0x18, 4), 0xc001);
        assert_int_equal(fake_pci_get(f, 4, 2) & 0xfbf8, 0);
        assert_int_equal(fake_pci_get(f, 4, 2) & 0x0403, 0x0403);
        assert_int_equal(fake_pci_get(f, express + 8u, 2) & 0x0fef, 0x2010 & 0x0fef & ~0x800);
        assert_int_equal(fake_pci_get(f, pm + 4u, 2) & 3, 0);
        if (fake_pci_get(f, msi + 2u, 2) & 1)
            assert_int_equal(fake_pci_get(f, msi + 4u, 4), STUB_IOMMU_ADDRESS);
        for (uint32_t n = 0; n < ENTRIES; n++)
            if (!(physical(n, 12) & 1))
                assert_true(physical(n, 0) == STUB_IOMMU_ADDRESS && physical(n, 4) == 0 &&
                            stub_iommu.entries[physical(n, 8)].requester.bdf == BDF);
        if (i % 1000 == 0)
            write(d, pm + 4, 2, 0);
    }
    write(d, pm + 4, 2, 0);
    assert_int_equal(passthrough_map(d, &ranges, &count), HV_OK);
    passthrough_unassign(d);
}

/* As drivers and buses' enumeration do. */
static void write_what_drivers_write(struct passthrough_device *d)
{
    for (uint32_t at = 0x10; at < 0x28; at += 4)
        write(d, at, 4, ~0u);
    write(d, 0x30, 4, 0xfffff800);
    write(d, 4, 2, 0x0547);
    write(d, 6, 2, 0xffff);
    write(d, 0x0c, 2, 0x4010);
    write(d, 0x3c, 1, 0xff);
    write(d, pm + 4, 2, 0x8103);
    write(d, pm + 4, 2, 0x8100);
    write(d, express + 8u, 2, 0x5fff);
    write(d, express + 16u, 2, 0x0043);
    for (uint32_t at = 4; at < 24; at += 4)
        write(d, msi + at, 4, ~0u);
    write(d, msi + 2, 2, 0);
    write(d, msix + 2, 2, 0xc000);
}

static uint64_t warnings(void)
{
    return fake_log_count(HV_LOG_WARNING);
}

static void blocked_writes_are_told(void **state)
{
    static const char *const lines[] = {
        "PCI 0000:00:03.0: write of 0xfe0f to configuration register 0x4 blocked: bits 0xfa08 are not its guest's",
        "PCI 0000:00:03.0: write of 0x12348086 to configuration register 0x0 blocked: bits 0x444c92b2 are not",
        "PCI 0000:00:03.0: write of 0x5 to configuration register 0x100 blocked: bits 0x",
    };
    struct passthrough_device *d = begin();
    uint64_t before = warnings();

    (void)state;
    write_what_drivers_write(d);
    for (uint32_t at = 0; at < 4096; at += 4)
        write(d, at, 4, config(d, at, 4));
    assert_int_equal(warnings(), before);
    for (unsigned i = 0; i < 3; i++) {
        write(d, 4, 2, 0xfe0f);
        write(d, 0, 4, 0x12348086);
        write(d, 0x100, 4, 5);
    }
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_true(fake_log_contains(lines[i]));
    assert_int_equal(warnings(), before + 3);
    for (uint32_t at = 0; at < 0x200; at++)
        write(d, at, 1, ~config(d, at, 1));
    assert_true(fake_log_contains("PCI 0000:00:03.0: further blocked writes to its configuration are not shown"));
    assert_int_equal(warnings(), before + 8 + 1);
    passthrough_unassign(d);
}

/* ------------------------------------------------------------------------------------- BARs */

static void bars_are_the_devices_but_for_the_tables(void **state)
{
    struct passthrough_device *d = begin();
    uint64_t value;

    (void)state;
    bar_write(d, 0x100, 8, 0x1122334455667788);
    assert_int_equal(registers[0x107], 0x11);
    assert_true(bar(d, 0x100, 8) == 0x1122334455667788);
    assert_int_equal(bar(d, 0x102, 2), 0x5566);
    bar_write(d, TABLE + 16 * ENTRIES, 4, 7); /* behind the table, in its page */
    assert_int_equal(registers[TABLE + 16 * ENTRIES], 7);
    bar_write(d, PBA + 8, 1, 9);
    assert_int_equal(registers[PBA + 8], 9);
    bar_write(d, TABLE + 8, 4, 0xffffffff);
    assert_int_equal(physical(0, 8), 0);
    assert_int_equal(bar(d, TABLE + 8, 4), 0xffffffff);
    bar_write(d, PBA, 8, ~0ull);
    assert_int_equal(registers[PBA], 0);

    assert_int_equal(passthrough_bar_write(d, 2, 4, 4, 0x12345678), HV_OK);
    assert_int_equal(ports[7], 0x12);
    assert_int_equal(passthrough_bar_read(d, 2, 6, 1, &value), HV_OK);
    assert_int_equal(value, 0x34);

    assert_int_equal(passthrough_bar_read(d, 0, BAR_SIZE, 1, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 0, ~0ull - 7, 8, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 0, 2, 4, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 0, 0, 3, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 0, 0, 0, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 0, 0, 16, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 1, 0, 4, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 2, 0, 8, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_read(d, 6, 0, 4, &value), HV_E_INVALID);
    assert_int_equal(passthrough_bar_write(d, ~0u, 0, 4, 0), HV_E_INVALID);
    passthrough_unassign(d);
}

static void ranges_leave_the_tables_out(void **state)
{
    static const struct {
        uint32_t bar, flags;
        uint64_t offset, size;
    } wanted[] = {
        {0, 3, 0, 0x2000}, {0, 0, 0x2000, 0x1000}, {0, 0, 0x3000, 0x1000}, {0, 3, 0x4000, 0xc000}, {2, 0, 0, 0x20},
    };
    struct passthrough_device *d = begin();
    struct hv_vpci_range *ranges;
    uint32_t count;

    (void)state;
    assert_int_equal(passthrough_map(d, &ranges, &count), HV_OK);
    assert_int_equal(count, 5);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(ranges[i].bar, wanted[i].bar);
        assert_int_equal(ranges[i].flags, wanted[i].flags);
        assert_true(ranges[i].offset == wanted[i].offset && ranges[i].size == wanted[i].size);
        if (ranges[i].flags)
            assert_true(hv_host_virt_to_phys(ranges[i].memory, NULL) == BAR_PA + ranges[i].offset);
        else
            assert_null(ranges[i].memory);
    }
    passthrough_unmap(d);
    assert_int_equal(passthrough_set_power(d, 3), HV_OK);
    assert_int_equal(passthrough_map(d, &ranges, &count), HV_E_STATE);
    passthrough_unassign(d);
}

static void virtio_windows_lead_to_the_virtual_table(void **state)
{
    struct passthrough_device *d;

    (void)state;
    fake_pci_set(f, 0, 4, 0x10421af4);
    fake_pci_set(f, vendor + 2u, 2, 0x0514);
    d = begin();
    assert_int_equal(passthrough_kind(d), PASSTHROUGH_VIRTIO_BLOCK);
    write(d, vendor + 4, 1, 0);
    write(d, vendor + 8, 4, TABLE + 8);
    write(d, vendor + 12, 4, 4);
    write(d, vendor + 16, 4, 0x4711);
    assert_int_equal(physical(0, 8), 0);
    assert_int_equal(bar(d, TABLE + 8, 4), 0x4711);
    assert_int_equal(config(d, vendor + 16, 4), 0x4711);
    write(d, vendor + 8, 4, 0x10);
    write(d, vendor + 16, 4, 0x4712);
    assert_int_equal(registers[0x10], 0x12);
    assert_int_equal(fake_pci_get(f, vendor + 8u, 4), 0);
    write(d, vendor + 8, 4, BAR_SIZE);
    assert_int_equal(config(d, vendor + 16, 4), 0);
    write(d, vendor + 12, 4, 8);
    assert_int_equal(config(d, vendor + 16, 4), 0);
    passthrough_unassign(d);
}

/* ------------------------------------------------------------------------------- interrupts */

static void messages_come_as_the_guest_wrote_them(void **state)
{
    struct passthrough_device *d = begin();
    struct passthrough_vector *v;

    (void)state;
    owner.cpu = 1;
    write(d, msix + 2, 2, 0x8000);
    write_entry(d, 3, 0xfee01000, 0x55, 0);
    assert_int_equal(passthrough_counts().vectors, 1);
    assert_int_equal(passthrough_counts().entries, 1);
    assert_true(raise(3));
    assert_int_equal(owner.count, 1);
    assert_int_equal(owner.last.data, 0x55);
    assert_true(owner.last.address == 0xfee01000);
    assert_int_equal(stub_iommu.entries[physical(3, 8)].target.apic_id, FAKE_APIC_ID(1));
    v = passthrough_by_host_vector(stub_iommu.entries[physical(3, 8)].target.vector);
    assert_non_null(v);
    assert_true(v->device == d && v->index == 3);
    assert_null(passthrough_by_host_vector(0));
    assert_null(passthrough_by_host_vector(~0u));

    owner.cpu = 2;
    passthrough_retarget(d);
    assert_int_equal(stub_iommu.entries[physical(3, 8)].target.apic_id, FAKE_APIC_ID(2));
    owner.cpu = 3;
    bar_write(d, TABLE + 16 * 3 + 8, 4, 0x66);
    assert_int_equal(stub_iommu.entries[physical(3, 8)].target.apic_id, FAKE_APIC_ID(3));
    owner.cpu = 77; /* there is none */
    passthrough_retarget(d);
    assert_int_equal(stub_iommu.entries[physical(3, 8)].target.apic_id, FAKE_APIC_ID(0));
    assert_true(raise(3));
    assert_int_equal(owner.last.data, 0x66);

    write(d, msix + 2, 2, 0);
    assert_false(raise(3));
    assert_int_equal(passthrough_counts().vectors + passthrough_counts().entries, 0);
    passthrough_unassign(d);
}

static void masked_ones_are_pending(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    write(d, msix + 2, 2, 0xc000);
    write_entry(d, 8, 0xfee00000, 0x41, 0);
    assert_false(raise(8)); /* never open: the device keeps it */
    assert_int_equal(bar(d, PBA + 1, 1), 1);
    registers[PBA + 1] = 0;
    write(d, msix + 2, 2, 0x8000);
    assert_true(raise(8));
    assert_int_equal(owner.count, 1);
    write(d, msix + 2, 2, 0xc000);
    assert_true(raise(8));
    assert_true(raise(8));
    assert_int_equal(owner.count, 1);
    assert_int_equal(bar(d, PBA, 8), 0x100);
    write(d, msix + 2, 2, 0x8000);
    assert_int_equal(owner.count, 2);
    bar_write(d, TABLE + 16 * 8 + 12, 4, 1);
    assert_true(raise(8));
    bar_write(d, TABLE + 16 * 8 + 12, 1, 0);
    assert_int_equal(owner.count, 3);
    assert_int_equal(bar(d, PBA, 8), 0);
    passthrough_unassign(d);
}

static void msi_messages_have_entries_in_a_row(void **state)
{
    struct passthrough_device *d = begin();
    uint32_t first;

    (void)state;
    write(d, msi + 4, 4, 0xfee02000);
    write(d, msi + 12, 2, 0x60);
    write(d, msi + 2, 2, 0x21);
    assert_int_equal(passthrough_counts().vectors, 4);
    assert_int_equal(fake_pci_get(f, msi + 2u, 2) & 0x71, 0x21);
    assert_int_equal(fake_pci_get(f, msi + 4u, 4), STUB_IOMMU_ADDRESS);
    first = fake_pci_get(f, msi + 12u, 2);
    assert_int_equal(first % 4, 0);
    for (uint32_t n = 0; n < 4; n++) {
        assert_true(fake_irq_raise(stub_iommu_vector(BDF, STUB_IOMMU_ADDRESS, first + n)));
        assert_int_equal(owner.last.data, 0x60 + n);
    }
    write(d, msi + 16, 4, 4);
    assert_true(fake_irq_raise(stub_iommu_vector(BDF, STUB_IOMMU_ADDRESS, first + 2)));
    assert_int_equal(owner.count, 4);
    assert_int_equal(config(d, msi + 20, 4), 4);
    write(d, msi + 16, 4, 0);
    assert_int_equal(owner.count, 5);
    assert_int_equal(owner.last.data, 0x62);

    write(d, msix + 2, 2, 0x8000); /* both: MSI-X it is */
    assert_int_equal(fake_pci_get(f, msi + 2u, 2) & 1, 0);
    assert_int_equal(passthrough_counts().entries, 0);
    write(d, msix + 2, 2, 0);
    assert_int_equal(passthrough_counts().entries, 4);
    passthrough_unassign(d);
}

static void vectors_run_out(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    fake_irq_limit(3);
    write(d, msix + 2, 2, 0x8000);
    for (uint32_t n = 0; n < ENTRIES; n++)
        write_entry(d, n, 0xfee00000, 0x40 + n, 0);
    assert_int_equal(passthrough_counts().vectors, 3);
    assert_int_equal(passthrough_counts().entries, 3);
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 1);
    assert_true(raise(2));
    assert_false(raise(3));
    write(d, msix + 2, 2, 0);
    write(d, msi + 2, 2, 0x21); /* all or none */
    assert_int_equal(passthrough_counts().vectors + passthrough_counts().entries, 0);
    assert_int_equal(fake_pci_get(f, msi + 2u, 2) & 1, 0);
    passthrough_unassign(d);
}

static void none_is_lost(void **state)
{
    struct passthrough_device *d = begin();
    unsigned raised[ENTRIES] = {0}, seen[ENTRIES] = {0};
    bool waits[ENTRIES] = {false};

    (void)state;
    write(d, msix + 2, 2, 0x8000);
    for (uint32_t n = 0; n < ENTRIES; n++)
        write_entry(d, n, 0xfee00000, n, 0);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t n = (uint32_t)rand() % ENTRIES;
        unsigned before = owner.count;

        if (rand() % 2) {
            bar_write(d, TABLE + 16 * n + 12, 4, (uint64_t)rand() & 1);
        } else {
            raised[n] += !waits[n];
            assert_true(raise(n));
        }
        if (owner.count != before) {
            assert_int_equal(owner.count, before + 1);
            assert_int_equal(owner.last.data, n);
            seen[n]++;
        }
        waits[n] = raised[n] != seen[n];
        assert_true(raised[n] - seen[n] <= 1);
        assert_int_equal(bar(d, PBA + n / 8, 1) >> n % 8 & 1, waits[n]);
    }
    for (uint32_t n = 0; n < ENTRIES; n++)
        bar_write(d, TABLE + 16 * n + 12, 4, 0);
    assert_int_equal(bar(d, PBA, 8), 0);
    passthrough_unassign(d);
}

/* -------------------------------------------------------------------- changes while one is sent */

static struct {
    struct passthrough_device *device;
    void (*write)(struct passthrough_device *d);
    pthread_t thread;
    bool is_started, is_done; /* atomic: is_done */
} change_of_it;

static void mask_entry(struct passthrough_device *d)
{
    bar_write(d, TABLE + 16 * 2 + 12, 4, 1);
}

static void move_entry(struct passthrough_device *d)
{
    bar_write(d, TABLE + 16 * 2, 4, 0xfee02000);
}

static void mask_function(struct passthrough_device *d)
{
    write(d, msix + 2, 2, 0xc000);
}

static void mask_msi(struct passthrough_device *d)
{
    write(d, msi + 16, 4, 1);
}

static bool is_change_done(void)
{
    return __atomic_load_n(&change_of_it.is_done, __ATOMIC_ACQUIRE);
}

static void *change_main(void *arg)
{
    (void)arg;
    change_of_it.write(change_of_it.device);
    __atomic_store_n(&change_of_it.is_done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* The owner has been told of the message, and has not raised it yet. */
static void change_it(void)
{
    const struct timespec while_ = {.tv_nsec = 20000000};

    assert_false(change_of_it.is_started);
    change_of_it.is_started = true;
    assert_int_equal(pthread_create(&change_of_it.thread, NULL, change_main, NULL), 0);
    nanosleep(&while_, NULL);
    assert_false(is_change_done());
}

static void assert_waits(struct passthrough_device *d, void (*change)(struct passthrough_device *d), bool is_msi)
{
    change_of_it.device = d;
    change_of_it.write = change;
    change_of_it.is_started = change_of_it.is_done = false;
    owner.meanwhile = change_it;
    if (is_msi)
        assert_true(fake_irq_raise(stub_iommu_vector(BDF, STUB_IOMMU_ADDRESS, fake_pci_get(f, msi + 12u, 2))));
    else
        assert_true(raise(2));
    owner.meanwhile = NULL;
    assert_true(change_of_it.is_started);
    pthread_join(change_of_it.thread, NULL);
    assert_true(is_change_done());
}

/* Who has masked or moved an interrupt will not have it the old way afterwards. */
static void changes_wait_for_what_is_being_sent(void **state)
{
    static void (*const changes[])(struct passthrough_device * d) = {mask_entry, move_entry, mask_function,
                                                                     passthrough_retarget};
    struct passthrough_device *d = begin();

    (void)state;
    for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        write(d, msix + 2, 2, 0x8000);
        write_entry(d, 2, 0xfee01000, 0x55, 0);
        assert_waits(d, changes[i], false);
    }
    write(d, msix + 2, 2, 0);
    write(d, msi + 12, 2, 0x60);
    write(d, msi + 2, 2, 0x01);
    assert_waits(d, mask_msi, true);
    passthrough_unassign(d);
}

/* ------------------------------------------------------------------------- resets and power */

static void guests_can_reset(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    write(d, 0x10, 4, 0x80000000);
    write(d, 4, 2, 6);
    write(d, msix + 2, 2, 0x8000);
    write_entry(d, 0, 0xfee00000, 0x41, 0);
    write(d, express + 8, 2, 0xa010);
    assert_int_equal(f->flrs, 2);
    assert_int_equal(config(d, 0x10, 4), 0xc);
    assert_int_equal(config(d, 4, 2), 0);
    assert_int_equal(config(d, msix + 2, 2), ENTRIES - 1);
    assert_int_equal(bar(d, TABLE + 8, 8), 1ull << 32);
    assert_int_equal(fake_pci_get(f, 0x10, 4), BAR_PA | 0xc);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403);
    assert_int_equal(fake_pci_get(f, msix + 2u, 2) & 0x8000, 0);
    assert_int_equal(passthrough_counts().vectors, 0);
    assert_int_equal(config(d, express + 8, 2) & 0x8000, 0);
    passthrough_unassign(d);
}

static void power_is_virtual(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    write(d, 4, 2, 6);
    bar_write(d, 0x10, 4, 5);
    write(d, pm + 4, 2, 3);
    assert_int_equal(config(d, pm + 4, 2), 3);
    assert_int_equal(fake_pci_get(f, pm + 4u, 2), 0);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403);
    assert_int_equal(bar(d, 0x10, 4), 0xffffffff);
    bar_write(d, 0x10, 4, 6);
    assert_int_equal(registers[0x10], 5);
    write(d, 4, 2, 6);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403); /* no DMA in D3 */
    write(d, pm + 4, 2, 0);
    assert_int_equal(f->flrs, 2);
    assert_int_equal(config(d, 4, 2), 0);
    passthrough_unassign(d);
}

static void the_client_has_power_too(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    write(d, 4, 2, 6);
    assert_int_equal(passthrough_set_power(d, 4), HV_E_INVALID);
    assert_int_equal(passthrough_set_power(d, 1), HV_OK);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403);
    assert_int_equal(passthrough_set_power(d, 0), HV_OK);
    assert_int_equal(f->flrs, 1);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0407);
    assert_int_equal(passthrough_set_power(d, 3), HV_OK);
    assert_int_equal(fake_pci_get(f, 4, 2), 0x0403);
    assert_int_equal(passthrough_set_power(d, 0), HV_OK);
    assert_int_equal(f->flrs, 2);
    assert_int_equal(config(d, 4, 2), 0);
    passthrough_unassign(d);
}

static void vanish(struct fake_pci *function)
{
    function->is_gone = true;
}

/* A device that is pulled while its guest resets it. */
static void it_may_vanish(void **state)
{
    struct passthrough_device *d = begin();

    (void)state;
    write(d, 4, 2, 6);
    f->on_reset = vanish;
    write(d, express + 8, 2, 0x8000);
    assert_int_equal(config(d, 0, 4), 0x56781234);
    write(d, 4, 2, 6);
    f->is_gone = false;
    f->on_reset = table_reset;
    write(d, 4, 2, 4);
    assert_int_equal(fake_pci_get(f, 4, 2) & 4, 0);
    f->is_gone = true;
    passthrough_unassign(d);
    f->is_gone = false;
    passthrough_unassign(assign(BDF, 0, &client));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PASS_TEST(assigned_device_is_reset_and_blocked),
        PASS_TEST(dma_goes_to_the_domain),
        PASS_TEST(dma_ends_before_its_mappings),
        PASS_TEST(a_thousand_times),
        PASS_TEST(failures_leave_nothing),
        PASS_TEST(a_failure_gives_it_back_to_the_host),
        PASS_TEST(but_not_what_a_guest_has_had),
        PASS_TEST(what_does_not_rest_keeps_the_iommu_on),
        PASS_TEST(without_iommu_it_is_refused),
        PASS_TEST(unsafe_works_and_warns),
        PASS_TEST(unsafe_confines_what_it_can),
        PASS_TEST(unsafe_is_not_needed),
        PASS_TEST(groups_have_one_client),
        PASS_TEST(not_with_what_the_host_uses),
        PASS_TEST(shared_names_have_one_domain),
        PASS_TEST(shared_names_stay_blocked),
        PASS_TEST(devices_that_can_not_be_reset_are_refused),
        PASS_TEST(malformed_devices_are_refused),
        PASS_TEST(nobody_has_the_iommus_registers),
        PASS_TEST(devices_that_change_are_refused),
        PASS_TEST(header_is_virtual),
        PASS_TEST(ports_that_are_nowhere_are_not_there),
        PASS_TEST(master_is_passed_on_and_decoding_is_not),
        PASS_TEST(errors_are_cleared_by_ones),
        PASS_TEST(writes_that_change_nothing_change_nothing),
        PASS_TEST(capabilities_are_chosen),
        PASS_TEST(hostile_writes),
        PASS_TEST(blocked_writes_are_told),
        PASS_TEST(bars_are_the_devices_but_for_the_tables),
        PASS_TEST(ranges_leave_the_tables_out),
        PASS_TEST(virtio_windows_lead_to_the_virtual_table),
        PASS_TEST(messages_come_as_the_guest_wrote_them),
        PASS_TEST(masked_ones_are_pending),
        PASS_TEST(msi_messages_have_entries_in_a_row),
        PASS_TEST(vectors_run_out),
        PASS_TEST(none_is_lost),
        PASS_TEST(changes_wait_for_what_is_being_sent),
        PASS_TEST(guests_can_reset),
        PASS_TEST(power_is_virtual),
        PASS_TEST(the_client_has_power_too),
        PASS_TEST(it_may_vanish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
