/* SPDX-License-Identifier: MIT */
/*
 * The differential test of the decoder: byte strings of four modes through decode_insn() and libzydis. Status, length,
 * operation, sizes, memory operand, registers and immediate must be the same, or the difference must be an explained
 * one. Each string is also decoded when cut short: the decoder asks for more, and looks at no byte behind the cut.
 *
 *   oracle_decode CASES SEED       CASES of each mode
 */
#include "memory.h"
#include "oracle.h"
#include "random.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <virt/decode.h>

#define SHOWN 30

static const unsigned code_sizes[ORACLE_MODES] = {2, 2, 4, 8};
static const char *const mode_names[ORACLE_MODES] = {"real mode", "16-bit protected mode", "32-bit protected mode",
                                                     "64-bit mode"};

static struct {
    unsigned long known, unknown, invalid, wrong, explained;
    unsigned shown;
} tally;
static int test_number, tests_failed;

/* ---------------------------------------------------------------------------- operations */

/* How libzydis' name of the operation begins. */
static const char *const op_names[INSN_OP_COUNT] = {
    [INSN_ADD] = "add",
    [INSN_OR] = "or",
    [INSN_ADC] = "adc",
    [INSN_SBB] = "sbb",
    [INSN_AND] = "and",
    [INSN_SUB] = "sub",
    [INSN_XOR] = "xor",
    [INSN_CMP] = "cmp",
    [INSN_TEST] = "test",
    [INSN_NOT] = "not",
    [INSN_NEG] = "neg",
    [INSN_INC] = "inc",
    [INSN_DEC] = "dec",
    [INSN_MUL] = "mul",
    [INSN_IMUL] = "imul",
    [INSN_DIV] = "div",
    [INSN_IDIV] = "idiv",
    [INSN_IMUL2] = "imul",
    [INSN_IMUL3] = "imul",
    [INSN_ROL] = "rol",
    [INSN_ROR] = "ror",
    [INSN_RCL] = "rcl",
    [INSN_RCR] = "rcr",
    [INSN_SHL] = "shl",
    [INSN_SHR] = "shr",
    [INSN_SAR] = "sar",
    [INSN_SHLD] = "shld",
    [INSN_SHRD] = "shrd",
    [INSN_BT] = "bt",
    [INSN_BTS] = "bts",
    [INSN_BTR] = "btr",
    [INSN_BTC] = "btc",
    [INSN_BSF] = "bsf",
    [INSN_BSR] = "bsr",
    [INSN_SMSW] = "smsw",
    [INSN_LMSW] = "lmsw",
    [INSN_CLTS] = "clts",
    [INSN_MOV_TO_CR] = "mov",
    [INSN_MOV_FROM_CR] = "mov",
    [INSN_MOV] = "mov",
    [INSN_MOVZX] = "movzx",
    [INSN_MOVSX] = "movsx",
    [INSN_MOVBE] = "movbe",
    [INSN_XCHG] = "xchg",
    [INSN_XADD] = "xadd",
    [INSN_CMPXCHG] = "cmpxchg",
    [INSN_CMPXCHG8B] = "cmpxchg",
    [INSN_SETCC] = "set",
    [INSN_CMOVCC] = "cmov",
    [INSN_PUSH] = "push",
    [INSN_POP] = "pop",
    [INSN_MOVS] = "movs",
    [INSN_CMPS] = "cmps",
    [INSN_STOS] = "stos",
    [INSN_LODS] = "lods",
    [INSN_SCAS] = "scas",
    [INSN_INS] = "ins",
    [INSN_OUTS] = "outs",
    [INSN_IN] = "in",
    [INSN_OUT] = "out",
    [INSN_XMM_LOAD] = "",
    [INSN_XMM_LOAD_LOW] = "movlp",
    [INSN_XMM_LOAD_HIGH] = "movhp",
    [INSN_XMM_STORE] = "mov",
    [INSN_XMM_STORE_HIGH] = "movhp",
};

/* Operations of which only the begin of the name is fixed: sizes and conditions follow. */
static bool is_family(unsigned op)
{
    return op >= INSN_SETCC || op == INSN_MOV || op == INSN_MOVSX || op == INSN_CMPXCHG8B;
}

static bool is_same_operation(const struct insn *insn, const char *mnemonic)
{
    const char *name = op_names[insn->op];

    if (!name)
        return false;
    return is_family(insn->op) && insn->op != INSN_PUSH && insn->op != INSN_POP && insn->op != INSN_IN &&
                   insn->op != INSN_OUT
               ? !strncmp(mnemonic, name, strlen(name))
               : !strcmp(mnemonic, name);
}

/* ---------------------------------------------------------------------------- operands */

static const ZydisDecodedOperand *explicit_memory(const struct oracle_case *c)
{
    for (unsigned i = 0; i < c->insn.operand_count; i++)
        if (c->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY && c->operand[i].mem.type == ZYDIS_MEMOP_TYPE_MEM &&
            (c->operand[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
             c->operand[i].encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64))
            return &c->operand[i];
    return NULL;
}

static uint8_t number_of(ZydisRegister reg)
{
    if (reg == ZYDIS_REGISTER_NONE)
        return INSN_NO_REGISTER;
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_IP)
        return INSN_RIP;
    return (uint8_t)oracle_register_number(reg);
}

static const char *memory_difference(const struct oracle_case *c, const struct insn *insn)
{
    const ZydisDecodedOperand *operand = explicit_memory(c);
    unsigned address_bits = insn->address_size * 8u;
    uint64_t mask = address_bits == 64 ? UINT64_MAX : (1ull << address_bits) - 1;

    if (insn->is_memory != (operand != NULL))
        return "whether there is a memory operand";
    if (!operand)
        return NULL;
    if (insn->base != number_of(operand->mem.base))
        return "base";
    if (insn->index != number_of(operand->mem.index))
        return "index";
    if (insn->index != INSN_NO_REGISTER && insn->scale != (operand->mem.scale ? operand->mem.scale : 1))
        return "scale";
    if (((uint64_t)insn->displacement ^ (uint64_t)operand->mem.disp.value) & mask)
        return "displacement";
    if (insn->segment != ZydisRegisterGetId(operand->mem.segment))
        return "segment";
    if (insn->memory_size * 8u != operand->size)
        return "size of the memory operand";
    return NULL;
}

/* The registers that ModRM names: reg, and rm when it is no memory. */
static const char *register_difference(const struct oracle_case *c, const struct insn *insn)
{
    for (unsigned i = 0; i < c->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &c->operand[i];
        bool is_byte = ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_GPR8;
        uint8_t number = (uint8_t)ZydisRegisterGetId(operand->reg.value), ours;

        if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        if (operand->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
            ours = insn->reg;
        else if (operand->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                 operand->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
            ours = insn->rm;
        else
            continue;
        if (is_byte && number >= 8) /* SPL and above: libzydis counts AH, CH, DH and BH before them */
            number -= 4;
        if (ours != number)
            return "register";
    }
    return NULL;
}

static const char *immediate_difference(const struct oracle_case *c, const struct insn *insn)
{
    for (unsigned i = 0; i < c->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &c->operand[i];
        uint64_t mask = insn->operand_size >= 8 ? UINT64_MAX : (1ull << (8 * insn->operand_size)) - 1;

        if (operand->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || operand->encoding == ZYDIS_OPERAND_ENCODING_NONE)
            continue;
        if (!operand->imm.is_signed && operand->size == 8)
            mask = 0xFF;
        if ((insn->immediate ^ operand->imm.value.u) & mask)
            return "immediate";
    }
    return NULL;
}

static const char *size_difference(const struct oracle_case *c, const struct insn *insn)
{
    bool is_xmm = insn->dst == OPERAND_XMM || insn->src == OPERAND_XMM;
    const ZydisDecodedOperand *first = &c->operand[0];

    if (insn->address_size * 8u != c->insn.address_width)
        return "address size";
    if (insn->dst == OPERAND_STRING || insn->src == OPERAND_STRING) {
        for (unsigned i = 0; i < c->insn.operand_count; i++)
            if (c->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY && c->operand[i].size != insn->memory_size * 8u)
                return "size of an element";
        return NULL;
    }
    if (is_xmm || insn->dst == OPERAND_SEGMENT || insn->src == OPERAND_SEGMENT || insn->op == INSN_CMPXCHG8B)
        return NULL;
    if (insn->dst == OPERAND_DX || insn->dst == OPERAND_IMM8 || insn->op == INSN_PUSH) /* OUT, PUSH: the other way */
        return insn->operand_size * 8u == c->insn.operand_width || insn->operand_size == 1 ? NULL : "operand size";
    if (first->type == ZYDIS_OPERAND_TYPE_REGISTER && insn->dst != OPERAND_NONE &&
        insn->operand_size * 8u != first->size)
        return "operand size";
    return NULL;
}

static const char *prefix_difference(const struct oracle_case *c, const struct insn *insn)
{
    bool is_string = insn->dst == OPERAND_STRING || insn->src == OPERAND_STRING;
    ZyanU64 rep = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE, repne = ZYDIS_ATTRIB_HAS_REPNE;

    if (!(insn->prefixes & INSN_LOCK) != !(c->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK))
        return "LOCK";
    if (is_string && (insn->prefixes & (INSN_REP | INSN_REPNE)) && !(c->insn.attributes & (rep | repne)))
        return "REP";
    if ((insn->op == INSN_CMPS || insn->op == INSN_SCAS) &&
        !(insn->prefixes & INSN_REPNE) != !(c->insn.attributes & repne))
        return "REPNE";
    return NULL;
}

static const char *difference(const struct oracle_case *c, const struct insn *insn)
{
    const char *what = NULL;

    if (insn->length != c->insn.length)
        return "length";
    if (!is_same_operation(insn, ZydisMnemonicGetString(c->insn.mnemonic)))
        return "operation";
    if (!what)
        what = memory_difference(c, insn);
    if (!what)
        what = register_difference(c, insn);
    if (!what)
        what = immediate_difference(c, insn);
    if (!what)
        what = size_difference(c, insn);
    if (!what)
        what = prefix_difference(c, insn);
    return what;
}

/* ---------------------------------------------------------------------------- explained differences */

struct decode_difference {
    const char *name, *zydis, *manual;
    bool (*covers)(const struct oracle_case *c, enum decode_status status, const struct insn *insn, const char *what);
    unsigned long hits;
};

static bool covers_lost_base(const struct oracle_case *c, enum decode_status status, const struct insn *insn,
                             const char *what)
{
    (void)what;
    return status == DECODE_OK && insn->base == INSN_NO_REGISTER && oracle_zydis_lost_displacement(c) &&
           insn->displacement == c->insn.raw.disp.value;
}

static bool covers_movsxd(const struct oracle_case *c, enum decode_status status, const struct insn *insn,
                          const char *what)
{
    (void)what;
    return status == DECODE_OK && c->insn.mnemonic == ZYDIS_MNEMONIC_MOVSXD && insn->operand_size == 2 &&
           insn->memory_size == 2;
}

static bool covers_lock_cr0(const struct oracle_case *c, enum decode_status status, const struct insn *insn,
                            const char *what)
{
    (void)what;
    return status == DECODE_OK && !c->decoded && insn->prefixes & INSN_LOCK && insn->reg == 8 &&
           (insn->op == INSN_MOV_TO_CR || insn->op == INSN_MOV_FROM_CR);
}

static struct decode_difference differences[] = {
    {"SIB without a base, REX.B, 32-bit addresses", "takes R13 for the base, and forgets the displacement",
     "SDM 2A, table 2-5: SIB.base 5 with mod 0 is no register whatever REX.B", covers_lost_base, 0},
    {"MOVSXD with 16-bit operands", "reads 4 bytes", "SDM 2B, MOVSXD r16, r/m16: 2 bytes", covers_movsxd, 0},
    {"LOCK MOV CR0", "does not know it", "APM 3, MOV (CRn): CR8, on CPUs with the feature AltMovCr8", covers_lock_cr0,
     0},
};

#define DIFFERENCES (sizeof differences / sizeof *differences)

static bool is_explained(const struct oracle_case *c, enum decode_status status, const struct insn *insn,
                         const char *what)
{
    for (unsigned i = 0; i < DIFFERENCES; i++) {
        if (!differences[i].covers(c, status, insn, what))
            continue;
        differences[i].hits++;
        return true;
    }
    return false;
}

static void print_explanations(void)
{
    for (unsigned i = 0; i < DIFFERENCES; i++) {
        printf("# explained %8lu: %s: libzydis %s; ours follows %s\n", differences[i].hits, differences[i].name,
               differences[i].zydis, differences[i].manual);
        differences[i].hits = 0;
    }
}

/* ---------------------------------------------------------------------------- a case */

/* With fewer bytes than it has, an instruction is not known to be one; with more it does not change. */
static const char *cut_difference(const struct oracle_case *c, const struct insn *whole)
{
    unsigned cut = (unsigned)oracle_below(ZYDIS_MAX_INSTRUCTION_LENGTH + 1);
    uint8_t *bytes = malloc(cut ? cut : 1); /* the sanitizer watches its end */
    struct insn insn;
    enum decode_status status;

    memcpy(bytes, c->bytes, cut);
    status = decode_insn(&insn, bytes, cut, code_sizes[c->mode]);
    free(bytes);
    if (cut < whole->length)
        return status == DECODE_MORE ? NULL : "what it says of an instruction cut short";
    return status == DECODE_OK && !memcmp(&insn, whole, sizeof insn) ? NULL
                                                                     : "the same instruction with less behind it";
}

static const char *judge(const struct oracle_case *c, enum decode_status status, const struct insn *insn)
{
    switch (status) {
    case DECODE_OK:
        tally.known++;
        if (!c->decoded)
            return "libzydis does not know it";
        return difference(c, insn) ? difference(c, insn) : cut_difference(c, insn);
    case DECODE_UNKNOWN:
        tally.unknown++;
        return oracle_is_promised(c) ? "unknown, though include/hv/emulate.h promises it" : NULL;
    case DECODE_UNDEFINED:
    case DECODE_TOO_LONG:
        tally.invalid++;
        return c->decoded ? "libzydis knows it" : NULL;
    default:
        return c->decoded ? "more bytes wanted" : NULL;
    }
}

static void show(const struct oracle_case *c, enum decode_status status, const struct insn *insn, const char *what)
{
    ZydisFormatter formatter;
    char text[128] = "nothing";

    if (tally.shown++ >= SHOWN)
        return;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    if (c->decoded)
        ZydisFormatterFormatInstruction(&formatter, &c->insn, c->operand, c->insn.operand_count_visible, text,
                                        sizeof text, 0, NULL);
    printf("# %s: %s:", mode_names[c->mode], what);
    for (unsigned i = 0; i < sizeof c->bytes; i++)
        printf("%s %02x", c->decoded && i == c->insn.length ? " |" : "", c->bytes[i]);
    printf(
        "\n#   libzydis: %s, operands of %u bits; ours: status %d length %u op %u (%s) operand %u memory %u address %u"
        " reg %u rm %u base %u index %u segment %u displacement %#" PRIx64 " immediate %#" PRIx64 "\n",
        text, c->decoded ? c->insn.operand_width : 0, status, insn->length, insn->op,
        insn->op < INSN_OP_COUNT && op_names[insn->op] ? op_names[insn->op] : "?", insn->operand_size,
        insn->memory_size, insn->address_size, insn->reg, insn->rm, insn->base, insn->index, insn->segment,
        (uint64_t)insn->displacement, insn->immediate);
}

static void run_mode(enum oracle_mode mode, unsigned long cases)
{
    static struct oracle_case c;
    struct insn insn;

    memset(&tally, 0, sizeof tally);
    for (unsigned long number = 0; number < cases; number++) {
        enum decode_status status;
        const char *what;

        oracle_generate_bytes(&c, mode);
        oracle_zydis_decode(&c);
        status = decode_insn(&insn, c.bytes, sizeof c.bytes, code_sizes[mode]);
        what = judge(&c, status, &insn);
        if (!what)
            continue;
        if (is_explained(&c, status, &insn, what)) {
            tally.explained++;
            continue;
        }
        tally.wrong++;
        show(&c, status, &insn, what);
    }
    printf("# %s: %lu byte strings: %lu decoded, %lu not for the emulator, %lu undefined or too long, %lu explained\n",
           mode_names[mode], cases, tally.known, tally.unknown, tally.invalid, tally.explained);
    print_explanations();
    printf("%sok %d - oracle: %s: the decoder agrees with libzydis (%lu disagreements)\n", tally.wrong ? "not " : "",
           ++test_number, mode_names[mode], tally.wrong);
    fflush(stdout);
    tests_failed += tally.wrong != 0;
}

int main(int argc, char **argv)
{
    unsigned long cases = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;

    seed = seed ? seed : 1;
    printf("# SEED=%" PRIu64 "\n1..%d\n", seed, ORACLE_MODES);
    oracle_zydis_open();
    for (int mode = 0; mode < ORACLE_MODES; mode++) {
        oracle_random_state = seed + (uint64_t)(mode + ORACLE_MODES) * 0x9E3779B97F4A7C15ull;
        run_mode((enum oracle_mode)mode, cases);
    }
    return tests_failed ? 1 : 0;
}
