/* SPDX-License-Identifier: MIT */
#include "trigger.h"
#include "irq.h"
#include "synic.h"
#include "vpci.h"

struct hv_trigger {
    struct hv_trigger *next, **link; /* (m) */
    struct hv_partition *partition;  /* (c) */
    struct hv_host_event *event;     /* (c) */
    struct hv_spin lock;
    struct hv_trigger_parameters parameters; /* lock; the type is (c) */
};

/* --------------------------------------------------------------------------------------- signals */

static void send_interrupt(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    (void)hv_partition_interrupt(p, &parameters->interrupt); /* checked before */
}

/* Nobody hears of a signal to a VP that is not there, or whose guest has not set up what it takes. */
static void signal_event(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    struct hv_vp *vp = hv_vp_ref(p, parameters->event.vp);
    bool newly;

    if (!vp)
        return;
    (void)hv_vp_signal_event(vp, parameters->event.sint, parameters->event.flag, &newly);
    hv_vp_unref(vp);
}

static struct hv_msi_message message_of(const struct hv_trigger_parameters *parameters)
{
    return (struct hv_msi_message){parameters->device_interrupt.msi_address, parameters->device_interrupt.msi_data};
}

/* The device, or its interrupt, may have gone. */
static void request_interrupt(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    const struct hv_msi_message message = message_of(parameters);

    (void)hv_vpci_request(p, parameters->device_interrupt.device, &message);
}

/* ---------------------------------------------------------------------------------------- checks */

static enum hv_status check_interrupt(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    return irq_check(p, &parameters->interrupt);
}

static enum hv_status check_event(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    return parameters->event.vp < p->properties.processor_count && parameters->event.sint < HV_SYNIC_SINTS &&
                   parameters->event.flag < HV_SYNIC_FLAGS
               ? HV_OK
               : HV_E_INVALID;
}

static enum hv_status check_device_interrupt(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    const struct hv_msi_message message = message_of(parameters);

    return vpci_check_request(p, parameters->device_interrupt.device, &message);
}

static const struct kind {
    enum hv_status (*check)(struct hv_partition *p, const struct hv_trigger_parameters *parameters);
    void (*fire)(struct hv_partition *p, const struct hv_trigger_parameters *parameters); /* any context but NMI */
} kinds[] = {
    [HV_TRIGGER_INTERRUPT] = {check_interrupt, send_interrupt},
    [HV_TRIGGER_SYNIC_EVENT] = {check_event, signal_event},
    [HV_TRIGGER_DEVICE_INTERRUPT] = {check_device_interrupt, request_interrupt},
};

static enum hv_status check(struct hv_partition *p, const struct hv_trigger_parameters *parameters)
{
    if (!__atomic_load_n(&p->is_set_up, __ATOMIC_ACQUIRE))
        return HV_E_STATE;
    if ((unsigned)parameters->type >= ARRAY_COUNT(kinds))
        return HV_E_INVALID;
    return kinds[parameters->type].check(p, parameters);
}

/* ------------------------------------------------------------------------------------------ life */

/* On the thread, or in the interrupt handler, that signals. The lock is never held where either may be interrupted. */
static void fire(void *arg)
{
    struct hv_trigger *trigger = arg;
    struct hv_trigger_parameters parameters;
    uint64_t flags = hv_spin_lock(&trigger->lock);

    parameters = trigger->parameters;
    hv_spin_unlock(&trigger->lock, flags);
    kinds[parameters.type].fire(trigger->partition, &parameters);
}

static void link_trigger(struct hv_trigger *trigger)
{
    struct hv_partition *p = trigger->partition;

    hv_mutex_lock(&p->mutex);
    trigger->next = p->triggers;
    trigger->link = &p->triggers;
    if (trigger->next)
        trigger->next->link = &trigger->next;
    p->triggers = trigger;
    hv_mutex_unlock(&p->mutex);
}

static void unlink_trigger(struct hv_trigger *trigger)
{
    struct hv_partition *p = trigger->partition;

    hv_mutex_lock(&p->mutex);
    *trigger->link = trigger->next;
    if (trigger->next)
        trigger->next->link = trigger->link;
    hv_mutex_unlock(&p->mutex);
}

/* The event comes last: its HANDLE is the caller's, and could not be taken back. */
enum hv_status hv_trigger_create(struct hv_partition *p, const struct hv_trigger_parameters *parameters,
                                 struct hv_trigger **out, void **handle)
{
    enum hv_status st = check(p, parameters);
    struct hv_trigger *trigger;

    if (st != HV_OK)
        return st;
    trigger = hv_host_alloc(sizeof(*trigger));
    if (!trigger)
        return HV_E_NO_MEMORY;
    trigger->partition = p;
    trigger->parameters = *parameters;
    trigger->event = hv_host_event_create(fire, trigger, handle);
    if (!trigger->event) {
        hv_host_free(trigger, sizeof(*trigger));
        return HV_E_NO_MEMORY;
    }
    link_trigger(trigger);
    *out = trigger;
    return HV_OK;
}

enum hv_status hv_trigger_update(struct hv_trigger *trigger, const struct hv_trigger_parameters *parameters)
{
    enum hv_status st = check(trigger->partition, parameters);
    uint64_t flags;

    if (st != HV_OK)
        return st;
    if (parameters->type != trigger->parameters.type)
        return HV_E_INVALID;
    flags = hv_spin_lock(&trigger->lock);
    trigger->parameters = *parameters;
    hv_spin_unlock(&trigger->lock, flags);
    return HV_OK;
}

void hv_trigger_delete(struct hv_trigger *trigger)
{
    hv_host_event_silence(trigger->event);
    hv_host_event_put(trigger->event);
    unlink_trigger(trigger);
    hv_host_free(trigger, sizeof(*trigger));
}

void trigger_free_all(struct hv_partition *p)
{
    while (p->triggers)
        hv_trigger_delete(p->triggers);
}
