/* SPDX-License-Identifier: MIT */
/* The kernel's page tables: one set for all CPUs and threads. */
#ifndef BOOT_KERNEL_PAGING_H
#define BOOT_KERNEL_PAGING_H

#include <boot/info.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bits of an entry: SDM volume 3, 4.5 */
#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITE    (1ull << 1)
#define PTE_PWT      (1ull << 3)
#define PTE_PCD      (1ull << 4)
#define PTE_LARGE    (1ull << 7)
#define PTE_GLOBAL   (1ull << 8)
#define PTE_NX       (1ull << 63)
#define PTE_UNCACHED (PTE_PCD | PTE_PWT)
#define PTE_ADDRESS  0x000ffffffffff000ull

/* regions of the upper half, beside the direct map and the image, each far from the next */
#define WINDOW_BASE 0xffffc00000000000ull /* ACPI tables outside RAM */
#define WINDOW_SIZE (1ull << 36)
#define MMIO_BASE   0xffffd00000000000ull
#define MMIO_SIZE   (1ull << 42)
#define STACKS_BASE 0xffffe00000000000ull

/* Builds the kernel's tables and switches this CPU to them; paging_load switches another one. */
void paging_init(const struct boot_info *info);
void paging_load(void);
uint64_t paging_root(void); /* physical address of the PML4 */

/* Maps with leaves as large as alignment allows, where nothing is mapped yet. False when there is no memory for tables.
 */
bool paging_map(uint64_t va, uint64_t pa, uint64_t length, uint64_t flags);

/* Removes 4 KiB leaves; the caller flushes the TLBs. Returns the physical address that was there or PHYS_NONE. */
uint64_t paging_unmap_page(uint64_t va);

/* Removes all leaves of a range that was mapped as a whole, and tables that become empty. Thread context: all CPUs are
 * asked to forget them. */
void paging_unmap(uint64_t va, uint64_t length);

/* Creates the tables for a range, so that mapping pages in it later takes no memory. */
bool paging_prepare(uint64_t va, uint64_t length);

/* Maps a physical range somewhere in the window, at an address with the same offset in its page. NULL when out of
 * space. */
void *paging_window(uint64_t pa, uint64_t length, uint64_t flags);

/* The same tables under another root, plus one executable page mapped at its physical address: for the other CPUs'
 * start. */
uint64_t paging_start_root(uint64_t page_pa, void *tables[4]);

#endif
