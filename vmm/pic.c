/* SPDX-License-Identifier: MIT */
/*
 * Both 8259 interrupt controllers, for systems that look for them before they use the IOAPIC. No line leads to them:
 * nothing is ever requested or in service.
 */
#include <vmm/devices.h>

#define ELCR_PORT 0x4d0u

#define COMMAND_ICW1     0x10u
#define ICW1_WITH_ICW4   0x01u
#define ICW1_SINGLE      0x02u
#define EDGE_ONLY_MASTER 0x07u /* IRQ 0 to 2 */
#define EDGE_ONLY_SLAVE  0x21u /* IRQ 8 and 13 */

struct pic_chip {
    struct pic *pic;
    uint8_t mask, elcr, elcr_edges;
    uint8_t words_left; /* initialization command words that are yet to come */
};

struct pic {
    struct lock lock;
    struct pic_chip chips[2];
};

/* ICW1 begins the initialization and clears the mask; ICW2 always follows, ICW3 with a second chip, ICW4 on demand. */
static void command_write(struct pic_chip *chip, uint8_t value)
{
    if (!(value & COMMAND_ICW1)) /* an operation command: nothing is in service, and IRR and ISR read alike */
        return;
    chip->mask = 0;
    chip->words_left = (uint8_t)(1 + !(value & ICW1_SINGLE) + (value & ICW1_WITH_ICW4));
}

static void data_write(struct pic_chip *chip, uint8_t value)
{
    if (chip->words_left)
        chip->words_left--;
    else
        chip->mask = value;
}

/* At the even port IRR, ISR or the answer to a poll: no interrupt in any case. */
static uint64_t pic_read(void *device, uint64_t offset, uint32_t size)
{
    struct pic_chip *chip = device;
    uint8_t mask;

    (void)size;
    lock_take(&chip->pic->lock);
    mask = chip->mask;
    lock_release(&chip->pic->lock);
    return offset ? mask : 0;
}

static void pic_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pic_chip *chip = device;

    (void)size;
    lock_take(&chip->pic->lock);
    if (offset)
        data_write(chip, (uint8_t)value);
    else
        command_write(chip, (uint8_t)value);
    lock_release(&chip->pic->lock);
}

static const struct bus_handler pic_handler = {.read = pic_read, .write = pic_write, .width = 1};

static uint64_t elcr_read(void *device, uint64_t offset, uint32_t size)
{
    struct pic *pic = device;
    uint8_t value;

    (void)size;
    lock_take(&pic->lock);
    value = pic->chips[offset].elcr;
    lock_release(&pic->lock);
    return value;
}

static void elcr_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pic *pic = device;

    (void)size;
    lock_take(&pic->lock);
    pic->chips[offset].elcr = (uint8_t)(value & ~(uint64_t)pic->chips[offset].elcr_edges);
    lock_release(&pic->lock);
}

static const struct bus_handler elcr_handler = {.read = elcr_read, .write = elcr_write, .width = 1};

struct pic *pic_create(const struct device_buses *buses)
{
    struct pic *pic = device_alloc(sizeof(*pic), "pic");

    if (!pic)
        return NULL;
    pic->chips[0] = (struct pic_chip){.pic = pic, .elcr_edges = EDGE_ONLY_MASTER};
    pic->chips[1] = (struct pic_chip){.pic = pic, .elcr_edges = EDGE_ONLY_SLAVE};
    if (bus_add(buses->ports, PIC_PORT_MASTER, 2, &pic_handler, &pic->chips[0], "pic master") &&
        bus_add(buses->ports, PIC_PORT_SLAVE, 2, &pic_handler, &pic->chips[1], "pic slave") &&
        bus_add(buses->ports, ELCR_PORT, 2, &elcr_handler, pic, "pic elcr"))
        return pic;
    pic_destroy(pic);
    return NULL;
}

void pic_destroy(struct pic *pic)
{
    device_free(pic, sizeof(*pic));
}
