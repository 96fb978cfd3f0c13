/* SPDX-License-Identifier: MIT */
/*
 * Devices of the fake host. The library reaches them by hv_host_mmio_map and by arch/cpu.h's cpu_mmio_* and cpu_in/out
 * only: each access comes to a function here.
 */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include <hv/host.h>

/* Accesses are aligned and inside; any thread, interrupts on or off. */
struct fake_device_ops {
    uint64_t (*read)(void *arg, uint64_t offset, uint32_t size);
    void (*write)(void *arg, uint64_t offset, uint32_t size, uint64_t value);
};
extern const struct fake_device_ops fake_device_bytes; /* plain memory, at arg */

void fake_mmio_add(hv_hpa_t pa, uint64_t size, const struct fake_device_ops *ops, void *arg); /* page-aligned */
void fake_mmio_remove(hv_hpa_t pa);
void fake_ports_add(uint16_t first, uint32_t count, const struct fake_device_ops *ops, void *arg);
void fake_ports_remove(uint16_t first);
bool fake_pci_locked(void); /* the calling thread is between hv_host_pci_lock and unlock */

void fake_acpi_add(const void *table, size_t size); /* whole; stays the caller's. Checksums are not looked at */

bool fake_irq_raise(uint32_t vector); /* on the calling thread's CPU. False: nobody's */
void fake_irq_limit(uint32_t count);  /* vectors that there are */
#define FAKE_APIC_ID(cpu) (2 * (cpu) + 1)

/*
 * The same by way of a local APIC, that keeps it while the CPU has interrupts off or is inside a guest; else its
 * handler is called at once, on that CPU, which the calling thread plays. What is pending for a vector that is given
 * back is dropped.
 */
void fake_apic_send(uint32_t apic_id, uint8_t vector);
void fake_on_apic_id(void (*fn)(void)); /* called by hv_host_apic_id before it answers. NULL: nothing */
int fake_apic_take(uint32_t cpu);       /* the CPU takes the highest that is pending; -1: none */

void fake_dma_range(hv_hpa_t start, uint64_t size); /* one more, for all devices */

/* ------------------------------------------------------------- between the parts of the fake */

hv_hpa_t fake_mmio_to_phys(const volatile void *va, uint64_t *left);
void fake_device_reset(void);
void fake_device_assert_clean(void);

#endif
