/* SPDX-License-Identifier: MIT */
/* A machine as a whole: partition, memory, devices, processors. */
#ifndef VMM_GUEST_H
#define VMM_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/bus.h>
#include <vmm/devices.h>
#include <vmm/loader.h>
#include <vmm/machine.h>
#include <vmm/memory.h>
#include <vmm/options.h>
#include <vmm/processor.h>
#include <vmm/terminal.h>
#include <whp/WinHvPlatform.h>

struct guest {
    uint32_t number; /* from 1 */
    const struct options *options;
    WHV_PARTITION_HANDLE partition;
    WHV_SYNTHETIC_PROCESSOR_FEATURES hyperv; /* what the guest is shown */
    struct memory memory;
    struct loader_entry entry;

    struct bus ports, mmio;
    struct machine_services services;
    struct terminal terminal;
    struct ioapic *ioapic;
    struct timers *timers;
    struct uart *uart;
    struct rtc *rtc;
    struct pit *pit;
    struct pic *pic;
    struct pm *pm;
    struct pci_bus *pci;
    struct debug_ports *debug_ports;
    struct test_device *test_device;
    struct hyperv_test *hyperv_test; /* NULL: without the interface */
    struct fw_cfg *fw_cfg;
    struct vpci *vpci; /* NULL: no devices were passed */

    struct processor *processors;
    uint32_t processor_count; /* those that have been created */

    uint64_t start_ns, end_ns;
    uint32_t ended; /* atomic: enum machine_end */
    uint32_t exit_code;
    volatile uint32_t *ends; /* counts up when a machine ends; main waits on it */
};

/* guest: all zero. False: a line was printed; guest_destroy is due all the same. ends: see struct guest. */
bool guest_create(struct guest *guest, const struct options *options, uint32_t number, volatile uint32_t *ends);
void guest_destroy(struct guest *guest);

/* Starts the processors' threads. When one can not be started the machine ends with MACHINE_ERROR. */
void guest_start(struct guest *guest);
/* After the end: waits for the threads. */
void guest_join(struct guest *guest);

/* Any thread. The first reason counts. */
void guest_end(struct guest *guest, enum machine_end why, uint32_t code);
enum machine_end guest_ended(const struct guest *guest); /* MACHINE_RUNNING: it has not */
/* The same, with what its console told: a reset or power-off after the kernel's panic is MACHINE_PANIC. */
enum machine_end guest_outcome(struct guest *guest);
uint64_t guest_time_ns(const struct guest *guest);

/* To be called now and then: notices a guest that has panicked and hangs, shows lines without an end. */
void guest_poll(struct guest *guest);

/* hr is a success, or a line says that call failed and how. */
bool guest_check(const struct guest *guest, HRESULT hr, const char *call);

#endif
