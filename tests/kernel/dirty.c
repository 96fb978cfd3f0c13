/* SPDX-License-Identifier: MIT */
/* WHvMapGpaRangeFlagTrackDirtyPages and WHvQueryGpaRangeDirtyBitmap: which pages were written, by whom, and that no
 * write is lost. */
#include "runner.h"
#include <kernel/memory.h>

#define PAGES   64u
#define SIZE    (PAGES * PAGE_SIZE)
#define TRACK   WHvMapGpaRangeFlagTrackDirtyPages
#define MODES   (VM_BIT(VM_PROT32) | VM_BIT(VM_PAGED32) | VM_BIT(VM_PAE) | VM_BIT(VM_LONG))
#define PAGE(n) (VM_FREE + (n)*PAGE_SIZE)
#define BIT(n)  (1ull << (n))

static const WHV_ACCESS_GPA_CONTROLS write_back = {.CacheType = WHvCacheTypeWriteBack};

static bool can_track(void)
{
    WHV_CAPABILITY features = {0};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeFeatures, &features, sizeof(features), NULL));
    return features.Features.DirtyPageTracking;
}

#define REQUIRE_TRACKING()                     \
    do {                                       \
        if (!can_track())                      \
            SKIP("no dirty bits on this CPU"); \
    } while (0)

/* Which of up to 64 pages were written. */
static uint64_t query(struct vm *vm, uint64_t gpa, uint64_t pages)
{
    UINT64 bitmap[2] = {~0ull, ~0ull};

    EXPECT_OK(WHvQueryGpaRangeDirtyBitmap(vm->partition, gpa, pages * PAGE_SIZE, bitmap, sizeof(bitmap)));
    EXPECT_EQ(bitmap[1], 0);
    return bitmap[0];
}

/* Runs the snippet over `count` pages, from page `first` on. */
static void run_over(struct vm *vm, enum vm_mode mode, const char *guest, unsigned first, unsigned step, unsigned count)
{
    if (!EXPECT(vm_enter(vm, mode) && vm_load(vm, guest)))
        return;
    vm_set(vm, WHvX64RegisterRsi, PAGE(first) + 0xffc - first * 4);
    vm_set(vm, WHvX64RegisterRdx, step * PAGE_SIZE);
    vm_set(vm, WHvX64RegisterRcx, count);
    EXPECT_END(vm);
}

TEST(dirty_capability, "dirty: the capability says whether ranges can be tracked")
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    EXPECT_HR(WHvMapGpaRange(vm.partition, vm_at(&vm, VM_FREE), VM_FREE, SIZE, VM_RWX | TRACK),
              can_track() ? S_OK : E_INVALIDARG);
    EXPECT_END(&vm);
}

/* The virtual processor has used the pages before they are tracked. */
TEST_MODES(dirty_guest, "dirty: what a guest writes, and nothing else", MODES)
{
    VM_GUEST(vm, mode, "dirty_write", NULL);
    REQUIRE_TRACKING();

    run_over(&vm, mode, "dirty_write", 0, 1, PAGES);
    REQUIRE(vm_protect(&vm, VM_FREE, SIZE, VM_RWX | TRACK));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0);
    run_over(&vm, mode, "dirty_read", 0, 1, PAGES);
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0);
    run_over(&vm, mode, "dirty_write", 3, 7, 5);
    EXPECT_EQ(query(&vm, PAGE(3), 1), 1);
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), BIT(10) | BIT(17) | BIT(24) | BIT(31));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0);
    for (int i = 0; i < 3; i++) { /* the same page again: the CPU has its translation, dirty */
        run_over(&vm, mode, "dirty_write", 10, 1, 1);
        EXPECT_EQ(query(&vm, VM_FREE, PAGES), BIT(10));
    }
    run_over(&vm, mode, "dirty_write", 0, 1, PAGES);
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), ~0ull);
    run_over(&vm, mode, "dirty_write", 0, 1, PAGES);
    EXPECT_OK(WHvQueryGpaRangeDirtyBitmap(vm.partition, PAGE(1), SIZE - PAGE_SIZE, NULL, 0));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 1);
    EXPECT_EQ(*vm_u32(&vm, PAGE(10) + 0xffc - 40), 3); /* the runs from page 10 on */
    EXPECT_EQ(*vm_u32(&vm, PAGE(10) + 0xffc), 3);      /* those from page 0 on */
}

TEST(dirty_host, "dirty: writes on the virtual processor's behalf")
{
    uint64_t word = 0;
    WHV_TRANSLATE_GVA_RESULT result;
    WHV_GUEST_PHYSICAL_ADDRESS gpa;
    const WHV_TRANSLATE_GVA_FLAGS flags =
        (WHV_TRANSLATE_GVA_FLAGS)(WHvTranslateGvaFlagValidateWrite | WHvTranslateGvaFlagSetPageTableBits);
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);
    REQUIRE_TRACKING();

    REQUIRE(vm_protect(&vm, VM_FREE, SIZE, VM_RW | TRACK) && vm_protect(&vm, PAGE(9), PAGE_SIZE, VM_R | TRACK));
    EXPECT_OK(WHvReadGpaRange(vm.partition, 0, PAGE(1), write_back, &word, 8));
    EXPECT_HR(WHvWriteGpaRange(vm.partition, 0, PAGE(9), write_back, &word, 8), E_ACCESSDENIED);
    EXPECT_HR(WHvWriteGpaRange(vm.partition, 0, PAGE(9) - 4, write_back, &word, 8), E_ACCESSDENIED);
    *vm_u32(&vm, PAGE(1)) = 1; /* the client's own view of the memory is its own business */
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0);
    EXPECT_OK(WHvWriteGpaRange(vm.partition, 0, PAGE(4), write_back, &word, 8));
    EXPECT_OK(WHvWriteGpaRange(vm.partition, 0, PAGE(7) - 4, write_back, &word, 8));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), BIT(4) | BIT(6) | BIT(7));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0);

    REQUIRE(vm_protect(&vm, VM_PT, PAGE_SIZE, VM_RW | TRACK));
    vm_pte_and(&vm, VM_DATA, ~(PTE_A | PTE_D));
    EXPECT_OK(WHvTranslateGva(vm.partition, 0, VM_DATA, WHvTranslateGvaFlagValidateWrite, &result, &gpa));
    EXPECT_EQ(query(&vm, VM_PT, 1), 0);
    EXPECT_OK(WHvTranslateGva(vm.partition, 0, VM_DATA, flags, &result, &gpa));
    EXPECT_EQ(query(&vm, VM_PT, 1), 1);
    EXPECT_OK(WHvTranslateGva(vm.partition, 0, VM_DATA, flags, &result, &gpa)); /* the bits are there */
    EXPECT_EQ(query(&vm, VM_PT, 1), 0);
}

TEST_MODES(dirty_refused, "dirty: a range with a page that is not tracked is refused as a whole", MODES)
{
    UINT64 bitmap = 0;
    VM_GUEST(vm, mode, "dirty_write", NULL);
    REQUIRE_TRACKING();

    REQUIRE(vm_protect(&vm, VM_FREE, SIZE, VM_RWX | TRACK));
    run_over(&vm, mode, "dirty_write", 0, 1, PAGES);
    REQUIRE(vm_protect(&vm, PAGE(20), PAGE_SIZE, VM_RWX) && vm_protect(&vm, PAGE(40), PAGE_SIZE, 0));
    EXPECT_HR(WHvQueryGpaRangeDirtyBitmap(vm.partition, VM_FREE, SIZE, &bitmap, 8), WHV_E_GPA_RANGE_NOT_FOUND);
    EXPECT_HR(WHvQueryGpaRangeDirtyBitmap(vm.partition, VM_FREE, SIZE, NULL, 0), WHV_E_GPA_RANGE_NOT_FOUND);
    EXPECT_HR(WHvQueryGpaRangeDirtyBitmap(vm.partition, PAGE(19), 2 * PAGE_SIZE, &bitmap, 8),
              WHV_E_GPA_RANGE_NOT_FOUND);
    EXPECT_HR(WHvQueryGpaRangeDirtyBitmap(vm.partition, PAGE(40), 2 * PAGE_SIZE, &bitmap, 8),
              WHV_E_GPA_RANGE_NOT_FOUND);
    EXPECT_HR(WHvQueryGpaRangeDirtyBitmap(vm.partition, PAGE(63), 2 * PAGE_SIZE, &bitmap, 8),
              WHV_E_GPA_RANGE_NOT_FOUND); /* beyond the end */
    EXPECT_EQ(query(&vm, VM_FREE, 20), BIT(20) - 1);
    EXPECT_EQ(query(&vm, PAGE(21), 19), BIT(19) - 1);
    EXPECT_EQ(query(&vm, PAGE(41), 23), BIT(23) - 1);
}

/* Mapped again, a range starts clean; without write, a page that was dirty is told, and exits. */
TEST_MODES(dirty_remapped, "dirty: mapping again", MODES)
{
    VM_GUEST(vm, mode, "dirty_write", NULL);
    REQUIRE_TRACKING();

    REQUIRE(vm_protect(&vm, VM_FREE, SIZE, VM_RWX | TRACK));
    run_over(&vm, mode, "dirty_write", 0, 1, 8);
    REQUIRE(vm_protect(&vm, PAGE(2), 2 * PAGE_SIZE, VM_RWX | TRACK));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0xf3);
    run_over(&vm, mode, "dirty_write", 0, 1, 8);
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), 0xff);
    REQUIRE(vm_protect(&vm, PAGE(5), PAGE_SIZE, VM_R | TRACK) && vm_enter(&vm, mode) && vm_load(&vm, "dirty_write"));
    vm_set(&vm, WHvX64RegisterRsi, PAGE(4));
    vm_set(&vm, WHvX64RegisterRdx, PAGE_SIZE);
    vm_set(&vm, WHvX64RegisterRcx, 2);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.AccessType, WHvMemoryAccessWrite);
    EXPECT_EQ(vm.exit.MemoryAccess.Gpa, PAGE(5));
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), BIT(4));
    REQUIRE(vm_protect(&vm, PAGE(5), PAGE_SIZE, VM_RW | TRACK));
    EXPECT_END(&vm);
    EXPECT_EQ(query(&vm, VM_FREE, PAGES), BIT(5));
}

/* A large page would be dirty as a whole. */
TEST(dirty_large, "dirty: a tracked range is mapped by 4 KiB pages")
{
    WHV_PARTITION_MEMORY_COUNTERS counts[3];
    const uint64_t gpa = 0x40000000, end = gpa + SIZE_2M;
    uint8_t *large = pages_alloc(SIZE_2M / PAGE_SIZE, SIZE_2M);
    UINT64 bitmap[8];
    VM(vm);

    if (!can_track()) {
        pages_free(large, SIZE_2M / PAGE_SIZE);
        SKIP("no dirty bits on this CPU");
    }
    REQUIRE(large != NULL && vm_create(&vm, 1, NULL) && vm_enter(&vm, VM_PROT32) && vm_load(&vm, "dirty_write"));
    for (int i = 0; i < 3; i++) {
        EXPECT_OK(WHvMapGpaRange(vm.partition, large, gpa, SIZE_2M, i == 1 ? VM_RW | TRACK : VM_RW));
        if (i == 1) {
            vm_set(&vm, WHvX64RegisterRsi, end - 4);
            vm_set(&vm, WHvX64RegisterRcx, 1);
            EXPECT_END(&vm);
            EXPECT_OK(WHvQueryGpaRangeDirtyBitmap(vm.partition, gpa, SIZE_2M, bitmap, sizeof(bitmap)));
            EXPECT_EQ(bitmap[7], BIT(63));
            EXPECT_EQ(bitmap[0] | bitmap[1] | bitmap[2] | bitmap[3] | bitmap[4] | bitmap[5] | bitmap[6], 0);
        }
        EXPECT_OK(
            WHvGetPartitionCounters(vm.partition, WHvPartitionCounterSetMemory, &counts[i], sizeof(counts[i]), NULL));
    }
    EXPECT_EQ(counts[1].Mapped4KPageCount, counts[0].Mapped4KPageCount + 512 * counts[0].Mapped2MPageCount);
    EXPECT_EQ(counts[1].Mapped2MPageCount, 0);
    EXPECT_BYTES(&counts[2], &counts[0], sizeof(counts[0]));
    vm_delete(&vm);
    pages_free(large, SIZE_2M / PAGE_SIZE);
}

/* ------------------------------------------------------------------------ while the guest runs */

#define SPUN 16u /* pages that dirty_spin writes */

static uint8_t copy[SPUN * PAGE_SIZE] __attribute__((aligned(4096)));

/* What a migration does: copies the pages that are told. Returns which. */
static uint64_t copy_dirty(struct vm *vm)
{
    uint64_t dirty = query(vm, VM_FREE, SPUN);

    for (unsigned i = 0; i < SPUN; i++)
        if (dirty & BIT(i))
            memcpy(copy + i * PAGE_SIZE, vm_at(vm, PAGE(i)), PAGE_SIZE);
    return dirty;
}

/* In the end the copy is the memory: had a write been lost, its word would differ. */
TEST_MODES(dirty_smp, "dirty: smp: 100 questions while a guest writes lose nothing", MODES)
{
    struct runner r;
    uint64_t seen = 0;
    VM_GUEST(vm, mode, "dirty_spin", NULL);
    REQUIRE_TRACKING();

    memset(copy, 0, sizeof(copy));
    memset(vm_at(&vm, VM_FREE), 0, sizeof(copy));
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    vm_set(&vm, WHvX64RegisterRsi, VM_FREE);
    vm_set(&vm, WHvX64RegisterRbx, 0);
    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    EXPECT(vm_protect(&vm, VM_FREE, SPUN * PAGE_SIZE, VM_RWX | TRACK)); /* under the running guest */
    memcpy(copy, vm_at(&vm, VM_FREE), sizeof(copy));
    for (unsigned i = 0; i < 100 && !test_failed(); i++) {
        EXPECT(counter_moves(&vm, 1 + i % 5));
        seen |= copy_dirty(&vm);
    }
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
    seen |= copy_dirty(&vm);
    EXPECT_EQ(seen, BIT(SPUN) - 1);
    EXPECT_BYTES(copy, vm_at(&vm, VM_FREE), sizeof(copy));
    EXPECT_EQ(query(&vm, VM_FREE, SPUN), 0);
}

/* A page is told after each write: between two questions the guest writes it at least once. */
TEST(dirty_smp_again, "dirty: smp: a page that is written all the time is dirty at each of 100 questions")
{
    struct runner r;
    VM_GUEST(vm, VM_LONG, "smp_spin", NULL);
    REQUIRE_TRACKING();

    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    REQUIRE(vm_protect(&vm, VM_DATA, PAGE_SIZE, VM_RW | TRACK));
    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    for (int i = 0; i < 100 && !test_failed(); i++) {
        EXPECT(counter_moves(&vm, 2));
        EXPECT_EQ(query(&vm, VM_DATA, 1), 1);
    }
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
}
