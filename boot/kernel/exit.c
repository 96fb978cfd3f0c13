/* SPDX-License-Identifier: MIT */
/* The ends of a run: on purpose or not. */
#include "apic.h"
#include "console.h"
#include "panic.h"
#include "percpu.h"
#include "trap_internal.h"
#include <kernel/cpu.h>
#include <kernel/exit.h>
#include <kernel/print.h>

#define QEMU_EXIT_PORT  0xf4   /* isa-debug-exit: QEMU ends with status value * 2 + 1 */
#define BOCHS_EXIT_PORT 0x8900 /* the text "Shutdown" ends Bochs */

/* long enough for another CPU to take an NMI and stop */
#define STOP_SPINS 1000000

static volatile uint32_t stopping;

bool panic_is_stopping(void)
{
    return stopping;
}

_Noreturn void panic_stop_self(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

void panic_begin(void)
{
    (void)irq_save();
    if (__atomic_exchange_n(&stopping, 1, __ATOMIC_SEQ_CST))
        panic_stop_self();
    apic_send_nmi_to_others();
    for (unsigned i = 0; i < STOP_SPINS && cpu_count() > 1; i++)
        cpu_relax();
    console_break_lock();
}

_Noreturn void kernel_exit(int status)
{
    (void)irq_save();
    kprintf("barewhp: exit status %d\n", status);
    console_flush();
    for (const char *s = "Shutdown"; *s; s++)
        outb(BOCHS_EXIT_PORT, (uint8_t)*s);
    outb(QEMU_EXIT_PORT, (uint8_t)status);
    panic_stop_self();
}

_Noreturn void panic(const char *fmt, ...)
{
    va_list ap;

    panic_begin();
    kprintf("\nbarewhp: PANIC: ");
    va_start(ap, fmt);
    kvprintf(fmt, ap);
    va_end(ap);
    kprintf("\n");
    backtrace_print((uintptr_t)__builtin_return_address(0), *(const uint64_t *)__builtin_frame_address(0),
                    (uintptr_t)__builtin_frame_address(0));
    kernel_exit(KERNEL_EXIT_PANIC);
}
