/* SPDX-License-Identifier: MIT */
/* What went wrong, by handle: WinHvDiagnostics.h. */
#include "test.h"
#include "vm.h"
#include <kernel/string.h>
#include <whp/WinHvDiagnostics.h>

#define EFER_LME_BIT (1ull << 8)

/* Asked before the run, refused, asked after it, mended, run. */
TEST(diagnostics_finding, "diagnostics: a broken rule before and after the run")
{
    WHVX_AUDIT_FINDING before = {.Rule = NULL}, after = {.Rule = NULL};
    UINT64 efer;
    BOOL broken = TRUE;
    VM_GUEST(vm, VM_LONG, "smoke_halt", NULL);

    EXPECT_OK(WHvxAuditVirtualProcessor(vm.partition, 0, &broken, &before));
    EXPECT(!broken && !before.Rule);
    efer = vm_get(&vm, WHvX64RegisterEfer);
    vm_set(&vm, WHvX64RegisterEfer, efer & ~EFER_LME_BIT);
    EXPECT_OK(WHvxAuditVirtualProcessor(vm.partition, 0, &broken, &before));
    REQUIRE(EXPECT(broken && before.Rule));
    EXPECT_HR(WHvxGetAuditFinding(vm.partition, 0, &after), WHV_E_INVALID_VP_STATE);
    EXPECT(!after.Rule);
    EXPECT_EXIT(&vm, InvalidVpRegisterValue);
    EXPECT_OK(WHvxGetAuditFinding(vm.partition, 0, &after));
    REQUIRE(EXPECT(after.Rule));
    EXPECT_EQ(strcmp(before.Rule, "guest.efer.lme"), 0);
    EXPECT_EQ(strcmp(after.Rule, before.Rule), 0);
    EXPECT_EQ(after.Value, before.Value);
    vm_set(&vm, WHvX64RegisterEfer, efer);
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
