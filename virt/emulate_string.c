/* SPDX-License-Identifier: MIT */
/*
 * String instructions, alone and repeated, and those with ports (SDM 1, 7.3.9; SDM 2, REP). An iteration checks all of
 * its addresses before it moves anything, and is complete in the registers before the next one begins.
 */
#include "emulate.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

/* so that a guest can not keep the host here */
#define ITERATIONS_MAX 4096

#define SOURCE      0
#define DESTINATION 1

/* ------------------------------------------------------------------------------ one element */

static uint64_t address_of(const struct emulation *e, unsigned reg)
{
    return emulate_get(e, reg, e->insn.address_size);
}

static enum hv_emulate_result open_source(struct emulation *e, struct emulate_span *span)
{
    return emulate_open(e, span, e->insn.segment, address_of(e, EMULATE_RSI), e->insn.memory_size, HV_TRANSLATE_READ,
                        SOURCE);
}

static enum hv_emulate_result open_destination(struct emulation *e, struct emulate_span *span, uint32_t access)
{
    return emulate_open(e, span, HV_EMULATE_ES, address_of(e, EMULATE_RDI), e->insn.memory_size, access, DESTINATION);
}

static enum hv_emulate_result read_source(struct emulation *e, uint64_t *value)
{
    struct emulate_span span;
    enum hv_emulate_result result = open_source(e, &span);

    return result == HV_EMULATE_OK ? emulate_read(e, &span, value) : result;
}

static enum hv_emulate_result element_movs(struct emulation *e)
{
    struct emulate_span from, to;
    uint64_t value = 0;
    enum hv_emulate_result result = open_source(e, &from);

    if (result == HV_EMULATE_OK)
        result = open_destination(e, &to, HV_TRANSLATE_WRITE);
    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &from, &value);
    return result == HV_EMULATE_OK ? emulate_write(e, &to, &value) : result;
}

static enum hv_emulate_result element_cmps(struct emulation *e)
{
    struct emulate_span from, to;
    enum hv_emulate_result result = open_source(e, &from);

    if (result == HV_EMULATE_OK)
        result = open_destination(e, &to, HV_TRANSLATE_READ);
    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &from, &e->dst);
    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &to, &e->src);
    return result == HV_EMULATE_OK ? emulate_cmp(e) : result;
}

static enum hv_emulate_result element_stos(struct emulation *e)
{
    struct emulate_span to;
    uint64_t value = emulate_get(e, EMULATE_RAX, e->insn.operand_size);
    enum hv_emulate_result result = open_destination(e, &to, HV_TRANSLATE_WRITE);

    return result == HV_EMULATE_OK ? emulate_write(e, &to, &value) : result;
}

static enum hv_emulate_result element_lods(struct emulation *e)
{
    uint64_t value = 0;
    enum hv_emulate_result result = read_source(e, &value);

    if (result == HV_EMULATE_OK)
        emulate_set(e, EMULATE_RAX, e->insn.operand_size, value);
    return result;
}

static enum hv_emulate_result element_scas(struct emulation *e)
{
    struct emulate_span to;
    enum hv_emulate_result result = open_destination(e, &to, HV_TRANSLATE_READ);

    e->dst = emulate_get(e, EMULATE_RAX, e->insn.operand_size);
    if (result == HV_EMULATE_OK)
        result = emulate_read(e, &to, &e->src);
    return result == HV_EMULATE_OK ? emulate_cmp(e) : result;
}

/* ------------------------------------------------------------------------------------- ports */

static enum hv_emulate_result port_access(struct emulation *e, uint16_t port, bool is_write, uint64_t *value)
{
    uint32_t data = is_write ? (uint32_t)*value : 0;

    if (!e->ops->io(e->context, port, is_write, e->insn.operand_size, &data))
        return HV_EMULATE_IO_FAILED;
    if (!is_write)
        *value = data & emulate_mask(e->insn.operand_size);
    return HV_EMULATE_OK;
}

static uint16_t port_of(const struct emulation *e)
{
    bool immediate = e->insn.src == OPERAND_IMM8 || e->insn.dst == OPERAND_IMM8;

    return immediate ? e->insn.immediate & 0xFF : (uint16_t)e->state->gpr[EMULATE_RDX];
}

static enum hv_emulate_result element_ins(struct emulation *e)
{
    struct emulate_span to;
    uint64_t value = 0;
    enum hv_emulate_result result = open_destination(e, &to, HV_TRANSLATE_WRITE);

    if (result == HV_EMULATE_OK)
        result = port_access(e, port_of(e), false, &value);
    return result == HV_EMULATE_OK ? emulate_write(e, &to, &value) : result;
}

static enum hv_emulate_result element_outs(struct emulation *e)
{
    uint64_t value = 0;
    enum hv_emulate_result result = read_source(e, &value);

    return result == HV_EMULATE_OK ? port_access(e, port_of(e), true, &value) : result;
}

enum hv_emulate_result emulate_in(struct emulation *e)
{
    uint64_t value = 0;
    enum hv_emulate_result result;

    if (!e->ops->io)
        return HV_EMULATE_UNSUPPORTED;
    result = port_access(e, port_of(e), false, &value);
    if (result == HV_EMULATE_OK)
        emulate_set(e, EMULATE_RAX, e->insn.operand_size, value);
    return result;
}

enum hv_emulate_result emulate_out(struct emulation *e)
{
    uint64_t value = emulate_get(e, EMULATE_RAX, e->insn.operand_size);

    return e->ops->io ? port_access(e, port_of(e), true, &value) : HV_EMULATE_UNSUPPORTED;
}

/* -------------------------------------------------------------------------------- repetition */

static const struct element {
    enum hv_emulate_result (*run)(struct emulation *e);
    bool si, di;   /* which registers move on */
    bool compares; /* REPE and REPNE look at ZF */
    bool port;
} elements[INSN_OP_COUNT] = {
    [INSN_MOVS] = {element_movs, .si = true, .di = true},
    [INSN_CMPS] = {element_cmps, .si = true, .di = true, .compares = true},
    [INSN_STOS] = {element_stos, .di = true},
    [INSN_LODS] = {element_lods, .si = true},
    [INSN_SCAS] = {element_scas, .di = true, .compares = true},
    [INSN_INS] = {element_ins, .di = true, .port = true},
    [INSN_OUTS] = {element_outs, .si = true, .port = true},
};

static void move_on(struct emulation *e, unsigned reg)
{
    uint64_t step = e->insn.memory_size;
    uint64_t address = address_of(e, reg);

    emulate_set(e, reg, e->insn.address_size, e->state->rflags & RFLAGS_DF ? address - step : address + step);
}

static enum hv_emulate_result iterate(struct emulation *e, const struct element *element)
{
    enum hv_emulate_result result = element->run(e);

    if (result != HV_EMULATE_OK)
        return result;
    if (element->si)
        move_on(e, EMULATE_RSI);
    if (element->di)
        move_on(e, EMULATE_RDI);
    return HV_EMULATE_OK;
}

/* REPE goes on while the elements are equal, REPNE while they are not. */
static bool goes_on(const struct emulation *e, const struct element *element)
{
    return !element->compares || !(e->rflags & RFLAGS_ZF) == !(e->insn.prefixes & INSN_REP);
}

/*
 * After as many iterations as allowed RF says that the instruction has begun, as after an interrupt between two
 * iterations: a breakpoint on it does not strike again.
 */
static enum hv_emulate_result repeat(struct emulation *e, const struct element *element)
{
    uint32_t left = e->state->rflags & RFLAGS_TF ? 1 : ITERATIONS_MAX;
    uint64_t count = emulate_get(e, EMULATE_RCX, e->insn.address_size);
    enum hv_emulate_result result;

    for (; count; left--) {
        if (!left) {
            e->rflags |= RFLAGS_RF;
            return HV_EMULATE_AGAIN;
        }
        result = iterate(e, element);
        if (result != HV_EMULATE_OK)
            return result;
        emulate_set(e, EMULATE_RCX, e->insn.address_size, --count);
        emulate_commit(e);
        if (!goes_on(e, element))
            break;
    }
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_string(struct emulation *e)
{
    const struct element *element = &elements[e->insn.op];

    if (element->port && !e->ops->io)
        return HV_EMULATE_UNSUPPORTED;
    return e->insn.prefixes & (INSN_REP | INSN_REPNE) ? repeat(e, element) : iterate(e, element);
}
