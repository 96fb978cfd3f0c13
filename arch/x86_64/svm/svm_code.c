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

void svm_code_forget(struct svm_vcpu *svm)
{
    svm->code.generation = SVM_CODE_NONE;
}

void svm_code_check_mode(struct svm_vcpu *svm)
{
    if (svm->code.mode != mode_of(svm->vmcb))
        svm_code_forget(svm);
}

bool svm_code_is_rest_there(const struct svm_code *c)
{
    for (unsigned i = SVM_CODE_FEW; i < c->count; i++)
        if (*c->entry[i].at != c->entry[i].value)
            return false;
    return true;
}

static void learn_entries(struct svm_code *c, const struct vcpu_code *code)
{
    c->count = code->count;
    for (unsigned i = 0; i < VCPU_CODE_ENTRIES; i++) {
        c->entry[i].value = code->entry[i].value;
        c->entry[i].at = i < code->count ? code->entry[i].at : &c->entry[i].value;
    }
}

/* With the same CS, and in the same mode, RIPs in this page are as far from each other as the bytes. */
void svm_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset)
{
    struct svm_vcpu *svm = to_svm(v);
    const struct vmcb *vmcb = svm->vmcb;
    struct svm_code *c = &svm->code;

    svm_code_forget(svm);
    if (!code->page || v->dirty)
        return;
    c->page = code->page;
    c->rip = vmcb->rip - offset;
    c->cs = vmcb->cs.word;
    c->cs_base = vmcb->cs.base;
    c->cr3 = vmcb->cr3;
    c->mode = mode_of(vmcb);
    learn_entries(c, code);
    c->generation = code->generation;
}

const uint8_t *svm_code(struct vcpu *v)
{
    return v->dirty ? NULL : svm_code_here(to_svm(v));
}
