/* SPDX-License-Identifier: MIT */
/* The ways to a local APIC's registers, for the handlers of memory and MSR exits. Pinned, the VP's owner. */
#ifndef VIRT_EXIT_APIC_H
#define VIRT_EXIT_APIC_H

#include "exit.h"

/* MSRs: false is #GP. */
bool exit_apic_read_msr(struct hv_vp *vp, uint32_t index, uint64_t *value); /* 0x800 to 0x8FF */
bool exit_apic_write_msr(struct hv_vp *vp, uint32_t index, uint64_t value);
/* The same for what is written most, and has no consequence but for the next interrupt. False: try the other one. */
bool exit_apic_write_plain(struct hv_vp *vp, uint32_t index, uint64_t value);
bool exit_apic_read_register(struct hv_vp *vp, uint32_t offset, uint64_t *value); /* in the mode it is in */
bool exit_apic_write_register(struct hv_vp *vp, uint32_t offset, uint64_t value);
bool exit_apic_read_deadline(struct hv_vp *vp, uint64_t *value); /* IA32_TSC_DEADLINE */
bool exit_apic_write_deadline(struct hv_vp *vp, uint64_t value);
bool exit_apic_write_base(struct hv_vp *vp, uint64_t value, uint64_t physical_mask); /* with a local APIC only */

/* Are the registers at this address? */
bool exit_apic_is_here(const struct hv_vp *vp, hv_gpa_t gpa);
exit_handler exit_apic_memory; /* the access to them that exited, if it is none of the next function's */
/* The access to them that exited, if it was by a plain MOV. False: it was not, and nothing was done. */
bool exit_apic_memory_plain(struct hv_vp *vp, struct hv_exit *exit);

#endif
