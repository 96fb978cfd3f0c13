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
void svm_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset);
const uint8_t *svm_code(struct vcpu *v);
void svm_code_check_mode(struct svm_vcpu *svm); /* the VMCB's CR0, CR4 or EFER have changed */
void svm_code_forget(struct svm_vcpu *svm);
const uint8_t *svm_code_elsewhere(struct svm_vcpu *svm);
void svm_code_tell_elsewhere(struct svm_vcpu *svm, struct hv_exit *exit, struct svm_instruction instruction);
void svm_code_find_mov_cr(struct svm_vcpu *svm, struct hv_exit *exit); /* see vcpu_find_mov_cr */

static inline __attribute__((always_inline)) bool svm_code_is_there(const struct svm_code *c)
{
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < VCPU_CODE_ENTRIES; i++)
        if (*c->entry[i].at != c->entry[i].value)
            return false;
    return true;
}

/*
 * Inside a walk bracket, and while the registers are in the VMCB: are the byte at CS:RIP and at least three more in
 * this page? Nothing of the rights is looked at: the CPU has executed what is there. The paging mode does not change
 * without an exit: svm_code_check_mode.
 */
static inline __attribute__((always_inline)) bool svm_code_is_in(const struct svm_vcpu *svm, const struct svm_code *c)
{
    const struct vmcb *vmcb = svm->vmcb;

    return vmcb->rip - c->rip <= HV_PAGE_SIZE - sizeof(uint32_t) && vmcb->cr3 == c->cr3 && vmcb->cs.word == c->cs &&
           vmcb->cs.base == c->cs_base && __atomic_load_n(svm->v.npt_generation, __ATOMIC_ACQUIRE) == c->generation &&
           svm_code_is_there(c);
}

/* The host's address of the byte at CS:RIP, which is in this page. */
static inline const uint8_t *svm_code_at(const struct svm_vcpu *svm, const struct svm_code *c)
{
    return c->page + (svm->vmcb->rip - c->rip);
}

/* Of any page that is known. NULL: it is in none of these. */
static inline const uint8_t *svm_code_here(struct svm_vcpu *svm)
{
    return svm_code_is_in(svm, svm->code) ? svm_code_at(svm, svm->code) : svm_code_elsewhere(svm);
}

struct __attribute__((packed)) svm_unaligned32 {
    uint32_t value;
};

/* At once, and once: the guest may be changing it. */
static inline uint32_t svm_code_read(const uint8_t *code)
{
    return ((const volatile struct svm_unaligned32 *)code)->value;
}

/* HV_LENGTH_UNKNOWN: it is another one, or has prefixes. */
static inline uint8_t svm_code_length(const uint8_t *code, struct svm_instruction instruction)
{
    uint32_t mask = (1u << 8 * instruction.length) - 1;

    return (svm_code_read(code) & mask) == instruction.bytes ? instruction.length : HV_LENGTH_UNKNOWN;
}

/* At the end of functions: so that those which do not look elsewhere save no registers. */
static inline __attribute__((always_inline)) void svm_code_tell_length(struct svm_vcpu *svm, struct hv_exit *exit,
                                                                       struct svm_instruction instruction)
{
    if (svm_code_is_in(svm, svm->code))
        exit->instruction_length = svm_code_length(svm_code_at(svm, svm->code), instruction);
    else
        svm_code_tell_elsewhere(svm, exit, instruction);
}

#endif
