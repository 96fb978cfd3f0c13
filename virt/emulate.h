/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the emulator share: emulate.c runs an instruction, emulate_memory.c reaches its operands in memory,
 * emulate_alu.c computes, emulate_string.c has the string and port instructions, emulate_cr.c those about control
 * registers.
 *
 * Registers and flags are written at the end of an instruction, or of one iteration of a REP: whatever fails before has
 * changed nothing.
 */
#ifndef VIRT_EMULATE_H
#define VIRT_EMULATE_H

#include "decode.h"
#include <hv/base/bits.h>
#include <hv/emulate.h>

/* Registers by number, as far as the emulator names them. */
enum { EMULATE_RAX, EMULATE_RCX, EMULATE_RDX, EMULATE_RBX, EMULATE_RSP, EMULATE_RSI = 6, EMULATE_RDI };

/* Writes to registers that wait for the instruction's end. At most: the stack pointer and a destination, or RDX:RAX. */
#define EMULATE_WRITES 4

/* A piece of guest memory whose pages are translated: up to 16 bytes in up to two pages. */
struct emulate_span {
    hv_gpa_t gpa[2]; /* of the first byte in each page */
    uint32_t size;
    uint32_t first; /* bytes in the first page */
};

/* The last translations, for string instructions: one of the source, one of the destination. */
struct emulate_page {
    hv_gva_t page;
    hv_gpa_t gpa;
    uint32_t access; /* what it was translated for; 0: empty */
};

/* One emulation under way. */
struct emulation {
    struct hv_emulate_state *state;
    const struct hv_emulate_hint *hint;
    const struct hv_emulate_ops *ops;
    void *context;
    struct hv_emulate_fault *fault;
    struct insn insn;

    uint64_t dst, src; /* the operands' values */
    uint64_t rflags;   /* at the end */
    struct emulate_span memory;
    uint32_t popped; /* POP: what it adds to RSP before the address of its destination is computed */

    uint32_t writes;
    struct {
        uint8_t reg, size;
        uint64_t value;
    } write[EMULATE_WRITES];
    struct emulate_page pages[2];
};

static inline uint64_t emulate_mask(unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

static inline int64_t emulate_sign_extend(uint64_t value, unsigned size)
{
    return (int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size);
}

/* ------------------------------------------------------------------------------ registers (emulate.c) */

/* Without REX byte registers 4 to 7 are AH, CH, DH and BH. */
uint64_t emulate_get(const struct emulation *e, unsigned reg, unsigned size);
/* Takes effect with emulate_commit. 4 bytes clear the upper half. */
void emulate_set(struct emulation *e, unsigned reg, unsigned size, uint64_t value);
/* The registers and flags written so far; not RIP. */
void emulate_commit(struct emulation *e);

/* ----------------------------------------------------------------------- memory (emulate_memory.c) */

/* HV_EMULATE_FAULT with this exception; the error code counts for those that have one. */
enum hv_emulate_result emulate_fault(struct emulation *e, unsigned vector, uint32_t error_code);

/* The offset in its segment of the memory operand. */
uint64_t emulate_offset(const struct emulation *e);

/*
 * Checks an access of 1 to 16 bytes by segmentation and paging. access: HV_TRANSLATE_READ, _WRITE or both. stream:
 * which of e->pages it may use.
 */
enum hv_emulate_result emulate_open(struct emulation *e, struct emulate_span *span, unsigned segment, uint64_t offset,
                                    unsigned size, uint32_t access, unsigned stream);
/* The first 8 bytes to or from value[0], the others value[1]; what is not read is 0. */
enum hv_emulate_result emulate_read(struct emulation *e, const struct emulate_span *span, uint64_t *value);
enum hv_emulate_result emulate_write(struct emulation *e, const struct emulate_span *span, const uint64_t *value);

/* Decodes the instruction at CS:RIP, the bytes beyond those given from memory. */
enum hv_emulate_result emulate_fetch(struct emulation *e, const struct hv_instruction *known);

/* ----------------------------------------------------------------------- computing (emulate_alu.c) */

/* From e->dst and e->src to e->dst, e->rflags, and registers by emulate_set. HV_EMULATE_OK, or a fault. */
typedef enum hv_emulate_result emulate_compute(struct emulation *e);

emulate_compute emulate_add, emulate_or, emulate_adc, emulate_sbb, emulate_and, emulate_sub, emulate_xor, emulate_cmp;
emulate_compute emulate_test, emulate_not, emulate_neg, emulate_inc, emulate_dec;
emulate_compute emulate_mul, emulate_imul, emulate_imul2, emulate_imul3, emulate_div, emulate_idiv;
emulate_compute emulate_rol, emulate_ror, emulate_rcl, emulate_rcr, emulate_shl, emulate_shr, emulate_sar;
emulate_compute emulate_shld, emulate_shrd, emulate_bt, emulate_bts, emulate_btr, emulate_btc;
emulate_compute emulate_mov, emulate_movsx, emulate_movbe, emulate_xchg, emulate_xadd, emulate_cmpxchg;
emulate_compute emulate_bsf, emulate_bsr, emulate_setcc, emulate_cmovcc;

/* ------------------------------------------------------------------ control registers (emulate_cr.c) */

/* Before the operands of all but SMSW: are there control registers here, and may this CPL use them? */
enum hv_emulate_result emulate_check_control(struct emulation *e);
emulate_compute emulate_smsw, emulate_lmsw, emulate_clts, emulate_mov_to_cr, emulate_mov_from_cr;

/* --------------------------------------------------- whole instructions (emulate_string.c, _xmm.c) */

enum hv_emulate_result emulate_string(struct emulation *e);
enum hv_emulate_result emulate_in(struct emulation *e);
enum hv_emulate_result emulate_out(struct emulation *e);

enum hv_emulate_result emulate_xmm_load(struct emulation *e);
enum hv_emulate_result emulate_xmm_store(struct emulation *e);

#endif
