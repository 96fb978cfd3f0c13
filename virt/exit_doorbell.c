/* SPDX-License-Identifier: MIT */
/*
 * Writes that ring doorbells. What a store writes is only known from its instruction: the usual one, a plain move, is
 * looked at here; others that only store go through the emulator. An instruction that also reads there, or whose store
 * goes beyond the page, is the client's.
 */
#include "exit_doorbell.h"
#include "code.h"
#include "decode.h"
#include "doorbell.h"
#include "exit_emulate.h"
#include "exit_mov.h"
#include "gpa.h"
#include "walk.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

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

static enum exit_outcome emulate(struct hv_vp *vp, const struct hv_exit *exit, uint32_t size)
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
    result = hv_emulate(&state, &exit->instruction, &hint, &store_ops, &store, &fault);
    if (result != HV_EMULATE_OK && result != HV_EMULATE_AGAIN && !store.has_rung)
        return EXIT_TO_CLIENT; /* nothing was done; or a REP that begins elsewhere: it then comes here again */
    exit_emulate_end(vp, &state);
    if (result == HV_EMULATE_OK) {
        vp->counters.emulated++;
        exit_retire_instruction(vp);
    }
    return EXIT_HANDLED; /* the rest of a REP that has rung exits again */
}

/* Of what exit_mov_find does not know it has fetched the bytes. */
static enum exit_outcome ring_by_emulation(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct hv_instruction *bytes = &exit->instruction;
    struct insn insn;

    vcpu_need(vp->vcpu, GVA_CODE_GROUPS);
    if (decode_insn(&insn, bytes->bytes, HV_MIN(bytes->count, DECODE_LENGTH_MAX), gva_code_size(vp->vcpu)) !=
            DECODE_OK ||
        !is_store(&insn))
        return EXIT_TO_CLIENT;
    return emulate(vp, exit, insn.memory_size);
}

/* ----------------------------------------------------------------------------------- handlers */

/* False: it was none, or it matched nothing; nothing was done. */
static inline bool ring_by_mov(struct hv_vp *vp, struct hv_exit *exit, const struct bell *bell)
{
    const struct hv_mov *mov = exit_mov_find(vp, exit);

    if (!mov || !doorbell_ring_at(vp, bell, mov->size, hv_mov_stored(mov, vp->vcpu->gpr)))
        return false;
    exit_mov_done(vp, exit, mov, 0);
    return true;
}

bool exit_doorbell_memory_plain(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct bell *bell;

    if (exit->memory.access != HV_ACCESS_WRITE)
        return false;
    bell = doorbell_in_hole(vp, exit->memory.gpa);
    return bell && ring_by_mov(vp, exit, bell);
}

/* Not the CPU's own, of a page walk or the delivery of an event; and no plain move, which would have rung. */
static bool is_other_store(struct hv_vp *vp, struct hv_exit *exit)
{
    return !exit->memory.page_walk && !(vp->vcpu->event & HV_PENDING_INT_VALID) && !exit_mov_find(vp, exit);
}

enum exit_outcome exit_doorbell_memory(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);
    const struct bell *bell = doorbell_in_hole(vp, exit->memory.gpa);
    bool has_rung = bell && ring_by_mov(vp, exit, bell), is_other = bell && !has_rung && is_other_store(vp, exit);

    vp_walk_end(vp, flags);
    if (is_other)
        return ring_by_emulation(vp, exit);
    if (!has_rung)
        return EXIT_TO_CLIENT;
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}

enum exit_outcome exit_doorbell_port(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct bell *bell = doorbell_at(vp, true, exit->io.port);

    if (!bell || !doorbell_ring_at(vp, bell, exit->io.access.size, exit->io.rax))
        return EXIT_TO_CLIENT;
    return EXIT_SKIP;
}
