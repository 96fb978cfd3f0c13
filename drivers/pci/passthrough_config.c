/* SPDX-License-Identifier: MIT */
/*
 * Configuration space as the owner of a passed device sees it. What tables here do not name is the device's to read and
 * nobody's to write; what could move the device, its BARs or its interrupts is kept here.
 */
#include "config.h"
#include "passthrough_parts.h"
#include "pci_regs.h"
#include <hv/base/bits.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

/* Bits of a register. What is not named keeps the value that it had when the device was assigned. */
struct field {
    uint8_t offset, size;
    uint32_t live, writable, clears;
    uint32_t zero;  /* begin as 0 */
    uint32_t quiet; /* drivers write these, to no effect: nothing to be told of */
};

#define PCI_LATENCY_TIMER 0x0d
#define PCI_SELF_TEST     0x0f
#define PCI_CARDBUS       0x28
#define COMMAND_WRITABLE  0x0547
#define STATUS_INTERRUPT  BIT32(3)
#define STATUS_ERRORS     0xf900

static const struct field header_fields[] = {
    {PCI_COMMAND, 2, .writable = COMMAND_WRITABLE, .zero = 0xffff},
    {PCI_STATUS, 2, .live = ~STATUS_INTERRUPT, .clears = STATUS_ERRORS, .zero = STATUS_INTERRUPT, .quiet = ~0u},
    {PCI_CACHE_LINE, 1, .writable = 0xff, .zero = 0xff},
    {PCI_LATENCY_TIMER, 1, .writable = 0xff, .zero = 0xff},
    {PCI_HEADER_TYPE, 1, .zero = PCI_HEADER_MULTI}, /* its siblings are not there */
    {PCI_SELF_TEST, 1, .zero = 0xff},
    {PCI_CARDBUS, 4, .zero = ~0u},
    {PCI_ROM, 4, .zero = ~0u, .quiet = ~0u},
    {PCI_INTERRUPT_LINE, 1, .writable = 0xff, .zero = 0xff},
    {PCI_INTERRUPT_PIN, 1, .zero = 0xff}, /* messages only */
};

#define PM_CAPABLE 2
#define PM_CONTROL 4
#define PM_DATA    6
#define PM_STATE   BITS32(1, 0)
#define PM_PME     0xf800 /* from which states it can wake */

static const struct field pm_fields[] = {
    {PM_CAPABLE, 2, .zero = PM_PME},
    {PM_CONTROL, 2, .writable = PM_STATE, .zero = 0xff00 | PM_STATE},
    {PM_DATA, 2, .zero = 0xffff},
};

#define EXPRESS_CAPABLE     4
#define EXPRESS_CONTROL     8
#define EXPRESS_STATUS      10
#define EXPRESS_LINK_STATUS 18
#define EXPRESS_CAN_FLR     BIT32(28)
#define EXPRESS_FLR         BIT32(15)
#define EXPRESS_REPORTS     BITS32(3, 0) /* nobody listens: kept, not passed on */
#define EXPRESS_RELAXED     BIT32(4)
#define EXPRESS_NO_SNOOP    BIT32(11) /* would go past caches that the guest believes in */
#define EXPRESS_READ_SIZE   BITS32(14, 12)
#define EXPRESS_PASSED      (EXPRESS_RELAXED | EXPRESS_READ_SIZE)

static const struct field express_fields[] = {
    {EXPRESS_CONTROL, 2, .writable = EXPRESS_REPORTS | EXPRESS_PASSED, .zero = EXPRESS_NO_SNOOP | EXPRESS_REPORTS},
    {EXPRESS_STATUS, 2, .live = BITS32(5, 0), .clears = BITS32(3, 0)},
    {EXPRESS_LINK_STATUS, 2, .live = 0xffff},
};

#define AF_CONTROL 4
#define AF_STATUS  5
#define AF_FLR     BIT32(0)

static const struct field af_fields[] = {
    {AF_CONTROL, 1, .zero = 0xff},
    {AF_STATUS, 1, .live = 1},
};

/* --------------------------------------------------------------------------- building: header */

static void set_bytes(uint8_t *map, uint32_t at, uint32_t size, uint32_t bits)
{
    for (uint32_t i = 0; i < size && at + i < PASSTHROUGH_CONFIG; i++)
        map[at + i] = (uint8_t)(bits >> 8 * i);
}

static void clear_bytes(uint8_t *map, uint32_t at, uint32_t size, uint32_t bits)
{
    for (uint32_t i = 0; i < size && at + i < PASSTHROUGH_CONFIG; i++)
        map[at + i] &= (uint8_t) ~(bits >> 8 * i);
}

static void add_fields(struct passthrough_config *c, uint32_t at, const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field *f = &fields[i];

        set_bytes(c->live, at + f->offset, f->size, f->live);
        set_bytes(c->writable, at + f->offset, f->size, f->writable);
        set_bytes(c->clears, at + f->offset, f->size, f->clears);
        set_bytes(c->quiet, at + f->offset, f->size, f->quiet);
        clear_bytes(c->initial, at + f->offset, f->size, f->zero);
    }
}

static uint32_t bar_type(const struct pci_bar *bar)
{
    if (bar->is_io)
        return PCI_BAR_IO;
    return (bar->is_64bit ? (uint32_t)FIELD_PUT(PCI_BAR_TYPE, PCI_BAR_TYPE_64) : 0) |
           (bar->is_prefetchable ? PCI_BAR_PREFETCH : 0);
}

/* As a BAR reads after ones. */
static void probed_bars(const struct pci_device *pci, uint32_t bars[PCI_BARS])
{
    memset(bars, 0, PCI_BARS * sizeof(bars[0]));
    for (uint32_t i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *b = &pci->bars[i];

        if (!b->size)
            continue;
        bars[i] = (uint32_t) ~(b->size - 1) | bar_type(b);
        if (b->is_64bit && i + 1 < PCI_BARS)
            bars[++i] = (uint32_t)(~(b->size - 1) >> 32);
    }
}

static void add_bars(struct passthrough_device *d)
{
    struct passthrough_config *c = &d->config;
    uint32_t bars[PCI_BARS];

    probed_bars(d->pci, bars);
    for (uint32_t i = 0; i < PCI_BARS; i++) {
        bool is_first = d->pci->bars[i].size != 0;
        uint32_t type = is_first ? bar_type(&d->pci->bars[i]) : 0;

        set_bytes(c->initial, PCI_BAR0 + 4 * i, 4, type);
        set_bytes(c->writable, PCI_BAR0 + 4 * i, 4, bars[i] & ~type);
        set_bytes(c->quiet, PCI_BAR0 + 4 * i, 4, ~0u);
    }
}

/* --------------------------------------------------------------------- building: capabilities */

#define PCI_CAP_SUBSYSTEM 0x0d
#define PCI_CAP_SATA      0x12
#define CAPABILITIES_MAX  48u

/* Those that a guest may see. Others are not there: what they do is the host's, or moves the device. */
static const struct kind {
    uint8_t id, size; /* 0: all that there is of it is the device's, to read */
    uint8_t quiet;    /* bytes of it, behind its head */
    uint16_t place;   /* of its offset in struct pci_device: the first of its kind; 0: any of them */
    const struct field *fields;
    size_t count;
} kinds[] = {
    {PCI_CAP_PM, 8, 6, offsetof(struct pci_device, pm), pm_fields, ARRAY_COUNT(pm_fields)},
    {PCI_CAP_MSI, 24, 22, offsetof(struct pci_device, msi.cap), NULL, 0},
    {PCI_CAP_VENDOR, 0, 0, 0, NULL, 0},
    {PCI_CAP_SUBSYSTEM, 0, 0, 0, NULL, 0},
    {PCI_CAP_EXPRESS, 0x3c, 0x3a, offsetof(struct pci_device, express), express_fields, ARRAY_COUNT(express_fields)},
    {PCI_CAP_MSIX, 12, 2, offsetof(struct pci_device, msix.cap), NULL, 0},
    {PCI_CAP_SATA, 0, 0, 0, NULL, 0},
    {PCI_CAP_AF, 6, 4, offsetof(struct pci_device, af), af_fields, ARRAY_COUNT(af_fields)},
};

struct capability {
    uint8_t at, end;         /* its last byte */
    const struct kind *kind; /* NULL: hidden */
};

static uint32_t hardware(const struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    return pci_config_read(&d->pci->address, offset, size);
}

static const struct kind *kind_of(const struct pci_device *pci, uint8_t id, uint8_t at)
{
    for (const struct kind *k = kinds; k < kinds + ARRAY_COUNT(kinds); k++)
        if (k->id == id && (!k->place || *(const uint16_t *)((const char *)pci + k->place) == at))
            return k;
    return NULL;
}

/* False: it is not a list that ends. */
static bool read_list(const struct passthrough_device *d, struct capability list[CAPABILITIES_MAX], uint32_t *count)
{
    const uint8_t *bytes = d->config.initial;
    uint8_t at = bytes[PCI_CAPABILITIES] & 0xfc;

    *count = 0;
    if (!(bytes[PCI_STATUS] & PCI_STATUS_CAPABILITIES))
        return true;
    for (; at; at = bytes[at + 1] & 0xfc) {
        if (at < 0x40 || *count == CAPABILITIES_MAX)
            return false;
        list[(*count)++] = (struct capability){at, 0xff, kind_of(d->pci, bytes[at], at)};
    }
    for (uint32_t i = 0; i < *count; i++)
        for (uint32_t k = 0; k < *count; k++)
            if (list[k].at > list[i].at && list[k].at <= list[i].end)
                list[i].end = (uint8_t)(list[k].at - 1);
    return true;
}

static void add_capability(struct passthrough_config *c, const struct capability *cap)
{
    uint32_t size = cap->end - cap->at + 1u;

    if (!cap->kind) {
        memset(c->live + cap->at, 0, size);
        memset(c->initial + cap->at, 0, size);
        return;
    }
    memset(c->live + cap->at, 0, cap->kind->size ? HV_MIN(size, (uint32_t)cap->kind->size) : 2);
    add_fields(c, cap->at, cap->kind->fields, cap->kind->count);
    memset(c->quiet + cap->at + 2, 0xff, HV_MIN(size - 2, (uint32_t)cap->kind->quiet));
}

/* The shown ones, in their order. */
static bool add_capabilities(struct passthrough_device *d)
{
    struct capability list[CAPABILITIES_MAX];
    struct passthrough_config *c = &d->config;
    uint32_t count, link = PCI_CAPABILITIES;

    if (!read_list(d, list, &count))
        return false;
    memset(c->live + 0x40, 0xff, PASSTHROUGH_CONFIG - 0x40);
    for (uint32_t i = 0; i < count; i++)
        add_capability(c, &list[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (!list[i].kind)
            continue;
        c->initial[link] = list[i].at;
        link = list[i].at + 1u;
    }
    c->initial[link] = 0;
    return true;
}

/* ------------------------------------------------------------------------- virtio's own */

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_FIRST  0x1000 /* transitional ones; from VIRTIO_MODERN on the device's type is in the ID */
#define VIRTIO_MODERN 0x1040
#define VIRTIO_LAST   0x107f

static const struct {
    uint16_t device;
    enum passthrough_kind kind;
} virtio_kinds[] = {
    {0x1000, PASSTHROUGH_VIRTIO_NET},   {0x1001, PASSTHROUGH_VIRTIO_BLOCK}, {0x1041, PASSTHROUGH_VIRTIO_NET},
    {0x1042, PASSTHROUGH_VIRTIO_BLOCK}, {0x1050, PASSTHROUGH_VIRTIO_GPU},   {0x1059, PASSTHROUGH_VIRTIO_SOUND},
};

enum passthrough_kind passthrough_kind(const struct passthrough_device *d)
{
    const struct hv_vpci_ids *ids = &d->pci->ids;

    for (uint32_t i = 0; ids->vendor == VIRTIO_VENDOR && i < ARRAY_COUNT(virtio_kinds); i++)
        if (virtio_kinds[i].device == ids->device)
            return virtio_kinds[i].kind;
    return PASSTHROUGH_GENERIC;
}

/*
 * Virtio has a window in configuration space (virtio 1.2 4.1.4.9) through which all of the BARs can be reached: it is
 * done here, so that the MSI-X table behind it is the virtual one.
 */
#define WINDOW_TYPE   3
#define WINDOW_IS     5
#define WINDOW_BAR    4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA   16
#define WINDOW_SIZE   20

static const struct field window_fields[] = {
    {WINDOW_BAR, 1, .writable = 0xff, .zero = 0xff},
    {WINDOW_OFFSET, 4, .writable = ~0u, .zero = ~0u},
    {WINDOW_LENGTH, 4, .writable = ~0u, .zero = ~0u},
    {WINDOW_DATA, 4, .zero = ~0u, .quiet = ~0u},
};

static void add_window(struct passthrough_device *d)
{
    struct passthrough_config *c = &d->config;
    struct capability list[CAPABILITIES_MAX];
    uint32_t count;

    if (d->pci->ids.vendor != VIRTIO_VENDOR || d->pci->ids.device < VIRTIO_FIRST || d->pci->ids.device > VIRTIO_LAST ||
        !read_list(d, list, &count))
        return;
    for (uint32_t i = 0; i < count && !c->window; i++) {
        if (!list[i].kind || list[i].kind->id != PCI_CAP_VENDOR || list[i].end - list[i].at + 1u < WINDOW_SIZE ||
            c->initial[list[i].at + WINDOW_TYPE] != WINDOW_IS)
            continue;
        c->window = list[i].at;
        add_fields(c, list[i].at, window_fields, ARRAY_COUNT(window_fields));
    }
}

static uint32_t kept(const struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    uint32_t value = 0;

    memcpy(&value, d->config.value + offset, size);
    return value;
}

static void window_access(struct passthrough_device *d, uint32_t *data, bool is_write)
{
    uint32_t at = d->config.window, length = kept(d, at + WINDOW_LENGTH, 4);
    uint64_t value = is_write ? *data : 0;

    if (length > 4 || !passthrough_bar_access(d, kept(d, at + WINDOW_BAR, 1), kept(d, at + WINDOW_OFFSET, 4), length,
                                              &value, is_write))
        value = 0;
    *data = (uint32_t)value;
}

/* ------------------------------------------------------------------- building: extended ones */

static bool is_extended_shown(uint16_t id)
{
    static const uint16_t shown[] = {
        0x0001, /* advanced error reporting: to read */
        0x0003, /* serial number */
        0x000b, /* the vendor's */
        0x0023, /* the vendor's, designated */
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(shown); i++)
        if (shown[i] == id)
            return true;
    return false;
}

#define EXTENDED_NEXT    BITS32(31, 20)
#define EXTENDED_ID      BITS32(15, 0)
#define EXTENDED_VERSION BITS32(19, 16)

static bool read_extended(struct passthrough_device *d)
{
    struct passthrough_config *c = &d->config;
    uint32_t at = PCI_EXTENDED;

    for (uint32_t head; at; at = (uint32_t)FIELD_GET(EXTENDED_NEXT, head) & ~3u) {
        head = hardware(d, at, 4);
        if (at < PCI_EXTENDED || c->extended_count == PASSTHROUGH_EXTENDED)
            return false;
        if (head == 0 || head == ~0u)
            break;
        c->extended[c->extended_count++] = (struct passthrough_extended){
            (uint16_t)at, is_extended_shown((uint16_t)FIELD_GET(EXTENDED_ID, head)), head & ~EXTENDED_NEXT};
    }
    return true;
}

/* The first head is there even if it is hidden: as one of no kind (PCIe 5.0 7.9.28), or as the end. */
static bool add_extended(struct passthrough_device *d)
{
    struct passthrough_config *c = &d->config;
    struct passthrough_extended *last = c->extended;

    c->size = d->pci->express ? pci_config_size(&d->pci->address) : PASSTHROUGH_CONFIG;
    if (c->size <= PASSTHROUGH_CONFIG)
        return true;
    if (!read_extended(d))
        return false;
    if (c->extended_count && !c->extended[0].is_shown)
        c->extended[0].head = 0;
    for (uint32_t i = 1; i < c->extended_count; i++) {
        if (!c->extended[i].is_shown)
            continue;
        last->head |= (uint32_t)FIELD_PUT(EXTENDED_NEXT, c->extended[i].offset);
        last = &c->extended[i];
    }
    return true;
}

enum hv_status passthrough_config_init(struct passthrough_device *d)
{
    struct passthrough_config *c = &d->config;

    *c = (struct passthrough_config){0};
    for (uint32_t i = 0; i < PASSTHROUGH_CONFIG; i += 4)
        set_bytes(c->initial, i, 4, hardware(d, i, 4));
    add_fields(c, 0, header_fields, ARRAY_COUNT(header_fields));
    add_bars(d);
    if (!add_capabilities(d) || !add_extended(d)) {
        passthrough_log(d->pci, HV_LOG_ERROR, "its capabilities can not be made sense of");
        return HV_E_UNSUPPORTED;
    }
    add_window(d);
    passthrough_config_reset(d);
    return HV_OK;
}

void passthrough_config_reset(struct passthrough_device *d)
{
    memcpy(d->config.value, d->config.initial, PASSTHROUGH_CONFIG);
}

/* ----------------------------------------------------------------------------------- the device */

static void put(struct passthrough_device *d, uint32_t offset, uint32_t mask, uint32_t bits)
{
    uint32_t is = hardware(d, offset, 2), wanted = (is & ~mask) | (bits & mask);

    if (wanted != is)
        pci_config_write(&d->pci->address, offset, 2, wanted);
}

static uint32_t decoding(const struct pci_device *pci)
{
    uint32_t bits = 0;

    for (uint32_t i = 0; i < PCI_BARS; i++)
        if (pci->bars[i].size)
            bits |= pci->bars[i].is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    return bits;
}

/* Decoding stays on: what the guest maps is its BARs' business elsewhere, and the MSI-X table is needed here. */
void passthrough_config_apply(struct passthrough_device *d)
{
    uint32_t master = passthrough_in_d0(d) && !d->is_broken ? kept(d, PCI_COMMAND, 2) & PCI_COMMAND_MASTER : 0;
    uint32_t at = d->pci->express;

    if (at)
        put(d, at + EXPRESS_CONTROL, EXPRESS_PASSED | EXPRESS_NO_SNOOP, kept(d, at + EXPRESS_CONTROL, 2));
    put(d, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_INTX_OFF,
        decoding(d->pci) | master | PCI_COMMAND_INTX_OFF);
}

/* -------------------------------------------------------------------------------------- reading */

static bool is_access(uint32_t offset, uint32_t size)
{
    return (size == 1 || size == 2 || size == 4) && offset % size == 0 && offset < 4096;
}

static bool touches(uint32_t offset, uint32_t size, uint32_t at, uint32_t length)
{
    return offset < at + length && at < offset + size;
}

static uint8_t read_byte(const struct passthrough_device *d, uint32_t at)
{
    const struct pci_device *pci = d->pci;

    if (pci->msi.cap && touches(at, 1, pci->msi.cap + 2u, vmsi_size(&d->msi) - 2))
        return (uint8_t)vmsi_read(&d->msi, at - pci->msi.cap, 1);
    if (pci->msix.cap && touches(at, 1, pci->msix.cap + 2u, 2))
        return (uint8_t)(vmsix_control(&d->msix) >> 8 * (at - pci->msix.cap - 2u));
    return d->config.value[at];
}

static uint32_t read_low(struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    const struct passthrough_config *c = &d->config;
    uint32_t value = 0, live = 0, data;

    if (c->window && offset == c->window + WINDOW_DATA) {
        window_access(d, &data, false);
        return data & (uint32_t)BITS64(8 * size - 1, 0);
    }
    for (uint32_t i = 0; i < size; i++) {
        value |= (uint32_t)read_byte(d, offset + i) << 8 * i;
        live |= (uint32_t)c->live[offset + i] << 8 * i;
    }
    if (live)
        value = (value & ~live) | (hardware(d, offset, size) & live);
    return value;
}

static uint32_t read_extended_word(struct passthrough_device *d, uint32_t offset)
{
    const struct passthrough_extended *found = NULL;

    for (uint32_t i = 0; i < d->config.extended_count; i++) {
        const struct passthrough_extended *e = &d->config.extended[i];

        if (e->offset <= offset && (!found || e->offset > found->offset))
            found = e;
    }
    if (found && found->offset == offset && (found->is_shown || offset == PCI_EXTENDED))
        return found->head;
    return found && found->is_shown ? hardware(d, offset, 4) : 0;
}

uint32_t passthrough_config_read(struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    uint32_t value = ~0u;

    if (!is_access(offset, size))
        return value;
    hv_mutex_lock(&d->lock);
    if (offset < PASSTHROUGH_CONFIG)
        value = read_low(d, offset, size);
    else if (offset < d->config.size)
        value = read_extended_word(d, offset & ~3u) >> 8 * (offset & 3);
    hv_mutex_unlock(&d->lock);
    return value & (uint32_t)BITS64(8 * size - 1, 0);
}

/* -------------------------------------------------------------------------------------- writing */

/* The part of a write that is in these bytes. */
struct part {
    uint32_t at, size, value;
};

static bool cut(const struct part *w, uint32_t at, uint32_t length, struct part *out)
{
    uint32_t start = HV_MAX(w->at, at), end = HV_MIN(w->at + w->size, at + length);

    if (start >= end)
        return false;
    out->at = start - at;
    out->size = end - start;
    out->value = (w->value >> 8 * (start - w->at)) & (uint32_t)BITS64(8 * out->size - 1, 0);
    return true;
}

static void write_msi(struct passthrough_device *d, const struct part *w)
{
    struct part p;

    if (d->pci->msi.cap && cut(w, d->pci->msi.cap + 2u, vmsi_size(&d->msi) - 2, &p))
        passthrough_irq_write_msi(d, p.at + 2, p.size, p.value);
}

static void write_msix(struct passthrough_device *d, const struct part *w)
{
    uint16_t control;
    struct part p;

    if (!d->pci->msix.cap || !cut(w, d->pci->msix.cap + 2u, 2, &p))
        return;
    control = vmsix_control(&d->msix);
    memcpy((uint8_t *)&control + p.at, &p.value, p.size);
    passthrough_irq_write_control(d, control);
}

static bool starts_flr(const struct passthrough_device *d, const struct part *w)
{
    uint32_t express = d->pci->express;
    struct part p;

    if (express && (kept(d, express + EXPRESS_CAPABLE, 4) & EXPRESS_CAN_FLR) &&
        cut(w, express + EXPRESS_CONTROL, 2, &p) && (p.value << 8 * p.at & EXPRESS_FLR))
        return true;
    return d->pci->af && cut(w, d->pci->af + AF_CONTROL, 1, &p) && (p.value & AF_FLR);
}

static void write_bytes(struct passthrough_device *d, const struct part *w)
{
    struct passthrough_config *c = &d->config;

    for (uint32_t i = 0; i < w->size; i++) {
        uint32_t at = w->at + i;
        uint8_t byte = (uint8_t)(w->value >> 8 * i), clears = byte & c->clears[at];

        c->value[at] = (uint8_t)((c->value[at] & ~c->writable[at]) | (byte & c->writable[at]));
        if (clears)
            clears &= (uint8_t)hardware(d, at, 1);
        if (clears)
            pci_config_write(&d->pci->address, at, 1, clears);
    }
}

/* -------------------------------------------------------------------------- what is not written */

#define TOLD_MAX   8u
#define TOLD_WORDS 64u

/* It is told once of each register, while there are not too many. */
static bool is_to_be_told(const struct passthrough_config *c, uint32_t offset)
{
    return c->told_count < TOLD_MAX && !(c->told & BIT64(HV_MIN(offset / 4, TOLD_WORDS - 1)));
}

static void tell_blocked(struct passthrough_device *d, const struct part *w, uint32_t bits)
{
    struct passthrough_config *c = &d->config;
    const struct hv_pci_address *a = &d->pci->address;

    c->told |= BIT64(HV_MIN(w->at / 4, TOLD_WORDS - 1));
    hv_log(HV_LOG_WARNING,
           "PCI %04x:%02x:%02x.%u: write of 0x%x to configuration register 0x%x blocked: bits 0x%x are not its guest's",
           a->segment, a->bdf >> 8, a->bdf >> 3 & 31, a->bdf & 7, w->value, w->at, bits);
    if (++c->told_count == TOLD_MAX)
        passthrough_log(d->pci, HV_LOG_WARNING, "further blocked writes to its configuration are not shown");
}

/* Bits that this would change, and that are nobody's here. */
static uint32_t closed_bits(const struct passthrough_device *d, const struct part *w)
{
    const struct passthrough_config *c = &d->config;
    uint32_t bits = 0;

    for (uint32_t i = 0; i < w->size; i++) {
        uint32_t at = w->at + i;
        uint8_t closed = (uint8_t) ~(c->writable[at] | c->clears[at] | c->quiet[at]), live = closed & c->live[at];
        uint8_t is = live ? (uint8_t)((c->value[at] & ~live) | (hardware(d, at, 1) & live)) : c->value[at];

        bits |= (uint32_t)(((uint8_t)(w->value >> 8 * i) ^ is) & closed) << 8 * i;
    }
    return bits;
}

static void look_for_blocked(struct passthrough_device *d, const struct part *w)
{
    uint32_t bits = 0;

    if (!is_to_be_told(&d->config, w->at))
        return;
    if (w->at < PASSTHROUGH_CONFIG)
        bits = closed_bits(d, w);
    else if (w->at < d->config.size)
        bits =
            (w->value ^ read_extended_word(d, w->at & ~3u) >> 8 * (w->at & 3)) & (uint32_t)BITS64(8 * w->size - 1, 0);
    if (bits)
        tell_blocked(d, w, bits);
}

static void write_low(struct passthrough_device *d, const struct part *w)
{
    uint32_t pm = d->pci->pm, express = d->pci->express;
    uint32_t power = pm ? kept(d, pm + PM_CONTROL, 1) & PM_STATE : 0, data = w->value;

    write_bytes(d, w);
    if (starts_flr(d, w)) {
        passthrough_reset_function(d);
        return;
    }
    write_msi(d, w);
    write_msix(d, w);
    if (touches(w->at, w->size, PCI_COMMAND, 2) || (express && touches(w->at, w->size, express + EXPRESS_CONTROL, 2)))
        passthrough_config_apply(d);
    if (d->config.window && w->at == d->config.window + WINDOW_DATA)
        window_access(d, &data, true);
    if (pm && touches(w->at, w->size, pm + PM_CONTROL, 1))
        passthrough_power_changed(d, power);
}

/* Nothing beyond the first 256 bytes is an owner's to write. */
void passthrough_config_write(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    struct part w = {offset, size, value};

    if (!is_access(offset, size))
        return;
    w.value &= (uint32_t)BITS64(8 * size - 1, 0);
    hv_mutex_lock(&d->lock);
    look_for_blocked(d, &w);
    if (offset < PASSTHROUGH_CONFIG)
        write_low(d, &w);
    hv_mutex_unlock(&d->lock);
}

void passthrough_probed_bars(const struct passthrough_device *d, uint32_t bars[PCI_BARS])
{
    probed_bars(d->pci, bars);
}
