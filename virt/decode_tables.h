/* SPDX-License-Identifier: MIT */
/* The decoder's tables: a row for each opcode that it knows. */
#ifndef VIRT_DECODE_TABLES_H
#define VIRT_DECODE_TABLES_H

#include "decode.h"

/* flags of a row */
#define ROW_BYTE   0x0001u /* operands of 1 byte, else of the operand size */
#define ROW_MODRM  0x0002u /* has a ModRM byte */
#define ROW_MEMORY 0x0004u /* ModRM has to name memory */
#define ROW_NO64   0x0008u /* not in 64-bit code */
#define ROW_ONLY64 0x0010u /* in 64-bit code only */
#define ROW_D64    0x0020u /* 64-bit operands are the default of 64-bit code, 32-bit ones are not possible */
#define ROW_D32    0x0040u /* operands of 4 bytes, 8 with REX.W, whatever prefix 66 says */
#define ROW_MAX32  0x0080u /* REX.W makes it 32-bit operands */
#define ROW_MOFFS  0x0100u /* the memory operand is an address behind the opcode */
#define ROW_IMM    0x0200u /* an immediate besides dst and src, as OPERAND_IMM */
#define ROW_IMM8   0x0400u /* likewise, as OPERAND_IMM8 */
#define ROW_ALIGN  0x0800u /* insn.aligned */
#define ROW_CL     0x1000u /* insn.shift_by_cl */
#define ROW_DOUBLE 0x2000u /* the operand r/m is twice as large as the others */
#define ROW_SREG   0x4000u /* dst r/m is 2 bytes in memory, a whole register else */
#define ROW_CREG   0x8000u /* ModRM.reg is a control register, r/m is a register whatever ModRM.mod says */

struct decode_row {
    uint8_t op; /* enum insn_op */
    uint8_t dst,
        src; /* enum insn_operand; INSN_PREFIX: INSN_LOCK ... and the segment; INSN_GROUP, INSN_BY_PREFIX: enum */
    uint8_t rm_size; /* bytes of r/m; 0: as the operand size */
    uint16_t flags;  /* ROW_*; those of a group and of its member are joined */
};

/* For INSN_GROUP: dst and src are those of the members that have none of their own, rm_size is the group. */
enum decode_group {
    GROUP_1,
    GROUP_1A,
    GROUP_2,
    GROUP_3,
    GROUP_4,
    GROUP_5,
    GROUP_7,
    GROUP_8,
    GROUP_9,
    GROUP_11,
    GROUP_COUNT
};

/* For INSN_BY_PREFIX: rm_size is the set; its rows are those of no prefix, 66, F3, F2. */
enum decode_set {
    SET_0F10,
    SET_0F11,
    SET_0F12,
    SET_0F13,
    SET_0F16,
    SET_0F17,
    SET_0F28,
    SET_0F29,
    SET_0F2B,
    SET_0F6E,
    SET_0F6F,
    SET_0F7E,
    SET_0F7F,
    SET_0FBC,
    SET_0FBD,
    SET_0FC3,
    SET_0FD6,
    SET_0FE7,
    SET_0FF0,
    SET_0F382A,
    SET_0F38F0,
    SET_0F38F1,
    SET_COUNT
};

extern const struct decode_row decode_one_byte[256];
extern const struct decode_row decode_0f[256];
extern const struct decode_row decode_0f38[256];
extern const struct decode_row decode_groups[GROUP_COUNT][8];
extern const struct decode_row decode_sets[SET_COUNT][4];

#endif
