/* SPDX-License-Identifier: MIT */
/*
 * ACPI's DMAR table (VT-d 8): which remapping units there are, whose requests they see, and which memory firmware keeps
 * for devices. The table stays where it is; what is asked of it later is read there.
 */
#ifndef IOMMU_DMAR_H
#define IOMMU_DMAR_H

#include <arch/iommu.h>

#define DMAR_UNITS 32

struct dmar_unit {
    hv_hpa_t base; /* of its registers */
    uint16_t segment;
    bool includes_all;  /* what no other unit of the segment has */
    size_t scopes, end; /* where in the table its device scopes are */
};

struct dmar {
    const uint8_t *table;
    size_t size;
    unsigned width; /* of physical addresses that DMA can reach */
    bool remaps_interrupts;
    uint32_t count;
    struct dmar_unit units[DMAR_UNITS];
};

/* False: no table that one can go by; then reason says what is wrong with it. */
bool dmar_parse(const void *table, size_t size, struct dmar *out, char *reason, size_t reason_size);

/* The unit that sees a requester's DMA and interrupts; NULL: none. Context: any but NMI. */
const struct dmar_unit *dmar_unit_of(const struct dmar *d, const struct hv_pci_address *requester);

/* The n-th range of memory that is reserved for the requester. False: no further one. */
bool dmar_reserved(const struct dmar *d, const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start,
                   uint64_t *size);

/* The requester that an IOAPIC is. False: the table does not say. */
bool dmar_ioapic(const struct dmar *d, uint8_t ioapic_id, struct hv_pci_address *out);

#endif
