/* SPDX-License-Identifier: MIT */
/* IOAPICs (82093AA, and ACPI's MADT for where they are): as much as a few ISA interrupts need. */
#include "ioapic.h"
#include "acpi_internal.h"
#include <hv/base/bits.h>
#include <kernel/memory.h>

#define REGISTER_SELECT 0 /* offsets in words */
#define REGISTER_WINDOW 4

#define IOAPIC_VERSION  0x01
#define VERSION_LAST    BITS32(23, 16)
#define IOAPIC_REDIRECT 0x10 /* two registers a pin */

#define REDIRECT_LOW    BIT32(13)
#define REDIRECT_LEVEL  BIT32(15)
#define REDIRECT_MASKED BIT32(16)
#define DESTINATION_MAX 0xfeu /* 8 bits, 255 is all */

static uint32_t ioapic_read(volatile uint32_t *ioapic, uint32_t reg)
{
    ioapic[REGISTER_SELECT] = reg;
    return ioapic[REGISTER_WINDOW];
}

static void ioapic_write(volatile uint32_t *ioapic, uint32_t reg, uint32_t value)
{
    ioapic[REGISTER_SELECT] = reg;
    ioapic[REGISTER_WINDOW] = value;
}

bool ioapic_route_isa(uint8_t irq, uint8_t vector, uint32_t apic_id)
{
    struct acpi_isa_irq line = acpi_isa_irq(irq);
    struct acpi_ioapic found;
    volatile uint32_t *ioapic;
    uint32_t pin, low;

    if (apic_id > DESTINATION_MAX || !acpi_ioapic_of(line.gsi, &found))
        return false;
    ioapic = mmio_map(found.address, PAGE_SIZE);
    pin = line.gsi - found.gsi_base;
    if (!ioapic || pin > FIELD_GET(VERSION_LAST, ioapic_read(ioapic, IOAPIC_VERSION)))
        return false;
    low = vector | (line.is_low ? REDIRECT_LOW : 0) | (line.is_level ? REDIRECT_LEVEL : 0);
    ioapic_write(ioapic, IOAPIC_REDIRECT + 2 * pin, low | REDIRECT_MASKED);
    ioapic_write(ioapic, IOAPIC_REDIRECT + 2 * pin + 1, apic_id << 24);
    ioapic_write(ioapic, IOAPIC_REDIRECT + 2 * pin, low);
    return true;
}
