/* SPDX-License-Identifier: MIT */
/* The part of code.h that VPs are made of: apart, since partition.h needs it. */
#ifndef VIRT_CODE_TYPES_H
#define VIRT_CODE_TYPES_H

#include <hv/types.h>

#define CODE_WAY_ENTRIES 5 /* of the guest's tables, at most; a PDPTE register is one */

struct code_way {
    const uint8_t *page; /* the host's address of the page of code; NULL: no way is known */
    uint64_t generation; /* partition.npt_generation: with another one the pointers here are not good */
    uint64_t linear;     /* the page */
    uint64_t cr3;
    uint64_t mode;   /* as in struct vcpu_code */
    uint32_t groups; /* of registers that `entry` points to */
    struct code_way_entry {
        const volatile uint64_t *at; /* the aligned word that holds the entry; of those not used: `value` */
        uint64_t value;
    } entry[CODE_WAY_ENTRIES];
};

#endif
