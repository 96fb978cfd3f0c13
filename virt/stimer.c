/* SPDX-License-Identifier: MIT */
/* Synthetic timers: see stimer.h. */
#include "stimer.h"
#include "irq.h"
#include "synic.h"
#include "time.h"
#include <hv/base/memory.h>

#define NS_PER_UNIT 100u

/* A guest that has a periodic timer fire more often than this would do little but exit: 50 us. */
#define MIN_PERIOD 500u

/* So many periods that were missed are made up for; those before them are left out. */
#define CATCH_UP 4u

#define MIN_VECTOR 16u

/* ----------------------------------------------------------------------------- when it is due */

static bool is_periodic(const struct stimer *t)
{
    return t->config & HV_STIMER_PERIODIC;
}

static uint64_t period(const struct stimer *t)
{
    return HV_MAX(t->count, MIN_PERIOD);
}

static uint64_t later(uint64_t time, uint64_t by)
{
    return time > UINT64_MAX - by ? UINT64_MAX : time + by;
}

/* Periods do not change when the client sets the reference time; the moment of a one-shot timer comes as it says. */
struct now {
    uint64_t reference, elapsed;
};

static struct now look_at_clock(const struct hv_vp *vp)
{
    uint64_t reference = time_reference(vp->partition);

    return (struct now){reference, reference - vp->partition->time.clock.reference_base};
}

static uint64_t units_left(const struct stimer *t, const struct now *now)
{
    uint64_t due = is_periodic(t) ? HV_MAX(t->due, t->not_before) : t->count;
    uint64_t time = is_periodic(t) ? now->elapsed : now->reference;

    return due > time ? due - time : 0;
}

/* Is there something to do at a time that is known? */
static bool is_active(const struct stimer *t)
{
    return t->is_undelivered ? !t->is_blocked : t->is_counting;
}

static void update_active(struct hv_vp *vp, const struct stimer *t)
{
    uint32_t bit = BIT32(t - vp->stimers.timer);

    vp->stimers.active = is_active(t) ? vp->stimers.active | bit : vp->stimers.active & ~bit;
    vp->stimers.blocked = t->is_blocked ? vp->stimers.blocked | bit : vp->stimers.blocked & ~bit;
    vp->todo |= VP_TODO_TIMER;
}

uint64_t stimer_wait_ns(const struct hv_vp *vp)
{
    uint64_t least = UINT64_MAX;
    struct now now;

    if (!vp->stimers.active)
        return UINT64_MAX;
    now = look_at_clock(vp);
    for (unsigned i = 0; i < HV_STIMERS; i++) {
        const struct stimer *t = &vp->stimers.timer[i];

        if (is_active(t))
            least = HV_MIN(least, t->is_undelivered ? 0 : units_left(t, &now));
    }
    return least < UINT64_MAX / NS_PER_UNIT ? least * NS_PER_UNIT : UINT64_MAX;
}

/* -------------------------------------------------------------------------------------- firing */

static bool post(struct hv_vp *vp, const struct stimer *t, const struct now *now)
{
    struct hv_message message = {.type = HV_MESSAGE_TIMER_EXPIRED, .payload_size = sizeof(struct hv_timer_message)};
    const struct hv_timer_message payload = {
        .timer = (uint32_t)(t - vp->stimers.timer), .expiration = t->expiration, .delivery = now->reference};

    memcpy(message.payload, &payload, sizeof(payload));
    return synic_post(vp, (uint32_t)FIELD_GET(HV_STIMER_SINT, t->config), &message,
                      offsetof(struct hv_message, payload) + sizeof(payload)) == HV_OK;
}

/* The next one of periods that were missed comes in half the time; lazy timers have left them out. */
static uint64_t least_gap(const struct stimer *t)
{
    return t->config & HV_STIMER_LAZY ? MIN_PERIOD : HV_MAX(period(t) / 2, MIN_PERIOD);
}

static void deliver(struct hv_vp *vp, struct stimer *t, const struct now *now)
{
    if (t->config & HV_STIMER_DIRECT) {
        irq_post_vector(vp, (uint8_t)FIELD_GET(HV_STIMER_APIC_VECTOR, t->config));
        t->is_undelivered = false;
    } else {
        t->is_undelivered = !post(vp, t, now);
    }
    t->is_blocked = t->is_undelivered;
    t->not_before = later(now->elapsed, least_gap(t));
}

/* The period that has ended last of those that count; lazy timers leave out the ones before. */
static void leave_out(struct stimer *t, uint64_t elapsed)
{
    uint64_t missed = (elapsed - t->due) / period(t), keep = t->config & HV_STIMER_LAZY ? 0 : CATCH_UP;

    if (missed > keep)
        t->due += (missed - keep) * period(t);
}

/* TLFS 12.2: a lazy timer's signal that comes shortly before the next one is left out as well. */
static bool is_too_late(const struct stimer *t, uint64_t elapsed)
{
    return t->config & HV_STIMER_LAZY && elapsed - t->due > period(t) - period(t) / 4;
}

/* False: it does not fire after all. */
static bool end_period(struct stimer *t, const struct now *now)
{
    bool fires;

    leave_out(t, now->elapsed);
    fires = !is_too_late(t, now->elapsed);
    t->expiration = t->due + (now->reference - now->elapsed);
    t->due = later(t->due, period(t));
    return fires;
}

static bool expire(struct stimer *t, const struct now *now)
{
    if (is_periodic(t))
        return end_period(t, now);
    t->is_counting = false;
    t->config &= ~HV_STIMER_ENABLE;
    t->expiration = t->count;
    return true;
}

static void poll_one(struct hv_vp *vp, struct stimer *t, const struct now *now)
{
    if (!is_active(t))
        return;
    if (t->is_undelivered || (!units_left(t, now) && expire(t, now)))
        deliver(vp, t, now);
    update_active(vp, t);
}

void stimer_poll(struct hv_vp *vp)
{
    struct now now;

    if (!vp->stimers.active)
        return;
    now = look_at_clock(vp);
    for (unsigned i = 0; i < HV_STIMERS; i++)
        poll_one(vp, &vp->stimers.timer[i], &now);
}

void stimer_retry(struct hv_vp *vp, uint32_t sint)
{
    struct now now = look_at_clock(vp);

    for (unsigned i = 0; i < HV_STIMERS; i++) {
        struct stimer *t = &vp->stimers.timer[i];

        if (!t->is_blocked || FIELD_GET(HV_STIMER_SINT, t->config) != sint)
            continue;
        deliver(vp, t, &now);
        update_active(vp, t);
    }
}

/* ----------------------------------------------------------------------------------- registers */

void stimer_reset(struct hv_vp *vp)
{
    vp->stimers = (struct stimers){0};
}

static bool is_direct(uint64_t config)
{
    return config & HV_STIMER_DIRECT;
}

/* Could it fire? SINT0 is not for timers. */
static bool has_target(uint64_t config)
{
    return is_direct(config) ? FIELD_GET(HV_STIMER_APIC_VECTOR, config) >= MIN_VECTOR
                             : FIELD_GET(HV_STIMER_SINT, config) != 0;
}

static uint64_t config_bits(const struct hv_vp *vp)
{
    uint64_t bits = HV_STIMER_ENABLE | HV_STIMER_PERIODIC | HV_STIMER_LAZY | HV_STIMER_AUTO_ENABLE | HV_STIMER_SINT;

    if (vp->partition->properties.synthetic_features & HV_SYNTH_DIRECT_TIMERS)
        bits |= HV_STIMER_DIRECT | HV_STIMER_APIC_VECTOR;
    return bits;
}

/* By what its registers now say; a message that waits is the old timer's. The first period begins now. */
static void start(struct hv_vp *vp, struct stimer *t)
{
    if (!has_target(t->config))
        t->config &= ~HV_STIMER_ENABLE;
    t->is_counting = t->config & HV_STIMER_ENABLE && t->count;
    t->is_undelivered = t->is_blocked = false;
    if (t->is_counting && is_periodic(t)) {
        t->due = later(look_at_clock(vp).elapsed, period(t));
        t->not_before = 0;
    }
    update_active(vp, t);
}

/* A client that restores COUNT restores CONFIG as well. */
static void write_count(struct stimer *t, enum synthetic_access by, uint64_t value)
{
    t->count = value;
    if (by == SYNTHETIC_CLIENT)
        return;
    if (!value)
        t->config &= ~HV_STIMER_ENABLE;
    else if (t->config & HV_STIMER_AUTO_ENABLE)
        t->config |= HV_STIMER_ENABLE;
}

/* CONFIG and COUNT of timer 0, of timer 1, ... */
static bool is_count(uint32_t index)
{
    return (index - MSR_HV_STIMER0_CONFIG) % 2;
}

static struct stimer *timer_of(struct hv_vp *vp, uint32_t index)
{
    return &vp->stimers.timer[(index - MSR_HV_STIMER0_CONFIG) / 2 % HV_STIMERS];
}

bool stimer_read(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    const struct stimer *t = timer_of(vp, index);

    if (by == SYNTHETIC_GUEST)
        stimer_poll(vp); /* a one-shot timer that is due has disabled itself */
    *value = is_count(index) ? t->count : t->config;
    return true;
}

bool stimer_write(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    struct stimer *t = timer_of(vp, index);

    if (!is_count(index) && value & ~config_bits(vp))
        return false;
    if (by == SYNTHETIC_GUEST)
        stimer_poll(vp); /* what came before the write is not lost */
    if (is_count(index))
        write_count(t, by, value);
    else
        t->config = value;
    start(vp, t);
    return true;
}

/* --------------------------------------------------------------------------------- saved state */

struct saved_timer { /* of HV_SYNTHETIC_TIMERS_STATE */
    uint32_t undelivered, reserved;
    uint64_t config, count;
    uint64_t adjustment; /* of a periodic timer that counts: the reference time when the period ends */
    uint64_t expiration; /* of the message that waits */
};

struct saved_timers {
    struct saved_timer timer[HV_STIMERS];
    uint64_t reserved[5];
};
_Static_assert(sizeof(struct saved_timers) == HV_SYNIC_TIMER_STATE_SIZE, "HV_SYNTHETIC_TIMERS_STATE");

static bool has_timers(const struct hv_vp *vp)
{
    return vp->partition->properties.synthetic_features & HV_SYNTH_TIMERS;
}

static void save(const struct stimer *t, uint64_t reference_base, struct saved_timer *to)
{
    *to = (struct saved_timer){
        .undelivered = t->is_undelivered,
        .config = t->config,
        .count = t->count,
        .adjustment = t->is_counting && is_periodic(t) ? t->due + reference_base : 0,
        .expiration = t->is_undelivered ? t->expiration : 0,
    };
}

enum hv_status hv_vp_get_synic_timers(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    struct saved_timers state = {0};

    if (!has_timers(vp))
        return HV_E_STATE;
    if (written)
        *written = sizeof(state);
    if (size < sizeof(state))
        return HV_E_BUFFER_TOO_SMALL;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    for (unsigned i = 0; i < HV_STIMERS; i++)
        save(&vp->stimers.timer[i], vp->partition->time.clock.reference_base, &state.timer[i]);
    vp_release(vp);
    memcpy(buffer, &state, sizeof(state));
    return HV_OK;
}

static bool is_valid(const struct hv_vp *vp, const struct saved_timer *s)
{
    if (s->undelivered > 1 || s->reserved || s->config & ~config_bits(vp))
        return false;
    return has_target(s->config) || !(s->config & HV_STIMER_ENABLE || s->undelivered);
}

/* A period that is to end later than one that began now is one of another clock. */
static void restore(struct hv_vp *vp, struct stimer *t, const struct saved_timer *s)
{
    uint64_t due = s->adjustment - vp->partition->time.clock.reference_base;

    t->config = s->config;
    t->count = s->count;
    start(vp, t);
    if (t->is_counting && is_periodic(t) && s->adjustment && due < t->due)
        t->due = due;
    t->is_undelivered = s->undelivered;
    t->expiration = s->expiration;
    update_active(vp, t);
}

enum hv_status hv_vp_set_synic_timers(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    struct saved_timers state;

    if (!has_timers(vp))
        return HV_E_STATE;
    if (size < sizeof(state))
        return HV_E_INVALID;
    memcpy(&state, buffer, sizeof(state));
    for (unsigned i = 0; i < HV_STIMERS; i++)
        if (!is_valid(vp, &state.timer[i]))
            return HV_E_INVALID;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vp_pin(vp);
    for (unsigned i = 0; i < HV_STIMERS; i++)
        restore(vp, &vp->stimers.timer[i], &state.timer[i]);
    vp_unpin(vp);
    vp_release(vp);
    return HV_OK;
}
