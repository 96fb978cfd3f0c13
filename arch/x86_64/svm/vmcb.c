/* SPDX-License-Identifier: MIT */
/* The VMCB and the permission maps beside it: which intercepts to use, their creation, and which CPU has run it. */
#include "../tsc.h"
#include "svm_code.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/msr.h>
#include <arch/cpu.h>
#include <hv/base/lock.h>

/* --------------------------------------------------------------------------------- intercepts */

/* clang-format off */
/* Those that are always on. See svm_regs.c for those that come and go, and svm_exit.c for what they lead to. */
static const uint8_t intercepts[] = {
    INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_SMI, INTERCEPT_INIT,
    INTERCEPT_CR0_SEL_WRITE, INTERCEPT_RDPMC, INTERCEPT_CPUID, INTERCEPT_RSM, INTERCEPT_INVD, INTERCEPT_INVLPGA,
    INTERCEPT_IOIO, INTERCEPT_MSR, INTERCEPT_TASK_SWITCH, INTERCEPT_SHUTDOWN,
    /* guests have no SVM: so V_GIF_ENABLE stays 0 too, as no STGI or CLGI of theirs is to do anything */
    INTERCEPT_VMRUN, INTERCEPT_VMMCALL, INTERCEPT_VMLOAD, INTERCEPT_VMSAVE, INTERCEPT_STGI, INTERCEPT_CLGI,
    INTERCEPT_SKINIT, INTERCEPT_WBINVD, INTERCEPT_MONITOR, INTERCEPT_MWAIT, INTERCEPT_XSETBV, INTERCEPT_RDPRU,
    INTERCEPT_INVLPGB, INTERCEPT_INVLPGB_ILLEGAL, INTERCEPT_MCOMMIT, INTERCEPT_TLBSYNC,
};
/* clang-format on */

void vmcb_intercept(struct vmcb *vmcb, unsigned which, bool on)
{
    uint32_t *word = &vmcb->intercepts[which / 32], bit = BIT32(which % 32);

    if (!(*word & bit) == !on)
        return;
    *word ^= bit;
    vmcb_touch(vmcb, CLEAN_INTERCEPTS);
}

/* ------------------------------------------------------------------------------------ ASIDs */

/*
 * ASIDs are a CPU's own, and few: they are handed out in turn, and when there are none left, all of them are flushed
 * and their owners get new ones as they come along.
 */
static void new_asid(struct svm_vcpu *svm)
{
    struct backend_cpu *cpu = svm->v.cpu;
    struct vmcb *vmcb = svm->vmcb;

    vmcb->tlb_control = TLB_KEEP;
    if (cpu->asid.next >= svm_caps.asids) {
        cpu->asid.generation++;
        cpu->asid.next = 1; /* 0 is the host's */
        vmcb->tlb_control = TLB_FLUSH_ALL;
    }
    vmcb->asid = cpu->asid.next++;
    vmcb_touch(vmcb, CLEAN_ASID);
    svm->asid_generation = cpu->asid.generation;
}

void vmcb_check_asid(struct svm_vcpu *svm, bool flush)
{
    if (svm->asid_generation != svm->v.cpu->asid.generation || (flush && !svm_has(CPUID_SVM_EDX_FLUSH_ASID)))
        new_asid(svm);
    else if (flush)
        svm->vmcb->tlb_control = TLB_FLUSH_ASID;
}

/* ------------------------------------------------------------------------ permission maps */

/*
 * MSRs that the guest reads, or reads and writes, without an exit. All others exit and are virt/exit_msr.c's: EFER and
 * PAT too, which hold other bits than the guest's, or are not loaded on all CPUs.
 */
static const struct {
    uint32_t index;
    bool write;
} direct_msrs[] = {
    {MSR_IA32_SYSENTER_CS, true}, {MSR_IA32_SYSENTER_ESP, true}, {MSR_IA32_SYSENTER_EIP, true},
    {MSR_IA32_FS_BASE, true},     {MSR_IA32_GS_BASE, true},      {MSR_IA32_KERNEL_GS_BASE, true},
    {MSR_IA32_STAR, false},       {MSR_IA32_LSTAR, false},       {MSR_IA32_CSTAR, false},
    {MSR_IA32_FMASK, false},
};

/* Two bits an MSR, reads and writes; 2 KiB each for the three ranges of MSRs (APM 2 15.11). */
static uint32_t msrpm_bit(uint32_t index)
{
    uint32_t range = index >= 0xc0010000u ? 2 : index >= 0xc0000000u ? 1 : 0;

    return range * 2048 * 8 + (index & 0x1fff) * 2;
}

void svm_msrpm_allow(uint8_t *msrpm, uint32_t index, bool write, bool allow)
{
    uint32_t at = msrpm_bit(index) + (write ? 1 : 0);

    if (allow)
        msrpm[at / 8] &= (uint8_t) ~(1u << at % 8);
    else
        msrpm[at / 8] |= (uint8_t)(1u << at % 8);
}

static void msrpm_init(uint8_t *msrpm)
{
    memset(msrpm, 0xff, MSRPM_PAGES * HV_PAGE_SIZE);
    for (size_t i = 0; i < ARRAY_COUNT(direct_msrs); i++) {
        svm_msrpm_allow(msrpm, direct_msrs[i].index, false, true);
        svm_msrpm_allow(msrpm, direct_msrs[i].index, true, direct_msrs[i].write);
    }
}

void svm_exit_on_msr(struct vcpu *v, uint32_t index, bool reads, bool writes)
{
    struct svm_vcpu *svm = to_svm(v);

    if (svm_apic_exit_on_msr(svm, index, reads, writes))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(direct_msrs); i++) {
        if (direct_msrs[i].index != index)
            continue;
        svm_msrpm_allow(svm->msrpm, index, false, !reads);
        svm_msrpm_allow(svm->msrpm, index, true, direct_msrs[i].write && !writes);
        vmcb_touch(svm->vmcb, CLEAN_MAPS);
    }
}

/* Every port of every guest exits: one map for all, which is there as long as there is a vcpu. */
static struct {
    struct hv_mutex mutex;
    uint32_t users;
    void *map;
} iopm;

static bool iopm_get(void)
{
    bool there;

    hv_mutex_lock(&iopm.mutex);
    if (!iopm.map) {
        iopm.map = hv_host_pages_alloc(IOPM_PAGES);
        if (iopm.map)
            memset(iopm.map, 0xff, IOPM_PAGES * HV_PAGE_SIZE);
    }
    there = iopm.map;
    iopm.users += there;
    hv_mutex_unlock(&iopm.mutex);
    return there;
}

static void iopm_put(void)
{
    hv_mutex_lock(&iopm.mutex);
    if (--iopm.users == 0) {
        hv_host_pages_free(iopm.map, IOPM_PAGES);
        iopm.map = NULL;
    }
    hv_mutex_unlock(&iopm.mutex);
}

/* ----------------------------------------------------------------------------- which CPU has it */

/*
 * A VMCB needs no unloading. What a CPU may keep of it, and of the guest's translations, is good for nothing after
 * another CPU has had it: here it begins anew.
 */
void svm_acquire(struct vcpu *v)
{
    struct svm_vcpu *svm = to_svm(v);
    struct backend_cpu *cpu = backend_cpu();

    cpu->current = v;
    if (v->cpu == cpu) {
        v->flush_guest |= svm->asid_generation != cpu->asid.generation; /* taken by others: see npt_svm_flush */
        return;
    }
    v->cpu = cpu;
    svm->host_pa = cpu->state_pa;
    if (svm->active_cpu != HV_CPU_NONE)
        tsc_arrive(v);
    svm->active_cpu = cpu->id;
    svm->asid_generation = 0;
    v->flush_guest = true;
    vmcb_touch(svm->vmcb, CLEAN_ALL);
    vcpu_changed(v, VCPU_TSC);
}

/* ------------------------------------------------------------------------- life of a vcpu */

static void free_vcpu(struct svm_vcpu *svm)
{
    if (svm->vmcb)
        hv_host_page_free(svm->vmcb);
    if (svm->msrpm)
        hv_host_pages_free(svm->msrpm, MSRPM_PAGES);
    svm_apic_free(svm);
    if (svm->apic)
        hv_host_page_free(svm->apic);
    hv_host_free(svm, sizeof(*svm));
}

static bool alloc_pages(struct svm_vcpu *svm)
{
    return (svm->vmcb = hv_host_page_alloc()) && (svm->msrpm = hv_host_pages_alloc(MSRPM_PAGES)) &&
           (svm->apic = hv_host_page_alloc()) && iopm_get();
}

static void vmcb_init(struct svm_vcpu *svm, const struct npt *npt)
{
    struct vmcb *vmcb = svm->vmcb;

    for (size_t i = 0; i < ARRAY_COUNT(intercepts); i++)
        vmcb_intercept(vmcb, intercepts[i], true);
    vmcb->cr_writes = BIT32(4);
    vmcb->iopm_pa = hv_host_virt_to_phys(iopm.map, NULL);
    vmcb->msrpm_pa = hv_host_virt_to_phys(svm->msrpm, NULL);
    vmcb->v_intr = V_INTR_MASKING;
    vmcb->nested_control = NESTED_PAGING;
    vmcb->nested_cr3 = npt->root_pa;
}

struct vcpu *svm_vcpu_create(struct npt *npt)
{
    struct svm_vcpu *svm = hv_host_alloc(sizeof(*svm));

    if (!svm)
        return NULL;
    if (!alloc_pages(svm)) {
        free_vcpu(svm);
        return NULL;
    }
    msrpm_init(svm->msrpm);
    svm->vmcb_pa = hv_host_virt_to_phys(svm->vmcb, NULL);
    svm->active_cpu = HV_CPU_NONE;
    svm->v.npt = npt;
    vmcb_init(svm, npt);
    vcpu_code_forget(&svm->v);
    if (!svm_apic_init(svm)) {
        svm_vcpu_destroy(&svm->v);
        return NULL;
    }
    return &svm->v;
}

void svm_vcpu_destroy(struct vcpu *v)
{
    iopm_put();
    free_vcpu(to_svm(v));
}
