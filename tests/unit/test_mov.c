/* SPDX-License-Identifier: MIT */
/* The decoder of plain moves (virt/mov.c): it says what the full one says, of all forms that it is for. */
#include "unit.h"
#include "virt/decode.h"
#include <hv/base/bits.h>
#include <hv/mov.h>
#include <string.h>

static uint64_t random_state = 88172645463325252u;

static uint64_t random_word(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void fill(struct hv_instruction *code)
{
    const uint64_t words[2] = {random_word(), random_word()};

    memcpy(code->bytes, words, sizeof(code->bytes));
    code->count = HV_INSTRUCTION_BYTES_MAX;
}

/* ---------------------------------------------------------------- what the full decoder says of it */

static bool is_high_byte(const struct insn *insn)
{
    return insn->operand_size == 1 && insn->reg >= 4 && !insn->rex;
}

static uint8_t register_of(const struct insn *insn)
{
    uint8_t operand = insn->dst == OPERAND_RM ? insn->src : insn->dst;

    return operand == OPERAND_ACC ? 0 : is_high_byte(insn) ? insn->reg - 4 : insn->reg;
}

static void assert_same(const struct hv_mov *mov, const struct insn *insn)
{
    assert_true(insn->op == INSN_MOV || insn->op == INSN_MOVZX || insn->op == INSN_MOVSX);
    assert_true(insn->is_memory);
    assert_int_equal(mov->length, insn->length);
    assert_int_equal(mov->code_size, insn->code_size);
    assert_int_equal(mov->code_size, insn->address_size);
    assert_int_equal(mov->size, insn->memory_size);
    assert_int_equal(mov->is_store, insn->dst == OPERAND_RM);
    assert_int_equal(mov->is_immediate, insn->src == OPERAND_IMM);
    assert_int_equal(mov->sign_extends, insn->op == INSN_MOVSX);
    assert_int_equal(mov->segment, insn->segment);
    assert_int_equal(mov->base, insn->base);
    assert_int_equal(mov->index, insn->index);
    assert_int_equal(mov->displacement, insn->displacement);
    if (insn->index != INSN_NO_REGISTER)
        assert_int_equal(1u << mov->shift, insn->scale);
    if (mov->is_immediate) {
        assert_int_equal(mov->immediate, insn->immediate & ~0ull >> (64 - 8 * insn->operand_size));
        return;
    }
    assert_int_equal(mov->reg_size, insn->operand_size);
    assert_int_equal(mov->reg, register_of(insn));
    assert_int_equal(mov->reg_shift,
                     is_high_byte(insn) && insn->dst != OPERAND_ACC && insn->src != OPERAND_ACC ? 8 : 0);
}

/* Is it one of those that decode_mov is for? */
static bool is_plain(const struct insn *insn)
{
    static const struct {
        uint8_t map, first, last;
    } opcodes[] = {{INSN_MAP_ONE_BYTE, 0x88, 0x8b},
                   {INSN_MAP_ONE_BYTE, 0xa0, 0xa3},
                   {INSN_MAP_ONE_BYTE, 0xc6, 0xc7},
                   {INSN_MAP_0F, 0xb6, 0xb7},
                   {INSN_MAP_0F, 0xbe, 0xbf}};

    if (!insn->is_memory || insn->prefixes & ~(INSN_OPERAND_SIZE | INSN_SEGMENT) || insn->code_size == 2)
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(opcodes); i++)
        if (insn->map == opcodes[i].map && insn->opcode >= opcodes[i].first && insn->opcode <= opcodes[i].last)
            return true;
    return false;
}

/* Returns whether it was taken. */
static bool compare(const struct hv_instruction *code, unsigned code_size)
{
    struct hv_mov mov;
    struct insn insn;

    if (!hv_mov_decode(&mov, code->bytes, code->count, code_size))
        return false;
    assert_int_equal(decode_insn(&insn, code->bytes, HV_MIN(code->count, DECODE_LENGTH_MAX), code_size), DECODE_OK);
    assert_true(is_plain(&insn));
    assert_same(&mov, &insn);
    return true;
}

/* ------------------------------------------------------------------------------------------ tests */

/* All pairs of first bytes, behind each REX and 0F too; and what else may stand before them. */
static void whatever_is_taken_is_what_the_decoder_says(void **state)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x41, 0x48};
    struct hv_instruction code;
    unsigned taken = 0;

    (void)state;
    for (unsigned n = 0; n < 1u << 21; n++) {
        unsigned at = 0;

        fill(&code);
        for (unsigned left = n & 3; left; left--)
            code.bytes[at++] = prefixes[random_word() % ARRAY_COUNT(prefixes)];
        if (n & 4)
            code.bytes[at++] = 0x40 | (random_word() & 0xf);
        if (n & 8)
            code.bytes[at++] = 0x0f;
        code.bytes[at] = (uint8_t)(n >> 4);
        code.bytes[at + 1] = (uint8_t)(n >> 12);
        taken += compare(&code, random_word() & 1 ? 8 : 4) + compare(&code, 2);
    }
    assert_true(taken > 10000);
}

/* Each form by each ModRM and REX, by all that may stand before: taken, unless a byte is missing. */
static void every_plain_form_is_taken(void **state)
{
    static const char *const before[] = {"", "\x66", "\x64", "\x65", "\x66\x64", "\x65\x66"};
    static const char *const opcodes[] = {"\x88", "\x89", "\x8a", "\x8b",     "\xa0",     "\xa1",     "\xa2",
                                          "\xa3", "\xc6", "\xc7", "\x0f\xb6", "\x0f\xb7", "\x0f\xbe", "\x0f\xbf"};
    unsigned taken = 0;

    (void)state;
    for (unsigned n = 0; n < 256 * 17 * ARRAY_COUNT(opcodes) * ARRAY_COUNT(before); n++) {
        const char *opcode = opcodes[n / (256 * 17) % ARRAY_COUNT(opcodes)];
        const char *first = before[n / (256 * 17) / ARRAY_COUNT(opcodes)];
        unsigned rex = n / 256 % 17, at = (unsigned)strlen(first), code_size = rex || n & 0x40 ? 8 : 4;
        struct hv_instruction code;
        struct insn insn;

        fill(&code);
        memcpy(code.bytes, first, at);
        if (rex)
            code.bytes[at++] = (uint8_t)(0x3f + rex);
        memcpy(code.bytes + at, opcode, strlen(opcode));
        code.bytes[at + strlen(opcode)] = (uint8_t)n;
        if (decode_insn(&insn, code.bytes, DECODE_LENGTH_MAX, code_size) != DECODE_OK || !is_plain(&insn)) {
            assert_false(compare(&code, code_size));
            continue;
        }
        assert_true(compare(&code, code_size));
        code.count = insn.length;
        assert_true(compare(&code, code_size));
        code.count--;
        assert_false(compare(&code, code_size));
        taken++;
    }
    assert_true(taken > 200000);
}

static void segments_count_in_32_bit_code(void **state)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    struct hv_mov mov;

    (void)state;
    for (uint8_t i = 0; i < ARRAY_COUNT(prefixes); i++) {
        const struct hv_instruction code = {.count = 3, .bytes = {prefixes[i], 0x8b, 0x07}};

        assert_true(hv_mov_decode(&mov, code.bytes, code.count, 4));
        assert_int_equal(mov.segment, i);
        assert_int_equal(hv_mov_decode(&mov, code.bytes, code.count, 8), i >= 4);
    }
}

static void moves_are_done(void **state)
{
    static const uint64_t gpr[16] = {0x1122334455667788, 0x99aabbccddeeff00, 3, 4, 5, 6, 7, 0x1000};
    static const struct {
        struct hv_instruction code;
        uint64_t offset, stored, loaded; /* loaded: of 0xfedcba9876543281 */
    } moves[] = {
        {{3, {0x8b, 0x47, 0xff}}, 0xfff, 0, 0x76543281},
        {{4, {0x48, 0x8b, 0x04, 0x57}}, 0x1006, 0, 0xfedcba9876543281},
        {{3, {0x66, 0x8b, 0x07}}, 0x1000, 0, 0x1122334455663281},
        {{2, {0x8a, 0x07}}, 0x1000, 0, 0x1122334455667781},
        {{2, {0x8a, 0x27}}, 0x1000, 0, 0x1122334455668188},
        {{3, {0x0f, 0xbe, 0x07}}, 0x1000, 0, 0xffffff81},
        {{4, {0x66, 0x0f, 0xbe, 0x07}}, 0x1000, 0, 0x112233445566ff81},
        {{4, {0x48, 0x0f, 0xbf, 0x07}}, 0x1000, 0, 0x3281},
        {{3, {0x0f, 0xb6, 0x07}}, 0x1000, 0, 0x81},
        {{6, {0x8b, 0x05, 0x10, 0, 0, 0}}, 0x7016, 0, 0x76543281},
        {{2, {0x89, 0x0f}}, 0x1000, 0xddeeff00, 0},
        {{2, {0x88, 0x2f}}, 0x1000, 0xff, 0},
        {{7, {0x48, 0xc7, 0x07, 0xfe, 0xff, 0xff, 0xff}}, 0x1000, 0xfffffffffffffffe, 0},
        {{5, {0x66, 0xc7, 0x07, 0xfe, 0xff}}, 0x1000, 0xfffe, 0},
        {{9, {0xa3, 0x10, 0, 0, 0, 0, 0, 0, 0x80}}, 0x8000000000000010, 0x55667788, 0},
    };
    struct hv_mov mov;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(moves); i++) {
        assert_true(hv_mov_decode(&mov, moves[i].code.bytes, moves[i].code.count, 8));
        assert_int_equal(hv_mov_offset(&mov, gpr, 0x7000), moves[i].offset);
        if (mov.is_store)
            assert_int_equal(hv_mov_stored(&mov, gpr), moves[i].stored);
        else
            assert_int_equal(hv_mov_loaded(&mov, gpr[0], 0xfedcba9876543281), moves[i].loaded);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(whatever_is_taken_is_what_the_decoder_says),
        UNIT_TEST(every_plain_form_is_taken),
        UNIT_TEST(segments_count_in_32_bit_code),
        UNIT_TEST(moves_are_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
