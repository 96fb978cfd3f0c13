/* SPDX-License-Identifier: MIT */
/* The first process of a Linux guest: prints the TSC, which is how many instructions it took to come here, and ends the
 * machine. */
#include <stdint.h>

#define SYS_WRITE        1
#define SYS_REBOOT       169
#define REBOOT_MAGIC     0xfee1dead
#define REBOOT_MAGIC2    672274793
#define REBOOT_POWER_OFF 0x4321fedc

_Noreturn void init_main(void);

static long syscall3(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

_Noreturn void init_main(void)
{
    uint32_t low, high;
    uint64_t tsc;
    char text[32] = "\ntsc 00000000000000000000\n";

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    tsc = (uint64_t)high << 32 | low;
    for (char *digit = text + 24; tsc; tsc /= 10)
        *digit-- = (char)('0' + tsc % 10);
    syscall3(SYS_WRITE, 1, (long)text, 26);
    for (;;)
        syscall3(SYS_REBOOT, (long)REBOOT_MAGIC, REBOOT_MAGIC2, REBOOT_POWER_OFF);
}

__asm__(".globl _start\n_start: andq $-16, %rsp\ncall init_main\n");
