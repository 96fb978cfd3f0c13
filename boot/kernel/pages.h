/* SPDX-License-Identifier: MIT */
#ifndef BOOT_KERNEL_PAGES_H
#define BOOT_KERNEL_PAGES_H

#include <boot/info.h>
#include <kernel/memory.h>

/* Takes over the memory map; memory of type BOOT_MEMORY_LOADER stays out until pages_reclaim_loader. */
void pages_init(const struct boot_info *info);
void pages_reclaim_loader(const struct boot_info *info);

#endif
