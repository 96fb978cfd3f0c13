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

/* Where an ISA interrupt arrives: the MADT may say otherwise than pin = number, edge, high. */
struct acpi_isa_irq {
    uint32_t gsi;
    bool is_level, is_low;
};

struct acpi_isa_irq acpi_isa_irq(uint8_t irq);

struct acpi_ioapic {
    uint64_t address;
    uint32_t gsi_base;
    uint8_t id;
};

/* The IOAPIC with the highest base that is not above the interrupt. False: none. */
bool acpi_ioapic_of(uint32_t gsi, struct acpi_ioapic *ioapic);

struct acpi_pm_timer {
    uint16_t port; /* 0: none */
    uint32_t mask; /* of the counter: 24 or 32 bits */
};

struct acpi_pm_timer acpi_pm_timer(void);

#endif
