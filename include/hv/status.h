/* SPDX-License-Identifier: MIT */
/* Result codes of the native API. virt/whp/status.c turns them into HRESULTs. */
#ifndef HV_STATUS_H
#define HV_STATUS_H

/*
 * A function that can fail returns one of these. Everything but HV_OK means that nothing was changed, unless the
 * function's own comment says otherwise.
 */
enum hv_status {
    HV_OK = 0,
    HV_E_INVALID,          /* an argument is out of range, unaligned or inconsistent */
    HV_E_NO_MEMORY,        /* the host gave no memory */
    HV_E_NOT_PRESENT,      /* this machine cannot run virtual processors (see hv_platform) */
    HV_E_UNSUPPORTED,      /* this CPU or this build lacks what was asked for */
    HV_E_STATE,            /* not allowed in the partition's present state (order of calls) */
    HV_E_CONFIG,           /* the partition's properties are incomplete or contradict each other */
    HV_E_VP_NOT_FOUND,     /* no virtual processor with this index */
    HV_E_VP_EXISTS,        /* a virtual processor with this index is there already */
    HV_E_VP_BUSY,          /* the virtual processor is running, or in another call */
    HV_E_REGISTER_NAME,    /* no such register, or this CPU does not have it */
    HV_E_REGISTER_VALUE,   /* the register cannot hold this value */
    HV_E_GPA_NOT_FOUND,    /* no mapping in the guest-physical range */
    HV_E_ACCESS_DENIED,    /* guest-physical memory not mapped, or mapped without the right asked for */
    HV_E_BUFFER_TOO_SMALL, /* the caller's buffer; the size needed is reported */
    HV_E_UNKNOWN_PROPERTY, /* no such property or capability code */
    HV_E_IN_USE,           /* what the call would fill is full: try again when it is free */
    HV_E_SYNIC_STATE,      /* the guest has not enabled what the message or event is for */
    HV_E_CONFLICT,         /* overlaps what is there already */
    HV_E_NOT_FOUND,        /* nothing there that matches */
    HV_E_DEVICE,           /* no such device */
    HV_E_STATUS_COUNT
};

#endif
