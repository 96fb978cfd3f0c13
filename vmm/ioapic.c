/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC: 24 pins, as Intel's 82093AA with the EOI register of later ones (version 20h). Messages leave at once:
 * the delivery status is always idle. Edges at a masked pin are lost, as the 82093AA's manual says.
 */
#include <vmm/devices.h>

#define IOAPIC_SIZE 0x1000u

/* places in memory */
#define IOREGSEL 0x00u
#define IOWIN    0x10u
#define IOEOI    0x40u

/* registers behind the window */
#define REG_ID          0x00u
#define REG_VERSION     0x01u
#define REG_ARBITRATION 0x02u
#define REG_ENTRIES     0x10u

#define ID_BITS      0x0f000000u
#define VERSION      (0x20u | (IOAPIC_PINS - 1) << 16)
#define ENTRY_VECTOR 0xffull
#define ENTRY_MODE   (7ull << 8)
#define ENTRY_LOGIC  (1ull << 11)
#define ENTRY_POLAR  (1ull << 13) /* kept, and of no consequence: devices say whether their line is active */
#define ENTRY_REMOTE (1ull << 14) /* Remote IRR: a level's message is out and its EOI is not yet back */
#define ENTRY_LEVEL  (1ull << 15)
#define ENTRY_MASKED (1ull << 16)
#define ENTRY_DEST   (0xffull << 56)
#define ENTRY_WRITE  (ENTRY_VECTOR | ENTRY_MODE | ENTRY_LOGIC | ENTRY_POLAR | ENTRY_LEVEL | ENTRY_MASKED | ENTRY_DEST)

struct ioapic {
    struct lock lock;
    const struct machine_services *services;
    uint8_t selected;
    uint32_t id;
    uint64_t entries[IOAPIC_PINS];
    bool is_raised[IOAPIC_PINS];
};

static uint32_t entry_mode(uint64_t entry)
{
    return (entry & ENTRY_MODE) >> 8;
}

/* The modes that are no interrupt vectors (SMI, NMI, INIT, ExtINT) are edges whatever the entry says. */
static bool entry_is_level(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) && entry_mode(entry) <= 1;
}

static void entry_send(struct ioapic *io, uint64_t entry)
{
    uint8_t mode = (uint8_t)entry_mode(entry);

    if (mode == 3 || mode == 6) /* reserved */
        return;
    io->services->send_interrupt(io->services->context, mode, entry & ENTRY_LOGIC, entry_is_level(entry),
                                 (uint8_t)(entry >> 56), mode <= 1 ? (uint8_t)entry : 0);
}

/* A level goes out when nothing stands in its way: after each change of the line, of the entry, and after its EOI. */
static void pin_send_level(struct ioapic *io, uint32_t pin)
{
    uint64_t *entry = &io->entries[pin];

    if (!entry_is_level(*entry) || !io->is_raised[pin] || (*entry & (ENTRY_MASKED | ENTRY_REMOTE)))
        return;
    *entry |= ENTRY_REMOTE;
    entry_send(io, *entry);
}

static void pin_set(struct ioapic *io, uint32_t pin, bool is_raised)
{
    bool is_edge = is_raised && !io->is_raised[pin];

    io->is_raised[pin] = is_raised;
    if (entry_is_level(io->entries[pin]))
        pin_send_level(io, pin);
    else if (is_edge && !(io->entries[pin] & ENTRY_MASKED))
        entry_send(io, io->entries[pin]);
}

static void ioapic_end(struct ioapic *io, uint8_t vector)
{
    for (uint32_t pin = 0; pin < IOAPIC_PINS; pin++) {
        if (!(io->entries[pin] & ENTRY_REMOTE) || (uint8_t)io->entries[pin] != vector)
            continue;
        io->entries[pin] &= ~ENTRY_REMOTE;
        pin_send_level(io, pin);
    }
}

/* ----------------------------------------------------------------------------------- registers */

static uint32_t register_read(const struct ioapic *io)
{
    uint32_t reg = io->selected;

    if (reg == REG_ID || reg == REG_ARBITRATION) /* the arbitration ID is loaded with each write of the ID */
        return io->id;
    if (reg == REG_VERSION)
        return VERSION;
    if (reg >= REG_ENTRIES && reg < REG_ENTRIES + 2 * IOAPIC_PINS)
        return (uint32_t)(io->entries[(reg - REG_ENTRIES) / 2] >> (reg & 1 ? 32 : 0));
    return 0;
}

static void entry_write(struct ioapic *io, uint32_t pin, bool is_high, uint32_t value)
{
    uint64_t half = is_high ? (uint64_t)value << 32 : value;
    uint64_t kept = is_high ? UINT32_MAX : ~(uint64_t)UINT32_MAX | ENTRY_REMOTE;
    uint64_t entry = (io->entries[pin] & kept) | (half & ENTRY_WRITE);

    /* Software ends a level without EOI by making the pin an edge for a moment. */
    if (!entry_is_level(entry))
        entry &= ~ENTRY_REMOTE;
    io->entries[pin] = entry;
    pin_send_level(io, pin);
}

static void register_write(struct ioapic *io, uint32_t value)
{
    uint32_t reg = io->selected;

    if (reg == REG_ID)
        io->id = value & ID_BITS;
    else if (reg >= REG_ENTRIES && reg < REG_ENTRIES + 2 * IOAPIC_PINS)
        entry_write(io, (reg - REG_ENTRIES) / 2, reg & 1, value);
}

static uint64_t ioapic_read(void *device, uint64_t offset, uint32_t size)
{
    struct ioapic *io = device;
    uint32_t value = 0, byte = offset & 3;

    (void)size;
    lock_take(&io->lock);
    if ((offset & ~3ull) == IOREGSEL)
        value = io->selected;
    else if ((offset & ~3ull) == IOWIN)
        value = register_read(io);
    lock_release(&io->lock);
    return value >> (byte * 8);
}

/* The window takes whole dwords only; the two others are registers of eight bits. */
static void ioapic_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct ioapic *io = device;

    lock_take(&io->lock);
    if (offset == IOREGSEL)
        io->selected = (uint8_t)value;
    else if (offset == IOWIN && size == 4)
        register_write(io, (uint32_t)value);
    else if (offset == IOEOI)
        ioapic_end(io, (uint8_t)value);
    lock_release(&io->lock);
}

static const struct bus_handler ioapic_handler = {.read = ioapic_read, .write = ioapic_write, .width = 4};

/* ------------------------------------------------------------------------------------- machine */

void ioapic_set_line(struct ioapic *ioapic, uint32_t pin, bool is_raised)
{
    if (pin >= IOAPIC_PINS)
        return;
    lock_take(&ioapic->lock);
    pin_set(ioapic, pin, is_raised);
    lock_release(&ioapic->lock);
}

void ioapic_pulse(struct ioapic *ioapic, uint32_t pin)
{
    if (pin >= IOAPIC_PINS)
        return;
    lock_take(&ioapic->lock);
    pin_set(ioapic, pin, true);
    pin_set(ioapic, pin, false);
    lock_release(&ioapic->lock);
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    lock_take(&ioapic->lock);
    ioapic_end(ioapic, vector);
    lock_release(&ioapic->lock);
}

struct ioapic *ioapic_create(const struct device_buses *buses, const struct machine_services *services)
{
    struct ioapic *io = device_alloc(sizeof(*io), "ioapic");

    if (!io)
        return NULL;
    io->services = services;
    for (uint32_t pin = 0; pin < IOAPIC_PINS; pin++)
        io->entries[pin] = ENTRY_MASKED;
    if (bus_add(buses->memory, IOAPIC_BASE, IOAPIC_SIZE, &ioapic_handler, io, "ioapic"))
        return io;
    ioapic_destroy(io);
    return NULL;
}

void ioapic_destroy(struct ioapic *ioapic)
{
    device_free(ioapic, sizeof(*ioapic));
}
