/* SPDX-License-Identifier: MIT */
/*
 * VT-d's faults (VT-d 7): what a unit blocks it writes into its recording registers, and tells by an interrupt of its
 * own, which is not remapped. A device that does nothing but fault must not keep a CPU busy: see VTD_FAULTS_MAX.
 */
#include "vtd.h"
#include <hv/base/log.h>

#define ROUNDS 4u /* looks at all records in one interrupt */

/* VT-d 7.1.3 */
static const char *const dma_reasons[] = {
    [0x1] = "nothing on this bus may reach memory",
    [0x2] = "the device may not reach memory",
    [0x3] = "invalid context entry",
    [0x4] = "address beyond the unit's width",
    [0x5] = "no page there that it may write",
    [0x6] = "no page there that it may read",
    [0x7] = "a table of pages can not be read",
    [0x8] = "the root table can not be read",
    [0x9] = "the context table can not be read",
    [0xa] = "reserved bits in the root entry",
    [0xb] = "reserved bits in the context entry",
    [0xc] = "reserved bits in a page's entry",
    [0xd] = "request of a kind that is not allowed",
};

/* VT-d 7.1.3, from VTD_REASON_IRQ on */
static const char *const irq_reasons[] = {
    "reserved bits in the request",
    "no such remapping entry",
    "the remapping entry lets nothing pass",
    "the remapping table can not be read",
    "reserved bits in the remapping entry",
    "request in compatibility format",
    "the remapping entry is another device's",
};

static const char *reason_text(uint32_t reason)
{
    uint32_t irq = reason - VTD_REASON_IRQ;

    if (irq < ARRAY_COUNT(irq_reasons))
        return irq_reasons[irq];
    if (reason < ARRAY_COUNT(dma_reasons) && dma_reasons[reason])
        return dma_reasons[reason];
    return "a reason that is not known here";
}

static struct iommu_fault fault_of(const struct vtd_unit *u, uint64_t low, uint64_t high)
{
    uint32_t reason = (uint32_t)FIELD_GET(VTD_FRCD_REASON, high);
    bool is_irq = reason >= VTD_REASON_IRQ && reason <= VTD_REASON_IRQ_LAST;

    return (struct iommu_fault){
        .requester = {u->acpi->segment, (uint16_t)FIELD_GET(VTD_FRCD_SID, high)},
        .kind = is_irq                 ? IOMMU_FAULT_INTERRUPT
                : high & VTD_FRCD_READ ? IOMMU_FAULT_READ
                                       : IOMMU_FAULT_WRITE,
        .address = is_irq ? FIELD_GET(VTD_FRCD_INDEX, low) : low & VTD_FRCD_INFO,
        .code = (uint8_t)reason,
        .text = reason_text(reason),
    };
}

/* ----------------------------------------------------------------------------------- records */

static uint32_t record_count(const struct vtd_unit *u)
{
    return (uint32_t)FIELD_GET(VTD_CAP_NFR, u->cap) + 1;
}

/* Takes one record, if there is a fault in it, so that the unit can use it again. */
static bool take(struct vtd_unit *u, uint32_t n, struct iommu_fault *out)
{
    uint32_t at = (uint32_t)FIELD_GET(VTD_CAP_FRO, u->cap) * 16 + n * VTD_FRCD_SIZE;
    uint64_t flags = hv_spin_lock(&u->lock);
    uint64_t high = vtd_read64(u, at + 8);

    if (high & VTD_FRCD_F) {
        *out = fault_of(u, vtd_read64(u, at), high);
        vtd_write32(u, at + 12, VTD_FRCD_F >> 32);
    }
    hv_spin_unlock(&u->lock, flags);
    return high & VTD_FRCD_F;
}

static void say_lost(struct vtd_unit *u)
{
    uint64_t now = hv_host_time_ns();

    vtd_write32(u, VTD_FSTS, VTD_FSTS_PFO);
    if (u->faults.lost_at && now - u->faults.lost_at < VTD_FAULTS_TIME)
        return;
    u->faults.lost_at = now;
    hv_log(HV_LOG_WARNING, "VT-d unit at 0x%llx: more faults than it could record", (unsigned long long)u->acpi->base);
}

/* The first record is the one that FSTS names, further ones follow it. Returns whether there are more already. */
static bool take_all(struct vtd_unit *u)
{
    struct iommu_fault fault;
    uint32_t status;

    for (unsigned round = 0; round < ROUNDS; round++) {
        status = vtd_read32(u, VTD_FSTS);
        if (!(status & (VTD_FSTS_PPF | VTD_FSTS_PFO)))
            return false;
        for (uint32_t i = 0; i < record_count(u); i++)
            if (take(u, ((uint32_t)FIELD_GET(VTD_FSTS_FRI, status) + i) % record_count(u), &fault))
                iommu_report(&fault);
        if (status & VTD_FSTS_PFO)
            say_lost(u);
    }
    return true;
}

/* -------------------------------------------------------------------------------- interrupts */

static void set_silent(struct vtd_unit *u, bool silent)
{
    u->faults.is_silent = silent;
    u->faults.since = hv_host_time_ns();
    u->faults.count = 0;
    vtd_write32(u, VTD_FECTL, silent ? VTD_FECTL_IM : 0);
}

/* Counts an interrupt, and ends them if there are too many. */
static void count_one(struct vtd_unit *u, bool has_more)
{
    uint64_t flags = hv_spin_lock(&u->lock), now = hv_host_time_ns();
    struct vtd_faults *f = &u->faults;

    if (now - f->since > VTD_FAULTS_TIME) {
        f->since = now;
        f->count = 0;
    }
    if (!f->is_silent && (++f->count > VTD_FAULTS_MAX || has_more))
        set_silent(u, true);
    hv_spin_unlock(&u->lock, flags);
}

static void interrupt(void *arg)
{
    struct vtd_unit *u = arg;

    count_one(u, take_all(u));
}

/* What came meanwhile is pending, and told at once. */
void vtd_faults_resume(struct vtd_unit *u)
{
    uint64_t flags;

    if (!__atomic_load_n(&u->faults.is_silent, __ATOMIC_RELAXED))
        return;
    flags = hv_spin_lock(&u->lock);
    if (u->faults.is_silent && hv_host_time_ns() - u->faults.since > VTD_FAULTS_TIME)
        set_silent(u, false);
    hv_spin_unlock(&u->lock, flags);
}

void vtd_poll(void)
{
    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.count; u++) {
        if (!u->is_on)
            continue;
        take_all(u);
        vtd_faults_resume(u);
    }
}

/* --------------------------------------------------------------------------------- on and off */

static const uint32_t registers[] = {VTD_FECTL, VTD_FEDATA, VTD_FEADDR, VTD_FEUADDR};

/* What others have left there is not of interest. */
static void clear(struct vtd_unit *u)
{
    struct iommu_fault fault;

    for (uint32_t i = 0; i < record_count(u); i++)
        take(u, i, &fault);
    vtd_write32(u, VTD_FSTS, VTD_FSTS_PFO);
}

void vtd_faults_on(struct vtd_unit *u)
{
    uint32_t apic_id = hv_host_apic_id(0);

    for (unsigned i = 0; i < ARRAY_COUNT(registers); i++)
        u->faults.saved[i] = vtd_read32(u, registers[i]);
    vtd_write32(u, VTD_FECTL, VTD_FECTL_IM);
    clear(u);
    u->faults.vector = hv_host_irq_alloc(interrupt, u);
    if (!u->faults.vector) {
        hv_log(HV_LOG_WARNING, "VT-d unit at 0x%llx: no vector is left for its faults, which are told late",
               (unsigned long long)u->acpi->base);
        return;
    }
    vtd_write32(u, VTD_FEDATA, u->faults.vector);
    vtd_write32(u, VTD_FEADDR, (uint32_t)(VTD_MSI_ADDRESS | FIELD_PUT(VTD_MSI_DEST, apic_id)));
    vtd_write32(u, VTD_FEUADDR, vtd.is_x2apic ? apic_id & VTD_MSI_DEST_UPPER : 0);
    set_silent(u, false);
}

void vtd_faults_off(struct vtd_unit *u)
{
    vtd_write32(u, VTD_FECTL, VTD_FECTL_IM);
    if (u->faults.vector)
        hv_host_irq_free(u->faults.vector);
    for (unsigned i = ARRAY_COUNT(registers); i-- > 0;)
        vtd_write32(u, registers[i], u->faults.saved[i]);
    u->faults = (struct vtd_faults){0};
}
