/* SPDX-License-Identifier: MIT */
/* The small things of base/ and include/hv/base: formatter, log, bits, bitmap, list, locks. */
#include "unit.h"
#include <hv/base/assert.h>
#include <hv/base/bitmap.h>
#include <hv/base/bits.h>
#include <hv/base/list.h>
#include <hv/base/lock.h>
#include <hv/base/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------- formatter */

/* Our formatter and the C library's say the same. */
#define SAME_AS_LIBC(...)                                                                                        \
    do {                                                                                                         \
        char ours[128], libc[128];                                                                               \
        assert_int_equal(hv_format(ours, sizeof(ours), __VA_ARGS__), snprintf(libc, sizeof(libc), __VA_ARGS__)); \
        assert_string_equal(ours, libc);                                                                         \
    } while (0)

static void format_numbers(void **state)
{
    (void)state;
    SAME_AS_LIBC("%d %d %d", 0, -1, INT32_MIN);
    SAME_AS_LIBC("%u %x", UINT32_MAX, UINT32_MAX);
    SAME_AS_LIBC("%ld %lu %lx", INT64_MIN, UINT64_MAX, UINT64_MAX);
    SAME_AS_LIBC("%lld %llu %llx", -5ll, UINT64_MAX + 0ull, 0x123456789abcdefull);
    SAME_AS_LIBC("%zu %zx", (size_t)77, (size_t)SIZE_MAX);
    SAME_AS_LIBC("%p", (void *)0x1234);
}

static void format_width(void **state)
{
    (void)state;
    SAME_AS_LIBC("[%5u] [%05u] [%1u]", 42u, 42u, 42u);
    SAME_AS_LIBC("[%016lx] [%2x]", 0xfee00000ul, 0xabcu);
    SAME_AS_LIBC("[%012d]", 7);
}

static void format_text(void **state)
{
    char buf[32];

    (void)state;
    SAME_AS_LIBC("plain");
    SAME_AS_LIBC("%s and %c, 100%%", "text", 'x');
    SAME_AS_LIBC("%s", "");
    assert_int_equal(hv_format(buf, sizeof(buf), "%s", (char *)NULL), 6);
    assert_string_equal(buf, "(null)");
}

static void format_truncates(void **state)
{
    char buf[8];

    (void)state;
    memset(buf, '#', sizeof(buf));
    assert_int_equal(hv_format(buf, 5, "%s", "truncated"), 9);
    assert_string_equal(buf, "trun");
    assert_int_equal(buf[5], '#');
    assert_int_equal(hv_format(buf, 1, "abc"), 3);
    assert_string_equal(buf, "");
    assert_int_equal(hv_format(NULL, 0, "%u", 12345u), 5);
    assert_int_equal(hv_format(buf, 4, "abc"), 3);
    assert_string_equal(buf, "abc");
}

/* A format that ends in the middle of a conversion must not be read past its end. */
static size_t format_of(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    size_t length;

    va_start(ap, fmt);
    length = hv_vformat(buf, size, fmt, ap);
    va_end(ap);
    return length;
}

static void format_incomplete(void **state)
{
    static const char *const formats[] = {"a%", "a%0", "a%12", "a%ll"};
    char buf[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        char *copy = strdup(formats[i]); /* on the heap, where the sanitizer guards its end */

        assert_int_equal(format_of(buf, sizeof(buf), copy), 1);
        assert_string_equal(buf, "a");
        free(copy);
    }
}

static void log_line(void **state)
{
    char text[400];

    (void)state;
    hv_log(HV_LOG_WARNING, "level %u of %s", 3u, "EPT");
    assert_true(fake_log_contains("level 3 of EPT"));
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 1);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    hv_log(HV_LOG_ERROR, "%s", text); /* the fake refuses more than 255 characters */
    assert_int_equal(fake_log_count(HV_LOG_ERROR), 1);
}

/* -------------------------------------------------------------------------------- bits */

static void bits(void **state)
{
    (void)state;
    assert_int_equal(BITS64(63, 0), ~0ull);
    assert_int_equal(BITS64(51, 12), 0x000ffffffffff000ull);
    assert_int_equal(BITS64(0, 0), 1);
    assert_int_equal(BITS64(63, 63), 1ull << 63);
    assert_int_equal(BITS32(31, 31), 1u << 31);
    assert_int_equal(BIT64(63), 1ull << 63);
    assert_int_equal(FIELD_GET(BITS64(15, 8), 0x123456), 0x34);
    assert_int_equal(FIELD_GET(BITS64(63, 60), ~0ull), 15);
    assert_int_equal(FIELD_PUT(BITS64(15, 8), 0x34), 0x3400);
    assert_int_equal(FIELD_PUT(BITS64(15, 8), 0x1ff), 0xff00);
    assert_int_equal(ALIGN_DOWN(0x1fffull, HV_PAGE_SIZE), 0x1000);
    assert_int_equal(ALIGN_UP(0x1001ull, HV_PAGE_SIZE), 0x2000);
    assert_int_equal(ALIGN_UP(0x1000ull, HV_PAGE_SIZE), 0x1000);
    assert_true(IS_ALIGNED(0x3000ull, HV_PAGE_SIZE));
    assert_false(IS_ALIGNED(0x3001ull, HV_PAGE_SIZE));
    assert_int_equal(HV_MIN(1, 2) + HV_MAX(1, 2) * 10, 21);
}

/* ------------------------------------------------------------------------------ bitmap */

#define MAP_BITS 200u

static void bitmap_set_and_clear(void **state)
{
    uint64_t map[HV_BITMAP_WORDS(MAP_BITS)] = {0};

    (void)state;
    assert_int_equal(ARRAY_COUNT(map), 4);
    for (uint32_t bit = 0; bit < MAP_BITS; bit++) {
        assert_false(hv_bitmap_test(map, bit));
        hv_bitmap_set(map, bit);
        assert_true(hv_bitmap_test(map, bit));
        assert_false(bit + 1 < MAP_BITS && hv_bitmap_test(map, bit + 1));
    }
    for (uint32_t bit = 0; bit < MAP_BITS; bit += 2)
        hv_bitmap_clear(map, bit);
    for (uint32_t bit = 0; bit < MAP_BITS; bit++)
        assert_int_equal(hv_bitmap_test(map, bit), bit % 2);
}

static void bitmap_find_clear(void **state)
{
    uint64_t map[HV_BITMAP_WORDS(MAP_BITS)];

    (void)state;
    memset(map, 0xff, sizeof(map));
    assert_int_equal(hv_bitmap_find_clear(map, MAP_BITS, 0), MAP_BITS);
    hv_bitmap_clear(map, MAP_BITS + 1); /* beyond the end: does not count */
    assert_int_equal(hv_bitmap_find_clear(map, MAP_BITS, 0), MAP_BITS);
    for (uint32_t bit = 0; bit < MAP_BITS; bit++) {
        hv_bitmap_clear(map, bit);
        assert_int_equal(hv_bitmap_find_clear(map, MAP_BITS, 0), bit);
        assert_int_equal(hv_bitmap_find_clear(map, MAP_BITS, bit), bit);
        assert_int_equal(hv_bitmap_find_clear(map, MAP_BITS, bit + 1), MAP_BITS);
        hv_bitmap_set(map, bit);
    }
    assert_int_equal(hv_bitmap_find_clear(map, MAP_BITS, MAP_BITS), MAP_BITS);
}

/* -------------------------------------------------------------------------------- list */

struct item {
    int number;
    struct hv_list node;
};

static void list_order(void **state)
{
    struct item items[4];
    struct hv_list head, *at;

    (void)state;
    hv_list_init(&head);
    assert_true(hv_list_empty(&head));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        hv_list_add_tail(&head, &items[i].node);
    }
    at = head.next;
    for (int i = 0; i < 4; i++, at = at->next)
        assert_int_equal(CONTAINER_OF(at, struct item, node)->number, i);
    assert_ptr_equal(at, &head);
}

static void list_remove(void **state)
{
    struct hv_list head, a, b, c;

    (void)state;
    hv_list_init(&head);
    hv_list_add_tail(&head, &a);
    hv_list_add_tail(&head, &b);
    hv_list_add_tail(&head, &c);
    hv_list_remove(&b);
    assert_ptr_equal(head.next, &a);
    assert_ptr_equal(a.next, &c);
    assert_ptr_equal(c.prev, &a);
    assert_ptr_equal(head.prev, &c);
    assert_true(hv_list_empty(&b));
    hv_list_remove(&b); /* once more: nothing happens */
    hv_list_remove(&a);
    hv_list_remove(&c);
    assert_true(hv_list_empty(&head));
}

/* ------------------------------------------------------------------------------- locks */

#define LOCK_THREADS 4
#define LOCK_ROUNDS  5000

static struct hv_mutex mutex;
static struct hv_spin spin;
static uint64_t guarded;

static void *count_under_mutex(void *arg)
{
    (void)arg;
    for (int i = 0; i < LOCK_ROUNDS; i++) {
        hv_mutex_lock(&mutex);
        *(volatile uint64_t *)&guarded += 1;
        hv_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *count_under_spin(void *arg)
{
    (void)arg;
    for (int i = 0; i < LOCK_ROUNDS; i++) {
        uint64_t flags = hv_spin_lock(&spin);

        *(volatile uint64_t *)&guarded += 1;
        hv_spin_unlock(&spin, flags);
    }
    return NULL;
}

static void run_threads(void *(*fn)(void *))
{
    pthread_t threads[LOCK_THREADS];

    guarded = 0;
    for (int i = 0; i < LOCK_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, NULL), 0);
    for (int i = 0; i < LOCK_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(guarded, LOCK_THREADS * LOCK_ROUNDS);
}

static void mutex_excludes(void **state)
{
    (void)state;
    run_threads(count_under_mutex);
    assert_int_equal(mutex.state, 0);
}

static void mutex_uncontended(void **state)
{
    (void)state;
    hv_mutex_lock(&mutex);
    assert_int_equal(mutex.state, 1);
    hv_mutex_unlock(&mutex);
    assert_int_equal(mutex.state, 0);
    assert_int_equal(fake_counts().waits, 0);
    assert_int_equal(fake_counts().wakes, 0);
}

/* The holder lets go while the other sleeps. */
static void let_go(const volatile uint32_t *word, uint32_t expected)
{
    assert_ptr_equal(word, &mutex.state);
    assert_int_equal(expected, 2);
    hv_mutex_unlock(&mutex);
}

static void mutex_contended(void **state)
{
    (void)state;
    fake_on_wait(let_go);
    hv_mutex_lock(&mutex);
    hv_mutex_lock(&mutex);
    assert_int_equal(fake_counts().waits, 1);
    assert_int_equal(fake_counts().wakes, 1);
    assert_int_equal(mutex.state, 2); /* others may still sleep */
    hv_mutex_unlock(&mutex);
    assert_int_equal(fake_counts().wakes, 2);
}

static void spin_excludes(void **state)
{
    (void)state;
    run_threads(count_under_spin);
}

static void spin_holds_interrupts_off(void **state)
{
    struct hv_spin inner = {0};
    uint64_t outer_flags, inner_flags;

    (void)state;
    outer_flags = hv_spin_lock(&spin);
    inner_flags = hv_spin_lock(&inner);
    assert_false(fake_irqs_on());
    hv_spin_unlock(&inner, inner_flags);
    assert_false(fake_irqs_on());
    hv_spin_unlock(&spin, outer_flags);
    assert_true(fake_irqs_on());
}

static void assertions(void **state)
{
    (void)state;
    HV_ASSERT(1 + 1 == 2);
    expect_assert_failure(HV_ASSERT(1 + 1 == 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(format_numbers),
        UNIT_TEST(format_width),
        UNIT_TEST(format_text),
        UNIT_TEST(format_truncates),
        UNIT_TEST(format_incomplete),
        UNIT_TEST(log_line),
        UNIT_TEST(bits),
        UNIT_TEST(bitmap_set_and_clear),
        UNIT_TEST(bitmap_find_clear),
        UNIT_TEST(list_order),
        UNIT_TEST(list_remove),
        UNIT_TEST(mutex_excludes),
        UNIT_TEST(mutex_uncontended),
        UNIT_TEST(mutex_contended),
        UNIT_TEST(spin_excludes),
        UNIT_TEST(spin_holds_interrupts_off),
        UNIT_TEST(assertions),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
