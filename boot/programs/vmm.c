/* SPDX-License-Identifier: MIT */
/* The VMM as programs of the image: what <vmm/system.h> asks for, from this kernel. */
#include <hv/hv.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/memory.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/program.h>
#include <kernel/string.h>
#include <kernel/thread.h>
#include <vmm/demo.h>
#include <vmm/system.h>

/* ----------------------------------------------------------------------------- the machine */

#define CPUID_ECX_HYPERVISOR (1u << 31)
#define PORT_E9              0xe9 /* reads as its own number in Bochs, and in QEMU with a debug console */

static const struct {
    const char *signature, *name;
} engines[] = {
    {"TCGTCGTCGTCG", "QEMU (TCG)"}, {"KVMKVMKVM", "KVM"}, {"Microsoft Hv", "Hyper-V"}, {"VMwareVMware", "VMware"}};

static const char *engine_name(void)
{
    struct cpuid leaf = cpuid(0x40000000, 0);
    uint32_t id[4] = {leaf.ebx, leaf.ecx, leaf.edx, 0};

    if (!(cpuid(1, 0).ecx & CPUID_ECX_HYPERVISOR))
        return inb(PORT_E9) == PORT_E9 ? "Bochs" : "bare hardware";
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        if (strcmp((const char *)id, engines[i].signature) == 0)
            return engines[i].name;
    return "an unknown hypervisor";
}

const char *system_machine(void)
{
    static char text[128];

    ksnprintf(text, sizeof(text), "%s, started by %s, %u CPUs", engine_name(), boot_info()->firmware, cpu_count());
    return text;
}

const char *system_hypervisor(void)
{
    static char text[200];
    const struct hv_platform *platform = hv_platform();

    if (!platform->present)
        return platform->reason;
    ksnprintf(text, sizeof(text), "%s: %s", platform->backend, platform->features);
    return text;
}

/* ------------------------------------------------------------------------- console and memory */

void system_print(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    kvprintf(fmt, ap);
    va_end(ap);
}

static size_t pages_of(size_t size)
{
    return (size + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* Large memory begins at a multiple of 2 MiB, so that it can be mapped by large pages. */
void *system_memory_alloc(size_t size)
{
    void *memory = pages_alloc(pages_of(size), size >= SIZE_2M ? SIZE_2M : 0);

    if (memory)
        memset(memory, 0, pages_of(size) * PAGE_SIZE);
    return memory;
}

void system_memory_free(void *memory, size_t size)
{
    if (memory)
        pages_free(memory, pages_of(size));
}

/* --------------------------------------------------------------------------- threads and time */

struct system_thread *system_thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
    return (struct system_thread *)thread_create(name, fn, arg, CPU_ANY);
}

void system_thread_join(struct system_thread *thread)
{
    thread_join((struct thread *)thread);
}

void system_wait(const volatile uint32_t *word, uint32_t expected, uint32_t milliseconds)
{
    thread_wait(word, expected, clock_ns() + milliseconds * NS_PER_MS);
}

void system_wake(const volatile uint32_t *word)
{
    thread_wake(word);
}

uint64_t system_time_us(void)
{
    return clock_ns() / NS_PER_US;
}

/* ----------------------------------------------------------------------------------- programs */

static int demo(const struct boot_info *info)
{
    (void)info;
    return demo_main();
}

KERNEL_PROGRAM(demo, "a guest that goes from real through protected to long mode, and the exits it made", demo);
