/* SPDX-License-Identifier: MIT */
/* The synthetic interrupt controller: registers, messages, events, what the client hears of free slots. */
#include "synic.h"
#include <kernel/clock.h>
#include <kernel/memory.h>

#define ONES  0xffffffffull
#define READY WORD(0)
#define GO    WORD(1)
#define VEC   0x51

static uint8_t page[PAGE_SIZE], other_page[PAGE_SIZE];

/* ---------------------------------------------------------------------------------- registers */

TEST_ROWS(synic_registers, "synic: registers after reset, and what they hold", synic_modes)
{
    SYNIC_GUEST(vm, row, RDMSR(MSR_SCONTROL), EXPECT_LAST(~0ull, 0), RDMSR(MSR_SVERSION), EXPECT_LAST(~0ull, 1),
                RDMSR(MSR_SIEFP), EXPECT_LAST(~0ull, 0), RDMSR(MSR_SIMP), EXPECT_LAST(~0ull, 0), RDMSR(MSR_SINT(0)),
                EXPECT_LAST(~0ull, SINT_MASKED), RDMSR(MSR_SINT(15)), EXPECT_LAST(~0ull, SINT_MASKED), SYNIC_ON,
                RDMSR(MSR_SCONTROL), EXPECT_LAST(~0ull, 1), RDMSR(MSR_SIEFP), EXPECT_LAST(~0ull, SIEF_PAGE | 1),
                RDMSR(MSR_SIMP), EXPECT_LAST(~0ull, SIM_PAGE | 1), SINT(15, SINT_AUTO_EOI | 0xfe),
                SINT(14, SINT_MASKED | 3), SINT(13, SINT_POLLING | 16), RDMSR(MSR_SINT(15)),
                EXPECT_LAST(~0ull, SINT_AUTO_EOI | 0xfe), RDMSR(MSR_SINT(14)), EXPECT_LAST(~0ull, SINT_MASKED | 3),
                RDMSR(MSR_SINT(13)), EXPECT_LAST(~0ull, SINT_POLLING | 16), EOM);
    EXPECT_SCRIPT_END(&vm);
}

TEST_ROWS(synic_faults, "synic: MSRs and values that fault", synic_modes)
{
    SYNIC_GUEST(vm, row, WRMSR_GP(MSR_SVERSION, 1), WRMSR_GP(MSR_SCONTROL, 2), WRMSR_GP(MSR_SIMP, SIM_PAGE | 3),
                WRMSR_GP(MSR_SIMP, 1ull << 52 | 1), WRMSR_GP(MSR_SIEFP, SIEF_PAGE | 0x801), WRMSR_GP(MSR_SINT(0), 0),
                WRMSR_GP(MSR_SINT(7), 15), WRMSR_GP(MSR_SINT(15), SINT_AUTO_EOI | 8),
                WRMSR_GP(MSR_SINT(3), 0x100 | VEC), WRMSR_GP(MSR_SINT(3), 1ull << 40 | VEC), RDMSR_GP(0x40000085),
                RDMSR_GP(0x4000008f), WRMSR_GP(0x400000a0, 0), RDMSR(MSR_SINT(3)), EXPECT_LAST(~0ull, SINT_MASKED),
                RDMSR(MSR_SIMP), EXPECT_LAST(~0ull, 0));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->counts[13], 13);
}

TEST_ROWS(synic_absent, "synic: without the feature there is none", apic_modes)
{
    WHV_REGISTER_VALUE value = {.Reg64 = 0};
    UINT32 written = 0;
    SYNIC_GUEST(vm, row, RDMSR_GP(MSR_SCONTROL), WRMSR_GP(MSR_SIMP, SIM_PAGE | 1), RDMSR_GP(MSR_SINT(0)),
                WRMSR_GP(MSR_EOM, 0));

    EXPECT_SCRIPT_END(&vm);
    EXPECT_HR(synic_post(&vm, 0, 1), ERROR_HV_INVALID_SYNIC_STATE);
    EXPECT_HR(synic_signal(&vm, 0, 0, NULL), ERROR_HV_INVALID_SYNIC_STATE);
    EXPECT_HR(WHvGetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicMessagePage, page,
                                          sizeof(page), &written),
              ERROR_HV_OPERATION_DENIED);
    EXPECT_HR(WHvSetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicEventFlagPage, page,
                                          sizeof(page)),
              ERROR_HV_OPERATION_DENIED);
    EXPECT_HR(vm_try_get(&vm, WHvRegisterScontrol, &value), WHV_E_INVALID_VP_REGISTER_NAME);
    value.Reg64 = 1ull << 50;
    EXPECT(vm_try_set(&vm, WHvX64RegisterDeliverabilityNotifications, value) != S_OK);
}

TEST_ROWS(synic_names, "synic: registers by name are the guest's MSRs", synic_modes)
{
    WHV_REGISTER_VALUE value = {.Reg64 = 15};
    SYNIC_GUEST(vm, row, SYNIC_ON, SINT(4, VEC), EXIT, RDMSR(MSR_SINT(4)), EXPECT_LAST(~0ull, SINT_AUTO_EOI | 0x61),
                RDMSR(MSR_SCONTROL), EXPECT_LAST(~0ull, 0), RDMSR(MSR_SIMP), EXPECT_LAST(~0ull, SIEF_PAGE),
                RDMSR(MSR_SIEFP), EXPECT_LAST(~0ull, SIM_PAGE | 1), LOAD(SLOT(1)), EXPECT_LAST(ONES, 0x22));

    *vm_u32(&vm, SLOT(1)) = 0x11;
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    EXPECT_EQ(vm_get(&vm, WHvRegisterSint0 + 4), VEC);
    EXPECT_EQ(vm_get(&vm, WHvRegisterSint15), SINT_MASKED);
    EXPECT_EQ(vm_get(&vm, WHvRegisterSversion), 1);
    EXPECT_EQ(vm_get(&vm, WHvRegisterSimp), SIM_PAGE | 1);
    EXPECT_EQ(vm_get(&vm, WHvRegisterEom), 0);
    EXPECT_HR(vm_try_set(&vm, WHvRegisterSint0 + 4, value), ERROR_HV_INVALID_PARAMETER);
    vm_set(&vm, WHvRegisterSint0 + 4, SINT_AUTO_EOI | 0x61);
    vm_set(&vm, WHvRegisterScontrol, 0);
    vm_set(&vm, WHvRegisterSimp, SIEF_PAGE);
    vm_set(&vm, WHvRegisterSiefp, SIM_PAGE | 1);
    vm_set(&vm, WHvRegisterEom, 0);
    memset(page, 0, sizeof(page));
    page[256] = 0x22;
    EXPECT_OK(WHvSetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicEventFlagPage, page,
                                          sizeof(page)));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, SLOT(1)), 0x11); /* behind the page */
}

/* ----------------------------------------------------------------------------------- messages */

/* Sixteen messages wait; their interrupts come highest vector first, and each is in its slot. */
TEST_ROWS(synic_messages, "synic: a message to each SINT, taken by priority", synic_modes)
{
    struct apic_op ops[32];
    uint16_t log[32];
    size_t n = 0;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 1));
    for (uint32_t i = 0; i < 16; i++)
        ops[n++] = (struct apic_op)SINT(i, 0x41 + i * 11);
    SCRIPT(&vm, 0, SYNIC_ON);
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    ops[n++] = (struct apic_op)EXIT;
    ops[n++] = (struct apic_op)SPIN(0x41, 1);
    ops[n++] = (struct apic_op)LOAD(SLOT(9) + 252);
    ops[n++] = (struct apic_op)EXPECT_LAST(ONES, 0x09090909);
    apic_set_bare_script(&vm, 0, ops, n);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    for (uint32_t i = 0; i < 16; i++)
        EXPECT_OK(synic_post(&vm, i, 0x100 + i));
    for (uint32_t i = 0; i < 16; i++) {
        log[2 * i] = (uint16_t)(0x41 + (15 - i) * 11);
        log[2 * i + 1] = (uint16_t)(0x100 | log[2 * i]);
    }
    EXPECT_SCRIPT_END(&vm);
    apic_check_log(&vm, 0, log, COUNT(log), __FILE__, __LINE__);
    EXPECT_OK(WHvGetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicMessagePage, page,
                                          sizeof(page), NULL));
    for (uint32_t i = 0; i < 16; i++) {
        EXPECT_EQ(*(uint32_t *)(page + 256 * i), 0x100 + i);
        EXPECT_EQ(page[256 * i + 4], 240);
        EXPECT_EQ(page[256 * i + 5], 0);
        EXPECT_EQ(page[256 * i + 16], i);
    }
}

TEST_ROWS(synic_refused, "synic: what the guest has not enabled takes neither message nor event", synic_modes)
{
    SYNIC_GUEST(vm, row, STI, SINT(1, VEC), WRMSR(MSR_SIMP, SIM_PAGE | 1), WRMSR(MSR_SIEFP, SIEF_PAGE | 1), EXIT,
                WRMSR(MSR_SCONTROL, 1), EXIT, WRMSR(MSR_SIMP, SIM_PAGE), WRMSR(MSR_SIEFP, 0), EXIT, DELAY(200),
                COUNT_IS(VEC, 0), WRMSR(MSR_SIMP, SIM_PAGE | 1), LOAD(SLOT(1)), EXPECT_LAST(ONES, 0), LOAD(SLOT(2)),
                EXPECT_LAST(ONES, 0));

    for (int step = 0; step < 3; step++) {
        REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
        EXPECT_HR(synic_post(&vm, step == 1 ? 2 : 1, 1), ERROR_HV_INVALID_SYNIC_STATE);
        EXPECT_HR(synic_signal(&vm, step == 1 ? 2 : 1, 5, NULL), ERROR_HV_INVALID_SYNIC_STATE);
    }
    EXPECT_HR(synic_post(&vm, 16, 1), E_INVALIDARG);
    EXPECT_HR(synic_post(&vm, 1, 0), E_INVALIDARG);
    EXPECT_HR(synic_signal(&vm, 1, 2048, NULL), E_INVALIDARG);
    EXPECT_HR(synic_signal(&vm, 16, 0, NULL), E_INVALIDARG);
    EXPECT_SCRIPT_END(&vm);
}

TEST_ROWS(synic_polling, "synic: polling SINTs get messages and events without interrupts", synic_modes)
{
    BOOL newly = FALSE;
    SYNIC_GUEST(vm, row, STI, SYNIC_ON, SINT(1, SINT_POLLING | VEC), SINT(2, SINT_POLLING | SINT_MASKED | VEC), EXIT,
                DELAY(200), COUNT_IS(VEC, 0), LOAD(SLOT(1)), EXPECT_LAST(ONES, 7), LOAD(SLOT(2)), EXPECT_LAST(ONES, 8),
                LOAD(EVENT_WORD(1, 40)), EXPECT_LAST(ONES, 1u << 8));

    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    EXPECT_OK(synic_post(&vm, 1, 7));
    EXPECT_OK(synic_post(&vm, 2, 8));
    EXPECT_OK(synic_signal(&vm, 1, 40, &newly));
    EXPECT_EQ(newly, TRUE);
    EXPECT_SCRIPT_END(&vm);
}

/* Without an EOI by the guest the next ones come, and nothing is in service. */
TEST_ROWS(synic_auto_eoi, "synic: AutoEOI: the delivery is the end", synic_modes)
{
    SYNIC_GUEST(vm, row, STI, SYNIC_ON, SINT(3, SINT_AUTO_EOI | VEC), EXIT, SPIN(VEC, 1), READ(BANK(APIC_ISR, VEC)),
                EXPECT_LAST(ONES, 0), SET(SLOT(3), 0), EXIT, SPIN(VEC, 2), SET(SLOT(3), 0), SINT(3, VEC), EXIT,
                SPIN(VEC, 3), READ(BANK(APIC_ISR, VEC)), EXPECT_LAST(ONES, BIT_OF(VEC)), WRITE(APIC_EOI, 0),
                READ(BANK(APIC_ISR, VEC)), EXPECT_LAST(ONES, 0), COUNT_IS(VEC, 3));

    apic_area(&vm, 0)->keep = VEC; /* its handler does not end it */
    for (uint32_t i = 1; i <= 3; i++) {
        REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
        EXPECT_OK(synic_post(&vm, 3, i));
    }
    EXPECT_SCRIPT_END(&vm);
}

/* ------------------------------------------------------------------------------- taken slots */

static const struct {
    const char *name;
    uint32_t mode;
    struct apic_op end;
} ends[] = {
    {"EOM, xAPIC", 0, EOM},
    {"EOM, x2APIC", 1, EOM},
    {"EOI, xAPIC", 0, WRITE(APIC_EOI, 0)},
    {"EOI, x2APIC", 1, WRITE(APIC_EOI, 0)},
};

TEST_ROWS(synic_full, "synic: a taken slot: SynicSintDeliverable when the guest has emptied it", ends)
{
    SYNIC_GUEST(vm, &synic_modes[row->mode], STI, SYNIC_ON, SINT(5, VEC), EXIT, SPIN(VEC, 1), LOAD(SLOT(5)),
                EXPECT_LAST(ONES, 0x31), LOAD(SLOT_FLAGS(5)), EXPECT_LAST(SLOT_PENDING, SLOT_PENDING), SET(SLOT(5), 0),
                SET(READY, 1), row->end, SPIN(VEC, 2), LOAD(SLOT(5)), EXPECT_LAST(ONES, 0x32), LOAD(SLOT_FLAGS(5)),
                EXPECT_LAST(SLOT_PENDING, 0), COUNT_IS(VEC, 2));

    apic_area(&vm, 0)->keep = row->end.op == OP_WRITE ? VEC : ~0u;
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    EXPECT_OK(synic_post(&vm, 5, 0x31));
    EXPECT_HR(synic_post(&vm, 5, 0x32), ERROR_HV_OBJECT_IN_USE);
    synic_notify(&vm, 1u << 5 | 1u << 6);
    REQUIRE(EXPECT_DELIVERABLE(&vm, 1u << 5));
    EXPECT_EQ(*vm_u32(&vm, READY), 1);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDeliverabilityNotifications), 1ull << 54); /* 6 is masked */
    EXPECT_OK(synic_post(&vm, 5, 0x32));
    EXPECT_SCRIPT_END(&vm);
}

/* No instruction of the guest's runs when the slot is free already. */
TEST_ROWS(synic_free, "synic: a free slot: SynicSintDeliverable at once, and once", synic_modes)
{
    SYNIC_GUEST(vm, row, SYNIC_ON, SINT(5, VEC), SINT(9, VEC + 1), EXIT, SET(READY, 1), EXIT, SINT(10, VEC + 2));

    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    synic_notify(&vm, 1u << 5 | 1u << 9);
    REQUIRE(EXPECT_DELIVERABLE(&vm, 1u << 5 | 1u << 9));
    EXPECT_EQ(*vm_u32(&vm, READY), 0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDeliverabilityNotifications), 0);
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    synic_notify(&vm, 1u << 10); /* until the guest opens it */
    EXPECT_DELIVERABLE(&vm, 1u << 10);
    EXPECT_SCRIPT_END(&vm);
}

TEST_ROWS(synic_free_halted, "synic: a free slot of a VP that halts: SynicSintDeliverable, and it halts on",
          synic_modes)
{
    static struct runner runner;
    SYNIC_GUEST(vm, row, SYNIC_ON, SINT(5, VEC), SET(READY, 1), HALT(VEC, 1));

    REQUIRE(runner_start(&runner, &vm, 0, CPU_ANY));
    if (apic_wait_word(&vm, READY, 1))
        thread_sleep_ns(3 * NS_PER_MS);
    EXPECT_CANCEL(&runner);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 2);
    synic_notify(&vm, 1u << 5);
    REQUIRE(EXPECT_DELIVERABLE(&vm, 1u << 5));
    EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 2);
    EXPECT_OK(synic_post(&vm, 5, 1));
    EXPECT_SCRIPT_END(&vm);
}

/* ------------------------------------------------------------------------------------- events */

TEST_ROWS(synic_events, "synic: an event flag interrupts when it is newly set", synic_modes)
{
    BOOL newly = 2;
    SYNIC_GUEST(vm, row, STI, SYNIC_ON, SINT(2, VEC), SINT(15, VEC + 1), EXIT, SPIN(VEC, 1), SPIN(VEC + 1, 1),
                DELAY(200), COUNT_IS(VEC, 1), LOAD(EVENT_WORD(2, 0)), EXPECT_LAST(ONES, 1), LOAD(EVENT_WORD(2, 33)),
                EXPECT_LAST(ONES, 2), LOAD(EVENT_WORD(15, 2047)), EXPECT_LAST(ONES, 1u << 31),
                SET(EVENT_WORD(2, 33), 0), EXIT, SPIN(VEC, 2), LOAD(EVENT_WORD(2, 33)), EXPECT_LAST(ONES, 2),
                COUNT_IS(VEC, 2), EXIT, DELAY(200), COUNT_IS(VEC, 2));

    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    EXPECT_OK(synic_signal(&vm, 2, 0, NULL));
    EXPECT_OK(synic_signal(&vm, 2, 33, &newly));
    EXPECT_EQ(newly, TRUE);
    EXPECT_OK(synic_signal(&vm, 2, 33, &newly));
    EXPECT_EQ(newly, FALSE);
    EXPECT_OK(synic_signal(&vm, 15, 2047, &newly));
    EXPECT_EQ(newly, TRUE);
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    EXPECT_OK(synic_signal(&vm, 2, 33, &newly));
    EXPECT_EQ(newly, TRUE);
    REQUIRE(EXPECT_SCRIPT_EXIT(&vm));
    EXPECT_OK(synic_signal(&vm, 2, 33, &newly));
    EXPECT_EQ(newly, FALSE);
    EXPECT_SCRIPT_END(&vm);
}

/* ------------------------------------------------------------------- while the VP is being run */

static const struct {
    const char *name;
    uint32_t mode;
    bool halts, is_event;
} targets[] = {
    {"message, spins", 1, false, false}, {"message, halts", 1, true, false},  {"event, spins", 1, false, true},
    {"event, halts", 1, true, true},     {"message, xAPIC", 0, false, false}, {"event, halts, xAPIC", 0, true, true},
};

TEST_ROWS(synic_running, "synic: from another thread to a VP that is being run", targets)
{
    const struct apic_op wait = row->halts ? (struct apic_op)HALT(VEC, 1) : (struct apic_op)SPIN(VEC, 1);
    const uint64_t place = row->is_event ? EVENT_WORD(4, 3) : SLOT(4);
    static struct runner runner;
    SYNIC_GUEST(vm, &synic_modes[row->mode], SYNIC_ON, SINT(4, VEC), STI, SET(READY, 1), wait, LOAD(place),
                EXPECT_LAST(ONES, 8), COUNT_IS(VEC, 1));

    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&runner, &vm, 0, other_cpu()));
    if (apic_wait_word(&vm, READY, 1)) {
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(runner.ended, 0);
        EXPECT_OK(row->is_event ? synic_signal(&vm, 4, 3, NULL) : synic_post(&vm, 4, 8));
    }
    EXPECT_RUNNER_END(&runner);
    thread_set_cpu(CPU_ANY);
}

/* -------------------------------------------------------------------------------------- state */

static bool move_state(struct vm *from, struct vm *to, WHV_VIRTUAL_PROCESSOR_STATE_TYPE type)
{
    UINT32 written = 0;

    return EXPECT_OK(WHvGetVirtualProcessorState(from->partition, 0, type, page, sizeof(page), &written)) &&
           EXPECT_EQ(written, sizeof(page)) &&
           EXPECT_OK(WHvSetVirtualProcessorState(to->partition, 0, type, page, sizeof(page))) &&
           EXPECT_OK(WHvGetVirtualProcessorState(to->partition, 0, type, other_page, sizeof(other_page), NULL)) &&
           EXPECT_BYTES(other_page, page, sizeof(page));
}

/* A message and an event move with the registers, before or after them, and the guest goes on there. */
static const struct {
    const char *name;
    bool pages_first;
} orders[] = {{"pages, registers", true}, {"registers, pages", false}};

static void move_registers(struct vm *from, struct vm *to)
{
    static const WHV_REGISTER_NAME names[] = {WHvRegisterSimp, WHvRegisterSiefp, WHvRegisterScontrol,
                                              WHvRegisterSint0 + 7};

    for (size_t i = 0; i < COUNT(names); i++)
        vm_set(to, names[i], vm_get(from, names[i]));
}

TEST_ROWS(synic_state, "synic: pages and registers move to another partition", orders)
{
    SYNIC_GUEST(from, &synic_modes[1], SYNIC_ON, SINT(7, VEC));
    SYNIC_GUEST(to, &synic_modes[1], LOAD(SLOT(7)), EXPECT_LAST(ONES, 0x66), LOAD(SLOT(7) + 16),
                EXPECT_LAST(ONES, 0x66666666), LOAD(EVENT_WORD(7, 100)), EXPECT_LAST(ONES, 1u << 4), SET(SLOT(7), 0),
                EXIT, STI, SPIN(VEC, 1), LOAD(SLOT(7)), EXPECT_LAST(ONES, 0x67));

    REQUIRE(EXPECT_SCRIPT_END(&from));
    EXPECT_OK(synic_post(&from, 7, 0x66));
    EXPECT_OK(synic_signal(&from, 7, 100, NULL));
    if (!row->pages_first)
        move_registers(&from, &to);
    REQUIRE(move_state(&from, &to, WHvVirtualProcessorStateTypeSynicMessagePage));
    REQUIRE(move_state(&from, &to, WHvVirtualProcessorStateTypeSynicEventFlagPage));
    if (row->pages_first)
        move_registers(&from, &to);
    EXPECT_HR(synic_post(&to, 7, 0x67), ERROR_HV_OBJECT_IN_USE);
    REQUIRE(EXPECT_SCRIPT_EXIT(&to));
    EXPECT_OK(synic_post(&to, 7, 0x67));
    EXPECT_SCRIPT_END(&to);
}

TEST_ROWS(synic_reset, "synic: a reset closes it and empties its pages", synic_modes)
{
    SYNIC_GUEST(vm, row, SYNIC_ON, SINT(1, SINT_AUTO_EOI | VEC));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(synic_post(&vm, 1, 5));
    EXPECT_OK(synic_signal(&vm, 1, 5, NULL));
    EXPECT_OK(WHvResetPartition(vm.partition));
    EXPECT_HR(synic_post(&vm, 1, 5), ERROR_HV_INVALID_SYNIC_STATE);
    EXPECT_EQ(vm_get(&vm, WHvRegisterSimp), 0);
    EXPECT_EQ(vm_get(&vm, WHvRegisterSint0 + 1), SINT_MASKED);
    EXPECT_OK(WHvGetVirtualProcessorState(vm.partition, 0, WHvVirtualProcessorStateTypeSynicMessagePage, page,
                                          sizeof(page), NULL));
    memset(other_page, 0, sizeof(other_page));
    EXPECT_BYTES(page, other_page, sizeof(page));
}

/* ------------------------------------------------------------------------------- several VPs */

#define OTHER_SIM_PAGE 0x62000ull

/* Runs VP 0's script from its begin, without what it began with before. */
#define RESTART(vm, ...)                        \
    do {                                        \
        BARE_SCRIPT(vm, 0, __VA_ARGS__);        \
        vm_set(vm, WHvX64RegisterRip, VM_CODE); \
        EXPECT_SCRIPT_END(vm);                  \
    } while (0)

/* All see all pages; each VP has its own registers, messages and interrupts. A VP's page goes with it. */
TEST_ROWS(synic_two, "synic: two VPs have one each", synic_modes)
{
    const uint64_t message[2] = {0x55, 0};
    WHV_RUN_VP_EXIT_CONTEXT exit;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2));
    *vm_u32(&vm, OTHER_SIM_PAGE + 256) = 0x77;
    SCRIPT(&vm, 0, STI, SYNIC_ON, SINT(1, VEC));
    SCRIPT(&vm, 1, STI, WRMSR(MSR_SIMP, OTHER_SIM_PAGE | 1), WRMSR(MSR_SCONTROL, 1), SINT(1, VEC), EXIT, SPIN(VEC, 1));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    REQUIRE(EXPECT_OK(vm_run_vp(&vm, 1, &exit)) && apic_check_end(&vm, 1, &exit, __FILE__, __LINE__));
    vm_set_vp(&vm, 1, WHvX64RegisterRip, exit.VpContext.Rip + exit.VpContext.InstructionLength);
    EXPECT_OK(WHvPostVirtualProcessorSynicMessage(vm.partition, 1, 1, message, sizeof(message)));
    RESTART(&vm, DELAY(100), COUNT_IS(VEC, 0), LOAD(SLOT(1)), EXPECT_LAST(ONES, 0), LOAD(OTHER_SIM_PAGE + 256),
            EXPECT_LAST(ONES, 0x55));
    EXPECT_OK(vm_run_vp(&vm, 1, &exit));
    apic_check_end(&vm, 1, &exit, __FILE__, __LINE__);
    EXPECT_OK(WHvDeleteVirtualProcessor(vm.partition, 1));
    EXPECT_HR(WHvPostVirtualProcessorSynicMessage(vm.partition, 1, 1, message, sizeof(message)),
              WHV_E_VP_DOES_NOT_EXIST);
    RESTART(&vm, LOAD(OTHER_SIM_PAGE + 256), EXPECT_LAST(ONES, 0x77));
    EXPECT_OK(WHvCreateVirtualProcessor(vm.partition, 1, 0));
    EXPECT_HR(WHvPostVirtualProcessorSynicMessage(vm.partition, 1, 1, message, sizeof(message)),
              ERROR_HV_INVALID_SYNIC_STATE);
    RESTART(&vm, LOAD(OTHER_SIM_PAGE + 256), EXPECT_LAST(ONES, 0x77), DELAY(100), COUNT_IS(VEC, 0));
}
