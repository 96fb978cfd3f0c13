/* SPDX-License-Identifier: MIT */
/* Two ports of virtual machines: pvpanic, by which a guest says that it crashed, and the debug exit of test kernels. */
#include <vmm/devices.h>

#define PVPANIC_PANICKED     0x01u
#define PVPANIC_CRASH_LOADED 0x02u /* it crashed, and a kernel of its own takes care of it: no end */
#define DEBUG_EXIT_SIZE      4u

struct debug_ports {
    const struct machine_services *services;
};

/* The events that can be told. */
static uint64_t pvpanic_read(void *device, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)offset;
    (void)size;
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct debug_ports *ports = device;

    (void)offset;
    (void)size;
    if (value & PVPANIC_PANICKED)
        ports->services->end(ports->services->context, MACHINE_PANIC, 0);
}

static const struct bus_handler pvpanic_handler = {.read = pvpanic_read, .write = pvpanic_write, .width = 1};

static uint64_t debug_exit_read(void *device, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)offset;
    (void)size;
    return 0;
}

static void debug_exit_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct debug_ports *ports = device;

    (void)size;
    if (!offset)
        ports->services->end(ports->services->context, MACHINE_EXIT_CODE, (uint32_t)value);
}

static const struct bus_handler debug_exit_handler = {.read = debug_exit_read, .write = debug_exit_write};

struct debug_ports *debug_ports_create(const struct device_buses *buses, const struct machine_services *services)
{
    struct debug_ports *ports = device_alloc(sizeof(*ports), "debug ports");

    if (!ports)
        return NULL;
    ports->services = services;
    if (bus_add(buses->ports, PVPANIC_PORT, 1, &pvpanic_handler, ports, "pvpanic") &&
        bus_add(buses->ports, DEBUG_EXIT_PORT, DEBUG_EXIT_SIZE, &debug_exit_handler, ports, "debug exit"))
        return ports;
    debug_ports_destroy(ports);
    return NULL;
}

void debug_ports_destroy(struct debug_ports *ports)
{
    device_free(ports, sizeof(*ports));
}
