/* SPDX-License-Identifier: MIT */
/* Register state between struct vcpu and the VMCB, by groups. */
#include "../tsc.h"
#include "../vcpu_parts.h"
#include "svm_code.h"
#include <arch/bits/apic.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>

/* ------------------------------------------------------- registers that are one word each */

struct word_reg {
    uint16_t vmcb, vcpu; /* offsets; 0: none */
};

#define MAX_WORDS 5u

/* A group: its words, up to the first that is not there; and what the CPU has to read again when they change. */
struct word_group {
    struct word_reg regs[MAX_WORDS];
    uint32_t clean;
};

#define INDEX(group) [__builtin_ctz(group)]
#define REG(field, member)                                          \
    {                                                               \
        offsetof(struct vmcb, field), offsetof(struct vcpu, member) \
    }

/* clang-format off */
static const struct word_group word_groups[] = {
    INDEX(VCPU_RIP)      = {{REG(rip,            rip)}, 0},
    INDEX(VCPU_RSP)      = {{REG(rsp,            gpr[GPR_RSP])}, 0},
    INDEX(VCPU_RFLAGS)   = {{REG(rflags,         rflags)}, 0},
    INDEX(VCPU_CR3)      = {{REG(cr3,            cr3)}, CLEAN_CR},
    INDEX(VCPU_DR7)      = {{REG(dr7,            dr7)}, CLEAN_DR},
    INDEX(VCPU_DR6)      = {{REG(dr6,            dr6)}, CLEAN_DR},
    INDEX(VCPU_SYSENTER) = {{REG(sysenter_cs,    sysenter_cs),
                             REG(sysenter_esp,   sysenter_esp),
                             REG(sysenter_eip,   sysenter_eip)}, 0},
    INDEX(VCPU_PAT)      = {{REG(g_pat,          pat)}, CLEAN_NESTED},
    INDEX(VCPU_MSRS)     = {{REG(star,           msr[VCPU_MSR_STAR]),
                             REG(lstar,          msr[VCPU_MSR_LSTAR]),
                             REG(cstar,          msr[VCPU_MSR_CSTAR]),
                             REG(sfmask,         msr[VCPU_MSR_SFMASK]),
                             REG(kernel_gs_base, msr[VCPU_MSR_KERNEL_GS_BASE])}, 0},
};
/* clang-format on */

#define WORD_GROUPS \
    (VCPU_RIP | VCPU_RSP | VCPU_RFLAGS | VCPU_CR3 | VCPU_DR7 | VCPU_DR6 | VCPU_SYSENTER | VCPU_PAT | VCPU_MSRS)

static uint64_t *in_vmcb(struct vmcb *vmcb, const struct word_reg *r)
{
    return (uint64_t *)((char *)vmcb + r->vmcb);
}

static uint64_t *in_vcpu(struct vcpu *v, const struct word_reg *r)
{
    return (uint64_t *)((char *)v + r->vcpu);
}

static void fetch_words(struct svm_vcpu *svm, uint32_t groups)
{
    for (groups &= WORD_GROUPS; groups; groups &= groups - 1) {
        const struct word_reg *r = word_groups[__builtin_ctz(groups)].regs;

        for (unsigned i = 0; i < MAX_WORDS && r[i].vmcb; i++)
            *in_vcpu(&svm->v, &r[i]) = *in_vmcb(svm->vmcb, &r[i]);
    }
}

static void sync_words(struct svm_vcpu *svm, uint32_t groups)
{
    for (groups &= WORD_GROUPS; groups; groups &= groups - 1) {
        const struct word_group *g = &word_groups[__builtin_ctz(groups)];

        for (unsigned i = 0; i < MAX_WORDS && g->regs[i].vmcb; i++)
            *in_vmcb(svm->vmcb, &g->regs[i]) = *in_vcpu(&svm->v, &g->regs[i]);
        vmcb_touch(svm->vmcb, g->clean);
    }
}

/* --------------------------------------------------------------------------------- segments */

static struct vmcb_segment *segment_of(struct vmcb *vmcb, unsigned s)
{
    return s == SEG_LDTR ? &vmcb->ldtr : s == SEG_TR ? &vmcb->tr : &vmcb->es + s;
}

/*
 * CPUs of this kind keep TR's TSS as an available one, and give that back (not only where LTR has marked it busy in the
 * table): to the core it is always busy, as the manual says, and to the CPU it is what it would have made of it itself.
 */
#define TSS_BUSY 2u

/* All but the base, as struct hv_segment has it: limit, selector, attributes. */
static inline uint64_t segment_word(uint64_t vmcb_word)
{
    uint64_t word = vmcb_word >> 32 | vmcb_word << 32;

    return (word & BITS64(55, 0)) | (word & BITS64(59, 56)) << 4;
}

_Static_assert(offsetof(struct hv_segment, limit) == 8 && offsetof(struct hv_segment, selector) == 12 &&
                   offsetof(struct hv_segment, attributes) == 14,
               "one word");

static inline void copy_segment(struct hv_segment *to, const struct vmcb_segment *from)
{
    uint64_t word = segment_word(from->word);

    to->base = from->base;
    __builtin_memcpy(&to->limit, &word, sizeof(word)); /* one store */
}

/*
 * The privilege level has a field of its own; what SS says of it is not reliable after SYSRET and the like (APM 2
 * 15.5.1).
 */
static inline void fetch_segment(struct svm_vcpu *svm, unsigned s)
{
    const struct vmcb_segment *from = segment_of(svm->vmcb, s);
    struct hv_segment *to = &svm->v.seg[s];

    copy_segment(to, from);
    if (s == SEG_TR)
        to->attributes |= TSS_BUSY;
    if (s == SEG_SS)
        to->attributes = (uint16_t)((to->attributes & ~SEG_DPL) | FIELD_PUT(SEG_DPL, svm->vmcb->cpl));
}

static void sync_segment(struct svm_vcpu *svm, unsigned s)
{
    const struct hv_segment *from = &svm->v.seg[s];
    uint32_t a = from->attributes;

    if (s == SEG_TR)
        a &= ~TSS_BUSY;
    *segment_of(svm->vmcb, s) = (struct vmcb_segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .attributes = (uint16_t)((a & 0xff) | (a >> 4 & 0xf00)),
    };
    if (s <= SEG_DS)
        vmcb_touch(svm->vmcb, CLEAN_SEGMENTS);
}

/* Real mode is CPL 0 and virtual-8086 mode CPL 3, whatever a client has written into SS. */
static void sync_cpl(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;
    uint8_t cpl;

    vcpu_need(v, VCPU_SS | VCPU_CR0 | VCPU_RFLAGS);
    cpl = !(v->cr0 & CR0_PE) ? 0 : v->rflags & RFLAGS_VM ? 3 : (uint8_t)FIELD_GET(SEG_DPL, v->seg[SEG_SS].attributes);
    if (svm->vmcb->cpl == cpl)
        return;
    svm->vmcb->cpl = cpl;
    vmcb_touch(svm->vmcb, CLEAN_SEGMENTS);
}

static void fetch_table(const struct vmcb_segment *from, struct hv_table *to)
{
    *to = (struct hv_table){.limit = (uint16_t)from->limit, .base = from->base};
}

static void fetch_tables(struct svm_vcpu *svm)
{
    fetch_table(&svm->vmcb->idtr, &svm->v.idtr);
    fetch_table(&svm->vmcb->gdtr, &svm->v.gdtr);
}

static void sync_tables(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    vmcb->idtr.limit = svm->v.idtr.limit;
    vmcb->idtr.base = svm->v.idtr.base;
    vmcb->gdtr.limit = svm->v.gdtr.limit;
    vmcb->gdtr.base = svm->v.gdtr.base;
    vmcb_touch(vmcb, CLEAN_TABLES);
}

/* ------------------------------------------------------------------------ control registers */

/*
 * Two things are kept from the CPU: a guest's cache control, which would slow the machine down, and CR4.MCE off, with
 * which a machine check would be the end of it. As long as the guest's idea differs from the CPU's, its accesses to
 * the register exit; the rest of the time it reads CR0 and CR4 directly, and writes CR0's TS and MP.
 */
#define CR4_HIDDEN CR4_MCE

static void set_bit16(struct vmcb *vmcb, uint16_t *word, unsigned bit, bool on)
{
    uint16_t value = (uint16_t)(on ? *word | 1u << bit : *word & ~(1u << bit));

    if (*word == value)
        return;
    *word = value;
    vmcb_touch(vmcb, CLEAN_INTERCEPTS);
}

static void sync_cr0(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    svm->hidden_cr0 = svm->v.cr0 & SVM_CR0_HIDDEN;
    vmcb->cr0 = svm->v.cr0 & ~SVM_CR0_HIDDEN;
    set_bit16(vmcb, &vmcb->cr_reads, 0, svm->hidden_cr0);
    set_bit16(vmcb, &vmcb->cr_writes, 0, svm->hidden_cr0);
    vmcb_touch(vmcb, CLEAN_CR);
}

static void fetch_cr4(struct svm_vcpu *svm)
{
    svm->v.cr4 = svm->vmcb->cr4 & ~svm->hidden_cr4;
}

static void sync_cr4(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    svm->hidden_cr4 = cpu_read_cr4() & ~svm->v.cr4 & CR4_HIDDEN;
    vmcb->cr4 = svm->v.cr4 | svm->hidden_cr4;
    set_bit16(vmcb, &vmcb->cr_reads, 4, svm->hidden_cr4);
    vmcb_touch(vmcb, CLEAN_CR);
}

/*
 * LMA follows from LME and paging; a client may leave it out. The CPU wants SVME, which guests do not have. LME alone
 * does nothing, and is kept from the CPU: paging is not switched on without an exit, and QEMU does not find back to the
 * host's state from a guest's that has LME without CR4.PAE. All accesses to EFER exit.
 */
static void sync_efer(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;

    if (v->efer & EFER_LME && v->cr0 & CR0_PG)
        v->efer |= EFER_LMA;
    svm->hidden_efer = v->cr0 & CR0_PG ? 0 : v->efer & EFER_LME;
    svm->vmcb->efer = (v->efer & ~svm->hidden_efer) | EFER_SVME;
    vmcb_touch(svm->vmcb, CLEAN_CR);
}

/* ------------------------------------------------------------------------- interruptibility */

/*
 * Which NMIs are masked, and debug exceptions that are pending, are known here alone: see svm_run.c and svm_step.c. The
 * CPU does not tell shadows by STI and by MOV SS apart.
 */
static void fetch_intr(struct svm_vcpu *svm)
{
    svm->v.interrupt_shadow = svm->vmcb->interrupt_state & INTERRUPT_SHADOW;
    svm->v.shadow_by_mov_ss = false;
}

static void sync_intr(struct svm_vcpu *svm)
{
    svm->vmcb->interrupt_state = svm->v.interrupt_shadow ? INTERRUPT_SHADOW : 0;
    vmcb_intercept(svm->vmcb, INTERCEPT_IRET, svm->v.nmi_masked);
}

/* --------------------------------------------------------------------------------- controls */

static void set_exceptions(struct vmcb *vmcb, uint32_t exceptions)
{
    if (vmcb->exceptions == exceptions)
        return;
    vmcb->exceptions = exceptions;
    vmcb_touch(vmcb, CLEAN_INTERCEPTS);
}

static void set_dr_accesses(struct vmcb *vmcb, uint16_t registers)
{
    if (vmcb->dr_reads == registers)
        return;
    vmcb->dr_reads = vmcb->dr_writes = registers;
    vmcb_touch(vmcb, CLEAN_INTERCEPTS);
}

/*
 * CPUs without next-RIP save may take INT3 and INTO for INT n, whose exit does not tell which it was (QEMU 7.2 does):
 * there both kinds of exit are asked for.
 */
bool svm_wants_software_ints(const struct svm_vcpu *svm)
{
    const uint32_t exceptions = BIT32(VEC_BP) | BIT32(VEC_OF);

    return svm->v.controls.exception_bitmap & exceptions && !svm_has(CPUID_SVM_EDX_NRIPS);
}

/*
 * An interrupt window is a virtual interrupt that exits instead of being delivered. There is no such thing as a
 * threshold for CR8: while one is asked for, writes of CR8 exit.
 */
static void sync_controls(struct svm_vcpu *svm)
{
    const struct vcpu_controls *c = &svm->v.controls;
    struct vmcb *vmcb = svm->vmcb;

    /* machine checks are always the host's */
    set_exceptions(vmcb, c->exception_bitmap | BIT32(VEC_MC));
    vmcb_intercept(vmcb, INTERCEPT_ICEBP, c->exception_bitmap & BIT32(VEC_DB));
    vmcb_intercept(vmcb, INTERCEPT_SWINT, svm_wants_software_ints(svm));
    vmcb_intercept(vmcb, INTERCEPT_RDTSC, c->rdtsc_exit);
    vmcb_intercept(vmcb, INTERCEPT_RDTSCP, c->rdtsc_exit);
    vmcb_intercept(vmcb, INTERCEPT_HLT, c->hlt_exit);
    svm->window = c->interrupt_window ? V_IRQ | V_IGN_TPR | V_INTR_PRIO : 0;
    vmcb_intercept(vmcb, INTERCEPT_VINTR, c->interrupt_window); /* else a virtual interrupt is one that is delivered */
    svm->tpr = SVM_TPR_UNKNOWN;
    svm->wants_nmi_window = c->nmi_window;
    set_dr_accesses(vmcb, svm->v.dr_loaded ? 0 : 0xffff);
    set_bit16(vmcb, &vmcb->cr_writes, 8, c->tpr_threshold);
    svm_apic_sync_controls(svm);
}

static void sync_tsc(struct svm_vcpu *svm)
{
    svm->vmcb->tsc_offset = vcpu_tsc_offset(&svm->v);
    vmcb_touch(svm->vmcb, CLEAN_INTERCEPTS);
}

/* ------------------------------------------------------------------------ the two directions */

/* What plain exits need, without the tables' loops: the VMCB is memory, and a copy is soon made. */
#define PLAIN_GROUPS (VCPU_RIP | VCPU_RFLAGS | VCPU_CR0 | VCPU_CR3 | VCPU_CS | VCPU_INTR)

static inline void fetch_plain(struct svm_vcpu *svm, uint32_t groups)
{
    const struct vmcb *vmcb = svm->vmcb;

    if (groups & VCPU_RIP)
        svm->v.rip = vmcb->rip;
    if (groups & VCPU_RFLAGS)
        svm->v.rflags = vmcb->rflags;
    if (groups & VCPU_CR0)
        svm_fetch_cr0(svm);
    if (groups & VCPU_CR3)
        svm->v.cr3 = vmcb->cr3;
    if (groups & VCPU_CS)
        fetch_segment(svm, SEG_CS);
    if (groups & VCPU_INTR)
        fetch_intr(svm);
}

static __attribute__((noinline)) void fetch_others(struct svm_vcpu *svm, uint32_t groups)
{
    struct vcpu *v = &svm->v;
    uint32_t segs = (groups & VCPU_SEGS) >> 16;

    fetch_words(svm, groups);
    for (; segs; segs &= segs - 1)
        fetch_segment(svm, (unsigned)__builtin_ctz(segs));
    if (groups & VCPU_TABLES)
        fetch_tables(svm);
    if (groups & VCPU_CR4)
        fetch_cr4(svm);
    if (groups & VCPU_EFER)
        v->efer = (svm->vmcb->efer & ~EFER_SVME) | svm->hidden_efer;
    if (groups & VCPU_CR8)
        v->cr8 = vcpu_cr8_of_tpr(v);
    if (groups & VCPU_APIC)
        svm_apic_fetch(v);
}

void svm_fetch(struct vcpu *v, uint32_t groups)
{
    struct svm_vcpu *svm = to_svm(v);

    groups &= ~v->valid;
    fetch_plain(svm, groups);
    if (groups & ~PLAIN_GROUPS)
        fetch_others(svm, groups & ~PLAIN_GROUPS);
    v->valid |= groups;
}

/*
 * Bits of CR0 and CR4 that no rule of VMRUN's names but that CR4's have to be there (svm_audit.c), and that nothing
 * else of the VMCB follows from: a state that was entered last can be entered again when only these have changed.
 * CR0.WP has a rule with CR4.CET. Of both registers the CPU has other values than the guest only in bits that are none
 * of these.
 */
#define CR0_FREE (CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_AM | CR0_WP)
#define CR4_FREE                                                                                         \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | \
     CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)

static inline bool sync_free_cr0(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    uint64_t changed = (vmcb->cr0 | svm->hidden_cr0) ^ svm->v.cr0;

    if (changed & ~CR0_FREE || vmcb->cr4 & CR4_CET)
        return false;
    vmcb->cr0 ^= changed;
    vmcb_touch(vmcb, CLEAN_CR);
    return true;
}

static inline bool sync_free_cr4(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    uint64_t changed = (vmcb->cr4 & ~svm->hidden_cr4) ^ svm->v.cr4;

    if (changed & ~(CR4_FREE & svm_caps.cr4))
        return false;
    vmcb->cr4 ^= changed;
    vmcb_touch(vmcb, CLEAN_CR);
    return true;
}

__attribute__((noinline)) bool svm_sync_free(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;

    if (v->dirty & ~(VCPU_RIP | VCPU_CR0 | VCPU_CR4))
        return false;
    if (v->dirty & VCPU_CR0 && !sync_free_cr0(svm))
        return false;
    v->dirty &= ~VCPU_CR0;
    if (v->dirty & VCPU_CR4 && !sync_free_cr4(svm))
        return false;
    v->dirty &= ~VCPU_CR4;
    if (v->dirty)
        svm_sync(svm);
    return true;
}

/* What rules of VMRUN's look at: see svm_audit.c. */
#define PROVED_GROUPS (VCPU_CR0 | VCPU_CR3 | VCPU_CR4 | VCPU_EFER | VCPU_DR6 | VCPU_DR7 | VCPU_PAT | VCPU_CS)

static __attribute__((noinline)) void sync_others(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;
    uint32_t dirty = v->dirty, segs = (dirty & VCPU_SEGS) >> 16;

    svm->is_unproven |= dirty & PROVED_GROUPS;
    sync_words(svm, dirty);
    for (; segs; segs &= segs - 1)
        sync_segment(svm, (unsigned)__builtin_ctz(segs));
    if (dirty & (VCPU_SS | VCPU_CR0 | VCPU_RFLAGS))
        sync_cpl(svm);
    if (dirty & VCPU_TABLES)
        sync_tables(svm);
    if (dirty & (VCPU_CR0 | VCPU_EFER)) {
        vcpu_need(v, VCPU_CR0 | VCPU_EFER);
        sync_cr0(svm);
        sync_efer(svm);
    }
    if (dirty & VCPU_CR4)
        sync_cr4(svm);
    if (dirty & (VCPU_CR0 | VCPU_CR4 | VCPU_EFER))
        svm_code_check_mode(svm);
    if (dirty & VCPU_TSC)
        sync_tsc(svm);
    if (dirty & VCPU_INTR)
        sync_intr(svm);
    if (dirty & VCPU_CR8)
        vcpu_cr8_to_tpr(v, v->cr8);
    if (dirty & VCPU_APIC)
        svm_apic_sync(v);
    if (dirty & VCPU_EOI_EXIT)
        svm_apic_sync_eoi_exits(v);
    if (dirty & VCPU_CONTROLS)
        sync_controls(svm);
}

void svm_sync(struct svm_vcpu *svm)
{
    struct vcpu *v = &svm->v;

    if (v->dirty == VCPU_RIP)
        svm->vmcb->rip = v->rip;
    else
        sync_others(svm);
    v->dirty = 0;
}

/* ------------------------------------------------------------------------- on the exit path */

/*
 * Not so simple: a shadow that ends, a single-step trap, RF that ends, EIP that may wrap; or registers that the core
 * has changed already and the VMCB does not have yet.
 */
void svm_advance(struct vcpu *v, uint8_t length)
{
    struct vmcb *vmcb = to_svm(v)->vmcb;
    uint64_t next = vmcb->rip + length;

    if (v->dirty & (VCPU_RIP | VCPU_RFLAGS | VCPU_INTR) || vmcb->interrupt_state & INTERRUPT_SHADOW ||
        vmcb->rflags & (RFLAGS_TF | RFLAGS_RF) || (uint32_t)next < length) {
        vcpu_step_over(v, length);
        return;
    }
    vmcb->rip = next;
    v->valid &= ~VCPU_RIP;
}

bool svm_takes_interrupts(struct vcpu *v)
{
    const struct vmcb *vmcb = to_svm(v)->vmcb;

    if (v->valid & VCPU_INTERRUPT_GROUPS)
        return vcpu_takes_interrupts(v);
    return vmcb->rflags & RFLAGS_IF && !(vmcb->interrupt_state & INTERRUPT_SHADOW) &&
           !(v->pending_debug & VCPU_DEBUG_TRAPS);
}

uint32_t svm_mode(struct vcpu *v)
{
    const struct vmcb *vmcb = to_svm(v)->vmcb;

    return vcpu_mode(vmcb->cpl, vmcb_is_64bit_code(vmcb), vmcb->cr0, vmcb->rflags);
}

/* What can not be taken from the VMCB when the core has changed it. */
#define CONTEXT_GROUPS                                                                                     \
    (VCPU_RIP | VCPU_RFLAGS | VCPU_CS | VCPU_SS | VCPU_CR0 | VCPU_EFER | VCPU_DR7 | VCPU_INTR | VCPU_CR8 | \
     VCPU_SEG(SEG_DS) | VCPU_SEG(SEG_ES))

/* By way of the cache, from which the client's view may be taken always. */
static __attribute__((noinline)) void context_of_cache(struct vcpu *v, const struct hv_exit *exit,
                                                       struct hv_exit_context *to)
{
    vcpu_need(v, CONTEXT_GROUPS);
    vcpu_put_state(&to->vp, exit->instruction_length, v->cr8,
                   vcpu_execution_state(FIELD_GET(SEG_DPL, v->seg[SEG_SS].attributes), v->cr0, v->efer, v->dr7,
                                        v->event, v->interrupt_shadow));
    to->vp.cs = v->seg[SEG_CS];
    to->vp.rip = v->rip;
    to->vp.rflags = v->rflags;
    if (exit->reason == HV_EXIT_IO) {
        to->io.ds = v->seg[SEG_DS];
        to->io.es = v->seg[SEG_ES];
    }
}

void svm_context(struct vcpu *v, const struct hv_exit *exit, struct hv_exit_context *to)
{
    const struct svm_vcpu *svm = to_svm(v);
    const struct vmcb *vmcb = svm->vmcb;

    if (v->dirty & CONTEXT_GROUPS) {
        context_of_cache(v, exit, to);
        return;
    }
    vcpu_put_state(&to->vp, exit->instruction_length, vcpu_cr8_of_tpr(v),
                   vcpu_execution_state(vmcb->cpl, vmcb->cr0, vmcb->efer | svm->hidden_efer, vmcb->dr7, v->event,
                                        vmcb->interrupt_state & INTERRUPT_SHADOW));
    copy_segment(&to->vp.cs, &vmcb->cs);
    to->vp.rip = vmcb->rip;
    to->vp.rflags = vmcb->rflags;
    if (exit->reason == HV_EXIT_IO) {
        copy_segment(&to->io.ds, &vmcb->ds);
        copy_segment(&to->io.es, &vmcb->es);
    }
}

/* --------------------------------------------------------------------------------- raw access */

/* A field is the byte offset of an aligned word in the VMCB. */
enum hv_status svm_raw_get(struct vcpu *v, uint32_t field, uint64_t *value)
{
    if (field % sizeof(*value) || field >= sizeof(struct vmcb))
        return HV_E_INVALID;
    svm_sync(to_svm(v));
    memcpy(value, (const char *)to_svm(v)->vmcb + field, sizeof(*value));
    return HV_OK;
}

/* Of the state save area, of which all but the guest's own state is ignored by the CPU, or refused. */
enum hv_status svm_raw_set(struct vcpu *v, uint32_t field, uint64_t value)
{
    struct vmcb *vmcb = to_svm(v)->vmcb;

    if (field % sizeof(value) || field < offsetof(struct vmcb, es) || field >= sizeof(*vmcb))
        return HV_E_INVALID;
    svm_sync(to_svm(v));
    memcpy((char *)vmcb + field, &value, sizeof(value));
    vmcb_touch(vmcb, CLEAN_ALL);
    to_svm(v)->is_unproven = true;
    svm_code_check_mode(to_svm(v));
    v->valid &= VCPU_STICKY;
    return HV_OK;
}
