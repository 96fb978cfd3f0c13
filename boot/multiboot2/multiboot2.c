/* SPDX-License-Identifier: MIT */
/* From multiboot2's tags (specification 2.0, chapter 3.6) to struct boot_info. */
#include <boot/info.h>
#include <kernel/string.h>

#define MB2_BOOTLOADER_MAGIC 0x36d76289

/* the whole information block: far more than any loader writes, far less than what is mapped */
#define MB2_INFO_MAX (1u << 20)

enum mb2_tag_type {
    MB2_TAG_END = 0,
    MB2_TAG_COMMAND_LINE = 1,
    MB2_TAG_MODULE = 3,
    MB2_TAG_MEMORY_MAP = 6,
    MB2_TAG_RSDP_V1 = 14,
    MB2_TAG_RSDP_V2 = 15,
};

struct mb2_tag {
    uint32_t type, size; /* size without the padding to 8 bytes */
};

struct mb2_module {
    struct mb2_tag tag;
    uint32_t start, end;
    char string[];
};

struct mb2_memory_map {
    struct mb2_tag tag;
    uint32_t entry_size, entry_version;
    uint8_t entries[];
};

struct mb2_memory {
    uint64_t base, length;
    uint32_t type, reserved;
};

_Noreturn void mb2_start(uint32_t magic, uint64_t info);
extern _Noreturn void kernel_entry(const struct boot_info *info);
extern char kernel_text_start[], kernel_data_end[];

static struct boot_info boot;

/* A string that ends within `max` bytes or is cut there. */
static void copy_string(char to[BOOT_STRING_MAX], const char *from, size_t max)
{
    string_copy(to, BOOT_STRING_MAX, from, strnlen(from, max));
}

static void on_command_line(const struct mb2_tag *tag)
{
    copy_string(boot.command_line, (const char *)(tag + 1), tag->size - sizeof(*tag));
}

static void on_module(const struct mb2_tag *tag)
{
    const struct mb2_module *m = (const void *)tag;
    struct boot_module *out;

    if (tag->size < sizeof(*m) || m->end < m->start)
        return;
    if (boot.module_count == BOOT_MODULES_MAX) {
        boot.dropped++;
        return;
    }
    out = &boot.modules[boot.module_count++];
    out->base = m->start;
    out->length = m->end - m->start;
    copy_string(out->string, m->string, tag->size - sizeof(*m));
}

static uint32_t memory_type(uint32_t mb2_type)
{
    static const uint32_t types[] = {[1] = BOOT_MEMORY_USABLE, [3] = BOOT_MEMORY_ACPI, [4] = BOOT_MEMORY_NVS};

    if (mb2_type < sizeof(types) / sizeof(types[0]) && types[mb2_type])
        return types[mb2_type];
    return BOOT_MEMORY_RESERVED;
}

static void on_memory_map(const struct mb2_tag *tag)
{
    const struct mb2_memory_map *map = (const void *)tag;
    struct mb2_memory entry;

    if (tag->size < sizeof(*map) || map->entry_size < sizeof(entry))
        return;
    for (uint32_t at = sizeof(*map); tag->size - at >= map->entry_size; at += map->entry_size) {
        memcpy(&entry, (const uint8_t *)tag + at, sizeof(entry));
        if (boot.memory_count == BOOT_MEMORY_MAX) {
            boot.dropped++;
            continue;
        }
        boot.memory[boot.memory_count++] =
            (struct boot_memory){.base = entry.base, .length = entry.length, .type = memory_type(entry.type)};
    }
}

/* Version 2 of the RSDP is worth more than version 1, whichever comes first. */
static void on_rsdp(const struct mb2_tag *tag)
{
    uint32_t length = tag->size - sizeof(*tag);

    length = length >= 36 ? 36 : length >= 20 ? 20 : 0;
    if (length <= boot.rsdp_length)
        return;
    memcpy(boot.rsdp, tag + 1, length);
    boot.rsdp_length = length;
}

static void on_tag(const struct mb2_tag *tag)
{
    static void (*const handlers[])(const struct mb2_tag *tag) = {
        [MB2_TAG_COMMAND_LINE] = on_command_line,
        [MB2_TAG_MODULE] = on_module,
        [MB2_TAG_MEMORY_MAP] = on_memory_map,
        [MB2_TAG_RSDP_V1] = on_rsdp,
        [MB2_TAG_RSDP_V2] = on_rsdp,
    };

    if (tag->type < sizeof(handlers) / sizeof(handlers[0]) && handlers[tag->type])
        handlers[tag->type](tag);
}

/* total: the block's own first word, already limited. A tag that does not fit ends the walk. */
static void walk(const uint8_t *info, uint32_t total)
{
    uint32_t at = 8;

    while (at <= total && total - at >= sizeof(struct mb2_tag)) {
        const struct mb2_tag *tag = (const void *)(info + at);

        if (tag->type == MB2_TAG_END || tag->size < sizeof(*tag) || tag->size > total - at)
            return;
        on_tag(tag);
        at += (tag->size + 7) & ~7u;
    }
}

_Noreturn void mb2_start(uint32_t magic, uint64_t info)
{
    uint64_t start = (uintptr_t)kernel_text_start - BOOT_KERNEL_BASE;
    uint32_t total;

    boot.magic = BOOT_INFO_MAGIC;
    boot.kernel_base = start;
    boot.kernel_length = (uint64_t)(kernel_data_end - kernel_text_start);
    string_copy(boot.firmware, sizeof(boot.firmware), "BIOS multiboot2", 15);
    if (magic == MB2_BOOTLOADER_MAGIC && info % 8 == 0) {
        memcpy(&total, (const void *)info, sizeof(total));
        walk((const void *)info, total < MB2_INFO_MAX ? total : MB2_INFO_MAX);
    }
    kernel_entry(&boot);
}
