/* SPDX-License-Identifier: MIT */
/* After a partition is deleted the host has all its memory back, whatever had become of the partition. */
#include "test.h"
#include "vm.h"
#include <kernel/event.h>
#include <kernel/memory.h>

#define ROM_GPA 0xff000u /* the page where a new VP starts: CS F000 (base F0000), IP FFF0 */

static uint8_t *rom;   /* HLT at its reset vector */
static uint8_t *block; /* 2 MiB, for mappings of all sizes */

static bool memory_begin(void)
{
    rom = page_alloc();
    block = pages_alloc(SIZE_2M / PAGE_SIZE, SIZE_2M);
    if (!rom || !block)
        return false;
    rom[0xff0] = 0xf4;
    return true;
}

static void memory_end(void)
{
    if (rom)
        page_free(rom);
    if (block)
        pages_free(block, SIZE_2M / PAGE_SIZE);
    rom = block = NULL;
}

struct usage {
    size_t pages, heap, events;
};

static struct usage usage_now(void)
{
    return (struct usage){pages_free_count(), heap_used(), events_used()};
}

static void expect_usage(struct usage before)
{
    EXPECT_EQ(pages_free_count(), before.pages);
    EXPECT_EQ(heap_used(), before.heap);
    EXPECT_EQ(events_used(), before.events);
}

static WHV_PARTITION_HANDLE partition_new(uint32_t processors)
{
    WHV_PARTITION_HANDLE p = NULL;

    EXPECT_OK(WHvCreatePartition(&p));
    EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, &processors, sizeof(processors)));
    return p;
}

static void run_to_halt(WHV_PARTITION_HANDLE p, uint32_t vp)
{
    WHV_RUN_VP_EXIT_CONTEXT exit;

    EXPECT_OK(WHvRunVirtualProcessor(p, vp, &exit, sizeof(exit)));
    EXPECT_EQ(exit.ExitReason, WHvRunVpExitReasonX64Halt);
    EXPECT_EQ(exit.VpContext.Rip, 0xfff1);
}

static void one_life(void)
{
    WHV_PARTITION_HANDLE p = partition_new(1);

    EXPECT_OK(WHvSetupPartition(p));
    EXPECT_OK(WHvMapGpaRange(p, rom, ROM_GPA, PAGE_SIZE, (WHV_MAP_GPA_RANGE_FLAGS)VM_RX));
    EXPECT_OK(WHvCreateVirtualProcessor(p, 0, 0));
    run_to_halt(p, 0);
    EXPECT_OK(WHvDeletePartition(p));
}

TEST(leaks_partitions, "leaks: 1,000 partitions created, set up, run and deleted")
{
    struct usage before;

    REQUIRE(memory_begin());
    before = usage_now();
    for (int i = 0; i < 1000 && !test_failed(); i++)
        one_life();
    expect_usage(before);
    memory_end();
}

/* So many at once that all handles are in use; then one more. */
TEST(leaks_many_at_once, "leaks: partitions until there are no more handles")
{
    static WHV_PARTITION_HANDLE all[1100];
    struct usage before = usage_now();
    uint32_t count = 0;
    HRESULT last = S_OK;

    while (count < COUNT(all) && (last = WHvCreatePartition(&all[count])) == S_OK)
        count++;
    EXPECT_HR(last, E_OUTOFMEMORY);
    test_note("%u partitions at once", count);
    while (count--)
        EXPECT_OK(WHvDeletePartition(all[count]));
    expect_usage(before);
}

TEST(leaks_vps, "leaks: 200 virtual processors created, run and deleted in one partition")
{
    struct usage before, inside;
    WHV_PARTITION_HANDLE p;

    REQUIRE(memory_begin());
    before = usage_now();
    p = partition_new(4);
    EXPECT_OK(WHvSetupPartition(p));
    EXPECT_OK(WHvMapGpaRange(p, rom, ROM_GPA, PAGE_SIZE, (WHV_MAP_GPA_RANGE_FLAGS)VM_RX));
    for (uint32_t i = 0; i < 200 && !test_failed(); i++) {
        EXPECT_OK(WHvCreateVirtualProcessor(p, i % 4, 0));
        run_to_halt(p, i % 4);
        EXPECT_OK(WHvDeleteVirtualProcessor(p, i % 4));
        if (i == 3)
            inside = usage_now(); /* each index has been used once: from here on nothing grows */
    }
    expect_usage(inside);
    EXPECT_OK(WHvDeletePartition(p));
    expect_usage(before);
    memory_end();
}

/* Pages of both sizes, in places that need tables of their own; each mapped over, split and unmapped in part. */
static void map_all_over(WHV_PARTITION_HANDLE p)
{
    for (uint64_t i = 0; i < 16; i++) {
        uint64_t gpa = i * (SIZE_1G + SIZE_2M);

        EXPECT_OK(WHvMapGpaRange(p, block, gpa, SIZE_2M, (WHV_MAP_GPA_RANGE_FLAGS)VM_RWX));
        EXPECT_OK(WHvMapGpaRange(p, rom, gpa + 5 * PAGE_SIZE, PAGE_SIZE, (WHV_MAP_GPA_RANGE_FLAGS)VM_R));
        EXPECT_OK(WHvUnmapGpaRange(p, gpa + 9 * PAGE_SIZE, 3 * PAGE_SIZE));
    }
}

TEST(leaks_maps, "leaks: 20 rounds of mapping, splitting and unmapping all over the address space")
{
    struct usage before, empty;
    WHV_PARTITION_HANDLE p;

    REQUIRE(memory_begin());
    before = usage_now();
    p = partition_new(1);
    EXPECT_OK(WHvSetupPartition(p));
    empty = usage_now();
    for (int i = 0; i < 20 && !test_failed(); i++) {
        map_all_over(p);
        EXPECT_OK(WHvUnmapGpaRange(p, 0, 16 * (SIZE_1G + SIZE_2M)));
    }
    EXPECT_LE(empty.pages - pages_free_count(), 1); /* tables may be kept, but do not add up */
    map_all_over(p);
    EXPECT_OK(WHvDeletePartition(p));
    expect_usage(before);
    memory_end();
}

/* ---------------------------------------------------------------- ends at every stage of a life */

static void give_lists(WHV_PARTITION_HANDLE p)
{
    static const UINT32 leaves[] = {1, 2, 0x40000000};
    static const WHV_X64_CPUID_RESULT results[40] = {{.Function = 0x40000000, .Eax = 1}};
    static const WHV_X64_CPUID_RESULT2 results2[3] = {{.Function = 7}};
    static const WHV_MSR_ACTION_ENTRY actions[5] = {{.Index = 0x10, .ReadAction = WHvMsrActionExit}};

    for (int i = 0; i < 2; i++) { /* the second time replaces the first */
        EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeCpuidExitList, leaves, sizeof(leaves)));
        EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeCpuidResultList, results, sizeof(results)));
        EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeCpuidResultList2, results2, sizeof(results2)));
        EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions)));
    }
}

static void fail_to_set_up(WHV_PARTITION_HANDLE p)
{
    const UINT32 none = 0;

    EXPECT_NE(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, &none, sizeof(none)), S_OK);
    EXPECT_OK(WHvSetupPartition(p));
    EXPECT_NE(WHvSetupPartition(p), S_OK);
}

static void fail_to_map(WHV_PARTITION_HANDLE p)
{
    const WHV_MAP_GPA_RANGE_FLAGS flags = (WHV_MAP_GPA_RANGE_FLAGS)VM_RWX;

    EXPECT_OK(WHvSetupPartition(p));
    EXPECT_NE(WHvMapGpaRange(p, rom + 1, 0, PAGE_SIZE, flags), S_OK);
    EXPECT_NE(WHvMapGpaRange(p, (void *)(uintptr_t)0x1000, 0, PAGE_SIZE, flags), S_OK); /* not mapped in the host */
    EXPECT_NE(WHvMapGpaRange(p, (void *)(uintptr_t)-0x2000, 0, 4 * PAGE_SIZE, flags), S_OK); /* wraps */
    EXPECT_NE(WHvMapGpaRange(p, rom, ~0ull << 12, PAGE_SIZE, flags), S_OK);
}

static void all_vps(WHV_PARTITION_HANDLE p)
{
    EXPECT_OK(WHvSetupPartition(p));
    EXPECT_OK(WHvMapGpaRange(p, rom, ROM_GPA, PAGE_SIZE, (WHV_MAP_GPA_RANGE_FLAGS)VM_RX));
    for (uint32_t i = 0; i < 4; i++) {
        EXPECT_OK(WHvCreateVirtualProcessor(p, i, 0));
        EXPECT_HR(WHvCreateVirtualProcessor(p, i, 0), WHV_E_VP_ALREADY_EXISTS);
        run_to_halt(p, i);
    }
    EXPECT_HR(WHvCreateVirtualProcessor(p, 4, 0), E_INVALIDARG);
}

static void whole_life(WHV_PARTITION_HANDLE p)
{
    give_lists(p);
    all_vps(p);
    map_all_over(p);
    EXPECT_OK(WHvDeleteVirtualProcessor(p, 2));
    EXPECT_OK(WHvResetPartition(p));
}

/* They are left behind, and so is the event that only a port has still. */
static void triggers_and_ports(WHV_PARTITION_HANDLE p)
{
    static const WHV_TRIGGER_PARAMETERS trigger = {.TriggerType = WHvTriggerTypeSynicEvent};
    WHV_NOTIFICATION_PORT_PARAMETERS port = {.NotificationPortType = WHvNotificationPortTypeEvent};
    WHV_NOTIFICATION_PORT_HANDLE port_handle;
    WHV_TRIGGER_HANDLE trigger_handle;
    HANDLE event;

    EXPECT_OK(WHvSetupPartition(p));
    for (uint32_t i = 0; i < 20; i++) {
        EXPECT_OK(WHvCreateTrigger(p, &trigger, &trigger_handle, &event));
        EXPECT(event_close(event));
        event = event_create(EVENT_MANUAL);
        port.Event.ConnectionId = i * 0x10101;
        EXPECT_OK(WHvCreateNotificationPort(p, &port, event, &port_handle));
        EXPECT(event_close(event));
        if (i % 3)
            continue;
        EXPECT_OK(WHvDeleteTrigger(p, trigger_handle));
        EXPECT_OK(WHvDeleteNotificationPort(p, port_handle));
    }
}

static void nothing(WHV_PARTITION_HANDLE p)
{
    (void)p;
}

static const struct {
    const char *name;
    uint32_t modes;
    void (*live)(WHV_PARTITION_HANDLE p);
} lives[] = {
    {"not set up", 0, nothing},
    {"with lists, not set up", 0, give_lists},
    {"set-ups that fail", 0, fail_to_set_up},
    {"mappings that fail", 0, fail_to_map},
    {"four VPs", 0, all_vps},
    {"triggers and notification ports", 0, triggers_and_ports},
    {"all of it", 0, whole_life},
};

TEST_ROWS(leaks_stages, "leaks: deletion takes all away", lives)
{
    struct usage before;
    WHV_PARTITION_HANDLE p;

    REQUIRE(memory_begin());
    before = usage_now();
    p = partition_new(4);
    row->live(p);
    EXPECT_OK(WHvDeletePartition(p));
    expect_usage(before);
    memory_end();
}
