/* SPDX-License-Identifier: MIT */
/*
 * What else can be sent to local APICs than vectors, what the client hears of guests' messages and of writes to
 * registers, whom a destination addresses, windows, and storms of interrupts.
 */
#include "apic.h"
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/module.h>

#define ONES   0xffffffffull
#define READY  WORD(0)
#define GO     WORD(1)
#define MASKED 0x10000ull
#define LEVEL  0x8000ull
#define EXTINT 0x700ull

static struct runner runners[2];

/* --------------------------------------------------------------------------------- the inputs */

static const struct input_row {
    const char *name;
    WHV_INTERRUPT_TYPE type;
    uint32_t entry;  /* of the LVT */
    uint8_t vector;  /* asked for */
    uint8_t counted; /* the one that comes; 0: none does */
} inputs[] = {
    {"LINT1, NMI", WHvX64InterruptTypeLocalInt1, 0x400, 0, 2},
    {"LINT1, fixed", WHvX64InterruptTypeLocalInt1, 0x051, 0x61, 0x51},
    {"LINT1, fixed, level", WHvX64InterruptTypeLocalInt1, LEVEL | 0x051, 0, 0x51},
    {"LINT1, ExtINT", WHvX64InterruptTypeLocalInt1, EXTINT | 0x51, 0x31, 0x31},
    {"LINT1, SMI without a trap", WHvX64InterruptTypeLocalInt1, 0x251, 0x31, 0},
    {"LINT1, a mode that is none", WHvX64InterruptTypeLocalInt1, 0x351, 0x31, 0},
    {"LINT1, masked", WHvX64InterruptTypeLocalInt1, MASKED | 0x400, 0, 0},
    {"LINT0, NMI", WHvxInterruptTypeLocalInt0, 0x400, 0, 2},
    {"LINT0, fixed", WHvxInterruptTypeLocalInt0, 0x051, 0x61, 0x51},
    {"LINT0, fixed, level", WHvxInterruptTypeLocalInt0, LEVEL | 0x051, 0, 0x51},
    {"LINT0, ExtINT", WHvxInterruptTypeLocalInt0, EXTINT, 0x31, 0x31},
    {"LINT0, masked", WHvxInterruptTypeLocalInt0, MASKED | EXTINT, 0x31, 0},
    {"ExtInt, LINT0 as ExtINT", WHvxInterruptTypeExtInt, EXTINT, 0x31, 0x31},
    {"ExtInt, LINT0 as fixed", WHvxInterruptTypeExtInt, 0x051, 0x31, 0},
    {"ExtInt, LINT0 masked", WHvxInterruptTypeExtInt, MASKED | EXTINT, 0x31, 0},
};

static uint32_t entry_of(const struct input_row *r)
{
    return r->type == WHvX64InterruptTypeLocalInt1 ? APIC_LVT_LINT1 : APIC_LVT_LINT0;
}

static void check_eoi(struct vm *vm, uint32_t vector)
{
    if (!EXPECT_EXIT(vm, X64ApicEoi))
        return;
    EXPECT_EQ(vm->exit.ApicEoi.InterruptVector, vector);
}

/* Sent while the VP is not run, twice; it arrives once for each time that it was sent. Level: until the EOI, told. */
static void assert_input(const struct apic_mode *mode, const struct input_row *r)
{
    const bool is_level = r->entry & LEVEL && r->counted == 0x51;
    const uint64_t remote_irr = is_level ? 0x4000 : 0;
    const uint64_t once = r->counted ? 1 : 0;
    APIC_GUEST(vm, mode, 1, CLI, WRITE(entry_of(r), r->entry), EXIT, DELAY(20), READ(entry_of(r)),
               EXPECT_LAST(ONES, r->entry | remote_irr), WRITE(entry_of(r), r->entry), READ(entry_of(r)),
               EXPECT_LAST(ONES, r->entry | remote_irr), SPIN(r->counted, once), DELAY(100), COUNT_IS(r->counted, once),
               READ(entry_of(r)), EXPECT_LAST(ONES, r->entry), EXIT, SPIN(r->counted, 2 * once), DELAY(100),
               COUNT_IS(r->counted, 2 * once));

    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(EXPECT_SCRIPT_END(&vm));
        vm_step(&vm);
        EXPECT_OK(apic_request(&vm, r->type, i, false, i ? 1 : 0, r->vector)); /* logically: to nobody, yet */
        if (i)
            EXPECT_OK(apic_request(&vm, r->type, false, false, 0, r->vector));
        if (is_level)
            check_eoi(&vm, r->counted);
    }
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->logged, r->counted ? 4 : 0);
}

TEST_ROWS(apic_input_xapic, "apic: xAPIC: WHvRequestInterrupt: an input", inputs)
{
    assert_input(&apic_modes[0], row);
}

TEST_ROWS(apic_input_x2apic, "apic: x2APIC: WHvRequestInterrupt: an input", inputs)
{
    assert_input(&apic_modes[1], row);
}

/* To a VP that runs, and to one that halts. */
static void input_to(const struct apic_mode *mode, const struct input_row *r, bool halts)
{
    VM(vm);

    if (!r->counted || r->entry & LEVEL)
        return;
    REQUIRE(apic_create(&vm, mode, 1));
    if (halts)
        SCRIPT(&vm, 0, WRITE(entry_of(r), r->entry), STI, SET(READY, 1), HALT(r->counted, 1), DELAY(50),
               COUNT_IS(r->counted, 1));
    else
        SCRIPT(&vm, 0, WRITE(entry_of(r), r->entry), STI, SET(READY, 1), SPIN(r->counted, 1), DELAY(50),
               COUNT_IS(r->counted, 1));
    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&runners[0], &vm, 0, other_cpu()));
    if (apic_wait_word(&vm, READY, 1)) {
        thread_sleep_ns(NS_PER_MS);
        EXPECT_OK(apic_request(&vm, r->type, false, false, 0xff, r->vector));
    }
    EXPECT_RUNNER_END(&runners[0]);
    thread_set_cpu(CPU_ANY);
}

TEST_ROWS(apic_input_spin, "apic: WHvRequestInterrupt: an input of a VP that spins", inputs)
{
    input_to(&apic_modes[1], row, false);
}

TEST_ROWS(apic_input_halt, "apic: WHvRequestInterrupt: an input of a VP that halts", inputs)
{
    input_to(&apic_modes[0], row, true);
}

TEST_ROWS(apic_input_init, "apic: WHvRequestInterrupt: LINT1 with INIT", apic_modes)
{
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2));
    SCRIPT(&vm, 1, WRITE(APIC_LVT_LINT1, 0x500), SET(READY, 1), WAIT(GO, 1));
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
    if (apic_wait_word(&vm, READY, 1)) {
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeLocalInt1, false, false, 1, 0));
        thread_sleep_ns(5 * NS_PER_MS);
        *vm_u32(&vm, GO) = 1;
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(runners[1].ended, 0);
    }
    EXPECT_CANCEL(&runners[1]);
    EXPECT_EQ(vm_get_vp(&vm, 1, WHvRegisterInternalActivityState), 1);
}

/* -------------------------------------------------------------------------- external interrupts */

/* They wait for nothing but RFLAGS.IF, and do not end: what the handler's EOI ends is what was in service before. */
TEST_ROWS(apic_ext_int_priority, "apic: ExtInt: neither the task priority nor ISR hold it back, and it is not in ISR",
          apic_modes)
{
    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_LINT0, EXTINT), CR8(15), EXIT, STI, SPIN(0x31, 1), COUNT_IS(0xe1, 0),
               READ(BANK(APIC_ISR, 0x31)), EXPECT_LAST(BIT_OF(0x31), 0), CR8(0), SPIN(0xe1, 1), COUNT_IS(0x31, 1));

    apic_area(&vm, 0)->keep = 0xe1; /* in service until the end */
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0xe1));
    EXPECT_OK(apic_request(&vm, WHvxInterruptTypeExtInt, false, false, 0, 0x31));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_LOG(&vm, 0, 0x31, 0x131, 0xe1, 0x1e1);
    apic_area(&vm, 0)->keep = 0x32;
    SCRIPT(&vm, 0, STI, SPIN(0x32, 1), READ(BANK(APIC_ISR, 0xe1)), EXPECT_LAST(BIT_OF(0xe1), BIT_OF(0xe1)));
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    vm_set(&vm, WHvX64RegisterRdi, apic_area(&vm, 0)->self);
    EXPECT_OK(apic_request(&vm, WHvxInterruptTypeExtInt, false, false, 0, 0x32));
    EXPECT_SCRIPT_END(&vm);
}

/* All of those that wait, the lowest first, equal ones once; NMIs before and fixed ones after them. */
TEST_ROWS(apic_ext_int_order, "apic: ExtInt: the order of simultaneous events", apic_modes)
{
    static const uint8_t sent[] = {0x50, 0x30, 0xff, 0x40, 0x30};
    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_LINT0, EXTINT), WRITE(APIC_LVT_LINT1, 0x400), EXIT, CLI, DELAY(50),
               COUNT_IS(0x30, 0), EXIT, STI, SPIN(0x61, 1), DELAY(50));

    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(EXPECT_SCRIPT_END(&vm));
        vm_step(&vm);
        for (unsigned n = 0; i == 0 && n < COUNT(sent); n++)
            EXPECT_OK(apic_request(&vm, WHvxInterruptTypeExtInt, false, false, 0, sent[n]));
    }
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent), 0x300b); /* the first of them, as an ExtInt event */
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x61));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeLocalInt1, false, false, 0, 0));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 2, 0x102, 0x30, 0x130, 0x40, 0x140, 0x50, 0x150, 0xff, 0x1ff, 0x61, 0x161);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent), 0);
}

/* What waits goes along with the state, by PendingEvent; and the client may drop it. */
TEST_ROWS(apic_ext_int_state, "apic: ExtInt: PendingEvent shows it, carries it over, and drops it", apic_modes)
{
    static uint8_t page[PAGE_SIZE];
    VM(other);
    APIC_GUEST(vm, row, 1, WRITE(APIC_LVT_LINT0, EXTINT), CLI, EXIT, STI, DELAY(100), COUNT_IS(0x31, 0));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    EXPECT_OK(apic_request(&vm, WHvxInterruptTypeExtInt, false, false, 0, 0x31));
    EXPECT_OK(WHvGetVirtualProcessorInterruptControllerState2(vm.partition, 0, page, PAGE_SIZE, NULL));
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent), 0x310b);
    REQUIRE(apic_create(&other, row, 1));
    SCRIPT(&other, 0, STI, SPIN(0x31, 1), DELAY(50), COUNT_IS(0x31, 1));
    vm_set(&other, WHvRegisterPendingEvent, vm_get(&vm, WHvRegisterPendingEvent));
    EXPECT_SCRIPT_END(&other);
    vm_set(&vm, WHvRegisterPendingEvent, 0);
    EXPECT_SCRIPT_END(&vm);
}

/* The inputs are the processor's own INTR and NMI while the APIC is off. Handlers do no EOI, which would reach memory.
 */
static const struct {
    const char *name;
    WHV_INTERRUPT_TYPE type;
    uint8_t counted;
} off_rows[] = {
    {"ExtInt", WHvxInterruptTypeExtInt, 0x31},
    {"LocalInt0", WHvxInterruptTypeLocalInt0, 0x31},
    {"LocalInt1", WHvX64InterruptTypeLocalInt1, 2},
    {"NMI: no APIC takes it", WHvX64InterruptTypeNmi, 0},
};

TEST_ROWS(apic_off, "apic: WHvRequestInterrupt while the APIC is off", off_rows)
{
    for (unsigned i = 0; i < COUNT(apic_modes); i++) {
        APIC_GUEST(vm, &apic_modes[i], 1, WRMSR(MSR_APIC_BASE, BASE_DEFAULT | BASE_BSP), EXIT, STI, DELAY(100),
                   COUNT_IS(row->counted, row->counted ? 1 : 0));

        apic_area(&vm, 0)->keep = 0x31;
        REQUIRE(EXPECT_SCRIPT_END(&vm));
        vm_step(&vm);
        EXPECT_OK(apic_request(&vm, row->type, false, false, 0, 0x31));
        EXPECT_SCRIPT_END(&vm);
        EXPECT_EQ(apic_area(&vm, 0)->logged, row->counted ? 2 : 0);
    }
}

/* --------------------------------------------------------------------------------------- traps */

#define TRAP_SMI       (1ull << 4)
#define TRAP_INIT_SIPI (1ull << 6)

static void check_icr(struct vm *vm, WHV_RUN_VP_EXIT_REASON reason, uint64_t icr)
{
    vm_run(vm);
    if (!vm_check_reason(vm, reason, __FILE__, __LINE__))
        return;
    EXPECT_EQ(vm->exit.ApicSmi.ApicIcr, icr); /* both contexts are this one */
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, 0);
}

static uint64_t icr_of(const struct apic_mode *mode, uint64_t icr)
{
    return mode->is_x2apic ? icr : (uint32_t)icr | icr >> 32 << 56;
}

TEST_ROWS(apic_smi, "apic: SMIs exit: the guest's, the client's, and by LINT1", apic_modes)
{
    const uint64_t own = SMI_ | SELF;
    APIC_GUEST(vm, row, 1, ICR(SMI_ | TO(0)), ICR(SMI_ | OTHERS | TO(3)), EXIT, ICR(SMI_ | TO(0)),
               WRITE(APIC_LVT_LINT1, 0x200), EXIT, CLI, REST);

    EXPECT_HR(apic_request(&vm, WHvxInterruptTypeSmi, false, false, 0, 0), E_INVALIDARG);
    vm_set_exits(&vm, TRAP_SMI);
    check_icr(&vm, WHvRunVpExitReasonX64ApicSmiTrap, icr_of(row, SMI_ | TO(0)));
    check_icr(&vm, WHvRunVpExitReasonX64ApicSmiTrap, icr_of(row, SMI_ | OTHERS | TO(3)));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    vm_set_exits(&vm, 0); /* without the trap the guest's next SMI goes to nobody, and it runs on to its end */
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    vm_set_exits(&vm, TRAP_SMI);
    EXPECT_OK(apic_request(&vm, WHvxInterruptTypeSmi, false, false, 0, 0));
    EXPECT_OK(apic_request(&vm, WHvxInterruptTypeSmi, false, false, 0, 0)); /* pending already */
    check_icr(&vm, WHvRunVpExitReasonX64ApicSmiTrap, own);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeLocalInt1, false, false, 0, 0));
    check_icr(&vm, WHvRunVpExitReasonX64ApicSmiTrap, own);
    REQUIRE(runner_start(&runners[0], &vm, 0, CPU_ANY));
    thread_sleep_ns(2 * NS_PER_MS);
    EXPECT_EQ(runners[0].ended, 0);
    EXPECT_OK(apic_request(&vm, WHvxInterruptTypeSmi, true, false, 0xff, 0)); /* it halts, interrupts off */
    EXPECT_RUNNER_EXIT(&runners[0], X64ApicSmiTrap);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInternalActivityState), 2); /* still halted */
}

/* The client passes them on itself. */
TEST_ROWS(apic_init_sipi_trap, "apic: INIT and SIPI exit, and nobody gets them but by the client", apic_modes)
{
    VM(vm);

    REQUIRE(apic_create_waiting(&vm, row, 2));
    vm_set_exits(&vm, TRAP_INIT_SIPI);
    SCRIPT(&vm, 0, ICR(INIT_ | TO(1)), ICR(SIPI_ | TO(1) | SIPI_VECTOR), ICR(0x8500 | TO(1)), EXIT, ICR(INIT_ | OTHERS),
           WAIT(READY, 1));
    SCRIPT(&vm, 1, SET(READY, 1));
    check_icr(&vm, WHvRunVpExitReasonX64ApicInitSipiTrap, icr_of(row, INIT_ | TO(1)));
    EXPECT_EQ(vm_get_vp(&vm, 1, WHvRegisterInternalActivityState), 1);
    check_icr(&vm, WHvRunVpExitReasonX64ApicInitSipiTrap, icr_of(row, SIPI_ | TO(1) | SIPI_VECTOR));
    EXPECT_EQ(vm_get_vp(&vm, 1, WHvRegisterInternalActivityState), 1);
    REQUIRE(EXPECT_SCRIPT_END(&vm)); /* an INIT's de-assertion is not sent */
    vm_step(&vm);
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
    check_icr(&vm, WHvRunVpExitReasonX64ApicInitSipiTrap, icr_of(row, INIT_ | OTHERS));
    EXPECT_EQ(runners[1].ended, 0);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeInit, false, false, 1, 0));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeSipi, false, false, 1, SIPI_VECTOR));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_RUNNER_END(&runners[1]);
}

static const struct write_row {
    const char *name;
    uint32_t offset;
    uint64_t bit, written, kept;
    bool is_xapic_only;
} writes[] = {
    {"LINT0", APIC_LVT_LINT0, 1ull << 7, 0x10751, 0x10751, false},
    {"LINT1", APIC_LVT_LINT1, 1ull << 8, 0x10400, 0x10400, false},
    {"SVR", APIC_SVR, 1ull << 9, 0x1f3, 0x1f3, false},
    {"LDR", APIC_LDR, 1ull << 12, 0x05123456, 0x05000000, true},
    {"DFR", APIC_DFR, 1ull << 13, 0x01234567, 0x0fffffff, true},
};

static void check_write(struct vm *vm, uint32_t offset, uint64_t value)
{
    if (!EXPECT_EXIT(vm, X64ApicWriteTrap))
        return;
    EXPECT_EQ(vm->exit.ApicWrite.Type, offset);
    EXPECT_EQ(vm->exit.ApicWrite.WriteValue, value);
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, 0);
}

/* After the write: the register has the value, the guest goes on behind the instruction. Other writes do not exit. */
static void trap_write(const struct apic_mode *mode, const struct write_row *r)
{
    uint64_t others = 0;
    uint32_t kept;
    static uint8_t page[PAGE_SIZE];

    if (r->is_xapic_only && mode->is_x2apic)
        return;
    for (unsigned i = 0; i < COUNT(writes); i++)
        others |= &writes[i] != r ? writes[i].bit : 0;
    APIC_GUEST(vm, mode, 1, EXIT, WRITE(r->offset, r->written), READ(r->offset), EXPECT_LAST(ONES, r->kept),
               WRITE(APIC_TPR, 0x10), EXIT, WRITE(r->offset, r->written));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    vm_set_exits(&vm, r->bit);
    check_write(&vm, r->offset, r->written);
    EXPECT_OK(WHvGetVirtualProcessorInterruptControllerState2(vm.partition, 0, page, PAGE_SIZE, NULL));
    memcpy(&kept, page + r->offset, sizeof(kept));
    EXPECT_EQ(kept, r->kept);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    vm_set_exits(&vm, others);
    EXPECT_SCRIPT_END(&vm);
}

TEST_ROWS(apic_write_trap_xapic, "apic: xAPIC: a write exits", writes)
{
    trap_write(&apic_modes[0], row);
}

TEST_ROWS(apic_write_trap_x2apic, "apic: x2APIC: a write exits", writes)
{
    trap_write(&apic_modes[1], row);
}

/* One instruction writes several, and ends an interrupt: the client hears of all of it, in order. */
TEST(apic_write_trap_rep, "apic: xAPIC: a REP STOSD whose writes exit")
{
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[0], 1));
    SCRIPT(&vm, 0, STI, SPIN(0x51, 1), FILL(APIC_EOI, APIC_SVR, 0x1ff), READ(APIC_SVR), EXPECT_LAST(ONES, 0x1ff),
           READ(BANK(APIC_ISR, 0x51)), EXPECT_LAST(ONES, 0), FILL(APIC_LVT_LINT0, APIC_LVT_LINT1, 0x107ff));
    apic_area(&vm, 0)->keep = 0x51;
    vm_set_exits(&vm, 0x3380);
    check_write(&vm, APIC_SVR, 0x1ff); /* the script's */
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, true, 0, 0x51));
    check_eoi(&vm, 0x51);
    check_write(&vm, APIC_LDR, 0x1ff);
    check_write(&vm, APIC_DFR, 0x1ff);
    check_write(&vm, APIC_SVR, 0x1ff);
    check_write(&vm, APIC_LVT_LINT0, 0x107ff);
    check_write(&vm, APIC_LVT_LINT1, 0x107ff);
    EXPECT_SCRIPT_END(&vm);
}

/* -------------------------------------------------------------------------------- remote reads */

static void allow_remote_reads(struct vm *vm)
{
    const BOOL yes = TRUE;

    apic_modes[0].configure(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeApicRemoteReadSupport, &yes, sizeof(yes));
}

#define STATUS       0x30000ull
#define STATUS_VALID 0x20000ull

TEST(apic_remote_read, "apic: xAPIC: remote reads: another's registers, one's own, nobody's, and what is no register")
{
    const struct apic_mode mode = {"xAPIC", allow_remote_reads, false};
    VM(vm);

    REQUIRE(apic_create(&vm, &mode, 2));
    SCRIPT(&vm, 0, WAIT(READY, 1), REMOTE(REMOTE_ | TO(1) | APIC_ID >> 4), EXPECT_LAST(STATUS, STATUS_VALID),
           READ(APIC_RRD), EXPECT_LAST(ONES, 0x01000000), REMOTE(REMOTE_ | TO(1) | APIC_TPR >> 4),
           EXPECT_LAST(STATUS, STATUS_VALID), READ(APIC_RRD), EXPECT_LAST(ONES, 0x30),
           REMOTE(REMOTE_ | TO(0) | APIC_SVR >> 4), EXPECT_LAST(STATUS, STATUS_VALID), READ(APIC_RRD),
           EXPECT_LAST(ONES, 0x1ff), REMOTE(REMOTE_ | TO(1) | 0x7), EXPECT_LAST(STATUS, 0), READ(APIC_RRD),
           EXPECT_LAST(ONES, 0x1ff), REMOTE(REMOTE_ | TO(7) | APIC_ID >> 4), EXPECT_LAST(STATUS, 0),
           REMOTE(REMOTE_ | TO(0xff) | APIC_ID >> 4), EXPECT_LAST(STATUS, 0), SET(GO, 1));
    SCRIPT(&vm, 1, WRITE(APIC_TPR, 0x30), SET(READY, 1), WAIT(GO, 1));
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
    REQUIRE(runner_start(&runners[0], &vm, 0, CPU_ANY));
    EXPECT_RUNNER_END(&runners[0]);
    EXPECT_RUNNER_END(&runners[1]);
}

/* Nobody answers for a VP that is not run; and without the property nothing is asked. */
TEST(apic_remote_read_pending, "apic: xAPIC: remote reads: pending, and off")
{
    const struct apic_mode mode = {"xAPIC", allow_remote_reads, false};
    VM(vm);
    VM(off);

    REQUIRE(apic_create(&vm, &mode, 2));
    SCRIPT(&vm, 0, ICR(REMOTE_ | TO(1) | APIC_SVR >> 4), DELAY(50), READ(APIC_ICR), EXPECT_LAST(STATUS, 0x10000), EXIT,
           DELAY(50), READ(APIC_ICR), EXPECT_LAST(STATUS, STATUS_VALID), READ(APIC_RRD), EXPECT_LAST(ONES, 0xff));
    SCRIPT(&vm, 1, CLI);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY)); /* answers when it is run, first of all */
    EXPECT_RUNNER_END(&runners[1]);
    EXPECT_SCRIPT_END(&vm);
    REQUIRE(apic_create(&off, &apic_modes[0], 1));
    SCRIPT(&off, 0, REMOTE(REMOTE_ | TO(0) | APIC_SVR >> 4), EXPECT_LAST(STATUS, 0), READ(APIC_RRD),
           EXPECT_LAST(ONES, 0));
    EXPECT_SCRIPT_END(&off);
}

/* --------------------------------------------------------------------------- whom it addresses */

#define FLAT   0xffffffffu
#define MODEL1 0x0fffffffu

static const struct target_row {
    const char *name;
    bool is_logical;
    uint64_t destination;
    uint32_t vps;      /* bit n: VP n */
    uint32_t dfr, ldr; /* xAPIC: LDR of VP 0; the others have the next bits of it */
    uint32_t modes;    /* bit 0 xAPIC, 1 x2APIC */
} targets[] = {
    {"physical", false, 2, 0x4, FLAT, 0, 3},
    {"physical, nobody", false, 9, 0, FLAT, 0, 3},
    {"physical, broadcast of 8 bits", false, 0xff, 0xf, FLAT, 0, 3},
    {"physical, broadcast of 32 bits", false, 0xffffffff, 0xf, FLAT, 0, 3},
    {"physical, of 32 bits", false, 0x102, 0, FLAT, 0, 3},
    {"flat", true, 0x5, 0x5, FLAT, 0x01000000, 3},
    {"flat, all", true, 0xff, 0xf, FLAT, 0x01000000, 3},
    {"flat, nobody", true, 0xf0, 0, FLAT, 0x01000000, 1},
    {"flat, upper bits", true, 0x50, 0x5, FLAT, 0x10000000, 1},
    {"cluster", true, 0x3a, 0xa, MODEL1, 0x31000000, 1},
    {"cluster, another one", true, 0x4a, 0, MODEL1, 0x31000000, 1},
    {"cluster, broadcast", true, 0xff, 0xf, MODEL1, 0x31000000, 1},
    {"x2APIC, cluster 0", true, 0x6, 0x6, FLAT, 0, 2},
    {"x2APIC, cluster 1", true, 0x10006, 0, FLAT, 0, 2},
    {"x2APIC, broadcast", true, 0xffffffff, 0xf, FLAT, 0, 2},
};

static uint32_t requested_by(struct vm *vm, uint8_t vector)
{
    static uint8_t page[PAGE_SIZE];
    uint32_t vps = 0, word;

    for (uint32_t i = 0; i < APIC_VPS; i++) {
        EXPECT_OK(WHvGetVirtualProcessorInterruptControllerState2(vm->partition, i, page, PAGE_SIZE, NULL));
        memcpy(&word, page + BANK(APIC_IRR, vector), sizeof(word));
        vps |= word & BIT_OF(vector) ? 1u << i : 0;
    }
    return vps;
}

static uint32_t listed(struct vm *vm, const struct target_row *r)
{
    WHV_INTERRUPT_DESTINATION_MODE mode =
        r->is_logical ? WHvX64InterruptDestinationModeLogical : WHvX64InterruptDestinationModePhysical;
    UINT32 vps[APIC_VPS] = {9, 9, 9, 9}, count = 77;
    uint32_t set = 0;

    EXPECT_HR(WHvGetInterruptTargetVpSet(vm->partition, r->destination, mode, vps, APIC_VPS - 1, &count), E_INVALIDARG);
    EXPECT_HR(WHvGetInterruptTargetVpSet(vm->partition, 1ull << 32, mode, vps, APIC_VPS, &count), E_INVALIDARG);
    EXPECT_OK(WHvGetInterruptTargetVpSet(vm->partition, r->destination, mode, vps, APIC_VPS, &count));
    if (!EXPECT_LE(count, APIC_VPS))
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        EXPECT(i == 0 || vps[i] > vps[i - 1]);
        set |= 1u << vps[i];
    }
    return set;
}

/* The bit in the lower or the upper half of the ID moves on. */
static uint32_t ldr_of(const struct target_row *r, uint32_t vp)
{
    uint32_t low = r->ldr & 0x0f000000;

    return low ? (r->ldr & 0xf0000000) | low << vp : r->ldr << vp;
}

/* The list says what a message would do, and does. */
static void list_targets(const struct apic_mode *mode, const struct target_row *r)
{
    VM(vm);

    if (!(r->modes >> mode->is_x2apic & 1))
        return;
    REQUIRE(apic_create(&vm, mode, APIC_VPS));
    for (uint32_t i = 0; i < APIC_VPS; i++) {
        if (mode->is_x2apic)
            SCRIPT(&vm, i, CLI);
        else
            SCRIPT(&vm, i, CLI, WRITE(APIC_DFR, r->dfr), WRITE(APIC_LDR, ldr_of(r, i)));
        EXPECT_OK(vm_run_vp(&vm, i, &vm.exit));
        apic_check_end(&vm, i, &vm.exit, __FILE__, __LINE__);
    }
    EXPECT_EQ(listed(&vm, r), r->vps);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, r->is_logical, false, (uint32_t)r->destination, 0x51));
    EXPECT_EQ(requested_by(&vm, 0x51), r->vps);
    EXPECT_OK(WHvDeleteVirtualProcessor(vm.partition, 2));
    EXPECT_EQ(listed(&vm, r), r->vps & ~4u);
}

TEST_ROWS(apic_targets_xapic, "apic: xAPIC: WHvGetInterruptTargetVpSet", targets)
{
    list_targets(&apic_modes[0], row);
}

TEST_ROWS(apic_targets_x2apic, "apic: x2APIC: WHvGetInterruptTargetVpSet", targets)
{
    list_targets(&apic_modes[1], row);
}

/* ------------------------------------------------------------------------------------- windows */

static void notify(struct vm *vm, bool nmi, bool interrupt, unsigned priority)
{
    WHV_REGISTER_VALUE value = {.Reg64 = 0};

    value.DeliverabilityNotifications.NmiNotification = nmi;
    value.DeliverabilityNotifications.InterruptNotification = interrupt;
    value.DeliverabilityNotifications.InterruptPriority = priority & 0xf;
    vm_set_value(vm, WHvX64RegisterDeliverabilityNotifications, value);
}

static void check_window(struct vm *vm, WHV_X64_PENDING_INTERRUPTION_TYPE type)
{
    if (!EXPECT_EXIT(vm, X64InterruptWindow))
        return;
    EXPECT_EQ(vm->exit.InterruptWindow.DeliverableType, type);
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, 0);
}

/* Open: no instruction runs before the exit, nor does the APIC's own interrupt go in. One shot. */
TEST_ROWS(apic_window_now, "apic: window: open at once, with an interrupt of the APIC's waiting", apic_modes)
{
    uint64_t rip;
    APIC_GUEST(vm, row, 1, STI, EXIT, DELAY(10), COUNT_IS(0x51, 1), COUNT_IS(0x31, 1));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    rip = vm_get(&vm, WHvX64RegisterRip);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x51));
    notify(&vm, true, true, 0);
    check_window(&vm, WHvX64PendingNmi);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDeliverabilityNotifications), 2);
    check_window(&vm, WHvX64PendingInterrupt);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDeliverabilityNotifications), 0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), rip);
    EXPECT_EQ(apic_area(&vm, 0)->logged, 0);
    vm_set(&vm, WHvRegisterPendingEvent, 0x310b); /* an ExtInt, which goes first */
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x31, 0x131, 0x51, 0x151);
}

TEST_ROWS(apic_window_later, "apic: window: IF off, then on", apic_modes)
{
    APIC_GUEST(vm, row, 1, CLI, EXIT, COUNT_IS(0x51, 0), STI, DELAY(10), COUNT_IS(0x51, 1));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x51));
    notify(&vm, false, true, 0);
    check_window(&vm, WHvX64PendingInterrupt);
    EXPECT_EQ(apic_area(&vm, 0)->logged, 0);
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x51, 0x151);
}

/* However the guest lowers the task priority; and the APIC's interrupts come meanwhile, by their own priorities. */
TEST_ROWS(apic_window_priority, "apic: window: CR8 and TPR from 12 to 6 to 2, priority 5", apic_modes)
{
    for (unsigned by_tpr = 0; by_tpr < 2; by_tpr++) {
        const struct apic_op six = by_tpr ? (struct apic_op)WRITE(APIC_TPR, 0x60) : (struct apic_op)CR8(6);
        const struct apic_op two = by_tpr ? (struct apic_op)WRITE(APIC_TPR, 0x20) : (struct apic_op)CR8(2);
        VM(vm);

        REQUIRE(apic_create(&vm, row, 1));
        {
            const struct apic_op ops[] = {WRITE(APIC_SVR, 0x1ff),
                                          CR8(12),
                                          STI,
                                          EXIT,
                                          DELAY(10),
                                          SET(READY, 1),
                                          six,
                                          SPIN(0x81, 1),
                                          COUNT_IS(0x41, 0),
                                          SET(READY, 2),
                                          two,
                                          SET(READY, 3),
                                          SPIN(0x41, 1),
                                          ICR(SELF | 0x91),
                                          SPIN(0x91, 1)};

            apic_set_script(&vm, 0, ops, COUNT(ops));
        }
        REQUIRE(EXPECT_SCRIPT_END(&vm));
        vm_step(&vm);
        notify(&vm, false, true, 5);
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x81));
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x41));
        check_window(&vm, WHvX64PendingInterrupt);
        EXPECT_EQ(vm.exit.VpContext.Cr8, 2);
        EXPECT_EQ(*vm_u32(&vm, READY), 2);
        EXPECT_EQ(apic_area(&vm, 0)->counts[0x81], 1);
        EXPECT_EQ(apic_area(&vm, 0)->counts[0x41], 0);
        EXPECT_SCRIPT_END(&vm);
        EXPECT_LOG(&vm, 0, 0x81, 0x181, 0x41, 0x141, 0x91, 0x191);
    }
}

TEST_ROWS(apic_window_taken_back, "apic: window: one by priority, taken back", apic_modes)
{
    APIC_GUEST(vm, row, 1, CR8(12), STI, EXIT, DELAY(10), EXIT, CR8(2), DELAY(10), ICR(SELF | 0x41), SPIN(0x41, 1));

    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    notify(&vm, false, true, 5);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    vm_step(&vm);
    vm_set(&vm, WHvX64RegisterDeliverabilityNotifications, 0);
    EXPECT_SCRIPT_END(&vm);
}

/* ------------------------------------------------------------------------------------- storms */

#define STORM_SENDER  0x27000u
#define STORM_FIRST   0x40u
#define STORM_VECTORS 64u
#define STORM_LIMIT_S 1000u

/* Of each vector. */
static uint32_t storm_rounds(void)
{
    return test_storm(thread_cpus() > 1 ? 16000 : 4000) / STORM_VECTORS;
}

static bool storm_create(struct vm *vm, const struct apic_mode *mode)
{
    if (!apic_create(vm, mode, 2) || !apic_set_handler(vm, "storm_handler") ||
        !vm_load_at(vm, "storm_sender", 64, STORM_SENDER))
        return false;
    SCRIPT(vm, 0, CLI);
    SCRIPT(vm, 1, STI, SET(READY, 1), WAIT(GO, 1), CLI);
    return EXPECT_SCRIPT_END(vm) && runner_start(&runners[1], vm, 1, CPU_ANY) && apic_wait_word(vm, READY, 1);
}

/* What was sent is in VP 0's counts, by whomever. */
static void storm_end(struct vm *vm, uint32_t rounds, uint64_t begin)
{
    const uint32_t *sent = apic_area(vm, 0)->counts, *counted = apic_area(vm, 1)->counts;
    uint64_t ns = clock_ns() - begin, total = 0;

    thread_sleep_ns(2 * NS_PER_MS); /* one too many would come now */
    *vm_u32(vm, GO) = 1;
    EXPECT_RUNNER_END(&runners[1]);
    for (uint32_t i = STORM_FIRST; i < STORM_FIRST + STORM_VECTORS; i++) {
        EXPECT_EQ(sent[i], rounds);
        EXPECT_EQ(counted[i], rounds);
        total += counted[i];
    }
    test_note("%llu interrupts in %llu ms", (unsigned long long)total, (unsigned long long)ns / NS_PER_MS);
}

static void storm_by_guest(struct vm *vm, uint32_t rounds)
{
    uint64_t deadline = clock_ns() + STORM_LIMIT_S * NS_PER_S;

    vm_set(vm, WHvX64RegisterRip, STORM_SENDER);
    vm_set(vm, WHvX64RegisterRsi, apic_area(vm, 1)->self + offsetof(struct apic_area, counts));
    vm_set(vm, WHvX64RegisterR8, rounds);
    REQUIRE(runner_start(&runners[0], vm, 0, CPU_ANY));
    while (!runners[0].ended && clock_ns() < deadline)
        thread_sleep_ns(5 * NS_PER_MS);
    EXPECT_RUNNER_END(&runners[0]);
}

static bool storm_round(struct vm *vm, uint32_t rounds)
{
    uint32_t *sent = apic_area(vm, 0)->counts;
    const volatile uint32_t *counted = apic_area(vm, 1)->counts;
    bool goes_on = false;

    for (uint32_t i = STORM_FIRST; i < STORM_FIRST + STORM_VECTORS; i++) {
        uint32_t seen = counted[i];

        goes_on |= seen < rounds;
        if (seen < sent[i] || sent[i] == rounds)
            continue;
        sent[i]++;
        if (!EXPECT_OK(apic_request(vm, WHvX64InterruptTypeFixed, false, false, 1, i)))
            return false;
    }
    return goes_on;
}

static void storm_by_client(struct vm *vm, uint32_t rounds)
{
    uint64_t deadline = clock_ns() + STORM_LIMIT_S * NS_PER_S;

    thread_set_cpu(thread_cpu(0));
    while (storm_round(vm, rounds) && clock_ns() < deadline)
        thread_yield();
    thread_set_cpu(CPU_ANY);
}

TEST_ROWS(apic_storm_ipi, "apic: storm: 16,000 IPIs, or storm=N (with one CPU 4,000)", apic_modes)
{
    uint32_t rounds = storm_rounds();
    uint64_t begin;
    VM(vm);

    REQUIRE(storm_create(&vm, row));
    begin = clock_ns();
    storm_by_guest(&vm, rounds);
    storm_end(&vm, rounds, begin);
}

TEST_ROWS(apic_storm_client, "apic: storm: 16,000 WHvRequestInterrupt, or storm=N (with one CPU 4,000)", apic_modes)
{
    uint32_t rounds = storm_rounds();
    uint64_t begin;
    VM(vm);

    REQUIRE(storm_create(&vm, row));
    begin = clock_ns();
    storm_by_client(&vm, rounds);
    storm_end(&vm, rounds, begin);
}
