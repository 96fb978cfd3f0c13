/* SPDX-License-Identifier: MIT */
/*
 * What the library does above the kinds of units: places of requesters, the host's wishes, remapping entries, faults.
 * The units here are scripted: they note what they are told, and fail when they are asked to.
 */
#include "unit.h"
#include <arch/iommu.h>
#include <fake_device.h>
#include <hv/base/bits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 64u
#define BDFS    32u /* that the tests use: bus 0, devices 0 to 3 */
#define LOST    31u /* no unit is responsible for it */
#define KEPT    30u /* firmware has memory for it */

static const struct npt_format unit_format = {
    .name = "scripted",
    .levels = 4,
    .max_leaf_level = 2,
    .present = 1,
    .address = BITS64(46, 12),
    .table = 3,
    .large = BIT64(7),
    .rights = {[NPT_READ] = 1, [NPT_READ | NPT_WRITE] = 3, [NPT_READ | NPT_EXECUTE] = 1, [NPT_RIGHTS] = 3},
    .rights_mask = 3,
};

/* The units' state, as hardware would have it. */
static struct {
    bool on;
    enum hv_status on_status;
    bool attached[BDFS];
    const struct iommu_domain *domain[BDFS];
    uint32_t flushes, attaches, polls, offs, prepared;
    struct iommu_irq_target entries[2][ENTRIES];
    uint32_t fail_attach; /* the n-th from now on */
    void *memory;         /* that it takes at the first attachment */
} unit;

static bool unit_probe(struct hv_iommu_platform *platform)
{
    platform->remaps_interrupts = true;
    return true;
}

static enum hv_status unit_on(void)
{
    if (unit.on_status == HV_OK)
        unit.on = true;
    return unit.on_status;
}

static void unit_off(void)
{
    unit.on = false;
    unit.offs++;
    memset(unit.attached, 0, sizeof(unit.attached));
    memset(unit.entries, 0, sizeof(unit.entries));
    if (unit.memory)
        hv_host_page_free(unit.memory);
    unit.memory = NULL;
}

static const struct npt_format *unit_get_format(void)
{
    return &unit_format;
}

static uint32_t unit_domain_ids(void)
{
    return 6;
}

static enum hv_status unit_attach(const struct hv_pci_address *requester, const struct iommu_domain *d)
{
    assert_true(requester->bdf < BDFS);
    unit.attaches++;
    if (requester->bdf == LOST)
        return HV_E_NOT_PRESENT;
    if (unit.fail_attach && --unit.fail_attach == 0)
        return HV_E_NO_MEMORY;
    if (!unit.memory)
        unit.memory = hv_host_page_alloc();
    if (!unit.memory)
        return HV_E_NO_MEMORY;
    unit.attached[requester->bdf] = true;
    unit.domain[requester->bdf] = d;
    return HV_OK;
}

static void unit_flush(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    assert_true(d->id && size && gpa + size > gpa);
    unit.flushes++;
}

static bool unit_reserved(const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    *start = 0x7000000;
    *size = 0x2000;
    return requester->bdf == KEPT && n == 0;
}

static uint32_t unit_irq_table(const struct hv_pci_address *requester)
{
    return requester->bdf & 1;
}

static uint32_t unit_irq_entries(const struct hv_pci_address *requester)
{
    return requester->bdf == LOST ? 0 : ENTRIES;
}

static enum hv_status unit_irq_prepare(const struct hv_pci_address *requester)
{
    (void)requester;
    unit.prepared++;
    return HV_OK;
}

static void unit_irq_set(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target)
{
    assert_true(entry < ENTRIES && unit.on);
    unit.entries[unit_irq_table(requester)][entry] = *target;
}

static void unit_irq_message(const struct hv_pci_address *requester, uint32_t entry, uint32_t n,
                             struct hv_msi_message *out)
{
    *out = (struct hv_msi_message){0xfee00010 | unit_irq_table(requester) << 16, entry + n};
}

static enum hv_status unit_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out)
{
    *out = (struct hv_pci_address){.bdf = 8};
    return ioapic_id == 2 ? HV_OK : HV_E_NOT_FOUND;
}

static uint64_t unit_ioapic_entry(uint32_t entry, uint8_t pin, const struct iommu_irq_target *target)
{
    return 1ull << 48 | entry | pin << 8 | (target->is_level ? 1u << 15 : 0);
}

static void unit_poll(void)
{
    unit.polls++;
}

static const struct iommu_backend unit_backend = {
    .name = "scripted",
    .probe = unit_probe,
    .on = unit_on,
    .off = unit_off,
    .format = unit_get_format,
    .domain_ids = unit_domain_ids,
    .attach = unit_attach,
    .flush = unit_flush,
    .reserved = unit_reserved,
    .irq_entries = unit_irq_entries,
    .irq_table = unit_irq_table,
    .irq_prepare = unit_irq_prepare,
    .irq_set = unit_irq_set,
    .irq_message = unit_irq_message,
    .ioapic_requester = unit_ioapic_requester,
    .ioapic_entry = unit_ioapic_entry,
    .poll = unit_poll,
};
const struct iommu_backend *const iommu_backends[] = {&unit_backend, NULL};

/* ------------------------------------------------------------------------------------- helpers */

static struct hv_pci_address at(uint16_t bdf)
{
    return (struct hv_pci_address){.bdf = bdf};
}

#define AT(bdf) (&(struct hv_pci_address){0, bdf})

static hv_hpa_t reached(uint16_t bdf, uint64_t address, unsigned rights)
{
    struct npt_leaf leaf;

    if (!unit.attached[bdf] || !unit.domain[bdf] || !npt_lookup(&unit.domain[bdf]->npt, address, &leaf))
        return HV_HPA_NONE;
    return (leaf.rights & rights) == rights ? leaf.pa : HV_HPA_NONE;
}

static bool is_blocked(uint16_t bdf)
{
    return !unit.attached[bdf] || !unit.domain[bdf];
}

static uint16_t found_first, found_end, found_blocked = BDFS;

static enum hv_status find_some(iommu_found_fn *found)
{
    enum hv_status st = HV_OK;

    for (uint16_t i = found_first; i < found_end && st == HV_OK; i++) {
        const struct hv_pci_address a = at(i);

        st = found(&a, i == found_blocked);
    }
    return st;
}

static enum hv_status on_with(uint16_t first, uint16_t end)
{
    found_first = first;
    found_end = end;
    return iommu_on(find_some);
}

static hv_hpa_t source(void *arg, uint64_t offset, uint64_t *size)
{
    (void)size;
    return *(hv_hpa_t *)arg + offset;
}

static void map(struct iommu_domain *d, hv_gpa_t gpa, hv_hpa_t pa, uint64_t size, unsigned rights)
{
    assert_int_equal(npt_map(&d->npt, gpa, size, source, &pa, rights), HV_OK);
}

static int setup(void **state)
{
    memset(&unit, 0, sizeof(unit));
    return unit_setup(state);
}

#define IOMMU_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)

/* ------------------------------------------------------------------------------ on and off */

static void the_platform(void **state)
{
    const struct hv_iommu_platform *p = hv_iommu_platform();

    (void)state;
    assert_true(p->present && p->remaps_interrupts);
    assert_string_equal(p->name, "scripted");
    assert_int_equal(hv_iommu_use(&(struct hv_iommu_ops){.name = "late"}), HV_E_STATE);
}

static void users(void **state)
{
    (void)state;
    assert_int_equal(on_with(0, 0), HV_OK);
    assert_int_equal(on_with(0, 0), HV_OK);
    iommu_off();
    assert_true(unit.on);
    iommu_off();
    assert_false(unit.on);
}

static void it_does_not_go_on(void **state)
{
    (void)state;
    fake_dma_range(0, HV_SIZE_1G);
    unit.on_status = HV_E_NOT_PRESENT;
    assert_int_equal(on_with(0, 3), HV_E_NOT_PRESENT);
    unit.on_status = HV_OK;
    unit.fail_attach = 2;
    assert_int_equal(on_with(0, 3), HV_E_NO_MEMORY);
    assert_int_equal(unit.offs, 2);
    fake_assert_clean();
    assert_int_equal(on_with(0, 3), HV_OK);
    iommu_off();
}

/* Each request for memory fails once: it works, or says so and leaves nothing behind. */
static void without_memory(void **state)
{
    enum hv_status st = HV_E_NO_MEMORY;

    (void)state;
    fake_dma_range(0x1000, 0x3000);
    for (uint64_t n = 1; st != HV_OK; n++) {
        struct iommu_domain *d = NULL;
        struct iommu_irq irq = {0};

        fake_fail_after(n);
        st = on_with(0, 2);
        if (st == HV_OK) {
            st = iommu_domain_create(&d);
            if (st == HV_OK)
                st = iommu_attach(AT(5), d); /* nobody has found it */
            if (st == HV_OK)
                st = iommu_irq_alloc(AT(5), 4, &irq);
            iommu_give_back(AT(5)); /* also when it has come no further than to the host */
            assert_true(is_blocked(5) || reached(5, 0x1000, NPT_READ) == 0x1000);
            iommu_irq_free(&irq);
            if (d)
                iommu_domain_destroy(d);
            iommu_off();
        }
        assert_true(st == HV_OK || st == HV_E_NO_MEMORY);
        fake_assert_clean();
        if (!fake_has_failed())
            break;
        st = HV_E_NO_MEMORY;
    }
    fake_fail_after(0);
}

/* ------------------------------------------------------------------------------------ the host */

static void the_host_reaches_what_it_wants(void **state)
{
    (void)state;
    fake_dma_range(0x200000, HV_SIZE_2M);
    fake_dma_range(0x5800, 0x1000); /* pages 5 and 6 */
    fake_dma_range(0x7000, 0x1000); /* touches them */
    assert_int_equal(on_with(0, 4), HV_OK);
    for (uint16_t i = 0; i < 4; i++) {
        assert_int_equal(reached(i, 0x3fffff, NPT_READ | NPT_WRITE), 0x3fffff);
        assert_int_equal(reached(i, 0x5000, NPT_WRITE), 0x5000);
        assert_int_equal(reached(i, 0x7fff, NPT_WRITE), 0x7fff);
        assert_int_equal(reached(i, 0x4fff, NPT_READ), HV_HPA_NONE);
        assert_int_equal(reached(i, 0x8000, NPT_READ), HV_HPA_NONE);
        assert_ptr_equal(unit.domain[i], unit.domain[0]);
    }
    assert_true(is_blocked(4)); /* not found */
    iommu_off();
}

static void the_host_wants_nothing(void **state)
{
    (void)state;
    assert_int_equal(on_with(0, 2), HV_OK);
    assert_true(unit.attached[0] && is_blocked(0) && is_blocked(1));
    iommu_off();
}

static void ranges_at_the_ends(void **state)
{
    (void)state;
    fake_dma_range(HV_HPA_NONE - 100, 50); /* no table of the unit reaches there */
    fake_dma_range((1ull << 47) - 0x1000, HV_SIZE_1G);
    fake_dma_range(0, 1);
    assert_int_equal(on_with(0, 1), HV_OK);
    assert_int_equal(reached(0, 0xfff, NPT_WRITE), 0xfff);
    assert_int_equal(reached(0, 0x1000, NPT_WRITE), HV_HPA_NONE);
    assert_true(fake_log_contains("do not reach all of"));
    iommu_off();
}

static void what_firmware_reserves(void **state)
{
    struct iommu_domain *d;

    (void)state;
    fake_dma_range(0, 0x1000);
    assert_int_equal(on_with(28, 32), HV_OK); /* LOST is no obstacle */
    assert_int_equal(reached(KEPT, 0x7001000, NPT_WRITE), 0x7001000);
    assert_int_equal(reached(KEPT, 0, NPT_WRITE), 0);
    assert_int_equal(reached(KEPT - 1, 0x7001000, NPT_WRITE), HV_HPA_NONE);
    assert_int_equal(iommu_domain_create(&d), HV_OK);
    assert_int_equal(iommu_attach(AT(KEPT), d), HV_E_UNSUPPORTED);
    assert_int_equal(iommu_attach(AT(KEPT), NULL), HV_E_UNSUPPORTED);
    assert_true(fake_log_contains("0000:00:03.6: firmware wants it to reach 0x7000000"));
    assert_int_equal(reached(KEPT, 0x7001000, NPT_WRITE), 0x7001000);
    assert_int_equal(iommu_attach(AT(LOST), d), HV_E_NOT_PRESENT);
    iommu_domain_destroy(d);
    iommu_off();
}

/* ------------------------------------------------------------------------------------- domains */

static void there_and_back(void **state)
{
    struct iommu_domain *a, *b;

    (void)state;
    fake_dma_range(0, 0x10000);
    assert_int_equal(on_with(0, 2), HV_OK);
    assert_int_equal(iommu_domain_create(&a), HV_OK);
    assert_int_equal(iommu_domain_create(&b), HV_OK);
    assert_true(a->id && b->id && a->id != b->id && a->id != unit.domain[0]->id);
    map(a, 0x1000, 0x9000, 0x1000, NPT_READ);
    map(b, 0x1000, 0x8000, 0x1000, NPT_READ | NPT_WRITE);
    assert_int_equal(iommu_attach(AT(0), NULL), HV_OK);
    assert_true(is_blocked(0));
    assert_int_equal(iommu_attach(AT(0), a), HV_OK);
    assert_int_equal(reached(0, 0x1234, NPT_READ), 0x9234);
    assert_int_equal(reached(0, 0x1234, NPT_WRITE), HV_HPA_NONE);
    assert_int_equal(iommu_attach(AT(0), b), HV_OK);
    assert_int_equal(reached(0, 0x1234, NPT_WRITE), 0x8234);
    unit.fail_attach = 1;
    assert_int_equal(iommu_attach(AT(0), a), HV_E_NO_MEMORY);
    assert_int_equal(reached(0, 0x1234, NPT_WRITE), 0x8234);
    iommu_domain_destroy(a);
    assert_int_equal(reached(1, 0x1234, NPT_WRITE), 0x1234);
    iommu_give_back(AT(0));
    assert_int_equal(reached(0, 0x1234, NPT_WRITE), 0x1234);
    iommu_domain_destroy(b);
    iommu_off();
}

static void ids_end(void **state)
{
    struct iommu_domain *d[5], *more;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(iommu_domain_create(&d[i]), HV_OK);
    assert_int_equal(iommu_domain_create(&more), HV_E_NO_MEMORY);
    iommu_domain_destroy(d[2]);
    assert_int_equal(iommu_domain_create(&d[2]), HV_OK);
    for (int i = 0; i < 5; i++)
        iommu_domain_destroy(d[i]);
}

static void places_before_on(void **state)
{
    struct iommu_domain *d;

    (void)state;
    fake_dma_range(0, 0x10000);
    assert_int_equal(iommu_domain_create(&d), HV_OK);
    map(d, 0x1000, 0x9000, 0x1000, NPT_READ);
    assert_int_equal(iommu_attach(AT(1), d), HV_OK);
    assert_int_equal(iommu_attach(AT(2), NULL), HV_OK);
    assert_int_equal(on_with(0, 4), HV_OK);
    assert_int_equal(reached(0, 0x1000, NPT_READ), 0x1000);
    assert_int_equal(reached(1, 0x1000, NPT_READ), 0x9000);
    assert_true(is_blocked(2));
    iommu_off();
    assert_int_equal(on_with(0, 4), HV_OK); /* places outlive it */
    assert_int_equal(reached(1, 0x1000, NPT_READ), 0x9000);
    iommu_give_back(AT(1));
    assert_int_equal(reached(1, 0x1000, NPT_READ), 0x1000);
    iommu_off();
    found_blocked = 3;
    assert_int_equal(on_with(0, 4), HV_OK);
    found_blocked = BDFS;
    assert_true(!is_blocked(2) && unit.attached[3] && is_blocked(3));
    iommu_give_back(AT(3));
    assert_int_equal(reached(3, 0x1000, NPT_READ), 0x1000);
    iommu_off();
    iommu_domain_destroy(d);
}

/* Of one that went while the units were off nothing is left in their tables, whose domain may be gone. */
static void given_back_while_off(void **state)
{
    struct iommu_domain *d;

    (void)state;
    assert_int_equal(iommu_domain_create(&d), HV_OK);
    assert_int_equal(iommu_attach(AT(1), d), HV_OK);
    assert_int_equal(iommu_attach(AT(2), NULL), HV_OK);
    iommu_give_back(AT(1));
    iommu_domain_destroy(d);
    assert_null(unit.domain[1]);
    assert_int_equal(on_with(2, 4), HV_OK); /* nobody names it */
    assert_true(is_blocked(1));
    iommu_off();
}

static void flushes(void **state)
{
    struct iommu_domain *d;
    uint32_t before;

    (void)state;
    assert_int_equal(iommu_domain_create(&d), HV_OK);
    iommu_flush(d, 0, 0x1000);
    assert_int_equal(unit.flushes, 0); /* nobody walks it */
    assert_int_equal(on_with(0, 0), HV_OK);
    before = unit.flushes;
    iommu_flush(d, 0, 0x1000);
    assert_int_equal(unit.flushes, before + 1);
    iommu_off();
    iommu_domain_destroy(d);
}

/* ---------------------------------------------------------------------------------- interrupts */

static void runs_of_entries(void **state)
{
    struct iommu_irq a, b, c, d, e, other;

    (void)state;
    assert_int_equal(iommu_irq_alloc(AT(0), 1, &a), HV_E_NOT_PRESENT); /* off */
    assert_int_equal(on_with(0, 0), HV_OK);
    assert_int_equal(iommu_irq_alloc(AT(LOST), 1, &a), HV_E_NOT_PRESENT);
    assert_int_equal(iommu_irq_alloc(AT(0), 1, &a), HV_OK);
    assert_int_equal(iommu_irq_alloc(AT(2), 8, &b), HV_OK); /* the same table */
    assert_int_equal(iommu_irq_alloc(AT(1), 8, &other), HV_OK);
    assert_int_equal(iommu_irq_alloc(AT(0), 32, &c), HV_OK);
    assert_int_equal(iommu_irq_alloc(AT(0), 4, &d), HV_OK);
    assert_int_equal(a.first, 0);
    assert_int_equal(b.first, 8);
    assert_int_equal(other.first, 0);
    assert_int_equal(c.first, 32);
    assert_int_equal(d.first, 4);
    assert_int_equal(iommu_irq_alloc(AT(0), 32, &e), HV_E_NO_MEMORY);
    assert_int_equal(iommu_irq_alloc(AT(0), 128, &e), HV_E_NO_MEMORY);
    iommu_irq_free(&b);
    assert_int_equal(b.count, 0);
    iommu_irq_free(&b); /* all zero: nothing happens */
    assert_int_equal(iommu_irq_alloc(AT(0), 8, &b), HV_OK);
    assert_int_equal(b.first, 8);
    iommu_irq_free(&a), iommu_irq_free(&b), iommu_irq_free(&c), iommu_irq_free(&d), iommu_irq_free(&other);
    iommu_off();
}

static void targets(void **state)
{
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x51, .apic_id = 3};
    struct hv_msi_message message;
    struct iommu_irq irq, lower;

    (void)state;
    assert_int_equal(on_with(0, 0), HV_OK);
    assert_int_equal(iommu_irq_alloc(AT(1), 2, &lower), HV_OK);
    assert_int_equal(iommu_irq_alloc(AT(1), 2, &irq), HV_OK);
    iommu_irq_set(&irq, 1, &target);
    assert_int_equal(unit.entries[1][3].vector, 0x51);
    assert_int_equal(unit.entries[1][3].apic_id, 3);
    assert_false(unit.entries[1][2].is_valid);
    iommu_irq_message(&irq, 1, &message);
    assert_int_equal(message.address, 0xfee10010);
    assert_int_equal(message.data, 3);
    iommu_irq_free(&irq);
    assert_false(unit.entries[1][3].is_valid);
    iommu_irq_free(&lower);
    iommu_off();
}

static unsigned changes;

static void count_changes(void *arg)
{
    assert_ptr_equal(arg, &changes);
    changes++;
}

static void the_hosts_messages(void **state)
{
    struct hv_msi_message m;

    (void)state;
    fake_set_cpus(2);
    changes = 0;
    hv_remap_on_change(count_changes, &changes);
    assert_int_equal(iommu_remap_msi(AT(2), AT(2), 0, 1, 0x41, &m), HV_OK); /* not remapped */
    assert_int_equal(m.address, 0xfee00000 | FAKE_APIC_ID(1) << 12);
    assert_int_equal(m.data, 0x41);
    assert_int_equal(iommu_remap_msi(AT(2), AT(2), 0, 2, 0x41, &m), HV_E_INVALID);
    assert_int_equal(iommu_remap_msi(AT(2), AT(2), 0, 1, 15, &m), HV_E_INVALID);
    assert_int_equal(on_with(0, 0), HV_OK);
    assert_int_equal(changes, 1);
    assert_int_equal(iommu_remap_msi(AT(2), AT(2), 0, 1, 0x41, &m), HV_OK);
    assert_int_equal(unit.entries[0][0].vector, 0x41);
    assert_int_equal(unit.entries[0][0].apic_id, FAKE_APIC_ID(1));
    assert_int_equal(m.data, 0);
    assert_int_equal(iommu_remap_msi(AT(2), AT(2), 7, 0, 0x42, &m), HV_OK);
    assert_int_equal(m.data, 1);
    assert_int_equal(iommu_remap_msi(AT(2), AT(2), 0, 0, 0x43, &m), HV_OK); /* another target */
    assert_int_equal(m.data, 0);
    assert_int_equal(unit.entries[0][0].apic_id, FAKE_APIC_ID(0));
    hv_remap_msi_free(AT(2), 0);
    hv_remap_msi_free(AT(2), 0);
    assert_false(unit.entries[0][0].is_valid);
    assert_int_equal(unit.entries[0][1].vector, 0x42);
    iommu_off(); /* takes the other one away */
    assert_int_equal(changes, 2);
    hv_remap_on_change(NULL, NULL);
}

static void the_hosts_pins(void **state)
{
    uint64_t entry;

    (void)state;
    assert_int_equal(hv_remap_ioapic(2, 9, 0, 0x41, true, true, &entry), HV_OK);
    assert_int_equal(entry, (uint64_t)FAKE_APIC_ID(0) << 56 | 1 << 15 | 1 << 13 | 0x41);
    assert_int_equal(hv_remap_ioapic(2, 9, 1, 0x41, true, true, &entry), HV_E_INVALID);
    assert_int_equal(on_with(0, 0), HV_OK);
    assert_int_equal(hv_remap_ioapic(2, 9, 0, 0x41, true, false, &entry), HV_OK);
    assert_int_equal(entry, 1ull << 48 | 9 << 8 | 1 << 15);
    assert_true(unit.entries[0][0].is_level);
    assert_int_equal(hv_remap_ioapic(2, 4, 0, 0x44, false, false, &entry), HV_OK);
    assert_int_equal(unit.entries[0][1].vector, 0x44);
    assert_int_equal(hv_remap_ioapic(3, 4, 0, 0x44, false, false, &entry), HV_E_NOT_FOUND);
    iommu_off();
}

/* -------------------------------------------------------------------------------------- faults */

static unsigned told;

static void count_faults(const struct iommu_fault *fault, void *arg)
{
    assert_int_equal(fault->code, 5);
    (*(unsigned *)arg)++;
}

static void report(uint16_t bdf, enum iommu_fault_kind kind, uint64_t address)
{
    iommu_report(&(struct iommu_fault){{1, bdf}, kind, address, 5, "no rights"});
}

static void faults(void **state)
{
    uint64_t lines = fake_log_count(HV_LOG_WARNING);

    (void)state;
    told = 0;
    iommu_on_fault(count_faults, &told);
    report(HV_PCI_BDF(3, 4, 5), IOMMU_FAULT_WRITE, 0xfee00000);
    assert_true(fake_log_contains("0001:03:04.5: DMA write to 0xfee00000 blocked: no rights"));
    for (int i = 0; i < 1000; i++)
        report(HV_PCI_BDF(3, 4, 5), IOMMU_FAULT_READ, 0x1000);
    assert_int_equal(fake_log_count(HV_LOG_WARNING) - lines, 5);
    report(HV_PCI_BDF(3, 4, 6), IOMMU_FAULT_INTERRUPT, 17); /* another one's are shown */
    assert_true(fake_log_contains("0001:03:04.6: interrupt 0x11 blocked"));
    fake_advance_time(1000000000);
    report(HV_PCI_BDF(3, 4, 5), IOMMU_FAULT_READ, 0x1000);
    assert_true(fake_log_contains("0001:03:04.5: 996 more blocked accesses were not shown"));
    assert_int_equal(told, 1003);
    iommu_on_fault(NULL, NULL);
    report(HV_PCI_BDF(3, 4, 6), IOMMU_FAULT_READ, 1);
    assert_int_equal(told, 1003);
    for (uint16_t bdf = 0; bdf < 100; bdf++)
        report(bdf, IOMMU_FAULT_READ, 1); /* more than are remembered */
    assert_true(fake_log_contains("0001:00:0c.3: DMA read of 0x1 blocked"));
}

/* A device can have all the names of its bus. */
static void faults_of_many(void **state)
{
    uint64_t lines = fake_log_count(HV_LOG_WARNING);

    (void)state;
    fake_advance_time(3000000000);
    for (uint32_t i = 0; i < 2560; i++)
        report((uint16_t)(i % 256), IOMMU_FAULT_READ, 1);
    assert_in_range(fake_log_count(HV_LOG_WARNING) - lines, 100, 128);
    fake_advance_time(1000000000);
    report(HV_PCI_BDF(3, 4, 5), IOMMU_FAULT_READ, 1); /* others are heard again */
    assert_true(fake_log_contains("0001:03:04.5: DMA read of 0x1 blocked"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IOMMU_TEST(the_platform),
        IOMMU_TEST(users),
        IOMMU_TEST(it_does_not_go_on),
        IOMMU_TEST(without_memory),
        IOMMU_TEST(the_host_reaches_what_it_wants),
        IOMMU_TEST(the_host_wants_nothing),
        IOMMU_TEST(ranges_at_the_ends),
        IOMMU_TEST(what_firmware_reserves),
        IOMMU_TEST(there_and_back),
        IOMMU_TEST(ids_end),
        IOMMU_TEST(places_before_on),
        IOMMU_TEST(given_back_while_off),
        IOMMU_TEST(flushes),
        IOMMU_TEST(runs_of_entries),
        IOMMU_TEST(targets),
        IOMMU_TEST(the_hosts_messages),
        IOMMU_TEST(the_hosts_pins),
        IOMMU_TEST(faults),
        IOMMU_TEST(faults_of_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
