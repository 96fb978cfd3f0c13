/* SPDX-License-Identifier: MIT */
/*
 * Kernels by the Multiboot Specification 0.6.96 (version 1), as QEMU's -kernel takes them: a 32-bit ELF file, or any
 * file whose header tells addresses (bit 16 of its flags). They start in 32-bit protected mode without paging, EAX
 * 2BADB002h, EBX the information structure. Modules follow the kernel, each on a page of its own; everything else of
 * ours is below 640 KiB, in an area that the kernel leaves free.
 */
#include <vmm/bytes.h>
#include <vmm/loader.h>

#define SEARCH_SIZE 8192u
#define MAGIC       0x1badb002u
#define MAGIC_EAX   0x2badb002u

#define FLAG_VIDEO     (1u << 2)
#define FLAGS_REQUIRED 0xffffu /* a loader that does not know one of them must give up */
#define FLAGS_KNOWN    0x0007u
#define FLAG_ADDRESSES (1u << 16)

/* The header, by offset. */
#define HDR_FLAGS     4
#define HDR_CHECKSUM  8
#define HDR_SIZE      12
#define HDR_ADDRESS   12
#define HDR_LOAD      16
#define HDR_LOAD_END  20
#define HDR_BSS_END   24
#define HDR_ENTRY     28
#define HDR_FULL_SIZE 32

/* The information structure, by offset. */
#define INFO_FLAGS       0
#define INFO_MEM_LOWER   4
#define INFO_MEM_UPPER   8
#define INFO_CMDLINE     16
#define INFO_MODS_COUNT  20
#define INFO_MODS        24
#define INFO_MMAP_LENGTH 44
#define INFO_MMAP        48
#define INFO_LOADER_NAME 64
#define INFO_SIZE        116
#define INFO_HAS         (1u << 0 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9) /* memory, cmdline, modules, map, name */
#define MODULE_SIZE      16
#define MMAP_ENTRY_SIZE  24

/* Our area, by offset: the information structure and all that it points to. */
#define AREA_SIZE   0x10000u
#define AT_GDT      0x0
#define AT_INFO     0x100
#define AT_NAME     0x200
#define AT_MMAP     0x400
#define AT_MODULES  0x800
#define AT_STRINGS  0x1000
#define LOADER_NAME "BareWHP"
#define KERNEL_NAME "kernel " /* the command line begins with the kernel's name, as with other loaders */

/* ELF, by offset. */
#define ELF_CLASS       4
#define ELF_CLASS_32    1
#define ELF_CLASS_64    2
#define ELF_DATA        5
#define ELF_DATA_LITTLE 1
#define ELF_MACHINE     18
#define ELF_MACHINE_386 3
#define ELF_ENTRY       24
#define ELF_PHOFF       28
#define ELF_PHENTSIZE   42
#define ELF_PHNUM       44
#define ELF_SIZE        52
#define PH_TYPE         0
#define PH_OFFSET       4
#define PH_VADDR        8
#define PH_PADDR        12
#define PH_FILESZ       16
#define PH_MEMSZ        20
#define PH_FLAGS        24
#define PH_SIZE         32
#define PH_LOAD         1
#define PH_EXECUTABLE   1u
#define PH_MOST         64u

_Static_assert(AT_MODULES + LOADER_MODULES_MAX * MODULE_SIZE <= AT_STRINGS, "room for all modules");
_Static_assert(AT_MMAP + MEMORY_RANGES_MAX * MMAP_ENTRY_SIZE <= AT_MODULES, "room for the memory map");

/* A part of the kernel in memory: file_size bytes of the file, then zeroes up to size. */
struct segment {
    uint64_t gpa, size, offset, file_size;
};

struct image {
    const struct memory *memory;
    const struct system_file *file;
    uint64_t header; /* its offset */
    struct segment segments[PH_MOST];
    uint32_t count;
    uint64_t end;     /* of the kernel in memory; then of the modules */
    uint64_t area;    /* where our area is */
    uint64_t strings; /* where the next string goes */
};

static bool fail(const char *what)
{
    system_print("vmm: the file \"kernel\" is no multiboot kernel that can be booted: %s\n", what);
    return false;
}

/* ------------------------------------------------------------------------------------ the header */

static uint32_t header_field(const struct image *image, uint32_t field)
{
    return bytes_get32(image->file->data + image->header + field);
}

/* False: there is none. */
static bool find_header(const struct system_file *file, uint64_t *at)
{
    uint64_t end = file->size < SEARCH_SIZE ? file->size : SEARCH_SIZE;

    for (*at = 0; *at + HDR_SIZE <= end; *at += 4) {
        const uint8_t *header = file->data + *at;

        if (bytes_get32(header) == MAGIC &&
            !(uint32_t)(MAGIC + bytes_get32(header + HDR_FLAGS) + bytes_get32(header + HDR_CHECKSUM)))
            return true;
    }
    return false;
}

bool multiboot_is_kernel(const struct system_file *file)
{
    uint64_t at;

    return find_header(file, &at);
}

static bool check_flags(const struct image *image)
{
    uint32_t flags = header_field(image, HDR_FLAGS) & FLAGS_REQUIRED;

    if (flags & FLAG_VIDEO)
        system_print("vmm: the kernel asks for a video mode; there is no video here\n");
    if (!(flags & ~FLAGS_KNOWN))
        return true;
    system_print("vmm: the file \"kernel\" requires multiboot features that do not exist here (flags 0x%x)\n", flags);
    return false;
}

/* -------------------------------------------------------------------------------------- segments */

static bool segment_failed(const struct segment *s, const char *what)
{
    system_print("vmm: the kernel's segment at 0x%llx (0x%llx bytes) %s\n", (unsigned long long)s->gpa,
                 (unsigned long long)s->size, what);
    return false;
}

/* Nothing of the kernel may lie in another part of it, in the ACPI tables, or where no RAM is. */
static bool add_segment(struct image *image, const struct segment *s)
{
    if (!s->size)
        return true;
    if (s->file_size > s->size)
        return segment_failed(s, "has more bytes in the file than in memory");
    if (s->offset > image->file->size || image->file->size - s->offset < s->file_size)
        return segment_failed(s, "is not in the file as a whole: is the file cut off?");
    if (!memory_is_ram(image->memory, s->gpa, s->size))
        return segment_failed(s, "does not fit the guest's memory: make guest_mem larger");
    if (bytes_overlap(s->gpa, s->size, MEMORY_BASE_END, MEMORY_EXTENDED - MEMORY_BASE_END))
        return segment_failed(s, "lies where the firmware's tables are (0x9fc00 to 0x100000)");
    for (uint32_t i = 0; i < image->count; i++)
        if (bytes_overlap(s->gpa, s->size, image->segments[i].gpa, image->segments[i].size))
            return segment_failed(s, "overlaps another one");
    if (image->count == PH_MOST)
        return fail("it has too many segments");
    image->segments[image->count++] = *s;
    if (image->end < s->gpa + s->size)
        image->end = s->gpa + s->size;
    return true;
}

/* The addresses of the header: one segment, and where it begins in the file follows from the header's own place. */
static bool read_addresses(struct image *image, struct loader_entry *entry)
{
    uint64_t header, load, load_end, bss_end;
    struct segment s;

    if (image->file->size - image->header < HDR_FULL_SIZE)
        return fail("it ends within its header");
    header = header_field(image, HDR_ADDRESS);
    load = header_field(image, HDR_LOAD);
    load_end = header_field(image, HDR_LOAD_END);
    bss_end = header_field(image, HDR_BSS_END);
    if (load > header || header - load > image->header)
        return fail("its load_addr does not fit its header_addr");
    s = (struct segment){.gpa = load, .offset = image->header - (header - load)};
    s.file_size = load_end ? load_end - load : image->file->size - s.offset;
    if (load_end && load_end < load)
        return fail("its load_end_addr lies before its load_addr");
    if (bss_end && bss_end < load + s.file_size)
        return fail("its bss_end_addr lies before the end of what is loaded");
    s.size = bss_end ? bss_end - load : s.file_size;
    entry->rip = header_field(image, HDR_ENTRY);
    return add_segment(image, &s);
}

static bool check_elf(const struct system_file *file)
{
    static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};

    if (file->size < ELF_SIZE || bytes_get32(file->data) != bytes_get32(magic))
        return fail("it is no ELF file, and its header tells no addresses (bit 16 of the flags)");
    if (file->data[ELF_CLASS] == ELF_CLASS_64)
        return fail("it is a 64-bit ELF file and multiboot takes 32-bit ones: objcopy -I elf64-x86-64 -O elf32-i386 "
                    "makes one of it");
    if (file->data[ELF_CLASS] != ELF_CLASS_32 || file->data[ELF_DATA] != ELF_DATA_LITTLE ||
        bytes_get16(file->data + ELF_MACHINE) != ELF_MACHINE_386)
        return fail("it is an ELF file for another CPU");
    if (bytes_get16(file->data + ELF_PHENTSIZE) < PH_SIZE)
        return fail("its program headers are too small");
    return true;
}

/* The entry is a virtual address: of a segment that is loaded elsewhere it moves along. */
static void move_entry(const uint8_t *ph, uint32_t entry, uint64_t *rip)
{
    uint32_t begin = bytes_get32(ph + PH_VADDR);

    if (entry >= begin && entry - begin < bytes_get32(ph + PH_FILESZ) && bytes_get32(ph + PH_FLAGS) & PH_EXECUTABLE)
        *rip = (uint32_t)(entry - begin + bytes_get32(ph + PH_PADDR));
}

static bool read_elf(struct image *image, struct loader_entry *entry)
{
    const struct system_file *file = image->file;
    uint64_t at, step;
    uint32_t count;

    if (!check_elf(file))
        return false;
    at = bytes_get32(file->data + ELF_PHOFF);
    step = bytes_get16(file->data + ELF_PHENTSIZE);
    count = bytes_get16(file->data + ELF_PHNUM);
    entry->rip = bytes_get32(file->data + ELF_ENTRY);
    if (!count || count * step > file->size || at > file->size - count * step)
        return fail("its program headers are not in the file as a whole");
    for (uint32_t i = 0; i < count; i++, at += step) {
        const uint8_t *ph = file->data + at;
        const struct segment s = {bytes_get32(ph + PH_PADDR), bytes_get32(ph + PH_MEMSZ), bytes_get32(ph + PH_OFFSET),
                                  bytes_get32(ph + PH_FILESZ)};

        if (bytes_get32(ph + PH_TYPE) != PH_LOAD)
            continue;
        if (!add_segment(image, &s))
            return false;
        move_entry(ph, bytes_get32(file->data + ELF_ENTRY), &entry->rip);
    }
    return image->count || fail("nothing of it is to be loaded");
}

static bool load_segments(const struct image *image)
{
    for (uint32_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];

        if (!memory_write(image->memory, s->gpa, image->file->data + s->offset, s->file_size) ||
            !memory_zero(image->memory, s->gpa + s->file_size, s->size - s->file_size))
            return segment_failed(s, "does not fit the guest's memory");
    }
    return true;
}

static bool check_entry(const struct image *image, uint64_t rip)
{
    for (uint32_t i = 0; i < image->count; i++)
        if (rip >= image->segments[i].gpa && rip - image->segments[i].gpa < image->segments[i].size)
            return true;
    return fail("its entry lies outside of what is loaded");
}

/* The first of a few places that the kernel leaves free. */
static bool choose_area(struct image *image)
{
    static const uint32_t places[] = {0x8000, 0x20000, 0x40000, 0x60000, 0x80000};

    for (uint32_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
        uint32_t i = 0;

        while (i < image->count &&
               !bytes_overlap(image->segments[i].gpa, image->segments[i].size, places[p], AREA_SIZE))
            i++;
        if (i < image->count)
            continue;
        image->area = places[p];
        image->strings = image->area + AT_STRINGS;
        return true;
    }
    return fail("it leaves no room for the loader's tables below 640 KiB");
}

/* ---------------------------------------------------------------------------- the information */

/* A string of two parts into our area; *at is where it is. */
static bool put_string(struct image *image, const char *first, const char *second, uint64_t *at)
{
    uint64_t n = text_length(first), size = text_length(second) + 1;

    if (n + size > image->area + AREA_SIZE - image->strings)
        return fail("the command line and the modules' names are too long");
    *at = image->strings;
    image->strings += n + size;
    return memory_write(image->memory, *at, first, n) && memory_write(image->memory, *at + n, second, size);
}

static bool put_modules(struct image *image, const struct loader_input *input)
{
    for (uint32_t i = 0; i < input->module_count; i++) {
        const struct system_file *file = &input->modules[i];
        uint64_t begin = bytes_align_up(image->end < MEMORY_EXTENDED ? MEMORY_EXTENDED : image->end, SYSTEM_PAGE_SIZE);
        uint64_t string;
        uint8_t module[MODULE_SIZE] = {0};

        if (begin > image->memory->low_end || file->size > image->memory->low_end - begin) {
            system_print("vmm: the %u. file \"initrd\" (%zu bytes) does not fit behind the kernel at 0x%llx: make "
                         "guest_mem larger\n",
                         i + 1, file->size, (unsigned long long)begin);
            return false;
        }
        if (!put_string(image, "", file->arguments, &string) ||
            !memory_write(image->memory, begin, file->data, file->size))
            return false;
        image->end = begin + file->size;
        bytes_put32(module, (uint32_t)begin);
        bytes_put32(module + 4, (uint32_t)image->end);
        bytes_put32(module + 8, (uint32_t)string);
        if (!memory_write(image->memory, image->area + AT_MODULES + (uint64_t)i * MODULE_SIZE, module, sizeof(module)))
            return false;
    }
    return true;
}

/* Returns the map's length in bytes. The size field of an entry does not count itself. */
static uint32_t put_map(const struct image *image)
{
    struct memory_range ranges[MEMORY_RANGES_MAX];
    uint32_t count = memory_ranges(image->memory, ranges);

    for (uint32_t i = 0; i < count; i++) {
        uint8_t entry[MMAP_ENTRY_SIZE];

        bytes_put32(entry, MMAP_ENTRY_SIZE - 4);
        bytes_put64(entry + 4, ranges[i].base);
        bytes_put64(entry + 12, ranges[i].size);
        bytes_put32(entry + 20, ranges[i].type);
        memory_write(image->memory, image->area + AT_MMAP + (uint64_t)i * MMAP_ENTRY_SIZE, entry, sizeof(entry));
    }
    return count * MMAP_ENTRY_SIZE;
}

static bool put_information(struct image *image, const struct loader_input *input)
{
    uint8_t info[INFO_SIZE] = {0};
    uint64_t cmdline;

    if (!put_string(image, KERNEL_NAME, input->cmdline, &cmdline) || !put_modules(image, input))
        return false;
    bytes_put32(info + INFO_FLAGS, INFO_HAS);
    bytes_put32(info + INFO_MEM_LOWER, MEMORY_BASE_END / 1024);
    bytes_put32(info + INFO_MEM_UPPER, (uint32_t)((image->memory->low_end - MEMORY_EXTENDED) / 1024));
    bytes_put32(info + INFO_CMDLINE, (uint32_t)cmdline);
    bytes_put32(info + INFO_MODS_COUNT, input->module_count);
    bytes_put32(info + INFO_MODS, (uint32_t)image->area + AT_MODULES);
    bytes_put32(info + INFO_MMAP_LENGTH, put_map(image));
    bytes_put32(info + INFO_MMAP, (uint32_t)image->area + AT_MMAP);
    bytes_put32(info + INFO_LOADER_NAME, (uint32_t)image->area + AT_NAME);
    return memory_write(image->memory, image->area + AT_NAME, LOADER_NAME, sizeof(LOADER_NAME)) &&
           memory_write(image->memory, image->area + AT_INFO, info, sizeof(info));
}

bool multiboot_load(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry)
{
    struct image image = {.memory = memory, .file = &input->kernel};

    if (!find_header(image.file, &image.header) || !check_flags(&image))
        return false;
    if (header_field(&image, HDR_FLAGS) & FLAG_ADDRESSES ? !read_addresses(&image, entry) : !read_elf(&image, entry))
        return false;
    if (!check_entry(&image, entry->rip) || !choose_area(&image) || !load_segments(&image) ||
        !put_information(&image, input))
        return false;
    entry->is_long = false;
    entry->rax = MAGIC_EAX;
    entry->rbx = image.area + AT_INFO;
    text_copy(entry->version, sizeof(entry->version), "a multiboot kernel");
    return loader_write_gdt(memory, image.area + AT_GDT, entry);
}
