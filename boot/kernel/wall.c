/* SPDX-License-Identifier: MIT */
/*
 * The date: read once from the CMOS clock, which is taken to run in UTC, and carried on by the kernel's own clock.
 */
#include <hv/base/bits.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/lock.h>
#include <kernel/string.h>

#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71

#define STATUS_A         0x0a
#define STATUS_B         0x0b
#define A_UPDATING       0x80
#define B_BINARY         0x04
#define B_24_HOURS       0x02
#define HOUR_PM          0x80
#define READ_TRIES       100 /* until two readings agree */
#define UPDATE_SPINS     100000
#define SECONDS_PER_DAY  86400ull
#define FIRST_YEAR       1970u
#define CMOS_FIRST_YEAR  2000u /* it counts to 99, and this kernel is younger */
#define CMOS_YEAR_IS_OLD 70u   /* a clock that was never set says 1980 or so */

struct cmos_time {
    uint8_t second, minute, hour, day, month, year;
};

static struct spinlock lock;
static uint64_t seconds_at_start; /* lock; what clock_ns() == 0 was, 0: not read yet */

static uint8_t cmos_read(uint8_t reg)
{
    outb(CMOS_INDEX, reg);
    return inb(CMOS_DATA);
}

static struct cmos_time read_once(void)
{
    for (unsigned i = 0; i < UPDATE_SPINS && (cmos_read(STATUS_A) & A_UPDATING); i++)
        cpu_relax();
    return (struct cmos_time){.second = cmos_read(0),
                              .minute = cmos_read(2),
                              .hour = cmos_read(4),
                              .day = cmos_read(7),
                              .month = cmos_read(8),
                              .year = cmos_read(9)};
}

/* An update in the midst of reading shows as two readings that differ. */
static struct cmos_time read_stable(void)
{
    struct cmos_time last = read_once();

    for (unsigned i = 0; i < READ_TRIES; i++) {
        struct cmos_time again = read_once();

        if (!memcmp(&last, &again, sizeof(last)))
            break;
        last = again;
    }
    return last;
}

static uint8_t from_bcd(uint8_t value)
{
    return (uint8_t)((value >> 4) * 10 + (value & 15));
}

static struct cmos_time to_binary(struct cmos_time t, uint8_t status_b)
{
    bool is_pm = !(status_b & B_24_HOURS) && (t.hour & HOUR_PM);

    if (!(status_b & B_24_HOURS))
        t.hour &= (uint8_t)~HOUR_PM;
    if (!(status_b & B_BINARY))
        t = (struct cmos_time){from_bcd(t.second), from_bcd(t.minute), from_bcd(t.hour),
                               from_bcd(t.day),    from_bcd(t.month),  from_bcd(t.year)};
    if (!(status_b & B_24_HOURS))
        t.hour = (uint8_t)(t.hour % 12 + (is_pm ? 12 : 0));
    return t;
}

static bool is_leap(uint32_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static uint64_t days_before(uint32_t year, uint32_t month, uint32_t day)
{
    static const uint16_t before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t days = 0;

    for (uint32_t y = FIRST_YEAR; y < year; y++)
        days += is_leap(y) ? 366 : 365;
    return days + before_month[(month - 1) % 12] + (month > 2 && is_leap(year)) + day - 1;
}

static uint64_t cmos_seconds(void)
{
    struct cmos_time t = to_binary(read_stable(), cmos_read(STATUS_B));
    uint32_t year = t.year + (t.year >= CMOS_YEAR_IS_OLD ? CMOS_FIRST_YEAR - 100 : CMOS_FIRST_YEAR);

    return days_before(year, t.month ? t.month : 1, t.day ? t.day : 1) * SECONDS_PER_DAY + t.hour * 3600ull +
           t.minute * 60ull + t.second;
}

uint64_t clock_wall_seconds(void)
{
    uint64_t flags = spin_lock(&lock), now = clock_ns() / NS_PER_S;

    if (!seconds_at_start)
        seconds_at_start = cmos_seconds() - now;
    now += seconds_at_start;
    spin_unlock(&lock, flags);
    return now;
}
