/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi units of the fake host: registers that react, tables read from memory as hardware does, strict about reserved
 * bits. Caches keep whatever they have seen, also what is not there, until they are told to forget it, so whoever
 * forgets to tell them is found out by the next access. Written by the specification, with its own constants.
 */
#ifndef FAKE_AMDVI_H
#define FAKE_AMDVI_H

#include "fake.h"

#define FAKE_AMDVI_CACHED 4096

#define FAKE_AMDVI_EFR_XT      (1ull << 2)
#define FAKE_AMDVI_EFR_IA      (1ull << 6)
#define FAKE_AMDVI_EFR_GA      (1ull << 7)
#define FAKE_AMDVI_EFR_HATS    (2ull << 10) /* 6 levels */
#define FAKE_AMDVI_EFR_TYPICAL (FAKE_AMDVI_EFR_XT | FAKE_AMDVI_EFR_IA | FAKE_AMDVI_EFR_GA | FAKE_AMDVI_EFR_HATS)

#define FAKE_AMDVI_ON  (1ull << 0)
#define FAKE_AMDVI_GA  (1ull << 17)
#define FAKE_AMDVI_XT  (1ull << 50)
#define FAKE_AMDVI_MSI 0x64u /* where its function has the capability */

struct fake_amdvi_device {
    bool is_valid;
    uint16_t device;
    uint64_t words[4];
};

struct fake_amdvi_page {
    bool is_valid;
    uint16_t domain;
    uint64_t address, size, pa;
    bool is_present, reads, writes;
};

struct fake_amdvi_irte {
    bool is_valid;
    uint16_t device;
    uint32_t index;
    uint64_t low, high;
};

struct fake_amdvi {
    hv_hpa_t base; /* 0: no unit */
    uint16_t function;
    uint64_t efr;
    unsigned width; /* of physical addresses */

    /* what the test may order */
    bool hangs;                /* the commands are not looked at */
    uint64_t dislikes;         /* bit n: commands of code n are illegal */
    bool ignores_command_stop; /* the buffer goes on running when it is switched off */

    /* registers */
    uint64_t devtab, cmd_base, evt_base, control, excl_base, excl_limit, xt_evt;
    uint64_t cmd_head, cmd_tail, evt_head, evt_tail, status;
    uint32_t config[64]; /* of its function */
    bool irq_pending;    /* while interrupts are off */

    /* caches */
    struct fake_amdvi_device devices[FAKE_AMDVI_CACHED];
    struct fake_amdvi_page pages[FAKE_AMDVI_CACHED];
    struct fake_amdvi_irte irtes[FAKE_AMDVI_CACHED];

    /* all so far */
    uint64_t commands[16], events, interrupts;
};

/* What an interrupt became. */
struct fake_amdvi_interrupt {
    uint8_t vector;
    uint32_t destination;
    bool is_level, is_remapped;
};

/* One of the machine's, at most four; `function` is a PCI function of segment 0. */
struct fake_amdvi *fake_amdvi_add(hv_hpa_t base, uint16_t function, uint64_t efr);

/* DMA of 8 bytes. True: *pa is where it goes; false: it is blocked, by an event. */
bool fake_amdvi_dma(struct fake_amdvi *v, uint16_t device, uint64_t address, bool is_write, hv_hpa_t *pa);

/* A message: a write to the interrupt range. True: it becomes an interrupt. */
bool fake_amdvi_message(struct fake_amdvi *v, uint16_t device, uint64_t address, uint32_t data,
                        struct fake_amdvi_interrupt *out);
/* What an IOAPIC sends for a redirection entry. */
bool fake_amdvi_ioapic(struct fake_amdvi *v, uint16_t device, uint64_t entry, struct fake_amdvi_interrupt *out);

/* Takes the event interrupt, if it came while interrupts were off. */
void fake_amdvi_settle(struct fake_amdvi *v);

/* ------------------------------------------------------------- between the parts of the fake */

uint64_t fake_amdvi_read(hv_hpa_t pa); /* as the unit reads memory */
void fake_amdvi_event(struct fake_amdvi *v, unsigned code, uint16_t device, uint64_t flags, uint64_t address);
void fake_amdvi_reset(void);
void fake_amdvi_assert_clean(void);

#endif
