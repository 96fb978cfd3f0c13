/* SPDX-License-Identifier: MIT */
/* Facts of this CPU that policy needs. */
#include <arch/backend.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/cpu.h>
#include <hv/base/memory.h>

static struct cpu_facts facts;

void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    uint32_t regs[4];

    cpu_insn_cpuid(leaf, subleaf, regs);
    *out = (struct hv_cpuid_output){regs[0], regs[1], regs[2], regs[3]};
}

uint64_t cpu_tsc(void)
{
    return cpu_insn_rdtsc();
}

/* CR4 bits that a guest may set when CPUID has the feature; all that is not listed here stays 0. */
/* clang-format off */
static const struct {
    uint32_t leaf;
    char reg; /* b, c or d */
    uint8_t bit;
    uint64_t cr4;
} cr4_features[] = {
    {1, 'd',  1, CR4_VME | CR4_PVI},
    {1, 'd',  4, CR4_TSD},
    {1, 'd',  2, CR4_DE},
    {1, 'd',  3, CR4_PSE},
    {1, 'd',  6, CR4_PAE},
    {1, 'd',  7, CR4_MCE},
    {1, 'd', 13, CR4_PGE},
    {1, 'd', 24, CR4_OSFXSR},
    {1, 'd', 25, CR4_OSXMMEXCPT},
    {1, 'c', 17, CR4_PCIDE},
    {1, 'c', 26, CR4_OSXSAVE},
    {7, 'b',  0, CR4_FSGSBASE},
    {7, 'b',  7, CR4_SMEP},
    {7, 'b', 20, CR4_SMAP},
    {7, 'c',  2, CR4_UMIP},
    {7, 'c', 16, CR4_LA57},
};
/* clang-format on */

static uint64_t find_cr4_allowed(void)
{
    struct hv_cpuid_output out;
    uint64_t allowed = CR4_PCE;

    for (size_t i = 0; i < sizeof(cr4_features) / sizeof(cr4_features[0]); i++) {
        uint32_t reg;

        if (cr4_features[i].leaf > facts.max_leaf)
            continue;
        cpu_cpuid(cr4_features[i].leaf, 0, &out);
        reg = cr4_features[i].reg == 'b' ? out.ebx : cr4_features[i].reg == 'c' ? out.ecx : out.edx;
        if (reg >> cr4_features[i].bit & 1)
            allowed |= cr4_features[i].cr4;
    }
    return allowed;
}

static uint64_t find_efer_allowed(void)
{
    struct hv_cpuid_output ext1;
    uint64_t allowed = 0;

    cpu_cpuid(0x80000001, 0, &ext1);
    facts.has_rdtscp = ext1.edx >> 27 & 1;
    allowed |= ext1.edx >> 11 & 1 ? EFER_SCE : 0;
    allowed |= ext1.edx >> 20 & 1 ? EFER_NXE : 0;
    allowed |= ext1.edx >> 29 & 1 ? EFER_LME | EFER_LMA : 0;
    return allowed;
}

/*
 * Of the extended state that the CPU has, what is saved and restored around a guest: the parts without side effects
 * elsewhere.
 */
#define XCR0_SUPPORTED (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

static void find_xsave(void)
{
    struct hv_cpuid_output leaf1, out;
    uint32_t end = 512 + 64;

    facts.xcr0_allowed = 0;
    facts.xsave_size = end;
    cpu_cpuid(1, 0, &leaf1);
    if (!(leaf1.ecx >> 26 & 1) || facts.max_leaf < 0xd)
        return;
    cpu_cpuid(0xd, 0, &out);
    facts.xcr0_allowed = ((uint64_t)out.edx << 32 | out.eax) & XCR0_SUPPORTED;
    if (~facts.xcr0_allowed & XCR0_AVX512)
        facts.xcr0_allowed &= ~XCR0_AVX512; /* its three parts only come together */
    for (unsigned i = 2; i < 32; i++) {
        if (!(facts.xcr0_allowed >> i & 1))
            continue;
        cpu_cpuid(0xd, i, &out);
        if (out.ebx + out.eax > end)
            end = out.ebx + out.eax;
    }
    facts.xsave_size = end;
}

/* CPUID 15H gives the TSC's rate as a fraction of the crystal's; 0: it does not. */
static uint64_t tsc_hz_from_cpuid(void)
{
    struct hv_cpuid_output out;

    if (facts.max_leaf < 0x15)
        return 0;
    cpu_cpuid(0x15, 0, &out);
    return out.eax && out.ebx && out.ecx ? (uint64_t)out.ecx * out.ebx / out.eax : 0;
}

#define MEASURE_NS    5000000ull
#define MEASURE_LOOPS 1000000ull /* a clock that stands still must not stop us */

struct clocks {
    uint64_t ns, ticks;
};

#define LOOKS 8

/* Of several looks at both the one that nothing came between: an emulator's thread may stand still there for long. */
static struct clocks look_at_clocks(void)
{
    uint64_t closest = UINT64_MAX, before, ns, between;
    struct clocks both = {0, 0};

    for (unsigned i = 0; i < LOOKS; i++) {
        before = cpu_tsc();
        ns = hv_host_time_ns();
        between = cpu_tsc() - before;
        if (between >= closest)
            continue;
        closest = between;
        both = (struct clocks){ns, before + between / 2};
    }
    return both;
}

/* 0: the host's clock does not move. */
static uint64_t measure_tsc_hz(void)
{
    struct clocks first = look_at_clocks(), last;
    uint64_t ns, ticks;

    for (uint64_t i = 0; i < MEASURE_LOOPS && hv_host_time_ns() - first.ns < MEASURE_NS; i++)
        ;
    last = look_at_clocks();
    ns = last.ns - first.ns;
    ticks = last.ticks - first.ticks;
    if ((int64_t)ns <= 0 || (int64_t)ticks <= 0)
        return 0;
    for (; ticks > UINT64_MAX / 1000000000; ticks /= 2) /* it was disturbed for seconds */
        ns /= 2;
    return ns ? ticks * 1000000000ull / ns : 0;
}

/*
 * Emulators tell of the TSC of the CPU that they are modelled on. What counts is the host's clock, by which deadlines
 * and reference time go.
 */
static void find_tsc_hz(void)
{
    uint64_t told = tsc_hz_from_cpuid(), measured = measure_tsc_hz();
    uint64_t off = told > measured ? told - measured : measured - told;

    facts.tsc_leaf_is_true = told && (!measured || off < measured / 50);
    facts.tsc_hz = facts.tsc_leaf_is_true ? told : measured ? measured : 1000000000ull;
}

/*
 * By the name that CPUID gives, which guests see and go by as well. Hygon's CPUs are of AMD's design; names not listed
 * are those of makers who follow Intel's.
 */
static void find_make(const struct hv_cpuid_output *leaf0)
{
    static const char names[][12] = {"AuthenticAMD", "HygonGenuine"};
    uint32_t name[3] = {leaf0->ebx, leaf0->edx, leaf0->ecx};

    facts.make = CPU_MAKE_CRYSTAL | CPU_MAKE_LOW_MSRS;
    facts.microcode_revision = BITS64(63, 32); /* SDM 3A 9.11.7.1: in the upper half */
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (memcmp(name, names[i], sizeof(name)) != 0)
            continue;
        facts.make = CPU_MAKE_CORES | CPU_MAKE_HIGH_MSRS;
        facts.microcode_revision = BITS64(31, 0);
    }
}

void cpu_find_facts(uint32_t avoid)
{
    struct hv_cpuid_output out;

    cpu_cpuid(0, 0, &out);
    facts.max_leaf = out.eax;
    find_make(&out);
    cpu_cpuid(0x80000000u, 0, &out);
    facts.max_ext_leaf = out.eax;
    facts.physical_bits = 36;
    facts.linear_bits = 48;
    if (facts.max_ext_leaf >= 0x80000008u) {
        cpu_cpuid(0x80000008u, 0, &out);
        facts.physical_bits = (uint8_t)(out.eax & 0xff);
        facts.linear_bits = (uint8_t)(out.eax >> 8 & 0xff);
    }
    facts.avoid = avoid;
    facts.cr4_allowed = find_cr4_allowed();
    facts.efer_allowed = find_efer_allowed();
    find_xsave();
    find_tsc_hz();
    /* four levels of second-level tables translate 48 bits */
    facts.guest_physical_limit = 1ull << (facts.physical_bits < 48 ? facts.physical_bits : 48);
}

const struct cpu_facts *cpu_facts(void)
{
    return &facts;
}
