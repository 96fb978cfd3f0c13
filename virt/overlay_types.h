/* SPDX-License-Identifier: MIT */
/* The part of overlay.h that objects are made of: apart, since partition.h needs it. */
#ifndef VIRT_OVERLAY_TYPES_H
#define VIRT_OVERLAY_TYPES_H

#include <arch/npt.h>

/*
 * A page that stands in front of the client's memory; embedded in its user. All zero: not placed. Under
 * partition.mutex. `page`, `rights` and `is_placed` are for its user to read, the rest is overlay.c's.
 */
struct overlay {
    struct npt_cover cover;       /* its place; and what is hidden, while it is the one that shows */
    struct overlay *left, *right; /* of those that show, by address: see overlay.c */
    struct overlay *below;        /* at the same place, placed before this one */
    void *page;                   /* a host page; NULL: a hole */
    hv_hpa_t pa;                  /* its address; HV_HPA_NONE */
    unsigned rights;
    bool is_placed;
};

#endif
