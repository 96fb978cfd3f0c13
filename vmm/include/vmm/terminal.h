/* SPDX-License-Identifier: MIT */
/*
 * A guest's serial line at the terminal: its output as it comes, or, when several guests run, whole lines with the
 * guest's number before them. The lines are read along, for what the kernel says about itself.
 */
#ifndef VMM_TERMINAL_H
#define VMM_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/lock.h>
#include <vmm/machine.h>

#define TERMINAL_LINE_SIZE 256u

struct terminal {
    struct lock lock;
    const struct machine_services *services; /* the clock */
    uint32_t guest;                          /* its number, for the prefix; 0: no prefix */
    char line[TERMINAL_LINE_SIZE];           /* begin of the line that is coming; what does not fit is not kept */
    uint32_t length;
    uint32_t shown; /* how much of it has been printed: with a prefix only */
    /* what was seen */
    bool panicked;         /* "Kernel panic - not syncing" */
    bool init_started;     /* "Run ... as init process" */
    uint64_t userspace_ns; /* machine time of the first output after that; 0: none */
    uint64_t last_ns;      /* of the last output */
};

/* What terminal_look tells. */
struct terminal_state {
    bool panicked;
    bool at_line_begin;
    uint64_t userspace_ns;
    uint64_t last_ns;
};

void terminal_init(struct terminal *terminal, const struct machine_services *services, uint32_t guest);

/* A byte of output: for uart_create, with a struct terminal as context. */
void terminal_put(void *context, uint8_t byte);

/* With a prefix: shows a line that has no end for a while (a prompt), or, at the end of the run, at all. */
void terminal_flush(struct terminal *terminal, bool is_end);

struct terminal_state terminal_look(struct terminal *terminal);

#endif
