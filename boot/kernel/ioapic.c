/* SPDX-License-Identifier: MIT */
/*
 * IOAPICs (82093AA, and ACPI's MADT for where they are): as much as a few ISA interrupts need. What a pin's redirection
 * entry says comes from the library, which may have switched interrupt remapping on, and tells when that changes.
 */
#include "acpi_internal.h"
#include <hv/base/bits.h>
#include <hv/pci.h>
#include <kernel/isa.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/print.h>

#define REGISTER_SELECT 0 /* offsets in words */
#define REGISTER_WINDOW 4

#define IOAPIC_VERSION  0x01
#define VERSION_LAST    BITS32(23, 16)
#define IOAPIC_REDIRECT 0x10 /* two registers a pin */

#define REDIRECT_MASKED BIT32(16)

#define ROUTES 4u

struct route {
    volatile uint32_t *ioapic; /* NULL: free */
    uint8_t irq, ioapic_id, pin, vector;
    bool is_level, is_low;
    uint32_t cpu;
    void (*look)(void);
};
static struct route routes[ROUTES];
static struct spinlock lock; /* of the registers, which are reached in two steps */

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

static void write_entry(const struct route *r, uint64_t entry)
{
    uint64_t flags = spin_lock(&lock);
    uint32_t reg = IOAPIC_REDIRECT + 2u * r->pin;

    ioapic_write(r->ioapic, reg, ioapic_read(r->ioapic, reg) | REDIRECT_MASKED);
    ioapic_write(r->ioapic, reg + 1, (uint32_t)(entry >> 32));
    ioapic_write(r->ioapic, reg, (uint32_t)entry);
    spin_unlock(&lock, flags);
}

static bool program(const struct route *r)
{
    uint64_t entry;

    if (hv_remap_ioapic(r->ioapic_id, r->pin, r->cpu, r->vector, r->is_level, r->is_low, &entry) != HV_OK)
        return false;
    write_entry(r, entry);
    return true;
}

static void program_all(void *arg)
{
    (void)arg;
    for (struct route *r = routes; r < routes + ROUTES; r++) {
        if (!r->ioapic)
            continue;
        if (!program(r))
            kprintf("IOAPIC: pin %u has no way to its CPU any more\n", r->pin);
        r->look();
    }
}

static void drop(struct route *r)
{
    mmio_unmap((void *)(uintptr_t)r->ioapic, PAGE_SIZE);
    r->ioapic = NULL;
}

bool isa_irq_route(uint8_t irq, uint8_t vector, uint32_t cpu, void (*look)(void))
{
    struct acpi_isa_irq line = acpi_isa_irq(irq);
    struct acpi_ioapic found;
    struct route *r = routes;

    while (r < routes + ROUTES && r->ioapic)
        r++;
    if (r == routes + ROUTES || !acpi_ioapic_of(line.gsi, &found) || line.gsi - found.gsi_base > UINT8_MAX)
        return false;
    *r = (struct route){.ioapic = mmio_map(found.address, PAGE_SIZE),
                        .irq = irq,
                        .ioapic_id = found.id,
                        .pin = (uint8_t)(line.gsi - found.gsi_base),
                        .vector = vector,
                        .is_level = line.is_level,
                        .is_low = line.is_low,
                        .cpu = cpu,
                        .look = look};
    if (!r->ioapic)
        return false;
    hv_remap_on_change(program_all, NULL);
    if (r->pin <= FIELD_GET(VERSION_LAST, ioapic_read(r->ioapic, IOAPIC_VERSION)) && program(r))
        return true;
    drop(r);
    return false;
}

void isa_irq_mask(uint8_t irq)
{
    for (struct route *r = routes; r < routes + ROUTES; r++) {
        if (r->ioapic && r->irq == irq) {
            write_entry(r, REDIRECT_MASKED);
            drop(r);
        }
    }
}
