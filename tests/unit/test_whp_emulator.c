/* SPDX-License-Identifier: MIT */
/* The WinHvEmulation API (virt/whp/emulator.c) with a client's callbacks. */
#include "unit.h"
#include <WinHvEmulation.h>
#include <WinHvPlatform.h>
#include <hv/base/bits.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE  0xFEC00000ull
#define DATA    0x4000ull
#define CODE_AT 0x1000ull
#define CALLS   64

/* The client: registers by name (0 to 0xFFF are all that is asked for), RAM, and what it was called with. */
static struct {
    WHV_REGISTER_VALUE regs[0x20000]; /* by name, names from 0x80000000 on behind 0x10000 */
    uint8_t ram[0x10000];
    unsigned gets, sets, reads, writes, ios, translations;
    UINT32 set_count;
    WHV_REGISTER_NAME set_names[32];
    WHV_EMULATOR_MEMORY_ACCESS_INFO memory[CALLS];
    WHV_EMULATOR_IO_ACCESS_INFO io[CALLS];
    uint64_t device_value;
    WHV_TRANSLATE_GVA_RESULT_CODE translation;
    HRESULT get_result, set_result, memory_result, io_result, translate_result;
    uint64_t skew;
    WHV_EMULATOR_HANDLE to_destroy; /* from inside of a callback */
    HRESULT destroyed;
} c;

static WHV_EMULATOR_HANDLE emulator;
static WHV_VP_EXIT_CONTEXT vp;

static WHV_REGISTER_VALUE *reg(WHV_REGISTER_NAME name)
{
    uint32_t n = (uint32_t)name;

    if (n & 0x80000000)
        n = 0x10000 | (n & 0xFFFF);
    assert_true(n < ARRAY_COUNT(c.regs));
    return &c.regs[n];
}

static HRESULT CALLBACK on_get(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count, WHV_REGISTER_VALUE *values)
{
    assert_ptr_equal(context, &c);
    c.gets++;
    for (UINT32 i = 0; i < count; i++) { /* nothing of ours is there for one who fills in nothing */
        assert_false(values[i].Reg128.Low64 | values[i].Reg128.High64);
        values[i] = *reg(names[i]);
    }
    return c.get_result;
}

static HRESULT CALLBACK on_set(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                               const WHV_REGISTER_VALUE *values)
{
    assert_ptr_equal(context, &c);
    c.sets++;
    c.set_count = count;
    assert_true(count <= ARRAY_COUNT(c.set_names));
    for (UINT32 i = 0; i < count; i++)
        c.set_names[i] = names[i];
    if (FAILED(c.set_result))
        return c.set_result;
    for (UINT32 i = 0; i < count; i++)
        *reg(names[i]) = values[i];
    return S_OK;
}

static HRESULT CALLBACK on_memory(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *access)
{
    assert_ptr_equal(context, &c);
    assert_in_range(access->AccessSize, 1, 8);
    if (c.to_destroy)
        c.destroyed = WHvEmulatorDestroyEmulator(c.to_destroy);
    if (FAILED(c.memory_result))
        return c.memory_result;
    if (access->GpaAddress < DEVICE) {
        assert_true(access->GpaAddress + access->AccessSize <= sizeof(c.ram));
        if (access->Direction)
            memcpy(c.ram + access->GpaAddress, access->Data, access->AccessSize);
        else
            memcpy(access->Data, c.ram + access->GpaAddress, access->AccessSize);
        return S_OK;
    }
    if (!access->Direction)
        memcpy(access->Data, &c.device_value, access->AccessSize);
    c.memory[(c.reads + c.writes) % CALLS] = *access;
    *(access->Direction ? &c.writes : &c.reads) += 1;
    return S_OK;
}

static HRESULT CALLBACK on_io(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *access)
{
    assert_ptr_equal(context, &c);
    if (!access->Direction)
        access->Data = (UINT32)c.device_value;
    c.io[c.ios++ % CALLS] = *access;
    return c.io_result;
}

static HRESULT CALLBACK on_translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                                     WHV_TRANSLATE_GVA_RESULT_CODE *result, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    assert_ptr_equal(context, &c);
    assert_int_equal(gva & 0xFFF, 0);
    (void)flags;
    c.translations++;
    *result = c.translation;
    *gpa = gva + c.skew;
    return c.translate_result;
}

static const WHV_EMULATOR_CALLBACKS good = {
    .Size = sizeof(good),
    .WHvEmulatorIoPortCallback = on_io,
    .WHvEmulatorMemoryCallback = on_memory,
    .WHvEmulatorGetVirtualProcessorRegisters = on_get,
    .WHvEmulatorSetVirtualProcessorRegisters = on_set,
    .WHvEmulatorTranslateGvaPage = on_translate,
};

/* A virtual processor in 64-bit code, at an instruction of 3 bytes. */
static int start(void **state)
{
    unit_setup(state);
    memset(&c, 0, sizeof(c));
    memset(&vp, 0, sizeof(vp));
    vp.ExecutionState.Cr0Pe = vp.ExecutionState.EferLma = 1;
    vp.InstructionLength = 3;
    vp.Cs.Attributes = 0xa09b;
    vp.Rip = CODE_AT;
    vp.Rflags = 0x10002; /* RF */
    reg(WHvX64RegisterCr0)->Reg64 = 0x80000011;
    reg(WHvX64RegisterCr4)->Reg64 = 0x220;
    reg(WHvX64RegisterEfer)->Reg64 = 0x500;
    reg(WHvX64RegisterRdi)->Reg64 = DEVICE;
    reg(WHvX64RegisterRip)->Reg64 = CODE_AT;
    assert_int_equal(WHvEmulatorCreateEmulator(&good, &emulator), S_OK);
    return 0;
}

static int stop(void **state)
{
    assert_int_equal(WHvEmulatorDestroyEmulator(emulator), S_OK);
    return unit_teardown(state);
}

static UINT32 try_mmio(const char *code, size_t size, WHV_MEMORY_ACCESS_TYPE type, uint64_t gva)
{
    WHV_MEMORY_ACCESS_CONTEXT access = {
        .InstructionByteCount = (UINT8)size,
        .AccessInfo = {.AccessType = type, .GvaValid = 1},
        .Gpa = DEVICE + (gva & 0xFFF),
        .Gva = gva,
    };
    WHV_EMULATOR_STATUS status = {.AsUINT32 = ~0u};

    memcpy(access.InstructionBytes, code, size);
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, &vp, &access, &status), S_OK);
    return status.AsUINT32;
}

#define MMIO(code, type) try_mmio(code, sizeof(code) - 1, type, DEVICE)
#define READ             WHvMemoryAccessRead
#define WRITE            WHvMemoryAccessWrite

static WHV_X64_IO_PORT_ACCESS_CONTEXT port_access(bool is_write, unsigned size)
{
    return (WHV_X64_IO_PORT_ACCESS_CONTEXT){
        .AccessInfo = {.IsWrite = is_write, .AccessSize = size},
        .PortNumber = 0x3f8,
        .Rax = 0x1122334455667788,
    };
}

static UINT32 try_io(const WHV_X64_IO_PORT_ACCESS_CONTEXT *io)
{
    WHV_EMULATOR_STATUS status = {.AsUINT32 = ~0u};

    assert_int_equal(WHvEmulatorTryIoEmulation(emulator, &c, &vp, io, &status), S_OK);
    return status.AsUINT32;
}

#define SUCCESS 0x001u

/* the other bits of a status */
#define INTERNAL    0x002u
#define IO_FAILED   0x004u
#define MEMORY      0x008u
#define TRANSLATE   0x010u
#define UNALIGNED   0x020u
#define GET         0x040u
#define SET         0x080u
#define INTERRUPTED 0x100u
#define NO_FAULT    0x200u

static bool was_set(WHV_REGISTER_NAME name)
{
    for (UINT32 i = 0; i < c.set_count; i++)
        if (c.set_names[i] == name)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------ ports */

static void simple_ports_need_no_registers(void **state)
{
    static const struct {
        unsigned size;
        uint64_t rax;
    } rows[] = {{1, 0x11223344556677ef}, {2, 0x112233445566cdef}, {4, 0x89abcdef}};

    (void)state;
    c.device_value = 0x89abcdef;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        WHV_X64_IO_PORT_ACCESS_CONTEXT io = port_access(false, rows[i].size);

        assert_int_equal(try_io(&io), SUCCESS);
        assert_int_equal(c.io[i].AccessSize, rows[i].size);
        assert_int_equal(c.io[i].Direction, 0);
        assert_int_equal(c.io[i].Port, 0x3f8);
        assert_int_equal(reg(WHvX64RegisterRax)->Reg64, rows[i].rax);
        assert_int_equal(reg(WHvX64RegisterRip)->Reg64, CODE_AT + 3);
        assert_int_equal(reg(WHvX64RegisterRflags)->Reg64, 2);
    }
    assert_int_equal(c.gets, 0);
    assert_int_equal(c.sets, 3);
}

static void out_gives_the_value_and_leaves_rax(void **state)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT io = port_access(true, 2);

    (void)state;
    assert_int_equal(try_io(&io), SUCCESS);
    assert_int_equal(c.io[0].Direction, 1);
    assert_int_equal(c.io[0].Data, 0x7788);
    assert_false(was_set(WHvX64RegisterRax));
    vp.Rip = 0xffffffff; /* in 32-bit code RIP wraps */
    vp.Cs.Attributes = 0xc09b;
    assert_int_equal(try_io(&io), SUCCESS);
    assert_int_equal(reg(WHvX64RegisterRip)->Reg64, 2);
}

static void string_ports_go_through_the_emulator(void **state)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT io = port_access(false, 2);

    (void)state;
    io.AccessInfo.StringOp = io.AccessInfo.RepPrefix = 1;
    io.InstructionByteCount = 3;
    memcpy(io.InstructionBytes, "\xf3\x66\x6d", 3); /* rep insw */
    reg(WHvX64RegisterRcx)->Reg64 = 2;
    reg(WHvX64RegisterRdx)->Reg64 = 0x3f8;
    reg(WHvX64RegisterRdi)->Reg64 = DATA;
    c.device_value = 0xabcd;
    assert_int_equal(try_io(&io), SUCCESS);
    assert_int_equal(c.ios, 2);
    assert_memory_equal(c.ram + DATA, "\xcd\xab\xcd\xab", 4);
    assert_int_equal(reg(WHvX64RegisterRcx)->Reg64, 0);
    assert_int_equal(reg(WHvX64RegisterRdi)->Reg64, DATA + 4);
    assert_int_equal(c.gets, 1);
    assert_int_equal(c.sets, 1);
}

/* ----------------------------------------------------------------------------------- memory */

#define MMIO_AT(offset, code, type) try_mmio(code, sizeof(code) - 1, type, DEVICE + (offset))

static void a_load_needs_no_registers(void **state)
{
    (void)state;
    c.device_value = 0x12345678;
    assert_int_equal(MMIO_AT(0x20, "\x8b\x47\x20", READ), SUCCESS); /* mov eax, [rdi+0x20] */
    assert_int_equal(c.reads, 1);
    assert_int_equal(c.memory[0].GpaAddress, DEVICE + 0x20);
    assert_int_equal(c.memory[0].AccessSize, 4);
    assert_int_equal(reg(WHvX64RegisterRax)->Reg64, 0x12345678);
    assert_int_equal(reg(WHvX64RegisterRip)->Reg64, CODE_AT + 3);
    assert_int_equal(c.gets, 0);
    assert_int_equal(c.sets, 1);
    assert_int_equal(c.set_count, 3); /* RIP, RFLAGS, RAX */
    assert_int_equal(c.translations, 0);
}

/* What the instruction itself needs, by one call; addresses the exit has told, whatever they are made of. */
static void moves_read_one_register_at_most(void **state)
{
    static const struct {
        const char *code;
        WHV_MEMORY_ACCESS_TYPE type;
        unsigned gets;
        uint64_t rax, stored; /* the value afterwards */
    } rows[] = {
        {"\x48\x8b\x07", READ, 0, 0xfedcba9876543281, 0},
        {"\x8b\x04\xcf", READ, 0, 0x76543281, 0}, /* mov eax, [rdi+rcx*8] */
        {"\x65\x8b\x07", READ, 0, 0x76543281, 0}, /* of GS */
        {"\x0f\xb6\x07", READ, 0, 0x81, 0},
        {"\x66\x8b\x07", READ, 1, 0x1122334455663281, 0},
        {"\x8a\x27\x90", READ, 1, 0x1122334455668188, 0},
        {"\x89\x07\x90", WRITE, 1, 0x1122334455667788, 0x55667788},
        {"\x88\x27\x90", WRITE, 1, 0x1122334455667788, 0x77},
        {"\xc6\x07\x99", WRITE, 0, 0x1122334455667788, 0x99},
    };

    (void)state;
    c.device_value = 0xfedcba9876543281;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t stored = 0;

        c.gets = c.sets = c.reads = c.writes = 0;
        memset(c.memory, 0, sizeof(c.memory));
        reg(WHvX64RegisterRax)->Reg64 = 0x1122334455667788;
        assert_int_equal(try_mmio(rows[i].code, 3, rows[i].type, DEVICE + 0x40), SUCCESS);
        assert_int_equal(c.gets, rows[i].gets);
        assert_int_equal(c.sets, 1);
        assert_int_equal(c.reads, rows[i].type == READ);
        assert_int_equal(c.writes, rows[i].type == WRITE);
        assert_int_equal(c.memory[0].GpaAddress, DEVICE + 0x40);
        memcpy(&stored, c.memory[0].Data, c.memory[0].AccessSize);
        assert_int_equal(rows[i].type == WRITE ? stored : 0, rows[i].stored);
        assert_int_equal(reg(WHvX64RegisterRax)->Reg64, rows[i].rax);
    }
    assert_int_equal(c.translations, 0);
}

/* The end of a shadow and a single step's trap come with a move, too; and in 32-bit code a REX is an instruction. */
static void unusual_moves_are_emulated(void **state)
{
    (void)state;
    vp.ExecutionState.InterruptShadow = 1;
    reg(WHvRegisterInterruptState)->InterruptState.InterruptShadow = 1;
    assert_int_equal(MMIO("\x8b\x07", READ), SUCCESS);
    assert_int_equal(reg(WHvRegisterInterruptState)->InterruptState.InterruptShadow, 0);
    vp.ExecutionState.InterruptShadow = 0;
    vp.Rflags |= 0x100; /* TF */
    assert_int_equal(MMIO("\x8b\x07", READ), SUCCESS);
    assert_int_equal(reg(WHvX64RegisterPendingDebugException)->PendingDebugException.SingleStep, 1);
    vp.Rflags = 2;
    assert_int_equal(c.reads, 2);
    vp.Cs.Attributes = 0xc09b;
    (void)MMIO("\x41\x8b\x07", READ); /* inc ecx */
    assert_int_equal(c.reads, 2);
}

/* The part of an operand behind a page's end, and one whose address is not told: where it is the registers say. */
static void parts_go_by_the_registers(void **state)
{
    WHV_MEMORY_ACCESS_CONTEXT access = {.InstructionByteCount = 2, .InstructionBytes = {0x8b, 0x07}};
    WHV_EMULATOR_STATUS status;

    (void)state;
    c.translation = WHvTranslateGvaResultSuccess;
    c.device_value = 0x11223344;
    reg(WHvX64RegisterRdi)->Reg64 = DEVICE + 0xffe;
    access.Gpa = DEVICE + 0x1000;
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, &vp, &access, &status), S_OK);
    assert_int_equal(status.AsUINT32, SUCCESS);
    assert_int_equal(c.reads, 2);
    assert_int_equal(c.memory[0].GpaAddress, DEVICE + 0xffe);
    assert_int_equal(c.memory[1].GpaAddress, DEVICE + 0x1000);
    assert_int_equal(reg(WHvX64RegisterRax)->Reg64, 0x33443344);
    assert_int_equal(MMIO_AT(0xffe, "\x8b\x07", READ), SUCCESS); /* the first part */
    assert_int_equal(c.reads, 4);
    assert_int_equal(c.gets, 2);
}

/* That the guest may read a page does not say that it may write to it. */
static void a_read_is_no_permission_to_write(void **state)
{
    (void)state;
    c.translation = WHvTranslateGvaResultPrivilegeViolation;
    assert_int_equal(MMIO("\x09\x07", WRITE), SUCCESS);
    assert_int_equal(c.translations, 0);
    assert_int_equal(c.writes, 1);
    assert_int_equal(MMIO("\x09\x07", READ), SUCCESS);
    assert_int_equal(c.writes, 1);
    assert_int_equal(reg(WHvRegisterPendingEvent)->ExceptionEvent.Vector, 14);
}

static void bytes_not_given_are_fetched(void **state)
{
    (void)state;
    memcpy(c.ram + CODE_AT, "\x89\x47\x10", 3);
    reg(WHvX64RegisterRax)->Reg64 = 0x55;
    assert_int_equal(MMIO("", WRITE), SUCCESS);
    assert_int_equal(c.writes, 1);
    assert_int_equal(c.memory[0].GpaAddress, DEVICE + 0x10);
    assert_int_equal(c.memory[0].Data[0], 0x55);
    assert_int_equal(c.translations, 1); /* of the code */
}

static void xmm_registers_are_read_and_written_when_used(void **state)
{
    (void)state;
    reg(WHvX64RegisterXmm2)->Reg128.Low64 = 0x1111;
    reg(WHvX64RegisterXmm2)->Reg128.High64 = 0x2222;
    assert_int_equal(MMIO("\x0f\x11\x17", WRITE), SUCCESS); /* movups [rdi], xmm2 */
    assert_int_equal(c.gets, 2);
    assert_int_equal(c.writes, 2);
    assert_int_equal(c.memory[1].Data[0], 0x22);
    c.device_value = 0x77;
    assert_int_equal(MMIO("\xf3\x0f\x7e\x17", READ), SUCCESS); /* movq xmm2, [rdi] */
    assert_int_equal(reg(WHvX64RegisterXmm2)->Reg128.Low64, 0x77);
    assert_int_equal(reg(WHvX64RegisterXmm2)->Reg128.High64, 0);
    assert_int_equal(c.sets, 2);
}

static void a_long_repetition_goes_on_in_the_guest(void **state)
{
    (void)state;
    reg(WHvX64RegisterRcx)->Reg64 = 5000;
    assert_int_equal(MMIO("\xf3\xaa", WRITE), SUCCESS);
    assert_int_equal(reg(WHvX64RegisterRcx)->Reg64, 5000 - 4096);
    assert_int_equal(reg(WHvX64RegisterRip)->Reg64, CODE_AT);
    assert_int_equal(c.sets, 1);
}

/* ----------------------------------------------------------------- what the guest has to take */

static WHV_X64_PENDING_EXCEPTION_EVENT pending(void)
{
    return reg(WHvRegisterPendingEvent)->ExceptionEvent;
}

static void a_fault_becomes_a_pending_event(void **state)
{
    (void)state;
    reg(WHvX64RegisterRsi)->Reg64 = DEVICE;
    reg(WHvX64RegisterRdi)->Reg64 = DATA;
    c.translation = WHvTranslateGvaResultPageNotPresent;
    vp.ExecutionState.Cpl = 3;
    assert_int_equal(MMIO("\xa5", READ), SUCCESS); /* movsd: RAM is what is missing */
    assert_int_equal(pending().EventPending, 1);
    assert_int_equal(pending().EventType, WHvX64PendingEventException);
    assert_int_equal(pending().Vector, 14);
    assert_int_equal(pending().DeliverErrorCode, 1);
    assert_int_equal(pending().ErrorCode, 6);
    assert_int_equal(pending().ExceptionParameter, DATA);
    assert_int_equal(reg(WHvX64RegisterRip)->Reg64, CODE_AT);
    assert_int_equal(c.reads, 0);
    assert_int_equal(c.sets, 1);
    c.set_result = E_FAIL;
    assert_int_equal(MMIO("\xa5", READ), SET | NO_FAULT);
}

static void a_fault_keeps_the_iterations_before_it(void **state)
{
    (void)state;
    reg(WHvX64RegisterRsi)->Reg64 = DEVICE + 0xffc;
    reg(WHvX64RegisterRdi)->Reg64 = DEVICE;
    reg(WHvX64RegisterRcx)->Reg64 = 4;
    c.translation = WHvTranslateGvaResultPageNotPresent;
    assert_int_equal(try_mmio("\xf3\xa5", 2, WRITE, DEVICE), SUCCESS);
    assert_int_equal(reg(WHvX64RegisterRcx)->Reg64, 3);
    assert_int_equal(reg(WHvX64RegisterRsi)->Reg64, DEVICE + 0x1000);
    assert_int_equal(pending().ExceptionParameter, DEVICE + 0x1000);
}

static void steps_and_shadows_end_with_the_instruction(void **state)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT io = port_access(true, 1);

    (void)state;
    vp.ExecutionState.InterruptShadow = 1;
    vp.Rflags |= 0x100;
    reg(WHvRegisterInterruptState)->Reg64 = 3; /* NMIs are masked too */
    assert_int_equal(MMIO("\x89\x47\x20", WRITE), SUCCESS);
    assert_int_equal(reg(WHvRegisterInterruptState)->Reg64, 2);
    assert_int_equal(reg(WHvX64RegisterPendingDebugException)->Reg64, 0x10);
    reg(WHvRegisterInterruptState)->Reg64 = 1;
    io.InstructionByteCount = 1;
    io.InstructionBytes[0] = 0xee; /* out dx, al */
    assert_int_equal(try_io(&io), SUCCESS);
    assert_int_equal(reg(WHvRegisterInterruptState)->Reg64, 0);
    vp.ExecutionState.InterruptShadow = 0;
    vp.Rflags = 2;
    assert_int_equal(MMIO("\x89\x47\x20", WRITE), SUCCESS);
    assert_int_equal(c.set_count, 1);
}

/* ---------------------------------------------------------------------------------- failures */

static void each_failure_has_its_bit_and_sets_nothing(void **state)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT io = port_access(true, 1);

    (void)state;
    assert_int_equal(MMIO("\x0f\x05", READ), INTERNAL);
    assert_int_equal(MMIO("\x8b\x07", WHvMemoryAccessExecute), INTERNAL);
    c.memory_result = E_FAIL;
    assert_int_equal(MMIO("\x8b\x07", READ), MEMORY);
    c.get_result = E_FAIL;
    assert_int_equal(MMIO("\x8a\x07", READ), GET);
    assert_int_equal(MMIO("\x89\x07", WRITE), GET);
    assert_int_equal(MMIO("\xa5", READ), GET);
    c.get_result = c.memory_result = S_OK;
    c.io_result = E_FAIL;
    assert_int_equal(try_io(&io), IO_FAILED);
    c.translate_result = E_FAIL;
    assert_int_equal(MMIO("", READ), TRANSLATE);
    c.translate_result = S_OK;
    c.skew = 0x10;
    assert_int_equal(MMIO("", READ), UNALIGNED);
    vp.ExecutionState.InterruptionPending = 1;
    assert_int_equal(MMIO("\x8b\x07", READ), INTERRUPTED);
    assert_int_equal(try_io(&io), INTERRUPTED);
    assert_int_equal(c.sets, 0);
    assert_int_equal(c.ios, 1);
    vp.ExecutionState.InterruptionPending = 0;
    c.set_result = E_FAIL;
    assert_int_equal(MMIO("\x8b\x07", READ), SET);
}

static void malformed_contexts_are_refused(void **state)
{
    WHV_MEMORY_ACCESS_CONTEXT memory = {
        .InstructionByteCount = 17, .InstructionBytes = {0x8b, 0x07}, .AccessInfo.GvaValid = 1};
    WHV_X64_IO_PORT_ACCESS_CONTEXT io = port_access(true, 3);
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0x777};

    (void)state;
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, &vp, &memory, &status), E_INVALIDARG);
    memory.InstructionByteCount = 16;
    memory.AccessInfo.AccessType = 3;
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, &vp, &memory, &status), E_INVALIDARG);
    memory.AccessInfo.AccessType = 0;
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, NULL, &memory, &status), E_INVALIDARG);
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, &vp, NULL, &status), E_INVALIDARG);
    assert_int_equal(WHvEmulatorTryMmioEmulation(emulator, &c, &vp, &memory, NULL), E_INVALIDARG);
    assert_int_equal(WHvEmulatorTryMmioEmulation(&c, &c, &vp, &memory, &status), E_INVALIDARG);
    assert_int_equal(WHvEmulatorTryIoEmulation(emulator, &c, &vp, &io, &status), E_INVALIDARG);
    io.AccessInfo.AccessSize = 4;
    io.InstructionByteCount = 17;
    assert_int_equal(WHvEmulatorTryIoEmulation(emulator, &c, &vp, &io, &status), E_INVALIDARG);
    io.InstructionByteCount = 0;
    assert_int_equal(WHvEmulatorTryIoEmulation(NULL, &c, &vp, &io, &status), E_INVALIDARG);
    assert_int_equal(status.AsUINT32, 0x777);
    assert_int_equal(c.gets + c.sets + c.ios, 0);
}

/* -------------------------------------------------------------------------------------- life */

static void callbacks_have_to_be_complete(void **state)
{
    WHV_EMULATOR_CALLBACKS bad = good;
    WHV_EMULATOR_HANDLE handle = NULL;

    (void)state;
    bad.Size--;
    assert_int_equal(WHvEmulatorCreateEmulator(&bad, &handle), E_INVALIDARG);
    for (size_t at = 8; at < sizeof(bad); at += sizeof(void *)) {
        bad = good;
        memset((char *)&bad + at, 0, sizeof(void *));
        assert_int_equal(WHvEmulatorCreateEmulator(&bad, &handle), E_INVALIDARG);
    }
    assert_int_equal(WHvEmulatorCreateEmulator(NULL, &handle), E_INVALIDARG);
    assert_int_equal(WHvEmulatorCreateEmulator(&good, NULL), E_INVALIDARG);
    assert_null(handle);
}

static void handles_die_with_their_emulator(void **state)
{
    WHV_EMULATOR_HANDLE other = NULL;

    (void)state;
    assert_int_equal(WHvEmulatorCreateEmulator(&good, &other), S_OK);
    assert_ptr_not_equal(other, emulator);
    assert_int_equal(WHvEmulatorDestroyEmulator(other), S_OK);
    assert_int_equal(WHvEmulatorDestroyEmulator(other), E_INVALIDARG);
    assert_int_equal(WHvEmulatorDestroyEmulator(NULL), E_INVALIDARG);
    assert_int_equal(WHvDeletePartition(emulator), E_INVALIDARG);
}

/* A callback that destroys its emulator would pull the floor away under it. */
static void an_emulator_in_use_is_not_destroyed(void **state)
{
    (void)state;
    c.to_destroy = emulator;
    assert_int_equal(MMIO("\x8b\x07", READ), SUCCESS);
    assert_int_equal(c.destroyed, HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(simple_ports_need_no_registers),
        TEST(out_gives_the_value_and_leaves_rax),
        TEST(string_ports_go_through_the_emulator),
        TEST(a_load_needs_no_registers),
        TEST(moves_read_one_register_at_most),
        TEST(unusual_moves_are_emulated),
        TEST(parts_go_by_the_registers),
        TEST(a_read_is_no_permission_to_write),
        TEST(bytes_not_given_are_fetched),
        TEST(xmm_registers_are_read_and_written_when_used),
        TEST(a_long_repetition_goes_on_in_the_guest),
        TEST(a_fault_becomes_a_pending_event),
        TEST(a_fault_keeps_the_iterations_before_it),
        TEST(steps_and_shadows_end_with_the_instruction),
        TEST(each_failure_has_its_bit_and_sets_nothing),
        TEST(malformed_contexts_are_refused),
        TEST(callbacks_have_to_be_complete),
        TEST(handles_die_with_their_emulator),
        TEST(an_emulator_in_use_is_not_destroyed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
