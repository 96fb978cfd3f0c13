/* SPDX-License-Identifier: MIT */
/* Segments, selectors and exception vectors: facts of the architecture, no code. */
#ifndef ARCH_BITS_SEG_H
#define ARCH_BITS_SEG_H

#include <hv/base/bits.h>

/* SDM 3A 3.4.2: selectors */
#define SEL_RPL   BITS64(1, 0)
#define SEL_TI    BIT64(2) /* 1: LDT */
#define SEL_INDEX BITS64(15, 3)

/* SDM 3A 3.4.5: a descriptor's attributes as WHP packs them in 16 bits; bits 15:0 of VMX access rights are the same */
#define SEG_TYPE     BITS64(3, 0)
#define SEG_S        BIT64(4) /* 1: code or data, 0: system */
#define SEG_DPL      BITS64(6, 5)
#define SEG_P        BIT64(7)
#define SEG_RESERVED BITS64(11, 8)
#define SEG_AVL      BIT64(12)
#define SEG_L        BIT64(13)
#define SEG_DB       BIT64(14)
#define SEG_G        BIT64(15)

/* SDM 3A 3.4.5.1: the type's bits for code and data segments */
#define SEG_TYPE_ACCESSED   BIT64(0)
#define SEG_TYPE_WRITE      BIT64(1) /* data */
#define SEG_TYPE_READ       BIT64(1) /* code */
#define SEG_TYPE_EXPAND     BIT64(2) /* data: expand down */
#define SEG_TYPE_CONFORMING BIT64(2) /* code */
#define SEG_TYPE_CODE       BIT64(3)

/* SDM 3A 3.5: system descriptor types */
#define SEG_TYPE_TSS16_AVAIL 1u
#define SEG_TYPE_LDT         2u
#define SEG_TYPE_TSS16_BUSY  3u
#define SEG_TYPE_CALL16      4u
#define SEG_TYPE_TASK_GATE   5u
#define SEG_TYPE_INTR16      6u
#define SEG_TYPE_TRAP16      7u
#define SEG_TYPE_TSS_AVAIL   9u /* 32 or 64 bits */
#define SEG_TYPE_TSS_BUSY    11u
#define SEG_TYPE_CALL        12u
#define SEG_TYPE_INTR        14u
#define SEG_TYPE_TRAP        15u

/* whole attribute words */
#define SEG_ATTR_REAL_CODE 0x009bu /* also what reset leaves */
#define SEG_ATTR_REAL_DATA 0x0093u
#define SEG_ATTR_CODE32    0xc09bu
#define SEG_ATTR_DATA32    0xc093u
#define SEG_ATTR_CODE64    0xa09bu
#define SEG_ATTR_V8086     0x00f3u
#define SEG_ATTR_LDT       0x0082u
#define SEG_ATTR_TSS_BUSY  0x008bu

/* SDM 3A 6.3.1: exceptions */
#define VEC_DE  0u
#define VEC_DB  1u
#define VEC_NMI 2u
#define VEC_BP  3u
#define VEC_OF  4u
#define VEC_BR  5u
#define VEC_UD  6u
#define VEC_NM  7u
#define VEC_DF  8u
#define VEC_TS  10u
#define VEC_NP  11u
#define VEC_SS  12u
#define VEC_GP  13u
#define VEC_PF  14u
#define VEC_MF  16u
#define VEC_AC  17u
#define VEC_MC  18u
#define VEC_XM  19u
#define VEC_VE  20u
#define VEC_CP  21u
#define VEC_HV  28u /* AMD */
#define VEC_VC  29u /* AMD */
#define VEC_SX  30u /* AMD */

/* the exceptions that push an error code */
#define VEC_ERROR_CODE_MASK                                                                                          \
    (BIT32(VEC_DF) | BIT32(VEC_TS) | BIT32(VEC_NP) | BIT32(VEC_SS) | BIT32(VEC_GP) | BIT32(VEC_PF) | BIT32(VEC_AC) | \
     BIT32(VEC_CP))
/* SDM 3A 6.15: the contributory ones, for the double-fault rule */
#define VEC_CONTRIBUTORY_MASK (BIT32(VEC_DE) | BIT32(VEC_TS) | BIT32(VEC_NP) | BIT32(VEC_SS) | BIT32(VEC_GP))

/* SDM 3A 6.13: error code of exceptions about a descriptor */
#define SEL_ERROR_EXT BIT64(0)
#define SEL_ERROR_IDT BIT64(1)
#define SEL_ERROR_TI  BIT64(2)

#endif
