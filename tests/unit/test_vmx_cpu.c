/* SPDX-License-Identifier: MIT */
/* The VMX backend and the host's CPUs: migration and flushes, the timer, the host's own state, entries that are
 * refused. */
#include "vmx_vcpu.h"

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

static hv_hpa_t any_page(void *arg, uint64_t offset, uint64_t *size)
{
    *size = HV_PAGE_SIZE;
    (void)arg;
    return HV_SIZE_1G + offset;
}

static uint64_t eptp_now(void)
{
    uint64_t eptp;

    pin();
    eptp = vmx_read(VMCS_EPTP);
    unpin();
    return eptp;
}

/* Accessed and dirty bits from the first tracked range on: for vcpus that are there already, and for later ones. */
static void dirty_bits_on_demand(void **state)
{
    struct vcpu *first = v, *second;

    (void)state;
    run_cpuid();
    assert_int_equal(eptp_now() & EPTP_AD, 0);
    assert_int_equal(npt_map(&npt, 0, HV_PAGE_SIZE, any_page, NULL, NPT_RIGHTS), HV_OK);
    generation++;
    fake_vmx_forget();
    run_cpuid();
    assert_int_equal(eptp_now() & EPTP_AD, 0);
    EXPECT_NO_WRITES();
    assert_int_equal(npt_map(&npt, 0, HV_PAGE_SIZE, any_page, NULL, NPT_RIGHTS | NPT_TRACK), HV_OK);
    generation++;
    fake_vmx_forget();
    run_cpuid();
    assert_int_equal(eptp_now(), npt.root_pa | EPTP_AD | MEM_TYPE_WB | 3 << 3);
    flushes_are(1, 0);
    assert_int_equal(fake_last_invept().operand, vmx()->eptp);
    fake_vmx_forget();
    generation++;
    run_cpuid();
    EXPECT_NO_WRITES();
    second = vcpu_create(&npt, &generation);
    assert_non_null(second);
    v = second;
    run_cpuid();
    assert_int_equal(eptp_now(), to_vmx(first)->eptp);
    vcpu_destroy(second);
    v = first;
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

/* VPIDs of vcpus that are gone are used again. */
static void vpids_come_back(void **state)
{
    uint16_t first = vmx()->vpid;

    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        struct vcpu *other = backend()->vcpu_create(&npt);

        assert_int_not_equal(to_vmx(other)->vpid, 0);
        assert_int_not_equal(to_vmx(other)->vpid, first);
        backend()->vcpu_destroy(other);
    }
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
    assert_true(v->has_deadline);
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

/* While the CPU has them, DR6 is the guest's to change and the core's: neither loses what the other wrote. */
static void dr6_while_it_is_loaded(void **state)
{
    static struct fake_x86 before;

    (void)state;
    before = *fake_x86(0);
    v->dr_wanted = true;
    v->dr6 = DR6_RESET | 1;
    FAKE_GUEST({.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID});
    load();
    enter();
    assert_int_equal(fake_x86(0)->dr6, DR6_RESET | 1);
    fake_x86(0)->dr6 = DR6_RESET | 2; /* by the guest */
    vcpu_need(v, VCPU_DR6);
    assert_int_equal(v->dr6, DR6_RESET | 2);
    v->dr6 = DR6_RESET | 4; /* by the core, as for a #DB that it injects */
    vcpu_changed(v, VCPU_DR6);
    enter();
    assert_int_equal(fake_x86(0)->dr6, DR6_RESET | 4);
    v->dr6 = DR6_RESET | 8;
    vcpu_changed(v, VCPU_DR6);
    put(); /* before an entry could load it */
    assert_null(fake_x86_difference(&before, fake_x86(0)));
    assert_int_equal(v->dr6, DR6_RESET | 8);
    load();
    enter();
    assert_int_equal(fake_x86(0)->dr6, DR6_RESET | 8);
    put();
    assert_int_equal(v->dr6, DR6_RESET | 8);
    assert_null(fake_x86_difference(&before, fake_x86(0)));
}

/* KERNEL_GS_BASE changes without an exit (SWAPGS); the others are what was last written. */
static void msrs_are_read_where_they_are(void **state)
{
    (void)state;
    v->msr[VCPU_MSR_KERNEL_GS_BASE] = 0x1000;
    v->msr[VCPU_MSR_STAR] = 0x2000;
    assert_int_equal(vcpu_read_msr(v, VCPU_MSR_KERNEL_GS_BASE), 0x1000);
    FAKE_GUEST({.reason = EXIT_REASON_CPUID});
    load();
    enter();
    *fake_msr(0, MSR_IA32_KERNEL_GS_BASE) = 0x3000;
    assert_int_equal(vcpu_read_msr(v, VCPU_MSR_KERNEL_GS_BASE), 0x3000);
    assert_int_equal(vcpu_read_msr(v, VCPU_MSR_STAR), 0x2000);
    put();
    assert_int_equal(vcpu_read_msr(v, VCPU_MSR_KERNEL_GS_BASE), 0x3000);
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
    expect_assert_failure(vmx_vmptrld(hv_host_virt_to_phys(page, NULL)));
    expect_assert_failure(vmx_vmclear(backend_cpu_of(0)->region_pa));
    expect_assert_failure(vmx_run_guest(vmx())); /* interrupts on */
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
        VMX_TEST(migration),
        VMX_TEST(migration_without_a_run),
        VMX_TEST(two_vcpus_take_turns),
        VMX_TEST(flushes_follow_the_generation),
        VMX_TEST(dirty_bits_on_demand),
        VMX_TEST(the_first_entry_flushes),
        VMX_TEST(vpids_come_back),
        VMX_TEST(the_deadline),
        VMX_TEST(the_host_gets_its_state_back),
        UNUSUAL_TEST(the_host_gets_its_state_back),
        UNUSUAL_TEST(loading_alone_changes_nothing),
        VMX_TEST(equal_msrs_are_not_written),
        VMX_TEST(writes_reach_a_loaded_cpu),
        UNUSUAL_TEST(debug_registers_on_demand),
        UNUSUAL_TEST(dr6_while_it_is_loaded),
        UNUSUAL_TEST(msrs_are_read_where_they_are),
        VMX_TEST(a_refused_guest_is_explained),
        VMX_TEST(refused_controls_are_explained),
        VMX_TEST(a_refused_host_is_explained),
        VMX_TEST(an_unknown_refusal_is_told),
        VMX_TEST(a_machine_check_during_entry),
        VMX_TEST(misuse_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
