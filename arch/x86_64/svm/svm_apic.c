/* SPDX-License-Identifier: MIT */
/*
 * What the CPU does of a guest's local APIC (AVIC, APM 2 15.29): in which mode, which MSRs of x2APIC mode need no exit,
 * and what is left to do after its exits; and loops of PAUSEs.
 *
 * AVIC is used in x2APIC mode, where the CPU has x2AVIC. Not in xAPIC mode: an interrupt window is a virtual interrupt,
 * and AVIC ignores those (V_IRQ), so that it has to be off while one is asked for. In x2APIC mode accesses to registers
 * then exit, by the VP's own permission map. In xAPIC mode they would have to leave the page that AVIC wants mapped in
 * the nested tables, and these are all VPs'.
 *
 * Only what is done often is left to the CPU: TPR, EOI, and reads of what is in the page. IPIs exit as accesses to
 * MSRs: the CPU never looks for the APIC of another VP.
 */
#include "svm.h"
#include <arch/bits/apic.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/msr.h>
#include <hv/base/assert.h>

uint32_t svm_apic_features(enum vcpu_apic_mode mode)
{
    const uint32_t needed = CPUID_SVM_EDX_AVIC | CPUID_SVM_EDX_X2AVIC;

    if (mode != VCPU_APIC_X2APIC || (svm_caps.features & needed) != needed ||
        cpu_facts()->avoid & HV_AVOID_INTERRUPT_DELIVERY)
        return 0;
    return VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY;
}

/* ------------------------------------------------------------------------------------ the page */

static uint32_t page_get(const struct svm_vcpu *svm, uint32_t offset)
{
    return svm->v.apic_page[offset / sizeof(*svm->v.apic_page)];
}

/* Of IRR or ISR; 0: none, as no interrupt has that vector. */
static uint8_t highest(const struct svm_vcpu *svm, uint32_t set)
{
    for (uint32_t i = 8; i-- > 0;) {
        uint32_t word = page_get(svm, set + 16 * i);

        if (word)
            return (uint8_t)(32 * i + 31 - (uint32_t)__builtin_clz(word));
    }
    return 0;
}

/* -------------------------------------------------------------------------- MSRs of x2APIC mode */

#define REGISTERS(first, last) BITS64(last, first)

/*
 * Registers by their number, which is their MSR's minus 0x800: those whose value in the page is what a read has to
 * give. The CPU has its own idea of the bits that may be written (APM 2 16), so that of writes only those without any
 * are its.
 */
#define TPR_REGISTER  BIT64(0x08)
#define EOI_REGISTER  BIT64(0x0b)
#define DIRECT_READS  (REGISTERS(0x02, 0x03) | TPR_REGISTER | REGISTERS(0x0d, 0x0d) | REGISTERS(0x0f, 0x28))
#define DIRECT_WRITES (TPR_REGISTER | EOI_REGISTER)

/* A threshold for the task priority wants to see all writes, not only those to CR8. */
static void sync_msrs(struct svm_vcpu *svm, bool avic)
{
    uint64_t reads = avic ? DIRECT_READS & ~svm->x2apic_read_exits : 0;
    uint64_t writes = avic ? DIRECT_WRITES & ~svm->x2apic_write_exits : 0;

    if (svm->v.controls.tpr_threshold)
        writes &= ~TPR_REGISTER;
    if (reads == svm->x2apic_reads && writes == svm->x2apic_writes)
        return;
    for (unsigned n = 0; n < 64; n++) {
        svm_msrpm_allow(svm->msrpm, MSR_IA32_X2APIC_BASE + n, false, reads >> n & 1);
        svm_msrpm_allow(svm->msrpm, MSR_IA32_X2APIC_BASE + n, true, writes >> n & 1);
    }
    svm->x2apic_reads = reads;
    svm->x2apic_writes = writes;
    vmcb_touch(svm->vmcb, CLEAN_MAPS);
}

static uint64_t with_bit(uint64_t set, unsigned n, bool value)
{
    return value ? set | BIT64(n) : set & ~BIT64(n);
}

/* Registers beyond the first 64 always exit. */
bool svm_apic_exit_on_msr(struct svm_vcpu *svm, uint32_t index, bool reads, bool writes)
{
    unsigned n = index - MSR_IA32_X2APIC_BASE;

    if (n > MSR_IA32_X2APIC_LAST - MSR_IA32_X2APIC_BASE)
        return false;
    if (n < 64) {
        svm->x2apic_read_exits = with_bit(svm->x2apic_read_exits, n, reads);
        svm->x2apic_write_exits = with_bit(svm->x2apic_write_exits, n, writes);
        sync_msrs(svm, svm->vmcb->v_intr & V_AVIC);
    }
    return true;
}

/* --------------------------------------------------------------------------------- on and off */

/*
 * An APIC that is disabled by software keeps what is in IRR; AVIC would deliver it. So it would in front of an
 * instruction that is to run alone.
 */
static bool wants_avic(const struct svm_vcpu *svm)
{
    const struct vcpu_controls *c = &svm->v.controls;

    return svm->apic_ids && c->apic_mode == VCPU_APIC_X2APIC && !c->core_delivers && !c->interrupt_window &&
           !svm->step.is_active && page_get(svm, APIC_SVR) & APIC_SVR_ENABLE;
}

/* The VP is alone in the table: its ID is there as the manual wants it, but not as one that runs (APM 2 15.29.5.1). */
static void describe_self(struct svm_vcpu *svm)
{
    uint32_t id = page_get(svm, APIC_ID);

    HV_ASSERT(id <= AVIC_X2_MAX_INDEX);
    svm->apic_ids[id] = AVIC_ID_VALID | svm->vmcb->avic_backing_page;
}

static void sync_avic(struct svm_vcpu *svm)
{
    const uint32_t bits = V_AVIC | V_X2AVIC;
    struct vmcb *vmcb = svm->vmcb;
    bool on = wants_avic(svm);

    if (on == !!(vmcb->v_intr & V_AVIC)) {
        sync_msrs(svm, on);
        return;
    }
    if (on)
        describe_self(svm);
    vmcb->v_intr = on ? vmcb->v_intr | bits : vmcb->v_intr & ~bits;
    vmcb_touch(vmcb, CLEAN_V_INTR | CLEAN_AVIC);
    sync_msrs(svm, on);
}

/* --------------------------------------------------------------------------- groups of the vcpu */

/* Without the filter every PAUSE would exit. */
static void sync_pause(struct svm_vcpu *svm)
{
    vmcb_intercept(svm->vmcb, INTERCEPT_PAUSE, svm->v.controls.pause_exit && svm_has(CPUID_SVM_EDX_PAUSE));
}

void svm_apic_sync_controls(struct svm_vcpu *svm)
{
    sync_pause(svm);
    sync_avic(svm);
}

/*
 * AVIC goes by IRR and ISR themselves, which it finds in the page at each entry. So this is what it is going to see;
 * and while it is off, it delivers nothing.
 */
void svm_apic_fetch(struct vcpu *v)
{
    const struct svm_vcpu *svm = to_svm(v);

    v->rvi = v->svi = 0;
    if (!svm->apic_ids)
        return;
    if (svm->vmcb->v_intr & V_AVIC)
        v->rvi = highest(svm, APIC_IRR);
    v->svi = highest(svm, APIC_ISR);
}

/*
 * The core wants something else to be requested than what AVIC sees: the APIC was enabled, or disabled, by software.
 * And before and after an instruction that runs alone.
 */
void svm_apic_sync(struct vcpu *v)
{
    sync_avic(to_svm(v));
}

/* AVIC goes by TMR. */
void svm_apic_sync_eoi_exits(struct vcpu *v)
{
    (void)v;
}

/* -------------------------------------------------------------------------------------- exits */

/*
 * APM 2 15.29.9.2: the end of a level-triggered interrupt. The instruction is over, but for what it does to ISR: that
 * is as it was. All else that AVIC leaves to us exits as an access to an MSR.
 */
void svm_apic_exit_no_acceleration(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t info = svm->vmcb->exit_info1;

    if (!(info & AVIC_INFO_WRITE) || (info & AVIC_INFO_OFFSET) != APIC_EOI) {
        hv_log(HV_LOG_ERROR, "SVM: AVIC left an access that it was not given: 0x%llx", (unsigned long long)info);
        exit->reason = HV_EXIT_INTERNAL_ERROR;
        exit->instruction_length = 0;
        return;
    }
    exit->reason = HV_EXIT_APIC_WRITE;
    exit->instruction_length = 0;
    exit->apic.offset = APIC_EOI;
}

/* --------------------------------------------------------------------------------------- life */

/*
 * APM 2 15.14.4: so many PAUSEs in a row exit. With a threshold only those count that are no further apart than that
 * many cycles; without one all since the entry do.
 */
#define PAUSE_COUNT           3000u
#define PAUSE_THRESHOLD_TICKS 128u

static void init_pause(struct vmcb *vmcb)
{
    if (!svm_has(CPUID_SVM_EDX_PAUSE))
        return;
    vmcb->pause_count = PAUSE_COUNT;
    if (svm_has(CPUID_SVM_EDX_PAUSE_THRESHOLD))
        vmcb->pause_threshold = PAUSE_THRESHOLD_TICKS;
    vmcb_touch(vmcb, CLEAN_INTERCEPTS);
}

/* The table of logical IDs is xAPIC mode's; but its address has to be one. */
static bool init_avic(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    hv_hpa_t ids;

    svm->apic_ids = hv_host_page_alloc();
    if (!svm->apic_ids)
        return false;
    ids = hv_host_virt_to_phys(svm->apic_ids, NULL);
    vmcb->avic_bar = APIC_DEFAULT_BASE;
    vmcb->avic_backing_page = hv_host_virt_to_phys(svm->apic, NULL);
    vmcb->avic_logical_table = ids;
    vmcb->avic_physical_table = ids | AVIC_X2_MAX_INDEX;
    vmcb_touch(vmcb, CLEAN_AVIC);
    return true;
}

bool svm_apic_init(struct svm_vcpu *svm)
{
    svm->v.apic_page = svm->apic;
    svm->v.apic_access_pa = HV_HPA_NONE;
    init_pause(svm->vmcb);
    return !svm_apic_features(VCPU_APIC_X2APIC) || init_avic(svm);
}

void svm_apic_free(struct svm_vcpu *svm)
{
    if (svm->apic_ids)
        hv_host_page_free(svm->apic_ids);
}
