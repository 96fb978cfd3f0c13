/* SPDX-License-Identifier: MIT */
/* The porting layer of the library, as this kernel fulfils it: <hv/host.h> has the contracts. */
#include "percpu.h"
#include "sched.h"
#include <hv/base/bits.h>
#include <hv/host.h>
#include <hv/hv.h>
#include <kernel/acpi.h>
#include <kernel/clock.h>
#include <kernel/exit.h>
#include <kernel/host.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/string.h>
#include <kernel/thread.h>
#include <kernel/trap.h>

_Static_assert(HV_HPA_NONE == PHYS_NONE, "handed through by hv_host_virt_to_phys");

static void (*log_watcher)(const char *text);

void host_log_watch(void (*fn)(const char *text))
{
    __atomic_store_n(&log_watcher, fn, __ATOMIC_RELEASE);
}

void hv_host_log(enum hv_log_level level, const char *text)
{
    void (*watcher)(const char *text) = __atomic_load_n(&log_watcher, __ATOMIC_ACQUIRE);
    static const char *const names[] = {
        [HV_LOG_ERROR] = "error: ", [HV_LOG_WARNING] = "warning: ", [HV_LOG_INFO] = "", [HV_LOG_DEBUG] = "debug: "};

    kprintf("hv: %s%s\n", (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "", text);
    if (watcher)
        watcher(text);
}

_Noreturn void hv_host_panic(const char *text)
{
    panic("%s", text);
}

void *hv_host_alloc(size_t size)
{
    return heap_alloc(size);
}

void hv_host_free(void *p, size_t size)
{
    heap_free(p, size);
}

void *hv_host_page_alloc(void)
{
    return page_alloc();
}

void hv_host_page_free(void *page)
{
    page_free(page);
}

void *hv_host_pages_alloc(uint32_t count)
{
    void *pages = pages_alloc(count, 0);

    return pages ? memset(pages, 0, count * PAGE_SIZE) : NULL;
}

void hv_host_pages_free(void *pages, uint32_t count)
{
    pages_free(pages, count);
}

hv_hpa_t hv_host_virt_to_phys(const volatile void *va, uint64_t *size)
{
    return virt_to_phys_run(va, size);
}

void *hv_host_phys_to_virt(hv_hpa_t pa)
{
    return phys_to_virt(pa);
}

uint32_t hv_host_cpu_count(void)
{
    return cpu_count();
}

uint32_t hv_host_cpu_id(void)
{
    return this_cpu()->id;
}

void hv_host_cpu_call(uint32_t cpu, void (*fn)(void *arg), void *arg)
{
    cpu_call(cpu, fn, arg);
}

void hv_host_preempt_disable(void)
{
    preempt_count_add(1);
}

void hv_host_preempt_enable(void)
{
    preempt_enable();
}

uint64_t hv_host_irq_save(void)
{
    return irq_save();
}

void hv_host_irq_restore(uint64_t flags)
{
    irq_restore(flags);
}

/*
 * This kernel has no user mode, changes no control registers once it is up, and is compiled for the general registers
 * alone: it is the threads that use others.
 */
bool hv_host_takes_back(void)
{
    sched_on_leave(hv_cpu_give_back);
    return true;
}

void hv_host_kick(uint32_t cpu)
{
    cpu_kick(cpu);
}

bool hv_host_should_yield(void)
{
    return this_cpu()->need_resched;
}

void hv_host_yield(void)
{
    thread_yield();
}

void hv_host_timer(uint64_t deadline_ns)
{
    sched_set_alarm(deadline_ns);
}

void hv_host_wait(const volatile uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    thread_wait(word, expected, deadline_ns);
}

void hv_host_wake(const volatile uint32_t *word)
{
    thread_wake(word);
}

uint64_t hv_host_time_ns(void)
{
    return clock_ns();
}

/* -------------------------------------------------------------------------------- tier 2 */

/* RAM as the loader found it; what overlaps it in a list of firmware's is not asked for. */
static bool is_ram(const struct boot_memory *m)
{
    return m->type < BOOT_MEMORY_RESERVED && m->length && m->base + m->length > m->base;
}

/* Never RAM: it is mapped already, and cached. */
void *hv_host_mmio_map(hv_hpa_t pa, uint64_t size)
{
    const struct boot_info *info = boot_info();

    if (!size || pa + size < pa || !IS_ALIGNED(pa | size, PAGE_SIZE))
        return NULL;
    for (uint32_t i = 0; i < info->memory_count; i++) {
        const struct boot_memory *m = &info->memory[i];

        if (is_ram(m) && m->base < pa + size && pa < m->base + m->length)
            return NULL;
    }
    return mmio_map(pa, size);
}

void hv_host_mmio_unmap(void *va, uint64_t size)
{
    mmio_unmap(va, size);
}

const void *hv_host_acpi_table(const char signature[4], uint32_t n, size_t *size)
{
    const struct acpi_header *table = acpi_find(signature, n);

    if (table)
        *size = table->length;
    return table;
}

static struct spinlock pci_lock;

uint64_t hv_host_pci_lock(void)
{
    return spin_lock(&pci_lock);
}

void hv_host_pci_unlock(uint64_t flags)
{
    spin_unlock(&pci_lock, flags);
}

uint32_t hv_host_irq_alloc(void (*fn)(void *arg), void *arg)
{
    return irq_vector_alloc(fn, arg);
}

void hv_host_irq_free(uint32_t vector)
{
    irq_vector_free((uint8_t)vector);
}

uint32_t hv_host_apic_id(uint32_t cpu)
{
    const struct cpu *c = cpu_get(cpu);

    return c ? c->apic_id : ~0u;
}

static host_dma_fn *dma_policy;

void host_dma_policy(host_dma_fn *fn)
{
    dma_policy = fn;
}

/* This kernel trusts the devices that it keeps with all of RAM. */
bool hv_host_dma_range(uint16_t segment, uint16_t bdf, uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    const struct boot_info *info = boot_info();

    if (dma_policy)
        return dma_policy(segment, bdf, n, start, size);
    for (uint32_t i = 0; i < info->memory_count; i++) {
        const struct boot_memory *m = &info->memory[i];

        if (!is_ram(m) || n--)
            continue;
        *start = ALIGN_DOWN(m->base, PAGE_SIZE);
        *size = ALIGN_UP(m->base + m->length, PAGE_SIZE) - *start;
        return true;
    }
    return false;
}
