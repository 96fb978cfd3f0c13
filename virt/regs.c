/* SPDX-License-Identifier: MIT */
/*
 * The registers of a VP by name. Each name has a row in a table: its kind, where it is kept, and the register group
 * that it belongs to. A kind says how the value moves and what it may be. Setting never touches hardware: it changes
 * the cache and marks the group.
 */
#include "xsave.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>

/* Groups of more than one register: what is not set has to be known when they are marked as changed. */
#define SHARED_GROUPS (VCPU_TABLES | VCPU_SYSENTER | VCPU_INTR)
/* In a row's groups: the CPU has the register only with XSAVE. No register group. */
#define NEEDS_XSAVE   BIT32(31)

enum kind_index {
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
    KIND_PAT,
    KIND_APIC_ID,
    KIND_APIC_BASE,
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
    KIND_COUNT
};

struct reg {
    uint8_t kind;
    uint16_t offset; /* in struct vcpu */
    uint32_t groups;
};

#define IN_VCPU(field) offsetof(struct vcpu, field)
#define GPR(n)         [n] = {KIND_PLAIN, IN_VCPU(gpr[n]), (n) == GPR_RSP ? VCPU_RSP : 0}
#define SEGMENT(s)     [HV_REG_ES + (s)] = {KIND_SEGMENT, IN_VCPU(seg[s]), VCPU_SEG(s)}

/* clang-format off */
static const struct reg low_regs[] = {
    GPR(0), GPR(1), GPR(2),  GPR(3),  GPR(4),  GPR(5),  GPR(6),  GPR(7),
    GPR(8), GPR(9), GPR(10), GPR(11), GPR(12), GPR(13), GPR(14), GPR(15),
    [HV_REG_RIP]    = {KIND_PLAIN,   IN_VCPU(rip),    VCPU_RIP},
    [HV_REG_RFLAGS] = {KIND_PLAIN,   IN_VCPU(rflags), VCPU_RFLAGS},
    SEGMENT(SEG_ES), SEGMENT(SEG_CS), SEGMENT(SEG_SS), SEGMENT(SEG_DS), SEGMENT(SEG_FS), SEGMENT(SEG_GS),
    SEGMENT(SEG_LDTR), SEGMENT(SEG_TR),
    [HV_REG_IDTR]   = {KIND_TABLE,   IN_VCPU(idtr),   VCPU_TABLES},
    [HV_REG_GDTR]   = {KIND_TABLE,   IN_VCPU(gdtr),   VCPU_TABLES},
    [HV_REG_CR0]    = {KIND_CONTROL, IN_VCPU(cr0),    VCPU_CR0},
    [HV_REG_CR2]    = {KIND_PLAIN,   IN_VCPU(cr2),    0},
    [HV_REG_CR3]    = {KIND_CONTROL, IN_VCPU(cr3),    VCPU_CR3},
    [HV_REG_CR4]    = {KIND_CR4,     IN_VCPU(cr4),    VCPU_CR4},
    [HV_REG_CR8]    = {KIND_CR8,     IN_VCPU(cr8),    VCPU_CR8},
    [HV_REG_DR0]    = {KIND_DR,      IN_VCPU(dr[0]),  0},
    [HV_REG_DR1]    = {KIND_DR,      IN_VCPU(dr[1]),  0},
    [HV_REG_DR2]    = {KIND_DR,      IN_VCPU(dr[2]),  0},
    [HV_REG_DR3]    = {KIND_DR,      IN_VCPU(dr[3]),  0},
    [HV_REG_DR6]    = {KIND_DR6,     IN_VCPU(dr6),    0},
    [HV_REG_DR7]    = {KIND_DR7,     IN_VCPU(dr7),    VCPU_DR7},
    [HV_REG_XCR0]   = {KIND_XCR0,    IN_VCPU(xcr0),   NEEDS_XSAVE},
};

/* from HV_REG_XMM0 on */
static const struct reg fp_regs[] = {
    [0x00 ... 0x0f] = {KIND_XMM,         0, 0},
    [0x10 ... 0x17] = {KIND_ST,          0, 0},
    [0x18]          = {KIND_FP_CONTROL,  0, 0},
    [0x19]          = {KIND_XMM_CONTROL, 0, 0},
};

#define MSR(name)         [HV_REG_##name - HV_REG_TSC]
#define MSRS(first, last) [(HV_REG_##first) - HV_REG_TSC ... (HV_REG_##last) - HV_REG_TSC]
#define IN_MSRS(index)    offsetof(struct vcpu, msr[VCPU_MSR_##index])

static const struct reg msr_regs[] = {
    MSR(TSC)                                  = {KIND_TSC,           IN_VCPU(tsc_offset),     VCPU_TSC},
    MSR(EFER)                                 = {KIND_EFER,          IN_VCPU(efer),           VCPU_EFER},
    MSR(KERNEL_GS_BASE)                       = {KIND_CANONICAL,     IN_MSRS(KERNEL_GS_BASE), 0},
    MSR(APIC_BASE)                            = {KIND_APIC_BASE,     0,                       0},
    MSR(PAT)                                  = {KIND_PAT,           IN_VCPU(pat),            VCPU_PAT},
    MSR(SYSENTER_CS)                          = {KIND_LOW32,         IN_VCPU(sysenter_cs),    VCPU_SYSENTER},
    MSR(SYSENTER_EIP)                         = {KIND_CANONICAL,     IN_VCPU(sysenter_eip),   VCPU_SYSENTER},
    MSR(SYSENTER_ESP)                         = {KIND_CANONICAL,     IN_VCPU(sysenter_esp),   VCPU_SYSENTER},
    MSR(STAR)                                 = {KIND_PLAIN,         IN_MSRS(STAR),           0},
    MSR(LSTAR)                                = {KIND_CANONICAL,     IN_MSRS(LSTAR),          0},
    MSR(CSTAR)                                = {KIND_CANONICAL,     IN_MSRS(CSTAR),          0},
    MSR(SFMASK)                               = {KIND_LOW32,         IN_MSRS(SFMASK),         0},
    MSR(INITIAL_APIC_ID)                      = {KIND_APIC_ID,       0,                       0},
    MSR(MTRR_CAP)                             = {KIND_MTRR_CAP,      0,                       0},
    MSR(MTRR_DEF_TYPE)                        = {KIND_MTRR_DEF_TYPE, 0,                       0},
    MSRS(MTRR_PHYS_BASE0, MTRR_PHYS_BASEF)    = {KIND_MTRR_BASE,     0,                       0},
    MSRS(MTRR_PHYS_MASK0, MTRR_PHYS_MASKF)    = {KIND_MTRR_MASK,     0,                       0},
    MSRS(MTRR_FIX64K_00000, MTRR_FIX4K_F8000) = {KIND_MTRR_FIXED,    0,                       0},
    MSR(TSC_AUX)                              = {KIND_LOW32,         IN_MSRS(TSC_AUX),        0},
    MSR(TSC_VIRTUAL_OFFSET)                   = {KIND_PLAIN,         IN_VCPU(tsc_offset),     VCPU_TSC},
    MSR(XSS)                                  = {KIND_XSS,           IN_VCPU(xss),            NEEDS_XSAVE},
    MSR(TSC_ADJUST)                           = {KIND_TSC_ADJUST,    0,                       0},
};

#define STATE(name) [HV_REG_##name - HV_REG_PENDING_INTERRUPTION]

static const struct reg state_regs[] = {
    STATE(PENDING_INTERRUPTION)         = {KIND_INTERRUPTION,    IN_VCPU(event), 0},
    STATE(INTERRUPT_STATE)              = {KIND_INTERRUPT_STATE, 0,              VCPU_INTR},
    STATE(PENDING_EVENT)                = {KIND_EVENT,           0,              0},
    STATE(DELIVERABILITY_NOTIFICATIONS) = {KIND_NOTIFICATIONS,   0,              0},
    STATE(INTERNAL_ACTIVITY_STATE)      = {KIND_ACTIVITY,        0,              0},
    STATE(PENDING_DEBUG_EXCEPTION)      = {KIND_DEBUG,           0,              VCPU_INTR},
};
/* clang-format on */

static const struct {
    uint32_t first, count;
    const struct reg *regs;
} segments[] = {
    {HV_REG_RAX, ARRAY_COUNT(low_regs), low_regs},
    {HV_REG_XMM0, ARRAY_COUNT(fp_regs), fp_regs},
    {HV_REG_TSC, ARRAY_COUNT(msr_regs), msr_regs},
    {HV_REG_PENDING_INTERRUPTION, ARRAY_COUNT(state_regs), state_regs},
};

static const struct reg no_reg = {KIND_NONE, 0, 0};

__attribute__((noinline)) static const struct reg *find_beyond_low(uint32_t name)
{
    for (unsigned i = 1; i < ARRAY_COUNT(segments); i++)
        if (name - segments[i].first < segments[i].count)
            return &segments[i].regs[name - segments[i].first];
    return &no_reg;
}

static inline const struct reg *find(uint32_t name)
{
    return name < ARRAY_COUNT(low_regs) ? &low_regs[name] : find_beyond_low(name);
}

/* ----------------------------------------------------------------------- values as words */

/* Where a 64-bit register is kept. */
static uint64_t *word_of(struct hv_vp *vp, const struct reg *reg, uint32_t name)
{
    switch (reg->kind) {
    case KIND_APIC_BASE:
        return &vp->apic_base;
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
    case KIND_ACTIVITY:
        return &vp->activity;
    default:
        return (uint64_t *)((char *)vp->vcpu + reg->offset);
    }
}

static void put_word(union hv_reg_value *value, uint64_t word)
{
    value->u128.low = word;
    value->u128.high = 0;
}

static void get_word(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    put_word(value, *word_of(vp, reg, name));
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

static bool is_canonical(uint64_t value)
{
    unsigned unused = 64 - cpu_facts()->linear_bits;

    return (uint64_t)((int64_t)(value << unused) >> unused) == value;
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

static void get_tsc(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    put_word(value, cpu_tsc() + vp->vcpu->tsc_offset);
}

static bool set_tsc(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    vp->vcpu->tsc_offset = value->u64 - cpu_tsc();
    return true;
}

/* Read-only registers take the value that they have. */
static void get_apic_id(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    put_word(value, vp->index);
}

static bool set_apic_id(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)reg, (void)name;
    return (uint32_t)value->u64 == vp->index;
}

static void get_mtrr_cap(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name;
    put_word(value, HV_MTRR_CAP);
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
    return true;
}

static void get_interrupt_state(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    const struct vcpu *v = vp->vcpu;

    (void)reg, (void)name;
    put_word(value, (v->interrupt_shadow ? HV_INT_STATE_SHADOW : 0) | (v->nmi_masked ? HV_INT_STATE_NMI_MASKED : 0));
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

static void get_event(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)reg, (void)name;
    value->u128.low = vp->pending_event[0];
    value->u128.high = vp->pending_event[1];
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
    vp->pending_event[0] = valid ? value->u128.low : 0;
    vp->pending_event[1] = valid ? value->u128.high : 0;
    return true;
}

static bool notifications_are_valid(uint64_t value)
{
    return !(value & ~(HV_NOTIFY_NMI | HV_NOTIFY_INTERRUPT | HV_NOTIFY_PRIORITY));
}

static bool activity_is_valid(uint64_t value)
{
    return !(value & ~(HV_ACTIVITY_STARTUP_SUSPEND | HV_ACTIVITY_HALT_SUSPEND | HV_ACTIVITY_IDLE_SUSPEND));
}

/* vcpu.pending_debug, in the layout of VMX (SDM 3C 24.4.2) */
#define DEBUG_BP      BITS64(3, 0)
#define DEBUG_ENABLED BIT64(12) /* a breakpoint that DR7 enables was met */
#define DEBUG_BS      BIT64(14)

static void get_debug(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    uint64_t pending = vp->vcpu->pending_debug;

    (void)reg, (void)name;
    put_word(value, FIELD_GET(DEBUG_BP, pending) | (pending & DEBUG_BS ? HV_PENDING_DEBUG_SINGLE_STEP : 0));
}

static bool set_debug(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    uint64_t breakpoints = value->u64 & HV_PENDING_DEBUG_BP;

    (void)reg, (void)name;
    vp->vcpu->pending_debug =
        breakpoints | (breakpoints ? DEBUG_ENABLED : 0) | (value->u64 & HV_PENDING_DEBUG_SINGLE_STEP ? DEBUG_BS : 0);
    return true;
}

/* ------------------------------------------------------------------------------- kinds */

static void get_nothing(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name;
    put_word(value, 0);
}

static bool set_nothing(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value)
{
    (void)vp, (void)reg, (void)name, (void)value;
    return false;
}

/* clang-format off */
static const struct kind {
    void (*get)(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value *value);
    bool (*set)(struct hv_vp *vp, const struct reg *reg, uint32_t name, const union hv_reg_value *value);
    bool (*is_valid)(uint64_t word); /* NULL: any value */
} kinds[KIND_COUNT] = {
    [KIND_NONE]            = {get_nothing,         set_nothing,         NULL},
    [KIND_PLAIN]           = {get_word,            set_word,            NULL},
    [KIND_LOW32]           = {get_word,            set_low32,           NULL},
    [KIND_CANONICAL]       = {get_word,            set_word,            is_canonical},
    [KIND_CONTROL]         = {get_word,            set_control,         NULL},
    [KIND_CR4]             = {get_word,            set_control,         cr4_is_harmless},
    [KIND_EFER]            = {get_word,            set_control,         efer_is_valid},
    [KIND_CR8]             = {get_word,            set_word,            cr8_is_valid},
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
    [KIND_PAT]             = {get_word,            set_word,            pat_is_valid},
    [KIND_APIC_ID]         = {get_apic_id,         set_apic_id,         NULL},
    [KIND_APIC_BASE]       = {get_word,            set_word,            apic_base_is_valid},
    [KIND_TSC_ADJUST]      = {get_word,            set_word,            NULL},
    [KIND_MTRR_CAP]        = {get_mtrr_cap,        set_mtrr_cap,        NULL},
    [KIND_MTRR_DEF_TYPE]   = {get_word,            set_word,            mtrr_def_type_is_valid},
    [KIND_MTRR_BASE]       = {get_word,            set_word,            mtrr_base_is_valid},
    [KIND_MTRR_MASK]       = {get_word,            set_word,            mtrr_mask_is_valid},
    [KIND_MTRR_FIXED]      = {get_word,            set_word,            mtrr_fixed_is_valid},
    [KIND_INTERRUPTION]    = {get_word,            set_interruption,    interruption_is_valid},
    [KIND_INTERRUPT_STATE] = {get_interrupt_state, set_interrupt_state, NULL},
    [KIND_EVENT]           = {get_event,           set_event,           event_is_valid},
    [KIND_NOTIFICATIONS]   = {get_word,            set_word,            notifications_are_valid},
    [KIND_ACTIVITY]        = {get_word,            set_word,            activity_is_valid},
    [KIND_DEBUG]           = {get_debug,           set_debug,           NULL},
};
/* clang-format on */

/*
 * A client that changes its list under our eyes gets nonsense, never more than that: rows of KIND_NONE are harmless,
 * indices masked, and what is checked is our copy of the value.
 */
static void get_one(struct hv_vp *vp, uint32_t name, union hv_reg_value *value)
{
    const struct reg *reg = find(name);

    if (reg->kind == KIND_PLAIN)
        put_word(value, *(const uint64_t *)((const char *)vp->vcpu + reg->offset));
    else
        kinds[reg->kind].get(vp, reg, name, value);
}

static bool set_checked(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value value)
{
    const struct kind *kind = &kinds[reg->kind];

    return (!kind->is_valid || kind->is_valid(value.u64)) && kind->set(vp, reg, name, &value);
}

static bool set_one(struct hv_vp *vp, uint32_t name, const union hv_reg_value *value)
{
    const struct reg *reg = find(name);

    if (reg->kind == KIND_PLAIN)
        *(uint64_t *)((char *)vp->vcpu + reg->offset) = value->u64;
    else if (!set_checked(vp, reg, name, *value))
        return false;
    vcpu_changed(vp->vcpu, reg->groups & VCPU_ALL);
    return true;
}

/* ------------------------------------------------------------------------------ lists */

/* All names exist here? Collects their groups. */
__attribute__((noinline)) static enum hv_status check_names(const uint32_t *names, uint32_t count, uint32_t *groups)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct reg *reg = find(names[i]);

        if (reg->kind == KIND_NONE)
            return HV_E_REGISTER_NAME;
        *groups |= reg->groups;
    }
    if ((*groups & NEEDS_XSAVE) && !cpu_facts()->xcr0_allowed)
        return HV_E_REGISTER_NAME;
    return HV_OK;
}

static void fetch(struct hv_vp *vp, uint32_t groups)
{
    if (!(groups & ~vp->vcpu->valid))
        return;
    vcpu_need(vp_pin(vp), groups);
    vp_unpin(vp);
}

__attribute__((noinline)) static enum hv_status get_list(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                                         union hv_reg_value *values)
{
    uint32_t groups = 0;
    enum hv_status st = check_names(names, count, &groups);

    if (st != HV_OK)
        return st;
    fetch(vp, groups & VCPU_ALL);
    for (uint32_t i = 0; i < count; i++)
        get_one(vp, names[i], &values[i]);
    return HV_OK;
}

__attribute__((noinline)) static enum hv_status set_list(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                                         const union hv_reg_value *values)
{
    for (uint32_t i = 0; i < count; i++)
        if (!set_one(vp, names[i], &values[i]))
            return HV_E_REGISTER_VALUE;
    return HV_OK;
}

/* ------------------------------------------------------------- the short way for common lists */

/*
 * Clients mostly begin with the general registers, RIP and RFLAGS, whose names are the lowest ones: no check and no
 * conversion. The first of a list's names are handled here as long as they are of these, general registers in fours.
 */
#define PLAIN_COUNT  (HV_REG_RFLAGS + 1u)
#define PLAIN_GROUPS (VCPU_RSP | VCPU_RIP | VCPU_RFLAGS)
#define GPR_STEP     4u

static bool are_gprs(const uint32_t names[GPR_STEP])
{
    return (names[0] | names[1] | names[2] | names[3]) < GPR_COUNT;
}

static uint64_t *plain(struct vcpu *v, uint32_t name)
{
    return (uint64_t *)((char *)v + low_regs[name].offset);
}

/* A name is read once for its check and its use: the list may be changing. */
static uint32_t name_at(const uint32_t *names, uint32_t i)
{
    return __atomic_load_n(&names[i], __ATOMIC_RELAXED);
}

/* How many names from the first on are general registers, in fours? */
static uint32_t count_gprs(const uint32_t *names, uint32_t count)
{
    uint32_t i = 0;

    while (count - i >= GPR_STEP && are_gprs(names + i))
        i += GPR_STEP;
    return i;
}

/* How many are plain registers, if the first `i` are? */
static uint32_t count_plain(const uint32_t *names, uint32_t i, uint32_t count)
{
    while (i < count && names[i] < PLAIN_COUNT)
        i++;
    return i;
}

/* Returns how many it got. */
static uint32_t get_plain(struct vcpu *v, const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    uint32_t i = 0;

    for (; count - i >= GPR_STEP && are_gprs(names + i); i += GPR_STEP) {
        put_word(&values[i], v->gpr[names[i] % GPR_COUNT]);
        put_word(&values[i + 1], v->gpr[names[i + 1] % GPR_COUNT]);
        put_word(&values[i + 2], v->gpr[names[i + 2] % GPR_COUNT]);
        put_word(&values[i + 3], v->gpr[names[i + 3] % GPR_COUNT]);
    }
    for (uint32_t name; i < count && (name = name_at(names, i)) < PLAIN_COUNT; i++)
        put_word(&values[i], *plain(v, name));
    return i;
}

static uint32_t plain_groups(uint32_t seen)
{
    return (seen & BIT32(HV_REG_RSP) ? VCPU_RSP : 0) | (seen & BIT32(HV_REG_RIP) ? VCPU_RIP : 0) |
           (seen & BIT32(HV_REG_RFLAGS) ? VCPU_RFLAGS : 0);
}

static uint32_t set_gpr(struct vcpu *v, uint32_t name, const union hv_reg_value *value)
{
    v->gpr[name % GPR_COUNT] = value->u64;
    return BIT32(name % GPR_COUNT);
}

/* The first `gprs` names are general registers, and all of them plain ones. */
static void set_plain(struct vcpu *v, const uint32_t *names, uint32_t gprs, uint32_t count,
                      const union hv_reg_value *values)
{
    uint32_t seen = 0, i;

    for (i = 0; i < gprs; i += GPR_STEP) {
        seen |= set_gpr(v, name_at(names, i), &values[i]);
        seen |= set_gpr(v, name_at(names, i + 1), &values[i + 1]);
        seen |= set_gpr(v, name_at(names, i + 2), &values[i + 2]);
        seen |= set_gpr(v, name_at(names, i + 3), &values[i + 3]);
    }
    for (uint32_t name; i < count && (name = name_at(names, i)) < PLAIN_COUNT; i++) {
        *plain(v, name) = values[i].u64;
        seen |= BIT32(name);
    }
    vcpu_changed(v, plain_groups(seen));
}

enum hv_status hv_vp_get_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    enum hv_status st = HV_OK;
    uint32_t done = 0;

    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    if (count >= GPR_STEP && are_gprs(names))
        fetch(vp, PLAIN_GROUPS);
    if (!(PLAIN_GROUPS & ~vp->vcpu->valid))
        done = get_plain(vp->vcpu, names, count, values);
    if (done < count)
        st = get_list(vp, names + done, count - done, values + done);
    vp_release(vp);
    return st;
}

/* A list that has more than plain registers after the first `done`. All names are checked before anything is written.
 */
__attribute__((noinline)) static enum hv_status set_mixed(struct hv_vp *vp, const uint32_t *names, uint32_t done,
                                                          uint32_t count, const union hv_reg_value *values)
{
    uint32_t groups = 0;
    enum hv_status st = check_names(names + done, count - done, &groups);

    if (st != HV_OK)
        return st;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    fetch(vp, groups & SHARED_GROUPS);
    set_plain(vp->vcpu, names, 0, done, values);
    st = set_list(vp, names + done, count - done, values + done);
    vp_release(vp);
    return st;
}

enum hv_status hv_vp_set_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                   const union hv_reg_value *values)
{
    uint32_t gprs = count_gprs(names, count), done = count_plain(names, gprs, count);

    if (done < count)
        return set_mixed(vp, names, done, count, values);
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    set_plain(vp->vcpu, names, gprs, count, values);
    vp_release(vp);
    return HV_OK;
}
