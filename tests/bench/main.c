/* SPDX-License-Identifier: MIT */
/* The program `bench`: goes through the table of figures. */
#include "bench.h"
#include <kernel/clock.h>
#include <kernel/module.h>
#include <kernel/program.h>

static char filter[64];
static uint32_t profile_rounds; /* 0: no profile is taken */
static bool is_short, is_measured;
static enum bench_machine machine;

bool bench_is_profile(void)
{
    return profile_rounds != 0;
}

uint32_t bench_rounds(const struct figure *f)
{
    uint32_t rounds = is_short && f->rounds > 10 ? f->rounds / 10 : f->rounds;

    return profile_rounds ? profile_rounds : rounds;
}

/* Profilers look from here on (profile.py). */
static void __attribute__((noinline)) bench_mark(void)
{
    __asm__ volatile("" ::: "memory");
}

void bench_begin(const struct figure *f, uint64_t loop)
{
    if (!profile_rounds)
        return;
    kprintf("profile %s 0x%llx\n", f->name, (unsigned long long)loop);
    bench_mark();
}

void bench_ticks(const struct figure *f, uint64_t ticks, uint64_t rounds)
{
    uint64_t hundredths = (ticks * 100 + rounds / 2) / rounds;

    is_measured = true;
    kprintf("figure %s %llu.%02llu\n", f->name, (unsigned long long)hundredths / 100,
            (unsigned long long)hundredths % 100);
}

void bench_value(const struct figure *f, uint64_t value)
{
    is_measured = true;
    kprintf("figure %s %llu\n", f->name, (unsigned long long)value);
}

void bench_absent(const struct figure *f, const char *reason)
{
    is_measured = true;
    kprintf("absent %s %s\n", f->name, reason);
}

static uint32_t option_number(const char *name)
{
    char text[16];
    uint32_t number = 0;

    if (option_find(name, text, sizeof(text)))
        for (const char *c = text; *c >= '0' && *c <= '9'; c++)
            number = number * 10 + (uint32_t)(*c - '0');
    return number;
}

static bool is_wanted(const char *name)
{
    size_t length = strlen(filter);

    for (const char *c = name; *c; c++)
        if (strncmp(c, filter, length) == 0)
            return true;
    return length == 0;
}

static unsigned measure_all(void)
{
    unsigned failed = 0;

    for (const struct figure *f = figures; f < figures + figure_count; f++) {
        if (f->machine != machine || !is_wanted(f->name))
            continue;
        is_measured = false;
        test_forget();
        f->measure(f);
        vm_check_all_deleted();
        if (!is_measured || test_failed()) {
            kprintf("failed %s\n", f->name);
            failed++;
        }
    }
    return failed;
}

static int bench_main(const struct boot_info *info)
{
    BOOL present = FALSE;

    (void)info;
    if (WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &present, sizeof(present), NULL) != S_OK || !present) {
        kprintf("no hypervisor: %s\n", hv_platform()->reason);
        return 1;
    }
    if (!option_find("filter", filter, sizeof(filter)))
        filter[0] = 0;
    profile_rounds = option_number("rounds");
    machine = (enum bench_machine)option_number("machine");
    is_short = option_find("short", NULL, 0);
    kprintf("ticks-per-second %llu\n", (unsigned long long)clock_tsc_hz());
    return measure_all() ? 1 : 0;
}

KERNEL_PROGRAM(bench, "costs, counted (filter=TEXT: only figures whose name contains it)", bench_main);
