/* SPDX-License-Identifier: MIT */
/*
 * What tests of hostile guests share: the guest with its device, another guest that goes on all the time, and a vector
 * of the host's that nobody may raise.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include "attack_disk.h"
#include "forward.h"
#include "runner.h"
#include "test.h"

struct attack {
    struct vm vm; /* the attacker */
    struct forward d;
    struct vm other;
    struct runner bystander; /* of other */
    uint8_t vector;          /* the host's */
    volatile uint32_t arrived;
};

bool attack_find_edu(struct hv_pci_address *a); /* one that can be reset */

/*
 * The other guest runs, the attacker has its device, mapped, in its hands, and local APICs. False: the test has failed.
 * attack_end takes what is there of it, and checks that host and other guest still do what they did, and that no
 * interrupt has come that was not the guest's.
 */
bool attack_begin(struct attack *at, const struct hv_pci_address *a);
void attack_end(struct attack *at);

/* The same in two: without the attacker, whose partition is made and deleted as often as is wanted. */
bool attack_begin_others(struct attack *at);
bool attack_take_device(struct attack *at, const struct hv_pci_address *a);
void attack_expect_others(struct attack *at);

/* The guest takes interrupts of this vector: handler and count (at VM_DATA + 8). */
void attack_take_interrupts(struct attack *at, uint8_t vector);
uint32_t attack_taken(struct attack *at);

/* The edu device's registers, as the guest reaches them. */
#define EDU_SOURCE (FORWARD_BAR + 0x80)
#define EDU_TARGET (FORWARD_BAR + 0x88)
#define EDU_BYTES  (FORWARD_BAR + 0x90)
#define EDU_START  (FORWARD_BAR + 0x98)
#define EDU_INSIDE 0x40000u /* its buffer, by its own addresses */

/* The guest has the device copy so many bytes: out of its buffer, or into it. */
bool attack_copy_out(struct attack *at, uint64_t to, uint32_t bytes);
bool attack_copy_in(struct attack *at, uint64_t from, uint32_t bytes);

#endif
