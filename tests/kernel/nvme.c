/* SPDX-License-Identifier: MIT */
#include "nvme.h"
#include "test.h"
#include <hv/base/bits.h>
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>
#include <whp/WinHvExtensions.h>

/* class, subclass, programming interface */
#define IS_NVME(ids) ((ids).base_class == 1 && (ids).sub_class == 8 && (ids).prog_if == 2)

#define DEVICE_ID 11
#define WAIT_NS   (5 * NS_PER_S)

/* registers: bytes */
#define REG_CAP_HIGH 0x04
#define REG_CC       0x14
#define REG_CSTS     0x1c
#define REG_AQA      0x24
#define REG_ASQ      0x28
#define REG_ACQ      0x30
#define REG_BELLS    0x1000
#define REG_SIZE     0x2000
#define CAP_STRIDE   BITS32(3, 0)
#define CC_ENABLE    (BIT32(0) | 6u << 16 | 4u << 20) /* entries of 64 and 16 bytes */
#define CSTS_READY   BIT32(0)

/* the guest's memory */
#define GPA_QUEUES   0x50000u /* struct nvme_queue: nvme.asm */
#define GPA_DATA     0x51000u
#define GPA_PAGES(q) (0x60000u + (q)*2 * 0x1000u) /* submission, completion; 0: administration */

struct command {
    uint32_t opcode, nsid, reserved[2];
    uint64_t metadata, data[2];
    uint32_t words[6];
};
_Static_assert(sizeof(struct command) == 64, "entry of a submission queue");

struct completion {
    uint32_t result, reserved;
    uint16_t head, queue, id;
    volatile uint16_t status; /* bit 0: the phase */
};
_Static_assert(sizeof(struct completion) == 16, "entry of a completion queue");

#define OP_CREATE_SQ    0x01
#define OP_CREATE_CQ    0x05
#define OP_GET_FEATURES 0x0a
#define OP_READ         0x02 /* of a namespace */
#define FEATURE_QUEUES  0x07
#define QUEUE_IN_PAGE   BIT32(0) /* physically contiguous */
#define QUEUE_INTERRUPT BIT32(1)

/* ------------------------------------------------------------------------------------ finding it */

const char *nvme_find(struct nvme *n)
{
    struct hv_pci_function f;

    for (uint32_t i = 0; hv_pci_function(i, &f) == HV_OK; i++) {
        if (IS_NVME(f.ids)) {
            *n = (struct nvme){.address = f.address, .is_unsafe = !hv_iommu_platform()->remaps_interrupts};
            return NULL;
        }
    }
    return "the machine has no NVMe disk (make test-kernel IOMMU=intel|amd|none)";
}

static void configure(struct vm *vm)
{
    const BOOL allow = TRUE;

    vm_set_property(vm, WHvPartitionPropertyCodeAllowDeviceAssignment, &allow, sizeof(allow));
    apic_modes[1].configure(vm);
}

const struct apic_mode nvme_mode = {"x2APIC", configure, true};

/* ---------------------------------------------------------------------------- giving, taking back */

#define CAP_MSIX     0x11
#define MSIX_LAST    BITS32(10, 0)
#define MSIX_ENABLE  BIT32(15)
#define MSIX_MASK    BIT32(14)
#define ENTRY_SIZE   16u
#define ENTRY_MASK   12u
#define MSI_ADDRESS  0xfee00000u
#define MSI_APIC(id) ((id) << 12)

static bool find_msix(struct nvme *n)
{
    n->msix = passed_find(&n->device, CAP_MSIX);
    if (!EXPECT(n->msix))
        return false;
    n->entries = ((uint32_t)passed_read(&n->device, WHvVpciConfigSpace, n->msix + 2, 2) & MSIX_LAST) + 1;
    n->table = (uint32_t)passed_read(&n->device, WHvVpciConfigSpace, n->msix + 4, 4);
    n->pba = (uint32_t)passed_read(&n->device, WHvVpciConfigSpace, n->msix + 8, 4);
    return EXPECT_EQ(n->table & 7, 0) && EXPECT_EQ(n->pba & 7, 0); /* both in BAR 0 */
}

bool nvme_give(struct nvme *n, struct vm *vm)
{
    const WHV_MAP_GPA_RANGE_FLAGS rights = WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite;

    n->vm = vm;
    n->device = (struct passed){vm->partition, DEVICE_ID, n->is_unsafe ? WHVX_PCI_RESOURCE_UNSAFE : 0};
    n->memory = hv_iommu_platform()->present ? 0 : virt_to_phys(vm->memory);
    if (!passed_give(&n->device, &n->address))
        return false;
    n->registers = passed_map(&n->device, 0, REG_SIZE);
    return EXPECT(n->registers != NULL) &&
           EXPECT_OK(
               WHvMapGpaRange(vm->partition, (void *)(uintptr_t)n->registers, NVME_REGISTERS, REG_SIZE, rights)) &&
           find_msix(n);
}

void nvme_take(struct nvme *n)
{
    passed_take(&n->device);
}

/* ---------------------------------------------------------------------------------- registers */

static uint32_t reg(const struct nvme *n, uint32_t offset)
{
    return n->registers[offset / 4];
}

static void set_reg(const struct nvme *n, uint32_t offset, uint32_t value)
{
    n->registers[offset / 4] = value;
}

static void set_reg64(const struct nvme *n, uint32_t offset, uint64_t value)
{
    set_reg(n, offset, (uint32_t)value);
    set_reg(n, offset + 4, (uint32_t)(value >> 32));
}

static uint32_t bell(const struct nvme *n, uint32_t q, bool is_completion)
{
    return REG_BELLS + (2 * q + is_completion) * n->stride;
}

static bool wait_ready(const struct nvme *n, uint32_t wanted)
{
    uint64_t end = clock_ns() + WAIT_NS;

    while ((reg(n, REG_CSTS) & CSTS_READY) != wanted && clock_ns() < end)
        thread_sleep_ns(NS_PER_MS);
    return EXPECT_EQ(reg(n, REG_CSTS) & CSTS_READY, wanted);
}

/* ------------------------------------------------------------------------------ administration */

static bool admin(struct nvme *n, struct command c)
{
    uint32_t at = n->admin % NVME_DEPTH, phase = !(n->admin / NVME_DEPTH % 2);
    struct completion *completion = (struct completion *)vm_at(n->vm, GPA_PAGES(0) + 0x1000) + at;
    uint64_t end = clock_ns() + WAIT_NS;

    c.opcode |= (n->admin & 0xffff) << 16;
    ((struct command *)vm_at(n->vm, GPA_PAGES(0)))[at] = c;
    n->admin++;
    set_reg(n, bell(n, 0, false), n->admin % NVME_DEPTH);
    while ((completion->status & 1u) != phase) {
        if (clock_ns() > end)
            return FAIL("NVMe: no completion of command 0x%x", c.opcode & 0xff), false;
        thread_yield();
    }
    set_reg(n, bell(n, 0, true), n->admin % NVME_DEPTH);
    return EXPECT_EQ(completion->status >> 1, 0);
}

bool nvme_admin(struct nvme *n)
{
    return admin(n, (struct command){.opcode = OP_GET_FEATURES, .words = {FEATURE_QUEUES}});
}

static bool make_queue(struct nvme *n, uint32_t q)
{
    const uint32_t size = (NVME_DEPTH - 1) << 16 | q;
    struct nvme_queue *queue = nvme_queue(n, q);
    struct command *commands = vm_at(n->vm, GPA_PAGES(q));

    *queue = (struct nvme_queue){
        .sq = GPA_PAGES(q),
        .cq = GPA_PAGES(q) + 0x1000,
        .sq_bell = NVME_REGISTERS + bell(n, q, false),
        .cq_bell = NVME_REGISTERS + bell(n, q, true),
        .phase = 1,
    };
    memset(vm_at(n->vm, queue->cq), 0, PAGE_SIZE);
    for (uint32_t i = 0; i < NVME_DEPTH; i++)
        commands[i] = (struct command){.opcode = OP_READ | i << 16, .nsid = 1, .data = {n->memory + GPA_DATA}};
    return admin(n, (struct command){.opcode = OP_CREATE_CQ,
                                     .data = {n->memory + queue->cq},
                                     .words = {size, QUEUE_IN_PAGE | QUEUE_INTERRUPT | q << 16}}) &&
           admin(n, (struct command){.opcode = OP_CREATE_SQ,
                                     .data = {n->memory + queue->sq},
                                     .words = {size, QUEUE_IN_PAGE | q << 16}});
}

static void set_control(const struct nvme *n, uint32_t bits)
{
    passed_write(&n->device, WHvVpciConfigSpace, n->msix + 2, bits, 2);
}

bool nvme_start(struct nvme *n)
{
    bool is_good;

    n->admin = 0;
    set_control(n, MSIX_ENABLE); /* before queues are made: QEMU looks at it then */
    memset(vm_at(n->vm, GPA_PAGES(0)), 0, 2 * PAGE_SIZE);
    set_reg(n, REG_CC, 0);
    if (!wait_ready(n, 0))
        return false;
    n->stride = 4u << (reg(n, REG_CAP_HIGH) & CAP_STRIDE);
    set_reg(n, REG_AQA, (NVME_DEPTH - 1) << 16 | (NVME_DEPTH - 1));
    set_reg64(n, REG_ASQ, n->memory + GPA_PAGES(0));
    set_reg64(n, REG_ACQ, n->memory + GPA_PAGES(0) + 0x1000);
    set_reg(n, REG_CC, CC_ENABLE);
    is_good = wait_ready(n, CSTS_READY);
    for (uint32_t q = 1; is_good && q <= NVME_QUEUES; q++)
        is_good = make_queue(n, q);
    return is_good;
}

#define CAP_EXPRESS     0x10
#define EXPRESS_CONTROL 8
#define EXPRESS_FLR     BIT32(15)

void nvme_reset(const struct nvme *n)
{
    uint32_t at = passed_find(&n->device, CAP_EXPRESS) + EXPRESS_CONTROL;

    passed_write(&n->device, WHvVpciConfigSpace, at, passed_read(&n->device, WHvVpciConfigSpace, at, 2) | EXPRESS_FLR,
                 2);
    EXPECT_EQ(reg(n, REG_CC), 0);
    passed_switch_on(&n->device);
}

/* -------------------------------------------------------------------------------------- queues */

struct nvme_queue *nvme_queue(const struct nvme *n, uint32_t q)
{
    return (struct nvme_queue *)vm_at(n->vm, GPA_QUEUES) + q;
}

void nvme_read_to(const struct nvme *n, uint32_t q, uint64_t address)
{
    struct command *commands = vm_at(n->vm, GPA_PAGES(q));

    for (uint32_t i = 0; i < NVME_DEPTH; i++)
        commands[i].data[0] = address;
}

void nvme_submit(const struct nvme *n, uint32_t q, uint32_t again)
{
    struct nvme_queue *queue = nvme_queue(n, q);

    queue->left = again;
    queue->tail = (queue->tail + 1) % NVME_DEPTH;
    set_reg(n, bell(n, q, false), queue->tail);
}

uint32_t nvme_untaken(const struct nvme *n, uint32_t q)
{
    const struct nvme_queue *queue = nvme_queue(n, q);
    const struct completion *completions = vm_at(n->vm, queue->cq);
    uint32_t at = queue->head, phase = queue->phase, count = 0;

    while (count < NVME_DEPTH && (completions[at].status & 1u) == phase) {
        at = (at + 1) % NVME_DEPTH;
        phase ^= !at;
        count++;
    }
    return count;
}

/* --------------------------------------------------------------------------------------- MSI-X */

static void set_entry(const struct nvme *n, uint32_t entry, uint32_t offset, uint64_t value, uint32_t size)
{
    passed_write(&n->device, WHvVpciBar0, n->table + entry * ENTRY_SIZE + offset, value, size);
}

void nvme_set_message(const struct nvme *n, uint32_t entry, uint64_t address, uint32_t data)
{
    set_entry(n, entry, 0, address, 8);
    set_entry(n, entry, 8, data, 4);
}

void nvme_aim(const struct nvme *n, uint32_t entry, uint32_t vp, uint32_t vector)
{
    nvme_set_message(n, entry, MSI_ADDRESS | MSI_APIC(vp), vector);
}

void nvme_move(const struct nvme *n, uint32_t entry, uint32_t vp)
{
    set_entry(n, entry, 0, MSI_ADDRESS | MSI_APIC(vp), 4);
}

void nvme_mask(const struct nvme *n, uint32_t entry, bool is_masked)
{
    set_entry(n, entry, ENTRY_MASK, is_masked, 4);
}

void nvme_mask_all(const struct nvme *n, bool is_masked)
{
    set_control(n, MSIX_ENABLE | (is_masked ? MSIX_MASK : 0));
}

bool nvme_pending(const struct nvme *n, uint32_t entry)
{
    return passed_read(&n->device, WHvVpciBar0, n->pba + entry / 64 * 8, 8) >> entry % 64 & 1;
}
