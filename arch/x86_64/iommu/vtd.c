/* SPDX-License-Identifier: MIT */
/*
 * VT-d: which units there are and what they have in common, and switching them on and off.
 *
 * A unit that translates or remaps already is somebody's: the host's own, or firmware's that has left it on to protect
 * memory. There is no telling which, and with either the tables that its devices go by would vanish: such a machine is
 * refused, with the unit's address. A queue that was left on without either is taken over.
 * Protected memory regions, firmware's simpler means of the same, end when tables have taken over, and are back before
 * those are gone (VT-d 11.1).
 */
#include "vtd.h"
#include <arch/backend.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/msr.h>
#include <hv/base/assert.h>
#include <hv/base/log.h>

#define REASON_SIZE sizeof(((struct hv_iommu_platform *)NULL)->reason)

struct vtd vtd;

struct vtd_unit *vtd_unit_of(const struct hv_pci_address *requester)
{
    const struct dmar_unit *unit = dmar_unit_of(&vtd.dmar, requester);

    return unit ? &vtd.units[unit - vtd.dmar.units] : NULL;
}

/* --------------------------------------------------------------------------------- memory */

#define LINE_SIZE 64u

void vtd_written(const volatile void *p, size_t size)
{
    uintptr_t line = ALIGN_DOWN((uintptr_t)p, (uintptr_t)LINE_SIZE), end = (uintptr_t)p + size;

    if (vtd.is_snooping)
        return;
    for (; line < end; line += LINE_SIZE)
        cpu_flush_line((const volatile void *)line);
}

enum hv_status vtd_table_make(struct vtd_table *t, uint32_t pages)
{
    if (t->words)
        return HV_OK;
    t->words = pages == 1 ? hv_host_page_alloc() : hv_host_pages_alloc(pages);
    if (!t->words)
        return HV_E_NO_MEMORY;
    t->pa = hv_host_virt_to_phys(t->words, NULL);
    vtd_written(t->words, pages * HV_PAGE_SIZE);
    return HV_OK;
}

void vtd_table_free(struct vtd_table *t, uint32_t pages)
{
    if (t->words && pages == 1)
        hv_host_page_free(t->words);
    else if (t->words)
        hv_host_pages_free(t->words, pages);
    *t = (struct vtd_table){0};
}

/* ------------------------------------------------------------------------------ registers */

/* All that is used of a unit's registers: the first page, and where its fault recording registers are. */
static bool map(struct vtd_unit *u, uint64_t size)
{
    u->regs = hv_host_mmio_map(u->acpi->base, size);
    u->regs_size = size;
    return u->regs;
}

static void unmap(struct vtd_unit *u)
{
    if (u->regs)
        hv_host_mmio_unmap(u->regs, u->regs_size);
    u->regs = NULL;
}

static uint64_t registers_size(const struct vtd_unit *u)
{
    uint64_t records = FIELD_GET(VTD_CAP_NFR, u->cap) + 1;

    return ALIGN_UP(HV_MAX(FIELD_GET(VTD_CAP_FRO, u->cap) * 16 + records * VTD_FRCD_SIZE, 1), HV_PAGE_SIZE);
}

static bool is_done(const struct vtd_unit *u, uint32_t bit, bool set)
{
    bool is_set = vtd_read32(u, VTD_GSTS) & bit;

    return is_set == (set && bit != VTD_GCMD_WBF);
}

/* One command at a time, and the states as they are (VT-d 10.4.4). */
bool vtd_command(struct vtd_unit *u, uint32_t bit, bool set)
{
    uint64_t flags = hv_spin_lock(&u->lock), deadline = hv_host_time_ns() + VTD_TIMEOUT_NS;
    uint32_t states = vtd_read32(u, VTD_GSTS) & VTD_GSTS_STATES;
    bool done;

    vtd_write32(u, VTD_GCMD, set ? states | bit : states & ~bit);
    while (!(done = is_done(u, bit, set)) && hv_host_time_ns() <= deadline)
        __builtin_ia32_pause();
    hv_spin_unlock(&u->lock, flags);
    if (!done)
        hv_log(HV_LOG_ERROR, "VT-d unit at 0x%llx: does not obey command 0x%x", (unsigned long long)u->acpi->base, bit);
    return done;
}

/* --------------------------------------------------------------------------------- probe */

/* NULL, or why the unit can not be used. */
static const char *check_unit(const struct vtd_unit *u)
{
    if (u->cap == ~0ull || u->ecap == ~0ull || !u->cap)
        return "there are no registers";
    if (!(u->ecap & VTD_ECAP_QI))
        return "has no invalidation queue";
    if (vtd_read32(u, VTD_GSTS) & (VTD_GCMD_TE | VTD_GCMD_IRE))
        return "is in use already, by firmware or by the host";
    return NULL;
}

static bool probe_unit(struct vtd_unit *u, char *reason)
{
    const char *wrong = "its registers can not be mapped";

    if (map(u, HV_PAGE_SIZE)) {
        u->cap = vtd_read64(u, VTD_CAP);
        u->ecap = vtd_read64(u, VTD_ECAP);
        wrong = check_unit(u);
        unmap(u);
    }
    if (wrong)
        hv_format(reason, REASON_SIZE, "VT-d unit at 0x%llx: %s", (unsigned long long)u->acpi->base, wrong);
    return !wrong;
}

/* Capabilities that all units have, and the fewest domains of any. */
static void unite(uint64_t *cap, uint64_t *ecap)
{
    *cap = *ecap = ~0ull;
    vtd.domain_ids = ~0u;
    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.count; u++) {
        *cap &= u->cap;
        *ecap &= u->ecap;
        vtd.domain_ids = HV_MIN(vtd.domain_ids, 1u << (4 + 2 * HV_MIN(FIELD_GET(VTD_CAP_ND, u->cap), 6)));
    }
}

static bool has_cmpxchg16b(void)
{
    struct hv_cpuid_output leaf1;

    cpu_cpuid(1, 0, &leaf1);
    return leaf1.ecx & CPUID_1_ECX_CX16;
}

/* NULL, or why interrupts are not remapped. */
static const char *check_interrupts(uint64_t ecap)
{
    vtd.is_x2apic = cpu_read_msr(MSR_IA32_APIC_BASE) & APIC_BASE_EXTD;
    if (!vtd.dmar.remaps_interrupts)
        return "VT-d: ACPI's DMAR table says that this machine does not remap interrupts";
    if (!has_cmpxchg16b())
        return "VT-d: the CPU does not write 16 bytes at once (CMPXCHG16B), as remapping entries want it";
    if (!(ecap & VTD_ECAP_IR))
        return "VT-d: not all units remap interrupts";
    if (vtd.is_x2apic && !(ecap & VTD_ECAP_EIM))
        return "VT-d: not all units know x2APIC IDs, and the APICs are in x2APIC mode";
    return NULL;
}

/* As many levels as partitions have; 3 or 5 if need be. 0: the units have none in common. */
static unsigned choose_levels(uint64_t cap)
{
    static const unsigned levels[] = {4, 5, 3};

    for (unsigned i = 0; i < ARRAY_COUNT(levels); i++)
        if (FIELD_GET(VTD_CAP_SAGAW, cap) & BIT64(levels[i] - 2))
            return levels[i];
    return 0;
}

static bool probe_units(struct hv_iommu_platform *platform)
{
    for (uint32_t i = 0; i < vtd.dmar.count; i++) {
        vtd.units[i] = (struct vtd_unit){.acpi = &vtd.dmar.units[i]};
        if (!probe_unit(&vtd.units[i], platform->reason))
            return false;
    }
    return true;
}

static bool vtd_probe(struct hv_iommu_platform *platform)
{
    const char *no_interrupts;
    uint64_t cap, ecap;
    unsigned levels;
    size_t size;
    const void *table = hv_host_acpi_table("DMAR", 0, &size);

    if (!table)
        return false; /* without a reason: there may be units of another kind */
    if (!dmar_parse(table, size, &vtd.dmar, platform->reason, REASON_SIZE) || !probe_units(platform))
        return false;
    unite(&cap, &ecap);
    levels = choose_levels(cap);
    if (!levels) {
        hv_format(platform->reason, REASON_SIZE, "VT-d: the units have no depth of tables in common");
        return false;
    }
    vtd.is_snooping = ecap & VTD_ECAP_C;
    vtd_format_init(levels, !(cap & VTD_CAP_2M) ? 1 : cap & VTD_CAP_1G ? 3 : 2);
    no_interrupts = check_interrupts(ecap);
    vtd.remaps = !no_interrupts;
    *platform = (struct hv_iommu_platform){
        .present = true,
        .remaps_interrupts = vtd.remaps,
        .posts_interrupts = vtd.remaps && cap & VTD_CAP_PI,
        .name = "VT-d",
    };
    hv_format(platform->reason, REASON_SIZE, "%s", no_interrupts ? no_interrupts : "");
    return true;
}

/* --------------------------------------------------------------------------------- on and off */

/* Everything but letting it begin. */
static enum hv_status unit_prepare(struct vtd_unit *u)
{
    const char *wrong;
    enum hv_status st;

    if (!map(u, registers_size(u)))
        return HV_E_NO_MEMORY;
    wrong = check_unit(u);
    if (wrong) {
        hv_log(HV_LOG_ERROR, "VT-d unit at 0x%llx: %s", (unsigned long long)u->acpi->base, wrong);
        return HV_E_NOT_PRESENT;
    }
    st = vtd_queue_on(u);
    if (st != HV_OK)
        return st;
    u->is_on = true;
    st = vtd_dma_on(u);
    if (st == HV_OK)
        st = vtd_irq_on(u);
    vtd_faults_on(u);
    return st;
}

static bool has_protected_regions(const struct vtd_unit *u)
{
    return u->cap & (VTD_CAP_PLMR | VTD_CAP_PHMR);
}

/* False: it stays as it was. */
static bool set_protected(const struct vtd_unit *u, uint32_t pmen)
{
    uint64_t deadline = hv_host_time_ns() + VTD_TIMEOUT_NS;

    vtd_write32(u, VTD_PMEN, pmen & VTD_PMEN_EPM);
    while (!(vtd_read32(u, VTD_PMEN) & VTD_PMEN_PRS) != !(pmen & VTD_PMEN_EPM))
        if (hv_host_time_ns() > deadline)
            return false;
    return true;
}

static enum hv_status unit_begin(struct vtd_unit *u)
{
    bool done = vtd_command(u, VTD_GCMD_TE, true);

    if (vtd.remaps)
        done = done && vtd_command(u, VTD_GCMD_CFI, false) && vtd_command(u, VTD_GCMD_IRE, true);
    if (done && has_protected_regions(u)) {
        u->saved_pmen = vtd_read32(u, VTD_PMEN);
        done = !(u->saved_pmen & VTD_PMEN_EPM) || set_protected(u, 0);
    }
    return done ? HV_OK : HV_E_NOT_PRESENT;
}

/* Its tables are given back next: it must not go by them any more. */
static void unit_end(struct vtd_unit *u)
{
    bool done = true;

    if (u->saved_pmen & VTD_PMEN_EPM)
        set_protected(u, u->saved_pmen);
    u->saved_pmen = 0;
    if (vtd.remaps)
        done = vtd_command(u, VTD_GCMD_IRE, false);
    if (!vtd_command(u, VTD_GCMD_TE, false) || !done)
        hv_host_panic("VT-d: a unit that can not be switched off goes by tables that are gone");
    vtd_faults_off(u);
}

static void unit_off(struct vtd_unit *u)
{
    if (u->is_on)
        unit_end(u);
    u->is_on = false;
    vtd_queue_off(u);
    vtd_irq_off(u);
    vtd_dma_off(u);
    unmap(u);
}

static void vtd_off(void)
{
    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.count; u++)
        unit_off(u);
}

static enum hv_status vtd_on(void)
{
    enum hv_status st = HV_OK;

    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.count; u++)
        if (st == HV_OK)
            st = unit_prepare(u);
    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.count; u++)
        if (st == HV_OK)
            st = unit_begin(u);
    if (st != HV_OK)
        vtd_off();
    return st;
}

/* ---------------------------------------------------------------------------------- contract */

static const struct npt_format *vtd_format(void)
{
    return &vtd.format;
}

static uint32_t vtd_domain_ids(void)
{
    return vtd.domain_ids;
}

static bool vtd_reserved(const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    return dmar_reserved(&vtd.dmar, requester, n, start, size);
}

static bool vtd_registers(uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    if (n >= vtd.dmar.count)
        return false;
    *start = vtd.dmar.units[n].base;
    *size = registers_size(&vtd.units[n]);
    return true;
}

const struct iommu_backend vtd_backend = {
    .name = "VT-d",
    .probe = vtd_probe,
    .on = vtd_on,
    .off = vtd_off,
    .format = vtd_format,
    .domain_ids = vtd_domain_ids,
    .attach = vtd_attach,
    .flush = vtd_flush,
    .reserved = vtd_reserved,
    .irq_entries = vtd_irq_entries,
    .irq_table = vtd_irq_table,
    .irq_prepare = vtd_irq_prepare,
    .irq_posts = vtd_irq_posts,
    .irq_set = vtd_irq_set,
    .irq_message = vtd_irq_message,
    .ioapic_requester = vtd_ioapic_requester,
    .ioapic_entry = vtd_ioapic_entry,
    .registers = vtd_registers,
    .poll = vtd_poll,
};
