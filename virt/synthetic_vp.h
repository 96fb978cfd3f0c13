/* SPDX-License-Identifier: MIT */
/* Synthetic MSRs that are no other part's: identity, hypercall page, runtime, frequencies, local APIC, VP assist page.
 */
#ifndef VIRT_SYNTHETIC_VP_H
#define VIRT_SYNTHETIC_VP_H

#include "synthetic.h"

synthetic_read_fn synthetic_read_os_id, synthetic_read_hypercall, synthetic_read_index, synthetic_read_runtime,
    synthetic_read_frequency, synthetic_read_idle, synthetic_read_apic, synthetic_read_assist;
synthetic_write_fn synthetic_write_os_id, synthetic_write_hypercall, synthetic_write_runtime, synthetic_write_apic,
    synthetic_write_assist;

#endif
