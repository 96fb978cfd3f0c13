/* SPDX-License-Identifier: MIT */
/* Sends back each byte that is typed, until ^D, and counts them: shows whether all arrive. */
#include <kernel/print.h>
#include <kernel/program.h>

#define CTRL_D 4

static int echo(const struct boot_info *info)
{
    uint32_t count = 0, sum = 0;
    int byte;

    (void)info;
    kprintf("echo: type, ^D ends\n");
    while ((byte = console_read(0)) != CTRL_D) {
        char c = (char)byte;

        console_write(&c, 1);
        count++;
        sum = sum * 31 + (uint32_t)byte;
    }
    kprintf("echo: %u bytes, sum 0x%08x\n", count, sum);
    return 0;
}

KERNEL_PROGRAM(echo, "sends back what is typed", echo);
