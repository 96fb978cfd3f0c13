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
    for (unsigned i = 0; i < SVM_CODE_PAGES; i++)
        svm->code_pages[i].generation = SVM_CODE_NONE;
    svm->code = svm->code_pages;
}

void svm_code_check_mode(struct svm_vcpu *svm)
{
    if (svm->code_mode == mode_of(svm->vmcb))
        return;
    svm_code_forget(svm);
    svm->code_mode = mode_of(svm->vmcb);
}

/* Which of the pages it would be: by the linear one's number, as far as that can be told without more ado. */
static struct svm_code *page_of(struct svm_vcpu *svm)
{
    const struct vmcb *vmcb = svm->vmcb;

    return &svm->code_pages[(vmcb->rip + vmcb->cs.base) / HV_PAGE_SIZE % SVM_CODE_PAGES];
}

/* In another page than the last instruction. */
__attribute__((noinline)) const uint8_t *svm_code_elsewhere(struct svm_vcpu *svm)
{
    struct svm_code *c = page_of(svm);

    if (c == svm->code)
        return NULL;
    svm->code = c;
    return svm_code_is_in(svm, c) ? svm_code_at(svm, c) : NULL;
}

__attribute__((noinline)) void svm_code_tell_elsewhere(struct svm_vcpu *svm, struct hv_exit *exit,
                                                       struct svm_instruction instruction)
{
    const uint8_t *code = svm_code_elsewhere(svm);

    exit->instruction_length = code ? svm_code_length(code, instruction) : HV_LENGTH_UNKNOWN;
}

/* What there are fewer of is compared with itself. */
static void learn_entries(struct svm_code *c, const struct vcpu_code *code)
{
    for (unsigned i = 0; i < VCPU_CODE_ENTRIES; i++) {
        c->entry[i].value = code->entry[i].value;
        c->entry[i].at = i < code->count ? code->entry[i].at : &c->entry[i].value;
    }
}

/* With the same CS, and in the same mode, RIPs in this page are as far from each other as the bytes. */
static void learn(struct svm_vcpu *svm, const struct vcpu_code *code, uint64_t offset)
{
    const struct vmcb *vmcb = svm->vmcb;
    struct svm_code *c = page_of(svm);

    svm_code_check_mode(svm);
    c->page = code->page;
    c->rip = vmcb->rip - offset;
    c->cs = vmcb->cs.word;
    c->cs_base = vmcb->cs.base;
    c->cr3 = vmcb->cr3;
    learn_entries(c, code);
    c->generation = code->generation;
    svm->code = c;
}

void svm_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset)
{
    struct svm_vcpu *svm = to_svm(v);

    if (!code->page)
        svm_code_forget(svm);
    else if (!v->dirty)
        learn(svm, code, offset);
}

const uint8_t *svm_code(struct vcpu *v)
{
    return v->dirty ? NULL : svm_code_here(to_svm(v));
}

void svm_code_find_mov_cr(struct svm_vcpu *svm, struct hv_exit *exit)
{
    const uint8_t *code = svm_code_here(svm);

    if (code)
        (void)vcpu_find_mov_cr(&svm->v, exit, svm_code_read(code), vmcb_is_64bit_code(svm->vmcb));
}
