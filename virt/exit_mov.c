/* SPDX-License-Identifier: MIT */
/* Memory exits by plain moves. */
#include "exit_mov.h"
#include "code.h"

/* Not of the instruction: of a page walk, the delivery of an event, or the fetch of an instruction. */
static bool is_own_access(const struct vcpu *v, const struct hv_exit *exit)
{
    return exit->memory.page_walk || v->event & HV_PENDING_INT_VALID || exit->memory.access == HV_ACCESS_EXECUTE;
}

/* 64-bit code has bases of FS and GS only. */
static void find_registers(struct exit_mov *place)
{
    const struct hv_mov *mov = &place->mov;

    place->has_base = mov->code_size != 8 || mov->segment >= SEG_FS;
    place->groups = (mov->base == GPR_RSP || mov->reg == GPR_RSP ? VCPU_RSP : 0) |
                    (mov->base == HV_MOV_RIP ? VCPU_RIP : 0) | (place->has_base ? VCPU_SEG(mov->segment) : 0);
}

/* In other code than 64-bit code linear addresses have 32 bits. */
static inline hv_gva_t linear_address(struct vcpu *v, const struct exit_mov *place)
{
    const struct hv_mov *mov = &place->mov;
    hv_gva_t linear;

    vcpu_need(v, place->groups);
    linear = hv_mov_offset(mov, v->gpr, v->rip);
    if (!place->has_base)
        return linear;
    linear += v->seg[mov->segment].base;
    return mov->code_size == 8 ? linear : (uint32_t)linear;
}

/* ------------------------------------------------------------------------------ what is known */

/* Multiplied by this, all bits of a word count in the highest ones of the product. */
#define SPREAD 0x9e3779b97f4a7c15ull

/* Loops and drivers reach a device by the same few instructions: where this one would be remembered. */
static inline struct exit_mov *place_of(struct hv_vp *vp, const struct hv_instruction *bytes)
{
    uint64_t word;

    __builtin_memcpy(&word, bytes->bytes, sizeof(word));
    return &vp->movs[word * SPREAD / (UINT64_MAX / EXIT_MOVS + 1)];
}

/* Of all bytes that there may be. */
static inline bool is_known(const struct exit_mov *place, const struct hv_instruction *bytes, unsigned code_size)
{
    uint64_t words[2];

    __builtin_memcpy(words, bytes->bytes, sizeof(words));
    return words[0] == place->bytes[0] && words[1] == place->bytes[1] && code_size == place->code_size;
}

/* Of code that the backend knows, unless the CPU has given the bytes already. NULL: it is not known. */
static inline const struct exit_mov *known_move(struct hv_vp *vp, struct hv_instruction *bytes)
{
    const uint8_t *code = bytes->count ? NULL : code_known(vp);
    const struct exit_mov *place;

    if (!code || !code_copy_whole(bytes, code))
        return NULL;
    place = place_of(vp, bytes);
    return is_known(place, bytes, vp->vcpu->code.last->size) ? place : NULL;
}

/* ---------------------------------------------------------------------------------- decoding */

/* In 64-bit code nothing more is needed of what says so. */
static unsigned size_of_code(struct vcpu *v)
{
    if (GVA_CODE_GROUPS & ~v->valid && backend()->mode(v) & VCPU_MODE_64BIT)
        return 8;
    vcpu_need(v, GVA_CODE_GROUPS);
    return gva_code_size(v);
}

static const struct exit_mov *decode(struct exit_mov *place, const struct hv_instruction *bytes, unsigned code_size)
{
    bool is_whole = bytes->count == HV_INSTRUCTION_BYTES_MAX;

    if (is_whole && is_known(place, bytes, code_size))
        return place;
    place->code_size = 0;
    if (!hv_mov_decode(&place->mov, bytes->bytes, bytes->count, code_size))
        return NULL;
    find_registers(place);
    if (is_whole) {
        place->code_size = code_size;
        __builtin_memcpy(place->bytes, bytes->bytes, sizeof(place->bytes));
    }
    return place;
}

/* NULL: not a move. */
static __attribute__((noinline)) const struct exit_mov *other_move(struct hv_vp *vp, struct hv_instruction *bytes)
{
    code_need(vp, bytes);
    return decode(place_of(vp, bytes), bytes, size_of_code(vp->vcpu));
}

/* ------------------------------------------------------------------------------- for handlers */

/* Does the access begin there, as far as the CPU says it? */
static inline bool is_address(const struct hv_exit *exit, hv_gva_t gva)
{
    return exit->memory.gva_valid ? gva == exit->memory.gva : !((gva ^ exit->memory.gpa) & HV_PAGE_MASK);
}

/* NULL: it is none, or could not have made the access. */
static inline __attribute__((always_inline)) const struct exit_mov *find_move(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct exit_mov *place;

    if (is_own_access(vp->vcpu, exit))
        return NULL;
    place = known_move(vp, &exit->instruction);
    if (!place)
        place = other_move(vp, &exit->instruction);
    return place && place->mov.is_store == (exit->memory.access == HV_ACCESS_WRITE) ? place : NULL;
}

const struct hv_mov *exit_mov_find(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct exit_mov *place = find_move(vp, exit);
    hv_gva_t gva;

    if (!place)
        return NULL;
    gva = linear_address(vp->vcpu, place);
    if (!is_address(exit, gva) || (gva & HV_PAGE_MASK) + place->mov.size > HV_PAGE_SIZE)
        return NULL;
    exit->memory.gva = gva;
    return &place->mov;
}

__attribute__((noinline)) bool exit_mov_is_elsewhere(struct hv_vp *vp, struct hv_exit *exit)
{
    return find_move(vp, exit);
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
}
