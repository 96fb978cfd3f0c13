/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_PROGRAM_H
#define BOOT_KERNEL_PROGRAM_H

#include <boot/info.h>

int program_main(const struct boot_info *info); /* runs the one that the command line names; its status */

#endif
