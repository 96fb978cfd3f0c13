/* SPDX-License-Identifier: MIT */
/*
 * The 8254 timer and port 61h. Nothing counts: what a counter holds and puts out follows from the tick at which its
 * count was loaded. Counter 0 interrupts, counter 2 has its gate and its output in port 61h, counter 1 has nothing.
 */
#include <vmm/devices.h>
#include <vmm/ticks.h>

#define PIT_HZ      1193182u
#define COUNTERS    3u
#define PIT_CONTROL 3u /* the port behind the counters */

/* control word */
#define CONTROL_READ_BACK 3u    /* as the number of a counter */
#define READ_BACK_COUNT   0x20u /* 0: latch it */
#define READ_BACK_STATUS  0x10u
#define ACCESS_LATCH      0u
#define ACCESS_LOW        1u
#define ACCESS_HIGH       2u
#define ACCESS_BOTH       3u

#define STATUS_OUTPUT 0x80u
#define STATUS_NULL   0x40u

/* port 61h */
#define SPEAKER_GATE    0x01u
#define SPEAKER_BITS    0x0fu
#define SPEAKER_REFRESH 0x10u /* changes with each refresh of memory */
#define SPEAKER_OUTPUT  0x20u
#define REFRESH_NS      15085u

#define NEVER UINT64_MAX

struct counter {
    uint8_t control; /* the last control word: access 5:4, mode 3:1, BCD 0 */
    bool is_gated;   /* the gate is high */
    bool is_counting, is_paused;
    bool is_high_next_read, is_high_next_write;
    uint8_t low_written;
    uint32_t reload;   /* the count that was written last, 1 to 10000h */
    uint32_t count;    /* the one that is counted down from */
    bool is_null;      /* reload has not become count yet */
    uint64_t load_due; /* ... and will at this tick; NEVER: at a trigger */
    uint64_t loaded;   /* when count was loaded; may wrap below zero */
    uint64_t elapsed;  /* of a paused counter */
    bool has_status;
    uint8_t status, latched_bytes; /* of the latch that are yet to be read */
    uint16_t latch;
};

struct pit {
    struct lock lock;
    const struct machine_services *services;
    struct irq_line irq;
    struct timers *timers;
    struct counter counters[COUNTERS];
    uint8_t speaker;
    uint64_t now;  /* the last tick that was seen */
    uint64_t edge; /* when counter 0's output rises next */
};

/* ------------------------------------------------------------------------------- what a counter is */

static uint32_t counter_mode(const struct counter *c)
{
    uint32_t mode = c->control >> 1 & 7;

    return mode > 5 ? mode & 3 : mode; /* 6 and 7 are 2 and 3 */
}

static uint32_t counter_access(const struct counter *c)
{
    return c->control >> 4 & 3;
}

static bool is_periodic(const struct counter *c)
{
    return counter_mode(c) == 2 || counter_mode(c) == 3;
}

/* Modes 1 and 5 begin with a rise of the gate. */
static bool is_triggered(const struct counter *c)
{
    return counter_mode(c) == 1 || counter_mode(c) == 5;
}

static uint32_t counter_modulus(const struct counter *c)
{
    return c->control & 1 ? 10000 : 0x10000;
}

static uint64_t counter_elapsed(const struct counter *c, uint64_t now)
{
    if (c->is_paused)
        return c->elapsed;
    return (int64_t)(now - c->loaded) > 0 ? now - c->loaded : 0;
}

/* Of mode 3: how long the output is high; an odd count's extra tick belongs to this half. */
static uint32_t high_half(uint32_t count)
{
    return (count + 1) / 2;
}

static bool counter_output(const struct counter *c, uint64_t now)
{
    uint64_t e = counter_elapsed(c, now);

    if (!c->is_counting || (is_periodic(c) && !c->is_gated))
        return counter_mode(c) != 0;
    switch (counter_mode(c)) {
    case 0:
    case 1:
        return e >= c->count;
    case 2:
        return e % c->count != c->count - 1;
    case 3:
        return e % c->count < high_half(c->count);
    default:
        return e != c->count;
    }
}

/* As binary number, before BCD. */
static uint32_t counter_value(const struct counter *c, uint64_t now)
{
    uint64_t e = counter_elapsed(c, now);
    uint32_t modulus = counter_modulus(c), phase;

    if (!c->count)
        return 0;
    if (!is_periodic(c))
        return (uint32_t)((c->count + modulus - e % modulus) % modulus);
    phase = (uint32_t)(e % c->count);
    if (counter_mode(c) == 2)
        return (c->count - phase) % modulus;
    if (phase >= high_half(c->count))
        phase -= high_half(c->count);
    return ((c->count & ~1u) - 2 * phase) % modulus;
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 % 10 << 12);
}

static uint16_t counter_digits(const struct counter *c, uint64_t now)
{
    uint32_t value = counter_value(c, now);

    return c->control & 1 ? to_bcd(value) : (uint16_t)value;
}

/* ---------------------------------------------------------------------------------- how it changes */

/* One tick after it was asked for. */
static void counter_load(struct counter *c, uint64_t loaded)
{
    c->count = c->reload;
    c->loaded = loaded;
    c->is_counting = true;
    c->is_null = false;
    c->load_due = NEVER;
    c->is_paused = false;
    if (!c->is_gated && !is_triggered(c)) {
        c->is_paused = true;
        c->elapsed = 0;
    }
}

/* The end of the period, or of mode 3's half of it, that is running. */
static uint64_t period_end(const struct counter *c, uint64_t now)
{
    uint64_t e = counter_elapsed(c, now), begin = e - e % c->count;

    if (counter_mode(c) == 3 && e - begin < high_half(c->count))
        return c->loaded + begin + high_half(c->count);
    return c->loaded + begin + c->count;
}

/* A new count whose time has come. Where mode 3's high half ended, the low half of the new count follows. */
static void counter_run(struct counter *c, uint64_t now)
{
    uint64_t due = c->load_due;

    if (!c->is_null || due == NEVER || due > now)
        return;
    if (counter_mode(c) == 3 && (due - c->loaded) % c->count)
        counter_load(c, due - high_half(c->reload));
    else
        counter_load(c, due);
}

/* A whole count was written: modes 0 and 4 begin anew, 2 and 3 end their period first, 1 and 5 wait for the gate. */
static void counter_set(struct counter *c, uint32_t digits, uint64_t now)
{
    uint32_t modulus = counter_modulus(c), value = digits;

    if (c->control & 1)
        value = ((digits >> 12) * 1000 + (digits >> 8 & 15) * 100 + (digits >> 4 & 15) * 10 + (digits & 15)) % modulus;
    c->reload = value ? value : modulus;
    c->is_null = true;
    c->load_due = NEVER;
    if (is_triggered(c))
        return;
    if (!is_periodic(c) || !c->is_counting)
        counter_load(c, now + 1);
    else if (c->is_gated)
        c->load_due = period_end(c, now);
}

static void counter_write(struct counter *c, uint8_t value, uint64_t now)
{
    uint32_t access = counter_access(c);

    if (access == ACCESS_BOTH && !c->is_high_next_write) {
        c->low_written = value;
        c->is_high_next_write = true;
        if (counter_mode(c) == 0) /* the first byte stops the counter and lowers its output */
            c->is_counting = false;
        return;
    }
    c->is_high_next_write = false;
    if (access == ACCESS_LOW)
        counter_set(c, value, now);
    else
        counter_set(c, (uint32_t)value << 8 | (access == ACCESS_BOTH ? c->low_written : 0), now);
}

static void counter_gate(struct counter *c, bool is_gated, uint64_t now)
{
    bool is_rise = is_gated && !c->is_gated;

    if (is_gated == c->is_gated)
        return;
    if (!is_gated && c->is_counting && !is_triggered(c)) {
        c->elapsed = counter_elapsed(c, now);
        c->is_paused = true;
        c->load_due = NEVER;
    }
    c->is_gated = is_gated;
    if (!is_rise)
        return;
    if (c->reload && (is_triggered(c) || (is_periodic(c) && c->is_counting))) {
        counter_load(c, now + 1);
    } else if (c->is_paused) {
        c->is_paused = false;
        c->loaded = now - c->elapsed;
    }
}

static uint8_t counter_status(const struct counter *c, uint64_t now)
{
    bool is_null = c->is_null || (c->is_counting && !c->is_paused && (int64_t)(now - c->loaded) < 0);

    return (counter_output(c, now) ? STATUS_OUTPUT : 0) | (is_null ? STATUS_NULL : 0) | c->control;
}

static void counter_latch(struct counter *c, uint64_t now)
{
    if (c->latched_bytes)
        return;
    c->latch = counter_digits(c, now);
    c->latched_bytes = counter_access(c) == ACCESS_BOTH ? 2 : 1;
}

static uint8_t counter_read(struct counter *c, uint64_t now)
{
    uint32_t access = counter_access(c);
    uint16_t value = c->latched_bytes ? c->latch : counter_digits(c, now);
    bool is_high = access == ACCESS_HIGH || (access == ACCESS_BOTH && c->is_high_next_read);

    if (c->has_status) {
        c->has_status = false;
        return c->status;
    }
    if (c->latched_bytes)
        c->latched_bytes--;
    if (access == ACCESS_BOTH)
        c->is_high_next_read = !c->is_high_next_read;
    return (uint8_t)(is_high ? value >> 8 : value);
}

static void counter_control(struct counter *c, uint8_t value)
{
    c->control = value & 0x3f;
    c->is_counting = c->is_paused = false;
    c->is_high_next_read = c->is_high_next_write = false;
    c->is_null = true;
    c->reload = 0;
    c->load_due = NEVER;
    c->latched_bytes = 0;
    c->has_status = false;
}

/* When the output rises next. A new count that comes before that is a reason to look again. */
static uint64_t counter_edge(const struct counter *c, uint64_t now)
{
    uint64_t e = counter_elapsed(c, now), edge = NEVER;

    if (!c->is_counting || c->is_paused)
        return NEVER;
    if (is_periodic(c))
        edge = c->loaded + (e / c->count + 1) * c->count;
    else if (counter_mode(c) == 0 && e < c->count)
        edge = c->loaded + c->count;
    else if (counter_mode(c) == 4 && e <= c->count)
        edge = c->loaded + c->count + 1;
    return edge;
}

/* ------------------------------------------------------------------------------------ the device */

/*
 * Comes to the present: edges that were due are sent, those that were missed as one. The polling thread and the
 * processors read the clock outside of the lock: a time before the last one is the last one.
 */
static uint64_t pit_run(struct pit *p, uint64_t now_ns)
{
    uint64_t now = ticks_of_ns(now_ns, PIT_HZ);

    if (now < p->now)
        now = p->now;
    p->now = now;
    if (p->edge <= now)
        ioapic_pulse(p->irq.ioapic, p->irq.pin);
    for (uint32_t i = 0; i < COUNTERS; i++)
        counter_run(&p->counters[i], now);
    p->edge = counter_edge(&p->counters[0], now);
    return now;
}

static uint64_t pit_enter(struct pit *p)
{
    lock_take(&p->lock);
    return pit_run(p, p->services->time_ns(p->services->context));
}

static void pit_leave(struct pit *p)
{
    p->edge = counter_edge(&p->counters[0], p->now);
    lock_release(&p->lock);
}

static void read_back(struct pit *p, uint8_t value, uint64_t now)
{
    for (uint32_t i = 0; i < COUNTERS; i++) {
        struct counter *c = &p->counters[i];

        if (!(value & 2u << i))
            continue;
        if (!(value & READ_BACK_COUNT))
            counter_latch(c, now);
        if (!(value & READ_BACK_STATUS) && !c->has_status) {
            c->status = counter_status(c, now);
            c->has_status = true;
        }
    }
}

static void control_write(struct pit *p, uint8_t value, uint64_t now)
{
    uint32_t n = value >> 6;

    if (n == CONTROL_READ_BACK)
        read_back(p, value, now);
    else if ((value >> 4 & 3) == ACCESS_LATCH)
        counter_latch(&p->counters[n], now);
    else if (n == 0 && !counter_output(&p->counters[0], now) && (value & 0x0e)) {
        counter_control(&p->counters[0], value); /* all modes but 0 begin high: an edge */
        ioapic_pulse(p->irq.ioapic, p->irq.pin);
    } else
        counter_control(&p->counters[n], value);
}

/* The control word can not be read: nobody drives the bus. */
static uint64_t pit_read(void *device, uint64_t offset, uint32_t size)
{
    struct pit *p = device;
    uint64_t now = pit_enter(p), value = 0xff;

    (void)size;
    if (offset != PIT_CONTROL)
        value = counter_read(&p->counters[offset], now);
    pit_leave(p);
    return value;
}

static void pit_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pit *p = device;
    uint64_t now = pit_enter(p);

    (void)size;
    if (offset == PIT_CONTROL)
        control_write(p, (uint8_t)value, now);
    else
        counter_write(&p->counters[offset], (uint8_t)value, now);
    pit_leave(p);
    if (p->timers && (offset == 0 || offset == PIT_CONTROL))
        timers_kick(p->timers);
}

static const struct bus_handler pit_handler = {.read = pit_read, .write = pit_write, .width = 1};

static uint64_t speaker_read(void *device, uint64_t offset, uint32_t size)
{
    struct pit *p = device;
    uint64_t now = pit_enter(p), value = p->speaker;

    (void)offset;
    (void)size;
    if (counter_output(&p->counters[2], now))
        value |= SPEAKER_OUTPUT;
    if (ns_of_ticks(now, PIT_HZ) / REFRESH_NS & 1)
        value |= SPEAKER_REFRESH;
    pit_leave(p);
    return value;
}

static void speaker_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pit *p = device;
    uint64_t now = pit_enter(p);

    (void)offset;
    (void)size;
    p->speaker = value & SPEAKER_BITS;
    counter_gate(&p->counters[2], value & SPEAKER_GATE, now);
    pit_leave(p);
}

static const struct bus_handler speaker_handler = {.read = speaker_read, .write = speaker_write, .width = 1};

/* --------------------------------------------------------------------------------------- machine */

uint64_t pit_poll(void *device, uint64_t now_ns)
{
    struct pit *p = device;
    uint64_t next;

    lock_take(&p->lock);
    pit_run(p, now_ns);
    next = p->edge < p->counters[0].load_due ? p->edge : p->counters[0].load_due;
    lock_release(&p->lock);
    return next == NEVER ? NEVER : ns_of_ticks(next, PIT_HZ);
}

void pit_set_timers(struct pit *pit, struct timers *timers)
{
    pit->timers = timers;
}

struct pit *pit_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line irq)
{
    struct pit *p = device_alloc(sizeof(*p), "pit");

    if (!p)
        return NULL;
    p->services = services;
    p->irq = irq;
    p->edge = NEVER;
    for (uint32_t i = 0; i < COUNTERS; i++) {
        counter_control(&p->counters[i], ACCESS_BOTH << 4 | 3 << 1);
        p->counters[i].is_gated = i != 2;
    }
    if (bus_add(buses->ports, PIT_PORT, 4, &pit_handler, p, "pit") &&
        bus_add(buses->ports, PIT_SPEAKER, 1, &speaker_handler, p, "speaker"))
        return p;
    pit_destroy(p);
    return NULL;
}

void pit_destroy(struct pit *pit)
{
    device_free(pit, sizeof(*pit));
}
