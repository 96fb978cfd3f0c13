/* SPDX-License-Identifier: MIT */
/*
 * Two outputs: port 0xE9, which Bochs and QEMU's isa-debugcon print at no cost, and the first serial line. With both
 * there only 0xE9 is used: an emulated UART takes its baud rate's time for each byte.
 */
#include "console.h"
#include <kernel/cpu.h>
#include <kernel/lock.h>
#include <kernel/print.h>
#include <kernel/string.h>

#define DEBUG_PORT 0xe9

#define UART       0x3f8
#define UART_DATA  (UART + 0)
#define UART_IER   (UART + 1)
#define UART_FCR   (UART + 2)
#define UART_LCR   (UART + 3)
#define UART_MCR   (UART + 4)
#define UART_LSR   (UART + 5)
#define UART_SCR   (UART + 7)
#define LCR_8N1    0x03
#define LCR_DLAB   0x80
#define LSR_DATA   0x01
#define LSR_THRE   0x20
#define LSR_IDLE   0x40
#define LSR_ABSENT 0xff

/* a UART that never becomes ready must not stop the kernel */
#define UART_SPINS 1000000

static struct spinlock lock;
static bool has_debug, has_uart;
static bool use_debug, use_uart;

static bool uart_init(void)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } setup[] = {
        {UART_IER, 0},    {UART_LCR, LCR_DLAB}, {UART_DATA, 1 /* 115200 baud */}, {UART_IER, 0}, {UART_LCR, LCR_8N1},
        {UART_FCR, 0x07}, {UART_MCR, 0x03},
    };

    outb(UART_SCR, 0x5a);
    if (inb(UART_SCR) != 0x5a || inb(UART_LSR) == LSR_ABSENT)
        return false;
    for (unsigned i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
        outb(setup[i].port, setup[i].value);
    return true;
}

void console_init(void)
{
    has_debug = inb(DEBUG_PORT) == DEBUG_PORT;
    has_uart = uart_init();
    use_debug = has_debug;
    use_uart = has_uart && !has_debug;
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

static void uart_wait(uint8_t status)
{
    for (unsigned i = 0; i < UART_SPINS && !(inb(UART_LSR) & status); i++)
        cpu_relax();
}

static void uart_put(char c)
{
    uart_wait(LSR_THRE);
    outb(UART_DATA, (uint8_t)c);
}

static void uart_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            uart_put('\r');
        uart_put(text[i]);
    }
}

void console_write(const char *text, size_t length)
{
    uint64_t flags = spin_lock(&lock);

    if (use_debug) {
        const char *from = text;
        size_t count = length;

        __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(DEBUG_PORT) : "memory");
    }
    if (use_uart)
        uart_write(text, length);
    spin_unlock(&lock, flags);
}

int console_getc(void)
{
    if (!has_uart || !(inb(UART_LSR) & LSR_DATA))
        return -1;
    return inb(UART_DATA);
}

void console_break_lock(void)
{
    __atomic_store_n(&lock.held, 0, __ATOMIC_RELEASE);
}

void console_flush(void)
{
    if (use_uart)
        uart_wait(LSR_IDLE);
}
