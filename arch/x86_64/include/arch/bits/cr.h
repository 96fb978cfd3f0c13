/* SPDX-License-Identifier: MIT */
/* Control, debug and flags registers: facts of the architecture, no code. */
#ifndef ARCH_BITS_CR_H
#define ARCH_BITS_CR_H

#include <hv/base/bits.h>

/* SDM 3A 2.5: CR0 */
#define CR0_PE BIT64(0)  /* protection enable */
#define CR0_MP BIT64(1)  /* monitor coprocessor */
#define CR0_EM BIT64(2)  /* emulation */
#define CR0_TS BIT64(3)  /* task switched */
#define CR0_ET BIT64(4)  /* extension type, always 1 */
#define CR0_NE BIT64(5)  /* numeric error */
#define CR0_WP BIT64(16) /* write protect */
#define CR0_AM BIT64(18) /* alignment mask */
#define CR0_NW BIT64(29) /* not write-through */
#define CR0_CD BIT64(30) /* cache disable */
#define CR0_PG BIT64(31) /* paging */

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR0_RESET   (CR0_CD | CR0_NW | CR0_ET) /* SDM 3A table 10-1: 0x60000010 */

/* SDM 3A 2.5: CR3 */
#define CR3_PWT       BIT64(3)
#define CR3_PCD       BIT64(4)
#define CR3_PCID      BITS64(11, 0)
#define CR3_PAE_BASE  BITS64(31, 5)
#define CR3_PAGE_BASE BITS64(51, 12)
#define CR3_LAM_U57   BIT64(61)
#define CR3_LAM_U48   BIT64(62)
#define CR3_NO_FLUSH  BIT64(63)

/* SDM 3A 2.5: CR4 */
#define CR4_VME        BIT64(0)
#define CR4_PVI        BIT64(1)
#define CR4_TSD        BIT64(2)
#define CR4_DE         BIT64(3)
#define CR4_PSE        BIT64(4)
#define CR4_PAE        BIT64(5)
#define CR4_MCE        BIT64(6)
#define CR4_PGE        BIT64(7)
#define CR4_PCE        BIT64(8)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP       BIT64(11)
#define CR4_LA57       BIT64(12)
#define CR4_VMXE       BIT64(13)
#define CR4_SMXE       BIT64(14)
#define CR4_FSGSBASE   BIT64(16)
#define CR4_PCIDE      BIT64(17)
#define CR4_OSXSAVE    BIT64(18)
#define CR4_KL         BIT64(19)
#define CR4_SMEP       BIT64(20)
#define CR4_SMAP       BIT64(21)
#define CR4_PKE        BIT64(22)
#define CR4_CET        BIT64(23)
#define CR4_PKS        BIT64(24)
#define CR4_UINTR      BIT64(25)
#define CR4_LAM_SUP    BIT64(28)
#define CR4_FRED       BIT64(32)

/* the bits whose change flushes the TLB, or changes how the PDPTEs are read (SDM 3A 4.4.1, 4.10.4.1) */
#define CR0_PAGING_BITS (CR0_PG | CR0_CD | CR0_NW | CR0_WP)
#define CR4_PAGING_BITS (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57)

/* SDM 3A 10.8.6: CR8 */
#define CR8_TPR BITS64(3, 0)

/* SDM 3A 2.3: RFLAGS */
#define RFLAGS_CF    BIT64(0)
#define RFLAGS_FIXED BIT64(1) /* always 1 */
#define RFLAGS_PF    BIT64(2)
#define RFLAGS_AF    BIT64(4)
#define RFLAGS_ZF    BIT64(6)
#define RFLAGS_SF    BIT64(7)
#define RFLAGS_TF    BIT64(8)
#define RFLAGS_IF    BIT64(9)
#define RFLAGS_DF    BIT64(10)
#define RFLAGS_OF    BIT64(11)
#define RFLAGS_IOPL  BITS64(13, 12)
#define RFLAGS_NT    BIT64(14)
#define RFLAGS_RF    BIT64(16)
#define RFLAGS_VM    BIT64(17)
#define RFLAGS_AC    BIT64(18)
#define RFLAGS_VIF   BIT64(19)
#define RFLAGS_VIP   BIT64(20)
#define RFLAGS_ID    BIT64(21)

#define RFLAGS_ARITH    (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define RFLAGS_RESERVED (BITS64(63, 22) | BIT64(15) | BIT64(5) | BIT64(3)) /* must be 0 */

/* SDM 3B 18.2.3: DR6 */
#define DR6_B0       BIT64(0)
#define DR6_B1       BIT64(1)
#define DR6_B2       BIT64(2)
#define DR6_B3       BIT64(3)
#define DR6_BP       BITS64(3, 0)
#define DR6_BLD      BIT64(11) /* bus lock, active low */
#define DR6_BD       BIT64(13)
#define DR6_BS       BIT64(14)
#define DR6_BT       BIT64(15)
#define DR6_RTM      BIT64(16) /* active low */
#define DR6_RESET    0xffff0ff0ull
#define DR6_RESERVED BITS64(63, 32)

/* SDM 3B 18.2.4: DR7 */
#define DR7_L0       BIT64(0)
#define DR7_G0       BIT64(1)
#define DR7_L1       BIT64(2)
#define DR7_G1       BIT64(3)
#define DR7_L2       BIT64(4)
#define DR7_G2       BIT64(5)
#define DR7_L3       BIT64(6)
#define DR7_G3       BIT64(7)
#define DR7_ENABLES  BITS64(7, 0)
#define DR7_LE       BIT64(8)
#define DR7_GE       BIT64(9)
#define DR7_FIXED    BIT64(10) /* always 1 */
#define DR7_RTM      BIT64(11)
#define DR7_GD       BIT64(13)
#define DR7_RW0      BITS64(17, 16)
#define DR7_LEN0     BITS64(19, 18)
#define DR7_RW1      BITS64(21, 20)
#define DR7_LEN1     BITS64(23, 22)
#define DR7_RW2      BITS64(25, 24)
#define DR7_LEN2     BITS64(27, 26)
#define DR7_RW3      BITS64(29, 28)
#define DR7_LEN3     BITS64(31, 30)
#define DR7_RESET    0x400ull
#define DR7_RESERVED BITS64(63, 32)

/* SDM 3A 2.6 and 1 13.1: XCR0 (and IA32_XSS, where "XSS" says so) */
#define XCR0_X87       BIT64(0)
#define XCR0_SSE       BIT64(1)
#define XCR0_AVX       BIT64(2)
#define XCR0_BNDREGS   BIT64(3)
#define XCR0_BNDCSR    BIT64(4)
#define XCR0_OPMASK    BIT64(5)
#define XCR0_ZMM_HI256 BIT64(6)
#define XCR0_HI16_ZMM  BIT64(7)
#define XSS_PT         BIT64(8)
#define XCR0_PKRU      BIT64(9)
#define XSS_PASID      BIT64(10)
#define XSS_CET_U      BIT64(11)
#define XSS_CET_S      BIT64(12)
#define XSS_HDC        BIT64(13)
#define XSS_UINTR      BIT64(14)
#define XSS_LBR        BIT64(15)
#define XSS_HWP        BIT64(16)
#define XCR0_TILECFG   BIT64(17)
#define XCR0_TILEDATA  BIT64(18)
#define XCR0_APX       BIT64(19)
#define XCR0_AVX512    (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define XCR0_MPX       (XCR0_BNDREGS | XCR0_BNDCSR)
#define XCR0_AMX       (XCR0_TILECFG | XCR0_TILEDATA)

/* SDM 3A 7.15, 4.7: page-fault error code */
#define PFEC_PRESENT BIT64(0)
#define PFEC_WRITE   BIT64(1)
#define PFEC_USER    BIT64(2)
#define PFEC_RSVD    BIT64(3)
#define PFEC_FETCH   BIT64(4)
#define PFEC_PK      BIT64(5)
#define PFEC_SS      BIT64(6)

/* SDM 3A 4.3 to 4.5: paging-structure entries as the guest's own page tables have them */
#define PTE_P    BIT64(0)
#define PTE_RW   BIT64(1)
#define PTE_US   BIT64(2)
#define PTE_PWT  BIT64(3)
#define PTE_PCD  BIT64(4)
#define PTE_A    BIT64(5)
#define PTE_D    BIT64(6)
#define PTE_PS   BIT64(7)
#define PTE_G    BIT64(8)
#define PTE_ADDR BITS64(51, 12)
#define PTE_PK   BITS64(62, 59)
#define PTE_XD   BIT64(63)

/* SDM 3A 4.4.1: PDPTE of PAE paging; reserved are also the bits from MAXPHYADDR up */
#define PDPTE_RESERVED (BITS64(2, 1) | BITS64(8, 5))

#endif
