/* SPDX-License-Identifier: MIT */
/* CPUID: the answer for one VP, from the partition's table, and the exit. */
#include "cpuid_policy.h"
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
    set_if(&regs[CPUID_EDX], CPUID_1_EDX_APIC, vp->apic_base & APIC_BASE_EN);
    set_if(&regs[CPUID_ECX], CPUID_1_ECX_OSXSAVE, v->cr4 & CR4_OSXSAVE && regs[CPUID_ECX] & CPUID_1_ECX_XSAVE);
}

#define TOPOLOGY_ECX_SUBLEAF BITS32(7, 0)

static void add_dynamic(struct hv_vp *vp, enum cpuid_dynamic what, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    const struct hv_properties *props = &vp->partition->properties;

    switch (what) {
    case CPUID_DYN_NONE:
        break;
    case CPUID_DYN_FEATURES:
        add_features(vp, regs);
        break;
    case CPUID_DYN_TOPOLOGY:
        regs[CPUID_ECX] |= subleaf & TOPOLOGY_ECX_SUBLEAF;
        regs[CPUID_EDX] = vp->index;
        break;
    case CPUID_DYN_XSAVE_SIZE:
        regs[CPUID_EBX] = cpuid_xsave_size(props, vp->vcpu->xcr0, false);
        break;
    case CPUID_DYN_XSAVE_COMPACT:
        regs[CPUID_EBX] = cpuid_xsave_size(props, vp->vcpu->xcr0 | vp->vcpu->xss, true);
        break;
    }
}

/* -------------------------------------------------------------------------------- the answer */

static const struct cpuid_slot nothing = {.keep = {~0u, ~0u, ~0u, ~0u}};

/* NULL: has to be worked out. */
static const struct cpuid_slot *lookup(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                                       bool *is_walked)
{
    const struct cpuid_leaf *l;

    if (!table)
        return NULL;
    if (!cpuid_has_place(leaf)) {
        *is_walked = true;
        return &nothing;
    }
    l = &table->leaves[cpuid_place(leaf)];
    *is_walked = l->is_walked;
    if (subleaf < l->count)
        return &table->slots[l->first + subleaf];
    return l->is_last_for_all && l->count ? &table->slots[l->first + l->count - 1] : &nothing;
}

void cpuid_result(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    const struct hv_properties *props = &vp->partition->properties;
    bool is_walked = true;
    const struct cpuid_slot *slot = lookup(props->cpuid, leaf, subleaf, &is_walked);
    struct cpuid_slot own;
    uint32_t regs[CPUID_REGS];

    if (!slot) {
        cpuid_default(props, leaf, subleaf, &own);
        slot = &own;
    }
    if (is_walked) {
        own = *slot;
        cpuid_override(props, vp->index, leaf, subleaf, &own);
        slot = &own;
    }
    for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
        regs[r] = slot->regs[r];
    if (slot->dynamic != CPUID_DYN_NONE)
        add_dynamic(vp, slot->dynamic, subleaf, regs);
    if (slot->is_overridden)
        for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
            regs[r] = (regs[r] & slot->keep[r]) | slot->fixed[r];
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

enum exit_outcome exit_cpuid(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t *gpr = vp->vcpu->gpr;
    uint32_t leaf = (uint32_t)gpr[GPR_RAX];
    struct hv_cpuid_output out;

    cpuid_result(vp, leaf, (uint32_t)gpr[GPR_RCX], &out);
    if (client_wants(&vp->partition->properties, leaf)) {
        exit->cpuid = (struct hv_exit_cpuid){
            .rax = gpr[GPR_RAX],
            .rcx = gpr[GPR_RCX],
            .rdx = gpr[GPR_RDX],
            .rbx = gpr[GPR_RBX],
            .default_rax = out.eax,
            .default_rcx = out.ecx,
            .default_rdx = out.edx,
            .default_rbx = out.ebx,
        };
        return EXIT_TO_CLIENT;
    }
    gpr[GPR_RAX] = out.eax;
    gpr[GPR_RBX] = out.ebx;
    gpr[GPR_RCX] = out.ecx;
    gpr[GPR_RDX] = out.edx;
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}
