/* SPDX-License-Identifier: MIT */
/*
 * A scripted machine's PCI functions, behind an ECAM and the ports CF8h and CFCh of the fake host: drivers/pci/config.c
 * itself is in between. What is not there reads as ones.
 *
 *   struct fake_pci *f = fake_pci_add(0, HV_PCI_BDF(0, 3, 0), 0x1b36, 0x0010, 0x010802);
 *   fake_pci_bar(f, 0, 0xfe000000, 0x4000, FAKE_PCI_BAR_64);
 *   fake_pci_express(f, 0, true);
 *   fake_pci_msix(f, 65, 0, 0x2000, 0, 0x3000);
 *   fake_pci_start(FAKE_PCI_ECAM | FAKE_PCI_PORTS);      (buses 0 to 255 of segment 0)
 *   ... pci_scan(); ... pci_forget();
 *
 * unit.h's set-up forgets all functions.
 */
#ifndef FAKE_PCI_H
#define FAKE_PCI_H

#include <hv/pci.h>

struct fake_pci {
    struct hv_pci_address address;
    uint8_t config[4096];   /* what it reads */
    uint8_t initial[4096];  /* what is there after a reset, where `writable` or `clears` has ones */
    uint8_t writable[4096]; /* bits that a write changes */
    uint8_t clears[4096];   /* bits that a one written clears */
    uint32_t size;          /* 4096; 256: beyond it reads as ones */

    /* offsets of capabilities that react; 0: none */
    uint16_t pm, express, af, bridge_control;
    uint16_t next_cap, next_ext; /* room for the next ones */

    /* resets that it has seen: each puts `initial` back */
    unsigned flrs, af_resets, power_resets, bus_resets;
    uint64_t reset_ns; /* for how long after one it does not answer: reads as ones, writes are lost */
    uint64_t ready_at; /* time of the fake host */
    bool is_pending;   /* its "transactions pending" bits */
    bool is_gone;      /* does not answer */
    bool is_held;      /* its bus is in reset */
    bool has_no_power; /* in D3hot; configuration space answers nevertheless */
    uint64_t writes;   /* of configuration space, so far */

    /* before a read; after a write has had its effect */
    void (*on_read)(struct fake_pci *f, uint32_t offset, uint32_t size);
    void (*on_write)(struct fake_pci *f, uint32_t offset, uint32_t size, uint32_t value);
    void (*on_reset)(struct fake_pci *f); /* after it */
    void *arg;
};

#define FAKE_PCI_ECAM  (1u << 0) /* with an MCFG for buses 0 to 255 of the segments that have functions */
#define FAKE_PCI_PORTS (1u << 1) /* segment 0 */

/* Header layout 0; class is base class, subclass, programming interface. Segments 0 to 3. */
struct fake_pci *fake_pci_add(uint16_t segment, uint16_t bdf, uint16_t vendor, uint16_t device, uint32_t class);
struct fake_pci *fake_pci_find(uint16_t segment, uint16_t bdf);
void fake_pci_start(uint32_t flags);
void fake_pci_ecam(uint16_t segment, hv_hpa_t base); /* all of a segment, of which no MCFG tells */

/* Values as the hardware has them; the guest's side can not change them, and a reset does not. */
void fake_pci_set(struct fake_pci *f, uint32_t offset, uint32_t size, uint32_t value);
uint32_t fake_pci_get(const struct fake_pci *f, uint32_t offset, uint32_t size);
void fake_pci_let(struct fake_pci *f, uint32_t offset, uint32_t size, uint32_t mask); /* these bits are writable */

#define FAKE_PCI_BAR_IO       (1u << 0)
#define FAKE_PCI_BAR_64       (2u << 1)
#define FAKE_PCI_BAR_PREFETCH (1u << 3)
#define FAKE_PCI_BAR_ROM      6 /* as its number */
/* Any size, also none and odd ones: the writable bits are those above size - 1. */
void fake_pci_bar(struct fake_pci *f, uint32_t bar, uint64_t address, uint64_t size, uint32_t flags);

/* A capability of this many bytes with its two (four) of head, zero but for them; returns its offset. */
uint16_t fake_pci_capability(struct fake_pci *f, uint8_t id, uint32_t size);
uint16_t fake_pci_extended(struct fake_pci *f, uint16_t id, uint32_t size);
uint16_t fake_pci_pm(struct fake_pci *f, bool no_soft_reset);
uint16_t fake_pci_express(struct fake_pci *f, uint32_t port_type, bool has_flr); /* the specification's: 0 endpoint */
uint16_t fake_pci_af(struct fake_pci *f);
uint16_t fake_pci_msi(struct fake_pci *f, uint32_t count, bool is_64bit, bool has_mask);
uint16_t fake_pci_msix(struct fake_pci *f, uint32_t count, uint32_t table_bar, uint32_t table_offset, uint32_t pba_bar,
                       uint32_t pba_offset);
uint16_t fake_pci_acs(struct fake_pci *f, uint16_t capable, uint16_t control);

/*
 * Header layout 1. Resetting its secondary bus resets what is on buses secondary to last. It forwards everything, until
 * fake_pci_window changes one of its windows: PCI_BRIDGE_IO, PCI_BRIDGE_MEMORY or PCI_BRIDGE_PREFETCH.
 */
void fake_pci_bridge(struct fake_pci *f, uint8_t secondary, uint8_t last);
void fake_pci_window(struct fake_pci *f, uint32_t offset, uint64_t first, uint64_t last);

/* Accesses so far, by ECAM and by ports. */
struct fake_pci_counts {
    uint64_t ecam_reads, ecam_writes, port_reads, port_writes;
};
struct fake_pci_counts fake_pci_counts(void);

void fake_pci_reset(void);

#endif
