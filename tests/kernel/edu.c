/* SPDX-License-Identifier: MIT */
/* Drives the device (QEMU, docs/specs/edu.txt), by configuration accesses of the first kind (PCI 3.0 3.2.2.3.2). */
#include "edu.h"
#include "test.h"
#include <hv/base/bits.h>
#include <hv/host.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/memory.h>
#include <kernel/thread.h>

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8
#define EDU_SIZE   0x100000

/* registers: bytes */
#define REG_RAISE  0x60
#define REG_ACK    0x64
#define REG_SOURCE 0x80
#define REG_TARGET 0x88
#define REG_COUNT  0x90
#define REG_COPY   0x98
#define BUFFER     0x40000
#define COPY_START BIT64(0)
#define COPY_OUT   BIT64(1)
#define COPY_NS    (5 * NS_PER_S)

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  BIT32(31)
#define CONFIG_COMMAND 0x04
#define CONFIG_BAR0    0x10
#define CONFIG_CHAIN   0x34
#define COMMAND_ON     0x06 /* memory, bus master */
#define CAP_MSI        0x05
#define MSI_ENABLE     BIT32(16)

static uint32_t config_read(const struct edu *e, uint32_t offset)
{
    uint64_t flags = hv_host_pci_lock();
    uint32_t value;

    outl(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)e->address.bdf << 8 | offset);
    value = inl(CONFIG_DATA);
    hv_host_pci_unlock(flags);
    return value;
}

static void config_write(const struct edu *e, uint32_t offset, uint32_t value)
{
    uint64_t flags = hv_host_pci_lock();

    outl(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)e->address.bdf << 8 | offset);
    outl(CONFIG_DATA, value);
    hv_host_pci_unlock(flags);
}

bool edu_find(uint32_t n, struct edu *e)
{
    struct hv_pci_function f;

    for (uint32_t i = 0; hv_pci_function(i, &f) == HV_OK; i++) {
        if (f.ids.vendor == EDU_VENDOR && f.ids.device == EDU_DEVICE && n-- == 0) {
            *e = (struct edu){.address = f.address};
            return true;
        }
    }
    return false;
}

static uint16_t find_msi(const struct edu *e)
{
    uint32_t at = config_read(e, CONFIG_CHAIN) & 0xfc;

    for (unsigned i = 0; at && i < 48; i++) {
        uint32_t head = config_read(e, at);

        if ((head & 0xff) == CAP_MSI)
            return (uint16_t)at;
        at = head >> 8 & 0xfc;
    }
    return 0;
}

bool edu_open(uint32_t n, struct edu *e)
{
    return edu_find(n, e) && edu_open_at(e);
}

bool edu_open_at(struct edu *e)
{
    e->registers = mmio_map(config_read(e, CONFIG_BAR0) & ~0xfu, EDU_SIZE);
    e->msi = find_msi(e);
    if (!e->registers)
        return false;
    config_write(e, CONFIG_COMMAND, COMMAND_ON);
    return true;
}

void edu_close(struct edu *e)
{
    edu_set_message(e, NULL);
    config_write(e, CONFIG_COMMAND, 0);
    mmio_unmap((void *)(uintptr_t)e->registers, EDU_SIZE);
}

/* ----------------------------------------------------------------------- as a partition's device */

bool edu_give(struct edu *e, WHV_PARTITION_HANDLE partition, UINT64 id)
{
    e->device = (struct passed){.partition = partition, .id = id};
    return passed_give(&e->device, &e->address);
}

void edu_take(struct edu *e)
{
    passed_take(&e->device);
}

/* -------------------------------------------------------------------------------------- copies */

static void write(struct edu *e, uint32_t offset, uint64_t value)
{
    if (e->registers)
        e->registers[offset / 8] = value;
    else
        passed_write(&e->device, WHvVpciBar0, offset, value, 8);
}

static uint64_t read(struct edu *e, uint32_t offset)
{
    return e->registers ? e->registers[offset / 8] : passed_read(&e->device, WHvVpciBar0, offset, 8);
}

static bool copy(struct edu *e, uint64_t source, uint64_t target, uint64_t command)
{
    uint64_t end = clock_ns() + COPY_NS;

    write(e, REG_SOURCE, source);
    write(e, REG_TARGET, target);
    write(e, REG_COUNT, EDU_COPY);
    write(e, REG_COPY, command | COPY_START);
    while (read(e, REG_COPY) & COPY_START) {
        if (clock_ns() > end)
            return false;
        thread_sleep_ns(NS_PER_MS);
    }
    return true;
}

bool edu_to_memory(struct edu *e, uint64_t address)
{
    return copy(e, BUFFER, address, COPY_OUT);
}

bool edu_from_memory(struct edu *e, uint64_t address)
{
    return copy(e, address, BUFFER, 0);
}

void edu_set_message(struct edu *e, const struct hv_msi_message *message)
{
    uint32_t control = config_read(e, e->msi) & ~MSI_ENABLE;

    config_write(e, e->msi, control);
    if (!message)
        return;
    config_write(e, e->msi + 4u, (uint32_t)message->address);
    config_write(e, e->msi + 8u, (uint32_t)(message->address >> 32));
    config_write(e, e->msi + 12u, message->data);
    config_write(e, e->msi, control | MSI_ENABLE);
}

void edu_interrupt(struct edu *e)
{
    volatile uint32_t *registers = (volatile uint32_t *)e->registers;

    registers[REG_RAISE / 4] = 1;
    registers[REG_ACK / 4] = 1;
}
