/* SPDX-License-Identifier: MIT */
/*
 * Processor features: one table says which CPUID bit stands for which bit of WHP's ProcessorFeatures banks and
 * ProcessorXsaveFeatures. What of them a guest can have is cpuid_policy.c's decision; rows of features that it never
 * gives are here all the same, so that the table is complete.
 */
#include "cpuid_policy.h"
#include <arch/backend.h>
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <hv/base/memory.h>

enum { BANK0, BANK1, XSAVE, BANKS };

struct feature {
    uint8_t bank, bit;
    uint8_t reg; /* enum cpuid_reg */
    uint8_t subleaf;
    uint32_t leaf;
    uint32_t mask; /* one bit */
};

#define L1(bank, bit, r, name)                                             \
    {                                                                      \
        bank, bit, CPUID_##r, 0, CPUID_LEAF_FEATURES, CPUID_1_##r##_##name \
    }
#define L7(bank, bit, r, name)                                                 \
    {                                                                          \
        bank, bit, CPUID_##r, 0, CPUID_LEAF_EXT_FEATURES, CPUID_7_##r##_##name \
    }
#define L7_1(bank, bit, r, name)                                                 \
    {                                                                            \
        bank, bit, CPUID_##r, 1, CPUID_LEAF_EXT_FEATURES, CPUID_7_1_##r##_##name \
    }
#define LD_1(bank, bit, r, name)                                          \
    {                                                                     \
        bank, bit, CPUID_##r, 1, CPUID_LEAF_XSAVE, CPUID_D_1_##r##_##name \
    }
#define EXT1(bank, bit, r, name)                                          \
    {                                                                     \
        bank, bit, CPUID_##r, 0, CPUID_LEAF_EXT1, CPUID_EXT1_##r##_##name \
    }
#define APM(bank, bit, r, name)                                         \
    {                                                                   \
        bank, bit, CPUID_##r, 0, CPUID_LEAF_APM, CPUID_APM_##r##_##name \
    }
#define WIDTHS(bank, bit, r, name)                                                    \
    {                                                                                 \
        bank, bit, CPUID_##r, 0, CPUID_LEAF_ADDRESS_WIDTHS, CPUID_WIDTHS_##r##_##name \
    }
#define EXT2(bank, bit, r, name)                                          \
    {                                                                     \
        bank, bit, CPUID_##r, 0, CPUID_LEAF_EXT2, CPUID_EXT2_##r##_##name \
    }

/* clang-format off */
static const struct feature features[] = {
    /* WHV_PROCESSOR_FEATURES */
    L1    (BANK0,  0, ECX, SSE3),         /* Sse3Support */
    EXT1  (BANK0,  1, ECX, LAHF),         /* LahfSahfSupport */
    L1    (BANK0,  2, ECX, SSSE3),        /* Ssse3Support */
    L1    (BANK0,  3, ECX, SSE4_1),       /* Sse4_1Support */
    L1    (BANK0,  4, ECX, SSE4_2),       /* Sse4_2Support */
    EXT1  (BANK0,  5, ECX, SSE4A),        /* Sse4aSupport */
    EXT1  (BANK0,  6, ECX, XOP),          /* XopSupport */
    L1    (BANK0,  7, ECX, POPCNT),       /* PopCntSupport */
    L1    (BANK0,  8, ECX, CX16),         /* Cmpxchg16bSupport */
    EXT1  (BANK0,  9, ECX, CR8_LEGACY),   /* Altmovcr8Support */
    EXT1  (BANK0, 10, ECX, ABM),          /* LzcntSupport */
    EXT1  (BANK0, 11, ECX, MISALIGNSSE),  /* MisAlignSseSupport */
    EXT1  (BANK0, 12, EDX, MMXEXT),       /* MmxExtSupport */
    EXT1  (BANK0, 13, EDX, 3DNOW),        /* Amd3DNowSupport */
    EXT1  (BANK0, 14, EDX, 3DNOW_EXT),    /* ExtendedAmd3DNowSupport */
    EXT1  (BANK0, 15, EDX, PAGE1GB),      /* Page1GbSupport */
    L1    (BANK0, 16, ECX, AES),          /* AesSupport */
    L1    (BANK0, 17, ECX, PCLMULQDQ),    /* PclmulqdqSupport */
    L1    (BANK0, 18, ECX, PCID),         /* PcidSupport */
    EXT1  (BANK0, 19, ECX, FMA4),         /* Fma4Support */
    L1    (BANK0, 20, ECX, F16C),         /* F16CSupport */
    L1    (BANK0, 21, ECX, RDRAND),       /* RdRandSupport */
    L7    (BANK0, 22, EBX, FSGSBASE),     /* RdWrFsGsSupport */
    L7    (BANK0, 23, EBX, SMEP),         /* SmepSupport */
    L7    (BANK0, 24, EBX, ERMS),         /* EnhancedFastStringSupport */
    L7    (BANK0, 25, EBX, BMI1),         /* Bmi1Support */
    L7    (BANK0, 26, EBX, BMI2),         /* Bmi2Support */
    L1    (BANK0, 29, ECX, MOVBE),        /* MovbeSupport */
    L7    (BANK0, 31, EBX, FCS_FDS),      /* DepX87FPUSaveSupport */
    L7    (BANK0, 32, EBX, RDSEED),       /* RdSeedSupport */
    L7    (BANK0, 33, EBX, ADX),          /* AdxSupport */
    EXT1  (BANK0, 34, ECX, PREFETCHW),    /* IntelPrefetchSupport */
    L7    (BANK0, 35, EBX, SMAP),         /* SmapSupport */
    L7    (BANK0, 36, EBX, HLE),          /* HleSupport */
    L7    (BANK0, 37, EBX, RTM),          /* RtmSupport */
    EXT1  (BANK0, 38, EDX, RDTSCP),       /* RdtscpSupport */
    L7    (BANK0, 39, EBX, CLFLUSHOPT),   /* ClflushoptSupport */
    L7    (BANK0, 40, EBX, CLWB),         /* ClwbSupport */
    L7    (BANK0, 41, EBX, SHA),          /* ShaSupport */
    WIDTHS(BANK0, 42, EBX, X87_POINTERS), /* X87PointersSavedSupport */
    L7    (BANK0, 43, EBX, INVPCID),      /* InvpcidSupport */
    L7    (BANK0, 44, EDX, SPEC_CTRL),    /* IbrsSupport */
    L7    (BANK0, 45, EDX, STIBP),        /* StibpSupport */
    WIDTHS(BANK0, 46, EBX, IBPB),         /* IbpbSupport */
    L7    (BANK0, 48, EDX, SSBD),         /* SsbdSupport */
    L7    (BANK0, 49, EDX, FSRM),         /* FastShortRepMovSupport */
    L7    (BANK0, 57, ECX, RDPID),        /* RdPidSupport */
    L7    (BANK0, 58, ECX, UMIP),         /* UmipSupport */
    L7    (BANK0, 60, EDX, MD_CLEAR),     /* MdClearSupport */

    /* WHV_PROCESSOR_FEATURES1 */
    APM   (BANK1,  1, EDX, INVARIANT_TSC), /* TscInvariantSupport */
    WIDTHS(BANK1,  2, EBX, CLZERO),        /* ClZeroSupport */
    WIDTHS(BANK1,  3, EBX, RDPRU),         /* RdpruSupport */
    L7    (BANK1,  4, ECX, LA57),          /* La57Support */
    WIDTHS(BANK1,  7, EBX, PSFD),          /* PsfdSupport */
    L7    (BANK1,  8, ECX, CET_SS),        /* CetSsSupport */
    L7    (BANK1,  9, EDX, CET_IBT),       /* CetIbtSupport */
    L7    (BANK1, 12, ECX, WAITPKG),       /* UmwaitTpauseSupport */
    L7    (BANK1, 13, ECX, MOVDIRI),       /* MovdiriSupport */
    L7    (BANK1, 14, ECX, MOVDIR64B),     /* Movdir64bSupport */
    L7    (BANK1, 15, ECX, CLDEMOTE),      /* CldemoteSupport */
    L7    (BANK1, 16, EDX, SERIALIZE),     /* SerializeSupport */
    L1    (BANK1, 17, ECX, TSC_DEADLINE),  /* TscDeadlineTmrSupport */
    L7    (BANK1, 18, EBX, TSC_ADJUST),    /* TscAdjustSupport */
    L7_1  (BANK1, 19, EAX, FZRM),          /* FZLRepMovsb */
    L7_1  (BANK1, 20, EAX, FSRS),          /* FSRepStosb */
    L7_1  (BANK1, 21, EAX, FSRC),          /* FSRepCmpsb */
    L7    (BANK1, 22, EDX, TSXLDTRK),      /* TsxLdTrkSupport */
    WIDTHS(BANK1, 29, EBX, BTC_NO),        /* BtcNoSupport */
    WIDTHS(BANK1, 30, EBX, IBPB_RET),      /* IbpbRsbFlushSupport */
    WIDTHS(BANK1, 31, EBX, STIBP_ALWAYS),  /* StibpAlwaysOnSupport */
    L7_1  (BANK1, 40, EAX, CMPCCXADD),     /* CmpccxaddSupport */
    L7_1  (BANK1, 45, EDX, PREFETCHI),     /* PrefetchISupport */
    L7_1  (BANK1, 46, EAX, SHA512),        /* Sha512Support */
    L7_1  (BANK1, 50, EAX, SM3),           /* SM3Support */
    L7_1  (BANK1, 51, EAX, SM4),           /* SM4Support */
    EXT2  (BANK1, 54, EAX, SBPB),          /* SbpbSupported */
    EXT2  (BANK1, 55, EAX, IBPB_BRTYPE),   /* IbpbBrTypeSupported */
    EXT2  (BANK1, 56, EAX, SRSO_NO),       /* SrsoNoSupported */
    EXT2  (BANK1, 57, EAX, SRSO_USER_NO),  /* SrsoUserKernelNoSupported */

    /* WHV_PROCESSOR_XSAVE_FEATURES */
    L1    (XSAVE,  0, ECX, XSAVE),               /* XsaveSupport */
    LD_1  (XSAVE,  1, EAX, XSAVEOPT),            /* XsaveoptSupport */
    L1    (XSAVE,  2, ECX, AVX),                 /* AvxSupport */
    L7    (XSAVE,  3, EBX, AVX2),                /* Avx2Support */
    L1    (XSAVE,  4, ECX, FMA),                 /* FmaSupport */
    L7    (XSAVE,  5, EBX, MPX),                 /* MpxSupport */
    L7    (XSAVE,  6, EBX, AVX512F),             /* Avx512Support */
    L7    (XSAVE,  7, EBX, AVX512DQ),            /* Avx512DQSupport */
    L7    (XSAVE,  8, EBX, AVX512CD),            /* Avx512CDSupport */
    L7    (XSAVE,  9, EBX, AVX512BW),            /* Avx512BWSupport */
    L7    (XSAVE, 10, EBX, AVX512VL),            /* Avx512VLSupport */
    LD_1  (XSAVE, 11, EAX, XSAVEC),              /* XsaveCompSupport */
    LD_1  (XSAVE, 12, EAX, XSAVES),              /* XsaveSupervisorSupport */
    LD_1  (XSAVE, 13, EAX, XGETBV1),             /* Xcr1Support */
    L7    (XSAVE, 14, ECX, AVX512_BITALG),       /* Avx512BitalgSupport */
    L7    (XSAVE, 15, EBX, AVX512_IFMA),         /* Avx512IfmaSupport */
    L7    (XSAVE, 16, ECX, AVX512_VBMI),         /* Avx512VBmiSupport */
    L7    (XSAVE, 17, ECX, AVX512_VBMI2),        /* Avx512VBmi2Support */
    L7    (XSAVE, 18, ECX, AVX512_VNNI),         /* Avx512VnniSupport */
    L7    (XSAVE, 19, ECX, GFNI),                /* GfniSupport */
    L7    (XSAVE, 20, ECX, VAES),                /* VaesSupport */
    L7    (XSAVE, 21, ECX, AVX512_VPOPCNTDQ),    /* Avx512VPopcntdqSupport */
    L7    (XSAVE, 22, ECX, VPCLMULQDQ),          /* VpclmulqdqSupport */
    L7_1  (XSAVE, 23, EAX, AVX512_BF16),         /* Avx512Bf16Support */
    L7    (XSAVE, 24, EDX, AVX512_VP2INTERSECT), /* Avx512Vp2IntersectSupport */
    L7    (XSAVE, 25, EDX, AVX512_FP16),         /* Avx512Fp16Support */
    LD_1  (XSAVE, 26, EAX, XFD),                 /* XfdSupport */
    L7    (XSAVE, 27, EDX, AMX_TILE),            /* AmxTileSupport */
    L7    (XSAVE, 28, EDX, AMX_BF16),            /* AmxBf16Support */
    L7    (XSAVE, 29, EDX, AMX_INT8),            /* AmxInt8Support */
    L7_1  (XSAVE, 30, EAX, AVX_VNNI),            /* AvxVnniSupport */
    L7_1  (XSAVE, 31, EAX, AVX_IFMA),            /* AvxIfmaSupport */
    L7_1  (XSAVE, 32, EDX, AVX_NE_CONVERT),      /* AvxNeConvertSupport */
    L7_1  (XSAVE, 33, EDX, AVX_VNNI_INT8),       /* AvxVnniInt8Support */
    L7_1  (XSAVE, 34, EDX, AVX_VNNI_INT16),      /* AvxVnniInt16Support */
    L7_1  (XSAVE, 37, EAX, AMX_FP16),            /* AmxFp16Support */
};

/* Instructions that need state components. Without them in XCR0 they do not exist. */
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

/* The outputs that the table speaks of. CPUID is slow, above all where a hypervisor answers it: each is asked for once.
 */
static const struct {
    uint32_t leaf;
    uint8_t subleaf;
} outputs[] = {
    {CPUID_LEAF_FEATURES, 0}, {CPUID_LEAF_EXT_FEATURES, 0}, {CPUID_LEAF_EXT_FEATURES, 1},   {CPUID_LEAF_XSAVE, 1},
    {CPUID_LEAF_EXT1, 0},     {CPUID_LEAF_APM, 0},          {CPUID_LEAF_ADDRESS_WIDTHS, 0}, {CPUID_LEAF_EXT2, 0},
};

static void find_in_output(uint32_t leaf, uint8_t subleaf, uint64_t words[BANKS])
{
    uint32_t regs[CPUID_REGS];

    cpuid_host(leaf, subleaf, regs);
    for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
        const struct feature *f = &features[i];

        if (f->leaf == leaf && f->subleaf == subleaf && regs[f->reg] & f->mask)
            words[f->bank] |= BIT64(f->bit);
    }
}

/* What the CPU has, and what the core's local APIC has whatever the CPU's does. */
static void find_host(uint64_t words[BANKS])
{
    memset(words, 0, BANKS * sizeof(words[0]));
    words[BANK1] = HV_FEATURE1_TSC_DEADLINE;
    for (size_t i = 0; i < ARRAY_COUNT(outputs); i++)
        find_in_output(outputs[i].leaf, outputs[i].subleaf, words);
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
    return cpu_facts()->avoid & HV_AVOID_XSAVEC ? words[XSAVE] & ~HV_XSAVE_XSAVEC : words[XSAVE];
}

/* ---------------------------------------------------------------------------- banks to CPUID */

static bool has_feature(const struct hv_properties *props, const struct feature *f)
{
    uint64_t word = f->bank == XSAVE ? props->xsave_features : props->features[f->bank];

    return word & BIT64(f->bit);
}

void features_mask_state(uint64_t xcr0, uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    for (size_t i = 0; i < ARRAY_COUNT(state_users); i++)
        if (state_users[i].leaf == leaf && state_users[i].subleaf == subleaf && state_users[i].xcr0 & ~xcr0)
            regs[state_users[i].reg] &= ~state_users[i].mask;
}

void features_mask(const struct hv_properties *props, uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS])
{
    for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
        const struct feature *f = &features[i];

        if (f->leaf == leaf && f->subleaf == subleaf && !has_feature(props, f))
            regs[f->reg] &= ~f->mask;
    }
    features_mask_state(features_xcr0(props), leaf, subleaf, regs);
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
