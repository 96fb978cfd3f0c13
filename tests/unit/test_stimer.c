/* SPDX-License-Identifier: MIT */
/*
 * Synthetic timers of one VP without hardware (TLFS 12.2): registers and when they enable a timer, one-shot and
 * periodic, lazy and not, direct, messages whose slot is taken, saved state. The SynIC and the local APIC are the
 * test's.
 */
#include "stub_clock.h"
#include "virt/irq.h"
#include "virt/stimer.h"
#include "virt/synic.h"
#include <stdlib.h>

#define ENABLE     1ull
#define PERIODIC   2ull
#define LAZY       4ull
#define AUTO       8ull
#define DIRECT     0x1000ull
#define SINT(n)    ((uint64_t)(n) << 16)
#define VECTOR(n)  ((uint64_t)(n) << 4)
#define CONFIG(n)  (0x400000b0u + 2 * (n))
#define COUNT(n)   (0x400000b1u + 2 * (n))
#define STATE_SIZE 200u

static struct hv_vp *const vp = &vps[0];

/* What came of timers. */
static struct {
    bool is_taken[HV_SYNIC_SINTS]; /* the slots */
    unsigned posts, refused;
    struct hv_timer_message last;
    uint32_t last_sint;
    unsigned directs[256];
} seen;

enum hv_status synic_post(struct hv_vp *to, uint32_t sint, const void *message, uint32_t size)
{
    const struct hv_message *m = message;

    assert_ptr_equal(to, vp);
    assert_in_range(sint, 1, HV_SYNIC_SINTS - 1);
    assert_int_equal(size, 16 + sizeof(seen.last));
    assert_int_equal(m->type, 0x80000010);
    assert_int_equal(m->payload_size, sizeof(seen.last));
    assert_int_equal(m->flags | m->reserved | m->origin, 0);
    if (seen.is_taken[sint]) {
        seen.refused++;
        return HV_E_IN_USE;
    }
    memcpy(&seen.last, m->payload, sizeof(seen.last));
    assert_int_equal(seen.last.reserved, 0);
    assert_true(seen.last.delivery >= seen.last.expiration);
    seen.last_sint = sint;
    seen.posts++;
    return HV_OK;
}

void irq_post_vector(struct hv_vp *to, uint8_t vector)
{
    assert_ptr_equal(to, vp);
    seen.directs[vector]++;
}

static bool write_msr(uint32_t index, uint64_t value)
{
    return stimer_write(vp, index, SYNTHETIC_GUEST, value);
}

static void put(uint32_t index, uint64_t value)
{
    assert_true(write_msr(index, value));
}

static uint64_t get(uint32_t index)
{
    uint64_t value = 0;

    assert_true(stimer_read(vp, index, SYNTHETIC_GUEST, &value));
    return value;
}

static uint64_t now(void)
{
    return time_reference(&partition);
}

/* The clock and the formula round: a moment that is due may be a tick late. */
static uint64_t wait_units(void)
{
    uint64_t ns = stimer_wait_ns(vp);

    return ns == UINT64_MAX ? UINT64_MAX : ns / 100;
}

/* As the run does it: until then there is nothing, and then there is. */
static void poll_after(uint64_t units)
{
    pass_units(units);
    stimer_poll(vp);
}

static void expect_message(unsigned count, uint64_t expiration)
{
    assert_int_equal(seen.posts, count);
    assert_int_equal(seen.last.expiration, expiration);
    assert_int_equal(seen.last.delivery, now());
}

static int setup(void **state)
{
    if (stub_setup(state))
        return -1;
    memset(&seen, 0, sizeof(seen));
    partition.properties.synthetic_features = STUB_ALL | HV_SYNTH_DIRECT_TIMERS;
    stub_start(STUB_HZ);
    stub_create_vp(0);
    vp->has_apic = true;
    stimer_reset(vp);
    pass_units(1000);
    return 0;
}

#define STIMER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, stub_teardown)

/* ---------------------------------------------------------------------------------- registers */

static void registers_hold_what_is_written(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < HV_STIMERS; n++) {
        assert_int_equal(get(CONFIG(n)), 0);
        assert_int_equal(get(COUNT(n)), 0);
        put(CONFIG(n), SINT(n + 1) | PERIODIC | LAZY | VECTOR(0x77));
        put(COUNT(n), 1000000 + n);
    }
    for (uint32_t n = 0; n < HV_STIMERS; n++) {
        assert_int_equal(get(CONFIG(n)), SINT(n + 1) | PERIODIC | LAZY | VECTOR(0x77));
        assert_int_equal(get(COUNT(n)), 1000000 + n);
    }
    assert_int_equal(stimer_wait_ns(vp), UINT64_MAX);
    stimer_reset(vp);
    assert_int_equal(get(CONFIG(3)) | get(COUNT(3)), 0);
}

static void reserved_bits_fault(void **state)
{
    const uint64_t direct = DIRECT | VECTOR(0xff), all = ENABLE | PERIODIC | LAZY | AUTO | SINT(15) | direct;

    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(write_msr(CONFIG(0), BIT64(bit)), all >> bit & 1);
    partition.properties.synthetic_features &= ~HV_SYNTH_DIRECT_TIMERS;
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(write_msr(CONFIG(0), BIT64(bit)), (all & ~direct) >> bit & 1);
    put(CONFIG(0), SINT(3));
    assert_false(write_msr(CONFIG(0), SINT(3) | BIT64(63)));
    assert_int_equal(get(CONFIG(0)), SINT(3));
}

static void what_has_no_target_is_not_enabled(void **state)
{
    (void)state;
    put(COUNT(0), now() + 100);
    put(CONFIG(0), ENABLE);
    assert_int_equal(get(CONFIG(0)), 0);
    put(CONFIG(0), AUTO);
    put(COUNT(0), now() + 100);
    assert_int_equal(get(CONFIG(0)), AUTO);
    put(CONFIG(0), ENABLE | DIRECT | VECTOR(15));
    assert_int_equal(get(CONFIG(0)), DIRECT | VECTOR(15));
    put(CONFIG(0), ENABLE | DIRECT | VECTOR(16)); /* here SINT0 does not matter */
    assert_int_equal(get(CONFIG(0)), ENABLE | DIRECT | VECTOR(16));
}

static void the_count_enables_and_disables(void **state)
{
    (void)state;
    put(CONFIG(1), SINT(2) | AUTO);
    assert_int_equal(wait_units(), UINT64_MAX);
    put(COUNT(1), now() + 500);
    assert_int_equal(get(CONFIG(1)), SINT(2) | AUTO | ENABLE);
    assert_int_equal(wait_units(), 500);
    put(COUNT(1), 0);
    assert_int_equal(get(CONFIG(1)), SINT(2) | AUTO);
    assert_int_equal(wait_units(), UINT64_MAX);
    put(CONFIG(1), SINT(2));
    put(COUNT(1), now() + 500);
    assert_int_equal(get(CONFIG(1)), SINT(2));
    put(CONFIG(1), SINT(2) | ENABLE);
    assert_int_equal(wait_units(), 500);
    put(CONFIG(1), SINT(2));
    assert_int_equal(wait_units(), UINT64_MAX);
    poll_after(1000);
    assert_int_equal(seen.posts, 0);
}

/* ------------------------------------------------------------------------------------ firing */

static void one_shot(void **state)
{
    uint64_t due = now() + 500;

    (void)state;
    put(COUNT(2), due);
    put(CONFIG(2), SINT(4) | ENABLE);
    poll_after(499);
    assert_int_equal(seen.posts, 0);
    assert_int_equal(wait_units(), 1);
    vp->todo = 0;
    poll_after(1);
    expect_message(1, due);
    assert_true(vp->todo & VP_TODO_TIMER);
    assert_int_equal(seen.last.timer, 2);
    assert_int_equal(seen.last_sint, 4);
    assert_int_equal(get(CONFIG(2)), SINT(4));
    assert_int_equal(get(COUNT(2)), due);
    assert_int_equal(wait_units(), UINT64_MAX);
    poll_after(100000);
    assert_int_equal(seen.posts, 1);
}

static void the_past_is_now(void **state)
{
    (void)state;
    put(CONFIG(0), SINT(1) | AUTO);
    put(COUNT(0), 1);
    assert_int_equal(wait_units(), 0);
    stimer_poll(vp);
    expect_message(1, 1);
}

static void the_end_of_time_never_comes(void **state)
{
    (void)state;
    put(CONFIG(0), SINT(1) | AUTO);
    put(COUNT(0), UINT64_MAX);
    put(CONFIG(1), SINT(1) | AUTO | PERIODIC);
    put(COUNT(1), UINT64_MAX);
    assert_int_equal(stimer_wait_ns(vp), UINT64_MAX);
    poll_after(1ull << 40);
    assert_int_equal(seen.posts, 0);
}

static void periodic(void **state)
{
    uint64_t begin = now();

    (void)state;
    put(COUNT(0), 1000);
    put(CONFIG(0), SINT(1) | ENABLE | PERIODIC);
    for (unsigned n = 1; n <= 50; n++) {
        poll_after(999);
        assert_int_equal(seen.posts, n - 1);
        poll_after(1);
        expect_message(n, begin + 1000 * n);
    }
    assert_int_equal(get(CONFIG(0)), SINT(1) | ENABLE | PERIODIC);
    assert_int_equal(get(COUNT(0)), 1000);
}

/* A little late each time: it does not drift. */
static void late_polls_do_not_add_up(void **state)
{
    uint64_t begin = now();

    (void)state;
    put(COUNT(0), 1000);
    put(CONFIG(0), SINT(1) | ENABLE | PERIODIC);
    for (unsigned n = 1; n <= 50; n++) {
        poll_after(wait_units() + 60);
        expect_message(n, begin + 1000 * n);
    }
}

/* Some of those that were missed come in half the time each; those before them are left out. */
static void missed_periods_are_made_up_for(void **state)
{
    uint64_t begin = now();

    (void)state;
    put(COUNT(0), 1000);
    put(CONFIG(0), SINT(1) | ENABLE | PERIODIC);
    poll_after(3100);
    expect_message(1, begin + 1000);
    assert_int_equal(wait_units(), 500);
    poll_after(500);
    expect_message(2, begin + 2000);
    poll_after(500); /* 4100 */
    expect_message(3, begin + 3000);
    poll_after(500); /* 4600 */
    expect_message(4, begin + 4000);
    assert_int_equal(wait_units(), 500); /* 5000 is past that */
    poll_after(500);
    expect_message(5, begin + 5000);
    poll_after(900);
    expect_message(6, begin + 6000);
    poll_after(100000); /* all the rest: five of these, four of which were missed */
    expect_message(7, begin + 102000);
}

static void lazy_timers_leave_out(void **state)
{
    uint64_t begin = now();

    (void)state;
    put(COUNT(0), 1000);
    put(CONFIG(0), SINT(1) | ENABLE | PERIODIC | LAZY);
    poll_after(3100);
    expect_message(1, begin + 3000);
    assert_int_equal(wait_units(), 900);
    poll_after(900);
    expect_message(2, begin + 4000);
    poll_after(1900); /* shortly before the next one */
    assert_int_equal(seen.posts, 2);
    poll_after(wait_units());
    expect_message(3, now());
    assert_int_equal((now() - begin) % 1000 < 600, true);
}

/* However short: what it costs is bounded. */
static void short_periods_are_lengthened(void **state)
{
    (void)state;
    put(COUNT(0), 1);
    put(CONFIG(0), SINT(1) | ENABLE | PERIODIC);
    for (unsigned n = 0; n < 5000; n++)
        poll_after(1);
    assert_in_range(seen.posts, 9, 11);
    assert_int_equal(get(COUNT(0)), 1);
    poll_after(1ull << 40);
    assert_in_range(seen.posts, 9, 12);
    for (unsigned n = 0; n < 100; n++)
        stimer_poll(vp); /* without time passing */
    assert_in_range(seen.posts, 9, 12);
    assert_in_range(wait_units(), 499, 500);
}

static void four_at_once(void **state)
{
    uint64_t due = now() + 10;

    (void)state;
    for (uint32_t n = 0; n < HV_STIMERS; n++) {
        put(CONFIG(n), DIRECT | AUTO | VECTOR(0x40 + n));
        put(COUNT(n), due + 100 * n);
    }
    assert_int_equal(wait_units(), 10);
    poll_after(209);
    assert_int_equal(seen.directs[0x40] + seen.directs[0x41], 2);
    assert_int_equal(wait_units(), 1);
    poll_after(1000);
    for (uint32_t n = 0; n < HV_STIMERS; n++)
        assert_int_equal(seen.directs[0x40 + n], 1);
    assert_int_equal(seen.posts, 0);
}

static void direct_periodic(void **state)
{
    (void)state;
    put(COUNT(0), 1000);
    put(CONFIG(0), DIRECT | ENABLE | PERIODIC | VECTOR(0xec));
    for (unsigned n = 1; n <= 20; n++) {
        poll_after(1000);
        assert_int_equal(seen.directs[0xec], n);
    }
}

/* What is due counts before it is replaced. */
static void a_write_takes_in_what_came_before(void **state)
{
    (void)state;
    put(CONFIG(0), SINT(1) | AUTO);
    put(COUNT(0), now() + 10);
    pass_units(20);
    put(COUNT(0), now() + 10);
    assert_int_equal(seen.posts, 1);
    assert_int_equal(get(CONFIG(0)), SINT(1) | AUTO | ENABLE);
    pass_units(20);
    assert_int_equal(get(CONFIG(0)), SINT(1) | AUTO);
    assert_int_equal(seen.posts, 2);
}

/* --------------------------------------------------------------------------- slots that are taken */

static void a_message_waits_for_its_slot(void **state)
{
    uint64_t due = now() + 10;

    (void)state;
    seen.is_taken[3] = true;
    put(CONFIG(0), SINT(3) | AUTO);
    put(COUNT(0), due);
    poll_after(50);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(get(CONFIG(0)), SINT(3) | AUTO); /* it has fired all the same */
    assert_int_equal(wait_units(), UINT64_MAX);       /* nothing to poll for */
    stimer_poll(vp);
    stimer_retry(vp, 4);
    assert_int_equal(seen.refused, 1);
    stimer_retry(vp, 3);
    assert_int_equal(seen.refused, 2);
    seen.is_taken[3] = false;
    pass_units(100);
    stimer_retry(vp, 3);
    expect_message(1, due);
    stimer_retry(vp, 3);
    assert_int_equal(seen.posts, 1);
}

static void periods_wait_with_it(void **state)
{
    uint64_t begin = now();

    (void)state;
    seen.is_taken[3] = true;
    put(COUNT(0), 1000);
    put(CONFIG(0), SINT(3) | ENABLE | PERIODIC);
    for (unsigned n = 0; n < 10; n++)
        poll_after(1000);
    assert_int_equal(seen.refused, 1);
    seen.is_taken[3] = false;
    stimer_retry(vp, 3);
    expect_message(1, begin + 1000);
    stimer_poll(vp);
    assert_int_equal(seen.posts, 1);
    poll_after(wait_units());
    assert_int_equal(seen.posts, 2); /* and so on, as with other periods that were missed */
}

static void a_new_timer_forgets_the_message(void **state)
{
    (void)state;
    seen.is_taken[3] = true;
    put(CONFIG(0), SINT(3) | AUTO);
    put(COUNT(0), 1);
    stimer_poll(vp);
    put(COUNT(0), 0);
    seen.is_taken[3] = false;
    stimer_retry(vp, 3);
    assert_int_equal(seen.posts, 0);
}

/* ------------------------------------------------------------------------------ the clock */

static void suspended_time_counts_for_nothing(void **state)
{
    (void)state;
    put(CONFIG(0), SINT(1) | AUTO);
    put(COUNT(0), now() + 100);
    put(CONFIG(1), SINT(1) | AUTO | PERIODIC);
    put(COUNT(1), 3000);
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    poll_after(100000);
    assert_int_equal(seen.posts, 0);
    assert_int_equal(hv_partition_resume_time(&partition), HV_OK);
    assert_int_equal(wait_units(), 100);
    poll_after(100);
    assert_int_equal(seen.posts, 1);
    assert_int_equal(wait_units(), 2900);
}

/* One-shot timers are at a moment of it, periods are not. */
static void setting_the_reference_time(void **state)
{
    (void)state;
    put(CONFIG(0), SINT(1) | AUTO);
    put(COUNT(0), 1ull << 40);
    put(CONFIG(1), SINT(1) | AUTO | PERIODIC);
    put(COUNT(1), 3000);
    pass_units(100);
    time_set_reference(&partition, (1ull << 40) - 5);
    assert_int_equal(wait_units(), 5);
    poll_after(5);
    expect_message(1, 1ull << 40);
    assert_int_equal(wait_units(), 2895);
    poll_after(2895);
    expect_message(2, (1ull << 40) + 2895);
    time_set_reference(&partition, 7);
    assert_int_equal(wait_units(), 3000);
}

/* ------------------------------------------------------------------------------- saved state */

static enum hv_status get_state(uint64_t *words)
{
    uint32_t written = 0;
    enum hv_status st = hv_vp_get_synic_timers(vp, words, STATE_SIZE, &written);

    assert_int_equal(written, STATE_SIZE);
    return st;
}

static void state_goes_round(void **state)
{
    uint64_t words[STATE_SIZE / 8], again[STATE_SIZE / 8], begin = now();

    (void)state;
    seen.is_taken[5] = true;
    put(CONFIG(0), SINT(5) | AUTO);
    put(COUNT(0), begin - 10);
    put(CONFIG(1), SINT(6) | AUTO | PERIODIC);
    put(COUNT(1), 1000);
    put(CONFIG(2), DIRECT | VECTOR(0x55) | AUTO);
    put(COUNT(2), begin + 700);
    poll_after(400);
    assert_int_equal(get_state(words), HV_OK);
    assert_int_equal(words[0], 1);
    assert_int_equal(words[1], SINT(5) | AUTO);
    assert_int_equal(words[4], begin - 10);
    assert_int_equal(words[5], 0);
    assert_int_equal(words[6], SINT(6) | AUTO | PERIODIC | ENABLE);
    assert_int_equal(words[7], 1000);
    assert_int_equal(words[8], begin + 1000);
    stimer_reset(vp);
    vp->todo = 0;
    assert_int_equal(hv_vp_set_synic_timers(vp, words, STATE_SIZE), HV_OK);
    assert_true(vp->todo & VP_TODO_TIMER);
    assert_int_equal(get_state(again), HV_OK);
    assert_memory_equal(words, again, STATE_SIZE);
    assert_int_equal(wait_units(), 0); /* the slot may be free here */
    seen.is_taken[5] = false;
    stimer_poll(vp);
    expect_message(1, begin - 10);
    assert_int_equal(wait_units(), 300);
    poll_after(300);
    assert_int_equal(seen.directs[0x55], 1);
    poll_after(300);
    expect_message(2, begin + 1000);
}

static void clients_set_registers_one_by_one(void **state)
{
    uint64_t begin = now();

    (void)state;
    assert_true(stimer_write(vp, COUNT(0), SYNTHETIC_CLIENT, begin + 50));
    assert_int_equal(wait_units(), UINT64_MAX);
    assert_true(stimer_write(vp, CONFIG(0), SYNTHETIC_CLIENT, SINT(2) | ENABLE | AUTO));
    assert_int_equal(wait_units(), 50);
    stimer_reset(vp);
    assert_true(stimer_write(vp, CONFIG(0), SYNTHETIC_CLIENT, SINT(2) | AUTO));
    assert_true(stimer_write(vp, COUNT(0), SYNTHETIC_CLIENT, begin + 50));
    assert_int_equal(get(CONFIG(0)), SINT(2) | AUTO); /* it had been disabled */
    assert_false(stimer_write(vp, CONFIG(0), SYNTHETIC_CLIENT, BIT64(40)));
}

static void bad_states_are_refused(void **state)
{
    static const struct {
        unsigned word;
        uint64_t value;
    } bad[] = {{0, 2}, {0, 1ull << 32}, {1, BIT64(20)}, {1, ENABLE}, {6, ENABLE | DIRECT | VECTOR(3)}, {5, 1}};
    uint64_t words[STATE_SIZE / 8], saved[STATE_SIZE / 8];

    (void)state;
    put(CONFIG(3), SINT(6) | AUTO | PERIODIC);
    put(COUNT(3), 1000);
    assert_int_equal(get_state(saved), HV_OK);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        memset(words, 0, sizeof(words));
        words[bad[i].word] = bad[i].value;
        assert_int_equal(hv_vp_set_synic_timers(vp, words, STATE_SIZE), HV_E_INVALID);
        assert_int_equal(get_state(words), HV_OK);
        assert_memory_equal(words, saved, STATE_SIZE);
    }
    assert_int_equal(hv_vp_set_synic_timers(vp, saved, STATE_SIZE - 1), HV_E_INVALID);
    assert_int_equal(hv_vp_get_synic_timers(vp, words, STATE_SIZE - 1, NULL), HV_E_BUFFER_TOO_SMALL);
    assert_true(vp_claim(vp));
    assert_int_equal(hv_vp_get_synic_timers(vp, words, STATE_SIZE, NULL), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_set_synic_timers(vp, saved, STATE_SIZE), HV_E_VP_BUSY);
    vp_release(vp);
    partition.properties.synthetic_features = STUB_ALL & ~HV_SYNTH_TIMERS;
    assert_int_equal(hv_vp_get_synic_timers(vp, words, STATE_SIZE, NULL), HV_E_STATE);
    assert_int_equal(hv_vp_set_synic_timers(vp, saved, STATE_SIZE), HV_E_STATE);
}

/* A period from a machine whose clock was elsewhere begins now. */
static void a_strange_period_begins_now(void **state)
{
    uint64_t words[STATE_SIZE / 8] = {[1] = SINT(6) | ENABLE | PERIODIC, [2] = 1000, [3] = now() + 5000};

    (void)state;
    assert_int_equal(hv_vp_set_synic_timers(vp, words, STATE_SIZE), HV_OK);
    assert_int_equal(wait_units(), 1000);
    words[3] = 0;
    assert_int_equal(hv_vp_set_synic_timers(vp, words, STATE_SIZE), HV_OK);
    assert_int_equal(wait_units(), 1000);
    words[3] = 1; /* long ago: as if it had been missed */
    assert_int_equal(hv_vp_set_synic_timers(vp, words, STATE_SIZE), HV_OK);
    assert_int_equal(wait_units(), 0);
}

/* ------------------------------------------------------------- whatever a guest writes, in time */

static void random_writes(void **state)
{
    const char *seed = getenv("SEED");
    uint64_t random = seed ? strtoull(seed, NULL, 0) : 7;

    (void)state;
    for (unsigned n = 0; n < 100000; n++) {
        uint32_t index;
        uint64_t value;

        random = random * 6364136223846793005ull + 1442695040888963407ull;
        index = CONFIG(0) + (random >> 33) % 8;
        value = index % 2 ? random >> 40 & 0xf1fff : random >> (random >> 59) & 0xffff;
        write_msr(index, index % 2 ? value : random >> 36 & 0xf1fff);
        seen.is_taken[random >> 50 & 15] = random >> 49 & 1;
        stimer_retry(vp, random >> 45 & 15);
        poll_after(random >> 41 & 0x3ff);
        for (unsigned i = 0; i < HV_STIMERS; i++) {
            const struct stimer *t = &vp->stimers.timer[i];

            assert_false(t->is_blocked && !t->is_undelivered);
            assert_false(t->is_counting && !(t->config & ENABLE));
        }
        stimer_poll(vp);
        stimer_poll(vp);
        assert_true(stimer_wait_ns(vp) > 0); /* time has to pass */
    }
    assert_true(seen.posts > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STIMER_TEST(registers_hold_what_is_written),
        STIMER_TEST(reserved_bits_fault),
        STIMER_TEST(what_has_no_target_is_not_enabled),
        STIMER_TEST(the_count_enables_and_disables),
        STIMER_TEST(one_shot),
        STIMER_TEST(the_past_is_now),
        STIMER_TEST(the_end_of_time_never_comes),
        STIMER_TEST(periodic),
        STIMER_TEST(late_polls_do_not_add_up),
        STIMER_TEST(missed_periods_are_made_up_for),
        STIMER_TEST(lazy_timers_leave_out),
        STIMER_TEST(short_periods_are_lengthened),
        STIMER_TEST(four_at_once),
        STIMER_TEST(direct_periodic),
        STIMER_TEST(a_write_takes_in_what_came_before),
        STIMER_TEST(a_message_waits_for_its_slot),
        STIMER_TEST(periods_wait_with_it),
        STIMER_TEST(a_new_timer_forgets_the_message),
        STIMER_TEST(suspended_time_counts_for_nothing),
        STIMER_TEST(setting_the_reference_time),
        STIMER_TEST(state_goes_round),
        STIMER_TEST(clients_set_registers_one_by_one),
        STIMER_TEST(bad_states_are_refused),
        STIMER_TEST(a_strange_period_begins_now),
        STIMER_TEST(random_writes),
    };

    return cmocka_run_group_tests_name("tests", tests, NULL, NULL);
}
