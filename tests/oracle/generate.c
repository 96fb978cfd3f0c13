/* SPDX-License-Identifier: MIT */
/*
 * Cases: an instruction from the table of forms with random prefixes, ModRM, SIB, displacement and immediate, or plain
 * random bytes; then a state in which its memory operands, as libzydis sees them, mostly lie where there is memory.
 */
#include "memory.h"
#include "oracle.h"
#include "random.h"
#include <string.h>

#define FORM_LOCK   0x01u
#define FORM_STRING 0x02u
#define FORM_LONG   0x04u /* in 64-bit code only */
#define FORM_PLAIN  0x08u /* no ModRM behind the opcode */
#define FORM_NP     0x10u /* prefixes 66, F2 and F3 make it another instruction */

/* Opcodes first..last, with ModRM.reg digit (-1: any), behind a mandatory prefix (0: none). */
struct form {
    uint16_t map; /* 0, 0x0F, 0x0F38 */
    uint8_t first, last;
    int8_t digit, digit_last;
    uint8_t prefix, flags;
};

#define ANY -1, -1

static const struct form forms[] = {
    /* the arithmetic and logic group, also with LOCK */
    {0, 0x00, 0x03, ANY, 0, FORM_LOCK},
    {0, 0x08, 0x0B, ANY, 0, FORM_LOCK},
    {0, 0x10, 0x13, ANY, 0, FORM_LOCK},
    {0, 0x18, 0x1B, ANY, 0, FORM_LOCK},
    {0, 0x20, 0x23, ANY, 0, FORM_LOCK},
    {0, 0x28, 0x2B, ANY, 0, FORM_LOCK},
    {0, 0x30, 0x33, ANY, 0, FORM_LOCK},
    {0, 0x38, 0x3B, ANY, 0, 0},
    {0, 0x80, 0x83, ANY, 0, FORM_LOCK},
    {0, 0x80, 0x83, ANY, 0, FORM_LOCK},
    {0, 0x84, 0x85, ANY, 0, 0},
    {0, 0x86, 0x87, ANY, 0, FORM_LOCK},
    /* MOV */
    {0, 0x88, 0x8B, ANY, 0, 0},
    {0, 0x88, 0x8B, ANY, 0, 0},
    {0, 0x8C, 0x8C, 0, 5, 0, 0},
    {0, 0xA0, 0xA3, ANY, 0, FORM_PLAIN},
    {0, 0xC6, 0xC7, 0, 0, 0, 0},
    /* MOVSXD, IMUL, PUSH and POP */
    {0, 0x63, 0x63, ANY, 0, FORM_LONG},
    {0, 0x69, 0x69, ANY, 0, 0},
    {0, 0x6B, 0x6B, ANY, 0, 0},
    {0, 0x8F, 0x8F, 0, 0, 0, 0},
    {0, 0xFF, 0xFF, 6, 6, 0, 0},
    {0, 0x50, 0x5F, ANY, 0, FORM_PLAIN},
    {0, 0x68, 0x68, ANY, 0, FORM_PLAIN},
    {0, 0x6A, 0x6A, ANY, 0, FORM_PLAIN},
    /* shifts and rotates */
    {0, 0xC0, 0xC1, ANY, 0, 0},
    {0, 0xD0, 0xD3, ANY, 0, 0},
    {0, 0xD0, 0xD3, ANY, 0, 0},
    {0x0F, 0xA4, 0xA5, ANY, 0, 0},
    {0x0F, 0xAC, 0xAD, ANY, 0, 0},
    /* TEST, NOT, NEG, MUL, IMUL, DIV, IDIV, INC, DEC */
    {0, 0xF6, 0xF7, ANY, 0, FORM_LOCK},
    {0, 0xF6, 0xF7, 4, 7, 0, 0},
    {0, 0xF6, 0xF7, 6, 7, 0, 0},
    {0, 0xFE, 0xFF, 0, 1, 0, FORM_LOCK},
    /* strings */
    {0, 0xA4, 0xA7, ANY, 0, FORM_STRING | FORM_PLAIN},
    {0, 0xA4, 0xA7, ANY, 0, FORM_STRING | FORM_PLAIN},
    {0, 0xAA, 0xAF, ANY, 0, FORM_STRING | FORM_PLAIN},
    {0, 0xAA, 0xAF, ANY, 0, FORM_STRING | FORM_PLAIN},
    {0, 0x6C, 0x6F, ANY, 0, FORM_STRING | FORM_PLAIN},
    {0, 0xE4, 0xE7, ANY, 0, FORM_PLAIN},
    {0, 0xEC, 0xEF, ANY, 0, FORM_PLAIN},
    /* the second map */
    {0x0F, 0x01, 0x01, 4, 4, 0, 0},
    {0x0F, 0x01, 0x01, 6, 6, 0, 0},
    {0x0F, 0x06, 0x06, ANY, 0, FORM_PLAIN},
    {0x0F, 0x20, 0x20, ANY, 0, FORM_LOCK},
    {0x0F, 0x22, 0x22, ANY, 0, FORM_LOCK},
    {0x0F, 0x40, 0x4F, ANY, 0, 0},
    {0x0F, 0x90, 0x9F, ANY, 0, 0},
    {0x0F, 0xA3, 0xA3, ANY, 0, 0},
    {0x0F, 0xAB, 0xAB, ANY, 0, FORM_LOCK},
    {0x0F, 0xB3, 0xB3, ANY, 0, FORM_LOCK},
    {0x0F, 0xBB, 0xBB, ANY, 0, FORM_LOCK},
    {0x0F, 0xBA, 0xBA, 4, 7, 0, FORM_LOCK},
    {0x0F, 0xAF, 0xAF, ANY, 0, 0},
    {0x0F, 0xB0, 0xB1, ANY, 0, FORM_LOCK},
    {0x0F, 0xB0, 0xB1, ANY, 0, FORM_LOCK},
    {0x0F, 0xB6, 0xB7, ANY, 0, 0},
    {0x0F, 0xBE, 0xBF, ANY, 0, 0},
    {0x0F, 0xC0, 0xC1, ANY, 0, FORM_LOCK},
    {0x0F, 0xC3, 0xC3, ANY, 0, FORM_NP},
    {0x0F, 0xC7, 0xC7, 1, 1, 0, FORM_LOCK},
    {0x0F, 0xC7, 0xC7, 1, 1, 0, FORM_LOCK},
    {0x0F38, 0xF0, 0xF1, ANY, 0, 0},
    /* XMM registers */
    {0x0F, 0x10, 0x11, ANY, 0, FORM_NP},
    {0x0F, 0x10, 0x11, ANY, 0x66, 0},
    {0x0F, 0x10, 0x11, ANY, 0xF3, 0},
    {0x0F, 0x10, 0x11, ANY, 0xF2, 0},
    {0x0F, 0x12, 0x13, ANY, 0, FORM_NP},
    {0x0F, 0x12, 0x13, ANY, 0x66, 0},
    {0x0F, 0x16, 0x17, ANY, 0, FORM_NP},
    {0x0F, 0x16, 0x17, ANY, 0x66, 0},
    {0x0F, 0x28, 0x29, ANY, 0, FORM_NP},
    {0x0F, 0x28, 0x29, ANY, 0x66, 0},
    {0x0F, 0x2B, 0x2B, ANY, 0, FORM_NP},
    {0x0F, 0x2B, 0x2B, ANY, 0x66, 0},
    {0x0F, 0x6E, 0x6F, ANY, 0x66, 0},
    {0x0F, 0x6F, 0x6F, ANY, 0xF3, 0},
    {0x0F, 0x7E, 0x7F, ANY, 0x66, 0},
    {0x0F, 0x7E, 0x7F, ANY, 0xF3, 0},
    {0x0F, 0xD6, 0xD6, ANY, 0x66, 0},
    {0x0F, 0xE7, 0xE7, ANY, 0x66, 0},
    {0x0F, 0xF0, 0xF0, ANY, 0xF2, 0},
    {0x0F38, 0x2A, 0x2A, ANY, 0x66, 0},
};

#define FORMS (sizeof forms / sizeof *forms)

/* ---------------------------------------------------------------------------- bytes */

struct writer {
    uint8_t *bytes;
    unsigned count;
};

static void put(struct writer *w, uint8_t byte)
{
    if (w->count < ZYDIS_MAX_INSTRUCTION_LENGTH)
        w->bytes[w->count++] = byte;
}

/* Legacy prefixes in any order: pushed to the front one by one, or behind. */
static void put_prefixes(struct writer *w, const struct form *form)
{
    static const uint8_t overrides[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};
    uint8_t prefixes[8];
    unsigned count = 0;

    if (form->prefix)
        prefixes[count++] = form->prefix;
    if (oracle_percent(25))
        prefixes[count++] = overrides[oracle_below(6)];
    if (oracle_percent(form->flags & FORM_NP || form->prefix ? 2 : 25))
        prefixes[count++] = 0x66;
    if (oracle_percent(15))
        prefixes[count++] = 0x67;
    if (oracle_percent(form->flags & FORM_STRING ? 60 : form->flags & FORM_NP || form->prefix ? 1 : 3))
        prefixes[count++] = oracle_percent(70) ? 0xF3 : 0xF2;
    if (oracle_percent(form->flags & FORM_LOCK ? 15 : 1))
        prefixes[count++] = 0xF0;
    if (count && oracle_percent(3)) {
        prefixes[count] = prefixes[oracle_below(count)];
        count++;
    }
    if (oracle_percent(2))
        prefixes[count++] = overrides[oracle_below(6)];
    for (; count; count--) {
        unsigned pick = (unsigned)oracle_below(count);

        put(w, prefixes[pick]);
        prefixes[pick] = prefixes[count - 1];
    }
}

static void put_opcode(struct writer *w, const struct form *form)
{
    if (form->map)
        put(w, 0x0F);
    if (form->map > 0xFF)
        put(w, (uint8_t)form->map);
    put(w, (uint8_t)(form->first + oracle_below((uint64_t)(form->last - form->first + 1))));
    if (form->flags & FORM_PLAIN)
        return;
    uint8_t modrm = (uint8_t)oracle_random();
    if (modrm >= 0xC0 && oracle_percent(85))
        modrm &= oracle_percent(50) ? 0x7F : 0xBF;
    if (form->digit >= 0)
        modrm = (uint8_t)((modrm & 0xC7) |
                          ((unsigned)form->digit + oracle_below((uint64_t)(form->digit_last - form->digit + 1))) << 3);
    put(w, modrm);
}

void oracle_generate_bytes(struct oracle_case *c, enum oracle_mode mode)
{
    struct writer w = {c->bytes, 0};
    const struct form *form;

    c->mode = mode;
    c->skipped = 0;
    for (unsigned i = 0; i < sizeof c->bytes; i++)
        c->bytes[i] = (uint8_t)oracle_random();
    c->random_bytes = oracle_percent(10);
    if (c->random_bytes)
        return;
    do
        form = &forms[oracle_below(FORMS)];
    while ((form->flags & FORM_LONG) && c->mode != ORACLE_LONG64);
    put_prefixes(&w, form);
    if (c->mode == ORACLE_LONG64 && oracle_percent(55))
        put(&w, (uint8_t)(0x40 + oracle_below(16)));
    if (c->mode == ORACLE_LONG64 && oracle_percent(1)) /* the REX before this one does not count */
        put(&w, oracle_percent(50) ? 0x3E : (uint8_t)(0x40 + oracle_below(16)));
    put_opcode(&w, form);
}

/* ---------------------------------------------------------------------------- state */

static uint64_t random_value(void)
{
    static const uint64_t edges[] = {0,      1,      2,      0x7F,       0x80,       0xFF,
                                     0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};

    switch (oracle_below(4)) {
    case 0:
        return edges[oracle_below(12)];
    case 1:
        return -edges[oracle_below(12)];
    case 2:
        return oracle_below(256);
    default:
        return oracle_random();
    }
}

/* Segments of protected mode: what a descriptor can say and what libunicorn follows. A = accessed. */
#define RW    0x0093
#define RO    0x0091
#define DOWN  0x0097
#define CODE  0x009B
#define BIG   0x4000
#define GRAIN 0x8000

struct segment {
    uint32_t base, limit;
    uint16_t attributes;
};

static const struct segment data_segments[] = {
    {0, 0xFFFFFFFF, RW | BIG | GRAIN},
    {0x10000, 0xFFFFFFFF, RW | BIG | GRAIN},
    {0x1234, 0xFFFFFFFF, RW | GRAIN},
    {0x20000, 0xFFFF, RW},
    {0x7FFF0000, 0xFFFFFFFF, RW | BIG | GRAIN},
    {0xFFFF0000, 0xFFFFFFFF, RW | BIG | GRAIN},
    {0x8000, 0x2FFF, RW | BIG},
    {0, 0x0FFF, DOWN | BIG},
    {0x30000, 0x7FFF, DOWN},
    {0, 0xFFFFFFFF, RO | BIG | GRAIN},
    {0, 0xFFFFFFFF, CODE | BIG | GRAIN},
};
#define STACK_SEGMENTS 9 /* the first ones are writable data */
#define DATA_SEGMENTS  (sizeof data_segments / sizeof *data_segments)

static struct hv_segment make_segment(const struct segment *s, unsigned index)
{
    return (struct hv_segment){s->base, s->limit, (uint16_t)(8 * (index + 1)), s->attributes};
}

static void make_protected(struct oracle_case *c)
{
    static const struct segment code16 = {ORACLE_CODE, 0xFFFF, CODE};
    static const struct segment code32[] = {{0, 0xFFFFFFFF, CODE | BIG | GRAIN}, {0xE0000, 0x1FFFF, CODE | BIG}};

    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++) {
        unsigned which =
            oracle_percent(60) ? 0 : (unsigned)oracle_below(i == HV_EMULATE_SS ? STACK_SEGMENTS : DATA_SEGMENTS);

        c->state.seg[i] = make_segment(&data_segments[which], i);
    }
    c->state.seg[HV_EMULATE_CS] =
        make_segment(c->mode == ORACLE_PROTECTED16 ? &code16 : &code32[oracle_below(2)], HV_EMULATE_CS);
    c->state.cr0 = 0x11;
}

static void make_real(struct oracle_case *c)
{
    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++) {
        uint16_t selector = i == HV_EMULATE_CS ? ORACLE_CODE / 16 : (uint16_t)oracle_below(0xD000);

        c->state.seg[i] = (struct hv_segment){selector * 16u, 0xFFFF, selector, i == HV_EMULATE_CS ? CODE : RW};
    }
    c->state.cr0 = 0x10;
}

/* Bases of ES, CS, SS and DS do not count: what is there is to be ignored. Selectors are 0, as libunicorn has them. */
static void make_long(struct oracle_case *c)
{
    static const uint64_t bases[] = {0, 0, 0x1000, 0x7FFFFFFF8000, 0xFFFF800000000000, 0xFFFFFFFFFFFFC000, 0x123456789};

    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++)
        c->state.seg[i] = (struct hv_segment){i < HV_EMULATE_FS ? oracle_random() : bases[oracle_below(7)],
                                              (uint32_t)oracle_random(), 0, RW | BIG | GRAIN};
    c->state.seg[HV_EMULATE_CS].attributes = CODE | 0x2000 | GRAIN;
    c->state.cr0 = 0x80000011;
    c->state.efer = 0x500;
}

static void make_state(struct oracle_case *c, unsigned slot)
{
    static void (*const make[])(struct oracle_case *) = {make_real, make_protected, make_protected, make_long};

    c->state = (struct hv_emulate_state){.cr4 = 0x620};
    make[c->mode](c);
    for (unsigned i = 0; i < (c->mode == ORACLE_LONG64 ? 16 : 8); i++)
        c->state.gpr[i] = c->mode == ORACLE_LONG64 ? random_value() : (uint32_t)random_value();
    for (unsigned i = 0; i < 16; i++)
        c->xmm[i][0] = oracle_random(), c->xmm[i][1] = oracle_random();
    c->state.rflags = 2 | (oracle_random() & 0xAD5) /* CF PF AF ZF SF IF OF */ | (oracle_percent(25) ? 0x400 : 0);
    c->state.rip = ORACLE_CODE + slot * ORACLE_SLOT;
    if (c->mode != ORACLE_LONG64)
        c->state.rip -= c->state.seg[HV_EMULATE_CS].base;
}

/* ---------------------------------------------------------------------------- operands that are there */

/* A linear address with memory, mostly writable, often at the edge of a page. */
static uint64_t random_address(unsigned bits, unsigned size)
{
    for (;;) {
        const struct oracle_window *w = &oracle_windows[oracle_percent(50) ? 0 : oracle_below(oracle_window_count)];
        uint64_t page = w->begin + oracle_below(w->pages) * ORACLE_PAGE, address = page + oracle_below(ORACLE_PAGE);

        if (w->address_bits > bits)
            continue;
        if (oracle_percent(20))
            address = page + ORACLE_PAGE - oracle_below(2 * size + 1);
        if (size >= 16 && oracle_percent(70))
            address &= ~15ull;
        if (oracle_memory_kind(address) == ORACLE_WRITABLE || oracle_percent(15))
            return address;
    }
}

static bool is_accumulator_compare(const struct oracle_case *c)
{
    return c->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG || c->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ||
           c->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
}

/* Moves the address of an operand to `linear`, by its base register or its displacement, if it has one that can. */
static void aim(struct oracle_case *c, const ZydisDecodedOperand *operand, uint64_t linear)
{
    struct oracle_access access;
    uint64_t delta, *base;
    unsigned bits = c->insn.address_width;
    bool has_base =
        operand->mem.base != ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(operand->mem.base) != ZYDIS_REGCLASS_IP;

    oracle_access(c, operand, &access);
    delta = linear - access.linear;
    if (has_base && operand->mem.base != operand->mem.index) {
        base = &c->state.gpr[oracle_register_number(operand->mem.base)];
        if (bits == 64)
            *base += delta;
        else if (bits == 32)
            *base = (*base & (c->mode == ORACLE_LONG64 ? ~0xFFFFFFFFull : 0)) | (uint32_t)(*base + delta);
        else
            *base = (*base & ~0xFFFFull) | (uint16_t)(*base + delta);
    } else if (!has_base && c->insn.raw.disp.size >= 16 && operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
        uint64_t disp = (uint64_t)operand->mem.disp.value + delta;

        if (ZydisRegisterGetClass(operand->mem.base) == ZYDIS_REGCLASS_IP) /* an address has become a displacement */
            disp = (uint64_t)c->insn.raw.disp.value + delta;
        memcpy(&c->bytes[c->insn.raw.disp.offset], &disp, c->insn.raw.disp.size / 8);
        oracle_zydis_decode(c);
        oracle_zydis_correct(c);
    }
}

/* Operands that make the rare thing happen: equal comparisons, quotients that fit, bits and counts that are near. */
static void tune_registers(struct oracle_case *c)
{
    ZydisMnemonic m = c->insn.mnemonic;
    uint64_t *gpr = c->state.gpr;

    if (m >= ZYDIS_MNEMONIC_BT && m <= ZYDIS_MNEMONIC_BTS && c->operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        oracle_percent(75)) {
        uint64_t value = oracle_below(512) - 256;

        gpr[oracle_register_number(c->operand[1].reg.value)] = c->mode == ORACLE_LONG64 ? value : (uint32_t)value;
    }
    if ((m == ZYDIS_MNEMONIC_DIV || m == ZYDIS_MNEMONIC_IDIV) && oracle_percent(70)) {
        gpr[2] = oracle_below(3) - (m == ZYDIS_MNEMONIC_IDIV);
        if (c->insn.operand_width == 8)
            gpr[0] = oracle_below(512);
    }
    if (oracle_is_string(c))
        gpr[1] = oracle_percent(97) ? oracle_below(40) : oracle_below(9000);
    if (m == ZYDIS_MNEMONIC_ROL || m == ZYDIS_MNEMONIC_ROR || m == ZYDIS_MNEMONIC_RCL || m == ZYDIS_MNEMONIC_RCR ||
        m == ZYDIS_MNEMONIC_SHL || m == ZYDIS_MNEMONIC_SHR || m == ZYDIS_MNEMONIC_SAR || m == ZYDIS_MNEMONIC_SHLD ||
        m == ZYDIS_MNEMONIC_SHRD)
        gpr[1] = (gpr[1] & ~0xFFull) | oracle_below(oracle_percent(70) ? 34 : 256);
    if (c->mode != ORACLE_LONG64)
        gpr[2] = (uint32_t)gpr[2];
}

/* The accumulator becomes what memory holds. */
static void tune_compare(struct oracle_case *c)
{
    struct oracle_access access;
    const uint8_t *bytes;
    unsigned half;

    if (!is_accumulator_compare(c) || oracle_percent(50) || !oracle_access(c, &c->operand[0], &access))
        return;
    bytes = oracle_memory_at(ORACLE_BEFORE, access.linear);
    if (!bytes || access.linear % ORACLE_PAGE + access.size > ORACLE_PAGE)
        return;
    half = c->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG ? (unsigned)access.size : (unsigned)access.size / 2;
    memcpy(&c->state.gpr[0], bytes, half);
    if (half < access.size)
        memcpy(&c->state.gpr[2], bytes + half, half);
}

static unsigned reach(const struct oracle_case *c)
{
    return c->mode == ORACLE_LONG64 ? c->insn.address_width : c->insn.address_width == 16 ? 16 : 32;
}

static void aim_operands(struct oracle_case *c)
{
    struct oracle_access access;

    if (oracle_percent(3))
        return;
    for (unsigned i = 0; i < c->insn.operand_count; i++)
        if (oracle_access(c, &c->operand[i], &access))
            aim(c, &c->operand[i], random_address(reach(c), (unsigned)c->operand[i].size / 8));
}

void oracle_generate(struct oracle_case *c, enum oracle_mode mode, unsigned slot)
{
    oracle_generate_bytes(c, mode);
    make_state(c, slot);
    oracle_zydis_decode(c);
    oracle_zydis_correct(c);
    c->known = oracle_percent(70) ? 15 : (uint8_t)oracle_below(17);
    c->hint = oracle_percent(50);
    memset(&oracle_code[slot * ORACLE_SLOT], 0xCC, ORACLE_SLOT);
    if (c->decoded) {
        tune_registers(c);
        aim_operands(c);
        tune_compare(c);
        memcpy(&oracle_code[slot * ORACLE_SLOT], c->bytes, c->insn.length);
    } else {
        memcpy(&oracle_code[slot * ORACLE_SLOT], c->bytes, sizeof c->bytes);
    }
}
