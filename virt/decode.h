/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder: from bytes to a struct that tells what the emulator needs. Table driven (decode_tables.c):
 * one row an opcode. It knows the instructions that the emulator completes and no others; in 16, 32 and 64-bit code.
 * Words as in the SDM, volume 2, chapter 2.
 */
#ifndef VIRT_DECODE_H
#define VIRT_DECODE_H

#include <hv/types.h>

#define DECODE_LENGTH_MAX 15

enum decode_status {
    DECODE_OK,
    DECODE_MORE,      /* the instruction goes on behind the bytes given */
    DECODE_TOO_LONG,  /* it goes on behind its 15th byte: #GP */
    DECODE_UNDEFINED, /* LOCK where it is not allowed, a segment or control register that there is not: #UD */
    DECODE_UNKNOWN,   /* not in the tables */
};

/* What an instruction does; forms of the same operation have the same number. */
enum insn_op {
    INSN_NONE, /* not known */

    /* in the order of ModRM.reg in group 1, and of opcodes */
    INSN_ADD,
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,

    INSN_TEST,
    INSN_NOT,
    INSN_NEG,
    INSN_INC,
    INSN_DEC,
    INSN_MUL,
    INSN_IMUL, /* one operand: RDX:RAX */
    INSN_DIV,
    INSN_IDIV,
    INSN_IMUL2, /* dst = dst * src */
    INSN_IMUL3, /* dst = src * immediate */

    /* in the order of ModRM.reg in group 2; 6 is 4 */
    INSN_ROL,
    INSN_ROR,
    INSN_RCL,
    INSN_RCR,
    INSN_SHL,
    INSN_SHR,
    INSN_SAR,
    INSN_SHLD, /* the count is the immediate, or CL when the opcode says so: shift_by_cl */
    INSN_SHRD,

    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_BSF,
    INSN_BSR,

    INSN_MOV,
    INSN_MOVZX,
    INSN_MOVSX, /* MOVSXD too */
    INSN_MOVBE,
    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_CMPXCHG8B, /* CMPXCHG16B too: memory_size tells */
    INSN_SETCC,     /* the condition is in the opcode's low 4 bits */
    INSN_CMOVCC,
    INSN_SMSW,
    INSN_LMSW,
    INSN_CLTS,
    INSN_MOV_TO_CR,   /* control register `reg` */
    INSN_MOV_FROM_CR, /* likewise */
    INSN_PUSH,
    INSN_POP,

    INSN_MOVS,
    INSN_CMPS,
    INSN_STOS,
    INSN_LODS,
    INSN_SCAS,
    INSN_INS,
    INSN_OUTS,
    INSN_IN,
    INSN_OUT,

    /* between XMM register `reg` and memory of `memory_size` bytes */
    INSN_XMM_LOAD,       /* the rest of the register becomes 0 */
    INSN_XMM_LOAD_LOW,   /* the low half, the high one stays */
    INSN_XMM_LOAD_HIGH,  /* the high half, the low one stays */
    INSN_XMM_STORE,      /* the low bytes */
    INSN_XMM_STORE_HIGH, /* the high half */

    INSN_OP_COUNT,

    /* in the tables only */
    INSN_PREFIX = INSN_OP_COUNT,
    INSN_REX,
    INSN_ESCAPE,    /* another table follows */
    INSN_GROUP,     /* ModRM.reg decides */
    INSN_BY_PREFIX, /* the mandatory prefix decides */
};

enum insn_operand {
    OPERAND_NONE,
    OPERAND_RM,      /* register `rm`, or memory */
    OPERAND_REG,     /* register `reg` */
    OPERAND_ACC,     /* AL, AX, EAX, RAX */
    OPERAND_OPCODE,  /* the register in the opcode's low 3 bits, in `rm` */
    OPERAND_SEGMENT, /* segment register `reg` */
    OPERAND_IMM,     /* `immediate`, as large as the operands, at most 4 bytes */
    OPERAND_IMM8,    /* `immediate`, one byte */
    OPERAND_ONE,     /* the number 1 */
    OPERAND_CL,
    OPERAND_DX,     /* a port */
    OPERAND_XMM,    /* XMM register `reg` */
    OPERAND_STRING, /* [rSI] of a source, ES:[rDI] of a destination */
};

enum insn_map { INSN_MAP_ONE_BYTE, INSN_MAP_0F, INSN_MAP_0F38, INSN_MAP_0F3A };

/* prefixes */
#define INSN_LOCK         0x01u
#define INSN_REPNE        0x02u /* F2, when it is the last one of F2 and F3 */
#define INSN_REP          0x04u /* F3, likewise; REPE */
#define INSN_OPERAND_SIZE 0x08u /* 66 */
#define INSN_ADDRESS_SIZE 0x10u /* 67 */
#define INSN_SEGMENT      0x20u /* an override that counts; `segment` is it */

/* the REX prefix that counts; 0: none */
#define INSN_REX_W 0x08u
#define INSN_REX_R 0x04u
#define INSN_REX_X 0x02u
#define INSN_REX_B 0x01u

/* of base and index, beside the numbers of registers */
#define INSN_RIP         16u /* base: the address of the next instruction */
#define INSN_NO_REGISTER 0xFFu

struct insn {
    uint8_t length;
    uint8_t code_size; /* as given: 2, 4 or 8 */
    uint8_t prefixes;  /* INSN_LOCK ... */
    uint8_t rex;
    uint8_t map; /* enum insn_map */
    uint8_t opcode;
    uint8_t modrm; /* when there is one */
    uint8_t op;    /* enum insn_op */
    uint8_t dst;   /* enum insn_operand; the first operand */
    uint8_t src;
    uint8_t operand_size; /* bytes: 1, 2, 4 or 8; of XMM moves: as memory_size */
    uint8_t address_size; /* bytes: 2, 4 or 8 */
    uint8_t rm_size;      /* bytes of the operand r/m, be it a register or memory */
    uint8_t memory_size;  /* bytes of the memory operand; 0: there is none. Of string instructions: one element */
    uint8_t reg;          /* ModRM.reg with REX.R */
    uint8_t rm;           /* a register: ModRM.rm with REX.B, or the opcode's low 3 bits with REX.B */

    /* the memory operand at OPERAND_RM: [base + index * scale + displacement], moffs have the displacement only */
    bool is_memory;
    bool aligned;         /* an address that is not a multiple of memory_size is a #GP */
    bool shift_by_cl;     /* SHLD and SHRD */
    uint8_t segment;      /* by number; the memory operand's, the source's of string instructions */
    uint8_t base;         /* 0 to 15, INSN_RIP or INSN_NO_REGISTER */
    uint8_t index;        /* 0 to 15 or INSN_NO_REGISTER */
    uint8_t scale;        /* 1, 2, 4 or 8 */
    int64_t displacement; /* sign-extended; moffs: zero-extended */
    uint64_t immediate;   /* sign-extended */
};

/*
 * Decodes the instruction that begins at bytes[0]. code_size: 2, 4 or 8, for 16, 32 and 64-bit code. With DECODE_MORE
 * call again when there are more bytes. *out is complete with DECODE_OK only. Context: any.
 */
enum decode_status decode_insn(struct insn *out, const uint8_t *bytes, unsigned count, unsigned code_size);

#endif
