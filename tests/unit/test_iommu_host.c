/* SPDX-License-Identifier: MIT */
/* An IOMMU that the host manages: what it is told is what the library's tables say. */
#include "../../arch/x86_64/iommu/iommu_parts.h"
#include "unit.h"
#include <arch/iommu.h>
#include <fake_device.h>
#include <hv/base/bits.h>
#include <string.h>

#define PAGES   1024u /* of a domain, from address 0 on, that the host here can map */
#define DOMAINS 2u

static struct hosts_domain {
    bool is_used;
    hv_hpa_t page[PAGES]; /* 0: none */
    bool is_writable[PAGES];
} domains[DOMAINS];

static struct {
    struct hosts_domain *at; /* where the one requester that there is goes */
    bool is_hosts;
    uint32_t maps, irqs;
    uint8_t vector;
    uint32_t apic_id;
} host;

/* Calls exclude each other. */
static void assert_alone(void)
{
    assert_int_not_equal(iommu.mutex.state, 0);
}

static void *domain_create(void)
{
    assert_alone();
    for (struct hosts_domain *d = domains; d < domains + DOMAINS; d++) {
        if (!d->is_used) {
            *d = (struct hosts_domain){.is_used = true};
            return d;
        }
    }
    return NULL;
}

static void domain_destroy(void *domain)
{
    struct hosts_domain *d = domain;

    assert_alone();
    assert_true(d->is_used && d != host.at);
    d->is_used = false;
}

static bool map(void *domain, hv_gpa_t gpa, hv_hpa_t pa, uint64_t size, bool is_writable)
{
    struct hosts_domain *d = domain;

    assert_alone();
    assert_true(d->is_used && (gpa | pa | size) % HV_PAGE_SIZE == 0 && size);
    host.maps++;
    if (gpa + size > PAGES * HV_PAGE_SIZE)
        return false;
    for (uint64_t i = 0; i < size; i += HV_PAGE_SIZE) {
        assert_int_equal(d->page[(gpa + i) / HV_PAGE_SIZE], 0);
        d->page[(gpa + i) / HV_PAGE_SIZE] = pa + i;
        d->is_writable[(gpa + i) / HV_PAGE_SIZE] = is_writable;
    }
    return true;
}

static void unmap(void *domain, hv_gpa_t gpa, uint64_t size)
{
    struct hosts_domain *d = domain;

    assert_alone();
    for (uint64_t page = gpa / HV_PAGE_SIZE; page < PAGES && page < (gpa + size) / HV_PAGE_SIZE; page++)
        d->page[page] = 0;
}

static enum hv_status attach(const struct hv_pci_address *requester, void *domain)
{
    assert_alone();
    if (requester->bdf != 8)
        return HV_E_NOT_PRESENT;
    host.at = domain;
    host.is_hosts = false;
    return HV_OK;
}

static void give_back(const struct hv_pci_address *requester)
{
    assert_alone();
    assert_int_equal(requester->bdf, 8);
    host.at = NULL;
    host.is_hosts = true;
}

static enum hv_status irq_alloc(const struct hv_pci_address *requester, uint32_t count, uint32_t *first)
{
    (void)requester;
    assert_alone();
    if (count > 16)
        return HV_E_NO_MEMORY;
    host.irqs += count;
    *first = 32;
    return HV_OK;
}

static void irq_free(const struct hv_pci_address *requester, uint32_t first, uint32_t count)
{
    (void)requester;
    assert_alone();
    assert_int_equal(first, 32);
    host.irqs -= count;
}

static void irq_set(const struct hv_pci_address *requester, uint32_t entry, uint8_t vector, uint32_t apic_id)
{
    (void)requester;
    assert_true(entry >= 32 && entry < 36);
    host.vector = vector;
    host.apic_id = apic_id;
}

static void irq_message(const struct hv_pci_address *requester, uint32_t first, uint32_t n, struct hv_msi_message *out)
{
    (void)requester;
    assert_alone();
    *out = (struct hv_msi_message){0xfee00000, first + n};
}

static struct hv_iommu_ops ops = {
    .name = "my own",
    .remaps_interrupts = true,
    .domain_create = domain_create,
    .domain_destroy = domain_destroy,
    .map = map,
    .unmap = unmap,
    .attach = attach,
    .give_back = give_back,
    .irq_alloc = irq_alloc,
    .irq_free = irq_free,
    .irq_set = irq_set,
    .irq_message = irq_message,
};

#define DEVICE (&(struct hv_pci_address){0, 8})

static hv_hpa_t same(void *arg, uint64_t offset, uint64_t *size)
{
    (void)size;
    return *(hv_hpa_t *)arg + offset;
}

static void map_pages(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights)
{
    assert_int_equal(npt_map(&d->npt, gpa, size, same, &pa, rights), HV_OK);
}

static void change(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights)
{
    if (pa)
        map_pages(d, gpa, size, pa, rights);
    else
        assert_int_equal(npt_unmap(&d->npt, gpa, size), HV_OK);
    iommu_flush(d, gpa, size);
    npt_reap(&d->npt);
}

/* The first thing that the library hears. */
static void use(void **state)
{
    struct hv_iommu_ops without = ops;

    (void)state;
    assert_int_equal(hv_iommu_use(NULL), HV_E_INVALID);
    without.irq_set = NULL;
    assert_int_equal(hv_iommu_use(&without), HV_E_INVALID);
    without = ops;
    without.unmap = NULL;
    assert_int_equal(hv_iommu_use(&without), HV_E_INVALID);
    assert_int_equal(hv_iommu_use(&ops), HV_OK);
    assert_true(hv_iommu_platform()->present && hv_iommu_platform()->remaps_interrupts);
    assert_string_equal(hv_iommu_platform()->name, "my own");
    assert_int_equal(hv_iommu_use(&ops), HV_E_STATE);
}

static void mappings(void **state)
{
    struct iommu_domain *d;
    struct hosts_domain *h;

    (void)state;
    assert_int_equal(iommu_on(NULL), HV_OK);
    assert_int_equal(iommu_domain_create(&d), HV_OK);
    map_pages(d, 0x1000, 0x3000, 0x9000, NPT_READ | NPT_WRITE); /* nobody uses it: no flush */
    assert_int_equal(iommu_attach(DEVICE, d), HV_OK);
    h = host.at;
    assert_non_null(h);
    change(d, HV_SIZE_2M, HV_SIZE_2M, HV_SIZE_1G, NPT_RIGHTS); /* one leaf */
    assert_int_equal(h->page[1], 0x9000);
    assert_int_equal(h->page[3], 0xb000);
    assert_int_equal(h->page[0] | h->page[4], 0);
    assert_int_equal(h->page[513], HV_SIZE_1G + 0x1000);
    change(d, 0x2000, 0x1000, 0x55000, NPT_READ);
    assert_int_equal(h->page[2], 0x55000);
    assert_true(h->is_writable[1] && !h->is_writable[2] && h->is_writable[3]);
    change(d, HV_SIZE_2M + 0x1000, 0x1000, 0, 0); /* out of the leaf */
    assert_int_equal(h->page[513], 0);
    assert_int_equal(h->page[512], HV_SIZE_1G);
    assert_int_equal(h->page[1023], HV_SIZE_1G + 511 * HV_PAGE_SIZE);
    iommu_flush(d, 0, ~0ull);
    assert_int_equal(h->page[3], 0xb000);
    assert_int_equal(h->page[514], HV_SIZE_1G + 0x2000);
    change(d, 1ull << 40, 0x1000, 0x1000, NPT_READ); /* the host can not */
    assert_true(fake_log_contains("can not be mapped for its devices"));
    iommu_give_back(DEVICE);
    assert_true(host.is_hosts);
    iommu_domain_destroy(d);
    iommu_off();
}

static void refusals(void **state)
{
    struct iommu_domain *d[2], *more;

    (void)state;
    assert_int_equal(iommu_on(NULL), HV_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(iommu_domain_create(&d[i]), HV_OK);
    assert_int_equal(iommu_domain_create(&more), HV_E_NO_MEMORY);
    assert_int_equal(iommu_attach(&(struct hv_pci_address){0, 9}, d[0]), HV_E_NOT_PRESENT);
    assert_int_equal(iommu_attach(DEVICE, d[0]), HV_OK);
    assert_int_equal(iommu_attach(DEVICE, NULL), HV_OK);
    assert_true(!host.at && !host.is_hosts);
    iommu_give_back(DEVICE);
    iommu_off();
    assert_int_equal(iommu_attach(DEVICE, d[1]), HV_OK); /* also before it is on */
    iommu_give_back(DEVICE);
    assert_true(host.is_hosts);
    for (int i = 0; i < 2; i++)
        iommu_domain_destroy(d[i]);
}

static void interrupts(void **state)
{
    const struct iommu_irq_target target = {.is_valid = true, .vector = 0x61, .apic_id = 3};
    struct hv_msi_message m;
    struct iommu_irq irq;

    (void)state;
    assert_int_equal(iommu_on(NULL), HV_OK);
    assert_int_equal(iommu_irq_alloc(DEVICE, 32, &irq), HV_E_NO_MEMORY);
    assert_int_equal(iommu_irq_alloc(DEVICE, 4, &irq), HV_OK);
    iommu_irq_set(&irq, 2, &target);
    assert_int_equal(host.vector, 0x61);
    assert_int_equal(host.apic_id, 3);
    iommu_irq_message(&irq, 2, &m);
    assert_int_equal(m.data, 34);
    iommu_irq_free(&irq);
    assert_int_equal(host.vector, 0);
    assert_int_equal(host.irqs, 0);
    /* the host's own interrupts are its own affair */
    assert_int_equal(iommu_remap_msi(DEVICE, DEVICE, 0, 0, 0x41, &m), HV_OK);
    assert_int_equal(m.data, 0x41);
    iommu_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(use), UNIT_TEST(mappings), UNIT_TEST(refusals), UNIT_TEST(interrupts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
