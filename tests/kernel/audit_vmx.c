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
#include "audit.h"

/* --------------------------------------------------------------------------------- base states */

#define EVENT_NMI (1ull | 2 << 1 | 2ull << 16) /* of the register PendingInterruption */
#define EVENT_EXT (1ull | 0 << 1 | 0x41ull << 16)
#define EVENT_DE  (1ull | 3 << 1 | 0ull << 16)

#define ACCESS_UNUSABLE 0x10000u

enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGMENTS };

static void set_v86(struct vm *vm)
{
    for (unsigned s = ES; s <= GS; s++) {
        audit_set(vm, VMCS_SEG_SELECTOR(s), 0);
        audit_set(vm, VMCS_SEG_BASE(s), 0);
        audit_set(vm, VMCS_SEG_LIMIT(s), 0xffff);
        audit_set(vm, VMCS_SEG_ACCESS(s), 0xf3);
    }
    audit_set(vm, VMCS_GUEST_RFLAGS, FLAG_FIXED | FLAG_VM);
}

/* HLT at RIP. All guest state of the mode is set, and the auditor has nothing to say about it. */
static bool enter(struct vm *vm, unsigned mode)
{
    struct hv_audit_finding finding;

    if (!audit_enter_halt(vm, mode))
        return false;
    audit_set(vm, VMCS_GUEST_ACTIVITY, 0);
    audit_set(vm, VMCS_GUEST_INTERRUPTIBILITY, 0);
    audit_set(vm, VMCS_GUEST_PENDING_DEBUG, 0);
    audit_set(vm, VMCS_GUEST_DEBUGCTL, 0);
    if (mode == V86)
        set_v86(vm);
    if (!audit_ask(vm, &finding))
        return true;
    FAIL("%s: %s is broken from the start", audit_mode_name(mode), finding.rule);
    return false;
}

static bool auditor_is_there(void)
{
    if (strcmp(hv_platform()->backend, "VMX") == 0)
        return true;
    test_skip("SVM: rules of VMX's");
    return false;
}

/* --------------------------------------------------------------------------------- each rule */

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

static const struct audit_breaking breakings[] = {
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

TEST_ROWS(audit_vmx_rules, "audit engine, VMCS: broken", breakings)
{
    bool enforced = false;
    VM(vm);

    if (!auditor_is_there())
        return;
    if (strcmp(row->rule, "guest.cr0.wp_cet") == 0 && !audit_cpu_has_cet())
        SKIP("this CPU has no CET");
    REQUIRE(vm_create_native(&vm));
    for (unsigned mode = 0; mode < MODE_COUNT; mode++)
        if (row->modes >> mode & 1 && audit_break_rule(&vm, row, mode, enter))
            enforced = true;
    if (!enforced)
        SKIP("this engine does not check it");
}

/* ---------------------------------------------------------------------- asking before running */

TEST(audit_vmx_ask, "audit engine, VMCS: asked before a run")
{
    struct hv_audit_finding finding = {.rule = "untouched"};
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm) && enter(&vm, VM_LONG));
    EXPECT(!audit_ask(&vm, &finding) && strcmp(finding.rule, "untouched") == 0);

    audit_set(&vm, VMCS_GUEST_CS_ACCESS, 0xe09b);
    AUDIT_EXPECT(&vm, "guest.cs.db");
    EXPECT_EQ(hv_vp_audit_finding(vm.native_vp, &finding), HV_E_STATE); /* nothing was run */
    audit_set(&vm, VMCS_GUEST_CS_ACCESS, 0xa09b);

    /* registers that were set and not yet synced; the interruption that is pending */
    vm_set(&vm, WHvX64RegisterCr3, 1ull << 52);
    AUDIT_EXPECT(&vm, "guest.cr3");
    vm_set(&vm, WHvX64RegisterCr3, VM_PML4);
    vm_set(&vm, WHvRegisterPendingInterruption, 1 | 3 << 1 | 40ull << 16);
    AUDIT_EXPECT(&vm, "control.event.exception_vector");
    EXPECT_EQ(vm_get(&vm, WHvRegisterPendingInterruption), 1 | 3 << 1 | 40ull << 16);
    vm_set(&vm, WHvRegisterPendingInterruption, 0);
    EXPECT(!audit_ask(&vm, &finding));

    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), VM_CODE);
    EXPECT(!audit_is_refused(&vm));
    EXPECT_EQ(vm.exit.ExitReason, WHvRunVpExitReasonX64Halt);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), VM_CODE + 1);
}

/* PDPTEs are loaded from memory when CR3 was set: for an audit as for a run. */
TEST(audit_vmx_pdptes, "audit engine, VMCS: PDPTEs of a new CR3")
{
    struct hv_audit_finding finding;
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm) && enter(&vm, VM_PAE));
    vm_u64(&vm, VM_PAE_PDPT)[2] = PTE_P | PTE_W;
    EXPECT(!audit_ask(&vm, &finding));
    vm_set(&vm, WHvX64RegisterCr3, VM_PAE_PDPT);
    AUDIT_EXPECT(&vm, "guest.pdpte2");
    EXPECT(audit_is_refused(&vm));
}

/* What would let a guest keep the CPU, or is the host's. */
TEST(audit_vmx_raw, "audit engine, VMCS: what raw writes refuse")
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
    EXPECT(!audit_is_refused(&vm));
}

/* ------------------------------------------------------------------------------------- fuzzing */

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

static uint64_t random_access(uint64_t old)
{
    static const uint32_t words[] = {0x93, 0x9b, 0xf3, 0xfb, 0xc093, 0xc09b, 0xa09b, 0xa0fb,         0x97,
                                     0x91, 0x9f, 0x82, 0x83, 0x8b,   0x89,   0,      ACCESS_UNUSABLE};

    switch (audit_random_below(6)) {
    case 0:
        return PICK(words);
    case 1:
        return (old & ~0xfull) | audit_random_below(16);
    case 2:
        return (old & ~0x60ull) | audit_random_below(4) << 5;
    case 3:
        return old ^ ACCESS_UNUSABLE;
    default:
        return audit_flip_bits(old, audit_chance(80) ? 17 : 32);
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
        return audit_chance(60) ? 1 : audit_flip_bits(4, 32);
    case VMCS_GUEST_INTERRUPTIBILITY:
        return audit_chance(85) ? audit_random_below(32) : audit_flip_bits(old, 32);
    case VMCS_GUEST_PENDING_DEBUG:
        return audit_chance(50)   ? 1ull << audit_random_below(17)
               : audit_chance(50) ? audit_flip_bits(old, 17)
                                  : audit_flip_bits(old, 64);
    case VMCS_GUEST_RFLAGS:
        return audit_chance(60) ? audit_flip_bits(old, 22) : audit_flip_bits(old, 64);
    default:
        return audit_chance(55)   ? audit_flip_bits(old, width_of(field))
               : audit_chance(70) ? PICK(edges)
                                  : audit_random();
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
    *m = (struct mutation){f, audit_get(fuzz.vm, f->field), value};
    audit_set(fuzz.vm, f->field, value);
    fuzz.count++;
}

static void mutate(const struct field *f)
{
    mutate_to(f, random_value(f->field, audit_get(fuzz.vm, f->field)));
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
              (audit_get(fuzz.vm, VMCS_GUEST_CS_ACCESS) & ~0x6full) | PICK(code) | audit_random_below(4) << 5);
    if (audit_chance(70))
        mutate_to(find(VMCS_GUEST_SS_ACCESS),
                  (audit_get(fuzz.vm, VMCS_GUEST_SS_ACCESS) & ~0x60ull) | audit_random_below(4) << 5);
    if (audit_chance(70))
        mutate_to(find(VMCS_GUEST_CS_SELECTOR),
                  (audit_get(fuzz.vm, VMCS_GUEST_CS_SELECTOR) & ~3ull) | audit_random_below(4));
    if (audit_chance(10)) {
        mutate_to(find(VMCS_GUEST_SS_SELECTOR), audit_random_below(4));
        mutate(&fields[4 * SS + 1 + audit_random_below(3)]);
    }
    if (audit_chance(30))
        mutate_to(find(VMCS_GUEST_SS_SELECTOR),
                  (audit_get(fuzz.vm, VMCS_GUEST_SS_SELECTOR) & ~3ull) | audit_random_below(4));
}

static void mutate_ldtr(void)
{
    mutate_to(find(VMCS_GUEST_LDTR_ACCESS), 0x82);
    mutate_to(find(VMCS_GUEST_LDTR_LIMIT), 0xff);
    mutate(&fields[4 * LDTR + audit_random_below(4)]);
}

static void mutate_event(void)
{
    static const uint8_t types[] = {0, 2, 3, 4, 6, 5, 1, 7};
    unsigned type = audit_chance(80) ? types[audit_random_below(3)] : PICK(types),
             vector = type == 2 && audit_chance(90) ? 2 : audit_random_below(type == 3 ? 40 : 256);

    fuzz.event = 1 | (uint64_t)type << 1 | (uint64_t)vector << 16 | (audit_chance(20) ? 1 << 4 : 0) |
                 (uint64_t)audit_random_below(16) << 5;
    if (vm_try_set(fuzz.vm, WHvRegisterPendingInterruption, (WHV_REGISTER_VALUE){.Reg64 = fuzz.event}) != S_OK)
        fuzz.event = 0; /* not one that there is */
    if (audit_chance(60))
        mutate_to(find(VMCS_GUEST_RFLAGS), audit_get(fuzz.vm, VMCS_GUEST_RFLAGS) ^ FLAG_IF);
    if (audit_chance(60))
        mutate_to(find(VMCS_GUEST_INTERRUPTIBILITY), audit_random_below(16));
    if (audit_chance(30))
        mutate_to(find(VMCS_GUEST_ACTIVITY), 1);
}

static void mutate_state(void)
{
    unsigned kind = audit_random_below(100);

    if (kind < 12)
        mutate_privilege();
    else if (kind < 20)
        mutate_ldtr();
    else if (kind < 32)
        mutate_event();
    if (kind >= 25)
        do
            mutate(&fields[audit_random_below(COUNT(fields) - (audit_chance(80) ? 3 : 0))]);
        while (audit_chance(40));
}

/* ----- where Bochs and the manual differ */

static bool is_64bit_code(void)
{
    return vm_mode_in((enum vm_mode)fuzz.mode, VM_LONG_MODES) && audit_get(fuzz.vm, VMCS_GUEST_CS_ACCESS) & 0x2000;
}

static bool ss_is_null(void)
{
    return is_64bit_code() && !(audit_get(fuzz.vm, VMCS_GUEST_SS_SELECTOR) & 0xfffc);
}

static bool only_high_bits(void)
{
    return !(audit_get(fuzz.vm, VMCS_GUEST_PENDING_DEBUG) & 0xffffaff0);
}

/* CS.DPL and CS.RPL fit together, as if RPL were the CPL. */
static bool cs_rpl_fits(void)
{
    unsigned access = (unsigned)audit_get(fuzz.vm, VMCS_GUEST_CS_ACCESS), dpl = access >> 5 & 3,
             rpl = audit_get(fuzz.vm, VMCS_GUEST_CS_SELECTOR) & 3;

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
    FAIL("%s: %s (%s)", audit_mode_name(fuzz.mode), what, rule);
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
        audit_set(fuzz.vm, fuzz.done[fuzz.count].field->field, fuzz.done[fuzz.count].old);
    vm_set(fuzz.vm, WHvRegisterPendingInterruption, 0);
}

static void enter_again(void)
{
    struct hv_audit_finding finding;

    enter(fuzz.vm, fuzz.mode);
    for (unsigned i = 0; i < COUNT(fields); i++)
        audit_set(fuzz.vm, fields[i].field, fuzz.base[i]);
    if (audit_ask(fuzz.vm, &finding))
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
    is_broken = audit_ask(fuzz.vm, &before);
    difference = find_difference(before.rule);
    if (is_broken && difference && difference->is_fatal) {
        difference->seen++;
        revert_mutations();
        return;
    }
    refused = audit_is_refused(fuzz.vm);
    fuzz.refused += refused;
    judge(is_broken, &before, refused, difference);
    if (refused) /* nothing was loaded and nothing saved */
        revert_mutations();
    else
        enter_again();
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
TEST_ROWS(audit_vmx_fuzz, "audit engine, VMCS: random states", fuzz_modes)
{
    unsigned start = audit_option("seed", 1), rounds = audit_option("rounds", ROUNDS);
    VM(vm);

    if (!auditor_is_there())
        return;
    REQUIRE(vm_create_native(&vm));
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.vm = &vm;
    fuzz.mode = row->mode;
    audit_seed(start, row->mode);
    for (unsigned d = 0; d < COUNT(differences); d++)
        differences[d].seen = 0;
    REQUIRE(enter(&vm, row->mode));
    for (unsigned i = 0; i < COUNT(fields); i++)
        fuzz.base[i] = audit_get(&vm, fields[i].field);
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
TEST(audit_vmx_unblock, "audit engine, VMCS: an IRET ends NMI blocking")
{
    VM_GUEST(vm, VM_LONG, "exception_int_80", NULL);
    REQUIRE(EXPECT_VECTOR(&vm, 0x80));
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvRegisterInterruptState), 0);
}
