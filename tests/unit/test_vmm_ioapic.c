/* SPDX-License-Identifier: MIT */
/* vmm/ioapic.c: registers, messages of edges and levels, Remote IRR, and threads that raise against ones that end. */
#include "vmm_machine.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define LEVEL  0x8000u
#define MASKED 0x10000u
#define REMOTE 0x4000u

static uint32_t entry_low(uint32_t pin)
{
    return ioapic_reg((uint8_t)(0x10 + 2 * pin));
}

static void registers(void **state)
{
    (void)state;
    assert_int_equal(ioapic_reg(1), 0x00170020);
    ioapic_reg_set(0, UINT32_MAX);
    assert_int_equal(ioapic_reg(0), 0x0f000000);
    assert_int_equal(ioapic_reg(2), 0x0f000000);
    ioapic_reg_set(1, 0);
    assert_int_equal(ioapic_reg(1), 0x00170020);
    for (uint32_t pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(entry_low(pin), MASKED);
        ioapic_reg_set((uint8_t)(0x10 + 2 * pin), UINT32_MAX);
        ioapic_reg_set((uint8_t)(0x11 + 2 * pin), UINT32_MAX);
        assert_int_equal(entry_low(pin), 0x1afff); /* not delivery status and Remote IRR */
        assert_int_equal(ioapic_reg((uint8_t)(0x11 + 2 * pin)), 0xff000000);
    }
    ioapic_reg_set(0x40, UINT32_MAX);
    assert_int_equal(ioapic_reg(0x40), 0);
    assert_int_equal(ioapic_reg(0xff), 0);
    assert_int_equal(tm.sent, 0);
}

/* Narrow, wide and odd accesses; the window's writes count as whole dwords only. */
static void access_sizes(void **state)
{
    (void)state;
    bus_write(&tm.memory, IOAPIC_BASE, 1, 1);
    assert_int_equal(bus_get(&tm.memory, IOAPIC_BASE, 4), 1);
    assert_int_equal(bus_get(&tm.memory, IOAPIC_BASE + 0x12, 2), 0x17);
    assert_int_equal(bus_get(&tm.memory, IOAPIC_BASE + 0x10, 8), 0x00170020);
    assert_int_equal(bus_get(&tm.memory, IOAPIC_BASE + 0x40, 4), 0);
    assert_int_equal(bus_get(&tm.memory, IOAPIC_BASE + 0xffc, 8), UINT64_MAX);
    bus_write(&tm.memory, IOAPIC_BASE, 4, 0x10);
    bus_write(&tm.memory, IOAPIC_BASE + 0x10, 2, 0x31);
    bus_write(&tm.memory, IOAPIC_BASE + 0x11, 4, 0x31);
    assert_int_equal(entry_low(0), MASKED);
    bus_write(&tm.memory, IOAPIC_BASE + 0x10, 8, 0x5500000031);
    assert_int_equal(entry_low(0), 0x31);
    assert_int_equal(ioapic_reg(0x11), 0);
}

static void edges(void **state)
{
    (void)state;
    ioapic_entry_set(4, 0x0200000000000031);
    ioapic_set_line(tm.ioapic, 4, true);
    assert_int_equal(tm.sent, 1);
    assert_message(0, (struct message){0, false, false, 2, 0x31});
    ioapic_set_line(tm.ioapic, 4, true); /* no edge */
    assert_int_equal(tm.sent, 1);
    ioapic_set_line(tm.ioapic, 4, false);
    assert_int_equal(tm.sent, 1);
    ioapic_pulse(tm.ioapic, 4);
    ioapic_pulse(tm.ioapic, 4);
    assert_int_equal(tm.sent, 3);
    ioapic_eoi(tm.ioapic, 0x31);
    assert_int_equal(tm.sent, 3);
    ioapic_set_line(tm.ioapic, 24, true);
    ioapic_pulse(tm.ioapic, UINT32_MAX);
    assert_int_equal(tm.sent, 3);
}

/* 82093AA, 3.2.4, bit 16: edges on a masked pin are neither delivered nor held pending. */
static void masked_edges_are_lost(void **state)
{
    (void)state;
    ioapic_entry_set(4, 0x31 | MASKED);
    ioapic_set_line(tm.ioapic, 4, true);
    ioapic_reg_set(0x18, 0x31);
    assert_int_equal(tm.sent, 0);
    ioapic_set_line(tm.ioapic, 4, false);
    ioapic_set_line(tm.ioapic, 4, true);
    assert_int_equal(tm.sent, 1);
}

static void levels(void **state)
{
    (void)state;
    ioapic_entry_set(9, 0x8100000000000941 | LEVEL); /* logical, lowest priority, to 81h */
    ioapic_set_line(tm.ioapic, 9, true);
    assert_int_equal(tm.sent, 1);
    assert_message(0, (struct message){1, true, true, 0x81, 0x41});
    assert_int_equal(entry_low(9), 0x941 | LEVEL | REMOTE);
    ioapic_set_line(tm.ioapic, 9, false);
    ioapic_set_line(tm.ioapic, 9, true); /* Remote IRR holds it back */
    assert_int_equal(tm.sent, 1);
    ioapic_eoi(tm.ioapic, 0x42);
    assert_int_equal(tm.sent, 1);
    ioapic_eoi(tm.ioapic, 0x41);
    assert_int_equal(tm.sent, 2); /* still raised */
    ioapic_set_line(tm.ioapic, 9, false);
    ioapic_eoi(tm.ioapic, 0x41);
    assert_int_equal(tm.sent, 2);
    assert_int_equal(entry_low(9), 0x941 | LEVEL);
}

static void levels_and_masks(void **state)
{
    (void)state;
    ioapic_entry_set(9, 0x41 | LEVEL | MASKED);
    ioapic_set_line(tm.ioapic, 9, true);
    assert_int_equal(tm.sent, 0);
    ioapic_reg_set(0x22, 0x41 | LEVEL);
    assert_int_equal(tm.sent, 1);
    ioapic_reg_set(0x22, 0x41 | LEVEL | MASKED);
    assert_int_equal(entry_low(9), 0x41 | LEVEL | MASKED | REMOTE); /* a mask does not end what is out */
    ioapic_reg_set(0x22, 0x41 | LEVEL);
    assert_int_equal(tm.sent, 1);
    ioapic_reg_set(0x22, 0x41 | LEVEL | MASKED);
    ioapic_eoi(tm.ioapic, 0x41);
    assert_int_equal(tm.sent, 1);
    assert_int_equal(entry_low(9), 0x41 | LEVEL | MASKED);
    ioapic_reg_set(0x22, 0x41 | LEVEL);
    assert_int_equal(tm.sent, 2);
    ioapic_reg_set(0x23, 0x07000000); /* the high half touches nothing else */
    assert_int_equal(entry_low(9), 0x41 | LEVEL | REMOTE);
}

/* How Linux ends a level that lost its EOI: by the EOI register, or by making the pin an edge for a moment. */
static void remote_irr_by_software(void **state)
{
    (void)state;
    ioapic_entry_set(9, 0x41 | LEVEL);
    ioapic_set_line(tm.ioapic, 9, true);
    bus_write(&tm.memory, IOAPIC_BASE + 0x40, 4, 0x41);
    assert_int_equal(tm.sent, 2);
    ioapic_reg_set(0x22, 0x41 | MASKED);
    assert_int_equal(entry_low(9), 0x41 | MASKED);
    ioapic_reg_set(0x22, 0x41 | LEVEL | MASKED);
    assert_int_equal(entry_low(9), 0x41 | LEVEL | MASKED);
    ioapic_set_line(tm.ioapic, 9, false);
    assert_int_equal(tm.sent, 2);
}

static void all_entries_of_a_vector_end(void **state)
{
    (void)state;
    ioapic_entry_set(16, 0x51 | LEVEL);
    ioapic_entry_set(17, 0x51 | LEVEL);
    ioapic_set_line(tm.ioapic, 16, true);
    ioapic_set_line(tm.ioapic, 17, true);
    assert_int_equal(tm.sent, 2);
    ioapic_eoi(tm.ioapic, 0x51);
    assert_int_equal(tm.sent, 4);
}

/* Modes without a vector are edges, whatever the entry says; reserved ones send nothing. */
static void delivery_modes(void **state)
{
    static const struct {
        uint8_t mode;
        bool is_sent;
    } table[] = {{2, true}, {3, false}, {4, true}, {5, true}, {6, false}, {7, true}};
    uint32_t sent = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        ioapic_entry_set(0, 0x99 | LEVEL | (uint32_t)table[i].mode << 8);
        ioapic_pulse(tm.ioapic, 0);
        sent += table[i].is_sent;
        assert_int_equal(tm.sent, sent);
        if (table[i].is_sent)
            assert_message(sent - 1, (struct message){table[i].mode, false, false, 0, 0});
        assert_false(entry_low(0) & REMOTE);
    }
}

/* --------------------------------------------------------------------------------------- threads */

#define ROUNDS 20000

static uint32_t edges_sent;

static void count_edges(void *context, uint8_t mode, bool is_logical, bool is_level, uint8_t destination,
                        uint8_t vector)
{
    (void)context;
    (void)mode;
    (void)is_logical;
    (void)destination;
    assert_true(is_level == (vector == 0x41));
    if (!is_level && __atomic_fetch_add(&edges_sent, 1, __ATOMIC_SEQ_CST) % 4 == 0)
        sched_yield(); /* others come while the line is raised */
}

static void *raiser(void *arg)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        ioapic_set_line(tm.ioapic, 9, i & 1);
        ioapic_pulse(tm.ioapic, 3);
    }
    ioapic_set_line(tm.ioapic, 9, true);
    return arg;
}

static void *ender(void *arg)
{
    for (uint32_t i = 0; i < ROUNDS; i++)
        ioapic_eoi(tm.ioapic, 0x41);
    return arg;
}

/* No edge is lost, and a raised level is out after all has come to rest. */
static void threads(void **state)
{
    void *(*const work[])(void *) = {raiser, raiser, ender};
    pthread_t thread[3];

    (void)state;
    ioapic_entry_set(3, 0x33);
    ioapic_entry_set(9, 0x41 | LEVEL);
    tm.services.send_interrupt = count_edges;
    edges_sent = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work[i], NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(edges_sent, 2 * ROUNDS);
    assert_int_equal(entry_low(9), 0x41 | LEVEL | REMOTE);
}

static void no_memory_and_no_place(void **state)
{
    (void)state;
    assert_null(ioapic_create(&tm.buses, &tm.services));
    fake_system.allocations_left = 1;
    assert_null(ioapic_create(&tm.buses, &tm.services));
    assert_non_null(strstr(fake_system.printed, "no memory for ioapic"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VMM_TEST(registers),
        VMM_TEST(access_sizes),
        VMM_TEST(edges),
        VMM_TEST(masked_edges_are_lost),
        VMM_TEST(levels),
        VMM_TEST(levels_and_masks),
        VMM_TEST(remote_irr_by_software),
        VMM_TEST(all_entries_of_a_vector_end),
        VMM_TEST(delivery_modes),
        VMM_TEST(threads),
        VMM_TEST(no_memory_and_no_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
