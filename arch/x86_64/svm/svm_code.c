/* SPDX-License-Identifier: MIT */
/* The page of code that instructions are looked for in: see svm_code.h. */
#include "svm_code.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* What is hidden of control registers and EFER does not count here. */
static uint64_t mode_of(const struct vmcb *vmcb)
{
    return (vmcb->cr0 & VCPU_CODE_CR0) | (vmcb->cr4 & VCPU_CODE_CR4) | (vmcb->efer & VCPU_CODE_EFER);
}

void svm_code_check_mode(struct svm_vcpu *svm)
{
    if (svm->code_mode == mode_of(svm->vmcb))
        return;
    vcpu_code_forget(&svm->v);
    svm->code_mode = mode_of(svm->vmcb);
}

static struct vcpu_code_page *page_of(struct svm_vcpu *svm)
{
    return vcpu_code_page_of(&svm->v, svm->vmcb->rip + svm->vmcb->cs.base);
}

/* In another page than the last instruction. */
__attribute__((noinline)) const uint8_t *svm_code_elsewhere(struct svm_vcpu *svm)
{
    struct vcpu_code_page *c = page_of(svm);

    if (c == svm->v.code.last)
        return NULL;
    svm->v.code.last = c;
    return svm_code_is_in(svm, c) ? svm_code_at(svm, c) : NULL;
}

__attribute__((noinline)) void svm_code_tell_elsewhere(struct svm_vcpu *svm, struct hv_exit *exit,
                                                       struct svm_instruction instruction)
{
    const uint8_t *code = svm_code_elsewhere(svm);

    exit->instruction_length = code ? svm_code_length(code, instruction) : HV_LENGTH_UNKNOWN;
}

/* With the same CS, and in the same mode, RIPs in this page are as far from each other as the bytes. */
static void learn(struct svm_vcpu *svm, const struct vcpu_code *code, uint64_t offset)
{
    const struct vmcb *vmcb = svm->vmcb;
    struct vcpu_code_page *c = page_of(svm);

    svm_code_check_mode(svm);
    c->rip = vmcb->rip - offset;
    c->cs = vmcb->cs.word;
    c->cs_base = vmcb->cs.base;
    c->cr3 = vmcb->cr3;
    vcpu_code_learn(&svm->v, c, code);
}

void svm_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset)
{
    if (!code->page)
        vcpu_code_forget(v);
    else if (!(v->dirty & VCPU_CODE_GROUPS))
        learn(to_svm(v), code, offset);
}

const uint8_t *svm_code(struct vcpu *v)
{
    return v->dirty & VCPU_CODE_GROUPS ? NULL : svm_code_here(to_svm(v));
}

void svm_code_find_mov_cr(struct svm_vcpu *svm, struct hv_exit *exit)
{
    const uint8_t *code = svm_code_here(svm);

    if (code)
        (void)vcpu_find_mov_cr(&svm->v, exit, svm_code_read(code), vmcb_is_64bit_code(svm->vmcb));
}
