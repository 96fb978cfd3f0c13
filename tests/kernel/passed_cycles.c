/* SPDX-License-Identifier: MIT */
/*
 * A device of the machine that goes from partition to partition: each time all that it had there is the host's again,
 * pages, vectors and remapping entries, whatever it was doing when it was taken away.
 */
#include "apic.h"
#include "nvme.h"
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/trap.h>

static struct nvme disk;

/* ------------------------------------------------------------------------- what the host has left */

struct left {
    size_t pages, heap;
    uint32_t vectors;
    struct hv_msi_message message; /* of the last of so many remapping entries that are free: it has the number in it */
};

#define ENTRIES 100u /* more than a cycle has */

static struct left left_now(void)
{
    struct left left = {.pages = pages_free_count(), .heap = heap_used(), .vectors = irq_vectors_used()};

    for (uint32_t n = 0; n < ENTRIES; n++)
        EXPECT_EQ(hv_remap_msi(&disk.address, n, 0, 0xef, &left.message), HV_OK);
    for (uint32_t n = 0; n < ENTRIES; n++)
        hv_remap_msi_free(&disk.address, n);
    return left;
}

static void expect_left(const struct left *before)
{
    struct left now = left_now();

    EXPECT_EQ(now.pages, before->pages);
    EXPECT_EQ(now.heap, before->heap);
    EXPECT_EQ(now.vectors, before->vectors);
    EXPECT_EQ(now.message.address, before->message.address);
    EXPECT_EQ(now.message.data, before->message.data);
}

/* ------------------------------------------------------------------------------------------ cycles */

static bool is_read(uint32_t q)
{
    uint64_t end = clock_ns() + 5 * NS_PER_S;

    while (!nvme_untaken(&disk, q) && clock_ns() < end)
        thread_yield();
    return EXPECT_EQ(nvme_untaken(&disk, q), 1);
}

/* Four messages, which stay mapped. */
static void map_messages(void)
{
    const WHV_VPCI_INTERRUPT_TARGET target = {.Vector = NVME_VECTOR, .ProcessorCount = 1};
    UINT64 address = 0;
    UINT32 data = 0;

    EXPECT_OK(WHvMapVpciDeviceInterrupt(disk.device.partition, disk.device.id, 0, 4, &target, &address, &data));
    nvme_set_message(&disk, 0, address, data);
}

/* All of its interrupts are open; each queue has read a block, or is about to. */
static void use(bool to_the_end)
{
    uint32_t vectors = irq_vectors_used();

    for (uint32_t n = 0; n < disk.entries; n++) {
        if (n)
            nvme_aim(&disk, n, 0, NVME_VECTOR + n);
        else
            map_messages();
        nvme_mask(&disk, n, false);
    }
    EXPECT_EQ(irq_vectors_used(), vectors + disk.entries);
    for (uint32_t q = 1; q <= NVME_QUEUES; q++) {
        nvme_submit(&disk, q, 0);
        if (to_the_end)
            is_read(q);
    }
}

enum ending { TAKEN, TAKEN_BUSY, DELETED_BUSY, ENDINGS };

static void one_cycle(enum ending ending)
{
    VM(vm);

    if (!vm_create(&vm, 1, nvme_mode.configure) || !nvme_give(&disk, &vm))
        return;
    if (nvme_start(&disk))
        use(ending == TAKEN);
    if (ending != DELETED_BUSY)
        nvme_take(&disk);
}

/* With the IOMMU on throughout, and switched on for each partition. */
static const struct cycles {
    const char *name;
    bool stays_on;
} ways[] = {
    {"the IOMMU stays on", true},
    {"it is on for the device only", false},
};

TEST_ROWS(passed_cycles, "nvme: storm: a passed disk given and taken back 20 times, or cycles=N, leaves nothing behind",
          ways)
{
    const char *missing = nvme_find(&disk);
    uint32_t count = test_cycles(20), made = 0;
    struct left before = {0};
    uint64_t begin;

    if (missing)
        SKIP("no device: %s", missing);
    if (row->stays_on && !hv_iommu_platform()->present)
        SKIP("no IOMMU: %s", hv_iommu_platform()->reason);
    if (row->stays_on)
        REQUIRE(EXPECT_EQ(hv_iommu_on(), HV_OK));
    one_cycle(TAKEN); /* what was never given before has tables from now on, while the IOMMU is on */
    before = left_now();
    begin = clock_ns();
    for (; made < count && !test_failed(); made++) {
        one_cycle((enum ending)(made % ENDINGS));
        expect_left(&before);
    }
    test_note("%u cycles in %llu ms; %zu pages and %u vectors as before", made,
              (unsigned long long)((clock_ns() - begin) / NS_PER_MS), before.pages, before.vectors);
    if (row->stays_on)
        hv_iommu_off();
}
