/* SPDX-License-Identifier: MIT */
/*
 * What bridges forward to the buses behind them (PCI-to-PCI bridge 1.2 3.2.5): a BAR there answers only inside of their
 * windows. Elsewhere somebody else does, or nobody.
 */
#include "config.h"
#include "pci_regs.h"
#include "probe.h"

struct window {
    uint64_t first, last; /* first > last: none */
};

#define IO_FIRST      BITS32(7, 4) /* bits 15:12 of the address; so below */
#define IO_LAST       BITS32(15, 12)
#define IO_HIGH_FIRST BITS32(15, 0)
#define IO_HIGH_LAST  BITS32(31, 16)
#define MEMORY_FIRST  BITS32(15, 4) /* bits 31:20 */
#define MEMORY_LAST   BITS32(31, 20)
#define IS_WIDE       1u /* the lowest bits: there are registers for the upper half */
#define IO_KIND       BITS32(3, 0)

static uint64_t put(uint32_t low, unsigned shift, uint32_t high, unsigned high_shift)
{
    return (uint64_t)high << high_shift | (uint64_t)low << shift;
}

static struct window io_window(const struct hv_pci_address *a)
{
    uint32_t low = pci_config_read(a, PCI_BRIDGE_IO, 2);
    uint32_t high = FIELD_GET(IO_KIND, low) == IS_WIDE ? pci_config_read(a, PCI_BRIDGE_IO_HIGH, 4) : 0;

    return (struct window){
        put(FIELD_GET(IO_FIRST, low), 12, FIELD_GET(IO_HIGH_FIRST, high), 16),
        put(FIELD_GET(IO_LAST, low), 12, FIELD_GET(IO_HIGH_LAST, high), 16) | BITS32(11, 0),
    };
}

/* The one for memory that can be prefetched may be wide. */
static struct window memory_window(const struct hv_pci_address *a, uint32_t offset)
{
    uint32_t low = pci_config_read(a, offset, 4), first = 0, last = 0;

    if (offset == PCI_BRIDGE_PREFETCH && FIELD_GET(IO_KIND, low) == IS_WIDE) {
        first = pci_config_read(a, PCI_BRIDGE_PREFETCH_FIRST, 4);
        last = pci_config_read(a, PCI_BRIDGE_PREFETCH_LAST, 4);
    }
    return (struct window){
        put(FIELD_GET(MEMORY_FIRST, low), 20, first, 32),
        put(FIELD_GET(MEMORY_LAST, low), 20, last, 32) | BITS32(19, 0),
    };
}

static bool is_inside(const struct pci_bar *bar, struct window w)
{
    return bar->address >= w.first && bar->address + (bar->size - 1) <= w.last;
}

/* For the sake of ISA cards a bridge may forward only the first 256 ports of each 1024. */
#define ISA_BLOCK 1024u
#define ISA_PORTS 256u

static bool forwards_ports(const struct hv_pci_address *a, const struct pci_bar *bar)
{
    bool has_isa = pci_config_read(a, PCI_BRIDGE_CONTROL, 2) & PCI_BRIDGE_CONTROL_ISA;

    return is_inside(bar, io_window(a)) && (!has_isa || bar->address % ISA_BLOCK + bar->size <= ISA_PORTS);
}

#define SUB_CLASS_TO_PCI 0x04
#define TAKES_THE_REST   0x01 /* programming interface: it forwards whatever nobody else answers to */

static bool forwards(const struct pci_device *bridge, const struct pci_bar *bar)
{
    const struct hv_pci_address *a = &bridge->address;

    if (!(pci_config_read(a, PCI_COMMAND, 2) & (bar->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
        return false;
    if (bridge->ids.sub_class == SUB_CLASS_TO_PCI && bridge->ids.prog_if == TAKES_THE_REST)
        return true;
    if (bar->is_io)
        return forwards_ports(a, bar);
    return is_inside(bar, memory_window(a, PCI_BRIDGE_MEMORY)) || is_inside(bar, memory_window(a, PCI_BRIDGE_PREFETCH));
}

/* CardBus bridges have other registers, and are not asked. */
bool pci_is_forwarded(const struct pci_device *d, const struct pci_bar *bar)
{
    for (const struct pci_device *bridge = d->bridge; bridge; bridge = bridge->bridge)
        if (bridge->header == 1 && !forwards(bridge, bar))
            return false;
    return true;
}
