/* SPDX-License-Identifier: MIT */
/*
 * What the CPU does of a guest's local APIC (AVIC, APM 2 15.29): in which mode, which registers need no exit, and what
 * is left to do after its exits; and loops of PAUSEs.
 *
 * In xAPIC mode AVIC takes accesses to one guest-physical page to the APIC of the VP that makes them, if the nested
 * tables allow them. In x2APIC mode (where the CPU has x2AVIC) it does so with MSRs that the VP's permission map lets
 * through.
 *
 * AVIC is off at times: an interrupt window is a virtual interrupt, which it ignores (V_IRQ); an APIC that is disabled
 * by software keeps what is in IRR, and AVIC would deliver it; so it would in front of an instruction that runs alone;
 * and the core may want to deliver by itself.
 * In x2APIC mode accesses to registers exit then, by the VP's own permission map. In xAPIC mode the page is in nested
 * tables that all VPs share, and a VP without AVIC would find memory there. So it holds the page (npt_hold) for as
 * long: without rights in the tables all VPs' accesses exit, and the core emulates them, which is right for those with
 * AVIC too. They need not be told, neither when the page goes nor when it comes back; only the holder drops its
 * translations. A threshold for the task priority wants to see all writes: there the page is held with AVIC on.
 *
 * Of IPIs only those to the sender itself by shorthand are the CPU's in xAPIC mode, none in x2APIC mode: it never finds
 * the APIC of another VP that runs.
 */
#include "svm.h"
#include <arch/bits/apic.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/msr.h>

static bool has_avic(void)
{
    return svm_has(CPUID_SVM_EDX_AVIC) && !(cpu_facts()->avoid & HV_AVOID_INTERRUPT_DELIVERY);
}

uint32_t svm_apic_features(enum vcpu_apic_mode mode)
{
    if (mode == VCPU_APIC_NONE || !has_avic())
        return 0;
    if (mode == VCPU_APIC_XAPIC)
        return VCPU_APIC_ACCESS | VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY;
    return svm_has(CPUID_SVM_EDX_X2AVIC) ? VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY : 0;
}

/* ------------------------------------------------------------------------------------ the page */

static uint32_t page_get(const struct svm_vcpu *svm, uint32_t offset)
{
    return svm->v.apic_page[offset / sizeof(*svm->v.apic_page)];
}

static void page_put(struct svm_vcpu *svm, uint32_t offset, uint32_t value)
{
    svm->v.apic_page[offset / sizeof(*svm->v.apic_page)] = value;
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
        sync_msrs(svm, svm->vmcb->v_intr & V_X2AVIC);
    }
    return true;
}

/* --------------------------------------------------------------------------------- on and off */

#define AVIC_BITS (V_AVIC | V_X2AVIC)

static uint32_t wanted_bits(const struct svm_vcpu *svm)
{
    const struct vcpu_controls *c = &svm->v.controls;

    if (!svm->apic_ids || !(svm_apic_features(c->apic_mode) & VCPU_APIC_DELIVERY) || c->core_delivers ||
        c->interrupt_window || svm->is_stepping || !(page_get(svm, APIC_SVR) & APIC_SVR_ENABLE))
        return 0;
    return c->apic_mode == VCPU_APIC_X2APIC ? V_AVIC | V_X2AVIC : V_AVIC;
}

/*
 * The VP's ID is there as the manual wants it, but not as one that runs (APM 2 15.29.5.1): an IPI to it exits, as do
 * those to IDs that are not there. Broadcasts ignore those, and for a VP that is alone in the table there would be
 * nothing to exit for: the entry of the others is not running either.
 */
static void describe_self(struct svm_vcpu *svm)
{
    uint32_t id = page_get(svm, APIC_ID);

    if (svm->v.controls.apic_mode == VCPU_APIC_XAPIC)
        id = (uint32_t)FIELD_GET(APIC_ID_XAPIC, id);
    if (id < AVIC_MAX_INDEX) /* in the page, which the guest writes to */
        svm->apic_ids[id] = AVIC_ID_VALID | svm->vmcb->avic_backing_page;
}

static void sync_avic(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    uint32_t bits = wanted_bits(svm);

    if (bits && vmcb->avic_bar != svm->v.apic_gpa) {
        vmcb->avic_bar = svm->v.apic_gpa;
        vmcb_touch(vmcb, CLEAN_AVIC);
    }
    if (bits != (vmcb->v_intr & AVIC_BITS)) {
        if (bits)
            describe_self(svm);
        vmcb->v_intr = (vmcb->v_intr & ~AVIC_BITS) | bits;
        vmcb_touch(vmcb, CLEAN_V_INTR | CLEAN_AVIC);
    }
    sync_msrs(svm, bits & V_X2AVIC);
}

/* The VP's APIC is where the page is, and its accesses have to exit. */
static bool needs_page_held(const struct svm_vcpu *svm)
{
    const struct vcpu *v = &svm->v;

    return svm->apic_ids && v->controls.apic_mode == VCPU_APIC_XAPIC && v->apic_access_pa != HV_HPA_NONE &&
           (!(svm->vmcb->v_intr & V_AVIC) || v->controls.tpr_threshold);
}

/*
 * Inside the bracket around the use of the tables, whose pages stay. Translations know whether AVIC takes their
 * accesses, and do not know that the page has gone: they are dropped.
 */
__attribute__((noinline)) void svm_apic_before_entry(struct svm_vcpu *svm)
{
    const struct vmcb *vmcb = svm->vmcb;
    hv_gpa_t at = (vmcb->v_intr & AVIC_BITS) == V_AVIC ? vmcb->avic_bar : 0;
    bool held = needs_page_held(svm);

    if (at == svm->apic_at && held == svm->holds_apic_page)
        return;
    if (held != svm->holds_apic_page)
        (held ? npt_hold : npt_release)(svm->v.npt);
    svm->apic_at = at;
    svm->holds_apic_page = held;
    svm->v.last_cpu = HV_CPU_NONE; /* as on a new CPU: drops them all */
    svm->v.flush_guest = true;
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

static void describe_write(struct hv_exit *exit, uint32_t offset)
{
    exit->reason = HV_EXIT_APIC_WRITE;
    exit->instruction_length = 0;
    exit->apic.offset = offset;
}

static void describe_impossible(const struct svm_vcpu *svm, struct hv_exit *exit)
{
    hv_log(HV_LOG_ERROR, "SVM: AVIC left something that it was not given: exit 0x%llx, 0x%llx",
           (unsigned long long)svm->vmcb->exit_code, (unsigned long long)svm->vmcb->exit_info1);
    exit->reason = HV_EXIT_INTERNAL_ERROR;
    exit->instruction_length = 0;
}

/*
 * APM 2 15.29.3.1: writes that exit when the instruction is over and the value in the page, registers by offset / 16.
 * EOI is one for level-triggered interrupts; ISR is as it was. All other exits are an access that was not made.
 */
#define REGISTER(offset) BIT64((offset) / 16)
#define TRAPS                                                                                                \
    (REGISTER(APIC_ID) | REGISTER(APIC_EOI) | REGISTER(APIC_RRD) | REGISTER(APIC_LDR) | REGISTER(APIC_DFR) | \
     REGISTER(APIC_SVR) | REGISTER(APIC_ESR) | REGISTER(APIC_ICR_LOW) |                                      \
     REGISTERS(APIC_LVT_TIMER / 16, APIC_LVT_ERROR / 16) | REGISTER(APIC_TIMER_INIT) | REGISTER(APIC_TIMER_DIV))

static bool is_trap(uint64_t info)
{
    uint32_t n = (uint32_t)FIELD_GET(AVIC_INFO_OFFSET, info);

    return info & AVIC_INFO_WRITE && n < 64 && TRAPS >> n & 1;
}

/* The linear address is not told, nor how far into the register the access goes. */
static void describe_access(const struct svm_vcpu *svm, struct hv_exit *exit, uint64_t info)
{
    exit->reason = HV_EXIT_MEMORY;
    exit->instruction_length = 0;
    exit->instruction.count = 0;
    exit->memory.access = info & AVIC_INFO_WRITE ? HV_ACCESS_WRITE : HV_ACCESS_READ;
    exit->memory.gpa = svm->vmcb->avic_bar | (info & AVIC_INFO_OFFSET);
    exit->memory.page_walk = exit->memory.gva_valid = false;
    exit->memory.gva = 0;
}

/* In x2APIC mode all but the ends of level-triggered interrupts exit as accesses to MSRs. */
void svm_apic_exit_no_acceleration(struct svm_vcpu *svm, struct hv_exit *exit)
{
    uint64_t info = svm->vmcb->exit_info1;
    uint32_t offset = (uint32_t)(info & AVIC_INFO_OFFSET), avic = svm->vmcb->v_intr & AVIC_BITS;

    if (!avic || (avic & V_X2AVIC && !(is_trap(info) && offset == APIC_EOI))) {
        describe_impossible(svm, exit);
    } else if (is_trap(info)) {
        if (offset == APIC_RRD) /* read-only, and nobody else puts it right */
            page_put(svm, offset, 0);
        describe_write(exit, offset);
    } else {
        describe_access(svm, exit, info);
    }
}

/*
 * APM 2 15.29.9.1: the instruction is over, ICR is in the page, and nobody has been told of an interrupt. It may be in
 * the VP's own IRR already, if it is among the destinations: there it is the same as the one that the core sends.
 */
void svm_apic_exit_incomplete_ipi(struct svm_vcpu *svm, struct hv_exit *exit)
{
    if ((svm->vmcb->v_intr & AVIC_BITS) == V_AVIC)
        describe_write(exit, APIC_ICR_LOW);
    else
        describe_impossible(svm, exit);
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

/*
 * The page of the others is two things: interrupts of broadcasts go to its IRR, from 200H on; and below 100H it is the
 * table of logical IDs, that has none.
 */
static void describe_apic(struct svm_vcpu *svm)
{
    hv_hpa_t others = hv_host_virt_to_phys(svm->apic_others, NULL);
    struct vmcb *vmcb = svm->vmcb;

    svm->apic_ids[AVIC_MAX_INDEX] = AVIC_ID_VALID | others;
    vmcb->avic_bar = svm->v.apic_gpa;
    vmcb->avic_backing_page = hv_host_virt_to_phys(svm->apic, NULL);
    vmcb->avic_logical_table = others;
    vmcb->avic_physical_table = hv_host_virt_to_phys(svm->apic_ids, NULL) | AVIC_MAX_INDEX;
    vmcb_touch(vmcb, CLEAN_AVIC);
}

static bool init_avic(struct svm_vcpu *svm)
{
    svm->uses_avic = true;
    svm->apic_ids = hv_host_page_alloc();
    svm->apic_others = hv_host_page_alloc();
    if (!svm->apic_ids || !svm->apic_others)
        return false;
    describe_apic(svm);
    return true;
}

bool svm_apic_init(struct svm_vcpu *svm)
{
    svm->v.apic_page = svm->apic;
    svm->v.apic_access_pa = HV_HPA_NONE;
    svm->v.apic_gpa = APIC_DEFAULT_BASE;
    init_pause(svm->vmcb);
    return !has_avic() || init_avic(svm);
}

void svm_apic_free(struct svm_vcpu *svm)
{
    if (svm->holds_apic_page)
        npt_release(svm->v.npt);
    if (svm->apic_ids)
        hv_host_page_free(svm->apic_ids);
    if (svm->apic_others)
        hv_host_page_free(svm->apic_others);
}
