/* SPDX-License-Identifier: MIT */
/* Loops that the guest times itself (loop.inc): a machine for them, a few rounds to warm up, and the rounds that count.
 */
#include "bench.h"

#define WARM_ROUNDS 64u

static void serve_nothing(struct vm *vm)
{
    EXPECT_OK(WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit)));
}

/* Both loops, from the beginning; R14 and R15 say how long they took. */
static bool run_rounds(struct vm *vm, const struct guest_loop *loop, uint32_t rounds)
{
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    vm_set(vm, WHvX64RegisterR10, bench_is_profile() ? 1 : rounds);
    vm_set(vm, WHvX64RegisterR12, rounds);
    (loop->serve ? loop->serve : serve_nothing)(vm);
    return !test_failed() && vm_check_reason(vm, WHvRunVpExitReasonX64IoPortAccess, __FILE__, __LINE__) &&
           EXPECT_EQ(vm->exit.IoPortAccess.PortNumber, BENCH_END_PORT);
}

/* The guest's clock runs as ours does, whatever the two show: no loop took longer than all of it did here. */
static bool run_timed(struct vm *vm, const struct guest_loop *loop, uint32_t rounds, uint64_t *ticks)
{
    uint64_t begin = bench_tsc();

    if (!run_rounds(vm, loop, rounds))
        return false;
    *ticks = vm_get(vm, WHvX64RegisterR15) - vm_get(vm, WHvX64RegisterR14);
    return EXPECT_LE(vm_get(vm, WHvX64RegisterR14) + vm_get(vm, WHvX64RegisterR15), bench_tsc() - begin);
}

static bool create(struct vm *vm, const struct guest_loop *loop)
{
    const char *guest = loop->guest_svm && vm_is_svm() ? loop->guest_svm : loop->guest;
    bool is_created =
        loop->apic ? apic_create(vm, loop->apic, 1) : vm_create(vm, 1, loop->configure) && vm_enter(vm, VM_LONG);

    return is_created && (!loop->handler || apic_set_handler(vm, loop->handler)) && vm_load(vm, guest) &&
           (!loop->prepare || loop->prepare(vm));
}

void bench_guest(const struct figure *f)
{
    const struct guest_loop *loop = f->what;
    uint64_t ticks, rounds = bench_rounds(f);
    VM(vm);

    REQUIRE(create(&vm, loop) && run_rounds(&vm, loop, WARM_ROUNDS));
    bench_begin(f, vm_mark(&vm, 1));
    REQUIRE(run_timed(&vm, loop, (uint32_t)rounds, &ticks));
    REQUIRE(!loop->check || loop->check(&vm, WARM_ROUNDS + rounds));
    bench_ticks(f, ticks, rounds);
}

/* The clock itself: of two loops with nothing in them, as the guest and as the host see it. */
void bench_clock(const struct figure *f)
{
    static const struct guest_loop loop = {.guest = "bench_nothing"};
    uint64_t guest, host;
    VM(vm);

    REQUIRE(create(&vm, &loop) && run_rounds(&vm, &loop, WARM_ROUNDS));
    host = bench_tsc();
    REQUIRE(run_rounds(&vm, &loop, f->rounds));
    host = bench_tsc() - host;
    guest = vm_get(&vm, WHvX64RegisterR14) + vm_get(&vm, WHvX64RegisterR15);
    REQUIRE(EXPECT_LE(guest, host) && EXPECT_LE(host - guest, 10000 + host / 100));
    bench_ticks(f, vm_get(&vm, WHvX64RegisterR14), f->rounds);
}
