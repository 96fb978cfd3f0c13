/* SPDX-License-Identifier: MIT */
/* Virtual MSI: its capability as it is laid out with 32 or 64 bits of address, with or without masks. */
#include "vmsix.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define CONTROL          2
#define ADDRESS          4
#define CONTROL_ENABLE   BIT32(0)
#define CONTROL_CAPABLE  BITS32(3, 1)
#define CONTROL_COUNT    BITS32(6, 4)
#define CONTROL_64       BIT32(7)
#define CONTROL_HAS_MASK BIT32(8)

#define LARGEST 24 /* of the largest layout */

void vmsi_init(struct vmsi *m, uint32_t count, bool is_64bit, bool has_mask)
{
    *m = (struct vmsi){
        .max_order = (uint8_t)__builtin_ctz(count),
        .is_64bit = is_64bit,
        .has_mask = has_mask,
    };
}

void vmsi_reset(struct vmsi *m)
{
    vmsi_init(m, 1u << m->max_order, m->is_64bit, m->has_mask);
}

static uint32_t data_at(const struct vmsi *m)
{
    return m->is_64bit ? 12 : 8;
}

static uint32_t mask_at(const struct vmsi *m)
{
    return data_at(m) + 4;
}

uint32_t vmsi_size(const struct vmsi *m)
{
    return m->has_mask ? mask_at(m) + 8 : data_at(m) + 2;
}

static void put(uint8_t *image, uint32_t at, uint32_t size, uint64_t value)
{
    memcpy(image + at, &value, size);
}

static uint64_t get(const uint8_t *image, uint32_t at, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, image + at, size);
    return value;
}

static void image_of(const struct vmsi *m, uint8_t image[LARGEST])
{
    uint32_t control =
        (m->is_enabled ? CONTROL_ENABLE : 0) | (m->is_64bit ? CONTROL_64 : 0) | (m->has_mask ? CONTROL_HAS_MASK : 0);

    control |= (uint32_t)(FIELD_PUT(CONTROL_CAPABLE, m->max_order) | FIELD_PUT(CONTROL_COUNT, m->order));
    memset(image, 0, LARGEST);
    put(image, CONTROL, 2, control);
    put(image, ADDRESS, m->is_64bit ? 8 : 4, m->address);
    put(image, data_at(m), 2, m->data);
    if (!m->has_mask)
        return;
    put(image, mask_at(m), 4, m->mask);
    put(image, mask_at(m) + 4, 4, m->pending);
}

uint32_t vmsi_read(const struct vmsi *m, uint32_t offset, uint32_t size)
{
    uint8_t image[LARGEST];

    image_of(m, image);
    return (uint32_t)get(image, offset, size);
}

/* A function has mask and pending bits for the messages that it is capable of. */
static uint32_t message_bits(const struct vmsi *m)
{
    return (uint32_t)BITS64((1u << m->max_order) - 1, 0);
}

void vmsi_write(struct vmsi *m, uint32_t offset, uint32_t size, uint32_t value)
{
    uint8_t image[LARGEST], order;
    uint32_t control;

    image_of(m, image);
    put(image, offset, size, value);
    control = (uint32_t)get(image, CONTROL, 2);
    order = (uint8_t)FIELD_GET(CONTROL_COUNT, control);
    m->order = HV_MIN(order, m->max_order);
    m->is_enabled = control & CONTROL_ENABLE;
    m->address = get(image, ADDRESS, m->is_64bit ? 8 : 4) & ~3ull;
    m->data = (uint16_t)get(image, data_at(m), 2);
    if (m->has_mask)
        m->mask = (uint32_t)get(image, mask_at(m), 4) & message_bits(m);
    if (!m->is_enabled)
        m->pending = 0;
}

/* The function puts the message's number into the low bits of the data. */
struct hv_msi_message vmsi_message(const struct vmsi *m, uint32_t n)
{
    uint32_t low = (1u << m->order) - 1;

    return (struct hv_msi_message){m->address, (m->data & ~low) | (n & low)};
}

uint32_t vmsi_count(const struct vmsi *m)
{
    return m->is_enabled ? 1u << m->order : 0;
}

bool vmsi_is_open(const struct vmsi *m, uint32_t n)
{
    return n < vmsi_count(m) && !(m->mask & BIT32(n));
}

bool vmsi_raise(struct vmsi *m, uint32_t n)
{
    if (n >= vmsi_count(m))
        return false;
    if (m->mask & BIT32(n))
        m->pending |= BIT32(n);
    return !(m->mask & BIT32(n));
}

bool vmsi_take(struct vmsi *m, uint32_t n)
{
    if (n >= vmsi_count(m) || !(m->pending & ~m->mask & BIT32(n)))
        return false;
    m->pending &= ~BIT32(n);
    return true;
}
