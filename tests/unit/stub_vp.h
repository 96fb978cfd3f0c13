/* SPDX-License-Identifier: MIT */
/*
 * One VP without hardware, for the tests of what virt/ does with registers and guest memory: the functions of arch/ and
 * of virt/vp.c that these parts call, and a partition with RAM. Defines functions: to be included by one file of a test
 * program.
 */
#ifndef STUB_VP_H
#define STUB_VP_H

#include "arch/x86_64/vcpu_code.h"
#include "npt_formats.h"
#include "unit.h"
#include "virt/exit.h"
#include "virt/walk.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <stdlib.h>
#include <string.h>

#define STUB_RAM_SIZE (16ull << 20)
#define STUB_RAM_PA   0x140000000ull
#define STUB_TSC      1000000ull

static struct cpu_facts stub_facts;
static struct hv_partition stub_partition;
static struct hv_vp stub_vp;
static struct vcpu stub_vcpu;
static struct vcpu stub_hw; /* what the hardware holds of the groups that are not valid in stub_vcpu */
static uint32_t stub_fetched;
static bool stub_has_1g;
static uint8_t *stub_ram;
static unsigned stub_flushes;
static void (*stub_on_flush)(void);           /* somebody who found something before, and still looks at it */
static const struct npt_leaf *stub_late_mark; /* of somebody whose walk ends with the next flush */

/* --------------------------------------------------------------------------------- arch/ */

static const struct {
    uint32_t group;
    size_t offset, size;
} stub_groups[] = {
#define STUB_GROUP(group, field)                                   \
    {                                                              \
        group, offsetof(struct vcpu, field), sizeof(stub_hw.field) \
    }
    STUB_GROUP(VCPU_RIP, rip),
    STUB_GROUP(VCPU_RSP, gpr[GPR_RSP]),
    STUB_GROUP(VCPU_RFLAGS, rflags),
    STUB_GROUP(VCPU_CR0, cr0),
    STUB_GROUP(VCPU_CR3, cr3),
    STUB_GROUP(VCPU_CR4, cr4),
    STUB_GROUP(VCPU_EFER, efer),
    STUB_GROUP(VCPU_PDPTE, pdpte),
    STUB_GROUP(VCPU_TABLES, idtr),
    STUB_GROUP(VCPU_TABLES, gdtr),
    STUB_GROUP(VCPU_DR7, dr7),
    STUB_GROUP(VCPU_SYSENTER, sysenter_cs),
    STUB_GROUP(VCPU_SYSENTER, sysenter_esp),
    STUB_GROUP(VCPU_SYSENTER, sysenter_eip),
    STUB_GROUP(VCPU_PAT, pat),
    STUB_GROUP(VCPU_INTR, pending_debug),
    STUB_GROUP(VCPU_INTR, interrupt_shadow),
    STUB_GROUP(VCPU_INTR, shadow_by_mov_ss),
    STUB_GROUP(VCPU_INTR, nmi_masked),
    STUB_GROUP(VCPU_CR8, cr8),
    STUB_GROUP(VCPU_TSC, tsc_offset),
    STUB_GROUP(VCPU_DR6, dr6),
    STUB_GROUP(VCPU_MSRS, msr),
    STUB_GROUP(VCPU_SEG(0), seg[0]),
    STUB_GROUP(VCPU_SEG(1), seg[1]),
    STUB_GROUP(VCPU_SEG(2), seg[2]),
    STUB_GROUP(VCPU_SEG(3), seg[3]),
    STUB_GROUP(VCPU_SEG(4), seg[4]),
    STUB_GROUP(VCPU_SEG(5), seg[5]),
    STUB_GROUP(VCPU_SEG(6), seg[6]),
    STUB_GROUP(VCPU_SEG(7), seg[7]),
};

static void stub_fetch(struct vcpu *v, uint32_t groups)
{
    fake_require(fake_preempt_depth() > 0, "fetch: not pinned");
    fake_require(!(groups & v->valid), "fetch: a group that is valid");
    for (size_t i = 0; i < ARRAY_COUNT(stub_groups); i++)
        if (groups & stub_groups[i].group)
            memcpy((char *)v + stub_groups[i].offset, (char *)&stub_hw + stub_groups[i].offset, stub_groups[i].size);
    v->valid |= groups;
    stub_fetched |= groups;
}

/* Known code, by registers that the backends have in their control structures. */
static uint64_t stub_mode(const struct vcpu *v)
{
    return (v->cr0 & VCPU_CODE_CR0) | (v->cr4 & VCPU_CODE_CR4) | (v->efer & VCPU_CODE_EFER);
}

static void stub_learn_code(struct vcpu *v, const struct vcpu_code *code, uint64_t offset)
{
    struct vcpu_code_page *c;

    if (!code->page) {
        vcpu_code_forget(v);
        return;
    }
    c = vcpu_code_page_of(v, v->rip + v->seg[SEG_CS].base);
    c->rip = v->rip - offset;
    c->cr3 = v->cr3;
    c->cs = v->seg[SEG_CS].attributes;
    c->cs_base = v->seg[SEG_CS].base;
    c->mode = stub_mode(v);
    vcpu_code_learn(v, c, code);
}

static const uint8_t *stub_code(struct vcpu *v)
{
    struct vcpu_code_page *c;

    vcpu_need(v, VCPU_CODE_GROUPS);
    c = v->code.last = vcpu_code_page_of(v, v->rip + v->seg[SEG_CS].base);
    return stub_mode(v) == c->mode && v->seg[SEG_CS].base == c->cs_base &&
                   vcpu_code_is_in(v, c, v->rip, v->cr3, v->seg[SEG_CS].attributes)
               ? c->page + (v->rip - c->rip)
               : NULL;
}

static struct hv_backend stub_backend = {
    .name = "stub", .fetch = stub_fetch, .learn_code = stub_learn_code, .code = stub_code};

const struct hv_backend *backend(void)
{
    return &stub_backend;
}

const struct cpu_facts *cpu_facts(void)
{
    return &stub_facts;
}

uint64_t cpu_tsc(void)
{
    return STUB_TSC;
}

uint64_t tsc_now(void)
{
    fake_require(fake_preempt_depth() > 0 || !fake_irqs_on(), "tsc_now: not pinned");
    return STUB_TSC;
}

uint64_t vcpu_guest_tsc(const struct vcpu *v)
{
    fake_require(fake_preempt_depth() > 0, "vcpu_guest_tsc: not pinned");
    return STUB_TSC + v->tsc_offset;
}

/* Leaf 0xD: true sizes and offsets of silicon for AVX and AVX-512; PKRU and TILECFG as such a CPU would lay them out.
 */
static const struct {
    uint32_t size, offset, ecx;
} stub_components[] = {
    [2] = {256, 576, 0},   [5] = {64, 1088, 0}, [6] = {512, 1152, 0},
    [7] = {1024, 1664, 0}, [9] = {8, 2688, 0},  [17] = {64, 2752, CPUID_D_N_ECX_ALIGN64},
};

void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    *out = (struct hv_cpuid_output){0};
    if (leaf == CPUID_LEAF_XSAVE && subleaf < ARRAY_COUNT(stub_components)) {
        out->eax = stub_components[subleaf].size;
        out->ebx = stub_components[subleaf].offset;
        out->ecx = stub_components[subleaf].ecx;
    }
    if (leaf == CPUID_LEAF_EXT1)
        out->edx = stub_has_1g ? CPUID_EXT1_EDX_PAGE1GB : 0;
}

uint64_t vcpu_read_xcr0(struct vcpu *v)
{
    return v->xcr0;
}

void vcpu_write_xcr0(struct vcpu *v, uint64_t value)
{
    v->xcr0 = value;
}

/* A test that sets `loaded` sees by it whether the CPU was asked for what it has. */
void vcpu_take_off(struct vcpu *v)
{
    fake_require_thread_context("vcpu_take_off");
    fake_require(stub_vp.shared.owner == 1, "vcpu_take_off: not claimed");
    v->loaded = false;
}

/* --------------------------------------------------------------------------------- virt/ */

struct vcpu *vp_pin(struct hv_vp *vp)
{
    fake_require(vp->shared.owner == 1, "vp_pin: not claimed");
    hv_host_preempt_disable();
    return vp->vcpu;
}

void vp_unpin(struct hv_vp *vp)
{
    (void)vp;
    hv_host_preempt_enable();
}

void vpci_follow(struct hv_vp *vp)
{
    (void)vp;
    fake_require(false, "vpci_follow: no devices");
}

void partition_flush(struct hv_partition *p)
{
    fake_require(p->mutex.state != 0, "partition_flush: without the mutex");
    fake_require(stub_vp.shared.walking == 0, "partition_flush: inside a walk");
    stub_flushes++;
    if (stub_on_flush)
        stub_on_flush();
    if (stub_late_mark)
        npt_mark_dirty(&p->npt, stub_late_mark);
    stub_late_mark = NULL;
}

static struct {
    unsigned skips, tprs;
    int vector;         /* of the last exception, or -1 */
    int64_t error_code; /* or -1 */
} stub_exit;

void exit_skip_instruction(struct hv_vp *vp, const struct hv_exit *exit)
{
    (void)vp;
    (void)exit;
    stub_exit.skips++;
}

/* As virt/run.c has it done. */
static inline enum exit_outcome skipped(enum exit_outcome outcome)
{
    if (outcome != EXIT_SKIP)
        return outcome;
    stub_exit.skips++;
    return EXIT_HANDLED;
}

void exit_retire_instruction(struct hv_vp *vp)
{
    (void)vp;
    stub_exit.skips++;
}

enum exit_outcome exit_tpr(struct hv_vp *vp, struct hv_exit *exit)
{
    (void)vp;
    (void)exit;
    stub_exit.tprs++;
    return EXIT_HANDLED;
}

void exit_inject(struct hv_vp *vp, uint8_t vector)
{
    (void)vp;
    stub_exit.vector = vector;
    stub_exit.error_code = -1;
}

void exit_inject_error(struct hv_vp *vp, uint8_t vector, uint32_t error_code)
{
    (void)vp;
    stub_exit.vector = vector;
    stub_exit.error_code = error_code;
}

/* ------------------------------------------------------------------------------- fixture */

#define STUB_XSAVE_SIZE 2816u

static const struct cpu_facts stub_default_facts = {
    .physical_bits = 46,
    .linear_bits = 48,
    .xcr0_allowed = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU | XCR0_TILECFG,
    .xsave_size = STUB_XSAVE_SIZE,
    .tsc_hz = 1000000000,
    .cr4_allowed = BITS64(12, 0) | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP,
    .efer_allowed = EFER_SCE | EFER_LME | EFER_NXE,
    .guest_physical_limit = 1ull << 46,
};

/* A VP in real mode, with all groups in its cache, RAM from address 0 on, and an empty FXSAVE image with the reset
 * values. */
static int stub_setup(void **state)
{
    unit_setup(state);
    stub_facts = stub_default_facts;
    stub_has_1g = stub_backend.has_pdptes = true;
    stub_fetched = stub_flushes = 0;
    stub_on_flush = NULL;
    stub_hw = (struct vcpu){0};
    stub_exit.skips = stub_exit.tprs = 0;
    stub_exit.vector = -1;
    stub_vcpu = (struct vcpu){.valid = VCPU_ALL, .rflags = RFLAGS_FIXED, .cr0 = CR0_ET, .npt = &stub_partition.npt};
    stub_vcpu.npt_generation = &stub_partition.npt_generation;
    vcpu_code_forget(&stub_vcpu);
    stub_vcpu.xsave = aligned_alloc(64, STUB_XSAVE_SIZE);
    memset(stub_vcpu.xsave, 0, STUB_XSAVE_SIZE);
    memcpy((char *)stub_vcpu.xsave + 24, &(uint32_t){0x1f80}, 4);
    stub_partition = (struct hv_partition){.is_set_up = true, .properties.physical_address_width = 46};
    stub_vp = (struct hv_vp){.partition = &stub_partition, .index = 5, .vcpu = &stub_vcpu};
    assert_int_equal(npt_init(&stub_partition.npt, &format_ept), HV_OK);
    stub_ram = fake_ram_alloc(STUB_RAM_SIZE, STUB_RAM_PA);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 0, STUB_RAM_SIZE, NPT_RIGHTS), HV_OK);
    return 0;
}

static int stub_teardown(void **state)
{
    fake_require(stub_vp.shared.walking == 0, "a walk without an end");
    fake_require(stub_vp.shared.owner == 0, "a claim without an end");
    npt_destroy(&stub_partition.npt);
    fake_ram_free(stub_ram);
    free(stub_vcpu.xsave);
    return unit_teardown(state);
}

#define STUB_TEST(fn) cmocka_unit_test_setup_teardown(fn, stub_setup, stub_teardown)

#endif
