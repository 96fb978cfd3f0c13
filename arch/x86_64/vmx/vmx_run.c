/* SPDX-License-Identifier: MIT */
/* One entry into the guest, and the brackets around entries: what VM exits do not restore of the host. */
#include "../vcpu_parts.h"
#include "vmx.h"
#include "vmx_audit.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>
#include <arch/vmx_insn.h>

/* ------------------------------------------------------------------------- host state, load */

static void write_if_changed(uint32_t field, uint64_t *known, uint64_t value)
{
    if (*known != value)
        vmx_write(field, *known = value);
}

static void load_host_state(struct vmx_vcpu *vmx)
{
    write_if_changed(VMCS_HOST_CR0, &vmx->host.cr0, cpu_read_cr0());
    write_if_changed(VMCS_HOST_CR3, &vmx->host.cr3, cpu_read_cr3());
    write_if_changed(VMCS_HOST_CR4, &vmx->host.cr4, cpu_read_cr4());
    write_if_changed(VMCS_HOST_FS_BASE, &vmx->host.fs_base, cpu_read_msr(MSR_IA32_FS_BASE));
    write_if_changed(VMCS_HOST_GS_BASE, &vmx->host.gs_base, cpu_read_msr(MSR_IA32_GS_BASE));
}

/*
 * VM exits load null into ES, DS, FS, GS and LDTR, and clear IA32_DEBUGCTL (SDM 3C 28.5). Threads of the host may
 * differ in these. The limits of TR and of the tables are a CPU's own: see vmcs.c.
 */
static void note_lost_state(struct vmx_vcpu *vmx)
{
    vmx->lost.es = cpu_read_es();
    vmx->lost.ds = cpu_read_ds();
    vmx->lost.fs = cpu_read_fs();
    vmx->lost.gs = cpu_read_gs();
    vmx->lost.ldtr = cpu_read_ldtr();
    vmx->lost.selectors = vmx->lost.es | vmx->lost.ds | vmx->lost.fs | vmx->lost.gs | vmx->lost.ldtr;
    vmx->lost.debugctl = cpu_read_msr(MSR_IA32_DEBUGCTL);
}

void vmx_load(struct vcpu *v)
{
    load_host_state(to_vmx(v));
    note_lost_state(to_vmx(v));
}

/* -------------------------------------------------------------------------- host state, put */

/* Loading FS or GS clears its base in 64-bit mode. */
static void restore_selectors(const struct vmx_vcpu *vmx)
{
    cpu_load_es(vmx->lost.es);
    cpu_load_ds(vmx->lost.ds);
    if (vmx->lost.fs) {
        cpu_load_fs(vmx->lost.fs);
        cpu_write_msr(MSR_IA32_FS_BASE, vmx->host.fs_base);
    }
    if (vmx->lost.gs) {
        uint64_t flags = hv_host_irq_save(); /* the host's handlers may need its GS base */

        cpu_load_gs(vmx->lost.gs);
        cpu_write_msr(MSR_IA32_GS_BASE, vmx->host.gs_base);
        hv_host_irq_restore(flags);
    }
    if (vmx->lost.ldtr)
        cpu_load_ldtr(vmx->lost.ldtr);
}

/* LTR wants an available TSS: the descriptor of the running one is marked busy. */
static void reload_tr(void)
{
    uint16_t tr = cpu_read_tr();
    uint64_t *descriptor = (uint64_t *)(cpu_read_gdtr().base + (tr & ~7u));

    *descriptor &= ~(1ull << 41);
    cpu_load_tr(tr);
}

static void restore_tables(const struct vmx_vcpu *vmx)
{
    struct cpu_table_register t;

    if (vmx->lost.gdt_limit != 0xffff) {
        t = cpu_read_gdtr();
        t.limit = vmx->lost.gdt_limit;
        cpu_write_gdtr(t);
    }
    if (vmx->lost.idt_limit != 0xffff) {
        t = cpu_read_idtr();
        t.limit = vmx->lost.idt_limit;
        cpu_write_idtr(t);
    }
}

void vmx_put(struct vcpu *v)
{
    struct vmx_vcpu *vmx = to_vmx(v);

    restore_tables(vmx);
    if (vmx->lost.selectors)
        restore_selectors(vmx);
    if (vmx->lost.tr)
        reload_tr();
    if (vmx->lost.debugctl)
        cpu_write_msr(MSR_IA32_DEBUGCTL, vmx->lost.debugctl);
}

/* -------------------------------------------------------------------------------- injection */

static __attribute__((noinline)) void inject_other(struct vcpu *v, uint64_t event, uint64_t type, uint64_t info)
{
    if (vcpu_pushes_error_code(v, type, FIELD_GET(INTR_INFO_VECTOR, info))) {
        info |= INTR_INFO_ERROR_VALID;
        vmx_write(VMCS_ENTRY_ERROR_CODE, FIELD_GET(HV_PENDING_INT_ERROR_CODE, event));
    }
    if (type >= HV_INT_TYPE_SOFTWARE)
        vmx_write(VMCS_ENTRY_INSTR_LENGTH, FIELD_GET(HV_PENDING_INT_LENGTH, event));
    vmx_write(VMCS_ENTRY_INTR_INFO, info);
}

/* The event word of struct vcpu is HV_REG_PENDING_INTERRUPTION's; VMX has the same parts in other places. */
static inline void inject(struct vcpu *v, uint64_t event)
{
    uint64_t type = FIELD_GET(HV_PENDING_INT_TYPE, event), vector = FIELD_GET(HV_PENDING_INT_VECTOR, event) & 0xff;
    uint64_t info = INTR_INFO_VALID | FIELD_PUT(INTR_INFO_TYPE, type) | vector;

    if (type == HV_INT_TYPE_EXTERNAL)
        vmx_write(VMCS_ENTRY_INTR_INFO, info);
    else
        inject_other(v, event, type, info);
}

/* -------------------------------------------------------------------------------- the deadline */

/*
 * The timer counts down at the TSC's rate divided by 2^n; it is an upper bound, so a long deadline just exits early
 * and often. What is written stays in the VMCS, and each entry loads it anew: for entries without a deadline it holds
 * the heartbeat.
 */
static __attribute__((noinline)) void arm_timer(struct vmx_vcpu *vmx)
{
    uint64_t deadline = vmx->v.deadline_tsc, ticks = vmx_timer.heartbeat, now;

    vmx->v.sets_timer = deadline;
    if (!vmx->v.has_deadline)
        return;
    if (deadline) {
        now = cpu_tsc();
        ticks = deadline > now ? HV_MIN(((deadline - now) >> vmx_timer.shift) + 1, ticks) : 0;
    }
    vmx_write(VMCS_GUEST_PREEMPTION_TIMER, ticks);
}

/* -------------------------------------------------------------------------------- one entry */

/* What most entries go without. */
static __attribute__((noinline)) void prepare_any(struct vmx_vcpu *vmx)
{
    struct vcpu *v = &vmx->v;

    if (v->dirty)
        vmx_sync(vmx);
    if (v->event & HV_PENDING_INT_VALID)
        inject(v, v->event);
    if (v->deadline_tsc || v->sets_timer)
        arm_timer(vmx);
    if (v->flush_guest || ept_has_changed(v))
        ept_flush(vmx);
}

static inline bool is_special(const struct vcpu *v)
{
    return v->unsettled | v->event | v->deadline_tsc || ept_has_changed(v);
}

/* Mostly a client has stepped over an instruction, and that is all. */
static __attribute__((noinline)) void prepare(struct vmx_vcpu *vmx)
{
    struct vcpu *v = &vmx->v;

    if (v->unsettled == VCPU_RIP) {
        vmx_write(VMCS_GUEST_RIP, v->rip);
        v->unsettled = 0;
        if (!is_special(v))
            return;
    }
    prepare_any(vmx);
}

static inline void take_exit(struct vmx_vcpu *vmx, uint64_t reason, struct hv_exit *exit)
{
    vmx->v.valid &= VCPU_STICKY;
    vmx->v.event = 0;
    vmx_exit_describe(vmx, reason, exit);
}

/* A refused entry, or a reason with more in it than the number. */
static __attribute__((noinline)) void take_odd_exit(struct vmx_vcpu *vmx, uint64_t reason, struct hv_exit *exit)
{
    if (reason == VMX_VMFAIL || reason & EXIT_REASON_ENTRY_FAILED)
        vmx_exit_entry_failed(vmx, reason == VMX_VMFAIL, exit);
    else
        take_exit(vmx, reason, exit);
}

static inline void enter(struct vmx_vcpu *vmx, struct hv_exit *exit)
{
    uint64_t reason;

    if (is_special(&vmx->v))
        prepare(vmx);
    reason = vmx_run_guest(vmx);
    if (__builtin_expect(reason < EXIT_REASON_COUNT, true))
        take_exit(vmx, reason, exit);
    else
        take_odd_exit(vmx, reason, exit);
}

/*
 * So many exits may follow each other before interrupts are let in. Those that wait end the next entry, and are let in
 * by that; but Bochs 2.7 keeps them from a guest that is entered with RFLAGS.IF clear.
 */
#define EXITS_IN_A_ROW 1024u

unsigned vmx_enter(struct vcpu *v, struct hv_exit *exit, const struct vcpu_exits *exits, struct hv_vp *owner)
{
    struct vmx_vcpu *vmx = to_vmx(v);
    unsigned next;

    vmx->exits_left = EXITS_IN_A_ROW;
    do {
        enter(vmx, exit);
        vcpu_count_exit(v, exit);
        next = exits->by_reason[exit->reason](owner, exit);
        if (next > VCPU_SKIP)
            return next;
        if (next == VCPU_SKIP)
            vmx_advance(v, exit->instruction_length);
        if (vcpu_is_stopped(v)) {
            next = exits->stopped(owner, exit);
            if (next != VCPU_ENTER)
                return next;
        }
    } while (--vmx->exits_left);
    return VCPU_LEAVE;
}

/* Without the rules about the host: its state is written when the VP is loaded. */
bool vmx_audit_next(struct vcpu *v, struct hv_audit_finding *out)
{
    struct vmx_vcpu *vmx = to_vmx(v);
    bool injects = v->event & HV_PENDING_INT_VALID, broken;

    vmx_sync(vmx);
    if (injects)
        inject(v, v->event);
    broken = vmx_exit_audit(vmx, VMX_AUDIT_CONTROLS | VMX_AUDIT_GUEST | VMX_AUDIT_MSRS, out);
    if (injects)
        vmx_write(VMCS_ENTRY_INTR_INFO, 0);
    return broken;
}
