/* SPDX-License-Identifier: MIT */
/* Formats of second-level tables for tests, written down from the manuals rather than taken from the backends. */
#ifndef NPT_FORMATS_H
#define NPT_FORMATS_H

#include <arch/npt.h>
#include <hv/base/bits.h>

#define EPT_WB        (6ull << 3)
#define EPT_A         BIT64(8)
#define EPT_D         BIT64(9)
#define NPT_P         BIT64(0)
#define NPT_W         BIT64(1)
#define NPT_U         BIT64(2)
#define NPT_A         BIT64(5)
#define NPT_D         BIT64(6)
#define NPT_NX        BIT64(63)
#define FORMAT_LARGE  BIT64(7) /* in both */
#define FORMAT_LEVELS 4
#define FORMAT_PA     BITS64(45, 12)

/* SDM 3C 29.3.2: R W X in bits 0 to 2; neither W nor W+X without R. */
static const struct npt_format format_ept = {
    .name = "EPT",
    .levels = FORMAT_LEVELS,
    .max_leaf_level = 3,
    .present = 7,
    .address = FORMAT_PA,
    .table = 7,
    .leaf = EPT_WB,
    .large = FORMAT_LARGE,
    .rights = {[1] = 1, [3] = 3, [4] = 4, [5] = 5, [7] = 7},
    .rights_mask = 7,
    .accessed = EPT_A,
    .dirty = EPT_D,
    .tracked = BIT64(59),
};

/* APM 2 5.3 and 15.25: nested tables are user pages; whatever is present can be read. */
static const struct npt_format format_npt = {
    .name = "NPT",
    .levels = FORMAT_LEVELS,
    .max_leaf_level = 3,
    .present = NPT_P,
    .address = FORMAT_PA,
    .table = NPT_P | NPT_W | NPT_U,
    .leaf = NPT_U,
    .large = FORMAT_LARGE,
    .rights = {[1] = NPT_P | NPT_NX, [3] = NPT_P | NPT_W | NPT_NX, [5] = NPT_P, [7] = NPT_P | NPT_W},
    .rights_mask = NPT_P | NPT_W | NPT_NX,
    .accessed = NPT_A,
    .dirty = NPT_D,
    .tracked = BIT64(57),
    .gate = NPT_U,
    .gated = 0xfee00000,
};

/* AMD's I/O Virtualization Technology 2.2.3: bits 11:9 are the level of the table that an entry leads to. */
#define AMDVI_NEXT_LEVEL BITS64(11, 9)

static const struct npt_format format_amdvi = {
    .name = "AMD-Vi",
    .levels = FORMAT_LEVELS,
    .max_leaf_level = 3,
    .present = BIT64(0),
    .address = FORMAT_PA,
    .table = BIT64(0) | BIT64(61) | BIT64(62),
    .leaf = BIT64(60),
    .next_level = AMDVI_NEXT_LEVEL,
    .link = BITS64(4, 1),
    .rights = {[1] = BIT64(0) | BIT64(61), [2] = BIT64(0) | BIT64(62), [3] = BIT64(0) | BIT64(61) | BIT64(62)},
    .rights_mask = BIT64(0) | BIT64(61) | BIT64(62),
};

#endif
