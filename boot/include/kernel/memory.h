/* SPDX-License-Identifier: MIT */
/* Physical pages, the heap, and addresses. Any context but NMI and machine check; nothing here sleeps. */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE 4096ull
#define SIZE_2M   (1ull << 21)
#define SIZE_1G   (1ull << 30)
#define PHYS_NONE (~0ull)

/*
 * A run of `count` physically contiguous pages, its address a multiple of align (a power of two; 0 means PAGE_SIZE).
 * Returns the run's address in the direct map, NULL when there is none. Not zeroed. Runs come from the top of memory,
 * single pages from the bottom, so that long runs stay possible.
 */
void *pages_alloc(size_t count, uint64_t align);
void pages_free(void *run, size_t count); /* any part of a run may be freed; freeing a free page panics */

void *page_alloc(void); /* one page, zeroed */
void page_free(void *page);

size_t pages_free_count(void);
size_t pages_total_count(void);

/* Small objects: zeroed, aligned to 16 bytes, NULL when there is no memory. Above 2016 bytes: whole pages. Freed with
 * the size they were allocated with; an empty page goes back to the page allocator at once. */
void *heap_alloc(size_t size);
void heap_free(void *p, size_t size);

/* Bytes of the heap that are allocated: 0 differences and equal pages_free_count() mean no leak. */
size_t heap_used(void);

/* PHYS_NONE when nothing is mapped there. */
uint64_t virt_to_phys(const volatile void *va);

/* The same, and cuts *size (NULL: not asked) down to what is known to be physically contiguous from va on. */
uint64_t virt_to_phys_run(const volatile void *va, uint64_t *size);

/* The direct map's address of RAM; NULL for what is not RAM. */
void *phys_to_virt(uint64_t pa);

/*
 * Maps a device's registers, uncached: a second call with the same range makes a second mapping. NULL when out of space
 * or memory. mmio_unmap takes what mmio_map returned, with the same length: thread context, interrupts on.
 */
void *mmio_map(uint64_t pa, uint64_t length);
void mmio_unmap(void *va, uint64_t length);

#endif
