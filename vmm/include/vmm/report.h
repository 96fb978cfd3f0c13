/* SPDX-License-Identifier: MIT */
/* What the person at the terminal is told at the begin and at the end of a run. */
#ifndef VMM_REPORT_H
#define VMM_REPORT_H

#include <stdint.h>
#include <vmm/guest.h>

void report_begin(const struct options *options, const struct guest *first);

/*
 * How a guest ended, the time to userspace, and its exits by reason: how often the CPU left the guest for it, and how
 * often WHvRunVirtualProcessor came back with it. The guest's processors are still there, and do not run.
 */
void report_end(struct guest *guest);

/* The exit status that stands for the guest's end: see vmm/main.h. */
int report_status(struct guest *guest);

#endif
