/* SPDX-License-Identifier: MIT */
/* AMD-Vi's registers, structures in memory, commands and events (AMD-IOV 2, 3). Facts only. */
#ifndef IOMMU_AMDVI_REGS_H
#define IOMMU_AMDVI_REGS_H

#include <hv/base/bits.h>

/* AMD-IOV 3.4: registers */
#define AMDVI_DEVTAB       0x0000u
#define AMDVI_CMD_BASE     0x0008u
#define AMDVI_EVT_BASE     0x0010u
#define AMDVI_CONTROL      0x0018u
#define AMDVI_EXCL_BASE    0x0020u
#define AMDVI_EXCL_LIMIT   0x0028u
#define AMDVI_FEATURES     0x0030u
#define AMDVI_XT_EVT       0x0170u
#define AMDVI_CMD_HEAD     0x2000u
#define AMDVI_CMD_TAIL     0x2008u
#define AMDVI_EVT_HEAD     0x2010u
#define AMDVI_EVT_TAIL     0x2018u
#define AMDVI_STATUS       0x2020u
#define AMDVI_REGS_SIZE    0x4000u
#define AMDVI_REGS_MAX     0x80000u       /* with performance counters (AMDVI_EFR_PC) */
#define AMDVI_DEVTAB_SIZE  BITS64(8, 0)   /* pages, less one */
#define AMDVI_BASE_LENGTH  BITS64(59, 56) /* of commands and events: log2 of their number */
#define AMDVI_BASE_ADDRESS BITS64(51, 12)
#define AMDVI_RING_OFFSET  BITS64(18, 4) /* in heads and tails */

/* AMD-IOV 3.4.1: control */
#define AMDVI_CTL_ON          BIT64(0)
#define AMDVI_CTL_HT_TUNNEL   BIT64(1)
#define AMDVI_CTL_EVENTS      BIT64(2)
#define AMDVI_CTL_EVENT_INT   BIT64(3)
#define AMDVI_CTL_PASS_PW     BIT64(8)
#define AMDVI_CTL_RES_PASS_PW BIT64(9)
#define AMDVI_CTL_COHERENT    BIT64(10) /* reads the device table by snooping the CPUs' caches */
#define AMDVI_CTL_ISOCHRONOUS BIT64(11)
#define AMDVI_CTL_COMMANDS    BIT64(12)
#define AMDVI_CTL_GA          BIT64(17) /* remapping entries of 128 bits */
#define AMDVI_CTL_XT          BIT64(50) /* x2APIC IDs in them */
#define AMDVI_CTL_INT_XT      BIT64(51) /* interrupts of its own by AMDVI_XT_EVT */

/* AMD-IOV 3.4.1: extended features */
#define AMDVI_EFR_XT   BIT64(2)
#define AMDVI_EFR_IA   BIT64(6) /* AMDVI_INV_ALL */
#define AMDVI_EFR_GA   BIT64(7)
#define AMDVI_EFR_PC   BIT64(9)       /* performance counters, behind the other registers */
#define AMDVI_EFR_HATS BITS64(11, 10) /* levels of host tables, less 4; 3: reserved */

/* AMD-IOV 3.4.12: status */
#define AMDVI_STATUS_OVERFLOW BIT64(0) /* events were lost; written as 1 to clear, so the next one */
#define AMDVI_STATUS_EVENT    BIT64(1)
#define AMDVI_STATUS_EVENTS   BIT64(3) /* runs */
#define AMDVI_STATUS_COMMANDS BIT64(4)

/* AMD-IOV 3.4.8: where interrupts of its own go */
#define AMDVI_XT_EVT_DEST       BITS64(31, 8)
#define AMDVI_XT_EVT_VECTOR     BITS64(39, 32)
#define AMDVI_XT_EVT_DEST_UPPER BITS64(63, 56)

/* AMD-IOV 5.2.2.1: flags of a unit's block in ACPI's table that are to be set in control */
#define AMDVI_IVHD_HT_TUNNEL   BIT32(0)
#define AMDVI_IVHD_PASS_PW     BIT32(1)
#define AMDVI_IVHD_RES_PASS_PW BIT32(2)
#define AMDVI_IVHD_ISOCHRONOUS BIT32(3)

/* AMD-IOV 2.2.2.1: device table entry, four words */
#define AMDVI_DTE_V       BIT64(0) /* first word */
#define AMDVI_DTE_TV      BIT64(1)
#define AMDVI_DTE_MODE    BITS64(11, 9) /* levels; 0: no translation */
#define AMDVI_DTE_ROOT    BITS64(51, 12)
#define AMDVI_DTE_IR      BIT64(61)
#define AMDVI_DTE_IW      BIT64(62)
#define AMDVI_DTE_DOMAIN  BITS64(15, 0) /* second word */
#define AMDVI_DTE_IV      BIT64(0)      /* third word */
#define AMDVI_DTE_LENGTH  BITS64(4, 1)  /* log2 of the number of remapping entries */
#define AMDVI_DTE_TABLE   BITS64(51, 6)
#define AMDVI_DTE_CONTROL BITS64(61, 60) /* 0: interrupts are blocked */
#define AMDVI_DTE_PASS    1u
#define AMDVI_DTE_REMAP   2u

/* AMD-IOV 2.2.3: host page tables */
#define AMDVI_PTE_P    BIT64(0)
#define AMDVI_PTE_LINK BITS64(4, 1) /* ignored by hardware, in whatever entry */
#define AMDVI_PTE_NEXT BITS64(11, 9)
#define AMDVI_PTE_FC   BIT64(60) /* DMA snoops, whatever the device says */
#define AMDVI_PTE_R    BIT64(61)
#define AMDVI_PTE_W    BIT64(62)

/* AMD-IOV 2.2.5: remapping entries of 32 bits; of 128 bits, first word */
#define AMDVI_IRTE_ON       BIT64(0)
#define AMDVI_IRTE_TYPE     BITS64(4, 2) /* 0: fixed */
#define AMDVI_IRTE_EOI      BIT64(5)     /* level-triggered */
#define AMDVI_IRTE_DEST     BITS64(15, 8)
#define AMDVI_IRTE_VECTOR   BITS64(23, 16)
#define AMDVI_GA_DEST       BITS64(31, 8)
#define AMDVI_GA_VECTOR     BITS64(7, 0) /* second word */
#define AMDVI_GA_DEST_UPPER BITS64(63, 56)
#define AMDVI_XAPIC_DESTS   256u

/* AMD-IOV 2.2.5.1, 2.2.5.2: an index is what stood in the place of vector and delivery mode */
#define AMDVI_MSI_ADDRESS 0xfee00000u
#define AMDVI_MSI_DEST    BITS64(19, 12)
#define AMDVI_MSI_LAST    0xfeefffffu
#define AMDVI_RTE_INDEX   BITS64(10, 0)
#define AMDVI_RTE_LOW     BIT64(13)
#define AMDVI_RTE_LEVEL   BIT64(15)

/* AMD-IOV 2.4: commands, two words */
enum {
    AMDVI_CMD_WAIT = 1,
    AMDVI_INV_DEVICE = 2,
    AMDVI_INV_PAGES = 3,
    AMDVI_INV_INTERRUPTS = 5,
    AMDVI_INV_ALL = 8,
};
#define AMDVI_CMD_CODE       BITS64(63, 60) /* first word of all */
#define AMDVI_CMD_DEVICE     BITS64(15, 0)
#define AMDVI_CMD_DOMAIN     BITS64(47, 32)
#define AMDVI_WAIT_STORE     BIT64(0)
#define AMDVI_WAIT_ADDRESS   BITS64(51, 3)
#define AMDVI_INV_SIZE       BIT64(0) /* second word: the lowest 0 of the address from bit 12 on tells the size */
#define AMDVI_INV_TABLES     BIT64(1) /* and what was kept of tables */
#define AMDVI_INV_ADDRESS    BITS64(63, 12)
/* the largest size there is means all of a domain; sizes from 2^52 on are not to be used for anything else */
#define AMDVI_INV_EVERYTHING (BITS64(62, 12) | AMDVI_INV_SIZE | AMDVI_INV_TABLES)
#define AMDVI_INV_BLOCK_MAX  BIT64(51)

/* AMD-IOV 2.5: events, two words */
enum {
    AMDVI_EVT_BAD_DTE = 1,
    AMDVI_EVT_PAGE_FAULT,
    AMDVI_EVT_DTE_ERROR,
    AMDVI_EVT_PTE_ERROR,
    AMDVI_EVT_BAD_COMMAND,
    AMDVI_EVT_COMMAND_ERROR,
    AMDVI_EVT_IOTLB_TIMEOUT,
    AMDVI_EVT_BAD_REQUEST,
    AMDVI_EVT_BAD_PPR,
};
#define AMDVI_EVT_DEVICE BITS64(15, 0) /* first word */
#define AMDVI_EVT_I      BIT64(51)     /* an interrupt */
#define AMDVI_EVT_PR     BIT64(52)     /* there is an entry */
#define AMDVI_EVT_RW     BIT64(53)     /* a write */
#define AMDVI_EVT_PE     BIT64(54)     /* the entry does not allow it */
#define AMDVI_EVT_RZ     BIT64(55)     /* the entry has reserved bits */
#define AMDVI_EVT_CODE   BITS64(63, 60)

#endif
