/* SPDX-License-Identifier: MIT */
/*
 * The emulator's way to guest memory: effective address, segment (SDM 3A 5.3 to 5.6), canonical form, translation page
 * by page, and then the bytes. Everything that can fault is done before the first byte moves.
 */
#include "emulate.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/memory.h>

#define ACCESS_DATA (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE)

enum hv_emulate_result emulate_fault(struct emulation *e, unsigned vector, uint32_t error_code)
{
    bool has_code = (BIT32(vector) & VEC_ERROR_CODE_MASK) && (e->state->cr0 & CR0_PE);

    *e->fault = (struct hv_emulate_fault){
        .vector = (uint8_t)vector,
        .has_error_code = has_code,
        .error_code = has_code ? error_code : 0,
    };
    return HV_EMULATE_FAULT;
}

/* ------------------------------------------------------------------------ linear addresses */

static uint64_t next_rip(const struct emulation *e)
{
    return (e->state->rip + e->insn.length) & emulate_mask(e->insn.code_size);
}

uint64_t emulate_offset(const struct emulation *e)
{
    const struct insn *insn = &e->insn;
    uint64_t offset = (uint64_t)insn->displacement;

    if (insn->base == INSN_RIP)
        offset += next_rip(e);
    else if (insn->base != INSN_NO_REGISTER)
        offset += e->state->gpr[insn->base];
    if (insn->base == EMULATE_RSP)
        offset += e->popped;
    if (insn->index != INSN_NO_REGISTER)
        offset += e->state->gpr[insn->index] * insn->scale;
    return offset & emulate_mask(insn->address_size);
}

static bool is_canonical(const struct emulation *e, uint64_t address)
{
    unsigned unused = e->state->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;

    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

/* Real and virtual 8086 mode have limits, but no types. */
static bool is_protected(const struct emulation *e)
{
    return (e->state->cr0 & CR0_PE) && !(e->state->rflags & RFLAGS_VM);
}

/* SDM 3A 5.5 */
static bool type_allows(const struct hv_segment *s, uint32_t access)
{
    bool writable = !(s->attributes & SEG_TYPE_CODE) && (s->attributes & SEG_TYPE_WRITE);
    bool readable = !(s->attributes & SEG_TYPE_CODE) || (s->attributes & SEG_TYPE_READ);

    if (!(s->attributes & SEG_P))
        return false;
    return access & HV_TRANSLATE_WRITE ? writable : readable;
}

/* SDM 3A 5.3: the last byte of an access counts; the first one too in segments that grow down. */
static bool limit_allows(const struct hv_segment *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;
    bool down = !(s->attributes & SEG_TYPE_CODE) && (s->attributes & SEG_TYPE_EXPAND);

    if (!down)
        return last <= s->limit;
    return offset > s->limit && last <= (s->attributes & SEG_DB ? UINT32_MAX : UINT16_MAX);
}

/* false: the address is not one that the segment, or in 64-bit code the canonical form, allows. */
static bool linear_address(const struct emulation *e, unsigned segment, uint64_t offset, unsigned size, uint32_t access,
                           hv_gva_t *linear)
{
    const struct hv_segment *s = &e->state->seg[segment];

    if (e->insn.code_size == 8) {
        *linear = offset + (segment >= HV_EMULATE_FS ? s->base : 0);
        return is_canonical(e, *linear) && is_canonical(e, *linear + size - 1);
    }
    *linear = (uint32_t)(s->base + offset);
    if (is_protected(e) && !type_allows(s, access))
        return false;
    return limit_allows(s, offset, size);
}

/* ----------------------------------------------------------------------------- translation */

/* SDM 3A 4.7 */
static enum hv_emulate_result page_fault(struct emulation *e, enum hv_translate_result why, hv_gva_t address,
                                         uint32_t access)
{
    const struct hv_emulate_state *s = e->state;
    bool tells_fetch = (s->cr4 & CR4_SMEP) || ((s->cr4 & CR4_PAE) && (s->efer & EFER_NXE));
    uint64_t code = 0;

    if (why != HV_TRANSLATE_NOT_PRESENT)
        code |= PFEC_PRESENT;
    if (why == HV_TRANSLATE_INVALID_FLAGS)
        code |= PFEC_RSVD;
    if (access & HV_TRANSLATE_WRITE)
        code |= PFEC_WRITE;
    if (access & HV_TRANSLATE_EXECUTE && tells_fetch)
        code |= PFEC_FETCH;
    if (s->cpl == 3)
        code |= PFEC_USER;
    emulate_fault(e, VEC_PF, (uint32_t)code);
    e->fault->address = address;
    return HV_EMULATE_FAULT;
}

/* The guest's tables allow the access, but there is no RAM behind them, or RAM without that right: a device. */
static bool is_device(enum hv_translate_result result)
{
    return result == HV_TRANSLATE_GPA_UNMAPPED || result == HV_TRANSLATE_GPA_NO_READ ||
           result == HV_TRANSLATE_GPA_NO_WRITE;
}

/* `page` through the callback. A device's address is had by asking once more without the rights to be checked. */
static enum hv_emulate_result ask(struct emulation *e, hv_gva_t page, hv_gva_t address, uint32_t access, hv_gpa_t *gpa)
{
    enum hv_translate_result result = HV_TRANSLATE_INTERCEPT;
    uint32_t flags = access | HV_TRANSLATE_SET_BITS;

    if (!e->ops->translate(e->context, page, flags, &result, gpa))
        return HV_EMULATE_TRANSLATE_FAILED;
    if (is_device(result) && access & ACCESS_DATA &&
        !e->ops->translate(e->context, page, HV_TRANSLATE_SET_BITS, &result, gpa))
        return HV_EMULATE_TRANSLATE_FAILED;
    switch (result) {
    case HV_TRANSLATE_SUCCESS:
        return *gpa & HV_PAGE_MASK ? HV_EMULATE_UNALIGNED_GPA : HV_EMULATE_OK;
    case HV_TRANSLATE_NOT_PRESENT:
    case HV_TRANSLATE_PRIVILEGE_VIOLATION:
    case HV_TRANSLATE_INVALID_FLAGS:
        return page_fault(e, result, address, access);
    default:
        return HV_EMULATE_TRANSLATE_FAILED;
    }
}

/* An access that came as far as an exit was allowed by the guest's tables. */
static bool is_hinted(const struct emulation *e, hv_gva_t page, uint32_t access)
{
    const struct hv_emulate_hint *hint = e->hint;

    if (!hint || !hint->valid || ALIGN_DOWN(hint->gva, HV_PAGE_SIZE) != page)
        return false;
    return hint->is_write || !(access & HV_TRANSLATE_WRITE);
}

static enum hv_emulate_result translate(struct emulation *e, hv_gva_t address, uint32_t access, unsigned stream,
                                        hv_gpa_t *gpa)
{
    struct emulate_page *known = &e->pages[stream];
    hv_gva_t page = ALIGN_DOWN(address, HV_PAGE_SIZE);
    enum hv_emulate_result result;

    if (is_hinted(e, page, access)) {
        *gpa = ALIGN_DOWN(e->hint->gpa, HV_PAGE_SIZE) | (address & HV_PAGE_MASK);
        return HV_EMULATE_OK;
    }
    if (known->page != page || known->access != access) {
        known->access = 0;
        result = ask(e, page, address, access, &known->gpa);
        if (result != HV_EMULATE_OK)
            return result;
        known->page = page;
        known->access = access;
    }
    *gpa = known->gpa | (address & HV_PAGE_MASK);
    return HV_EMULATE_OK;
}

/* SDM 3A 6.15, interrupt 17. Operands of 16 bytes have rules of their own: insn.aligned. */
static bool is_misaligned(const struct emulation *e, hv_gva_t linear, unsigned size)
{
    const struct hv_emulate_state *s = e->state;

    return (linear & (size - 1)) && size <= 8 && s->cpl == 3 && (s->cr0 & CR0_AM) && (s->rflags & RFLAGS_AC);
}

/*
 * In 64-bit code: an aligned access in the page that the stream's last one was in, and of its kind. Nothing but the
 * place in the page is another one. (With no access yet, that kind is none.)
 */
static inline bool open_again(const struct emulation *e, struct emulate_span *span, unsigned segment, uint64_t offset,
                              unsigned size, uint32_t access, const struct emulate_page *known)
{
    hv_gva_t linear = offset + (segment >= HV_EMULATE_FS ? e->state->seg[segment].base : 0);

    if (e->insn.code_size != 8 || known->access != access || (linear ^ known->page) >= HV_PAGE_SIZE ||
        linear & (size - 1))
        return false;
    span->size = span->first = size;
    span->gpa[0] = known->gpa | (linear & HV_PAGE_MASK);
    return true;
}

enum hv_emulate_result emulate_open(struct emulation *e, struct emulate_span *span, unsigned segment, uint64_t offset,
                                    unsigned size, uint32_t access, unsigned stream)
{
    hv_gva_t linear, second;
    enum hv_emulate_result result;

    if (open_again(e, span, segment, offset, size, access, &e->pages[stream]))
        return HV_EMULATE_OK;
    if (!linear_address(e, segment, offset, size, access, &linear))
        return emulate_fault(e, segment == HV_EMULATE_SS ? VEC_SS : VEC_GP, 0);
    if (e->insn.aligned && linear & (size - 1))
        return emulate_fault(e, VEC_GP, 0);
    if (is_misaligned(e, linear, size))
        return emulate_fault(e, VEC_AC, 0);
    span->size = size;
    span->first = (uint32_t)HV_MIN(size, HV_PAGE_SIZE - (linear & HV_PAGE_MASK));
    result = translate(e, linear, access, stream, &span->gpa[0]);
    if (result != HV_EMULATE_OK || span->first == size)
        return result;
    second = linear + span->first;
    if (e->insn.code_size != 8)
        second = (uint32_t)second;
    return translate(e, second, access, stream, &span->gpa[1]);
}

/* --------------------------------------------------------------------------------- the bytes */

/* In pieces of at most 8 bytes that do not cross the pages. */
static enum hv_emulate_result transfer_pieces(struct emulation *e, const struct emulate_span *span, bool is_write,
                                              uint8_t *data)
{
    for (uint32_t at = 0, n; at < span->size; at += n) {
        bool in_first = at < span->first;
        hv_gpa_t gpa = in_first ? span->gpa[0] + at : span->gpa[1] + at - span->first;

        n = HV_MIN((in_first ? span->first : span->size) - at, 8);
        if (!e->ops->memory(e->context, gpa, is_write, n, data + at))
            return HV_EMULATE_MEMORY_FAILED;
    }
    return HV_EMULATE_OK;
}

static inline enum hv_emulate_result transfer(struct emulation *e, const struct emulate_span *span, bool is_write,
                                              uint8_t *data)
{
    if (span->first != span->size || span->size > 8)
        return transfer_pieces(e, span, is_write, data);
    return e->ops->memory(e->context, span->gpa[0], is_write, span->size, data) ? HV_EMULATE_OK
                                                                                : HV_EMULATE_MEMORY_FAILED;
}

enum hv_emulate_result emulate_read(struct emulation *e, const struct emulate_span *span, uint64_t *value)
{
    value[0] = 0;
    if (span->size > 8)
        value[1] = 0;
    return transfer(e, span, false, (uint8_t *)value);
}

enum hv_emulate_result emulate_write(struct emulation *e, const struct emulate_span *span, const uint64_t *value)
{
    uint64_t copy[2] = {value[0], span->size > 8 ? value[1] : 0}; /* callbacks may write to their buffer */

    return transfer(e, span, true, (uint8_t *)copy);
}

/* --------------------------------------------------------------------------- the instruction */

/* SDM 3A 2.2.4; a client may leave LMA out: it follows from LME and paging. */
static unsigned code_size(const struct hv_emulate_state *s)
{
    bool is_long = (s->efer & EFER_LMA) || ((s->efer & EFER_LME) && (s->cr0 & CR0_PG));
    uint16_t cs = s->seg[HV_EMULATE_CS].attributes;

    if (is_long && cs & SEG_L)
        return 8;
    return cs & SEG_DB ? 4 : 2;
}

/* Where the byte `at` of the instruction is, and how many more are known to be in its page and segment. */
static enum hv_emulate_result locate(struct emulation *e, unsigned at, hv_gva_t *linear, unsigned *available)
{
    const struct hv_segment *cs = &e->state->seg[HV_EMULATE_CS];
    uint64_t offset = (e->state->rip + at) & emulate_mask(e->insn.code_size);
    uint64_t left = DECODE_LENGTH_MAX - at;

    *linear = e->insn.code_size == 8 ? offset : (uint32_t)(cs->base + offset);
    if (e->insn.code_size == 8 ? !is_canonical(e, offset) : offset > cs->limit)
        return emulate_fault(e, VEC_GP, 0);
    if (e->insn.code_size != 8)
        left = HV_MIN(left, cs->limit - offset + 1);
    *available = (unsigned)HV_MIN(left, HV_PAGE_SIZE - (*linear & HV_PAGE_MASK));
    return HV_EMULATE_OK;
}

static enum hv_emulate_result fetch_more(struct emulation *e, struct hv_instruction *bytes)
{
    struct emulate_span span = {0};
    hv_gva_t linear = 0;
    unsigned available = 0;
    enum hv_emulate_result result = locate(e, bytes->count, &linear, &available);

    if (result != HV_EMULATE_OK)
        return result;
    result = translate(e, linear, HV_TRANSLATE_EXECUTE, 0, &span.gpa[0]);
    if (result != HV_EMULATE_OK)
        return result;
    span.size = span.first = available;
    result = transfer(e, &span, false, bytes->bytes + bytes->count);
    bytes->count += (uint8_t)available;
    return result;
}

/* Up to three rounds: what is left of the first page, then of the second. */
static enum hv_emulate_result fetch_and_decode(struct emulation *e, const struct hv_instruction *known,
                                               enum decode_status *status)
{
    struct hv_instruction bytes = {.count = (uint8_t)HV_MIN(known->count, DECODE_LENGTH_MAX)};
    unsigned size = e->insn.code_size;

    memcpy(bytes.bytes, known->bytes, bytes.count);
    do {
        enum hv_emulate_result result = fetch_more(e, &bytes);

        if (result != HV_EMULATE_OK)
            return result;
        *status = decode_insn(&e->insn, bytes.bytes, bytes.count, size);
    } while (*status == DECODE_MORE);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_fetch(struct emulation *e, const struct hv_instruction *known)
{
    unsigned size = code_size(e->state);
    enum hv_emulate_result result = HV_EMULATE_OK;
    enum decode_status status = decode_insn(&e->insn, known->bytes, HV_MIN(known->count, DECODE_LENGTH_MAX), size);

    if (status == DECODE_MORE)
        result = fetch_and_decode(e, known, &status);
    if (result != HV_EMULATE_OK || status == DECODE_OK)
        return result;
    if (status == DECODE_UNKNOWN)
        return HV_EMULATE_UNSUPPORTED;
    return emulate_fault(e, status == DECODE_TOO_LONG ? VEC_GP : VEC_UD, 0);
}
