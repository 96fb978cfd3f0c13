/* SPDX-License-Identifier: MIT */
/* Guest memory: mapping it, asking which of it was written, and what all this takes of the host's memory. */
#include "bench.h"
#include <kernel/memory.h>

#define SIZE_8M   (8ull << 20)
#define SIZE_64M  (64ull << 20)
#define SIZE_128M (128ull << 20)
#define GPA_LARGE (64ull << 20) /* congruent to the memory in 2 MiB, which is mapped by large pages then */
#define GPA_SMALL (GPA_LARGE + PAGE_SIZE)

static void *memory;
static uint64_t memory_size;

static bool allocate(uint64_t size)
{
    memory_size = size;
    memory = pages_alloc(size / PAGE_SIZE, SIZE_2M);
    return EXPECT(memory != NULL);
}

static void release(struct vm *vm)
{
    (void)vm;
    pages_free(memory, memory_size / PAGE_SIZE);
}

static void map(struct vm *vm, uint64_t gpa)
{
    if (WHvMapGpaRange(vm->partition, memory, gpa, memory_size, VM_RWX) != S_OK)
        FAIL("mapping fails");
}

static void unmap(struct vm *vm, uint64_t gpa)
{
    if (WHvUnmapGpaRange(vm->partition, gpa, memory_size) != S_OK)
        FAIL("unmapping fails");
}

static bool create_8m(struct vm *vm)
{
    (void)vm;
    return allocate(SIZE_8M);
}

static bool create_64m(struct vm *vm)
{
    (void)vm;
    return allocate(SIZE_64M);
}

static void map_large(struct vm *vm)
{
    map(vm, GPA_LARGE);
}

static void unmap_large(struct vm *vm)
{
    unmap(vm, GPA_LARGE);
}

static void map_small(struct vm *vm)
{
    map(vm, GPA_SMALL);
}

static void unmap_small(struct vm *vm)
{
    unmap(vm, GPA_SMALL);
}

static void map_and_unmap(struct vm *vm)
{
    map_large(vm);
    unmap_large(vm);
}

/* What is unmapped once more is no failure: so both figures begin and end alike. */
static bool create_mapped_8m(struct vm *vm)
{
    return create_8m(vm) && (map_small(vm), !test_failed());
}

static bool create_mapped_64m(struct vm *vm)
{
    return create_64m(vm) && (map_large(vm), !test_failed());
}

static void delete_small(struct vm *vm)
{
    unmap_small(vm);
    release(vm);
}

static void delete_large(struct vm *vm)
{
    unmap_large(vm);
    release(vm);
}

const struct host_call call_map_8m = {.create = create_8m, .call = map_and_unmap, .delete = release};
const struct host_call call_map_4k = {.create = create_mapped_8m,
                                      .before = unmap_small,
                                      .call = map_small,
                                      .delete = delete_small,
                                      .count = SIZE_8M / PAGE_SIZE};
const struct host_call call_unmap_4k = {
    .create = create_8m, .before = map_small, .call = unmap_small, .delete = release, .count = SIZE_8M / PAGE_SIZE};
const struct host_call call_map_2m = {.create = create_mapped_64m,
                                      .before = unmap_large,
                                      .call = map_large,
                                      .delete = delete_large,
                                      .count = SIZE_64M / SIZE_2M};
const struct host_call call_unmap_2m = {
    .create = create_64m, .before = map_large, .call = unmap_large, .delete = release, .count = SIZE_64M / SIZE_2M};

/* -------------------------------------------------------------------------------- dirty pages */

static UINT64 bitmap[SIZE_1G / PAGE_SIZE / 64];

/* A GiB of guest memory, of which we have an eighth. */
static bool map_gib(struct vm *vm, uint64_t gpa, WHV_MAP_GPA_RANGE_FLAGS flags)
{
    for (uint64_t at = 0; at < SIZE_1G; at += SIZE_128M)
        if (!EXPECT_OK(WHvMapGpaRange(vm->partition, memory, gpa + at, SIZE_128M, flags)))
            return false;
    return true;
}

static bool create_dirty(struct vm *vm)
{
    return allocate(SIZE_128M) &&
           map_gib(vm, GPA_LARGE, (WHV_MAP_GPA_RANGE_FLAGS)(VM_RWX | WHvMapGpaRangeFlagTrackDirtyPages));
}

static void query(struct vm *vm)
{
    if (WHvQueryGpaRangeDirtyBitmap(vm->partition, GPA_LARGE, SIZE_1G, bitmap, sizeof(bitmap)) != S_OK)
        FAIL("the query fails");
}

static void delete_gib(struct vm *vm)
{
    EXPECT_OK(WHvUnmapGpaRange(vm->partition, GPA_LARGE, SIZE_1G));
    release(vm);
}

const struct host_call call_dirty = {.create = create_dirty, .call = query, .delete = delete_gib};

/* ------------------------------------------------------------------------- the host's memory */

#define MANY 16u /* of each: what comes in whole pages is shared out */

static WHV_PARTITION_HANDLE partitions[MANY];

static bool create_one(WHV_PARTITION_HANDLE *partition)
{
    UINT32 count = 1;

    return EXPECT_OK(WHvCreatePartition(partition)) &&
           EXPECT_OK(
               WHvSetPartitionProperty(*partition, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count))) &&
           EXPECT_OK(WHvSetupPartition(*partition));
}

static bool create_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        if (!create_one(&partitions[i]))
            return false;
    return true;
}

static void delete_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        EXPECT_OK(WHvDeletePartition(partitions[i]));
}

void bench_memory_partition(const struct figure *f)
{
    size_t before = pages_free_count();

    REQUIRE(create_many());
    bench_value(f, (before - pages_free_count()) * PAGE_SIZE / MANY);
    delete_many();
}

void bench_memory_vp(const struct figure *f)
{
    size_t before;

    REQUIRE(create_many());
    before = pages_free_count();
    for (unsigned i = 0; i < MANY; i++)
        EXPECT_OK(WHvCreateVirtualProcessor(partitions[i], 0, 0));
    bench_value(f, (before - pages_free_count()) * PAGE_SIZE / MANY);
    delete_many();
}

static void measure_map(const struct figure *f, uint64_t gpa)
{
    WHV_PARTITION_HANDLE partition = NULL;
    struct vm vm = {0};
    size_t before;

    REQUIRE(allocate(SIZE_128M) && create_one(&partition));
    vm.partition = partition;
    before = pages_free_count();
    if (map_gib(&vm, gpa, VM_RWX))
        bench_value(f, (before - pages_free_count()) * PAGE_SIZE);
    EXPECT_OK(WHvDeletePartition(partition));
    release(&vm);
}

void bench_memory_map_2m(const struct figure *f)
{
    measure_map(f, GPA_LARGE);
}

void bench_memory_map_4k(const struct figure *f)
{
    measure_map(f, GPA_SMALL);
}
