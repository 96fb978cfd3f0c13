/* SPDX-License-Identifier: MIT */
/* Triggers: what a signal does, with which parameters, and when not any more. What they send is recorded here. */
#include "unit.h"
#include "virt/irq.h"
#include "virt/trigger.h"
#include "virt/vpci.h"
#include <pthread.h>
#include <string.h>

#define PROCESSORS 4u

static struct hv_partition partition;
static struct hv_vp vps[PROCESSORS]; /* of which the last is not there */
static struct hv_interrupt interrupt;
static struct {
    uint32_t vp, sint, flag;
} event;
static volatile uint32_t interrupts, events, references;
static volatile bool is_over, came_late;
static enum hv_status checked;        /* what irq_check says */
static enum hv_status checked_device; /* what vpci_check_request says */
static struct hv_msi_message requested;
static uint64_t requested_of;
static unsigned requests;

enum hv_status irq_check(const struct hv_partition *p, const struct hv_interrupt *i)
{
    (void)i;
    assert_ptr_equal(p, &partition);
    return checked;
}

enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *i)
{
    assert_ptr_equal(p, &partition);
    assert_false(fake_irqs_on()); /* the fake host signals as an interrupt handler would */
    interrupt = *i;
    came_late |= is_over;
    __atomic_add_fetch(&interrupts, 1, __ATOMIC_RELAXED);
    return HV_OK;
}

enum hv_status vpci_check_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message)
{
    (void)id, (void)message;
    assert_ptr_equal(p, &partition);
    return checked_device;
}

enum hv_status hv_vpci_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message)
{
    assert_ptr_equal(p, &partition);
    assert_false(fake_irqs_on());
    requested = *message;
    requested_of = id;
    requests++;
    return HV_E_DEVICE; /* nobody is told */
}

struct hv_vp *hv_vp_ref(struct hv_partition *p, uint32_t index)
{
    assert_ptr_equal(p, &partition);
    assert_in_range(index, 0, PROCESSORS - 1);
    if (index == PROCESSORS - 1)
        return NULL;
    references++;
    return &vps[index];
}

void hv_vp_unref(struct hv_vp *vp)
{
    (void)vp;
    references--;
}

enum hv_status hv_vp_signal_event(struct hv_vp *vp, uint32_t sint, uint32_t flag, bool *newly)
{
    event.vp = (uint32_t)(vp - vps);
    event.sint = sint;
    event.flag = flag;
    events++;
    *newly = true;
    return HV_E_SYNIC_STATE; /* nobody is told */
}

static int setup(void **state)
{
    unit_setup(state);
    memset(&partition, 0, sizeof(partition));
    partition.is_set_up = true;
    partition.properties.processor_count = PROCESSORS;
    interrupts = events = references = requests = 0;
    is_over = came_late = false;
    checked = checked_device = HV_OK;
    return 0;
}

#define TRIGGER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)

static struct hv_trigger_parameters to_vector(uint32_t n)
{
    return (struct hv_trigger_parameters){.type = HV_TRIGGER_INTERRUPT,
                                          .interrupt = {.destination = n, .vector = n, .is_level = true}};
}

static struct hv_trigger_parameters to_flag(uint32_t vp, uint32_t sint, uint32_t flag)
{
    struct hv_trigger_parameters parameters = {.type = HV_TRIGGER_SYNIC_EVENT};

    parameters.event.vp = vp;
    parameters.event.sint = sint;
    parameters.event.flag = flag;
    return parameters;
}

static struct hv_trigger *create(struct hv_trigger_parameters parameters, void **handle)
{
    struct hv_trigger *trigger = NULL;

    assert_int_equal(hv_trigger_create(&partition, &parameters, &trigger, handle), HV_OK);
    return trigger;
}

static void signals_become_interrupts(void **state)
{
    void *handle;
    struct hv_trigger *trigger = create(to_vector(0x41), &handle);

    (void)state;
    assert_int_equal(interrupts, 0);
    for (unsigned i = 1; i <= 3; i++) {
        fake_event_signal(handle);
        assert_int_equal(interrupts, i);
    }
    assert_int_equal(interrupt.vector, 0x41);
    assert_true(interrupt.is_level);
    hv_trigger_delete(trigger);
    fake_event_signal(handle); /* the caller's still */
    assert_int_equal(interrupts, 3);
    fake_event_close(handle);
}

static void signals_become_event_flags(void **state)
{
    void *handle, *nobody;
    struct hv_trigger *trigger = create(to_flag(2, HV_SYNIC_SINTS - 1, HV_SYNIC_FLAGS - 1), &handle);
    struct hv_trigger *other = create(to_flag(PROCESSORS - 1, 0, 0), &nobody);

    (void)state;
    fake_event_signal(handle);
    assert_int_equal(events, 1);
    assert_int_equal(event.vp, 2);
    assert_int_equal(event.sint, HV_SYNIC_SINTS - 1);
    assert_int_equal(event.flag, HV_SYNIC_FLAGS - 1);
    fake_event_signal(nobody); /* that VP is not there */
    assert_int_equal(events, 1);
    assert_int_equal(references, 0);
    fake_event_close(handle); /* the trigger goes without its caller, too */
    fake_event_close(nobody);
    hv_trigger_delete(trigger);
    hv_trigger_delete(other);
}

static struct hv_trigger_parameters to_device(uint64_t id, uint64_t address, uint32_t data)
{
    struct hv_trigger_parameters parameters = {.type = HV_TRIGGER_DEVICE_INTERRUPT};

    parameters.device_interrupt.device = id;
    parameters.device_interrupt.msi_address = address;
    parameters.device_interrupt.msi_data = data;
    return parameters;
}

static void signals_become_device_interrupts(void **state)
{
    struct hv_trigger_parameters next = to_device(8, 0xfee02000, 0x52);
    void *handle;
    struct hv_trigger *trigger = create(to_device(7ull << 40, 0xfee01000, 0x51), &handle);

    (void)state;
    fake_event_signal(handle);
    fake_event_signal(handle);
    assert_int_equal(requests, 2);
    assert_int_equal(requested_of, 7ull << 40);
    assert_int_equal(requested.address, 0xfee01000);
    assert_int_equal(requested.data, 0x51);
    assert_int_equal(hv_trigger_update(trigger, &next), HV_OK);
    fake_event_signal(handle);
    assert_int_equal(requested_of, 8);
    assert_int_equal(requested.address, 0xfee02000);
    checked_device = HV_E_DEVICE; /* it has gone: signals are tried all the same */
    assert_int_equal(hv_trigger_update(trigger, &next), HV_E_DEVICE);
    fake_event_signal(handle);
    assert_int_equal(requests, 4);
    hv_trigger_delete(trigger);
    fake_event_close(handle);
}

static enum hv_status refusal(struct hv_trigger_parameters parameters)
{
    struct hv_trigger *trigger;
    void *handle;
    struct fake_counts before = fake_counts();
    enum hv_status st = hv_trigger_create(&partition, &parameters, &trigger, &handle);

    assert_int_equal(fake_counts().requests, before.requests);
    return st;
}

static void what_is_refused(void **state)
{
    (void)state;
    assert_int_equal(refusal(to_flag(PROCESSORS, 0, 0)), HV_E_INVALID);
    assert_int_equal(refusal(to_flag(0, HV_SYNIC_SINTS, 0)), HV_E_INVALID);
    assert_int_equal(refusal(to_flag(0, 0, HV_SYNIC_FLAGS)), HV_E_INVALID);
    checked_device = HV_E_DEVICE;
    assert_int_equal(refusal(to_device(1, 0, 0)), HV_E_DEVICE);
    checked_device = HV_OK;
    assert_int_equal(refusal((struct hv_trigger_parameters){.type = 3}), HV_E_INVALID);
    assert_int_equal(refusal((struct hv_trigger_parameters){.type = (enum hv_trigger_type) - 1}), HV_E_INVALID);
    checked = HV_E_INVALID;
    assert_int_equal(refusal(to_vector(0)), HV_E_INVALID);
    checked = HV_E_STATE;
    assert_int_equal(refusal(to_vector(0x41)), HV_E_STATE);
    partition.is_set_up = false;
    assert_int_equal(refusal(to_flag(0, 0, 0)), HV_E_STATE);
    assert_int_equal(refusal(to_device(1, 0, 0)), HV_E_STATE);
}

static void new_parameters(void **state)
{
    struct hv_trigger_parameters other = to_flag(0, 0, 0), next = to_vector(0x52);
    void *handle;
    struct hv_trigger *trigger = create(to_vector(0x41), &handle);

    (void)state;
    assert_int_equal(hv_trigger_update(trigger, &other), HV_E_INVALID); /* another type */
    checked = HV_E_INVALID;
    assert_int_equal(hv_trigger_update(trigger, &next), HV_E_INVALID);
    fake_event_signal(handle);
    assert_int_equal(interrupt.vector, 0x41);
    checked = HV_OK;
    assert_int_equal(hv_trigger_update(trigger, &next), HV_OK);
    fake_event_signal(handle);
    assert_int_equal(interrupt.vector, 0x52);
    hv_trigger_delete(trigger);
    fake_event_close(handle);
}

static void without_memory(void **state)
{
    struct hv_trigger_parameters parameters = to_vector(0x41);
    struct hv_trigger *trigger;
    void *handle;

    (void)state;
    for (unsigned n = 1;; n++) {
        enum hv_status st;

        fake_fail_after(n);
        st = hv_trigger_create(&partition, &parameters, &trigger, &handle);
        if (!fake_has_failed()) {
            assert_int_equal(st, HV_OK);
            assert_int_equal(n, 3);
            break;
        }
        assert_int_equal(st, HV_E_NO_MEMORY);
        fake_assert_clean();
        assert_null(partition.triggers);
    }
    hv_trigger_delete(trigger);
    fake_event_close(handle);
}

static void the_partition_takes_them_with_it(void **state)
{
    void *handles[5];
    struct hv_trigger *triggers[5];

    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        triggers[i] = create(to_vector(i), &handles[i]);
    hv_trigger_delete(triggers[2]); /* in the middle, and at both ends */
    hv_trigger_delete(triggers[4]);
    hv_trigger_delete(triggers[0]);
    trigger_free_all(&partition);
    for (unsigned i = 0; i < 5; i++) {
        fake_event_signal(handles[i]);
        fake_event_close(handles[i]);
    }
    assert_int_equal(interrupts, 0);
}

/* ------------------------------------------------------------------------------------ threads */

static volatile bool stop;

static void *signal_on(void *handle)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        fake_event_signal(handle);
    return NULL;
}

static void deletion_ends_what_signals_do(void **state)
{
    pthread_t thread;

    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        void *handle;
        struct hv_trigger *trigger = create(to_vector(round), &handle);

        interrupts = 0;
        stop = is_over = false;
        pthread_create(&thread, NULL, signal_on, handle);
        while (!interrupts)
            ;
        hv_trigger_delete(trigger);
        is_over = true;
        while (fake_event_signals(handle) < interrupts + 100u)
            ;
        stop = true;
        pthread_join(thread, NULL);
        assert_false(came_late);
        fake_event_close(handle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIGGER_TEST(signals_become_interrupts),
        TRIGGER_TEST(signals_become_event_flags),
        TRIGGER_TEST(signals_become_device_interrupts),
        TRIGGER_TEST(what_is_refused),
        TRIGGER_TEST(new_parameters),
        TRIGGER_TEST(without_memory),
        TRIGGER_TEST(the_partition_takes_them_with_it),
        TRIGGER_TEST(deletion_ends_what_signals_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
