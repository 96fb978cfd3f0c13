/* SPDX-License-Identifier: MIT */
/*
 * Two outputs: port 0xE9, which Bochs and QEMU's isa-debugcon print at no cost, and the first serial line. With both
 * there only 0xE9 is used: an emulated UART takes its baud rate's time for each byte. Who has 0xE9 is an emulator.
 */
#include "console.h"
#include "uart.h"
#include <kernel/cpu.h>
#include <kernel/lock.h>
#include <kernel/print.h>
#include <kernel/string.h>

#define DEBUG_PORT 0xe9

static struct spinlock lock;
static bool has_debug, has_uart;
static bool use_debug, use_uart;
static bool line_is_open; /* lock; console_write ended in the midst of a line */

void console_init(void)
{
    has_debug = inb(DEBUG_PORT) == DEBUG_PORT;
    has_uart = uart_init(!has_debug);
    use_debug = has_debug;
    use_uart = has_uart && !has_debug;
}

bool console_has_uart(void)
{
    return has_uart;
}

void console_select(const char *name)
{
    bool both = !strcmp(name, "both");

    if (has_uart && (both || !strcmp(name, "serial"))) {
        use_uart = true;
        use_debug = both && has_debug;
    } else if (has_debug && !strcmp(name, "debug")) {
        use_debug = true;
        use_uart = false;
    }
}

/* The lock is held. */
static void write_out(const char *text, size_t length)
{
    if (use_debug) {
        const char *from = text;
        size_t count = length;

        __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(DEBUG_PORT) : "memory");
    }
    if (use_uart)
        uart_write(text, length);
}

void console_write(const char *text, size_t length)
{
    uint64_t flags = spin_lock(&lock);

    write_out(text, length);
    if (length)
        line_is_open = text[length - 1] != '\n';
    spin_unlock(&lock, flags);
}

void console_print(const char *text, size_t length)
{
    uint64_t flags = spin_lock(&lock);

    if (line_is_open)
        write_out("\n", 1);
    line_is_open = false;
    write_out(text, length);
    spin_unlock(&lock, flags);
}

void console_break_lock(void)
{
    __atomic_store_n(&lock.held, 0, __ATOMIC_RELEASE);
}

void console_flush(void)
{
    if (use_uart)
        uart_flush();
}
