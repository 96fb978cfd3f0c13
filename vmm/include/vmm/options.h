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
 *   guest_pci=WORD,...   devices of the machine that the guest (of several: the first) gets for itself: nvme or net,
 *                        the first of that kind, or an address, SSSS:BB:DD.F or BB:DD.F; may be given several times
 *   guest_pci_unsafe=on  also where nothing keeps their interrupts, or even their DMA, to the guest [off]. Without an
 *                        IOMMU the addresses of DMA are the host's: a Linux then overwrites memory that is not its own
 */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/loader.h>

#define OPTIONS_CMDLINE_SIZE 4096u
#define OPTIONS_SMP_MAX      64u
#define OPTIONS_GUESTS_MAX   8u
#define OPTIONS_PCI_MAX      8u
#define OPTIONS_PCI_SIZE     16u /* of a word with its end mark */

enum options_hyperv { OPTIONS_HYPERV_ON, OPTIONS_HYPERV_NO_CALLS, OPTIONS_HYPERV_OFF };

struct options {
    uint32_t processors, guests;
    uint64_t memory; /* bytes */
    enum options_hyperv hyperv;
    uint32_t pci_count;
    char pci[OPTIONS_PCI_MAX][OPTIONS_PCI_SIZE];
    bool is_pci_unsafe;
    char cmdline[OPTIONS_CMDLINE_SIZE];
    struct loader_input input; /* all but rsdp */
};

/* False: a line that names what is wrong was printed. */
bool options_read(struct options *options);

#endif
