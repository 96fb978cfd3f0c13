/* SPDX-License-Identifier: MIT */
/*
 * A serial port: National's 16550A with its FIFOs. The line is infinitely fast: a byte that is written is sent at once,
 * and the four character times after which a few received bytes are announced are no time.
 */
#include <vmm/devices.h>

#define UART_PORTS 8u
#define UART_FIFO  16u

/* registers; with LCR_DLAB the first two are the divisor */
enum {
    REG_DATA = 0,
    REG_DIVISOR_LOW = 0,
    REG_IER = 1,
    REG_DIVISOR_HIGH = 1,
    REG_IIR = 2,
    REG_FCR = 2,
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCRATCH = 7,
};

#define IER_RECEIVED 0x01u
#define IER_THRE     0x02u
#define IER_LINE     0x04u
#define IER_MODEM    0x08u
#define IER_BITS     0x0fu

#define IIR_NONE     0x01u
#define IIR_MODEM    0x00u
#define IIR_THRE     0x02u
#define IIR_RECEIVED 0x04u
#define IIR_LINE     0x06u
#define IIR_TIMEOUT  0x0cu
#define IIR_FIFO     0xc0u

#define FCR_ENABLE        0x01u
#define FCR_CLEAR_RECEIVE 0x02u
#define FCR_TRIGGER       0xc0u

#define LCR_DLAB 0x80u

#define MCR_DTR  0x01u
#define MCR_RTS  0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u /* on a PC: lets the interrupt out */
#define MCR_LOOP 0x10u
#define MCR_BITS 0x1fu

#define LSR_DATA    0x01u
#define LSR_OVERRUN 0x02u
#define LSR_ERRORS  0x1eu
#define LSR_SENT    0x60u /* THRE and TEMT */

#define MSR_CTS    0x10u
#define MSR_DSR    0x20u
#define MSR_RI     0x40u
#define MSR_DCD    0x80u
#define MSR_INPUTS 0xf0u
#define MSR_DELTAS 0x0fu

#define DIVISOR_9600 12u

struct uart {
    struct lock lock;
    struct irq_line irq;
    void (*send)(void *context, uint8_t byte);
    void *context;
    uint8_t ier, lcr, mcr, msr, scratch;
    uint8_t fcr;    /* of it: enable and trigger level */
    uint8_t errors; /* LSR's error bits */
    uint16_t divisor;
    uint8_t fifo[UART_FIFO];
    uint32_t first, count;
    bool is_thre_new; /* the transmitter ran empty and nobody has taken notice yet */
    bool is_raised;
};

/* ----------------------------------------------------------------------------------- interrupts */

static uint32_t trigger_level(const struct uart *u)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t uart_interrupt(const struct uart *u)
{
    if ((u->ier & IER_LINE) && u->errors)
        return IIR_LINE;
    if ((u->ier & IER_RECEIVED) && u->count)
        return u->count >= trigger_level(u) ? IIR_RECEIVED : IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->is_thre_new)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

/* After each change. In loopback the pin OUT2 is inactive whatever MCR says. */
static void uart_update(struct uart *u)
{
    bool is_raised = uart_interrupt(u) != IIR_NONE && (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

    if (is_raised == u->is_raised)
        return;
    u->is_raised = is_raised;
    ioapic_set_line(u->irq.ioapic, u->irq.pin, is_raised);
}

/* ------------------------------------------------------------------------------------- receiver */

static uint32_t fifo_size(const struct uart *u)
{
    return u->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

/* What does not fit is lost: a full FIFO keeps what it has, the register without a FIFO gets the new byte. */
static void receiver_put(struct uart *u, uint8_t byte)
{
    if (u->count == fifo_size(u)) {
        u->errors |= LSR_OVERRUN;
        if (!(u->fcr & FCR_ENABLE))
            u->fifo[u->first] = byte;
        return;
    }
    u->fifo[(u->first + u->count) % UART_FIFO] = byte;
    u->count++;
}

/* An empty one gives the last byte again. */
static uint8_t receiver_get(struct uart *u)
{
    uint8_t byte = u->fifo[u->first];

    if (!u->count)
        return u->fifo[(u->first + UART_FIFO - 1) % UART_FIFO];
    u->first = (u->first + 1) % UART_FIFO;
    u->count--;
    return byte;
}

/* ------------------------------------------------------------------------------ modem's signals */

/* The inputs: a terminal that is always ready, or in loopback MCR's outputs. */
static uint8_t modem_inputs(const struct uart *u)
{
    if (!(u->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_OUT1 ? MSR_RI : 0) |
           (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* A delta for each input that changed; of the ring indicator only its end counts. */
static void modem_update(struct uart *u)
{
    uint8_t old = u->msr & MSR_INPUTS, now = modem_inputs(u);
    uint8_t changed = (old ^ now) & (uint8_t) ~(now & MSR_RI);

    u->msr = now | (u->msr & MSR_DELTAS) | changed >> 4;
}

/* ------------------------------------------------------------------------------------ registers */

static uint8_t iir_read(struct uart *u)
{
    uint8_t interrupt = uart_interrupt(u);

    if (interrupt == IIR_THRE)
        u->is_thre_new = false;
    return interrupt | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t lsr_read(struct uart *u)
{
    uint8_t lsr = LSR_SENT | u->errors | (u->count ? LSR_DATA : 0);

    u->errors = 0;
    return lsr;
}

static uint8_t msr_read(struct uart *u)
{
    uint8_t msr = u->msr;

    u->msr &= MSR_INPUTS;
    return msr;
}

static uint8_t register_read(struct uart *u, uint32_t reg)
{
    bool is_divisor = u->lcr & LCR_DLAB;

    switch (reg) {
    case REG_DATA:
        return is_divisor ? (uint8_t)u->divisor : receiver_get(u);
    case REG_IER:
        return is_divisor ? (uint8_t)(u->divisor >> 8) : u->ier;
    case REG_IIR:
        return iir_read(u);
    case REG_LCR:
        return u->lcr;
    case REG_MCR:
        return u->mcr;
    case REG_LSR:
        return lsr_read(u);
    case REG_MSR:
        return msr_read(u);
    default:
        return u->scratch;
    }
}

/* True: the byte goes out. Its way through the transmitter ends the old interrupt and makes a new one. */
static bool data_write(struct uart *u, uint8_t byte)
{
    u->is_thre_new = false;
    uart_update(u);
    u->is_thre_new = true;
    if (!(u->mcr & MCR_LOOP))
        return true;
    receiver_put(u, byte);
    return false;
}

static void ier_write(struct uart *u, uint8_t value)
{
    if (value & ~u->ier & IER_THRE) /* the transmitter is empty: says so as soon as it may */
        u->is_thre_new = true;
    u->ier = value & IER_BITS;
}

/* A change of the enable bit empties the FIFOs; the other bits count with it only. */
static void fcr_write(struct uart *u, uint8_t value)
{
    if (((value ^ u->fcr) & FCR_ENABLE) || (value & FCR_ENABLE && value & FCR_CLEAR_RECEIVE))
        u->count = 0;
    u->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

static void divisor_write(struct uart *u, uint32_t reg, uint8_t value)
{
    uint32_t shift = reg * 8;

    u->divisor = (uint16_t)((u->divisor & ~(0xffu << shift)) | (uint32_t)value << shift);
}

/* True: the byte goes out. */
static bool register_write(struct uart *u, uint32_t reg, uint8_t value)
{
    if (reg <= REG_DIVISOR_HIGH && (u->lcr & LCR_DLAB)) {
        divisor_write(u, reg, value);
        return false;
    }
    switch (reg) {
    case REG_DATA:
        return data_write(u, value);
    case REG_IER:
        ier_write(u, value);
        break;
    case REG_FCR:
        fcr_write(u, value);
        break;
    case REG_LCR:
        u->lcr = value;
        break;
    case REG_MCR:
        u->mcr = value & MCR_BITS;
        modem_update(u);
        break;
    case REG_SCRATCH:
        u->scratch = value;
        break;
    default: /* LSR and MSR: the factory's tests only */
        break;
    }
    return false;
}

static uint64_t uart_read(void *device, uint64_t offset, uint32_t size)
{
    struct uart *u = device;
    uint8_t value;

    (void)size;
    lock_take(&u->lock);
    value = register_read(u, (uint32_t)offset);
    uart_update(u);
    lock_release(&u->lock);
    return value;
}

static void uart_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct uart *u = device;
    bool is_output;

    (void)size;
    lock_take(&u->lock);
    is_output = register_write(u, (uint32_t)offset, (uint8_t)value);
    uart_update(u);
    lock_release(&u->lock);
    if (is_output)
        u->send(u->context, (uint8_t)value);
}

static const struct bus_handler uart_handler = {.read = uart_read, .write = uart_write, .width = 1};

/* -------------------------------------------------------------------------------------- machine */

/* In loopback the line is cut off: bytes wait outside. */
bool uart_receive(struct uart *uart, uint8_t byte)
{
    bool is_taken;

    lock_take(&uart->lock);
    is_taken = !(uart->mcr & MCR_LOOP) && uart->count < fifo_size(uart);
    if (is_taken) {
        receiver_put(uart, byte);
        uart_update(uart);
    }
    lock_release(&uart->lock);
    return is_taken;
}

struct uart *uart_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line irq,
                         void (*write)(void *context, uint8_t byte), void *context)
{
    struct uart *u = device_alloc(sizeof(*u), "uart");

    (void)services;
    if (!u)
        return NULL;
    u->irq = irq;
    u->send = write;
    u->context = context;
    u->divisor = DIVISOR_9600;
    u->is_thre_new = true;
    u->msr = modem_inputs(u);
    if (bus_add(buses->ports, COM1_PORT, UART_PORTS, &uart_handler, u, "uart"))
        return u;
    uart_destroy(u);
    return NULL;
}

void uart_destroy(struct uart *uart)
{
    device_free(uart, sizeof(*uart));
}
