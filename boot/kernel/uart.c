/* SPDX-License-Identifier: MIT */
#include "uart.h"
#include <kernel/cpu.h>

#define UART        0x3f8
#define UART_DATA   (UART + 0)
#define UART_IER    (UART + 1)
#define UART_FCR    (UART + 2)
#define UART_LCR    (UART + 3)
#define UART_MCR    (UART + 4)
#define UART_LSR    (UART + 5)
#define UART_SCR    (UART + 7)
#define IER_RECEIVE 0x01
#define FCR_ON      0x07 /* FIFOs on and empty, an interrupt from the first byte on */
#define LCR_8N1     0x03
#define LCR_DLAB    0x80
#define MCR_ON      0x0b /* DTR, RTS, and OUT2: the gate of the interrupt line */
#define LSR_DATA    0x01
#define LSR_THRE    0x20
#define LSR_IDLE    0x40
#define LSR_ABSENT  0xff

/* a UART that never becomes ready must not stop the kernel */
#define UART_SPINS 1000000

bool uart_init(bool has_fifo)
{
    const struct {
        uint16_t port;
        uint8_t value;
    } setup[] = {
        {UART_IER, 0},      {UART_LCR, LCR_DLAB}, {UART_DATA, 1 /* 115200 baud */},
        {UART_IER, 0},      {UART_LCR, LCR_8N1},  {UART_FCR, has_fifo ? FCR_ON : 0},
        {UART_MCR, MCR_ON},
    };

    outb(UART_SCR, 0x5a);
    if (inb(UART_SCR) != 0x5a || inb(UART_LSR) == LSR_ABSENT)
        return false;
    for (unsigned i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
        outb(setup[i].port, setup[i].value);
    return true;
}

static void wait_for(uint8_t status)
{
    for (unsigned i = 0; i < UART_SPINS && !(inb(UART_LSR) & status); i++)
        cpu_relax();
}

static void put(char c)
{
    wait_for(LSR_THRE);
    outb(UART_DATA, (uint8_t)c);
}

void uart_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            put('\r');
        put(text[i]);
    }
}

void uart_flush(void)
{
    wait_for(LSR_IDLE);
}

int uart_get(void)
{
    return inb(UART_LSR) & LSR_DATA ? inb(UART_DATA) : -1;
}

void uart_interrupt_on_receive(void)
{
    outb(UART_IER, IER_RECEIVE);
}
