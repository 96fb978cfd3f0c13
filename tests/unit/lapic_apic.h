/* SPDX-License-Identifier: MIT */
/* An APIC for tests of virt/lapic*.c, and accesses to it that check what every access must keep to. */
#ifndef LAPIC_APIC_H
#define LAPIC_APIC_H

#include "unit.h"
#include "virt/lapic.h"
#include <string.h>

#define PHYSICAL 0xfffffffffull /* 36 bits */
#define XAPIC    APIC_BASE_EN
#define X2APIC   (APIC_BASE_EN | APIC_BASE_EXTD)

static uint32_t page[1024];
static struct lapic apic;
static struct lapic_effect effect; /* of the last call */
static uint64_t now = 1000;

/* With id 5, software-enabled and nothing masked but as after power-up; in the mode that the bits of base say. */
static inline void fresh_as(uint64_t mode, uint32_t id)
{
    memset(page, 0, sizeof(page));
    memset(&effect, 0, sizeof(effect));
    memset(&apic, 0, sizeof(apic));
    apic.regs = page;
    apic.id = id;
    apic.x2apic_allowed = true;
    lapic_reset(&apic, false);
    if (mode == X2APIC)
        assert_true(lapic_write_base(&apic, apic.base | X2APIC, PHYSICAL));
    assert_true(lapic_write(&apic, APIC_SVR, 0x1ff, now, &effect));
    memset(&effect, 0, sizeof(effect));
}

static inline void fresh(uint64_t mode)
{
    fresh_as(mode, 5);
}

static inline bool try_write(uint32_t offset, uint64_t value)
{
    memset(&effect, 0, sizeof(effect));
    return lapic_write(&apic, offset, value, now, &effect);
}

static inline void put(uint32_t offset, uint64_t value)
{
    assert_true(try_write(offset, value));
}

static inline bool try_read(uint32_t offset, uint64_t *value)
{
    memset(&effect, 0, sizeof(effect));
    *value = ~0ull;
    return lapic_read(&apic, offset, now, value, &effect);
}

static inline uint64_t get(uint32_t offset)
{
    uint64_t value;

    assert_true(try_read(offset, &value));
    return value;
}

static inline void accept_vector(uint8_t vector, bool is_level)
{
    memset(&effect, 0, sizeof(effect));
    lapic_accept(&apic, vector, is_level, &effect);
}

static inline bool poll_at(uint64_t time, uint64_t tsc)
{
    memset(&effect, 0, sizeof(effect));
    now = time;
    return lapic_timer_poll(&apic, now, tsc, &effect);
}

static inline bool has(uint32_t set, uint8_t vector)
{
    return page[(set + vector / 32 * 16) / 4] >> vector % 32 & 1;
}

#endif
