/* SPDX-License-Identifier: MIT */
/*
 * Access to configuration space. ECAM is believed where the MCFG's entry makes sense and, in segment 0, where it shows
 * the function that the ports show. Buses of segment 0 that no ECAM covers are reached by the ports, if those work.
 */
#include "config.h"
#include "pci_regs.h"
#include <arch/backend.h>
#include <arch/cpu.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

#define BUS_SIZE      (1ull << 20)
#define BUSES         256u
#define FUNCTION_SIZE 4096u
#define ONES          0xffffffffu

#define PORT_ADDRESS   0xcf8
#define PORT_DATA      0xcfc
#define ADDRESS_ENABLE BIT32(31)
#define PORTS_SIZE     256u /* of a function, by the ports */

/* PCI Firmware Specification 3.2, 4.1.2 */
struct mcfg_entry {
    uint64_t base; /* of bus 0, also where that is not part of it */
    uint16_t segment;
    uint8_t first, last;
    uint32_t reserved;
} __attribute__((packed));

_Static_assert(sizeof(struct mcfg_entry) == 16, "PCI Firmware Specification 3.2, table 4-3");

#define MCFG_HEADER  44u
#define MCFG_ENTRIES 128u /* so many are looked at */

struct ecam {
    hv_hpa_t pa; /* of the first bus */
    uint8_t *va;
    uint16_t segment;
    uint8_t first, last;
};

static struct {
    struct ecam *ecams;
    uint32_t count, room;
    bool has_ports;
} config;

hv_hpa_t pci_address_limit(void)
{
    struct hv_cpuid_output out;
    uint32_t bits = 36;

    cpu_cpuid(0x80000000u, 0, &out);
    if (out.eax >= 0x80000008u) {
        cpu_cpuid(0x80000008u, 0, &out);
        bits = out.eax & 0xff;
    }
    return 1ull << HV_MIN(bits, 52u);
}

/* ------------------------------------------------------------------------------------- ports */

static uint32_t port_read(uint16_t bdf, uint32_t offset, uint32_t size)
{
    uint64_t flags = hv_host_pci_lock();
    uint16_t port = (uint16_t)(PORT_DATA + (offset & 3));
    uint32_t value;

    cpu_out32(PORT_ADDRESS, ADDRESS_ENABLE | (uint32_t)bdf << 8 | (offset & 0xfc));
    value = size == 4 ? cpu_in32(port) : size == 2 ? cpu_in16(port) : cpu_in8(port);
    hv_host_pci_unlock(flags);
    return value;
}

static void port_write(uint16_t bdf, uint32_t offset, uint32_t size, uint32_t value)
{
    uint64_t flags = hv_host_pci_lock();
    uint16_t port = (uint16_t)(PORT_DATA + (offset & 3));

    cpu_out32(PORT_ADDRESS, ADDRESS_ENABLE | (uint32_t)bdf << 8 | (offset & 0xfc));
    if (size == 4)
        cpu_out32(port, value);
    else if (size == 2)
        cpu_out16(port, (uint16_t)value);
    else
        cpu_out8(port, (uint8_t)value);
    hv_host_pci_unlock(flags);
}

/* The address register keeps what is written to it, where there is one. */
static bool find_ports(void)
{
    uint64_t flags = hv_host_pci_lock();
    uint32_t before = cpu_in32(PORT_ADDRESS), seen;

    cpu_out32(PORT_ADDRESS, ADDRESS_ENABLE);
    seen = cpu_in32(PORT_ADDRESS);
    cpu_out32(PORT_ADDRESS, before);
    hv_host_pci_unlock(flags);
    return seen == ADDRESS_ENABLE;
}

/* -------------------------------------------------------------------------------------- ECAM */

static struct ecam *ecam_of(uint16_t segment, uint8_t bus)
{
    for (uint32_t i = 0; i < config.count; i++) {
        struct ecam *e = &config.ecams[i];

        if (e->segment == segment && bus >= e->first && bus <= e->last)
            return e;
    }
    return NULL;
}

static uint64_t ecam_size(const struct ecam *e)
{
    return (e->last - e->first + 1) * BUS_SIZE;
}

static uint8_t *ecam_at(const struct ecam *e, uint16_t bdf, uint32_t offset)
{
    return e->va + (uint64_t)(bdf - (e->first << 8)) * FUNCTION_SIZE + offset;
}

static uint32_t ecam_read(const struct ecam *e, uint16_t bdf, uint32_t offset, uint32_t size)
{
    const uint8_t *at = ecam_at(e, bdf, offset);

    return size == 4 ? cpu_mmio_read32(at) : size == 2 ? cpu_mmio_read16(at) : cpu_mmio_read8(at);
}

static void ecam_write(const struct ecam *e, uint16_t bdf, uint32_t offset, uint32_t size, uint32_t value)
{
    uint8_t *at = ecam_at(e, bdf, offset);

    if (size == 4)
        cpu_mmio_write32(at, value);
    else if (size == 2)
        cpu_mmio_write16(at, (uint16_t)value);
    else
        cpu_mmio_write8(at, (uint8_t)value);
}

/* -------------------------------------------------------------------------------------- MCFG */

bool pci_config_is_at(hv_hpa_t pa, uint64_t size)
{
    for (uint32_t i = 0; i < config.count; i++) {
        const struct ecam *e = &config.ecams[i];

        if (pa < e->pa + ecam_size(e) && e->pa < pa + size)
            return true;
    }
    return false;
}

/* NULL: it can be used. */
static const char *entry_refusal(const struct mcfg_entry *m)
{
    uint64_t limit = pci_address_limit(), end = (m->last + 1) * BUS_SIZE;

    if (m->first > m->last)
        return "its last bus is before its first";
    if (!m->base || !IS_ALIGNED(m->base, BUS_SIZE) || m->base >= limit || end > limit - m->base)
        return "there can be no configuration space at its address";
    for (uint32_t bus = m->first; bus <= m->last; bus++)
        if (ecam_of(m->segment, (uint8_t)bus))
            return "it has buses of an entry before it";
    if (pci_config_is_at(m->base + m->first * BUS_SIZE, end - m->first * BUS_SIZE))
        return "it has addresses of an entry before it";
    return NULL;
}

/* By ports and ECAM the first function of a bus is the same. Nothing there says nothing. */
static bool agrees_with_ports(const struct ecam *e)
{
    for (uint32_t device = 0; config.has_ports && device < 32; device++) {
        uint16_t bdf = HV_PCI_BDF(e->first, device, 0);
        uint32_t id = port_read(bdf, PCI_VENDOR, 4);

        if (id != ONES)
            return ecam_read(e, bdf, PCI_VENDOR, 4) == id;
    }
    return true;
}

static void add_entry(const struct mcfg_entry *m)
{
    const char *why = entry_refusal(m);
    struct ecam e = {.pa = m->base + m->first * BUS_SIZE, .segment = m->segment, .first = m->first, .last = m->last};

    if (!why) {
        e.va = hv_host_mmio_map(e.pa, ecam_size(&e));
        if (!e.va)
            why = "it can not be mapped";
    }
    if (!why && e.segment == 0 && !agrees_with_ports(&e)) {
        hv_host_mmio_unmap(e.va, ecam_size(&e));
        why = "what is there is not what ports 0xcf8 and 0xcfc show";
    }
    if (why)
        hv_log(HV_LOG_WARNING, "pci: MCFG: configuration space of segment %u, buses %02x to %02x, at 0x%lx ignored: %s",
               m->segment, m->first, m->last, m->base, why);
    else
        config.ecams[config.count++] = e;
}

/* One entry, read once. */
static struct mcfg_entry mcfg_entry(const uint8_t *table, uint32_t n)
{
    struct mcfg_entry m;

    memcpy(&m, table + MCFG_HEADER + n * sizeof(m), sizeof(m));
    return m;
}

static enum hv_status read_mcfg(void)
{
    size_t size = 0;
    const uint8_t *table = hv_host_acpi_table("MCFG", 0, &size);
    uint64_t entries = table && size >= MCFG_HEADER ? (size - MCFG_HEADER) / sizeof(struct mcfg_entry) : 0;

    config.room = (uint32_t)HV_MIN(entries, (uint64_t)MCFG_ENTRIES);
    if (!config.room)
        return HV_OK;
    config.ecams = hv_host_alloc(config.room * sizeof(*config.ecams));
    if (!config.ecams)
        return HV_E_NO_MEMORY;
    for (uint32_t i = 0; i < config.room; i++) {
        struct mcfg_entry m = mcfg_entry(table, i);

        add_entry(&m);
    }
    return HV_OK;
}

enum hv_status pci_config_init(void)
{
    enum hv_status st;

    config.has_ports = find_ports();
    st = read_mcfg();
    if (st != HV_OK)
        pci_config_exit();
    return st;
}

void pci_config_exit(void)
{
    for (uint32_t i = 0; i < config.count; i++)
        hv_host_mmio_unmap(config.ecams[i].va, ecam_size(&config.ecams[i]));
    if (config.ecams)
        hv_host_free(config.ecams, config.room * sizeof(*config.ecams));
    memset(&config, 0, sizeof(config));
}

/* ---------------------------------------------------------------------------------- segments */

/* The lowest segment that is not below `from`. */
static bool next_segment(uint32_t from, uint16_t *segment)
{
    bool found = config.has_ports && !from;
    uint16_t lowest = 0;

    for (uint32_t i = 0; i < config.count; i++) {
        const struct ecam *e = &config.ecams[i];

        if (e->segment < from || (found && e->segment >= lowest))
            continue;
        lowest = e->segment;
        found = true;
    }
    *segment = lowest;
    return found;
}

bool pci_config_segment(uint32_t n, uint16_t *segment)
{
    for (uint32_t from = 0; next_segment(from, segment); from = *segment + 1u)
        if (!n--)
            return true;
    return false;
}

bool pci_config_buses(uint16_t segment, uint8_t *first, uint8_t *last)
{
    bool found = config.has_ports && !segment;

    *first = found ? 0 : 255;
    *last = found ? 255 : 0;
    for (uint32_t i = 0; i < config.count; i++) {
        const struct ecam *e = &config.ecams[i];

        if (e->segment != segment)
            continue;
        *first = HV_MIN(*first, e->first);
        *last = HV_MAX(*last, e->last);
        found = true;
    }
    return found;
}

/* ---------------------------------------------------------------------------------- accesses */

static bool is_valid(uint32_t offset, uint32_t size)
{
    return (size == 1 || size == 2 || size == 4) && IS_ALIGNED(offset, size) && offset < FUNCTION_SIZE;
}

static bool has_ports_for(const struct hv_pci_address *a, uint32_t offset)
{
    return config.has_ports && !a->segment && offset < PORTS_SIZE;
}

uint32_t pci_config_read(const struct hv_pci_address *a, uint32_t offset, uint32_t size)
{
    const struct ecam *e = ecam_of(a->segment, (uint8_t)(a->bdf >> 8));

    if (!is_valid(offset, size))
        return ONES;
    if (e)
        return ecam_read(e, a->bdf, offset, size);
    return has_ports_for(a, offset) ? port_read(a->bdf, offset, size) : ONES >> (32 - 8 * size);
}

void pci_config_write(const struct hv_pci_address *a, uint32_t offset, uint32_t size, uint32_t value)
{
    const struct ecam *e = ecam_of(a->segment, (uint8_t)(a->bdf >> 8));

    if (!is_valid(offset, size))
        return;
    if (e)
        ecam_write(e, a->bdf, offset, size, value);
    else if (has_ports_for(a, offset))
        port_write(a->bdf, offset, size, value);
}

uint32_t pci_config_size(const struct hv_pci_address *a)
{
    return ecam_of(a->segment, (uint8_t)(a->bdf >> 8)) ? FUNCTION_SIZE : has_ports_for(a, 0) ? PORTS_SIZE : 0;
}
