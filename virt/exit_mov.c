/* SPDX-License-Identifier: MIT */
/* Memory exits by plain moves. */
#include "exit_mov.h"
#include "code.h"

/* Not of the instruction: of a page walk, the delivery of an event, or the fetch of an instruction. */
static bool is_own_access(const struct vcpu *v, const struct hv_exit *exit)
{
    return exit->memory.page_walk || v->event & HV_PENDING_INT_VALID || exit->memory.access == HV_ACCESS_EXECUTE;
}

/* 64-bit code has bases of FS and GS only; in other code linear addresses have 32 bits. */
static hv_gva_t linear_address(struct vcpu *v, const struct hv_mov *mov)
{
    bool is_64bit = mov->code_size == 8, has_base = !is_64bit || mov->segment >= SEG_FS;
    hv_gva_t linear;

    vcpu_need(v, VCPU_RIP | VCPU_RSP | (has_base ? VCPU_SEG(mov->segment) : 0));
    linear = hv_mov_offset(mov, v->gpr, v->rip);
    if (has_base)
        linear += v->seg[mov->segment].base;
    return is_64bit ? linear : (uint32_t)linear;
}

bool exit_mov_find(struct hv_vp *vp, struct hv_exit *exit, struct hv_mov *mov, hv_gva_t *gva)
{
    uint64_t offset = exit->memory.gpa & HV_PAGE_MASK;
    struct vcpu *v = vp->vcpu;

    if (is_own_access(v, exit))
        return false;
    code_need(vp, &exit->instruction);
    vcpu_need(v, GVA_CODE_GROUPS);
    if (!hv_mov_decode(mov, &exit->instruction, gva_code_size(v)) ||
        mov->is_store != (exit->memory.access == HV_ACCESS_WRITE))
        return false;
    *gva = linear_address(v, mov);
    return (*gva & HV_PAGE_MASK) == offset && offset + mov->size <= HV_PAGE_SIZE;
}

void exit_mov_done(struct hv_vp *vp, struct hv_exit *exit, const struct hv_mov *mov, uint64_t value)
{
    struct vcpu *v = vp->vcpu;

    if (!mov->is_store) {
        v->gpr[mov->reg] = hv_mov_loaded(mov, v->gpr[mov->reg], value);
        if (mov->reg == GPR_RSP)
            vcpu_changed(v, VCPU_RSP);
    }
    vp->counters.emulated++;
    exit->instruction_length = mov->length;
    exit_skip_instruction(vp, exit);
}
