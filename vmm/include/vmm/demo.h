/* SPDX-License-Identifier: MIT */
#ifndef VMM_DEMO_H
#define VMM_DEMO_H

/* Runs a small guest in one virtual processor and tells what happened. Returns 0, or 1 with a line that says why. */
int demo_main(void);

#endif
