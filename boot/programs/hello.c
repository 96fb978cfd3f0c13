/* SPDX-License-Identifier: MIT */
/* A small program, a start for your own: says what the loader brought. */
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/program.h>

static int hello(const struct boot_info *info)
{
    struct module m;

    kprintf("hello from a kernel started by %s\n", info->firmware);
    for (uint32_t i = 0; module_get(i, &m); i++)
        kprintf("module \"%s\": %lu bytes at %p\n", m.string, m.length, m.data);
    return 0;
}

KERNEL_PROGRAM(hello, "says hello and lists the modules", hello);
