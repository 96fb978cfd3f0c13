/* SPDX-License-Identifier: MIT */
#include "fake_pci.h"
#include "fake.h"
#include "fake_device.h"
#include <hv/base/bits.h>
#include <pci/pci_regs.h>
#include <string.h>

#define FUNCTIONS 256u
#define SEGMENTS  4u
#define ECAM_BASE 0x3000000000ull /* of segment 0; 256 MiB each */
#define ECAM_SIZE (256ull << 20)
#define PORTS     0xcf8

#define PM_CONTROL       4
#define PM_STATE         BITS32(1, 0)
#define PM_NO_SOFT_RESET BIT32(3)
#define EXPRESS_CAPABLE  4 /* of the device */
#define EXPRESS_CONTROL  8
#define EXPRESS_STATUS   10
#define EXPRESS_CAN_FLR  BIT32(28)
#define EXPRESS_FLR      BIT32(15)
#define EXPRESS_PENDING  BIT32(5)
#define AF_CONTROL       4
#define AF_STATUS        5

static struct fake_pci functions[FUNCTIONS];
static uint32_t count;
static uint16_t numbers[SEGMENTS][65536]; /* of the function at an address, + 1 */
static struct fake_pci_counts counts;
static uint32_t selected; /* CF8h */

static struct {
    uint8_t header[44];
    struct {
        uint64_t base;
        uint16_t segment;
        uint8_t first, last;
        uint32_t reserved;
    } __attribute__((packed)) entries[SEGMENTS];
} __attribute__((packed)) mcfg;

/* ------------------------------------------------------------------------------------ bytes */

static uint32_t load(const uint8_t *bytes, uint32_t offset, uint32_t size)
{
    uint32_t value = 0;

    memcpy(&value, bytes + offset, size);
    return value;
}

static void store(uint8_t *bytes, uint32_t offset, uint32_t size, uint32_t value)
{
    memcpy(bytes + offset, &value, size);
}

void fake_pci_set(struct fake_pci *f, uint32_t offset, uint32_t size, uint32_t value)
{
    store(f->config, offset, size, value);
    store(f->initial, offset, size, value);
}

uint32_t fake_pci_get(const struct fake_pci *f, uint32_t offset, uint32_t size)
{
    return load(f->config, offset, size);
}

void fake_pci_let(struct fake_pci *f, uint32_t offset, uint32_t size, uint32_t mask)
{
    store(f->writable, offset, size, mask);
}

/* ------------------------------------------------------------------------------------ resets */

static void reset(struct fake_pci *f, unsigned *counter)
{
    ++*counter;
    for (uint32_t i = 0; i < sizeof(f->config); i++) {
        uint8_t mask = f->writable[i] | f->clears[i];

        f->config[i] = (uint8_t)((f->config[i] & ~mask) | (f->initial[i] & mask));
    }
    f->ready_at = hv_host_time_ns() + f->reset_ns;
    f->has_no_power = false;
    if (f->on_reset)
        f->on_reset(f);
}

static void bus_reset(const struct fake_pci *bridge, bool is_held)
{
    for (struct fake_pci *f = functions; f < functions + count; f++) {
        uint8_t bus = f->address.bdf >> 8;

        if (f->address.segment != bridge->address.segment || bus < bridge->config[PCI_BRIDGE_SECONDARY] ||
            bus > bridge->config[PCI_BRIDGE_LAST] || f == bridge || f->is_held == is_held)
            continue;
        f->is_held = is_held;
        if (!is_held)
            reset(f, &f->bus_resets);
    }
}

static bool touches(uint32_t offset, uint32_t size, uint32_t byte)
{
    return byte >= offset && byte - offset < size;
}

static void react_power(struct fake_pci *f, uint32_t offset, uint32_t size)
{
    uint32_t control = f->pm + PM_CONTROL, state;

    if (!f->pm || !touches(offset, size, control))
        return;
    state = f->config[control] & PM_STATE;
    if (state == 3) {
        f->has_no_power = true;
    } else if (state == 0 && f->has_no_power) {
        f->has_no_power = false;
        if (!(f->config[control] & PM_NO_SOFT_RESET))
            reset(f, &f->power_resets);
    }
}

/* What a write starts, by the bits that the value has ones for. */
static void react(struct fake_pci *f, uint32_t offset, uint32_t size, uint32_t value)
{
    uint64_t bits = (uint64_t)value << 8 * (offset & 3);
    uint32_t at = offset & ~3u;

    react_power(f, offset, size);
    if (f->bridge_control && touches(offset, size, f->bridge_control))
        bus_reset(f, load(f->config, f->bridge_control, 2) & PCI_BRIDGE_CONTROL_RESET);
    if (f->express && at == f->express + EXPRESS_CONTROL && (bits & EXPRESS_FLR) &&
        (load(f->config, f->express + EXPRESS_CAPABLE, 4) & EXPRESS_CAN_FLR))
        reset(f, &f->flrs);
    if (f->af && at == f->af + AF_CONTROL && (bits & 1) && touches(offset, size, f->af + AF_CONTROL))
        reset(f, &f->af_resets);
}

/* ---------------------------------------------------------------------------------- accesses */

struct fake_pci *fake_pci_find(uint16_t segment, uint16_t bdf)
{
    uint16_t number = segment < SEGMENTS ? numbers[segment][bdf] : 0;

    return number ? &functions[number - 1] : NULL;
}

static bool answers(const struct fake_pci *f, uint32_t offset)
{
    return f && !f->is_gone && !f->is_held && hv_host_time_ns() >= f->ready_at && offset < f->size;
}

static void show_pending(struct fake_pci *f)
{
    if (f->express)
        f->config[f->express + EXPRESS_STATUS] = f->is_pending ? EXPRESS_PENDING : 0;
    if (f->af)
        f->config[f->af + AF_STATUS] = f->is_pending;
}

static uint32_t config_read(uint16_t segment, uint16_t bdf, uint32_t offset, uint32_t size)
{
    struct fake_pci *f = fake_pci_find(segment, bdf);

    if (!answers(f, offset))
        return ~0u;
    show_pending(f);
    if (f->on_read)
        f->on_read(f, offset, size);
    return load(f->config, offset, size);
}

static void config_write(uint16_t segment, uint16_t bdf, uint32_t offset, uint32_t size, uint32_t value)
{
    struct fake_pci *f = fake_pci_find(segment, bdf);

    if (!answers(f, offset))
        return;
    f->writes++;
    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i), *at = &f->config[offset + i];

        *at = (uint8_t)((*at & ~f->writable[offset + i]) | (byte & f->writable[offset + i]));
        *at &= (uint8_t) ~(byte & f->clears[offset + i]);
    }
    react(f, offset, size, value);
    if (f->on_write)
        f->on_write(f, offset, size, value);
}

static uint64_t ecam_read(void *arg, uint64_t offset, uint32_t size)
{
    counts.ecam_reads++;
    fake_require(size <= 4, "8 bytes of configuration space at once");
    return config_read((uint16_t)(uintptr_t)arg, (uint16_t)(offset >> 12), offset & 0xfff, size);
}

static void ecam_write(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    counts.ecam_writes++;
    fake_require(size <= 4, "8 bytes of configuration space at once");
    config_write((uint16_t)(uintptr_t)arg, (uint16_t)(offset >> 12), offset & 0xfff, size, (uint32_t)value);
}

static uint64_t ports_read(void *arg, uint64_t offset, uint32_t size)
{
    uint32_t at = (selected & 0xfc) + (uint32_t)(offset & 3);

    (void)arg;
    fake_require(fake_pci_locked(), "CF8h and CFCh without hv_host_pci_lock");
    counts.port_reads++;
    if (offset < 4)
        return size == 4 ? selected : ~0u;
    return selected >> 31 ? config_read(0, (uint16_t)(selected >> 8), at, size) : ~0u;
}

/* No host bridge listens. */
static uint64_t void_read(void *arg, uint64_t offset, uint32_t size)
{
    (void)arg, (void)offset, (void)size;
    return ~0ull;
}

static void void_write(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)arg, (void)offset, (void)size, (void)value;
}

static void ports_write(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    uint32_t at = (selected & 0xfc) + (uint32_t)(offset & 3);

    (void)arg;
    fake_require(fake_pci_locked(), "CF8h and CFCh without hv_host_pci_lock");
    counts.port_writes++;
    if (offset == 0 && size == 4)
        selected = (uint32_t)value & 0x80fffffc;
    else if (offset >= 4 && selected >> 31)
        config_write(0, (uint16_t)(selected >> 8), at, size, (uint32_t)value);
}

/* ----------------------------------------------------------------------------------- scripts */

struct fake_pci *fake_pci_add(uint16_t segment, uint16_t bdf, uint16_t vendor, uint16_t device, uint32_t class)
{
    struct fake_pci *f = &functions[count];

    fake_require(count < FUNCTIONS && segment < SEGMENTS && !numbers[segment][bdf], "fake_pci_add: no room there");
    numbers[segment][bdf] = (uint16_t)++count;
    *f = (struct fake_pci){.address = {segment, bdf}, .size = 4096, .next_cap = 0x40, .next_ext = PCI_EXTENDED};
    fake_pci_set(f, PCI_VENDOR, 2, vendor);
    fake_pci_set(f, PCI_DEVICE, 2, device);
    fake_pci_set(f, PCI_CLASS, 2, class);
    fake_pci_set(f, PCI_CLASS + 2, 1, class >> 16);
    fake_pci_let(f, PCI_COMMAND, 2, 0x0547);
    f->clears[PCI_STATUS + 1] = 0xf9;
    fake_pci_let(f, PCI_CACHE_LINE, 1, 0xff);
    fake_pci_let(f, PCI_INTERRUPT_LINE, 1, 0xff);
    return f;
}

static void mcfg_entry(uint16_t segment, const struct fake_device_ops *ecam)
{
    uint64_t base = ECAM_BASE + segment * ECAM_SIZE;
    uint32_t used = 0;

    memcpy(&used, mcfg.header + 4, 4);
    mcfg.entries[used].base = base;
    mcfg.entries[used].segment = segment;
    mcfg.entries[used++].last = 255;
    memcpy(mcfg.header + 4, &used, 4);
    fake_mmio_add(base, ECAM_SIZE, ecam, (void *)(uintptr_t)segment);
}

void fake_pci_start(uint32_t flags)
{
    static const struct fake_device_ops ecam = {ecam_read, ecam_write}, ports = {ports_read, ports_write},
                                        no_ports = {void_read, void_write};
    bool used[SEGMENTS] = {true};
    uint32_t entries, length;

    for (uint32_t i = 0; i < count; i++)
        used[functions[i].address.segment] = true;
    fake_ports_add(PORTS, 8, flags & FAKE_PCI_PORTS ? &ports : &no_ports, NULL);
    if (!(flags & FAKE_PCI_ECAM))
        return;
    memset(&mcfg, 0, sizeof(mcfg));
    for (uint16_t segment = 0; segment < SEGMENTS; segment++)
        if (used[segment])
            mcfg_entry(segment, &ecam);
    memcpy(&entries, mcfg.header + 4, 4);
    length = sizeof(mcfg.header) + entries * sizeof(mcfg.entries[0]);
    memcpy(mcfg.header, "MCFG", 4);
    memcpy(mcfg.header + 4, &length, 4);
    fake_acpi_add(&mcfg, length);
}

void fake_pci_bar(struct fake_pci *f, uint32_t bar, uint64_t address, uint64_t size, uint32_t flags)
{
    uint32_t offset = bar == FAKE_PCI_BAR_ROM ? PCI_ROM : PCI_BAR0 + 4 * bar;
    uint64_t low = bar == FAKE_PCI_BAR_ROM ? 0x7ff : flags & FAKE_PCI_BAR_IO ? 3 : 15;
    uint64_t mask = size ? ~(size - 1) & ~low : 0;

    fake_pci_set(f, offset, 4, flags);
    fake_pci_let(f, offset, 4, (uint32_t)mask | (bar == FAKE_PCI_BAR_ROM));
    store(f->config, offset, 4, (uint32_t)address | flags);
    if (!(flags & FAKE_PCI_BAR_64) || (flags & FAKE_PCI_BAR_IO) || bar == FAKE_PCI_BAR_ROM || bar == 5)
        return;
    fake_pci_set(f, offset + 4, 4, 0);
    fake_pci_let(f, offset + 4, 4, (uint32_t)(mask >> 32));
    store(f->config, offset + 4, 4, (uint32_t)(address >> 32));
}

/* The chain's last one leads to the new one. */
uint16_t fake_pci_capability(struct fake_pci *f, uint8_t id, uint32_t size)
{
    uint16_t at = f->next_cap;
    uint32_t link = PCI_CAPABILITIES;

    fake_require(at + size <= 256, "fake_pci_capability: no room");
    while (f->config[link])
        link = f->config[link] + 1u;
    fake_pci_set(f, link, 1, at);
    fake_pci_set(f, at, 2, id);
    fake_pci_set(f, PCI_STATUS, 2, fake_pci_get(f, PCI_STATUS, 2) | PCI_STATUS_CAPABILITIES);
    f->next_cap = (uint16_t)(at + ALIGN_UP(size, 4));
    return at;
}

uint16_t fake_pci_extended(struct fake_pci *f, uint16_t id, uint32_t size)
{
    uint16_t at = f->next_ext;
    uint32_t last = PCI_EXTENDED;

    fake_require(at + size <= 4096, "fake_pci_extended: no room");
    while (load(f->config, last, 4) >> 20)
        last = load(f->config, last, 4) >> 20;
    if (at != PCI_EXTENDED)
        fake_pci_set(f, last, 4, load(f->config, last, 4) | (uint32_t)at << 20);
    fake_pci_set(f, at, 4, id | 1u << 16);
    f->next_ext = (uint16_t)(at + ALIGN_UP(size, 4));
    return at;
}

uint16_t fake_pci_pm(struct fake_pci *f, bool no_soft_reset)
{
    f->pm = fake_pci_capability(f, PCI_CAP_PM, 8);
    fake_pci_set(f, f->pm + 2u, 2, 3);
    fake_pci_set(f, f->pm + PM_CONTROL, 2, no_soft_reset ? PM_NO_SOFT_RESET : 0);
    fake_pci_let(f, f->pm + PM_CONTROL, 2, 0x0103);
    return f->pm;
}

uint16_t fake_pci_express(struct fake_pci *f, uint32_t port_type, bool has_flr)
{
    f->express = fake_pci_capability(f, PCI_CAP_EXPRESS, 0x3c);
    fake_pci_set(f, f->express + 2u, 2, 2 | port_type << 4);
    fake_pci_set(f, f->express + EXPRESS_CAPABLE, 4, has_flr ? EXPRESS_CAN_FLR : 0);
    fake_pci_set(f, f->express + EXPRESS_CONTROL, 2, 0x2810);
    fake_pci_let(f, f->express + EXPRESS_CONTROL, 2, 0x7fff);
    fake_pci_let(f, f->express + 0x28u, 2, 0xffff);
    return f->express;
}

uint16_t fake_pci_af(struct fake_pci *f)
{
    f->af = fake_pci_capability(f, PCI_CAP_AF, 6);
    fake_pci_set(f, f->af + 2u, 2, 6 | 3u << 8); /* its length; FLR and the pending bit */
    return f->af;
}

uint16_t fake_pci_msi(struct fake_pci *f, uint32_t messages, bool is_64bit, bool has_mask)
{
    uint32_t mask = is_64bit ? 16 : 12;
    uint16_t at = fake_pci_capability(f, PCI_CAP_MSI, has_mask ? mask + 8 : is_64bit ? 14 : 10);
    uint32_t order = (uint32_t)__builtin_ctz(messages);

    fake_pci_set(f, at + 2u, 2, order << 1 | (uint32_t)is_64bit << 7 | (uint32_t)has_mask << 8);
    fake_pci_let(f, at + 2u, 2, 0x71);
    fake_pci_let(f, at + 4u, 4, ~3u);
    if (is_64bit)
        fake_pci_let(f, at + 8u, 4, ~0u);
    fake_pci_let(f, at + (is_64bit ? 12u : 8u), 2, 0xffff);
    if (has_mask)
        fake_pci_let(f, at + mask, 4, messages == 32 ? ~0u : (1u << messages) - 1);
    return at;
}

uint16_t fake_pci_msix(struct fake_pci *f, uint32_t entries, uint32_t table_bar, uint32_t table_offset,
                       uint32_t pba_bar, uint32_t pba_offset)
{
    uint16_t at = fake_pci_capability(f, PCI_CAP_MSIX, 12);

    fake_pci_set(f, at + 2u, 2, entries - 1);
    fake_pci_let(f, at + 2u, 2, 0xc000);
    fake_pci_set(f, at + 4u, 4, table_offset | table_bar);
    fake_pci_set(f, at + 8u, 4, pba_offset | pba_bar);
    return at;
}

uint16_t fake_pci_acs(struct fake_pci *f, uint16_t capable, uint16_t control)
{
    uint16_t at = fake_pci_extended(f, PCI_EXT_CAP_ACS, 8);

    fake_pci_set(f, at + 4u, 2, capable);
    fake_pci_set(f, at + 6u, 2, control);
    fake_pci_let(f, at + 6u, 2, capable);
    return at;
}

void fake_pci_window(struct fake_pci *f, uint32_t offset, uint64_t first, uint64_t last)
{
    if (offset == PCI_BRIDGE_IO) {
        fake_pci_set(f, offset, 2, (uint32_t)((last >> 12 & 15) << 12 | 0x100 | (first >> 12 & 15) << 4 | 1));
        fake_pci_set(f, PCI_BRIDGE_IO_HIGH, 4, (uint32_t)(last >> 16 << 16 | first >> 16));
        return;
    }
    fake_pci_set(f, offset, 4, (uint32_t)((last & 0xfff00000) | (first >> 16 & 0xfff0)));
    if (offset != PCI_BRIDGE_PREFETCH)
        return;
    fake_pci_set(f, offset, 4, fake_pci_get(f, offset, 4) | 0x10001);
    fake_pci_set(f, PCI_BRIDGE_PREFETCH_FIRST, 4, (uint32_t)(first >> 32));
    fake_pci_set(f, PCI_BRIDGE_PREFETCH_LAST, 4, (uint32_t)(last >> 32));
}

void fake_pci_bridge(struct fake_pci *f, uint8_t secondary, uint8_t last)
{
    fake_pci_set(f, PCI_HEADER_TYPE, 1, (fake_pci_get(f, PCI_HEADER_TYPE, 1) & PCI_HEADER_MULTI) | 1);
    fake_pci_set(f, PCI_CLASS, 2, 0x0400);
    fake_pci_set(f, PCI_CLASS + 2, 1, 0x06);
    store(f->config, PCI_BRIDGE_PRIMARY, 1, f->address.bdf >> 8);
    store(f->config, PCI_BRIDGE_SECONDARY, 1, secondary);
    store(f->config, PCI_BRIDGE_LAST, 1, last);
    fake_pci_let(f, PCI_BRIDGE_PRIMARY, 4, 0x00ffffff);
    fake_pci_window(f, PCI_BRIDGE_IO, 0, 0xffff);
    fake_pci_window(f, PCI_BRIDGE_MEMORY, 0, 0xffffffff);
    fake_pci_window(f, PCI_BRIDGE_PREFETCH, 0, ~0ull);
    fake_pci_set(f, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    f->bridge_control = PCI_BRIDGE_CONTROL;
    fake_pci_let(f, PCI_BRIDGE_CONTROL, 2, 0x0fff);
}

void fake_pci_ecam(uint16_t segment, hv_hpa_t base)
{
    static const struct fake_device_ops ecam = {ecam_read, ecam_write};

    fake_mmio_add(base, ECAM_SIZE, &ecam, (void *)(uintptr_t)segment);
}

struct fake_pci_counts fake_pci_counts(void)
{
    return counts;
}

void fake_pci_reset(void)
{
    count = 0;
    memset(numbers, 0, sizeof(numbers));
    memset(&counts, 0, sizeof(counts));
    selected = 0;
}
