/* SPDX-License-Identifier: MIT */
/*
 * Linux, by the 64-bit boot protocol (Documentation/arch/x86/boot.rst of its sources): the part of a bzImage behind the
 * setup code goes to the address it prefers and is entered 200h bytes behind its begin, in 64-bit mode, with an
 * identity mapping of the first 4 GiB and the "zero page" in RSI, which tells it the rest.
 */
#include <vmm/bytes.h>
#include <vmm/loader.h>

/* Fields of the setup header, by their offset in the file as in the zero page. */
#define HDR_SETUP_SECTS      0x1f1
#define HDR_SYSSIZE          0x1f4
#define HDR_BOOT_FLAG        0x1fe
#define HDR_JUMP             0x200 /* its second byte tells where the header ends: counted from 202h */
#define HDR_MAGIC            0x202
#define HDR_VERSION          0x206
#define HDR_KERNEL_VERSION   0x20e
#define HDR_TYPE_OF_LOADER   0x210
#define HDR_LOADFLAGS        0x211
#define HDR_CODE32_START     0x214
#define HDR_RAMDISK_IMAGE    0x218
#define HDR_RAMDISK_SIZE     0x21c
#define HDR_CMD_LINE_PTR     0x228
#define HDR_INITRD_ADDR_MAX  0x22c
#define HDR_KERNEL_ALIGNMENT 0x230
#define HDR_RELOCATABLE      0x234
#define HDR_XLOADFLAGS       0x236
#define HDR_CMDLINE_SIZE     0x238
#define HDR_SETUP_DATA       0x250
#define HDR_PREF_ADDRESS     0x258
#define HDR_INIT_SIZE        0x260
#define HDR_LEAST_END        0x264 /* that much every header of version 2.12 has */
#define HDR_MOST_END         0x290 /* the zero page has no more room for it */

/* Fields of the zero page outside of the header. */
#define ZERO_PAGE_RSDP         0x070
#define ZERO_PAGE_E820_ENTRIES 0x1e8
#define ZERO_PAGE_E820_TABLE   0x2d0
#define E820_ENTRY_SIZE        20

#define BOOT_FLAG      0xaa55
#define MAGIC          0x53726448 /* "HdrS" */
#define VERSION_LEAST  0x20c      /* the first with xloadflags */
#define XLF_KERNEL_64  (1u << 0)
#define LOADED_HIGH    (1u << 0)
#define KEEP_SEGMENTS  (1u << 6)
#define TYPE_UNDEFINED 0xff
#define SECTOR         512u
#define NAME           "Linux "
#define ENTRY_64       0x200
#define CMDLINE_MOST   0xffff /* of this loader: what lies between the command line and the page tables */

/* Where the loader's own things are, all below 640 KiB. */
#define AT_ZERO_PAGE   0x10000u
#define AT_GDT         0x11000u
#define AT_CMDLINE     0x20000u
#define AT_PAGE_TABLES 0x30000u

#define PAGE            SYSTEM_PAGE_SIZE
#define PAGE_TABLE_GIBS 4u
#define PTE_TABLE       0x3u  /* present, writable */
#define PTE_LARGE       0x83u /* and a page of 2 MiB */

/* The header in numbers. */
struct header {
    const uint8_t *file;
    uint64_t end;         /* of the header, in the file */
    uint64_t setup_size;  /* what stands before the 64-bit kernel */
    uint64_t kernel_size; /* the kernel's bytes in the file */
    uint64_t load, size;  /* where it goes, and what it needs there until it has read the memory map */
    uint64_t alignment, preferred;
    bool relocatable;
};

static bool fail(const char *what)
{
    system_print("vmm: the file \"kernel\" can not be booted: %s\n", what);
    return false;
}

bool linux_is_kernel(const struct system_file *file)
{
    return file->size >= HDR_MAGIC + 4 && bytes_get16(file->data + HDR_BOOT_FLAG) == BOOT_FLAG &&
           bytes_get32(file->data + HDR_MAGIC) == MAGIC;
}

/* ------------------------------------------------------------------------------------ the header */

static bool check_version(const struct system_file *file)
{
    uint32_t version;

    if (file->size < HDR_LEAST_END)
        return fail("it ends within its setup header");
    version = bytes_get16(file->data + HDR_VERSION);
    if (version < VERSION_LEAST) {
        system_print(
            "vmm: the file \"kernel\" can not be booted: boot protocol %u.%02u, and 2.12 (Linux 3.8) is needed\n",
            version >> 8, version & 0xff);
        return false;
    }
    if (!(bytes_get16(file->data + HDR_XLOADFLAGS) & XLF_KERNEL_64))
        return fail("it is a 32-bit Linux (XLF_KERNEL_64 is clear); a 64-bit one is needed");
    if (!(file->data[HDR_LOADFLAGS] & LOADED_HIGH))
        return fail("it is a zImage, not a bzImage (LOADED_HIGH is clear)");
    return true;
}

static bool read_sizes(const struct system_file *file, struct header *h)
{
    uint32_t sectors = file->data[HDR_SETUP_SECTS];
    uint64_t claimed = (uint64_t)bytes_get32(file->data + HDR_SYSSIZE) * 16;

    h->end = HDR_MAGIC + file->data[HDR_JUMP + 1];
    h->end = h->end < HDR_MOST_END ? h->end : HDR_MOST_END;
    h->setup_size = (uint64_t)SECTOR * ((sectors ? sectors : 4) + 1);
    if (h->end < HDR_LEAST_END || h->end > h->setup_size)
        return fail("its setup header has an impossible length");
    if (file->size <= h->setup_size || file->size - h->setup_size < claimed) {
        system_print("vmm: the file \"kernel\" is cut off: its header tells of %llu bytes, %zu are there\n",
                     (unsigned long long)(h->setup_size + claimed), file->size);
        return false;
    }
    h->kernel_size = file->size - h->setup_size;
    if (h->kernel_size <= ENTRY_64)
        return fail("it has no code at its 64-bit entry");
    return true;
}

static bool read_placement(const struct system_file *file, struct header *h)
{
    uint32_t init_size = bytes_get32(file->data + HDR_INIT_SIZE);

    h->relocatable = file->data[HDR_RELOCATABLE];
    h->alignment = bytes_get32(file->data + HDR_KERNEL_ALIGNMENT);
    h->preferred = bytes_get64(file->data + HDR_PREF_ADDRESS);
    h->size = init_size > h->kernel_size ? init_size : h->kernel_size;
    if (h->relocatable && (!h->alignment || (h->alignment & (h->alignment - 1))))
        return fail("its kernel_alignment is no power of two");
    return true;
}

static bool fits(const struct memory *memory, uint64_t load, uint64_t size)
{
    return load >= MEMORY_EXTENDED && load < memory->low_end && memory->low_end - load >= size;
}

/*
 * Where it prefers to be. A relocatable kernel may be put elsewhere, but x86's moves itself up to that address when it
 * finds itself below: lower is of no use.
 */
static bool place(const struct memory *memory, struct header *h)
{
    uint64_t needed;

    h->load = h->preferred;
    if (h->relocatable && h->load < MEMORY_EXTENDED)
        h->load = bytes_align_up(MEMORY_EXTENDED, h->alignment);
    if (fits(memory, h->load, h->size))
        return true;
    if (h->load < MEMORY_EXTENDED || h->load >= MEMORY_LOW_END || h->size > MEMORY_LOW_END - h->load)
        return fail("it wants to be where no memory can be");
    needed = bytes_align_up(h->load + h->size, MEMORY_MIB) / MEMORY_MIB;
    system_print("vmm: this kernel needs %llu MiB to begin with, and the guest has %llu: make guest_mem larger\n",
                 (unsigned long long)needed, (unsigned long long)(memory->low_end / MEMORY_MIB));
    return false;
}

/* The first word of "6.1.0-18-cloud-amd64 (builder) ...", a string in the setup code; printable, whatever is there. */
static void read_version(const struct header *h, char *version, size_t size)
{
    uint64_t at = bytes_get16(h->file + HDR_KERNEL_VERSION);
    size_t n = 0;

    for (at += HDR_JUMP; at > HDR_JUMP && at < h->setup_size && n + 1 < size; at++) {
        if (h->file[at] <= ' ' || h->file[at] > '~')
            break;
        version[n++] = (char)h->file[at];
    }
    version[n] = '\0';
}

/* ------------------------------------------------------------------------------------- the pieces */

static bool write_page_tables(const struct memory *memory)
{
    uint64_t table[PAGE / 8] = {AT_PAGE_TABLES + PAGE + PTE_TABLE};
    uint64_t directories = AT_PAGE_TABLES + 2 * PAGE;
    bool done = memory_write(memory, AT_PAGE_TABLES, table, sizeof(table));

    for (uint32_t i = 0; i < PAGE_TABLE_GIBS; i++)
        table[i] = directories + (uint64_t)i * PAGE + PTE_TABLE;
    done = done && memory_write(memory, AT_PAGE_TABLES + PAGE, table, sizeof(table));
    for (uint32_t i = 0; done && i < PAGE_TABLE_GIBS; i++) {
        for (uint64_t n = 0; n < PAGE / 8; n++)
            table[n] = ((uint64_t)i << 30) + (n << 21) + PTE_LARGE;
        done = memory_write(memory, directories + (uint64_t)i * PAGE, table, sizeof(table));
    }
    return done;
}

#define TSC_PARAMETER "tsc_early_khz="

/*
 * The rate of the TSC, for kernels that find it in no CPUID leaf: they would measure it against the PIT or the PM
 * timer, and give up where a port access takes tens of microseconds, as it does when the machine around us is itself
 * emulated. Left out when the user has said it, or there is no room.
 */
static bool append_tsc_rate(const struct memory *memory, uint64_t at, uint64_t room, uint32_t khz)
{
    static const char name[] = " " TSC_PARAMETER;
    char digits[11] = "";
    size_t digit = sizeof(digits) - 1, length;

    for (; khz; khz /= 10)
        digits[--digit] = (char)('0' + khz % 10);
    length = sizeof(digits) - digit; /* with the 0 at the end */
    if (sizeof(name) - 1 + length > room)
        return true;
    return memory_write(memory, at, name, sizeof(name) - 1) &&
           memory_write(memory, at + sizeof(name) - 1, digits + digit, length);
}

static bool write_cmdline(const struct memory *memory, const struct header *h, const struct loader_input *input)
{
    const char *cmdline = input->cmdline;
    uint64_t length = text_length(cmdline), most = bytes_get32(h->file + HDR_CMDLINE_SIZE);

    most = most < CMDLINE_MOST ? most : CMDLINE_MOST;
    if (length > most) {
        system_print("vmm: the command line has %llu characters; this kernel takes %llu\n", (unsigned long long)length,
                     (unsigned long long)most);
        return false;
    }
    if (!memory_write(memory, AT_CMDLINE, cmdline, length + 1))
        return false;
    if (!input->tsc_khz || text_find(cmdline, TSC_PARAMETER))
        return true;
    return append_tsc_rate(memory, AT_CMDLINE + length, most - length + 1, input->tsc_khz);
}

/* As high as the kernel allows and memory goes. */
static bool write_initramfs(const struct memory *memory, const struct header *h, const struct system_file *file,
                            uint64_t *at)
{
    uint64_t top = (uint64_t)bytes_get32(h->file + HDR_INITRD_ADDR_MAX) + 1;
    uint64_t kernel_end = h->load + h->size;

    top = top < memory->low_end ? top : memory->low_end;
    *at = file->size <= top ? (top - file->size) & ~(uint64_t)(PAGE - 1) : 0;
    if (*at < kernel_end) {
        system_print("vmm: the file \"initrd\" (%zu bytes) does not fit between the kernel's end at 0x%llx and 0x%llx: "
                     "make guest_mem larger\n",
                     file->size, (unsigned long long)kernel_end, (unsigned long long)top);
        return false;
    }
    return memory_write(memory, *at, file->data, file->size);
}

static void put_e820(uint8_t *page, const struct memory *memory)
{
    struct memory_range ranges[MEMORY_RANGES_MAX];
    uint32_t count = memory_ranges(memory, ranges);

    page[ZERO_PAGE_E820_ENTRIES] = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = page + ZERO_PAGE_E820_TABLE + (size_t)i * E820_ENTRY_SIZE;

        bytes_put64(entry, ranges[i].base);
        bytes_put64(entry + 8, ranges[i].size);
        bytes_put32(entry + 16, ranges[i].type);
    }
}

static bool write_zero_page(const struct memory *memory, const struct header *h, const struct loader_input *input,
                            uint64_t initramfs)
{
    uint8_t page[PAGE] = {0};

    __builtin_memcpy(page + HDR_SETUP_SECTS, h->file + HDR_SETUP_SECTS, h->end - HDR_SETUP_SECTS);
    page[HDR_TYPE_OF_LOADER] = TYPE_UNDEFINED;
    page[HDR_LOADFLAGS] = (page[HDR_LOADFLAGS] | LOADED_HIGH) & ~KEEP_SEGMENTS;
    bytes_put32(page + HDR_CODE32_START, (uint32_t)h->load);
    bytes_put32(page + HDR_RAMDISK_IMAGE, (uint32_t)initramfs);
    bytes_put32(page + HDR_RAMDISK_SIZE, input->module_count ? (uint32_t)input->modules[0].size : 0);
    bytes_put32(page + HDR_CMD_LINE_PTR, AT_CMDLINE);
    bytes_put64(page + HDR_SETUP_DATA, 0);
    bytes_put64(page + ZERO_PAGE_RSDP, input->rsdp);
    put_e820(page, memory);
    return memory_write(memory, AT_ZERO_PAGE, page, sizeof(page));
}

bool linux_load(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry)
{
    struct header h = {.file = input->kernel.data};
    uint64_t initramfs = 0;

    if (input->module_count > 1)
        return fail(
            "Linux takes one file \"initrd\", and there are more (the cpio archives of several can be joined by cat)");
    if (!check_version(&input->kernel) || !read_sizes(&input->kernel, &h) || !read_placement(&input->kernel, &h) ||
        !place(memory, &h) || !write_cmdline(memory, &h, input) ||
        (input->module_count && !write_initramfs(memory, &h, &input->modules[0], &initramfs)))
        return false;
    entry->is_long = true;
    entry->rip = h.load + ENTRY_64;
    entry->rsi = AT_ZERO_PAGE;
    entry->cr3 = AT_PAGE_TABLES;
    text_copy(entry->version, sizeof(entry->version), NAME);
    read_version(&h, entry->version + sizeof(NAME) - 1, sizeof(entry->version) - (sizeof(NAME) - 1));
    if (memory_write(memory, h.load, h.file + h.setup_size, h.kernel_size) &&
        write_zero_page(memory, &h, input, initramfs) && write_page_tables(memory) &&
        loader_write_gdt(memory, AT_GDT, entry))
        return true;
    return fail("the guest has too little memory for the loader's tables: make guest_mem larger");
}
