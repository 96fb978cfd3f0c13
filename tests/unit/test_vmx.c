/* SPDX-License-Identifier: MIT */
/*
 * The VMX backend on a fake CPU: register state through the VMCS, controls, exits in neutral words, events, and how
 * many VMREADs and VMWRITEs all of that takes. The library's auditor judges every entry (fake_vmx.h); what the core
 * does with the exits is test_run.c's.
 */
#include "vmx_vcpu.h"
#include <arch/bits/apic.h>
#include <stdlib.h>

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

/* Machine checks are the host's, whatever the guest says: with MCE off in the CPU one would stop the machine. */
static void machine_checks_stay_on(void **state)
{
    (void)state;
    fake_x86(0)->cr4 |= CR4_MCE;
    pin();
    v->cr4 = CR4_PAE;
    vcpu_changed(v, VCPU_CR4);
    vmx_sync(vmx());
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_CR4) & CR4_MCE, CR4_MCE);
    assert_int_equal(fake_vmcs_get(VMCS_CR4_SHADOW) & CR4_MCE, 0);
    assert_true(fake_vmcs_get(VMCS_CR4_MASK) & CR4_MCE); /* its own writes of the bit exit */
    v->valid &= ~VCPU_CR4;
    vcpu_need(v, VCPU_CR4);
    assert_int_equal(v->cr4, CR4_PAE);
    fake_x86(0)->cr4 &= ~CR4_MCE;
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
    backend()->exit_on_msr(v, MSR_IA32_TSC, true, false);
    assert_false(is_direct(MSR_IA32_TSC, false));
    backend()->exit_on_msr(v, MSR_IA32_TSC, false, false);
    assert_true(is_direct(MSR_IA32_TSC, false) && !is_direct(MSR_IA32_TSC, true));
    backend()->exit_on_msr(v, MSR_IA32_FS_BASE, false, true);
    assert_true(is_direct(MSR_IA32_FS_BASE, false) && !is_direct(MSR_IA32_FS_BASE, true));
    backend()->exit_on_msr(v, MSR_IA32_FS_BASE, false, false);
    assert_true(is_direct(MSR_IA32_FS_BASE, true));
    backend()->exit_on_msr(v, MSR_IA32_MISC_ENABLE, false, false);
    assert_false(is_direct(MSR_IA32_MISC_ENABLE, false));
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
    EXPECT_READS(VMCS_GUEST_RIP, VMCS_EXIT_REASON, VMCS_EXIT_INSTR_LENGTH);
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

#define REASON        VMCS_EXIT_REASON
#define QUALIFICATION VMCS_EXIT_QUALIFICATION
#define LENGTH        VMCS_EXIT_INSTR_LENGTH
#define VECTORING     VMCS_IDT_VECTORING_INFO

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
     HV_EXIT_EXCEPTION, 0, {{REASON, VMCS_EXIT_INTR_INFO, VMCS_EXIT_INTR_ERROR_CODE, VMCS_GUEST_CR0, VECTORING}, 5}},
    {"page fault", {.reason = EXIT_REASON_EXCEPTION_NMI, .intr_error = 2, .qualification = 0x1000,
     .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR},
     HV_EXIT_EXCEPTION, 0, {{REASON, VMCS_EXIT_INTR_INFO, VMCS_EXIT_INTR_ERROR_CODE, QUALIFICATION, VMCS_GUEST_CR0, VECTORING}, 6}},
    {"INT3", {.reason = EXIT_REASON_EXCEPTION_NMI, .length = 1, .intr_info = INFO(INTR_TYPE_SW_EXCEPTION, VEC_BP)},
     HV_EXIT_EXCEPTION, 1, {{REASON, VMCS_EXIT_INTR_INFO, VECTORING, LENGTH}, 4}},
    {"triple fault", {.reason = EXIT_REASON_TRIPLE_FAULT}, HV_EXIT_UNRECOVERABLE_EXCEPTION, -1, {{REASON}, 1}},
    {"task switch", {.reason = EXIT_REASON_TASK_SWITCH, .qualification = 0x40000018},
     HV_EXIT_UNSUPPORTED_FEATURE, 0, {{REASON, VECTORING, QUALIFICATION}, 3}},
    {"interrupt window", {.reason = EXIT_REASON_INTR_WINDOW}, HV_EXIT_WINDOW, 0, {{REASON}, 1}},
    {"NMI window", {.reason = EXIT_REASON_NMI_WINDOW}, HV_EXIT_WINDOW, 0, {{REASON}, 1}},
    {"TPR below threshold", {.reason = EXIT_REASON_TPR_BELOW}, HV_EXIT_TPR, -1, {{REASON}, 1}},
    {"preemption timer", {.reason = EXIT_REASON_PREEMPTION_TIMER}, HV_EXIT_TIMER, -1, {{REASON}, 1}},
    {"CPUID", {.reason = EXIT_REASON_CPUID, .length = 2}, HV_EXIT_CPUID, 2, {{REASON, LENGTH}, 2}},
    {"RDMSR", {.reason = EXIT_REASON_RDMSR, .length = 2}, HV_EXIT_MSR, 2, {{REASON, LENGTH}, 2}},
    {"WRMSR", {.reason = EXIT_REASON_WRMSR, .length = 2}, HV_EXIT_MSR, 2, {{REASON, LENGTH}, 2}},
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

        set_mode(PROTECTED);
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

static void exception_contents(void **state)
{
    const struct fake_step page_fault = {.reason = EXIT_REASON_EXCEPTION_NMI,
                                         .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR,
                                         .intr_error = 7,
                                         .qualification = 0xfeed000};
    struct hv_exit exit;

    (void)state;
    exit = exit_of(page_fault);
    assert_true(!exit.exception.has_error_code && exit.exception.error_code == 0); /* real mode has none */
    set_mode(PROTECTED);
    exit = exit_of(page_fault);
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
    assert_true(exit.io.access.is_write && !exit.io.access.is_string && !exit.io.access.has_rep);
    assert_int_equal(exit.io.access.size, 4);
    assert_int_equal(exit.io.port, 0x3f8);
    assert_int_equal(exit.io.rax, 0xabcd);
    exit = exit_of(
        (struct fake_step){.reason = EXIT_REASON_IO,
                           .length = 2,
                           .qualification = FIELD_PUT(QUAL_IO_PORT, 0x60) | QUAL_IO_IN | QUAL_IO_STRING | QUAL_IO_REP});
    assert_true(!exit.io.access.is_write && exit.io.access.is_string && exit.io.access.has_rep);
    assert_int_equal(exit.io.access.size, 1);
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
    assert_int_equal(exit_of((struct fake_step){.reason = EXIT_REASON_PML_FULL}).reason, HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("exit reason 62"));
    assert_int_equal(exit_of((struct fake_step){.reason = 999}).reason, HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("exit reason 999"));
    assert_int_equal(exit_of((struct fake_step){.reason = EXIT_REASON_EPT_MISCONFIG, .gpa = 0xabc000}).reason,
                     HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("0xabc000"));
}

static void context_of_an_exit(void **state)
{
    const struct hv_exit exit = {.reason = HV_EXIT_CPUID, .instruction_length = 2};
    struct hv_exit_context to;

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
    vmx_context(v, &exit, &to);
    printf("# context of an exit to the client: %u VMREAD\n", (unsigned)fake_vmx_counts.reads);
    EXPECT_READS(VMCS_GUEST_RIP, VMCS_GUEST_RFLAGS, VMCS_GUEST_CS_SELECTOR, VMCS_GUEST_CS_BASE, VMCS_GUEST_CS_LIMIT,
                 VMCS_GUEST_CS_ACCESS, VMCS_GUEST_CR0, VMCS_GUEST_EFER, VMCS_GUEST_SS_ACCESS, VMCS_GUEST_DR7,
                 VMCS_GUEST_INTERRUPTIBILITY);
    put();
    assert_int_equal(to.vp.execution_state,
                     3 | HV_EXEC_CR0_PE | HV_EXEC_CR0_AM | HV_EXEC_EFER_LMA | HV_EXEC_DEBUG_ACTIVE);
    assert_int_equal(to.vp.instruction_length, 2);
    assert_int_equal(to.vp.rip, 0x401000);
    assert_int_equal(to.vp.rflags, RFLAGS_FIXED);
    assert_int_equal(to.vp.cr8, 5);
    assert_memory_equal(&to.vp.cs, &v->seg[SEG_CS], sizeof(to.vp.cs));
    /* the same when all of it is in the cache */
    pin();
    vcpu_need(v, VCPU_ALL);
    v->interrupt_shadow = true;
    v->event = HV_PENDING_INT_VALID;
    fake_vmx_forget();
    vmx_context(v, &exit, &to);
    EXPECT_NO_READS();
    v->event = 0;
    unpin();
    assert_int_equal(to.vp.execution_state, 3 | HV_EXEC_CR0_PE | HV_EXEC_CR0_AM | HV_EXEC_EFER_LMA |
                                                HV_EXEC_DEBUG_ACTIVE | HV_EXEC_INTERRUPT_SHADOW |
                                                HV_EXEC_INTERRUPTION_PENDING);
}

/* --------------------------------------------------------------------------------- events */

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
        VMX_TEST(machine_checks_stay_on),
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
