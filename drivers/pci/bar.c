/* SPDX-License-Identifier: MIT */
/*
 * BARs (PCI 3.0 6.2.5): where they are, and by what becomes of ones written to them how large. Decoding is off while
 * that is so, and this CPU's interrupts too, for the function does not answer meanwhile.
 */
#include "config.h"
#include "pci_regs.h"
#include "probe.h"
#include <arch/iommu.h>

#define ONES           0xffffffffu
#define SIZE_LIMIT     (1ull << 40) /* none of this size is believed */
#define DECODING       (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
#define ROM_ADDRESS    BITS32(31, 11)
#define ROM_ENABLE     BIT32(0)
#define RAM_LOOKS      4096u      /* for RAM, into one BAR */
#define MACHINE_START  0xfec00000 /* IOAPICs, timers, local APICs, where interrupts are written to, firmware */
#define MACHINE_SIZE   0x1400000
#define BARS_OF_BRIDGE 2
#define PORTS_FIRST    0x1000u /* below are the machine's own: timers, interrupt controllers, configuration space */
#define PORTS_END      0x10000u

/* A register as it was, and what it read after ones and after zeros. */
struct raw {
    uint32_t value, mask, zeros;
};

/* False: it does not take back what was in it. */
static bool probe(const struct hv_pci_address *a, uint32_t offset, uint32_t ones, struct raw *raw)
{
    raw->value = pci_config_read(a, offset, 4);
    pci_config_write(a, offset, 4, ones);
    raw->mask = pci_config_read(a, offset, 4);
    pci_config_write(a, offset, 4, 0);
    raw->zeros = pci_config_read(a, offset, 4);
    pci_config_write(a, offset, 4, raw->value);
    return pci_config_read(a, offset, 4) == raw->value;
}

/* The last one is the ROM's. */
static bool probe_all(const struct hv_pci_address *a, struct raw raw[PCI_BARS + 1])
{
    uint64_t flags = hv_host_irq_save();
    uint32_t command = pci_config_read(a, PCI_COMMAND, 2);
    bool is_restored = true;

    pci_config_write(a, PCI_COMMAND, 2, command & ~DECODING);
    for (uint32_t i = 0; i < PCI_BARS; i++)
        is_restored &= probe(a, PCI_BAR0 + 4 * i, ONES, &raw[i]);
    is_restored &= probe(a, PCI_ROM, ROM_ADDRESS, &raw[PCI_BARS]);
    pci_config_write(a, PCI_COMMAND, 2, command);
    hv_host_irq_restore(flags);
    return is_restored;
}

/* ---------------------------------------------------------------------------- one of them */

/* A mask of address bits, those above its lowest one too, leaves room for a power of two. */
static bool is_contiguous(uint64_t mask)
{
    return !(~mask & (~mask + 1));
}

static const char is_fixed[] = "a BAR of it has address bits that do not change";

static const char *decode_io(struct pci_bar *bar, struct raw raw)
{
    uint64_t mask = raw.mask & ~3u;

    if (!(mask >> 16))
        mask |= BITS32(31, 16); /* ports have 16 bits */
    mask |= BITS64(63, 32);
    *bar = (struct pci_bar){.address = raw.value & ~3u, .is_io = true};
    if (!(raw.mask & 0xfffc))
        return "a BAR of it has no size";
    if (!is_contiguous(mask))
        return "the size of a BAR of it is no power of two";
    if (raw.zeros & ~3u)
        return is_fixed;
    bar->size = ~mask + 1;
    return NULL;
}

static const char *decode_memory(struct pci_bar *bar, struct raw low, struct raw high)
{
    uint64_t mask = (uint64_t)high.mask << 32 | (low.mask & ~15u);

    bar->address = (uint64_t)high.value << 32 | (low.value & ~15u);
    bar->is_prefetchable = low.mask & PCI_BAR_PREFETCH;
    if (!mask || (mask == BITS64(63, 32) && !bar->is_64bit))
        return "a BAR of it has no size";
    if (!is_contiguous(mask))
        return "the size of a BAR of it is no power of two";
    if ((low.zeros & ~15u) || high.zeros)
        return is_fixed;
    bar->size = ~mask + 1;
    return NULL;
}

/* The BAR at `slot`, NULL where none is; takes the next slot too when it has 64 bits. */
static const char *decode(struct pci_bar *bar, const struct raw *raw, uint32_t slot)
{
    struct raw high = {0, ONES, 0};
    uint32_t type = FIELD_GET(PCI_BAR_TYPE, raw->mask);

    if (!raw->mask && !raw->value)
        return NULL;
    if (raw->mask == ONES)
        return "it does not answer";
    if (raw->mask & PCI_BAR_IO)
        return decode_io(bar, *raw);
    bar->is_64bit = type == PCI_BAR_TYPE_64;
    if (type && !bar->is_64bit)
        return "a BAR of it is of a kind that there is not";
    if (bar->is_64bit && slot == PCI_BARS - 1)
        return "its last BAR has 64 bits, and no room for them";
    if (bar->is_64bit)
        high = raw[1];
    return decode_memory(bar, *raw, high);
}

/* ----------------------------------------------------------------------------- all of them */

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

/* Large ones are looked into at so many places; the host, asked to map it, looks closer. */
static bool has_ram(const struct pci_bar *bar)
{
    uint64_t step = HV_MAX(bar->size / RAM_LOOKS, HV_PAGE_SIZE);

    for (uint64_t at = ALIGN_DOWN(bar->address, HV_PAGE_SIZE); at < bar->address + bar->size; at += step)
        if (hv_host_phys_to_virt(at))
            return true;
    return false;
}

static const char *memory_refusal(const struct pci_bar *bar)
{
    hv_hpa_t limit = pci_address_limit();

    if (bar->size >= SIZE_LIMIT)
        return "a BAR of it is too large";
    if (!bar->address)
        return "a BAR of it has no address";
    if (bar->address >= limit || bar->size > limit - bar->address)
        return "a BAR of it is beyond the CPU's physical addresses";
    if (!IS_ALIGNED(bar->address, bar->size))
        return "a BAR of it is not where its size wants it to be";
    if (overlap(bar->address, bar->size, MACHINE_START, MACHINE_SIZE) || iommu_registers_at(bar->address, bar->size) ||
        pci_config_is_at(bar->address, bar->size))
        return "a BAR of it lies over registers of the machine's own, interrupts or configuration space";
    return has_ram(bar) ? "a BAR of it lies over RAM" : NULL;
}

/* Accesses to a port BAR become accesses of this CPU to these ports, whoever else answers there. */
static const char *ports_refusal(const struct pci_bar *bar)
{
    if (bar->address < PORTS_FIRST)
        return "a BAR of it lies over ports of the machine's own";
    if (bar->address >= PORTS_END || bar->size > PORTS_END - bar->address)
        return "a BAR of it is beyond the CPU's ports";
    return IS_ALIGNED(bar->address, bar->size) ? NULL : "a BAR of it is not where its size wants it to be";
}

/* Of another function, whose BARs may not be known: where the one in this slot begins. */
static bool begins_in(const struct pci_device *other, uint32_t slot, const struct pci_bar *bar)
{
    uint32_t low = pci_config_read(&other->address, PCI_BAR0 + 4 * slot, 4);
    bool is_io = low & PCI_BAR_IO;
    uint64_t address = low & (is_io ? ~3u : ~15u);

    if (is_io != bar->is_io || low == ONES)
        return false;
    if (!is_io && FIELD_GET(PCI_BAR_TYPE, low) == PCI_BAR_TYPE_64)
        address |= (uint64_t)pci_config_read(&other->address, PCI_BAR0 + 4 * slot + 4, 4) << 32;
    return address && address - bar->address < bar->size;
}

/* One that was refused is known in part at most. */
static bool is_shared_with(const struct pci_bar *bar, const struct pci_device *other)
{
    uint32_t slots = other->header == 0 ? PCI_BARS : other->header == 1 ? BARS_OF_BRIDGE : 0;
    uint32_t decodes = bar->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

    for (uint32_t i = 0; i < slots; i++) {
        const struct pci_bar *b = &other->bars[i];

        if (b == bar)
            continue;
        if (b->size && b->is_io == bar->is_io && overlap(b->address, b->size, bar->address, bar->size))
            return true;
    }
    if ((other->is_examined && !other->refused) || !(pci_config_read(&other->address, PCI_COMMAND, 2) & decodes))
        return false;
    for (uint32_t i = 0; i < slots; i++) {
        uint32_t low = pci_config_read(&other->address, PCI_BAR0 + 4 * i, 4);

        if (begins_in(other, i, bar))
            return true;
        if (!(low & PCI_BAR_IO) && FIELD_GET(PCI_BAR_TYPE, low) == PCI_BAR_TYPE_64)
            i++;
    }
    return false;
}

static bool is_shared(const struct pci_bar *bar)
{
    for (const struct pci_device *d = pci_first(); d; d = d->next)
        if (is_shared_with(bar, d))
            return true;
    return false;
}

static const char *place_refusal(const struct pci_device *d, const struct pci_bar *bar)
{
    const char *why;

    if (!bar->size || (bar->is_io && !bar->address)) /* drop_ports */
        return NULL;
    why = bar->is_io ? ports_refusal(bar) : memory_refusal(bar);
    if (!why && is_shared(bar))
        why = "a BAR of it lies over another one";
    if (!why && !pci_is_forwarded(d, bar))
        why = "a bridge above it does not forward what goes to a BAR of it";
    return why;
}

/* Firmware may run out of ports. As decoding is for all such BARs at once, there is none then. */
static void drop_ports(struct pci_device *d)
{
    bool is_lacking = false;

    for (uint32_t i = 0; i < PCI_BARS; i++)
        is_lacking |= d->bars[i].is_io && !d->bars[i].address;
    for (uint32_t i = 0; i < PCI_BARS; i++)
        if (is_lacking && d->bars[i].is_io)
            d->bars[i] = (struct pci_bar){0};
}

/* A ROM that makes no sense is none. */
static void decode_rom(struct pci_device *d, struct raw raw)
{
    uint64_t mask = BITS64(63, 32) | (raw.mask & ROM_ADDRESS);

    if (!(raw.mask & ROM_ADDRESS) || !is_contiguous(mask))
        return;
    d->rom.address = raw.value & ROM_ADDRESS;
    d->rom.size = ~mask + 1;
}

/* -------------------------------------------------------------------------- MSI-X's tables */

#define MSIX_ENTRY 16u

static bool fits(const struct pci_device *d, uint32_t bar, uint64_t offset, uint64_t size)
{
    return bar < PCI_BARS && d->bars[bar].size && !d->bars[bar].is_io && offset < d->bars[bar].size &&
           size <= d->bars[bar].size - offset;
}

static void check_msix(struct pci_device *d)
{
    const struct pci_msix *m = &d->msix;
    uint64_t table = (uint64_t)m->count * MSIX_ENTRY, pba = ALIGN_UP(m->count, 64u) / 8;

    if (!m->cap)
        return;
    if (!fits(d, m->table_bar, m->table_offset, table))
        pci_refuse(d, "its MSI-X table is outside of its BARs");
    else if (!fits(d, m->pba_bar, m->pba_offset, pba))
        pci_refuse(d, "its MSI-X pending bits are outside of its BARs");
    else if (m->table_bar == m->pba_bar && overlap(m->table_offset, table, m->pba_offset, pba))
        pci_refuse(d, "its MSI-X table and pending bits overlap");
}

void pci_size_bars(struct pci_device *d)
{
    struct raw raw[PCI_BARS + 1];

    if (!probe_all(&d->address, raw))
        pci_refuse(d, "its BARs do not keep what is written to them");
    for (uint32_t i = 0; i < PCI_BARS && !d->refused; i += d->bars[i].is_64bit ? 2 : 1) {
        const char *why = decode(&d->bars[i], &raw[i], i);

        if (!why)
            why = place_refusal(d, &d->bars[i]);
        if (why)
            pci_refuse(d, why);
    }
    drop_ports(d);
    decode_rom(d, raw[PCI_BARS]);
    check_msix(d);
}
