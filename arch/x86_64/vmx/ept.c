/* SPDX-License-Identifier: MIT */
/* EPT: the format of its entries, the pointer to them, and when to flush. */
#include "vmx.h"
#include <arch/bits/msr.h>
#include <arch/vmx_insn.h>

static struct npt_format ept;

/* The rights that an entry can express. Write without read is a misconfiguration (SDM 3C 29.3.3.1). */
static void set_rights(bool execute_only)
{
    for (unsigned r = 0; r <= NPT_RIGHTS; r++) {
        bool expressible = (r & NPT_READ) || (r == NPT_EXECUTE && execute_only);

        /* NPT_READ, NPT_WRITE and NPT_EXECUTE are EPT's own bits 0 to 2 */
        ept.rights[r] = expressible ? r : 0;
    }
}

const struct npt_format *ept_format(void)
{
    uint64_t caps = vmx_capabilities()->ept_vpid;

    if (ept.levels)
        return &ept;
    set_rights(caps & EPT_CAP_EXEC_ONLY);
    ept.name = "EPT";
    ept.max_leaf_level = caps & EPT_CAP_1G && caps & EPT_CAP_2M ? 3 : caps & EPT_CAP_2M ? 2 : 1;
    ept.present = EPT_READ | EPT_WRITE | EPT_EXEC;
    ept.address = EPT_ADDR & BITS64(vmx_capabilities()->phys_bits - 1, 0);
    ept.table = EPT_READ | EPT_WRITE | EPT_EXEC;
    /* Guest RAM is write-back; the guest's own PAT may weaken that for what it maps as device memory. */
    ept.leaf = FIELD_PUT(EPT_MEM_TYPE, MEM_TYPE_WB);
    ept.large = EPT_LEAF;
    ept.rights_mask = EPT_READ | EPT_WRITE | EPT_EXEC;
    ept.accessed = caps & EPT_CAP_AD ? EPT_ACCESSED : 0;
    ept.dirty = caps & EPT_CAP_AD ? EPT_DIRTY : 0;
    ept.tracked = EPT_IGNORED_59;
    ept.levels = 4;
    return &ept;
}

/*
 * Accessed and dirty bits only for those who track dirty pages: with them on, the CPU takes every access of a guest's
 * page walk for a write (SDM 3C 29.3.3.2), and guests whose page tables lie in read-only memory get stuck.
 */
uint64_t ept_pointer(const struct npt *npt)
{
    uint64_t ad = __atomic_load_n(&npt->tracks_dirty, __ATOMIC_ACQUIRE) ? EPTP_AD : 0;

    return npt->root_pa | FIELD_PUT(EPTP_WALK, npt->format->levels - 1) | FIELD_PUT(EPTP_MEM_TYPE, MEM_TYPE_WB) | ad;
}

/*
 * The pointer changes once in a partition's life, when it begins to track dirty pages. INVEPT goes by its address
 * alone (SDM 3C 29.4.2).
 */
static void update_pointer(struct vmx_vcpu *vmx)
{
    uint64_t eptp = ept_pointer(vmx->v.npt);

    if (eptp != vmx->eptp)
        vmx_write(VMCS_EPTP, vmx->eptp = eptp);
}

__attribute__((noinline)) void ept_flush(struct vmx_vcpu *vmx)
{
    struct vcpu *v = &vmx->v;
    uint64_t generation = __atomic_load_n(v->npt_generation, __ATOMIC_SEQ_CST);
    uint32_t cpu = vmx->active_cpu;

    if (generation != v->npt_seen)
        update_pointer(vmx);
    if (generation != v->npt_seen || cpu != v->last_cpu)
        vmx_invept(INVEPT_SINGLE, vmx->eptp);
    if (vmx->vpid && (v->flush_guest || cpu != v->last_cpu))
        vmx_invvpid(INVVPID_SINGLE, vmx->vpid);
    if (cpu != v->last_cpu && v->last_cpu != HV_CPU_NONE)
        v->migrations++;
    v->npt_seen = generation;
    v->last_cpu = cpu;
    v->flush_guest = false;
}
