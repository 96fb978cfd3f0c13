/* SPDX-License-Identifier: MIT */
/* All CPUs: their structures, and the start of those that firmware left asleep (SDM volume 3, 9.4). */
#include "smp.h"
#include "acpi_internal.h"
#include "apic.h"
#include "clock_internal.h"
#include "descriptors.h"
#include "fpu.h"
#include "paging.h"
#include "sched.h"
#include "stack.h"
#include <hv/base/bits.h>
#include <kernel/exit.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/string.h>

#define IST_BYTES ((IST_COUNT - 1) * IST_STACK_SIZE)

#define CR4_MCE BIT64(6)

#define INIT_WAIT_NS    (10 * NS_PER_MS)
#define STARTUP_WAIT_NS (10 * NS_PER_MS)
#define ONLINE_WAIT_NS  (2 * NS_PER_S)

/* where the trampoline may go: above what a BIOS keeps for itself, below what it may keep at the top */
#define TRAMPOLINE_FIRST 0x8000
#define TRAMPOLINE_LAST  0x8f000

#define WARP_ROUNDS 8

struct trampoline_data { /* the end of trampoline.asm */
    uint64_t root, stack, argument, entry;
};

extern const char trampoline_start[], trampoline_end[], trampoline_data[];

static uint8_t first_ist[IST_BYTES] __attribute__((aligned(16)));
static struct cpu first_cpu;
static struct cpu *cpus[CPU_MAX];
static uint32_t count;

static uint32_t ids[CPU_MAX];
static uint32_t id_count;

/* the two CPUs' TSC readings, each waiting for the other's to change */
static volatile uint64_t warp_first, warp_other;

uint32_t cpu_count(void)
{
    return __atomic_load_n(&count, __ATOMIC_RELAXED);
}

uint32_t cpu_id(void)
{
    return this_cpu()->id;
}

struct cpu *cpu_get(uint32_t id)
{
    return id < CPU_MAX ? cpus[id] : NULL;
}

static void enable_machine_checks(void)
{
    WRITE_CR(4, READ_CR(4) | CR4_MCE);
}

void smp_init_first(void)
{
    cpus[0] = &first_cpu;
    count = 1;
    descriptors_load(&first_cpu, first_ist);
    first_cpu.online = 1;
    enable_machine_checks();
}

bool smp_needs_x2apic(void)
{
    id_count = acpi_cpus(ids, CPU_MAX);
    for (uint32_t i = 0; i < id_count; i++) {
        if (ids[i] > 254)
            return true;
    }
    return false;
}

/* The first CPU's half of a few exchanges of TSC readings: neither may see the other's from its own future. */
static void warp_check_first(void)
{
    for (unsigned i = 0; i < WARP_ROUNDS; i++) {
        uint64_t seen = warp_other;

        warp_first = rdtsc();
        while (warp_other == seen)
            cpu_relax();
        if (rdtsc() < warp_other)
            clock_distrust();
    }
}

static void warp_check_other(void)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i < WARP_ROUNDS; i++) {
        while (warp_first == seen)
            cpu_relax();
        seen = warp_first;
        if (rdtsc() < seen)
            clock_distrust();
        warp_other = rdtsc();
    }
}

/* The first C function of another CPU, on its idle thread's stack, still with the trampoline's page tables. */
static _Noreturn void other_main(struct cpu *cpu)
{
    paging_load();
    descriptors_load(cpu, (void *)(cpu->tss.ist[1] - IST_STACK_SIZE));
    enable_machine_checks();
    fpu_init_cpu();
    apic_init_cpu();
    cpu->need_resched = 1; /* the first look into the queue marks the CPU as idle and sets its timer */
    __atomic_store_n(&cpu->online, 1, __ATOMIC_RELEASE);
    warp_check_other();
    sched_unlock(sched_lock() & ~RFLAGS_IF);
    sched_idle(NULL);
}

static struct cpu *cpu_alloc(uint32_t apic_id)
{
    struct cpu *cpu = page_alloc();
    char *ist = pages_alloc(IST_BYTES / PAGE_SIZE, 0);
    char name[16];

    ksnprintf(name, sizeof(name), "idle/%u", count);
    if (!cpu || !ist)
        panic("no memory for CPU %u", count);
    cpu->id = count;
    cpu->apic_id = apic_id;
    cpu->timer_at = ~0ull;
    cpu->tss.ist[1] = (uintptr_t)ist + IST_STACK_SIZE;
    cpu->idle = thread_alloc(name, sched_idle, NULL, cpu->id);
    if (!cpu->idle)
        panic("no memory for CPU %u", count);
    cpu->idle->last_cpu = cpu->id;
    cpu->current = cpu->idle;
    return cpu;
}

static bool wait_online(const struct cpu *cpu, uint64_t ns)
{
    uint64_t end = clock_ns() + ns;

    while (!__atomic_load_n(&cpu->online, __ATOMIC_ACQUIRE)) {
        if (clock_ns() >= end)
            return false;
        cpu_relax();
    }
    return true;
}

/* INIT, start-up, and a second start-up for CPUs that miss the first. */
static bool start_cpu(struct cpu *cpu, uint64_t trampoline)
{
    struct trampoline_data *data =
        (void *)(BOOT_DIRECT_MAP + trampoline + (uint64_t)(trampoline_data - trampoline_start));

    data->stack = (uintptr_t)cpu->idle->stack + STACK_SIZE;
    data->argument = (uintptr_t)cpu;
    data->entry = (uintptr_t)other_main;
    warp_first = warp_other = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    apic_send_init(cpu->apic_id);
    clock_delay_ns(INIT_WAIT_NS);
    apic_send_startup(cpu->apic_id, (uint8_t)(trampoline / PAGE_SIZE));
    if (wait_online(cpu, STARTUP_WAIT_NS))
        return true;
    apic_send_startup(cpu->apic_id, (uint8_t)(trampoline / PAGE_SIZE));
    return wait_online(cpu, ONLINE_WAIT_NS);
}

static bool page_is_usable(const struct boot_info *info, uint64_t page)
{
    bool usable = false;

    for (uint32_t i = 0; i < info->memory_count; i++) {
        const struct boot_memory *m = &info->memory[i];
        bool touches = m->length && m->base < page + PAGE_SIZE && m->base + m->length > page;

        if (touches && m->type != BOOT_MEMORY_USABLE && m->type != BOOT_MEMORY_LOADER)
            return false;
        usable |= touches && m->base <= page && m->base + m->length >= page + PAGE_SIZE;
    }
    for (uint32_t i = 0; i < info->module_count; i++) {
        if (info->modules[i].base < page + PAGE_SIZE && info->modules[i].base + info->modules[i].length > page)
            return false;
    }
    return usable;
}

static uint64_t trampoline_page(const struct boot_info *info)
{
    for (uint64_t page = TRAMPOLINE_FIRST; page <= TRAMPOLINE_LAST; page += PAGE_SIZE) {
        if (page_is_usable(info, page) && phys_to_virt(page))
            return page;
    }
    return 0;
}

static uint32_t wanted_cpus(void)
{
    char value[8];
    uint32_t n = 0;

    if (!option_find("cpus", value, sizeof(value)))
        return CPU_MAX;
    for (const char *c = value; *c >= '0' && *c <= '9'; c++)
        n = n * 10 + (uint32_t)(*c - '0');
    return HV_MIN(HV_MAX(n, 1u), (uint32_t)CPU_MAX);
}

static bool add_cpu(uint32_t apic_id, uint64_t trampoline)
{
    struct cpu *cpu = cpu_alloc(apic_id);

    cpus[cpu->id] = cpu;
    if (!start_cpu(cpu, trampoline)) {
        cpus[cpu->id] = NULL; /* its memory is lost: it may yet wake up in it */
        kprintf("barewhp: the CPU with APIC ID %u does not start; no more are tried\n", apic_id);
        return false;
    }
    warp_check_first();
    __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
    return true;
}

void smp_start(const struct boot_info *info)
{
    uint32_t wanted = wanted_cpus(), own = apic_id();
    uint64_t trampoline = trampoline_page(info), root;
    void *tables[4];
    bool good = true;

    first_cpu.apic_id = own;
    if (id_count < 2 || wanted < 2)
        return;
    if (!trampoline) {
        kprintf("barewhp: no free page below 1 MiB: the other CPUs stay off\n");
        return;
    }
    root = paging_start_root(trampoline, tables);
    if (root >> 32)
        panic("page tables for the other CPUs' start above 4 GiB");
    memcpy((void *)(BOOT_DIRECT_MAP + trampoline), trampoline_start, (size_t)(trampoline_end - trampoline_start));
    ((struct trampoline_data *)(BOOT_DIRECT_MAP + trampoline + (uint64_t)(trampoline_data - trampoline_start)))->root =
        root;
    for (uint32_t i = 0; i < id_count && count < wanted && good; i++) {
        if (ids[i] != own)
            good = add_cpu(ids[i], trampoline);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(tables) && good; i++)
        page_free(tables[i]);
}
