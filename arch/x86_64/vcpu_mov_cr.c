/* SPDX-License-Identifier: MIT */
/*
 * MOV to or from a control register, from its bytes: systems switch paging bits often enough for a way past the decoder
 * and the emulator, where the CPU does not tell the operand.
 */
#include "vcpu_parts.h"

/* In the order of memory: the opcode, and of ModRM the control register's number. */
#define MOV_FROM_CR 0x200fu
#define MOV_TO_CR   0x220fu
#define MODRM_REG   BITS32(21, 19)
#define MODRM_RM    BITS32(18, 16)
#define MOV_MASK    (MODRM_REG | BITS32(15, 0))

#define REX   0x40u /* the upper half of its byte */
#define REX_B BIT32(0)
#define REX_R BIT32(2)

static inline bool take(struct vcpu *v, struct hv_exit *exit, uint32_t gpr, uint8_t length, bool is_64bit)
{
    if (gpr == GPR_RSP)
        vcpu_need(v, VCPU_RSP);
    exit->cr.is_known = true;
    exit->cr.gpr = (uint8_t)gpr;
    exit->cr.value = is_64bit ? v->gpr[gpr] : (uint32_t)v->gpr[gpr];
    exit->instruction_length = length;
    return true;
}

static __attribute__((noinline)) bool take_with_rex(struct vcpu *v, struct hv_exit *exit, uint32_t bytes,
                                                    uint32_t wanted)
{
    uint32_t rex = bytes & 0xff, rm = (uint32_t)FIELD_GET(MODRM_RM, bytes >> 8);

    if ((rex & 0xf0) != REX || (bytes >> 8 & MOV_MASK) != wanted || !(rex & REX_R) != exit->cr.number < 8)
        return false;
    return take(v, exit, rm | (rex & REX_B ? 8 : 0), 4, true);
}

bool vcpu_find_mov_cr(struct vcpu *v, struct hv_exit *exit, uint32_t bytes, bool is_64bit)
{
    uint32_t number = exit->cr.number;
    uint32_t wanted = (exit->cr.is_read ? MOV_FROM_CR : MOV_TO_CR) | (uint32_t)FIELD_PUT(MODRM_REG, number & 7);

    if ((bytes & MOV_MASK) == wanted && number < 8)
        return take(v, exit, (uint32_t)FIELD_GET(MODRM_RM, bytes), 3, is_64bit);
    return is_64bit && take_with_rex(v, exit, bytes, wanted);
}
