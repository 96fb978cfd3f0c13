/* SPDX-License-Identifier: MIT */
/* The porting layer of the library, as this kernel fulfils it: <hv/host.h> has the contracts. */
#include "percpu.h"
#include "sched.h"
#include <hv/host.h>
#include <kernel/clock.h>
#include <kernel/exit.h>
#include <kernel/memory.h>
#include <kernel/print.h>
#include <kernel/string.h>
#include <kernel/thread.h>

_Static_assert(HV_HPA_NONE == PHYS_NONE, "handed through by hv_host_virt_to_phys");

void hv_host_log(enum hv_log_level level, const char *text)
{
    static const char *const names[] = {
        [HV_LOG_ERROR] = "error: ", [HV_LOG_WARNING] = "warning: ", [HV_LOG_INFO] = "", [HV_LOG_DEBUG] = "debug: "};

    kprintf("hv: %s%s\n", (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "", text);
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
    return cpu_id();
}

void hv_host_cpu_call(uint32_t cpu, void (*fn)(void *arg), void *arg)
{
    cpu_call(cpu, fn, arg);
}

void hv_host_preempt_disable(void)
{
    preempt_disable();
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
