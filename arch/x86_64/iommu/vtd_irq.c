/* SPDX-License-Identifier: MIT */
/*
 * VT-d's interrupt remapping and posting (VT-d 5, 9.10). A unit has one table of entries; an entry takes only
 * interrupts of the one requester that it was set for, and remaps or posts them.
 */
#include "vtd.h"
#include <arch/posted.h>
#include <hv/base/assert.h>
#include <hv/base/log.h>

#define TABLE_PAGES   16u /* that follow one another: far more entries than hosts have vectors */
#define ENTRY_WORDS   2ull
#define TABLE_ENTRIES (TABLE_PAGES * HV_PAGE_SIZE / 16)
#define TABLE_S       11u /* 2^(S + 1) */
_Static_assert(TABLE_ENTRIES == 1u << (TABLE_S + 1), "the size that IRTA tells");

#define XAPIC_IDS 256u

uint32_t vtd_irq_entries(const struct hv_pci_address *requester)
{
    return vtd.remaps && vtd_unit_of(requester) ? TABLE_ENTRIES : 0;
}

uint32_t vtd_irq_table(const struct hv_pci_address *requester)
{
    const struct vtd_unit *u = vtd_unit_of(requester);

    return u ? (uint32_t)(u - vtd.units) : DMAR_UNITS;
}

enum hv_status vtd_irq_prepare(const struct hv_pci_address *requester)
{
    struct vtd_unit *u = vtd.remaps ? vtd_unit_of(requester) : NULL;

    return u ? vtd_table_make(&u->irqs, TABLE_PAGES) : HV_E_NOT_PRESENT;
}

bool vtd_irq_posts(const struct hv_pci_address *requester)
{
    const struct vtd_unit *u = vtd.remaps ? vtd_unit_of(requester) : NULL;

    return u && u->cap & VTD_CAP_PI;
}

/* ----------------------------------------------------------------------------------- entries */

/* The format of an entry that posts (VT-d 9.10); URG stays 0: see posted.c. */
static uint64_t posted_low(const struct iommu_irq_target *t)
{
    return VTD_IRTE_P | VTD_IRTE_IM | FIELD_PUT(VTD_IRTE_VECTOR, t->vector) |
           FIELD_PUT(VTD_IRTE_POSTED, (uint32_t)t->posted / POSTED_ALIGN);
}

static uint64_t entry_low(const struct iommu_irq_target *t)
{
    uint64_t dest = vtd.is_x2apic ? FIELD_PUT(VTD_IRTE_X2APIC, t->apic_id) : FIELD_PUT(VTD_IRTE_XAPIC, t->apic_id);

    if (!t->is_valid)
        return 0;
    if (t->posted)
        return posted_low(t);
    if (!vtd.is_x2apic && t->apic_id >= XAPIC_IDS) {
        hv_log(HV_LOG_ERROR, "VT-d: no interrupts for APIC ID 0x%x while the APICs are not in x2APIC mode", t->apic_id);
        return 0;
    }
    return VTD_IRTE_P | (t->is_level ? VTD_IRTE_LEVEL : 0) | FIELD_PUT(VTD_IRTE_VECTOR, t->vector) | dest;
}

/* All bits of the requester's ID have to be right. */
static uint64_t entry_high(const struct hv_pci_address *requester, const struct iommu_irq_target *t, uint64_t low)
{
    if (!low)
        return 0;
    return FIELD_PUT(VTD_IRTE_SVT, VTD_SVT_SID) | FIELD_PUT(VTD_IRTE_SID, requester->bdf) |
           FIELD_PUT(VTD_IRTE_POSTED_HIGH, t->posted >> 32);
}

/*
 * Both words at once: the unit sees the entry as it was or as it is, whichever formats these have, and drops nothing in
 * between (VT-d 5.2.5). What is not present is cached in caching mode only (VT-d 6.1): then there was something to
 * forget.
 */
static bool write_entry(uint64_t *entry, uint64_t low, uint64_t high)
{
    bool was_present = entry[0] & VTD_IRTE_P;

    cpu_write_pair(entry, low, high);
    vtd_written(entry, ENTRY_WORDS * sizeof(*entry));
    return was_present;
}

/* The unit's lock keeps two from writing one entry; the queue takes it again. */
void vtd_irq_set(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target)
{
    const struct vtd_request forget = {VTD_INV_IEC | VTD_INV_IEC_ONE | FIELD_PUT(VTD_INV_IEC_INDEX, entry), 0};
    struct vtd_unit *u = vtd_unit_of(requester);
    uint64_t low = entry_low(target), flags;
    bool was_present;

    HV_ASSERT(u && u->irqs.words && entry < TABLE_ENTRIES);
    flags = hv_spin_lock(&u->lock);
    was_present = write_entry(&u->irqs.words[entry * ENTRY_WORDS], low, entry_high(requester, target, low));
    hv_spin_unlock(&u->lock, flags);
    if (u->is_on && (was_present || u->cap & (VTD_CAP_CM | VTD_CAP_RWBF)))
        vtd_invalidate(u, &forget, 1);
}

/* ---------------------------------------------------------------------------------- messages */

/*
 * The index is the first entry's, and the low half of the data is added to it: so one form serves MSI-X, where each
 * message has data of its own, and MSI, where the device puts the message's number into the low bits (VT-d 5.1.2.2,
 * 5.1.5.2).
 */
void vtd_irq_message(const struct hv_pci_address *requester, uint32_t entry, uint32_t n, struct hv_msi_message *out)
{
    (void)requester;
    out->address = VTD_MSI_ADDRESS | VTD_MSG_FORMAT | VTD_MSG_SHV | FIELD_PUT(VTD_MSG_INDEX, entry) |
                   (entry & BIT32(15) ? VTD_MSG_INDEX_15 : 0);
    out->data = n;
}

enum hv_status vtd_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out)
{
    return dmar_ioapic(&vtd.dmar, ioapic_id, out) ? HV_OK : HV_E_NOT_FOUND;
}

/* The vector is what an EOI finds the pin by, the trigger mode what makes the IOAPIC wait for one (VT-d 5.1.5.1). */
uint64_t vtd_ioapic_entry(uint32_t entry, uint8_t pin, const struct iommu_irq_target *target)
{
    (void)pin;
    return FIELD_PUT(VTD_RTE_INDEX, entry) | VTD_RTE_FORMAT | (entry & BIT32(15) ? VTD_RTE_INDEX_15 : 0) |
           (target->is_level ? VTD_RTE_LEVEL : 0) | (target->is_low ? VTD_RTE_LOW : 0) |
           FIELD_PUT(VTD_RTE_VECTOR, target->vector);
}

/* --------------------------------------------------------------------------------- on and off */

enum hv_status vtd_irq_on(struct vtd_unit *u)
{
    if (!vtd.remaps)
        return HV_OK;
    if (vtd_table_make(&u->irqs, TABLE_PAGES) != HV_OK)
        return HV_E_NO_MEMORY;
    vtd_write64(u, VTD_IRTA, u->irqs.pa | TABLE_S | (vtd.is_x2apic ? VTD_IRTA_EIM : 0));
    return vtd_command(u, VTD_GCMD_SIRTP, true) && vtd_invalidate_all(u) ? HV_OK : HV_E_NOT_PRESENT;
}

void vtd_irq_off(struct vtd_unit *u)
{
    vtd_table_free(&u->irqs, TABLE_PAGES);
}
