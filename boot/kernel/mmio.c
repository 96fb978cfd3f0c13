/* SPDX-License-Identifier: MIT */
/* Devices' registers in an address range of their own: mappings in order of address, each with a hole behind it. */
#include "paging.h"
#include <hv/base/bits.h>
#include <kernel/exit.h>
#include <kernel/lock.h>
#include <kernel/memory.h>

#define PHYS_LIMIT (1ull << 52) /* no CPU has more */

struct mapping {
    struct mapping *next;
    uint64_t va, size;
};

static struct spinlock lock;
static struct mapping *mappings; /* lock */

/* The lowest address from `from` on that lies in its large page as pa does: paging_map then has less to do. */
static uint64_t like(uint64_t from, uint64_t pa, uint64_t size)
{
    return size < SIZE_2M ? from : from + ((pa - from) & (SIZE_2M - 1));
}

/* First fit. */
static bool reserve(struct mapping *m, uint64_t pa)
{
    uint64_t irq = spin_lock(&lock), va = like(MMIO_BASE, pa, m->size);
    struct mapping **at = &mappings;
    bool fits;

    for (; *at && (*at)->va < va + m->size + PAGE_SIZE; at = &(*at)->next)
        va = like((*at)->va + (*at)->size + PAGE_SIZE, pa, m->size);
    fits = va + m->size <= MMIO_BASE + MMIO_SIZE;
    if (fits) {
        m->va = va;
        m->next = *at;
        *at = m;
    }
    spin_unlock(&lock, irq);
    return fits;
}

static struct mapping *find(uint64_t va)
{
    uint64_t irq = spin_lock(&lock);
    struct mapping *m = mappings;

    while (m && m->va != va)
        m = m->next;
    spin_unlock(&lock, irq);
    return m;
}

static void forget(struct mapping *m)
{
    uint64_t irq = spin_lock(&lock);
    struct mapping **at = &mappings;

    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    spin_unlock(&lock, irq);
    heap_free(m, sizeof(*m));
}

void *mmio_map(uint64_t pa, uint64_t length)
{
    uint64_t offset = pa % PAGE_SIZE;
    struct mapping *m;

    if (!length || length > MMIO_SIZE || pa + length < pa || pa + length > PHYS_LIMIT)
        return NULL;
    m = heap_alloc(sizeof(*m));
    if (!m)
        return NULL;
    m->size = ALIGN_UP(offset + length, PAGE_SIZE);
    if (!reserve(m, pa - offset)) {
        heap_free(m, sizeof(*m));
        return NULL;
    }
    if (!paging_map(m->va, pa - offset, m->size, PTE_WRITE | PTE_NX | PTE_UNCACHED)) {
        paging_unmap(m->va, m->size);
        forget(m);
        return NULL;
    }
    return (void *)(m->va + offset);
}

/* The addresses are free for others only when no CPU remembers them. */
void mmio_unmap(void *va, uint64_t length)
{
    struct mapping *m = find(ALIGN_DOWN((uintptr_t)va, PAGE_SIZE));

    if (!m || m->size != ALIGN_UP((uintptr_t)va % PAGE_SIZE + length, PAGE_SIZE))
        panic("mmio_unmap: nothing of that length is mapped at %p", va);
    paging_unmap(m->va, m->size);
    forget(m);
}
