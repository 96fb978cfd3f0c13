/* SPDX-License-Identifier: MIT */
/*
 * Memory of the fake host.
 *
 * Pages live in an arena, their physical addresses elsewhere and in falling order: a physical address that is used as a
 * pointer, or address arithmetic across pages, does not go unnoticed. A freed page is poisoned and taken again as late
 * as possible. Runs of pages have an arena of their own, whose physical addresses rise; nothing is behind a run.
 */
#include "fake.h"
#include "fake_device.h"
#include "fake_vtd.h"
#include <malloc.h>
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_PAGES 32768u
#define ARENA_SIZE  (ARENA_PAGES * HV_PAGE_SIZE)
#define ARENA_PA    0x2300000000ull /* below 2^38, so that a 39-bit CPU could have it */
#define RUNS        2048u
#define RUN_PAGES   4u /* runs begin at multiples of this; behind a run there is a page that is never used */
#define RUN_MAX     512u
#define RUN_USED    0x8000u
#define RUN_SIZE    (RUN_PAGES * HV_PAGE_SIZE)
#define RUNS_SIZE   (RUNS * RUN_SIZE)
#define RUNS_PA     0x2600000000ull
#define ALLOC_MAX   16384u /* "a few KiB" */
#define RAM_REGIONS 16u

struct ram {
    char *va; /* NULL: free */
    size_t size;
    hv_hpa_t pa;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char *arena;
static bool page_used[ARENA_PAGES];
static unsigned arena_next;
static char *runs;
static uint16_t run_count[RUNS]; /* RUN_USED, and the pages from the place's first one to the run's end; 0: free */
static unsigned runs_next;
static struct ram regions[RAM_REGIONS];
static uint64_t fail_countdown;
static bool has_failed;

/* ---------------------------------------------------------------------------- failures */

void fake_fail_after(uint64_t n)
{
    fail_countdown = n;
    has_failed = false;
}

bool fake_has_failed(void)
{
    return has_failed;
}

/* Counts a request; true when it is the one to fail. Under the mutex. */
static bool is_denied(void)
{
    fake_state.requests++;
    if (!fail_countdown || --fail_countdown)
        return false;
    has_failed = true;
    return true;
}

bool fake_deny(void)
{
    bool denied;

    pthread_mutex_lock(&mutex);
    denied = is_denied();
    pthread_mutex_unlock(&mutex);
    return denied;
}

/* ---------------------------------------------------------------------------- objects */

void *hv_host_alloc(size_t size)
{
    void *p;

    fake_require_thread_context("hv_host_alloc");
    fake_require(size > 0 && size <= ALLOC_MAX, "hv_host_alloc: size is 0 or more than a few KiB");
    if (fake_deny())
        return NULL;
    p = calloc(1, size);
    fake_require(p != NULL, "out of memory in earnest");
    FAKE_ADD(allocations, 1);
    FAKE_ADD(bytes, size);
    return p;
}

void hv_host_free(void *p, size_t size)
{
    fake_require_thread_context("hv_host_free");
    fake_require(p != NULL, "hv_host_free: NULL");
    fake_require(malloc_usable_size(p) == size, "hv_host_free: not the size that was allocated");
    free(p);
    FAKE_ADD(allocations, -1);
    FAKE_ADD(bytes, -size);
}

/* ------------------------------------------------------------------------------ pages */

static unsigned arena_take(void)
{
    for (unsigned tries = 0; tries < ARENA_PAGES; tries++) {
        unsigned i = arena_next++ % ARENA_PAGES;

        if (!page_used[i]) {
            __atomic_store_n(&page_used[i], true, __ATOMIC_RELAXED);
            return i;
        }
    }
    fake_fail("the arena is too small");
}

static bool is_arena_page(const volatile void *p)
{
    uintptr_t offset = (uintptr_t)p - (uintptr_t)arena;

    return arena && offset < ARENA_SIZE && __atomic_load_n(&page_used[offset / HV_PAGE_SIZE], __ATOMIC_RELAXED);
}

void *hv_host_page_alloc(void)
{
    char *page = NULL;

    fake_require_thread_context("hv_host_page_alloc");
    pthread_mutex_lock(&mutex);
    if (!is_denied())
        page = arena + arena_take() * HV_PAGE_SIZE;
    pthread_mutex_unlock(&mutex);
    if (!page)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(page, HV_PAGE_SIZE);
    memset(page, 0, HV_PAGE_SIZE);
    FAKE_ADD(pages, 1);
    return page;
}

void hv_host_page_free(void *page)
{
    fake_require_thread_context("hv_host_page_free");
    fake_require((uintptr_t)page % HV_PAGE_SIZE == 0, "hv_host_page_free: not the start of a page");
    fake_require(is_arena_page(page), "hv_host_page_free: no page of hv_host_page_alloc, or freed before");
    fake_vmx_page_freed(hv_host_virt_to_phys(page, NULL));
    fake_svm_page_freed(hv_host_virt_to_phys(page, NULL));
    fake_vtd_page_freed(page);
    memset(page, 0xa5, HV_PAGE_SIZE);
    ASAN_POISON_MEMORY_REGION(page, HV_PAGE_SIZE);
    pthread_mutex_lock(&mutex);
    __atomic_store_n(&page_used[((char *)page - arena) / HV_PAGE_SIZE], false, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&mutex);
    FAKE_ADD(pages, -1);
}

/* ----------------------------------------------------------------------- runs of pages */

static unsigned run_places(uint32_t count)
{
    return count / RUN_PAGES + 1;
}

static bool is_run_free(unsigned first, uint32_t count)
{
    for (unsigned i = first; i < first + run_places(count); i++)
        if (i >= RUNS || run_count[i])
            return false;
    return true;
}

/* Each place tells what is left from there. */
static void run_mark(unsigned first, uint32_t count, bool used)
{
    for (unsigned i = 0; i < run_places(count); i++)
        __atomic_store_n(&run_count[first + i], used ? (uint16_t)(RUN_USED | (count - i * RUN_PAGES)) : 0,
                         __ATOMIC_RELAXED);
}

static char *run_take(uint32_t count)
{
    for (unsigned tries = 0; tries < RUNS; tries++) {
        unsigned i = runs_next++ % RUNS;

        if (is_run_free(i, count)) {
            run_mark(i, count, true);
            return runs + i * RUN_SIZE;
        }
    }
    fake_fail("too many runs of pages");
}

/* How many bytes of va's run are left from va on; 0: not in a run. */
static uint64_t run_left(const volatile void *va)
{
    uintptr_t offset = (uintptr_t)va - (uintptr_t)runs, size;

    if (!runs || offset >= RUNS_SIZE)
        return 0;
    size = (__atomic_load_n(&run_count[offset / RUN_SIZE], __ATOMIC_RELAXED) & ~RUN_USED) * HV_PAGE_SIZE;
    return offset % RUN_SIZE < size ? size - offset % RUN_SIZE : 0;
}

void *hv_host_pages_alloc(uint32_t count)
{
    char *pages = NULL;

    fake_require_thread_context("hv_host_pages_alloc");
    fake_require(count == 2 || count == 3 || count == 16 || count == RUN_MAX,
                 "hv_host_pages_alloc: neither 2, 3, 16 nor 512 pages");
    pthread_mutex_lock(&mutex);
    if (!is_denied())
        pages = run_take(count);
    pthread_mutex_unlock(&mutex);
    if (!pages)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(pages, count * HV_PAGE_SIZE);
    memset(pages, 0, count * HV_PAGE_SIZE);
    FAKE_ADD(pages, count);
    return pages;
}

void hv_host_pages_free(void *pages, uint32_t count)
{
    uintptr_t offset = (uintptr_t)pages - (uintptr_t)runs;

    fake_require_thread_context("hv_host_pages_free");
    fake_require(run_left(pages) && offset % RUN_SIZE == 0,
                 "hv_host_pages_free: not the start of a run of hv_host_pages_alloc, or freed before");
    fake_require(run_left(pages) == count * HV_PAGE_SIZE, "hv_host_pages_free: not as many pages as were allocated");
    memset(pages, 0xa5, count * HV_PAGE_SIZE);
    ASAN_POISON_MEMORY_REGION(pages, count * HV_PAGE_SIZE);
    pthread_mutex_lock(&mutex);
    run_mark((unsigned)(offset / RUN_SIZE), count, false);
    pthread_mutex_unlock(&mutex);
    FAKE_ADD(pages, -(uint64_t)count);
}

/* -------------------------------------------------------------------------------- RAM */

void *fake_ram_alloc(size_t size, hv_hpa_t pa)
{
    struct ram *r = regions;

    while (r < regions + RAM_REGIONS && r->va)
        r++;
    fake_require(r < regions + RAM_REGIONS, "fake_ram_alloc: too many regions");
    fake_require(pa % HV_PAGE_SIZE == 0 && size && size % HV_PAGE_SIZE == 0, "fake_ram_alloc: unaligned");
    r->va = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fake_require(r->va != MAP_FAILED, "fake_ram_alloc: mmap");
    r->size = size;
    r->pa = pa;
    FAKE_ADD(ram, 1);
    return r->va;
}

void fake_ram_free(void *ram)
{
    for (struct ram *r = regions; r < regions + RAM_REGIONS; r++) {
        if (!ram || r->va != ram)
            continue;
        munmap(r->va, r->size);
        r->va = NULL;
        FAKE_ADD(ram, -1);
        return;
    }
    fake_fail("fake_ram_free: no such region");
}

/* -------------------------------------------------------------------------- addresses */

static void limit(uint64_t *size, uint64_t most)
{
    if (size && *size > most)
        *size = most;
}

/* Pages of the arena lie in reverse order. */
hv_hpa_t hv_host_virt_to_phys(const volatile void *va, uint64_t *size)
{
    uintptr_t offset = (uintptr_t)va - (uintptr_t)arena;
    uint64_t left = 0;
    hv_hpa_t pa;

    fake_require(fake_irqs_on(), "hv_host_virt_to_phys: interrupts are off");
    if (is_arena_page(va)) {
        limit(size, HV_PAGE_SIZE - offset % HV_PAGE_SIZE);
        return ARENA_PA + (ARENA_PAGES - 1 - offset / HV_PAGE_SIZE) * HV_PAGE_SIZE + offset % HV_PAGE_SIZE;
    }
    if (run_left(va)) {
        limit(size, run_left(va));
        return RUNS_PA + ((uintptr_t)va - (uintptr_t)runs);
    }
    for (const struct ram *r = regions; r < regions + RAM_REGIONS; r++) {
        offset = (uintptr_t)va - (uintptr_t)r->va;
        if (r->va && offset < r->size) {
            limit(size, r->size - offset);
            return r->pa + offset;
        }
    }
    pa = fake_mmio_to_phys(va, &left);
    if (pa != HV_HPA_NONE)
        limit(size, left);
    return pa;
}

void *hv_host_phys_to_virt(hv_hpa_t pa)
{
    uint64_t offset = pa - ARENA_PA;

    if (offset < ARENA_SIZE) {
        char *va = arena + (ARENA_PAGES - 1 - offset / HV_PAGE_SIZE) * HV_PAGE_SIZE + offset % HV_PAGE_SIZE;

        fake_require(is_arena_page(va), "hv_host_phys_to_virt: the page was freed");
        return va;
    }
    if (pa - RUNS_PA < RUNS_SIZE) {
        fake_require(run_left(runs + (pa - RUNS_PA)),
                     "hv_host_phys_to_virt: the run of pages was freed, or ends before");
        return runs + (pa - RUNS_PA);
    }
    for (const struct ram *r = regions; r < regions + RAM_REGIONS; r++)
        if (r->va && pa - r->pa < r->size)
            return r->va + (pa - r->pa);
    return NULL;
}

/* ----------------------------------------------------------------------------- all of it */

static void poison_all(char **area, size_t size)
{
    if (!*area)
        *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fake_require(*area != MAP_FAILED, "no room for the arena");
    ASAN_POISON_MEMORY_REGION(*area, size);
}

void fake_memory_reset(void)
{
    poison_all(&arena, ARENA_SIZE);
    poison_all(&runs, RUNS_SIZE);
    memset(run_count, 0, sizeof(run_count));
    runs_next = 0;
    memset(page_used, 0, sizeof(page_used));
    arena_next = 0;
    fake_fail_after(0);
    for (struct ram *r = regions; r < regions + RAM_REGIONS; r++)
        if (r->va)
            fake_ram_free(r->va);
}

void fake_memory_assert_clean(void)
{
    const struct fake_counts *c = &fake_state;

    if (c->allocations || c->bytes || c->pages || c->ram)
        fake_fail("not given back: %llu objects of %llu bytes, %llu pages, %llu RAM regions",
                  (unsigned long long)c->allocations, (unsigned long long)c->bytes, (unsigned long long)c->pages,
                  (unsigned long long)c->ram);
}
