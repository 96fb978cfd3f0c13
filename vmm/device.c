/* SPDX-License-Identifier: MIT */
/* What all devices of the machine do alike. */
#include <vmm/devices.h>

void *device_alloc(size_t size, const char *name)
{
    void *device = system_memory_alloc(size);

    if (!device)
        system_print("vmm: no memory for %s\n", name);
    return device;
}

void device_free(void *device, size_t size)
{
    if (device)
        system_memory_free(device, size);
}
