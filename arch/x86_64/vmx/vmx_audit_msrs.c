/* SPDX-License-Identifier: MIT */
/* Rules of SDM 3C 27.4: the entries of the VM-entry MSR-load area. What WRMSR itself would refuse is not modelled. */
#include "vmx_audit_rules.h"

#include <arch/bits/msr.h>

/* bits 31:0 of an entry's first 8 bytes are the MSR's index */
#define ENTRY_INDEX    BITS64(31, 0)
#define ENTRY_RESERVED BITS64(63, 32)

static uint64_t reserved(uint64_t head)
{
    return head & ENTRY_RESERVED;
}

static uint64_t fs_gs_base(uint64_t head)
{
    uint32_t index = (uint32_t)head;

    return index == MSR_IA32_FS_BASE || index == MSR_IA32_GS_BASE ? WHOLE : 0;
}

static uint64_t x2apic(uint64_t head)
{
    return FIELD_GET(BITS64(31, 8), head) == MSR_IA32_X2APIC_BASE >> 8 ? WHOLE : 0;
}

static uint64_t smm_only(uint64_t head)
{
    return (uint32_t)head == MSR_IA32_SMM_MONITOR_CTL ? WHOLE : 0;
}

static uint64_t microcode(uint64_t head)
{
    uint32_t index = (uint32_t)head;

    return index == MSR_IA32_BIOS_UPDT_TRIG || index == MSR_IA32_BIOS_SIGN_ID ? WHOLE : 0;
}

static uint64_t (*const checks[])(uint64_t head) = {reserved, fs_gs_base, x2apic, smm_only, microcode};
enum { CHECK_RESERVED, CHECK_FS_GS, CHECK_X2APIC, CHECK_SMM, CHECK_MICROCODE };

/* never more than the CPU recommends as the longest list */
static uint64_t entries(const struct audit *a)
{
    uint64_t most = 512 * (FIELD_GET(VMX_MISC_MSR_LIST_MAX, a->caps->misc) + 1);
    uint64_t count = audit_read(a, VMCS_ENTRY_MSR_LOAD_COUNT);

    return HV_MIN(count, most);
}

/* arg: a CHECK_* */
static uint64_t any_entry(struct audit *a, uint64_t which)
{
    uint64_t address = a->value, count = entries(a);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t head, wrong;

        if (!audit_memory(a, address + 16ull * i, &head))
            return 0;
        wrong = checks[which](head);
        if (wrong) {
            a->value = head;
            a->entry = i + 1;
            return wrong;
        }
    }
    return 0;
}

#define LOADING "SDM 3C 27.4"

/* clang-format off */
#define ENTRY_RULE(id, check, text) \
    {"msr_load." id, VMCS_ENTRY_MSR_LOAD_ADDR, LOADING, any_entry, check, W_ALWAYS, 0, "VM-entry MSR-load area: " text}

static const struct audit_rule rules[] = {
    ENTRY_RULE("fs_gs_base", CHECK_FS_GS, "an entry must not be for IA32_FS_BASE or IA32_GS_BASE"),
    ENTRY_RULE("x2apic", CHECK_X2APIC, "an entry must not be for an MSR from 0x800 to 0x8ff"),
    ENTRY_RULE("smm", CHECK_SMM, "an entry must not be for an MSR that can only be written in SMM"),
    ENTRY_RULE("microcode", CHECK_MICROCODE, "an entry must not be for an MSR of microcode updates"),
    ENTRY_RULE("reserved", CHECK_RESERVED, "bits 63:32 of an entry must be 0"),
};
/* clang-format on */

const struct audit_group vmx_audit_msrs = {rules, ARRAY_COUNT(rules), VMX_AUDIT_MSRS};
