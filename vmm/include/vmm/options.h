/* SPDX-License-Identifier: MIT */
/*
 * What the VMM was started with: the files "kernel", "initrd" (any number) and "cmdline", and the options
 *
 *   guest_cmdline=TEXT   the kernel's command line; the file "cmdline", which may hold any character, goes before it
 *   guest_smp=N          virtual processors, 1 to 64 [as many as the machine has]
 *   guest_mem=MIB        memory, 16 and up [256]
 *   guest_hyperv=WORD    on: the guest is shown the hypervisor's Hyper-V interface; nocalls: without the hypercalls for
 *                        TLB flushes and IPIs; off: without all of it [on]
 *   guests=N             so many of the same machine at the same time, 1 to 8 [1]
 */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/loader.h>

#define OPTIONS_CMDLINE_SIZE 4096u
#define OPTIONS_SMP_MAX      64u
#define OPTIONS_GUESTS_MAX   8u

enum options_hyperv { OPTIONS_HYPERV_ON, OPTIONS_HYPERV_NO_CALLS, OPTIONS_HYPERV_OFF };

struct options {
    uint32_t processors, guests;
    uint64_t memory; /* bytes */
    enum options_hyperv hyperv;
    char cmdline[OPTIONS_CMDLINE_SIZE];
    struct loader_input input; /* all but rsdp */
};

/* False: a line that names what is wrong was printed. */
bool options_read(struct options *options);

#endif
