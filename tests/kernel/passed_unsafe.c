/* SPDX-License-Identifier: MIT */
/*
 * Machines that can not keep a device in its partition: without an IOMMU, or with one that remaps no interrupts. There
 * a device is refused, unless the flag is set for it; then a guest has it, and the log warns of what is not kept.
 *
 * What works with the flag: registers and interrupts, as ever (passed_interrupts.c runs there too). DMA is translated
 * and confined by an IOMMU that remaps no interrupts; without an IOMMU it goes to the host's addresses, and reaches a
 * guest's memory only if it is told these.
 */
#include "apic.h"
#include "nvme.h"
#include "told.h"
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>
#include <whp/WinHvExtensions.h>

#define WAIT_NS (5 * NS_PER_S)
#define BLOCK   512u
#define DATA    0x90000u /* in the guest */
#define MARK    0xa5

static struct nvme disk;

#define SKIP_WHERE_SAFE()                                             \
    do {                                                              \
        const char *missing_ = nvme_find(&disk);                      \
        if (missing_)                                                 \
            SKIP("no device: %s", missing_);                          \
        if (!disk.is_unsafe)                                          \
            SKIP("this machine's IOMMU keeps devices in partitions"); \
    } while (0)

static bool is_told(const char *what)
{
    return told_expect(&disk.address, what);
}

/* ---------------------------------------------------------------------------------------- refused */

static void expect_reason(void)
{
    const struct hv_iommu_platform *p = hv_iommu_platform();
    WHVX_IOMMU iommu = {0};
    char text[200];

    EXPECT_OK(WHvxGetIommu(&iommu));
    EXPECT_EQ(iommu.Present, p->present);
    EXPECT(!iommu.RemapsInterrupts);
    EXPECT(iommu.Reason[0]);
    test_note("%s: %s", iommu.Name, iommu.Reason);
    ksnprintf(text, sizeof(text), "not assigned, it could not be kept in its partition: %s", iommu.Reason);
    is_told(text);
}

TEST(unsafe_refused, "nvme: unsafe: a device that could not be kept in its partition is refused, and a line says why")
{
    struct passed d = {.id = 3};
    size_t pages = 0;
    VM(vm);

    SKIP_WHERE_SAFE();
    REQUIRE(vm_create(&vm, 1, nvme_mode.configure));
    d.partition = vm.partition;
    for (int i = 0; i < 3; i++) {
        told_start();
        EXPECT_HR(passed_create(&d, &disk.address), ERROR_HV_OPERATION_DENIED);
        expect_reason();
        told_stop();
        EXPECT_HR(WHvDeleteVpciDevice(d.partition, d.id), ERROR_HV_INVALID_DEVICE_ID);
        if (i)
            EXPECT_EQ(pages_free_count(), pages);
        pages = pages_free_count();
    }
}

/* ------------------------------------------------------------------------------------------ works */

static bool give(struct vm *vm)
{
    return vm_create(vm, 1, nvme_mode.configure) && nvme_give(&disk, vm);
}

static bool is_read(uint32_t wanted)
{
    uint64_t end = clock_ns() + WAIT_NS;

    while (nvme_untaken(&disk, 1) < wanted && clock_ns() < end)
        thread_sleep_ns(NS_PER_MS);
    return EXPECT_EQ(nvme_untaken(&disk, 1), wanted);
}

TEST(unsafe_warns, "nvme: unsafe: with the flag a guest has the device, and lines warn of what is not kept")
{
    VM(vm);

    SKIP_WHERE_SAFE();
    told_start();
    if (give(&vm)) {
        is_told("UNSAFE: its interrupts are not remapped: its guest can raise any interrupt of the host's");
        if (!hv_iommu_platform()->present)
            is_told("UNSAFE: no IOMMU translates its DMA: it goes to the host's memory, at the addresses that its "
                    "guest gives");
        nvme_take(&disk);
    }
    told_stop();
}

/* The disk has zeros: where a block has been read to there is no mark any more. */
TEST(unsafe_dma, "nvme: unsafe: DMA reaches the guest's memory: by an IOMMU only that, else by the host's addresses")
{
    uint8_t *host = page_alloc();
    bool is_confined = hv_iommu_platform()->present;
    VM(vm);

    REQUIRE(host);
    if (nvme_find(&disk) || !disk.is_unsafe) {
        page_free(host);
        SKIP("no device, or this machine's IOMMU keeps it in its partition");
    }
    memset(host, MARK, PAGE_SIZE);
    told_start();
    if (give(&vm) && nvme_start(&disk)) {
        uint8_t *data = vm_at(&vm, DATA);

        memset(data, MARK, 2 * BLOCK);
        nvme_read_to(&disk, 1, disk.memory + DATA);
        nvme_submit(&disk, 1, 0);
        is_read(1);
        EXPECT_EQ(data[0] | data[BLOCK - 1], 0);
        EXPECT_EQ(data[BLOCK], MARK);
        nvme_read_to(&disk, 1, virt_to_phys(host));
        nvme_submit(&disk, 1, 0);
        is_read(2);
        EXPECT_EQ(host[0], is_confined ? MARK : 0);
        EXPECT_EQ(host[BLOCK - 1], is_confined ? MARK : 0);
        if (is_confined)
            told_expect_dma(&disk.address, "write to", virt_to_phys(host));
    }
    if (disk.device.partition)
        nvme_take(&disk);
    told_stop();
    page_free(host);
}
