/* SPDX-License-Identifier: MIT */
/*
 * Where the BARs of passed devices are. That decides the guest, as on a machine: by their registers, and the command
 * register. While a BAR is decoded, and inside of the window that the host bridge forwards, those of its pages that the
 * library gives away are mapped there; accesses to the others, such as the MSI-X table's, come to vmm/vpci.c.
 */
#include <vmm/bytes.h>
#include <vmm/vpci_parts.h>

#define CONFIG_COMMAND 0x04u
#define CONFIG_BARS    0x10u
#define COMMAND_IO     (1u << 0)
#define COMMAND_MEMORY (1u << 1)
#define BAR_IO         (1u << 0)
#define BAR_TYPE       (3u << 1)
#define BAR_TYPE_64    (2u << 1)
#define BAR_IO_FLAGS   3u
#define BAR_FLAGS      15u
#define IO_SPACE       0xffff0000u /* of which devices need not show the upper half */

static WHV_PARTITION_HANDLE partition_of(const struct vpci_device *d)
{
    return d->vpci->guest->partition;
}

static uint32_t config_get(const struct vpci_device *d, uint32_t offset, uint32_t size)
{
    return (uint32_t)vpci_read(d, WHvVpciConfigSpace, offset, size);
}

static void config_set(const struct vpci_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    vpci_write(d, WHvVpciConfigSpace, offset, size, value);
}

/* ------------------------------------------------------------------------------------- the places */

/* Below 4 GiB, as the only window there is. */
static bool is_in_window(const struct vpci_bar *bar, uint64_t base)
{
    uint64_t begin = bar->is_io ? PCI_IO_BASE : PCI_MMIO_BASE, end = bar->is_io ? PCI_IO_END : PCI_MMIO_END;

    return base >= begin && base < end && end - base >= bar->size;
}

/* Where the guest wants it; a bridge forwards no accesses to places outside of its window. */
static uint64_t wanted_base(const struct vpci_device *d, uint32_t index, uint32_t command)
{
    const struct vpci_bar *bar = &d->bars[index];
    uint64_t base;

    if (!bar->size || !(command & (bar->is_io ? COMMAND_IO : COMMAND_MEMORY)))
        return VPCI_NOWHERE;
    base = config_get(d, CONFIG_BARS + 4 * index, 4) & ~(bar->is_io ? BAR_IO_FLAGS : BAR_FLAGS);
    if (bar->is_64)
        base |= (uint64_t)config_get(d, CONFIG_BARS + 4 * index + 4, 4) << 32;
    return is_in_window(bar, base) ? base : VPCI_NOWHERE;
}

/*
 * The BAR that has a byte of this range: of several the one that is mapped, else the first. Mapped ones have none in
 * common.
 */
static struct vpci_device *bar_at(struct vpci *vpci, bool is_io, uint64_t base, uint64_t size, uint32_t *index)
{
    struct vpci_device *found = NULL;

    for (struct vpci_device *d = vpci->devices; d < vpci->devices + vpci->count; d++) {
        for (uint32_t i = 0; i < VPCI_BARS; i++) {
            const struct vpci_bar *bar = &d->bars[i];

            if (!bar->size || bar->is_io != is_io || bar->base == VPCI_NOWHERE ||
                !bytes_overlap(base, size, bar->base, bar->size) || (found && !bar->is_mapped))
                continue;
            found = d;
            *index = i;
            if (bar->is_mapped)
                return d;
        }
    }
    return found;
}

/* An access that crosses out of its BAR is none. */
struct vpci_device *vpci_bar_find(struct vpci *vpci, bool is_io, uint64_t address, uint32_t size, uint32_t *index,
                                  uint64_t *offset)
{
    struct vpci_device *d = bar_at(vpci, is_io, address, size, index);

    if (!d || address < d->bars[*index].base)
        return NULL;
    *offset = address - d->bars[*index].base;
    return d->bars[*index].size - *offset >= size ? d : NULL;
}

/* --------------------------------------------------------------------------- what the guest is given */

/* May it have this piece, where the BAR is now? Pages only. */
static bool is_given(const struct vpci_device *d, uint32_t index, const WHV_VPCI_MMIO_MAPPING *piece)
{
    const struct vpci_bar *bar = &d->bars[index];
    uint64_t all = bar->base | piece->OffsetInBytes | piece->SizeInBytes | (uintptr_t)piece->VirtualAddress;

    return (uint32_t)piece->Location == index && piece->Flags && !(all % SYSTEM_PAGE_SIZE);
}

static void unmap_bar(struct vpci_device *d, uint32_t index)
{
    struct vpci_bar *bar = &d->bars[index];

    for (uint32_t i = 0; bar->is_mapped && i < d->piece_count; i++) {
        const WHV_VPCI_MMIO_MAPPING *piece = &d->pieces[i];

        if (is_given(d, index, piece))
            vpci_check(d, WHvUnmapGpaRange(partition_of(d), bar->base + piece->OffsetInBytes, piece->SizeInBytes),
                       "WHvUnmapGpaRange");
    }
    bar->is_mapped = false;
}

static WHV_MAP_GPA_RANGE_FLAGS access_of(WHV_VPCI_MMIO_RANGE_FLAGS flags)
{
    uint32_t access = WHvMapGpaRangeFlagNone;

    if ((uint32_t)flags & WHvVpciMmioRangeFlagReadAccess)
        access |= WHvMapGpaRangeFlagRead;
    if ((uint32_t)flags & WHvVpciMmioRangeFlagWriteAccess)
        access |= WHvMapGpaRangeFlagWrite;
    return (WHV_MAP_GPA_RANGE_FLAGS)access;
}

/* A piece that can not be mapped is reached by way of this VMM. */
static void map_bar(struct vpci_device *d, uint32_t index)
{
    struct vpci_bar *bar = &d->bars[index];

    bar->is_mapped = true;
    for (uint32_t i = 0; i < d->piece_count; i++) {
        const WHV_VPCI_MMIO_MAPPING *piece = &d->pieces[i];

        if (is_given(d, index, piece))
            vpci_check(d,
                       WHvMapGpaRange(partition_of(d), piece->VirtualAddress, bar->base + piece->OffsetInBytes,
                                      piece->SizeInBytes, access_of(piece->Flags)),
                       "WHvMapGpaRange");
    }
}

static void leave_places(struct vpci_device *d)
{
    uint32_t command = config_get(d, CONFIG_COMMAND, 2);

    for (uint32_t i = 0; i < VPCI_BARS; i++) {
        uint64_t base = wanted_base(d, i, command);

        if (base == d->bars[i].base)
            continue;
        unmap_bar(d, i);
        d->bars[i].base = base;
    }
}

/* Of BARs that the guest has put into one place, one has it; accesses to the rest of the others come here. */
static void take_places(struct vpci_device *d)
{
    for (uint32_t i = 0; i < VPCI_BARS; i++) {
        const struct vpci_bar *bar = &d->bars[i];
        const struct vpci_device *there;
        uint32_t other = 0;

        if (bar->is_io || bar->is_mapped || bar->base == VPCI_NOWHERE)
            continue;
        there = bar_at(d->vpci, false, bar->base, bar->size, &other);
        if (!there || !there->bars[other].is_mapped)
            map_bar(d, i);
    }
}

/*
 * Reading all registers again is cheap beside a wrong guess of what a write does. A BAR that leaves its place may make
 * room for another: first they leave, then they come.
 */
void vpci_bar_place(struct vpci *vpci)
{
    for (uint32_t i = 0; i < vpci->count; i++)
        leave_places(&vpci->devices[i]);
    for (uint32_t i = 0; i < vpci->count; i++)
        take_places(&vpci->devices[i]);
}

/* ----------------------------------------------------------------------------------- what there is */

static void read_bar(struct vpci_device *d, const WHV_VPCI_PROBED_BARS *probed, uint32_t index)
{
    struct vpci_bar *bar = &d->bars[index];
    uint32_t low = probed->Value[index];
    uint64_t mask;

    if (!low || low == UINT32_MAX)
        return;
    bar->is_io = low & BAR_IO;
    bar->is_64 = !bar->is_io && (low & BAR_TYPE) == BAR_TYPE_64 && index + 1 < VPCI_BARS;
    mask = bar->is_io ? (low & ~BAR_IO_FLAGS) | IO_SPACE : low & ~BAR_FLAGS;
    mask |= (uint64_t)(bar->is_64 ? probed->Value[index + 1] : UINT32_MAX) << 32;
    bar->size = ~mask + 1;
}

static bool get_pieces(struct vpci_device *d)
{
    WHV_VPCI_MMIO_MAPPING *pieces = NULL;
    UINT32 count = 0;

    if (!vpci_check(d, WHvMapVpciDeviceMmioRanges(partition_of(d), d->id, &count, &pieces),
                    "WHvMapVpciDeviceMmioRanges"))
        return false;
    d->pieces = pieces;
    d->piece_count = count;
    return true;
}

bool vpci_bar_begin(struct vpci_device *d)
{
    WHV_VPCI_PROBED_BARS probed = {{0}};

    for (uint32_t i = 0; i < VPCI_BARS; i++)
        d->bars[i].base = VPCI_NOWHERE;
    if (!vpci_check(d,
                    WHvGetVpciDeviceProperty(partition_of(d), d->id, WHvVpciDevicePropertyCodeProbedBARs, &probed,
                                             sizeof(probed), NULL),
                    "WHvGetVpciDeviceProperty"))
        return false;
    for (uint32_t i = 0; i < VPCI_BARS; i += d->bars[i].is_64 ? 2 : 1)
        read_bar(d, &probed, i);
    return get_pieces(d);
}

void vpci_bar_end(struct vpci_device *d)
{
    for (uint32_t i = 0; i < VPCI_BARS; i++) {
        unmap_bar(d, i);
        d->bars[i].base = VPCI_NOWHERE;
    }
    if (d->piece_count)
        vpci_check(d, WHvUnmapVpciDeviceMmioRanges(partition_of(d), d->id), "WHvUnmapVpciDeviceMmioRanges");
    d->pieces = NULL;
    d->piece_count = 0;
}

bool vpci_bar_listen(struct vpci_device *d)
{
    WHV_VPCI_DEVICE_NOTIFICATION n;
    bool heard = false;

    while (SUCCEEDED(WHvGetVpciDeviceNotification(partition_of(d), d->id, &n, sizeof(n))) &&
           n.NotificationType != WHvVpciDeviceNotificationUndefined) {
        heard = true;
        vpci_bar_end(d);
        if (n.NotificationType == WHvVpciDeviceNotificationMmioRemapping)
            (void)get_pieces(d);
        else
            system_print("vmm: guest %u: " VPCI_PLACE " has been removed\n", d->vpci->guest->number,
                         VPCI_PLACE_OF(&d->physical));
    }
    return heard;
}

/* ------------------------------------------------------------------------------- as firmware would */

/* Each BAR of memory has pages of its own, so that they can be mapped. */
static uint64_t room_of(const struct vpci_bar *bar)
{
    return bar->is_io ? bar->size : bytes_align_up(bar->size, SYSTEM_PAGE_SIZE);
}

static bool give_address(struct vpci_device *d, uint32_t index, uint64_t *next)
{
    const struct vpci_bar *bar = &d->bars[index];
    uint64_t base = *next;

    if (!is_in_window(bar, base)) {
        system_print("vmm: guest %u: " VPCI_PLACE ": the guest's PCI window has no room for BAR %u, 0x%llx bytes\n",
                     d->vpci->guest->number, VPCI_PLACE_OF(&d->physical), index, (unsigned long long)bar->size);
        return false;
    }
    config_set(d, CONFIG_BARS + 4 * index, 4, (uint32_t)base);
    if (bar->is_64)
        config_set(d, CONFIG_BARS + 4 * index + 4, 4, 0);
    *next = base + room_of(bar);
    return true;
}

/* The largest first: as sizes are powers of two, each begins where the one before it ends. */
bool vpci_bar_give_addresses(struct vpci *vpci)
{
    uint64_t next[] = {bytes_align_up(PCI_MMIO_BASE, 1u << 30), bytes_align_up(PCI_IO_BASE, 1u << 12)};

    for (uint64_t size = 1ull << 63; size; size >>= 1)
        for (struct vpci_device *d = vpci->devices; d < vpci->devices + vpci->count; d++)
            for (uint32_t i = 0; i < VPCI_BARS; i++)
                if (d->bars[i].size == size && !give_address(d, i, &next[d->bars[i].is_io]))
                    return false;
    for (uint32_t i = 0; i < vpci->count; i++)
        config_set(&vpci->devices[i], CONFIG_COMMAND, 2, COMMAND_IO | COMMAND_MEMORY);
    return true;
}
