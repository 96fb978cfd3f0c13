/* SPDX-License-Identifier: MIT */
/* EFI/BOOT/BOOTX64.EFI: from the firmware to the kernel. */
#include "loader.h"
#include <kernel/cpu.h>
#include <kernel/string.h>

#define CR4_LA57 (1ull << 12)

#define RSDP_V1 20
#define RSDP_V2 36

extern const uint8_t kernel_file[], kernel_file_end[], handoff_start[], handoff_end[];

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table);

EFI_SYSTEM_TABLE *efi;

static void put(char c)
{
    CHAR16 wide[2] = {(CHAR16)c, 0};

    outb(0xe9, (uint8_t)c);
    if (c == '\n')
        efi->ConOut->OutputString(efi->ConOut, (CHAR16 *)L"\r");
    efi->ConOut->OutputString(efi->ConOut, wide);
}

static void put_text(const char *text)
{
    while (*text)
        put(*text++);
}

void say(const char *text, const char *what, EFI_STATUS status)
{
    put_text("barewhp: loader: ");
    put_text(text);
    if (what)
        put_text(what);
    if (status) {
        put_text(": status ");
        put("0123456789abcdef"[status >> 4 & 15]);
        put("0123456789abcdef"[status & 15]);
    }
    put('\n');
}

void *pages_get(UINTN count, EFI_MEMORY_TYPE type)
{
    EFI_PHYSICAL_ADDRESS at = EARLY_LIMIT - 1;
    EFI_STATUS status = efi->BootServices->AllocatePages(AllocateMaxAddress, type, count, &at);

    if (EFI_ERROR(status)) {
        say("no memory below 4 GiB", NULL, status);
        return NULL;
    }
    return memset((void *)at, 0, count * EFI_PAGE_SIZE);
}

/* The root pointer of ACPI 2.0 if there is one, else of 1.0. */
static void find_rsdp(struct boot_info *info)
{
    static EFI_GUID guids[] = {ACPI_20_TABLE_GUID, ACPI_TABLE_GUID};

    for (unsigned g = 0; g < 2 && !info->rsdp_length; g++) {
        for (UINTN i = 0; i < efi->NumberOfTableEntries; i++) {
            const EFI_CONFIGURATION_TABLE *t = &efi->ConfigurationTable[i];

            if (memcmp(&t->VendorGuid, &guids[g], sizeof(guids[g])) || !t->VendorTable)
                continue;
            info->rsdp_length = g ? RSDP_V1 : RSDP_V2;
            memcpy(info->rsdp, t->VendorTable, info->rsdp_length);
            break;
        }
    }
}

static EFI_STATUS fail(const char *text)
{
    say(text, NULL, 0);
    return EFI_LOAD_ERROR;
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table)
{
    void (*handoff)(uint64_t root, uint64_t entry, const struct boot_info *info);
    struct boot_info *info;
    uint64_t entry, root;

    efi = table;
    if (READ_CR(4) & CR4_LA57)
        return fail("the firmware uses 5-level paging");
    efi->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
    info = pages_get(EFI_SIZE_TO_PAGES(sizeof(*info)), EfiLoaderData);
    handoff = pages_get(1, EfiLoaderCode);
    if (!info || !handoff)
        return EFI_OUT_OF_RESOURCES;
    memcpy(handoff, handoff_start, (size_t)(handoff_end - handoff_start));
    info->magic = BOOT_INFO_MAGIC;
    string_copy(info->firmware, sizeof(info->firmware), "UEFI", 4);
    config_read(image, info);
    find_rsdp(info);
    if (!elf_load(kernel_file, (uint64_t)(kernel_file_end - kernel_file), info, &entry))
        return fail("the kernel inside is damaged");
    root = tables_build(info);
    if (!root)
        return EFI_OUT_OF_RESOURCES;
    if (!memory_exit(image, info))
        return fail("the firmware does not let go");
    handoff(root, entry, info);
    return EFI_LOAD_ERROR; /* not reached */
}
