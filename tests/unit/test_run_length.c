/* SPDX-License-Identifier: MIT */
/*
 * Runs on a CPU that does not say how long the instruction is that exits (SVM without next-RIP save): it is found in
 * the guest's code before anything is done about it, or tried again.
 */
#include "run_vp.h"
#include <fake_svm.h>

#include "arch/x86_64/svm/svm.h"

#define UNMAPPED       (RAM_SIZE + 0x3000)
#define EXTENDED_EXITS 0x0001

static int setup(void **state)
{
    struct hv_platform platform;

    if (machine_setup(state))
        return -1;
    fake_svm_make(FAKE_SVM_FEATURES & ~(CPUID_SVM_EDX_NRIPS | CPUID_SVM_EDX_DECODE | CPUID_SVM_EDX_AVIC));
    /* the library asks the CPU once, but for the second of these */
    return hv_platform()->present && svm_probe(&platform) && run_vp_create(HV_LOCAL_APIC_NONE, 1) ? 0 : -1;
}

#define LENGTH_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, run_vp_teardown)
#define BY_CPUID        EXIT_INTERCEPT_OF(INTERCEPT_CPUID)
#define BY_HLT          EXIT_INTERCEPT_OF(INTERCEPT_HLT)
#define BY_INTERRUPT    EXIT_INTERCEPT_OF(INTERCEPT_INTR)

static struct hv_exit_context run_to(enum hv_exit_reason reason)
{
    struct hv_exit_context exit = run();

    assert_int_equal(fake_svm_guest_left(), 0);
    assert_reason(&exit, reason);
    return exit;
}

static void put_code(const char *code, size_t size)
{
    memset(ram + CODE, 0x90, HV_PAGE_SIZE);
    memcpy(ram + CODE, code, size);
}

/* A prefix, CPUID, HLT. */
static void code_changes_to_cpuid(uint64_t gpr[16])
{
    (void)gpr;
    put_code("\x66\x0f\xa2\xf4", 4);
}

static void cancel_from_elsewhere(uint64_t gpr[16])
{
    (void)gpr;
    hv_vp_cancel(vp);
}

static void yield_and_move(uint64_t gpr[16])
{
    (void)gpr;
    fake_set_yield(true);
    fake_migrate_to(1);
}

static void stay(uint64_t gpr[16])
{
    code_changes_to_cpuid(gpr);
    assert_int_equal(fake_cpu(), 1);
}

static void lengths_are_found(void **state)
{
    struct hv_vp_counters counters;
    struct hv_exit_context exit;

    (void)state;
    code_changes_to_cpuid(NULL);
    FAKE_SVM_GUEST({.code = BY_CPUID}, {.code = BY_INTERRUPT}, {.code = BY_HLT});
    run_to(HV_EXIT_HALT);
    assert_int_equal(get(HV_REG_RIP), CODE + 4);
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.exits[HV_EXIT_CPUID], 1);
    set(HV_REG_RIP, CODE);
    set_property(EXTENDED_EXITS, HV_EXTENDED_CPUID);
    FAKE_SVM_GUEST({.code = BY_CPUID});
    exit = run_to(HV_EXIT_CPUID);
    assert_int_equal(exit.vp.instruction_length, 3); /* the client moves RIP by it */
    assert_int_equal(get(HV_REG_RIP), CODE);
}

/* The guest runs on at the same place, and may be cancelled and preempted there. */
static void another_instruction_is_tried_again(void **state)
{
    (void)state;
    put_code("", 0);
    FAKE_SVM_GUEST({.code = BY_CPUID}, {.code = BY_CPUID}, {.run = code_changes_to_cpuid, .code = BY_CPUID},
                   {.code = BY_HLT});
    run_to(HV_EXIT_HALT);
    assert_int_equal(get(HV_REG_RIP), CODE + 4);
    set(HV_REG_RIP, CODE);
    put_code("", 0);
    FAKE_SVM_GUEST({.code = BY_CPUID}, {.run = cancel_from_elsewhere, .code = BY_CPUID});
    run_to(HV_EXIT_CANCELED);
    assert_int_equal(get(HV_REG_RIP), CODE);
    FAKE_SVM_GUEST({.run = yield_and_move, .code = BY_CPUID}, {.run = stay, .code = BY_CPUID}, {.code = BY_HLT});
    run_to(HV_EXIT_HALT);
    assert_int_equal(get(HV_REG_RIP), CODE + 4);
}

static void unreadable_code_is_the_clients(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_RIP, UNMAPPED);
    vp->length.failed_rip = UNMAPPED;
    vp->length.failures = 997; /* have been already */
    FAKE_SVM_GUEST({.code = BY_CPUID}, {.code = BY_CPUID}, {.code = BY_CPUID});
    exit = run_to(HV_EXIT_UNSUPPORTED_FEATURE);
    assert_int_equal(exit.unsupported.code, 1);
    assert_int_equal(exit.vp.instruction_length, 0);
    assert_int_equal(exit.vp.rip, UNMAPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LENGTH_TEST(lengths_are_found),
        LENGTH_TEST(another_instruction_is_tried_again),
        LENGTH_TEST(unreadable_code_is_the_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
