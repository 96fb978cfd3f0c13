/* SPDX-License-Identifier: MIT */
/* What a guest sees of CPUID before the VP that asks makes a difference, and the table that holds it ready. */
#ifndef VIRT_CPUID_POLICY_H
#define VIRT_CPUID_POLICY_H

#include "partition.h"

/* indices of a CPUID output */
enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX, CPUID_REGS };

/* leaves and feature bits that <arch/bits/cpuid.h> does not name */
#define CPUID_LEAF_TLB                  0x00000002u
#define CPUID_LEAF_L1_CACHE             0x80000005u
#define CPUID_LEAF_L2_CACHE             0x80000006u
#define CPUID_LEAF_TLB_1G               0x80000019u
#define CPUID_LEAF_OPTIMIZATION         0x8000001au
#define CPUID_LEAF_EXT_CACHE            0x8000001du
#define CPUID_LEAF_EXT_TOPOLOGY         0x8000001eu
#define CPUID_7_EDX_AVX512_VP2INTERSECT BIT32(8)
#define CPUID_7_1_EAX_SHA512            BIT32(0)
#define CPUID_7_1_EAX_SM3               BIT32(1)
#define CPUID_7_1_EAX_SM4               BIT32(2)
#define CPUID_7_1_EAX_AVX_VNNI          BIT32(4)
#define CPUID_7_1_EAX_AVX512_BF16       BIT32(5)
#define CPUID_7_1_EAX_CMPCCXADD         BIT32(7)
#define CPUID_7_1_EAX_FZRM              BIT32(10)
#define CPUID_7_1_EAX_FSRS              BIT32(11)
#define CPUID_7_1_EAX_FSRC              BIT32(12)
#define CPUID_7_1_EAX_AMX_FP16          BIT32(21)
#define CPUID_7_1_EAX_AVX_IFMA          BIT32(23)
#define CPUID_7_1_EDX_AVX_VNNI_INT8     BIT32(4)
#define CPUID_7_1_EDX_AVX_NE_CONVERT    BIT32(5)
#define CPUID_7_1_EDX_AVX_VNNI_INT16    BIT32(10)
#define CPUID_7_1_EDX_PREFETCHI         BIT32(14)
#define CPUID_EXT1_EDX_3DNOW_EXT        BIT32(30)
#define CPUID_EXT1_EDX_3DNOW            BIT32(31)
#define CPUID_WIDTHS_EBX_CLZERO         BIT32(0)
#define CPUID_WIDTHS_EBX_X87_POINTERS   BIT32(2) /* XSAVE keeps the x87 error pointers */
#define CPUID_WIDTHS_EBX_RDPRU          BIT32(4)
#define CPUID_WIDTHS_EBX_IBPB           BIT32(12)
#define CPUID_WIDTHS_EBX_STIBP_ALWAYS   BIT32(17)
#define CPUID_WIDTHS_EBX_PSFD           BIT32(28)
#define CPUID_WIDTHS_EBX_BTC_NO         BIT32(29)
#define CPUID_WIDTHS_EBX_IBPB_RET       BIT32(30)
#define CPUID_LEAF_EXT2                 0x80000021u
#define CPUID_EXT2_EAX_LFENCE_SERIAL    BIT32(2)
#define CPUID_EXT2_EAX_NULL_SEL_BASE    BIT32(6)
#define CPUID_EXT2_EAX_SBPB             BIT32(27)
#define CPUID_EXT2_EAX_IBPB_BRTYPE      BIT32(28)
#define CPUID_EXT2_EAX_SRSO_NO          BIT32(29)
#define CPUID_EXT2_EAX_SRSO_USER_NO     BIT32(30)

/* What the VP that asks adds to an answer. */
enum cpuid_dynamic {
    CPUID_DYN_NONE,
    CPUID_DYN_FEATURES,      /* leaf 1: APIC id, the APIC bit, OSXSAVE */
    CPUID_DYN_EXT1,          /* leaf 0x80000001: the APIC bit, where the CPU repeats it there */
    CPUID_DYN_TOPOLOGY,      /* leaf 0xB: APIC id, the subleaf asked for */
    CPUID_DYN_EXT_TOPOLOGY,  /* leaf 0x8000001E: APIC id, core id */
    CPUID_DYN_XSAVE_SIZE,    /* leaf 0xD, 0: size of the area for XCR0 */
    CPUID_DYN_XSAVE_COMPACT, /* leaf 0xD, 1: the same in compacted form, for XCR0 | IA32_XSS */
};

/* One answer: regs, then what the VP adds, then the result lists: out = (out & keep) | fixed. */
struct cpuid_slot {
    uint32_t regs[CPUID_REGS], keep[CPUID_REGS], fixed[CPUID_REGS];
    uint8_t dynamic;  /* enum cpuid_dynamic */
    bool has_results; /* keep and fixed are to be applied, or the lists to be looked through */
    bool is_walked;   /* the result lists say more than keep and fixed can hold: look there each time */
    bool is_special;  /* regs are not all of the answer */
};

/* The slots of one leaf in the order of its subleaves; the last one answers all higher subleaves as well. */
struct cpuid_leaf {
    uint16_t first;
    uint16_t last; /* counted from the first */
};

/*
 * Leaves 0 to 3F of each quarter of the numbers have a place, those with the same lower bits next to each other; no
 * other leaf has an answer, but from the result lists.
 */
#define CPUID_LEAVES 256u
static inline uint32_t cpuid_place(uint32_t leaf)
{
    return leaf << 2 | leaf >> 30;
}
static inline bool cpuid_has_place(uint32_t leaf)
{
    return cpuid_place(leaf) < CPUID_LEAVES;
}
static inline uint32_t cpuid_leaf_at(uint32_t place)
{
    return place >> 2 | place << 30;
}

struct cpuid_table {
    struct cpuid_leaf leaves[CPUID_LEAVES];
    uint32_t slot_count;
    struct cpuid_slot slots[]; /* the first one: zeros, for all leaves without an answer */
};

/* What the machine has of a leaf and the core can give to guests. */
void cpuid_host(uint32_t leaf, uint32_t subleaf, uint32_t regs[CPUID_REGS]);

/* The slot without the result lists. */
void cpuid_default(const struct hv_properties *props, uint32_t leaf, uint32_t subleaf, struct cpuid_slot *slot);

/* Adds what the result lists say for this VP. */
void cpuid_override(const struct hv_properties *props, uint32_t vp_index, uint32_t leaf, uint32_t subleaf,
                    struct cpuid_slot *slot);

/* Bytes of the XSAVE area for these components; compact: with the gaps closed. */
uint32_t cpuid_xsave_size(const struct hv_properties *props, uint64_t components, bool is_compact);

/* NULL: no memory. */
struct cpuid_table *cpuid_table_create(const struct hv_properties *props);
void cpuid_table_destroy(struct cpuid_table *table);

/* exit_cpuid.c: what a VP sees. Pinned: looks at CR4 and XCR0. */
void cpuid_result(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out);

#endif
