/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor as a client meets it: a register is set to what the CPU refuses, the run says
 * InvalidVpRegisterValue and the core names the rule; with the register as it was the same VP runs on. All by
 * registers' names; audit_vmx.c goes through the VMCS, audit_svm.c through the VMCB.
 */
#include "test.h"
#include "vm.h"

/* One register set wrong. Segments: the words of value.segment that are not 0 replace those of the register, `clear`
 * goes from its attributes. */
static const struct audit_row {
    const char *name; /* the rule */
    enum vm_mode mode;
    WHV_REGISTER_NAME reg;
    uint64_t set, clear; /* of a 64-bit register, or of a segment's attributes */
    uint64_t base;       /* segments and tables, when not 0 */
    uint32_t limit;
    uint16_t selector;
} rows[] = {
    {"guest.cr0.pg_pe", VM_REAL, WHvX64RegisterCr0, CR0_PG, 0, 0, 0, 0},
    {"guest.cr0.must_be_0", VM_LONG, WHvX64RegisterCr0, 1ull << 32, 0, 0, 0, 0},
    {"guest.cr4.must_be_0", VM_LONG, WHvX64RegisterCr4, 1ull << 30, 0, 0, 0, 0},
    {"guest.cr4.long_pae", VM_LONG, WHvX64RegisterCr4, 0, CR4_PAE, 0, 0, 0},
    {"guest.cr4.pcide", VM_PROT32, WHvX64RegisterCr4, 0x20000, 0, 0, 0, 0},
    {"guest.cr3", VM_LONG, WHvX64RegisterCr3, 1ull << 52, 0, 0, 0, 0},
    {"guest.rip.high", VM_PROT32, WHvX64RegisterRip, 1ull << 32, 0, 0, 0, 0},
    {"guest.rflags.reserved", VM_LONG, WHvX64RegisterRflags, 1ull << 15, 0, 0, 0, 0},
    {"guest.rflags.fixed", VM_REAL, WHvX64RegisterRflags, 0, FLAG_FIXED, 0, 0, 0},
    {"guest.cs.base_v86", VM_PROT32, WHvX64RegisterRflags, 0x20000, 0, 0, 0, 0},
    {"guest.rflags.if_event", VM_LONG, WHvRegisterPendingInterruption, 1 | 0x30 << 16, 0, 0, 0, 0},
    {"guest.cs.type", VM_PROT32, WHvX64RegisterCs, 0x1, 0x8 | 0x2, 0, 0, 0},
    {"guest.cs.s", VM_PROT32, WHvX64RegisterCs, 0, 0x10, 0, 0, 0},
    {"guest.cs.p", VM_PROT32, WHvX64RegisterCs, 0, 0x80, 0, 0, 0},
    {"guest.cs.dpl", VM_PROT32, WHvX64RegisterCs, 0x60, 0, 0, 0, 0},
    {"guest.cs.db", VM_LONG, WHvX64RegisterCs, 0x4000, 0, 0, 0, 0},
    {"guest.cs.reserved_low", VM_PROT32, WHvX64RegisterCs, 0x100, 0, 0, 0, 0},
    {"guest.cs.base", VM_LONG, WHvX64RegisterCs, 0, 0, 1ull << 32, 0, 0},
    {"guest.ss.type", VM_PROT32, WHvX64RegisterSs, 0x8, 0, 0, 0, 0},
    {"guest.ss.dpl_0", VM_REAL, WHvX64RegisterSs, 0x60, 0, 0, 0, 0},
    {"guest.ss.base", VM_LONG, WHvX64RegisterSs, 0, 0, 1ull << 32, 0, 0},
    {"guest.ss.s", VM_PROT32, WHvX64RegisterSs, 0, 0x10, 0, 0, 0},
    {"guest.ds.type", VM_PROT32, WHvX64RegisterDs, 0, 0x1, 0, 0, 0},
    {"guest.ds.s", VM_PROT32, WHvX64RegisterDs, 0, 0x10, 0, 0, 0},
    {"guest.ds.base", VM_PROT32, WHvX64RegisterDs, 0, 0, 1ull << 32, 0, 0},
    {"guest.es.type", VM_LONG, WHvX64RegisterEs, 0, 0x1, 0, 0, 0},
    {"guest.es.reserved_low", VM_LONG, WHvX64RegisterEs, 0x200, 0, 0, 0, 0},
    {"guest.fs.base", VM_LONG, WHvX64RegisterFs, 0, 0, 1ull << 62, 0, 0},
    {"guest.fs.type", VM_LONG, WHvX64RegisterFs, 0x8, 0x2, 0, 0, 0},
    {"guest.gs.base", VM_LONG, WHvX64RegisterGs, 0, 0, 1ull << 62, 0, 0},
    {"guest.tr.type", VM_LONG, WHvX64RegisterTr, 0, 0x2, 0, 0, 0},
    {"guest.tr.type", VM_PROT32, WHvX64RegisterTr, 0, 0xb, 0, 0, 0},
    {"guest.tr.s", VM_PROT32, WHvX64RegisterTr, 0x10, 0, 0, 0, 0},
    {"guest.tr.p", VM_PROT32, WHvX64RegisterTr, 0, 0x80, 0, 0, 0},
    {"guest.tr.ti", VM_PROT32, WHvX64RegisterTr, 0, 0, 0, 0, 0x4c},
    {"guest.tr.base", VM_LONG, WHvX64RegisterTr, 0, 0, 1ull << 62, 0, 0},
    {"guest.ldtr.type", VM_PROT32, WHvX64RegisterLdtr, 0x83, 0, 0, 0xff, 0x60},
    {"guest.ldtr.ti", VM_PROT32, WHvX64RegisterLdtr, 0x82, 0, 0, 0xff, 0x64},
    {"guest.ldtr.s", VM_PROT32, WHvX64RegisterLdtr, 0x92, 0, 0, 0xff, 0x60},
    {"guest.gdtr.base", VM_LONG, WHvX64RegisterGdtr, 0, 0, 1ull << 62, 0, 0},
    {"guest.idtr.base", VM_LONG, WHvX64RegisterIdtr, 0, 0, 1ull << 62, 0, 0},
    {"guest.efer.lme", VM_LONG, WHvX64RegisterEfer, 0, EFER_LME, 0, 0, 0},
};

/*
 * SVM's name for the same rule. NULL: VMRUN takes the state as it is (APM 2 15.5.1), and what becomes of the guest then
 * is the guest's.
 */
static const char *rule_name(const char *vmx)
{
    static const char *const both[][2] = {
        {"guest.cr0.must_be_0", "guest.cr0.high"},
        {"guest.cr4.must_be_0", "guest.cr4.must_be_0"},
        {"guest.cr4.long_pae", "guest.cr4.long_pae"},
        {"guest.cr3", "guest.cr3"},
        {"guest.cs.db", "guest.cs.db"},
    };

    if (!vm_is_svm())
        return vmx;
    for (size_t i = 0; i < COUNT(both); i++)
        if (strcmp(vmx, both[i][0]) == 0)
            return both[i][1];
    return NULL;
}

#define REQUIRE_RULE(name)                                       \
    do {                                                         \
        if (!rule_name(name))                                    \
            SKIP("SVM: VMRUN does not check it (APM 2 15.5.1)"); \
    } while (0)

static bool is_segment(WHV_REGISTER_NAME reg)
{
    return reg >= WHvX64RegisterEs && reg <= WHvX64RegisterTr;
}

static bool is_table(WHV_REGISTER_NAME reg)
{
    return reg == WHvX64RegisterGdtr || reg == WHvX64RegisterIdtr;
}

static WHV_REGISTER_VALUE broken(WHV_REGISTER_VALUE value, const struct audit_row *row)
{
    if (is_table(row->reg)) {
        value.Table.Base = row->base;
    } else if (is_segment(row->reg)) {
        value.Segment.Attributes = (UINT16)((value.Segment.Attributes | row->set) & ~row->clear);
        value.Segment.Base = row->base ? row->base : value.Segment.Base;
        value.Segment.Limit = row->limit ? row->limit : value.Segment.Limit;
        value.Segment.Selector = row->selector ? row->selector : value.Segment.Selector;
    } else {
        value.Reg64 = (value.Reg64 | row->set) & ~row->clear;
    }
    return value;
}

static void check_finding(struct vm *vm, const char *rule)
{
    struct hv_audit_finding finding;
    char line[256];

    REQUIRE(EXPECT_EQ(hv_vp_audit_finding(vm->native_vp, &finding), HV_OK));
    if (strcmp(finding.rule, rule) == 0) {
        EXPECT(finding.field && finding.text && finding.section);
        return;
    }
    hv_audit_format(line, sizeof(line), &finding);
    FAIL("wanted %s, found %s", rule, line);
}

TEST_ROWS(auditor_rules, "auditor: rule", rows)
{
    struct hv_audit_finding finding;
    WHV_REGISTER_VALUE good;

    REQUIRE_RULE(row->name);
    VM(vm);
    REQUIRE(vm_create_native(&vm) && vm_enter(&vm, row->mode) && vm_load(&vm, "smoke_halt"));
    EXPECT_END(&vm);
    EXPECT_EQ(hv_vp_audit_finding(vm.native_vp, &finding), HV_E_STATE);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    good = vm_get_value(&vm, row->reg);
    vm_set_value(&vm, row->reg, broken(good, row));
    REQUIRE(EXPECT_EXIT(&vm, InvalidVpRegisterValue));
    check_finding(&vm, rule_name(row->name));
    vm_set_value(&vm, row->reg, good);
    EXPECT_END(&vm);
    EXPECT_EQ(hv_vp_audit_finding(vm.native_vp, &finding), HV_E_STATE);
}

/* The same seen through WHP: the reason, a whole VpContext, and a VP that runs on. */
TEST_ROWS(exits_invalid, "exits: invalid register value", rows)
{
    WHV_REGISTER_VALUE good;

    REQUIRE_RULE(row->name);
    VM_GUEST(vm, row->mode, "smoke_halt", NULL);
    good = vm_get_value(&vm, row->reg);
    vm_set_value(&vm, row->reg, broken(good, row));
    REQUIRE(EXPECT_EXIT(&vm, InvalidVpRegisterValue));
    EXPECT_EQ(vm.exit.VpContext.InstructionLength, 0);
    EXPECT_EXIT(&vm, InvalidVpRegisterValue); /* again, as long as it is wrong */
    vm_set_value(&vm, row->reg, good);
    EXPECT_END(&vm);
}

/* States that look odd and are not: they have to be entered. */
static const struct {
    const char *name;
    enum vm_mode mode;
    WHV_REGISTER_NAME reg;
    uint64_t set, clear;
} valid_rows[] = {
    {"CR0 without NE", VM_PROT32, WHvX64RegisterCr0, 0, CR0_NE},
    {"CR0 without ET", VM_LONG, WHvX64RegisterCr0, 0, CR0_ET},
    {"CR0.CD and NW", VM_LONG, WHvX64RegisterCr0, CR0_CD | CR0_NW, 0},
    {"EFER without LMA", VM_LONG, WHvX64RegisterEfer, 0, EFER_LMA},
    {"RFLAGS.AC, ID", VM_LONG, WHvX64RegisterRflags, FLAG_AC | 0x200000, 0},
    {"CR8 = 15", VM_REAL, WHvX64RegisterCr8, 15, 0},
};

TEST_ROWS(auditor_valid, "auditor: valid state", valid_rows)
{
    VM_GUEST(vm, row->mode, "smoke_halt", NULL);
    vm_set(&vm, row->reg, (vm_get(&vm, row->reg) | row->set) & ~row->clear);
    EXPECT_END(&vm);
}
