/* SPDX-License-Identifier: MIT */
/* Notification ports: connections and how they are found, taken away under readers' eyes; doorbells' are recorded here.
 */
#include "unit.h"
#include "virt/doorbell.h"
#include "virt/hypercall.h"
#include "virt/port.h"
#include <stdlib.h>
#include <string.h>

static struct hv_partition partition;
static struct hv_vp vp;
static unsigned flushes;
static uint32_t leaving; /* the connection that goes: nobody finds it when the readers are waited for */

void partition_flush(struct hv_partition *p)
{
    assert_ptr_equal(p, &partition);
    assert_true(p->mutex.state);
    assert_false(port_signal(&vp, leaving));
    if (p->ports)
        assert_true(fake_counts().event_uses > 0); /* given back later: a reader may hold it */
    flushes++;
}

static struct hv_doorbell doorbell;
static void *doorbell_event;
static const void *doorbell_owner;
static unsigned doorbells;
static enum hv_status doorbell_status;

enum hv_status doorbell_add(struct hv_partition *p, const struct hv_doorbell *d, void *event, const void *owner)
{
    assert_ptr_equal(p, &partition);
    assert_non_null(owner);
    if (doorbell_status != HV_OK)
        return doorbell_status;
    doorbell = *d;
    doorbell_event = event;
    doorbell_owner = owner;
    doorbells++;
    return HV_OK;
}

enum hv_status doorbell_take_away(struct hv_partition *p, const struct hv_doorbell *d, const void *owner)
{
    assert_ptr_equal(p, &partition);
    assert_ptr_equal(owner, doorbell_owner);
    assert_memory_equal(d, &doorbell, sizeof(doorbell));
    doorbells--;
    return HV_OK;
}

static void *mine; /* an event */

static int setup(void **state)
{
    unit_setup(state);
    memset(&partition, 0, sizeof(partition));
    partition.is_set_up = true;
    vp.partition = &partition;
    flushes = doorbells = 0;
    doorbell_status = HV_OK;
    mine = fake_event_create();
    return 0;
}

static int teardown(void **state)
{
    port_free_all(&partition);
    fake_event_close(mine);
    return unit_teardown(state);
}

#define PORT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static enum hv_status connect_to(uint32_t id, void *event, struct hv_port **port)
{
    const struct hv_port_parameters parameters = {.type = HV_PORT_EVENT, .connection_id = id};

    return hv_port_create(&partition, &parameters, event, port);
}

static struct hv_port *connect(uint32_t id, void *event)
{
    struct hv_port *port = NULL;

    assert_int_equal(connect_to(id, event, &port), HV_OK);
    return port;
}

static void drop(struct hv_port *port, uint32_t id)
{
    leaving = id;
    hv_port_delete(port);
}

/* ------------------------------------------------------------------------------- connections */

static void a_connection_is_found(void **state)
{
    struct hv_port *port;

    (void)state;
    assert_false(port_signal(&vp, 0x123456));
    port = connect(0x123456, mine);
    assert_true(port_signal(&vp, 0x123456));
    assert_int_equal(fake_event_signals(mine), 1);
    assert_false(port_signal(&vp, 0x123457));
    assert_false(port_signal(&vp, 0x023456));
    assert_false(port_signal(&vp, 0x1123456)); /* bits that no id has */
    assert_false(port_signal(&vp, 0xff123456));
    assert_int_equal(fake_event_signals(mine), 1);
    drop(port, 0x123456);
    assert_int_equal(flushes, 2); /* the tree goes too */
    assert_false(port_signal(&vp, 0x123456));
    drop(connect(0x123456, mine), 0x123456); /* free again */
}

/* Whoever comes or goes, the others stay where they are; and what was needed for one goes with it. */
static void neighbours(void **state)
{
    static const uint32_t ids[] = {0, 1, 0x3f, 0x40, 0xfff, 0x1000, 0x3ffff, 0x40000, 0xffffff};
    struct hv_port *ports[ARRAY_COUNT(ids)];
    uint64_t bytes[ARRAY_COUNT(ids)];
    void *events[ARRAY_COUNT(ids)];

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ids); i++) {
        events[i] = fake_event_create();
        bytes[i] = fake_counts().bytes;
        ports[i] = connect(ids[i], events[i]);
    }
    for (unsigned i = ARRAY_COUNT(ids); i-- > 0;) {
        for (unsigned k = 0; k <= i; k++)
            assert_true(port_signal(&vp, ids[k]));
        assert_int_equal(fake_event_signals(events[i]), ARRAY_COUNT(ids) - i);
        drop(ports[i], ids[i]);
        assert_int_equal(fake_counts().bytes, bytes[i]);
        fake_event_close(events[i]);
    }
}

#define RANDOM_IDS   512u
#define RANDOM_STEPS 20000u

/* Ids that differ in few bits, against a plain table. */
static void random_comings_and_goings(void **state)
{
    static struct hv_port *table[RANDOM_IDS];
    const char *text = getenv("SEED");
    unsigned seed = text && *text ? (unsigned)strtoul(text, NULL, 0) : 1;
    uint64_t expected = 0;

    (void)state;
    memset(table, 0, sizeof(table));
    for (unsigned step = 0; step < RANDOM_STEPS; step++) {
        uint32_t n = (uint32_t)rand_r(&seed) % RANDOM_IDS;
        uint32_t id = (n & 7) | (n >> 3 & 7) << 9 | (n >> 6) << 18;

        assert_int_equal(port_signal(&vp, id), table[n] != NULL);
        expected += table[n] != NULL;
        if (!table[n]) {
            table[n] = connect(id, mine);
        } else {
            drop(table[n], id);
            table[n] = NULL;
        }
    }
    assert_int_equal(fake_event_signals(mine), expected);
}

static void what_is_refused(void **state)
{
    struct hv_port_parameters no_type = {.type = 3};
    void *closed = fake_event_create();
    struct hv_port *port = connect(7, mine), *other;
    uint64_t bytes = fake_counts().bytes;

    (void)state;
    fake_event_close(closed);
    assert_int_equal(connect_to(7, mine, &other), HV_E_CONFLICT);
    assert_int_equal(connect_to(0x1000000, mine, &other), HV_E_INVALID);
    assert_int_equal(connect_to(8, NULL, &other), HV_E_INVALID);
    assert_int_equal(connect_to(8, closed, &other), HV_E_INVALID);
    assert_int_equal(hv_port_create(&partition, &no_type, mine, &other), HV_E_INVALID);
    partition.is_set_up = false;
    assert_int_equal(connect_to(8, mine, &other), HV_E_STATE);
    assert_int_equal(fake_counts().event_uses, 1);
    assert_int_equal(fake_counts().bytes, bytes);
    assert_true(port_signal(&vp, 7));
    drop(port, 7);
}

static void without_memory(void **state)
{
    enum hv_status st;
    struct hv_port *port;
    unsigned n = 0;

    (void)state;
    do {
        uint64_t bytes = fake_counts().bytes;

        fake_fail_after(++n);
        st = connect_to(0x222222, mine, &port);
        if (fake_has_failed()) {
            assert_int_equal(st, HV_E_NO_MEMORY);
            assert_int_equal(fake_counts().bytes, bytes);
            assert_int_equal(fake_counts().event_uses, 0);
            assert_false(port_signal(&vp, 0x222222));
        }
    } while (fake_has_failed());
    assert_int_equal(st, HV_OK);
    assert_int_equal(n, 6); /* the tree, itself, and three levels */
}

static void its_event_outlives_the_callers_handle(void **state)
{
    void *event = fake_event_create();
    struct hv_port *port = connect(9, event);

    (void)state;
    fake_event_close(event);
    assert_true(port_signal(&vp, 9));
    drop(port, 9);
}

/* --------------------------------------------------------------------------------- doorbells */

static struct hv_port_parameters ring(uint64_t address)
{
    return (struct hv_port_parameters){
        .type = HV_PORT_DOORBELL,
        .doorbell = {.address = address, .length = 4, .match_length = true},
    };
}

static void a_doorbell_is_registered(void **state)
{
    struct hv_port_parameters parameters = ring(0x1000);
    struct hv_port *port;

    (void)state;
    assert_int_equal(hv_port_create(&partition, &parameters, mine, &port), HV_OK);
    assert_int_equal(doorbells, 1);
    assert_ptr_equal(doorbell_event, mine);
    assert_memory_equal(&doorbell, &parameters.doorbell, sizeof(doorbell));
    hv_port_delete(port);
    assert_int_equal(doorbells, 0);
    doorbell_status = HV_E_CONFLICT;
    assert_int_equal(hv_port_create(&partition, &parameters, mine, &port), HV_E_CONFLICT);
}

static void the_partition_takes_them_with_it(void **state)
{
    struct hv_port_parameters parameters = ring(0x1000);
    struct hv_port *port;

    (void)state;
    connect(1, mine);
    connect(0xffffff, mine);
    assert_int_equal(hv_port_create(&partition, &parameters, mine, &port), HV_OK);
    port_free_all(&partition);
    assert_int_equal(doorbells, 1); /* the partition's doorbells go by themselves */
    partition.ports = NULL;
    assert_int_equal(fake_counts().event_uses, 0);
    assert_int_equal(fake_counts().bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PORT_TEST(a_connection_is_found),
        PORT_TEST(neighbours),
        PORT_TEST(random_comings_and_goings),
        PORT_TEST(what_is_refused),
        PORT_TEST(without_memory),
        PORT_TEST(its_event_outlives_the_callers_handle),
        PORT_TEST(a_doorbell_is_registered),
        PORT_TEST(the_partition_takes_them_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
