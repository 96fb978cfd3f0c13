/* SPDX-License-Identifier: MIT */
/*
 * SVM on the CPUs of fake_x86.h, and the guest that runs on it, which is a script.
 *
 * The CPUs are Intel's until fake_svm_make. VMRUN is checked by the library's entry auditor: a state with a finding is
 * refused as the CPU would refuse it, and unless the test said that it expects this, the test fails. An exit leaves the
 * host's registers as the manual says (APM 2 15.6): what the CPU restores is restored, what it does not is the guest's.
 *
 * A CPU remembers each VMCB that it has run, as the clean bits allow it to (APM 2 15.15), and which vcpu has filled its
 * TLB under which ASID. These fail the test:
 * - a clean bit that is set for a field that has changed since the last run, or for a VMCB that ran elsewhere last;
 * - an ASID under which there may be translations of another vcpu, of another memory map, or from before the vcpu ran
 *   on another CPU;
 * - a VMCB with which the guest could reach the host: a missing intercept, permission maps that are not there;
 * - a VP that could reach memory where its APIC is in xAPIC mode: AVIC is off, or writes have to exit, and the nested
 *   tables or translations from before let it at the page; translations from before AVIC took over a page, or left it;
 * - tables of AVIC's without the VP itself, or with one that runs;
 * - VMRUN with interrupts on, without EFER.SVME or a host save area, with the host's DEBUGCTL;
 * - an exit that the VMCB does not ask for, unless the step says so;
 * - freeing the host save area of a CPU that has SVM on.
 */
#ifndef FAKE_SVM_H
#define FAKE_SVM_H

#include "arch/x86_64/svm/vmcb.h"
#include "fake_x86.h"
#include <arch/bits/cpuid.h>

/* all that the library can use but x2AVIC; nested paging is always there until fake_set_cpuid says otherwise */
#define FAKE_SVM_FEATURES                                                                                    \
    (CPUID_SVM_EDX_LBRV | CPUID_SVM_EDX_NRIPS | CPUID_SVM_EDX_TSC_RATE | CPUID_SVM_EDX_VMCB_CLEAN |          \
     CPUID_SVM_EDX_FLUSH_ASID | CPUID_SVM_EDX_DECODE | CPUID_SVM_EDX_PAUSE | CPUID_SVM_EDX_PAUSE_THRESHOLD | \
     CPUID_SVM_EDX_AVIC | CPUID_SVM_EDX_VGIF)
#define FAKE_SVM_ASIDS 16u

/*
 * From now on, until fake_reset, all CPUs are AMD's, with these features (CPUID_SVM_EDX_*) of SVM. After fake_reset and
 * before the library looks at the CPU.
 */
void fake_svm_make(uint32_t features);

/* ------------------------------------------------------------------------------ the guest */

/* What happens from one VMRUN to the next exit. Fields left 0 are 0 in the VMCB too. */
struct fake_svm_step {
    void (*run)(uint64_t gpr[16]); /* the guest, before it exits; NULL: does nothing. fake_vmcb() has its other state */
    uint64_t code, info1, info2, int_info;
    uint8_t length;    /* of the instruction that exits; 0: none. What the CPU says of it is the features' matter */
    uint8_t bytes[15]; /* what the CPU has fetched, with decode assists */
    uint8_t fetched;   /* how many */
    bool shadow;       /* the guest is in an interrupt shadow */
    bool unasked;      /* the VMCB does not ask for this exit: it is the CPU that is wrong */
};

/*
 * What the guest does with its APIC in xAPIC mode, called by a step's `run` as the last thing: memory at AVIC_BAR +
 * offset. As the manual says (APM 2 15.29.3.1, 15.29.6), AVIC does it, or the step's exit is AVIC's or a nested page
 * fault, and `length` counts for those after the instruction. What is read is 0 then.
 */
void fake_svm_apic_write(uint32_t offset, uint32_t value);
uint32_t fake_svm_apic_read(uint32_t offset);

/* The steps of the next entries, in place of those before. A further entry fails the test. */
void fake_svm_guest(const struct fake_svm_step *steps, unsigned count);
#define FAKE_SVM_GUEST(...)                                     \
    fake_svm_guest((const struct fake_svm_step[]){__VA_ARGS__}, \
                   (unsigned)(sizeof((const struct fake_svm_step[]){__VA_ARGS__}) / sizeof(struct fake_svm_step)))
unsigned fake_svm_guest_left(void); /* steps not taken yet */

/* VMRUN may be refused from now on: EXIT_INVALID. A refused one takes no step. */
void fake_svm_expect_refusal(bool expected);

/* ------------------------------------------------------------------------------- the VMCB */

struct vmcb *fake_vmcb(void);                 /* the one that runs, or ran last */
const struct vmcb *fake_svm_entered(void);    /* its contents as the last VMRUN found them */
uint32_t fake_svm_vmcb_cpu(hv_hpa_t vmcb_pa); /* which CPU has run it last; HV_CPU_NONE: none */

struct fake_svm_counts {
    uint64_t vmruns, vmsaves;
    uint64_t flushes_all, flushes_asid; /* VMRUNs with TLB_FLUSH_ALL and TLB_FLUSH_ASID */
};
extern struct fake_svm_counts fake_svm_counts; /* a test may set it to 0 */

bool fake_svm_is_on(uint32_t cpu);

/* ---------------------------------------------------------- between the parts of the fake */

bool fake_svm_has(uint32_t feature);                     /* CPUID_SVM_EDX_* */
uint64_t fake_svm_wrmsr(uint32_t index, uint64_t value); /* what the MSR becomes; fails the test on #GP */

#endif
