/* SPDX-License-Identifier: MIT */
/* The virtual MSI-X table and its pending bits. Entries lie in pages, as there can be 2048 of them. */
#include "vmsix.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define CONTROL_MASK   BIT32(14)
#define CONTROL_ENABLE BIT32(15)
#define ENTRY_MASK     BIT32(0)

/* As the table has it. */
struct image {
    uint64_t address;
    uint32_t data, control;
};
_Static_assert(sizeof(struct image) == VMSIX_ENTRY_SIZE, "entry of the table");
_Static_assert(sizeof(struct vmsix_entry) * VMSIX_PAGE_HOLDS <= HV_PAGE_SIZE, "a page of entries");

static struct vmsix_entry *entry_of(const struct vmsix *m, uint32_t n)
{
    return &m->pages[n / VMSIX_PAGE_HOLDS][n % VMSIX_PAGE_HOLDS];
}

enum hv_status vmsix_init(struct vmsix *m, uint32_t count)
{
    *m = (struct vmsix){.count = count};
    for (uint32_t i = 0; i * VMSIX_PAGE_HOLDS < count; i++) {
        m->pages[i] = hv_host_page_alloc();
        if (!m->pages[i]) {
            vmsix_free(m);
            return HV_E_NO_MEMORY;
        }
    }
    vmsix_reset(m);
    return HV_OK;
}

void vmsix_free(struct vmsix *m)
{
    for (uint32_t i = 0; i < VMSIX_PAGES; i++)
        if (m->pages[i])
            hv_host_page_free(m->pages[i]);
    *m = (struct vmsix){0};
}

void vmsix_reset(struct vmsix *m)
{
    m->is_enabled = m->is_masked = false;
    for (uint32_t n = 0; n < m->count; n++)
        *entry_of(m, n) = (struct vmsix_entry){.is_masked = true};
}

uint16_t vmsix_control(const struct vmsix *m)
{
    return (uint16_t)((m->count - 1) | (m->is_masked ? CONTROL_MASK : 0) | (m->is_enabled ? CONTROL_ENABLE : 0));
}

void vmsix_set_control(struct vmsix *m, uint16_t value)
{
    m->is_masked = value & CONTROL_MASK;
    m->is_enabled = value & CONTROL_ENABLE;
    for (uint32_t n = 0; !m->is_enabled && n < m->count; n++)
        entry_of(m, n)->is_pending = false;
}

static struct image image_of(const struct vmsix_entry *e)
{
    return (struct image){e->address, e->data, e->is_masked ? ENTRY_MASK : 0};
}

uint64_t vmsix_table_read(const struct vmsix *m, uint32_t offset, uint32_t size)
{
    struct image image = image_of(entry_of(m, offset / VMSIX_ENTRY_SIZE));
    uint64_t value = 0;

    memcpy(&value, (const uint8_t *)&image + offset % VMSIX_ENTRY_SIZE, size);
    return value;
}

/* Whatever is not written stays; reserved bits do not. */
void vmsix_table_write(struct vmsix *m, uint32_t offset, uint32_t size, uint64_t value)
{
    struct vmsix_entry *e = entry_of(m, offset / VMSIX_ENTRY_SIZE);
    struct image image = image_of(e);

    memcpy((uint8_t *)&image + offset % VMSIX_ENTRY_SIZE, &value, size);
    e->address = image.address & ~3ull;
    e->data = image.data;
    e->is_masked = image.control & ENTRY_MASK;
}

uint64_t vmsix_pba_read(const struct vmsix *m, uint32_t offset, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t bit = 0; bit < 8 * size && 8 * offset + bit < m->count; bit++)
        value |= (uint64_t)entry_of(m, 8 * offset + bit)->is_pending << bit;
    return value;
}

struct hv_msi_message vmsix_message(const struct vmsix *m, uint32_t n)
{
    const struct vmsix_entry *e = entry_of(m, n);

    return (struct hv_msi_message){e->address, e->data};
}

bool vmsix_is_open(const struct vmsix *m, uint32_t n)
{
    return m->is_enabled && !m->is_masked && !entry_of(m, n)->is_masked;
}

bool vmsix_raise(struct vmsix *m, uint32_t n)
{
    if (vmsix_is_open(m, n))
        return true;
    entry_of(m, n)->is_pending = m->is_enabled;
    return false;
}

bool vmsix_take(struct vmsix *m, uint32_t n)
{
    if (!vmsix_is_open(m, n) || !entry_of(m, n)->is_pending)
        return false;
    entry_of(m, n)->is_pending = false;
    return true;
}
