/* SPDX-License-Identifier: MIT */
/* ACPI tables: signature, length and checksum have been verified when one is handed out. */
#ifndef KERNEL_ACPI_H
#define KERNEL_ACPI_H

#include <stdint.h>

struct acpi_header {
    char signature[4];
    uint32_t length; /* of the whole table */
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision, creator_id, creator_revision;
};

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.4, 5.2.6");

/* The index-th table of that signature (0 for the first), or NULL. Stays mapped for the whole run. */
const struct acpi_header *acpi_find(const char signature[4], unsigned index);

#endif
