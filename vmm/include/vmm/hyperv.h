/* SPDX-License-Identifier: MIT */
/*
 * The Hyper-V interface of a guest, as far as it is the VMM's: which of the hypervisor's features the guest is shown,
 * and the hypercalls that come to the VMM. There is no VMBus behind it: whoever asks for one is told so, as by a host
 * that knows none of the versions he offers.
 */
#ifndef VMM_HYPERV_H
#define VMM_HYPERV_H

#include <stdbool.h>
#include <vmm/options.h>
#include <whp/WinHvPlatform.h>

struct processor;

/* What the guest is to see: of what the hypervisor has, by the option. 0: nothing. */
WHV_SYNTHETIC_PROCESSOR_FEATURES hyperv_features(enum options_hyperv wanted);

/*
 * The hypercall that the processor has exited with. True: it is one of this interface, *status is the guest's result.
 * False: not ours.
 */
bool hyperv_hypercall(struct processor *processor, UINT64 *status);

#endif
