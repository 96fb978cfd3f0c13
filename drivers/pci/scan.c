/* SPDX-License-Identifier: MIT */
/*
 * Which functions there are: every bus that configuration space reaches is looked at once, in ascending order, whatever
 * bridges say. Their bus numbers only tell what is behind what; where these contradict each other, what is on such
 * buses is refused.
 */
#include "config.h"
#include "pci_regs.h"
#include "probe.h"
#include <arch/iommu.h>
#include <hv/base/lock.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

#define BUSES     256u
#define DEVICES   32u
#define FUNCTIONS 8u

struct bus {
    struct pci_device *functions[DEVICES * FUNCTIONS];
};

struct segment {
    struct segment *next;
    uint16_t number;
    struct bus *buses[BUSES];          /* NULL: nobody there */
    struct pci_device *bridges[BUSES]; /* that forward to it: the one next to it */
    bool is_doubtful[BUSES];           /* more than one bridge claims it, or one that can not */
};

static struct {
    struct pci_device *first, **end;
    struct segment *segments;
    uint32_t count;
    bool is_done; /* atomic: what is above does not change any more */
} all;

static struct hv_mutex lock;

/* --------------------------------------------------------------------------------- the index */

static struct segment *segment_of(uint16_t number)
{
    for (struct segment *s = all.segments; s; s = s->next)
        if (s->number == number)
            return s;
    return NULL;
}

static bool is_done(void)
{
    return __atomic_load_n(&all.is_done, __ATOMIC_ACQUIRE);
}

const struct pci_device *pci_first(void)
{
    return is_done() ? all.first : NULL;
}

struct pci_device *pci_find(const struct hv_pci_address *a)
{
    const struct segment *s = is_done() ? segment_of(a->segment) : NULL;
    const struct bus *bus = s ? s->buses[a->bdf >> 8] : NULL;

    return bus ? bus->functions[a->bdf & 0xff] : NULL;
}

static bool bridge_buses(const struct hv_pci_address *bridge, uint8_t *first, uint8_t *last)
{
    const struct pci_device *d = pci_find(bridge);

    if (!d || !d->secondary)
        return false;
    *first = d->secondary;
    *last = d->last;
    return true;
}

/* ----------------------------------------------------------------------------- one function */

static void read_ids(struct pci_device *d)
{
    uint32_t id = pci_config_read(&d->address, PCI_VENDOR, 4);
    uint32_t class = pci_config_read(&d->address, PCI_REVISION, 4);

    d->ids = (struct hv_vpci_ids){.vendor = (uint16_t)id,
                                  .device = (uint16_t)(id >> 16),
                                  .revision = (uint8_t) class,
                                  .prog_if = (uint8_t)(class >> 8),
                                  .sub_class = (uint8_t)(class >> 16),
                                  .base_class = (uint8_t)(class >> 24)};
    if (d->header != 0)
        return;
    id = pci_config_read(&d->address, PCI_SUB_VENDOR, 4);
    d->ids.sub_vendor = (uint16_t)id;
    d->ids.sub_system = (uint16_t)(id >> 16);
}

#define CLASS_BRIDGE  0x06
#define CLASS_SYSTEM  0x08
#define SYSTEM_SD     0x05 /* the one system peripheral that belongs to nobody */
#define SYSTEM_OTHERS 0x80

/* What the machine itself consists of is not for guests. */
static const char *kind_refusal(const struct pci_device *d)
{
    static const char *const headers[] = {NULL, "it is a bridge", "it is a bridge to CardBus"};

    if (d->header >= ARRAY_COUNT(headers))
        return "its header is of a kind that there is not";
    if (headers[d->header])
        return headers[d->header];
    if (d->ids.base_class == CLASS_BRIDGE)
        return "it is a bridge of the machine";
    if (d->ids.base_class == CLASS_SYSTEM && d->ids.sub_class != SYSTEM_SD && d->ids.sub_class != SYSTEM_OTHERS)
        return "it is a part of the machine: an interrupt controller, timer or IOMMU";
    return NULL;
}

static bool is_there(const struct hv_pci_address *a)
{
    uint32_t id = pci_config_read(a, PCI_VENDOR, 4);

    return id && (id & 0xffff) != 0xffff;
}

static enum hv_status add_function(struct segment *s, const struct hv_pci_address *a, struct pci_device **out)
{
    uint8_t bus = (uint8_t)(a->bdf >> 8), header;
    struct pci_device *d;

    if (!s->buses[bus])
        s->buses[bus] = hv_host_alloc(sizeof(struct bus));
    d = s->buses[bus] ? hv_host_alloc(sizeof(*d)) : NULL;
    if (!d)
        return HV_E_NO_MEMORY;
    header = (uint8_t)pci_config_read(a, PCI_HEADER_TYPE, 1);
    d->address = *a;
    d->header = header & PCI_HEADER_LAYOUT;
    d->is_multifunction = header & PCI_HEADER_MULTI;
    d->bridge = s->bridges[bus];
    read_ids(d);
    pci_refuse(d, kind_refusal(d));
    pci_read_capabilities(d);
    s->buses[bus]->functions[a->bdf & 0xff] = d;
    *all.end = d;
    all.end = &d->next;
    all.count++;
    *out = d;
    return HV_OK;
}

/* ----------------------------------------------------------------------------------- bridges */

/* Buses that a bridge forwards to are behind the same bridge as itself, until then: ranges nest, and leave upwards. */
static bool is_sane(const struct segment *s, const struct pci_device *d, uint8_t first, uint8_t last)
{
    if (first <= d->address.bdf >> 8)
        return false;
    for (uint32_t bus = first; bus <= last; bus++)
        if (s->bridges[bus] != d->bridge || s->is_doubtful[bus])
            return false;
    return true;
}

/* CardBus has the numbers in the same places. Bridges that firmware has not set up have 0 there: they forward nothing,
 * as those with nothing between the two. */
static void add_bridge(struct segment *s, struct pci_device *d)
{
    uint8_t first = (uint8_t)pci_config_read(&d->address, PCI_BRIDGE_SECONDARY, 1);
    uint8_t last = (uint8_t)pci_config_read(&d->address, PCI_BRIDGE_LAST, 1);

    if (!first || last < first)
        return;
    if (!is_sane(s, d, first, last)) {
        hv_log(HV_LOG_WARNING, "pci: bridge %04x:%02x:%02x.%u: it can not forward to buses %02x to %02x", s->number,
               d->address.bdf >> 8, d->address.bdf >> 3 & 31, d->address.bdf & 7, first, last);
        memset(s->is_doubtful + first, true, last - first + 1u);
        return;
    }
    d->secondary = first;
    d->last = last;
    for (uint32_t bus = first; bus <= last; bus++)
        s->bridges[bus] = d;
}

/* --------------------------------------------------------------------------------- the scan */

static enum hv_status visit(struct segment *s, uint16_t bdf, struct pci_device **out)
{
    struct hv_pci_address a = {s->number, bdf};
    enum hv_status st;

    *out = NULL;
    if (!is_there(&a))
        return HV_OK;
    st = add_function(s, &a, out);
    if (st == HV_OK && ((*out)->header == 1 || (*out)->header == 2))
        add_bridge(s, *out);
    return st;
}

static enum hv_status scan_slot(struct segment *s, uint16_t bdf, struct pci_device **first)
{
    struct pci_device *d;
    enum hv_status st = visit(s, bdf, first);

    for (uint16_t f = 1; st == HV_OK && *first && (*first)->is_multifunction && f < FUNCTIONS; f++)
        st = visit(s, bdf + f, &d);
    return st;
}

#define EXPRESS_CONTROL2 0x28
#define EXPRESS_ARI      BIT32(5)
#define ARI_NEXT         BITS32(15, 8)

/* A link has one device. With ARI its functions are a chain that goes upwards through all 256 (PCIe 5.0 6.13). */
static enum hv_status scan_link(struct segment *s, uint8_t bus)
{
    const struct pci_device *port = s->bridges[bus];
    bool has_ari = pci_config_read(&port->address, port->express + EXPRESS_CONTROL2, 2) & EXPRESS_ARI;
    struct hv_pci_address a = {s->number, (uint16_t)(bus << 8)};
    struct pci_device *d;
    enum hv_status st;

    if (!has_ari || !pci_find_extended(&a, PCI_EXT_CAP_ARI))
        return scan_slot(s, a.bdf, &d);
    for (uint32_t next = 0, function;; a.bdf = (uint16_t)(bus << 8 | next)) {
        uint16_t at;

        function = next;
        st = visit(s, a.bdf, &d);
        at = d ? pci_find_extended(&a, PCI_EXT_CAP_ARI) : 0;
        next = at ? FIELD_GET(ARI_NEXT, pci_config_read(&a, at + 4u, 2)) : 0;
        if (st != HV_OK || next <= function)
            return st;
    }
}

static bool is_link(const struct segment *s, uint8_t bus)
{
    const struct pci_device *bridge = s->bridges[bus];

    return bridge && bridge->secondary == bus && (bridge->port == PCI_PORT_ROOT || bridge->port == PCI_PORT_DOWN);
}

static enum hv_status scan_bus(struct segment *s, uint8_t bus)
{
    struct pci_device *d;
    enum hv_status st = HV_OK;

    if (is_link(s, bus))
        return scan_link(s, bus);
    for (uint32_t device = 0; st == HV_OK && device < DEVICES; device++)
        st = scan_slot(s, HV_PCI_BDF(bus, device, 0), &d);
    return st;
}

static enum hv_status scan_segment(uint16_t number)
{
    struct segment *s = hv_host_alloc(sizeof(*s));
    uint8_t first = 0, last = 0;
    enum hv_status st = HV_OK;

    if (!s)
        return HV_E_NO_MEMORY;
    s->number = number;
    s->next = all.segments;
    all.segments = s;
    if (!pci_config_buses(number, &first, &last))
        return HV_OK;
    for (uint32_t bus = first; st == HV_OK && bus <= last; bus++)
        st = scan_bus(s, (uint8_t)bus);
    return st;
}

/* After the last bridge was seen. */
static void refuse_doubtful(void)
{
    for (struct pci_device *d = all.first; d; d = d->next)
        if (segment_of(d->address.segment)->is_doubtful[d->address.bdf >> 8])
            pci_refuse(d, "it is on a bus that bridges do not agree about");
}

static void forget(void)
{
    struct pci_device *d, *next;
    struct segment *s;

    __atomic_store_n(&all.is_done, false, __ATOMIC_RELEASE);
    iommu_set_bridges(NULL);
    for (d = all.first; d; d = next) {
        next = d->next;
        hv_host_free(d, sizeof(*d));
    }
    while ((s = all.segments)) {
        all.segments = s->next;
        for (uint32_t bus = 0; bus < BUSES; bus++)
            if (s->buses[bus])
                hv_host_free(s->buses[bus], sizeof(struct bus));
        hv_host_free(s, sizeof(*s));
    }
    memset(&all, 0, sizeof(all));
    pci_config_exit();
}

static enum hv_status scan(void)
{
    enum hv_status st = pci_config_init();
    uint16_t number;

    all.end = &all.first;
    for (uint32_t n = 0; st == HV_OK && pci_config_segment(n, &number); n++)
        st = scan_segment(number);
    if (st != HV_OK) {
        forget();
        return st;
    }
    refuse_doubtful();
    __atomic_store_n(&all.is_done, true, __ATOMIC_RELEASE);
    iommu_set_bridges(bridge_buses);
    return HV_OK;
}

enum hv_status pci_scan(void)
{
    enum hv_status st = HV_OK;

    hv_mutex_lock(&lock);
    if (!is_done())
        st = scan();
    hv_mutex_unlock(&lock);
    return st;
}

void pci_forget(void)
{
    hv_mutex_lock(&lock);
    forget();
    hv_mutex_unlock(&lock);
}

/* Only one at a time: BARs are compared with all others. */
const char *pci_refusal(const struct pci_device *function)
{
    struct pci_device *d = pci_find(&function->address);

    if (!d)
        return "it is not there";
    hv_mutex_lock(&lock);
    if (!d->refused && !d->is_examined) {
        d->is_examined = true; /* pci_size_bars: its own BARs are not those of another one */
        pci_size_bars(d);
    }
    hv_mutex_unlock(&lock);
    return d->refused;
}

enum hv_status hv_pci_function(uint32_t n, struct hv_pci_function *out)
{
    enum hv_status st = pci_scan();
    const struct pci_device *d;

    if (st != HV_OK)
        return st;
    for (d = pci_first(); d && n; d = d->next)
        n--;
    if (!d)
        return HV_E_NOT_FOUND;
    *out = (struct hv_pci_function){d->address, d->ids};
    return HV_OK;
}
