/* SPDX-License-Identifier: MIT */
/*
 * Writes that ring doorbells. What a store writes is only known from its instruction: the usual one, a MOV to memory,
 * is looked at here; others that only store go through the emulator. An instruction that also reads there, or whose
 * store goes beyond the page, is the client's.
 */
#include "exit_doorbell.h"
#include "decode.h"
#include "doorbell.h"
#include "exit_emulate.h"
#include "exit_length.h"
#include "gpa.h"
#include "gva.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* ----------------------------------------------------------------------------- the instruction */

/* Bytes that the CPU has not given are left out of `exit`: they may be fewer than the client gets. */
static bool decode(struct hv_vp *vp, const struct hv_exit *exit, struct hv_instruction *bytes, struct insn *insn)
{
    struct vcpu *v = vp->vcpu;
    enum decode_status status;

    *bytes = exit->instruction;
    if (!bytes->count)
        exit_length_fetch(vp, bytes);
    vcpu_need(v, GVA_CODE_GROUPS);
    status = decode_insn(insn, bytes->bytes, HV_MIN(bytes->count, DECODE_LENGTH_MAX), gva_code_size(v));
    if (status == DECODE_MORE) {
        gva_fetch_instruction(vp, bytes); /* the rest is in the next page */
        status = decode_insn(insn, bytes->bytes, HV_MIN(bytes->count, DECODE_LENGTH_MAX), gva_code_size(v));
    }
    return status == DECODE_OK;
}

/*
 * Where in its page the memory operand begins. The address in the exit may be that of the part behind a page's end.
 * Neither limits nor sizes of addresses make a difference to these bits, once the CPU has made the access.
 */
static uint32_t page_offset(struct vcpu *v, const struct insn *insn)
{
    uint64_t address = (uint64_t)insn->displacement;

    vcpu_need(v, VCPU_RIP | VCPU_RSP | VCPU_SEG(insn->segment));
    if (insn->code_size != 8 || insn->segment >= SEG_FS)
        address += v->seg[insn->segment].base;
    if (insn->base == INSN_RIP)
        address += v->rip + insn->length;
    else if (insn->base != INSN_NO_REGISTER)
        address += v->gpr[insn->base];
    if (insn->index != INSN_NO_REGISTER)
        address += v->gpr[insn->index] * insn->scale;
    return address & HV_PAGE_MASK;
}

/* ------------------------------------------------------------------------------------- by MOV */

static bool is_mov(const struct insn *insn)
{
    return insn->op == INSN_MOV && insn->dst == OPERAND_RM && insn->is_memory && insn->src != OPERAND_SEGMENT;
}

static uint64_t mov_value(struct vcpu *v, const struct insn *insn)
{
    uint8_t reg = insn->src == OPERAND_ACC ? GPR_RAX : insn->reg;
    uint64_t mask = ~0ull >> (64 - 8 * insn->memory_size);

    if (insn->src == OPERAND_IMM)
        return insn->immediate & mask;
    if (insn->memory_size == 1 && !insn->rex && reg >= 4)
        return v->gpr[reg - 4] >> 8 & mask; /* AH, CH, DH, BH */
    return v->gpr[reg] & mask;
}

static enum exit_outcome ring_by_mov(struct hv_vp *vp, struct hv_exit *exit, const struct insn *insn)
{
    hv_gpa_t gpa = exit->memory.gpa;
    uint32_t offset = page_offset(vp->vcpu, insn);

    if (offset != (gpa & HV_PAGE_MASK) || insn->memory_size > HV_PAGE_SIZE - offset ||
        !doorbell_ring(vp, false, gpa, insn->memory_size, mov_value(vp->vcpu, insn)))
        return EXIT_TO_CLIENT;
    vp->counters.emulated++;
    exit->instruction_length = insn->length;
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}

/* ----------------------------------------------------------------------------- by the emulator */

struct store {
    struct hv_vp *vp;
    hv_gpa_t page; /* of the doorbells */
    uint32_t size; /* of the store: a part of it rings nothing */
    bool has_rung;
};

static bool store_memory(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    struct store *s = context;
    uint64_t value = 0;

    if (!is_write)
        return gpa_read(s->vp, gpa, data, size) == HV_OK;
    if (size != s->size)
        return false;
    if ((gpa & ~HV_PAGE_MASK) != s->page)
        return gpa_write(s->vp, gpa, data, size) == HV_OK;
    memcpy(&value, data, size);
    if (!doorbell_ring(s->vp, false, gpa, size, value))
        return false;
    return s->has_rung = true;
}

static bool store_translate(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result,
                            hv_gpa_t *gpa)
{
    const struct store *s = context;

    *result = gva_translate(s->vp, page, flags, gpa);
    return true;
}

static const struct hv_emulate_ops store_ops = {.memory = store_memory, .translate = store_translate};

static bool is_store(const struct insn *insn)
{
    switch (insn->op) {
    case INSN_MOV:
    case INSN_MOVBE:
    case INSN_SETCC:
        return insn->dst == OPERAND_RM && insn->is_memory;
    case INSN_STOS:
    case INSN_MOVS:
        return true;
    default:
        return false;
    }
}

static enum exit_outcome emulate(struct hv_vp *vp, const struct hv_exit *exit, const struct hv_instruction *bytes,
                                 uint32_t size)
{
    const struct hv_emulate_hint hint = {
        .valid = exit->memory.gva_valid,
        .is_write = true,
        .gva = exit->memory.gva,
        .gpa = exit->memory.gpa,
    };
    struct store store = {vp, exit->memory.gpa & ~HV_PAGE_MASK, size, false};
    struct hv_emulate_state state;
    struct hv_emulate_fault fault;
    enum hv_emulate_result result;

    exit_emulate_begin(vp, &state);
    result = hv_emulate(&state, bytes, &hint, &store_ops, &store, &fault);
    if (result != HV_EMULATE_OK && result != HV_EMULATE_AGAIN && !store.has_rung)
        return EXIT_TO_CLIENT; /* nothing was done; or a REP that begins elsewhere: it then comes here again */
    exit_emulate_end(vp, &state);
    if (result == HV_EMULATE_OK) {
        vp->counters.emulated++;
        exit_retire_instruction(vp);
    }
    return EXIT_HANDLED; /* the rest of a REP that has rung exits again */
}

/* ----------------------------------------------------------------------------------- handlers */

/* Not the store of an instruction: the CPU's own, of a page walk or the delivery of an event. */
static bool is_own_store(const struct vcpu *v, const struct hv_exit *exit)
{
    return exit->memory.page_walk || v->event & HV_PENDING_INT_VALID;
}

/* Something stands in front of the doorbells' hole, or they are being unregistered. */
static bool is_shown(struct hv_vp *vp, hv_gpa_t gpa)
{
    return gpa_rights(vp, gpa) >= 0;
}

enum exit_outcome exit_doorbell_memory(struct hv_vp *vp, struct hv_exit *exit)
{
    struct hv_instruction bytes;
    struct insn insn;

    if (!doorbell_is_at(vp, exit->memory.gpa) || is_shown(vp, exit->memory.gpa) || is_own_store(vp->vcpu, exit) ||
        !decode(vp, exit, &bytes, &insn))
        return EXIT_TO_CLIENT;
    if (is_mov(&insn))
        return ring_by_mov(vp, exit, &insn);
    return is_store(&insn) ? emulate(vp, exit, &bytes, insn.memory_size) : EXIT_TO_CLIENT;
}

enum exit_outcome exit_doorbell_port(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t mask = ~0ull >> (64 - 8 * exit->io.size);

    if (!doorbell_ring(vp, true, exit->io.port, exit->io.size, exit->io.rax & mask))
        return EXIT_TO_CLIENT;
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}
