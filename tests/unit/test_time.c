/* SPDX-License-Identifier: MIT */
/*
 * A partition's time: what shows it, that all of it stands still and goes on together, TSCs in step and not, the
 * reference TSC page as guests read it; and a random history of all that against a model.
 */
#include "stub_clock.h"
#include <stdio.h>
#include <stdlib.h>

typedef unsigned __int128 u128;

static uint64_t units(uint64_t ticks, uint64_t hz)
{
    return (uint64_t)((u128)ticks * 10000000 / hz);
}

static void start(uint32_t count)
{
    stub_start(STUB_HZ);
    for (uint32_t i = 0; i < count; i++)
        stub_create_vp(i);
}

static void enter(uint32_t i)
{
    assert_true(vp_claim(&vps[i]));
    if (vps[i].time_stale)
        time_enter(&vps[i]);
    vp_release(&vps[i]);
}

/* What RDTSC gives the guest that runs. */
static uint64_t rdtsc(uint32_t i)
{
    assert_int_equal(vps[i].tsc_zero_seen, partition.time.clock.tsc_zero);
    return machine_tsc + vcpus[i].tsc_offset;
}

/* As guests do it: false, the sequence says that it does not hold. */
static bool read_page(uint64_t tsc, uint64_t *reference)
{
    const uint64_t *page = partition.guest.tsc_page;
    uint32_t sequence = (uint32_t)page[0];

    assert_int_not_equal(sequence, UINT32_MAX);
    assert_int_equal(page[0] >> 32, 0);
    *reference = (uint64_t)((u128)tsc * page[1] >> 64) + page[2];
    return sequence;
}

static uint32_t sequence(void)
{
    return *(uint32_t *)partition.guest.tsc_page;
}

static void expect_page(uint32_t i)
{
    uint64_t reference;

    assert_true(read_page(time_guest_tsc(&vps[i]), &reference));
    assert_int_equal(reference, time_vp_reference(&vps[i]));
}

/* ------------------------------------------------------------------------------------ it runs */

/* Never more than a unit behind what it should be, whatever the rate and however long. */
static void the_scale_is_the_rates(void **state)
{
    static const uint64_t rates[] = {10000001, 999999999, 1999959000, 2000000000, 2893202000, 3000000000, 15999999999};

    (void)state;
    for (size_t n = 0; n < ARRAY_COUNT(rates); n++) {
        uint64_t begin = machine_tsc;

        stub_start(rates[n]);
        for (uint64_t ticks = 1; ticks < BIT64(62); ticks = ticks * 3 + 7) {
            machine_tsc = begin + ticks;
            assert_in_range(units(ticks, rates[n]) - time_reference(&partition), 0, 1);
        }
        machine_tsc = begin;
        time_end(&partition);
    }
}

static void it_begins_with_0(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(time_ns(&partition), 0);
    assert_int_equal(time_reference(&partition), 0);
    assert_int_equal(rdtsc(0), 0);
    pass_ns(12345);
    assert_int_equal(time_ns(&partition), 12345);
    assert_in_range(time_reference(&partition), 122, 123);
    assert_int_equal(rdtsc(0), 24690);
    assert_int_equal(time_guest_tsc(&vps[0]), 24690);
    expect_page(0);
}

static void without_the_feature_there_is_no_page(void **state)
{
    (void)state;
    partition.properties.synthetic_features &= ~HV_SYNTH_REFERENCE_TSC;
    start(2);
    assert_null(partition.guest.tsc_page);
    time_set_guest_tsc(&vps[0], 5);
    time_set_reference(&partition, 99);
    assert_int_equal(time_reference(&partition), 99);
}

static void it_may_not_begin(void **state)
{
    (void)state;
    facts.tsc_hz = STUB_HZ;
    fake_fail_after(1);
    assert_int_equal(time_start(&partition), HV_E_NO_MEMORY);
    facts.tsc_hz = 10000000;
    assert_int_equal(time_start(&partition), HV_E_UNSUPPORTED);
}

/* ------------------------------------------------------------------------------- it is stopped */

static void it_stands_still_and_goes_on(void **state)
{
    uint64_t reference, seen;

    (void)state;
    start(2);
    pass_units(1000);
    reference = time_reference(&partition);
    seen = sequence();
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    pass_units(50000);
    assert_int_equal(time_ns(&partition), 100000);
    assert_int_equal(time_reference(&partition), reference);
    assert_int_equal(time_guest_tsc(&vps[0]), 1000 * STUB_UNIT);
    assert_int_equal(time_guest_tsc(&vps[1]), 1000 * STUB_UNIT);
    expect_page(0);
    assert_int_equal(hv_partition_resume_time(&partition), HV_OK);
    assert_int_equal(time_ns(&partition), 100000);
    assert_int_equal(time_reference(&partition), reference);
    pass_units(7);
    assert_int_equal(time_ns(&partition), 100700);
    assert_int_equal(time_reference(&partition), reference + 7);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(time_guest_tsc(&vps[i]), 1007 * STUB_UNIT); /* before the VP has heard of it, and then */
        enter(i);
        assert_int_equal(rdtsc(i), 1007 * STUB_UNIT);
        expect_page(i);
        assert_true(vcpus[i].dirty & VCPU_TSC);
        assert_true(vps[i].todo & VP_TODO_TIMER);
    }
    assert_int_equal(sequence(), seen); /* the formula is the same */
}

static void a_run_resumes(void **state)
{
    (void)state;
    start(2);
    pass_units(10);
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    pass_units(1000);
    enter(1);
    pass_units(5);
    assert_int_equal(rdtsc(1), 15 * STUB_UNIT);
    assert_int_equal(time_ns(&partition), 1500);
    assert_int_equal(hv_partition_resume_time(&partition), HV_E_STATE);
    enter(0);
    assert_int_equal(rdtsc(0), 15 * STUB_UNIT);
    vcpus[0].dirty = vps[0].todo = 0;
    enter(0); /* nothing new */
    assert_int_equal(vcpus[0].dirty | vps[0].todo, 0);
}

/* Several times, before a VP hears of any. */
static void pauses_add_up(void **state)
{
    (void)state;
    start(1);
    for (unsigned i = 0; i < 5; i++) {
        pass_units(10);
        assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
        pass_units(100 * (i + 1));
        assert_int_equal(hv_partition_resume_time(&partition), HV_OK);
    }
    assert_int_equal(time_guest_tsc(&vps[0]), 50 * STUB_UNIT);
    enter(0);
    assert_int_equal(rdtsc(0), 50 * STUB_UNIT);
    assert_in_range(time_reference(&partition), 49, 50);
}

static void states_are_checked(void **state)
{
    (void)state;
    assert_int_equal(hv_partition_suspend_time(&partition), HV_E_STATE);
    assert_int_equal(hv_partition_resume_time(&partition), HV_E_STATE);
    start(2);
    assert_int_equal(hv_partition_resume_time(&partition), HV_E_STATE);
    assert_true(vp_claim(&vps[1]));
    assert_int_equal(hv_partition_suspend_time(&partition), HV_E_VP_BUSY);
    assert_int_equal(vps[0].shared.owner, 0);
    vp_release(&vps[1]);
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    assert_int_equal(hv_partition_resume_time(&partition), HV_OK);
    assert_int_equal(hv_partition_resume_time(&partition), HV_E_STATE);
}

static void vps_begin_in_step(void **state)
{
    (void)state;
    start(1);
    pass_units(10);
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    pass_units(100);
    stub_create_vp(1);
    assert_int_equal(time_guest_tsc(&vps[1]), 10 * STUB_UNIT);
    enter(0);
    pass_units(3);
    stub_create_vp(2);
    for (uint32_t i = 0; i < 3; i++) {
        enter(i);
        assert_int_equal(rdtsc(i), 13 * STUB_UNIT);
        expect_page(i);
    }
}

static void a_reset_begins_again_and_waits(void **state)
{
    (void)state;
    start(2);
    pass_units(1000);
    time_set_reference(&partition, 1000000);
    time_move_guest_tsc(&vps[0], 77);
    partition.guest.reference_tsc = 0x5001;
    time_reset(&partition);
    for (uint32_t i = 0; i < 2; i++)
        time_vp_reset(&vps[i]);
    pass_units(50);
    assert_int_equal(time_reference(&partition), 0);
    assert_int_equal(time_ns(&partition), 0);
    assert_int_equal(time_guest_tsc(&vps[0]), 0);
    assert_int_equal(partition.guest.reference_tsc, 0);
    enter(0);
    enter(1);
    pass_units(4);
    assert_int_equal(rdtsc(0), 4 * STUB_UNIT);
    assert_int_equal(rdtsc(1), 4 * STUB_UNIT);
    expect_page(0);
}

/* ---------------------------------------------------------------------------- TSCs that move */

static void tscs_apart_have_no_page(void **state)
{
    uint64_t reference, ignored;

    (void)state;
    start(3);
    pass_units(1000);
    reference = time_reference(&partition);
    time_move_guest_tsc(&vps[1], 1);
    assert_int_equal(rdtsc(1), 1000 * STUB_UNIT + 1);
    assert_false(read_page(0, &ignored));
    assert_int_equal(time_vp_reference(&vps[1]), reference);
    assert_int_equal(time_vp_reference(&vps[2]), reference);
    pass_units(10);
    assert_int_equal(time_vp_reference(&vps[1]), reference + 10);
    time_move_guest_tsc(&vps[1], 0 - 1ull);
    for (uint32_t i = 0; i < 3; i++)
        expect_page(i);
    assert_int_equal(time_reference(&partition), reference + 10);
    time_move_guest_tsc(&vps[1], 1);
    stub_delete_vp(1); /* what is not there is not apart */
    expect_page(0);
}

/* As a client restores a machine: all TSCs while the time stands still. */
static void tscs_moved_together_have_one(void **state)
{
    static const uint64_t places[] = {5, 1ull << 40, 1000, 12345678901234567, 0};
    uint64_t reference;

    (void)state;
    start(3);
    for (size_t n = 0; n < ARRAY_COUNT(places); n++) {
        pass_units(1000);
        reference = time_reference(&partition);
        assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
        for (uint32_t i = 0; i < 3; i++) {
            time_set_guest_tsc(&vps[i], places[n]);
            pass_units(3);
            assert_int_equal(time_guest_tsc(&vps[i]), places[n]);
        }
        for (uint32_t i = 0; i < 3; i++) {
            enter(i);
            assert_int_equal(rdtsc(i), places[n]);
            expect_page(i);
            assert_int_equal(time_vp_reference(&vps[i]), reference);
        }
    }
}

/* The formula breaks where a TSC begins with 0 again. */
static void a_tsc_about_to_wrap_has_no_page(void **state)
{
    uint64_t reference, ignored;

    (void)state;
    start(1);
    pass_units(1000);
    reference = time_reference(&partition);
    time_set_guest_tsc(&vps[0], 0 - 10ull);
    assert_false(read_page(0, &ignored));
    pass_units(1);
    assert_int_equal(time_vp_reference(&vps[0]), reference + 1);
    time_set_guest_tsc(&vps[0], 0);
    expect_page(0);
    assert_int_equal(time_vp_reference(&vps[0]), reference + 1);
}

static void offsets_are_those_of_the_hardware(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(time_tsc_offset(&vps[0]), vcpus[0].tsc_offset);
    assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
    pass_units(10);
    assert_int_equal(hv_partition_resume_time(&partition), HV_OK);
    assert_int_equal(machine_tsc + time_tsc_offset(&vps[0]), time_guest_tsc(&vps[0]));
    enter(0);
    assert_int_equal(time_tsc_offset(&vps[0]), vcpus[0].tsc_offset);
}

/* -------------------------------------------------------------------------------- registers */

static void clients_set_the_reference_time(void **state)
{
    uint64_t first;

    (void)state;
    time_set_reference(&partition, 500);
    assert_int_equal(time_reference(&partition), 500); /* it begins with that */
    start(1);
    first = sequence();
    assert_int_equal(time_reference(&partition), 500);
    assert_int_equal(time_elapsed(&partition), 0);
    pass_units(10);
    time_set_reference(&partition, 1ull << 50);
    assert_int_equal(time_reference(&partition), 1ull << 50);
    assert_int_not_equal(sequence(), first);
    expect_page(0);
    pass_units(10);
    assert_int_equal(time_reference(&partition), (1ull << 50) + 10);
    assert_in_range(time_elapsed(&partition), 19, 20);
    time_set_reference(&partition, 3); /* backwards, too */
    assert_int_equal(time_reference(&partition), 3);
    expect_page(0);
    assert_int_equal(rdtsc(0), 20 * STUB_UNIT);
}

static bool write_page(uint64_t value)
{
    return time_write_tsc_page(&vps[0], MSR_HV_REFERENCE_TSC, SYNTHETIC_GUEST, value);
}

static void the_page_is_placed(void **state)
{
    uint64_t value;

    (void)state;
    start(1);
    assert_true(write_page(0x7ffeull | HV_PAGE_ENABLE));
    assert_true(vps[0].overlays_stale);
    vps[0].overlays_stale = false;
    assert_true(time_read_tsc_page(&vps[0], MSR_HV_REFERENCE_TSC, SYNTHETIC_GUEST, &value));
    assert_int_equal(value, 0x7fff);
    assert_false(write_page(1ull << STUB_BIGGEST | HV_PAGE_ENABLE));
    assert_int_equal(partition.guest.reference_tsc, 0x7fff);
    assert_false(vps[0].overlays_stale);
    assert_true(write_page(((1ull << STUB_BIGGEST) - 4096) | HV_PAGE_ENABLE));
    assert_true(write_page(0));
}

static bool write_sequence(uint64_t value)
{
    return time_write_tsc_sequence(&vps[0], SYNTHETIC_REFERENCE_TSC_SEQUENCE, SYNTHETIC_CLIENT, value);
}

static uint64_t read_sequence(void)
{
    uint64_t value;

    assert_true(time_read_tsc_sequence(&vps[0], SYNTHETIC_REFERENCE_TSC_SEQUENCE, SYNTHETIC_CLIENT, &value));
    return value;
}

/* 0 and all ones say that the page does not hold. */
static void sequence_numbers_go_round(void **state)
{
    (void)state;
    start(2);
    assert_int_equal(read_sequence(), sequence());
    assert_false(write_sequence(UINT32_MAX));
    assert_false(write_sequence(1ull << 32));
    assert_true(write_sequence(UINT32_MAX - 1));
    assert_int_equal(read_sequence(), UINT32_MAX - 1);
    assert_int_equal(sequence(), UINT32_MAX - 1);
    time_set_reference(&partition, 1);
    assert_int_equal(sequence(), 1);
    assert_true(write_sequence(0));
    assert_int_equal(sequence(), 1);
    time_move_guest_tsc(&vps[0], 1);
    assert_int_equal(read_sequence(), 0);
    assert_true(write_sequence(9)); /* for later */
    assert_int_equal(sequence(), 0);
    time_move_guest_tsc(&vps[1], 1);
    assert_int_equal(read_sequence(), sequence());
    assert_int_not_equal(sequence(), 0);
}

/* -------------------------------------------------------------------------- a random history */

static struct {
    uint64_t random;
    uint64_t ns, base;      /* of the partition */
    uint64_t tsc[STUB_VPS]; /* what guests would read */
    bool runs;
    unsigned rounded; /* how often the formula began anew */
} model;

static uint64_t below(uint64_t n)
{
    model.random = model.random * 6364136223846793005ull + 1442695040888963407ull;
    return (model.random >> 33) % n;
}

static void pass_some(void)
{
    uint64_t ns = below(4) ? below(100000) : below(1ull << 31);

    pass_ns(ns);
    if (!model.runs)
        return;
    model.ns += ns;
    for (uint32_t i = 0; i < STUB_VPS; i++)
        model.tsc[i] += 2 * ns;
}

static void move_some(void)
{
    uint32_t i = (uint32_t)below(STUB_VPS);
    uint64_t by = below(1000000);

    if (below(2)) {
        time_move_guest_tsc(&vps[i], by);
        model.tsc[i] += by;
    } else {
        for (i = 0; i < STUB_VPS; i++)
            time_set_guest_tsc(&vps[i], model.tsc[i] = by * 1000);
    }
    model.rounded++;
}

static void turn_some(void)
{
    uint32_t i = (uint32_t)below(STUB_VPS);

    if (below(2)) {
        enter(i);
        model.runs = true;
        assert_int_equal(rdtsc(i), model.tsc[i]);
    } else if (below(2)) {
        assert_int_equal(hv_partition_suspend_time(&partition), HV_OK);
        model.runs = false;
    } else {
        assert_int_equal(hv_partition_resume_time(&partition), model.runs ? HV_E_STATE : HV_OK);
        model.runs = true;
    }
}

static void set_some(void)
{
    uint64_t now = time_reference(&partition), to = below(1ull << 31);

    time_set_reference(&partition, to);
    model.base += to - now;
}

static void compare(void)
{
    bool in_step = model.tsc[0] == model.tsc[1] && model.tsc[0] == model.tsc[2];
    uint64_t wanted = model.base + model.ns / 100, reference;

    assert_int_equal(time_ns(&partition), model.ns);
    assert_in_range(time_reference(&partition) - wanted + model.rounded + 2, 0, 2 * model.rounded + 4);
    for (uint32_t i = 0; i < STUB_VPS; i++) {
        assert_int_equal(time_guest_tsc(&vps[i]), model.tsc[i]);
        assert_int_equal(time_vp_reference(&vps[i]), time_reference(&partition));
        assert_int_equal(read_page(model.tsc[i], &reference), in_step);
        if (in_step)
            assert_int_equal(reference, time_vp_reference(&vps[i]));
    }
}

static void a_history_as_the_model_has_it(void **state)
{
    const char *seed = getenv("SEED");
    uint64_t last = 0, base = 0;

    (void)state;
    memset(&model, 0, sizeof(model));
    model.random = seed ? strtoull(seed, NULL, 0) : 1;
    model.runs = true;
    start(STUB_VPS);
    for (unsigned n = 0; n < 20000; n++) {
        switch (below(8)) {
        case 0:
            move_some();
            break;
        case 1:
            set_some();
            break;
        case 2:
        case 3:
            turn_some();
            break;
        default:
            pass_some();
        }
        compare();
        assert_true(time_elapsed(&partition) >= last || base != model.base);
        last = time_elapsed(&partition);
        base = model.base;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOCK_TEST(the_scale_is_the_rates),
        CLOCK_TEST(it_begins_with_0),
        CLOCK_TEST(without_the_feature_there_is_no_page),
        CLOCK_TEST(it_may_not_begin),
        CLOCK_TEST(it_stands_still_and_goes_on),
        CLOCK_TEST(a_run_resumes),
        CLOCK_TEST(pauses_add_up),
        CLOCK_TEST(states_are_checked),
        CLOCK_TEST(vps_begin_in_step),
        CLOCK_TEST(a_reset_begins_again_and_waits),
        CLOCK_TEST(tscs_apart_have_no_page),
        CLOCK_TEST(tscs_moved_together_have_one),
        CLOCK_TEST(a_tsc_about_to_wrap_has_no_page),
        CLOCK_TEST(offsets_are_those_of_the_hardware),
        CLOCK_TEST(clients_set_the_reference_time),
        CLOCK_TEST(the_page_is_placed),
        CLOCK_TEST(sequence_numbers_go_round),
        CLOCK_TEST(a_history_as_the_model_has_it),
    };

    return cmocka_run_group_tests_name("tests", tests, NULL, NULL);
}
