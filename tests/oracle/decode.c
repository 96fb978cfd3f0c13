/* SPDX-License-Identifier: MIT */
/* libzydis as a judge: decoders for the four modes, and what the operands of a decoded case mean in its state. */
#include "oracle.h"

static ZydisDecoder decoders[ORACLE_MODES];

void oracle_zydis_open(void)
{
    ZydisDecoderInit(&decoders[ORACLE_REAL16], ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&decoders[ORACLE_PROTECTED16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&decoders[ORACLE_PROTECTED32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&decoders[ORACLE_LONG64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

void oracle_zydis_decode(struct oracle_case *c)
{
    c->decoded =
        ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[c->mode], c->bytes, sizeof c->bytes, &c->insn, c->operand));
}

bool oracle_zydis_lost_displacement(const struct oracle_case *c)
{
    return c->decoded && c->mode == ORACLE_LONG64 && c->insn.address_width == 32 && c->insn.raw.modrm.mod == 0 &&
           c->insn.raw.modrm.rm == 4 && c->insn.raw.sib.base == 5 && c->insn.raw.sib.offset != 0 && c->insn.raw.rex.B;
}

void oracle_zydis_correct(struct oracle_case *c)
{
    if (c->decoded && c->insn.mnemonic == ZYDIS_MNEMONIC_MOVSXD && c->insn.operand_width == 16)
        c->operand[1].size = 16; /* SDM 2B, MOVSXD r16, r/m16 */
    for (unsigned i = 0; oracle_zydis_lost_displacement(c) && i < c->insn.operand_count; i++) {
        ZydisDecodedOperand *operand = &c->operand[i];

        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
            continue;
        operand->mem.base = ZYDIS_REGISTER_NONE;
        operand->mem.disp.value = c->insn.raw.disp.value;
    }
}

unsigned oracle_register_number(ZydisRegister reg)
{
    int id = ZydisRegisterGetId(reg);

    /* of bytes: AL, CL, DL, BL, AH, CH, DH, BH, SPL ... */
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR8)
        return (unsigned)(id < 4 ? id : id - 4);
    return (unsigned)id;
}

uint64_t oracle_register(const struct oracle_case *c, ZydisRegister reg)
{
    uint64_t value;

    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        value = c->state.gpr[oracle_register_number(reg)];
        return (uint8_t)(reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH ? value >> 8 : value);
    case ZYDIS_REGCLASS_GPR16:
        return (uint16_t)c->state.gpr[oracle_register_number(reg)];
    case ZYDIS_REGCLASS_GPR32:
        return (uint32_t)c->state.gpr[oracle_register_number(reg)];
    case ZYDIS_REGCLASS_GPR64:
        return c->state.gpr[oracle_register_number(reg)];
    case ZYDIS_REGCLASS_IP:
        return c->state.rip + c->insn.length;
    default:
        return 0;
    }
}

bool oracle_is_string(const struct oracle_case *c)
{
    return c->insn.meta.category == ZYDIS_CATEGORY_STRINGOP || c->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

bool oracle_has_rep(const struct oracle_case *c)
{
    bool rep = false;

    for (unsigned i = 0; i < c->insn.raw.prefix_count; i++)
        rep |= c->insn.raw.prefixes[i].value == 0xF2 || c->insn.raw.prefixes[i].value == 0xF3;
    return rep && oracle_is_string(c);
}

static uint64_t low_bits(uint64_t value, unsigned bits)
{
    return bits == 64 ? value : value & ((1ull << bits) - 1);
}

static bool is_stack(const ZydisDecodedOperand *operand)
{
    return operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
           ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand->mem.base) == ZYDIS_REGISTER_RSP;
}

static unsigned stack_bits(const struct oracle_case *c)
{
    if (c->mode == ORACLE_LONG64)
        return 64;
    return c->state.seg[HV_EMULATE_SS].attributes & 0x4000 ? 32 : 16;
}

/* How far from its address a bit string's word is: BT and its kin with the number in a register. */
static uint64_t bit_displacement(const struct oracle_case *c)
{
    const ZydisDecodedOperand *number = &c->operand[1];
    unsigned bits = c->insn.operand_width;
    int64_t value;

    if (c->insn.mnemonic != ZYDIS_MNEMONIC_BT && c->insn.mnemonic != ZYDIS_MNEMONIC_BTS &&
        c->insn.mnemonic != ZYDIS_MNEMONIC_BTR && c->insn.mnemonic != ZYDIS_MNEMONIC_BTC)
        return 0;
    if (number->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return 0;
    value = (int64_t)(oracle_register(c, number->reg.value) << (64 - bits)) >> (64 - bits);
    return (uint64_t)((value >> (bits == 16 ? 4 : bits == 32 ? 5 : 6)) * (int64_t)(bits / 8));
}

/* What all elements of a REP cover together. */
static void add_elements(const struct oracle_case *c, struct oracle_access *access, unsigned bits)
{
    uint64_t count = low_bits(c->state.gpr[1], bits), more;

    if (!oracle_has_rep(c))
        return;
    if (count > 0x100000)
        count = 0x100000;
    more = count ? (count - 1) * access->size : 0;
    if (c->state.rflags & 0x400)
        access->offset = low_bits(access->offset - more, bits);
    access->size = count ? access->size + more : 0;
}

bool oracle_access(const struct oracle_case *c, const ZydisDecodedOperand *operand, struct oracle_access *access)
{
    const ZydisDecodedOperandMem *mem = &operand->mem;
    unsigned bits = is_stack(operand) ? stack_bits(c) : c->insn.address_width;
    const struct hv_segment *seg;

    if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || mem->type == ZYDIS_MEMOP_TYPE_AGEN)
        return false;
    access->seg = (unsigned)ZydisRegisterGetId(mem->segment);
    access->size = operand->size / 8;
    access->is_write = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    access->offset = (uint64_t)mem->disp.value + bit_displacement(c);
    if (is_stack(operand))
        access->offset = c->state.gpr[4];
    else if (mem->base != ZYDIS_REGISTER_NONE)
        access->offset += oracle_register(c, mem->base);
    if (mem->index != ZYDIS_REGISTER_NONE)
        access->offset += oracle_register(c, mem->index) * mem->scale;
    if (is_stack(operand) && access->is_write)
        access->offset -= access->size;
    if (c->insn.mnemonic == ZYDIS_MNEMONIC_POP && !is_stack(operand) &&
        ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, mem->base) == ZYDIS_REGISTER_RSP)
        access->offset += access->size;
    access->offset = low_bits(access->offset, bits);
    add_elements(c, access, bits);

    seg = &c->state.seg[access->seg];
    if (c->mode != ORACLE_LONG64)
        access->linear = (uint32_t)(seg->base + access->offset);
    else
        access->linear = access->offset + (access->seg >= HV_EMULATE_FS ? seg->base : 0);
    return true;
}

bool oracle_has_memory(const struct oracle_case *c)
{
    struct oracle_access access;

    for (unsigned i = 0; c->decoded && i < c->insn.operand_count; i++)
        if (oracle_access(c, &c->operand[i], &access))
            return true;
    return false;
}
