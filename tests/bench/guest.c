/* SPDX-License-Identifier: MIT */
/* Loops that the guest times itself (loop.inc): a machine for them, a few rounds to warm up, and the rounds that count.
 */
#include "bench.h"

#define WARM_ROUNDS 64u

bool guest_exits(struct vm *vm, WHV_RUN_VP_EXIT_REASON reason)
{
    return EXPECT_OK(WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit))) &&
           vm_check_reason(vm, reason, __FILE__, __LINE__);
}

static void serve_nothing(struct vm *vm)
{
    guest_exits(vm, WHvRunVpExitReasonX64IoPortAccess);
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
    uint64_t begin = bench_tsc(), all, both;

    if (!run_rounds(vm, loop, rounds))
        return false;
    all = bench_tsc() - begin;
    both = vm_get(vm, WHvX64RegisterR14) + vm_get(vm, WHvX64RegisterR15);
    *ticks = vm_get(vm, WHvX64RegisterR15) - vm_get(vm, WHvX64RegisterR14);
    return EXPECT_LE(both, all) && EXPECT_LE(all - both, 100000 + all / 100);
}

void bench_guest(const struct figure *f)
{
    const struct guest_loop *loop = f->what;
    const char *guest = loop->guest_svm && vm_is_svm() ? loop->guest_svm : loop->guest;
    uint64_t ticks;
    VM(vm);

    REQUIRE(vm_create(&vm, 1, loop->configure) && vm_enter(&vm, VM_LONG) && vm_load(&vm, guest));
    REQUIRE(!loop->prepare || loop->prepare(&vm));
    REQUIRE(run_rounds(&vm, loop, WARM_ROUNDS));
    bench_begin(f, vm_mark(&vm, 1));
    REQUIRE(run_timed(&vm, loop, bench_rounds(f), &ticks));
    bench_ticks(f, ticks, bench_rounds(f));
}
