/* SPDX-License-Identifier: MIT */
/* Which loader a kernel needs, and what the loaders have in common: see vmm/loader.h. */
#include <vmm/bytes.h>
#include <vmm/loader.h>

/* Present, code or data, limit 4 GiB; L or D by the mode. The "accessed" bits are set, as a processor leaves them. */
#define GDT_CODE_64 0x00af9b000000ffffull
#define GDT_CODE_32 0x00cf9b000000ffffull
#define GDT_DATA    0x00cf93000000ffffull

bool loader_write_gdt(const struct memory *memory, uint64_t gpa, struct loader_entry *entry)
{
    const uint64_t gdt[] = {0, 0, entry->is_long ? GDT_CODE_64 : GDT_CODE_32, GDT_DATA};

    _Static_assert(LOADER_GDT_CODE == 2 * sizeof(gdt[0]) && LOADER_GDT_DATA == 3 * sizeof(gdt[0]), "selectors");
    entry->gdt = gpa;
    entry->gdt_limit = sizeof(gdt) - 1;
    entry->code = LOADER_GDT_CODE;
    entry->data = LOADER_GDT_DATA;
    return memory_write(memory, gpa, gdt, sizeof(gdt));
}

bool loader_load(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry)
{
    static const struct {
        bool (*is_kernel)(const struct system_file *file);
        bool (*load)(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry);
    } loaders[] = {{linux_is_kernel, linux_load}, {multiboot_is_kernel, multiboot_load}};

    *entry = (struct loader_entry){.is_long = false};
    for (size_t i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++)
        if (loaders[i].is_kernel(&input->kernel))
            return loaders[i].load(memory, input, entry);
    system_print(
        "vmm: the file \"kernel\" (%zu bytes) is neither a Linux bzImage nor a multiboot kernel: it has neither "
        "boot sector and \"HdrS\" nor a multiboot header in its first 8 KiB\n",
        input->kernel.size);
    return false;
}
