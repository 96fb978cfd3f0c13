/* SPDX-License-Identifier: MIT */
/*
 * See vmm/memory.h. Between 640 KiB and 1 MiB is RAM too: the guest is told that it is reserved, the ACPI tables lie
 * there, and a kernel that writes text to a VGA that does not exist costs no exits.
 */
#include <vmm/bytes.h>
#include <vmm/memory.h>
#include <vmm/system.h>

#define PIECE_LEAST (2 * MEMORY_MIB) /* smaller ones are not worth the try */

/* The host's memory may have no room of this size in one piece: then half of it, and so on. */
static uint8_t *take_piece(uint64_t *size)
{
    for (;;) {
        uint8_t *host = system_memory_alloc(*size);

        if (host || *size <= PIECE_LEAST)
            return host;
        *size = bytes_align_up(*size / 2, PIECE_LEAST);
    }
}

static bool take(struct memory *memory, uint64_t gpa, uint64_t end)
{
    while (gpa < end) {
        uint64_t size = end - gpa;
        uint8_t *host = memory->count < MEMORY_PIECES_MAX ? take_piece(&size) : NULL;

        if (!host)
            return false;
        memory->pieces[memory->count++] = (struct memory_piece){.gpa = gpa, .size = size, .host = host};
        gpa += size;
    }
    return true;
}

static bool fail(uint64_t size, uint64_t free)
{
    system_print("vmm: not enough memory: the guest wants %llu MiB, %llu MiB are free; make guest_mem smaller\n",
                 (unsigned long long)(size / MEMORY_MIB), (unsigned long long)(free / MEMORY_MIB));
    return false;
}

bool memory_create(struct memory *memory, uint64_t size)
{
    uint64_t low = size < MEMORY_LOW_END ? size : MEMORY_LOW_END, free = system_memory_free_bytes();

    *memory = (struct memory){.low_end = low, .high_end = MEMORY_HIGH_BASE + (size - low)};
    if (size > free)
        return fail(size, free);
    if (take(memory, 0, low) && take(memory, MEMORY_HIGH_BASE, memory->high_end))
        return true;
    memory_destroy(memory);
    return fail(size, free);
}

void memory_destroy(struct memory *memory)
{
    while (memory->count) {
        const struct memory_piece *piece = &memory->pieces[--memory->count];

        system_memory_free(piece->host, piece->size);
    }
}

bool memory_map(const struct memory *memory, WHV_PARTITION_HANDLE partition)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        const struct memory_piece *piece = &memory->pieces[i];
        HRESULT hr = WHvMapGpaRange(partition, piece->host, piece->gpa, piece->size,
                                    WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite | WHvMapGpaRangeFlagExecute);

        if (FAILED(hr)) {
            system_print("vmm: WHvMapGpaRange of 0x%llx failed: 0x%08x\n", (unsigned long long)piece->gpa,
                         (uint32_t)hr);
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------------------------------------- copies */

/* Where the byte at gpa is, and how many follow it in the same piece; NULL: it is not RAM. */
static uint8_t *locate(const struct memory *memory, uint64_t gpa, uint64_t *length)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        const struct memory_piece *piece = &memory->pieces[i];

        if (gpa >= piece->gpa && gpa - piece->gpa < piece->size) {
            *length = piece->size - (gpa - piece->gpa);
            return piece->host + (gpa - piece->gpa);
        }
    }
    return NULL;
}

bool memory_is_ram(const struct memory *memory, uint64_t gpa, uint64_t size)
{
    uint64_t length;

    while (size) {
        if (!locate(memory, gpa, &length))
            return false;
        if (length >= size)
            return true;
        gpa += length;
        size -= length;
    }
    return true;
}

/*
 * An aligned number is read and written at once, as a processor would: other processors of the guest may look at it at
 * the same time.
 */
static void copy(void *to, const void *from, uint64_t size)
{
    if (size == 8)
        __builtin_memcpy(to, from, 8);
    else if (size == 4)
        __builtin_memcpy(to, from, 4);
    else if (size == 2)
        __builtin_memcpy(to, from, 2);
    else
        __builtin_memcpy(to, from, size);
}

bool memory_read(const struct memory *memory, uint64_t gpa, void *data, uint64_t size)
{
    uint8_t *to = data;

    if (!memory_is_ram(memory, gpa, size))
        return false;
    while (size) {
        uint64_t length = 0;
        const uint8_t *from = locate(memory, gpa, &length);

        length = length < size ? length : size;
        copy(to, from, length);
        to += length;
        gpa += length;
        size -= length;
    }
    return true;
}

bool memory_write(const struct memory *memory, uint64_t gpa, const void *data, uint64_t size)
{
    const uint8_t *from = data;

    if (!memory_is_ram(memory, gpa, size))
        return false;
    while (size) {
        uint64_t length = 0;
        uint8_t *to = locate(memory, gpa, &length);

        length = length < size ? length : size;
        copy(to, from, length);
        from += length;
        gpa += length;
        size -= length;
    }
    return true;
}

bool memory_zero(const struct memory *memory, uint64_t gpa, uint64_t size)
{
    if (!memory_is_ram(memory, gpa, size))
        return false;
    while (size) {
        uint64_t length = 0;
        uint8_t *to = locate(memory, gpa, &length);

        length = length < size ? length : size;
        __builtin_memset(to, 0, length);
        gpa += length;
        size -= length;
    }
    return true;
}

/* ----------------------------------------------------------------------------------------- E820 */

/* ECAM is reserved: an operating system trusts the MCFG only then. */
uint32_t memory_ranges(const struct memory *memory, struct memory_range ranges[MEMORY_RANGES_MAX])
{
    const struct memory_range all[] = {
        {0, MEMORY_BASE_END, MEMORY_RAM},
        {MEMORY_BASE_END, 0xa0000 - MEMORY_BASE_END, MEMORY_RESERVED},
        {MEMORY_TABLES, MEMORY_TABLES_SIZE, MEMORY_RESERVED},
        {MEMORY_EXTENDED, memory->low_end - MEMORY_EXTENDED, MEMORY_RAM},
        {PCI_ECAM_BASE, PCI_ECAM_SIZE, MEMORY_RESERVED},
        {MEMORY_HIGH_BASE, memory->high_end - MEMORY_HIGH_BASE, MEMORY_RAM},
    };
    uint32_t count = 0;

    _Static_assert(sizeof(all) / sizeof(all[0]) == MEMORY_RANGES_MAX, "room for all");
    for (uint32_t i = 0; i < MEMORY_RANGES_MAX; i++)
        if (all[i].size)
            ranges[count++] = all[i];
    return count;
}
