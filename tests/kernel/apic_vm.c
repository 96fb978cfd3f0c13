/* SPDX-License-Identifier: MIT */
/* Machines with local APICs: memory, handlers and scripts of tests/guests/apic.asm. */
#include "apic.h"
#include <kernel/clock.h>

_Static_assert(offsetof(struct apic_area, counts) == 0x400, "apic.asm");
_Static_assert(offsetof(struct apic_area, log) == 0x800, "apic.asm");
_Static_assert(offsetof(struct apic_area, page) == 80, "apic.asm");
_Static_assert(offsetof(struct apic_area, turn) == 88, "apic.asm");
_Static_assert(sizeof(struct apic_area) <= 0x2000, "the upper half is the stack");

#define STUBS         0x28000u
#define HANDLER       0x29000u
#define FAULT_HANDLER 0x29800u
#define DESCRIPTORS   0x2b000u
#define START64       0x2c000u
#define APIC_PD       0x18000u /* page directory of the fourth GiB */

/* ------------------------------------------------------------------------------------ modes */

static void set_mode(struct vm *vm, WHV_X64_LOCAL_APIC_EMULATION_MODE mode)
{
    vm_set_property(vm, WHvPartitionPropertyCodeLocalApicEmulationMode, &mode, sizeof(mode));
}

static void configure_xapic(struct vm *vm)
{
    set_mode(vm, WHvX64LocalApicEmulationModeXApic);
}

static void configure_x2apic(struct vm *vm)
{
    set_mode(vm, WHvX64LocalApicEmulationModeX2Apic);
}

const struct apic_mode apic_modes[2] = {
    {"xAPIC", configure_xapic, false},
    {"x2APIC", configure_x2apic, true},
};

/* ----------------------------------------------------------------------------------- memory */

/* PUSH imm32; JMP rel32 */
static void build_stub(struct vm *vm, unsigned vector)
{
    uint32_t at = STUBS + 16 * vector, handler = vector >= 32 || vector == 2 ? HANDLER : FAULT_HANDLER;
    uint8_t *code = vm_at(vm, at);
    uint32_t relative = handler - (at + 10);

    code[0] = 0x68;
    memcpy(code + 1, &vector, 4);
    code[5] = 0xe9;
    memcpy(code + 6, &relative, 4);
    *(uint16_t *)vm_at(vm, VM_IDT + 16 * vector) = (uint16_t)at;
    *(uint16_t *)vm_at(vm, VM_IDT + 16 * vector + 6) = (uint16_t)(at >> 16);
}

static void build_descriptor(struct vm *vm, uint32_t at, uint16_t limit, uint64_t base)
{
    memcpy(vm_at(vm, at), &limit, sizeof(limit));
    memcpy(vm_at(vm, at + 2), &base, sizeof(base));
}

static bool build_memory(struct vm *vm)
{
    *vm_u64(vm, VM_PDPT + 24) = APIC_PD | PTE_P | PTE_W | PTE_U;
    *vm_u64(vm, APIC_PD + 8 * (0xfee00000u >> 21 & 511)) = 0xfee00000u | 0x80 | 0x18 | PTE_P | PTE_W; /* UC */
    for (unsigned vector = 0; vector < 256; vector++)
        build_stub(vm, vector);
    build_descriptor(vm, DESCRIPTORS, VM_GDT_LIMIT, VM_GDT);
    build_descriptor(vm, DESCRIPTORS + 16, 0xfff, VM_IDT);
    return vm_load_at(vm, "apic_handler", 64, HANDLER) && vm_load_at(vm, "apic_fault", 64, FAULT_HANDLER) &&
           vm_load_at(vm, "apic_start", 16, SIPI_VECTOR << 12) &&
           vm_load_at(vm, "apic_start", 16, SIPI_VECTOR_OTHER << 12) && vm_load_at(vm, "apic_start64", 64, START64) &&
           vm_load_at(vm, "apic_script", 64, VM_CODE);
}

static void build_area(struct vm *vm, uint32_t vp, const struct apic_mode *mode)
{
    struct apic_area *area = apic_area(vm, vp);

    area->self = APIC_AREAS + 0x4000u * vp;
    area->script = area->self + offsetof(struct apic_area, ops);
    area->is_x2apic = mode->is_x2apic;
    area->expected = area->keep = ~0u;
    area->page = BASE_DEFAULT;
    area->turn = vp;
}

/* --------------------------------------------------------------------------------- machines */

static void place(struct vm *vm, uint32_t vp)
{
    vm_set_vp(vm, vp, WHvX64RegisterRip, VM_CODE);
    vm_set_vp(vm, vp, WHvX64RegisterRdi, apic_area(vm, vp)->self);
    vm_set_vp(vm, vp, WHvX64RegisterRsp, apic_area(vm, vp)->self + 0x4000);
    vm_set_vp(vm, vp, WHvRegisterInternalActivityState, 0);
}

bool apic_create_waiting(struct vm *vm, const struct apic_mode *mode, uint32_t vps)
{
    if (!vm_create(vm, vps, mode->configure) || !vm_enter(vm, VM_LONG) || !build_memory(vm))
        return false;
    for (uint32_t i = 0; i < vps; i++)
        build_area(vm, i, mode);
    place(vm, 0);
    return true;
}

bool apic_create(struct vm *vm, const struct apic_mode *mode, uint32_t vps)
{
    if (!apic_create_waiting(vm, mode, vps))
        return false;
    for (uint32_t i = 1; i < vps; i++) {
        if (!vm_enter_vp(vm, i, VM_LONG))
            return false;
        place(vm, i);
    }
    return true;
}

bool apic_set_handler(struct vm *vm, const char *name)
{
    return vm_load_at(vm, name, 64, HANDLER);
}

/* ---------------------------------------------------------------------------------- scripts */

void apic_set_bare_script(struct vm *vm, uint32_t vp, const struct apic_op *ops, size_t count)
{
    struct apic_area *area = apic_area(vm, vp);
    const struct apic_op end = EXIT;

    EXPECT_LE(count + 1, COUNT(area->ops));
    memset(area->ops, 0, sizeof(area->ops));
    memcpy(area->ops, ops, count * sizeof(*ops));
    area->ops[count] = end;
}

void apic_set_script(struct vm *vm, uint32_t vp, const struct apic_op *ops, size_t count)
{
    struct apic_area *area = apic_area(vm, vp);
    const uint64_t base = BASE_DEFAULT | BASE_ENABLE | (vp == 0 ? BASE_BSP : 0);
    const struct apic_op x2apic = WRMSR(MSR_APIC_BASE, base | BASE_X2APIC), enable = WRITE(APIC_SVR, 0x1ff);
    struct apic_op all[COUNT(area->ops)];
    size_t n = 0;

    if (area->is_x2apic)
        all[n++] = x2apic;
    all[n++] = enable;
    EXPECT_LE(n + count, COUNT(all));
    memcpy(all + n, ops, count * sizeof(*ops));
    apic_set_bare_script(vm, vp, all, n + count);
}

bool apic_check_end(struct vm *vm, uint32_t vp, const WHV_RUN_VP_EXIT_CONTEXT *exit, const char *file, int line)
{
    const struct apic_area *area = apic_area(vm, vp);
    const struct apic_op *op = vm_at(vm, area->failed);

    if (exit->ExitReason != WHvRunVpExitReasonX64IoPortAccess) {
        test_fail(file, line, "VP %u: exit %s at RIP 0x%llx, wanted the end of its script", vp,
                  vm_reason_name(exit->ExitReason), (unsigned long long)exit->VpContext.Rip);
        return false;
    }
    if (exit->IoPortAccess.PortNumber == 0xf4)
        return true;
    test_fail(file, line, "VP %u: operation %llu of its script (%llu, 0x%llx, 0x%llx): %s 0x%llx", vp,
              (unsigned long long)((area->failed - area->script) / sizeof(*op)), (unsigned long long)op->op,
              (unsigned long long)op->a, (unsigned long long)op->b,
              exit->IoPortAccess.PortNumber == 0xf6 ? "exception" : "found", (unsigned long long)area->got);
    return false;
}

bool apic_check_log(struct vm *vm, uint32_t vp, const uint16_t *wanted, uint32_t count, const char *file, int line)
{
    const struct apic_area *area = apic_area(vm, vp);

    return test_check(area->logged == count, file, line, "interrupts logged", area->logged, count) &&
           test_check_bytes(file, line, "log", area->log, wanted, count * sizeof(*wanted));
}

bool apic_wait_word(struct vm *vm, uint64_t word, uint32_t value)
{
    uint64_t deadline = clock_ns() + RUNNER_LIMIT_MS * NS_PER_MS;
    const volatile uint32_t *at = vm_at(vm, word);

    while (*at != value) {
        if (clock_ns() > deadline)
            return FAIL("the word at 0x%llx is %u, wanted %u", (unsigned long long)word, *at, value), false;
        thread_sleep_ns(100000);
    }
    return true;
}

uint64_t apic_ticks(uint64_t ns)
{
    WHV_CAPABILITY hz = {.ProcessorClockFrequency = 0};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorClockFrequency, &hz, sizeof(hz), NULL));
    return hz.ProcessorClockFrequency / 1000 * ns / 1000000;
}

HRESULT apic_request(struct vm *vm, WHV_INTERRUPT_TYPE type, bool is_logical, bool is_level, uint32_t destination,
                     uint32_t vector)
{
    WHV_INTERRUPT_CONTROL control = {.Type = (UINT64)type & 0xff, .Destination = destination, .Vector = vector};

    control.DestinationMode =
        is_logical ? WHvX64InterruptDestinationModeLogical : WHvX64InterruptDestinationModePhysical;
    control.TriggerMode = is_level ? WHvX64InterruptTriggerModeLevel : WHvX64InterruptTriggerModeEdge;
    return WHvRequestInterrupt(vm->partition, &control, sizeof(control));
}
