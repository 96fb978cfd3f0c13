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
void synthetic_reset(struct hv_vp *vp); /* with the VP; the hypercall page and the guest's OS ID go with VP 0 */

/* The features that this machine can give guests: WHvCapabilityCodeSyntheticProcessorFeaturesBanks. */
uint64_t synthetic_features_host(void);

#endif
