/* SPDX-License-Identifier: MIT */
/* The program `tests`: goes through the table of tests and prints TAP. */
#include "test.h"
#include "vm.h"
#include <hv/hv.h>
#include <hv/pci.h>
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/module.h>
#include <kernel/program.h>
#include <kernel/trap.h>

extern const struct test_case test_cases_start[], test_cases_end[];

static struct {
    char name[160];
    volatile uint32_t failures;
    bool skipped;
    char reason[192];
} current;

static char filter[64];

/* ----------------------------------------------------------------------------------- verdicts */

void test_fail(const char *file, int line, const char *fmt, ...)
{
    char text[384];
    va_list ap;

    va_start(ap, fmt);
    kvsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    __atomic_add_fetch(&current.failures, 1, __ATOMIC_RELAXED);
    kprintf("# %s:%d: %s\n", file, line, text);
}

void test_skip(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    kvsnprintf(current.reason, sizeof(current.reason), fmt, ap);
    va_end(ap);
    current.skipped = true;
}

void test_note(const char *fmt, ...)
{
    char text[384];
    va_list ap;

    va_start(ap, fmt);
    kvsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    kprintf("# %s\n", text);
}

static uint32_t count_option(const char *name, uint32_t usual)
{
    uint32_t count = 0;
    char text[16];

    if (!option_find(name, text, sizeof(text)))
        return usual;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        count = count * 10 + (uint32_t)(*c - '0');
    return count;
}

uint32_t test_storm(uint32_t usual)
{
    return count_option("storm", usual);
}

uint32_t test_cycles(uint32_t usual)
{
    return count_option("cycles", usual);
}

bool test_failed(void)
{
    return current.failures != 0;
}

void test_forget(void)
{
    memset(&current, 0, sizeof(current));
}

bool test_check(bool held, const char *file, int line, const char *what, uint64_t got, uint64_t wanted)
{
    if (!held)
        test_fail(file, line, "%s: got 0x%llx, wanted 0x%llx", what, (unsigned long long)got,
                  (unsigned long long)wanted);
    return held;
}

static void format_bytes(char *to, size_t size, const uint8_t *bytes, size_t count)
{
    size_t at = 0;

    to[0] = 0;
    for (size_t i = 0; i < count && at + 4 < size; i++)
        at += ksnprintf(to + at, size - at, " %02x", bytes[i]);
}

bool test_check_bytes(const char *file, int line, const char *what, const void *got, const void *wanted, size_t size)
{
    char a[64], b[64];

    if (memcmp(got, wanted, size) == 0)
        return true;
    format_bytes(a, sizeof(a), got, size);
    format_bytes(b, sizeof(b), wanted, size);
    test_fail(file, line, "%s: got%s, wanted%s", what, a, b);
    return false;
}

/* ------------------------------------------------------------------------------------- cases */

struct row_head {
    const char *name;
    uint32_t modes; /* when rows_have_modes */
};

/* One TAP line: a case, in one of its rows, in one of its modes. */
struct instance {
    const struct test_case *test;
    const struct row_head *row;
    int mode; /* -1: none */
};

static void name_instance(const struct instance *i, char *to, size_t size)
{
    size_t at = ksnprintf(to, size, "%s", i->test->text);

    if (i->row && at < size)
        at += ksnprintf(to + at, size - at, ": %s", i->row->name);
    if (i->mode >= 0 && at < size)
        ksnprintf(to + at, size - at, " [%s]", vm_mode_name((enum vm_mode)i->mode));
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);

    for (; *text; text++)
        if (strncmp(text, part, length) == 0)
            return true;
    return length == 0;
}

static bool is_wanted(const struct instance *i)
{
    char name[sizeof(current.name)];

    name_instance(i, name, sizeof(name));
    return contains(name, filter) || contains(i->test->id, filter);
}

static void for_each_mode(const struct test_case *t, const struct row_head *row, void (*fn)(const struct instance *i))
{
    uint32_t modes = t->modes;

    if (t->rows_have_modes && row->modes)
        modes &= row->modes;
    for (int mode = t->modes ? 0 : -1; mode < (t->modes ? VM_MODE_COUNT : 0); mode++) {
        struct instance i = {t, row, mode};

        if ((mode < 0 || modes >> mode & 1) && is_wanted(&i))
            fn(&i);
    }
}

static void for_each_instance(void (*fn)(const struct instance *i))
{
    for (const struct test_case *t = test_cases_start; t < test_cases_end; t++)
        for (size_t n = 0; n < (t->rows ? t->row_count : 1); n++)
            for_each_mode(t, t->rows ? (const void *)((const char *)t->rows + n * t->row_size) : NULL, fn);
}

/* --------------------------------------------------------------------------------------- run */

static struct {
    unsigned count, passed, failed, skipped;
    const char *skip_all; /* why nothing can run here */
} totals;

/* The reasons for skipping, each once. */
#define REASONS_MAX 64

static struct {
    char text[sizeof(current.reason)];
    unsigned count;
} reasons[REASONS_MAX];

static void count_reason(const char *text)
{
    for (unsigned i = 0; i < REASONS_MAX; i++) {
        if (reasons[i].count && strcmp(reasons[i].text, text) != 0)
            continue;
        ksnprintf(reasons[i].text, sizeof(reasons[i].text), "%s", text);
        reasons[i].count++;
        return;
    }
}

static void print_reasons(void)
{
    for (unsigned i = 0; i < REASONS_MAX && reasons[i].count; i++)
        kprintf("# skipped %u: %s\n", reasons[i].count, reasons[i].text);
}

static void count_instance(const struct instance *i)
{
    (void)i;
    totals.count++;
}

static void run_body(const struct instance *i)
{
    size_t pages = pages_free_count(), heap = heap_used();
    unsigned vectors = irq_vectors_used();
    const char *gap = engine_gap(i->test->text, i->row ? i->row->name : NULL);

    if (gap) {
        test_skip("%s", gap);
        return;
    }
    i->test->fn(i->row, (unsigned)i->mode);
    vm_check_all_deleted();
    if (heap_used() != heap)
        FAIL("leak: heap use went from %zu to %zu bytes", heap, heap_used());
    if (pages_free_count() != pages)
        FAIL("leak: free pages went from %zu to %zu", pages, pages_free_count());
    if (irq_vectors_used() != vectors)
        FAIL("leak: vectors in use went from %u to %u", vectors, irq_vectors_used());
}

static void run_instance(const struct instance *i)
{
    static unsigned number;
    uint64_t start = clock_ns();

    number++;
    test_forget();
    name_instance(i, current.name, sizeof(current.name));
    if (totals.skip_all)
        test_skip("%s", totals.skip_all);
    else
        run_body(i);
    if (current.failures) {
        totals.failed++;
        kprintf("not ok %u - %s\n", number, current.name);
    } else if (current.skipped) {
        totals.skipped++;
        count_reason(current.reason);
        kprintf("ok %u - %s # SKIP %s\n", number, current.name, current.reason);
    } else {
        totals.passed++;
        kprintf("ok %u - %s\n", number, current.name);
    }
    if (clock_ns() - start > 500 * NS_PER_MS)
        test_note("took %llu ms", (unsigned long long)((clock_ns() - start) / NS_PER_MS));
}

static const char *why_skip_all(void)
{
    static char reason[200];
    BOOL present = FALSE;

    if (WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &present, sizeof(present), NULL) == S_OK && present)
        return NULL;
    ksnprintf(reason, sizeof(reason), "no hypervisor: %s", hv_platform()->reason);
    return reason;
}

static int tests_main(const struct boot_info *info)
{
    struct hv_pci_function function;

    (void)info;
    if (!option_find("filter", filter, sizeof(filter)))
        filter[0] = 0;
    totals.skip_all = why_skip_all();
    hv_pci_function(0, &function); /* scanned once, for good: no test leaks that */
    kprintf("TAP version 13\n");
    for_each_instance(count_instance);
    kprintf("1..%u\n", totals.count);
    if (!totals.skip_all)
        vm_start_watchdog();
    for_each_instance(run_instance);
    if (!totals.skip_all)
        vm_stop_watchdog();
    print_reasons();
    kprintf("# %u passed, %u failed, %u skipped, %llu ms\n", totals.passed, totals.failed, totals.skipped,
            (unsigned long long)(clock_ns() / NS_PER_MS));
    return totals.failed ? 1 : 0;
}

KERNEL_PROGRAM(tests, "the in-kernel tests, as TAP (filter=TEXT: only those whose name contains it)", tests_main);
