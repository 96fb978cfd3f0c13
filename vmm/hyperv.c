/* SPDX-License-Identifier: MIT */
/*
 * See vmm/hyperv.h. The hypercalls and the form of messages are the Hyper-V TLFS's (chapters 3 and 11); VMBus' own
 * messages are as guests' open drivers have them.
 */
#include <vmm/guest.h>
#include <vmm/hyperv.h>

/* --------------------------------------------------------------------------------------- features */

WHV_SYNTHETIC_PROCESSOR_FEATURES hyperv_features(enum options_hyperv wanted)
{
    WHV_SYNTHETIC_PROCESSOR_FEATURES features;
    WHV_CAPABILITY capability;

    __builtin_memset(&capability, 0, sizeof(capability));
    features.AsUINT64 = 0;
    if (wanted == OPTIONS_HYPERV_OFF || FAILED(WHvGetCapability(WHvCapabilityCodeSyntheticProcessorFeaturesBanks,
                                                                &capability, sizeof(capability), NULL)))
        return features;
    features = capability.SyntheticProcessorFeaturesBanks.Bank0;
    if (!features.HypervisorPresent || !features.Hv1)
        features.AsUINT64 = 0;
    if (wanted == OPTIONS_HYPERV_NO_CALLS) {
        features.TbFlushHypercalls = 0;
        features.EnableExtendedGvaRangesForFlushVirtualAddressList = 0;
        features.SyntheticClusterIpi = 0;
    }
    return features;
}

/* ----------------------------------------------------------------------------------------- VMBus */

struct post_message { /* the input of HvCallPostMessage */
    uint32_t connection_id, reserved, type, payload_size;
    uint8_t payload[HYPERV_PAYLOAD];
};

#define VMBUS_CONNECTION     1u /* up to version 4 of the protocol */
#define VMBUS_CONNECTION_V5  4u
#define VMBUS_SINT           2u /* unless the guest names another */
#define VMBUS_VERSION_V5     0x00050000u
#define VMBUS_MESSAGE_TYPE   1u
#define INITIATE_CONTACT     14u
#define VERSION_RESPONSE     15u
#define UNLOAD               16u
#define UNLOAD_RESPONSE      17u
#define INITIATE_CONTACT_MIN 40u /* bytes */

struct vmbus_header {
    uint32_t type, padding;
};

struct initiate_contact {
    struct vmbus_header header;
    uint32_t version, vp;
    uint8_t sint, vtl; /* from version 5 on; before that an address */
    uint8_t rest[22];
};
_Static_assert(sizeof(struct initiate_contact) == INITIATE_CONTACT_MIN, "VMBus INITIATE_CONTACT");

struct version_response {
    struct vmbus_header header;
    uint8_t is_supported, state;
    uint16_t padding;
    uint32_t connection_id;
};

/* Guests try again after this status, some milliseconds later. */
static UINT64 answer(struct processor *p, uint32_t vp, uint32_t sint, const void *payload, uint8_t size)
{
    struct hyperv_message message = {.type = VMBUS_MESSAGE_TYPE, .payload_size = size, .origin = VMBUS_CONNECTION};
    HRESULT hr;

    __builtin_memcpy(message.payload, payload, size);
    hr = WHvPostVirtualProcessorSynicMessage(p->guest->partition, vp, sint, &message, sizeof(message));
    if (SUCCEEDED(hr))
        return HV_STATUS_SUCCESS;
    return hr == ERROR_HV_OBJECT_IN_USE ? HV_STATUS_INSUFFICIENT_BUFFERS : HV_STATUS_INVALID_PARAMETER;
}

static UINT64 refuse_version(struct processor *p, const struct post_message *post)
{
    const struct version_response response = {.header = {.type = VERSION_RESPONSE}};
    struct initiate_contact contact;
    uint32_t sint;
    UINT64 status;

    if (post->payload_size < sizeof(contact))
        return HV_STATUS_INVALID_PARAMETER;
    __builtin_memcpy(&contact, post->payload, sizeof(contact));
    sint = contact.version >= VMBUS_VERSION_V5 ? contact.sint : VMBUS_SINT;
    status = answer(p, contact.vp, sint, &response, sizeof(response));
    if (status == HV_STATUS_SUCCESS)
        system_print("vmm: guest %u asks for VMBus version %u.%u: there is no VMBus\n", p->guest->number,
                     contact.version >> 16, contact.version & 0xffff);
    return status;
}

static UINT64 unload(struct processor *p)
{
    const struct vmbus_header response = {.type = UNLOAD_RESPONSE};

    return answer(p, 0, VMBUS_SINT, &response, sizeof(response));
}

static UINT64 on_test_message(struct processor *p, const struct post_message *post)
{
    struct hyperv_message message = {.type = post->type, .origin = post->connection_id};

    if (post->payload_size > HYPERV_PAYLOAD)
        return HV_STATUS_INVALID_PARAMETER;
    message.payload_size = (uint8_t)post->payload_size;
    __builtin_memcpy(message.payload, post->payload, post->payload_size);
    return hyperv_test_post(p->guest->hyperv_test, post->connection_id, &message);
}

static UINT64 on_message(struct processor *p, const struct post_message *post)
{
    struct vmbus_header header;

    if (post->connection_id != VMBUS_CONNECTION && post->connection_id != VMBUS_CONNECTION_V5)
        return on_test_message(p, post);
    if (post->payload_size > HYPERV_PAYLOAD || post->payload_size < sizeof(header) || post->type != VMBUS_MESSAGE_TYPE)
        return HV_STATUS_INVALID_PARAMETER;
    __builtin_memcpy(&header, post->payload, sizeof(header));
    switch (header.type) {
    case INITIATE_CONTACT:
        return refuse_version(p, post);
    case UNLOAD:
        return unload(p);
    default: /* nothing else is to be sent to somebody who is not connected */
        return HV_STATUS_INVALID_PARAMETER;
    }
}

/* ------------------------------------------------------------------------------------- hypercalls */

#define CALL_CODE         0xffffu
#define CALL_FAST         (1ull << 16)
#define CALL_POST_MESSAGE 0x5cu
#define CALL_SIGNAL_EVENT 0x5du

/* The input is in RDX, or in memory there: the connection, and which of its flags. */
static UINT64 signal_event(struct processor *p, UINT64 control, UINT64 input)
{
    UINT64 event = input;

    if (!(control & CALL_FAST) && input % sizeof(event))
        return HV_STATUS_INVALID_ALIGNMENT;
    if (!(control & CALL_FAST) && !memory_read(&p->guest->memory, input, &event, sizeof(event)))
        return HV_STATUS_INVALID_PARAMETER;
    if (event >> 32) /* no connection here has more than one */
        return HV_STATUS_INVALID_PARAMETER;
    return hyperv_test_signal(p->guest->hyperv_test, (uint32_t)event);
}

static UINT64 post_message(struct processor *p, UINT64 control, UINT64 gpa)
{
    struct post_message post;

    if (control & CALL_FAST || gpa % 8)
        return control & CALL_FAST ? HV_STATUS_INVALID_HYPERCALL_INPUT : HV_STATUS_INVALID_ALIGNMENT;
    if (!memory_read(&p->guest->memory, gpa, &post, sizeof(post)))
        return HV_STATUS_INVALID_PARAMETER;
    return on_message(p, &post);
}

/*
 * By the convention of 64-bit code; the hypervisor sends the calls that it has nobody for, and those that are not of
 * this interface at all.
 */
bool hyperv_hypercall(struct processor *processor, UINT64 *status)
{
    const WHV_HYPERCALL_CONTEXT *call = &processor->exit.Hypercall;

    if (!processor->guest->hyperv.AccessHypercallRegs || !processor->exit.VpContext.Cs.Long)
        return false;
    switch (call->Rcx & CALL_CODE) {
    case CALL_POST_MESSAGE:
        *status = post_message(processor, call->Rcx, call->Rdx);
        return true;
    case CALL_SIGNAL_EVENT:
        *status = signal_event(processor, call->Rcx, call->Rdx);
        return true;
    default:
        *status = HV_STATUS_INVALID_HYPERCALL_CODE;
        return true;
    }
}
