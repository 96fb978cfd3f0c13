/* SPDX-License-Identifier: MIT */
/* The fake memory of both sides; the contract is in memory.h. */
#include "memory.h"
#include "random.h"
#include <string.h>

uint64_t oracle_random_state = 1;

/* Low memory, for 16-bit code; the sign bit of 32-bit addresses; their end; the two ends of the canonical hole. */
const struct oracle_window oracle_windows[] = {
    {0, 224, 16, 0},
    {0x7FFFC000, 8, 32, 224},
    {0xFFFF8000, 8, 32, 232},
    {0x00007FFFFFFF8000, 8, 64, 240},
    {0xFFFF800000000000, 8, 64, 248},
};
const unsigned oracle_window_count = sizeof oracle_windows / sizeof *oracle_windows;

#define PAGES 256

uint8_t oracle_code[ORACLE_CODE_SIZE] __attribute__((aligned(4096)));
static uint8_t copies[ORACLE_COPIES][PAGES * ORACLE_PAGE] __attribute__((aligned(4096)));
static bool touched[PAGES];
static unsigned touched_pages[PAGES], touched_count;

/* The page of the copies, or -1. */
static int page_of(uint64_t address)
{
    for (unsigned i = 0; i < oracle_window_count; i++) {
        const struct oracle_window *w = &oracle_windows[i];

        if (address - w->begin < w->pages * ORACLE_PAGE)
            return (int)(w->first + (address - w->begin) / ORACLE_PAGE);
    }
    return -1;
}

enum oracle_page oracle_memory_kind(uint64_t address)
{
    int page = page_of(address);

    if (page < 0 || page % 8 == 5)
        return ORACLE_ABSENT;
    return page % 8 == 2 ? ORACLE_READ_ONLY : ORACLE_WRITABLE;
}

uint8_t *oracle_memory_at(enum oracle_copy copy, uint64_t address)
{
    if (oracle_memory_kind(address) == ORACLE_ABSENT)
        return NULL;
    return &copies[copy][(unsigned)page_of(address) * ORACLE_PAGE + address % ORACLE_PAGE];
}

/* Random, with the values at which arithmetic turns, and pages of equal bytes for SCAS and CMPS to run over. */
void oracle_memory_fill(void)
{
    static const uint64_t special[] = {0,    1,      UINT64_MAX, 0x8000000080008080, 0x7FFFFFFF7FFF7F7F,
                                       0x80, 0x8000, 0x80000000};
    uint8_t *bytes = copies[ORACLE_BEFORE];

    for (unsigned at = 0; at < sizeof copies[0]; at += 8) {
        uint64_t value = oracle_percent(30) ? special[oracle_below(8)] : oracle_random();

        if (at / ORACLE_PAGE % 8 == 3)
            value = oracle_percent(1) ? value : 0x5A5A5A5A5A5A5A5A;
        memcpy(bytes + at, &value, 8);
    }
    memcpy(copies[ORACLE_OURS], bytes, sizeof copies[0]);
    memcpy(copies[ORACLE_THEIRS], bytes, sizeof copies[0]);
}

void oracle_memory_touch(uint64_t address, uint64_t size)
{
    for (uint64_t at = 0; at < size; at++) {
        int page = page_of(address + at);

        if (page < 0 || touched[page])
            continue;
        touched[page] = true;
        touched_pages[touched_count++] = (unsigned)page;
    }
}

static uint64_t address_of(unsigned page)
{
    unsigned i = oracle_window_count - 1;

    while (oracle_windows[i].first > page)
        i--;
    return oracle_windows[i].begin + (uint64_t)(page - oracle_windows[i].first) * ORACLE_PAGE;
}

bool oracle_memory_differs(uint64_t *address)
{
    for (unsigned i = 0; i < touched_count; i++) {
        const uint8_t *ours = &copies[ORACLE_OURS][touched_pages[i] * ORACLE_PAGE];
        const uint8_t *theirs = &copies[ORACLE_THEIRS][touched_pages[i] * ORACLE_PAGE];

        if (!memcmp(ours, theirs, ORACLE_PAGE))
            continue;
        for (unsigned at = 0; ours[at] == theirs[at]; at++)
            *address = address_of(touched_pages[i]) + at + 1;
        if (ours[0] != theirs[0])
            *address = address_of(touched_pages[i]);
        return true;
    }
    return false;
}

bool oracle_memory_is_changed(enum oracle_copy copy)
{
    for (unsigned i = 0; i < touched_count; i++) {
        unsigned at = touched_pages[i] * ORACLE_PAGE;

        if (memcmp(&copies[copy][at], &copies[ORACLE_BEFORE][at], ORACLE_PAGE))
            return true;
    }
    return false;
}

void oracle_memory_forgive(uint64_t address, uint64_t size)
{
    for (uint64_t at = address; at < address + size; at++)
        if (oracle_memory_kind(at) != ORACLE_ABSENT)
            *oracle_memory_at(ORACLE_THEIRS, at) = *oracle_memory_at(ORACLE_OURS, at);
}

void oracle_memory_restore(void)
{
    for (; touched_count; touched_count--) {
        unsigned page = touched_pages[touched_count - 1], at = page * ORACLE_PAGE;

        memcpy(&copies[ORACLE_OURS][at], &copies[ORACLE_BEFORE][at], ORACLE_PAGE);
        memcpy(&copies[ORACLE_THEIRS][at], &copies[ORACLE_BEFORE][at], ORACLE_PAGE);
        touched[page] = false;
    }
}

bool oracle_memory_is_clean(void)
{
    return !memcmp(copies[ORACLE_OURS], copies[ORACLE_BEFORE], sizeof copies[0]) &&
           !memcmp(copies[ORACLE_THEIRS], copies[ORACLE_BEFORE], sizeof copies[0]);
}
