/* SPDX-License-Identifier: MIT */
/* What a test of the VMM sees and sets of <vmm/system.h> as given by fake_system.c. */
#ifndef FAKE_SYSTEM_H
#define FAKE_SYSTEM_H

#include <stddef.h>
#include <stdint.h>
#include <vmm/system.h>

struct fake_system {
    size_t memory_used;        /* bytes that are allocated now, as they were asked for */
    uint32_t allocations_left; /* the n-th from now fails; 0: none does */
    char printed[4096];        /* by system_print */
    char console[4096];        /* by system_console_write */
    size_t console_length;
    const char *typed; /* what system_console_read gives; NULL: nothing */
    struct {
        const char *name;
        struct system_file file;
    } files[4];
    size_t file_count;
    const char *options[8];
    size_t option_count;
};
extern struct fake_system fake_system;

void fake_system_reset(void);

#endif
