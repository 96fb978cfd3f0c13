/* SPDX-License-Identifier: MIT */
#include "runner.h"
#include <kernel/clock.h>

static void run_native(struct runner *r)
{
    r->result = hv_vp_run(r->vm->native_vp, &r->native_exit) == HV_OK ? S_OK : E_FAIL;
    r->exit.ExitReason = WHvRunVpExitReasonNone;
    r->exit.VpContext.Rip = r->native_exit.vp.rip;
    if (r->native_exit.reason == HV_EXIT_HALT)
        r->exit.ExitReason = WHvRunVpExitReasonX64Halt;
    if (r->native_exit.reason == HV_EXIT_CANCELED)
        r->exit.ExitReason = WHvRunVpExitReasonCanceled;
}

static void runner_main(void *arg)
{
    struct runner *r = arg;

    if (r->vm->native)
        run_native(r);
    else
        r->result = WHvRunVirtualProcessor(r->vm->partition, r->index, &r->exit, sizeof(r->exit));
    __atomic_store_n(&r->ended, 1, __ATOMIC_RELEASE);
    thread_wake(&r->ended);
}

bool runner_start(struct runner *r, struct vm *vm, uint32_t index, uint32_t cpu)
{
    memset(r, 0, sizeof(*r));
    r->vm = vm;
    r->index = index;
    r->cpu = cpu;
    r->thread = thread_create("runner", runner_main, r, cpu);
    return EXPECT(r->thread != NULL);
}

static bool wait_ended(struct runner *r)
{
    uint64_t deadline = clock_ns() + RUNNER_LIMIT_MS * NS_PER_MS;

    while (!r->ended && clock_ns() < deadline)
        thread_wait(&r->ended, 0, deadline);
    return r->ended;
}

static void cancel(struct runner *r)
{
    if (r->vm->native)
        hv_vp_cancel(r->vm->native_vp);
    else
        WHvCancelRunVirtualProcessor(r->vm->partition, r->index, 0);
}

bool runner_wait(struct runner *r)
{
    bool ended = wait_ended(r);

    if (!ended) {
        FAIL("VP %u is still running after %u ms", r->index, RUNNER_LIMIT_MS);
        cancel(r);
    }
    thread_join(r->thread);
    return ended;
}

bool runner_check(struct runner *r, WHV_RUN_VP_EXIT_REASON wanted, const char *file, int line)
{
    if (!runner_wait(r) || !EXPECT_OK(r->result))
        return false;
    if (r->exit.ExitReason == wanted)
        return true;
    test_fail(file, line, "exit %s at RIP 0x%llx, wanted %s", vm_reason_name(r->exit.ExitReason),
              (unsigned long long)r->exit.VpContext.Rip, vm_reason_name(wanted));
    return false;
}

bool counter_reaches(struct vm *vm, uint32_t value)
{
    uint64_t deadline = clock_ns() + RUNNER_LIMIT_MS * NS_PER_MS;

    while ((int32_t)(counter(vm) - value) < 0) {
        if (clock_ns() > deadline)
            return FAIL("the guest's counter stands at %u, wanted %u", counter(vm), value), false;
        if (thread_cpus() == 1)
            thread_yield();
        else
            cpu_relax();
    }
    return true;
}

bool counter_moves(struct vm *vm, uint32_t rounds)
{
    return counter_reaches(vm, counter(vm) + rounds);
}
