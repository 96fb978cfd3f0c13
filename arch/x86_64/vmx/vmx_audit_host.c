/* SPDX-License-Identifier: MIT */
/* Rules of SDM 3C 27.2.2 to 27.2.4: the host state that the next VM exit will load. In the manual's order. */
#include "vmx_audit_rules.h"

#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* LMA and LME must both be the "host address-space size" */
static uint64_t efer_mode(struct audit *a, uint64_t unused)
{
    uint64_t wanted = audit_has(a, W_MODE, MODE_HOST_64) ? EFER_LMA | EFER_LME : 0;

    (void)unused;
    return (a->value ^ wanted) & (EFER_LMA | EFER_LME);
}

/* VM entries and exits leave these bits of CR0 alone: they are not checked */
#define CR0_UNCHECKED (CR0_NW | CR0_CD)

#define REGISTERS "SDM 3C 27.2.2"
#define SEGMENTS  "SDM 3C 27.2.3"
#define SPACE     "SDM 3C 27.2.4"

/* clang-format off */
#define CANONICAL(id, field, section, what) \
    {"host." id, VMCS_HOST_##field, section, audit_canonical, 0, W_ALWAYS, 0, \
     "host " what " must be a canonical address"}

#define SELECTOR(id, ID) \
    {"host." id ".selector", VMCS_HOST_##ID##_SELECTOR, SEGMENTS, audit_must_be_0, SEL_RPL | SEL_TI, W_ALWAYS, 0, \
     "host " #ID " selector: RPL and TI must be 0"}

static const struct audit_rule rules[] = {
    {"host.cr0.must_be_1", VMCS_HOST_CR0, REGISTERS, audit_cr0_must_be_1, CR0_UNCHECKED, W_ALWAYS, 0,
     "host CR0: a bit set in IA32_VMX_CR0_FIXED0 must be 1"},
    {"host.cr0.must_be_0", VMCS_HOST_CR0, REGISTERS, audit_cr0_must_be_0, CR0_UNCHECKED, W_ALWAYS, 0,
     "host CR0: a bit clear in IA32_VMX_CR0_FIXED1 must be 0"},
    {"host.cr4.must_be_1", VMCS_HOST_CR4, REGISTERS, audit_cr4_must_be_1, 0, W_ALWAYS, 0,
     "host CR4: a bit set in IA32_VMX_CR4_FIXED0 must be 1"},
    {"host.cr4.must_be_0", VMCS_HOST_CR4, REGISTERS, audit_cr4_must_be_0, 0, W_ALWAYS, 0,
     "host CR4: a bit clear in IA32_VMX_CR4_FIXED1 must be 0"},
    {"host.cr0.wp_cet", VMCS_HOST_CR0, REGISTERS, audit_must_be_1, CR0_WP, W_MODE, MODE_HOST_CET,
     "host CR0.WP must be 1 if CR4.CET is 1"},
    {"host.cr3", VMCS_HOST_CR3, REGISTERS, audit_cr3, 0, W_ALWAYS, 0,
     "host CR3: bits beyond the physical-address width must be 0"},
    CANONICAL("sysenter_esp", SYSENTER_ESP, REGISTERS, "IA32_SYSENTER_ESP"),
    CANONICAL("sysenter_eip", SYSENTER_EIP, REGISTERS, "IA32_SYSENTER_EIP"),
    {"host.s_cet", VMCS_HOST_S_CET, REGISTERS, audit_cet, 0, W_EXIT, EXIT_LOAD_CET,
     "host IA32_S_CET: bits 9:6 must be 0, and bits 10 and 11 not both 1"},
    {"host.ssp_table", VMCS_HOST_SSP_TABLE, REGISTERS, audit_canonical, 0, W_EXIT, EXIT_LOAD_CET,
     "host IA32_INTERRUPT_SSP_TABLE_ADDR must be a canonical address"},
    {"host.ssp.align", VMCS_HOST_SSP, REGISTERS, audit_must_be_0, BITS64(1, 0), W_EXIT, EXIT_LOAD_CET,
     "host SSP: bits 1:0 must be 0"},
    {"host.perf_global", VMCS_HOST_PERF_GLOBAL_CTRL, REGISTERS, audit_perf_global, 0, W_EXIT, EXIT_LOAD_PERF_GLOBAL,
     "host IA32_PERF_GLOBAL_CTRL: reserved bits must be 0"},
    {"host.pat", VMCS_HOST_PAT, REGISTERS, audit_pat, 0, W_EXIT, EXIT_LOAD_PAT,
     "host IA32_PAT: each byte must be 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-)"},
    {"host.efer.reserved", VMCS_HOST_EFER, REGISTERS, audit_must_be_0, EFER_RESERVED, W_EXIT, EXIT_LOAD_EFER,
     "host IA32_EFER: reserved bits must be 0"},
    {"host.efer.mode", VMCS_HOST_EFER, REGISTERS, efer_mode, 0, W_EXIT, EXIT_LOAD_EFER,
     "host IA32_EFER: LMA and LME must both equal \"host address-space size\""},
    {"host.pkrs", VMCS_HOST_PKRS, REGISTERS, audit_must_be_0, BITS64(63, 32), W_EXIT, EXIT_LOAD_PKRS,
     "host IA32_PKRS: bits 63:32 must be 0"},

    SELECTOR("es", ES), SELECTOR("cs", CS), SELECTOR("ss", SS), SELECTOR("ds", DS), SELECTOR("fs", FS),
    SELECTOR("gs", GS), SELECTOR("tr", TR),
    {"host.cs.null", VMCS_HOST_CS_SELECTOR, SEGMENTS, audit_null, 0, W_ALWAYS, 0, "host CS selector must not be 0"},
    {"host.tr.null", VMCS_HOST_TR_SELECTOR, SEGMENTS, audit_null, 0, W_ALWAYS, 0, "host TR selector must not be 0"},
    {"host.ss.null", VMCS_HOST_SS_SELECTOR, SEGMENTS, audit_null, 0, W_MODE, MODE_HOST_32,
     "host SS selector must not be 0 if \"host address-space size\" is 0"},
    CANONICAL("fs.base", FS_BASE, SEGMENTS, "FS base"),
    CANONICAL("gs.base", GS_BASE, SEGMENTS, "GS base"),
    CANONICAL("gdtr.base", GDTR_BASE, SEGMENTS, "GDTR base"),
    CANONICAL("idtr.base", IDTR_BASE, SEGMENTS, "IDTR base"),
    CANONICAL("tr.base", TR_BASE, SEGMENTS, "TR base"),

    {"host.space.guest_64", VMCS_ENTRY_CONTROLS, SPACE, audit_must_be_0, ENTRY_GUEST_64BIT, W_MODE, MODE_NOW_NOT_LONG,
     "\"IA-32e mode guest\" must be 0 if the CPU is outside IA-32e mode at the VM entry"},
    {"host.space.not_64", VMCS_EXIT_CONTROLS, SPACE, audit_must_be_0, EXIT_HOST_64BIT, W_MODE, MODE_NOW_NOT_LONG,
     "\"host address-space size\" must be 0 if the CPU is outside IA-32e mode at the VM entry"},
    {"host.space.is_64", VMCS_EXIT_CONTROLS, SPACE, audit_must_be_1, EXIT_HOST_64BIT, W_MODE, MODE_NOW_LONG,
     "\"host address-space size\" must be 1 if the CPU is in IA-32e mode at the VM entry"},
    /* "IA-32e mode guest" must be 0 if "host address-space size" is 0: then one of the three above is broken already */
    {"host.space.pcide", VMCS_HOST_CR4, SPACE, audit_must_be_0, CR4_PCIDE, W_MODE, MODE_HOST_32,
     "host CR4.PCIDE must be 0 if \"host address-space size\" is 0"},
    {"host.space.rip_high", VMCS_HOST_RIP, SPACE, audit_must_be_0, BITS64(63, 32), W_MODE, MODE_HOST_32,
     "host RIP: bits 63:32 must be 0 if \"host address-space size\" is 0"},
    {"host.space.s_cet_high", VMCS_HOST_S_CET, SPACE, audit_must_be_0, BITS64(63, 32), W_MODE,
     MODE_HOST_32 | MODE_HOST_LOAD_CET,
     "host IA32_S_CET: bits 63:32 must be 0 if \"host address-space size\" is 0"},
    {"host.space.ssp_high", VMCS_HOST_SSP, SPACE, audit_must_be_0, BITS64(63, 32), W_MODE,
     MODE_HOST_32 | MODE_HOST_LOAD_CET,
     "host SSP: bits 63:32 must be 0 if \"host address-space size\" is 0"},
    {"host.space.pae", VMCS_HOST_CR4, SPACE, audit_must_be_1, CR4_PAE, W_MODE, MODE_HOST_64,
     "host CR4.PAE must be 1 if \"host address-space size\" is 1"},
    {"host.space.rip", VMCS_HOST_RIP, SPACE, audit_canonical, 0, W_MODE, MODE_HOST_64,
     "host RIP must be a canonical address"},
    {"host.space.s_cet", VMCS_HOST_S_CET, SPACE, audit_canonical, 0, W_MODE, MODE_HOST_64 | MODE_HOST_LOAD_CET,
     "host IA32_S_CET must be a canonical address"},
    {"host.space.ssp", VMCS_HOST_SSP, SPACE, audit_canonical, 0, W_MODE, MODE_HOST_64 | MODE_HOST_LOAD_CET,
     "host SSP must be a canonical address"},
};
/* clang-format on */

const struct audit_group vmx_audit_host = {rules, ARRAY_COUNT(rules), VMX_AUDIT_HOST};
