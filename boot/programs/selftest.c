/* SPDX-License-Identifier: MIT */
/* program=selftest: proves in TAP that this kernel keeps what its headers promise. */
#include "selftest.h"
#include <kernel/cpu.h>
#include <kernel/event.h>
#include <kernel/memory.h>
#include <kernel/print.h>
#include <kernel/program.h>

static const struct selftest_case *const groups[] = {selftest_memory, selftest_cpu, selftest_threads, selftest_events};

#define GROUPS (sizeof(groups) / sizeof(groups[0]))

bool selftest_failed(const char *file, int line, const char *what)
{
    kprintf("# %s:%d: not so: %s\n", file, line, what);
    return false;
}

/* Every case gives back what it took. */
static bool run_case(const struct selftest_case *c)
{
    size_t pages = pages_free_count(), heap = heap_used(), events = events_used();

    CHECK(c->run());
    CHECK(events_used() == events);
    CHECK(heap_used() == heap);
    CHECK(pages_free_count() == pages);
    return true;
}

static unsigned count_cases(void)
{
    unsigned n = 0;

    for (unsigned g = 0; g < GROUPS; g++) {
        for (const struct selftest_case *c = groups[g]; c->name; c++)
            n++;
    }
    return n;
}

static int selftest(const struct boot_info *info)
{
    unsigned n = 0, failed = 0;

    (void)info;
    kprintf("TAP version 13\n1..%u\n", count_cases());
    for (unsigned g = 0; g < GROUPS; g++) {
        for (const struct selftest_case *c = groups[g]; c->name; c++) {
            bool skip = cpu_count() < c->cpus, good = skip || run_case(c);

            failed += !good;
            kprintf("%sok %u - %s%s\n", good ? "" : "not ", ++n, c->name, skip ? " # SKIP needs more CPUs" : "");
        }
    }
    return failed ? 1 : 0;
}

KERNEL_PROGRAM(selftest, "the host kernel's own test (TAP)", selftest);
