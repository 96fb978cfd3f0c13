/* SPDX-License-Identifier: MIT */
/* ACPI's tables (ACPI 6.4, chapter 5.2): firmware wrote them, so every length is checked before it is believed. */
#include "acpi_internal.h"
#include "paging.h"
#include <kernel/acpi.h>
#include <kernel/cpu.h>
#include <kernel/memory.h>
#include <kernel/print.h>
#include <kernel/string.h>

#define TABLE_MAX   (1u << 20) /* a table above 1 MiB is not one */
#define TABLES_MAX  128
#define RSDP_V1     20
#define RSDP_V2     36
#define MADT_FIRST  44 /* offset of its first entry */
#define MADT_USABLE 3  /* flags: enabled, or online-capable */

/* an override's flags, of an ISA interrupt: 0 in a field means edge and high */
#define MADT_POLARITY   0x03
#define MADT_ACTIVE_LOW 0x03
#define MADT_TRIGGER    0x0c
#define MADT_LEVEL      0x0c

#define FADT_PM_TMR_BLK 76
#define FADT_PM_TMR_LEN 91
#define FADT_FLAGS      112
#define FADT_MIN        116
#define FADT_TMR_32BIT  (1u << 8)

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

_Static_assert(sizeof(struct rsdp) == RSDP_V2, "ACPI 6.4, table 5.3");

struct madt_entry {
    uint8_t type, length;
};

enum {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_X2APIC = 9,
};

static const struct acpi_header *tables[TABLES_MAX];
static uint32_t table_count;

static bool sum_is_zero(const void *p, uint32_t length)
{
    const uint8_t *bytes = p;
    uint8_t sum = 0;

    for (uint32_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return !sum;
}

static uint32_t read32(const void *p, uint32_t offset)
{
    uint32_t v;

    memcpy(&v, (const char *)p + offset, sizeof(v));
    return v;
}

/* Readable memory at a physical address: the direct map where all of it is RAM, else a mapping of its own. */
static const void *map(uint64_t pa, uint64_t length)
{
    uint64_t last = pa + length - 1;

    if (last < pa)
        return NULL;
    for (uint64_t at = pa & ~(PAGE_SIZE - 1); at <= last; at += PAGE_SIZE) {
        if (!phys_to_virt(at))
            return paging_window(pa, length, PTE_NX);
    }
    return phys_to_virt(pa);
}

static const struct acpi_header *map_table(uint64_t pa)
{
    const struct acpi_header *h = pa ? map(pa, sizeof(*h)) : NULL;

    if (!h || h->length < sizeof(*h) || h->length > TABLE_MAX)
        return NULL;
    h = map(pa, h->length);
    if (!h || !sum_is_zero(h, h->length)) {
        kprintf("barewhp: ACPI table at 0x%lx ignored: bad checksum\n", pa);
        return NULL;
    }
    return h;
}

/* entry_size: 4 in the RSDT, 8 in the XSDT */
static void add_tables(const struct acpi_header *list, uint32_t entry_size)
{
    for (uint32_t at = sizeof(*list); list->length - at >= entry_size && table_count < TABLES_MAX; at += entry_size) {
        uint64_t pa = 0;
        const struct acpi_header *h;

        memcpy(&pa, (const char *)list + at, entry_size);
        h = map_table(pa);
        if (h)
            tables[table_count++] = h;
    }
}

static const struct acpi_header *root_table(uint64_t pa, const char signature[4])
{
    const struct acpi_header *h = map_table(pa);

    return h && !memcmp(h->signature, signature, 4) ? h : NULL;
}

void acpi_init(const struct boot_info *info)
{
    struct rsdp rsdp = {0};
    const struct acpi_header *root = NULL;

    memcpy(&rsdp, info->rsdp, info->rsdp_length < RSDP_V2 ? info->rsdp_length : RSDP_V2);
    if (info->rsdp_length < RSDP_V1 || memcmp(rsdp.signature, "RSD PTR ", 8) || !sum_is_zero(&rsdp, RSDP_V1)) {
        kprintf("barewhp: no ACPI tables\n");
        return;
    }
    if (rsdp.revision >= 2 && info->rsdp_length >= RSDP_V2 && sum_is_zero(&rsdp, RSDP_V2))
        root = root_table(rsdp.xsdt, "XSDT");
    if (root) {
        add_tables(root, 8);
        return;
    }
    root = root_table(rsdp.rsdt, "RSDT");
    if (root)
        add_tables(root, 4);
}

const struct acpi_header *acpi_find(const char signature[4], unsigned index)
{
    for (uint32_t i = 0; i < table_count; i++) {
        if (!memcmp(tables[i]->signature, signature, 4) && !index--)
            return tables[i];
    }
    return NULL;
}

/* The ID of a CPU that this MADT entry says may be used. */
static bool cpu_of_entry(const struct madt_entry *e, uint32_t *apic_id)
{
    if (e->type == MADT_LAPIC && e->length >= 8) {
        *apic_id = ((const uint8_t *)e)[3];
        return *apic_id != 0xff && (read32(e, 4) & MADT_USABLE) == 1;
    }
    if (e->type == MADT_X2APIC && e->length >= 16) {
        *apic_id = read32(e, 4);
        return *apic_id != ~0u && (read32(e, 8) & MADT_USABLE) == 1;
    }
    return false;
}

static bool contains(const uint32_t *ids, uint32_t count, uint32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* The MADT's entry at or behind *at, which moves behind it; NULL at the end, or where the table is broken. */
static const struct madt_entry *next_entry(const struct acpi_header *madt, uint32_t *at)
{
    const struct madt_entry *e;

    if (!madt || *at >= madt->length || madt->length - *at < sizeof(*e))
        return NULL;
    e = (const void *)((const char *)madt + *at);
    if (e->length < sizeof(*e) || e->length > madt->length - *at)
        return NULL;
    *at += e->length;
    return e;
}

uint32_t acpi_cpus(uint32_t *apic_ids, uint32_t max)
{
    const struct acpi_header *madt = acpi_find("APIC", 0);
    uint32_t count = 0, at = MADT_FIRST, id;

    for (const struct madt_entry *e; (e = next_entry(madt, &at));) {
        if (cpu_of_entry(e, &id) && count < max && !contains(apic_ids, count, id))
            apic_ids[count++] = id;
    }
    return count;
}

struct acpi_isa_irq acpi_isa_irq(uint8_t irq)
{
    const struct acpi_header *madt = acpi_find("APIC", 0);
    uint32_t at = MADT_FIRST;

    for (const struct madt_entry *e; (e = next_entry(madt, &at));) {
        const uint8_t *bytes = (const uint8_t *)e;

        if (e->type == MADT_OVERRIDE && e->length >= 10 && bytes[2] == 0 && bytes[3] == irq)
            return (struct acpi_isa_irq){.gsi = read32(e, 4),
                                         .is_low = (bytes[8] & MADT_POLARITY) == MADT_ACTIVE_LOW,
                                         .is_level = (bytes[8] & MADT_TRIGGER) == MADT_LEVEL};
    }
    return (struct acpi_isa_irq){.gsi = irq};
}

bool acpi_ioapic_of(uint32_t gsi, struct acpi_ioapic *ioapic)
{
    const struct acpi_header *madt = acpi_find("APIC", 0);
    uint32_t at = MADT_FIRST;
    bool found = false;

    for (const struct madt_entry *e; (e = next_entry(madt, &at));) {
        if (e->type != MADT_IOAPIC || e->length < 12 || read32(e, 8) > gsi ||
            (found && read32(e, 8) < ioapic->gsi_base))
            continue;
        *ioapic =
            (struct acpi_ioapic){.address = read32(e, 4), .gsi_base = read32(e, 8), .id = ((const uint8_t *)e)[2]};
        found = true;
    }
    return found;
}

struct acpi_pm_timer acpi_pm_timer(void)
{
    const struct acpi_header *fadt = acpi_find("FACP", 0);
    uint32_t port;

    if (!fadt || fadt->length < FADT_MIN || ((const uint8_t *)fadt)[FADT_PM_TMR_LEN] != 4)
        return (struct acpi_pm_timer){0};
    port = read32(fadt, FADT_PM_TMR_BLK);
    if (!port || port > 0xfffc)
        return (struct acpi_pm_timer){0};
    return (struct acpi_pm_timer){(uint16_t)port, read32(fadt, FADT_FLAGS) & FADT_TMR_32BIT ? ~0u : 0xffffff};
}
