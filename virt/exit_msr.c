/* SPDX-License-Identifier: MIT */
/*
 * RDMSR and WRMSR: what the guest's MSRs are, in one table, and which of them the client wants to hear of. MSRs that
 * the backend lets the guest use directly are here too, for the times that they exit.
 */
#include "exit_msr.h"
#include "exit.h"
#include "exit_apic.h"
#include "partition.h"
#include "synthetic.h"
#include "time.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>

struct msr {
    uint32_t first, count;
    /* false: #GP(0) */
    bool (*read)(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value);
    bool (*write)(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value);
    uint64_t argument;    /* a constant value, or an offset in struct vcpu */
    uint32_t groups;      /* of that field */
    uint8_t needs;        /* NEEDS_*: without it the MSR is not there */
    uint8_t exit_on_read; /* HV_MSR_EXIT_*: this bit of X64MsrExitBitmap gives the access to the client */
    uint8_t exit_on_write;
};

enum { NEEDS_NOTHING, NEEDS_LOW, NEEDS_HIGH, NEEDS_APIC, NEEDS_INTERFACE }; /* LOW, HIGH: CPU_MAKE_*_MSRS */

/* -------------------------------------------------------------------------- kinds of values */

bool mtrr_type_is_valid(uint64_t type)
{
    return type == MEM_TYPE_UC || type == MEM_TYPE_WC || (type >= MEM_TYPE_WT && type <= MEM_TYPE_WB);
}

bool pat_is_valid(uint64_t pat)
{
    for (unsigned i = 0; i < 64; i += 8)
        if (!mtrr_type_is_valid(pat >> i & UINT8_MAX) && (pat >> i & UINT8_MAX) != MEM_TYPE_UC_MINUS)
            return false;
    return true;
}

static uint64_t physical_mask(const struct hv_vp *vp)
{
    return BITS64(vp->partition->properties.physical_address_width - 1, 0);
}

/* ---------------------------------------------------------------------- MSRs without a meaning */

static bool no_read(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)vp, (void)msr, (void)index, (void)value;
    return false;
}

static bool no_write(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)vp, (void)msr, (void)index, (void)value;
    return false;
}

static bool read_constant(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)vp, (void)index;
    *value = msr->argument;
    return true;
}

static bool write_ignored(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)vp, (void)msr, (void)index, (void)value;
    return true;
}

static bool write_zero(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)vp, (void)msr, (void)index;
    return value == 0;
}

/* ----------------------------------------------------------------------- registers of the vcpu */

static uint64_t *vcpu_field(struct hv_vp *vp, const struct msr *msr)
{
    vcpu_need(vp->vcpu, msr->groups);
    return (uint64_t *)((char *)vp->vcpu + msr->argument);
}

static bool set_vcpu_field(struct hv_vp *vp, const struct msr *msr, uint64_t value)
{
    *vcpu_field(vp, msr) = value;
    vcpu_changed(vp->vcpu, msr->groups);
    return true;
}

static bool read_vcpu(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)index;
    *value = *vcpu_field(vp, msr);
    return true;
}

static bool write_low(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)index;
    return set_vcpu_field(vp, msr, (uint32_t)value);
}

static bool write_canonical(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)index;
    return cpu_is_canonical(value) && set_vcpu_field(vp, msr, value);
}

static bool write_pat(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)index;
    return pat_is_valid(value) && set_vcpu_field(vp, msr, value);
}

/* LMA is the CPU's to set; long mode can not be left or entered by LME while paging is on (SDM 3A 2.2.1). */
static bool write_efer(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    struct vcpu *v = vp->vcpu;
    uint64_t changed;

    (void)index;
    vcpu_need(v, VCPU_EFER | VCPU_CR0);
    changed = v->efer ^ value;
    if (value & ~cpu_facts()->efer_allowed || (changed & EFER_LME && v->cr0 & CR0_PG))
        return false;
    return set_vcpu_field(vp, msr, (value & ~EFER_LMA) | (v->efer & EFER_LMA));
}

/* ------------------------------------------------- MSRs that are the guest's while it is loaded */

static const struct {
    uint32_t index;
    uint8_t which;
    bool is_address, is_low; /* else any value */
} switched[] = {
    {MSR_IA32_STAR, VCPU_MSR_STAR, false, false},
    {MSR_IA32_LSTAR, VCPU_MSR_LSTAR, true, false},
    {MSR_IA32_CSTAR, VCPU_MSR_CSTAR, true, false},
    {MSR_IA32_FMASK, VCPU_MSR_SFMASK, false, true},
    {MSR_IA32_KERNEL_GS_BASE, VCPU_MSR_KERNEL_GS_BASE, true, false},
};

static bool read_switched(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr;
    for (size_t i = 0; i < ARRAY_COUNT(switched); i++)
        if (switched[i].index == index)
            *value = vcpu_read_msr(vp->vcpu, switched[i].which);
    return true;
}

/* What the CPU would refuse must be refused here: the value goes into its register. */
static bool write_switched(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr;
    for (size_t i = 0; i < ARRAY_COUNT(switched); i++) {
        if (switched[i].index != index)
            continue;
        if ((switched[i].is_address && !cpu_is_canonical(value)) || (switched[i].is_low && value >> 32))
            return false;
        vcpu_write_msr(vp->vcpu, switched[i].which, value);
    }
    return true;
}

static bool has_tsc_aux(struct hv_vp *vp)
{
    return cpu_facts()->has_rdtscp && vp->partition->properties.features[0] & (HV_FEATURE0_RDTSCP | HV_FEATURE0_RDPID);
}

static bool read_tsc_aux(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vp->vcpu->msr[VCPU_MSR_TSC_AUX];
    return has_tsc_aux(vp);
}

static bool write_tsc_aux(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    if (!has_tsc_aux(vp) || value >> 32)
        return false;
    vcpu_write_msr(vp->vcpu, VCPU_MSR_TSC_AUX, value);
    return true;
}

/* -------------------------------------------------------------------------------------- time */

static void move_tsc(struct hv_vp *vp, uint64_t by)
{
    if (!by)
        return;
    vp->tsc_adjust += by;
    time_move_guest_tsc(vp, by);
}

static bool read_tsc(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vcpu_guest_tsc(vp->vcpu);
    return true;
}

/* Writing either moves both (SDM 3B 18.17.3). */
static bool write_tsc(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    move_tsc(vp, value - vcpu_guest_tsc(vp->vcpu));
    return true;
}

static bool has_tsc_adjust(struct hv_vp *vp)
{
    return vp->partition->properties.features[1] & HV_FEATURE1_TSC_ADJUST;
}

static bool read_tsc_adjust(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vp->tsc_adjust;
    return has_tsc_adjust(vp);
}

static bool write_tsc_adjust(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    if (!has_tsc_adjust(vp))
        return false;
    move_tsc(vp, value - vp->tsc_adjust);
    return true;
}

/* ------------------------------------------------------------------------------- MSRs of the VP */

static bool read_apic_base(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vp->lapic.base;
    return true;
}

/* Without a local APIC there is nothing to move or turn off: what would be right for one changes nothing. */
static bool write_apic_base(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    uint64_t allowed = APIC_BASE_BSP | APIC_BASE_EN | (APIC_BASE_ADDR & physical_mask(vp));

    (void)msr, (void)index;
    if (vp->has_apic)
        return exit_apic_write_base(vp, value, physical_mask(vp));
    return !(value & ~allowed);
}

static bool read_x2apic(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr;
    return exit_apic_read_msr(vp, index, value);
}

static bool write_x2apic(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr;
    return exit_apic_write_msr(vp, index, value);
}

static bool read_tsc_deadline(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    return exit_apic_read_deadline(vp, value);
}

static bool write_tsc_deadline(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    return exit_apic_write_deadline(vp, value);
}

static bool read_synthetic(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr;
    return synthetic_read(vp, index, SYNTHETIC_GUEST, value);
}

static bool write_synthetic(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr;
    return synthetic_write(vp, index, SYNTHETIC_GUEST, value);
}

#define MISC_ENABLE_THERMAL BIT64(3)
#define MISC_ENABLE_WRITABLE \
    (MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_EIST | MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_XTPR_DISABLE)
#define MISC_ENABLE_READ_ONLY (MISC_ENABLE_PERFMON | MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAIL)
/* taken, but they stay off: thermal control, MONITOR, and switching XD off, which would have to reach CPUID and EFER */
#define MISC_ENABLE_IGNORED   (MISC_ENABLE_THERMAL | MISC_ENABLE_MONITOR | MISC_ENABLE_XD_DISABLE)

static bool read_misc_enable(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vp->misc_enable;
    return true;
}

static bool write_misc_enable(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    if (value & ~(MISC_ENABLE_WRITABLE | MISC_ENABLE_READ_ONLY | MISC_ENABLE_IGNORED))
        return false;
    vp->misc_enable = (vp->misc_enable & ~MISC_ENABLE_WRITABLE) | (value & MISC_ENABLE_WRITABLE);
    return true;
}

/* Such that no update will ever beat it. */
static bool read_revision(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)vp, (void)msr, (void)index;
    *value = cpu_facts()->microcode_revision;
    return true;
}

/* Branches are not recorded: these bits have no effect. */
static bool write_debugctl(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)vp, (void)msr, (void)index;
    return !(value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF));
}

static bool has_xss(struct hv_vp *vp)
{
    return vp->partition->properties.xsave_features & HV_XSAVE_XSAVES;
}

static bool read_xss(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vp->vcpu->xss;
    return has_xss(vp);
}

static bool write_xss(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    return has_xss(vp) && value == 0; /* no supervisor component is given to guests */
}

/* -------------------------------------------------------- MTRRs: kept and checked, without effect */

static bool read_mtrr_def_type(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr, (void)index;
    *value = vp->mtrr.def_type;
    return true;
}

static bool write_mtrr_def_type(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr, (void)index;
    if (value & ~(MTRR_DEF_TYPE_TYPE | MTRR_DEF_TYPE_FE | MTRR_DEF_TYPE_E) ||
        !mtrr_type_is_valid(FIELD_GET(MTRR_DEF_TYPE_TYPE, value)))
        return false;
    vp->mtrr.def_type = value;
    return true;
}

/* PHYSBASE0, PHYSMASK0, PHYSBASE1, ... */
static bool is_mask(uint32_t index)
{
    return (index - MSR_IA32_MTRR_PHYSBASE0) % 2;
}

static uint64_t *mtrr_variable(struct hv_vp *vp, uint32_t index)
{
    uint32_t n = (index - MSR_IA32_MTRR_PHYSBASE0) / 2;

    return is_mask(index) ? &vp->mtrr.mask[n] : &vp->mtrr.base[n];
}

static bool read_mtrr_variable(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr;
    *value = *mtrr_variable(vp, index);
    return true;
}

static bool write_mtrr_variable(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    uint64_t flags = is_mask(index) ? MTRR_PHYSMASK_VALID : MTRR_PHYSBASE_TYPE;

    (void)msr;
    if (value & ~(flags | (MTRR_PHYS_ADDR & physical_mask(vp))) ||
        (!is_mask(index) && !mtrr_type_is_valid(FIELD_GET(MTRR_PHYSBASE_TYPE, value))))
        return false;
    *mtrr_variable(vp, index) = value;
    return true;
}

/* In the order of the fields: one of 64K, two of 16K, eight of 4K. */
static uint64_t *mtrr_fixed(struct hv_vp *vp, uint32_t index)
{
    if (index == MSR_IA32_MTRR_FIX64K_00000)
        return &vp->mtrr.fixed[0];
    if (index <= MSR_IA32_MTRR_FIX16K_A0000)
        return &vp->mtrr.fixed[1 + index - MSR_IA32_MTRR_FIX16K_80000];
    return &vp->mtrr.fixed[3 + index - MSR_IA32_MTRR_FIX4K_C0000];
}

static bool read_mtrr_fixed(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t *value)
{
    (void)msr;
    *value = *mtrr_fixed(vp, index);
    return true;
}

static bool write_mtrr_fixed(struct hv_vp *vp, const struct msr *msr, uint32_t index, uint64_t value)
{
    (void)msr;
    for (unsigned i = 0; i < 64; i += 8)
        if (!mtrr_type_is_valid(value >> i & UINT8_MAX))
            return false;
    *mtrr_fixed(vp, index) = value;
    return true;
}

/* --------------------------------------------------------------------------------- the table */

#define ONE(index)             (index), 1
#define FROM_TO(first, last)   (first), (last) - (first) + 1
#define CONSTANT(value, write) read_constant, write, value, 0
#define IN_VCPU(field, groups) offsetof(struct vcpu, field), groups
#define MTRR_PHYS_LAST         (MSR_IA32_MTRR_PHYSBASE0 + 2 * (uint32_t)(HV_MTRR_CAP & MTRRCAP_VCNT) - 1)
#define HWCR_TSC_FREQ_SEL      BIT64(24) /* the TSC counts at one rate, whatever the core's */
#define DE_CFG_LFENCE_SERIAL   BIT64(1)

/*
 * Sorted. Of those that firmware sets up and systems look at whatever CPUID says - the counters that have always been
 * there, and configuration with workarounds for errata in it - guests see nothing set, and what they write is lost.
 */
/* clang-format off */
static const struct msr msrs[] = {
    {FROM_TO(MSR_IA32_P5_MC_ADDR, MSR_IA32_P5_MC_TYPE), CONSTANT(0, write_ignored), 0, 0, 0},
    {ONE(MSR_IA32_TSC),               read_tsc, write_tsc, 0, 0, 0, HV_MSR_EXIT_TSC_READ, HV_MSR_EXIT_TSC_WRITE},
    {ONE(MSR_IA32_PLATFORM_ID),       CONSTANT(0, no_write), NEEDS_LOW, 0, 0},
    {ONE(MSR_IA32_APIC_BASE),         read_apic_base, write_apic_base, 0, 0, 0, 0, HV_MSR_EXIT_APIC_BASE_WRITE},
    {ONE(MSR_SMI_COUNT),              CONSTANT(0, no_write), NEEDS_LOW, 0, 0},
    {ONE(MSR_IA32_FEATURE_CONTROL),   CONSTANT(FEATURE_CONTROL_LOCK, no_write), NEEDS_LOW, 0, 0},
    {ONE(MSR_IA32_TSC_ADJUST),        read_tsc_adjust, write_tsc_adjust, 0, 0, 0, 0, 0},
    {ONE(MSR_IA32_BIOS_UPDT_TRIG),    no_read, write_ignored, 0, 0, NEEDS_LOW, 0, 0},
    {ONE(MSR_IA32_BIOS_SIGN_ID),      read_revision, write_ignored, 0, 0, 0, HV_MSR_EXIT_MCU_REVISION_READ, 0},
    {ONE(MSR_PLATFORM_INFO),          CONSTANT(0, no_write), NEEDS_LOW, 0, 0},
    {ONE(MSR_IA32_MTRRCAP),           CONSTANT(HV_MTRR_CAP, no_write), 0, 0, 0},
    {ONE(MSR_IA32_ARCH_CAPABILITIES), CONSTANT(0, no_write), NEEDS_LOW, 0, 0},
    {ONE(MSR_MISC_FEATURES_ENABLES),  CONSTANT(0, write_zero), NEEDS_LOW, 0, 0},
    {ONE(MSR_IA32_SYSENTER_CS),       read_vcpu, write_low, IN_VCPU(sysenter_cs, VCPU_SYSENTER), 0, 0, 0},
    {ONE(MSR_IA32_SYSENTER_ESP),      read_vcpu, write_canonical, IN_VCPU(sysenter_esp, VCPU_SYSENTER), 0, 0, 0},
    {ONE(MSR_IA32_SYSENTER_EIP),      read_vcpu, write_canonical, IN_VCPU(sysenter_eip, VCPU_SYSENTER), 0, 0, 0},
    {ONE(MSR_IA32_MCG_CAP),           CONSTANT(0, no_write), 0, 0, 0},
    {ONE(MSR_IA32_MCG_STATUS),        CONSTANT(0, write_zero), 0, 0, 0},
    {ONE(MSR_IA32_MISC_ENABLE),       read_misc_enable, write_misc_enable, 0, 0, NEEDS_LOW,
                                                                                    HV_MSR_EXIT_MISC_ENABLE_READ, 0},
    {ONE(MSR_IA32_DEBUGCTL),          CONSTANT(0, write_debugctl), 0, 0, 0},
    {FROM_TO(MSR_LASTBRANCHFROMIP, MSR_LASTINTTOIP), CONSTANT(0, write_ignored), 0, 0, 0},
    {FROM_TO(MSR_IA32_MTRR_PHYSBASE0, MTRR_PHYS_LAST), read_mtrr_variable, write_mtrr_variable, 0, 0, 0, 0, 0},
    {ONE(MSR_IA32_MTRR_FIX64K_00000), read_mtrr_fixed, write_mtrr_fixed, 0, 0, 0, 0, 0},
    {FROM_TO(MSR_IA32_MTRR_FIX16K_80000, MSR_IA32_MTRR_FIX16K_A0000), read_mtrr_fixed, write_mtrr_fixed, 0, 0, 0, 0, 0},
    {FROM_TO(MSR_IA32_MTRR_FIX4K_C0000, MSR_IA32_MTRR_FIX4K_F8000), read_mtrr_fixed, write_mtrr_fixed, 0, 0, 0, 0, 0},
    {ONE(MSR_IA32_PAT),               read_vcpu, write_pat, IN_VCPU(pat, VCPU_PAT), 0, 0, 0},
    {ONE(MSR_IA32_MTRR_DEF_TYPE),     read_mtrr_def_type, write_mtrr_def_type, 0, 0, 0, 0, 0},
    {FROM_TO(MSR_IA32_VMX_BASIC, MSR_IA32_VMX_EXIT_CTLS2), no_read, no_write, 0, 0, 0, 0, 0},
    {ONE(MSR_IA32_TSC_DEADLINE),      read_tsc_deadline, write_tsc_deadline, 0, 0, NEEDS_APIC, 0, 0},
    {FROM_TO(MSR_IA32_X2APIC_BASE, MSR_IA32_X2APIC_LAST), read_x2apic, write_x2apic, 0, 0, NEEDS_APIC, 0, 0},
    {ONE(MSR_IA32_XSS),               read_xss, write_xss, 0, 0, 0, 0, 0},
    {FROM_TO(MSR_HV_FIRST, MSR_HV_LAST), read_synthetic, write_synthetic, 0, 0, NEEDS_INTERFACE, 0, 0},
    {ONE(MSR_IA32_EFER),              read_vcpu, write_efer, IN_VCPU(efer, VCPU_EFER), 0, 0, 0},
    {FROM_TO(MSR_IA32_STAR, MSR_IA32_FMASK), read_switched, write_switched, 0, 0, 0, 0, 0},
    {ONE(MSR_IA32_FS_BASE),           read_vcpu, write_canonical, IN_VCPU(seg[SEG_FS].base, VCPU_SEG(SEG_FS)), 0, 0, 0},
    {ONE(MSR_IA32_GS_BASE),           read_vcpu, write_canonical, IN_VCPU(seg[SEG_GS].base, VCPU_SEG(SEG_GS)), 0, 0, 0},
    {ONE(MSR_IA32_KERNEL_GS_BASE),    read_switched, write_switched, 0, 0, 0, 0, 0},
    {ONE(MSR_IA32_TSC_AUX),           read_tsc_aux, write_tsc_aux, 0, 0, 0, 0, 0},
    {FROM_TO(MSR_PERF_EVTSEL0, MSR_PERF_CTR3), CONSTANT(0, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_SYSCFG),                 CONSTANT(0, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_HWCR),                   CONSTANT(HWCR_TSC_FREQ_SEL, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_NB_CFG),                 CONSTANT(0, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_PATCH_LOADER),           no_read, write_ignored, 0, 0, NEEDS_HIGH, 0, 0},
    {ONE(MSR_INT_PENDING),            CONSTANT(0, write_zero), NEEDS_HIGH, 0, 0},
    {ONE(MSR_MMIO_CONF_BASE),         CONSTANT(0, write_zero), NEEDS_HIGH, 0, 0},
    {FROM_TO(MSR_SMM_ADDR, MSR_SMM_MASK), CONSTANT(0, no_write), NEEDS_HIGH, 0, 0},
    {ONE(MSR_AMD_VM_CR),              CONSTANT(VM_CR_LOCK | VM_CR_SVMDIS, no_write), NEEDS_HIGH, 0, 0},
    {FROM_TO(MSR_AMD_VM_HSAVE_PA, MSR_AMD_SVM_KEY), no_read, no_write, 0, 0, NEEDS_HIGH, 0, 0},
    {ONE(MSR_DC_CFG),                 CONSTANT(0, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_DE_CFG),                 CONSTANT(DE_CFG_LFENCE_SERIAL, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_BU_CFG2),                CONSTANT(0, write_ignored), NEEDS_HIGH, 0, 0},
    {ONE(MSR_EX_CFG),                 CONSTANT(0, write_ignored), NEEDS_HIGH, 0, 0},
};
/* clang-format on */

static bool is_there(const struct hv_vp *vp, const struct msr *msr)
{
    switch (msr->needs) {
    case NEEDS_LOW:
        return cpu_facts()->make & CPU_MAKE_LOW_MSRS;
    case NEEDS_HIGH:
        return cpu_facts()->make & CPU_MAKE_HIGH_MSRS;
    case NEEDS_APIC:
        return vp->has_apic; /* else a client may have an APIC of its own there */
    case NEEDS_INTERFACE:
        return vp->partition->properties.synthetic_features & HV_SYNTH_HV1; /* else likewise */
    default:
        return true;
    }
}

static inline bool is_msr(const struct msr *msr, uint32_t index)
{
    return index - msr->first < msr->count;
}

static __attribute__((noinline)) const struct msr *search_msr(const struct hv_vp *vp, uint32_t index)
{
    size_t low = 0, high = ARRAY_COUNT(msrs); /* the first row that begins above index is in [low, high] */

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (msrs[middle].first > index)
            high = middle;
        else
            low = middle + 1;
    }
    return low && is_msr(&msrs[low - 1], index) && is_there(vp, &msrs[low - 1]) ? &msrs[low - 1] : NULL;
}

static const struct msr no_msr; /* none is this one */

/* Guests use few MSRs, and often. */
static inline const struct msr **hint_for(struct hv_vp *vp, uint32_t index)
{
    return &vp->msr_hint[index % ARRAY_COUNT(vp->msr_hint)];
}

void exit_msr_forget(struct hv_vp *vp)
{
    for (unsigned i = 0; i < ARRAY_COUNT(vp->msr_hint); i++)
        vp->msr_hint[i] = &no_msr;
}

/* ---------------------------------------------------------------------------------- the exit */

static inline enum exit_outcome finish_read(struct hv_vp *vp, uint64_t value)
{
    uint64_t *gpr = vp->vcpu->gpr;

    gpr[GPR_RAX] = (uint32_t)value;
    gpr[GPR_RDX] = value >> 32;
    return EXIT_SKIP;
}

/* The client does not want it to be known, or nobody knows it. */
static enum exit_outcome ignore(struct hv_vp *vp, const struct hv_exit *exit)
{
    return exit->msr.is_write ? EXIT_SKIP : finish_read(vp, 0);
}

static __attribute__((noinline)) enum exit_outcome fault(struct hv_vp *vp)
{
    exit_inject_error(vp, VEC_GP, 0);
    return EXIT_HANDLED;
}

static inline enum exit_outcome read_msr(struct hv_vp *vp, const struct msr *msr, uint32_t index)
{
    uint64_t value;

    return msr->read(vp, msr, index, &value) ? finish_read(vp, value) : fault(vp);
}

static inline uint64_t value_of(const struct hv_exit *exit)
{
    return exit->msr.rdx << 32 | (uint32_t)exit->msr.rax;
}

static inline enum exit_outcome write_msr(struct hv_vp *vp, const struct msr *msr, const struct hv_exit *exit)
{
    return msr->write(vp, msr, exit->msr.index, value_of(exit)) ? EXIT_SKIP : fault(vp);
}

static bool client_wants(const struct hv_properties *props, const struct msr *msr, bool is_write)
{
    return props->extended_exits & HV_EXTENDED_MSR &&
           props->msr_exits & (is_write ? msr->exit_on_write : msr->exit_on_read);
}

/* Asking for MSR exits and saying nothing of which means the unhandled ones. */
static bool client_wants_unhandled(const struct hv_properties *props)
{
    if (!(props->extended_exits & HV_EXTENDED_MSR))
        return false;
    if (props->msr_exits_set)
        return props->msr_exits & HV_MSR_EXIT_UNHANDLED;
    return props->unimplemented_msr_action == HV_MSR_ACTION_ARCHITECTURAL;
}

static enum exit_outcome unhandled(struct hv_vp *vp, const struct hv_exit *exit)
{
    const struct hv_properties *props = &vp->partition->properties;

    if (client_wants_unhandled(props) || props->unimplemented_msr_action == HV_MSR_ACTION_EXIT)
        return EXIT_TO_CLIENT;
    return props->unimplemented_msr_action == HV_MSR_ACTION_IGNORE ? ignore(vp, exit) : fault(vp);
}

static __attribute__((noinline)) uint8_t listed_action(const struct hv_properties *props, uint32_t index, bool is_write)
{
    const struct hv_msr_action *a;

    a = property_list_find(&props->msr_actions, sizeof(*a), index);
    if (!a)
        return HV_MSR_ACTION_ARCHITECTURAL;
    return is_write ? a->write_action : a->read_action;
}

static bool has_client_a_say(const struct hv_properties *props)
{
    return props->msr_actions.count || props->extended_exits & HV_EXTENDED_MSR;
}

/*
 * First what the client says of this MSR, then what it is, then what is done with unknown ones. If the client says
 * nothing of any the hint is good until that changes: whether an MSR is there does not.
 */
static __attribute__((noinline)) enum exit_outcome exit_any_msr(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct hv_properties *props = &vp->partition->properties;
    const struct msr *msr;

    if (props->msr_actions.count) {
        uint8_t action = listed_action(props, exit->msr.index, exit->msr.is_write);

        if (action == HV_MSR_ACTION_EXIT)
            return EXIT_TO_CLIENT;
        if (action == HV_MSR_ACTION_IGNORE)
            return ignore(vp, exit);
    }
    msr = search_msr(vp, exit->msr.index);
    if (!msr)
        return unhandled(vp, exit);
    if (client_wants(props, msr, exit->msr.is_write))
        return EXIT_TO_CLIENT;
    if (!has_client_a_say(props))
        *hint_for(vp, exit->msr.index) = msr;
    return exit->msr.is_write ? write_msr(vp, msr, exit) : read_msr(vp, msr, exit->msr.index);
}

/* Of the local APIC's MSRs the client can only list some. */
static inline bool is_of_apic(uint32_t index)
{
    return index >> 8 == MSR_IA32_X2APIC_BASE >> 8 || index == MSR_IA32_TSC_DEADLINE;
}

static __attribute__((noinline)) enum exit_outcome exit_wrmsr(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct msr *msr = *hint_for(vp, exit->msr.index);

    return is_msr(msr, exit->msr.index) ? write_msr(vp, msr, exit) : exit_any_msr(vp, exit);
}

static __attribute__((noinline)) enum exit_outcome exit_wrmsr_of_apic(struct hv_vp *vp, struct hv_exit *exit)
{
    if (!vp->partition->properties.msr_actions.count && exit_apic_write_plain(vp, exit->msr.index, value_of(exit)))
        return EXIT_SKIP;
    return exit_wrmsr(vp, exit);
}

enum exit_outcome exit_msr(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct msr *msr;

    if (exit->msr.is_write)
        return is_of_apic(exit->msr.index) ? exit_wrmsr_of_apic(vp, exit) : exit_wrmsr(vp, exit);
    msr = *hint_for(vp, exit->msr.index);
    return is_msr(msr, exit->msr.index) ? read_msr(vp, msr, exit->msr.index) : exit_any_msr(vp, exit);
}
