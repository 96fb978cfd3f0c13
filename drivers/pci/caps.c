/* SPDX-License-Identifier: MIT */
/*
 * Capabilities (PCI 3.0 6.7, PCIe 5.0 7.5.3, 7.6.3). A chain is what the device says: each place is visited once, so
 * that every walk ends, and what lies outside of configuration space is not looked at.
 */
#include "config.h"
#include "pci_regs.h"
#include "probe.h"
#include <hv/base/bitmap.h>

#define CAPS_FIRST 0x40u /* behind the header */
#define CAPS_END   0x100u
#define EXT_END    0x1000u
#define ONES       0xffffffffu

struct chain {
    const struct hv_pci_address *address;
    uint16_t at, next;
    uint64_t seen[HV_BITMAP_WORDS(EXT_END / 4)];
    const char *broken; /* why the walk ended early */
};

static const char breaks_off[] = "its list of capabilities leads out of configuration space";
static const char loops[] = "its list of capabilities is a loop";
static const char too_long[] = "a capability of it does not fit in configuration space";

/* Goes on to `next`. False: that was the end. */
static bool step(struct chain *c, uint32_t first)
{
    if (!c->next)
        return false;
    if (c->next < first)
        c->broken = breaks_off;
    else if (hv_bitmap_test(c->seen, c->next / 4))
        c->broken = loops;
    if (c->broken)
        return false;
    hv_bitmap_set(c->seen, c->next / 4);
    c->at = c->next;
    return true;
}

static void chain_begin(struct chain *c, const struct hv_pci_address *a)
{
    uint32_t layout = pci_config_read(a, PCI_HEADER_TYPE, 1) & PCI_HEADER_LAYOUT;
    uint32_t status = pci_config_read(a, PCI_STATUS, 2);

    *c = (struct chain){.address = a};
    if ((status & PCI_STATUS_CAPABILITIES) && layout <= 1)
        c->next = pci_config_read(a, PCI_CAPABILITIES, 1) & 0xfc; /* the low bits are reserved */
}

static bool chain_next(struct chain *c, uint8_t *id)
{
    uint32_t head;

    if (!step(c, CAPS_FIRST))
        return false;
    head = pci_config_read(c->address, c->at, 2);
    if (head == 0xffff) {
        c->broken = breaks_off;
        return false;
    }
    *id = (uint8_t)head;
    c->next = (head >> 8) & 0xfc;
    return true;
}

uint16_t pci_find_capability(const struct hv_pci_address *a, uint8_t id)
{
    struct chain c;
    uint8_t found;

    chain_begin(&c, a);
    while (chain_next(&c, &found))
        if (found == id)
            return c.at;
    return 0;
}

/* Only PCI Express has extended capabilities; elsewhere a bridge on the way may show anything there. */
static void extended_begin(struct chain *c, const struct hv_pci_address *a, bool is_express)
{
    uint32_t head;

    *c = (struct chain){.address = a};
    if (!is_express || pci_config_size(a) <= PCI_EXTENDED)
        return;
    head = pci_config_read(a, PCI_EXTENDED, 4);
    if (head && head != ONES)
        c->next = PCI_EXTENDED;
}

static bool extended_next(struct chain *c, uint16_t *id)
{
    uint32_t head;

    if (!step(c, PCI_EXTENDED))
        return false;
    head = pci_config_read(c->address, c->at, 4);
    if (head == ONES) {
        c->broken = breaks_off;
        return false;
    }
    *id = (uint16_t)head;
    c->next = (head >> 20) & 0xffc;
    return true;
}

uint16_t pci_find_extended(const struct hv_pci_address *a, uint16_t id)
{
    struct chain c;
    uint16_t found;

    extended_begin(&c, a, pci_find_capability(a, PCI_CAP_EXPRESS) != 0);
    while (extended_next(&c, &found))
        if (found == id)
            return c.at;
    return 0;
}

/* ---------------------------------------------------------------------- what they say */

static uint32_t get(const struct pci_device *d, uint32_t offset, uint32_t size)
{
    return pci_config_read(&d->address, offset, size);
}

static void read_pm(struct pci_device *d, uint16_t at)
{
    d->pm = at;
}

static void read_af(struct pci_device *d, uint16_t at)
{
    d->af = at;
}

#define MSI_COUNT  BITS32(3, 1) /* as a power of two */
#define MSI_64BIT  BIT32(7)
#define MSI_MASK   BIT32(8)
#define MSI_ORDERS 6 /* up to 32 messages */

static void read_msi(struct pci_device *d, uint16_t at)
{
    uint32_t control = get(d, at + 2u, 2), order = FIELD_GET(MSI_COUNT, control);
    uint32_t size = (control & MSI_64BIT ? 14 : 10) + (control & MSI_MASK ? 10 : 0);

    if (order >= MSI_ORDERS)
        pci_refuse(d, "it says a number of MSI messages that there can not be");
    if (at + size > CAPS_END)
        pci_refuse(d, too_long);
    if (order >= MSI_ORDERS || at + size > CAPS_END)
        return;
    d->msi = (struct pci_msi){
        .cap = at, .count = (uint8_t)(1u << order), .is_64bit = control & MSI_64BIT, .has_mask = control & MSI_MASK};
}

#define MSIX_COUNT BITS32(10, 0) /* one less */
#define MSIX_BAR   BITS32(2, 0)

/* Whether the tables are where it says is seen when the BARs are known. */
static void read_msix(struct pci_device *d, uint16_t at)
{
    uint32_t table = get(d, at + 4u, 4), pba = get(d, at + 8u, 4);

    d->msix = (struct pci_msix){.cap = at,
                                .count = (uint16_t)(FIELD_GET(MSIX_COUNT, get(d, at + 2u, 2)) + 1),
                                .table_bar = table & MSIX_BAR,
                                .pba_bar = pba & MSIX_BAR,
                                .table_offset = table & ~MSIX_BAR,
                                .pba_offset = pba & ~MSIX_BAR};
}

#define EXPRESS_PORT   BITS32(7, 4)
#define EVENTS         10 /* root complex event collector */
#define EXPRESS_KINDS  11
#define BRIDGES_HEADER 1

static const struct {
    enum pci_port port;
    uint8_t header; /* that it has to have */
} port_kinds[EXPRESS_KINDS] = {
    [0] = {PCI_PORT_ENDPOINT, 0},
    [1] = {PCI_PORT_ENDPOINT, 0},        /* legacy */
    [2] = {PCI_PORT_CONVENTIONAL, 0xff}, /* reserved */
    [3] = {PCI_PORT_CONVENTIONAL, 0xff},
    [4] = {PCI_PORT_ROOT, BRIDGES_HEADER},
    [5] = {PCI_PORT_UP, BRIDGES_HEADER},
    [6] = {PCI_PORT_DOWN, BRIDGES_HEADER},
    [7] = {PCI_PORT_TO_PCI, BRIDGES_HEADER},
    [8] = {PCI_PORT_FROM_PCI, BRIDGES_HEADER},
    [9] = {PCI_PORT_ROOT_INTEGRATED, 0},
    [EVENTS] = {PCI_PORT_ROOT_INTEGRATED, 0},
};

/* A kind of port that the header contradicts is not believed: conventional bridges isolate nothing. */
static void read_express(struct pci_device *d, uint16_t at)
{
    uint32_t kind = FIELD_GET(EXPRESS_PORT, get(d, at + 2u, 2));

    d->express = at;
    if (kind >= EXPRESS_KINDS || port_kinds[kind].header != d->header) {
        pci_refuse(d, "its header and its kind of PCI Express port contradict each other");
        return;
    }
    d->port = port_kinds[kind].port;
    if (kind == EVENTS)
        pci_refuse(d, "it collects the errors of other devices");
}

static void read_acs(struct pci_device *d, uint16_t at)
{
    d->acs = at;
}

#define SRIOV_CONTROL 8
#define SRIOV_ENABLE  BIT32(0)

static void read_sriov(struct pci_device *d, uint16_t at)
{
    d->sriov = at;
    if (get(d, at + SRIOV_CONTROL, 2) & SRIOV_ENABLE)
        pci_refuse(d, "it has virtual functions, which are on");
}

struct parser {
    uint16_t id, size;
    void (*read)(struct pci_device *d, uint16_t at);
    size_t offset; /* of the capability's place in struct pci_device: the first of a kind counts */
};

static const struct parser capabilities[] = {
    {PCI_CAP_PM, 8, read_pm, offsetof(struct pci_device, pm)},
    {PCI_CAP_MSI, 10, read_msi, offsetof(struct pci_device, msi.cap)},
    {PCI_CAP_EXPRESS, 20, read_express, offsetof(struct pci_device, express)},
    {PCI_CAP_MSIX, 12, read_msix, offsetof(struct pci_device, msix.cap)},
    {PCI_CAP_AF, 6, read_af, offsetof(struct pci_device, af)},
};

static const struct parser extended[] = {
    {PCI_EXT_CAP_ACS, 8, read_acs, offsetof(struct pci_device, acs)},
    {PCI_EXT_CAP_SRIOV, 0x40, read_sriov, offsetof(struct pci_device, sriov)},
};

static void parse(struct pci_device *d, const struct parser *parsers, size_t count, uint16_t id, uint16_t at,
                  uint32_t end)
{
    for (const struct parser *p = parsers; p < parsers + count; p++) {
        if (p->id != id || *(const uint16_t *)((const char *)d + p->offset))
            continue;
        if (at + p->size > end)
            pci_refuse(d, too_long);
        else
            p->read(d, at);
    }
}

void pci_read_capabilities(struct pci_device *d)
{
    struct chain c;
    uint16_t long_id;
    uint8_t id;

    d->port = PCI_PORT_CONVENTIONAL;
    chain_begin(&c, &d->address);
    while (chain_next(&c, &id))
        parse(d, capabilities, ARRAY_COUNT(capabilities), id, c.at, CAPS_END);
    if (c.broken)
        pci_refuse(d, c.broken);
    extended_begin(&c, &d->address, d->express != 0);
    while (extended_next(&c, &long_id))
        parse(d, extended, ARRAY_COUNT(extended), long_id, c.at, EXT_END);
    if (c.broken)
        pci_refuse(d, c.broken);
}
