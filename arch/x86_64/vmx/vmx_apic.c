/* SPDX-License-Identifier: MIT */
/*
 * What the CPU does of a guest's local APIC (SDM 3C chapter 30): which controls are on in which mode, which MSRs of
 * x2APIC mode need no exit, and the state that the CPU keeps of virtual interrupts.
 */
#include "vmx.h"
#include <arch/bits/apic.h>
#include <arch/bits/msr.h>
#include <arch/vmx_insn.h>

static bool offers(uint64_t control)
{
    return vmx_caps.cpu2 >> 32 & control;
}

/* Exits then take interrupts from the host's APIC: the CPU wants it so. */
static bool can_be_posted(void)
{
    return vmx_caps.pin >> 32 & PIN_POSTED_INTR && vmx_caps.exit >> 32 & EXIT_ACK_INTR &&
           !(cpu_facts()->avoid & HV_AVOID_POSTED_INTERRUPTS);
}

/*
 * Delivery is used only where both modes have all of it: what a guest reads and writes of its registers must not depend
 * on who delivers.
 */
uint32_t vmx_apic_features(enum vcpu_apic_mode mode)
{
    const uint64_t all = CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY;
    uint32_t features = 0;

    if (mode == VCPU_APIC_NONE)
        return 0;
    if (offers(CPU2_VIRT_APIC_ACCESSES))
        features |= VCPU_APIC_ACCESS;
    if (offers(CPU2_APIC_REGISTER_VIRT))
        features |= VCPU_APIC_REGISTERS;
    if ((vmx_caps.cpu2 >> 32 & all) == all && !(cpu_facts()->avoid & HV_AVOID_INTERRUPT_DELIVERY))
        features |= VCPU_APIC_DELIVERY;
    if (features & VCPU_APIC_DELIVERY && can_be_posted())
        features |= VCPU_APIC_POSTED;
    return features;
}

/* ------------------------------------------------------------------------------------- controls */

#define CPU2_APIC (CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY)

/* Register virtualization is of use only with one of the two that let the guest at the page. */
static uint64_t mode_controls(const struct vcpu *v)
{
    uint64_t controls = 0;

    if (v->controls.apic_mode == VCPU_APIC_X2APIC && offers(CPU2_VIRT_X2APIC))
        controls = CPU2_VIRT_X2APIC;
    if (v->controls.apic_mode == VCPU_APIC_XAPIC && v->apic_access_pa != HV_HPA_NONE)
        controls = CPU2_VIRT_APIC_ACCESSES; /* offered: else there is no such page */
    if (controls && offers(CPU2_APIC_REGISTER_VIRT))
        controls |= CPU2_APIC_REGISTER_VIRT;
    if (vmx_apic_features(v->controls.apic_mode) & VCPU_APIC_DELIVERY && !v->controls.core_delivers)
        controls |= CPU2_VIRT_INTR_DELIVERY;
    return controls;
}

/* -------------------------------------------------------------------------- MSRs of x2APIC mode */

#define REGISTERS(first, last) (BITS64((last) % 64, (first) % 64))

/*
 * Registers by their number, which is their MSR's minus 0x800: those whose value in the page is always what a read has
 * to give. PPR is not: only a CPU that delivers keeps it. Nor is the timer's current count. Reads of registers that
 * x2APIC mode does not have exit, for their #GP.
 */
static const uint64_t page_reads[X2APIC_WORDS] = {
    REGISTERS(0x02, 0x03) | REGISTERS(0x08, 0x08) | REGISTERS(0x0d, 0x0d) | REGISTERS(0x0f, 0x28) |
        REGISTERS(0x30, 0x30) | REGISTERS(0x32, 0x38) | REGISTERS(0x3e, 0x3e),
};
static const uint64_t delivery_reads[X2APIC_WORDS] = {REGISTERS(0x0a, 0x0a)};
/* the TPR shadow takes these; delivery the other two: EOI and SELF_IPI */
static const uint64_t shadow_registers[X2APIC_WORDS] = {REGISTERS(0x08, 0x08)};
static const uint64_t delivery_writes[X2APIC_WORDS] = {REGISTERS(0x0b, 0x0b) | REGISTERS(0x3f, 0x3f)};

static bool has(const uint64_t set[X2APIC_WORDS], unsigned n)
{
    return set[n / 64] >> n % 64 & 1;
}

static bool reads_directly(uint64_t controls, unsigned n)
{
    if (!(controls & CPU2_VIRT_X2APIC))
        return false;
    return has(shadow_registers, n) || (controls & CPU2_APIC_REGISTER_VIRT && has(page_reads, n)) ||
           (controls & CPU2_VIRT_INTR_DELIVERY && has(delivery_reads, n));
}

static bool writes_directly(uint64_t controls, unsigned n)
{
    if (!(controls & CPU2_VIRT_X2APIC))
        return false;
    return has(shadow_registers, n) || (controls & CPU2_VIRT_INTR_DELIVERY && has(delivery_writes, n));
}

static void set_msr(struct vmx_vcpu *vmx, unsigned n)
{
    uint32_t index = MSR_IA32_X2APIC_BASE + n;
    uint64_t controls = vmx->cpu2;

    vmx_bitmap_allow(vmx->msr_bitmap, index, false, reads_directly(controls, n) && !has(vmx->x2apic_read_exits, n));
    vmx_bitmap_allow(vmx->msr_bitmap, index, true, writes_directly(controls, n) && !has(vmx->x2apic_write_exits, n));
}

/* The registers that may ever be used directly are among the first 64. */
static void set_msrs(struct vmx_vcpu *vmx)
{
    for (unsigned n = 0; n < 64; n++)
        set_msr(vmx, n);
}

static void set_bit(uint64_t set[X2APIC_WORDS], unsigned n, bool value)
{
    set[n / 64] = value ? set[n / 64] | BIT64(n % 64) : set[n / 64] & ~BIT64(n % 64);
}

bool vmx_apic_exit_on_msr(struct vmx_vcpu *vmx, uint32_t index, bool reads, bool writes)
{
    unsigned n = index - MSR_IA32_X2APIC_BASE;

    if (n >= 64 * X2APIC_WORDS)
        return false;
    set_bit(vmx->x2apic_read_exits, n, reads);
    set_bit(vmx->x2apic_write_exits, n, writes);
    set_msr(vmx, n);
    return true;
}

/* --------------------------------------------------------------------------- groups of the vcpu */

/*
 * Translations to the page that were made while accesses to it were not virtualized, or to another page, may lead past
 * the APIC: the next entry drops them, as the first one on a CPU does.
 */
static void sync_access_page(struct vmx_vcpu *vmx, uint64_t cpu2)
{
    hv_hpa_t pa = cpu2 & CPU2_VIRT_APIC_ACCESSES ? vmx->v.apic_access_pa : HV_HPA_NONE;

    if (pa == vmx->apic_access_pa)
        return;
    if (pa != HV_HPA_NONE)
        vmx_write(VMCS_APIC_ACCESS_ADDR, pa);
    vmx->apic_access_pa = pa;
    vmx->v.last_cpu = HV_CPU_NONE;
    vmx->v.flush_guest = true;
}

/* What does not change any more. The rules of the entry: SDM 3C 27.2.1.1. */
static void begin_posted(struct vmx_vcpu *vmx)
{
    vmx_write(VMCS_POSTED_INTR_VECTOR, posted_vector());
    vmx_write(VMCS_POSTED_INTR_DESC_ADDR, vmx->v.posted->pa);
    vmx_write(VMCS_EXIT_CONTROLS, vmx_controls.exit | EXIT_ACK_INTR);
    vmx->acknowledges = true;
}

static void sync_posted(struct vmx_vcpu *vmx, uint64_t cpu2)
{
    bool takes = vmx->v.controls.takes_posted && cpu2 & CPU2_VIRT_INTR_DELIVERY;
    uint64_t pin = takes ? vmx->pin | PIN_POSTED_INTR : vmx->pin & ~PIN_POSTED_INTR;

    if (!vmx->acknowledges)
        begin_posted(vmx);
    if (pin != vmx->pin)
        vmx_write(VMCS_PIN_CONTROLS, vmx->pin = pin);
}

void vmx_apic_sync_controls(struct vmx_vcpu *vmx)
{
    const struct vcpu *v = &vmx->v;
    uint64_t cpu2 = (vmx->cpu2 & ~(CPU2_APIC | CPU2_PAUSE_LOOP)) | mode_controls(v);

    if (v->controls.pause_exit && offers(CPU2_PAUSE_LOOP))
        cpu2 |= CPU2_PAUSE_LOOP;
    sync_access_page(vmx, cpu2);
    if (v->posted)
        sync_posted(vmx, cpu2);
    if (cpu2 == vmx->cpu2)
        return;
    vmx_write(VMCS_CPU2_CONTROLS, vmx->cpu2 = cpu2);
    set_msrs(vmx);
}

void vmx_apic_fetch(struct vcpu *v)
{
    uint64_t status = offers(CPU2_VIRT_INTR_DELIVERY) ? vmx_read(VMCS_GUEST_INTR_STATUS) : 0;

    v->rvi = (uint8_t)FIELD_GET(INTR_STATUS_RVI, status);
    v->svi = (uint8_t)FIELD_GET(INTR_STATUS_SVI, status);
}

void vmx_apic_sync(struct vcpu *v)
{
    if (offers(CPU2_VIRT_INTR_DELIVERY))
        vmx_write(VMCS_GUEST_INTR_STATUS, FIELD_PUT(INTR_STATUS_RVI, v->rvi) | FIELD_PUT(INTR_STATUS_SVI, v->svi));
}

void vmx_apic_sync_eoi_exits(struct vcpu *v)
{
    if (!offers(CPU2_VIRT_INTR_DELIVERY))
        return;
    for (unsigned i = 0; i < 4; i++)
        vmx_write(VMCS_EOI_EXIT_BITMAP0 + 2 * i, v->eoi_exit[i]);
}

/* A guest's loop of PAUSEs that are less than `gap` apart and last longer than `window` exits (SDM 3C 25.1.3). */
#define PLE_GAP_TICKS    128u
#define PLE_WINDOW_TICKS 4096u

void vmx_apic_init(struct vmx_vcpu *vmx)
{
    vmx->v.apic_page = vmx->virtual_apic;
    vmx->v.apic_access_pa = vmx->apic_access_pa = HV_HPA_NONE;
    vmx_apic_sync(&vmx->v);
    if (!offers(CPU2_PAUSE_LOOP))
        return;
    vmx_write(VMCS_PLE_GAP, PLE_GAP_TICKS);
    vmx_write(VMCS_PLE_WINDOW, PLE_WINDOW_TICKS);
}
