/* SPDX-License-Identifier: MIT */
/*
 * What emulators of CPUs do not do as CPUs do it: the tests of that are skipped there, and say why. What a real kind of
 * CPU lacks is told by the tests themselves.
 */
#include "test.h"
#include "vm.h"

struct gap {
    const char *test, *row; /* the test's text and the row's name; NULL: all rows */
    const char *reason;
};

#define EXITS     "exits: exception"
#define RETURNED  "exits: exception, returned by PendingEvent"
#define DELIVERED "exits: exception without exit"

#define ALL_THREE(row, reason)                     \
    {EXITS, row, reason}, {RETURNED, row, reason}, \
    {                                              \
        DELIVERED, row, reason                     \
    }
#define EXITS_TWO(row, reason) \
    {EXITS, row, reason},      \
    {                          \
        RETURNED, row, reason  \
    }

#define BREAKPOINTS "QEMU: VMRUN does not arm the breakpoints of DR7"
#define CANONICAL   "QEMU: WRMSR takes addresses that are not canonical"
#define TASKS       "QEMU: task switches do not exit"
#define LIMITS      "QEMU: no segment limits"

/* clang-format off */
static const struct gap tcg_gaps[] = {
    ALL_THREE("#DB breakpoint", BREAKPOINTS),
    {"events: data breakpoint", NULL, BREAKPOINTS},
    {"events: data breakpoint in the guest, DR6 told", NULL, BREAKPOINTS},
    {"events: breakpoint hit, cleared by RF, hit again", NULL, BREAKPOINTS},
    ALL_THREE("#DB icebp",      "QEMU: INT1 is #UD"),
    EXITS_TWO("#DF",            "QEMU: double faults exit as the exception that led to them"),
    ALL_THREE("#SS canonical",  "QEMU: stack accesses that are not canonical are #GP"),
    ALL_THREE("#PF reserved",   "QEMU: the error code of reserved bits lacks the present bit"),
    ALL_THREE("#SS limit", LIMITS),
    ALL_THREE("#GP limit", LIMITS),
    ALL_THREE("#AC",            "QEMU: no alignment checks"),
    ALL_THREE("#XM",            "QEMU: no exceptions of SSE"),
    {"exits: unsupported feature: far jump to a TSS", NULL, TASKS},
    {"exits: unsupported feature: far call to a TSS", NULL, TASKS},
    {"exits: unsupported feature: INT n through a task gate", NULL, TASKS},
    {"modes: guest writes", "CR8 = 16",     "QEMU: CR8 takes any value"},
    {"modes: guest writes", "CR0 bit 32",   "QEMU: CR0 takes any value in its upper half"},
    {"modes: XSETBV at CPL 3: #GP; without OSXSAVE: #UD", NULL, "QEMU: XSETBV looks at CPL before OSXSAVE"},
    {"msr: a value that it can not hold: #GP", "FS base", CANONICAL},
    {"msr: a value that it can not hold: #GP", "KERNEL_GS_BASE", CANONICAL},
    {"msr: a value that it can not hold: #GP", "SYSENTER_EIP", CANONICAL},
};
/* clang-format on */

/* QEMU without KVM says so, in the leaves that are for hypervisors. */
bool engine_is_tcg(void)
{
    uint32_t eax = 1, ebx, ecx = 0, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!(ecx >> 31))
        return false;
    eax = 0x40000000, ecx = 0;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ebx == 0x54474354 && ecx == 0x43544743 && edx == 0x47435447; /* TCGTCGTCGTCG */
}

const char *engine_gap(const char *test, const char *row)
{
    if (!engine_is_tcg())
        return NULL;
    for (size_t i = 0; i < COUNT(tcg_gaps); i++)
        if (strcmp(test, tcg_gaps[i].test) == 0 && (!tcg_gaps[i].row || (row && strcmp(row, tcg_gaps[i].row) == 0)))
            return tcg_gaps[i].reason;
    return NULL;
}
