/* SPDX-License-Identifier: MIT */
/*
 * A disk reads into its guest's memory for ever, and interrupts it each time, when the end comes: of the device, of the
 * partition, of the guest itself. What was the guest's memory is never written to again.
 */
#include "attack.h"
#include "told.h"
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>
#include <kernel/trap.h>

#define POISON   0xa5
#define QUIET_NS (20 * NS_PER_MS)
#define VECTOR   0x61u
#define ENTRY    1u
#define CAP_MSIX 0x11

static struct attack at;
static struct disk disk;
static struct runner storm;

/* ------------------------------------------------------------------------------------ the storm */

/* Its MSI-X entry is open: the guest does not take interrupts, the host does. */
static void open_entry(void)
{
    uint32_t cap = passed_find(&at.d.device, CAP_MSIX),
             table = (uint32_t)passed_read(&at.d.device, WHvVpciConfigSpace, cap + 4, 4) & ~7u;
    uint64_t entry = FORWARD_BAR + table + 16 * ENTRY;
    const struct script_op ops[] = {
        DO_WRITE(64, entry, 0xfee00000),
        DO_WRITE(64, entry + 8, VECTOR),
        DO_WRITE(16, FORWARD_ECAM + cap + 2, 0x8000),
    };

    vm_set(&at.vm, WHvX64RegisterApicBase, 0xfee00d00); /* x2APIC mode, the boot processor's */
    vm_set(&at.vm, WHvX64RegisterApicSpurious, 0x1ff);
    forward_do(&at.d, ops, COUNT(ops));
}

static bool start_storm(void)
{
    if (!disk_start(&disk, &at.d))
        return false;
    open_entry();
    if (!disk_prepare_storm(&disk, ENTRY))
        return false;
    disk_storm(&disk, "disk_storm");
    return runner_start(&storm, &at.vm, 0, CPU_ANY) && EXPECT(counter_moves(&at.vm, 200));
}

/* The memory is somebody else's from now on. */
static void expect_no_dma(void)
{
    const uint8_t *data = vm_at(&at.vm, DISK_QUEUES);
    uint32_t size = DISK_DATA + DISK_DATA_SIZE - DISK_QUEUES, wrong = 0;

    memset(vm_at(&at.vm, DISK_QUEUES), POISON, size);
    thread_sleep_ns(QUIET_NS);
    for (uint32_t i = 0; i < size; i++)
        wrong += data[i] != POISON;
    EXPECT_EQ(wrong, 0);
}

/* The memory lives on when the partition goes. */
static void delete_partition(void)
{
    EXPECT_OK(WHvDeletePartition(at.vm.partition));
    at.vm.partition = NULL;
    forward_forget(&at.d);
}

/* -------------------------------------------------------------------------------------- the ends */

/* The guest's next access to a register is to nothing. */
static void end_device(void)
{
    forward_close(&at.d);
    EXPECT_RUNNER_EXIT(&storm, MemoryAccess);
}

static void end_partition(void)
{
    EXPECT_CANCEL(&storm);
    delete_partition();
}

/* As a client's own crash would: nothing is waited for. */
static void end_both(void)
{
    EXPECT_OK(WHvCancelRunVirtualProcessor(at.vm.partition, 0, 0));
    forward_close(&at.d);
    EXPECT(runner_wait(&storm));
    EXPECT_OK(WHvDeletePartition(at.vm.partition));
    at.vm.partition = NULL;
}

/* 63 more commands are on their way at once. */
static void end_guest(void)
{
    EXPECT_CANCEL(&storm);
    disk_storm(&disk, "disk_fault");
    EXPECT_EXIT(&at.vm, UnrecoverableException);
    delete_partition();
}

/* The client takes the processor away, with the device still at work. */
static void end_processor(void)
{
    EXPECT_CANCEL(&storm);
    EXPECT_OK(WHvDeleteVirtualProcessor(at.vm.partition, 0));
    delete_partition();
}

static const struct end_row {
    const char *name;
    void (*end)(void);
} end_rows[] = {
    {"the device is deleted while the guest runs", end_device},
    {"the device is deleted while the guest is stopped", end_both},
    {"the partition is deleted with the device in it", end_partition},
    {"the processor is deleted, then the partition", end_processor},
    {"the guest ends by a triple fault, then the partition", end_guest},
};

/* Nothing of a round is left. */
struct left {
    size_t pages;
    unsigned vectors;
};

static struct left count_left(void)
{
    return (struct left){pages_free_count(), irq_vectors_used()};
}

static void end_once(const struct end_row *row, const struct hv_pci_address *a)
{
    if (attack_take_device(&at, a) && start_storm()) {
        row->end();
        expect_no_dma();
    }
    attack_expect_others(&at);
    vm_delete(&at.vm);
}

TEST_ROWS(attack_under_way, "iommu: attack: heavy DMA and interrupts are under way when", end_rows)
{
    struct hv_pci_address a;
    const uint32_t rounds = test_cycles(4);
    struct left before, left;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!forward_find_class(DISK_CLASS, &a))
        SKIP("no disk (make test-kernel IOMMU=intel|amd)");
    if (attack_begin_others(&at)) {
        for (uint32_t i = 0; i < rounds && !test_failed(); i++) {
            before = count_left();
            end_once(row, &a);
            left = count_left();
            if (i) /* the first one leaves what is kept for later ones */
                EXPECT(left.pages == before.pages && left.vectors == before.vectors);
        }
    }
    attack_end(&at);
}

/* -------------------------------------------------------------------------- memory that goes */

#define TAKEN_AWAY 0x4000u

/* The page is not the guest's from when the call returns. */
static void take_memory_away(void)
{
    uint64_t gpa = DISK_DATA + TAKEN_AWAY;
    const uint8_t *page = vm_at(&at.vm, gpa);
    uint32_t wrong = 0;

    EXPECT_OK(WHvUnmapGpaRange(at.vm.partition, gpa, PAGE_SIZE));
    memset(vm_at(&at.vm, gpa), POISON, PAGE_SIZE);
    EXPECT(counter_moves(&at.vm, 200));
    for (uint32_t i = 0; i < PAGE_SIZE; i++)
        wrong += page[i] != POISON;
    EXPECT_EQ(wrong, 0);
    EXPECT(vm_protect(&at.vm, gpa, PAGE_SIZE, VM_RWX));
    EXPECT(counter_moves(&at.vm, 200));
    EXPECT_EQ(*page, 0);
}

TEST(attack_unmap, "iommu: attack: heavy DMA to memory that is taken away and given back, again and again")
{
    struct hv_pci_address a;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!forward_find_class(DISK_CLASS, &a))
        SKIP("no disk (make test-kernel IOMMU=intel|amd)");
    if (attack_begin(&at, &a) && start_storm()) {
        for (uint32_t i = 0; i < 20 && !test_failed(); i++)
            take_memory_away();
        told_expect_dma(&at.d.address, "write to", DISK_DATA + TAKEN_AWAY);
        EXPECT_CANCEL(&storm);
    }
    attack_end(&at);
}
