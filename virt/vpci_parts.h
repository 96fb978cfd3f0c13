/* SPDX-License-Identifier: MIT */
/* What the files of a partition's devices share. */
#ifndef VIRT_VPCI_PARTS_H
#define VIRT_VPCI_PARTS_H

#include "gpa.h"
#include "vpci.h"
#include <pci/passthrough.h>

/*
 * Fields marked
 *   (c) are constant from its creation on,
 *   (m) belong to its mutex,
 *   (a) are atomic.
 */
struct vpci_device {
    struct vpci_entry entry;        /* (c) the logical device id */
    struct hv_partition *partition; /* (c) */
    uint32_t flags;                 /* (c) HV_VPCI_* */
    volatile uint32_t references;   /* (a) 1 + users, with VPCI_DYING when somebody waits for their end */
    struct hv_mutex mutex;
    struct vpci_table interrupts;              /* (m) for changes; for readers see vpci_table.h */
    struct hv_host_event *event;               /* (c) NULL: none */
    volatile uint32_t notifications;           /* (a) bit n: enum hv_vpci_notification n is queued */
    struct passthrough_device *pci;            /* (c) NULL: a software device */
    bool reaches_memory;                       /* (c) it is one of the domain's users */
    volatile uint32_t power;                   /* (m) to change, (a) to read: 0 (D0) to 3 */
    struct hv_vpci_range *ranges;              /* (m) NULL: not mapped */
    uint32_t range_count;                      /* (m) */
    volatile uint32_t is_removed;              /* (a) the device has gone, and it was told */
    struct gpa_withdrawal withdrawn[PCI_BARS]; /* its end's; size 0: not withdrawn */
};

#define VPCI_DYING (1u << 31)

/* A device that stays until vpci_put. NULL: no such device. */
struct vpci_device *vpci_get(struct hv_partition *p, uint64_t id);
void vpci_put(struct vpci_device *d);

/* One for the client, whose event is signalled. Any context but NMI. */
void vpci_notify(struct vpci_device *d, enum hv_vpci_notification kind);

/* ----- vpci_interrupt.c */
extern const struct passthrough_ops vpci_passthrough_ops; /* the owner is the device */
void vpci_free_interrupts(struct vpci_device *d);         /* nobody raises any */

#endif
