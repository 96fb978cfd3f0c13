/* SPDX-License-Identifier: MIT */
/*
 * The code at CS:RIP, known by what the VMCB says (see vcpu_code.h); and which instruction has exited, on CPUs that do
 * not tell how long it is. virt/exit_length.c finds what is not here.
 */
#ifndef SVM_CODE_H
#define SVM_CODE_H

#include "../vcpu_code.h"
#include "svm.h"

/* The instruction's bytes that count, the first lowest. */
struct svm_instruction {
    uint8_t length;
    uint32_t bytes;
};

/* svm_code.c */
void svm_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset);
const uint8_t *svm_code(struct vcpu *v);
void svm_code_check_mode(struct svm_vcpu *svm); /* the VMCB's CR0, CR4 or EFER have changed */
const uint8_t *svm_code_elsewhere(struct svm_vcpu *svm);
void svm_code_tell_elsewhere(struct svm_vcpu *svm, struct hv_exit *exit, struct svm_instruction instruction);
void svm_code_find_mov_cr(struct svm_vcpu *svm, struct hv_exit *exit); /* see vcpu_find_mov_cr */

/* As vcpu_code_is_in. The paging mode does not change without an exit: svm_code_check_mode. */
static inline __attribute__((always_inline)) bool svm_code_is_in(const struct svm_vcpu *svm,
                                                                 const struct vcpu_code_page *c)
{
    const struct vmcb *vmcb = svm->vmcb;

    return vmcb->cs.base == c->cs_base && vcpu_code_is_in(&svm->v, c, vmcb->rip, vmcb->cr3, vmcb->cs.word);
}

/* The host's address of the byte at CS:RIP, which is in this page. */
static inline const uint8_t *svm_code_at(const struct svm_vcpu *svm, const struct vcpu_code_page *c)
{
    return c->page + (svm->vmcb->rip - c->rip);
}

/* Of any page that is known. NULL: it is in none of these. */
static inline const uint8_t *svm_code_here(struct svm_vcpu *svm)
{
    return svm_code_is_in(svm, svm->v.code.last) ? svm_code_at(svm, svm->v.code.last) : svm_code_elsewhere(svm);
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
    if (svm_code_is_in(svm, svm->v.code.last))
        exit->instruction_length = svm_code_length(svm_code_at(svm, svm->v.code.last), instruction);
    else
        svm_code_tell_elsewhere(svm, exit, instruction);
}

#endif
