/* SPDX-License-Identifier: MIT */
/*
 * The instructions that nearly all accesses to devices are made with: MOV between memory and a general register, of a
 * constant to memory, MOVZX and MOVSX from memory, in 32 and 64-bit code. Decoded in a fraction of the time that the
 * decoder takes; what it says is what the emulator (emulate.h) would find.
 */
#ifndef HV_MOV_H
#define HV_MOV_H

#include <hv/exit.h>

/* of base and index, beside the numbers of registers */
#define HV_MOV_RIP  16u /* base: the address of the next instruction */
#define HV_MOV_NONE 0xFFu

struct hv_mov {
    uint8_t length;
    uint8_t size; /* bytes of the memory operand: 1, 2, 4 or 8 */
    bool is_store;
    bool is_immediate; /* a store of `immediate` */
    bool sign_extends; /* a load that does */
    uint8_t reg;       /* the register that is stored or loaded */
    uint8_t reg_shift; /* 8: its second byte (AH, CH, DH, BH) */
    uint8_t reg_size;  /* of a load: bytes that are written; 4 clear the upper half */
    uint8_t code_size; /* as given; the size of addresses */
    uint8_t segment;   /* by number. In 64-bit code the bases of FS and GS only count */
    uint8_t base;      /* 0 to 15, HV_MOV_RIP or HV_MOV_NONE */
    uint8_t index;     /* 0 to 15 or HV_MOV_NONE */
    uint8_t shift;     /* of the index: 0 to 3 */
    int64_t displacement;
    uint64_t immediate; /* as large as the operand */
};

/*
 * False: it is something else, or not there as a whole; then hv_emulate knows. What it takes has no prefixes but 66,
 * REX and a segment that counts, each once. Bytes from `count` on are not looked at but for their being there.
 * code_size: 2, 4 or 8 (never true with 2). Context: any.
 */
bool hv_mov_decode(struct hv_mov *out, const uint8_t bytes[HV_INSTRUCTION_BYTES_MAX], unsigned count,
                   unsigned code_size);

/* The offset in its segment of the memory operand. gpr: by number; rip: of the instruction. */
static inline uint64_t hv_mov_offset(const struct hv_mov *mov, const uint64_t *gpr, uint64_t rip)
{
    uint64_t offset = (uint64_t)mov->displacement;

    if (mov->base < HV_MOV_RIP)
        offset += gpr[mov->base];
    else if (mov->base == HV_MOV_RIP)
        offset += rip + mov->length;
    if (mov->index != HV_MOV_NONE)
        offset += gpr[mov->index] << mov->shift;
    return mov->code_size == 8 ? offset : (uint32_t)offset;
}

/* What a store writes; the bytes behind its size are 0. reg: the register's value, of no importance with a constant. */
static inline uint64_t hv_mov_stored_of(const struct hv_mov *mov, uint64_t reg)
{
    return mov->is_immediate ? mov->immediate : reg >> mov->reg_shift & ~0ull >> (64 - 8 * mov->size);
}

static inline uint64_t hv_mov_stored(const struct hv_mov *mov, const uint64_t *gpr)
{
    return hv_mov_stored_of(mov, gpr[mov->reg]);
}

/* What hv_mov_loaded does with operands of other sizes than 4. */
uint64_t hv_mov_loaded_other(const struct hv_mov *mov, uint64_t before, uint64_t value);

/*
 * The register after a load of `value`, whose bytes behind the operand's size do not count. before: the register's; of
 * no importance with reg_size 4 and 8. The most usual operand, of 4 bytes, is always all of a register.
 */
static inline __attribute__((always_inline)) uint64_t hv_mov_loaded(const struct hv_mov *mov, uint64_t before,
                                                                    uint64_t value)
{
    return mov->size == 4 ? (uint32_t)value : hv_mov_loaded_other(mov, before, value);
}

#endif
