/* SPDX-License-Identifier: MIT */
/*
 * An IOMMU that is nothing but the contract of arch/iommu.h, in place of iommu.c: where each requester is, and what its
 * remapping entries do. Messages of entry n are written to STUB_IOMMU_ADDRESS with n as their data.
 */
#ifndef STUB_IOMMU_H
#define STUB_IOMMU_H

#include "unit.h"
#include <arch/iommu.h>
#include <stdlib.h>
#include <string.h>

#define STUB_IOMMU_ADDRESS 0xfee00010ull
#define STUB_IOMMU_ENTRIES 256u

enum stub_place { STUB_HOST, STUB_BLOCKED, STUB_DOMAIN };

static struct stub_iommu {
    struct hv_iommu_platform platform;
    unsigned users;
    bool fails_on;
    uint64_t attaches;
    uint64_t fails_at; /* the attach with this number: no memory. 0: none */
    uint8_t place[65536];
    struct iommu_domain *domain[65536];
    struct {
        bool is_used;
        struct hv_pci_address requester;
        struct iommu_irq_target target;
    } entries[STUB_IOMMU_ENTRIES];
    uint32_t used, limit;
    hv_hpa_t registers; /* a page of them; 0: none */
} stub_iommu;

static void stub_iommu_reset(void)
{
    memset(&stub_iommu, 0, sizeof(stub_iommu));
    stub_iommu.platform = (struct hv_iommu_platform){true, true, "stub", "", false};
    stub_iommu.limit = STUB_IOMMU_ENTRIES;
}

const struct hv_iommu_platform *hv_iommu_platform(void)
{
    return &stub_iommu.platform;
}

enum hv_status iommu_on(enum hv_status (*each)(iommu_found_fn *found))
{
    (void)each;
    assert_true(stub_iommu.platform.present);
    if (stub_iommu.fails_on)
        return HV_E_NOT_PRESENT;
    stub_iommu.users++;
    return HV_OK;
}

void iommu_off(void)
{
    assert_true(stub_iommu.users);
    stub_iommu.users--;
}

enum hv_status iommu_attach(const struct hv_pci_address *requester, struct iommu_domain *d)
{
    assert_true(stub_iommu.users);
    if (++stub_iommu.attaches == stub_iommu.fails_at)
        return HV_E_NO_MEMORY;
    stub_iommu.place[requester->bdf] = d ? STUB_DOMAIN : STUB_BLOCKED;
    stub_iommu.domain[requester->bdf] = d;
    return HV_OK;
}

void iommu_give_back(const struct hv_pci_address *requester)
{
    stub_iommu.place[requester->bdf] = STUB_HOST;
    stub_iommu.domain[requester->bdf] = NULL;
}

bool iommu_registers_at(hv_hpa_t pa, uint64_t size)
{
    return stub_iommu.registers && pa < stub_iommu.registers + HV_PAGE_SIZE && stub_iommu.registers < pa + size;
}

void iommu_set_bridges(iommu_bridge_fn *fn)
{
    (void)fn;
}

enum hv_status iommu_remap_msi(const struct hv_pci_address *device, const struct hv_pci_address *requester,
                               uint32_t index, uint32_t cpu, uint8_t vector, struct hv_msi_message *out)
{
    (void)device, (void)requester, (void)index, (void)cpu, (void)vector, (void)out;
    fail_msg("not a host's device");
    return HV_E_UNSUPPORTED;
}

static bool stub_iommu_run_is_free(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (first + i >= stub_iommu.limit || stub_iommu.entries[first + i].is_used)
            return false;
    return true;
}

enum hv_status iommu_irq_alloc(const struct hv_pci_address *requester, uint32_t count, struct iommu_irq *out)
{
    assert_true(stub_iommu.users && count && !(count & (count - 1)));
    for (uint32_t first = 0; first < stub_iommu.limit; first += count) {
        if (!stub_iommu_run_is_free(first, count))
            continue;
        for (uint32_t i = 0; i < count; i++) {
            stub_iommu.entries[first + i].is_used = true;
            stub_iommu.entries[first + i].requester = *requester;
            stub_iommu.used++;
        }
        *out = (struct iommu_irq){*requester, first, count};
        return HV_OK;
    }
    return HV_E_NO_MEMORY;
}

void iommu_irq_free(struct iommu_irq *irq)
{
    for (uint32_t i = 0; i < irq->count; i++) {
        assert_true(stub_iommu.entries[irq->first + i].is_used);
        memset(&stub_iommu.entries[irq->first + i], 0, sizeof(stub_iommu.entries[0]));
        stub_iommu.used--;
    }
    *irq = (struct iommu_irq){0};
}

bool iommu_irq_posts(const struct hv_pci_address *requester)
{
    (void)requester;
    return stub_iommu.platform.posts_interrupts;
}

void iommu_irq_set(const struct iommu_irq *irq, uint32_t n, const struct iommu_irq_target *target)
{
    assert_true(n < irq->count && stub_iommu.entries[irq->first + n].is_used);
    stub_iommu.entries[irq->first + n].target = *target;
}

void iommu_irq_message(const struct iommu_irq *irq, uint32_t n, struct hv_msi_message *out)
{
    assert_true(n < irq->count);
    *out = (struct hv_msi_message){STUB_IOMMU_ADDRESS, irq->first + n};
}

/* What a write by the device does: the host's vector, 0 when it is blocked. */
static uint32_t stub_iommu_vector(uint16_t bdf, uint64_t address, uint32_t data)
{
    if (address != STUB_IOMMU_ADDRESS || data >= STUB_IOMMU_ENTRIES || !stub_iommu.entries[data].target.is_valid ||
        stub_iommu.entries[data].requester.bdf != bdf)
        return 0;
    return stub_iommu.entries[data].target.vector;
}

#endif
