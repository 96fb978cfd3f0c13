/* SPDX-License-Identifier: MIT */
/* Registers that stay in the CPU between runs, on a host that takes them back by itself. */
#include "vmx_vcpu.h"

static struct fake_x86 host[2]; /* as it left its CPUs */

static int setup_lasting(void **state)
{
    if (machine_setup(state))
        return -1;
    fake_set_cpus(2);
    fake_set_takes_back(true);
    for (uint32_t cpu = 0; cpu < 2; cpu++)
        fake_x86_make_unusual(cpu);
    if (start())
        return -1;
    for (uint32_t cpu = 0; cpu < 2; cpu++)
        host[cpu] = *fake_x86(cpu);
    return 0;
}

#define LASTING_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_lasting, teardown)

/* As the host keeps its promise. */
static void give_back(void)
{
    uint64_t flags = hv_host_irq_save();

    hv_cpu_give_back();
    hv_host_irq_restore(flags);
}

static void the_host_has(uint32_t cpu)
{
    const char *difference = fake_x86_difference(&host[cpu], fake_x86(cpu));

    if (difference)
        fail_msg("CPU %u: not the host's: %s", cpu, difference);
}

#define XMM0(x) ((x)->fxsave[160])

static void set_guest_state(struct vcpu *of, uint8_t value)
{
    static const uint64_t in_use = XCR0_X87 | XCR0_SSE;
    char *image = of->xsave;

    of->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    memset(image + 160, value, 256);
    memcpy(image + 512, &in_use, 8);
    of->msr[VCPU_MSR_LSTAR] = 0x1000u * value;
    of->msr[VCPU_MSR_KERNEL_GS_BASE] = 0x2000u * value;
    of->dr[1] = value;
    of->dr_wanted = true;
}

static void guest_changes_all(uint64_t gpr[16])
{
    struct fake_x86 *x = fake_x86_here();

    (void)gpr;
    memset(x->fxsave + 160, x->fxsave[160] + 1, 256);
    *fake_msr(fake_cpu(), MSR_IA32_KERNEL_GS_BASE) += 0x10;
    x->dr[1] += 1;
    x->dr6 |= 1;
}

static void run_changing(struct vcpu *which)
{
    struct vcpu *kept = v;

    v = which;
    FAKE_GUEST({.run = guest_changes_all, .reason = EXIT_REASON_CPUID});
    run_once();
    v = kept;
}

/* `times` runs of the guest have changed what set_guest_state gave it, and the library knows. */
static void the_vcpu_has(const struct vcpu *of, uint8_t value, uint8_t times)
{
    assert_false(of->loaded);
    assert_int_equal(((uint8_t *)of->xsave)[160], value + times);
    assert_int_equal(of->msr[VCPU_MSR_LSTAR], 0x1000u * value);
    assert_int_equal(of->msr[VCPU_MSR_KERNEL_GS_BASE], 0x2000u * value + 0x10u * times);
    assert_int_equal(of->dr[1], value + times);
    assert_int_equal(of->dr6 & 1, 1);
}

static void the_next_run_switches_nothing(void **state)
{
    (void)state;
    set_guest_state(v, 0x40);
    run_changing(v);
    assert_non_null(fake_x86_difference(&host[0], fake_x86(0)));
    assert_int_equal(XMM0(fake_x86(0)), 0x41);
    fake_x86_counts = (struct fake_x86_counts){0};
    run_changing(v);
    assert_int_equal(fake_x86_counts.msr_reads + fake_x86_counts.msr_writes + fake_x86_counts.xsaves +
                         fake_x86_counts.xrstors + fake_x86_counts.xcr0_writes + fake_x86_counts.dr_writes,
                     0);
    assert_int_equal(XMM0(fake_x86(0)), 0x42);
    give_back();
    the_host_has(0);
    the_vcpu_has(v, 0x40, 2);
    run_changing(v);
    give_back();
    give_back(); /* nothing is left */
    the_host_has(0);
    the_vcpu_has(v, 0x40, 3);
}

static void the_next_vcpu_of_a_cpu_takes_its_place(void **state)
{
    struct vcpu *other = vcpu_create(&npt, &generation);

    (void)state;
    set_guest_state(v, 0x40);
    set_guest_state(other, 0x80);
    run_changing(v);
    run_changing(other);
    the_vcpu_has(v, 0x40, 1);
    assert_int_equal(XMM0(fake_x86(0)), 0x81);
    run_changing(v);
    the_vcpu_has(other, 0x80, 1);
    give_back();
    the_host_has(0);
    the_vcpu_has(v, 0x40, 2);
    vcpu_destroy(other);
}

/* Other CPUs run other vcpus, and each has one of its own. */
static void a_vcpu_moves_with_all_it_has(void **state)
{
    (void)state;
    set_guest_state(v, 0x40);
    run_changing(v);
    fake_set_cpu(1);
    run_changing(v);
    the_host_has(0);
    assert_int_equal(XMM0(fake_x86(1)), 0x42);
    fake_set_cpu(0);
    give_back(); /* of this CPU, which has nothing */
    assert_true(v->loaded);
    vcpu_take_off(v);
    the_host_has(1);
    the_vcpu_has(v, 0x40, 2);
}

/* Registers that no CPU keeps are read and written from another CPU; then nothing of it is lost. */
static void a_vcpu_is_looked_at_from_elsewhere(void **state)
{
    (void)state;
    set_guest_state(v, 0x40);
    run_changing(v);
    fake_set_cpu(1);
    pin();
    vcpu_need(v, VCPU_SEGS);
    unpin();
    the_host_has(0);
    the_vcpu_has(v, 0x40, 1);
    fake_set_cpu(0);
}

static void reset_and_init_reach_what_is_in_the_cpu(void **state)
{
    (void)state;
    set_guest_state(v, 0x40);
    run_changing(v);
    vcpu_reset(v);
    the_host_has(0);
    assert_int_equal(((uint8_t *)v->xsave)[160], 0);
    assert_int_equal(v->dr[1], 0);
    set_guest_state(v, 0x40);
    run_changing(v);
    hv_host_preempt_disable();
    vcpu_acquire(v);
    vcpu_init(v);
    hv_host_preempt_enable();
    the_host_has(0);
    assert_int_equal(((uint8_t *)v->xsave)[160], 0x41);
    assert_int_equal(v->dr[1], 0);
    assert_false(v->dr_wanted);
}

static void deletion_leaves_nothing_behind(void **state)
{
    struct vcpu *other = vcpu_create(&npt, &generation);

    (void)state;
    set_guest_state(other, 0x80);
    run_changing(other);
    fake_set_cpu(1);
    vcpu_destroy(other);
    fake_set_cpu(0);
    the_host_has(0);
    give_back();
}

static int setup_nothing(void **state)
{
    return machine_setup(state);
}

/* Hosts call it from their schedulers, whatever the library is doing. */
static void without_virtualization_there_is_nothing(void **state)
{
    (void)state;
    give_back();
    fake_set_takes_back(true);
    assert_int_equal(backend_on(), HV_OK);
    give_back();
    backend_off();
    give_back();
    fake_set_takes_back(false);
    assert_int_equal(backend_on(), HV_OK);
    give_back();
    backend_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LASTING_TEST(the_next_run_switches_nothing),
        LASTING_TEST(the_next_vcpu_of_a_cpu_takes_its_place),
        LASTING_TEST(a_vcpu_moves_with_all_it_has),
        LASTING_TEST(a_vcpu_is_looked_at_from_elsewhere),
        LASTING_TEST(reset_and_init_reach_what_is_in_the_cpu),
        LASTING_TEST(deletion_leaves_nothing_behind),
        cmocka_unit_test_setup_teardown(without_virtualization_there_is_nothing, setup_nothing, machine_teardown),
    };

    return cmocka_run_group_tests_name("resident", tests, NULL, NULL);
}
