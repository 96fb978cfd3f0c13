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

#endif
