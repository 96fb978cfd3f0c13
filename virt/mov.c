/* SPDX-License-Identifier: MIT */
/*
 * Plain moves. There are 16 bytes to read from, and no form that is known here is longer than 15: so one comparison at
 * the end, of the length, says whether all of its bytes were given.
 */
#include "decode.h"
#include <hv/base/bits.h>
#include <hv/mov.h>

_Static_assert(HV_MOV_RIP == INSN_RIP && HV_MOV_NONE == INSN_NO_REGISTER, "numbers");
_Static_assert(HV_INSTRUCTION_BYTES_MAX > DECODE_LENGTH_MAX, "bytes to read from");

/* What a byte may be where the opcode is expected. The forms of one class stand together. */
enum kind {
    KIND_OTHER, /* nothing that is known here */
    KIND_LOAD,
    KIND_STORE,
    KIND_LOAD_BYTE,
    KIND_STORE_BYTE,
    KIND_ZERO_BYTE, /* MOVZX and MOVSX, after 0F: in the order of their opcodes */
    KIND_ZERO_WORD,
    KIND_SIGN_BYTE,
    KIND_SIGN_WORD,
    KIND_STORE_IMMEDIATE, /* from here on there is more than a ModRM byte and its operand */
    KIND_STORE_IMMEDIATE_BYTE,
    KIND_LOAD_OFFSET, /* an address follows; of the accumulator */
    KIND_STORE_OFFSET,
    KIND_LOAD_OFFSET_BYTE,
    KIND_STORE_OFFSET_BYTE,
    KIND_PREFIX, /* from here on it is no form */
    KIND_ESCAPE,
};

static const uint8_t kinds[256] = {
    [0x0F] = KIND_ESCAPE,
    [0x26] = KIND_PREFIX,
    [0x2E] = KIND_PREFIX,
    [0x36] = KIND_PREFIX,
    [0x3E] = KIND_PREFIX,
    [0x40 ... 0x4F] = KIND_PREFIX,
    [0x64] = KIND_PREFIX,
    [0x65] = KIND_PREFIX,
    [0x66] = KIND_PREFIX,
    [0x88] = KIND_STORE_BYTE,
    [0x89] = KIND_STORE,
    [0x8A] = KIND_LOAD_BYTE,
    [0x8B] = KIND_LOAD,
    [0xA0] = KIND_LOAD_OFFSET_BYTE,
    [0xA1] = KIND_LOAD_OFFSET,
    [0xA2] = KIND_STORE_OFFSET_BYTE,
    [0xA3] = KIND_STORE_OFFSET,
    [0xC6] = KIND_STORE_IMMEDIATE_BYTE,
    [0xC7] = KIND_STORE_IMMEDIATE,
};

#define SEG_SS 2
#define SEG_DS 3

/* What is known of a form by its opcode alone: what else there is is put over it. */
#define FORM(bytes, reg_bytes) \
    .size = (bytes), .reg_size = (reg_bytes), .segment = SEG_DS, .base = HV_MOV_NONE, .index = HV_MOV_NONE

static const struct hv_mov forms[KIND_PREFIX] = {
    [KIND_LOAD] = {FORM(4, 4)},
    [KIND_STORE] = {FORM(4, 4), .is_store = true},
    [KIND_LOAD_BYTE] = {FORM(1, 1)},
    [KIND_STORE_BYTE] = {FORM(1, 1), .is_store = true},
    [KIND_ZERO_BYTE] = {FORM(1, 4)},
    [KIND_ZERO_WORD] = {FORM(2, 4)},
    [KIND_SIGN_BYTE] = {FORM(1, 4), .sign_extends = true},
    [KIND_SIGN_WORD] = {FORM(2, 4), .sign_extends = true},
    [KIND_STORE_IMMEDIATE] = {FORM(4, 4), .is_store = true, .is_immediate = true},
    [KIND_STORE_IMMEDIATE_BYTE] = {FORM(1, 1), .is_store = true, .is_immediate = true},
    [KIND_LOAD_OFFSET] = {FORM(4, 4)},
    [KIND_STORE_OFFSET] = {FORM(4, 4), .is_store = true},
    [KIND_LOAD_OFFSET_BYTE] = {FORM(1, 1)},
    [KIND_STORE_OFFSET_BYTE] = {FORM(1, 1), .is_store = true},
};

#define NO_SEGMENT 0xFFu

/* What stands before the opcode. */
struct prefixes {
    unsigned rex, operand_size, segment;
};

/* ------------------------------------------------------------------------------------- operands */

/* Little-endian numbers. */
struct __attribute__((packed)) unaligned16 {
    int16_t value;
};
struct __attribute__((packed)) unaligned32 {
    int32_t value;
};
struct __attribute__((packed)) unaligned64 {
    int64_t value;
};

static inline int64_t number16(const uint8_t *at)
{
    return ((const struct unaligned16 *)at)->value;
}

static inline int64_t number32(const uint8_t *at)
{
    return ((const struct unaligned32 *)at)->value;
}

#define RSP 4
#define RBP 5

/* Returns the base's number in its byte. */
static inline unsigned take_sib(struct hv_mov *m, uint8_t sib, unsigned rex)
{
    unsigned index = (sib >> 3 & 7u) | (rex & INSN_REX_X ? 8 : 0);

    m->shift = sib >> 6;
    if (index != RSP)
        m->index = (uint8_t)index;
    return sib & 7;
}

/* SDM 2 tables 2-2 and 2-3; see memory32 in decode.c. Returns what is behind it. */
static inline const uint8_t *take_memory(struct hv_mov *m, const uint8_t *at, unsigned modrm, unsigned rex,
                                         unsigned code_size)
{
    unsigned mod = modrm >> 6, base = modrm & 7;
    bool has_sib = base == RSP;

    if (has_sib)
        base = take_sib(m, *at++, rex);
    if (mod == 0 && base == RBP) {
        if (code_size == 8 && !has_sib)
            m->base = HV_MOV_RIP;
        m->displacement = number32(at);
        return at + 4;
    }
    base |= rex & INSN_REX_B ? 8 : 0;
    m->base = (uint8_t)base;
    if ((base | 1) == RBP) /* addresses made with it or RSP are the stack's, if nothing else is said */
        m->segment = SEG_SS;
    if (mod == 0)
        return at;
    m->displacement = mod == 1 ? (*at ^ 0x80) - 0x80 : number32(at); /* with its sign */
    return at + (mod == 1 ? 1 : 4);
}

static inline const uint8_t *take_offset(struct hv_mov *m, const uint8_t *at, unsigned code_size)
{
    m->displacement = code_size == 8 ? ((const struct unaligned64 *)at)->value : (uint32_t)number32(at);
    return at + code_size;
}

/* At most 4 bytes, sign-extended. */
static inline const uint8_t *take_immediate(struct hv_mov *m, const uint8_t *at)
{
    unsigned size = HV_MIN(m->size, 4);
    int64_t value = size == 4 ? number32(at) : size == 2 ? number16(at) : (int8_t)*at;

    m->immediate = (uint64_t)value & ~0ull >> (64 - 8 * m->size);
    return at + size;
}

/* Without REX byte registers 4 to 7 are AH, CH, DH and BH. */
static inline void set_register(struct hv_mov *m, unsigned reg, unsigned rex)
{
    m->reg = (uint8_t)reg;
    if (m->reg_size == 1 && reg >= 4 && !rex) {
        m->reg = (uint8_t)(reg - 4);
        m->reg_shift = 8;
    }
}

/* Those of 4 bytes are of 2 or 8 by a prefix. */
static inline void set_size(struct hv_mov *m, unsigned operand_size)
{
    m->size = (uint8_t)(m->size == 4 ? operand_size : m->size);
    m->reg_size = (uint8_t)(m->reg_size == 4 ? operand_size : m->reg_size);
}

/* Returns what is behind the operands; NULL: none in memory, or a constant's opcode with another ModRM.reg than 0. */
static inline const uint8_t *take_modrm(struct hv_mov *m, const uint8_t *at, enum kind kind, unsigned rex,
                                        unsigned code_size)
{
    unsigned modrm = *at;

    if (modrm >= 0xC0 || (kind >= KIND_STORE_IMMEDIATE && modrm & 0x38))
        return NULL;
    set_register(m, (modrm >> 3 & 7) | (rex & INSN_REX_R ? 8 : 0), rex);
    at = take_memory(m, at + 1, modrm, rex, code_size);
    return kind >= KIND_STORE_IMMEDIATE ? take_immediate(m, at) : at;
}

/* ---------------------------------------------------------------------------------- instructions */

static inline bool is_form(enum kind kind)
{
    return kind - 1u < KIND_PREFIX - 1u;
}

/* MOVZX and MOVSX, by the byte after 0F. */
static inline enum kind extension(uint8_t opcode)
{
    if ((opcode & 0xF6) != 0xB6)
        return KIND_OTHER;
    return (enum kind)(KIND_ZERO_BYTE + (opcode & 1) + (opcode >> 2 & 2));
}

/* What follows the opcode; returns what is behind it all. Made twice: without prefixes there is little to do. */
static inline __attribute__((always_inline)) const uint8_t *take(struct hv_mov *m, const uint8_t *at, enum kind kind,
                                                                 const struct prefixes p, unsigned code_size)
{
    __builtin_memcpy(m, &forms[kind], offsetof(struct hv_mov, displacement));
    m->displacement = 0;
    m->code_size = (uint8_t)code_size;
    set_size(m, p.operand_size);
    at = kind < KIND_LOAD_OFFSET ? take_modrm(m, at, kind, p.rex, code_size) : take_offset(m, at, code_size);
    if (p.segment != NO_SEGMENT)
        m->segment = (uint8_t)p.segment;
    return at;
}

static inline bool is_complete(struct hv_mov *m, const uint8_t *begin, const uint8_t *end, unsigned count)
{
    m->length = (uint8_t)(end - begin);
    return end && m->length <= count;
}

/* In 64-bit code those of ES, CS, SS and DS would say nothing. */
static unsigned segment_of(uint8_t prefix, unsigned code_size)
{
    if (prefix >= 0x64)
        return prefix - 0x60u;
    return code_size == 8 ? NO_SEGMENT : prefix >> 3 & 3;
}

/* Whatever does not begin with a form's opcode. Each prefix is there once, and a REX, which is none but in 64-bit code,
 * right before the opcode. */
static __attribute__((noinline)) bool take_prefixed(struct hv_mov *m, const uint8_t *bytes, unsigned count,
                                                    unsigned code_size)
{
    struct prefixes p = {0, 4, NO_SEGMENT};
    const uint8_t *at = bytes;
    enum kind kind;

    for (; kinds[*at] == KIND_PREFIX && *at >> 4 != 4; at++) {
        bool is_size = *at == 0x66;
        unsigned segment = is_size ? p.segment : segment_of(*at, code_size);

        if (is_size ? p.operand_size == 2 : p.segment != NO_SEGMENT || segment == NO_SEGMENT)
            return false;
        p.segment = segment;
        p.operand_size = is_size ? 2 : p.operand_size;
    }
    if (*at >> 4 == 4 && code_size == 8) {
        p.rex = *at++;
        p.operand_size = p.rex & INSN_REX_W ? 8 : p.operand_size;
    }
    kind = (enum kind)kinds[*at++];
    if (kind == KIND_ESCAPE)
        kind = extension(*at++);
    return is_form(kind) && is_complete(m, bytes, take(m, at, kind, p, code_size), count);
}

bool hv_mov_decode(struct hv_mov *out, const uint8_t bytes[HV_INSTRUCTION_BYTES_MAX], unsigned count,
                   unsigned code_size)
{
    const struct prefixes none = {0, 4, NO_SEGMENT};
    enum kind kind = (enum kind)kinds[bytes[0]];

    if (code_size == 2)
        return false;
    if (!is_form(kind))
        return take_prefixed(out, bytes, count, code_size);
    return is_complete(out, bytes, take(out, bytes + 1, kind, none, code_size), count);
}

/* Not inlined: so that what calls it keeps its values in registers for the most usual size. */
__attribute__((noinline)) uint64_t hv_mov_loaded_other(const struct hv_mov *mov, uint64_t before, uint64_t value)
{
    unsigned unused = 64 - 8 * mov->size;
    uint64_t mask = ~0ull >> (64 - 8 * mov->reg_size);

    value = mov->sign_extends ? (uint64_t)((int64_t)(value << unused) >> unused) : value << unused >> unused;
    value &= mask;
    return mov->reg_size >= 4 ? value : (before & ~(mask << mov->reg_shift)) | value << mov->reg_shift;
}
