/* SPDX-License-Identifier: MIT */
/*
 * Opcode maps after the SDM, volume 2, appendix A: `opcode = operation, first operand, second operand`. What is not
 * here is not known. 8F with another ModRM.reg than 0 (XOP), C4, C5 and 62 (VEX and EVEX; LES, LDS and BOUND outside of
 * 64-bit code) are not.
 */
#include "decode_tables.h"

#define NONE    OPERAND_NONE
#define RM      OPERAND_RM
#define REG     OPERAND_REG
#define ACC     OPERAND_ACC
#define OPCODE  OPERAND_OPCODE
#define SEGMENT OPERAND_SEGMENT
#define IMM     OPERAND_IMM
#define IMM8    OPERAND_IMM8
#define ONE     OPERAND_ONE
#define CL      OPERAND_CL
#define DX      OPERAND_DX
#define XMM     OPERAND_XMM
#define STRING  OPERAND_STRING

#define BYTE   ROW_BYTE
#define MODRM  ROW_MODRM
#define MEMORY (ROW_MODRM | ROW_MEMORY)
#define ALIGN  (MEMORY | ROW_ALIGN)

/* clang-format off */
/* one row with operands of one byte, and one with operands of the operand size */
#define BOTH(op, dst, src, flags) {INSN_##op, dst, src, 0, (flags) | BYTE}, {INSN_##op, dst, src, 0, flags}
/* the first six of eight opcodes */
#define ARITHMETIC(op)            BOTH(op, RM, REG, MODRM), BOTH(op, REG, RM, MODRM), BOTH(op, ACC, IMM, 0)

#define PREFIX(bit)               {INSN_PREFIX, bit, 0, 0, 0}
#define OVERRIDE(number)          {INSN_PREFIX, INSN_SEGMENT, number, 0, 0}
#define ESCAPE(map)               {INSN_ESCAPE, 0, 0, INSN_MAP_##map, 0}
#define GROUP(n, dst, src, flags) {INSN_GROUP, dst, src, GROUP_##n, MODRM | (flags)}
#define MEMBER(op)                {INSN_##op, NONE, NONE, 0, 0} /* of a group: the rest is its */
#define SET(opcode)               {INSN_BY_PREFIX, 0, 0, SET_##opcode, 0}

#define X4(...) {__VA_ARGS__}, {__VA_ARGS__}, {__VA_ARGS__}, {__VA_ARGS__}
#define X8(...) X4(__VA_ARGS__), X4(__VA_ARGS__)

const struct decode_row decode_one_byte[256] = {
    [0x00] = ARITHMETIC(ADD),
    [0x06] = {INSN_PUSH, SEGMENT, NONE, 0, ROW_NO64},
    [0x08] = ARITHMETIC(OR),
    [0x0E] = {INSN_PUSH, SEGMENT, NONE, 0, ROW_NO64},
    [0x0F] = ESCAPE(0F),
    [0x10] = ARITHMETIC(ADC),
    [0x16] = {INSN_PUSH, SEGMENT, NONE, 0, ROW_NO64},
    [0x18] = ARITHMETIC(SBB),
    [0x1E] = {INSN_PUSH, SEGMENT, NONE, 0, ROW_NO64},
    [0x20] = ARITHMETIC(AND),
    [0x26] = OVERRIDE(0),
    [0x28] = ARITHMETIC(SUB),
    [0x2E] = OVERRIDE(1),
    [0x30] = ARITHMETIC(XOR),
    [0x36] = OVERRIDE(2),
    [0x38] = ARITHMETIC(CMP),
    [0x3E] = OVERRIDE(3),
    [0x40] = X8(INSN_REX, 0, 0, 0, 0), X8(INSN_REX, 0, 0, 0, 0),
    [0x50] = X8(INSN_PUSH, OPCODE, NONE, 0, ROW_D64),
    [0x58] = X8(INSN_POP, OPCODE, NONE, 0, ROW_D64),
    [0x63] = {INSN_MOVSX, REG, RM, 4, MODRM | ROW_ONLY64},
    [0x64] = OVERRIDE(4),
    [0x65] = OVERRIDE(5),
    [0x66] = PREFIX(INSN_OPERAND_SIZE),
    [0x67] = PREFIX(INSN_ADDRESS_SIZE),
    [0x68] = {INSN_PUSH, IMM, NONE, 0, ROW_D64},
    [0x69] = {INSN_IMUL3, REG, RM, 0, MODRM | ROW_IMM},
    [0x6A] = {INSN_PUSH, IMM8, NONE, 0, ROW_D64},
    [0x6B] = {INSN_IMUL3, REG, RM, 0, MODRM | ROW_IMM8},
    [0x6C] = BOTH(INS, STRING, DX, ROW_MAX32),
    [0x6E] = BOTH(OUTS, DX, STRING, ROW_MAX32),
    [0x80] = GROUP(1, RM, IMM, BYTE),
    [0x81] = GROUP(1, RM, IMM, 0),
    [0x82] = GROUP(1, RM, IMM, BYTE | ROW_NO64),
    [0x83] = GROUP(1, RM, IMM8, 0),
    [0x84] = BOTH(TEST, RM, REG, MODRM),
    [0x86] = BOTH(XCHG, RM, REG, MODRM),
    [0x88] = BOTH(MOV, RM, REG, MODRM),
    [0x8A] = BOTH(MOV, REG, RM, MODRM),
    [0x8C] = {INSN_MOV, RM, SEGMENT, 0, MODRM | ROW_SREG},
    [0x8F] = GROUP(1A, RM, NONE, ROW_D64),
    [0xA0] = BOTH(MOV, ACC, RM, ROW_MOFFS),
    [0xA2] = BOTH(MOV, RM, ACC, ROW_MOFFS),
    [0xA4] = BOTH(MOVS, STRING, STRING, 0),
    [0xA6] = BOTH(CMPS, STRING, STRING, 0),
    [0xA8] = BOTH(TEST, ACC, IMM, 0),
    [0xAA] = BOTH(STOS, STRING, ACC, 0),
    [0xAC] = BOTH(LODS, ACC, STRING, 0),
    [0xAE] = BOTH(SCAS, ACC, STRING, 0),
    [0xC0] = GROUP(2, RM, IMM8, BYTE),
    [0xC1] = GROUP(2, RM, IMM8, 0),
    [0xC6] = GROUP(11, RM, IMM, BYTE),
    [0xC7] = GROUP(11, RM, IMM, 0),
    [0xD0] = GROUP(2, RM, ONE, BYTE),
    [0xD1] = GROUP(2, RM, ONE, 0),
    [0xD2] = GROUP(2, RM, CL, BYTE),
    [0xD3] = GROUP(2, RM, CL, 0),
    [0xE4] = BOTH(IN, ACC, IMM8, ROW_MAX32),
    [0xE6] = BOTH(OUT, IMM8, ACC, ROW_MAX32),
    [0xEC] = BOTH(IN, ACC, DX, ROW_MAX32),
    [0xEE] = BOTH(OUT, DX, ACC, ROW_MAX32),
    [0xF0] = PREFIX(INSN_LOCK),
    [0xF2] = PREFIX(INSN_REPNE),
    [0xF3] = PREFIX(INSN_REP),
    [0xF6] = GROUP(3, NONE, RM, BYTE),
    [0xF7] = GROUP(3, NONE, RM, 0),
    [0xFE] = GROUP(4, RM, NONE, BYTE),
    [0xFF] = GROUP(5, RM, NONE, 0),
};

const struct decode_row decode_0f[256] = {
    [0x01] = GROUP(7, NONE, RM, 0),
    [0x06] = {INSN_CLTS, NONE, NONE, 0, 0},
    [0x10] = SET(0F10), SET(0F11), SET(0F12), SET(0F13),
    [0x16] = SET(0F16), SET(0F17),
    [0x20] = {INSN_MOV_FROM_CR, RM, NONE, 0, MODRM | ROW_CREG},
    [0x22] = {INSN_MOV_TO_CR, NONE, RM, 0, MODRM | ROW_CREG},
    [0x28] = SET(0F28), SET(0F29),
    [0x2B] = SET(0F2B),
    [0x38] = ESCAPE(0F38),
    [0x40] = X8(INSN_CMOVCC, REG, RM, 0, MODRM), X8(INSN_CMOVCC, REG, RM, 0, MODRM),
    [0x6E] = SET(0F6E), SET(0F6F),
    [0x7E] = SET(0F7E), SET(0F7F),
    [0x90] = X8(INSN_SETCC, RM, NONE, 0, BYTE | MODRM), X8(INSN_SETCC, RM, NONE, 0, BYTE | MODRM),
    [0xA0] = {INSN_PUSH, SEGMENT, NONE, 0, ROW_D64},
    [0xA3] = {INSN_BT, RM, REG, 0, MODRM},
    [0xA4] = {INSN_SHLD, RM, REG, 0, MODRM | ROW_IMM8},
    [0xA5] = {INSN_SHLD, RM, REG, 0, MODRM | ROW_CL},
    [0xA8] = {INSN_PUSH, SEGMENT, NONE, 0, ROW_D64},
    [0xAB] = {INSN_BTS, RM, REG, 0, MODRM},
    [0xAC] = {INSN_SHRD, RM, REG, 0, MODRM | ROW_IMM8},
    [0xAD] = {INSN_SHRD, RM, REG, 0, MODRM | ROW_CL},
    [0xAF] = {INSN_IMUL2, REG, RM, 0, MODRM},
    [0xB0] = BOTH(CMPXCHG, RM, REG, MODRM),
    [0xB3] = {INSN_BTR, RM, REG, 0, MODRM},
    [0xB6] = {INSN_MOVZX, REG, RM, 1, MODRM},
    [0xB7] = {INSN_MOVZX, REG, RM, 2, MODRM},
    [0xBA] = GROUP(8, RM, IMM8, 0),
    [0xBB] = {INSN_BTC, RM, REG, 0, MODRM},
    [0xBC] = SET(0FBC), SET(0FBD),
    [0xBE] = {INSN_MOVSX, REG, RM, 1, MODRM},
    [0xBF] = {INSN_MOVSX, REG, RM, 2, MODRM},
    [0xC0] = BOTH(XADD, RM, REG, MODRM),
    [0xC3] = SET(0FC3),
    [0xC7] = GROUP(9, RM, NONE, ROW_D32),
    [0xD6] = SET(0FD6),
    [0xE7] = SET(0FE7),
    [0xF0] = SET(0FF0),
};

const struct decode_row decode_0f38[256] = {
    [0x2A] = SET(0F382A),
    [0xF0] = SET(0F38F0),
    [0xF1] = SET(0F38F1),
};

/* by ModRM.reg */
const struct decode_row decode_groups[GROUP_COUNT][8] = {
    [GROUP_1] = {MEMBER(ADD), MEMBER(OR), MEMBER(ADC), MEMBER(SBB), MEMBER(AND), MEMBER(SUB), MEMBER(XOR), MEMBER(CMP)},
    [GROUP_1A] = {MEMBER(POP)},
    [GROUP_2] = {MEMBER(ROL), MEMBER(ROR), MEMBER(RCL), MEMBER(RCR), MEMBER(SHL), MEMBER(SHR), MEMBER(SHL), MEMBER(SAR)},
    [GROUP_3] = {
        {INSN_TEST, RM, IMM, 0, 0},
        {INSN_TEST, RM, IMM, 0, 0},
        {INSN_NOT, RM, NONE, 0, 0},
        {INSN_NEG, RM, NONE, 0, 0},
        MEMBER(MUL),
        MEMBER(IMUL),
        MEMBER(DIV),
        MEMBER(IDIV),
    },
    [GROUP_4] = {MEMBER(INC), MEMBER(DEC)},
    [GROUP_5] = {MEMBER(INC), MEMBER(DEC), [6] = {INSN_PUSH, RM, NONE, 0, ROW_D64}},
    [GROUP_7] = {[4] = {INSN_SMSW, RM, NONE, 0, ROW_SREG}, [6] = {INSN_LMSW, NONE, NONE, 2, 0}},
    [GROUP_8] = {[4] = MEMBER(BT), MEMBER(BTS), MEMBER(BTR), MEMBER(BTC)},
    [GROUP_9] = {[1] = {INSN_CMPXCHG8B, RM, NONE, 0, ROW_MEMORY | ROW_DOUBLE}},
    [GROUP_11] = {MEMBER(MOV)},
};

/* by mandatory prefix: none, 66, F3, F2 */
const struct decode_row decode_sets[SET_COUNT][4] = {
    [SET_0F10] = { /* MOVUPS, MOVUPD, MOVSS, MOVSD */
        {INSN_XMM_LOAD, XMM, RM, 16, MEMORY},
        {INSN_XMM_LOAD, XMM, RM, 16, MEMORY},
        {INSN_XMM_LOAD, XMM, RM, 4, MEMORY},
        {INSN_XMM_LOAD, XMM, RM, 8, MEMORY},
    },
    [SET_0F11] = {
        {INSN_XMM_STORE, RM, XMM, 16, MEMORY},
        {INSN_XMM_STORE, RM, XMM, 16, MEMORY},
        {INSN_XMM_STORE, RM, XMM, 4, MEMORY},
        {INSN_XMM_STORE, RM, XMM, 8, MEMORY},
    },
    [SET_0F12] = { /* MOVLPS, MOVLPD */
        {INSN_XMM_LOAD_LOW, XMM, RM, 8, MEMORY},
        {INSN_XMM_LOAD_LOW, XMM, RM, 8, MEMORY},
    },
    [SET_0F13] = {
        {INSN_XMM_STORE, RM, XMM, 8, MEMORY},
        {INSN_XMM_STORE, RM, XMM, 8, MEMORY},
    },
    [SET_0F16] = { /* MOVHPS, MOVHPD */
        {INSN_XMM_LOAD_HIGH, XMM, RM, 8, MEMORY},
        {INSN_XMM_LOAD_HIGH, XMM, RM, 8, MEMORY},
    },
    [SET_0F17] = {
        {INSN_XMM_STORE_HIGH, RM, XMM, 8, MEMORY},
        {INSN_XMM_STORE_HIGH, RM, XMM, 8, MEMORY},
    },
    [SET_0F28] = { /* MOVAPS, MOVAPD */
        {INSN_XMM_LOAD, XMM, RM, 16, ALIGN},
        {INSN_XMM_LOAD, XMM, RM, 16, ALIGN},
    },
    [SET_0F29] = {
        {INSN_XMM_STORE, RM, XMM, 16, ALIGN},
        {INSN_XMM_STORE, RM, XMM, 16, ALIGN},
    },
    [SET_0F2B] = { /* MOVNTPS, MOVNTPD */
        {INSN_XMM_STORE, RM, XMM, 16, ALIGN},
        {INSN_XMM_STORE, RM, XMM, 16, ALIGN},
    },
    [SET_0F6E] = {[1] = {INSN_XMM_LOAD, XMM, RM, 0, MEMORY | ROW_D32}}, /* MOVD, MOVQ with REX.W */
    [SET_0F6F] = { /* MOVDQA, MOVDQU */
        [1] = {INSN_XMM_LOAD, XMM, RM, 16, ALIGN},
        [2] = {INSN_XMM_LOAD, XMM, RM, 16, MEMORY},
    },
    [SET_0F7E] = {
        [1] = {INSN_XMM_STORE, RM, XMM, 0, MEMORY | ROW_D32}, /* MOVD, MOVQ with REX.W */
        [2] = {INSN_XMM_LOAD, XMM, RM, 8, MEMORY},            /* MOVQ */
    },
    [SET_0F7F] = {
        [1] = {INSN_XMM_STORE, RM, XMM, 16, ALIGN},
        [2] = {INSN_XMM_STORE, RM, XMM, 16, MEMORY},
    },
    /* F3 makes them TZCNT and LZCNT, on CPUs that have these */
    [SET_0FBC] = {{INSN_BSF, REG, RM, 0, MODRM}, {INSN_BSF, REG, RM, 0, MODRM}},
    [SET_0FBD] = {{INSN_BSR, REG, RM, 0, MODRM}, {INSN_BSR, REG, RM, 0, MODRM}},
    [SET_0FC3] = {[0] = {INSN_MOV, RM, REG, 0, MEMORY | ROW_D32}},   /* MOVNTI */
    [SET_0FD6] = {[1] = {INSN_XMM_STORE, RM, XMM, 8, MEMORY}},       /* MOVQ */
    [SET_0FE7] = {[1] = {INSN_XMM_STORE, RM, XMM, 16, ALIGN}},       /* MOVNTDQ */
    [SET_0FF0] = {[3] = {INSN_XMM_LOAD, XMM, RM, 16, MEMORY}},       /* LDDQU */
    [SET_0F382A] = {[1] = {INSN_XMM_LOAD, XMM, RM, 16, ALIGN}},      /* MOVNTDQA */
    [SET_0F38F0] = {{INSN_MOVBE, REG, RM, 0, MEMORY}, {INSN_MOVBE, REG, RM, 0, MEMORY}},
    [SET_0F38F1] = {{INSN_MOVBE, RM, REG, 0, MEMORY}, {INSN_MOVBE, RM, REG, 0, MEMORY}},
};
/* clang-format on */
