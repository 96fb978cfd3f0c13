/* SPDX-License-Identifier: MIT */
/*
 * vmm/processor.c: what each exit leads to, with a hypervisor that hands out exits from a list. The functions of the
 * API are this file's own.
 */
#include "fake_system.h"
#include "unit.h"
#include <string.h>
#include <vmm/guest.h>
#include <whp/WinHvDiagnostics.h>

#define PARTITION ((WHV_PARTITION_HANDLE)(uintptr_t)1)
#define EMULATOR  ((WHV_EMULATOR_HANDLE)(uintptr_t)2)
#define RIP       0x1000u

static struct guest guest;
static struct processor processor;
static WHV_RUN_VP_EXIT_CONTEXT exits[4];
static uint32_t exit_count, exit_next, canceled;
static uint64_t rip, rax;
static uint32_t set_calls, emulated_ports, emulated_memory, eoi_vector;
static HRESULT run_result;
static WHV_EMULATOR_STATUS emulator_status;
static WHV_EMULATOR_CALLBACKS callbacks;
static uint64_t port_value, port_written, written_size;

/* --------------------------------------------------------------------------------- the hypervisor */

HRESULT WHvRunVirtualProcessor(WHV_PARTITION_HANDLE partition, UINT32 index, VOID *context, UINT32 size)
{
    assert_ptr_equal(partition, PARTITION);
    assert_int_equal(index, 0);
    assert_int_equal(size, sizeof(exits[0]));
    assert_true(exit_next < exit_count);
    memcpy(context, &exits[exit_next++], size);
    return run_result;
}

HRESULT WHvCancelRunVirtualProcessor(WHV_PARTITION_HANDLE partition, UINT32 index, UINT32 flags)
{
    (void)partition;
    (void)index;
    assert_int_equal(flags, 0);
    canceled++;
    return S_OK;
}

HRESULT WHvSetVirtualProcessorRegisters(WHV_PARTITION_HANDLE partition, UINT32 index, const WHV_REGISTER_NAME *names,
                                        UINT32 count, const WHV_REGISTER_VALUE *values)
{
    (void)partition;
    (void)index;
    set_calls++;
    for (UINT32 i = 0; i < count; i++) {
        if (names[i] == WHvX64RegisterRip)
            rip = values[i].Reg64;
        else if (names[i] == WHvX64RegisterRax)
            rax = values[i].Reg64;
        else
            fail_msg("register 0x%x", names[i]);
    }
    return S_OK;
}

HRESULT WHvGetVirtualProcessorRegisters(WHV_PARTITION_HANDLE partition, UINT32 index, const WHV_REGISTER_NAME *names,
                                        UINT32 count, WHV_REGISTER_VALUE *values)
{
    (void)partition;
    (void)index;
    for (UINT32 i = 0; i < count; i++)
        values[i] = (WHV_REGISTER_VALUE){.Reg64 = names[i] == WHvX64RegisterRip ? 0x1ff8 : 0};
    return S_OK;
}

HRESULT WHvReadGpaRange(WHV_PARTITION_HANDLE partition, UINT32 index, WHV_GUEST_PHYSICAL_ADDRESS gpa,
                        WHV_ACCESS_GPA_CONTROLS controls, VOID *data, UINT32 size)
{
    (void)partition, (void)index, (void)controls;
    assert_int_equal(gpa, 0x1ff8);
    assert_int_equal(size, 8); /* not into the next page */
    memset(data, 0x90, size);
    return S_OK;
}

/* vector 49 in service, 236 requested */
HRESULT WHvGetVirtualProcessorInterruptControllerState2(WHV_PARTITION_HANDLE partition, UINT32 index, VOID *state,
                                                        UINT32 size, UINT32 *written)
{
    (void)partition, (void)index;
    memset(state, 0, size);
    ((UINT8 *)state)[0x110 + 2] = 1 << 1;
    ((UINT8 *)state)[0x270 + 1] = 1 << 4;
    *written = size;
    return S_OK;
}

HRESULT WHvTranslateGva(WHV_PARTITION_HANDLE partition, UINT32 index, WHV_GUEST_VIRTUAL_ADDRESS gva,
                        WHV_TRANSLATE_GVA_FLAGS flags, WHV_TRANSLATE_GVA_RESULT *result,
                        WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    (void)partition;
    (void)index;
    (void)flags;
    result->ResultCode = WHvTranslateGvaResultSuccess;
    *gpa = gva;
    return S_OK;
}

/* vmm/memory.c's; with it the library's own file of these functions stays out. */
HRESULT WHvMapGpaRange(WHV_PARTITION_HANDLE partition, VOID *source, WHV_GUEST_PHYSICAL_ADDRESS gpa, UINT64 size,
                       WHV_MAP_GPA_RANGE_FLAGS flags)
{
    (void)partition;
    (void)source;
    (void)gpa;
    (void)size;
    (void)flags;
    return S_OK;
}

HRESULT WHvCreateVirtualProcessor(WHV_PARTITION_HANDLE partition, UINT32 index, UINT32 flags)
{
    (void)partition;
    (void)index;
    (void)flags;
    return S_OK;
}

HRESULT WHvDeleteVirtualProcessor(WHV_PARTITION_HANDLE partition, UINT32 index)
{
    (void)partition;
    (void)index;
    return S_OK;
}

HRESULT WHvEmulatorCreateEmulator(const WHV_EMULATOR_CALLBACKS *given, WHV_EMULATOR_HANDLE *emulator)
{
    assert_int_equal(given->Size, 48);
    callbacks = *given;
    *emulator = EMULATOR;
    return S_OK;
}

HRESULT WHvEmulatorDestroyEmulator(WHV_EMULATOR_HANDLE emulator)
{
    assert_ptr_equal(emulator, EMULATOR);
    return S_OK;
}

HRESULT WHvEmulatorTryIoEmulation(WHV_EMULATOR_HANDLE emulator, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                                  const WHV_X64_IO_PORT_ACCESS_CONTEXT *io, WHV_EMULATOR_STATUS *status)
{
    (void)emulator;
    (void)vp;
    (void)io;
    assert_ptr_equal(context, &processor);
    emulated_ports++;
    *status = emulator_status;
    return S_OK;
}

HRESULT WHvEmulatorTryMmioEmulation(WHV_EMULATOR_HANDLE emulator, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                                    const WHV_MEMORY_ACCESS_CONTEXT *access, WHV_EMULATOR_STATUS *status)
{
    (void)emulator;
    (void)vp;
    (void)access;
    assert_ptr_equal(context, &processor);
    emulated_memory++;
    *status = emulator_status;
    return S_OK;
}

HRESULT WHvxGetTripleFault(WHV_PARTITION_HANDLE partition, UINT32 index, WHVX_TRIPLE_FAULT *fault)
{
    (void)partition;
    (void)index;
    *fault = (WHVX_TRIPLE_FAULT){.Cr2 = 0xdead, .VectorCount = 2, .Vectors = {{14, 2}, {8, 0}}};
    return S_OK;
}

HRESULT WHvxGetAuditFinding(WHV_PARTITION_HANDLE partition, UINT32 index, WHVX_AUDIT_FINDING *finding)
{
    (void)partition;
    (void)index;
    *finding = (WHVX_AUDIT_FINDING){.Rule = "guest.cs.type", .Field = "GUEST_CS", .Text = "text", .Section = "SDM"};
    return S_OK;
}

/* ------------------------------------------------------------------------------- the machine around */

/* In the places of guest.c, ioapic.c, which a machine as a whole would need. */
bool guest_check(const struct guest *g, HRESULT hr, const char *call)
{
    (void)g;
    if (FAILED(hr))
        system_print("%s failed\n", call);
    return SUCCEEDED(hr);
}

void guest_end(struct guest *g, enum machine_end why, uint32_t code)
{
    g->ended = why;
    g->exit_code = code;
}

enum machine_end guest_ended(const struct guest *g)
{
    return (enum machine_end)g->ended;
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    (void)ioapic;
    eoi_vector = vector;
}

static uint64_t device_read(void *device, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)offset;
    (void)size;
    return port_value;
}

static void device_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)device;
    (void)offset;
    written_size = size;
    port_written = value;
}

static const struct bus_handler handler = {device_read, device_write, 0};

static uint8_t ram[SYSTEM_PAGE_SIZE];

static int setup(void **state)
{
    unit_setup(state);
    fake_system_reset();
    memset(&guest, 0, sizeof(guest));
    memset(&processor, 0, sizeof(processor));
    memset(exits, 0, sizeof(exits));
    exit_count = exit_next = canceled = set_calls = emulated_ports = emulated_memory = eoi_vector = 0;
    rip = rax = port_value = port_written = written_size = 0;
    run_result = S_OK;
    emulator_status.AsUINT32 = 1;
    guest.partition = PARTITION;
    guest.number = 1;
    guest.memory = (struct memory){.pieces = {{0, sizeof(ram), ram}}, .count = 1, .low_end = sizeof(ram)};
    assert_true(bus_add(&guest.ports, 0x80, 4, &handler, NULL, "port"));
    assert_true(bus_add(&guest.mmio, 0xfed00000, 8, &handler, NULL, "memory"));
    assert_true(processor_create(&processor, &guest, 0));
    return 0;
}

static int teardown(void **state)
{
    processor_destroy(&processor);
    return unit_teardown(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static WHV_RUN_VP_EXIT_CONTEXT *add_exit(WHV_RUN_VP_EXIT_REASON reason)
{
    WHV_RUN_VP_EXIT_CONTEXT *e = &exits[exit_count++];

    e->ExitReason = reason;
    e->VpContext.Rip = RIP;
    e->VpContext.InstructionLength = 2;
    return e;
}

static void add_port(bool is_write, uint32_t size, uint16_t number, uint64_t value)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT *io = &add_exit(WHvRunVpExitReasonX64IoPortAccess)->IoPortAccess;

    io->AccessInfo.IsWrite = is_write;
    io->AccessInfo.AccessSize = size & 7;
    io->PortNumber = number;
    io->Rax = value;
}

/* The exit that ends each list: nobody handles it. */
static void run(void)
{
    add_exit(WHvRunVpExitReasonX64Rdtsc);
    processor_run(&processor);
}

static void port_reads(void **state)
{
    static const struct {
        uint32_t size;
        uint64_t wanted;
    } cases[] = {{1, 0x1122334455667788}, {2, 0x1122334455667788}, {4, 0x1122334455667788}};
    static const uint64_t wanted[] = {0x11223344556677dd, 0x112233445566ccdd, 0xaabbccdd};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        exit_count = exit_next = set_calls = 0;
        guest.ended = MACHINE_RUNNING;
        port_value = 0x99aabbccdd;
        add_port(false, cases[i].size, 0x80, cases[i].wanted);
        run();
        assert_int_equal(rax, wanted[i]);
        assert_int_equal(rip, RIP + 2);
        assert_int_equal(set_calls, 1);
    }
}

static void port_without_device(void **state)
{
    (void)state;
    add_port(false, 2, 0x1234, 0x1122334455667788);
    run();
    assert_int_equal(rax, 0x112233445566ffff);
}

static void port_writes(void **state)
{
    (void)state;
    rax = 5;
    add_port(true, 2, 0x81, 0x1122334455667788);
    run();
    assert_int_equal(port_written, 0x7788);
    assert_int_equal(written_size, 2);
    assert_int_equal(rip, RIP + 2);
    assert_int_equal(rax, 5);
}

static void emulated(void **state)
{
    (void)state;
    add_port(true, 1, 0x80, 0);
    exits[0].IoPortAccess.AccessInfo.StringOp = 1;
    add_exit(WHvRunVpExitReasonMemoryAccess)->MemoryAccess.Gpa = 0xfed00000;
    run();
    assert_int_equal(emulated_ports, 1);
    assert_int_equal(emulated_memory, 1);
    assert_int_equal(set_calls, 0); /* that is the emulator's */
}

static void emulation_fails(void **state)
{
    (void)state;
    emulator_status.AsUINT32 = 2;
    add_exit(WHvRunVpExitReasonMemoryAccess)->MemoryAccess.Gpa = 0xfed00000;
    processor_run(&processor);
    assert_int_equal(guest.ended, MACHINE_ERROR);
    assert_non_null(strstr(fake_system.printed, "read at guest-physical 0xfed00000, RIP 0x1000"));
}

/* Code where no memory is: no emulator can make that good. */
static void fetch_from_nowhere(void **state)
{
    (void)state;
    add_exit(WHvRunVpExitReasonMemoryAccess)->MemoryAccess.AccessInfo.AccessType = WHvMemoryAccessExecute;
    processor_run(&processor);
    assert_int_equal(guest.ended, MACHINE_ERROR);
    assert_int_equal(emulated_memory, 0);
    assert_non_null(strstr(fake_system.printed, "instruction fetch"));
}

static void memory_callback(void **state)
{
    WHV_EMULATOR_MEMORY_ACCESS_INFO a = {.GpaAddress = 0x10, .Direction = 1, .AccessSize = 4, .Data = {1, 2, 3, 4}};

    (void)state;
    assert_int_equal(callbacks.WHvEmulatorMemoryCallback(&processor, &a), S_OK);
    assert_memory_equal(ram + 0x10, "\1\2\3\4", 4);
    a = (WHV_EMULATOR_MEMORY_ACCESS_INFO){.GpaAddress = 0x11, .AccessSize = 2};
    assert_int_equal(callbacks.WHvEmulatorMemoryCallback(&processor, &a), S_OK);
    assert_memory_equal(a.Data, "\2\3\0", 3);
    a = (WHV_EMULATOR_MEMORY_ACCESS_INFO){.GpaAddress = 0xfed00000, .AccessSize = 8, .Direction = 1, .Data = {7}};
    assert_int_equal(callbacks.WHvEmulatorMemoryCallback(&processor, &a), S_OK);
    assert_int_equal(port_written, 7);
    /* nothing there, and half of it RAM: ones */
    a = (WHV_EMULATOR_MEMORY_ACCESS_INFO){.GpaAddress = SYSTEM_PAGE_SIZE - 1, .AccessSize = 2};
    assert_int_equal(callbacks.WHvEmulatorMemoryCallback(&processor, &a), S_OK);
    assert_memory_equal(a.Data, "\xff\xff\0", 3);
    a.Direction = 1;
    assert_int_equal(callbacks.WHvEmulatorMemoryCallback(&processor, &a), S_OK);
    assert_int_equal(ram[SYSTEM_PAGE_SIZE - 1], 0);
    a.AccessSize = 9;
    assert_true(FAILED(callbacks.WHvEmulatorMemoryCallback(&processor, &a)));
}

static void eoi(void **state)
{
    (void)state;
    add_exit(WHvRunVpExitReasonX64ApicEoi)->ApicEoi.InterruptVector = 0x31;
    run();
    assert_int_equal(eoi_vector, 0x31);
}

/* No call is known: an error to the guest, in the width that it sees, behind the instruction. */
static void hypercall(void **state)
{
    static const uint64_t wanted[] = {0xfffffc18, 0xfffffffffffffc18};

    (void)state;
    for (uint32_t is_long = 0; is_long < 2; is_long++) {
        WHV_RUN_VP_EXIT_CONTEXT *exit;

        exit_count = exit_next = set_calls = 0;
        guest.ended = MACHINE_RUNNING;
        exit = add_exit(WHvRunVpExitReasonHypercall);
        exit->VpContext.InstructionLength = 3;
        exit->VpContext.Cs.Long = is_long & 1;
        run();
        assert_int_equal(rax, wanted[is_long]);
        assert_int_equal(rip, RIP + 3);
        assert_int_equal(set_calls, 1);
    }
}

static void ends(void **state)
{
    static const struct {
        WHV_RUN_VP_EXIT_REASON reason;
        enum machine_end end;
        const char *words;
    } cases[] = {
        {WHvRunVpExitReasonUnrecoverableException, MACHINE_TRIPLE_FAULT, "first exception 14, error code 0x2"},
        {WHvRunVpExitReasonInvalidVpRegisterValue, MACHINE_ERROR, "guest.cs.type: GUEST_CS"},
        {WHvRunVpExitReasonUnsupportedFeature, MACHINE_ERROR, "feature"},
        {WHvRunVpExitReasonX64Halt, MACHINE_ERROR, "exit X64Halt (0x8)"},
        {(WHV_RUN_VP_EXIT_REASON)0x4711, MACHINE_ERROR, "exit unknown (0x4711)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        exit_count = exit_next = 0;
        guest.ended = MACHINE_RUNNING;
        fake_system_reset();
        add_exit(WHvRunVpExitReasonCanceled); /* for nothing: goes on */
        add_exit(cases[i].reason);
        processor_run(&processor);
        assert_int_equal(exit_next, 2);
        assert_int_equal(guest.ended, cases[i].end);
        assert_non_null(strstr(fake_system.printed, cases[i].words));
    }
}

static void shown(void **state)
{
    (void)state;
    processor_show(&processor);
    assert_int_equal(canceled, 1);
    add_exit(WHvRunVpExitReasonCanceled);
    add_exit(WHvRunVpExitReasonCanceled); /* asked once, shown once */
    add_exit(WHvRunVpExitReasonX64Halt);
    processor_run(&processor);
    assert_non_null(strstr(fake_system.printed, "RIP 0x1ff8"));
    assert_non_null(strstr(fake_system.printed, "instruction: 90 90 90 90 90 90 90 90\n"));
    assert_non_null(strstr(fake_system.printed, "ISR 49  IRR 236\n"));
    assert_null(strstr(strstr(fake_system.printed, "ISR 49") + 1, "ISR 49"));
}

static void run_fails(void **state)
{
    (void)state;
    run_result = E_INVALIDARG;
    run();
    assert_int_equal(guest.ended, MACHINE_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(port_reads),
        TEST(port_without_device),
        TEST(port_writes),
        TEST(emulated),
        TEST(emulation_fails),
        TEST(fetch_from_nowhere),
        TEST(memory_callback),
        TEST(eoi),
        TEST(shown),
        TEST(hypercall),
        TEST(ends),
        TEST(run_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
