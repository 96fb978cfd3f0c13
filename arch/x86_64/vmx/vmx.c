/* SPDX-License-Identifier: MIT */
/* VMX on this machine: what it offers, and turning it on and off on a CPU. */
#include "vmx.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/cpu.h>
#include <arch/vmx_insn.h>
#include <hv/base/log.h>

struct vmx_caps vmx_caps;
struct vmx_timer vmx_timer;
struct vmx_controls vmx_controls;

const struct vmx_caps *vmx_capabilities(void)
{
    return &vmx_caps;
}

static bool refuse(struct hv_platform *platform, const char *why)
{
    hv_format(platform->reason, sizeof(platform->reason), "%s", why);
    return false;
}

/* The TRUE variant of a control MSR where the CPU has them (SDM 3D A.2). */
static uint64_t control_msr(uint32_t plain, uint32_t true_variant)
{
    return cpu_read_msr(vmx_caps.basic & VMX_BASIC_TRUE_CTLS ? true_variant : plain);
}

static uint64_t msr_if(bool present, uint32_t index)
{
    return present ? cpu_read_msr(index) : 0;
}

static bool may_be_1(uint64_t control_capability, uint64_t bit)
{
    return control_capability >> 32 & bit;
}

static void read_caps(void)
{
    struct hv_cpuid_output leaf7, ext1;
    struct vmx_caps *c = &vmx_caps;

    cpu_cpuid(7, 0, &leaf7);
    cpu_cpuid(0x80000001, 0, &ext1);
    c->basic = cpu_read_msr(MSR_IA32_VMX_BASIC);
    c->pin = control_msr(MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS);
    c->cpu = control_msr(MSR_IA32_VMX_PROCBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS);
    c->exit = control_msr(MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS);
    c->entry = control_msr(MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS);
    c->cpu2 = msr_if(may_be_1(c->cpu, CPU_ACTIVATE_CPU2), MSR_IA32_VMX_PROCBASED_CTLS2);
    c->misc = cpu_read_msr(MSR_IA32_VMX_MISC);
    c->cr0_fixed0 = cpu_read_msr(MSR_IA32_VMX_CR0_FIXED0);
    c->cr0_fixed1 = cpu_read_msr(MSR_IA32_VMX_CR0_FIXED1);
    c->cr4_fixed0 = cpu_read_msr(MSR_IA32_VMX_CR4_FIXED0);
    c->cr4_fixed1 = cpu_read_msr(MSR_IA32_VMX_CR4_FIXED1);
    c->ept_vpid = msr_if(may_be_1(c->cpu2, CPU2_EPT) || may_be_1(c->cpu2, CPU2_VPID), MSR_IA32_VMX_EPT_VPID_CAP);
    c->vmfunc = msr_if(may_be_1(c->cpu2, CPU2_VMFUNC), MSR_IA32_VMX_VMFUNC);
    c->phys_bits = cpu_facts()->physical_bits;
    c->linear_bits = cpu_facts()->linear_bits;
    c->long_mode = ext1.edx >> 29 & 1;
    c->sgx = leaf7.ebx >> 2 & 1;
    c->rtm = leaf7.ebx >> 11 & 1;
    c->bus_lock = leaf7.ecx >> 24 & 1;
}

/* The EPT features without which nothing works; named one by one so that a refusal says which is missing. */
static const struct {
    uint64_t bit;
    const char *missing;
} needed_ept[] = {
    {EPT_CAP_WALK_4, "VMX: EPT with 4-level walks is missing"},
    {EPT_CAP_WB, "VMX: EPT with write-back memory type is missing"},
    {EPT_CAP_INVEPT, "VMX: the INVEPT instruction is missing"},
    {EPT_CAP_INVEPT_SINGLE, "VMX: single-context INVEPT is missing"},
};

static bool check_ept(struct hv_platform *platform)
{
    for (size_t i = 0; i < ARRAY_COUNT(needed_ept); i++)
        if (!(vmx_caps.ept_vpid & needed_ept[i].bit))
            return refuse(platform, needed_ept[i].missing);
    return true;
}

static bool check_feature_control(struct hv_platform *platform)
{
    uint64_t control = cpu_read_msr(MSR_IA32_FEATURE_CONTROL);

    if ((control & FEATURE_CONTROL_LOCK) && !(control & FEATURE_CONTROL_VMX))
        return refuse(
            platform,
            "VMX is locked off in IA32_FEATURE_CONTROL: enable virtualization (VT-x) in the firmware's set-up");
    return true;
}

/* Instructions that guests are told of when the CPU has them, and that VMX has to let through. */
static bool check_instructions(struct hv_platform *platform)
{
    struct hv_cpuid_output leaf7;

    cpu_cpuid(7, 0, &leaf7);
    if (cpu_facts()->has_rdtscp && !(vmx_controls.cpu2 & CPU2_RDTSCP))
        return refuse(platform, "VMX: this CPU has RDTSCP but does not offer the control \"enable RDTSCP\"");
    if (leaf7.ebx >> 10 & 1 && !(vmx_controls.cpu2 & CPU2_INVPCID))
        return refuse(platform, "VMX: this CPU has INVPCID but does not offer the control \"enable INVPCID\"");
    return true;
}

static void describe(struct hv_platform *platform)
{
    const struct npt_format *ept = ept_format();

    hv_format(platform->features, sizeof(platform->features), "EPT %u levels%s%s%s%s%s%s, unrestricted guest%s%s%s",
              ept->levels, ept->max_leaf_level >= 2 ? " 2M" : "", ept->max_leaf_level >= 3 ? " 1G" : "",
              ept->dirty ? " A/D" : "", vmx_controls.cpu2 & CPU2_VPID ? ", VPID" : "",
              vmx_controls.pin & PIN_VIRTUAL_NMIS ? ", virtual NMIs" : "",
              vmx_controls.cpu & CPU_TPR_SHADOW ? ", TPR shadow" : "",
              may_be_1(vmx_caps.pin, PIN_PREEMPTION_TIMER) ? ", preemption timer" : "",
              vmx_apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_DELIVERY    ? ", APICv"
              : vmx_apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_REGISTERS ? ", APIC registers"
                                                                         : "",
              vmx_apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_POSTED ? ", posted interrupts" : "");
}

static bool vmx_is_offered(void)
{
    struct hv_cpuid_output leaf1;

    cpu_cpuid(1, 0, &leaf1);
    return leaf1.ecx & CPUID_1_ECX_VMX;
}

/*
 * Without a deadline too the guest's run ends this often, where the CPU can. Interrupts should see to that, but Bochs
 * 2.7 keeps them from a guest that is entered with RFLAGS.IF clear, and then neither a cancel nor a change of the
 * memory map would ever reach it.
 * Costs nothing on a plain entry: the CPU loads the timer from the VMCS by itself.
 */
#define HEARTBEATS_PER_S 1000u

static void find_timer(void)
{
    vmx_timer.shift = (unsigned)FIELD_GET(VMX_MISC_TIMER_SHIFT, vmx_caps.misc);
    vmx_timer.heartbeat = (uint32_t)(cpu_facts()->tsc_hz / HEARTBEATS_PER_S >> vmx_timer.shift) + 1;
}

bool vmx_probe(struct hv_platform *platform)
{
    if (!check_feature_control(platform))
        return false;
    read_caps();
    find_timer();
    if (!vmcs_choose_controls(&vmx_caps, &vmx_controls, platform->reason, sizeof(platform->reason)) ||
        !check_ept(platform) || !check_instructions(platform))
        return false;
    describe(platform);
    return true;
}

/*
 * Firmware that never locked IA32_FEATURE_CONTROL leaves VMXON faulting: enable and lock it, on each CPU (SDM 3C
 * 24.7).
 */
static bool enable_in_feature_control(void)
{
    uint64_t control = cpu_read_msr(MSR_IA32_FEATURE_CONTROL);

    if (!(control & FEATURE_CONTROL_LOCK)) {
        control |= FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
        cpu_write_msr(MSR_IA32_FEATURE_CONTROL, control);
    }
    return control & FEATURE_CONTROL_VMX;
}

enum hv_status vmx_cpu_on(struct backend_cpu *cpu)
{
    cpu->saved_cr0 = cpu_read_cr0();
    cpu->saved_cr4 = cpu_read_cr4();
    cpu->current = NULL;
    if (cpu->saved_cr4 & CR4_VMXE) {
        hv_log(HV_LOG_ERROR, "CPU %u: CR4.VMXE is set: something else uses VMX already", hv_host_cpu_id());
        return HV_E_NOT_PRESENT;
    }
    if (!cpu_read_tr()) {
        hv_log(HV_LOG_ERROR, "CPU %u: no task register is loaded: VMX needs a TSS (LTR)", hv_host_cpu_id());
        return HV_E_NOT_PRESENT;
    }
    if (!enable_in_feature_control()) {
        hv_log(HV_LOG_ERROR, "CPU %u: VMX is locked off in IA32_FEATURE_CONTROL", hv_host_cpu_id());
        return HV_E_NOT_PRESENT;
    }
    *(uint32_t *)cpu->region = (uint32_t)FIELD_GET(VMX_BASIC_REVISION, vmx_caps.basic);
    cpu_write_cr0((cpu->saved_cr0 | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
    cpu_write_cr4(((cpu->saved_cr4 | vmx_caps.cr4_fixed0) & vmx_caps.cr4_fixed1) | fpu_cr4_bits());
    if (!vmx_vmxon(cpu->region_pa)) {
        cpu_write_cr4(cpu->saved_cr4);
        cpu_write_cr0(cpu->saved_cr0);
        hv_log(HV_LOG_ERROR, "CPU %u: VMXON failed: something else owns VMX", hv_host_cpu_id());
        return HV_E_NOT_PRESENT;
    }
    /*
     * translations of an earlier owner of the same VPIDs and EPTPs; of EPTPs, a vcpu's first entry on this CPU drops
     * those of its own
     */
    if (vmx_caps.ept_vpid & EPT_CAP_INVEPT_ALL)
        vmx_invept(INVEPT_ALL, 0);
    if (vmx_controls.cpu2 & CPU2_VPID)
        vmx_invvpid(INVVPID_ALL, 0);
    return HV_OK;
}

void vmx_cpu_off(struct backend_cpu *cpu)
{
    vmx_vmxoff();
    cpu_write_cr4(cpu->saved_cr4);
    cpu_write_cr0(cpu->saved_cr0);
}

const struct hv_backend vmx_backend = {
    .name = "VMX",
    .vendor = HV_VENDOR_INTEL,
    .has_pdptes = true,
    .hypercall = {0x0f, 0x01, 0xc1}, /* VMCALL */
    .npt_format = ept_format,
    .is_offered = vmx_is_offered,
    .probe = vmx_probe,
    .cpu_on = vmx_cpu_on,
    .cpu_off = vmx_cpu_off,
    .vcpu_create = vmx_vcpu_create,
    .vcpu_destroy = vmx_vcpu_destroy,
    .acquire = vmx_acquire,
    .fetch = vmx_fetch,
    .advance = vmx_advance,
    .mode = vmx_mode,
    .takes_interrupts = vmx_takes_interrupts,
    .learn_code = vmx_code_learn,
    .code = vmx_code,
    .context = vmx_context,
    .load = vmx_load,
    .put = vmx_put,
    .enter = vmx_enter,
    .exit_on_msr = vmx_exit_on_msr,
    .apic_features = vmx_apic_features,
    .audit = vmx_audit_next,
    .raw_get = vmx_raw_get,
    .raw_set = vmx_raw_set,
};
