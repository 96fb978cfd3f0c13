/* SPDX-License-Identifier: MIT */
/* See vmm/report.h. Exits are counted by the VMM: those that the hypervisor answers by itself do not show here. */
#include <vmm/report.h>

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
    system_print("vmm: Ctrl-A x ends the run\n");
}

/* "12.345", of nanoseconds. */
static void print_seconds(uint64_t ns)
{
    uint64_t ms = ns / NS_PER_MS;

    system_print("%llu.%03u s", (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
}

static uint64_t count(const struct guest *guest, uint32_t reason)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < guest->processor_count; i++)
        sum += guest->processors[i].counts[reason];
    return sum;
}

static void print_exits(const struct guest *guest)
{
    uint64_t all = 0;

    for (uint32_t i = 0; processor_reason_name(i); i++)
        all += count(guest, i);
    system_print("vmm: %-24s %10s %7s\n", "exit reason", "count", "share");
    for (uint32_t i = 0; processor_reason_name(i); i++) {
        uint64_t n = count(guest, i), permille = all ? n * 1000 / all : 0;

        if (n)
            system_print("vmm: %-24s %10llu %4u.%u %%\n", processor_reason_name(i), (unsigned long long)n,
                         (unsigned)(permille / 10), (unsigned)(permille % 10));
    }
    system_print("vmm: %-24s %10llu\n", "all", (unsigned long long)all);
}

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
