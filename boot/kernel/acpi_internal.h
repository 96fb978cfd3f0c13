/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_ACPI_INTERNAL_H
#define BOOT_KERNEL_ACPI_INTERNAL_H

#include <boot/info.h>
#include <stdbool.h>
#include <stdint.h>

/* Finds the root table; without one, or with a broken one, acpi_find finds nothing. */
void acpi_init(const struct boot_info *info);

/* The APIC IDs of all CPUs that may be started, in the MADT's order; returns how many (0: no MADT), at most max. */
uint32_t acpi_cpus(uint32_t *apic_ids, uint32_t max);

struct acpi_pm_timer {
    uint16_t port; /* 0: none */
    uint32_t mask; /* of the counter: 24 or 32 bits */
};

struct acpi_pm_timer acpi_pm_timer(void);

#endif
