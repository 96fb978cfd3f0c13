/* SPDX-License-Identifier: MIT */
/*
 * Numbers of the interface between hypervisor and guests, by the Hypervisor Top Level Functional Specification (TLFS
 * 6.0b; chapters are named). Facts only.
 */
#ifndef VIRT_TLFS_H
#define VIRT_TLFS_H

#include <hv/base/bits.h>
#include <hv/types.h>

/* ----------------------------------------------------------------- synthetic MSRs, appendix F */

#define MSR_HV_GUEST_OS_ID    0x40000000u
#define MSR_HV_HYPERCALL      0x40000001u
#define MSR_HV_VP_INDEX       0x40000002u
#define MSR_HV_RESET          0x40000003u
#define MSR_HV_VP_RUNTIME     0x40000010u
#define MSR_HV_TIME_REF_COUNT 0x40000020u
#define MSR_HV_REFERENCE_TSC  0x40000021u
#define MSR_HV_TSC_FREQUENCY  0x40000022u
#define MSR_HV_APIC_FREQUENCY 0x40000023u
#define MSR_HV_EOI            0x40000070u
#define MSR_HV_ICR            0x40000071u
#define MSR_HV_TPR            0x40000072u
#define MSR_HV_VP_ASSIST_PAGE 0x40000073u
#define MSR_HV_SCONTROL       0x40000080u
#define MSR_HV_SVERSION       0x40000081u
#define MSR_HV_SIEFP          0x40000082u
#define MSR_HV_SIMP           0x40000083u
#define MSR_HV_EOM            0x40000084u
#define MSR_HV_SINT0          0x40000090u
#define MSR_HV_SINT15         0x4000009fu
#define MSR_HV_STIMER0_CONFIG 0x400000b0u /* CONFIG and COUNT of each of four timers */
#define MSR_HV_STIMER3_COUNT  0x400000b7u
#define MSR_HV_GUEST_IDLE     0x400000f0u
#define MSR_HV_FIRST          0x40000000u
#define MSR_HV_LAST           0x400001ffu

/* MSRs that say where a page is: hypercall page, reference TSC, assist page, SIMP, SIEFP */
#define HV_PAGE_ENABLE      BIT64(0)
#define HV_PAGE_ADDRESS     BITS64(63, 12)
#define HV_HYPERCALL_LOCKED BIT64(1)

/* ------------------------------------------------------------------------------ SynIC, 11 */

#define HV_SCONTROL_ENABLE BIT64(0)
#define HV_SINT_VECTOR     BITS64(7, 0)
#define HV_SINT_MASKED     BIT64(16)
#define HV_SINT_AUTO_EOI   BIT64(17)
#define HV_SINT_POLLING    BIT64(18)
#define HV_SYNIC_VERSION   1u

/* A slot of the message page: 16 of 256 bytes. */
struct hv_message {
    uint32_t type; /* 0: the slot is free */
    uint8_t payload_size;
    uint8_t flags; /* HV_MESSAGE_PENDING */
    uint16_t reserved;
    uint64_t origin;
    uint8_t payload[240];
};
_Static_assert(sizeof(struct hv_message) == 256, "HV_MESSAGE");
#define HV_MESSAGE_PENDING       0x01u
#define HV_MESSAGE_TIMER_EXPIRED 0x80000010u

struct hv_timer_message { /* payload of HV_MESSAGE_TIMER_EXPIRED */
    uint32_t timer, reserved;
    uint64_t expiration, delivery;
};

/* ------------------------------------------------------------------- synthetic timers, 12.2 */

#define HV_STIMERS            4u
#define HV_STIMER_ENABLE      BIT64(0)
#define HV_STIMER_PERIODIC    BIT64(1)
#define HV_STIMER_LAZY        BIT64(2)
#define HV_STIMER_AUTO_ENABLE BIT64(3)
#define HV_STIMER_APIC_VECTOR BITS64(11, 4)
#define HV_STIMER_DIRECT      BIT64(12)
#define HV_STIMER_SINT        BITS64(19, 16)

/* ------------------------------------------------------------------ hypercalls, 3 and app. B */

#define HV_CALL_CODE        BITS64(15, 0)
#define HV_CALL_FAST        BIT64(16)
#define HV_CALL_HEADER      BITS64(26, 17) /* variable header, in 8 bytes */
#define HV_CALL_NESTED      BIT64(31)
#define HV_CALL_REP_COUNT   BITS64(43, 32)
#define HV_CALL_REP_START   BITS64(59, 48)
#define HV_CALL_RESERVED    (BITS64(30, 27) | BITS64(47, 44) | BITS64(63, 60))
#define HV_RESULT_STATUS    BITS64(15, 0)
#define HV_RESULT_REPS_DONE BITS64(43, 32)

/* Fast calls have their input in two general registers and, when it is longer, in six XMM registers. */
#define HV_CALL_FAST_WORDS 14u

#define HV_CALL_FLUSH_SPACE      0x0002u
#define HV_CALL_FLUSH_LIST       0x0003u
#define HV_CALL_NOTIFY_SPIN_WAIT 0x0008u
#define HV_CALL_SEND_IPI         0x000bu
#define HV_CALL_FLUSH_SPACE_EX   0x0013u
#define HV_CALL_FLUSH_LIST_EX    0x0014u
#define HV_CALL_SEND_IPI_EX      0x0015u
#define HV_CALL_POST_MESSAGE     0x005cu
#define HV_CALL_SIGNAL_EVENT     0x005du

/* flags of the flush calls */
#define HV_FLUSH_ALL_PROCESSORS  BIT64(0)
#define HV_FLUSH_ALL_SPACES      BIT64(1)
#define HV_FLUSH_NON_GLOBAL      BIT64(2)
#define HV_FLUSH_EXTENDED_RANGES BIT64(3)

/* A set of processors is two words, format and mask of banks; a bank is a word that says which of 64 processors. */
#define HV_VP_SET_SPARSE 0u
#define HV_VP_SET_ALL    1u

#define HV_TARGET_VTL          BITS32(3, 0) /* of HV_INPUT_VTL */
#define HV_TARGET_VTL_USED     BIT32(4)
#define HV_TARGET_VTL_RESERVED BITS32(7, 5)

#define HV_MESSAGE_PAYLOAD 240u /* bytes, at most */

#define HV_STATUS_SUCCESS                 0x0000u
#define HV_STATUS_INVALID_HYPERCALL_CODE  0x0002u
#define HV_STATUS_INVALID_HYPERCALL_INPUT 0x0003u
#define HV_STATUS_INVALID_ALIGNMENT       0x0004u
#define HV_STATUS_INVALID_PARAMETER       0x0005u
#define HV_STATUS_ACCESS_DENIED           0x0006u
#define HV_STATUS_OPERATION_DENIED        0x0008u
#define HV_STATUS_INSUFFICIENT_MEMORY     0x000bu
#define HV_STATUS_INVALID_PORT_ID         0x0011u
#define HV_STATUS_INVALID_CONNECTION_ID   0x0012u
#define HV_STATUS_INSUFFICIENT_BUFFERS    0x0013u
#define HV_STATUS_INVALID_SYNIC_STATE     0x0018u

/* ---------------------------------------------------- what a partition's guests are offered */

/* Bits of SyntheticProcessorFeatures (WHV_SYNTHETIC_PROCESSOR_FEATURES). Up to 31 most are CPUID 40000003H's. */
#define HV_SYNTH_HYPERVISOR_PRESENT  BIT64(0)
#define HV_SYNTH_HV1                 BIT64(1)
#define HV_SYNTH_VP_RUNTIME          BIT64(2)
#define HV_SYNTH_REFERENCE_COUNTER   BIT64(3)
#define HV_SYNTH_SYNIC               BIT64(4)
#define HV_SYNTH_TIMERS              BIT64(5)
#define HV_SYNTH_APIC_REGS           BIT64(6)
#define HV_SYNTH_HYPERCALL_REGS      BIT64(7)
#define HV_SYNTH_VP_INDEX            BIT64(8)
#define HV_SYNTH_REFERENCE_TSC       BIT64(9)
#define HV_SYNTH_GUEST_IDLE          BIT64(10)
#define HV_SYNTH_FREQUENCY_REGS      BIT64(11)
#define HV_SYNTH_EXTENDED_FLUSH_LIST BIT64(15)
#define HV_SYNTH_FAST_OUTPUT         BIT64(18)
#define HV_SYNTH_DIRECT_TIMERS       BIT64(22)
#define HV_SYNTH_PROCESSOR_MASKS     BIT64(24)
#define HV_SYNTH_FLUSH_CALLS         BIT64(25)
#define HV_SYNTH_CLUSTER_IPI         BIT64(26)
#define HV_SYNTH_SPIN_WAIT           BIT64(27)
#define HV_SYNTH_SIGNAL_EVENTS       BIT64(29)

#endif
