/* SPDX-License-Identifier: MIT */
/* What the person at the terminal is told at the begin and at the end of a run. */
#ifndef VMM_REPORT_H
#define VMM_REPORT_H

#include <stdint.h>
#include <vmm/guest.h>

void report_begin(const struct options *options, const struct guest *first);

/* How a guest ended, its exits by reason, the time to userspace. */
void report_end(struct guest *guest);

/* The exit status that stands for the guest's end: see vmm/main.h. */
int report_status(struct guest *guest);

#endif
