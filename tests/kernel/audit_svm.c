/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor against VMRUN itself, through the VMCB: each rule is broken there, the auditor has to name it, and
 * the CPU has to refuse the entry; with the old value back the same VP runs on. audit_engine.c is its like for VMX.
 *
 * Out of reach are rules of the control area, which raw writes refuse, of what this library never turns on, and of CPUs
 * without long mode; and EFER.SVME.
 */
#include "../../arch/x86_64/svm/vmcb.h"
#include "test.h"
#include "vm.h"
#include <kernel/string.h>

#define FIELD_OF(member)    ((uint32_t)offsetof(struct vmcb, member))
#define CS_ATTRIBUTES(bits) ((uint64_t)(bits) << 16) /* in the word that holds the selector and the limit too */
#define ATTR_D              0x400u
#define VM_ANY              VM_ALL

/* The new value is (old & keep) | set. */
static const struct {
    const char *name; /* the rule */
    uint32_t modes;
    uint32_t field;
    uint64_t keep, set;
    const char *unenforced; /* what emulator is known not to look */
} rows[] = {
    {"guest.cr0.nw", VM_ANY, FIELD_OF(cr0), ~CR0_CD, CR0_NW, NULL},
    {"guest.cr0.high", VM_ANY, FIELD_OF(cr0), ~0ull, 1ull << 32, NULL},
    {"guest.cr0.high", VM_ANY, FIELD_OF(cr0), ~0ull, 1ull << 63, NULL},
    {"guest.cr3", VM_LONG_MODES, FIELD_OF(cr3), ~0ull, 1ull << 52, NULL},
    {"guest.cr3", VM_LONG_MODES, FIELD_OF(cr3), ~0ull, 1ull << 63, NULL},
    {"guest.cr4.must_be_0", VM_ANY, FIELD_OF(cr4), ~0ull, 1ull << 31, NULL},
    {"guest.cr4.must_be_0", VM_ANY, FIELD_OF(cr4), ~0ull, 1ull << 15, NULL},
    {"guest.dr6", VM_ANY, FIELD_OF(dr6), ~0ull, 1ull << 32, NULL},
    {"guest.dr7", VM_ANY, FIELD_OF(dr7), ~0ull, 1ull << 32, NULL},
    {"guest.efer.reserved", VM_ANY, FIELD_OF(efer), ~0ull, 1ull << 63, NULL},
    {"guest.efer.reserved", VM_ANY, FIELD_OF(efer), ~0ull, 1ull << 9, NULL},
    {"guest.cr4.long_pae", VM_LONG_MODES, FIELD_OF(cr4), ~CR4_PAE, 0, NULL},
    {"guest.cr0.long_pe", VM_LONG_MODES, FIELD_OF(cr0), ~CR0_PE, 0, NULL},
    {"guest.cs.db", VM_CODE64, FIELD_OF(cs), ~0ull, CS_ATTRIBUTES(ATTR_D), NULL},
    {"guest.pat", VM_ANY, FIELD_OF(g_pat), ~0xffull, 2, "QEMU does not know G_PAT"},
};

static bool broken_rule(struct vm *vm, struct hv_audit_finding *finding)
{
    bool broken = false;

    *finding = (struct hv_audit_finding){.rule = "nothing"};
    EXPECT_EQ(hv_vp_audit(vm->native_vp, &broken, finding), HV_OK);
    return broken;
}

static void expect_rule(const struct hv_audit_finding *finding, const char *wanted)
{
    if (strcmp(finding->rule, wanted) != 0)
        FAIL("the auditor says %s, wanted %s", finding->rule, wanted);
}

TEST_ROWS_MODES(audit_svm_rules, "audit VMCB: broken", rows, VM_ALL)
{
    struct hv_audit_finding finding;
    uint64_t good = 0;

    if (!vm_is_svm())
        SKIP("VMX: rules of SVM's");
    VM(vm);
    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, mode) && vm_load(&vm, "smoke_halt"));
    EXPECT(!broken_rule(&vm, &finding));
    REQUIRE(EXPECT_EQ(hv_vp_raw_get(vm.native_vp, row->field, &good), HV_OK));
    EXPECT_EQ(hv_vp_raw_set(vm.native_vp, row->field, (good & row->keep) | row->set), HV_OK);
    EXPECT(broken_rule(&vm, &finding));
    expect_rule(&finding, row->name);
    vm_run(&vm);
    if (vm.exit.ExitReason != WHvRunVpExitReasonInvalidVpRegisterValue && row->unenforced)
        SKIP("%s", row->unenforced);
    REQUIRE(vm_check_reason(&vm, WHvRunVpExitReasonInvalidVpRegisterValue, __FILE__, __LINE__));
    EXPECT_EQ(hv_vp_audit_finding(vm.native_vp, &finding), HV_OK);
    expect_rule(&finding, row->name);
    REQUIRE(vm_enter(&vm, mode) && vm_load(&vm, "smoke_halt"));
    EXPECT_EQ(hv_vp_raw_set(vm.native_vp, row->field, good), HV_OK);
    EXPECT_END(&vm);
}

/* Events are no field that can be written, but a register of WHP's. */
static const struct {
    const char *name;
    uint64_t event;
    const char *rule;
} events[] = {
    {"an exception that there is not", 1 | 3 << 1 | 40ull << 16, "control.event.vector"},
    {"NMI's vector as an exception", 1 | 3 << 1 | 2ull << 16, "control.event.vector"},
};

TEST_ROWS(audit_svm_events, "audit VMCB: event", events)
{
    struct hv_audit_finding finding;

    if (!vm_is_svm())
        SKIP("VMX: rules of SVM's");
    VM(vm);
    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, VM_LONG) && vm_load(&vm, "smoke_halt"));
    vm_set(&vm, WHvRegisterPendingInterruption, row->event);
    EXPECT(broken_rule(&vm, &finding));
    expect_rule(&finding, row->rule);
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingInterruption), row->event);
    REQUIRE(EXPECT_EXIT(&vm, InvalidVpRegisterValue));
    EXPECT_EQ(hv_vp_audit_finding(vm.native_vp, &finding), HV_OK);
    expect_rule(&finding, row->rule);
    vm_set(&vm, WHvRegisterPendingInterruption, 0);
    EXPECT_END(&vm);
}

/* The host's part, and what is no field. */
TEST(audit_svm_raw, "audit VMCB: what raw writes refuse")
{
    static const uint32_t refused[] = {
        0,
        FIELD_OF(intercepts),
        FIELD_OF(iopm_pa),
        FIELD_OF(tsc_offset),
        FIELD_OF(nested_control),
        FIELD_OF(event_inj),
        FIELD_OF(nested_cr3),
        FIELD_OF(avic_backing_page),
        FIELD_OF(es) - 8,
        FIELD_OF(rip) + 4,
        FIELD_OF(rip) + 1,
        sizeof(struct vmcb),
        0xfffffff8,
        0xffffffff,
    };

    if (!vm_is_svm())
        SKIP("VMX: fields of SVM's");
    VM(vm);
    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, VM_LONG) && vm_load(&vm, "smoke_halt"));
    for (unsigned i = 0; i < COUNT(refused); i++)
        if (hv_vp_raw_set(vm.native_vp, refused[i], 0) != HV_E_INVALID)
            FAIL("field 0x%x is taken", refused[i]);
    EXPECT_END(&vm);
}
