/* SPDX-License-Identifier: MIT */
/*
 * Processor features: tables, one for each output of CPUID that speaks of them, say which bit stands for which bit of
 * WHP's ProcessorFeatures banks and ProcessorXsaveFeatures. What of them a guest can have is cpuid_policy.c's decision;
 * rows of features that it never gives are here all the same, so that the tables are complete.
 */
#include "cpuid_policy.h"
#include <arch/backend.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <hv/base/memory.h>

enum { BANK0, BANK1, XSAVE, BANKS };

struct feature {
    uint8_t bank, bit;
    uint8_t reg;   /* enum cpuid_reg */
    uint32_t mask; /* one bit */
};

/* clang-format off */
#define FEATURE(output, bank, bit, r, name) {bank, bit, CPUID_##r, CPUID_##output##_##r##_##name}

/* in each: WHV_PROCESSOR_FEATURES, WHV_PROCESSOR_FEATURES1, WHV_PROCESSOR_XSAVE_FEATURES */
static const struct feature of_1[] = {
    FEATURE(1, BANK0,  0, ECX, SSE3),         /* Sse3Support */
    FEATURE(1, BANK0,  2, ECX, SSSE3),        /* Ssse3Support */
    FEATURE(1, BANK0,  3, ECX, SSE4_1),       /* Sse4_1Support */
    FEATURE(1, BANK0,  4, ECX, SSE4_2),       /* Sse4_2Support */
    FEATURE(1, BANK0,  7, ECX, POPCNT),       /* PopCntSupport */
    FEATURE(1, BANK0,  8, ECX, CX16),         /* Cmpxchg16bSupport */
    FEATURE(1, BANK0, 16, ECX, AES),          /* AesSupport */
    FEATURE(1, BANK0, 17, ECX, PCLMULQDQ),    /* PclmulqdqSupport */
    FEATURE(1, BANK0, 18, ECX, PCID),         /* PcidSupport */
    FEATURE(1, BANK0, 20, ECX, F16C),         /* F16CSupport */
    FEATURE(1, BANK0, 21, ECX, RDRAND),       /* RdRandSupport */
    FEATURE(1, BANK0, 29, ECX, MOVBE),        /* MovbeSupport */
    FEATURE(1, BANK1, 17, ECX, TSC_DEADLINE), /* TscDeadlineTmrSupport */
    FEATURE(1, XSAVE,  0, ECX, XSAVE),        /* XsaveSupport */
    FEATURE(1, XSAVE,  2, ECX, AVX),          /* AvxSupport */
    FEATURE(1, XSAVE,  4, ECX, FMA),          /* FmaSupport */
};

static const struct feature of_7[] = {
    FEATURE(7, BANK0, 22, EBX, FSGSBASE),            /* RdWrFsGsSupport */
    FEATURE(7, BANK0, 23, EBX, SMEP),                /* SmepSupport */
    FEATURE(7, BANK0, 24, EBX, ERMS),                /* EnhancedFastStringSupport */
    FEATURE(7, BANK0, 25, EBX, BMI1),                /* Bmi1Support */
    FEATURE(7, BANK0, 26, EBX, BMI2),                /* Bmi2Support */
    FEATURE(7, BANK0, 31, EBX, FCS_FDS),             /* DepX87FPUSaveSupport */
    FEATURE(7, BANK0, 32, EBX, RDSEED),              /* RdSeedSupport */
    FEATURE(7, BANK0, 33, EBX, ADX),                 /* AdxSupport */
    FEATURE(7, BANK0, 35, EBX, SMAP),                /* SmapSupport */
    FEATURE(7, BANK0, 36, EBX, HLE),                 /* HleSupport */
    FEATURE(7, BANK0, 37, EBX, RTM),                 /* RtmSupport */
    FEATURE(7, BANK0, 39, EBX, CLFLUSHOPT),          /* ClflushoptSupport */
    FEATURE(7, BANK0, 40, EBX, CLWB),                /* ClwbSupport */
    FEATURE(7, BANK0, 41, EBX, SHA),                 /* ShaSupport */
    FEATURE(7, BANK0, 43, EBX, INVPCID),             /* InvpcidSupport */
    FEATURE(7, BANK0, 44, EDX, SPEC_CTRL),           /* IbrsSupport */
    FEATURE(7, BANK0, 45, EDX, STIBP),               /* StibpSupport */
    FEATURE(7, BANK0, 48, EDX, SSBD),                /* SsbdSupport */
    FEATURE(7, BANK0, 49, EDX, FSRM),                /* FastShortRepMovSupport */
    FEATURE(7, BANK0, 57, ECX, RDPID),               /* RdPidSupport */
    FEATURE(7, BANK0, 58, ECX, UMIP),                /* UmipSupport */
    FEATURE(7, BANK0, 60, EDX, MD_CLEAR),            /* MdClearSupport */
    FEATURE(7, BANK1,  4, ECX, LA57),                /* La57Support */
    FEATURE(7, BANK1,  8, ECX, CET_SS),              /* CetSsSupport */
    FEATURE(7, BANK1,  9, EDX, CET_IBT),             /* CetIbtSupport */
    FEATURE(7, BANK1, 12, ECX, WAITPKG),             /* UmwaitTpauseSupport */
    FEATURE(7, BANK1, 13, ECX, MOVDIRI),             /* MovdiriSupport */
    FEATURE(7, BANK1, 14, ECX, MOVDIR64B),           /* Movdir64bSupport */
    FEATURE(7, BANK1, 15, ECX, CLDEMOTE),            /* CldemoteSupport */
    FEATURE(7, BANK1, 16, EDX, SERIALIZE),           /* SerializeSupport */
    FEATURE(7, BANK1, 18, EBX, TSC_ADJUST),          /* TscAdjustSupport */
    FEATURE(7, BANK1, 22, EDX, TSXLDTRK),            /* TsxLdTrkSupport */
    FEATURE(7, XSAVE,  3, EBX, AVX2),                /* Avx2Support */
    FEATURE(7, XSAVE,  5, EBX, MPX),                 /* MpxSupport */
    FEATURE(7, XSAVE,  6, EBX, AVX512F),             /* Avx512Support */
    FEATURE(7, XSAVE,  7, EBX, AVX512DQ),            /* Avx512DQSupport */
    FEATURE(7, XSAVE,  8, EBX, AVX512CD),            /* Avx512CDSupport */
    FEATURE(7, XSAVE,  9, EBX, AVX512BW),            /* Avx512BWSupport */
    FEATURE(7, XSAVE, 10, EBX, AVX512VL),            /* Avx512VLSupport */
    FEATURE(7, XSAVE, 14, ECX, AVX512_BITALG),       /* Avx512BitalgSupport */
    FEATURE(7, XSAVE, 15, EBX, AVX512_IFMA),         /* Avx512IfmaSupport */
    FEATURE(7, XSAVE, 16, ECX, AVX512_VBMI),         /* Avx512VBmiSupport */
    FEATURE(7, XSAVE, 17, ECX, AVX512_VBMI2),        /* Avx512VBmi2Support */
    FEATURE(7, XSAVE, 18, ECX, AVX512_VNNI),         /* Avx512VnniSupport */
    FEATURE(7, XSAVE, 19, ECX, GFNI),                /* GfniSupport */
    FEATURE(7, XSAVE, 20, ECX, VAES),                /* VaesSupport */
    FEATURE(7, XSAVE, 21, ECX, AVX512_VPOPCNTDQ),    /* Avx512VPopcntdqSupport */
    FEATURE(7, XSAVE, 22, ECX, VPCLMULQDQ),          /* VpclmulqdqSupport */
    FEATURE(7, XSAVE, 24, EDX, AVX512_VP2INTERSECT), /* Avx512Vp2IntersectSupport */
    FEATURE(7, XSAVE, 25, EDX, AVX512_FP16),         /* Avx512Fp16Support */
    FEATURE(7, XSAVE, 27, EDX, AMX_TILE),            /* AmxTileSupport */
    FEATURE(7, XSAVE, 28, EDX, AMX_BF16),            /* AmxBf16Support */
    FEATURE(7, XSAVE, 29, EDX, AMX_INT8),            /* AmxInt8Support */
};

static const struct feature of_7_1[] = {
    FEATURE(7_1, BANK1, 19, EAX, FZRM),           /* FZLRepMovsb */
    FEATURE(7_1, BANK1, 20, EAX, FSRS),           /* FSRepStosb */
    FEATURE(7_1, BANK1, 21, EAX, FSRC),           /* FSRepCmpsb */
    FEATURE(7_1, BANK1, 40, EAX, CMPCCXADD),      /* CmpccxaddSupport */
    FEATURE(7_1, BANK1, 45, EDX, PREFETCHI),      /* PrefetchISupport */
    FEATURE(7_1, BANK1, 46, EAX, SHA512),         /* Sha512Support */
    FEATURE(7_1, BANK1, 50, EAX, SM3),            /* SM3Support */
    FEATURE(7_1, BANK1, 51, EAX, SM4),            /* SM4Support */
    FEATURE(7_1, XSAVE, 23, EAX, AVX512_BF16),    /* Avx512Bf16Support */
    FEATURE(7_1, XSAVE, 30, EAX, AVX_VNNI),       /* AvxVnniSupport */
    FEATURE(7_1, XSAVE, 31, EAX, AVX_IFMA),       /* AvxIfmaSupport */
    FEATURE(7_1, XSAVE, 32, EDX, AVX_NE_CONVERT), /* AvxNeConvertSupport */
    FEATURE(7_1, XSAVE, 33, EDX, AVX_VNNI_INT8),  /* AvxVnniInt8Support */
    FEATURE(7_1, XSAVE, 34, EDX, AVX_VNNI_INT16), /* AvxVnniInt16Support */
    FEATURE(7_1, XSAVE, 37, EAX, AMX_FP16),       /* AmxFp16Support */
};

static const struct feature of_d_1[] = {
    FEATURE(D_1, XSAVE,  1, EAX, XSAVEOPT), /* XsaveoptSupport */
    FEATURE(D_1, XSAVE, 11, EAX, XSAVEC),   /* XsaveCompSupport */
    FEATURE(D_1, XSAVE, 12, EAX, XSAVES),   /* XsaveSupervisorSupport */
    FEATURE(D_1, XSAVE, 13, EAX, XGETBV1),  /* Xcr1Support */
    FEATURE(D_1, XSAVE, 26, EAX, XFD),      /* XfdSupport */
};

static const struct feature of_ext1[] = {
    FEATURE(EXT1, BANK0,  1, ECX, LAHF),        /* LahfSahfSupport */
    FEATURE(EXT1, BANK0,  5, ECX, SSE4A),       /* Sse4aSupport */
    FEATURE(EXT1, BANK0,  6, ECX, XOP),         /* XopSupport */
    FEATURE(EXT1, BANK0,  9, ECX, CR8_LEGACY),  /* Altmovcr8Support */
    FEATURE(EXT1, BANK0, 10, ECX, ABM),         /* LzcntSupport */
    FEATURE(EXT1, BANK0, 11, ECX, MISALIGNSSE), /* MisAlignSseSupport */
    FEATURE(EXT1, BANK0, 12, EDX, MMXEXT),      /* MmxExtSupport */
    FEATURE(EXT1, BANK0, 13, EDX, 3DNOW),       /* Amd3DNowSupport */
    FEATURE(EXT1, BANK0, 14, EDX, 3DNOW_EXT),   /* ExtendedAmd3DNowSupport */
    FEATURE(EXT1, BANK0, 15, EDX, PAGE1GB),     /* Page1GbSupport */
    FEATURE(EXT1, BANK0, 19, ECX, FMA4),        /* Fma4Support */
    FEATURE(EXT1, BANK0, 34, ECX, PREFETCHW),   /* IntelPrefetchSupport */
    FEATURE(EXT1, BANK0, 38, EDX, RDTSCP),      /* RdtscpSupport */
};

static const struct feature of_apm[] = {
    FEATURE(APM, BANK1,  1, EDX, INVARIANT_TSC), /* TscInvariantSupport */
};

static const struct feature of_widths[] = {
    FEATURE(WIDTHS, BANK0, 42, EBX, X87_POINTERS), /* X87PointersSavedSupport */
    FEATURE(WIDTHS, BANK0, 46, EBX, IBPB),         /* IbpbSupport */
    FEATURE(WIDTHS, BANK1,  2, EBX, CLZERO),       /* ClZeroSupport */
    FEATURE(WIDTHS, BANK1,  3, EBX, RDPRU),        /* RdpruSupport */
    FEATURE(WIDTHS, BANK1,  7, EBX, PSFD),         /* PsfdSupport */
    FEATURE(WIDTHS, BANK1, 29, EBX, BTC_NO),       /* BtcNoSupport */
    FEATURE(WIDTHS, BANK1, 30, EBX, IBPB_RET),     /* IbpbRsbFlushSupport */
    FEATURE(WIDTHS, BANK1, 31, EBX, STIBP_ALWAYS), /* StibpAlwaysOnSupport */
};

static const struct feature of_ext2[] = {
    FEATURE(EXT2, BANK1, 54, EAX, SBPB),         /* SbpbSupported */
    FEATURE(EXT2, BANK1, 55, EAX, IBPB_BRTYPE),  /* IbpbBrTypeSupported */
    FEATURE(EXT2, BANK1, 56, EAX, SRSO_NO),      /* SrsoNoSupported */
    FEATURE(EXT2, BANK1, 57, EAX, SRSO_USER_NO), /* SrsoUserKernelNoSupported */
};

#define OUTPUT(leaf, subleaf, table) {leaf, subleaf, ARRAY_COUNT(table), table}

static const struct output {
    uint32_t leaf;
    uint8_t subleaf, count;
    const struct feature *features;
} outputs[] = {
    OUTPUT(CPUID_LEAF_FEATURES,       0, of_1),
    OUTPUT(CPUID_LEAF_EXT_FEATURES,   0, of_7),
    OUTPUT(CPUID_LEAF_EXT_FEATURES,   1, of_7_1),
    OUTPUT(CPUID_LEAF_XSAVE,          1, of_d_1),
    OUTPUT(CPUID_LEAF_EXT1,           0, of_ext1),
    OUTPUT(CPUID_LEAF_APM,            0, of_apm),
    OUTPUT(CPUID_LEAF_ADDRESS_WIDTHS, 0, of_widths),
    OUTPUT(CPUID_LEAF_EXT2,           0, of_ext2),
};

/* Instructions that need state components, all in these outputs. Without them in XCR0 they do not exist. */
static const struct {
    uint64_t xcr0;
    uint32_t leaf;
    uint8_t subleaf, reg;
    uint32_t mask;
} state_users[] = {
    {XCR0_X87,    CPUID_LEAF_FEATURES,     0, CPUID_ECX, CPUID_1_ECX_XSAVE},
    {XCR0_X87,    CPUID_LEAF_XSAVE,        1, CPUID_EAX, ~0u},
    {XCR0_AVX,    CPUID_LEAF_FEATURES,     0, CPUID_ECX, CPUID_1_ECX_AVX | CPUID_1_ECX_FMA | CPUID_1_ECX_F16C},
    {XCR0_AVX,    CPUID_LEAF_EXT_FEATURES, 0, CPUID_EBX, CPUID_7_EBX_AVX2},
    {XCR0_AVX,    CPUID_LEAF_EXT_FEATURES, 0, CPUID_ECX, CPUID_7_ECX_VAES | CPUID_7_ECX_VPCLMULQDQ},
    {XCR0_AVX,    CPUID_LEAF_EXT_FEATURES, 1, CPUID_EAX, CPUID_7_1_EAX_SHA512 | CPUID_7_1_EAX_SM3 | CPUID_7_1_EAX_SM4 |
                                                         CPUID_7_1_EAX_AVX_VNNI | CPUID_7_1_EAX_AVX_IFMA},
    {XCR0_AVX,    CPUID_LEAF_EXT_FEATURES, 1, CPUID_EDX, CPUID_7_1_EDX_AVX_VNNI_INT8 | CPUID_7_1_EDX_AVX_NE_CONVERT |
                                                         CPUID_7_1_EDX_AVX_VNNI_INT16},
    {XCR0_AVX,    CPUID_LEAF_EXT1,         0, CPUID_ECX, CPUID_EXT1_ECX_XOP | CPUID_EXT1_ECX_FMA4},
    {XCR0_AVX512, CPUID_LEAF_EXT_FEATURES, 0, CPUID_EBX, CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ |
                                                         CPUID_7_EBX_AVX512_IFMA | CPUID_7_EBX_AVX512CD |
                                                         CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL},
    {XCR0_AVX512, CPUID_LEAF_EXT_FEATURES, 0, CPUID_ECX, CPUID_7_ECX_AVX512_VBMI | CPUID_7_ECX_AVX512_VBMI2 |
                                                         CPUID_7_ECX_AVX512_VNNI | CPUID_7_ECX_AVX512_BITALG |
                                                         CPUID_7_ECX_AVX512_VPOPCNTDQ},
    {XCR0_AVX512, CPUID_LEAF_EXT_FEATURES, 0, CPUID_EDX, CPUID_7_EDX_AVX512_VP2INTERSECT | CPUID_7_EDX_AVX512_FP16},
    {XCR0_AVX512, CPUID_LEAF_EXT_FEATURES, 1, CPUID_EAX, CPUID_7_1_EAX_AVX512_BF16},
};
/* clang-format on */

/* --------------------------------------------------------------------------- CPUID to banks */

/* NULL: it speaks of no features. */
static const struct output *find_output(uint32_t leaf, uint32_t subleaf)
{
    for (size_t i = 0; i < ARRAY_COUNT(outputs); i++)
        if (outputs[i].leaf == leaf && outputs[i].subleaf == subleaf)
            return &outputs[i];
    return NULL;
}

/* CPUID is slow, above all where a hypervisor answers it: each output is asked for once. */
static void find_in_output(const struct output *output, uint64_t words[BANKS])
{
    uint32_t regs[CPUID_REGS];

    cpuid_host(output->leaf, output->subleaf, regs);
    for (unsigned i = 0; i < output->count; i++) {
        const struct feature *f = &output->features[i];

        if (regs[f->reg] & f->mask)
            words[f->bank] |= BIT64(f->bit);
    }
}

/* What the CPU has, and what the core's local APIC has whatever the CPU's does. */
static void find_host(uint64_t words[BANKS])
{
    memset(words, 0, BANKS * sizeof(words[0]));
    words[BANK1] = HV_FEATURE1_TSC_DEADLINE;
    for (size_t i = 0; i < ARRAY_COUNT(outputs); i++)
        find_in_output(&outputs[i], words);
}

static uint64_t offered_xsave(const uint64_t words[BANKS])
{
    return cpu_facts()->avoid & HV_AVOID_XSAVEC ? words[XSAVE] & ~HV_XSAVE_XSAVEC : words[XSAVE];
}

void features_host(uint64_t banks[2])
{
    uint64_t words[BANKS];

    find_host(words);
    banks[0] = words[BANK0];
    banks[1] = words[BANK1];
}

uint64_t features_host_xsave(void)
{
    uint64_t words[BANKS];

    find_host(words);
    return offered_xsave(words);
}

void features_give_all(struct hv_properties *props)
{
    uint64_t words[BANKS];

    find_host(words);
    props->features[0] = words[BANK0];
    props->features[1] = words[BANK1];
    props->xsave_features = offered_xsave(words);
}

/* ---------------------------------------------------------------------------- banks to CPUID */

static bool has_feature(const struct hv_properties *props, const struct feature *f)
{
    uint64_t word = f->bank == XSAVE ? props->xsave_features : props->features[f->bank];

    return word & BIT64(f->bit);
}

static void mask_state(uint64_t xcr0, const struct output *output, uint32_t regs[CPUID_REGS])
{
    for (size_t i = 0; i < ARRAY_COUNT(state_users); i++)
        if (state_users[i].leaf == output->leaf && state_users[i].subleaf == output->subleaf &&
            state_users[i].xcr0 & ~xcr0)
            regs[state_users[i].reg] &= ~state_users[i].mask;
}

void features_mask_state(uint64_t xcr0, uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    const struct output *output = find_output(leaf, subleaf);

    if (output)
        mask_state(xcr0, output, regs);
}

void features_mask(const struct hv_properties *props, uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    const struct output *output = find_output(leaf, subleaf);

    if (!output)
        return;
    for (unsigned i = 0; i < output->count; i++)
        if (!has_feature(props, &output->features[i]))
            regs[output->features[i].reg] &= ~output->features[i].mask;
    mask_state(features_xcr0(props), output, regs);
}

uint64_t features_xcr0(const struct hv_properties *props)
{
    uint64_t xcr0 = cpu_facts()->xcr0_allowed;

    if (!(props->xsave_features & HV_XSAVE_XSAVE))
        return 0;
    if (!(props->xsave_features & HV_XSAVE_AVX))
        xcr0 &= ~(XCR0_AVX | XCR0_AVX512);
    if (!(props->xsave_features & HV_XSAVE_AVX512))
        xcr0 &= ~XCR0_AVX512;
    return xcr0;
}

/* -------------------------------------------------------------------------- other host facts */

#define DEFAULT_CLFLUSH_SHIFT 6

uint8_t features_host_clflush_shift(void)
{
    uint32_t regs[CPUID_REGS], line;

    cpuid_host(CPUID_LEAF_FEATURES, 0, regs);
    line = 8u * (uint32_t)FIELD_GET(CPUID_1_EBX_CLFLUSH, regs[CPUID_EBX]);
    return line ? (uint8_t)__builtin_ctz(line) : DEFAULT_CLFLUSH_SHIFT;
}

uint32_t features_host_physical_width(void)
{
    return (uint32_t)__builtin_ctzll(cpu_facts()->guest_physical_limit);
}
