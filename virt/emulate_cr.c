/* SPDX-License-Identifier: MIT */
/* The emulator's instructions about control registers. */
#include "emulate.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

enum hv_emulate_result emulate_check_control(struct emulation *e)
{
    if (!e->ops->cr)
        return HV_EMULATE_UNSUPPORTED;
    return e->state->cpl && e->state->cr0 & CR0_PE ? emulate_fault(e, VEC_GP, 0) : HV_EMULATE_OK;
}

static enum hv_emulate_result access(struct emulation *e, unsigned number, bool is_write, uint64_t *value)
{
    return e->ops->cr(e->context, number, is_write, value) ? HV_EMULATE_OK : HV_EMULATE_UNSUPPORTED;
}

/* SDM 2, SMSW: the low word of CR0, or as much as the register takes; for everyone unless UMIP is on. */
enum hv_emulate_result emulate_smsw(struct emulation *e)
{
    if (e->state->cr4 & CR4_UMIP && e->state->cpl)
        return emulate_fault(e, VEC_GP, 0);
    e->dst = e->state->cr0;
    return HV_EMULATE_OK;
}

/* SDM 2, LMSW: loads PE, MP, EM and TS, and can not clear PE. */
enum hv_emulate_result emulate_lmsw(struct emulation *e)
{
    const uint64_t bits = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    uint64_t cr0 = e->state->cr0, value = (cr0 & ~bits) | (e->src & bits) | (cr0 & CR0_PE);

    return access(e, 0, true, &value);
}

enum hv_emulate_result emulate_clts(struct emulation *e)
{
    uint64_t value = e->state->cr0 & ~CR0_TS;

    return access(e, 0, true, &value);
}

enum hv_emulate_result emulate_mov_to_cr(struct emulation *e)
{
    return access(e, e->insn.reg, true, &e->src);
}

enum hv_emulate_result emulate_mov_from_cr(struct emulation *e)
{
    return access(e, e->insn.reg, false, &e->dst);
}
