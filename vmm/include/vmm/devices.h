/* SPDX-License-Identifier: MIT */
/*
 * The devices of the machine, one module each (vmm/<name>.c). Create: allocates and registers on the buses; NULL: no
 * memory, or no place on the bus (a line was printed): such a bus is of no use any more. Nothing is freed before the
 * machine goes: <name>_destroy, which takes NULL too.
 *
 * Locks: a device holds its own while it drives a line, and the IOAPIC its own while it sends; never the other way.
 */
#ifndef VMM_DEVICES_H
#define VMM_DEVICES_H

#include <stddef.h>
#include <vmm/bus.h>
#include <vmm/lock.h>
#include <vmm/machine.h>

/* Where things are: the ACPI tables (vmm/acpi.c, vmm/dsdt.asl) say the same. */
#define IOAPIC_BASE     0xfec00000ull
#define IOAPIC_PINS     24u
#define COM1_PORT       0x3f8u
#define COM1_IRQ        4u
#define RTC_PORT        0x70u
#define RTC_IRQ         8u
#define PIT_PORT        0x40u
#define PIT_IRQ_PIN     2u /* ISA IRQ 0 is at pin 2: an interrupt source override says so */
#define PIT_SPEAKER     0x61u
#define PIC_PORT_MASTER 0x20u
#define PIC_PORT_SLAVE  0xa0u
#define PM_BASE         0x600u /* event block 4 bytes, control block 2 at +4, timer 4 at +8 */
#define PM_EVENT        0u
#define PM_CONTROL      4u
#define PM_TIMER        8u
#define PM_SLEEP_TYPE   5u /* SLP_TYP of S5 in \_S5 */
#define ACPI_SCI_IRQ    9u
#define RESET_PORT      0xcf9u /* FADT's RESET_REG */
#define RESET_VALUE     6u
#define I8042_PORT      0x60u /* data; command and status at 0x64: the controller's reset line, and nothing behind it */
#define PVPANIC_PORT    0x505u
#define DEBUG_EXIT_PORT 0xf4u
#define TEST_LATCH_PORT 0xe0u
#define TEST_PINS_PORT  0x2000u /* one a pin of the IOAPIC; below the window of PCI */
#define TEST_SYNIC_PORT 0x3000u
#define TEST_MEMORY     0xff000000ull
#define TEST_MEM_SIZE   0x10000ull
#define FW_CFG_PORT     0x510u
#define PCI_ECAM_BASE   0xb0000000ull /* of one bus: guests look at 32 places, not at those of 256 buses */
#define PCI_ECAM_SIZE   0x100000ull
#define PCI_CONFIG_PORT 0xcf8u
#define PCI_MMIO_BASE   0xc0000000ull /* window for BARs, up to the IOAPIC */
#define PCI_MMIO_END    0xfec00000ull
#define PCI_IO_BASE     0x4000u
#define PCI_IO_END      0x10000u

struct device_buses {
    struct bus *ports, *memory;
};

/* Zeroed memory of a device; NULL: there is none, and a line was printed. */
void *device_alloc(size_t size, const char *name);
void device_free(void *device, size_t size);

/* ------------------------------------------------------------------------------- ioapic.c */
struct ioapic *ioapic_create(const struct device_buses *buses, const struct machine_services *services);
void ioapic_destroy(struct ioapic *ioapic);
/*
 * Level lines stay raised until lowered; on edge pins raising is the event. Raised is what the pin's polarity calls
 * active. One device a pin. Any thread.
 */
void ioapic_set_line(struct ioapic *ioapic, uint32_t pin, bool is_raised);
void ioapic_pulse(struct ioapic *ioapic, uint32_t pin); /* raises and lowers: an edge */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector); /* X64ApicEoi exit: Remote-IRR ends; still raised: again */

/* --------------------------------------------------------------------------------- uart.c */
struct uart;
/* Output goes to write(context, byte), without the device's lock. */
struct uart *uart_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line irq,
                         void (*write)(void *context, uint8_t byte), void *context);
void uart_destroy(struct uart *uart);
/* A byte from the line. False: the receiver is full, try again later. Any thread. */
bool uart_receive(struct uart *uart, uint8_t byte);

/* ------------------------------------------------------------- rtc.c, pit.c, pic.c, pm.c, ... */
struct rtc;
struct rtc *rtc_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line irq,
                       uint64_t memory_below_4g, uint64_t memory_above_4g);
void rtc_destroy(struct rtc *rtc);

struct pit; /* ports 40h to 43h and 61h; channel 0 interrupts, channel 2 with its gate and output in 61h */
struct pit *pit_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line irq);
void pit_destroy(struct pit *pit);

/*
 * Devices with timers of their own (PIT channel 0, RTC alarm and periodic interrupt): when the next one is due in
 * machine time, and what to do then. One thread of the machine serves them all (vmm/timers.c); a device whose next
 * moment changes calls timers_kick.
 */
struct timers;
struct timers *timers_create(const struct machine_services *services);
void timers_destroy(struct timers *timers); /* ends the thread */
typedef uint64_t timer_poll(void *device,
                            uint64_t now_ns); /* does what is due; returns the next moment, UINT64_MAX: none */
bool timers_add(struct timers *timers, timer_poll *poll, void *device); /* before timers_start */
bool timers_start(struct timers *timers);
void timers_kick(struct timers *timers);
timer_poll pit_poll, rtc_poll, pm_poll;
void pit_set_timers(struct pit *pit, struct timers *timers);
void rtc_set_timers(struct rtc *rtc, struct timers *timers);
struct pm;
void pm_set_timers(struct pm *pm, struct timers *timers);

struct pic; /* both controllers: registers answer, all lines are masked for good */
struct pic *pic_create(const struct device_buses *buses);
void pic_destroy(struct pic *pic);

/* ACPI: PM1 event and control blocks, PM timer (3.579545 MHz, 32 bits), reset register, i8042's reset */
struct pm *pm_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line sci);
void pm_destroy(struct pm *pm);

/* pvpanic (port 505h: bit 0 panicked, bit 1 crash-loaded) and the debug-exit port (F4h). */
struct debug_ports;
struct debug_ports *debug_ports_create(const struct device_buses *buses, const struct machine_services *services);
void debug_ports_destroy(struct debug_ports *ports);

/* What test kernels exercise emulation and interrupts with: a latch of ports, memory that is a device's, pins. */
struct test_device;
struct test_device *test_device_create(const struct device_buses *buses, struct ioapic *ioapic);
void test_device_destroy(struct test_device *device);

/* QEMU's configuration device, ports 510h and 511h: how many processors, how many bytes of memory. */
struct fw_cfg;
struct fw_cfg *fw_cfg_create(const struct device_buses *buses, uint32_t processors, uint64_t memory);
void fw_cfg_destroy(struct fw_cfg *cfg);

/* ---------------------------------------------------------------------------------- pci.c */
/* One bus by CF8/CFC and ECAM. A function's 4 KiB configuration space is its own to answer. */
struct pci_bus;
struct pci_function {
    uint32_t (*config_read)(void *function, uint32_t offset, uint32_t size); /* naturally aligned */
    void (*config_write)(void *function, uint32_t offset, uint32_t size, uint32_t value);
    void *function;
};
struct pci_bus *pci_create(const struct device_buses *buses); /* with a host bridge at 0:0.0 */
void pci_destroy(struct pci_bus *pci);
bool pci_add(struct pci_bus *pci, uint8_t device, uint8_t fn, const struct pci_function *function);

#endif
