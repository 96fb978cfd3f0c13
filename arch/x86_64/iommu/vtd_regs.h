/* SPDX-License-Identifier: MIT */
/* VT-d's registers, structures in memory and reasons of faults (VT-d 9, 10, 6.5.2). Facts only. */
#ifndef IOMMU_VTD_REGS_H
#define IOMMU_VTD_REGS_H

#include <hv/base/bits.h>

/* VT-d 10.4: registers */
#define VTD_CAP     0x08u
#define VTD_ECAP    0x10u
#define VTD_GCMD    0x18u
#define VTD_GSTS    0x1cu
#define VTD_RTADDR  0x20u
#define VTD_FSTS    0x34u
#define VTD_FECTL   0x38u
#define VTD_FEDATA  0x3cu
#define VTD_FEADDR  0x40u
#define VTD_FEUADDR 0x44u
#define VTD_PMEN    0x64u
#define VTD_IQH     0x80u
#define VTD_IQT     0x88u
#define VTD_IQA     0x90u
#define VTD_IRTA    0xb8u

/* VT-d 10.4.2 */
#define VTD_CAP_ND    BITS64(2, 0) /* domains: 2^(4 + 2 ND) */
#define VTD_CAP_RWBF  BIT64(4)     /* the write buffer has to be flushed */
#define VTD_CAP_PLMR  BIT64(5)     /* protected low memory region */
#define VTD_CAP_PHMR  BIT64(6)
#define VTD_CAP_CM    BIT64(7)       /* what is not present is cached, too */
#define VTD_CAP_SAGAW BITS64(12, 8)  /* bit n: tables of n + 2 levels */
#define VTD_CAP_FRO   BITS64(33, 24) /* fault recording registers: offset / 16 */
#define VTD_CAP_SLLPS BITS64(37, 34) /* large pages: 2M, 1G */
#define VTD_CAP_2M    BIT64(34)
#define VTD_CAP_1G    BIT64(35)
#define VTD_CAP_PSI   BIT64(39)      /* invalidation by page */
#define VTD_CAP_NFR   BITS64(47, 40) /* fault recording registers, less one */
#define VTD_CAP_MAMV  BITS64(53, 48) /* log2 of the pages of one such invalidation, at most */
#define VTD_CAP_DWD   BIT64(54)      /* writes can be drained */
#define VTD_CAP_DRD   BIT64(55)
#define VTD_CAP_PI    BIT64(59) /* posted interrupts */

/* VT-d 10.4.3 */
#define VTD_ECAP_C   BIT64(0) /* tables are read by snooping the CPUs' caches */
#define VTD_ECAP_QI  BIT64(1)
#define VTD_ECAP_IR  BIT64(3)
#define VTD_ECAP_EIM BIT64(4) /* x2APIC IDs */

/* VT-d 10.4.4, 10.4.5: commands and, in the same places, status */
#define VTD_GCMD_CFI    BIT32(23) /* interrupts in the compatibility format pass */
#define VTD_GCMD_SIRTP  BIT32(24)
#define VTD_GCMD_IRE    BIT32(25)
#define VTD_GCMD_QIE    BIT32(26)
#define VTD_GCMD_WBF    BIT32(27)
#define VTD_GCMD_SRTP   BIT32(30)
#define VTD_GCMD_TE     BIT32(31)
/* those that stay set */
#define VTD_GSTS_STATES (VTD_GCMD_CFI | VTD_GCMD_IRE | VTD_GCMD_QIE | VTD_GCMD_TE | BIT32(28))

/* VT-d 10.4.9, 10.4.10 */
#define VTD_FSTS_PFO       BIT32(0) /* faults were lost */
#define VTD_FSTS_PPF       BIT32(1)
#define VTD_FSTS_IQE       BIT32(4)
#define VTD_FSTS_ICE       BIT32(5)
#define VTD_FSTS_ITE       BIT32(6)
#define VTD_FSTS_QUEUE     (VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE)
#define VTD_FSTS_FRI       BITS32(15, 8) /* the first record */
#define VTD_FECTL_IM       BIT32(31)
#define VTD_PMEN_PRS       BIT32(0)
#define VTD_PMEN_EPM       BIT32(31)
#define VTD_MSI_ADDRESS    0xfee00000u
#define VTD_MSI_DEST       BITS32(19, 12)
#define VTD_MSI_DEST_UPPER BITS32(31, 8)

/* VT-d 10.4.14: a fault recording register, two words */
#define VTD_FRCD_SIZE       16u
#define VTD_FRCD_INFO       BITS64(63, 12) /* first word */
#define VTD_FRCD_INDEX      BITS64(63, 48) /* of interrupts */
#define VTD_FRCD_SID        BITS64(15, 0)  /* second word */
#define VTD_FRCD_REASON     BITS64(39, 32)
#define VTD_FRCD_READ       BIT64(62)
#define VTD_FRCD_F          BIT64(63)
#define VTD_REASON_IRQ      0x20u /* first and last that interrupts have */
#define VTD_REASON_IRQ_LAST 0x2fu

/* VT-d 10.4.22, 10.4.23 */
#define VTD_IQA_256  0u /* descriptors of 128 bits */
#define VTD_IRTA_EIM BIT64(11)
#define VTD_IRTA_S   BITS64(3, 0) /* entries: 2^(S + 1) */

/* VT-d 9.1, 9.3, 9.8 */
#define VTD_ROOT_P       BIT64(0)
#define VTD_ROOT_CONTEXT BITS64(63, 12)
#define VTD_CONTEXT_P    BIT64(0) /* first word; translation type 0: untranslated requests go by the tables */
#define VTD_CONTEXT_ROOT BITS64(63, 12)
#define VTD_CONTEXT_AW   BITS64(2, 0) /* second word: levels less 2 */
#define VTD_CONTEXT_DID  BITS64(23, 8)
#define VTD_SL_R         BIT64(0)
#define VTD_SL_W         BIT64(1)
#define VTD_SL_LARGE     BIT64(7)

/* VT-d 9.10: remapping entries */
#define VTD_IRTE_P           BIT64(0) /* first word */
#define VTD_IRTE_LEVEL       BIT64(4)
#define VTD_IRTE_VECTOR      BITS64(23, 16)
#define VTD_IRTE_IM          BIT64(15) /* it is posted */
#define VTD_IRTE_XAPIC       BITS64(47, 40)
#define VTD_IRTE_X2APIC      BITS64(63, 32)
#define VTD_IRTE_POSTED      BITS64(63, 38) /* bits 31:6 of the descriptor's address */
#define VTD_IRTE_SID         BITS64(15, 0)  /* second word */
#define VTD_IRTE_SQ          BITS64(17, 16)
#define VTD_IRTE_SVT         BITS64(19, 18)
#define VTD_IRTE_POSTED_HIGH BITS64(63, 32)
#define VTD_SVT_SID          1u /* the source has to be SID, in all bits with SQ 0 */

/* VT-d 5.1.2: messages that are remapped, and redirection entries of an IOAPIC */
#define VTD_MSG_SHV      BIT32(3) /* the low half of the data is added to the index */
#define VTD_MSG_FORMAT   BIT32(4)
#define VTD_MSG_INDEX    BITS32(19, 5)
#define VTD_MSG_INDEX_15 BIT32(2)
#define VTD_RTE_VECTOR   BITS64(7, 0)
#define VTD_RTE_INDEX_15 BIT64(11)
#define VTD_RTE_LOW      BIT64(13)
#define VTD_RTE_LEVEL    BIT64(15)
#define VTD_RTE_FORMAT   BIT64(48)
#define VTD_RTE_INDEX    BITS64(63, 49)

/* VT-d 6.5.2: descriptors, two words */
enum { VTD_INV_CONTEXT = 1, VTD_INV_IOTLB, VTD_INV_DEVICE, VTD_INV_IEC, VTD_INV_WAIT };
#define VTD_INV_TYPE      BITS64(3, 0) /* first word of all */
#define VTD_INV_G         BITS64(5, 4) /* of contexts and IOTLB */
#define VTD_INV_G_GLOBAL  1
#define VTD_INV_G_DOMAIN  2
#define VTD_INV_G_CLOSEST 3 /* device, page */
#define VTD_INV_DID       BITS64(31, 16)
#define VTD_INV_SID       BITS64(47, 32)
#define VTD_INV_DW        BIT64(6) /* drain */
#define VTD_INV_DR        BIT64(7)
#define VTD_INV_AM        BITS64(5, 0) /* second word of IOTLB */
#define VTD_INV_IEC_ONE   BIT64(4)
#define VTD_INV_IEC_INDEX BITS64(47, 32)
#define VTD_INV_WAIT_SW   BIT64(5) /* writes its data to an address */
#define VTD_INV_WAIT_DATA BITS64(63, 32)

#endif
