/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi's interrupt remapping (AMD-IOV 2.2.5). Each requester has a table of entries of its own, in which what it
 * sends in the place of vector and delivery mode is the index. Interrupts of other delivery modes (NMI, INIT, ExtINT,
 * the legacy lines, SMI) are blocked, for whoever it is.
 */
#include "amdvi.h"
#include <hv/base/assert.h>
#include <hv/base/log.h>

/* Delivery mode is part of the index: only with 0 and 1 in it interrupts are remapped. */
#define TABLE_LOG     9u
#define TABLE_ENTRIES (1u << TABLE_LOG)
#define GA_WORDS      2ull

static uint32_t table_pages(void)
{
    return amdvi.has_ga ? TABLE_ENTRIES * GA_WORDS * sizeof(uint64_t) / HV_PAGE_SIZE : 1;
}

static bool has_table(uint64_t word)
{
    return word & AMDVI_DTE_IV && FIELD_GET(AMDVI_DTE_CONTROL, word) == AMDVI_DTE_REMAP;
}

static void *table_of(uint64_t word)
{
    return hv_host_phys_to_virt(word & AMDVI_DTE_TABLE);
}

/* A unit's own interrupts are no requester's: they pass. Without interrupt remapping all do. */
uint64_t amdvi_irq_blocked(const struct hv_pci_address *requester)
{
    if (!amdvi.remaps)
        return 0;
    for (struct amdvi_unit *u = amdvi.units; u < amdvi.units + amdvi.ivrs.count; u++)
        if (u->acpi->function.segment == requester->segment && u->acpi->function.bdf == requester->bdf)
            return AMDVI_DTE_IV | FIELD_PUT(AMDVI_DTE_CONTROL, AMDVI_DTE_PASS);
    return AMDVI_DTE_IV;
}

uint32_t amdvi_irq_entries(const struct hv_pci_address *requester)
{
    uint16_t alias = requester->bdf;

    return amdvi.remaps && amdvi_unit_of(requester, &alias) ? TABLE_ENTRIES : 0;
}

/* --------------------------------------------------------------------------------- tables */

static void forget(struct amdvi_unit *u, uint16_t device)
{
    const struct amdvi_command commands[] = {
        {FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_DEVICE) | FIELD_PUT(AMDVI_CMD_DEVICE, device), 0},
        {FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_INTERRUPTS) | FIELD_PUT(AMDVI_CMD_DEVICE, device), 0},
    };

    if (u->is_on)
        amdvi_invalidate(u, commands, ARRAY_COUNT(commands));
}

static void set_table(struct amdvi_unit *u, uint16_t device, uint64_t word)
{
    uint64_t *dte = amdvi_dte(u->acpi->function.segment, device);

    if (dte[2] == word)
        return;
    __atomic_store_n(&dte[2], word, __ATOMIC_RELEASE);
    forget(u, device);
}

/*
 * Requesters whose interrupts may come under one ID are not to be told apart: they have the table of that ID, all of
 * them.
 */
uint32_t amdvi_irq_table(const struct hv_pci_address *requester)
{
    uint16_t alias = requester->bdf;

    amdvi_unit_of(requester, &alias);
    return (uint32_t)requester->segment << 16 | alias;
}

enum hv_status amdvi_irq_prepare(const struct hv_pci_address *requester)
{
    uint16_t alias = requester->bdf, segment = requester->segment;
    struct amdvi_unit *u = amdvi.remaps ? amdvi_unit_of(requester, &alias) : NULL;
    struct amdvi_table table = {0};

    if (!u)
        return HV_E_NOT_PRESENT;
    if (amdvi_devices_make(segment) != HV_OK)
        return HV_E_NO_MEMORY;
    if (!has_table(amdvi_dte(segment, alias)[2])) {
        if (amdvi_table_make(&table, table_pages()) != HV_OK)
            return HV_E_NO_MEMORY;
        set_table(u, alias,
                  AMDVI_DTE_IV | FIELD_PUT(AMDVI_DTE_LENGTH, TABLE_LOG) | table.pa |
                      FIELD_PUT(AMDVI_DTE_CONTROL, AMDVI_DTE_REMAP));
    }
    set_table(u, requester->bdf, amdvi_dte(segment, alias)[2]);
    return HV_OK;
}

static void free_table(uint16_t segment, uint16_t device)
{
    const struct hv_pci_address requester = {segment, device};
    uint64_t *dte = amdvi_dte(segment, device);
    struct amdvi_table table = {0};
    uint16_t alias = device;

    if (!has_table(dte[2]))
        return;
    amdvi_unit_of(&requester, &alias);
    if (alias == device)
        table.words = table_of(dte[2]);
    dte[2] = 0;
    amdvi_table_free(&table, table_pages());
}

void amdvi_irq_off(uint16_t segment)
{
    for (uint32_t id = 0; id < AMDVI_DEVICES; id++)
        free_table(segment, (uint16_t)id);
}

/* ----------------------------------------------------------------------------------- entries */

static uint64_t entry_flags(const struct iommu_irq_target *t)
{
    return t->is_valid ? AMDVI_IRTE_ON | (t->is_level ? AMDVI_IRTE_EOI : 0) : 0;
}

/* 128 bits are written as one, so that an interrupt that comes meanwhile goes by the old entry or by the new one. */
static void write_ga(uint64_t *entry, const struct iommu_irq_target *t)
{
    uint64_t low = 0, high = 0;

    if (t->is_valid) {
        low = entry_flags(t) | FIELD_PUT(AMDVI_GA_DEST, t->apic_id);
        high = FIELD_PUT(AMDVI_GA_VECTOR, t->vector) | FIELD_PUT(AMDVI_GA_DEST_UPPER, t->apic_id >> 24);
    }
    cpu_write_pair(entry, low, high);
}

static void write_legacy(uint32_t *entry, const struct iommu_irq_target *t)
{
    uint64_t word = 0;

    if (t->is_valid)
        word = entry_flags(t) | FIELD_PUT(AMDVI_IRTE_DEST, t->apic_id) | FIELD_PUT(AMDVI_IRTE_VECTOR, t->vector);
    __atomic_store_n(entry, (uint32_t)word, __ATOMIC_RELEASE);
}

static struct iommu_irq_target reachable(const struct iommu_irq_target *t)
{
    if (amdvi.is_x2apic || t->apic_id < AMDVI_XAPIC_DESTS)
        return *t;
    hv_log(HV_LOG_ERROR, "AMD-Vi: no interrupts for APIC ID 0x%x while the APICs are not in x2APIC mode", t->apic_id);
    return (struct iommu_irq_target){0};
}

static void forget_entries(struct amdvi_unit *u, uint16_t device, uint16_t alias)
{
    const struct amdvi_command commands[] = {
        {FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_INTERRUPTS) | FIELD_PUT(AMDVI_CMD_DEVICE, device), 0},
        {FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_INTERRUPTS) | FIELD_PUT(AMDVI_CMD_DEVICE, alias), 0},
    };

    if (u->is_on)
        amdvi_invalidate(u, commands, device == alias ? 1 : 2);
}

void amdvi_irq_set(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target)
{
    const struct iommu_irq_target t = reachable(target);
    uint16_t alias = requester->bdf;
    struct amdvi_unit *u = amdvi_unit_of(requester, &alias);
    uint64_t *dte = u ? amdvi_dte(requester->segment, requester->bdf) : NULL;

    HV_ASSERT(dte && has_table(dte[2]) && entry < TABLE_ENTRIES);
    if (amdvi.has_ga)
        write_ga((uint64_t *)table_of(dte[2]) + entry * GA_WORDS, &t);
    else
        write_legacy((uint32_t *)table_of(dte[2]) + entry, &t);
    forget_entries(u, requester->bdf, alias);
}

/* ---------------------------------------------------------------------------------- messages */

void amdvi_irq_message(const struct hv_pci_address *requester, uint32_t entry, uint32_t n, struct hv_msi_message *out)
{
    (void)requester;
    out->address = AMDVI_MSI_ADDRESS;
    out->data = entry + n;
}

enum hv_status amdvi_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out)
{
    return ivrs_ioapic(&amdvi.ivrs, ioapic_id, out) ? HV_OK : HV_E_NOT_FOUND;
}

/* An EOI that is broadcast finds the pin only if the index's low byte is the vector. */
uint64_t amdvi_ioapic_entry(uint32_t entry, uint8_t pin, const struct iommu_irq_target *target)
{
    (void)pin;
    return FIELD_PUT(AMDVI_RTE_INDEX, entry) | (target->is_level ? AMDVI_RTE_LEVEL : 0) |
           (target->is_low ? AMDVI_RTE_LOW : 0);
}
