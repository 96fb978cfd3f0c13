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
static inline hv_gva_t linear_address(struct vcpu *v, const struct hv_mov *mov)
{
    bool is_64bit = mov->code_size == 8, has_base = !is_64bit || mov->segment >= SEG_FS;
    hv_gva_t linear;

    if (mov->base == GPR_RSP || mov->reg == GPR_RSP)
        vcpu_need(v, VCPU_RSP);
    if (mov->base == HV_MOV_RIP)
        vcpu_need(v, VCPU_RIP);
    linear = hv_mov_offset(mov, v->gpr, v->rip);
    if (has_base) {
        vcpu_need(v, VCPU_SEG(mov->segment));
        linear += v->seg[mov->segment].base;
    }
    return is_64bit ? linear : (uint32_t)linear;
}

static __attribute__((noinline)) bool decode_anew(struct exit_mov *place, const struct hv_instruction *bytes,
                                                  unsigned code_size)
{
    place->code_size = 0;
    if (!hv_mov_decode(&place->mov, bytes, code_size))
        return false;
    if (bytes->count == HV_INSTRUCTION_BYTES_MAX) {
        place->code_size = code_size;
        __builtin_memcpy(place->bytes, bytes->bytes, sizeof(place->bytes));
    }
    return true;
}

/* Multiplied by this, all bits of a word count in the highest ones of the product. */
#define SPREAD 0x9e3779b97f4a7c15ull

/*
 * Loops and drivers reach a device by the same few instructions: what is remembered is not decoded again. NULL: not a
 * move.
 */
static inline const struct hv_mov *decode(struct exit_mov places[EXIT_MOVS], const struct hv_instruction *bytes,
                                          unsigned code_size)
{
    struct exit_mov *place;
    uint64_t words[2];

    __builtin_memcpy(words, bytes->bytes, sizeof(words));
    place = &places[words[0] * SPREAD / (UINT64_MAX / EXIT_MOVS + 1)];
    if (words[0] == place->bytes[0] && words[1] == place->bytes[1] && code_size == place->code_size &&
        bytes->count == HV_INSTRUCTION_BYTES_MAX)
        return &place->mov;
    return decode_anew(place, bytes, code_size) ? &place->mov : NULL;
}

/* In 64-bit code nothing more is needed of what says so. */
static inline unsigned size_of_code(struct vcpu *v)
{
    if (GVA_CODE_GROUPS & ~v->valid && backend()->mode(v) & VCPU_MODE_64BIT)
        return 8;
    vcpu_need(v, GVA_CODE_GROUPS);
    return gva_code_size(v);
}

const struct hv_mov *exit_mov_find(struct hv_vp *vp, struct hv_exit *exit, hv_gva_t *gva)
{
    uint64_t offset = exit->memory.gpa & HV_PAGE_MASK;
    const struct hv_mov *mov;
    struct vcpu *v = vp->vcpu;

    if (is_own_access(v, exit))
        return NULL;
    code_need(vp, &exit->instruction);
    mov = decode(vp->movs, &exit->instruction, size_of_code(v));
    if (!mov || mov->is_store != (exit->memory.access == HV_ACCESS_WRITE))
        return NULL;
    *gva = linear_address(v, mov);
    return (*gva & HV_PAGE_MASK) == offset && offset + mov->size <= HV_PAGE_SIZE ? mov : NULL;
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
