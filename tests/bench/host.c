/* SPDX-License-Identifier: MIT */
/* Calls of the API that no guest takes part in. */
#include "bench.h"
#include <kernel/memory.h>

#define WARM_ROUNDS 4u

static void call_nothing(struct vm *vm)
{
    (void)vm;
}

static uint64_t rounds(struct vm *vm, void (*before)(struct vm *vm), void (*call)(struct vm *vm), uint32_t count)
{
    uint64_t ticks = 0, begin;

    while (count--) {
        before(vm);
        begin = bench_tsc();
        call(vm);
        ticks += bench_tsc() - begin;
    }
    return ticks;
}

void bench_host(const struct figure *f)
{
    const struct host_call *call = f->what;
    void (*before)(struct vm * vm) = call->before ? call->before : call_nothing;
    uint64_t ticks;
    VM(vm);

    REQUIRE(vm_create(&vm, 1, NULL) && vm_enter(&vm, VM_LONG) && (!call->create || call->create(&vm)));
    rounds(&vm, before, call->call, WARM_ROUNDS);
    bench_begin(f, (uintptr_t)call->call);
    ticks = rounds(&vm, before, call->call, bench_rounds(f));
    ticks -= rounds(&vm, call_nothing, call_nothing, bench_rounds(f));
    if (call->delete)
        call->delete (&vm);
    if (!test_failed())
        bench_ticks(f, ticks, bench_rounds(f));
}

/* ---------------------------------------------------------------------------------- running */

static void cancel(struct vm *vm)
{
    WHvCancelRunVirtualProcessor(vm->partition, 0, 0);
}

static void run(struct vm *vm)
{
    WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit));
    if (vm->exit.ExitReason != WHvRunVpExitReasonCanceled)
        FAIL("exit %s", vm_reason_name(vm->exit.ExitReason));
}

const struct host_call call_run_cancelled = {.before = cancel, .call = run};

/* So that there is nothing to be cancelled yet. */
static void before_cancel(struct vm *vm)
{
    cancel(vm);
    run(vm);
}

const struct host_call call_cancel = {.before = before_cancel, .call = cancel};

/* --------------------------------------------------------------------------------- registers */

static const WHV_REGISTER_NAME names[] = {
    WHvX64RegisterRax, WHvX64RegisterRcx, WHvX64RegisterRdx, WHvX64RegisterRbx, WHvX64RegisterRsp, WHvX64RegisterRbp,
    WHvX64RegisterRsi, WHvX64RegisterRdi, WHvX64RegisterR8,  WHvX64RegisterR9,  WHvX64RegisterR10, WHvX64RegisterR11,
    WHvX64RegisterR12, WHvX64RegisterR13, WHvX64RegisterR14, WHvX64RegisterR15, WHvX64RegisterRip, WHvX64RegisterRflags,
};
_Static_assert(COUNT(names) == 18, "as many as KVM_GET_REGS has");

static WHV_REGISTER_VALUE values[COUNT(names)];

static void get_18(struct vm *vm)
{
    WHvGetVirtualProcessorRegisters(vm->partition, 0, names, 18, values);
}

static bool get_some(struct vm *vm)
{
    get_18(vm);
    return true;
}

static void set_18(struct vm *vm)
{
    WHvSetVirtualProcessorRegisters(vm->partition, 0, names, 18, values);
}

const struct host_call call_get_18 = {.call = get_18};
const struct host_call call_set_18 = {.create = get_some, .call = set_18};

/* ------------------------------------------------------------------------------------ memory */

#define MAP_SIZE (8ull << 20)
#define MAP_GPA  (16ull << 20)

static void *map_memory;

static bool create_map(struct vm *vm)
{
    (void)vm;
    map_memory = pages_alloc(MAP_SIZE / PAGE_SIZE, SIZE_2M);
    return EXPECT(map_memory != NULL);
}

static void delete_map(struct vm *vm)
{
    (void)vm;
    pages_free(map_memory, MAP_SIZE / PAGE_SIZE);
}

static void map_8m(struct vm *vm)
{
    if (WHvMapGpaRange(vm->partition, map_memory, MAP_GPA, MAP_SIZE, VM_RWX) != S_OK ||
        WHvUnmapGpaRange(vm->partition, MAP_GPA, MAP_SIZE) != S_OK)
        FAIL("mapping fails");
}

const struct host_call call_map_8m = {.create = create_map, .call = map_8m, .delete = delete_map};

/* -------------------------------------------------------------------------------- partitions */

static void create(struct vm *vm)
{
    WHV_PARTITION_HANDLE partition = NULL;
    UINT32 count = 1;

    (void)vm;
    if (WHvCreatePartition(&partition) != S_OK ||
        WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count)) != S_OK ||
        WHvSetupPartition(partition) != S_OK || WHvCreateVirtualProcessor(partition, 0, 0) != S_OK ||
        WHvDeleteVirtualProcessor(partition, 0) != S_OK || WHvDeletePartition(partition) != S_OK)
        FAIL("creating fails");
}

const struct host_call call_create = {.call = create};
