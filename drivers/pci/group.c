/* SPDX-License-Identifier: MIT */
/*
 * Which functions can be told and kept apart (PCIe 5.0 6.12). A function reaches its siblings without an IOMMU in
 * between if a port above it, or the device that it is a part of, passes requests on by itself: access control services
 * (ACS) say that it does not. And where a bridge speaks in its own name, all behind it are one for the IOMMU.
 *
 * Each group has one function that stands for it: the topmost bridge that does not isolate what is behind it, or the
 * function itself; of several in one device that reach each other, the first.
 */
#include "config.h"
#include "device.h"
#include "pci_regs.h"

#define ACS_CAPABLE     4
#define ACS_CONTROL     6
#define ACS_VALIDATION  BIT32(0) /* requesters' buses are checked */
#define ACS_REQUESTS    BIT32(2) /* requests of peers go up; so below */
#define ACS_COMPLETIONS BIT32(3)
#define ACS_UPSTREAM    BIT32(4)
#define ACS_ISOLATION   (ACS_VALIDATION | ACS_REQUESTS | ACS_COMPLETIONS | ACS_UPSTREAM)

static bool is_down(const struct pci_device *d)
{
    return d->port == PCI_PORT_ROOT || d->port == PCI_PORT_DOWN;
}

/*
 * Functions of one device; below a port there is only one, whose functions may have all 8 bits (ARI). Ports of a switch
 * are devices for configuration, but one for what they pass on to each other.
 */
static bool is_same_device(const struct pci_device *a, const struct pci_device *b)
{
    if (a->address.segment != b->address.segment || a->address.bdf >> 8 != b->address.bdf >> 8)
        return false;
    if ((a->bridge && is_down(a->bridge)) || (a->port == PCI_PORT_DOWN && b->port == PCI_PORT_DOWN))
        return true;
    return a->address.bdf >> 3 == b->address.bdf >> 3;
}

static bool has_siblings(const struct pci_device *d)
{
    for (const struct pci_device *i = pci_first(); i; i = i->next)
        if (i != d && is_same_device(i, d))
            return true;
    return d->is_multifunction;
}

/* What it is not capable of, it has no need to do. */
static bool is_acs_on(const struct pci_device *d)
{
    uint32_t capable, control;

    if (!d->acs)
        return false;
    capable = pci_config_read(&d->address, d->acs + ACS_CAPABLE, 2) & ACS_ISOLATION;
    control = pci_config_read(&d->address, d->acs + ACS_CONTROL, 2);
    return (control & capable) == capable;
}

/* Do its requests go up, and not to what is behind it or beside it? */
static bool goes_up(const struct pci_device *d)
{
    switch (d->port) {
    case PCI_PORT_CONVENTIONAL: /* an endpoint is alone with itself */
        return d->header == 0 && !has_siblings(d);
    case PCI_PORT_TO_PCI:
    case PCI_PORT_FROM_PCI:
        return false;
    case PCI_PORT_ROOT:
    case PCI_PORT_DOWN:
        return is_acs_on(d);
    default:
        return !has_siblings(d) || is_acs_on(d);
    }
}

/* One function that reaches its siblings is enough: these need not do anything for it. */
static bool isolates(const struct pci_device *d)
{
    for (const struct pci_device *i = pci_first(); i; i = i->next)
        if (is_same_device(i, d) && !goes_up(i))
            return false;
    return true;
}

static const struct pci_device *first_of_device(const struct pci_device *d)
{
    for (const struct pci_device *i = pci_first(); i; i = i->next)
        if (is_same_device(i, d))
            return i;
    return d;
}

static const struct pci_device *representative(const struct pci_device *d)
{
    const struct pci_device *top = d;

    for (const struct pci_device *bridge = d->bridge; bridge; bridge = bridge->bridge)
        if (!isolates(bridge))
            top = bridge;
    return isolates(top) ? top : first_of_device(top);
}

bool pci_same_group(const struct pci_device *a, const struct pci_device *b)
{
    return a == b || representative(a) == representative(b);
}

/* -------------------------------------------------------------------------------- requesters */

static bool is_same(const struct hv_pci_address *a, const struct hv_pci_address *b)
{
    return a->segment == b->segment && a->bdf == b->bdf;
}

/* The name that a bridge gives to what comes from behind it; false: it leaves the names as they are. */
static bool name_above(const struct pci_device *bridge, struct hv_pci_address *name)
{
    *name = bridge->address;
    if (bridge->port == PCI_PORT_TO_PCI) /* PCIe to PCI bridge 1.0 2.3: the secondary bus's device 0 */
        name->bdf = HV_PCI_BDF(bridge->secondary, 0, 0);
    return bridge->port == PCI_PORT_TO_PCI || bridge->port == PCI_PORT_FROM_PCI ||
           bridge->port == PCI_PORT_CONVENTIONAL;
}

/* Of more names than there is room for, those further down: the IOMMU never hears them. */
uint32_t pci_requesters(const struct pci_device *d, struct hv_pci_address out[PCI_REQUESTERS])
{
    struct hv_pci_address name;
    uint32_t count = 1;

    out[0] = d->address;
    for (const struct pci_device *bridge = d->bridge; bridge; bridge = bridge->bridge) {
        if (!name_above(bridge, &name) || is_same(&name, &out[count - 1]))
            continue;
        if (count == PCI_REQUESTERS)
            count--;
        out[count++] = name;
    }
    return count;
}

/* --------------------------------------------------------------------------------- isolation */

static void switch_on(const struct pci_device *d)
{
    uint32_t capable, control;

    if (!d->acs)
        return;
    capable = pci_config_read(&d->address, d->acs + ACS_CAPABLE, 2) & ACS_ISOLATION;
    control = pci_config_read(&d->address, d->acs + ACS_CONTROL, 2);
    if ((control & capable) != capable)
        pci_config_write(&d->address, d->acs + ACS_CONTROL, 2, control | capable);
}

void pci_isolate(const struct pci_device *d)
{
    for (; d; d = d->bridge)
        for (const struct pci_device *i = pci_first(); i; i = i->next)
            if (is_same_device(i, d))
                switch_on(i);
}
