/* SPDX-License-Identifier: MIT */
/* The memory map of a partition changes while its virtual processor runs. */
#include "runner.h"
#include <kernel/clock.h>
#include <kernel/memory.h>

#define PAGE_GPA  0x30000u /* what the guests smp_read and smp_write use */
#define DATA_SEEN (VM_DATA + 4)
#define CANARY    0x600dcafeu

#define PAGED_AND_NOT (VM_BIT(VM_PROT32) | VM_BIT(VM_PAE) | VM_BIT(VM_LONG))

static volatile uint32_t *page_word(struct vm *vm)
{
    return vm_at(vm, PAGE_GPA);
}

static void expect_access(const struct runner *r, WHV_MEMORY_ACCESS_TYPE type, bool unmapped)
{
    const WHV_MEMORY_ACCESS_CONTEXT *m = &r->exit.MemoryAccess;

    EXPECT_EQ(m->AccessInfo.AccessType, type);
    EXPECT_EQ(m->AccessInfo.GpaUnmapped, unmapped);
    EXPECT(m->AccessInfo.GvaValid || !vm_knows_gva()); /* else of plain moves */
    EXPECT_EQ(m->Gpa, PAGE_GPA);
    EXPECT_EQ(m->Gva, m->AccessInfo.GvaValid ? PAGE_GPA : 0);
}

/* From now on the page is the host's: what it writes there stays. */
static void expect_untouched(struct vm *vm)
{
    *page_word(vm) = CANARY;
    thread_sleep_ns(NS_PER_MS / 2);
    EXPECT_EQ(*page_word(vm), CANARY);
}

static const struct {
    const char *name;
    uint32_t modes;
    unsigned rights; /* what is left; 0: unmapped */
} removals[] = {
    {"unmapped", 0, 0},
    {"without write", 0, VM_RX},
};

TEST_ROWS_MODES(smp_take_page, "smp: a page is taken from a guest that writes to it", removals, PAGED_AND_NOT)
{
    struct runner r;
    VM_GUEST(vm, mode, "smp_write", NULL);

    thread_set_cpu(thread_cpu(0));
    for (int i = 0; i < 10 && !test_failed(); i++) {
        REQUIRE_RUNNING(&r, &vm, other_cpu());
        EXPECT(vm_protect(&vm, PAGE_GPA, PAGE_SIZE, row->rights));
        expect_untouched(&vm);
        if (!EXPECT_RUNNER_EXIT(&r, MemoryAccess))
            break;
        expect_access(&r, WHvMemoryAccessWrite, !row->rights);
        EXPECT_EQ(r.exit.VpContext.Rip, vm_mark(&vm, 0));
        EXPECT(
            vm_protect(&vm, PAGE_GPA, PAGE_SIZE, VM_RWX)); /* and the next round shows that the guest has it at once */
    }
    thread_set_cpu(CPU_ANY);
}

TEST_MODES(smp_take_code, "smp: the right to execute is taken from a guest's code", PAGED_AND_NOT)
{
    struct runner r;
    VM_GUEST(vm, mode, "smp_spin", NULL);

    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    EXPECT(vm_protect(&vm, VM_CODE, PAGE_SIZE, VM_RW));
    if (EXPECT_RUNNER_EXIT(&r, MemoryAccess)) {
        EXPECT_EQ(r.exit.MemoryAccess.AccessInfo.AccessType, WHvMemoryAccessExecute);
        EXPECT_EQ(r.exit.MemoryAccess.AccessInfo.GpaUnmapped, 0);
        EXPECT_EQ(r.exit.MemoryAccess.Gpa, r.exit.VpContext.Rip);
    }
    EXPECT(vm_protect(&vm, VM_CODE, PAGE_SIZE, VM_RWX));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
}

/* Another page in the same place: from the return of the call on, the guest reads the new one, and it does not exit. */
TEST_MODES(smp_replace_page, "smp: the page that a guest reads is replaced 50 times", PAGED_AND_NOT)
{
    struct runner r;
    uint32_t *pages[2];
    VM_GUEST(vm, mode, "smp_read", NULL);

    pages[0] = page_alloc();
    pages[1] = page_alloc();
    REQUIRE(pages[0] && pages[1]);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    for (uint32_t i = 1; i <= 50 && !test_failed(); i++) {
        *pages[i & 1] = i;
        EXPECT_OK(WHvMapGpaRange(vm.partition, pages[i & 1], PAGE_GPA, PAGE_SIZE, WHvMapGpaRangeFlagRead));
        *pages[~i & 1] = CANARY; /* the host's again */
        if (counter_moves(&vm, 2))
            EXPECT_EQ(*vm_u32(&vm, DATA_SEEN), i);
    }
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
    EXPECT(vm_protect(&vm, PAGE_GPA, PAGE_SIZE, VM_RWX));
    page_free(pages[0]);
    page_free(pages[1]);
}

/* Pages that the guest does not use come and go all the time: it notices nothing. */
TEST(smp_map_elsewhere, "smp: mapping and unmapping elsewhere, 200 times, while a guest runs")
{
    struct runner r;
    uint32_t before;
    VM_GUEST(vm, VM_LONG, "smp_write", NULL);

    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    thread_set_cpu(thread_cpu(0));
    REQUIRE_RUNNING(&r, &vm, other_cpu());
    before = counter(&vm);
    for (uint32_t i = 0; i < 200 && !test_failed(); i++) {
        uint64_t gpa = VM_FREE + 0x20000 + i % 32 * PAGE_SIZE;

        EXPECT_OK(WHvUnmapGpaRange(vm.partition, gpa, PAGE_SIZE));
        EXPECT_OK(WHvMapGpaRange(vm.partition, vm_at(&vm, gpa), gpa, PAGE_SIZE, WHvMapGpaRangeFlagRead));
    }
    EXPECT(counter_moves(&vm, 1));
    EXPECT_NE(counter(&vm), before);
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
}

/* A large page is split, and made whole again, around a page in use. */
TEST(smp_split_page, "smp: a 2 MiB page is split and made whole under a running guest")
{
    struct runner r;
    WHV_PARTITION_MEMORY_COUNTERS counts;
    uint8_t *large = pages_alloc(SIZE_2M / PAGE_SIZE, SIZE_2M);
    VM(vm);

    REQUIRE(large != NULL && vm_create(&vm, 1, NULL) && vm_enter(&vm, VM_LONG) && vm_load(&vm, "smp_write"));
    memcpy(large, vm.memory, VM_MEMORY_SIZE);
    EXPECT_OK(WHvMapGpaRange(vm.partition, large, 0, SIZE_2M, (WHV_MAP_GPA_RANGE_FLAGS)VM_RWX));
    EXPECT_OK(WHvGetPartitionCounters(vm.partition, WHvPartitionCounterSetMemory, &counts, sizeof(counts), NULL));
    EXPECT_EQ(counts.Mapped2MPageCount, 1);
    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&r, &vm, 0, other_cpu()));
    for (int i = 0; i < 10; i++) {
        volatile uint32_t *count = (uint32_t *)(large + VM_DATA);
        uint32_t before = *count;
        uint64_t limit = clock_ns() + 100 * NS_PER_MS;

        EXPECT_OK(WHvUnmapGpaRange(vm.partition, 0x100000, PAGE_SIZE));
        while (*count - before < 2 && clock_ns() < limit)
            thread_yield();
        EXPECT_GE(*count - before, 2);
        EXPECT_OK(WHvMapGpaRange(vm.partition, large, 0, SIZE_2M, (WHV_MAP_GPA_RANGE_FLAGS)VM_RWX));
    }
    EXPECT_CANCEL(&r);
    thread_set_cpu(CPU_ANY);
    vm_delete(&vm);
    pages_free(large, SIZE_2M / PAGE_SIZE);
}
