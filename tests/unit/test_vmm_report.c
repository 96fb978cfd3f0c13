/* SPDX-License-Identifier: MIT */
/* vmm/report.c: the table of exits at the end, of counters that the test makes up. */
#include "fake_system.h"
#include "unit.h"
#include <string.h>
#include <vmm/report.h>
#include <whp/WinHvDiagnostics.h>

#define PARTITION ((WHV_PARTITION_HANDLE)(uintptr_t)1)
#define REASONS   5u

static WHVX_EXIT_COUNTER counters[2][REASONS];
static UINT32 failing; /* index of the processor that has no counters */
static struct options options;
static struct guest guest;

HRESULT WHvxGetExitCounters(WHV_PARTITION_HANDLE partition, UINT32 index, WHVX_EXIT_COUNTER *to, UINT32 count,
                            UINT32 *written)
{
    assert_ptr_equal(partition, PARTITION);
    assert_true(index < sizeof(counters) / sizeof(counters[0]));
    assert_int_equal(count, WHVX_EXIT_COUNTERS_MAX);
    if (index == failing)
        return WHV_E_VP_DOES_NOT_EXIST;
    memcpy(to, counters[index], sizeof(counters[index]));
    *written = REASONS;
    return S_OK;
}

bool guest_check(const struct guest *g, HRESULT hr, const char *call)
{
    assert_ptr_equal(g, &guest);
    if (FAILED(hr))
        system_print("%s failed\n", call);
    return SUCCEEDED(hr);
}

enum machine_end guest_outcome(struct guest *g)
{
    return (enum machine_end)g->ended;
}

static uint64_t time_ns(void *context)
{
    (void)context;
    return 0;
}

static const struct machine_services services = {.time_ns = time_ns};

static void set(unsigned reason, const char *name, UINT64 exits, UINT64 returns, UINT64 second_exits)
{
    counters[0][reason] = (WHVX_EXIT_COUNTER){name, exits, returns};
    counters[1][reason] = (WHVX_EXIT_COUNTER){name, second_exits, 0};
}

static int setup(void **state)
{
    int failed = unit_setup(state);

    fake_system_reset();
    memset(&guest, 0, sizeof(guest));
    guest.partition = PARTITION;
    guest.options = &options;
    guest.processor_count = 2;
    guest.ended = MACHINE_POWER_OFF;
    guest.end_ns = 1234567890;
    options.guests = 1;
    terminal_init(&guest.terminal, &services, 0);
    failing = ~0u;
    memset(counters, 0, sizeof(counters));
    return failed;
}

/* Sums, the most frequent first, nothing of what did not happen, and what came back without an exit. */
static void table(void **state)
{
    (void)state;
    set(0, "None", 0, 0, 0);
    set(1, "Few", 20, 20, 1);
    set(2, "Canceled", 0, 1, 0);
    set(3, "(many)", 400, 0, 500);
    set(4, "Some", 70, 3, 9);
    report_end(&guest);
    assert_string_equal(fake_system.printed, "vmm: guest power-off after 1.234 s\n"
                                             "vmm: exit reason                   count    share to the VMM\n"
                                             "vmm: (many)                          900   90.0 %          0\n"
                                             "vmm: Some                             79    7.9 %          3\n"
                                             "vmm: Few                              21    2.1 %         20\n"
                                             "vmm: Canceled                          0    0.0 %          1\n"
                                             "vmm: all                            1000  100.0 %         24\n");
}

static void never_run(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASONS; i++)
        set(i, "None", 0, 0, 0);
    report_end(&guest);
    assert_string_equal(fake_system.printed, "vmm: guest power-off after 1.234 s\n"
                                             "vmm: exit reason                   count    share to the VMM\n");
}

static void no_counters(void **state)
{
    (void)state;
    failing = 1;
    report_end(&guest);
    assert_string_equal(fake_system.printed, "vmm: guest power-off after 1.234 s\nWHvxGetExitCounters failed\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(table, setup, unit_teardown),
        cmocka_unit_test_setup_teardown(never_run, setup, unit_teardown),
        cmocka_unit_test_setup_teardown(no_counters, setup, unit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
