/* SPDX-License-Identifier: MIT */
/*
 * What the VMX backend lets the CPU do of a local APIC: controls and MSR bitmap by mode and by what the CPU offers, the
 * state of virtual interrupts, and exits. Every entry passes the auditor, which knows the rules of the controls.
 */
#include "vmx_vcpu.h"
#include <arch/bits/apic.h>

#define CPU2_APIC (CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY)
#define ACCESS_PA 0x150000000ull
#define MSRS      0x800u /* of x2APIC mode; 256 of them */
#define SETS      ((unsigned)ARRAY_COUNT(sets))

/* clang-format off */
static const struct {
    const char *name;
    uint64_t offered;        /* of CPU2_APIC | CPU2_PAUSE_LOOP */
    uint32_t features;
    uint64_t xapic, x2apic;  /* controls that are to be used */
} sets[] = {
    {"everything", CPU2_APIC | CPU2_PAUSE_LOOP, VCPU_APIC_ACCESS | VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY,
     CPU2_VIRT_APIC_ACCESSES | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY,
     CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY},
    {"all but delivery", CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT,
     VCPU_APIC_ACCESS | VCPU_APIC_REGISTERS,
     CPU2_VIRT_APIC_ACCESSES | CPU2_APIC_REGISTER_VIRT, CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT},
    {"all but x2APIC", CPU2_VIRT_APIC_ACCESSES | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY,
     VCPU_APIC_ACCESS | VCPU_APIC_REGISTERS, CPU2_VIRT_APIC_ACCESSES | CPU2_APIC_REGISTER_VIRT, 0},
    {"all but registers", CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_VIRT_INTR_DELIVERY, VCPU_APIC_ACCESS,
     CPU2_VIRT_APIC_ACCESSES, CPU2_VIRT_X2APIC},
    {"accesses", CPU2_VIRT_APIC_ACCESSES, VCPU_APIC_ACCESS, CPU2_VIRT_APIC_ACCESSES, 0},
    {"x2APIC", CPU2_VIRT_X2APIC, 0, 0, CPU2_VIRT_X2APIC},
    {"registers", CPU2_APIC_REGISTER_VIRT, VCPU_APIC_REGISTERS, 0, 0},
    {"nothing", 0, 0, 0, 0},
};
/* clang-format on */

/* Another CPU, that offers these. The library asks the CPU once, but for this. */
static void restart_with(uint64_t offered)
{
    uint64_t cpu2 = *fake_msr(0, MSR_IA32_VMX_PROCBASED_CTLS2);
    struct hv_platform platform;

    vcpu_destroy(v);
    npt_destroy(&npt);
    backend_off();
    cpu2 &= ~((CPU2_APIC | CPU2_PAUSE_LOOP) << 32);
    fake_set_msr(MSR_IA32_VMX_PROCBASED_CTLS2, cpu2 | offered << 32);
    assert_true(vmx_probe(&platform));
    assert_int_equal(start(), 0);
    set_mode(LONG);
}

static int setup_apic(void **state)
{
    if (setup(state))
        return -1;
    restart_with(sets[0].offered);
    return 0;
}

#define APIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_apic, teardown)

static void want(enum vcpu_apic_mode mode, hv_hpa_t access_pa)
{
    v->controls.apic_mode = mode;
    v->apic_access_pa = access_pa;
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
}

/* As the core does it: the page is there only where the CPU asks for it. */
static hv_hpa_t access_page(unsigned set)
{
    return sets[set].features & VCPU_APIC_ACCESS ? ACCESS_PA : HV_HPA_NONE;
}

static uint64_t apic_controls(void)
{
    return fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_APIC;
}

/* --------------------------------------------------------------------------------- controls */

static void controls_by_mode(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETS; i++) {
        restart_with(sets[i].offered);
        assert_int_equal(backend()->apic_features(VCPU_APIC_NONE), 0);
        assert_int_equal(backend()->apic_features(VCPU_APIC_XAPIC), sets[i].features);
        assert_int_equal(backend()->apic_features(VCPU_APIC_X2APIC), sets[i].features);
        want(VCPU_APIC_NONE, HV_HPA_NONE);
        assert_int_equal(apic_controls(), 0);
        want(VCPU_APIC_XAPIC, access_page(i));
        assert_int_equal(apic_controls(), sets[i].xapic);
        if (sets[i].xapic & CPU2_VIRT_APIC_ACCESSES)
            assert_int_equal(fake_vmcs_get(VMCS_APIC_ACCESS_ADDR), ACCESS_PA);
        want(VCPU_APIC_X2APIC, access_page(i));
        assert_int_equal(apic_controls(), sets[i].x2apic);
        want(VCPU_APIC_NONE, access_page(i));
        assert_int_equal(apic_controls(), 0);
        want(VCPU_APIC_XAPIC, access_page(i));
        assert_int_equal(apic_controls(), sets[i].xapic);
    }
}

/* Posted interrupts need three things of the CPU. The pin-based control and that of exits are not in the sets above. */
static void what_posting_needs(void **state)
{
    struct cpu_facts *facts = (struct cpu_facts *)(uintptr_t)cpu_facts();
    static const uint32_t pins[] = {MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS},
                          exits[] = {MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS};

    (void)state;
    for (unsigned has = 0; has < 8; has++) {
        for (unsigned i = 0; i < 2; i++) {
            uint64_t pin = *fake_msr(0, pins[i]) & ~(PIN_POSTED_INTR << 32);
            uint64_t exit = *fake_msr(0, exits[i]) & ~(EXIT_ACK_INTR << 32);

            fake_set_msr(pins[i], has & 1 ? pin | PIN_POSTED_INTR << 32 : pin);
            fake_set_msr(exits[i], has & 2 ? exit | EXIT_ACK_INTR << 32 : exit);
        }
        restart_with(has & 4 ? CPU2_APIC : CPU2_APIC & ~CPU2_VIRT_INTR_DELIVERY);
        assert_int_equal(!(backend()->apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_POSTED), has != 7);
        assert_int_equal(!(backend()->apic_features(VCPU_APIC_X2APIC) & VCPU_APIC_POSTED), has != 7);
        assert_int_equal(backend()->apic_features(VCPU_APIC_NONE), 0);
        want(VCPU_APIC_X2APIC, ACCESS_PA); /* nobody has asked for it: the host's interrupts stay where they are */
        assert_false(fake_vmcs_get(VMCS_EXIT_CONTROLS) & EXIT_ACK_INTR);
        assert_false(fake_vmcs_get(VMCS_PIN_CONTROLS) & PIN_POSTED_INTR);
    }
    facts->avoid = HV_AVOID_POSTED_INTERRUPTS;
    assert_false(backend()->apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_POSTED);
    assert_true(backend()->apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_DELIVERY);
    facts->avoid = 0;
    assert_int_equal(hv_platform_avoid(HV_AVOID_POSTED_INTERRUPTS), HV_E_STATE); /* known, but too late */
}

/* The page has one place: registers moved elsewhere are emulated, but the CPU still delivers. */
static void moved_registers(void **state)
{
    (void)state;
    want(VCPU_APIC_XAPIC, ACCESS_PA);
    want(VCPU_APIC_XAPIC, HV_HPA_NONE);
    assert_int_equal(apic_controls(), CPU2_VIRT_INTR_DELIVERY);
    want(VCPU_APIC_XAPIC, ACCESS_PA + HV_PAGE_SIZE);
    assert_int_equal(apic_controls(), sets[0].xapic);
    assert_int_equal(fake_vmcs_get(VMCS_APIC_ACCESS_ADDR), ACCESS_PA + HV_PAGE_SIZE);
    restart_with(CPU2_APIC & ~CPU2_VIRT_INTR_DELIVERY);
    want(VCPU_APIC_XAPIC, HV_HPA_NONE);
    assert_int_equal(apic_controls(), 0);
}

/* Translations made before must not lead past the APIC: both kinds go whenever the page comes, moves or goes. */
static void translations_to_the_page(void **state)
{
    static const struct {
        enum vcpu_apic_mode mode;
        hv_hpa_t page;
        bool flushes;
    } steps[] = {
        {VCPU_APIC_XAPIC, ACCESS_PA, true},
        {VCPU_APIC_XAPIC, ACCESS_PA, false},
        {VCPU_APIC_XAPIC, ACCESS_PA + HV_PAGE_SIZE, true},
        {VCPU_APIC_X2APIC, ACCESS_PA, true},
        {VCPU_APIC_NONE, ACCESS_PA, false},
        {VCPU_APIC_XAPIC, ACCESS_PA, true},
    };

    (void)state;
    run_cpuid();
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        fake_vmx_forget();
        want(steps[i].mode, steps[i].page);
        assert_int_equal(fake_vmx_counts.invept_single, steps[i].flushes);
        assert_int_equal(fake_vmx_counts.invvpid_single, steps[i].flushes);
        if (steps[i].mode == VCPU_APIC_XAPIC)
            assert_int_equal(fake_vmcs_get(VMCS_APIC_ACCESS_ADDR), steps[i].page);
    }
    assert_int_equal(v->migrations, 0);
}

static void controls_are_written_when_they_change(void **state)
{
    (void)state;
    want(VCPU_APIC_X2APIC, ACCESS_PA);
    fake_vmx_forget();
    want(VCPU_APIC_X2APIC, ACCESS_PA);
    assert_int_equal(fake_vmx_writes(VMCS_CPU2_CONTROLS), 0);
    assert_int_equal(fake_vmx_writes(VMCS_APIC_ACCESS_ADDR), 0);
    want(VCPU_APIC_XAPIC, ACCESS_PA);
    assert_int_equal(fake_vmx_writes(VMCS_CPU2_CONTROLS), 1);
    assert_int_equal(fake_vmx_writes(VMCS_APIC_ACCESS_ADDR), 1);
}

static void pause_loops(void **state)
{
    (void)state;
    restart_with(CPU2_PAUSE_LOOP);
    run_cpuid();
    assert_false(fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_PAUSE_LOOP);
    v->controls.pause_exit = true;
    want(VCPU_APIC_NONE, HV_HPA_NONE);
    assert_true(fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_PAUSE_LOOP);
    assert_in_range(fake_vmcs_get(VMCS_PLE_GAP), 1, 1000);
    assert_in_range(fake_vmcs_get(VMCS_PLE_WINDOW), fake_vmcs_get(VMCS_PLE_GAP) + 1, 1000000);
    v->controls.pause_exit = false;
    want(VCPU_APIC_NONE, HV_HPA_NONE);
    assert_false(fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_PAUSE_LOOP);
    fake_vmx_forget();
    restart_with(0); /* the fields are not there */
    v->controls.pause_exit = true;
    want(VCPU_APIC_XAPIC, HV_HPA_NONE);
    assert_false(fake_vmcs_get(VMCS_CPU2_CONTROLS) & CPU2_PAUSE_LOOP);
}

/* ------------------------------------------------------------------------------- MSR bitmap */

static bool is_direct(uint32_t index, bool write)
{
    const uint8_t *bitmap = (const uint8_t *)vmx()->msr_bitmap + (write ? 2048 : 0);

    return !(bitmap[index / 8] >> index % 8 & 1);
}

static void assert_direct(const char *what, uint64_t reads, uint64_t writes)
{
    for (uint32_t n = 0; n < 256; n++) {
        bool read = n < 64 && reads >> n & 1, write = n < 64 && writes >> n & 1;

        if (is_direct(MSRS + n, false) != read || is_direct(MSRS + n, true) != write)
            fail_msg("%s: MSR 0x%x: reads %s, writes %s", what, MSRS + n,
                     is_direct(MSRS + n, false) ? "do not exit" : "exit",
                     is_direct(MSRS + n, true) ? "do not exit" : "exit");
    }
}

/*
 * SDM 3C 30.5, and what the page has: ID, version, TPR, LDR, SVR, ISR, TMR, IRR, ESR, ICR, LVT, initial count, divide
 * configuration. Not the current count (0x39), nor what x2APIC mode does not have (DFR 0x0e, 0x31).
 */
#define TPR_BIT      BIT64(0x08)
#define PPR_BIT      BIT64(0x0a)
#define EOI_BIT      BIT64(0x0b)
#define SELF_IPI_BIT BIT64(0x3f)
#define PAGE_READS \
    (BITS64(0x03, 0x02) | TPR_BIT | BIT64(0x0d) | BITS64(0x28, 0x0f) | BIT64(0x30) | BITS64(0x38, 0x32) | BIT64(0x3e))

static uint64_t expected_reads(uint64_t x2apic_controls)
{
    return (x2apic_controls & CPU2_VIRT_X2APIC ? TPR_BIT : 0) |
           (x2apic_controls & CPU2_APIC_REGISTER_VIRT ? PAGE_READS : 0) |
           (x2apic_controls & CPU2_VIRT_INTR_DELIVERY ? PPR_BIT : 0);
}

static uint64_t expected_writes(uint64_t x2apic_controls)
{
    return (x2apic_controls & CPU2_VIRT_X2APIC ? TPR_BIT : 0) |
           (x2apic_controls & CPU2_VIRT_INTR_DELIVERY ? EOI_BIT | SELF_IPI_BIT : 0);
}

static void msrs_by_mode(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETS; i++) {
        uint64_t reads = expected_reads(sets[i].x2apic), writes = expected_writes(sets[i].x2apic);

        restart_with(sets[i].offered);
        assert_direct("new", 0, 0);
        want(VCPU_APIC_XAPIC, access_page(i));
        assert_direct("xAPIC", 0, 0);
        want(VCPU_APIC_X2APIC, access_page(i));
        assert_direct(sets[i].name, reads, writes);
        want(VCPU_APIC_NONE, access_page(i));
        assert_direct("disabled", 0, 0);
        want(VCPU_APIC_X2APIC, access_page(i));
        assert_direct(sets[i].name, reads, writes);
        want(VCPU_APIC_XAPIC, access_page(i));
        assert_direct("xAPIC again", 0, 0);
    }
}

/* A client that wants to see accesses sees them, before and after the guest changes the mode. */
static void the_client_wants_to_see_msrs(void **state)
{
    uint64_t reads = expected_reads(sets[0].x2apic), writes = expected_writes(sets[0].x2apic);

    (void)state;
    backend()->exit_on_msr(v, MSRS + 0x08, true, false);
    backend()->exit_on_msr(v, MSRS + 0x0b, false, true);
    assert_direct("no APIC", 0, 0);
    want(VCPU_APIC_X2APIC, ACCESS_PA);
    assert_direct("asked for before", reads & ~TPR_BIT, writes & ~EOI_BIT);
    backend()->exit_on_msr(v, MSRS + 0x3f, false, true);
    assert_direct("asked for now", reads & ~TPR_BIT, writes & ~EOI_BIT & ~SELF_IPI_BIT);
    want(VCPU_APIC_NONE, ACCESS_PA);
    backend()->exit_on_msr(v, MSRS + 0x08, false, true);
    backend()->exit_on_msr(v, MSRS + 0x3f, false, false);
    assert_direct("disabled", 0, 0);
    want(VCPU_APIC_X2APIC, ACCESS_PA);
    assert_direct("changed", reads, writes & ~EOI_BIT & ~TPR_BIT);
    backend()->exit_on_msr(v, MSRS + 0xff, false, false); /* no register is there */
    backend()->exit_on_msr(v, MSRS + 0x100, false, false);
    backend()->exit_on_msr(v, MSRS - 1, false, false);
    backend()->exit_on_msr(v, MSRS + 0x30, false, false); /* one whose writes have consequences */
    assert_direct("others", reads, writes & ~EOI_BIT & ~TPR_BIT);
    assert_false(is_direct(MSRS + 0x100, false) || is_direct(MSRS - 1, false));
    assert_true(is_direct(MSR_IA32_SYSENTER_CS, true));
}

/* ----------------------------------------------------------------- state of virtual interrupts */

static void change_status(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcs_set(VMCS_GUEST_INTR_STATUS, FIELD_PUT(INTR_STATUS_RVI, 0x71) | FIELD_PUT(INTR_STATUS_SVI, 0x62));
}

static void requested_and_in_service(void **state)
{
    (void)state;
    want(VCPU_APIC_X2APIC, ACCESS_PA);
    load();
    v->rvi = 0x51;
    v->svi = 0x42;
    vcpu_changed(v, VCPU_APIC);
    FAKE_GUEST({.run = change_status, .reason = EXIT_REASON_CPUID, .length = 2},
               {.reason = EXIT_REASON_CPUID, .length = 2});
    fake_vmx_forget();
    vmx_sync(vmx());
    EXPECT_WRITES(VMCS_GUEST_INTR_STATUS);
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_INTR_STATUS), 0x4251);
    enter();
    assert_false(v->valid & VCPU_APIC); /* the CPU moves on */
    fake_vmx_forget();
    vcpu_need(v, VCPU_APIC);
    EXPECT_READS(VMCS_GUEST_INTR_STATUS);
    assert_int_equal(v->rvi, 0x71);
    assert_int_equal(v->svi, 0x62);
    vcpu_need(v, VCPU_APIC);
    EXPECT_READS(VMCS_GUEST_INTR_STATUS); /* once */
    enter();
    EXPECT_NO_WRITES();
    put();
}

static void vectors_whose_eoi_exits(void **state)
{
    (void)state;
    want(VCPU_APIC_X2APIC, ACCESS_PA);
    load();
    for (unsigned i = 0; i < 4; i++)
        v->eoi_exit[i] = 0x1111111111111111ull * (i + 1);
    vcpu_changed(v, VCPU_EOI_EXIT);
    FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2}, {.reason = EXIT_REASON_CPUID, .length = 2});
    fake_vmx_forget();
    enter();
    EXPECT_WRITES(VMCS_EOI_EXIT_BITMAP0, VMCS_EOI_EXIT_BITMAP1, VMCS_EOI_EXIT_BITMAP2, VMCS_EOI_EXIT_BITMAP3);
    assert_int_equal(fake_vmcs_get(VMCS_EOI_EXIT_BITMAP0), v->eoi_exit[0]);
    assert_int_equal(fake_vmcs_get(VMCS_EOI_EXIT_BITMAP1), v->eoi_exit[1]);
    assert_int_equal(fake_vmcs_get(VMCS_EOI_EXIT_BITMAP2), v->eoi_exit[2]);
    assert_int_equal(fake_vmcs_get(VMCS_EOI_EXIT_BITMAP3), v->eoi_exit[3]);
    assert_true(v->valid & VCPU_EOI_EXIT); /* the CPU does not change them */
    fake_vmx_forget();
    enter();
    EXPECT_NO_WRITES();
    put();
}

/* Fields that are not there are neither read nor written. */
static void a_cpu_that_does_not_deliver(void **state)
{
    (void)state;
    restart_with(CPU2_APIC & ~CPU2_VIRT_INTR_DELIVERY);
    want(VCPU_APIC_XAPIC, ACCESS_PA);
    load();
    v->rvi = v->svi = 0x55;
    v->eoi_exit[1] = 5;
    vcpu_changed(v, VCPU_APIC | VCPU_EOI_EXIT);
    fake_vmx_forget();
    vmx_sync(vmx());
    EXPECT_NO_WRITES();
    v->valid &= ~VCPU_APIC;
    vcpu_need(v, VCPU_APIC);
    EXPECT_NO_READS();
    assert_int_equal(v->rvi | v->svi, 0);
    put();
}

/* A local APIC makes no exit dearer. */
static void an_entry_costs_nothing_more(void **state)
{
    struct fake_vmx_counts without, with;

    (void)state;
    run_cpuid();
    fake_vmx_forget();
    run_cpuid();
    without = fake_vmx_counts;
    for (enum vcpu_apic_mode mode = VCPU_APIC_XAPIC; mode <= VCPU_APIC_X2APIC; mode++) {
        want(mode, ACCESS_PA);
        fake_vmx_forget();
        run_cpuid();
        with = fake_vmx_counts;
        assert_int_equal(with.reads, without.reads);
        assert_int_equal(with.writes, without.writes);
    }
}

/* -------------------------------------------------------------------------------------- TPR */

static void the_lower_half_of_tpr(void **state)
{
    volatile uint32_t *tpr = &v->apic_page[APIC_TPR / 4];

    (void)state;
    assert_ptr_equal(v->apic_page, vmx()->virtual_apic);
    load();
    *tpr = 0x5a;
    v->valid &= ~VCPU_CR8;
    vcpu_need(v, VCPU_CR8);
    assert_int_equal(v->cr8, 5);
    vcpu_changed(v, VCPU_CR8); /* the same value */
    vmx_sync(vmx());
    assert_int_equal(*tpr, 0x5a);
    v->cr8 = 6; /* MOV to CR8 clears the lower half */
    vcpu_changed(v, VCPU_CR8);
    vmx_sync(vmx());
    assert_int_equal(*tpr, 0x60);
    put();
}

/* ------------------------------------------------------------------------------------ exits */

static struct hv_exit access_of(uint64_t type, uint64_t offset)
{
    return exit_of((struct fake_step){
        .reason = EXIT_REASON_APIC_ACCESS, .length = 3, .qualification = FIELD_PUT(QUAL_APIC_TYPE, type) | offset});
}

static void accesses_to_the_page(void **state)
{
    static const struct {
        uint64_t type;
        enum hv_access access;
        bool is_no_instruction;
    } cases[] = {
        {APIC_ACCESS_READ, HV_ACCESS_READ, false},      {APIC_ACCESS_WRITE, HV_ACCESS_WRITE, false},
        {APIC_ACCESS_FETCH, HV_ACCESS_EXECUTE, false},  {APIC_ACCESS_EVENT, HV_ACCESS_READ, true},
        {APIC_ACCESS_PHYS_EVENT, HV_ACCESS_READ, true}, {APIC_ACCESS_PHYS, HV_ACCESS_READ, true},
    };

    (void)state;
    v->apic_gpa = APIC_DEFAULT_BASE;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct hv_exit exit = access_of(cases[i].type, 0x320);

        assert_int_equal(exit.reason, HV_EXIT_MEMORY);
        assert_int_equal(exit.instruction_length, 0);
        assert_int_equal(exit.memory.access, cases[i].access);
        assert_int_equal(exit.memory.page_walk, cases[i].is_no_instruction);
        /* an access by a physical address has no offset */
        assert_int_equal(exit.memory.gpa, APIC_DEFAULT_BASE + (cases[i].type <= APIC_ACCESS_EVENT ? 0x320 : 0));
        assert_false(exit.memory.gva_valid);
    }
    v->apic_gpa = 0x12345000;
    assert_int_equal(access_of(APIC_ACCESS_READ | 0, 0xfff).memory.gpa, 0x12345fff);
}

/* The stack of the event is in the page: it is delivered again. */
static void an_event_whose_delivery_touches_the_page(void **state)
{
    struct hv_exit exit;

    (void)state;
    exit = exit_of((struct fake_step){.reason = EXIT_REASON_APIC_ACCESS,
                                      .qualification = FIELD_PUT(QUAL_APIC_TYPE, APIC_ACCESS_EVENT),
                                      .vectoring_info = INFO(INTR_TYPE_EXTERNAL, 0x41)});
    assert_int_equal(exit.reason, HV_EXIT_MEMORY);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXTERNAL, 0x41));
}

static void other_exits(void **state)
{
    struct hv_exit exit;

    (void)state;
    exit = exit_of((struct fake_step){.reason = EXIT_REASON_VIRTUAL_EOI, .qualification = 0x9a});
    assert_int_equal(exit.reason, HV_EXIT_APIC_EOI_DONE);
    assert_int_equal(exit.instruction_length, 0);
    assert_int_equal(exit.apic.vector, 0x9a);
    exit = exit_of((struct fake_step){.reason = EXIT_REASON_APIC_WRITE, .qualification = 0x380});
    assert_int_equal(exit.reason, HV_EXIT_APIC_WRITE);
    assert_int_equal(exit.instruction_length, 0);
    assert_int_equal(exit.apic.offset, 0x380);
    exit = exit_of((struct fake_step){.reason = EXIT_REASON_APIC_WRITE, .qualification = 0x3e4}); /* part of it */
    assert_int_equal(exit.apic.offset, 0x3e0);
    exit = exit_of((struct fake_step){.reason = EXIT_REASON_PAUSE, .length = 2});
    assert_int_equal(exit.reason, HV_EXIT_PAUSE);
    assert_int_equal(exit.instruction_length, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APIC_TEST(controls_by_mode),
        APIC_TEST(what_posting_needs),
        APIC_TEST(moved_registers),
        APIC_TEST(translations_to_the_page),
        APIC_TEST(controls_are_written_when_they_change),
        APIC_TEST(pause_loops),
        APIC_TEST(msrs_by_mode),
        APIC_TEST(the_client_wants_to_see_msrs),
        APIC_TEST(requested_and_in_service),
        APIC_TEST(vectors_whose_eoi_exits),
        APIC_TEST(a_cpu_that_does_not_deliver),
        APIC_TEST(an_entry_costs_nothing_more),
        APIC_TEST(the_lower_half_of_tpr),
        APIC_TEST(accesses_to_the_page),
        APIC_TEST(an_event_whose_delivery_touches_the_page),
        APIC_TEST(other_exits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
