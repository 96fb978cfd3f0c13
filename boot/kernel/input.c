/* SPDX-License-Identifier: MIT */
/*
 * Console input: bytes of the serial line, collected by its interrupt in a ring from which one thread reads. A full
 * ring leaves the next byte in the UART.
 */
#include "input.h"
#include "uart.h"
#include <hv/base/bits.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/isa.h>
#include <kernel/lock.h>
#include <kernel/print.h>
#include <kernel/thread.h>
#include <kernel/trap.h>

#define RING_SIZE 4096u
#define POLL_NS   (2 * NS_PER_MS) /* where the line has no interrupt */

static struct spinlock lock;
static uint8_t ring[RING_SIZE];      /* lock */
static volatile uint32_t arrived;    /* lock for writing; counts bytes, modulo 2^32 */
static uint32_t taken;               /* lock */
static bool has_line, has_interrupt; /* fixed by input_init */

/* The lock is held. Everything that waits in the UART, so that the next byte makes a new edge. */
static void collect(void)
{
    int byte;

    while (arrived - taken < RING_SIZE && (byte = uart_get()) >= 0) {
        ring[arrived % RING_SIZE] = (uint8_t)byte;
        arrived++;
    }
}

static void receive_interrupt(void *arg)
{
    uint64_t flags = spin_lock(&lock);

    (void)arg;
    collect();
    spin_unlock(&lock, flags);
    thread_wake(&arrived);
}

static void look(void)
{
    receive_interrupt(NULL);
}

void input_init(bool has_uart)
{
    uint8_t vector;

    has_line = has_uart;
    if (!has_uart)
        return;
    vector = irq_vector_alloc(receive_interrupt, NULL);
    if (!vector)
        return;
    has_interrupt = isa_irq_route(UART_IRQ, vector, cpu_id(), look);
    if (has_interrupt)
        uart_interrupt_on_receive();
    else
        irq_vector_free(vector);
}

int console_getc(void)
{
    uint64_t flags;
    int byte = -1;

    if (!has_line)
        return -1;
    flags = spin_lock(&lock);
    collect();
    if (arrived != taken)
        byte = ring[taken++ % RING_SIZE];
    spin_unlock(&lock, flags);
    return byte;
}

int console_read(uint64_t deadline_ns)
{
    for (;;) {
        uint32_t seen = arrived;
        int byte = console_getc();
        uint64_t now = clock_ns(), until = deadline_ns;

        if (byte >= 0 || (deadline_ns && now >= deadline_ns))
            return byte;
        if (has_line && !has_interrupt)
            until = deadline_ns ? HV_MIN(deadline_ns, now + POLL_NS) : now + POLL_NS;
        thread_wait(&arrived, seen, until);
    }
}
