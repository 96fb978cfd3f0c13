/* SPDX-License-Identifier: MIT */
/*
 * The kinds of registers: where a value is kept, what it may be, and what setting it entails. No hardware is touched
 * here.
 */
#include "assist.h"
#include "exit_cr.h"
#include "exit_msr.h"
#include "irq.h"
#include "regs.h"
#include "synthetic.h"
#include "time.h"
#include "xsave.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* ----------------------------------------------------------------------- values as words */

/* Where a 64-bit register is kept. */
static uint64_t *word_of(struct hv_vp *vp, const struct reg *reg, uint32_t name)
{
    switch (reg->kind) {
    case KIND_APIC_BASE:
        return &vp->lapic.base;
    case KIND_TSC_ADJUST:
        return &vp->tsc_adjust;
    case KIND_MTRR_DEF_TYPE:
        return &vp->mtrr.def_type;
    case KIND_MTRR_BASE:
        return &vp->mtrr.base[name - HV_REG_MTRR_PHYS_BASE0];
    case KIND_MTRR_MASK:
        return &vp->mtrr.mask[name - HV_REG_MTRR_PHYS_MASK0];
    case KIND_MTRR_FIXED:
        return &vp->mtrr.fixed[name - HV_REG_MTRR_FIX64K_00000];
    case KIND_NOTIFICATIONS:
        return &vp->notifications;
    default:
        return (uint64_t *)((char *)vp->vcpu + reg->offset);
    }
}

static void get_word(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    reg_put_word(value, *word_of(vp, reg, name));
}

static bool set_word(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    *word_of(vp, reg, name) = value->u64;
    return true;
}

static bool set_low32(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    *word_of(vp, reg, name) = (uint32_t)value->u64;
    return true;
}

static bool is_low32(uint64_t value)
{
    return value <= UINT32_MAX;
}

/* ------------------------------------------------------------------- control and debug registers */

/* Translations depend on it. */
static bool set_control(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    vp->vcpu->flush_guest = true;
    vp->pdptes_stale = true;
    return set_word(vp, reg, name, value);
}

/*
 * Features with state of their own that no bracket switches: the CPU might enter with these bits, and the guest change
 * what is the host's. Other wrong bits are left to the entry's checks.
 */
#define CR4_NOT_SWITCHED (CR4_SMXE | CR4_KL | CR4_PKE | CR4_CET | CR4_PKS | CR4_UINTR | CR4_LAM_SUP | CR4_FRED)

static bool cr4_is_harmless(uint64_t cr4)
{
    return cr4_is_valid(cr4 & CR4_NOT_SWITCHED);
}

static bool efer_is_valid(uint64_t efer)
{
    return !(efer & ~(cpu_facts()->efer_allowed | EFER_LMA));
}

static bool cr8_is_valid(uint64_t cr8)
{
    return cr8 <= CR8_TPR;
}

/* The local APIC's task priority is the same register. */
static bool set_cr8(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    if (vp->has_apic) {
        lapic_put(&vp->lapic, APIC_TPR, (uint32_t)value->u64 << 4);
        vp->todo |= VP_TODO_INTERRUPTS;
    }
    return set_word(vp, reg, name, value);
}

static bool set_dr(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    if (value->u64)
        vp->vcpu->dr_wanted = true;
    return set_word(vp, reg, name, value);
}

static bool set_dr7(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    if ((value->u64 | DR7_FIXED) != DR7_RESET)
        vp->vcpu->dr_wanted = true;
    return set_word(vp, reg, name, value);
}

static bool xss_is_valid(uint64_t xss)
{
    return xss == 0; /* no supervisor component is offered to guests */
}

/* ---------------------------------------------------------------------- segments and tables */

static void get_pair(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)name;
    *value = *(const union hv_reg_value *)((const char *)vp->vcpu + reg->offset);
}

/* The limit counts bytes, so G is what the limit needs it to be (SDM 3C 26.3.1.2). */
#define LIMIT_NEEDS_G BITS32(31, 20)
#define LIMIT_WITH_G  BITS32(11, 0)

static bool set_segment(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    struct hv_segment *segment = (struct hv_segment *)((char *)vp->vcpu + reg->offset);

    (void)name;
    *segment = value->segment;
    if (segment->limit & LIMIT_NEEDS_G)
        segment->attributes |= SEG_G;
    else if ((segment->limit & LIMIT_WITH_G) != LIMIT_WITH_G)
        segment->attributes &= ~SEG_G;
    return true;
}

static bool set_table(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    struct hv_table *table = (struct hv_table *)((char *)vp->vcpu + reg->offset);

    (void)name;
    *table = (struct hv_table){.limit = value->table.limit, .base = value->table.base};
    return true;
}

/* -------------------------------------------------------------------------- x87 and SSE */

static void get_xmm(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg;
    xsave_get_xmm(vp->vcpu, name - HV_REG_XMM0, value);
}

static bool set_xmm(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg;
    xsave_set_xmm(vp->vcpu, name - HV_REG_XMM0, value);
    return true;
}

static void get_st(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg;
    xsave_get_st(vp->vcpu, name - HV_REG_FP_MMX0, value);
}

static bool set_st(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg;
    xsave_set_st(vp->vcpu, name - HV_REG_FP_MMX0, value);
    return true;
}

static void get_fp_control(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    xsave_get_fp_control(vp->vcpu, value);
}

static bool set_fp_control(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    xsave_set_fp_control(vp->vcpu, value);
    return true;
}

static void get_xmm_control(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    xsave_get_xmm_control(vp->vcpu, value);
}

static bool set_xmm_control(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    return xsave_set_xmm_control(vp->vcpu, value);
}

/* -------------------------------------------------------------------------------- MSRs */

/* Never fetched, so that nobody has pinned the caller: the CPU's TSC may be behind what the guest has seen elsewhere.
 */
static void get_tsc(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    vp_pin(vp);
    reg_put_word(value, time_guest_tsc(vp));
    vp_unpin(vp);
}

static bool set_tsc(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    vp_pin(vp);
    time_set_guest_tsc(vp, value->u64);
    vp_unpin(vp);
    return true;
}

static void get_tsc_offset(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    reg_put_word(value, time_tsc_offset(vp));
}

static bool set_tsc_offset(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    time_move_guest_tsc(vp, value->u64 - time_tsc_offset(vp));
    return true;
}

/* Read-only registers take the value that they have. */
static void get_apic_id(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    reg_put_word(value, vp->index);
}

static bool set_apic_id(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    return (uint32_t)value->u64 == vp->index;
}

static void get_mtrr_cap(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name;
    reg_put_word(value, HV_MTRR_CAP);
}

static bool set_mtrr_cap(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name;
    return value->u64 == HV_MTRR_CAP;
}

static uint64_t physical_mask(void)
{
    return BIT64(cpu_facts()->physical_bits) - 1;
}

/* x2APIC mode exists only while the APIC is enabled (SDM 3A 10.12.1). */
static bool apic_base_is_valid(uint64_t value)
{
    uint64_t allowed = APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN | (APIC_BASE_ADDR & physical_mask());

    return !(value & ~allowed) && (!(value & APIC_BASE_EXTD) || (value & APIC_BASE_EN));
}

static bool set_apic_base(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    if (!vp->has_apic)
        return set_word(vp, reg, name, value);
    if (!lapic_set_base(&vp->lapic, value->u64, physical_mask()))
        return false;
    irq_mode_changed(vp);
    return true;
}

/* Names of the local APIC's registers are numbered as the registers are. */
static uint32_t apic_offset(uint32_t name)
{
    return (name - HV_REG_APIC_BASE_NUMBER) << 4;
}

static void get_apic(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    struct lapic_effect effect = {0};
    uint64_t word = 0;

    (void)reg;
    assist_settle(vp);
    if (!lapic_read(&vp->lapic, apic_offset(name), time_ns(vp->partition), &word, &effect))
        word = 0;
    reg_put_word(value, word);
}

/* As if the guest had written it, but for the IPI that a write to ICR would send. */
static bool set_apic(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    struct lapic_effect effect = {0};

    (void)reg;
    assist_settle(vp);
    if (!lapic_write(&vp->lapic, apic_offset(name), value->u64, time_ns(vp->partition), &effect))
        return false;
    effect.bits &= ~LAPIC_EFFECT_IPI;
    irq_apply(vp, &effect);
    irq_registers_changed(vp);
    return true;
}

/* SDM 3A 11.11.2 */
static bool mtrr_def_type_is_valid(uint64_t value)
{
    return !(value & ~(MTRR_DEF_TYPE_TYPE | MTRR_DEF_TYPE_FE | MTRR_DEF_TYPE_E)) &&
           mtrr_type_is_valid(FIELD_GET(MTRR_DEF_TYPE_TYPE, value));
}

static bool mtrr_base_is_valid(uint64_t value)
{
    return !(value & ~(MTRR_PHYSBASE_TYPE | (MTRR_PHYS_ADDR & physical_mask()))) &&
           mtrr_type_is_valid(FIELD_GET(MTRR_PHYSBASE_TYPE, value));
}

static bool mtrr_mask_is_valid(uint64_t value)
{
    return !(value & ~(MTRR_PHYSMASK_VALID | (MTRR_PHYS_ADDR & physical_mask())));
}

static bool mtrr_fixed_is_valid(uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        if (!mtrr_type_is_valid(value >> 8 * i & UINT8_MAX))
            return false;
    return true;
}

/* ------------------------------------------------------------------ interrupts and activity */

#define EXCEPTION_VECTORS 32u
#define INTERRUPT_VECTORS 256u

#define PENDING_INT_STORED                                                                             \
    (HV_PENDING_INT_VALID | HV_PENDING_INT_TYPE | HV_PENDING_INT_ERROR_VALID | HV_PENDING_INT_LENGTH | \
     HV_PENDING_INT_VECTOR | HV_PENDING_INT_ERROR_CODE)
#define PENDING_INT_TYPES                                                                  \
    (BIT32(HV_INT_TYPE_EXTERNAL) | BIT32(HV_INT_TYPE_NMI) | BIT32(HV_INT_TYPE_EXCEPTION) | \
     BIT32(HV_INT_TYPE_SOFTWARE) | BIT32(HV_INT_TYPE_PRIV_SW_EXCEPTION) | BIT32(HV_INT_TYPE_SW_EXCEPTION))

static bool interruption_is_valid(uint64_t value)
{
    if (!(value & HV_PENDING_INT_VALID))
        return true;
    return (PENDING_INT_TYPES >> FIELD_GET(HV_PENDING_INT_TYPE, value) & 1) &&
           FIELD_GET(HV_PENDING_INT_VECTOR, value) < INTERRUPT_VECTORS;
}

static bool set_interruption(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    vp->vcpu->event = value->u64 & HV_PENDING_INT_VALID ? value->u64 & PENDING_INT_STORED : 0;
    if (vp->vcpu->event)
        vp_count_event(vp);
    return true;
}

static void get_interrupt_state(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    const struct vcpu *v = vp->vcpu;

    (void)reg, (void)name;
    reg_put_word(value,
                 (v->interrupt_shadow ? HV_INT_STATE_SHADOW : 0) | (v->nmi_masked ? HV_INT_STATE_NMI_MASKED : 0));
}

/*
 * A shadow that the client makes is that of MOV SS: it may exist with IF clear, and holds a pending single-step trap
 * back for one instruction, as clients that step a guest expect.
 */
static bool set_interrupt_state(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    struct vcpu *v = vp->vcpu;
    bool shadow = (value->u64 & HV_INT_STATE_SHADOW) != 0;

    (void)reg, (void)name;
    v->shadow_by_mov_ss = shadow && (!v->interrupt_shadow || v->shadow_by_mov_ss);
    v->interrupt_shadow = shadow;
    v->nmi_masked = (value->u64 & HV_INT_STATE_NMI_MASKED) != 0;
    return true;
}

/* An ExtInt that came by WHvRequestInterrupt shows here, so that a client that saves the VP's state finds it. */
static void get_event(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    int ext_int = irq_next_ext_int(vp);

    (void)reg, (void)name;
    value->u128.low = vp->pending_event[0];
    value->u128.high = vp->pending_event[1];
    if (!(value->u128.low & HV_PENDING_EVENT_VALID) && ext_int >= 0)
        value->u128.low = HV_PENDING_EVENT_VALID | FIELD_PUT(HV_PENDING_EVENT_TYPE, HV_EVENT_TYPE_EXT_INT) |
                          FIELD_PUT(HV_PENDING_EVENT_EXT_VECTOR, (uint64_t)ext_int);
}

static bool event_is_valid(uint64_t value)
{
    if (!(value & HV_PENDING_EVENT_VALID))
        return true;
    if (FIELD_GET(HV_PENDING_EVENT_TYPE, value) == HV_EVENT_TYPE_EXCEPTION)
        return FIELD_GET(HV_PENDING_EVENT_VECTOR, value) < EXCEPTION_VECTORS;
    return FIELD_GET(HV_PENDING_EVENT_TYPE, value) == HV_EVENT_TYPE_EXT_INT;
}

static bool set_event(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    bool valid = (value->u128.low & HV_PENDING_EVENT_VALID) != 0;

    (void)reg, (void)name;
    if (!valid)
        irq_drop_ext_ints(vp, -1);
    else if (FIELD_GET(HV_PENDING_EVENT_TYPE, value->u128.low) == HV_EVENT_TYPE_EXT_INT)
        irq_drop_ext_ints(vp, (int)FIELD_GET(HV_PENDING_EVENT_EXT_VECTOR, value->u128.low)); /* the same one */
    vp_set_pending_event(vp, value->u128.low, value->u128.high);
    return true;
}

static bool notifications_are_valid(uint64_t value)
{
    return !(value & ~(HV_NOTIFY_NMI | HV_NOTIFY_INTERRUPT | HV_NOTIFY_PRIORITY | HV_NOTIFY_SINT));
}

/* What there is no SynIC for would never come. */
static bool set_notifications(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    if (value->u64 & HV_NOTIFY_SINT && !vp->synic.messages)
        return false;
    return set_word(vp, reg, name, value);
}

static void get_activity(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    reg_put_word(value, vp->activity);
}

static bool set_activity(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    vp->activity = (uint8_t)value->u64;
    return true;
}

static bool activity_is_valid(uint64_t value)
{
    return !(value & ~(HV_ACTIVITY_STARTUP_SUSPEND | HV_ACTIVITY_HALT_SUSPEND | HV_ACTIVITY_IDLE_SUSPEND));
}

/* vcpu.pending_debug, in the layout of SDM 3C 24.4.2 */
#define DEBUG_BP      BITS64(3, 0)
#define DEBUG_ENABLED BIT64(12) /* a breakpoint that DR7 enables was met */
#define DEBUG_BS      BIT64(14)

static void get_debug(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    uint64_t pending = vp->vcpu->pending_debug;

    (void)reg, (void)name;
    reg_put_word(value, FIELD_GET(DEBUG_BP, pending) | (pending & DEBUG_BS ? HV_PENDING_DEBUG_SINGLE_STEP : 0));
}

static bool set_debug(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    uint64_t breakpoints = value->u64 & HV_PENDING_DEBUG_BP;

    (void)reg, (void)name;
    vp->vcpu->pending_debug =
        breakpoints | (breakpoints ? DEBUG_ENABLED : 0) | (value->u64 & HV_PENDING_DEBUG_SINGLE_STEP ? DEBUG_BS : 0);
    return true;
}

/* --------------------------------------------------------------------- the guest's interface */

static void get_synthetic(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    uint64_t word;

    (void)name;
    vp_pin(vp);
    if (!synthetic_read(vp, MSR_HV_FIRST + reg->offset, SYNTHETIC_CLIENT, &word))
        word = 0;
    vp_unpin(vp);
    reg_put_word(value, word);
}

static bool set_synthetic(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    bool done;

    (void)name;
    vp_pin(vp);
    done = synthetic_write(vp, MSR_HV_FIRST + reg->offset, SYNTHETIC_CLIENT, value->u64);
    vp_unpin(vp);
    return done;
}

/* ------------------------------------------------------------------------------- kinds */

static void get_nothing(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name;
    reg_put_word(value, 0);
}

static bool set_nothing(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name, (void)value;
    return false;
}

/* clang-format off */
const struct reg_kind reg_kinds[KIND_COUNT] = {
    [KIND_NONE]            = {get_nothing,         set_nothing,         NULL},
    [KIND_PLAIN]           = {get_word,            set_word,            NULL},
    [KIND_LOW32]           = {get_word,            set_low32,           NULL},
    [KIND_CANONICAL]       = {get_word,            set_word,            cpu_is_canonical},
    [KIND_CONTROL]         = {get_word,            set_control,         NULL},
    [KIND_CR4]             = {get_word,            set_control,         cr4_is_harmless},
    [KIND_EFER]            = {get_word,            set_control,         efer_is_valid},
    [KIND_CR8]             = {get_word,            set_cr8,             cr8_is_valid},
    [KIND_DR]              = {get_word,            set_dr,              NULL},
    [KIND_DR6]             = {get_word,            set_word,            is_low32},
    [KIND_DR7]             = {get_word,            set_dr7,             is_low32},
    [KIND_XCR0]            = {get_word,            set_word,            xcr0_is_valid},
    [KIND_XSS]             = {get_word,            set_word,            xss_is_valid},
    [KIND_SEGMENT]         = {get_pair,            set_segment,         NULL},
    [KIND_TABLE]           = {get_pair,            set_table,           NULL},
    [KIND_XMM]             = {get_xmm,             set_xmm,             NULL},
    [KIND_ST]              = {get_st,              set_st,              NULL},
    [KIND_FP_CONTROL]      = {get_fp_control,      set_fp_control,      NULL},
    [KIND_XMM_CONTROL]     = {get_xmm_control,     set_xmm_control,     NULL},
    [KIND_TSC]             = {get_tsc,             set_tsc,             NULL},
    [KIND_TSC_OFFSET]      = {get_tsc_offset,      set_tsc_offset,      NULL},
    [KIND_PAT]             = {get_word,            set_word,            pat_is_valid},
    [KIND_APIC_ID]         = {get_apic_id,         set_apic_id,         NULL},
    [KIND_APIC_BASE]       = {get_word,            set_apic_base,       apic_base_is_valid},
    [KIND_APIC]            = {get_apic,            set_apic,            NULL},
    [KIND_TSC_ADJUST]      = {get_word,            set_word,            NULL},
    [KIND_MTRR_CAP]        = {get_mtrr_cap,        set_mtrr_cap,        NULL},
    [KIND_MTRR_DEF_TYPE]   = {get_word,            set_word,            mtrr_def_type_is_valid},
    [KIND_MTRR_BASE]       = {get_word,            set_word,            mtrr_base_is_valid},
    [KIND_MTRR_MASK]       = {get_word,            set_word,            mtrr_mask_is_valid},
    [KIND_MTRR_FIXED]      = {get_word,            set_word,            mtrr_fixed_is_valid},
    [KIND_INTERRUPTION]    = {get_word,            set_interruption,    interruption_is_valid},
    [KIND_INTERRUPT_STATE] = {get_interrupt_state, set_interrupt_state, NULL},
    [KIND_EVENT]           = {get_event,           set_event,           event_is_valid},
    [KIND_NOTIFICATIONS]   = {get_word,            set_notifications,   notifications_are_valid},
    [KIND_ACTIVITY]        = {get_activity,        set_activity,        activity_is_valid},
    [KIND_DEBUG]           = {get_debug,           set_debug,           NULL},
    [KIND_SYNTHETIC]       = {get_synthetic,       set_synthetic,       NULL},
};
/* clang-format on */
