/* SPDX-License-Identifier: MIT */
/*
 * Small objects: each page of the heap holds objects of one size behind a header with a bitmap. An empty page goes back
 * to the page allocator at once, so that the count of free pages shows every leak. Objects are freed with their size: a
 * wrong size or a second free panics.
 */
#include <hv/base/bits.h>
#include <hv/base/list.h>
#include <kernel/exit.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/string.h>

#define SLAB_MAGIC 0x534c4142u

struct slab {
    struct hv_list link; /* in the class's list while it has room */
    uint32_t magic;
    uint16_t size, used; /* bytes of an object, objects allocated */
    uint64_t taken[4];
    uint64_t reserved;
};

_Static_assert(sizeof(struct slab) == 64, "the sizes below divide 4096 - 64 well, and objects are aligned to 16");

/* multiples of 16; the large ones are 4032 / 6, 4032 / 4 ... rounded down */
static const uint16_t sizes[] = {16, 32, 48, 64, 96, 128, 192, 256, 336, 448, 576, 672, 800, 1008, 1344, 2016};

#define CLASSES   ARRAY_COUNT(sizes)
#define LARGEST   2016
#define SLAB_ROOM (PAGE_SIZE - sizeof(struct slab))

static struct spinlock lock;
static struct hv_list partial[CLASSES]; /* lock */
static size_t used_bytes;               /* atomic */

static unsigned class_of(size_t size)
{
    unsigned c = 0;

    while (sizes[c] < size)
        c++;
    return c;
}

static size_t page_count(size_t size)
{
    return ALIGN_UP(size, PAGE_SIZE) / PAGE_SIZE;
}

static void *alloc_large(size_t size)
{
    void *run;

    if (size > SIZE_MAX - PAGE_SIZE)
        return NULL;
    run = pages_alloc(page_count(size), 0);
    return run ? memset(run, 0, page_count(size) * PAGE_SIZE) : NULL;
}

/* A slab of the class with room, a new one if need be. Lock held. */
static struct slab *slab_get(unsigned class)
{
    struct slab *slab;

    if (!partial[class].next)
        hv_list_init(&partial[class]);
    if (!hv_list_empty(&partial[class]))
        return CONTAINER_OF(partial[class].next, struct slab, link);
    slab = page_alloc();
    if (!slab)
        return NULL;
    slab->magic = SLAB_MAGIC;
    slab->size = sizes[class];
    hv_list_add_tail(&partial[class], &slab->link);
    return slab;
}

static void *slab_take(struct slab *slab)
{
    unsigned w = 0, i;

    while (!~slab->taken[w])
        w++;
    i = w * 64 + (unsigned)__builtin_ctzll(~slab->taken[w]);
    slab->taken[w] |= BIT64(i % 64);
    slab->used++;
    if ((slab->used + 1u) * slab->size > SLAB_ROOM)
        hv_list_remove(&slab->link);
    return (char *)(slab + 1) + i * slab->size;
}

/* True when the slab is empty now and no longer in its list. */
static bool slab_put(struct slab *slab, unsigned class, const void *p)
{
    size_t offset = (size_t)((const char *)p - (const char *)(slab + 1));
    size_t i = offset / slab->size;

    if (offset % slab->size || !(slab->taken[i / 64] & BIT64(i % 64)))
        panic("heap_free(%p): not an allocated object", p);
    if ((slab->used + 1u) * slab->size > SLAB_ROOM)
        hv_list_add_tail(&partial[class], &slab->link);
    slab->taken[i / 64] &= ~BIT64(i % 64);
    if (--slab->used)
        return false;
    hv_list_remove(&slab->link);
    slab->magic = 0;
    return true;
}

static void *alloc_small(size_t size)
{
    uint64_t flags = spin_lock(&lock);
    struct slab *slab = slab_get(class_of(size));
    void *p = slab ? slab_take(slab) : NULL;

    spin_unlock(&lock, flags);
    return p ? memset(p, 0, size) : NULL;
}

static void free_small(void *p, size_t size)
{
    struct slab *slab = (void *)ALIGN_DOWN((uintptr_t)p, PAGE_SIZE);
    unsigned class = class_of(size);
    uint64_t flags = spin_lock(&lock);
    bool empty;

    if (slab->magic != SLAB_MAGIC || slab->size != sizes[class])
        panic("heap_free(%p, %zu): the heap has no object of this size there", p, size);
    empty = slab_put(slab, class, p);
    spin_unlock(&lock, flags);
    if (empty)
        page_free(slab);
}

void *heap_alloc(size_t size)
{
    void *p = size > LARGEST ? alloc_large(size) : alloc_small(size);

    if (p)
        __atomic_fetch_add(&used_bytes, size, __ATOMIC_RELAXED);
    return p;
}

void heap_free(void *p, size_t size)
{
    if (!p)
        return;
    __atomic_fetch_sub(&used_bytes, size, __ATOMIC_RELAXED);
    if (size > LARGEST)
        pages_free(p, page_count(size));
    else
        free_small(p, size);
}

size_t heap_used(void)
{
    return __atomic_load_n(&used_bytes, __ATOMIC_RELAXED);
}
