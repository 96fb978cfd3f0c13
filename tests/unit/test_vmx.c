/* SPDX-License-Identifier: MIT */
/*
 * The VMX backend on a fake CPU: register state through the VMCS, events, migration, the host's state, refused entries.
 * The library's auditor judges every entry (fake_vmx.h); what the core does with the exits is test_run.c's.
 */
#include "vmx_trace.h"
#include <arch/bits/apic.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/vmx_insn.h>
#include <stdlib.h>

static struct npt npt;
static volatile uint64_t generation;
static struct vcpu *v;

static int start(void)
{
    if (backend_on() != HV_OK || npt_init(&npt, backend()->npt_format()) != HV_OK)
        return -1;
    generation = 0;
    v = vcpu_create(&npt, &generation);
    return v ? 0 : -1;
}

static int setup(void **state)
{
    unit_setup(state);
    fake_set_cpus(2);
    return start();
}

/* On a host whose selectors, limits, debug registers and so on are not those that VM exits leave. */
static int setup_unusual(void **state)
{
    unit_setup(state);
    fake_set_cpus(2);
    fake_x86_make_unusual(0);
    fake_x86_make_unusual(1);
    return start();
}

static int teardown(void **state)
{
    vcpu_destroy(v);
    npt_destroy(&npt);
    backend_off();
    return unit_teardown(state);
}

#define VMX_TEST(fn)     cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define UNUSUAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_unusual, teardown)

static struct vmx_vcpu *vmx(void)
{
    return (struct vmx_vcpu *)v;
}

static void pin(void)
{
    hv_host_preempt_disable();
    backend()->acquire(v);
}

static void unpin(void)
{
    hv_host_preempt_enable();
}

static void load(void)
{
    pin();
    vcpu_load(v);
}

static void put(void)
{
    vcpu_put(v);
    unpin();
}

static struct hv_exit enter(void)
{
    struct hv_exit exit;
    uint64_t flags = hv_host_irq_save();

    memset(&exit, 0x5a, sizeof(exit));
    backend()->enter(v, &exit);
    hv_host_irq_restore(flags);
    return exit;
}

static struct hv_exit run_once(void)
{
    struct hv_exit exit;

    load();
    exit = enter();
    put();
    return exit;
}

/* One run that the guest ends by CPUID, which says nothing about the state. */
static void run_cpuid(void)
{
    FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2});
    assert_int_equal(run_once().reason, HV_EXIT_CPUID);
}

/* ------------------------------------------------------------------------------ guest modes */

enum mode { REAL, UNREAL, PROTECTED, PAE, LONG, COMPAT, V86, MODES };

static void set_segments(uint16_t code, uint16_t data, uint32_t limit)
{
    for (unsigned s = 0; s <= SEG_GS; s++)
        v->seg[s] = (struct hv_segment){0, limit, 8, s == SEG_CS ? code : data};
}

static void set_mode(enum mode mode)
{
    vcpu_reset(v);
    switch (mode) {
    case REAL:
    case MODES:
        return;
    case UNREAL:
        for (unsigned s = 0; s <= SEG_GS; s++) {
            v->seg[s].limit = 0xffffffff;
            v->seg[s].attributes |= SEG_G;
        }
        return;
    case V86:
        v->rflags |= RFLAGS_VM;
        v->cr0 = CR0_PE | CR0_ET;
        for (unsigned s = 0; s <= SEG_GS; s++)
            v->seg[s] = (struct hv_segment){0x1230, 0xffff, 0x123, SEG_ATTR_V8086};
        return;
    case PROTECTED:
    case PAE:
        v->cr0 = CR0_PE | CR0_ET | (mode == PAE ? CR0_PG : 0);
        v->cr4 = mode == PAE ? CR4_PAE : 0;
        set_segments(SEG_ATTR_CODE32, SEG_ATTR_DATA32, 0xffffffff);
        return;
    case LONG:
    case COMPAT:
        v->cr0 = CR0_PE | CR0_PG; /* a client that knows neither NE nor ET */
        v->cr4 = CR4_PAE;
        v->efer = EFER_LME | EFER_LMA;
        set_segments(mode == LONG ? SEG_ATTR_CODE64 : SEG_ATTR_CODE32, SEG_ATTR_DATA32, 0xffffffff);
    }
}

/* What the backend makes of a state is accepted by the CPU. */
static void entry_in_every_mode(void **state)
{
    (void)state;
    for (enum mode mode = REAL; mode < MODES; mode++) {
        set_mode(mode);
        run_cpuid();
        assert_int_equal(fake_vmx_counts.entries, mode + 1);
    }
}

/* Every combination of shadow, trap flag and interrupt flag. */
static void entry_with_every_shadow(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        set_mode(PROTECTED);
        v->rflags |= (bits & 1 ? RFLAGS_IF : 0) | (bits & 2 ? RFLAGS_TF : 0);
        v->interrupt_shadow = bits & 4;
        v->shadow_by_mov_ss = bits & 8 && bits & 4;
        v->nmi_masked = bits & 16;
        v->pending_debug = bits & 32 ? PENDING_DEBUG_BS : 0;
        run_cpuid();
    }
}

/* ---------------------------------------------------------------- registers through the VMCS */

static uint64_t noise(void)
{
    return (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
}

/* Any values: nothing is entered. */
static void fill_registers(struct vcpu *to)
{
    to->rip = noise();
    to->rflags = noise();
    to->gpr[GPR_RSP] = noise();
    to->cr3 = noise();
    for (unsigned i = 0; i < 4; i++)
        to->pdpte[i] = noise();
    for (unsigned s = 0; s < SEG_COUNT; s++)
        to->seg[s] = (struct hv_segment){noise(), (uint32_t)noise(), (uint16_t)noise(),
                                         (uint16_t)((noise() | SEG_P) & ~SEG_RESERVED)};
    to->idtr = (struct hv_table){.base = noise(), .limit = (uint16_t)noise()};
    to->gdtr = (struct hv_table){.base = noise(), .limit = (uint16_t)noise()};
    to->dr7 = noise();
    to->sysenter_cs = (uint32_t)noise();
    to->sysenter_esp = noise();
    to->sysenter_eip = noise();
    to->pat = noise();
    to->cr8 = noise() & 15;
    to->tsc_offset = noise();
}

static void assert_same_registers(const struct vcpu *a, const struct vcpu *b)
{
    assert_int_equal(a->rip, b->rip);
    assert_int_equal(a->rflags, b->rflags);
    assert_int_equal(a->gpr[GPR_RSP], b->gpr[GPR_RSP]);
    assert_int_equal(a->cr3, b->cr3);
    assert_memory_equal(a->pdpte, b->pdpte, sizeof(a->pdpte));
    assert_memory_equal(a->seg, b->seg, sizeof(a->seg));
    assert_int_equal(a->idtr.base, b->idtr.base);
    assert_int_equal(a->idtr.limit, b->idtr.limit);
    assert_int_equal(a->gdtr.base, b->gdtr.base);
    assert_int_equal(a->gdtr.limit, b->gdtr.limit);
    assert_int_equal(a->dr7, b->dr7);
    assert_int_equal(a->sysenter_cs, b->sysenter_cs);
    assert_int_equal(a->sysenter_esp, b->sysenter_esp);
    assert_int_equal(a->sysenter_eip, b->sysenter_eip);
    assert_int_equal(a->pat, b->pat);
    assert_int_equal(a->cr8, b->cr8);
    assert_int_equal(a->tsc_offset, b->tsc_offset);
}

static void registers_round_trip(void **state)
{
    struct vcpu wanted;

    (void)state;
    pin();
    for (unsigned i = 0; i < 100; i++) {
        fill_registers(v);
        vcpu_changed(v, VCPU_ALL);
        wanted = *v;
        vmx_sync(vmx());
        assert_int_equal(v->dirty, 0);
        v->valid = VCPU_CONTROLS | VCPU_TSC;
        fill_registers(v);
        v->tsc_offset = wanted.tsc_offset;
        vcpu_need(v, VCPU_ALL);
        assert_int_equal(v->valid, VCPU_ALL);
        assert_same_registers(v, &wanted);
    }
    unpin();
}

/* A group that is marked moves, and no other. */
static void groups_are_apart(void **state)
{
    (void)state;
    pin();
    vmx_sync(vmx());
    for (uint32_t group = 1; group & VCPU_ALL; group <<= 1) {
        struct vcpu kept;

        fill_registers(v);
        v->valid = VCPU_ALL;
        vcpu_changed(v, VCPU_ALL & ~group);
        vmx_sync(vmx());
        kept = *v;
        v->valid = VCPU_ALL & ~group;
        fill_registers(v);
        fake_vmx_forget();
        vcpu_need(v, VCPU_ALL);
        assert_true(fake_vmx_counts.reads <= 5);
        vcpu_need(v, VCPU_ALL);
        assert_true(fake_vmx_counts.reads <= 5);
        v->valid = 0;
        vcpu_need(v, VCPU_ALL & ~VCPU_TSC & ~VCPU_CONTROLS & ~group);
        if (group != VCPU_RIP)
            assert_int_equal(v->rip, kept.rip);
        if (group != VCPU_TABLES)
            assert_int_equal(v->idtr.base, kept.idtr.base);
        if (group != VCPU_SEG(SEG_FS))
            assert_memory_equal(&v->seg[SEG_FS], &kept.seg[SEG_FS], sizeof(v->seg[0]));
        v->valid = VCPU_ALL;
    }
    unpin();
}

/* WHP says "not present", VMX "unusable"; CS and TR are always usable. */
static void segments_that_are_not_present(void **state)
{
    (void)state;
    pin();
    for (unsigned s = 0; s < SEG_COUNT; s++)
        v->seg[s].attributes = SEG_ATTR_DATA32 & ~SEG_P;
    vcpu_changed(v, VCPU_SEGS);
    vmx_sync(vmx());
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        bool is_unusable = fake_vmcs_get(VMCS_SEG_ACCESS(s)) & ACCESS_UNUSABLE;

        assert_int_equal(is_unusable, s != SEG_CS && s != SEG_TR);
        fake_vmcs_set(VMCS_SEG_ACCESS(s), ACCESS_UNUSABLE | SEG_ATTR_DATA32); /* what an exit may leave */
    }
    v->valid = 0;
    vcpu_need(v, VCPU_SEGS);
    for (unsigned s = 0; s < SEG_COUNT; s++)
        assert_int_equal(v->seg[s].attributes, SEG_ATTR_DATA32 & ~SEG_P);
    unpin();
}

static void cr0_has_a_shadow(void **state)
{
    (void)state;
    pin();
    v->cr0 = CR0_PE | CR0_PG | CR0_CD;
    vcpu_changed(v, VCPU_CR0);
    vmx_sync(vmx());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_CR0), CR0_PE | CR0_PG | CR0_CD | CR0_NE);
    assert_int_equal(fake_vmcs_get(VMCS_CR0_SHADOW), CR0_PE | CR0_PG | CR0_CD);
    assert_int_equal(fake_vmcs_get(VMCS_CR0_MASK), ~v->cr0_guest_owned);
    assert_int_equal(v->cr0_guest_owned & (CR0_NE | CR0_CD | CR0_NW), 0);
    /* the guest sets TS and WP by itself */
    fake_vmcs_set(VMCS_GUEST_CR0, fake_vmcs_get(VMCS_GUEST_CR0) | CR0_TS | CR0_WP);
    v->valid = 0;
    vcpu_need(v, VCPU_CR0);
    assert_int_equal(v->cr0, CR0_PE | CR0_PG | CR0_CD | CR0_TS | CR0_WP | CR0_ET);
    /* paging and protection are free: unrestricted guest */
    v->cr0 = CR0_ET;
    vcpu_changed(v, VCPU_CR0);
    vmx_sync(vmx());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_CR0), CR0_ET | CR0_NE);
    unpin();
}

static void cr4_has_a_shadow(void **state)
{
    (void)state;
    pin();
    v->cr4 = CR4_PAE | CR4_PGE;
    vcpu_changed(v, VCPU_CR4);
    vmx_sync(vmx());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_CR4), CR4_PAE | CR4_PGE | CR4_VMXE);
    assert_int_equal(fake_vmcs_get(VMCS_CR4_SHADOW), CR4_PAE | CR4_PGE);
    assert_int_equal(fake_vmcs_get(VMCS_CR4_MASK), ~v->cr4_guest_owned);
    assert_false(v->cr4_guest_owned & (CR4_VMXE | CR4_SMXE | CR4_LA57 | CR4_PKE));
    fake_vmcs_set(VMCS_GUEST_CR4, fake_vmcs_get(VMCS_GUEST_CR4) | CR4_OSXSAVE);
    v->valid = 0;
    vcpu_need(v, VCPU_CR4);
    assert_int_equal(v->cr4, CR4_PAE | CR4_PGE | CR4_OSXSAVE);
    unpin();
}

static bool is_64bit_entry(void)
{
    return fake_vmcs_get(VMCS_ENTRY_CONTROLS) & ENTRY_GUEST_64BIT;
}

static void efer_and_the_entry_control(void **state)
{
    (void)state;
    pin();
    v->cr0 = CR0_PE | CR0_ET;
    v->efer = EFER_LME | EFER_SCE;
    vcpu_changed(v, VCPU_CR0 | VCPU_EFER);
    vmx_sync(vmx());
    assert_false(is_64bit_entry());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_EFER), EFER_LME | EFER_SCE);
    v->cr0 |= CR0_PG; /* EFER itself is not marked */
    vcpu_changed(v, VCPU_CR0);
    vmx_sync(vmx());
    assert_true(is_64bit_entry());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_EFER), EFER_LME | EFER_SCE | EFER_LMA);
    v->cr0 &= ~CR0_PG;
    v->efer = 0;
    vcpu_changed(v, VCPU_CR0 | VCPU_EFER);
    vmx_sync(vmx());
    assert_false(is_64bit_entry());
    unpin();
}

static void guest_enters_long_mode(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcs_set(VMCS_GUEST_CR0, fake_vmcs_get(VMCS_GUEST_CR0) | CR0_PG);
    fake_vmcs_set(VMCS_GUEST_EFER, EFER_LME | EFER_LMA);
}

/* The CPU keeps the control and LMA right while the guest runs; the cache follows. */
static void guest_switches_modes_by_itself(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    v->cr4 = CR4_PAE;
    v->efer = EFER_LME;
    FAKE_GUEST({.run = guest_enters_long_mode, .reason = EXIT_REASON_CPUID});
    run_once();
    run_cpuid();
    pin();
    vcpu_need(v, VCPU_EFER | VCPU_CR0);
    assert_true(is_64bit_entry());
    assert_int_equal(v->efer, EFER_LME | EFER_LMA);
    assert_true(v->cr0 & CR0_PG);
    unpin();
}

static void cr8_is_the_task_priority(void **state)
{
    volatile uint32_t *tpr = (uint32_t *)((char *)vmx()->virtual_apic + APIC_TPR);

    (void)state;
    v->cr8 = 9;
    v->controls.tpr_threshold = 5;
    vcpu_changed(v, VCPU_CR8 | VCPU_CONTROLS);
    run_cpuid();
    assert_int_equal(*tpr, 0x90);
    pin();
    assert_int_equal(fake_vmcs_get(VMCS_TPR_THRESHOLD), 5);
    *tpr = 0x4f;
    vcpu_need(v, VCPU_CR8);
    assert_int_equal(v->cr8, 4);
    unpin();
}

static void shadow_and_nmi_blocking(void **state)
{
    (void)state;
    pin();
    vmx_sync(vmx());
    v->valid = 0;
    fake_vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS | INTERRUPTIBILITY_NMI);
    fake_vmcs_set(VMCS_GUEST_PENDING_DEBUG, PENDING_DEBUG_BS | 2);
    vcpu_need(v, VCPU_INTR);
    assert_true(v->interrupt_shadow && v->shadow_by_mov_ss && v->nmi_masked);
    assert_int_equal(v->pending_debug, PENDING_DEBUG_BS | 2);
    fake_vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI);
    v->valid = 0;
    vcpu_need(v, VCPU_INTR);
    assert_true(v->interrupt_shadow && !v->shadow_by_mov_ss && !v->nmi_masked);
    v->rflags = RFLAGS_FIXED | RFLAGS_IF;
    vcpu_changed(v, VCPU_RFLAGS);
    vmx_sync(vmx());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_INTERRUPTIBILITY), INTERRUPTIBILITY_STI);
    v->rflags = RFLAGS_FIXED; /* no shadow by STI without IF */
    vcpu_changed(v, VCPU_RFLAGS);
    vmx_sync(vmx());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_INTERRUPTIBILITY), INTERRUPTIBILITY_MOV_SS);
    unpin();
}

static void raw_access(void **state)
{
    uint64_t value = 0;

    (void)state;
    pin();
    v->rip = 0x1234;
    vcpu_changed(v, VCPU_RIP);
    assert_int_equal(backend()->raw_get(v, VMCS_GUEST_RIP, &value), HV_OK);
    assert_int_equal(value, 0x1234); /* not yet in the VMCS before the call */
    assert_int_equal(backend()->raw_set(v, VMCS_GUEST_RIP, 0x5678), HV_OK);
    vcpu_need(v, VCPU_RIP);
    assert_int_equal(v->rip, 0x5678);
    assert_int_equal(backend()->raw_get(v, VMCS_GUEST_PKRS, &value), HV_E_INVALID);
    assert_int_equal(backend()->raw_get(v, 0xfffffffe, &value), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, VMCS_GUEST_PKRS, 0), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, VMCS_HOST_CR3, 0), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, VMCS_EPTP, 0), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, VMCS_MSR_BITMAP, 0), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, VMCS_EXIT_REASON, 0), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, VMCS_LINK_POINTER, 0), HV_E_INVALID);
    unpin();
}

/* ------------------------------------------------------------------------------- controls */

static void controls_follow_the_core(void **state)
{
    const uint64_t changing = CPU_INTR_WINDOW | CPU_NMI_WINDOW | CPU_RDTSC | CPU_HLT | CPU_MOV_DR;

    (void)state;
    run_cpuid();
    pin();
    assert_int_equal(fake_vmcs_get(VMCS_CPU_CONTROLS) & changing, CPU_HLT | CPU_MOV_DR);
    assert_int_equal(fake_vmcs_get(VMCS_EXCEPTION_BITMAP), BIT32(VEC_MC));
    unpin();
    v->controls = (struct vcpu_controls){
        .exception_bitmap = BIT32(VEC_UD), .rdtsc_exit = true, .interrupt_window = true, .nmi_window = true};
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    pin();
    assert_int_equal(fake_vmcs_get(VMCS_CPU_CONTROLS) & changing,
                     CPU_INTR_WINDOW | CPU_NMI_WINDOW | CPU_RDTSC | CPU_MOV_DR);
    assert_int_equal(fake_vmcs_get(VMCS_EXCEPTION_BITMAP), BIT32(VEC_UD) | BIT32(VEC_MC));
    unpin();
}

/* In the bitmap as the manual lays it out: is the access let through? */
static bool is_direct(uint32_t index, bool write)
{
    const uint8_t *bitmap = vmx()->msr_bitmap;

    bitmap += (write ? 2048 : 0) + (index >= 0xc0000000 ? 1024 : 0);
    return !(bitmap[(index & 0x1fff) / 8] >> index % 8 & 1);
}

static void msr_bitmap(void **state)
{
    static const uint32_t both[] = {MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
                                    MSR_IA32_FS_BASE,     MSR_IA32_GS_BASE,      MSR_IA32_KERNEL_GS_BASE};
    static const uint32_t reads[] = {MSR_IA32_EFER,  MSR_IA32_STAR, MSR_IA32_LSTAR, MSR_IA32_CSTAR,
                                     MSR_IA32_FMASK, MSR_IA32_PAT,  MSR_IA32_TSC};
    unsigned direct = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(both); i++)
        assert_true(is_direct(both[i], false) && is_direct(both[i], true));
    for (size_t i = 0; i < ARRAY_COUNT(reads); i++)
        assert_true(is_direct(reads[i], false) && !is_direct(reads[i], true));
    for (uint32_t i = 0; i < 0x2000; i++)
        direct += is_direct(i, false) + is_direct(i, true) + is_direct(0xc0000000 + i, false) +
                  is_direct(0xc0000000 + i, true);
    assert_int_equal(direct, 2 * ARRAY_COUNT(both) + ARRAY_COUNT(reads));
    v->controls.tsc_msr_exit = true;
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    assert_false(is_direct(MSR_IA32_TSC, false));
    v->controls.tsc_msr_exit = false;
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    assert_true(is_direct(MSR_IA32_TSC, false));
}

/* -------------------------------------------------------------------------- accesses counted */

/* A run from the same stack, with nothing changed: the reason, and no more. */
static void reentry_writes_nothing(void **state)
{
    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_EXTERNAL_INTR}, {.reason = EXIT_REASON_EXTERNAL_INTR},
               {.reason = EXIT_REASON_EXTERNAL_INTR});
    load();
    enter();
    fake_vmx_forget();
    enter();
    EXPECT_NO_WRITES();
    EXPECT_READS(VMCS_EXIT_REASON);
    put();
    fake_vmx_forget();
    load(); /* neither is there anything new to the next run on the same CPU */
    enter();
    put();
    EXPECT_NO_WRITES();
    EXPECT_READS(VMCS_EXIT_REASON);
    assert_int_equal(fake_vmx_counts.vmptrld, 0);
    assert_int_equal(fake_vmx_counts.invept_single + fake_vmx_counts.invvpid_single, 0);
}

static void a_changed_group_is_written_once(void **state)
{
    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID});
    load();
    enter();
    fake_vmx_forget();
    vcpu_need(v, VCPU_RIP);
    v->rip += 2;
    vcpu_changed(v, VCPU_RIP);
    enter();
    EXPECT_WRITES(VMCS_GUEST_RIP);
    EXPECT_READS(VMCS_GUEST_RIP, VMCS_EXIT_REASON);
    fake_vmx_forget();
    enter();
    EXPECT_NO_WRITES();
    put();
}

static void the_host_is_looked_at_when_loaded(void **state)
{
    (void)state;
    run_cpuid();
    fake_x86(0)->cr3 = 0x2000;
    *fake_msr(0, MSR_IA32_GS_BASE) += 0x10000;
    fake_vmx_forget();
    run_cpuid();
    EXPECT_WRITES(VMCS_HOST_CR3, VMCS_HOST_GS_BASE);
}

/* ------------------------------------------------------------------------- exits described */

#define INFO(type, vector) (uint32_t)(INTR_INFO_VALID | FIELD_PUT(INTR_INFO_TYPE, type) | (vector))
#define WITH_ERROR         (uint32_t) INTR_INFO_ERROR_VALID
#define REASON             VMCS_EXIT_REASON
#define QUALIFICATION      VMCS_EXIT_QUALIFICATION
#define LENGTH             VMCS_EXIT_INSTR_LENGTH
#define VECTORING          VMCS_IDT_VECTORING_INFO

/* clang-format off */
static const struct {
    const char *name;
    struct fake_step step;
    enum hv_exit_reason reason;
    int length; /* -1: nothing said */
    struct trace_fields reads;
} exits[] = {
    {"external interrupt", {.reason = EXIT_REASON_EXTERNAL_INTR}, HV_EXIT_HOST_EVENT, -1, {{REASON}, 1}},
    {"INIT", {.reason = EXIT_REASON_INIT}, HV_EXIT_HOST_EVENT, -1, {{REASON}, 1}},
    {"SIPI", {.reason = EXIT_REASON_SIPI}, HV_EXIT_HOST_EVENT, -1, {{REASON}, 1}},
    {"SMI", {.reason = EXIT_REASON_OTHER_SMI}, HV_EXIT_HOST_EVENT, -1, {{REASON}, 1}},
    {"NMI", {.reason = EXIT_REASON_EXCEPTION_NMI, .intr_info = INFO(INTR_TYPE_NMI, 2)},
     HV_EXIT_HOST_EVENT, -1, {{REASON, VMCS_EXIT_INTR_INFO, VECTORING}, 3}},
    {"machine check", {.reason = EXIT_REASON_EXCEPTION_NMI, .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_MC)},
     HV_EXIT_HOST_EVENT, -1, {{REASON, VMCS_EXIT_INTR_INFO, VECTORING}, 3}},
    {"exception", {.reason = EXIT_REASON_EXCEPTION_NMI, .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD)},
     HV_EXIT_EXCEPTION, 0, {{REASON, VMCS_EXIT_INTR_INFO, VECTORING}, 3}},
    {"exception, error code", {.reason = EXIT_REASON_EXCEPTION_NMI, .intr_error = 0x18,
     .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR},
     HV_EXIT_EXCEPTION, 0, {{REASON, VMCS_EXIT_INTR_INFO, VMCS_EXIT_INTR_ERROR_CODE, VECTORING}, 4}},
    {"page fault", {.reason = EXIT_REASON_EXCEPTION_NMI, .intr_error = 2, .qualification = 0x1000,
     .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR},
     HV_EXIT_EXCEPTION, 0, {{REASON, VMCS_EXIT_INTR_INFO, VMCS_EXIT_INTR_ERROR_CODE, QUALIFICATION, VECTORING}, 5}},
    {"INT3", {.reason = EXIT_REASON_EXCEPTION_NMI, .length = 1, .intr_info = INFO(INTR_TYPE_SW_EXCEPTION, VEC_BP)},
     HV_EXIT_EXCEPTION, 1, {{REASON, VMCS_EXIT_INTR_INFO, VECTORING, LENGTH}, 4}},
    {"triple fault", {.reason = EXIT_REASON_TRIPLE_FAULT}, HV_EXIT_UNRECOVERABLE_EXCEPTION, -1, {{REASON}, 1}},
    {"task switch", {.reason = EXIT_REASON_TASK_SWITCH, .qualification = 0x40000018},
     HV_EXIT_UNSUPPORTED_FEATURE, 0, {{REASON, VECTORING, QUALIFICATION}, 3}},
    {"interrupt window", {.reason = EXIT_REASON_INTR_WINDOW}, HV_EXIT_WINDOW, 0, {{REASON}, 1}},
    {"NMI window", {.reason = EXIT_REASON_NMI_WINDOW}, HV_EXIT_WINDOW, 0, {{REASON}, 1}},
    {"TPR below threshold", {.reason = EXIT_REASON_TPR_BELOW}, HV_EXIT_TPR, -1, {{REASON}, 1}},
    {"preemption timer", {.reason = EXIT_REASON_PREEMPTION_TIMER}, HV_EXIT_TIMER, -1, {{REASON}, 1}},
    {"CPUID", {.reason = EXIT_REASON_CPUID, .length = 2}, HV_EXIT_CPUID, 2, {{REASON}, 1}},
    {"RDMSR", {.reason = EXIT_REASON_RDMSR, .length = 2}, HV_EXIT_MSR, 2, {{REASON}, 1}},
    {"WRMSR", {.reason = EXIT_REASON_WRMSR, .length = 2}, HV_EXIT_MSR, 2, {{REASON}, 1}},
    {"RDTSC", {.reason = EXIT_REASON_RDTSC, .length = 2}, HV_EXIT_RDTSC, 2, {{REASON, LENGTH}, 2}},
    {"RDTSCP", {.reason = EXIT_REASON_RDTSCP, .length = 3}, HV_EXIT_RDTSC, 3, {{REASON, LENGTH}, 2}},
    {"HLT", {.reason = EXIT_REASON_HLT, .length = 1}, HV_EXIT_HALT, 1, {{REASON, LENGTH}, 2}},
    {"VMCALL", {.reason = EXIT_REASON_VMCALL, .length = 3}, HV_EXIT_HYPERCALL, 3, {{REASON, LENGTH}, 2}},
    {"XSETBV", {.reason = EXIT_REASON_XSETBV, .length = 3}, HV_EXIT_XSETBV, 3, {{REASON, LENGTH}, 2}},
    {"INVD", {.reason = EXIT_REASON_INVD, .length = 2}, HV_EXIT_NO_OP, 2, {{REASON, LENGTH}, 2}},
    {"WBINVD", {.reason = EXIT_REASON_WBINVD, .length = 2}, HV_EXIT_NO_OP, 2, {{REASON, LENGTH}, 2}},
    {"RDPMC", {.reason = EXIT_REASON_RDPMC, .length = 2}, HV_EXIT_RDPMC, 0, {{REASON}, 1}},
    {"MOV DR", {.reason = EXIT_REASON_MOV_DR, .length = 3}, HV_EXIT_DR, -1, {{REASON}, 1}},
    {"VMXON", {.reason = EXIT_REASON_VMXON}, HV_EXIT_UNDEFINED, 0, {{REASON}, 1}},
    {"MONITOR", {.reason = EXIT_REASON_MONITOR}, HV_EXIT_UNDEFINED, 0, {{REASON}, 1}},
    {"MWAIT", {.reason = EXIT_REASON_MWAIT}, HV_EXIT_UNDEFINED, 0, {{REASON}, 1}},
    {"GETSEC", {.reason = EXIT_REASON_GETSEC}, HV_EXIT_UNDEFINED, 0, {{REASON}, 1}},
    {"OUT", {.reason = EXIT_REASON_IO, .length = 2, .qualification = 0x3f80000},
     HV_EXIT_IO, 2, {{REASON, QUALIFICATION, LENGTH}, 3}},
    {"MOV to CR4", {.reason = EXIT_REASON_CR_ACCESS, .length = 3, .qualification = 4},
     HV_EXIT_CR, 3, {{REASON, QUALIFICATION, LENGTH, VMCS_GUEST_EFER, VMCS_GUEST_CS_SELECTOR, VMCS_GUEST_CS_BASE,
                      VMCS_GUEST_CS_LIMIT, VMCS_GUEST_CS_ACCESS}, 8}},
    {"EPT violation", {.reason = EXIT_REASON_EPT_VIOLATION, .qualification = 0x182, .gpa = 0x5008, .gva = 0x7008},
     HV_EXIT_MEMORY, 0, {{REASON, QUALIFICATION, VECTORING, VMCS_GUEST_PHYSICAL_ADDR, VMCS_GUEST_LINEAR_ADDR}, 5}},
    {"EPT violation, page walk", {.reason = EXIT_REASON_EPT_VIOLATION, .qualification = 0x81, .gpa = 0x5008},
     HV_EXIT_MEMORY, 0, {{REASON, QUALIFICATION, VECTORING, VMCS_GUEST_PHYSICAL_ADDR}, 4}},
};
/* clang-format on */

static void every_exit(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(exits); i++) {
        struct hv_exit exit;

        FAKE_GUEST({.reason = EXIT_REASON_CPUID}, exits[i].step);
        load();
        enter();
        fake_vmx_forget();
        exit = enter();
        EXPECT_NO_WRITES();
        trace_expect(exits[i].name, fake_vmx_counts.reads, fake_vmx_reads, exits[i].reads);
        put();
        printf("# %-26s %u VMREAD\n", exits[i].name, (unsigned)fake_vmx_counts.reads);
        assert_string_equal(hv_exit_reason_name(exit.reason), hv_exit_reason_name(exits[i].reason));
        if (exits[i].length >= 0)
            assert_int_equal(exit.instruction_length, exits[i].length);
    }
    assert_int_equal(fake_x86(0)->nmis, 1);
    assert_int_equal(fake_x86(0)->machine_checks, 1);
}

static struct hv_exit exit_of(struct fake_step step)
{
    fake_guest(&step, 1);
    return run_once();
}

static void exception_contents(void **state)
{
    struct hv_exit exit = exit_of((struct fake_step){.reason = EXIT_REASON_EXCEPTION_NMI,
                                                     .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR,
                                                     .intr_error = 7,
                                                     .qualification = 0xfeed000});

    (void)state;
    assert_int_equal(exit.exception.vector, VEC_PF);
    assert_true(exit.exception.has_error_code && !exit.exception.is_software);
    assert_int_equal(exit.exception.error_code, 7);
    assert_int_equal(exit.exception.parameter, 0xfeed000);
    exit = exit_of((struct fake_step){.reason = EXIT_REASON_EXCEPTION_NMI,
                                      .intr_info = INFO(INTR_TYPE_PRIV_SW_EXC, VEC_DB),
                                      .length = 1,
                                      .qualification = QUAL_DB_BS});
    assert_int_equal(exit.exception.vector, VEC_DB);
    assert_true(!exit.exception.has_error_code && exit.exception.is_software);
    assert_int_equal(exit.exception.error_code, 0);
    assert_int_equal(exit.exception.parameter, QUAL_DB_BS);
    assert_int_equal(exit.instruction_length, 1);
}

static void io_contents(void **state)
{
    struct hv_exit exit;

    (void)state;
    v->gpr[GPR_RAX] = 0xabcd;
    exit = exit_of(
        (struct fake_step){.reason = EXIT_REASON_IO, .length = 1, .qualification = FIELD_PUT(QUAL_IO_PORT, 0x3f8) | 3});
    assert_true(exit.io.is_write && !exit.io.is_string && !exit.io.has_rep);
    assert_int_equal(exit.io.size, 4);
    assert_int_equal(exit.io.port, 0x3f8);
    assert_int_equal(exit.io.rax, 0xabcd);
    exit = exit_of(
        (struct fake_step){.reason = EXIT_REASON_IO,
                           .length = 2,
                           .qualification = FIELD_PUT(QUAL_IO_PORT, 0x60) | QUAL_IO_IN | QUAL_IO_STRING | QUAL_IO_REP});
    assert_true(!exit.io.is_write && exit.io.is_string && exit.io.has_rep);
    assert_int_equal(exit.io.size, 1);
    assert_int_equal(exit.io.port, 0x60);
}

static struct hv_exit violation(uint64_t qualification)
{
    return exit_of((struct fake_step){
        .reason = EXIT_REASON_EPT_VIOLATION, .qualification = qualification, .gpa = 0x5008, .gva = 0x7008});
}

static void memory_contents(void **state)
{
    const uint64_t linear = QUAL_EPT_LINEAR_VALID | QUAL_EPT_TRANSLATED;
    struct hv_exit exit = violation(QUAL_EPT_WRITE | linear);

    (void)state;
    assert_int_equal(exit.memory.access, HV_ACCESS_WRITE);
    assert_true(exit.memory.gva_valid && !exit.memory.page_walk);
    assert_int_equal(exit.memory.gpa, 0x5008);
    assert_int_equal(exit.memory.gva, 0x7008);
    exit = violation(QUAL_EPT_READ | QUAL_EPT_WRITE | linear); /* as read-modify-write says it */
    assert_int_equal(exit.memory.access, HV_ACCESS_WRITE);
    exit = violation(QUAL_EPT_FETCH | linear);
    assert_int_equal(exit.memory.access, HV_ACCESS_EXECUTE);
    exit = violation(QUAL_EPT_READ | QUAL_EPT_LINEAR_VALID);
    assert_int_equal(exit.memory.access, HV_ACCESS_READ);
    assert_true(!exit.memory.gva_valid && exit.memory.page_walk);
    assert_int_equal(exit.memory.gva, 0);
    exit = violation(QUAL_EPT_READ);
    assert_true(!exit.memory.gva_valid && !exit.memory.page_walk);
}

static struct hv_exit cr_access(uint64_t qualification)
{
    return exit_of((struct fake_step){.reason = EXIT_REASON_CR_ACCESS, .length = 3, .qualification = qualification});
}

#define CR_QUAL(number, type, gpr) \
    (FIELD_PUT(QUAL_CR_NUMBER, number) | FIELD_PUT(QUAL_CR_TYPE, type) | FIELD_PUT(QUAL_CR_GPR, gpr))

static void cr_contents(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_mode(PROTECTED);
    v->gpr[GPR_RBX] = 0x1111222233334444;
    exit = cr_access(CR_QUAL(4, CR_TYPE_MOV_TO, GPR_RBX));
    assert_int_equal(exit.cr.number, 4);
    assert_int_equal(exit.cr.value, 0x33334444); /* 32 bits outside of 64-bit mode */
    exit = cr_access(CR_QUAL(0, CR_TYPE_CLTS, 0));
    assert_int_equal(exit.cr.value, CR0_PE | CR0_ET);
    exit = cr_access(CR_QUAL(0, CR_TYPE_LMSW, 0) | FIELD_PUT(QUAL_CR_LMSW_VALUE, CR0_TS | CR0_NE));
    assert_int_equal(exit.cr.number, 0);
    assert_int_equal(exit.cr.value, CR0_PE | CR0_ET | CR0_TS); /* neither clears PE nor sets NE */
    exit = cr_access(CR_QUAL(3, CR_TYPE_MOV_FROM, 0));
    assert_int_equal(exit.reason, HV_EXIT_INTERNAL_ERROR);
    set_mode(LONG);
    v->gpr[GPR_RBX] = 0x1111222233334444;
    v->gpr[GPR_RSP] = 0x5555666677778888;
    vcpu_changed(v, VCPU_RSP);
    exit = cr_access(CR_QUAL(3, CR_TYPE_MOV_TO, GPR_RBX));
    assert_int_equal(exit.cr.value, 0x1111222233334444);
    exit = cr_access(CR_QUAL(3, CR_TYPE_MOV_TO, GPR_RSP));
    assert_int_equal(exit.cr.value, 0x5555666677778888);
}

/* Nothing asked for it: the guest is stopped, the host goes on. */
static void unexpected_exits(void **state)
{
    (void)state;
    assert_int_equal(exit_of((struct fake_step){.reason = EXIT_REASON_PAUSE}).reason, HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("exit reason 40"));
    assert_int_equal(exit_of((struct fake_step){.reason = 999}).reason, HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("exit reason 999"));
    assert_int_equal(exit_of((struct fake_step){.reason = EXIT_REASON_EPT_MISCONFIG, .gpa = 0xabc000}).reason,
                     HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("0xabc000"));
}

static void context_of_an_exit(void **state)
{
    struct hv_exit exit = {0};

    (void)state;
    set_mode(LONG);
    v->cr0 |= CR0_AM;
    v->seg[SEG_SS].attributes |= (uint16_t)FIELD_PUT(SEG_DPL, 3);
    v->seg[SEG_CS].attributes |= (uint16_t)FIELD_PUT(SEG_DPL, 3);
    v->dr7 |= DR7_L1;
    v->cr8 = 5;
    v->rip = 0x401000;
    FAKE_GUEST({.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID});
    load();
    enter();
    fake_vmx_forget();
    vmx_context(v, &exit);
    printf("# context of an exit to the client: %u VMREAD\n", (unsigned)fake_vmx_counts.reads);
    EXPECT_READS(VMCS_GUEST_RIP, VMCS_GUEST_RFLAGS, VMCS_GUEST_CS_SELECTOR, VMCS_GUEST_CS_BASE, VMCS_GUEST_CS_LIMIT,
                 VMCS_GUEST_CS_ACCESS, VMCS_GUEST_CR0, VMCS_GUEST_EFER, VMCS_GUEST_SS_ACCESS, VMCS_GUEST_DR7,
                 VMCS_GUEST_INTERRUPTIBILITY);
    put();
    assert_int_equal(exit.vp.execution_state,
                     3 | HV_EXEC_CR0_PE | HV_EXEC_CR0_AM | HV_EXEC_EFER_LMA | HV_EXEC_DEBUG_ACTIVE);
    assert_int_equal(exit.vp.rip, 0x401000);
    assert_int_equal(exit.vp.rflags, RFLAGS_FIXED);
    assert_int_equal(exit.vp.cr8, 5);
    assert_memory_equal(&exit.vp.cs, &v->seg[SEG_CS], sizeof(exit.vp.cs));
    /* the same when all of it is in the cache */
    pin();
    vcpu_need(v, VCPU_ALL);
    v->interrupt_shadow = true;
    v->event = HV_PENDING_INT_VALID;
    fake_vmx_forget();
    vmx_context(v, &exit);
    EXPECT_NO_READS();
    v->event = 0;
    unpin();
    assert_int_equal(exit.vp.execution_state, 3 | HV_EXEC_CR0_PE | HV_EXEC_CR0_AM | HV_EXEC_EFER_LMA |
                                                  HV_EXEC_DEBUG_ACTIVE | HV_EXEC_INTERRUPT_SHADOW |
                                                  HV_EXEC_INTERRUPTION_PENDING);
}

/* --------------------------------------------------------------------------------- events */

#define EVENT(type, vector) \
    (HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, type) | FIELD_PUT(HV_PENDING_INT_VECTOR, vector))
#define EVENT_ERROR(code) (HV_PENDING_INT_ERROR_VALID | FIELD_PUT(HV_PENDING_INT_ERROR_CODE, code))

/* clang-format off */
static const struct {
    uint64_t event;
    uint32_t info, error_code, length;
} events[] = {
    {EVENT(HV_INT_TYPE_EXTERNAL, 0x31), INFO(INTR_TYPE_EXTERNAL, 0x31), 0, 0},
    {EVENT(HV_INT_TYPE_NMI, 2), INFO(INTR_TYPE_NMI, 2), 0, 0},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD), INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD), 0, 0},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_GP) | EVENT_ERROR(0x18), INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR, 0x18, 0},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_PF) | EVENT_ERROR(2), INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR, 2, 0},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_DF) | EVENT_ERROR(0), INFO(INTR_TYPE_HW_EXCEPTION, VEC_DF) | WITH_ERROR, 0, 0},
    {EVENT(HV_INT_TYPE_SOFTWARE, 0x80) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2), INFO(INTR_TYPE_SW_INTR, 0x80), 0, 2},
    {EVENT(HV_INT_TYPE_PRIV_SW_EXCEPTION, VEC_DB) | FIELD_PUT(HV_PENDING_INT_LENGTH, 1), INFO(INTR_TYPE_PRIV_SW_EXC, VEC_DB), 0, 1},
    {EVENT(HV_INT_TYPE_SW_EXCEPTION, VEC_BP) | FIELD_PUT(HV_PENDING_INT_LENGTH, 1), INFO(INTR_TYPE_SW_EXCEPTION, VEC_BP), 0, 1},
};
/* clang-format on */

static void assert_injected(size_t i)
{
    assert_int_equal(fake_vmx_injected().info, events[i].info);
    assert_int_equal(fake_vmx_injected().error_code, events[i].error_code);
    assert_int_equal(fake_vmx_injected().length, events[i].length);
}

static void set_interruptible(void)
{
    set_mode(PROTECTED);
    v->rflags |= RFLAGS_IF;
}

/* Each type goes in once; an exit in the midst of its delivery brings it back, and it goes in again. */
static void events_of_all_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(events); i++) {
        set_interruptible();
        v->event = events[i].event;
        FAKE_GUEST({.reason = EXIT_REASON_EPT_VIOLATION,
                    .qualification = QUAL_EPT_WRITE,
                    .vectoring_info = events[i].info,
                    .vectoring_error = events[i].error_code,
                    .length = events[i].length},
                   {.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID});
        load();
        enter();
        assert_injected(i);
        assert_int_equal(v->event, events[i].event);
        enter();
        assert_injected(i);
        assert_int_equal(v->event, 0);
        enter();
        assert_int_equal(fake_vmx_injected().info, 0);
        put();
    }
}

/* The vector and the mode say whether there is an error code, not the client. */
static void error_codes_where_they_belong(void **state)
{
    (void)state;
    for (unsigned vector = 0; vector < 32; vector++)
        for (unsigned bits = 0; bits < 4; bits++) {
            bool is_protected = bits & 1;
            bool pushes = is_protected && vector < 21 && VEC_ERROR_CODE_MASK >> vector & 1;

            if (vector == VEC_CP)
                continue; /* which exists with CET only */
            set_mode(is_protected ? PROTECTED : REAL);
            v->event = EVENT(HV_INT_TYPE_EXCEPTION, vector) | (bits & 2 ? EVENT_ERROR(4) : 0);
            run_cpuid();
            assert_int_equal(fake_vmx_injected().info & WITH_ERROR, pushes ? WITH_ERROR : 0);
            assert_int_equal(fake_vmx_injected().error_code, pushes && bits & 2 ? 4 : 0);
        }
}

/* The delivery of an NMI has blocked NMIs; to be delivered again it needs them unblocked. */
static void an_interrupted_nmi_is_unblocked(void **state)
{
    (void)state;
    set_interruptible();
    v->event = EVENT(HV_INT_TYPE_NMI, 2);
    FAKE_GUEST({.reason = EXIT_REASON_EPT_VIOLATION, .vectoring_info = INFO(INTR_TYPE_NMI, 2)},
               {.reason = EXIT_REASON_CPUID});
    load();
    enter();
    assert_false(v->nmi_masked);
    enter(); /* the auditor objects to an NMI while they are blocked */
    vcpu_need(v, VCPU_INTR);
    assert_true(v->nmi_masked);
    put();
}

/* IRET ended the blocking and then faulted: it will run again. */
static void an_iret_that_faults_blocks_nmis_again(void **state)
{
    static const struct {
        struct fake_step step;
        bool blocked;
    } cases[] = {
        {{.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_READ | QUAL_EPT_NMI_UNBLOCK}, true},
        {{.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_READ}, false},
        {{.reason = EXIT_REASON_EPT_VIOLATION,
          .qualification = QUAL_EPT_READ | QUAL_EPT_NMI_UNBLOCK,
          .vectoring_info = INFO(INTR_TYPE_EXTERNAL, 0x31)},
         false}, /* the bit is undefined then */
        {{.reason = EXIT_REASON_EXCEPTION_NMI,
          .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR | INTR_INFO_NMI_UNBLOCK},
         true},
        {{.reason = EXIT_REASON_EXCEPTION_NMI,
          .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_DF) | WITH_ERROR | INTR_INFO_NMI_UNBLOCK},
         false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_interruptible();
        fake_guest(&cases[i].step, 1);
        run_once();
        pin();
        vcpu_need(v, VCPU_INTR);
        unpin();
        assert_int_equal(v->nmi_masked, cases[i].blocked);
        v->event = 0;
        run_cpuid();
    }
}

/* -------------------------------------------------------------------------- CPUs and flushes */

static void flushes_are(unsigned ept, unsigned vpid)
{
    assert_int_equal(fake_vmx_counts.invept_single, ept);
    assert_int_equal(fake_vmx_counts.invvpid_single, vpid);
    assert_int_equal(fake_vmx_counts.invept_all + fake_vmx_counts.invvpid_all, 0);
}

static void migration(void **state)
{
    (void)state;
    run_cpuid();
    assert_int_equal(fake_vmcs_cpu(vmx()->vmcs_pa), 0);
    fake_vmx_forget();
    fake_set_cpu(1);
    run_cpuid();
    assert_int_equal(fake_vmcs_cpu(vmx()->vmcs_pa), 1);
    assert_int_equal(fake_last_call().cpu, 0); /* cleared where it was active */
    assert_int_equal(fake_vmx_counts.vmclear, 1);
    assert_int_equal(fake_vmx_counts.vmptrld, 1);
    flushes_are(1, 1);
    assert_int_equal(fake_last_invept().operand, vmx()->eptp);
    assert_int_equal(fake_last_invept().cpu, 1);
    assert_int_equal(fake_last_invvpid().operand, vmx()->vpid);
    assert_int_equal(fake_last_invvpid().cpu, 1);
    assert_int_equal(v->migrations, 1);
    fake_vmx_forget();
    run_cpuid();
    assert_int_equal(fake_vmx_counts.vmclear + fake_vmx_counts.vmptrld, 0);
    flushes_are(0, 0);
    fake_set_cpu(0); /* where translations of before may still be */
    run_cpuid();
    flushes_are(1, 1);
    assert_int_equal(v->migrations, 2);
    assert_null(backend_cpu_of(1)->current);
    assert_ptr_equal(backend_cpu_of(0)->current, v);
}

/* An access outside of a run moves the VMCS too, but nobody uses translations there. */
static void migration_without_a_run(void **state)
{
    (void)state;
    run_cpuid();
    fake_set_cpu(1);
    pin();
    unpin();
    fake_set_cpu(0);
    fake_vmx_forget();
    run_cpuid();
    assert_int_equal(fake_vmx_counts.vmptrld, 1);
    assert_int_equal(v->migrations, 0);
}

static void two_vcpus_take_turns(void **state)
{
    struct vcpu *first = v, *second = vcpu_create(&npt, &generation);

    (void)state;
    assert_non_null(second);
    assert_int_not_equal(to_vmx(first)->vpid, to_vmx(second)->vpid);
    assert_int_not_equal(to_vmx(first)->vpid, 0);
    run_cpuid();
    v = second;
    run_cpuid();
    fake_vmx_forget();
    v = first;
    run_cpuid();
    assert_int_equal(fake_vmx_counts.vmptrld, 1);
    assert_int_equal(fake_vmx_counts.vmclear, 0);
    EXPECT_NO_WRITES();
    v = second;
    fake_set_cpu(1);
    run_cpuid(); /* takes it from CPU 0, where the other one is current */
    assert_ptr_equal(backend_cpu_of(0)->current, first);
    fake_set_cpu(0);
    vcpu_destroy(second); /* active on CPU 1 */
    v = first;
    assert_null(backend_cpu_of(1)->current);
}

static void flushes_follow_the_generation(void **state)
{
    (void)state;
    run_cpuid();
    fake_vmx_forget();
    generation++;
    run_cpuid();
    flushes_are(1, 0);
    run_cpuid();
    flushes_are(1, 0);
    v->flush_guest = true;
    run_cpuid();
    flushes_are(1, 1);
    run_cpuid();
    flushes_are(1, 1);
}

/* The first entry on any CPU flushes: an earlier user of the same page as EPT root may have left translations. */
static void the_first_entry_flushes(void **state)
{
    (void)state;
    fake_vmx_forget();
    run_cpuid();
    flushes_are(1, 1);
    assert_int_equal(v->migrations, 0);
}

/* ------------------------------------------------------------------------------- the deadline */

/* Always on: without a deadline it beats once a millisecond (IA32_VMX_MISC: it counts TSC >> 5). */
static void the_timer_is(uint64_t ticks)
{
    pin();
    assert_true(fake_vmcs_get(VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_PREEMPTION_TIMER), ticks);
    unpin();
}

static void the_deadline(void **state)
{
    const uint64_t heartbeat = cpu_facts()->tsc_hz / 1000 / 32 + 1;

    (void)state;
    assert_int_equal(backend()->run_deadline(), HV_OK);
    run_cpuid();
    the_timer_is(heartbeat);
    fake_set_tsc(1000000);
    v->deadline_tsc = 1000000 + 3200;
    run_cpuid();
    the_timer_is(3200 / 32 + 1);
    v->deadline_tsc = 1; /* long gone */
    run_cpuid();
    the_timer_is(0);
    v->deadline_tsc = ~0ull; /* far away */
    run_cpuid();
    the_timer_is(heartbeat);
    v->deadline_tsc = 0;
    run_cpuid();
    the_timer_is(heartbeat);
    fake_vmx_forget();
    run_cpuid();
    EXPECT_NO_WRITES();
}

/* ------------------------------------------------------------------------- the host's state */

static uint64_t guest_debug_registers[4];

static void set_guest_state(void)
{
    static const uint64_t in_use = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    char *image = v->xsave;

    for (unsigned i = 0; i < VCPU_MSR_COUNT; i++)
        v->msr[i] = 0x7000 + i;
    v->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    memset(image + 160, 0x77, 256); /* XMM */
    memset(image + 576, 0x88, 256); /* AVX */
    memcpy(image + 512, &in_use, 8);
    for (unsigned i = 0; i < 4; i++)
        v->dr[i] = guest_debug_registers[i];
    v->dr_wanted = guest_debug_registers[0];
}

static void guest_looks_around(uint64_t gpr[16])
{
    const struct fake_x86 *x = fake_x86_here();

    assert_int_equal(*fake_msr(fake_cpu(), MSR_IA32_STAR), 0x7000 + VCPU_MSR_STAR);
    assert_int_equal(*fake_msr(fake_cpu(), MSR_IA32_LSTAR), 0x7000 + VCPU_MSR_LSTAR);
    assert_int_equal(*fake_msr(fake_cpu(), MSR_IA32_CSTAR), 0x7000 + VCPU_MSR_CSTAR);
    assert_int_equal(*fake_msr(fake_cpu(), MSR_IA32_FMASK), 0x7000 + VCPU_MSR_SFMASK);
    assert_int_equal(*fake_msr(fake_cpu(), MSR_IA32_KERNEL_GS_BASE), 0x7000 + VCPU_MSR_KERNEL_GS_BASE);
    assert_int_equal(*fake_msr(fake_cpu(), MSR_IA32_TSC_AUX), 0x7000 + VCPU_MSR_TSC_AUX);
    assert_int_equal(x->xcr0, XCR0_X87 | XCR0_SSE | XCR0_AVX);
    assert_int_equal(x->fxsave[160], 0x77);
    assert_int_equal(x->fxsave[415], 0x77);
    assert_int_equal(x->avx[255], 0x88);
    assert_false(x->cr0 & CR0_TS);
    assert_int_equal(x->cr2, 0xc2);
    if (guest_debug_registers[0])
        assert_memory_equal(x->dr, guest_debug_registers, sizeof(guest_debug_registers));
    assert_int_equal(gpr[GPR_RAX], 0xaa);
}

static void guest_changes_things(uint64_t gpr[16])
{
    struct fake_x86 *x = fake_x86_here();

    guest_looks_around(gpr);
    *fake_msr(fake_cpu(), MSR_IA32_KERNEL_GS_BASE) = 0x9000; /* SWAPGS */
    memset(x->fxsave + 160, 0x99, 256);
    memset(x->avx, 0, sizeof(x->avx));
    x->xinuse &= ~XCR0_AVX; /* VZEROALL and the like */
    if (guest_debug_registers[0])
        x->dr[2] = 0x12345;
    x->cr2 = 0xc3;
    gpr[GPR_RAX] = 0xbb;
    gpr[GPR_R15] = 0xcc;
}

static void run_and_compare(uint32_t cpu)
{
    static struct fake_x86 before;
    const char *difference;

    fake_set_cpu(cpu);
    before = *fake_x86(cpu);
    set_guest_state();
    v->gpr[GPR_RAX] = 0xaa;
    v->cr2 = 0xc2;
    FAKE_GUEST({.run = guest_changes_things, .reason = EXIT_REASON_CPUID});
    run_once();
    assert_int_equal(fake_guest_left(), 0);
    difference = fake_x86_difference(&before, fake_x86(cpu));
    if (difference)
        fail_msg("not the host's again: %s", difference);
    assert_int_equal(v->msr[VCPU_MSR_KERNEL_GS_BASE], 0x9000);
    assert_int_equal(v->msr[VCPU_MSR_LSTAR], 0x7000 + VCPU_MSR_LSTAR);
    assert_int_equal(((uint8_t *)v->xsave)[200], 0x99);
    assert_int_equal(((uint8_t *)v->xsave)[512], XCR0_X87 | XCR0_SSE);
    assert_int_equal(v->gpr[GPR_RAX], 0xbb);
    assert_int_equal(v->gpr[GPR_R15], 0xcc);
    assert_int_equal(v->cr2, 0xc3);
    if (guest_debug_registers[0])
        assert_int_equal(v->dr[2], 0x12345);
}

static void the_host_gets_its_state_back(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 4; i++)
            guest_debug_registers[i] = round ? 0x4000 + i : 0;
        run_and_compare(0);
        run_and_compare(1);
    }
}

/* Nothing was entered between load and put. */
static void loading_alone_changes_nothing(void **state)
{
    static struct fake_x86 before;
    const char *difference;

    (void)state;
    before = *fake_x86(0);
    guest_debug_registers[0] = 0x4000;
    set_guest_state();
    load();
    put();
    difference = fake_x86_difference(&before, fake_x86(0));
    if (difference)
        fail_msg("not the host's again: %s", difference);
    assert_int_equal(v->msr[VCPU_MSR_KERNEL_GS_BASE], 0x7000 + VCPU_MSR_KERNEL_GS_BASE);
    assert_int_equal(((uint8_t *)v->xsave)[200], 0x77);
}

/* MSRs that are equal anyway are not written. */
static void equal_msrs_are_not_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        v->msr[VCPU_MSR_STAR] = *fake_msr(0, MSR_IA32_STAR);
        v->msr[VCPU_MSR_LSTAR] = *fake_msr(0, MSR_IA32_LSTAR);
        v->msr[VCPU_MSR_CSTAR] = *fake_msr(0, MSR_IA32_CSTAR);
        v->msr[VCPU_MSR_SFMASK] = *fake_msr(0, MSR_IA32_FMASK);
        v->msr[VCPU_MSR_KERNEL_GS_BASE] = *fake_msr(0, MSR_IA32_KERNEL_GS_BASE);
        v->msr[VCPU_MSR_TSC_AUX] = *fake_msr(0, MSR_IA32_TSC_AUX);
        fake_x86_counts = (struct fake_x86_counts){0};
        run_cpuid();
        assert_int_equal(fake_x86_counts.msr_writes, 0);
        assert_int_equal(fake_x86_counts.dr_writes, 0);
    }
    printf("# a run outside of its exits: %u RDMSR, %u WRMSR, %u XSAVE, %u XRSTOR, %u XSETBV\n",
           (unsigned)fake_x86_counts.msr_reads, (unsigned)fake_x86_counts.msr_writes, (unsigned)fake_x86_counts.xsaves,
           (unsigned)fake_x86_counts.xrstors, (unsigned)fake_x86_counts.xcr0_writes);
}

static void writes_reach_a_loaded_cpu(void **state)
{
    (void)state;
    load();
    vcpu_write_msr(v, VCPU_MSR_LSTAR, 0x123000);
    vcpu_write_xcr0(v, XCR0_X87 | XCR0_SSE);
    assert_int_equal(*fake_msr(0, MSR_IA32_LSTAR), 0x123000);
    assert_int_equal(fake_x86(0)->xcr0, XCR0_X87 | XCR0_SSE);
    put();
    assert_int_equal(*fake_msr(0, MSR_IA32_LSTAR), 0xffffffff81000200);
    assert_int_equal(fake_x86(0)->xcr0, XCR0_X87 | XCR0_SSE | XCR0_AVX);
    vcpu_write_msr(v, VCPU_MSR_LSTAR, 0x456000);
    vcpu_write_xcr0(v, XCR0_X87);
    assert_int_equal(*fake_msr(0, MSR_IA32_LSTAR), 0xffffffff81000200);
    assert_int_equal(v->msr[VCPU_MSR_LSTAR], 0x456000);
    assert_int_equal(v->xcr0, XCR0_X87);
}

/* The guest touches its debug registers in mid-run: no exits from then on. */
static void debug_registers_on_demand(void **state)
{
    static struct fake_x86 before;

    (void)state;
    before = *fake_x86(0);
    v->dr[1] = 0xd1;
    FAKE_GUEST({.reason = EXIT_REASON_MOV_DR}, {.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID});
    load();
    enter();
    assert_true(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_MOV_DR);
    assert_int_equal(fake_x86(0)->dr[1], before.dr[1]);
    vcpu_use_debug_registers(v);
    enter();
    assert_false(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_MOV_DR);
    assert_int_equal(fake_x86(0)->dr[1], 0xd1);
    put();
    assert_null(fake_x86_difference(&before, fake_x86(0)));
    load(); /* with the rest */
    assert_int_equal(fake_x86(0)->dr[1], 0xd1);
    enter();
    assert_false(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_MOV_DR);
    put();
    assert_null(fake_x86_difference(&before, fake_x86(0)));
}

/* -------------------------------------------------------------------------- refused entries */

static void a_refused_guest_is_explained(void **state)
{
    struct hv_exit exit;

    (void)state;
    fake_vmx_expect_refusal(true);
    set_mode(LONG);
    v->seg[SEG_CS].attributes &= (uint16_t)~SEG_P;
    v->event = EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD);
    exit = run_once();
    assert_int_equal(exit.reason, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_string_equal(v->finding.rule, "guest.cs.p");
    assert_true(fake_log_contains("guest.cs.p"));
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD)); /* was not delivered */
    assert_true(v->valid & VCPU_RIP);
    v->seg[SEG_CS].attributes |= SEG_P;
    v->event = 0; /* the client thinks better of it */
    vcpu_changed(v, VCPU_CS);
    run_cpuid();
    assert_int_equal(fake_vmx_injected().info, 0);
}

static void refused_controls_are_explained(void **state)
{
    (void)state;
    fake_vmx_expect_refusal(true);
    v->controls.tpr_threshold = 9; /* above CR8 */
    vcpu_changed(v, VCPU_CONTROLS);
    assert_int_equal(run_once().reason, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_int_equal(v->finding.field_encoding, VMCS_TPR_THRESHOLD);
    v->controls.tpr_threshold = 0;
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
}

static void a_refused_host_is_explained(void **state)
{
    (void)state;
    fake_vmx_expect_refusal(true);
    *fake_msr(0, MSR_IA32_FS_BASE) = 0x8000000000000000;
    assert_int_equal(run_once().reason, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_int_equal(v->finding.field_encoding, VMCS_HOST_FS_BASE);
    *fake_msr(0, MSR_IA32_FS_BASE) = 0;
    run_cpuid();
}

/* All rules hold as far as we know them, and yet the CPU says no. */
static void an_unknown_refusal_is_told(void **state)
{
    (void)state;
    assert_int_equal(exit_of((struct fake_step){.reason = (uint32_t)EXIT_REASON_ENTRY_FAILED | 33}).reason,
                     HV_EXIT_INVALID_REGISTER_VALUE);
    assert_string_equal(v->finding.rule, "unknown");
    assert_true(fake_log_contains("unknown reason"));
    assert_int_equal(exit_of((struct fake_step){.vm_fail = VMX_ERROR_ENTRY_CONTROLS}).reason,
                     HV_EXIT_INVALID_REGISTER_VALUE);
    run_cpuid();
}

/* A machine check during the entry: the host's handler is called, and the entry is tried again. */
static void a_machine_check_during_entry(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_mode(PROTECTED);
    v->event = EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD);
    FAKE_GUEST({.reason = (uint32_t)EXIT_REASON_ENTRY_FAILED | EXIT_REASON_ENTRY_MCE}, {.reason = EXIT_REASON_CPUID});
    load();
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_HOST_EVENT);
    assert_int_equal(fake_x86(0)->machine_checks, 1);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD));
    v->event = 0; /* what the client takes back is not delivered */
    enter();
    assert_int_equal(fake_vmx_injected().info, 0);
    put();
}

/* -------------------------------------------------------------------------- the fake is a judge */

static void access_elsewhere(void *arg)
{
    (void)arg;
    vmx_read(VMCS_GUEST_RIP);
}

static void misuse_is_found(void **state)
{
    void *page = hv_host_page_alloc();
    uint64_t flags;

    (void)state;
    pin();
    expect_assert_failure(vmx_read(VMCS_GUEST_PKRS));
    expect_assert_failure(vmx_write(VMCS_EXIT_REASON, 0));
    expect_assert_failure(vmx_vmxoff());
    expect_assert_failure(vmx_vmptrld(hv_host_virt_to_phys(page)));
    expect_assert_failure(vmx_vmclear(backend_cpu_of(0)->region_pa));
    expect_assert_failure(vmx_entry(vmx())); /* interrupts on */
    expect_assert_failure(cpu_write_cr4(cpu_read_cr4() & ~CR4_VMXE));
    expect_assert_failure(cpu_write_xcr0(XCR0_AVX));
    expect_assert_failure(cpu_load_tr(FAKE_SEL_TSS)); /* is busy */
    expect_assert_failure(cpu_xsave((char *)v->xsave + 16, 7));
    expect_assert_failure(cpu_read_msr(0x12345));
    expect_assert_failure(vmx_invept(INVEPT_SINGLE, 0));
    unpin();
    expect_assert_failure(vmx_read(VMCS_GUEST_RIP)); /* not pinned */
    expect_assert_failure(hv_host_page_free(vmx()->vmcs));
    expect_assert_failure(hv_host_page_free(backend_cpu_of(1)->region));
    expect_assert_failure(fake_vmx_assert_clean());
    fake_set_cpu(1);
    hv_host_preempt_disable();
    flags = hv_host_irq_save();
    expect_assert_failure(access_elsewhere(NULL)); /* no current VMCS */
    expect_assert_failure(vmx_vmptrld(vmx()->vmcs_pa));
    expect_assert_failure(vmx_vmclear(vmx()->vmcs_pa));
    hv_host_irq_restore(flags);
    hv_host_preempt_enable();
    fake_set_cpu(0);
    hv_host_page_free(page);
    run_cpuid();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VMX_TEST(entry_in_every_mode),
        VMX_TEST(entry_with_every_shadow),
        VMX_TEST(registers_round_trip),
        VMX_TEST(groups_are_apart),
        VMX_TEST(segments_that_are_not_present),
        VMX_TEST(cr0_has_a_shadow),
        VMX_TEST(cr4_has_a_shadow),
        VMX_TEST(efer_and_the_entry_control),
        VMX_TEST(guest_switches_modes_by_itself),
        VMX_TEST(cr8_is_the_task_priority),
        VMX_TEST(shadow_and_nmi_blocking),
        VMX_TEST(raw_access),
        VMX_TEST(controls_follow_the_core),
        VMX_TEST(msr_bitmap),
        VMX_TEST(reentry_writes_nothing),
        VMX_TEST(a_changed_group_is_written_once),
        VMX_TEST(the_host_is_looked_at_when_loaded),
        VMX_TEST(every_exit),
        VMX_TEST(exception_contents),
        VMX_TEST(io_contents),
        VMX_TEST(memory_contents),
        VMX_TEST(cr_contents),
        VMX_TEST(unexpected_exits),
        VMX_TEST(context_of_an_exit),
        VMX_TEST(events_of_all_types),
        VMX_TEST(error_codes_where_they_belong),
        VMX_TEST(an_interrupted_nmi_is_unblocked),
        VMX_TEST(an_iret_that_faults_blocks_nmis_again),
        VMX_TEST(migration),
        VMX_TEST(migration_without_a_run),
        VMX_TEST(two_vcpus_take_turns),
        VMX_TEST(flushes_follow_the_generation),
        VMX_TEST(the_first_entry_flushes),
        VMX_TEST(the_deadline),
        VMX_TEST(the_host_gets_its_state_back),
        UNUSUAL_TEST(the_host_gets_its_state_back),
        UNUSUAL_TEST(loading_alone_changes_nothing),
        VMX_TEST(equal_msrs_are_not_written),
        VMX_TEST(writes_reach_a_loaded_cpu),
        UNUSUAL_TEST(debug_registers_on_demand),
        VMX_TEST(a_refused_guest_is_explained),
        VMX_TEST(refused_controls_are_explained),
        VMX_TEST(a_refused_host_is_explained),
        VMX_TEST(an_unknown_refusal_is_told),
        VMX_TEST(a_machine_check_during_entry),
        VMX_TEST(misuse_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
