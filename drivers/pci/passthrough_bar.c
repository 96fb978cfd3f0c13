/* SPDX-License-Identifier: MIT */
/*
 * The BARs of a passed device: what of them a guest may have directly, and what happens to accesses that come here. The
 * MSI-X table and its pending bits are the virtual ones; what else lies in their pages is the device's.
 */
#include "passthrough_parts.h"
#include <arch/cpu.h>
#include <hv/base/bits.h>

static uint64_t page_offset(const struct pci_bar *bar)
{
    return bar->address & HV_PAGE_MASK;
}

static uint64_t mapped_size(const struct pci_bar *bar)
{
    return ALIGN_UP(page_offset(bar) + bar->size, HV_PAGE_SIZE);
}

void *passthrough_bar_at(struct passthrough_device *d, uint32_t bar, uint64_t offset)
{
    const struct pci_bar *b = &d->pci->bars[bar];

    if (!d->bars[bar])
        d->bars[bar] = hv_host_mmio_map(ALIGN_DOWN(b->address, HV_PAGE_SIZE), mapped_size(b));
    return d->bars[bar] ? (uint8_t *)d->bars[bar] + page_offset(b) + offset : NULL;
}

void passthrough_bar_exit(struct passthrough_device *d)
{
    for (uint32_t i = 0; i < PCI_BARS; i++)
        if (d->bars[i])
            hv_host_mmio_unmap(d->bars[i], mapped_size(&d->pci->bars[i]));
}

uint64_t passthrough_table_size(const struct pci_device *pci)
{
    return (uint64_t)pci->msix.count * VMSIX_ENTRY_SIZE;
}

uint64_t passthrough_pba_size(const struct pci_device *pci)
{
    return VMSIX_PBA_SIZE((uint64_t)pci->msix.count);
}

/* ---------------------------------------------------------------------------------- accesses */

static uint64_t port_read(uint16_t port, uint32_t size)
{
    return size == 1 ? cpu_in8(port) : size == 2 ? cpu_in16(port) : cpu_in32(port);
}

static void port_write(uint16_t port, uint32_t size, uint64_t value)
{
    if (size == 1)
        cpu_out8(port, (uint8_t)value);
    else if (size == 2)
        cpu_out16(port, (uint16_t)value);
    else
        cpu_out32(port, (uint32_t)value);
}

static uint64_t memory_read(const void *at, uint32_t size)
{
    switch (size) {
    case 1:
        return cpu_mmio_read8(at);
    case 2:
        return cpu_mmio_read16(at);
    case 4:
        return cpu_mmio_read32(at);
    default:
        return cpu_mmio_read64(at);
    }
}

static void memory_write(void *at, uint32_t size, uint64_t value)
{
    switch (size) {
    case 1:
        cpu_mmio_write8(at, (uint8_t)value);
        break;
    case 2:
        cpu_mmio_write16(at, (uint16_t)value);
        break;
    case 4:
        cpu_mmio_write32(at, (uint32_t)value);
        break;
    default:
        cpu_mmio_write64(at, value);
    }
}

/* False: it can not be mapped. */
static bool device_access(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                          bool is_write)
{
    const struct pci_bar *b = &d->pci->bars[bar];
    void *at = b->is_io ? NULL : passthrough_bar_at(d, bar, offset);
    uint16_t port = (uint16_t)(b->address + offset);

    if (!b->is_io && !at)
        return false;
    if (b->is_io && is_write)
        port_write(port, size, *value);
    else if (b->is_io)
        *value = port_read(port, size);
    else if (is_write)
        memory_write(at, size, *value);
    else
        *value = memory_read(at, size);
    return true;
}

static bool is_in(uint64_t offset, uint64_t start, uint64_t size)
{
    return offset >= start && offset - start < size;
}

/*
 * Pending bits of entries that have never been open are the device's own. Accesses are aligned and at most 8 bytes
 * long, as are table and pending bits: none is half in.
 */
static bool msix_access(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                        bool is_write)
{
    const struct pci_msix *msix = &d->pci->msix;

    if (!msix->cap)
        return false;
    if (bar == msix->table_bar && is_in(offset, msix->table_offset, passthrough_table_size(d->pci))) {
        if (is_write)
            passthrough_irq_write_table(d, (uint32_t)(offset - msix->table_offset), size, *value);
        else
            *value = vmsix_table_read(&d->msix, (uint32_t)(offset - msix->table_offset), size);
        return true;
    }
    if (bar != msix->pba_bar || !is_in(offset, msix->pba_offset, passthrough_pba_size(d->pci)))
        return false;
    if (!is_write) {
        uint64_t flags, pending = 0;

        if (d->mode == PASSTHROUGH_MSIX)
            (void)device_access(d, bar, offset, size, &pending, false);
        flags = hv_spin_lock(&d->models);
        *value = pending | vmsix_pba_read(&d->msix, (uint32_t)(offset - msix->pba_offset), size);
        hv_spin_unlock(&d->models, flags);
    }
    return true;
}

static uint64_t ones(uint32_t size)
{
    return BITS64(8 * size - 1, 0);
}

bool passthrough_bar_access(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                            bool is_write)
{
    const struct pci_bar *b = bar < PCI_BARS ? &d->pci->bars[bar] : NULL;
    uint32_t most = b && b->is_io ? 4 : 8;

    if (!b || !size || size > most || (size & (size - 1)) || offset % size || offset >= b->size ||
        size > b->size - offset)
        return false;
    if (is_write)
        *value &= ones(size);
    if (!passthrough_in_d0(d)) {
        *value = ones(size);
        return true;
    }
    if (!msix_access(d, bar, offset, size, value, is_write) && !device_access(d, bar, offset, size, value, is_write))
        *value = ones(size);
    return true;
}

enum hv_status passthrough_bar_read(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                    uint64_t *value)
{
    bool is_valid;

    *value = 0;
    hv_mutex_lock(&d->lock);
    is_valid = passthrough_bar_access(d, bar, offset, size, value, false);
    hv_mutex_unlock(&d->lock);
    return is_valid ? HV_OK : HV_E_INVALID;
}

enum hv_status passthrough_bar_write(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                     uint64_t value)
{
    bool is_valid;

    hv_mutex_lock(&d->lock);
    is_valid = passthrough_bar_access(d, bar, offset, size, &value, true);
    hv_mutex_unlock(&d->lock);
    return is_valid ? HV_OK : HV_E_INVALID;
}

/* ------------------------------------------------------------------------------------ ranges */

/* The part of a BAR that has these bytes, whole pages of it. */
struct hole {
    uint64_t start, end;
};

static struct hole hole_of(uint64_t offset, uint64_t size)
{
    return (struct hole){ALIGN_DOWN(offset, HV_PAGE_SIZE), ALIGN_UP(offset + size, HV_PAGE_SIZE)};
}

/* Sorted; those of the table and the pending bits, as far as they are in this BAR. */
static uint32_t holes_of(const struct pci_device *pci, uint32_t bar, struct hole holes[2])
{
    const struct pci_msix *msix = &pci->msix;
    uint32_t count = 0;

    if (msix->cap && msix->table_bar == bar)
        holes[count++] = hole_of(msix->table_offset, passthrough_table_size(pci));
    if (msix->cap && msix->pba_bar == bar)
        holes[count++] = hole_of(msix->pba_offset, passthrough_pba_size(pci));
    if (count == 2 && holes[1].start < holes[0].start) {
        struct hole first = holes[1];

        holes[1] = holes[0];
        holes[0] = first;
    }
    return count;
}

static void add_range(struct passthrough_device *d, uint32_t *count, uint32_t bar, struct hole part, bool is_direct)
{
    if (part.start >= part.end)
        return;
    d->ranges[(*count)++] = (struct hv_vpci_range){
        .bar = bar,
        .flags = is_direct ? NPT_READ | NPT_WRITE : 0,
        .size = part.end - part.start,
        .offset = part.start,
        .memory = is_direct ? passthrough_bar_at(d, bar, part.start) : NULL,
    };
}

/* A page that has other devices' registers too is nobody's. */
static bool has_pages(const struct pci_bar *bar)
{
    return !bar->is_io && !((bar->address | bar->size) & HV_PAGE_MASK);
}

static bool add_bar(struct passthrough_device *d, uint32_t *count, uint32_t bar)
{
    const struct pci_bar *b = &d->pci->bars[bar];
    struct hole holes[2];
    uint64_t at = 0;
    uint32_t n;

    if (!b->size)
        return true;
    if (!has_pages(b)) {
        add_range(d, count, bar, (struct hole){0, b->size}, false);
        return true;
    }
    if (!passthrough_bar_at(d, bar, 0))
        return false;
    n = holes_of(d->pci, bar, holes);
    for (uint32_t i = 0; i < n; i++) {
        add_range(d, count, bar, (struct hole){at, holes[i].start}, true);
        add_range(d, count, bar, (struct hole){HV_MAX(at, holes[i].start), holes[i].end}, false);
        at = HV_MAX(at, holes[i].end);
    }
    add_range(d, count, bar, (struct hole){at, b->size}, true);
    return true;
}

enum hv_status passthrough_map(struct passthrough_device *d, struct hv_vpci_range **ranges, uint32_t *count)
{
    enum hv_status st = HV_OK;
    uint32_t n = 0;

    hv_mutex_lock(&d->lock);
    if (!passthrough_in_d0(d))
        st = HV_E_STATE;
    for (uint32_t bar = 0; bar < PCI_BARS && st == HV_OK; bar++)
        st = add_bar(d, &n, bar) ? HV_OK : HV_E_NO_MEMORY;
    hv_mutex_unlock(&d->lock);
    if (st != HV_OK)
        return st;
    *ranges = d->ranges;
    *count = n;
    return HV_OK;
}

/* The host's own mappings stay until the end: a guest may still be about to lose its. */
void passthrough_unmap(struct passthrough_device *d)
{
    hv_mutex_lock(&d->lock);
    for (uint32_t i = 0; i < PASSTHROUGH_RANGES; i++)
        d->ranges[i] = (struct hv_vpci_range){0};
    hv_mutex_unlock(&d->lock);
}
