/* SPDX-License-Identifier: MIT */
/*
 * The auditor of VMCBs. States that VMRUN accepts pass; one change breaks the one rule that it is about, in every mode
 * that knows the rule; and of all bits of a VMCB, each flipped alone, only those that the manual names are findings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/audit.h>

#include "../../arch/x86_64/svm/svm_audit.h"

/* ---------------------------------------------------------------------------- a CPU and its states */

#define PHYS    40
#define WIDE    BIT64(PHYS)            /* the lowest address bit that this CPU does not have */
#define TOO_BIG (~0ull << PHYS)        /* and all of them */
#define HIGH    0xffff800000000000ull  /* canonical */
#define EFER0   (EFER_SVME | EFER_NXE) /* of a guest outside long mode */
#define EFER1   (EFER0 | EFER_SCE | EFER_LME | EFER_LMA)
#define CR00    (CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_PE)

#define FEATURE_X2AVIC BIT32(18) /* CPUID 0x8000000A EDX */
#define FEATURE_SSS    BIT32(19)
#define FEATURE_VNMI   BIT32(25)
#define V_NMI_ENABLE   BIT32(26)
#define NESTED_SSS     BIT64(4)

static const struct svm_caps caps0 = {
    .features = CPUID_SVM_EDX_NP | CPUID_SVM_EDX_AVIC | FEATURE_X2AVIC | FEATURE_SSS | FEATURE_VNMI,
    .asids = 16,
    .cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
           CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_SMEP | CR4_CET,
    .efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME,
    .phys_bits = PHYS,
    .long_mode = true,
    .cet = true,
};

struct machine {
    struct vmcb vmcb;
    struct svm_caps caps;
};

/* One change of some bytes of the machine: a field of the VMCB or of the capabilities. size 0: none. */
struct change {
    uint16_t offset, size;
    uint64_t value;
};

/* clang-format off */
#define OF(member)        offsetof(struct machine, member), sizeof(((struct machine *)0)->member)
#define F(member, value)  {OF(vmcb.member), value}
#define CAP(member, value) {OF(caps.member), value}

#define CODE16 0x009b
#define DATA16 0x0093
#define V8086  0x00f3
#define CODE32 0x0c9b
#define DATA32 0x0c93
#define CODE64 0x0a9b
#define FLAT(code, data)                                                               \
    .cs = {{{0x10, code, ~0u}}, 0}, .ss = {{{0x18, data, ~0u}}, 0}, .ds = {{{0x18, data, ~0u}}, 0}, \
    .es = {{{0x18, data, ~0u}}, 0}, .tr = {{{0x28, 0x8b, 0x67}}, 0}
#define SMALL(selector_, base_, code, data)                                                           \
    .cs = {{{selector_, code, 0xffff}}, base_}, .ss = {{{selector_, data, 0xffff}}, base_},                   \
    .ds = {{{selector_, data, 0xffff}}, base_}, .es = {{{selector_, data, 0xffff}}, base_}, .tr = {{{0, 0x8b, 0xffff}}, 0}
#define CONTROLS(flags)                                                                                           \
    .intercepts = {BIT32(INTERCEPT_INTR) | BIT32(INTERCEPT_NMI), BIT32(INTERCEPT_VMRUN % 32)}, .iopm_pa = 0x1000, \
    .msrpm_pa = 0x4000, .asid = 1, .nested_control = NESTED_PAGING, .nested_cr3 = 0x7000, .g_pat = PAT_RESET,     \
    .dr6 = DR6_RESET, .dr7 = DR7_RESET, .rflags = RFLAGS_FIXED | (flags)

enum { REAL, PAGED_REAL, PROTECTED, PAGED, PAE, V86, LONG, COMPAT, BASES };
static const struct vmcb bases[BASES] = {
    [REAL] = {CONTROLS(0), SMALL(0xf000, 0xffff0000, CODE16, DATA16),
              .cr0 = CR0_RESET, .efer = EFER_SVME, .rip = 0xfff0},
    /* which MOV CR0 refuses and VMRUN loads: APM 2 15.19 */
    [PAGED_REAL] = {CONTROLS(0), SMALL(0x1000, 0x10000, CODE16, DATA16), .cr0 = CR00 & ~CR0_PE, .efer = EFER0},
    [PROTECTED] = {CONTROLS(0), FLAT(CODE32, DATA32), .cr0 = CR0_PE | CR0_ET, .efer = EFER0},
    [PAGED] = {CONTROLS(0), FLAT(CODE32, DATA32), .cr0 = CR00, .cr3 = 0x6000, .efer = EFER0},
    [PAE] = {CONTROLS(0), FLAT(CODE32, DATA32), .cr0 = CR00, .cr3 = 0x6020, .cr4 = CR4_PAE, .efer = EFER0},
    [V86] = {CONTROLS(RFLAGS_VM), SMALL(0x1003, 0x10030, V8086, V8086),
             .cr0 = CR00, .cr3 = 0x6000, .efer = EFER0, .cpl = 3},
    [LONG] = {CONTROLS(0), FLAT(CODE64, DATA32),
              .cr0 = CR00, .cr3 = 0x6000, .cr4 = CR4_PAE, .efer = EFER1, .rip = HIGH},
    [COMPAT] = {CONTROLS(0), FLAT(CODE32, DATA32),
                .cr0 = CR00, .cr3 = 0x6000, .cr4 = CR4_PAE, .efer = EFER1, .cpl = 3},
};
/* clang-format on */

#define IN(base) (1u << (base))
#define ANY      (IN(BASES) - 1)
#define LONGS    (IN(LONG) | IN(COMPAT))
#define NOT_LONG (ANY & ~LONGS)
#define CACHING  (ANY & ~IN(REAL)) /* CR0.CD is 0 */
#define ATTR_DB  BIT64(10)
#define ATTR_L   BIT64(9)

#define EVENT(type, vector) (EVENT_VALID | (uint64_t)(type) << 8 | (vector))
#define EXCEPTION(vector)   EVENT(EVENT_TYPE_EXCEPTION, vector)

static void start(struct machine *m, unsigned base)
{
    m->vmcb = bases[base];
    m->caps = caps0;
}

static uint64_t read_at(const struct machine *m, unsigned offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, (const char *)m + offset, size); /* little-endian */
    return value;
}

static void apply(struct machine *m, const struct change *changes)
{
    for (; changes->size; changes++)
        memcpy((char *)m + changes->offset, &changes->value, changes->size);
}

static size_t audit_all(const struct machine *m, struct hv_audit_finding *out, size_t max)
{
    return svm_audit_all(&(struct svm_audit_source){&m->vmcb, &m->caps}, out, max);
}

static bool audit(const struct machine *m, struct hv_audit_finding *out)
{
    return svm_audit(&(struct svm_audit_source){&m->vmcb, &m->caps}, out);
}

/* ---------------------------------------------------------------------------- what must pass, and what must not */

#define MAX_CHANGES 6

/* rule NULL: the state must pass */
struct audit_case {
    const char *rule;
    uint32_t bases;
    struct change changes[MAX_CHANGES]; /* and an empty one */
};

#define AVIC_ON   F(v_intr, V_AVIC)
#define X2AVIC_ON F(v_intr, V_AVIC | V_X2AVIC)

/* clang-format off */
#define PASS(bases, ...)        {NULL, bases, {__VA_ARGS__, {0, 0, 0}}}
#define BREAK(rule, bases, ...) {rule, bases, {__VA_ARGS__, {0, 0, 0}}}

static const struct audit_case passes[] = {
    PASS(ANY, F(asid, 1)),
    PASS(ANY, F(asid, ~0u)),
    PASS(ANY, F(cr0, CR0_CD | CR0_NW | CR0_PE)),
    PASS(ANY, F(cr0, CR0_CD | CR0_PE)),
    PASS(ANY, F(cr0, 0x1ffaffc0 | CR0_PE)), /* bits below 32 that no CPU has */
    PASS(ANY, F(cr3, WIDE - 1)),
    PASS(ANY, F(nested_cr3, WIDE - 1)),
    PASS(ANY, F(dr6, 0xffffffff), F(dr7, 0xffffffff)),
    PASS(ANY, F(efer, EFER_SVME), F(cr0, CR0_PE)),
    PASS(ANY, F(g_pat, 0x0001040506070600)),
    PASS(ANY, F(nested_control, 0), F(nested_cr3, TOO_BIG), F(g_pat, ~0ull)),
    PASS(ANY, F(nested_control, NESTED_PAGING | NESTED_SSS)),
    PASS(ANY, F(nested_control, NESTED_SSS), CAP(features, CPUID_SVM_EDX_NP)),
    /* LME without paging, and LMA that says otherwise */
    PASS(LONGS, F(cr0, CR0_PE)),
    PASS(LONGS, F(cr0, 0)),
    PASS(LONGS, F(efer, EFER1 & ~EFER_LMA)),
    PASS(NOT_LONG, F(efer, EFER0 | EFER_LMA)),
    /* CS.L and CS.D outside long mode */
    PASS(NOT_LONG, F(cs.attributes, CODE32 | ATTR_L)),
    PASS(LONGS, F(cr0, CR0_PE), F(cs.attributes, CODE32 | ATTR_L)),
    /* the guest's segments and flags, whatever they are */
    PASS(NOT_LONG, F(cs.attributes, 0xffff), F(cs.selector, 0xffff), F(cs.base, HIGH >> 1), F(ss.attributes, 0),
         F(cpl, 0xff)),
    PASS(ANY, F(rflags, ~0ull), F(rip, HIGH >> 1), F(rsp, HIGH >> 1), F(tr.attributes, 0), F(ldtr.attributes, 0x1f)),
    PASS(ANY, F(gdtr.base, HIGH >> 1), F(gdtr.limit, ~0u), F(idtr.base, HIGH >> 1), F(idtr.limit, ~0u)),
    PASS(ANY, F(star, ~0ull), F(lstar, HIGH >> 1), F(sysenter_eip, HIGH >> 1), F(dbgctl, ~0ull),
         F(interrupt_state, ~0ull)),
    /* maps: up to the last page, and their low bits do not count */
    PASS(ANY, F(msrpm_pa, WIDE - 0x2000), F(iopm_pa, WIDE - 0x3000)),
    PASS(ANY, F(msrpm_pa, WIDE - 0x2000 + 0xfff), F(iopm_pa, WIDE - 0x3000 + 0xfff)),
    /* events */
    PASS(ANY, F(event_inj, 0xffffffff7fffffff)),
    PASS(ANY, F(event_inj, EVENT(EVENT_TYPE_INTR, 0xff))),
    PASS(ANY, F(event_inj, EVENT(EVENT_TYPE_INTR, 2))),
    PASS(ANY, F(event_inj, EVENT(EVENT_TYPE_NMI, 2))),
    PASS(ANY, F(event_inj, EVENT(EVENT_TYPE_NMI, 0xff))),
    PASS(ANY, F(event_inj, EVENT(EVENT_TYPE_SOFTWARE, 0xff))),
    PASS(ANY, F(event_inj, EVENT(EVENT_TYPE_SOFTWARE, VEC_OF))),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_DE))),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_BP))),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_GP) | EVENT_ERROR_VALID | EVENT_ERROR_CODE)),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_UD) | EVENT_ERROR_VALID)),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_PF))),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_XM))),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_SX))),
    PASS(ANY, F(event_inj, EXCEPTION(VEC_CP))),
    PASS(ANY & ~IN(LONG), F(event_inj, EXCEPTION(VEC_OF))),
    PASS(ANY & ~IN(LONG), F(event_inj, EXCEPTION(VEC_BR))),
    PASS(IN(LONG), F(event_inj, EXCEPTION(VEC_BR)), F(cr0, CR0_PE)),
    /* CET */
    PASS(ANY, F(cr4, CR4_CET | CR4_PAE), F(cr0, CR00), F(s_cet, 3)),
    PASS(ANY, F(s_cet, ~0ull), CAP(cet, false)),
    /* AVIC */
    PASS(ANY, AVIC_ON, F(avic_backing_page, WIDE - 0x1000), F(avic_logical_table, WIDE - 0x1000),
         F(avic_physical_table, WIDE - 0x1000 + 255)),
    PASS(ANY, X2AVIC_ON, F(avic_physical_table, 511)),
    PASS(ANY, AVIC_ON, F(avic_backing_page, BITS64(63, 52) | 0xfff), F(avic_logical_table, BITS64(63, 52) | 0xfff)),
    PASS(ANY, F(avic_backing_page, TOO_BIG), F(avic_logical_table, TOO_BIG), F(avic_physical_table, ~0ull)),
    PASS(ANY, AVIC_ON, F(avic_backing_page, TOO_BIG), CAP(features, CPUID_SVM_EDX_NP)),
    PASS(ANY, F(v_intr, V_X2AVIC), CAP(features, CPUID_SVM_EDX_AVIC)),
    PASS(ANY, F(v_intr, V_NMI_ENABLE)),
    PASS(ANY, F(v_intr, V_NMI_ENABLE), F(intercepts[0], 0), CAP(features, 0)),
    PASS(ANY, F(v_intr, V_IRQ | V_INTR_PRIO | V_IGN_TPR | V_INTR_MASKING | V_TPR), F(v_intr_vector, ~0u)),
    PASS(ANY, F(tlb_control, TLB_FLUSH_ALL), F(lbr_control, 3), F(tsc_offset, ~0ull), F(clean, ~0u)),
    /* wider and other CPUs */
    PASS(ANY, F(cr3, TOO_BIG >> 12), CAP(phys_bits, 52)),
    PASS(NOT_LONG, CAP(long_mode, false), CAP(efer, EFER_SVME | EFER_NXE | EFER_SCE)),
    PASS(ANY, F(cr4, CR4_PAE | CR4_SMAP), CAP(cr4, CR4_PAE | CR4_SMAP)),
};

static const struct audit_case breaks[] = {
    BREAK("guest.efer.svme", NOT_LONG, F(efer, EFER_NXE)),
    BREAK("guest.efer.svme", LONGS, F(efer, EFER1 & ~EFER_SVME)),
    BREAK("guest.cr0.nw", ANY, F(cr0, CR0_PE | CR0_NW)),
    BREAK("guest.cr0.nw", CACHING & ~IN(PAGED_REAL), F(cr0, CR00 | CR0_NW)),
    BREAK("guest.cr0.high", ANY, F(cr0, CR00 | BIT64(32))),
    BREAK("guest.cr0.high", ANY, F(cr0, CR00 | BIT64(63))),
    BREAK("guest.cr3", ANY, F(cr3, WIDE)),
    BREAK("guest.cr3", ANY, F(cr3, BIT64(63))),
    BREAK("guest.cr3", ANY, F(cr3, BIT64(36)), CAP(phys_bits, 36)),
    BREAK("guest.cr4.must_be_0", ANY, F(cr4, CR4_PAE | CR4_VMXE)),
    BREAK("guest.cr4.must_be_0", ANY, F(cr4, CR4_PAE | BIT64(63))),
    BREAK("guest.cr4.must_be_0", ANY, F(cr4, CR4_PAE | CR4_SMAP)),
    BREAK("guest.dr6", ANY, F(dr6, DR6_RESET | BIT64(32))),
    BREAK("guest.dr6", ANY, F(dr6, BIT64(63))),
    BREAK("guest.dr7", ANY, F(dr7, DR7_RESET | BIT64(32))),
    BREAK("guest.dr7", ANY, F(dr7, BIT64(63))),
    BREAK("guest.efer.reserved", ANY, F(efer, EFER1 | BIT64(1)), F(cr0, CR0_PE)),
    BREAK("guest.efer.reserved", ANY, F(efer, EFER0 | BIT64(63))),
    BREAK("guest.efer.reserved", ANY, F(efer, EFER0 | EFER_FFXSR)),
    BREAK("guest.efer.long_mode", LONGS, CAP(long_mode, false), CAP(efer, EFER_SVME | EFER_NXE | EFER_SCE)),
    BREAK("guest.efer.long_mode", NOT_LONG, F(efer, EFER_SVME | EFER_LMA), CAP(long_mode, false)),
    BREAK("guest.efer.long_mode", ANY, F(efer, EFER_SVME | EFER_LME), F(cr0, CR0_PE), CAP(long_mode, false)),
    BREAK("guest.cr4.long_pae", LONGS, F(cr4, CR4_PGE)),
    BREAK("guest.cr4.long_pae", LONGS, F(cr4, 0), F(cs.attributes, CODE64 | ATTR_DB)),
    BREAK("guest.cr4.long_pae", IN(PAGED) | IN(V86), F(efer, EFER0 | EFER_LME)),
    BREAK("guest.cr0.long_pe", LONGS, F(cr0, CR00 & ~CR0_PE)),
    BREAK("guest.cr0.long_pe", IN(PAGED_REAL), F(efer, EFER0 | EFER_LME), F(cr4, CR4_PAE)),
    BREAK("guest.cs.db", LONGS, F(cs.attributes, CODE64 | ATTR_DB)),
    BREAK("guest.cs.db", LONGS, F(cs.attributes, 0xffff)),
    BREAK("guest.cs.db", IN(PAE), F(efer, EFER0 | EFER_LME), F(cs.attributes, ATTR_L | ATTR_DB)),
    BREAK("control.vmrun", ANY, F(intercepts[1], ~1u)),
    BREAK("control.msrpm", ANY, F(msrpm_pa, WIDE - 0x1000)),
    BREAK("control.msrpm", ANY, F(msrpm_pa, WIDE)),
    BREAK("control.msrpm", ANY, F(msrpm_pa, ~0ull)),
    BREAK("control.iopm", ANY, F(iopm_pa, WIDE - 0x2000)),
    BREAK("control.iopm", ANY, F(iopm_pa, BIT64(63))),
    BREAK("control.iopm", ANY, F(iopm_pa, ~0ull)),
    BREAK("control.event.type", ANY, F(event_inj, EVENT(1, 0x20))),
    BREAK("control.event.type", ANY, F(event_inj, EVENT(5, 0))),
    BREAK("control.event.type", ANY, F(event_inj, EVENT(6, VEC_GP))),
    BREAK("control.event.type", ANY, F(event_inj, EVENT(7, 0xff))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(VEC_NMI))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(9))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(15))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(VEC_VE))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(VEC_HV))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(VEC_CP)), CAP(cet, false)),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(31))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(32))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(64 + VEC_GP))),
    BREAK("control.event.vector", ANY, F(event_inj, EXCEPTION(255))),
    BREAK("control.event.mode", IN(LONG), F(event_inj, EXCEPTION(VEC_OF))),
    BREAK("control.event.mode", IN(LONG), F(event_inj, EXCEPTION(VEC_BR))),
    BREAK("control.asid", ANY, F(asid, 0)),
    BREAK("guest.s_cet", ANY, F(s_cet, 4)),
    BREAK("guest.s_cet", ANY, F(s_cet, BIT64(63) | 1)),
    BREAK("guest.cr0.wp_cet", ANY, F(cr4, CR4_PAE | CR4_CET), F(cr0, CR00 & ~CR0_WP)),
    BREAK("guest.cr0.wp_cet", ANY, F(cr4, CR4_PAE | CR4_CET), F(cr0, CR0_PE)),
    BREAK("control.nested_cr3", ANY, F(nested_cr3, WIDE)),
    BREAK("control.nested_cr3", ANY, F(nested_cr3, BIT64(52))),
    BREAK("guest.pat", ANY, F(g_pat, PAT_RESET - 3)),
    BREAK("guest.pat", ANY, F(g_pat, 2ull << 56)),
    BREAK("guest.pat", ANY, F(g_pat, 0x0c00)),
    BREAK("control.shadow_stack", ANY, F(nested_control, NESTED_SSS)),
    BREAK("control.virtual_nmis", ANY, F(v_intr, V_NMI_ENABLE), F(intercepts[0], ~BIT32(INTERCEPT_NMI))),
    BREAK("control.avic.x2avic", ANY, F(v_intr, V_X2AVIC)),
    BREAK("control.avic.backing_page", ANY, AVIC_ON, F(avic_backing_page, WIDE)),
    BREAK("control.avic.logical_table", ANY, AVIC_ON, F(avic_logical_table, BIT64(51))),
    BREAK("control.avic.physical_table", ANY, X2AVIC_ON, F(avic_physical_table, WIDE)),
    BREAK("control.avic.max_index", ANY, AVIC_ON, F(avic_physical_table, 256)),
    BREAK("control.avic.max_index", ANY, AVIC_ON, F(avic_physical_table, 0x8fff)),
};
/* clang-format on */

static void accepts_valid_states(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f = {.rule = "untouched"};

    for (size_t i = 0; i < ARRAY_COUNT(passes); i++)
        for (unsigned base = 0; base < BASES; base++) {
            if (!(passes[i].bases & IN(base)))
                continue;
            start(m, base);
            apply(m, passes[i].changes);
            if (audit(m, &f))
                fail_msg("state %zu of base %u: %s is broken", i, base, f.rule);
        }
    assert_string_equal(f.rule, "untouched");
}

static void names_the_broken_rule_alone(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding first, all[2];

    for (size_t i = 0; i < ARRAY_COUNT(breaks); i++)
        for (unsigned base = 0; base < BASES; base++) {
            const struct audit_case *c = &breaks[i];

            if (!(c->bases & IN(base)))
                continue;
            start(m, base);
            apply(m, c->changes);
            if (!audit(m, &first))
                fail_msg("%s of base %u: the state passes", c->rule, base);
            if (strcmp(first.rule, c->rule) != 0)
                fail_msg("%s of base %u: %s is named", c->rule, base, first.rule);
            if (audit_all(m, all, 2) != 1)
                fail_msg("%s of base %u: %s is broken too", c->rule, base, all[1].rule);
        }
}

static void has_a_case_for_each_rule(void **state)
{
    size_t rules = 0;

    (void)state;
    for (const char *rule; (rule = svm_audit_rule(rules)); rules++) {
        bool found = false;

        for (size_t i = 0; i < ARRAY_COUNT(breaks); i++)
            found |= strcmp(breaks[i].rule, rule) == 0;
        if (!found)
            fail_msg("no case breaks %s", rule);
        for (size_t other = 0; other < rules; other++)
            assert_string_not_equal(svm_audit_rule(other), rule);
    }
    assert_in_range(rules, 30, 100);
    assert_null(svm_audit_rule(rules + 1));
}

static void gives_field_value_and_bits(void **state)
{
    static const struct {
        struct change change;
        const char *rule, *field;
        uint32_t offset;
        uint64_t value, wrong_bits;
    } wanted[] = {
        {F(dr7, 5ull << 40 | 0x400), "guest.dr7", "DR7", 0x560, 5ull << 40 | 0x400, 5ull << 40},
        {F(cr0, CR00 | CR0_NW), "guest.cr0.nw", "CR0", 0x558, CR00 | CR0_NW, CR0_NW},
        {F(cs.attributes, 0xe9b), "guest.cs.db", "CS.attrib", 0x412, 0xe9b, ATTR_DB},
        {F(intercepts[1], 0x102), "control.vmrun", "INTERCEPTS_010", 0x010, 0x102, 1},
        {F(asid, 0), "control.asid", "GUEST_ASID", 0x058, 0, 0},
        {F(msrpm_pa, WIDE), "control.msrpm", "MSRPM_BASE_PA", 0x048, WIDE, 0},
        {F(event_inj, EVENT(5, 9)), "control.event.type", "EVENTINJ", 0x0a8, EVENT(5, 9), 0x500},
        {F(event_inj, EXCEPTION(2)), "control.event.vector", "EVENTINJ", 0x0a8, EXCEPTION(2), 2},
        {F(g_pat, 0x0306080602060606), "guest.pat", "G_PAT", 0x668, 0x0306080602060606, 0xff00ff00ff000000},
    };
    struct machine *m = *state;
    struct hv_audit_finding f;
    char line[256];

    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        start(m, LONG);
        apply(m, (const struct change[]){wanted[i].change, {0, 0, 0}});
        assert_true(audit(m, &f));
        assert_string_equal(f.rule, wanted[i].rule);
        assert_string_equal(f.field, wanted[i].field);
        assert_int_equal(f.field_encoding, wanted[i].offset);
        assert_int_equal(f.value, wanted[i].value);
        assert_int_equal(f.wrong_bits, wanted[i].wrong_bits);
        assert_int_equal(f.entry, 0);
    }
    start(m, LONG);
    m->vmcb.dr6 = BIT64(35);
    assert_true(audit(m, &f));
    hv_audit_format(line, sizeof(line), &f);
    assert_string_equal(line, "guest.dr6: DR6 (0x568) = 0x800000000, bit 35: guest DR6: bits 63:32 must be 0 "
                              "(APM 2 15.5.1)");
}

/* Lines for a log fit in what hv_audit_format promises, whatever the values. */
static void fits_a_line(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f[8];
    char line[256];

    for (size_t i = 0; i < ARRAY_COUNT(breaks); i++) {
        start(m, (unsigned)__builtin_ctz(breaks[i].bases));
        apply(m, breaks[i].changes);
        assert_int_equal(audit_all(m, f, 8), 1);
        f[0].value = ~0ull;
        assert_in_range(hv_audit_format(line, sizeof(line), &f[0]), 20, sizeof(line) - 1);
    }
}

static void goes_on_when_asked(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f[2] = {{.rule = NULL}};

    start(m, LONG);
    m->vmcb.asid = 0;
    m->vmcb.dr7 = ~0ull;
    m->vmcb.cr3 = ~0ull;
    assert_int_equal(audit_all(m, f, 1), 3);
    assert_string_equal(f[0].rule, "guest.cr3");
    assert_null(f[1].rule);
    assert_int_equal(audit_all(m, NULL, 0), 3);
    assert_int_equal(audit_all(m, f, 2), 3);
    assert_string_equal(f[1].rule, "guest.dr7");
}

/* ---------------------------------------------------------------------------- every bit, one by one */

/* Flipping one of these bits of a field makes VMRUN refuse the base states; no other bit of a VMCB does. */
struct watched {
    uint16_t offset, size;
    uint64_t bits;
    const char *rule;
    uint32_t bases;
};

#define W(member, bits, rule, bases)       \
    {                                      \
        OF(vmcb.member), bits, rule, bases \
    }

/* clang-format off */
static const struct watched watched[] = {
    W(efer, EFER_SVME, "guest.efer.svme", ANY),
    W(efer, ~(EFER_SVME | EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE), "guest.efer.reserved", ANY),
    W(efer, EFER_LME, "guest.cr4.long_pae", IN(PAGED) | IN(V86) | IN(PAGED_REAL)),
    W(cr0, BITS64(63, 32), "guest.cr0.high", ANY),
    W(cr0, CR0_NW, "guest.cr0.nw", CACHING),
    W(cr0, CR0_CD, "guest.cr0.nw", IN(REAL)),
    W(cr0, CR0_PE, "guest.cr0.long_pe", LONGS),
    W(cr3, TOO_BIG, "guest.cr3", ANY),
    W(cr4, BITS64(63, 24) | BIT64(22) | BIT64(21) | BIT64(19) | BITS64(17, 11), "guest.cr4.must_be_0", ANY),
    W(cr4, CR4_PAE, "guest.cr4.long_pae", LONGS),
    W(cr4, CR4_CET, "guest.cr0.wp_cet", IN(REAL) | IN(PROTECTED)),
    W(dr6, BITS64(63, 32), "guest.dr6", ANY),
    W(dr7, BITS64(63, 32), "guest.dr7", ANY),
    W(cs.attributes, ATTR_DB, "guest.cs.db", IN(LONG)),
    W(cs.attributes, ATTR_L, "guest.cs.db", IN(COMPAT)),
    W(intercepts[1], 1, "control.vmrun", ANY),
    W(msrpm_pa, TOO_BIG, "control.msrpm", ANY),
    W(iopm_pa, TOO_BIG, "control.iopm", ANY),
    W(asid, 1, "control.asid", ANY),
    W(s_cet, ~3ull, "guest.s_cet", ANY),
    W(nested_cr3, TOO_BIG, "control.nested_cr3", ANY),
    W(g_pat, 0xfafcf8fcfafcf8fc, "guest.pat", ANY), /* of 00070406 00070406 */
    W(v_intr, V_X2AVIC, "control.avic.x2avic", ANY),
};
/* clang-format on */

static const char *wanted_rule(unsigned base, unsigned byte, unsigned bit)
{
    for (size_t i = 0; i < ARRAY_COUNT(watched); i++) {
        const struct watched *w = &watched[i];

        if ((w->bases & IN(base)) && byte >= w->offset && byte < w->offset + w->size &&
            (w->bits >> (8 * (byte - w->offset) + bit) & 1))
            return w->rule;
    }
    return "none";
}

static void watches_these_bits_and_no_others(void **state)
{
    struct machine *m = *state;

    _Static_assert(offsetof(struct machine, vmcb) == 0, "bytes count from the VMCB's first");
    for (unsigned base = 0; base < BASES; base++)
        for (unsigned byte = 0; byte < sizeof(struct vmcb); byte++)
            for (unsigned bit = 0; bit < 8; bit++) {
                struct hv_audit_finding f = {.rule = "none"};

                start(m, base);
                ((uint8_t *)&m->vmcb)[byte] ^= (uint8_t)(1u << bit);
                audit(m, &f);
                if (strcmp(f.rule, wanted_rule(base, byte, bit)) != 0)
                    fail_msg("base %u, byte 0x%x, bit %u: %s instead of %s", base, byte, bit, f.rule,
                             wanted_rule(base, byte, bit));
            }
}

/* ---------------------------------------------------------------------------- random states */

static uint64_t seed;

static uint64_t random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* What the manual says, in its own order and as one yes or no: 15.5.1, 15.20, 15.25.4. */
static bool vmrun_refuses(const struct vmcb *b, const struct svm_caps *c)
{
    const uint64_t last_page = (1ull << (c->phys_bits - 12)) - 1;
    bool is_long = b->efer >> 8 & 1, pages = b->cr0 >> 31 & 1;
    unsigned vector = b->event_inj & 0xff, type = b->event_inj >> 8 & 7;
    bool is_code64 = is_long && pages && (b->cs.attributes >> 9 & 1);

    if (!(b->efer >> 12 & 1) || (!(b->cr0 >> 30 & 1) && (b->cr0 >> 29 & 1)) || b->cr0 >> 32 || b->dr6 >> 32 ||
        b->dr7 >> 32 || b->cr3 >> c->phys_bits || (b->cr4 | c->cr4) != c->cr4 || (b->efer | c->efer) != c->efer)
        return true;
    if (is_long && pages && (!(b->cr4 >> 5 & 1) || !(b->cr0 & 1)))
        return true;
    if (is_code64 && (b->cs.attributes >> 10 & 1))
        return true;
    if (!(b->intercepts[1] & 1) || !b->asid || (b->msrpm_pa >> 12) + 1 > last_page ||
        (b->iopm_pa >> 12) + 2 > last_page)
        return true;
    if (b->event_inj >> 31 & 1) {
        if (type == 1 || type > 4)
            return true;
        if (type == 3 && (vector > 30 || vector == 2 || vector == 9 || vector == 15 ||
                          (vector >= 20 && vector < 30 && vector != 21)))
            return true;
        if (type == 3 && is_code64 && (vector == 4 || vector == 5))
            return true;
    }
    if (b->s_cet >> 2 || ((b->cr4 >> 23 & 1) && !(b->cr0 >> 16 & 1)))
        return true;
    if (!(b->nested_control & 1))
        return false;
    for (unsigned i = 0; i < 8; i++) {
        unsigned t = b->g_pat >> 8 * i & 0xff;

        if (t == 2 || t == 3 || t > 7)
            return true;
    }
    return b->nested_cr3 >> c->phys_bits;
}

/* Fields that rules look at, and the bits of them that decide more often than others would. */
static const struct {
    uint16_t offset, size;
    uint64_t bits;
} mutable[] = {
    {OF(vmcb.efer), BITS64(15, 8) | BIT64(63)},
    {OF(vmcb.cr0), CR0_PG | CR0_CD | CR0_NW | CR0_WP | CR0_PE | BIT64(40)},
    {OF(vmcb.cr3), WIDE | BIT64(63) | BIT64(20)},
    {OF(vmcb.cr4), CR4_PAE | CR4_CET | CR4_PGE | CR4_VMXE},
    {OF(vmcb.dr6), BIT64(32) | BIT64(3)},
    {OF(vmcb.dr7), BIT64(63) | BIT64(13)},
    {OF(vmcb.cs.attributes), ATTR_DB | ATTR_L | 0xf},
    {OF(vmcb.intercepts[1]), 3},
    {OF(vmcb.asid), 3},
    {OF(vmcb.msrpm_pa), BITS64(PHYS, 12)},
    {OF(vmcb.iopm_pa), BITS64(PHYS - 1, 12)},
    {OF(vmcb.event_inj), EVENT_VALID | EVENT_TYPE | BITS64(5, 0)},
    {OF(vmcb.event_inj), EVENT_VALID | BITS64(9, 8) | BITS64(4, 0)},
    {OF(vmcb.nested_control), NESTED_PAGING},
    {OF(vmcb.nested_cr3), WIDE | BIT64(30)},
    {OF(vmcb.g_pat), 0x0808070707070707},
    {OF(vmcb.s_cet), 7},
    {OF(vmcb.rflags), ~0ull},
};

static void mutate(struct machine *m)
{
    for (unsigned n = 1 + random64() % 3; n; n--) {
        size_t which = random64() % ARRAY_COUNT(mutable);
        uint64_t value = read_at(m, mutable[which].offset, mutable[which].size);

        value = (value & ~mutable[which].bits) | (random64() & mutable[which].bits);
        memcpy((char *)m + mutable[which].offset, &value, mutable[which].size);
    }
}

static void agrees_with_the_manual_on_random_states(void **state)
{
    struct machine *m = *state;
    unsigned refused = 0, rounds = 200000;

    seed = 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < rounds; i++) {
        struct hv_audit_finding f = {.rule = "none"};
        bool wanted;

        start(m, (unsigned)(random64() % BASES));
        mutate(m);
        wanted = vmrun_refuses(&m->vmcb, &m->caps);
        if (audit(m, &f) != wanted)
            fail_msg("round %u: the manual %s, the auditor says %s", i, wanted ? "refuses" : "accepts", f.rule);
        refused += wanted;
    }
    assert_in_range(refused, rounds / 4, rounds - rounds / 4);
}

/* Any content gets an answer: no check shifts too far or runs long. */
static void survives_any_bytes(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f;

    seed = 0x2545f4914f6cdd1d;
    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(m->vmcb) / 8; i++) {
            uint64_t word = random64();

            memcpy((char *)&m->vmcb + 8 * i, &word, 8);
        }
        m->caps = caps0;
        m->caps.phys_bits = (uint8_t)(round % 65);
        assert_true(audit(m, &f));
    }
}

static int set_up(void **state)
{
    *state = malloc(sizeof(struct machine));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_valid_states),
        cmocka_unit_test(names_the_broken_rule_alone),
        cmocka_unit_test(has_a_case_for_each_rule),
        cmocka_unit_test(gives_field_value_and_bits),
        cmocka_unit_test(fits_a_line),
        cmocka_unit_test(goes_on_when_asked),
        cmocka_unit_test(watches_these_bits_and_no_others),
        cmocka_unit_test(agrees_with_the_manual_on_random_states),
        cmocka_unit_test(survives_any_bytes),
    };

    return cmocka_run_group_tests_name("svm_audit", tests, set_up, tear_down);
}
