/* SPDX-License-Identifier: MIT */
/* What the files that implement arch/iommu.h over the kinds of units share. */
#ifndef IOMMU_PARTS_H
#define IOMMU_PARTS_H

#include <arch/iommu.h>

/* The lock guards all state of these files, unless it says otherwise. `backend` is fixed once probing is over. */
struct iommu {
    struct hv_mutex mutex;
    const struct iommu_backend *backend; /* NULL: none */
    volatile bool is_on;                 /* read without the lock by those who hold a user */
    bool remaps_interrupts;
    uint32_t users;
};
extern struct iommu iommu;

/* Probes. False: there is none. */
bool iommu_is_there(void);

/* ------------------------------------------------------------------ iommu_place.c, lock held */

enum hv_status iommu_found(const struct hv_pci_address *requester, bool is_blocked); /* while it is switched on */
enum hv_status iommu_places_on(void); /* has all places programmed. Errors: call iommu_places_off */
void iommu_places_off(void);          /* forgets what is the host's, or blocked */

/* -------------------------------------------------------------------------------- iommu_irq.c */

/* The lock is held for these. */
enum hv_status iommu_irq_alloc_locked(const struct hv_pci_address *requester, uint32_t count, struct iommu_irq *out);
void iommu_irq_free_locked(struct iommu_irq *irq);
void iommu_irq_message_locked(const struct iommu_irq *irq, uint32_t n, struct hv_msi_message *out);
void iommu_irqs_off(void); /* all have been freed */

/* ------------------------------------------------------------------------------------ remap.c */

void iommu_remap_off(void);     /* frees the host's. The lock is held */
void iommu_remap_changed(void); /* tells the host. No lock is held */

/* ------------------------------------------------------------------------------ iommu_host.c */

extern const struct iommu_backend iommu_host_backend; /* over what hv_iommu_use was given */
bool iommu_host_use(const struct hv_iommu_ops *ops);  /* false: a function is missing */

#endif
