/* SPDX-License-Identifier: MIT */
/*
 * The emulator's middle: fetches the instruction, opens its memory operand, loads, computes, stores, and moves RIP on.
 * Which of these an instruction needs is in the table of operations.
 */
#include "emulate.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

/* --------------------------------------------------------------------------------- registers */

static bool is_high_byte(const struct emulation *e, unsigned reg, unsigned size)
{
    return size == 1 && reg >= 4 && !e->insn.rex;
}

uint64_t emulate_get(const struct emulation *e, unsigned reg, unsigned size)
{
    if (is_high_byte(e, reg, size))
        return e->state->gpr[reg - 4] >> 8 & 0xFF;
    return e->state->gpr[reg] & emulate_mask(size);
}

void emulate_set(struct emulation *e, unsigned reg, unsigned size, uint64_t value)
{
    e->write[e->writes].reg = (uint8_t)reg;
    e->write[e->writes].size = (uint8_t)size;
    e->write[e->writes++].value = value & emulate_mask(size);
}

static void write_register(struct emulation *e, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t *gpr = &e->state->gpr[reg];

    if (is_high_byte(e, reg, size)) {
        gpr -= 4;
        *gpr = (*gpr & ~0xFF00ull) | value << 8;
    } else if (size >= 4) {
        *gpr = value;
    } else {
        *gpr = (*gpr & ~emulate_mask(size)) | value;
    }
}

void emulate_commit(struct emulation *e)
{
    for (uint32_t i = 0; i < e->writes; i++)
        write_register(e, e->write[i].reg, e->write[i].size, e->write[i].value);
    e->state->gpr_changed |= e->writes != 0;
    e->writes = 0;
    e->state->rflags = e->rflags;
}

/* ---------------------------------------------------------------------------------- operands */

static enum hv_emulate_result load(struct emulation *e, enum insn_operand operand, uint64_t *value)
{
    const struct insn *insn = &e->insn;
    uint64_t mask = emulate_mask(insn->operand_size);

    switch (operand) {
    case OPERAND_RM:
        if (insn->is_memory)
            return emulate_read(e, &e->memory, value);
        *value = emulate_get(e, insn->rm, insn->rm_size);
        return HV_EMULATE_OK;
    case OPERAND_OPCODE:
        *value = emulate_get(e, insn->rm, insn->operand_size);
        return HV_EMULATE_OK;
    case OPERAND_REG:
        *value = emulate_get(e, insn->reg, insn->operand_size);
        return HV_EMULATE_OK;
    case OPERAND_ACC:
        *value = emulate_get(e, EMULATE_RAX, insn->operand_size);
        return HV_EMULATE_OK;
    case OPERAND_CL:
        *value = e->state->gpr[EMULATE_RCX] & 0xFF;
        return HV_EMULATE_OK;
    case OPERAND_ONE:
        *value = 1;
        return HV_EMULATE_OK;
    case OPERAND_IMM:
    case OPERAND_IMM8:
        *value = insn->immediate & mask;
        return HV_EMULATE_OK;
    case OPERAND_SEGMENT:
        if (insn->reg >= HV_EMULATE_SEGS)
            return emulate_fault(e, VEC_UD, 0);
        *value = e->state->seg[insn->reg].selector;
        return HV_EMULATE_OK;
    default:
        return HV_EMULATE_OK;
    }
}

static enum hv_emulate_result store(struct emulation *e, enum insn_operand operand, uint64_t value)
{
    const struct insn *insn = &e->insn;

    if (operand == OPERAND_RM && insn->is_memory)
        return emulate_write(e, &e->memory, &value);
    if (operand == OPERAND_REG)
        emulate_set(e, insn->reg, insn->operand_size, value);
    else if (operand == OPERAND_ACC)
        emulate_set(e, EMULATE_RAX, insn->operand_size, value);
    else
        emulate_set(e, insn->rm, insn->operand_size, value);
    return HV_EMULATE_OK;
}

/* --------------------------------------------------------------------------------- the stack */

static unsigned stack_size(const struct emulation *e)
{
    if (e->insn.code_size == 8)
        return 8;
    return e->state->seg[HV_EMULATE_SS].attributes & SEG_DB ? 4 : 2;
}

static enum hv_emulate_result open_memory(struct emulation *e, uint32_t access)
{
    if (!e->insn.is_memory)
        return HV_EMULATE_OK;
    return emulate_open(e, &e->memory, e->insn.segment, emulate_offset(e), e->insn.memory_size, access, 0);
}

static enum hv_emulate_result push(struct emulation *e)
{
    unsigned size = e->insn.operand_size, pointer = stack_size(e);
    uint64_t top = (e->state->gpr[EMULATE_RSP] - size) & emulate_mask(pointer);
    struct emulate_span stack;
    enum hv_emulate_result result = open_memory(e, HV_TRANSLATE_READ);

    if (result == HV_EMULATE_OK)
        result = emulate_open(e, &stack, HV_EMULATE_SS, top, size, HV_TRANSLATE_WRITE, 1);
    if (result == HV_EMULATE_OK)
        result = load(e, e->insn.dst, &e->dst);
    if (result == HV_EMULATE_OK)
        result = emulate_write(e, &stack, &e->dst);
    emulate_set(e, EMULATE_RSP, pointer, top);
    return result;
}

/* A destination whose address is made with RSP sees it as it is after the POP; so does POP RSP. */
static enum hv_emulate_result pop(struct emulation *e)
{
    unsigned size = e->insn.operand_size, pointer = stack_size(e);
    uint64_t top = e->state->gpr[EMULATE_RSP] & emulate_mask(pointer);
    struct emulate_span stack;
    enum hv_emulate_result result = emulate_open(e, &stack, HV_EMULATE_SS, top, size, HV_TRANSLATE_READ, 1);

    e->popped = size;
    if (result == HV_EMULATE_OK)
        result = open_memory(e, HV_TRANSLATE_WRITE);
    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &stack, &e->dst);
    emulate_set(e, EMULATE_RSP, pointer, top + size);
    return result == HV_EMULATE_OK ? store(e, e->insn.dst, e->dst) : result;
}

/* ------------------------------------------------------------------------------- CMPXCHG8B */

/* CMPXCHG16B likewise, by halves of 8 bytes. Memory is written in any case. */
static enum hv_emulate_result cmpxchg8b(struct emulation *e)
{
    unsigned half = e->insn.operand_size;
    uint64_t low = emulate_get(e, EMULATE_RAX, half), high = emulate_get(e, EMULATE_RDX, half);
    uint64_t value[2] = {0}, old_low, old_high;
    enum hv_emulate_result result = open_memory(e, HV_TRANSLATE_READ | HV_TRANSLATE_WRITE);

    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &e->memory, value);
    if (result != HV_EMULATE_OK)
        return result;
    old_low = value[0] & emulate_mask(half);
    old_high = half == 8 ? value[1] : value[0] >> 32;
    e->rflags &= ~RFLAGS_ZF;
    if (old_low == low && old_high == high) {
        e->rflags |= RFLAGS_ZF;
        low = emulate_get(e, EMULATE_RBX, half);
        high = emulate_get(e, EMULATE_RCX, half);
        value[0] = half == 8 ? low : high << 32 | low;
        value[1] = high;
    } else {
        emulate_set(e, EMULATE_RAX, half, old_low);
        emulate_set(e, EMULATE_RDX, half, old_high);
    }
    return emulate_write(e, &e->memory, value);
}

/* -------------------------------------------------------------------------------- operations */

#define READS      0x1u /* its destination */
#define WRITES     0x2u
#define BIT_STRING 0x4u /* a bit number in a register reaches beyond the memory operand */
#define CONTROL    0x8u /* of control registers */

/* Either compute, with the operands loaded before and stored after it; or run, which does it all. */
static const struct operation {
    emulate_compute *compute, *run;
    unsigned flags;
} operations[INSN_OP_COUNT] = {
    [INSN_ADD] = {emulate_add, .flags = READS | WRITES},
    [INSN_OR] = {emulate_or, .flags = READS | WRITES},
    [INSN_ADC] = {emulate_adc, .flags = READS | WRITES},
    [INSN_SBB] = {emulate_sbb, .flags = READS | WRITES},
    [INSN_AND] = {emulate_and, .flags = READS | WRITES},
    [INSN_SUB] = {emulate_sub, .flags = READS | WRITES},
    [INSN_XOR] = {emulate_xor, .flags = READS | WRITES},
    [INSN_CMP] = {emulate_cmp, .flags = READS},
    [INSN_TEST] = {emulate_test, .flags = READS},
    [INSN_NOT] = {emulate_not, .flags = READS | WRITES},
    [INSN_NEG] = {emulate_neg, .flags = READS | WRITES},
    [INSN_INC] = {emulate_inc, .flags = READS | WRITES},
    [INSN_DEC] = {emulate_dec, .flags = READS | WRITES},
    [INSN_MUL] = {.compute = emulate_mul},
    [INSN_IMUL] = {.compute = emulate_imul},
    [INSN_DIV] = {.compute = emulate_div},
    [INSN_IDIV] = {.compute = emulate_idiv},
    [INSN_IMUL2] = {emulate_imul2, .flags = READS | WRITES},
    [INSN_IMUL3] = {emulate_imul3, .flags = WRITES},
    [INSN_ROL] = {emulate_rol, .flags = READS | WRITES},
    [INSN_ROR] = {emulate_ror, .flags = READS | WRITES},
    [INSN_RCL] = {emulate_rcl, .flags = READS | WRITES},
    [INSN_RCR] = {emulate_rcr, .flags = READS | WRITES},
    [INSN_SHL] = {emulate_shl, .flags = READS | WRITES},
    [INSN_SHR] = {emulate_shr, .flags = READS | WRITES},
    [INSN_SAR] = {emulate_sar, .flags = READS | WRITES},
    [INSN_SHLD] = {emulate_shld, .flags = READS | WRITES},
    [INSN_SHRD] = {emulate_shrd, .flags = READS | WRITES},
    [INSN_BT] = {emulate_bt, .flags = READS | BIT_STRING},
    [INSN_BTS] = {emulate_bts, .flags = READS | WRITES | BIT_STRING},
    [INSN_BTR] = {emulate_btr, .flags = READS | WRITES | BIT_STRING},
    [INSN_BTC] = {emulate_btc, .flags = READS | WRITES | BIT_STRING},
    [INSN_BSF] = {emulate_bsf, .flags = READS | WRITES},
    [INSN_BSR] = {emulate_bsr, .flags = READS | WRITES},
    [INSN_MOV] = {emulate_mov, .flags = WRITES},
    [INSN_MOVZX] = {emulate_mov, .flags = WRITES},
    [INSN_MOVSX] = {emulate_movsx, .flags = WRITES},
    [INSN_MOVBE] = {emulate_movbe, .flags = WRITES},
    [INSN_XCHG] = {emulate_xchg, .flags = READS | WRITES},
    [INSN_XADD] = {emulate_xadd, .flags = READS | WRITES},
    [INSN_CMPXCHG] = {emulate_cmpxchg, .flags = READS | WRITES},
    [INSN_CMPXCHG8B] = {.run = cmpxchg8b},
    [INSN_SETCC] = {emulate_setcc, .flags = WRITES},
    [INSN_CMOVCC] = {emulate_cmovcc, .flags = READS | WRITES},
    [INSN_SMSW] = {emulate_smsw, .flags = WRITES},
    [INSN_LMSW] = {emulate_lmsw, .flags = CONTROL},
    [INSN_CLTS] = {emulate_clts, .flags = CONTROL},
    [INSN_MOV_TO_CR] = {emulate_mov_to_cr, .flags = CONTROL},
    [INSN_MOV_FROM_CR] = {emulate_mov_from_cr, .flags = WRITES | CONTROL},
    [INSN_PUSH] = {.run = push},
    [INSN_POP] = {.run = pop},
    [INSN_MOVS] = {.run = emulate_string},
    [INSN_CMPS] = {.run = emulate_string},
    [INSN_STOS] = {.run = emulate_string},
    [INSN_LODS] = {.run = emulate_string},
    [INSN_SCAS] = {.run = emulate_string},
    [INSN_INS] = {.run = emulate_string},
    [INSN_OUTS] = {.run = emulate_string},
    [INSN_IN] = {.run = emulate_in},
    [INSN_OUT] = {.run = emulate_out},
    [INSN_XMM_LOAD] = {.run = emulate_xmm_load},
    [INSN_XMM_LOAD_LOW] = {.run = emulate_xmm_load},
    [INSN_XMM_LOAD_HIGH] = {.run = emulate_xmm_load},
    [INSN_XMM_STORE] = {.run = emulate_xmm_store},
    [INSN_XMM_STORE_HIGH] = {.run = emulate_xmm_store},
};

static uint32_t access_of(const struct emulation *e, unsigned flags)
{
    if (e->insn.dst != OPERAND_RM)
        return HV_TRANSLATE_READ;
    return (flags & READS ? HV_TRANSLATE_READ : 0) | (flags & WRITES ? HV_TRANSLATE_WRITE : 0);
}

/* SDM 2, BT: the operand is the one of its size, from the address on or before it, that holds the bit. */
static int64_t bit_string_offset(const struct emulation *e)
{
    unsigned size = e->insn.operand_size;
    int64_t bit = emulate_sign_extend(emulate_get(e, e->insn.reg, size), size);

    return (bit >> (3 + __builtin_ctz(size))) * (int64_t)size;
}

/* Memory is opened with all rights needed first, read at most once, and written last. */
static enum hv_emulate_result run_operation(struct emulation *e, const struct operation *operation)
{
    enum hv_emulate_result result;

    if (operation->flags & BIT_STRING && e->insn.src == OPERAND_REG)
        e->insn.displacement += bit_string_offset(e);
    result = operation->flags & CONTROL ? emulate_check_control(e) : HV_EMULATE_OK;
    if (result == HV_EMULATE_OK)
        result = open_memory(e, access_of(e, operation->flags));
    if (result == HV_EMULATE_OK)
        result = load(e, e->insn.src, &e->src);
    if (result == HV_EMULATE_OK && operation->flags & READS)
        result = load(e, e->insn.dst, &e->dst);
    if (result == HV_EMULATE_OK)
        result = operation->compute(e);
    if (result != HV_EMULATE_OK || !(operation->flags & WRITES))
        return result;
    return store(e, e->insn.dst, e->dst);
}

/* The end of an instruction: RF lasts for one (SDM 3B 18.3.1.1). */
static void retire(struct emulation *e)
{
    e->rflags &= ~RFLAGS_RF;
    emulate_commit(e);
    e->state->rip = (e->state->rip + e->insn.length) & emulate_mask(e->insn.code_size);
}

enum hv_emulate_result hv_emulate(struct hv_emulate_state *state, const struct hv_instruction *instruction,
                                  const struct hv_emulate_hint *hint, const struct hv_emulate_ops *ops, void *context,
                                  struct hv_emulate_fault *fault)
{
    struct emulation e = {
        .state = state,
        .hint = hint,
        .ops = ops,
        .context = context,
        .fault = fault,
        .rflags = state->rflags,
    };
    const struct operation *operation;
    enum hv_emulate_result result;

    state->gpr_changed = false;
    result = emulate_fetch(&e, instruction);
    if (result != HV_EMULATE_OK)
        return result;
    operation = &operations[e.insn.op];
    result = operation->run ? operation->run(&e) : run_operation(&e, operation);
    if (result == HV_EMULATE_OK)
        retire(&e);
    else if (result == HV_EMULATE_AGAIN)
        emulate_commit(&e);
    return result;
}
