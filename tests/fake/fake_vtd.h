/* SPDX-License-Identifier: MIT */
/*
 * VT-d units of the fake host: registers that react, tables read from memory as hardware does, strict about reserved
 * bits. Caches keep whatever they have seen until they are told to forget it, so whoever forgets to tell them is found
 * out by the next access. Written by the specification, with its own constants.
 *
 * A unit without ECAP.C sees lines as they were last written back by CLFLUSH; to read one that never was, or a page
 * that is free, fails the test.
 */
#ifndef FAKE_VTD_H
#define FAKE_VTD_H

#include "fake.h"

#define FAKE_VTD_RECORDS 4
#define FAKE_VTD_CACHED  4096

/* 4 levels or 3, 2M and 1G, 48 bits, 64K domains, by page up to 2^9, drains, records behind the first page */
#define FAKE_VTD_CAP_TYPICAL                                                                                       \
    (6ull | 6ull << 8 | 47ull << 16 | 0x100ull << 24 | 3ull << 34 | 1ull << 39 | (FAKE_VTD_RECORDS - 1ull) << 40 | \
     9ull << 48 | 3ull << 54)
#define FAKE_VTD_CAP_RWBF     (1ull << 4)
#define FAKE_VTD_CAP_PLMR     (1ull << 5)
#define FAKE_VTD_CAP_CM       (1ull << 7)
#define FAKE_VTD_CAP_PSI      (1ull << 39)
#define FAKE_VTD_CAP_PI       (1ull << 59)
/* coherent, queue, interrupts, x2APIC */
#define FAKE_VTD_ECAP_TYPICAL 0x1bull
#define FAKE_VTD_ECAP_C       (1ull << 0)
#define FAKE_VTD_ECAP_QI      (1ull << 1)
#define FAKE_VTD_ECAP_IR      (1ull << 3)
#define FAKE_VTD_ECAP_EIM     (1ull << 4)

#define FAKE_VTD_TES  (1u << 31)
#define FAKE_VTD_QIES (1u << 26)
#define FAKE_VTD_IRES (1u << 25)
#define FAKE_VTD_CFIS (1u << 23)

struct fake_vtd_context {
    bool is_valid;
    uint16_t sid, id; /* id: the tag, 0 for what is not present */
    uint64_t low, high;
};

struct fake_vtd_page {
    bool is_valid;
    uint16_t id;
    uint64_t address, size, entry; /* entry: with the rights of all levels; 0: not present */
};

struct fake_vtd_irte {
    bool is_valid;
    uint32_t index;
    uint64_t low, high;
};

struct fake_vtd {
    hv_hpa_t base; /* 0: no unit */
    uint64_t cap, ecap;
    unsigned width; /* of physical addresses */

    /* what the test may order */
    bool hangs;         /* the queue does not move */
    bool is_deaf;       /* to commands */
    bool refuses_pages; /* takes invalidations by page for invalid ones */

    /* registers */
    uint32_t gsts, fsts, fectl, fedata, feaddr, feuaddr, pmen;
    uint64_t rtaddr, irta, iqa, iqh, iqt;
    uint64_t records[FAKE_VTD_RECORDS][2];
    uint64_t root, irqs; /* as latched by SRTP, SIRTP */
    unsigned stale;      /* since then, and not forgotten: 1 contexts, 2 pages, 4 remapping entries */
    uint32_t next_record;
    bool irq_pending; /* while interrupts are off */

    /* caches */
    struct fake_vtd_context contexts[FAKE_VTD_CACHED];
    struct fake_vtd_page pages[FAKE_VTD_CACHED];
    struct fake_vtd_irte irtes[FAKE_VTD_CACHED];
    unsigned reads_in_flight, writes_in_flight; /* translated, and not at their memory yet */

    /* all so far */
    uint64_t buffer_flushes, by_page, by_domain;
};

/* What an interrupt became. Posted: the notification that is to be sent, or none. */
struct fake_vtd_interrupt {
    uint8_t vector;
    uint32_t destination;
    bool is_level, is_posted, is_silent;
};

struct fake_vtd *fake_vtd_add(hv_hpa_t base, uint64_t cap, uint64_t ecap);

/* DMA of 8 bytes. True: *pa is where it goes; false: it is blocked, by a fault. */
bool fake_vtd_dma(struct fake_vtd *v, uint16_t sid, uint64_t address, bool is_write, hv_hpa_t *pa);
/* The same, not yet at its memory when this returns. */
bool fake_vtd_dma_slow(struct fake_vtd *v, uint16_t sid, uint64_t address, bool is_write);

/* A message: a write to the interrupt range. True: it becomes an interrupt. */
bool fake_vtd_message(struct fake_vtd *v, uint16_t sid, uint64_t address, uint32_t data,
                      struct fake_vtd_interrupt *out);
/* What an IOAPIC sends for a redirection entry. */
bool fake_vtd_ioapic(struct fake_vtd *v, uint16_t sid, uint64_t entry, struct fake_vtd_interrupt *out);

/* Takes the fault event's interrupt, if it came while interrupts were off. */
void fake_vtd_settle(struct fake_vtd *v);

/* ------------------------------------------------------------- between the parts of the fake */

uint64_t fake_vtd_read(const struct fake_vtd *v, hv_hpa_t pa); /* as the unit reads memory */
void fake_vtd_fault(struct fake_vtd *v, uint16_t sid, uint64_t info, uint8_t reason, bool is_read);
void fake_vtd_page_freed(const void *page);
void fake_vtd_reset(void);
void fake_vtd_assert_clean(void);

#endif
