/* SPDX-License-Identifier: MIT */
/*
 * Synthetic MSRs: one table says which there are, which of the partition's SyntheticProcessorFeatures they belong to,
 * and whose they are. Guests reach them by RDMSR and WRMSR, clients by register names.
 */
#ifndef VIRT_SYNTHETIC_H
#define VIRT_SYNTHETIC_H

#include "partition.h"

/* Who accesses. A client may set what only the hypervisor changes, and breaks no rule of order. */
enum synthetic_access { SYNTHETIC_GUEST, SYNTHETIC_CLIENT };

/* Owner, pinned. False: #GP, or for clients a value that the register can not hold; nothing was changed. */
typedef bool synthetic_read_fn(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value);
typedef bool synthetic_write_fn(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value);

bool synthetic_read(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value);
bool synthetic_write(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value);

/* Is there this MSR for this partition's guests? */
bool synthetic_has_msr(const struct hv_partition *p, uint32_t index);

/* synthetic_vp.c: identity, hypercall page, assist page, runtime, APIC and frequency MSRs; their state in struct hv_vp.
 */
enum hv_status synthetic_create(struct hv_partition *p); /* set-up: the hypercall page. HV_E_NO_MEMORY */
void synthetic_destroy(struct hv_partition *p);          /* the overlays are gone; also when it was never created */
enum hv_status synthetic_create_vp(struct hv_vp *vp);    /* its assist page, if it has none yet. HV_E_NO_MEMORY */
void synthetic_destroy_vp(struct hv_vp *vp);             /* like synthetic_destroy */
void synthetic_reset(struct hv_vp *vp); /* with the VP; the hypercall page and the guest's OS ID go with VP 0 */

/*
 * By register name only, for clients: the sequence number of the reference TSC page. Numbers from here on are not
 * those of MSRs.
 */
#define SYNTHETIC_REFERENCE_TSC_SEQUENCE (MSR_HV_LAST + 1)

/* Of an MSR with HV_PAGE_ENABLE: can a page be where it says, by the width of guest-physical addresses? */
static inline bool synthetic_page_is_valid(const struct hv_partition *p, uint64_t value)
{
    return !(value & HV_PAGE_ENABLE) || !((value & HV_PAGE_ADDRESS) >> p->properties.physical_address_width);
}

/* ----- synthetic_features.c */

/* The features that this machine can give guests: WHvCapabilityCodeSyntheticProcessorFeaturesBanks. */
uint64_t synthetic_features_host(void);

/*
 * What set-up leaves of the features that the client has asked for: without local APICs there is nothing that
 * interrupts. Other combinations are taken as they come: a feature that builds on one that is not there does nothing.
 */
uint64_t synthetic_features_left(const struct hv_properties *props);

/* CPUID: leaf 0x40000000 and those that follow it. False, and zeros: no such leaf. */
bool synthetic_cpuid(const struct hv_properties *props, uint32_t leaf, uint32_t regs[4] /* eax ebx ecx edx */);

#endif
