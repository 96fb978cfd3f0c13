/* SPDX-License-Identifier: MIT */
/* Nested page tables: the format of their entries, and when to flush. */
#include "svm.h"
#include <arch/bits/apic.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/cpu.h>

/* A bit that the CPU leaves to software, in leaves of all sizes (APM 2 5.3). */
#define PTE_IGNORED_57 BIT64(57)

static struct npt_format npt;

static bool has_1g_pages(void)
{
    struct hv_cpuid_output ext1;

    cpu_cpuid(0x80000001u, 0, &ext1);
    return ext1.edx & CPUID_EXT1_EDX_PAGE1GB;
}

/*
 * The tables are walked as the host's own: with its number of levels, and as user pages (APM 2 15.25.4, 15.25.5). What
 * is present can be read. Memory types are left to the guest's PAT: the entries themselves say write-back.
 */
const struct npt_format *npt_svm_format(void)
{
    if (npt.levels)
        return &npt;
    npt.name = "NPT";
    npt.max_leaf_level = has_1g_pages() ? 3 : 2;
    npt.present = PTE_P;
    npt.address = PTE_ADDR & BITS64(svm_caps.phys_bits - 1, 0);
    npt.table = PTE_P | PTE_RW | PTE_US;
    npt.leaf = PTE_US;
    npt.large = PTE_PS;
    npt.rights[NPT_READ] = PTE_P | PTE_XD;
    npt.rights[NPT_READ | NPT_WRITE] = PTE_P | PTE_RW | PTE_XD;
    npt.rights[NPT_READ | NPT_EXECUTE] = PTE_P;
    npt.rights[NPT_READ | NPT_WRITE | NPT_EXECUTE] = PTE_P | PTE_RW;
    npt.rights_mask = PTE_P | PTE_RW | PTE_XD;
    npt.accessed = PTE_A;
    npt.dirty = PTE_D;
    npt.tracked = PTE_IGNORED_57;
    npt.gate = PTE_US;
    npt.gated = APIC_DEFAULT_BASE;
    npt.levels = cpu_read_cr4() & CR4_LA57 ? 5 : 4;
    return &npt;
}

__attribute__((noinline)) void npt_svm_flush(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;
    uint64_t generation = __atomic_load_n(v->npt_generation, __ATOMIC_SEQ_CST);
    uint32_t cpu = svm->active_cpu;

    vmcb_check_asid(svm, generation != v->npt_seen || cpu != v->last_cpu || v->flush_guest);
    if (cpu != v->last_cpu && v->last_cpu != HV_CPU_NONE)
        v->migrations++;
    v->npt_seen = generation;
    v->last_cpu = cpu;
    v->flush_guest = false;
}
