/* SPDX-License-Identifier: MIT */
/*
 * Encodings that libunicorn does not follow: they are rewritten to the plain encoding of the same instruction, as the
 * manual has it, before libunicorn gets them. So their results are compared too. The end of the instruction stays where
 * it is, for addresses relative to RIP; prefixes that go leave a gap at its begin.
 */
#include "memory.h"
#include "oracle.h"
#include <stdio.h>
#include <string.h>

struct rewriting {
    const char *name, *unicorn, *manual;
    bool (*rewrite)(struct oracle_case *c);
    unsigned long hits;
};

static void drop_prefix(struct oracle_case *c, unsigned at)
{
    memmove(&c->bytes[c->skipped + 1], &c->bytes[c->skipped], at - c->skipped);
    c->skipped++;
}

static bool is_one_of(uint8_t byte, const char *set, unsigned count)
{
    return memchr(set, byte, count) != NULL;
}

/* Drops those of the prefixes from `first` to `end` that are in the set. */
static bool drop_prefixes(struct oracle_case *c, unsigned end, const char *set, unsigned count)
{
    bool dropped = false;

    for (unsigned at = c->skipped; at < end; at++) {
        if (!is_one_of(c->bytes[at], set, count))
            continue;
        drop_prefix(c, at);
        dropped = true;
    }
    return dropped;
}

static bool rewrite_early_rex(struct oracle_case *c)
{
    static const char rex[] = "\x40\x41\x42\x43\x44\x45\x46\x47\x48\x49\x4A\x4B\x4C\x4D\x4E\x4F";

    return c->mode == ORACLE_LONG64 && c->insn.raw.prefix_count > 1 &&
           drop_prefixes(c, c->insn.raw.prefix_count - 1u, rex, 16);
}

static bool has_prefix(const struct oracle_case *c, uint8_t value)
{
    return memchr(&c->bytes[c->skipped], value, (size_t)(c->insn.raw.prefix_count - c->skipped)) != NULL;
}

static bool rewrite_null_override(struct oracle_case *c)
{
    return c->mode == ORACLE_LONG64 && (has_prefix(c, 0x64) || has_prefix(c, 0x65)) &&
           drop_prefixes(c, c->insn.raw.prefix_count, "\x26\x2E\x36\x3E", 4);
}

static bool rewrite_mandatory(struct oracle_case *c)
{
    unsigned last = c->insn.raw.prefix_count;
    bool is_xmm = false, dropped;

    for (unsigned i = 0; i < c->insn.operand_count_visible; i++)
        is_xmm |= c->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                  ZydisRegisterGetClass(c->operand[i].reg.value) == ZYDIS_REGCLASS_XMM;
    while (last > c->skipped && (c->bytes[last - 1] & 0xFE) != 0xF2)
        last--;
    if (!is_xmm || last == c->skipped)
        return false;
    dropped = drop_prefixes(c, last - 1u, "\x66\xF2\xF3", 3);
    for (unsigned at = last; at < c->insn.raw.prefix_count; at++) {
        if (c->bytes[at] != 0x66)
            continue;
        drop_prefix(c, at);
        dropped = true;
    }
    return dropped;
}

static bool is_map_one(const struct oracle_case *c, uint8_t opcode)
{
    return c->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (c->insn.opcode | 1) == opcode;
}

static bool rewrite_test(struct oracle_case *c)
{
    if (!is_map_one(c, 0xF7) || c->insn.raw.modrm.reg != 1)
        return false;
    c->bytes[c->insn.raw.modrm.offset] &= (uint8_t)~0x38;
    return true;
}

static bool rewrite_rex_r(struct oracle_case *c)
{
    if (!is_map_one(c, 0xC7) || c->mode != ORACLE_LONG64 || !c->insn.raw.rex.R)
        return false;
    c->bytes[c->insn.raw.prefix_count - 1] &= (uint8_t)~4;
    return true;
}

static struct rewriting rewritings[] = {
    {"REX before other prefixes", "heeds it", "SDM 2A, 2.2.1: it is ignored unless it is right before the opcode",
     rewrite_early_rex, 0},
    {"overrides of ES, CS, SS, DS with those of FS, GS in 64-bit code", "lets them undo FS and GS",
     "SDM 1, 3.4.2.1: they are ignored (libzydis too)", rewrite_null_override, 0},
    {"66, F2 and F3 together", "takes 66 for the mandatory prefix before F3 and F2, F3 before F2",
     "CPUs and libzydis: the last of F2 and F3, then 66 (SDM 2A, 2.1.2, does not say)", rewrite_mandatory, 0},
    {"F6 and F7 /1", "has no such instruction",
     "AMD APM 3, table A-6, group 3: TEST, as all CPUs do (SDM 2D, table A-6, leaves it blank)", rewrite_test, 0},
    {"REX.R with C6 and C7", "has no such instruction",
     "SDM 2A, 2.2.1.2: REX.R is ignored where ModRM.reg extends the opcode", rewrite_rex_r, 0},
};

#define REWRITINGS (sizeof rewritings / sizeof *rewritings)

void oracle_rewrite(struct oracle_case *c)
{
    uint64_t base = c->mode == ORACLE_LONG64 ? 0 : c->state.seg[HV_EMULATE_CS].base;
    bool any = false;

    for (unsigned i = 0; i < REWRITINGS; i++) {
        bool rewritten = rewritings[i].rewrite(c);

        rewritings[i].hits += rewritten;
        any |= rewritten;
    }
    if (any)
        memcpy(&oracle_code[base + c->state.rip - ORACLE_CODE], c->bytes, c->insn.length);
}

void oracle_print_rewritings(void)
{
    for (unsigned i = 0; i < REWRITINGS; i++) {
        printf("# rewritten %8lu: %s: libunicorn %s; ours follows %s\n", rewritings[i].hits, rewritings[i].name,
               rewritings[i].unicorn, rewritings[i].manual);
        rewritings[i].hits = 0;
    }
}
