/* SPDX-License-Identifier: MIT */
/*
 * Structure offsets for assembly: compiled to assembly text, from which the Makefile makes offsets.inc. Never linked.
 */
#include "svm/svm.h"
#include "vmx/vmx.h"
#include <stddef.h>

#define DEFINE(name, value) __asm__ volatile(".ascii \"->" #name " %c0\"" : : "i"(value))
#define GPR(name, number)   DEFINE(VCPU_##name, offsetof(struct vcpu, gpr) + 8 * (number))

void offsets(void);

void offsets(void)
{
    GPR(RAX, 0);
    GPR(RCX, 1);
    GPR(RDX, 2);
    GPR(RBX, 3);
    GPR(RBP, 5);
    GPR(RSI, 6);
    GPR(RDI, 7);
    GPR(R8, 8);
    GPR(R9, 9);
    GPR(R10, 10);
    GPR(R11, 11);
    GPR(R12, 12);
    GPR(R13, 13);
    GPR(R14, 14);
    GPR(R15, 15);
    DEFINE(VCPU_CR2, offsetof(struct vcpu, cr2));
    DEFINE(VMX_HOST_RSP, offsetof(struct vmx_vcpu, host_rsp));
    DEFINE(VMCS_HOST_RSP, VMCS_HOST_RSP);
    DEFINE(VMCS_EXIT_REASON, VMCS_EXIT_REASON);
    DEFINE(VMX_VMFAIL, VMX_VMFAIL);
    DEFINE(SVM_VMCB_PA, offsetof(struct svm_vcpu, vmcb_pa));
    DEFINE(SVM_HOST_PA, offsetof(struct svm_vcpu, host_pa));
}
