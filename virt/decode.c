/* SPDX-License-Identifier: MIT */
/*
 * The decoder: prefixes, opcode, ModRM and SIB, displacement, immediate, in this order as the SDM has it (volume 2,
 * chapter 2). Each byte is looked at once; none beyond the count given or the 15th is.
 */
#include "decode_tables.h"
#include <hv/base/bits.h>

/* One decoding under way. */
struct decoding {
    struct insn *insn;
    const uint8_t *bytes;
    unsigned count, at;
    enum decode_status status; /* why a byte could not be had */
    struct decode_row row;
};

#define MODRM_MOD BITS32(7, 6)
#define MODRM_REG BITS32(5, 3)
#define MODRM_RM  BITS32(2, 0)

#define MOD_REGISTER 3

/* The next byte; 0 when there is none, and then the decoding has failed. */
static uint8_t next(struct decoding *d)
{
    if (d->at < d->count && d->at < DECODE_LENGTH_MAX)
        return d->bytes[d->at++];
    d->status = d->at < DECODE_LENGTH_MAX ? DECODE_MORE : DECODE_TOO_LONG;
    return 0;
}

/* A little-endian number of 0 to 8 bytes. */
static uint64_t number(struct decoding *d, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size && d->status == DECODE_OK; i++)
        value |= (uint64_t)next(d) << (8 * i);
    return value;
}

static int64_t signed_number(struct decoding *d, unsigned size)
{
    unsigned unused = 64 - 8 * size;

    return size ? (int64_t)(number(d, size) << unused) >> unused : 0;
}

/* ------------------------------------------------------------------------ prefixes and opcode */

#define REP_PREFIXES (INSN_REPNE | INSN_REP)

/* In 64-bit code only FS and GS can be asked for. */
static void take_override(struct insn *insn, uint8_t segment)
{
    if (insn->code_size == 8 && segment < 4)
        return;
    insn->prefixes |= INSN_SEGMENT;
    insn->segment = segment;
}

static void take_prefix(struct insn *insn, const struct decode_row *row)
{
    if (row->dst == INSN_SEGMENT) {
        take_override(insn, row->src);
        return;
    }
    if (row->dst & REP_PREFIXES)
        insn->prefixes &= (uint8_t)~REP_PREFIXES;
    insn->prefixes |= row->dst;
}

/* A REX prefix counts only right before the opcode. Its opcodes are INC and DEC in other code, which is not known. */
static const struct decode_row *take_prefixes(struct decoding *d)
{
    struct insn *insn = d->insn;

    for (;;) {
        const struct decode_row *row;

        insn->opcode = next(d);
        row = &decode_one_byte[insn->opcode];
        if (d->status != DECODE_OK)
            return row;
        if (row->op == INSN_PREFIX) {
            take_prefix(insn, row);
            insn->rex = 0;
        } else if (row->op == INSN_REX && insn->code_size == 8) {
            insn->rex = insn->opcode;
        } else {
            return row;
        }
    }
}

static const struct decode_row *take_opcode(struct decoding *d)
{
    static const struct decode_row *const maps[] = {
        [INSN_MAP_0F] = decode_0f,
        [INSN_MAP_0F38] = decode_0f38,
    };
    const struct decode_row *row = take_prefixes(d);

    while (row->op == INSN_ESCAPE && d->status == DECODE_OK) {
        d->insn->map = row->rm_size;
        d->insn->opcode = next(d);
        row = &maps[d->insn->map][d->insn->opcode];
    }
    return row;
}

/* F2 and F3 come before 66. */
static unsigned mandatory_prefix(const struct insn *insn)
{
    if (insn->prefixes & INSN_REP)
        return 2;
    if (insn->prefixes & INSN_REPNE)
        return 3;
    return insn->prefixes & INSN_OPERAND_SIZE ? 1 : 0;
}

static void choose_row(struct decoding *d, const struct decode_row *row)
{
    if (row->op == INSN_BY_PREFIX)
        row = &decode_sets[row->rm_size][mandatory_prefix(d->insn)];
    d->row = *row;
    if (!(row->flags & ROW_MODRM))
        return;
    d->insn->modrm = next(d);
    if (row->op != INSN_GROUP)
        return;
    d->row = decode_groups[row->rm_size][FIELD_GET(MODRM_REG, d->insn->modrm)];
    d->row.flags |= row->flags;
    if (d->row.dst == OPERAND_NONE) {
        d->row.dst = row->dst;
        d->row.src = row->src;
    }
}

/* ------------------------------------------------------------------------------------ sizes */

static unsigned operand_size(const struct insn *insn, unsigned flags)
{
    bool other = (insn->prefixes & INSN_OPERAND_SIZE) != 0;

    if (flags & ROW_BYTE)
        return 1;
    if (flags & ROW_CREG)
        return insn->code_size == 8 ? 8 : 4;
    if (insn->rex & INSN_REX_W)
        return flags & ROW_MAX32 ? 4 : 8;
    if (flags & ROW_D32)
        return 4;
    if (insn->code_size == 2)
        return other ? 4 : 2;
    if (other)
        return 2;
    return insn->code_size == 8 && flags & ROW_D64 ? 8 : 4;
}

static unsigned address_size(const struct insn *insn)
{
    bool other = (insn->prefixes & INSN_ADDRESS_SIZE) != 0;

    if (insn->code_size == 8)
        return other ? 4 : 8;
    return (insn->code_size == 4) == other ? 2 : 4;
}

static void set_sizes(struct insn *insn, const struct decode_row *row)
{
    unsigned size = operand_size(insn, row->flags);

    insn->address_size = (uint8_t)address_size(insn);
    insn->operand_size = (uint8_t)size;
    insn->rm_size = row->rm_size ? row->rm_size : (uint8_t)size;
    if (row->op == INSN_MOVSX && insn->rm_size > size)
        insn->rm_size = (uint8_t)size; /* MOVSXD without REX.W is a MOV */
    if (row->flags & ROW_DOUBLE)
        insn->rm_size = (uint8_t)(size * 2);
    if (row->dst == OPERAND_XMM || row->src == OPERAND_XMM)
        insn->operand_size = insn->rm_size;
}

/* -------------------------------------------------------------------------- memory operands */

#define RBX 3
#define RSP 4
#define RBP 5
#define RSI 6
#define RDI 7

#define NO INSN_NO_REGISTER

/* SDM 2 table 2-1: base and index by ModRM.rm */
static const uint8_t forms16[8][2] = {{RBX, RSI}, {RBX, RDI}, {RBP, RSI}, {RBP, RDI},
                                      {RSI, NO},  {RDI, NO},  {RBP, NO},  {RBX, NO}};

static void memory16(struct decoding *d)
{
    struct insn *insn = d->insn;
    unsigned mod = (unsigned)FIELD_GET(MODRM_MOD, insn->modrm);
    unsigned rm = (unsigned)FIELD_GET(MODRM_RM, insn->modrm);

    insn->base = forms16[rm][0];
    insn->index = forms16[rm][1];
    if (mod == 0 && rm == 6) { /* an address instead of [BP] */
        insn->base = NO;
        mod = 2;
    }
    insn->displacement = signed_number(d, mod);
}

static void take_sib(struct decoding *d)
{
    struct insn *insn = d->insn;
    uint8_t sib = next(d); /* fields as in ModRM: scale, index, base */

    insn->scale = (uint8_t)(1u << FIELD_GET(MODRM_MOD, sib));
    insn->index = (uint8_t)(FIELD_GET(MODRM_REG, sib) | (insn->rex & INSN_REX_X ? 8 : 0));
    if (insn->index == RSP)
        insn->index = NO;
    insn->base = (uint8_t)FIELD_GET(MODRM_RM, sib);
}

/* SDM 2 tables 2-2 and 2-3. What rm 4 and 5 mean does not depend on REX.B. */
static void memory32(struct decoding *d)
{
    struct insn *insn = d->insn;
    unsigned mod = (unsigned)FIELD_GET(MODRM_MOD, insn->modrm);
    bool has_sib;

    insn->base = (uint8_t)FIELD_GET(MODRM_RM, insn->modrm);
    has_sib = insn->base == RSP;
    if (has_sib)
        take_sib(d);
    if (mod == 0 && insn->base == RBP) {
        insn->base = insn->code_size == 8 && !has_sib ? INSN_RIP : NO;
        mod = 2;
    } else if (insn->rex & INSN_REX_B) {
        insn->base |= 8;
    }
    insn->displacement = signed_number(d, mod == 2 ? 4 : mod);
}

static void take_modrm(struct decoding *d)
{
    struct insn *insn = d->insn;

    insn->reg = (uint8_t)(FIELD_GET(MODRM_REG, insn->modrm) | (insn->rex & INSN_REX_R ? 8 : 0));
    insn->rm = (uint8_t)(FIELD_GET(MODRM_RM, insn->modrm) | (insn->rex & INSN_REX_B ? 8 : 0));
    insn->is_memory = FIELD_GET(MODRM_MOD, insn->modrm) != MOD_REGISTER && !(d->row.flags & ROW_CREG);
    if (!insn->is_memory)
        return;
    if (insn->address_size == 2)
        memory16(d);
    else
        memory32(d);
}

/* Addresses made with BP or SP are the stack's, if nothing else is said. */
static void default_segment(struct insn *insn)
{
    bool stack = insn->is_memory && (insn->base == RBP || insn->base == RSP);

    if (!(insn->prefixes & INSN_SEGMENT))
        insn->segment = stack ? 2 : 3;
}

/* ------------------------------------------------------------------------------ the rest */

static bool is_operand(const struct decode_row *row, uint8_t operand)
{
    return row->dst == operand || row->src == operand;
}

static void take_immediate(struct decoding *d)
{
    const struct decode_row *row = &d->row;

    if (row->flags & ROW_IMM8 || is_operand(row, OPERAND_IMM8))
        d->insn->immediate = (uint64_t)signed_number(d, 1);
    else if (row->flags & ROW_IMM || is_operand(row, OPERAND_IMM))
        d->insn->immediate = (uint64_t)signed_number(d, HV_MIN(d->insn->operand_size, 4));
}

static void take_operands(struct decoding *d)
{
    const struct decode_row *row = &d->row;
    struct insn *insn = d->insn;

    insn->op = row->op;
    insn->dst = row->dst;
    insn->src = row->src;
    insn->aligned = (row->flags & ROW_ALIGN) != 0;
    insn->shift_by_cl = (row->flags & ROW_CL) != 0;
    set_sizes(insn, row);
    if (row->flags & ROW_MODRM) {
        take_modrm(d);
    } else if (row->flags & ROW_MOFFS) {
        insn->is_memory = true;
        insn->displacement = (int64_t)number(d, insn->address_size);
    } else if (is_operand(row, OPERAND_OPCODE)) {
        insn->rm = (uint8_t)((insn->opcode & 7) | (insn->rex & INSN_REX_B ? 8 : 0));
    } else if (is_operand(row, OPERAND_SEGMENT)) {
        insn->reg = insn->opcode >> 3 & 7; /* PUSH */
    }
    if (row->flags & ROW_SREG)
        insn->reg &= 7; /* SDM 2, 2.2.1.2: REX.R does not count */
    if (row->flags & ROW_CREG && insn->prefixes & INSN_LOCK && insn->reg == 0)
        insn->reg = 8; /* APM 3, MOV (CRn): where REX can not say it */
    if (row->flags & ROW_SREG && insn->is_memory)
        insn->operand_size = insn->rm_size = 2;
    if (insn->is_memory || is_operand(row, OPERAND_STRING))
        insn->memory_size = insn->rm_size;
    if (insn->op == INSN_CMPXCHG8B && insn->memory_size == 16)
        insn->aligned = true;
    default_segment(insn);
    take_immediate(d);
}

/* SDM 2, LOCK: these, when their destination is memory. And where it means CR8. */
static bool can_lock(const struct insn *insn)
{
    static const bool ops[INSN_OP_COUNT] = {
        [INSN_ADD] = true,  [INSN_OR] = true,      [INSN_ADC] = true,       [INSN_SBB] = true, [INSN_AND] = true,
        [INSN_SUB] = true,  [INSN_XOR] = true,     [INSN_NOT] = true,       [INSN_NEG] = true, [INSN_INC] = true,
        [INSN_DEC] = true,  [INSN_BTS] = true,     [INSN_BTR] = true,       [INSN_BTC] = true, [INSN_XADD] = true,
        [INSN_XCHG] = true, [INSN_CMPXCHG] = true, [INSN_CMPXCHG8B] = true,
    };

    if (insn->op == INSN_MOV_TO_CR || insn->op == INSN_MOV_FROM_CR)
        return insn->reg == 8 && !(insn->rex & INSN_REX_R);
    return ops[insn->op] && insn->is_memory && insn->dst == OPERAND_RM;
}

/* SDM 2, MOV: 6 and 7 are no segment registers. */
static bool names_no_segment(const struct decoding *d)
{
    return d->row.flags & ROW_SREG && d->insn->reg > 5;
}

/* SDM 2, MOV: there are CR0, CR2, CR3, CR4 and CR8. */
static bool names_no_control(const struct decoding *d)
{
    return d->row.flags & ROW_CREG && !(BIT32(d->insn->reg) & (BIT32(0) | BIT32(2) | BIT32(3) | BIT32(4) | BIT32(8)));
}

static bool is_known(const struct decoding *d)
{
    unsigned flags = d->row.flags;

    if (d->row.op == INSN_NONE || d->row.op >= INSN_OP_COUNT)
        return false;
    return !(flags & (d->insn->code_size == 8 ? ROW_NO64 : ROW_ONLY64));
}

enum decode_status decode_insn(struct insn *out, const uint8_t *bytes, unsigned count, unsigned code_size)
{
    struct decoding d = {.insn = out, .bytes = bytes, .count = count, .status = DECODE_OK};

    *out = (struct insn){.code_size = (uint8_t)code_size, .base = NO, .index = NO, .scale = 1};
    choose_row(&d, take_opcode(&d));
    if (d.status != DECODE_OK)
        return d.status;
    if (!is_known(&d))
        return DECODE_UNKNOWN;
    take_operands(&d);
    if (d.status != DECODE_OK)
        return d.status;
    if (d.row.flags & ROW_MEMORY && !out->is_memory)
        return DECODE_UNKNOWN;
    if ((out->prefixes & INSN_LOCK && !can_lock(out)) || names_no_segment(&d) || names_no_control(&d))
        return DECODE_UNDEFINED;
    out->length = (uint8_t)d.at;
    return DECODE_OK;
}
