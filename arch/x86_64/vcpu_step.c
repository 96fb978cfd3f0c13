/* SPDX-License-Identifier: MIT */
/* What ends with an instruction that the core does for the guest. The backends do the usual case by themselves. */
#include "vcpu_parts.h"

/* EIP is 32 bits wide outside of 64-bit mode. */
static uint64_t next_rip(struct vcpu *v, uint8_t length)
{
    uint64_t next = v->rip + length;

    if ((v->rip ^ next) >> 32 && !vcpu_is_64bit_code(v)) /* only then does the mode matter */
        return (uint32_t)next;
    return next;
}

#define PENDING_DEBUG_SINGLE_STEP BIT64(14) /* as in vcpu.pending_debug */

void vcpu_retire_instruction(struct vcpu *v)
{
    vcpu_need(v, VCPU_RFLAGS | VCPU_INTR);
    if (v->rflags & RFLAGS_RF) { /* holds for one instruction (SDM 3B 18.3.1.1) */
        v->rflags &= ~RFLAGS_RF;
        vcpu_changed(v, VCPU_RFLAGS);
    }
    if (!v->interrupt_shadow && !(v->rflags & RFLAGS_TF))
        return;
    v->interrupt_shadow = v->shadow_by_mov_ss = false;
    if (v->rflags & RFLAGS_TF)
        v->pending_debug |= PENDING_DEBUG_SINGLE_STEP;
    vcpu_changed(v, VCPU_INTR);
}

void vcpu_step_over(struct vcpu *v, uint8_t length)
{
    vcpu_need(v, VCPU_RIP);
    v->rip = next_rip(v, length);
    vcpu_changed(v, VCPU_RIP);
    vcpu_retire_instruction(v);
}

__attribute__((noinline)) bool vcpu_takes_interrupts(struct vcpu *v)
{
    vcpu_need(v, VCPU_INTERRUPT_GROUPS);
    return v->rflags & RFLAGS_IF && !v->interrupt_shadow && !(v->pending_debug & VCPU_DEBUG_TRAPS);
}
