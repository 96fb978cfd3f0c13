/* SPDX-License-Identifier: MIT */
/*
 * What a device may ask of the machine around it: interrupts, and the end of the run. Devices know this and nothing of
 * partitions, so that they run on the desk too.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct ioapic;

/* Why a run ended. */
enum machine_end {
    MACHINE_RUNNING,
    MACHINE_POWER_OFF, /* the guest switched itself off (ACPI S5) */
    MACHINE_RESET,     /* it asked for a reset */
    MACHINE_PANIC,     /* it said that it has crashed */
    MACHINE_EXIT_CODE, /* it wrote a value to the debug-exit port */
    MACHINE_TRIPLE_FAULT,
    MACHINE_USER,  /* the person at the terminal ended it */
    MACHINE_ERROR, /* the VMM can not go on */
};

/* The parts of a machine that its devices call. */
struct machine_services {
    void *context;
    /*
     * A message of the IOAPIC's or of a device's MSI: delivery mode (APIC numbers: 0 fixed, 1 lowest priority, 2 SMI, 4
     * NMI, 5 INIT, 7 ExtINT), as WHvRequestInterrupt takes it. May be called with a device's lock held.
     */
    void (*send_interrupt)(void *context, uint8_t delivery_mode, bool is_logical, bool is_level, uint8_t destination,
                           uint8_t vector);
    /* Ends the run; the first one counts. code: for MACHINE_EXIT_CODE. */
    void (*end)(void *context, enum machine_end why, uint32_t code);
    uint64_t (*time_ns)(void *context);      /* since the machine's start */
    uint64_t (*wall_seconds)(void *context); /* since 1970 */
};

/* An interrupt line of a device into the IOAPIC: devices only raise and lower it. */
struct irq_line {
    struct ioapic *ioapic;
    uint32_t pin;
};

#endif
