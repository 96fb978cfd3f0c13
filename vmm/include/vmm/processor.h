/* SPDX-License-Identifier: MIT */
/* A virtual processor: its thread runs it, and answers its exits. */
#ifndef VMM_PROCESSOR_H
#define VMM_PROCESSOR_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/loader.h>
#include <vmm/system.h>
#include <whp/WinHvEmulation.h>
#include <whp/WinHvPlatform.h>

struct guest;

struct processor {
    _Alignas(16) WHV_RUN_VP_EXIT_CONTEXT exit;
    struct guest *guest;
    uint32_t index;
    bool is_created;
    uint32_t is_asked; /* atomic: processor_show was called */
    struct system_thread *thread;
    WHV_EMULATOR_HANDLE emulator;
};

/* False: a line was printed; processor_destroy is due all the same. */
bool processor_create(struct processor *processor, struct guest *guest, uint32_t index);
void processor_destroy(struct processor *processor);

/* Gives it the registers that a kernel is to begin with. The others wait for its startup IPIs. */
bool processor_set_entry(struct processor *processor, const struct loader_entry *entry);

/* A thread's function, with a struct processor: runs until the machine has ended. */
void processor_run(void *arg);

/* Has it print its registers and interrupts soon. Any thread. */
void processor_show(struct processor *processor);

#endif
