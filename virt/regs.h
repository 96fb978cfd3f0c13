/* SPDX-License-Identifier: MIT */
/*
 * Registers by name: regs.c finds a name's row, reg_kinds.c knows what the values of its kind may be and how they
 * move.
 */
#ifndef VIRT_REGS_H
#define VIRT_REGS_H

#include "partition.h"
#include <hv/base/bits.h>

/* In a row's groups: the CPU has the register only with XSAVE. No register group. */
#define REG_NEEDS_XSAVE BIT32(31)
#define REG_NEEDS_APIC  BIT32(30) /* ... only with a local APIC */
#define REG_SWITCHED    BIT32(29) /* a CPU may still have it: vcpu_take_off */

enum reg_kind_index {
    KIND_NONE, /* no such register */
    KIND_PLAIN,
    KIND_LOW32,
    KIND_CANONICAL,
    KIND_CONTROL,
    KIND_CR4,
    KIND_EFER,
    KIND_CR8,
    KIND_DR,
    KIND_DR6,
    KIND_DR7,
    KIND_XCR0,
    KIND_XSS,
    KIND_SEGMENT,
    KIND_TABLE,
    KIND_XMM,
    KIND_ST,
    KIND_FP_CONTROL,
    KIND_XMM_CONTROL,
    KIND_TSC,
    KIND_TSC_OFFSET,
    KIND_PAT,
    KIND_APIC_ID,
    KIND_APIC_BASE,
    KIND_APIC,
    KIND_TSC_ADJUST,
    KIND_MTRR_CAP,
    KIND_MTRR_DEF_TYPE,
    KIND_MTRR_BASE,
    KIND_MTRR_MASK,
    KIND_MTRR_FIXED,
    KIND_INTERRUPTION,
    KIND_INTERRUPT_STATE,
    KIND_EVENT,
    KIND_NOTIFICATIONS,
    KIND_ACTIVITY,
    KIND_DEBUG,
    KIND_SYNTHETIC,
    KIND_COUNT
};

struct reg {
    uint8_t kind;
    uint16_t offset; /* in struct vcpu; KIND_SYNTHETIC: of the MSR, from MSR_HV_FIRST on */
    uint32_t groups;
};

struct reg_kind {
    void (*get)(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value);
    bool (*set)(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value);
    bool (*is_valid)(uint64_t word); /* NULL: any value */
};
extern const struct reg_kind reg_kinds[KIND_COUNT];

static inline void reg_put_word(union hv_reg_value *value, uint64_t word)
{
    value->u128.low = word;
    value->u128.high = 0;
}

#endif
