/* SPDX-License-Identifier: MIT */
/*
 * ACPI's IVRS table (AMD I/O Virtualization Technology 5.2): which units there are, whose requests they see and under
 * which ID, and which memory firmware keeps for devices. The table stays where it is; what is asked of it later is read
 * there.
 */
#ifndef IOMMU_IVRS_H
#define IOMMU_IVRS_H

#include <arch/iommu.h>

#define IVRS_UNITS 32

struct ivrs_unit {
    hv_hpa_t base;                  /* of its registers */
    struct hv_pci_address function; /* the unit itself */
    uint16_t capability;            /* where in its configuration space it is described */
    uint8_t type, flags;            /* of the block that counts */
    size_t entries, end;            /* where in the table its device entries are */
};

struct ivrs {
    const uint8_t *table;
    size_t size;
    bool is_left_on;     /* by firmware, to protect memory until somebody takes over */
    bool remaps_ioapics; /* it says which requester an IOAPIC is */
    uint32_t count;
    struct ivrs_unit units[IVRS_UNITS];
};

/* False: no table that one can go by; then reason says what is wrong with it. */
bool ivrs_parse(const void *table, size_t size, struct ivrs *out, char *reason, size_t reason_size);

/*
 * The unit that sees a requester's DMA and interrupts; NULL: none, and *alias stays. *alias is the ID that some of its
 * requests may have, or its own. Context: any but NMI.
 */
const struct ivrs_unit *ivrs_unit_of(const struct ivrs *t, const struct hv_pci_address *requester, uint16_t *alias);

/* The first ID from `from` on whose requests may have this alias; 0x10000: none. The alias itself is not one. */
uint32_t ivrs_next_aliased(const struct ivrs *t, uint16_t segment, uint16_t alias, uint32_t from);

/* The n-th range of memory that is reserved for the requester. False: no further one. */
bool ivrs_reserved(const struct ivrs *t, const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start,
                   uint64_t *size);

/* The requester that an IOAPIC is. False: the table does not say. */
bool ivrs_ioapic(const struct ivrs *t, uint8_t ioapic_id, struct hv_pci_address *out);

#endif
