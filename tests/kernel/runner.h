/* SPDX-License-Identifier: MIT */
/* A virtual processor that runs on a thread of its own, for tests that do something to it meanwhile (smp_runner.c). */
#ifndef RUNNER_H
#define RUNNER_H

#include "test.h"
#include "vm.h"
#include <kernel/cpu.h>
#include <kernel/thread.h>

struct runner {
    struct vm *vm;
    uint32_t index, cpu;
    struct thread *thread;
    volatile uint32_t ended;
    HRESULT result;               /* WHvRunVirtualProcessor's; native: S_OK */
    WHV_RUN_VP_EXIT_CONTEXT exit; /* native: ExitReason only, by name */
    struct hv_exit_context native_exit;
};

#define RUNNER_LIMIT_MS 2000

/* One run of that VP, on that CPU (CPU_ANY: any). runner_wait: false, with the test failed, when it does not end; then
 * it is cancelled. */
bool runner_start(struct runner *r, struct vm *vm, uint32_t index, uint32_t cpu);
bool runner_wait(struct runner *r);
bool runner_check(struct runner *r, WHV_RUN_VP_EXIT_REASON wanted, const char *file,
                  int line); /* waits, and looks why it ended */

/* A CPU other than that of a thread pinned to thread_cpu(0), where there is one. */
static inline uint32_t other_cpu(void)
{
    return thread_cpu(thread_cpus() - 1);
}

/* Waits until the guest's counter at VM_DATA is at least `value`. */
bool counter_reaches(struct vm *vm, uint32_t value);
bool counter_moves(struct vm *vm, uint32_t rounds); /* by so many from now */

static inline uint32_t counter(struct vm *vm)
{
    return *(volatile uint32_t *)vm_at(vm, VM_DATA);
}

/* Starts, sees the guest run; cancels, sees it end so. */
#define REQUIRE_RUNNING(r, vm, cpu)   REQUIRE(runner_start(r, vm, 0, cpu) && counter_moves(vm, 2))
#define EXPECT_RUNNER_EXIT(r, reason) runner_check(r, WHvRunVpExitReason##reason, __FILE__, __LINE__)
#define EXPECT_CANCEL(r) \
    (EXPECT_OK(WHvCancelRunVirtualProcessor((r)->vm->partition, (r)->index, 0)), EXPECT_RUNNER_EXIT(r, Canceled))

#endif
