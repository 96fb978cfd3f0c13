/* SPDX-License-Identifier: MIT */
/*
 * A CPU whose CPUID a test can write, and VPs without hardware, for the tests of what virt/ tells clients and guests.
 * Defines functions: to be included by one file of a test program. stub_vp.h is its like for registers and memory.
 */
#ifndef STUB_POLICY_H
#define STUB_POLICY_H

#include "unit.h"
#include "virt/cpuid_policy.h"
#include "virt/exit.h"
#include "virt/partition.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <stdlib.h>
#include <string.h>

#define STUB_VPS 3u

static struct hv_platform stub_platform;
static struct cpu_facts stub_facts;
static struct hv_backend stub_backend;
static struct npt_format stub_format;
static uint64_t stub_tsc;
static unsigned stub_cpuids; /* executed */

static struct hv_partition stub_partition;
static struct hv_vp stub_vps[STUB_VPS];
static struct vcpu stub_vcpus[STUB_VPS];
static uint32_t stub_fetched;

static struct {
    unsigned skips;
    int vector;         /* of the last exception, or -1 */
    int64_t error_code; /* or -1 */
    int msr;            /* last one of vcpu_write_msr, or -1 */
} stub_exit;

/* --------------------------------------------------------------------------------- arch/ */

#define STUB_CPUIDS 64

static struct stub_cpuid {
    uint32_t leaf, subleaf;
    struct hv_cpuid_output out;
} stub_cpuid[STUB_CPUIDS];
static unsigned stub_cpuid_count;

static struct hv_cpuid_output *stub_leaf(uint32_t leaf, uint32_t subleaf)
{
    struct stub_cpuid *c = stub_cpuid;

    for (; c < stub_cpuid + stub_cpuid_count; c++)
        if (c->leaf == leaf && c->subleaf == subleaf)
            return &c->out;
    assert_true(stub_cpuid_count < STUB_CPUIDS);
    stub_cpuid_count++;
    *c = (struct stub_cpuid){leaf, subleaf, {0, 0, 0, 0}};
    return &c->out;
}

static void stub_set_leaf(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    *stub_leaf(leaf, subleaf) = (struct hv_cpuid_output){eax, ebx, ecx, edx};
}

/* What was not written: all ones, so that anything passed on unseen shows. */
void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    *out = (struct hv_cpuid_output){~0u, ~0u, ~0u, ~0u};
    stub_cpuids++;
    for (struct stub_cpuid *c = stub_cpuid; c < stub_cpuid + stub_cpuid_count; c++)
        if (c->leaf == leaf && c->subleaf == subleaf)
            *out = c->out;
}

const struct cpu_facts *cpu_facts(void)
{
    return &stub_facts;
}

uint64_t cpu_tsc(void)
{
    return stub_tsc;
}

uint64_t tsc_now(void)
{
    fake_require(fake_preempt_depth() > 0 || !fake_irqs_on(), "tsc_now: not pinned");
    return stub_tsc;
}

uint64_t vcpu_guest_tsc(const struct vcpu *v)
{
    fake_require(fake_preempt_depth() > 0, "vcpu_guest_tsc: not pinned");
    return stub_tsc + v->tsc_offset;
}

/* The hardware's values are those in the vcpu; fetching only says that they were wanted. */
static void stub_fetch(struct vcpu *v, uint32_t groups)
{
    fake_require(fake_preempt_depth() > 0, "fetch: not pinned");
    v->valid |= groups;
    stub_fetched |= groups;
}

static const struct npt_format *stub_npt_format(void)
{
    return &stub_format;
}

const struct hv_backend *backend(void)
{
    fake_require(stub_platform.present, "backend: there is none");
    return &stub_backend;
}

uint64_t vcpu_read_msr(struct vcpu *v, enum vcpu_msr which)
{
    return v->msr[which];
}

void vcpu_write_msr(struct vcpu *v, enum vcpu_msr which, uint64_t value)
{
    v->msr[which] = value;
    stub_exit.msr = (int)which;
}

/* --------------------------------------------------------------------------------- virt/ */

const struct hv_platform *hv_platform(void)
{
    return &stub_platform;
}

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

void exit_inject_error(struct hv_vp *vp, uint8_t vector, uint32_t error_code)
{
    (void)vp;
    stub_exit.vector = vector;
    stub_exit.error_code = error_code;
}

/* ------------------------------------------------------------------------------- fixture */

/* Sizes and places of silicon: AVX, the three parts of AVX-512, PKRU; and TILECFG, to be aligned. */
static void stub_set_xsave(void)
{
    stub_set_leaf(CPUID_LEAF_XSAVE, 0, 0x202e7, 2696, 2816, 0);
    stub_set_leaf(CPUID_LEAF_XSAVE, 1, 0x1f, 2696, 0x100, 0);
    stub_set_leaf(CPUID_LEAF_XSAVE, 2, 256, 576, 0, 0);
    stub_set_leaf(CPUID_LEAF_XSAVE, 5, 64, 1088, 0, 0);
    stub_set_leaf(CPUID_LEAF_XSAVE, 6, 512, 1152, CPUID_D_N_ECX_ALIGN64, 0);
    stub_set_leaf(CPUID_LEAF_XSAVE, 7, 1024, 1664, CPUID_D_N_ECX_ALIGN64, 0);
    stub_set_leaf(CPUID_LEAF_XSAVE, 9, 8, 2688, 0, 0);
}

/* L1 data, L1 instruction, L2, L3; 16 ids share L3, two L1 and L2; 8 cores */
static void stub_set_caches(void)
{
    stub_set_leaf(CPUID_LEAF_CACHE, 0, 0x1c004121, 0x01c0003f, 63, 0);
    stub_set_leaf(CPUID_LEAF_CACHE, 1, 0x1c004122, 0x01c0003f, 63, 0);
    stub_set_leaf(CPUID_LEAF_CACHE, 2, 0x1c004143, 0x01c0003f, 1023, 0);
    stub_set_leaf(CPUID_LEAF_CACHE, 3, 0x1c03c163, 0x02c0003f, 16383, 6);
    for (uint32_t end = 4; end < 8; end++)
        stub_set_leaf(CPUID_LEAF_CACHE, end, 0, 0, 0, 0);
    /* L1 data and L3, as another make tells of them */
    stub_set_leaf(CPUID_LEAF_EXT_CACHE, 0, 0x00004121, 0x01c0003f, 63, 0);
    stub_set_leaf(CPUID_LEAF_EXT_CACHE, 1, 0x0003c163, 0x03c0003f, 32767, 1);
    for (uint32_t end = 2; end < 8; end++)
        stub_set_leaf(CPUID_LEAF_EXT_CACHE, end, 0, 0, 0, 0);
}

/* A CPU of the future: every bit that is not about sizes is set. */
static void stub_set_cpu(void)
{
    stub_cpuid_count = stub_cpuids = 0;
    stub_set_leaf(CPUID_LEAF_MAX_BASIC, 0, 0x24, 0x756e6547, 0x6c65746e, 0x49656e69);
    stub_set_leaf(CPUID_LEAF_FEATURES, 0, 0x000506e3, 0xff100800 | 8u << 8, ~0u, ~0u);
    stub_set_leaf(CPUID_LEAF_EXT_FEATURES, 0, 2, ~0u, ~0u, ~0u);
    stub_set_leaf(CPUID_LEAF_MAX_EXTENDED, 0, 0x80000028, 0, 0, 0);
    stub_set_leaf(CPUID_LEAF_ADDRESS_WIDTHS, 0, 0x302e, ~0u, ~0u, ~0u);
    stub_set_caches();
    stub_set_xsave();
}

#define STUB_OTHER_MAKE (CPU_MAKE_CORES | CPU_MAKE_HIGH_MSRS)

static const struct cpu_facts stub_default_facts = {
    .make = CPU_MAKE_CRYSTAL | CPU_MAKE_LOW_MSRS,
    .microcode_revision = 0xffffffff00000000ull,
    .max_leaf = 0x24,
    .max_ext_leaf = 0x80000028,
    .physical_bits = 46,
    .linear_bits = 48,
    .xcr0_allowed = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512,
    .xsave_size = 2688,
    .tsc_leaf_is_true = true,
    .tsc_hz = 2400000000,
    .efer_allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
    .guest_physical_limit = 1ull << 46,
    .has_rdtscp = true,
};

/* VPs 0 and 1 exist, VP 2 does not. */
static int stub_setup(void **state)
{
    unit_setup(state);
    stub_set_cpu();
    stub_facts = stub_default_facts;
    stub_platform = (struct hv_platform){.present = true};
    stub_backend = (struct hv_backend){
        .name = "stub", .vendor = HV_VENDOR_INTEL, .fetch = stub_fetch, .npt_format = stub_npt_format};
    stub_format = (struct npt_format){.name = "stub"};
    stub_tsc = 1000000;
    stub_fetched = 0;
    memset(&stub_exit, 0, sizeof(stub_exit));
    stub_exit.vector = stub_exit.msr = -1;
    memset(&stub_partition, 0, sizeof(stub_partition));
    for (uint32_t i = 0; i < STUB_VPS; i++) {
        stub_vcpus[i] = (struct vcpu){.valid = VCPU_ALL & ~(VCPU_CR4 | VCPU_EFER | VCPU_CR0), .xcr0 = XCR0_X87};
        stub_vps[i] = (struct hv_vp){
            .partition = &stub_partition,
            .index = i,
            .vcpu = &stub_vcpus[i],
            .lapic.base = 0xfee00000ull | APIC_BASE_EN,
        };
        stub_partition.vps[i] = i < 2 ? &stub_vps[i] : NULL;
    }
    properties_init(&stub_partition.properties);
    return 0;
}

static int stub_teardown(void **state)
{
    for (uint32_t i = 0; i < STUB_VPS; i++)
        fake_require(stub_vps[i].shared.owner == 0, "a claim without an end");
    fake_require(stub_partition.mutex.state == 0, "a lock without an end");
    properties_free(&stub_partition.properties);
    return unit_teardown(state);
}

#define STUB_TEST(fn) cmocka_unit_test_setup_teardown(fn, stub_setup, stub_teardown)

static enum hv_status stub_set(uint32_t code, const void *buffer, uint32_t size)
{
    return hv_partition_set_property(&stub_partition, code, buffer, size);
}

static enum hv_status stub_set_u64(uint32_t code, uint64_t value)
{
    return stub_set(code, &value, sizeof(value));
}

#endif
