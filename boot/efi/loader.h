/* SPDX-License-Identifier: MIT */
/* The UEFI loader's parts. The kernel's ELF file is inside the loader; modules and the command line come from
 * \barewhp.cfg. */
#ifndef BOOT_EFI_LOADER_H
#define BOOT_EFI_LOADER_H

#include <efi.h>

#include <boot/info.h>
#include <stdbool.h>
#include <stdint.h>

/* Everything that the kernel touches before it has its own page tables lies below. */
#define EARLY_LIMIT 0x100000000ull

#define LARGE_PAGE (2ull << 20)

/* the first address of the kernel's image: linker.ld */
#define KERNEL_LINKED (BOOT_KERNEL_BASE + LARGE_PAGE)

extern EFI_SYSTEM_TABLE *efi;

/* One line to the firmware's console and to port 0xE9. what may be NULL; status 0 is not shown. */
void say(const char *text, const char *what, EFI_STATUS status);

/* Pages that outlive the loader, below 4 GiB, zeroed; NULL after having said that there are none. */
void *pages_get(UINTN count, EFI_MEMORY_TYPE type);

/* config.c: what \barewhp.cfg asks for. Without that file nothing; a module that cannot be read is reported and left
 * out. */
void config_read(EFI_HANDLE image, struct boot_info *info);

/* elf.c: copies the segments to memory. *entry: the address to jump to. */
bool elf_load(const uint8_t *file, uint64_t size, struct boot_info *info, uint64_t *entry);

/* tables.c: page tables as boot/info.h promises; returns the PML4's address, 0 without memory. */
uint64_t tables_build(const struct boot_info *info);

/* memory.c: gets the memory map and ends the boot services; afterwards the firmware is gone. */
bool memory_exit(EFI_HANDLE image, struct boot_info *info);

#endif
