/* SPDX-License-Identifier: MIT */
/* The page tables of the hand-over: 2 MiB pages only. */
#include "loader.h"

#define PTE_TABLE 0x03ull /* present, writable */
#define PTE_LARGE 0x83ull

enum {
    ROOT,
    LOW, /* the first 4 GiB, at 0 and in the direct map */
    LOW_DIRECTORIES,
    HIGH = LOW_DIRECTORIES + 4, /* the kernel */
    HIGH_DIRECTORY,
    TABLES,
};

static unsigned slot(uint64_t address, unsigned shift)
{
    return address >> shift & 511;
}

uint64_t tables_build(const struct boot_info *info)
{
    uint64_t(*t)[512] = pages_get(TABLES, EfiLoaderData);

    if (!t)
        return 0;
    t[ROOT][0] = t[ROOT][slot(BOOT_DIRECT_MAP, 39)] = (uintptr_t)t[LOW] | PTE_TABLE;
    t[ROOT][slot(KERNEL_LINKED, 39)] = (uintptr_t)t[HIGH] | PTE_TABLE;
    t[HIGH][slot(KERNEL_LINKED, 30)] = (uintptr_t)t[HIGH_DIRECTORY] | PTE_TABLE;
    for (unsigned i = 0; i < 4; i++)
        t[LOW][i] = (uintptr_t)t[LOW_DIRECTORIES + i] | PTE_TABLE;
    for (uint64_t i = 0; i < 4 * 512; i++)
        t[LOW_DIRECTORIES][i] = i * LARGE_PAGE | PTE_LARGE; /* four directories in a row */
    for (uint64_t offset = 0; offset < info->kernel_length; offset += LARGE_PAGE)
        t[HIGH_DIRECTORY][slot(KERNEL_LINKED + offset, 21)] = (info->kernel_base + offset) | PTE_LARGE;
    return (uintptr_t)t[ROOT];
}
