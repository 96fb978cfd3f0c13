/* SPDX-License-Identifier: MIT */
/*
 * The physical page allocator: one bit a page, set when the page is free. Single pages are taken from the bottom, runs
 * from the top. A bitmap gives runs of any length and alignment, and it notices every double free.
 */
#include "pages.h"
#include <hv/base/bits.h>
#include <kernel/exit.h>
#include <kernel/lock.h>
#include <kernel/print.h>
#include <kernel/string.h>

/* memory above this is left alone: the bitmap would be larger than 32 MiB */
#define PAGES_LIMIT (1ull << 40)
/* the trampoline lives below, firmware too: not worth the trouble */
#define LOW_MEMORY  (1ull << 20)
/* what the loaders' page tables map: the bitmap is written before the kernel has its own */
#define EARLY_LIMIT (1ull << 32)

static struct spinlock lock;
static uint64_t *bitmap; /* all below: lock */
static uint64_t bitmap_base, page_limit;
static uint64_t free_count, total_count;
static uint64_t lowest;  /* no page below this word of the bitmap is free */
static uint64_t highest; /* nor one from this word on */

static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t end)
{
    uint64_t mask = ~0ull;

    if (word == first / 64)
        mask &= ~0ull << first % 64;
    if (word == end / 64)
        mask &= ~(~0ull << end % 64);
    return mask;
}

/* Pages first .. end-1 become free or used; returns how many changed. */
static uint64_t mark(uint64_t first, uint64_t end, bool free)
{
    uint64_t changed = 0;

    for (uint64_t w = first / 64; w * 64 < end; w++) {
        uint64_t mask = word_mask(w, first, end);
        uint64_t bits = (free ? ~bitmap[w] : bitmap[w]) & mask;

        changed += (uint64_t)__builtin_popcountll(bits);
        bitmap[w] ^= bits;
    }
    if (free) {
        free_count += changed;
        lowest = HV_MIN(lowest, first / 64);
        highest = HV_MAX(highest, (end + 63) / 64);
    } else {
        free_count -= changed;
    }
    return changed;
}

static bool all_used(uint64_t first, uint64_t end)
{
    for (uint64_t w = first / 64; w * 64 < end; w++) {
        if (bitmap[w] & word_mask(w, first, end))
            return false;
    }
    return true;
}

/* The highest used page of first .. end-1, plus one; 0 when all of them are free. */
static uint64_t highest_used(uint64_t first, uint64_t end)
{
    for (uint64_t w = (end + 63) / 64; w-- > first / 64;) {
        uint64_t used = ~bitmap[w] & word_mask(w, first, end);

        if (used)
            return w * 64 + 64 - (uint64_t)__builtin_clzll(used);
    }
    return 0;
}

static void use_range(uint64_t base, uint64_t length)
{
    uint64_t end = HV_MIN(base + length, page_limit * PAGE_SIZE);

    if (base < end && base + length > base)
        mark(base / PAGE_SIZE, ALIGN_UP(end, PAGE_SIZE) / PAGE_SIZE, false);
}

static void free_range(uint64_t base, uint64_t length)
{
    uint64_t end = HV_MIN(base + length, page_limit * PAGE_SIZE);

    base = ALIGN_UP(base, PAGE_SIZE);
    end = ALIGN_DOWN(end, PAGE_SIZE);
    if (base < end)
        mark(base / PAGE_SIZE, end / PAGE_SIZE, true);
}

static bool sane(const struct boot_memory *m)
{
    return m->length && m->base + m->length > m->base && m->type >= BOOT_MEMORY_USABLE;
}

/* Frees what the map calls `type`, except what a higher type, the kernel or a module covers too. */
static void free_type(const struct boot_info *info, uint32_t type)
{
    for (uint32_t i = 0; i < info->memory_count; i++) {
        if (sane(&info->memory[i]) && info->memory[i].type == type)
            free_range(info->memory[i].base, info->memory[i].length);
    }
    for (uint32_t i = 0; i < info->memory_count; i++) {
        if (sane(&info->memory[i]) && info->memory[i].type > type)
            use_range(info->memory[i].base, info->memory[i].length);
    }
    for (uint32_t i = 0; i < info->module_count; i++)
        use_range(info->modules[i].base, info->modules[i].length);
    use_range(info->kernel_base, info->kernel_length);
    use_range(bitmap_base, page_limit / 8);
    use_range(0, LOW_MEMORY);
}

static bool overlap(uint64_t base, uint64_t length, uint64_t other, uint64_t other_length, uint64_t *end)
{
    if (base + length <= other || other + other_length <= base || !other_length)
        return false;
    *end = other + other_length;
    return true;
}

/* Does anything but usable memory touch the range? *end: where that ends. */
static bool occupied(const struct boot_info *info, uint64_t base, uint64_t length, uint64_t *end)
{
    for (uint32_t i = 0; i < info->memory_count; i++) {
        const struct boot_memory *m = &info->memory[i];

        if (sane(m) && m->type != BOOT_MEMORY_USABLE && overlap(base, length, m->base, m->length, end))
            return true;
    }
    for (uint32_t i = 0; i < info->module_count; i++) {
        if (overlap(base, length, info->modules[i].base, info->modules[i].length, end))
            return true;
    }
    return overlap(base, length, info->kernel_base, info->kernel_length, end);
}

/* A place for the bitmap, in usable memory that the loader's page tables map. */
static uint64_t early_place(const struct boot_info *info, uint64_t length)
{
    for (uint32_t i = 0; i < info->memory_count; i++) {
        const struct boot_memory *m = &info->memory[i];
        uint64_t at, end;

        if (!sane(m) || m->type != BOOT_MEMORY_USABLE)
            continue;
        end = HV_MIN(m->base + m->length, EARLY_LIMIT);
        at = ALIGN_UP(HV_MAX(m->base, LOW_MEMORY), PAGE_SIZE);
        while (at < end && end - at >= length) {
            if (!occupied(info, at, length, &at))
                return at;
            at = ALIGN_UP(at, PAGE_SIZE);
        }
    }
    panic("no %lu KiB of free memory below 4 GiB in a map of %u entries", length / 1024, info->memory_count);
}

static uint64_t find_limit(const struct boot_info *info)
{
    uint64_t limit = 0;

    for (uint32_t i = 0; i < info->memory_count; i++) {
        if (sane(&info->memory[i]) && info->memory[i].type <= BOOT_MEMORY_LOADER)
            limit = HV_MAX(limit, info->memory[i].base + info->memory[i].length);
    }
    if (limit > PAGES_LIMIT)
        kprintf("barewhp: memory above %llu GiB is not used\n", PAGES_LIMIT >> 30);
    return HV_MIN(limit, PAGES_LIMIT);
}

void pages_init(const struct boot_info *info)
{
    uint64_t bytes;

    page_limit = ALIGN_UP(find_limit(info) / PAGE_SIZE, 64);
    bytes = page_limit / 8;
    bitmap_base = early_place(info, bytes);
    bitmap = (uint64_t *)(BOOT_DIRECT_MAP + bitmap_base);
    memset(bitmap, 0, bytes);
    free_type(info, BOOT_MEMORY_USABLE);
    total_count = free_count;
}

void pages_reclaim_loader(const struct boot_info *info)
{
    uint64_t before = free_count;

    free_type(info, BOOT_MEMORY_LOADER);
    total_count += free_count - before;
}

/* The run's first page, or page_limit. */
static uint64_t find_run(uint64_t count, uint64_t align)
{
    uint64_t first, end;

    while (highest && !bitmap[highest - 1])
        highest--;
    end = highest * 64;
    if (count > end)
        return page_limit;
    for (first = ALIGN_DOWN(end - count, align);;) {
        uint64_t used = highest_used(first, first + count);

        if (!used)
            return first;
        if (used <= count)
            return page_limit;
        first = ALIGN_DOWN(used - 1 - count, align);
    }
}

/* The lowest free page, which is used from now on; page_limit: there is none. */
static uint64_t take_single(void)
{
    uint64_t words = page_limit / 64, bits;

    while (lowest < words && !bitmap[lowest])
        lowest++;
    if (lowest == words)
        return page_limit;
    bits = bitmap[lowest];
    bitmap[lowest] = bits & (bits - 1);
    free_count--;
    return lowest * 64 + (uint64_t)__builtin_ctzll(bits);
}

static uint64_t take_run(uint64_t count, uint64_t align)
{
    uint64_t first = find_run(count, align);

    if (first != page_limit)
        mark(first, first + count, false);
    return first;
}

void *pages_alloc(size_t count, uint64_t align)
{
    uint64_t flags, first;

    if (!count || (align & (align - 1)))
        return NULL;
    flags = spin_lock(&lock);
    first = count == 1 && align <= PAGE_SIZE ? take_single() : take_run(count, HV_MAX(align / PAGE_SIZE, 1u));
    spin_unlock(&lock, flags);
    return first == page_limit ? NULL : (void *)(BOOT_DIRECT_MAP + first * PAGE_SIZE);
}

/* False: it is free already. */
static bool give_single(uint64_t page)
{
    uint64_t bit = BIT64(page % 64), *word = &bitmap[page / 64];

    if (*word & bit)
        return false;
    *word |= bit;
    free_count++;
    lowest = HV_MIN(lowest, page / 64);
    highest = HV_MAX(highest, page / 64 + 1);
    return true;
}

static bool give_run(uint64_t first, uint64_t count)
{
    if (!all_used(first, first + count))
        return false;
    mark(first, first + count, true);
    return true;
}

void pages_free(void *run, size_t count)
{
    uint64_t first = ((uintptr_t)run - BOOT_DIRECT_MAP) / PAGE_SIZE;
    bool good;
    uint64_t flags;

    if ((uintptr_t)run % PAGE_SIZE || first >= page_limit || count > page_limit - first)
        panic("pages_free(%p, %zu): not a run of pages", run, count);
    flags = spin_lock(&lock);
    good = count == 1 ? give_single(first) : give_run(first, count);
    spin_unlock(&lock, flags);
    if (!good)
        panic("pages_free(%p, %zu): a page of it is free already", run, count);
}

void *page_alloc(void)
{
    void *page = pages_alloc(1, 0);

    return page ? memset(page, 0, PAGE_SIZE) : NULL;
}

void page_free(void *page)
{
    pages_free(page, 1);
}

size_t pages_free_count(void)
{
    return __atomic_load_n(&free_count, __ATOMIC_RELAXED);
}

size_t pages_total_count(void)
{
    return total_count;
}
