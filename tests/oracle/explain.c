/* SPDX-License-Identifier: MIT */
/*
 * The rules for comparing: which flags the manual leaves undefined, which instructions the emulator promises, and the
 * differences that are explained. "SDM" is Intel's Software Developer's Manual, volume and section or instruction.
 */
#include "memory.h"
#include "oracle.h"
#include <stdio.h>
#include <string.h>

#define CF 0x001u
#define PF 0x004u
#define AF 0x010u
#define ZF 0x040u
#define SF 0x080u
#define OF 0x800u

/* ---------------------------------------------------------------------------- undefined flags */

enum when {
    ALWAYS,
    COUNT_NOT_0,
    COUNT_OVER_1,
    COUNT_REACHES_SIZE,
};

struct undefined {
    ZydisMnemonic mnemonic;
    enum when when;
    uint32_t flags;
    const char *manual;
};

#define M(name) ZYDIS_MNEMONIC_##name

static const struct undefined undefined_flags[] = {
    {M(AND), ALWAYS, AF, "SDM 2A, AND: the state of AF is undefined"},
    {M(OR), ALWAYS, AF, "SDM 2B, OR: the state of AF is undefined"},
    {M(XOR), ALWAYS, AF, "SDM 2D, XOR: the state of AF is undefined"},
    {M(TEST), ALWAYS, AF, "SDM 2B, TEST: the state of AF is undefined"},
    {M(MUL), ALWAYS, SF | ZF | AF | PF, "SDM 2B, MUL: SF, ZF, AF and PF are undefined"},
    {M(IMUL), ALWAYS, SF | ZF | AF | PF, "SDM 2A, IMUL: SF is the result's or undefined; ZF, AF and PF are undefined"},
    {M(DIV), ALWAYS, CF | OF | SF | ZF | AF | PF, "SDM 2A, DIV: CF, OF, SF, ZF, AF and PF are undefined"},
    {M(IDIV), ALWAYS, CF | OF | SF | ZF | AF | PF, "SDM 2A, IDIV: CF, OF, SF, ZF, AF and PF are undefined"},
    {M(BT), ALWAYS, OF | SF | AF | PF, "SDM 2A, BT: OF, SF, AF and PF are undefined"},
    {M(BTS), ALWAYS, OF | SF | AF | PF, "SDM 2A, BTS: OF, SF, AF and PF are undefined"},
    {M(BTR), ALWAYS, OF | SF | AF | PF, "SDM 2A, BTR: OF, SF, AF and PF are undefined"},
    {M(BTC), ALWAYS, OF | SF | AF | PF, "SDM 2A, BTC: OF, SF, AF and PF are undefined"},
    {M(BSF), ALWAYS, CF | OF | SF | AF | PF, "SDM 2A, BSF: CF, OF, SF, AF and PF are undefined"},
    {M(BSR), ALWAYS, CF | OF | SF | AF | PF, "SDM 2A, BSR: CF, OF, SF, AF and PF are undefined"},
    {M(SHL), COUNT_NOT_0, AF, "SDM 2B, SHL: for a count other than 0, AF is undefined"},
    {M(SHR), COUNT_NOT_0, AF, "SDM 2B, SHR: for a count other than 0, AF is undefined"},
    {M(SAR), COUNT_NOT_0, AF, "SDM 2B, SAR: for a count other than 0, AF is undefined"},
    {M(SHL), COUNT_OVER_1, OF, "SDM 2B, SHL: OF is defined for shifts by 1 only"},
    {M(SHR), COUNT_OVER_1, OF, "SDM 2B, SHR: OF is defined for shifts by 1 only"},
    {M(SAR), COUNT_OVER_1, OF, "SDM 2B, SAR: OF is defined for shifts by 1 only"},
    {M(SHL), COUNT_REACHES_SIZE, CF, "SDM 2B, SHL: CF is undefined when the count is the operand's size or more"},
    {M(SHR), COUNT_REACHES_SIZE, CF, "SDM 2B, SHR: CF is undefined when the count is the operand's size or more"},
    {M(SHLD), COUNT_NOT_0, AF, "SDM 2B, SHLD: for a count other than 0, AF is undefined"},
    {M(SHRD), COUNT_NOT_0, AF, "SDM 2B, SHRD: for a count other than 0, AF is undefined"},
    {M(SHLD), COUNT_OVER_1, OF, "SDM 2B, SHLD: OF is defined for shifts by 1 only"},
    {M(SHRD), COUNT_OVER_1, OF, "SDM 2B, SHRD: OF is defined for shifts by 1 only"},
    {M(ROL), COUNT_OVER_1, OF, "SDM 2B, RCL/RCR/ROL/ROR: OF is defined for rotates by 1 only"},
    {M(ROR), COUNT_OVER_1, OF, "SDM 2B, RCL/RCR/ROL/ROR: OF is defined for rotates by 1 only"},
    {M(RCL), COUNT_OVER_1, OF, "SDM 2B, RCL/RCR/ROL/ROR: OF is defined for rotates by 1 only"},
    {M(RCR), COUNT_OVER_1, OF, "SDM 2B, RCL/RCR/ROL/ROR: OF is defined for rotates by 1 only"},
};

/* The count of a shift, after the CPU's mask. */
static unsigned count_of(const struct oracle_case *c)
{
    unsigned which = c->insn.mnemonic == M(SHLD) || c->insn.mnemonic == M(SHRD) ? 2 : 1;
    const ZydisDecodedOperand *operand = &c->operand[which];
    uint64_t count = 1;

    if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        count = operand->imm.value.u;
    else if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER)
        count = c->state.gpr[1];
    return count & (c->insn.operand_width == 64 ? 0x3F : 0x1F);
}

uint32_t oracle_undefined_flags(const struct oracle_case *c)
{
    unsigned count = count_of(c);
    const bool applies[] = {
        [ALWAYS] = true,
        [COUNT_NOT_0] = count != 0,
        [COUNT_OVER_1] = count > 1,
        [COUNT_REACHES_SIZE] = count >= c->insn.operand_width,
    };
    uint32_t flags = 0;

    for (unsigned i = 0; i < sizeof undefined_flags / sizeof *undefined_flags; i++)
        if (undefined_flags[i].mnemonic == c->insn.mnemonic && applies[undefined_flags[i].when])
            flags |= undefined_flags[i].flags;
    return flags;
}

/* SDM 2B, SHLD and SHRD: if the count is greater than the operand size, the result is undefined. */
bool oracle_undefined_result(const struct oracle_case *c)
{
    return (c->insn.mnemonic == M(SHLD) || c->insn.mnemonic == M(SHRD)) && count_of(c) > c->insn.operand_width;
}

/* ---------------------------------------------------------------------------- what the emulator promises */

static const ZydisMnemonic promised[] = {
    M(MOV),        M(MOVZX),  M(MOVSX),  M(MOVSXD), M(MOVBE),   M(MOVNTI),  M(ADD),     M(OR),      M(ADC),
    M(SBB),        M(AND),    M(SUB),    M(XOR),    M(CMP),     M(TEST),    M(XCHG),    M(CMPXCHG), M(CMPXCHG8B),
    M(CMPXCHG16B), M(XADD),   M(INC),    M(DEC),    M(NOT),     M(NEG),     M(ROL),     M(ROR),     M(RCL),
    M(RCR),        M(SHL),    M(SHR),    M(SAR),    M(BT),      M(BTS),     M(BTR),     M(BTC),     M(BSF),
    M(BSR),        M(SMSW),   M(PUSH),   M(POP),    M(SETO),    M(SETNO),   M(SETB),    M(SETNB),   M(SETZ),
    M(SETNZ),      M(SETBE),  M(SETNBE), M(SETS),   M(SETNS),   M(SETP),    M(SETNP),   M(SETL),    M(SETNL),
    M(SETLE),      M(SETNLE), M(CMOVO),  M(CMOVNO), M(CMOVB),   M(CMOVNB),  M(CMOVZ),   M(CMOVNZ),  M(CMOVBE),
    M(CMOVNBE),    M(CMOVS),  M(CMOVNS), M(CMOVP),  M(CMOVNP),  M(CMOVL),   M(CMOVNL),  M(CMOVLE),  M(CMOVNLE),
    M(MUL),        M(IMUL),   M(DIV),    M(IDIV),   M(MOVSB),   M(MOVSW),   M(MOVSD),   M(MOVSQ),   M(CMPSB),
    M(CMPSW),      M(CMPSD),  M(CMPSQ),  M(STOSB),  M(STOSW),   M(STOSD),   M(STOSQ),   M(LODSB),   M(LODSW),
    M(LODSD),      M(LODSQ),  M(SCASB),  M(SCASW),  M(SCASD),   M(SCASQ),   M(INSB),    M(INSW),    M(INSD),
    M(OUTSB),      M(OUTSW),  M(OUTSD),  M(IN),     M(OUT),     M(MOVUPS),  M(MOVUPD),  M(MOVAPS),  M(MOVAPD),
    M(MOVDQU),     M(MOVDQA), M(MOVQ),   M(MOVD),   M(MOVNTDQ), M(MOVNTPS), M(MOVNTPD),
};

/* include/hv/emulate.h: forms with a memory operand or a port. Not MMX, not VEX, no loads of segment registers. */
bool oracle_is_promised(const struct oracle_case *c)
{
    bool port = c->insn.mnemonic == M(IN) || c->insn.mnemonic == M(OUT);

    if (!c->decoded || c->insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || (!port && !oracle_has_memory(c)))
        return false;
    for (unsigned i = 0; i < c->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &c->operand[i];
        ZydisRegisterClass class = ZydisRegisterGetClass(operand->reg.value);

        if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        if (class == ZYDIS_REGCLASS_MMX || class == ZYDIS_REGCLASS_CONTROL || class == ZYDIS_REGCLASS_DEBUG)
            return false;
        if (class == ZYDIS_REGCLASS_SEGMENT && (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return false;
    }
    for (unsigned i = 0; i < sizeof promised / sizeof *promised; i++)
        if (promised[i] == c->insn.mnemonic)
            return true;
    return false;
}

/* ---------------------------------------------------------------------------- explained differences */

static bool is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* SDM 3A, 6.3 and 6.4: the limit, which way it counts, and what the type allows. */
static bool breaks_segment(const struct oracle_case *c, const struct oracle_access *a)
{
    const struct hv_segment *seg = &c->state.seg[a->seg];
    bool is_code = seg->attributes & 8, writable = !is_code && (seg->attributes & 2);
    uint64_t last = a->offset + a->size - 1;

    if (!a->size || c->mode == ORACLE_LONG64)
        return false;
    if (a->is_write && !writable && c->mode != ORACLE_REAL16)
        return true;
    if (!is_code && (seg->attributes & 4))
        return a->offset <= seg->limit || last > (seg->attributes & 0x4000 ? 0xFFFFFFFF : 0xFFFF);
    return last > seg->limit;
}

static bool breaks_canonical(const struct oracle_case *c, const struct oracle_access *a)
{
    return c->mode == ORACLE_LONG64 && a->size && (!is_canonical(a->linear) || !is_canonical(a->linear + a->size - 1));
}

static bool breaks_alignment(const struct oracle_case *c, const struct oracle_access *a)
{
    switch (c->insn.mnemonic) {
    case M(MOVAPS):
    case M(MOVAPD):
    case M(MOVDQA):
    case M(MOVNTDQ):
    case M(MOVNTPS):
    case M(MOVNTPD):
    case M(MOVNTDQA):
    case M(CMPXCHG16B):
        return a->linear % 16;
    default:
        return false;
    }
}

typedef bool breaks_fn(const struct oracle_case *c, const struct oracle_access *a);

/* Whether a memory operand breaks a rule whose exception is the one that the emulator gives. */
static bool breaks(const struct oracle_case *c, const struct oracle_outcome *ours, breaks_fn *rule, bool stack_fault)
{
    struct oracle_access access;
    struct oracle_case last = *c;

    if (ours->end != ORACLE_FAULT || !ours->fault.has_error_code != (c->mode == ORACLE_REAL16) ||
        ours->fault.error_code)
        return false;
    memcpy(last.state.gpr, ours->gpr, sizeof last.state.gpr); /* of a REP: the iteration that has failed */
    if (oracle_has_rep(c))
        last.state.gpr[1] = 1;
    for (unsigned i = 0; i < c->insn.operand_count; i++)
        if (oracle_access(&last, &c->operand[i], &access) && rule(c, &access) &&
            ours->fault.vector == (stack_fault && access.seg == HV_EMULATE_SS ? 12 : 13))
            return true;
    return false;
}

/* A REP may end before it comes to the operand's end. */
bool oracle_missed_exception(const struct oracle_case *c)
{
    struct oracle_access access;

    for (unsigned i = 0; !oracle_has_rep(c) && i < c->insn.operand_count; i++)
        if (oracle_access(c, &c->operand[i], &access) &&
            (breaks_segment(c, &access) || breaks_canonical(c, &access) || breaks_alignment(c, &access)))
            return true;
    return false;
}

static bool covers_segment(const struct oracle_case *c, const struct oracle_outcome *ours,
                           const struct oracle_outcome *theirs)
{
    (void)theirs;
    return breaks(c, ours, breaks_segment, true);
}

static bool covers_canonical(const struct oracle_case *c, const struct oracle_outcome *ours,
                             const struct oracle_outcome *theirs)
{
    return theirs->end == ORACLE_FAULT && breaks(c, ours, breaks_canonical, true);
}

static bool covers_alignment(const struct oracle_case *c, const struct oracle_outcome *ours,
                             const struct oracle_outcome *theirs)
{
    (void)theirs;
    return breaks(c, ours, breaks_alignment, false);
}

/* Linear addresses have 32 bits outside of 64-bit mode. */
static uint64_t byte_address(const struct oracle_case *c, uint64_t linear)
{
    return c->mode == ORACLE_LONG64 ? linear : (uint32_t)linear;
}

static const uint8_t *byte_at(const struct oracle_case *c, enum oracle_copy copy, uint64_t linear)
{
    return oracle_memory_at(copy, byte_address(c, linear));
}

static uint64_t value_before(const struct oracle_case *c, const struct oracle_access *access)
{
    uint64_t value = 0;

    for (unsigned at = 0; at < access->size && at < 8; at++) {
        const uint8_t *byte = byte_at(c, ORACLE_BEFORE, access->linear + at);

        value |= byte ? (uint64_t)*byte << (8 * at) : 0;
    }
    return value;
}

/* What the CPU shifts out last, and for counts of 1 the overflow: from the manual's pseudocode. */
static uint32_t shifted_flags(const struct oracle_case *c, uint64_t value, unsigned count)
{
    unsigned bits = c->insn.operand_width;
    bool left = c->insn.mnemonic == M(SHL) || c->insn.mnemonic == M(SHLD), carry, overflow;
    int64_t extended = (int64_t)(value << (64 - bits)) >> (64 - bits);
    uint64_t sign = value >> (bits - 1) & 1, next = value >> (bits - 2) & 1;
    uint64_t filled = c->insn.mnemonic == M(SHRD) ? oracle_register(c, c->operand[1].reg.value) & 1 : 0;

    if (left)
        carry = count <= bits && (value >> (bits - count) & 1);
    else
        carry = (c->insn.mnemonic == M(SAR) ? (uint64_t)extended : value) >> (count - 1) & 1;
    overflow = left ? sign != next : c->insn.mnemonic != M(SAR) && sign != filled;
    return (carry ? CF : 0) | (overflow ? OF : 0);
}

/* libunicorn forgets the carry on the way through memory: ours has to be the computed one, all else the same. */
static bool covers_shift(const struct oracle_case *c, const struct oracle_outcome *ours,
                         const struct oracle_outcome *theirs)
{
    bool is_double = c->insn.mnemonic == M(SHLD) || c->insn.mnemonic == M(SHRD);
    bool is_shift = c->insn.mnemonic == M(SHL) || c->insn.mnemonic == M(SHR) || c->insn.mnemonic == M(SAR);
    unsigned count = count_of(c);
    uint32_t undefined = oracle_undefined_flags(c);
    uint64_t different = (ours->rflags ^ theirs->rflags) & ~undefined;
    struct oracle_access access;

    if (!(is_double || is_shift) || !count || ours->end != ORACLE_DONE || theirs->end != ORACLE_DONE ||
        !oracle_access(c, &c->operand[0], &access) || !different || (different & ~(uint64_t)(CF | OF)))
        return false;
    return !((ours->rflags ^ shifted_flags(c, value_before(c, &access), count)) & (CF | OF) & ~undefined);
}

static bool has_prefix(const struct oracle_case *c, uint8_t value)
{
    for (unsigned i = 0; i < c->insn.raw.prefix_count; i++)
        if (c->insn.raw.prefixes[i].value == value)
            return true;
    return false;
}

static bool crosses_page(const struct oracle_access *a, unsigned size)
{
    return a->linear % ORACLE_PAGE + size > ORACLE_PAGE;
}

static bool both_page_faults(const struct oracle_outcome *ours, const struct oracle_outcome *theirs)
{
    return ours->end == ORACLE_FAULT && theirs->end == ORACLE_FAULT && ours->fault.vector == 14 &&
           theirs->fault.vector == 14;
}

/*
 * A write whose second page is not there, or read-only: ours has to have left the first page as it was. Of a REP it is
 * the write of the iteration at which both sides have stopped.
 */
static bool covers_partial_write(const struct oracle_case *c, const struct oracle_outcome *ours,
                                 const struct oracle_outcome *theirs)
{
    struct oracle_access access;
    struct oracle_case last = *c;
    uint64_t differs_at;
    bool covered = false;

    if (!both_page_faults(ours, theirs) || memcmp(ours->gpr, theirs->gpr, sizeof ours->gpr))
        return false;
    memcpy(last.state.gpr, ours->gpr, sizeof last.state.gpr);
    if (oracle_has_rep(c))
        last.state.gpr[1] = 1;
    for (unsigned i = 0; i < c->insn.operand_count; i++) {
        if (!oracle_access(&last, &c->operand[i], &access) || !access.is_write ||
            !crosses_page(&access, c->operand[i].size / 8))
            continue;
        oracle_memory_forgive(access.linear, ORACLE_PAGE - access.linear % ORACLE_PAGE);
        covered = true;
    }
    return covered && !oracle_memory_differs(&differs_at);
}

/* SDM 2B, CMPS and chapter 2 say nothing about which operand is read first: ours is at the source's. */
static bool covers_cmps(const struct oracle_case *c, const struct oracle_outcome *ours,
                        const struct oracle_outcome *theirs)
{
    bool is_cmps = c->insn.mnemonic == M(CMPSB) || c->insn.mnemonic == M(CMPSW) || c->insn.mnemonic == M(CMPSD) ||
                   c->insn.mnemonic == M(CMPSQ);

    return is_cmps && both_page_faults(ours, theirs) && oracle_memory_kind(ours->fault.address) == ORACLE_ABSENT &&
           oracle_memory_kind(theirs->fault.address) == ORACLE_ABSENT &&
           !memcmp(ours->gpr, theirs->gpr, sizeof ours->gpr);
}

static bool covers_partial_load(const struct oracle_case *c, const struct oracle_outcome *ours,
                                const struct oracle_outcome *theirs)
{
    struct oracle_access access;

    return both_page_faults(ours, theirs) && oracle_access(c, &c->operand[1], &access) && access.size == 16 &&
           crosses_page(&access, 16) && !memcmp(ours->xmm, c->xmm, sizeof ours->xmm);
}

/* The flags of 0 - value, from the manual's definitions. */
static bool covers_lock_neg(const struct oracle_case *c, const struct oracle_outcome *ours,
                            const struct oracle_outcome *theirs)
{
    struct oracle_access access;
    uint64_t value, result, sign = 1ull << (c->insn.operand_width - 1);
    uint32_t flags = 0;

    if (c->insn.mnemonic != M(NEG) || !has_prefix(c, 0xF0) || ours->end != ORACLE_DONE || theirs->end != ORACLE_DONE ||
        !oracle_access(c, &c->operand[0], &access))
        return false;
    value = value_before(c, &access);
    result = -value & (sign | (sign - 1));
    flags |= (value ? CF : 0) | (value & 0xF ? AF : 0) | (result ? 0 : ZF) | (result & sign ? SF : 0);
    flags |= (value == sign ? OF : 0) | (__builtin_parity(result & 0xFF) ? 0 : PF);
    return (ours->rflags & (CF | AF | ZF | SF | OF | PF)) == flags;
}

/* Equal: the accumulator is not written, so its upper half does not become 0. */
static bool covers_cmpxchg(const struct oracle_case *c, const struct oracle_outcome *ours,
                           const struct oracle_outcome *theirs)
{
    return c->mode == ORACLE_LONG64 && c->insn.mnemonic == M(CMPXCHG) && c->insn.operand_width == 32 &&
           ours->end == ORACLE_DONE && theirs->end == ORACLE_DONE && (ours->rflags & ZF) &&
           ours->gpr[0] == c->state.gpr[0] && theirs->gpr[0] == (uint32_t)c->state.gpr[0];
}

/* What ours has done is held against the manual here: the bytes of the source the other way round. */
static bool covers_movbe(const struct oracle_case *c, const struct oracle_outcome *ours,
                         const struct oracle_outcome *theirs)
{
    bool is_load = c->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER;
    const ZydisDecodedOperand *reg = &c->operand[is_load ? 0 : 1];
    unsigned number = oracle_register_number(reg->reg.value), bits = c->insn.operand_width;
    struct oracle_access access;
    struct oracle_case after = *c;
    uint64_t swapped, differs_at;

    if (c->insn.mnemonic != M(MOVBE) || theirs->end != ORACLE_FAULT || theirs->fault.vector != 6 ||
        !oracle_access(c, &c->operand[is_load ? 1 : 0], &access))
        return false;
    if (ours->end == ORACLE_FAULT)
        return ours->fault.vector == 14 && oracle_memory_kind(ours->fault.address) != ORACLE_WRITABLE;
    memcpy(after.state.gpr, ours->gpr, sizeof after.state.gpr);
    swapped = __builtin_bswap64(is_load ? value_before(c, &access) : oracle_register(c, reg->reg.value)) >> (64 - bits);
    if (is_load) {
        bool upper = bits == 32 ? ours->gpr[number] >> 32 == 0
                                : bits == 64 || (ours->gpr[number] ^ c->state.gpr[number]) >> 16 == 0;

        return upper && oracle_register(&after, reg->reg.value) == swapped && ours->rflags == c->state.rflags;
    }
    for (unsigned at = 0; at < bits / 8; at++)
        if (*byte_at(c, ORACLE_OURS, access.linear + at) != (uint8_t)(swapped >> (8 * at)))
            return false;
    for (unsigned at = 0; at < bits / 8; at++)
        oracle_memory_forgive(byte_address(c, access.linear + at), 1);
    return !oracle_memory_differs(&differs_at) && !memcmp(ours->gpr, c->state.gpr, sizeof ours->gpr);
}

static bool covers_rip_shift(const struct oracle_case *c, const struct oracle_outcome *ours,
                             const struct oracle_outcome *theirs)
{
    (void)ours, (void)theirs;
    return (c->insn.mnemonic == M(SHLD) || c->insn.mnemonic == M(SHRD)) && c->insn.raw.imm[0].size &&
           c->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
           ZydisRegisterGetClass(c->operand[0].mem.base) == ZYDIS_REGCLASS_IP;
}

/* Ours goes on at 0, as the CPU does; libunicorn finds no memory at 4 GiB. */
static bool covers_wrap(const struct oracle_case *c, const struct oracle_outcome *ours,
                        const struct oracle_outcome *theirs)
{
    struct oracle_access access;

    (void)ours;
    for (unsigned i = 0; c->mode != ORACLE_LONG64 && i < c->insn.operand_count; i++)
        if (oracle_access(c, &c->operand[i], &access) && access.linear + access.size > 0x100000000 &&
            theirs->end == ORACLE_FAULT && theirs->fault.address >= 0x100000000)
            return true;
    return false;
}

static bool covers_movsxd(const struct oracle_case *c, const struct oracle_outcome *ours,
                          const struct oracle_outcome *theirs)
{
    struct oracle_access access;

    return c->insn.mnemonic == M(MOVSXD) && c->insn.operand_width == 16 && ours->end == ORACLE_DONE &&
           theirs->end == ORACLE_FAULT && theirs->fault.vector == 14 && oracle_access(c, &c->operand[1], &access) &&
           crosses_page(&access, 4);
}

static bool covers_cmpxchg8b(const struct oracle_case *c, const struct oracle_outcome *ours,
                             const struct oracle_outcome *theirs)
{
    return (c->insn.mnemonic == M(CMPXCHG8B) || c->insn.mnemonic == M(CMPXCHG16B)) && both_page_faults(ours, theirs) &&
           !memcmp(ours->gpr, c->state.gpr, sizeof ours->gpr) && !oracle_memory_is_changed(ORACLE_OURS);
}

/* Held against the manual here: as much of CR0 as the register takes. */
static bool covers_smsw(const struct oracle_case *c, const struct oracle_outcome *ours,
                        const struct oracle_outcome *theirs)
{
    unsigned number;

    if (c->insn.mnemonic != M(SMSW) || c->operand[0].type != ZYDIS_OPERAND_TYPE_REGISTER || c->insn.operand_width < 32)
        return false;
    number = oracle_register_number(c->operand[0].reg.value);
    return ours->end == ORACLE_DONE && theirs->end == ORACLE_DONE && ours->gpr[number] == c->state.cr0;
}

static struct oracle_difference differences[] = {
    {"segment limits and types", "checks neither limits nor types of segments",
     "SDM 3A, 6.3 and 6.4: #GP(0), #SS(0) for SS", covers_segment, 0},
    {"canonical addresses", "finds no memory there, and gives a page fault",
     "SDM 1, 3.3.7.1: #GP(0), #SS(0) for a reference through SS", covers_canonical, 0},
    {"alignment of 16-byte operands", "does not check it for XMM moves", "SDM 2A, table 2-18 (type 1): #GP(0)",
     covers_alignment, 0},
    {"carry of shifts of memory by CL, of SHLD and SHRD", "loses it when the operand is memory",
     "SDM 2B, SHL, SHLD and SHRD: the last bit shifted out, computed here from the operand", covers_shift, 0},
    {"writes across the end of a page", "has written the first page when the second one faults",
     "SDM 3A, 7.5: a fault leaves the state as before the instruction", covers_partial_write, 0},
    {"CMPXCHG8B that may not write", "has loaded EDX:EAX when the write faults",
     "SDM 3A, 7.5: a fault leaves the state as before the instruction", covers_cmpxchg8b, 0},
    {"order of the reads of CMPS", "reads the destination first",
     "no manual, ours reads the source first: SDM 2A, CMPS leaves it open", covers_cmps, 0},
    {"16-byte loads across the end of a page", "has changed the register when the second page faults",
     "SDM 3A, 7.5: a fault leaves the state as before the instruction", covers_partial_load, 0},
    {"flags of LOCK NEG", "takes them from another value", "SDM 2B, NEG: from the result, computed here",
     covers_lock_neg, 0},
    {"CMPXCHG of equal 32-bit operands", "clears the upper half of RAX",
     "SDM 2A, CMPXCHG: the accumulator is written only if they are not equal", covers_cmpxchg, 0},
    {"MOVSXD with 16-bit operands", "reads 4 bytes, and faults at the end of a page",
     "SDM 2B, MOVSXD r16, r/m16: 2 bytes", covers_movsxd, 0},
    {"MOVBE", "has no such instruction", "SDM 2B, MOVBE: the result is computed here", covers_movbe, 0},
    {"SHLD and SHRD with an immediate and an address relative to RIP", "counts from before the immediate",
     "SDM 2A, 2.2.1.6: RIP of the next instruction", covers_rip_shift, 0},
    {"accesses across 4 GiB", "does not wrap linear addresses at 32 bits", "SDM 1, 3.3.1: 2^32 linear addresses",
     covers_wrap, 0},
    {"SMSW to registers of 32 and 64 bits", "writes 16 bits", "APM 3, SMSW: the low 32 bits of CR0, or all of it",
     covers_smsw, 0},
};

#define DIFFERENCES (sizeof differences / sizeof *differences)

struct oracle_difference *oracle_explained(const struct oracle_case *c, const struct oracle_outcome *ours,
                                           const struct oracle_outcome *theirs)
{
    for (unsigned i = 0; c->decoded && i < DIFFERENCES; i++) {
        if (!differences[i].covers(c, ours, theirs))
            continue;
        differences[i].hits++;
        return &differences[i];
    }
    return NULL;
}

void oracle_print_explanations(void)
{
    for (unsigned i = 0; i < DIFFERENCES; i++) {
        printf("# explained %8lu: %s: libunicorn %s; ours follows %s\n", differences[i].hits, differences[i].name,
               differences[i].unicorn, differences[i].manual);
        differences[i].hits = 0;
    }
}
