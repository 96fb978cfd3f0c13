/* SPDX-License-Identifier: MIT */
/* A function's configuration space as it really is, by ECAM of this test's own: whatever a guest believes of it. */
#ifndef PHYSICAL_H
#define PHYSICAL_H

#include <hv/pci.h>
#include <stdbool.h>
#include <stdint.h>

#define PHYSICAL_WORDS 1024u

struct physical {
    uint64_t ecam; /* where it is */
    volatile uint32_t *config;
    uint32_t before[PHYSICAL_WORDS];
    uint32_t free[PHYSICAL_WORDS]; /* bits that may change */
};

bool physical_open(struct physical *p, const struct hv_pci_address *a); /* remembers it. False: there is no ECAM */
void physical_close(struct physical *p);
uint32_t physical_capability(const struct physical *p, uint8_t id);
uint64_t physical_bar(const struct physical *p, uint32_t bar); /* its address */

/*
 * Nothing has changed since it was opened but what devices do themselves (status bits), what a guest may (bus
 * mastering, how it reads memory), and what the library writes of interrupts.
 */
void physical_expect_same(const struct physical *p, const char *after);

#endif
