/* SPDX-License-Identifier: MIT */
/* The guest's TSC on CPUs whose TSCs differ (arch/x86_64/tsc.c), and VPs whose TSCs begin in step. */
#include "vmx_vcpu.h"
#include <hv/hv.h>

#define LOOK 100u /* by which the fake TSC moves on with each look at it */

/* Moved by calls, which look a few times. */
#define SOON (100 * LOOK)

/* ------------------------------------------------------------------------------- one vcpu */

/* With a CPU 1 that is ahead of CPU 0 by this much. */
static void restart(int64_t ahead)
{
    vcpu_destroy(v);
    npt_destroy(&npt);
    backend_off();
    fake_skew_tsc(1, ahead);
    assert_int_equal(start(), 0);
}

/* What RDTSC would give the guest: the CPU's, and what the hardware adds. */
static uint64_t seen_by_guest(void)
{
    uint64_t offset;

    run_cpuid();
    pin();
    offset = vmx_read(VMCS_TSC_OFFSET);
    unpin();
    return cpu_tsc() + offset;
}

static uint64_t guest_tsc(void)
{
    uint64_t tsc;

    pin();
    tsc = vcpu_guest_tsc(v);
    unpin();
    return tsc;
}

static void set_guest_tsc(uint64_t tsc)
{
    pin();
    v->tsc_offset = tsc - tsc_now();
    vcpu_changed(v, VCPU_TSC);
    unpin();
}

static void assert_soon_after(uint64_t tsc, uint64_t before)
{
    assert_in_range(tsc - before, 0, SOON);
}

static void equal_tscs_stay_untouched(void **state)
{
    uint64_t offset;

    (void)state;
    set_guest_tsc(5000);
    offset = v->tsc_offset;
    for (unsigned i = 0; i < 6; i++) {
        fake_set_cpu(i % 2);
        run_cpuid();
        pin();
        assert_int_equal(vmx_read(VMCS_TSC_OFFSET), offset);
        unpin();
    }
    assert_int_equal(backend_cpu_of(1)->tsc_difference, 0);
    assert_false(fake_log_contains("TSC differs"));
}

static void moves_do_not_show(void **state)
{
    static const int64_t aheads[] = {1000, -1000, 3000000000, -900000, INT64_MIN / 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(aheads); i++) {
        uint64_t before;

        restart(aheads[i]);
        assert_in_range(backend_cpu_of(1)->tsc_difference - (uint64_t)aheads[i] + LOOK, 0, 2 * LOOK);
        set_guest_tsc(77);
        before = seen_by_guest();
        assert_soon_after(before, 77);
        for (unsigned move = 0; move < 10; move++) {
            uint64_t now;

            fake_set_cpu(!fake_cpu());
            now = seen_by_guest();
            assert_soon_after(now, before);
            before = guest_tsc();
            assert_soon_after(before, now);
        }
        fake_set_cpu(0);
    }
    assert_true(fake_log_contains("CPU 1: its TSC differs"));
}

/* Whichever CPU turns virtualization on: its TSC is the machine's. */
static void any_cpu_measures(void **state)
{
    uint64_t before;

    (void)state;
    fake_set_cpu(1);
    restart(1000000);
    assert_int_equal(backend_cpu_of(1)->tsc_difference, 0);
    assert_in_range(backend_cpu_of(0)->tsc_difference + 1000000 + LOOK, 0, 2 * LOOK);
    set_guest_tsc(0);
    before = seen_by_guest();
    fake_set_cpu(0);
    assert_soon_after(seen_by_guest(), before);
}

static void what_calls_can_not_tell_is_none(void **state)
{
    (void)state;
    restart(LOOK / 2);
    assert_int_equal(backend_cpu_of(1)->tsc_difference, 0);
    restart(-(int64_t)LOOK / 2);
    assert_int_equal(backend_cpu_of(1)->tsc_difference, 0);
}

/* A TSC that falls behind after it was measured: firmware has written it, or it stopped for a while. */
static void a_guests_tsc_never_runs_backwards(void **state)
{
    uint64_t before, now;

    (void)state;
    set_guest_tsc(1ull << 63); /* whatever its value */
    before = seen_by_guest();
    fake_skew_tsc(1, -500000);
    fake_set_cpu(1);
    now = seen_by_guest();
    assert_soon_after(now, before);
    fake_set_cpu(0);
    assert_in_range(seen_by_guest() - now, 500000, 500000 + SOON); /* and once given, time is not taken back */
}

static void deadlines_move_along(void **state)
{
    (void)state;
    restart(4000000);
    run_cpuid();
    v->deadline_tsc = 9000000;
    fake_set_cpu(1);
    pin();
    unpin();
    assert_in_range(v->deadline_tsc + LOOK, 13000000, 13000000 + 2 * LOOK);
    fake_set_cpu(0);
    pin();
    unpin();
    assert_int_equal(v->deadline_tsc, 9000000);
    v->deadline_tsc = 0; /* none */
    fake_set_cpu(1);
    pin();
    unpin();
    assert_int_equal(v->deadline_tsc, 0);
}

/* ------------------------------------------------------------------------- VPs of a partition */

#define VPS 3u

static struct hv_partition *partition;

static void vp_word(uint32_t index, uint32_t name, uint64_t *value, bool set)
{
    union hv_reg_value word = {.u64 = *value};
    struct hv_vp *vp = hv_vp_ref(partition, index);

    assert_non_null(vp);
    if (set)
        assert_int_equal(hv_vp_set_registers(vp, &name, 1, &word), HV_OK);
    else
        assert_int_equal(hv_vp_get_registers(vp, &name, 1, &word), HV_OK);
    hv_vp_unref(vp);
    *value = word.u64;
}

static uint64_t vp_tsc(uint32_t index)
{
    uint64_t tsc = 0;

    vp_word(index, HV_REG_TSC, &tsc, false);
    return tsc;
}

static void make_partition(void)
{
    const uint32_t count = VPS;

    assert_int_equal(hv_partition_create(&partition), HV_OK);
    assert_int_equal(hv_partition_set_property(partition, 0x1fff, &count, sizeof(count)), HV_OK);
    assert_int_equal(hv_partition_setup(partition), HV_OK);
}

static void assert_in_step(uint64_t first)
{
    for (uint32_t i = 0; i < VPS; i++) {
        uint64_t tsc = vp_tsc(i);

        assert_soon_after(tsc, first);
        first = tsc;
    }
}

/* However long it takes to make them, and wherever. */
static void vps_begin_in_step(void **state)
{
    (void)state;
    restart(2000000);
    fake_set_tsc(10000000);
    make_partition();
    for (uint32_t i = 0; i < VPS; i++) {
        fake_set_cpu(i % 2);
        assert_int_equal(hv_vp_create(partition, i), HV_OK);
        fake_set_tsc(20000000 * (i + 1));
    }
    fake_set_cpu(0);
    assert_in_step(60000000 - 10000000);
    fake_set_tsc(100000000);
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    assert_in_step(0);
    fake_set_tsc(150000000);
    assert_in_step(0); /* until a VP runs, or the client says so */
    assert_int_equal(hv_partition_resume_time(partition), HV_OK);
    fake_set_tsc(250000000);
    assert_int_equal(hv_vp_delete(partition, 1), HV_OK);
    assert_int_equal(hv_vp_create(partition, 1), HV_OK);
    assert_in_step(100000000);
    assert_int_equal(hv_partition_delete(partition), HV_OK);
}

static void clients_set_each_vps_tsc(void **state)
{
    uint64_t value = 12345;

    (void)state;
    restart(2000000);
    make_partition();
    for (uint32_t i = 0; i < VPS; i++)
        assert_int_equal(hv_vp_create(partition, i), HV_OK);
    vp_word(1, HV_REG_TSC, &value, true);
    assert_soon_after(vp_tsc(1), 12345);
    fake_set_cpu(1);
    assert_soon_after(vp_tsc(1), 12345);
    value = 1ull << 40;
    vp_word(1, HV_REG_TSC, &value, true);
    fake_set_cpu(0);
    assert_soon_after(vp_tsc(1), 1ull << 40);
    assert_in_range(vp_tsc(0), 0, SOON);
    assert_int_equal(hv_partition_delete(partition), HV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VMX_TEST(equal_tscs_stay_untouched), VMX_TEST(moves_do_not_show),
        VMX_TEST(any_cpu_measures),          VMX_TEST(what_calls_can_not_tell_is_none),
        VMX_TEST(deadlines_move_along),      VMX_TEST(a_guests_tsc_never_runs_backwards),
        VMX_TEST(vps_begin_in_step),         VMX_TEST(clients_set_each_vps_tsc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
