/* SPDX-License-Identifier: MIT */
/*
 * The smallest whole VMM: one partition, one virtual processor, a guest in ROM (guest.asm) that walks through the CPU's
 * modes. It is a client like any other: it knows the WHP API and nothing else of the hypervisor.
 */
#include <vmm/demo.h>
#include <vmm/system.h>
#include <whp/WinHvPlatform.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* what the guest's hardware is: see guest.asm */
#define RAM_SIZE   0xa0000u
#define ROM_BASE   0xff000u
#define ROM_SIZE   0x1000u
#define PORT_TEXT  0x3f8
#define LEAF       0x40000000u
#define MSR_REPORT 0x4d0u

#define RUN_LIMIT_MS 20000

extern uint8_t demo_rom[], demo_rom_end[];

struct machine {
    WHV_PARTITION_HANDLE partition;
    uint8_t *ram, *rom;
    uint8_t *page; /* the one the guest gets when it touches memory that is not there */
    WHV_RUN_VP_EXIT_CONTEXT exit;
    uint32_t counts[20]; /* exits, by the place of their reason in reasons[] */
    char line[80];
    uint32_t line_length;
    uint32_t bytes_printed;
    bool reported, halted;   /* the guest said that all is well; the guest has ended */
    volatile uint32_t ended; /* tells the watchdog */
};

/* ---------------------------------------------------------------------------------- small tools */

/* Says which call failed, and passes the result on. */
static bool check(HRESULT hr, const char *call)
{
    if (FAILED(hr))
        system_print("demo: %s failed: 0x%08x\n", call, (uint32_t)hr);
    return SUCCEEDED(hr);
}

#define CHECK(function, ...) check(function(__VA_ARGS__), #function)

static bool set_registers(struct machine *m, const WHV_REGISTER_NAME *names, const UINT64 *values, UINT32 count)
{
    WHV_REGISTER_VALUE v[8];

    for (UINT32 i = 0; i < count; i++)
        v[i] = (WHV_REGISTER_VALUE){.Reg64 = values[i]};
    return CHECK(WHvSetVirtualProcessorRegisters, m->partition, 0, names, count, v);
}

/* The instruction that exited is done. */
static bool step(struct machine *m)
{
    static const WHV_REGISTER_NAME name = WHvX64RegisterRip;
    UINT64 rip = m->exit.VpContext.Rip + m->exit.VpContext.InstructionLength;

    return set_registers(m, &name, &rip, 1);
}

/* ------------------------------------------------------------------------- the guest's devices */

static void print_byte(struct machine *m, char c)
{
    m->bytes_printed++;
    if (c != '\n' && m->line_length < sizeof(m->line) - 1) {
        m->line[m->line_length++] = c;
        return;
    }
    m->line[m->line_length] = '\0';
    system_print("guest: %s\n", m->line);
    m->line_length = 0;
}

/* OUTS: the bytes are in the guest's memory, at linear addresses. */
static bool print_string(struct machine *m, const WHV_X64_IO_PORT_ACCESS_CONTEXT *io)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRsi, WHvX64RegisterRcx};
    UINT64 count = io->AccessInfo.RepPrefix ? io->Rcx : 1;
    const WHV_ACCESS_GPA_CONTROLS controls = {.CacheType = WHvCacheTypeWriteBack};

    for (UINT64 i = 0; i < count; i++) {
        WHV_TRANSLATE_GVA_RESULT result;
        WHV_GUEST_PHYSICAL_ADDRESS gpa;
        char c;

        if (!CHECK(WHvTranslateGva, m->partition, 0, io->Ds.Base + io->Rsi + i, WHvTranslateGvaFlagValidateRead,
                   &result, &gpa) ||
            result.ResultCode != WHvTranslateGvaResultSuccess ||
            !CHECK(WHvReadGpaRange, m->partition, 0, gpa, controls, &c, 1))
            return false;
        print_byte(m, c);
    }
    return set_registers(m, names,
                         (const UINT64[]){m->exit.VpContext.Rip + m->exit.VpContext.InstructionLength, io->Rsi + count,
                                          io->AccessInfo.RepPrefix ? 0 : io->Rcx},
                         COUNT(names));
}

/* ------------------------------------------------------------- exits: false ends the guest's run */

static bool on_port(struct machine *m)
{
    const WHV_X64_IO_PORT_ACCESS_CONTEXT *io = &m->exit.IoPortAccess;

    if (io->PortNumber != PORT_TEXT || !io->AccessInfo.IsWrite || io->AccessInfo.AccessSize != 1) {
        system_print("demo: the guest has no port 0x%x\n", io->PortNumber);
        return false;
    }
    if (io->AccessInfo.StringOp)
        return print_string(m, io);
    print_byte(m, (char)io->Rax);
    return step(m);
}

/* Nothing there, and the first page asked for: here it is. The guest then does its access again. */
static bool on_memory(struct machine *m)
{
    const WHV_MEMORY_ACCESS_CONTEXT *access = &m->exit.MemoryAccess;
    UINT64 gpa = access->Gpa & ~(UINT64)(SYSTEM_PAGE_SIZE - 1);

    if (!access->AccessInfo.GpaUnmapped || m->page) {
        system_print("demo: the guest has no memory at 0x%llx\n", (unsigned long long)access->Gpa);
        return false;
    }
    m->page = system_memory_alloc(SYSTEM_PAGE_SIZE);
    return m->page && CHECK(WHvMapGpaRange, m->partition, m->page, gpa, SYSTEM_PAGE_SIZE,
                            WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite);
}

static bool on_cpuid(struct machine *m)
{
    static const WHV_REGISTER_NAME names[] = {WHvX64RegisterRip, WHvX64RegisterRax, WHvX64RegisterRbx,
                                              WHvX64RegisterRcx, WHvX64RegisterRdx};
    static const char answer[12] = "BareWHP demo";
    UINT32 words[3];

    for (unsigned i = 0; i < sizeof(answer); i++)
        ((char *)words)[i] = answer[i];
    return set_registers(m, names,
                         (const UINT64[]){m->exit.VpContext.Rip + m->exit.VpContext.InstructionLength, LEAF, words[0],
                                          words[1], words[2]},
                         COUNT(names));
}

/* The guest's report: EAX how many bytes it printed, EDX whether something was wrong. */
static bool on_msr(struct machine *m)
{
    const WHV_X64_MSR_ACCESS_CONTEXT *msr = &m->exit.MsrAccess;

    if (msr->MsrNumber != MSR_REPORT || !msr->AccessInfo.IsWrite) {
        system_print("demo: the guest has no MSR 0x%x\n", msr->MsrNumber);
        return false;
    }
    m->reported = !msr->Rdx && msr->Rax == m->bytes_printed;
    system_print("demo: the guest says it printed %llu bytes; %u arrived\n", (unsigned long long)msr->Rax,
                 m->bytes_printed);
    return step(m);
}

static bool on_halt(struct machine *m)
{
    m->halted = true;
    return false;
}

static bool on_canceled(struct machine *m)
{
    (void)m;
    system_print("demo: the guest did not end within %u ms\n", RUN_LIMIT_MS);
    return false;
}

/* ------------------------------------------------------------------------------------ the loop */

/* An exit without a handler ends the run. */
static const struct {
    WHV_RUN_VP_EXIT_REASON reason;
    const char *name;
    bool (*handle)(struct machine *m);
} reasons[] = {
    {WHvRunVpExitReasonX64IoPortAccess, "X64IoPortAccess", on_port},
    {WHvRunVpExitReasonMemoryAccess, "MemoryAccess", on_memory},
    {WHvRunVpExitReasonX64Cpuid, "X64Cpuid", on_cpuid},
    {WHvRunVpExitReasonX64MsrAccess, "X64MsrAccess", on_msr},
    {WHvRunVpExitReasonX64Halt, "X64Halt", on_halt},
    {WHvRunVpExitReasonCanceled, "Canceled", on_canceled},
    {WHvRunVpExitReasonUnrecoverableException, "UnrecoverableException", NULL},
    {WHvRunVpExitReasonInvalidVpRegisterValue, "InvalidVpRegisterValue", NULL},
    {WHvRunVpExitReasonUnsupportedFeature, "UnsupportedFeature", NULL},
    {WHvRunVpExitReasonX64InterruptWindow, "X64InterruptWindow", NULL},
    {WHvRunVpExitReasonX64ApicEoi, "X64ApicEoi", NULL},
    {WHvRunVpExitReasonException, "Exception", NULL},
    {WHvRunVpExitReasonX64Rdtsc, "X64Rdtsc", NULL},
    {WHvRunVpExitReasonHypercall, "Hypercall", NULL},
    {WHvRunVpExitReasonNone, "None", NULL},
};

_Static_assert(COUNT(reasons) < COUNT(((struct machine *)0)->counts), "the last count is that of unknown reasons");

static bool on_exit(struct machine *m)
{
    unsigned i = 0;

    while (i < COUNT(reasons) && reasons[i].reason != m->exit.ExitReason)
        i++;
    m->counts[i]++;
    if (i < COUNT(reasons) && reasons[i].handle)
        return reasons[i].handle(m);
    system_print("demo: exit %s (0x%x) at 0x%llx: the guest is lost\n",
                 i < COUNT(reasons) ? reasons[i].name : "unknown", m->exit.ExitReason,
                 (unsigned long long)m->exit.VpContext.Rip);
    return false;
}

static void run(struct machine *m)
{
    do {
        if (!CHECK(WHvRunVirtualProcessor, m->partition, 0, &m->exit, sizeof(m->exit)))
            return;
    } while (on_exit(m));
}

static void watchdog(void *arg)
{
    struct machine *m = arg;
    uint64_t end = system_time_ns() + RUN_LIMIT_MS * 1000000ull;

    while (!m->ended && system_time_ns() < end)
        system_wait(&m->ended, 0, RUN_LIMIT_MS * 1000ull);
    if (!m->ended)
        WHvCancelRunVirtualProcessor(m->partition, 0, 0);
}

static void print_counts(const struct machine *m)
{
    uint32_t total = 0;

    system_print("demo: %-24s %5s\n", "exit reason", "count");
    for (unsigned i = 0; i < COUNT(m->counts); i++) {
        total += m->counts[i];
        if (m->counts[i])
            system_print("demo: %-24s %5u\n", i < COUNT(reasons) ? reasons[i].name : "unknown", m->counts[i]);
    }
    system_print("demo: %-24s %5u\n", "all", total);
}

static bool run_watched(struct machine *m)
{
    struct system_thread *thread = system_thread_start("watchdog", watchdog, m);
    uint64_t start = system_time_ns();

    if (!thread) {
        system_print("demo: no memory for a thread\n");
        return false;
    }
    run(m);
    system_print("demo: the guest %s after %llu us\n", m->halted ? "halted" : "was stopped",
                 (unsigned long long)(system_time_ns() - start) / 1000);
    m->ended = 1;
    system_wake(&m->ended);
    system_thread_join(thread);
    print_counts(m);
    return m->halted && m->reported;
}

/* --------------------------------------------------------------------------------- the machine */

#define SET_PROPERTY(m, code, value) \
    CHECK(WHvSetPartitionProperty, (m)->partition, WHvPartitionPropertyCode##code, &(value), sizeof(value))

static bool set_properties(struct machine *m)
{
    const UINT32 processor_count = 1, leaf = LEAF;
    const WHV_EXTENDED_VM_EXITS exits = {.X64CpuidExit = 1, .X64MsrExit = 1};
    const WHV_X64_MSR_EXIT_BITMAP msrs = {.UnhandledMsrs = 1};

    return SET_PROPERTY(m, ProcessorCount, processor_count) && SET_PROPERTY(m, ExtendedVmExits, exits) &&
           SET_PROPERTY(m, CpuidExitList, leaf) && SET_PROPERTY(m, X64MsrExitBitmap, msrs);
}

static bool create_memory(struct machine *m)
{
    m->ram = system_memory_alloc(RAM_SIZE);
    m->rom = system_memory_alloc(ROM_SIZE);
    if (!m->ram || !m->rom) {
        system_print("demo: no memory for a guest\n");
        return false;
    }
    for (unsigned i = 0; i < ROM_SIZE && demo_rom + i < demo_rom_end; i++)
        m->rom[i] = demo_rom[i];
    return true;
}

static bool map_memory(struct machine *m)
{
    return CHECK(WHvMapGpaRange, m->partition, m->ram, 0, RAM_SIZE, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite) &&
           CHECK(WHvMapGpaRange, m->partition, m->rom, ROM_BASE, ROM_SIZE,
                 WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagExecute);
}

static bool create(struct machine *m)
{
    return create_memory(m) && CHECK(WHvCreatePartition, &m->partition) && set_properties(m) &&
           CHECK(WHvSetupPartition, m->partition) && map_memory(m) &&
           CHECK(WHvCreateVirtualProcessor, m->partition, 0, 0);
}

static void destroy(struct machine *m)
{
    if (m->partition)
        CHECK(WHvDeletePartition, m->partition);
    system_memory_free(m->ram, RAM_SIZE);
    system_memory_free(m->rom, ROM_SIZE);
    system_memory_free(m->page, SYSTEM_PAGE_SIZE);
}

/* -------------------------------------------------------------------------------- what is found */

static UINT64 capability(WHV_CAPABILITY_CODE code)
{
    WHV_CAPABILITY value = {0};

    return SUCCEEDED(WHvGetCapability(code, &value, sizeof(value), NULL)) ? value.NestedFeatureRegister : 0;
}

/* Bits of capabilities worth a word. */
static const struct {
    WHV_CAPABILITY_CODE code;
    unsigned bit;
    const char *name;
} features[] = {
    {WHvCapabilityCodeFeatures, 0, "PartialUnmap"},
    {WHvCapabilityCodeFeatures, 1, "LocalApicEmulation"},
    {WHvCapabilityCodeFeatures, 2, "Xsave"},
    {WHvCapabilityCodeFeatures, 3, "DirtyPageTracking"},
    {WHvCapabilityCodeExtendedVmExits, 0, "CpuidExit"},
    {WHvCapabilityCodeExtendedVmExits, 1, "MsrExit"},
    {WHvCapabilityCodeExtendedVmExits, 2, "ExceptionExit"},
    {WHvCapabilityCodeExtendedVmExits, 3, "RdtscExit"},
    {WHvCapabilityCodeExtendedVmExits, 5, "HypercallExit"},
    {WHvCapabilityCodeProcessorFeatures, 4, "SSE4.2"},
    {WHvCapabilityCodeProcessorFeatures, 15, "1G pages"},
    {WHvCapabilityCodeProcessorFeatures, 18, "PCID"},
    {WHvCapabilityCodeProcessorFeatures, 23, "SMEP"},
    {WHvCapabilityCodeProcessorFeatures, 35, "SMAP"},
    {WHvCapabilityCodeProcessorXsaveFeatures, 2, "AVX"},
    {WHvCapabilityCodeProcessorXsaveFeatures, 3, "AVX2"},
    {WHvCapabilityCodeProcessorXsaveFeatures, 6, "AVX-512"},
};

static void print_features(void)
{
    static const char *const vendors[] = {"AMD", "Intel", "Hygon"};
    UINT64 vendor = capability(WHvCapabilityCodeProcessorVendor) & 0xffffffff;

    system_print("demo: processor: %s, %llu MHz, guest-physical addresses of %u bits\n",
                 vendor < COUNT(vendors) ? vendors[vendor] : "unknown vendor",
                 (unsigned long long)capability(WHvCapabilityCodeProcessorClockFrequency) / 1000000,
                 (unsigned)capability(WHvCapabilityCodePhysicalAddressWidth));
    system_print("demo: WHvGetCapability:");
    for (unsigned i = 0; i < COUNT(features); i++)
        if (capability(features[i].code) >> features[i].bit & 1)
            system_print(" %s", features[i].name);
    system_print("\n");
}

int demo_main(void)
{
    static struct machine m;
    bool well;

    system_print("demo: machine: %s\n", system_machine());
    if (!(capability(WHvCapabilityCodeHypervisorPresent) & 0xffffffff)) {
        system_print("demo: no hypervisor on this machine: %s\n", system_hypervisor());
        return 1;
    }
    system_print("demo: hypervisor: %s\n", system_hypervisor());
    print_features();
    well = create(&m) && run_watched(&m);
    destroy(&m);
    system_print("demo: %s\n", well ? "all is well" : "failed");
    return well ? 0 : 1;
}
