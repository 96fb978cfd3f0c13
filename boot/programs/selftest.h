/* SPDX-License-Identifier: MIT */
/* The host kernel's own test, in groups; each group is a table of cases that selftest.c runs. */
#ifndef BOOT_PROGRAMS_SELFTEST_H
#define BOOT_PROGRAMS_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

struct selftest_case {
    const char *name;
    bool (*run)(void);
    uint32_t cpus; /* skipped with fewer */
};

extern const struct selftest_case selftest_memory[], selftest_cpu[], selftest_threads[],
    selftest_events[]; /* each ends with a NULL name */

/* Notes file and line of the first thing that is not so; the case then fails. */
#define CHECK(cond)                                            \
    do {                                                       \
        if (!(cond))                                           \
            return selftest_failed(__FILE__, __LINE__, #cond); \
    } while (0)

bool selftest_failed(const char *file, int line, const char *what); /* false */

#endif
