/* SPDX-License-Identifier: MIT */
#ifndef VMM_MAIN_H
#define VMM_MAIN_H

/*
 * The VMM: boots what vmm/options.h says, until the guest ends. Returns
 *
 *   0                the guest switched itself off or asked for a reset, or the person at the terminal ended it
 *   1                this VMM could not start it or go on; a line says why
 *   2                the guest's kernel panicked
 *   3                triple fault
 *   (value << 1) | 1 the guest wrote value to the debug-exit port (F4h), as QEMU's isa-debug-exit
 *
 * With several guests: the first one's that is not 0.
 */
int vmm_main(void);

#endif
