/* SPDX-License-Identifier: MIT */
/* What went wrong, by handle: WinHvDiagnostics.h. */
#include "test.h"
#include "vm.h"
#include <kernel/string.h>
#include <whp/WinHvDiagnostics.h>

/* Asked before the run, refused, asked after it, mended, run. */
TEST(diagnostics_finding, "diagnostics: a broken rule before and after the run")
{
    WHVX_AUDIT_FINDING before = {.Rule = NULL}, after = {.Rule = NULL};
    UINT64 cr4;
    BOOL broken = TRUE;
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    EXPECT_OK(WHvxAuditVirtualProcessor(vm.partition, 0, &broken, &before));
    EXPECT(!broken && !before.Rule);
    cr4 = vm_get(&vm, WHvX64RegisterCr4);
    vm_set(&vm, WHvX64RegisterCr4, cr4 & ~CR4_PAE);
    EXPECT_OK(WHvxAuditVirtualProcessor(vm.partition, 0, &broken, &before));
    REQUIRE(EXPECT(broken && before.Rule));
    EXPECT_HR(WHvxGetAuditFinding(vm.partition, 0, &after), WHV_E_INVALID_VP_STATE);
    EXPECT(!after.Rule);
    EXPECT_EXIT(&vm, InvalidVpRegisterValue);
    EXPECT_OK(WHvxGetAuditFinding(vm.partition, 0, &after));
    REQUIRE(EXPECT(after.Rule));
    EXPECT_EQ(strcmp(before.Rule, "guest.cr4.long_pae"), 0);
    EXPECT_EQ(strcmp(after.Rule, before.Rule), 0);
    EXPECT_EQ(after.Value, before.Value);
    vm_set(&vm, WHvX64RegisterCr4, cr4);
    EXPECT_END(&vm);
    EXPECT_HR(WHvxGetAuditFinding(vm.partition, 0, &after), WHV_E_INVALID_VP_STATE);
}

/* No IDT: #UD cannot be delivered, nor can the #GP of that, nor the double fault. */
TEST(diagnostics_triple_fault, "diagnostics: what led to a triple fault")
{
    WHVX_TRIPLE_FAULT fault = {.VectorCount = 0};
    WHV_REGISTER_VALUE idtr = {.Table = {.Limit = 0}};
    const WHV_REGISTER_NAME name = WHvX64RegisterIdtr;
    VM_GUEST(vm, VM_LONG, "exception_ud", NULL);

    EXPECT_OK(WHvSetVirtualProcessorRegisters(vm.partition, 0, &name, 1, &idtr));
    EXPECT_EXIT(&vm, UnrecoverableException);
    REQUIRE(EXPECT_OK(WHvxGetTripleFault(vm.partition, 0, &fault)));
    EXPECT_EQ(fault.Rip, vm_mark(&vm, 0));
    EXPECT_EQ(fault.Idtr.Limit, 0);
    REQUIRE(EXPECT_EQ(fault.VectorCount, WHVX_TRIPLE_FAULT_VECTORS));
    EXPECT_EQ(fault.Vectors[0].Vector, 6);
    EXPECT_EQ(fault.Vectors[1].Vector, 13);
}

static const WHVX_EXIT_COUNTER *named(const WHVX_EXIT_COUNTER *counters, UINT32 count, const char *name)
{
    for (UINT32 i = 0; i < count; i++)
        if (strcmp(counters[i].Name, name) == 0)
            return &counters[i];
    return NULL;
}

TEST(diagnostics_exits, "diagnostics: exits are counted, those that ended a run too, and time")
{
    WHVX_EXIT_COUNTER counters[WHVX_EXIT_COUNTERS_MAX];
    WHV_PROCESSOR_RUNTIME_COUNTERS before = {0}, after = {0};
    const WHVX_EXIT_COUNTER *halt;
    UINT32 count = 0;
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    EXPECT_OK(
        WHvGetVirtualProcessorCounters(vm.partition, 0, WHvProcessorCounterSetRuntime, &before, sizeof(before), NULL));
    EXPECT_EQ(before.TotalRuntime100ns, 0);
    EXPECT_END(&vm);
    REQUIRE(EXPECT_OK(WHvxGetExitCounters(vm.partition, 0, counters, COUNT(counters), &count)));
    halt = named(counters, count, "X64Halt");
    REQUIRE(EXPECT(halt != NULL));
    EXPECT_EQ(halt->Exits, 1);
    EXPECT_EQ(halt->Returns, 1);
    EXPECT_OK(
        WHvGetVirtualProcessorCounters(vm.partition, 0, WHvProcessorCounterSetRuntime, &after, sizeof(after), NULL));
    EXPECT(after.TotalRuntime100ns > 0);
    EXPECT_EQ(after.HypervisorRuntime100ns, 0);
}
