/* SPDX-License-Identifier: MIT */
/* Interrupts: the guest's own, and those that its client asks for between two runs. Until the handler has ended. */
#include "bench.h"

#define VECTOR  0x41u
#define COUNTER 0x5000u /* COUNT of loop.inc */

static bool check(struct vm *vm, uint64_t rounds)
{
    return EXPECT_EQ(*vm_u32(vm, COUNTER), rounds);
}

#define XAPIC(name)                                                                               \
    {                                                                                             \
        .guest = (name), .apic = &apic_modes[0], .handler = "bench_handler_xapic", .check = check \
    }
#define X2APIC(name)                                                                               \
    {                                                                                              \
        .guest = (name), .apic = &apic_modes[1], .handler = "bench_handler_x2apic", .check = check \
    }

const struct guest_loop loop_self_xapic = XAPIC("bench_self_xapic");
const struct guest_loop loop_self_halt_xapic = XAPIC("bench_self_halt_xapic");
const struct guest_loop loop_self_x2apic = X2APIC("bench_self_x2apic");
const struct guest_loop loop_self_halt_x2apic = X2APIC("bench_self_halt_x2apic");
const struct guest_loop loop_deadline_passed = X2APIC("bench_deadline_passed");
const struct guest_loop loop_deadline_ahead = X2APIC("bench_deadline_ahead");
const struct guest_loop loop_eoi_xapic = {.guest = "bench_eoi_xapic", .apic = &apic_modes[0]};
const struct guest_loop loop_eoi_x2apic = {.guest = "bench_eoi_x2apic", .apic = &apic_modes[1]};

/* ------------------------------------------------------------------------ from the client */

static void request(struct vm *vm)
{
    const WHV_INTERRUPT_CONTROL control = {.Type = WHvX64InterruptTypeFixed, .Destination = 0, .Vector = VECTOR};

    WHvRequestInterrupt(vm->partition, &control, sizeof(control));
}

static void serve_request(struct vm *vm)
{
    while (client_run(vm)) {
        if (vm->exit.IoPortAccess.PortNumber != BENCH_TEST_PORT)
            request(vm);
        client_set_rip(vm);
    }
}

const struct guest_loop loop_request = {.guest = "bench_request",
                                        .apic = &apic_modes[1],
                                        .handler = "bench_handler_x2apic",
                                        .serve = serve_request,
                                        .check = check};
