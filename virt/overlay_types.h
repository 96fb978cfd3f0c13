/* SPDX-License-Identifier: MIT */
/* The part of overlay.h that objects are made of: apart, since partition.h needs it. */
#ifndef VIRT_OVERLAY_TYPES_H
#define VIRT_OVERLAY_TYPES_H

#include <hv/types.h>

/* A page that stands in front of the client's memory; embedded in its user. All zero: not placed. Under
 * partition.mutex. */
struct overlay {
    struct overlay *next; /* of those that are placed, the last one first */
    hv_gpa_t gpa;
    void *page; /* a host page; NULL: a hole */
    unsigned rights;
    bool is_placed;
};

#endif
