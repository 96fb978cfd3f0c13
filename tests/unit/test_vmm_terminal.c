/* SPDX-License-Identifier: MIT */
/* vmm/terminal.c: what is shown, and what is read along. */
#include "vmm_guest.h"
#include <vmm/terminal.h>

static struct terminal terminal;
static uint64_t now;

static uint64_t time_ns(void *context)
{
    (void)context;
    return now;
}

static const struct machine_services services = {.time_ns = time_ns};

static void put(const char *text)
{
    while (*text)
        terminal_put(&terminal, (uint8_t)*text++);
}

static void begin(uint32_t guest)
{
    fake_system_reset();
    now = 1000;
    terminal_init(&terminal, &services, guest);
}

static void assert_shown(const char *wanted)
{
    assert_int_equal(fake_system.console_length, strlen(wanted));
    assert_memory_equal(fake_system.console, wanted, strlen(wanted));
}

static void alone(void **state)
{
    (void)state;
    begin(0);
    put("a\r\n\033[2J#");
    assert_shown("a\r\n\033[2J#");
    assert_false(terminal_look(&terminal).at_line_begin);
    put("\n");
    assert_true(terminal_look(&terminal).at_line_begin);
    assert_string_equal(fake_system.printed, "");
}

/* The prefix is printed, the line written: the desk keeps both apart. */
static void several(void **state)
{
    (void)state;
    begin(3);
    put("one");
    terminal_flush(&terminal, false);
    assert_shown("");
    put("\r\n\r\ntwo");
    assert_shown("one\r\n\r\n");
    now += 2000000000;
    terminal_flush(&terminal, false);
    assert_shown("one\r\n\r\ntwo\r\n");
    terminal_flush(&terminal, true); /* once is enough */
    put("+\n");
    assert_shown("one\r\n\r\ntwo\r\n+\r\n");
    put("end");
    terminal_flush(&terminal, true);
    assert_shown("one\r\n\r\ntwo\r\n+\r\nend\r\n");
    assert_string_equal(fake_system.printed, "guest 3: guest 3: guest 3: guest 3: guest 3: ");
}

static void long_lines(void **state)
{
    (void)state;
    begin(1);
    for (uint32_t i = 0; i < 2 * TERMINAL_LINE_SIZE; i++)
        put("x");
    terminal_flush(&terminal, true);
    assert_int_equal(fake_system.console_length, 2 * TERMINAL_LINE_SIZE + 3 * 2);
    begin(0);
    for (uint32_t i = 0; i < 2 * TERMINAL_LINE_SIZE; i++)
        put("x");
    put("\nKernel panic - not syncing: x\n");
    assert_true(terminal_look(&terminal).panicked);
}

static void panic(void **state)
{
    (void)state;
    begin(0);
    put("[    1.0] Kernel panic - not sync\n");
    assert_false(terminal_look(&terminal).panicked);
    now = 5;
    put("[    1.0] Kernel panic - not syncing: VFS: Unable\r\n");
    assert_true(terminal_look(&terminal).panicked);
    assert_int_equal(terminal_look(&terminal).last_ns, 5);
}

static void userspace(void **state)
{
    (void)state;
    begin(0);
    put("[    1.0] Run /sbin/init\n");
    put("hello\n");
    assert_int_equal(terminal_look(&terminal).userspace_ns, 0);
    put("[    1.0] Run /sbin/init as init process\r\n");
    now = 2000;
    put("[    1.1] something of the kernel's\r\n");
    assert_int_equal(terminal_look(&terminal).userspace_ns, 0);
    now = 3000;
    put("\r\n");
    now = 4000;
    put("hello\r\n");
    assert_int_equal(terminal_look(&terminal).userspace_ns, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(alone), UNIT_TEST(several), UNIT_TEST(long_lines), UNIT_TEST(panic),
                                       UNIT_TEST(userspace)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
