/* SPDX-License-Identifier: MIT */
#include "paging.h"
#include "pages.h"
#include <hv/base/bits.h>
#include <kernel/cpu.h>
#include <kernel/exit.h>
#include <kernel/lock.h>
#include <kernel/print.h>
#include <kernel/string.h>

#define MSR_EFER 0xc0000080
#define EFER_NXE BIT64(11)

#define CR0_WP   BIT64(16)
#define CR0_NW   BIT64(29)
#define CR0_CD   BIT64(30)
#define CR4_PGE  BIT64(7)
#define CPUID_NX BIT32(20) /* 0x80000001 EDX */
#define CPUID_1G BIT32(26)

#define PHYS_LIMIT (1ull << 52) /* no CPU has more */

#define LEVELS 4 /* 4: PML4 ... 1: page table */

extern char kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[], kernel_data_start[],
    kernel_data_end[];

static struct spinlock lock; /* for writes to the tables after boot, and window_next */
static uint64_t *root;
static uint64_t window_next;
static uint64_t kernel_offset; /* physical address of the image minus its linked one */
static bool has_1g;
static struct {
    uint64_t base, end;
} largest; /* RAM range: answers most questions about addresses without a walk */

static uint64_t level_size(unsigned level)
{
    return PAGE_SIZE << 9 * (level - 1);
}

static uint64_t *entry_of(uint64_t *table, uint64_t va, unsigned level)
{
    return &table[va >> (12 + 9 * (level - 1)) & 511];
}

static uint64_t *table_at(uint64_t entry)
{
    return (uint64_t *)(BOOT_DIRECT_MAP + (entry & PTE_ADDRESS));
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & PTE_LARGE);
}

/* The next lower table, created when missing. NULL without memory. */
static uint64_t *descend(uint64_t *entry)
{
    uint64_t *table;

    if (*entry & PTE_PRESENT)
        return table_at(*entry);
    table = page_alloc();
    if (table)
        *entry = ((uintptr_t)table - BOOT_DIRECT_MAP) | PTE_PRESENT | PTE_WRITE;
    return table;
}

static bool leaf_fits(uint64_t va, uint64_t pa, uint64_t length, unsigned level)
{
    if (level > 3 || (level == 3 && !has_1g))
        return false;
    return IS_ALIGNED(va | pa, level_size(level)) && length >= level_size(level);
}

/* Maps one leaf at the start of the range and returns its size; 0 without memory. What is mapped already stays. */
static uint64_t map_leaf(uint64_t va, uint64_t pa, uint64_t length, uint64_t flags)
{
    uint64_t *table = root;

    for (unsigned level = LEVELS;; level--) {
        uint64_t *entry = entry_of(table, va, level);
        uint64_t rest = level_size(level) - (va & (level_size(level) - 1));

        if ((*entry & PTE_PRESENT) && is_leaf(*entry, level))
            return HV_MIN(rest, length);
        if (!(*entry & PTE_PRESENT) && leaf_fits(va, pa, length, level)) {
            *entry = pa | flags | PTE_PRESENT | (level > 1 ? PTE_LARGE : 0);
            return level_size(level);
        }
        table = descend(entry);
        if (!table)
            return 0;
    }
}

bool paging_map(uint64_t va, uint64_t pa, uint64_t length, uint64_t flags)
{
    while (length) {
        uint64_t irq = spin_lock(&lock);
        uint64_t done = map_leaf(va, pa, length, flags);

        spin_unlock(&lock, irq);
        if (!done)
            return false;
        va += done;
        pa += done;
        length -= done;
    }
    return true;
}

/* The entry that maps va, or NULL. */
static uint64_t *find_leaf(uint64_t va, unsigned *level)
{
    uint64_t *table = root;

    for (*level = LEVELS;; --*level) {
        uint64_t *entry = entry_of(table, va, *level);

        if (!(*entry & PTE_PRESENT))
            return NULL;
        if (is_leaf(*entry, *level))
            return entry;
        table = table_at(*entry);
    }
}

uint64_t paging_unmap_page(uint64_t va)
{
    uint64_t irq = spin_lock(&lock);
    unsigned level;
    uint64_t *entry = find_leaf(va, &level);
    uint64_t pa = PHYS_NONE;

    if (entry && level == 1) {
        pa = *entry & PTE_ADDRESS;
        *entry = 0;
    }
    spin_unlock(&lock, irq);
    return pa;
}

static bool is_empty(const uint64_t *table)
{
    for (unsigned i = 0; i < 512; i++) {
        if (table[i])
            return false;
    }
    return true;
}

/*
 * Clears the entries of one table for va .. end - 1. Tables that nothing is left in go to the list: each one's first
 * entry holds the next one's address, which is no present entry for a CPU that still walks it.
 */
static void clear_entries(uint64_t *table, unsigned level, uint64_t va, uint64_t end, uint64_t **empty)
{
    while (va < end) {
        uint64_t *entry = entry_of(table, va, level);
        uint64_t next = HV_MIN(end, ALIGN_DOWN(va, level_size(level)) + level_size(level));

        if (!(*entry & PTE_PRESENT) || is_leaf(*entry, level)) {
            *entry = 0;
        } else {
            uint64_t *lower = table_at(*entry);

            clear_entries(lower, level - 1, va, next, empty);
            if (is_empty(lower)) {
                *entry = 0;
                lower[0] = (uintptr_t)*empty;
                *empty = lower;
            }
        }
        va = next;
    }
}

static void flush_all(void *arg)
{
    (void)arg;
    WRITE_CR(3, READ_CR(3));
}

/* The tables are used again only when no CPU walks them any more. */
void paging_unmap(uint64_t va, uint64_t length)
{
    uint64_t *empty = NULL, *next;
    uint64_t irq = spin_lock(&lock);

    clear_entries(root, LEVELS, va, va + length, &empty);
    spin_unlock(&lock, irq);
    cpu_call_all(flush_all, NULL);
    for (; empty; empty = next) {
        next = (uint64_t *)empty[0];
        page_free(empty);
    }
}

bool paging_prepare(uint64_t va, uint64_t length)
{
    for (uint64_t at = va; at < va + length; at += level_size(2)) {
        uint64_t *table = root;

        for (unsigned level = LEVELS; level > 1 && table; level--)
            table = descend(entry_of(table, at, level));
        if (!table)
            return false;
    }
    return true;
}

static void limit(uint64_t *size, uint64_t most)
{
    if (size && *size > most)
        *size = most;
}

uint64_t virt_to_phys_run(const volatile void *p, uint64_t *size)
{
    uint64_t va = (uintptr_t)p, sign = va >> 47, offset, *entry;
    unsigned level;

    if (va - BOOT_DIRECT_MAP - largest.base < largest.end - largest.base) {
        limit(size, largest.end - (va - BOOT_DIRECT_MAP));
        return va - BOOT_DIRECT_MAP;
    }
    if (!root || (sign && sign != 0x1ffff)) /* not canonical */
        return PHYS_NONE;
    entry = find_leaf(va, &level);
    if (!entry)
        return PHYS_NONE;
    offset = va & (level_size(level) - 1);
    limit(size, level_size(level) - offset);
    return (*entry & PTE_ADDRESS & ~(level_size(level) - 1)) | offset;
}

uint64_t virt_to_phys(const volatile void *p)
{
    return virt_to_phys_run(p, NULL);
}

void *phys_to_virt(uint64_t pa)
{
    void *va = (void *)(BOOT_DIRECT_MAP + pa);

    if (pa - largest.base < largest.end - largest.base)
        return va;
    return pa < WINDOW_BASE - BOOT_DIRECT_MAP && virt_to_phys(va) == pa ? va : NULL;
}

void *paging_window(uint64_t pa, uint64_t length, uint64_t flags)
{
    uint64_t offset = pa % PAGE_SIZE;
    uint64_t size = ALIGN_UP(offset + length, PAGE_SIZE);
    uint64_t irq, va;

    if (!length || pa + length < pa || length > WINDOW_SIZE || pa + length > PHYS_LIMIT)
        return NULL;
    irq = spin_lock(&lock);
    va = WINDOW_BASE + window_next;
    if (size > WINDOW_SIZE - window_next)
        va = 0;
    else
        window_next += size + PAGE_SIZE; /* a hole, so that an access beyond the end faults */
    spin_unlock(&lock, irq);
    if (!va || !paging_map(va, pa - offset, size, flags))
        return NULL;
    return (void *)(va + offset);
}

static void must_map(uint64_t va, uint64_t pa, uint64_t length, uint64_t flags)
{
    if (!paging_map(va, pa, length, flags))
        panic("no memory for the kernel's page tables");
}

static void map_segment(const char *start, const char *end, uint64_t flags)
{
    must_map((uintptr_t)start, (uintptr_t)start + kernel_offset, ALIGN_UP((uint64_t)(end - start), PAGE_SIZE),
             flags | PTE_GLOBAL);
}

/* The image's own pages first and read-only where they are: the direct map must not be a way to write code. */
static void map_image(void)
{
    uint64_t text = (uintptr_t)kernel_text_start;

    map_segment(kernel_text_start, kernel_text_end, 0);
    map_segment(kernel_rodata_start, kernel_rodata_end, PTE_NX);
    map_segment(kernel_data_start, kernel_data_end, PTE_WRITE | PTE_NX);
    must_map(BOOT_DIRECT_MAP + text + kernel_offset, text + kernel_offset, (uintptr_t)kernel_rodata_end - text,
             PTE_NX | PTE_GLOBAL);
}

static void map_ram(const struct boot_memory *m)
{
    uint64_t base = ALIGN_DOWN(m->base, PAGE_SIZE), end = m->base + m->length;

    if (m->type >= BOOT_MEMORY_RESERVED || !m->length || end < m->base || end > WINDOW_BASE - BOOT_DIRECT_MAP)
        return;
    end = ALIGN_UP(end, PAGE_SIZE);
    must_map(BOOT_DIRECT_MAP + base, base, end - base, PTE_WRITE | PTE_NX | PTE_GLOBAL);
    if (m->type == BOOT_MEMORY_USABLE && end - base > largest.end - largest.base) {
        largest.base = base;
        largest.end = end;
    }
}

uint64_t paging_root(void)
{
    return (uintptr_t)root - BOOT_DIRECT_MAP;
}

void paging_load(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    WRITE_CR(0, (READ_CR(0) | CR0_WP) & ~(CR0_CD | CR0_NW)); /* a BIOS may leave the caches off */
    WRITE_CR(4, READ_CR(4) & ~CR4_PGE);                      /* the loader's global pages, if any, go */
    WRITE_CR(3, paging_root());
    WRITE_CR(4, READ_CR(4) | CR4_PGE);
}

void paging_init(const struct boot_info *info)
{
    uint32_t features = cpuid(0x80000001, 0).edx;

    if (!(features & CPUID_NX))
        panic("this CPU has no NX bit");
    has_1g = features & CPUID_1G;
    kernel_offset = info->kernel_base - (uintptr_t)kernel_text_start;
    root = page_alloc();
    if (!root)
        panic("no memory for the kernel's page tables");
    map_image();
    for (uint32_t i = 0; i < info->memory_count; i++)
        map_ram(&info->memory[i]);
    paging_load();
}

uint64_t paging_start_root(uint64_t page_pa, void *tables[4])
{
    uint64_t *table;

    for (unsigned i = 0; i < 4; i++) {
        tables[i] = page_alloc();
        if (!tables[i])
            panic("no memory to start the other CPUs");
    }
    table = tables[0];
    memcpy(table + 256, root + 256, PAGE_SIZE / 2);
    for (unsigned level = 4; level > 1; level--) {
        uint64_t *next = tables[5 - level];

        *entry_of(table, page_pa, level) = ((uintptr_t)next - BOOT_DIRECT_MAP) | PTE_PRESENT | PTE_WRITE;
        table = next;
    }
    *entry_of(table, page_pa, 1) = page_pa | PTE_PRESENT | PTE_WRITE;
    return (uintptr_t)tables[0] - BOOT_DIRECT_MAP;
}
