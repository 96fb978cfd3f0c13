/* SPDX-License-Identifier: MIT */
/* Puts a machine together, starts it, and notices its end: see vmm/guest.h. */
#include <vmm/acpi.h>
#include <vmm/guest.h>
#include <vmm/hyperv.h>
#include <vmm/vpci.h>

#define PANIC_SILENCE_NS 2000000000ull

bool guest_check(const struct guest *guest, HRESULT hr, const char *call)
{
    if (FAILED(hr))
        system_print("vmm: guest %u: %s failed: 0x%08x\n", guest->number, call, (uint32_t)hr);
    return SUCCEEDED(hr);
}

/* ---------------------------------------------------------------------------------- time and end */

uint64_t guest_time_ns(const struct guest *guest)
{
    return system_time_ns() - guest->start_ns;
}

enum machine_end guest_ended(const struct guest *guest)
{
    return (enum machine_end)__atomic_load_n(&guest->ended, __ATOMIC_ACQUIRE);
}

/* A cancellation is kept for the next run: no processor slips into one after this. */
static void cancel_processors(struct guest *guest)
{
    for (uint32_t i = 0; i < guest->processor_count; i++)
        WHvCancelRunVirtualProcessor(guest->partition, i, 0);
}

void guest_end(struct guest *guest, enum machine_end why, uint32_t code)
{
    uint32_t running = MACHINE_RUNNING;

    if (!__atomic_compare_exchange_n(&guest->ended, &running, why, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    guest->exit_code = code;
    guest->end_ns = guest_time_ns(guest);
    cancel_processors(guest);
    __atomic_fetch_add(guest->ends, 1, __ATOMIC_RELEASE);
    system_wake(guest->ends);
}

enum machine_end guest_outcome(struct guest *guest)
{
    enum machine_end end = guest_ended(guest);
    bool is_guests_own = end == MACHINE_RESET || end == MACHINE_POWER_OFF || end == MACHINE_TRIPLE_FAULT;

    return is_guests_own && terminal_look(&guest->terminal).panicked ? MACHINE_PANIC : end;
}

/*
 * An unmodified kernel may have no driver for pvpanic, and then nobody tells of its panic but its console. The reset
 * that may follow counts as a panic too (guest_outcome); this is for the kernel that stays where it is.
 */
void guest_poll(struct guest *guest)
{
    struct terminal_state state = terminal_look(&guest->terminal);

    terminal_flush(&guest->terminal, false);
    vpci_poll(guest);
    if (state.panicked && guest_time_ns(guest) - state.last_ns > PANIC_SILENCE_NS)
        guest_end(guest, MACHINE_PANIC, 0);
}

/* --------------------------------------------------------------------- what devices ask the machine */

/* WHP knows no SMI and no ExtINT: there is no SMM, and the 8259s are masked for good. */
static void service_send_interrupt(void *context, uint8_t delivery_mode, bool is_logical, bool is_level,
                                   uint8_t destination, uint8_t vector)
{
    static const bool is_known[8] = {[WHvX64InterruptTypeFixed] = true,
                                     [WHvX64InterruptTypeLowestPriority] = true,
                                     [WHvX64InterruptTypeNmi] = true,
                                     [WHvX64InterruptTypeInit] = true};
    const struct guest *guest = context;
    const WHV_INTERRUPT_CONTROL interrupt = {
        .Type = delivery_mode,
        .DestinationMode = is_logical ? WHvX64InterruptDestinationModeLogical : WHvX64InterruptDestinationModePhysical,
        .TriggerMode = is_level ? WHvX64InterruptTriggerModeLevel : WHvX64InterruptTriggerModeEdge,
        .Destination = destination,
        .Vector = vector,
    };

    /* a vector that can not be is the guest's own mistake: nothing comes, as on a real one */
    if (delivery_mode < sizeof(is_known) && is_known[delivery_mode])
        (void)WHvRequestInterrupt(guest->partition, &interrupt, sizeof(interrupt));
}

static void service_end(void *context, enum machine_end why, uint32_t code)
{
    guest_end(context, why, code);
}

static uint64_t service_time_ns(void *context)
{
    return guest_time_ns(context);
}

static uint64_t service_wall_seconds(void *context)
{
    (void)context;
    return system_wall_seconds();
}

/* --------------------------------------------------------------------------------- the partition */

/*
 * Without the Hyper-V interface. Leaf 1 says that there is a hypervisor, and leaf 40000000h its name and nothing more:
 * without them an operating system takes some of what it finds for broken hardware.
 */
static const WHV_X64_CPUID_RESULT2 cpuid_results[] = {
    {.Function = 1, .Output = {.Ecx = 1u << 31}, .Mask = {.Ecx = 1u << 31}},
    {.Function = 0x40000000,
     .Output = {.Eax = 0x40000000, .Ebx = 0x65726142, .Ecx = 0x42504857, .Edx = 0x57657261}, /* "BareWHPBareW" */
     .Mask = {.Eax = ~0u, .Ebx = ~0u, .Ecx = ~0u, .Edx = ~0u}},
};

static bool set_property(struct guest *guest, WHV_PARTITION_PROPERTY_CODE code, const void *value, uint32_t size,
                         const char *name)
{
    HRESULT hr = WHvSetPartitionProperty(guest->partition, code, value, size);

    if (FAILED(hr))
        system_print("vmm: guest %u: the partition property %s can not be set: 0x%08x\n", guest->number, name,
                     (uint32_t)hr);
    return SUCCEEDED(hr);
}

#define SET(guest, code, value) set_property(guest, WHvPartitionPropertyCode##code, &(value), sizeof(value), #code)

/* With x2APIC where the hypervisor has it. */
static bool set_apic(struct guest *guest)
{
    const WHV_X64_LOCAL_APIC_EMULATION_MODE x2apic = WHvX64LocalApicEmulationModeX2Apic,
                                            xapic = WHvX64LocalApicEmulationModeXApic;

    return SUCCEEDED(WHvSetPartitionProperty(guest->partition, WHvPartitionPropertyCodeLocalApicEmulationMode, &x2apic,
                                             sizeof(x2apic))) ||
           SET(guest, LocalApicEmulationMode, xapic);
}

/*
 * Hypercalls that the hypervisor does not answer come to this VMM, where it can do that. Else a call is an undefined
 * instruction, as without a hypervisor.
 */
static void set_hypercalls(struct guest *guest)
{
    const WHV_EXTENDED_VM_EXITS exits = {.HypercallExit = 1};

    (void)WHvSetPartitionProperty(guest->partition, WHvPartitionPropertyCodeExtendedVmExits, &exits, sizeof(exits));
}

/* What the guest learns of the hypervisor by CPUID. */
static bool set_identity(struct guest *guest)
{
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks;

    guest->hyperv = hyperv_features(guest->options->hyperv);
    if (!guest->hyperv.AsUINT64)
        return SET(guest, CpuidResultList2, cpuid_results);
    __builtin_memset(&banks, 0, sizeof(banks));
    banks.BanksCount = 1;
    banks.Bank0 = guest->hyperv;
    return SET(guest, SyntheticProcessorFeaturesBanks, banks);
}

/* Only with a device: hypervisors may keep more ready for such a partition. */
static bool set_assignment(struct guest *guest)
{
    const BOOL is_allowed = TRUE;

    return !guest->options->pci_count || SET(guest, AllowDeviceAssignment, is_allowed);
}

static bool create_partition(struct guest *guest)
{
    const UINT32 count = guest->options->processors;

    if (!guest_check(guest, WHvCreatePartition(&guest->partition), "WHvCreatePartition"))
        return false;
    set_hypercalls(guest);
    return SET(guest, ProcessorCount, count) && set_apic(guest) && set_identity(guest) && set_assignment(guest) &&
           guest_check(guest, WHvSetupPartition(guest->partition), "WHvSetupPartition") &&
           memory_map(&guest->memory, guest->partition);
}

/* ----------------------------------------------------------------------------------- the devices */

static struct irq_line line(const struct guest *guest, uint32_t pin)
{
    return (struct irq_line){.ioapic = guest->ioapic, .pin = pin};
}

static bool create_devices(struct guest *guest)
{
    const struct device_buses buses = {.ports = &guest->ports, .memory = &guest->mmio};
    const struct machine_services *services = &guest->services;

    return (guest->ioapic = ioapic_create(&buses, services)) && (guest->timers = timers_create(services)) &&
           (guest->pic = pic_create(&buses)) && (guest->pit = pit_create(&buses, services, line(guest, PIT_IRQ_PIN))) &&
           (guest->rtc = rtc_create(&buses, services, line(guest, RTC_IRQ), guest->memory.low_end,
                                    guest->memory.high_end - MEMORY_HIGH_BASE)) &&
           (guest->uart = uart_create(&buses, services, line(guest, COM1_IRQ), terminal_put, &guest->terminal)) &&
           (guest->pm = pm_create(&buses, services, line(guest, ACPI_SCI_IRQ))) && (guest->pci = pci_create(&buses)) &&
           (guest->debug_ports = debug_ports_create(&buses, services)) &&
           (guest->test_device = test_device_create(&buses, guest->ioapic)) &&
           (guest->fw_cfg = fw_cfg_create(&buses, guest->options->processors, guest->options->memory)) &&
           (!guest->hyperv.AsUINT64 ||
            (guest->hyperv_test = hyperv_test_create(&buses, guest->partition, guest->timers)));
}

static bool start_timers(struct guest *guest)
{
    pit_set_timers(guest->pit, guest->timers);
    rtc_set_timers(guest->rtc, guest->timers);
    pm_set_timers(guest->pm, guest->timers);
    return timers_add(guest->timers, pit_poll, guest->pit) && timers_add(guest->timers, rtc_poll, guest->rtc) &&
           timers_add(guest->timers, pm_poll, guest->pm) &&
           (!guest->hyperv_test || timers_add(guest->timers, hyperv_test_poll, guest->hyperv_test)) &&
           timers_start(guest->timers);
}

/* The thread of the timers first: it calls the others. */
static void destroy_devices(struct guest *guest)
{
    timers_destroy(guest->timers);
    fw_cfg_destroy(guest->fw_cfg);
    hyperv_test_destroy(guest->hyperv_test);
    test_device_destroy(guest->test_device);
    debug_ports_destroy(guest->debug_ports);
    pci_destroy(guest->pci);
    pm_destroy(guest->pm);
    uart_destroy(guest->uart);
    rtc_destroy(guest->rtc);
    pit_destroy(guest->pit);
    pic_destroy(guest->pic);
    ioapic_destroy(guest->ioapic);
}

/* ------------------------------------------------------------------------------------- the whole */

static size_t processors_size(const struct guest *guest)
{
    return guest->options->processors * sizeof(struct processor);
}

static bool create_processors(struct guest *guest)
{
    guest->processors = system_memory_alloc(processors_size(guest));
    if (!guest->processors) {
        system_print("vmm: guest %u: no memory for %u processors\n", guest->number, guest->options->processors);
        return false;
    }
    for (uint32_t i = 0; i < guest->options->processors; i++) {
        guest->processor_count++;
        if (!processor_create(&guest->processors[i], guest, i))
            return false;
    }
    return true;
}

static uint32_t tsc_khz(void)
{
    WHV_CAPABILITY capability;
    HRESULT hr = WHvGetCapability(WHvCapabilityCodeProcessorClockFrequency, &capability, sizeof(capability), NULL);

    return SUCCEEDED(hr) ? (uint32_t)(capability.ProcessorClockFrequency / 1000) : 0;
}

static bool load_kernel(struct guest *guest)
{
    struct loader_input input = guest->options->input;

    input.tsc_khz = tsc_khz();
    return acpi_write(&guest->memory, guest->options->processors, &input.rsdp) &&
           loader_load(&guest->memory, &input, &guest->entry);
}

bool guest_create(struct guest *guest, const struct options *options, uint32_t number, volatile uint32_t *ends)
{
    guest->number = number;
    guest->options = options;
    guest->start_ns = system_time_ns();
    guest->ends = ends;
    guest->services = (struct machine_services){.context = guest,
                                                .send_interrupt = service_send_interrupt,
                                                .end = service_end,
                                                .time_ns = service_time_ns,
                                                .wall_seconds = service_wall_seconds};
    terminal_init(&guest->terminal, &guest->services, options->guests > 1 ? number : 0);
    return memory_create(&guest->memory, options->memory) && load_kernel(guest) && create_partition(guest) &&
           create_devices(guest) && vpci_create(guest) && create_processors(guest) &&
           processor_set_entry(&guest->processors[0], &guest->entry);
}

void guest_start(struct guest *guest)
{
    guest->start_ns = system_time_ns();
    if (!start_timers(guest))
        guest_end(guest, MACHINE_ERROR, 0);
    for (uint32_t i = 0; i < guest->processor_count && guest_ended(guest) == MACHINE_RUNNING; i++) {
        guest->processors[i].thread = system_thread_start("processor", processor_run, &guest->processors[i]);
        if (guest->processors[i].thread)
            continue;
        system_print("vmm: guest %u: no memory for the thread of processor %u\n", guest->number, i);
        guest_end(guest, MACHINE_ERROR, 0);
    }
}

void guest_join(struct guest *guest)
{
    for (uint32_t i = 0; i < guest->processor_count; i++) {
        if (guest->processors[i].thread)
            system_thread_join(guest->processors[i].thread);
        guest->processors[i].thread = NULL;
    }
    terminal_flush(&guest->terminal, true);
}

/* Passed devices before the memory that they reach. */
void guest_destroy(struct guest *guest)
{
    vpci_destroy(guest);
    destroy_devices(guest);
    for (uint32_t i = 0; i < guest->processor_count; i++)
        processor_destroy(&guest->processors[i]);
    if (guest->partition)
        guest_check(guest, WHvDeletePartition(guest->partition), "WHvDeletePartition");
    if (guest->processors)
        system_memory_free(guest->processors, processors_size(guest));
    memory_destroy(&guest->memory);
}
