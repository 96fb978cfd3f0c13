/* SPDX-License-Identifier: MIT */
/*
 * DMA and interrupt remapping of devices that the host keeps, on the machine's own units: a device reaches what the
 * host wants for it and nothing else, and each thing that is blocked is told in one line.
 */
#include "edu.h"
#include "test.h"
#include "told.h"
#include "vm.h"
#include <hv/base/bits.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/host.h>
#include <kernel/isa.h>
#include <kernel/memory.h>
#include <kernel/thread.h>
#include <kernel/trap.h>
#include <whp/WinHvPlatform.h>

#define WAIT_NS (2 * NS_PER_S)

/* --------------------------------------------------------------------- what the host wants */

static struct {
    uint16_t bdf;
    uint64_t page; /* 0: nothing */
} wishes[2];

static bool dma_wish(uint16_t segment, uint16_t bdf, uint32_t n, uint64_t *start, uint64_t *size)
{
    for (size_t i = 0; i < COUNT(wishes); i++) {
        if (segment || n || bdf != wishes[i].bdf || !wishes[i].page)
            continue;
        *start = wishes[i].page;
        *size = PAGE_SIZE;
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------------------- a test's means */

static struct edu edu[2];
static uint8_t *page[2];
static uint64_t pa[2];

static void release(void)
{
    told_stop();
    host_dma_policy(NULL);
    for (size_t i = 0; i < COUNT(edu); i++) {
        if (edu[i].registers)
            edu_close(&edu[i]);
        if (page[i])
            page_free(page[i]);
    }
}

static bool prepare(void)
{
    memset(wishes, 0, sizeof(wishes));
    memset(edu, 0, sizeof(edu));
    memset(page, 0, sizeof(page));
    told_forget();
    for (size_t i = 0; i < COUNT(edu); i++) {
        page[i] = page_alloc();
        if (!page[i] || !edu_open((uint32_t)i, &edu[i])) {
            release();
            return false;
        }
        pa[i] = virt_to_phys(page[i]);
        wishes[i].bdf = edu[i].address.bdf;
    }
    told_start();
    return true;
}

#define PREPARE(irqs)                                                                      \
    do {                                                                                   \
        if (told_missing(irqs))                                                            \
            SKIP("no IOMMU for this: %s", told_missing(irqs));                             \
        if (!prepare())                                                                    \
            SKIP("the machine has no two edu devices (make test-kernel IOMMU=intel|amd)"); \
    } while (0)

/* The device brings a page's first bytes to another place. */
static bool bring(struct edu *e, uint64_t from, uint64_t to)
{
    return EXPECT(edu_from_memory(e, from)) && EXPECT(edu_to_memory(e, to));
}

static void fill(uint8_t *p, uint8_t first)
{
    for (unsigned i = 0; i < EDU_COPY; i++)
        p[i] = (uint8_t)(first + i);
}

/* --------------------------------------------------------------------------------------- DMA */

TEST(iommu_on_off, "iommu: on and off a hundred times: nothing is left behind")
{
    size_t pages;

    if (told_missing(false))
        SKIP("no IOMMU: %s", told_missing(false));
    pages = pages_free_count();
    for (int i = 0; i < 100 && !test_failed(); i++) {
        REQUIRE(EXPECT_EQ(hv_iommu_on(), HV_OK));
        EXPECT_EQ(hv_iommu_on(), HV_OK); /* another user */
        hv_iommu_off();
        hv_iommu_off();
        EXPECT_EQ(pages_free_count(), pages);
    }
}

TEST(iommu_all, "iommu: a device that is trusted with all of memory copies it")
{
    PREPARE(false);
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        for (size_t i = 0; i < COUNT(edu); i++) {
            fill(page[0], (uint8_t)(0x10 + i));
            bring(&edu[i], pa[0], pa[1]);
            EXPECT_BYTES(page[1], page[0], EDU_COPY);
        }
        hv_iommu_off();
    }
    release();
}

TEST(iommu_ranges, "iommu: a device reaches the memory that the host wants for it, and no other")
{
    PREPARE(false);
    wishes[0].page = pa[0];
    wishes[1].page = pa[1];
    host_dma_policy(dma_wish);
    fill(page[0], 0x20);
    fill(page[1], 0x60);
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        uint8_t before[EDU_COPY];

        bring(&edu[0], pa[0], pa[0] + 0x800);
        EXPECT_BYTES(page[0] + 0x800, page[0], EDU_COPY);
        bring(&edu[1], pa[1], pa[1] + 0x800);
        EXPECT_BYTES(page[1] + 0x800, page[1], EDU_COPY);
        /* reads what is the other one's: nothing of it arrives */
        bring(&edu[0], pa[1], pa[0] + 0x400);
        EXPECT(memcmp(page[0] + 0x400, page[1], EDU_COPY) != 0);
        told_expect_dma(&edu[0].address, "read of", pa[1]);
        /* writes there */
        memcpy(before, page[0], EDU_COPY);
        EXPECT(edu_to_memory(&edu[1], pa[0]));
        EXPECT_BYTES(page[0], before, EDU_COPY);
        told_expect_dma(&edu[1].address, "write to", pa[0]);
        hv_iommu_off();
        bring(&edu[0], pa[0], pa[1]); /* as before */
        EXPECT_BYTES(page[1], page[0], EDU_COPY);
    }
    release();
}

TEST(iommu_nothing, "iommu: a device that the host wants nothing for reaches nothing")
{
    PREPARE(false);
    host_dma_policy(dma_wish);
    fill(page[0], 0x30);
    EXPECT(edu_from_memory(&edu[0], pa[0]));
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        for (uint64_t address = pa[1]; address < 0x100000000; address += 0x70001000) {
            EXPECT(edu_to_memory(&edu[0], address));
            told_expect_dma(&edu[0].address, "write to", address);
        }
        EXPECT_EQ(page[1][0], 0);
        hv_iommu_off();
    }
    release();
}

/* -------------------------------------------------------------------------------- interrupts */

static volatile uint32_t arrived[2], arrived_at; /* by vector; on which CPU the last one was */

static void count_arrival(void *arg)
{
    arrived_at = cpu_id();
    (*(volatile uint32_t *)arg)++;
}

static bool arrives(volatile uint32_t *count, uint32_t wanted)
{
    uint64_t end = clock_ns() + WAIT_NS;

    while (*count < wanted && clock_ns() < end)
        thread_sleep_ns(NS_PER_MS);
    return EXPECT_EQ(*count, wanted);
}

/* Nothing comes for a while. */
static void expect_quiet(uint32_t first, uint32_t second)
{
    thread_sleep_ns(50 * NS_PER_MS);
    EXPECT_EQ(arrived[0], first);
    EXPECT_EQ(arrived[1], second);
}

static uint8_t vectors[2];

static void take_vectors(void)
{
    for (size_t i = 0; i < COUNT(vectors); i++) {
        arrived[i] = 0;
        vectors[i] = irq_vector_alloc(count_arrival, (void *)(uintptr_t)&arrived[i]);
        EXPECT(vectors[i]);
    }
}

static void give_vectors(void)
{
    for (size_t i = 0; i < COUNT(vectors); i++)
        irq_vector_free(vectors[i]);
}

static void one_message(struct edu *e)
{
    uint32_t last = cpu_count() - 1;
    struct hv_msi_message m;

    arrived[0] = arrived[1] = 0;
    EXPECT_EQ(hv_remap_msi(&e->address, 0, last, vectors[0], &m), HV_OK);
    edu_set_message(e, &m);
    edu_interrupt(e);
    arrives(&arrived[0], 1);
    EXPECT_EQ(arrived_at, last);
    EXPECT_EQ(hv_remap_msi(&e->address, 0, 0, vectors[1], &m), HV_OK); /* the device sends what it sent before */
    edu_interrupt(e);
    arrives(&arrived[1], 1);
    EXPECT_EQ(arrived_at, 0);
    told_forget();
    hv_remap_msi_free(&e->address, 0);
    edu_interrupt(e);
    expect_quiet(1, 1);
    told_expect_interrupt(&e->address);
    edu_set_message(e, NULL);
}

TEST(iommu_msi, "iommu: a device's message arrives where the host wants it, and after the entry is gone nowhere")
{
    PREPARE(true);
    take_vectors();
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        one_message(&edu[0]);
        one_message(&edu[1]);
        hv_iommu_off();
    }
    give_vectors();
    release();
}

TEST(iommu_plain_msi, "iommu: without remapping a message is as ever")
{
    struct hv_msi_message m;

    if (!prepare())
        SKIP("the machine has no two edu devices (make test-kernel IOMMU=intel|amd)");
    take_vectors();
    EXPECT_EQ(hv_remap_msi(&edu[0].address, 0, cpu_count() - 1, vectors[0], &m), HV_OK);
    edu_set_message(&edu[0], &m);
    edu_interrupt(&edu[0]);
    arrives(&arrived[0], 1);
    EXPECT_EQ(arrived_at, cpu_count() - 1);
    give_vectors();
    release();
}

/* Another device's message: the entry is for that one only. */
TEST(iommu_forged_other, "iommu: a message that is another device's is blocked")
{
    struct hv_msi_message m;

    PREPARE(true);
    take_vectors();
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        EXPECT_EQ(hv_remap_msi(&edu[0].address, 0, 0, vectors[0], &m), HV_OK);
        edu_set_message(&edu[0], &m);
        edu_set_message(&edu[1], &m);
        edu_interrupt(&edu[1]);
        told_expect_interrupt(&edu[1].address);
        expect_quiet(0, 0);
        edu_interrupt(&edu[0]);
        arrives(&arrived[0], 1);
        hv_iommu_off();
    }
    give_vectors();
    release();
}

/* A message without remapping, of its own making. */
TEST(iommu_forged_plain, "iommu: a message in the format without remapping is blocked")
{
    struct hv_msi_message m = {0xfee00000 | (uint64_t)hv_host_apic_id(0) << 12, 0};

    SKIP_IF_LAX(LETS_PLAIN);
    PREPARE(true);
    take_vectors();
    m.data = vectors[0];
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        edu_set_message(&edu[0], &m);
        edu_interrupt(&edu[0]);
        told_expect_interrupt(&edu[0].address);
        expect_quiet(0, 0);
        hv_iommu_off();
    }
    give_vectors();
    release();
}

/* What the device writes to memory, in each of its words. */
static void write_words(struct edu *e, uint32_t word, uint64_t address)
{
    for (unsigned i = 0; i < EDU_COPY; i += sizeof(word))
        memcpy(page[0] + i, &word, sizeof(word));
    EXPECT(edu_from_memory(e, pa[0]));
    EXPECT(edu_to_memory(e, address));
}

TEST(iommu_forged_dma, "iommu: a DMA write to the address of messages makes no interrupt")
{
    SKIP_IF_LAX(LETS_PLAIN);
    PREPARE(true);
    take_vectors();
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        write_words(&edu[0], vectors[0], 0xfee00000 | (uint64_t)hv_host_apic_id(0) << 12);
        expect_quiet(0, 0);
        hv_iommu_off();
    }
    give_vectors();
    release();
}

TEST(iommu_forged_dma_other, "iommu: a DMA write of another device's message makes no interrupt")
{
    struct hv_msi_message m;

    SKIP_IF_LAX(NO_SENDER);
    PREPARE(true);
    take_vectors();
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        EXPECT_EQ(hv_remap_msi(&edu[0].address, 0, 0, vectors[0], &m), HV_OK);
        write_words(&edu[1], m.data, m.address);
        expect_quiet(0, 0);
        hv_iommu_off();
    }
    give_vectors();
    release();
}

TEST(iommu_forged_dma_old, "iommu: a DMA write of a message whose entry is gone makes no interrupt")
{
    struct hv_msi_message m;

    PREPARE(true);
    take_vectors();
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        EXPECT_EQ(hv_remap_msi(&edu[0].address, 0, 0, vectors[0], &m), HV_OK);
        hv_remap_msi_free(&edu[0].address, 0);
        write_words(&edu[0], m.data, m.address);
        expect_quiet(0, 0);
        hv_iommu_off();
    }
    give_vectors();
    release();
}

#define PIT_IRQ     0
#define PIT_COMMAND 0x43
#define PIT_CHANNEL 0x40
#define PIT_HZ      1193182u

static void pit_start(uint32_t hz)
{
    uint32_t count = PIT_HZ / hz;

    outb(PIT_COMMAND, 0x34); /* channel 0, both bytes, rate generator */
    outb(PIT_CHANNEL, (uint8_t)count);
    outb(PIT_CHANNEL, (uint8_t)(count >> 8));
}

static void pit_stop(void)
{
    outb(PIT_COMMAND, 0x30); /* one shot, which waits for its count */
}

static void nothing(void)
{
}

static void expect_ticks(void)
{
    uint32_t before = arrived[0];
    uint64_t end = clock_ns() + WAIT_NS;

    while (arrived[0] < before + 5 && clock_ns() < end)
        thread_sleep_ns(NS_PER_MS);
    EXPECT_GE(arrived[0], before + 5);
}

TEST(iommu_ioapic, "iommu: the IOAPIC's interrupts go on coming when remapping is switched on and off")
{
    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    take_vectors();
    if (!isa_irq_route(PIT_IRQ, vectors[0], cpu_count() - 1, nothing)) {
        give_vectors();
        SKIP("no IOAPIC has the timer's interrupt");
    }
    pit_start(200);
    expect_ticks();
    for (int i = 0; i < 5 && !test_failed(); i++) {
        EXPECT_EQ(hv_iommu_on(), HV_OK);
        expect_ticks();
        EXPECT_EQ(arrived_at, cpu_count() - 1);
        hv_iommu_off();
        expect_ticks();
    }
    isa_irq_mask(PIT_IRQ);
    pit_stop();
    give_vectors();
}

/* ------------------------------------------------------------------------ a partition's device */

/* At the end: what a partition had stays out of reach of the host's memory. */

#define GPA_PLAIN  0x10000u
#define GPA_CONST  0x20000u
#define GPA_OTHER  0x30000u
#define EDU_NUMBER 7

static void map_page(WHV_PARTITION_HANDLE p, uint8_t *at, uint64_t gpa, uint32_t flags)
{
    EXPECT_OK(WHvMapGpaRange(p, at, gpa, PAGE_SIZE, (WHV_MAP_GPA_RANGE_FLAGS)flags));
}

static WHV_PARTITION_HANDLE partition_new(void)
{
    const UINT32 processors = 1;
    const BOOL allow = TRUE;
    WHV_PARTITION_HANDLE p = NULL;

    EXPECT_OK(WHvCreatePartition(&p));
    EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, &processors, sizeof(processors)));
    EXPECT_OK(WHvSetPartitionProperty(p, WHvPartitionPropertyCodeAllowDeviceAssignment, &allow, sizeof(allow)));
    EXPECT_OK(WHvSetupPartition(p));
    return p;
}

/* QEMU's device has no reset of its own: it has to be behind a port of its own. */
static bool find_behind_port(struct edu *e)
{
    for (uint32_t n = 0; edu_find(n, e); n++) {
        if (e->address.bdf >> 8)
            return true;
    }
    return false;
}

static void reach_what_is_mapped(struct edu *e)
{
    fill(page[0], 0x40);
    bring(e, GPA_PLAIN, GPA_PLAIN + 0x800);
    EXPECT_BYTES(page[0] + 0x800, page[0], EDU_COPY);
    EXPECT(edu_to_memory(e, GPA_CONST)); /* what it may only read */
    told_expect_dma(&e->address, "write to", GPA_CONST);
    EXPECT_EQ(page[1][0], 0);
    fill(page[1], 0x90);
    bring(e, GPA_CONST, GPA_PLAIN + 0xc00);
    EXPECT_BYTES(page[0] + 0xc00, page[1], EDU_COPY);
    EXPECT(edu_to_memory(e, GPA_OTHER)); /* nothing is there */
    told_expect_dma(&e->address, "write to", GPA_OTHER);
    EXPECT(edu_to_memory(e, pa[1])); /* the host's address of something */
    told_expect_dma(&e->address, "write to", pa[1]);
    EXPECT_EQ(page[1][0], 0x90);
}

static void reach_what_changes(struct edu *e, WHV_PARTITION_HANDLE p)
{
    EXPECT(edu_from_memory(e, GPA_CONST));
    EXPECT_OK(WHvUnmapGpaRange(p, GPA_PLAIN, PAGE_SIZE));
    memset(page[0], 0, EDU_COPY);
    EXPECT(edu_to_memory(e, GPA_PLAIN));
    told_expect_dma(&e->address, "write to", GPA_PLAIN);
    EXPECT_EQ(page[0][0], 0);
    map_page(p, page[0], GPA_OTHER, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite);
    EXPECT(edu_to_memory(e, GPA_OTHER));
    EXPECT_BYTES(page[0], page[1], EDU_COPY);
    map_page(p, page[1], GPA_OTHER, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite); /* over it */
    memset(page[0], 0, EDU_COPY);
    EXPECT(edu_to_memory(e, GPA_OTHER + 0x100));
    EXPECT_BYTES(page[1] + 0x100, page[1], EDU_COPY);
    EXPECT_EQ(page[0][0x100], 0);
}

static void reach_nothing_afterwards(void)
{
    struct edu e;

    REQUIRE(find_behind_port(&e) && edu_open_at(&e));
    if (EXPECT_EQ(hv_iommu_on(), HV_OK)) {
        page[1][0] = 0;
        EXPECT(edu_to_memory(&e, pa[1]));
        EXPECT_EQ(page[1][0], 0);
        told_expect_dma(&e.address, "write to", pa[1]);
        hv_iommu_off();
    }
    edu_close(&e);
}

TEST(iommu_partition, "iommu: a partition's device reaches what is mapped, as it is mapped, and follows changes")
{
    WHV_PARTITION_HANDLE p;
    struct edu e;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!find_behind_port(&e))
        SKIP("no edu device behind a port of its own (make test-kernel IOMMU=intel|amd)");
    page[0] = page_alloc();
    page[1] = page_alloc();
    REQUIRE(page[0] && page[1]);
    pa[1] = virt_to_phys(page[1]);
    told_start();
    p = partition_new();
    map_page(p, page[0], GPA_PLAIN, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite);
    if (edu_give(&e, p, EDU_NUMBER)) {
        map_page(p, page[1], GPA_CONST, WHvMapGpaRangeFlagRead);
        reach_what_is_mapped(&e);
        reach_what_changes(&e, p);
        edu_take(&e);
        told_forget();
        reach_nothing_afterwards();
    }
    EXPECT_OK(WHvDeletePartition(p));
    told_stop();
    page_free(page[0]);
    page_free(page[1]);
}

/* Each time it is reset twice, by its port, which takes a second. */
TEST(iommu_cycles, "iommu: a device given to partitions and taken back again and again: nothing is left behind")
{
    WHV_PARTITION_HANDLE p;
    size_t pages = 0;
    struct edu e;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!find_behind_port(&e))
        SKIP("no edu device behind a port of its own (make test-kernel IOMMU=intel|amd)");
    for (int i = 0; i < 4 && !test_failed(); i++) {
        p = partition_new();
        if (edu_give(&e, p, EDU_NUMBER) && i % 2)
            edu_take(&e);
        EXPECT_OK(WHvDeletePartition(p)); /* with the device in it */
        if (i)
            EXPECT_EQ(pages_free_count(), pages);
        pages = pages_free_count();
    }
}

/* ---------------------------------------------------------------------- driven by a guest of its own */

/* The first page of the registers, in the guest: its page tables go further than its memory. */
#define GPA_REGISTERS 0x180000u
#define EDU_BUFFER    0x40000u
#define GPA_FROM      0x40000u
#define GPA_TO        0x50000u

static void allow_devices(struct vm *vm)
{
    const BOOL allow = TRUE;

    EXPECT_OK(
        WHvSetPartitionProperty(vm->partition, WHvPartitionPropertyCodeAllowDeviceAssignment, &allow, sizeof(allow)));
}

/* The guest reaches the registers directly. */
static bool give_registers(const struct edu *e, struct vm *vm)
{
    const WHV_MAP_GPA_RANGE_FLAGS rights = WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite;
    void *registers = passed_map(&e->device, 0, PAGE_SIZE);

    return EXPECT(registers != NULL) &&
           EXPECT_OK(WHvMapGpaRange(vm->partition, registers, GPA_REGISTERS, PAGE_SIZE, rights));
}

static void guest_copies(struct vm *vm, const char *code, uint64_t from, uint64_t to, bool out)
{
    REQUIRE(vm_load(vm, code));
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterRdi, GPA_REGISTERS);
    vm_set(vm, WHvX64RegisterRsi, from);
    vm_set(vm, WHvX64RegisterRdx, to);
    vm_set(vm, WHvX64RegisterRcx, EDU_COPY);
    vm_set(vm, WHvX64RegisterRbx, out ? 3 : 1);
    EXPECT_EXIT(vm, X64Halt);
}

/* Memory of the host's, and of another guest's: there is no address for either. */
static void attack(const struct edu *e, struct vm *vm, uint8_t *victim)
{
    uint64_t address = virt_to_phys(victim);

    fill(victim, 0x10);
    guest_copies(vm, "edu_copy", EDU_BUFFER, address, true);
    told_expect_dma(&e->address, "write to", address);
    EXPECT_EQ(victim[0], 0x10);
    EXPECT_EQ(victim[EDU_COPY - 1], (uint8_t)(0x10 + EDU_COPY - 1));
}

TEST(iommu_guest,
     "iommu: a guest that drives its device copies its own memory, and no other; and loses it in the midst")
{
    struct edu e;
    VM(vm);
    VM(other);

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!find_behind_port(&e))
        SKIP("no edu device behind a port of its own (make test-kernel IOMMU=intel|amd)");
    page[0] = page_alloc();
    REQUIRE(page[0] && vm_create(&other, 1, NULL) && vm_create(&vm, 1, allow_devices) && vm_enter(&vm, VM_LONG));
    told_start();
    if (edu_give(&e, vm.partition, EDU_NUMBER) && give_registers(&e, &vm)) {
        fill(vm_at(&vm, GPA_FROM), 0x70);
        guest_copies(&vm, "edu_copy", GPA_FROM, EDU_BUFFER, false);
        guest_copies(&vm, "edu_copy", EDU_BUFFER, GPA_TO, true);
        EXPECT_BYTES(vm_at(&vm, GPA_TO), vm_at(&vm, GPA_FROM), EDU_COPY);
        attack(&e, &vm, page[0]);
        attack(&e, &vm, other.memory);
        memset(vm_at(&vm, GPA_TO), 0, EDU_COPY);
        guest_copies(&vm, "edu_begin", EDU_BUFFER, GPA_TO, true);
        edu_take(&e); /* a copy takes a tenth of a second: it is under way */
        memset(vm_at(&vm, GPA_TO), 0, EDU_COPY);
        thread_sleep_ns(300 * NS_PER_MS);
        EXPECT_EQ(*(uint8_t *)vm_at(&vm, GPA_TO), 0);
        REQUIRE(vm_load(&vm, "edu_begin")); /* the registers are gone */
        vm_set(&vm, WHvX64RegisterRip, VM_CODE);
        vm_set(&vm, WHvX64RegisterRdi, GPA_REGISTERS);
        EXPECT_EXIT(&vm, MemoryAccess);
    }
    told_stop();
    page_free(page[0]);
}

/* ------------------------------------------------------------------------ interrupts of its device */

#define GPA_COUNT   0x60000u
#define GPA_HANDLER 0x9000u
#define EDU_VECTOR  0x61u
#define CAP_ID_MSI  0x05u
#define MSI_IS_ON   (1u << 0)

static void allow_interrupts(struct vm *vm)
{
    const WHV_X64_LOCAL_APIC_EMULATION_MODE x2apic = WHvX64LocalApicEmulationModeX2Apic;

    allow_devices(vm);
    EXPECT_OK(WHvSetPartitionProperty(vm->partition, WHvPartitionPropertyCodeLocalApicEmulationMode, &x2apic,
                                      sizeof(x2apic)));
}

/* As the guest's driver would: a message to VP 0. */
static bool set_guest_message(const struct edu *e)
{
    uint32_t at = passed_find(&e->device, CAP_ID_MSI);
    uint64_t control;

    if (!EXPECT(at))
        return false;
    control = passed_read(&e->device, WHvVpciConfigSpace, at + 2, 2);
    return passed_write(&e->device, WHvVpciConfigSpace, at + 4, 0xfee00000, 4) &&
           passed_write(&e->device, WHvVpciConfigSpace, at + 8, 0, 4) &&
           passed_write(&e->device, WHvVpciConfigSpace, at + 12, EDU_VECTOR, 2) &&
           passed_write(&e->device, WHvVpciConfigSpace, at + 2, control | MSI_IS_ON, 2);
}

static void open_apic(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterApicBase, 0xfee00d00); /* x2APIC mode, the boot processor's */
    vm_set(vm, WHvX64RegisterApicSpurious, 0x1ff);
    REQUIRE(vm_load_at(vm, "edu_handler", 64, GPA_HANDLER));
    *(uint16_t *)vm_at(vm, VM_IDT + 16 * EDU_VECTOR) = (uint16_t)GPA_HANDLER;
    *(uint16_t *)vm_at(vm, VM_IDT + 16 * EDU_VECTOR + 6) = GPA_HANDLER >> 16;
}

#define RAISE_CHUNK 500u

TEST(iommu_interrupts, "iommu: storm: 5,000 interrupts of a guest's device, or storm=N, come once each")
{
    const uint32_t chunks = test_storm(5000) / RAISE_CHUNK;
    struct edu e;
    VM(vm);

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!find_behind_port(&e))
        SKIP("no edu device behind a port of its own (make test-kernel IOMMU=intel|amd)");
    REQUIRE(vm_create(&vm, 1, allow_interrupts) && vm_enter(&vm, VM_LONG));
    open_apic(&vm);
    REQUIRE(edu_give(&e, vm.partition, EDU_NUMBER));
    if (give_registers(&e, &vm) && set_guest_message(&e)) {
        for (uint32_t i = 0; i < chunks && !test_failed(); i++) {
            REQUIRE(vm_load(&vm, "edu_raise"));
            vm_set(&vm, WHvX64RegisterRip, VM_CODE);
            vm_set(&vm, WHvX64RegisterRdi, GPA_REGISTERS);
            vm_set(&vm, WHvX64RegisterRbx, GPA_COUNT);
            vm_set(&vm, WHvX64RegisterR8, RAISE_CHUNK);
            EXPECT_EXIT(&vm, X64IoPortAccess);
        }
    }
    edu_take(&e);
    EXPECT_EQ(*vm_u32(&vm, GPA_COUNT), chunks * RAISE_CHUNK);
}
