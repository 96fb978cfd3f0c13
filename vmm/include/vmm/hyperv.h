/* SPDX-License-Identifier: MIT */
/*
 * The Hyper-V interface of a guest, as far as it is the VMM's: which of the hypervisor's features the guest is shown,
 * and the hypercalls that come to the VMM. There is no VMBus behind it: whoever asks for one is told so, as by a host
 * that knows none of the versions he offers.
 */
#ifndef VMM_HYPERV_H
#define VMM_HYPERV_H

#include <stdbool.h>
#include <vmm/devices.h>
#include <vmm/options.h>
#include <whp/WinHvPlatform.h>

/* Results of hypercalls. */
#define HV_STATUS_SUCCESS                 0x00u
#define HV_STATUS_INVALID_HYPERCALL_CODE  0x02u
#define HV_STATUS_INVALID_HYPERCALL_INPUT 0x03u
#define HV_STATUS_INVALID_ALIGNMENT       0x04u
#define HV_STATUS_INVALID_PARAMETER       0x05u
#define HV_STATUS_INVALID_CONNECTION_ID   0x12u
#define HV_STATUS_INSUFFICIENT_BUFFERS    0x13u

#define HYPERV_PAYLOAD 240u

struct hyperv_message { /* HV_MESSAGE */
    uint32_t type;
    uint8_t payload_size, flags;
    uint16_t reserved;
    uint64_t origin;
    uint8_t payload[HYPERV_PAYLOAD];
};
_Static_assert(sizeof(struct hyperv_message) == WHV_SYNIC_MESSAGE_SIZE, "HV_MESSAGE");

struct processor;

/* What the guest is to see: of what the hypervisor has, by the option. 0: nothing. */
WHV_SYNTHETIC_PROCESSOR_FEATURES hyperv_features(enum options_hyperv wanted);

/*
 * The hypercall that the processor has exited with. True: it is one of this interface, *status is the guest's result.
 * False: not ours.
 */
bool hyperv_hypercall(struct processor *processor, UINT64 *status);

/*
 * The test device (vmm/hyperv_test.c), and what hypercalls for its connections result in: NULL, or a number that is
 * none of these, is HV_STATUS_INVALID_CONNECTION_ID.
 */
struct hyperv_test;
struct hyperv_test *hyperv_test_create(const struct device_buses *buses, WHV_PARTITION_HANDLE partition,
                                       struct timers *timers);
void hyperv_test_destroy(struct hyperv_test *t);
UINT64 hyperv_test_post(struct hyperv_test *t, uint32_t connection, const struct hyperv_message *message);
UINT64 hyperv_test_signal(struct hyperv_test *t, uint32_t connection);
timer_poll hyperv_test_poll;

#endif
