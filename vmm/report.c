/* SPDX-License-Identifier: MIT */
/* See vmm/report.h. The hypervisor counts the exits: it answers most of them by itself. */
#include <vmm/report.h>
#include <whp/WinHvDiagnostics.h>

#define NS_PER_MS 1000000u

static const struct {
    const char *text;
    int status;
} ends[] = {
    [MACHINE_RUNNING] = {"did not end", 1},         [MACHINE_POWER_OFF] = {"guest power-off", 0},
    [MACHINE_RESET] = {"guest reset", 0},           [MACHINE_PANIC] = {"guest panic", 2},
    [MACHINE_EXIT_CODE] = {"guest exit", 0}, /* its own value */
    [MACHINE_TRIPLE_FAULT] = {"triple fault", 3},   [MACHINE_USER] = {"ended from the terminal", 0},
    [MACHINE_ERROR] = {"the VMM can not go on", 1},
};

int report_status(struct guest *guest)
{
    enum machine_end end = guest_outcome(guest);

    return end == MACHINE_EXIT_CODE ? (int)(guest->exit_code << 1 | 1) : ends[end].status;
}

void report_begin(const struct options *options, const struct guest *first)
{
    system_print("vmm: %s; %s; ", system_machine(), system_hypervisor());
    if (options->guests > 1)
        system_print("%u guests of ", options->guests);
    system_print("%u processors, %llu MiB; %s; command line: %s\n", options->processors,
                 (unsigned long long)(options->memory / MEMORY_MIB),
                 first->entry.version[0] ? first->entry.version : "a kernel that tells no version",
                 options->cmdline[0] ? options->cmdline : "(empty)");
    system_print("vmm: Ctrl-A x ends the run, Ctrl-A i shows the processors\n");
}

/* "12.345", of nanoseconds. */
static void print_seconds(uint64_t ns)
{
    uint64_t ms = ns / NS_PER_MS;

    system_print("%llu.%03u s", (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
}

/* ---------------------------------------------------------------------------------------- exits */

struct exits {
    uint32_t count; /* of reasons */
    WHVX_EXIT_COUNTER reasons[WHVX_EXIT_COUNTERS_MAX], all;
};

static void add(WHVX_EXIT_COUNTER *to, const WHVX_EXIT_COUNTER *from)
{
    to->Name = from->Name;
    to->Exits += from->Exits;
    to->Returns += from->Returns;
}

/* Those of all processors; each tells the same reasons in the same order. */
static bool sum_exits(const struct guest *guest, struct exits *exits)
{
    WHVX_EXIT_COUNTER one[WHVX_EXIT_COUNTERS_MAX];

    for (uint32_t i = 0; i < guest->processor_count; i++) {
        if (!guest_check(guest, WHvxGetExitCounters(guest->partition, i, one, WHVX_EXIT_COUNTERS_MAX, &exits->count),
                         "WHvxGetExitCounters"))
            return false;
        for (uint32_t n = 0; n < exits->count; n++) {
            add(&exits->reasons[n], &one[n]);
            add(&exits->all, &one[n]);
        }
    }
    exits->all.Name = "all";
    return true;
}

static bool is_before(const WHVX_EXIT_COUNTER *a, const WHVX_EXIT_COUNTER *b)
{
    return a->Exits != b->Exits ? a->Exits > b->Exits : a->Returns > b->Returns;
}

/* The most frequent reasons first. */
static void sort_exits(struct exits *exits)
{
    for (uint32_t i = 1; i < exits->count; i++) {
        WHVX_EXIT_COUNTER moved = exits->reasons[i];
        uint32_t at = i;

        for (; at && is_before(&moved, &exits->reasons[at - 1]); at--)
            exits->reasons[at] = exits->reasons[at - 1];
        exits->reasons[at] = moved;
    }
}

static void print_row(const WHVX_EXIT_COUNTER *row, uint64_t all)
{
    uint64_t permille = all ? row->Exits * 1000 / all : 0;

    if (row->Exits || row->Returns)
        system_print("vmm: %-24s %10llu %4u.%u %% %10llu\n", row->Name, (unsigned long long)row->Exits,
                     (unsigned)(permille / 10), (unsigned)(permille % 10), (unsigned long long)row->Returns);
}

static void print_exits(const struct guest *guest)
{
    struct exits exits = {.count = 0};

    if (!sum_exits(guest, &exits))
        return;
    sort_exits(&exits);
    system_print("vmm: %-24s %10s %8s %10s\n", "exit reason", "count", "share", "to the VMM");
    for (uint32_t i = 0; i < exits.count; i++)
        print_row(&exits.reasons[i], exits.all.Exits);
    print_row(&exits.all, exits.all.Exits);
}

/* --------------------------------------------------------------------------------------- the end */

static void print_userspace(struct guest *guest)
{
    uint64_t ns = terminal_look(&guest->terminal).userspace_ns;

    if (!ns)
        return;
    system_print("vmm: time to userspace: ");
    print_seconds(ns);
    system_print(" (the first output after \"Run ... as init process\")\n");
}

void report_end(struct guest *guest)
{
    enum machine_end end = guest_outcome(guest);

    if (!terminal_look(&guest->terminal).at_line_begin)
        system_print("\n");
    if (guest->options->guests > 1)
        system_print("vmm: guest %u: ", guest->number);
    else
        system_print("vmm: ");
    system_print("%s", ends[end].text);
    if (end == MACHINE_EXIT_CODE)
        system_print(" with 0x%x", guest->exit_code);
    system_print(" after ");
    print_seconds(guest->end_ns);
    system_print("\n");
    print_userspace(guest);
    print_exits(guest);
}
