/* SPDX-License-Identifier: MIT */
/*
 * The registers of a VP by name. Each name has a row in a table: its kind, where it is kept, and the register group
 * that it belongs to. A kind says how the value moves and what it may be. Setting never touches hardware: it changes
 * the cache and marks the group.
 */
#include "regs.h"
#include "overlay.h"
#include "synthetic.h"
#include "vpci.h"

/* Groups of more than one register: what is not set has to be known when they are marked as changed. */
#define SHARED_GROUPS (VCPU_TABLES | VCPU_SYSENTER | VCPU_INTR | VCPU_MSRS)

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
    [HV_REG_DR0]    = {KIND_DR,      IN_VCPU(dr[0]),  REG_SWITCHED},
    [HV_REG_DR1]    = {KIND_DR,      IN_VCPU(dr[1]),  REG_SWITCHED},
    [HV_REG_DR2]    = {KIND_DR,      IN_VCPU(dr[2]),  REG_SWITCHED},
    [HV_REG_DR3]    = {KIND_DR,      IN_VCPU(dr[3]),  REG_SWITCHED},
    [HV_REG_DR6]    = {KIND_DR6,     IN_VCPU(dr6),    VCPU_DR6 | REG_SWITCHED},
    [HV_REG_DR7]    = {KIND_DR7,     IN_VCPU(dr7),    VCPU_DR7 | REG_SWITCHED},
    [HV_REG_XCR0]   = {KIND_XCR0,    IN_VCPU(xcr0),   REG_NEEDS_XSAVE | REG_SWITCHED},
};

/* from HV_REG_XMM0 on */
static const struct reg fp_regs[] = {
    [0x00 ... 0x0f] = {KIND_XMM,         0, REG_SWITCHED},
    [0x10 ... 0x17] = {KIND_ST,          0, REG_SWITCHED},
    [0x18]          = {KIND_FP_CONTROL,  0, REG_SWITCHED},
    [0x19]          = {KIND_XMM_CONTROL, 0, REG_SWITCHED},
};

#define MSR(name)         [HV_REG_##name - HV_REG_TSC]
#define MSRS(first, last) [(HV_REG_##first) - HV_REG_TSC ... (HV_REG_##last) - HV_REG_TSC]
#define IN_MSRS(index)    offsetof(struct vcpu, msr[VCPU_MSR_##index])

static const struct reg msr_regs[] = {
    MSR(TSC)                                  = {KIND_TSC,           0,                       0},
    MSR(EFER)                                 = {KIND_EFER,          IN_VCPU(efer),           VCPU_EFER},
    MSR(KERNEL_GS_BASE)                       = {KIND_CANONICAL,     IN_MSRS(KERNEL_GS_BASE), VCPU_MSRS | REG_SWITCHED},
    MSR(APIC_BASE)                            = {KIND_APIC_BASE,     0,                       0},
    MSR(PAT)                                  = {KIND_PAT,           IN_VCPU(pat),            VCPU_PAT},
    MSR(SYSENTER_CS)                          = {KIND_LOW32,         IN_VCPU(sysenter_cs),    VCPU_SYSENTER},
    MSR(SYSENTER_EIP)                         = {KIND_CANONICAL,     IN_VCPU(sysenter_eip),   VCPU_SYSENTER},
    MSR(SYSENTER_ESP)                         = {KIND_CANONICAL,     IN_VCPU(sysenter_esp),   VCPU_SYSENTER},
    MSR(STAR)                                 = {KIND_PLAIN,         IN_MSRS(STAR),           VCPU_MSRS | REG_SWITCHED},
    MSR(LSTAR)                                = {KIND_CANONICAL,     IN_MSRS(LSTAR),          VCPU_MSRS | REG_SWITCHED},
    MSR(CSTAR)                                = {KIND_CANONICAL,     IN_MSRS(CSTAR),          VCPU_MSRS | REG_SWITCHED},
    MSR(SFMASK)                               = {KIND_LOW32,         IN_MSRS(SFMASK),         VCPU_MSRS | REG_SWITCHED},
    MSR(INITIAL_APIC_ID)                      = {KIND_APIC_ID,       0,                       0},
    MSR(MTRR_CAP)                             = {KIND_MTRR_CAP,      0,                       0},
    MSR(MTRR_DEF_TYPE)                        = {KIND_MTRR_DEF_TYPE, 0,                       0},
    MSRS(MTRR_PHYS_BASE0, MTRR_PHYS_BASEF)    = {KIND_MTRR_BASE,     0,                       0},
    MSRS(MTRR_PHYS_MASK0, MTRR_PHYS_MASKF)    = {KIND_MTRR_MASK,     0,                       0},
    MSRS(MTRR_FIX64K_00000, MTRR_FIX4K_F8000) = {KIND_MTRR_FIXED,    0,                       0},
    MSR(TSC_AUX)                              = {KIND_LOW32,         IN_MSRS(TSC_AUX),        REG_SWITCHED},
    MSR(TSC_VIRTUAL_OFFSET)                   = {KIND_TSC_OFFSET,    0,                       0},
    MSR(XSS)                                  = {KIND_XSS,           IN_VCPU(xss),            REG_NEEDS_XSAVE},
    MSR(TSC_ADJUST)                           = {KIND_TSC_ADJUST,    0,                       0},
};

/* from HV_REG_APIC_ID on; the gaps as the header has them */
#define APIC(first, last) [(first) - 0x02 ... (last) - 0x02]

static const struct reg apic_regs[] = {
    APIC(0x02, 0x03) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x08, 0x08) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x0a, 0x0b) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x0d, 0x0d) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x0f, 0x28) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x30, 0x30) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x32, 0x39) = {KIND_APIC, 0, REG_NEEDS_APIC},
    APIC(0x3e, 0x3f) = {KIND_APIC, 0, REG_NEEDS_APIC},
};

/* from HV_REG_SINT0 and HV_REG_VP_RUNTIME on */
#define SYNTHETIC(msr) {KIND_SYNTHETIC, (msr) - MSR_HV_FIRST, 0}
#define SINT(n)        [n] = SYNTHETIC(MSR_HV_SINT0 + (n))
#define SYNIC(name)    [HV_REG_##name - HV_REG_SINT0] = SYNTHETIC(MSR_HV_##name)
#define GUEST(name)    [HV_REG_##name - HV_REG_VP_RUNTIME] = SYNTHETIC(MSR_HV_##name)

static const struct reg synic_regs[] = {
    SINT(0), SINT(1), SINT(2),  SINT(3),  SINT(4),  SINT(5),  SINT(6),  SINT(7),
    SINT(8), SINT(9), SINT(10), SINT(11), SINT(12), SINT(13), SINT(14), SINT(15),
    SYNIC(SCONTROL), SYNIC(SVERSION), SYNIC(SIEFP), SYNIC(SIMP), SYNIC(EOM),
};

static const struct reg guest_regs[] = {
    GUEST(VP_RUNTIME),
    GUEST(HYPERCALL),
    GUEST(GUEST_OS_ID),
    GUEST(VP_ASSIST_PAGE),
    GUEST(REFERENCE_TSC),
    [HV_REG_REFERENCE_TSC_SEQUENCE - HV_REG_VP_RUNTIME] = SYNTHETIC(SYNTHETIC_REFERENCE_TSC_SEQUENCE),
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
    {HV_REG_APIC_ID, ARRAY_COUNT(apic_regs), apic_regs},
    {HV_REG_SINT0, ARRAY_COUNT(synic_regs), synic_regs},
    {HV_REG_VP_RUNTIME, ARRAY_COUNT(guest_regs), guest_regs},
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

/*
 * A client that changes its list under our eyes gets nonsense, never more than that: rows of KIND_NONE are harmless,
 * indices masked, and what is checked is our copy of the value.
 */
static void get_one(struct hv_vp *vp, uint32_t name, union hv_reg_value *value)
{
    const struct reg *reg = find(name);

    if (reg->groups & REG_SWITCHED)
        vcpu_take_off(vp->vcpu);
    if (reg->kind == KIND_PLAIN)
        reg_put_word(value, *(const uint64_t *)((const char *)vp->vcpu + reg->offset));
    else
        reg_kinds[reg->kind].get(vp, reg, name, value);
}

static bool set_checked(struct hv_vp *vp, const struct reg *reg, uint32_t name, union hv_reg_value value)
{
    const struct reg_kind *kind = &reg_kinds[reg->kind];

    return (!kind->is_valid || kind->is_valid(value.u64)) && kind->set(vp, reg, name, &value);
}

static bool set_one(struct hv_vp *vp, uint32_t name, const union hv_reg_value *value)
{
    const struct reg *reg = find(name);

    if (reg->groups & REG_SWITCHED)
        vcpu_take_off(vp->vcpu);
    if (reg->kind == KIND_PLAIN)
        *(uint64_t *)((char *)vp->vcpu + reg->offset) = value->u64;
    else if (!set_checked(vp, reg, name, *value))
        return false;
    vcpu_changed(vp->vcpu, reg->groups & VCPU_ALL);
    return true;
}

/* ------------------------------------------------------------------------------ lists */

/* Synthetic registers go by the partition's features. */
static bool exists(const struct hv_vp *vp, const struct reg *reg)
{
    if (reg->kind == KIND_SYNTHETIC)
        return synthetic_has_msr(vp->partition, MSR_HV_FIRST + reg->offset);
    return reg->kind != KIND_NONE;
}

/* All names exist here? Collects their groups. */
__attribute__((noinline)) static enum hv_status check_names(const struct hv_vp *vp, const uint32_t *names,
                                                            uint32_t count, uint32_t *groups)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct reg *reg = find(names[i]);

        if (!exists(vp, reg))
            return HV_E_REGISTER_NAME;
        *groups |= reg->groups;
    }
    if ((*groups & REG_NEEDS_XSAVE) && !cpu_facts()->xcr0_allowed)
        return HV_E_REGISTER_NAME;
    if ((*groups & REG_NEEDS_APIC) && !vp->has_apic)
        return HV_E_REGISTER_NAME;
    return HV_OK;
}

static __attribute__((noinline)) void fetch_from_cpu(struct hv_vp *vp, uint32_t groups)
{
    vcpu_need(vp_pin(vp), groups);
    vp_unpin(vp);
}

static inline void fetch(struct hv_vp *vp, uint32_t groups)
{
    if (groups & ~vp->vcpu->valid)
        fetch_from_cpu(vp, groups);
}

__attribute__((noinline)) static enum hv_status get_list(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                                         union hv_reg_value *values)
{
    uint32_t groups = 0;
    enum hv_status st = check_names(vp, names, count, &groups);

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
 * Clients mostly ask for RIP and a few general registers, or for all sixteen and then RIP and RFLAGS: the lowest names,
 * with no check and no conversion. Lists of a few have functions of their own; as long as the first of a longer one's
 * names are of these they are handled here. With the sixteen the other two are fetched, too.
 */
#define PLAIN_COUNT  (HV_REG_RFLAGS + 1u)
#define PLAIN_GROUPS (VCPU_RSP | VCPU_RIP | VCPU_RFLAGS)

_Static_assert(ARRAY_COUNT(((struct vcpu *)0)->plain) == PLAIN_COUNT, "the plain registers");

static inline bool is_few(uint32_t count)
{
    return count - 1 < GPR_COUNT - 1;
}

/* A name is read once for its check and its use, or cut to size: the list may be changing. */
static inline uint32_t name_at(const uint32_t *name)
{
    return *(const volatile uint32_t *)name;
}

/* Two names at once, the first one in the low half. */
typedef uint64_t two_names __attribute__((aligned(4), may_alias));

#define TWO_GPRS ((uint64_t)(GPR_COUNT - 1) << 32 | (GPR_COUNT - 1))

/* Are there sixteen names, all of general registers? */
static inline bool are_gprs(const uint32_t *names, uint32_t count)
{
    const two_names *two = (const two_names *)names;
    uint64_t any = 0;

    if (count < GPR_COUNT)
        return false;
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < GPR_COUNT / 2; i++)
        any |= two[i];
    return !(any & ~TWO_GPRS);
}

static inline void get_gprs(const struct vcpu *v, const uint32_t *names, union hv_reg_value *values)
{
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < GPR_COUNT; i++)
        reg_put_word(&values[i], v->gpr[name_at(&names[i]) % GPR_COUNT]);
}

static inline void set_gprs(struct vcpu *v, const uint32_t *names, const union hv_reg_value *values)
{
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < GPR_COUNT; i++)
        v->gpr[name_at(&names[i]) % GPR_COUNT] = values[i].u64;
}

/* From the i-th on; returns where it ended: at one that is not plain, or not known. */
static inline uint32_t get_each_plain(const struct vcpu *v, const uint32_t *names, uint32_t i, uint32_t count,
                                      union hv_reg_value *values)
{
    for (uint32_t name; i < count && (name = name_at(&names[i])) < PLAIN_COUNT; i++) {
        if (low_regs[name].groups & ~v->valid)
            break;
        reg_put_word(&values[i], v->plain[name]);
    }
    return i;
}

/* Returns how many it got: those that are plain and known. */
static inline uint32_t get_plain(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    const struct vcpu *v = vp->vcpu;
    uint32_t i = 0;

    if (are_gprs(names, count)) {
        fetch(vp, PLAIN_GROUPS);
        get_gprs(v, names, values);
        i = GPR_COUNT;
    }
    return get_each_plain(v, names, i, count, values);
}

INLINE_IN_API bool hv_vp_get_few(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    bool is_done;

    if (!is_few(count) || !vp_claim(vp))
        return false;
    is_done = get_each_plain(vp->vcpu, names, 0, count, values) == count;
    vp_release(vp);
    return is_done;
}

INLINE_IN_API enum hv_status hv_vp_get_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                                 union hv_reg_value *values)
{
    enum hv_status st = HV_OK;
    uint32_t done;

    if (!vp_claim(vp))
        return vp_unclaimed(vp);
    done = get_plain(vp, names, count, values);
    if (done < count)
        st = get_list(vp, names + done, count - done, values + done);
    vp_release(vp);
    return st;
}

/* How many names from the first on are of plain registers, if the first `i` are? */
static inline uint32_t count_plain(const uint32_t *names, uint32_t i, uint32_t count)
{
    while (i < count && name_at(&names[i]) < PLAIN_COUNT)
        i++;
    return i;
}

/* Names from the i-th on, which are all of plain registers. */
static inline void set_plain(struct vcpu *v, const uint32_t *names, uint32_t i, uint32_t count,
                             const union hv_reg_value *values)
{
    uint32_t groups = 0;

    for (uint32_t name; i < count && (name = name_at(&names[i])) < PLAIN_COUNT; i++) {
        v->plain[name] = values[i].u64;
        groups |= low_regs[name].groups;
    }
    vcpu_changed(v, groups);
}

/* The same of a whole list. Of sixteen general registers only RSP is in a group: if it is known and keeps its value,
 * the CPU has it already. */
static inline void set_all_plain(struct vcpu *v, const uint32_t *names, uint32_t gprs, uint32_t count,
                                 const union hv_reg_value *values)
{
    uint64_t rsp = v->gpr[GPR_RSP];
    uint32_t i = 0;

    if (gprs && v->valid & VCPU_RSP) {
        set_gprs(v, names, values);
        if (v->gpr[GPR_RSP] != rsp)
            vcpu_changed(v, VCPU_RSP);
        i = gprs;
    }
    set_plain(v, names, i, count, values);
}

/* A list that has more than plain registers after the first `done`. All names are checked before anything is written.
 */
__attribute__((noinline)) static enum hv_status set_mixed(struct hv_vp *vp, const uint32_t *names, uint32_t done,
                                                          uint32_t count, const union hv_reg_value *values)
{
    uint32_t groups = 0;
    enum hv_status st;

    if (!vp_claim(vp))
        return vp_unclaimed(vp);
    st = check_names(vp, names + done, count - done, &groups);
    if (st == HV_OK) {
        fetch(vp, groups & SHARED_GROUPS);
        set_plain(vp->vcpu, names, 0, done, values);
        st = set_list(vp, names + done, count - done, values + done);
        if (vp->overlays_stale)
            overlay_apply(vp);
        vpci_follow_address(vp);
    }
    vp_release(vp);
    return st;
}

INLINE_IN_API bool hv_vp_set_few(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                 const union hv_reg_value *values)
{
    if (!is_few(count) || count_plain(names, 0, count) < count || !vp_claim(vp))
        return false;
    set_plain(vp->vcpu, names, 0, count, values);
    vp_release(vp);
    return true;
}

INLINE_IN_API enum hv_status hv_vp_set_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                                 const union hv_reg_value *values)
{
    uint32_t gprs = are_gprs(names, count) ? GPR_COUNT : 0, done = count_plain(names, gprs, count);

    if (done < count)
        return set_mixed(vp, names, done, count, values);
    if (!vp_claim(vp))
        return vp_unclaimed(vp);
    set_all_plain(vp->vcpu, names, gprs, count, values);
    vp_release(vp);
    return HV_OK;
}
