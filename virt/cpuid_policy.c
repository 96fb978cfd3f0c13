/* SPDX-License-Identifier: MIT */
/*
 * CPUID policy. A leaf that is not in the table below, or a bit that is not in its row, reads as 0 in every guest,
 * whatever the CPU says of it: a new CPU's features stay unknown until somebody has made sure that they work. So do
 * leaves above the highest one (where some CPUs repeat the highest basic leaf).
 *
 * So do, too, the hypervisor's own leaves from 0x4000_0000 on and the bit that says they are there (leaf 1, ECX bit
 * 31): a guest takes this for a plain machine, unless the client asks for both by the synthetic features, or gives them
 * by its result lists.
 */
#include "cpuid_policy.h"
#include "synthetic.h"
#include <arch/backend.h>
#include <arch/bits/cpuid.h>
#include <hv/base/memory.h>

#define MAX_BASIC_LEAF    CPUID_LEAF_FREQUENCY
#define MAX_EXTENDED_LEAF CPUID_LEAF_EXT2

/* the most that are looked for of the leaves whose number of subleaves the CPU says */
#define MAX_CACHE_LEAVES 8u

/* ----------------------------------------------------------------------------- what is given */

/* clang-format off */
#define GIVEN_1_ECX                                                                                                    \
    (CPUID_1_ECX_SSE3 | CPUID_1_ECX_PCLMULQDQ | CPUID_1_ECX_SSSE3 | CPUID_1_ECX_FMA | CPUID_1_ECX_CX16 |               \
     CPUID_1_ECX_PCID | CPUID_1_ECX_SSE4_1 | CPUID_1_ECX_SSE4_2 | CPUID_1_ECX_MOVBE | CPUID_1_ECX_POPCNT |             \
     CPUID_1_ECX_AES | CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_F16C | CPUID_1_ECX_RDRAND)
#define GIVEN_1_EDX                                                                                                    \
    (CPUID_1_EDX_FPU | CPUID_1_EDX_VME | CPUID_1_EDX_DE | CPUID_1_EDX_PSE | CPUID_1_EDX_TSC | CPUID_1_EDX_MSR |        \
     CPUID_1_EDX_PAE | CPUID_1_EDX_MCE | CPUID_1_EDX_CX8 | CPUID_1_EDX_APIC | CPUID_1_EDX_SEP | CPUID_1_EDX_MTRR |     \
     CPUID_1_EDX_PGE | CPUID_1_EDX_MCA | CPUID_1_EDX_CMOV | CPUID_1_EDX_PAT | CPUID_1_EDX_PSE36 | CPUID_1_EDX_CLFSH |  \
     CPUID_1_EDX_MMX | CPUID_1_EDX_FXSR | CPUID_1_EDX_SSE | CPUID_1_EDX_SSE2 | CPUID_1_EDX_SS)
#define GIVEN_7_EBX                                                                                                    \
    (CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_TSC_ADJUST | CPUID_7_EBX_BMI1 | CPUID_7_EBX_HLE | CPUID_7_EBX_AVX2 |           \
     CPUID_7_EBX_FDP_EXCPTN | CPUID_7_EBX_SMEP | CPUID_7_EBX_BMI2 | CPUID_7_EBX_ERMS | CPUID_7_EBX_INVPCID |           \
     CPUID_7_EBX_RTM | CPUID_7_EBX_FCS_FDS | CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_RDSEED |         \
     CPUID_7_EBX_ADX | CPUID_7_EBX_SMAP | CPUID_7_EBX_AVX512_IFMA | CPUID_7_EBX_CLFLUSHOPT | CPUID_7_EBX_CLWB |        \
     CPUID_7_EBX_AVX512CD | CPUID_7_EBX_SHA | CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL)
#define GIVEN_7_ECX                                                                                                    \
    (CPUID_7_ECX_AVX512_VBMI | CPUID_7_ECX_UMIP | CPUID_7_ECX_AVX512_VBMI2 | CPUID_7_ECX_GFNI | CPUID_7_ECX_VAES |     \
     CPUID_7_ECX_VPCLMULQDQ | CPUID_7_ECX_AVX512_VNNI | CPUID_7_ECX_AVX512_BITALG | CPUID_7_ECX_AVX512_VPOPCNTDQ |     \
     CPUID_7_ECX_LA57 | CPUID_7_ECX_RDPID | CPUID_7_ECX_CLDEMOTE | CPUID_7_ECX_MOVDIRI | CPUID_7_ECX_MOVDIR64B)
#define GIVEN_7_EDX                                                                                                    \
    (CPUID_7_EDX_FSRM | CPUID_7_EDX_AVX512_VP2INTERSECT | CPUID_7_EDX_MD_CLEAR | CPUID_7_EDX_SERIALIZE |               \
     CPUID_7_EDX_TSXLDTRK | CPUID_7_EDX_AVX512_FP16)
#define GIVEN_7_1_EAX                                                                                                  \
    (CPUID_7_1_EAX_SHA512 | CPUID_7_1_EAX_SM3 | CPUID_7_1_EAX_SM4 | CPUID_7_1_EAX_AVX_VNNI |                           \
     CPUID_7_1_EAX_AVX512_BF16 | CPUID_7_1_EAX_CMPCCXADD | CPUID_7_1_EAX_FZRM | CPUID_7_1_EAX_FSRS |                   \
     CPUID_7_1_EAX_FSRC | CPUID_7_1_EAX_AVX_IFMA)
#define GIVEN_7_1_EDX                                                                                                  \
    (CPUID_7_1_EDX_AVX_VNNI_INT8 | CPUID_7_1_EDX_AVX_NE_CONVERT | CPUID_7_1_EDX_AVX_VNNI_INT16 |                       \
     CPUID_7_1_EDX_PREFETCHI)
/* XSAVES is not enabled for guests, XFD belongs to AMX */
#define GIVEN_D_1_EAX (CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1)
#define GIVEN_EXT1_ECX                                                                                                 \
    (CPUID_EXT1_ECX_LAHF | CPUID_EXT1_ECX_CR8_LEGACY | CPUID_EXT1_ECX_ABM | CPUID_EXT1_ECX_SSE4A |                     \
     CPUID_EXT1_ECX_MISALIGNSSE | CPUID_EXT1_ECX_PREFETCHW | CPUID_EXT1_ECX_XOP | CPUID_EXT1_ECX_FMA4 |               \
     CPUID_EXT1_ECX_TOPOEXT)
/* bits 9:0 and others repeat those of leaf 1 on some CPUs */
#define GIVEN_EXT1_EDX                                                                                                 \
    (BITS32(9, 0) | CPUID_EXT1_EDX_SYSCALL | BITS32(17, 12) | CPUID_EXT1_EDX_NX | CPUID_EXT1_EDX_MMXEXT |              \
     CPUID_1_EDX_MMX | CPUID_1_EDX_FXSR | CPUID_EXT1_EDX_PAGE1GB | CPUID_EXT1_EDX_RDTSCP | CPUID_EXT1_EDX_LM |         \
     CPUID_EXT1_EDX_3DNOW_EXT | CPUID_EXT1_EDX_3DNOW)
#define GIVEN_APM_EDX    CPUID_APM_EDX_INVARIANT_TSC
#define GIVEN_WIDTHS_EBX (CPUID_WIDTHS_EBX_CLZERO | CPUID_WIDTHS_EBX_X87_POINTERS | CPUID_WIDTHS_EBX_BTC_NO)
#define GIVEN_EXT2_EAX                                                                                                 \
    (CPUID_EXT2_EAX_LFENCE_SERIAL | CPUID_EXT2_EAX_NULL_SEL_BASE | CPUID_EXT2_EAX_SRSO_NO |                            \
     CPUID_EXT2_EAX_SRSO_USER_NO)

#define ALL 0xffffffffu
/* clang-format on */

/* After filtering: what depends on the partition. */
typedef void cpuid_fix(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot);
static cpuid_fix fix_max_basic, fix_features, fix_caches, fix_max_subleaf_7, fix_topology, fix_xsave, fix_xsave_1,
    fix_thermal, fix_tsc, fix_frequency, fix_max_extended, fix_ext1, fix_widths, fix_ext_caches, fix_ext_topology;

struct cpuid_rule {
    uint32_t leaf;
    uint8_t first, last; /* subleaves */
    uint32_t given[CPUID_REGS];
    cpuid_fix *fix;
};

/* A row with subleaf 0 alone says that the leaf has no subleaves. Leaf 0xB is made up altogether. */
/* clang-format off */
static const struct cpuid_rule rules[] = {
    /*           subleaves  eax               ebx               ecx              edx */
    {CPUID_LEAF_MAX_BASIC,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            fix_max_basic},
    {CPUID_LEAF_FEATURES,
                    0, 0,  {ALL,              BITS32(15, 0),    GIVEN_1_ECX,     GIVEN_1_EDX},    fix_features},
    {CPUID_LEAF_TLB,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            NULL},
    {CPUID_LEAF_CACHE,
                    0, 7,  {ALL,              ALL,              ALL,             ALL},            fix_caches},
    {CPUID_LEAF_THERMAL,
                    0, 0,  {CPUID_6_EAX_ARAT, 0,                0,               0},              fix_thermal},
    {CPUID_LEAF_EXT_FEATURES,
                    0, 0,  {ALL,              GIVEN_7_EBX,      GIVEN_7_ECX,     GIVEN_7_EDX},    fix_max_subleaf_7},
    {CPUID_LEAF_EXT_FEATURES,
                    1, 1,  {GIVEN_7_1_EAX,    0,                0,               GIVEN_7_1_EDX},  NULL},
    {CPUID_LEAF_TOPOLOGY,
                    0, 2,  {0,                0,                0,               0},              fix_topology},
    {CPUID_LEAF_XSAVE,
                    0, 0,  {ALL,              0,                0,               ALL},            fix_xsave},
    {CPUID_LEAF_XSAVE,
                    1, 1,  {GIVEN_D_1_EAX,    0,                0,               0},              fix_xsave_1},
    {CPUID_LEAF_XSAVE,
                    2, 62, {ALL,              ALL,              ALL,             0},              fix_xsave},
    {CPUID_LEAF_TSC,
                    0, 0,  {ALL,              ALL,              ALL,             0},              fix_tsc},
    {CPUID_LEAF_FREQUENCY,
                    0, 0,  {BITS32(15, 0),    BITS32(15, 0),    BITS32(15, 0),   0},              fix_frequency},
    {CPUID_LEAF_MAX_EXTENDED,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            fix_max_extended},
    {CPUID_LEAF_EXT1,
                    0, 0,  {ALL,              ALL,              GIVEN_EXT1_ECX,  GIVEN_EXT1_EDX}, fix_ext1},
    {CPUID_LEAF_BRAND0,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            NULL},
    {CPUID_LEAF_BRAND0 + 1,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            NULL},
    {CPUID_LEAF_BRAND0 + 2,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            NULL},
    {CPUID_LEAF_L1_CACHE,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            NULL},
    {CPUID_LEAF_L2_CACHE,
                    0, 0,  {ALL,              ALL,              ALL,             ALL},            NULL},
    {CPUID_LEAF_APM,
                    0, 0,  {0,                0,                0,               GIVEN_APM_EDX},  NULL},
    {CPUID_LEAF_ADDRESS_WIDTHS,
                    0, 0,  {BITS32(15, 0),    GIVEN_WIDTHS_EBX, 0,               0},              fix_widths},
    {CPUID_LEAF_TLB_1G,
                    0, 0,  {ALL,              ALL,              0,               0},              NULL},
    {CPUID_LEAF_OPTIMIZATION,
                    0, 0,  {BITS32(2, 0),     0,                0,               0},              NULL},
    {CPUID_LEAF_EXT_CACHE,
                    0, 7,  {ALL,              ALL,              ALL,             ALL},            fix_ext_caches},
    {CPUID_LEAF_EXT_TOPOLOGY,
                    0, 0,  {0,                0,                0,               0},              fix_ext_topology},
    {CPUID_LEAF_EXT2,
                    0, 0,  {GIVEN_EXT2_EAX,   0,                0,               0},              NULL},
};
/* clang-format on */

/* NULL: nothing to give. */
static const struct cpuid_rule *find_rule(uint32_t leaf, uint32_t subleaf)
{
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        if (rules[i].leaf == leaf && subleaf >= rules[i].first && subleaf <= rules[i].last)
            return &rules[i];
    return NULL;
}

static uint32_t host_highest(uint32_t leaf)
{
    const struct cpu_facts *facts = cpu_facts();

    return leaf < CPUID_LEAF_MAX_EXTENDED ? facts->max_leaf : facts->max_ext_leaf;
}

/* The TSC's rate is the core's to tell where the guest will take it for that of the APIC timer too: see fix_tsc. */
static bool makes_tsc_leaf(const struct hv_properties *props)
{
    return props->local_apic_mode != HV_LOCAL_APIC_NONE && cpu_facts()->make & CPU_MAKE_CRYSTAL;
}

/* Leaves of the core's own making can be above the CPU's highest one. */
static uint32_t highest(const struct hv_properties *props, uint32_t leaf)
{
    uint32_t host = host_highest(leaf);

    return leaf < CPUID_LEAF_MAX_EXTENDED && makes_tsc_leaf(props) ? HV_MAX(host, CPUID_LEAF_TSC) : host;
}

static void read_given(const struct cpuid_rule *rule, uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    struct hv_cpuid_output out;

    cpu_cpuid(leaf, subleaf, &out);
    regs[CPUID_EAX] = out.eax & rule->given[CPUID_EAX];
    regs[CPUID_EBX] = out.ebx & rule->given[CPUID_EBX];
    regs[CPUID_ECX] = out.ecx & rule->given[CPUID_ECX];
    regs[CPUID_EDX] = out.edx & rule->given[CPUID_EDX];
}

void cpuid_host(uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    const struct cpuid_rule *rule = find_rule(leaf, subleaf);

    for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
        regs[r] = 0;
    if (!rule || leaf > host_highest(leaf))
        return;
    read_given(rule, leaf, subleaf, regs);
    features_mask_state(cpu_facts()->xcr0_allowed, leaf, subleaf, regs);
}

/* ------------------------------------------------------------------------ what the leaves have */

/* How many bits number the VPs, as APIC ids; all of them are cores of one package. */
static uint32_t apic_id_bits(const struct hv_properties *props)
{
    return props->processor_count > 1 ? 32u - (uint32_t)__builtin_clz(props->processor_count - 1) : 0;
}

static void set_field(uint32_t *reg, uint32_t mask, uint32_t value)
{
    *reg = (*reg & ~mask) | (uint32_t)FIELD_PUT(mask, value);
}

/* The APIC timer never stops. */
static void fix_thermal(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)subleaf;
    if (props->local_apic_mode != HV_LOCAL_APIC_NONE)
        slot->regs[CPUID_EAX] |= CPUID_6_EAX_ARAT;
}

/* A rate that is not the TSC's would set a guest's clock wrong; without one it measures. */
static void fix_frequency(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)props, (void)subleaf;
    if (!cpu_facts()->tsc_leaf_is_true)
        memset(slot->regs, 0, sizeof(slot->regs));
}

/* Linux multiplies the crystal's kHz by the numerator in 32 bits. */
#define MAX_NUMERATOR (UINT32_MAX / (uint32_t)(HV_INTERRUPT_HZ / 1000))

/*
 * The fraction with a numerator that is small enough that comes closest to hz / HV_INTERRUPT_HZ, by continued
 * fractions: each term gives a better one, and when the next would be too large, as much of it as fits does if that is
 * more than half of it. Within a millionth for most rates; off by up to 1/8000 where the ratio nearly is one of small
 * numbers.
 */
static void find_ratio(uint64_t hz, uint32_t *numerator, uint32_t *denominator)
{
    uint64_t n = hz, d = HV_INTERRUPT_HZ, p = 1, q = 0, last_p = 0, last_q = 1;

    while (d) {
        uint64_t term = n / d, fits = p ? HV_MIN(term, (MAX_NUMERATOR - last_p) / p) : term, rest = n % d;
        uint64_t next_p = fits * p + last_p, next_q = fits * q + last_q;

        if (fits < term && 2 * fits <= term)
            break;
        last_p = p, last_q = q;
        p = next_p, q = next_q;
        if (fits < term)
            break;
        n = d, d = rest;
    }
    *numerator = (uint32_t)p;
    *denominator = (uint32_t)q;
}

/*
 * Guests take the crystal of this leaf for the APIC timer's clock, and its rate times the ratio for the TSC's. So with
 * local APICs it tells of the core's timer, whatever the CPU says of its own.
 */
static void fix_tsc(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    if (!makes_tsc_leaf(props)) {
        fix_frequency(props, subleaf, slot);
        return;
    }
    find_ratio(cpu_facts()->tsc_hz, &slot->regs[CPUID_EBX], &slot->regs[CPUID_EAX]);
    slot->regs[CPUID_ECX] = (uint32_t)HV_INTERRUPT_HZ;
    slot->regs[CPUID_EDX] = 0;
}

static void fix_max_basic(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)subleaf;
    slot->regs[CPUID_EAX] = HV_MIN(highest(props, CPUID_LEAF_MAX_BASIC), MAX_BASIC_LEAF);
}

static void fix_max_extended(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)props, (void)subleaf;
    slot->regs[CPUID_EAX] = HV_MIN(slot->regs[CPUID_EAX], MAX_EXTENDED_LEAF);
}

/* What an emulated local APIC has does not depend on the CPU's. Its enable bit is the VP's to show. */
static void fix_apic_features(const struct hv_properties *props, uint32_t *ecx)
{
    if (props->local_apic_mode != HV_LOCAL_APIC_NONE && props->features[1] & HV_FEATURE1_TSC_DEADLINE)
        *ecx |= CPUID_1_ECX_TSC_DEADLINE;
    if (props->local_apic_mode == HV_LOCAL_APIC_X2APIC)
        *ecx |= CPUID_1_ECX_X2APIC;
}

static void fix_features(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)subleaf;
    set_field(&slot->regs[CPUID_EBX], CPUID_1_EBX_CLFLUSH, (1u << props->clflush_shift) / 8);
    if (props->processor_count > 1) {
        set_field(&slot->regs[CPUID_EBX], CPUID_1_EBX_LOGICAL, 1u << apic_id_bits(props));
        slot->regs[CPUID_EDX] |= CPUID_1_EDX_HTT;
    }
    fix_apic_features(props, &slot->regs[CPUID_ECX]);
    if (props->synthetic_features & HV_SYNTH_HYPERVISOR_PRESENT)
        slot->regs[CPUID_ECX] |= CPUID_1_ECX_HYPERVISOR;
    slot->dynamic = CPUID_DYN_FEATURES;
}

#define CACHE_EAX_TYPE    BITS32(4, 0)
#define CACHE_EAX_LEVEL   BITS32(7, 5)
#define CACHE_EAX_SHARING BITS32(25, 14) /* APIC ids that share it, minus 1 */
#define CACHE_EAX_CORES   BITS32(31, 26) /* APIC ids of cores in the package, minus 1 */

/* The host's caches; the first two levels are a VP's own, the next all VPs'. */
static void fix_caches(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    uint32_t others = (1u << apic_id_bits(props)) - 1, *eax = &slot->regs[CPUID_EAX];

    (void)subleaf;
    if (!(*eax & CACHE_EAX_TYPE)) {
        memset(slot->regs, 0, sizeof(slot->regs));
        return;
    }
    set_field(eax, CACHE_EAX_SHARING, FIELD_GET(CACHE_EAX_LEVEL, *eax) > 2 ? others : 0);
    set_field(eax, CACHE_EAX_CORES, others);
}

static bool has_ext_topology(void)
{
    uint32_t regs[CPUID_REGS];

    cpuid_host(CPUID_LEAF_EXT1, 0, regs);
    return regs[CPUID_ECX] & CPUID_EXT1_ECX_TOPOEXT;
}

/* The same as CPUID_LEAF_CACHE, but that another leaf counts the cores (APM 3 E.4.15). */
static void fix_ext_caches(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    if (!has_ext_topology())
        memset(slot->regs, 0, sizeof(slot->regs));
    fix_caches(props, subleaf, slot);
    set_field(&slot->regs[CPUID_EAX], CACHE_EAX_CORES, 0);
}

/* One node, and one thread in each core: all fields but the ids are 0 (APM 3 E.4.16). */
static void fix_ext_topology(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)props, (void)subleaf;
    if (has_ext_topology())
        slot->dynamic = CPUID_DYN_EXT_TOPOLOGY;
}

static void fix_max_subleaf_7(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)props, (void)subleaf;
    slot->regs[CPUID_EAX] = HV_MIN(slot->regs[CPUID_EAX], 1u);
}

/* SDM 2A, CPUID leaf 0xB: level types */
#define TOPOLOGY_ECX_TYPE BITS32(15, 8)
#define TOPOLOGY_THREAD   1u
#define TOPOLOGY_CORE     2u

static void fix_topology(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    if (subleaf == 0) {
        slot->regs[CPUID_EBX] = 1;
        set_field(&slot->regs[CPUID_ECX], TOPOLOGY_ECX_TYPE, TOPOLOGY_THREAD);
    } else if (subleaf == 1) {
        slot->regs[CPUID_EAX] = apic_id_bits(props);
        slot->regs[CPUID_EBX] = HV_MAX(props->processor_count, 1u);
        set_field(&slot->regs[CPUID_ECX], TOPOLOGY_ECX_TYPE, TOPOLOGY_CORE);
    }
    slot->dynamic = CPUID_DYN_TOPOLOGY;
}

#define XSAVE_FIRST_EXTENDED 2u /* component: those below lie in the legacy area */
#define XSAVE_HEADER_END     (512u + 64u)

/* The component's answer of leaf 0xD, as it is without result lists: EAX size, EBX place in the standard format, ECX
 * flags. */
static void component(const struct hv_properties *props, uint32_t n, struct cpuid_slot *slot)
{
    const struct cpuid_leaf *leaf;

    if (!props->cpuid) {
        cpuid_default(props, CPUID_LEAF_XSAVE, n, slot);
        return;
    }
    leaf = &props->cpuid->leaves[cpuid_place(CPUID_LEAF_XSAVE)];
    *slot = props->cpuid->slots[leaf->first + HV_MIN(n, leaf->last)];
}

uint32_t cpuid_xsave_size(const struct hv_properties *props, uint64_t components, bool is_compact)
{
    uint32_t end = XSAVE_HEADER_END;
    struct cpuid_slot slot;

    for (uint64_t left = components & ~BITS64(XSAVE_FIRST_EXTENDED - 1, 0); left; left &= left - 1) {
        component(props, (uint32_t)__builtin_ctzll(left), &slot);
        if (!is_compact)
            end = HV_MAX(end, slot.regs[CPUID_EBX] + slot.regs[CPUID_EAX]);
        else if (slot.regs[CPUID_ECX] & CPUID_D_N_ECX_ALIGN64)
            end = ALIGN_UP(end, 64u) + slot.regs[CPUID_EAX];
        else
            end += slot.regs[CPUID_EAX];
    }
    return end;
}

/* Subleaf 0: the components there are. From 2 on: size and place of one component. */
static void fix_xsave(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    uint64_t xcr0 = features_xcr0(props);

    if (!(xcr0 >> subleaf & 1)) {
        memset(slot->regs, 0, sizeof(slot->regs));
    } else if (subleaf == 0) {
        slot->regs[CPUID_EAX] = (uint32_t)xcr0;
        slot->regs[CPUID_ECX] = cpuid_xsave_size(props, xcr0, false);
        slot->regs[CPUID_EDX] = (uint32_t)(xcr0 >> 32);
        slot->dynamic = CPUID_DYN_XSAVE_SIZE;
    }
}

static void fix_xsave_1(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)props, (void)subleaf;
    if (slot->regs[CPUID_EAX] & CPUID_D_1_EAX_XSAVEC)
        slot->dynamic = CPUID_DYN_XSAVE_COMPACT;
}

static void fix_ext1(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)subleaf;
    if (cpu_facts()->make & CPU_MAKE_CORES && props->processor_count > 1)
        slot->regs[CPUID_ECX] |= CPUID_EXT1_ECX_CMP_LEGACY;
    slot->dynamic = CPUID_DYN_EXT1;
}

#define WIDTHS_ECX_CORES   BITS32(7, 0) /* minus 1 */
#define WIDTHS_ECX_ID_BITS BITS32(15, 12)

static void fix_widths(const struct hv_properties *props, uint32_t subleaf, struct cpuid_slot *slot)
{
    (void)subleaf;
    set_field(&slot->regs[CPUID_EAX], CPUID_WIDTHS_EAX_PHYSICAL, props->physical_address_width);
    if (cpu_facts()->make & CPU_MAKE_CORES && props->processor_count > 1) {
        set_field(&slot->regs[CPUID_ECX], WIDTHS_ECX_CORES, props->processor_count - 1);
        set_field(&slot->regs[CPUID_ECX], WIDTHS_ECX_ID_BITS, apic_id_bits(props));
    }
}

/* Leaves that all subleaf numbers are valid for: those without subleaves, and 0xB, whose higher ones are all alike. */
static bool is_last_for_all(uint32_t leaf)
{
    return leaf != CPUID_LEAF_CACHE && leaf != CPUID_LEAF_EXT_CACHE && leaf != CPUID_LEAF_EXT_FEATURES &&
           leaf != CPUID_LEAF_XSAVE;
}

#define TOPOLOGY_SUBLEAVES 3u

static uint32_t meant_subleaf(uint32_t leaf, uint32_t subleaf)
{
    if (!is_last_for_all(leaf))
        return subleaf;
    return leaf == CPUID_LEAF_TOPOLOGY ? HV_MIN(subleaf, TOPOLOGY_SUBLEAVES - 1) : 0;
}

void cpuid_default(const struct hv_properties *props, uint32_t leaf, uint32_t subleaf, struct cpuid_slot *slot)
{
    uint32_t meant = meant_subleaf(leaf, subleaf);
    const struct cpuid_rule *rule = find_rule(leaf, meant);

    memset(slot, 0, sizeof(*slot));
    memset(slot->keep, 0xff, sizeof(slot->keep));
    if (synthetic_cpuid(props, leaf, slot->regs))
        return;
    if (!rule || leaf > highest(props, leaf))
        return;
    if (leaf <= host_highest(leaf))
        read_given(rule, leaf, meant, slot->regs);
    features_mask(props, leaf, meant, slot->regs);
    if (rule->fix)
        rule->fix(props, meant, slot);
}

/* ------------------------------------------------------------------------------ result lists */

static void override(struct cpuid_slot *slot, enum cpuid_reg reg, uint32_t mask, uint32_t value)
{
    slot->keep[reg] &= ~mask;
    slot->fixed[reg] = (slot->fixed[reg] & ~mask) | (value & mask);
    slot->has_results = true;
}

static void override_all(struct cpuid_slot *slot, const struct hv_cpuid_entry *e)
{
    override(slot, CPUID_EAX, ALL, e->eax);
    override(slot, CPUID_EBX, ALL, e->ebx);
    override(slot, CPUID_ECX, ALL, e->ecx);
    override(slot, CPUID_EDX, ALL, e->edx);
}

/* In the lists' order, the second list after the first: the last word counts. */
void cpuid_override(const struct hv_properties *props, uint32_t vp_index, uint32_t leaf, uint32_t subleaf,
                    struct cpuid_slot *slot)
{
    const struct hv_cpuid_entry *e = props->cpuid_results.items;
    const struct hv_cpuid_entry2 *e2 = props->cpuid_results2.items;

    for (uint32_t i = 0; i < props->cpuid_results.count; i++)
        if (e[i].function == leaf)
            override_all(slot, &e[i]);
    for (uint32_t i = 0; i < props->cpuid_results2.count; i++) {
        if (e2[i].function != leaf || (e2[i].flags & HV_CPUID_ENTRY2_SUBLEAF && e2[i].index != subleaf) ||
            (e2[i].flags & HV_CPUID_ENTRY2_VP && e2[i].vp_index != vp_index))
            continue;
        for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
            override(slot, r, e2[i].mask[r], e2[i].output[r]);
    }
}

/* --------------------------------------------------------------------------------- the table */

static uint32_t cache_leaves(uint32_t leaf)
{
    struct hv_cpuid_output out;
    uint32_t n = 0;

    do
        cpu_cpuid(leaf, n, &out);
    while (out.eax & CACHE_EAX_TYPE && ++n < MAX_CACHE_LEAVES);
    return n;
}

/* The subleaves with an answer of their own. */
static uint32_t subleaf_count(const struct hv_properties *props, uint32_t leaf)
{
    uint64_t xcr0 = features_xcr0(props);
    uint32_t regs[CPUID_REGS];

    if (synthetic_cpuid(props, leaf, regs))
        return 1;
    if (!find_rule(leaf, 0) || leaf > highest(props, leaf))
        return 0;
    switch (leaf) {
    case CPUID_LEAF_CACHE:
    case CPUID_LEAF_EXT_CACHE:
        return cache_leaves(leaf);
    case CPUID_LEAF_EXT_FEATURES:
        return 2;
    case CPUID_LEAF_TOPOLOGY:
        return TOPOLOGY_SUBLEAVES;
    case CPUID_LEAF_XSAVE:
        return xcr0 ? HV_MAX(64u - (uint32_t)__builtin_clzll(xcr0), 2u) : 0;
    default:
        return 1;
    }
}

/* How a leaf is kept in the table. */
struct plan {
    uint8_t slots;
    bool is_walked;
};

/* Could one slot hold the entry? Those of 0xD never do: the sizes of XSAVE areas are worked out from them. */
static bool fits(const struct plan *plan, const struct hv_cpuid_entry2 *e)
{
    if (e->flags & HV_CPUID_ENTRY2_VP || e->function == CPUID_LEAF_XSAVE)
        return false;
    return !(e->flags & HV_CPUID_ENTRY2_SUBLEAF) || e->index < plan->slots - 1;
}

/* Where subleaves come to an end, one more slot stands for all further ones. A leaf that only the lists know has one.
 */
static struct plan make_plan(const struct hv_properties *props, uint32_t leaf)
{
    struct plan plan = {.slots = (uint8_t)(subleaf_count(props, leaf) + !is_last_for_all(leaf))};
    const struct hv_cpuid_entry *e = props->cpuid_results.items;
    const struct hv_cpuid_entry2 *e2 = props->cpuid_results2.items;

    for (uint32_t i = 0; i < props->cpuid_results.count; i++)
        if (e[i].function == leaf) {
            plan.slots = HV_MAX(plan.slots, (uint8_t)1);
            plan.is_walked |= leaf == CPUID_LEAF_XSAVE;
        }
    for (uint32_t i = 0; i < props->cpuid_results2.count; i++)
        if (e2[i].function == leaf) {
            plan.slots = HV_MAX(plan.slots, (uint8_t)1);
            plan.is_walked |= !fits(&plan, &e2[i]);
        }
    return plan;
}

static void fill_slot(const struct hv_properties *props, bool is_walked, uint32_t leaf, uint32_t subleaf,
                      struct cpuid_slot *slot)
{
    cpuid_default(props, leaf, subleaf, slot);
    slot->is_walked = slot->has_results = is_walked;
    slot->is_special = true;
    if (is_walked)
        return;
    cpuid_override(props, 0, leaf, subleaf, slot);
    if (slot->dynamic != CPUID_DYN_NONE)
        return;
    for (enum cpuid_reg r = CPUID_EAX; r < CPUID_REGS; r++)
        slot->regs[r] = (slot->regs[r] & slot->keep[r]) | slot->fixed[r];
    slot->has_results = slot->is_special = false;
}

static void fill_leaf(const struct hv_properties *props, uint32_t place, struct plan plan, struct cpuid_table *table)
{
    if (!plan.slots)
        return; /* the first slot, of zeros */
    table->leaves[place] = (struct cpuid_leaf){(uint16_t)table->slot_count, (uint16_t)(plan.slots - 1)};
    for (uint32_t i = 0; i < plan.slots; i++)
        fill_slot(props, plan.is_walked, cpuid_leaf_at(place), i, &table->slots[table->slot_count++]);
}

static size_t table_size(uint32_t slots)
{
    return sizeof(struct cpuid_table) + slots * sizeof(struct cpuid_slot);
}

/* Places of leaves that could have an answer: a bit for each. */
struct places {
    uint64_t bits[CPUID_LEAVES / 64];
};

static void add_place(struct places *places, uint32_t leaf)
{
    if (cpuid_has_place(leaf))
        places->bits[cpuid_place(leaf) / 64] |= BIT64(cpuid_place(leaf) % 64);
}

/* Those that a rule, a list of results, or the hypervisor itself speaks of. */
static void find_places(const struct hv_properties *props, struct places *places)
{
    const struct hv_cpuid_entry *e = props->cpuid_results.items;
    const struct hv_cpuid_entry2 *e2 = props->cpuid_results2.items;

    *places = (struct places){{0}};
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        add_place(places, rules[i].leaf);
    for (uint32_t i = 0; i < props->cpuid_results.count; i++)
        add_place(places, e[i].function);
    for (uint32_t i = 0; i < props->cpuid_results2.count; i++)
        add_place(places, e2[i].function);
    for (size_t i = 0; props->synthetic_features & HV_SYNTH_HV1 && i < ARRAY_COUNT(places->bits); i++)
        places->bits[i] |= 0x1111111111111111ull << cpuid_place(CPUID_LEAF_HYPERVISOR); /* each fourth place */
}

/* The next place after `place`, CPUID_LEAVES when there is none; begins with -1. */
static uint32_t next_place(const struct places *places, uint32_t place)
{
    while (++place < CPUID_LEAVES) {
        uint64_t left = places->bits[place / 64] >> place % 64;

        if (left)
            return place + (uint32_t)__builtin_ctzll(left);
        place |= 63;
    }
    return CPUID_LEAVES;
}

struct cpuid_table *cpuid_table_create(const struct hv_properties *props)
{
    struct plan plans[CPUID_LEAVES];
    struct cpuid_table *table;
    struct places places;
    uint32_t slots = 1;

    find_places(props, &places);
    for (uint32_t i = next_place(&places, ~0u); i < CPUID_LEAVES; i = next_place(&places, i)) {
        plans[i] = make_plan(props, cpuid_leaf_at(i));
        slots += plans[i].slots;
    }
    table = hv_host_alloc(table_size(slots));
    if (!table)
        return NULL;
    table->slot_count = 1;
    for (uint32_t i = next_place(&places, ~0u); i < CPUID_LEAVES; i = next_place(&places, i))
        fill_leaf(props, i, plans[i], table);
    return table;
}

void cpuid_table_destroy(struct cpuid_table *table)
{
    hv_host_free(table, table_size(table->slot_count));
}
