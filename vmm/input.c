/* SPDX-License-Identifier: MIT */
/* See vmm/input.h. The thread never waits for the guest: Ctrl-A x works when nobody reads the serial line. */
#include <vmm/input.h>

#define CTRL_A 0x01

/* How long to wait for a key: as long as the run's end may take to be noticed, or until the guest is tried again. */
#define WAIT_IDLE_US 100000
#define WAIT_BUSY_US 2000

static void end_all(const struct input *input)
{
    for (uint32_t i = 0; i < input->guest_count; i++)
        guest_end(&input->guests[i], MACHINE_USER, 0);
}

static void show_processors(const struct input *input)
{
    const struct guest *guest = &input->guests[input->chosen];

    for (uint32_t i = 0; i < guest->processor_count; i++)
        processor_show(&guest->processors[i]);
}

/* What does not fit is lost, as on a line without flow control. */
static void enqueue(struct input *input, uint8_t byte)
{
    if (input->count < INPUT_QUEUE_SIZE)
        input->queue[(input->head + input->count++) % INPUT_QUEUE_SIZE] = byte;
}

/* A key behind Ctrl-A that means nothing is dropped. */
static void take_escaped(struct input *input, uint8_t byte)
{
    if (byte == 'x' || byte == 'X')
        end_all(input);
    else if (byte == 'i' || byte == 'I')
        show_processors(input);
    else if (byte == CTRL_A)
        enqueue(input, byte);
    else if (byte >= '1' && byte < '1' + input->guest_count)
        input->chosen = byte - '1';
}

void input_take(struct input *input, uint8_t byte)
{
    if (input->escaped) {
        input->escaped = false;
        take_escaped(input, byte);
    } else if (byte == CTRL_A) {
        input->escaped = true;
    } else {
        enqueue(input, byte);
    }
}

void input_pump(struct input *input)
{
    while (input->count && uart_receive(input->guests[input->chosen].uart, input->queue[input->head])) {
        input->head = (input->head + 1) % INPUT_QUEUE_SIZE;
        input->count--;
    }
}

static void input_run(void *arg)
{
    struct input *input = arg;

    while (!input->stop) {
        int byte = system_console_read(input->count ? WAIT_BUSY_US : WAIT_IDLE_US);

        if (byte >= 0)
            input_take(input, (uint8_t)byte);
        input_pump(input);
    }
}

bool input_start(struct input *input, struct guest *guests, uint32_t guest_count)
{
    input->guests = guests;
    input->guest_count = guest_count;
    input->thread = system_thread_start("input", input_run, input);
    if (!input->thread)
        system_print("vmm: no memory for the thread that reads the keyboard\n");
    return input->thread;
}

void input_stop(struct input *input)
{
    input->stop = 1;
    if (input->thread)
        system_thread_join(input->thread);
    input->thread = NULL;
}
