/* SPDX-License-Identifier: MIT */
/* The part of code.h that VPs are made of: apart, since partition.h needs it. */
#ifndef VIRT_CODE_TYPES_H
#define VIRT_CODE_TYPES_H

#include <arch/backend.h>

/* Pages of code whose instructions exit in turn: a loop, and what handles interrupts. By the page's number. */
#define CODE_WAYS 4u

struct code_way {
    struct vcpu_code place; /* no page: no way is known */
    uint64_t cr3;
    uint64_t mode;   /* VCPU_CODE_* */
    uint32_t groups; /* of registers that `place` points to */
};

#endif
