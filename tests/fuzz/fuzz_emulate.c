/* SPDX-License-Identifier: MIT */
/*
 * The decoder and the emulator under hostile guests and callers: the input is the mode, the segments, the instruction
 * and what the callbacks answer, failures among it. Held against the contract of include/hv/emulate.h: nothing has
 * changed after a failure, no callback comes after one that failed, accesses are small and within a page, and the
 * number of callbacks is bounded.
 */
#include "input.h"
#include <hv/emulate.h>
#include <stdbool.h>
#include <virt/decode.h>

#define PAGE_MASK     0xFFFull
/* an iteration: two operands on two pages, each translated twice at most and accessed four times; and the fetch */
#define CALLBACKS_MAX (4096 * 32 + 64)

struct run {
    struct fuzz_input answers;
    enum hv_emulate_result failure; /* the result that a failed callback asks for; HV_EMULATE_OK: none has */
    bool unaligned;                 /* a translation was */
    unsigned callbacks;
};

/* False once in a while, then for good. */
static bool call(struct run *run, enum hv_emulate_result failure)
{
    FUZZ_ASSERT(run->failure == HV_EMULATE_OK && !run->unaligned);
    FUZZ_ASSERT(++run->callbacks < CALLBACKS_MAX);
    if (fuzz_byte(&run->answers) < 250)
        return true;
    run->failure = failure;
    return false;
}

static bool on_memory(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    uint64_t value = fuzz_value(gpa);
    volatile uint8_t sum = 0;

    FUZZ_ASSERT(size >= 1 && size <= 8 && (gpa & PAGE_MASK) + size <= PAGE_MASK + 1);
    for (uint32_t i = 0; is_write && i < size; i++)
        sum = (uint8_t)(sum + ((uint8_t *)data)[i]); /* the sanitizers look at them */
    if (!is_write)
        memcpy(data, &value, size);
    return call(context, HV_EMULATE_MEMORY_FAILED);
}

static bool on_translate(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result, hv_gpa_t *gpa)
{
    struct run *run = context;
    uint8_t answer = fuzz_byte(&run->answers);

    FUZZ_ASSERT(!(page & PAGE_MASK));
    FUZZ_ASSERT(!(flags & HV_TRANSLATE_EXECUTE) || !(flags & (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE)));
    if (!call(run, HV_EMULATE_TRANSLATE_FAILED))
        return false;
    *result = answer < 200 ? HV_TRANSLATE_SUCCESS : (enum hv_translate_result)(answer % 12);
    *gpa = page ^ (uint64_t)(answer % 4) << 12;
    if (answer == 199) {
        *gpa |= 1;
        run->unaligned = true;
    }
    return true;
}

static bool on_io(void *context, uint16_t port, bool is_write, uint32_t size, uint32_t *data)
{
    FUZZ_ASSERT(size == 1 || size == 2 || size == 4);
    FUZZ_ASSERT(!is_write || size == 4 || *data >> (8 * size) == 0);
    if (!is_write)
        *data = (uint32_t)fuzz_value(port); /* more bytes than asked for: they are not to count */
    return call(context, HV_EMULATE_IO_FAILED);
}

static bool on_xmm(void *context, unsigned n, bool is_write, uint64_t value[2])
{
    FUZZ_ASSERT(n < 16);
    if (!is_write)
        value[0] = fuzz_value(n), value[1] = fuzz_value(n + 16);
    return call(context, HV_EMULATE_XMM_FAILED);
}

static void take_segment(struct fuzz_input *in, struct hv_segment *segment)
{
    uint8_t kind = fuzz_byte(in);

    if (kind < 128)
        *segment = (struct hv_segment){0, 0xFFFFFFFF, 8, 0xC093};
    else if (kind < 192)
        *segment = (struct hv_segment){kind * 16u, 0xFFFF, kind, 0x93};
    else
        fuzz_take(in, segment, sizeof *segment);
}

static unsigned take_state(struct fuzz_input *in, struct hv_emulate_state *state)
{
    static const uint16_t code[] = {0x9B, 0x9B, 0xC09B, 0xA09B};
    uint8_t mode = fuzz_byte(in) % 4;

    memset(state, 0, sizeof *state);
    for (unsigned i = 0; i < 16; i++)
        state->gpr[i] = fuzz_u64(in);
    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++)
        take_segment(in, &state->seg[i]);
    state->seg[HV_EMULATE_CS].attributes = code[mode];
    state->rip = fuzz_u64(in);
    state->rflags = fuzz_u64(in);
    state->cr0 = mode == 0 ? 0x10 : fuzz_byte(in) % 2 ? 0x80050033 : 0x11;
    state->cr4 = fuzz_u64(in);
    state->efer = mode == 3 ? 0xD01 : 0;
    state->cpl = mode == 0 ? 0 : fuzz_byte(in) % 4;
    return mode == 3 ? 8 : mode == 2 ? 4 : 2;
}

static bool is_string(const struct hv_instruction *instruction, unsigned code_size)
{
    struct insn insn;

    if (decode_insn(&insn, instruction->bytes, instruction->count, code_size) != DECODE_OK)
        return true; /* the emulator has fetched more, nobody knows what */
    return insn.op >= INSN_MOVS && insn.op <= INSN_OUTS;
}

static void check_failure(enum hv_emulate_result result, const struct run *run, const struct hv_emulate_fault *fault)
{
    if (run->failure != HV_EMULATE_OK)
        FUZZ_ASSERT(result == run->failure);
    else if (run->unaligned)
        FUZZ_ASSERT(result == HV_EMULATE_UNALIGNED_GPA);
    else
        FUZZ_ASSERT(result <= HV_EMULATE_UNSUPPORTED || result == HV_EMULATE_MEMORY_FAILED ||
                    result == HV_EMULATE_TRANSLATE_FAILED);
    if (result == HV_EMULATE_FAULT)
        FUZZ_ASSERT(fault->vector == 0 || fault->vector == 6 || fault->vector == 7 ||
                    (fault->vector >= 12 && fault->vector <= 14) || fault->vector == 17);
}

static void check_state(enum hv_emulate_result result, bool string, unsigned code_size,
                        const struct hv_emulate_state *before, struct hv_emulate_state *after)
{
    uint64_t mask = code_size == 8 ? UINT64_MAX : 0xFFFFFFFF, length = (after->rip - before->rip) & mask;

    FUZZ_ASSERT(!memcmp(before->seg, after->seg, sizeof after->seg));
    FUZZ_ASSERT(before->cr0 == after->cr0 && before->cr4 == after->cr4 && before->efer == after->efer &&
                before->cpl == after->cpl);
    if (result == HV_EMULATE_OK) {
        FUZZ_ASSERT(code_size == 2 || (length >= 1 && length <= 15));
        return;
    }
    FUZZ_ASSERT(before->rip == after->rip);
    FUZZ_ASSERT(result != HV_EMULATE_AGAIN || string);
    if (string) /* iterations that are done stay done */
        return;
    after->gpr_changed = before->gpr_changed;
    FUZZ_ASSERT(!memcmp(before, after, sizeof *after));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, data + size};
    struct hv_instruction instruction = {0};
    struct hv_emulate_state state, before;
    struct hv_emulate_fault fault = {0};
    struct hv_emulate_hint hint = {0};
    struct hv_emulate_ops ops = {.memory = on_memory, .translate = on_translate, .io = on_io, .xmm = on_xmm};
    uint8_t choices = fuzz_byte(&in);
    enum hv_emulate_result result;
    struct run run = {0};
    unsigned code_size;

    instruction.count = choices & 16 ? fuzz_byte(&in) % (HV_INSTRUCTION_BYTES_MAX + 1) : HV_INSTRUCTION_BYTES_MAX;
    fuzz_take(&in, instruction.bytes, sizeof instruction.bytes);
    code_size = take_state(&in, &state);
    if (choices & 1)
        hint = (struct hv_emulate_hint){true, choices & 2, fuzz_u64(&in), fuzz_u64(&in)};
    if (choices >= 240)
        ops.io = NULL;
    if (choices % 16 == 15)
        ops.xmm = NULL;
    run.answers = in;
    before = state;
    result = hv_emulate(&state, &instruction, &hint, &ops, &run, &fault);
    check_failure(result, &run, &fault);
    check_state(result, is_string(&instruction, code_size), code_size, &before, &state);
    return 0;
}
