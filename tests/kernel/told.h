/* SPDX-License-Identifier: MIT */
/*
 * What the library has told in its log since a test began to listen, and what the machine's IOMMU can be expected to
 * tell and to block.
 */
#ifndef TOLD_H
#define TOLD_H

#include <hv/pci.h>
#include <stdbool.h>
#include <stdint.h>

void told_start(void); /* listens, from nothing on */
void told_stop(void);
void told_forget(void);

/* A line that begins with this is there, or comes soon. */
bool told_expect_line(const char *text);
/* The same, with the function's address before it. */
bool told_expect(const struct hv_pci_address *a, const char *what);
/* "DMA read of" or "DMA write to" this address was blocked. */
void told_expect_dma(const struct hv_pci_address *a, const char *kind, uint64_t address);
void told_expect_interrupt(const struct hv_pci_address *a); /* one was blocked */

/*
 * QEMU's emulation of Intel's units lets messages in the format without remapping through, although compatibility
 * format is off; it records faults of DMA, but none of interrupts. That of AMD's units blocks all that it has to, and
 * records nothing. Both do not know which device a message comes from that is written by DMA: Intel's takes it for
 * anybody's, AMD's for the IOAPIC's.
 */
bool told_is_lax(void);

#define SKIP_IF_LAX(text)           \
    do {                            \
        if (told_is_lax())          \
            SKIP("QEMU: %s", text); \
    } while (0)
#define LETS_PLAIN "VT-d lets compatibility-format interrupts through, with CFIS clear"
#define NO_SENDER  "VT-d does not know which device a message comes from that is written by DMA"

/* Why the machine's IOMMU is not enough for a test; NULL: it is. */
const char *told_missing(bool irqs);

#endif
