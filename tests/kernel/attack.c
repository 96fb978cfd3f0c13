/* SPDX-License-Identifier: MIT */
#include "attack.h"
#include "edu.h"
#include "told.h"
#include <kernel/trap.h>

bool attack_find_edu(struct hv_pci_address *a)
{
    struct edu e;

    for (uint32_t n = 0; edu_find(n, &e); n++) {
        *a = e.address;
        if (a->bdf >> 8)
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------ bystanders */

static void count_arrival(void *arg)
{
    (*(volatile uint32_t *)arg)++;
}

void attack_expect_others(struct attack *at)
{
    EXPECT(counter_moves(&at->other, 2));
    EXPECT_EQ(at->arrived, 0);
}

static bool start_others(struct attack *at)
{
    at->vector = irq_vector_alloc(count_arrival, (void *)(uintptr_t)&at->arrived);
    if (!EXPECT(at->vector) || !vm_create(&at->other, 1, NULL) || !vm_enter(&at->other, VM_LONG) ||
        !vm_load(&at->other, "smp_spin"))
        return false;
    vm_set(&at->other, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    return runner_start(&at->bystander, &at->other, 0, CPU_ANY) && counter_moves(&at->other, 2);
}

static void stop_others(struct attack *at)
{
    if (at->bystander.thread) {
        attack_expect_others(at);
        EXPECT_CANCEL(&at->bystander);
    }
    if (at->vector)
        irq_vector_free(at->vector);
}

/* ---------------------------------------------------------------------------------- the attacker */

static void configure(struct vm *vm)
{
    const WHV_X64_LOCAL_APIC_EMULATION_MODE x2apic = WHvX64LocalApicEmulationModeX2Apic;
    const BOOL allow = TRUE;

    vm_set_property(vm, WHvPartitionPropertyCodeAllowDeviceAssignment, &allow, sizeof(allow));
    vm_set_property(vm, WHvPartitionPropertyCodeLocalApicEmulationMode, &x2apic, sizeof(x2apic));
}

bool attack_take_device(struct attack *at, const struct hv_pci_address *a)
{
    if (!vm_create(&at->vm, 1, configure) || !vm_enter(&at->vm, VM_LONG) || !forward_open(&at->d, a, &at->vm))
        return false;
    return forward_map(&at->d);
}

bool attack_begin_others(struct attack *at)
{
    memset(at, 0, sizeof(*at));
    told_start();
    return start_others(at);
}

bool attack_begin(struct attack *at, const struct hv_pci_address *a)
{
    return attack_begin_others(at) && attack_take_device(at, a);
}

void attack_end(struct attack *at)
{
    if (at->d.emulator)
        forward_close(&at->d);
    stop_others(at);
    told_stop();
    vm_delete(&at->vm);
    vm_delete(&at->other);
}

#define HANDLER 0x9000u
#define TAKEN   (VM_DATA + 8)

void attack_take_interrupts(struct attack *at, uint8_t vector)
{
    uint16_t *gate = vm_at(&at->vm, VM_IDT + 16u * vector);

    vm_set(&at->vm, WHvX64RegisterApicBase, 0xfee00d00); /* x2APIC mode, the boot processor's */
    vm_set(&at->vm, WHvX64RegisterApicSpurious, 0x1ff);
    vm_set(&at->vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
    vm_load_at(&at->vm, "script_handler", 64, HANDLER);
    gate[0] = (uint16_t)HANDLER;
    gate[3] = HANDLER >> 16;
    *vm_u32(&at->vm, TAKEN) = 0;
}

uint32_t attack_taken(struct attack *at)
{
    return *(volatile uint32_t *)vm_u32(&at->vm, TAKEN);
}

/* ------------------------------------------------------------------------------------ its copies */

#define COPY_BEGIN 1u
#define COPY_OUT   2u

static bool copy(struct attack *at, uint64_t from, uint64_t to, uint32_t bytes, uint32_t command)
{
    const struct script_op ops[] = {
        DO_WRITE(64, EDU_SOURCE, from),     DO_WRITE(64, EDU_TARGET, to),
        DO_WRITE(64, EDU_BYTES, bytes),     DO_WRITE(64, EDU_START, command | COPY_BEGIN),
        DO_AWAIT(EDU_START, COPY_BEGIN, 0),
    };

    return forward_do(&at->d, ops, COUNT(ops));
}

bool attack_copy_out(struct attack *at, uint64_t to, uint32_t bytes)
{
    return copy(at, EDU_INSIDE, to, bytes, COPY_OUT);
}

bool attack_copy_in(struct attack *at, uint64_t from, uint32_t bytes)
{
    return copy(at, from, EDU_INSIDE, bytes, 0);
}
