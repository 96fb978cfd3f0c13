/* SPDX-License-Identifier: MIT */
/*
 * Pages of the guest's code, and what leads there: the instructions that exit are mostly in a few pages, and looking
 * at the entries of the guest's tables again where they were found says as much as another walk, in a few loads.
 */
#ifndef ARCH_CODE_H
#define ARCH_CODE_H

#include <hv/base/bits.h>
#include <hv/types.h>

#define VCPU_CODE_ENTRIES 5 /* of the guest's tables, at most; a PDPTE register is one */

struct vcpu_code_entry {
    const volatile uint64_t *at; /* the aligned word that holds the entry */
    uint64_t value;
};

/*
 * A page of the guest's code, and the entries of its tables on the way there. While they are what they were, and so is
 * what else decides about a translation, the code is there.
 */
struct vcpu_code {
    const uint8_t *page; /* the host's address; NULL: none */
    uint64_t generation; /* of the second-level tables: with another one the pointers here are not good */
    uint32_t groups;     /* of registers that `entry` points to */
    uint8_t size;        /* of the code: 2, 4 or 8 for 16, 32 and 64-bit code */
    unsigned count;
    struct vcpu_code_entry entry[VCPU_CODE_ENTRIES];
};

/* The bits that decide how its address is translated, or-ed together. */
#define VCPU_CODE_CR0  BIT64(31)                         /* PG */
#define VCPU_CODE_CR4  (BIT64(4) | BIT64(5) | BIT64(12)) /* PSE, PAE, LA57 */
#define VCPU_CODE_EFER (BIT64(10) | BIT64(11))           /* LMA, NXE */

/* One that a backend knows. CS, CR3 and the mode are as its control structure has them. */
struct vcpu_code_page {
    const uint8_t *page;
    uint64_t rip; /* of its first byte */
    uint64_t cr3;
    uint64_t cs; /* all that decides about what RIP means, but the base */
    uint64_t cs_base;
    uint64_t mode;
    uint64_t generation; /* VCPU_CODE_NONE: nothing is known */
    struct vcpu_code_entry entry[VCPU_CODE_ENTRIES];
    uint32_t groups;
    uint8_t size;
};

#define VCPU_CODE_NONE  UINT64_MAX /* no generation of second-level tables */
#define VCPU_CODE_PAGES 4u         /* a loop, what it calls, and what handles interrupts */

struct vcpu_code_pages {
    struct vcpu_code_page *last; /* of `page`: where the last instruction was looked for */
    struct vcpu_code_page page[VCPU_CODE_PAGES];
};

#endif
