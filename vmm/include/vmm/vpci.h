/* SPDX-License-Identifier: MIT */
/*
 * Devices of the machine that are passed to a guest: at 0:1.0 and on, on its PCI bus, in the order of the words of
 * guest_pci. The library has their configuration spaces, keeps their DMA to the guest's memory and makes interrupts of
 * their messages; here they get addresses, and the guest's accesses get to them.
 */
#ifndef VMM_VPCI_H
#define VMM_VPCI_H

#include <vmm/guest.h>
#include <whp/WinHvExtensions.h>

struct vpci;

/*
 * Sets guest->vpci when the options name devices. The partition is set up, the guest has its buses. False: a line was
 * printed that says which device and why not; vpci_destroy is due all the same.
 */
bool vpci_create(struct guest *guest);
void vpci_destroy(struct guest *guest); /* the devices are reset and stay the machine's */

/* To be called now and then: hears of a device that has been pulled out. */
void vpci_poll(struct guest *guest);

/* The device that a word means: "nvme", "net", "BB:DD.F", "SSSS:BB:DD.F". False: a line was printed. vpci_name.c */
bool vpci_find(const char *word, const WHVX_PCI_DEVICE *taken, uint32_t taken_count, WHVX_PCI_DEVICE *out);

#endif
