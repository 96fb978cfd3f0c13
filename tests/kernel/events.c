/* SPDX-License-Identifier: MIT */
/* Events that the client gives to a VP: interrupts, NMIs and exceptions by PendingInterruption and PendingEvent,
 * windows, shadows, deliveries that are interrupted, single steps and breakpoints. */
#include "test.h"
#include "vm.h"

enum { INTERRUPT = 0, NMI = 2, EXCEPTION = 3, SOFTWARE = 4, PRIVILEGED = 5, SW_EXCEPTION = 6 };

static void set_pending(struct vm *vm, unsigned type, unsigned vector, bool deliver_error_code, uint32_t error_code,
                        unsigned length)
{
    WHV_REGISTER_VALUE value = {.PendingInterruption = {{.InterruptionPending = 1}}};

    value.PendingInterruption.InterruptionType = type & 7;
    value.PendingInterruption.InterruptionVector = vector & 0xffff;
    value.PendingInterruption.DeliverErrorCode = deliver_error_code;
    value.PendingInterruption.ErrorCode = error_code;
    value.PendingInterruption.InstructionLength = length & 0xf;
    vm_set_value(vm, WHvRegisterPendingInterruption, value);
    EXPECT_EQ(vm_get(vm, WHvRegisterPendingInterruption), value.Reg64);
}

static void set_if(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IF);
}

static uint64_t nmi_masked(struct vm *vm)
{
    return vm_get(vm, WHvRegisterInterruptState) >> 1 & 1;
}

/* Where an interrupt pushes RFLAGS. */
static uint64_t pushed_flags(struct vm *vm, unsigned error_words)
{
    return vm_stack(vm, error_words + 2);
}

/* ------------------------------------------------------------------------- PendingInterruption */

static const struct pending_row {
    const char *name;
    uint32_t modes;
    uint8_t type, vector, length;
    bool error;
} pending_rows[] = {
    {"interrupt 0x20", 0, INTERRUPT, 0x20, 0, false},
    {"interrupt 0xff", 0, INTERRUPT, 0xff, 0, false},
    {"NMI", 0, NMI, 2, 0, false},
    {"#DE", 0, EXCEPTION, 0, 0, false},
    {"#GP", 0, EXCEPTION, 13, 0, true},
    {"#AC", VM_CPL3, EXCEPTION, 17, 0, true},
    {"#UD, error code asked for", 0, EXCEPTION, 6, 0, true},
    {"INT n", 0, SOFTWARE, 0x80, 2, false},
    {"INT n, of an exception's vector", 0, SOFTWARE, 13, 2, false},
    {"INT1", 0, PRIVILEGED, 1, 1, false},
    {"INT3", 0, SW_EXCEPTION, 3, 1, false},
    {"INTO", VM_ALL & ~VM_CODE64, SW_EXCEPTION, 4, 1, false},
};

static bool has_error_code(const struct pending_row *row, enum vm_mode mode)
{
    return (row->vector == 13 || row->vector == 17) && row->type == EXCEPTION && mode != VM_REAL;
}

/* Delivered before the first instruction, once; what it pushes; and back. */
TEST_ROWS_MODES(events_pending, "events: pending interruption", pending_rows, VM_ALL)
{
    bool error;

    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    set_pending(&vm, row->type, row->vector, row->error, row->error ? 0x1230 : 0, row->length);
    REQUIRE(EXPECT_VECTOR(&vm, row->vector));
    error = has_error_code(row, mode);
    if (error) {
        EXPECT_EQ(vm_stack(&vm, 0), 0x1230);
        vm_pop_error_code(&vm);
    }
    EXPECT_EQ(vm_stack(&vm, 0), VM_CODE + row->length);
    EXPECT_EQ(pushed_flags(&vm, 0) & FLAG_IF, FLAG_IF);
    EXPECT_EQ(vm.exit.VpContext.Rflags & FLAG_IF, 0);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingInterruption), 0);
    EXPECT_EQ(nmi_masked(&vm), row->type == NMI);
    EXPECT_END(&vm);
    EXPECT_EQ(nmi_masked(&vm), 0);
}

/* An interrupt that was not taken back waits for nobody: IF = 0 with one pending is a state that can not be entered. */
TEST(events_pending_if, "events: pending interrupt with IF = 0: invalid until IF is set")
{
    if (vm_is_svm())
        SKIP("SVM: what is injected is delivered, whatever IF is (APM 2 15.20)");
    VM_GUEST(vm, VM_LONG, "events_nops", NULL);
    set_pending(&vm, INTERRUPT, 0x30, false, 0, 0);
    EXPECT_EXIT(&vm, InvalidVpRegisterValue);
    set_if(&vm);
    if (!(vm_get(&vm, WHvRegisterPendingInterruption) & 1))
        set_pending(&vm, INTERRUPT, 0x30, false, 0, 0);
    EXPECT_VECTOR(&vm, 0x30);
}

/* The client takes it back. */
TEST_MODES(events_pending_cleared, "events: pending interruption taken back", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    set_pending(&vm, INTERRUPT, 0x30, false, 0, 0);
    vm_set(&vm, WHvRegisterPendingInterruption, 0);
    EXPECT_END(&vm);
}

/* A canceled run delivers nothing and loses nothing. */
TEST_MODES(events_pending_cancel, "events: pending interruption survives a cancel", VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    set_pending(&vm, INTERRUPT, 0x30, false, 0, 0);
    EXPECT_OK(WHvCancelRunVirtualProcessor(vm.partition, 0, 0));
    EXPECT_EXIT(&vm, Canceled);
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptionPending, 1);
    EXPECT_VECTOR(&vm, 0x30);
}

/* -------------------------------------------------------------------------------- PendingEvent */

static void set_exception_event(struct vm *vm, unsigned vector, bool has_error, uint32_t error, uint64_t parameter)
{
    WHV_REGISTER_VALUE value = {.ExceptionEvent = {{.EventPending = 1, .EventType = WHvX64PendingEventException}}};

    value.ExceptionEvent.Vector = vector & 0xffff;
    value.ExceptionEvent.DeliverErrorCode = has_error;
    value.ExceptionEvent.ErrorCode = error;
    value.ExceptionEvent.ExceptionParameter = parameter;
    vm_set_value(vm, WHvRegisterPendingEvent, value);
}

TEST_MODES(events_event_pf, "events: pending event #PF sets CR2", VM_PROTECTED)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_exception_event(&vm, 14, true, 6, 0xdeadb000);
    REQUIRE(EXPECT_VECTOR(&vm, 14));
    EXPECT_EQ(vm_stack(&vm, 0), 6);
    EXPECT_EQ(vm_stack(&vm, 1), VM_CODE);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr2), 0xdeadb000);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent) & 1, 0);
    vm_pop_error_code(&vm);
    EXPECT_END(&vm);
}

static const struct event_row {
    const char *name;
    uint32_t modes;
    uint8_t vector;
    bool error;
    uint64_t parameter, dr6; /* dr6: the bits that come of it */
} event_rows[] = {
    {"#DE", 0, 0, false, 0, 0},
    {"#DB, single step", 0, 1, false, 0x4000, 0x4000},
    {"#DB, breakpoint 2", 0, 1, false, 4, 4},
    {"#UD", 0, 6, false, 0, 0},
    {"#NP", VM_PROTECTED, 11, true, 0, 0},
    {"#GP", VM_PROTECTED, 13, true, 0, 0},
    {"#AC", VM_PROTECTED, 17, true, 0, 0},
    {"#XM", 0, 19, false, 0, 0},
};

TEST_ROWS_MODES(events_event, "events: pending event", event_rows, VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    vm_set(&vm, WHvX64RegisterCr2, 0x123000);
    set_exception_event(&vm, row->vector, row->error, row->error ? 0x1230 : 0, row->parameter);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent) & 1, 1);
    REQUIRE(EXPECT_VECTOR(&vm, row->vector));
    if (row->error) {
        EXPECT_EQ(vm_stack(&vm, 0), 0x1230);
        vm_pop_error_code(&vm);
    }
    EXPECT_EQ(vm_stack(&vm, 0), VM_CODE);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent) & 1, 0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr2), 0x123000);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDr6) & 0x400f, row->dr6);
    EXPECT_END(&vm);
}

static void set_ext_int(struct vm *vm, unsigned vector)
{
    WHV_REGISTER_VALUE value = {.ExtIntEvent = {{.EventPending = 1, .EventType = WHvX64PendingEventExtInt}}};

    value.ExtIntEvent.Vector = vector & 0xff;
    vm_set_value(vm, WHvRegisterPendingEvent, value);
}

/* At once with IF = 1; else as soon as the guest sets it and the shadow is over. */
TEST_MODES(events_ext_int, "events: ExtInt with IF = 1", VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    set_ext_int(&vm, 0x28);
    REQUIRE(EXPECT_VECTOR(&vm, 0x28));
    EXPECT_EQ(vm_stack(&vm, 0), VM_CODE);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingEvent) & 1, 0);
    EXPECT_END(&vm);
}

TEST_MODES(events_ext_int_waits, "events: ExtInt waits for STI and its shadow", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_sti", NULL);
    set_ext_int(&vm, 0x28);
    REQUIRE(EXPECT_VECTOR(&vm, 0x28));
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 2));
    EXPECT_END(&vm);
}

/* ------------------------------------------------------------------------------------- windows */

static void notify(struct vm *vm, bool nmi, bool interrupt, unsigned priority)
{
    WHV_REGISTER_VALUE value = {.Reg64 = 0};

    value.DeliverabilityNotifications.NmiNotification = nmi;
    value.DeliverabilityNotifications.InterruptNotification = interrupt;
    value.DeliverabilityNotifications.InterruptPriority = priority & 0xf;
    vm_set_value(vm, WHvX64RegisterDeliverabilityNotifications, value);
    EXPECT_EQ(vm_get(vm, WHvX64RegisterDeliverabilityNotifications), value.Reg64);
}

static void check_window(struct vm *vm, WHV_X64_PENDING_INTERRUPTION_TYPE type, uint64_t rip)
{
    EXPECT_EQ(vm->exit.InterruptWindow.DeliverableType, type);
    EXPECT_EQ(vm->exit.VpContext.Rip, rip);
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, 0);
    EXPECT_EQ(vm->exit.VpContext.ExecutionState.InterruptShadow, 0);
    EXPECT_EQ(vm_get(vm, WHvX64RegisterDeliverabilityNotifications), 0);
}

TEST_MODES(events_window, "events: window: IF off, on, and the shadow of STI", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_sti", NULL);
    notify(&vm, false, true, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingInterrupt, vm_mark(&vm, 2));
    set_pending(&vm, INTERRUPT, 0x31, false, 0, 0);
    EXPECT_VECTOR(&vm, 0x31);
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 2));
    EXPECT_END(&vm); /* one shot: no second window */
}

TEST_MODES(events_window_mov_ss, "events: window: the shadow of MOV SS", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_mov_ss", NULL);
    set_if(&vm);
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptShadow, 1);
    vm_step(&vm); /* the shadow now covers the instruction behind OUT */
    notify(&vm, false, true, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingInterrupt, vm_mark(&vm, 3));
    EXPECT_END(&vm);
}

/* Deliverable already: no instruction runs before the exit. */
TEST_MODES(events_window_now, "events: window: deliverable at once", VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    notify(&vm, false, true, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingInterrupt, VM_CODE);
    EXPECT_END(&vm);
}

/* A shadow that the client sets lasts for one instruction. */
TEST_MODES(events_window_shadow, "events: window: InterruptState.InterruptShadow set by the client", VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    vm_set(&vm, WHvRegisterInterruptState, 1);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 1);
    notify(&vm, false, true, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingInterrupt, vm_mark(&vm, 1));
}

/* Priority: only when CR8 is below it. */
static const struct {
    const char *name;
    uint8_t priority, mark; /* at which mark the window opens */
} priority_rows[] = {
    {"15", 15, 1},
    {"8", 8, 1},
    {"7", 7, 3},
    {"4", 4, 3},
};

TEST_ROWS(events_window_cr8, "events: window: CR8 from 15 to 7 to 3, priority", priority_rows)
{
    VM_GUEST(vm, VM_LONG, "events_cr8", NULL);
    set_if(&vm);
    vm_set(&vm, WHvX64RegisterCr8, 15);
    notify(&vm, false, true, row->priority);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingInterrupt, vm_mark(&vm, row->mark));
    EXPECT_EQ(vm.exit.VpContext.Cr8, row->mark == 1 ? 7 : 3);
    EXPECT_END(&vm);
}

TEST(events_window_cr8_never, "events: window: none while CR8 stays high")
{
    VM_GUEST(vm, VM_LONG, "events_nops", NULL);
    set_if(&vm);
    vm_set(&vm, WHvX64RegisterCr8, 5);
    notify(&vm, false, true, 5);
    EXPECT_END(&vm);
    EXPECT_NE(vm_get(&vm, WHvX64RegisterDeliverabilityNotifications), 0);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    vm_set(&vm, WHvX64RegisterCr8, 4);
    EXPECT_EXIT(&vm, X64InterruptWindow);
    EXPECT_EQ(vm.exit.VpContext.Rip, VM_CODE);
}

/* Both conditions: the priority is low enough first, IF comes later. */
TEST(events_window_cr8_if, "events: window: priority met, then IF")
{
    VM_GUEST(vm, VM_LONG, "events_sti", NULL);
    vm_set(&vm, WHvX64RegisterCr8, 4);
    notify(&vm, false, true, 5);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingInterrupt, vm_mark(&vm, 2));
}

TEST_MODES(events_window_nmi, "events: window: NMI, at once and after IRET", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    notify(&vm, true, false, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingNmi, VM_CODE);
    set_pending(&vm, NMI, 2, false, 0, 0);
    REQUIRE(EXPECT_VECTOR(&vm, 2));
    EXPECT_EQ(nmi_masked(&vm), 1);
    notify(&vm, true, false, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow)); /* behind the stub's IRET */
    check_window(&vm, WHvX64PendingNmi, VM_CODE);
    EXPECT_EQ(nmi_masked(&vm), 0);
    EXPECT_END(&vm);
}

/* The client masks NMIs by itself: they stay so until an IRET. */
TEST_MODES(events_nmi_masked, "events: NMIs masked by the client, until IRET", VM_CPL0)
{
    VM_GUEST(vm, mode, "exception_int_80", NULL);
    vm_set(&vm, WHvRegisterInterruptState, 2);
    notify(&vm, true, false, 0);
    REQUIRE(EXPECT_VECTOR(&vm, 0x80));
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 2);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    check_window(&vm, WHvX64PendingNmi, vm_mark(&vm, 1));
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 0);
    EXPECT_END(&vm);
}

/* The client unmasks them, too. Bochs 2.7 keeps virtual NMIs blocked from entry to entry, in whatever VMCS, until a
 * guest's IRET. */
TEST_MODES(events_nmi_unmasked, "events: NMIs masked and unmasked by the client", VM_CPL0)
{
    bool stuck;

    VM_GUEST(vm, mode, "exception_int_80", NULL);
    vm_set(&vm, WHvRegisterInterruptState, 2);
    REQUIRE(EXPECT_VECTOR(&vm, 0x80));
    vm_set(&vm, WHvRegisterInterruptState, 0);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 0);
    REQUIRE(vm_load(&vm, "events_nops"));
    EXPECT_END(&vm);
    stuck = nmi_masked(&vm);
    vm_load(&vm, "exception_int_80");
    REQUIRE(EXPECT_VECTOR(&vm, 0x80));
    EXPECT_END(&vm);
    EXPECT_EQ(nmi_masked(&vm), 0);
    if (stuck)
        SKIP("this CPU keeps NMIs masked although the entry says otherwise");
}

/* An exit in the shadow shows it; when the client steps over the instruction, it has to end it itself. */
TEST_MODES(events_shadow_exit, "events: shadow: an exit behind STI", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_sti_out", NULL);
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptShadow, 1);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 1);
    vm_step(&vm);
    vm_set(&vm, WHvRegisterInterruptState, 0);
    notify(&vm, false, true, 0);
    REQUIRE(EXPECT_EXIT(&vm, X64InterruptWindow));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 2));
}

/* -------------------------------------------------------------------- interrupted deliveries */

static uint64_t idt_page(enum vm_mode mode)
{
    return mode == VM_REAL ? 0 : VM_IDT;
}

static const struct redelivery_row {
    const char *name;
    uint32_t modes;
    uint8_t type, vector, length;
    bool error;
} redelivery_rows[] = {
    {"interrupt", 0, INTERRUPT, 0x30, 0, false},
    {"NMI", 0, NMI, 2, 0, false},
    {"#GP", VM_PROTECTED, EXCEPTION, 13, 0, true},
    {"INT n", 0, SOFTWARE, 0x80, 2, false},
};

static void check_still_pending(struct vm *vm, const struct redelivery_row *row)
{
    WHV_X64_PENDING_INTERRUPTION_REGISTER p = vm_get_value(vm, WHvRegisterPendingInterruption).PendingInterruption;

    EXPECT_EQ(vm->exit.VpContext.ExecutionState.InterruptionPending, 1);
    EXPECT_EQ(p.InterruptionPending, 1);
    EXPECT_EQ(p.InterruptionType, row->type);
    EXPECT_EQ(p.InterruptionVector, row->vector);
    EXPECT_EQ(p.DeliverErrorCode, row->error);
    EXPECT_EQ(p.ErrorCode, row->error ? 0x120 : 0);
    EXPECT_EQ(p.InstructionLength, row->length);
    EXPECT_EQ(vm->exit.VpContext.Rip, VM_CODE);
}

static void redeliver(const struct redelivery_row *row, enum vm_mode mode, uint64_t page, WHV_MEMORY_ACCESS_TYPE type)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_if(&vm);
    vm_protect(&vm, page, 0x1000, 0);
    set_pending(&vm, row->type, row->vector, row->error, row->error ? 0x120 : 0, row->length);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.MemoryAccess.Gpa & ~0xfffull, page);
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.AccessType, type);
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GvaValid, vm_knows_gva());
    check_still_pending(&vm, row);
    vm_protect(&vm, page, 0x1000, VM_RWX);
    REQUIRE(EXPECT_VECTOR(&vm, row->vector));
    EXPECT_EQ(nmi_masked(&vm), row->type == NMI);
    if (row->error) {
        EXPECT_EQ(vm_stack(&vm, 0), 0x120);
        vm_pop_error_code(&vm);
    }
    EXPECT_EQ(vm_stack(&vm, 0), VM_CODE + row->length);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingInterruption), 0);
    EXPECT_END(&vm); /* once, and only once */
}

TEST_ROWS_MODES(events_redeliver_idt, "events: delivery meets an unmapped IDT page", redelivery_rows, VM_ALL)
{
    redeliver(row, mode, idt_page(mode), WHvMemoryAccessRead);
}

TEST_ROWS_MODES(events_redeliver_stack, "events: delivery meets an unmapped stack page", redelivery_rows, VM_ALL)
{
    redeliver(row, mode, 0x7000, WHvMemoryAccessWrite);
}

/* The client drops it instead. */
TEST(events_redeliver_dropped, "events: interrupted delivery taken back by the client")
{
    VM_GUEST(vm, VM_LONG, "events_nops", NULL);
    set_if(&vm);
    vm_protect(&vm, VM_IDT, 0x1000, 0);
    set_pending(&vm, INTERRUPT, 0x30, false, 0, 0);
    EXPECT_EXIT(&vm, MemoryAccess);
    vm_set(&vm, WHvRegisterPendingInterruption, 0);
    EXPECT_END(&vm);
}

/* A guest's own exception, interrupted likewise. */
TEST_MODES(events_redeliver_guest, "events: a guest's #UD meets an unmapped IDT page", VM_ALL)
{
    VM_GUEST(vm, mode, "exception_ud", NULL);
    vm_protect(&vm, idt_page(mode), 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptionPending, 1);
    EXPECT_EQ(vm_get_value(&vm, WHvRegisterPendingInterruption).PendingInterruption.InterruptionVector, 6);
    vm_protect(&vm, idt_page(mode), 0x1000, VM_RWX);
    REQUIRE(EXPECT_VECTOR(&vm, 6));
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 0));
}

/* INT n executed by the guest: RIP still at the instruction, the length told. */
/* Either the interrupt is told as pending, with the length of its instruction, or the instruction runs again. */
TEST_MODES(events_redeliver_int, "events: a guest's INT n meets an unmapped stack page", VM_CPL0)
{
    WHV_X64_PENDING_INTERRUPTION_REGISTER pending;

    VM_GUEST(vm, mode, "exception_int_80", NULL);
    vm_protect(&vm, 0x7000, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    pending = vm_get_value(&vm, WHvRegisterPendingInterruption).PendingInterruption;
    EXPECT_EQ(pending.InterruptionPending, !vm_is_svm());
    if (pending.InterruptionPending)
        EXPECT_EQ(pending.InstructionLength, 2);
    vm_protect(&vm, 0x7000, 0x1000, VM_RWX);
    REQUIRE(EXPECT_VECTOR(&vm, 0x80));
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 1));
}

/* IRET that faults on its stack has not ended NMI masking. */
TEST_MODES(events_nmi_iret, "events: NMIs stay masked when IRET meets an unmapped stack", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_nops", NULL);
    set_pending(&vm, NMI, 2, false, 0, 0);
    REQUIRE(EXPECT_VECTOR(&vm, 2));
    vm_protect(&vm, 0x7000, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.InterruptionPending, 0);
    EXPECT_EQ(nmi_masked(&vm), 1);
    vm_protect(&vm, 0x7000, 0x1000, VM_RWX);
    EXPECT_END(&vm);
    EXPECT_EQ(nmi_masked(&vm), 0);
}

/* ------------------------------------------------------------------------- steps, breakpoints */

static void debug_exits(struct vm *vm)
{
    vm_set_exceptions(vm, 1 << 1);
}

/* TF by the client, one exit an instruction; the client goes on by just running. */
TEST_MODES(events_step, "events: single steps by TF with #DB exits", VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", debug_exits);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_TF);
    for (unsigned i = 1; i <= 3; i++) {
        REQUIRE(EXPECT_EXIT(&vm, Exception));
        EXPECT_EQ(vm.exit.VpException.ExceptionType, 1);
        EXPECT_EQ(vm.exit.VpException.ExceptionParameter, 1 << 14);
        EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, i));
    }
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED);
    EXPECT_END(&vm);
}

/* As QEMU does it: with a shadow, so that no interrupt slips in. */
TEST_MODES(events_step_shadow, "events: single step with InterruptShadow set", VM_ALL)
{
    VM_GUEST(vm, mode, "events_nops", debug_exits);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_TF | FLAG_IF);
    vm_set(&vm, WHvRegisterInterruptState, 1);
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
    EXPECT_EQ(vm.exit.VpException.ExceptionParameter, 1 << 14);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED);
    vm_set(&vm, WHvRegisterInterruptState, 0);
    vm_set(&vm, WHvX64RegisterPendingDebugException, 0);
    EXPECT_END(&vm);
}

/* An instruction that the core itself steps over traps like any other. */
TEST_MODES(events_step_cpuid, "events: single step over CPUID, which the core answers", VM_ALL)
{
    VM_GUEST(vm, mode, "misc_cpuid", debug_exits);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_TF);
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
    EXPECT_EQ(vm.exit.VpException.ExceptionParameter, 1 << 14);
}

/*
 * The step is over when the instruction is, not when its access met an unmapped page. Bochs 2.7 saves the trap that it
 * has scheduled for the instruction's end as pending already (SDM 3C 28.3.4 wants it clear): there the client takes it
 * back, and the rest has to hold.
 */
TEST_MODES(events_step_memory, "events: single step over an access to an unmapped page", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_read8", debug_exits);
    vm_set(&vm, WHvX64RegisterRip, vm_mark(&vm, 0));
    vm_set(&vm, WHvX64RegisterRsi, 0xb123);
    vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_TF);
    vm_protect(&vm, 0xb000, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    if (vm_get(&vm, WHvX64RegisterPendingDebugException)) {
        test_note("this CPU shows the step as pending before the instruction is done");
        vm_set(&vm, WHvX64RegisterPendingDebugException, 0);
    }
    vm_protect(&vm, 0xb000, 0x1000, VM_RWX);
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
    EXPECT_EQ(vm.exit.VpException.ExceptionParameter, 1 << 14);
}

static const struct {
    const char *name;
    uint32_t dr7;
    uint64_t address_offset; /* of VM_DATA; for execution: of VM_CODE */
    uint8_t mark, is_fault;
} breakpoint_rows[] = {
    {"DR0 write", 0x00010401 | 0, 0, 1, 0},
    {"DR0 read or write", 0x00030401, 0, 1, 0},
};

TEST_ROWS(events_breakpoint, "events: data breakpoint", breakpoint_rows)
{
    VM_GUEST(vm, VM_LONG, "events_data", debug_exits);
    vm_set(&vm, WHvX64RegisterDr0, VM_DATA);
    vm_set(&vm, WHvX64RegisterDr7, row->dr7);
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    EXPECT_EQ(vm.exit.VpContext.ExecutionState.DebugActive, 1);
    EXPECT_EQ(vm.exit.VpException.ExceptionParameter, 1);
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, row->mark));
}

/* Without an exit the guest's own handler sees DR6. */
TEST_MODES(events_breakpoint_guest, "events: data breakpoint in the guest, DR6 told", VM_CPL0)
{
    VM_GUEST(vm, mode, "events_data", NULL);
    vm_set(&vm, WHvX64RegisterDr2, VM_DATA);
    vm_set(&vm, WHvX64RegisterDr7, 0x400 | 1 << 4 | 1 << 24);
    REQUIRE(EXPECT_VECTOR(&vm, 1));
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 1));
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDr6) & 0xf, 4);
}

/* The guest writes and reads its debug registers; the client sees them, and the host's are its own. */
TEST(events_dr, "events: debug registers written by the guest")
{
    static const uint64_t wanted[6] = {0x1000, 0xffff800000002000ull, 0x3000, 0x4000, 0, 0x400};

    VM_GUEST(vm, VM_LONG, "events_dr", NULL);
    memcpy(vm_at(&vm, VM_DATA), wanted, sizeof(wanted));
    EXPECT_END(&vm);
    for (unsigned i = 0; i < 4; i++) {
        EXPECT_EQ(vm_u64(&vm, VM_DATA + 0x100)[i], wanted[i]);
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterDr0 + i), wanted[i]);
    }
    EXPECT_EQ(vm_u64(&vm, VM_DATA + 0x100)[4], 0xffff0ff0);
    EXPECT_EQ(vm_u64(&vm, VM_DATA + 0x100)[5], 0x400);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterDr7), 0x400);
}

/* The client's breakpoint stays armed across runs and exits. */
TEST(events_breakpoint_again, "events: breakpoint hit, cleared by RF, hit again")
{
    VM_GUEST(vm, VM_LONG, "events_nops", debug_exits);
    vm_set(&vm, WHvX64RegisterDr3, vm_mark(&vm, 1));
    vm_set(&vm, WHvX64RegisterDr7, 0x400 | 1 << 6);
    for (unsigned i = 0; i < 3; i++) {
        vm_set(&vm, WHvX64RegisterRip, VM_CODE);
        vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED);
        REQUIRE(EXPECT_EXIT(&vm, Exception));
        EXPECT_EQ(vm.exit.VpException.ExceptionParameter, 8);
        EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 1));
        vm_set(&vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_RF);
        EXPECT_END(&vm);
    }
}
