/* SPDX-License-Identifier: MIT */
/* The ends of a run. */
#ifndef KERNEL_EXIT_H
#define KERNEL_EXIT_H

#define KERNEL_EXIT_PANIC 101 /* status of a run that ended by panic or by an exception nobody handles */

/* Prints "barewhp: exit status N", which boot/run.sh turns into its own status, and ends the emulator. */
_Noreturn void kernel_exit(int status);

/* Stops the other CPUs, prints the text with a backtrace, ends the run with KERNEL_EXIT_PANIC. Any context. */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
