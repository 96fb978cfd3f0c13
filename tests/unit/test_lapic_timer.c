/* SPDX-License-Identifier: MIT */
/* The local APIC's timer against SDM 3A 10.5.4: its modes, the divisor, the count, catching up, masks and saved state.
 */
#include "lapic_apic.h"

#define ONE_SHOT 0x00040u
#define PERIODIC 0x20040u
#define DEADLINE 0x40040u
#define RESERVED 0x60040u
#define MASKED   0x10000u
#define BY_ONE   0xbu

static void start(uint32_t lvt, uint32_t divide, uint32_t count)
{
    fresh(XAPIC);
    now = 1000;
    put(APIC_TIMER_DIV, divide);
    put(APIC_LVT_TIMER, lvt);
    put(APIC_TIMER_INIT, count);
    assert_true(effect.bits & LAPIC_EFFECT_TIMER);
}

static uint64_t count_at(uint64_t time)
{
    now = time;
    return get(APIC_TIMER_CUR);
}

/* Polls and takes what came. */
static bool fires_at(uint64_t time)
{
    bool fired = poll_at(time, 0);

    assert_int_equal(has(APIC_IRR, 0x40), fired);
    assert_int_equal(effect.bits, fired ? LAPIC_EFFECT_PRIORITY : 0);
    page[(APIC_IRR + 0x20) / 4] = 0;
    return fired;
}

static void test_one_shot(void **state)
{
    (void)state;
    start(ONE_SHOT, BY_ONE, 500);
    assert_int_equal(lapic_timer_due_ns(&apic), 1500);
    assert_int_equal(count_at(1000), 500);
    assert_int_equal(count_at(999), 500); /* another CPU's clock */
    assert_int_equal(count_at(1499), 1);
    assert_false(fires_at(1499));
    assert_int_equal(count_at(1500), 0);
    assert_true(fires_at(1500));
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    assert_int_equal(count_at(1501), 0);
    assert_int_equal(get(APIC_TIMER_INIT), 500);
    assert_false(fires_at(1u << 30));
    put(APIC_TIMER_INIT, 10);
    put(APIC_TIMER_INIT, 0); /* stops */
    assert_true(effect.bits & LAPIC_EFFECT_TIMER);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    assert_false(fires_at(1u << 31));
}

static void test_restart(void **state)
{
    (void)state;
    start(ONE_SHOT, BY_ONE, 500);
    now = 1400;
    put(APIC_TIMER_INIT, 500);
    assert_false(fires_at(1899));
    assert_true(fires_at(1900));
}

static void test_divisors(void **state)
{
    static const struct {
        uint32_t divide, by;
    } divisors[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(divisors); i++) {
        uint64_t by = divisors[i].by;

        start(ONE_SHOT, divisors[i].divide, 0xffffffff);
        assert_int_equal(lapic_timer_due_ns(&apic), 1000 + 0xffffffff * by);
        assert_int_equal(count_at(1000 + by - 1), 0xffffffff);
        assert_int_equal(count_at(1000 + by), 0xfffffffe);
        assert_int_equal(count_at(1000 + 0xfffffffeull * by), 1);
    }
    start(ONE_SHOT, 0, 100); /* the divisor of power-up is 2 */
    assert_int_equal(lapic_timer_due_ns(&apic), 1200);
}

static void test_divisor_changes_rate(void **state)
{
    (void)state;
    start(ONE_SHOT, BY_ONE, 500);
    now = 1100;
    put(APIC_TIMER_DIV, 1);
    assert_int_equal(get(APIC_TIMER_CUR), 400);
    assert_int_equal(lapic_timer_due_ns(&apic), 1100 + 400 * 4);
    now = 1500;
    put(APIC_TIMER_DIV, BY_ONE);
    assert_int_equal(lapic_timer_due_ns(&apic), 1500 + 300);
    put(APIC_TIMER_INIT, 0);
    put(APIC_TIMER_DIV, 1); /* stopped stays stopped */
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
}

static void test_periodic(void **state)
{
    (void)state;
    start(PERIODIC, BY_ONE, 500);
    assert_false(fires_at(1499));
    assert_int_equal(count_at(1500), 500); /* reloaded, polled or not */
    assert_int_equal(count_at(1600), 400);
    assert_true(fires_at(1520));
    assert_int_equal(lapic_timer_due_ns(&apic), 2000); /* no drift */
    assert_false(fires_at(1999));
    assert_true(fires_at(2000));
    assert_int_equal(lapic_timer_due_ns(&apic), 2500);
}

static void test_periodic_catches_up(void **state)
{
    (void)state;
    for (uint64_t late = 0; late < 2000; late++) {
        start(PERIODIC, BY_ONE, 500);
        assert_int_equal(count_at(1500 + late), 500 - late % 500);
        assert_true(fires_at(1500 + late));
        assert_int_equal(lapic_timer_due_ns(&apic), 1500 + (late / 500 + 1) * 500);
        assert_int_equal(count_at(1500 + late), 500 - late % 500);
        assert_false(fires_at(1500 + late)); /* one, however many were missed */
    }
    start(PERIODIC, BY_ONE, 1);
    assert_true(fires_at(1ull << 60));
    assert_int_equal(lapic_timer_due_ns(&apic), (1ull << 60) + 1);
}

static void test_masked_timer_runs_on(void **state)
{
    (void)state;
    start(PERIODIC | MASKED, BY_ONE, 500);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX); /* nobody needs to wake */
    assert_int_equal(count_at(1600), 400);
    assert_false(fires_at(1600));
    now = 3700;
    put(APIC_LVT_TIMER, PERIODIC);
    assert_int_equal(lapic_timer_due_ns(&apic), 4000);
    assert_int_equal(lapic_highest_irr(&apic), -1); /* what passed while masked is lost */
    assert_true(fires_at(4000));
    start(ONE_SHOT | MASKED, BY_ONE, 500);
    now = 1500;
    put(APIC_LVT_TIMER, ONE_SHOT);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_false(fires_at(1u << 20));
    start(ONE_SHOT | MASKED, BY_ONE, 500);
    now = 1499;
    put(APIC_LVT_TIMER, ONE_SHOT);
    assert_true(fires_at(1500));
}

/* What was due before a register is written comes, although nobody polled. */
static void test_owed_interrupts(void **state)
{
    static const struct {
        uint32_t offset, value;
    } writes[] = {{APIC_LVT_TIMER, ONE_SHOT | MASKED},
                  {APIC_LVT_TIMER, DEADLINE},
                  {APIC_TIMER_INIT, 0},
                  {APIC_TIMER_INIT, 77},
                  {APIC_TIMER_DIV, 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(writes); i++)
        for (unsigned step = 0; step < 4; step++) {
            start(step & 1 ? PERIODIC : ONE_SHOT, BY_ONE, 500);
            now = 5600;
            if (step & 2) {
                page[writes[i].offset / 4] = writes[i].value;
                memset(&effect, 0, sizeof(effect));
                lapic_written(&apic, writes[i].offset, now, &effect);
            } else {
                put(writes[i].offset, writes[i].value);
            }
            assert_true(has(APIC_IRR, 0x40));
            assert_int_equal(effect.bits, LAPIC_EFFECT_TIMER | LAPIC_EFFECT_PRIORITY);
        }
}

/* Between one-shot and periodic the count goes on. */
static void test_change_of_mode(void **state)
{
    (void)state;
    start(ONE_SHOT, BY_ONE, 500);
    now = 1100;
    put(APIC_LVT_TIMER, PERIODIC);
    assert_int_equal(get(APIC_TIMER_CUR), 400);
    assert_true(fires_at(1500));
    assert_int_equal(lapic_timer_due_ns(&apic), 2000);
    put(APIC_LVT_TIMER, ONE_SHOT);
    assert_true(fires_at(2000));
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
}

static void test_disarmed_by_mode(void **state)
{
    static const uint32_t modes[] = {DEADLINE, RESERVED};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++)
        for (unsigned written = 0; written < 2; written++) {
            start(PERIODIC, BY_ONE, 500);
            if (written) {
                page[APIC_LVT_TIMER / 4] = modes[i];
                lapic_written(&apic, APIC_LVT_TIMER, now, &effect);
            } else {
                put(APIC_LVT_TIMER, modes[i]);
            }
            assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
            assert_int_equal(get(APIC_TIMER_CUR), 0);
            put(APIC_TIMER_INIT, 500); /* ignored */
            assert_int_equal(get(APIC_TIMER_INIT), 0);
            assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
            put(APIC_LVT_TIMER, PERIODIC);
            assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
            assert_false(fires_at(1u << 20));
        }
}

static void write_deadline(uint64_t tsc)
{
    memset(&effect, 0, sizeof(effect));
    lapic_write_tsc_deadline(&apic, tsc, &effect);
}

static void test_deadline(void **state)
{
    (void)state;
    fresh(X2APIC);
    write_deadline(5000); /* not in that mode */
    assert_int_equal(effect.bits, 0);
    assert_int_equal(lapic_read_tsc_deadline(&apic), 0);
    put(APIC_LVT_TIMER, DEADLINE);
    assert_false(poll_at(now, UINT64_MAX));
    write_deadline(5000);
    assert_int_equal(effect.bits, LAPIC_EFFECT_TIMER);
    assert_int_equal(lapic_read_tsc_deadline(&apic), 5000);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    assert_int_equal(get(APIC_TIMER_CUR), 0);
    assert_false(poll_at(now, 4999));
    assert_true(poll_at(now, 5000));
    assert_true(has(APIC_IRR, 0x40));
    assert_int_equal(lapic_read_tsc_deadline(&apic), 0);
    assert_false(poll_at(now, 6000));
    write_deadline(1); /* in the past */
    assert_true(poll_at(now, 6000));
    write_deadline(7000);
    write_deadline(0);
    assert_int_equal(effect.bits, LAPIC_EFFECT_TIMER);
    assert_false(poll_at(now, 8000));
    write_deadline(9000);
    put(APIC_LVT_TIMER, ONE_SHOT);
    put(APIC_LVT_TIMER, DEADLINE);
    assert_int_equal(lapic_read_tsc_deadline(&apic), 0);
    assert_false(poll_at(now, 10000));
}

static void test_masked_deadline(void **state)
{
    (void)state;
    fresh(X2APIC);
    put(APIC_LVT_TIMER, DEADLINE | MASKED);
    write_deadline(5000);
    assert_false(poll_at(now, 6000));
    assert_int_equal(lapic_read_tsc_deadline(&apic), 0);
    write_deadline(7000);
    put(APIC_LVT_TIMER, DEADLINE); /* a mask alone disarms nothing */
    assert_true(poll_at(now, 7000));
}

static void test_illegal_vector(void **state)
{
    (void)state;
    start(PERIODIC & ~0xffu, BY_ONE, 500);
    put(APIC_LVT_ERROR, 0x55);
    assert_false(poll_at(1500, 0));
    assert_int_equal(effect.bits, LAPIC_EFFECT_ERROR);
    assert_int_equal(effect.vector, 0x55);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_int_equal(lapic_timer_due_ns(&apic), 2000);
}

static void test_software_disable(void **state)
{
    (void)state;
    start(PERIODIC, BY_ONE, 500);
    put(APIC_SVR, 0xff);
    assert_true(effect.bits & LAPIC_EFFECT_TIMER);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    assert_int_equal(count_at(1600), 400);
    assert_false(fires_at(1600));
    put(APIC_SVR, 0x1ff);
    put(APIC_LVT_TIMER, PERIODIC);
    assert_true(fires_at(2000));
}

/* The hardware has stored an initial count of 0, and the timer is looked at before it is told. */
static void test_count_taken_away(void **state)
{
    (void)state;
    start(PERIODIC, BY_ONE, 500);
    page[APIC_TIMER_INIT / 4] = 0;
    assert_int_equal(count_at(1700), 0);
    assert_true(fires_at(1700));
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
}

static void test_end_of_time(void **state)
{
    (void)state;
    start(PERIODIC, 10, 0xffffffff);
    now = UINT64_MAX - 5;
    put(APIC_TIMER_INIT, 0xffffffff);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
}

static uint8_t saved[4096];

static void save_word(uint32_t offset, uint32_t value)
{
    memcpy(saved + offset, &value, sizeof(value));
}

static void restore(uint32_t lvt, uint32_t init, uint32_t count)
{
    fresh(XAPIC);
    now = 5000;
    lapic_get_page(&apic, now, saved);
    save_word(APIC_LVT_TIMER, lvt);
    save_word(APIC_TIMER_INIT, init);
    save_word(APIC_TIMER_CUR, count);
    save_word(APIC_TIMER_DIV, 1);
    assert_true(lapic_set_page(&apic, now, saved, &effect));
}

static void test_restored(void **state)
{
    (void)state;
    restore(ONE_SHOT, 500, 100);
    assert_int_equal(lapic_timer_due_ns(&apic), 5400);
    restore(ONE_SHOT, 500, 0); /* it had fired */
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    restore(PERIODIC, 500, 100);
    assert_true(fires_at(5400));
    assert_int_equal(lapic_timer_due_ns(&apic), 7400);
    restore(PERIODIC, 500, 0);
    assert_int_equal(lapic_timer_due_ns(&apic), 7000);
    restore(PERIODIC, 0, 0);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    restore(DEADLINE, 500, 100);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    assert_int_equal(get(APIC_TIMER_INIT), 0);
    write_deadline(6000);
    lapic_get_page(&apic, now, saved); /* the deadline is not in the page: it stays */
    assert_true(lapic_set_page(&apic, now, saved, &effect));
    assert_int_equal(lapic_read_tsc_deadline(&apic), 6000);
    save_word(APIC_LVT_TIMER, RESERVED);
    assert_true(lapic_set_page(&apic, now, saved, &effect));
    assert_int_equal(lapic_read_tsc_deadline(&apic), 0);
}

/* Due, but nobody polled before it was saved: the interrupt comes in the new place. */
static void test_saved_when_due(void **state)
{
    (void)state;
    start(ONE_SHOT, BY_ONE, 500);
    lapic_get_page(&apic, 1500, saved);
    fresh(XAPIC);
    assert_true(lapic_set_page(&apic, 9000, saved, &effect));
    assert_true(fires_at(9001));
    lapic_get_page(&apic, 9002, saved); /* it has fired */
    assert_true(lapic_set_page(&apic, 9002, saved, &effect));
    assert_false(fires_at(1u << 20));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_TEST(test_one_shot),
        UNIT_TEST(test_restart),
        UNIT_TEST(test_divisors),
        UNIT_TEST(test_divisor_changes_rate),
        UNIT_TEST(test_periodic),
        UNIT_TEST(test_periodic_catches_up),
        UNIT_TEST(test_masked_timer_runs_on),
        UNIT_TEST(test_owed_interrupts),
        UNIT_TEST(test_change_of_mode),
        UNIT_TEST(test_disarmed_by_mode),
        UNIT_TEST(test_deadline),
        UNIT_TEST(test_masked_deadline),
        UNIT_TEST(test_illegal_vector),
        UNIT_TEST(test_software_disable),
        UNIT_TEST(test_count_taken_away),
        UNIT_TEST(test_end_of_time),
        UNIT_TEST(test_restored),
        UNIT_TEST(test_saved_when_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
