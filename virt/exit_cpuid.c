/* SPDX-License-Identifier: MIT */
/* CPUID: the answer for one VP, from the partition's table, and the exit. */
#include "cpuid_policy.h"
#include "exit.h"
#include "partition.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>

/* --------------------------------------------------------------------- what the VP itself adds */

static void set_if(uint32_t *reg, uint32_t mask, bool on)
{
    *reg = on ? *reg | mask : *reg & ~mask;
}

static void add_features(struct hv_vp *vp, uint32_t regs[CPUID_REGS])
{
    struct vcpu *v = vp->vcpu;

    vcpu_need(v, VCPU_CR4);
    regs[CPUID_EBX] |= (uint32_t)FIELD_PUT(CPUID_1_EBX_APIC_ID, vp->index);
    set_if(&regs[CPUID_EDX], CPUID_1_EDX_APIC, vp->lapic.base & APIC_BASE_EN);
    set_if(&regs[CPUID_ECX], CPUID_1_ECX_OSXSAVE, v->cr4 & CR4_OSXSAVE && regs[CPUID_ECX] & CPUID_1_ECX_XSAVE);
}

/* Only CPUs that repeat leaf 1's bits there have the bit at all. */
static void add_ext1(struct hv_vp *vp, uint32_t regs[CPUID_REGS])
{
    if (!(vp->lapic.base & APIC_BASE_EN))
        regs[CPUID_EDX] &= ~CPUID_1_EDX_APIC;
}

#define TOPOLOGY_ECX_SUBLEAF  BITS32(7, 0)
#define EXT_TOPOLOGY_EBX_CORE BITS32(7, 0)

static __attribute__((noinline)) void add_dynamic(struct hv_vp *vp, enum cpuid_dynamic what, uint32_t subleaf,
                                                  uint32_t regs[CPUID_REGS])
{
    const struct hv_properties *props = &vp->partition->properties;

    switch (what) {
    case CPUID_DYN_NONE:
        break;
    case CPUID_DYN_FEATURES:
        add_features(vp, regs);
        break;
    case CPUID_DYN_EXT1:
        add_ext1(vp, regs);
        break;
    case CPUID_DYN_TOPOLOGY:
        regs[CPUID_ECX] |= subleaf & TOPOLOGY_ECX_SUBLEAF;
        regs[CPUID_EDX] = vp->index;
        break;
    case CPUID_DYN_EXT_TOPOLOGY:
        regs[CPUID_EAX] = vp->index;
        regs[CPUID_EBX] |= vp->index & EXT_TOPOLOGY_EBX_CORE;
        break;
    case CPUID_DYN_XSAVE_SIZE:
        regs[CPUID_EBX] = cpuid_xsave_size(props, vcpu_read_xcr0(vp->vcpu), false);
        break;
    case CPUID_DYN_XSAVE_COMPACT:
        regs[CPUID_EBX] = cpuid_xsave_size(props, vcpu_read_xcr0(vp->vcpu) | vp->vcpu->xss, true);
        break;
    }
}

/* -------------------------------------------------------------------------------- the answer */

static inline void copy(uint32_t to[CPUID_REGS], const uint32_t from[CPUID_REGS])
{
    for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
        to[r] = from[r];
}

/* NULL: the table does not have this leaf. */
static const struct cpuid_slot *find_slot(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_leaf *l;

    if (!table || !cpuid_has_place(leaf))
        return NULL;
    l = &table->leaves[cpuid_place(leaf)];
    return &table->slots[l->first + HV_MIN(subleaf, l->last)];
}

static __attribute__((noinline)) void apply_results(struct hv_vp *vp, const struct cpuid_slot *slot, uint32_t leaf,
                                                    uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    struct cpuid_slot own = *slot;

    if (slot->is_walked)
        cpuid_override(&vp->partition->properties, vp->index, leaf, subleaf, &own);
    for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
        regs[r] = (regs[r] & own.keep[r]) | own.fixed[r];
}

static __attribute__((noinline)) void work_out(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf,
                                               uint32_t regs[CPUID_REGS])
{
    struct cpuid_slot slot;

    cpuid_default(&vp->partition->properties, leaf, subleaf, &slot);
    slot.is_walked = true;
    copy(regs, slot.regs);
    add_dynamic(vp, slot.dynamic, subleaf, regs);
    apply_results(vp, &slot, leaf, subleaf, regs);
}

static __attribute__((noinline)) void answer(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf,
                                             uint32_t regs[CPUID_REGS])
{
    const struct cpuid_slot *slot = find_slot(vp->partition->properties.cpuid, leaf, subleaf);

    if (!slot) {
        work_out(vp, leaf, subleaf, regs);
        return;
    }
    copy(regs, slot->regs);
    if (slot->dynamic != CPUID_DYN_NONE)
        add_dynamic(vp, slot->dynamic, subleaf, regs);
    if (slot->has_results)
        apply_results(vp, slot, leaf, subleaf, regs);
}

void cpuid_result(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    uint32_t regs[CPUID_REGS];

    answer(vp, leaf, subleaf, regs);
    *out = (struct hv_cpuid_output){regs[CPUID_EAX], regs[CPUID_EBX], regs[CPUID_ECX], regs[CPUID_EDX]};
}

enum hv_status hv_vp_cpuid(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vp_pin(vp);
    cpuid_result(vp, leaf, subleaf, out);
    vp_unpin(vp);
    vp_release(vp);
    return HV_OK;
}

/* ---------------------------------------------------------------------------------- the exit */

/* A list never set stands for all leaves. */
static bool client_wants(const struct hv_properties *props, uint32_t leaf)
{
    if (!(props->extended_exits & HV_EXTENDED_CPUID))
        return false;
    return !props->cpuid_exits.is_set || property_list_find(&props->cpuid_exits, sizeof(uint32_t), leaf);
}

static void describe(struct hv_exit *exit, const uint64_t *gpr, const uint32_t regs[CPUID_REGS])
{
    exit->cpuid = (struct hv_exit_cpuid){
        .rax = gpr[GPR_RAX],
        .rcx = gpr[GPR_RCX],
        .rdx = gpr[GPR_RDX],
        .rbx = gpr[GPR_RBX],
        .default_rax = regs[CPUID_EAX],
        .default_rcx = regs[CPUID_ECX],
        .default_rdx = regs[CPUID_EDX],
        .default_rbx = regs[CPUID_EBX],
    };
}

static inline void put(uint64_t *gpr, const uint32_t regs[CPUID_REGS])
{
    gpr[GPR_RAX] = regs[CPUID_EAX];
    gpr[GPR_RBX] = regs[CPUID_EBX];
    gpr[GPR_RCX] = regs[CPUID_ECX];
    gpr[GPR_RDX] = regs[CPUID_EDX];
}

/* Answers that the VP or the client has a say in. */
static __attribute__((noinline)) enum exit_outcome exit_cpuid_any(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t *gpr = vp->vcpu->gpr;
    uint32_t leaf = (uint32_t)gpr[GPR_RAX], regs[CPUID_REGS];

    answer(vp, leaf, (uint32_t)gpr[GPR_RCX], regs);
    if (client_wants(&vp->partition->properties, leaf)) {
        describe(exit, gpr, regs);
        return EXIT_TO_CLIENT;
    }
    put(gpr, regs);
    return EXIT_SKIP;
}

enum exit_outcome exit_cpuid(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct hv_properties *props = &vp->partition->properties;
    uint64_t *gpr = vp->vcpu->gpr;
    const struct cpuid_slot *slot = find_slot(props->cpuid, (uint32_t)gpr[GPR_RAX], (uint32_t)gpr[GPR_RCX]);

    if (!slot || slot->is_special || props->extended_exits & HV_EXTENDED_CPUID)
        return exit_cpuid_any(vp, exit);
    put(gpr, slot->regs);
    return EXIT_SKIP;
}
