/* SPDX-License-Identifier: MIT */
/* vmm/uart.c: the 16550A's registers and interrupts, and how Linux finds out what it has before it. */
#include "vmm_machine.h"

#define P      COM1_PORT
#define VECTOR 0x34

static struct uart *uart;

static int setup(void **state)
{
    tm_setup(state);
    uart = uart_create(&tm.buses, &tm.services, edge_line(COM1_IRQ, VECTOR), tm_output, &tm);
    assert_non_null(uart);
    return 0;
}

static int teardown(void **state)
{
    uart_destroy(uart);
    return tm_teardown(state);
}

static void reset_values(void **state)
{
    static const uint8_t wanted[] = {0x00, 0x00, 0x01, 0x00, 0x00, 0x60, 0xb0, 0x00};

    (void)state;
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(inb(P + i), wanted[i]);
}

static void output(void **state)
{
    (void)state;
    outb(P, 'a');
    outb(P, 0);
    outb(P + 3, 0x80);
    outb(P, 'x'); /* the divisor */
    outb(P + 1, 'y');
    assert_int_equal(inb(P), 'x');
    assert_int_equal(inb(P + 1), 'y');
    outb(P + 3, 0x03);
    assert_int_equal(inb(P + 1), 0);
    outb(P, 0xff);
    assert_int_equal(tm.output_length, 3);
    assert_memory_equal(tm.output, "a\0\xff", 3);
    assert_int_equal(inb(P + 5), 0x60);
    assert_int_equal(tm.sent, 0);
}

/* A word at 3F8h is two bytes: data, then IER. What leaves the ports is dropped. */
static void wide_accesses(void **state)
{
    (void)state;
    outw(P, 0x0541);
    assert_int_equal(tm.output[0], 'A');
    assert_int_equal(inb(P + 1), 5);
    assert_int_equal(inl(P + 4), 0x00b06000);
    assert_int_equal(inw(P + 7), 0xffff);
}

static void received_bytes(void **state)
{
    (void)state;
    assert_true(uart_receive(uart, 'a')); /* one byte without FIFO */
    assert_false(uart_receive(uart, 'b'));
    assert_int_equal(inb(P + 5), 0x61);
    assert_int_equal(inb(P), 'a');
    assert_int_equal(inb(P + 5), 0x60);
    outb(P + 2, 1);
    for (uint8_t i = 0; i < 16; i++)
        assert_true(uart_receive(uart, i));
    assert_false(uart_receive(uart, 16));
    assert_int_equal(inb(P), 0);
    assert_true(uart_receive(uart, 16));
    for (uint8_t i = 1; i <= 16; i++)
        assert_int_equal(inb(P), i);
    assert_int_equal(inb(P + 5), 0x60);
    assert_true(uart_receive(uart, 1));
    outb(P + 2, 3); /* clears the receiver */
    assert_int_equal(inb(P + 5), 0x60);
    assert_true(uart_receive(uart, 1));
    outb(P + 2, 0); /* so does leaving FIFO mode */
    assert_int_equal(inb(P + 5), 0x60);
}

static void receive_interrupts(void **state)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    (void)state;
    outb(P + 4, 0x08);
    outb(P + 1, 0x01);
    for (uint8_t i = 0; i < 4; i++) {
        uint32_t sent = tm.sent;

        outb(P + 2, (uint8_t)(i << 6 | 3));
        for (uint8_t n = 1; n < levels[i]; n++) {
            assert_true(uart_receive(uart, n));
            assert_int_equal(inb(P + 2), 0xcc);
        }
        assert_true(uart_receive(uart, 0));
        assert_int_equal(inb(P + 2), 0xc4);
        assert_int_equal(tm.sent, sent + 1); /* one edge for all of them */
        while (inb(P + 5) & 1)
            inb(P);
        assert_int_equal(inb(P + 2), 0xc1);
    }
    assert_message(0, (struct message){0, false, false, 0, VECTOR});
    outb(P + 1, 0x00);
    assert_true(uart_receive(uart, 0));
    assert_int_equal(inb(P + 2), 0xc1);
    assert_int_equal(tm.sent, 4);
    outb(P + 1, 0x01);
    assert_int_equal(tm.sent, 5);
}

static void transmitter_interrupts(void **state)
{
    (void)state;
    outb(P + 4, 0x08);
    outb(P + 1, 0x02); /* raised at once */
    assert_int_equal(tm.sent, 1);
    assert_int_equal(inb(P + 2), 0x02); /* the read ends it */
    assert_int_equal(inb(P + 2), 0x01);
    outb(P + 1, 0x02); /* no new enable */
    assert_int_equal(inb(P + 2), 0x01);
    outb(P, 'a'); /* sent: empty again */
    assert_int_equal(tm.sent, 2);
    outb(P, 'b'); /* without a look at IIR: a new edge all the same */
    assert_int_equal(tm.sent, 3);
    assert_int_equal(inb(P + 2), 0x02);
    outb(P + 1, 0x00);
    outb(P + 1, 0x02);
    assert_int_equal(tm.sent, 4);
    outb(P + 1, 0x00);
    assert_int_equal(inb(P + 2), 0x01);
}

static void priorities(void **state)
{
    (void)state;
    outb(P + 4, 0x10); /* loopback: the modem's inputs fall, a byte too many overruns */
    outb(P, 'a');
    outb(P, 'b');
    outb(P + 1, 0x0f);
    assert_int_equal(inb(P + 2), 0x06);
    assert_int_equal(inb(P + 5), 0x63);
    assert_int_equal(inb(P + 2), 0x04);
    assert_int_equal(inb(P), 'b'); /* without FIFO the last one stays */
    assert_int_equal(inb(P + 2), 0x02);
    assert_int_equal(inb(P + 2), 0x00);
    assert_int_equal(inb(P + 6), 0x0b);
    assert_int_equal(inb(P + 2), 0x01);
    assert_int_equal(tm.output_length, 0);
}

static void full_fifo_keeps_its_bytes(void **state)
{
    (void)state;
    outb(P + 2, 1);
    outb(P + 4, 0x10);
    for (uint8_t i = 0; i < 17; i++)
        outb(P, i);
    assert_int_equal(inb(P + 5), 0x63);
    assert_int_equal(inb(P + 5), 0x61);
    for (uint8_t i = 0; i < 16; i++)
        assert_int_equal(inb(P), i);
    assert_int_equal(inb(P + 5), 0x60);
}

static void modem_signals(void **state)
{
    static const struct {
        uint8_t mcr, msr;
    } table[] = {
        {0x10, 0x0b}, {0x11, 0x22}, {0x12, 0x13}, {0x14, 0x41}, {0x18, 0x8c}, {0x1f, 0xf3}, {0x00, 0xb4}, {0x0f, 0xb0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        outb(P + 4, table[i].mcr);
        assert_int_equal(inb(P + 6), table[i].msr);
        assert_int_equal(inb(P + 6), table[i].msr & 0xf0);
    }
    outb(P + 4, 0xff);
    assert_int_equal(inb(P + 4), 0x1f);
}

/* OUT2 gates the interrupt on a PC, and loopback takes OUT2 off. */
static void out2_gates(void **state)
{
    (void)state;
    outb(P + 1, 0x01);
    assert_true(uart_receive(uart, 'a'));
    assert_int_equal(inb(P + 2), 0x04);
    assert_int_equal(tm.sent, 0);
    outb(P + 4, 0x08);
    assert_int_equal(tm.sent, 1);
    outb(P + 4, 0x18);
    outb(P + 4, 0x08);
    assert_int_equal(tm.sent, 2);
    outb(P + 4, 0x18);
    assert_false(uart_receive(uart, 'b')); /* the line is cut off, the byte not lost */
}

/* What drivers/tty/serial/8250/8250_port.c does in autoconfig() and autoconfig_16550a(), in its order. */
static void linux_autoconfig(void **state)
{
    uint8_t status1, status2;

    (void)state;
    outb(P + 1, 0);
    assert_int_equal(inb(P + 1) & 0x0f, 0);
    outb(P + 1, 0x0f);
    assert_int_equal(inb(P + 1) & 0x0f, 0x0f);
    outb(P + 1, 0);
    outb(P + 4, 0x1a);
    assert_int_equal(inb(P + 6) & 0xf0, 0x90);
    outb(P + 4, 0);
    outb(P + 3, 0xbf);
    outb(P + 2, 0);
    outb(P + 3, 0);
    outb(P + 2, 1);
    assert_int_equal(inb(P + 2) >> 6, 3);
    outb(P + 3, 0x80);
    assert_int_not_equal(inb(P + 2), 0); /* no EFR: not an ST16650 */
    outb(P + 3, 0);
    status1 = inb(P + 4);
    outb(P + 3, 0xe0);
    status2 = inb(P + 2);
    assert_int_equal((status1 ^ status2) & 0x10, 0);
    outb(P + 3, 0);
    outb(P + 4, status1 ^ 0x10);
    outb(P + 3, 0xe0);
    status2 = inb(P + 2);
    outb(P + 3, 0);
    outb(P + 4, status1);
    assert_int_equal((status1 ^ status2) & 0x10, 0); /* not a National super I/O */
    outb(P + 2, 0x01);
    status1 = inb(P + 2) >> 5;
    outb(P + 2, 0x21);
    status2 = inb(P + 2) >> 5;
    assert_int_equal(status1, 6);
    assert_int_equal(status2, 6); /* no 64-byte FIFO */
    outb(P + 1, 0x40);
    assert_int_equal(inb(P + 1) & 0x40, 0); /* not an XScale */
    outb(P + 7, 0xa5);
    assert_int_equal(inb(P + 7), 0xa5);
}

/* serial8250_do_startup(): tests for a transmitter that does not say that it is empty. */
static void linux_startup(void **state)
{
    (void)state;
    outb(P + 2, 0x07);
    outb(P + 2, 0);
    assert_int_not_equal(inb(P + 5), 0xff);
    outb(P + 3, 3);
    outb(P + 4, 0x08);
    outb(P + 1, 2);
    assert_int_equal(inb(P + 2) & 1, 0);
    outb(P + 1, 0);
    outb(P + 1, 2);
    assert_int_equal(inb(P + 2) & 1, 0);
    outb(P + 1, 0);
    outb(P + 1, 2);
    assert_int_equal(inb(P + 5) & 0x40, 0x40);
    assert_int_equal(inb(P + 2) & 1, 0);
    outb(P + 1, 0);
}

#define UART_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UART_TEST(reset_values),       UART_TEST(output),
        UART_TEST(wide_accesses),      UART_TEST(received_bytes),
        UART_TEST(receive_interrupts), UART_TEST(transmitter_interrupts),
        UART_TEST(priorities),         UART_TEST(full_fifo_keeps_its_bytes),
        UART_TEST(modem_signals),      UART_TEST(out2_gates),
        UART_TEST(linux_autoconfig),   UART_TEST(linux_startup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
