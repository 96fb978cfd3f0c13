/* SPDX-License-Identifier: MIT */
/* The entry auditor: the table of what VMRUN checks, and the walk over it. */
#include "svm_audit.h"

#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* What a rule asks of the VMCB and the CPU before it counts. */
#define MODE_LONG      BIT32(0) /* EFER.LME and CR0.PG */
#define MODE_PAE       BIT32(1) /* CR4.PAE */
#define MODE_CODE64    BIT32(2) /* CS.L */
#define MODE_CET       BIT32(3) /* CR4.CET */
#define MODE_CPU_CET   BIT32(4) /* the VMCB has CET's fields */
#define MODE_CPU_32    BIT32(5) /* the CPU lacks long mode */
#define MODE_NESTED    BIT32(6) /* nested paging */
#define MODE_INJECT    BIT32(7) /* the entry delivers an event */
#define MODE_EXCEPTION BIT32(8) /* which is an exception */
#define MODE_AVIC      BIT32(9)
#define MODE_XAVIC     BIT32(10) /* AVIC with the registers in memory */
#define MODE_X2AVIC    BIT32(11) /* AVIC with the registers in MSRs */
#define MODE_NMIS      BIT32(12) /* virtual NMIs */
#define MODE_SSS       BIT32(13) /* supervisor shadow stacks */

/* One audit under way: what many rules look at, and the field of the rule at hand. */
struct audit {
    const struct vmcb *vmcb;
    const struct svm_caps *caps;
    uint32_t modes;
    uint64_t value;
};

#define WHOLE (~0ull) /* a check's answer: broken, and not by single bits */

struct audit_rule {
    const char *id;
    const char *field;
    uint32_t offset, size; /* of the field, in bytes */
    const char *section;
    /* the checked field is a->value; returns its wrong bits, WHOLE, or 0: the rule holds */
    uint64_t (*broken)(const struct audit *a, uint64_t arg);
    uint64_t arg;   /* means what the check says */
    uint64_t modes; /* the rule counts only in all of them */
    const char *text;
};

/* ------------------------------------------------------------------------------------- checks */

static uint64_t above(const struct audit *a) /* bits that no physical address of this CPU has */
{
    return a->caps->phys_bits >= 64 ? 0 : ~0ull << a->caps->phys_bits;
}

static uint64_t must_be_0(const struct audit *a, uint64_t mask)
{
    return a->value & mask;
}

static uint64_t must_be_1(const struct audit *a, uint64_t mask)
{
    return ~a->value & mask;
}

static uint64_t not_null(const struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value ? 0 : WHOLE;
}

static uint64_t physical(const struct audit *a, uint64_t mask) /* bits of the mask that are the address */
{
    return a->value & mask & above(a);
}

static uint64_t not_write_through(const struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & CR0_CD ? 0 : a->value & CR0_NW;
}

static uint64_t cr4_reserved(const struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & ~a->caps->cr4;
}

/* LME and LMA have a rule of their own, for CPUs without long mode. */
static uint64_t efer_reserved(const struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & ~(a->caps->efer | EFER_SVME | EFER_LME | EFER_LMA);
}

/* The CPU ignores bits 11:0 of a map's address. */
static uint64_t map_end(const struct audit *a, uint64_t pages)
{
    uint64_t start = a->value & ~0xfffull;

    if (start & above(a))
        return WHOLE;
    return (start + pages * 4096 - 1) & above(a) ? WHOLE : 0;
}

static uint64_t event_type(const struct audit *a, uint64_t known)
{
    return known & BIT64(FIELD_GET(EVENT_TYPE, a->value)) ? 0 : a->value & EVENT_TYPE;
}

/* What delivers an exception, by APM 2 table 8-1; not NMIs, nor what only encrypted guests have. */
#define EXCEPTIONS                                                                                                   \
    (BIT64(VEC_DE) | BIT64(VEC_DB) | BIT64(VEC_BP) | BIT64(VEC_OF) | BIT64(VEC_BR) | BIT64(VEC_UD) | BIT64(VEC_NM) | \
     BIT64(VEC_DF) | BIT64(VEC_TS) | BIT64(VEC_NP) | BIT64(VEC_SS) | BIT64(VEC_GP) | BIT64(VEC_PF) | BIT64(VEC_MF) | \
     BIT64(VEC_AC) | BIT64(VEC_MC) | BIT64(VEC_XM) | BIT64(VEC_SX))

static uint64_t event_vector(const struct audit *a, uint64_t unused)
{
    uint64_t vector = FIELD_GET(EVENT_VECTOR, a->value);
    uint64_t known = EXCEPTIONS | (a->caps->cet ? BIT64(VEC_CP) : 0);

    (void)unused;
    return vector < 32 && (known & BIT64(vector)) ? 0 : a->value & EVENT_VECTOR;
}

static uint64_t event_mode(const struct audit *a, uint64_t excluded)
{
    uint64_t vector = FIELD_GET(EVENT_VECTOR, a->value);

    return vector < 32 && (excluded & BIT64(vector)) ? a->value & EVENT_VECTOR : 0;
}

static uint64_t memory_types(const struct audit *a, uint64_t unused)
{
    const uint32_t valid = BIT32(MEM_TYPE_UC) | BIT32(MEM_TYPE_WC) | BIT32(MEM_TYPE_WT) | BIT32(MEM_TYPE_WP) |
                           BIT32(MEM_TYPE_WB) | BIT32(MEM_TYPE_UC_MINUS);
    uint64_t wrong = 0;

    (void)unused;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint8_t type = (uint8_t)(a->value >> shift);

        if (type > 7 || !(valid & BIT32(type)))
            wrong |= 0xffull << shift;
    }
    return wrong;
}

static uint64_t table_index(const struct audit *a, uint64_t highest)
{
    return (a->value & BITS64(11, 0)) > highest ? a->value & BITS64(11, 0) : 0;
}

/* ------------------------------------------------------------------------------------- rules */

#define CONSISTENCY "APM 2 15.5.1"
#define EVENTS      "APM 2 15.20"
#define NMIS        "APM 2 15.21.10"
#define NESTED      "APM 2 15.25.4"
#define SHADOW      "APM 2 15.25.14"
#define AVIC_WORD   "APM 2 15.29.4.1"
#define AVIC_TABLES "APM 2 15.29.4.3"

#define FIELD(member, name) name, offsetof(struct vmcb, member), sizeof(((struct vmcb *)0)->member)

#define ATTR_L             BIT64(9) /* of a segment's attributes as the VMCB has them */
#define ATTR_DB            BIT64(10)
#define S_CET_RESERVED     BITS64(63, 2) /* all but SH_STK_EN and WR_SHSTK_EN: there is no branch tracking */
#define AVIC_ADDRESS       BITS64(51, 12)
#define XAVIC_MAX_INDEX    255u
#define V_NMI_ENABLE       BIT32(26)
#define NESTED_SSS         BIT64(4) /* supervisor shadow stacks */
#define SVM_FEATURE_X2AVIC BIT32(18)
#define SVM_FEATURE_SSS    BIT32(19)
#define SVM_FEATURE_VNMI   BIT32(25)
#define EVENT_TYPES \
    (BIT64(EVENT_TYPE_INTR) | BIT64(EVENT_TYPE_NMI) | BIT64(EVENT_TYPE_EXCEPTION) | BIT64(EVENT_TYPE_SOFTWARE))

/* clang-format off */
static const struct audit_rule rules[] = {
    {"guest.efer.svme", FIELD(efer, "EFER"), CONSISTENCY, must_be_1, EFER_SVME, 0,
     "guest EFER.SVME must be 1"},
    {"guest.cr0.nw", FIELD(cr0, "CR0"), CONSISTENCY, not_write_through, 0, 0,
     "guest CR0.NW must be 0 if CR0.CD is 0"},
    {"guest.cr0.high", FIELD(cr0, "CR0"), CONSISTENCY, must_be_0, BITS64(63, 32), 0,
     "guest CR0: bits 63:32 must be 0"},
    {"guest.cr3", FIELD(cr3, "CR3"), CONSISTENCY, physical, ~0ull, 0,
     "guest CR3: bits beyond the physical-address width must be 0"},
    {"guest.cr4.must_be_0", FIELD(cr4, "CR4"), CONSISTENCY, cr4_reserved, 0, 0,
     "guest CR4: bits that this CPU does not have must be 0"},
    {"guest.dr6", FIELD(dr6, "DR6"), CONSISTENCY, must_be_0, DR6_RESERVED, 0,
     "guest DR6: bits 63:32 must be 0"},
    {"guest.dr7", FIELD(dr7, "DR7"), CONSISTENCY, must_be_0, DR7_RESERVED, 0,
     "guest DR7: bits 63:32 must be 0"},
    {"guest.efer.reserved", FIELD(efer, "EFER"), CONSISTENCY, efer_reserved, 0, 0,
     "guest EFER: bits that this CPU does not have must be 0"},
    {"guest.efer.long_mode", FIELD(efer, "EFER"), CONSISTENCY, must_be_0, EFER_LME | EFER_LMA, MODE_CPU_32,
     "guest EFER: LME and LMA must be 0 on a CPU without long mode"},
    {"guest.cr4.long_pae", FIELD(cr4, "CR4"), CONSISTENCY, must_be_1, CR4_PAE, MODE_LONG,
     "guest CR4.PAE must be 1 if EFER.LME and CR0.PG are 1"},
    {"guest.cr0.long_pe", FIELD(cr0, "CR0"), CONSISTENCY, must_be_1, CR0_PE, MODE_LONG,
     "guest CR0.PE must be 1 if EFER.LME and CR0.PG are 1"},
    {"guest.cs.db", FIELD(cs.attributes, "CS.attrib"), CONSISTENCY, must_be_0, ATTR_DB,
     MODE_LONG | MODE_PAE | MODE_CODE64,
     "guest CS.D must be 0 if EFER.LME, CR0.PG, CR4.PAE and CS.L are 1"},
    {"control.vmrun", FIELD(intercepts[INTERCEPT_VMRUN / 32], "INTERCEPTS_010"), CONSISTENCY, must_be_1,
     BIT64(INTERCEPT_VMRUN % 32), 0,
     "the intercept of VMRUN must be 1"},
    {"control.msrpm", FIELD(msrpm_pa, "MSRPM_BASE_PA"), CONSISTENCY, map_end, MSRPM_PAGES, 0,
     "the MSR permission map must not extend beyond the physical-address width"},
    {"control.iopm", FIELD(iopm_pa, "IOPM_BASE_PA"), CONSISTENCY, map_end, IOPM_PAGES, 0,
     "the I/O permission map must not extend beyond the physical-address width"},
    {"control.event.type", FIELD(event_inj, "EVENTINJ"), EVENTS, event_type, EVENT_TYPES, MODE_INJECT,
     "injected event: the type must be 0 (interrupt), 2 (NMI), 3 (exception) or 4 (software interrupt)"},
    {"control.event.vector", FIELD(event_inj, "EVENTINJ"), EVENTS, event_vector, 0, MODE_EXCEPTION,
     "injected event: the vector of an exception must be one that the CPU has; 2, the NMI's, is not one"},
    {"control.event.mode", FIELD(event_inj, "EVENTINJ"), EVENTS, event_mode, BIT64(VEC_OF) | BIT64(VEC_BR),
     MODE_EXCEPTION | MODE_LONG | MODE_CODE64,
     "injected event: #OF and #BR must not be injected in 64-bit mode, which has neither INTO nor BOUND"},
    {"control.asid", FIELD(asid, "GUEST_ASID"), CONSISTENCY, not_null, 0, 0,
     "the guest's ASID must not be 0"},
    {"guest.s_cet", FIELD(s_cet, "S_CET"), CONSISTENCY, must_be_0, S_CET_RESERVED, MODE_CPU_CET,
     "guest S_CET: bits 63:2 must be 0"},
    {"guest.cr0.wp_cet", FIELD(cr0, "CR0"), CONSISTENCY, must_be_1, CR0_WP, MODE_CET,
     "guest CR0.WP must be 1 if CR4.CET is 1"},

    {"control.nested_cr3", FIELD(nested_cr3, "N_CR3"), NESTED, physical, ~0ull, MODE_NESTED,
     "nested CR3: bits beyond the physical-address width must be 0"},
    {"guest.pat", FIELD(g_pat, "G_PAT"), NESTED, memory_types, 0, MODE_NESTED,
     "guest PAT: each byte must be 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-)"},
    {"control.shadow_stack", FIELD(nested_control, "NP_ENABLE"), SHADOW, must_be_1, NESTED_PAGING, MODE_SSS,
     "nested paging must be on if supervisor shadow stacks are"},

    {"control.virtual_nmis", FIELD(intercepts[INTERCEPT_NMI / 32], "INTERCEPTS_00C"), NMIS, must_be_1,
     BIT64(INTERCEPT_NMI), MODE_NMIS,
     "the intercept of NMIs must be 1 if virtual NMIs are on"},
    {"control.avic.x2avic", FIELD(v_intr, "V_INTR"), AVIC_WORD, must_be_1, V_AVIC, MODE_X2AVIC,
     "AVIC must be on if x2AVIC is"},
    {"control.avic.backing_page", FIELD(avic_backing_page, "AVIC_BACKING_PAGE"), AVIC_TABLES, physical, AVIC_ADDRESS,
     MODE_AVIC,
     "AVIC's backing page: address bits beyond the physical-address width must be 0"},
    {"control.avic.logical_table", FIELD(avic_logical_table, "AVIC_LOGICAL_TABLE"), AVIC_TABLES, physical, AVIC_ADDRESS,
     MODE_AVIC,
     "AVIC's logical table: address bits beyond the physical-address width must be 0"},
    {"control.avic.physical_table", FIELD(avic_physical_table, "AVIC_PHYSICAL_TABLE"), AVIC_TABLES, physical,
     AVIC_ADDRESS, MODE_AVIC,
     "AVIC's physical table: address bits beyond the physical-address width must be 0"},
    {"control.avic.max_index", FIELD(avic_physical_table, "AVIC_PHYSICAL_TABLE"), AVIC_TABLES, table_index,
     XAVIC_MAX_INDEX, MODE_XAVIC,
     "AVIC's physical table: the highest index in bits 11:0 must not be above 255 unless x2AVIC is on"},
};
/* clang-format on */

/* ------------------------------------------------------------------------------------- walk */

static uint32_t when(bool condition, uint32_t mode)
{
    return condition ? mode : 0;
}

static uint32_t guest_modes(const struct vmcb *vmcb, const struct svm_caps *caps)
{
    return when((vmcb->efer & EFER_LME) && (vmcb->cr0 & CR0_PG), MODE_LONG) | when(vmcb->cr4 & CR4_PAE, MODE_PAE) |
           when(vmcb->cs.attributes & ATTR_L, MODE_CODE64) | when(vmcb->cr4 & CR4_CET, MODE_CET) |
           when(caps->cet, MODE_CPU_CET) | when(!caps->long_mode, MODE_CPU_32);
}

static uint32_t control_modes(const struct vmcb *vmcb, const struct svm_caps *caps)
{
    bool injects = vmcb->event_inj & EVENT_VALID;
    bool avic = (caps->features & CPUID_SVM_EDX_AVIC) && (vmcb->v_intr & V_AVIC);
    bool x2avic = (caps->features & SVM_FEATURE_X2AVIC) && (vmcb->v_intr & V_X2AVIC);
    bool nmis = (caps->features & SVM_FEATURE_VNMI) && (vmcb->v_intr & V_NMI_ENABLE);
    bool sss = (caps->features & SVM_FEATURE_SSS) && (vmcb->nested_control & NESTED_SSS);

    return when(injects, MODE_INJECT) |
           when(injects && FIELD_GET(EVENT_TYPE, vmcb->event_inj) == EVENT_TYPE_EXCEPTION, MODE_EXCEPTION) |
           when(vmcb->nested_control & NESTED_PAGING, MODE_NESTED) | when(avic, MODE_AVIC) |
           when(avic && !x2avic, MODE_XAVIC) | when(x2avic, MODE_X2AVIC) | when(nmis, MODE_NMIS) | when(sss, MODE_SSS);
}

static uint64_t read_field(const struct vmcb *vmcb, const struct audit_rule *rule)
{
    const uint8_t *bytes = (const uint8_t *)vmcb + rule->offset;
    uint64_t value = 0;

    for (unsigned i = 0; i < rule->size; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static uint64_t check(struct audit *a, const struct audit_rule *rule)
{
    if ((a->modes & rule->modes) != rule->modes)
        return 0;
    a->value = read_field(a->vmcb, rule);
    return rule->broken(a, rule->arg);
}

static void fill(struct hv_audit_finding *out, const struct audit *a, const struct audit_rule *rule, uint64_t wrong)
{
    *out = (struct hv_audit_finding){
        .rule = rule->id,
        .field = rule->field,
        .text = rule->text,
        .section = rule->section,
        .field_encoding = rule->offset,
        .value = a->value,
        .wrong_bits = wrong == WHOLE ? 0 : wrong,
    };
}

/* Goes on until stop rules were found broken; only the first max are written. */
static size_t walk(const struct svm_audit_source *source, struct hv_audit_finding *out, size_t max, size_t stop)
{
    struct audit a = {
        .vmcb = source->vmcb,
        .caps = source->caps,
        .modes = guest_modes(source->vmcb, source->caps) | control_modes(source->vmcb, source->caps),
    };
    size_t found = 0;

    for (size_t i = 0; i < ARRAY_COUNT(rules) && found < stop; i++) {
        uint64_t wrong = check(&a, &rules[i]);

        if (wrong && found++ < max)
            fill(&out[found - 1], &a, &rules[i], wrong);
    }
    return found;
}

bool svm_audit(const struct svm_audit_source *source, struct hv_audit_finding *out)
{
    return walk(source, out, 1, 1) > 0;
}

size_t svm_audit_all(const struct svm_audit_source *source, struct hv_audit_finding *out, size_t max)
{
    return walk(source, out, max, SIZE_MAX);
}

const char *svm_audit_rule(size_t n)
{
    return n < ARRAY_COUNT(rules) ? rules[n].id : NULL;
}
