/* SPDX-License-Identifier: MIT */
/* The SVM backend and the host's CPUs: turning it on, ASIDs and flushes, the host's own state, entries that are
 * refused, memory that is not there. */
#include "svm_vcpu.h"
#include <stdlib.h>

/* ----------------------------------------------------------------------------------- on and off */

static struct fake_x86 before[2];

static void note_hosts(void)
{
    for (uint32_t cpu = 0; cpu < 2; cpu++)
        before[cpu] = *fake_x86(cpu);
}

static void assert_hosts(void)
{
    for (uint32_t cpu = 0; cpu < 2; cpu++) {
        const char *difference = fake_x86_difference(&before[cpu], fake_x86(cpu));

        if (difference)
            fail_msg("CPU %u is not the host's again: %s", cpu, difference);
    }
}

static int setup_alone(void **state)
{
    if (machine_setup(state))
        return -1;
    fake_svm_make(FAKE_SVM_FEATURES);
    fake_set_cpus(2);
    look_again();
    return 0;
}

/* Virtualization is off when it begins, and when it ends. */
#define CPU_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_alone, machine_teardown)

static void on_and_off(void **state)
{
    (void)state;
    *fake_msr(1, MSR_AMD_TSC_RATIO) = 0x180000000; /* somebody has used it */
    note_hosts();
    assert_int_equal(backend_on(), HV_OK);
    for (uint32_t cpu = 0; cpu < 2; cpu++) {
        assert_true(fake_svm_is_on(cpu));
        assert_int_equal(*fake_msr(cpu, MSR_AMD_VM_HSAVE_PA), backend_cpu_of(cpu)->region_pa);
        assert_int_equal(*fake_msr(cpu, MSR_AMD_TSC_RATIO), BIT64(32));
    }
    assert_int_equal(backend_on(), HV_OK); /* one more user */
    backend_off();
    assert_true(fake_svm_is_on(1));
    backend_off();
    assert_hosts();
}

/* Without the lock anybody may turn the switch. */
static void a_switch_that_is_not_locked(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < 2; cpu++)
        *fake_msr(cpu, MSR_AMD_VM_CR) = VM_CR_SVMDIS;
    assert_int_equal(backend_on(), HV_OK);
    assert_true(fake_svm_is_on(0) && fake_svm_is_on(1));
    backend_off();
}

/* The second CPU refuses: the first is turned off again. */
static void a_cpu_that_refuses(void **state)
{
    (void)state;
    *fake_msr(1, MSR_AMD_VM_CR) = VM_CR_SVMDIS | VM_CR_LOCK;
    note_hosts();
    assert_int_equal(backend_on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("CPU 1: SVM is locked off in VM_CR"));
    assert_hosts();
    *fake_msr(1, MSR_AMD_VM_CR) = 0;
    *fake_msr(1, MSR_IA32_EFER) |= EFER_SVME;
    note_hosts();
    assert_int_equal(backend_on(), HV_E_NOT_PRESENT);
    assert_true(fake_log_contains("CPU 1: EFER.SVME is set"));
    assert_hosts();
    *fake_msr(1, MSR_IA32_EFER) &= ~EFER_SVME;
}

/* Every request for memory fails once, from the first page on: nothing is left behind. */
static void memory_that_is_not_there(void **state)
{
    unsigned failures = 0;

    (void)state;
    for (unsigned n = 1;; n++) {
        struct npt tables;
        struct vcpu *vcpu = NULL;

        fake_fail_after(n);
        if (backend_on() == HV_OK) {
            if (npt_init(&tables, backend()->npt_format()) == HV_OK) {
                vcpu = vcpu_create(&tables, &generation);
                npt_destroy(&tables);
            }
            if (vcpu)
                vcpu_destroy(vcpu);
            backend_off();
        }
        fake_assert_clean();
        if (!fake_has_failed())
            break;
        assert_null(vcpu);
        failures++;
    }
    fake_fail_after(0);
    assert_true(failures >= 10); /* the pages of two CPUs, the tables, the vcpu with its VMCB, maps and images */
}

/* The map of ports is shared: it goes with the last vcpu. */
static void the_last_vcpu_takes_the_map(void **state)
{
    uint64_t pages = fake_counts().pages, one, two;
    struct vcpu *second;

    (void)state;
    second = vcpu_create(&npt, &generation);
    assert_non_null(second);
    two = fake_counts().pages;
    vcpu_destroy(second);
    assert_int_equal(fake_counts().pages, pages);
    one = two - pages;
    vcpu_destroy(v);
    assert_int_equal(fake_counts().pages, pages - one - IOPM_PAGES);
    v = vcpu_create(&npt, &generation);
    assert_non_null(v);
    assert_int_equal(fake_counts().pages, pages);
    run_cpuid();
}

/* ------------------------------------------------------------------------------ CPUs and flushes */

static uint32_t asid_on(uint32_t cpu)
{
    fake_set_cpu(cpu);
    run_cpuid();
    return seen()->asid;
}

/* The fake judges that neither clean bits nor translations are used that another CPU has made stale. */
static void migration(void **state)
{
    (void)state;
    run_cpuid();
    run_cpuid();
    assert_int_equal(fake_svm_vmcb_cpu(svm()->vmcb_pa), 0);
    assert_int_equal(v->migrations, 0);
    for (unsigned round = 1; round < 40; round++) {
        asid_on(round & 1);
        assert_int_equal(seen()->clean, 0);
        assert_int_equal(v->migrations, round);
        assert_int_equal(fake_svm_vmcb_cpu(svm()->vmcb_pa), round & 1);
        run_cpuid();
        assert_int_equal(seen()->clean, svm_has(CPUID_SVM_EDX_VMCB_CLEAN) ? CLEAN_ALL : 0);
        assert_int_equal(seen()->tlb_control, TLB_KEEP);
        assert_int_equal(v->migrations, round);
    }
    fake_set_cpu(0);
}

/* An access outside of a run moves the vcpu too: what a CPU may have kept of it is not trusted. */
static void migration_without_a_run(void **state)
{
    (void)state;
    run_cpuid();
    fake_set_cpu(1);
    pin();
    unpin();
    fake_set_cpu(0);
    run_cpuid();
    assert_int_equal(v->migrations, 0);
}

#define VCPUS (2 * FAKE_SVM_ASIDS)

/* Twice as many vcpus as ASIDs, on two CPUs, in an order without order. */
static void more_vcpus_than_asids(void **state)
{
    struct vcpu *vcpus[VCPUS] = {v};
    uint32_t order = 1;

    (void)state;
    for (unsigned i = 1; i < VCPUS; i++) {
        vcpus[i] = vcpu_create(&npt, &generation);
        assert_non_null(vcpus[i]);
    }
    for (unsigned i = 0; i < 2000; i++) {
        order = order * 1664525 + 1013904223;
        v = vcpus[order >> 16 & (VCPUS - 1)];
        fake_set_cpu(order >> 30 & 1);
        if (order >> 28 == 3)
            generation++;
        run_cpuid();
        assert_in_range(seen()->asid, 1, FAKE_SVM_ASIDS - 1);
    }
    fake_set_cpu(0);
    v = vcpus[0];
    for (unsigned i = 1; i < VCPUS; i++)
        vcpu_destroy(vcpus[i]);
}

/* As many as there are ASIDs take turns for nothing: all are flushed once, when the first comes. */
static void as_many_vcpus_as_asids(void **state)
{
    struct vcpu *vcpus[FAKE_SVM_ASIDS - 1] = {v};

    (void)state;
    for (unsigned i = 1; i < ARRAY_COUNT(vcpus); i++)
        vcpus[i] = vcpu_create(&npt, &generation);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < ARRAY_COUNT(vcpus); i++) {
            v = vcpus[i];
            run_cpuid();
            assert_int_equal(seen()->tlb_control, round + i ? TLB_KEEP : TLB_FLUSH_ALL);
        }
    assert_int_equal(fake_svm_counts.flushes_all, 1);
    v = vcpus[0];
    for (unsigned i = 1; i < ARRAY_COUNT(vcpus); i++)
        vcpu_destroy(vcpus[i]);
}

/* By ASID where the CPU can; else the vcpu gets another one, and what is under the old one is nobody's. */
static void flushes_follow_the_generation(void **state)
{
    bool by_asid = svm_has(CPUID_SVM_EDX_FLUSH_ASID);
    uint32_t first = asid_on(0);

    (void)state;
    generation++;
    run_cpuid();
    assert_int_equal(seen()->tlb_control, by_asid ? TLB_FLUSH_ASID : TLB_KEEP);
    assert_int_equal(seen()->asid == first, by_asid);
    first = seen()->asid;
    run_cpuid();
    assert_int_equal(seen()->tlb_control, TLB_KEEP);
    assert_int_equal(seen()->asid, first);
    v->flush_guest = true;
    run_cpuid();
    assert_int_equal(seen()->tlb_control, by_asid ? TLB_FLUSH_ASID : TLB_KEEP);
    assert_int_equal(seen()->asid == first, by_asid);
    assert_false(v->flush_guest);
}

/* A page that was a VMCB is one again, of another vcpu. */
static void a_vmcb_in_the_same_place(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        run_cpuid();
        run_cpuid();
        vcpu_destroy(v);
        v = vcpu_create(&npt, &generation);
        assert_non_null(v);
        assert_int_equal(fake_svm_vmcb_cpu(svm()->vmcb_pa), HV_CPU_NONE);
    }
    run_cpuid();
}

/* ------------------------------------------------------------------------------ the host's state */

static uint64_t guest_debug_registers[4];

static void set_guest_state(void)
{
    static const uint64_t in_use = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    char *image = v->xsave;

    pin();
    vcpu_need(v, VCPU_ALL & ~VCPU_STICKY);
    for (unsigned i = 0; i < VCPU_MSR_COUNT; i++)
        v->msr[i] = 0x7000 + i;
    v->sysenter_cs = 0x60;
    v->sysenter_esp = 0x61;
    v->sysenter_eip = 0x62;
    v->seg[SEG_FS].base = 0xf5000;
    v->seg[SEG_GS].base = 0x65000;
    v->dr6 = DR6_RESET | DR6_BS;
    v->dr7 = DR7_RESET | DR7_L3;
    vcpu_changed(v, VCPU_ALL & ~VCPU_STICKY);
    unpin();
    v->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    memset(image + 160, 0x77, 256); /* XMM */
    memset(image + 576, 0x88, 256); /* AVX */
    memcpy(image + 512, &in_use, 8);
    for (unsigned i = 0; i < 4; i++)
        v->dr[i] = guest_debug_registers[i];
    v->dr_wanted = guest_debug_registers[0];
}

static uint64_t msr(uint32_t index)
{
    return *fake_msr(fake_cpu(), index);
}

static void guest_looks_around(uint64_t gpr[16])
{
    const struct fake_x86 *x = fake_x86_here();

    assert_int_equal(msr(MSR_IA32_STAR), 0x7000 + VCPU_MSR_STAR);
    assert_int_equal(msr(MSR_IA32_LSTAR), 0x7000 + VCPU_MSR_LSTAR);
    assert_int_equal(msr(MSR_IA32_CSTAR), 0x7000 + VCPU_MSR_CSTAR);
    assert_int_equal(msr(MSR_IA32_FMASK), 0x7000 + VCPU_MSR_SFMASK);
    assert_int_equal(msr(MSR_IA32_KERNEL_GS_BASE), 0x7000 + VCPU_MSR_KERNEL_GS_BASE);
    assert_int_equal(msr(MSR_IA32_TSC_AUX), 0x7000 + VCPU_MSR_TSC_AUX);
    assert_int_equal(msr(MSR_IA32_SYSENTER_CS), 0x60);
    assert_int_equal(msr(MSR_IA32_SYSENTER_ESP), 0x61);
    assert_int_equal(msr(MSR_IA32_SYSENTER_EIP), 0x62);
    assert_int_equal(msr(MSR_IA32_FS_BASE), 0xf5000);
    assert_int_equal(msr(MSR_IA32_GS_BASE), 0x65000);
    assert_int_equal(x->xcr0, XCR0_X87 | XCR0_SSE | XCR0_AVX);
    assert_int_equal(x->fxsave[160], 0x77);
    assert_int_equal(x->fxsave[415], 0x77);
    assert_int_equal(x->avx[255], 0x88);
    assert_int_equal(x->cr2, 0xc2);
    assert_int_equal(x->dr6, DR6_RESET | DR6_BS);
    assert_int_equal(x->dr7, DR7_RESET | DR7_L3);
    if (guest_debug_registers[0])
        assert_memory_equal(x->dr, guest_debug_registers, sizeof(guest_debug_registers));
    assert_int_equal(gpr[GPR_RAX], 0xaa);
}

static void guest_changes_things(uint64_t gpr[16])
{
    struct fake_x86 *x = fake_x86_here();

    guest_looks_around(gpr);
    *fake_msr(fake_cpu(), MSR_IA32_KERNEL_GS_BASE) = 0x9000; /* SWAPGS */
    *fake_msr(fake_cpu(), MSR_IA32_GS_BASE) = 0x9001;
    *fake_msr(fake_cpu(), MSR_IA32_SYSENTER_EIP) = 0x9002;
    x->fs = 0x33;
    memset(x->fxsave + 160, 0x99, 256);
    memset(x->avx, 0, sizeof(x->avx));
    x->xinuse &= ~XCR0_AVX; /* VZEROALL and the like */
    if (guest_debug_registers[0]) {
        x->dr[2] = 0x12345;
        x->dr6 = DR6_RESET | DR6_B2;
        x->dr7 = DR7_RESET | DR7_G2;
    }
    x->cr2 = 0xc3;
    gpr[GPR_RAX] = 0xbb;
    gpr[GPR_RSP] = 0xdd;
    gpr[GPR_R15] = 0xcc;
}

static void assert_guest_state(void)
{
    pin();
    vcpu_need(v, VCPU_ALL & ~VCPU_STICKY);
    unpin();
    assert_int_equal(vcpu_read_msr(v, VCPU_MSR_KERNEL_GS_BASE), 0x9000);
    assert_int_equal(v->msr[VCPU_MSR_LSTAR], 0x7000 + VCPU_MSR_LSTAR);
    assert_int_equal(v->seg[SEG_GS].base, 0x9001);
    assert_int_equal(v->seg[SEG_FS].selector, 0x33);
    assert_int_equal(v->sysenter_eip, 0x9002);
    assert_int_equal(((uint8_t *)v->xsave)[200], 0x99);
    assert_int_equal(((uint8_t *)v->xsave)[512], XCR0_X87 | XCR0_SSE);
    assert_int_equal(v->gpr[GPR_RAX], 0xbb);
    assert_int_equal(v->gpr[GPR_RSP], 0xdd);
    assert_int_equal(v->gpr[GPR_R15], 0xcc);
    assert_int_equal(v->cr2, 0xc3);
    if (!guest_debug_registers[0])
        return;
    assert_int_equal(v->dr[2], 0x12345);
    assert_int_equal(v->dr6, DR6_RESET | DR6_B2);
    assert_int_equal(v->dr7, DR7_RESET | DR7_G2);
}

static void run_and_compare(uint32_t cpu)
{
    fake_set_cpu(cpu);
    note_hosts();
    set_guest_state();
    v->gpr[GPR_RAX] = 0xaa;
    v->cr2 = 0xc2;
    exit_of((struct fake_svm_step){.run = guest_changes_things, .code = CODE(CPUID), .length = 2});
    assert_int_equal(fake_svm_guest_left(), 0);
    assert_hosts();
    assert_guest_state();
    fake_set_cpu(0);
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

/* The host's thread has changed what VMLOAD takes from its page: the page is not the one of before. */
static void the_host_is_looked_at_when_loaded(void **state)
{
    (void)state;
    run_cpuid();
    *fake_msr(0, MSR_IA32_FS_BASE) += 0x10000;
    *fake_msr(0, MSR_IA32_KERNEL_GS_BASE) += 0x10000;
    *fake_msr(0, MSR_IA32_SYSENTER_ESP) += 0x10000;
    note_hosts();
    run_cpuid();
    assert_hosts();
}

/* Nothing was entered between load and put. */
static void loading_alone_changes_nothing(void **state)
{
    (void)state;
    note_hosts();
    guest_debug_registers[0] = 0x4000;
    set_guest_state();
    load();
    put();
    assert_hosts();
    assert_int_equal(v->msr[VCPU_MSR_KERNEL_GS_BASE], 0x7000 + VCPU_MSR_KERNEL_GS_BASE);
    assert_int_equal(v->dr6, DR6_RESET | DR6_BS);
    assert_int_equal(((uint8_t *)v->xsave)[200], 0x77);
}

/* What VMLOAD and VMSAVE switch costs no WRMSR. */
static void runs_without_wrmsr(void **state)
{
    (void)state;
    set_guest_state();
    v->msr[VCPU_MSR_TSC_AUX] = *fake_msr(0, MSR_IA32_TSC_AUX);
    v->dr_wanted = false;
    run_cpuid();
    fake_x86_counts = (struct fake_x86_counts){0};
    fake_svm_counts = (struct fake_svm_counts){0};
    FAKE_SVM_GUEST({.code = CODE(INTR)}, {.code = CODE(INTR)}, {.code = CODE(INTR)});
    load();
    enter();
    enter();
    enter();
    put();
    assert_int_equal(fake_x86_counts.msr_writes, 0);
    assert_int_equal(fake_svm_counts.vmsaves, 1);
    printf("# a run of 3 exits: %u RDMSR, %u VMSAVE of the host, %u XSAVE, %u XRSTOR, %u writes of DRs\n",
           (unsigned)fake_x86_counts.msr_reads, (unsigned)fake_svm_counts.vmsaves, (unsigned)fake_x86_counts.xsaves,
           (unsigned)fake_x86_counts.xrstors, (unsigned)fake_x86_counts.dr_writes);
}

static void writes_reach_a_loaded_vcpu(void **state)
{
    (void)state;
    FAKE_SVM_GUEST({.code = CODE(CPUID), .length = 2}, {.code = CODE(CPUID), .length = 2});
    load();
    enter();
    vcpu_write_msr(v, VCPU_MSR_LSTAR, 0x123000);
    vcpu_write_msr(v, VCPU_MSR_TSC_AUX, 0x77);
    vcpu_write_xcr0(v, XCR0_X87 | XCR0_SSE);
    assert_int_equal(msr(MSR_IA32_LSTAR), 0xffffffff81000200); /* the host's, between exits */
    assert_int_equal(msr(MSR_IA32_TSC_AUX), 0x77);
    assert_int_equal(fake_x86(0)->xcr0, XCR0_X87 | XCR0_SSE);
    enter();
    assert_int_equal(seen()->lstar, 0x123000);
    assert_int_equal(vcpu_read_msr(v, VCPU_MSR_LSTAR), 0x123000);
    put();
    assert_int_equal(msr(MSR_IA32_TSC_AUX), 0);
    vcpu_write_msr(v, VCPU_MSR_STAR, 0x456000);
    run_cpuid();
    assert_int_equal(seen()->star, 0x456000);
    assert_int_equal(seen()->lstar, 0x123000);
}

/* The guest touches its debug registers in mid-run: no exits from then on. */
static void debug_registers_on_demand(void **state)
{
    (void)state;
    note_hosts();
    v->dr[1] = 0xd1;
    FAKE_SVM_GUEST({.code = EXIT_DR_WRITE + 1, .length = 3}, {.code = CODE(CPUID)}, {.code = CODE(CPUID)});
    load();
    enter();
    assert_int_equal(seen()->dr_writes, 0xffff);
    assert_int_equal(fake_x86(0)->dr[1], before[0].dr[1]);
    vcpu_use_debug_registers(v);
    enter();
    assert_int_equal(seen()->dr_writes | seen()->dr_reads, 0);
    assert_int_equal(fake_x86(0)->dr[1], 0xd1);
    put();
    assert_hosts();
    load(); /* with the rest */
    assert_int_equal(fake_x86(0)->dr[1], 0xd1);
    enter();
    assert_int_equal(seen()->dr_writes | seen()->dr_reads, 0);
    put();
    assert_hosts();
}

/* -------------------------------------------------------------------------------- refused entries */

static void a_refused_guest_is_explained(void **state)
{
    (void)state;
    fake_svm_expect_refusal(true);
    set_mode(LONG);
    v->cr4 &= ~CR4_PAE;
    v->event = EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD);
    note_hosts();
    assert_int_equal(run_once().reason, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_hosts();
    assert_string_equal(v->finding.rule, "guest.cr4.long_pae");
    assert_true(fake_log_contains("guest.cr4.long_pae"));
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD)); /* was not delivered */
    assert_true(v->valid & VCPU_RIP);
    v->cr4 |= CR4_PAE;
    v->event = 0; /* the client thinks better of it */
    vcpu_changed(v, VCPU_CR4);
    run_cpuid();
    assert_int_equal(seen()->event_inj, 0);
}

/* All rules hold as far as we know them, and yet the CPU says no: some say it in 32 bits. */
static void an_unknown_refusal_is_told(void **state)
{
    (void)state;
    assert_int_equal(exit_of((struct fake_svm_step){.code = EXIT_INVALID}).reason, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_string_equal(v->finding.rule, "unknown");
    assert_true(fake_log_contains("unknown reason"));
    run_cpuid();
}

/* What an entry does for an event is undone when it does not come to it. */
static void refused_events_stay(void **state)
{
    static const uint64_t kept[] = {
        EVENT(HV_INT_TYPE_NMI, 2),
        EVENT(HV_INT_TYPE_SOFTWARE, 0x80) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2),
        EVENT(HV_INT_TYPE_PRIV_SW_EXCEPTION, VEC_DB) | FIELD_PUT(HV_PENDING_INT_LENGTH, 1),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++) {
        set_mode(PROTECTED);
        v->rip = 0x7000;
        v->event = kept[i];
        exit_of((struct fake_svm_step){.code = EXIT_INVALID});
        assert_int_equal(v->event, kept[i]);
        assert_false(v->nmi_masked);
        pin();
        vcpu_need(v, VCPU_RIP);
        unpin();
        assert_int_equal(v->rip, 0x7000);
        v->event = 0;
        run_cpuid();
        assert_int_equal(seen()->rip, 0x7000);
        assert_false(saw_intercept(INTERCEPT_IRET));
    }
}

/* To ask changes nothing, wherever it is asked. */
static void asking_the_auditor(void **state)
{
    struct hv_audit_finding finding;
    struct vcpu *first = v, *second = vcpu_create(&npt, &generation);
    struct vmcb copy;

    (void)state;
    assert_non_null(second);
    fake_set_cpu(1);
    pin();
    svm_sync(svm());
    copy = *vmcb();
    assert_false(backend()->audit(v, &finding)); /* before its first entry too */
    assert_memory_equal(vmcb(), &copy, sizeof(copy));
    unpin();
    v = second;
    run_cpuid();
    v = first;
    fake_set_cpu(0);
    run_cpuid();
    fake_set_cpu(1);
    pin();
    assert_false(backend()->audit(v, &finding));
    vcpu_need(v, VCPU_CR0);
    v->cr0 |= BIT64(40);
    vcpu_changed(v, VCPU_CR0);
    assert_true(backend()->audit(v, &finding));
    v->cr0 &= ~BIT64(40);
    vcpu_changed(v, VCPU_CR0);
    unpin();
    v->event = EVENT(HV_INT_TYPE_NMI, 2);
    pin();
    assert_false(backend()->audit(v, &finding));
    unpin();
    assert_false(v->nmi_masked);
    v->event = 0;
    run_cpuid(); /* the fake judges the ASID */
    fake_set_cpu(0);
    vcpu_destroy(second);
}

/* --------------------------------------------------------------------------- the fake is a judge */

/* The VMRUN fails the test, and says why in these words. */
static void expect_bad_vmrun(const char *why)
{
    uint64_t flags = hv_host_irq_save();
    struct fake_x86 host = *fake_x86(0);

    expect_assert_failure(svm_run_guest(svm()));
    if (!strstr(global_last_failed_assert, why))
        fail_msg("\"%s\", without \"%s\"", global_last_failed_assert, why);
    *fake_x86(0) = host; /* VMLOAD comes before VMRUN */
    hv_host_irq_restore(flags);
}

#define EXPECT_BAD(field, value, why)                   \
    do {                                                \
        __typeof__(vmcb()->field) good = vmcb()->field; \
                                                        \
        vmcb()->field = (value);                        \
        expect_bad_vmrun(why);                          \
        vmcb()->field = good;                           \
    } while (0)

static void an_illegal_vmrun_is_found(void **state)
{
    (void)state;
    FAKE_SVM_GUEST({.code = CODE(CPUID)}, {.code = CODE(PUSHF)});
    load();
    enter();
    expect_assert_failure(svm_run_guest(svm())); /* interrupts on */
    EXPECT_BAD(intercepts[0], good & ~BIT32(INTERCEPT_INTR), "INTR is not intercepted");
    EXPECT_BAD(intercepts[0], good & ~BIT32(INTERCEPT_MSR), "MSR is not intercepted");
    EXPECT_BAD(intercepts[1], good & ~BIT32(INTERCEPT_CLGI % 32), "CLGI is not intercepted");
    EXPECT_BAD(exceptions, 0, "machine checks");
    EXPECT_BAD(v_intr, 0, "IF masks the host's");
    EXPECT_BAD(nested_control, 0, "nested paging is off");
    EXPECT_BAD(msrpm_pa, good + HV_PAGE_SIZE, "ends before");
    EXPECT_BAD(iopm_pa, good + 16, "the I/O permission map is not");
    vmcb()->clean = 0;
    vmcb()->v_intr |= V_IRQ;
    EXPECT_BAD(intercepts[0], good & ~BIT32(INTERCEPT_VINTR), "a virtual interrupt without its intercept");
    vmcb()->v_intr &= ~V_IRQ;
    EXPECT_BAD(asid, 0, "control.asid");
    EXPECT_BAD(asid, FAKE_SVM_ASIDS, "ASID 16");
    EXPECT_BAD(intercepts[1], good & ~BIT32(INTERCEPT_VMRUN % 32), "control.vmrun");
    EXPECT_BAD(efer, good & ~EFER_SVME, "refused: ");
    EXPECT_BAD(event_inj, INFO(1, 0), "control.event.type");
    EXPECT_BAD(event_inj, INFO(EVENT_TYPE_EXCEPTION, VEC_NMI), "control.event.vector");
    EXPECT_BAD(tlb_control, 2, "TLB_CONTROL is 2");
    EXPECT_BAD(cr0, good | CR0_CD, "turns the caches off");
    *fake_msr(0, MSR_IA32_DEBUGCTL) = 1;
    expect_bad_vmrun("DEBUGCTL");
    *fake_msr(0, MSR_IA32_DEBUGCTL) = 0;
    generation++; /* the memory map changes, and nobody flushes */
    vmcb()->tlb_control = TLB_KEEP;
    expect_bad_vmrun("before a change of the memory map");
    generation--;
    expect_bad_vmrun("is not intercepted"); /* the PUSHF */
    expect_bad_vmrun("expects no further entry");
    put();
}

/* With all clean bits set, as after every exit. */
static void a_lie_about_clean_bits_is_found(void **state)
{
    (void)state;
    set_mode(LONG);
    run_cpuid();
    load();
    EXPECT_BAD(tsc_offset, good + 1, "the TSC offset changed");
    EXPECT_BAD(cr_reads, 1, "intercepts changed");
    EXPECT_BAD(pause_count, (uint16_t)(good + 1), "the PAUSE filter changed");
    EXPECT_BAD(asid, good + 1, "the ASID changed");
    EXPECT_BAD(v_intr, good | 5, "virtual interrupts changed");
    EXPECT_BAD(nested_cr3, good + HV_PAGE_SIZE, "the nested CR3 changed");
    EXPECT_BAD(g_pat, 0, "G_PAT changed");
    EXPECT_BAD(cr3, good + HV_PAGE_SIZE, "CR0, CR3, CR4 changed");
    EXPECT_BAD(efer, good | EFER_NXE, "EFER changed");
    EXPECT_BAD(dr7, good | 1, "DR6, DR7 changed");
    EXPECT_BAD(idtr.limit, good + 1, "IDTR changed");
    EXPECT_BAD(gdtr.base, good + 1, "GDTR changed");
    EXPECT_BAD(cs.base, good + 16, "ES, CS, SS, DS changed");
    EXPECT_BAD(cpl, 3, "CPL changed");
    EXPECT_BAD(cr2, good + 1, "CR2 changed");
    EXPECT_BAD(dbgctl, 1, "DBGCTL");
    EXPECT_BAD(avic_bar, 0x1000, "AVIC_BAR changed");
    EXPECT_BAD(clean, BIT32(31), "reserved clean bits");
    put();
    fake_set_cpu(1);
    load();
    EXPECT_BAD(clean, CLEAN_CR2, "ran on another CPU");
    put();
    fake_set_cpu(0);
}

/* The right one at the wrong time, or on the wrong CPU. */
static void translations_of_others_are_found(void **state)
{
    struct vcpu *first = v, *second = vcpu_create(&npt, &generation);
    uint32_t asid = asid_on(0);

    (void)state;
    assert_non_null(second);
    v = second;
    run_cpuid();
    load();
    vmcb()->clean = 0;
    vmcb()->tlb_control = TLB_KEEP;
    EXPECT_BAD(asid, asid, "another vcpu's translations");
    put();
    v = first;
    asid_on(1);
    fake_set_cpu(0);
    load();
    vmcb()->clean = 0;
    vmcb()->tlb_control = TLB_KEEP;
    EXPECT_BAD(asid, asid, "before the vcpu ran on another CPU");
    put();
    vcpu_destroy(second);
}

static void other_misuse_is_found(void **state)
{
    (void)state;
    pin();
    expect_assert_failure(cpu_write_msr(MSR_AMD_VM_HSAVE_PA, 0x123));
    expect_assert_failure(cpu_write_msr(MSR_AMD_VM_CR, VM_CR_SVMDIS)); /* with SVM on */
    expect_assert_failure(cpu_write_msr(MSR_IA32_EFER, EFER_SVME));    /* without long mode */
    expect_assert_failure(cpu_read_msr(MSR_IA32_FEATURE_CONTROL));
    expect_assert_failure(cpu_read_msr(MSR_IA32_VMX_BASIC));
    unpin();
    expect_assert_failure(hv_host_page_free(backend_cpu_of(1)->region));
    expect_assert_failure(fake_svm_assert_clean());
    run_cpuid();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CPU_TEST(on_and_off),
        CPU_TEST(a_switch_that_is_not_locked),
        CPU_TEST(a_cpu_that_refuses),
        CPU_TEST(memory_that_is_not_there),
        FULL_TEST(the_last_vcpu_takes_the_map),
        SVM_TEST(migration),
        SVM_TEST(migration_without_a_run),
        SVM_TEST(more_vcpus_than_asids),
        SVM_TEST(as_many_vcpus_as_asids),
        SVM_TEST(flushes_follow_the_generation),
        SVM_TEST(a_vmcb_in_the_same_place),
        SVM_TEST(the_host_gets_its_state_back),
        UNUSUAL_TEST(the_host_gets_its_state_back),
        FULL_TEST(the_host_is_looked_at_when_loaded),
        UNUSUAL_TEST(loading_alone_changes_nothing),
        FULL_TEST(runs_without_wrmsr),
        FULL_TEST(writes_reach_a_loaded_vcpu),
        UNUSUAL_TEST(debug_registers_on_demand),
        SVM_TEST(a_refused_guest_is_explained),
        FULL_TEST(an_unknown_refusal_is_told),
        SVM_TEST(refused_events_stay),
        SVM_TEST(asking_the_auditor),
        FULL_TEST(an_illegal_vmrun_is_found),
        FULL_TEST(a_lie_about_clean_bits_is_found),
        SVM_TEST(translations_of_others_are_found),
        FULL_TEST(other_misuse_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
