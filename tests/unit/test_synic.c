/* SPDX-License-Identifier: MIT */
/*
 * The synthetic interrupt controller of one VP without hardware: registers, messages and their slots, event flags, who
 * hears of free slots, state. The interrupts that it raises are counted here.
 */
#include "machine.h"
#include "virt/irq.h"
#include "virt/stimer.h"
#include "virt/synic.h"
#include <arch/bits/msr.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define ADDRESS_BITS 40
#define SIM_PAGE     0x7000ull
#define SIEF_PAGE    0x8000ull
#define VECTOR       0x50u

static struct hv_partition partition;
static struct hv_vp vp;
static volatile uint32_t raised[256]; /* interrupts, by vector */
static volatile uint32_t retries[HV_SYNIC_SINTS];
static uint32_t vectors_changes;

void irq_post_vector(struct hv_vp *to, uint8_t vector)
{
    assert_ptr_equal(to, &vp);
    __atomic_add_fetch(&raised[vector], 1, __ATOMIC_RELAXED);
}

void irq_auto_eoi_changed(struct hv_vp *of)
{
    assert_ptr_equal(of, &vp);
    vectors_changes++;
}

void stimer_retry(struct hv_vp *of, uint32_t sint)
{
    assert_ptr_equal(of, &vp);
    __atomic_add_fetch(&retries[sint], 1, __ATOMIC_SEQ_CST);
}

static bool write_msr(uint32_t index, uint64_t value)
{
    return synic_write(&vp, index, SYNTHETIC_GUEST, value);
}

static uint64_t read_msr(uint32_t index)
{
    uint64_t value = 0x5a5a;

    assert_true(synic_read(&vp, index, SYNTHETIC_GUEST, &value));
    return value;
}

static void open_sint(uint32_t n, uint64_t value)
{
    assert_true(write_msr(MSR_HV_SINT0 + n, value));
}

static struct hv_message *slot(uint32_t n)
{
    return &vp.synic.messages[n];
}

static void start(void)
{
    assert_true(write_msr(MSR_HV_SIMP, SIM_PAGE | HV_PAGE_ENABLE));
    assert_true(write_msr(MSR_HV_SIEFP, SIEF_PAGE | HV_PAGE_ENABLE));
    assert_true(write_msr(MSR_HV_SCONTROL, HV_SCONTROL_ENABLE));
}

static int setup(void **state)
{
    if (machine_setup(state))
        return -1;
    memset(&partition, 0, sizeof(partition));
    memset(&vp, 0, sizeof(vp));
    memset((void *)raised, 0, sizeof(raised));
    memset((void *)retries, 0, sizeof(retries));
    vectors_changes = 0;
    partition.properties.synthetic_features = HV_SYNTH_SYNIC;
    partition.properties.physical_address_width = ADDRESS_BITS;
    vp.partition = &partition;
    vp.has_apic = true;
    vp.stimers.blocked = 1;
    if (synic_create(&vp) != HV_OK)
        return -1;
    synic_reset(&vp);
    return 0;
}

static int teardown(void **state)
{
    if (!machine_is_refused())
        synic_destroy(&vp);
    return machine_teardown(state);
}

#define SYNIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static enum hv_status post_type(uint32_t sint, uint32_t type)
{
    struct hv_message message = {.type = type, .payload_size = 8};

    return synic_post(&vp, sint, &message, sizeof(message));
}

/* What a guest does with a message. True: it has to say EOM. */
static bool empty_slot(uint32_t n)
{
    __atomic_store_n(&slot(n)->type, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&slot(n)->flags, __ATOMIC_RELAXED) & HV_MESSAGE_PENDING;
}

static void say_eom(void)
{
    assert_true(write_msr(MSR_HV_EOM, 0));
}

/* --------------------------------------------------------------------------------- registers */

static void registers_start_closed(void **state)
{
    (void)state;
    assert_int_equal(read_msr(MSR_HV_SCONTROL), 0);
    assert_int_equal(read_msr(MSR_HV_SVERSION), 1);
    assert_int_equal(read_msr(MSR_HV_SIEFP), 0);
    assert_int_equal(read_msr(MSR_HV_SIMP), 0);
    assert_int_equal(read_msr(MSR_HV_EOM), 0);
    for (uint32_t n = 0; n < HV_SYNIC_SINTS; n++)
        assert_int_equal(read_msr(MSR_HV_SINT0 + n), 0x10000);
}

static void registers_hold_what_is_written(void **state)
{
    (void)state;
    start();
    for (uint32_t n = 0; n < HV_SYNIC_SINTS; n++)
        open_sint(n, 0x60000 | (0xf0 + n));
    for (uint32_t n = 0; n < HV_SYNIC_SINTS; n++)
        assert_int_equal(read_msr(MSR_HV_SINT0 + n), 0x60000 | (0xf0 + n));
    assert_int_equal(read_msr(MSR_HV_SIMP), SIM_PAGE | 1);
    assert_int_equal(read_msr(MSR_HV_SIEFP), SIEF_PAGE | 1);
    assert_int_equal(read_msr(MSR_HV_SCONTROL), 1);
}

static void wrong_values_fault_and_change_nothing(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t value;
    } rows[] = {
        {MSR_HV_SCONTROL, 2},
        {MSR_HV_SCONTROL, BIT64(63) | 1},
        {MSR_HV_SIMP, SIM_PAGE | 2},
        {MSR_HV_SIMP, SIM_PAGE | 0x800},
        {MSR_HV_SIMP, BIT64(ADDRESS_BITS) | 1},
        {MSR_HV_SIEFP, SIEF_PAGE | 2},
        {MSR_HV_SIEFP, BIT64(63)},
        {MSR_HV_SVERSION, 1},
        {MSR_HV_SINT0, 0},
        {MSR_HV_SINT0 + 3, 15},
        {MSR_HV_SINT15, HV_SINT_AUTO_EOI | 15},
        {MSR_HV_SINT15, BIT64(8) | VECTOR},
        {MSR_HV_SINT15, BIT64(19) | VECTOR},
        {MSR_HV_SINT15, BIT64(63) | HV_SINT_MASKED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t before = read_msr(rows[i].index);

        assert_false(write_msr(rows[i].index, rows[i].value));
        assert_int_equal(read_msr(rows[i].index), before);
    }
    assert_true(write_msr(MSR_HV_SIMP, BIT64(ADDRESS_BITS - 1) | 1));
    assert_true(write_msr(MSR_HV_SINT0, 16));
    assert_true(write_msr(MSR_HV_SINT0, HV_SINT_MASKED)); /* any vector */
    assert_true(synic_write(&vp, MSR_HV_SVERSION, SYNTHETIC_CLIENT, 1));
    assert_false(synic_write(&vp, MSR_HV_SVERSION, SYNTHETIC_CLIENT, 2));
}

static void placing_pages_is_left_to_the_run(void **state)
{
    (void)state;
    vp.overlays_stale = false;
    assert_true(write_msr(MSR_HV_SIMP, SIM_PAGE));
    assert_true(vp.overlays_stale);
    vp.overlays_stale = false;
    assert_true(write_msr(MSR_HV_SIEFP, SIEF_PAGE | 1));
    assert_true(vp.overlays_stale);
    vp.overlays_stale = false;
    synic_reset(&vp);
    assert_true(vp.overlays_stale);
}

static void vectors_end_by_delivery_or_by_eoi(void **state)
{
    (void)state;
    open_sint(2, HV_SINT_AUTO_EOI | 0x41);
    assert_int_equal(vp.auto_eoi[1], BIT64(1));
    assert_int_equal(vp.eoi_wanted[1], 0);
    open_sint(3, 0x41);
    assert_int_equal(vp.auto_eoi[1], BIT64(1));
    assert_int_equal(vp.eoi_wanted[1], BIT64(1));
    assert_int_equal(vectors_changes, 2);
    open_sint(4, HV_SINT_AUTO_EOI | HV_SINT_POLLING | 0xff);
    open_sint(5, HV_SINT_AUTO_EOI | HV_SINT_MASKED | 0xff);
    open_sint(6, HV_SINT_POLLING | 0xff);
    assert_int_equal(vp.auto_eoi[3] | vp.eoi_wanted[3], 0);
    assert_int_equal(vectors_changes, 2);
    open_sint(2, HV_SINT_AUTO_EOI | 0xff);
    assert_int_equal(vp.auto_eoi[1], 0);
    assert_int_equal(vp.auto_eoi[3], BIT64(63));
    assert_int_equal(vectors_changes, 3);
    synic_reset(&vp);
    assert_int_equal(vp.auto_eoi[3] | vp.eoi_wanted[1], 0);
    assert_int_equal(vectors_changes, 4);
}

/* ---------------------------------------------------------------------------------- messages */

static void a_message_comes_whole_with_an_interrupt(void **state)
{
    struct hv_message message, expected;

    (void)state;
    start();
    open_sint(7, VECTOR);
    memset(slot(7), 0xee, sizeof(message));
    slot(7)->type = 0;
    for (unsigned i = 0; i < sizeof(message); i++)
        ((uint8_t *)&message)[i] = (uint8_t)(i + 1);
    assert_int_equal(synic_post(&vp, 7, &message, sizeof(message)), HV_OK);
    expected = message;
    expected.flags &= (uint8_t)~HV_MESSAGE_PENDING;
    assert_memory_equal(slot(7), &expected, sizeof(expected));
    assert_int_equal(raised[VECTOR], 1);
    empty_slot(7);
    assert_int_equal(synic_post(&vp, 7, "\1", 1), HV_OK);
    memset(&expected, 0, sizeof(expected));
    expected.type = 1;
    assert_memory_equal(slot(7), &expected, sizeof(expected));
    assert_int_equal(slot(6)->type, 0);
    assert_int_equal(slot(8)->type, 0);
}

static void what_can_not_be_posted_is_refused(void **state)
{
    struct hv_message message = {.type = 1};

    (void)state;
    open_sint(1, VECTOR);
    assert_int_equal(post_type(1, 1), HV_E_SYNIC_STATE);
    start();
    assert_int_equal(synic_post(&vp, 1, &message, 0), HV_E_INVALID);
    assert_int_equal(synic_post(&vp, 1, &message, 257), HV_E_INVALID);
    assert_int_equal(post_type(16, 1), HV_E_INVALID);
    assert_int_equal(post_type(1, 0), HV_E_INVALID);
    assert_int_equal(post_type(2, 1), HV_E_SYNIC_STATE); /* masked */
    assert_true(write_msr(MSR_HV_SIMP, SIM_PAGE));
    assert_int_equal(post_type(1, 1), HV_E_SYNIC_STATE);
    assert_true(write_msr(MSR_HV_SIMP, SIM_PAGE | 1));
    assert_true(write_msr(MSR_HV_SCONTROL, 0));
    assert_int_equal(post_type(1, 1), HV_E_SYNIC_STATE);
    assert_int_equal(raised[VECTOR], 0);
    assert_int_equal(slot(1)->type, 0);
    assert_int_equal(slot(2)->type, 0);
}

static void polling_sources_take_messages_in_silence(void **state)
{
    (void)state;
    start();
    open_sint(1, HV_SINT_POLLING | VECTOR);
    open_sint(2, HV_SINT_POLLING | HV_SINT_MASKED | VECTOR);
    assert_int_equal(post_type(1, 11), HV_OK);
    assert_int_equal(post_type(2, 12), HV_OK);
    assert_int_equal(slot(1)->type, 11);
    assert_int_equal(slot(2)->type, 12);
    assert_int_equal(raised[VECTOR], 0);
}

static void a_taken_slot_stays_and_asks_for_eom(void **state)
{
    (void)state;
    start();
    open_sint(4, VECTOR);
    assert_int_equal(post_type(4, 1), HV_OK);
    assert_int_equal(slot(4)->flags, 0);
    assert_int_equal(post_type(4, 2), HV_E_IN_USE);
    assert_int_equal(slot(4)->type, 1);
    assert_int_equal(raised[VECTOR], 1);
    assert_true(empty_slot(4));
    retries[4] = 0;
    say_eom();
    assert_int_equal(retries[4], 1);
    assert_int_equal(post_type(4, 2), HV_OK);
    assert_false(empty_slot(4));
}

/* A message that comes between the guest's emptying the slot and its look at the flag must not hide who waits. */
static void who_waits_is_not_forgotten_with_the_next_message(void **state)
{
    (void)state;
    start();
    open_sint(4, VECTOR);
    assert_int_equal(post_type(4, 1), HV_OK);
    assert_int_equal(post_type(4, 2), HV_E_IN_USE); /* this one waits */
    slot(4)->type = 0;
    assert_int_equal(post_type(4, 3), HV_OK); /* another one was quicker than the guest's look at the flag */
    assert_true(slot(4)->flags & HV_MESSAGE_PENDING);
    assert_true(empty_slot(4));
    say_eom();
    assert_int_equal(post_type(4, 2), HV_OK);
    assert_false(slot(4)->flags & HV_MESSAGE_PENDING);
}

static void an_eoi_counts_as_eom_of_its_vectors_sources(void **state)
{
    (void)state;
    start();
    open_sint(4, VECTOR);
    open_sint(5, VECTOR);
    open_sint(6, VECTOR + 1);
    memset((void *)retries, 0, sizeof(retries));
    synic_eoi(&vp, VECTOR);
    assert_int_equal(retries[4], 1);
    assert_int_equal(retries[5], 1);
    assert_int_equal(retries[6], 0);
    assert_int_equal(retries[0], 0);
}

/* ------------------------------------------------------------------------------- event flags */

static void an_event_interrupts_when_it_is_new(void **state)
{
    bool newly = false;

    (void)state;
    start();
    open_sint(3, VECTOR);
    assert_int_equal(synic_signal(&vp, 3, 2047, &newly), HV_OK);
    assert_true(newly);
    assert_int_equal(synic_signal(&vp, 3, 2047, &newly), HV_OK);
    assert_false(newly);
    assert_int_equal(raised[VECTOR], 1);
    assert_int_equal(synic_signal(&vp, 3, 65, &newly), HV_OK);
    assert_true(newly);
    assert_int_equal(raised[VECTOR], 2);
    assert_int_equal(vp.synic.flags[3 * 32 + 31], BIT64(63));
    assert_int_equal(vp.synic.flags[3 * 32 + 1], BIT64(1));
    vp.synic.flags[3 * 32 + 31] = 0;
    assert_int_equal(synic_signal(&vp, 3, 2047, &newly), HV_OK);
    assert_true(newly);
}

static void what_can_not_be_signalled_is_refused(void **state)
{
    bool newly = false;

    (void)state;
    open_sint(3, VECTOR);
    assert_int_equal(synic_signal(&vp, 3, 0, &newly), HV_E_SYNIC_STATE);
    start();
    assert_int_equal(synic_signal(&vp, 16, 0, &newly), HV_E_INVALID);
    assert_int_equal(synic_signal(&vp, 3, 2048, &newly), HV_E_INVALID);
    assert_int_equal(synic_signal(&vp, 4, 0, &newly), HV_E_SYNIC_STATE);
    assert_true(write_msr(MSR_HV_SIEFP, 0));
    assert_int_equal(synic_signal(&vp, 3, 0, &newly), HV_E_SYNIC_STATE);
    assert_int_equal(raised[VECTOR], 0);
}

/* ------------------------------------------------------------------------------ notifications */

static void the_client_hears_once_of_each_source(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_NONE};

    (void)state;
    start();
    open_sint(4, VECTOR);
    open_sint(5, VECTOR);
    assert_false(synic_notify(&vp, &exit));
    vp.notifications = HV_NOTIFY_NMI | FIELD_PUT(HV_NOTIFY_SINT, BIT32(4) | BIT32(5) | BIT32(6));
    assert_int_equal(post_type(4, 1), HV_OK);
    assert_true(synic_notify(&vp, &exit));
    assert_int_equal(exit.reason, HV_EXIT_SINT_DELIVERABLE);
    assert_int_equal(exit.sints, BIT32(5));
    assert_int_equal(vp.notifications, HV_NOTIFY_NMI | FIELD_PUT(HV_NOTIFY_SINT, BIT32(4) | BIT32(6)));
    assert_false(synic_notify(&vp, &exit)); /* 4 is taken, and 6 masked */
    vp.todo = 0;
    assert_true(empty_slot(4));
    say_eom();
    assert_true(vp.todo & VP_TODO_SINTS);
    assert_true(synic_notify(&vp, &exit));
    assert_int_equal(exit.sints, BIT32(4));
    vp.todo = 0;
    open_sint(6, VECTOR);
    assert_true(vp.todo & VP_TODO_SINTS);
    assert_true(synic_notify(&vp, &exit));
    assert_int_equal(exit.sints, BIT32(6));
    assert_int_equal(vp.notifications, HV_NOTIFY_NMI);
}

/* -------------------------------------------------------------------------------------- state */

static void guests_enable_empty_pages_and_move_full_ones(void **state)
{
    (void)state;
    start();
    open_sint(1, VECTOR);
    assert_int_equal(post_type(1, 5), HV_OK);
    assert_true(write_msr(MSR_HV_SIMP, SIEF_PAGE | 1));
    assert_int_equal(slot(1)->type, 5);
    assert_true(write_msr(MSR_HV_SIMP, 0));
    assert_true(synic_write(&vp, MSR_HV_SIMP, SYNTHETIC_CLIENT, SIM_PAGE | 1));
    assert_int_equal(slot(1)->type, 5);
    assert_true(write_msr(MSR_HV_SIMP, 0));
    assert_true(write_msr(MSR_HV_SIMP, SIM_PAGE | 1));
    assert_int_equal(slot(1)->type, 0);
}

static void pages_go_to_the_client_and_come_back(void **state)
{
    static uint8_t page[HV_SYNIC_PAGE_SIZE], back[HV_SYNIC_PAGE_SIZE];
    uint32_t written = 0;

    (void)state;
    for (unsigned i = 0; i < sizeof(page); i++)
        page[i] = (uint8_t)(i * 7);
    assert_int_equal(hv_vp_set_synic_messages(&vp, page, sizeof(page) - 1), HV_E_INVALID);
    assert_int_equal(hv_vp_set_synic_messages(&vp, page, sizeof(page)), HV_OK);
    assert_int_equal(hv_vp_get_synic_messages(&vp, NULL, 0, &written), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(written, HV_SYNIC_PAGE_SIZE);
    assert_int_equal(hv_vp_get_synic_messages(&vp, back, sizeof(back), &written), HV_OK);
    assert_memory_equal(page, back, sizeof(page));
    assert_int_equal(hv_vp_get_synic_flags(&vp, back, sizeof(back), &written), HV_OK);
    assert_int_equal(back[1], 0);
    assert_int_equal(hv_vp_set_synic_flags(&vp, page, sizeof(page)), HV_OK);
    assert_int_equal(hv_vp_get_synic_flags(&vp, back, sizeof(back), &written), HV_OK);
    assert_memory_equal(page, back, sizeof(page));
    synic_reset(&vp);
    assert_int_equal(slot(0)->payload[0], 0);
    assert_int_equal(vp.synic.flags[0], 0);
    vp.shared.owner = 1;
    assert_int_equal(hv_vp_get_synic_flags(&vp, back, sizeof(back), &written), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_set_synic_messages(&vp, page, sizeof(page)), HV_E_VP_BUSY);
}

static void without_the_feature_there_is_nothing(void **state)
{
    uint8_t page[HV_SYNIC_PAGE_SIZE] = {0};
    bool newly = false;
    uint32_t written;

    (void)state;
    synic_destroy(&vp);
    partition.properties.synthetic_features = 0;
    assert_int_equal(synic_create(&vp), HV_OK);
    synic_reset(&vp);
    assert_int_equal(post_type(0, 1), HV_E_SYNIC_STATE);
    assert_int_equal(synic_signal(&vp, 0, 0, &newly), HV_E_SYNIC_STATE);
    assert_int_equal(hv_vp_get_synic_messages(&vp, page, sizeof(page), &written), HV_E_STATE);
    assert_int_equal(hv_vp_set_synic_flags(&vp, page, sizeof(page)), HV_E_STATE);
}

static void no_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    synic_destroy(&vp);
    for (uint64_t n = 1; n <= 2; n++) {
        fake_fail_after(n);
        assert_int_equal(synic_create(&vp), HV_E_NO_MEMORY);
        assert_int_equal(fake_counts().pages, 0);
    }
    assert_int_equal(synic_create(&vp), HV_OK);
    assert_int_equal(synic_create(&vp), HV_OK); /* the VP's next life */
    assert_int_equal(fake_counts().pages, 2);
}

/* ------------------------------------------------------------------------------------ threads */

#define POSTERS  3
#define MESSAGES 20000u
#define SINT     9

static volatile uint32_t eoms, is_stuck;

/* Posts its messages in order; one that is refused waits for the guest to say EOM after that. */
static void *poster(void *arg)
{
    uint32_t id = (uint32_t)(uintptr_t)arg;

    fake_set_cpu(id + 1);
    for (uint32_t i = 1; i <= MESSAGES; i++)
        for (;;) {
            uint32_t before = __atomic_load_n(&eoms, __ATOMIC_SEQ_CST);

            if (post_type(SINT, id << 24 | i) == HV_OK)
                break;
            while (__atomic_load_n(&eoms, __ATOMIC_SEQ_CST) == before && !is_stuck)
                sched_yield();
            if (is_stuck)
                return NULL;
        }
    return NULL;
}

/* A guest that says EOM only where it is told to. It gives up when nothing has come for long. */
static uint32_t take_messages(uint32_t expected)
{
    uint32_t last[POSTERS] = {0}, taken = 0, idle = 0;

    while (taken < expected && idle < 2000000) {
        uint32_t type = __atomic_load_n(&slot(SINT)->type, __ATOMIC_ACQUIRE);

        if (!type) {
            idle++;
            sched_yield();
            continue;
        }
        assert_in_range(type >> 24, 0, POSTERS - 1);
        assert_int_equal(type & 0xffffff, last[type >> 24] + 1);
        last[type >> 24]++;
        taken++;
        idle = 0;
        if (empty_slot(SINT)) {
            say_eom();
            __atomic_add_fetch(&eoms, 1, __ATOMIC_SEQ_CST);
        }
    }
    return taken;
}

static void no_message_is_lost_or_doubled_or_left_waiting(void **state)
{
    pthread_t threads[POSTERS];
    uint32_t taken;

    (void)state;
    fake_set_cpus(POSTERS + 1);
    start();
    open_sint(SINT, VECTOR);
    eoms = is_stuck = 0;
    for (uintptr_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, poster, (void *)i), 0);
    taken = take_messages(POSTERS * MESSAGES);
    is_stuck = 1;
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(taken, POSTERS * MESSAGES);
    assert_int_equal(raised[VECTOR], POSTERS * MESSAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYNIC_TEST(registers_start_closed),
        SYNIC_TEST(registers_hold_what_is_written),
        SYNIC_TEST(wrong_values_fault_and_change_nothing),
        SYNIC_TEST(placing_pages_is_left_to_the_run),
        SYNIC_TEST(vectors_end_by_delivery_or_by_eoi),
        SYNIC_TEST(a_message_comes_whole_with_an_interrupt),
        SYNIC_TEST(what_can_not_be_posted_is_refused),
        SYNIC_TEST(polling_sources_take_messages_in_silence),
        SYNIC_TEST(a_taken_slot_stays_and_asks_for_eom),
        SYNIC_TEST(who_waits_is_not_forgotten_with_the_next_message),
        SYNIC_TEST(an_eoi_counts_as_eom_of_its_vectors_sources),
        SYNIC_TEST(an_event_interrupts_when_it_is_new),
        SYNIC_TEST(what_can_not_be_signalled_is_refused),
        SYNIC_TEST(the_client_hears_once_of_each_source),
        SYNIC_TEST(guests_enable_empty_pages_and_move_full_ones),
        SYNIC_TEST(pages_go_to_the_client_and_come_back),
        SYNIC_TEST(without_the_feature_there_is_nothing),
        SYNIC_TEST(no_memory_leaves_nothing_behind),
        SYNIC_TEST(no_message_is_lost_or_doubled_or_left_waiting),
    };

    return cmocka_run_group_tests_name("synic", tests, NULL, NULL);
}
