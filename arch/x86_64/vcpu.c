/* SPDX-License-Identifier: MIT */
/* A vcpu's life, its start state, and the switch between its registers and the host's. */
#include "fpu.h"
#include "resident.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/cpu.h>
#include <hv/base/memory.h>

/* ------------------------------------------------------------------------- life and start state */

static const uint32_t no_requests;
static const uint64_t nothing_due;

struct vcpu *vcpu_create(struct npt *npt, const volatile uint64_t *npt_generation)
{
    struct vcpu *v = backend()->vcpu_create(npt);

    if (!v)
        return NULL;
    if (!fpu_alloc(v)) {
        backend()->vcpu_destroy(v);
        return NULL;
    }
    v->npt_generation = npt_generation;
    v->requests = &no_requests;
    v->due = &nothing_due;
    v->last_cpu = HV_CPU_NONE;
    vcpu_reset(v);
    return v;
}

void vcpu_destroy(struct vcpu *v)
{
    vcpu_take_off(v);
    fpu_free(v);
    backend()->vcpu_destroy(v);
}

/* clang-format off */
/*
 * Where WHP differs from the manual's reset (SDM 3A table 10-1): CS has the base F0000, so that execution begins at
 * FFFF0.
 */
static const struct hv_segment reset_segments[SEG_COUNT] = {
    /*              base    limit   selector  attributes */
    [SEG_ES]   = {0,       0xffff, 0,        SEG_ATTR_REAL_DATA},
    [SEG_CS]   = {0xf0000, 0xffff, 0xf000,   SEG_ATTR_REAL_CODE},
    [SEG_SS]   = {0,       0xffff, 0,        SEG_ATTR_REAL_DATA},
    [SEG_DS]   = {0,       0xffff, 0,        SEG_ATTR_REAL_DATA},
    [SEG_FS]   = {0,       0xffff, 0,        SEG_ATTR_REAL_DATA},
    [SEG_GS]   = {0,       0xffff, 0,        SEG_ATTR_REAL_DATA},
    [SEG_LDTR] = {0,       0xffff, 0,        SEG_ATTR_LDT},
    [SEG_TR]   = {0,       0xffff, 0,        SEG_ATTR_TSS_BUSY},
};
/* clang-format on */

static void reset_control_registers(struct vcpu *v)
{
    v->cr0 = CR0_RESET;
    v->cr2 = v->cr3 = v->cr4 = v->cr8 = v->efer = 0;
    memset(v->pdpte, 0, sizeof(v->pdpte));
    memset(v->dr, 0, sizeof(v->dr));
    v->dr6 = DR6_RESET;
    v->dr7 = DR7_RESET;
    v->dr_wanted = false;
}

/* What reset and INIT have in common. */
static void start_over(struct vcpu *v)
{
    struct hv_cpuid_output leaf1;

    memset(v->gpr, 0, sizeof(v->gpr));
    cpu_cpuid(1, 0, &leaf1);
    v->gpr[GPR_RDX] = leaf1.eax; /* family, model, stepping */
    v->rip = 0xfff0;
    v->rflags = RFLAGS_FIXED;
    memcpy(v->seg, reset_segments, sizeof(v->seg));
    v->idtr = v->gdtr = (struct hv_table){.limit = 0xffff};
    reset_control_registers(v);
    v->pending_debug = 0;
    v->interrupt_shadow = v->shadow_by_mov_ss = v->nmi_masked = false;
    v->event = 0;
    v->flush_guest = true;
}

void vcpu_reset(struct vcpu *v)
{
    vcpu_take_off(v);
    start_over(v);
    v->sysenter_cs = v->sysenter_esp = v->sysenter_eip = 0;
    v->pat = PAT_RESET;
    memset(v->msr, 0, sizeof(v->msr));
    v->controls = (struct vcpu_controls){.hlt_exit = true};
    fpu_reset(v);
    vcpu_changed(v, VCPU_ALL);
}

/* Caches stay as they are, and so do the FPU and all MSRs but EFER. */
void vcpu_init(struct vcpu *v)
{
    uint64_t caching;

    vcpu_take_off(v);
    vcpu_need(v, VCPU_ALL);
    caching = v->cr0 & (CR0_CD | CR0_NW);
    start_over(v);
    v->cr0 = (CR0_RESET & ~(CR0_CD | CR0_NW)) | caching;
    vcpu_changed(v, VCPU_ALL);
}

/* ------------------------------------------------------------------------------------- MSRs */

_Static_assert(VCPU_MSR_TSC_AUX == VCPU_MSR_COUNT - 1, "the one that entries never switch is the last");

static const uint32_t msr_index[VCPU_MSR_COUNT] = {
    [VCPU_MSR_STAR] = MSR_IA32_STAR,       [VCPU_MSR_LSTAR] = MSR_IA32_LSTAR,
    [VCPU_MSR_CSTAR] = MSR_IA32_CSTAR,     [VCPU_MSR_SFMASK] = MSR_IA32_FMASK,
    [VCPU_MSR_TSC_AUX] = MSR_IA32_TSC_AUX, [VCPU_MSR_KERNEL_GS_BASE] = MSR_IA32_KERNEL_GS_BASE,
};

/* Is it there, and not switched by each entry? TSC_AUX is there only with RDTSCP. */
static inline bool is_switched(unsigned i)
{
    return i == VCPU_MSR_TSC_AUX ? cpu_facts()->has_rdtscp : !backend()->switches_msrs;
}

/* Writing an MSR is slow on silicon: only where the values differ. */
static inline void msr_enter_one(struct vcpu *v, unsigned i)
{
    v->host_msr[i] = cpu_read_msr(msr_index[i]);
    if (v->host_msr[i] != v->msr[i])
        cpu_write_msr(msr_index[i], v->msr[i]);
}

static inline void msr_leave_one(const struct vcpu *v, unsigned i)
{
    if (v->host_msr[i] != v->msr[i])
        cpu_write_msr(msr_index[i], v->host_msr[i]);
}

static void msr_enter(struct vcpu *v)
{
    if (cpu_facts()->has_rdtscp)
        msr_enter_one(v, VCPU_MSR_TSC_AUX);
    if (backend()->switches_msrs)
        return;
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < VCPU_MSR_TSC_AUX; i++)
        msr_enter_one(v, i);
}

/*
 * The guest changes KERNEL_GS_BASE by itself (SWAPGS); its writes of the others exit, so that their values are known.
 */
static void msr_leave(struct vcpu *v)
{
    if (cpu_facts()->has_rdtscp)
        msr_leave_one(v, VCPU_MSR_TSC_AUX);
    if (backend()->switches_msrs)
        return;
    v->msr[VCPU_MSR_KERNEL_GS_BASE] = cpu_read_msr(MSR_IA32_KERNEL_GS_BASE);
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < VCPU_MSR_TSC_AUX; i++)
        msr_leave_one(v, i);
}

uint64_t vcpu_read_msr(struct vcpu *v, enum vcpu_msr which)
{
    if (!is_switched(which))
        vcpu_need(v, VCPU_MSRS);
    else if (v->loaded && which == VCPU_MSR_KERNEL_GS_BASE)
        v->msr[which] = cpu_read_msr(msr_index[which]);
    return v->msr[which];
}

void vcpu_write_msr(struct vcpu *v, enum vcpu_msr which, uint64_t value)
{
    if (!is_switched(which)) {
        vcpu_need(v, VCPU_MSRS);
        vcpu_changed(v, VCPU_MSRS);
    } else if (v->loaded) {
        cpu_write_msr(msr_index[which], value);
    }
    v->msr[which] = value;
}

/* -------------------------------------------------------------------------- debug registers */

static void load_dr(const uint64_t dr[4])
{
    cpu_write_dr0(dr[0]);
    cpu_write_dr1(dr[1]);
    cpu_write_dr2(dr[2]);
    cpu_write_dr3(dr[3]);
}

static void store_dr(uint64_t dr[4])
{
    dr[0] = cpu_read_dr0();
    dr[1] = cpu_read_dr1();
    dr[2] = cpu_read_dr2();
    dr[3] = cpu_read_dr3();
}

/*
 * DR7 is off first, so that no breakpoint of one side fires on the other. The guest's DR7 is in its control
 * structure, and so is its DR6 on CPUs whose entries load it.
 */
void vcpu_use_debug_registers(struct vcpu *v)
{
    cpu_write_dr7(DR7_RESET);
    store_dr(v->host_dr);
    load_dr(v->dr);
    if (!backend()->loads_dr6) {
        v->host_dr6 = cpu_read_dr6();
        cpu_write_dr6(v->dr6);
    }
    v->dr_loaded = v->dr_wanted = true;
    vcpu_changed(v, VCPU_CONTROLS);
}

static void dr_enter(struct vcpu *v)
{
    v->host_dr7 = cpu_read_dr7();
    if (v->dr_wanted)
        vcpu_use_debug_registers(v);
}

static void dr_leave(struct vcpu *v)
{
    if (v->dr_loaded) {
        store_dr(v->dr);
        load_dr(v->host_dr);
        if (!backend()->loads_dr6) {
            if (!(v->dirty & VCPU_DR6)) /* else changed since the last exit, and no entry came to load it */
                v->dr6 = cpu_read_dr6();
            cpu_write_dr6(v->host_dr6);
        }
        v->dr_loaded = false; /* until the next switch: dr_wanted */
    }
    if (v->host_dr7 != DR7_RESET) /* what an exit leaves */
        cpu_write_dr7(v->host_dr7);
}

/* ------------------------------------------------------------------------------ both ways */

void vcpu_switch_in(struct vcpu *v)
{
    fpu_enter(v);
    msr_enter(v);
    dr_enter(v);
    backend()->load(v);
}

/* A guest's TSC never runs backwards, wherever the VP is next: tsc_arrive goes by tsc_left. */
void vcpu_switch_out(struct vcpu *v)
{
    backend()->put(v);
    dr_leave(v);
    msr_leave(v);
    fpu_leave(v);
    v->tsc_left = cpu_tsc() - v->cpu->tsc_difference;
}
