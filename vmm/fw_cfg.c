/* SPDX-License-Identifier: MIT */
/*
 * QEMU's configuration device, by which test kernels learn how many processors and how much memory there are: a 16-bit
 * selector and an 8-bit data port, which gives the selected item byte by byte, and zeros past its end. Traditional
 * interface only: its ID item offers no DMA, and its directory holds no files.
 */
#include <vmm/devices.h>

#define FW_CFG_SIZE 2u
#define FW_CFG_DATA 1u /* the data port is the selector's upper byte */

#define ITEM_SIGNATURE     0x0000u
#define ITEM_ID            0x0001u
#define ITEM_RAM_SIZE      0x0003u
#define ITEM_NO_GRAPHIC    0x0004u
#define ITEM_PROCESSORS    0x0005u
#define ITEM_APIC_ID_LIMIT 0x000fu
#define ITEM_IRQ0_OVERRIDE 0x8002u /* of this architecture: ISA IRQ 0 is at pin 2 */

#define KEY_WRITE 0x4000u /* items could be written once; the bit has no effect any more */

#define ID_TRADITIONAL 1u

/* Items without contents give zeros: no UUID, kernel, NUMA nodes or files, which is what is true of this machine. */
struct item {
    uint16_t key;
    uint8_t size;
    uint8_t data[8]; /* little-endian */
};

#define ITEM_COUNT 7u

struct fw_cfg {
    struct lock lock;
    struct item items[ITEM_COUNT];
    const struct item *selected; /* NULL: there is no such item */
    uint32_t at;                 /* the next byte of it */
};

static const struct item *find(const struct fw_cfg *cfg, uint16_t key)
{
    for (uint32_t i = 0; i < ITEM_COUNT; i++)
        if (cfg->items[i].key == key)
            return &cfg->items[i];
    return NULL;
}

static uint8_t next_byte(struct fw_cfg *cfg)
{
    return cfg->selected && cfg->at < cfg->selected->size ? cfg->selected->data[cfg->at++] : 0;
}

/* The selector can not be read. */
static uint64_t fw_cfg_read(void *device, uint64_t offset, uint32_t size)
{
    struct fw_cfg *cfg = device;
    uint8_t value;

    if (offset != FW_CFG_DATA || size != 1)
        return UINT64_MAX;
    lock_take(&cfg->lock);
    value = next_byte(cfg);
    lock_release(&cfg->lock);
    return value;
}

/* Whole selectors only; no item can be written. */
static void fw_cfg_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct fw_cfg *cfg = device;

    if (offset || size != FW_CFG_SIZE)
        return;
    lock_take(&cfg->lock);
    cfg->selected = find(cfg, (uint16_t)(value & ~(uint64_t)KEY_WRITE));
    cfg->at = 0;
    lock_release(&cfg->lock);
}

static const struct bus_handler fw_cfg_handler = {.read = fw_cfg_read, .write = fw_cfg_write};

static void put(struct item *item, uint32_t key, uint8_t size, uint64_t value)
{
    item->key = (uint16_t)key;
    item->size = size;
    for (uint32_t i = 0; i < size; i++)
        item->data[i] = (uint8_t)(value >> 8 * i);
}

/* Processors' APIC IDs are their numbers: the limit is the count. */
static void fill(struct item items[ITEM_COUNT], uint32_t processors, uint64_t memory)
{
    put(&items[0], ITEM_SIGNATURE, 4, 0x554d4551); /* "QEMU" */
    put(&items[1], ITEM_ID, 4, ID_TRADITIONAL);
    put(&items[2], ITEM_RAM_SIZE, 8, memory);
    put(&items[3], ITEM_NO_GRAPHIC, 2, 1);
    put(&items[4], ITEM_PROCESSORS, 2, processors);
    put(&items[5], ITEM_APIC_ID_LIMIT, 2, processors);
    put(&items[6], ITEM_IRQ0_OVERRIDE, 4, 1);
}

struct fw_cfg *fw_cfg_create(const struct device_buses *buses, uint32_t processors, uint64_t memory)
{
    struct fw_cfg *cfg = device_alloc(sizeof(*cfg), "fw_cfg");

    if (!cfg)
        return NULL;
    fill(cfg->items, processors, memory);
    cfg->selected = &cfg->items[0]; /* as after a reset */
    if (bus_add(buses->ports, FW_CFG_PORT, FW_CFG_SIZE, &fw_cfg_handler, cfg, "fw_cfg"))
        return cfg;
    fw_cfg_destroy(cfg);
    return NULL;
}

void fw_cfg_destroy(struct fw_cfg *cfg)
{
    device_free(cfg, sizeof(*cfg));
}
