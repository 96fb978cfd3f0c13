/* SPDX-License-Identifier: MIT */
/*
 * The interrupt of an AMD-Vi unit, by the MSI capability of the PCI function that the unit is (AMD-IOV 3.3, PCI 3.0
 * 6.8.1). Configuration space by ports CF8h and CFCh: they reach segment 0, where units are.
 */
#include "amdvi.h"

#define PORT_ADDRESS 0xcf8u
#define PORT_DATA    0xcfcu
#define PORT_ENABLE  BIT32(31)

#define CONFIG_SIZE         256u
#define CONFIG_STATUS       0x04u /* with the command register below */
#define CONFIG_CAPABILITIES 0x34u
#define STATUS_CAPABILITIES BIT32(20)
#define CAPABILITY_FIRST    0x40u
#define CAPABILITY_MSI      0x05u
#define MSI_ON              BIT32(16) /* in the capability's first word */
#define MSI_MULTIPLE        BITS32(22, 20)
#define MSI_64              BIT32(23)

static uint32_t config(const struct hv_pci_address *a, uint32_t offset, const uint32_t *write)
{
    uint64_t flags = hv_host_pci_lock();
    uint32_t value = 0;

    cpu_out32(PORT_ADDRESS, PORT_ENABLE | (uint32_t)a->bdf << 8 | (offset & 0xfc));
    if (write)
        cpu_out32(PORT_DATA, *write);
    else
        value = cpu_in32(PORT_DATA);
    hv_host_pci_unlock(flags);
    return value;
}

static uint32_t read(const struct hv_pci_address *a, uint32_t offset)
{
    return config(a, offset, NULL);
}

static void write(const struct hv_pci_address *a, uint32_t offset, uint32_t value)
{
    config(a, offset, &value);
}

/* 0: it has none. */
static uint16_t find_msi(const struct hv_pci_address *a)
{
    uint32_t at;

    if (a->segment || read(a, 0) == ~0u || !(read(a, CONFIG_STATUS) & STATUS_CAPABILITIES))
        return 0;
    at = read(a, CONFIG_CAPABILITIES) & 0xfc;
    for (unsigned left = CONFIG_SIZE / 4; left && at >= CAPABILITY_FIRST; left--) {
        uint32_t head = read(a, at);

        if ((head & 0xff) == CAPABILITY_MSI)
            return (uint16_t)at;
        at = head >> 8 & 0xfc;
    }
    return 0;
}

static void write_message(const struct hv_pci_address *a, const struct amdvi_msi *msi)
{
    bool is_64 = msi->control & MSI_64;

    write(a, msi->at + 4u, msi->address);
    if (is_64)
        write(a, msi->at + 8u, msi->upper);
    write(a, msi->at + (is_64 ? 12u : 8u), msi->data);
    write(a, msi->at, msi->control);
}

bool amdvi_msi_on(const struct hv_pci_address *function, uint32_t apic_id, uint32_t vector, struct amdvi_msi *saved)
{
    uint32_t at = find_msi(function);
    struct amdvi_msi msi = {.at = (uint16_t)at, .data = vector};
    bool is_64;

    if (!at || apic_id >= AMDVI_XAPIC_DESTS)
        return false;
    msi.control = read(function, at);
    is_64 = msi.control & MSI_64;
    *saved = (struct amdvi_msi){
        .at = (uint16_t)at,
        .control = msi.control,
        .address = read(function, at + 4),
        .upper = is_64 ? read(function, at + 8) : 0,
        .data = read(function, at + (is_64 ? 12 : 8)),
    };
    write(function, at, msi.control & ~MSI_ON);
    msi.control = (msi.control & ~MSI_MULTIPLE) | MSI_ON;
    msi.address = (uint32_t)(AMDVI_MSI_ADDRESS | FIELD_PUT(AMDVI_MSI_DEST, apic_id));
    write_message(function, &msi);
    return true;
}

void amdvi_msi_off(const struct hv_pci_address *function, const struct amdvi_msi *saved)
{
    if (!saved->at)
        return;
    write(function, saved->at, saved->control & ~MSI_ON);
    write_message(function, saved);
}
