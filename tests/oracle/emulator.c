/* SPDX-License-Identifier: MIT */
/* Our side: hv_emulate() on the fake memory, with callbacks that hold it to its contract. */
#include "memory.h"
#include "oracle.h"
#include <string.h>

struct context {
    const struct oracle_case *c;
    struct oracle_outcome *outcome;
    uint64_t xmm[16][2];
};

static bool broken(struct context *context, const char *how)
{
    context->outcome->end = ORACLE_BROKEN;
    context->outcome->broken = how;
    return false;
}

static bool in_code(uint64_t address)
{
    return address - ORACLE_CODE < ORACLE_CODE_SIZE;
}

static bool on_memory(void *opaque, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    struct context *context = opaque;
    uint8_t *bytes;

    if (size < 1 || size > 8 || gpa % ORACLE_PAGE + size > ORACLE_PAGE)
        return broken(context, "a memory access of a wrong size, or across pages");
    if (in_code(gpa)) {
        if (is_write)
            return broken(context, "a write to code");
        memcpy(data, &oracle_code[gpa - ORACLE_CODE], size);
        return true;
    }
    bytes = oracle_memory_at(ORACLE_OURS, gpa);
    if (!bytes || (is_write && oracle_memory_kind(gpa) != ORACLE_WRITABLE))
        return broken(context, "an access to a page that translate did not grant");
    if (is_write) {
        memcpy(bytes, data, size);
        oracle_memory_touch(gpa, size);
    } else {
        memcpy(data, bytes, size);
    }
    return true;
}

static bool on_translate(void *opaque, hv_gva_t page, uint32_t flags, enum hv_translate_result *result, hv_gpa_t *gpa)
{
    enum oracle_page kind = oracle_memory_kind(page);

    if (page % ORACLE_PAGE)
        return broken(opaque, "a translation of no page");
    if (!(flags & (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE | HV_TRANSLATE_EXECUTE)))
        return broken(opaque, "a translation for no access");
    *result = HV_TRANSLATE_SUCCESS;
    *gpa = page;
    if (flags & HV_TRANSLATE_EXECUTE)
        *result = in_code(page) ? HV_TRANSLATE_SUCCESS : HV_TRANSLATE_NOT_PRESENT;
    else if (kind == ORACLE_ABSENT)
        *result = HV_TRANSLATE_NOT_PRESENT;
    else if ((flags & HV_TRANSLATE_WRITE) && kind == ORACLE_READ_ONLY)
        *result = HV_TRANSLATE_PRIVILEGE_VIOLATION;
    return true;
}

static bool on_io(void *opaque, uint16_t port, bool is_write, uint32_t size, uint32_t *data)
{
    struct context *context = opaque;

    if (size != 1 && size != 2 && size != 4)
        return broken(context, "a port access of a wrong size");
    if (!is_write)
        *data = oracle_port_value(port, (uint8_t)size, context->outcome->io_count);
    oracle_log_io(context->outcome, port, is_write, (uint8_t)size, *data);
    return true;
}

static bool on_xmm(void *opaque, unsigned n, bool is_write, uint64_t value[2])
{
    struct context *context = opaque;

    if (n >= (context->c->mode == ORACLE_LONG64 ? 16 : 8))
        return broken(context, "an XMM register that there is not");
    memcpy(is_write ? context->xmm[n] : value, is_write ? value : context->xmm[n], 16);
    return true;
}

static const struct hv_emulate_ops ops = {
    .memory = on_memory,
    .translate = on_translate,
    .io = on_io,
    .xmm = on_xmm,
};

/* The exit's address, as the first memory operand's is. */
static void make_hint(const struct oracle_case *c, struct hv_emulate_hint *hint)
{
    struct oracle_access access;

    *hint = (struct hv_emulate_hint){0};
    for (unsigned i = 0; c->hint && c->decoded && i < c->insn.operand_count && !hint->valid; i++)
        if (oracle_access(c, &c->operand[i], &access) && access.size &&
            oracle_memory_kind(access.linear) == ORACLE_WRITABLE)
            *hint = (struct hv_emulate_hint){
                .valid = true, .is_write = access.is_write, .gva = access.linear, .gpa = access.linear};
}

void oracle_emulator_run(const struct oracle_case *c, struct oracle_outcome *outcome)
{
    struct context context = {.c = c, .outcome = outcome};
    struct hv_emulate_state state = c->state;
    struct hv_instruction instruction = {.count = c->known};
    enum hv_emulate_result result = HV_EMULATE_AGAIN;
    struct hv_emulate_hint hint;

    *outcome = (struct oracle_outcome){.end = ORACLE_DONE};
    memcpy(instruction.bytes,
           &oracle_code[c->state.seg[HV_EMULATE_CS].base * (c->mode != ORACLE_LONG64) + c->state.rip - ORACLE_CODE],
           sizeof instruction.bytes);
    memcpy(context.xmm, c->xmm, sizeof context.xmm);
    make_hint(c, &hint);
    for (unsigned runs = 0; result == HV_EMULATE_AGAIN && runs < ORACLE_RUNS_MAX; runs++) {
        result = hv_emulate(&state, &instruction, &hint, &ops, &context, &outcome->fault);
        hint.valid = false;
    }
    memcpy(outcome->gpr, state.gpr, sizeof outcome->gpr);
    memcpy(outcome->xmm, context.xmm, sizeof outcome->xmm);
    outcome->rip = state.rip;
    outcome->rflags = state.rflags;
    if (outcome->end == ORACLE_BROKEN)
        return;
    if (result == HV_EMULATE_FAULT)
        outcome->end = ORACLE_FAULT;
    else if (result == HV_EMULATE_UNSUPPORTED)
        outcome->end = ORACLE_REFUSED;
    else if (result != HV_EMULATE_OK)
        broken(&context, result == HV_EMULATE_AGAIN ? "a REP without end" : "a failure that no callback has caused");
    outcome->fault_is_write = outcome->fault.error_code & 2;
    if (result == HV_EMULATE_OK && !state.gpr_changed && memcmp(state.gpr, c->state.gpr, sizeof state.gpr))
        broken(&context, "gpr_changed is false, and they have");
}
