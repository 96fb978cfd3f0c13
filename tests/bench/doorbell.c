/* SPDX-License-Identifier: MIT */
/* Doorbells: writes that signal an event, and the guest goes on. Nobody waits for it, as nobody else is there to run.
 */
#include "bench.h"
#include <kernel/event.h>
#include <whp/WinHvExtensions.h>

#define BELL_PORT 0x1238u
#define BELL_MMIO 0x30001000u

static void *event;

static bool prepare(struct vm *vm)
{
    const WHV_DOORBELL_MATCH_DATA mmio = {.GuestAddress = BELL_MMIO, .Length = 4, .MatchOnLength = 1};
    const WHV_DOORBELL_MATCH_DATA port = {.GuestAddress = BELL_PORT, .Length = 4, .MatchOnLength = 1};

    event = event_create(EVENT_AUTO);
    return EXPECT(event != NULL) && EXPECT_OK(WHvRegisterPartitionDoorbellEvent(vm->partition, &mmio, event)) &&
           EXPECT_OK(WHvxRegisterPartitionPortDoorbellEvent(vm->partition, &port, event));
}

static bool check(struct vm *vm, uint64_t rounds)
{
    uint64_t signals = event_signals(event);

    (void)vm;
    return EXPECT(event_close(event)) && EXPECT_EQ(signals, rounds);
}

const struct guest_loop loop_bell_port = {.guest = "bench_bell_port", .prepare = prepare, .check = check};
const struct guest_loop loop_bell_mmio = {.guest = "bench_bell_mmio", .prepare = prepare, .check = check};
