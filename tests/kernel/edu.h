/* SPDX-License-Identifier: MIT */
/*
 * QEMU's device for exercises: it copies between memory and a buffer of its own when it is told to, and sends an MSI.
 * A copy takes it a tenth of a second.
 */
#ifndef EDU_H
#define EDU_H

#include "passed.h"

#define EDU_COPY 64u /* bytes of a copy */

struct edu {
    struct hv_pci_address address;
    volatile uint64_t *registers; /* NULL: a partition's */
    struct passed device;
    uint16_t msi; /* offset of the capability */
};

bool edu_open(uint32_t n, struct edu *e); /* the n-th one, as the host's. False: there is none */
bool edu_open_at(struct edu *e);          /* that edu_find has found */
void edu_close(struct edu *e);            /* its DMA and interrupts are off */

bool edu_find(uint32_t n, struct edu *e);                                /* where it is; registers are not there yet */
bool edu_give(struct edu *e, WHV_PARTITION_HANDLE partition, UINT64 id); /* to a partition, which drives it */
void edu_take(struct edu *e);                                            /* back */

bool edu_to_memory(struct edu *e, uint64_t address);   /* from its buffer. False: it does not come to an end */
bool edu_from_memory(struct edu *e, uint64_t address); /* to its buffer */

void edu_set_message(struct edu *e, const struct hv_msi_message *message); /* NULL: none */
void edu_interrupt(struct edu *e);

#endif
