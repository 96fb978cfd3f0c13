/* SPDX-License-Identifier: MIT */
/* Calls that send: interrupts to VPs, messages and events to connections. */
#include "hypercall_parts.h"
#include "irq.h"
#include "walk.h"
#include <hv/base/bits.h>

/* ------------------------------------------------------------------------------ interrupts */

#define IPI_VECTOR     BITS64(31, 0)
#define IPI_VTL        BITS64(39, 32)
#define IPI_VECTOR_MIN 0x10u

/* There is one trust level, and it is number 0. Padding is not looked at. */
static bool is_ipi_valid(uint64_t word)
{
    uint64_t vector = FIELD_GET(IPI_VECTOR, word), vtl = FIELD_GET(IPI_VTL, word);

    if (vtl & HV_TARGET_VTL_RESERVED || (vtl & HV_TARGET_VTL_USED && vtl & HV_TARGET_VTL))
        return false;
    return vector >= IPI_VECTOR_MIN && vector <= UINT8_MAX;
}

static void send(const struct hv_partition *p, uint64_t vps, uint8_t vector)
{
    for (; vps; vps &= vps - 1) {
        struct hv_vp *to = hypercall_vp(p, (uint32_t)__builtin_ctzll(vps));

        if (to)
            irq_post_vector(to, vector);
    }
}

uint32_t hypercall_send_ipi(struct hv_vp *vp, const struct hypercall *call)
{
    if (!is_ipi_valid(call->words[0]))
        return HV_STATUS_INVALID_PARAMETER;
    send(vp->partition, call->words[1], (uint8_t)call->words[0]);
    return HV_STATUS_SUCCESS;
}

uint32_t hypercall_send_ipi_ex(struct hv_vp *vp, const struct hypercall *call)
{
    uint64_t vps;
    uint32_t status = hypercall_vp_set(call, 1, &vps);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!is_ipi_valid(call->words[0]))
        return HV_STATUS_INVALID_PARAMETER;
    send(vp->partition, vps, (uint8_t)call->words[0]);
    return HV_STATUS_SUCCESS;
}

/* ----------------------------------------------------------------------------- connections */

#define MESSAGE_CONNECTION BITS64(31, 0) /* of the first word */
#define MESSAGE_RESERVED   BITS64(63, 32)
#define MESSAGE_TYPE       BITS64(31, 0) /* of the second one */
#define MESSAGE_SIZE       BITS64(63, 32)
#define MESSAGE_TYPE_OWN   BIT32(31) /* types of the hypervisor's own messages */

/* Nobody here has a port for messages: what is well formed is the client's. */
uint32_t hypercall_post_message(struct hv_vp *vp, const struct hypercall *call)
{
    uint64_t type = FIELD_GET(MESSAGE_TYPE, call->words[1]);

    (void)vp;
    if (call->words[0] & MESSAGE_RESERVED || !type || type & MESSAGE_TYPE_OWN ||
        FIELD_GET(MESSAGE_SIZE, call->words[1]) > HV_MESSAGE_PAYLOAD)
        return HV_STATUS_INVALID_PARAMETER;
    return HYPERCALL_NOBODY | HV_STATUS_INVALID_CONNECTION_ID;
}

#define EVENT_CONNECTION BITS64(31, 0)
#define EVENT_FLAG       BITS64(47, 32)
#define EVENT_RESERVED   BITS64(63, 48)

/* A port here has one flag, number 0. */
uint32_t hypercall_signal_event(struct hv_vp *vp, const struct hypercall *call)
{
    uint32_t connection = (uint32_t)FIELD_GET(EVENT_CONNECTION, call->words[0]);
    bool is_flag = FIELD_GET(EVENT_FLAG, call->words[0]) == 0, is_known;
    uint64_t flags;

    if (call->words[0] & EVENT_RESERVED)
        return HV_STATUS_INVALID_PARAMETER;
    flags = vp_walk_begin(vp);
    is_known = is_flag ? port_signal(vp, connection) : port_is_connected(vp, connection);
    vp_walk_end(vp, flags);
    if (is_known)
        return is_flag ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;
    return HYPERCALL_NOBODY | (is_flag ? HV_STATUS_INVALID_CONNECTION_ID : HV_STATUS_INVALID_PARAMETER);
}
