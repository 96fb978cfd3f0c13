/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer (SDM 3A 10.5.4): one-shot, periodic and TSC-deadline. What is kept is the moment when the
 * count gets to 0, so that neither reading the count nor catching up with missed periods lets it drift.
 */
#include "lapic_parts.h"

static uint32_t mode(const struct lapic *l)
{
    return (uint32_t)FIELD_GET(APIC_LVT_TIMER_MODE, l->timer_lvt);
}

static bool is_periodic(const struct lapic *l)
{
    return mode(l) == APIC_TIMER_PERIODIC;
}

/* Not in TSC-deadline mode, nor in the one that is reserved. */
static bool is_counting(uint32_t timer_mode)
{
    return timer_mode == APIC_TIMER_ONE_SHOT || timer_mode == APIC_TIMER_PERIODIC;
}

/* 0: the hardware has put an initial count of 0 into the page, of which the timer is yet to hear. */
static uint64_t period(const struct lapic *l)
{
    return (uint64_t)lapic_get(l, APIC_TIMER_INIT) << l->timer_shift;
}

/* SDM 3A figure 10-10: bits 3, 1 and 0; 111b divides by 1, 000b by 2 and so on */
static uint32_t divide_shift(const struct lapic *l)
{
    uint32_t divide = lapic_get(l, APIC_TIMER_DIV);

    return ((divide & 3) + (divide >> 1 & 4) + 1) & 7;
}

/* Its value is UINT64_MAX when no count would take that long. */
static uint64_t due_after(uint64_t now_ns, uint64_t ns)
{
    return now_ns > UINT64_MAX - ns ? UINT64_MAX : now_ns + ns;
}

static bool fire(struct lapic *l, struct lapic_effect *effect)
{
    if (l->timer_lvt & APIC_LVT_MASKED)
        return false;
    return lapic_request(l, (uint8_t)FIELD_GET(APIC_LVT_VECTOR, l->timer_lvt), false, effect);
}

/* The end of the period that now is in. */
static uint64_t next_due(const struct lapic *l, uint64_t now_ns)
{
    uint64_t length = period(l), late = now_ns - l->timer_due_ns;

    if (!length)
        return 0;
    if (late < length)
        return due_after(l->timer_due_ns, length);
    return due_after(now_ns, length - late % length);
}

static bool poll_count(struct lapic *l, uint64_t now_ns, struct lapic_effect *effect)
{
    if (!l->timer_due_ns || now_ns < l->timer_due_ns)
        return false;
    l->timer_due_ns = is_periodic(l) ? next_due(l, now_ns) : 0;
    return fire(l, effect);
}

static bool poll_deadline(struct lapic *l, uint64_t guest_tsc, struct lapic_effect *effect)
{
    if (!l->timer_tsc || guest_tsc < l->timer_tsc)
        return false;
    l->timer_tsc = 0;
    return fire(l, effect);
}

bool lapic_timer_poll(struct lapic *l, uint64_t now_ns, uint64_t guest_tsc, struct lapic_effect *effect)
{
    return poll_deadline(l, guest_tsc, effect) || poll_count(l, now_ns, effect);
}

uint64_t lapic_timer_due_ns(const struct lapic *l)
{
    return l->timer_due_ns && !(l->timer_lvt & APIC_LVT_MASKED) ? l->timer_due_ns : UINT64_MAX;
}

/* Periods that have passed without a poll are left out; the interrupt for them is still to come. */
static uint64_t remaining_ns(const struct lapic *l, uint64_t now_ns)
{
    uint64_t due = l->timer_due_ns;

    if (due && due <= now_ns)
        due = is_periodic(l) ? next_due(l, now_ns) : 0;
    return due ? due - now_ns : 0;
}

/* The clock of another CPU may be a little behind that of the one that started the timer. */
uint32_t lapic_timer_count(const struct lapic *l, uint64_t now_ns)
{
    uint64_t ticks = (remaining_ns(l, now_ns) + (1u << l->timer_shift) - 1) >> l->timer_shift;
    uint32_t init = lapic_get(l, APIC_TIMER_INIT);

    return ticks < init ? (uint32_t)ticks : init;
}

/* ----------------------------------------------------------------------------- its registers */

void lapic_timer_reset(struct lapic *l)
{
    l->timer_lvt = lapic_get(l, APIC_LVT_TIMER);
    l->timer_shift = divide_shift(l);
    l->timer_due_ns = 0;
    l->timer_tsc = 0;
}

/* Each of these takes in first what happened before the write: an interrupt that nobody has polled is not lost. */
void lapic_timer_init_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    poll_count(l, now_ns, effect);
    effect->bits |= LAPIC_EFFECT_TIMER;
    if (!is_counting(mode(l)))
        lapic_put(l, offset, 0); /* SDM 3A 10.5.4.1: ignored */
    l->timer_due_ns = period(l) ? due_after(now_ns, period(l)) : 0;
}

/* What is left of the count goes on at the new rate. */
void lapic_timer_div_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    uint64_t count;

    (void)offset;
    poll_count(l, now_ns, effect);
    count = lapic_timer_count(l, now_ns);
    effect->bits |= LAPIC_EFFECT_TIMER;
    l->timer_shift = divide_shift(l);
    if (l->timer_due_ns)
        l->timer_due_ns = due_after(now_ns, count << l->timer_shift);
}

/* SDM 3A 10.5.4.1: going from or to TSC-deadline mode disarms the timer. */
void lapic_timer_lvt_written(struct lapic *l, uint64_t now_ns, struct lapic_effect *effect)
{
    uint32_t old_mode = mode(l);

    poll_count(l, now_ns, effect);
    effect->bits |= LAPIC_EFFECT_TIMER;
    l->timer_lvt = lapic_get(l, APIC_LVT_TIMER);
    if (mode(l) == old_mode || (is_counting(mode(l)) && is_counting(old_mode)))
        return;
    l->timer_due_ns = 0;
    l->timer_tsc = 0;
    lapic_put(l, APIC_TIMER_INIT, 0);
}

void lapic_timer_resume(struct lapic *l, uint32_t count, uint64_t now_ns)
{
    uint64_t deadline = l->timer_tsc;

    lapic_timer_reset(l);
    if (!is_counting(mode(l))) {
        lapic_put(l, APIC_TIMER_INIT, 0);
        l->timer_tsc = mode(l) == APIC_TIMER_DEADLINE ? deadline : 0;
        return;
    }
    if (is_periodic(l) && !count)
        count = lapic_get(l, APIC_TIMER_INIT);
    if (count)
        l->timer_due_ns = due_after(now_ns, (uint64_t)count << l->timer_shift);
}

bool lapic_is_deadline(const struct lapic *l)
{
    return mode(l) == APIC_TIMER_DEADLINE;
}

uint64_t lapic_read_tsc_deadline(const struct lapic *l)
{
    return l->timer_tsc;
}

void lapic_write_tsc_deadline(struct lapic *l, uint64_t value, struct lapic_effect *effect)
{
    if (mode(l) != APIC_TIMER_DEADLINE)
        return;
    l->timer_tsc = value;
    effect->bits |= LAPIC_EFFECT_TIMER;
}
