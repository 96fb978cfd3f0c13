/* SPDX-License-Identifier: MIT */
/*
 * The code at CS:RIP, known by what the VMCS says: see vcpu_code.h. The guest changes its paging mode without an exit:
 * what decides about it is read each time.
 */
#include "../vcpu_code.h"
#include "vmx.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/vmx_insn.h>

/* Without EFER.NXE: with bit 63 of an entry set the CPU would have executed nothing. */
static uint64_t mode_of(void)
{
    return (vmx_read(VMCS_GUEST_CR0) & VCPU_CODE_CR0) | (vmx_read(VMCS_GUEST_CR4) & VCPU_CODE_CR4) |
           (vmx_read(VMCS_GUEST_EFER) & EFER_LMA);
}

/* CS's base does not count, LMA says that PG and PAE are set, and the number of levels may be the only one there is. */
static inline bool is_same_in_64bit(const struct vcpu_code_page *c)
{
    return vmx_read(VMCS_GUEST_EFER) & EFER_LMA &&
           (!(vmx_caps.cr4_fixed1 & CR4_LA57) || !((vmx_read(VMCS_GUEST_CR4) ^ c->mode) & CR4_LA57));
}

static bool is_same_otherwise(struct vcpu *v, const struct vcpu_code_page *c)
{
    vcpu_need(v, c->groups);
    return vmx_read(VMCS_SEG_BASE(SEG_CS)) == c->cs_base && mode_of() == c->mode;
}

static inline __attribute__((always_inline)) bool is_there(const struct vcpu *v, const struct vcpu_code_page *c,
                                                           uint64_t rip)
{
    return vcpu_code_is_in(v, c, rip, vmx_read(VMCS_GUEST_CR3), vmx_read(VMCS_SEG_ACCESS(SEG_CS)));
}

static bool is_in(struct vcpu *v, const struct vcpu_code_page *c, uint64_t rip)
{
    return (c->size == 8 ? is_same_in_64bit(c) : is_same_otherwise(v, c)) && is_there(v, c, rip);
}

static struct vcpu_code_page *page_of(struct vcpu *v, uint64_t rip)
{
    return vcpu_code_page_of(v, rip + vmx_read(VMCS_SEG_BASE(SEG_CS)));
}

/* Not in 64-bit code, or in another page than the last instruction. */
static __attribute__((noinline)) const uint8_t *code_otherwise(struct vcpu *v, uint64_t rip)
{
    struct vcpu_code_page *c = v->code.last;

    if (!is_in(v, c, rip)) {
        c = v->code.last = page_of(v, rip);
        if (!is_in(v, c, rip))
            return NULL;
    }
    return c->page + (rip - c->rip);
}

const uint8_t *vmx_code(struct vcpu *v)
{
    const struct vcpu_code_page *c = v->code.last;
    uint64_t rip;

    if (v->dirty & VCPU_CODE_GROUPS)
        return NULL;
    rip = vmx_read(VMCS_GUEST_RIP);
    if (c->size == 8 && is_same_in_64bit(c) && is_there(v, c, rip))
        return c->page + (rip - c->rip);
    return code_otherwise(v, rip);
}

/* With the same CS, and in the same mode, RIPs in this page are as far from each other as the bytes. */
static void learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset)
{
    uint64_t rip = vmx_read(VMCS_GUEST_RIP);
    struct vcpu_code_page *c = page_of(v, rip);

    c->rip = rip - offset;
    c->cr3 = vmx_read(VMCS_GUEST_CR3);
    c->cs = vmx_read(VMCS_SEG_ACCESS(SEG_CS));
    c->cs_base = vmx_read(VMCS_SEG_BASE(SEG_CS));
    c->mode = mode_of();
    vcpu_code_learn(v, c, code);
}

void vmx_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset)
{
    if (!code->page)
        vcpu_code_forget(v);
    else if (!(v->dirty & VCPU_CODE_GROUPS))
        learn(v, code, offset);
}
