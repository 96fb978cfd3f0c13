/* SPDX-License-Identifier: MIT */
/*
 * The guest's devices as its processors see them: ranges of I/O ports and of guest-physical addresses, in one dispatch
 * table each. A device is a small module that registers its ranges when the machine is put together; after that the
 * tables do not change.
 *
 * Each device has a lock of its own, and takes it in its handlers: processors access different devices at the same
 * time.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * offset counts from the begin of the range; size is 1, 2, 4 (or 8: memory only) bytes. Reads return the value, of
 * which the lower size bytes count. A device behind a narrow bus names its width: an access that is wider comes as
 * several of that width, at rising offsets. 0: accesses come as they are.
 */
struct bus_handler {
    uint64_t (*read)(void *device, uint64_t offset, uint32_t size);
    void (*write)(void *device, uint64_t offset, uint32_t size, uint64_t value);
    uint32_t width;
};

struct bus_range {
    uint64_t base, size;
    const struct bus_handler *handler;
    void *device;
    const char *name;
    uint64_t reads, writes; /* counted for the end of the run */
};

#define BUS_RANGES_MAX 48

/* Sorted by base, of ranges with the same base the longer one first. */
struct bus {
    struct bus_range ranges[BUS_RANGES_MAX];
    uint32_t count;
};

/*
 * A range may lie inside of another one and then answers the accesses that it holds whole: the reset register at CF9h
 * takes bytes, where a dword at CF8h is an address of PCI. False, and a line is printed: it overlaps another range in
 * any other way, or the table is full.
 */
bool bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_handler *handler, void *device,
             const char *name);

/*
 * An access that no range answers, or that crosses out of one: reads give all ones, writes are dropped, as on a PC.
 * False then. Any thread.
 */
bool bus_read(struct bus *bus, uint64_t address, uint32_t size, uint64_t *value);
bool bus_write(struct bus *bus, uint64_t address, uint32_t size, uint64_t value);

#endif
