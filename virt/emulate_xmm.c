/* SPDX-License-Identifier: MIT */
/* Moves between memory and XMM registers. */
#include "emulate.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

/* SDM 3A 13.1.3 */
static enum hv_emulate_result check_sse(struct emulation *e)
{
    const struct hv_emulate_state *s = e->state;

    if (!e->ops->xmm)
        return HV_EMULATE_UNSUPPORTED;
    if (s->cr0 & CR0_EM || !(s->cr4 & CR4_OSFXSR))
        return emulate_fault(e, VEC_UD, 0);
    if (s->cr0 & CR0_TS)
        return emulate_fault(e, VEC_NM, 0);
    return HV_EMULATE_OK;
}

static enum hv_emulate_result open_memory(struct emulation *e, uint32_t access)
{
    enum hv_emulate_result result = check_sse(e);

    if (result != HV_EMULATE_OK)
        return result;
    return emulate_open(e, &e->memory, e->insn.segment, emulate_offset(e), e->insn.memory_size, access, 0);
}

static enum hv_emulate_result access_register(struct emulation *e, bool is_write, uint64_t value[2])
{
    return e->ops->xmm(e->context, e->insn.reg, is_write, value) ? HV_EMULATE_OK : HV_EMULATE_XMM_FAILED;
}

/* All of the register, or one half of it. */
enum hv_emulate_result emulate_xmm_load(struct emulation *e)
{
    bool low = e->insn.op == INSN_XMM_LOAD_LOW, high = e->insn.op == INSN_XMM_LOAD_HIGH;
    uint64_t memory[2] = {0}, value[2] = {0};
    enum hv_emulate_result result = open_memory(e, HV_TRANSLATE_READ);

    if (result == HV_EMULATE_OK && (low || high))
        result = access_register(e, false, value);
    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &e->memory, memory);
    if (result != HV_EMULATE_OK)
        return result;
    value[high] = memory[0];
    if (!low && !high)
        value[1] = memory[1];
    return access_register(e, true, value);
}

enum hv_emulate_result emulate_xmm_store(struct emulation *e)
{
    uint64_t value[2] = {0};
    enum hv_emulate_result result = open_memory(e, HV_TRANSLATE_WRITE);

    if (result == HV_EMULATE_OK)
        result = access_register(e, false, value);
    if (result != HV_EMULATE_OK)
        return result;
    return emulate_write(e, &e->memory, &value[e->insn.op == INSN_XMM_STORE_HIGH]);
}
