/* SPDX-License-Identifier: MIT */
/* Remapping entries: runs of them in the tables, which requesters may share. */
#include "iommu_parts.h"
#include <hv/base/assert.h>
#include <hv/base/bitmap.h>

#define ENTRIES_MAX 65536u

/* A table of which some entries are somebody's. */
struct irq_table {
    struct irq_table *next;
    uint32_t number, entries, used;
    uint64_t map[];
};
static struct irq_table *tables;
static struct hv_spin set_lock; /* one entry is set at a time */

static size_t table_size(uint32_t entries)
{
    return sizeof(struct irq_table) + HV_BITMAP_WORDS(entries) * sizeof(uint64_t);
}

static uint32_t table_number(const struct hv_pci_address *requester)
{
    return iommu.backend->irq_table ? iommu.backend->irq_table(requester) : 0;
}

static struct irq_table **table_of(const struct hv_pci_address *requester)
{
    struct irq_table **at = &tables;
    uint32_t number = table_number(requester);

    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static enum hv_status table_get(const struct hv_pci_address *requester, struct irq_table **out)
{
    uint32_t entries = iommu.backend->irq_entries(requester);
    struct irq_table *t = *table_of(requester);

    if (entries > ENTRIES_MAX)
        entries = ENTRIES_MAX;
    if (!entries)
        return HV_E_NOT_PRESENT;
    if (!t) {
        t = hv_host_alloc(table_size(entries));
        if (!t)
            return HV_E_NO_MEMORY;
        t->number = table_number(requester);
        t->entries = entries;
        t->next = tables;
        tables = t;
    }
    *out = t;
    return HV_OK;
}

static void table_put(const struct hv_pci_address *requester)
{
    struct irq_table **at = table_of(requester), *t = *at;

    if (!t || t->used)
        return;
    *at = t->next;
    hv_host_free(t, table_size(t->entries));
}

static bool is_run_free(const struct irq_table *t, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        if (hv_bitmap_test(t->map, i))
            return false;
    }
    return true;
}

static bool take_run(struct irq_table *t, uint32_t count, uint32_t *first)
{
    for (uint32_t at = 0; count <= t->entries && at <= t->entries - count; at += count) {
        if (!is_run_free(t, at, count))
            continue;
        for (uint32_t i = 0; i < count; i++)
            hv_bitmap_set(t->map, at + i);
        t->used += count;
        *first = at;
        return true;
    }
    return false;
}

static enum hv_status alloc_of_table(const struct hv_pci_address *requester, uint32_t count, uint32_t *first)
{
    struct irq_table *t = NULL;
    enum hv_status st = table_get(requester, &t);

    if (st != HV_OK)
        return st;
    st = iommu.backend->irq_prepare(requester);
    if (st == HV_OK && !take_run(t, count, first))
        st = HV_E_NO_MEMORY;
    table_put(requester);
    return st;
}

static void free_of_table(const struct iommu_irq *irq)
{
    struct irq_table *t = *table_of(&irq->requester);

    HV_ASSERT(t && t->used >= irq->count);
    for (uint32_t i = 0; i < irq->count; i++)
        hv_bitmap_clear(t->map, irq->first + i);
    t->used -= irq->count;
    table_put(&irq->requester);
}

/* ------------------------------------------------------------------------------- the contract */

enum hv_status iommu_irq_alloc_locked(const struct hv_pci_address *requester, uint32_t count, struct iommu_irq *out)
{
    enum hv_status st;
    uint32_t first = 0;

    HV_ASSERT(count && (count & (count - 1)) == 0);
    if (!iommu.is_on || !iommu.remaps_interrupts)
        return HV_E_NOT_PRESENT;
    if (iommu.backend->irq_alloc)
        st = iommu.backend->irq_alloc(requester, count, &first);
    else
        st = alloc_of_table(requester, count, &first);
    if (st == HV_OK)
        *out = (struct iommu_irq){*requester, first, count};
    return st;
}

void iommu_irq_free_locked(struct iommu_irq *irq)
{
    static const struct iommu_irq_target block;

    for (uint32_t n = 0; n < irq->count; n++)
        iommu_irq_set(irq, n, &block);
    if (irq->count && iommu.backend->irq_free)
        iommu.backend->irq_free(&irq->requester, irq->first, irq->count);
    else if (irq->count)
        free_of_table(irq);
    *irq = (struct iommu_irq){0};
}

enum hv_status iommu_irq_alloc(const struct hv_pci_address *requester, uint32_t count, struct iommu_irq *out)
{
    enum hv_status st;

    hv_mutex_lock(&iommu.mutex);
    st = iommu_irq_alloc_locked(requester, count, out);
    hv_mutex_unlock(&iommu.mutex);
    return st;
}

void iommu_irq_free(struct iommu_irq *irq)
{
    hv_mutex_lock(&iommu.mutex);
    iommu_irq_free_locked(irq);
    hv_mutex_unlock(&iommu.mutex);
}

bool iommu_irq_posts(const struct hv_pci_address *requester)
{
    return iommu.is_on && iommu.remaps_interrupts && iommu.backend->irq_posts && iommu.backend->irq_posts(requester);
}

void iommu_irq_set(const struct iommu_irq *irq, uint32_t n, const struct iommu_irq_target *target)
{
    uint64_t flags;

    HV_ASSERT(n < irq->count && iommu.is_on);
    flags = hv_spin_lock(&set_lock);
    iommu.backend->irq_set(&irq->requester, irq->first + n, target);
    hv_spin_unlock(&set_lock, flags);
}

void iommu_irq_message_locked(const struct iommu_irq *irq, uint32_t n, struct hv_msi_message *out)
{
    HV_ASSERT(n < irq->count);
    iommu.backend->irq_message(&irq->requester, irq->first, n, out);
}

void iommu_irq_message(const struct iommu_irq *irq, uint32_t n, struct hv_msi_message *out)
{
    hv_mutex_lock(&iommu.mutex);
    iommu_irq_message_locked(irq, n, out);
    hv_mutex_unlock(&iommu.mutex);
}

enum hv_status iommu_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out)
{
    if (!iommu.backend || !iommu.backend->ioapic_requester)
        return HV_E_NOT_FOUND;
    return iommu.backend->ioapic_requester(ioapic_id, out);
}

uint64_t iommu_ioapic_entry(const struct iommu_irq *irq, uint8_t pin, const struct iommu_irq_target *target)
{
    return iommu.backend->ioapic_entry(irq->first, pin, target);
}

void iommu_irqs_off(void)
{
    HV_ASSERT(!tables);
}
