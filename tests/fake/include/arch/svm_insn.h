/* SPDX-License-Identifier: MIT */
/* In place of arch/x86_64/include/arch/svm_insn.h: SVM instructions, executed by the CPUs of fake_svm.c. */
#ifndef ARCH_SVM_INSN_H
#define ARCH_SVM_INSN_H

#include <hv/types.h>

void svm_vmsave(hv_hpa_t page);
void svm_run_guest(void *svm);

#endif
