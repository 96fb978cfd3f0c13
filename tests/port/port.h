/* SPDX-License-Identifier: MIT */
/* The three files of the foreign kernel: entry.asm, kernel.c, guest.c. */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <stdint.h>

extern uint8_t port_guest[]; /* one page, entry.asm */

void port_main(void);                         /* from entry.asm, never returns */
bool port_guest_run(void);                    /* guest.c; false: a check failed */
bool port_check(bool held, const char *what); /* one TAP line */

#endif
