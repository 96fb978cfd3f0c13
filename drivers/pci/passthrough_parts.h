/* SPDX-License-Identifier: MIT */
/* What the files of passthrough share: a passed device and its parts. */
#ifndef PCI_PASSTHROUGH_PARTS_H
#define PCI_PASSTHROUGH_PARTS_H

#include "passthrough.h"
#include "vmsix.h"
#include <hv/base/lock.h>

#define PASSTHROUGH_CONFIG   256u /* bytes whose bits are known here */
#define PASSTHROUGH_EXTENDED 64u  /* extended capabilities */
#define PASSTHROUGH_RANGES   (PCI_BARS * 5)
#define PASSTHROUGH_VECTORS  128u /* host vectors of one device, at most */

#define VECTORS_PAGE_HOLDS (HV_PAGE_SIZE / sizeof(struct passthrough_vector))
#define VECTORS_PAGES      ((uint32_t)((VMSIX_MAX + VECTORS_PAGE_HOLDS - 1) / VECTORS_PAGE_HOLDS))

/* An extended capability, and what its head reads as. */
struct passthrough_extended {
    uint16_t offset;
    bool is_shown;
    uint32_t head;
};

/* Configuration space below 256, bit by bit: `live` ones are the device's, others are kept in `value`. */
struct passthrough_config {
    uint8_t value[PASSTHROUGH_CONFIG], initial[PASSTHROUGH_CONFIG];
    uint8_t live[PASSTHROUGH_CONFIG];
    uint8_t writable[PASSTHROUGH_CONFIG]; /* of value */
    uint8_t clears[PASSTHROUGH_CONFIG];   /* live ones that a one clears */
    uint8_t quiet[PASSTHROUGH_CONFIG];    /* drivers write these, to no effect: nothing to be told of */
    struct passthrough_extended extended[PASSTHROUGH_EXTENDED];
    uint32_t extended_count, size;
    uint16_t window; /* virtio's window to the BARs: offset of the capability; 0: none */
    uint64_t told;   /* bit n: a write to word n was blocked, and told; 63: or to one beyond them */
    uint32_t told_count;
};

enum passthrough_mode { PASSTHROUGH_NO_INTERRUPTS, PASSTHROUGH_MSI, PASSTHROUGH_MSIX };

/*
 * (g) passthrough.c's lock, (c) constant while it is assigned, (l) its own lock, (s) its spin lock; writers of the
 * models hold both, readers one of them.
 */
struct passthrough_device {
    struct passthrough_device *next;     /* (g) */
    const struct pci_device *pci;        /* (c) */
    const struct passthrough_ops *ops;   /* (c) */
    const void *client;                  /* (c) */
    void *owner;                         /* (c) */
    bool is_confined, is_remapped;       /* (c) its DMA, its interrupts */
    bool is_on, is_claimed, is_assigned; /* (g) it uses the IOMMU; its group is blocked; it is all there */
    bool is_at_rest;                     /* (g) a reset has ended whatever it did for somebody else */
    struct iommu_domain *domain;         /* (g) NULL: blocked */

    struct hv_mutex lock;
    struct passthrough_config config;                /* (l) */
    uint32_t power;                                  /* (l) as set by the client */
    bool is_broken;                                  /* (l) a reset failed: no DMA until one does not */
    void *bars[PCI_BARS];                            /* (l) NULL: not mapped */
    struct hv_vpci_range ranges[PASSTHROUGH_RANGES]; /* (l) */

    struct hv_spin models;
    struct vmsix msix;                                 /* (s) */
    struct vmsi msi;                                   /* (s) */
    enum passthrough_mode mode;                        /* (s) what the vectors are for */
    struct passthrough_vector *vectors[VECTORS_PAGES]; /* (l) */
    struct iommu_irq msi_irq;                          /* (l) all messages */
    uint32_t active;                                   /* (l) vectors that are */
    bool is_starved;                                   /* (l) said that there are no vectors left */
};

void passthrough_log(const struct pci_device *pci, enum hv_log_level level, const char *text);

/* passthrough_config.c */
enum hv_status passthrough_config_init(struct passthrough_device *d); /* HV_E_UNSUPPORTED (logged) */
void passthrough_config_reset(struct passthrough_device *d);
void passthrough_config_apply(
    struct passthrough_device *d); /* the device's command and control words as they should be */

/* passthrough_power.c */
bool passthrough_in_d0(const struct passthrough_device *d);
void passthrough_power_changed(struct passthrough_device *d, uint32_t before); /* the guest wrote it: from this one */
void passthrough_reset_function(struct passthrough_device *d);                 /* as the guest asked */

/* passthrough_bar.c; d's lock is held */
bool passthrough_bar_access(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                            bool is_write);
void *passthrough_bar_at(struct passthrough_device *d, uint32_t bar, uint64_t offset); /* NULL: can not be mapped */
void passthrough_bar_exit(struct passthrough_device *d);
uint64_t passthrough_table_size(const struct pci_device *pci);
uint64_t passthrough_pba_size(const struct pci_device *pci);

/* passthrough_irq.c; d's lock is held */
enum hv_status passthrough_irq_init(struct passthrough_device *d);
void passthrough_irq_exit(struct passthrough_device *d);
void passthrough_irq_reset(struct passthrough_device *d);    /* the models too: as after a reset */
void passthrough_irq_mask_all(struct passthrough_device *d); /* the device's own table */
void passthrough_irq_write_msi(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value);
void passthrough_irq_write_control(struct passthrough_device *d, uint16_t value); /* MSI-X's */
void passthrough_irq_write_table(struct passthrough_device *d, uint32_t offset, uint32_t size, uint64_t value);
uint32_t passthrough_irq_active(void); /* of all devices */
uint32_t passthrough_irq_entries(void);

#endif
