/* SPDX-License-Identifier: MIT */
/*
 * What instructions compute, and the flags that they leave (SDM 1, appendix A). Where the manual leaves a flag
 * undefined these functions do the following, as most CPUs do:
 *
 *   AND OR XOR TEST        AF is cleared
 *   shifts, SHLD, SHRD     AF is cleared; OF is that of the last of `count` steps
 *   16-bit SHLD, SHRD      by more than 16: the destination comes in again behind the source
 *   ROL ROR RCL RCR        OF by more than 1: as if it had been the last of `count` steps; of RCL, RCR: the sign
 * changed MUL IMUL               SF, ZF, PF after the low half of the product, AF is cleared DIV IDIV flags stay BT BTS
 * BTR BTC         flags other than CF stay
 */
#include "emulate.h"
#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

static unsigned bits_of(const struct emulation *e)
{
    return 8u * e->insn.operand_size;
}

static bool top_bit(uint64_t value, unsigned bits)
{
    return value >> (bits - 1) & 1;
}

static void set_flag(struct emulation *e, uint64_t flag, bool value)
{
    e->rflags = value ? e->rflags | flag : e->rflags & ~flag;
}

static void set_result_flags(struct emulation *e, uint64_t result)
{
    set_flag(e, RFLAGS_ZF, !result);
    set_flag(e, RFLAGS_SF, top_bit(result, bits_of(e)));
    set_flag(e, RFLAGS_PF, !__builtin_parity((unsigned)(result & 0xFF)));
}

/* ----------------------------------------------------------------------- addition, subtraction */

/* carries has the carry, or borrow, out of each bit. */
static void set_arithmetic_flags(struct emulation *e, uint64_t result, uint64_t carries, uint64_t overflows)
{
    set_result_flags(e, result);
    set_flag(e, RFLAGS_CF, top_bit(carries, bits_of(e)));
    set_flag(e, RFLAGS_AF, carries & 8);
    set_flag(e, RFLAGS_OF, top_bit(overflows, bits_of(e)));
}

static uint64_t add(struct emulation *e, uint64_t a, uint64_t b, uint64_t carry)
{
    uint64_t r = (a + b + carry) & emulate_mask(e->insn.operand_size);

    set_arithmetic_flags(e, r, (a & b) | ((a | b) & ~r), (a ^ r) & (b ^ r));
    return r;
}

static uint64_t subtract(struct emulation *e, uint64_t a, uint64_t b, uint64_t borrow)
{
    uint64_t r = (a - b - borrow) & emulate_mask(e->insn.operand_size);

    set_arithmetic_flags(e, r, (~a & b) | ((~a | b) & r), (a ^ b) & (a ^ r));
    return r;
}

static uint64_t carry_of(const struct emulation *e)
{
    return e->rflags & RFLAGS_CF ? 1 : 0;
}

enum hv_emulate_result emulate_add(struct emulation *e)
{
    e->dst = add(e, e->dst, e->src, 0);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_adc(struct emulation *e)
{
    e->dst = add(e, e->dst, e->src, carry_of(e));
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_sub(struct emulation *e)
{
    e->dst = subtract(e, e->dst, e->src, 0);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_sbb(struct emulation *e)
{
    e->dst = subtract(e, e->dst, e->src, carry_of(e));
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_cmp(struct emulation *e)
{
    subtract(e, e->dst, e->src, 0);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_neg(struct emulation *e)
{
    e->dst = subtract(e, 0, e->dst, 0);
    return HV_EMULATE_OK;
}

/* INC and DEC leave CF alone. */
enum hv_emulate_result emulate_inc(struct emulation *e)
{
    bool carry = carry_of(e);

    e->dst = add(e, e->dst, 1, 0);
    set_flag(e, RFLAGS_CF, carry);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_dec(struct emulation *e)
{
    bool carry = carry_of(e);

    e->dst = subtract(e, e->dst, 1, 0);
    set_flag(e, RFLAGS_CF, carry);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_xadd(struct emulation *e)
{
    uint64_t sum = add(e, e->dst, e->src, 0);

    emulate_set(e, e->insn.reg, e->insn.operand_size, e->dst);
    e->dst = sum;
    return HV_EMULATE_OK;
}

/* Memory is written in any case (SDM 2, CMPXCHG). */
enum hv_emulate_result emulate_cmpxchg(struct emulation *e)
{
    unsigned size = e->insn.operand_size;
    uint64_t accumulator = emulate_get(e, EMULATE_RAX, size);

    subtract(e, accumulator, e->dst, 0);
    if (accumulator == e->dst)
        e->dst = e->src;
    else
        emulate_set(e, EMULATE_RAX, size, e->dst);
    return HV_EMULATE_OK;
}

/* ------------------------------------------------------------------------------------- logic */

static uint64_t logic(struct emulation *e, uint64_t result)
{
    set_result_flags(e, result);
    e->rflags &= ~(RFLAGS_CF | RFLAGS_OF | RFLAGS_AF);
    return result;
}

enum hv_emulate_result emulate_or(struct emulation *e)
{
    e->dst = logic(e, e->dst | e->src);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_and(struct emulation *e)
{
    e->dst = logic(e, e->dst & e->src);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_xor(struct emulation *e)
{
    e->dst = logic(e, e->dst ^ e->src);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_test(struct emulation *e)
{
    logic(e, e->dst & e->src);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_not(struct emulation *e)
{
    e->dst = ~e->dst & emulate_mask(e->insn.operand_size);
    return HV_EMULATE_OK;
}

/* ------------------------------------------------------------------- multiplication, division */

typedef unsigned __int128 u128;
typedef __int128 s128;

/* A product or dividend is RDX:RAX, of single bytes AX. */
static void set_double(struct emulation *e, uint64_t low, uint64_t high)
{
    unsigned size = e->insn.operand_size;

    if (size == 1) {
        emulate_set(e, EMULATE_RAX, 2, (high << 8 | low) & 0xFFFF);
        return;
    }
    emulate_set(e, EMULATE_RAX, size, low);
    emulate_set(e, EMULATE_RDX, size, high);
}

static u128 get_double(const struct emulation *e)
{
    unsigned size = e->insn.operand_size;

    if (size == 1)
        return emulate_get(e, EMULATE_RAX, 2);
    return (u128)emulate_get(e, EMULATE_RDX, size) << (8 * size) | emulate_get(e, EMULATE_RAX, size);
}

static void set_product_flags(struct emulation *e, uint64_t low, bool too_large)
{
    set_result_flags(e, low);
    set_flag(e, RFLAGS_CF, too_large);
    set_flag(e, RFLAGS_OF, too_large);
    e->rflags &= ~RFLAGS_AF;
}

enum hv_emulate_result emulate_mul(struct emulation *e)
{
    unsigned size = e->insn.operand_size;
    u128 product = (u128)emulate_get(e, EMULATE_RAX, size) * e->src;
    uint64_t low = (uint64_t)product & emulate_mask(size);
    uint64_t high = (uint64_t)(product >> (8 * size)) & emulate_mask(size);

    set_double(e, low, high);
    set_product_flags(e, low, high != 0);
    return HV_EMULATE_OK;
}

/* The product of two signed numbers; its low half is returned, with the flags set. */
static uint64_t signed_product(struct emulation *e, uint64_t a, uint64_t b, uint64_t *high)
{
    unsigned size = e->insn.operand_size;
    s128 product = (s128)emulate_sign_extend(a, size) * emulate_sign_extend(b, size);
    uint64_t low = (uint64_t)product & emulate_mask(size);

    *high = (uint64_t)((u128)product >> (8 * size)) & emulate_mask(size);
    set_product_flags(e, low, product != emulate_sign_extend(low, size));
    return low;
}

enum hv_emulate_result emulate_imul(struct emulation *e)
{
    uint64_t high;
    uint64_t low = signed_product(e, emulate_get(e, EMULATE_RAX, e->insn.operand_size), e->src, &high);

    set_double(e, low, high);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_imul2(struct emulation *e)
{
    uint64_t high;

    e->dst = signed_product(e, e->dst, e->src, &high);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_imul3(struct emulation *e)
{
    uint64_t high;

    e->dst = signed_product(e, e->src, e->insn.immediate, &high);
    return HV_EMULATE_OK;
}

/* Long division, bit by bit: the compiler's own for 128 bits is a function of its library. false: no 64-bit quotient.
 */
static bool divide(u128 dividend, uint64_t divisor, uint64_t *quotient, uint64_t *remainder)
{
    uint64_t low = (uint64_t)dividend;
    u128 rest = dividend >> 64;

    if (rest >= divisor)
        return false;
    if (!rest) {
        *quotient = low / divisor;
        *remainder = low % divisor;
        return true;
    }
    *quotient = 0;
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (low >> bit & 1);
        *quotient <<= 1;
        if (rest >= divisor) {
            rest -= divisor;
            *quotient |= 1;
        }
    }
    *remainder = (uint64_t)rest;
    return true;
}

enum hv_emulate_result emulate_div(struct emulation *e)
{
    uint64_t quotient, remainder;

    if (!divide(get_double(e), e->src, &quotient, &remainder) || quotient > emulate_mask(e->insn.operand_size))
        return emulate_fault(e, VEC_DE, 0);
    set_double(e, quotient, remainder);
    return HV_EMULATE_OK;
}

static u128 sign_extend_double(u128 value, unsigned size)
{
    unsigned unused = 128 - 16 * size;

    return (u128)((s128)(value << unused) >> unused);
}

/* By magnitudes. The quotient goes from the most negative number to the most positive one of its size. */
enum hv_emulate_result emulate_idiv(struct emulation *e)
{
    unsigned size = e->insn.operand_size;
    u128 dividend = sign_extend_double(get_double(e), size);
    uint64_t divisor = (uint64_t)emulate_sign_extend(e->src, size);
    bool negative = dividend >> 127, opposite = negative != (divisor >> 63 != 0);
    uint64_t most = (emulate_mask(size) >> 1) + opposite, quotient, remainder;

    if (!divide(negative ? -dividend : dividend, divisor >> 63 ? -divisor : divisor, &quotient, &remainder) ||
        quotient > most)
        return emulate_fault(e, VEC_DE, 0);
    set_double(e, (opposite ? -quotient : quotient) & emulate_mask(size),
               (negative ? -remainder : remainder) & emulate_mask(size));
    return HV_EMULATE_OK;
}

/* ---------------------------------------------------------------------------- shifts, rotates */

static unsigned count_of(const struct emulation *e, uint64_t count)
{
    return (unsigned)count & (e->insn.operand_size == 8 ? 63 : 31);
}

/* One of them for each way to shift: `count` of 0 to 63 steps. Results may have bits beyond the operand's. */
typedef uint64_t shift(const struct emulation *e, uint64_t value, unsigned count);

static uint64_t shift_left(const struct emulation *e, uint64_t value, unsigned count)
{
    (void)e;
    return value << count;
}

static uint64_t shift_right(const struct emulation *e, uint64_t value, unsigned count)
{
    (void)e;
    return value >> count;
}

static uint64_t shift_arithmetic(const struct emulation *e, uint64_t value, unsigned count)
{
    return (uint64_t)(emulate_sign_extend(value, e->insn.operand_size) >> count);
}

/* The bits that SHLD and SHRD move in, and the value, in one number: value:source:value for 16 bits. */
static uint64_t shift_double_left(const struct emulation *e, uint64_t value, unsigned count)
{
    unsigned bits = bits_of(e);
    u128 all = (u128)value << bits | e->src;

    if (bits == 16)
        all = all << 16 | value;
    return (uint64_t)(all << count >> (bits == 16 ? 32 : bits));
}

static uint64_t shift_double_right(const struct emulation *e, uint64_t value, unsigned count)
{
    unsigned bits = bits_of(e);
    u128 all = (u128)e->src << bits | value;

    if (bits == 16)
        all |= (u128)value << 32;
    return (uint64_t)(all >> count);
}

/* CF is what the last step moved out, OF whether it changed the sign. A count of 0 changes no flag. */
static enum hv_emulate_result run_shift(struct emulation *e, shift *by, unsigned count, bool left)
{
    uint64_t mask = emulate_mask(e->insn.operand_size), before;

    if (!count)
        return HV_EMULATE_OK;
    before = by(e, e->dst, count - 1) & mask;
    e->dst = by(e, e->dst, count) & mask;
    set_result_flags(e, e->dst);
    set_flag(e, RFLAGS_CF, left ? top_bit(before, bits_of(e)) : before & 1);
    set_flag(e, RFLAGS_OF, top_bit(before ^ e->dst, bits_of(e)));
    e->rflags &= ~RFLAGS_AF;
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_shl(struct emulation *e)
{
    return run_shift(e, shift_left, count_of(e, e->src), true);
}

enum hv_emulate_result emulate_shr(struct emulation *e)
{
    return run_shift(e, shift_right, count_of(e, e->src), false);
}

enum hv_emulate_result emulate_sar(struct emulation *e)
{
    return run_shift(e, shift_arithmetic, count_of(e, e->src), false);
}

static unsigned double_count(const struct emulation *e)
{
    return count_of(e, e->insn.shift_by_cl ? e->state->gpr[EMULATE_RCX] : e->insn.immediate);
}

enum hv_emulate_result emulate_shld(struct emulation *e)
{
    return run_shift(e, shift_double_left, double_count(e), true);
}

enum hv_emulate_result emulate_shrd(struct emulation *e)
{
    return run_shift(e, shift_double_right, double_count(e), false);
}

static uint64_t rotate_left(const struct emulation *e, uint64_t value, unsigned count)
{
    unsigned bits = bits_of(e);

    count %= bits;
    return count ? (value << count | value >> (bits - count)) & emulate_mask(e->insn.operand_size) : value;
}

/* Rotates change CF and OF only, and those only when there is something to do. */
enum hv_emulate_result emulate_rol(struct emulation *e)
{
    unsigned count = count_of(e, e->src);

    if (!count)
        return HV_EMULATE_OK;
    e->dst = rotate_left(e, e->dst, count);
    set_flag(e, RFLAGS_CF, e->dst & 1);
    set_flag(e, RFLAGS_OF, top_bit(e->dst, bits_of(e)) != (e->dst & 1));
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_ror(struct emulation *e)
{
    unsigned count = count_of(e, e->src), bits = bits_of(e);

    if (!count)
        return HV_EMULATE_OK;
    e->dst = rotate_left(e, e->dst, bits - count % bits);
    set_flag(e, RFLAGS_CF, top_bit(e->dst, bits));
    set_flag(e, RFLAGS_OF, top_bit(e->dst ^ e->dst << 1, bits));
    return HV_EMULATE_OK;
}

/* Through CF: a number of one bit more turns. */
static enum hv_emulate_result run_carry_rotate(struct emulation *e, unsigned left_steps)
{
    unsigned bits = bits_of(e);
    u128 all = (u128)carry_of(e) << bits | e->dst;
    uint64_t before = e->dst;

    all = all << left_steps | all >> (bits + 1 - left_steps);
    e->dst = (uint64_t)all & emulate_mask(e->insn.operand_size);
    set_flag(e, RFLAGS_CF, all >> bits & 1);
    set_flag(e, RFLAGS_OF, top_bit(before ^ e->dst, bits));
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_rcl(struct emulation *e)
{
    unsigned count = count_of(e, e->src) % (bits_of(e) + 1);

    return count ? run_carry_rotate(e, count) : HV_EMULATE_OK;
}

enum hv_emulate_result emulate_rcr(struct emulation *e)
{
    unsigned count = count_of(e, e->src) % (bits_of(e) + 1);

    return count ? run_carry_rotate(e, bits_of(e) + 1 - count) : HV_EMULATE_OK;
}

/* -------------------------------------------------------------------------------------- bits */

/* The bit in the operand; a memory operand's address has been moved to where it is. */
static uint64_t bit_of(const struct emulation *e)
{
    return BIT64(e->src & (bits_of(e) - 1));
}

enum hv_emulate_result emulate_bt(struct emulation *e)
{
    set_flag(e, RFLAGS_CF, e->dst & bit_of(e));
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_bts(struct emulation *e)
{
    emulate_bt(e);
    e->dst |= bit_of(e);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_btr(struct emulation *e)
{
    emulate_bt(e);
    e->dst &= ~bit_of(e);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_btc(struct emulation *e)
{
    emulate_bt(e);
    e->dst ^= bit_of(e);
    return HV_EMULATE_OK;
}

/* The number of a bit of the source. When it is 0 the destination stays; the flags but ZF always do. */
static enum hv_emulate_result scan(struct emulation *e, int bit)
{
    set_flag(e, RFLAGS_ZF, !e->src);
    if (e->src)
        e->dst = (uint64_t)bit;
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_bsf(struct emulation *e)
{
    return scan(e, e->src ? __builtin_ctzll(e->src) : 0);
}

enum hv_emulate_result emulate_bsr(struct emulation *e)
{
    return scan(e, e->src ? 63 - __builtin_clzll(e->src) : 0);
}

/* ------------------------------------------------------------------------------------- moves */

/* MOVZX too: the source was read with its own size. */
enum hv_emulate_result emulate_mov(struct emulation *e)
{
    e->dst = e->src;
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_movsx(struct emulation *e)
{
    e->dst = (uint64_t)emulate_sign_extend(e->src, e->insn.rm_size) & emulate_mask(e->insn.operand_size);
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_movbe(struct emulation *e)
{
    e->dst = __builtin_bswap64(e->src) >> (64 - bits_of(e));
    return HV_EMULATE_OK;
}

enum hv_emulate_result emulate_xchg(struct emulation *e)
{
    emulate_set(e, e->insn.reg, e->insn.operand_size, e->dst);
    e->dst = e->src;
    return HV_EMULATE_OK;
}

/* SDM 1 appendix B: the low bit of a condition turns it round. */
static bool condition(const struct emulation *e)
{
    uint64_t f = e->rflags;
    bool less = !(f & RFLAGS_SF) != !(f & RFLAGS_OF);
    const bool conditions[8] = {
        f & RFLAGS_OF, f & RFLAGS_CF, f & RFLAGS_ZF, f & (RFLAGS_CF | RFLAGS_ZF),
        f & RFLAGS_SF, f & RFLAGS_PF, less,          less || f & RFLAGS_ZF,
    };

    return conditions[e->insn.opcode >> 1 & 7] != (e->insn.opcode & 1);
}

enum hv_emulate_result emulate_setcc(struct emulation *e)
{
    e->dst = condition(e);
    return HV_EMULATE_OK;
}

/* The register is written in any case: 32-bit operands clear its upper half. */
enum hv_emulate_result emulate_cmovcc(struct emulation *e)
{
    if (condition(e))
        e->dst = e->src;
    return HV_EMULATE_OK;
}
