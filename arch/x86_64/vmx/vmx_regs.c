/* SPDX-License-Identifier: MIT */
/* Register state between struct vcpu and the VMCS, by groups. */
#include "../tsc.h"
#include "../vcpu_parts.h"
#include "vmx.h"
#include <arch/bits/apic.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>
#include <arch/vmx_insn.h>

/* ------------------------------------------------------- registers that are one field each */

struct field_reg {
    uint16_t field, offset;
};

#define MAX_FIELDS 4u

/* A group: its fields, up to the first that is 0 (which is the VPID, no register). */
struct field_group {
    struct field_reg regs[MAX_FIELDS];
};

#define INDEX(group) [__builtin_ctz(group)]
#define REG(field, member)                   \
    {                                        \
        field, offsetof(struct vcpu, member) \
    }

/* clang-format off */
static const struct field_group field_groups[] = {
    INDEX(VCPU_RIP)      = {{REG(VMCS_GUEST_RIP,          rip)}},
    INDEX(VCPU_RSP)      = {{REG(VMCS_GUEST_RSP,          gpr[GPR_RSP])}},
    INDEX(VCPU_RFLAGS)   = {{REG(VMCS_GUEST_RFLAGS,       rflags)}},
    INDEX(VCPU_CR3)      = {{REG(VMCS_GUEST_CR3,          cr3)}},
    INDEX(VCPU_PDPTE)    = {{REG(VMCS_GUEST_PDPTE0,       pdpte[0]),
                             REG(VMCS_GUEST_PDPTE1,       pdpte[1]),
                             REG(VMCS_GUEST_PDPTE2,       pdpte[2]),
                             REG(VMCS_GUEST_PDPTE3,       pdpte[3])}},
    INDEX(VCPU_TABLES)   = {{REG(VMCS_GUEST_IDTR_BASE,    idtr.base),
                             REG(VMCS_GUEST_GDTR_BASE,    gdtr.base)}},
    INDEX(VCPU_DR7)      = {{REG(VMCS_GUEST_DR7,          dr7)}},
    INDEX(VCPU_SYSENTER) = {{REG(VMCS_GUEST_SYSENTER_CS,  sysenter_cs),
                             REG(VMCS_GUEST_SYSENTER_ESP, sysenter_esp),
                             REG(VMCS_GUEST_SYSENTER_EIP, sysenter_eip)}},
    INDEX(VCPU_PAT)      = {{REG(VMCS_GUEST_PAT,          pat)}},
};
/* clang-format on */

#define FIELD_GROUPS \
    (VCPU_RIP | VCPU_RSP | VCPU_RFLAGS | VCPU_CR3 | VCPU_PDPTE | VCPU_TABLES | VCPU_DR7 | VCPU_SYSENTER | VCPU_PAT)

static uint64_t *value_of(struct vcpu *v, const struct field_reg *r)
{
    return (uint64_t *)((char *)v + r->offset);
}

static void fetch_fields(struct vcpu *v, uint32_t groups)
{
    for (groups &= FIELD_GROUPS; groups; groups &= groups - 1) {
        const struct field_reg *r = field_groups[__builtin_ctz(groups)].regs;

        for (unsigned i = 0; i < MAX_FIELDS && r[i].field; i++)
            *value_of(v, &r[i]) = vmx_read(r[i].field);
    }
}

static void sync_fields(struct vcpu *v, uint32_t groups)
{
    for (groups &= FIELD_GROUPS; groups; groups &= groups - 1) {
        const struct field_reg *r = field_groups[__builtin_ctz(groups)].regs;

        for (unsigned i = 0; i < MAX_FIELDS && r[i].field; i++)
            vmx_write(r[i].field, *value_of(v, &r[i]));
    }
}

/* --------------------------------------------------------------------------------- segments */

/*
 * WHP knows no unusable segments: one that is not present stands for it, and the other way round. TR has no such
 * state.
 */
static inline void read_segment(struct hv_segment *to, unsigned s)
{
    uint32_t access = (uint32_t)vmx_read(VMCS_SEG_ACCESS(s));

    to->selector = (uint16_t)vmx_read(VMCS_SEG_SELECTOR(s));
    to->base = vmx_read(VMCS_SEG_BASE(s));
    to->limit = (uint32_t)vmx_read(VMCS_SEG_LIMIT(s));
    to->attributes = (uint16_t)(access & ACCESS_UNUSABLE ? access & ~SEG_P : access);
}

static void fetch_segment(struct vcpu *v, unsigned s)
{
    read_segment(&v->seg[s], s);
}

static void sync_segment(struct vcpu *v, unsigned s)
{
    const struct hv_segment *seg = &v->seg[s];
    bool unusable = s != SEG_TR && s != SEG_CS && !(seg->attributes & SEG_P);

    vmx_write(VMCS_SEG_SELECTOR(s), seg->selector);
    vmx_write(VMCS_SEG_BASE(s), seg->base);
    vmx_write(VMCS_SEG_LIMIT(s), seg->limit);
    vmx_write(VMCS_SEG_ACCESS(s), unusable ? seg->attributes | ACCESS_UNUSABLE : seg->attributes);
}

/* ------------------------------------------------------------------------ control registers */

static void fetch_cr0(struct vcpu *v)
{
    v->cr0 =
        (vmx_read(VMCS_GUEST_CR0) & v->cr0_guest_owned) | (vmx_read(VMCS_CR0_SHADOW) & ~v->cr0_guest_owned) | CR0_ET;
}

/*
 * Unrestricted guest: PE and PG are free, whatever CR0_FIXED0 says. The CPU's own needs are met behind the guest's
 * back.
 */
static void sync_cr0(struct vcpu *v)
{
    vmx_write(VMCS_GUEST_CR0, v->cr0 | (vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG)));
    vmx_write(VMCS_CR0_SHADOW, v->cr0);
}

static void fetch_cr4(struct vcpu *v)
{
    v->cr4 = (vmx_read(VMCS_GUEST_CR4) & v->cr4_guest_owned) | (vmx_read(VMCS_CR4_SHADOW) & ~v->cr4_guest_owned);
}

static void sync_cr4(struct vcpu *v)
{
    vmx_write(VMCS_GUEST_CR4, v->cr4 | vmx_caps.cr4_fixed0 | (cpu_read_cr4() & CR4_MCE));
    vmx_write(VMCS_CR4_SHADOW, v->cr4);
}

/*
 * LMA follows from LME and paging; a client may leave it out. The entry control "IA-32e mode guest" has to equal it
 * (the CPU keeps it so while the guest runs).
 */
static void sync_efer(struct vcpu *v)
{
    uint64_t entry = vmx_read(VMCS_ENTRY_CONTROLS) & ~ENTRY_GUEST_64BIT;

    if (v->efer & EFER_LME && v->cr0 & CR0_PG)
        v->efer |= EFER_LMA;
    vmx_write(VMCS_GUEST_EFER, v->efer);
    vmx_write(VMCS_ENTRY_CONTROLS, v->efer & EFER_LMA ? entry | ENTRY_GUEST_64BIT : entry);
}

/* --------------------------------------------------------------------- interruptibility, CR8 */

static void fetch_intr(struct vcpu *v)
{
    uint64_t state = vmx_read(VMCS_GUEST_INTERRUPTIBILITY);

    v->interrupt_shadow = state & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
    v->shadow_by_mov_ss = state & INTERRUPTIBILITY_MOV_SS;
    v->nmi_masked = state & INTERRUPTIBILITY_NMI;
    v->pending_debug = vmx_read(VMCS_GUEST_PENDING_DEBUG);
}

/*
 * The entry checks tie the shadow to RFLAGS (SDM 3C 27.3.1.5): one by STI needs IF; with TF a single-step trap has to
 * be pending. That trap must come after the next instruction, not before, which only a shadow by MOV SS brings about.
 */
static void sync_intr(struct vcpu *v)
{
    uint64_t state, debug;

    vcpu_need(v, VCPU_RFLAGS | VCPU_INTR);
    state = v->nmi_masked ? INTERRUPTIBILITY_NMI : 0;
    debug = v->pending_debug;
    if (v->interrupt_shadow) {
        bool mov_ss = v->shadow_by_mov_ss || (v->rflags & (RFLAGS_IF | RFLAGS_TF)) != RFLAGS_IF;

        state |= mov_ss ? INTERRUPTIBILITY_MOV_SS : INTERRUPTIBILITY_STI;
        debug = v->rflags & RFLAGS_TF ? debug | PENDING_DEBUG_BS : debug & ~PENDING_DEBUG_BS;
    }
    vmx_write(VMCS_GUEST_INTERRUPTIBILITY, state);
    vmx_write(VMCS_GUEST_PENDING_DEBUG, debug);
}

/*
 * VM entries and exits leave DR6 and the MSRs alone: vcpu.c switches them. While they are loaded the guest may change
 * DR6 without an exit, as it may KERNEL_GS_BASE (vcpu_read_msr).
 */
static void fetch_dr6(struct vcpu *v)
{
    if (v->dr_loaded)
        v->dr6 = cpu_read_dr6();
}

static void sync_dr6(const struct vcpu *v)
{
    if (v->dr_loaded)
        cpu_write_dr6(v->dr6);
}

/* --------------------------------------------------------------------------------- controls */

static uint64_t cpu_controls(const struct vcpu *v, uint64_t cpu)
{
    const struct vcpu_controls *c = &v->controls;

    cpu &= ~(CPU_INTR_WINDOW | CPU_NMI_WINDOW | CPU_RDTSC | CPU_HLT | CPU_MOV_DR);
    return cpu | (c->interrupt_window ? CPU_INTR_WINDOW : 0) | (c->nmi_window ? CPU_NMI_WINDOW : 0) |
           (c->rdtsc_exit ? CPU_RDTSC : 0) | (c->hlt_exit ? CPU_HLT : 0) | (v->dr_loaded ? 0 : CPU_MOV_DR);
}

static void sync_controls(struct vmx_vcpu *vmx)
{
    struct vcpu *v = &vmx->v;
    uint64_t cpu = cpu_controls(v, vmx->cpu);

    if (cpu != vmx->cpu)
        vmx_write(VMCS_CPU_CONTROLS, vmx->cpu = cpu);
    /* machine checks are always the host's */
    vmx_write(VMCS_EXCEPTION_BITMAP, v->controls.exception_bitmap | BIT32(VEC_MC));
    vmx_write(VMCS_TPR_THRESHOLD, v->controls.tpr_threshold);
    vmx_apic_sync_controls(vmx);
}

/* ------------------------------------------------------------------------ the two directions */

static __attribute__((noinline)) void fetch_others(struct vcpu *v, uint32_t groups)
{
    uint32_t segs = (groups & VCPU_SEGS) >> 16;

    fetch_fields(v, groups);
    if (groups & VCPU_TABLES) {
        v->idtr.limit = (uint16_t)vmx_read(VMCS_GUEST_IDTR_LIMIT);
        v->gdtr.limit = (uint16_t)vmx_read(VMCS_GUEST_GDTR_LIMIT);
    }
    for (; segs; segs &= segs - 1)
        fetch_segment(v, (unsigned)__builtin_ctz(segs));
    if (groups & VCPU_CR0)
        fetch_cr0(v);
    if (groups & VCPU_CR4)
        fetch_cr4(v);
    if (groups & VCPU_EFER)
        v->efer = vmx_read(VMCS_GUEST_EFER);
    if (groups & VCPU_CR8)
        v->cr8 = vcpu_cr8_of_tpr(v);
    if (groups & VCPU_APIC)
        vmx_apic_fetch(v);
    if (groups & VCPU_DR6)
        fetch_dr6(v);
}

/* All that says where the code is. */
#define CODE_GROUPS (VCPU_RIP | VCPU_CS | VCPU_CR0 | VCPU_CR3 | VCPU_CR4 | VCPU_EFER)

static void fetch_code(struct vcpu *v)
{
    v->rip = vmx_read(VMCS_GUEST_RIP);
    fetch_segment(v, SEG_CS);
    fetch_cr0(v);
    v->cr3 = vmx_read(VMCS_GUEST_CR3);
    fetch_cr4(v);
    v->efer = vmx_read(VMCS_GUEST_EFER);
}

/* What is asked for often: whether an interrupt can go in, and where the code is. */
static uint32_t fetch_frequent(struct vcpu *v, uint32_t groups)
{
    uint32_t fetched = groups & (VCPU_INTR | VCPU_RFLAGS);

    if (groups & VCPU_INTR)
        fetch_intr(v);
    if (groups & VCPU_RFLAGS)
        v->rflags = vmx_read(VMCS_GUEST_RFLAGS);
    if ((groups & CODE_GROUPS) != CODE_GROUPS)
        return fetched;
    fetch_code(v);
    return fetched | CODE_GROUPS;
}

void vmx_fetch(struct vcpu *v, uint32_t groups)
{
    uint32_t others;

    groups &= ~v->valid;
    others = groups & ~fetch_frequent(v, groups);
    if (others)
        fetch_others(v, others);
    v->valid |= groups;
}

static __attribute__((noinline)) void sync_others(struct vmx_vcpu *vmx)
{
    struct vcpu *v = &vmx->v;
    uint32_t dirty = v->dirty, segs = (dirty & VCPU_SEGS) >> 16;

    sync_fields(v, dirty);
    if (dirty & VCPU_TABLES) {
        vmx_write(VMCS_GUEST_IDTR_LIMIT, v->idtr.limit);
        vmx_write(VMCS_GUEST_GDTR_LIMIT, v->gdtr.limit);
    }
    for (; segs; segs &= segs - 1)
        sync_segment(v, (unsigned)__builtin_ctz(segs));
    if (dirty & (VCPU_CR0 | VCPU_EFER)) {
        vcpu_need(v, VCPU_CR0 | VCPU_EFER);
        sync_cr0(v);
        sync_efer(v);
    }
    if (dirty & VCPU_CR4)
        sync_cr4(v);
    if (dirty & VCPU_TSC)
        vmx_write(VMCS_TSC_OFFSET, vcpu_tsc_offset(v));
    if (dirty & (VCPU_INTR | VCPU_RFLAGS))
        sync_intr(v);
    if (dirty & VCPU_CR8)
        vcpu_cr8_to_tpr(v, v->cr8);
    if (dirty & VCPU_APIC)
        vmx_apic_sync(v);
    if (dirty & VCPU_EOI_EXIT)
        vmx_apic_sync_eoi_exits(v);
    if (dirty & VCPU_DR6)
        sync_dr6(v);
    if (dirty & VCPU_CONTROLS)
        sync_controls(vmx);
}

void vmx_sync(struct vmx_vcpu *vmx)
{
    struct vcpu *v = &vmx->v;

    if (v->dirty == VCPU_RIP)
        vmx_write(VMCS_GUEST_RIP, v->rip);
    else
        sync_others(vmx);
    v->dirty = 0;
}

/* ------------------------------------------------------------------------- on the exit path */

/*
 * Not so simple: a shadow that ends, a single-step trap, RF that ends, EIP that may wrap; or registers that the core
 * has changed already and the VMCS does not have yet.
 */
void vmx_advance(struct vcpu *v, uint8_t length)
{
    uint64_t next = vmx_read(VMCS_GUEST_RIP) + length;

    if (v->dirty & (VCPU_RIP | VCPU_RFLAGS | VCPU_INTR) ||
        vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS) ||
        vmx_read(VMCS_GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF) || (uint32_t)next < length) {
        vcpu_step_over(v, length);
        return;
    }
    vmx_write(VMCS_GUEST_RIP, next);
    v->valid &= ~VCPU_RIP;
}

bool vmx_takes_interrupts(struct vcpu *v)
{
    if (v->valid & VCPU_INTERRUPT_GROUPS)
        return vcpu_takes_interrupts(v);
    return vmx_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF &&
           !(vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) &&
           !(vmx_read(VMCS_GUEST_PENDING_DEBUG) & VCPU_DEBUG_TRAPS);
}

uint32_t vmx_mode(struct vcpu *v)
{
    uint64_t cpl = FIELD_GET(SEG_DPL, vmx_read(VMCS_SEG_ACCESS(SEG_SS)));

    (void)v;
    if (vmx_read(VMCS_GUEST_EFER) & EFER_LMA && vmx_read(VMCS_SEG_ACCESS(SEG_CS)) & SEG_L)
        return vcpu_mode(cpl, true, 0, 0);
    return vcpu_mode(cpl, false, vmx_read(VMCS_GUEST_CR0), vmx_read(VMCS_GUEST_RFLAGS));
}

#define CONTEXT_GROUPS                                                                                     \
    (VCPU_RIP | VCPU_RFLAGS | VCPU_CS | VCPU_SS | VCPU_CR0 | VCPU_EFER | VCPU_DR7 | VCPU_INTR | VCPU_CR8 | \
     VCPU_SEG(SEG_DS) | VCPU_SEG(SEG_ES))

/* What is known is not read again; and of SS, CR0, EFER and DR7 one bit or two are wanted, not the whole group. */
static uint64_t known_or(const struct vcpu *v, uint32_t group, uint64_t value, uint32_t field)
{
    return v->valid & group ? value : vmx_read(field);
}

static void known_or_read_segment(const struct vcpu *v, unsigned s, struct hv_segment *to)
{
    if (v->valid & VCPU_SEG(s))
        *to = v->seg[s];
    else
        read_segment(to, s);
}

#define SHADOWS (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)

static __attribute__((noinline)) void context_of_cache(struct vcpu *v, const struct hv_exit *exit,
                                                       struct hv_exit_context *to)
{
    bool shadow = v->valid & VCPU_INTR ? v->interrupt_shadow : vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & SHADOWS;
    uint64_t cpl = FIELD_GET(SEG_DPL, known_or(v, VCPU_SS, v->seg[SEG_SS].attributes, VMCS_SEG_ACCESS(SEG_SS)));

    vcpu_put_state(&to->vp, exit->instruction_length, v->valid & VCPU_CR8 ? v->cr8 : vcpu_cr8_of_tpr(v),
                   vcpu_execution_state(cpl, known_or(v, VCPU_CR0, v->cr0, VMCS_GUEST_CR0),
                                        known_or(v, VCPU_EFER, v->efer, VMCS_GUEST_EFER),
                                        known_or(v, VCPU_DR7, v->dr7, VMCS_GUEST_DR7), v->event, shadow));
    known_or_read_segment(v, SEG_CS, &to->vp.cs);
    to->vp.rip = known_or(v, VCPU_RIP, v->rip, VMCS_GUEST_RIP);
    to->vp.rflags = known_or(v, VCPU_RFLAGS, v->rflags, VMCS_GUEST_RFLAGS);
    if (exit->reason == HV_EXIT_IO) {
        known_or_read_segment(v, SEG_DS, &to->io.ds);
        known_or_read_segment(v, SEG_ES, &to->io.es);
    }
}

/* Most exits to the client, and those of I/O above all, go there with nothing read before. */
void vmx_context(struct vcpu *v, const struct hv_exit *exit, struct hv_exit_context *to)
{
    if (v->valid & CONTEXT_GROUPS) {
        context_of_cache(v, exit, to);
        return;
    }
    vcpu_put_state(&to->vp, exit->instruction_length, vcpu_cr8_of_tpr(v),
                   vcpu_execution_state(FIELD_GET(SEG_DPL, vmx_read(VMCS_SEG_ACCESS(SEG_SS))), vmx_read(VMCS_GUEST_CR0),
                                        vmx_read(VMCS_GUEST_EFER), vmx_read(VMCS_GUEST_DR7), v->event,
                                        vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & SHADOWS));
    read_segment(&to->vp.cs, SEG_CS);
    to->vp.rip = vmx_read(VMCS_GUEST_RIP);
    to->vp.rflags = vmx_read(VMCS_GUEST_RFLAGS);
    if (exit->reason == HV_EXIT_IO) {
        read_segment(&to->io.ds, SEG_DS);
        read_segment(&to->io.es, SEG_ES);
    }
}

/* --------------------------------------------------------------------------------- raw access */

enum hv_status vmx_raw_get(struct vcpu *v, uint32_t field, uint64_t *value)
{
    vmx_sync(to_vmx(v));
    return vmx_try_read(field, value) ? HV_OK : HV_E_INVALID;
}

/*
 * Guest-state fields, but for the link pointer (whole, or its upper half). Neither interrupts nor kicks end a
 * shutdown or a wait for SIPI: a guest entered so would keep the CPU. VMWRITE takes 32 bits of the activity state.
 */
static bool may_raw_set(uint32_t field, uint64_t value)
{
    if (FIELD_GET(VMCS_ENC_TYPE, field) != VMCS_TYPE_GUEST || (field & ~(uint32_t)VMCS_ENC_HIGH) == VMCS_LINK_POINTER)
        return false;
    return field != VMCS_GUEST_ACTIVITY ||
           ((uint32_t)value != ACTIVITY_SHUTDOWN && (uint32_t)value != ACTIVITY_WAIT_SIPI);
}

enum hv_status vmx_raw_set(struct vcpu *v, uint32_t field, uint64_t value)
{
    if (!may_raw_set(field, value))
        return HV_E_INVALID;
    vmx_sync(to_vmx(v));
    if (!vmx_try_write(field, value))
        return HV_E_INVALID;
    v->valid &= VCPU_STICKY;
    return HV_OK;
}
