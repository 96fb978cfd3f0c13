/* SPDX-License-Identifier: MIT */
/*
 * Resets of functions, the best kind that there is: function level reset (PCIe 5.0 6.6.2), that of advanced features
 * (PCI AF ECN), D3hot and back (PCI PM 1.2 5.4), the bus (6.6.1.4) if nobody else is on it.
 *
 * A device that never answers again, or has transactions under way for good, costs some seconds and is reported.
 */
#include "config.h"
#include "device.h"
#include "pci_regs.h"
#include <hv/base/log.h>

#define MS 1000000ull

#define EXPRESS_CAPABLE 4 /* of the device */
#define EXPRESS_CONTROL 8
#define EXPRESS_STATUS  10
#define EXPRESS_CAN_FLR BIT32(28)
#define EXPRESS_FLR     BIT32(15)
#define EXPRESS_PENDING BIT32(5)

#define AF_CAPABLE 3
#define AF_CONTROL 4
#define AF_STATUS  5
#define AF_CAN_ALL BITS32(1, 0) /* pending bit, FLR */
#define AF_FLR     BIT32(0)
#define AF_PENDING BIT32(0)

#define PM_CONTROL       4
#define PM_STATE         BITS32(1, 0)
#define PM_NO_SOFT_RESET BIT32(3)
#define PM_PME_STATUS    BIT32(15)

static uint32_t read(const struct pci_device *d, uint32_t offset, uint32_t size)
{
    return pci_config_read(&d->address, offset, size);
}

static void write(const struct pci_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    pci_config_write(&d->address, offset, size, value);
}

static void delay(uint64_t ns)
{
    uint64_t end = hv_host_time_ns() + ns;
    uint32_t word = 0;

    while (hv_host_time_ns() < end)
        hv_host_wait(&word, 0, end);
}

static void report(const struct pci_device *d, const char *text)
{
    hv_log(HV_LOG_WARNING, "PCI %04x:%02x:%02x.%u: %s", d->address.segment, d->address.bdf >> 8,
           d->address.bdf >> 3 & 31, d->address.bdf & 7, text);
}

/* ------------------------------------------------------------------------------------- to rest */

#define PENDING_MAX (1000 * MS)

static bool is_pending(const struct pci_device *d)
{
    if (d->express)
        return read(d, d->express + EXPRESS_STATUS, 2) & EXPRESS_PENDING;
    return d->af && (read(d, d->af + AF_STATUS, 1) & AF_PENDING);
}

static bool is_at_rest(const struct pci_device *d, uint64_t timeout)
{
    uint64_t end = hv_host_time_ns() + timeout;

    while (is_pending(d)) {
        if (hv_host_time_ns() >= end)
            return false;
        delay(MS);
    }
    return true;
}

void pci_quiesce(const struct pci_device *d)
{
    uint32_t command = read(d, PCI_COMMAND, 2);

    write(d, PCI_COMMAND, 2, (command & ~PCI_COMMAND_MASTER) | PCI_COMMAND_INTX_OFF);
    if (!is_at_rest(d, PENDING_MAX))
        report(d, "transactions are still under way after a second");
}

/* --------------------------------------------------------------------------------- save, restore */

#define MSI_CONTROL  2
#define MSI_ENABLE   BIT32(0)
#define MSIX_CONTROL 2
#define MSIX_ENABLE  BIT32(15)
#define ACS_CONTROL  6

#define PCI_EXT_CAP_RESIZABLE 0x0015
#define RESIZABLE_CONTROL     8 /* and every 8 bytes */
#define RESIZABLE_COUNT       BITS32(7, 5)

/* Control registers of the express capability that a reset loses: device, link, device 2, link 2. */
static const uint8_t express_controls[] = {8, 16, 40, 48};
#define EXPRESS_VERSION           BITS32(3, 0) /* of the word behind the head; 1 has the first two only */
#define EXPRESS_CONTROLS(version) ((version) < 2 ? 2u : 4u)

static uint32_t resizable_count(const struct pci_device *d, uint16_t at)
{
    uint32_t count = (uint32_t)FIELD_GET(RESIZABLE_COUNT, read(d, at + RESIZABLE_CONTROL, 4));

    return HV_MIN(count, (uint32_t)PCI_BARS);
}

void pci_save(const struct pci_device *d, struct pci_saved *to)
{
    *to = (struct pci_saved){0};
    for (uint32_t i = 0; i < ARRAY_COUNT(to->words); i++)
        to->words[i] = read(d, 4 * i, 4);
    if (d->acs)
        to->acs = (uint16_t)read(d, d->acs + ACS_CONTROL, 2);
    if (d->header == 0)
        to->resizable = pci_find_extended(&d->address, PCI_EXT_CAP_RESIZABLE);
    for (uint32_t i = 0; to->resizable && i < resizable_count(d, to->resizable); i++)
        to->sizes[i] = read(d, to->resizable + RESIZABLE_CONTROL + 8 * i, 4);
}

static void put(const struct pci_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    if (read(d, offset, size) != value)
        write(d, offset, size, value);
}

static uint32_t saved(const struct pci_saved *from, uint32_t offset)
{
    return from->words[offset / 4] >> 8 * (offset % 4);
}

static void restore_express(const struct pci_device *d, const struct pci_saved *from)
{
    uint32_t version = (uint32_t)FIELD_GET(EXPRESS_VERSION, saved(from, d->express + 2u));

    for (uint32_t i = 0; i < EXPRESS_CONTROLS(version); i++)
        if (d->express + express_controls[i] < 255u)
            put(d, d->express + express_controls[i], 2, saved(from, d->express + express_controls[i]) & 0xffff);
}

static void restore_header(const struct pci_device *d, const struct pci_saved *from)
{
    put(d, PCI_CACHE_LINE, 2, saved(from, PCI_CACHE_LINE) & 0xffff); /* and the latency timer */
    for (uint32_t i = 0; d->header == 0 && i < PCI_BARS; i++)
        put(d, PCI_BAR0 + 4 * i, 4, saved(from, PCI_BAR0 + 4 * i));
    if (d->header == 0)
        put(d, PCI_ROM, 4, saved(from, PCI_ROM));
    put(d, PCI_INTERRUPT_LINE, 1, saved(from, PCI_INTERRUPT_LINE) & 0xff);
}

static void interrupts_off(const struct pci_device *d)
{
    if (d->msi.cap)
        put(d, d->msi.cap + MSI_CONTROL, 2, read(d, d->msi.cap + MSI_CONTROL, 2) & ~MSI_ENABLE);
    if (d->msix.cap)
        put(d, d->msix.cap + MSIX_CONTROL, 2, read(d, d->msix.cap + MSIX_CONTROL, 2) & ~MSIX_ENABLE);
}

void pci_restore(const struct pci_device *d, const struct pci_saved *from)
{
    uint32_t command = saved(from, PCI_COMMAND) & 0xffff;

    if (d->express)
        restore_express(d, from);
    if (d->acs)
        put(d, d->acs + ACS_CONTROL, 2, from->acs);
    for (uint32_t i = 0; from->resizable && i < resizable_count(d, from->resizable); i++)
        put(d, from->resizable + RESIZABLE_CONTROL + 8 * i, 4, from->sizes[i]);
    restore_header(d, from);
    interrupts_off(d);
    put(d, PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER);
}

/* --------------------------------------------------------------------------------------- power */

#define POWER_DELAY (10 * MS) /* PCI PM 1.2 5.6.1, to and from D3hot; less for the others */

void pci_set_power(const struct pci_device *d, uint32_t state)
{
    uint32_t control;

    if (!d->pm)
        return;
    control = read(d, d->pm + PM_CONTROL, 2) & ~PM_PME_STATUS;
    if ((control & PM_STATE) == state)
        return;
    write(d, d->pm + PM_CONTROL, 2, (control & ~PM_STATE) | state);
    delay(POWER_DELAY);
}

/* ------------------------------------------------------------------------------------ the kinds */

#define READY_DELAY (100 * MS)   /* nobody asks it before */
#define READY_MAX   (60000 * MS) /* slow ones exist */
#define RETRY       1u           /* vendor of a function that is not ready, where the root port says so */

static bool is_ready(const struct pci_device *d, uint64_t timeout)
{
    uint64_t end = hv_host_time_ns() + timeout, step = MS;

    for (;;) {
        uint32_t vendor = read(d, PCI_VENDOR, 4);

        if (vendor != ~0u && (vendor & 0xffff) != RETRY)
            return true;
        if (hv_host_time_ns() >= end)
            return false;
        delay(step);
        step = HV_MIN(2 * step, 1000 * MS);
    }
}

static bool reset_function(const struct pci_device *d)
{
    if (!d->express || !(read(d, d->express + EXPRESS_CAPABLE, 4) & EXPRESS_CAN_FLR))
        return false;
    write(d, d->express + EXPRESS_CONTROL, 2, read(d, d->express + EXPRESS_CONTROL, 2) | EXPRESS_FLR);
    delay(READY_DELAY);
    return true;
}

static bool reset_features(const struct pci_device *d)
{
    if (!d->af || (read(d, d->af + AF_CAPABLE, 1) & AF_CAN_ALL) != AF_CAN_ALL)
        return false;
    write(d, d->af + AF_CONTROL, 1, AF_FLR);
    delay(READY_DELAY);
    return true;
}

/*
 * Some say that they lose their state, and do not: decoding that is still on gives them away. What they lose is up to
 * them otherwise.
 */
static bool reset_power(const struct pci_device *d)
{
    uint32_t decode = PCI_COMMAND_MEMORY | PCI_COMMAND_IO;

    if (!d->pm || (read(d, d->pm + PM_CONTROL, 2) & PM_NO_SOFT_RESET))
        return false;
    write(d, PCI_COMMAND, 2, read(d, PCI_COMMAND, 2) | decode);
    if (!(read(d, PCI_COMMAND, 2) & decode))
        return false;
    pci_set_power(d, 3);
    pci_set_power(d, 0);
    return is_ready(d, READY_MAX) && !(read(d, PCI_COMMAND, 2) & decode);
}

#define BUS_RESET_DELAY (2 * MS)    /* 1 ms at least */
#define BUS_READY_DELAY (1000 * MS) /* conventional devices have 2^25 clocks; links train in less */

/* There, on the buses behind the bridge, is nobody but d. */
static bool is_alone(const struct pci_device *d)
{
    for (const struct pci_device *i = pci_first(); i; i = i->next)
        for (const struct pci_device *above = i->bridge; i != d && above; above = above->bridge)
            if (above == d->bridge)
                return false;
    return true;
}

static bool reset_bus(const struct pci_device *d)
{
    uint32_t control;

    if (!d->bridge || !is_alone(d))
        return false;
    control = read(d->bridge, PCI_BRIDGE_CONTROL, 2) & ~PCI_BRIDGE_CONTROL_RESET;
    write(d->bridge, PCI_BRIDGE_CONTROL, 2, control | PCI_BRIDGE_CONTROL_RESET);
    delay(BUS_RESET_DELAY);
    write(d->bridge, PCI_BRIDGE_CONTROL, 2, control);
    delay(BUS_READY_DELAY);
    return true;
}

/* Some kinds leave the function in need of another one; it is restored after the last. */
static enum hv_status reset_best(const struct pci_device *d)
{
    static bool (*const kinds[])(const struct pci_device *d) = {
        reset_function,
        reset_features,
        reset_power,
        reset_bus,
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (kinds[i](d))
            return HV_OK;
    report(d, "there is no way to reset it");
    return HV_E_UNSUPPORTED;
}

enum hv_status pci_reset(const struct pci_device *d)
{
    struct pci_saved config;
    enum hv_status st;

    if (!is_ready(d, READY_DELAY)) {
        report(d, "it does not answer");
        return HV_E_IN_USE;
    }
    pci_save(d, &config);
    pci_set_power(d, 0);
    pci_quiesce(d);
    st = reset_best(d);
    if (!is_ready(d, READY_MAX)) {
        report(d, "it does not answer after its reset");
        return HV_E_IN_USE;
    }
    pci_restore(d, &config);
    if (st == HV_OK && !is_at_rest(d, PENDING_MAX)) {
        report(d, "transactions are under way after its reset");
        return HV_E_IN_USE;
    }
    return st;
}
