/* SPDX-License-Identifier: MIT */
/*
 * A machine for the VMM's devices on the desk: two buses, an IOAPIC, a clock that the test sets, and a record of what
 * the devices asked for.
 */
#ifndef VMM_MACHINE_TEST_H
#define VMM_MACHINE_TEST_H

#include "unit.h"
#include <fake_system.h>
#include <string.h>
#include <vmm/devices.h>

#define MESSAGES_MAX 64

struct message {
    uint8_t mode;
    bool is_logical, is_level;
    uint8_t destination, vector;
};

struct test_machine {
    struct bus ports, memory;
    struct device_buses buses;
    struct machine_services services;
    struct ioapic *ioapic;
    uint64_t now, wall;
    struct message messages[MESSAGES_MAX];
    uint32_t sent; /* all of them; the record keeps the first MESSAGES_MAX */
    enum machine_end ended;
    uint32_t end_code, ends;
    uint8_t output[256];
    uint32_t output_length;
};

static struct test_machine tm;

static void tm_send(void *context, uint8_t mode, bool is_logical, bool is_level, uint8_t destination, uint8_t vector)
{
    uint32_t n = __atomic_fetch_add(&tm.sent, 1, __ATOMIC_SEQ_CST);

    assert_ptr_equal(context, &tm);
    if (n < MESSAGES_MAX)
        tm.messages[n] = (struct message){mode, is_logical, is_level, destination, vector};
}

static void tm_end(void *context, enum machine_end why, uint32_t code)
{
    assert_ptr_equal(context, &tm);
    if (!tm.ends++) {
        tm.ended = why;
        tm.end_code = code;
    }
}

static uint64_t tm_time(void *context)
{
    assert_ptr_equal(context, &tm);
    return __atomic_load_n(&tm.now, __ATOMIC_RELAXED);
}

static uint64_t tm_wall(void *context)
{
    assert_ptr_equal(context, &tm);
    return tm.wall;
}

static inline void tm_output(void *context, uint8_t byte)
{
    assert_ptr_equal(context, &tm);
    if (tm.output_length < sizeof(tm.output))
        tm.output[tm.output_length++] = byte;
}

static inline int tm_setup(void **state)
{
    unit_setup(state);
    fake_system_reset();
    memset(&tm, 0, sizeof(tm));
    tm.buses = (struct device_buses){&tm.ports, &tm.memory};
    tm.services = (struct machine_services){&tm, tm_send, tm_end, tm_time, tm_wall};
    tm.ioapic = ioapic_create(&tm.buses, &tm.services);
    assert_non_null(tm.ioapic);
    return 0;
}

static inline int tm_teardown(void **state)
{
    ioapic_destroy(tm.ioapic);
    assert_int_equal(fake_system.memory_used, 0);
    return unit_teardown(state);
}

#define VMM_TEST(fn) cmocka_unit_test_setup_teardown(fn, tm_setup, tm_teardown)

static inline uint64_t bus_get(struct bus *bus, uint64_t address, uint32_t size)
{
    uint64_t value = 0;

    bus_read(bus, address, size, &value);
    return value;
}

static inline uint8_t inb(uint32_t port)
{
    return (uint8_t)bus_get(&tm.ports, port, 1);
}

static inline uint16_t inw(uint32_t port)
{
    return (uint16_t)bus_get(&tm.ports, port, 2);
}

static inline uint32_t inl(uint32_t port)
{
    return (uint32_t)bus_get(&tm.ports, port, 4);
}

static inline void outb(uint32_t port, uint8_t value)
{
    bus_write(&tm.ports, port, 1, value);
}

static inline void outw(uint32_t port, uint16_t value)
{
    bus_write(&tm.ports, port, 2, value);
}

static inline void outl(uint32_t port, uint32_t value)
{
    bus_write(&tm.ports, port, 4, value);
}

static inline uint32_t ioapic_reg(uint8_t reg)
{
    bus_write(&tm.memory, IOAPIC_BASE, 4, reg);
    return (uint32_t)bus_get(&tm.memory, IOAPIC_BASE + 0x10, 4);
}

static inline void ioapic_reg_set(uint8_t reg, uint32_t value)
{
    bus_write(&tm.memory, IOAPIC_BASE, 4, reg);
    bus_write(&tm.memory, IOAPIC_BASE + 0x10, 4, value);
}

/* Masked while it is half written, as systems do. */
static inline void ioapic_entry_set(uint32_t pin, uint64_t entry)
{
    ioapic_reg_set((uint8_t)(0x10 + 2 * pin), 0x10000);
    ioapic_reg_set((uint8_t)(0x11 + 2 * pin), (uint32_t)(entry >> 32));
    ioapic_reg_set((uint8_t)(0x10 + 2 * pin), (uint32_t)entry);
}

/* A device's line as an edge with this vector, to processor 0. */
static inline struct irq_line edge_line(uint32_t pin, uint8_t vector)
{
    ioapic_entry_set(pin, vector);
    return (struct irq_line){tm.ioapic, pin};
}

static inline void assert_message(uint32_t n, struct message wanted)
{
    assert_true(n < tm.sent && n < MESSAGES_MAX);
    assert_int_equal(tm.messages[n].mode, wanted.mode);
    assert_int_equal(tm.messages[n].is_logical, wanted.is_logical);
    assert_int_equal(tm.messages[n].is_level, wanted.is_level);
    assert_int_equal(tm.messages[n].destination, wanted.destination);
    assert_int_equal(tm.messages[n].vector, wanted.vector);
}

#endif
