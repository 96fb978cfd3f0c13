/* SPDX-License-Identifier: MIT */
/* Devices of a partition: see hv/pci.h. */
#ifndef VIRT_VPCI_H
#define VIRT_VPCI_H

#include "partition.h"
#include <hv/pci.h>

/* What hv_vpci_request would say, if what it is for is mapped by then. Any context. */
enum hv_status vpci_check_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message);

/* The owner, thread context: with VP_REQUEST_ROUTES, whom the messages of devices are for has changed. */
void vpci_follow(struct hv_vp *vp);

static inline void vpci_follow_address(struct hv_vp *vp)
{
    if (__atomic_load_n(&vp->shared.requests, __ATOMIC_RELAXED) & VP_REQUEST_ROUTES)
        vpci_follow(vp);
}

/* Under vpci.mutex: devices' interrupts go where their messages say now; those for a VP that is no more, to nobody. */
void vpci_follow_all(struct hv_partition *p);

void vpci_free_all(struct hv_partition *p); /* the partition's end: no VP runs, its triggers are gone */

#endif
