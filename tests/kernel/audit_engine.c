/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor held against the engine. For each rule about the guest that raw writes can break: the entry is
 * refused, the rule is named, and with the old values back the VP runs on. Then random states: the engine refuses an
 * entry if and only if the auditor finds a rule broken, and the auditor says the same before the run as after it.
 *
 * Out of reach here, as this library's VMCS never asks for it: rules of restricted guests (ss.rpl, ss.dpl_rpl, and .dpl
 * of DS, ES, FS and GS), of PDPTEs without EPT, of the link pointer, and of what VM entries do not load (CET state,
 * performance counters, BNDCFGS, RTIT_CTL, LBR_CTL, PKRS, UINV); pending_debug.rtm wants a CPU with RTM.
 *
 * Bochs 2.7 lacks a few of the manual's checks and has one of an older manual: differences[] lists them, the table's
 * rows have them as `unenforced`. There the auditor is held against the manual alone.
 */
#include "../../arch/x86_64/vmx/vmcs_fields.h"
#include "test.h"
#include "vm.h"
#include <kernel/module.h>

/* --------------------------------------------------------------------------------- base states */

/* A mode of its own: virtual-8086 on 32-bit paging. */
#define V86        VM_MODE_COUNT
#define MODE_COUNT (VM_MODE_COUNT + 1)
#define V86_BIT    (1u << V86)
#define ANY        (VM_ALL | V86_BIT)
#define PLAIN      VM_ALL /* not virtual-8086 */
#define NOT_LONG   (ANY & ~VM_LONG_MODES)
#define NOT_CODE64 (ANY & ~VM_CODE64)

#define FLAG_VM   0x20000ull
#define EVENT_NMI (1ull | 2 << 1 | 2ull << 16) /* of the register PendingInterruption */
#define EVENT_EXT (1ull | 0 << 1 | 0x41ull << 16)
#define EVENT_DE  (1ull | 3 << 1 | 0ull << 16)

#define ACCESS_UNUSABLE 0x10000u
#define CR4_CET         0x800000ull

enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGMENTS };

static const char *mode_name(unsigned mode)
{
    return mode == V86 ? "virtual 8086" : vm_mode_name((enum vm_mode)mode);
}

static uint64_t raw_get(struct vm *vm, uint32_t field)
{
    uint64_t value = 0;

    EXPECT_EQ(hv_vp_raw_get(vm->native_vp, field, &value), HV_OK);
    return value;
}

static void raw_set(struct vm *vm, uint32_t field, uint64_t value)
{
    EXPECT_EQ(hv_vp_raw_set(vm->native_vp, field, value), HV_OK);
}

static void set_v86(struct vm *vm)
{
    for (unsigned s = ES; s <= GS; s++) {
        raw_set(vm, VMCS_SEG_SELECTOR(s), 0);
        raw_set(vm, VMCS_SEG_BASE(s), 0);
        raw_set(vm, VMCS_SEG_LIMIT(s), 0xffff);
        raw_set(vm, VMCS_SEG_ACCESS(s), 0xf3);
    }
    raw_set(vm, VMCS_GUEST_RFLAGS, FLAG_FIXED | FLAG_VM);
}

static bool audit(struct vm *vm, struct hv_audit_finding *finding)
{
    bool broken = false;

    EXPECT_EQ(hv_vp_audit(vm->native_vp, &broken, finding), HV_OK);
    return broken;
}

/* HLT at RIP. All guest state of the mode is set, and the auditor has nothing to say about it. */
static bool enter(struct vm *vm, unsigned mode)
{
    static const uint8_t halt[] = {0xf4};
    struct hv_audit_finding finding;

    if (!vm_enter(vm, mode == V86 ? VM_PAGED32 : (enum vm_mode)mode))
        return false;
    vm_load_bytes(vm, halt, sizeof(halt));
    vm_set(vm, WHvRegisterPendingInterruption, 0);
    raw_set(vm, VMCS_GUEST_ACTIVITY, 0);
    raw_set(vm, VMCS_GUEST_INTERRUPTIBILITY, 0);
    raw_set(vm, VMCS_GUEST_PENDING_DEBUG, 0);
    raw_set(vm, VMCS_GUEST_DEBUGCTL, 0);
    if (mode == V86)
        set_v86(vm);
    if (!audit(vm, &finding))
        return true;
    FAIL("%s: %s is broken from the start", mode_name(mode), finding.rule);
    return false;
}

static bool auditor_is_there(void)
{
    if (strcmp(hv_platform()->backend, "VMX") == 0)
        return true;
    test_skip("no VMX, whose rules the auditor knows");
    return false;
}

/* --------------------------------------------------------------------------------- each rule */

struct change {
    uint32_t field;
    uint64_t keep, set; /* the new value is (old & keep) | set */
};

#define MAX_CHANGES 20

struct breaking {
    const char *rule;
    uint32_t modes;
    struct change changes[MAX_CHANGES]; /* up to the first without a field */
    uint64_t event;
    uint32_t unenforced; /* modes in which the engine is known not to look */
};

static bool cpu_has_cet(void)
{
    uint32_t eax = 7, ebx, ecx = 0, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ecx >> 7 & 1;
}

/* clang-format off */
#define SET(field, value)       {VMCS_GUEST_##field, 0, value}
#define ON(field, bits)         {VMCS_GUEST_##field, ~0ull, bits}
#define OFF(field, bits)        {VMCS_GUEST_##field, ~(uint64_t)(bits), 0}
#define PART(field, mask, bits) {VMCS_GUEST_##field, ~(uint64_t)(mask), bits}

#define NONCANONICAL 0x0000800000000000ull
#define LDT          SET(LDTR_SELECTOR, VM_SEL_LDT), SET(LDTR_BASE, VM_LDT), SET(LDTR_LIMIT, 0xff), SET(LDTR_ACCESS, 0x82)
#define AS_V86(REG)  SET(REG##_SELECTOR, 0), SET(REG##_LIMIT, 0xffff), SET(REG##_ACCESS, 0xf3)
#define STI          1u
#define MOV_SS       2u
#define SMI          4u
#define NMI          8u

#define DATA(ROWS)          ROWS("ds", DS), ROWS("es", ES), ROWS("fs", FS), ROWS("gs", GS)
#define CODE_AND_DATA(ROWS) ROWS("cs", CS), ROWS("ss", SS), DATA(ROWS)
#define SYSTEM(ROWS)        ROWS("tr", TR, ON(TR_LIMIT, 0)), \
                            ROWS("ldtr", LDTR, SET(LDTR_SELECTOR, VM_SEL_LDT), SET(LDTR_ACCESS, 0x82), SET(LDTR_LIMIT, 0xff))

#define OF_V86(id, REG) \
    {"guest." id ".base_v86",   V86_BIT, {ON(REG##_BASE, 0x10)}, 0, 0}, \
    {"guest." id ".limit_v86",  V86_BIT, {SET(REG##_LIMIT, 0xfffe)}, 0, 0}, \
    {"guest." id ".access_v86", V86_BIT, {ON(REG##_ACCESS, 0x1000)}, 0, 0}
#define OF_ALL(id, REG) \
    {"guest." id ".s",             PLAIN, {OFF(REG##_ACCESS, 0x10)}, 0, 0}, \
    {"guest." id ".p",             PLAIN, {OFF(REG##_ACCESS, 0x80)}, 0, 0}, \
    {"guest." id ".reserved_low",  PLAIN, {ON(REG##_ACCESS, 0x100)}, 0, 0}, \
    {"guest." id ".reserved_high", PLAIN, {ON(REG##_ACCESS, 0x20000)}, 0, 0}, \
    {"guest." id ".g",             PLAIN, {SET(REG##_LIMIT, 0x1ffffe), ON(REG##_ACCESS, 0x8000)}, 0, 0}, \
    {"guest." id ".g",             PLAIN, {SET(REG##_LIMIT, 0x1fffff), OFF(REG##_ACCESS, 0x8000)}, 0, 0}
#define OF_SYSTEM(id, REG, ...) \
    {"guest." id ".s",             ANY, {__VA_ARGS__, ON(REG##_ACCESS, 0x10)}, 0, 0}, \
    {"guest." id ".p",             ANY, {__VA_ARGS__, OFF(REG##_ACCESS, 0x80)}, 0, 0}, \
    {"guest." id ".reserved_low",  ANY, {__VA_ARGS__, ON(REG##_ACCESS, 0x800)}, 0, 0}, \
    {"guest." id ".g",             ANY, {__VA_ARGS__, SET(REG##_LIMIT, 0xffe), ON(REG##_ACCESS, 0x8000)}, 0, 0}, \
    {"guest." id ".g",             ANY, {__VA_ARGS__, SET(REG##_LIMIT, 0xfffffff)}, 0, 0}, \
    {"guest." id ".reserved_high", ANY, {__VA_ARGS__, ON(REG##_ACCESS, 0x80000000)}, 0, 0}
#define OF_DATA(id, REG) \
    {"guest." id ".type", PLAIN, {PART(REG##_ACCESS, 0xf, 2)}, 0, 0},  /* not accessed */ \
    {"guest." id ".type", PLAIN, {PART(REG##_ACCESS, 0xf, 9)}, 0, 0}   /* code that can not be read */

static const struct breaking breakings[] = {
    {"guest.cr0.must_be_1",  ANY,                               {OFF(CR0, CR0_NE)}, 0, 0},
    {"guest.cr0.must_be_0",  ANY,                               {ON(CR0, 1ull << 32)}, 0, 0},
    {"guest.cr0.pg_pe",      VM_PAGED | V86_BIT,                {OFF(CR0, CR0_PE)}, 0, 0},
    {"guest.cr0.pg_pe",      VM_BIT(VM_REAL),                   {ON(CR0, CR0_PG)}, 0, 0},
    {"guest.cr4.must_be_1",  ANY,                               {OFF(CR4, CR4_VMXE)}, 0, 0},
    {"guest.cr4.must_be_0",  ANY,                               {ON(CR4, 0x8000)}, 0, 0},
    {"guest.cr4.must_be_0",  ANY,                               {ON(CR4, 1ull << 63)}, 0, 0},
    {"guest.cr0.wp_cet",     ANY,                               {ON(CR4, CR4_CET), OFF(CR0, CR0_WP)}, 0, 0},
    {"guest.debugctl",       ANY,                               {ON(DEBUGCTL, 8)}, 0, ANY},
    {"guest.cr0.long_pg",    VM_LONG_MODES,                     {OFF(CR0, CR0_PG)}, 0, VM_LONG_MODES},
    {"guest.cr4.long_pae",   VM_LONG_MODES,                     {OFF(CR4, CR4_PAE)}, 0, 0},
    {"guest.cr4.pcide",      NOT_LONG,                          {ON(CR4, 0x20000)}, 0, 0},
    {"guest.cr3",            ANY,                               {ON(CR3, 1ull << 52)}, 0, 0},
    {"guest.cr3",            ANY,                               {ON(CR3, 1ull << 63)}, 0, 0},
    {"guest.dr7",            ANY,                               {ON(DR7, 1ull << 32)}, 0, 0},
    {"guest.sysenter_esp",   ANY,                               {SET(SYSENTER_ESP, NONCANONICAL)}, 0, 0},
    {"guest.sysenter_eip",   ANY,                               {SET(SYSENTER_EIP, ~NONCANONICAL)}, 0, 0},
    {"guest.pat",            ANY,                               {PART(PAT, 0xff00, 0x0200)}, 0, 0},
    {"guest.pat",            ANY,                               {PART(PAT, 0xffull << 56, 8ull << 56)}, 0, 0},
    {"guest.efer.reserved",  ANY,                               {ON(EFER, 2)}, 0, 0},
    {"guest.efer.reserved",  ANY,                               {ON(EFER, 1ull << 63)}, 0, 0},
    {"guest.efer.lma",       NOT_LONG,                          {ON(EFER, EFER_LMA)}, 0, 0},
    {"guest.efer.lma",       VM_LONG_MODES,                     {OFF(EFER, EFER_LMA)}, 0, 0},
    {"guest.efer.lme",       VM_PAGED & ~VM_LONG_MODES,         {ON(EFER, EFER_LME)}, 0, 0},
    {"guest.efer.lme",       VM_LONG_MODES,                     {OFF(EFER, EFER_LME)}, 0, 0},

    {"guest.tr.ti",          ANY,                               {ON(TR_SELECTOR, 4)}, 0, 0},
    {"guest.ldtr.ti",        ANY,                               {LDT, ON(LDTR_SELECTOR, 4)}, 0, 0},
    CODE_AND_DATA(OF_V86),
    {"guest.tr.base",        ANY,                               {SET(TR_BASE, NONCANONICAL)}, 0, 0},
    {"guest.fs.base",        PLAIN,                             {SET(FS_BASE, NONCANONICAL)}, 0, 0},
    {"guest.fs.base",        PLAIN,                             {SET(FS_BASE, NONCANONICAL), ON(FS_ACCESS, ACCESS_UNUSABLE)}, 0, 0},
    {"guest.gs.base",        PLAIN,                             {SET(GS_BASE, NONCANONICAL)}, 0, 0},
    {"guest.ldtr.base",      ANY,                               {LDT, SET(LDTR_BASE, NONCANONICAL)}, 0, 0},
    {"guest.cs.base",        PLAIN,                             {ON(CS_BASE, 1ull << 32)}, 0, 0},
    {"guest.ss.base",        PLAIN,                             {ON(SS_BASE, 1ull << 32)}, 0, 0},
    {"guest.ds.base",        PLAIN,                             {ON(DS_BASE, 1ull << 63)}, 0, 0},
    {"guest.es.base",        PLAIN,                             {ON(ES_BASE, 1ull << 47)}, 0, 0},
    {"guest.cs.type",        PLAIN,                             {PART(CS_ACCESS, 0xf, 8)}, 0, 0}, /* not accessed */
    /* data, expand-down */
    {"guest.cs.type",        PLAIN,                             {PART(CS_ACCESS, 0xf, 7)}, 0, 0},
    {"guest.ss.type",        PLAIN,                             {PART(SS_ACCESS, 0xf, 1)}, 0, 0},
    {"guest.ss.type",        PLAIN,                             {PART(SS_ACCESS, 0xf, 11)}, 0, 0},
    DATA(OF_DATA),
    CODE_AND_DATA(OF_ALL),
    {"guest.cs.dpl",         PLAIN,                             {PART(CS_ACCESS, 0x6f, 0x23)}, 0, 0},
    {"guest.cs.dpl",         PLAIN,                             {PART(CS_ACCESS, 0x6f, 0x2b)}, 0, 0},
    {"guest.cs.dpl",         VM_CPL0,                           {PART(CS_ACCESS, 0x6f, 0x6f)}, 0, 0},
    {"guest.cs.dpl",         PLAIN,                             {PART(CS_ACCESS, 0x6f, 0x4b), PART(CS_SELECTOR, 3, 2)}, 0, PLAIN}, /* RPL = DPL */
    {"guest.ss.dpl_0",       VM_BIT(VM_REAL),                   {ON(CS_SELECTOR, 3), ON(CS_ACCESS, 0x60), ON(SS_ACCESS, 0x60)}, 0, 0},
    {"guest.ss.dpl_0",       PLAIN,                             {PART(CS_ACCESS, 0x6f, 3), ON(SS_ACCESS, 0x60)}, 0, 0},
    {"guest.cs.db",          VM_CODE64,                         {ON(CS_ACCESS, 0x4000)}, 0, 0},
    {"guest.tr.type",        ANY,                               {PART(TR_ACCESS, 0xf, 9)}, 0, 0},
    {"guest.tr.type",        VM_LONG_MODES,                     {PART(TR_ACCESS, 0xf, 3)}, 0, 0},
    {"guest.ldtr.type",      ANY,                               {LDT, PART(LDTR_ACCESS, 0xf, 3)}, 0, 0},
    SYSTEM(OF_SYSTEM),
    {"guest.tr.usable",      ANY,                               {ON(TR_ACCESS, ACCESS_UNUSABLE)}, 0, 0},
    {"guest.gdtr.base",      ANY,                               {SET(GDTR_BASE, NONCANONICAL)}, 0, 0},
    {"guest.idtr.base",      ANY,                               {SET(IDTR_BASE, ~NONCANONICAL)}, 0, 0},
    {"guest.gdtr.limit",     ANY,                               {ON(GDTR_LIMIT, 0x10000)}, 0, 0},
    {"guest.idtr.limit",     ANY,                               {ON(IDTR_LIMIT, 0x80000000)}, 0, 0},

    {"guest.rip.high",       NOT_CODE64,                        {ON(RIP, 1ull << 32)}, 0, 0},
    {"guest.rip.canonical",  VM_CODE64,                         {SET(RIP, 1ull << 48)}, 0, VM_CODE64},
    {"guest.rflags.reserved", ANY,                              {ON(RFLAGS, 0x8000)}, 0, 0},
    {"guest.rflags.reserved", ANY,                              {ON(RFLAGS, 1ull << 63)}, 0, 0},
    {"guest.rflags.fixed",   ANY,                               {OFF(RFLAGS, FLAG_FIXED)}, 0, 0},
    {"guest.rflags.vm_long", VM_LONG_MODES,                     {ON(RFLAGS, FLAG_VM), AS_V86(CS), AS_V86(SS), AS_V86(DS), AS_V86(ES), AS_V86(FS), AS_V86(GS)}, 0, 0},
    {"guest.rflags.vm_real", V86_BIT,                           {OFF(CR0, CR0_PE | CR0_PG)}, 0, V86_BIT},
    {"guest.rflags.if_event", ANY,                              {ON(RFLAGS, 0)}, EVENT_EXT, 0},
    {"guest.activity.known", ANY,                               {SET(ACTIVITY, 4)}, 0, 0},
    {"guest.activity.hlt_dpl", VM_CPL3 | V86_BIT,               {SET(ACTIVITY, 1)}, 0, 0},
    {"guest.activity.blocking", VM_CPL0,                        {SET(ACTIVITY, 1), ON(INTERRUPTIBILITY, MOV_SS)}, 0, 0},
    {"guest.activity.event", VM_CPL0,                           {SET(ACTIVITY, 1)}, EVENT_DE, VM_CPL0},
    {"guest.interruptibility.reserved", ANY,                    {ON(INTERRUPTIBILITY, 0x20)}, 0, 0},
    {"guest.interruptibility.both", ANY,                        {ON(INTERRUPTIBILITY, STI | MOV_SS), ON(RFLAGS, FLAG_IF)}, 0, 0},
    {"guest.interruptibility.sti_if", ANY,                      {ON(INTERRUPTIBILITY, STI)}, 0, 0},
    {"guest.interruptibility.external", ANY,                    {ON(INTERRUPTIBILITY, MOV_SS), ON(RFLAGS, FLAG_IF)}, EVENT_EXT, 0},
    {"guest.interruptibility.external", ANY,                    {ON(INTERRUPTIBILITY, STI), ON(RFLAGS, FLAG_IF)}, EVENT_EXT, 0},
    {"guest.interruptibility.nmi_mov_ss", ANY,                  {ON(INTERRUPTIBILITY, MOV_SS)}, EVENT_NMI, 0},
    {"guest.interruptibility.nmi_sti", ANY,                     {ON(INTERRUPTIBILITY, STI), ON(RFLAGS, FLAG_IF)}, EVENT_NMI, 0},
    {"guest.interruptibility.nmi_nmi", ANY,                     {ON(INTERRUPTIBILITY, NMI)}, EVENT_NMI, ANY},
    {"guest.interruptibility.smi", ANY,                         {ON(INTERRUPTIBILITY, SMI)}, 0, 0},
    {"guest.interruptibility.enclave", ANY,                     {ON(INTERRUPTIBILITY, 0x10 | MOV_SS)}, 0, 0},
    {"guest.pending_debug.reserved", ANY,                       {ON(PENDING_DEBUG, 0x10)}, 0, 0},
    {"guest.pending_debug.reserved", ANY,                       {ON(PENDING_DEBUG, 0x2000)}, 0, 0},
    {"guest.pending_debug.reserved", ANY,                       {ON(PENDING_DEBUG, 1ull << 32)}, 0, ANY},
    {"guest.pending_debug.bs_1", ANY,                           {ON(RFLAGS, FLAG_TF), ON(INTERRUPTIBILITY, MOV_SS)}, 0, ANY},
    {"guest.pending_debug.bs_0", ANY,                           {ON(PENDING_DEBUG, 0x4000), ON(INTERRUPTIBILITY, MOV_SS)}, 0, ANY},
    {"guest.pdpte0",         VM_BIT(VM_PAE),                    {ON(PDPTE0, 2)}, 0, 0},
    {"guest.pdpte1",         VM_BIT(VM_PAE),                    {ON(PDPTE1, 1 | 0x100)}, 0, 0},
    {"guest.pdpte2",         VM_BIT(VM_PAE),                    {ON(PDPTE2, 1 | 1ull << 52)}, 0, 0},
    {"guest.pdpte3",         VM_BIT(VM_PAE),                    {ON(PDPTE3, 1 | 1ull << 63)}, 0, 0},
};
/* clang-format on */

struct undo {
    uint32_t field;
    uint64_t value;
};

static unsigned apply(struct vm *vm, const struct breaking *b, struct undo *undo)
{
    unsigned n = 0;

    for (; n < MAX_CHANGES && b->changes[n].field; n++) {
        undo[n] = (struct undo){b->changes[n].field, raw_get(vm, b->changes[n].field)};
        raw_set(vm, b->changes[n].field, (undo[n].value & b->changes[n].keep) | b->changes[n].set);
    }
    if (b->event)
        vm_set(vm, WHvRegisterPendingInterruption, b->event);
    return n;
}

static void revert(struct vm *vm, const struct undo *undo, unsigned n)
{
    while (n--)
        raw_set(vm, undo[n].field, undo[n].value);
    vm_set(vm, WHvRegisterPendingInterruption, 0);
}

/* A deadline ends whatever a guest in an odd state is about, HLT with interrupts off included. */
#define RUN_TICKS 3000

static bool is_refused(struct vm *vm)
{
    EXPECT_EQ(hv_vp_set_run_deadline(vm->native_vp, __builtin_ia32_rdtsc() + RUN_TICKS), HV_OK);
    return vm_run(vm) == WHvRunVpExitReasonInvalidVpRegisterValue;
}

static void expect_rule(const struct hv_audit_finding *got, const char *wanted, unsigned mode)
{
    if (strcmp(got->rule, wanted) != 0)
        FAIL("%s: the auditor says %s, wanted %s", mode_name(mode), got->rule, wanted);
}

/* Whether the engine refused it. */
static bool break_rule(struct vm *vm, const struct breaking *row, unsigned mode)
{
    struct hv_audit_finding finding = {.rule = "nothing"};
    struct undo undo[MAX_CHANGES];
    unsigned n;

    if (!enter(vm, mode))
        return false;
    n = apply(vm, row, undo);
    audit(vm, &finding);
    expect_rule(&finding, row->rule, mode);
    if (!is_refused(vm)) {
        if (!(row->unenforced >> mode & 1))
            FAIL("%s: the engine accepts it, exit %s", mode_name(mode), vm_reason_name(vm->exit.ExitReason));
        return false;
    }
    EXPECT_EQ(hv_vp_audit_finding(vm->native_vp, &finding), HV_OK);
    expect_rule(&finding, row->rule, mode);
    revert(vm, undo, n);
    if (is_refused(vm) || vm->exit.ExitReason != WHvRunVpExitReasonX64Halt)
        FAIL("%s: exit %s with the old values back", mode_name(mode), vm_reason_name(vm->exit.ExitReason));
    return true;
}

TEST_ROWS(audit_engine_rules, "audit engine: broken", breakings)
{
    bool enforced = false;
    VM(vm);

    if (!auditor_is_there())
        return;
    if (strcmp(row->rule, "guest.cr0.wp_cet") == 0 && !cpu_has_cet())
        SKIP("this CPU has no CET");
    REQUIRE(vm_create_native(&vm));
    for (unsigned mode = 0; mode < MODE_COUNT; mode++)
        if (row->modes >> mode & 1 && break_rule(&vm, row, mode))
            enforced = true;
    if (!enforced)
        SKIP("this engine does not check it");
}

/* ---------------------------------------------------------------------- asking before running */

#define CHECK_RULE(vm, wanted)                             \
    do {                                                   \
        struct hv_audit_finding finding_ = {.rule = NULL}; \
        if (EXPECT(audit(vm, &finding_)))                  \
            expect_rule(&finding_, wanted, (vm)->mode);    \
    } while (0)

TEST(audit_engine_ask, "audit engine: asked before a run")
{
    struct hv_audit_finding finding = {.rule = "untouched"};
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm) && enter(&vm, VM_LONG));
    EXPECT(!audit(&vm, &finding) && strcmp(finding.rule, "untouched") == 0);

    raw_set(&vm, VMCS_GUEST_CS_ACCESS, 0xe09b);
    CHECK_RULE(&vm, "guest.cs.db");
    EXPECT_EQ(hv_vp_audit_finding(vm.native_vp, &finding), HV_E_STATE); /* nothing was run */
    raw_set(&vm, VMCS_GUEST_CS_ACCESS, 0xa09b);

    /* registers that were set and not yet synced; the interruption that is pending */
    vm_set(&vm, WHvX64RegisterCr3, 1ull << 52);
    CHECK_RULE(&vm, "guest.cr3");
    vm_set(&vm, WHvX64RegisterCr3, VM_PML4);
    vm_set(&vm, WHvRegisterPendingInterruption, 1 | 3 << 1 | 40ull << 16);
    CHECK_RULE(&vm, "control.event.exception_vector");
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingInterruption), 1 | 3 << 1 | 40ull << 16);
    vm_set(&vm, WHvRegisterPendingInterruption, 0);
    EXPECT(!audit(&vm, &finding));

    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), VM_CODE);
    EXPECT(!is_refused(&vm));
    EXPECT_EQ(vm.exit.ExitReason, WHvRunVpExitReasonX64Halt);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), VM_CODE + 1);
}

/* PDPTEs are loaded from memory when CR3 was set: for an audit as for a run. */
TEST(audit_engine_pdptes, "audit engine: PDPTEs of a new CR3")
{
    struct hv_audit_finding finding;
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm) && enter(&vm, VM_PAE));
    vm_u64(&vm, VM_PAE_PDPT)[2] = PTE_P | PTE_W;
    EXPECT(!audit(&vm, &finding));
    vm_set(&vm, WHvX64RegisterCr3, VM_PAE_PDPT);
    CHECK_RULE(&vm, "guest.pdpte2");
    EXPECT(is_refused(&vm));
}

/* What would let a guest keep the CPU, or is the host's. */
TEST(audit_engine_raw, "audit engine: what raw writes refuse")
{
    static const struct {
        uint32_t field;
        uint64_t value;
    } refused[] = {
        {VMCS_GUEST_ACTIVITY, 2},
        {VMCS_GUEST_ACTIVITY, 3},
        {VMCS_GUEST_ACTIVITY, 1ull << 32 | 3},
        {VMCS_LINK_POINTER, 0},
        {VMCS_LINK_POINTER | VMCS_ENC_HIGH, 0},
        {VMCS_HOST_RIP, 0},
        {VMCS_EPTP, 0},
        {VMCS_ENTRY_INTR_INFO, 0},
        {VMCS_EXIT_REASON, 0},
        {0xffffffff, 0},
    };
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm) && enter(&vm, VM_LONG));
    for (unsigned i = 0; i < COUNT(refused); i++)
        if (hv_vp_raw_set(vm.native_vp, refused[i].field, refused[i].value) != HV_E_INVALID)
            FAIL("field 0x%x takes 0x%llx", refused[i].field, (unsigned long long)refused[i].value);
    EXPECT(!is_refused(&vm));
}

/* ------------------------------------------------------------------------------------- fuzzing */

static uint64_t seed = 1;

static uint64_t random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

static unsigned random_below(unsigned n)
{
    return (unsigned)(random64() >> 32) % n;
}

static bool chance(unsigned percent)
{
    return random_below(100) < percent;
}

#define PICK(array) ((array)[random_below(COUNT(array))])

/* clang-format off */
#define NAMED(field)    {VMCS_GUEST_##field, #field}
#define SEGMENT(REG)    NAMED(REG##_SELECTOR), NAMED(REG##_BASE), NAMED(REG##_LIMIT), NAMED(REG##_ACCESS)

/* All that is restored; the segments stand first, and what is mutated less often last. */
static const struct field {
    uint32_t field;
    const char *name;
} fields[] = {
    SEGMENT(ES), SEGMENT(CS), SEGMENT(SS), SEGMENT(DS), SEGMENT(FS), SEGMENT(GS), SEGMENT(LDTR), SEGMENT(TR),
    NAMED(GDTR_BASE), NAMED(GDTR_LIMIT), NAMED(IDTR_BASE), NAMED(IDTR_LIMIT),
    NAMED(CR0), NAMED(CR3), NAMED(CR4), NAMED(EFER), NAMED(PAT), NAMED(DEBUGCTL), NAMED(DR7),
    NAMED(RIP), NAMED(RFLAGS), NAMED(INTERRUPTIBILITY), NAMED(ACTIVITY), NAMED(PENDING_DEBUG),
    NAMED(PDPTE0), NAMED(PDPTE1), NAMED(PDPTE2), NAMED(PDPTE3), NAMED(SYSENTER_ESP), NAMED(SYSENTER_EIP),
    NAMED(RSP), NAMED(SYSENTER_CS), NAMED(SMBASE),
};
/* clang-format on */

static unsigned width_of(uint32_t field)
{
    static const unsigned widths[] = {16, 64, 32, 64};

    return widths[FIELD_GET(VMCS_ENC_WIDTH, field)];
}

static uint64_t flip_bits(uint64_t value, unsigned below)
{
    do
        value ^= 1ull << random_below(below);
    while (chance(30));
    return value;
}

static uint64_t random_access(uint64_t old)
{
    static const uint32_t words[] = {0x93, 0x9b, 0xf3, 0xfb, 0xc093, 0xc09b, 0xa09b, 0xa0fb,         0x97,
                                     0x91, 0x9f, 0x82, 0x83, 0x8b,   0x89,   0,      ACCESS_UNUSABLE};

    switch (random_below(6)) {
    case 0:
        return PICK(words);
    case 1:
        return (old & ~0xfull) | random_below(16);
    case 2:
        return (old & ~0x60ull) | random_below(4) << 5;
    case 3:
        return old ^ ACCESS_UNUSABLE;
    default:
        return flip_bits(old, chance(80) ? 17 : 32);
    }
}

static uint64_t random_value(uint32_t field, uint64_t old)
{
    static const uint64_t edges[] = {
        0,
        1,
        ~0ull,
        0xfff,
        0xffe,
        0xffff,
        0x10000,
        0xfffff,
        0x100000,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        1ull << 32,
        1ull << 46,
        1ull << 47,
        (1ull << 47) - 1,
        1ull << 48,
        0xffff800000000000,
        0xffff7fffffffffff,
        0xfffeffffffffffff,
        1ull << 63,
    };

    if (field >= VMCS_GUEST_ES_ACCESS && field <= VMCS_GUEST_TR_ACCESS)
        return random_access(old);
    switch (field) {
    case VMCS_GUEST_ACTIVITY:
        return chance(60) ? 1 : flip_bits(4, 32);
    case VMCS_GUEST_INTERRUPTIBILITY:
        return chance(85) ? random_below(32) : flip_bits(old, 32);
    case VMCS_GUEST_PENDING_DEBUG:
        return chance(50) ? 1ull << random_below(17) : chance(50) ? flip_bits(old, 17) : flip_bits(old, 64);
    case VMCS_GUEST_RFLAGS:
        return chance(60) ? flip_bits(old, 22) : flip_bits(old, 64);
    default:
        return chance(55) ? flip_bits(old, width_of(field)) : chance(70) ? PICK(edges) : random64();
    }
}

#define MAX_MUTATIONS 8

struct mutation {
    const struct field *field;
    uint64_t old, new;
};

/* One state under test. */
static struct {
    struct vm *vm;
    unsigned mode;
    uint64_t base[COUNT(fields)];
    struct mutation done[MAX_MUTATIONS];
    unsigned count;
    uint64_t event;
    unsigned refused, printed;
} fuzz;

static void mutate_to(const struct field *f, uint64_t value)
{
    struct mutation *m = &fuzz.done[fuzz.count];

    if (fuzz.count == MAX_MUTATIONS ||
        (f->field == VMCS_GUEST_ACTIVITY && ((uint32_t)value == 2 || (uint32_t)value == 3)))
        return;
    *m = (struct mutation){f, raw_get(fuzz.vm, f->field), value};
    raw_set(fuzz.vm, f->field, value);
    fuzz.count++;
}

static void mutate(const struct field *f)
{
    mutate_to(f, random_value(f->field, raw_get(fuzz.vm, f->field)));
}

static const struct field *find(uint32_t field)
{
    const struct field *f = fields;

    while (f->field != field)
        f++;
    return f;
}

/* What is rarely met by chance: states in which several fields have to go together. */
static void mutate_privilege(void)
{
    static const uint32_t code[] = {9, 11, 13, 15, 3};

    mutate_to(find(VMCS_GUEST_CS_ACCESS),
              (raw_get(fuzz.vm, VMCS_GUEST_CS_ACCESS) & ~0x6full) | PICK(code) | random_below(4) << 5);
    if (chance(70))
        mutate_to(find(VMCS_GUEST_SS_ACCESS), (raw_get(fuzz.vm, VMCS_GUEST_SS_ACCESS) & ~0x60ull) | random_below(4)
                                                                                                        << 5);
    if (chance(70))
        mutate_to(find(VMCS_GUEST_CS_SELECTOR), (raw_get(fuzz.vm, VMCS_GUEST_CS_SELECTOR) & ~3ull) | random_below(4));
    if (chance(10)) {
        mutate_to(find(VMCS_GUEST_SS_SELECTOR), random_below(4));
        mutate(&fields[4 * SS + 1 + random_below(3)]);
    }
    if (chance(30))
        mutate_to(find(VMCS_GUEST_SS_SELECTOR), (raw_get(fuzz.vm, VMCS_GUEST_SS_SELECTOR) & ~3ull) | random_below(4));
}

static void mutate_ldtr(void)
{
    mutate_to(find(VMCS_GUEST_LDTR_ACCESS), 0x82);
    mutate_to(find(VMCS_GUEST_LDTR_LIMIT), 0xff);
    mutate(&fields[4 * LDTR + random_below(4)]);
}

static void mutate_event(void)
{
    static const uint8_t types[] = {0, 2, 3, 4, 6, 5, 1, 7};
    unsigned type = chance(80) ? types[random_below(3)] : PICK(types),
             vector = type == 2 && chance(90) ? 2 : random_below(type == 3 ? 40 : 256);

    fuzz.event =
        1 | (uint64_t)type << 1 | (uint64_t)vector << 16 | (chance(20) ? 1 << 4 : 0) | (uint64_t)random_below(16) << 5;
    if (vm_try_set(fuzz.vm, WHvRegisterPendingInterruption, (WHV_REGISTER_VALUE){.Reg64 = fuzz.event}) != S_OK)
        fuzz.event = 0; /* not one that there is */
    if (chance(60))
        mutate_to(find(VMCS_GUEST_RFLAGS), raw_get(fuzz.vm, VMCS_GUEST_RFLAGS) ^ FLAG_IF);
    if (chance(60))
        mutate_to(find(VMCS_GUEST_INTERRUPTIBILITY), random_below(16));
    if (chance(30))
        mutate_to(find(VMCS_GUEST_ACTIVITY), 1);
}

static void mutate_state(void)
{
    unsigned kind = random_below(100);

    if (kind < 12)
        mutate_privilege();
    else if (kind < 20)
        mutate_ldtr();
    else if (kind < 32)
        mutate_event();
    if (kind >= 25)
        do
            mutate(&fields[random_below(COUNT(fields) - (chance(80) ? 3 : 0))]);
        while (chance(40));
}

/* ----- where Bochs and the manual differ */

static bool is_64bit_code(void)
{
    return vm_mode_in((enum vm_mode)fuzz.mode, VM_LONG_MODES) && raw_get(fuzz.vm, VMCS_GUEST_CS_ACCESS) & 0x2000;
}

static bool ss_is_null(void)
{
    return is_64bit_code() && !(raw_get(fuzz.vm, VMCS_GUEST_SS_SELECTOR) & 0xfffc);
}

static bool only_high_bits(void)
{
    return !(raw_get(fuzz.vm, VMCS_GUEST_PENDING_DEBUG) & 0xffffaff0);
}

/* CS.DPL and CS.RPL fit together, as if RPL were the CPL. */
static bool cs_rpl_fits(void)
{
    unsigned access = (unsigned)raw_get(fuzz.vm, VMCS_GUEST_CS_ACCESS), dpl = access >> 5 & 3,
             rpl = raw_get(fuzz.vm, VMCS_GUEST_CS_SELECTOR) & 3;

    return (access & 0xf) == 3 ? dpl == 0 : access & 4 ? dpl <= rpl : dpl == rpl;
}

static bool cs_rpl_does_not_fit(void)
{
    return !cs_rpl_fits();
}

/* Where the engine accepts what breaks a rule (the rule's name begins so), or refuses what breaks none (NULL). */
static struct difference {
    const char *rule, *what;
    bool (*applies)(void); /* to the state as it was before the run; NULL: always */
    bool is_fatal;         /* to Bochs itself: not run */
    unsigned seen;
} differences[] = {
    {"guest.debugctl", "reserved bits of IA32_DEBUGCTL are not checked", NULL, false, 0},
    {"guest.cr0.long_pg", "an IA-32e mode guest without CR0.PG is entered, and without CR0.PE ends Bochs", NULL, true,
     0},
    {"guest.rip.canonical", "RIP is not checked in 64-bit mode", NULL, false, 0},
    {"guest.rflags.vm_real", "RFLAGS.VM without CR0.PE is not checked", NULL, false, 0},
    {"guest.activity.event", "events that the HLT state blocks are not checked", NULL, false, 0},
    {"guest.interruptibility.nmi_nmi", "virtual-NMI blocking does not refuse an NMI", NULL, false, 0},
    {"guest.pending_debug.bs_", "BS of the pending debug exceptions is not checked against TF", NULL, false, 0},
    {"guest.pending_debug.reserved", "bits 63:32 of the pending debug exceptions are not looked at", only_high_bits,
     false, 0},
    {"guest.ss.", "a null SS is not looked at before 64-bit code, usable or not", ss_is_null, false, 0},
    {"guest.cs.dpl", "CS.DPL is compared with CS.RPL, not with SS.DPL (accepted)", cs_rpl_fits, false, 0},
    {NULL, "CS.DPL is compared with CS.RPL, not with SS.DPL (refused)", cs_rpl_does_not_fit, false, 0},
};

static struct difference *find_difference(const char *rule)
{
    for (struct difference *d = differences; d < differences + COUNT(differences); d++)
        if ((rule && d->rule ? strncmp(rule, d->rule, strlen(d->rule)) == 0 : rule == d->rule) &&
            (!d->applies || d->applies()))
            return d;
    return NULL;
}

/* ----- one round */

#define MAX_PRINTED 12

static void complain(const char *what, const char *rule)
{
    if (fuzz.printed++ >= MAX_PRINTED)
        return;
    FAIL("%s: %s (%s)", mode_name(fuzz.mode), what, rule);
    for (unsigned i = 0; i < fuzz.count; i++)
        test_note("    %s: 0x%llx -> 0x%llx", fuzz.done[i].field->name, (unsigned long long)fuzz.done[i].old,
                  (unsigned long long)fuzz.done[i].new);
    if (fuzz.event)
        test_note("    event 0x%llx", (unsigned long long)fuzz.event);
}

static void judge(bool is_broken, const struct hv_audit_finding *before, bool refused, struct difference *difference)
{
    struct hv_audit_finding after;

    if (refused != is_broken) {
        if (difference)
            difference->seen++;
        else
            complain(refused ? "the engine refuses what breaks no rule" : "the engine accepts what breaks a rule",
                     is_broken ? before->rule : vm_reason_name(fuzz.vm->exit.ExitReason));
        return;
    }
    if (refused && EXPECT_EQ(hv_vp_audit_finding(fuzz.vm->native_vp, &after), HV_OK) &&
        strcmp(after.rule, before->rule) != 0)
        complain("another rule after the run than before", after.rule);
}

static void revert_mutations(void)
{
    while (fuzz.count--)
        raw_set(fuzz.vm, fuzz.done[fuzz.count].field->field, fuzz.done[fuzz.count].old);
    vm_set(fuzz.vm, WHvRegisterPendingInterruption, 0);
}

static void enter_again(void)
{
    struct hv_audit_finding finding;

    enter(fuzz.vm, fuzz.mode);
    for (unsigned i = 0; i < COUNT(fields); i++)
        raw_set(fuzz.vm, fields[i].field, fuzz.base[i]);
    if (audit(fuzz.vm, &finding))
        complain("the state put back breaks a rule", finding.rule);
}

static void fuzz_round(void)
{
    struct hv_audit_finding before = {.rule = NULL};
    struct difference *difference;
    bool is_broken, refused;

    fuzz.count = 0;
    fuzz.event = 0;
    mutate_state();
    is_broken = audit(fuzz.vm, &before);
    difference = find_difference(before.rule);
    if (is_broken && difference && difference->is_fatal) {
        difference->seen++;
        revert_mutations();
        return;
    }
    refused = is_refused(fuzz.vm);
    fuzz.refused += refused;
    judge(is_broken, &before, refused, difference);
    if (refused) /* nothing was loaded and nothing saved */
        revert_mutations();
    else
        enter_again();
}

static unsigned number_option(const char *name, unsigned otherwise)
{
    char word[16];
    unsigned n = 0;

    if (!option_find(name, word, sizeof(word)))
        return otherwise;
    for (const char *c = word; *c >= '0' && *c <= '9'; c++)
        n = n * 10 + (unsigned)(*c - '0');
    return n;
}

#define ROUNDS 300 /* in each mode */

static const struct {
    const char *name;
    unsigned mode;
} fuzz_modes[] = {
    {"real", VM_REAL},
    {"protected 16", VM_PROT16},
    {"protected", VM_PROT32},
    {"paging", VM_PAGED32},
    {"PAE", VM_PAE},
    {"long", VM_LONG},
    {"compatibility", VM_COMPAT},
    {"protected CPL 3", VM_PROT32_3},
    {"long CPL 3", VM_LONG_3},
    {"virtual 8086", V86},
};

/* seed=N and rounds=N on the command line: other states, and more of them */
TEST_ROWS(audit_engine_fuzz, "audit engine: random states", fuzz_modes)
{
    unsigned start = number_option("seed", 1), rounds = number_option("rounds", ROUNDS);
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm));
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.vm = &vm;
    fuzz.mode = row->mode;
    seed = (start + 1) * 0x9e3779b97f4a7c15ull ^ (row->mode + 1) * 0xbf58476d1ce4e5b9ull;
    for (unsigned d = 0; d < COUNT(differences); d++)
        differences[d].seen = 0;
    REQUIRE(enter(&vm, row->mode));
    for (unsigned i = 0; i < COUNT(fields); i++)
        fuzz.base[i] = raw_get(&vm, fields[i].field);
    for (unsigned i = 0; i < rounds; i++)
        fuzz_round();
    test_note("%s: %u states, %u refused, %u disagreements (seed=%u)", row->name, rounds, fuzz.refused, fuzz.printed,
              start);
    for (unsigned d = 0; d < COUNT(differences); d++)
        if (differences[d].seen)
            test_note("    %u times: %s", differences[d].seen, differences[d].what);
}

/*
 * Bochs 2.7 never ends NMI blocking by an entry that says so, not even for another VP: only by an IRET of a guest's.
 * The states above have left it on, and other tests are to find it off.
 */
TEST(audit_engine_unblock, "audit engine: an IRET ends NMI blocking")
{
    VM_GUEST(vm, VM_LONG, "exception_int_80", NULL);
    REQUIRE(EXPECT_VECTOR(&vm, 0x80));
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 0);
}
