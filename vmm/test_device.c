/* SPDX-License-Identifier: MIT */
/*
 * QEMU's device for test kernels (pc-testdev): a dword of ports that keeps what is written, 64 KiB of memory that is a
 * device's, so that every access to it leaves the guest and is emulated, and a port for each pin of the IOAPIC, by
 * which the kernel drives the pin itself.
 */
#include <vmm/devices.h>

#define LATCH_SIZE 4u

struct test_device {
    struct lock lock; /* of the latch and the memory */
    struct ioapic *ioapic;
    uint8_t latch[LATCH_SIZE];
    uint8_t memory[TEST_MEM_SIZE];
};

/* The bus hands out accesses inside of their range only. */
static uint64_t get(struct test_device *device, const uint8_t *from, uint32_t size)
{
    uint64_t value = 0;

    lock_take(&device->lock);
    __builtin_memcpy(&value, from, size);
    lock_release(&device->lock);
    return value;
}

static void put(struct test_device *device, uint8_t *to, uint32_t size, uint64_t value)
{
    lock_take(&device->lock);
    __builtin_memcpy(to, &value, size);
    lock_release(&device->lock);
}

static uint64_t latch_read(void *context, uint64_t offset, uint32_t size)
{
    struct test_device *device = context;

    return get(device, device->latch + offset, size);
}

static void latch_write(void *context, uint64_t offset, uint32_t size, uint64_t value)
{
    struct test_device *device = context;

    put(device, device->latch + offset, size, value);
}

static const struct bus_handler latch_handler = {.read = latch_read, .write = latch_write};

static uint64_t memory_read(void *context, uint64_t offset, uint32_t size)
{
    struct test_device *device = context;

    return get(device, device->memory + offset, size);
}

static void memory_write(void *context, uint64_t offset, uint32_t size, uint64_t value)
{
    struct test_device *device = context;

    put(device, device->memory + offset, size, value);
}

static const struct bus_handler memory_handler = {.read = memory_read, .write = memory_write};

static uint64_t pins_read(void *context, uint64_t offset, uint32_t size)
{
    (void)context;
    (void)offset;
    (void)size;
    return 0;
}

static void pins_write(void *context, uint64_t offset, uint32_t size, uint64_t value)
{
    struct test_device *device = context;

    (void)size;
    ioapic_set_line(device->ioapic, (uint32_t)offset, (uint8_t)value);
}

static const struct bus_handler pins_handler = {.read = pins_read, .write = pins_write, .width = 1};

struct test_device *test_device_create(const struct device_buses *buses, struct ioapic *ioapic)
{
    struct test_device *device = device_alloc(sizeof(*device), "the test device");

    if (!device)
        return NULL;
    device->ioapic = ioapic;
    if (bus_add(buses->ports, TEST_LATCH_PORT, LATCH_SIZE, &latch_handler, device, "test latch") &&
        bus_add(buses->ports, TEST_PINS_PORT, IOAPIC_PINS, &pins_handler, device, "test interrupts") &&
        bus_add(buses->memory, TEST_MEMORY, TEST_MEM_SIZE, &memory_handler, device, "test memory"))
        return device;
    test_device_destroy(device);
    return NULL;
}

void test_device_destroy(struct test_device *device)
{
    device_free(device, sizeof(*device));
}
