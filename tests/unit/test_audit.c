/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor on an array-backed VMCS: states that the CPU accepts pass, and for each rule at least one small
 * change of such a state breaks just that rule. What may be changed: VMCS fields, words of memory, capabilities, the
 * source itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/audit.h>

#include "../../arch/x86_64/vmx/vmcs_fields.h"
#include "../../arch/x86_64/vmx/vmx_audit.h"
#include "../../arch/x86_64/vmx/vmx_bits.h"

/* ---------------------------------------------------------------------------- a machine made of arrays */

#define FIELDS  0x7000
#define MEMORY  0x10000 /* bytes of memory, from address 0 */
#define VMCS_AT 0x8000  /* the current VMCS */
#define VAPIC   0x9000
#define SHADOW  0xa000 /* a second VMCS region, for the link pointer */
#define AREA    0xb000 /* MSR areas */
#define PHYS    46
#define WIDE    BIT64(PHYS) /* the lowest address bit that this CPU does not have */

struct machine {
    uint64_t field[FIELDS];
    uint64_t memory[MEMORY / 8];
    struct vmx_caps caps;
    struct vmx_audit_source source;
    bool forbid_optional; /* reading a field that a minimal CPU lacks is an error */
};

/* One change. A target below FIELDS is a VMCS field; the others: */
struct change {
    uint32_t target;
    uint64_t value;
};
#define MEM(address) (0x80000000u | (address))
#define CAP(member) \
    (0x40000000u | (uint32_t)sizeof(((struct vmx_caps *)0)->member) << 16 | offsetof(struct vmx_caps, member))
#define OUTSIDE_LONG 0x20000000u

static void apply(struct machine *m, struct change c)
{
    if (c.target & 0x80000000u)
        m->memory[(c.target & 0x7fffffffu) / 8] = c.value;
    else if (c.target & 0x40000000u)
        memcpy((char *)&m->caps + (c.target & 0xffff), &c.value, (c.target >> 16) & 15); /* little-endian */
    else if (c.target == OUTSIDE_LONG)
        m->source.outside_long_mode = c.value;
    else
        m->field[c.target] = c.value;
}

static bool optional(uint32_t field)
{
    /* clang-format off */
    static const uint32_t fields[] = {
        VMCS_VPID, VMCS_POSTED_INTR_VECTOR, VMCS_EPTP_INDEX, VMCS_HLAT_PREFIX_SIZE, VMCS_LAST_PID_POINTER_INDEX,
        VMCS_GUEST_INTR_STATUS, VMCS_PML_INDEX, VMCS_GUEST_UINV, VMCS_MSR_BITMAP, VMCS_VIRTUAL_APIC_ADDR,
        VMCS_APIC_ACCESS_ADDR, VMCS_POSTED_INTR_DESC_ADDR, VMCS_VMFUNC_CONTROLS, VMCS_EPTP, VMCS_EPTP_LIST_ADDR,
        VMCS_VMREAD_BITMAP, VMCS_VMWRITE_BITMAP, VMCS_VE_INFO_ADDR, VMCS_SPPTP, VMCS_TSC_MULTIPLIER,
        VMCS_CPU3_CONTROLS, VMCS_LOW_PASID_DIR_ADDR, VMCS_HIGH_PASID_DIR_ADDR, VMCS_HLATP,
        VMCS_PID_POINTER_TABLE_ADDR, VMCS_EXIT2_CONTROLS, VMCS_PML_ADDR, VMCS_GUEST_PAT, VMCS_GUEST_EFER,
        VMCS_GUEST_PERF_GLOBAL_CTRL, VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE1, VMCS_GUEST_PDPTE2, VMCS_GUEST_PDPTE3,
        VMCS_GUEST_BNDCFGS, VMCS_GUEST_RTIT_CTL, VMCS_GUEST_LBR_CTL, VMCS_GUEST_PKRS, VMCS_HOST_PAT,
        VMCS_HOST_EFER, VMCS_HOST_PERF_GLOBAL_CTRL, VMCS_HOST_PKRS, VMCS_TPR_THRESHOLD, VMCS_CPU2_CONTROLS,
        VMCS_GUEST_PREEMPTION_TIMER, VMCS_GUEST_S_CET, VMCS_GUEST_SSP, VMCS_GUEST_SSP_TABLE, VMCS_HOST_S_CET,
        VMCS_HOST_SSP, VMCS_HOST_SSP_TABLE,
    };
    /* clang-format on */

    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        if (fields[i] == field)
            return true;
    return false;
}

static uint64_t read_field(void *arg, uint32_t field)
{
    const struct machine *m = arg;

    assert_non_null(vmcs_field_name(field));
    if (m->forbid_optional && optional(field))
        fail_msg("%s was read, but this CPU lacks it", vmcs_field_name(field));
    return m->field[field];
}

static bool read_memory(void *arg, uint64_t address, uint64_t *value)
{
    const struct machine *m = arg;

    assert_true(IS_ALIGNED(address, 8));
    if (address >= MEMORY)
        return false;
    *value = m->memory[address / 8];
    return true;
}

/* ---------------------------------------------------------------------------- states that the CPU accepts */

#define PIN0  (0x16 | PIN_EXTERNAL_INTR | PIN_NMI | PIN_VIRTUAL_NMIS)
#define CPU0  (0x04006172 | CPU_HLT | CPU_IO_BITMAPS | CPU_MSR_BITMAPS | CPU_TPR_SHADOW | CPU_ACTIVATE_CPU2)
#define CPU20 (CPU2_EPT | CPU2_VPID)
#define EXIT0 \
    (0x36dfb | EXIT_HOST_64BIT | EXIT_ACK_INTR | EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SAVE_PAT | EXIT_LOAD_PAT)
#define ENTRY0 (0x11fb | ENTRY_GUEST_64BIT | ENTRY_LOAD_EFER | ENTRY_LOAD_PAT | ENTRY_LOAD_DEBUG)
#define ENTRY1 (ENTRY0 & ~ENTRY_GUEST_64BIT)
#define EPTP0  (0x4000 | 3 << 3 | MEM_TYPE_WB)
#define EFER0  (EFER_LMA | EFER_LME | EFER_NXE | EFER_SCE)
#define CR00   (CR0_PG | CR0_AM | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE)
#define CR40   (CR4_VMXE | CR4_PAE | CR4_OSFXSR)
#define HIGH   0xffff800000000000ull /* canonical */
#define BAD    0x0000800000000000ull /* not */

static const struct vmx_caps caps0 = {
    .basic = 0x12 | 4096ull << 32 | 6ull << 50 | VMX_BASIC_TRUE_CTLS,
    .pin = 0x000000ff00000016,
    .cpu = 0xfffbfffe04006172,
    .cpu2 = 0xdfffffff00000000,
    .cpu3 = 0x9f,
    .exit = 0xf7ffffff00036dfb,
    .exit2 = 0x8,
    .entry = 0x007fffff000011fb,
    .misc = 5 | VMX_MISC_EXIT_SAVES_LMA | VMX_MISC_ACTIVITY_HLT | VMX_MISC_ACTIVITY_SHUTDOWN | VMX_MISC_ACTIVITY_SIPI |
            4 << 16,
    .cr0_fixed0 = CR0_PG | CR0_NE | CR0_PE,
    .cr0_fixed1 = 0xffffffff,
    .cr4_fixed0 = CR4_VMXE,
    .cr4_fixed1 = 0x03f77fff,
    .ept_vpid = 0x00000f0106334141,
    .vmfunc = VMFUNC_EPTP_SWITCHING,
    .perf_global = 0x70000000f,
    .phys_bits = PHYS,
    .linear_bits = 48,
    .long_mode = true,
};

/* clang-format off */
#define SEGMENT(REG, selector, base, limit, access)                                     \
    {VMCS_GUEST_##REG##_SELECTOR, selector}, {VMCS_GUEST_##REG##_BASE, base},           \
    {VMCS_GUEST_##REG##_LIMIT, limit}, {VMCS_GUEST_##REG##_ACCESS, access}

/* a guest in 64-bit mode; what is not here is 0 */
static const struct change base_long[] = {
    {VMCS_PIN_CONTROLS, PIN0},
    {VMCS_CPU_CONTROLS, CPU0},
    {VMCS_CPU2_CONTROLS, CPU20},
    {VMCS_EXIT_CONTROLS, EXIT0},
    {VMCS_ENTRY_CONTROLS, ENTRY0},
    {VMCS_VPID, 1},
    {VMCS_EPTP, EPTP0},
    {VMCS_IO_BITMAP_A, 0x1000},
    {VMCS_IO_BITMAP_B, 0x2000},
    {VMCS_MSR_BITMAP, 0x3000},
    {VMCS_VIRTUAL_APIC_ADDR, VAPIC},
    {VMCS_LINK_POINTER, VMCS_NO_LINK},
    {VMCS_HOST_CR0, CR00},
    {VMCS_HOST_CR3, 0x5000},
    {VMCS_HOST_CR4, CR40},
    {VMCS_HOST_EFER, EFER0},
    {VMCS_HOST_PAT, PAT_RESET},
    {VMCS_HOST_CS_SELECTOR, 0x08},
    {VMCS_HOST_SS_SELECTOR, 0x10},
    {VMCS_HOST_TR_SELECTOR, 0x28},
    {VMCS_HOST_TR_BASE, HIGH},
    {VMCS_HOST_GDTR_BASE, HIGH},
    {VMCS_HOST_IDTR_BASE, HIGH},
    {VMCS_HOST_RIP, HIGH},
    {VMCS_HOST_RSP, HIGH},
    {VMCS_GUEST_CR0, CR00},
    {VMCS_GUEST_CR3, 0x6000},
    {VMCS_GUEST_CR4, CR40},
    {VMCS_GUEST_EFER, EFER0},
    {VMCS_GUEST_PAT, PAT_RESET},
    {VMCS_GUEST_DR7, DR7_RESET},
    {VMCS_GUEST_RIP, HIGH},
    {VMCS_GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF},
    SEGMENT(CS, 0x10, 0, 0xffffffff, SEG_ATTR_CODE64),
    SEGMENT(SS, 0x18, 0, 0xffffffff, SEG_ATTR_DATA32),
    SEGMENT(DS, 0x18, 0, 0xffffffff, SEG_ATTR_DATA32),
    SEGMENT(ES, 0x18, 0, 0xffffffff, SEG_ATTR_DATA32),
    SEGMENT(FS, 0x18, HIGH, 0xffffffff, SEG_ATTR_DATA32),
    SEGMENT(GS, 0x18, HIGH, 0xffffffff, SEG_ATTR_DATA32),
    SEGMENT(LDTR, 0, BAD, 0, ACCESS_UNUSABLE),
    SEGMENT(TR, 0x28, HIGH, 0x67, SEG_ATTR_TSS_BUSY),
    {VMCS_GUEST_GDTR_BASE, HIGH},
    {VMCS_GUEST_GDTR_LIMIT, 0xffff},
    {VMCS_GUEST_IDTR_BASE, HIGH},
    {VMCS_GUEST_IDTR_LIMIT, 0xfff},
    {MEM(SHADOW), 0x12},
    {MEM(VAPIC + 0x80), 0x50},
};

#define MODE16(selector, base, code, data)                                                    \
    SEGMENT(CS, selector, base, 0xffff, code), SEGMENT(SS, selector, base, 0xffff, data),     \
        SEGMENT(DS, selector, base, 0xffff, data), SEGMENT(ES, selector, base, 0xffff, data), \
        SEGMENT(FS, selector, base, 0xffff, data), SEGMENT(GS, selector, base, 0xffff, data)

/* as at reset, unrestricted */
static const struct change base_real[] = {
    {VMCS_CPU2_CONTROLS, CPU20 | CPU2_UNRESTRICTED_GUEST},
    {VMCS_ENTRY_CONTROLS, ENTRY1},
    {VMCS_GUEST_CR0, CR0_NE | CR0_ET | CR0_CD | CR0_NW},
    {VMCS_GUEST_CR4, CR4_VMXE},
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_RIP, 0xfff0},
    MODE16(0xf000, 0xffff0000, SEG_ATTR_REAL_CODE, SEG_ATTR_REAL_DATA),
};

/* 32-bit, PAE paging */
static const struct change base_pae[] = {
    {VMCS_ENTRY_CONTROLS, ENTRY1}, {VMCS_GUEST_EFER, EFER_NXE},
    {VMCS_GUEST_RIP, 0xc0000000},  {VMCS_GUEST_CS_ACCESS, SEG_ATTR_CODE32},
    {VMCS_GUEST_PDPTE0, 0x7001},   {VMCS_GUEST_PDPTE1, 0x8001},
    {VMCS_GUEST_PDPTE3, ~1ull}, /* not present: anything goes */
};

/* the same without EPT */
static const struct change base_shadow[] = {
    {VMCS_ENTRY_CONTROLS, ENTRY1}, {VMCS_CPU2_CONTROLS, CPU2_VPID},         {VMCS_GUEST_EFER, EFER_NXE},
    {VMCS_GUEST_RIP, 0xc0000000},  {VMCS_GUEST_CS_ACCESS, SEG_ATTR_CODE32}, {MEM(0x6000), 0x7001},
};

static const struct change base_v86[] = {
    {VMCS_ENTRY_CONTROLS, ENTRY1},
    {VMCS_GUEST_CR4, CR4_VMXE},
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_RIP, 0x100},
    {VMCS_GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IF},
    MODE16(0x1003, 0x10030, SEG_ATTR_V8086, SEG_ATTR_V8086),
};

static const struct change base_ldtr[] = {SEGMENT(LDTR, 0x30, HIGH, 0xffff, SEG_ATTR_LDT)};
static const struct change base_none[] = {{VMCS_EXIT_REASON, 0}};

/* a 32-bit host and guest on a CPU outside IA-32e mode */
static const struct change base_host32[] = {
    {OUTSIDE_LONG, true},
    {VMCS_EXIT_CONTROLS, EXIT0 & ~EXIT_HOST_64BIT},
    {VMCS_HOST_EFER, 0},
    {VMCS_HOST_RIP, 0x100000},
    {VMCS_ENTRY_CONTROLS, ENTRY1},
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_RIP, 0x1000},
    {VMCS_GUEST_CS_ACCESS, SEG_ATTR_CODE32},
};

/* everything of CET */
static const struct change base_cet[] = {
    {VMCS_EXIT_CONTROLS, EXIT0 | EXIT_LOAD_CET},
    {VMCS_ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_CET},
    {VMCS_GUEST_CR4, CR40 | CR4_CET},
    {VMCS_HOST_CR4, CR40 | CR4_CET},
};

static const struct change base_hlt[] = {{VMCS_GUEST_ACTIVITY, ACTIVITY_HLT}};

#define EVENT(type, vector)       (INTR_INFO_VALID | (type) << 8 | (vector))
#define EVENT_ERROR(type, vector) (EVENT(type, vector) | INTR_INFO_ERROR_VALID)
static const struct change base_nmi[] = {{VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_NMI, 2)}};
static const struct change base_external[] = {{VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_EXTERNAL, 0x31)}};
static const struct change base_page_fault[] = {
    {VMCS_ENTRY_INTR_INFO, EVENT_ERROR(INTR_TYPE_HW_EXCEPTION, VEC_PF)},
    {VMCS_ENTRY_ERROR_CODE, 0x8003}};

struct base {
    const struct change *changes; /* after those of base_long */
    size_t count;
};
#define BASE(name) {base_##name, ARRAY_COUNT(base_##name)}
enum { LONG, REAL, PAE, SHADOW_PAE, V86, LDT, HOST32, CET, HLT, NMI, EXTERNAL, FAULT };
static const struct base bases[] = {
    [LONG] = BASE(none), [REAL] = BASE(real), [PAE] = BASE(pae),           [SHADOW_PAE] = BASE(shadow),
    [V86] = BASE(v86),   [LDT] = BASE(ldtr),  [HOST32] = BASE(host32),     [CET] = BASE(cet),
    [HLT] = BASE(hlt),   [NMI] = BASE(nmi),   [EXTERNAL] = BASE(external), [FAULT] = BASE(page_fault),
};
/* clang-format on */

static void apply_all(struct machine *m, const struct change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        apply(m, changes[i]);
}

static void start(struct machine *m, unsigned base)
{
    memset(m, 0, sizeof(*m));
    m->caps = caps0;
    m->source = (struct vmx_audit_source){
        .read = read_field,
        .read_memory = read_memory,
        .arg = m,
        .caps = &m->caps,
        .current_vmcs = VMCS_AT,
    };
    apply_all(m, base_long, ARRAY_COUNT(base_long));
    apply_all(m, bases[base].changes, bases[base].count);
}

#define MAX_CHANGES 7

/* rule NULL: the state must pass */
struct audit_case {
    const char *rule;
    unsigned base;
    struct change changes[MAX_CHANGES]; /* a target 0 with value 0 ends the list, but as the first */
    bool others;                        /* cannot be broken without breaking later rules too */
};

/* clang-format off */
#define F(field, value)             {VMCS_##field, value}
#define PASS(base, ...)             {NULL, base, {__VA_ARGS__}, false}
#define BREAK(rule, base, ...)      {rule, base, {__VA_ARGS__}, false}
#define BREAK_MORE(rule, base, ...) {rule, base, {__VA_ARGS__}, true}

static const struct audit_case passes[] = {
    PASS(LONG, F(EXIT_REASON, 0)),
    PASS(REAL, F(EXIT_REASON, 0)),
    PASS(PAE, F(EXIT_REASON, 0)),
    PASS(SHADOW_PAE, F(EXIT_REASON, 0)),
    PASS(V86, F(EXIT_REASON, 0)),
    PASS(LDT, F(EXIT_REASON, 0)),
    PASS(HOST32, F(EXIT_REASON, 0)),
    PASS(CET, F(EXIT_REASON, 0)),
    PASS(HLT, F(EXIT_REASON, 0)),
    PASS(NMI, F(EXIT_REASON, 0)),
    PASS(EXTERNAL, F(EXIT_REASON, 0)),
    PASS(FAULT, F(EXIT_REASON, 0)),
    /* controls that are off make their fields free */
    PASS(LONG, F(CPU_CONTROLS, 0x04006172), F(CPU2_CONTROLS, ~0ull & 0xffffffff), F(IO_BITMAP_A, BAD),
          F(MSR_BITMAP, BAD), F(VIRTUAL_APIC_ADDR, BAD), F(TPR_THRESHOLD, 0xff), F(PIN_CONTROLS, 0x16)),
    PASS(LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_APIC_ACCESSES), F(TPR_THRESHOLD, 15)),
    PASS(LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY), F(TPR_THRESHOLD, 0xff)),
    PASS(LONG, F(TPR_THRESHOLD, 5)),
    PASS(LONG, F(PIN_CONTROLS, PIN0 | PIN_POSTED_INTR), F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY),
          F(POSTED_INTR_VECTOR, 0xff), F(POSTED_INTR_DESC_ADDR, 0x1040)),
    PASS(LONG, F(EPTP, EPTP0 | EPTP_AD)),
    PASS(LONG, F(EPTP, EPTP0 - MEM_TYPE_WB)),
    PASS(LONG, F(EPTP, EPTP0 + 8), {CAP(ept_vpid), EPT_CAP_WALK_5 | EPT_CAP_WB}),
    PASS(LONG, F(EXIT_CONTROLS, EXIT0 | EXIT_SAVE_PREEMPTION_TIMER), F(PIN_CONTROLS, PIN0 | PIN_PREEMPTION_TIMER)),
    PASS(LONG, F(ENTRY_MSR_LOAD_ADDR, BAD | 1)),
    PASS(LONG, F(EXIT_MSR_LOAD_ADDR, WIDE - 16), F(EXIT_MSR_LOAD_COUNT, 1)),
    PASS(LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2), {MEM(AREA), MSR_IA32_LSTAR},
          {MEM(AREA + 16), MSR_IA32_STAR}),
    PASS(LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMFUNC), F(EPTP_LIST_ADDR, BAD)),
    PASS(LONG, F(CPU2_CONTROLS, CPU20 | CPU2_TSC_SCALING), F(TSC_MULTIPLIER, BIT64(48))),
    /* events */
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_UD))),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT_ERROR(INTR_TYPE_HW_EXCEPTION, VEC_GP))),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_GP)), {CAP(basic), VMX_BASIC_ANY_ERROR_CODE}),
    PASS(REAL, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_GP))),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_CP)), {CAP(cr4_fixed1), 0x03777fff}),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_SW_INTR, 0x80)), F(ENTRY_INSTR_LENGTH, 2)),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_SW_EXCEPTION, VEC_BP)), F(ENTRY_INSTR_LENGTH, 15)),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_PRIV_SW_EXC, VEC_DB)), {CAP(misc), VMX_MISC_INJECT_LENGTH_0}),
    PASS(LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_OTHER, 0))),
    PASS(V86, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_SW_INTR, 0x10)), F(ENTRY_INSTR_LENGTH, 2)),
    PASS(LONG, F(ENTRY_INTR_INFO, 0x7fffffff), F(ENTRY_ERROR_CODE, 0xffffffff)),
    /* activity and blocking */
    PASS(HLT, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_EXTERNAL, 0x40))),
    PASS(HLT, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_NMI, 2))),
    PASS(HLT, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_DB))),
    PASS(HLT, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_MC))),
    PASS(HLT, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_OTHER, 0))),
    PASS(LONG, F(GUEST_ACTIVITY, ACTIVITY_SHUTDOWN), F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_NMI, 2))),
    PASS(LONG, F(GUEST_ACTIVITY, ACTIVITY_SHUTDOWN), F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_MC))),
    PASS(LONG, F(GUEST_ACTIVITY, ACTIVITY_WAIT_SIPI)),
    PASS(LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI)),
    PASS(LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS)),
    PASS(LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_NMI)),
    PASS(NMI, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_NMI), F(PIN_CONTROLS, PIN0 & ~PIN_VIRTUAL_NMIS)),
    PASS(LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_ENCLAVE), {CAP(sgx), true}),
    PASS(LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI), F(GUEST_RFLAGS, 0x302),
          F(GUEST_PENDING_DEBUG, PENDING_DEBUG_BS)),
    PASS(LONG, F(GUEST_PENDING_DEBUG, PENDING_DEBUG_BS | PENDING_DEBUG_BP | PENDING_DEBUG_ENABLED_BP)),
    PASS(LONG, F(GUEST_PENDING_DEBUG, PENDING_DEBUG_RTM | PENDING_DEBUG_ENABLED_BP), {CAP(rtm), true}),
    PASS(LONG, F(GUEST_PENDING_DEBUG, PENDING_DEBUG_BUS_LOCK), {CAP(bus_lock), true}),
    PASS(LONG, F(LINK_POINTER, SHADOW)),
    PASS(LONG, F(LINK_POINTER, SHADOW), F(CPU2_CONTROLS, CPU20 | CPU2_VMCS_SHADOWING), {MEM(SHADOW), 0x80000012}),
    PASS(LONG, F(LINK_POINTER, 0x20000)),
    /* registers and segments */
    PASS(LONG, F(GUEST_CR3, CR3_LAM_U48), {CAP(cr4_fixed1), 0x13f77fff}),
    PASS(LONG, F(GUEST_RIP, BIT64(47))),
    PASS(LONG, F(GUEST_FS_BASE, BIT64(47)), {CAP(linear_bits), 57}),
    PASS(LONG, F(GUEST_CR0, CR00 | CR0_CD | CR0_NW), {CAP(cr0_fixed1), 0x9fffffff}),
    PASS(LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE32), F(GUEST_RIP, 0x1000)),
    PASS(LONG, F(GUEST_SS_ACCESS, ACCESS_UNUSABLE), F(GUEST_SS_SELECTOR, 0), F(GUEST_SS_BASE, BAD)),
    PASS(LONG, F(GUEST_DS_ACCESS, ACCESS_UNUSABLE | 0xfff), F(GUEST_DS_SELECTOR, 3), F(GUEST_DS_LIMIT, 0x123),
          F(GUEST_DS_BASE, BAD)),
    PASS(LONG, F(GUEST_CS_ACCESS, 0xa0fb), F(GUEST_SS_ACCESS, 0xc0f3), F(GUEST_CS_SELECTOR, 0x13),
          F(GUEST_SS_SELECTOR, 0x1b)),
    PASS(LONG, F(GUEST_ES_ACCESS, 0xc09f), F(GUEST_ES_SELECTOR, 0x1b)),
    PASS(REAL, F(GUEST_CS_ACCESS, 0x93)),
    PASS(REAL, F(GUEST_GS_SELECTOR, 0x1b)),
    /* the RPL of CS and SS does not count in an unrestricted guest: DPLs are compared (Bochs 2.7 compares RPL) */
    PASS(REAL, F(GUEST_CS_SELECTOR, 0xf003), F(GUEST_SS_SELECTOR, 1)),
    PASS(REAL, F(GUEST_CS_ACCESS, 0x9f), F(GUEST_CS_SELECTOR, 0xf002)),
    PASS(PAE, F(GUEST_TR_ACCESS, 0x83)),
    PASS(REAL, F(GUEST_EFER, EFER_LME)),
    PASS(LONG, F(ENTRY_CONTROLS, ENTRY0 & ~ENTRY_LOAD_DEBUG), F(GUEST_DR7, ~0ull), F(GUEST_DEBUGCTL, ~0ull)),
    PASS(LONG, F(GUEST_PAT, 0x0001040506070600)),
};

static const struct audit_case breaks[] = {
    /* 27.2.1.1 */
    BREAK("control.pin.must_be_1", LONG, F(PIN_CONTROLS, PIN0 & ~2ull)),
    BREAK("control.pin.must_be_0", LONG, F(PIN_CONTROLS, PIN0 | BIT64(9))),
    BREAK("control.cpu.must_be_1", LONG, F(CPU_CONTROLS, CPU0 & ~BIT64(26))),
    BREAK("control.cpu.must_be_0", LONG, F(CPU_CONTROLS, CPU0 | BIT64(0))),
    BREAK("control.cpu2.must_be_0", LONG, F(CPU2_CONTROLS, CPU20 | BIT64(29))),
    BREAK("control.cpu3.must_be_0", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3), F(CPU3_CONTROLS, BIT64(40))),
    BREAK("control.cr3_targets", LONG, F(CR3_TARGET_COUNT, 5)),
    BREAK("control.io_bitmap_a.align", LONG, F(IO_BITMAP_A, 0x1010)),
    BREAK("control.io_bitmap_a.width", LONG, F(IO_BITMAP_A, WIDE)),
    BREAK("control.io_bitmap_b.align", LONG, F(IO_BITMAP_B, 0x1010)),
    BREAK("control.io_bitmap_b.width", LONG, F(IO_BITMAP_B, WIDE)),
    BREAK("control.msr_bitmap.align", LONG, F(MSR_BITMAP, 0x1010)),
    BREAK("control.msr_bitmap.width", LONG, F(MSR_BITMAP, WIDE)),
    BREAK("control.virtual_apic.align", LONG, F(VIRTUAL_APIC_ADDR, 0x1010)),
    BREAK("control.virtual_apic.width", LONG, F(VIRTUAL_APIC_ADDR, WIDE)),
    BREAK("control.io_bitmap_b.width", LONG, {CAP(basic), 0x12 | BIT64(48)}, F(IO_BITMAP_B, BIT64(32))),
    BREAK("control.tpr_threshold.reserved", LONG, F(TPR_THRESHOLD, 0x10)),
    BREAK("control.tpr_threshold.vtpr", LONG, F(TPR_THRESHOLD, 6)),
    BREAK("control.virtual_nmis", LONG, F(PIN_CONTROLS, PIN0 & ~PIN_NMI)),
    BREAK("control.nmi_window", LONG, F(PIN_CONTROLS, PIN0 & ~PIN_VIRTUAL_NMIS),
          F(CPU_CONTROLS, CPU0 | CPU_NMI_WINDOW)),
    BREAK("control.apic_access.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_APIC_ACCESSES),
          F(APIC_ACCESS_ADDR, 0x1010)),
    BREAK("control.apic_access.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_APIC_ACCESSES),
          F(APIC_ACCESS_ADDR, WIDE)),
    BREAK("control.x2apic.tpr_shadow", LONG, F(CPU_CONTROLS, CPU0 & ~CPU_TPR_SHADOW),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_X2APIC)),
    BREAK("control.apic_registers.tpr_shadow", LONG, F(CPU_CONTROLS, CPU0 & ~CPU_TPR_SHADOW),
          F(CPU2_CONTROLS, CPU20 | CPU2_APIC_REGISTER_VIRT)),
    BREAK("control.virtual_interrupts.tpr_shadow", LONG, F(CPU_CONTROLS, CPU0 & ~CPU_TPR_SHADOW),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY)),
    BREAK("control.ipi.tpr_shadow", LONG, F(CPU_CONTROLS, (CPU0 & ~CPU_TPR_SHADOW) | CPU_ACTIVATE_CPU3),
          F(CPU3_CONTROLS, CPU3_IPI_VIRT)),
    BREAK("control.x2apic.apic_access", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_X2APIC | CPU2_VIRT_APIC_ACCESSES)),
    BREAK("control.virtual_interrupts.external", LONG, F(PIN_CONTROLS, PIN0 & ~PIN_EXTERNAL_INTR),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY)),
    BREAK("control.posted.virtual_interrupts", LONG, F(PIN_CONTROLS, PIN0 | PIN_POSTED_INTR)),
    BREAK("control.posted.acknowledge", LONG, F(PIN_CONTROLS, PIN0 | PIN_POSTED_INTR),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY), F(EXIT_CONTROLS, EXIT0 & ~EXIT_ACK_INTR)),
    BREAK("control.posted.vector", LONG, F(PIN_CONTROLS, PIN0 | PIN_POSTED_INTR),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY), F(POSTED_INTR_VECTOR, 0x100)),
    BREAK("control.posted.align", LONG, F(PIN_CONTROLS, PIN0 | PIN_POSTED_INTR),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY), F(POSTED_INTR_DESC_ADDR, 0x1020)),
    BREAK("control.posted.width", LONG, F(PIN_CONTROLS, PIN0 | PIN_POSTED_INTR),
          F(CPU2_CONTROLS, CPU20 | CPU2_VIRT_INTR_DELIVERY), F(POSTED_INTR_DESC_ADDR, WIDE)),
    BREAK("control.vpid", LONG, F(VPID, 0)),
    BREAK("control.eptp.type", LONG, F(EPTP, EPTP0 - 2)),
    BREAK("control.eptp.type", LONG, {CAP(ept_vpid), EPT_CAP_WALK_4 | EPT_CAP_UC}),
    BREAK("control.eptp.walk", LONG, F(EPTP, EPTP0 + 8)),
    BREAK("control.eptp.walk", LONG, F(EPTP, EPTP0 - 8)),
    BREAK("control.eptp.accessed_dirty", LONG, F(EPTP, EPTP0 | EPTP_AD), {CAP(ept_vpid), EPT_CAP_WALK_4 | EPT_CAP_WB}),
    BREAK("control.eptp.shadow_stack", LONG, F(EPTP, EPTP0 | EPTP_SHADOW_STACK)),
    BREAK("control.eptp.reserved", LONG, F(EPTP, EPTP0 | BIT64(8))),
    BREAK("control.eptp.reserved", LONG, F(EPTP, EPTP0 | WIDE)),
    BREAK("control.pml.ept", LONG, F(CPU2_CONTROLS, CPU2_VPID | CPU2_PML)),
    BREAK("control.pml.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PML), F(PML_ADDR, 0x1010)),
    BREAK("control.pml.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PML), F(PML_ADDR, WIDE)),
    BREAK("control.unrestricted.ept", LONG, F(CPU2_CONTROLS, CPU2_VPID | CPU2_UNRESTRICTED_GUEST)),
    BREAK("control.mode_based_execute.ept", LONG, F(CPU2_CONTROLS, CPU2_VPID | CPU2_MODE_BASED_EXEC)),
    BREAK("control.sub_page.ept", LONG, F(CPU2_CONTROLS, CPU2_VPID | CPU2_SUB_PAGE_WRITE)),
    BREAK("control.sub_page.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_SUB_PAGE_WRITE), F(SPPTP, 0x1010)),
    BREAK("control.sub_page.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_SUB_PAGE_WRITE), F(SPPTP, WIDE)),
    BREAK("control.vmfunc.reserved", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMFUNC), F(VMFUNC_CONTROLS, 2)),
    BREAK("control.eptp_switching.ept", LONG, F(CPU2_CONTROLS, CPU2_VPID | CPU2_VMFUNC), F(VMFUNC_CONTROLS, 1)),
    BREAK("control.eptp_list.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMFUNC), F(VMFUNC_CONTROLS, 1),
          F(EPTP_LIST_ADDR, 0x1010)),
    BREAK("control.eptp_list.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMFUNC), F(VMFUNC_CONTROLS, 1),
          F(EPTP_LIST_ADDR, WIDE)),
    BREAK("control.vmread_bitmap.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMCS_SHADOWING), F(VMREAD_BITMAP, 0x1010)),
    BREAK("control.vmread_bitmap.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMCS_SHADOWING), F(VMREAD_BITMAP, WIDE)),
    BREAK("control.vmwrite_bitmap.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMCS_SHADOWING),
          F(VMWRITE_BITMAP, 0x1010)),
    BREAK("control.vmwrite_bitmap.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_VMCS_SHADOWING), F(VMWRITE_BITMAP, WIDE)),
    BREAK("control.ve_info.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_EPT_VIOLATION_VE), F(VE_INFO_ADDR, 0x1010)),
    BREAK("control.ve_info.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_EPT_VIOLATION_VE), F(VE_INFO_ADDR, WIDE)),
    BREAK("control.pt.ept", LONG, F(CPU2_CONTROLS, CPU2_VPID | CPU2_PT_GUEST_PHYS),
          F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_RTIT_CTL), F(EXIT_CONTROLS, EXIT0 | EXIT_CLEAR_RTIT_CTL)),
    BREAK("control.pt.load", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PT_GUEST_PHYS),
          F(EXIT_CONTROLS, EXIT0 | EXIT_CLEAR_RTIT_CTL)),
    BREAK("control.pt.clear", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PT_GUEST_PHYS),
          F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_RTIT_CTL)),
    BREAK("control.low_pasid.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PASID_TRANSLATION),
          F(LOW_PASID_DIR_ADDR, 0x1010)),
    BREAK("control.low_pasid.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PASID_TRANSLATION),
          F(LOW_PASID_DIR_ADDR, WIDE)),
    BREAK("control.high_pasid.align", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PASID_TRANSLATION),
          F(HIGH_PASID_DIR_ADDR, 0x1010)),
    BREAK("control.high_pasid.width", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_PASID_TRANSLATION),
          F(HIGH_PASID_DIR_ADDR, WIDE)),
    BREAK("control.tsc_multiplier", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_TSC_SCALING)),
    BREAK("control.hlat.ept", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3), F(CPU2_CONTROLS, CPU2_VPID),
          F(CPU3_CONTROLS, CPU3_HLAT)),
    BREAK("control.paging_write.ept", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3), F(CPU2_CONTROLS, CPU2_VPID),
          F(CPU3_CONTROLS, CPU3_EPT_PAGING_WRITE)),
    BREAK("control.paging_verify.ept", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3), F(CPU2_CONTROLS, CPU2_VPID),
          F(CPU3_CONTROLS, CPU3_GUEST_PAGING_VERIFY)),
    BREAK("control.hlatp", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3), F(CPU3_CONTROLS, CPU3_HLAT),
          F(HLATP, 0x1004)),
    BREAK("control.pid_table.align", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3),
          F(CPU3_CONTROLS, CPU3_IPI_VIRT), F(PID_POINTER_TABLE_ADDR, 0x1004)),
    BREAK("control.pid_table.width", LONG, F(CPU_CONTROLS, CPU0 | CPU_ACTIVATE_CPU3),
          F(CPU3_CONTROLS, CPU3_IPI_VIRT), F(PID_POINTER_TABLE_ADDR, WIDE - 8), F(LAST_PID_POINTER_INDEX, 1)),
    /* 27.2.1.2 */
    BREAK("control.exit.must_be_1", LONG, F(EXIT_CONTROLS, EXIT0 & ~1ull)),
    BREAK("control.exit.must_be_0", LONG, F(EXIT_CONTROLS, EXIT0 | BIT64(27))),
    BREAK("control.exit2.must_be_0", LONG, F(EXIT_CONTROLS, EXIT0 | EXIT_ACTIVATE_EXIT2), F(EXIT2_CONTROLS, 0x10)),
    BREAK("control.exit.save_timer", LONG, F(EXIT_CONTROLS, EXIT0 | EXIT_SAVE_PREEMPTION_TIMER)),
    BREAK("control.exit_store.align", LONG, F(EXIT_MSR_STORE_COUNT, 2), F(EXIT_MSR_STORE_ADDR, AREA + 8)),
    BREAK("control.exit_store.width", LONG, F(EXIT_MSR_STORE_COUNT, 2), F(EXIT_MSR_STORE_ADDR, WIDE)),
    BREAK("control.exit_store.end", LONG, F(EXIT_MSR_STORE_COUNT, 2), F(EXIT_MSR_STORE_ADDR, WIDE - 16)),
    BREAK("control.exit_load.align", LONG, F(EXIT_MSR_LOAD_COUNT, 2), F(EXIT_MSR_LOAD_ADDR, AREA + 8)),
    BREAK("control.exit_load.width", LONG, F(EXIT_MSR_LOAD_COUNT, 2), F(EXIT_MSR_LOAD_ADDR, WIDE)),
    BREAK("control.exit_load.end", LONG, F(EXIT_MSR_LOAD_COUNT, 2), F(EXIT_MSR_LOAD_ADDR, WIDE - 16)),
    /* 27.2.1.3 */
    BREAK("control.entry.must_be_1", LONG, F(ENTRY_CONTROLS, ENTRY0 & ~1ull)),
    BREAK("control.entry.must_be_0", LONG, F(ENTRY_CONTROLS, ENTRY0 | BIT64(30))),
    BREAK("control.event.type", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_RESERVED, 3))),
    BREAK("control.event.type", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_OTHER, 0)), {CAP(cpu), 0xf7fbfffe04006172}),
    BREAK("control.event.nmi_vector", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_NMI, 3))),
    BREAK("control.event.exception_vector", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, 32))),
    BREAK("control.event.other_vector", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_OTHER, 1))),
    BREAK("control.event.error_type", LONG, F(ENTRY_INTR_INFO, EVENT_ERROR(INTR_TYPE_SW_EXCEPTION, VEC_BP)),
          F(ENTRY_INSTR_LENGTH, 1)),
    BREAK("control.event.error_real_mode", REAL, F(ENTRY_INTR_INFO, EVENT_ERROR(INTR_TYPE_HW_EXCEPTION, VEC_GP))),
    BREAK("control.event.error_vector", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_GP))),
    BREAK("control.event.error_vector", LONG, F(ENTRY_INTR_INFO, EVENT_ERROR(INTR_TYPE_HW_EXCEPTION, VEC_UD))),
    BREAK("control.event.error_vector", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_CP))),
    BREAK("control.event.reserved", FAULT, F(ENTRY_INTR_INFO, EVENT_ERROR(INTR_TYPE_HW_EXCEPTION, VEC_PF) | BIT64(12))),
    BREAK("control.event.error_code", FAULT, F(ENTRY_ERROR_CODE, 0x10000)),
    BREAK("control.event.length", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_SW_INTR, 0x80)), F(ENTRY_INSTR_LENGTH, 0)),
    BREAK("control.event.length", LONG, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_PRIV_SW_EXC, VEC_DB)),
          F(ENTRY_INSTR_LENGTH, 16)),
    BREAK("control.entry_load.align", LONG, F(ENTRY_MSR_LOAD_COUNT, 2), F(ENTRY_MSR_LOAD_ADDR, AREA + 8)),
    BREAK("control.entry_load.width", LONG, F(ENTRY_MSR_LOAD_COUNT, 2), F(ENTRY_MSR_LOAD_ADDR, WIDE)),
    BREAK("control.entry_load.end", LONG, F(ENTRY_MSR_LOAD_COUNT, 2), F(ENTRY_MSR_LOAD_ADDR, WIDE - 16)),
    BREAK("control.entry.smm", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_SMM)),
    /* 27.2.2 */
    BREAK("host.cr0.must_be_1", LONG, F(HOST_CR0, CR00 & ~CR0_NE)),
    BREAK("host.cr0.must_be_0", LONG, F(HOST_CR0, CR00 | BIT64(32))),
    BREAK("host.cr4.must_be_1", LONG, F(HOST_CR4, CR40 & ~CR4_VMXE)),
    BREAK("host.cr4.must_be_0", LONG, F(HOST_CR4, CR40 | BIT64(15))),
    BREAK("host.cr0.wp_cet", CET, F(HOST_CR0, CR00 & ~CR0_WP)),
    BREAK("host.cr3", LONG, F(HOST_CR3, 0x5000 | WIDE)),
    BREAK("host.sysenter_esp", LONG, F(HOST_SYSENTER_ESP, BAD)),
    BREAK("host.sysenter_eip", LONG, F(HOST_SYSENTER_EIP, BAD)),
    BREAK("host.s_cet", CET, F(HOST_S_CET, BIT64(6))),
    BREAK("host.s_cet", CET, F(HOST_S_CET, 3 << 10)),
    BREAK("host.ssp_table", CET, F(HOST_SSP_TABLE, BAD)),
    BREAK("host.ssp.align", CET, F(HOST_SSP, 0x1002)),
    BREAK("host.perf_global", LONG, F(EXIT_CONTROLS, EXIT0 | EXIT_LOAD_PERF_GLOBAL), F(HOST_PERF_GLOBAL_CTRL, 0x10)),
    BREAK("host.pat", LONG, F(HOST_PAT, PAT_RESET | 3ull << 56)),
    BREAK("host.efer.reserved", LONG, F(HOST_EFER, EFER0 | BIT64(1))),
    BREAK("host.efer.mode", LONG, F(HOST_EFER, EFER0 & ~EFER_LME)),
    BREAK("host.pkrs", LONG, F(EXIT_CONTROLS, EXIT0 | EXIT_LOAD_PKRS), F(HOST_PKRS, BIT64(32))),
    /* 27.2.3 */
    BREAK("host.es.selector", LONG, F(HOST_ES_SELECTOR, 0x0b)),
    BREAK("host.cs.selector", LONG, F(HOST_CS_SELECTOR, 0x0b)),
    BREAK("host.ss.selector", LONG, F(HOST_SS_SELECTOR, 0x0b)),
    BREAK("host.ds.selector", LONG, F(HOST_DS_SELECTOR, 0x0b)),
    BREAK("host.fs.selector", LONG, F(HOST_FS_SELECTOR, 0x0b)),
    BREAK("host.gs.selector", LONG, F(HOST_GS_SELECTOR, 0x0c)),
    BREAK("host.tr.selector", LONG, F(HOST_TR_SELECTOR, 0x0b)),
    BREAK("host.cs.null", LONG, F(HOST_CS_SELECTOR, 0)),
    BREAK("host.tr.null", LONG, F(HOST_TR_SELECTOR, 0)),
    BREAK("host.ss.null", HOST32, F(HOST_SS_SELECTOR, 0)),
    BREAK("host.fs.base", LONG, F(HOST_FS_BASE, BAD)),
    BREAK("host.gs.base", LONG, F(HOST_GS_BASE, BAD)),
    BREAK("host.gdtr.base", LONG, F(HOST_GDTR_BASE, BAD)),
    BREAK("host.idtr.base", LONG, F(HOST_IDTR_BASE, BAD)),
    BREAK("host.tr.base", LONG, F(HOST_TR_BASE, BAD)),
    /* 27.2.4 */
    BREAK_MORE("host.space.guest_64", HOST32, F(ENTRY_CONTROLS, ENTRY0)),
    BREAK("host.space.not_64", HOST32, F(EXIT_CONTROLS, EXIT0), F(HOST_EFER, EFER0)),
    BREAK("host.space.is_64", HOST32, {OUTSIDE_LONG, false}),
    BREAK("host.space.pcide", HOST32, F(HOST_CR4, CR40 | CR4_PCIDE)),
    BREAK("host.space.rip_high", HOST32, F(HOST_RIP, BIT64(32))),
    BREAK("host.space.s_cet_high", HOST32, F(EXIT_CONTROLS, (EXIT0 & ~EXIT_HOST_64BIT) | EXIT_LOAD_CET),
          F(HOST_S_CET, BIT64(32))),
    BREAK("host.space.ssp_high", HOST32, F(EXIT_CONTROLS, (EXIT0 & ~EXIT_HOST_64BIT) | EXIT_LOAD_CET),
          F(HOST_SSP, BIT64(32))),
    BREAK("host.space.pae", LONG, F(HOST_CR4, CR40 & ~CR4_PAE)),
    BREAK("host.space.rip", LONG, F(HOST_RIP, BAD)),
    BREAK("host.space.s_cet", CET, F(HOST_S_CET, BAD)),
    BREAK("host.space.ssp", CET, F(HOST_SSP, BAD)),
    /* 27.3.1.1 */
    BREAK("guest.cr0.must_be_1", LONG, F(GUEST_CR0, CR00 & ~CR0_NE)),
    BREAK("guest.cr0.must_be_1", REAL, F(GUEST_CR0, CR0_ET)),
    BREAK("guest.cr0.must_be_0", LONG, F(GUEST_CR0, CR00 | BIT64(32))),
    BREAK("guest.cr0.pg_pe", REAL, F(GUEST_CR0, CR0_PG | CR0_NE | CR0_ET)),
    BREAK("guest.cr4.must_be_1", LONG, F(GUEST_CR4, CR40 & ~CR4_VMXE)),
    BREAK("guest.cr4.must_be_0", LONG, F(GUEST_CR4, CR40 | BIT64(15))),
    BREAK("guest.cr0.wp_cet", CET, F(GUEST_CR0, CR00 & ~CR0_WP)),
    BREAK("guest.debugctl", LONG, F(GUEST_DEBUGCTL, BIT64(3))),
    BREAK("guest.debugctl", LONG, F(GUEST_DEBUGCTL, DEBUGCTL_BUS_LOCK_DETECT)),
    BREAK("guest.cr0.long_pg", LONG, F(CPU2_CONTROLS, CPU20 | CPU2_UNRESTRICTED_GUEST), F(GUEST_CR0, CR00 & ~CR0_PG)),
    BREAK("guest.cr4.long_pae", LONG, F(GUEST_CR4, CR40 & ~CR4_PAE)),
    BREAK("guest.cr4.pcide", PAE, F(GUEST_CR4, CR40 | CR4_PCIDE)),
    BREAK("guest.cr3", LONG, F(GUEST_CR3, WIDE)),
    BREAK("guest.cr3", LONG, F(GUEST_CR3, CR3_LAM_U48)),
    BREAK("guest.dr7", LONG, F(GUEST_DR7, BIT64(32))),
    BREAK("guest.sysenter_esp", LONG, F(GUEST_SYSENTER_ESP, BAD)),
    BREAK("guest.sysenter_eip", LONG, F(GUEST_SYSENTER_EIP, BAD)),
    BREAK("guest.s_cet", CET, F(GUEST_S_CET, BIT64(9))),
    BREAK("guest.s_cet.canonical", CET, F(GUEST_S_CET, BAD)),
    BREAK("guest.ssp_table", CET, F(GUEST_SSP_TABLE, BAD)),
    BREAK("guest.perf_global", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_PERF_GLOBAL),
          F(GUEST_PERF_GLOBAL_CTRL, BIT64(35))),
    BREAK("guest.pat", LONG, F(GUEST_PAT, 2)),
    BREAK("guest.efer.reserved", LONG, F(GUEST_EFER, EFER0 | EFER_SVME)),
    BREAK("guest.efer.lma", LONG, F(GUEST_EFER, EFER_NXE)),
    BREAK("guest.efer.lme", LONG, F(GUEST_EFER, EFER_LMA)),
    BREAK("guest.efer.lme", PAE, F(GUEST_EFER, EFER_LME)),
    BREAK("guest.bndcfgs.reserved", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_BNDCFGS), F(GUEST_BNDCFGS, BIT64(11))),
    BREAK("guest.bndcfgs.base", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_BNDCFGS), F(GUEST_BNDCFGS, BAD)),
    BREAK("guest.rtit_ctl", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_RTIT_CTL), F(GUEST_RTIT_CTL, BIT64(18))),
    BREAK("guest.lbr_ctl", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_LBR_CTL), F(GUEST_LBR_CTL, BIT64(4))),
    BREAK("guest.pkrs", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_PKRS), F(GUEST_PKRS, BIT64(32))),
    BREAK("guest.uinv", LONG, F(ENTRY_CONTROLS, ENTRY0 | ENTRY_LOAD_UINV), F(GUEST_UINV, BIT64(8))),
    /* 27.3.1.2 */
    BREAK("guest.tr.ti", LONG, F(GUEST_TR_SELECTOR, 0x2c)),
    BREAK("guest.ldtr.ti", LDT, F(GUEST_LDTR_SELECTOR, 0x34)),
    BREAK("guest.ss.rpl", LONG, F(GUEST_CS_SELECTOR, 0x13)),
    BREAK("guest.cs.base_v86", V86, F(GUEST_CS_BASE, 0x10000)),
    BREAK("guest.ss.base_v86", V86, F(GUEST_SS_BASE, 0x10000)),
    BREAK("guest.ds.base_v86", V86, F(GUEST_DS_BASE, 0x10000)),
    BREAK("guest.es.base_v86", V86, F(GUEST_ES_BASE, 0x10000)),
    BREAK("guest.fs.base_v86", V86, F(GUEST_FS_BASE, 0x10000)),
    BREAK("guest.gs.base_v86", V86, F(GUEST_GS_BASE, 0x10000)),
    BREAK("guest.tr.base", LONG, F(GUEST_TR_BASE, BAD)),
    BREAK("guest.fs.base", LONG, F(GUEST_FS_BASE, BAD)),
    BREAK("guest.gs.base", LONG, F(GUEST_GS_BASE, BAD)),
    BREAK("guest.fs.base", LONG, F(GUEST_FS_BASE, BAD), F(GUEST_FS_ACCESS, ACCESS_UNUSABLE)),
    BREAK("guest.ldtr.base", LDT, F(GUEST_LDTR_BASE, BAD)),
    BREAK("guest.cs.base", LONG, F(GUEST_CS_BASE, BIT64(32))),
    BREAK("guest.ss.base", LONG, F(GUEST_SS_BASE, BIT64(32))),
    BREAK("guest.ds.base", LONG, F(GUEST_DS_BASE, BIT64(32))),
    BREAK("guest.es.base", LONG, F(GUEST_ES_BASE, BIT64(32))),
    BREAK("guest.cs.limit_v86", V86, F(GUEST_CS_LIMIT, 0xfffff)),
    BREAK("guest.ss.limit_v86", V86, F(GUEST_SS_LIMIT, 0xfffff)),
    BREAK("guest.ds.limit_v86", V86, F(GUEST_DS_LIMIT, 0xfffff)),
    BREAK("guest.es.limit_v86", V86, F(GUEST_ES_LIMIT, 0xfffff)),
    BREAK("guest.fs.limit_v86", V86, F(GUEST_FS_LIMIT, 0xfffff)),
    BREAK("guest.gs.limit_v86", V86, F(GUEST_GS_LIMIT, 0xfffff)),
    BREAK("guest.cs.access_v86", V86, F(GUEST_CS_ACCESS, 0x93)),
    BREAK("guest.ss.access_v86", V86, F(GUEST_SS_ACCESS, 0x93)),
    BREAK("guest.ds.access_v86", V86, F(GUEST_DS_ACCESS, 0x93)),
    BREAK("guest.es.access_v86", V86, F(GUEST_ES_ACCESS, 0x93)),
    BREAK("guest.fs.access_v86", V86, F(GUEST_FS_ACCESS, 0x93)),
    BREAK("guest.gs.access_v86", V86, F(GUEST_GS_ACCESS, 0x93)),
    BREAK("guest.cs.type", LONG, F(GUEST_CS_ACCESS, 0xa093)),
    BREAK("guest.cs.type", REAL, F(GUEST_CS_ACCESS, 0x91)),
    BREAK("guest.ss.type", LONG, F(GUEST_SS_ACCESS, 0xc091)),
    BREAK("guest.ss.type", LONG, F(GUEST_SS_ACCESS, 0xc091), F(GUEST_SS_SELECTOR, 0)),
    BREAK("guest.ds.type", LONG, F(GUEST_DS_ACCESS, 0xc092)),
    BREAK("guest.ds.type", LONG, F(GUEST_DS_ACCESS, 0xc099)),
    BREAK("guest.es.type", LONG, F(GUEST_ES_ACCESS, 0xc092)),
    BREAK("guest.es.type", LONG, F(GUEST_ES_ACCESS, 0xc099)),
    BREAK("guest.fs.type", LONG, F(GUEST_FS_ACCESS, 0xc092)),
    BREAK("guest.fs.type", LONG, F(GUEST_FS_ACCESS, 0xc099)),
    BREAK("guest.gs.type", LONG, F(GUEST_GS_ACCESS, 0xc092)),
    BREAK("guest.gs.type", LONG, F(GUEST_GS_ACCESS, 0xc099)),
    BREAK("guest.cs.s", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE64 & ~SEG_S)),
    BREAK("guest.ss.s", LONG, F(GUEST_SS_ACCESS, SEG_ATTR_DATA32 & ~SEG_S)),
    BREAK("guest.ds.s", LONG, F(GUEST_DS_ACCESS, SEG_ATTR_DATA32 & ~SEG_S)),
    BREAK("guest.es.s", LONG, F(GUEST_ES_ACCESS, SEG_ATTR_DATA32 & ~SEG_S)),
    BREAK("guest.fs.s", LONG, F(GUEST_FS_ACCESS, SEG_ATTR_DATA32 & ~SEG_S)),
    BREAK("guest.gs.s", LONG, F(GUEST_GS_ACCESS, SEG_ATTR_DATA32 & ~SEG_S)),
    BREAK("guest.cs.dpl", LONG, F(GUEST_CS_ACCESS, 0xa0fb)),
    BREAK("guest.cs.dpl", LONG, F(GUEST_CS_ACCESS, 0xa0ff)),
    BREAK("guest.cs.dpl", REAL, F(GUEST_CS_ACCESS, 0xf3)),
    BREAK("guest.cs.dpl", REAL, F(GUEST_CS_ACCESS, 0xdb), F(GUEST_CS_SELECTOR, 0xf002)),
    BREAK("guest.ss.dpl_rpl", LONG, F(GUEST_CS_ACCESS, 0xa0fb), F(GUEST_SS_ACCESS, 0xc0f3)),
    BREAK("guest.ss.dpl_0", REAL, F(GUEST_CS_ACCESS, 0x93), F(GUEST_SS_ACCESS, 0xf3)),
    BREAK("guest.ss.dpl_0", REAL, F(GUEST_CS_ACCESS, 0x9f), F(GUEST_SS_ACCESS, 0xf3)),
    BREAK("guest.ds.dpl", LONG, F(GUEST_DS_SELECTOR, 0x1b)),
    BREAK("guest.es.dpl", LONG, F(GUEST_ES_SELECTOR, 0x1b)),
    BREAK("guest.fs.dpl", LONG, F(GUEST_FS_SELECTOR, 0x1b)),
    BREAK("guest.gs.dpl", LONG, F(GUEST_GS_SELECTOR, 0x1b)),
    BREAK("guest.cs.p", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE64 & ~SEG_P)),
    BREAK("guest.ss.p", LONG, F(GUEST_SS_ACCESS, SEG_ATTR_DATA32 & ~SEG_P)),
    BREAK("guest.ds.p", LONG, F(GUEST_DS_ACCESS, SEG_ATTR_DATA32 & ~SEG_P)),
    BREAK("guest.es.p", LONG, F(GUEST_ES_ACCESS, SEG_ATTR_DATA32 & ~SEG_P)),
    BREAK("guest.fs.p", LONG, F(GUEST_FS_ACCESS, SEG_ATTR_DATA32 & ~SEG_P)),
    BREAK("guest.gs.p", LONG, F(GUEST_GS_ACCESS, SEG_ATTR_DATA32 & ~SEG_P)),
    BREAK("guest.cs.reserved_low", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE64 | BIT64(8))),
    BREAK("guest.ss.reserved_low", LONG, F(GUEST_SS_ACCESS, SEG_ATTR_DATA32 | BIT64(11))),
    BREAK("guest.ds.reserved_low", LONG, F(GUEST_DS_ACCESS, SEG_ATTR_DATA32 | BIT64(11))),
    BREAK("guest.es.reserved_low", LONG, F(GUEST_ES_ACCESS, SEG_ATTR_DATA32 | BIT64(11))),
    BREAK("guest.fs.reserved_low", LONG, F(GUEST_FS_ACCESS, SEG_ATTR_DATA32 | BIT64(11))),
    BREAK("guest.gs.reserved_low", LONG, F(GUEST_GS_ACCESS, SEG_ATTR_DATA32 | BIT64(11))),
    BREAK("guest.cs.db", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE64 | SEG_DB)),
    BREAK("guest.cs.g", LONG, F(GUEST_CS_LIMIT, 0xfffffffe)),
    BREAK("guest.cs.g", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE64 & ~SEG_G)),
    BREAK("guest.ss.g", LONG, F(GUEST_SS_LIMIT, 0xfffffffe)),
    BREAK("guest.ss.g", LONG, F(GUEST_SS_ACCESS, SEG_ATTR_DATA32 & ~SEG_G)),
    BREAK("guest.ds.g", LONG, F(GUEST_DS_LIMIT, 0xfffffffe)),
    BREAK("guest.ds.g", LONG, F(GUEST_DS_ACCESS, SEG_ATTR_DATA32 & ~SEG_G)),
    BREAK("guest.es.g", LONG, F(GUEST_ES_LIMIT, 0xfffffffe)),
    BREAK("guest.es.g", LONG, F(GUEST_ES_ACCESS, SEG_ATTR_DATA32 & ~SEG_G)),
    BREAK("guest.fs.g", LONG, F(GUEST_FS_LIMIT, 0xfffffffe)),
    BREAK("guest.fs.g", LONG, F(GUEST_FS_ACCESS, SEG_ATTR_DATA32 & ~SEG_G)),
    BREAK("guest.gs.g", LONG, F(GUEST_GS_LIMIT, 0xfffffffe)),
    BREAK("guest.gs.g", LONG, F(GUEST_GS_ACCESS, SEG_ATTR_DATA32 & ~SEG_G)),
    BREAK("guest.cs.reserved_high", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE64 | BIT64(17))),
    BREAK("guest.ss.reserved_high", LONG, F(GUEST_SS_ACCESS, SEG_ATTR_DATA32 | BIT64(31))),
    BREAK("guest.ds.reserved_high", LONG, F(GUEST_DS_ACCESS, SEG_ATTR_DATA32 | BIT64(31))),
    BREAK("guest.es.reserved_high", LONG, F(GUEST_ES_ACCESS, SEG_ATTR_DATA32 | BIT64(31))),
    BREAK("guest.fs.reserved_high", LONG, F(GUEST_FS_ACCESS, SEG_ATTR_DATA32 | BIT64(31))),
    BREAK("guest.gs.reserved_high", LONG, F(GUEST_GS_ACCESS, SEG_ATTR_DATA32 | BIT64(31))),
    BREAK("guest.tr.type", LONG, F(GUEST_TR_ACCESS, 0x83)),
    BREAK("guest.tr.type", PAE, F(GUEST_TR_ACCESS, 0x89)),
    BREAK("guest.ldtr.type", LDT, F(GUEST_LDTR_ACCESS, 0x8b)),
    BREAK("guest.tr.s", LONG, F(GUEST_TR_ACCESS, SEG_ATTR_TSS_BUSY | SEG_S)),
    BREAK("guest.tr.p", LONG, F(GUEST_TR_ACCESS, SEG_ATTR_TSS_BUSY & ~SEG_P)),
    BREAK("guest.tr.reserved_low", LONG, F(GUEST_TR_ACCESS, SEG_ATTR_TSS_BUSY | BIT64(9))),
    BREAK("guest.tr.g", LONG, F(GUEST_TR_LIMIT, 0x67), F(GUEST_TR_ACCESS, SEG_ATTR_TSS_BUSY | SEG_G)),
    BREAK("guest.tr.g", LONG, F(GUEST_TR_LIMIT, BIT64(20))),
    BREAK("guest.tr.reserved_high", LONG, F(GUEST_TR_ACCESS, SEG_ATTR_TSS_BUSY | BIT64(20))),
    BREAK("guest.ldtr.s", LDT, F(GUEST_LDTR_ACCESS, SEG_ATTR_LDT | SEG_S)),
    BREAK("guest.ldtr.p", LDT, F(GUEST_LDTR_ACCESS, SEG_ATTR_LDT & ~SEG_P)),
    BREAK("guest.ldtr.reserved_low", LDT, F(GUEST_LDTR_ACCESS, SEG_ATTR_LDT | BIT64(9))),
    BREAK("guest.ldtr.g", LDT, F(GUEST_LDTR_LIMIT, 0x67), F(GUEST_LDTR_ACCESS, SEG_ATTR_LDT | SEG_G)),
    BREAK("guest.ldtr.g", LDT, F(GUEST_LDTR_LIMIT, BIT64(20))),
    BREAK("guest.ldtr.reserved_high", LDT, F(GUEST_LDTR_ACCESS, SEG_ATTR_LDT | BIT64(20))),
    BREAK("guest.tr.usable", LONG, F(GUEST_TR_ACCESS, SEG_ATTR_TSS_BUSY | ACCESS_UNUSABLE)),
    /* 27.3.1.3 */
    BREAK("guest.gdtr.base", LONG, F(GUEST_GDTR_BASE, BAD)),
    BREAK("guest.gdtr.limit", LONG, F(GUEST_GDTR_LIMIT, 0x10000)),
    BREAK("guest.idtr.base", LONG, F(GUEST_IDTR_BASE, BAD)),
    BREAK("guest.idtr.limit", LONG, F(GUEST_IDTR_LIMIT, 0x10000)),
    /* 27.3.1.4 */
    BREAK("guest.rip.high", PAE, F(GUEST_RIP, BIT64(32))),
    BREAK("guest.rip.high", LONG, F(GUEST_CS_ACCESS, SEG_ATTR_CODE32)),
    BREAK("guest.rip.canonical", LONG, F(GUEST_RIP, BIT64(48))),
    BREAK("guest.rflags.reserved", LONG, F(GUEST_RFLAGS, 0x202 | BIT64(15))),
    BREAK("guest.rflags.fixed", LONG, F(GUEST_RFLAGS, 0x200)),
    BREAK("guest.rflags.vm_long", V86, F(ENTRY_CONTROLS, ENTRY0), F(GUEST_CR4, CR40), F(GUEST_EFER, EFER0)),
    BREAK("guest.rflags.vm_real", V86, F(CPU2_CONTROLS, CPU20 | CPU2_UNRESTRICTED_GUEST), F(GUEST_CR0, CR0_NE)),
    BREAK("guest.rflags.if_event", EXTERNAL, F(GUEST_RFLAGS, 2)),
    BREAK("guest.ssp.align", CET, F(GUEST_SSP, 1)),
    BREAK("guest.ssp.high", CET, F(GUEST_SSP, BIT64(32)), F(GUEST_CS_ACCESS, SEG_ATTR_CODE32), F(GUEST_RIP, 0)),
    BREAK("guest.ssp.canonical", CET, F(GUEST_SSP, BIT64(48))),
    /* 27.3.1.5 */
    BREAK("guest.activity.known", LONG, F(GUEST_ACTIVITY, 4)),
    BREAK("guest.activity.known", LONG, F(GUEST_ACTIVITY, ACTIVITY_SHUTDOWN), {CAP(misc), VMX_MISC_ACTIVITY_HLT}),
    BREAK("guest.activity.hlt_dpl", HLT, F(GUEST_CS_ACCESS, 0xa0fb), F(GUEST_SS_ACCESS, 0xc0f3),
          F(GUEST_CS_SELECTOR, 0x13), F(GUEST_SS_SELECTOR, 0x1b)),
    BREAK("guest.activity.blocking", HLT, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI)),
    BREAK("guest.activity.blocking", LONG, F(GUEST_ACTIVITY, ACTIVITY_SHUTDOWN),
          F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS)),
    BREAK("guest.activity.event", HLT, F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW_EXCEPTION, VEC_UD))),
    BREAK("guest.activity.event", LONG, F(GUEST_ACTIVITY, ACTIVITY_SHUTDOWN),
          F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_EXTERNAL, 0x20))),
    BREAK("guest.activity.event", LONG, F(GUEST_ACTIVITY, ACTIVITY_WAIT_SIPI),
          F(ENTRY_INTR_INFO, EVENT(INTR_TYPE_NMI, 2))),
    BREAK("guest.interruptibility.reserved", LONG, F(GUEST_INTERRUPTIBILITY, BIT64(5))),
    BREAK("guest.interruptibility.both", LONG, F(GUEST_INTERRUPTIBILITY, 3)),
    BREAK("guest.interruptibility.sti_if", LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI), F(GUEST_RFLAGS, 2)),
    BREAK("guest.interruptibility.external", EXTERNAL, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI)),
    BREAK("guest.interruptibility.external", EXTERNAL, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS)),
    BREAK("guest.interruptibility.nmi_mov_ss", NMI, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS)),
    BREAK("guest.interruptibility.smi", LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_SMI)),
    BREAK("guest.interruptibility.nmi_nmi", NMI, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_NMI)),
    BREAK("guest.interruptibility.enclave", LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_ENCLAVE)),
    BREAK("guest.interruptibility.enclave", LONG,
          F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_ENCLAVE | INTERRUPTIBILITY_MOV_SS), {CAP(sgx), true}),
    BREAK("guest.pending_debug.reserved", LONG, F(GUEST_PENDING_DEBUG, BIT64(4))),
    BREAK("guest.pending_debug.reserved", LONG, F(GUEST_PENDING_DEBUG, BIT64(32))),
    BREAK("guest.pending_debug.reserved", LONG, F(GUEST_PENDING_DEBUG, PENDING_DEBUG_BUS_LOCK)),
    BREAK("guest.pending_debug.bs_1", LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI), F(GUEST_RFLAGS, 0x302)),
    BREAK("guest.pending_debug.bs_1", HLT, F(GUEST_RFLAGS, 0x302)),
    BREAK("guest.pending_debug.bs_0", LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS),
          F(GUEST_PENDING_DEBUG, PENDING_DEBUG_BS)),
    BREAK("guest.pending_debug.bs_0", LONG, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI),
          F(GUEST_PENDING_DEBUG, PENDING_DEBUG_BS), F(GUEST_RFLAGS, 0x302), F(GUEST_DEBUGCTL, DEBUGCTL_BTF)),
    BREAK("guest.pending_debug.rtm", LONG, {CAP(rtm), true}, F(GUEST_PENDING_DEBUG, PENDING_DEBUG_RTM)),
    BREAK("guest.pending_debug.rtm", LONG, {CAP(rtm), true},
          F(GUEST_PENDING_DEBUG, PENDING_DEBUG_RTM | PENDING_DEBUG_ENABLED_BP),
          F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_MOV_SS)),
    BREAK("guest.link.align", LONG, F(LINK_POINTER, 0xa008), {MEM(0xa008), 0x12}),
    BREAK("guest.link.width", LONG, F(LINK_POINTER, WIDE)),
    BREAK("guest.link.current", LONG, F(LINK_POINTER, VMCS_AT), {MEM(VMCS_AT), 0x12}),
    BREAK("guest.link.revision", LONG, F(LINK_POINTER, SHADOW), {MEM(SHADOW), 0x13}),
    BREAK("guest.link.revision", LONG, F(LINK_POINTER, SHADOW), F(CPU2_CONTROLS, CPU20 | CPU2_VMCS_SHADOWING)),
    /* 27.3.1.6 */
    BREAK("guest.pdpte0", PAE, F(GUEST_PDPTE0, 0x7001 | BIT64(1))),
    BREAK("guest.pdpte1", PAE, F(GUEST_PDPTE1, 0x8001 | BIT64(8))),
    BREAK("guest.pdpte2", PAE, F(GUEST_PDPTE2, 0x9001 | WIDE)),
    BREAK("guest.pdpte3", PAE, F(GUEST_PDPTE3, ~0ull)),
    BREAK("guest.pdpte.memory", SHADOW_PAE, {MEM(0x6018), 0x9021}),
    BREAK("guest.interruptibility.nmi_sti", NMI, F(GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI)),
    /* 27.4 */
    BREAK("msr_load.fs_gs_base", LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2),
          {MEM(AREA), MSR_IA32_LSTAR}, {MEM(AREA + 16), MSR_IA32_FS_BASE}),
    BREAK("msr_load.fs_gs_base", LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2),
          {MEM(AREA), MSR_IA32_LSTAR}, {MEM(AREA + 16), MSR_IA32_GS_BASE}),
    BREAK("msr_load.x2apic", LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2),
          {MEM(AREA), MSR_IA32_LSTAR}, {MEM(AREA + 16), 0x8ff}),
    BREAK("msr_load.smm", LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2),
          {MEM(AREA), MSR_IA32_LSTAR}, {MEM(AREA + 16), MSR_IA32_SMM_MONITOR_CTL}),
    BREAK("msr_load.microcode", LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2),
          {MEM(AREA), MSR_IA32_LSTAR}, {MEM(AREA + 16), MSR_IA32_BIOS_UPDT_TRIG}),
    BREAK("msr_load.reserved", LONG, F(ENTRY_MSR_LOAD_ADDR, AREA), F(ENTRY_MSR_LOAD_COUNT, 2),
          {MEM(AREA), MSR_IA32_LSTAR}, {MEM(AREA + 16), BIT64(32) | MSR_IA32_LSTAR}),
};
/* clang-format on */

/* ---------------------------------------------------------------------------- the tests */

static void load(struct machine *m, const struct audit_case *c)
{
    start(m, c->base);
    apply(m, c->changes[0]);
    for (size_t i = 1; i < MAX_CHANGES && (c->changes[i].target || c->changes[i].value); i++)
        apply(m, c->changes[i]);
}

static void accepts_valid_states(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f;
    char line[256];

    for (size_t i = 0; i < ARRAY_COUNT(passes); i++) {
        load(m, &passes[i]);
        if (vmx_audit(&m->source, &f)) {
            hv_audit_format(line, sizeof(line), &f);
            fail_msg("case %zu: %s", i, line);
        }
    }
}

static void check_finding(const struct hv_audit_finding *f)
{
    char line[256];

    assert_string_equal(f->field, vmcs_field_name(f->field_encoding));
    assert_memory_equal(f->section, "SDM 3C 27.", 10);
    assert_true(strlen(f->text) > 10);
    assert_in_range(hv_audit_format(line, sizeof(line), f), 1, sizeof(line) - 1);
}

static void names_each_broken_rule_first_and_alone(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding first, all[4];

    for (size_t i = 0; i < ARRAY_COUNT(breaks); i++) {
        const struct audit_case *c = &breaks[i];
        size_t count;

        load(m, c);
        if (!vmx_audit(&m->source, &first))
            fail_msg("%s (case %zu): nothing found", c->rule, i);
        if (strcmp(first.rule, c->rule))
            fail_msg("%s (case %zu): found %s", c->rule, i, first.rule);
        count = vmx_audit_all(&m->source, all, ARRAY_COUNT(all));
        if (!c->others && count != 1)
            fail_msg("%s (case %zu): %zu rules broken, the second is %s", c->rule, i, count, all[1].rule);
        assert_string_equal(all[0].rule, c->rule);
        check_finding(&first);
    }
}

static void has_a_case_for_each_rule(void **state)
{
    size_t rules = 0;

    (void)state;
    for (const char *id; (id = vmx_audit_rule(rules)); rules++) {
        size_t i = 0;

        while (i < ARRAY_COUNT(breaks) && strcmp(breaks[i].rule, id))
            i++;
        if (i == ARRAY_COUNT(breaks))
            fail_msg("no case breaks %s", id);
        for (size_t other = 0; other < rules; other++)
            assert_string_not_equal(vmx_audit_rule(other), id);
    }
    assert_true(rules >= 90);
    print_message("%zu rules, %zu states that break one, %zu that pass\n", rules, ARRAY_COUNT(breaks),
                  ARRAY_COUNT(passes));
}

static void reads_only_what_a_minimal_cpu_has(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f;

    start(m, PAE);
    apply(m, (struct change){VMCS_CPU_CONTROLS, 0x04006172});
    apply(m, (struct change){VMCS_EXIT_CONTROLS, 0x36dfb | EXIT_HOST_64BIT});
    apply(m, (struct change){VMCS_ENTRY_CONTROLS, 0x11fb});
    m->forbid_optional = true;
    assert_false(vmx_audit(&m->source, &f));
}

static void works_without_memory(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f;

    start(m, SHADOW_PAE);
    apply(m, (struct change){VMCS_TPR_THRESHOLD, 15});
    apply(m, (struct change){VMCS_LINK_POINTER, 0xc000});
    apply(m, (struct change){MEM(0x6000), ~0ull});
    m->source.read_memory = NULL;
    assert_false(vmx_audit(&m->source, &f));
}

static void gives_value_and_bits(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f;

    start(m, LONG);
    apply(m, (struct change){VMCS_PIN_CONTROLS, PIN0 | BIT64(9) | BIT64(11)});
    assert_true(vmx_audit(&m->source, &f));
    assert_string_equal(f.field, "PIN_CONTROLS");
    assert_int_equal(f.field_encoding, 0x4000);
    assert_int_equal(f.value, PIN0 | BIT64(9) | BIT64(11));
    assert_int_equal(f.wrong_bits, BIT64(9) | BIT64(11));
    assert_int_equal(hv_audit_bit(&f), 9);
    assert_string_equal(f.section, "SDM 3C 27.2.1.1");
    assert_int_equal(f.entry, 0);

    start(m, LONG);
    apply(m, (struct change){VMCS_HOST_RIP, BAD});
    assert_true(vmx_audit(&m->source, &f));
    assert_int_equal(f.wrong_bits, 0);
    assert_int_equal(hv_audit_bit(&f), -1);

    start(m, LONG);
    apply(m, (struct change){VMCS_ENTRY_MSR_LOAD_COUNT, 3});
    apply(m, (struct change){VMCS_ENTRY_MSR_LOAD_ADDR, AREA});
    apply(m, (struct change){MEM(AREA + 32), MSR_IA32_GS_BASE});
    assert_true(vmx_audit(&m->source, &f));
    assert_int_equal(f.entry, 3);
    assert_int_equal(f.value, MSR_IA32_GS_BASE);
}

static void checks_only_the_parts_asked_for(void **state)
{
    static const struct {
        uint32_t part;
        const char *rule;
    } wanted[] = {
        {VMX_AUDIT_ALL, "control.vpid"},  {VMX_AUDIT_CONTROLS, "control.vpid"},
        {VMX_AUDIT_HOST, "host.cr3"},     {VMX_AUDIT_GUEST, "guest.dr7"},
        {VMX_AUDIT_MSRS, "msr_load.smm"}, {VMX_AUDIT_MSRS | VMX_AUDIT_HOST, "host.cr3"},
    };
    struct machine *m = *state;
    struct hv_audit_finding f;

    start(m, LONG);
    apply(m, (struct change){VMCS_VPID, 0});
    apply(m, (struct change){VMCS_HOST_CR3, WIDE});
    apply(m, (struct change){VMCS_GUEST_DR7, ~0ull});
    apply(m, (struct change){VMCS_ENTRY_MSR_LOAD_COUNT, 1});
    apply(m, (struct change){VMCS_ENTRY_MSR_LOAD_ADDR, AREA});
    apply(m, (struct change){MEM(AREA), MSR_IA32_SMM_MONITOR_CTL});
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        m->source.parts = wanted[i].part;
        assert_true(vmx_audit(&m->source, &f));
        assert_string_equal(f.rule, wanted[i].rule);
    }
    m->source.parts = VMX_AUDIT_ALL;
    assert_int_equal(vmx_audit_all(&m->source, &f, 1), 4);
    assert_int_equal(vmx_audit_all(&m->source, NULL, 0), 4);
}

/* Any content of a VMCS gets an answer: no check shifts too far, indexes past its table or runs long. */
static void survives_random_states(void **state)
{
    struct machine *m = *state;
    struct hv_audit_finding f[2];
    uint64_t seed = 0x9e3779b97f4a7c15;

    start(m, LONG);
    for (unsigned round = 0; round < 200; round++) {
        for (size_t i = 0; i < FIELDS; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            m->field[i] = seed;
        }
        assert_true(vmx_audit_all(&m->source, f, 2) > 2);
    }
}

static void names_fields(void **state)
{
    (void)state;
#define CHECK_NAME(name, encoding) assert_string_equal(vmcs_field_name(encoding), #name);
    VMCS_FIELDS(CHECK_NAME)
    assert_null(vmcs_field_name(0x2001));
    assert_null(vmcs_field_name(0x6fff));
    assert_null(vmcs_field_name(~0u));
    assert_int_equal(FIELD_GET(VMCS_ENC_WIDTH, VMCS_GUEST_RIP), VMCS_WIDTH_NATURAL);
    assert_int_equal(FIELD_GET(VMCS_ENC_TYPE, VMCS_GUEST_RIP), VMCS_TYPE_GUEST);
    assert_int_equal(FIELD_GET(VMCS_ENC_WIDTH, VMCS_EPTP), VMCS_WIDTH_64);
    assert_int_equal(VMCS_SEG_BASE(7), VMCS_GUEST_TR_BASE);
    assert_int_equal(VMCS_SEG_LIMIT(6), VMCS_GUEST_LDTR_LIMIT);
    assert_int_equal(VMCS_SEG_ACCESS(1), VMCS_GUEST_CS_ACCESS);
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
        cmocka_unit_test(names_each_broken_rule_first_and_alone),
        cmocka_unit_test(has_a_case_for_each_rule),
        cmocka_unit_test(reads_only_what_a_minimal_cpu_has),
        cmocka_unit_test(works_without_memory),
        cmocka_unit_test(gives_value_and_bits),
        cmocka_unit_test(checks_only_the_parts_asked_for),
        cmocka_unit_test(survives_random_states),
        cmocka_unit_test(names_fields),
    };

    return cmocka_run_group_tests_name("audit", tests, set_up, tear_down);
}
