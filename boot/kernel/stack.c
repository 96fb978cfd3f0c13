/* SPDX-License-Identifier: MIT */
/* Thread stacks, in slots of a region of their own: the unmapped part of a slot catches what runs over its end. */
#include "stack.h"
#include "paging.h"
#include <hv/base/bitmap.h>
#include <kernel/exit.h>
#include <kernel/lock.h>
#include <kernel/memory.h>

#define SLOTS     512
#define SLOT_SIZE (2ull * STACK_SIZE)

static struct spinlock lock;
static uint64_t taken[HV_BITMAP_WORDS(SLOTS)]; /* lock */

void stacks_init(void)
{
    if (!paging_prepare(STACKS_BASE, SLOTS * SLOT_SIZE))
        panic("no memory for the stacks' page tables");
}

bool stack_is_guard(uint64_t address)
{
    return address - STACKS_BASE < SLOTS * SLOT_SIZE && (address - STACKS_BASE) % SLOT_SIZE < SLOT_SIZE - STACK_SIZE;
}

static uint32_t slot_take(void)
{
    uint64_t flags = spin_lock(&lock);
    uint32_t slot = hv_bitmap_find_clear(taken, SLOTS, 0);

    if (slot < SLOTS)
        hv_bitmap_set(taken, slot);
    spin_unlock(&lock, flags);
    return slot;
}

static void slot_put(uint32_t slot)
{
    uint64_t flags = spin_lock(&lock);

    hv_bitmap_clear(taken, slot);
    spin_unlock(&lock, flags);
}

static void flush(void *stack)
{
    for (uint64_t offset = 0; offset < STACK_SIZE; offset += PAGE_SIZE)
        __asm__ volatile("invlpg (%0)" ::"r"((char *)stack + offset) : "memory");
}

/* Unmaps the pages, then flushes everywhere, then gives the pages back: in this order nobody can reach a page that is
 * free. */
void stack_free(void *stack)
{
    uint64_t pages[STACK_SIZE / PAGE_SIZE];

    for (unsigned i = 0; i < STACK_SIZE / PAGE_SIZE; i++)
        pages[i] = paging_unmap_page((uintptr_t)stack + i * PAGE_SIZE);
    cpu_call_all(flush, stack);
    for (unsigned i = 0; i < STACK_SIZE / PAGE_SIZE; i++) {
        if (pages[i] != PHYS_NONE)
            page_free((void *)(BOOT_DIRECT_MAP + pages[i]));
    }
    slot_put((uint32_t)(((uintptr_t)stack - STACKS_BASE) / SLOT_SIZE));
}

void *stack_alloc(void)
{
    uint32_t slot = slot_take();
    uint64_t stack = STACKS_BASE + slot * SLOT_SIZE + SLOT_SIZE - STACK_SIZE;

    if (slot == SLOTS)
        return NULL;
    for (unsigned i = 0; i < STACK_SIZE / PAGE_SIZE; i++) {
        void *page = page_alloc();

        if (!page ||
            !paging_map(stack + i * PAGE_SIZE, (uintptr_t)page - BOOT_DIRECT_MAP, PAGE_SIZE, PTE_WRITE | PTE_NX)) {
            if (page)
                page_free(page);
            stack_free((void *)stack);
            return NULL;
        }
    }
    return (void *)stack;
}
