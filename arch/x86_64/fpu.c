/* SPDX-License-Identifier: MIT */
/*
 * The guest's extended state (x87, SSE, AVX, AVX-512) in the CPU's registers: loaded once for a run, not for each
 * entry. The library itself uses none of it, and the host's state is back before a thread of the host's can run.
 */
#include "fpu.h"
#include <arch/bits/cr.h>
#include <arch/cpu.h>
#include <hv/base/assert.h>
#include <hv/base/memory.h>

uint64_t fpu_cr4_bits(void)
{
    return CR4_OSFXSR | (cpu_facts()->xcr0_allowed ? CR4_OSXSAVE : 0);
}

static void save(void *image, uint64_t mask)
{
    if (mask)
        cpu_xsave(image, mask);
    else
        cpu_fxsave(image);
}

static void restore(const void *image, uint64_t mask)
{
    if (mask)
        cpu_xrstor(image, mask);
    else
        cpu_fxrstor(image);
}

static void set_xcr0(uint64_t *current, uint64_t value)
{
    if (*current != value)
        cpu_write_xcr0(*current = value);
}

/*
 * The host's image holds the components that both its XCR0 and a guest's can have: what the guest can not touch stays
 * in the registers. All of the guest's components are moved, whatever its XCR0 says: a component that it switched off
 * keeps its contents.
 */
void fpu_enter(struct vcpu *v)
{
    uint64_t mask = cpu_facts()->xcr0_allowed, xcr0;

    v->host_cr0_ts = cpu_read_cr0() & CR0_TS;
    if (v->host_cr0_ts)
        cpu_clear_ts();
    if (mask) {
        v->host_xcr0 = xcr0 = cpu_read_xcr0();
        save(v->host_xsave, mask & xcr0);
        set_xcr0(&xcr0, mask);
        restore(v->xsave, mask);
        set_xcr0(&xcr0, v->xcr0);
    } else {
        save(v->host_xsave, 0);
        restore(v->xsave, 0);
    }
}

/*
 * Asked of the CPU rather than remembered: there is one (QEMU 7.2 with SVM) that lets guests execute XSETBV without an
 * exit. What is not to be in XCR0 is then there until the run ends.
 */
uint64_t vcpu_read_xcr0(struct vcpu *v)
{
    if (v->loaded && cpu_facts()->xcr0_allowed)
        v->xcr0 = cpu_read_xcr0() & cpu_facts()->xcr0_allowed;
    return v->xcr0;
}

void fpu_leave(struct vcpu *v)
{
    uint64_t mask = cpu_facts()->xcr0_allowed, xcr0;

    if (mask) {
        xcr0 = cpu_read_xcr0();
        v->xcr0 = xcr0 & mask;
        set_xcr0(&xcr0, mask);
        save(v->xsave, mask);
        /* what the host's XCR0 leaves out is not in its image: it is initialised, no guest's data stays */
        restore(v->host_xsave, mask);
        set_xcr0(&xcr0, v->host_xcr0);
    } else {
        save(v->xsave, 0);
        restore(v->host_xsave, 0);
    }
    if (v->host_cr0_ts)
        cpu_write_cr0(cpu_read_cr0() | CR0_TS);
}

/* They are in the CPU's registers, also when the guest's XCR0 leaves them out. */
void vcpu_read_xmm(const struct vcpu *v, uint64_t xmm[VCPU_XMM_WORDS])
{
    HV_ASSERT(v->loaded);
    cpu_read_xmm(xmm);
}

void vcpu_write_xcr0(struct vcpu *v, uint64_t value)
{
    v->xcr0 = value;
    if (v->loaded)
        cpu_write_xcr0(value);
}

/* ---------------------------------------------------------------------------------- memory */

/* XSAVE wants 64-byte alignment and hv_host_alloc gives 16: the pointer is kept beside the aligned one. */
static size_t area_size(void)
{
    return cpu_facts()->xsave_size + 64u;
}

static void *align(void *p)
{
    return (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
}

bool fpu_alloc(struct vcpu *v)
{
    v->xsave_memory = hv_host_alloc(area_size());
    v->host_xsave_memory = hv_host_alloc(area_size());
    if (!v->xsave_memory || !v->host_xsave_memory) {
        fpu_free(v);
        return false;
    }
    v->xsave = align(v->xsave_memory);
    v->host_xsave = align(v->host_xsave_memory);
    return true;
}

void fpu_free(struct vcpu *v)
{
    if (v->xsave_memory)
        hv_host_free(v->xsave_memory, area_size());
    if (v->host_xsave_memory)
        hv_host_free(v->host_xsave_memory, area_size());
    v->xsave_memory = v->host_xsave_memory = NULL;
}

#define FXSAVE_FCW        0
#define FXSAVE_MXCSR      24
#define FXSAVE_MXCSR_MASK 28
#define FCW_RESET         0x0040u /* SDM 3A table 10-1: after power-up, without FNINIT */
#define MXCSR_RESET       0x1f80u

/*
 * As after power-up. XSTATE_BV says that x87 state is there (its FCW is not XRSTOR's initial one); MXCSR comes from
 * the image anyway.
 */
void fpu_reset(struct vcpu *v)
{
    char *image = v->xsave;
    const uint16_t fcw = FCW_RESET;
    const uint32_t mxcsr = MXCSR_RESET;
    const uint64_t xstate_bv = XCR0_X87;

    memset(image, 0, cpu_facts()->xsave_size);
    memcpy(image + FXSAVE_FCW, &fcw, sizeof(fcw));
    memcpy(image + FXSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
    memcpy(image + 512, &xstate_bv, sizeof(xstate_bv));
    v->xcr0 = XCR0_X87;
    v->xss = 0;
}
