/* SPDX-License-Identifier: MIT */
/*
 * A disk with an NVMe controller (NVM Express 1.4) that is passed to a partition: its queues lie in the guest's memory,
 * its MSI-X table is the guest's virtual one. The test does what the guest's driver would do to set it up; from then on
 * the guest's handler (tests/guests/nvme.asm) takes what is completed and submits the next commands.
 *
 * Queue q, from 1 on, has interrupts of MSI-X entry q. With one command under way at a time, each has an interrupt of
 * its own.
 */
#ifndef NVME_H
#define NVME_H

#include "apic.h"
#include "passed.h"

#define NVME_QUEUES    4u /* for I/O: 1 to 4 */
#define NVME_DEPTH     16u
#define NVME_REGISTERS 0x180000u /* where the guest has them: its page tables go further than its memory */
#define NVME_VECTOR    0x50u     /* vectors from here on have the number of a queue in their low 4 bits */

/* What the guest's handler knows of a queue. */
struct nvme_queue {
    uint64_t sq, cq, sq_bell, cq_bell;
    uint32_t tail, head, phase;
    volatile uint32_t left; /* to be submitted by handlers, one for each that is completed */
    volatile uint32_t done, none,
        failed;             /* completed; interrupts without anything completed; completed with an error */
    volatile uint32_t busy; /* in a handler */
};

struct nvme {
    struct hv_pci_address address;
    struct passed device;
    struct vm *vm;
    volatile uint32_t *registers;
    uint32_t msix, entries, table, pba; /* the capability; how many; offsets in BAR 0 */
    uint32_t stride;                    /* of doorbells, in bytes */
    uint32_t admin;                     /* commands so far */
    bool is_unsafe;  /* passed only by the flag that says so: the IOMMU remaps no interrupts, or there is none */
    uint64_t memory; /* what is added to guest addresses for DMA: without an IOMMU it has the host's */
};

/* The first one. NULL, or why there is none. */
const char *nvme_find(struct nvme *n);
extern const struct apic_mode nvme_mode; /* of machines that may be given one */

/* To the machine, which has memory and VP 0; its registers are mapped into the guest. False: the test has failed. */
bool nvme_give(struct nvme *n, struct vm *vm);
void nvme_take(struct nvme *n);

/* MSI-X on, each entry masked; the controller ready, with its queues. */
bool nvme_start(struct nvme *n);

/* The function level reset that the guest can ask for: off, and as it was given. */
void nvme_reset(const struct nvme *n);

/* One command of the administration's, whose completion is waited for: any that does nothing. Entry 0 has its
 * interrupt. */
bool nvme_admin(struct nvme *n);

struct nvme_queue *nvme_queue(const struct nvme *n, uint32_t q);
void nvme_read_to(const struct nvme *n, uint32_t q, uint64_t address); /* where the reads of this queue go, by DMA */
/* Reads a block; handlers repeat that `again` times. */
void nvme_submit(const struct nvme *n, uint32_t q, uint32_t again);
/* How many have been completed that no handler has taken. */
uint32_t nvme_untaken(const struct nvme *n, uint32_t q);

/* The guest's MSI-X table and pending bits. */
void nvme_set_message(const struct nvme *n, uint32_t entry, uint64_t address, uint32_t data);
void nvme_aim(const struct nvme *n, uint32_t entry, uint32_t vp, uint32_t vector);
void nvme_move(const struct nvme *n, uint32_t entry, uint32_t vp); /* the vector stays: one write */
void nvme_mask(const struct nvme *n, uint32_t entry, bool is_masked);
void nvme_mask_all(const struct nvme *n, bool is_masked); /* by the function's mask */
bool nvme_pending(const struct nvme *n, uint32_t entry);

#endif
