/* SPDX-License-Identifier: MIT */
/* The ACPI tables of the machine. */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmm/memory.h>

/* dsdt.asl, compiled: vmm/acpi.mk makes it. */
extern const uint8_t acpi_dsdt[];
extern const size_t acpi_dsdt_size;

/*
 * Writes all tables into the area that firmware has for them (MEMORY_TABLES), for so many processors whose APIC ids are
 * 0, 1, 2 and so on. *rsdp: where they begin. False: a line was printed.
 */
bool acpi_write(const struct memory *memory, uint32_t processors, uint64_t *rsdp);

#endif
