/* SPDX-License-Identifier: MIT */
/*
 * What is typed goes to the guest's serial line. Ctrl-A is the VMM's: Ctrl-A x ends the run, Ctrl-A i shows what the
 * processors are at, Ctrl-A Ctrl-A sends a Ctrl-A, Ctrl-A and a digit chooses the guest of that number, where there are
 * several.
 */
#ifndef VMM_INPUT_H
#define VMM_INPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/guest.h>

#define INPUT_QUEUE_SIZE 1024u

struct input {
    struct guest *guests;
    uint32_t guest_count;
    uint32_t chosen;        /* the guest that gets it, from 0 */
    bool escaped;           /* Ctrl-A was the last byte */
    volatile uint32_t stop; /* the run is over */
    struct system_thread *thread;
    uint32_t head, count; /* what the guest has had no room for yet */
    uint8_t queue[INPUT_QUEUE_SIZE];
};

/* input: all zero. False: a line was printed. */
bool input_start(struct input *input, struct guest *guests, uint32_t guest_count);
void input_stop(struct input *input);

/* One byte that was typed, with the meaning above. */
void input_take(struct input *input, uint8_t byte);

/* Hands over what waits, as far as the guest has room. */
void input_pump(struct input *input);

#endif
