/* SPDX-License-Identifier: MIT */
/*
 * Synthetic MSRs and CPUID's leaves of the hypervisor (virt/synthetic*.c), and EOI assist (virt/assist.c): which of the
 * partition's features give a guest what, and what it finds there. Numbers are those of the specification.
 */
#include "run_vp.h"
#include "virt/overlay.h"
#include "virt/synthetic.h"
#include <WinHvPlatform.h>
#include <pthread.h>

#define CPU2_APIC     (CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY)
#define FEATURE(name) ((WHV_SYNTHETIC_PROCESSOR_FEATURES){.name = 1}.AsUINT64)

/* -------------------------------------------------------------------------------- fixture */

static int setup_mode(void **state, uint64_t apic_mode, uint64_t features)
{
    struct hv_platform platform;
    uint64_t cpu2;

    if (machine_setup(state))
        return -1;
    cpu2 = *fake_msr(0, MSR_IA32_VMX_PROCBASED_CTLS2) & ~(CPU2_APIC << 32); /* the core delivers */
    fake_set_msr(MSR_IA32_VMX_PROCBASED_CTLS2, cpu2);
    synthetic_features = features;
    return hv_platform()->present && vmx_probe(&platform) && run_vp_create(apic_mode, 2) ? 0 : -1;
}

static int setup(void **state)
{
    return setup_mode(state, HV_LOCAL_APIC_X2APIC, synthetic_features_host());
}

static int setup_without_apic(void **state)
{
    return setup_mode(state, HV_LOCAL_APIC_NONE, synthetic_features_host());
}

#define SYNTHETIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, run_vp_teardown)

static bool try_read(uint32_t index, uint64_t *value)
{
    bool done;

    assert_true(vp_claim(vp));
    vp_pin(vp);
    done = synthetic_read(vp, index, SYNTHETIC_GUEST, value);
    vp_unpin(vp);
    vp_release(vp);
    return done;
}

static bool try_write(uint32_t index, uint64_t value)
{
    bool done;

    assert_true(vp_claim(vp));
    vp_pin(vp);
    done = synthetic_write(vp, index, SYNTHETIC_GUEST, value);
    vp_unpin(vp);
    if (vp->overlays_stale)
        overlay_apply(vp);
    vp_release(vp);
    return done;
}

static uint64_t rdmsr(uint32_t index)
{
    uint64_t value = 0;

    assert_true(try_read(index, &value));
    return value;
}

#define assert_wrmsr(index, value) assert_true(try_write(index, value))
#define assert_gp(index, value)    assert_false(try_write(index, value))

/* ------------------------------------------------------------------------------- features */

/* TLFS appendix F, and the privileges of 4.2.2. */
static const struct {
    uint32_t first, last;
    WHV_SYNTHETIC_PROCESSOR_FEATURES feature;
} there[] = {
    {0x40000000, 0x40000001, {.AccessHypercallRegs = 1}},
    {0x40000002, 0x40000002, {.AccessVpIndex = 1}},
    {0x40000010, 0x40000010, {.AccessVpRunTimeReg = 1}},
    {0x40000020, 0x40000020, {.AccessPartitionReferenceCounter = 1}},
    {0x40000021, 0x40000021, {.AccessPartitionReferenceTsc = 1}},
    {0x40000022, 0x40000023, {.AccessFrequencyRegs = 1}},
    {0x40000070, 0x40000073, {.AccessIntrCtrlRegs = 1}},
    {0x40000080, 0x40000084, {.AccessSynicRegs = 1}},
    {0x40000090, 0x4000009f, {.AccessSynicRegs = 1}},
    {0x400000b0, 0x400000b7, {.AccessSyntheticTimerRegs = 1}},
    {0x400000f0, 0x400000f0, {.AccessGuestIdleReg = 1}},
};

static uint64_t feature_of(uint32_t index)
{
    for (size_t i = 0; i < ARRAY_COUNT(there); i++)
        if (index >= there[i].first && index <= there[i].last)
            return there[i].feature.AsUINT64;
    return 0;
}

static void features_give_msrs(void **state)
{
    static struct hv_partition p;

    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint32_t index = 0x40000000; index <= 0x400001ff; index++) {
            p.properties.synthetic_features = FEATURE(Hv1) | BIT64(bit);
            assert_int_equal(synthetic_has_msr(&p, index), feature_of(index) == BIT64(bit));
            p.properties.synthetic_features &= ~FEATURE(Hv1);
            assert_false(synthetic_has_msr(&p, index));
        }
}

/* All that are there can be read but for EOI, and none of the others. */
static void all_msrs_can_be_read(void **state)
{
    uint64_t value;

    (void)state;
    for (uint32_t index = 0x40000000; index <= 0x400001ff; index++)
        assert_int_equal(try_read(index, &value), feature_of(index) && index != 0x40000070);
}

static void msrs_that_are_read_only(void **state)
{
    static const uint32_t read_only[] = {0x40000002, 0x40000010, 0x40000020, 0x40000022,
                                         0x40000023, 0x40000081, 0x400000f0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(read_only); i++)
        assert_gp(read_only[i], 0);
    for (uint32_t index = 0x40000000; index <= 0x400001ff; index++)
        if (!feature_of(index))
            assert_gp(index, 0);
}

/* Nothing interrupts without a local APIC. */
static void what_needs_a_local_apic(void **state)
{
    const uint64_t gone = FEATURE(AccessSynicRegs) | FEATURE(AccessSyntheticTimerRegs) | FEATURE(AccessIntrCtrlRegs) |
                          FEATURE(AccessGuestIdleReg) | FEATURE(DirectSyntheticTimers) | FEATURE(SyntheticClusterIpi);
    uint64_t banks[2] = {1, 0};

    (void)state;
    assert_int_equal(hv_partition_get_property(partition, SYNTHETIC, banks, sizeof(banks), NULL), HV_OK);
    assert_int_equal(banks[1], synthetic_features_host() & ~gone);
}

/* ---------------------------------------------------------------------------------- CPUID */

static struct hv_cpuid_output leaf(uint64_t features, uint32_t n)
{
    struct hv_properties props = {.synthetic_features = features, .local_apic_mode = HV_LOCAL_APIC_XAPIC};
    uint32_t regs[4];

    synthetic_cpuid(&props, n, regs);
    return (struct hv_cpuid_output){regs[0], regs[1], regs[2], regs[3]};
}

static const struct {
    WHV_SYNTHETIC_PROCESSOR_FEATURES feature;
    uint32_t eax3, ebx3, edx3, eax4;
} told[] = {
    {{.AccessVpRunTimeReg = 1}, BIT32(0), 0, 0, 0},
    {{.AccessPartitionReferenceCounter = 1}, BIT32(1), 0, 0, 0},
    {{.AccessSynicRegs = 1}, BIT32(2), BIT32(4), 0, BIT32(9)},
    {{.AccessSyntheticTimerRegs = 1}, BIT32(3), 0, 0, 0},
    {{.AccessIntrCtrlRegs = 1}, BIT32(4), 0, 0, BIT32(3)},
    {{.AccessHypercallRegs = 1}, BIT32(5), 0, BIT32(18) | BIT32(4), 0},
    {{.AccessVpIndex = 1}, BIT32(6), 0, 0, 0},
    {{.AccessPartitionReferenceTsc = 1}, BIT32(9), 0, 0, 0},
    {{.AccessGuestIdleReg = 1}, BIT32(10), 0, BIT32(5), 0},
    {{.AccessFrequencyRegs = 1}, BIT32(11), 0, BIT32(8), 0},
    {{.EnableExtendedGvaRangesForFlushVirtualAddressList = 1}, 0, 0, BIT32(14), 0},
    {{.FastHypercallOutput = 1}, 0, 0, BIT32(15), 0},
    {{.DirectSyntheticTimers = 1}, 0, 0, BIT32(19), 0},
    {{.ExtendedProcessorMasks = 1}, 0, 0, 0, BIT32(11)},
    {{.TbFlushHypercalls = 1}, 0, 0, 0, BIT32(2)},
    {{.SyntheticClusterIpi = 1}, 0, 0, 0, BIT32(10)},
    {{.NotifyLongSpinWait = 1}, 0, 0, 0, 0},
    {{.SignalEvents = 1}, 0, BIT32(5), 0, 0},
};

/* Relaxed timing (leaf 4, EAX bit 5) is recommended to all. */
static void features_are_told(void **state)
{
    uint64_t seen = FEATURE(HypervisorPresent) | FEATURE(Hv1);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(told); i++) {
        struct hv_cpuid_output three = leaf(FEATURE(Hv1) | told[i].feature.AsUINT64, 0x40000003);
        struct hv_cpuid_output four = leaf(FEATURE(Hv1) | told[i].feature.AsUINT64, 0x40000004);

        assert_int_equal(three.eax, told[i].eax3);
        assert_int_equal(three.ebx, told[i].ebx3);
        assert_int_equal(three.edx, told[i].edx3);
        assert_int_equal(four.eax, told[i].eax4 | BIT32(5));
        assert_int_equal(four.ebx == 0xffffffff, !(told[i].feature.AsUINT64 & FEATURE(NotifyLongSpinWait)));
        seen |= told[i].feature.AsUINT64;
    }
    assert_int_equal(seen, synthetic_features_host());
}

static struct hv_cpuid_output ask(uint32_t n)
{
    struct hv_cpuid_output out;

    assert_int_equal(hv_vp_cpuid(vp, n, 0, &out), HV_OK);
    return out;
}

static void leaves_of_the_interface(void **state)
{
    struct hv_cpuid_output out = ask(0x40000000);
    char name[13] = {0};

    (void)state;
    assert_int_equal(out.eax, 0x4000000b);
    memcpy(name, &out.ebx, 12);
    assert_string_equal(name, "Microsoft Hv");
    out = ask(0x40000001);
    assert_memory_equal(&out.eax, "Hv#1", 4);
    assert_true(ask(1).ecx & BIT32(31));
    assert_int_equal(ask(0x40000005).eax, HV_MAX_VPS);
    assert_int_equal(ask(0x40000006).eax & ~BIT32(0), BIT32(1) | BIT32(3)); /* MSR bitmaps, nested paging */
    for (uint32_t n = 0x40000007; n < 0x40000010; n++) {
        out = ask(n);
        assert_int_equal(out.eax | out.ebx | out.ecx | out.edx, 0);
    }
}

/* ----------------------------------------------------------------- identity, hypercall page */

#define OS_ID     0x40000000u
#define HYPERCALL 0x40000001u

static void the_hypercall_page_needs_a_name(void **state)
{
    (void)state;
    assert_wrmsr(HYPERCALL, 0x5ff1); /* but bit 1 */
    assert_int_equal(rdmsr(HYPERCALL), 0x5ff0);
    assert_false(partition->guest.hypercall_overlay.is_placed);
    assert_wrmsr(OS_ID, 0x8100000000000000);
    assert_wrmsr(HYPERCALL, 0x5001);
    assert_int_equal(rdmsr(HYPERCALL), 0x5001);
    assert_true(partition->guest.hypercall_overlay.is_placed);
    assert_wrmsr(OS_ID, 0x8200000000000000);
    assert_int_equal(rdmsr(HYPERCALL), 0x5001);
    assert_wrmsr(OS_ID, 0);
    assert_int_equal(rdmsr(HYPERCALL), 0x5000);
    assert_false(partition->guest.hypercall_overlay.is_placed);
}

static void pages_beyond_memory(void **state)
{
    uint64_t beyond = BIT64(partition->properties.physical_address_width);

    (void)state;
    assert_wrmsr(OS_ID, 1);
    assert_gp(HYPERCALL, beyond | 1);
    assert_gp(0x40000073, beyond | 1);
    assert_int_equal(rdmsr(HYPERCALL) | rdmsr(0x40000073), 0);
    assert_wrmsr(HYPERCALL, beyond); /* not enabled: only a number */
    assert_wrmsr(0x40000073, beyond);
}

static void a_locked_hypercall_page(void **state)
{
    (void)state;
    assert_wrmsr(OS_ID, 1);
    assert_wrmsr(HYPERCALL, 0x5003);
    assert_gp(HYPERCALL, 0x5003);
    assert_gp(HYPERCALL, 0);
    assert_int_equal(rdmsr(HYPERCALL), 0x5003);
    set(HV_REG_HYPERCALL, 0x6001); /* the client may */
    assert_int_equal(rdmsr(HYPERCALL), 0x6001);
    assert_wrmsr(HYPERCALL, 0x5003);
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    assert_int_equal(rdmsr(HYPERCALL) | rdmsr(OS_ID), 0);
    assert_false(partition->guest.hypercall_overlay.is_placed);
}

static void the_client_restores_in_any_order(void **state)
{
    (void)state;
    set(HV_REG_HYPERCALL, 0x5001);
    assert_int_equal(get(HV_REG_HYPERCALL), 0x5001);
    set(HV_REG_GUEST_OS_ID, 0);
    assert_int_equal(get(HV_REG_HYPERCALL), 0x5001);
    set(HV_REG_GUEST_OS_ID, 7);
    assert_int_equal(rdmsr(OS_ID), 7);
    assert_true(partition->guest.hypercall_overlay.is_placed);
}

/* ------------------------------------------------------------------- runtime, frequencies */

static void runtime_is_kept(void **state)
{
    uint64_t before = rdmsr(0x40000010);

    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_IO, .length = 1});
    run();
    assert_true(rdmsr(0x40000010) >= before);
    set(HV_REG_VP_RUNTIME, 1000000);
    assert_int_equal(rdmsr(0x40000010), 1000000);
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    assert_int_equal(rdmsr(0x40000010), 0);
}

static void frequencies(void **state)
{
    (void)state;
    assert_int_equal(rdmsr(0x40000022), cpu_facts()->tsc_hz);
    assert_int_equal(rdmsr(0x40000023), 1000000000);
    assert_int_equal(rdmsr(0x40000002), 0);
}

/* ----------------------------------------------------------------------------- local APIC */

static uint64_t get_apic(uint32_t offset)
{
    return get(HV_REG_APIC_BASE_NUMBER + offset / 16);
}

static void set_apic(uint32_t offset, uint64_t value)
{
    set(HV_REG_APIC_BASE_NUMBER + offset / 16, value);
}

static void registers_of_the_apic(void **state)
{
    (void)state;
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    assert_wrmsr(0x40000072, 0x45);
    assert_int_equal(get_apic(APIC_TPR), 0x45);
    assert_int_equal(get(HV_REG_CR8), 4);
    assert_int_equal(rdmsr(0x40000072), 0x45);
    assert_gp(0x40000072, 0x100);
    assert_wrmsr(0x40000071, 0x0700000000000041 | APIC_ICR_LOGICAL); /* to nobody: xAPIC's layout */
    assert_int_equal(rdmsr(0x40000071), 0x0700000000000041 | APIC_ICR_LOGICAL);
    assert_int_equal(lapic_get(&vp->lapic, APIC_ICR_HIGH), 0x07000000);
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) | APIC_BASE_EXTD);
    assert_wrmsr(0x40000071, 0x0000000700000041); /* x2APIC's */
    assert_int_equal(rdmsr(0x40000071), 0x0000000700000041);
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) & ~(APIC_BASE_EXTD | APIC_BASE_EN));
    for (uint32_t index = 0x40000070; index <= 0x40000072; index++)
        assert_gp(index, 0);
}

/* ------------------------------------------------------------------ EOI assist, and idling */

static struct hv_vp *other;

static int setup_assist(void **state)
{
    if (setup(state))
        return -1;
    other = hv_vp_ref(partition, 1);
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) | APIC_BASE_EXTD);
    set_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    set(HV_REG_VP_ASSIST_PAGE, 0x7001);
    return 0;
}

static int teardown_assist(void **state)
{
    if (!machine_is_refused())
        hv_vp_unref(other);
    return run_vp_teardown(state);
}

#define ASSIST_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_assist, teardown_assist)

static void send(uint32_t vector, bool is_level)
{
    const struct hv_interrupt i = {.type = APIC_MODE_FIXED, .is_level = is_level, .vector = vector};

    assert_int_equal(hv_partition_interrupt(partition, &i), HV_OK);
}

static uint32_t *assist_word(void)
{
    return vp->assist_page;
}

/* What the guest finds at each entry. */
static struct {
    uint8_t vector; /* 0: none was injected */
    uint32_t word;
} seen[8];
static unsigned seen_count;

static void look(uint64_t gpr[16])
{
    struct fake_event event = fake_vmx_injected();

    (void)gpr;
    assert_true(seen_count < ARRAY_COUNT(seen));
    seen[seen_count].vector = event.info & INTR_INFO_VALID ? (uint8_t)event.info : 0;
    seen[seen_count++].word = *assist_word();
}

/* The handler: by the page if it may, else by the MSR, which comes as the exit then. */
static void look_and_end(uint64_t gpr[16])
{
    look(gpr);
    assert_int_equal(*assist_word() & 1, 1);
    *assist_word() &= ~1u;
}

static void eoi(uint64_t gpr[16])
{
    look(gpr);
    assert_int_equal(*assist_word() & 1, 0);
    gpr[GPR_RCX] = 0x40000070;
}

static void end_and_send_31(uint64_t gpr[16])
{
    look_and_end(gpr);
    send(0x31, false);
}

static void send_61(uint64_t gpr[16])
{
    look(gpr);
    send(0x61, false);
}

#define LOOK_AND_STOP                                       \
    {                                                       \
        .run = look, .reason = EXIT_REASON_IO, .length = 1, \
    }
#define EOI                                                   \
    {                                                         \
        .run = eoi, .reason = EXIT_REASON_WRMSR, .length = 2, \
    }
#define GUEST(...)               \
    do {                         \
        seen_count = 0;          \
        FAKE_GUEST(__VA_ARGS__); \
        run();                   \
    } while (0)

static void assert_seen(unsigned entry, uint8_t vector, uint32_t word)
{
    assert_true(entry < seen_count);
    assert_int_equal(seen[entry].vector, vector);
    assert_int_equal(seen[entry].word, word);
}

static void an_eoi_is_saved(void **state)
{
    (void)state;
    send(0x41, false);
    GUEST({.run = end_and_send_31, .reason = EXIT_REASON_EXTERNAL_INTR}, LOOK_AND_STOP);
    assert_seen(0, 0x41, 1);
    assert_seen(1, 0x31, 1); /* a lower one: 41 has ended */
    *assist_word() = 0;
    assert_int_equal(get_apic(APIC_ISR + 0x10), 0);
    assert_int_equal(get_apic(APIC_PPR), 0);
}

/* One that the guest has not ended is in service for whoever looks, and then needs an EOI. */
static void the_client_looks(void **state)
{
    (void)state;
    send(0x41, false);
    GUEST(LOOK_AND_STOP);
    assert_seen(0, 0x41, 1);
    assert_int_equal(get_apic(APIC_ISR + 0x20), BIT64(1));
    assert_int_equal(*assist_word(), 0);
    GUEST(EOI, LOOK_AND_STOP);
    assert_int_equal(get_apic(APIC_ISR + 0x20), 0);
}

/* Somebody waits for the end. */
static void two_at_a_time(void **state)
{
    (void)state;
    send(0x41, false);
    send(0x51, false);
    GUEST(EOI, {.run = look_and_end, .reason = EXIT_REASON_IO, .length = 1});
    assert_seen(0, 0x51, 0);
    assert_seen(1, 0x41, 1);
    assert_int_equal(get_apic(APIC_ISR + 0x20), 0);
}

#define START_TSC 1000000ull
#define COUNT_NS  100000u

static void arm_timer(void)
{
    fake_set_tsc(START_TSC);
    set_apic(APIC_LVT_TIMER, 0x31);
    set_apic(APIC_TIMER_DIV, 0xb); /* by 1 */
    set_apic(APIC_TIMER_INIT, COUNT_NS);
}

static void pass_time(uint64_t gpr[16])
{
    look(gpr);
    fake_advance_time(COUNT_NS);
    fake_set_tsc(START_TSC + FAKE_TSC_HZ / 1000);
}

static void end_and_pass_time(uint64_t gpr[16])
{
    pass_time(gpr);
    *assist_word() &= ~1u;
}

/* The timer's interrupt, which comes when nothing else has, finds that 41 has ended; or waits for an ordinary EOI. */
static void the_timer_comes(void **state)
{
    (void)state;
    arm_timer();
    send(0x41, false);
    GUEST({.run = end_and_pass_time, .reason = EXIT_REASON_PREEMPTION_TIMER}, LOOK_AND_STOP);
    assert_seen(0, 0x41, 1);
    assert_seen(1, 0x31, 1);
    *assist_word() = 0;
    arm_timer();
    send(0x41, false);
    GUEST({.run = pass_time, .reason = EXIT_REASON_PREEMPTION_TIMER}, EOI, LOOK_AND_STOP);
    assert_seen(0, 0x41, 1);
    assert_seen(1, 0, 0);
    assert_seen(2, 0x31, 1);
}

/* The other handler must not take the bit for its own. */
static void one_in_the_handler_of_another(void **state)
{
    (void)state;
    send(0x41, false);
    GUEST({.run = send_61, .reason = EXIT_REASON_EXTERNAL_INTR}, EOI,
          {.run = look_and_end, .reason = EXIT_REASON_IO, .length = 1});
    assert_seen(0, 0x41, 1);
    assert_seen(1, 0x61, 0);
    assert_seen(2, 0, 1); /* 41 alone again */
    assert_int_equal(get_apic(APIC_ISR + 0x20) | get_apic(APIC_ISR + 0x30), 0);
}

static void the_client_hears_of_level_triggered_ones(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    send(0x41, true);
    seen_count = 0;
    FAKE_GUEST(EOI);
    exit = run();
    assert_reason(&exit, HV_EXIT_APIC_EOI);
    assert_int_equal(exit.apic.vector, 0x41);
    assert_seen(0, 0x41, 0);
}

/* Ended by the page alone, it does not keep a halted VP from the next one. */
static void a_halted_vp_wakes(void **state)
{
    (void)state;
    send(0x81, false);
    GUEST({.run = look_and_end, .reason = EXIT_REASON_IO, .length = 1});
    set(HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_HALT_SUSPEND);
    send(0x31, false);
    GUEST(LOOK_AND_STOP);
    assert_seen(0, 0x31, 1);
}

static void a_page_that_goes(void **state)
{
    (void)state;
    send(0x41, false);
    GUEST(LOOK_AND_STOP);
    set(HV_REG_VP_ASSIST_PAGE, 0x7000);
    assert_int_equal(*assist_word(), 0);
    GUEST(EOI, LOOK_AND_STOP);
    assert_int_equal(get_apic(APIC_ISR + 0x20), 0);
    send(0x41, false);
    GUEST(LOOK_AND_STOP);
    assert_seen(0, 0x41, 0);
}

static void a_reset_takes_it_away(void **state)
{
    (void)state;
    send(0x41, false);
    GUEST(LOOK_AND_STOP);
    assert_int_equal(*assist_word(), 1);
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    assert_int_equal(*assist_word(), 0);
    assert_int_equal(get(HV_REG_VP_ASSIST_PAGE), 0);
    assert_false(vp->assist.is_placed);
}

static void rdmsr_idle(uint64_t gpr[16])
{
    fake_vmcs_set(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    gpr[GPR_RCX] = 0x400000f0;
}

#define IDLE                                                         \
    {                                                                \
        .run = rdmsr_idle, .reason = EXIT_REASON_RDMSR, .length = 2, \
    }

static uint32_t idle_asleep; /* how often the VP slept before the interrupt came */

static void *send_later(void *vector)
{
    while (!__atomic_load_n(&vp->shared.waiting, __ATOMIC_SEQ_CST))
        ;
    idle_asleep++;
    send(*(uint32_t *)vector, false);
    return NULL;
}

/* Interrupts are off, and the next entry injects nothing; the priority does not matter either. */
static void an_interrupt_ends_the_idling(void **state)
{
    uint32_t vector = 0x41;
    pthread_t sender;

    (void)state;
    set_apic(APIC_TPR, 0xf0);
    idle_asleep = 0;
    assert_int_equal(pthread_create(&sender, NULL, send_later, &vector), 0);
    GUEST(IDLE, LOOK_AND_STOP);
    assert_int_equal(pthread_join(sender, NULL), 0);
    assert_int_equal(idle_asleep, 1);
    assert_seen(0, 0, 0);
    assert_int_equal(get(HV_REG_INTERNAL_ACTIVITY_STATE), 0);
    assert_int_equal(get(HV_REG_RAX) | get(HV_REG_RDX), 0);
    GUEST(IDLE, LOOK_AND_STOP); /* what is pending ends it at once */
    assert_int_equal(get_apic(APIC_IRR + 0x20), BIT64(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_give_msrs),
        SYNTHETIC_TEST(all_msrs_can_be_read),
        SYNTHETIC_TEST(msrs_that_are_read_only),
        cmocka_unit_test_setup_teardown(what_needs_a_local_apic, setup_without_apic, run_vp_teardown),
        SYNTHETIC_TEST(features_are_told),
        SYNTHETIC_TEST(leaves_of_the_interface),
        SYNTHETIC_TEST(the_hypercall_page_needs_a_name),
        SYNTHETIC_TEST(pages_beyond_memory),
        SYNTHETIC_TEST(a_locked_hypercall_page),
        SYNTHETIC_TEST(the_client_restores_in_any_order),
        SYNTHETIC_TEST(runtime_is_kept),
        SYNTHETIC_TEST(frequencies),
        SYNTHETIC_TEST(registers_of_the_apic),
        ASSIST_TEST(an_eoi_is_saved),
        ASSIST_TEST(the_client_looks),
        ASSIST_TEST(two_at_a_time),
        ASSIST_TEST(the_timer_comes),
        ASSIST_TEST(one_in_the_handler_of_another),
        ASSIST_TEST(the_client_hears_of_level_triggered_ones),
        ASSIST_TEST(a_halted_vp_wakes),
        ASSIST_TEST(a_page_that_goes),
        ASSIST_TEST(a_reset_takes_it_away),
        ASSIST_TEST(an_interrupt_ends_the_idling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
