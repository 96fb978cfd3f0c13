/* SPDX-License-Identifier: MIT */
/*
 * SVM instructions as functions (AMD APM 3, chapter 4), where assembly is not the place for them: see svm_entry.asm for
 * VMRUN. Apart from cpu.h so that desk tests can put a fake of it before it in the include path.
 */
#ifndef ARCH_SVM_INSN_H
#define ARCH_SVM_INSN_H

#include <hv/types.h>

/* The current CPU's FS, GS, TR, LDTR, and the MSRs of SYSCALL, SYSENTER and SWAPGS, into a page laid out as a VMCB. */
static inline void svm_vmsave(hv_hpa_t page)
{
    __asm__ volatile("vmsave %0" : : "a"(page) : "memory");
}

/*
 * Into the guest and back: svm_entry.asm. What is to live through it is on the stack: the caller enters again and
 * again, and the host's registers are not saved and restored each time. svm: struct svm_vcpu.
 */
static inline void svm_run_guest(void *svm)
{
    __asm__ volatile("call svm_entry"
                     :
                     : "D"(svm)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc",
                       "memory");
}

#endif
