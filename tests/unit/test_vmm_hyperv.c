/* SPDX-License-Identifier: MIT */
/*
 * vmm/hyperv.c and hyperv_test.c: which features a guest is shown, what VMBus' messages are answered with, and what a
 * test kernel's connections do.
 */
#include "vmm_guest.h"
#include <vmm/guest.h>
#include <vmm/hyperv.h>

#define PARTITION ((WHV_PARTITION_HANDLE)(uintptr_t)1)
#define INPUT     0x5000u
#define POST      0x5cull
#define FAST      (1ull << 16)

static uint64_t offered;
static HRESULT capability_result, post_result;
static uint32_t posts, post_vp, post_sint;
static uint8_t posted[256];
static struct guest guest;
static struct processor processor;
static UINT64 status;

HRESULT WHvGetCapability(WHV_CAPABILITY_CODE code, VOID *buffer, UINT32 size, UINT32 *written)
{
    WHV_CAPABILITY *capability = buffer;

    (void)written;
    assert_int_equal(code, WHvCapabilityCodeSyntheticProcessorFeaturesBanks);
    assert_int_equal(size, sizeof(*capability));
    capability->SyntheticProcessorFeaturesBanks.BanksCount = 1;
    capability->SyntheticProcessorFeaturesBanks.Bank0.AsUINT64 = offered;
    return capability_result;
}

HRESULT WHvPostVirtualProcessorSynicMessage(WHV_PARTITION_HANDLE partition, UINT32 vp, UINT32 sint, const VOID *message,
                                            UINT32 size)
{
    assert_ptr_equal(partition, PARTITION);
    assert_int_equal(size, sizeof(posted));
    memcpy(posted, message, size);
    posts++;
    post_vp = vp;
    post_sint = sint;
    return post_result;
}

static uint32_t signals;
static WHV_SYNIC_EVENT_PARAMETERS signalled;
static HRESULT signal_result;

HRESULT WHvSignalVirtualProcessorSynicEvent(WHV_PARTITION_HANDLE partition, WHV_SYNIC_EVENT_PARAMETERS event,
                                            BOOL *is_new)
{
    (void)is_new;
    assert_ptr_equal(partition, PARTITION);
    signals++;
    signalled = event;
    return signal_result;
}

static int setup(void **state)
{
    guest_setup(state);
    memset(&guest, 0, sizeof(guest));
    memset(&processor, 0, sizeof(processor));
    guest.partition = PARTITION;
    guest.memory = memory;
    guest.number = 1;
    guest.hyperv.AccessHypercallRegs = 1;
    processor.guest = &guest;
    processor.exit.VpContext.Cs.Long = 1;
    capability_result = post_result = signal_result = S_OK;
    posts = signals = 0;
    return 0;
}

static int teardown(void **state)
{
    return guest_teardown(state);
}

/* ---------------------------------------------------------------------------------- features */

static uint64_t features(enum options_hyperv wanted)
{
    return hyperv_features(wanted).AsUINT64;
}

static void features_by_option(void **state)
{
    (void)state;
    offered = 0x6ffful | 1ul << 25 | 1ul << 26 | 1ul << 15;
    assert_int_equal(features(OPTIONS_HYPERV_ON), offered);
    assert_int_equal(features(OPTIONS_HYPERV_NO_CALLS), 0x6fff);
    assert_int_equal(features(OPTIONS_HYPERV_OFF), 0);
    offered = 0xffc; /* without its name there is no interface */
    assert_int_equal(features(OPTIONS_HYPERV_ON), 0);
    offered = 0xfff;
    capability_result = E_INVALIDARG;
    assert_int_equal(features(OPTIONS_HYPERV_ON), 0);
}

/* -------------------------------------------------------------------------------- hypercalls */

struct post {
    uint32_t connection, reserved, type, size;
    uint32_t message, padding, version, vp;
    uint8_t sint, rest[223];
};
_Static_assert(sizeof(struct post) == 256, "HvCallPostMessage");

static const struct post contact = {
    .connection = 1, .type = 1, .size = 40, .message = 14, .version = 0x00040000, .vp = 3, .sint = 9};

static bool call(uint64_t rcx, uint64_t rdx)
{
    processor.exit.Hypercall.Rcx = rcx;
    processor.exit.Hypercall.Rdx = rdx;
    status = 0xdead;
    return hyperv_hypercall(&processor, &status);
}

static UINT64 send(struct post post)
{
    assert_true(memory_write(&memory, INPUT, &post, sizeof(post)));
    assert_true(call(POST, INPUT));
    return status;
}

static uint32_t word_at(size_t offset)
{
    uint32_t word;

    memcpy(&word, posted + offset, sizeof(word));
    return word;
}

static void versions_are_refused(void **state)
{
    struct post v5 = contact;

    (void)state;
    assert_int_equal(send(contact), 0);
    assert_int_equal(posts, 1);
    assert_int_equal(post_vp, 3);
    assert_int_equal(post_sint, 2);
    assert_int_equal(word_at(0), 1);      /* message type */
    assert_int_equal(posted[4], 16);      /* payload */
    assert_int_equal(word_at(16), 15);    /* version response */
    assert_int_equal(word_at(16 + 8), 0); /* not supported */
    assert_non_null(strstr(fake_system.printed, "VMBus version 4.0"));
    v5.connection = 4;
    v5.version = 0x00050003;
    assert_int_equal(send(v5), 0);
    assert_int_equal(post_sint, 9); /* by the guest's word */
}

static void busy_slots_are_told(void **state)
{
    (void)state;
    post_result = ERROR_HV_OBJECT_IN_USE;
    assert_int_equal(send(contact), 0x13);
    post_result = ERROR_HV_INVALID_SYNIC_STATE;
    assert_int_equal(send(contact), 5);
    assert_string_equal(fake_system.printed, "");
}

static void unload_is_answered(void **state)
{
    struct post post = {.connection = 1, .type = 1, .size = 8, .message = 16};

    (void)state;
    assert_int_equal(send(post), 0);
    assert_int_equal(post_vp, 0);
    assert_int_equal(word_at(16), 17);
}

static void bad_messages(void **state)
{
    static const struct {
        struct post post;
        UINT64 status;
    } cases[] = {
        {{.connection = 2, .type = 1, .size = 40, .message = 14}, 0x12},
        {{.connection = 1, .type = 2, .size = 40, .message = 14}, 5},
        {{.connection = 1, .type = 1, .size = 39, .message = 14}, 5},
        {{.connection = 1, .type = 1, .size = 241, .message = 14}, 5},
        {{.connection = 1, .type = 1, .size = 7, .message = 16}, 5},
        {{.connection = 1, .type = 1, .size = 40, .message = 3}, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(send(cases[i].post), cases[i].status);
    assert_int_equal(posts, 0);
}

static void bad_calls(void **state)
{
    (void)state;
    assert_true(call(POST | FAST, INPUT));
    assert_int_equal(status, 3);
    assert_true(call(POST, INPUT + 4));
    assert_int_equal(status, 4);
    assert_true(call(POST, 32 * MIB - 8)); /* runs out of memory */
    assert_int_equal(status, 5);
    assert_true(call(0x5d | FAST, 1));
    assert_int_equal(status, 0x12);
    assert_true(call(0x50, 0));
    assert_int_equal(status, 2);
    processor.exit.VpContext.Cs.Long = 0;
    assert_false(call(POST, INPUT));
    processor.exit.VpContext.Cs.Long = 1;
    guest.hyperv.AsUINT64 = 0;
    assert_false(call(POST, INPUT));
    assert_int_equal(posts, 0);
}

/* --------------------------------------------------------------------------- the test device */

#define SIGNAL      0x5dull
#define MILLISECOND 1000000u

enum { RAISE = 3, MESSAGES_CREATE, MESSAGES_DESTROY, EVENTS_CREATE, EVENTS_DESTROY };

static void start_device(void)
{
    const struct device_buses buses = {&guest.ports, &guest.mmio};

    guest.timers = timers_create(&guest.services);
    guest.hyperv_test = hyperv_test_create(&buses, PARTITION, guest.timers);
    assert_non_null(guest.hyperv_test);
}

static void stop_device(void)
{
    timers_destroy(guest.timers);
    hyperv_test_destroy(guest.hyperv_test);
}

static void command(uint32_t what, uint32_t vp, uint32_t sint, uint32_t connection)
{
    bus_write(&guest.ports, TEST_SYNIC_PORT, 4, connection << 24 | what << 16 | vp << 8 | sint);
}

static void sints_are_raised(void **state)
{
    uint16_t first;

    (void)state;
    start_device();
    command(RAISE, 3, 9, 0);
    assert_int_equal(signalled.VpIndex, 3);
    assert_int_equal(signalled.TargetSint, 9);
    first = signalled.FlagNumber;
    command(RAISE, 3, 9, 0);
    assert_int_not_equal(signalled.FlagNumber, first);
    for (unsigned i = 0; i < 2048; i++) {
        command(RAISE, 3, 9, 0);
        assert_true(signalled.FlagNumber < 2048);
    }
    bus_write(&guest.ports, TEST_SYNIC_PORT, 2, RAISE << 16); /* no such access */
    assert_int_equal(signals, 2050);
    stop_device();
}

static void events_are_signalled(void **state)
{
    const uint64_t at = INPUT;

    (void)state;
    start_device();
    command(EVENTS_CREATE, 2, 7, 0x20);
    assert_true(call(SIGNAL | FAST, 0x20));
    assert_int_equal(status, 0);
    assert_int_equal(signalled.VpIndex, 2);
    assert_int_equal(signalled.TargetSint, 7);
    assert_int_equal(signalled.FlagNumber, 0x20);
    memory_write(&memory, at, &(uint64_t){0x20}, 8);
    assert_true(call(SIGNAL, at));
    assert_int_equal(status, 0);
    assert_true(call(SIGNAL, at + 4));
    assert_int_equal(status, 4);
    assert_true(call(SIGNAL, 32 * MIB));
    assert_int_equal(status, 5);
    assert_true(call(SIGNAL | FAST, 0x20 | 1ull << 32));
    assert_int_equal(status, 5);
    assert_true(call(SIGNAL | FAST, 0x21));
    assert_int_equal(status, 0x12);
    assert_true(call(SIGNAL | FAST, 0x120));
    assert_int_equal(status, 0x12);
    signal_result = ERROR_HV_INVALID_SYNIC_STATE;
    assert_true(call(SIGNAL | FAST, 0x20));
    assert_int_equal(status, 5);
    command(EVENTS_DESTROY, 0, 0, 0x20);
    assert_true(call(SIGNAL | FAST, 0x20));
    assert_int_equal(status, 0x12);
    stop_device();
}

static void messages_come_back(void **state)
{
    const struct post post = {.connection = 0x11, .type = 0x12345678, .size = 8, .message = 0xabcd};

    (void)state;
    start_device();
    assert_int_equal(send(post), 0x12);
    command(MESSAGES_CREATE, 1, 8, 0x11);
    assert_int_equal(send(post), 0);
    assert_int_equal(post_vp, 1);
    assert_int_equal(post_sint, 8);
    assert_int_equal(word_at(0), 0x12345678);
    assert_int_equal(posted[4], 8);
    assert_int_equal(word_at(16), 0xabcd);
    assert_int_equal(hyperv_test_poll(guest.hyperv_test, 5), UINT64_MAX);
    assert_true(call(SIGNAL | FAST, 0x11)); /* is for messages */
    assert_int_equal(status, 0x12);
    post_result = ERROR_HV_INVALID_SYNIC_STATE;
    assert_int_equal(send(post), 5);
    stop_device();
}

static void a_message_waits_for_its_slot(void **state)
{
    struct post post = {.connection = 0x11, .type = 1, .size = 8, .message = 1};

    (void)state;
    start_device();
    command(MESSAGES_CREATE, 1, 8, 0x11);
    post_result = ERROR_HV_OBJECT_IN_USE;
    assert_int_equal(send(post), 0);
    post.message = 2;
    assert_int_equal(send(post), 0x13); /* one at a time */
    assert_int_equal(hyperv_test_poll(guest.hyperv_test, 5), 5 + MILLISECOND);
    post_result = S_OK;
    assert_int_equal(hyperv_test_poll(guest.hyperv_test, 6), UINT64_MAX);
    assert_int_equal(word_at(16), 1);
    posts = 0;
    assert_int_equal(hyperv_test_poll(guest.hyperv_test, 7), UINT64_MAX);
    assert_int_equal(posts, 0);
    post_result = ERROR_HV_OBJECT_IN_USE;
    assert_int_equal(send(post), 0);
    command(MESSAGES_DESTROY, 0, 0, 0x11);
    assert_int_equal(hyperv_test_poll(guest.hyperv_test, 8), UINT64_MAX);
    stop_device();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(features_by_option),  TEST(versions_are_refused),
        TEST(busy_slots_are_told), TEST(unload_is_answered),
        TEST(bad_messages),        TEST(bad_calls),
        TEST(sints_are_raised),    TEST(events_are_signalled),
        TEST(messages_come_back),  TEST(a_message_waits_for_its_slot),
    };

    return cmocka_run_group_tests_name("vmm hyperv", tests, NULL, NULL);
}
