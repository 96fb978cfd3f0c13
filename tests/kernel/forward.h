/* SPDX-License-Identifier: MIT */
/*
 * A device of the machine in the hands of a guest, as a VMM gives it: pages of its first BAR that the library gives
 * away are mapped, accesses to the others and to configuration space (ports CF8h and CFCh, and a page of ECAM) are
 * forwarded.
 *
 *     const struct script_op ops[] = {DO_OUT(32, 0xcf8, 0x80000804), DO_OUT(32, 0xcfc, ~0u)};
 *     forward_do(&d, ops, COUNT(ops));
 */
#ifndef FORWARD_H
#define FORWARD_H

#include "passed.h"
#include "vm.h"
#include <stdbool.h>
#include <stdint.h>
#include <whp/WinHvEmulation.h>

#define FORWARD_BAR      0x180000u /* in the guest: behind its memory, inside of its page tables */
#define FORWARD_BAR_SIZE 0x40000u  /* at most */
#define FORWARD_ECAM     0x1c0000u /* its configuration space */
#define FORWARD_SCRIPT   0x80000u  /* the guest's memory from here on holds what it is to do */

struct forward {
    struct hv_pci_address address;
    struct vm *vm;
    struct passed device;
    WHV_EMULATOR_HANDLE emulator;
    uint32_t forwarded; /* accesses to the BAR that came to the VMM */
    uint32_t port;      /* CF8h */
    uint32_t script;    /* operations of it */
};

/* The first of a class (base and sub class, programming interface). */
bool forward_find_class(uint32_t class, struct hv_pci_address *a);

bool forward_open(struct forward *d, const struct hv_pci_address *a, struct vm *vm); /* False: the test has failed */
bool forward_map(struct forward *d);                                                 /* what may be mapped of BAR 0 */
void forward_close(struct forward *d);  /* takes it away, if it is still there */
void forward_forget(struct forward *d); /* the partition is gone, and has taken the device with it */

/* --------------------------------------------------------------------------------- by the guest */

/* tests/guests/script.asm */
struct script_op {
    uint64_t op, address, value, mask;
};

enum {
    SCRIPT_END,
    SCRIPT_WRITE8,
    SCRIPT_WRITE16,
    SCRIPT_WRITE32,
    SCRIPT_WRITE64,
    SCRIPT_OUT8,
    SCRIPT_OUT16,
    SCRIPT_OUT32,
    SCRIPT_READ32,
    SCRIPT_IN32,
    SCRIPT_AWAIT
};

#define DO_WRITE(bits, address, value)        \
    {                                         \
        SCRIPT_WRITE##bits, address, value, 0 \
    }
#define DO_OUT(bits, port, value)        \
    {                                    \
        SCRIPT_OUT##bits, port, value, 0 \
    }
#define DO_AWAIT(address, mask, value)     \
    {                                      \
        SCRIPT_AWAIT, address, value, mask \
    } /* reads 32 bits until they are so */

/* The guest does it, and the VMM forwards. */
bool forward_do(struct forward *d, const struct script_op *ops, uint32_t count);
/* One after the other, into the script; forward_run then runs it. */
void forward_begin(struct forward *d);
void forward_add(struct forward *d, struct script_op op);
bool forward_run(struct forward *d);

#endif
