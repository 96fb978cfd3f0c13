/* SPDX-License-Identifier: MIT */
/*
 * What a loader (boot/multiboot2, boot/efi) tells the kernel. One flat structure without pointers: the kernel copies
 * it first of all and never looks at the loader's memory again.
 *
 * The hand-over, the same for both loaders:
 *   64-bit mode, interrupts off, RDI = address of struct boot_info, any stack
 *   page tables below 4 GiB that map, readable, writable and executable:
 *     the first 4 GiB of physical memory at address 0 and at BOOT_DIRECT_MAP
 *     the kernel's segments at the addresses they are linked for
 *   jump to the ELF entry point
 *
 * Nothing here is trusted more than the firmware it came from: the kernel checks ranges against each other.
 */
#ifndef BOOT_INFO_H
#define BOOT_INFO_H

#include <stdint.h>

#define BOOT_INFO_MAGIC 0x424f4f5457485031ull /* "BOOTWHP1": change it with the structure */

/* where the kernel sees physical memory, and where it is linked */
#define BOOT_DIRECT_MAP  0xffff800000000000ull
#define BOOT_KERNEL_BASE 0xffffffff80000000ull

#define BOOT_MEMORY_MAX  256
#define BOOT_MODULES_MAX 16
#define BOOT_STRING_MAX  512 /* with the final NUL; longer ones are cut */

enum boot_memory_type {
    BOOT_MEMORY_USABLE = 1,
    BOOT_MEMORY_LOADER,   /* the loader's own: usable once the kernel has its own page tables */
    BOOT_MEMORY_ACPI,     /* RAM that holds ACPI tables */
    BOOT_MEMORY_NVS,      /* RAM that the firmware keeps */
    BOOT_MEMORY_RESERVED, /* not RAM, or RAM that nobody may touch */
};

/*
 * Entries may be unsorted, unaligned and overlapping (firmware is like that): where two overlap the higher type wins.
 * What no entry covers is not RAM.
 */
struct boot_memory {
    uint64_t base, length;
    uint32_t type;
    uint32_t reserved;
};

/* A file that the loader put into memory; string is what the configuration says about it: a name, then arguments. */
struct boot_module {
    uint64_t base, length;
    char string[BOOT_STRING_MAX];
};

struct boot_info {
    uint64_t magic;
    uint64_t kernel_base, kernel_length; /* where the kernel's image is in physical memory, its .bss included */

    uint32_t memory_count, module_count;
    uint32_t dropped;     /* entries of memory[] or modules[] for which there was no room */
    uint32_t rsdp_length; /* bytes of rsdp that are valid: 0 (no ACPI), 20 or 36 */
    uint8_t rsdp[40];     /* a copy: what multiboot2 offers has no lasting address */

    char firmware[32]; /* "UEFI" or "BIOS multiboot2" */
    char command_line[BOOT_STRING_MAX];
    struct boot_memory memory[BOOT_MEMORY_MAX];
    struct boot_module modules[BOOT_MODULES_MAX];
};

#endif
