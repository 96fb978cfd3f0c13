/* SPDX-License-Identifier: MIT */
/* vmm/pic.c, pm.c, debug_ports.c, test_device.c, fw_cfg.c and pci.c: registers, ends of the run, and random accesses to
 * all devices at once. */
#include "vmm_machine.h"
#include <pthread.h>
#include <stdlib.h>

static struct pic *pic;
static struct pm *pm;
static struct debug_ports *ports;
static struct test_device *test_device;
static struct fw_cfg *fw_cfg;
static struct pci_bus *pci;

static int setup(void **state)
{
    tm_setup(state);
    pic = pic_create(&tm.buses);
    pci = pci_create(&tm.buses);
    pm = pm_create(&tm.buses, &tm.services, (struct irq_line){tm.ioapic, ACPI_SCI_IRQ});
    ports = debug_ports_create(&tm.buses, &tm.services);
    fw_cfg = fw_cfg_create(&tm.buses, 3, 0x123456789000);
    test_device = test_device_create(&tm.buses, tm.ioapic);
    assert_true(pic && pm && ports && pci && fw_cfg && test_device);
    return 0;
}

static int teardown(void **state)
{
    pic_destroy(pic);
    pm_destroy(pm);
    debug_ports_destroy(ports);
    test_device_destroy(test_device);
    fw_cfg_destroy(fw_cfg);
    pci_destroy(pci);
    return tm_teardown(state);
}

static void assert_ended(enum machine_end why, uint32_t code)
{
    assert_int_equal(tm.ends, 1);
    assert_int_equal(tm.ended, why);
    assert_int_equal(tm.end_code, code);
    tm.ends = 0;
}

/* ----------------------------------------------------------------------------------------- PIC */

/* probe_8259A() and init_8259A() of Linux. */
static void linux_finds_the_pic(void **state)
{
    static const uint8_t words[2][4] = {{0x11, 0x30, 0x04, 0x01}, {0x11, 0x38, 0x02, 0x01}};

    (void)state;
    outb(0xa1, 0xff);
    outb(0x21, 0xfb);
    assert_int_equal(inb(0x21), 0xfb);
    assert_int_equal(inb(0xa1), 0xff);
    for (int chip = 0; chip < 2; chip++) {
        uint32_t port = chip ? 0xa0 : 0x20;

        outb(port, words[chip][0]);
        assert_int_equal(inb(port + 1), 0); /* ICW1 clears the mask */
        for (int i = 1; i < 4; i++)
            outb(port + 1, words[chip][i]);
        assert_int_equal(inb(port + 1), 0);
        outb(port + 1, 0xa5);
        assert_int_equal(inb(port + 1), 0xa5);
    }
    outb(0x20, 0x13); /* alone, with ICW4: two words more */
    outb(0x21, 0x30);
    outb(0x21, 0x01);
    outb(0x21, 0x77);
    assert_int_equal(inb(0x21), 0x77);
    outb(0x20, 0x0b); /* ISR */
    assert_int_equal(inb(0x20), 0);
    outb(0x20, 0x0c); /* poll */
    assert_int_equal(inb(0x20), 0);
    outb(0x20, 0x20);
    assert_int_equal(inb(0x21), 0x77);
}

static void elcr(void **state)
{
    (void)state;
    outw(0x4d0, 0xffff);
    assert_int_equal(inb(0x4d0), 0xf8);
    assert_int_equal(inb(0x4d1), 0xde);
    outb(0x4d1, 0x02);
    assert_int_equal(inw(0x4d0), 0x02f8);
}

/* ------------------------------------------------------------------------------------------ PM */

static void pm_registers(void **state)
{
    (void)state;
    assert_int_equal(inl(PM_BASE), 0);
    assert_int_equal(inw(PM_BASE + PM_CONTROL), 1);
    outl(PM_BASE, 0xffffffff);
    assert_int_equal(inl(PM_BASE), 0x07210000);
    outb(PM_BASE + 3, 0);
    assert_int_equal(inw(PM_BASE + 2), 0x0021);
    outw(PM_BASE + PM_CONTROL, 0xdfff & ~0x1c00);
    assert_int_equal(inl(PM_BASE + PM_CONTROL), 0x0003);
    outl(PM_BASE + PM_CONTROL + 2, 0xffffffff); /* crosses into the timer */
    assert_int_equal(inw(PM_BASE + PM_CONTROL + 2), 0);
    assert_int_equal(inl(PM_BASE + 9), 0xffffffff);
    assert_int_equal(tm.ends, 0);
}

static void pm_timer(void **state)
{
    (void)state;
    tm.now = 1000000000;
    assert_int_equal(inl(PM_BASE + PM_TIMER), 3579545);
    assert_int_equal(inb(PM_BASE + PM_TIMER + 1), 3579545 >> 8 & 0xff);
    outl(PM_BASE + PM_TIMER, 0);
    assert_int_equal(inl(PM_BASE + PM_TIMER), 3579545);
    tm.now = 3600000000000; /* 12886362000 ticks: round three times */
    assert_int_equal(inl(PM_BASE + PM_TIMER), (uint32_t)12886362000ull);
}

/* The timer's highest bit changes: status at all times, an interrupt where it is enabled, for as long as it stands. */
static void pm_timer_event(void **state)
{
    uint64_t due;

    (void)state;
    ioapic_entry_set(ACPI_SCI_IRQ, 0x8039);
    assert_true(pm_poll(pm, 0) == UINT64_MAX);
    outw(PM_BASE + 2, 1);
    due = pm_poll(pm, 0);
    assert_in_range(due, 599932000000, 599933000000);
    tm.now = due - 1;
    assert_int_equal(inw(PM_BASE), 0);
    assert_int_equal(inl(PM_BASE + PM_TIMER), 0x7fffffff);
    assert_true(pm_poll(pm, due) == UINT64_MAX);
    tm.now = due;
    assert_int_equal(tm.sent, 1);
    assert_message(0, (struct message){0, false, true, 0, 0x39});
    assert_int_equal(inw(PM_BASE), 1);
    ioapic_eoi(tm.ioapic, 0x39);
    assert_int_equal(tm.sent, 2);
    outw(PM_BASE, 1);
    assert_int_equal(inw(PM_BASE), 0);
    ioapic_eoi(tm.ioapic, 0x39);
    assert_int_equal(tm.sent, 2);
}

static void power_off(void **state)
{
    (void)state;
    for (uint16_t type = 0; type < 8; type++) {
        outw(PM_BASE + PM_CONTROL, (uint16_t)(type << 10)); /* Linux writes the type first, and SLP_EN then */
        assert_int_equal(tm.ends, 0);
        outw(PM_BASE + PM_CONTROL, (uint16_t)(type << 10 | 0x2000));
        if (type == PM_SLEEP_TYPE)
            assert_ended(MACHINE_POWER_OFF, 0);
        assert_int_equal(tm.ends, 0);
        assert_int_equal(inw(PM_BASE + PM_CONTROL), type << 10 | 1); /* SLP_EN reads 0 */
    }
    outb(PM_BASE + PM_CONTROL + 1, 0x34);
    assert_ended(MACHINE_POWER_OFF, 0);
}

static void resets(void **state)
{
    (void)state;
    outb(RESET_PORT, 0x0a);
    assert_int_equal(inb(RESET_PORT), 0x0a);
    assert_int_equal(tm.ends, 0);
    outb(RESET_PORT, 0x0e);
    assert_ended(MACHINE_RESET, 0);
    outb(RESET_PORT, 0x02);
    outb(RESET_PORT, RESET_VALUE);
    assert_ended(MACHINE_RESET, 0);
    outb(0x64, 0xfe);
    assert_ended(MACHINE_RESET, 0);
    outb(0x64, 0xaa);
    outb(0x60, 0xfe);
    outl(0xcf8, 0x80000600); /* the byte of CF9h in an address */
    assert_int_equal(tm.ends, 0);
}

/* i8042_controller_check() empties the output first, and gives up after 16 bytes; kb_wait() looks at bit 1. */
static void linux_finds_no_keyboard(void **state)
{
    (void)state;
    for (int i = 0; i < 17; i++) {
        assert_int_equal(inb(0x64) & 1, 1);
        assert_int_equal(inb(0x60), 0xff);
    }
    assert_int_equal(inb(0x64) & 2, 0);
}

/* --------------------------------------------------------------------------------- debug ports */

static void pvpanic(void **state)
{
    (void)state;
    assert_int_equal(inb(PVPANIC_PORT), 3);
    outb(PVPANIC_PORT, 2);
    outb(PVPANIC_PORT, 0xfc);
    assert_int_equal(tm.ends, 0);
    outb(PVPANIC_PORT, 1);
    assert_ended(MACHINE_PANIC, 0);
}

static void debug_exit(void **state)
{
    (void)state;
    assert_int_equal(inl(DEBUG_EXIT_PORT), 0);
    outb(DEBUG_EXIT_PORT, 0x10);
    assert_ended(MACHINE_EXIT_CODE, 0x10);
    outw(DEBUG_EXIT_PORT, 0x1234);
    assert_ended(MACHINE_EXIT_CODE, 0x1234);
    outl(DEBUG_EXIT_PORT, 0x89abcdef);
    assert_ended(MACHINE_EXIT_CODE, 0x89abcdef);
    outb(DEBUG_EXIT_PORT + 1, 1);
    assert_int_equal(tm.ends, 0);
}

/* -------------------------------------------------------------------------------------- fw_cfg */

/* The item's first 8 bytes, as firmware and test kernels read them. */
static uint64_t fw_cfg_item(uint16_t key)
{
    uint64_t value = 0;

    outw(0x510, key);
    for (uint32_t i = 0; i < 8; i++)
        value |= (uint64_t)inb(0x511) << 8 * i;
    return value;
}

static void fw_cfg_items(void **state)
{
    (void)state;
    assert_int_equal(inb(0x511), 'Q'); /* selected from the start */
    assert_int_equal(fw_cfg_item(0), 0x554d4551);
    assert_int_equal(fw_cfg_item(1), 1); /* no DMA */
    assert_int_equal(fw_cfg_item(3), 0x123456789000);
    assert_int_equal(inb(0x511), 0); /* past its end */
    assert_int_equal(fw_cfg_item(5), 3);
    assert_int_equal(fw_cfg_item(0xf), 3);
    assert_int_equal(fw_cfg_item(0x8002), 1);
    assert_int_equal(fw_cfg_item(0x19), 0); /* a directory without files */
    assert_int_equal(fw_cfg_item(0xffff), 0);
}

/* Only a word selects, nothing can be written, and no other access moves on in the item. */
static void fw_cfg_accesses(void **state)
{
    (void)state;
    outw(0x510, 0);
    outb(0x510, 5);
    outb(0x511, 0xff);
    outl(0x510, 5);
    assert_int_equal(inw(0x510), 0xffff);
    assert_int_equal(inb(0x510), 0xff);
    assert_int_equal(inl(0x510), UINT32_MAX);
    assert_int_equal(inb(0x511), 'Q');
    assert_int_equal(inb(0x511), 'E');
    assert_int_equal(fw_cfg_item(0x4005), 3); /* the write channel of old */
}

/* --------------------------------------------------------------------------------- test device */

static void test_latch(void **state)
{
    (void)state;
    assert_int_equal(inl(0xe0), 0);
    outl(0xe0, 0x89abcdef);
    assert_int_equal(inb(0xe0), 0xef);
    assert_int_equal(inw(0xe2), 0x89ab);
    outb(0xe1, 0x12);
    assert_int_equal(inl(0xe0), 0x89ab12ef);
    outl(0xe2, 0); /* beyond its end */
    assert_int_equal(inl(0xe0), 0x89ab12ef);
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(bus_write(&tm.memory, 0xff000ffb, 8, 0x1122334455667788));
    assert_int_equal(bus_get(&tm.memory, 0xff000ffb, 8), 0x1122334455667788);
    assert_int_equal(bus_get(&tm.memory, 0xff001000, 2), 0x2233);
    assert_true(bus_write(&tm.memory, 0xff00ffff, 1, 0x5a));
    assert_int_equal(bus_get(&tm.memory, 0xff00ffff, 1), 0x5a);
    assert_false(bus_write(&tm.memory, 0xff00ffff, 2, 0));
    assert_false(bus_write(&tm.memory, 0xff010000, 1, 0));
    assert_int_equal(bus_get(&tm.memory, 0xff00ffff, 1), 0x5a);
}

/* An edge, and a level: the port's value is the line. */
static void test_pins(void **state)
{
    (void)state;
    ioapic_entry_set(14, 0x76);
    outb(0x200e, 1);
    assert_int_equal(tm.sent, 1);
    assert_message(0, (struct message){.vector = 0x76});
    outb(0x200e, 1);
    assert_int_equal(tm.sent, 1);
    outb(0x200e, 0);
    outb(0x200e, 1);
    assert_int_equal(tm.sent, 2);
    outb(0x2018, 1);
    assert_int_equal(inb(0x200e), 0);
}

/* ----------------------------------------------------------------------------------------- PCI */

static uint8_t space[4096];

static uint32_t space_read(void *function, uint32_t offset, uint32_t size)
{
    uint32_t value = 0;

    assert_ptr_equal(function, space);
    assert_true(offset % size == 0 && offset + size <= sizeof(space));
    memcpy(&value, space + offset, size);
    return value | (size < 4 ? 0xa5u << 24 : 0); /* what is beyond the size does not count */
}

static void space_write(void *function, uint32_t offset, uint32_t size, uint32_t value)
{
    assert_ptr_equal(function, space);
    assert_true(offset % size == 0 && offset + size <= sizeof(space));
    assert_true(size == 4 || value >> (size * 8) == 0);
    memcpy(space + offset, &value, size);
}

static const struct pci_function ram = {space_read, space_write, space};

/* pci_check_type1(), pci_check_type2() and pci_sanity_check() of Linux. */
static void linux_finds_pci(void **state)
{
    (void)state;
    outb(0xcfb, 0x01);
    assert_int_equal(inl(0xcf8), 0);
    outl(0xcf8, 0x80000000);
    assert_int_equal(inl(0xcf8), 0x80000000);
    outl(0xcf8, 0x80000008);
    assert_int_equal(inw(0xcfe), 0x0600);
    outb(0xcfb, 0);
    outb(0xcf8, 0);
    outb(0xcfa, 0);
    assert_false(inb(0xcf8) == 0 && inb(0xcfa) == 0);
    assert_int_equal(inl(0xcf8), 0x80000008);
    outl(0xcf8, 0xffffffff);
    assert_int_equal(inl(0xcf8), 0x80fffffc);
}

static void pci_bridge(void **state)
{
    (void)state;
    assert_int_equal(bus_get(&tm.memory, PCI_ECAM_BASE, 4), 0x00081b36);
    bus_write(&tm.memory, PCI_ECAM_BASE, 8, 0);
    for (uint32_t reg = 0x10; reg < 0x1000; reg += 4) {
        bus_write(&tm.memory, PCI_ECAM_BASE + reg, 4, UINT32_MAX);
        assert_int_equal(bus_get(&tm.memory, PCI_ECAM_BASE + reg, 4), 0);
    }
    assert_int_equal(bus_get(&tm.memory, PCI_ECAM_BASE + 0xb, 1), 0x06);
    assert_int_equal(bus_get(&tm.memory, PCI_ECAM_BASE, 8), 0x81b36);
}

static void pci_accesses(void **state)
{
    const uint64_t at = PCI_ECAM_BASE + (3 << 15 | 2 << 12);

    (void)state;
    assert_true(pci_add(pci, 3, 2, &ram));
    for (uint32_t i = 0; i < sizeof(space); i++)
        space[i] = (uint8_t)(i ^ i >> 8);
    for (uint32_t size = 1; size <= 8; size *= 2)
        for (uint32_t offset = 0; offset + size <= sizeof(space); offset++) {
            uint64_t wanted = 0;

            memcpy(&wanted, space + offset, size);
            assert_true(bus_get(&tm.memory, at + offset, size) == wanted);
        }
    assert_int_equal(bus_get(&tm.memory, at + 0xfff, 2), 0xffff);
    bus_write(&tm.memory, at + 0xfff, 2, 0);
    assert_int_equal(space[0xfff], 0xff ^ 0x0f);
    bus_write(&tm.memory, at + 0x101, 4, 0x44332211);
    assert_memory_equal(space + 0x101, "\x11\x22\x33\x44", 4);

    outl(0xcf8, 0x80000000 | 3 << 11 | 2 << 8 | 0x40);
    assert_int_equal(inl(0xcfc), 0x43424140);
    assert_int_equal(inw(0xcfd), 0x4241);
    assert_int_equal(inb(0xcff), 0x43);
    assert_int_equal(inw(0xcff), 0xffff);
    outw(0xcfd, 0xbbaa);
    assert_memory_equal(space + 0x40, "\x40\xaa\xbb\x43", 4);
    outl(0xcf8, 3 << 11 | 2 << 8 | 0x40); /* not enabled */
    outl(0xcfc, 0);
    assert_int_equal(inl(0xcfc), UINT32_MAX);
    assert_int_equal(space[0x40], 0x40);
}

/* Ones where nothing is: other functions, devices and buses. */
static void pci_empty(void **state)
{
    uint32_t found = 0;

    (void)state;
    for (uint32_t bdf = 0; bdf < 0x10000; bdf++) {
        outl(0xcf8, 0x80000000 | bdf << 8);
        found += inl(0xcfc) != UINT32_MAX;
        found += bus_get(&tm.memory, PCI_ECAM_BASE + (bdf << 12), 4) != UINT32_MAX;
    }
    assert_int_equal(found, 2);
    assert_false(pci_add(pci, 0, 0, &ram));
    assert_false(pci_add(pci, 32, 0, &ram));
    assert_false(pci_add(pci, 1, 8, &ram));
    assert_false(pci_add(pci, 1, 0, &(struct pci_function){space_read, NULL, NULL}));
    assert_true(pci_add(pci, 31, 7, &ram));
    assert_false(pci_add(pci, 31, 7, &ram));
}

/* ------------------------------------------------------------------------------ all of the machine */

#define ACCESSES 60000

static struct uart *uart;
static struct rtc *rtc;
static struct pit *pit;

static uint64_t any64(unsigned *seed)
{
    return (uint64_t)(uint32_t)rand_r(seed) << 33 ^ (uint64_t)(uint32_t)rand_r(seed) << 11 ^ (uint32_t)rand_r(seed);
}

/* Near a device's range, or inside of it. */
static uint64_t any_address(const struct bus *bus, unsigned *seed)
{
    const struct bus_range *range = &bus->ranges[(uint32_t)rand_r(seed) % bus->count];
    uint64_t offset = any64(seed) % (range->size < 0x100 ? range->size + 2 : rand_r(seed) & 1 ? 0x60 : range->size);

    return range->base - 1 + offset;
}

static bool is_alone;

/* What is due lies in the future, or the machine's thread would have no rest. */
static void poll_one(timer_poll *poll, void *device, uint64_t now)
{
    uint64_t due = poll(device, now);

    assert_true(due > now || !is_alone);
}

static void *hammer(void *arg)
{
    unsigned seed = *(unsigned *)arg;

    for (int i = 0; i < ACCESSES; i++) {
        struct bus *bus = rand_r(&seed) & 3 ? &tm.ports : &tm.memory;
        uint64_t address = any_address(bus, &seed), value = any64(&seed);
        uint32_t size = 1u << (rand_r(&seed) & 3);

        if (rand_r(&seed) & 1)
            bus_write(bus, address, size, rand_r(&seed) & 1 ? value : value & 0x3f);
        else
            bus_read(bus, address, size, &value);
        if (i % 16 == 0) {
            uint64_t step = rand_r(&seed) & 7 ? value % 2000000 : value % (1ull << 40);
            uint64_t now = __atomic_add_fetch(&tm.now, step, __ATOMIC_RELAXED);

            poll_one(pit_poll, pit, now);
            poll_one(rtc_poll, rtc, now);
            poll_one(pm_poll, pm, now);
            uart_receive(uart, (uint8_t)value);
            ioapic_eoi(tm.ioapic, (uint8_t)value);
        }
    }
    return NULL;
}

static void quiet_output(void *context, uint8_t byte)
{
    (void)context;
    (void)byte;
}

static void quiet_end(void *context, enum machine_end why, uint32_t code)
{
    (void)context;
    assert_true(why == MACHINE_POWER_OFF || why == MACHINE_RESET || why == MACHINE_PANIC || why == MACHINE_EXIT_CODE);
    (void)code;
}

/* Two processors that write anything anywhere: the sanitizers judge. */
static void random_accesses(void **state)
{
    const char *given = getenv("SEED");
    unsigned seeds[2] = {given && *given ? (unsigned)strtoul(given, NULL, 0) : 1, 0};
    pthread_t threads[2];

    (void)state;
    seeds[1] = seeds[0] + 1000;
    tm.services.end = quiet_end;
    tm.wall = 1700000000;
    uart = uart_create(&tm.buses, &tm.services, (struct irq_line){tm.ioapic, 4}, quiet_output, NULL);
    rtc = rtc_create(&tm.buses, &tm.services, (struct irq_line){tm.ioapic, 8}, 1ull << 30, 0);
    pit = pit_create(&tm.buses, &tm.services, (struct irq_line){tm.ioapic, 2});
    assert_true(uart && rtc && pit && pci_add(pci, 1, 0, &ram));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &seeds[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    is_alone = true;
    hammer(&seeds[0]);
    is_alone = false;
    uart_destroy(uart);
    rtc_destroy(rtc);
    pit_destroy(pit);
}

/* Each creation without memory, and on a bus where its place is taken. */
static void failed_creations(void **state)
{
    const struct irq_line line = {tm.ioapic, 5};

    (void)state;
    for (uint32_t failure = 0; failure < 2; failure++) {
        size_t used = fake_system.memory_used;

#define FAILS(create) (fake_system.allocations_left = failure, assert_null(create))
        FAILS(pic_create(&tm.buses));
        FAILS(pci_create(&tm.buses));
        FAILS(pm_create(&tm.buses, &tm.services, line));
        FAILS(debug_ports_create(&tm.buses, &tm.services));
        FAILS(test_device_create(&tm.buses, tm.ioapic));
        FAILS(fw_cfg_create(&tm.buses, 1, 1));
        assert_true(bus_add(&tm.ports, failure ? 0x9000 : COM1_PORT, 1, tm.ports.ranges[0].handler, pic, "taken"));
        assert_true(bus_add(&tm.ports, failure ? 0x9001 : RTC_PORT + 1, 2, tm.ports.ranges[0].handler, pic, "taken"));
        assert_true(bus_add(&tm.ports, failure ? 0x9003 : PIT_PORT + 3, 2, tm.ports.ranges[0].handler, pic, "taken"));
        FAILS(rtc_create(&tm.buses, &tm.services, line, 0, 0));
        FAILS(pit_create(&tm.buses, &tm.services, line));
        if (failure)
            FAILS(uart_create(&tm.buses, &tm.services, line, quiet_output, NULL));
        assert_int_equal(fake_system.memory_used, used);
    }
    pm_destroy(NULL);
    uart_destroy(NULL);
    timers_destroy(NULL);
    fw_cfg_destroy(NULL);
}

#define DEVICE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEVICE_TEST(linux_finds_the_pic),
        DEVICE_TEST(elcr),
        DEVICE_TEST(pm_registers),
        DEVICE_TEST(pm_timer),
        DEVICE_TEST(pm_timer_event),
        DEVICE_TEST(power_off),
        DEVICE_TEST(resets),
        DEVICE_TEST(linux_finds_no_keyboard),
        DEVICE_TEST(pvpanic),
        DEVICE_TEST(debug_exit),
        DEVICE_TEST(fw_cfg_items),
        DEVICE_TEST(fw_cfg_accesses),
        DEVICE_TEST(test_latch),
        DEVICE_TEST(test_memory),
        DEVICE_TEST(test_pins),
        DEVICE_TEST(linux_finds_pci),
        DEVICE_TEST(pci_bridge),
        DEVICE_TEST(pci_accesses),
        DEVICE_TEST(pci_empty),
        DEVICE_TEST(random_accesses),
        DEVICE_TEST(failed_creations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
