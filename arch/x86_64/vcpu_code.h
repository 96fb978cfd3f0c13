/* SPDX-License-Identifier: MIT */
/*
 * What the backends do alike to know the code at CS:RIP again: it is looked at where it was found, as long as nothing
 * has changed of what leads there. virt/code.c finds it the first time.
 */
#ifndef ARCH_X86_64_VCPU_CODE_H
#define ARCH_X86_64_VCPU_CODE_H

#include <arch/vcpu.h>

/* Registers that say where the code is: what of them the core has changed, the control structure does not have yet. */
#define VCPU_CODE_GROUPS (VCPU_RIP | VCPU_CS | VCPU_CR0 | VCPU_CR3 | VCPU_CR4 | VCPU_EFER | VCPU_PDPTE)

void vcpu_code_forget(struct vcpu *v);

/* Which of the pages it would be. linear: RIP and CS's base, of which the latter does not count everywhere. */
static inline struct vcpu_code_page *vcpu_code_page_of(struct vcpu *v, hv_gva_t linear)
{
    return &v->code.page[linear / HV_PAGE_SIZE % VCPU_CODE_PAGES];
}

/* All but what the control structure says, which the backend fills in. It is the last one from then on. */
void vcpu_code_learn(struct vcpu *v, struct vcpu_code_page *c, const struct vcpu_code *code);

static inline __attribute__((always_inline)) bool vcpu_code_is_there(const struct vcpu_code_page *c)
{
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < VCPU_CODE_ENTRIES; i++)
        if (*c->entry[i].at != c->entry[i].value)
            return false;
    return true;
}

/*
 * Inside a walk bracket, and while the registers are in the control structure: are the byte at CS:RIP and at least
 * three more in this page? The backend sees to CS's base and the mode. Nothing of the rights is looked at: the CPU has
 * executed what is there.
 */
static inline __attribute__((always_inline)) bool vcpu_code_is_in(const struct vcpu *v, const struct vcpu_code_page *c,
                                                                  uint64_t rip, uint64_t cr3, uint64_t cs)
{
    return rip - c->rip <= HV_PAGE_SIZE - sizeof(uint32_t) && cr3 == c->cr3 && cs == c->cs &&
           __atomic_load_n(v->npt_generation, __ATOMIC_ACQUIRE) == c->generation && vcpu_code_is_there(c);
}

#endif
