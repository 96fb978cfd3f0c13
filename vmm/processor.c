/* SPDX-License-Identifier: MIT */
/*
 * The run loop: WHvRunVirtualProcessor, and a handler for each reason to come back. Plain port accesses are answered
 * here; string I/O and every access to memory that is not RAM go through the library's emulator, whose callbacks are
 * here too.
 */
#include <vmm/bytes.h>
#include <vmm/guest.h>
#include <vmm/hyperv.h>
#include <whp/WinHvDiagnostics.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CR0_PE   (1ull << 0)
#define CR0_ET   (1ull << 4)
#define CR0_NE   (1ull << 5)
#define CR0_PG   (1ull << 31)
#define CR4_PAE  (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define RFLAGS_1 (1ull << 1) /* always set */

/* Access bytes and flags of flat segments, as in a descriptor. */
#define SEGMENT_CODE_64 0xa09b
#define SEGMENT_CODE_32 0xc09b
#define SEGMENT_DATA    0xc093
#define SEGMENT_TSS     0x008b
#define SEGMENT_LDT     0x0082
#define FLAT_LIMIT      0xffffffffu
#define TSS_LIMIT       0x67u

#define UNKNOWN_HYPERCALL (-1000ll)

#define SAY(p, format, ...) \
    system_print("vmm: guest %u, processor %u: " format "\n", (p)->guest->number, (p)->index, ##__VA_ARGS__)

static uint64_t rip_of(const struct processor *p)
{
    return p->exit.VpContext.Rip;
}

/* The VMM can not go on with this guest. */
static void give_up(struct processor *p)
{
    guest_end(p->guest, MACHINE_ERROR, 0);
}

/* ---------------------------------------------------------------------------------- the emulator */

static HRESULT CALLBACK on_port_callback(VOID *context, WHV_EMULATOR_IO_ACCESS_INFO *access)
{
    struct processor *p = context;
    uint64_t value = access->Data;

    if (access->Direction) {
        bus_write(&p->guest->ports, access->Port, access->AccessSize, value);
    } else {
        bus_read(&p->guest->ports, access->Port, access->AccessSize, &value);
        access->Data = (UINT32)value;
    }
    return S_OK;
}

/* RAM, a device, or nothing: that reads as ones, and drops writes. */
static HRESULT CALLBACK on_memory_callback(VOID *context, WHV_EMULATOR_MEMORY_ACCESS_INFO *access)
{
    struct processor *p = context;
    uint64_t value = 0;

    if (access->AccessSize > sizeof(access->Data))
        return E_INVALIDARG;
    if (access->Direction) {
        __builtin_memcpy(&value, access->Data, access->AccessSize);
        if (!memory_write(&p->guest->memory, access->GpaAddress, access->Data, access->AccessSize))
            bus_write(&p->guest->mmio, access->GpaAddress, access->AccessSize, value);
    } else if (!memory_read(&p->guest->memory, access->GpaAddress, access->Data, access->AccessSize)) {
        bus_read(&p->guest->mmio, access->GpaAddress, access->AccessSize, &value);
        __builtin_memcpy(access->Data, &value, access->AccessSize);
    }
    return S_OK;
}

static HRESULT CALLBACK on_get_registers(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                                         WHV_REGISTER_VALUE *values)
{
    const struct processor *p = context;

    return WHvGetVirtualProcessorRegisters(p->guest->partition, p->index, names, count, values);
}

static HRESULT CALLBACK on_set_registers(VOID *context, const WHV_REGISTER_NAME *names, UINT32 count,
                                         const WHV_REGISTER_VALUE *values)
{
    const struct processor *p = context;

    return WHvSetVirtualProcessorRegisters(p->guest->partition, p->index, names, count, values);
}

static HRESULT CALLBACK on_translate(VOID *context, WHV_GUEST_VIRTUAL_ADDRESS gva, WHV_TRANSLATE_GVA_FLAGS flags,
                                     WHV_TRANSLATE_GVA_RESULT_CODE *code, WHV_GUEST_PHYSICAL_ADDRESS *gpa)
{
    const struct processor *p = context;
    WHV_TRANSLATE_GVA_RESULT result = {.ResultCode = WHvTranslateGvaResultSuccess};
    HRESULT hr = WHvTranslateGva(p->guest->partition, p->index, gva, flags, &result, gpa);

    if (SUCCEEDED(hr))
        *code = result.ResultCode;
    return hr;
}

static const WHV_EMULATOR_CALLBACKS callbacks = {
    .Size = sizeof(callbacks),
    .WHvEmulatorIoPortCallback = on_port_callback,
    .WHvEmulatorMemoryCallback = on_memory_callback,
    .WHvEmulatorGetVirtualProcessorRegisters = on_get_registers,
    .WHvEmulatorSetVirtualProcessorRegisters = on_set_registers,
    .WHvEmulatorTranslateGvaPage = on_translate,
};

/* "0f 1f 00": as much of the instruction as the exit told. */
static void print_instruction(const UINT8 *bytes, UINT32 count)
{
    system_print("vmm: its instruction:");
    for (UINT32 i = 0; i < count && i < 16; i++)
        system_print(" %02x", bytes[i]);
    system_print(count ? "\n" : " not known\n");
}

/* --------------------------------------------------------------------------------------- handlers */

/* AL and AX leave the rest of RAX, EAX clears its upper half. */
static uint64_t merge(uint64_t rax, uint64_t value, uint32_t size)
{
    uint64_t mask = size == 1 ? 0xff : 0xffff;

    return size == 4 ? (uint32_t)value : (rax & ~mask) | (value & mask);
}

static void on_string_port(struct processor *p)
{
    const WHV_X64_IO_PORT_ACCESS_CONTEXT *io = &p->exit.IoPortAccess;
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0};
    HRESULT hr = WHvEmulatorTryIoEmulation(p->emulator, p, &p->exit.VpContext, io, &status);

    if (SUCCEEDED(hr) && status.EmulationSuccessful)
        return;
    SAY(p, "string I/O at port 0x%x, RIP 0x%llx, can not be emulated: status 0x%x, result 0x%08x", io->PortNumber,
        (unsigned long long)rip_of(p), status.AsUINT32, (uint32_t)hr);
    print_instruction(io->InstructionBytes, io->InstructionByteCount);
    give_up(p);
}

static void on_port(struct processor *p)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax};
    const WHV_X64_IO_PORT_ACCESS_CONTEXT *io = &p->exit.IoPortAccess;
    uint32_t size = io->AccessInfo.AccessSize, count = 1;
    uint64_t value = size == 4 ? (uint32_t)io->Rax : io->Rax & ((1u << size * 8) - 1);
    WHV_REGISTER_VALUE values[COUNT(names)] = {{.Reg64 = rip_of(p) + p->exit.VpContext.InstructionLength}};

    if (io->AccessInfo.StringOp) {
        on_string_port(p);
        return;
    }
    if (io->AccessInfo.IsWrite) {
        bus_write(&p->guest->ports, io->PortNumber, size, value);
    } else {
        bus_read(&p->guest->ports, io->PortNumber, size, &value);
        values[count++].Reg64 = merge(io->Rax, value, size);
    }
    if (!guest_check(p->guest, WHvSetVirtualProcessorRegisters(p->guest->partition, p->index, names, count, values),
                     "WHvSetVirtualProcessorRegisters"))
        give_up(p);
}

static void on_memory(struct processor *p)
{
    static const char *const kinds[] = {"read", "write", "instruction fetch", "access"};
    const WHV_MEMORY_ACCESS_CONTEXT *access = &p->exit.MemoryAccess;
    WHV_EMULATOR_STATUS status = {.AsUINT32 = 0};
    HRESULT hr = S_OK;

    if (access->AccessInfo.AccessType != WHvMemoryAccessExecute) {
        hr = WHvEmulatorTryMmioEmulation(p->emulator, p, &p->exit.VpContext, access, &status);
        if (SUCCEEDED(hr) && status.EmulationSuccessful)
            return;
    }
    SAY(p, "%s at guest-physical 0x%llx, RIP 0x%llx, can not be emulated: status 0x%x, result 0x%08x",
        kinds[access->AccessInfo.AccessType], (unsigned long long)access->Gpa, (unsigned long long)rip_of(p),
        status.AsUINT32, (uint32_t)hr);
    print_instruction(access->InstructionBytes, access->InstructionByteCount);
    give_up(p);
}

static void on_eoi(struct processor *p)
{
    ioapic_eoi(p->guest->ioapic, (uint8_t)p->exit.ApicEoi.InterruptVector);
}

/* Of 256 bits in the APIC's page those that are set: "236 48". */
static void print_vectors(const char *name, const uint8_t *registers)
{
    system_print("  %s", name);
    for (uint32_t vector = 256; vector-- > 0;)
        if (registers[vector / 32 * 16 + vector / 8 % 4] >> vector % 8 & 1)
            system_print(" %u", vector);
}

#define APIC_TPR 0x80
#define APIC_ISR 0x100
#define APIC_IRR 0x200

static void print_apic(const struct processor *p)
{
    uint8_t page[4096];
    UINT32 written = 0;

    if (FAILED(WHvGetVirtualProcessorInterruptControllerState2(p->guest->partition, p->index, page, sizeof(page),
                                                               &written)))
        return;
    system_print("vmm: TPR 0x%x", page[APIC_TPR]);
    print_vectors("ISR", page + APIC_ISR);
    print_vectors("IRR", page + APIC_IRR);
    system_print("\n");
}

/* The bytes at RIP, as far as its page goes. */
static void print_code(const struct processor *p, uint64_t rip)
{
    const WHV_ACCESS_GPA_CONTROLS controls = {.CacheType = WHvCacheTypeWriteBack};
    UINT32 size = 16 - (UINT32)(rip & 15);
    WHV_TRANSLATE_GVA_RESULT result;
    WHV_GUEST_PHYSICAL_ADDRESS gpa;
    UINT8 bytes[16];

    if (SUCCEEDED(
            WHvTranslateGva(p->guest->partition, p->index, rip, WHvTranslateGvaFlagPrivilegeExempt, &result, &gpa)) &&
        result.ResultCode == WHvTranslateGvaResultSuccess &&
        SUCCEEDED(WHvReadGpaRange(p->guest->partition, p->index, gpa, controls, bytes, size)))
        print_instruction(bytes, size);
}

static void print_state(const struct processor *p)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRflags, WHvX64RegisterRsp,
                                              WHvX64RegisterCr3, WHvRegisterInternalActivityState};
    WHV_REGISTER_VALUE v[COUNT(names)];

    if (FAILED(WHvGetVirtualProcessorRegisters(p->guest->partition, p->index, names, COUNT(names), v)))
        return;
    SAY(p, "RIP 0x%llx, RFLAGS 0x%llx, RSP 0x%llx, CR3 0x%llx, activity %llu", (unsigned long long)v[0].Reg64,
        (unsigned long long)v[1].Reg64, (unsigned long long)v[2].Reg64, (unsigned long long)v[3].Reg64,
        (unsigned long long)v[4].Reg64);
    print_code(p, v[0].Reg64);
    print_apic(p);
}

/*
 * Beside those of the Hyper-V interface there are no hypercalls. By whatever convention a guest calls, a negative
 * number is an error; this one is what KVM says of a call that it does not know. Systems that ask CPUID first do not
 * call.
 */
static void on_hypercall(struct processor *p)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax};
    WHV_REGISTER_VALUE values[COUNT(names)] = {{.Reg64 = rip_of(p) + p->exit.VpContext.InstructionLength}};

    if (!hyperv_hypercall(p, &values[1].Reg64))
        values[1].Reg64 = p->exit.VpContext.Cs.Long ? (uint64_t)UNKNOWN_HYPERCALL : (uint32_t)UNKNOWN_HYPERCALL;
    if (!guest_check(p->guest,
                     WHvSetVirtualProcessorRegisters(p->guest->partition, p->index, names, COUNT(names), values),
                     "WHvSetVirtualProcessorRegisters"))
        give_up(p);
}

/* The machine has ended, which the loop sees; or somebody wants to know how it stands. */
static void on_canceled(struct processor *p)
{
    if (__atomic_exchange_n(&p->is_asked, 0, __ATOMIC_RELAXED))
        print_state(p);
}

static void on_triple_fault(struct processor *p)
{
    WHVX_TRIPLE_FAULT fault;

    SAY(p, "triple fault at RIP 0x%llx", (unsigned long long)rip_of(p));
    if (SUCCEEDED(WHvxGetTripleFault(p->guest->partition, p->index, &fault))) {
        system_print("vmm: RIP 0x%llx, CR3 0x%llx, CR2 0x%llx, IDT 0x%llx limit 0x%x (%s)\n",
                     (unsigned long long)fault.Rip, (unsigned long long)fault.Cr3, (unsigned long long)fault.Cr2,
                     (unsigned long long)fault.Idtr.Base, fault.Idtr.Limit,
                     fault.IdtReadable ? "readable" : "not readable");
        for (UINT32 i = 0; i < fault.VectorCount && i < WHVX_TRIPLE_FAULT_VECTORS; i++)
            system_print("vmm: %s exception %u, error code 0x%x\n", i ? "then" : "first", fault.Vectors[i].Vector,
                         fault.Vectors[i].ErrorCode);
    }
    guest_end(p->guest, MACHINE_TRIPLE_FAULT, 0);
}

static void on_invalid_state(struct processor *p)
{
    WHVX_AUDIT_FINDING finding;

    SAY(p, "the CPU refuses its registers, RIP 0x%llx", (unsigned long long)rip_of(p));
    if (SUCCEEDED(WHvxGetAuditFinding(p->guest->partition, p->index, &finding)))
        system_print("vmm: %s: %s is 0x%llx (%s; %s)\n", finding.Rule, finding.Field, (unsigned long long)finding.Value,
                     finding.Text, finding.Section);
    give_up(p);
}

static void on_unsupported(struct processor *p)
{
    SAY(p, "uses a feature that the hypervisor does not have: code %u, 0x%llx, RIP 0x%llx",
        (unsigned)p->exit.UnsupportedFeature.FeatureCode,
        (unsigned long long)p->exit.UnsupportedFeature.FeatureParameter, (unsigned long long)rip_of(p));
    give_up(p);
}

/* --------------------------------------------------------------------------------------- the loop */

/* What is not in use here (MSR, CPUID, exception exits and so on) has no handler; such an exit ends the run. */
static const struct {
    WHV_RUN_VP_EXIT_REASON reason;
    const char *name;
    void (*handle)(struct processor *p);
} reasons[] = {
    {WHvRunVpExitReasonX64IoPortAccess, "X64IoPortAccess", on_port},
    {WHvRunVpExitReasonMemoryAccess, "MemoryAccess", on_memory},
    {WHvRunVpExitReasonX64ApicEoi, "X64ApicEoi", on_eoi},
    {WHvRunVpExitReasonCanceled, "Canceled", on_canceled},
    {WHvRunVpExitReasonUnrecoverableException, "UnrecoverableException", on_triple_fault},
    {WHvRunVpExitReasonInvalidVpRegisterValue, "InvalidVpRegisterValue", on_invalid_state},
    {WHvRunVpExitReasonUnsupportedFeature, "UnsupportedFeature", on_unsupported},
    {WHvRunVpExitReasonX64InterruptWindow, "X64InterruptWindow", NULL},
    {WHvRunVpExitReasonX64Halt, "X64Halt", NULL},
    {WHvRunVpExitReasonSynicSintDeliverable, "SynicSintDeliverable", NULL},
    {WHvRunVpExitReasonX64MsrAccess, "X64MsrAccess", NULL},
    {WHvRunVpExitReasonX64Cpuid, "X64Cpuid", NULL},
    {WHvRunVpExitReasonException, "Exception", NULL},
    {WHvRunVpExitReasonX64Rdtsc, "X64Rdtsc", NULL},
    {WHvRunVpExitReasonX64ApicSmiTrap, "X64ApicSmiTrap", NULL},
    {WHvRunVpExitReasonHypercall, "Hypercall", on_hypercall},
    {WHvRunVpExitReasonX64ApicInitSipiTrap, "X64ApicInitSipiTrap", NULL},
    {WHvRunVpExitReasonX64ApicWriteTrap, "X64ApicWriteTrap", NULL},
};

static void on_exit(struct processor *p)
{
    uint32_t i = 0;

    while (i < COUNT(reasons) && reasons[i].reason != p->exit.ExitReason)
        i++;
    if (i < COUNT(reasons) && reasons[i].handle) {
        reasons[i].handle(p);
        return;
    }
    SAY(p, "exit %s (0x%x), RIP 0x%llx, is nothing this VMM asked for",
        i < COUNT(reasons) ? reasons[i].name : "unknown", p->exit.ExitReason, (unsigned long long)rip_of(p));
    give_up(p);
}

void processor_show(struct processor *processor)
{
    __atomic_store_n(&processor->is_asked, 1, __ATOMIC_RELAXED);
    (void)WHvCancelRunVirtualProcessor(processor->guest->partition, processor->index, 0);
}

void processor_run(void *arg)
{
    struct processor *p = arg;

    while (guest_ended(p->guest) == MACHINE_RUNNING) {
        if (!guest_check(p->guest, WHvRunVirtualProcessor(p->guest->partition, p->index, &p->exit, sizeof(p->exit)),
                         "WHvRunVirtualProcessor"))
            give_up(p);
        else
            on_exit(p);
    }
}

/* ------------------------------------------------------------------------------------------- life */

static WHV_REGISTER_VALUE segment(uint16_t selector, uint16_t attributes, uint32_t limit)
{
    return (WHV_REGISTER_VALUE){.Segment = {.Limit = limit, .Selector = selector, .Attributes = attributes}};
}

static WHV_REGISTER_VALUE number(uint64_t value)
{
    return (WHV_REGISTER_VALUE){.Reg64 = value};
}

bool processor_set_entry(struct processor *processor, const struct loader_entry *e)
{
    const WHV_REGISTER_VALUE data = segment(e->data, SEGMENT_DATA, FLAT_LIMIT);
    const struct {
        WHV_REGISTER_NAME name;
        WHV_REGISTER_VALUE value;
    } registers[] = {
        {WHvX64RegisterCr3, number(e->cr3)},
        {WHvX64RegisterCr4, number(e->is_long ? CR4_PAE : 0)},
        {WHvX64RegisterEfer, number(e->is_long ? EFER_LME | EFER_LMA : 0)},
        {WHvX64RegisterCr0, number(CR0_PE | CR0_ET | (e->is_long ? CR0_NE | CR0_PG : 0))},
        {WHvX64RegisterCs, segment(e->code, e->is_long ? SEGMENT_CODE_64 : SEGMENT_CODE_32, FLAT_LIMIT)},
        {WHvX64RegisterDs, data},
        {WHvX64RegisterEs, data},
        {WHvX64RegisterFs, data},
        {WHvX64RegisterGs, data},
        {WHvX64RegisterSs, data},
        {WHvX64RegisterTr, segment(0, SEGMENT_TSS, TSS_LIMIT)},
        {WHvX64RegisterLdtr, segment(0, SEGMENT_LDT, 0)},
        {WHvX64RegisterGdtr, {.Table = {.Base = e->gdt, .Limit = e->gdt_limit}}},
        {WHvX64RegisterIdtr, {.Table = {.Base = 0, .Limit = 0}}},
        {WHvX64RegisterRax, number(e->rax)},
        {WHvX64RegisterRbx, number(e->rbx)},
        {WHvX64RegisterRsi, number(e->rsi)},
        {WHvX64RegisterRip, number(e->rip)},
        {WHvX64RegisterRflags, number(RFLAGS_1)},
    };
    WHV_REGISTER_NAME names[COUNT(registers)];
    WHV_REGISTER_VALUE values[COUNT(registers)];

    for (uint32_t i = 0; i < COUNT(registers); i++) {
        names[i] = registers[i].name;
        values[i] = registers[i].value;
    }
    return guest_check(
        processor->guest,
        WHvSetVirtualProcessorRegisters(processor->guest->partition, processor->index, names, COUNT(registers), values),
        "WHvSetVirtualProcessorRegisters");
}

bool processor_create(struct processor *processor, struct guest *guest, uint32_t index)
{
    processor->guest = guest;
    processor->index = index;
    processor->is_created =
        guest_check(guest, WHvCreateVirtualProcessor(guest->partition, index, 0), "WHvCreateVirtualProcessor");
    return processor->is_created &&
           guest_check(guest, WHvEmulatorCreateEmulator(&callbacks, &processor->emulator), "WHvEmulatorCreateEmulator");
}

void processor_destroy(struct processor *processor)
{
    if (processor->emulator)
        guest_check(processor->guest, WHvEmulatorDestroyEmulator(processor->emulator), "WHvEmulatorDestroyEmulator");
    if (processor->is_created)
        guest_check(processor->guest, WHvDeleteVirtualProcessor(processor->guest->partition, processor->index),
                    "WHvDeleteVirtualProcessor");
    processor->emulator = NULL;
    processor->is_created = false;
}
