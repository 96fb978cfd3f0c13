/* SPDX-License-Identifier: MIT */
/* vmm/pit.c, rtc.c and timers.c: time as a guest sees it, by a clock that the test sets. */
#include "vmm_machine.h"
#include <stdlib.h>
#include <time.h>
#include <vmm/ticks.h>

#define PIT_HZ 1193182u
#define SECOND 1000000000ull
#define DAY    86400ull

static struct pit *pit;
static struct rtc *rtc;

/* 2024-02-29 23:59:58 UTC, a Thursday */
#define LEAP_DAY 1709251198ull

static int setup(void **state)
{
    tm_setup(state);
    tm.wall = LEAP_DAY;
    pit = pit_create(&tm.buses, &tm.services, edge_line(PIT_IRQ_PIN, 0x30));
    rtc = rtc_create(&tm.buses, &tm.services, edge_line(RTC_IRQ, 0x38), 3ull << 30, 5ull << 30);
    assert_non_null(pit);
    assert_non_null(rtc);
    return 0;
}

static int teardown(void **state)
{
    pit_destroy(pit);
    rtc_destroy(rtc);
    return tm_teardown(state);
}

static void conversions(void **state)
{
    static const uint32_t hz[] = {1, 32768, PIT_HZ, 3579545, 1000000000, 4000000000u};

    (void)state;
    for (size_t i = 0; i < sizeof(hz) / sizeof(hz[0]); i++)
        for (uint64_t t = 1; t < 1ull << 50; t = t * 3 + 1) {
            uint64_t ns = ns_of_ticks(t, hz[i]);
            unsigned __int128 exact = (unsigned __int128)t * hz[i] / SECOND;

            assert_true(ticks_of_ns(t, hz[i]) == exact);
            if (ns == UINT64_MAX)
                continue;
            assert_true(ticks_of_ns(ns, hz[i]) >= t);
            assert_true(ticks_of_ns(ns - 1, hz[i]) < t);
        }
    assert_true(ticks_of_ns(UINT64_MAX, PIT_HZ) == (uint64_t)((unsigned __int128)UINT64_MAX * PIT_HZ / SECOND));
    assert_true(ns_of_ticks(UINT64_MAX, 1) == UINT64_MAX);
}

/* ----------------------------------------------------------------------------------------- PIT */

/* Time at which so many ticks have passed since the start. */
static void pit_at(uint64_t tick)
{
    tm.now = ns_of_ticks(tick, PIT_HZ);
}

static void pit_program(uint32_t counter, uint8_t mode, uint16_t count)
{
    outb(0x43, (uint8_t)(counter << 6 | 0x30 | mode << 1));
    outb(0x40 + counter, (uint8_t)count);
    outb(0x40 + counter, (uint8_t)(count >> 8));
}

static uint32_t pit_value(uint32_t counter)
{
    uint32_t low;

    outb(0x43, (uint8_t)(counter << 6));
    low = inb(0x40 + counter);
    return low | (uint32_t)inb(0x40 + counter) << 8;
}

static bool output2(void)
{
    return inb(0x61) & 0x20;
}

static uint8_t pit_status(uint32_t counter)
{
    outb(0x43, (uint8_t)(0xe0 | 2u << counter));
    return inb(0x40 + counter);
}

/* The output of counter 2 and its count, ticks after the count was written; 8254, figures of the modes. */
static void pit_modes(void **state)
{
    static const struct {
        uint8_t mode;
        uint16_t count;
        const char *output; /* from the first tick after the write; H, L */
        uint8_t values[9];
    } table[] = {
        {0, 4, "LLLLHHHH", {4, 3, 2, 1, 0, 255, 254, 253}},   {2, 3, "HHLHHLHH", {3, 2, 1, 3, 2, 1, 3, 2}},
        {3, 4, "HHLLHHLL", {4, 2, 4, 2, 4, 2, 4, 2}},         {3, 5, "HHHLLHHH", {4, 2, 0, 4, 2, 4, 2, 0}},
        {4, 3, "HHHLHHHH", {3, 2, 1, 0, 255, 254, 253, 252}}, {6, 3, "HHLHHLHH", {3, 2, 1, 3, 2, 1, 3, 2}},
        {7, 4, "HHLLHHLL", {4, 2, 4, 2, 4, 2, 4, 2}},
    };
    uint64_t tick = 1000;

    (void)state;
    outb(0x61, 1);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        pit_at(tick);
        pit_program(2, table[i].mode, table[i].count);
        assert_int_equal(output2(), table[i].mode != 0);
        assert_int_equal(pit_status(2) & 0x7f, 0x70 | table[i].mode << 1); /* not loaded yet */
        for (uint32_t t = 0; t < 8; t++) {
            pit_at(tick + 1 + t);
            if (output2() != (table[i].output[t] == 'H') || (uint8_t)pit_value(2) != table[i].values[t])
                fail_msg("mode %u, tick %u", table[i].mode, t);
            assert_int_equal(pit_status(2) & 0x7f, 0x30 | table[i].mode << 1);
        }
        tick += 100;
    }
}

static void pit_gate(void **state)
{
    (void)state;
    pit_at(100); /* mode 0 pauses */
    pit_program(2, 0, 10);
    pit_at(200);
    assert_int_equal(pit_value(2), 10);
    outb(0x61, 1);
    pit_at(204);
    assert_int_equal(pit_value(2), 6);
    outb(0x61, 0);
    pit_at(300);
    assert_int_equal(pit_value(2), 6);
    outb(0x61, 1);
    pit_at(305);
    assert_false(output2());
    pit_at(306);
    assert_true(output2());

    pit_program(2, 2, 10); /* mode 2 begins anew */
    pit_at(311);
    assert_int_equal(pit_value(2), 6);
    outb(0x61, 0);
    assert_true(output2());
    pit_at(400);
    outb(0x61, 1);
    pit_at(401);
    assert_int_equal(pit_value(2), 10);

    for (uint8_t mode = 1; mode <= 5; mode += 4) { /* modes 1 and 5 wait for a rise */
        uint64_t tick = 1000 * mode;

        pit_at(tick);
        pit_program(2, mode, 5);
        pit_at(tick + 100);
        assert_true(output2());
        assert_int_equal(pit_status(2) & 0x40, 0x40);
        outb(0x61, 0);
        outb(0x61, 1);
        pit_at(tick + 105);
        assert_int_equal(output2(), mode == 5);
        pit_at(tick + 106);
        assert_int_equal(output2(), mode == 1);
        pit_at(tick + 107);
        assert_true(output2());
    }
}

/* Modes 2 and 3 end what they are at before a new count counts. */
static void pit_new_count(void **state)
{
    (void)state;
    outb(0x61, 1);
    pit_at(100);
    pit_program(2, 2, 10);
    pit_at(105);
    outb(0x42, 4);
    outb(0x42, 0);
    assert_int_equal(pit_status(2) & 0x40, 0x40);
    pit_at(110);
    assert_int_equal(pit_value(2), 1);
    pit_at(111);
    assert_int_equal(pit_value(2), 4);
    assert_int_equal(pit_status(2) & 0x40, 0);

    pit_at(200);
    pit_program(2, 3, 10);
    pit_at(203);
    outb(0x42, 6);
    outb(0x42, 0);
    pit_at(206); /* the high half has ended: the new low half */
    for (uint32_t t = 0; t < 9; t++) {
        pit_at(206 + t);
        assert_int_equal(output2(), t >= 3 && t < 6);
    }
}

static void pit_access(void **state)
{
    (void)state;
    outb(0x61, 1);
    pit_at(100);
    outb(0x43, 0x94); /* low byte only, mode 2 */
    outb(0x42, 0x50);
    pit_at(102);
    assert_int_equal(inb(0x42), 0x4f);
    assert_int_equal(inb(0x42), 0x4f);
    outb(0x43, 0xa4); /* high byte only */
    outb(0x42, 0x12);
    pit_at(103);
    assert_int_equal(inb(0x42), 0x12);
    outb(0x43, 0xb1); /* BCD, mode 0: 9999 */
    outb(0x42, 0x99);
    outb(0x42, 0x99);
    pit_at(104 + 9990);
    assert_int_equal(pit_value(2), 0x0009);
    pit_at(104 + 10000);
    assert_int_equal(pit_value(2), 0x9999);
    outb(0x43, 0xb1);
    outb(0x42, 0x00); /* 10000 */
    outb(0x42, 0x00);
    pit_at(104 + 10000 + 2);
    assert_int_equal(pit_value(2), 0x9999);

    pit_program(2, 0, 0x1234);
    pit_at(104 + 10000 + 3);
    outb(0x43, 0xc8); /* count and status of counter 2 */
    pit_at(20000);
    outb(0x43, 0x80); /* latched already */
    assert_int_equal(inb(0x42), 0x30);
    assert_int_equal(inb(0x42), 0x34);
    assert_int_equal(inb(0x42), 0x12);
    assert_int_not_equal(inb(0x42), 0x34);
    assert_int_equal(inb(0x43), 0xff);
}

static void pit_port_61(void **state)
{
    uint32_t changes = 0, last = inb(0x61) & 0x10;

    (void)state;
    outb(0x61, 0xff);
    assert_int_equal(inb(0x61) & 0xcf, 0x0f);
    for (tm.now = 0; tm.now < 1000000; tm.now += 1000) {
        uint32_t bit = inb(0x61) & 0x10;

        changes += bit != last;
        last = bit;
    }
    assert_in_range(changes, 64, 68);
}

/* Time goes by so much with each access: what an exit costs. */
static uint8_t slow_inb(uint32_t port)
{
    tm.now += 1500;
    return inb(port);
}

static bool expect_msb(uint8_t value, uint64_t *when)
{
    uint32_t count = 0;

    for (; count < 50000; count++) {
        slow_inb(0x42);
        if (slow_inb(0x42) != value)
            break;
        *when = tm.now;
    }
    return count > 5;
}

/* quick_pit_calibrate() of Linux: by the high byte of counter 2, which changes each 256 ticks. */
static void linux_quick_calibration(void **state)
{
    uint64_t start = 0, end = 0;

    (void)state;
    outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1));
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
    slow_inb(0x42);
    slow_inb(0x42);
    assert_true(expect_msb(0xff, &start));
    for (uint8_t i = 1; i <= 40; i++)
        assert_true(expect_msb((uint8_t)(0xff - i), &end));
    assert_in_range((end - start) / 1000, 40 * 256 * 1000ull / 1193 - 20, 40 * 256 * 1000ull / 1193 + 20);
}

/* pit_calibrate_tsc(): 10 ms in mode 0, until bit 5 of port 61h. */
static void linux_slow_calibration(void **state)
{
    uint32_t latch = PIT_HZ / 100, loops = 0;
    uint64_t start;

    (void)state;
    outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1));
    outb(0x43, 0xb0);
    outb(0x42, (uint8_t)latch);
    outb(0x42, (uint8_t)(latch >> 8));
    for (start = tm.now; !(slow_inb(0x61) & 0x20); loops++)
        ;
    assert_true(loops > 1000);
    assert_in_range((tm.now - start) / 1000, 9990, 10010);
}

static void pit_interrupts(void **state)
{
    uint64_t due;

    (void)state;
    assert_true(pit_poll(pit, 0) == UINT64_MAX);
    pit_at(10);
    pit_program(0, 2, 100);
    due = pit_poll(pit, tm.now);
    assert_true(due == ns_of_ticks(111, PIT_HZ));
    assert_int_equal(tm.sent, 0);
    due = pit_poll(pit, due);
    assert_int_equal(tm.sent, 1);
    assert_true(due == ns_of_ticks(211, PIT_HZ));
    assert_message(0, (struct message){0, false, false, 0, 0x30});
    due = pit_poll(pit, ns_of_ticks(5000, PIT_HZ)); /* late: one for all */
    assert_int_equal(tm.sent, 2);
    assert_true(due == ns_of_ticks(5011, PIT_HZ));

    pit_at(5001); /* one shot, mode 4 as Linux has it */
    pit_program(0, 4, 50);
    due = pit_poll(pit, tm.now);
    assert_true(due == ns_of_ticks(5001 + 1 + 50 + 1, PIT_HZ));
    assert_true(pit_poll(pit, due) == UINT64_MAX);
    assert_int_equal(tm.sent, 3);
    pit_at(6000); /* mode 0 */
    pit_program(0, 0, 50);
    assert_true(pit_poll(pit, ns_of_ticks(6051, PIT_HZ)) == UINT64_MAX);
    assert_int_equal(tm.sent, 4);
    pit_at(7000); /* counter 2 interrupts nobody */
    pit_program(2, 2, 5);
    assert_true(pit_poll(pit, ns_of_ticks(8000, PIT_HZ)) == UINT64_MAX);
    assert_int_equal(tm.sent, 4);
}

/* ----------------------------------------------------------------------------------------- RTC */

static uint8_t cmos(uint8_t index)
{
    outb(0x70, index | 0x80); /* bit 7 masks NMIs */
    return inb(0x71);
}

static void cmos_set(uint8_t index, uint8_t value)
{
    outb(0x70, index);
    outb(0x71, value);
}

#define NOW_IS(century, year, month, day, weekday, hour, minute, second) \
    do {                                                                 \
        assert_int_equal(cmos(0x32), century);                           \
        assert_int_equal(cmos(9), year);                                 \
        assert_int_equal(cmos(8), month);                                \
        assert_int_equal(cmos(7), day);                                  \
        assert_int_equal(cmos(6), weekday);                              \
        assert_int_equal(cmos(4), hour);                                 \
        assert_int_equal(cmos(2), minute);                               \
        assert_int_equal(cmos(0), second);                               \
    } while (0)

static void rtc_time(void **state)
{
    (void)state;
    NOW_IS(0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58);
    tm.now = 2 * SECOND - 1;
    NOW_IS(0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x59);
    tm.now = 2 * SECOND;
    NOW_IS(0x20, 0x24, 0x03, 0x01, 6, 0x00, 0x00, 0x00);
    cmos_set(11, 0x00); /* 12 hours */
    assert_int_equal(cmos(4), 0x12);
    tm.now += 12 * 3600 * SECOND;
    assert_int_equal(cmos(4), 0x92);
    tm.now += 11 * 3600 * SECOND;
    assert_int_equal(cmos(4), 0x91);
    cmos_set(11, 0x06); /* binary, 24 hours */
    NOW_IS(20, 24, 3, 1, 6, 23, 0, 0);
    assert_int_equal(inb(0x70), 0xff);
}

/* The calendar against the C library's. */
static void rtc_calendar(void **state)
{
    (void)state;
    srandom(1);
    cmos_set(11, 0x06);
    for (int i = 0; i < 2000; i++) {
        time_t t = (time_t)((uint64_t)random() * 50 % (DAY * 365 * 230));
        struct tm wanted;

        tm.now = 0;
        rtc_destroy(rtc);
        memset(&tm.ports, 0, sizeof(tm.ports));
        tm.wall = (uint64_t)t;
        rtc = rtc_create(&tm.buses, &tm.services, (struct irq_line){tm.ioapic, RTC_IRQ}, 0, 0);
        cmos_set(11, 0x06);
        gmtime_r(&t, &wanted);
        NOW_IS((wanted.tm_year + 1900) / 100, wanted.tm_year % 100, wanted.tm_mon + 1, wanted.tm_mday,
               wanted.tm_wday + 1, wanted.tm_hour, wanted.tm_min, wanted.tm_sec);
        cmos_set(11, 0x86); /* there and back again by the registers */
        cmos_set(11, 0x06);
        assert_int_equal(cmos(7), wanted.tm_mday);
        assert_int_equal(cmos(0), wanted.tm_sec);
    }
}

/* mc146818_get_time() of Linux 6.1: UIP rises before each second, and what is read without it is whole. */
static void rtc_update_in_progress(void **state)
{
    (void)state;
    tm.now = SECOND - 244001;
    assert_int_equal(cmos(10), 0x26);
    tm.now = SECOND - 244000;
    assert_int_equal(cmos(10), 0xa6);
    tm.now = SECOND - 1;
    assert_int_equal(cmos(10), 0xa6);
    assert_int_equal(cmos(0), 0x58);
    tm.now = SECOND;
    assert_int_equal(cmos(10), 0x26);
    assert_int_equal(cmos(0), 0x59);
    cmos_set(11, 0x82);
    tm.now = 2 * SECOND - 1;
    assert_int_equal(cmos(10), 0x26); /* no updates while it is set */
}

/* mc146818_set_time(): SET, divider reset, the registers, and both off again: the next second comes after half of one.
 */
static void linux_sets_the_clock(void **state)
{
    static const uint8_t values[][2] = {{9, 0x31}, {8, 0x12}, {7, 0x31}, {4, 0x23}, {2, 0x59}, {0, 0x59}, {0x32, 0x20}};

    (void)state;
    tm.now = 300000000;
    cmos_set(11, 0x82);
    cmos_set(10, 0x76);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        cmos_set(values[i][0], values[i][1]);
    tm.now += 5 * SECOND;
    assert_int_equal(cmos(0), 0x59); /* it stands */
    cmos_set(11, 0x02);
    tm.now += 5 * SECOND;
    cmos_set(10, 0x26);
    NOW_IS(0x20, 0x31, 0x12, 0x31, 4, 0x23, 0x59, 0x59);
    tm.now += SECOND / 2 - 1;
    assert_int_equal(cmos(0), 0x59);
    tm.now += 1;
    NOW_IS(0x20, 0x32, 0x01, 0x01, 5, 0x00, 0x00, 0x00);
    cmos_set(2, 0x30); /* without SET: one field, at once */
    NOW_IS(0x20, 0x32, 0x01, 0x01, 5, 0x00, 0x30, 0x00);
}

static void rtc_update_interrupt(void **state)
{
    uint64_t due;

    (void)state;
    assert_true(rtc_poll(rtc, 0) == UINT64_MAX);
    cmos_set(11, 0x12);
    due = rtc_poll(rtc, 0);
    assert_true(due == SECOND);
    assert_true(rtc_poll(rtc, due) == UINT64_MAX); /* until register C is read */
    assert_int_equal(tm.sent, 1);
    assert_message(0, (struct message){0, false, false, 0, 0x38});
    tm.now = SECOND + 100;
    assert_int_equal(cmos(12) & 0x90, 0x90);
    assert_int_equal(cmos(12), 0);
    assert_true(rtc_poll(rtc, tm.now) == 2 * SECOND);
    tm.now = 3 * SECOND;
    assert_int_equal(cmos(12) & 0x90, 0x90); /* with no poll in between */
    assert_int_equal(tm.sent, 2);
    cmos_set(11, 0x92); /* SET ends it */
    assert_int_equal(cmos(11), 0x82);
}

static void rtc_periodic_interrupt(void **state)
{
    static const struct {
        uint8_t rate;
        uint32_t ticks;
    } table[] = {{1, 128}, {2, 256}, {3, 4}, {6, 32}, {15, 16384}};

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cmos_set(10, 0x20);
        cmos_set(11, 0x42);
        cmos(12);
        cmos_set(10, 0x20 | table[i].rate);
        assert_true(rtc_poll(rtc, 0) == ns_of_ticks(table[i].ticks, 32768));
    }
    for (uint64_t n = 1, due = rtc_poll(rtc, 0); n < 5; n++) {
        assert_true(due == n * SECOND / 2);
        rtc_poll(rtc, due);
        assert_int_equal(tm.sent, n);
        tm.now = due;
        assert_int_equal(cmos(12) & 0xc0, 0xc0);
        due = rtc_poll(rtc, tm.now);
    }
    cmos_set(10, 0x20);
    assert_true(rtc_poll(rtc, tm.now) == UINT64_MAX);
}

/* The clock stands at 23:59:58. */
static void rtc_alarm(void **state)
{
    static const struct {
        uint8_t hour, minute, second;
        uint64_t wait;
    } table[] = {
        {0x00, 0x00, 0x00, 2},
        {0x23, 0x59, 0x59, 1},
        {0x23, 0x59, 0x58, DAY},
        {0xff, 0xff, 0xff, 1},
        {0xc0, 0xc0, 0x30, 32},
        {0xc0, 0x10, 0xc0, 602},
        {0x05, 0xff, 0xff, 5 * 3600 + 2},
        {0x05, 0x06, 0x07, 18369},
        {0x24, 0x00, 0x00, 0},
        {0x00, 0x60, 0x00, 0},
        {0x00, 0x00, 0x99, 0},
    };

    (void)state;
    cmos_set(11, 0x22);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cmos_set(5, table[i].hour);
        cmos_set(3, table[i].minute);
        cmos_set(1, table[i].second);
        if (rtc_poll(rtc, 0) != (table[i].wait ? table[i].wait * SECOND : UINT64_MAX))
            fail_msg("alarm %zu", i);
    }
    cmos_set(5, 0x05);
    cmos_set(3, 0x06);
    cmos_set(1, 0x07);
    tm.now = 18369 * SECOND - 1;
    assert_int_equal(cmos(12) & 0xa0, 0);
    tm.now++;
    rtc_poll(rtc, tm.now);
    assert_int_equal(tm.sent, 1);
    assert_int_equal(cmos(12) & 0xb0, 0xb0);
}

static void rtc_memory(void **state)
{
    static const uint8_t wanted[][2] = {
        {0x14, 0x02}, {0x15, 0x80}, {0x16, 0x02}, {0x17, 0xff}, {0x18, 0xff}, {0x30, 0xff}, {0x31, 0xff},
        {0x34, 0x00}, {0x35, 0xbf}, {0x5b, 0x00}, {0x5c, 0x40}, {0x5d, 0x01}, {0x0d, 0x80},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        assert_int_equal(cmos(wanted[i][0]), wanted[i][1]);
    cmos_set(0x0d, 0);
    assert_int_equal(cmos(0x0d), 0x80);
    cmos_set(0x0c, 0xff);
    assert_int_equal(cmos(0x0c), 0);
    cmos_set(0x7f, 0xa5);
    assert_int_equal(cmos(0x7f), 0xa5);
}

/* -------------------------------------------------------------------------------------- thread */

static volatile uint32_t polls, alarms;
static volatile uint64_t alarm_at = UINT64_MAX;

static uint64_t counting_poll(void *device, uint64_t now)
{
    assert_ptr_equal(device, &polls);
    __atomic_fetch_add(&polls, 1, __ATOMIC_SEQ_CST);
    if (now >= alarm_at) {
        alarm_at = UINT64_MAX;
        __atomic_fetch_add(&alarms, 1, __ATOMIC_SEQ_CST);
    }
    return alarm_at;
}

static uint64_t real_time(void *context)
{
    (void)context;
    return system_time_ns();
}

static void timers_thread(void **state)
{
    struct timers *timers;
    uint64_t start = system_time_ns();
    uint32_t dummy = 0;

    (void)state;
    tm.services.time_ns = real_time;
    timers = timers_create(&tm.services);
    assert_non_null(timers);
    assert_true(timers_add(timers, counting_poll, (void *)&polls));
    assert_true(timers_start(timers));
    assert_false(timers_add(timers, counting_poll, (void *)&polls));
    while (!__atomic_load_n(&polls, __ATOMIC_SEQ_CST))
        system_wait(&dummy, 0, 100);
    alarm_at = system_time_ns() + 30000000;
    timers_kick(timers);
    while (!__atomic_load_n(&alarms, __ATOMIC_SEQ_CST) && system_time_ns() - start < 5 * SECOND)
        system_wait(&dummy, 0, 1000);
    assert_int_equal(alarms, 1);
    assert_true(system_time_ns() - start >= 30000000);
    timers_destroy(timers); /* a sleeping thread ends */
    assert_in_range(polls, 2, 1000);
}

#define TIMER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMER_TEST(conversions),
        TIMER_TEST(pit_modes),
        TIMER_TEST(pit_gate),
        TIMER_TEST(pit_new_count),
        TIMER_TEST(pit_access),
        TIMER_TEST(pit_port_61),
        TIMER_TEST(linux_quick_calibration),
        TIMER_TEST(linux_slow_calibration),
        TIMER_TEST(pit_interrupts),
        TIMER_TEST(rtc_time),
        TIMER_TEST(rtc_calendar),
        TIMER_TEST(rtc_update_in_progress),
        TIMER_TEST(linux_sets_the_clock),
        TIMER_TEST(rtc_update_interrupt),
        TIMER_TEST(rtc_periodic_interrupt),
        TIMER_TEST(rtc_alarm),
        TIMER_TEST(rtc_memory),
        TIMER_TEST(timers_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
