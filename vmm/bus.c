/* SPDX-License-Identifier: MIT */
/* The dispatch tables of I/O ports and of guest-physical addresses: which device answers an access. */
#include <vmm/bus.h>
#include <vmm/system.h>

static uint64_t size_mask(uint32_t size)
{
    return size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;
}

static bool is_access_size(uint32_t size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

/* Whether [begin, begin + size) lies in the range; no sum is formed that could wrap around. */
static bool range_holds(const struct bus_range *range, uint64_t begin, uint64_t size)
{
    return begin >= range->base && begin - range->base < range->size && size <= range->size - (begin - range->base);
}

/* Apart from each other, or one inside of the other and shorter. */
static bool may_stand_beside(const struct bus_range *a, const struct bus_range *b)
{
    if (a->base > b->base ? a->base - b->base >= b->size : b->base - a->base >= a->size)
        return true;
    return a->size != b->size && (range_holds(a, b->base, b->size) || range_holds(b, a->base, a->size));
}

static bool stands_before(const struct bus_range *a, const struct bus_range *b)
{
    return a->base < b->base || (a->base == b->base && a->size > b->size);
}

static bool is_addable(const struct bus *bus, const struct bus_range *range)
{
    if (bus->count == BUS_RANGES_MAX || !range->size || range->size - 1 > UINT64_MAX - range->base)
        return false;
    for (uint32_t i = 0; i < bus->count; i++)
        if (!may_stand_beside(&bus->ranges[i], range))
            return false;
    return true;
}

bool bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_handler *handler, void *device,
             const char *name)
{
    const struct bus_range range = {.base = base, .size = size, .handler = handler, .device = device, .name = name};
    uint32_t at = bus->count;

    if (!is_addable(bus, &range)) {
        system_print("vmm: no place on the bus for %s: 0x%llx bytes at 0x%llx\n", name, (unsigned long long)size,
                     (unsigned long long)base);
        return false;
    }
    for (; at && stands_before(&range, &bus->ranges[at - 1]); at--)
        bus->ranges[at] = bus->ranges[at - 1];
    bus->ranges[at] = range;
    bus->count++;
    return true;
}

/*
 * The last range that begins at or below the address, or one before it: ranges only overlap one inside of the other, so
 * the first that holds the access on the way down is the innermost.
 */
static struct bus_range *bus_find(struct bus *bus, uint64_t address, uint32_t size)
{
    uint32_t low = 0, high = bus->count;

    if (!is_access_size(size))
        return NULL;
    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (bus->ranges[middle].base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    while (low--)
        if (range_holds(&bus->ranges[low], address, size))
            return &bus->ranges[low];
    return NULL;
}

static uint32_t step_of(const struct bus_range *range, uint32_t size)
{
    uint32_t width = range->handler->width;

    return width && width < size ? width : size;
}

bool bus_read(struct bus *bus, uint64_t address, uint32_t size, uint64_t *value)
{
    struct bus_range *range = bus_find(bus, address, size);

    *value = size_mask(size);
    if (!range)
        return false;

    __atomic_fetch_add(&range->reads, 1, __ATOMIC_RELAXED);
    *value = 0;
    for (uint32_t done = 0, step = step_of(range, size); done < size; done += step) {
        uint64_t part = range->handler->read(range->device, address - range->base + done, step);

        *value |= (part & size_mask(step)) << (done * 8);
    }
    return true;
}

bool bus_write(struct bus *bus, uint64_t address, uint32_t size, uint64_t value)
{
    struct bus_range *range = bus_find(bus, address, size);

    if (!range)
        return false;

    __atomic_fetch_add(&range->writes, 1, __ATOMIC_RELAXED);
    for (uint32_t done = 0, step = step_of(range, size); done < size; done += step)
        range->handler->write(range->device, address - range->base + done, step,
                              (value >> (done * 8)) & size_mask(step));
    return true;
}
