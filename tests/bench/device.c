/* SPDX-License-Identifier: MIT */
/* A passed device: from the guest's write that makes it interrupt until the guest's handler has ended. */
#include "../kernel/edu.h"
#include "../kernel/passed.h"
#include "bench.h"
#include <kernel/memory.h>

#define COUNTER    0x5000u   /* COUNT of loop.inc */
#define REGISTERS  0x180000u /* DEVICE of remote.asm */
#define VECTOR     0x41u
#define CAP_ID_MSI 0x05u
#define MSI_IS_ON  (1u << 0)

static struct edu edu;

static void configure(struct vm *vm)
{
    const BOOL allow = TRUE;

    apic_modes[1].configure(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeAllowDeviceAssignment, &allow, sizeof(allow));
}

static const struct apic_mode mode = {"x2APIC", configure, true};

/* As a guest's driver would: a message to VP 0. */
static bool set_message(void)
{
    uint32_t at = passed_find(&edu.device, CAP_ID_MSI);

    return EXPECT(at) && passed_write(&edu.device, WHvVpciConfigSpace, at + 4, 0xfee00000, 4) &&
           passed_write(&edu.device, WHvVpciConfigSpace, at + 8, 0, 4) &&
           passed_write(&edu.device, WHvVpciConfigSpace, at + 12, VECTOR, 2) &&
           passed_write(&edu.device, WHvVpciConfigSpace, at + 2,
                        passed_read(&edu.device, WHvVpciConfigSpace, at + 2, 2) | MSI_IS_ON, 2);
}

static bool prepare(struct vm *vm)
{
    void *registers;

    if (!EXPECT(edu_find(0, &edu)) || !edu_give(&edu, vm->partition, 1))
        return false;
    registers = passed_map(&edu.device, 0, PAGE_SIZE);
    return EXPECT(registers != NULL) &&
           EXPECT_OK(WHvMapGpaRange(vm->partition, registers, REGISTERS, PAGE_SIZE, VM_RW)) && set_message();
}

static bool check(struct vm *vm, uint64_t rounds)
{
    edu_take(&edu);
    return EXPECT_EQ(*vm_u32(vm, COUNTER), rounds);
}

const struct guest_loop loop_device = {
    .guest = "bench_device", .apic = &mode, .handler = "bench_handler_device", .prepare = prepare, .check = check};
