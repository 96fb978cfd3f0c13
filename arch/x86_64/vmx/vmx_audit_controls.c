/* SPDX-License-Identifier: MIT */
/* Rules of SDM 3C 27.2.1: VM-execution, VM-exit and VM-entry control fields. In the manual's order. */
#include "vmx_audit_rules.h"

#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* arg: the control word whose capability MSR counts */
static uint64_t capability(const struct audit *a, uint64_t word)
{
    switch (word) {
    case W_PIN:
        return a->caps->pin;
    case W_CPU:
        return a->caps->cpu;
    case W_CPU2:
        return a->caps->cpu2;
    case W_EXIT:
        return a->caps->exit;
    default:
        return a->caps->entry;
    }
}

static uint64_t fixed_1(struct audit *a, uint64_t word)
{
    return ~a->value & FIELD_GET(VMX_CTLS_MUST_BE_1, capability(a, word));
}

static uint64_t fixed_0(struct audit *a, uint64_t word)
{
    return a->value & ~FIELD_GET(VMX_CTLS_MAY_BE_1, capability(a, word));
}

static uint64_t fixed_0_cpu3(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & ~a->caps->cpu3;
}

static uint64_t fixed_0_exit2(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & ~a->caps->exit2;
}

static uint64_t fixed_0_vmfunc(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & ~a->caps->vmfunc;
}

static uint64_t cr3_targets(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value > FIELD_GET(VMX_MISC_CR3_TARGETS, a->caps->misc) ? WHOLE : 0;
}

/* the byte at offset 0x80 of the virtual-APIC page */
static uint64_t tpr_threshold(struct audit *a, uint64_t unused)
{
    uint64_t vtpr;

    (void)unused;
    if (audit_has(a, W_CPU2, CPU2_VIRT_APIC_ACCESSES))
        return 0;
    if (!audit_memory(a, audit_read(a, VMCS_VIRTUAL_APIC_ADDR) + 0x80, &vtpr))
        return 0;
    return (a->value & 15) > FIELD_GET(BITS64(7, 4), vtpr) ? WHOLE : 0;
}

static uint64_t eptp_type(struct audit *a, uint64_t unused)
{
    uint64_t type = FIELD_GET(EPTP_MEM_TYPE, a->value);
    uint64_t needs = type == MEM_TYPE_UC ? EPT_CAP_UC : type == MEM_TYPE_WB ? EPT_CAP_WB : 0;

    (void)unused;
    return a->caps->ept_vpid & needs ? 0 : EPTP_MEM_TYPE;
}

static uint64_t eptp_walk(struct audit *a, uint64_t unused)
{
    uint64_t levels = FIELD_GET(EPTP_WALK, a->value) + 1;
    uint64_t needs = levels == 4 ? EPT_CAP_WALK_4 : levels == 5 ? EPT_CAP_WALK_5 : 0;

    (void)unused;
    return a->caps->ept_vpid & needs ? 0 : EPTP_WALK;
}

/* arg: a bit of EPTP that needs a capability */
static uint64_t eptp_flag(struct audit *a, uint64_t bit)
{
    uint64_t needs = bit == EPTP_AD ? EPT_CAP_AD : EPT_CAP_SHADOW_STACK;

    return a->caps->ept_vpid & needs ? 0 : a->value & bit;
}

static uint64_t eptp_reserved(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & (BITS64(11, 8) | audit_above(a->caps->phys_bits));
}

static uint64_t hlatp(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & (BITS64(2, 0) | BITS64(11, 5) | audit_above(a->caps->phys_bits));
}

static uint64_t pid_table_end(struct audit *a, uint64_t unused)
{
    uint64_t last = a->value + 8 * audit_read(a, VMCS_LAST_PID_POINTER_INDEX);

    (void)unused;
    return (last & audit_above(a->caps->phys_bits)) ? WHOLE : 0;
}

/* MSR areas; arg: the field that counts the entries of 16 bytes. An empty area may have any address. */
static uint64_t area_align(struct audit *a, uint64_t count)
{
    return audit_read(a, (uint32_t)count) ? a->value & BITS64(3, 0) : 0;
}

static uint64_t area_width(struct audit *a, uint64_t count)
{
    return audit_read(a, (uint32_t)count) ? audit_width(a, 0) : 0;
}

static uint64_t area_end(struct audit *a, uint64_t count)
{
    uint64_t entries = audit_read(a, (uint32_t)count);

    if (!entries || audit_width(a, 0))
        return 0;
    return ((a->value + 16 * entries - 1) & audit_above(audit_vmx_width(a))) ? WHOLE : 0;
}

static uint64_t event_type(struct audit *a, uint64_t unused)
{
    uint64_t type = FIELD_GET(INTR_INFO_TYPE, a->value);
    bool monitor_trap = FIELD_GET(VMX_CTLS_MAY_BE_1, a->caps->cpu) & CPU_MONITOR_TRAP;

    (void)unused;
    return type == INTR_TYPE_RESERVED || (type == INTR_TYPE_OTHER && !monitor_trap) ? INTR_INFO_TYPE : 0;
}

/* arg: the only vector allowed */
static uint64_t event_vector(struct audit *a, uint64_t vector)
{
    return FIELD_GET(INTR_INFO_VECTOR, a->value) == vector ? 0 : INTR_INFO_VECTOR;
}

static uint64_t event_exception(struct audit *a, uint64_t unused)
{
    (void)unused;
    return FIELD_GET(INTR_INFO_VECTOR, a->value) > 31 ? INTR_INFO_VECTOR : 0;
}

/* an error code with something other than a hardware exception */
static uint64_t event_error_type(struct audit *a, uint64_t unused)
{
    (void)unused;
    return audit_has(a, W_MODE, MODE_INJECT_HW) ? 0 : INTR_INFO_ERROR_VALID;
}

static uint64_t event_error_real(struct audit *a, uint64_t unused)
{
    (void)unused;
    return audit_has(a, W_MODE, MODE_UNRESTRICTED | MODE_REAL) ? INTR_INFO_ERROR_VALID : 0;
}

static uint64_t event_error_vector(struct audit *a, uint64_t unused)
{
    uint64_t vector = FIELD_GET(INTR_INFO_VECTOR, a->value);
    uint64_t with_code = a->caps->cr4_fixed1 & CR4_CET ? VEC_ERROR_CODE_MASK : VEC_ERROR_CODE_MASK & ~BIT32(VEC_CP);
    bool wanted = vector < 32 && (with_code & BIT64(vector));
    bool given = a->value & INTR_INFO_ERROR_VALID;

    (void)unused;
    if ((a->caps->basic & VMX_BASIC_ANY_ERROR_CODE) || audit_has(a, W_MODE, MODE_UNRESTRICTED | MODE_REAL))
        return 0;
    return wanted == given ? 0 : INTR_INFO_ERROR_VALID;
}

static uint64_t event_length(struct audit *a, uint64_t unused)
{
    bool zero_allowed = a->caps->misc & VMX_MISC_INJECT_LENGTH_0;

    (void)unused;
    return a->value > 15 || (!a->value && !zero_allowed) ? WHOLE : 0;
}

#define EXECUTION "SDM 3C 27.2.1.1"
#define EXIT      "SDM 3C 27.2.1.2"
#define ENTRY     "SDM 3C 27.2.1.3"

/* clang-format off */
#define PAGE(id, field, word, bits, what) \
    {"control." id ".align", VMCS_##field, EXECUTION, audit_must_be_0, BITS64(11, 0), word, bits, \
     what ": bits 11:0 must be 0"}, \
    {"control." id ".width", VMCS_##field, EXECUTION, audit_width, 0, word, bits, \
     what ": no bit may be set beyond the physical-address width"}

#define AREA(id, field, count, section, what) \
    {"control." id ".align", VMCS_##field, section, area_align, VMCS_##count, W_ALWAYS, 0, \
     what ": bits 3:0 of the address must be 0 unless the count is 0"}, \
    {"control." id ".width", VMCS_##field, section, area_width, VMCS_##count, W_ALWAYS, 0, \
     what ": no bit of the address may be set beyond the physical-address width unless the count is 0"}, \
    {"control." id ".end", VMCS_##field, section, area_end, VMCS_##count, W_ALWAYS, 0, \
     what ": the last byte's address must not exceed the physical-address width"}

/* "if the control `bits` is 1, the control `needed` in another field must be 1" */
#define NEEDS(id, field, needed, word, bits, text) \
    {"control." id, VMCS_##field, EXECUTION, audit_must_be_1, needed, word, bits, text}

static const struct audit_rule rules[] = {
    {"control.pin.must_be_1", VMCS_PIN_CONTROLS, EXECUTION, fixed_1, W_PIN, W_ALWAYS, 0,
     "pin-based controls: a bit set in IA32_VMX_(TRUE_)PINBASED_CTLS 31:0 must be 1"},
    {"control.pin.must_be_0", VMCS_PIN_CONTROLS, EXECUTION, fixed_0, W_PIN, W_ALWAYS, 0,
     "pin-based controls: a bit clear in IA32_VMX_(TRUE_)PINBASED_CTLS 63:32 must be 0"},
    {"control.cpu.must_be_1", VMCS_CPU_CONTROLS, EXECUTION, fixed_1, W_CPU, W_ALWAYS, 0,
     "primary processor-based controls: a bit set in IA32_VMX_(TRUE_)PROCBASED_CTLS 31:0 must be 1"},
    {"control.cpu.must_be_0", VMCS_CPU_CONTROLS, EXECUTION, fixed_0, W_CPU, W_ALWAYS, 0,
     "primary processor-based controls: a bit clear in IA32_VMX_(TRUE_)PROCBASED_CTLS 63:32 must be 0"},
    {"control.cpu2.must_be_0", VMCS_CPU2_CONTROLS, EXECUTION, fixed_0, W_CPU2, W_CPU, CPU_ACTIVATE_CPU2,
     "secondary processor-based controls: a bit clear in IA32_VMX_PROCBASED_CTLS2 63:32 must be 0"},
    {"control.cpu3.must_be_0", VMCS_CPU3_CONTROLS, EXECUTION, fixed_0_cpu3, 0, W_CPU, CPU_ACTIVATE_CPU3,
     "tertiary processor-based controls: a bit clear in IA32_VMX_PROCBASED_CTLS3 must be 0"},
    {"control.cr3_targets", VMCS_CR3_TARGET_COUNT, EXECUTION, cr3_targets, 0, W_ALWAYS, 0,
     "the CR3-target count must not be greater than IA32_VMX_MISC 24:16"},

    PAGE("io_bitmap_a", IO_BITMAP_A, W_CPU, CPU_IO_BITMAPS, "address of I/O bitmap A"),
    PAGE("io_bitmap_b", IO_BITMAP_B, W_CPU, CPU_IO_BITMAPS, "address of I/O bitmap B"),
    PAGE("msr_bitmap", MSR_BITMAP, W_CPU, CPU_MSR_BITMAPS, "address of the MSR bitmap"),
    PAGE("virtual_apic", VIRTUAL_APIC_ADDR, W_CPU, CPU_TPR_SHADOW, "virtual-APIC address"),
    {"control.tpr_threshold.reserved", VMCS_TPR_THRESHOLD, EXECUTION, audit_must_be_0, BITS64(31, 4), W_MODE,
     MODE_TPR_PLAIN,
     "TPR threshold: bits 31:4 must be 0 with \"use TPR shadow\" 1 and \"virtual-interrupt delivery\" 0"},
    {"control.tpr_threshold.vtpr", VMCS_TPR_THRESHOLD, EXECUTION, tpr_threshold, 0, W_MODE, MODE_TPR_PLAIN,
     "TPR threshold: bits 3:0 must not be greater than bits 7:4 of VTPR on the virtual-APIC page"},

    NEEDS("virtual_nmis", PIN_CONTROLS, PIN_NMI, W_PIN, PIN_VIRTUAL_NMIS,
          "\"NMI exiting\" must be 1 if \"virtual NMIs\" is 1"),
    NEEDS("nmi_window", PIN_CONTROLS, PIN_VIRTUAL_NMIS, W_CPU, CPU_NMI_WINDOW,
          "\"virtual NMIs\" must be 1 if \"NMI-window exiting\" is 1"),
    PAGE("apic_access", APIC_ACCESS_ADDR, W_CPU2, CPU2_VIRT_APIC_ACCESSES, "APIC-access address"),
    NEEDS("x2apic.tpr_shadow", CPU_CONTROLS, CPU_TPR_SHADOW, W_CPU2, CPU2_VIRT_X2APIC,
          "\"use TPR shadow\" must be 1 if \"virtualize x2APIC mode\" is 1"),
    NEEDS("apic_registers.tpr_shadow", CPU_CONTROLS, CPU_TPR_SHADOW, W_CPU2, CPU2_APIC_REGISTER_VIRT,
          "\"use TPR shadow\" must be 1 if \"APIC-register virtualization\" is 1"),
    NEEDS("virtual_interrupts.tpr_shadow", CPU_CONTROLS, CPU_TPR_SHADOW, W_CPU2, CPU2_VIRT_INTR_DELIVERY,
          "\"use TPR shadow\" must be 1 if \"virtual-interrupt delivery\" is 1"),
    NEEDS("ipi.tpr_shadow", CPU_CONTROLS, CPU_TPR_SHADOW, W_CPU3, CPU3_IPI_VIRT,
          "\"use TPR shadow\" must be 1 if \"IPI virtualization\" is 1"),
    {"control.x2apic.apic_access", VMCS_CPU2_CONTROLS, EXECUTION, audit_must_be_0, CPU2_VIRT_APIC_ACCESSES, W_CPU2,
     CPU2_VIRT_X2APIC, "\"virtualize APIC accesses\" must be 0 if \"virtualize x2APIC mode\" is 1"},
    NEEDS("virtual_interrupts.external", PIN_CONTROLS, PIN_EXTERNAL_INTR, W_CPU2, CPU2_VIRT_INTR_DELIVERY,
          "\"external-interrupt exiting\" must be 1 if \"virtual-interrupt delivery\" is 1"),

    NEEDS("posted.virtual_interrupts", CPU2_CONTROLS, CPU2_VIRT_INTR_DELIVERY, W_PIN, PIN_POSTED_INTR,
          "\"virtual-interrupt delivery\" must be 1 if \"process posted interrupts\" is 1"),
    NEEDS("posted.acknowledge", EXIT_CONTROLS, EXIT_ACK_INTR, W_PIN, PIN_POSTED_INTR,
          "\"acknowledge interrupt on exit\" must be 1 if \"process posted interrupts\" is 1"),
    {"control.posted.vector", VMCS_POSTED_INTR_VECTOR, EXECUTION, audit_must_be_0, BITS64(15, 8), W_PIN,
     PIN_POSTED_INTR,
     "posted-interrupt notification vector: bits 15:8 must be 0"},
    {"control.posted.align", VMCS_POSTED_INTR_DESC_ADDR, EXECUTION, audit_must_be_0, BITS64(5, 0), W_PIN,
     PIN_POSTED_INTR,
     "posted-interrupt descriptor address: bits 5:0 must be 0"},
    {"control.posted.width", VMCS_POSTED_INTR_DESC_ADDR, EXECUTION, audit_width, 0, W_PIN, PIN_POSTED_INTR,
     "posted-interrupt descriptor address: no bit may be set beyond the physical-address width"},

    {"control.vpid", VMCS_VPID, EXECUTION, audit_null, 0, W_CPU2, CPU2_VPID,
     "the VPID must not be 0 if \"enable VPID\" is 1"},
    {"control.eptp.type", VMCS_EPTP, EXECUTION, eptp_type, 0, W_CPU2, CPU2_EPT,
     "EPTP: bits 2:0 must be a memory type that IA32_VMX_EPT_VPID_CAP offers (0 UC, 6 WB)"},
    {"control.eptp.walk", VMCS_EPTP, EXECUTION, eptp_walk, 0, W_CPU2, CPU2_EPT,
     "EPTP: bits 5:3 must be 1 less than a page-walk length that IA32_VMX_EPT_VPID_CAP offers"},
    {"control.eptp.accessed_dirty", VMCS_EPTP, EXECUTION, eptp_flag, EPTP_AD, W_CPU2, CPU2_EPT,
     "EPTP: bit 6 (accessed and dirty flags) must be 0 if IA32_VMX_EPT_VPID_CAP bit 21 is 0"},
    {"control.eptp.shadow_stack", VMCS_EPTP, EXECUTION, eptp_flag, EPTP_SHADOW_STACK, W_CPU2, CPU2_EPT,
     "EPTP: bit 7 (supervisor shadow-stack control) must be 0 if IA32_VMX_EPT_VPID_CAP bit 23 is 0"},
    {"control.eptp.reserved", VMCS_EPTP, EXECUTION, eptp_reserved, 0, W_CPU2, CPU2_EPT,
     "EPTP: bits 11:8 and bits beyond the physical-address width must be 0"},
    NEEDS("pml.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU2, CPU2_PML, "\"enable EPT\" must be 1 if \"enable PML\" is 1"),
    PAGE("pml", PML_ADDR, W_CPU2, CPU2_PML, "PML address"),
    NEEDS("unrestricted.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU2, CPU2_UNRESTRICTED_GUEST,
          "\"enable EPT\" must be 1 if \"unrestricted guest\" is 1"),
    NEEDS("mode_based_execute.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU2, CPU2_MODE_BASED_EXEC,
          "\"enable EPT\" must be 1 if \"mode-based execute control for EPT\" is 1"),
    NEEDS("sub_page.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU2, CPU2_SUB_PAGE_WRITE,
          "\"enable EPT\" must be 1 if \"sub-page write permissions for EPT\" is 1"),
    PAGE("sub_page", SPPTP, W_CPU2, CPU2_SUB_PAGE_WRITE, "sub-page-permission-table pointer"),

    {"control.vmfunc.reserved", VMCS_VMFUNC_CONTROLS, EXECUTION, fixed_0_vmfunc, 0, W_CPU2, CPU2_VMFUNC,
     "VM-function controls: a bit clear in IA32_VMX_VMFUNC must be 0"},
    NEEDS("eptp_switching.ept", CPU2_CONTROLS, CPU2_EPT, W_MODE, MODE_EPTP_SWITCHING,
          "\"enable EPT\" must be 1 if \"EPTP switching\" is 1"),
    PAGE("eptp_list", EPTP_LIST_ADDR, W_MODE, MODE_EPTP_SWITCHING, "EPTP-list address"),
    PAGE("vmread_bitmap", VMREAD_BITMAP, W_CPU2, CPU2_VMCS_SHADOWING, "VMREAD-bitmap address"),
    PAGE("vmwrite_bitmap", VMWRITE_BITMAP, W_CPU2, CPU2_VMCS_SHADOWING, "VMWRITE-bitmap address"),
    PAGE("ve_info", VE_INFO_ADDR, W_CPU2, CPU2_EPT_VIOLATION_VE, "virtualization-exception information address"),

    NEEDS("pt.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU2, CPU2_PT_GUEST_PHYS,
          "\"enable EPT\" must be 1 if \"Intel PT uses guest physical addresses\" is 1"),
    NEEDS("pt.load", ENTRY_CONTROLS, ENTRY_LOAD_RTIT_CTL, W_CPU2, CPU2_PT_GUEST_PHYS,
          "\"load IA32_RTIT_CTL\" must be 1 if \"Intel PT uses guest physical addresses\" is 1"),
    NEEDS("pt.clear", EXIT_CONTROLS, EXIT_CLEAR_RTIT_CTL, W_CPU2, CPU2_PT_GUEST_PHYS,
          "\"clear IA32_RTIT_CTL\" must be 1 if \"Intel PT uses guest physical addresses\" is 1"),
    PAGE("low_pasid", LOW_PASID_DIR_ADDR, W_CPU2, CPU2_PASID_TRANSLATION, "low PASID directory address"),
    PAGE("high_pasid", HIGH_PASID_DIR_ADDR, W_CPU2, CPU2_PASID_TRANSLATION, "high PASID directory address"),
    {"control.tsc_multiplier", VMCS_TSC_MULTIPLIER, EXECUTION, audit_null, 0, W_CPU2, CPU2_TSC_SCALING,
     "the TSC multiplier must not be 0 if \"use TSC scaling\" is 1"},

    NEEDS("hlat.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU3, CPU3_HLAT, "\"enable EPT\" must be 1 if \"enable HLAT\" is 1"),
    NEEDS("paging_write.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU3, CPU3_EPT_PAGING_WRITE,
          "\"enable EPT\" must be 1 if \"EPT paging-write control\" is 1"),
    NEEDS("paging_verify.ept", CPU2_CONTROLS, CPU2_EPT, W_CPU3, CPU3_GUEST_PAGING_VERIFY,
          "\"enable EPT\" must be 1 if \"guest-paging verification\" is 1"),
    {"control.hlatp", VMCS_HLATP, EXECUTION, hlatp, 0, W_CPU3, CPU3_HLAT,
     "HLATP: bits 2:0, 11:5 and bits beyond the physical-address width must be 0"},
    {"control.pid_table.align", VMCS_PID_POINTER_TABLE_ADDR, EXECUTION, audit_must_be_0, BITS64(2, 0), W_CPU3,
     CPU3_IPI_VIRT,
     "PID-pointer table address: bits 2:0 must be 0"},
    {"control.pid_table.width", VMCS_PID_POINTER_TABLE_ADDR, EXECUTION, pid_table_end, 0, W_CPU3, CPU3_IPI_VIRT,
     "PID-pointer table: no address up to the last entry's may exceed the physical-address width"},

    {"control.exit.must_be_1", VMCS_EXIT_CONTROLS, EXIT, fixed_1, W_EXIT, W_ALWAYS, 0,
     "VM-exit controls: a bit set in IA32_VMX_(TRUE_)EXIT_CTLS 31:0 must be 1"},
    {"control.exit.must_be_0", VMCS_EXIT_CONTROLS, EXIT, fixed_0, W_EXIT, W_ALWAYS, 0,
     "VM-exit controls: a bit clear in IA32_VMX_(TRUE_)EXIT_CTLS 63:32 must be 0"},
    {"control.exit2.must_be_0", VMCS_EXIT2_CONTROLS, EXIT, fixed_0_exit2, 0, W_EXIT, EXIT_ACTIVATE_EXIT2,
     "secondary VM-exit controls: a bit clear in IA32_VMX_EXIT_CTLS2 must be 0"},
    {"control.exit.save_timer", VMCS_EXIT_CONTROLS, EXIT, audit_must_be_0, EXIT_SAVE_PREEMPTION_TIMER, W_MODE,
     MODE_NO_TIMER,
     "\"save VMX-preemption timer value\" must be 0 if \"activate VMX-preemption timer\" is 0"},
    AREA("exit_store", EXIT_MSR_STORE_ADDR, EXIT_MSR_STORE_COUNT, EXIT, "VM-exit MSR-store area"),
    AREA("exit_load", EXIT_MSR_LOAD_ADDR, EXIT_MSR_LOAD_COUNT, EXIT, "VM-exit MSR-load area"),

    {"control.entry.must_be_1", VMCS_ENTRY_CONTROLS, ENTRY, fixed_1, W_ENTRY, W_ALWAYS, 0,
     "VM-entry controls: a bit set in IA32_VMX_(TRUE_)ENTRY_CTLS 31:0 must be 1"},
    {"control.entry.must_be_0", VMCS_ENTRY_CONTROLS, ENTRY, fixed_0, W_ENTRY, W_ALWAYS, 0,
     "VM-entry controls: a bit clear in IA32_VMX_(TRUE_)ENTRY_CTLS 63:32 must be 0"},
    {"control.event.type", VMCS_ENTRY_INTR_INFO, ENTRY, event_type, 0, W_MODE, MODE_INJECT,
     "event injection: type 1 is reserved, and type 7 needs a CPU with the monitor trap flag"},
    {"control.event.nmi_vector", VMCS_ENTRY_INTR_INFO, ENTRY, event_vector, VEC_NMI, W_MODE, MODE_INJECT_NMI,
     "event injection: an NMI's vector must be 2"},
    {"control.event.exception_vector", VMCS_ENTRY_INTR_INFO, ENTRY, event_exception, 0, W_MODE, MODE_INJECT_HW,
     "event injection: a hardware exception's vector must be at most 31"},
    {"control.event.other_vector", VMCS_ENTRY_INTR_INFO, ENTRY, event_vector, 0, W_MODE, MODE_INJECT_OTHER,
     "event injection: the vector of type 7 (other event) must be 0 (pending MTF VM exit)"},
    {"control.event.error_type", VMCS_ENTRY_INTR_INFO, ENTRY, event_error_type, 0, W_MODE, MODE_INJECT_ERROR,
     "event injection: deliver-error-code must be 0 for all but hardware exceptions"},
    {"control.event.error_real_mode", VMCS_ENTRY_INTR_INFO, ENTRY, event_error_real, 0, W_MODE, MODE_INJECT_ERROR,
     "event injection: deliver-error-code must be 0 for an unrestricted guest with CR0.PE 0"},
    {"control.event.error_vector", VMCS_ENTRY_INTR_INFO, ENTRY, event_error_vector, 0, W_MODE, MODE_INJECT_HW,
     "event injection: deliver-error-code must be 1 just for vectors 8, 10 to 14, 17 and 21 (unless "
     "IA32_VMX_BASIC bit 56 is 1)"},
    {"control.event.reserved", VMCS_ENTRY_INTR_INFO, ENTRY, audit_must_be_0, INTR_INFO_RESERVED, W_MODE, MODE_INJECT,
     "event injection: bits 30:12 must be 0"},
    {"control.event.error_code", VMCS_ENTRY_ERROR_CODE, ENTRY, audit_must_be_0, BITS64(31, 16), W_MODE,
     MODE_INJECT_ERROR,
     "event injection: bits 31:16 of the error code must be 0"},
    {"control.event.length", VMCS_ENTRY_INSTR_LENGTH, ENTRY, event_length, 0, W_MODE, MODE_INJECT_SOFT,
     "event injection: a software event's instruction length must be 1 to 15 (0 too if IA32_VMX_MISC bit 30 is 1)"},
    AREA("entry_load", ENTRY_MSR_LOAD_ADDR, ENTRY_MSR_LOAD_COUNT, ENTRY, "VM-entry MSR-load area"),
    {"control.entry.smm", VMCS_ENTRY_CONTROLS, ENTRY, audit_must_be_0, ENTRY_SMM | ENTRY_NO_DUAL_MONITOR, W_ALWAYS, 0,
     "\"entry to SMM\" and \"deactivate dual-monitor treatment\" must be 0 outside SMM"},
};
/* clang-format on */

const struct audit_group vmx_audit_controls = {rules, ARRAY_COUNT(rules), VMX_AUDIT_CONTROLS};
