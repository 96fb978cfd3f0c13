/* SPDX-License-Identifier: MIT */
#include "selftest.h"
#include <boot/info.h>
#include <kernel/memory.h>
#include <kernel/string.h>
#include <kernel/trap.h>

static const char constant[] = "read-only";
static uint8_t variable[16] = {0xc3 /* ret */};

static bool case_pages(void)
{
    size_t before = pages_free_count();
    uint8_t *page = page_alloc();

    CHECK(page && (uintptr_t)page % PAGE_SIZE == 0);
    CHECK(pages_free_count() == before - 1);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        CHECK(page[i] == 0);
    memset(page, 0xff, PAGE_SIZE);
    page_free(page);
    page = page_alloc();
    CHECK(page && page[0] == 0 && page[PAGE_SIZE - 1] == 0);
    page_free(page);
    return true;
}

static bool case_runs(void)
{
    size_t before = pages_free_count(), half = before / 2;
    char *run = pages_alloc(1024, SIZE_2M), *odd = pages_alloc(3, 0), *large;

    CHECK(run && virt_to_phys(run) % SIZE_2M == 0 && odd);
    CHECK(virt_to_phys(run + 1023 * PAGE_SIZE) == virt_to_phys(run) + 1023 * PAGE_SIZE);
    CHECK(odd + 3 * PAGE_SIZE <= run || odd >= run + 1024 * PAGE_SIZE);
    CHECK(pages_free_count() == before - 1027);
    pages_free(run, 512);
    pages_free(run + 512 * PAGE_SIZE, 512);
    pages_free(odd, 3);
    large = pages_alloc(half, 0);
    CHECK(large);
    large[0] = large[half * PAGE_SIZE - 1] = 1;
    pages_free(large, half);
    CHECK(!pages_alloc(before + 1, 0) && !pages_alloc(0, 0) && !pages_alloc(1, 3));
    return true;
}

#define OBJECTS 400

static size_t object_size(unsigned i)
{
    return 1 + i * 37 % 5000;
}

static bool case_heap(void)
{
    static uint8_t *objects[OBJECTS];

    for (unsigned i = 0; i < OBJECTS; i++) {
        objects[i] = heap_alloc(object_size(i));
        CHECK(objects[i] && (uintptr_t)objects[i] % 16 == 0 && !objects[i][0] && !objects[i][object_size(i) - 1]);
        memset(objects[i], (int)i, object_size(i));
    }
    for (unsigned i = 0; i < OBJECTS; i += 2)
        heap_free(objects[i], object_size(i));
    for (unsigned i = 0; i < OBJECTS; i += 2)
        objects[i] = memset(heap_alloc(object_size(i)), (int)i, object_size(i));
    for (unsigned i = 0; i < OBJECTS; i++) {
        CHECK(objects[i][0] == (uint8_t)i && objects[i][object_size(i) - 1] == (uint8_t)i);
        heap_free(objects[i], object_size(i));
    }
    return true;
}

static bool case_addresses(void)
{
    uint64_t local = 0;
    void *page = page_alloc();

    CHECK(phys_to_virt(virt_to_phys(page)) == page);
    CHECK(*(uint64_t *)phys_to_virt(virt_to_phys(&local)) == 0);
    *(uint64_t *)phys_to_virt(virt_to_phys(&local)) = 7;
    CHECK(*(volatile uint64_t *)&local == 7);
    CHECK(!memcmp(phys_to_virt(virt_to_phys(constant)), constant, sizeof(constant)));
    CHECK(virt_to_phys((char *)page + 123) == virt_to_phys(page) + 123);
    CHECK(virt_to_phys((void *)0x1000) == PHYS_NONE);
    CHECK(virt_to_phys((void *)0x8000000000000000ull) == PHYS_NONE);
    CHECK(!phys_to_virt(1ull << 51) && !phys_to_virt(PHYS_NONE) && !phys_to_virt(0xfee00000));
    page_free(page);
    return true;
}

/* What page_fault saw last; it lets the instruction be skipped. */
static struct {
    unsigned count;
    uint64_t error, skip_to;
} fault;

static bool page_fault(struct trap_frame *frame)
{
    fault.count++;
    fault.error = frame->error;
    if (frame->error & 16) { /* a fetch: return to the caller of what cannot be run */
        frame->rip = *(uint64_t *)frame->rsp;
        frame->rsp += 8;
    } else {
        frame->rip = fault.skip_to;
    }
    return true;
}

static bool write_faults(const void *p)
{
    unsigned before = fault.count;
    uint64_t byte = 0;

    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, %0\n\t"
                     "movb (%2), %b1\n\t"
                     "movb %b1, (%2)\n"
                     "1:"
                     : "=m"(fault.skip_to), "+c"(byte)
                     : "d"(p)
                     : "rax", "memory");
    return fault.count == before + 1 && (fault.error & 2);
}

static bool execution_faults(const void *p)
{
    unsigned before = fault.count;

    ((void (*)(void))(uintptr_t)p)();
    return fault.count == before + 1 && (fault.error & 16);
}

extern char kernel_text_start[];

static bool case_wx(void)
{
    uint8_t local[16] = {0xc3};
    uint8_t *page = page_alloc();
    bool good;

    page[0] = 0xc3;
    trap_hook(14, page_fault);
    good = write_faults(kernel_text_start) && write_faults(constant) && !write_faults(variable) &&
           write_faults(phys_to_virt(virt_to_phys(kernel_text_start))) &&
           write_faults(phys_to_virt(virt_to_phys(constant))) && execution_faults(variable) &&
           execution_faults(constant) && execution_faults(local) && execution_faults(page) &&
           execution_faults(phys_to_virt(virt_to_phys(kernel_text_start)));
    trap_hook(14, 0);
    page_free(page);
    CHECK(good);
    return true;
}

#define DEVICES 0xfed00000ull /* on PCs no RAM; not read here */

static bool case_mmio(void)
{
    size_t pages, heap = heap_used();
    char *first = mmio_map(DEVICES, PAGE_SIZE), *odd, *large;

    CHECK(first && virt_to_phys(first) == DEVICES);
    pages = pages_free_count();
    odd = mmio_map(DEVICES + PAGE_SIZE + 8, PAGE_SIZE);
    large = mmio_map(1ull << 40, 3 * SIZE_1G);
    CHECK(odd && virt_to_phys(odd) == DEVICES + PAGE_SIZE + 8 && virt_to_phys(odd + PAGE_SIZE - 1) != PHYS_NONE);
    CHECK(virt_to_phys(odd + 2 * PAGE_SIZE) == PHYS_NONE && virt_to_phys(first + PAGE_SIZE) == PHYS_NONE);
    CHECK(large && virt_to_phys(large + 3 * SIZE_1G - 1) == (1ull << 40) + 3 * SIZE_1G - 1);
    CHECK(!mmio_map(DEVICES, 0) && !mmio_map(~0ull - 1, PAGE_SIZE) && !mmio_map(0, 1ull << 50));
    mmio_unmap(odd, PAGE_SIZE);
    CHECK(virt_to_phys(odd) == PHYS_NONE && virt_to_phys(first) == DEVICES && virt_to_phys(large) == 1ull << 40);
    CHECK(mmio_map(DEVICES + 8, PAGE_SIZE) == odd);
    mmio_unmap(odd, PAGE_SIZE);
    mmio_unmap(large, 3 * SIZE_1G);
    CHECK(virt_to_phys(large) == PHYS_NONE && pages_free_count() == pages);
    mmio_unmap(first, PAGE_SIZE);
    CHECK(heap_used() == heap);
    return true;
}

static bool case_words(void)
{
    char value[8];

    CHECK(word_find("a=1 program=x quiet", "program", value, sizeof(value)) && !strcmp(value, "x"));
    CHECK(word_find("  quiet", "quiet", value, sizeof(value)) && !strcmp(value, ""));
    CHECK(!word_find("aprogram=x programs=y", "program", NULL, 0));
    CHECK(word_find("n=123456789", "n", value, sizeof(value)) && !strcmp(value, "1234567"));
    memcpy(value, "abcdef", 7);
    memmove(value + 1, value, 4);
    CHECK(!strcmp(value, "aabcdf"));
    return true;
}

const struct selftest_case selftest_memory[] = {
    {"single pages are zeroed, counted and freed", case_pages, 1},
    {"runs are contiguous, aligned and freed in parts", case_runs, 1},
    {"heap objects keep their contents", case_heap, 1},
    {"addresses translate both ways", case_addresses, 1},
    {"nothing is writable and executable", case_wx, 1},
    {"device memory is mapped and unmapped without a trace", case_mmio, 1},
    {"words and strings", case_words, 1},
    {0},
};
