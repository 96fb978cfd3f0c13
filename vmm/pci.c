/* SPDX-License-Identifier: MIT */
/*
 * PCI bus 0, by configuration mechanism 1 (CF8h and CFCh) and by memory (ECAM). At 0:0.0 stands a host bridge that has
 * nothing to set; where no function is, reads give ones.
 */
#include <vmm/devices.h>

#define PCI_DEVICES   32u
#define PCI_FUNCTIONS 8u

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS   0x80fffffcu

struct pci_bus {
    struct lock lock; /* of the address register: the functions do not change, and lock themselves */
    uint32_t address;
    struct pci_function functions[PCI_DEVICES * PCI_FUNCTIONS];
};

/* ---------------------------------------------------------------------------------- host bridge */

/* Of no chipset: QEMU's generic host bridge, of which nobody expects more registers than these. */
static const uint32_t bridge_registers[] = {
    0x00081b36, /* device 0008h, vendor 1B36h */
    0x00000000, /* status, command */
    0x06000000, /* class: host bridge; revision 0 */
    0x00000000, /* header type 0, one function */
};

static uint32_t bridge_read(void *function, uint32_t offset, uint32_t size)
{
    uint32_t reg = offset / 4;

    (void)function;
    (void)size;
    return reg < sizeof(bridge_registers) / sizeof(bridge_registers[0]) ? bridge_registers[reg] >> (offset % 4 * 8) : 0;
}

static void bridge_write(void *function, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)function;
    (void)offset;
    (void)size;
    (void)value;
}

static const struct pci_function bridge = {.config_read = bridge_read, .config_write = bridge_write};

/* ------------------------------------------------------------------------- configuration space */

/* bus, device and function as in an ECAM offset and in the address register; NULL: nothing is there */
static const struct pci_function *function_at(const struct pci_bus *pci, uint32_t bdf)
{
    if (bdf >= PCI_DEVICES * PCI_FUNCTIONS || !pci->functions[bdf].config_read)
        return NULL;
    return &pci->functions[bdf];
}

/* The whole access where it is naturally aligned, else its bytes. */
static uint32_t config_step(uint32_t offset, uint32_t size)
{
    return offset % size ? 1 : size;
}

static uint32_t config_read(const struct pci_bus *pci, uint32_t bdf, uint32_t offset, uint32_t size)
{
    const struct pci_function *f = function_at(pci, bdf);
    uint32_t value = 0, step = config_step(offset, size);

    if (!f)
        return UINT32_MAX;
    for (uint32_t done = 0; done < size; done += step) {
        uint32_t part = f->config_read(f->function, offset + done, step);

        value |= (step == 4 ? part : part & ((1u << (step * 8)) - 1)) << (done * 8);
    }
    return value;
}

static void config_write(const struct pci_bus *pci, uint32_t bdf, uint32_t offset, uint32_t size, uint32_t value)
{
    const struct pci_function *f = function_at(pci, bdf);
    uint32_t step = config_step(offset, size);

    if (!f)
        return;
    for (uint32_t done = 0; done < size; done += step) {
        uint32_t part = value >> (done * 8);

        f->config_write(f->function, offset + done, step, step == 4 ? part : part & ((1u << (step * 8)) - 1));
    }
}

/* --------------------------------------------------------------------------------- mechanism 1 */

/* The address register answers dwords only; all else at these ports is not for PCI. */
static uint64_t address_read(void *device, uint64_t offset, uint32_t size)
{
    struct pci_bus *pci = device;
    uint32_t address;

    (void)offset;
    if (size != 4)
        return UINT64_MAX;
    lock_take(&pci->lock);
    address = pci->address;
    lock_release(&pci->lock);
    return address;
}

static void address_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pci_bus *pci = device;

    (void)offset;
    if (size != 4)
        return;
    lock_take(&pci->lock);
    pci->address = (uint32_t)value & ADDRESS_BITS;
    lock_release(&pci->lock);
}

static uint64_t data_read(void *device, uint64_t offset, uint32_t size)
{
    uint32_t address = (uint32_t)address_read(device, 0, 4);

    if (!(address & ADDRESS_ENABLE))
        return UINT64_MAX;
    return config_read(device, address >> 8 & 0xffff, (address & 0xfc) + (uint32_t)offset, size);
}

static void data_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    uint32_t address = (uint32_t)address_read(device, 0, 4);

    if (address & ADDRESS_ENABLE)
        config_write(device, address >> 8 & 0xffff, (address & 0xfc) + (uint32_t)offset, size, (uint32_t)value);
}

static const struct bus_handler address_handler = {.read = address_read, .write = address_write};
static const struct bus_handler data_handler = {.read = data_read, .write = data_write, .width = 4};

/* ---------------------------------------------------------------------------------------- ECAM */

/* An access that crosses out of its function's 4 KiB is no access. */
static bool crosses_out(uint64_t offset, uint32_t size)
{
    return offset % 4096 + size > 4096;
}

static uint64_t ecam_read(void *device, uint64_t offset, uint32_t size)
{
    if (crosses_out(offset, size))
        return UINT64_MAX;
    return config_read(device, (uint32_t)(offset >> 12), offset & 0xfff, size);
}

static void ecam_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    if (!crosses_out(offset, size))
        config_write(device, (uint32_t)(offset >> 12), offset & 0xfff, size, (uint32_t)value);
}

static const struct bus_handler ecam_handler = {.read = ecam_read, .write = ecam_write, .width = 4};

/* ------------------------------------------------------------------------------------- machine */

bool pci_add(struct pci_bus *pci, uint8_t device, uint8_t fn, const struct pci_function *function)
{
    uint32_t bdf = device * PCI_FUNCTIONS + fn;

    if (device >= PCI_DEVICES || fn >= PCI_FUNCTIONS || pci->functions[bdf].config_read || !function->config_read ||
        !function->config_write)
        return false;
    pci->functions[bdf] = *function;
    return true;
}

struct pci_bus *pci_create(const struct device_buses *buses)
{
    struct pci_bus *pci = device_alloc(sizeof(*pci), "pci");

    if (!pci)
        return NULL;
    if (pci_add(pci, 0, 0, &bridge) &&
        bus_add(buses->ports, PCI_CONFIG_PORT, 4, &address_handler, pci, "pci address") &&
        bus_add(buses->ports, PCI_CONFIG_PORT + 4, 4, &data_handler, pci, "pci data") &&
        bus_add(buses->memory, PCI_ECAM_BASE, PCI_ECAM_SIZE, &ecam_handler, pci, "pci ecam"))
        return pci;
    pci_destroy(pci);
    return NULL;
}

void pci_destroy(struct pci_bus *pci)
{
    device_free(pci, sizeof(*pci));
}
