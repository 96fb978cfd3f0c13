/* SPDX-License-Identifier: MIT */
/* Triggers: events whose signals become interrupts: see hv_trigger_create. */
#ifndef VIRT_TRIGGER_H
#define VIRT_TRIGGER_H

#include "partition.h"

void trigger_free_all(struct hv_partition *p); /* the partition's end; its VPs are there still */

#endif
