/* SPDX-License-Identifier: MIT */
/* Local APIC registers (SDM 3A chapter 10): facts of the architecture, no code. */
#ifndef ARCH_BITS_APIC_H
#define ARCH_BITS_APIC_H

#include <hv/base/bits.h>

#define APIC_DEFAULT_BASE 0xfee00000ull

/* SDM 3A 10.4.1: register offsets in the page; the x2APIC MSR is 0x800 + offset / 16 */
#define APIC_ID          0x020u
#define APIC_VERSION     0x030u
#define APIC_TPR         0x080u
#define APIC_APR         0x090u
#define APIC_PPR         0x0a0u
#define APIC_EOI         0x0b0u
#define APIC_RRD         0x0c0u
#define APIC_LDR         0x0d0u
#define APIC_DFR         0x0e0u
#define APIC_SVR         0x0f0u
#define APIC_ISR         0x100u /* 8 registers, 16 bytes apart */
#define APIC_TMR         0x180u
#define APIC_IRR         0x200u
#define APIC_ESR         0x280u
#define APIC_LVT_CMCI    0x2f0u
#define APIC_ICR_LOW     0x300u
#define APIC_ICR_HIGH    0x310u
#define APIC_LVT_TIMER   0x320u
#define APIC_LVT_THERMAL 0x330u
#define APIC_LVT_PMI     0x340u
#define APIC_LVT_LINT0   0x350u
#define APIC_LVT_LINT1   0x360u
#define APIC_LVT_ERROR   0x370u
#define APIC_TIMER_INIT  0x380u
#define APIC_TIMER_CUR   0x390u
#define APIC_TIMER_DIV   0x3e0u
#define APIC_SELF_IPI    0x3f0u /* x2APIC only */

/* SDM 3A 10.4.6, 10.4.8: ID and version */
#define APIC_ID_XAPIC              BITS64(31, 24)
#define APIC_VERSION_VERSION       BITS64(7, 0)
#define APIC_VERSION_MAX_LVT       BITS64(23, 16)
#define APIC_VERSION_EOI_BROADCAST BIT64(24) /* can be suppressed */

/* SDM 3A 10.9: spurious-interrupt vector register */
#define APIC_SVR_VECTOR         BITS64(7, 0)
#define APIC_SVR_ENABLE         BIT64(8)
#define APIC_SVR_FOCUS          BIT64(9)
#define APIC_SVR_EOI_SUPPRESSED BIT64(12)

/* SDM 3A 10.6.1: interrupt command register */
#define APIC_ICR_VECTOR      BITS64(7, 0)
#define APIC_ICR_MODE        BITS64(10, 8)
#define APIC_ICR_LOGICAL     BIT64(11)
#define APIC_ICR_PENDING     BIT64(12)
#define APIC_ICR_ASSERT      BIT64(14)
#define APIC_ICR_LEVEL       BIT64(15)
#define APIC_ICR_REMOTE      BITS64(17, 16) /* status of a remote read (APM 2 16.5): APIC_REMOTE_* */
#define APIC_ICR_SHORTHAND   BITS64(19, 18)
#define APIC_ICR_DEST_XAPIC  BITS64(63, 56)
#define APIC_ICR_DEST_X2APIC BITS64(63, 32)

/* delivery modes of the ICR, the LVT, MSIs and IOAPIC entries */
#define APIC_MODE_FIXED   0u
#define APIC_MODE_LOWEST  1u
#define APIC_MODE_SMI     2u
#define APIC_MODE_REMOTE  3u /* of the ICR in xAPIC mode */
#define APIC_MODE_NMI     4u
#define APIC_MODE_INIT    5u
#define APIC_MODE_STARTUP 6u
#define APIC_MODE_EXTINT  7u

#define APIC_REMOTE_INVALID 0u
#define APIC_REMOTE_PENDING 1u
#define APIC_REMOTE_VALID   2u

#define APIC_SHORTHAND_NONE   0u
#define APIC_SHORTHAND_SELF   1u
#define APIC_SHORTHAND_ALL    2u
#define APIC_SHORTHAND_OTHERS 3u

/* SDM 3A 10.5.1: local vector table */
#define APIC_LVT_VECTOR     BITS64(7, 0)
#define APIC_LVT_MODE       BITS64(10, 8)
#define APIC_LVT_PENDING    BIT64(12)
#define APIC_LVT_LOW        BIT64(13) /* active low */
#define APIC_LVT_REMOTE_IRR BIT64(14)
#define APIC_LVT_LEVEL      BIT64(15)
#define APIC_LVT_MASKED     BIT64(16)
#define APIC_LVT_TIMER_MODE BITS64(18, 17)

#define APIC_TIMER_ONE_SHOT 0u
#define APIC_TIMER_PERIODIC 1u
#define APIC_TIMER_DEADLINE 2u

/* SDM 3A 10.5.3: error status */
#define APIC_ESR_SEND_CHECKSUM  BIT64(0)
#define APIC_ESR_RECV_CHECKSUM  BIT64(1)
#define APIC_ESR_SEND_ACCEPT    BIT64(2)
#define APIC_ESR_RECV_ACCEPT    BIT64(3)
#define APIC_ESR_REDIRECTABLE   BIT64(4)
#define APIC_ESR_SEND_ILLEGAL   BIT64(5)
#define APIC_ESR_RECV_ILLEGAL   BIT64(6)
#define APIC_ESR_ILLEGAL_ACCESS BIT64(7)

/* SDM 3A 10.11: message-signalled interrupts */
#define MSI_ADDR_FIXED    0xfee00000ull
#define MSI_ADDR_DEST     BITS64(19, 12)
#define MSI_ADDR_REDIRECT BIT64(3)
#define MSI_ADDR_LOGICAL  BIT64(2)
#define MSI_DATA_VECTOR   BITS64(7, 0)
#define MSI_DATA_MODE     BITS64(10, 8)
#define MSI_DATA_ASSERT   BIT64(14)
#define MSI_DATA_LEVEL    BIT64(15)

#endif
