/* SPDX-License-Identifier: MIT */
/* Calls of the API that no guest takes part in. */
#include "bench.h"

#define WARM_ROUNDS 2u

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
        bench_ticks(f, ticks, (uint64_t)bench_rounds(f) * (call->count ? call->count : 1));
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

/* The first one, 16, 18 (as many as KVM_GET_REGS has), all. */
static const WHV_REGISTER_NAME names[] = {
    WHvX64RegisterRax,   WHvX64RegisterRcx,        WHvX64RegisterRdx,         WHvX64RegisterRbx,
    WHvX64RegisterRsp,   WHvX64RegisterRbp,        WHvX64RegisterRsi,         WHvX64RegisterRdi,
    WHvX64RegisterR8,    WHvX64RegisterR9,         WHvX64RegisterR10,         WHvX64RegisterR11,
    WHvX64RegisterR12,   WHvX64RegisterR13,        WHvX64RegisterR14,         WHvX64RegisterR15,
    WHvX64RegisterRip,   WHvX64RegisterRflags,     WHvX64RegisterEs,          WHvX64RegisterCs,
    WHvX64RegisterSs,    WHvX64RegisterDs,         WHvX64RegisterFs,          WHvX64RegisterGs,
    WHvX64RegisterLdtr,  WHvX64RegisterTr,         WHvX64RegisterIdtr,        WHvX64RegisterGdtr,
    WHvX64RegisterCr0,   WHvX64RegisterCr2,        WHvX64RegisterCr3,         WHvX64RegisterCr4,
    WHvX64RegisterCr8,   WHvX64RegisterDr0,        WHvX64RegisterDr1,         WHvX64RegisterDr2,
    WHvX64RegisterDr3,   WHvX64RegisterDr6,        WHvX64RegisterDr7,         WHvX64RegisterXmm0,
    WHvX64RegisterXmm1,  WHvX64RegisterXmm2,       WHvX64RegisterXmm3,        WHvX64RegisterXmm4,
    WHvX64RegisterXmm5,  WHvX64RegisterXmm6,       WHvX64RegisterXmm7,        WHvX64RegisterXmm8,
    WHvX64RegisterXmm9,  WHvX64RegisterXmm10,      WHvX64RegisterXmm11,       WHvX64RegisterXmm12,
    WHvX64RegisterXmm13, WHvX64RegisterXmm14,      WHvX64RegisterXmm15,       WHvX64RegisterEfer,
    WHvX64RegisterStar,  WHvX64RegisterLstar,      WHvX64RegisterCstar,       WHvX64RegisterSfmask,
    WHvX64RegisterPat,   WHvX64RegisterSysenterCs, WHvX64RegisterSysenterEip, WHvX64RegisterSysenterEsp,
};
_Static_assert(COUNT(names) == 64, "the largest number");

static WHV_REGISTER_VALUE values[COUNT(names)];

static void get(struct vm *vm, uint32_t count)
{
    if (WHvGetVirtualProcessorRegisters(vm->partition, 0, names, count, values) != S_OK)
        FAIL("getting %u registers fails", count);
}

static void set(struct vm *vm, uint32_t count)
{
    if (WHvSetVirtualProcessorRegisters(vm->partition, 0, names, count, values) != S_OK)
        FAIL("setting %u registers fails", count);
}

static bool get_all(struct vm *vm)
{
    get(vm, COUNT(names));
    return !test_failed();
}

#define REGISTERS(n)                                         \
    static void get_##n(struct vm *vm)                       \
    {                                                        \
        get(vm, n);                                          \
    }                                                        \
    static void set_##n(struct vm *vm)                       \
    {                                                        \
        set(vm, n);                                          \
    }                                                        \
    const struct host_call call_get_##n = {.call = get_##n}; \
    const struct host_call call_set_##n = {.create = get_all, .call = set_##n}

REGISTERS(1);
REGISTERS(16);
REGISTERS(18);
REGISTERS(64);

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
