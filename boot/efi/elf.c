/* SPDX-License-Identifier: MIT */
/* The kernel's ELF file (System V ABI, chapter 4 and 5) to memory. */
#include "loader.h"
#include <kernel/string.h>

#define PT_LOAD     1
#define MACHINE_X64 62
#define SPAN_MAX    (256u << 20)

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

_Static_assert(sizeof(struct elf_header) == 64 && sizeof(struct elf_segment) == 56,
               "System V ABI, figures 4-3 and 5-1");

static bool header_good(const struct elf_header *h, uint64_t size)
{
    static const uint8_t ident[6] = {0x7f, 'E', 'L', 'F', 2 /* 64 bits */, 1 /* little endian */};

    return !memcmp(h->ident, ident, sizeof(ident)) && h->machine == MACHINE_X64 &&
           h->phentsize == sizeof(struct elf_segment) && h->phoff <= size &&
           h->phnum <= (size - h->phoff) / sizeof(struct elf_segment);
}

static struct elf_segment segment(const uint8_t *file, const struct elf_header *h, unsigned i)
{
    struct elf_segment s;

    memcpy(&s, file + h->phoff + i * sizeof(s), sizeof(s));
    return s;
}

static bool segment_good(const struct elf_segment *s, uint64_t size)
{
    return s->offset <= size && s->filesz <= size - s->offset && s->filesz <= s->memsz &&
           s->vaddr >= BOOT_KERNEL_BASE && s->memsz <= SPAN_MAX && s->vaddr - BOOT_KERNEL_BASE <= SPAN_MAX;
}

/* The addresses that the segments take, first and end. */
static bool find_span(const uint8_t *file, uint64_t size, const struct elf_header *h, uint64_t *first, uint64_t *end)
{
    *first = ~0ull;
    *end = 0;
    for (unsigned i = 0; i < h->phnum; i++) {
        struct elf_segment s = segment(file, h, i);

        if (s.type != PT_LOAD)
            continue;
        if (!segment_good(&s, size))
            return false;
        *first = s.vaddr < *first ? s.vaddr : *first;
        *end = s.vaddr + s.memsz > *end ? s.vaddr + s.memsz : *end;
    }
    return *first < *end && *first == KERNEL_LINKED;
}

bool elf_load(const uint8_t *file, uint64_t size, struct boot_info *info, uint64_t *entry)
{
    struct elf_header h;
    uint64_t first, end, at;

    if (size < sizeof(h))
        return false;
    memcpy(&h, file, sizeof(h));
    if (!header_good(&h, size) || !find_span(file, size, &h, &first, &end) || h.entry < first || h.entry >= end)
        return false;
    /* large pages map it: room to align it to one, and to end with one */
    at = (uintptr_t)pages_get(EFI_SIZE_TO_PAGES(end - first + 2 * LARGE_PAGE), EfiLoaderData);
    if (!at)
        return false;
    at = (at + LARGE_PAGE - 1) & ~(uint64_t)(LARGE_PAGE - 1);
    for (unsigned i = 0; i < h.phnum; i++) {
        struct elf_segment s = segment(file, &h, i);

        if (s.type == PT_LOAD)
            memcpy((void *)(at + s.vaddr - first), file + s.offset, s.filesz);
    }
    info->kernel_base = at;
    info->kernel_length = end - first;
    *entry = h.entry;
    return true;
}
