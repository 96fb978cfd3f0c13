/* SPDX-License-Identifier: MIT */
/* From the loader's hand-over to the program that the command line names. */
#include "acpi_internal.h"
#include "apic.h"
#include "call.h"
#include "clock_internal.h"
#include "console.h"
#include "fpu.h"
#include "input.h"
#include "pages.h"
#include "paging.h"
#include "program.h"
#include "sched.h"
#include "smp.h"
#include "stack.h"
#include <hv/base/bits.h>
#include <hv/hv.h>
#include <kernel/exit.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/string.h>

_Noreturn void kernel_main(const struct boot_info *loader);

static struct boot_info info; /* our copy */

const struct boot_info *boot_info(void)
{
    return &info;
}

/* The loader's strings end where they should, its counts fit: nothing after this needs to ask again. */
static void info_copy(const struct boot_info *loader)
{
    memcpy(&info, loader, sizeof(info));
    if (info.memory_count > BOOT_MEMORY_MAX)
        info.memory_count = BOOT_MEMORY_MAX;
    if (info.module_count > BOOT_MODULES_MAX)
        info.module_count = BOOT_MODULES_MAX;
    if (info.rsdp_length > sizeof(info.rsdp))
        info.rsdp_length = 0;
    info.firmware[sizeof(info.firmware) - 1] = '\0';
    info.command_line[BOOT_STRING_MAX - 1] = '\0';
    for (uint32_t i = 0; i < info.module_count; i++)
        info.modules[i].string[BOOT_STRING_MAX - 1] = '\0';
}

static bool is_ram(uint64_t base, uint64_t length)
{
    for (uint64_t at = base & ~(PAGE_SIZE - 1); at < base + length; at += PAGE_SIZE) {
        if (!phys_to_virt(at))
            return false;
    }
    return base + length >= base;
}

/* A module that is not in RAM would fault at its first byte: out with it. */
static void modules_check(void)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < info.module_count; i++) {
        if (is_ram(info.modules[i].base, info.modules[i].length))
            memmove(&info.modules[kept++], &info.modules[i], sizeof(info.modules[i]));
        else
            kprintf("barewhp: module \"%s\" ignored: it is not in RAM\n", info.modules[i].string);
    }
    info.module_count = kept;
}

static void console_options(void)
{
    char name[16];

    if (option_find("console", name, sizeof(name)))
        console_select(name);
}

/* avoid=WORD[,WORD]: what the machine has, but gets wrong. */
static void avoid_options(void)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } known[] = {{"delivery", HV_AVOID_INTERRUPT_DELIVERY},
                 {"posted", HV_AVOID_POSTED_INTERRUPTS},
                 {"xsavec", HV_AVOID_XSAVEC},
                 {"nothing", 0}};
    char words[64];
    uint32_t bits = 0;

    if (!option_find("avoid", words, sizeof(words)))
        return;
    for (char *word = words, *end; *word; word = *end ? end + 1 : end) {
        size_t i = 0, length;

        for (end = word; *end && *end != ',';)
            end++;
        length = (size_t)(end - word);
        while (i < ARRAY_COUNT(known) && (strlen(known[i].word) != length || memcmp(known[i].word, word, length) != 0))
            i++;
        if (i < ARRAY_COUNT(known))
            bits |= known[i].bit;
        else
            kprintf("barewhp: avoid=%s: ignored: there is no such word\n", word);
    }
    hv_platform_avoid(bits);
}

/* spare_first: the first CPU takes interrupts and what is pinned to it, nothing else. */
static void spare_option(void)
{
    if (option_find("spare_first", NULL, 0) && cpu_count() > 1)
        sched_spare(0);
}

static void print_banner(void)
{
    kprintf("barewhp: BareWHP host kernel, started by %s\n", info.firmware);
    if (info.command_line[0])
        kprintf("barewhp: command line: %s\n", info.command_line);
    if (info.dropped)
        kprintf("barewhp: the loader had no room for %u entries\n", info.dropped);
}

static void print_machine(void)
{
    struct cpuid vendor = cpuid(0, 0);
    uint32_t id[3] = {vendor.ebx, vendor.edx, vendor.ecx};
    struct cpuid brand[3] = {{0}};
    const char *name = (const char *)brand;

    if (cpuid(0x80000000, 0).eax >= 0x80000004) {
        for (unsigned i = 0; i < 3; i++)
            brand[i] = cpuid(0x80000002 + i, 0);
    }
    while (*name == ' ')
        name++;
    kprintf("barewhp: CPU %.12s, %.*s, TSC %lu kHz\n", (const char *)id,
            (int)(sizeof(brand) - (size_t)(name - (const char *)brand)), name, clock_tsc_hz() / 1000);
    kprintf("barewhp: %u CPUs, %llu MiB of memory, %llu MiB free, %u modules\n", cpu_count(),
            pages_total_count() * PAGE_SIZE >> 20, pages_free_count() * PAGE_SIZE >> 20, info.module_count);
}

static void memory_init(void)
{
    pages_init(&info);
    paging_init(&info);
    pages_reclaim_loader(&info);
    stacks_init();
    modules_check();
}

static void threads_init(void)
{
    fpu_init(THREAD_FPU_ROOM);
    fpu_init_cpu();
    apic_timer_calibrate();
    sched_init();
    call_init();
    apic_timer_start(0); /* the first interrupt sets the timer for the rest */
    __asm__ volatile("sti");
}

static void program_thread(void *arg)
{
    *(int *)arg = program_main(&info);
}

static int program_run(void)
{
    int status = 0;
    struct thread *t = thread_create("program", program_thread, &status, CPU_ANY);

    if (!t)
        panic("no memory for the program's thread");
    thread_join(t);
    return status;
}

_Noreturn void kernel_main(const struct boot_info *loader)
{
    smp_init_first();
    console_init();
    if (loader->magic != BOOT_INFO_MAGIC)
        panic("the loader's structure has magic 0x%lx", loader->magic);
    info_copy(loader);
    console_options();
    print_banner();
    avoid_options();
    memory_init();
    acpi_init(&info);
    clock_init();
    apic_init(smp_needs_x2apic() || option_find("x2apic", NULL, 0));
    threads_init();
    smp_start(&info);
    spare_option();
    input_init(console_has_uart());
    print_machine();
    kernel_exit(program_run());
}
