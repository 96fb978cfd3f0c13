/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor held against the engine. For each rule about the guest that raw writes can break: the entry is refused, the rule is named, and with the old value
 * back the VP runs on. Then random states: the engine refuses an entry if and only if the auditor finds a rule broken, and before the run it says the same as after it.
 *
 * Out of reach here, as the library's VMCS never asks for it: rules of restricted guests (ss.rpl, ss.dpl_rpl, .dpl of DS, ES, FS and GS), of PDPTEs without EPT, of the
 * link pointer, and of what VM entries do not load (CET state, performance counters, BNDCFGS, RTIT_CTL, LBR_CTL, PKRS, UINV).
 *
 * Bochs 2.7 lacks a few checks of the manual and has one of an older manual: see differences[]. There the auditor is held against the manual alone.
 */
#include "../../arch/x86_64/vmx/vmcs_fields.h"
#include "test.h"
#include "vm.h"
#include <kernel/module.h>

/* --------------------------------------------------------------------------------- base states */

/* A mode of its own: virtual-8086 on 32-bit paging. */
#define V86         VM_MODE_COUNT
#define MODE_COUNT  (VM_MODE_COUNT + 1)
#define V86_BIT     (1u << V86)
#define ANY         (VM_ALL | V86_BIT)
#define PLAIN       VM_ALL /* not virtual-8086 */
#define NOT_LONG    (ANY & ~VM_LONG_MODES)
#define NOT_CODE64  (ANY & ~VM_CODE64)
#define SS_ENFORCED (PLAIN & ~VM_BIT(VM_LONG))

#define FLAG_VM   0x20000ull
#define EVENT_NMI (1ull | 2 << 1 | 2ull << 16) /* of the register PendingInterruption */
#define EVENT_EXT (1ull | 0 << 1 | 0x41ull << 16)
#define EVENT_DE  (1ull | 3 << 1 | 0ull << 16)

#define ACCESS_UNUSABLE 0x10000u

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
    test_skip("no VMX: the auditor knows its rules only");
    return false;
}

/* --------------------------------------------------------------------------------- each rule */

struct change {
    uint32_t field;
    uint64_t keep, set; /* the new value is (old & keep) | set */
};

#define MAX_CHANGES 8

struct breaking {
    const char *rule;
    uint32_t modes;
    struct change changes[MAX_CHANGES]; /* up to the first that changes nothing */
    uint64_t event;
    uint32_t unenforced; /* modes in which the engine is known not to look */
};

/* clang-format off */
#define SET(field, value)       {VMCS_GUEST_##field, 0, value}
#define ON(field, bits)         {VMCS_GUEST_##field, ~0ull, bits}
#define OFF(field, bits)        {VMCS_GUEST_##field, ~(uint64_t)(bits), 0}
#define PART(field, mask, bits) {VMCS_GUEST_##field, ~(uint64_t)(mask), bits}

#define NONCANONICAL 0x0000800000000000ull
#define LDT          SET(LDTR_SELECTOR, VM_SEL_LDT), SET(LDTR_BASE, VM_LDT), SET(LDTR_LIMIT, 0xff), SET(LDTR_ACCESS, 0x82)
#define STI          1u
#define MOV_SS       2u
#define SMI          4u
#define NMI          8u

#define DATA(ROWS)          ROWS("ds", DS, PLAIN, 0), ROWS("es", ES, PLAIN, 0), ROWS("fs", FS, PLAIN, 0), ROWS("gs", GS, PLAIN, 0)
#define CODE_AND_DATA(ROWS) ROWS("cs", CS, PLAIN, 0), ROWS("ss", SS, PLAIN, VM_BIT(VM_LONG)), DATA(ROWS)
#define SYSTEM(ROWS)        ROWS("tr", TR, {0, ~0ull, 0}), \
                            ROWS("ldtr", LDTR, SET(LDTR_SELECTOR, VM_SEL_LDT), SET(LDTR_ACCESS, 0x82), SET(LDTR_LIMIT, 0xff))

#define OF_V86(id, REG, modes, unenforced) \
    {"guest." id ".base_v86",   V86_BIT, {ON(REG##_BASE, 0x10)}, 0, 0}, \
    {"guest." id ".limit_v86",  V86_BIT, {SET(REG##_LIMIT, 0xfffe)}, 0, 0}, \
    {"guest." id ".access_v86", V86_BIT, {ON(REG##_ACCESS, 0x1000)}, 0, 0}
#define OF_ALL(id, REG, modes, unenforced) \
    {"guest." id ".s",             modes, {OFF(REG##_ACCESS, 0x10)}, 0, unenforced}, \
    {"guest." id ".p",             modes, {OFF(REG##_ACCESS, 0x80)}, 0, unenforced}, \
    {"guest." id ".reserved_low",  modes, {ON(REG##_ACCESS, 0x100)}, 0, unenforced}, \
    {"guest." id ".reserved_high", modes, {ON(REG##_ACCESS, 0x20000)}, 0, unenforced}, \
    {"guest." id ".g",             modes, {SET(REG##_LIMIT, 0x1ffffe), ON(REG##_ACCESS, 0x8000)}, 0, unenforced}, \
    {"guest." id ".g",             modes, {SET(REG##_LIMIT, 0x1fffff), OFF(REG##_ACCESS, 0x8000)}, 0, unenforced}
#define OF_SYSTEM(id, REG, ...) \
    {"guest." id ".s",             ANY, {__VA_ARGS__, ON(REG##_ACCESS, 0x10)}, 0, 0}, \
    {"guest." id ".p",             ANY, {__VA_ARGS__, OFF(REG##_ACCESS, 0x80)}, 0, 0}, \
    {"guest." id ".reserved_low",  ANY, {__VA_ARGS__, ON(REG##_ACCESS, 0x800)}, 0, 0}, \
    {"guest." id ".g",             ANY, {__VA_ARGS__, SET(REG##_LIMIT, 0xffe), ON(REG##_ACCESS, 0x8000)}, 0, 0}, \
    {"guest." id ".g",             ANY, {__VA_ARGS__, SET(REG##_LIMIT, 0xfffffff)}, 0, 0}, \
    {"guest." id ".reserved_high", ANY, {__VA_ARGS__, ON(REG##_ACCESS, 0x80000000)}, 0, 0}
#define OF_DATA(id, REG, modes, unenforced) \
    {"guest." id ".type", modes, {PART(REG##_ACCESS, 0xf, 2)}, 0, 0},  /* not accessed */ \
    {"guest." id ".type", modes, {PART(REG##_ACCESS, 0xf, 9)}, 0, 0}   /* code that can not be read */

static const struct breaking breakings[] = {
    {"guest.cr0.must_be_1",  ANY,                               {OFF(CR0, CR0_NE)}, 0, 0},
    {"guest.cr0.must_be_0",  ANY,                               {ON(CR0, 1ull << 32)}, 0, 0},
    {"guest.cr0.pg_pe",      VM_PAGED | V86_BIT,                {OFF(CR0, CR0_PE)}, 0, 0},
    {"guest.cr0.pg_pe",      VM_BIT(VM_REAL),                   {ON(CR0, CR0_PG)}, 0, 0},
    {"guest.cr4.must_be_1",  ANY,                               {OFF(CR4, CR4_VMXE)}, 0, 0},
    {"guest.cr4.must_be_0",  ANY,                               {ON(CR4, 0x8000)}, 0, 0},
    {"guest.cr4.must_be_0",  ANY,                               {ON(CR4, 1ull << 63)}, 0, 0},
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
    {"guest.ss.base",        PLAIN,                             {ON(SS_BASE, 1ull << 32)}, 0, VM_BIT(VM_LONG)},
    {"guest.ds.base",        PLAIN,                             {ON(DS_BASE, 1ull << 63)}, 0, 0},
    {"guest.es.base",        PLAIN,                             {ON(ES_BASE, 1ull << 47)}, 0, 0},
    {"guest.cs.type",        PLAIN,                             {PART(CS_ACCESS, 0xf, 8)}, 0, 0}, /* not accessed */
    {"guest.cs.type",        PLAIN,                             {PART(CS_ACCESS, 0xf, 7)}, 0, 0}, /* data, expand-down */
    {"guest.ss.type",        PLAIN,                             {PART(SS_ACCESS, 0xf, 1)}, 0, VM_BIT(VM_LONG)},
    {"guest.ss.type",        PLAIN,                             {PART(SS_ACCESS, 0xf, 11)}, 0, VM_BIT(VM_LONG)},
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
    {"guest.rflags.vm_long", VM_LONG_MODES,                     {ON(RFLAGS, FLAG_VM), SET(CS_ACCESS, 0xf3), SET(SS_ACCESS, 0xf3), SET(DS_ACCESS, 0xf3),
                                                                 SET(ES_ACCESS, 0xf3), SET(FS_ACCESS, 0xf3), SET(GS_ACCESS, 0xf3)}, 0, 0},
    {"guest.rflags.vm_real", V86_BIT,                           {OFF(CR0, CR0_PE | CR0_PG)}, 0, V86_BIT},
    {"guest.rflags.if_event", ANY,                              {{0, ~0ull, 0}}, EVENT_EXT, 0},
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

    for (; n < MAX_CHANGES && b->changes[n].keep + 1 + b->changes[n].set; n++) {
        undo[n] = (struct undo){b->changes[n].field, raw_get(vm, b->changes[n].field)};
        raw_set(vm, b->changes[n].field, (undo[n].value & b->changes[n].keep) | b->changes[n].set);
    }
    if (b->event)
        vm_set(vm, WHvRegisterPendingInterruption, b->event);
    return n;
}
