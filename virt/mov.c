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

/* What a byte may be where the opcode is expected; 0: nothing that is known here. */
#define MODRM     0x01u
#define OFFSET    0x02u /* an address follows; of the accumulator */
#define STORE     0x04u
#define BYTE      0x08u
#define IMMEDIATE 0x10u
#define PREFIX    0x20u
#define ESCAPE    0x40u

static const uint8_t kinds[256] = {
    [0x0F] = ESCAPE,
    [0x26] = PREFIX,
    [0x2E] = PREFIX,
    [0x36] = PREFIX,
    [0x3E] = PREFIX,
    [0x40 ... 0x4F] = PREFIX,
    [0x64] = PREFIX,
    [0x65] = PREFIX,
    [0x66] = PREFIX,
    [0x88] = MODRM | STORE | BYTE,
    [0x89] = MODRM | STORE,
    [0x8A] = MODRM | BYTE,
    [0x8B] = MODRM,
    [0xA0] = OFFSET | BYTE,
    [0xA1] = OFFSET,
    [0xA2] = OFFSET | STORE | BYTE,
    [0xA3] = OFFSET | STORE,
    [0xC6] = MODRM | STORE | IMMEDIATE | BYTE,
    [0xC7] = MODRM | STORE | IMMEDIATE,
};

#define NO_SEGMENT 0xFFu

/* The instruction up to its opcode. */
struct head {
    const uint8_t *at; /* behind it */
    unsigned kind, rex, operand_size, segment;
};

/* ------------------------------------------------------------------------------------ prefixes */

/* In 64-bit code those of ES, CS, SS and DS would say nothing. */
static unsigned segment_of(uint8_t prefix, unsigned code_size)
{
    if (prefix >= 0x64)
        return prefix - 0x60u;
    return code_size == 8 ? NO_SEGMENT : prefix >> 3 & 3;
}

/* One that is there twice, a REX that does not stand right before the opcode or is INC or DEC: kind 0. */
static __attribute__((noinline)) void take_prefixes(struct head *h, unsigned code_size)
{
    uint8_t byte = h->at[-1];

    for (; kinds[byte] == PREFIX && byte >> 4 != 4; byte = *h->at++) {
        bool is_size = byte == 0x66;
        unsigned segment = is_size ? h->segment : segment_of(byte, code_size);

        if (is_size ? h->operand_size == 2 : h->segment != NO_SEGMENT || segment == NO_SEGMENT) {
            h->kind = 0;
            return;
        }
        h->segment = segment;
        h->operand_size = is_size ? 2 : h->operand_size;
    }
    if (byte >> 4 == 4 && code_size == 8) {
        h->rex = byte;
        h->operand_size = byte & INSN_REX_W ? 8 : h->operand_size;
        byte = *h->at++;
    }
    h->kind = kinds[byte] & PREFIX ? 0 : kinds[byte];
}

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

/* SDM 2 tables 2-2 and 2-3; see memory32 in decode.c. Returns what is behind it. */
static const uint8_t *take_memory(struct hv_mov *m, const uint8_t *at, unsigned modrm, unsigned rex)
{
    unsigned mod = modrm >> 6, base = modrm & 7;
    bool has_sib = base == RSP;

    m->index = HV_MOV_NONE;
    if (has_sib) {
        uint8_t sib = *at++, index = (uint8_t)((sib >> 3 & 7) | (rex & INSN_REX_X ? 8 : 0));

        base = sib & 7;
        m->shift = sib >> 6;
        m->index = index == RSP ? HV_MOV_NONE : index;
    }
    m->base = (uint8_t)(base | (rex & INSN_REX_B ? 8 : 0));
    if (mod == 1) {
        m->displacement = (*at ^ 0x80) - 0x80; /* with its sign */
        return at + 1;
    }
    if (mod == 0 && base == RBP)
        m->base = m->code_size == 8 && !has_sib ? HV_MOV_RIP : HV_MOV_NONE;
    else if (mod == 0) {
        m->displacement = 0;
        return at;
    }
    m->displacement = number32(at);
    return at + 4;
}

static const uint8_t *take_offset(struct hv_mov *m, const uint8_t *at)
{
    m->reg = 0;
    m->base = m->index = HV_MOV_NONE;
    m->displacement = m->code_size == 8 ? ((const struct unaligned64 *)at)->value : (uint32_t)number32(at);
    return at + m->code_size;
}

/* At most 4 bytes, sign-extended. */
static const uint8_t *take_immediate(struct hv_mov *m, const uint8_t *at)
{
    unsigned size = HV_MIN(m->size, 4);
    int64_t value = size == 4 ? number32(at) : size == 2 ? number16(at) : (int8_t)*at;

    m->immediate = (uint64_t)value & ~0ull >> (64 - 8 * m->size);
    return at + size;
}

/* Without REX byte registers 4 to 7 are AH, CH, DH and BH. */
static void set_register(struct hv_mov *m, unsigned rex)
{
    bool is_high = m->reg_size == 1 && m->reg >= 4 && !rex;

    m->reg_shift = is_high ? 8 : 0;
    m->reg = (uint8_t)(is_high ? m->reg - 4 : m->reg);
}

/* MOVZX and MOVSX, after 0F. False: something else. */
static bool take_extension(struct hv_mov *m, struct head *h)
{
    uint8_t opcode = *h->at++;

    if ((opcode & 0xF6) != 0xB6)
        return false;
    m->size = opcode & 1 ? 2 : 1;
    m->sign_extends = opcode & 8;
    h->kind = MODRM;
    return true;
}

/* Addresses made with RBP or RSP are the stack's, if nothing else is said. */
static void set_segment(struct hv_mov *m, unsigned segment)
{
    bool is_stack = m->base == RSP || m->base == RBP;

    m->segment = (uint8_t)(segment != NO_SEGMENT ? segment : is_stack ? 2 : 3);
}

/* False: no operand in memory, or a constant's opcode with another ModRM.reg than 0. */
static bool take_operands(struct hv_mov *m, struct head *h)
{
    unsigned modrm = *h->at;

    if (h->kind & MODRM) {
        m->reg = (uint8_t)((modrm >> 3 & 7) | (h->rex & INSN_REX_R ? 8 : 0));
        if (modrm >= 0xC0 || (h->kind & IMMEDIATE && modrm & 0x38))
            return false;
        h->at = take_memory(m, h->at + 1, modrm, h->rex);
    } else {
        h->at = take_offset(m, h->at);
    }
    if (h->kind & IMMEDIATE)
        h->at = take_immediate(m, h->at);
    set_register(m, h->rex);
    set_segment(m, h->segment);
    return true;
}

bool hv_mov_decode(struct hv_mov *out, const struct hv_instruction *bytes, unsigned code_size)
{
    struct head h = {bytes->bytes + 1, kinds[bytes->bytes[0]], 0, 4, NO_SEGMENT};

    if (code_size == 2)
        return false;
    if (h.kind & PREFIX)
        take_prefixes(&h, code_size);
    if (!h.kind)
        return false;
    out->code_size = (uint8_t)code_size;
    out->reg_size = out->size = (uint8_t)(h.kind & BYTE ? 1 : h.operand_size);
    out->sign_extends = false;
    if (h.kind & ESCAPE && !take_extension(out, &h))
        return false;
    out->is_store = h.kind & STORE;
    out->is_immediate = h.kind & IMMEDIATE;
    if (!take_operands(out, &h))
        return false;
    out->length = (uint8_t)(h.at - bytes->bytes);
    return out->length <= bytes->count;
}
