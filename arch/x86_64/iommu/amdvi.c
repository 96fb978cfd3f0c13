/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi: which units there are and what they have in common, and switching them on and off.
 *
 * A unit that is on already is somebody's: the host's own, or firmware's that has left it on to protect memory until
 * somebody takes over, which ACPI's table tells. The first is refused, the second taken over, and given back as it was.
 */
#include "amdvi.h"
#include <arch/backend.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/msr.h>
#include <hv/base/log.h>

#define REASON_SIZE sizeof(((struct hv_iommu_platform *)NULL)->reason)
#define HATS_LEVELS 4u

struct amdvi amdvi;

/* An alias that has an alias itself stands for neither. */
struct amdvi_unit *amdvi_unit_of(const struct hv_pci_address *requester, uint16_t *alias)
{
    const struct ivrs_unit *unit = ivrs_unit_of(&amdvi.ivrs, requester, alias);
    const struct hv_pci_address as = {requester->segment, *alias};
    uint16_t its = *alias;

    if (unit && *alias != requester->bdf && ivrs_unit_of(&amdvi.ivrs, &as, &its) && its != *alias)
        *alias = requester->bdf;
    return unit ? &amdvi.units[unit - amdvi.ivrs.units] : NULL;
}

/* --------------------------------------------------------------------------------- memory */

/* Whatever a unit reads it reads by snooping the CPUs' caches (AMDVI_CTL_COHERENT, AMD-IOV 2.2.2.1: SD is 0). */
enum hv_status amdvi_table_make(struct amdvi_table *t, uint32_t pages)
{
    if (t->words)
        return HV_OK;
    t->words = pages == 1 ? hv_host_page_alloc() : hv_host_pages_alloc(pages);
    if (!t->words)
        return HV_E_NO_MEMORY;
    t->pa = hv_host_virt_to_phys(t->words, NULL);
    return HV_OK;
}

void amdvi_table_free(struct amdvi_table *t, uint32_t pages)
{
    if (t->words && pages == 1)
        hv_host_page_free(t->words);
    else if (t->words)
        hv_host_pages_free(t->words, pages);
    *t = (struct amdvi_table){0};
}

/* ------------------------------------------------------------------------------ registers */

static bool map(struct amdvi_unit *u)
{
    u->regs = hv_host_mmio_map(u->acpi->base, AMDVI_REGS_SIZE);
    return u->regs;
}

static void unmap(struct amdvi_unit *u)
{
    if (u->regs)
        hv_host_mmio_unmap(u->regs, AMDVI_REGS_SIZE);
    u->regs = NULL;
}

bool amdvi_await(struct amdvi_unit *u, uint64_t status, bool set)
{
    uint64_t deadline = hv_host_time_ns() + AMDVI_TIMEOUT_NS;

    while (!(amdvi_read(u, AMDVI_STATUS) & status) == set) {
        if (hv_host_time_ns() > deadline) {
            hv_log(HV_LOG_ERROR, "AMD-Vi unit at 0x%llx: status 0x%llx does not become %d",
                   (unsigned long long)u->acpi->base, (unsigned long long)status, set);
            return false;
        }
        __builtin_ia32_pause();
    }
    return true;
}

/* --------------------------------------------------------------------------------- probe */

/* NULL, or why the unit can not be used. */
static const char *check_unit(const struct amdvi_unit *u)
{
    uint64_t control = amdvi_read(u, AMDVI_CONTROL);

    if (u->features == ~0ull || control == ~0ull)
        return "there are no registers";
    if (control & AMDVI_CTL_ON && !amdvi.ivrs.is_left_on)
        return "is in use already";
    return NULL;
}

static bool probe_unit(struct amdvi_unit *u, char *reason)
{
    const char *wrong = "its registers can not be mapped";

    if (map(u)) {
        u->features = amdvi_read(u, AMDVI_FEATURES);
        wrong = check_unit(u);
        unmap(u);
    }
    if (wrong)
        hv_format(reason, REASON_SIZE, "AMD-Vi unit at 0x%llx: %s", (unsigned long long)u->acpi->base, wrong);
    return !wrong;
}

static bool probe_units(struct hv_iommu_platform *platform)
{
    for (uint32_t i = 0; i < amdvi.ivrs.count; i++) {
        amdvi.units[i] = (struct amdvi_unit){.acpi = &amdvi.ivrs.units[i]};
        if (!probe_unit(&amdvi.units[i], platform->reason))
            return false;
    }
    return true;
}

/* Features that all units have, and the fewest levels of any. */
static uint64_t unite(unsigned *levels)
{
    uint64_t features = ~0ull;

    *levels = NPT_MAX_LEVELS;
    for (struct amdvi_unit *u = amdvi.units; u < amdvi.units + amdvi.ivrs.count; u++) {
        features &= u->features;
        *levels = HV_MIN(*levels, HATS_LEVELS + (unsigned)FIELD_GET(AMDVI_EFR_HATS, u->features));
    }
    return features;
}

static bool has_cmpxchg16b(void)
{
    struct hv_cpuid_output leaf1;

    cpu_cpuid(1, 0, &leaf1);
    return leaf1.ecx & CPUID_1_ECX_CX16;
}

/* NULL, or why interrupts are not remapped. */
static const char *check_interrupts(uint64_t features)
{
    amdvi.has_ga = features & AMDVI_EFR_GA && has_cmpxchg16b();
    amdvi.is_x2apic = cpu_read_msr(MSR_IA32_APIC_BASE) & APIC_BASE_EXTD;
    if (!amdvi.ivrs.remaps_ioapics)
        return "AMD-Vi: ACPI's IVRS table does not say which requester an IOAPIC is: interrupts are not remapped";
    if (amdvi.is_x2apic && !(amdvi.has_ga && features & AMDVI_EFR_XT))
        return "AMD-Vi: not all units know x2APIC IDs, and the APICs are in x2APIC mode";
    return NULL;
}

static unsigned phys_bits(void)
{
    struct hv_cpuid_output widths;

    cpu_cpuid(CPUID_LEAF_ADDRESS_WIDTHS, 0, &widths);
    return HV_MIN((unsigned)FIELD_GET(CPUID_WIDTHS_EAX_PHYSICAL, widths.eax), 52u);
}

static bool amdvi_probe(struct hv_iommu_platform *platform)
{
    const char *no_interrupts;
    uint64_t features;
    unsigned levels;
    size_t size;
    const void *table = hv_host_acpi_table("IVRS", 0, &size);

    if (!table || !ivrs_parse(table, size, &amdvi.ivrs, platform->reason, REASON_SIZE) || !probe_units(platform))
        return false;
    features = unite(&levels);
    amdvi_format_init(levels, phys_bits());
    no_interrupts = check_interrupts(features);
    amdvi.remaps = !no_interrupts;
    *platform = (struct hv_iommu_platform){.present = true, .remaps_interrupts = amdvi.remaps, .name = "AMD-Vi"};
    hv_format(platform->reason, REASON_SIZE, "%s", no_interrupts ? no_interrupts : "");
    return true;
}

/* --------------------------------------------------------------------------------- on and off */

/* Bases come before heads and tails, which they reset. */
static const uint32_t registers[] = {
    AMDVI_DEVTAB,   AMDVI_CMD_BASE, AMDVI_EVT_BASE, AMDVI_EXCL_BASE, AMDVI_EXCL_LIMIT,
    AMDVI_CMD_HEAD, AMDVI_CMD_TAIL, AMDVI_EVT_HEAD, AMDVI_EVT_TAIL,
};
_Static_assert(ARRAY_COUNT(registers) == AMDVI_SAVED, "a place for each");

static void save(struct amdvi_unit *u)
{
    u->saved_control = amdvi_read(u, AMDVI_CONTROL);
    for (unsigned i = 0; i < AMDVI_SAVED; i++)
        u->saved[i] = amdvi_read(u, registers[i]);
}

static void restore(struct amdvi_unit *u)
{
    for (unsigned i = 0; i < AMDVI_SAVED; i++)
        amdvi_write(u, registers[i], u->saved[i]);
    amdvi_write(u, AMDVI_CONTROL, u->saved_control);
}

static uint64_t control_of(const struct ivrs_unit *acpi)
{
    static const struct {
        uint64_t flag, control;
    } flags[] = {
        {AMDVI_IVHD_HT_TUNNEL, AMDVI_CTL_HT_TUNNEL},
        {AMDVI_IVHD_PASS_PW, AMDVI_CTL_PASS_PW},
        {AMDVI_IVHD_RES_PASS_PW, AMDVI_CTL_RES_PASS_PW},
        {AMDVI_IVHD_ISOCHRONOUS, AMDVI_CTL_ISOCHRONOUS},
    };
    uint64_t control = AMDVI_CTL_ON | AMDVI_CTL_COHERENT | AMDVI_CTL_COMMANDS;

    for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
        if (acpi->flags & flags[i].flag)
            control |= flags[i].control;
    if (amdvi.remaps && amdvi.has_ga)
        control |= AMDVI_CTL_GA | (amdvi.is_x2apic ? AMDVI_CTL_XT : 0);
    return control;
}

/* Everything but letting it begin. */
static enum hv_status unit_prepare(struct amdvi_unit *u)
{
    const char *wrong;
    enum hv_status st;

    if (!map(u))
        return HV_E_NO_MEMORY;
    wrong = check_unit(u);
    if (wrong) {
        hv_log(HV_LOG_ERROR, "AMD-Vi unit at 0x%llx: %s", (unsigned long long)u->acpi->base, wrong);
        return HV_E_NOT_PRESENT;
    }
    st = amdvi_devices_make(u->acpi->function.segment);
    if (st == HV_OK)
        st = amdvi_queue_on(u);
    return st;
}

/* Neither commands nor events are dealt with any more. */
static bool stop(struct amdvi_unit *u, uint64_t control)
{
    amdvi_write(u, AMDVI_CONTROL, control);
    return amdvi_await(u, AMDVI_STATUS_COMMANDS, false) && amdvi_await(u, AMDVI_STATUS_EVENTS, false);
}

static void program(struct amdvi_unit *u, hv_hpa_t commands, hv_hpa_t events)
{
    const uint64_t length = FIELD_PUT(AMDVI_BASE_LENGTH, AMDVI_RING_LOG);

    amdvi_write(u, AMDVI_CMD_BASE, commands | length);
    amdvi_write(u, AMDVI_CMD_HEAD, 0);
    amdvi_write(u, AMDVI_CMD_TAIL, 0);
    amdvi_write(u, AMDVI_EVT_BASE, events | length);
    amdvi_write(u, AMDVI_EVT_HEAD, 0);
    amdvi_write(u, AMDVI_EVT_TAIL, 0);
    amdvi_write(u, AMDVI_EXCL_BASE, 0);
    amdvi_write(u, AMDVI_EXCL_LIMIT, 0);
    amdvi_write(u, AMDVI_STATUS, AMDVI_STATUS_OVERFLOW | AMDVI_STATUS_EVENT);
}

/* What the unit has kept from before is of no use: all of it is to be read anew (AMD-IOV 2.4, 3.4.1). */
static enum hv_status unit_begin(struct amdvi_unit *u)
{
    struct amdvi_table *devices = amdvi_devices(u->acpi->function.segment);

    save(u);
    if (!stop(u, 0)) {
        amdvi_write(u, AMDVI_CONTROL, u->saved_control);
        return HV_E_NOT_PRESENT;
    }
    u->is_on = true;
    u->control = control_of(u->acpi);
    if (amdvi_faults_on(u) != HV_OK)
        return HV_E_NO_MEMORY;
    program(u, u->queue.ring.pa, u->faults.ring.pa);
    amdvi_write(u, AMDVI_DEVTAB, devices->pa | (AMDVI_DEVTAB_PAGES - 1));
    amdvi_write(u, AMDVI_CONTROL, u->control);
    return amdvi_await(u, AMDVI_STATUS_COMMANDS, true) && amdvi_invalidate_all(u) ? HV_OK : HV_E_NOT_PRESENT;
}

/*
 * Where somebody's tables take over again, the unit must not go by what it knows of ours. Interrupts end first: what
 * deals with them writes control, and would switch the unit on again.
 */
static void unit_end(struct amdvi_unit *u)
{
    amdvi_faults_quiet(u);
    if (u->saved_control & AMDVI_CTL_ON && u->queue.ring.words && u->queue.status.words) {
        amdvi_write(u, AMDVI_DEVTAB, u->saved[0]);
        if (amdvi_read(u, AMDVI_STATUS) & AMDVI_STATUS_COMMANDS)
            amdvi_invalidate_all(u);
    }
    if (!stop(u, 0))
        hv_host_panic("AMD-Vi: a unit that can not be stopped goes by memory that is given back");
    amdvi_faults_off(u);
    restore(u);
}

static void unit_off(struct amdvi_unit *u)
{
    if (u->is_on)
        unit_end(u);
    u->is_on = false;
    amdvi_queue_off(u);
    unmap(u);
}

static void amdvi_off(void)
{
    struct amdvi_unit *end = amdvi.units + amdvi.ivrs.count;

    for (struct amdvi_unit *u = amdvi.units; u < end; u++)
        unit_off(u);
    for (struct amdvi_unit *u = amdvi.units; u < end; u++)
        amdvi_dma_off(u);
    amdvi_table_free(&amdvi.nothing, 1);
}

static enum hv_status amdvi_on(void)
{
    struct amdvi_unit *end = amdvi.units + amdvi.ivrs.count;
    enum hv_status st = HV_OK;

    for (struct amdvi_unit *u = amdvi.units; u < end && st == HV_OK; u++)
        st = unit_prepare(u);
    for (struct amdvi_unit *u = amdvi.units; u < end && st == HV_OK; u++)
        st = unit_begin(u);
    if (st != HV_OK)
        amdvi_off();
    return st;
}

/* ---------------------------------------------------------------------------------- contract */

static const struct npt_format *amdvi_format(void)
{
    return &amdvi.format;
}

static uint32_t amdvi_domain_ids(void)
{
    return (uint32_t)AMDVI_DTE_DOMAIN + 1;
}

static bool amdvi_reserved(const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    return ivrs_reserved(&amdvi.ivrs, requester, n, start, size);
}

static bool amdvi_registers(uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    if (n >= amdvi.ivrs.count)
        return false;
    *start = amdvi.ivrs.units[n].base;
    *size = amdvi.units[n].features & AMDVI_EFR_PC ? AMDVI_REGS_MAX : AMDVI_REGS_SIZE;
    return true;
}

const struct iommu_backend amdvi_backend = {
    .name = "AMD-Vi",
    .probe = amdvi_probe,
    .on = amdvi_on,
    .off = amdvi_off,
    .format = amdvi_format,
    .domain_ids = amdvi_domain_ids,
    .attach = amdvi_attach,
    .flush = amdvi_flush,
    .reserved = amdvi_reserved,
    .irq_entries = amdvi_irq_entries,
    .irq_table = amdvi_irq_table,
    .irq_prepare = amdvi_irq_prepare,
    .irq_set = amdvi_irq_set,
    .irq_message = amdvi_irq_message,
    .ioapic_requester = amdvi_ioapic_requester,
    .ioapic_entry = amdvi_ioapic_entry,
    .registers = amdvi_registers,
    .poll = amdvi_poll,
};
