/* SPDX-License-Identifier: MIT */
/* What every unit test includes: cmocka, and the fake host reset before and checked after each test. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs those before it */
#include <cmocka.h>
#include <fake.h>

/* Fails the test, or is what expect_assert_failure() waits for. */
static inline void unit_on_failure(const char *text)
{
    mock_assert(0, text, "fake host", 0);
}

static inline int unit_setup(void **state)
{
    (void)state;
    fake_on_failure = unit_on_failure;
    fake_reset();
    return 0;
}

static inline int unit_teardown(void **state)
{
    (void)state;
    fake_assert_clean();
    return 0;
}

/* The test function must leave the fake host clean. */
#define UNIT_TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)

#endif
