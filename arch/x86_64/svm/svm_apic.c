/* SPDX-License-Identifier: MIT */
/*
 * What the CPU does of a guest's local APIC, and of loops that wait: which intercepts follow from the core's controls.
 * Registers and interrupts are the core's: accesses to xAPIC mode's page leave by nested page faults, and all MSRs of
 * x2APIC mode exit.
 */
#include "svm.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/msr.h>

/* Until the probe has a file of its own, which defines it. */
struct svm_caps svm_caps __attribute__((weak));

uint32_t svm_apic_features(enum vcpu_apic_mode mode)
{
    (void)mode;
    return 0;
}

/* -------------------------------------------------------------------------- MSRs of x2APIC mode */

static void set_bit(uint64_t set[X2APIC_WORDS], unsigned n, bool value)
{
    set[n / 64] = value ? set[n / 64] | BIT64(n % 64) : set[n / 64] & ~BIT64(n % 64);
}

/* The permission map has them exit from the start: here is only kept what the client wants to see anyway. */
bool svm_apic_exit_on_msr(struct svm_vcpu *svm, uint32_t index, bool reads, bool writes)
{
    unsigned n = index - MSR_IA32_X2APIC_BASE;

    if (n >= 64 * X2APIC_WORDS)
        return false;
    set_bit(svm->x2apic_read_exits, n, reads);
    set_bit(svm->x2apic_write_exits, n, writes);
    return true;
}

/* --------------------------------------------------------------------------- groups of the vcpu */

/* Without the filter every PAUSE would exit. */
void svm_apic_sync_controls(struct svm_vcpu *svm)
{
    bool pause = svm->v.controls.pause_exit && svm_has(CPUID_SVM_EDX_PAUSE);

    if (pause == vmcb_intercepts(svm->vmcb, INTERCEPT_PAUSE))
        return;
    svm->vmcb->intercepts[INTERCEPT_PAUSE / 32] ^= BIT32(INTERCEPT_PAUSE % 32);
    vmcb_touch(svm->vmcb, CLEAN_INTERCEPTS);
}

void svm_apic_fetch(struct vcpu *v)
{
    v->rvi = v->svi = 0;
}

void svm_apic_sync(struct vcpu *v)
{
    (void)v;
}

void svm_apic_sync_eoi_exits(struct vcpu *v)
{
    (void)v;
}

/*
 * APM 2 15.14.4: so many PAUSEs in a row exit. With a threshold only those count that are no further apart than that
 * many cycles; without one all since the entry do.
 */
#define PAUSE_COUNT           3000u
#define PAUSE_THRESHOLD_TICKS 128u

void svm_apic_init(struct svm_vcpu *svm)
{
    svm->v.apic_page = svm->apic;
    svm->v.apic_access_pa = HV_HPA_NONE;
    if (!svm_has(CPUID_SVM_EDX_PAUSE))
        return;
    svm->vmcb->pause_count = PAUSE_COUNT;
    if (svm_has(CPUID_SVM_EDX_PAUSE_THRESHOLD))
        svm->vmcb->pause_threshold = PAUSE_THRESHOLD_TICKS;
    vmcb_touch(svm->vmcb, CLEAN_INTERCEPTS);
}
