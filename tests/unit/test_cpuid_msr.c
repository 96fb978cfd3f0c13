/* SPDX-License-Identifier: MIT */
/* What guests see of CPUID and MSRs (virt/features.c, cpuid_policy.c, exit_cpuid.c, exit_msr.c). */
#include "stub_irq.h"
#include "stub_policy.h"
#include "stub_synthetic.h"
#include "virt/exit.h"
#include "virt/exit_msr.h"
#include <WinHvPlatform.h>

#define PROPS (&stub_partition.properties)

static void set_count(uint32_t count)
{
    PROPS->processor_count = count;
}

static void seal(void)
{
    if (!PROPS->processor_count)
        set_count(1);
    assert_int_equal(properties_seal(PROPS), HV_OK);
}

static struct hv_cpuid_output ask_vp(uint32_t vp, uint32_t leaf, uint32_t subleaf)
{
    struct hv_cpuid_output out;

    assert_int_equal(hv_vp_cpuid(&stub_vps[vp], leaf, subleaf, &out), HV_OK);
    return out;
}

static struct hv_cpuid_output ask(uint32_t leaf, uint32_t subleaf)
{
    return ask_vp(0, leaf, subleaf);
}

static void assert_output(struct hv_cpuid_output out, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    assert_int_equal(out.eax, eax);
    assert_int_equal(out.ebx, ebx);
    assert_int_equal(out.ecx, ecx);
    assert_int_equal(out.edx, edx);
}

/* ------------------------------------------------------------------------------ the allow-list */

static void leaves_without_a_row_are_zero(void **state)
{
    static const uint32_t empty[] = {
        3,          5,          8,          9,          0xa,        0xc,        0xe,        0xf,        0x10,
        0x11,       0x12,       0x13,       0x14,       0x17,       0x18,       0x1d,       0x1e,       0x1f,
        0x24,       0x25,       0x40,       0x40000000, 0x40000001, 0x40000100, 0x7fffffff, 0x80000009, 0x8000000a,
        0x8000001f, 0x80000028, 0x80000100, 0xc0000000, 0xc0000001, 0xffffffff,
    };

    (void)state;
    seal();
    for (size_t i = 0; i < ARRAY_COUNT(empty); i++)
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++)
            assert_output(ask(empty[i], subleaf), 0, 0, 0, 0);
    assert_output(ask(7, 2), 0, 0, 0, 0);
    assert_output(ask(7, 0xffffffff), 0, 0, 0, 0);
    assert_output(ask(4, 4), 0, 0, 0, 0);
    assert_output(ask(0xd, 3), 0, 0, 0, 0);
    assert_output(ask(0xd, 9), 0, 0, 0, 0);
    assert_output(ask(0xd, 62), 0, 0, 0, 0);
    assert_output(ask(0xd, 63), 0, 0, 0, 0);
    assert_output(ask(0xd, 64), 0, 0, 0, 0);
}

/* The CPU sets every bit: only those that are known to work may get through. */
static void what_is_not_virtualized_is_hidden(void **state)
{
    (void)state;
    seal();
    assert_int_equal(ask(0, 0).eax, 0x16);
    assert_int_equal(ask(0x80000000, 0).eax, 0x80000021);
    assert_int_equal(ask(1, 0).ecx, 0x76d83203 | CPUID_1_ECX_PCID);
    assert_int_equal(ask(1, 0).edx, 0x0f8bfbff);
    assert_int_equal(ask(6, 0).eax, CPUID_6_EAX_ARAT);
    assert_int_equal(ask(7, 0).eax, 1);
    assert_int_equal(
        ask(7, 0).ebx & (CPUID_7_EBX_SGX | CPUID_7_EBX_MPX | CPUID_7_EBX_PT | CPUID_7_EBX_PQM | CPUID_7_EBX_PQE), 0);
    assert_int_equal(ask(7, 0).ecx & (CPUID_7_ECX_PKU | CPUID_7_ECX_OSPKE | CPUID_7_ECX_WAITPKG | CPUID_7_ECX_CET_SS |
                                      CPUID_7_ECX_ENQCMD | CPUID_7_ECX_PKS | CPUID_7_ECX_KL | CPUID_7_ECX_SGX_LC),
                     0);
    assert_int_equal(ask(7, 0).edx & (CPUID_7_EDX_SPEC_CTRL | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD |
                                      CPUID_7_EDX_ARCH_CAP | CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_CET_IBT |
                                      CPUID_7_EDX_AMX_TILE | CPUID_7_EDX_UINTR | CPUID_7_EDX_HYBRID),
                     0);
    assert_int_equal(ask(0xd, 1).eax, CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1);
    assert_int_equal(ask(0x80000001, 0).ecx & (CPUID_EXT1_ECX_SVM | CPUID_EXT1_ECX_SKINIT | CPUID_EXT1_ECX_OSVW), 0);
    assert_int_equal(ask(0x80000007, 0).edx, CPUID_APM_EDX_INVARIANT_TSC);
    assert_output(ask(0x80000008, 0), 0x302e, 0x20000005, 0, 0);
}

static void what_is_virtualized_is_shown(void **state)
{
    (void)state;
    seal();
    assert_output(ask(0, 5), 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);
    assert_int_equal(ask(1, 0).eax, 0x000506e3);
    assert_int_equal(
        ask(7, 0).ebx &
            (CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_SMEP | CPUID_7_EBX_SMAP | CPUID_7_EBX_INVPCID | CPUID_7_EBX_AVX512F),
        CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_SMEP | CPUID_7_EBX_SMAP | CPUID_7_EBX_INVPCID | CPUID_7_EBX_AVX512F);
    assert_true(ask(7, 0).ecx & CPUID_7_ECX_UMIP);
    assert_int_equal(ask(0x80000001, 0).edx &
                         (CPUID_EXT1_EDX_SYSCALL | CPUID_EXT1_EDX_NX | CPUID_EXT1_EDX_RDTSCP | CPUID_EXT1_EDX_LM),
                     CPUID_EXT1_EDX_SYSCALL | CPUID_EXT1_EDX_NX | CPUID_EXT1_EDX_RDTSCP | CPUID_EXT1_EDX_LM);
    /* leaves without subleaves do not look at ECX */
    assert_memory_equal(&(struct hv_cpuid_output[]){ask(1, 77)}, &(struct hv_cpuid_output[]){ask(1, 0)}, 16);
}

static void leaves_above_the_highest_are_zero(void **state)
{
    (void)state;
    stub_facts.max_leaf = 6;
    stub_facts.max_ext_leaf = 0x80000004;
    stub_set_leaf(0, 0, 6, 1, 2, 3);
    stub_set_leaf(0x80000000, 0, 0x80000004, 1, 2, 3);
    properties_init(PROPS);
    seal();
    assert_int_equal(ask(0, 0).eax, 6);
    assert_int_equal(ask(0x80000000, 0).eax, 0x80000004);
    for (uint32_t leaf = 7; leaf < 0x20; leaf++)
        assert_output(ask(leaf, 0), 0, 0, 0, 0);
    for (uint32_t leaf = 5; leaf < 0x30; leaf++)
        assert_output(ask(0x80000000 + leaf, 0), 0, 0, 0, 0);
}

static void without_state_its_instructions_are_gone(void **state)
{
    (void)state;
    stub_facts.xcr0_allowed = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    properties_init(PROPS);
    assert_int_equal(PROPS->xsave_features & HV_XSAVE_AVX512, 0);
    assert_true(PROPS->xsave_features & HV_XSAVE_AVX);
    stub_facts.xcr0_allowed = 0;
    properties_init(PROPS);
    seal();
    /* GFNI is as much one of SSE's */
    assert_int_equal(PROPS->xsave_features, BIT64(19));
    assert_int_equal(ask(1, 0).ecx & (CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_FMA | CPUID_1_ECX_F16C), 0);
    assert_int_equal(ask(7, 0).ebx & CPUID_7_EBX_AVX2, 0);
    for (uint32_t subleaf = 0; subleaf < 10; subleaf++)
        assert_output(ask(0xd, subleaf), 0, 0, 0, 0);
}

/* ------------------------------------------------------------------------- features and banks */

/* clang-format off */
static const struct {
    WHV_PROCESSOR_FEATURES bank0;
    WHV_PROCESSOR_FEATURES1 bank1;
    WHV_PROCESSOR_XSAVE_FEATURES xsave;
    uint32_t leaf, subleaf;
    uint32_t ebx, ecx, edx, eax;
} examples[] = {
    {.bank0.Sse3Support = 1,               .leaf = 1,                  .ecx = CPUID_1_ECX_SSE3},
    {.bank0.LahfSahfSupport = 1,           .leaf = 0x80000001,         .ecx = CPUID_EXT1_ECX_LAHF},
    {.bank0.PopCntSupport = 1,             .leaf = 1,                  .ecx = CPUID_1_ECX_POPCNT},
    {.bank0.Cmpxchg16bSupport = 1,         .leaf = 1,                  .ecx = CPUID_1_ECX_CX16},
    {.bank0.LzcntSupport = 1,              .leaf = 0x80000001,         .ecx = CPUID_EXT1_ECX_ABM},
    {.bank0.Page1GbSupport = 1,            .leaf = 0x80000001,         .edx = CPUID_EXT1_EDX_PAGE1GB},
    {.bank0.AesSupport = 1,                .leaf = 1,                  .ecx = CPUID_1_ECX_AES},
    {.bank0.PcidSupport = 1,               .leaf = 1,                  .ecx = CPUID_1_ECX_PCID},
    {.bank0.RdWrFsGsSupport = 1,           .leaf = 7,                  .ebx = CPUID_7_EBX_FSGSBASE},
    {.bank0.SmepSupport = 1,               .leaf = 7,                  .ebx = CPUID_7_EBX_SMEP},
    {.bank0.EnhancedFastStringSupport = 1, .leaf = 7,                  .ebx = CPUID_7_EBX_ERMS},
    {.bank0.MovbeSupport = 1,              .leaf = 1,                  .ecx = CPUID_1_ECX_MOVBE},
    {.bank0.SmapSupport = 1,               .leaf = 7,                  .ebx = CPUID_7_EBX_SMAP},
    {.bank0.RdtscpSupport = 1,             .leaf = 0x80000001,         .edx = CPUID_EXT1_EDX_RDTSCP},
    {.bank0.InvpcidSupport = 1,            .leaf = 7,                  .ebx = CPUID_7_EBX_INVPCID},
    {.bank0.RdPidSupport = 1,              .leaf = 7,                  .ecx = CPUID_7_ECX_RDPID},
    {.bank0.UmipSupport = 1,               .leaf = 7,                  .ecx = CPUID_7_ECX_UMIP},
    {.bank0.MdClearSupport = 1,            .leaf = 7,                  .edx = CPUID_7_EDX_MD_CLEAR},
    {.bank1.TscInvariantSupport = 1,       .leaf = 0x80000007,         .edx = CPUID_APM_EDX_INVARIANT_TSC},
    {.bank1.TscAdjustSupport = 1,          .leaf = 7,                  .ebx = CPUID_7_EBX_TSC_ADJUST},
    {.bank1.SerializeSupport = 1,          .leaf = 7,                  .edx = CPUID_7_EDX_SERIALIZE},
    {.bank1.FSRepCmpsb = 1,                .leaf = 7, .subleaf = 1,    .eax = BIT32(12)},
    {.xsave.Avx2Support = 1,               .leaf = 7,                  .ebx = CPUID_7_EBX_AVX2},
    {.xsave.FmaSupport = 1,                .leaf = 1,                  .ecx = CPUID_1_ECX_FMA},
    {.xsave.XsaveCompSupport = 1,          .leaf = 0xd, .subleaf = 1,  .eax = CPUID_D_1_EAX_XSAVEC},
    {.xsave.Avx512VBmi2Support = 1,        .leaf = 7,                  .ecx = CPUID_7_ECX_AVX512_VBMI2},
};
/* clang-format on */

static void features_are_the_bits_of_their_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(examples); i++) {
        struct hv_properties props = *PROPS;
        uint32_t with[4], without[4];

        features_mask(&props, 0, 0, with);
        memset(with, 0xff, sizeof(with));
        memset(without, 0xff, sizeof(without));
        features_mask(&props, examples[i].leaf, examples[i].subleaf, with);
        assert_true(props.features[0] & examples[i].bank0.AsUINT64 || props.features[1] & examples[i].bank1.AsUINT64 ||
                    props.xsave_features & examples[i].xsave.AsUINT64);
        props.features[0] &= ~examples[i].bank0.AsUINT64;
        props.features[1] &= ~examples[i].bank1.AsUINT64;
        props.xsave_features &= ~examples[i].xsave.AsUINT64;
        features_mask(&props, examples[i].leaf, examples[i].subleaf, without);
        assert_int_equal(with[0] ^ without[0], examples[i].eax);
        assert_int_equal(with[1] ^ without[1], examples[i].ebx);
        assert_int_equal(with[2] ^ without[2], examples[i].ecx);
        assert_int_equal(with[3] ^ without[3], examples[i].edx);
    }
}

static const struct {
    uint32_t leaf, subleaf;
} feature_outputs[] = {
    {1, 0}, {7, 0}, {7, 1}, {0xd, 1}, {0x80000001, 0}, {0x80000007, 0}, {0x80000008, 0}, {0x80000021, 0},
};
#define FEATURE_OUTPUTS ARRAY_COUNT(feature_outputs)

static void all_outputs(const struct hv_properties *props, uint32_t regs[FEATURE_OUTPUTS][4])
{
    struct cpuid_slot slot;

    for (size_t i = 0; i < FEATURE_OUTPUTS; i++) {
        cpuid_default(props, feature_outputs[i].leaf, feature_outputs[i].subleaf, &slot);
        memcpy(regs[i], slot.regs, sizeof(slot.regs));
    }
}

static uint64_t *feature_word(struct hv_properties *props, unsigned bank)
{
    return bank < 2 ? &props->features[bank] : &props->xsave_features;
}

/* XSAVE, AVX and AVX512F take others with them. */
static bool has_dependents(unsigned bank, unsigned bit)
{
    return bank == 2 && BIT64(bit) & (HV_XSAVE_XSAVE | HV_XSAVE_AVX | HV_XSAVE_AVX512);
}

/* Each feature offered is exactly one bit of CPUID, and no bit belongs to two features. */
static void features_and_cpuid_agree(void **state)
{
    uint32_t full[FEATURE_OUTPUTS][4], less[FEATURE_OUTPUTS][4], seen[FEATURE_OUTPUTS][4] = {{0}};
    uint32_t *diff = &less[0][0], *all = &full[0][0], *taken = &seen[0][0];

    (void)state;
    PROPS->local_apic_mode = HV_LOCAL_APIC_X2APIC; /* the deadline timer is the local APIC's */
    all_outputs(PROPS, full);
    for (unsigned bank = 0; bank < 3; bank++)
        for (unsigned bit = 0; bit < 64; bit++) {
            struct hv_properties props = *PROPS;
            unsigned bits = 0;

            if (!(*feature_word(&props, bank) & BIT64(bit)))
                continue;
            *feature_word(&props, bank) &= ~BIT64(bit);
            all_outputs(&props, less);
            for (size_t i = 0; i < FEATURE_OUTPUTS * 4; i++) {
                diff[i] ^= all[i];
                bits += (unsigned)__builtin_popcount(diff[i]);
                if (has_dependents(bank, bit))
                    continue;
                assert_int_equal(diff[i] & taken[i], 0);
                taken[i] |= diff[i];
            }
            assert_true(has_dependents(bank, bit) ? bits > 1 : bits == 1);
        }
}

/* And the other way: a CPU without a bit offers one feature less. */
static void each_feature_bit_of_the_cpu_counts(void **state)
{
    uint64_t host[2], less[2];

    (void)state;
    features_host(host);
    for (unsigned bit = 0; bit < 32; bit++) {
        stub_leaf(7, 0)->ebx &= ~BIT32(bit);
        features_host(less);
        assert_true(__builtin_popcountll(host[0] ^ less[0]) + __builtin_popcountll(host[1] ^ less[1]) <= 1);
        assert_int_equal(less[0] & ~host[0], 0);
        assert_int_equal(less[1] & ~host[1], 0);
        stub_leaf(7, 0)->ebx = ~0u;
    }
    stub_leaf(7, 0)->ebx &= ~CPUID_7_EBX_SMEP;
    features_host(less);
    assert_int_equal(host[0] ^ less[0], ((WHV_PROCESSOR_FEATURES){.SmepSupport = 1}).AsUINT64);
}

static void a_feature_taken_away_is_gone(void **state)
{
    (void)state;
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeProcessorFeatures, 0), HV_OK);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeProcessorXsaveFeatures, HV_XSAVE_XSAVE), HV_OK);
    seal();
    assert_int_equal(ask(1, 0).ecx, CPUID_1_ECX_XSAVE);
    assert_output(ask(0xd, 0), XCR0_X87 | XCR0_SSE, 576, 576, 0);
    assert_output(ask(0xd, 1), 0, 0, 0, 0);
    assert_output(ask(0xd, 2), 0, 0, 0, 0);
}

/* ------------------------------------------------------------------------- what the VP adds */

static void leaf_1_knows_the_vp(void **state)
{
    (void)state;
    set_count(2);
    seal();
    assert_int_equal(ask_vp(1, 1, 0).ebx, 1u << 24 | 2u << 16 | 8u << 8);
    assert_int_equal(ask_vp(0, 1, 0).ebx, 0u << 24 | 2u << 16 | 8u << 8);
    assert_true(ask(1, 0).edx & CPUID_1_EDX_HTT);
    assert_true(stub_fetched & VCPU_CR4);
    assert_false(ask(1, 0).ecx & CPUID_1_ECX_OSXSAVE);
    stub_vcpus[0].cr4 = CR4_OSXSAVE;
    assert_true(ask(1, 0).ecx & CPUID_1_ECX_OSXSAVE);
    assert_false(ask_vp(1, 1, 0).ecx & CPUID_1_ECX_OSXSAVE);
    assert_true(ask(1, 0).edx & CPUID_1_EDX_APIC);
    stub_vps[0].lapic.base &= ~APIC_BASE_EN;
    assert_false(ask(1, 0).edx & CPUID_1_EDX_APIC);
}

/* ------------------------------------------------------------------------------ the local APIC */

#define APIC_BITS (CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE)

/* What it can do is the core's doing: the same on a CPU that has nothing of it. */
static void the_local_apic_shows_what_it_can(void **state)
{
    static const struct {
        uint32_t mode, bits;
    } cases[] = {
        {HV_LOCAL_APIC_NONE, 0},
        {HV_LOCAL_APIC_XAPIC, CPUID_1_ECX_TSC_DEADLINE},
        {HV_LOCAL_APIC_X2APIC, APIC_BITS},
    };

    (void)state;
    stub_leaf(1, 0)->ecx = 0;
    stub_set_leaf(6, 0, 0, 0, 0, 0);
    properties_init(PROPS);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(stub_set(WHvPartitionPropertyCodeLocalApicEmulationMode, &cases[i].mode, 4), HV_OK);
        seal();
        assert_int_equal(ask(1, 0).ecx, cases[i].bits);
        assert_int_equal(ask(6, 0).eax, cases[i].mode ? CPUID_6_EAX_ARAT : 0);
        properties_unseal(PROPS);
    }
    PROPS->features[1] &= ~((WHV_PROCESSOR_FEATURES1){.TscDeadlineTmrSupport = 1}).AsUINT64;
    seal();
    assert_int_equal(ask(1, 0).ecx, CPUID_1_ECX_X2APIC);
}

static struct hv_cpuid_output tsc_leaf(uint64_t hz)
{
    struct hv_cpuid_output out;

    stub_facts.tsc_hz = hz;
    seal();
    out = ask(0x15, 0);
    properties_unseal(PROPS);
    return out;
}

static uint64_t told_hz(const struct hv_cpuid_output *out)
{
    return (uint64_t)out->ecx * out->ebx / out->eax;
}

static void assert_rate(uint64_t hz, uint64_t tolerance)
{
    struct hv_cpuid_output out = tsc_leaf(hz);
    uint32_t linux_khz = out.ecx / 1000 * out.ebx / out.eax; /* may wrap: an unsigned int there, too */
    uint64_t told = told_hz(&out);

    assert_int_equal(out.ecx, HV_INTERRUPT_HZ);
    assert_int_equal(out.edx, 0);
    assert_true(told <= hz + tolerance && hz <= told + tolerance);
    assert_int_equal(linux_khz, told / 1000);
}

static void the_crystal_is_the_apic_timers(void **state)
{
    static const uint64_t exact[] = {1000000,    50000000,   1000000000, 1193000000,
                                     2400000000, 2894000000, 4000000000, 5000000000};

    (void)state;
    PROPS->local_apic_mode = HV_LOCAL_APIC_XAPIC;
    for (size_t i = 0; i < ARRAY_COUNT(exact); i++)
        assert_rate(exact[i], 0);
    assert_rate(2399987123, 24000); /* as measured: nearly 12:5 */
    assert_rate(2394567123, 2400);
    assert_rate(49998732, 50);
    assert_rate(3999999999, 1);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t hz = 1000000 + (((uint64_t)rand() << 20) ^ (uint64_t)rand()) % 9000000000;

        assert_rate(hz, hz / 8000 + 1);
    }
}

/* True, false or missing: what the CPU says of its own crystal does not count, but for guests without a local APIC. */
static void the_tsc_leaf_is_made_for_local_apics(void **state)
{
    (void)state;
    stub_set_leaf(0x15, 0, 2, 200, 24000000, 0);
    assert_output(tsc_leaf(2400000000), 2, 200, 24000000, 0);
    PROPS->local_apic_mode = HV_LOCAL_APIC_X2APIC;
    assert_output(tsc_leaf(2400000000), 5, 12, 1000000000, 0);
    stub_facts.tsc_leaf_is_true = false;
    assert_output(tsc_leaf(2400000000), 5, 12, 1000000000, 0);
    PROPS->local_apic_mode = HV_LOCAL_APIC_NONE;
    assert_output(tsc_leaf(2400000000), 0, 0, 0, 0);
    PROPS->local_apic_mode = HV_LOCAL_APIC_X2APIC;
    stub_facts.make = STUB_OTHER_MAKE;
    assert_output(tsc_leaf(2400000000), 0, 0, 0, 0);
}

static void the_tsc_leaf_is_there_on_older_cpus(void **state)
{
    (void)state;
    stub_facts.max_leaf = 0xd;
    stub_set_leaf(0, 0, 0xd, 1, 2, 3);
    PROPS->local_apic_mode = HV_LOCAL_APIC_XAPIC;
    seal();
    assert_output(ask(0, 0), 0x15, 1, 2, 3);
    assert_output(ask(0x15, 0), 5, 12, 1000000000, 0);
    assert_output(ask(0x14, 0), 0, 0, 0, 0);
    assert_output(ask(0x16, 0), 0, 0, 0, 0);
    properties_unseal(PROPS);
    PROPS->local_apic_mode = HV_LOCAL_APIC_NONE;
    seal();
    assert_int_equal(ask(0, 0).eax, 0xd);
    assert_output(ask(0x15, 0), 0, 0, 0, 0);
}

static void line_size_and_width_are_the_partitions(void **state)
{
    (void)state;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorClFlushSize, &(uint8_t){5}, 1), HV_OK);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodePhysicalAddressWidth, 39), HV_OK);
    seal();
    assert_int_equal(ask(1, 0).ebx, 4u << 8);
    assert_int_equal(ask(0x80000008, 0).eax, 0x3027);
}

/* APIC ids: as many bits as the count needs. */
static void topology_fits_the_count(void **state)
{
    static const struct {
        uint32_t count, bits;
    } cases[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {63, 6}, {64, 6}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint32_t ids = 1u << cases[i].bits;

        set_count(cases[i].count);
        seal();
        assert_output(ask_vp(1, 0xb, 0), 0, 1, 0x100, 1);
        assert_output(ask_vp(1, 0xb, 1), cases[i].bits, cases[i].count, 0x201, 1);
        assert_output(ask_vp(1, 0xb, 2), 0, 0, 2, 1);
        assert_output(ask_vp(1, 0xb, 0x1234), 0, 0, 0x34, 1);
        assert_int_equal(ask(4, 0).eax, (ids - 1) << 26 | 0x121);
        assert_int_equal(ask(4, 2).eax, (ids - 1) << 26 | 0x143);
        assert_int_equal(ask(4, 3).eax, (ids - 1) << 26 | (ids - 1) << 14 | 0x163);
        assert_int_equal(ask(4, 3).ebx, 0x02c0003f);
        assert_int_equal(ask(1, 0).ebx >> 16 & 0xff, ids > 1 ? ids : 0);
        properties_unseal(PROPS);
    }
}

static void cores_are_counted_in_leaves_of_the_make(void **state)
{
    (void)state;
    set_count(5);
    seal();
    assert_false(ask(0x80000001, 0).ecx & CPUID_EXT1_ECX_CMP_LEGACY);
    assert_int_equal(ask(0x80000008, 0).ecx, 0);
    properties_unseal(PROPS);
    stub_facts.make = STUB_OTHER_MAKE;
    seal();
    assert_true(ask(0x80000001, 0).ecx & CPUID_EXT1_ECX_CMP_LEGACY);
    assert_int_equal(ask(0x80000008, 0).ecx, 3u << 12 | 4);
    properties_unseal(PROPS);
    set_count(1);
    seal();
    assert_false(ask(0x80000001, 0).ecx & CPUID_EXT1_ECX_CMP_LEGACY);
    assert_int_equal(ask(0x80000008, 0).ecx, 0);
}

/* The leaves that a bit of 8000_0001 tells of: caches as in leaf 4, one node with a thread for each VP. */
static void extended_topology_goes_with_its_bit(void **state)
{
    (void)state;
    set_count(5);
    seal();
    assert_true(ask(0x80000001, 0).ecx & CPUID_EXT1_ECX_TOPOEXT);
    assert_output(ask(0x8000001d, 0), 0x121, 0x01c0003f, 63, 0);
    assert_output(ask(0x8000001d, 1), 7 << 14 | 0x163, 0x03c0003f, 32767, 1);
    assert_output(ask(0x8000001d, 2), 0, 0, 0, 0);
    assert_output(ask_vp(1, 0x8000001e, 0), 1, 1, 0, 0);
    properties_unseal(PROPS);
    stub_leaf(0x80000001, 0)->ecx = ~CPUID_EXT1_ECX_TOPOEXT;
    seal();
    assert_output(ask(0x8000001d, 0), 0, 0, 0, 0);
    assert_output(ask_vp(1, 0x8000001e, 0), 0, 0, 0, 0);
}

/* Where a CPU repeats leaf 1's bits, the local APIC's goes off and on with it. */
static void the_apic_bit_is_shown_twice(void **state)
{
    (void)state;
    seal();
    assert_true(ask(1, 0).edx & ask(0x80000001, 0).edx & CPUID_1_EDX_APIC);
    stub_vps[0].lapic.base &= ~APIC_BASE_EN;
    assert_false((ask(1, 0).edx | ask(0x80000001, 0).edx) & CPUID_1_EDX_APIC);
    stub_vps[0].lapic.base |= APIC_BASE_EN;
    properties_unseal(PROPS);
    stub_leaf(0x80000001, 0)->edx = CPUID_EXT1_EDX_LM;
    seal();
    assert_false(ask(0x80000001, 0).edx & CPUID_1_EDX_APIC);
}

static void xsave_sizes_follow_xcr0(void **state)
{
    static const struct {
        uint64_t xcr0;
        uint32_t standard, compact;
    } cases[] = {
        {XCR0_X87, 576, 576},
        {XCR0_X87 | XCR0_SSE, 576, 576},
        {XCR0_X87 | XCR0_SSE | XCR0_AVX, 832, 832},
        {XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512, 2688, 832 + 64 + 512 + 1024},
    };

    (void)state;
    seal();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        stub_vcpus[0].xcr0 = cases[i].xcr0;
        assert_output(ask(0xd, 0), 0xe7, cases[i].standard, 2688, 0);
        assert_output(ask(0xd, 1), 7, cases[i].compact, 0, 0);
    }
    assert_output(ask(0xd, 2), 256, 576, 0, 0);
    assert_output(ask(0xd, 6), 512, 1152, CPUID_D_N_ECX_ALIGN64, 0);
}

static void answers_come_from_the_table(void **state)
{
    (void)state;
    seal();
    stub_cpuids = 0;
    for (uint32_t leaf = 0; leaf < 0x40; leaf++)
        for (uint32_t subleaf = 0; subleaf < 20; subleaf++) {
            ask(leaf, subleaf);
            ask(0x80000000 + leaf, subleaf);
        }
    assert_int_equal(stub_cpuids, 0);
}

static void a_busy_vp_does_not_answer(void **state)
{
    struct hv_cpuid_output out;

    (void)state;
    stub_vps[0].shared.owner = 1;
    assert_int_equal(hv_vp_cpuid(&stub_vps[0], 0, 0, &out), HV_E_VP_BUSY);
    stub_vps[0].shared.owner = 0;
}

/* -------------------------------------------------------------------------------- result lists */

static void set_results(const struct hv_cpuid_entry *entries, uint32_t count)
{
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidResultList, entries, count * sizeof(*entries)), HV_OK);
}

static void set_results2(const struct hv_cpuid_entry2 *entries, uint32_t count)
{
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidResultList2, entries, count * sizeof(*entries)), HV_OK);
}

/* The interface's leaves are like all others: the lists have the last word, and no CPUID is executed for them. */
static void results_replace_the_interface(void **state)
{
    static const struct hv_cpuid_entry entries[] = {{0x40000002, {0, 0, 0}, 1, 2, 3, 4}};
    static const struct hv_cpuid_entry2 entries2[] = {
        {0x40000004, 0, 0, 0, {BIT32(31), 0, 0, 0}, {BIT32(31), 0, 0, 0}},
        {1, 0, 1, HV_CPUID_ENTRY2_VP, {0, 0, 0, 0}, {0, 0, CPUID_1_ECX_HYPERVISOR, 0}},
    };

    (void)state;
    PROPS->synthetic_features = HV_SYNTH_HYPERVISOR_PRESENT | HV_SYNTH_HV1;
    set_results(entries, ARRAY_COUNT(entries));
    set_results2(entries2, ARRAY_COUNT(entries2));
    seal();
    stub_cpuids = 0;
    assert_output(ask(0x40000001, 5), 0x31237648, 0, 0, 0);
    assert_output(ask(0x40000002, 0), 1, 2, 3, 4);
    assert_int_equal(ask(0x40000004, 0).eax, BIT32(31) | BIT32(5)); /* relaxed timing stays */
    assert_true(ask_vp(0, 1, 0).ecx & CPUID_1_ECX_HYPERVISOR);
    assert_false(ask_vp(1, 1, 0).ecx & CPUID_1_ECX_HYPERVISOR);
    assert_int_equal(stub_cpuids, 0);
}

static void results_replace_everything(void **state)
{
    static const struct hv_cpuid_entry entries[] = {
        {1, {0, 0, 0}, 9, 9, 9, 9},
        {1, {0, 0, 0}, 1, 2, 3, 4}, /* the last one counts */
        {0x40000000, {0, 0, 0}, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d},
        {0x40000100, {0, 0, 0}, 5, 6, 7, 8},
        {0xd, {0, 0, 0}, 10, 11, 12, 13},
        {0xb, {0, 0, 0}, 14, 15, 16, 17},
        {0x24, {0, 0, 0}, 18, 19, 20, 21},
    };

    (void)state;
    set_results(entries, ARRAY_COUNT(entries));
    seal();
    for (uint32_t subleaf = 0; subleaf < 70; subleaf++) {
        assert_output(ask_vp(1, 1, subleaf), 1, 2, 3, 4);
        assert_output(ask(0x40000000, subleaf), 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
        assert_output(ask(0x40000100, subleaf), 5, 6, 7, 8);
        assert_output(ask(0xd, subleaf), 10, 11, 12, 13);
        assert_output(ask_vp(1, 0xb, subleaf), 14, 15, 16, 17);
        assert_output(ask(0x24, subleaf), 18, 19, 20, 21);
    }
    assert_output(ask(0x40000001, 0), 0, 0, 0, 0);
}

static void masked_results_replace_their_bits(void **state)
{
    static const struct hv_cpuid_entry2 entries[] = {
        {1, 0, 0, 0, {0, 0x00110000, 0x80000000, 0}, {0, 0x00ff0000, 0x80000000, 0}},
        {7, 0, 0, HV_CPUID_ENTRY2_SUBLEAF, {5, 0, 0, 0}, {~0u, 0, 0, 0}},
        {7, 9, 0, HV_CPUID_ENTRY2_SUBLEAF, {0xabc, 0, 0, 0}, {0xfff, 0, 0, 0}},
        {0x15, 3, 1, HV_CPUID_ENTRY2_VP, {2, 100, 24000000, 0}, {~0u, ~0u, ~0u, ~0u}},
        {0x40000000, 0, 1, HV_CPUID_ENTRY2_VP | HV_CPUID_ENTRY2_SUBLEAF, {7, 7, 7, 7}, {~0u, ~0u, 3, 0}},
    };
    struct hv_cpuid_output plain1, plain7, plain15, out;

    (void)state;
    seal();
    plain1 = ask_vp(1, 1, 0);
    plain7 = ask(7, 0);
    plain15 = ask(0x15, 0);
    properties_unseal(PROPS);
    set_results2(entries, ARRAY_COUNT(entries));
    seal();
    out = ask_vp(1, 1, 0);
    assert_int_equal(out.ecx, plain1.ecx | 0x80000000);
    assert_int_equal(out.ebx, (plain1.ebx & 0xff00ffff) | 0x00110000); /* the APIC id stays */
    assert_int_equal(out.edx, plain1.edx);
    assert_output(ask(7, 0), 5, plain7.ebx, plain7.ecx, plain7.edx);
    assert_output(ask(7, 9), 0xabc, 0, 0, 0);
    assert_output(ask(7, 10), 0, 0, 0, 0);
    assert_output(ask_vp(1, 0x15, 8), 2, 100, 24000000, 0);
    assert_output(ask_vp(0, 0x15, 8), plain15.eax, plain15.ebx, plain15.ecx, plain15.edx);
    assert_output(ask_vp(1, 0x40000000, 0), 7, 7, 3, 0);
    assert_output(ask_vp(1, 0x40000000, 1), 0, 0, 0, 0);
    assert_output(ask_vp(0, 0x40000000, 0), 0, 0, 0, 0);
}

static void the_second_list_comes_after_the_first(void **state)
{
    static const struct hv_cpuid_entry entry = {1, {0, 0, 0}, 0xaaaa, 0xbbbb, 0xcccc, 0xdddd};
    static const struct hv_cpuid_entry2 entries[] = {
        {1, 0, 0, 0, {0x00ff, 0, 0, 0}, {0x00ff, 0, 0, 0xf}},
        {1, 0, 0, 0, {0x0001, 0, 0, 0}, {0x000f, 0, 0, 0}},
    };

    (void)state;
    set_results(&entry, 1);
    set_results2(entries, 2);
    seal();
    assert_output(ask(1, 0), 0xaaf1, 0xbbbb, 0xcccc, 0xddd0);
}

static uint32_t pick(const uint32_t *from, size_t count)
{
    return from[(size_t)rand() % count];
}

static const uint32_t some_leaves[] = {0,   1,    4,    7,          0xb,        0xd,        0x15,       0x20,
                                       0x5, 0x3f, 0x40, 0x40000000, 0x40000123, 0x80000001, 0x80000008, 0xc0000001};
static const uint32_t some_subleaves[] = {0, 1, 2, 3, 5, 7, 8, 63, 64, 0xffffffff};

static void random_lists(void)
{
    struct hv_cpuid_entry results[6];
    struct hv_cpuid_entry2 results2[12];
    uint32_t n = (uint32_t)rand() % 7, n2 = (uint32_t)rand() % 13;

    for (uint32_t i = 0; i < n; i++)
        results[i] = (struct hv_cpuid_entry){
            pick(some_leaves, ARRAY_COUNT(some_leaves)), {0, 0, 0}, (uint32_t)rand(), (uint32_t)rand(), 3, 4};
    for (uint32_t i = 0; i < n2; i++) {
        results2[i] = (struct hv_cpuid_entry2){
            .function = pick(some_leaves, ARRAY_COUNT(some_leaves)),
            .index = pick(some_subleaves, ARRAY_COUNT(some_subleaves)),
            .vp_index = (uint32_t)rand() % 3,
            .flags = (uint32_t)rand() % 4,
        };
        for (unsigned r = 0; r < 4; r++) {
            results2[i].output[r] = (uint32_t)rand();
            results2[i].mask[r] = (uint32_t)rand() & (uint32_t)rand();
        }
    }
    set_results(results, n);
    set_results2(results2, n2);
}

static const char *seed(void)
{
    const char *text = getenv("SEED");

    return text && *text ? text : "1";
}

/* The table says what working it out each time says. */
static void the_table_equals_the_slow_way(void **state)
{
    (void)state;
    srand((unsigned)strtoul(seed(), NULL, 0));
    set_count(3);
    stub_vcpus[0].xcr0 = 0xe7;
    stub_vcpus[1].cr4 = CR4_OSXSAVE;
    for (unsigned round = 0; round < 300; round++) {
        struct hv_cpuid_output fast[2][ARRAY_COUNT(some_leaves)][ARRAY_COUNT(some_subleaves)];

        random_lists();
        seal();
        for (uint32_t vp = 0; vp < 2; vp++)
            for (size_t i = 0; i < ARRAY_COUNT(some_leaves); i++)
                for (size_t j = 0; j < ARRAY_COUNT(some_subleaves); j++)
                    fast[vp][i][j] = ask_vp(vp, some_leaves[i], some_subleaves[j]);
        properties_unseal(PROPS);
        for (uint32_t vp = 0; vp < 2; vp++)
            for (size_t i = 0; i < ARRAY_COUNT(some_leaves); i++)
                for (size_t j = 0; j < ARRAY_COUNT(some_subleaves); j++) {
                    struct hv_cpuid_output slow = ask_vp(vp, some_leaves[i], some_subleaves[j]);

                    assert_memory_equal(&fast[vp][i][j], &slow, sizeof(slow));
                }
    }
}

/* ------------------------------------------------------------------------------- the CPUID exit */

static struct hv_exit cpuid_exit(uint32_t leaf, enum exit_outcome *outcome)
{
    struct hv_exit exit = {.reason = HV_EXIT_CPUID, .instruction_length = 2};

    stub_exit.skips = 0;
    stub_vcpus[0].gpr[GPR_RAX] = 0xaaaaaaaa00000000ull | leaf;
    stub_vcpus[0].gpr[GPR_RBX] = 0xbbbbbbbbbbbbbbbbull;
    stub_vcpus[0].gpr[GPR_RCX] = 0xcccccccc00000001ull;
    stub_vcpus[0].gpr[GPR_RDX] = 0xddddddddddddddddull;
    hv_host_preempt_disable();
    *outcome = skipped(exit_cpuid(&stub_vps[0], &exit));
    hv_host_preempt_enable();
    return exit;
}

static bool exits(uint32_t leaf)
{
    enum exit_outcome outcome;

    cpuid_exit(leaf, &outcome);
    return outcome == EXIT_TO_CLIENT;
}

static void the_core_answers(void **state)
{
    struct hv_cpuid_output want;
    enum exit_outcome outcome;

    (void)state;
    seal();
    want = ask(0xb, 1);
    cpuid_exit(0xb, &outcome);
    assert_int_equal(outcome, EXIT_HANDLED);
    assert_int_equal(stub_exit.skips, 1);
    assert_int_equal(stub_vcpus[0].gpr[GPR_RAX], want.eax);
    assert_int_equal(stub_vcpus[0].gpr[GPR_RBX], want.ebx);
    assert_int_equal(stub_vcpus[0].gpr[GPR_RCX], want.ecx);
    assert_int_equal(stub_vcpus[0].gpr[GPR_RDX], want.edx);
}

static void the_client_gets_input_and_defaults(void **state)
{
    struct hv_cpuid_output want;
    enum exit_outcome outcome;
    struct hv_exit exit;

    (void)state;
    seal();
    want = ask(0xb, 1);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeExtendedVmExits, 1), HV_OK);
    exit = cpuid_exit(0xb, &outcome);
    assert_int_equal(outcome, EXIT_TO_CLIENT);
    assert_int_equal(stub_exit.skips, 0);
    assert_int_equal(exit.cpuid.rax, 0xaaaaaaaa0000000bull);
    assert_int_equal(exit.cpuid.rbx, 0xbbbbbbbbbbbbbbbbull);
    assert_int_equal(exit.cpuid.rcx, 0xcccccccc00000001ull);
    assert_int_equal(exit.cpuid.rdx, 0xddddddddddddddddull);
    assert_int_equal(exit.cpuid.default_rax, want.eax);
    assert_int_equal(exit.cpuid.default_rbx, want.ebx);
    assert_int_equal(exit.cpuid.default_rcx, want.ecx);
    assert_int_equal(exit.cpuid.default_rdx, want.edx);
    assert_int_equal(stub_vcpus[0].gpr[GPR_RBX], 0xbbbbbbbbbbbbbbbbull);
}

static void the_exit_list_chooses_leaves(void **state)
{
    static const uint32_t leaves[] = {0x40000000, 1, 0x80000001};

    (void)state;
    seal();
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidExitList, leaves, sizeof(leaves)), HV_OK);
    assert_false(exits(1)); /* not without the extended exit */
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeExtendedVmExits, 1), HV_OK);
    for (size_t i = 0; i < ARRAY_COUNT(leaves); i++)
        assert_true(exits(leaves[i]));
    assert_false(exits(0));
    assert_false(exits(2));
    assert_false(exits(0x80000002));
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidExitList, NULL, 0), HV_OK);
    assert_false(exits(1));
    assert_false(exits(0));
}

/* ------------------------------------------------------------------------------------ MSRs */

enum result { DONE, FAULT, CLIENT };

static uint64_t last_read;

/* As the run loop does it. */
static void follow_properties(void)
{
    static struct hv_properties seen;

    if (stub_vps[0].msr_hint[0] && memcmp(&seen, PROPS, sizeof(seen)) == 0)
        return;
    exit_msr_forget(&stub_vps[0]);
    seen = *PROPS;
}

static enum result access_msr(uint32_t index, bool is_write, uint64_t value)
{
    struct hv_exit exit = {
        .reason = HV_EXIT_MSR,
        .instruction_length = 2,
        .msr = {is_write, index, 0xaaaaaaaa00000000ull | (uint32_t)value, value >> 32},
    };
    struct vcpu *v = &stub_vcpus[0];
    enum exit_outcome outcome;

    stub_exit.skips = 0;
    stub_exit.vector = stub_exit.msr = -1;
    v->gpr[GPR_RAX] = v->gpr[GPR_RDX] = ~0ull;
    v->dirty = 0;
    follow_properties();
    hv_host_preempt_disable();
    outcome = skipped(exit_msr(&stub_vps[0], &exit));
    hv_host_preempt_enable();
    if (outcome == EXIT_TO_CLIENT || stub_exit.vector >= 0 || is_write) {
        assert_true(v->gpr[GPR_RAX] == ~0ull && v->gpr[GPR_RDX] == ~0ull);
    } else {
        assert_int_equal((v->gpr[GPR_RAX] | v->gpr[GPR_RDX]) >> 32, 0);
        last_read = v->gpr[GPR_RDX] << 32 | v->gpr[GPR_RAX];
    }
    if (outcome == EXIT_TO_CLIENT) {
        assert_int_equal(stub_exit.skips, 0);
        assert_int_equal(stub_exit.vector, -1);
        return CLIENT;
    }
    assert_int_equal(stub_exit.skips, stub_exit.vector < 0);
    if (stub_exit.vector < 0)
        return DONE;
    assert_int_equal(stub_exit.vector, VEC_GP);
    assert_int_equal(stub_exit.error_code, 0);
    return FAULT;
}

static enum result rd(uint32_t index)
{
    return access_msr(index, false, 0);
}

static enum result wr(uint32_t index, uint64_t value)
{
    return access_msr(index, true, value);
}

static uint64_t value_of(uint32_t index)
{
    assert_int_equal(rd(index), DONE);
    return last_read;
}

#define CANONICAL     0xffff800000001000ull
#define NOT_CANONICAL 0x0000800000000000ull

/* A value that is stored, as what it is read back, and one that faults and changes nothing (0: none). */
/* clang-format off */
static const struct {
    uint32_t index;
    uint64_t good, back, bad;
} writable[] = {
    {MSR_IA32_SYSENTER_CS,            0x100000010ull,          0x10,                    0},
    {MSR_IA32_SYSENTER_ESP,           CANONICAL,               CANONICAL,               NOT_CANONICAL},
    {MSR_IA32_SYSENTER_EIP,           CANONICAL,               CANONICAL,               NOT_CANONICAL},
    {MSR_IA32_FS_BASE,                CANONICAL,               CANONICAL,               NOT_CANONICAL},
    {MSR_IA32_GS_BASE,                0x7fffffffffffull,       0x7fffffffffffull,       NOT_CANONICAL},
    {MSR_IA32_KERNEL_GS_BASE,         CANONICAL,               CANONICAL,               NOT_CANONICAL},
    {MSR_IA32_STAR,                   ~0ull,                   ~0ull,                   0},
    {MSR_IA32_LSTAR,                  CANONICAL,               CANONICAL,               NOT_CANONICAL},
    {MSR_IA32_CSTAR,                  CANONICAL,               CANONICAL,               NOT_CANONICAL},
    {MSR_IA32_FMASK,                  0xffffffff,              0xffffffff,              1ull << 32},
    {MSR_IA32_TSC_AUX,                0xffffffff,              0xffffffff,              1ull << 32},
    {MSR_IA32_PAT,                    0x0007050401000706ull,   0x0007050401000706ull,   0x0007050401000702ull},
    {MSR_IA32_PAT,                  PAT_RESET,               PAT_RESET,              PAT_RESET | 0x0800000000000000ull},
    {MSR_IA32_PAT,                    PAT_RESET,               PAT_RESET,               0x03},
    {MSR_IA32_MTRR_DEF_TYPE,          0xc06,                   0xc06,                   0x1006},
    {MSR_IA32_MTRR_DEF_TYPE,          0x801,                   0x801,                   0x802},
    {MSR_IA32_MTRR_DEF_TYPE,          0,                       0,                       0x807},
    {MSR_IA32_MTRR_PHYSBASE0,         0x3ffffffff006ull,       0x3ffffffff006ull,       0x4000fffff006ull},
    {MSR_IA32_MTRR_PHYSBASE0,         6,                       6,                       0x106},
    {MSR_IA32_MTRR_PHYSBASE0,         6,                       6,                       2},
    {MSR_IA32_MTRR_PHYSMASK0,         0x3fffc0000800ull,       0x3fffc0000800ull,       0x7fffc0000800ull},
    {MSR_IA32_MTRR_PHYSMASK0,         0x800,                   0x800,                   0x801},
    {MSR_IA32_MTRR_PHYSBASE0 + 2 * 15, 0xabc000,               0xabc000,                0x7ull},
    {MSR_IA32_MTRR_PHYSMASK0 + 2 * 15, 0xdef000,               0xdef000,                0x1ull},
    {MSR_IA32_MTRR_FIX64K_00000,      0x0606060604050100ull,   0x0606060604050100ull,   0x0606060602060606ull},
    {MSR_IA32_MTRR_FIX16K_A0000,      0x0101010101010101ull,   0x0101010101010101ull,   0x0701010101010101ull},
    {MSR_IA32_MTRR_FIX4K_C0000,       0x0405040504050405ull,   0x0405040504050405ull,   0x0000000000000003ull},
    {MSR_IA32_MTRR_FIX4K_F8000,       0x0505050505050505ull,   0x0505050505050505ull,   0x8000000000000000ull},
    {MSR_IA32_EFER,                   EFER_SCE | EFER_LME | EFER_NXE, EFER_SCE | EFER_LME | EFER_NXE, EFER_SVME},
    {MSR_IA32_EFER,                   EFER_LMA,                0,                       1ull << 1},
    {MSR_IA32_EFER,                   0,                       0,                       1ull << 63},
    {MSR_IA32_MCG_STATUS,             0,                       0,                       1},
    {MSR_IA32_DEBUGCTL,               DEBUGCTL_LBR | DEBUGCTL_BTF, 0,                   DEBUGCTL_TR},
    {MSR_IA32_BIOS_SIGN_ID,           0,                       0xffffffff00000000ull,   0},
    {MSR_IA32_MISC_ENABLE,            MISC_ENABLE_FAST_STRINGS, MISC_ENABLE_FAST_STRINGS, 1ull << 63},
    {MSR_IA32_MISC_ENABLE,            MISC_ENABLE_XD_DISABLE | MISC_ENABLE_PERFMON, 0, BIT64(1)},
    {MSR_IA32_APIC_BASE,              0xfee00000,              0xfee00800,              0xfee00c00},
    {MSR_IA32_APIC_BASE,              0x1000900,               0xfee00800,              0x4000fee00800ull},
    {MSR_IA32_APIC_BASE,              0xfee00800,              0xfee00800,              0xfee00801},
};
/* clang-format on */

static void values_are_stored_or_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(writable); i++) {
        assert_int_equal(wr(writable[i].index, writable[i].good), DONE);
        assert_int_equal(value_of(writable[i].index), writable[i].back);
        if (!writable[i].bad)
            continue;
        assert_int_equal(wr(writable[i].index, writable[i].bad), FAULT);
        assert_int_equal(stub_vcpus[0].dirty, 0);
        assert_int_equal(stub_exit.msr, -1);
        assert_int_equal(value_of(writable[i].index), writable[i].back);
    }
}

static void each_mtrr_has_a_place_of_its_own(void **state)
{
    static const uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

    (void)state;
    for (uint32_t i = 0; i < 32; i++)
        assert_int_equal(wr(MSR_IA32_MTRR_PHYSBASE0 + i, (uint64_t)(i + 1) << 12), DONE);
    for (size_t i = 0; i < ARRAY_COUNT(fixed); i++)
        assert_int_equal(wr(fixed[i], (i & 1) << 8 | (i >> 1 & 1) << 16 | (i >> 2 & 1) << 24 | (i >> 3) << 32), DONE);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(stub_vps[0].mtrr.base[i], (uint64_t)(2 * i + 1) << 12);
        assert_int_equal(stub_vps[0].mtrr.mask[i], (uint64_t)(2 * i + 2) << 12);
    }
    for (size_t i = 0; i < ARRAY_COUNT(fixed); i++)
        assert_int_equal(stub_vps[0].mtrr.fixed[i],
                         (i & 1) << 8 | (i >> 1 & 1) << 16 | (i >> 2 & 1) << 24 | (i >> 3) << 32);
    assert_int_equal(value_of(MSR_IA32_MTRRCAP), 0x510);
    assert_int_equal(wr(MSR_IA32_MTRRCAP, 0x510), FAULT);
}

static void writes_reach_the_vcpu(void **state)
{
    struct vcpu *v = &stub_vcpus[0];

    (void)state;
    assert_int_equal(wr(MSR_IA32_PAT, PAT_RESET), DONE);
    assert_int_equal(v->dirty, VCPU_PAT);
    assert_int_equal(wr(MSR_IA32_EFER, EFER_NXE), DONE);
    assert_int_equal(v->dirty, VCPU_EFER);
    assert_int_equal(wr(MSR_IA32_GS_BASE, 0x1000), DONE);
    assert_int_equal(v->dirty, VCPU_SEG(SEG_GS));
    assert_int_equal(v->seg[SEG_GS].base, 0x1000);
    assert_int_equal(wr(MSR_IA32_SYSENTER_EIP, 0x1000), DONE);
    assert_int_equal(v->dirty, VCPU_SYSENTER);
    for (uint32_t i = 0; i < 4; i++) {
        static const int which[] = {VCPU_MSR_STAR, VCPU_MSR_LSTAR, VCPU_MSR_CSTAR, VCPU_MSR_SFMASK};

        assert_int_equal(wr(MSR_IA32_STAR + i, 0x100 + i), DONE);
        assert_int_equal(stub_exit.msr, which[i]);
        assert_int_equal(v->msr[which[i]], 0x100 + i);
    }
    assert_int_equal(wr(MSR_IA32_KERNEL_GS_BASE, 5), DONE);
    assert_int_equal(stub_exit.msr, VCPU_MSR_KERNEL_GS_BASE);
    assert_int_equal(wr(MSR_IA32_TSC_AUX, 6), DONE);
    assert_int_equal(stub_exit.msr, VCPU_MSR_TSC_AUX);
}

static void long_mode_is_not_switched_under_paging(void **state)
{
    struct vcpu *v = &stub_vcpus[0];

    (void)state;
    v->cr0 = CR0_PG | CR0_PE;
    v->efer = EFER_LME | EFER_LMA;
    assert_int_equal(wr(MSR_IA32_EFER, EFER_SCE), FAULT);
    assert_true(stub_fetched & VCPU_EFER && stub_fetched & VCPU_CR0);
    assert_int_equal(wr(MSR_IA32_EFER, EFER_LME | EFER_SCE), DONE);
    assert_int_equal(v->efer, EFER_LME | EFER_LMA | EFER_SCE);
    v->efer = 0;
    assert_int_equal(wr(MSR_IA32_EFER, EFER_LME), FAULT);
    v->cr0 = CR0_PE;
    assert_int_equal(wr(MSR_IA32_EFER, EFER_LME), DONE);
    stub_facts.efer_allowed &= ~EFER_NXE;
    assert_int_equal(wr(MSR_IA32_EFER, EFER_NXE | EFER_LME), FAULT);
}

static void canonical_addresses_are_the_cpus(void **state)
{
    (void)state;
    stub_facts.linear_bits = 57;
    assert_int_equal(wr(MSR_IA32_LSTAR, NOT_CANONICAL), DONE);
    assert_int_equal(wr(MSR_IA32_LSTAR, 1ull << 56), FAULT);
    assert_int_equal(wr(MSR_IA32_LSTAR, ~0ull << 56), DONE);
}

static void the_tsc_and_its_adjustment_move_together(void **state)
{
    struct vcpu *v = &stub_vcpus[0];

    (void)state;
    stub_tsc = 5000;
    v->tsc_offset = 0 - 1000ull;
    assert_int_equal(value_of(MSR_IA32_TSC), 4000);
    assert_int_equal(wr(MSR_IA32_TSC, 10000), DONE);
    assert_int_equal(v->dirty, VCPU_TSC);
    assert_int_equal(value_of(MSR_IA32_TSC), 10000);
    assert_int_equal(value_of(MSR_IA32_TSC_ADJUST), 6000);
    assert_int_equal(wr(MSR_IA32_TSC_ADJUST, 0), DONE);
    assert_int_equal(v->dirty, VCPU_TSC);
    assert_int_equal(value_of(MSR_IA32_TSC), 4000);
    assert_int_equal(wr(MSR_IA32_TSC, 0), DONE);
    assert_int_equal((int64_t)value_of(MSR_IA32_TSC_ADJUST), -4000);
    PROPS->features[1] = 0;
    assert_int_equal(rd(MSR_IA32_TSC_ADJUST), FAULT);
    assert_int_equal(wr(MSR_IA32_TSC_ADJUST, 0), FAULT);
}

static void msrs_of_missing_features_fault(void **state)
{
    (void)state;
    assert_int_equal(rd(MSR_IA32_XSS), FAULT); /* no XSAVES */
    PROPS->xsave_features |= HV_XSAVE_XSAVES;
    assert_int_equal(value_of(MSR_IA32_XSS), 0);
    assert_int_equal(wr(MSR_IA32_XSS, 0), DONE);
    assert_int_equal(wr(MSR_IA32_XSS, 1 << 8), FAULT);
    PROPS->features[0] &= ~HV_FEATURE0_RDTSCP;
    assert_int_equal(rd(MSR_IA32_TSC_AUX), DONE); /* RDPID uses it as well */
    PROPS->features[0] &= ~HV_FEATURE0_RDPID;
    assert_int_equal(rd(MSR_IA32_TSC_AUX), FAULT);
    PROPS->features[0] |= HV_FEATURE0_RDTSCP;
    assert_int_equal(rd(MSR_IA32_TSC_AUX), DONE);
    stub_facts.has_rdtscp = false;
    assert_int_equal(rd(MSR_IA32_TSC_AUX), FAULT);
    assert_int_equal(wr(MSR_IA32_TSC_AUX, 0), FAULT);
}

static void constants_are_read_and_not_written(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t value;
    } constants[] = {
        {MSR_IA32_FEATURE_CONTROL, 1}, {MSR_IA32_PLATFORM_ID, 0},       {MSR_IA32_MCG_CAP, 0}, {MSR_PLATFORM_INFO, 0},
        {MSR_IA32_MTRRCAP, 0x510},     {MSR_IA32_ARCH_CAPABILITIES, 0}, {MSR_SMI_COUNT, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(constants); i++) {
        assert_int_equal(value_of(constants[i].index), constants[i].value);
        assert_int_equal(wr(constants[i].index, constants[i].value), FAULT);
    }
    assert_int_equal(value_of(MSR_MISC_FEATURES_ENABLES), 0); /* none is there to be enabled */
    assert_int_equal(wr(MSR_MISC_FEATURES_ENABLES, 0), DONE);
    assert_int_equal(wr(MSR_MISC_FEATURES_ENABLES, 1), FAULT);
    assert_int_equal(rd(MSR_IA32_BIOS_UPDT_TRIG), FAULT);
    assert_int_equal(wr(MSR_IA32_BIOS_UPDT_TRIG, 0x1000), DONE);
}

/* Another machine: what the VP remembers of the table is of this one. */
static void set_make(uint32_t make)
{
    stub_facts.make = make;
    exit_msr_forget(&stub_vps[0]);
}

/* The table is searched by halves: each of its rows must be found, and nothing else. */
static void the_table_holds_what_it_should(void **state)
{
    unsigned low_make = 0, high_make = 0;

    (void)state;
    PROPS->extended_exits = HV_EXTENDED_MSR; /* what is unknown goes to the client */
    PROPS->xsave_features |= HV_XSAVE_XSAVES;
    for (uint32_t high = 0; high < 2; high++)
        for (uint32_t low = 0; low < 0x20000; low++) {
            set_make(CPU_MAKE_LOW_MSRS);
            low_make += rd(high * 0xc0000000u + low) != CLIENT;
            set_make(CPU_MAKE_HIGH_MSRS);
            high_make += rd(high * 0xc0000000u + low) != CLIENT;
        }
    /* 19 single ones for both, 8 and 23 others; 2 of P5's, 4 last branches, 32 + 11 MTRRs, 20 of VMX, 4 of SYSCALL */
    assert_int_equal(low_make, 19 + 8 + 2 + 4 + 32 + 11 + 20 + 4);
    assert_int_equal(high_make, 19 + 23 + 2 + 4 + 32 + 11 + 20 + 4);
}

static void vmx_and_svm_are_never_there(void **state)
{
    (void)state;
    PROPS->extended_exits = HV_EXTENDED_MSR;
    PROPS->unimplemented_msr_action = HV_MSR_ACTION_EXIT;
    for (uint32_t i = MSR_IA32_VMX_BASIC; i <= MSR_IA32_VMX_EXIT_CTLS2; i++) {
        assert_int_equal(rd(i), FAULT);
        assert_int_equal(wr(i, 0), FAULT);
    }
    assert_int_equal(rd(MSR_AMD_VM_CR), CLIENT);
    stub_facts.make = STUB_OTHER_MAKE;
    stub_facts.microcode_revision = 0xffffffff;
    assert_int_equal(value_of(MSR_AMD_VM_CR), VM_CR_LOCK | VM_CR_SVMDIS);
    assert_int_equal(rd(MSR_AMD_VM_HSAVE_PA), FAULT);
    assert_int_equal(rd(MSR_IA32_FEATURE_CONTROL), CLIENT);
    assert_int_equal(value_of(MSR_IA32_BIOS_SIGN_ID), 0xffffffff);
}

/* What systems look at, or write, on CPUs of that make without asking CPUID. */
static void msrs_of_the_make(void **state)
{
    static const struct {
        uint32_t first, last;
        uint64_t value;
        enum result write_0, write_1;
    } cases[] = {
        {0xc0010000, 0xc0010007, 0, DONE, DONE},         /* performance counters */
        {0xc0010010, 0xc0010010, 0, DONE, DONE},         /* SYSCFG */
        {0xc0010015, 0xc0010015, 0x1000000, DONE, DONE}, /* HWCR: TscFreqSel */
        {0xc001001f, 0xc001001f, 0, DONE, DONE},         /* NB_CFG */
        {0xc0010055, 0xc0010055, 0, DONE, FAULT},        /* interrupt pending */
        {0xc0010058, 0xc0010058, 0, DONE, FAULT},        /* MMIO configuration base */
        {0xc0010112, 0xc0010113, 0, FAULT, FAULT},       /* SMM_ADDR, SMM_MASK */
        {0xc0010114, 0xc0010114, 0x18, FAULT, FAULT},    /* VM_CR */
        {0xc0011022, 0xc0011022, 0, DONE, DONE},         /* DC_CFG */
        {0xc0011029, 0xc0011029, 2, DONE, DONE},         /* DE_CFG: LFENCE waits */
        {0xc001102a, 0xc001102a, 0, DONE, DONE},         /* BU_CFG2 */
    };

    (void)state;
    PROPS->extended_exits = HV_EXTENDED_MSR;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        for (uint32_t index = cases[i].first; index <= cases[i].last; index++) {
            set_make(CPU_MAKE_LOW_MSRS);
            assert_int_equal(rd(index), CLIENT);
            set_make(CPU_MAKE_HIGH_MSRS);
            assert_int_equal(wr(index, 0), cases[i].write_0);
            assert_int_equal(wr(index, 1), cases[i].write_1);
            assert_int_equal(value_of(index), cases[i].value);
        }
    assert_int_equal(rd(MSR_PATCH_LOADER), FAULT);
    assert_int_equal(wr(MSR_PATCH_LOADER, 0x1000), DONE);
}

#define UNKNOWN_MSR 0x1234u

static void unhandled_ones_go_where_the_client_wants(void **state)
{
    static const struct {
        bool exits, is_set;
        uint64_t bitmap;
        uint32_t action;
        enum result want;
    } cases[] = {
        {false, false, 0, 0, FAULT},  {false, false, 0, 1, DONE},  {false, false, 0, 2, CLIENT},
        {false, true, 1, 0, FAULT},   {true, false, 0, 0, CLIENT}, {true, false, 0, 1, DONE},
        {true, false, 0, 2, CLIENT},  {true, true, 1, 0, CLIENT},  {true, true, 1, 1, CLIENT},
        {true, true, 0x3e, 0, FAULT}, {true, true, 0x3e, 1, DONE}, {true, true, 0, 2, CLIENT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        PROPS->extended_exits = cases[i].exits ? HV_EXTENDED_MSR : ~HV_EXTENDED_MSR;
        PROPS->msr_exits = cases[i].bitmap;
        PROPS->msr_exits_set = cases[i].is_set;
        PROPS->unimplemented_msr_action = cases[i].action;
        assert_int_equal(rd(UNKNOWN_MSR), cases[i].want);
        if (cases[i].want == DONE)
            assert_int_equal(last_read, 0);
        assert_int_equal(wr(UNKNOWN_MSR, 0x123456789), cases[i].want);
        assert_int_equal(rd(MSR_IA32_X2APIC_APICID), cases[i].want);
        assert_int_equal(rd(MSR_IA32_TSC_DEADLINE), cases[i].want);
        assert_int_equal(rd(0x40000020), cases[i].want);
        assert_int_equal(rd(MSR_IA32_PAT), DONE);
    }
}

static void the_bitmap_chooses_accesses(void **state)
{
    static const struct {
        uint64_t bit;
        uint32_t index;
        bool is_write;
    } cases[] = {
        {HV_MSR_EXIT_TSC_WRITE, MSR_IA32_TSC, true},
        {HV_MSR_EXIT_TSC_READ, MSR_IA32_TSC, false},
        {HV_MSR_EXIT_APIC_BASE_WRITE, MSR_IA32_APIC_BASE, true},
        {HV_MSR_EXIT_MISC_ENABLE_READ, MSR_IA32_MISC_ENABLE, false},
        {HV_MSR_EXIT_MCU_REVISION_READ, MSR_IA32_BIOS_SIGN_ID, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        PROPS->msr_exits_set = true;
        PROPS->extended_exits = HV_EXTENDED_MSR;
        PROPS->msr_exits = cases[i].bit;
        assert_int_equal(access_msr(cases[i].index, cases[i].is_write, 0), CLIENT);
        assert_int_equal(access_msr(cases[i].index, !cases[i].is_write, 0), DONE);
        PROPS->msr_exits = HV_MSR_EXITS_OFFERED & ~cases[i].bit;
        assert_int_equal(access_msr(cases[i].index, cases[i].is_write, 0), DONE);
        PROPS->msr_exits = cases[i].bit;
        PROPS->extended_exits = 0;
        assert_int_equal(access_msr(cases[i].index, cases[i].is_write, 0), DONE);
    }
}

static void the_action_list_comes_first(void **state)
{
    static const struct hv_msr_action actions[] = {
        {UNKNOWN_MSR, HV_MSR_ACTION_EXIT, HV_MSR_ACTION_IGNORE, 0},
        {MSR_IA32_VMX_BASIC, HV_MSR_ACTION_IGNORE, HV_MSR_ACTION_ARCHITECTURAL, 0},
        {MSR_IA32_PAT, HV_MSR_ACTION_EXIT, HV_MSR_ACTION_IGNORE, 0},
        {MSR_IA32_MTRRCAP, HV_MSR_ACTION_ARCHITECTURAL, HV_MSR_ACTION_EXIT, 0},
    };

    (void)state;
    stub_vcpus[0].pat = PAT_RESET;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions)), HV_OK);
    assert_int_equal(rd(UNKNOWN_MSR), CLIENT);
    assert_int_equal(wr(UNKNOWN_MSR, 1), DONE);
    assert_int_equal(rd(UNKNOWN_MSR + 1), FAULT);
    assert_int_equal(value_of(MSR_IA32_VMX_BASIC), 0);
    assert_int_equal(wr(MSR_IA32_VMX_BASIC, 0), FAULT);
    assert_int_equal(rd(MSR_IA32_PAT), CLIENT);
    assert_int_equal(wr(MSR_IA32_PAT, 0), DONE);
    assert_int_equal(stub_vcpus[0].pat, PAT_RESET);
    assert_int_equal(value_of(MSR_IA32_MTRRCAP), 0x510);
    assert_int_equal(wr(MSR_IA32_MTRRCAP, 0), CLIENT);
}

static void memory_types_are_checked(void **state)
{
    (void)state;
    for (uint64_t type = 0; type < 512; type++) {
        bool good = type == 0 || type == 1 || type == 4 || type == 5 || type == 6;

        assert_int_equal(mtrr_type_is_valid(type), good);
        for (unsigned at = 0; at < 8 && type < 256; at++)
            assert_int_equal(pat_is_valid((PAT_RESET & ~(0xffull << 8 * at)) | type << 8 * at), good || type == 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(leaves_without_a_row_are_zero),
        STUB_TEST(what_is_not_virtualized_is_hidden),
        STUB_TEST(what_is_virtualized_is_shown),
        STUB_TEST(leaves_above_the_highest_are_zero),
        STUB_TEST(without_state_its_instructions_are_gone),
        STUB_TEST(features_are_the_bits_of_their_names),
        STUB_TEST(features_and_cpuid_agree),
        STUB_TEST(each_feature_bit_of_the_cpu_counts),
        STUB_TEST(a_feature_taken_away_is_gone),
        STUB_TEST(leaf_1_knows_the_vp),
        STUB_TEST(the_local_apic_shows_what_it_can),
        STUB_TEST(the_crystal_is_the_apic_timers),
        STUB_TEST(the_tsc_leaf_is_made_for_local_apics),
        STUB_TEST(the_tsc_leaf_is_there_on_older_cpus),
        STUB_TEST(line_size_and_width_are_the_partitions),
        STUB_TEST(topology_fits_the_count),
        STUB_TEST(cores_are_counted_in_leaves_of_the_make),
        STUB_TEST(extended_topology_goes_with_its_bit),
        STUB_TEST(the_apic_bit_is_shown_twice),
        STUB_TEST(xsave_sizes_follow_xcr0),
        STUB_TEST(answers_come_from_the_table),
        STUB_TEST(a_busy_vp_does_not_answer),
        STUB_TEST(results_replace_the_interface),
        STUB_TEST(results_replace_everything),
        STUB_TEST(masked_results_replace_their_bits),
        STUB_TEST(the_second_list_comes_after_the_first),
        STUB_TEST(the_table_equals_the_slow_way),
        STUB_TEST(the_core_answers),
        STUB_TEST(the_client_gets_input_and_defaults),
        STUB_TEST(the_exit_list_chooses_leaves),
        STUB_TEST(values_are_stored_or_fault),
        STUB_TEST(each_mtrr_has_a_place_of_its_own),
        STUB_TEST(writes_reach_the_vcpu),
        STUB_TEST(long_mode_is_not_switched_under_paging),
        STUB_TEST(canonical_addresses_are_the_cpus),
        STUB_TEST(the_tsc_and_its_adjustment_move_together),
        STUB_TEST(msrs_of_missing_features_fault),
        STUB_TEST(constants_are_read_and_not_written),
        STUB_TEST(the_table_holds_what_it_should),
        STUB_TEST(vmx_and_svm_are_never_there),
        STUB_TEST(msrs_of_the_make),
        STUB_TEST(unhandled_ones_go_where_the_client_wants),
        STUB_TEST(the_bitmap_chooses_accesses),
        STUB_TEST(the_action_list_comes_first),
        STUB_TEST(memory_types_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
