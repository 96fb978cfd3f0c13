/* SPDX-License-Identifier: MIT */
/*
 * Names and values of a virtual processor's registers.
 *
 * The numbers are those of WHV_REGISTER_NAME and the layouts those of WHV_REGISTER_VALUE (tests/abi compares them),
 * so that virt/whp can pass arrays through without touching them.
 */
#ifndef HV_REGS_H
#define HV_REGS_H

#include <hv/types.h>

enum hv_reg {
    HV_REG_RAX = 0x00,
    HV_REG_RCX,
    HV_REG_RDX,
    HV_REG_RBX,
    HV_REG_RSP,
    HV_REG_RBP,
    HV_REG_RSI,
    HV_REG_RDI,
    HV_REG_R8,
    HV_REG_R15 = 0x0f,
    HV_REG_RIP = 0x10,
    HV_REG_RFLAGS,
    HV_REG_ES, /* segments */
    HV_REG_CS,
    HV_REG_SS,
    HV_REG_DS,
    HV_REG_FS,
    HV_REG_GS,
    HV_REG_LDTR,
    HV_REG_TR,
    HV_REG_IDTR, /* tables */
    HV_REG_GDTR,
    HV_REG_CR0,
    HV_REG_CR2,
    HV_REG_CR3,
    HV_REG_CR4,
    HV_REG_CR8,
    HV_REG_DR0,
    HV_REG_DR1,
    HV_REG_DR2,
    HV_REG_DR3,
    HV_REG_DR6,
    HV_REG_DR7,
    HV_REG_XCR0, /* 0x27 */

    HV_REG_XMM0 = 0x1000,
    HV_REG_XMM15 = 0x100f,
    HV_REG_FP_MMX0 = 0x1010,
    HV_REG_FP_MMX7 = 0x1017,
    HV_REG_FP_CONTROL_STATUS = 0x1018,
    HV_REG_XMM_CONTROL_STATUS = 0x1019,

    HV_REG_TSC = 0x2000,
    HV_REG_EFER,
    HV_REG_KERNEL_GS_BASE,
    HV_REG_APIC_BASE,
    HV_REG_PAT,
    HV_REG_SYSENTER_CS,
    HV_REG_SYSENTER_EIP,
    HV_REG_SYSENTER_ESP,
    HV_REG_STAR,
    HV_REG_LSTAR,
    HV_REG_CSTAR,
    HV_REG_SFMASK,
    HV_REG_INITIAL_APIC_ID,
    HV_REG_MTRR_CAP,
    HV_REG_MTRR_DEF_TYPE,
    HV_REG_MTRR_PHYS_BASE0 = 0x2010,
    HV_REG_MTRR_PHYS_BASEF = 0x201f,
    HV_REG_MTRR_PHYS_MASK0 = 0x2040,
    HV_REG_MTRR_PHYS_MASKF = 0x204f,
    HV_REG_MTRR_FIX64K_00000 = 0x2070,
    HV_REG_MTRR_FIX4K_F8000 = 0x207a,
    HV_REG_TSC_AUX = 0x207b,
    HV_REG_TSC_VIRTUAL_OFFSET = 0x2087,
    HV_REG_XSS = 0x208b,
    HV_REG_TSC_ADJUST = 0x2096,

    /* with a local APIC: its registers, number n at offset n * 16 of the page */
    HV_REG_APIC_BASE_NUMBER = 0x3000,
    HV_REG_APIC_ID = 0x3002,
    HV_REG_APIC_SELF_IPI = 0x303f,

    /* the synthetic interrupt controller, and the rest of the hypervisor's interface to guests */
    HV_REG_SINT0 = 0x4000,
    HV_REG_SINT15 = 0x400f,
    HV_REG_SCONTROL,
    HV_REG_SVERSION,
    HV_REG_SIEFP,
    HV_REG_SIMP,
    HV_REG_EOM,
    HV_REG_VP_RUNTIME = 0x5000,
    HV_REG_HYPERCALL,
    HV_REG_GUEST_OS_ID,
    HV_REG_VP_ASSIST_PAGE = 0x5013,
    HV_REG_REFERENCE_TSC = 0x5017,
    HV_REG_REFERENCE_TSC_SEQUENCE = 0x501a,

    HV_REG_PENDING_INTERRUPTION = 0x80000000u,
    HV_REG_INTERRUPT_STATE,
    HV_REG_PENDING_EVENT,
    HV_REG_DELIVERABILITY_NOTIFICATIONS = 0x80000004u,
    HV_REG_INTERNAL_ACTIVITY_STATE,
    HV_REG_PENDING_DEBUG_EXCEPTION,
};

struct hv_segment {
    uint64_t base;
    uint32_t limit; /* in bytes, whatever the G bit says */
    uint16_t selector;
    uint16_t attributes; /* SEG_* of arch/bits/seg.h: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15 */
};

struct hv_table {
    uint16_t reserved[3];
    uint16_t limit;
    uint64_t base;
};

struct hv_fp_control_status {
    uint16_t control;
    uint16_t status;
    uint8_t tag; /* abridged, as FXSAVE stores it */
    uint8_t reserved;
    uint16_t last_op;
    uint64_t last_rip;
};

struct hv_xmm_control_status {
    uint64_t last_fp_rdp;
    uint32_t mxcsr;
    uint32_t mxcsr_mask;
};

/* bits of HV_REG_PENDING_INTERRUPTION */
#define HV_PENDING_INT_VALID       (1ull << 0)
#define HV_PENDING_INT_TYPE        0x000000000000000eull
#define HV_PENDING_INT_ERROR_VALID (1ull << 4)
#define HV_PENDING_INT_LENGTH      0x00000000000001e0ull
#define HV_PENDING_INT_NESTED      (1ull << 9)
#define HV_PENDING_INT_VECTOR      0x00000000ffff0000ull
#define HV_PENDING_INT_ERROR_CODE  0xffffffff00000000ull

/* interruption types, by the numbers that the CPU has for them (SDM 3C 24.8.3) */
#define HV_INT_TYPE_EXTERNAL          0
#define HV_INT_TYPE_NMI               2
#define HV_INT_TYPE_EXCEPTION         3
#define HV_INT_TYPE_SOFTWARE          4 /* INT n */
#define HV_INT_TYPE_PRIV_SW_EXCEPTION 5 /* INT1 */
#define HV_INT_TYPE_SW_EXCEPTION      6 /* INT3, INTO */

/* bits of HV_REG_INTERRUPT_STATE */
#define HV_INT_STATE_SHADOW     (1ull << 0)
#define HV_INT_STATE_NMI_MASKED (1ull << 1)

/* low half of HV_REG_PENDING_EVENT, exception form; the high half holds the exception parameter (CR2, DR6) */
#define HV_PENDING_EVENT_VALID       (1ull << 0)
#define HV_PENDING_EVENT_TYPE        0x000000000000000eull
#define HV_PENDING_EVENT_ERROR_VALID (1ull << 8)
#define HV_PENDING_EVENT_VECTOR      0x00000000ffff0000ull
#define HV_PENDING_EVENT_ERROR_CODE  0xffffffff00000000ull
#define HV_PENDING_EVENT_EXT_VECTOR  0x000000000000ff00ull /* ExtInt form */
#define HV_EVENT_TYPE_EXCEPTION      0
#define HV_EVENT_TYPE_EXT_INT        5

/* bits of HV_REG_DELIVERABILITY_NOTIFICATIONS */
#define HV_NOTIFY_NMI       (1ull << 0)
#define HV_NOTIFY_INTERRUPT (1ull << 1)
#define HV_NOTIFY_PRIORITY  0x000000000000003cull /* 0: any */
#define HV_NOTIFY_SINT      0xffff000000000000ull /* one bit a SINT: a message could be posted to it */

/* bits of HV_REG_INTERNAL_ACTIVITY_STATE */
#define HV_ACTIVITY_STARTUP_SUSPEND (1ull << 0)
#define HV_ACTIVITY_HALT_SUSPEND    (1ull << 1)
#define HV_ACTIVITY_IDLE_SUSPEND    (1ull << 2)

/* bits of HV_REG_PENDING_DEBUG_EXCEPTION */
#define HV_PENDING_DEBUG_BP          0x000000000000000full
#define HV_PENDING_DEBUG_SINGLE_STEP (1ull << 4)

union hv_reg_value {
    struct {
        uint64_t low, high;
    } u128;
    uint64_t u64;
    struct hv_segment segment;
    struct hv_table table;
    struct hv_fp_control_status fp;
    struct hv_xmm_control_status xmm;
} __attribute__((aligned(16)));

_Static_assert(sizeof(struct hv_segment) == 16, "WHV_X64_SEGMENT_REGISTER");
_Static_assert(sizeof(struct hv_table) == 16, "WHV_X64_TABLE_REGISTER");
_Static_assert(sizeof(union hv_reg_value) == 16, "WHV_REGISTER_VALUE");

#endif
