/* SPDX-License-Identifier: MIT */
/* The memory map, and the end of the boot services (UEFI 2.9, chapters 7.2 and 7.4). */
#include "loader.h"

/* a firmware that changes its map between the two calls more often than this is broken */
#define RETRIES 8
/* after the first attempt no memory can be had: room for the map to grow */
#define SLACK   (32 * 1024)

static uint32_t memory_type(uint32_t efi_type)
{
    static const uint32_t types[] = {
        [EfiLoaderCode] = BOOT_MEMORY_LOADER,         [EfiLoaderData] = BOOT_MEMORY_LOADER,
        [EfiBootServicesCode] = BOOT_MEMORY_USABLE,   [EfiBootServicesData] = BOOT_MEMORY_USABLE,
        [EfiConventionalMemory] = BOOT_MEMORY_USABLE, [EfiACPIReclaimMemory] = BOOT_MEMORY_ACPI,
        [EfiACPIMemoryNVS] = BOOT_MEMORY_NVS,
    };

    if (efi_type < sizeof(types) / sizeof(types[0]) && types[efi_type])
        return types[efi_type];
    return BOOT_MEMORY_RESERVED;
}

/* UEFI's maps have a hundred entries where five would do: neighbours of one type become one. */
static void add(struct boot_info *info, uint64_t base, uint64_t length, uint32_t type)
{
    struct boot_memory *last = info->memory_count ? &info->memory[info->memory_count - 1] : NULL;

    if (!length)
        return;
    if (last && last->type == type && last->base + last->length == base) {
        last->length += length;
        return;
    }
    if (info->memory_count == BOOT_MEMORY_MAX) {
        info->dropped++;
        return;
    }
    info->memory[info->memory_count++] = (struct boot_memory){.base = base, .length = length, .type = type};
}

static void convert(struct boot_info *info, const uint8_t *map, UINTN size, UINTN step)
{
    for (UINTN at = 0; step >= sizeof(EFI_MEMORY_DESCRIPTOR) && size - at >= step; at += step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const void *)(map + at);

        if (d->NumberOfPages < (1ull << 40))
            add(info, d->PhysicalStart, d->NumberOfPages * EFI_PAGE_SIZE, memory_type(d->Type));
    }
}

bool memory_exit(EFI_HANDLE image, struct boot_info *info)
{
    UINTN room = 0, size, key, step;
    UINT32 version;
    uint8_t *map;

    efi->BootServices->GetMemoryMap(&room, NULL, &key, &step, &version);
    room += SLACK;
    map = pages_get(EFI_SIZE_TO_PAGES(room), EfiLoaderData);
    if (!map)
        return false;
    for (unsigned i = 0; i < RETRIES; i++) {
        size = room;
        if (EFI_ERROR(efi->BootServices->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)map, &key, &step, &version)))
            return false;
        if (!EFI_ERROR(efi->BootServices->ExitBootServices(image, key))) {
            convert(info, map, size, step);
            return true;
        }
    }
    return false;
}
