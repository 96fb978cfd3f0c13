/* SPDX-License-Identifier: MIT */
/*
 * The clock of a PC, Motorola's MC146818, and its memory with the sizes that firmware leaves there. Its time is the
 * wall clock's at the machine's start and goes on with the machine's: nothing ticks, the registers follow from the time
 * at which they are read. While the guest sets the clock (SET, or a divider that is held in reset) they are plain
 * memory.
 */
#include <vmm/devices.h>
#include <vmm/ticks.h>

#define RTC_PORTS 2u
#define RTC_BYTES 128u

/* registers */
enum {
    REG_SECONDS,
    REG_SECONDS_ALARM,
    REG_MINUTES,
    REG_MINUTES_ALARM,
    REG_HOURS,
    REG_HOURS_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    REG_EQUIPMENT = 0x14,
    REG_BASE_MEMORY = 0x15,   /* KiB below 640 KiB, two bytes */
    REG_EXTENDED = 0x17,      /* KiB above 1 MiB, two bytes */
    REG_EXTENDED_POST = 0x30, /* the same, as found by the firmware */
    REG_CENTURY = 0x32,
    REG_ABOVE_16M = 0x34, /* 64 KiB units above 16 MiB, two bytes */
    REG_ABOVE_4G = 0x5b,  /* 64 KiB units above 4 GiB, three bytes */
};

#define EQUIPMENT_FPU 0x02u
#define BASE_KIB      640u
#define A_UPDATE      0x80u
#define A_DIVIDER     0x70u
#define A_RESET       0x60u /* both bits: the divider is held in reset */
#define A_RATE        0x0fu
#define A_INITIAL     0x26u /* 32.768 kHz, 1024 Hz */
#define B_SET         0x80u
#define B_UPDATE      0x10u /* the enable bits stand where C has the flags */
#define B_ALARM       0x20u
#define B_PERIODIC    0x40u
#define B_ENABLES     0x70u
#define B_BINARY      0x04u
#define B_24H         0x02u
#define C_IRQ         0x80u
#define D_VALID       0x80u
#define HOUR_PM       0x80u
#define ALARM_ANY     0xc0u /* both bits: this field does not matter */
#define ALARM_NEVER   UINT32_MAX
#define INDEX_BITS    0x7fu

#define CRYSTAL_HZ     32768u
#define UPDATE_NS      244000u /* update-in-progress rises so long before the second */
#define DAY_SECONDS    86400
#define AFTER_RESET_NS (NS_PER_SECOND / 2) /* from the divider's release to the first update */

struct rtc {
    struct lock lock;
    const struct machine_services *services;
    struct irq_line irq;
    struct timers *timers;
    uint8_t index;
    uint8_t bytes[RTC_BYTES]; /* the time's: valid while it is stopped */
    int64_t base_seconds;     /* since 1970 */
    uint64_t base_ns;         /* machine time of base_seconds; may wrap below zero */
    uint64_t last_ns;         /* flags are set for what has been until then */
    bool is_raised;
};

/* -------------------------------------------------------------------------------------- calendar */

struct civil {
    int64_t year;
    uint32_t month, day, weekday; /* from 1; Sunday is 1 */
};

/* Days since 1970 of a date of the Gregorian calendar; years begin in March, so that the leap day is the last. */
static int64_t days_of(int64_t year, uint32_t month, uint32_t day)
{
    int64_t y = year - (month <= 2);
    int64_t months = (month + 9) % 12;

    return y * 365 + y / 4 - y / 100 + y / 400 + (months * 153 + 2) / 5 + (int64_t)day - 1 - 719468;
}

static struct civil civil_of(int64_t days)
{
    int64_t z = days + 719468, era = z / 146097, in_era = z % 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint32_t in_year = (uint32_t)(in_era - (year * 365 + year / 4 - year / 100));
    uint32_t march = (in_year * 5 + 2) / 153;
    struct civil c = {.month = march < 10 ? march + 3 : march - 9, .day = in_year - (march * 153 + 2) / 5 + 1};

    c.year = era * 400 + year + (c.month <= 2);
    c.weekday = (uint32_t)((days % 7 + 7 + 4) % 7) + 1; /* the first of January 1970 was a Thursday */
    return c;
}

/* ------------------------------------------------------------------------------ registers' formats */

static uint8_t encode(const struct rtc *r, uint32_t value)
{
    return (uint8_t)(r->bytes[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static uint32_t decode(const struct rtc *r, uint8_t value)
{
    return r->bytes[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15);
}

static uint8_t encode_hour(const struct rtc *r, uint32_t hour)
{
    if (r->bytes[REG_B] & B_24H)
        return encode(r, hour);
    return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static uint32_t decode_hour(const struct rtc *r, uint8_t value)
{
    if (r->bytes[REG_B] & B_24H)
        return decode(r, value);
    return decode(r, value & (uint8_t)~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static bool is_time_register(uint32_t index)
{
    return index == REG_CENTURY || index == REG_SECONDS || index == REG_MINUTES || index == REG_HOURS ||
           (index >= REG_WEEKDAY && index <= REG_YEAR);
}

static void registers_of_time(struct rtc *r, int64_t seconds)
{
    uint32_t of_day = (uint32_t)(seconds % DAY_SECONDS);
    struct civil date = civil_of(seconds / DAY_SECONDS);

    r->bytes[REG_SECONDS] = encode(r, of_day % 60);
    r->bytes[REG_MINUTES] = encode(r, of_day / 60 % 60);
    r->bytes[REG_HOURS] = encode_hour(r, of_day / 3600);
    r->bytes[REG_WEEKDAY] = encode(r, date.weekday);
    r->bytes[REG_DAY] = encode(r, date.day);
    r->bytes[REG_MONTH] = encode(r, date.month);
    r->bytes[REG_YEAR] = encode(r, (uint32_t)(date.year % 100));
    r->bytes[REG_CENTURY] = encode(r, (uint32_t)(date.year / 100 % 100));
}

/* Whatever a guest has written there becomes some time not before 1970. */
static int64_t time_of_registers(const struct rtc *r)
{
    uint32_t month = decode(r, r->bytes[REG_MONTH]);
    int64_t year = decode(r, r->bytes[REG_CENTURY]) * 100 + decode(r, r->bytes[REG_YEAR]), seconds;

    month = month < 1 ? 1 : month > 12 ? 12 : month;
    seconds = days_of(year, month, decode(r, r->bytes[REG_DAY])) * DAY_SECONDS +
              decode_hour(r, r->bytes[REG_HOURS]) * 3600ll + decode(r, r->bytes[REG_MINUTES]) * 60ll +
              decode(r, r->bytes[REG_SECONDS]);
    return seconds < 0 ? 0 : seconds;
}

/* ------------------------------------------------------------------------------- how time goes by */

static bool is_divider_reset(const struct rtc *r)
{
    return (r->bytes[REG_A] & A_RESET) == A_RESET;
}

static bool is_stopped(const struct rtc *r)
{
    return (r->bytes[REG_B] & B_SET) || is_divider_reset(r);
}

static uint64_t seconds_passed(const struct rtc *r, uint64_t ns)
{
    return (ns - r->base_ns) / NS_PER_SECOND;
}

static uint32_t alarm_field(const struct rtc *r, uint32_t reg, uint32_t limit)
{
    uint8_t value = r->bytes[reg];
    uint32_t field = reg == REG_HOURS_ALARM ? decode_hour(r, value) : decode(r, value);

    if ((value & ALARM_ANY) == ALARM_ANY)
        return limit;
    return field < limit ? field : ALARM_NEVER;
}

/* Seconds from a time of the day, which does not count itself, to the alarm; ALARM_NEVER: there is no such time. */
static uint32_t alarm_wait(const struct rtc *r, uint32_t of_day)
{
    uint32_t hour = alarm_field(r, REG_HOURS_ALARM, 24), minute = alarm_field(r, REG_MINUTES_ALARM, 60);
    uint32_t second = alarm_field(r, REG_SECONDS_ALARM, 60), t = of_day + 1;

    if (hour == ALARM_NEVER || minute == ALARM_NEVER || second == ALARM_NEVER)
        return ALARM_NEVER;
    while (t <= of_day + DAY_SECONDS) {
        if (hour != 24 && t / 3600 % 24 != hour)
            t = (t / 3600 + 1) * 3600;
        else if (minute != 60 && t / 60 % 60 != minute)
            t = (t / 60 + 1) * 60;
        else if (second != 60 && t % 60 != second)
            t++;
        else
            return t - of_day;
    }
    return ALARM_NEVER;
}

/* Of the periodic interrupt, in ticks of the crystal; 0: there is none. */
static uint32_t period_ticks(const struct rtc *r)
{
    uint32_t rate = r->bytes[REG_A] & A_RATE;

    if (!rate || is_divider_reset(r))
        return 0;
    return 1u << (rate <= 2 ? rate + 6 : rate - 1); /* 1 and 2 are the same as 8 and 9 */
}

static uint8_t periodic_flag(const struct rtc *r, uint64_t now_ns)
{
    uint32_t period = period_ticks(r);

    if (!period || ticks_of_ns(r->last_ns - r->base_ns, CRYSTAL_HZ) / period ==
                       ticks_of_ns(now_ns - r->base_ns, CRYSTAL_HZ) / period)
        return 0;
    return B_PERIODIC;
}

/* Flags of the updates since last_ns. */
static uint8_t update_flags(const struct rtc *r, uint64_t now_ns)
{
    uint64_t last = seconds_passed(r, r->last_ns), now = seconds_passed(r, now_ns);

    if (is_stopped(r) || last == now)
        return 0;
    return B_UPDATE |
           (alarm_wait(r, (uint32_t)((r->base_seconds + (int64_t)last) % DAY_SECONDS)) <= now - last ? B_ALARM : 0);
}

static void irq_update(struct rtc *r)
{
    bool is_raised = r->bytes[REG_C] & r->bytes[REG_B] & B_ENABLES;

    r->bytes[REG_C] = (uint8_t)((r->bytes[REG_C] & B_ENABLES) | (is_raised ? C_IRQ : 0));
    if (is_raised == r->is_raised)
        return;
    r->is_raised = is_raised;
    ioapic_set_line(r->irq.ioapic, r->irq.pin, is_raised);
}

/* Comes to the present, which is never before the last one: threads read the clock outside of the lock. */
static uint64_t rtc_run(struct rtc *r, uint64_t now_ns)
{
    if (now_ns <= r->last_ns)
        return r->last_ns;
    r->bytes[REG_C] |= periodic_flag(r, now_ns) | update_flags(r, now_ns);
    r->last_ns = now_ns;
    irq_update(r);
    return now_ns;
}

static uint64_t rtc_enter(struct rtc *r)
{
    lock_take(&r->lock);
    return rtc_run(r, r->services->time_ns(r->services->context));
}

/* The registers of a running clock, for a read or before it stops. */
static void time_refresh(struct rtc *r, uint64_t now_ns)
{
    if (!is_stopped(r))
        registers_of_time(r, r->base_seconds + (int64_t)seconds_passed(r, now_ns));
}

/* The clock goes on with the time in the registers, so far into its second. */
static void time_start(struct rtc *r, uint64_t now_ns, uint64_t into_second)
{
    r->base_seconds = time_of_registers(r);
    r->base_ns = now_ns - into_second;
}

/* ------------------------------------------------------------------------------------- registers */

/* A or B was changed: the clock may have stopped or begun to go. */
static void control_write(struct rtc *r, uint32_t index, uint8_t value, uint64_t now_ns)
{
    bool was_stopped = is_stopped(r), was_reset = is_divider_reset(r);
    uint64_t into_second = (now_ns - r->base_ns) % NS_PER_SECOND;

    time_refresh(r, now_ns);
    r->bytes[index] = value;
    if (r->bytes[REG_B] & B_SET)
        r->bytes[REG_B] &= (uint8_t)~B_UPDATE;
    if (was_reset && !is_divider_reset(r)) {
        into_second = AFTER_RESET_NS;
        r->base_ns = now_ns - into_second;
    }
    if (was_stopped && !is_stopped(r))
        time_start(r, now_ns, into_second);
    irq_update(r);
}

static void register_write(struct rtc *r, uint8_t value, uint64_t now_ns)
{
    uint32_t index = r->index;

    if (index == REG_A) {
        control_write(r, index, value & (A_DIVIDER | A_RATE), now_ns);
    } else if (index == REG_B) {
        control_write(r, index, value, now_ns);
    } else if (is_time_register(index)) {
        time_refresh(r, now_ns);
        r->bytes[index] = value;
        if (!is_stopped(r))
            time_start(r, now_ns, (now_ns - r->base_ns) % NS_PER_SECOND);
    } else if (index != REG_C && index != REG_D) {
        r->bytes[index] = value;
    }
}

static uint8_t flags_read(struct rtc *r)
{
    uint8_t flags = r->bytes[REG_C];

    r->bytes[REG_C] = 0;
    irq_update(r);
    return flags;
}

static uint8_t register_read(struct rtc *r, uint64_t now_ns)
{
    uint32_t index = r->index;

    if (index == REG_A && !is_stopped(r) && (now_ns - r->base_ns) % NS_PER_SECOND >= NS_PER_SECOND - UPDATE_NS)
        return r->bytes[REG_A] | A_UPDATE;
    if (index == REG_C)
        return flags_read(r);
    if (is_time_register(index))
        time_refresh(r, now_ns);
    return r->bytes[index];
}

static void kick(struct rtc *r)
{
    if (r->timers)
        timers_kick(r->timers);
}

/* The index is write-only on a PC. */
static uint64_t rtc_read(void *device, uint64_t offset, uint32_t size)
{
    struct rtc *r = device;
    uint64_t now_ns;
    uint8_t value;
    bool is_waited_for;

    (void)size;
    if (!offset)
        return 0xff;
    now_ns = rtc_enter(r);
    value = register_read(r, now_ns);
    is_waited_for = r->index == REG_C && (r->bytes[REG_B] & B_ENABLES);
    lock_release(&r->lock);
    if (is_waited_for)
        kick(r);
    return value;
}

static void rtc_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct rtc *r = device;
    uint64_t now_ns = rtc_enter(r);

    (void)size;
    if (offset)
        register_write(r, (uint8_t)value, now_ns);
    else
        r->index = value & INDEX_BITS;
    lock_release(&r->lock);
    if (offset)
        kick(r);
}

static const struct bus_handler rtc_handler = {.read = rtc_read, .write = rtc_write, .width = 1};

/* ---------------------------------------------------------------------------------------- machine */

static uint64_t next_update(const struct rtc *r)
{
    uint64_t passed = seconds_passed(r, r->last_ns), wait = UINT64_MAX;

    if (is_stopped(r))
        return UINT64_MAX;
    if (r->bytes[REG_B] & B_UPDATE)
        wait = 1;
    else if (r->bytes[REG_B] & B_ALARM)
        wait = alarm_wait(r, (uint32_t)((r->base_seconds + (int64_t)passed) % DAY_SECONDS));
    return wait > DAY_SECONDS ? UINT64_MAX : r->base_ns + (passed + wait) * NS_PER_SECOND;
}

static uint64_t next_period(const struct rtc *r)
{
    uint32_t period = period_ticks(r);
    uint64_t ticks = ticks_of_ns(r->last_ns - r->base_ns, CRYSTAL_HZ);

    if (!period || !(r->bytes[REG_B] & B_PERIODIC))
        return UINT64_MAX;
    return r->base_ns + ns_of_ticks((ticks / period + 1) * period, CRYSTAL_HZ);
}

/* An interrupt that was not taken yet needs no second one. */
uint64_t rtc_poll(void *device, uint64_t now_ns)
{
    struct rtc *r = device;
    uint64_t update, period;

    lock_take(&r->lock);
    rtc_run(r, now_ns);
    update = r->is_raised ? UINT64_MAX : next_update(r);
    period = r->is_raised ? UINT64_MAX : next_period(r);
    lock_release(&r->lock);
    return update < period ? update : period;
}

void rtc_set_timers(struct rtc *rtc, struct timers *timers)
{
    rtc->timers = timers;
}

static void bytes_set(struct rtc *r, uint32_t reg, uint32_t bytes, uint64_t value)
{
    uint64_t limit = (1ull << (bytes * 8)) - 1;

    if (value > limit)
        value = limit;
    for (uint32_t i = 0; i < bytes; i++)
        r->bytes[reg + i] = (uint8_t)(value >> (i * 8));
}

/* As firmware leaves it; sizes that do not fit are given as the largest. */
static void memory_sizes_set(struct rtc *r, uint64_t below_4g, uint64_t above_4g)
{
    uint64_t extended = below_4g > 1 << 20 ? (below_4g - (1 << 20)) >> 10 : 0;

    bytes_set(r, REG_BASE_MEMORY, 2, below_4g >> 10 < BASE_KIB ? below_4g >> 10 : BASE_KIB);
    bytes_set(r, REG_EXTENDED, 2, extended);
    bytes_set(r, REG_EXTENDED_POST, 2, extended);
    bytes_set(r, REG_ABOVE_16M, 2, below_4g > 16 << 20 ? (below_4g - (16 << 20)) >> 16 : 0);
    bytes_set(r, REG_ABOVE_4G, 3, above_4g >> 16);
}

struct rtc *rtc_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line irq,
                       uint64_t memory_below_4g, uint64_t memory_above_4g)
{
    struct rtc *r = device_alloc(sizeof(*r), "rtc");

    if (!r)
        return NULL;
    r->services = services;
    r->irq = irq;
    r->base_seconds = (int64_t)services->wall_seconds(services->context);
    r->base_ns = r->last_ns = services->time_ns(services->context);
    r->bytes[REG_A] = A_INITIAL;
    r->bytes[REG_B] = B_24H;
    r->bytes[REG_D] = D_VALID;
    r->bytes[REG_EQUIPMENT] = EQUIPMENT_FPU;
    memory_sizes_set(r, memory_below_4g, memory_above_4g);
    if (bus_add(buses->ports, RTC_PORT, RTC_PORTS, &rtc_handler, r, "rtc"))
        return r;
    rtc_destroy(r);
    return NULL;
}

void rtc_destroy(struct rtc *rtc)
{
    device_free(rtc, sizeof(*rtc));
}
