/* SPDX-License-Identifier: MIT */
/* SVM on this machine: what it offers, and turning it on and off on a CPU. */
#include "svm_code.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/cpu.h>
#include <hv/base/log.h>

struct svm_caps svm_caps;

static bool refuse(struct hv_platform *platform, const char *why)
{
    hv_format(platform->reason, sizeof(platform->reason), "%s", why);
    return false;
}

static bool svm_is_offered(void)
{
    struct hv_cpuid_output ext1 = {0};

    if (cpu_facts()->max_ext_leaf >= 0x80000001u)
        cpu_cpuid(0x80000001u, 0, &ext1);
    return ext1.ecx & CPUID_EXT1_ECX_SVM;
}

/* "TCGTCGTCGTCG" in the leaf that emulators name themselves by. */
static bool is_tcg(void)
{
    struct hv_cpuid_output leaf1, name;

    cpu_cpuid(1, 0, &leaf1);
    if (!(leaf1.ecx & CPUID_1_ECX_HYPERVISOR))
        return false;
    cpu_cpuid(CPUID_LEAF_HYPERVISOR, 0, &name);
    return name.ebx == 0x54474354 && name.ecx == 0x43544743 && name.edx == 0x47435447;
}

static void read_caps(void)
{
    struct hv_cpuid_output leaf = {0}, leaf7 = {0}, ext1;

    if (cpu_facts()->max_ext_leaf >= CPUID_LEAF_SVM)
        cpu_cpuid(CPUID_LEAF_SVM, 0, &leaf);
    if (cpu_facts()->max_leaf >= 7)
        cpu_cpuid(7, 0, &leaf7);
    cpu_cpuid(0x80000001u, 0, &ext1);
    svm_caps.features = leaf.edx;
    svm_caps.asids = leaf.ebx;
    svm_caps.phys_bits = cpu_facts()->physical_bits;
    svm_caps.long_mode = ext1.edx & CPUID_EXT1_EDX_LM;
    svm_caps.injects_twice = is_tcg();
    svm_caps.clean = svm_has(CPUID_SVM_EDX_VMCB_CLEAN) ? CLEAN_ALL : 0;
    svm_caps.cet = leaf7.ecx & CPUID_7_ECX_CET_SS;
    /* more than guests may set: what VMRUN takes */
    svm_caps.cr4 = cpu_facts()->cr4_allowed | CR4_MCE | (leaf7.ecx & CPUID_7_ECX_PKU ? CR4_PKE : 0) |
                   (leaf7.ecx & CPUID_7_ECX_PKS ? CR4_PKS : 0) | (svm_caps.cet ? CR4_CET : 0);
    svm_caps.efer = cpu_facts()->efer_allowed | EFER_SVME | (ext1.edx & CPUID_EXT1_EDX_FFXSR ? EFER_FFXSR : 0);
}

/*
 * SVMDIS without the lock is a switch that anybody may turn; locked, it takes a key that only the firmware has (APM 2
 * 15.30.1).
 */
static bool is_locked_off(void)
{
    const uint64_t off = VM_CR_SVMDIS | VM_CR_LOCK;

    return (cpu_read_msr(MSR_AMD_VM_CR) & off) == off;
}

static void describe(struct hv_platform *platform)
{
    const struct npt_format *npt = npt_svm_format();

    hv_format(
        platform->features, sizeof(platform->features), "NPT %u levels 2M%s A/D, %u ASIDs%s%s%s%s%s%s%s", npt->levels,
        npt->max_leaf_level >= 3 ? " 1G" : "", svm_caps.asids,
        svm_has(CPUID_SVM_EDX_FLUSH_ASID) ? ", flush by ASID" : "",
        svm_has(CPUID_SVM_EDX_NRIPS) ? ", next-RIP save" : "", svm_has(CPUID_SVM_EDX_DECODE) ? ", decode assists" : "",
        svm_has(CPUID_SVM_EDX_VMCB_CLEAN) ? ", clean bits" : "", svm_has(CPUID_SVM_EDX_PAUSE) ? ", PAUSE filter" : "",
        svm_apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_DELIVERY ? ", AVIC" : "",
        svm_apic_features(VCPU_APIC_X2APIC) & VCPU_APIC_DELIVERY ? ", x2AVIC" : "");
}

bool svm_probe(struct hv_platform *platform)
{
    if (is_locked_off())
        return refuse(platform,
                      "SVM is locked off in VM_CR: enable virtualization (SVM mode, AMD-V) in the firmware's set-up");
    read_caps();
    if (!svm_has(CPUID_SVM_EDX_NP))
        return refuse(platform, "SVM: nested paging is missing (CPUID 8000000AH EDX bit 0 is clear)");
    if (svm_caps.asids < 2)
        return refuse(platform, "SVM: this CPU has no ASID for guests (CPUID 8000000AH EBX)");
    describe(platform);
    return true;
}

/* ---------------------------------------------------------------------------------- on and off */

/*
 * NXE because nested tables obey the host's: with it off, the bit that forbids execution would be a reserved one (APM
 * 2 15.25.4).
 */
static uint64_t efer_for_svm(uint64_t efer)
{
    return efer | EFER_SVME | (cpu_facts()->efer_allowed & EFER_NXE);
}

/* Guests' TSC runs at the host's rate, whoever used this before us. */
static void set_tsc_ratio(struct backend_cpu *cpu)
{
    if (!svm_has(CPUID_SVM_EDX_TSC_RATE))
        return;
    cpu->saved_tsc_ratio = cpu_read_msr(MSR_AMD_TSC_RATIO);
    if (cpu->saved_tsc_ratio != TSC_RATIO_ONE)
        cpu_write_msr(MSR_AMD_TSC_RATIO, TSC_RATIO_ONE);
}

static void restore_tsc_ratio(const struct backend_cpu *cpu)
{
    if (svm_has(CPUID_SVM_EDX_TSC_RATE) && cpu->saved_tsc_ratio != TSC_RATIO_ONE)
        cpu_write_msr(MSR_AMD_TSC_RATIO, cpu->saved_tsc_ratio);
}

enum hv_status svm_cpu_on(struct backend_cpu *cpu)
{
    cpu->saved_vm_cr = cpu_read_msr(MSR_AMD_VM_CR);
    cpu->saved_cr4 = cpu_read_cr4();
    cpu->saved_efer = cpu_read_msr(MSR_IA32_EFER);
    if (cpu->saved_efer & EFER_SVME) {
        hv_log(HV_LOG_ERROR, "CPU %u: EFER.SVME is set: something else uses SVM already", hv_host_cpu_id());
        return HV_E_NOT_PRESENT;
    }
    if (is_locked_off()) {
        hv_log(HV_LOG_ERROR, "CPU %u: SVM is locked off in VM_CR", hv_host_cpu_id());
        return HV_E_NOT_PRESENT;
    }
    if (cpu->saved_vm_cr & VM_CR_SVMDIS)
        cpu_write_msr(MSR_AMD_VM_CR, cpu->saved_vm_cr & ~VM_CR_SVMDIS);
    cpu_write_cr4(cpu->saved_cr4 | fpu_cr4_bits());
    cpu_write_msr(MSR_IA32_EFER, efer_for_svm(cpu->saved_efer));
    cpu_write_msr(MSR_AMD_VM_HSAVE_PA, cpu->region_pa);
    set_tsc_ratio(cpu);
    /* the first vcpu here finds all ASIDs handed out, and flushes what an earlier owner has left under them */
    cpu->asid.generation = 1; /* a new vcpu's is 0 */
    cpu->asid.next = svm_caps.asids;
    return HV_OK;
}

void svm_cpu_off(struct backend_cpu *cpu)
{
    restore_tsc_ratio(cpu);
    cpu_write_msr(MSR_AMD_VM_HSAVE_PA, 0);
    cpu_write_msr(MSR_IA32_EFER, cpu->saved_efer);
    if (cpu->saved_vm_cr & VM_CR_SVMDIS)
        cpu_write_msr(MSR_AMD_VM_CR, cpu->saved_vm_cr);
    cpu_write_cr4(cpu->saved_cr4);
}

const struct hv_backend svm_backend = {
    .name = "SVM",
    .vendor = HV_VENDOR_AMD,
    .wants_state = true,
    .loads_dr6 = true,
    .switches_msrs = true,
    .hypercall = {0x0f, 0x01, 0xd9}, /* VMMCALL */
    .npt_format = npt_svm_format,
    .is_offered = svm_is_offered,
    .probe = svm_probe,
    .cpu_on = svm_cpu_on,
    .cpu_off = svm_cpu_off,
    .vcpu_create = svm_vcpu_create,
    .vcpu_destroy = svm_vcpu_destroy,
    .acquire = svm_acquire,
    .fetch = svm_fetch,
    .advance = svm_advance,
    .mode = svm_mode,
    .takes_interrupts = svm_takes_interrupts,
    .learn_code = svm_code_learn,
    .code = svm_code,
    .context = svm_context,
    .load = svm_load,
    .put = svm_put,
    .enter = svm_enter,
    .exit_on_msr = svm_exit_on_msr,
    .apic_features = svm_apic_features,
    .audit = svm_audit_next,
    .raw_get = svm_raw_get,
    .raw_set = svm_raw_set,
};
