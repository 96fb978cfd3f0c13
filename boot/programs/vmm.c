/* SPDX-License-Identifier: MIT */
/* The VMM as programs of the image: what <vmm/system.h> asks for, from this kernel. */
#include <hv/hv.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/event.h>
#include <kernel/memory.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/program.h>
#include <kernel/string.h>
#include <kernel/thread.h>
#include <vmm/demo.h>
#include <vmm/main.h>
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

/* ------------------------------------------------------------------------- printing and memory */

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

uint64_t system_memory_free_bytes(void)
{
    return pages_free_count() * PAGE_SIZE;
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

/* A wait that would end after the end of time has no deadline. */
static uint64_t deadline_in(uint64_t microseconds)
{
    uint64_t now = clock_ns();

    return microseconds < (UINT64_MAX - now) / NS_PER_US ? now + microseconds * NS_PER_US : 0;
}

void system_wait(const volatile uint32_t *word, uint32_t expected, uint64_t microseconds)
{
    thread_wait(word, expected, deadline_in(microseconds));
}

void system_wake(const volatile uint32_t *word)
{
    thread_wake(word);
}

void *system_event_create(void)
{
    return event_create(EVENT_AUTO);
}

void system_event_set(void *event)
{
    event_signal(event);
}

bool system_event_wait(void *event, uint64_t microseconds)
{
    return event_wait(event, deadline_in(microseconds));
}

void system_event_close(void *event)
{
    event_close(event);
}

uint64_t system_time_ns(void)
{
    return clock_ns();
}

uint64_t system_wall_seconds(void)
{
    return clock_wall_seconds();
}

uint32_t system_cpu_count(void)
{
    return cpu_count();
}

/* --------------------------------------------------------------------------- console */

void system_console_write(const char *data, size_t length)
{
    console_write(data, length);
}

int system_console_read(uint64_t microseconds)
{
    return console_read(deadline_in(microseconds));
}

/* --------------------------------------------------------------------------- files and options */

static const char *arguments_of(const char *string)
{
    while (*string && *string != ' ')
        string++;
    while (*string == ' ')
        string++;
    return string;
}

bool system_file_find(const char *name, uint32_t n, struct system_file *file)
{
    size_t length = strlen(name);
    struct module m;

    for (uint32_t i = 0; module_get(i, &m); i++) {
        if (strncmp(m.string, name, length) || (m.string[length] != ' ' && m.string[length] != '\0') || n--)
            continue;
        *file = (struct system_file){.data = m.data, .size = m.length, .arguments = arguments_of(m.string)};
        return true;
    }
    return false;
}

bool system_option(const char *name, char *value, size_t size)
{
    return option_find(name, value, size);
}

/* Words of the command line that are the kernel's, not the program's. */
static bool is_kernel_option(const char *word)
{
    static const char *const names[] = {"program", "console", "x2apic", "spare_first"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (word_find(word, names[i], NULL, 0))
            return true;
    return false;
}

bool system_option_at(uint32_t n, char *option, size_t size)
{
    for (uint32_t i = 0; option_at(i, option, size); i++)
        if (!is_kernel_option(option) && !n--)
            return true;
    return false;
}

/* ----------------------------------------------------------------------------------- programs */

static int demo(const struct boot_info *info)
{
    (void)info;
    return demo_main();
}

KERNEL_PROGRAM(demo, "a guest that goes from real through protected to long mode, and the exits it made", demo);

static int vmm(const struct boot_info *info)
{
    (void)info;
    return vmm_main();
}

KERNEL_PROGRAM(vmm, "a Linux or multiboot kernel in a virtual machine", vmm);
