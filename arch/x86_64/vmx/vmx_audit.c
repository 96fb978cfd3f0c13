/* SPDX-License-Identifier: MIT */
/* The entry auditor: gathers what many rules look at, walks the tables of rules, and names fields. */
#include "vmx_audit_rules.h"

#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>

/* the order in which the CPU checks */
static const struct audit_group *const groups[] = {
    &vmx_audit_controls,       &vmx_audit_host,        &vmx_audit_guest_registers,
    &vmx_audit_guest_segments, &vmx_audit_guest_other, &vmx_audit_msrs,
};

struct field_name {
    uint32_t encoding;
    const char *name;
};

#define FIELD_NAME(name, encoding) {encoding, #name},
static const struct field_name field_names[] = {VMCS_FIELDS(FIELD_NAME)};

const char *vmcs_field_name(uint32_t encoding)
{
    size_t low = 0, high = ARRAY_COUNT(field_names);

    /* the manual's order is that of the numbers */
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (field_names[middle].encoding == encoding)
            return field_names[middle].name;
        if (field_names[middle].encoding < encoding)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool audit_memory(const struct audit *a, uint64_t address, uint64_t *value)
{
    if (!a->src->read_memory || (address & audit_above(a->caps->phys_bits)) || !IS_ALIGNED(address, 8))
        return false;
    return a->src->read_memory(a->src->arg, address, value);
}

uint64_t audit_must_be_0(struct audit *a, uint64_t mask)
{
    return a->value & mask;
}

uint64_t audit_must_be_1(struct audit *a, uint64_t mask)
{
    return ~a->value & mask;
}

uint64_t audit_null(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value ? 0 : WHOLE;
}

uint64_t audit_canonical(struct audit *a, uint64_t unused)
{
    uint64_t sign = BIT64(a->caps->linear_bits - 1);

    (void)unused;
    return ((a->value & (sign | (sign - 1))) ^ sign) - sign == a->value ? 0 : WHOLE;
}

uint64_t audit_width(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & audit_above(audit_vmx_width(a));
}

uint64_t audit_cr3(struct audit *a, uint64_t unused)
{
    uint64_t lam = a->caps->cr4_fixed1 & CR4_LAM_SUP ? CR3_LAM_U48 | CR3_LAM_U57 : 0;

    (void)unused;
    return a->value & audit_above(a->caps->phys_bits) & ~lam;
}

uint64_t audit_cr0_must_be_1(struct audit *a, uint64_t exempt)
{
    return ~a->value & a->caps->cr0_fixed0 & ~exempt;
}

uint64_t audit_cr0_must_be_0(struct audit *a, uint64_t exempt)
{
    return a->value & ~a->caps->cr0_fixed1 & ~exempt;
}

uint64_t audit_cr4_must_be_1(struct audit *a, uint64_t exempt)
{
    return ~a->value & a->caps->cr4_fixed0 & ~exempt;
}

uint64_t audit_cr4_must_be_0(struct audit *a, uint64_t exempt)
{
    return a->value & ~a->caps->cr4_fixed1 & ~exempt;
}

uint64_t audit_pat(struct audit *a, uint64_t unused)
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

uint64_t audit_perf_global(struct audit *a, uint64_t unused)
{
    (void)unused;
    return a->value & ~a->caps->perf_global;
}

#define S_CET_RESERVED BITS64(9, 6)
#define S_CET_SUPPRESS BIT64(10)
#define S_CET_TRACKER  BIT64(11)

uint64_t audit_cet(struct audit *a, uint64_t unused)
{
    const uint64_t both = S_CET_SUPPRESS | S_CET_TRACKER;

    (void)unused;
    return (a->value & S_CET_RESERVED) | ((a->value & both) == both ? both : 0);
}

static uint64_t when(bool condition, uint64_t then, uint64_t otherwise)
{
    return condition ? then : otherwise;
}

static uint64_t event_mode(const struct audit *a)
{
    static const uint64_t modes[] = {
        [INTR_TYPE_EXTERNAL] = MODE_INJECT_EXTINT,  [INTR_TYPE_NMI] = MODE_INJECT_NMI,
        [INTR_TYPE_HW_EXCEPTION] = MODE_INJECT_HW,  [INTR_TYPE_SW_INTR] = MODE_INJECT_SOFT,
        [INTR_TYPE_PRIV_SW_EXC] = MODE_INJECT_SOFT, [INTR_TYPE_SW_EXCEPTION] = MODE_INJECT_SOFT,
        [INTR_TYPE_OTHER] = MODE_INJECT_OTHER,
    };

    if (!(a->event & INTR_INFO_VALID))
        return 0;
    return MODE_INJECT | modes[FIELD_GET(INTR_INFO_TYPE, a->event)] |
           when(a->event & INTR_INFO_ERROR_VALID, MODE_INJECT_ERROR, 0);
}

static uint64_t guest_mode(const struct audit *a)
{
    bool is_long = audit_has(a, W_ENTRY, ENTRY_GUEST_64BIT);
    bool pae = (a->cr0 & CR0_PG) && (a->cr4 & CR4_PAE) && !is_long;
    uint64_t mode;

    mode = when(is_long, MODE_LONG, MODE_NOT_LONG);
    mode |= when(is_long && (a->access[SEG_CS] & SEG_L), MODE_CODE64, MODE_NOT_CODE64);
    mode |= when(a->cr0 & CR0_PE, 0, MODE_REAL);
    mode |= when(a->rflags & RFLAGS_VM, MODE_V86, MODE_NOT_V86);
    mode |= when(a->cr0 & CR0_PG, MODE_PAGING, 0);
    mode |= when(audit_has(a, W_CPU2, CPU2_UNRESTRICTED_GUEST), MODE_UNRESTRICTED, MODE_RESTRICTED);
    mode |= when(pae, when(audit_has(a, W_CPU2, CPU2_EPT), MODE_PAE_EPT, MODE_PAE_MEMORY), 0);
    mode |= when(a->cr4 & CR4_CET, MODE_CET, 0);
    mode |= when(audit_read(a, VMCS_LINK_POINTER) != VMCS_NO_LINK, MODE_LINKED, 0);
    return mode;
}

static uint64_t control_mode(const struct audit *a)
{
    bool tpr = audit_has(a, W_CPU, CPU_TPR_SHADOW) && !audit_has(a, W_CPU2, CPU2_VIRT_INTR_DELIVERY);
    uint64_t mode;

    mode = when(audit_has(a, W_EXIT, EXIT_HOST_64BIT), MODE_HOST_64, MODE_HOST_32);
    mode |= when(a->src->outside_long_mode, MODE_NOW_NOT_LONG, MODE_NOW_LONG);
    mode |= when(audit_has(a, W_PIN, PIN_VIRTUAL_NMIS), MODE_VIRTUAL_NMIS, 0);
    mode |= when(audit_has(a, W_PIN, PIN_PREEMPTION_TIMER), 0, MODE_NO_TIMER);
    mode |= when(tpr, MODE_TPR_PLAIN, 0);
    mode |= when(audit_has(a, W_ENTRY, ENTRY_LOAD_CET), MODE_LOAD_CET, 0);
    mode |= when(audit_has(a, W_EXIT, EXIT_LOAD_CET), MODE_HOST_LOAD_CET, 0);
    mode |= when(audit_has(a, W_ENTRY, ENTRY_LOAD_DEBUG), MODE_LOAD_DEBUG, 0);
    mode |= when(audit_has(a, W_ENTRY, ENTRY_LOAD_EFER), MODE_LOAD_EFER, 0);
    mode |= when(audit_read(a, VMCS_HOST_CR4) & CR4_CET, MODE_HOST_CET, 0);
    if (audit_has(a, W_CPU2, CPU2_VMFUNC))
        mode |= when(audit_read(a, VMCS_VMFUNC_CONTROLS) & VMFUNC_EPTP_SWITCHING, MODE_EPTP_SWITCHING, 0);
    return mode;
}

static void gather_controls(struct audit *a)
{
    a->word[W_PIN] = audit_read(a, VMCS_PIN_CONTROLS);
    a->word[W_CPU] = audit_read(a, VMCS_CPU_CONTROLS);
    a->word[W_CPU2] = audit_has(a, W_CPU, CPU_ACTIVATE_CPU2) ? audit_read(a, VMCS_CPU2_CONTROLS) : 0;
    a->word[W_CPU3] = audit_has(a, W_CPU, CPU_ACTIVATE_CPU3) ? audit_read(a, VMCS_CPU3_CONTROLS) : 0;
    a->word[W_EXIT] = audit_read(a, VMCS_EXIT_CONTROLS);
    a->word[W_EXIT2] = audit_has(a, W_EXIT, EXIT_ACTIVATE_EXIT2) ? audit_read(a, VMCS_EXIT2_CONTROLS) : 0;
    a->word[W_ENTRY] = audit_read(a, VMCS_ENTRY_CONTROLS);
}

static void gather(struct audit *a, const struct vmx_audit_source *src)
{
    *a = (struct audit){.src = src, .caps = src->caps};
    gather_controls(a);
    a->cr0 = audit_read(a, VMCS_GUEST_CR0);
    a->cr4 = audit_read(a, VMCS_GUEST_CR4);
    a->rflags = audit_read(a, VMCS_GUEST_RFLAGS);
    a->event = (uint32_t)audit_read(a, VMCS_ENTRY_INTR_INFO);
    a->blocking = (uint32_t)audit_read(a, VMCS_GUEST_INTERRUPTIBILITY);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        a->selector[i] = (uint16_t)audit_read(a, VMCS_SEG_SELECTOR(i));
        a->access[i] = (uint32_t)audit_read(a, VMCS_SEG_ACCESS(i));
        a->limit[i] = (uint32_t)audit_read(a, VMCS_SEG_LIMIT(i));
    }
    a->word[W_MODE] = event_mode(a) | guest_mode(a) | control_mode(a);
}

static void fill(struct hv_audit_finding *out, const struct audit *a, const struct audit_rule *rule, uint64_t wrong)
{
    *out = (struct hv_audit_finding){
        .rule = rule->id,
        .field = vmcs_field_name(rule->field),
        .text = rule->text,
        .section = rule->section,
        .field_encoding = rule->field,
        .entry = a->entry,
        .value = a->value,
        .wrong_bits = wrong == WHOLE ? 0 : wrong,
    };
}

static uint64_t check(struct audit *a, const struct audit_rule *rule)
{
    if (!audit_has(a, rule->word, rule->bits))
        return 0;
    a->value = audit_read(a, rule->field);
    a->entry = 0;
    return rule->broken(a, rule->arg);
}

/* Goes on until stop rules were found broken; only the first max are written. */
static size_t walk(const struct vmx_audit_source *src, struct hv_audit_finding *out, size_t max, size_t stop)
{
    struct audit a;
    size_t found = 0;

    gather(&a, src);
    for (size_t g = 0; g < ARRAY_COUNT(groups); g++) {
        if (src->parts && !(src->parts & groups[g]->part))
            continue;
        for (size_t i = 0; i < groups[g]->count && found < stop; i++) {
            uint64_t wrong = check(&a, &groups[g]->rules[i]);

            if (wrong && found++ < max)
                fill(&out[found - 1], &a, &groups[g]->rules[i], wrong);
        }
    }
    return found;
}

bool vmx_audit(const struct vmx_audit_source *src, struct hv_audit_finding *out)
{
    return walk(src, out, 1, 1) > 0;
}

size_t vmx_audit_all(const struct vmx_audit_source *src, struct hv_audit_finding *out, size_t max)
{
    return walk(src, out, max, SIZE_MAX);
}

const char *vmx_audit_rule(size_t n)
{
    for (size_t g = 0; g < ARRAY_COUNT(groups); g++) {
        if (n < groups[g]->count)
            return groups[g]->rules[n].id;
        n -= groups[g]->count;
    }
    return NULL;
}
