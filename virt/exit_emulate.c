/* SPDX-License-Identifier: MIT */
/* Between a VP's registers and those of the emulator. */
#include "exit_emulate.h"
#include "exit.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

void exit_emulate_begin(struct hv_vp *vp, struct hv_emulate_state *state)
{
    struct vcpu *v = vp->vcpu;

    vcpu_need(v, VCPU_RIP | VCPU_RSP | VCPU_RFLAGS | VCPU_CR0 | VCPU_CR4 | VCPU_EFER | VCPU_SEGS);
    memcpy(state->gpr, v->gpr, sizeof(state->gpr));
    memcpy(state->seg, v->seg, sizeof(state->seg));
    state->rip = v->rip;
    state->rflags = v->rflags;
    state->cr0 = v->cr0;
    state->cr4 = v->cr4;
    state->efer = v->efer;
    state->cpl = (uint8_t)FIELD_GET(SEG_DPL, v->seg[SEG_SS].attributes);
    state->gpr_changed = false;
}

void exit_emulate_end(struct hv_vp *vp, const struct hv_emulate_state *state)
{
    struct vcpu *v = vp->vcpu;
    uint32_t changed = VCPU_RIP;

    if (state->gpr_changed) {
        if (v->gpr[GPR_RSP] != state->gpr[GPR_RSP])
            changed |= VCPU_RSP;
        memcpy(v->gpr, state->gpr, sizeof(v->gpr));
    }
    if (v->rflags != state->rflags)
        changed |= VCPU_RFLAGS;
    v->rflags = state->rflags;
    v->rip = state->rip;
    vcpu_changed(v, changed);
}

void exit_emulate_fault(struct hv_vp *vp, const struct hv_emulate_fault *fault)
{
    if (fault->vector == VEC_PF)
        vp->vcpu->cr2 = fault->address;
    if (fault->has_error_code)
        exit_inject_error(vp, fault->vector, fault->error_code);
    else
        exit_inject(vp, fault->vector);
}
