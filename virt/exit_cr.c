/* SPDX-License-Identifier: MIT */
/*
 * Guest writes of control registers and of XCR0 that the CPU does not do by itself: the rules of MOV to CR (SDM 2B, and
 * 3A 2.5, 4.10, 10.8.6) and XSETBV, and what follows from such a write.
 */
#include "exit_cr.h"
#include "exit.h"
#include "exit_emulate.h"
#include "gpa.h"
#include "gva.h"
#include "walk.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* PAE paging loads the PDPTEs when one of these changes (SDM 3A 4.4.1) */
#define CR0_PDPTE_BITS (CR0_PG | CR0_CD | CR0_NW)
#define CR4_PDPTE_BITS (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

/* ------------------------------------------------------------------------------- values */

bool cr4_is_valid(uint64_t cr4)
{
    return !(cr4 & ~cpu_facts()->cr4_allowed);
}

/* All bits of the set, or none of them. */
static bool is_all_or_none(uint64_t value, uint64_t set)
{
    return (value & set) == 0 || (value & set) == set;
}

/* SDM 1 13.3 */
bool xcr0_is_valid(uint64_t xcr0)
{
    if ((xcr0 & ~cpu_facts()->xcr0_allowed) || !(xcr0 & XCR0_X87))
        return false;
    if ((xcr0 & XCR0_AVX) && !(xcr0 & XCR0_SSE))
        return false;
    if ((xcr0 & XCR0_AVX512) && !(xcr0 & XCR0_AVX))
        return false;
    return is_all_or_none(xcr0, XCR0_AVX512) && is_all_or_none(xcr0, XCR0_MPX) && is_all_or_none(xcr0, XCR0_AMX);
}

/* ------------------------------------------------------------------------------- PDPTEs */

/*
 * False: #GP, and nothing has changed. PDPTEs in memory that is not there count as all ones, as a read of nothing
 * gives: reserved bits are set. Where the CPU has no registers for them, nothing is loaded nor checked.
 */
static bool load_pdptes(struct hv_vp *vp, uint64_t cr3)
{
    uint64_t pdptes[GVA_PDPTES];

    if (!backend()->has_pdptes)
        return true;
    if (!gva_read_pdptes(vp, cr3, pdptes) || !gva_pdptes_are_valid(pdptes))
        return false;
    memcpy(vp->vcpu->pdpte, pdptes, sizeof(pdptes));
    vcpu_changed(vp->vcpu, VCPU_PDPTE);
    vp->pdptes_stale = false;
    return true;
}

/* For the CR3 that there is. */
static bool reload_pdptes(struct hv_vp *vp)
{
    vcpu_need(vp->vcpu, VCPU_CR3);
    return load_pdptes(vp, vp->vcpu->cr3);
}

static bool is_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* ---------------------------------------------------------------------------------- CR0 */

/* From legacy mode with LME set into compatibility mode: what has to be so (SDM 3A 9.8.5). */
static bool may_enter_long_mode(struct vcpu *v)
{
    vcpu_need(v, VCPU_CS | VCPU_SEG(SEG_TR));
    return (v->cr4 & CR4_PAE) && !(v->seg[SEG_CS].attributes & SEG_L) &&
           FIELD_GET(SEG_TYPE, v->seg[SEG_TR].attributes) != SEG_TYPE_TSS16_BUSY;
}

static bool may_leave_paging(struct vcpu *v)
{
    bool in_64bit_code;

    vcpu_need(v, VCPU_CS);
    in_64bit_code = (v->efer & EFER_LMA) && (v->seg[SEG_CS].attributes & SEG_L);
    return !in_64bit_code && !(v->cr4 & CR4_PCIDE);
}

static bool cr0_is_valid(uint64_t cr0)
{
    if (cr0 >> 32)
        return false;
    return (!(cr0 & CR0_PG) || (cr0 & CR0_PE)) && (!(cr0 & CR0_NW) || (cr0 & CR0_CD));
}

static bool cr0_may_change(struct vcpu *v, uint64_t cr0)
{
    if (!cr0_is_valid(cr0))
        return false;
    if (!((cr0 ^ v->cr0) & CR0_PG))
        return true;
    if (!(cr0 & CR0_PG))
        return may_leave_paging(v);
    return !(v->efer & EFER_LME) || may_enter_long_mode(v);
}

/* EFER.LMA is LME as long as paging is on. */
static uint64_t efer_with(uint64_t efer, uint64_t cr0)
{
    return (cr0 & CR0_PG) && (efer & EFER_LME) ? efer | EFER_LMA : efer & ~EFER_LMA;
}

static __attribute__((noinline)) bool write_all_of_cr0(struct hv_vp *vp, uint64_t value)
{
    struct vcpu *v = vp->vcpu;
    uint64_t cr0, changed, efer;

    if (!cr0_may_change(v, value))
        return false;
    cr0 = (value & CR0_DEFINED) | CR0_ET;
    changed = cr0 ^ v->cr0;
    efer = efer_with(v->efer, cr0);
    if ((changed & CR0_PDPTE_BITS) && is_pae_paging(cr0, v->cr4, efer) && !reload_pdptes(vp))
        return false;
    if (changed & CR0_PAGING_BITS)
        v->flush_guest = true;
    if (efer != v->efer) {
        v->efer = efer;
        vcpu_changed(v, VCPU_EFER);
    }
    v->cr0 = cr0;
    vcpu_changed(v, VCPU_CR0);
    return true;
}

/* Systems change these again and again. Neither modes nor other registers follow from them. */
#define CR0_FREQUENT (CR0_WP | CR0_TS | CR0_AM | CR0_NE | CR0_EM | CR0_MP)

static bool write_cr0(struct hv_vp *vp, uint64_t value)
{
    struct vcpu *v = vp->vcpu;
    uint64_t cr0 = (value & CR0_DEFINED) | CR0_ET, changed = cr0 ^ v->cr0;

    if (changed & ~CR0_FREQUENT)
        return write_all_of_cr0(vp, value);
    if (!cr0_is_valid(value))
        return false;
    if (changed & CR0_WP)
        v->flush_guest = true;
    v->cr0 = cr0;
    vcpu_changed(v, VCPU_CR0);
    return true;
}

/* ---------------------------------------------------------------------------------- CR3 */

/* Bits of a physical address that no CPU of this kind has; the guest's own bit 63 is dealt with before. */
static uint64_t cr3_reserved(void)
{
    return ~(BIT64(cpu_facts()->physical_bits) - 1);
}

/* With PCIDs, bit 63 asks to keep the translations of the new PCID; the register does not hold it. */
static bool write_cr3(struct hv_vp *vp, uint64_t value)
{
    struct vcpu *v = vp->vcpu;
    bool keep = (v->cr4 & CR4_PCIDE) && (value & CR3_NO_FLUSH);
    uint64_t cr3 = keep ? value & ~CR3_NO_FLUSH : value;

    if (cr3 & cr3_reserved())
        return false;
    if (is_pae_paging(v->cr0, v->cr4, v->efer) && !load_pdptes(vp, cr3))
        return false;
    if (!keep)
        v->flush_guest = true;
    v->cr3 = cr3;
    vcpu_changed(v, VCPU_CR3);
    return true;
}

/* ---------------------------------------------------------------------------------- CR4 */

static bool cr4_may_change(struct vcpu *v, uint64_t cr4)
{
    uint64_t changed = cr4 ^ v->cr4;
    bool long_mode = (v->efer & EFER_LMA) != 0;

    if (!cr4_is_valid(cr4))
        return false;
    if (long_mode && (changed & (CR4_PAE | CR4_LA57)))
        return false;
    if (!(changed & cr4 & CR4_PCIDE))
        return true;
    vcpu_need(v, VCPU_CR3);
    return long_mode && !(v->cr3 & CR3_PCID);
}

static bool write_cr4(struct hv_vp *vp, uint64_t value)
{
    struct vcpu *v = vp->vcpu;
    uint64_t changed = value ^ v->cr4;

    if (!cr4_may_change(v, value))
        return false;
    if ((changed & CR4_PDPTE_BITS) && is_pae_paging(v->cr0, value, v->efer) && !reload_pdptes(vp))
        return false;
    if (changed & CR4_PAGING_BITS)
        v->flush_guest = true;
    v->cr4 = value;
    vcpu_changed(v, VCPU_CR4);
    return true;
}

/* ---------------------------------------------------------------------------------- CR8 */

static bool write_cr8(struct hv_vp *vp, uint64_t value)
{
    if (value & ~CR8_TPR)
        return false;
    vp->vcpu->cr8 = value;
    vcpu_changed(vp->vcpu, VCPU_CR8);
    if (vp->has_apic) /* by which the next interrupt is chosen */
        lapic_put(&vp->lapic, APIC_TPR, (uint32_t)value << 4);
    vp->counters.apic.tpr++;
    if (value < vp->vcpu->controls.tpr_threshold) /* the CPU lets us see the writes, but has no exit for this */
        (void)exit_tpr(vp, NULL);
    return true;
}

/* ----------------------------------------------------------------------------- handlers */

static enum exit_outcome finish(struct hv_vp *vp, const struct hv_exit *exit, bool done)
{
    if (done)
        exit_skip_instruction(vp, exit);
    else
        exit_inject_error(vp, VEC_GP, 0);
    return EXIT_HANDLED;
}

static const struct control_register {
    bool (*write)(struct hv_vp *vp, uint64_t value); /* false: #GP */
    uint32_t groups;                                 /* what that looks at in any case */
} registers[] = {
    [0] = {write_cr0, VCPU_CR0 | VCPU_CR4 | VCPU_EFER},
    [3] = {write_cr3, VCPU_CR0 | VCPU_CR4 | VCPU_EFER},
    [4] = {write_cr4, VCPU_CR0 | VCPU_CR4 | VCPU_EFER},
    [8] = {write_cr8, 0},
};

/* ------------------------------------------------------------ accesses that have to be decoded */

/* What the instruction does with the register; a write is done after it. */
struct cr_access {
    struct hv_vp *vp;
    bool is_write;
    uint64_t value;
};

static bool access_memory(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    struct hv_vp *vp = ((struct cr_access *)context)->vp;

    return (is_write ? gpa_write(vp, gpa, data, size) : gpa_read(vp, gpa, data, size)) == HV_OK;
}

static bool access_translate(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result,
                             hv_gpa_t *gpa)
{
    *result = gva_translate(((struct cr_access *)context)->vp, page, flags, gpa);
    return true;
}

/* Of reads only those of CR0 and CR4 exit. */
static bool access_register(void *context, unsigned number, bool is_write, uint64_t *value)
{
    struct cr_access *access = context;
    const struct vcpu *v = access->vp->vcpu;

    access->is_write = is_write;
    if (is_write)
        access->value = *value;
    else
        *value = number == 4 ? v->cr4 : v->cr0;
    return is_write || number == 0 || number == 4;
}

static const struct hv_emulate_ops access_ops = {
    .memory = access_memory, .translate = access_translate, .cr = access_register};

/* An operand of LMSW or SMSW where there is no RAM. */
static enum exit_outcome refuse(struct hv_exit *exit)
{
    exit->reason = HV_EXIT_UNSUPPORTED_FEATURE;
    exit->instruction_length = 0;
    exit->unsupported.code = 1;
    exit->unsupported.parameter = 0;
    return EXIT_TO_CLIENT;
}

/* exit_length_find has fetched the instruction, and seen that it is an access to this register in this direction. */
static __attribute__((noinline)) enum exit_outcome decode_access(struct hv_vp *vp, struct hv_exit *exit)
{
    struct cr_access access = {.vp = vp};
    struct hv_emulate_state state;
    struct hv_emulate_fault fault;

    exit_emulate_begin(vp, &state);
    switch (hv_emulate(&state, &exit->instruction, NULL, &access_ops, &access, &fault)) {
    case HV_EMULATE_OK:
        if (access.is_write)
            return finish(vp, exit, registers[exit->cr.number].write(vp, access.value));
        exit_emulate_end(vp, &state);
        exit_retire_instruction(vp);
        return EXIT_HANDLED;
    case HV_EMULATE_FAULT:
        exit_emulate_fault(vp, &fault);
        return EXIT_HANDLED;
    default:
        return refuse(exit);
    }
}

static __attribute__((noinline)) enum exit_outcome read_known(struct hv_vp *vp, const struct hv_exit *exit)
{
    struct vcpu *v = vp->vcpu;
    uint64_t value = exit->cr.number == 4 ? v->cr4 : v->cr0;
    bool is_wide;

    vcpu_need(v, VCPU_CS);
    is_wide = gva_is_long_mode(v) && v->seg[SEG_CS].attributes & SEG_L;
    v->gpr[exit->cr.gpr] = is_wide ? value : (uint32_t)value;
    if (exit->cr.gpr == GPR_RSP)
        vcpu_changed(v, VCPU_RSP);
    exit_skip_instruction(vp, exit);
    return EXIT_HANDLED;
}

enum exit_outcome exit_cr(struct hv_vp *vp, struct hv_exit *exit)
{
    unsigned number = exit->cr.number;

    if (number >= ARRAY_COUNT(registers) || !registers[number].write) {
        exit_inject(vp, VEC_UD);
        return EXIT_HANDLED;
    }
    vcpu_need(vp->vcpu, registers[number].groups);
    if (!exit->cr.is_known)
        return decode_access(vp, exit);
    if (exit->cr.is_read)
        return read_known(vp, exit);
    return finish(vp, exit, registers[number].write(vp, exit->cr.value));
}

enum exit_outcome exit_xsetbv(struct hv_vp *vp, struct hv_exit *exit)
{
    struct vcpu *v = vp->vcpu;
    uint64_t value = v->gpr[GPR_RDX] << 32 | (uint32_t)v->gpr[GPR_RAX];
    bool valid = (uint32_t)v->gpr[GPR_RCX] == 0 && xcr0_is_valid(value);

    if (valid)
        vcpu_write_xcr0(v, value);
    return finish(vp, exit, valid);
}
