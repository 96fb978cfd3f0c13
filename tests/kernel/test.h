/* SPDX-License-Identifier: MIT */
/*
 * In-kernel tests: the program `tests` of the image runs them all, or those whose text or id contains filter=..., and
 * prints TAP.
 *
 *   TEST(exits_halt, "exits: HLT")                      static void exits_halt(void)
 *   TEST_MODES(exits_out, "exits: OUT", VM_ALL)         static void exits_out(enum vm_mode mode), one TAP line a mode
 * (vm.h) TEST_ROWS(regs, "registers: round trip", table)     static void regs(const struct ... *row), one a row; a
 * row's first member is const char *name TEST_ROWS_MODES(id, "...", table, VM_ALL)           static void id(row, mode);
 * a row's second member is uint32_t modes (0: all of those given)
 *
 * The macro is followed by the function's body. A failed EXPECT prints file, line, what it got and wanted, and makes
 * the test fail; the function goes on. Each EXPECT yields whether it held: if (!EXPECT(...)) return; REQUIRE returns by
 * itself (void functions).
 */
#ifndef TEST_H
#define TEST_H

#include <kernel/print.h>
#include <kernel/string.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct test_case {
    const char *id, *text;
    void (*fn)(const void *row, unsigned mode);
    const void *rows; /* NULL: no rows */
    size_t row_size, row_count;
    uint32_t modes;       /* bit n: runs in mode n; 0: once */
    bool rows_have_modes; /* the row's second member narrows modes */
};

#define TEST_REGISTER(id_, ...)                   \
    static const struct test_case test_case_##id_ \
        __attribute__((used, section(".test_cases"), aligned(8))) = {.id = #id_, .fn = id_##_run, __VA_ARGS__}

#define TEST(id, text_)                                  \
    static void id(void);                                \
    static void id##_run(const void *row, unsigned mode) \
    {                                                    \
        (void)row, (void)mode;                           \
        id();                                            \
    }                                                    \
    TEST_REGISTER(id, .text = text_);                    \
    static void id(void)

#define TEST_MODES(id, text_, modes_)                    \
    static void id(enum vm_mode mode);                   \
    static void id##_run(const void *row, unsigned mode) \
    {                                                    \
        (void)row;                                       \
        id((enum vm_mode)mode);                          \
    }                                                    \
    TEST_REGISTER(id, .text = text_, .modes = (modes_)); \
    static void id(enum vm_mode mode)

#define TEST_ROWS(id, text_, table)                                                                               \
    static void id(const __typeof__((table)[0]) *row);                                                            \
    static void id##_run(const void *row, unsigned mode)                                                          \
    {                                                                                                             \
        (void)mode;                                                                                               \
        id(row);                                                                                                  \
    }                                                                                                             \
    TEST_REGISTER(id, .text = text_, .rows = (table), .row_size = sizeof((table)[0]), .row_count = COUNT(table)); \
    static void id(const __typeof__((table)[0]) *row)

#define TEST_ROWS_MODES(id, text_, table, modes_)                                                                \
    static void id(const __typeof__((table)[0]) *row, enum vm_mode mode);                                        \
    static void id##_run(const void *row, unsigned mode)                                                         \
    {                                                                                                            \
        id(row, (enum vm_mode)mode);                                                                             \
    }                                                                                                            \
    TEST_REGISTER(id, .text = text_, .rows = (table), .row_size = sizeof((table)[0]), .row_count = COUNT(table), \
                  .modes = (modes_), .rows_have_modes = true);                                                   \
    static void id(const __typeof__((table)[0]) *row, enum vm_mode mode)

/* Marks the running test. Any thread of the test's may call these (main.c). */
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void test_note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* a "# ..." line */
bool test_failed(void);
void test_forget(void); /* what failed: another test begins */
bool test_check(bool held, const char *file, int line, const char *what, uint64_t got, uint64_t wanted);
bool test_check_bytes(const char *file, int line, const char *what, const void *got, const void *wanted, size_t size);

/* Why this test can not pass on the emulator that runs it, NULL: it has to. row: NULL without rows (engine.c) */
const char *engine_gap(const char *test, const char *row);
bool engine_is_tcg(void);

/* How many make a storm: so many, unless storm=N on the command line says otherwise. */
uint32_t test_storm(uint32_t usual);
/* How many times a device is given and taken back, in the same way: cycles=N. */
uint32_t test_cycles(uint32_t usual);

#define SKIP(...)               \
    do {                        \
        test_skip(__VA_ARGS__); \
        return;                 \
    } while (0)

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

#define EXPECT(condition)           \
    ({                              \
        bool held_ = (condition);   \
        if (!held_)                 \
            FAIL("%s", #condition); \
        held_;                      \
    })

#define EXPECT_COMPARE(got, op, wanted)                                                           \
    ({                                                                                            \
        uint64_t got_ = (uint64_t)(got), wanted_ = (uint64_t)(wanted);                            \
        test_check(got_ op wanted_, __FILE__, __LINE__, #got " " #op " " #wanted, got_, wanted_); \
    })

#define EXPECT_EQ(got, wanted) EXPECT_COMPARE(got, ==, wanted)
#define EXPECT_NE(got, wanted) EXPECT_COMPARE(got, !=, wanted)
#define EXPECT_GE(got, wanted) EXPECT_COMPARE(got, >=, wanted)
#define EXPECT_LE(got, wanted) EXPECT_COMPARE(got, <=, wanted)

/* HRESULTs are compared and printed in 32 bits. */
#define EXPECT_HR(call, wanted)                                                \
    ({                                                                         \
        uint32_t got_ = (uint32_t)(call), wanted_ = (uint32_t)(wanted);        \
        test_check(got_ == wanted_, __FILE__, __LINE__, #call, got_, wanted_); \
    })
#define EXPECT_OK(call) EXPECT_HR(call, S_OK)

#define EXPECT_BYTES(got, wanted, size) test_check_bytes(__FILE__, __LINE__, #got " == " #wanted, got, wanted, size)

#define REQUIRE(expectation)                                                 \
    do {                                                                     \
        if (!(expectation)) {                                                \
            test_fail(__FILE__, __LINE__, "cannot go on: %s", #expectation); \
            return;                                                          \
        }                                                                    \
    } while (0)

#endif
