/* SPDX-License-Identifier: MIT */
/* The part of exit_mov.h that VPs are made of: apart, since partition.h needs it. */
#ifndef VIRT_EXIT_MOV_TYPES_H
#define VIRT_EXIT_MOV_TYPES_H

#include <hv/mov.h>

/* Moves that were decoded, each where its bytes say. A loop's, a handler's, those of some devices. */
#define EXIT_MOVS 8u

/* All zero: none. */
struct exit_mov {
    uint64_t bytes[HV_INSTRUCTION_BYTES_MAX / sizeof(uint64_t)]; /* from its first one on, with what follows */
    unsigned code_size;                                          /* 0: none */
    uint32_t groups;                                             /* of the registers that make its address */
    bool has_base;                                               /* the segment's counts */
    struct hv_mov mov;
};

#endif
