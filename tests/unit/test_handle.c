/* SPDX-License-Identifier: MIT */
/* virt/whp/handle.c: life of handles, stale and forged ones, closing against uses, races between threads. */
#include "unit.h"
#include "virt/whp/handle.h"
#include <hv/base/bits.h>
#include <pthread.h>
#include <stdlib.h>

#define TAG   WHP_TAG_PORT
#define SLOTS 8

static struct whp_slot slots[SLOTS] __attribute__((aligned(64)));
static struct whp_table table;
static struct whp_free rest, other_rest;
static int objects[SLOTS + 1];

static int setup(void **state)
{
    for (unsigned i = 0; i < SLOTS; i++)
        slots[i] = (struct whp_slot){0};
    rest = other_rest = (struct whp_free){0};
    table = (struct whp_table){.tag = TAG, .size = SLOTS, .slots = slots, .rest = &rest};
    return unit_setup(state);
}

#define HANDLE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)

/* acquire and release at once: the object, or NULL */
static void *peek(const void *handle)
{
    struct whp_slot *slot = whp_handle_acquire(&table, handle, WHP_USE_CALL);
    void *object;

    if (!slot)
        return NULL;
    object = slot->object;
    whp_slot_release(slot, WHP_USE_CALL);
    return object;
}

static void close_now(const void *handle)
{
    struct whp_slot *slot;

    assert_int_equal(whp_handle_close(&table, handle, &slot), WHP_CLOSING);
    whp_slot_closed(&table, slot);
}

/* ------------------------------------------------------------------------------ handles */

static void opens_and_finds(void **state)
{
    void *handles[SLOTS];

    (void)state;
    for (unsigned i = 0; i < SLOTS; i++) {
        handles[i] = whp_handle_open(&table, &objects[i]);
        assert_non_null(handles[i]);
        for (unsigned j = 0; j < i; j++)
            assert_ptr_not_equal(handles[i], handles[j]);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        assert_ptr_equal(peek(handles[i]), &objects[i]);
}

static void is_no_pointer(void **state)
{
    uint64_t partition = (uintptr_t)whp_handle_open(&whp_partitions, &objects[0]);
    uint64_t top = partition >> 56;
    struct whp_slot *slot;

    (void)state;
    assert_true(top != 0 && top != 0xff); /* not canonical with 57 bits, so neither with 48 */
    assert_int_equal(whp_handle_close(&whp_partitions, (void *)(uintptr_t)partition, &slot), WHP_CLOSING);
    whp_slot_closed(&whp_partitions, slot);
}

static void refuses_what_is_no_handle(void **state)
{
    uint64_t handle = (uintptr_t)whp_handle_open(&table, &objects[0]);
    struct whp_slot *slot;
    const uint64_t forged[] = {0,
                               ~0ull,
                               1,
                               (uintptr_t)&objects[0],
                               WHP_SLOT_ALIVE,
                               handle + SLOTS,
                               handle | 0xffffffff,
                               slots[1].word, /* of a slot that was never used */
                               slots[4].word | 4};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(forged); i++) {
        assert_null(whp_handle_acquire(&table, (void *)(uintptr_t)forged[i], WHP_USE_CALL));
        assert_int_equal(whp_handle_close(&table, (void *)(uintptr_t)forged[i], &slot), WHP_CLOSE_STALE);
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        void *wrong = (void *)(uintptr_t)(handle ^ 1ull << bit);

        assert_null(whp_handle_acquire(&table, wrong, WHP_USE_RUN));
        assert_int_equal(whp_handle_close(&table, wrong, &slot), WHP_CLOSE_STALE);
    }
    assert_ptr_equal(peek((void *)(uintptr_t)handle), &objects[0]);
}

static void refuses_other_tables_handles(void **state)
{
    static struct whp_slot other_slots[4];
    struct whp_table other = {.tag = WHP_TAG_TRIGGER, .size = 4, .slots = other_slots, .rest = &other_rest};
    void *theirs = whp_handle_open(&other, &objects[0]), *ours = whp_handle_open(&table, &objects[1]);

    (void)state;
    assert_null(peek(theirs));
    assert_null(whp_handle_acquire(&other, ours, WHP_USE_CALL));
}

/* ------------------------------------------------------------------------------- closing */

static void closed_handle_is_stale(void **state)
{
    void *handle = whp_handle_open(&table, &objects[0]);
    struct whp_slot *slot;

    (void)state;
    close_now(handle);
    assert_null(peek(handle));
    assert_int_equal(whp_handle_close(&table, handle, &slot), WHP_CLOSE_STALE);
}

/* The same slot again: another handle, and the old one stays dead. */
static void slot_gets_a_new_generation(void **state)
{
    void *old[20], *handle;

    (void)state;
    for (unsigned i = 1; i < SLOTS; i++)
        assert_non_null(whp_handle_open(&table, &objects[i]));
    for (unsigned i = 0; i < ARRAY_COUNT(old); i++) {
        handle = whp_handle_open(&table, &objects[0]);
        assert_ptr_equal(peek(handle), &objects[0]);
        for (unsigned j = 0; j < i; j++) {
            assert_int_equal((uintptr_t)old[j] & 0xffff, (uintptr_t)handle & 0xffff);
            assert_null(peek(old[j]));
        }
        close_now(handle);
        old[i] = handle;
    }
}

static void generation_wraps(void **state)
{
    void *last, *first;

    (void)state;
    slots[0].word = BITS64(58, 32);
    last = whp_handle_open(&table, &objects[0]);
    assert_ptr_equal(peek(last), &objects[0]);
    close_now(last);
    assert_int_equal(slots[0].word, 0);
    for (unsigned i = 1; i < SLOTS; i++)
        assert_non_null(whp_handle_open(&table, &objects[i]));
    first = whp_handle_open(&table, &objects[0]);
    assert_int_equal((uintptr_t)first & 0xffff, 0);
    assert_ptr_equal(peek(first), &objects[0]);
    assert_null(peek(last));
}

static void full_table(void **state)
{
    void *handles[SLOTS], *again;

    (void)state;
    for (unsigned i = 0; i < SLOTS; i++)
        handles[i] = whp_handle_open(&table, &objects[i]);
    assert_null(whp_handle_open(&table, &objects[SLOTS]));
    for (unsigned i = 0; i < SLOTS; i++)
        assert_ptr_equal(peek(handles[i]), &objects[i]);
    close_now(handles[3]);
    again = whp_handle_open(&table, &objects[SLOTS]);
    assert_ptr_equal(peek(again), &objects[SLOTS]);
    assert_null(whp_handle_open(&table, &objects[3]));
}

static void freed_slots_come_back_in_turn(void **state)
{
    static const unsigned order[] = {5, 0, 7, 2};
    void *handles[SLOTS], *handle;

    (void)state;
    for (unsigned i = 0; i < SLOTS; i++)
        handles[i] = whp_handle_open(&table, &objects[i]);
    for (unsigned i = 0; i < ARRAY_COUNT(order); i++)
        close_now(handles[order[i]]);
    for (unsigned i = 0; i < ARRAY_COUNT(order); i++) {
        handle = whp_handle_open(&table, &objects[order[i]]);
        assert_int_equal((uintptr_t)handle & 0xffff, (uintptr_t)handles[order[i]] & 0xffff);
    }
    assert_null(whp_handle_open(&table, &objects[0]));
}

static void neighbours_in_time_share_no_cache_line(void **state)
{
    void *a = whp_handle_open(&table, &objects[0]), *b = whp_handle_open(&table, &objects[1]);
    struct whp_slot *in_a = whp_handle_acquire(&table, a, WHP_USE_CALL),
                    *in_b = whp_handle_acquire(&table, b, WHP_USE_CALL);

    (void)state;
    assert_true((uintptr_t)in_a / 64 != (uintptr_t)in_b / 64);
    whp_slot_release(in_a, WHP_USE_CALL);
    whp_slot_release(in_b, WHP_USE_CALL);
}

/* -------------------------------------------------------------------------- close and use */

static void run_keeps_from_closing(void **state)
{
    void *handle = whp_handle_open(&table, &objects[0]);
    struct whp_slot *run = whp_handle_acquire(&table, handle, WHP_USE_RUN), *slot;
    uint64_t before = run->word;

    (void)state;
    assert_int_equal(whp_handle_close(&table, handle, &slot), WHP_CLOSE_IN_RUN);
    assert_int_equal(run->word, before);
    assert_ptr_equal(peek(handle), &objects[0]);
    whp_slot_release(run, WHP_USE_RUN);
    assert_int_equal(fake_counts().wakes, 0);
    close_now(handle);
}

static void *closing_handle;
static struct whp_slot *call_inside[2];
static unsigned waits;

/* What other threads see and do while the closer sleeps. */
static void while_closing(const volatile uint32_t *word, uint32_t expected)
{
    struct whp_slot *slot;

    assert_ptr_equal(word, &call_inside[0]->low);
    assert_int_equal(expected, *word);
    assert_null(whp_handle_acquire(&table, closing_handle, WHP_USE_CALL));
    assert_null(whp_handle_acquire(&table, closing_handle, WHP_USE_RUN));
    assert_int_equal(whp_handle_close(&table, closing_handle, &slot), WHP_CLOSE_STALE);
    assert_ptr_equal(call_inside[waits]->object, &objects[0]);
    whp_slot_release(call_inside[waits], WHP_USE_CALL);
    waits++;
    assert_int_equal(fake_counts().wakes, waits);
}

static void close_waits_for_calls(void **state)
{
    struct whp_slot *slot;

    (void)state;
    waits = 0;
    closing_handle = whp_handle_open(&table, &objects[0]);
    call_inside[0] = whp_handle_acquire(&table, closing_handle, WHP_USE_CALL);
    call_inside[1] = whp_handle_acquire(&table, closing_handle, WHP_USE_CALL);
    fake_on_wait(while_closing);
    assert_int_equal(whp_handle_close(&table, closing_handle, &slot), WHP_CLOSING);
    assert_int_equal(waits, 2);
    assert_ptr_equal(slot->object, &objects[0]);
    whp_slot_closed(&table, slot);
    assert_null(peek(closing_handle));
}

static void reopened_handle_lives_on(void **state)
{
    void *handle = whp_handle_open(&table, &objects[0]);
    struct whp_slot *slot;

    (void)state;
    assert_int_equal(whp_handle_close(&table, handle, &slot), WHP_CLOSING);
    assert_null(peek(handle));
    whp_slot_reopen(slot);
    assert_ptr_equal(peek(handle), &objects[0]);
    close_now(handle);
}

/* The counts of uses can not run over into each other or into the generation. */
static void uses_are_bounded(void **state)
{
    static const enum whp_use kinds[] = {WHP_USE_CALL, WHP_USE_RUN};
    void *handle = whp_handle_open(&table, &objects[0]);
    struct whp_slot *slot = NULL;

    (void)state;
    for (unsigned k = 0; k < ARRAY_COUNT(kinds); k++) {
        for (unsigned i = 0; i < 0x7fff; i++) {
            slot = whp_handle_acquire(&table, handle, kinds[k]);
            assert_non_null(slot);
        }
        assert_null(whp_handle_acquire(&table, handle, kinds[k]));
        whp_slot_release(slot, kinds[k]);
        assert_non_null(whp_handle_acquire(&table, handle, kinds[k]));
    }
    for (unsigned i = 0; i < 0x7fff; i++) {
        whp_slot_release(slot, WHP_USE_CALL);
        whp_slot_release(slot, WHP_USE_RUN);
    }
    close_now(handle);
}

/* ------------------------------------------------------------------------------- threads */

#define THREADS 4
#define ROUNDS  3000
#define FINDS   500 /* uses by each thread, at least */

static void *volatile current;
static volatile bool stop;
static uint64_t found[THREADS];

/* Uses whatever object the handle of the moment gives; the sanitizer sees it if the object is gone. */
static void *user(void *arg)
{
    uint64_t *count = arg;
    enum whp_use use = count - found & 1 ? WHP_USE_RUN : WHP_USE_CALL;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        struct whp_slot *slot = whp_handle_acquire(&table, __atomic_load_n(&current, __ATOMIC_RELAXED), use);

        if (!slot)
            continue;
        if (*(volatile int *)slot->object != 1)
            abort(); /* cmocka's assertions are for the main thread */
        __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
        whp_slot_release(slot, use);
    }
    return NULL;
}

static void open_and_close(unsigned round)
{
    int *object = malloc(sizeof(*object));
    struct whp_slot *slot;
    void *handle;

    *object = 1;
    handle = whp_handle_open(&table, object);
    __atomic_store_n(&current, handle, __ATOMIC_RELEASE);
    for (volatile unsigned i = 0; i < round % 64; i++)
        ;
    while (whp_handle_close(&table, handle, &slot) != WHP_CLOSING)
        ;
    assert_ptr_equal(slot->object, object);
    *object = 0;
    free(object);
    whp_slot_closed(&table, slot);
}

static bool have_all_found(void)
{
    for (unsigned i = 0; i < THREADS; i++)
        if (__atomic_load_n(&found[i], __ATOMIC_RELAXED) < FINDS)
            return false;
    return true;
}

static void threads_against_closing(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    stop = false;
    for (unsigned i = 0; i < THREADS; i++) {
        found[i] = 0;
        pthread_create(&threads[i], NULL, user, &found[i]);
    }
    for (unsigned i = 0; i < ROUNDS || !have_all_found(); i++)
        open_and_close(i);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        assert_int_equal(slots[i].word << 32, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HANDLE_TEST(opens_and_finds),
        HANDLE_TEST(is_no_pointer),
        HANDLE_TEST(refuses_what_is_no_handle),
        HANDLE_TEST(refuses_other_tables_handles),
        HANDLE_TEST(closed_handle_is_stale),
        HANDLE_TEST(slot_gets_a_new_generation),
        HANDLE_TEST(generation_wraps),
        HANDLE_TEST(full_table),
        HANDLE_TEST(freed_slots_come_back_in_turn),
        HANDLE_TEST(neighbours_in_time_share_no_cache_line),
        HANDLE_TEST(run_keeps_from_closing),
        HANDLE_TEST(close_waits_for_calls),
        HANDLE_TEST(reopened_handle_lives_on),
        HANDLE_TEST(uses_are_bounded),
        HANDLE_TEST(threads_against_closing),
    };

    return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
