/* SPDX-License-Identifier: MIT */
/* The instruction decoder (virt/decode.c): lengths and operands in the three sizes of code, and what it must not take.
 */
#include "unit.h"
#include "virt/decode.h"
#include <hv/base/bits.h>
#include <stdlib.h>
#include <string.h>

#define NO INSN_NO_REGISTER

static enum decode_status decode(struct insn *insn, const char *code, size_t size, unsigned code_size)
{
    return decode_insn(insn, (const uint8_t *)code, (unsigned)size, code_size);
}

/* -------------------------------------------------------------------------------- addresses */

struct address {
    const char *code;
    size_t size;
    unsigned code_size;
    uint8_t segment, base, index, scale, address_size;
    int64_t displacement;
};

/* clang-format off */
static const struct address addresses[] = {
    {"\x8b\x07", 2, 8,                         3, 7, NO, 1, 8, 0},           /* [rdi] */
    {"\x8b\x47\x80", 3, 8,                     3, 7, NO, 1, 8, -128},
    {"\x8b\x87\x00\x00\x00\x80", 6, 8,         3, 7, NO, 1, 8, INT32_MIN},
    {"\x8b\x05\x10\0\0\0", 6, 8,               3, INSN_RIP, NO, 1, 8, 16},
    {"\x41\x8b\x05\x10\0\0\0", 7, 8,           3, INSN_RIP, NO, 1, 8, 16},   /* REX.B does not make it r13 */
    {"\x8b\x05\x10\0\0\0", 6, 4,               3, NO, NO, 1, 4, 16},
    {"\x8b\x04\x25\x10\0\0\0", 7, 8,           3, NO, NO, 1, 8, 16},         /* an address by SIB */
    {"\x8b\x04\x24", 3, 8,                     2, 4, NO, 1, 8, 0},           /* [rsp] */
    {"\x41\x8b\x04\x24", 4, 8,                 3, 12, NO, 1, 8, 0},          /* [r12] */
    {"\x42\x8b\x04\x24", 4, 8,                 2, 4, 12, 1, 8, 0},           /* [rsp + r12]: r12 can be an index */
    {"\x8b\x44\x9d\x04", 4, 8,                 2, 5, 3, 4, 8, 4},            /* [rbp + rbx * 4 + 4] */
    {"\x8b\x04\x9d\x04\0\0\0", 7, 8,           3, NO, 3, 4, 8, 4},           /* [rbx * 4 + 4] */
    {"\x41\x8b\x45\x00", 4, 8,                 3, 13, NO, 1, 8, 0},          /* [r13] */
    {"\x65\x8b\x07", 3, 8,                     5, 7, NO, 1, 8, 0},
    {"\x65\x2e\x8b\x07", 4, 8,                 5, 7, NO, 1, 8, 0},           /* CS is nothing in 64-bit code */
    {"\x36\x8b\x07", 3, 4,                     2, 7, NO, 1, 4, 0},
    {"\x67\x8b\x07", 3, 8,                     3, 7, NO, 1, 4, 0},
    {"\x67\x8b\x07", 3, 4,                     3, 3, NO, 1, 2, 0},           /* [bx] */
    {"\x8b\x00", 2, 2,                         3, 3, 6, 1, 2, 0},            /* [bx + si] */
    {"\x8b\x42\xff", 3, 2,                     2, 5, 6, 1, 2, -1},           /* [bp + si - 1] */
    {"\x8b\x06\x00\x80", 4, 2,                 3, NO, NO, 1, 2, -32768},     /* [0x8000] */
    {"\x8b\x46\x00", 3, 2,                     2, 5, NO, 1, 2, 0},           /* [bp] */
    {"\x67\x8b\x04\x24", 4, 2,                 2, 4, NO, 1, 4, 0},
    {"\xa1\x88\x77\x66\x55\x44\x33\x22\x91", 9, 8, 3, NO, NO, 1, 8, (int64_t)0x9122334455667788},
    {"\x67\xa1\0\0\0\x80", 6, 8,               3, NO, NO, 1, 4, 0x80000000}, /* moffs are not signed */
    {"\xa1\0\x80", 3, 2,                       3, NO, NO, 1, 2, 0x8000},
};
/* clang-format on */

static void addresses_are_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(addresses); i++) {
        const struct address *a = &addresses[i];
        struct insn insn;

        assert_int_equal(decode(&insn, a->code, a->size, a->code_size), DECODE_OK);
        assert_int_equal(insn.length, a->size);
        assert_int_equal(insn.op, INSN_MOV);
        assert_true(insn.is_memory);
        assert_int_equal(insn.segment, a->segment);
        assert_int_equal(insn.base, a->base);
        assert_int_equal(insn.index, a->index);
        assert_int_equal(insn.scale, a->scale);
        assert_int_equal(insn.address_size, a->address_size);
        assert_int_equal(insn.displacement, a->displacement);
    }
}

/* --------------------------------------------------------------------- operands and immediates */

struct form {
    const char *code;
    size_t size;
    unsigned code_size;
    uint8_t op, dst, src, operand_size, memory_size, reg;
    uint64_t immediate;
};

/* clang-format off */
static const struct form forms[] = {
    {"\x89\x07", 2, 2,                     INSN_MOV, OPERAND_RM, OPERAND_REG, 2, 2, 0, 0},
    {"\x66\x89\x07", 3, 2,                 INSN_MOV, OPERAND_RM, OPERAND_REG, 4, 4, 0, 0},
    {"\x66\x48\x89\x0f", 4, 8,             INSN_MOV, OPERAND_RM, OPERAND_REG, 8, 8, 1, 0},   /* REX.W over 66 */
    {"\x48\x66\x89\x0f", 4, 8,             INSN_MOV, OPERAND_RM, OPERAND_REG, 2, 2, 1, 0},   /* REX not at its place */
    {"\x44\x88\x07", 3, 8,                 INSN_MOV, OPERAND_RM, OPERAND_REG, 1, 1, 8, 0},
    {"\x48\xc7\x07\0\0\0\x80", 7, 8,       INSN_MOV, OPERAND_RM, OPERAND_IMM, 8, 8, 0, 0xffffffff80000000},
    {"\x66\xc7\x07\0\x80", 5, 8,           INSN_MOV, OPERAND_RM, OPERAND_IMM, 2, 2, 0, 0xffffffffffff8000},
    {"\x83\x2f\x80", 3, 8,                 INSN_SUB, OPERAND_RM, OPERAND_IMM8, 4, 4, 5, 0xffffffffffffff80},
    {"\x82\x07\x01", 3, 4,                 INSN_ADD, OPERAND_RM, OPERAND_IMM, 1, 1, 0, 1},
    {"\xf6\x07\x01", 3, 8,                 INSN_TEST, OPERAND_RM, OPERAND_IMM, 1, 1, 0, 1},
    {"\xf7\x0f\x01\0\0\0", 6, 8,           INSN_TEST, OPERAND_RM, OPERAND_IMM, 4, 4, 1, 1},
    {"\xf7\x17", 2, 8,                     INSN_NOT, OPERAND_RM, OPERAND_NONE, 4, 4, 2, 0},
    {"\xd3\x37", 2, 8,                     INSN_SHL, OPERAND_RM, OPERAND_CL, 4, 4, 6, 0},
    {"\x69\x07\0\0\0\x01", 6, 8,           INSN_IMUL3, OPERAND_REG, OPERAND_RM, 4, 4, 0, 0x1000000},
    {"\x0f\xb6\x07", 3, 8,                 INSN_MOVZX, OPERAND_REG, OPERAND_RM, 4, 1, 0, 0},
    {"\x48\x0f\xbf\x07", 4, 8,             INSN_MOVSX, OPERAND_REG, OPERAND_RM, 8, 2, 0, 0},
    {"\x48\x63\x07", 3, 8,                 INSN_MOVSX, OPERAND_REG, OPERAND_RM, 8, 4, 0, 0},
    {"\x66\x63\x07", 3, 8,                 INSN_MOVSX, OPERAND_REG, OPERAND_RM, 2, 2, 0, 0},
    {"\xff\x37", 2, 8,                     INSN_PUSH, OPERAND_RM, OPERAND_NONE, 8, 8, 6, 0},
    {"\x66\xff\x37", 3, 8,                 INSN_PUSH, OPERAND_RM, OPERAND_NONE, 2, 2, 6, 0},
    {"\x8f\x07", 2, 4,                     INSN_POP, OPERAND_RM, OPERAND_NONE, 4, 4, 0, 0},
    {"\x48\x8c\x1f", 3, 8,                 INSN_MOV, OPERAND_RM, OPERAND_SEGMENT, 2, 2, 3, 0},
    {"\x0f\xc7\x0f", 3, 8,                 INSN_CMPXCHG8B, OPERAND_RM, OPERAND_NONE, 4, 8, 1, 0},
    {"\x48\x0f\xc7\x0f", 4, 8,             INSN_CMPXCHG8B, OPERAND_RM, OPERAND_NONE, 8, 16, 1, 0},
    {"\x0f\xa4\x07\x05", 4, 8,             INSN_SHLD, OPERAND_RM, OPERAND_REG, 4, 4, 0, 5},
    {"\x0f\xba\x2f\x05", 4, 8,             INSN_BTS, OPERAND_RM, OPERAND_IMM8, 4, 4, 5, 5},
    {"\x48\xab", 2, 8,                     INSN_STOS, OPERAND_STRING, OPERAND_ACC, 8, 8, 0, 0},
    {"\x48\x6d", 2, 8,                     INSN_INS, OPERAND_STRING, OPERAND_DX, 4, 4, 0, 0},
    {"\xe5\xf0", 2, 8,                     INSN_IN, OPERAND_ACC, OPERAND_IMM8, 4, 0, 0, 0xfffffffffffffff0},
    {"\xf3\x66\x0f\x6f\x07", 5, 8,         INSN_XMM_LOAD, OPERAND_XMM, OPERAND_RM, 16, 16, 0, 0}, /* F3 over 66 */
    {"\x66\x44\x0f\x7f\x07", 5, 8,         INSN_XMM_STORE, OPERAND_RM, OPERAND_XMM, 16, 16, 8, 0},
    {"\xf3\xf2\x0f\x10\x07", 5, 8,         INSN_XMM_LOAD, OPERAND_XMM, OPERAND_RM, 8, 8, 0, 0},   /* the last one */
    {"\x66\x48\x0f\x6e\x07", 5, 8,         INSN_XMM_LOAD, OPERAND_XMM, OPERAND_RM, 8, 8, 0, 0},
    {"\x0f\xc3\x07", 3, 2,                 INSN_MOV, OPERAND_RM, OPERAND_REG, 4, 4, 0, 0},        /* MOVNTI */
    {"\x66\x0f\x38\xf1\x07", 5, 8,         INSN_MOVBE, OPERAND_RM, OPERAND_REG, 2, 2, 0, 0},
};
/* clang-format on */

static void operands_are_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
        const struct form *f = &forms[i];
        struct insn insn;

        assert_int_equal(decode(&insn, f->code, f->size, f->code_size), DECODE_OK);
        assert_int_equal(insn.length, f->size);
        assert_int_equal(insn.op, f->op);
        assert_int_equal(insn.dst, f->dst);
        assert_int_equal(insn.src, f->src);
        assert_int_equal(insn.operand_size, f->operand_size);
        assert_int_equal(insn.memory_size, f->memory_size);
        assert_int_equal(insn.reg, f->reg);
        assert_int_equal(insn.immediate, f->immediate);
    }
}

/* Cut anywhere, and with anything behind it, an instruction is the same. */
static void every_byte_is_needed_and_none_beyond(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
        const struct form *f = &forms[i];
        char longer[16];
        struct insn insn;

        for (size_t cut = 0; cut < f->size; cut++) {
            char *exact = malloc(cut + 1); /* a byte too far is seen by the sanitizer */

            memcpy(exact + 1, f->code, cut);
            assert_int_equal(decode(&insn, exact + 1, cut, f->code_size), DECODE_MORE);
            free(exact);
        }
        memset(longer, 0xff, sizeof(longer));
        memcpy(longer, f->code, f->size);
        assert_int_equal(decode(&insn, longer, sizeof(longer), f->code_size), DECODE_OK);
        assert_int_equal(insn.length, f->size);
    }
}

/* ------------------------------------------------------------------------- what is not taken */

static void prefixes_of_other_encodings_are_not_known(void **state)
{
    static const struct {
        const char *code;
        unsigned code_size;
    } rows[] = {
        {"\xc5\xf8\x10\x07", 8},                                  /* VEX */
        {"\xc4\xe1\x78\x10\x07", 8},                              /* VEX */
        {"\xc4\x07\x01\x01\x01", 4},                              /* LES */
        {"\xc5\x07\x01\x01\x01", 4},                              /* LDS */
        {"\xc5\xf8\x10\x07", 4},                                  /* VEX in 32-bit code */
        {"\x62\xf1\x7c\x48\x10\x07", 8},                          /* EVEX */
        {"\x62\x07\x01\x01", 4},                                  /* BOUND */
        {"\x8f\xe9\x78\x81\x07", 8},                              /* XOP */
        {"\x82\x07\x01\x01", 8},                                  /* group 1, gone in 64-bit code */
        {"\x1e\x01\x01\x01", 8},                                  /* PUSH DS likewise */
        {"\x40\x01\x01\x01", 4},                                  /* INC: no REX here */
        {"\x63\x07\x01\x01", 4},                                  /* ARPL */
        {"\x0f\x10\xc1\x01", 8},                                  /* MOVUPS between registers */
        {"\x0f\x6f\x07\x01", 8},                                  /* MMX */
        {"\xf2\x0f\x38\xf0\x07", 8},                              /* CRC32 */
        {"\x0f\xc7\xf0\x01", 8},                                  /* RDRAND */
        {"\x0f\xc7\xc8\x01", 8},                                  /* CMPXCHG8B of a register */
        {"\xff\x17\x01\x01", 8},                                  /* CALL */
        {"\xfe\x37\x01\x01", 8},         {"\x66\x0f\xc3\x07", 8}, /* MOVNTI has no prefix 66 */
        {"\x0f\x0f\x07\x01", 8},
    };
    struct insn insn;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        assert_int_equal(decode(&insn, rows[i].code, strlen(rows[i].code), rows[i].code_size), DECODE_UNKNOWN);
}

static void lock_is_for_memory_that_is_changed(void **state)
{
    static const char *const legal[] = {
        "\xf0\x01\x07",     "\xf0\x83\x27\x01", "\xf0\xff\x07",     "\xf0\xf7\x1f",         "\xf0\x87\x07",
        "\xf0\x0f\xb1\x07", "\xf0\x0f\xc1\x07", "\xf0\x0f\xab\x07", "\xf0\x0f\xba\x3f\x01", "\xf0\x0f\xc7\x0f"};
    static const char *const illegal[] = {"\xf0\x03\x07", "\xf0\x01\xc0",     "\xf0\x39\x07",         "\xf0\x89\x07",
                                          "\xf0\xd1\x27", "\xf0\x0f\xa3\x07", "\xf0\x0f\xba\x27\x01", "\xf0\xff\x37",
                                          "\xf0\xa4",     "\xf0\x85\x07",     "\xf0\x83\x3f\x01",     "\xf0\xee"};
    struct insn insn;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(legal); i++)
        assert_int_equal(decode(&insn, legal[i], strlen(legal[i]), 8), DECODE_OK);
    for (size_t i = 0; i < ARRAY_COUNT(illegal); i++)
        assert_int_equal(decode(&insn, illegal[i], strlen(illegal[i]), 8), DECODE_UNDEFINED);
}

static void fifteen_bytes_are_the_most(void **state)
{
    uint8_t code[24];
    struct insn insn;

    (void)state;
    memset(code, 0x66, sizeof(code));
    assert_int_equal(decode_insn(&insn, code, 14, 8), DECODE_MORE);
    assert_int_equal(decode_insn(&insn, code, 15, 8), DECODE_TOO_LONG);
    assert_int_equal(decode_insn(&insn, code, 24, 8), DECODE_TOO_LONG);
    code[13] = 0x89;
    code[14] = 0x07;
    assert_int_equal(decode_insn(&insn, code, 24, 8), DECODE_OK);
    assert_int_equal(insn.length, 15);
    code[14] = 0x47; /* with a displacement */
    assert_int_equal(decode_insn(&insn, code, 24, 8), DECODE_TOO_LONG);
    assert_int_equal(decode_insn(&insn, code, 15, 8), DECODE_TOO_LONG);
}

/* Every opcode of every map with every ModRM: in bounds, and each known one has an operation and sizes. */
static void every_opcode_is_decoded_or_refused(void **state)
{
    static const char *const maps[] = {"", "\x0f", "\x0f\x38", "\x66\x0f", "\xf3\x0f", "\xf2\x0f", "\x66\x0f\x38"};
    unsigned known = 0;

    (void)state;
    for (unsigned n = 0; n < ARRAY_COUNT(maps) * 0x10000 * 3; n++) {
        uint8_t code[16] = {0};
        size_t at = strlen(maps[n / 3 >> 16]);
        unsigned code_size = 2u << n % 3;
        struct insn insn;

        memcpy(code, maps[n / 3 >> 16], at);
        code[at] = (uint8_t)(n / 3 >> 8);
        code[at + 1] = (uint8_t)(n / 3);
        if (decode_insn(&insn, code, sizeof(code), code_size) != DECODE_OK)
            continue;
        known++;
        assert_in_range(insn.op, INSN_NONE + 1, INSN_OP_COUNT - 1);
        assert_in_range(insn.length, at + 1, 15);
        assert_in_range(insn.operand_size, 1, 16);
        assert_true(insn.is_memory <= (insn.memory_size != 0));
        assert_true(insn.segment < 6);
        assert_true(insn.base <= INSN_RIP || insn.base == NO);
    }
    assert_true(known > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(addresses_are_decoded),
        UNIT_TEST(operands_are_decoded),
        UNIT_TEST(every_byte_is_needed_and_none_beyond),
        UNIT_TEST(prefixes_of_other_encodings_are_not_known),
        UNIT_TEST(lock_is_for_memory_that_is_changed),
        UNIT_TEST(fifteen_bytes_are_the_most),
        UNIT_TEST(every_opcode_is_decoded_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
