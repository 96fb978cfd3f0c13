/* SPDX-License-Identifier: MIT */
/* Guest machines: creating and deleting, registers, running. What a mode needs is in vm_modes.c. */
#include "vm.h"
#include "test.h"
#include <kernel/clock.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>

#define MEMORY_PAGES (VM_MEMORY_SIZE / PAGE_SIZE)

/* All that exist: threads of a test may create some too. */
static struct vm *machines;
static struct spinlock machines_lock;

static void list_add(struct vm *vm)
{
    uint64_t flags = spin_lock(&machines_lock);

    vm->next = machines;
    machines = vm;
    spin_unlock(&machines_lock, flags);
}

static void list_remove(struct vm *vm)
{
    uint64_t flags = spin_lock(&machines_lock);

    for (struct vm **at = &machines; *at; at = &(*at)->next)
        if (*at == vm) {
            *at = vm->next;
            break;
        }
    spin_unlock(&machines_lock, flags);
}

/* ------------------------------------------------------------------------ creating, deleting */

static bool create_memory(struct vm *vm)
{
    vm->memory = pages_alloc(MEMORY_PAGES, 0);
    if (!vm->memory)
        return false;
    memset(vm->memory, 0, VM_MEMORY_SIZE);
    list_add(vm);
    return true;
}

static bool create_vps(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->vp_count; i++)
        if (!EXPECT_OK(WHvCreateVirtualProcessor(vm->partition, i, 0)))
            return false;
    return true;
}

bool vm_create(struct vm *vm, uint32_t vp_count, void (*configure)(struct vm *vm))
{
    memset(vm, 0, sizeof(*vm));
    vm->vp_count = vp_count;
    if (!EXPECT(create_memory(vm)) || !EXPECT_OK(WHvCreatePartition(&vm->partition)))
        return false;
    vm_set_property(vm, WHvPartitionPropertyCodeProcessorCount, &vp_count, sizeof(vp_count));
    if (configure)
        configure(vm);
    return EXPECT_OK(WHvSetupPartition(vm->partition)) && vm_protect(vm, 0, VM_MEMORY_SIZE, VM_RWX) && create_vps(vm);
}

bool vm_create_native(struct vm *vm)
{
    uint32_t count = 1;

    memset(vm, 0, sizeof(*vm));
    vm->vp_count = count;
    if (!EXPECT(create_memory(vm)) || !EXPECT_EQ(hv_partition_create(&vm->native), HV_OK))
        return false;
    vm_set_property(vm, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count));
    if (!EXPECT_EQ(hv_partition_setup(vm->native), HV_OK) || !vm_protect(vm, 0, VM_MEMORY_SIZE, VM_RWX) ||
        !EXPECT_EQ(hv_vp_create(vm->native, 0), HV_OK))
        return false;
    vm->native_vp = hv_vp_ref(vm->native, 0);
    return EXPECT(vm->native_vp != NULL);
}

void vm_delete(struct vm *vm)
{
    if (vm->native_vp)
        hv_vp_unref(vm->native_vp);
    if (vm->native)
        EXPECT_EQ(hv_partition_delete(vm->native), HV_OK);
    if (vm->partition)
        EXPECT_OK(WHvDeletePartition(vm->partition));
    if (vm->memory) {
        list_remove(vm);
        pages_free(vm->memory, MEMORY_PAGES);
    }
    memset(vm, 0, sizeof(*vm));
}

void vm_check_all_deleted(void)
{
    while (machines) {
        FAIL("a machine was left behind");
        vm_delete(machines);
    }
}

/* --------------------------------------------------------------------- properties and memory */

void vm_set_property(struct vm *vm, WHV_PARTITION_PROPERTY_CODE code, const void *value, uint32_t size)
{
    if (vm->native)
        EXPECT_EQ(hv_partition_set_property(vm->native, code, value, size), HV_OK);
    else
        EXPECT_OK(WHvSetPartitionProperty(vm->partition, code, value, size));
}

void vm_set_exits(struct vm *vm, uint64_t extended_vm_exits)
{
    vm_set_property(vm, WHvPartitionPropertyCodeExtendedVmExits, &extended_vm_exits, sizeof(extended_vm_exits));
}

void vm_set_exceptions(struct vm *vm, uint64_t bitmap)
{
    vm_set_exits(vm, VM_EXIT_EXCEPTION);
    vm_set_property(vm, WHvPartitionPropertyCodeExceptionExitBitmap, &bitmap, sizeof(bitmap));
}

bool vm_protect(struct vm *vm, uint64_t gpa, uint64_t size, unsigned rights)
{
    if (vm->native)
        return EXPECT_EQ(rights ? hv_partition_map(vm->native, vm->memory + gpa, gpa, size, rights)
                                : hv_partition_unmap(vm->native, gpa, size),
                         HV_OK);
    if (rights == 0)
        return EXPECT_OK(WHvUnmapGpaRange(vm->partition, gpa, size));
    return EXPECT_OK(WHvMapGpaRange(vm->partition, vm->memory + gpa, gpa, size, (WHV_MAP_GPA_RANGE_FLAGS)rights));
}

/* ---------------------------------------------------------------------------------- registers */

_Static_assert(sizeof(union hv_reg_value) == sizeof(WHV_REGISTER_VALUE), "native values are WHP's");

HRESULT vm_try_get(struct vm *vm, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE *value)
{
    if (vm->native)
        return (HRESULT)hv_vp_get_registers(vm->native_vp, (const uint32_t *)&name, 1, (union hv_reg_value *)value);
    return WHvGetVirtualProcessorRegisters(vm->partition, 0, &name, 1, value);
}

HRESULT vm_try_set(struct vm *vm, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE value)
{
    if (vm->native)
        return (HRESULT)hv_vp_set_registers(vm->native_vp, (const uint32_t *)&name, 1,
                                            (const union hv_reg_value *)&value);
    return WHvSetVirtualProcessorRegisters(vm->partition, 0, &name, 1, &value);
}

WHV_REGISTER_VALUE vm_get_value(struct vm *vm, WHV_REGISTER_NAME name)
{
    WHV_REGISTER_VALUE value = {0};
    HRESULT result = vm_try_get(vm, name, &value);

    if (result != S_OK)
        FAIL("getting register 0x%x: 0x%x", (unsigned)name, (unsigned)result);
    return value;
}

void vm_set_value(struct vm *vm, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE value)
{
    HRESULT result = vm_try_set(vm, name, value);

    if (result != S_OK)
        FAIL("setting register 0x%x to 0x%llx: 0x%x", (unsigned)name, (unsigned long long)value.Reg64,
             (unsigned)result);
}

uint64_t vm_get(struct vm *vm, WHV_REGISTER_NAME name)
{
    return vm_get_value(vm, name).Reg64;
}

void vm_set(struct vm *vm, WHV_REGISTER_NAME name, uint64_t value)
{
    vm_set128(vm, name, value, 0);
}

void vm_set128(struct vm *vm, WHV_REGISTER_NAME name, uint64_t low, uint64_t high)
{
    vm_set_value(vm, name, (WHV_REGISTER_VALUE){.Reg128 = {{low, high}}});
}

WHV_X64_SEGMENT_REGISTER vm_get_segment(struct vm *vm, WHV_REGISTER_NAME name)
{
    return vm_get_value(vm, name).Segment;
}

void vm_set_segment(struct vm *vm, WHV_REGISTER_NAME name, uint16_t selector, uint64_t base, uint32_t limit,
                    uint16_t attributes)
{
    vm_set_value(vm, name, (WHV_REGISTER_VALUE){.Segment = {base, limit, selector, {.Attributes = attributes}}});
}

void vm_set_table(struct vm *vm, WHV_REGISTER_NAME name, uint64_t base, uint16_t limit)
{
    vm_set_value(vm, name, (WHV_REGISTER_VALUE){.Table = {.Limit = limit, .Base = base}});
}

uint64_t vm_get_vp(struct vm *vm, uint32_t index, WHV_REGISTER_NAME name)
{
    WHV_REGISTER_VALUE value = {0};

    EXPECT_OK(WHvGetVirtualProcessorRegisters(vm->partition, index, &name, 1, &value));
    return value.Reg64;
}

void vm_set_vp(struct vm *vm, uint32_t index, WHV_REGISTER_NAME name, uint64_t value)
{
    WHV_REGISTER_VALUE v = {.Reg64 = value};

    EXPECT_OK(WHvSetVirtualProcessorRegisters(vm->partition, index, &name, 1, &v));
}

/* ---------------------------------------------------------------------------------- watchdog */

/* Runs under way: who is late is cancelled. */
struct run_slot {
    struct vm *vm;
    uint32_t index;
    uint64_t until_ns;
    bool expired;
};

static struct run_slot slots[16];
static struct spinlock slots_lock;
static volatile uint32_t watchdog_stop;
static struct thread *watchdog;

static struct run_slot *slot_take(struct vm *vm, uint32_t index)
{
    uint64_t flags = spin_lock(&slots_lock);
    struct run_slot *s = NULL;

    for (unsigned i = 0; i < COUNT(slots) && !s; i++)
        if (!slots[i].vm)
            s = &slots[i];
    if (s)
        *s = (struct run_slot){vm, index, clock_ns() + VM_RUN_LIMIT_MS * NS_PER_MS, false};
    spin_unlock(&slots_lock, flags);
    return s;
}

static void slot_release(struct run_slot *s)
{
    uint64_t flags = spin_lock(&slots_lock);

    if (s) {
        if (s->expired)
            FAIL("the guest ran longer than %d ms", VM_RUN_LIMIT_MS);
        s->vm = NULL;
    }
    spin_unlock(&slots_lock, flags);
}

static void cancel(const struct run_slot *s)
{
    if (s->vm->native)
        hv_vp_cancel(s->vm->native_vp);
    else
        WHvCancelRunVirtualProcessor(s->vm->partition, s->index, 0);
}

static void cancel_late_runs(void)
{
    uint64_t flags = spin_lock(&slots_lock);

    for (struct run_slot *s = slots; s < slots + COUNT(slots); s++)
        if (s->vm && !s->expired && clock_ns() > s->until_ns) {
            s->expired = true;
            cancel(s);
        }
    spin_unlock(&slots_lock, flags);
}

static void watchdog_main(void *arg)
{
    (void)arg;
    while (!watchdog_stop) {
        thread_wait(&watchdog_stop, 0, clock_ns() + VM_RUN_LIMIT_MS * NS_PER_MS / 4);
        cancel_late_runs();
    }
}

void vm_start_watchdog(void)
{
    watchdog_stop = 0;
    watchdog = thread_create("watchdog", watchdog_main, NULL, CPU_ANY);
}

void vm_stop_watchdog(void)
{
    watchdog_stop = 1;
    thread_wake(&watchdog_stop);
    if (watchdog)
        thread_join(watchdog);
}

/* ------------------------------------------------------------------------------------ running */

static const struct {
    WHV_RUN_VP_EXIT_REASON reason;
    const char *name;
} reasons[] = {
    {WHvRunVpExitReasonNone, "None"},
    {WHvRunVpExitReasonMemoryAccess, "MemoryAccess"},
    {WHvRunVpExitReasonX64IoPortAccess, "X64IoPortAccess"},
    {WHvRunVpExitReasonUnrecoverableException, "UnrecoverableException"},
    {WHvRunVpExitReasonInvalidVpRegisterValue, "InvalidVpRegisterValue"},
    {WHvRunVpExitReasonUnsupportedFeature, "UnsupportedFeature"},
    {WHvRunVpExitReasonX64InterruptWindow, "X64InterruptWindow"},
    {WHvRunVpExitReasonX64Halt, "X64Halt"},
    {WHvRunVpExitReasonX64ApicEoi, "X64ApicEoi"},
    {WHvRunVpExitReasonSynicSintDeliverable, "SynicSintDeliverable"},
    {WHvRunVpExitReasonX64MsrAccess, "X64MsrAccess"},
    {WHvRunVpExitReasonX64Cpuid, "X64Cpuid"},
    {WHvRunVpExitReasonException, "Exception"},
    {WHvRunVpExitReasonX64Rdtsc, "X64Rdtsc"},
    {WHvRunVpExitReasonHypercall, "Hypercall"},
    {WHvRunVpExitReasonCanceled, "Canceled"},
};

bool vm_is_svm(void)
{
    return strcmp(hv_platform()->backend, "SVM") == 0;
}

bool vm_knows_gva(void)
{
    return !vm_is_svm();
}

bool vm_has_other_msrs(void)
{
    uint32_t eax = 0, ebx, ecx = 0, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ebx == 0x68747541 || ebx == 0x6f677948; /* "Auth"enticAMD, "Hygo"nGenuine */
}

const char *vm_hypercall(void)
{
    return vm_is_svm() ? "misc_vmmcall" : "misc_vmcall";
}

const char *vm_reason_name(WHV_RUN_VP_EXIT_REASON reason)
{
    for (unsigned i = 0; i < COUNT(reasons); i++)
        if (reasons[i].reason == reason)
            return reasons[i].name;
    return "?";
}

/* The native exit is WHP's, but for the number of its reason. */
static WHV_RUN_VP_EXIT_REASON run_native(struct vm *vm)
{
    const struct hv_exit_context *e = &vm->native_exit;
    WHV_RUN_VP_EXIT_CONTEXT *to = &vm->exit;

    EXPECT_EQ(hv_vp_run(vm->native_vp, &vm->native_exit), HV_OK);
    memcpy(to, e, sizeof(*to));
    to->ExitReason = WHvRunVpExitReasonNone;
    for (unsigned i = 0; i < COUNT(reasons); i++)
        if (strcmp(reasons[i].name, hv_exit_reason_name(e->reason)) == 0)
            to->ExitReason = reasons[i].reason;
    return to->ExitReason;
}

/* What VpContext says must be what the registers say, at every exit. */
static void check_context(struct vm *vm)
{
    const WHV_VP_EXIT_CONTEXT *c = &vm->exit.VpContext;
    uint64_t cr0 = vm_get(vm, WHvX64RegisterCr0), interrupt = vm_get(vm, WHvRegisterInterruptState);
    WHV_X64_SEGMENT_REGISTER cs = vm_get_segment(vm, WHvX64RegisterCs), ss = vm_get_segment(vm, WHvX64RegisterSs);

    EXPECT_EQ(c->Rip, vm_get(vm, WHvX64RegisterRip));
    EXPECT_EQ(c->Rflags, vm_get(vm, WHvX64RegisterRflags));
    EXPECT_EQ(c->Cr8, vm_get(vm, WHvX64RegisterCr8));
    EXPECT_BYTES(&c->Cs, &cs, sizeof(cs));
    EXPECT_EQ(c->ExecutionState.Cpl, ss.DescriptorPrivilegeLevel); /* 0 in real mode */
    EXPECT_EQ(c->ExecutionState.Cr0Pe, (cr0 & CR0_PE) != 0);
    EXPECT_EQ(c->ExecutionState.Cr0Am, (cr0 & CR0_AM) != 0);
    EXPECT_EQ(c->ExecutionState.EferLma, (vm_get(vm, WHvX64RegisterEfer) & EFER_LMA) != 0);
    EXPECT_EQ(c->ExecutionState.DebugActive, (vm_get(vm, WHvX64RegisterDr7) & 0xff) != 0);
    EXPECT_EQ(c->ExecutionState.InterruptionPending, vm_get(vm, WHvRegisterPendingInterruption) & 1);
    EXPECT_EQ(c->ExecutionState.InterruptShadow, interrupt & 1);
    EXPECT_EQ(c->ExecutionState.Reserved0, 0);
    EXPECT_EQ(c->ExecutionState.Reserved1, 0);
    EXPECT_EQ(c->Reserved, 0);
    EXPECT_EQ(c->Reserved2, 0);
}

WHV_RUN_VP_EXIT_REASON vm_run(struct vm *vm)
{
    struct run_slot *slot = slot_take(vm, 0);

    memset(&vm->exit, 0xa5, sizeof(vm->exit));
    if (vm->native)
        run_native(vm);
    else if (!EXPECT_OK(WHvRunVirtualProcessor(vm->partition, 0, &vm->exit, sizeof(vm->exit))))
        memset(&vm->exit, 0, sizeof(vm->exit));
    slot_release(slot);
    if (!vm->native)
        check_context(vm);
    return vm->exit.ExitReason;
}

HRESULT vm_run_vp(struct vm *vm, uint32_t index, WHV_RUN_VP_EXIT_CONTEXT *exit)
{
    struct run_slot *slot = slot_take(vm, index);
    HRESULT result = WHvRunVirtualProcessor(vm->partition, index, exit, sizeof(*exit));

    slot_release(slot);
    return result;
}

/* Says what is most useful to know of an exit that nobody expected. */
static void note_exit(struct vm *vm)
{
    const WHV_RUN_VP_EXIT_CONTEXT *e = &vm->exit;

    test_note("exit %s at RIP 0x%llx (CS 0x%x base 0x%llx), RFLAGS 0x%llx, RSP 0x%llx", vm_reason_name(e->ExitReason),
              (unsigned long long)e->VpContext.Rip, e->VpContext.Cs.Selector, (unsigned long long)e->VpContext.Cs.Base,
              (unsigned long long)e->VpContext.Rflags, (unsigned long long)vm_get(vm, WHvX64RegisterRsp));
    if (vm->native)
        return;
    if (e->ExitReason == WHvRunVpExitReasonMemoryAccess)
        test_note("memory access 0x%x, GPA 0x%llx, GVA 0x%llx", e->MemoryAccess.AccessInfo.AsUINT32,
                  (unsigned long long)e->MemoryAccess.Gpa, (unsigned long long)e->MemoryAccess.Gva);
    if (e->ExitReason == WHvRunVpExitReasonException)
        test_note("exception %u, error code 0x%x, parameter 0x%llx", e->VpException.ExceptionType,
                  e->VpException.ErrorCode, (unsigned long long)e->VpException.ExceptionParameter);
}

bool vm_check_reason(struct vm *vm, WHV_RUN_VP_EXIT_REASON wanted, const char *file, int line)
{
    WHV_RUN_VP_EXIT_REASON got = vm->exit.ExitReason;

    if (got == wanted)
        return true;
    test_fail(file, line, "exit %s, wanted %s", vm_reason_name(got), vm_reason_name(wanted));
    note_exit(vm);
    return false;
}

bool vm_check_end(struct vm *vm, const char *file, int line)
{
    bool ended = vm_check_reason(vm, WHvRunVpExitReasonX64Halt, file, line);

    if (ended && vm_mode_in(vm->mode, VM_CPL3)) {
        ended = test_check(vm->exit.VpContext.Rip == VM_STUB(13) + 1, file, line, "#GP of HLT at CPL 3",
                           vm->exit.VpContext.Rip, VM_STUB(13) + 1);
        return ended && test_check(vm_stack(vm, 1) == vm_end(vm) - 1, file, line, "end of the snippet", vm_stack(vm, 1),
                                   vm_end(vm) - 1);
    }
    return ended && test_check(vm->exit.VpContext.Rip == vm_end(vm), file, line, "end of the snippet",
                               vm->exit.VpContext.Rip, vm_end(vm));
}

void vm_check_instruction(struct vm *vm, unsigned n)
{
    EXPECT_EQ(vm->exit.VpContext.Rip, vm_mark(vm, n));
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, vm_mark(vm, n + 1) - vm_mark(vm, n));
}

void vm_check_bytes(struct vm *vm, unsigned count, const uint8_t *bytes, bool must)
{
    uint64_t at = vm->exit.VpContext.Cs.Base + vm->exit.VpContext.Rip;

    EXPECT_LE(count, 16);
    if (must)
        EXPECT_GE(count, 1);
    if (count <= 16 && at + count <= VM_MEMORY_SIZE)
        EXPECT_BYTES(bytes, vm_at(vm, at), count);
}

void vm_step(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterRip, vm->exit.VpContext.Rip + vm->exit.VpContext.InstructionLength);
}
