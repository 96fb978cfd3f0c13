/* SPDX-License-Identifier: MIT */
/*
 * A guest's memory: RAM from 0 up to the ECAM window, the rest from 4 GiB on. The host gives it in as few pieces as it
 * has; the functions here know where they meet, and refuse every address that is not RAM.
 */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/devices.h>
#include <whp/WinHvPlatform.h>

#define MEMORY_LOW_END    PCI_ECAM_BASE
#define MEMORY_HIGH_BASE  0x100000000ull
#define MEMORY_MIB        0x100000ull
#define MEMORY_PIECES_MAX 64u

/* The first MiB, as a PC has it: RAM up to here, then what firmware would keep for itself, and the area of tables. */
#define MEMORY_BASE_END    0x9fc00u
#define MEMORY_TABLES      0xf0000u
#define MEMORY_TABLES_SIZE 0x10000u
#define MEMORY_EXTENDED    0x100000u

struct memory_piece {
    uint64_t gpa, size;
    uint8_t *host;
};

struct memory {
    struct memory_piece pieces[MEMORY_PIECES_MAX]; /* sorted by gpa */
    uint32_t count;
    uint64_t low_end;  /* RAM below 4 GiB ends here */
    uint64_t high_end; /* RAM above 4 GiB ends here; MEMORY_HIGH_BASE: there is none */
};

/* False: there is not so much; a line was printed, and nothing is held. */
bool memory_create(struct memory *memory, uint64_t size);
void memory_destroy(struct memory *memory);

/* Gives the guest its memory. */
bool memory_map(const struct memory *memory, WHV_PARTITION_HANDLE partition);

/* Copies. False: a byte of the range is not RAM; then nothing was copied. */
bool memory_is_ram(const struct memory *memory, uint64_t gpa, uint64_t size);
bool memory_read(const struct memory *memory, uint64_t gpa, void *data, uint64_t size);
bool memory_write(const struct memory *memory, uint64_t gpa, const void *data, uint64_t size);
bool memory_zero(const struct memory *memory, uint64_t gpa, uint64_t size);

/* What E820 tells: type 1 RAM, 2 reserved. Sorted by base, without overlaps. */
struct memory_range {
    uint64_t base, size;
    uint32_t type;
};
#define MEMORY_RANGES_MAX 6u
#define MEMORY_RAM        1u
#define MEMORY_RESERVED   2u
uint32_t memory_ranges(const struct memory *memory, struct memory_range ranges[MEMORY_RANGES_MAX]);

#endif
