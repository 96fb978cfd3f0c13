/* SPDX-License-Identifier: MIT */
/* Exceptions: as exits, delivered to the guest, and given back by the client; each vector that software can raise, in
 * every mode. */
#include "test.h"
#include "vm.h"

#define VM_LEGACY_PAGED (VM_PAGED & VM_LEGACY)
#define VM_PROTECTED_0  (VM_PROTECTED & VM_CPL0)

enum kind {
    FAULT,    /* RIP of the exit: the instruction */
    TRAP,     /* RIP behind it */
    SOFTWARE, /* INT3, INTO, ICEBP: RIP of the exit at the instruction, of delivery behind it */
};

struct exception_row {
    const char *name;
    uint32_t modes;
    const char *guest;
    void (*prepare)(struct vm *vm);
    uint8_t vector;
    enum kind kind;
    int64_t error; /* -1: none */
    uint64_t parameter;
};

#define NO_ERROR   (-1)
#define PF_ADDRESS 0xb123u

/* ------------------------------------------------------------------------------- preparations */

static void set_tf(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_TF);
}

static void set_breakpoint(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterDr1, vm_mark(vm, 0));
    vm_set(vm, WHvX64RegisterDr7, 0x400 | 1 << 2); /* L1, execution */
}

static void set_ts(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterCr0, vm_get(vm, WHvX64RegisterCr0) | CR0_TS);
}

static void break_gp_gate(struct vm *vm) /* delivering #GP raises #NP: a double fault */
{
    if (vm_mode_in(vm->mode, VM_LONG_MODES))
        *vm_u64(vm, VM_IDT + 13 * 16) &= ~(1ull << 47);
    else
        *vm_u64(vm, VM_IDT + 13 * 8) &= ~(1ull << 47);
}

static void page_absent(struct vm *vm)
{
    vm_pte_and(vm, PF_ADDRESS, ~PTE_P);
}

static void page_read_only(struct vm *vm)
{
    vm_pte_and(vm, PF_ADDRESS, ~PTE_W);
}

static void page_supervisor(struct vm *vm)
{
    vm_pte_and(vm, PF_ADDRESS, ~PTE_U);
}

static void page_no_execute(struct vm *vm)
{
    vm_pte_or(vm, PF_ADDRESS, 1ull << 63);
}

static void page_reserved(struct vm *vm)
{
    vm_pte_or(vm, PF_ADDRESS, 1ull << 51);
}

static void fpu_unmask(struct vm *vm)
{
    *vm_u32(vm, VM_DATA) = 0x037b;
}

static void mxcsr_unmask(struct vm *vm)
{
    static const float ones[4] = {1, 1, 1, 1};

    *vm_u32(vm, VM_DATA) = 0x1d80;
    memcpy(vm_at(vm, VM_DATA + 16), ones, sizeof(ones));
}

static void align_check(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterCr0, vm_get(vm, WHvX64RegisterCr0) | CR0_AM);
    vm_set(vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_AC);
}

static void no_ring0_stack(struct vm *vm)
{
    *vm_u32(vm, VM_TSS + 8) = 0; /* SS0 */
}

/* ---------------------------------------------------------------------------------- the table */

#define DB_STEP (1u << 14)

/* clang-format off */
static const struct exception_row rows[] = {
    {"#DE",               0,               "exception_de",       NULL,            0,  FAULT,    NO_ERROR, 0},
    {"#DB step",          0,               "exception_nop",      set_tf,          1,  TRAP,     NO_ERROR, DB_STEP},
    {"#DB breakpoint",    0,               "exception_nop",      set_breakpoint,  1,  FAULT,    NO_ERROR, 2},
    {"#DB icebp",         0,               "exception_icebp",    NULL,            1,  SOFTWARE, NO_ERROR, 0},
    {"#BP",               0,               "exception_bp",       NULL,            3,  SOFTWARE, NO_ERROR, 0},
    {"#OF",               VM_ALL & ~VM_CODE64, "exception_of",   NULL,            4,  SOFTWARE, NO_ERROR, 0},
    {"#BR",               VM_ALL & ~VM_CODE64, "exception_br",   NULL,            5,  FAULT,    NO_ERROR, 0},
    {"#UD",               0,               "exception_ud",       NULL,            6,  FAULT,    NO_ERROR, 0},
    {"#NM",               0,               "exception_nm",       set_ts,          7,  FAULT,    NO_ERROR, 0},
    {"#DF",               VM_PROTECTED_0,  "exception_gp",       break_gp_gate,   8,  FAULT,    0,        0},
    {"#TS iret",          VM_LEGACY & VM_PROTECTED_0, "exception_ts", NULL,       10, FAULT,    0,        0},
    {"#NP",               VM_PROTECTED_0,  "exception_np",       NULL,            11, FAULT,    0x70,     0},
    {"#SS selector",      VM_PROTECTED_0,  "exception_ss",       NULL,            12, FAULT,    0x70,     0},
    {"#SS limit",         VM_BIT(VM_REAL), "exception_ss_real",  NULL,            12, FAULT,    NO_ERROR, 0},
    {"#SS canonical",     VM_CODE64,       "exception_ss_long",  NULL,            12, FAULT,    0,        0},
    {"#GP selector",      VM_PROTECTED_0,  "exception_gp",       NULL,            13, FAULT,    0xfff8,   0},
    {"#GP limit",         VM_BIT(VM_REAL), "exception_gp_limit", NULL,            13, FAULT,    NO_ERROR, 0},
    {"#GP limit",         VM_BIT(VM_PROT16), "exception_gp_limit", NULL,          13, FAULT,    0,        0},
    {"#GP canonical",     VM_CODE64,       "exception_gp_long",  NULL,            13, FAULT,    0,        0},
    {"#PF read absent",   VM_PAGED & VM_CPL0, "exception_pf_read",  page_absent,     14, FAULT, 0,        PF_ADDRESS},
    {"#PF write absent",  VM_PAGED & VM_CPL0, "exception_pf_write", page_absent,     14, FAULT, 2,        PF_ADDRESS},
    {"#PF write",         VM_PAGED & VM_CPL0, "exception_pf_write", page_read_only,  14, FAULT, 3,        PF_ADDRESS},
    {"#PF user read",     VM_CPL3,         "exception_pf_read",  page_supervisor, 14, FAULT,    5,        PF_ADDRESS},
    {"#PF user write",    VM_CPL3,         "exception_pf_write", page_read_only,  14, FAULT,    7,        PF_ADDRESS},
    {"#PF reserved",      VM_BIT(VM_PAE) | VM_BIT(VM_LONG), "exception_pf_read", page_reserved, 14, FAULT, 9, PF_ADDRESS},
    {"#MF",               0,               "exception_mf",       fpu_unmask,      16, FAULT,    NO_ERROR, 0},
    {"#AC",               VM_CPL3,         "exception_ac",       align_check,     17, FAULT,    0,        0},
    {"#XM",               0,               "exception_xm",       mxcsr_unmask,    19, FAULT,    NO_ERROR, 0},
};
/* clang-format on */

static bool start(struct vm *vm, const struct exception_row *row, enum vm_mode mode, void (*configure)(struct vm *vm))
{
    if (!vm_create(vm, 1, configure) || !vm_enter(vm, mode) || !vm_load(vm, row->guest))
        return false;
    if (row->prepare)
        row->prepare(vm);
    return true;
}

/* --------------------------------------------------------------------------------- as an exit */

static void all_exceptions_exit(struct vm *vm)
{
    uint64_t offered = 0;

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeExceptionExitBitmap, &offered, sizeof(offered), NULL));
    vm_set_exceptions(vm, offered);
}

/* The #GP of "#DF" comes first, and exits too unless only the double fault is asked for. */
static void double_fault_exits(struct vm *vm)
{
    vm_set_exceptions(vm, 1 << 8);
}

static bool start_with_exits(struct vm *vm, const struct exception_row *row, enum vm_mode mode)
{
    return start(vm, row, mode, row->vector == 8 ? double_fault_exits : all_exceptions_exit);
}

static void check_exception(struct vm *vm, const struct exception_row *row)
{
    const WHV_VP_EXCEPTION_CONTEXT *e = &vm->exit.VpException;

    EXPECT_EQ(e->ExceptionType, row->vector);
    EXPECT_EQ(e->ExceptionInfo.ErrorCodeValid, row->error >= 0);
    EXPECT_EQ(e->ExceptionInfo.SoftwareException, row->kind == SOFTWARE);
    EXPECT_EQ(e->ExceptionInfo.Reserved, 0);
    EXPECT_EQ(e->ErrorCode, row->error >= 0 ? row->error : 0);
    EXPECT_EQ(e->ExceptionParameter, row->parameter);
    EXPECT_EQ(vm->exit.VpContext.Rip, vm_mark(vm, row->kind == TRAP));
    vm_check_bytes(vm, e->InstructionByteCount, e->InstructionBytes, true);
    EXPECT_EQ(vm->exit.VpContext.ExecutionState.InterruptionPending, 0);
}

TEST_ROWS_MODES(exits_exception, "exits: exception", rows, VM_ALL)
{
    VM(vm);
    REQUIRE(start_with_exits(&vm, row, mode));
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    check_exception(&vm, row);
    if (row->kind == SOFTWARE)
        EXPECT_EQ(vm.exit.VpContext.InstructionLength, vm_mark(&vm, 1) - vm_mark(&vm, 0));
    if (row->vector == 14)
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr2), 0);
}

/* Instruction fetches: there is no instruction to be read, and RIP is the target. */
static const struct {
    const char *name;
    uint32_t modes;
    void (*prepare)(struct vm *vm);
    uint32_t error;
} fetch_rows[] = {
    {"absent page", VM_BIT(VM_PAGED32) | VM_BIT(VM_PAE), page_absent, 0},
    {"absent page", VM_BIT(VM_LONG) | VM_BIT(VM_COMPAT), page_absent, 0x10},
    {"no-execute page", VM_BIT(VM_LONG) | VM_BIT(VM_COMPAT), page_no_execute, 0x11},
    {"supervisor page", VM_BIT(VM_LONG_3), page_supervisor, 0x15},
};

TEST_ROWS_MODES(exits_exception_fetch, "exits: exception: #PF of a fetch", fetch_rows, VM_ALL)
{
    VM_GUEST(vm, mode, "exception_pf_fetch", all_exceptions_exit);
    row->prepare(&vm);
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    EXPECT_EQ(vm.exit.VpException.ExceptionType, 14);
    EXPECT_EQ(vm.exit.VpException.ErrorCode, row->error);
    EXPECT_EQ(vm.exit.VpException.ExceptionParameter, PF_ADDRESS);
    EXPECT_EQ(vm.exit.VpContext.Rip, PF_ADDRESS);
}

/* ------------------------------------------------------------------- delivered to the guest */

static void check_delivered(struct vm *vm, const struct exception_row *row)
{
    unsigned word = row->error >= 0 && vm->mode != VM_REAL;

    REQUIRE(EXPECT_EQ(vm->exit.VpContext.Rip, VM_STUB(row->vector) + 1));
    if (word)
        EXPECT_EQ(vm_stack(vm, 0), row->error & (vm_word_size(vm) == 2 ? 0xffff : ~0u));
    EXPECT_EQ(vm_stack(vm, word), vm_mark(vm, row->kind != FAULT));
    if (row->vector == 14)
        EXPECT_EQ(vm_get(vm, WHvX64RegisterCr2), row->parameter);
    EXPECT_EQ(vm_get(vm, WHvRegisterPendingInterruption), 0);
}

/* Without a stack to deliver it on, a stack fault is a triple fault. */
static bool has_stack_left(const struct exception_row *row, enum vm_mode mode)
{
    return row->vector != 12 || mode == VM_LONG_3 || strcmp(row->guest, "exception_ss") == 0;
}

TEST_ROWS_MODES(exits_exception_delivered, "exits: exception without exit", rows, VM_ALL)
{
    VM(vm);
    REQUIRE(start(&vm, row, mode, NULL));
    if (!has_stack_left(row, mode))
        return;
    REQUIRE(EXPECT_EXIT(&vm, X64Halt));
    check_delivered(&vm, row);
}

/* --------------------------------------------------------------------- given back by the client */

static void give_back(struct vm *vm)
{
    const WHV_VP_EXCEPTION_CONTEXT *e = &vm->exit.VpException;
    WHV_REGISTER_VALUE event = {.ExceptionEvent = {{.EventPending = 1, .EventType = WHvX64PendingEventException}}};

    event.ExceptionEvent.DeliverErrorCode = e->ExceptionInfo.ErrorCodeValid;
    event.ExceptionEvent.Vector = e->ExceptionType;
    event.ExceptionEvent.ErrorCode = e->ErrorCode;
    event.ExceptionEvent.ExceptionParameter = e->ExceptionParameter;
    if (e->ExceptionInfo.SoftwareException)
        vm_step(vm);
    vm_set_value(vm, WHvRegisterPendingEvent, event);
}

TEST_ROWS_MODES(exits_exception_returned, "exits: exception, returned by PendingEvent", rows, VM_ALL)
{
    VM(vm);
    REQUIRE(start_with_exits(&vm, row, mode));
    if (!has_stack_left(row, mode))
        return;
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    give_back(&vm);
    if (row->prepare == set_tf)
        vm_set(&vm, WHvX64RegisterRflags, vm_get(&vm, WHvX64RegisterRflags) & ~FLAG_TF);
    REQUIRE(EXPECT_EXIT(&vm, X64Halt));
    check_delivered(&vm, row);
}

/* ------------------------------------------------------------------------ during a delivery */

/*
 * INT n from CPL 3 finds no stack for CPL 0: the exception interrupts a delivery, which shows as pending. On SVM it may
 * not: the guest will then come to the instruction again.
 */
static void check_interrupted(struct vm *vm, unsigned vector, unsigned length)
{
    WHV_X64_PENDING_INTERRUPTION_REGISTER pending =
        vm_get_value(vm, WHvRegisterPendingInterruption).PendingInterruption;

    EXPECT_EQ(vm->exit.VpContext.ExecutionState.InterruptionPending, pending.InterruptionPending);
    if (vm_is_svm() && !pending.InterruptionPending)
        return;
    EXPECT_EQ(pending.InterruptionPending, 1);
    EXPECT_EQ(pending.InterruptionType, 4);
    EXPECT_EQ(pending.InterruptionVector, vector);
    EXPECT_EQ(pending.InstructionLength, length);
    EXPECT_EQ(pending.DeliverErrorCode, 0);
}

TEST(exits_exception_during_int, "exits: exception: #TS while INT n is delivered")
{
    VM_GUEST(vm, VM_PROT32_3, "exception_int_80", all_exceptions_exit);
    no_ring0_stack(&vm);
    REQUIRE(EXPECT_EXIT(&vm, Exception));
    EXPECT_EQ(vm.exit.VpException.ExceptionType, 10);
    EXPECT_EQ(vm.exit.VpException.ExceptionInfo.ErrorCodeValid, 1);
    EXPECT_EQ(vm.exit.VpException.ErrorCode, 0);
    EXPECT_EQ(vm.exit.VpContext.Rip, vm_mark(&vm, 0));
    check_interrupted(&vm, 0x80, 2);
    *vm_u32(&vm, VM_TSS + 8) = VM_SEL_DATA; /* repaired: the same INT n is delivered */
    EXPECT_VECTOR(&vm, 0x80);
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 1));
}

/* CD 03 is an interrupt, not a breakpoint: no bitmap applies. */
TEST_MODES(exits_exception_int_n, "exits: exception: none for INT n", VM_ALL)
{
    VM_GUEST(vm, mode, "exception_int_3", all_exceptions_exit);
    EXPECT_VECTOR(&vm, 3);
    EXPECT_EQ(vm_stack(&vm, 0), vm_mark(&vm, 1));
}

/* Only the vectors of the bitmap exit, only with ExceptionExit, and the properties may change while the VP exists. */
TEST(exits_exception_bitmap, "exits: exception: bitmap and switch")
{
    VM_GUEST(vm, VM_LONG, "exception_ud", NULL);
    EXPECT_VECTOR(&vm, 6);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    vm_set_exceptions(&vm, 1 << 6);
    EXPECT_EXIT(&vm, Exception);
    vm_set_exceptions(&vm, 1 << 13);
    EXPECT_VECTOR(&vm, 6);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    vm_set_exceptions(&vm, 1 << 6);
    vm_set_exits(&vm, 0);
    EXPECT_VECTOR(&vm, 6);
}
