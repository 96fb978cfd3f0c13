/* SPDX-License-Identifier: MIT */
/*
 * The fake memory: some windows at the edges that matter, each page ordinary, read-only or absent. There are three
 * copies: what a case starts from, and the two that the emulator and libunicorn work on. Code is in a page range of its
 * own that can only be executed.
 */
#ifndef ORACLE_MEMORY_H
#define ORACLE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define ORACLE_PAGE       4096u
#define ORACLE_CODE       0xF0000u
#define ORACLE_CODE_SIZE  0x10000u
#define ORACLE_SLOT       32u /* bytes for each instruction in the code */
#define ORACLE_SLOTS      (ORACLE_CODE_SIZE / ORACLE_SLOT - 1)
#define ORACLE_GDT        0x100000u
#define ORACLE_WINDOW_MAX 8

enum oracle_page { ORACLE_ABSENT, ORACLE_READ_ONLY, ORACLE_WRITABLE };
enum oracle_copy { ORACLE_BEFORE, ORACLE_OURS, ORACLE_THEIRS, ORACLE_COPIES };

struct oracle_window {
    uint64_t begin, pages;
    unsigned address_bits; /* an address of so many bits reaches it */
    unsigned first;        /* page of the copies */
};

extern const struct oracle_window oracle_windows[];
extern const unsigned oracle_window_count;
extern uint8_t oracle_code[ORACLE_CODE_SIZE];

void oracle_memory_fill(void);
enum oracle_page oracle_memory_kind(uint64_t address);
/* The byte of a copy, up to the end of its page; NULL where there is no memory. */
uint8_t *oracle_memory_at(enum oracle_copy copy, uint64_t address);
/* Notes a write, by either side. */
void oracle_memory_touch(uint64_t address, uint64_t size);
/* Compares what both sides have written; the address of the first byte that differs. */
bool oracle_memory_differs(uint64_t *address);
/* Whether a copy is not as before. */
bool oracle_memory_is_changed(enum oracle_copy copy);
/* Gives theirs what ours has in these bytes: what is left differs elsewhere. */
void oracle_memory_forgive(uint64_t address, uint64_t size);
/* Undoes what was written since the last time. */
void oracle_memory_restore(void);
/* Whether the copies are equal everywhere: nothing was written without a note. */
bool oracle_memory_is_clean(void);

#endif
