/* SPDX-License-Identifier: MIT */
/*
 * What the SVM backend lets the CPU do of a local APIC: when AVIC is on, which MSRs go past the core then, what it is
 * told and what its exits lead to; from the VMCB of an entry, and from the native API down. Whatever a test does, no
 * MSR of the local APIC may go without an exit while AVIC is off: it would be the host's.
 */
#include "fake_svm.h"
#include "machine.h"

#include "arch/x86_64/svm/svm.h"
#include <arch/bits/apic.h>
#include <arch/bits/cr.h>

#define FEATURES (FAKE_SVM_FEATURES | CPUID_SVM_EDX_X2AVIC)
#define AVIC     (V_AVIC | V_X2AVIC)
#define MSRS     0x800u /* of x2APIC mode; 256 of them */
#define ID       3u     /* the APIC's */
#define INTR     EXIT_INTERCEPT_OF(INTERCEPT_INTR)
#define VINTR    EXIT_INTERCEPT_OF(INTERCEPT_VINTR)

/* ----------------------------------------------------------------------------------- one vcpu */

static struct npt npt;
static volatile uint64_t generation;
static struct vcpu *v;

static struct svm_vcpu *svm(void)
{
    return to_svm(v);
}

static volatile uint32_t *apic_word(uint32_t offset)
{
    return &v->apic_page[offset / 4];
}

static volatile uint32_t *vector_word(uint32_t set, uint8_t vector)
{
    return apic_word(set + vector / 32u * 16);
}

static bool start(void)
{
    v = vcpu_create(&npt, &generation);
    if (!v)
        return false;
    vcpu_reset(v);
    v->rflags |= RFLAGS_IF;
    *apic_word(APIC_ID) = ID;
    *apic_word(APIC_SVR) = APIC_SVR_ENABLE | 0xff;
    return true;
}

static int setup_with(void **state, uint32_t features)
{
    struct hv_platform platform;

    if (machine_setup(state))
        return -1;
    fake_svm_make(features);
    fake_set_cpus(2);
    /* the library asks the CPU once, but for the second of these */
    if (!hv_platform()->present || !svm_probe(&platform) || backend_on() != HV_OK ||
        npt_init(&npt, backend()->npt_format()) != HV_OK)
        return -1;
    return start() ? 0 : -1;
}

static int setup(void **state)
{
    return setup_with(state, FEATURES);
}

static int teardown(void **state)
{
    if (machine_is_refused())
        return 0;
    vcpu_destroy(v);
    npt_destroy(&npt);
    backend_off();
    return machine_teardown(state);
}

#define APIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* Another CPU, that has these features. */
static void restart_with(uint32_t features)
{
    svm_caps.features = features | CPUID_SVM_EDX_NP;
    vcpu_destroy(v);
    assert_true(start());
}

static bool is_direct(const struct vcpu *of, uint32_t index, bool write)
{
    unsigned at = index * 2 + write;

    return !(((const uint8_t *)((const struct svm_vcpu *)of)->msrpm)[at / 8] >> at % 8 & 1);
}

static bool any_is_direct(const struct vcpu *of)
{
    for (uint32_t n = 0; n < 512; n++)
        if (is_direct(of, MSRS + n / 2, n % 2))
            return true;
    return false;
}

/* The guest: looks for registers that are the host's. */
static void look(uint64_t gpr[16])
{
    (void)gpr;
    assert_true(fake_vmcb()->v_intr & V_X2AVIC || !any_is_direct(v));
}

static unsigned exited(struct hv_vp *owner, struct hv_exit *exit)
{
    (void)owner;
    (void)exit;
    return VCPU_END;
}

static const struct vcpu_exits one_exit = {
    .by_reason = {[0 ... HV_EXIT_REASON_COUNT - 1] = exited},
    .of_unknown_length = exited,
};

static struct hv_exit run_steps(struct fake_svm_step *steps, unsigned count)
{
    struct hv_exit exit = {.reason = HV_EXIT_INTERNAL_ERROR};
    uint64_t flags;

    for (unsigned i = 0; i < count; i++)
        steps[i].run = look;
    fake_svm_guest(steps, count);
    hv_host_preempt_disable();
    backend()->acquire(v);
    vcpu_load(v);
    flags = hv_host_irq_save();
    for (unsigned i = 0; i < count; i++)
        backend()->enter(v, &exit, &one_exit, NULL);
    hv_host_irq_restore(flags);
    vcpu_put(v);
    hv_host_preempt_enable();
    return exit;
}

#define RUN(...)                                     \
    run_steps((struct fake_svm_step[]){__VA_ARGS__}, \
              sizeof((struct fake_svm_step[]){__VA_ARGS__}) / sizeof(struct fake_svm_step))

/* One run that says nothing of the guest. */
static uint32_t run_once(void)
{
    assert_int_equal(RUN({.code = INTR}).reason, HV_EXIT_HOST_EVENT);
    return fake_svm_entered()->v_intr & AVIC;
}

static uint32_t want(enum vcpu_apic_mode mode)
{
    v->controls.apic_mode = mode;
    *apic_word(APIC_ID) = mode == VCPU_APIC_XAPIC ? ID << 24 : ID;
    vcpu_changed(v, VCPU_CONTROLS);
    return run_once();
}

/* ----------------------------------------------------------------------------------- features */

static void features_by_mode(void **state)
{
    static const struct {
        uint32_t without;
        uint32_t xapic, x2apic;
    } sets[] = {
        {0, VCPU_APIC_ACCESS | VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY, VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY},
        {CPUID_SVM_EDX_X2AVIC, VCPU_APIC_ACCESS | VCPU_APIC_REGISTERS | VCPU_APIC_DELIVERY, 0},
        {CPUID_SVM_EDX_AVIC, 0, 0},
        {CPUID_SVM_EDX_AVIC | CPUID_SVM_EDX_X2AVIC, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
        restart_with(FEATURES & ~sets[i].without);
        assert_int_equal(backend()->apic_features(VCPU_APIC_NONE), 0);
        assert_int_equal(backend()->apic_features(VCPU_APIC_XAPIC), sets[i].xapic);
        assert_int_equal(backend()->apic_features(VCPU_APIC_X2APIC), sets[i].x2apic);
        assert_int_equal(want(VCPU_APIC_XAPIC), sets[i].xapic ? V_AVIC : 0);
        assert_false(any_is_direct(v));
        assert_int_equal(want(VCPU_APIC_X2APIC), sets[i].x2apic ? AVIC : 0);
        assert_int_equal(any_is_direct(v), sets[i].x2apic != 0);
        assert_int_equal(want(VCPU_APIC_NONE), 0);
    }
}

static void the_host_says_that_delivery_is_broken(void **state)
{
    struct cpu_facts *facts = (struct cpu_facts *)(uintptr_t)cpu_facts();

    (void)state;
    facts->avoid = HV_AVOID_INTERRUPT_DELIVERY;
    restart_with(FEATURES);
    assert_int_equal(backend()->apic_features(VCPU_APIC_XAPIC), 0);
    assert_int_equal(backend()->apic_features(VCPU_APIC_X2APIC), 0);
    assert_int_equal(want(VCPU_APIC_XAPIC), 0);
    assert_int_equal(want(VCPU_APIC_X2APIC), 0);
    facts->avoid = 0;
}

/* --------------------------------------------------------------------------------- on and off */

static void what_the_cpu_is_told(void **state)
{
    const struct vmcb *vmcb;
    const uint32_t *logical;
    const uint64_t *ids;
    unsigned max;

    (void)state;
    assert_ptr_equal(v->apic_page, svm()->apic);
    assert_int_equal(v->apic_access_pa, HV_HPA_NONE);
    assert_int_equal(want(VCPU_APIC_X2APIC), AVIC);
    vmcb = fake_svm_entered();
    assert_int_equal(vmcb->avic_backing_page, hv_host_virt_to_phys(svm()->apic, NULL));
    assert_int_equal(vmcb->avic_bar, APIC_DEFAULT_BASE);
    max = vmcb->avic_physical_table & 0xfff;
    assert_in_range(max, 64, 255); /* xAPIC mode has no more */
    ids = hv_host_phys_to_virt(vmcb->avic_physical_table & ~0xfffull);
    for (unsigned i = 0; i < max; i++) /* nobody else is there, and nobody runs: bit 62 */
        assert_int_equal(ids[i], i == ID ? vmcb->avic_backing_page | BIT64(63) : 0);
    assert_int_equal(ids[max] >> 62, 2); /* but for those that broadcasts are for */
    assert_int_not_equal(ids[max], ids[ID]);
    logical = hv_host_phys_to_virt(vmcb->avic_logical_table);
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(logical[i], 0);
    assert_int_equal(vmcb->avic_logical_table & 0xfff, 0);
}

static void modes(void **state)
{
    static const struct {
        enum vcpu_apic_mode mode;
        uint32_t bits;
    } steps[] = {
        {VCPU_APIC_XAPIC, V_AVIC}, {VCPU_APIC_X2APIC, AVIC},  {VCPU_APIC_X2APIC, AVIC}, {VCPU_APIC_NONE, 0},
        {VCPU_APIC_X2APIC, AVIC},  {VCPU_APIC_XAPIC, V_AVIC}, {VCPU_APIC_NONE, 0},
    };

    (void)state;
    assert_int_equal(run_once(), 0);
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        assert_int_equal(want(steps[i].mode), steps[i].bits);
        assert_int_equal(any_is_direct(v), steps[i].bits == AVIC);
        assert_int_equal(run_once(), steps[i].bits); /* it stays */
    }
}

/* AVIC ignores the virtual interrupt that makes a window. */
static void interrupt_windows(void **state)
{
    (void)state;
    assert_int_equal(want(VCPU_APIC_X2APIC), AVIC);
    v->controls.interrupt_window = true;
    assert_int_equal(want(VCPU_APIC_X2APIC), 0);
    assert_true(fake_svm_entered()->v_intr & V_IRQ);
    assert_false(any_is_direct(v));
    assert_false(fake_svm_entered()->clean & CLEAN_MAPS); /* the CPU may have kept of the map what it said */
    v->controls.interrupt_window = false;
    assert_int_equal(want(VCPU_APIC_X2APIC), AVIC);
    assert_false(fake_svm_entered()->v_intr & V_IRQ);
    assert_true(any_is_direct(v));
}

/* As virt/irq.c tells what is to be delivered. */
static void tell(uint8_t rvi, uint8_t svi)
{
    hv_host_preempt_disable();
    backend()->acquire(v);
    vcpu_need(v, VCPU_APIC);
    hv_host_preempt_enable();
    if (v->rvi == rvi && v->svi == svi)
        return;
    v->rvi = rvi;
    v->svi = svi;
    vcpu_changed(v, VCPU_APIC);
}

static void an_apic_that_is_disabled_by_software(void **state)
{
    (void)state;
    assert_int_equal(want(VCPU_APIC_X2APIC), AVIC);
    *apic_word(APIC_SVR) = 0xff;
    *vector_word(APIC_IRR, 0x51) |= BIT32(0x51 % 32);
    tell(0, 0);
    assert_int_equal(run_once(), 0);
    assert_false(any_is_direct(v));
    tell(0, 0);
    assert_int_equal(run_once(), 0);
    *apic_word(APIC_SVR) = APIC_SVR_ENABLE | 0xff;
    tell(0x51, 0);
    assert_int_equal(run_once(), AVIC);
    tell(0x51, 0);
    assert_int_equal(run_once(), AVIC);
}

static void requested_and_in_service(void **state)
{
    (void)state;
    *vector_word(APIC_IRR, 0x42) |= BIT32(0x42 % 32);
    *vector_word(APIC_IRR, 0xff) |= BIT32(31);
    *vector_word(APIC_ISR, 0x10) |= BIT32(0x10 % 32);
    want(VCPU_APIC_NONE);
    tell(0, 0x10);
    assert_false(v->dirty & VCPU_APIC); /* it sees nothing of IRR */
    want(VCPU_APIC_X2APIC);
    tell(0xff, 0x10);
    assert_false(v->dirty & VCPU_APIC);
    *vector_word(APIC_IRR, 0xff) = 0;
    run_once();
    tell(0x42, 0x10);
    assert_false(v->dirty & VCPU_APIC);
}

/* An interrupt in front of an instruction that runs alone would store TF, which is ours. */
static void an_instruction_that_runs_alone(void **state)
{
    (void)state;
    want(VCPU_APIC_X2APIC);
    RUN({.code = INTR, .shadow = true});
    v->controls.nmi_window = true;
    vcpu_changed(v, VCPU_CONTROLS);
    RUN({.code = INTR, .shadow = true});
    assert_true(fake_svm_entered()->rflags & RFLAGS_TF);
    assert_int_equal(fake_svm_entered()->v_intr & AVIC, 0);
    v->controls.nmi_window = false;
    vcpu_changed(v, VCPU_CONTROLS);
    assert_int_equal(run_once(), AVIC);
    assert_true(any_is_direct(v));
}

/* ----------------------------------------------------------------- the page of xAPIC mode */

#define ACCESS_PA 0x150000000ull

static hv_hpa_t access_page(void *arg, uint64_t offset, uint64_t *size)
{
    (void)arg;
    (void)offset;
    *size = HV_PAGE_SIZE;
    return ACCESS_PA;
}

static void map_access_page(void)
{
    assert_int_equal(npt_map(&npt, APIC_DEFAULT_BASE, HV_PAGE_SIZE, access_page, NULL, NPT_READ | NPT_WRITE), HV_OK);
    v->apic_access_pa = ACCESS_PA;
}

static bool page_shows(void)
{
    struct npt_leaf leaf;

    assert_true(npt_lookup(&npt, APIC_DEFAULT_BASE, &leaf));
    return leaf.rights;
}

/* What changes, whether AVIC is on then, and whether the guest's accesses are AVIC's. The fake looks for old
 * translations. */
static void who_has_the_page(void **state)
{
    static const struct {
        enum vcpu_apic_mode mode;
        bool window, disabled;
        uint8_t threshold;
        uint32_t bits;
        bool shows;
    } steps[] = {
        {VCPU_APIC_XAPIC, false, false, 0, V_AVIC, true}, {VCPU_APIC_XAPIC, true, false, 0, 0, false},
        {VCPU_APIC_XAPIC, false, false, 0, V_AVIC, true}, {VCPU_APIC_XAPIC, false, true, 0, 0, false},
        {VCPU_APIC_XAPIC, true, true, 0, 0, false},       {VCPU_APIC_XAPIC, false, false, 5, V_AVIC, false},
        {VCPU_APIC_XAPIC, true, false, 5, 0, false},      {VCPU_APIC_XAPIC, false, false, 0, V_AVIC, true},
        {VCPU_APIC_X2APIC, false, false, 0, AVIC, true},  {VCPU_APIC_X2APIC, true, false, 0, 0, true},
        {VCPU_APIC_XAPIC, true, false, 0, 0, false},      {VCPU_APIC_NONE, true, false, 0, 0, true},
        {VCPU_APIC_XAPIC, false, false, 0, V_AVIC, true}, {VCPU_APIC_NONE, false, true, 0, 0, true},
        {VCPU_APIC_XAPIC, false, true, 0, 0, false},
    };

    (void)state;
    map_access_page();
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        v->controls.interrupt_window = steps[i].window;
        v->controls.tpr_threshold = steps[i].threshold;
        *apic_word(APIC_SVR) = steps[i].disabled ? 0xff : APIC_SVR_ENABLE | 0xff;
        assert_int_equal(want(steps[i].mode), steps[i].bits);
        if (page_shows() != steps[i].shows)
            fail_msg("step %zu: the page is %s", i, page_shows() ? "there" : "not there");
        run_once();
    }
    vcpu_destroy(v); /* who holds the page gives it back */
    assert_true(page_shows());
    assert_true(start());
}

/* As long as the core delivers: the page is as it is without AVIC. */
static void the_core_delivers(void **state)
{
    (void)state;
    map_access_page();
    want(VCPU_APIC_XAPIC);
    v->controls.core_delivers = true;
    assert_int_equal(want(VCPU_APIC_XAPIC), 0);
    assert_false(page_shows());
    assert_int_equal(want(VCPU_APIC_X2APIC), 0);
    assert_true(page_shows());
    v->controls.core_delivers = false;
    assert_int_equal(want(VCPU_APIC_XAPIC), V_AVIC);
    assert_true(page_shows());
}

static void an_instruction_that_runs_alone_in_xapic_mode(void **state)
{
    (void)state;
    map_access_page();
    want(VCPU_APIC_XAPIC);
    RUN({.code = INTR, .shadow = true});
    v->controls.nmi_window = true;
    vcpu_changed(v, VCPU_CONTROLS);
    RUN({.code = INTR, .shadow = true});
    assert_true(fake_svm_entered()->rflags & RFLAGS_TF);
    assert_int_equal(fake_svm_entered()->v_intr & AVIC, 0);
    assert_false(page_shows());
    v->controls.nmi_window = false;
    vcpu_changed(v, VCPU_CONTROLS);
    assert_int_equal(run_once(), V_AVIC);
    assert_true(page_shows());
}

/* Two VPs: one that has AVIC on is not told of what the other does. */
static void two_hold_the_page(void **state)
{
    struct vcpu *first = v, *second;

    (void)state;
    map_access_page();
    want(VCPU_APIC_XAPIC);
    assert_true(start());
    second = v;
    v->apic_access_pa = ACCESS_PA;
    v->controls.interrupt_window = true;
    assert_int_equal(want(VCPU_APIC_XAPIC), 0);
    assert_false(page_shows());
    v = first;
    assert_int_equal(run_once(), V_AVIC);
    *apic_word(APIC_SVR) = 0xff;
    tell(0, 0);
    vcpu_changed(v, VCPU_APIC);
    assert_int_equal(run_once(), 0);
    v = second;
    v->controls.interrupt_window = false;
    assert_int_equal(want(VCPU_APIC_XAPIC), V_AVIC);
    assert_false(page_shows());
    v = first;
    assert_int_equal(run_once(), 0);
    *apic_word(APIC_SVR) = APIC_SVR_ENABLE;
    vcpu_changed(v, VCPU_APIC);
    assert_int_equal(run_once(), V_AVIC);
    assert_true(page_shows());
    vcpu_destroy(second);
}

/* AVIC goes with the registers. */
static void registers_that_are_moved(void **state)
{
    (void)state;
    map_access_page();
    want(VCPU_APIC_XAPIC);
    v->apic_gpa = 0xfed00000;
    v->apic_access_pa = HV_HPA_NONE;
    assert_int_equal(want(VCPU_APIC_XAPIC), V_AVIC);
    assert_int_equal(fake_svm_entered()->avic_bar, 0xfed00000);
    v->controls.interrupt_window = true; /* nothing is mapped there */
    assert_int_equal(want(VCPU_APIC_XAPIC), 0);
    assert_true(page_shows());
    v->controls.interrupt_window = false;
    v->apic_gpa = APIC_DEFAULT_BASE;
    v->apic_access_pa = ACCESS_PA;
    assert_int_equal(want(VCPU_APIC_XAPIC), V_AVIC);
    assert_int_equal(fake_svm_entered()->avic_bar, APIC_DEFAULT_BASE);
}

/* --------------------------------------------------------------------------- MSRs of x2APIC mode */

#define TPR_BIT BIT64(0x08)
#define EOI_BIT BIT64(0x0b)
/* ID, version, TPR, LDR, SVR, ISR, TMR, IRR, ESR */
#define READS   (BITS64(0x03, 0x02) | TPR_BIT | BIT64(0x0d) | BITS64(0x28, 0x0f))
#define WRITES  (TPR_BIT | EOI_BIT)

static void assert_direct(const char *what, uint64_t reads, uint64_t writes)
{
    for (uint32_t n = 0; n < 256; n++) {
        bool read = n < 64 && reads >> n & 1, write = n < 64 && writes >> n & 1;

        if (is_direct(v, MSRS + n, false) != read || is_direct(v, MSRS + n, true) != write)
            fail_msg("%s: MSR 0x%x: reads %s, writes %s", what, MSRS + n,
                     is_direct(v, MSRS + n, false) ? "do not exit" : "exit",
                     is_direct(v, MSRS + n, true) ? "do not exit" : "exit");
    }
    assert_false(is_direct(v, MSRS - 1, false) || is_direct(v, MSRS + 0x100, false));
}

static void the_client_wants_to_see_msrs(void **state)
{
    (void)state;
    backend()->exit_on_msr(v, MSRS + 0x08, true, false);
    backend()->exit_on_msr(v, MSRS + 0x0b, false, true);
    assert_direct("no APIC", 0, 0);
    want(VCPU_APIC_X2APIC);
    assert_direct("asked for before", READS & ~TPR_BIT, TPR_BIT);
    backend()->exit_on_msr(v, MSRS + 0x20, true, true);
    assert_direct("asked for now", READS & ~TPR_BIT & ~BIT64(0x20), TPR_BIT);
    want(VCPU_APIC_NONE);
    backend()->exit_on_msr(v, MSRS + 0x08, false, true);
    backend()->exit_on_msr(v, MSRS + 0x0b, false, false);
    backend()->exit_on_msr(v, MSRS + 0x20, false, false);
    assert_direct("disabled", 0, 0);
    want(VCPU_APIC_X2APIC);
    assert_direct("changed", READS, EOI_BIT);
    backend()->exit_on_msr(v, MSRS + 0x08, false, false);
    backend()->exit_on_msr(v, MSRS + 0x30, false, false); /* one whose writes have consequences */
    backend()->exit_on_msr(v, MSRS + 0xff, false, false); /* no register is there */
    backend()->exit_on_msr(v, MSRS + 0x100, false, false);
    backend()->exit_on_msr(v, MSRS - 1, false, false);
    assert_direct("nothing", READS, WRITES);
}

/* The threshold is for all writes of the task priority. */
static void a_threshold(void **state)
{
    (void)state;
    v->controls.tpr_threshold = 3;
    assert_int_equal(want(VCPU_APIC_X2APIC), AVIC);
    assert_direct("threshold", READS, EOI_BIT);
    v->controls.tpr_threshold = 0;
    assert_int_equal(want(VCPU_APIC_X2APIC), AVIC);
    assert_direct("none", READS, WRITES);
}

/* -------------------------------------------------------------------------------------- exits */

static void ends_of_level_triggered_interrupts(void **state)
{
    struct hv_exit exit;

    (void)state;
    want(VCPU_APIC_X2APIC);
    exit = RUN({.code = EXIT_AVIC_NOACCEL, .info1 = BIT64(32) | APIC_EOI, .info2 = 0x9a});
    assert_int_equal(exit.reason, HV_EXIT_APIC_WRITE);
    assert_int_equal(exit.instruction_length, 0); /* RIP is past it */
    assert_int_equal(exit.apic.offset, APIC_EOI);
}

/* APM 2 table 15-22: writes that are over when they exit; all others, and reads, are still to be made. */
static void exits_of_xapic_mode(void **state)
{
    static const uint16_t traps[] = {APIC_ID,        APIC_EOI,         APIC_RRD,        APIC_LDR,
                                     APIC_DFR,       APIC_SVR,         APIC_ESR,        APIC_ICR_LOW,
                                     APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PMI,    APIC_LVT_LINT0,
                                     APIC_LVT_LINT1, APIC_LVT_ERROR,   APIC_TIMER_INIT, APIC_TIMER_DIV};

    (void)state;
    v->apic_gpa = 0xfed00000;
    want(VCPU_APIC_XAPIC);
    for (uint32_t offset = 0; offset < HV_PAGE_SIZE; offset += 16) {
        bool is_trap = false;
        struct hv_exit exit;

        for (size_t i = 0; i < ARRAY_COUNT(traps); i++)
            is_trap |= traps[i] == offset;
        exit = RUN({.code = EXIT_AVIC_NOACCEL, .info1 = offset});
        assert_int_equal(exit.reason, HV_EXIT_MEMORY);
        assert_int_equal(exit.memory.access, HV_ACCESS_READ);
        assert_int_equal(exit.memory.gpa, 0xfed00000 + offset);
        assert_false(exit.memory.gva_valid || exit.memory.page_walk || exit.instruction.count);
        exit = RUN({.code = EXIT_AVIC_NOACCEL, .info1 = BIT64(32) | offset});
        assert_int_equal(exit.instruction_length, 0);
        if (is_trap) {
            assert_int_equal(exit.reason, HV_EXIT_APIC_WRITE);
            assert_int_equal(exit.apic.offset, offset);
        } else {
            assert_int_equal(exit.reason, HV_EXIT_MEMORY);
            assert_int_equal(exit.memory.access, HV_ACCESS_WRITE);
            assert_int_equal(exit.memory.gpa, 0xfed00000 + offset);
        }
    }
    for (uint64_t why = 0; why < 6; why++) {
        struct hv_exit exit = RUN({.code = EXIT_AVIC_INCOMPLETE_IPI, .info2 = why << 32});

        assert_int_equal(exit.reason, HV_EXIT_APIC_WRITE);
        assert_int_equal(exit.apic.offset, APIC_ICR_LOW);
        assert_int_equal(exit.instruction_length, 0);
    }
}

static void exits_that_cannot_be(void **state)
{
    static const uint64_t infos[] = {APIC_EOI, BIT64(32) | APIC_ICR_LOW, BIT64(32) | APIC_SELF_IPI, APIC_TIMER_CUR};

    (void)state;
    want(VCPU_APIC_X2APIC);
    for (size_t i = 0; i < ARRAY_COUNT(infos); i++)
        assert_int_equal(RUN({.code = EXIT_AVIC_NOACCEL, .info1 = infos[i]}).reason, HV_EXIT_INTERNAL_ERROR);
    assert_int_equal(RUN({.code = EXIT_AVIC_INCOMPLETE_IPI, .unasked = true}).reason, HV_EXIT_INTERNAL_ERROR);
    want(VCPU_APIC_NONE);
    assert_int_equal(RUN({.code = EXIT_AVIC_INCOMPLETE_IPI, .unasked = true}).reason, HV_EXIT_INTERNAL_ERROR);
    assert_int_equal(RUN({.code = EXIT_AVIC_NOACCEL, .unasked = true}).reason, HV_EXIT_INTERNAL_ERROR);
}

/* ------------------------------------------------------------------------------ loops of PAUSEs */

static bool pauses_exit(bool wanted)
{
    v->controls.pause_exit = wanted;
    want(VCPU_APIC_NONE);
    return vmcb_intercepts(fake_svm_entered(), INTERCEPT_PAUSE);
}

static void pause_loops(void **state)
{
    (void)state;
    assert_false(pauses_exit(false));
    assert_true(pauses_exit(true));
    assert_in_range(fake_svm_entered()->pause_count, 100, UINT16_MAX);
    assert_in_range(fake_svm_entered()->pause_threshold, 1, 1000);
    assert_false(pauses_exit(false));
    restart_with(FEATURES & ~CPUID_SVM_EDX_PAUSE_THRESHOLD);
    assert_true(pauses_exit(true));
    assert_in_range(fake_svm_entered()->pause_count, 100, UINT16_MAX);
    assert_int_equal(fake_svm_entered()->pause_threshold, 0);
    restart_with(FEATURES & ~CPUID_SVM_EDX_PAUSE); /* each would exit */
    assert_false(pauses_exit(true));
}

/* ------------------------------------------------------------------------------------ no memory */

static void no_memory(void **state)
{
    unsigned failed = 0;

    (void)state;
    vcpu_destroy(v);
    for (uint64_t n = 1; n < 20; n++) {
        fake_fail_after(n);
        v = vcpu_create(&npt, &generation);
        fake_fail_after(0);
        if (v)
            break;
        failed++;
    }
    assert_in_range(failed, 6, 19); /* the vcpu, the VMCB, the map, the APIC's page and two of AVIC's */
    assert_non_null(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APIC_TEST(features_by_mode),
        APIC_TEST(the_host_says_that_delivery_is_broken),
        APIC_TEST(what_the_cpu_is_told),
        APIC_TEST(modes),
        APIC_TEST(interrupt_windows),
        APIC_TEST(an_apic_that_is_disabled_by_software),
        APIC_TEST(requested_and_in_service),
        APIC_TEST(an_instruction_that_runs_alone),
        APIC_TEST(who_has_the_page),
        APIC_TEST(the_core_delivers),
        APIC_TEST(an_instruction_that_runs_alone_in_xapic_mode),
        APIC_TEST(two_hold_the_page),
        APIC_TEST(registers_that_are_moved),
        APIC_TEST(the_client_wants_to_see_msrs),
        APIC_TEST(a_threshold),
        APIC_TEST(ends_of_level_triggered_interrupts),
        APIC_TEST(exits_of_xapic_mode),
        APIC_TEST(exits_that_cannot_be),
        APIC_TEST(pause_loops),
        APIC_TEST(no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
