/* SPDX-License-Identifier: MIT */
/*
 * Programs inside the image. The command line's word program=NAME chooses one ("demo" when there is none); its return
 * value ends the run.
 *
 *   static int hello(const struct boot_info *info) { kprintf("hello\n"); return 0; }
 *   KERNEL_PROGRAM(hello, "says hello", hello);
 */
#ifndef KERNEL_PROGRAM_H
#define KERNEL_PROGRAM_H

#include <boot/info.h>

struct kernel_program {
    const char *name, *help;
    int (*main)(const struct boot_info *info);
};

#define KERNEL_PROGRAM(id, text, fn)                       \
    static const struct kernel_program kernel_program_##id \
        __attribute__((used, section(".programs"), aligned(8))) = {.name = #id, .help = text, .main = fn}

#endif
