/* SPDX-License-Identifier: MIT */
/* The smallest program: a start for your own. */
#include <kernel/print.h>
#include <kernel/program.h>

static int hello(const struct boot_info *info)
{
    kprintf("hello from a kernel started by %s\n", info->firmware);
    return 0;
}

KERNEL_PROGRAM(hello, "says hello", hello);
