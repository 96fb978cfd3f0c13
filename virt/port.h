/* SPDX-License-Identifier: MIT */
/* Notification ports: see hv_port_create. port_signal, by which guests reach them, is in hypercall.h. */
#ifndef VIRT_PORT_H
#define VIRT_PORT_H

#include "partition.h"

void port_free_all(struct hv_partition *p); /* the partition's end, before doorbell_free_all; no VP runs */

#endif
