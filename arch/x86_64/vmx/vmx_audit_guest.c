/* SPDX-License-Identifier: MIT */
/* Rules of SDM 3C 27.3.1.1, 27.3.1.4, 27.3.1.5 and 27.3.1.6: guest registers and other guest state, but for segments.
 */
#include "vmx_audit_rules.h"

#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* VM entries leave NW and CD alone; an unrestricted guest may have PE and PG as it likes */
static uint64_t cr0_exempt(const struct audit *a)
{
    return CR0_NW | CR0_CD | (audit_has(a, W_MODE, MODE_UNRESTRICTED) ? CR0_PE | CR0_PG : 0);
}

static uint64_t cr0_1(struct audit *a, uint64_t unused)
{
    (void)unused;
    return audit_cr0_must_be_1(a, cr0_exempt(a));
}

static uint64_t cr0_0(struct audit *a, uint64_t unused)
{
    (void)unused;
    return audit_cr0_must_be_0(a, cr0_exempt(a));
}

static uint64_t debugctl(struct audit *a, uint64_t unused)
{
    uint64_t reserved = DEBUGCTL_RESERVED;

    (void)unused;
    if (!a->caps->bus_lock)
        reserved |= DEBUGCTL_BUS_LOCK_DETECT;
    if (!a->caps->rtm)
        reserved |= DEBUGCTL_RTM;
    return a->value & reserved;
}

static uint64_t efer_lma(struct audit *a, uint64_t unused)
{
    uint64_t wanted = audit_has(a, W_MODE, MODE_LONG) ? EFER_LMA : 0;

    (void)unused;
    return (a->value ^ wanted) & EFER_LMA;
}

static uint64_t efer_lme(struct audit *a, uint64_t unused)
{
    (void)unused;
    return !(a->value & EFER_LMA) != !(a->value & EFER_LME) ? EFER_LMA | EFER_LME : 0;
}

static uint64_t bndcfgs_base(struct audit *a, uint64_t unused)
{
    (void)unused;
    a->value &= ~BITS64(11, 0);
    return audit_canonical(a, 0);
}

/* the linear address's bits from the width up are all equal; bit 47 (or 56) may differ from them, other than in a
 * canonical address */
static uint64_t same_high_bits(struct audit *a, uint64_t unused)
{
    uint64_t high = a->value & audit_above(a->caps->linear_bits);

    (void)unused;
    return high == 0 || high == audit_above(a->caps->linear_bits) ? 0 : WHOLE;
}

static uint64_t activity_known(struct audit *a, uint64_t unused)
{
    static const uint64_t needs[] = {
        [ACTIVITY_HLT] = VMX_MISC_ACTIVITY_HLT,
        [ACTIVITY_SHUTDOWN] = VMX_MISC_ACTIVITY_SHUTDOWN,
        [ACTIVITY_WAIT_SIPI] = VMX_MISC_ACTIVITY_SIPI,
    };

    (void)unused;
    if (a->value == ACTIVITY_ACTIVE)
        return 0;
    return a->value < ARRAY_COUNT(needs) && (a->caps->misc & needs[a->value]) ? 0 : WHOLE;
}

static uint64_t activity_dpl(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value == ACTIVITY_HLT && FIELD_GET(SEG_DPL, a->access[SEG_SS]) ? WHOLE : 0;
}

static uint64_t activity_blocking(struct audit *a, uint64_t unused)
{
    bool blocked = a->blocking & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);

    (void)unused;
    return blocked && a->value != ACTIVITY_ACTIVE ? WHOLE : 0;
}

static bool event_wakes_hlt(const struct audit *a)
{
    uint64_t vector = FIELD_GET(INTR_INFO_VECTOR, a->event);

    if (audit_has(a, W_MODE, MODE_INJECT_EXTINT) || audit_has(a, W_MODE, MODE_INJECT_NMI))
        return true;
    if (audit_has(a, W_MODE, MODE_INJECT_HW))
        return vector == VEC_DB || vector == VEC_MC;
    return audit_has(a, W_MODE, MODE_INJECT_OTHER) && vector == 0;
}

static uint64_t activity_event(struct audit *a, uint64_t unused)
{
    bool mce = audit_has(a, W_MODE, MODE_INJECT_HW) && FIELD_GET(INTR_INFO_VECTOR, a->event) == VEC_MC;

    (void)unused;
    switch (a->value) {
    case ACTIVITY_HLT:
        return event_wakes_hlt(a) ? 0 : WHOLE;
    case ACTIVITY_SHUTDOWN:
        return mce || audit_has(a, W_MODE, MODE_INJECT_NMI) ? 0 : WHOLE;
    case ACTIVITY_WAIT_SIPI:
        return WHOLE;
    default:
        return 0;
    }
}

static uint64_t blocking_both(struct audit *a, uint64_t both)
{
    return (a->value & both) == both ? both : 0;
}

static uint64_t blocking_if(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->rflags & RFLAGS_IF ? 0 : a->value & INTERRUPTIBILITY_STI;
}

static uint64_t blocking_enclave(struct audit *a, uint64_t unused)
{
    uint64_t enclave = a->value & INTERRUPTIBILITY_ENCLAVE;

    (void)unused;
    if (!enclave)
        return 0;
    return a->caps->sgx ? a->value & INTERRUPTIBILITY_MOV_SS : enclave;
}

static uint64_t pending_reserved(struct audit *a, uint64_t unused)
{
    uint64_t reserved = PENDING_DEBUG_RESERVED;

    (void)unused;
    if (!a->caps->bus_lock)
        reserved |= PENDING_DEBUG_BUS_LOCK;
    if (!a->caps->rtm)
        reserved |= PENDING_DEBUG_RTM;
    return a->value & reserved;
}

/* arg: 1: BS must be 1, 0: must be 0. Counts while a trap after the last instruction may still be due. */
static uint64_t pending_bs(struct audit *a, uint64_t wanted)
{
    bool held = (a->blocking & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) ||
                audit_read(a, VMCS_GUEST_ACTIVITY) == ACTIVITY_HLT;
    bool steps = (a->rflags & RFLAGS_TF) && !(audit_read(a, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);

    if (!held || steps != (wanted == 1))
        return 0;
    return (wanted ? ~a->value : a->value) & PENDING_DEBUG_BS;
}

static uint64_t pending_rtm(struct audit *a, uint64_t unused)
{
    (void)unused;
    if (!(a->value & PENDING_DEBUG_RTM))
        return 0;
    if (a->blocking & INTERRUPTIBILITY_MOV_SS)
        return PENDING_DEBUG_RTM;
    return (a->value & (BITS64(11, 0) | BITS64(15, 13))) | (~a->value & PENDING_DEBUG_ENABLED_BP);
}

static uint64_t link_revision(struct audit *a, uint64_t unused)
{
    uint64_t first, revision = FIELD_GET(VMX_BASIC_REVISION, a->caps->basic);

    (void)unused;
    if (audit_has(a, W_CPU2, CPU2_VMCS_SHADOWING))
        revision |= BIT64(31); /* the shadow-VMCS indicator */
    if (!audit_memory(a, a->value, &first))
        return 0;
    return (uint32_t)first == revision ? 0 : WHOLE;
}

static uint64_t link_current(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->src->current_vmcs && a->value == a->src->current_vmcs ? WHOLE : 0;
}

static uint64_t pdpte_wrong(const struct audit *a, uint64_t pdpte)
{
    return pdpte & PTE_P ? pdpte & (PDPTE_RESERVED | audit_above(a->caps->phys_bits)) : 0;
}

static uint64_t pdpte_field(struct audit *a, uint64_t unused)
{
    (void)unused;
    return pdpte_wrong(a, a->value);
}

static uint64_t pdpte_memory(struct audit *a, uint64_t unused)
{
    uint64_t table = a->value & CR3_PAE_BASE;

    (void)unused;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t pdpte, wrong;

        if (!audit_memory(a, table + 8ull * i, &pdpte))
            return 0;
        wrong = pdpte_wrong(a, pdpte);
        if (wrong) {
            a->value = pdpte;
            a->entry = i + 1;
            return wrong;
        }
    }
    return 0;
}

#define REGISTERS "SDM 3C 27.3.1.1"
#define RIP_FLAGS "SDM 3C 27.3.1.4"
#define OTHER     "SDM 3C 27.3.1.5"
#define PDPTES    "SDM 3C 27.3.1.6"

#define RTIT_CTL_RESERVED (BITS64(63, 57) | BIT64(23) | BIT64(18))
#define LBR_CTL_RESERVED  (BITS64(63, 23) | BITS64(15, 4))
#define BNDCFGS_RESERVED  BITS64(11, 2)

/* clang-format off */
static const struct audit_rule registers[] = {
    {"guest.cr0.must_be_1", VMCS_GUEST_CR0, REGISTERS, cr0_1, 0, W_ALWAYS, 0,
     "guest CR0: a bit set in IA32_VMX_CR0_FIXED0 must be 1 (but PE and PG of an unrestricted guest)"},
    {"guest.cr0.must_be_0", VMCS_GUEST_CR0, REGISTERS, cr0_0, 0, W_ALWAYS, 0,
     "guest CR0: a bit clear in IA32_VMX_CR0_FIXED1 must be 0"},
    {"guest.cr0.pg_pe", VMCS_GUEST_CR0, REGISTERS, audit_must_be_1, CR0_PE, W_MODE, MODE_PAGING,
     "guest CR0: PE must be 1 if PG is 1"},
    {"guest.cr4.must_be_1", VMCS_GUEST_CR4, REGISTERS, audit_cr4_must_be_1, 0, W_ALWAYS, 0,
     "guest CR4: a bit set in IA32_VMX_CR4_FIXED0 must be 1"},
    {"guest.cr4.must_be_0", VMCS_GUEST_CR4, REGISTERS, audit_cr4_must_be_0, 0, W_ALWAYS, 0,
     "guest CR4: a bit clear in IA32_VMX_CR4_FIXED1 must be 0"},
    {"guest.cr0.wp_cet", VMCS_GUEST_CR0, REGISTERS, audit_must_be_1, CR0_WP, W_MODE, MODE_CET,
     "guest CR0.WP must be 1 if CR4.CET is 1"},
    {"guest.debugctl", VMCS_GUEST_DEBUGCTL, REGISTERS, debugctl, 0, W_ENTRY, ENTRY_LOAD_DEBUG,
     "guest IA32_DEBUGCTL: reserved bits must be 0"},
    {"guest.cr0.long_pg", VMCS_GUEST_CR0, REGISTERS, audit_must_be_1, CR0_PG, W_MODE, MODE_LONG,
     "guest CR0.PG must be 1 if \"IA-32e mode guest\" is 1"},
    {"guest.cr4.long_pae", VMCS_GUEST_CR4, REGISTERS, audit_must_be_1, CR4_PAE, W_MODE, MODE_LONG,
     "guest CR4.PAE must be 1 if \"IA-32e mode guest\" is 1"},
    {"guest.cr4.pcide", VMCS_GUEST_CR4, REGISTERS, audit_must_be_0, CR4_PCIDE, W_MODE, MODE_NOT_LONG,
     "guest CR4.PCIDE must be 0 if \"IA-32e mode guest\" is 0"},
    {"guest.cr3", VMCS_GUEST_CR3, REGISTERS, audit_cr3, 0, W_ALWAYS, 0,
     "guest CR3: bits beyond the physical-address width must be 0"},
    {"guest.dr7", VMCS_GUEST_DR7, REGISTERS, audit_must_be_0, DR7_RESERVED, W_ENTRY, ENTRY_LOAD_DEBUG,
     "guest DR7: bits 63:32 must be 0"},
    {"guest.sysenter_esp", VMCS_GUEST_SYSENTER_ESP, REGISTERS, audit_canonical, 0, W_ALWAYS, 0,
     "guest IA32_SYSENTER_ESP must be a canonical address"},
    {"guest.sysenter_eip", VMCS_GUEST_SYSENTER_EIP, REGISTERS, audit_canonical, 0, W_ALWAYS, 0,
     "guest IA32_SYSENTER_EIP must be a canonical address"},
    {"guest.s_cet", VMCS_GUEST_S_CET, REGISTERS, audit_cet, 0, W_MODE, MODE_LOAD_CET,
     "guest IA32_S_CET: bits 9:6 must be 0, and bits 10 and 11 not both 1"},
    {"guest.s_cet.canonical", VMCS_GUEST_S_CET, REGISTERS, audit_canonical, 0, W_MODE, MODE_LOAD_CET,
     "guest IA32_S_CET must be a canonical address"},
    {"guest.ssp_table", VMCS_GUEST_SSP_TABLE, REGISTERS, audit_canonical, 0, W_MODE, MODE_LOAD_CET,
     "guest IA32_INTERRUPT_SSP_TABLE_ADDR must be a canonical address"},
    {"guest.perf_global", VMCS_GUEST_PERF_GLOBAL_CTRL, REGISTERS, audit_perf_global, 0, W_ENTRY, ENTRY_LOAD_PERF_GLOBAL,
     "guest IA32_PERF_GLOBAL_CTRL: reserved bits must be 0"},
    {"guest.pat", VMCS_GUEST_PAT, REGISTERS, audit_pat, 0, W_ENTRY, ENTRY_LOAD_PAT,
     "guest IA32_PAT: each byte must be 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-)"},
    {"guest.efer.reserved", VMCS_GUEST_EFER, REGISTERS, audit_must_be_0, EFER_RESERVED, W_ENTRY, ENTRY_LOAD_EFER,
     "guest IA32_EFER: reserved bits must be 0"},
    {"guest.efer.lma", VMCS_GUEST_EFER, REGISTERS, efer_lma, 0, W_ENTRY, ENTRY_LOAD_EFER,
     "guest IA32_EFER: LMA must equal \"IA-32e mode guest\""},
    {"guest.efer.lme", VMCS_GUEST_EFER, REGISTERS, efer_lme, 0, W_MODE, MODE_LOAD_EFER | MODE_PAGING,
     "guest IA32_EFER: LMA must equal LME if CR0.PG is 1"},
    {"guest.bndcfgs.reserved", VMCS_GUEST_BNDCFGS, REGISTERS, audit_must_be_0, BNDCFGS_RESERVED, W_ENTRY,
     ENTRY_LOAD_BNDCFGS,
     "guest IA32_BNDCFGS: bits 11:2 must be 0"},
    {"guest.bndcfgs.base", VMCS_GUEST_BNDCFGS, REGISTERS, bndcfgs_base, 0, W_ENTRY, ENTRY_LOAD_BNDCFGS,
     "guest IA32_BNDCFGS: the address in bits 63:12 must be canonical"},
    {"guest.rtit_ctl", VMCS_GUEST_RTIT_CTL, REGISTERS, audit_must_be_0, RTIT_CTL_RESERVED, W_ENTRY, ENTRY_LOAD_RTIT_CTL,
     "guest IA32_RTIT_CTL: reserved bits must be 0"},
    {"guest.lbr_ctl", VMCS_GUEST_LBR_CTL, REGISTERS, audit_must_be_0, LBR_CTL_RESERVED, W_ENTRY, ENTRY_LOAD_LBR_CTL,
     "guest IA32_LBR_CTL: reserved bits must be 0"},
    {"guest.pkrs", VMCS_GUEST_PKRS, REGISTERS, audit_must_be_0, BITS64(63, 32), W_ENTRY, ENTRY_LOAD_PKRS,
     "guest IA32_PKRS: bits 63:32 must be 0"},
    {"guest.uinv", VMCS_GUEST_UINV, REGISTERS, audit_must_be_0, BITS64(15, 8), W_ENTRY, ENTRY_LOAD_UINV,
     "guest UINV: bits 15:8 must be 0"},
};

#define PDPTE(n) \
    {"guest.pdpte" #n, VMCS_GUEST_PDPTE##n, PDPTES, pdpte_field, 0, W_MODE, MODE_PAE_EPT, \
     "guest PDPTE" #n ": if present, bits 2:1, 8:5 and bits beyond the physical-address width must be 0"}

static const struct audit_rule others[] = {
    {"guest.rip.high", VMCS_GUEST_RIP, RIP_FLAGS, audit_must_be_0, BITS64(63, 32), W_MODE, MODE_NOT_CODE64,
     "guest RIP: bits 63:32 must be 0 unless \"IA-32e mode guest\" and CS.L are 1"},
    {"guest.rip.canonical", VMCS_GUEST_RIP, RIP_FLAGS, same_high_bits, 0, W_MODE, MODE_CODE64,
     "guest RIP: the bits from the linear-address width up must all be equal"},
    {"guest.rflags.reserved", VMCS_GUEST_RFLAGS, RIP_FLAGS, audit_must_be_0, RFLAGS_RESERVED, W_ALWAYS, 0,
     "guest RFLAGS: bits 63:22, 15, 5 and 3 must be 0"},
    {"guest.rflags.fixed", VMCS_GUEST_RFLAGS, RIP_FLAGS, audit_must_be_1, RFLAGS_FIXED, W_ALWAYS, 0,
     "guest RFLAGS: bit 1 must be 1"},
    {"guest.rflags.vm_long", VMCS_GUEST_RFLAGS, RIP_FLAGS, audit_must_be_0, RFLAGS_VM, W_MODE, MODE_LONG,
     "guest RFLAGS.VM must be 0 if \"IA-32e mode guest\" is 1"},
    {"guest.rflags.vm_real", VMCS_GUEST_RFLAGS, RIP_FLAGS, audit_must_be_0, RFLAGS_VM, W_MODE, MODE_REAL,
     "guest RFLAGS.VM must be 0 if CR0.PE is 0"},
    {"guest.rflags.if_event", VMCS_GUEST_RFLAGS, RIP_FLAGS, audit_must_be_1, RFLAGS_IF, W_MODE, MODE_INJECT_EXTINT,
     "guest RFLAGS.IF must be 1 if an external interrupt is injected"},
    {"guest.ssp.align", VMCS_GUEST_SSP, RIP_FLAGS, audit_must_be_0, BITS64(1, 0), W_MODE, MODE_LOAD_CET,
     "guest SSP: bits 1:0 must be 0"},
    {"guest.ssp.high", VMCS_GUEST_SSP, RIP_FLAGS, audit_must_be_0, BITS64(63, 32), W_MODE,
     MODE_LOAD_CET | MODE_NOT_CODE64,
     "guest SSP: bits 63:32 must be 0 unless \"IA-32e mode guest\" and CS.L are 1"},
    {"guest.ssp.canonical", VMCS_GUEST_SSP, RIP_FLAGS, same_high_bits, 0, W_MODE, MODE_LOAD_CET | MODE_CODE64,
     "guest SSP: the bits from the linear-address width up must all be equal"},

    {"guest.activity.known", VMCS_GUEST_ACTIVITY, OTHER, activity_known, 0, W_ALWAYS, 0,
     "activity state: must be 0 to 3 and one that IA32_VMX_MISC 8:6 offers"},
    {"guest.activity.hlt_dpl", VMCS_GUEST_ACTIVITY, OTHER, activity_dpl, 0, W_ALWAYS, 0,
     "activity state: must not be HLT if SS.DPL is not 0"},
    {"guest.activity.blocking", VMCS_GUEST_ACTIVITY, OTHER, activity_blocking, 0, W_ALWAYS, 0,
     "activity state: must be active while STI or MOV SS blocks events"},
    {"guest.activity.event", VMCS_GUEST_ACTIVITY, OTHER, activity_event, 0, W_MODE, MODE_INJECT,
     "activity state: the injected event must be one that the state does not block"},
    {"guest.interruptibility.reserved", VMCS_GUEST_INTERRUPTIBILITY, OTHER, audit_must_be_0, INTERRUPTIBILITY_RESERVED,
     W_ALWAYS, 0, "interruptibility state: bits 31:5 must be 0"},
    {"guest.interruptibility.both", VMCS_GUEST_INTERRUPTIBILITY, OTHER, blocking_both,
     INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS, W_ALWAYS, 0,
     "interruptibility state: blocking by STI and by MOV SS must not both be 1"},
    {"guest.interruptibility.sti_if", VMCS_GUEST_INTERRUPTIBILITY, OTHER, blocking_if, 0, W_ALWAYS, 0,
     "interruptibility state: blocking by STI must be 0 if RFLAGS.IF is 0"},
    {"guest.interruptibility.external", VMCS_GUEST_INTERRUPTIBILITY, OTHER, audit_must_be_0,
     INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS, W_MODE, MODE_INJECT_EXTINT,
     "interruptibility state: blocking by STI and by MOV SS must be 0 if an external interrupt is injected"},
    {"guest.interruptibility.nmi_mov_ss", VMCS_GUEST_INTERRUPTIBILITY, OTHER, audit_must_be_0,
     INTERRUPTIBILITY_MOV_SS, W_MODE, MODE_INJECT_NMI,
     "interruptibility state: blocking by MOV SS must be 0 if an NMI is injected"},
    {"guest.interruptibility.smi", VMCS_GUEST_INTERRUPTIBILITY, OTHER, audit_must_be_0, INTERRUPTIBILITY_SMI,
     W_ALWAYS, 0, "interruptibility state: blocking by SMI must be 0 outside SMM"},
    {"guest.interruptibility.nmi_nmi", VMCS_GUEST_INTERRUPTIBILITY, OTHER, audit_must_be_0, INTERRUPTIBILITY_NMI,
     W_MODE,
     MODE_INJECT_NMI | MODE_VIRTUAL_NMIS,
     "interruptibility state: blocking by NMI must be 0 if an NMI is injected and \"virtual NMIs\" is 1"},
    {"guest.interruptibility.enclave", VMCS_GUEST_INTERRUPTIBILITY, OTHER, blocking_enclave, 0, W_ALWAYS, 0,
     "interruptibility state: enclave interruption needs a CPU with SGX and no blocking by MOV SS"},
    {"guest.pending_debug.reserved", VMCS_GUEST_PENDING_DEBUG, OTHER, pending_reserved, 0, W_ALWAYS, 0,
     "pending debug exceptions: bits 63:17, 15, 13, 10:4 (and 11, 16 on CPUs without bus-lock detection, RTM) "
     "must be 0"},
    {"guest.pending_debug.bs_1", VMCS_GUEST_PENDING_DEBUG, OTHER, pending_bs, 1, W_ALWAYS, 0,
     "pending debug exceptions: BS must be 1 if STI, MOV SS or HLT holds events, RFLAGS.TF is 1 and "
     "IA32_DEBUGCTL.BTF is 0"},
    {"guest.pending_debug.bs_0", VMCS_GUEST_PENDING_DEBUG, OTHER, pending_bs, 0, W_ALWAYS, 0,
     "pending debug exceptions: BS must be 0 if STI, MOV SS or HLT holds events and RFLAGS.TF is 0 or "
     "IA32_DEBUGCTL.BTF is 1"},
    {"guest.pending_debug.rtm", VMCS_GUEST_PENDING_DEBUG, OTHER, pending_rtm, 0, W_ALWAYS, 0,
     "pending debug exceptions: with RTM, bits 11:0 and 15:13 must be 0, bit 12 must be 1, and MOV SS must not block"},
    {"guest.link.align", VMCS_LINK_POINTER, OTHER, audit_must_be_0, BITS64(11, 0), W_MODE, MODE_LINKED,
     "VMCS link pointer: bits 11:0 must be 0 unless it is all ones"},
    {"guest.link.width", VMCS_LINK_POINTER, OTHER, audit_width, 0, W_MODE, MODE_LINKED,
     "VMCS link pointer: no bit may be set beyond the physical-address width unless it is all ones"},
    {"guest.link.current", VMCS_LINK_POINTER, OTHER, link_current, 0, W_MODE, MODE_LINKED,
     "VMCS link pointer: must not be the current VMCS"},
    {"guest.link.revision", VMCS_LINK_POINTER, OTHER, link_revision, 0, W_MODE, MODE_LINKED,
     "VMCS link pointer: the 4 bytes there must be the VMCS revision, with bit 31 equal to \"VMCS shadowing\""},

    PDPTE(0), PDPTE(1), PDPTE(2), PDPTE(3),
    {"guest.pdpte.memory", VMCS_GUEST_CR3, PDPTES, pdpte_memory, 0, W_MODE, MODE_PAE_MEMORY,
     "guest PDPTE in memory at CR3: if present, bits 2:1, 8:5 and bits beyond the physical-address width must be 0"},

    /* last, as not every CPU asks for it */
    {"guest.interruptibility.nmi_sti", VMCS_GUEST_INTERRUPTIBILITY, OTHER, audit_must_be_0, INTERRUPTIBILITY_STI,
     W_MODE,
     MODE_INJECT_NMI, "interruptibility state: some CPUs ask blocking by STI to be 0 if an NMI is injected"},
};
/* clang-format on */

const struct audit_group vmx_audit_guest_registers = {registers, ARRAY_COUNT(registers), VMX_AUDIT_GUEST};
const struct audit_group vmx_audit_guest_other = {others, ARRAY_COUNT(others), VMX_AUDIT_GUEST};
