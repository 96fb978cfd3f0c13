/* SPDX-License-Identifier: MIT */
/* The first serial line: a 16550 at its traditional ports, polled for output. */
#ifndef BOOT_KERNEL_UART_H
#define BOOT_KERNEL_UART_H

#include <stdbool.h>
#include <stddef.h>

#define UART_IRQ 4 /* ISA */

/*
 * 115200 baud, 8N1. False: there is none. has_fifo false: without the FIFO an emulated line keeps the next byte back
 * until the last one has been read, and loses none; a real line goes on and needs it.
 */
bool uart_init(bool has_fifo);
void uart_write(const char *text, size_t length); /* "\n" as "\r\n" */
void uart_flush(void);                            /* until the last bit has left */
int uart_get(void);                               /* -1: none has arrived */
void uart_interrupt_on_receive(void);

#endif
