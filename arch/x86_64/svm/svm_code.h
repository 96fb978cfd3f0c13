/* SPDX-License-Identifier: MIT */
/*
 * Which instruction has exited, on CPUs that do not tell how long it is: it is looked at where it was found, as long as
 * nothing has changed of what leads there. virt/exit_length.c finds it the first time, and whatever is not here.
 */
#ifndef SVM_CODE_H
#define SVM_CODE_H

#include "svm.h"

#define SVM_CODE_NONE UINT64_MAX /* no generation of second-level tables */

/* The instruction's bytes that count, the first lowest. */
struct svm_instruction {
    uint8_t length;
    uint32_t bytes;
};

/* svm_code.c */
bool svm_code_is_rest_there(const struct svm_code *c);
void svm_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset);
const uint8_t *svm_code(struct vcpu *v);
void svm_code_check_mode(struct svm_vcpu *svm); /* the VMCB's CR0, CR4 or EFER have changed */
void svm_code_forget(struct svm_vcpu *svm);

static inline __attribute__((always_inline)) bool svm_code_is_there(const struct svm_code *c)
{
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < SVM_CODE_FEW; i++)
        if (*c->entry[i].at != c->entry[i].value)
            return false;
    return c->count <= SVM_CODE_FEW || svm_code_is_rest_there(c);
}

/*
 * Inside a walk bracket, and while the registers are in the VMCB: the host's address of the byte at CS:RIP and at least
 * three more in the same page. NULL: not known. Nothing of the rights is looked at: the CPU has executed what is there.
 * The paging mode does not change without an exit: svm_code_check_mode.
 */
static inline __attribute__((always_inline)) const uint8_t *svm_code_here(const struct svm_vcpu *svm)
{
    const struct svm_code *c = &svm->code;
    const struct vmcb *vmcb = svm->vmcb;
    uint64_t offset = vmcb->rip - c->rip;

    if (offset > HV_PAGE_SIZE - sizeof(uint32_t) || vmcb->cr3 != c->cr3 || vmcb->cs.word != c->cs ||
        vmcb->cs.base != c->cs_base || __atomic_load_n(svm->v.npt_generation, __ATOMIC_ACQUIRE) != c->generation ||
        !svm_code_is_there(c))
        return NULL;
    return c->page + offset;
}

struct __attribute__((packed)) svm_unaligned32 {
    uint32_t value;
};

/* HV_LENGTH_UNKNOWN: it is another one, or has prefixes, or can not be looked at. */
static inline __attribute__((always_inline)) uint8_t svm_code_length(const struct svm_vcpu *svm,
                                                                     struct svm_instruction instruction)
{
    const uint8_t *code = svm_code_here(svm);

    if (!code)
        return HV_LENGTH_UNKNOWN;
    /* read at once, and once: the guest may be changing it */
    uint32_t bytes = ((const volatile struct svm_unaligned32 *)code)->value;
    uint32_t mask = (1u << 8 * instruction.length) - 1;

    return (bytes & mask) == instruction.bytes ? instruction.length : HV_LENGTH_UNKNOWN;
}

#endif
