/* SPDX-License-Identifier: MIT */
/*
 * VMX on the CPUs of fake_x86.h, and the guest that runs on it, which is a script.
 *
 * VM entries are checked by the library's entry auditor: a state with a finding is refused as the CPU would refuse it,
 * and unless the test said that it expects this, the test fails. A VM exit leaves the host's registers as the manual
 * says (SDM 3C 28.5): what it loads comes from the VMCS, what it loses is lost.
 *
 * Using a VMCS that is active on another CPU, freeing a page that a CPU still has as VMXON region or active VMCS,
 * VMREAD and VMWRITE without a current VMCS or of a field that the CPU lacks, a guest's entry with interrupts on, and
 * an entry with guest, host or control fields that were never written, fail the test.
 */
#ifndef FAKE_VMX_H
#define FAKE_VMX_H

#include "fake_x86.h"
#include <hv/audit.h>

/* ------------------------------------------------------------------------------ the guest */

/* What happens from one entry to the next exit. Fields left 0 are 0 in the VMCS too. */
struct fake_step {
    void (*run)(uint64_t gpr[16]); /* the guest, before it exits; NULL: does nothing. gpr[4] (RSP) is in the VMCS */
    uint32_t vm_fail;              /* not 0: VMLAUNCH fails with this error, and nothing else happens */
    uint32_t reason;               /* with EXIT_REASON_ENTRY_FAILED: the guest was not entered */
    uint32_t length, intr_info, intr_error, vectoring_info, vectoring_error;
    uint64_t qualification, gpa, gva;
};

/* The steps of the next entries, in place of those before. A further entry fails the test. */
void fake_guest(const struct fake_step *steps, unsigned count);
#define FAKE_GUEST(...)                                 \
    fake_guest((const struct fake_step[]){__VA_ARGS__}, \
               (unsigned)(sizeof((const struct fake_step[]){__VA_ARGS__}) / sizeof(struct fake_step)))
unsigned fake_guest_left(void); /* steps not taken yet */

/* Entries may be refused by the auditor from now on. A refused entry takes no step. */
void fake_vmx_expect_refusal(bool expected);

/*
 * The guest takes interrupts from now on, as SDM 3C 30.2 and 30.6 say: those that entries inject, and those that the
 * CPU delivers or that are posted to it meanwhile; fn hears of each, and those of the CPU end at once. Interrupts of
 * the host's that its local APIC has (fake_apic_send) end an entry before the guest's step. NULL: none of this.
 */
void fake_vmx_on_interrupt(void (*fn)(uint8_t vector));

/* What the last entry injected; info is 0 when nothing. */
struct fake_event {
    uint32_t info, error_code, length;
};
struct fake_event fake_vmx_injected(void);

/* ------------------------------------------------------------------------------- the VMCS */

/* Fields of the VMCS that is current on the calling thread's CPU; not counted as accesses. */
uint64_t fake_vmcs_get(uint32_t field);
void fake_vmcs_set(uint32_t field, uint64_t value);

/* Which CPU has the VMCS in this page active; HV_CPU_NONE: none. */
uint32_t fake_vmcs_cpu(hv_hpa_t pa);

/* ---------------------------------------------------------------- what the library has done */

struct fake_vmx_counts {
    uint64_t vmxon, vmxoff, vmclear, vmptrld, entries;
    uint64_t reads, writes; /* VMREAD and VMWRITE */
    uint64_t invept_single, invept_all, invvpid_single, invvpid_all;
};
extern struct fake_vmx_counts fake_vmx_counts; /* a test may set it to 0 */

/* Accesses to one field since fake_vmx_forget. */
unsigned fake_vmx_reads(uint32_t field);
unsigned fake_vmx_writes(uint32_t field);
void fake_vmx_forget(void); /* all counts to 0 */

struct fake_flush {
    uint64_t type, operand;
    uint32_t cpu;
};
struct fake_flush fake_last_invept(void), fake_last_invvpid(void);

bool fake_vmx_is_on(uint32_t cpu);

/* The nth VMXON from now on fails (VMfailInvalid), once. 0: none. */
void fake_fail_vmxon(unsigned n);

/* ---------------------------------------------------------- between the parts of the fake */

void fake_vmx_reset(void);
void fake_vmx_assert_clean(void);

#endif
